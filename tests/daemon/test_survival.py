"""The promise: what was acknowledged exists, nothing is started twice, no status is invented; whatever is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from pyflowd.crashpoints import CRASHPOINTS
from pyflowd.protocol.requests import RerunRun
from pyflowd.protocol.views_runs import RunView
from tests.daemon.checker import check_fold, check_witness
from tests.daemon.instance import Instance
from tests.waiting import wait_until

LONG = bool(os.environ.get("PYFLOW_LONG"))


def test_a_task_that_ends_while_the_daemon_is_dead_keeps_its_exit_code_and_its_output(instance: Instance) -> None:
    instance.start()
    gate = instance.root / "gate"
    os.mkfifo(gate)
    instance.install("w.yaml", json.dumps({"tasks": {"t": {"run": f"echo one; cat {gate}; echo two; exit 7"}}}))
    run = instance.run("w")
    instance.wait_task(run, "t", "running")
    instance.kill()
    gate.write_text("through the gate\n")  # the reader is there; the task goes on and ends
    instance.start()
    ended = instance.wait_run(run)
    assert (ended["state"], ended["tasks"]["t"]["exit_code"]) == ("failed", 7)
    assert ended["tasks"]["t"]["attempts"] == 1
    assert instance.ctl("logs", run, "--raw").stdout == "one\nthrough the gate\ntwo\n"


def test_fifty_tasks_write_on_over_ten_restarts_in_a_row(instance: Instance) -> None:
    """No line is missing or doubled, every exit code is the true one."""
    go = instance.root / "go"
    script = (
        'for i in $(seq 40); do echo "$PYFLOW_TASK $i"; sleep 0.05; done; '
        f"until [ -e {go} ]; do sleep 0.05; done; exit $((${{PYFLOW_TASK#t}} % 7))"
    )
    tasks = {f"t{n}": {"run": script, "continue_on_error": True} for n in range(50)}
    instance.start()
    instance.install("w.yaml", json.dumps({"max_parallel": 50, "tasks": tasks}))
    run = instance.run("w")
    for _ in range(10):
        instance.kill()
        instance.start()
    go.touch()
    ended = instance.wait_run(run, 60)
    assert {name: task["exit_code"] for name, task in ended["tasks"].items()} == {f"t{n}": n % 7 for n in range(50)}
    assert {task["attempts"] for task in ended["tasks"].values()} == {1}
    lines = Counter(instance.ctl("logs", run, "--raw").stdout.splitlines())
    assert lines == Counter(f"t{n} {i}" for n in range(50) for i in range(1, 41))


def witnessed(root: Path) -> str:
    """A DAG of eight tasks; each attempt writes its name once, and its exit code before it ends with it."""
    witness = root / "witness"
    run = (
        f'echo "start $PYFLOW_RUN_ID $PYFLOW_TASK $PYFLOW_ATTEMPT" >> {witness}; '
        f"code=$(( ($PYFLOW_ATTEMPT * 3 + ${{#PYFLOW_TASK}}) % 3 )); "
        f'echo "exit $PYFLOW_RUN_ID $PYFLOW_TASK $PYFLOW_ATTEMPT $code" >> {witness}; exit $code'
    )
    needs = {"a": [], "bb": ["a"], "c": ["a"], "dd": ["bb", "c"], "e": [], "ff": ["e"], "g": ["e"], "hh": ["g", "dd"]}
    tasks = {
        name: {"run": run, "needs": parents, "trigger_rule": "all_done", "retry": {"attempts": 2, "delay": "10ms"}}
        for name, parents in needs.items()
    }
    return json.dumps({"tasks": tasks})


def check_truth(instance: Instance, runs: list[int]) -> None:
    """Every run has ended; no attempt was started twice; each stored code is the one that the task itself wrote."""
    all_ended = {run: instance.wait_run(run) for run in runs}
    told = check_witness(instance.root / "witness")
    for run, ended in all_ended.items():
        for name, task in ended["tasks"].items():
            for attempt in range(1, task["attempts"] + 1):
                assert told[f"start {run} {name} {attempt}"] == 1, f"run {run} {name} attempt {attempt} did not run"
            last = f"exit {run} {name} {task['attempts']} {task['exit_code']}"
            assert task["state"] in ("succeeded", "failed")
            assert told[last] == 1, f"invented: {last}"
    instance.stop()
    assert check_fold(instance.root) >= len(runs)


@pytest.mark.parametrize("count", range(1, 12 if LONG else 3))
@pytest.mark.parametrize("point", CRASHPOINTS)
def test_the_daemon_may_die_at_any_named_point(instance: Instance, point: str, count: int) -> None:
    instance.write("w.yaml", witnessed(instance.root))
    instance.start()
    instance.install("w.yaml", witnessed(instance.root))
    instance.stop()
    instance.start(wait=False, PYFLOWD_CRASH=f"{point}:{count}")
    acknowledged = []
    for _ in range(4):
        done = instance.ctl("-o", "json", "run", "w", "--key", f"k{len(acknowledged)}")
        if done.returncode == 0:
            acknowledged.append(json.loads(done.stdout)["run"])
        if instance.process is not None and instance.process.poll() is not None:
            break
    if instance.process is not None and instance.process.poll() is None and count < 3:
        wait_until(lambda: died_or_idle(instance, acknowledged), f"crash at {point}:{count}, or all done")
    if instance.process is not None and instance.process.poll() is None:
        instance.kill()
    else:
        assert instance.process is not None
        assert instance.process.returncode == -signal.SIGKILL, instance.log_text()
    instance.start()
    live = [run["run"] for run in instance.json("history")]
    assert set(acknowledged) <= set(live), "an acknowledged run is lost"
    check_truth(instance, live)


def died_or_idle(instance: Instance, runs: list[int]) -> bool:
    assert instance.process is not None
    if instance.process.poll() is not None:
        return True
    states = [instance.ctl("-o", "json", "status", run) for run in runs]
    return all(done.returncode == 0 and json.loads(done.stdout)["ended_at"] for done in states)


@pytest.mark.parametrize("trial", range(30 if LONG else 3))
def test_the_daemon_may_die_at_any_moment(instance: Instance, trial: int) -> None:
    """Killed after so many lines of the witness, again and again, with the same key asked for after each death."""
    instance.start()
    instance.install("w.yaml", witnessed(instance.root))
    runs = set()
    for life in range(4):
        runs.add(instance.run("w", "--key", f"once-{life // 2}"))
        wait_until(partial(busy_or_idle, instance, runs, life * 5 + trial * 3 + 1), "work, or its end")
        instance.kill()
        instance.start()
    assert len(runs) == 2, "the same key made a second run"
    check_truth(instance, sorted(runs))


def busy_or_idle(instance: Instance, runs: set[int], lines: int) -> bool:
    """The tasks have written so many lines, or everything has ended."""
    witness = instance.root / "witness"
    written = len(witness.read_bytes().splitlines()) if witness.exists() else 0
    return written >= lines or all(instance.status(run)["ended_at"] for run in runs)


def test_a_keeper_that_is_killed_loses_statuses_and_says_so(daemon: Instance) -> None:
    """What ran is unknown, killed, and failed as lost; what had not started starts; the daemon goes on."""
    daemon.install(
        "w.yaml", 'tasks: {a: {run: "echo $$; exec sleep 60"}, b: {needs: a, trigger_rule: all_done, run: exit 3}}'
    )
    run = daemon.run("w")
    daemon.wait_task(run, "a", "running")
    pid = int(wait_until(lambda: daemon.ctl("logs", run, "a", "--raw").stdout, "its pid"))
    daemon.keeper().kill()
    ended = daemon.wait_run(run)
    assert (ended["tasks"]["a"]["state"], ended["tasks"]["a"]["reason"]) == ("failed", "lost")
    assert ended["tasks"]["a"]["exit_code"] is None
    assert ended["tasks"]["b"]["exit_code"] == 3
    assert not Path(f"/proc/{pid}").exists() or "sleep" not in Path(f"/proc/{pid}/cmdline").read_text()


def test_a_lost_attempt_is_run_again_where_the_task_says_so(daemon: Instance) -> None:
    once = daemon.root / "once"
    text = {"tasks": {"a": {"run": f"if [ -e {once} ]; then exit 0; fi; touch {once}; exec sleep 60",
                            "retry": {"on_lost": "retry"}}}}  # fmt: skip
    daemon.install("w.yaml", json.dumps(text))
    run = daemon.run("w")
    wait_until(once.exists, "the first attempt runs")
    daemon.keeper().kill()
    ended = daemon.wait_run(run)
    assert (ended["state"], ended["tasks"]["a"]["attempts"]) == ("succeeded", 2)


def test_a_killed_logger_breaks_no_task_and_the_log_says_what_may_be_missing(daemon: Instance) -> None:
    gate = daemon.root / "gate"
    os.mkfifo(gate)
    daemon.install("w.yaml", json.dumps({"tasks": {"a": {"run": f"echo before; cat {gate}; echo after; exit 5"}}}))
    run = daemon.run("w")
    wait_until(lambda: "before" in daemon.ctl("logs", run).stdout, "the first line")
    daemon.logger().kill()
    gate.write_text("between\n")
    ended = daemon.wait_run(run)
    assert ended["tasks"]["a"]["exit_code"] == 5
    text = wait_until(
        lambda: (found := daemon.ctl("logs", run, "--raw").stdout).endswith("after\n") and found, "the end"
    )
    assert text.startswith("before\n")
    assert "between\n" in text
    assert "missing" in text


def test_tasks_live_over_an_upgrade_of_the_keeper(daemon: Instance) -> None:
    gate = daemon.root / "gate"
    os.mkfifo(gate)
    daemon.install("w.yaml", json.dumps({"tasks": {"a": {"run": f"cat {gate}; exit 9"}}}))
    run = daemon.run("w")
    daemon.wait_task(run, "a", "running")
    keeper = daemon.keeper()
    keeper.send_signal(signal.SIGHUP)
    wait_until(lambda: "--resume" in keeper.cmdline(), "the keeper is its own successor")
    assert daemon.wait_task(run, "a", "running")
    gate.write_text("x\n")
    assert daemon.wait_run(run)["tasks"]["a"]["exit_code"] == 9
    assert daemon.keeper().pid == keeper.pid


def test_a_record_that_is_taken_away_is_lost_and_nothing_of_the_attempt_lives_on(instance: Instance) -> None:
    """The keeper's folder is removed under it, as a cleaner of temporary folders may do."""
    instance.start()
    instance.install("w.yaml", 'tasks: {a: {run: "echo $$; exec sleep 60"}}')
    run = instance.run("w")
    instance.wait_task(run, "a", "running")
    pid = int(wait_until(lambda: instance.ctl("logs", run, "--raw").stdout, "its pid"))
    old = instance.keeper()
    instance.kill()
    shutil.rmtree(instance.root / "run")
    instance.start()
    ended = instance.wait_run(run)
    assert (ended["state"], ended["tasks"]["a"]["reason"]) == ("failed", "lost")
    wait_until(lambda: "sleep" not in cmdline(pid), "the sleep is gone")
    old.kill()


def cmdline(pid: int) -> str:
    path = Path(f"/proc/{pid}/cmdline")
    return path.read_text() if path.exists() else ""


def test_the_end_of_another_states_attempt_is_left_for_that_state(instance: Instance) -> None:
    """A state folder that was moved aside comes back: the end of its attempt is still there, and nothing runs twice."""
    instance.start()
    witness = instance.root / "witness"
    text = f"echo x >> {witness}; sleep 1; exit 9"
    instance.install("w.yaml", json.dumps({"tasks": {"a": {"run": text, "retry": {"on_lost": "retry"}}}}))
    run = instance.run("w")
    wait_until(witness.exists, "it runs")
    instance.kill()
    (instance.root / "state").rename(instance.root / "aside")
    instance.start()
    journal = instance.root / "run" / "journal"
    wait_until(lambda: b"\nE\t" in journal.read_bytes(), "it has ended, under a stranger's eyes")
    instance.kill()
    shutil.rmtree(instance.root / "state")
    (instance.root / "aside").rename(instance.root / "state")
    instance.start()
    ended = instance.wait_run(run)
    assert (ended["tasks"]["a"]["exit_code"], ended["tasks"]["a"]["attempts"]) == (9, 1)
    assert witness.read_text() == "x\n"


def test_a_key_that_is_repeated_for_a_rerun_is_one_run(daemon: Instance) -> None:
    daemon.install("w.yaml", "tasks: {a: {run: 'true'}}")
    run = daemon.run("w")
    daemon.wait_run(run)
    with daemon.client() as client:
        first, second = (list(client.ask(RerunRun(run=run, key="k")))[0] for _ in range(2))  # noqa: RUF015  (all of it)
    assert isinstance(first, RunView)
    assert isinstance(second, RunView)
    assert first.run == second.run != run
