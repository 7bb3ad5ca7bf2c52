"""What explanations are made of: facts in a chain, each with a code, and the choice of those that fit a screen. Pure.

What the facts are is the business of `explain_run`, `explain_task`, `explain_workflow` and `explain_slot`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from msgspec.structs import replace

from pyflowd.protocol.views_runs import ExplanationView, FactView

SCREEN_FACTS = 11
"""With the answer, the next steps and some that take two lines: the 24 lines of a small terminal."""


class Code(StrEnum):
    """What sort of fact it is. Programs rely on these words: they are only ever added."""

    HOST = "host"  # something is wrong with the host or the daemon
    PAUSED = "paused"
    RESUMED = "resumed"
    DISABLED = "disabled"
    STALE = "stale"  # a newer text is refused, the older one is in force
    BROKEN = "broken"  # there was never a good text
    REMOVED = "removed"  # its file is gone
    UNSCHEDULED = "unscheduled"
    DEFINITION = "definition"  # which text is in force, since when
    TRIGGER = "trigger"  # of a workflow, with its next slot
    BARRED = "barred"  # a calendar, a blackout or a change of the clock keeps slots from firing
    FIRING = "firing"  # what reached an event trigger last
    EXPECTED = "expected"  # what `expect` says should have happened, and has not
    SLOT_FIRED = "slot_fired"
    SLOT_SKIPPED = "slot_skipped"
    SLOT_COMING = "slot_coming"
    SLOT_NONE = "slot_none"  # there is no slot at that time
    DAEMON_STOPPED = "daemon_stopped"
    DAEMON_STARTED = "daemon_started"
    CLOCK_SET = "clock_set"
    RUN = "run"  # how a run stands
    REQUESTED = "requested"  # who or what asked for a run
    OVERLAP = "overlap"  # waits for a run of the same workflow
    PLACE = "place"  # waits for a lock, a pool, a group
    GATE = "gate"
    MAX_PARALLEL = "max_parallel"
    MAX_TASKS = "max_tasks"
    DRAINED = "drained"  # an administrator lets no task start
    BACK_OFF = "back_off"
    APPROVAL = "approval"
    WAIT = "wait"
    CALLED = "called"  # waits for a run that it called
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    HANDLERS = "handlers"
    WAITING = "waiting"  # for tasks that it needs
    CANCELLED = "cancelled"
    TASK = "task"  # how a task stands, or ended
    DEPENDENCY = "dependency"
    RULE = "rule"
    CONDITION = "condition"
    ITEMS = "items"
    CACHE = "cache"
    ATTEMPT = "attempt"
    RETRIES = "retries"  # how many are left, or why there are none
    OUTPUT = "output"  # a line of what an attempt said
    NOT_RUN = "not_run"  # tasks that did not run because of another
    EVENT = "event"  # whatever else happened


def deeper(facts: Iterable[FactView], by: int = 1) -> list[FactView]:
    """The same facts as reasons of the one before them."""
    return [replace(fact, depth=fact.depth + by) for fact in facts]


def on_a_screen(view: ExplanationView) -> ExplanationView:
    """With as many facts as fit a screen: the deepest go first, of those the last; of what was said the first lines."""
    excess = len(view.facts) - SCREEN_FACTS
    if excess <= 1:  # one line more costs no more than saying that it is left out
        return view
    kept = list(range(len(view.facts)))
    for number in sorted(kept, key=lambda number: _weight(view.facts, number), reverse=True)[: excess + 1]:
        kept.remove(number)
    facts = [view.facts[number] for number in kept]
    return replace(view, facts=facts, left_out=len(view.facts) - len(facts))


_LEAST = frozenset({Code.EVENT, Code.RULE, Code.REQUESTED, Code.NOT_RUN, Code.DEFINITION})
"""What is told last, and left out first."""


def _weight(facts: Sequence[FactView], number: int) -> tuple[int, int]:
    """How early a fact is left out: what is larger goes earlier."""
    fact = facts[number]
    within = -number if fact.code == Code.OUTPUT else number  # the last line mostly says why
    return fact.depth + (4 if fact.code in _LEAST else 0), within
