"""B3: a typical condition, evaluated from its compiled form; and with the values that it used, as `if` has it (J4)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from benchmarks.harness import say
from pyflowd.expressions import expression

CONDITION = "params.full and tasks.scan.outputs.count >= 3"
NAMES = expression.Variables({"params": {"full": True}, "tasks": {"scan": {"outputs": {"count": 3}}}})
ROUNDS, CALLS = 7, 50_000


def per_second(evaluate: Callable[[expression.Names], object]) -> float:
    """The median of several rounds."""
    rates = []
    for _ in range(ROUNDS):
        before = time.perf_counter()
        for _ in range(CALLS):
            evaluate(NAMES)
        rates.append(CALLS / (time.perf_counter() - before))
    return statistics.median(rates)


def main() -> None:
    condition = expression.parse(CONDITION)
    rate, traced = per_second(condition.evaluate), per_second(condition.holds)
    say("B3", f"a typical condition {rate:,.0f} times a second", "200,000", met=rate >= 200_000)
    say("B3", f"with the values that it used {traced:,.0f} times a second", "200,000", met=traced >= 200_000)


if __name__ == "__main__":
    main()
