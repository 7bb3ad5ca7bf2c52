"""Secrets as text: names and what is known of them. Pure; there is no value here."""

from __future__ import annotations

from collections.abc import Sequence

from pyflowd.protocol.views_host import SecretAnswer, SecretView
from pyflowd.render.layout import Cell, Style, clean, glyph, moment, plural
from pyflowd.render.render_runs import hint


def secret_header() -> list[Cell]:
    return [*map(Cell, ("NAME", "PROVIDER", "CHANGED", "BY")), Cell("VERSION", right=True), Cell("USED BY")]


def secret_rows(views: Sequence[SecretView], style: Style) -> list[list[Cell]]:
    """Name, provider (and whether another one answers), when and by whom it was changed, version, workflows."""
    return [
        [
            Cell(clean(view.name)),
            Cell(clean(view.provider) + (", hidden by one before it" if view.hidden else "")),
            Cell(moment(view.changed_us, style)),
            Cell(clean(view.changed_by)),
            Cell("" if view.version is None else str(view.version), right=True),
            Cell(clean(", ".join(view.workflows))),
        ]
        for view in views
    ]


def answer(reply: SecretAnswer, style: Style) -> list[str]:
    """What became of `secret set`, `rm`, `rekey`."""
    match reply.action:
        case "set":
            told = f"secret {reply.name} is stored, version {reply.version}"
        case "removed":
            told = f"secret {reply.name} is removed"
        case _:
            told = f"{plural(reply.count, 'secret')} sealed under another key"
    lines = [f"{glyph('succeeded', style)} {clean(told)}", *(f"! {clean(note)}" for note in reply.notes)]
    return [*lines, hint("pyflowctl secret list", style)]
