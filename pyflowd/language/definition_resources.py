"""`resources` in a definition: the limits of each attempt. What of them a host can keep, only its keeper knows."""

from __future__ import annotations

import re
from typing import Any

from pyflowd.language import fields
from pyflowd.language.document import Mapping, quote
from pyflowd.language.fields import Report, Table, Wrong, read
from pyflowd.units import size_written

LEAST_MEMORY_BYTES = 4 << 20
"""Less and not even a shell starts."""
MOST_MEMORY_BYTES = 1 << 50
MOST_CPU_PERCENT = 1_000_000
_PERCENT = re.compile(r"([0-9]{1,7}) ?%", re.ASCII)
_weight = fields.integer_from(1, 10_000)


def _memory_bytes(value: Any, report: Report) -> int:
    found = fields.file_size_bytes(value, report)
    if not LEAST_MEMORY_BYTES <= found <= MOST_MEMORY_BYTES:
        least, most = size_written(LEAST_MEMORY_BYTES), size_written(MOST_MEMORY_BYTES)
        raise Wrong(f"{quote(value)} is not from {least} to {most}")
    return found


def _percent(value: Any, report: Report) -> int:
    """`150%`: the sign is required, as a bare 2 could be taken for two processors."""
    if value.__class__ is int or value.__class__ is float:
        raise Wrong(f"{value} has no unit", "write it as in 50%, or 200% for two processors")
    checked = fields.text(value, report).strip()
    match = _PERCENT.fullmatch(checked)
    if match is None:
        raise Wrong(f"{quote(checked)} is no share of a processor", "write it as in 50%, or 200% for two processors")
    if not 1 <= int(match[1]) <= MOST_CPU_PERCENT:
        raise Wrong(f"{quote(checked)} is not from 1% to {MOST_CPU_PERCENT}%")
    return int(match[1])


RESOURCES = Table(
    "resources",
    {
        "memory_max": ("memory_max_bytes", _memory_bytes),
        "cpu_max": ("cpu_max_percent", _percent),
        "cpu_weight": ("cpu_weight", _weight),
        "io_weight": ("io_weight", _weight),
        "tasks_max": ("tasks_max", fields.integer_from(1, 4_194_304)),
        "nice": ("nice", fields.integer_from(-20, 19)),
    },
    meant={
        "memory": "memory_max", "mem": "memory_max", "ram": "memory_max", "mem_limit": "memory_max",
        "MemoryMax": "memory_max", "cpu": "cpu_max", "cpus": "cpu_max", "cpu_quota": "cpu_max", "CPUQuota": "cpu_max",
        "CPUWeight": "cpu_weight", "IOWeight": "io_weight", "TasksMax": "tasks_max", "pids": "tasks_max",
        "pids_max": "tasks_max", "processes": "tasks_max", "niceness": "nice", "Nice": "nice", "priority": "nice",
    },
)  # fmt: skip


def read_resources(value: Any, report: Report) -> dict[str, Any]:
    """The fields that are given: what is not comes from `defaults`."""
    mapping: Mapping = fields.mapping(value, report)
    if not mapping:
        raise Wrong("there is no limit", "write it as in {memory_max: 512MiB, cpu_max: 50%}")
    return read(RESOURCES, mapping, report)
