"""An explanation as text and as JSON: the answer, the facts behind it as an indented list, what comes next. Pure."""

from __future__ import annotations

from typing import Any

from pyflowd.protocol.views_runs import ExplanationView, FactView, StepView
from pyflowd.render.layout import Style, bold, clean, dim, glyph, iso, plural, relative, slot_moment, wrapped, zone_text

_GLYPHS = {"coming": "queued", "none": "skipped", "removed": "broken", "uninstalled": "stale"}
"""States that have no sign of their own: whose they take."""
_LEAST_COLUMNS = 20
_DEEPEST = 8
"""Levels of indentation."""


def explanation(view: ExplanationView, style: Style) -> list[str]:
    """The answer, the chain, what would have to happen next."""
    sign = glyph(_GLYPHS.get(view.state, view.state), style)
    first, *others = _wrapped(_timed(clean(view.answer), view.answer_us, style), style.columns - 2)
    lines = [f"{sign} {bold(first, style)}", *(f"  {bold(line, style)}" for line in others)]
    for fact in view.facts:
        lines += _fact(fact, style)
    if view.left_out:
        lines.append(dim(f"  and {plural(view.left_out, 'fact')} more, with --all", style))
    if view.next:
        lines.append("next")
        for step in view.next:
            lines += _step(step, style)
    shows_times = any(at_us is not None for at_us in (view.answer_us, *(fact.at_us for fact in view.facts)))
    return [*lines, dim(zone_text(style), style)] if shows_times else lines


def _fact(fact: FactView, style: Style) -> list[str]:
    indent = "  " * (min(fact.depth, _DEEPEST) + 1)
    if fact.code == "output":
        return [dim(f"{indent}| {line}", style) for line in _wrapped(clean(fact.text), style.columns - len(indent) - 2)]
    text = _timed(clean(fact.text), fact.at_us, style)
    first, *others = _wrapped(text, style.columns - len(indent) - 2)
    return [f"{indent}- {first}", *(f"{indent}  {line}" for line in others)]


def _step(step: StepView, style: Style) -> list[str]:
    first, *others = _wrapped(_timed(clean(step.text), step.at_us, style), style.columns - 4)
    lines = [f"  - {first}", *(f"    {line}" for line in others)]
    return [*lines, dim(f"      {step.command}", style)] if step.command else lines


def _timed(text: str, at_us: int | None, style: Style) -> str:
    """With its time: `(21:03:11, 14 min ago)`."""
    return text if at_us is None else f"{text} ({slot_moment(at_us, style)}, {relative(at_us, style)})"


def _wrapped(text: str, columns: int) -> list[str]:
    return wrapped(text, max(_LEAST_COLUMNS, columns))


# ---- JSON -----------------------------------------------------------------------------------------------------------


def explanation_json(view: ExplanationView, style: Style) -> dict[str, Any]:
    return {
        "subject": {
            "workflow": view.workflow,
            "run": view.run,
            "task": view.task or None,
            "trigger": view.trigger or None,
            "scheduled_at": iso(view.scheduled_us, style),
        },
        "state": view.state,
        "answer": view.answer,
        "at": iso(view.answer_us, style),
        "facts": [_fact_json(fact, style) for fact in view.facts],
        "next": [
            {"text": step.text, "at": iso(step.at_us, style), "command": step.command or None} for step in view.next
        ],
        "left_out": view.left_out,
    }


def _fact_json(fact: FactView, style: Style) -> dict[str, Any]:
    return {
        "code": fact.code,
        "depth": fact.depth,
        "text": fact.text,
        "at": iso(fact.at_us, style),
        "by": fact.by or None,
        "workflow": fact.workflow or None,
        "run": fact.run,
        "task": fact.task or None,
        "trigger": fact.trigger or None,
    }
