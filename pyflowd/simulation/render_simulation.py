"""A simulation as text and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyflowd.clock import US
from pyflowd.model.states import Fate, RunState
from pyflowd.render.layout import (
    Cell,
    Style,
    Table,
    bold,
    clean,
    dim,
    glyph,
    iso,
    local,
    plural,
    slot_moment,
    spoken,
    zone_text,
)
from pyflowd.simulation.simulation_changes import Change, ChangeSort, longest, waited_us
from pyflowd.simulation.simulation_model import Peak, Ref, SimulatedRun, SimulatedSlot, Simulation, Waiting
from pyflowd.simulation.simulation_totals import Total, totals
from pyflowd.units import duration_text

LINES_SHOWN = 60
"""Of a timeline, unless all of it is asked for."""
CHANGES_SHOWN = 40

_SAID = {
    ChangeSort.ADDED: "new",
    ChangeSort.GONE: "gone",
    ChangeSort.MOVED: "moved",
    ChangeSort.NEWLY_SKIPPED: "newly skipped",
    ChangeSort.FIRES_AGAIN: "fires again",
    ChangeSort.LATER: "begins later",
    ChangeSort.EARLIER: "begins earlier",
}


# ---- As text --------------------------------------------------------------------------------------------------------


def lines(
    simulation: Simulation, changes: Sequence[Change] | None, style: Style, *, everything: bool = False
) -> list[str]:
    """The timeline, or what of it is out of the ordinary; totals; how full the host is; what was assumed.

    `changes`: what a changed file changes; None: there is none to compare with.
    """
    told = [bold(f"{_moment(simulation.from_us, style)} to {_moment(simulation.to_us, style)}", style)]
    if changes is not None:
        told += _changes(changes, style, everything=everything)
    told += _timeline(simulation, style, everything=everything)
    told += _totals(totals(simulation), style)
    told += _peaks(simulation, style)
    told += [dim(f"assumed: {clean(text)}", style) for text in simulation.assumptions]
    return [*told, dim(zone_text(style), style)]


def _moment(at_us: int, style: Style) -> str:
    return local(at_us, style).strftime("%Y-%m-%d %H:%M")


def _timeline(simulation: Simulation, style: Style, *, everything: bool) -> list[str]:
    runs = {run.number: run for run in simulation.runs}
    entries = [(slot.scheduled_us, _slot_row(slot, runs, style)) for slot in simulation.slots]
    of_slots = {slot.run for slot in simulation.slots if slot.run is not None}
    entries += [(_since(run), _run_row(run, style)) for run in simulation.runs if run.number not in of_slots]
    head = "timeline"
    if not everything and len(entries) > LINES_SHOWN:
        odd = {slot.scheduled_us for slot in simulation.slots if _is_odd(slot, runs)}
        entries = [
            (slot.scheduled_us, _slot_row(slot, runs, style)) for slot in simulation.slots if _is_odd(slot, runs)
        ]
        head = f"out of the ordinary ({plural(len(odd), 'moment')}; --all shows every slot)"
    if not entries:
        return []
    entries.sort(key=_first)
    shown = entries if everything else entries[:LINES_SHOWN]
    more = len(entries) - len(shown)
    rows = Table(style, droppable=(3,)).lines([row for _, row in shown])
    return ["", bold(head, style), *rows, *([f"  and {more:,} more; --all shows them"] if more else [])]


def _first(entry: tuple[int, list[Cell]]) -> int:
    return entry[0]


def _since(run: SimulatedRun) -> int:
    return run.started_us or run.created_us


def _is_odd(slot: SimulatedSlot, runs: dict[int, SimulatedRun]) -> bool:
    run = runs.get(slot.run or 0)
    return slot.fate is Fate.SKIPPED or (run is not None and (longest(run) is not None or _is_bad(run)))


def _is_bad(run: SimulatedRun) -> bool:
    return run.state in (RunState.FAILED, RunState.CANCELLED)


def _slot_row(slot: SimulatedSlot, runs: dict[int, SimulatedRun], style: Style) -> list[Cell]:
    """Time, workflow, fate, what there is to say of it."""
    when = Cell(slot_moment(slot.scheduled_us, style))
    if slot.fate is Fate.SKIPPED:
        return [when, Cell(slot.workflow), Cell("skipped", "skipped"), Cell(_why_skipped(slot, style), wraps=True)]
    run = runs.get(slot.run or 0)
    if run is None:
        return [when, Cell(slot.workflow), Cell("fired", "fired"), Cell("")]
    return [when, Cell(slot.workflow), *_run_cells(run, style)]


def _run_row(run: SimulatedRun, style: Style) -> list[Cell]:
    return [Cell(slot_moment(_since(run), style)), Cell(run.ref.workflow), *_run_cells(run, style)]


def _run_cells(run: SimulatedRun, style: Style) -> list[Cell]:
    told = []
    if run.ref.run is not None:
        told.append(f"run {run.ref.run}, live now")
    elif run.called_by is not None:
        told.append("called by another run")
    waiting = longest(run)
    if waiting is not None:
        told.append(_waited(waiting, style))
    if run.ended_us is None:
        told.append("not over at the end" if run.started_us is not None else "not begun at the end")
    elif run.started_us is not None:
        told.append(f"takes {duration_text((run.ended_us - run.started_us) / US)}")
    if _is_bad(run):
        told.append(run.state + (f": {clean(run.error)}" if run.error else f": {spoken(run.reason or '')}"))
    state = run.state if _is_bad(run) else "queued" if waiting is not None else "fired"
    return [Cell("waits" if state == "queued" else state, state), Cell("; ".join(told), wraps=True)]


def _why_skipped(slot: SimulatedSlot, style: Style) -> str:
    why = spoken(slot.reason or "")
    if slot.because is not None:
        why += f" with {_ref(slot.because, style)}"
    return why + (f": {clean(slot.detail)}" if slot.detail else "")


def _waited(waiting: Waiting, style: Style) -> str:
    what = f"{waiting.task} waits" if waiting.task else "waits"
    long = f"{what} {duration_text(waited_us(waiting) / US)}" + ("" if waiting.over else " so far")
    place = "" if waiting.place == "overlap" else f" for {clean(waiting.place)}"
    behind = ", ".join(_ref(ref, style) for ref in waiting.behind)
    return long + place + (f", behind {behind}" if behind else "")


def _ref(ref: Ref, style: Style) -> str:
    return (
        f"run {ref.run} ({ref.workflow})"
        if ref.run is not None
        else f"{ref.workflow} of {slot_moment(ref.at_us, style)}"
    )


def _totals(found: Sequence[Total], style: Style) -> list[str]:
    if not found:
        return ["", "nothing is due: no schedule has a slot in this span"]
    right = ("RUNS", "FIRED", "SKIPPED", "WAITED", "LONGEST WAIT", "LONGEST RUN")
    header = [Cell("WORKFLOW"), *(Cell(name, right=True) for name in right), Cell("SKIPPED FOR")]
    worst = sorted(found, key=lambda total: (-total.skipped, -total.longest_us, total.workflow))
    rows = Table(style, droppable=(7, 6, 1), indent=0).lines([header, *(_total_row(total) for total in worst)])
    return ["", dim(rows[0], style), *rows[1:]]


def _total_row(total: Total) -> list[Cell]:
    reasons = ", ".join(f"{count} {spoken(reason)}" for reason, count in total.reasons.items())
    figures = [f"{total.runs:,}", f"{total.fired:,}", f"{total.skipped:,}" if total.skipped else ""]
    figures += [f"{total.waited:,}" if total.waited else ""]
    figures += [duration_text(total.longest_us / US) if total.longest is not None else ""]
    figures += [duration_text(total.took_us / US) if total.took_us else ""]
    return [Cell(total.workflow), *(Cell(figure, right=True) for figure in figures), Cell(reasons)]


def _peaks(simulation: Simulation, style: Style) -> list[str]:
    told = [_peak("tasks at once", simulation.tasks, style), _peak("runs at once", simulation.live, style)]
    told += [_peak(f"pool {clean(name)}", peak, style) for name, peak in sorted(simulation.pools.items())]
    return ["", "peak: " + "; ".join(told)]


def _peak(what: str, peak: Peak, style: Style) -> str:
    if not peak.used:
        return f"{what}: none"
    of = f" of {peak.size}" if peak.size else ""
    full = " (full)" if peak.size and peak.used >= peak.size else ""
    return f"{what}: {peak.used}{of}{full}, at {slot_moment(peak.at_us, style)}"


def _changes(changes: Sequence[Change], style: Style, *, everything: bool) -> list[str]:
    if not changes:
        return [
            "",
            bold("what changes", style),
            f"  {glyph('ok', style)} nothing: every slot has the same fate and time",
        ]
    counts: dict[ChangeSort, int] = {}
    for change in changes:
        counts[change.sort] = counts.get(change.sort, 0) + 1
    told = ", ".join(f"{counts[sort]:,} {_SAID[sort]}" for sort in ChangeSort if sort in counts)
    shown = changes if everything else changes[:CHANGES_SHOWN]
    more = len(changes) - len(shown)
    rows = Table(style, droppable=(3,)).lines([_change_row(change, style) for change in shown])
    return [
        "",
        bold(f"what changes: {told}", style),
        *rows,
        *([f"  and {more:,} more; --all shows them"] if more else []),
    ]


def _change_row(change: Change, style: Style) -> list[Cell]:
    before, after = slot_moment(change.before_us, style), slot_moment(change.after_us, style)
    told = _SAID[change.sort]
    match change.sort:
        case ChangeSort.MOVED | ChangeSort.LATER | ChangeSort.EARLIER:
            at, what = before or "never", f"{told}: {after or 'not before the end'}"
        case _:
            at, what = after or before, told
    if change.reason is not None:
        what += f": {spoken(change.reason)}" if change.sort is ChangeSort.NEWLY_SKIPPED else ""
    if change.because is not None and change.sort is ChangeSort.NEWLY_SKIPPED:
        what += f" with {_ref(change.because, style)}"
    if change.waiting is not None:
        behind = ", ".join(_ref(ref, style) for ref in change.waiting.behind)
        what += f", {clean(change.waiting.place)}" + (f" behind {behind}" if behind else "")
    return [Cell(at), Cell(change.workflow), Cell(what, wraps=True)]


# ---- As JSON --------------------------------------------------------------------------------------------------------


def value(simulation: Simulation, changes: Sequence[Change] | None, style: Style) -> dict[str, Any]:
    """One value; `changes` is null where there is nothing to compare with."""
    return {
        "from": iso(simulation.from_us, style),
        "to": iso(simulation.to_us, style),
        "totals": [_total_value(total, style) for total in totals(simulation)],
        "peak": {
            "tasks": _peak_value(simulation.tasks, style),
            "runs": _peak_value(simulation.live, style),
            "pools": {name: _peak_value(peak, style) for name, peak in sorted(simulation.pools.items())},
        },
        "slots": [_slot_value(slot, style) for slot in simulation.slots],
        "runs": [_run_value(run, style) for run in simulation.runs],
        "changes": None if changes is None else [_change_value(change, style) for change in changes],
        "assumptions": list(simulation.assumptions),
    }


def _total_value(total: Total, style: Style) -> dict[str, Any]:
    return {
        "workflow": total.workflow, "runs": total.runs, "fired": total.fired, "skipped": total.skipped,
        "reasons": total.reasons, "failed": total.bad, "waited": total.waited,
        "longest_wait_s": total.longest_us / US, "longest_run_s": total.took_us / US,
    }  # fmt: skip


def _peak_value(peak: Peak, style: Style) -> dict[str, Any]:
    return {"used": peak.used, "size": peak.size or None, "at": iso(peak.at_us or None, style)}


def _slot_value(slot: SimulatedSlot, style: Style) -> dict[str, Any]:
    return {
        "workflow": slot.workflow, "trigger": slot.trigger, "scheduled_at": iso(slot.scheduled_us, style),
        "fate": slot.fate, "reason": slot.reason, "detail": slot.detail or None,
        "because": None if slot.because is None else _ref_value(slot.because, style),
    }  # fmt: skip


def _run_value(run: SimulatedRun, style: Style) -> dict[str, Any]:
    return {
        **_ref_value(run.ref, style), "trigger": run.trigger, "created_at": iso(run.created_us, style),
        "started_at": iso(run.started_us, style), "ended_at": iso(run.ended_us, style), "state": run.state,
        "reason": run.reason, "error": run.error or None,
        "waits": [_waiting_value(waiting, style) for waiting in run.waits],
    }  # fmt: skip


def _ref_value(ref: Ref, style: Style) -> dict[str, Any]:
    return {"workflow": ref.workflow, "scheduled_at": iso(ref.at_us, style), "run": ref.run}


def _waiting_value(waiting: Waiting, style: Style) -> dict[str, Any]:
    return {
        "task": waiting.task or None, "for": waiting.place, "since": iso(waiting.since_us, style),
        "until": iso(waiting.until_us, style) if waiting.over else None,
        "behind": [_ref_value(ref, style) for ref in waiting.behind],
    }  # fmt: skip


def _change_value(change: Change, style: Style) -> dict[str, Any]:
    return {
        "change": change.sort, "workflow": change.workflow, "trigger": change.trigger,
        "before": iso(change.before_us, style), "after": iso(change.after_us, style), "reason": change.reason,
        "because": None if change.because is None else _ref_value(change.because, style),
        "waiting": None if change.waiting is None else _waiting_value(change.waiting, style),
    }  # fmt: skip
