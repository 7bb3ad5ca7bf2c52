"""What the benchmarks share: an installed daemon on a throw-away root, interleaved timing, one line per figure.

Machines are shared and noisy: nothing is compared but what was measured in the same run, in turns; medians are quoted.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
ENDED = ("succeeded", "failed", "cancelled")


class Bench:
    """A running daemon, driven by the installed client."""

    def __init__(self, root: Path, process: subprocess.Popen[bytes]) -> None:
        self.root = root
        self.process = process

    def ctl(self, *arguments: object) -> str:
        """Standard output of the client; its exit status does not matter."""
        command = [str(BIN / "pyflowctl"), "--root", str(self.root), *map(str, arguments)]
        return subprocess.run(command, stdout=subprocess.PIPE, check=False, text=True).stdout

    def json(self, *arguments: object) -> Any:
        return json.loads(self.ctl("-o", "json", *arguments))

    def install(self, **definitions: dict[str, Any]) -> None:
        """Put definitions in force."""
        for name, definition in definitions.items():
            beside = self.root / f"{name}.new"
            beside.write_text(json.dumps(definition))
            beside.rename(self.root / "workflows" / f"{name}.json")
        self.ctl("reload")

    def run(self, workflow: str) -> dict[str, Any]:
        """One run, waited for; it must succeed."""
        ended: dict[str, Any] = self.json("run", workflow, "--wait")
        assert ended["state"] == "succeeded", ended["error"]
        return ended

    def pids(self) -> list[int]:
        """The daemon, its keeper and its logger."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if str(self.root).encode() in words and b"pyflowctl" not in words[-1]:
                    found.append(int(entry.name))
        return found


@contextmanager
def daemon(**settings: object) -> Iterator[Bench]:
    """A daemon on a fresh root; gone with its keeper afterwards."""
    root = Path(tempfile.mkdtemp(prefix="pyflow-bench."))
    (root / "workflows").mkdir()
    (root / "pyflowd.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
    bench = start(root)
    try:
        yield bench
    finally:
        bench.process.send_signal(signal.SIGTERM)
        bench.process.wait()
        for pid in bench.pids():
            os.kill(pid, signal.SIGKILL)
        # Only at the end of all: for five minutes after many files were deleted, ext4 is slow to make new ones.
        atexit.register(shutil.rmtree, root)


def start(root: Path) -> Bench:
    """A daemon on an existing root, ready."""
    log = (root / "pyflowd.log").open("ab")
    with log:
        process = subprocess.Popen([str(BIN / "pyflowd"), "--root", str(root)], stderr=log)
    bench = Bench(root, process)
    while subprocess.run(
        [str(BIN / "pyflowctl"), "--root", str(root), "next"], capture_output=True, check=False
    ).returncode:
        assert process.poll() is None, (root / "pyflowd.log").read_text()
        time.sleep(0.01)
    return bench


def wall_s(run: dict[str, Any]) -> float:
    """From the record of a run to its end."""
    first, last = (datetime.fromisoformat(run[key]) for key in ("created_at", "ended_at"))
    return (last - first).total_seconds()


def command_s(*command: str | Path, **more: Any) -> float:
    """Wall time of a command."""
    before = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False, **more)
    return time.perf_counter() - before


def in_turns(rounds: int, *measures: Callable[[], float]) -> list[list[float]]:
    """Each measure `rounds` times, A B A B ..., after one warm-up of each."""
    for measure in measures:
        measure()
    found: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(found, measures, strict=True):
            values.append(measure())
    return found


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Median of the ratios, pair by pair: it holds when the machine's speed drifts."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def say(name: str, figure: str, target: str, *, met: bool) -> None:
    print(f"{name:<4} {'ok  ' if met else 'MISS'} {figure}  (target: {target})", flush=True)
