"""The command line against a real daemon: items, handlers, approvals, called runs, artifacts, output."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
from pathlib import Path

import pytest

from pyflowd.errors import NotFound, Refused
from tests.daemon.instance import Instance
from tests.daemon.test_face import begin
from tests.waiting import wait_until

ITEMS = """
tasks:
  fetch:
    for_each: [web1, web2, "we b3", '$(touch pwned)']
    env: {KEY: "${{ item }}"}
    run: 'echo "hello $KEY"; [ "$KEY" != web2 ]'
    undo: {run: 'echo "back $KEY"'}
on_failure:
  tell: {run: "echo told"}
finally:
  clean: {run: "echo cleaned"}
"""
ASKS = """
params: {full: {type: boolean, default: false}}
tasks:
  ask: {approval: {message: "go on with ${{ run.workflow }}?", choices: [all, half]}}
  full: {needs: ask, if: params.full, run: "true"}
  after: {needs: ask, run: "true"}
"""
ME = pwd.getpwuid(os.geteuid()).pw_name


def asking(instance: Instance, text: str = ASKS) -> int:
    """A run of `w` in which `ask` waits for an answer."""
    instance.install("w.yaml", text)
    run = instance.run("w")
    wait_until(lambda: instance.json("approvals"), "an approval waits")
    return run


# ---- Items and handlers ---------------------------------------------------------------------------------------------


def test_items_and_handlers_of_a_run_are_told(daemon: Instance) -> None:
    daemon.install("w.yaml", ITEMS)
    found = daemon.wait_run(daemon.run("w"))
    fetch = found["tasks"]["fetch"]
    assert fetch["counts"] == {"succeeded": 3, "failed": 1}
    assert [(item["key"], item["state"], item["exit_code"]) for item in fetch["items"]] == [
        ("web1", "succeeded", 0), ("web2", "failed", 1), ("we b3", "succeeded", 0), ("$(touch pwned)", "succeeded", 0),
    ]  # fmt: skip
    sections = {name: handler["section"] for name, handler in found["handlers"].items()}
    assert sections["tell"] == "on_failure"
    assert sections["fetch.undo[web1]"] == "undo"
    assert list(sections)[-1] == "clean"
    assert len(sections) == 5


def test_the_table_shows_what_went_wrong_and_on_demand_all(daemon: Instance) -> None:
    daemon.install("w.yaml", ITEMS)
    run = daemon.run("w")
    daemon.wait_run(run)
    few, every = daemon.ctl("status", run).stdout, daemon.ctl("status", run, "--items").stdout
    assert "failed: 3 of 4, 1 failed" in few
    assert ("fetch[web2]" in few, "fetch[web1]" in few) == (True, False)
    assert "fetch[web1]" in every


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("fetch", ["hello $(touch pwned)", "hello we b3", "hello web1", "hello web2"]),
        ("fetch[we b3]", ["hello we b3"]),
        ("fetch[$(touch pwned)]", ["hello $(touch pwned)"]),
        ("fetch.undo", ["back $(touch pwned)", "back we b3", "back web1"]),
        ("fetch.undo[web1]", ["back web1"]),
        ("clean", ["cleaned"]),
    ],
)
def test_output_of_items_and_handlers_is_had_by_their_names(daemon: Instance, task: str, said: list[str]) -> None:
    daemon.install("w.yaml", ITEMS)
    run = daemon.run("w")
    daemon.wait_run(run)
    lines = daemon.ctl("logs", run, task, "-o", "json").stdout.splitlines()
    assert sorted(json.loads(line)["text"] for line in lines) == said


@pytest.mark.parametrize("option", [(), ("--follow",)])
def test_all_output_of_a_run_holds_handlers_last(daemon: Instance, option: tuple[str, ...]) -> None:
    daemon.install("w.yaml", ITEMS)
    run = daemon.run("w")
    daemon.wait_run(run)
    lines = [json.loads(line) for line in daemon.ctl("logs", run, "-o", "json", *option).stdout.splitlines()]
    assert len(lines) == 9
    names = [line["task"] for line in lines[4:]]
    assert (names[0], names[-1]) == ("tell", "clean")
    assert sorted(names[1:-1]) == ["fetch.undo[$(touch pwned)]", "fetch.undo[we b3]", "fetch.undo[web1]"]


def test_output_of_items_that_is_followed_over_a_kill_comes_once(instance: Instance, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    instance.start()
    text = f"echo before; while [ ! -e {gate} ]; do sleep 0.02; done; echo said"
    instance.install("w.yaml", f"tasks: {{fetch: {{for_each: [a, 'b c'], run: '{text}'}}}}\n")
    client = begin(instance, "run", "w", "--follow")
    wait_until(lambda: instance.json("history") and _items(instance, 1) == ["running", "running"], "the items run")
    instance.kill()
    instance.start()
    gate.touch()
    output, error = client.communicate(timeout=30)
    assert (client.returncode, error) == (0, "")
    said = sorted(" ".join(line.split()[1:]) for line in output.splitlines() if line.endswith(("before", "said")))
    assert said == ["fetch[a] before", "fetch[a] said", "fetch[b c] before", "fetch[b c] said"]


def test_an_item_that_is_not_there_is_told_with_the_nearest(daemon: Instance) -> None:
    daemon.install("w.yaml", ITEMS)
    run = daemon.run("w")
    daemon.wait_run(run)
    done = daemon.ctl("logs", run, "fetch[wev1]")
    assert (done.returncode, done.stderr) == (
        3, f'pyflowctl: no item "fetch[wev1]" (did you mean "fetch[web1]"?) in run {run} of w; it has 4 of fetch\n'
    )  # fmt: skip


def test_what_was_skipped_says_why_with_its_values(daemon: Instance) -> None:
    run = asking(daemon)
    daemon.ctl("approve", run, "ask", "--choose", "all")
    daemon.wait_run(run)
    assert "skipped: params.full is false" in daemon.ctl("status", run).stdout
    assert daemon.status(run)["tasks"]["full"]["values"] == {"params.full": False}


def test_a_typed_client_gets_outputs_that_do_not_fit_a_frame(daemon: Instance) -> None:
    text = "print('{\"text\": \"' + 'x' * 1048400 + '\"}')"
    daemon.install("w.yaml", f"tasks: {{a: {{argv: [python3, -c, {json.dumps(text)}], capture: json}}}}\n")
    run = daemon.run("w")
    daemon.wait_run(run)
    with daemon.client() as client:
        (task,) = client.run(run)[1]
    assert len(task.outputs["text"]) == 1_048_400


# ---- Approvals ------------------------------------------------------------------------------------------------------


def test_what_waits_for_an_answer_is_told_everywhere(daemon: Instance) -> None:
    run = asking(daemon)
    line = f"waiting for an answer: w run {run} (ask)"
    assert line in daemon.ctl("status").stdout
    assert line in daemon.ctl("list").stdout
    text = daemon.ctl("status", run).stdout
    assert "ask waits for an answer: go on with w?" in text
    assert f"pyflowctl approve {run} ask --choose all" in text
    (view,) = daemon.json("approvals")
    assert (view["run"], view["task"], view["message"], view["requested_by"]) == (run, "ask", "go on with w?", ME)


@pytest.mark.parametrize("of", ["1", "w"])
def test_an_approval_lets_the_run_go_on(daemon: Instance, of: str) -> None:
    run = asking(daemon)
    done = daemon.ctl("approve", of, "ask", "--choose", "half", "--comment", "fine")
    assert (done.returncode, done.stderr) == (0, "")
    found = daemon.wait_run(run)
    assert (found["state"], found["tasks"]["ask"]["outputs"]) == ("succeeded", {"by": ME, "choice": "half"})
    assert f"ask: attempt 1 was approved by {ME}: fine" in daemon.ctl("events", "--run", run).stdout


def test_a_rejection_fails_the_task(daemon: Instance) -> None:
    run = asking(daemon)
    assert daemon.json("reject", run, "ask", "--comment", "no")["approved"] is False
    found = daemon.wait_run(run)
    assert (found["state"], found["tasks"]["ask"]["reason"]) == ("failed", "rejected")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("approve", "w", "ask"), 6, "ask asks for a choice: all, half; name it with --choose"),
        (("approve", "w", "ask", "--choose", "hal"), 6, '"hal" is no choice (did you mean "half"?): all, half'),
        (("approve", "1", "aks"), 3, 'no task "aks" (did you mean "ask"?) in run 1 of w'),
        (("approve", "1", "after"), 6, "after of run 1 is no approval; ask waits for an answer"),
        (("approve", "w", "after"), 3, "no after of w waits for an answer; ask does"),
        (("reject", "1", "ask", "--comment", "x" * 1001), 6, "the comment has 1001 characters; 1000 are taken"),
        (("approve", "9", "ask"), 3, "no run 9"),
        (("approve", "x", "ask"), 3, 'no workflow "x"'),
    ],
)
def test_an_answer_that_cannot_be_is_one_line(
    daemon: Instance, arguments: tuple[str, ...], status: int, said: str
) -> None:
    asking(daemon)
    done = daemon.ctl(*arguments)
    assert done.returncode == status
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert daemon.json("approvals")


def test_a_second_answer_is_refused(daemon: Instance) -> None:
    run = asking(daemon, "tasks: {ask: {approval: {message: x}}, slow: {run: 'sleep 60'}}\n")
    assert daemon.ctl("approve", run, "ask").returncode == 0
    again = daemon.ctl("reject", run, "ask")
    assert (again.returncode, "waits for no answer: it is succeeded" in again.stderr) == (6, True)


def test_whoever_asked_for_the_run_may_not_answer_where_that_is_forbidden(daemon: Instance) -> None:
    run = asking(daemon, "tasks: {ask: {approval: {message: x, forbid_requester: true}}}\n")
    done = daemon.ctl("approve", run, "ask")
    assert (done.returncode, "somebody else has to answer" in done.stderr) == (5, True)


def test_only_members_of_the_group_may_answer(daemon: Instance) -> None:
    mine = grp.getgrgid(os.getegid()).gr_name
    text = "tasks: {ask: {approval: {message: x, allow: ['group:%s']}}}\n"
    run = asking(daemon, text % "nobody-is-in-this")
    refused = daemon.ctl("approve", run, "ask")
    assert (refused.returncode, "only group:nobody-is-in-this may answer" in refused.stderr) == (5, True)
    daemon.write("w.yaml", text % mine)
    daemon.ctl("reload")
    daemon.ctl("cancel", run)
    daemon.wait_run(run)
    other = daemon.run("w")
    wait_until(lambda: daemon.json("approvals"), "the other run asks")
    assert daemon.ctl("approve", other, "ask").returncode == 0


def test_the_typed_client_answers(daemon: Instance) -> None:
    run = asking(daemon)
    with daemon.client() as client:
        (waiting,) = client.approvals()
        with pytest.raises(Refused, match="asks for a choice"):
            client.approve(run, waiting.task)
        with pytest.raises(NotFound):
            client.reject(run, "nothing")
        found = client.approve(run, waiting.task, choice="all", comment="ok")
    assert (found.by, found.choice, found.approved) == (ME, "all", True)


# ---- One task -------------------------------------------------------------------------------------------------------

SLOW = "tasks: {fetch: {for_each: [a, b], run: 'sleep 60'}, next: {needs: fetch, trigger_rule: always, run: 'true'}}\n"


def test_one_item_is_cancelled_and_the_run_goes_on(daemon: Instance) -> None:
    daemon.install("w.yaml", SLOW)
    run = daemon.run("w")
    wait_until(lambda: _items(daemon, run) == ["running", "running"], "the items run")
    done = daemon.ctl("cancel", run, "fetch[a]")
    assert "fetch[a] is being cancelled; the run goes on" in done.stdout
    wait_until(lambda: _items(daemon, run) == ["cancelled", "running"], "one is cancelled")
    daemon.ctl("cancel", "w", "fetch")
    assert daemon.wait_run(run)["tasks"]["next"]["state"] == "succeeded"


def _items(instance: Instance, run: int) -> list[str]:
    return [item["state"] for item in instance.status(run)["tasks"]["fetch"]["items"]]


@pytest.mark.parametrize(
    ("task", "status", "said"),
    [
        ("fetch[c]", 3, 'no item "fetch[c]"'),
        ("fetsch", 3, 'no task "fetsch" (did you mean "fetch"?)'),
        ("done", 6, "done of run 1 has ended already: succeeded"),
        ("clean", 6, "clean of run 1 has not begun; `pyflowctl cancel 1` stops the run"),
    ],
)
def test_a_cancel_of_a_task_that_cannot_be_is_refused(daemon: Instance, task: str, status: int, said: str) -> None:
    handlers = "finally: {clean: {run: 'true'}}\n"
    daemon.install("w.yaml", SLOW.replace("tasks: {", "tasks: {done: {run: 'true'}, ") + handlers)
    run = daemon.run("w")
    daemon.wait_task(run, "done", "succeeded")
    wait_until(lambda: _items(daemon, run) == ["running", "running"], "the items run")
    done = daemon.ctl("cancel", run, task)
    assert (done.returncode, said in done.stderr) == (status, True)
    assert _items(daemon, run) == ["running", "running"]


# ---- Only some tasks ------------------------------------------------------------------------------------------------

CHAIN = "tasks: {a: {run: 'true'}, b: {needs: a, run: 'true'}, c: {needs: b, run: 'true'}, d: {run: 'true'}}\n"


def test_only_what_is_asked_for_and_what_it_needs_runs(daemon: Instance) -> None:
    daemon.install("w.yaml", CHAIN)
    found = daemon.wait_run(daemon.run("w", "--only", "b"))["tasks"]
    assert {name: (task["state"], task["reason"]) for name, task in found.items()} == {
        "a": ("succeeded", None), "b": ("succeeded", None), "c": ("skipped", "not_asked"), "d": ("skipped", "not_asked"),  # noqa: E501
    }  # fmt: skip


def test_an_unknown_task_is_refused_before_anything_runs(daemon: Instance) -> None:
    daemon.install("w.yaml", CHAIN.replace("d:", "deploy:"))
    done = daemon.ctl("run", "w", "--only", "a", "--only", "deplo")
    assert (done.returncode, done.stderr) == (
        3, 'pyflowctl: no task "deplo" (did you mean "deploy"?) in w; nothing was run\n'
    )  # fmt: skip
    assert daemon.json("history") == []


def test_a_plan_shows_what_is_asked_for_with_its_conditions(daemon: Instance) -> None:
    daemon.install(
        "w.yaml", ASKS + ITEMS.split("on_failure")[0].replace("\ntasks:", "") + "finally: {f: {run: 'true'}}\n"
    )
    plan = daemon.json("run", "w", "--dry-run", "--only", "full", "--only", "fetch")
    found = {task["task"]: (task["kind"], task["if"], task["fan_out"]) for task in plan["tasks"]}
    assert found == {
        "ask": ("approval", None, None), "full": ("run", "params.full", None), "fetch": ("run", None, "for_each: 4 items"),  # noqa: E501
    }  # fmt: skip
    assert [(task["task"], task["section"]) for task in plan["handlers"]] == [("fetch.undo", "undo"), ("f", "finally")]
    assert "approval: go on with ${{ run.workflow }}?" in daemon.ctl("run", "w", "--dry-run").stdout


# ---- Artifacts ------------------------------------------------------------------------------------------------------


@pytest.fixture
def kept(daemon: Instance, tmp_path: Path) -> tuple[Instance, int, bytes]:
    """A daemon, a run of it, and what each of its two items has kept."""
    data = os.urandom(2_000_000)
    (tmp_path / "dist").write_bytes(data)
    daemon.install(
        "w.yaml",
        f"tasks: {{build: {{for_each: [a, '../b'], cwd: {tmp_path}, run: 'true', artifacts: {{dist: dist}}}}}}\n",
    )
    run = daemon.run("w")
    assert daemon.wait_run(run)["state"] == "succeeded"
    return daemon, run, data


def test_artifacts_are_listed(kept: tuple[Instance, int, bytes]) -> None:
    daemon, run, data = kept
    digest = hashlib.sha256(data).hexdigest()
    found = [(each["task"], each["name"], each["size_bytes"], each["sha256"]) for each in daemon.json("artifacts", run)]
    assert found == [("build[a]", "dist", len(data), digest), ("build[../b]", "dist", len(data), digest)]
    assert [each["task"] for each in daemon.json("artifacts", run, "build[../b]")] == ["build[../b]"]
    items = daemon.status(run)["tasks"]["build"]["items"]
    assert items[0]["artifacts"] == {"dist": {"size_bytes": len(data), "sha256": digest}}


def test_an_artifact_is_fetched(kept: tuple[Instance, int, bytes], tmp_path: Path) -> None:
    daemon, run, data = kept
    target = tmp_path / "fetched"
    done = daemon.ctl("artifacts", run, "build[../b]", "dist", "--to", target)
    assert (done.returncode, done.stderr) == (0, "")
    assert target.read_bytes() == data
    again = daemon.ctl("artifacts", run, "build[../b]", "dist", "--to", target)
    assert (again.returncode, "it is there already" in again.stderr) == (6, True)


def test_an_artifact_that_is_not_there_is_told(kept: tuple[Instance, int, bytes]) -> None:
    daemon, run, _ = kept
    done = daemon.ctl("artifacts", run, "build[a]", "dits")
    said = f'build[a] of run {run} has no artifact "dits" (did you mean "dist"?); it has dist'
    assert (done.returncode, done.stderr) == (3, f"pyflowctl: {said}\n")


def test_a_file_that_was_taken_away_is_told(kept: tuple[Instance, int, bytes]) -> None:
    daemon, run, _ = kept
    for path in (daemon.root / "state" / "artifacts").rglob("dist"):
        path.unlink()
    done = daemon.ctl("artifacts", run, "build[a]", "dist", "--to", "-")
    assert (done.returncode, "is gone: it was in the folder of run" in done.stderr) == (6, True)


def test_the_typed_client_takes_an_artifact(kept: tuple[Instance, int, bytes]) -> None:
    daemon, run, data = kept
    with daemon.client() as client:
        assert [view.task for view in client.artifacts(run)] == ["build[a]", "build[../b]"]
        found = client.artifact(run, "build[a]", "dist")
        with open(found.fd, "rb") as file:
            assert file.read() == data


# ---- Called runs ----------------------------------------------------------------------------------------------------


def test_a_called_run_and_its_caller_name_each_other(daemon: Instance) -> None:
    daemon.install("child.yaml", "tasks: {a: {run: 'true'}}\noutputs: {n: 5}\n")
    daemon.install("w.yaml", 'tasks: {call: {workflow: child}}\noutputs: {n: "${{ tasks.call.outputs.n }}"}\n')
    run = daemon.run("w")
    found = daemon.wait_run(run)
    (called,) = found["tasks"]["call"]["called_runs"]
    assert daemon.status(called)["parent"] == {"run": run, "task": "call"}
    assert (found["outputs"], daemon.status(called)["outputs"]) == ({"n": 5}, {"n": 5})
    assert f"called by run {run}" in daemon.ctl("history").stdout
    text = daemon.ctl("status", run).stdout
    assert f"succeeded: run {called}" in text
    assert "outputs\n  n = 5\n" in text


def test_params_outputs_and_handlers_stand_above_a_definition(daemon: Instance) -> None:
    daemon.install("w.yaml", ASKS + "finally: {clean: {run: 'true'}}\noutputs: {n: 5}\n")
    text = daemon.ctl("show", "w").stdout
    assert "# param full (boolean, default false)\n# outputs: n\n# finally: clean\n" in text
    assert daemon.json("show", "w")["handlers"] == {"finally": ["clean"]}
