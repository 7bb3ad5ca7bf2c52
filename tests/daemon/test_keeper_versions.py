"""A keeper that is older than the daemon: the last one that told level 2 on the wire, as it was released."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyflowd.keeper import wire
from tests.daemon.instance import REPOSITORY, Instance
from tests.waiting import wait_until

LEVEL_2 = "8430569"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The source tree of the old keeper, which can be replaced by ours as an upgrade does."""
    folder = tmp_path / "installed"
    folder.mkdir()
    files = ["git", "-C", REPOSITORY, "archive", LEVEL_2, "pyflowd/__init__.py", "pyflowd/keeper"]
    archive = subprocess.run(files, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip("the history of the project is not here")
    subprocess.run(["tar", "-x", "-C", folder], input=archive.stdout, check=True)
    return folder


@pytest.fixture
def instance(tmp_path: Path, old: Path) -> Iterator[Instance]:
    """A daemon of this version with the old keeper."""
    found = Instance(tmp_path / "root")
    (found.root / "run").mkdir(mode=0o700)
    entry = old / "pyflowd" / "keeper" / "__main__.py"
    words = [sys.executable, "-I", "-S", entry, "--run-dir", found.root / "run", "--root", found.root, "--detach"]
    subprocess.run(words, check=True)
    wait_until(lambda: (found.root / "run" / "keeper.sock").exists(), "the old keeper")
    found.start()
    yield found
    found.end()


def install_ours(old: Path) -> None:
    shutil.rmtree(old / "pyflowd" / "keeper")
    shutil.copytree(REPOSITORY / "pyflowd" / "keeper", old / "pyflowd" / "keeper")


def test_tasks_run_under_the_old_keeper_with_exact_ends(instance: Instance) -> None:
    assert wire.LEVEL > wire.LEVEL_MASKS
    instance.install("w.yaml", json.dumps({"tasks": {"a": {"run": "echo hello; exit 9"}}}))
    run = instance.run("w")
    assert instance.wait_run(run)["tasks"]["a"]["exit_code"] == 9
    assert instance.ctl("logs", run, "--raw").stdout == "hello\n"


def test_a_task_lives_over_the_upgrade_from_the_old_keeper_and_a_restart_of_the_daemon(
    instance: Instance, old: Path
) -> None:
    gate = instance.root / "gate"
    os.mkfifo(gate)
    instance.install("w.yaml", json.dumps({"tasks": {"a": {"run": f"echo one; cat {gate}; exit 9"}}}))
    run = instance.run("w")
    instance.wait_task(run, "a", "running")
    keeper = instance.keeper()
    install_ours(old)
    keeper.send_signal(signal.SIGHUP)
    log = instance.root / "run" / "keeper.log"
    wait_until(lambda: "upgraded in place" in log.read_text(), f"the upgrade; {log.read_text()}")
    instance.stop()
    instance.start()
    gate.write_text("two\n")
    ended = instance.wait_run(run)
    assert ended["tasks"]["a"]["exit_code"] == 9
    assert instance.ctl("logs", run, "--raw").stdout == "one\ntwo\n"
    assert instance.keeper().pid == keeper.pid
    second = instance.run("w")
    instance.wait_task(second, "a", "running")
    gate.write_text("three\n")
    assert instance.wait_run(second)["tasks"]["a"]["exit_code"] == 9
