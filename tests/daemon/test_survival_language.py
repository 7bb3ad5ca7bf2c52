"""The promise again, with all of the language: a run that has items, retries, a called run, a request, an approval and
handlers of every kind comes to the same end, with the same starts, however often the daemon is killed meanwhile.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pyflowd.crashpoints import CRASHPOINTS
from tests.daemon.checker import check_fold, check_witness
from tests.daemon.instance import Instance
from tests.daemon.scenario import items, states
from tests.daemon.site import Site
from tests.waiting import wait_until

LONG = bool(os.environ.get("PYFLOW_LONG"))

WITNESS = 'echo "start $PYFLOW_RUN_ID $PYFLOW_TASK ${PYFLOW_ITEM_KEY:--} $PYFLOW_ATTEMPT" >> witness'
"""The first line of each task: what it is, said once for each start."""

CALLED = f"""
params: {{v: {{}}}}
tasks:
  inner: {{run: '{WITNESS}; echo v=inner-$PARAM_V >> $PYFLOW_OUTPUT'}}
finally:
  tidy: {{run: '{WITNESS}'}}
outputs: {{v: "${{{{ tasks.inner.outputs.v }}}}"}}
"""

WORKFLOW = f"""
params: {{fail: {{type: boolean, default: false}}}}
tasks:
  list:
    run: |
      {WITNESS}
      echo '{{"items": ["a", "b", "c"]}}' > $PYFLOW_OUTPUT
    undo: {{run: '{WITNESS}'}}
  each:
    needs: list
    for_each: ${{{{ tasks.list.outputs.items }}}}
    max_parallel: 2
    run: |
      {WITNESS}
      if [ $PYFLOW_ITEM_KEY$PYFLOW_ATTEMPT = b1 ]; then exit 1; fi
      echo v=$PYFLOW_ITEM_KEY$PYFLOW_ATTEMPT >> $PYFLOW_OUTPUT
    retry: {{attempts: 2, delay: 10ms}}
    undo: {{run: '{WITNESS}'}}
  risky:
    needs: each
    run: {WITNESS}; exit 3
    continue_on_error: true
    on_error:
      soothe: {{run: '{WITNESS}'}}
  call: {{needs: risky, workflow: called, with: {{v: "${{{{ tasks.each.results[1].outputs.v }}}}"}}}}
  get: {{needs: call, http: URL}}
  ask: {{needs: get, approval: {{message: Go on?, timeout: 30ms, on_timeout: approve}}}}
  pass: {{needs: ask, wait: 20ms}}
  last: {{needs: pass, run: '{WITNESS}; ! $PARAM_FAIL'}}
on_success:
  good: {{run: '{WITNESS}'}}
on_failure:
  bad: {{run: '{WITNESS}'}}
finally:
  end: {{run: '{WITNESS}; echo "$OUTCOME" >> outcome', env: {{OUTCOME: "${{{{ run.outcome }}}}"}}}}
outputs:
  all: ${{{{ pick(tasks.each.results, 'outputs.v') }}}}
  called: ${{{{ tasks.call.outputs.v }}}}
  got: ${{{{ tasks.get.outputs.body }}}}
"""

STARTS = [
    "list - 1", "each a 1", "each b 1", "each b 2", "each c 1", "risky - 1", "soothe - 1", "inner - 1", "tidy - 1",
    "last - 1",
]  # fmt: skip
AFTER_SUCCESS = ["good - 1", "end - 1"]
AFTER_FAILURE = ["bad - 1", "each.undo a 1", "each.undo b 1", "each.undo c 1", "list.undo - 1", "end - 1"]


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as made:
        made.routes["/"] = lambda _: (200, {"n": 7})
        yield made


@pytest.fixture
def ready(instance: Instance, site: Site) -> Instance:
    """A root with both workflows in force, and no daemon."""
    instance.start()
    cwd = f"cwd: {instance.root}\n"
    instance.install("called.yaml", cwd + CALLED)
    instance.install("w.yaml", cwd + WORKFLOW.replace("URL", f"{site.url}/"))
    instance.stop()
    return instance


def starts(root: Path) -> list[str]:
    """What was started, in order, without the numbers of the runs."""
    path = root / "witness"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split(" ", 2)[2] for line in lines]


def check(instance: Instance, run: int, *, fail: bool) -> None:
    """The one run has come to the end that an undisturbed one comes to."""
    ended = instance.wait_run(run, 60)
    check_end(ended, fail=fail)
    check_witness(instance.root / "witness")
    started = starts(instance.root)
    assert Counter(started) == Counter(STARTS + (AFTER_FAILURE if fail else AFTER_SUCCESS))
    assert (instance.root / "outcome").read_text() == ("failed\n" if fail else "succeeded\n")
    after = started[started.index("last - 1") + 1 :]
    assert after[0] == ("bad - 1" if fail else "good - 1")
    assert after[-1] == "end - 1"
    if fail:
        assert after[-2] == "list.undo - 1"
    assert len(instance.json("history", "called")) == 1
    instance.stop()
    assert check_fold(instance.root) == 2


def check_end(ended: dict[str, Any], *, fail: bool) -> None:
    assert ended["state"] == ("failed" if fail else "succeeded"), ended["error"]
    assert states(ended) == {
        "list": "succeeded", "each": "succeeded", "risky": "failed", "call": "succeeded", "get": "succeeded",
        "ask": "succeeded", "pass": "succeeded", "last": "failed" if fail else "succeeded",
    }  # fmt: skip
    assert items(ended, "each") == dict.fromkeys("abc", "succeeded")
    assert [item["attempts"] for item in ended["tasks"]["each"]["items"]] == [1, 2, 1]
    assert ended["outputs"] == ({} if fail else {"all": ["a1", "b2", "c1"], "called": "inner-b2", "got": {"n": 7}})
    ran = {name for name, task in ended["handlers"].items() if task["attempts"]}
    undone = {"list.undo", *(f"each.undo[{key}]" for key in "abc")}
    assert ran == {"soothe", "end", *({"bad"} | undone if fail else {"good"})}


def ask(instance: Instance, *, fail: bool) -> int | None:
    """Ask for the one run, again with the same key if need be; None if no daemon says that it has recorded it."""
    done = instance.ctl("-o", "json", "run", "w", "-p", f"fail={json.dumps(fail)}", "--key", "once")
    return json.loads(done.stdout)["run"] if done.returncode == 0 else None


@pytest.mark.parametrize("fail", [False, True])
def test_an_undisturbed_run_comes_to_this_end(ready: Instance, fail: bool) -> None:
    ready.start()
    run = ask(ready, fail=fail)
    assert run is not None
    check(ready, run, fail=fail)


AT_THE_START = ("connected", "reconciled")
IN_A_REPLY = ("before_reply", "after_reply")
PASSINGS = {point: range(1, 60, 4) if LONG else (4, 9) for point in CRASHPOINTS if point not in AT_THE_START}
PASSINGS |= dict.fromkeys(IN_A_REPLY, (1, 2))
"""At which passing of a point the daemon dies: of a reply there are few, of all others a dozen or more."""
DEATHS = [(point, count) for point, counts in PASSINGS.items() for count in counts]


@pytest.mark.parametrize(("point", "count"), DEATHS)
def test_a_run_with_everything_in_it_survives_a_death_at_any_named_point(
    ready: Instance, point: str, count: int
) -> None:
    fail = bool(count % 2)
    ready.start(wait=False, PYFLOWD_CRASH=f"{point}:{count}")
    process = ready.process
    assert process is not None
    wait_until(lambda: process.poll() is not None or ready.ctl("next").returncode == 0, "it serves, or has died")
    acknowledged = ask(ready, fail=fail)
    wait_until(lambda: process.poll() is not None or has_ended(ready), "its death, or the end")
    if process.poll() is None:
        assert LONG, "the point was not passed so often"
        ready.stop()
    else:
        assert process.returncode == -signal.SIGKILL, ready.log_text()
    ready.start()
    run = ask(ready, fail=fail)
    assert run is not None
    assert acknowledged in (None, run), "an acknowledged run is lost"
    check(ready, run, fail=fail)


def has_ended(instance: Instance) -> bool:
    """Whether its run has; False while no daemon answers."""
    done = instance.ctl("-o", "json", "history", "w")
    return done.returncode == 0 and any(run["ended_at"] for run in json.loads(done.stdout))


def busy(instance: Instance, lines: int) -> bool:
    """So many starts have been seen, or all that there will be."""
    started = starts(instance.root)
    return len(started) >= lines or "end - 1" in started


@pytest.mark.parametrize("point", AT_THE_START)
@pytest.mark.parametrize("lines", [1, 3, 6, 8, 11, 13] if LONG else [4, 11])
def test_a_run_survives_a_death_while_another_is_made_good(ready: Instance, point: str, lines: int) -> None:
    """Killed in the middle, then killed again while it looks at what is left."""
    ready.start()
    run = ask(ready, fail=True)
    assert run is not None
    wait_until(lambda: busy(ready, lines), "work")
    ready.kill()
    ready.start(wait=False, PYFLOWD_CRASH=f"{point}:1")
    assert ready.wait_dead() == -signal.SIGKILL, ready.log_text()
    ready.start()
    check(ready, run, fail=True)


@pytest.mark.parametrize("trial", range(20 if LONG else 2))
def test_a_run_survives_deaths_at_any_moment(ready: Instance, trial: int) -> None:
    """Killed after so many starts, three times over."""
    fail = bool(trial % 2)
    ready.start()
    run = ask(ready, fail=fail)
    assert run is not None
    for life in range(3):
        lines = 1 + trial % 4 + 4 * life
        wait_until(partial(busy, ready, lines), "work")
        ready.kill()
        ready.start()
    check(ready, run, fail=fail)


# ---- Cancel, answers ------------------------------------------------------------------------------------------------

STOPPED = f"""
tasks:
  before: {{run: '{WITNESS}', undo: {{run: '{WITNESS}'}}}}
  long: {{needs: before, run: '{WITNESS}; exec sleep 60'}}
  ask: {{needs: before, approval: Go on?}}
  after: {{needs: ask, run: '{WITNESS}'}}
on_cancel: {{told: {{run: '{WITNESS}'}}}}
on_failure: {{never: {{run: '{WITNESS}'}}}}
finally: {{end: {{run: '{WITNESS}'}}}}
"""


@pytest.fixture
def waiting(instance: Instance) -> int:
    """A run that waits for an answer, beside a task that runs for long."""
    instance.start()
    instance.install("stopped.yaml", f"cwd: {instance.root}\n{STOPPED}")
    run = instance.run("stopped")
    instance.wait_task(run, "ask", "running")
    wait_until(lambda: "long - 1" in starts(instance.root), "the long task runs")
    return run


def test_a_cancel_that_was_acknowledged_is_carried_out_after_a_death(instance: Instance, waiting: int) -> None:
    assert instance.ctl("cancel", waiting).returncode == 0
    instance.kill()
    instance.start()
    ended = instance.wait_run(waiting)
    assert (ended["state"], states(ended)) == ("cancelled", {
        "before": "succeeded", "long": "cancelled", "ask": "cancelled", "after": "cancelled",
    })  # fmt: skip
    started = starts(instance.root)
    assert started[2:] == ["told - 1", "before.undo - 1", "end - 1"]
    instance.stop()
    check_fold(instance.root)


def test_an_approval_waits_over_a_death_and_its_answer_outlives_one(instance: Instance, waiting: int) -> None:
    instance.kill()
    instance.start()
    assert instance.status(waiting)["tasks"]["ask"]["state"] == "running"
    assert instance.ctl("approve", waiting, "ask").returncode == 0
    instance.kill()
    instance.start()
    wait_until(lambda: "after - 1" in starts(instance.root), "the task that was agreed to")
    found = instance.status(waiting)["tasks"]["ask"]
    assert (found["state"], found["attempts"]) == ("succeeded", 1)
    instance.ctl("cancel", waiting)
    instance.wait_run(waiting)
    check_witness(instance.root / "witness")


def test_a_request_that_may_not_be_repeated_is_unknown_after_a_death(instance: Instance, site: Site) -> None:
    """Rule I4: nobody knows whether a POST has arrived."""
    arrived = instance.root / "arrived"

    def swallow(_: object) -> tuple[int, Any]:
        arrived.touch()
        wait_until((instance.root / "go").exists, "leave to answer", 60)
        return 200, None

    site.routes["/order"] = swallow
    instance.start()
    instance.install("post.yaml", f'tasks: {{a: {{http: {{method: POST, url: "{site.url}/order", json: {{n: 1}}}}}}}}')
    run = instance.run("post")
    wait_until(arrived.exists, "the request")
    instance.kill()
    instance.start()
    ended = instance.wait_run(run)
    (instance.root / "go").touch()
    assert (ended["tasks"]["a"]["state"], ended["tasks"]["a"]["reason"]) == ("failed", "lost")
    assert len(site.paths("/order")) == 1


def test_a_called_run_whose_last_task_ended_while_the_daemon_was_dead_answers_its_caller(instance: Instance) -> None:
    instance.start()
    called = f"until [ -e {instance.root}/go ]; do sleep 0.01; done; echo v=7 >> $PYFLOW_OUTPUT"
    outputs = {"v": "${{ tasks.a.outputs.v }}"}
    instance.install("called.json", json.dumps({"tasks": {"a": {"run": called}}, "outputs": outputs}))
    instance.install("caller.json", json.dumps({"tasks": {"call": {"workflow": "called"}}}))
    run = instance.run("caller")
    wait_until(lambda: instance.json("history", "called"), "the called run")
    instance.wait_task(run + 1, "a", "running")
    instance.kill()
    (instance.root / "go").touch()
    wait_until(lambda: b"\nE\t" in (instance.root / "run" / "journal").read_bytes(), "the end of the called task")
    instance.start()
    ended = instance.wait_run(run)
    assert (ended["state"], ended["tasks"]["call"]["outputs"]) == ("succeeded", {"v": "7"}), ended["error"]


def test_what_waits_goes_on_waiting_after_a_death(instance: Instance) -> None:
    """An approval for its time-out, a pause for its end, a condition for what comes after both."""
    instance.start()
    instance.install("w.yaml", """
tasks:
  ask: {approval: {message: Go on?, timeout: 1s}}
  pause: {wait: 1s}
  condition: {wait: {condition: tasks.ask.state == 'failed' and tasks.pause.state == 'succeeded'}}
""")  # fmt: skip
    run = instance.run("w")
    for name in ("ask", "pause", "condition"):
        instance.wait_task(run, name, "running")
    instance.kill()
    instance.start()
    ended = instance.wait_run(run)
    assert states(ended) == {"ask": "failed", "pause": "succeeded", "condition": "succeeded"}
    assert ended["tasks"]["ask"]["reason"] == "rejected"
    assert {task["attempts"] for task in ended["tasks"].values()} == {1}
