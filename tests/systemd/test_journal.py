"""The host's journal under a real journald: the queries of the manual give what they promise."""

from __future__ import annotations

import pytest

from pyflowd.render.journal_entries import MESSAGE_IDS
from tests.systemd.machine import Machine
from tests.waiting import wait_until

WORKFLOW = """\
tasks:
  dump: {run: 'seq 1 30; echo to stderr >&2; exit 3'}
  after: {run: 'true', needs: dump}
  talks: {run: 'echo one; echo two', log: {journal: all}}
"""


@pytest.fixture(scope="module")
def run(machine: Machine) -> str:
    """A run that failed, with all that is to be told of it in the journal."""
    machine.workflow("nightly-backup", WORKFLOW)
    run = str(machine.start("nightly-backup"))
    machine.wait_state(int(run))
    wait_until(lambda: len(machine.journal("-t", "pyflow-task", f"PYFLOW_RUN={run}")) == 22, "its output is there")
    return run


def test_a_workflow_can_be_asked_for_within_the_unit(machine: Machine, run: str) -> None:
    entries = machine.journal("-u", "pyflowd", "PYFLOW_WORKFLOW=nightly-backup", "SYSLOG_IDENTIFIER=pyflowd")
    said = [entry["MESSAGE"] for entry in entries]
    assert f"nightly-backup: run {run} started" in said
    assert f"nightly-backup: run {run}: dump: attempt 1 ended with exit code 3" in said
    (last,) = [entry for entry in entries if entry["MESSAGE_ID"] == MESSAGE_IDS["run_ended"]]
    assert (last["PYFLOW_STATE"], last["PRIORITY"], last["PYFLOW_RUN"]) == ("failed", "3", run)
    assert (last["_TRANSPORT"], last["_SYSTEMD_UNIT"]) == ("journal", "pyflowd.service")


def test_a_run_can_be_asked_for_with_what_its_tasks_said(machine: Machine, run: str) -> None:
    output = machine.journal(f"PYFLOW_RUN={run}", "PYFLOW_TASK=dump", f"MESSAGE_ID={MESSAGE_IDS['task_output']}")
    assert [entry["MESSAGE"] for entry in output] == [*map(str, range(12, 31)), "to stderr"]
    assert {entry["PRIORITY"] for entry in output} == {"4"}
    streamed = machine.journal("-u", "pyflow-keeper", f"PYFLOW_RUN={run}")
    assert [(entry["MESSAGE"], entry["PYFLOW_TASK"]) for entry in streamed] == [("one", "talks"), ("two", "talks")]


def test_failed_runs_and_warnings_and_people_can_be_asked_for(machine: Machine, run: str) -> None:
    (failed,) = machine.journal(f"MESSAGE_ID={MESSAGE_IDS['run_ended']}", "PYFLOW_STATE=failed")
    assert failed["PYFLOW_RUN"] == run
    (worst,) = machine.journal("-u", "pyflowd", "-p", "err")
    assert worst["MESSAGE"] == failed["MESSAGE"]
    (asked,) = machine.journal("-u", "pyflowd", "PYFLOW_USER=root", f"PYFLOW_RUN={run}")
    assert asked["MESSAGE_ID"] == MESSAGE_IDS["run_created"]


def test_an_explanation_stands_beside_an_entry(machine: Machine, run: str) -> None:
    said = machine.run(["journalctl", "--no-pager", "-x", f"MESSAGE_ID={MESSAGE_IDS['run_ended']}"]).stdout
    assert "Subject: A run has ended: failed" in said
    assert f"pyflowctl rerun {run} --failed" in said


def test_the_daemon_speaks_natively_with_its_actions_as_a_field(machine: Machine, run: str) -> None:
    (started,) = machine.journal("-u", "pyflowd", "PYFLOW_ACTION=started")
    assert started["_TRANSPORT"] == "journal"
    machine.systemctl("restart", "pyflowd")
    wait_until(lambda: len(machine.journal("-u", "pyflowd", "PYFLOW_ACTION=started")) == 2, "the next one")
    assert machine.journal("-u", "pyflowd", f"MESSAGE_ID={MESSAGE_IDS['daemon_stopped']}")


def test_why_the_daemon_does_not_start_is_an_error(machine: Machine, run: str) -> None:
    machine.write("/etc/pyflow/pyflowd.yaml", "max_task: 5\n")
    machine.systemctl("restart", "pyflowd", check=False)
    wait_until(
        lambda: any("no key" in entry["MESSAGE"] for entry in machine.journal("-u", "pyflowd", "-p", "err")),
        "the reason is among the errors",
    )
    machine.write("/etc/pyflow/pyflowd.yaml", "")
    machine.systemctl("restart", "pyflowd")


def test_a_keeper_yaml_that_bars_every_task_is_told_when_it_is_read(machine: Machine, run: str) -> None:
    before = machine.read("/etc/pyflow/keeper.yaml")
    machine.write("/etc/pyflow/keeper.yaml", f"{before}rot: true\n")
    machine.systemctl("reload", "pyflow-keeper")
    wait_until(
        lambda: any("no task is started" in entry["MESSAGE"] for entry in machine.journal("-u", "pyflow-keeper")),
        "the keeper says so",
    )
    machine.write("/etc/pyflow/keeper.yaml", before)
    machine.systemctl("reload", "pyflow-keeper")


def test_journald_may_stop_and_start_again(machine: Machine, run: str) -> None:
    machine.run(["systemctl", "restart", "systemd-journald"])
    again = str(machine.start("nightly-backup"))
    machine.wait_state(int(again))
    wait_until(
        lambda: machine.journal(f"PYFLOW_RUN={again}", f"MESSAGE_ID={MESSAGE_IDS['run_ended']}"), "its end is there"
    )


def test_the_journal_is_sound_after_all_that(machine: Machine, run: str) -> None:
    machine.run(["journalctl", "--rotate"])
    assert "FAIL" not in machine.run(["journalctl", "--verify"]).stderr
