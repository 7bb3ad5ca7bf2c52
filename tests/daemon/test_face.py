"""The command line against a real daemon: what people are told, and waiting over a restart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import psutil
import pytest

from pyflowd.base.peer import Peer
from pyflowd.errors import Forbidden
from pyflowd.handlers.access import Access
from pyflowd.handlers.handlers import Handlers
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.protocol.requests import CancelRun, GetHost, Reload, Request
from pyflowd.protocol.words import Level
from pyflowd.runtime.audit import Audit
from tests.daemon.instance import REPOSITORY, Instance
from tests.waiting import wait_until

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
    instance.install("w.yaml", text)
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
@pytest.mark.parametrize("kill", [True, False])
def test_logs_that_are_followed_over_a_restart_come_once_and_whole(
    instance: Instance, gate: Path, of: str, *, kill: bool
) -> None:
    instance.start()
    instance.install("w.yaml", GATED.format(gate=gate).replace("while", "echo before; while"))
    instance.run("w")
    running(instance)
    client = begin(instance, "logs", of, "-f", "--raw")
    assert client.stdout is not None
    assert client.stdout.readline() == "before\n"
    instance.run("w")  # a newer run is not what is followed
    instance.kill() if kill else instance.stop()
    gate.touch()
    instance.start()
    output, error = client.communicate(timeout=30)
    assert (client.returncode, output, error) == (0, "said\n", "")


def test_logs_of_a_run_that_has_said_nothing_are_followed_over_a_restart(instance: Instance, gate: Path) -> None:
    instance.start()
    instance.install("w.yaml", GATED.format(gate=gate))
    instance.run("w")
    running(instance)
    client = begin(instance, "logs", "w", "-f", "--raw")
    wait_until(lambda: _has_a_log(client), "the client has the log")
    instance.kill()
    instance.start()
    gate.touch()
    output, error = client.communicate(timeout=30)
    assert (client.returncode, output, error) == (0, "said\n", "")


def _has_a_log(client: subprocess.Popen[str]) -> bool:
    """Whether the daemon has handed it one."""
    return any("/log/" in found.path for found in psutil.Process(client.pid).open_files())


@pytest.mark.parametrize("kill", [True, False])
def test_events_that_are_followed_over_restarts_come_once_and_whole(instance: Instance, *, kill: bool) -> None:
    instance.start()
    instance.install("w.yaml", "tasks: {a: {run: 'true'}}\n")
    client = begin(instance, "events", "-f", "-n", "1", "-o", "json")
    assert client.stdout is not None
    seen = [json.loads(client.stdout.readline())["event"]]
    for _ in range(3):
        instance.wait_run(instance.run("w"))
        instance.kill() if kill else instance.stop()
        instance.start()
        instance.wait_run(instance.run("w"))
    lines = instance.ctl("events", "-n", 500, "-o", "json").stdout.splitlines()
    known = [json.loads(line)["event"] for line in lines]
    while seen[-1] != known[-1]:
        seen.append(json.loads(client.stdout.readline())["event"])
    client.terminate()
    client.communicate(timeout=30)
    assert seen == known[known.index(seen[0]) :]


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


# ---- What people are told -------------------------------------------------------------------------------------------

GOOD = "tasks: {a: {run: 'true'}}\n"
BAD = "tasks: {a: {runn: 'true'}}\n"


def make_stale(instance: Instance) -> None:
    """A workflow whose newest text is refused."""
    instance.install("w.yaml", GOOD)
    instance.write("w.yaml", BAD)
    wait_until(lambda: instance.json("list")[0]["state"] == "stale", "the bad text is noted")


def test_a_run_that_is_being_cancelled_says_so(daemon: Instance, gate: Path) -> None:
    daemon.install("w.yaml", f"tasks: {{a: {{run: 'trap \"\" TERM; touch {gate}; sleep 60', kill_grace: 60s}}}}\n")
    run = daemon.run("w")
    wait_until(gate.exists, "the trap is set")
    said = daemon.ctl("cancel", run).stdout
    assert f"run {run} of w is being cancelled: 1 task is still being stopped" in said
    assert daemon.status(run)["stopping"] == "cancel"
    daemon.ctl("cancel", run)
    assert daemon.wait_run(run)["stopping"] is None


def test_a_queued_run_names_the_run_that_it_waits_for(daemon: Instance, gate: Path) -> None:
    daemon.install("w.yaml", GATED.format(gate=gate))
    first, second = daemon.run("w"), daemon.run("w")
    assert (daemon.status(first)["waits_for"], daemon.status(second)["waits_for"]) == (None, first)
    assert daemon.json("history", "w")[0]["waits_for"] == first


@pytest.mark.parametrize("options", [(), ("--dry-run",), ("--wait",)])
def test_a_run_of_a_stale_workflow_says_which_text_it_has(daemon: Instance, options: tuple[str, ...]) -> None:
    make_stale(daemon)
    said = daemon.ctl("run", "w", *options).stdout
    assert "the newest text of w.yaml is refused (line 1: " in said
    assert "this run has the text in force since " in said


def test_the_json_of_a_run_of_a_stale_workflow_is_as_ever(daemon: Instance) -> None:
    make_stale(daemon)
    assert daemon.json("run", "w") == {"run": 1, "workflow": "w"}


def test_reload_ends_with_six_while_a_file_is_refused(daemon: Instance) -> None:
    make_stale(daemon)
    refused = daemon.ctl("reload").returncode
    daemon.write("w.yaml", GOOD)
    assert (refused, daemon.ctl("reload").returncode) == (6, 0)


@pytest.mark.parametrize("command", ["list", "reload"])
def test_a_file_that_is_ignored_is_told_below_the_table(daemon: Instance, command: str) -> None:
    daemon.install("w.yaml", GOOD)
    (daemon.root / "workflows" / "out.yaml").symlink_to("/etc/passwd")
    daemon.ctl("reload")
    done = daemon.ctl(command)
    assert "! ignored: out.yaml: it is a link that leads out of the folder" in done.stdout
    assert done.returncode == 0


def test_doctor_warns_of_definitions_that_are_refused(daemon: Instance) -> None:
    before = daemon.json("doctor")["checks"]
    make_stale(daemon)
    after = daemon.json("doctor")["checks"]
    assert [check["level"] for check in before if check["subject"] == "definitions"] == ["ok"]
    assert {check["level"] for check in after if check["subject"] == "definitions"} == {"warning"}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("history", "no runs"),
        ("history w --state failed", "no runs"),
        ("slots w", "no slots"),
        ("next w", "no slot of w is coming: its schedules are disabled (enabled: false)"),
    ],
)
def test_an_empty_answer_is_a_sentence_and_an_empty_array(daemon: Instance, line: str, sentence: str) -> None:
    daemon.install("w.yaml", "schedule: {cron: '@daily', enabled: false}\n" + GOOD)
    text, value = daemon.ctl(*line.split()), daemon.ctl(*line.split(), "-o", "json")
    assert sentence in text.stdout
    assert json.loads(value.stdout) == []


def test_logs_without_output_say_so_on_standard_error(daemon: Instance) -> None:
    daemon.install("w.yaml", GOOD)
    daemon.wait_run(daemon.run("w"))
    done, raw = daemon.ctl("logs", "w"), daemon.ctl("logs", "w", "--raw")
    assert (done.stdout, done.stderr, raw.stderr) == ("", "no output\n", "")


def test_logs_with_output_do_not(daemon: Instance) -> None:
    daemon.install("w.yaml", "tasks: {a: {run: 'true'}, b: {run: 'echo said'}}\n")
    daemon.wait_run(daemon.run("w"))
    assert daemon.ctl("logs", "w").stderr == ""


def test_every_problem_of_a_file_is_a_line(daemon: Instance, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("tasks:\n  a: {runn: x}\n  b: {run: x, neds: a}\n")
    done = daemon.ctl("run", path)
    assert done.returncode == 6
    assert len(done.stderr.splitlines()) == 3
    assert all(line.startswith(f"pyflowctl: {path}:") for line in done.stderr.splitlines())


def test_a_failure_that_was_allowed_is_told_as_such(daemon: Instance) -> None:
    daemon.install("w.yaml", "tasks: {a: {run: 'exit 7', continue_on_error: true}}\n")
    assert daemon.wait_run(daemon.run("w"))["tasks"]["a"]["allowed"] is True
    assert "failed, allowed: exit code 7" in daemon.ctl("status", "w").stdout


def test_an_event_does_not_say_its_state_twice(daemon: Instance) -> None:
    daemon.install("w.yaml", "tasks: {a: {run: 'exit 7'}, b_c: {needs: a, run: 'true'}}\n")
    run = daemon.run("w")
    daemon.wait_run(run)
    assert "b_c: upstream failed\n" in daemon.ctl("events", "--run", run).stdout


@pytest.mark.parametrize(
    ("request_", "remedy"),
    [
        (GetHost(), "ask the administrator to make you a member of the group lookers"),
        (CancelRun(run=1), "ask the administrator to make you a member of the group doers"),
        (Reload(), "only root and the account that pyflowd runs as may"),
    ],
)
def test_who_may_not_is_told_which_group_to_ask_for(request_: Request, remedy: str) -> None:
    unused = cast("Any", SimpleNamespace(clock=SimpleNamespace(mono_us=lambda: 0)))
    workflows = cast("Any", SimpleNamespace(rights=SimpleNamespace(of={})))
    groups = {Level.READ: ["lookers"], Level.OPERATE: ["doers"]}
    access = Access(unused, workflows, unused, groups)
    audit = Audit(unused, cast("Any", SimpleNamespace(has=lambda _: True)))
    of_runs = RunHandlers(unused, unused, unused, unused, unused, unused, access, audit)
    others = list(signature(Handlers).parameters)[1:]
    handlers = Handlers(of_runs, **{name: cast("Any", Mock()) for name in others})
    with pytest.raises(Forbidden, match=f"may not do this; {remedy}"):
        handlers.handle(request_, Peer(uid=65534, gid=65534, pid=1))
