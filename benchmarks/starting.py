"""A5: from the command to the task's first instruction. A6: fifty runs back to back. A10: a new file to "in force"."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from benchmarks.harness import BIN, ENDED, Bench, command_s, daemon, say


def first_instruction_s(bench: Bench, stamp: Path) -> tuple[float, float]:
    """Until the task has read the clock, and until the client has returned."""
    stamp.unlink(missing_ok=True)
    before = time.time()
    client = command_s(BIN / "pyflowctl", "--root", str(bench.root), "run", "stamp")
    while not (stamp.exists() and stamp.read_text().endswith("\n")):
        time.sleep(0.001)
    return float(stamp.read_text()) - before, client


def fifty_runs_s(bench: Bench) -> float:
    from pyflowctl.client import connect

    before = time.perf_counter()
    with connect(root=str(bench.root)) as client:
        last = [client.start("one").run for _ in range(50)]
        for run in last:
            assert client.wait(run).state in ENDED
    return time.perf_counter() - before


def visible_s(bench: Bench, number: int) -> float:
    """From the rename into place to the daemon's own word that the definition is in force."""
    from pyflowctl.client import connect
    from pyflowd.errors import NotFound
    from pyflowd.protocol.requests import ShowWorkflow

    beside = bench.root / "beside"
    beside.write_text(f"tasks: {{a: {{run: echo {number}}}}}\n")
    with connect(root=str(bench.root)) as client:
        before = time.perf_counter()
        beside.rename(bench.root / "workflows" / f"new{number}.yaml")
        while True:
            try:
                list(client.ask(ShowWorkflow(workflow=f"new{number}")))
                return time.perf_counter() - before
            except NotFound:
                time.sleep(0.0005)


def main(rounds: int = 30) -> None:
    with daemon() as bench:
        stamp = bench.root / "stamp"
        bench.install(
            stamp={"tasks": {"a": {"argv": ["sh", "-c", f"date +%s.%N > {stamp}"]}}, "overlap": "allow"},
            one={"tasks": {"a": {"argv": ["/bin/true"]}}, "overlap": "allow"},
        )
        pairs = [first_instruction_s(bench, stamp) for _ in range(rounds)]
        start_ms, client_ms = (median(values) * 1e3 for values in zip(*pairs, strict=True))
        figures = f"{start_ms:.1f} ms to the first instruction (sh and date included), the client {client_ms:.1f} ms"
        say("A5", figures, "20 ms, 12 ms", met=start_ms <= 20 and client_ms <= 12)
        fifty = median(fifty_runs_s(bench) for _ in range(5))
        say("A6", f"50 runs, all done: {fifty:.2f} s", "0.5 s", met=fifty <= 0.5)
        visible_ms = median(visible_s(bench, number) for number in range(20)) * 1e3
        say("A10", f"renamed into place to in force: {visible_ms:.1f} ms", "20 ms", met=visible_ms <= 20)


if __name__ == "__main__":
    main()
