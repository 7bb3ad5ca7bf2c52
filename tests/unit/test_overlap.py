"""Rule T5: what a start does while a run of the workflow is live."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyflowd.engine.overlap import Decision, Enqueue, EnqueueLatest, RefuseFull, Replace, RunRef, Skip, Start, decide
from pyflowd.model.states import RunState, SlotReason
from pyflowd.model.workflow import Overlap

RUNNING = RunRef(id=1, state=RunState.RUNNING, by_schedule=True)
WAITING = RunRef(id=2, state=RunState.QUEUED, by_schedule=True)
ASKED_FOR = RunRef(id=3, state=RunState.QUEUED)
LIVE = [RUNNING, WAITING, ASKED_FOR]


@pytest.mark.parametrize("policy", [None, *Overlap])
@pytest.mark.parametrize("by_schedule", [True, False])
def test_a_start_with_nothing_live_starts(policy: Overlap | None, by_schedule: bool) -> None:
    assert decide(policy, by_schedule, [], queue_max=0) == Start()


@pytest.mark.parametrize(
    ("policy", "decision"),
    [
        (None, Skip(reason=SlotReason.OVERLAP, because_of_run=1)),
        (Overlap.SKIP, Skip(reason=SlotReason.OVERLAP, because_of_run=1)),
        (Overlap.QUEUE, Enqueue()),
        (Overlap.QUEUE_LATEST, EnqueueLatest(drop=(2,))),
        (Overlap.REPLACE, Replace(cancel=(1, 2, 3))),
        (Overlap.ALLOW, Start()),
    ],
)
def test_what_the_file_says_holds_for_schedules(policy: Overlap | None, decision: Decision) -> None:
    assert decide(policy, True, LIVE, queue_max=100) == decision


@pytest.mark.parametrize("policy", [None, Overlap.SKIP, Overlap.QUEUE, Overlap.QUEUE_LATEST, Overlap.REPLACE])
def test_what_a_person_asks_for_queues_whatever_the_file_says(policy: Overlap | None) -> None:
    assert decide(policy, False, LIVE, queue_max=100) == Enqueue()


def test_allow_holds_for_every_start() -> None:
    assert decide(Overlap.ALLOW, False, LIVE, queue_max=0) == Start()


def test_a_full_queue_refuses_a_person() -> None:
    assert decide(None, False, LIVE, queue_max=2) == RefuseFull(queued=2)


def test_a_full_queue_skips_a_slot() -> None:
    skipped = Skip(reason=SlotReason.QUEUE_FULL, because_of_run=1)
    assert decide(Overlap.QUEUE, True, LIVE, queue_max=2) == skipped


def test_a_queue_takes_its_last_place() -> None:
    assert decide(None, False, LIVE, queue_max=3) == Enqueue()


def test_a_run_that_only_waits_holds_the_place_too() -> None:
    assert decide(Overlap.SKIP, True, [WAITING], queue_max=100) == Skip(reason=SlotReason.OVERLAP, because_of_run=2)


def test_the_latest_never_drops_what_was_acknowledged_to_a_person() -> None:
    assert decide(Overlap.QUEUE_LATEST, True, [RUNNING, ASKED_FOR], queue_max=100) == EnqueueLatest(drop=())


runs = st.lists(
    st.builds(
        RunRef,
        id=st.integers(1, 99),
        state=st.sampled_from([RunState.QUEUED, RunState.RUNNING]),
        by_schedule=st.booleans(),
    ),
    max_size=6,
)


@settings(deadline=None)
@given(policy=st.sampled_from([None, *Overlap]), by_schedule=st.booleans(), live=runs, queue_max=st.integers(0, 4))
def test_only_allow_starts_beside_a_live_run(
    policy: Overlap | None, by_schedule: bool, live: list[RunRef], queue_max: int
) -> None:
    decision = decide(policy, by_schedule, live, queue_max)
    assert isinstance(decision, Start) == (not live or policy is Overlap.ALLOW)


@settings(deadline=None)
@given(policy=st.sampled_from([None, *Overlap]), live=runs, queue_max=st.integers(0, 4))
def test_only_schedules_skip_and_only_others_are_refused(
    policy: Overlap | None, live: list[RunRef], queue_max: int
) -> None:
    assert not isinstance(decide(policy, False, live, queue_max), Skip | Replace | EnqueueLatest)
    assert not isinstance(decide(policy, True, live, queue_max), RefuseFull)
