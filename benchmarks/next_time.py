"""C4: the next time of a schedule from a kept object, zone included; beside croniter's, which knows no fold."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

from croniter import croniter

from benchmarks.harness import say
from pyflowd.base.zones import zone
from pyflowd.clock import to_us
from pyflowd.model.triggers import Dst
from pyflowd.schedules.cron import parse
from pyflowd.schedules.schedule import next_slot

EXPRESSIONS = ("* * * * *", "*/5 * * * *", "0 * * * *", "30 2 * * *", "0 9 * * 1-5", "0 0 L * *", "15 3 1 */2 *")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
ROUNDS, CALLS = 7, 60


def each_us(walk: Callable[[], Callable[[], object]]) -> float:
    """Microseconds a call over the same years again and again, the median of several rounds."""
    taken = []
    for _ in range(ROUNDS):
        following = walk()
        before = time.perf_counter()
        for _ in range(CALLS):
            following()
        taken.append((time.perf_counter() - before) / CALLS * 1e6)
    return statistics.median(taken)


def ours(expr: str) -> Callable[[], Callable[[], object]]:
    cron, where = parse(expr), zone("Europe/Berlin")

    def walk() -> Callable[[], object]:
        at_us = to_us(BEGIN)

        def following() -> object:
            nonlocal at_us
            found = next_slot(cron, where, Dst.DEBIAN, at_us)
            assert found is not None
            at_us = found
            return found

        return following

    return walk


def theirs(expr: str) -> Callable[[], Callable[[], object]]:
    return lambda: croniter(expr, BEGIN).get_next


def main() -> None:
    found = {expr: each_us(ours(expr)) for expr in EXPRESSIONS}
    other = [each_us(theirs(expr)) for expr in EXPRESSIONS]
    slowest = max(found, key=lambda expr: found[expr])
    figures = f'at most {found[slowest]:.1f} us ("{slowest}"), croniter {min(other):.0f} to {max(other):.0f} us'
    middle = statistics.median(found.values())
    say("C4", f"next time of a schedule: {middle:.1f} us; {figures}", "25 us", met=max(found.values()) <= 25)


if __name__ == "__main__":
    main()
