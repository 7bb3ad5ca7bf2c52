"""Tasks that restart the daemon or upgrade the keeper that runs them, and go on; the test is the service manager."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.daemon.instance import Instance
from tests.waiting import wait_until


class Manager:
    """Starts the daemon again when a task has ended it, as systemd does; tells by a file that it is up."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.pid_file = instance.root / "pid"

    def start(self) -> None:
        self.instance.start()
        assert self.instance.process is not None
        beside = Path(f"{self.pid_file}.new")
        beside.write_text(f"{self.instance.process.pid}\n")
        beside.rename(self.pid_file)

    def restart_when_ended(self) -> None:
        assert self.instance.process is not None
        self.instance.process.wait(20)
        self.start()


RESTART = """\
while [ ! -e {pid}.go ]; do sleep 0.01; done
old=$(cat {pid}); kill -{signal} "$old"
echo restarting
while [ "$(cat {pid})" = "$old" ]; do sleep 0.01; done
echo restarted; exit 7
"""


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_a_task_that_restarts_the_daemon_lives_on_and_so_does_its_run(instance: Instance, signal: str) -> None:
    manager = Manager(instance)
    manager.start()
    text = RESTART.format(pid=manager.pid_file, signal=signal)
    tasks = {"restart": {"run": text, "success_codes": [7]}, "check": {"needs": "restart", "run": "echo on"}}
    instance.install("w.yaml", json.dumps({"tasks": tasks}))
    run = instance.run("w")
    Path(f"{manager.pid_file}.go").touch()
    manager.restart_when_ended()
    ended = instance.wait_run(run)
    assert ended["state"] == "succeeded"
    assert (ended["tasks"]["restart"]["exit_code"], ended["tasks"]["restart"]["attempts"]) == (7, 1)
    assert instance.ctl("logs", run, "restart", "--raw").stdout.splitlines() == ["restarting", "restarted"]
    assert ended["tasks"]["check"]["state"] == "succeeded"


def test_a_task_that_upgrades_the_keeper_lives_on_with_its_status(daemon: Instance) -> None:
    keeper = daemon.keeper()
    log = next((daemon.root / "run").rglob("keeper.log"))
    text = f"kill -HUP {keeper.pid}; while ! grep -q upgraded {log}; do sleep 0.01; done"
    tasks = {"upgrade": {"run": f"{text}; exit 7", "success_codes": [7]}, "check": {"needs": "upgrade", "run": "true"}}
    daemon.install("w.yaml", json.dumps({"tasks": tasks}))
    ended = daemon.wait_run(daemon.run("w"))
    assert ended["state"] == "succeeded"
    assert ended["tasks"]["upgrade"]["exit_code"] == 7
    assert daemon.keeper().pid == keeper.pid


def test_a_task_that_ends_the_keeper_ends_itself_and_the_record_says_so(daemon: Instance) -> None:
    keeper = daemon.keeper()
    tasks = {"stop": {"run": f"kill -TERM {keeper.pid}; sleep 60"}, "check": {"needs": "stop", "run": "true"}}
    daemon.install("w.yaml", json.dumps({"tasks": tasks}))
    ended = daemon.wait_run(daemon.run("w"))
    stop = ended["tasks"]["stop"]
    assert (stop["state"], stop["reason"], stop["signal"]) == ("failed", "lost", 15)
    assert "stopped with the keeper" in stop["error"]
    assert ended["tasks"]["check"]["state"] == "upstream_failed"
    wait_until(lambda: not keeper.is_running(), "the end of the old keeper")
    daemon.install("v.yaml", json.dumps({"tasks": {"a": {"run": "true"}}}))
    assert daemon.wait_run(daemon.run("v"))["state"] == "succeeded"


def test_the_own_end_of_a_task_that_a_stopping_keeper_finds_ended_is_exact(daemon: Instance) -> None:
    """It ended by itself in the moment before: nobody stopped it."""
    keeper = daemon.keeper()
    daemon.install("w.yaml", json.dumps({"tasks": {"a": {"run": f"kill -STOP {keeper.pid}; exit 5"}}}))
    run = daemon.run("w")
    child = wait_until(lambda: [each for each in keeper.children() if each.status() == "zombie"], "the end of the task")
    assert child
    keeper.terminate()
    keeper.resume()
    task = daemon.wait_run(run)["tasks"]["a"]
    assert (task["state"], task["reason"], task["exit_code"]) == ("failed", "exit_code", 5)
