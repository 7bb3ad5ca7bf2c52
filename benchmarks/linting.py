"""B2: lint of 1,000 files, the whole process, beside the start of an interpreter and YAML's C loader over them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.harness import BIN, command_s, in_turns, ratio, say
from benchmarks.loading import floor_s, write

FILES = 1_000


def main(rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory(prefix="pyflow-bench.") as folder:
        write(Path(folder), FILES)
        files = [str(path) for path in sorted(Path(folder).iterdir())]
        ours, floor = in_turns(
            rounds,
            lambda: command_s(BIN / "pyflowctl", "lint", *files),
            lambda: command_s(sys.executable, "-I", "-S", "-c", "pass") + floor_s(Path(folder)),
        )
        times = ratio(ours, floor)
        figures = f"{median(ours):.2f} s against {median(floor):.2f} s"
        say("B2", f"lint of {FILES:,} files: {times:.2f} times loading them; {figures}", "2", met=times <= 2)


if __name__ == "__main__":
    main()
