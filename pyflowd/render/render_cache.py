"""Successes that are kept to be used again, as text. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pyflowd.clock import US
from pyflowd.protocol.views_runs import CacheView, ClearedView
from pyflowd.render.layout import Cell, Style, clean, glyph, span
from pyflowd.render.render_runs import hint


def header() -> list[Cell]:
    return [*map(Cell, ("WORKFLOW", "TASK", "KEY")), *(Cell(name, right=True) for name in ("RUN", "AGE", "LEFT"))]


def rows(entries: Iterable[CacheView], style: Style) -> list[list[Cell]]:
    """Workflow, task or item, key, the run whose success it is, its age, how long it will be used."""
    return [
        [
            Cell(view.workflow),
            Cell(clean(view.task)),
            Cell(clean(view.key)),
            Cell(str(view.run), right=True),
            Cell(span(max(0, style.now_us - view.made_us) / US), right=True),
            Cell(span((view.expires_us - style.now_us) / US) if view.expires_us > style.now_us else "none", right=True),
        ]
        for view in entries
    ]


def _entries(count: int) -> str:
    return f"{count:,} entr{'y' if count == 1 else 'ies'}"


def cleared(view: ClearedView, style: Style) -> list[str]:
    """The answer to `cache clear`."""
    of = f"{view.workflow}, task {view.task}" if view.task else view.workflow
    if not view.entries:
        return [f"nothing was kept of {of}"]
    told = f"{glyph('succeeded', style)} {_entries(view.entries)} of {of} forgotten"
    return [told, hint(f"pyflowctl cache {view.workflow}", style)]
