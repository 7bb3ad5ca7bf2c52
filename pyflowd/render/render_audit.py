"""The record of who changed what, as text and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyflowd.protocol.views_host import AuditView
from pyflowd.render.layout import Cell, Style, clean, iso, moment, plural, spoken, values_text
from pyflowd.render.render_runs import glyph_text


def header() -> list[Cell]:
    return [
        Cell(" "),
        *map(Cell, ("WHEN", "USER")),
        Cell("PID", right=True),
        *map(Cell, ("DID", "WORKFLOW")),
        Cell("RUN", right=True),
        Cell("ASKED"),
    ]


def rows(records: Iterable[AuditView], style: Style) -> list[list[Cell]]:
    """Glyph, when, who, by which process, what, to which workflow and run, what else was asked or left out."""
    return [
        [
            Cell(glyph_text(_look(view)), _look(view)),
            Cell(moment(view.at_us, style)),
            Cell(clean(view.user) + (f" by token {view.token}" if view.token else "")),
            Cell(str(view.pid), right=True),
            Cell(("" if view.result == "done" else "refused: ") + spoken(view.request)),
            Cell(clean(view.workflow)),
            Cell("" if view.run is None else str(view.run), right=True),
            Cell(_asked(view)),
        ]
        for view in records
    ]


def _look(view: AuditView) -> str:
    return "succeeded" if view.result == "done" else "failed"


def _asked(view: AuditView) -> str:
    told = values_text(view.asked)
    if not view.left_out:
        return told
    return f"and {plural(view.left_out, 'refusal')} of that minute; the last: {told}".removesuffix("; the last: ")


def record(view: AuditView, style: Style) -> dict[str, Any]:
    """One record as JSON has it."""
    return {
        "audit": view.audit,
        "at": iso(view.at_us, style),
        "user": view.user,
        "uid": view.uid,
        "pid": view.pid,
        "token": view.token,
        "request": view.request,
        "workflow": view.workflow or None,
        "run": view.run,
        "asked": view.asked,
        "result": view.result,
        "left_out": view.left_out,
    }
