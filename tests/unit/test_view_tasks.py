"""The tasks of a run as clients are told them: in order, in pages, with items and handlers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyflowd.base.timers import Timers
from pyflowd.base.zones import zone
from pyflowd.engine.state import Run
from pyflowd.events import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarting,
    CancelRequested,
    RetryDue,
    RunCreated,
)
from pyflowd.handlers import view_tasks
from pyflowd.handlers.view_tasks import RunOf, nodes, planned_handlers, task_pages
from pyflowd.handlers.views import counted, run_view
from pyflowd.model.ends import Given, KeptFile
from pyflowd.model.kinds import Approval, Call
from pyflowd.model.states import TaskState
from pyflowd.model.workflow import Artifact, Jitter, Repeat, Retry, Workflow
from pyflowd.protocol.views_runs import TaskView
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.runs import Runs
from pyflowd.store.batch import RunMeta
from pyflowd.store.store import Store
from tests.fakes import FakeClock
from tests.unit.engine_driver import ended, fan, task, workflow


class Host:
    """Runs that are recorded in a store; whoever runs their attempts is the test."""

    def __init__(self, root: Path) -> None:
        (root / "state").mkdir()
        self.store = Store(str(root / "state"))
        self.clock = FakeClock()
        self.runs = Runs(self.store, self.clock, Timers(), 100_000, zone("UTC"))

    def begin(self, definition: Workflow, **more: Any) -> LiveRun:
        meta = RunMeta(run=self.runs.next_run(), workflow="w", digest="d", trigger="manual", created_us=1, **more)
        live = self.runs.create(meta, definition, RunCreated(1))
        self.runs.start(live)
        return live

    def finish(self, live: LiveRun, name: str, code: int = 0, given: Given | None = None) -> None:
        attempts = live.run.tasks[name].attempts + 1
        self.runs.feed(live, AttemptStarting(name, attempts, 1, 1, "k"))
        self.runs.feed(live, AttemptEnded(name, attempts, 2, 2, ended(code), 0.5, given))

    def play(self, live: LiveRun, codes: dict[str, int] | None = None) -> None:
        """Run whatever is ready until the run has ended."""
        while (node := live.run.next_ready(host_has_place=True)) is not None:
            self.finish(live, node.name, (codes or {}).get(node.name, 0))

    def views(self, live: LiveRun, *, all_items: bool = True) -> list[TaskView]:
        return list(itertools.chain(*self.pages(live, all_items=all_items)))

    def pages(self, live: LiveRun, *, all_items: bool = True) -> list[list[TaskView]]:
        self.store.commit(self.runs.batch)
        self.runs.committed()
        run = RunOf(live.meta.run, live.workflow, live.run.section)
        return list(task_pages(self.store, run, all_items=all_items))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.store.close()


def items(count: int) -> dict[str, Any]:
    return {"items": [f"k{number}" for number in range(count)]}


def names(views: list[TaskView]) -> list[str]:
    return [view.task for view in views]


FULL = workflow(
    task("a", undo=task("a.undo"), on_error=(task("mend"),)),
    fan("b", "a", fan_out=items(2), undo=task("b.undo")),
    task("c", "b", on_error=(task("cry"), task("wipe", "cry"))),
    on_success=(task("glad"),), on_failure=(task("sad"),), finally_=(fan("last", fan_out=items(2)),),
)  # fmt: skip


def test_nodes_of_a_definition_have_the_numbers_that_they_have_in_a_run() -> None:
    run = Run(1, FULL, RunCreated(1))
    assert [(node.n, node.task.name, node.section) for node in nodes(FULL)] == [
        (node.index, node.name, node.section) for node in run.by_index
    ]


def test_items_stand_after_their_fan_out_and_handlers_at_the_end(host: Host) -> None:
    live = host.begin(FULL)
    host.play(live, {"c": 1})
    assert names(host.views(live)) == [
        "a", "b", "b[k0]", "b[k1]", "c", "cry", "wipe", "sad", "b.undo[k1]", "b.undo[k0]", "a.undo",
        "last", "last[k0]", "last[k1]",
    ]  # fmt: skip


def test_a_handler_says_its_section_and_what_it_is_for(host: Host) -> None:
    live = host.begin(FULL)
    host.play(live, {"c": 1})
    found = {view.task: (view.section, view.of, view.item) for view in host.views(live)}
    assert found["c"] == ("", "", None)
    assert found["cry"] == ("on_error", "c", None)
    assert found["b.undo[k1]"] == ("undo", "b[k1]", "k1")
    assert found["last[k0]"] == ("finally", "last", "k0")


def test_handlers_that_have_not_begun_are_not_told(host: Host) -> None:
    live = host.begin(FULL)
    host.finish(live, "a")
    assert names(host.views(live)) == ["a", "b", "b[k0]", "b[k1]", "c"]


def test_a_handler_that_waits_in_its_section_is_told(host: Host) -> None:
    live = host.begin(FULL)
    for name in ("a", "b[k0]", "b[k1]"):
        host.finish(live, name)
    host.finish(live, "c", 1)
    found = {view.task: view.state for view in host.views(live)}
    assert (found["cry"], found["wipe"]) == ("queued", "waiting")


def test_a_fan_out_counts_its_items_and_an_item_none(host: Host) -> None:
    live = host.begin(workflow(fan("b", fan_out=items(3))))
    host.finish(live, "b[k0]", 1)
    fan_out, first, *_ = host.views(live)
    assert fan_out.items == {"failed": 1, "queued": 2}
    assert (first.items, first.fan_out, first.item, first.position) == ({}, "", "k0", 0)


def test_a_fan_out_begins_with_its_first_item_and_ends_with_its_last(host: Host) -> None:
    live = host.begin(workflow(fan("b", fan_out=items(2))))
    host.finish(live, "b[k0]")
    under_way = host.views(live)[0]
    host.finish(live, "b[k1]")
    done = host.views(live)[0]
    assert (under_way.started_us, under_way.ended_us) == (1, None)
    assert (done.started_us, done.ended_us) == (1, 2)


def test_without_all_items_only_a_few_that_failed_or_run_are_told(host: Host) -> None:
    live = host.begin(workflow(fan("b", fan_out=items(100)), task("z")))
    for number in range(50):
        host.finish(live, f"b[k{number}]", number % 2)
    found = names(host.views(live, all_items=False))
    assert found == ["b", *(f"b[k{number}]" for number in range(1, 20, 2)), "z"]
    host.runs.fill("epoch")
    running = host.views(live, all_items=False)[11:-1]
    assert len(running) == view_tasks.FEW_SHOWN
    assert {view.state for view in running} == {TaskState.RUNNING}


def test_a_few_items_that_were_cancelled_are_told_after_those_that_failed(host: Host) -> None:
    live = host.begin(workflow(fan("b", fan_out={**items(20), "fail_fast": True}), task("z")))
    host.finish(live, "b[k3]", 1)
    found = [(view.task, view.state) for view in host.views(live, all_items=False)[1:-1]]
    few = [number for number in range(20) if number != 3][: view_tasks.FEW_SHOWN]
    assert found == [("b[k3]", "failed"), *((f"b[k{number}]", "cancelled") for number in few)]


def test_a_task_that_is_repeated_says_which_pass_it_is_at(host: Host) -> None:
    again = Repeat(until="false", max=9)
    live = host.begin(workflow(task("a", repeat=again, retry=Retry(attempts=2, jitter=Jitter.NONE)), task("z")))
    told = []
    for code in (0, 1, 0):
        host.runs.fill("epoch")
        host.runs.attempt_ended(host.runs.attempt_id(live.run, live.run.tasks["a"]), ended(code))
        told.append(host.views(live)[0].pass_number)
        host.runs.feed(live, RetryDue("a", 3))
    assert told == [1, 2, 2]
    assert host.views(live)[0].passes_max == 9
    assert host.views(live)[1].passes_max == 0


def test_two_fan_outs_keep_their_items_apart(host: Host) -> None:
    live = host.begin(workflow(fan("x", fan_out=items(2)), fan("y", fan_out=items(3))))
    assert names(host.views(live)) == ["x", "x[k0]", "x[k1]", "y", "y[k0]", "y[k1]", "y[k2]"]


def test_many_items_come_in_pages_bounded_by_their_number(host: Host) -> None:
    live = host.begin(workflow(fan("b", fan_out=items(1_000)), task("z")))
    pages = host.pages(live)
    assert [len(page) for page in pages] == [400, 400, 202]
    assert names(pages[-1])[-2:] == ["b[k999]", "z"]


def test_large_outputs_make_small_pages(host: Host) -> None:
    live = host.begin(workflow(fan("b", fan_out=items(6))))
    for number in range(6):
        host.finish(live, f"b[k{number}]", given=Given(outputs={"text": "x" * 200_000}))
    pages = host.pages(live)
    assert [len(page) for page in pages] == [3, 2, 2]
    assert {len(view.outputs["text"]) for page in pages for view in page if view.item} == {200_000}


def test_what_a_task_gave_is_told(host: Host) -> None:
    kept = KeptFile(size_bytes=3, sha256="ab")
    live = host.begin(workflow(task("a", artifacts=(Artifact(name="dist", path="x"),))))
    host.finish(live, "a", given=Given(outputs={"n": 5}, artifacts={"dist": kept}))
    (view,) = host.views(live)
    assert (view.outputs, view.artifacts) == ({"n": 5}, {"dist": kept})


def test_the_values_of_a_condition_are_told(host: Host) -> None:
    live = host.begin(workflow(task("a", condition="params.full")), params={"full": False})
    (view,) = host.views(live)
    assert (view.reason, view.values) == ("condition_false", {"params.full": False})


def test_an_approval_that_waits_tells_its_message_and_its_choices(host: Host) -> None:
    live = host.begin(workflow(task("a", kind=Approval(message="go?", choices=("all", "half")))))
    host.runs.feed(live, AttemptStarting("a", 1, 1, 1, "k"))
    host.runs.feed(live, AttemptRunning("a", 1, 0, 1, 0, {"message": "go?"}))
    (view,) = host.views(live)
    assert (view.kind, view.values, view.choices) == ("approval", {"message": "go?"}, ["all", "half"])


def test_runs_that_a_task_called_are_told_with_it(host: Host) -> None:
    parent = host.begin(workflow(fan("a", kind=Call(workflow="w"), fan_out=items(2))))
    called = host.begin(workflow(task("x")), parent=parent.meta.run, parent_task="a[k1]")
    assert [view.called_runs for view in host.views(parent)] == [[], [], [called.meta.run]]


def test_a_run_of_an_older_schema_is_told(host: Host) -> None:
    live = host.begin(workflow(task("a"), task("b", "a")))
    host.finish(live, "a")
    host.store.commit(host.runs.batch)
    host.runs.committed()
    batch = host.store.batch()
    batch.writes.append(("old_rows", ()))
    host.store._writes["old_rows"] = "UPDATE task SET outputs = NULL, facts = NULL, owner = NULL"
    host.store.commit(batch)
    assert [(view.task, view.state) for view in host.views(live)] == [("a", "succeeded"), ("b", "queued")]


def test_the_tasks_of_a_run_are_counted_without_items_and_handlers(host: Host) -> None:
    live = host.begin(FULL)
    host.play(live, {"c": 1})
    host.views(live)
    view = counted(run_view(host.store.one("run", live.meta.run)), host.store)
    assert view.counts == {"succeeded": 2, "failed": 1}


@pytest.mark.parametrize(
    ("codes", "outcome", "section"),
    [({}, "succeeded", "finally"), ({"c": 1}, "failed", "finally"), ({"last[k0]": 1}, "succeeded", "finally")],
)
def test_what_the_tasks_came_to_is_told_whatever_the_handlers_did(
    host: Host, codes: dict[str, int], outcome: str, section: str
) -> None:
    live = host.begin(FULL)
    host.play(live, codes)
    host.views(live)
    view = run_view(host.store.one("run", live.meta.run))
    assert (view.outcome, view.section) == (outcome, section)


def test_a_cancelled_run_shows_what_was_cancelled(host: Host) -> None:
    live = host.begin(FULL)
    host.runs.feed(live, CancelRequested(1, "me"))
    assert [view.state for view in host.views(live)][:3] == ["cancelled", "cancelled", "cancelled"]


def test_the_plan_of_handlers_is_in_the_order_in_which_they_would_run() -> None:
    found = [(view.section, view.task, view.of) for view in planned_handlers(FULL)]
    assert found == [
        ("on_error", "mend", "a"), ("on_error", "cry", "c"), ("on_error", "wipe", "c"), ("on_success", "glad", ""),
        ("on_failure", "sad", ""), ("undo", "a.undo", "a"), ("undo", "b.undo", "b"), ("finally", "last", ""),
    ]  # fmt: skip


def test_ten_thousand_items_are_read_in_bounded_pieces(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    live = host.begin(workflow(fan("b", fan_out=items(10_000))))
    host.pages(live)
    longest = 0
    piece = view_tasks._Reader._piece

    def watched(self: Any, *arguments: Any) -> Any:
        nonlocal longest
        found = piece(self, *arguments)
        longest = max(longest, len(found))
        return found

    monkeypatch.setattr(view_tasks._Reader, "_piece", watched)
    assert len(host.views(live)) == 10_001
    assert longest == view_tasks.PAGE_TASKS
