"""A real daemon on a root of its own, driven as a user drives it; ended with all that it started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import psutil

from pyflowctl.client import Client, connect
from pyflowd.errors import PyflowError
from pyflowd.protocol.views_runs import RunView, TaskView
from tests.daemon.preloaded import Forked, preloaded
from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PYFLOWD = "import sys; from pyflowd.cli import main; sys.exit(main())"
PYFLOWCTL = (sys.executable, "-S", str(REPOSITORY / "bin" / "pyflowctl"))
"""Without the search for installed packages, which costs more than all that the client does."""
PATHS = os.pathsep.join([str(REPOSITORY), str(Path(msgspec.__file__).parent.parent)])
ENDED = ("succeeded", "failed", "cancelled")


class Instance:
    """One root. `start` and `kill` as often as the test likes; `end` in the fixture."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "workflows").mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self.options: tuple[str, ...] = ()
        """Of pyflowd's command line."""
        self.log = root.parent / f"{root.name}.log"
        self.settings()

    def settings(self, **values: object) -> None:
        """Write `pyflowd.yaml`."""
        (self.root / "pyflowd.yaml").write_text(
            "".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items())
        )

    # ---- The daemon

    def start(self, *, wait: bool = True, prefix: tuple[str, ...] = (), **environment: str) -> None:
        """Start pyflowd; `prefix` is a program that runs it, in its own place in the end."""
        assert self.process is None or self.process.poll() is not None
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "error", **environment}
        plain = not prefix and not any(name.startswith(("PYTHON", "LD_")) for name in environment)
        with self.log.open("ab") as log:
            if plain:
                arguments = ["--root", str(self.root), *map(str, self.options)]
                self.process = preloaded(str(REPOSITORY)).start(arguments, env, log.fileno())
            else:
                self.process = subprocess.Popen(
                    [*prefix, sys.executable, "-c", PYFLOWD, "--root", self.root, *self.options],
                    env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/",
                )  # fmt: skip
        if wait:
            wait_until(self.answers, lambda: f"the daemon answers; its log: {self.log_text()}")

    def log_text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def answers(self) -> bool:
        """Whether it serves; fails at once if it has ended."""
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"pyflowd ended with {self.process.returncode}: {self.log_text()}")
        with contextlib.suppress(PyflowError), self.client():
            return True
        return False

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def wait_dead(self, timeout_s: float = 20.0) -> int:
        assert self.process is not None
        return self.process.wait(timeout_s)

    def stop(self) -> int:
        """A clean stop; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def end(self) -> None:
        """Take everything away: the daemon, its keeper, and every process of theirs."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def keeper(self) -> psutil.Process:
        """The keeper of this root, other than its logger."""
        return next(found for found in self._ours() if "--logger" not in found.cmdline())

    def logger(self) -> psutil.Process:
        return next(found for found in self._ours() if "--logger" in found.cmdline())

    def _ours(self) -> list[psutil.Process]:
        """Keeper and logger: they name their root in their arguments."""
        ours = []
        for found in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                arguments = found.cmdline()
                if str(self.root) in arguments and any(word.endswith("keeper/__main__.py") for word in arguments):
                    ours.append(found)
        return ours

    def processes(self) -> list[int]:
        """Keeper, logger, and all that descends from them."""
        ours = self._ours()
        for found in list(ours):
            with contextlib.suppress(psutil.Error):
                ours += found.children(recursive=True)
        return sorted({found.pid for found in ours} - {os.getpid()})

    # ---- The user

    def write(self, name: str, text: str) -> Path:
        """Put a definition into the folder as a careful user does: beside, then renamed."""
        beside = self.root / f"{name}.new"
        beside.write_text(text)
        target = self.root / "workflows" / name
        beside.rename(target)
        return target

    def install(self, name: str, text: str) -> None:
        """Write, and wait until it is in force."""
        self.write(name, text)
        stem = name.rsplit(".", 1)[0]

        def in_force() -> bool:
            with contextlib.suppress(PyflowError), self.client() as client:
                return bool(client.definition(stem).digest)
            return False

        wait_until(in_force, lambda: f"{name} in force: {self.log_text()}")

    def ctl(self, *arguments: object, timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PYFLOWCTL, "--root", str(self.root), *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": PATHS, "NO_COLOR": "1", "TZ": "UTC"}, timeout=timeout_s,
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip

    def json(self, *arguments: object) -> Any:
        done = self.ctl("-o", "json", *arguments)
        assert done.stdout, f"{arguments}: {done.stderr}"
        return json.loads(done.stdout)

    def run(self, *arguments: object) -> int:
        """Start a run; its id."""
        done = self.ctl("-o", "json", "run", *arguments)
        assert done.returncode == 0, done.stderr
        return int(json.loads(done.stdout)["run"])

    def status(self, run: int) -> Any:
        return self.json("status", run)

    def wait_run(self, run: int, timeout_s: float = 30.0) -> Any:
        """The ended run."""

        def ended() -> bool:
            return self.seen(run)[0].state in ENDED

        wait_until(ended, lambda: f"run {run} ends; log: {self.log_text()[-3000:]}", timeout_s)
        return self.status(run)

    def seen(self, run: int) -> tuple[RunView, list[TaskView]]:
        """The run and its tasks without a process of the client's own: for what is asked again and again."""
        with self.client() as client:
            return client.run(run)

    def wait_task(self, run: int, task: str, state: str) -> Any:
        def there() -> Any:
            if any(view.task == task and view.state == state for view in self.seen(run)[1]):
                found = self.status(run)
                return found["tasks"][task]["state"] == state and found
            return None

        return wait_until(there, f"{task} is {state}")

    def client(self) -> contextlib.AbstractContextManager[Client]:
        return connect(root=str(self.root))
