"""C1: 300 workflows due in the same minute. C2: how late one slot starts beside 10,000 schedules, and how late all of
them do when they are due at once. Nothing may start early.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.harness import Bench, daemon, say
from pyflowctl.client import connect

MINUTE = timedelta(minutes=1)


def definition(at: datetime, marker: Path) -> dict[str, Any]:
    """One task, whose first instruction leaves its time on a file."""
    return {"triggers": {"once": {"at": at.isoformat()}}, "tasks": {"a": {"argv": ["/usr/bin/touch", str(marker)]}}}


def load(bench: Bench, definitions: dict[str, dict[str, Any]]) -> None:
    """Put them in force; they must be long before the first is due."""
    bench.install(**definitions)
    with connect(root=str(bench.root)) as client:
        while client.host().workflows < len(definitions):
            time.sleep(0.1)


def whole_minute(least_s: float) -> datetime:
    """The next one that is so far away."""
    return (datetime.now(UTC) + timedelta(seconds=least_s) + MINUTE).replace(second=0, microsecond=0)


def first_instructions(folder: Path, count: int, until: datetime) -> dict[str, float]:
    """When each task's first instruction was, by the task's name; waits for all."""
    while datetime.now(UTC) < until and sum(1 for _ in folder.iterdir()) < count:
        time.sleep(0.2)
    found = {path.name: path.stat().st_mtime_ns / 1e9 for path in folder.iterdir()}
    assert len(found) == count, f"{len(found)} of {count} have started"
    return found


def recorded_late_s(bench: Bench, count: int) -> list[float]:
    """Of each slot's run: how long after the nominal time it was recorded, in order."""
    fired = bench.json("slots", "-n", count)
    created = {run["run"]: datetime.fromisoformat(run["created_at"]) for run in bench.json("history", "-n", count)}
    late = [created[slot["run"]] - datetime.fromisoformat(slot["scheduled_at"]) for slot in fired]
    assert len(late) == count
    return sorted(each.total_seconds() for each in late)


def peak_mib(pid: int) -> float:
    words = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(words.split()[1]) / 1024


def percentiles(late_s: list[float]) -> str:
    """p50, p99 and the last, in milliseconds; `late_s` is in order."""
    middle, nearly_last = late_s[len(late_s) // 2], late_s[len(late_s) * 99 // 100]
    return f"p50 {middle * 1e3:.1f} ms, p99 {nearly_last * 1e3:.1f} ms, last {late_s[-1] * 1e3:.1f} ms"


def same_minute(count: int = 300) -> None:
    with daemon() as bench:
        folder = bench.root / "started"
        folder.mkdir()
        at = whole_minute(5)
        load(bench, {f"w{n}": definition(at, folder / str(n)) for n in range(count)})
        started = first_instructions(folder, count, at + 2 * MINUTE)
        last_s, first_s = (pick(started.values()) - at.timestamp() for pick in (max, min))
        figures = f"first after {first_s:.2f} s, daemon at most {peak_mib(bench.process.pid):.0f} MiB"
        met = last_s <= 1 and first_s > -0.005  # the time of a file is as coarse as the kernel's tick
        say("C1", f"{count} due at once: last first instruction after {last_s:.2f} s; {figures}", "1 s", met=met)


def beside_many(count: int = 10_000, alone: int = 100) -> None:
    """Between two slots that are alone is a second; then all of the rest are due together."""
    with daemon() as bench:
        folder = bench.root / "started"
        folder.mkdir()
        begin = whole_minute(60)
        single = {f"s{n}": definition(begin + timedelta(seconds=n), folder / f"s{n}") for n in range(alone)}
        at = begin + timedelta(seconds=alone) + MINUTE
        load(bench, single | {f"w{n}": definition(at, folder / f"w{n}") for n in range(count - alone)})
        first_instructions(folder, alone, at)
        late_s = recorded_late_s(bench, alone)
        middle_s, nearly_last_s = late_s[len(late_s) // 2], late_s[len(late_s) * 99 // 100]
        say(
            "C2", f"one slot beside {count:,} schedules: {percentiles(late_s)} until recorded", "p50 5 ms, p99 50 ms",
            met=late_s[0] >= 0 and middle_s <= 0.005 and nearly_last_s <= 0.05,
        )  # fmt: skip
        started = first_instructions(folder, count, at + 3 * MINUTE)
        late_s = sorted(started[f"w{n}"] - at.timestamp() for n in range(count - alone))
        rate = len(late_s) / late_s[-1]
        say(
            "C2", f"{len(late_s):,} due at once: {percentiles(late_s)} until the first instruction, {rate:,.0f}/s",
            "never early", met=late_s[0] > -0.005,
        )  # fmt: skip


def main() -> None:
    same_minute()
    beside_many()


if __name__ == "__main__":
    main()
