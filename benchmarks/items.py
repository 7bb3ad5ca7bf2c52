"""B1: a fan-out of 10,000 items beside 10,000 plain tasks."""

from __future__ import annotations

from statistics import median

from benchmarks.harness import daemon, in_turns, ratio, say, wall_s

COUNT = 10_000
TRUE = ["/bin/true"]


def main(rounds: int = 3) -> None:
    with daemon() as bench:
        bench.install(
            plain={"max_parallel": 8, "tasks": {f"t{n}": {"argv": TRUE} for n in range(COUNT)}},
            items={"max_parallel": 8, "tasks": {"each": {"for_each": f"${{{{ range({COUNT}) }}}}", "argv": TRUE}}},
        )
        items, plain = in_turns(rounds, lambda: wall_s(bench.run("items")), lambda: wall_s(bench.run("plain")))
        beside = ratio(items, plain)
        rate = f"{COUNT / median(items):.0f} against {COUNT / median(plain):.0f} a second"
        say("B1", f"10,000 items take {beside:.2f} times 10,000 tasks; {rate}", "1.1", met=beside <= 1.1)


if __name__ == "__main__":
    main()
