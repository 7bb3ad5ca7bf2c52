"""From an event to a run: once, in one transaction with its row in the ledger, over kills."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyflowd.base.pool import Pool
from pyflowd.base.timers import Timers
from pyflowd.base.zones import zone
from pyflowd.clock import US
from pyflowd.errors import Refused
from pyflowd.model.ends import Exit
from pyflowd.model.kinds import Shell
from pyflowd.model.states import Fate, RunState, SlotReason
from pyflowd.model.triggers import EventTrigger, FileTrigger, UnitTrigger, WebhookTrigger, WorkflowTrigger
from pyflowd.model.workflow import Param, ParamType, Task, Workflow
from pyflowd.runtime.admission import Admission
from pyflowd.runtime.event_starts import DEPTH_MAX, EventStarts
from pyflowd.runtime.event_units import UnitEvents
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.workflows import Workflows
from pyflowd.store.store import Store
from pyflowd.triggers.event_ledger import Place
from pyflowd.triggers.event_unit_state import UnitState
from tests.fakes import FakeClock

TASKS = (Task(name="t", kind=Shell(text="true")),)
DROP = FileTrigger(name="drop", path="/in/*")
FILE = Param(name="file", type=ParamType.STRING)


class Host:
    """The parts of a daemon that start runs, over kills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.start()

    def start(self) -> None:
        self.timers = Timers()
        self.store = Store(str(self.folder))
        self.runs = Runs(self.store, self.clock, self.timers, 100, zone("UTC"))
        self.workflows = Workflows(self.store, self.runs, Admission(self.runs, Pool(1), {}), "host", zone("UTC"))
        self.workflows.restore(self.clock.wall_us())
        self.starts = EventStarts(self.workflows)
        self.runs.rebuild(self.workflows.compiled)
        assert not self.runs.aside.runs
        self.workflows.admit_all()

    def kill(self) -> None:
        """What was not committed is gone."""
        self.store.close()
        self.start()

    def install(self, name: str, *events: EventTrigger, params: tuple[Param, ...] = (), queue_max: int = 100) -> None:
        workflow = Workflow(name=name, tasks=TASKS, events=events, params=params, queue_max=queue_max)
        body = msgspec.msgpack.encode(workflow)
        digest = f"{name}-{hash(body)}"
        self.workflows.put(name, f"{name}.yaml", digest, b"text", body)
        self.settle()
        self.commit()

    def commit(self) -> None:
        self.store.commit(self.runs.batch)
        self.runs.committed()
        self.runs.actions.clear()

    def settle(self) -> None:
        """As the dispatcher does at the end of a turn."""
        while self.runs.ended:
            ended, self.runs.ended = self.runs.ended, []
            self.workflows.after_runs(ended)
        self.runs.fill("epoch")

    def end(self, run: int, code: int = 0) -> None:
        self.settle()
        self.clock.advance(1)
        live = self.runs.live[run]
        now_us = self.clock.wall_us()
        end = Exit(exit_code=code, signal=None, started_us=now_us, ended_us=now_us)
        self.runs.attempt_ended(self.runs.attempt_id(live.run, live.by_index[0]), end)
        self.settle()

    def rows(self) -> list[tuple[Any, ...]]:
        """Workflow, fate, reason, run."""
        rows = self.store.rows("firings", 0, "", "", "", -1, 0)
        return [(row[0], row[4], row[5], row[6]) for row in rows]

    def fire(self, trigger: EventTrigger = DROP, key: str = "k", *, ask_again: bool = False, **event: Any) -> Any:
        return self.starts.fire("w", trigger, event, key, summary="it came", by="somebody", ask_again=ask_again)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.store.close()


# ---- Once


def test_an_event_starts_one_run_and_says_so_again(host: Host) -> None:
    host.install("w", DROP)
    first = host.fire()
    host.commit()
    again = host.fire()
    assert (first.fate, first.is_new) == (Fate.FIRED, True)
    assert (again.run, again.is_new) == (first.run, False)
    assert list(host.runs.live) == [first.run]


def test_the_same_event_twice_in_one_turn_starts_one_run(host: Host) -> None:
    host.install("w", DROP)
    assert host.fire().run == host.fire().run
    host.commit()
    assert host.rows() == [("w", "fired", None, 1)]


def test_a_kill_before_the_commit_leaves_neither_run_nor_row(host: Host) -> None:
    host.install("w", DROP)
    host.fire()
    host.kill()
    assert (host.rows(), list(host.runs.live)) == ([], [])
    assert host.fire().is_new


def test_a_kill_after_the_commit_leaves_both(host: Host) -> None:
    host.install("w", DROP)
    run = host.fire(size=3).run
    host.commit()
    host.kill()
    assert host.fire().run == run
    assert host.runs.live[run].meta.event == {"size": 3}


# ---- What the trigger says


def test_params_are_made_of_the_event_and_keep_their_type(host: Host) -> None:
    size = Param(name="size", type=ParamType.INTEGER)
    trigger = FileTrigger(
        name="drop", path="/in/*", params={"file": "in ${{ event.path }}", "size": "${{ event.size }}"}
    )
    host.install("w", trigger, params=(FILE, size))
    run = host.fire(trigger, path="/in/a", size=7).run
    assert host.runs.live[run].meta.params == {"file": "in /in/a", "size": 7}


def test_a_condition_that_is_false_is_a_row_with_its_values(host: Host) -> None:
    trigger = FileTrigger(name="drop", path="/in/*", condition="event.size > 0")
    host.install("w", trigger)
    firing = host.fire(trigger, size=0)
    assert (firing.fate, firing.reason, firing.error) == ("skipped", SlotReason.CONDITION_FALSE, "event.size = 0")


def test_a_condition_leaves_out_events_of_which_no_params_can_be_made(host: Host) -> None:
    trigger = WebhookTrigger(
        name="drop", hook="h", params={"file": "${{ event.body.ref }}"}, condition="event.kind == 'push'"
    )
    host.install("w", trigger, params=(FILE,))
    assert host.fire(trigger, kind="ping", body=None).reason is SlotReason.CONDITION_FALSE


def test_a_condition_may_ask_for_the_params(host: Host) -> None:
    trigger = FileTrigger(
        name="drop", path="/in/*", params={"file": "${{ event.path }}"}, condition="params.file == '/in/a'"
    )
    host.install("w", trigger, params=(FILE,))
    assert host.fire(trigger, "1", path="/in/a").fate is Fate.FIRED
    assert host.fire(trigger, "2", path="/in/b").reason is SlotReason.CONDITION_FALSE


@pytest.mark.parametrize(
    ("params", "condition", "reason"),
    [
        ({"file": "${{ event.size }}"}, "", SlotReason.BAD_PARAMS),
        ({"file": "${{ event.none }}"}, "", SlotReason.BAD_PARAMS),
        ({}, "event.none == 1", SlotReason.EXPRESSION_ERROR),
        ({}, "event.size", SlotReason.EXPRESSION_ERROR),
        ({"file": "${{ event.none }}"}, "params.file == 'x'", SlotReason.EXPRESSION_ERROR),
    ],
)
def test_what_has_no_value_is_a_row_that_says_why(
    host: Host, params: dict[str, str], condition: str, reason: SlotReason
) -> None:
    trigger = FileTrigger(name="drop", path="/in/*", params=params, condition=condition)
    host.install("w", trigger, params=(FILE,))
    firing = host.fire(trigger, size=7)
    assert (firing.fate, firing.reason) == ("skipped", reason)
    assert firing.error


def test_a_paused_workflow_and_a_disabled_trigger_skip(host: Host) -> None:
    disabled = FileTrigger(name="off", path="/in/*", enabled=False)
    host.install("w", DROP, disabled)
    assert host.fire(disabled).reason is SlotReason.DISABLED
    host.workflows.pause("w", "somebody")
    assert host.fire().reason is SlotReason.PAUSED


def test_runs_by_events_queue(host: Host) -> None:
    host.install("w", DROP)
    runs = [host.fire(key=str(n)).run for n in range(3)]
    assert [host.runs.live[run].run.state for run in runs] == ["running", "queued", "queued"]


def test_a_full_queue_is_a_row_or_for_who_can_come_again_an_error(host: Host) -> None:
    host.install("w", DROP, queue_max=0)
    host.fire(key="1")
    with pytest.raises(Refused, match="queue_max"):
        host.fire(key="2", ask_again=True)
    assert host.fire(key="2").reason is SlotReason.QUEUE_FULL


def test_a_rerun_has_the_event_of_its_run(host: Host) -> None:
    host.install("w", DROP)
    run = host.fire(path="/in/a").run
    host.commit()
    host.end(run)
    host.commit()
    entry = host.workflows.find("w")
    again = host.workflows.start("w", entry.digest, entry.definition, {}, trigger="rerun", by="me", rerun_of=run)
    assert again.meta.event == {"path": "/in/a"}


# ---- Ends of runs


def test_the_end_of_a_run_starts_those_that_follow_it_in_its_transaction(host: Host) -> None:
    follow = WorkflowTrigger(name="after", workflow="w", outcomes=(RunState.FAILED,))
    host.install("w", DROP)
    host.install("next", follow)
    run = host.fire().run
    host.commit()
    host.end(run, code=1)
    host.kill()
    assert [row[0] for row in host.rows()] == ["w"]
    host.end(run, code=1)
    host.commit()
    assert host.rows()[-1] == ("next", "fired", None, 2)
    event = host.runs.live[2].meta.event
    assert event is not None
    assert (event["run"], event["workflow"], event["outcome"]) == (run, "w", "failed")


def test_another_outcome_starts_nothing(host: Host) -> None:
    host.install("w", DROP)
    host.install("next", WorkflowTrigger(name="after", workflow="w"))
    run = host.fire().run
    host.end(run, code=1)
    host.commit()
    assert [row[0] for row in host.rows()] == ["w"]


def test_workflows_that_follow_each_other_come_to_an_end(host: Host) -> None:
    host.install("w", DROP, WorkflowTrigger(name="after", workflow="next"))
    host.install("next", WorkflowTrigger(name="after", workflow="w"))
    run = host.fire().run
    for _ in range(DEPTH_MAX):
        host.end(run)
        host.commit()
        (run,) = host.runs.live
    host.end(run)
    host.commit()
    assert not host.runs.live
    assert host.rows()[-1][1:3] == ("skipped", "depth")


# ---- What lasts


def test_a_trigger_that_looks_elsewhere_begins_anew_and_one_that_is_edited_otherwise_does_not(host: Host) -> None:
    host.install("w", DROP)
    since_us = host.workflows.ledger.since["w", "drop"].since_us
    host.clock.advance(60)
    host.install("w", FileTrigger(name="drop", path="/in/*", stable_for_s=9))
    assert host.workflows.ledger.since["w", "drop"].since_us == since_us
    host.install("w", FileTrigger(name="drop", path="/other/*"))
    assert host.workflows.ledger.since["w", "drop"].since_us == since_us + 60 * US
    host.kill()
    assert host.workflows.ledger.since["w", "drop"].spec == "/other/*"
    host.install("w")
    host.kill()
    assert host.workflows.ledger.since == {}


class FakeUnits:
    """A source that tells what it is given."""

    def __init__(self) -> None:
        self.states: list[UnitState] = []
        self.problem = ""

    def fileno(self) -> int:
        return -1

    def want(self, _: object) -> None: ...

    def stop(self) -> None: ...

    def receive(self) -> tuple[list[UnitState], str]:
        return self.states, self.problem


def test_a_unit_that_fails_starts_one_run_over_restarts_and_one_that_had_failed_before_none(host: Host) -> None:
    host.install("w", UnitTrigger(name="drop", unit="x.service"))
    source, notes = FakeUnits(), dict[str, str]()
    before_us = host.clock.wall_us() - US
    host.clock.advance(60)

    def tell(state: str, since_us: int) -> None:
        units = UnitEvents(host.starts, lambda subject, text: notes.__setitem__(subject, text), source)  # type: ignore[arg-type]
        units.tick()
        source.states = [UnitState("x.service", state, since_us, f"x {state} {since_us}")]
        units.ready()
        host.commit()

    tell("failed", before_us)
    assert host.rows() == []
    now_us = host.clock.wall_us()
    for _ in range(2):
        tell("failed", now_us)
        tell("active", now_us)
        host.kill()
    assert host.rows() == [("w", "fired", None, 1)]


def test_without_systemd_the_daemon_says_that_unit_triggers_start_nothing(host: Host) -> None:
    host.install("w", UnitTrigger(name="drop", unit="x.service"))
    source, notes = FakeUnits(), dict[str, str]()
    units = UnitEvents(host.starts, lambda subject, text: notes.__setitem__(subject, text), source)  # type: ignore[arg-type]
    units.tick()
    source.problem = "no systemd"
    units.ready()
    assert notes == {"units": "no systemd; unit triggers start nothing"}


def test_a_row_that_nobody_can_ask_for_is_found_by_its_place(host: Host) -> None:
    host.install("w", DROP)
    host.fire(key="k")
    assert host.workflows.ledger.find(Place("w", "drop", "k")) is not None
    assert host.workflows.ledger.find(Place("w", "drop", "other")) is None
