"""What a user does with a daemon: start, wait, read, stop, do again; with real processes, through the real client."""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.instance import REPOSITORY, Instance
from tests.waiting import wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run tasks as somebody else")
_numbers = count(1)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One daemon for the tests of this file that a worker runs; each test has workflows of its own."""
    made = Instance(tmp_path_factory.mktemp("runs") / "root")
    try:
        made.start()
        yield made
        assert "Traceback" not in made.log_text()
    finally:
        made.end()


def install(daemon: Instance, definition: dict[str, Any]) -> str:
    """Put a definition in force; the name of its workflow."""
    name = f"w{next(_numbers)}"
    daemon.install(f"{name}.yaml", json.dumps(definition))
    return name


def shell(text: str, **more: Any) -> dict[str, Any]:
    return {"tasks": {"t": {"run": text, **more}}}


def done(daemon: Instance, definition: dict[str, Any], *arguments: str) -> Any:
    """Its run, when it has ended."""
    return daemon.wait_run(daemon.run(install(daemon, definition), *arguments))


def task(daemon: Instance, text: str, **more: Any) -> Any:
    """The ended task of a workflow of one."""
    return done(daemon, shell(text, **more))["tasks"]["t"]


def raw(daemon: Instance, run: int, *arguments: str) -> str:
    return daemon.ctl("logs", run, "--raw", *arguments).stdout


def waits_for(path: Path) -> str:
    """Shell text that goes on when `path` is there."""
    return f"until [ -e {path} ]; do sleep 0.02; done"


@pytest.fixture
def gate(daemon: Instance) -> Path:
    return daemon.root / f"gate{next(_numbers)}"


# ---- Start and wait


@pytest.mark.parametrize(("code", "exit_status"), [(0, 0), (3, 1)])
def test_wait_ends_with_the_outcome_of_the_run(daemon: Instance, code: int, exit_status: int) -> None:
    ended = daemon.ctl("-o", "json", "run", install(daemon, shell(f"exit {code}")), "--wait")
    assert ended.returncode == exit_status
    assert json.loads(ended.stdout)["tasks"]["t"]["exit_code"] == code


def test_wait_ends_with_seven_when_the_run_is_cancelled(daemon: Instance, gate: Path) -> None:
    name = install(daemon, shell(f"touch {gate}; exec sleep 60"))
    waiting = client(daemon, "run", name, "--wait")
    wait_until(gate.exists, "the task runs")
    assert daemon.ctl("cancel", daemon.status(name)["run"]).returncode == 0
    waiting.communicate(timeout=20)
    assert waiting.returncode == 7


def client(daemon: Instance, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "pyflowctl", "--root", str(daemon.root), *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL, cwd="/",
    )  # fmt: skip


def test_follow_shows_the_output_and_ends_with_the_run(daemon: Instance) -> None:
    ended = daemon.ctl("run", install(daemon, shell("echo one; echo two >&2; exit 4")), "--follow")
    assert ended.returncode == 1
    assert "one" in ended.stdout
    assert "two" in ended.stdout


def test_the_same_key_is_the_same_run(daemon: Instance) -> None:
    name = install(daemon, shell("true"))
    first = daemon.run(name, "--key", "k")
    daemon.wait_run(first)
    assert [daemon.run(name, "--key", "k"), daemon.run(name, "--key", "k2")] == [first, first + 1]


@pytest.mark.parametrize("ended", [False, True])
def test_the_same_key_for_other_tasks_is_refused(daemon: Instance, *, ended: bool) -> None:
    name = install(daemon, {"tasks": {"a": {"run": "true"}, "b": {"run": "true"}}})
    first = daemon.run(name, "--key", "k", "--only", "b")
    if ended:
        daemon.wait_run(first)
    done = daemon.ctl("run", name, "--key", "k", "--only", "a")
    assert (done.returncode, done.stderr) == (
        6, f'pyflowctl: the key "k" was used for run {first}, with other tasks; use another key\n'
    )  # fmt: skip


def test_the_same_key_for_the_same_tasks_is_the_same_run_also_of_a_newer_definition(daemon: Instance) -> None:
    tasks = {"a": {"run": "true"}, "b": {"run": "true"}}
    name = install(daemon, {"tasks": tasks})
    first = daemon.run(name, "--key", "k", "--only", "b")
    daemon.wait_run(first)
    daemon.write(f"{name}.yaml", json.dumps({"tasks": {**tasks, "c": {"run": "true"}}}))
    wait_until(lambda: '"c"' in daemon.ctl("show", name).stdout, "the newer definition is in force")
    assert daemon.run(name, "--key", "k", "--only", "b") == first


def test_params_reach_the_task_as_variables(daemon: Instance) -> None:
    definition = {
        "params": {"who": {}, "the-count": {"type": "integer", "default": 2}, "on": {"type": "boolean"}},
        **shell('printf "%s|%s|%s" "$PARAM_WHO" "$PARAM_THE_COUNT" "$PARAM_ON"'),
    }
    ended = done(daemon, definition, "-p", "who=$(touch /tmp/x); 'ü'", "-p", "on=true")
    assert raw(daemon, ended["run"]) == "$(touch /tmp/x); 'ü'|2|true"
    assert ended["params"] == {"who": "$(touch /tmp/x); 'ü'", "the-count": 2, "on": True}


def test_a_file_runs_without_being_installed(daemon: Instance, tmp_path: Path) -> None:
    file = tmp_path / "once.yaml"
    file.write_text("tasks: {a: {run: echo from-a-file}}")
    run = daemon.run(file)
    assert daemon.wait_run(run)["workflow"] == "once"
    assert "from-a-file" in raw(daemon, run)
    assert daemon.ctl("show", "once").returncode == 3


def test_a_dry_run_records_nothing(daemon: Instance) -> None:
    name = install(daemon, shell("exit 9"))
    shown = daemon.json("run", name, "--dry-run")
    assert [one["command"] for one in shown["tasks"]] == ["exit 9"]
    assert daemon.json("history", name) == []


def test_a_task_has_its_environment_and_nothing_of_the_daemons(daemon: Instance) -> None:
    definition = {"env": {"A": "file", "B": "file"}, **shell("env -0 | tr '\\0' '\\n'; pwd", env={"B": "task"})}
    ended = done(daemon, definition)
    lines = raw(daemon, ended["run"]).splitlines()
    env = dict(line.split("=", 1) for line in lines if "=" in line)
    assert (env["A"], env["B"], env["PYFLOW_TASK"], env["PYFLOW_ATTEMPT"]) == ("file", "task", "t", "1")
    assert env["PYFLOW_RUN_ID"] == str(ended["run"])
    home = pwd.getpwuid(os.geteuid()).pw_dir
    assert lines[-1] == (home if os.path.isdir(home) else "/")
    assert not {"PYTHONPATH", "PYTHONWARNINGS", "PYFLOWD_CRASH"} & set(env)


def test_a_text_on_standard_input_and_none(daemon: Instance) -> None:
    assert raw(daemon, done(daemon, shell("cat; echo .", stdin="a\nb"))["run"]) == "a\nb.\n"
    assert raw(daemon, done(daemon, shell("cat; echo ."))["run"]) == ".\n"


def test_an_env_file_is_read_at_the_start_and_a_missing_one_fails_the_task(daemon: Instance, gate: Path) -> None:
    gate.write_text("# comment\nexport X='from the file'\n")
    definition = {"env_file": str(gate), **shell('echo "$X"')}
    name = install(daemon, definition)
    assert raw(daemon, daemon.wait_run(daemon.run(name))["run"]) == "from the file\n"
    gate.unlink()
    failed = daemon.wait_run(daemon.run(name))["tasks"]["t"]
    assert (failed["state"], failed["reason"], failed["exit_code"]) == ("failed", "start_failed", None)
    assert str(gate) in failed["error"]


@needs_root
def test_a_task_runs_as_its_user(daemon: Instance) -> None:
    ended = done(daemon, shell("id -un; id -G; touch /root/x", user="nobody", cwd="/"))
    nobody = pwd.getpwnam("nobody")
    assert raw(daemon, ended["run"]).splitlines()[:2] == ["nobody", str(nobody.pw_gid)]
    assert ended["tasks"]["t"]["exit_code"] == 1


@pytest.mark.parametrize(
    ("more", "text"),
    [({"cwd": "/no/such/folder"}, "No such file"), ({"argv": ["/no/such/program"]}, "No such file"),
     ({"argv": ["/etc/passwd"]}, "Permission denied"), ({"user": "no-such-user"}, "no-such-user")],
    ids=["cwd", "program", "not-executable", "user"],
)  # fmt: skip
def test_what_cannot_be_started_says_why_and_is_not_retried(daemon: Instance, more: dict[str, Any], text: str) -> None:
    one = {"argv": ["true"], "retry": {"attempts": 3, "delay": "10ms"}, **more}
    failed = done(daemon, {"tasks": {"t": one}})["tasks"]["t"]
    assert (failed["state"], failed["attempts"], failed["exit_code"]) == ("failed", 1, None)
    assert text in failed["error"]


@pytest.mark.parametrize(("text", "code"), [("/etc/passwd", 126), ("no-such-command-at-all", 127)])
def test_a_command_that_the_shell_cannot_run_is_not_retried(daemon: Instance, text: str, code: int) -> None:
    failed = task(daemon, text, retry={"attempts": 3, "delay": "10ms"})
    assert (failed["exit_code"], failed["attempts"], failed["reason"]) == (code, 1, "exit_code")


def test_a_death_by_signal_is_a_signal(daemon: Instance) -> None:
    failed = task(daemon, "kill -SEGV $$")
    assert (failed["reason"], failed["signal"], failed["exit_code"]) == ("signal", signal.SIGSEGV, None)


def test_codes_that_succeed_and_codes_that_skip(daemon: Instance) -> None:
    assert task(daemon, "exit 3", success_codes=[3])["state"] == "succeeded"
    skipped = task(daemon, "exit 4", skip_codes=[4])
    assert (skipped["state"], skipped["reason"], skipped["exit_code"]) == ("skipped", "skip_code", 4)


# ---- DAGs and places


def test_a_failure_blocks_what_needs_it_and_continue_on_error_does_not(daemon: Instance) -> None:
    ended = done(daemon, {"tasks": {
        "bad": {"run": "exit 1"}, "blocked": {"run": "true", "needs": "bad"},
        "forgiven": {"run": "exit 1", "continue_on_error": True}, "goes": {"run": "true", "needs": "forgiven"},
        "always": {"run": "true", "needs": "blocked", "trigger_rule": "all_done"},
    }})  # fmt: skip
    assert {name: one["state"] for name, one in ended["tasks"].items()} == {
        "bad": "failed", "blocked": "upstream_failed", "forgiven": "failed", "goes": "succeeded", "always": "succeeded"
    }  # fmt: skip
    assert (ended["state"], ended["reason"]) == ("failed", "task_failed")


def test_max_parallel_bounds_the_tasks_of_a_run(daemon: Instance, gate: Path) -> None:
    gate.mkdir()
    text = f"mkdir {gate}/$PYFLOW_TASK; ls {gate} | wc -l; sleep 0.05; rmdir {gate}/$PYFLOW_TASK"
    ended = done(daemon, {"max_parallel": 2, "tasks": {f"t{n}": {"run": text} for n in range(8)}})
    together = [int(line) for line in raw(daemon, ended["run"]).split()]
    assert len(together) == 8
    assert max(together) == 2


def test_max_tasks_bounds_the_tasks_of_the_host(instance: Instance) -> None:
    instance.settings(max_tasks=2)
    instance.start()
    here = instance.root / "here"
    here.mkdir()
    text = f"mkdir {here}/$PYFLOW_RUN_ID-$PYFLOW_TASK; ls {here} | wc -l; sleep 0.05; "
    text += f"rmdir {here}/$PYFLOW_RUN_ID-$PYFLOW_TASK"
    instance.install("w.yaml", json.dumps({"overlap": "allow", "tasks": {f"t{n}": {"run": text} for n in range(4)}}))
    runs = [instance.run("w") for _ in range(2)]
    together = [int(n) for run in runs if instance.wait_run(run) for n in raw(instance, run).split()]
    assert len(together) == 8
    assert max(together) == 2


def test_a_start_by_hand_waits_for_the_run_before_it(daemon: Instance, gate: Path) -> None:
    name = install(daemon, shell(waits_for(gate)))
    first, second = daemon.run(name), daemon.run(name)
    daemon.wait_task(first, "t", "running")
    assert daemon.status(second)["state"] == "queued"
    gate.touch()
    assert daemon.wait_run(second)["state"] == "succeeded"
    assert daemon.status(first)["ended_at"] <= daemon.status(second)["started_at"]


def test_a_full_queue_refuses(daemon: Instance) -> None:
    name = install(daemon, {"overlap": "queue", "queue_max": 1, **shell("exec sleep 60")})
    runs = [daemon.run(name), daemon.run(name)]
    refused = daemon.ctl("run", name)
    assert (refused.returncode, refused.stderr.count("\n")) == (6, 1)
    assert "queue_max" in refused.stderr
    for run in reversed(runs):
        assert daemon.ctl("cancel", run).returncode == 0
        assert daemon.wait_run(run)["state"] == "cancelled"


def test_overlap_allow_holds_for_starts_by_hand(daemon: Instance, gate: Path) -> None:
    name = install(daemon, {"overlap": "allow", **shell(waits_for(gate))})
    runs = [daemon.run(name), daemon.run(name)]
    for run in runs:
        daemon.wait_task(run, "t", "running")
    gate.touch()
    assert {daemon.wait_run(run)["state"] for run in runs} == {"succeeded"}


# ---- Cancel and time-outs


def test_cancel_asks_with_term_first(daemon: Instance, gate: Path) -> None:
    run = daemon.run(
        install(daemon, shell(f"trap 'echo bye; exit 3' TERM; touch {gate}; while :; do sleep 0.02; done"))
    )
    wait_until(gate.exists, "the trap is set")
    assert daemon.ctl("cancel", run).returncode == 0
    ended = daemon.wait_run(run)
    assert (ended["state"], ended["tasks"]["t"]["state"], ended["tasks"]["t"]["exit_code"]) == (
        "cancelled", "cancelled", 3
    )  # fmt: skip
    assert raw(daemon, run).endswith("bye\n")


ESCAPEES = {
    "ignores": "trap '' TERM; touch {gate}; echo $$; while :; do sleep 0.05; done",
    "setsid": "setsid sh -c 'trap \"\" TERM; echo $$; touch {gate}; while :; do sleep 0.05; done' & wait",
    "double-fork": "( ( setsid sh -c 'echo $$; touch {gate}; exec sleep 60' & ) & ); exec sleep 60",
}


@pytest.mark.parametrize("escapee", ESCAPEES)
def test_nothing_of_a_cancelled_run_lives_after_its_grace(daemon: Instance, gate: Path, escapee: str) -> None:
    run = daemon.run(install(daemon, shell(ESCAPEES[escapee].format(gate=gate), kill_grace="200ms")))
    wait_until(gate.exists, "it has escaped")
    pid = int(wait_until(lambda: raw(daemon, run), "its pid"))
    assert daemon.ctl("cancel", run).returncode == 0
    assert daemon.wait_run(run)["state"] == "cancelled"
    assert not Path(f"/proc/{pid}").exists()


def test_a_second_cancel_kills_at_once(daemon: Instance, gate: Path) -> None:
    run = daemon.run(install(daemon, shell(ESCAPEES["ignores"].format(gate=gate), kill_grace="1h")))
    wait_until(gate.exists, "TERM is ignored")
    for _ in range(2):
        assert daemon.ctl("cancel", run).returncode == 0
    assert daemon.wait_run(run)["tasks"]["t"]["signal"] == signal.SIGKILL


def test_a_restart_of_the_daemon_does_not_cut_the_grace_of_a_cancel(instance: Instance) -> None:
    """Recovery asks for the stop again, as it cannot know whether the keeper was asked: that is no second cancel."""
    instance.start()
    ready, gate = instance.root / "ready", instance.root / "gate"
    text = f"trap 'until [ -e {gate} ]; do sleep 0.02; done; exit 8' TERM; touch {ready}; while :; do sleep 0.02; done"
    instance.install("w.yaml", json.dumps(shell(text, kill_grace="1h")))
    run = instance.run("w")
    wait_until(ready.exists, "the trap is set")
    assert instance.ctl("cancel", run).returncode == 0
    instance.kill()
    instance.start()
    assert instance.status(run)["state"] == "running"
    gate.touch()
    assert instance.wait_run(run)["tasks"]["t"]["exit_code"] == 8


def test_a_run_that_has_ended_cannot_be_cancelled(daemon: Instance) -> None:
    ended = done(daemon, shell("true"))
    refused = daemon.ctl("cancel", ended["run"])
    assert refused.returncode == 6
    assert "has ended already: succeeded" in refused.stderr


def test_cancel_ends_a_back_off_at_once(daemon: Instance) -> None:
    run = daemon.run(install(daemon, shell("exit 1", retry={"attempts": 2, "delay": "1h", "jitter": "none"})))
    daemon.wait_task(run, "t", "retrying")
    assert daemon.ctl("cancel", run).returncode == 0
    assert daemon.wait_run(run)["tasks"]["t"]["state"] == "cancelled"


def test_a_task_out_of_time_is_stopped_and_retried(daemon: Instance) -> None:
    failed = task(daemon, "exec sleep 60", timeout="100ms", retry={"attempts": 2, "delay": "10ms"})
    assert (failed["state"], failed["reason"], failed["attempts"]) == ("failed", "timeout", 2)


def test_a_run_out_of_time_fails_with_that_reason(daemon: Instance) -> None:
    ended = done(daemon, {"timeout": "200ms", "tasks": {
        "a": {"run": "exec sleep 60"}, "b": {"run": "true", "needs": "a", "trigger_rule": "all_done"}}})  # fmt: skip
    assert (ended["state"], ended["reason"]) == ("failed", "timeout")
    assert ended["tasks"]["b"]["attempts"] == 0


def test_leftovers_are_killed_or_left_as_the_task_says(daemon: Instance) -> None:
    for leftover, lives in (("kill", False), ("allow", True)):
        ended = done(daemon, shell("sleep 60 >/dev/null 2>&1 & echo $!", leftover=leftover))
        pid = int(raw(daemon, ended["run"]).split()[0])
        assert ended["state"] == "succeeded"
        if lives:
            assert Path(f"/proc/{pid}").exists()
            os.kill(pid, signal.SIGKILL)
        else:
            wait_until(lambda pid=pid: not Path(f"/proc/{pid}").exists(), "it is killed after its grace")


# ---- Again


def test_a_failed_attempt_is_tried_again_after_its_back_off(daemon: Instance) -> None:
    name = install(daemon, shell("echo try $PYFLOW_ATTEMPT; exit $((3 - PYFLOW_ATTEMPT))",
                                 retry={"attempts": 3, "delay": "20ms"}))  # fmt: skip
    ended = daemon.wait_run(daemon.run(name))
    assert (ended["state"], ended["tasks"]["t"]["attempts"]) == ("succeeded", 3)
    assert raw(daemon, ended["run"]) == "try 3\n"
    assert raw(daemon, ended["run"], "--all-attempts") == "try 1\ntry 2\ntry 3\n"


def test_rerun_of_the_failed_keeps_what_succeeded(daemon: Instance, gate: Path) -> None:
    ended = done(daemon, {"tasks": {"a": {"run": "true"}, "b": {"run": f"[ -e {gate} ]", "needs": "a"}}})
    gate.touch()
    again = daemon.json("rerun", ended["run"], "--failed")
    found = daemon.wait_run(again["run"])
    assert (found["state"], found["rerun_of"]) == ("succeeded", ended["run"])
    assert [(one["attempts"], one["reason"]) for one in found["tasks"].values()] == [(0, "kept"), (1, None)]
    refused = daemon.ctl("rerun", again["run"], "--failed")
    assert (refused.returncode, "no failed task" in refused.stderr) == (6, True)


def test_rerun_from_a_task_does_it_and_what_comes_after(daemon: Instance) -> None:
    tasks = {"a": {"run": "true"}, "b": {"run": "true", "needs": "a"}, "c": {"run": "true", "needs": "b"}}
    ended = done(daemon, {"tasks": {**tasks, "d": {"run": "true"}}})
    again = daemon.wait_run(daemon.json("rerun", ended["run"], "--from", "b")["run"])
    assert {name: one["attempts"] for name, one in again["tasks"].items()} == {"a": 0, "b": 1, "c": 1, "d": 0}
    missing = daemon.ctl("rerun", ended["run"], "--from", "x")
    assert missing.returncode == 3


def test_a_run_keeps_its_text_over_an_edit_and_a_deletion(daemon: Instance, gate: Path) -> None:
    text = {"tasks": {"a": {"run": waits_for(gate)}, "b": {"run": "echo old", "needs": "a"}}}
    name = install(daemon, text)
    run = daemon.run(name)
    daemon.wait_task(run, "a", "running")
    file = daemon.write(f"{name}.yaml", json.dumps({"tasks": {"b": {"run": "echo new"}}}))
    wait_until(lambda: "echo new" in daemon.json("show", name)["text"], "the edit is in force")
    gate.touch()
    daemon.wait_run(run)
    assert raw(daemon, run) == "old\n"
    latest = daemon.wait_run(daemon.json("rerun", run, "--latest")["run"])
    assert raw(daemon, latest["run"]) == "new\n"
    file.unlink()
    wait_until(lambda: daemon.ctl("show", name).returncode == 3, "its file is gone")
    again = daemon.wait_run(daemon.json("rerun", run)["run"])
    assert raw(daemon, again["run"]) == "old\n"
    assert daemon.ctl("rerun", run, "--latest").returncode == 3


# ---- Read


def test_logs_of_every_kind(daemon: Instance) -> None:
    ended = done(daemon, {"tasks": {"a": {"run": "echo a1; echo a2"}, "b": {"run": "echo b1", "needs": "a"}}})
    run = ended["run"]
    assert raw(daemon, run) == "a1\na2\nb1\n"
    assert raw(daemon, run, "b") == "b1\n"
    assert raw(daemon, run, "-n", "1") == "b1\n"
    assert raw(daemon, run, "--since", "2999-01-01") == ""
    assert raw(daemon, run, "--since", "1h") == "a1\na2\nb1\n"
    lines = [json.loads(line) for line in daemon.ctl("-o", "json", "logs", run).stdout.splitlines()]
    assert [(one["run"], one["task"], one["attempt"], one["text"]) for one in lines] == [
        (run, "a", 1, "a1"), (run, "a", 1, "a2"), (run, "b", 1, "b1")
    ]  # fmt: skip
    assert daemon.ctl("logs", run, "no-such").returncode == 3


def test_logs_follow_until_the_run_ends(daemon: Instance, gate: Path) -> None:
    name = install(daemon, shell(f"echo first; {waits_for(gate)}; echo last"))
    run = daemon.run(name)
    follower = client(daemon, "logs", name, "-f", "--raw")
    assert follower.stdout is not None
    assert follower.stdout.readline() == "first\n"
    gate.touch()
    rest, errors = follower.communicate(timeout=20)
    assert (rest, errors, follower.returncode) == ("last\n", "", 0)
    assert daemon.wait_run(run)["state"] == "succeeded"


RUN_KEYS = {"run", "workflow", "state", "reason", "trigger", "params", "created_at", "started_at", "ended_at"}
TASK_KEYS = {"state", "reason", "exit_code", "attempts", "started_at", "ended_at", "outputs", "cpu_s", "max_rss_bytes"}


def test_json_has_the_shapes_that_scripts_rely_on(daemon: Instance) -> None:
    name = install(daemon, {"schedule": "0 3 * * *", **shell("true")})
    assert set(json.loads(daemon.ctl("-o", "json", "run", name).stdout)) == {"run", "workflow"}
    ended = daemon.wait_run(daemon.status(name)["run"])
    assert set(ended) >= RUN_KEYS | {"tasks"}
    assert set(ended["tasks"]["t"]) >= TASK_KEYS
    assert ended["tasks"]["t"]["outputs"] == {}
    assert ended["tasks"]["t"]["cpu_s"] > 0
    assert ended["created_at"] <= ended["started_at"] <= ended["ended_at"]
    assert ended["created_at"].endswith("+00:00")
    (listed,) = [one for one in daemon.json("list") if one["workflow"] == name]
    assert listed["state"] == "active"
    assert [set(one) >= RUN_KEYS and "tasks" not in one for one in daemon.json("history", name)] == [True]
    (coming,) = daemon.json("next", name, "-n", "1")
    assert set(coming) >= {"workflow", "trigger", "scheduled_at"}
    assert daemon.json("slots", name) == []
    assert {"version", "pid", "running", "failed", "next", "problems", "warnings"} <= set(daemon.json("status"))
    assert daemon.json("version")["daemon"]["pid"] > 0
    assert daemon.json("doctor")["checks"]


def test_history_is_filtered_by_workflow_state_time_and_number(daemon: Instance) -> None:
    name = install(daemon, {"params": {"c": {}}, **shell('exit "$PARAM_C"')})
    runs = [daemon.wait_run(daemon.run(name, "-p", f"c={code}"))["run"] for code in (0, 1, 0)]

    def history(*arguments: str) -> list[int]:
        return [one["run"] for one in daemon.json("history", name, *arguments)]

    assert history() == runs[::-1]
    assert history("--state", "failed") == [runs[1]]
    assert history("--state", "succeeded", "-n", "1") == [runs[2]]
    assert history("--since", "2999-01-01") == []
    assert daemon.ctl("history", "--state", "bogus").returncode == 2


def test_a_graph_shows_every_task_with_its_state(daemon: Instance) -> None:
    name = install(daemon, {"tasks": {"one": {"run": "true"}, "two": {"run": "true", "needs": "one"}}})
    run = daemon.wait_run(daemon.run(name))["run"]
    for of in (name, run):
        drawn = daemon.ctl("graph", of)
        assert drawn.returncode == 0
        assert "one" in drawn.stdout
        assert "two" in drawn.stdout
    assert [one["state"] for one in daemon.json("graph", run)["tasks"]] == ["succeeded", "succeeded"]


def test_show_gives_the_text_in_force(daemon: Instance) -> None:
    name = install(daemon, shell("echo shown"))
    assert "echo shown" in daemon.json("show", name)["text"]


def test_a_bad_newer_text_leaves_the_good_one_in_force_and_is_told(daemon: Instance) -> None:
    name = install(daemon, shell("true"))
    daemon.write(f"{name}.yaml", "tasks: {t: {rum: true}}")
    shown = wait_until(
        lambda: [one for one in daemon.json("list") if one["workflow"] == name and one["state"] == "stale"], "stale"
    )
    assert shown[0]["problems"][0]["line"] == 1
    assert daemon.wait_run(daemon.run(name))["state"] == "succeeded"


def test_events_of_the_host_alone_are_told_as_they_come(daemon: Instance) -> None:
    """Nothing runs: what happens to the host wakes whoever follows."""
    daemon.ctl("drain")
    follower = client(daemon, "-o", "json", "events", "-f", "-n", "1")
    assert follower.stdout is not None
    assert json.loads(follower.stdout.readline())["type"] == "host_drained"
    daemon.ctl("undrain")
    try:
        told, _, _ = select.select([follower.stdout], [], [], 20)
        assert told, "nobody was woken"
        assert json.loads(follower.stdout.readline())["type"] == "host_undrained"
    finally:
        follower.terminate()
        follower.communicate(timeout=20)


def test_events_follow_what_happens(daemon: Instance) -> None:
    run = daemon.wait_run(daemon.run(install(daemon, shell("true"))))["run"]
    lines = daemon.ctl("-o", "json", "events", "--run", run).stdout
    types = [one["type"] for one in map(json.loads, lines.splitlines())]
    assert types[0] == "run_created"
    assert types[-1] == "run_ended"
    follower = client(daemon, "-o", "json", "events", "-f", "-n", "1")
    assert follower.stdout is not None
    follower.stdout.readline()
    later = daemon.run(install(daemon, shell("true")))
    seen: set[tuple[int | None, str]] = set()
    while (later, "run_ended") not in seen:
        event = json.loads(follower.stdout.readline())
        seen.add((event["run"], event["type"]))
    follower.terminate()
    follower.communicate(timeout=20)
    assert (later, "run_created") in seen


def test_pause_and_resume_switch_the_schedules(daemon: Instance) -> None:
    name = install(daemon, {"schedule": "0 3 * * *", **shell("true")})
    assert daemon.ctl("pause", name).returncode == 0
    (paused,) = [one for one in daemon.json("list") if one["workflow"] == name]
    assert (paused["state"], paused["next_at"]) == ("paused", None)
    assert daemon.wait_run(daemon.run(name))["state"] == "succeeded", "by hand it still runs"
    assert daemon.ctl("resume", name).returncode == 0
    (resumed,) = [one for one in daemon.json("list") if one["workflow"] == name]
    assert resumed["state"] == "active"
    assert daemon.ctl("pause", "no-such").returncode == 3
