"""C3: `simulate` of a week with 1,000 workflows, the whole command."""

from __future__ import annotations

from statistics import median

from benchmarks.harness import BIN, command_s, daemon, in_turns, say
from benchmarks.schedules import load

WORKFLOWS = 1_000


def main(rounds: int = 3) -> None:
    with daemon() as bench:
        tasks = {"a": {"run": "true"}, "b": {"run": "true", "needs": "a"}}
        definitions = {f"w{n}": {"schedule": f"{n % 60} {n % 24} * * *", "tasks": tasks} for n in range(WORKFLOWS)}
        load(bench, definitions)
        command = (BIN / "pyflowctl", "--root", str(bench.root), "simulate", "--to", "7d", "-o", "json")
        taken = median(in_turns(rounds, lambda: command_s(*command))[0])
        say("C3", f"simulate a week of {WORKFLOWS:,} daily workflows: {taken:.2f} s", "5 s", met=taken <= 5)


if __name__ == "__main__":
    main()
