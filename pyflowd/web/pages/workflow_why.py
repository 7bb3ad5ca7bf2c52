"""Why a workflow stands as it does: the chain of `pyflowctl explain WORKFLOW` with links to what each fact is about."""

from __future__ import annotations

from msgspec import Struct

from pyflowd.protocol.views_runs import ExplanationView, FactView, StepView
from pyflowd.render.layout import clean
from pyflowd.web.drawing import link_to
from pyflowd.web.marks import mark
from pyflowd.web.pages.words import quoted
from pyflowd.web.times import Times

DEEPEST = 3
_ICONS = {
    "paused": "paused", "stale": "stale", "broken": "broken", "host": "warning", "slot_skipped": "skipped",
    "slot_coming": "coming", "trigger": "coming", "slot_fired": "fired", "approval": "approval", "overlap": "queued",
    "place": "queued", "gate": "queued", "running": "running", "starting": "running", "back_off": "retrying",
    "expected": "warning", "disabled": "disabled", "waiting": "waiting",
}  # fmt: skip
_STATES = {"coming": "coming", "none": "skipped", "removed": "broken"}


class Fact(Struct, frozen=True, kw_only=True):
    css: str
    icon: str
    text: str
    depth: int
    source: str
    href: str


class Step(Struct, frozen=True, kw_only=True):
    text: str
    command: str


class Reasons(Struct, frozen=True, kw_only=True):
    css: str
    icon: str
    answer: str
    facts: list[Fact]
    left_out: int
    next: list[Step]
    command: str


def reasons(view: ExplanationView, times: Times, last: str = "") -> Reasons:
    """`last`: the state of its newest run: a workflow that is active and failed does not look well."""
    found = mark(last if view.state == "active" and last == "failed" else _STATES.get(view.state, view.state))
    return Reasons(
        css=found.css, icon=found.icon, answer=clean(view.answer),
        facts=[_fact(fact, times) for fact in view.facts], left_out=view.left_out,
        next=[_step(step, times) for step in view.next], command=f"pyflowctl explain {quoted(view.workflow)}",
    )  # fmt: skip


def _fact(fact: FactView, times: Times) -> Fact:
    state = _ICONS.get(fact.code, "")
    found = mark(state) if state else None
    at = times.when(fact.at_us)
    href = link_to("runs", fact.run, task=fact.task or None) if fact.run is not None else ""
    told = f"{at.text}, {at.relative}" if at else ""
    return Fact(
        css=found.css if found else "s-wait", icon=found.icon if found else "step", text=clean(fact.text),
        depth=min(fact.depth, DEEPEST), source=told or (f"run {fact.run}" if fact.run is not None else ""), href=href,
    )  # fmt: skip


def _step(step: StepView, times: Times) -> Step:
    at = times.when(step.at_us)
    return Step(text=clean(step.text) + (f" ({at.text}, {at.relative})" if at else ""), command=step.command)
