"""The entry point of the container image: what it keeps running, and how all of it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.daemon.instance import REPOSITORY, Instance
from tests.waiting import wait_until

ENTRY = REPOSITORY / "container" / "pyflow-container"
PROGRAMS = {"pyflowd": "pyflowd.cli", "pyflow-keeper": "pyflowd.keeper.launcher"}


class Container(Instance):
    """`process` is the entry point."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.bin = root.parent / "bin"
        self.bin.mkdir()
        for name, module in PROGRAMS.items():
            code = f"import sys; from {module} import main; sys.argv[0] = '{name}'; sys.exit(main())"
            program = self.bin / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n')
            program.chmod(0o755)

    def start(self, *, wait: bool = True, **environment: str) -> None:
        path = f"{self.bin}:{os.environ['PATH']}"
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PATH": path, "PYFLOW_ROOT": str(self.root)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["bash", ENTRY], env={**env, **environment}, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/"
            )
        if wait:
            wait_until(self.answers, f"the daemon answers; its log: {self.log_text()}")

    def daemon(self) -> psutil.Process:
        assert self.process is not None
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if "--no-keeper" in child.cmdline())

    def end(self) -> None:
        """The entry point first: it would start again what is killed."""
        assert self.process is not None
        if self.process.poll() is None:
            children = psutil.Process(self.process.pid).children()
            self.process.kill()
            self.process.wait()
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
        super().end()


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    found = Container(tmp_path / "pyflow")
    yield found
    found.end()


def test_a_stop_ends_the_tasks_with_their_grace_and_their_ends_are_recorded(container: Container) -> None:
    container.start()
    script = "exec 2>/dev/null; trap 'echo last words; exit 6' TERM; echo ready; while :; do sleep 0.01; done"
    container.install("w.yaml", json.dumps({"tasks": {"a": {"run": script}}}))
    run = container.run("w")
    wait_until(lambda: "ready" in container.ctl("logs", run, "--raw").stdout, "the task")
    assert container.stop() == 0
    assert not container.processes()
    container.start()
    task = container.wait_run(run)["tasks"]["a"]
    assert (task["state"], task["reason"], task["exit_code"]) == ("failed", "lost", 6)
    assert container.ctl("logs", run, "--raw").stdout.splitlines() == ["ready", "last words"]


def test_a_task_that_does_not_mind_sigterm_does_not_hold_up_the_end(container: Container) -> None:
    container.start(PYFLOW_STOP_GRACE="0.2")
    script = "trap '' TERM; while :; do sleep 0.01; done"
    container.install("w.yaml", json.dumps({"tasks": {"a": {"run": script, "kill_grace": "10m"}}}))
    container.wait_task(container.run("w"), "a", "running")
    assert container.stop() == 0
    assert not container.processes()


def test_a_daemon_that_dies_is_started_again_and_tasks_live_on(container: Container) -> None:
    container.start()
    gate = container.root / "gate"
    os.mkfifo(gate)
    container.install("w.yaml", json.dumps({"tasks": {"a": {"run": f"cat {gate}; exit 9"}}}))
    run = container.run("w")
    container.wait_task(run, "a", "running")
    first = container.daemon()
    first.kill()
    wait_until(lambda: not first.is_running(), "its end")
    wait_until(container.answers, "the next daemon")
    gate.write_text("x\n")
    assert container.wait_run(run)["tasks"]["a"]["exit_code"] == 9


def test_a_keeper_that_dies_is_started_again(container: Container) -> None:
    container.start()
    first = container.keeper()
    first.kill()
    wait_until(lambda: [each for each in container._ours() if each.pid != first.pid], "the next keeper")
    container.install("w.yaml", json.dumps({"tasks": {"a": {"run": "true"}}}))
    assert container.wait_run(container.run("w"))["state"] == "succeeded"


def test_settings_that_are_refused_end_the_container_with_their_status(container: Container) -> None:
    container.settings(no_such_setting=1)
    container.start(wait=False)
    assert container.wait_dead() == 6
    assert "no_such_setting" in container.log_text()
    assert not container.processes()


def test_sighup_reaches_the_daemon(container: Container) -> None:
    container.start()
    assert container.process is not None
    daemon = container.daemon()
    container.process.send_signal(signal.SIGHUP)
    container.install("w.yaml", json.dumps({"tasks": {"a": {"run": "true"}}}))
    assert container.daemon().pid == daemon.pid
    assert container.stop() == 0
