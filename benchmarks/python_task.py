"""B5: a `python` task with a trivial function, beside an interpreter that does nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import command_s, in_turns, ratio, say
from pyflowd.base import process
from pyflowd.model.kinds import Python


def main(rounds: int = 60) -> None:
    with tempfile.TemporaryDirectory(prefix="pyflow-bench.") as folder:
        (Path(folder) / "trivial.py").write_text("def main(x):\n    return {'x': x}\n")
        kind = Python(function="trivial:main", arguments={"x": 1})
        command = process.command(kind, "task", {}, sys.executable, path=(folder,))
        env = {**os.environ, "PYFLOW_OUTPUT": f"{folder}/outputs"}

        def task_s() -> float:
            (Path(folder) / "outputs").unlink(missing_ok=True)
            return command_s(*command.argv, env=env, input=command.stdin)

        def nothing_s() -> float:
            return command_s(sys.executable, "-c", "pass", stdin=subprocess.DEVNULL)

        ours, theirs = in_turns(rounds, task_s, nothing_s)
    times = ratio(ours, theirs)
    say("B5", f"a python task: {times:.2f} times python -c pass ({min(ours) * 1e3:.1f} ms)", "2 times", met=times <= 2)


if __name__ == "__main__":
    main()
