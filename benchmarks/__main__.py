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
    linting,
    loading,
    logs,
    next_time,
    python_task,
    recovery,
    schedules,
    simulating,
    starting,
    web,
)

for part in (
    fan_out, chain, starting, client, recovery, loading, logs, idle, items, linting, expressions,
    http_tasks, python_task, next_time, schedules, simulating, web,
):  # fmt: skip
    part.main()
