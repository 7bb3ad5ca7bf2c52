"""What reached event triggers, as text and JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pyflowd.protocol.views_workflows import FiringView, HookAnswer, HookView
from pyflowd.render.layout import Cell, Style, clean, iso, moment
from pyflowd.render.render_runs import glyph_text, reason_text


def firing_rows(firings: Sequence[FiringView], style: Style) -> list[list[Cell]]:
    """Glyph, time, workflow, trigger, what came of it, the event."""
    return [
        [
            Cell(glyph_text(firing.fate), firing.fate),
            Cell(moment(firing.at_us, style)),
            Cell(firing.workflow),
            Cell(firing.trigger),
            Cell(_fate(firing), firing.fate),
            Cell(clean(firing.summary)),
        ]
        for firing in firings
    ]


def _fate(firing: FiringView | HookAnswer) -> str:
    if firing.run is not None:
        return f"fired: run {firing.run}"
    error = f" ({clean(firing.error)})" if firing.error else ""
    return f"skipped: {reason_text(firing.reason)}{error}" if firing.reason else str(firing.fate)


def firing_object(view: FiringView, style: Style) -> dict[str, object]:
    return {
        "workflow": view.workflow,
        "trigger": view.trigger,
        "at": iso(view.at_us, style),
        "fate": view.fate.value,
        "reason": view.reason,
        "run": view.run,
        "event": view.summary,
        "error": view.error or None,
        "key": view.key,
    }


def hook(view: HookView) -> list[str]:
    """One line for each trigger."""
    return [
        f"{answer.workflow} ({answer.trigger}): {_fate(answer)}{', as before' if answer.again else ''}"
        for answer in view.answers
    ]


def hook_object(view: HookView) -> dict[str, object]:
    return {
        "hook": view.hook,
        "answers": [
            {
                "workflow": answer.workflow,
                "trigger": answer.trigger,
                "fate": answer.fate.value,
                "reason": answer.reason,
                "run": answer.run,
                "error": answer.error or None,
                "again": answer.again,
            }
            for answer in view.answers
        ],
    }
