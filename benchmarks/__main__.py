"""Every benchmark, one after the other."""

from __future__ import annotations

from benchmarks import (
    chain,
    client,
    expressions,
    fan_out,
    http_tasks,
    idle,
    items,
    loading,
    logs,
    python_task,
    recovery,
    starting,
)

for part in (
    fan_out, chain, starting, client, recovery, loading, logs, idle, items, expressions, http_tasks, python_task,
):  # fmt: skip
    part.main()
