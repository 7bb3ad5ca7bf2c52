"""A7: `pyflowctl status` as installed, beside the bare interpreter. A14: `list` with 1,000 workflows."""

from __future__ import annotations

import sys
from statistics import median

from benchmarks.harness import BIN, command_s, daemon, in_turns, ratio, say


def main(rounds: int = 21) -> None:
    with daemon() as bench:
        command = (BIN / "pyflowctl", "--root", str(bench.root))
        ours, bare = in_turns(
            rounds, lambda: command_s(*command, "status"), lambda: command_s(sys.executable, "-I", "-S", "-c", "pass")
        )
        times = ratio(ours, bare)
        figures = f"{median(ours) * 1e3:.1f} ms against {median(bare) * 1e3:.1f} ms"
        say("A7", f"status: {times:.2f} times a bare interpreter; {figures}", "1.4", met=times <= 1.4)
        bench.install(**{f"w{n}": {"schedule": "30 2 * * *", "tasks": {"a": {"run": "true"}}} for n in range(1000)})
        listing = median(in_turns(rounds, lambda: command_s(*command, "list"))[0]) * 1e3
        say("A14", f"list of 1,000 workflows: {listing:.1f} ms", "40 ms", met=listing <= 40)


if __name__ == "__main__":
    main()
