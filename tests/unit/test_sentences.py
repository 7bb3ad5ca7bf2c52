"""What `pyflowctl events` says of each sort of event."""

from __future__ import annotations

import inspect
from typing import get_args

import pytest

from pyflowd.events import (
    AttemptEnded,
    AttemptRunning,
    ConditionDecided,
    Expanded,
    HandlersTimedOut,
    MessageLost,
    OutputsDecided,
    RepeatDecided,
    StoredEvent,
    TaskCancelRequested,
    TaskSettled,
)
from pyflowd.model.ends import Answer, CallEnd, End, RunEnd, Stop, Stopped, Waited
from pyflowd.model.states import Reason, RunState, TaskState
from pyflowd.render import sentences
from pyflowd.render.sentences import sentence


def ended(end: End) -> AttemptEnded:
    return AttemptEnded("t", 1, 2, 2, end)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (AttemptRunning("t", 1, 4711, 1), "t: attempt 1 runs as process 4711"),
        (AttemptRunning("t", 1, 0, 1), "t: attempt 1 runs"),
        (AttemptRunning("t", 1, 0, 1, 43), "t: attempt 1 runs as run 43"),
        (AttemptRunning("t", 1, 0, 1, 0, {"message": "go?"}), "t: attempt 1 waits for an answer: go?"),
        (
            ConditionDecided("t", 1, False, {"params.full": False}),
            "t: its condition does not hold: params.full is false",
        ),
        (ConditionDecided("t", 1, True, {}), "t: its condition holds"),
        (ConditionDecided("t", 1, False, {}, "no name x"), "t: its condition cannot be told: no name x"),
        (Expanded("t", 1, [("a", 1), ("b", 2)]), "t: 2 items"),
        (Expanded("t", 1, [("a", 1)]), "t: 1 item"),
        (Expanded("t", 1, [], "no list"), "t: its items cannot be told: no list"),
        (RepeatDecided("t", 1, True, {"outputs.n": 3}), "t: its repeat asks for another pass: outputs.n is 3"),
        (RepeatDecided("t", 1, False), "t: its repeat is done"),
        (RepeatDecided("t", 1, False, {}, "bad"), "t: its repeat cannot be told: bad"),
        (OutputsDecided(1, {"rows": 3, "day": "mon"}), "run 7: outputs rows, day"),
        (OutputsDecided(1), "run 7: no outputs"),
        (OutputsDecided(1, {}, "bad"), "run 7: its outputs cannot be told: bad"),
        (HandlersTimedOut(1), "run 7: the time of its handlers ran out"),
        (TaskCancelRequested("t[a]", 1, "anna"), "t[a]: cancel asked for by anna"),
        (TaskSettled("t", 1, TaskState.SKIPPED, Reason.CONDITION_FALSE), "t: skipped (condition false)"),
        (
            ended(CallEnd(started_us=1, ended_us=2, status=503, error="too busy")),
            "t: attempt 1 ended with status 503: too busy",
        ),
        (ended(RunEnd(run=43, state=RunState.SUCCEEDED, ended_us=2)), "t: attempt 1 ended: run 43 succeeded"),
        (ended(RunEnd(run=43, state=RunState.QUEUED, ended_us=2)), "t: attempt 1 ended: run 43 goes on by itself"),
        (
            ended(RunEnd(run=0, state=RunState.FAILED, ended_us=2, error="no workflow x")),
            "t: attempt 1 ended: no workflow x",
        ),
        (
            ended(Answer(approved=True, ended_us=2, by="berta", comment="ok")),
            "t: attempt 1 was approved by berta: ok",
        ),
        (ended(Answer(approved=False, ended_us=2)), "t: attempt 1 was answered by nobody in time: rejected"),
        (ended(Answer(approved=False, ended_us=2, skip=True)), "t: attempt 1 was answered by nobody in time: skipped"),
        (ended(Waited(ended_us=2)), "t: attempt 1 ended"),
        (ended(Stopped(ended_us=2, stop=Stop.REQUEST)), "t: attempt 1 ended, stopped on request"),
    ],
)
def test_an_event_of_a_run_is_a_sentence(event: StoredEvent, said: str) -> None:
    assert sentence(event, 7) == said


def test_a_message_that_was_lost_is_a_sentence() -> None:
    event = MessageLost(1, "oncall", 12, "no answer in time")
    assert sentence(event, None) == "message 12 to oncall was lost: no answer in time"


def test_many_values_are_shortened() -> None:
    event = ConditionDecided("t", 1, True, {f"params.p{number}": "x" * 100 for number in range(9)})
    text = sentence(event, 7)
    assert text.endswith("…, and 4 more")
    assert len(text) < 500


def test_every_event_has_a_sentence_of_its_own() -> None:
    """Its tag alone is no sentence: that is for events of a newer daemon."""
    known = inspect.getsource(sentences)
    assert not [kind.__name__ for kind in get_args(StoredEvent) if f"{kind.__name__}()" not in known]
