"""A1, A2: 1,000 no-op tasks, eight at a time, beside xargs, make and a C loop in the same run. A4: 10,000 of them."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import command_s, daemon, in_turns, ratio, say, wall_s

TASKS = 1000
STRICT = ["bash", "-euo", "pipefail", "-c", "true"]
C_LOOP = r"""
#include <spawn.h>
#include <sys/wait.h>
#include <stdlib.h>
extern char **environ;
int main(int argc, char **argv) {
    int total = atoi(argv[1]), live = 0, status;
    char *child[] = {"/bin/true", 0};
    pid_t pid;
    for (int n = 0; n < total; n++) {
        if (live == 8) { wait(&status); live--; }
        if (posix_spawn(&pid, child[0], 0, 0, child, environ)) return 1;
        live++;
    }
    while (wait(&status) > 0) {}
    return 0;
}
"""


def definition(tasks: int, task: dict[str, Any]) -> dict[str, Any]:
    return {"max_parallel": 8, "tasks": {f"t{n}": task for n in range(tasks)}}


def c_loop(folder: Path) -> Path | None:
    """The limit: posix_spawn and wait in C; None where there is no compiler."""
    if not shutil.which("cc"):
        return None
    source, program = folder / "loop.c", folder / "loop"
    source.write_text(C_LOOP)
    subprocess.run(["cc", "-O2", "-o", program, source], check=True)
    return program


def main(rounds: int = 5) -> None:
    numbers = "".join(f"{n}\n" for n in range(TASKS))
    with daemon() as bench, tempfile.TemporaryDirectory() as scratch:
        bench.install(
            argv=definition(TASKS, {"argv": ["/bin/true"]}),
            shell=definition(TASKS, {"run": "true"}),
            large=definition(10 * TASKS, {"argv": ["/bin/true"]}),
        )
        makefile = Path(scratch) / "Makefile"
        names = " ".join(f"t{n}" for n in range(TASKS))
        makefile.write_text(f"all: {names}\n{names}:\n\t@/bin/true\n.PHONY: all {names}\n")
        loop = c_loop(Path(scratch))
        ours, xargs, make, limit = in_turns(
            rounds,
            lambda: wall_s(bench.run("argv")),
            lambda: command_s("xargs", "-P8", "-n1", "/bin/true", input=numbers, text=True),
            lambda: command_s("make", "-s", "-j8", "-f", makefile) if shutil.which("make") else float("nan"),
            lambda: command_s(loop, str(TASKS)) if loop else float("nan"),
        )
        beside = ratio(xargs, ours)
        figures = ", ".join(
            f"{name} {TASKS / median(values):.0f}"
            for name, values in (("PyFlow", ours), ("xargs -P8", xargs), ("make -j8", make), ("C", limit))
        )
        say("A1", f"no-op tasks: {beside:.2f} of xargs -P8; tasks/s: {figures}", "0.8", met=beside >= 0.8)
        ours, xargs = in_turns(
            rounds,
            lambda: wall_s(bench.run("shell")),
            lambda: command_s("xargs", "-P8", "-n1", *STRICT, input=numbers, text=True),
        )
        beside = ratio(xargs, ours)
        rate = f"{TASKS / median(ours):.0f} against {TASKS / median(xargs):.0f} tasks/s"
        say("A2", f"strict bash: {beside:.2f} of xargs -P8; {rate}", "0.8", met=beside >= 0.8)
        small, large = in_turns(
            2, lambda: wall_s(bench.run("argv")) / TASKS, lambda: wall_s(bench.run("large")) / (10 * TASKS)
        )
        growth = ratio(large, small)
        say("A4", f"a task of 10,000 takes {growth:.2f} times one of 1,000", "1.15", met=growth <= 1.15)


if __name__ == "__main__":
    main()
