"""A3: a chain of 200 dependent no-op tasks, beside a bash loop with one fdatasync a hop."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import command_s, daemon, in_turns, ratio, say, wall_s

HOPS = 200


def syncs_s(folder: Path) -> float:
    """One fdatasync of a small append for each hop, on the file system of the store."""
    handle = os.open(folder / "sync", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    before = time.perf_counter()
    for _ in range(HOPS):
        os.write(handle, b"x" * 120)
        os.fdatasync(handle)
    taken = time.perf_counter() - before
    os.close(handle)
    return taken


def main(rounds: int = 5) -> None:
    tasks: dict[str, Any] = {"t0": {"argv": ["/bin/true"]}}
    tasks |= {f"t{n}": {"argv": ["/bin/true"], "needs": f"t{n - 1}"} for n in range(1, HOPS)}
    loop = f"for ((n = 0; n < {HOPS}; n++)); do /bin/true; done"
    with daemon() as bench, tempfile.TemporaryDirectory(dir=bench.root) as scratch:
        bench.install(chain={"tasks": tasks})
        ours, theirs = in_turns(
            rounds,
            lambda: wall_s(bench.run("chain")),
            lambda: command_s("bash", "-c", loop) + syncs_s(Path(scratch)),
        )
        hop = ratio(ours, theirs)
        figures = f"{median(ours) / HOPS * 1e3:.2f} ms against {median(theirs) / HOPS * 1e3:.2f} ms a hop"
        say("A3", f"chain: {hop:.2f} times a bash loop with a sync a hop; {figures}", "1.7", met=hop <= 1.7)


if __name__ == "__main__":
    main()
