"""A13: kill -9 with 100 live tasks; from the start to answering, with all of them adopted."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.harness import Bench, daemon, say, start

TASKS = 100


def recovered_s(bench: Bench) -> float:
    bench.process.kill()
    bench.process.wait()
    before = time.perf_counter()
    bench.process = start(bench.root).process
    status = bench.json("status", "w")
    taken = time.perf_counter() - before
    assert sum(task["state"] == "running" for task in status["tasks"].values()) == TASKS
    return taken


def main(rounds: int = 7) -> None:
    with daemon() as bench:
        bench.install(w={"max_parallel": TASKS, "tasks": {f"t{n}": {"argv": ["sleep", "600"]} for n in range(TASKS)}})
        run = bench.json("run", "w")["run"]
        while sum(task["state"] == "running" for task in bench.json("status", run)["tasks"].values()) < TASKS:
            time.sleep(0.05)
        taken = median(recovered_s(bench) for _ in range(rounds))
        bench.ctl("cancel", run)
        bench.ctl("cancel", run)
        say("A13", f"kill -9 with {TASKS} live tasks: {taken:.2f} s until all are adopted", "1 s", met=taken <= 1)


if __name__ == "__main__":
    main()
