"""The service on a real systemd: it starts, says what it does, and what it was doing goes on over its own end."""

from __future__ import annotations

import signal

from tests.systemd.machine import Machine
from tests.waiting import wait_until

GATED = """\
tasks:
  wait: {run: 'until [ -e /tmp/%s ]; do sleep 0.05; done; exit 7', timeout: 5m}
"""
"""A task that ends with 7 once its file is there."""


def _begin(machine: Machine, name: str) -> int:
    machine.workflow(name, GATED % name)
    run = machine.start(name)
    machine.wait_task(run, "wait")
    return run


def _end_with_seven(machine: Machine, name: str, run: int) -> None:
    """The task goes on until it is let go, and its exit status is the true one, of its first attempt."""
    task = machine.status(run)["tasks"]["wait"]
    assert (task["state"], task["attempts"]) == ("running", 1)
    machine.run(["touch", f"/tmp/{name}"])
    ended = machine.wait_state(run)
    task = ended["tasks"]["wait"]
    assert (ended["state"], task["exit_code"], task["reason"], task["attempts"]) == ("failed", 7, "exit_code", 1)


def _next_life(machine: Machine, before: int) -> int:
    """The main process that follows `before`, once it answers."""
    pid: int = wait_until(
        lambda: (
            (now := machine.main_pid()) not in (0, before)
            and machine.run("pyflowctl status", check=False).returncode == 0
            and now
        ),
        "the next pyflowd answers",
    )
    return pid


def test_it_says_what_it_does_and_what_comes_next(machine: Machine) -> None:
    machine.workflow("nightly", "schedule: '30 2 * * *'\ntasks: {t: {run: 'true'}}\n")
    wait_until(lambda: machine.show("pyflowd", "StatusText").startswith("idle, next nightly in "), "idle")
    run = _begin(machine, "told")
    wait_until(lambda: machine.show("pyflowd", "StatusText").startswith("1 running, next nightly in "), "one runs")
    _end_with_seven(machine, "told", run)
    wait_until(lambda: machine.show("pyflowd", "StatusText").startswith("idle, next nightly in "), "idle again")


def test_a_task_goes_on_over_a_restart_of_the_daemon(machine: Machine) -> None:
    run = _begin(machine, "restarted")
    before = machine.main_pid()
    machine.systemctl("restart", "pyflowd")
    _next_life(machine, before)
    _end_with_seven(machine, "restarted", run)


def test_a_task_goes_on_over_kill_9_of_the_daemon(machine: Machine) -> None:
    run = _begin(machine, "killed")
    before = machine.main_pid()
    machine.systemctl("kill", "--signal=KILL", "pyflowd")
    _next_life(machine, before)
    _end_with_seven(machine, "killed", run)


def test_a_daemon_that_hangs_is_ended_by_the_watchdog_and_its_task_goes_on(machine: Machine) -> None:
    machine.drop_in("pyflowd.service", "[Service]\nWatchdogSec=2s\n")
    before = machine.main_pid()
    machine.systemctl("restart", "pyflowd")
    before = _next_life(machine, before)
    run = _begin(machine, "hung")
    machine.run(["kill", f"-{signal.SIGSTOP:d}", str(before)])
    _next_life(machine, before)
    said = [entry["MESSAGE"] for entry in machine.journal("-u", "pyflowd", "_PID=1")]
    assert any("Watchdog timeout" in line for line in said)
    _end_with_seven(machine, "hung", run)
    assert machine.show("pyflowd", "WatchdogUSec") == "2s"


def test_a_disk_that_does_not_answer_is_told_and_the_daemon_is_not_killed_for_it(machine: Machine) -> None:
    machine.drop_in("pyflowd.service", "[Service]\nWatchdogSec=2s\n")
    before = machine.main_pid()
    machine.systemctl("restart", "pyflowd")
    pid = _next_life(machine, before)
    machine.workflow("stalled", "tasks: {t: {run: 'true'}}\n")
    strace = "systemd-run --unit=stall --quiet strace -f -qq -o /dev/null -p {} -e trace=fdatasync,fsync"
    machine.run(strace.format(pid) + " -e inject=fdatasync,fsync:delay_enter=9000000")
    wait_until(
        lambda: machine.run(f"grep -q 'TracerPid:.[1-9]' /proc/{pid}/status", check=False).returncode == 0, "traced"
    )
    machine.run("systemd-run --unit=asker --quiet pyflowctl run stalled")
    wait_until(lambda: "has not answered for" in machine.show("pyflowd", "StatusText"), "it says so")
    assert machine.show("pyflowd", "StatusText").startswith("degraded: the disk of /var/lib/pyflow")
    machine.run("systemctl kill --signal=INT stall")
    wait_until(lambda: machine.show("pyflowd", "StatusText").startswith(("idle", "1 running")), "it has recovered")
    assert machine.main_pid() == pid


def test_a_stopped_daemon_is_started_by_whoever_asks(machine: Machine) -> None:
    machine.systemctl("stop", "pyflowd")
    assert machine.main_pid() == 0
    assert machine.show("pyflow-keeper", "ActiveState") == "active"
    machine.ctl("status")
    assert machine.main_pid()


def test_a_stop_of_the_keeper_ends_its_tasks_and_the_run_says_what_is_known(machine: Machine) -> None:
    run = _begin(machine, "lost")
    machine.systemctl("restart", "pyflow-keeper")
    ended = machine.wait_state(run)
    assert ended["state"] == "failed"
    assert ended["tasks"]["wait"]["reason"] in ("lost", "signal")


def test_memory_that_runs_out_ends_tasks_before_daemon_and_keeper(machine: Machine) -> None:
    machine.workflow("score", "tasks: {t: {run: cat /proc/self/oom_score_adj}}\n")
    run = machine.start("score")
    assert machine.wait_state(run)["state"] == "succeeded"
    assert machine.run(f"pyflowctl logs {run} --raw").stdout == "0\n"
    scores = {"pyflowd": "-500", "pyflow-keeper": "-900"}
    assert {unit: machine.show(unit, "OOMScoreAdjust") for unit in scores} == scores
    if machine.run("choom -n -1 true", check=False).returncode == 0:  # a container may not let systemd do it
        found = {unit: machine.read(f"/proc/{machine.main_pid(unit)}/oom_score_adj").strip() for unit in scores}
        assert found == scores
