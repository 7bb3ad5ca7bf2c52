"""Runs for slots of the past, as text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pyflowd.protocol.views_runs import BackfillView
from pyflowd.render.layout import Cell, Style, bold, clean, dim, glyph, plural, slot_moment, zone_text
from pyflowd.render.render_runs import glyph_text, hint, param_text

PLANNED_SHOWN = 20


def header() -> list[Cell]:
    return [Cell(" "), Cell("ID", right=True), *map(Cell, ("WORKFLOW", "TRIGGER", "FROM", "TO", "PROGRESS", "WAITS"))]


def rows(views: Sequence[BackfillView], style: Style) -> list[list[Cell]]:
    """Glyph, number, workflow, trigger, the span, how far it is, why it does not go on."""
    return [
        [
            Cell(glyph_text(_look(view)), _look(view)),
            Cell(str(view.backfill), right=True),
            Cell(view.workflow),
            Cell(view.trigger),
            Cell(slot_moment(view.from_us, style)),
            Cell(slot_moment(view.until_us, style)),
            Cell(_progress(view), _look(view)),
            Cell(clean(view.why_waiting) if view.waiting else ""),
        ]
        for view in views
    ]


def _look(view: BackfillView) -> str:
    """The state of a run that looks like it."""
    if view.state == "running":
        return "running" if view.live else "queued"
    if view.failed or view.refused:
        return "failed"
    return "cancelled" if view.state == "cancelled" else "succeeded"


def _progress(view: BackfillView) -> str:
    """`12 of 28 done, 1 failed, 1 live`."""
    done = view.succeeded + view.failed + view.cancelled + view.refused
    counts = {"failed": view.failed, "cancelled": view.cancelled, "refused": view.refused, "live": len(view.live)}
    told = [f"{done:,} of {view.total:,} done", *(f"{count:,} {word}" for word, count in counts.items() if count)]
    return ", ".join(told) + (f"; cancelled by {clean(view.cancelled_by)}" if view.cancelled_by else "")


def lines(view: BackfillView, style: Style) -> list[str]:
    """The answer to `run --for` and to `cancel --backfill`."""
    if view.state == "planned":
        return _planned(view, style)
    if view.state == "cancelled":
        told = f"{glyph('cancelled', style)} backfill {view.backfill} of {view.workflow} is cancelled: no further runs"
        return [told, *([f"  {plural(len(view.live), 'run')} being cancelled"] if view.live else [])]
    said = f"recorded as backfill {view.backfill} of {view.workflow}: {_what(view, style)}"
    return [said, *_facts(view), dim(f"  {zone_text(style)}", style), hint("pyflowctl backfills", style)]


def _what(view: BackfillView, style: Style) -> str:
    span = f"from {slot_moment(view.from_us, style)} to {slot_moment(view.until_us, style)}"
    return f"{plural(view.total, 'slot')} of {view.trigger}, {span}"


def _facts(view: BackfillView) -> list[str]:
    how = "one run after the other" if view.parallel == 1 else f"at most {view.parallel} runs at once"
    told = [f"  {how}, the {'newest' if view.newest_first else 'oldest'} first"]
    if view.left_out:
        told.append(f"  {plural(view.left_out, 'slot')} left out: a run has succeeded, or may yet")
    if view.params:
        told.append("  params: " + ", ".join(param_text(name, value) for name, value in view.params.items()))
    return told


def _planned(view: BackfillView, style: Style) -> list[str]:
    """The answer to `run --for --dry-run`."""
    said = bold(f"{view.workflow}: {_what(view, style)}; nothing is recorded", style)
    shown = [f"    {slot_moment(at_us, style)}" for at_us in view.slots[:PLANNED_SHOWN]]
    more = view.total - len(shown)
    return [said, *_facts(view), *shown, *([f"    and {more:,} more"] if more else []), dim(zone_text(style), style)]


def progress(views: Sequence[BackfillView], style: Style) -> list[str]:
    """Those that have not ended, for the host at a glance."""
    told = []
    for view in views:
        why = f"; waits: {clean(view.why_waiting)}" if view.waiting and view.why_waiting and not view.live else ""
        told.append(
            f"  {glyph(_look(view), style)} backfill {view.backfill} of {view.workflow}: {_progress(view)}{why}"
        )
    return told
