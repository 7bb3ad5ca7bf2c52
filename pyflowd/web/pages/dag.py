"""The graph of a workflow, or of a run with its states: boxes, lines and words, with the list that says the same.

For a page: `graph = draw(tasks, call.times, asked(call.query), Links(of="7", page="/runs/7", query=call.query))`, then
`{% from "parts/dag.html" import dag, dag_head, dag_handlers %}` and, in a panel, `{{ dag_head(graph) }}` among its
header, `{{ dag(graph) }}` and `{{ dag_handlers(graph) }}`. `tasks`: those of GraphView with its handlers, or of GetRun
as they come: items are passed over, what has a section goes to the line of handlers. A page that draws with scripts
adds `<script type="module" src="{{ static('dag.js') }}">`. Two drawings of one graph may stand on a page, of which a
container query shows one: each link of a box has `data-task`, the first of them `id="n-TASK"`, the other `na-TASK`; a
module patches both by `[data-task=...]`: the class of its `.n`, the `href` of `use`, the text of `.sub`.
For a drawing in which every task must be there (an editor): `asked` with `whole=True`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

from pyflowd.protocol.views_runs import TaskView
from pyflowd.web.dag.fold import DRAWN_MAX, Box, Sort, Task, fold
from pyflowd.web.dag.layout import layout
from pyflowd.web.dag.ranks import TangleError
from pyflowd.web.marks import Mark
from pyflowd.web.pages.dag_drawing import MEASURES, Drawing, Map, directions, drawings, map_of
from pyflowd.web.pages.dag_list import Row, rows_of
from pyflowd.web.pages.dag_look import Asked, Links, asked, zoom_of
from pyflowd.web.pages.dag_words import mark_of
from pyflowd.web.times import Times, counted

__all__ = ["Asked", "Dag", "Links", "asked", "draw", "places"]


class Handler(Struct, frozen=True, kw_only=True):
    task: str
    href: str
    mark: Mark | None
    section: str


class Choice(Struct, frozen=True):
    word: str
    href: str
    on: bool


class Dag(Struct, frozen=True, kw_only=True):
    tasks: int
    boxes: int
    drawings: list[Drawing]
    """Empty: the list stands alone."""
    rows: list[Row]
    rows_left: int
    rows_href: str
    as_list: bool
    views: list[Choice]
    handlers: list[Handler]
    note: str
    """What is folded or left out, in words; empty: nothing."""
    choices: list[list[Choice]]
    """Ways to look at a graph that is not shown whole, in groups."""
    map: Map | None = None
    fragment: str = ""
    """Where further bands come from; empty: all are here."""


def draw(tasks: Iterable[TaskView], times: Times, look: Asked, links: Links) -> Dag:
    views = [task for task in tasks if task.item is None]
    proper = [task for task in views if not task.section]
    named = {task.task: task for task in proper}
    kept, only = _kept(proper, look)
    boxes, opened = _boxes(kept, look)
    large = len(boxes) > DRAWN_MAX and not look.whole
    drawn, whole = drawings(boxes, named, times, look, links, large=large)
    as_list = look.view == "list" or not drawn
    rows, left = rows_of(proper, times, look, links) if as_list else ([], 0)
    return Dag(
        tasks=len(proper), boxes=len(boxes), drawings=drawn, rows=rows, rows_left=left,
        rows_href=links.changed(rows="all"), as_list=as_list,
        views=[
            Choice("Graph", links.changed(view=""), look.view != "list"),
            Choice("List", links.changed(view="list"), look.view == "list"),
        ] if drawn else [],
        handlers=[
            Handler(task=task.task, href=links.task(task.task), mark=mark_of(task), section=task.section)
            for task in views if task.section
        ],
        note=_note(len(proper), len(kept), boxes, only, is_drawn=bool(drawn)),
        choices=_choices(proper, boxes, look, links, only=only, large=large, opened=opened),
        map=map_of(whole, boxes, MEASURES[zoom_of(look, large=large)]) if whole else None,
        fragment=f"/fragment/dag/{links.of}" if large else "",
    )  # fmt: skip


# ---- What is shown ---------------------------------------------------------------------------------------------------


def _kept(proper: Sequence[TaskView], look: Asked) -> tuple[list[TaskView], bool]:
    """The tasks that are drawn, and whether these are only what failed and what led there."""
    failed = [task.task for task in proper if task.state in ("failed", "unknown")]
    wanted = look.only == "bad" or (look.only != "all" and len(proper) > DRAWN_MAX and not look.whole)
    if not (failed and wanted):
        return list(proper), False
    needs = {task.task: task.needs for task in proper}
    found, open_ends = set(failed), list(failed)
    while open_ends:
        for need in needs.get(open_ends.pop(), ()):
            if need not in found:
                found.add(need)
                open_ends.append(need)
    if look.task in needs:
        found.add(look.task)
    return [task for task in proper if task.task in found], True


def _boxes(kept: Sequence[TaskView], look: Asked) -> tuple[list[Box], bool]:
    """And whether some fold is open."""
    graph = [
        Task(name=task.task, needs=tuple(task.needs), rule=task.trigger_rule or "all_ok", state=task.state)
        for task in kept
    ]
    if look.whole or "*" in look.open:
        return fold(graph, [task.name for task in graph], small=len(graph)), bool(look.open)
    shut = {box.key: box for box in fold(graph, [look.task])}
    opened = [name for key in look.open if key in shut for name in shut[key].members]
    return fold(graph, [look.task, *opened]) if opened else list(shut.values()), bool(opened)


def _note(tasks: int, kept: int, boxes: Sequence[Box], only: bool, *, is_drawn: bool) -> str:
    parts = []
    if only:
        parts.append(f"{kept:,} of {counted(tasks, 'task')}: what failed and what led there")
    elif len(boxes) != tasks:
        parts.append(f"{counted(tasks, 'task')} in {counted(len(boxes), 'box', 'boxes')}")
    if len(boxes) > 1 and not is_drawn:
        parts.append("not drawn: its lines are too many, or go round")
    return ", ".join(parts)


def _choices(
    proper: Sequence[TaskView],
    boxes: Sequence[Box],
    look: Asked,
    links: Links,
    *,
    only: bool,
    large: bool,
    opened: bool,
) -> list[list[Choice]]:
    parts, folds, zooms = [], [], []
    if only or (look.only == "all" and any(task.state in ("failed", "unknown") for task in proper)):
        parts = [
            Choice("What failed and what led there", links.changed(only="bad"), only),
            Choice("All tasks", links.changed(only="all"), not only),
        ]
    if any(box.sort is not Sort.TASK for box in boxes):
        folds.append(Choice("Open all folds", links.changed(open="*"), False))
    if opened:
        folds.append(Choice("Fold", links.changed(open=""), False))
    if large or look.zoom:
        zoom = zoom_of(look, large=large)
        words = (("full", "Full"), ("names", "Names"), ("blocks", "Blocks"))
        zooms = [Choice(word, links.changed(zoom=step), zoom == step) for step, word in words]
    return [group for group in (parts, zooms, folds) if group]


def places(tasks: Iterable[TaskView], look: Asked) -> list[tuple[str, list[str], float, float, list[str]]]:
    """Every box of a large graph, for who looks for a task: key, tasks, corner, and the keys that it needs."""
    proper = [task for task in tasks if task.item is None and not task.section]
    boxes, _ = _boxes(_kept(proper, look)[0], look)
    number = {box.key: n for n, box in enumerate(boxes)}
    needs = tuple(tuple(number[need] for need in box.needs if need in number) for box in boxes)
    measures = MEASURES[zoom_of(look, large=len(boxes) > DRAWN_MAX)]
    try:
        pictures = {across: layout(needs, measures[across]) for across in (False, True)}
    except TangleError:
        return []
    picture = pictures[directions(pictures, len(boxes))[0]]
    return [
        (boxes[at.box].key, list(boxes[at.box].members), at.x, at.y, list(boxes[at.box].needs)) for at in picture.boxes
    ]
