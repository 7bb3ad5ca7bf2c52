"""Earlier successes with a real daemon: what is not run again, over crashes, edits, time and retention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.checker import check_fold
from tests.daemon.instance import ENDED, Instance
from tests.waiting import wait_until

WORKFLOW = """\
params: {day: {default: mon}}
tasks:
  make:
    run: |
      echo "made by $PYFLOW_RUN_ID" | tee -a WITNESS > file
      echo '{"by": "'$PYFLOW_RUN_ID'"}' > $PYFLOW_OUTPUT
    cwd: FOLDER
    artifacts: {file: file}
    cache: {key: "${{ params.day }}", ttl: TTL}
  use:
    needs: make
    run: cat "$FILE"; echo "by $BY"
    env: {FILE: "${{ tasks.make.artifacts.file }}", BY: "${{ tasks.make.outputs.by }}"}
"""
ITEMS = """\
params: {hosts: {type: array, default: [web1, web2]}}
tasks:
  each:
    for_each: ${{ params.hosts }}
    run: 'echo "{\\"at\\": \\"$HOST $PYFLOW_RUN_ID\\"}" > $PYFLOW_OUTPUT'
    env: {HOST: "${{ item }}"}
    cache: {key: v1, ttl: 1h}
outputs:
  all: ${{ pick(tasks.each.results, 'outputs.at') }}
"""


def text(folder: Path, ttl: str = "1h") -> str:
    return WORKFLOW.replace("WITNESS", str(folder / "witness")).replace("FOLDER", str(folder)).replace("TTL", ttl)


def made(folder: Path) -> list[str]:
    """Every time that the task was run."""
    return (folder / "witness").read_text().splitlines()


def whole(instance: Instance, *arguments: object) -> Any:
    """A run from its start to its end."""
    found = instance.wait_run(instance.run(*arguments))
    assert found["state"] == "succeeded", found
    return found


def keys(instance: Instance, *arguments: str) -> list[tuple[str, str, int]]:
    return [(each["task"], each["key"], each["run"]) for each in instance.json("cache", *arguments)]


@pytest.fixture
def made_once(daemon: Instance, tmp_path: Path) -> Instance:
    """A workflow whose first run has succeeded."""
    daemon.install("w.yaml", text(tmp_path))
    whole(daemon, "w")
    return daemon


def test_the_second_run_uses_what_the_first_made(made_once: Instance, tmp_path: Path) -> None:
    task = whole(made_once, "w")["tasks"]["make"]
    assert (task["reason"], task["attempts"], task["outputs"]) == ("cached", 0, {"by": "1"})
    assert made_once.ctl("logs", 2, "use", "--raw").stdout == "made by 1\nby 1\n"
    assert made(tmp_path) == ["made by 1"]


def test_people_are_told_where_it_is_from(made_once: Instance) -> None:
    whole(made_once, "w")
    assert "succeeded: cached from run 1, " in made_once.ctl("status", 2).stdout
    assert "make: what run 1 gave" in made_once.ctl("events", "--run", 2).stdout


def test_events_tell_why_nothing_was_used(made_once: Instance) -> None:
    whole(made_once, "w", "--no-cache")
    first, second = (made_once.ctl("events", "--run", run).stdout for run in (1, 2))
    assert "make: no earlier success is used, none is kept (key mon)" in first
    assert "make: no earlier success is used, the run was asked to use none (key mon)" in second


def test_its_artifacts_can_be_fetched_from_the_run_that_used_them(made_once: Instance) -> None:
    whole(made_once, "w")
    assert made_once.ctl("artifacts", 2, "make", "file", "--to", "-").stdout == "made by 1\n"


def test_another_key_is_another_success(made_once: Instance) -> None:
    whole(made_once, "w", "-p", "day=tue")
    assert keys(made_once, "w") == [("make", "mon", 1), ("make", "tue", 2)]


def test_an_edited_script_is_run(made_once: Instance, tmp_path: Path) -> None:
    made_once.write("w.yaml", text(tmp_path).replace("tee -a", "tee  -a"))
    made_once.ctl("reload")
    assert whole(made_once, "w")["tasks"]["make"]["reason"] is None
    assert made(tmp_path) == ["made by 1", "made by 2"]


def test_an_edit_elsewhere_in_the_file_changes_nothing(made_once: Instance, tmp_path: Path) -> None:
    made_once.write("w.yaml", text(tmp_path).replace('echo "by', 'echo "was by'))
    made_once.ctl("reload")
    assert whole(made_once, "w")["tasks"]["make"]["reason"] == "cached"


def test_what_is_too_old_is_made_again(daemon: Instance, tmp_path: Path) -> None:
    daemon.install("w.yaml", text(tmp_path, "1ms"))
    whole(daemon, "w")
    assert whole(daemon, "w")["tasks"]["make"]["reason"] is None


def test_a_rerun_uses_it_unless_it_is_told_not_to(made_once: Instance) -> None:
    again = [made_once.json("rerun", 1, *options)["run"] for options in ((), ("--no-cache",))]
    assert [made_once.wait_run(run)["tasks"]["make"]["reason"] for run in again] == ["cached", None]


def test_what_is_cleared_is_made_again(made_once: Instance) -> None:
    assert made_once.json("cache", "clear", "w", "make") == {"workflow": "w", "task": "make", "cleared": 1}
    assert keys(made_once) == []
    assert whole(made_once, "w")["tasks"]["make"]["reason"] is None


def test_who_cleared_it_is_on_record(made_once: Instance) -> None:
    made_once.ctl("cache", "clear", "w")
    assert "w: its cache was cleared by " in made_once.ctl("events").stdout


@pytest.mark.parametrize(
    ("words", "said"), [(("nope",), 'no workflow "nope"'), (("w", "mak"), 'no task "mak" (did you mean "make"?)')]
)
def test_a_name_that_is_none_is_said_to_be_so(made_once: Instance, words: tuple[str, ...], said: str) -> None:
    done = made_once.ctl("cache", "clear", *words)
    assert (done.returncode, said in done.stderr) == (3, True), done.stderr


def test_only_the_items_that_are_new_are_run(daemon: Instance) -> None:
    daemon.install("w.yaml", ITEMS)
    whole(daemon, "w")
    found = whole(daemon, "w", "-p", 'hosts=["web2", "web3"]')
    assert found["outputs"] == {"all": ["web2 1", "web3 2"]}
    assert keys(daemon) == [("each[web1]", "v1", 1), ("each[web2]", "v1", 1), ("each[web3]", "v1", 2)]


def test_a_called_run_uses_nothing_where_its_caller_may_not(daemon: Instance, tmp_path: Path) -> None:
    daemon.install("inner.yaml", text(tmp_path))
    daemon.install("outer.yaml", "tasks: {call: {workflow: inner}}\n")
    whole(daemon, "outer")
    whole(daemon, "outer", "--no-cache")
    assert len(made(tmp_path)) == 2


def test_a_task_that_calls_is_done_again_when_what_it_calls_is_edited(daemon: Instance) -> None:
    daemon.install("inner.yaml", "tasks: {a: {run: 'true'}}\n")
    daemon.install("outer.yaml", "tasks: {call: {workflow: inner, cache: {key: v1, ttl: 1h}}}\n")
    reasons = [whole(daemon, "outer")["tasks"]["call"]["reason"] for _ in range(2)]
    daemon.write("inner.yaml", "tasks: {a: {run: 'echo edited'}}\n")
    daemon.ctl("reload")
    assert [*reasons, whole(daemon, "outer")["tasks"]["call"]["reason"]] == [None, "cached", None]


@pytest.mark.parametrize(
    ("point", "passing"),
    [
        *(("before_commit", passing) for passing in range(2, 6)),
        *(("after_commit", passing) for passing in range(2, 6)),
        *(("exit_read", passing) for passing in (1, 2)),
        ("acknowledged", 1),
    ],
)
def test_a_success_and_its_entry_are_recorded_together_or_not_at_all(
    instance: Instance, tmp_path: Path, point: str, passing: int
) -> None:
    instance.start()
    instance.install("w.yaml", text(tmp_path))
    instance.stop()
    instance.start(wait=False, PYFLOWD_CRASH=f"{point}:{passing}")
    wait_until(lambda: _over(instance), "the run ends, or the daemon is killed")
    instance.kill()
    instance.start()
    instance.wait_run(instance.run("w", "--key", "once"))
    assert whole(instance, "w")["tasks"]["make"]["reason"] == "cached"
    assert made(tmp_path) == ["made by 1"]
    instance.stop()
    assert check_fold(instance.root) == 2


def _over(instance: Instance) -> bool:
    """Ask for the run as often as it takes: whether the daemon was killed, or the run has ended without that."""
    assert instance.process is not None
    if instance.ctl("run", "w", "--key", "once").returncode == 0:
        done = instance.ctl("-o", "json", "status", 1)
        return done.returncode == 0 and json.loads(done.stdout)["state"] in ENDED
    return instance.process.poll() is not None


def test_a_program_can_list_and_clear(made_once: Instance) -> None:
    with made_once.client() as client:
        assert [(entry.task, entry.key, entry.run) for entry in client.cache("w")] == [("make", "mon", 1)]
        assert (client.clear_cache("w"), client.cache()) == (1, [])
