"""The command line against a real daemon: what people are told, and waiting over a restart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.instance import REPOSITORY, Instance, wait_until

GATED = "tasks: {{a: {{run: 'while [ ! -e {gate} ]; do sleep 0.02; done; echo said; exit 3'}}}}\n"


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that lets the tasks of GATED end."""
    return tmp_path / "gate"


def begin(instance: Instance, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pyflowctl", "--root", str(instance.root), *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1", "TZ": "UTC"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def running(instance: Instance) -> int:
    """The run whose task runs."""
    found = wait_until(lambda: instance.json("status")["running"], "a run is running")
    run: int = found[0]["run"]
    instance.wait_task(run, "a", "running")
    return run


# ---- Waiting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kill", [True, False])
def test_waiting_for_a_run_lives_over_a_restart(instance: Instance, gate: Path, *, kill: bool) -> None:
    instance.start()
    instance.install("w.yaml", GATED.format(gate=gate))
    client = begin(instance, "run", "w", "--wait", "-o", "json")
    run = running(instance)
    instance.kill() if kill else instance.stop()
    instance.start()
    gate.touch()
    output, error = client.communicate(timeout=30)
    assert (client.returncode, error) == (1, "")
    value = json.loads(output)
    assert (value["run"], value["state"], value["tasks"]["a"]["exit_code"]) == (run, "failed", 3)


def test_output_that_is_followed_over_a_restart_comes_once(instance: Instance, gate: Path) -> None:
    instance.start()
    text = GATED.format(gate=gate).replace("while", "echo before; while")
    instance.install("w.yaml", text + "  ")
    client = begin(instance, "run", "w", "--follow")
    running(instance)
    instance.kill()
    instance.start()
    gate.touch()
    output, error = client.communicate(timeout=30)
    assert (client.returncode, error) == (1, "")
    said = [line.split()[-1] for line in output.splitlines() if line.endswith((" before", " said"))]
    assert said == ["before", "said"]


@pytest.mark.parametrize("of", ["1", "w"])
def test_wait_ends_as_the_run_did(daemon: Instance, gate: Path, of: str) -> None:
    gate.touch()
    daemon.install("w.yaml", GATED.format(gate=gate))
    daemon.run("w")
    done = daemon.ctl("wait", of)
    assert done.returncode == 1
    assert "run 1 of w failed after" in done.stdout
    assert "recorded" not in done.stdout


# ---- By the workflow's name -----------------------------------------------------------------------------------------


def test_cancel_of_a_workflow_is_that_of_its_newest_live_run(daemon: Instance, gate: Path) -> None:
    daemon.install("w.yaml", GATED.format(gate=gate))
    first, second = daemon.run("w"), daemon.run("w")
    assert daemon.json("cancel", "w")["run"] == second
    assert daemon.json("cancel", "w")["run"] == first


def test_cancel_of_a_workflow_without_a_live_run_names_its_newest(daemon: Instance, gate: Path) -> None:
    gate.touch()
    daemon.install("w.yaml", GATED.format(gate=gate))
    daemon.wait_run(daemon.run("w"))
    done = daemon.ctl("cancel", "w")
    assert (done.returncode, done.stderr) == (
        6, "pyflowctl: no run of w is live; its newest, run 1, is failed\n"
    )  # fmt: skip


def test_rerun_of_a_workflow_is_that_of_its_newest_run(daemon: Instance, gate: Path) -> None:
    gate.touch()
    daemon.install("w.yaml", GATED.format(gate=gate))
    daemon.wait_run(daemon.run("w"))
    again = daemon.json("rerun", "w", "--failed")["run"]
    assert daemon.wait_run(again)["rerun_of"] == 1
