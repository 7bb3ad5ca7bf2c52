"""`resources` from the file to the process: what is kept, and what is said where it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.instance import Instance
from tests.daemon.keeper_host import ENTRY
from tests.daemon.test_keeper_cgroups import place
from tests.waiting import wait_until

__all__ = ["place"]

LIMITED = "tasks: {a: {run: 'nice; cat /proc/self/cgroup', resources: {memory_max: 64MiB, nice: 6}}}\n"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    found = Instance(tmp_path / "root")
    yield found
    found.end()


def begin_keeper(instance: Instance, place: Path) -> subprocess.Popen[bytes]:
    """As its unit does: before pyflowd, which finds it."""
    (instance.root / "run").mkdir(mode=0o700)
    arguments = ["--run-dir", instance.root / "run", "--root", instance.root, "--cgroup", place]
    keeper = subprocess.Popen([sys.executable, "-I", "-S", ENTRY, *arguments], stdin=subprocess.DEVNULL)
    wait_until((instance.root / "run" / "keeper.sock").exists, "the keeper")
    return keeper


def checks(instance: Instance) -> dict[str, tuple[str, str]]:
    return {check["subject"]: (check["level"], check["found"]) for check in instance.json("doctor")["checks"]}


def test_without_cgroups_a_task_runs_and_its_log_and_doctor_say_what_is_not_kept(instance: Instance) -> None:
    instance.start()
    instance.install("limited.yaml", LIMITED)
    run = instance.run("limited")
    assert instance.wait_run(run)["state"] == "succeeded"
    log = instance.ctl("logs", run, "--raw").stdout
    assert "pyflow: not kept: memory_max (the keeper was started without --cgroup)" in log
    assert "6\n" in log
    found = checks(instance)
    assert found["processes"][0] == "warning"
    assert found["processes"][1].startswith("best effort")
    assert found["limits"][0] == "warning"


def test_with_cgroups_doctor_says_exact_and_each_attempt_has_one(instance: Instance, place: Path) -> None:
    keeper = begin_keeper(instance, place)
    try:
        instance.start()
        instance.install("limited.yaml", LIMITED)
        run = instance.run("limited")
        assert instance.wait_run(run)["state"] == "succeeded"
        assert f"/{place.name}/attempt-" in instance.ctl("logs", run, "--raw").stdout
        assert checks(instance)["processes"] == ("ok", "exact: each attempt has a cgroup")
    finally:
        instance.end()
        keeper.wait()


def test_a_killed_daemon_finds_attempts_and_containment_again(instance: Instance, place: Path) -> None:
    keeper = begin_keeper(instance, place)
    try:
        instance.start()
        instance.install("long.yaml", "tasks: {a: {run: 'setsid prlimit --rttime=9 sleep 600 & exec sleep 600'}}\n")
        run = instance.run("long")
        instance.wait_task(run, "a", "running")
        (folder,) = place.glob("attempt-*")
        wait_until(lambda: len((folder / "cgroup.procs").read_text().split()) == 2, "both processes")
        instance.kill()
        instance.start()
        assert checks(instance)["processes"][0] == "ok"
        instance.ctl("cancel", run)
        assert instance.wait_run(run)["state"] == "cancelled"
        wait_until(lambda: not folder.exists(), "the end of the cgroup")
    finally:
        instance.end()
        keeper.wait()
    assert not os.path.exists(folder)
