"""Output without end: the log keeps its bounds, memory is flat, the status is true, what is shown is harmless."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import psutil

from tests.daemon.instance import REPOSITORY, Instance
from tests.faults.figures import Figures
from tests.faults.length import factor

Report = Callable[[Figures], None]
LONGEST_BYTES = 10_000_000_000
"""Of a long run."""
LOG_BYTES = 1 << 20
FLOODS = {
    "lines": "yes 'a line of output, as there are many'",
    "a line without an end": "tr '\\0' x </dev/zero",
    "binary": "cat /dev/urandom",
    "NUL": "cat /dev/zero",
    "escape sequences": r"yes $'\e]52;c;ZXZpbA==\a\e[2J\e[31mred\e]8;;http://x\a\xff\xc3'",
}


def test_a_flood_of_output_is_bounded_and_the_status_is_true(instance: Instance, figures: Report) -> None:
    """All kinds at once."""
    size = round(LONGEST_BYTES * factor() / 100)
    instance.settings(log_max_bytes="1MiB")
    instance.start()
    tasks = {
        kind.replace(" ", "-"): {
            "argv": ["/bin/bash", "-c", f"{{ {flood}; }} 2>/dev/null | head -c {size // len(FLOODS)}; exit 7"],
            "continue_on_error": True,
        }
        for kind, flood in FLOODS.items()
    }
    instance.install("w.yaml", json.dumps({"tasks": tasks}))
    assert instance.process is not None
    brain, logger = psutil.Process(instance.process.pid), psutil.Process(instance.logger().pid)
    before = brain.memory_info().rss, logger.memory_info().rss
    run = instance.run("w")
    ended = instance.wait_run(run, 60 + size / 20_000_000)
    assert {task["exit_code"] for task in ended["tasks"].values()} == {7}
    grown = brain.memory_info().rss - before[0], logger.memory_info().rss - before[1]
    assert grown[0] < 16 << 20
    assert grown[1] < 16 << 20
    for task in tasks:
        assert len(said(instance, "logs", run, task, "--raw")) < 2 * LOG_BYTES
        assert b"left out" in said(instance, "logs", run, task)
        for line in said(instance, "-o", "json", "logs", run, task).splitlines():
            json.loads(line)
    note = f"{size / 1e6:,.0f} MB, {len(FLOODS)} kinds at once; memory of pyflowd grew by {grown[0] >> 20} MiB, of the "
    figures(Figures(fault="floods of output", trials=len(tasks), note=f"{note}logger by {grown[1] >> 20} MiB"))
    assert "Traceback" not in instance.log_text()


def said(instance: Instance, *arguments: object) -> bytes:
    """What a command prints, as it is: not all of it is text."""
    done = subprocess.run(
        [sys.executable, "-m", "pyflowctl", "--root", str(instance.root), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    return done.stdout
