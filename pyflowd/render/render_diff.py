"""How differences look, and how a definition changed over time: lines for people, values for scripts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pyflowd.clock import US
from pyflowd.protocol.views_runs import RunView, TaskView
from pyflowd.protocol.views_workflows import ChangeView, DefinitionView
from pyflowd.render import render_json
from pyflowd.render.diff import DIGITS, Difference, TaskPair, values
from pyflowd.render.layout import (
    Cell,
    Style,
    Table,
    bold,
    clean,
    dim,
    glyph,
    iso,
    moment,
    paint,
    spoken,
    took,
    value_text,
    zone_text,
)

_VALUE_COLUMNS = 50
_ADDED, _REMOVED, _PLACE = "32", "31", "36"

# ---- Texts ----------------------------------------------------------------------------------------------------------


def diff_lines(lines: Sequence[str], style: Style) -> list[str]:
    """A unified diff with its colours. What a text holds is not obeyed by a terminal."""
    return [_painted(clean(line.replace("\t", "    ")) if style.terminal else line, style) for line in lines]


def _painted(line: str, style: Style) -> str:
    if line.startswith(("--- ", "+++ ")):
        return bold(line, style)
    code = {"+": _ADDED, "-": _REMOVED, "@": _PLACE, "(": "2"}.get(line[:1], "")
    return paint(line, code, style)


def definitions(old: DefinitionView, new: DefinitionView, lines: Sequence[str], style: Style) -> list[str]:
    if lines:
        return diff_lines(lines, style)
    return [f"{label(old)} and {label(new)} are the same text"]


def announced(run: RunView, style: Style) -> list[str]:
    """How the text of a run differs from that of the run which it repeats."""
    return [*diff_lines(run.definition_diff.split("\n"), style), ""] if run.definition_diff else []


def label(view: DefinitionView) -> str:
    """How a text is named on the command line."""
    return f"{view.workflow}@{view.digest[:DIGITS]}"


def definitions_value(
    old: DefinitionView, new: DefinitionView, lines: Sequence[str], style: Style
) -> render_json.Object:
    return {
        "old": _version(old, style),
        "new": _version(new, style),
        "same": old.digest == new.digest,
        "diff": "".join(line + "\n" for line in lines),
    }


def _version(view: DefinitionView, style: Style) -> render_json.Object:
    return {
        "workflow": view.workflow,
        "digest": view.digest,
        "file": view.file or None,
        "loaded_at": iso(view.loaded_us, style),
        "in_force": view.in_force,
    }


# ---- Runs -----------------------------------------------------------------------------------------------------------


def runs(old: RunView, new: RunView, lines: Sequence[str], pairs: Sequence[TaskPair], style: Style) -> list[str]:
    """Two runs side by side: what they were made of, then each task; of a fan-out the items that differ."""
    found = [_head(old, style), _head(new, style), ""]
    if lines:
        found += [bold("Definition", style), *diff_lines(lines, style), ""]
    else:
        found.append("definition: the same")
    found += _values("params", values(old.params, new.params), style)
    found += _values("outputs", values(old.outputs, new.outputs), style)
    shown = [pair for pair in pairs if not (pair.same and _is_item(pair))]
    table = Table(style, droppable=(4, 2))
    header = [Cell(word) for word in ("task", f"run {old.run}", "", f"run {new.run}", "", "")]
    rows = table.lines([header, *(_row(pair, style) for pair in shown)])
    found += ["", dim(rows[0], style)]
    for pair, row in zip(shown, rows[1:], strict=True):
        found += [row, *(f"      {_changed(each)}" for each in pair.outputs)]
    return [*found, dim(zone_text(style), style)]


def _head(run: RunView, style: Style) -> str:
    when = f"{moment(run.created_us, style)}, took {took(run.started_us, run.ended_us, style)}"
    how = f"{run.state} ({run.reason})" if run.reason else run.state
    return (
        f"{glyph(run.state, style)} run {run.run} of {run.workflow}: {how}; {when if run.started_us else 'not begun'}"
    )


def _values(what: str, differences: Sequence[Difference], style: Style) -> list[str]:
    if not differences:
        return [f"{what}: the same"]
    return [bold(what.capitalize(), style), *(f"  {_changed(each)}" for each in differences)]


def _changed(each: Difference) -> str:
    old = value_text(each.old, _VALUE_COLUMNS) if each.was else "(absent)"
    new = value_text(each.new, _VALUE_COLUMNS) if each.there else "(absent)"
    return f"{clean(each.name)}: {old} → {new}"


def _is_item(pair: TaskPair) -> bool:
    return any(task is not None and task.item is not None for task in (pair.old, pair.new))


def _row(pair: TaskPair, style: Style) -> list[Cell]:
    return [
        Cell(clean(pair.task)),
        *_side(pair.old, style),
        *_side(pair.new, style),
        Cell("" if pair.same else "differs", state="warning"),
    ]


def _side(task: TaskView | None, style: Style) -> tuple[Cell, Cell]:
    if task is None:
        return Cell("(absent)"), Cell("")
    code = f" ({task.exit_code})" if task.exit_code else ""
    return Cell(spoken(task.state) + code, state=task.state), Cell(_took(task, style), right=True)


def _took(task: TaskView, style: Style) -> str:
    return took(task.started_us, task.ended_us, style)


def runs_value(
    old: RunView, new: RunView, lines: Sequence[str], pairs: Sequence[TaskPair], style: Style
) -> render_json.Object:
    return {
        "old": render_json.whole_run(old, style),
        "new": render_json.whole_run(new, style),
        "definition": {"same": old.digest == new.digest, "diff": "".join(line + "\n" for line in lines)},
        "params": [_difference(each) for each in values(old.params, new.params)],
        "outputs": [_difference(each) for each in values(old.outputs, new.outputs)],
        "tasks": [
            {
                "task": pair.task,
                "same": pair.same,
                "old": None if pair.old is None else _task(pair.old, style),
                "new": None if pair.new is None else _task(pair.new, style),
                "outputs": [_difference(each) for each in pair.outputs],
            }
            for pair in pairs
        ],
    }


def _task(task: TaskView, style: Style) -> render_json.Object:
    found = render_json.task(task, style)
    if task.started_us is None or task.ended_us is None:
        return {**found, "duration_s": None}
    return {**found, "duration_s": (task.ended_us - task.started_us) / US}


def _difference(each: Difference) -> render_json.Object:
    """A side that has no such value has no key for it: null is a value."""
    sides = {key: side for key, side, there in (("old", each.old, each.was), ("new", each.new, each.there)) if there}
    return {"name": each.name, **sides}


# ---- Over time ------------------------------------------------------------------------------------------------------


def change_header() -> list[Cell]:
    return [Cell(word) for word in ("WHEN", "VERSION", "WHAT HAPPENED", "FILE", "")]


def change_rows(changes: Sequence[ChangeView], style: Style) -> list[list[Cell]]:
    return [
        [
            Cell(moment(change.at_us, style)),
            Cell(change.digest[:DIGITS] if change.digest else ""),
            Cell(_what(change), state="active" if change.in_force else ""),
            Cell(clean(change.file)),
            Cell("in force" if change.in_force else "", state="active"),
        ]
        for change in changes
    ]


def _what(change: ChangeView) -> str:
    return f"{spoken(change.what)} ({clean(change.detail)})" if change.detail else spoken(change.what)


def change(view: ChangeView, style: Style) -> render_json.Object:
    return {
        "at": iso(view.at_us, style),
        "what": view.what,
        "file": view.file,
        "digest": view.digest,
        "detail": view.detail or None,
        "in_force": view.in_force,
    }
