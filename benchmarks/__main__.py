"""Every benchmark, one after the other."""

from __future__ import annotations

from benchmarks import chain, client, fan_out, idle, loading, logs, recovery, starting

for part in (fan_out, chain, starting, client, recovery, loading, logs, idle):
    part.main()
