"""What charts are made of, on a real daemon: outcomes, tasks by runs, attempts, samples, slots; who saw a failure."""

from __future__ import annotations

from typing import Any

import pytest

from pyflowd.errors import NotFound, PyflowError, Refused
from pyflowd.protocol.figures import (
    AttemptPage,
    AttemptView,
    GetGrid,
    GetSamples,
    GridView,
    ListAttempts,
    ListOutcomes,
    OutcomesPage,
    OutcomesView,
    SamplesView,
)
from pyflowd.protocol.requests import ListRuns, ListSlots, MarkSeen, Request
from pyflowd.protocol.views_runs import RunPage, RunView
from pyflowd.protocol.views_workflows import SlotPage
from tests.daemon.instance import Instance
from tests.waiting import wait_until

MANY = """
tasks:
  first: {run: "true"}
  tries: {run: exit 3, needs: first, retry: {attempts: 2, delay: 10ms}, continue_on_error: true}
  fan: {for_each: [x, y, z], run: 'test "$I" != y', env: {I: "${{ item }}"}, needs: first, continue_on_error: true}
  skipped: {run: "true", needs: first, if: "${{ false }}"}
  last: {run: exit 4, needs: [tries, fan, skipped], trigger_rule: all_done, undo: {run: "true"}}
  never: {run: "true", needs: last}
on_failure: {tell: {run: "true"}}
on_success: {cheer: {run: "true"}}
"""


def ask(instance: Instance, request: Request) -> list[Any]:
    with instance.client() as client:
        return list(client.ask(request))


def grid(instance: Instance, workflow: str, **given: Any) -> GridView:
    (found,) = ask(instance, GetGrid(workflow=workflow, **given))
    assert isinstance(found, GridView)
    return found


def attempts(instance: Instance, of: object, task: str | None = None) -> list[AttemptView]:
    pages = ask(instance, ListAttempts(of=str(of), task=task))
    assert all(isinstance(page, AttemptPage) for page in pages)
    return [attempt for page in pages for attempt in page.attempts]


def outcomes(instance: Instance, **given: Any) -> dict[str, OutcomesView]:
    pages = ask(instance, ListOutcomes(**given))
    assert all(isinstance(page, OutcomesPage) for page in pages)
    return {found.workflow: found for page in pages for found in page.workflows}


@pytest.fixture(scope="module")
def many(shared_daemon: Instance) -> tuple[Instance, int]:
    """A run in which everything happens once."""
    shared_daemon.install("many.yaml", MANY)
    run = shared_daemon.run("many")
    assert shared_daemon.wait_run(run)["state"] == "failed"
    return shared_daemon, run


# ---- Outcomes


def test_outcomes_are_the_newest_runs_oldest_first_with_what_is_usual(shared_daemon: Instance) -> None:
    text = "params: {code: {type: integer}}\ntasks: {a: {run: 'exit $CODE', env: {CODE: '${{ params.code }}'}}}\n"
    shared_daemon.install("o.yaml", text)
    runs = []
    for code in (0, 1, 0, 0):
        runs.append(shared_daemon.run("o", "-p", f"code={code}"))
        shared_daemon.wait_run(runs[-1])
    found = outcomes(shared_daemon, workflow="o")["o"]
    assert [each.run for each in found.runs] == runs
    assert [each.state for each in found.runs] == ["succeeded", "failed", "succeeded", "succeeded"]
    assert found.runs[1].reason == "task_failed"
    took = sorted(each.ended_us - each.started_us for each in found.runs if each.state == "succeeded")  # type: ignore[operator]
    assert (found.usual_us, found.slow_us) == (took[1], took[2])
    assert [each.run for each in outcomes(shared_daemon, workflow="o", limit=2)["o"].runs] == runs[-2:]


def test_outcomes_of_all_and_of_some(shared_daemon: Instance) -> None:
    shared_daemon.install("p.yaml", "tasks: {a: {run: 'true'}}\n")
    everything = outcomes(shared_daemon)
    assert everything["p"].runs == []
    assert everything["p"].usual_us is None
    assert set(outcomes(shared_daemon, workflows=["p", "no-such"])) == {"p"}
    with pytest.raises(NotFound, match='no workflow "no-such"'):
        outcomes(shared_daemon, workflow="no-such")


# ---- Tasks by runs


def test_a_grid_has_a_cell_of_each_task_and_of_the_handlers_that_have_begun(many: tuple[Instance, int]) -> None:
    instance, run = many
    found = grid(instance, "many")
    assert found.tasks[:6] == ["first", "tries", "fan", "skipped", "last", "never"]
    assert "cheer" not in found.tasks
    assert "tell" in found.tasks
    shown = found.runs[-1]
    assert shown.outcome.run == run
    cells = shown.cells
    assert {name: cell.state for name, cell in cells.items()} == {
        "first": "succeeded", "tries": "failed", "fan": "failed", "skipped": "skipped", "last": "failed",
        "never": "upstream_failed", "tell": "succeeded",
    }  # fmt: skip
    assert (cells["tries"].attempts, cells["tries"].exit_code) == (2, 3)
    assert cells["never"].started_us is None
    whole = {attempt.task: attempt for attempt in attempts(instance, run) if attempt.task.startswith("fan[")}
    assert cells["fan"].started_us == min(attempt.started_us for attempt in whole.values())
    assert cells["fan"].ended_us == max(attempt.ended_us or 0 for attempt in whole.values())
    assert shown.cpu_us == sum(attempt.cpu_us or 0 for attempt in attempts(instance, run))
    assert shown.digest == instance.json("show", "many")["digest"]


def test_a_grid_is_read_page_by_page_and_keeps_tasks_that_only_older_runs_have(shared_daemon: Instance) -> None:
    shared_daemon.install("g.yaml", "tasks: {old: {run: 'true'}, both: {run: 'true'}}\n")
    first = shared_daemon.run("g")
    shared_daemon.wait_run(first)
    changed = "tasks: {both: {run: 'true'}, new: {run: 'true'}}\n"
    shared_daemon.write("g.yaml", changed)
    wait_until(lambda: "new" in shared_daemon.ctl("graph", "g").stdout, "the new text")
    second = shared_daemon.run("g")
    shared_daemon.wait_run(second)
    found = grid(shared_daemon, "g")
    assert found.tasks == ["both", "new", "old"]
    assert [list(each.cells) for each in found.runs] == [["old", "both"], ["both", "new"]]
    assert [each.outcome.run for each in grid(shared_daemon, "g", limit=1).runs] == [second]
    assert [each.outcome.run for each in grid(shared_daemon, "g", before=second).runs] == [first]
    assert grid(shared_daemon, "g", before=first).runs == []


def test_a_live_run_shows_what_is_under_way_not_what_was_before(shared_daemon: Instance) -> None:
    shared_daemon.install("l.yaml", "tasks: {ask: {approval: {message: go}}, after: {run: 'true', needs: ask}}\n")
    assert grid(shared_daemon, "l").tasks == ["ask", "after"]
    assert grid(shared_daemon, "l").runs == []
    run = shared_daemon.run("l")
    shared_daemon.wait_task(run, "ask", "running")
    (shown,) = grid(shared_daemon, "l").runs
    assert {name: cell.state for name, cell in shown.cells.items()} == {"ask": "running", "after": "waiting"}
    assert shown.cells["ask"].started_us
    assert shown.cells["ask"].ended_us is None
    (attempt,) = attempts(shared_daemon, run)
    assert (attempt.state, attempt.ended_us) == ("running", None)
    shared_daemon.ctl("approve", run, "ask")
    shared_daemon.wait_run(run)


def test_an_attempt_that_runs_has_no_end_of_the_one_before(shared_daemon: Instance) -> None:
    script = "test -e tried || { touch tried; exit 3; }; mkfifo hold; cat hold"
    task = f"run: '{script}', cwd: '${{{{ run.scratch }}}}', retry: {{attempts: 2, delay: 10ms}}"
    shared_daemon.install("e.yaml", f"tasks: {{a: {{{task}}}}}\n")
    run = shared_daemon.run("e")

    def second() -> GridView | None:
        found = grid(shared_daemon, "e")
        cell = found.runs[0].cells["a"]
        return found if (cell.state, cell.attempts) == ("running", 2) else None

    cell = wait_until(second, "its second attempt").runs[0].cells["a"]
    assert (cell.exit_code, cell.ended_us) == (None, None)
    shared_daemon.ctl("cancel", run)
    shared_daemon.wait_run(run)


# ---- Attempts


def test_attempts_come_in_the_order_of_their_starts_with_since_when_they_waited(many: tuple[Instance, int]) -> None:
    instance, run = many
    found = attempts(instance, run)
    assert [each.started_us for each in found] == sorted(each.started_us for each in found)
    by = {(each.task, each.attempt): each for each in found}
    assert set(by) == {
        ("first", 1), ("tries", 1), ("tries", 2), ("fan[x]", 1), ("fan[y]", 1), ("fan[z]", 1), ("last", 1), ("tell", 1),
    }  # fmt: skip
    view = instance.seen(run)[0]
    assert by["first", 1].queued_us == view.started_us
    ended_us = by["first", 1].ended_us
    assert all(by[name, 1].queued_us == ended_us for name in ("tries", "fan[x]", "fan[y]"))
    again = by["tries", 2]
    assert again.queued_us is not None
    assert (by["tries", 1].ended_us or 0) < again.queued_us < again.started_us
    needs = [by["tries", 2], by["fan[x]", 1], by["fan[y]", 1], by["fan[z]", 1]]
    assert by["last", 1].queued_us == max(each.ended_us or 0 for each in needs)
    assert by["tell", 1].queued_us is None
    assert (by["last", 1].exit_code, by["last", 1].error, by["last", 1].state) == (4, "exit code 4", "failed")


def test_attempts_of_one_task_have_those_of_its_items(many: tuple[Instance, int]) -> None:
    instance, run = many
    assert {each.task for each in attempts(instance, run, "fan")} == {"fan[x]", "fan[y]", "fan[z]"}
    assert {each.task for each in attempts(instance, run, "fan[y]")} == {"fan[y]"}
    assert [each.attempt for each in attempts(instance, "many", "tries")] == [1, 2]
    assert attempts(instance, run, "never") == []
    with pytest.raises(NotFound, match=r'no task "trie" \(did you mean "tries"\?\) in run'):
        attempts(instance, run, "trie")


# ---- Samples


def test_samples_are_of_the_newest_attempt_or_of_the_one_that_is_asked_for(many: tuple[Instance, int]) -> None:
    instance, run = many
    (found,) = ask(instance, GetSamples(of=str(run), task="tries"))
    assert isinstance(found, SamplesView)
    assert (found.run, found.attempt, found.points) == (run, 2, [])
    assert found.ended_us
    (found,) = ask(instance, GetSamples(of=str(run), task="tries", attempt=1))
    assert found.attempt == 1
    for task, attempt, why in (
        ("tries", 3, f"tries of run {run} of many has no attempt 3"), ("never", None, "has no attempt"),
        ("no-such", None, 'no task "no-such"'),
    ):  # fmt: skip
        with pytest.raises(NotFound, match=why):
            ask(instance, GetSamples(of=str(run), task=task, attempt=attempt))


def test_a_task_that_runs_has_points_that_ascend(instance: Instance) -> None:
    instance.settings(sample_interval="50ms")
    instance.start()
    instance.install("s.yaml", "tasks: {a: {run: 'while test ! -e stop; do :; done', cwd: \"${{ run.scratch }}\"}}\n")
    run = instance.run("s")

    def sampled() -> SamplesView | None:
        try:
            (found,) = ask(instance, GetSamples(of=str(run), task="a"))
        except NotFound:
            return None
        return found if len(found.points) > 3 else None

    found = wait_until(sampled, "some samples")
    instance.ctl("cancel", run)
    times = [point[0] for point in found.points]
    assert times == sorted(set(times))
    assert all(at_us > found.started_us and rss > 0 for at_us, _, rss in found.points)
    assert [point[1] for point in found.points] == sorted(point[1] for point in found.points)


# ---- Lists


def test_history_goes_on_where_a_page_ended(shared_daemon: Instance) -> None:
    shared_daemon.install("h.yaml", "overlap: allow\ntasks: {a: {run: 'true'}}\n")
    runs = [shared_daemon.run("h") for _ in range(4)]
    for run in runs:
        shared_daemon.wait_run(run)
    (page,) = ask(shared_daemon, ListRuns(workflow="h", limit=2))
    assert isinstance(page, RunPage)
    assert [view.run for view in page.runs] == runs[:1:-1]
    (page,) = ask(shared_daemon, ListRuns(workflow="h", limit=2, before=page.runs[-1].run))
    assert [view.run for view in page.runs] == runs[1::-1]
    assert [each["run"] for each in shared_daemon.json("history", "h", "--before", runs[1])] == runs[:1]
    assert shared_daemon.ctl("history", "--before", "x").returncode == 2


def slots(instance: Instance, **given: Any) -> list[tuple[int, str]]:
    pages = ask(instance, ListSlots(workflow="t", **given))
    assert all(isinstance(page, SlotPage) for page in pages)
    return [(slot.scheduled_us, slot.fate.value) for page in pages for slot in page.slots]


def test_slots_are_told_by_time_and_fate(instance: Instance) -> None:
    instance.start()
    instance.install("t.yaml", "triggers: {tick: {every: 1s}}\noverlap: skip\ntasks: {a: {approval: {message: go}}}\n")
    found = wait_until(lambda: len(rows := slots(instance)) > 3 and rows, "some slots")
    instance.ctl("pause", "t")
    assert [fate for _, fate in found[:3]] == ["fired", "skipped", "skipped"]
    fired, skipped = found[0], found[1:4]
    until_us = found[3][0] + 1
    assert slots(instance, until_us=until_us) == [fired, *skipped]
    assert slots(instance, until_us=until_us, fate="fired") == [fired]
    assert slots(instance, until_us=until_us, fate="skipped") == skipped
    assert slots(instance, until_us=until_us, fate="skipped", limit=2) == skipped[1:]
    assert slots(instance, until_us=until_us, limit=1) == skipped[2:]
    assert slots(instance, since_us=skipped[0][0], until_us=skipped[1][0]) == skipped[:1]
    with pytest.raises(Refused, match=r'"fire" is no fate of a slot \(did you mean "fired"\?\): fired, skipped'):
        slots(instance, fate="fire")
    shown = instance.json("slots", "t", "--fate", "fired")
    assert [each["fate"] for each in shown] == ["fired"]
    assert not instance.json("slots", "t", "--until", "1d")
    assert instance.ctl("slots", "t", "--events", "--fate", "fired").returncode == 2


# ---- Who has seen it


def test_who_has_taken_note_of_a_failure_is_told_until_it_is_taken_back(shared_daemon: Instance) -> None:
    shared_daemon.install("f.yaml", "tasks: {a: {run: exit 1}}\n")
    run = shared_daemon.run("f")
    shared_daemon.wait_run(run)
    assert shared_daemon.status(run)["seen_by"] is None
    (view,) = ask(shared_daemon, MarkSeen(run=run))
    assert isinstance(view, RunView)
    assert view.seen_by
    assert view.seen_us
    (again,) = ask(shared_daemon, MarkSeen(run=run))
    assert (again.seen_by, again.seen_us) == (view.seen_by, view.seen_us)
    (listed,) = shared_daemon.json("history", "f")
    assert listed["seen_by"] == view.seen_by
    assert f"seen by {view.seen_by}" in shared_daemon.ctl("status", run).stdout
    failed = next(each for each in shared_daemon.json("status")["failed"] if each["run"] == run)
    assert failed["seen_by"] == view.seen_by
    assert "is to be looked at again" in shared_daemon.ctl("seen", run, "--undo").stdout
    assert shared_daemon.status(run)["seen_by"] is shared_daemon.status(run)["seen_at"] is None
    events = shared_daemon.ctl("events", "--run", run).stdout
    assert f"run {run} was seen, says {view.seen_by}" in events
    assert f"run {run} is to be looked at again, says {view.seen_by}" in events
    records = [each for each in shared_daemon.json("audit", "--workflow", "f") if each["request"] == "mark_seen"]
    assert len(records) == 3
    assert {record["run"] for record in records} == {run}
    assert shared_daemon.json("seen", run)["seen_by"] == view.seen_by


def test_only_of_a_run_that_failed_note_is_taken(shared_daemon: Instance) -> None:
    shared_daemon.install("k.yaml", "tasks: {a: {approval: {message: go}}}\n")
    run = shared_daemon.run("k")
    for state in ("queued|running", "succeeded"):
        with pytest.raises(PyflowError, match=rf"run {run} of k is ({state}); only of one that failed"):
            ask(shared_daemon, MarkSeen(run=run))
        shared_daemon.wait_task(run, "a", "running" if state != "succeeded" else "succeeded")
        shared_daemon.ctl("approve", run, "a")
        shared_daemon.wait_run(run)
    with pytest.raises(NotFound, match="no run 999999"):
        ask(shared_daemon, MarkSeen(run=999_999))


def test_what_was_seen_outlives_the_daemon(instance: Instance) -> None:
    instance.start()
    instance.install("f.yaml", "tasks: {a: {run: exit 1}}\n")
    run = instance.run("f")
    instance.wait_run(run)
    (view,) = ask(instance, MarkSeen(run=run))
    instance.kill()
    instance.start()
    assert instance.seen(run)[0].seen_us == view.seen_us
    assert instance.stop() == 0
    assert instance.ctl("fsck").returncode == 0
