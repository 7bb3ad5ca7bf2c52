"""A8: memory, CPU and wake-ups of a daemon with 100 workflows that does nothing, over a minute."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

from benchmarks.harness import daemon, say

TICKS_S = os.sysconf("SC_CLK_TCK")


def pss_bytes(pid: int) -> int:
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def cpu_ticks(pid: int) -> int:
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))


def wake_ups(pid: int) -> int:
    """Voluntary context switches of all threads: each is one time that it waited and was woken."""
    total = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (thread / "status").read_text(), re.MULTILINE)
        assert found
        total += int(found[1])
    return total


def main(seconds: int = 60) -> None:
    with daemon() as bench:
        hours = range(100)
        bench.install(
            **{f"w{n}": {"schedule": f"{n % 60} {n % 24} 1 1 *", "tasks": {"a": {"run": "true"}}} for n in hours}
        )
        bench.run("w1")
        time.sleep(35)  # the loader's child ends half a minute after the last change
        pids = bench.pids()
        before = sum(map(cpu_ticks, pids)), sum(map(wake_ups, pids))
        time.sleep(seconds)
        cpu = (sum(map(cpu_ticks, pids)) - before[0]) / TICKS_S / seconds * 100
        woken = (sum(map(wake_ups, pids)) - before[1]) / seconds
        memory = sum(map(pss_bytes, pids)) / 2**20
        parts = ", ".join(f"{pss_bytes(pid) / 2**20:.1f}" for pid in sorted(pids))
        say("A8", f"idle: {memory:.1f} MiB PSS ({parts})", "35 MiB", met=memory <= 35)
        say("A8", f"idle: {cpu:.2f} % CPU, {woken:.1f} wake-ups a second", "0.1 %, 2/s", met=cpu <= 0.1 and woken <= 2)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
