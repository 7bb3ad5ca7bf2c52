"""The graph of a run or a definition: a layered drawing where it is small and the terminal wide enough, else a list.

Layers go from left to right; a task stands in the layer after the last of its needs. An edge leaves its task to the
right, turns in the gap between two layers in a column of its own, and passes through further layers as a line. Where
two edges only cross, the vertical one is drawn through, so a corner or a tee is always a joint. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from pyflowd.model.states import TASK_TERMINAL
from pyflowd.protocol.views_runs import TaskView
from pyflowd.protocol.views_workflows import GraphView
from pyflowd.render.layout import Style, bold, clean, dim, fit, glyph, paint_state, plural, text_width
from pyflowd.render.render_runs import state_word

DRAWN_TASKS_MAX = 60
DRAWN_ROWS_MAX = 60
_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_LINES = {
    _UP | _DOWN: "│", _LEFT | _RIGHT: "─", _LEFT: "─", _RIGHT: "─", _UP: "│", _DOWN: "│",
    _DOWN | _RIGHT: "╭", _DOWN | _LEFT: "╮", _UP | _RIGHT: "╰", _UP | _LEFT: "╯",
    _UP | _DOWN | _RIGHT: "├", _UP | _DOWN | _LEFT: "┤", _LEFT | _RIGHT | _DOWN: "┬", _LEFT | _RIGHT | _UP: "┴",
    _UP | _DOWN | _LEFT | _RIGHT: "┼",
}  # fmt: skip


class Node(Struct, frozen=True):
    """A task, or a place where a long edge passes through a layer (`task` is None)."""

    key: str
    layer: int
    task: TaskView | None = None


class Edge(Struct, frozen=True):
    """From a node to one of the next layer."""

    source: str
    target: str


def graph(view: GraphView, style: Style) -> list[str]:
    """The title, the drawing or the list, and below it the handlers."""
    title = bold(f"{view.title}: {plural(len(view.tasks), 'task')}", style)
    body = _drawing(view.tasks, style) if len(view.tasks) <= DRAWN_TASKS_MAX else None
    lines = [title, "", *(_levels(view.tasks, style) if body is None else body)]
    return [*lines, "", *_handlers(view.handlers, style)] if view.handlers else lines


def _name(task: TaskView) -> str:
    """A fan-out says how many of its items are done, or that it has some."""
    if task.items:
        done = sum(task.items.get(state, 0) for state in TASK_TERMINAL)
        return f"{task.task} {done:,}/{sum(task.items.values()):,}"
    return f"{task.task}[…]" if task.fan_out else clean(task.task)


def _handlers(handlers: Sequence[TaskView], style: Style) -> list[str]:
    """A line for each section."""
    lines = []
    for section in dict.fromkeys(task.section for task in handlers):
        shown = [_marked(task, style) for task in handlers if task.section == section]
        lines.append(f"{dim(section, style)}  {'  '.join(shown)}")
    return lines


def _marked(task: TaskView, style: Style) -> str:
    name = _name(task) + (f" (of {clean(task.of)})" if task.section == "on_error" else "")
    return f"{glyph(task.state, style)} {paint_state(name, task.state, style)}" if task.state else name


def layers(tasks: Sequence[TaskView]) -> dict[str, int]:
    """Task to its layer: 0 without needs, else one more than the highest of them; unknown needs do not count."""
    needs = {task.task: list(task.needs) for task in tasks}
    found: dict[str, int] = {}
    open_needs = {name: {need for need in of if need in needs} for name, of in needs.items()}
    children: dict[str, list[str]] = {name: [] for name in needs}
    for name, of in open_needs.items():
        for need in of:
            children[need].append(name)
    ready = [name for name, of in open_needs.items() if not of]
    while ready:
        name = ready.pop()
        found[name] = 1 + max((found[need] for need in needs[name] if need in needs), default=-1)
        for child in children[name]:
            open_needs[child].discard(name)
            if not open_needs[child]:
                ready.append(child)
    return found


# ---- A list, for large graphs and narrow terminals ------------------------------------------------------------------


def _levels(tasks: Sequence[TaskView], style: Style) -> list[str]:
    """Tasks by layer, each indented by its layer, with what it waits for."""
    layer = layers(tasks)
    lines = []
    for task in sorted(tasks, key=lambda task: layer.get(task.task, 0)):
        indent = "  " * min(layer.get(task.task, 0), 10)
        state = f"  {state_word(task.state)}" if task.state else ""
        shown = f"{indent}{_name(task)}"
        room = style.columns - text_width(shown) - text_width(state) - 4
        after = fit(f"after {', '.join(task.needs)}", max(0, room - 2)) if task.needs else ""
        mark = f"{glyph(task.state, style)} " if task.state else ""
        line = f"{mark}{shown}{paint_state(state, task.state, style)}"
        lines.append(f"{line}  {dim(after, style)}" if after else line)
    return lines


# ---- The drawing ----------------------------------------------------------------------------------------------------


def _drawing(tasks: Sequence[TaskView], style: Style) -> list[str] | None:
    """The drawing, or None where it does not fit."""
    nodes, edges = _split_edges(tasks)
    columns = _ordered(nodes, edges)
    rows = _placed(columns, edges)
    widths = [max(_label_width(node) for node in column) for column in columns]
    tracks = [_tracks(column, edges, rows) for column in columns]
    height = max(rows.values(), default=0) + 1
    gaps = [len(set(track.values())) + 4 for track in tracks]
    if sum(widths) + sum(gaps[:-1]) > style.columns or height > DRAWN_ROWS_MAX:
        return None
    lines = [""] * height
    for number, column in enumerate(columns):
        cells = {rows[node.key]: node for node in column}
        for row in range(height):
            lines[row] += _label(cells.get(row), widths[number], style)
        if number + 1 < len(columns):
            for row, text in enumerate(
                _gap(column, columns[number + 1], edges, rows, tracks[number], height, gaps[number])
            ):
                lines[row] += dim(text, style)
    return [line.rstrip() for line in lines]


def _split_edges(tasks: Sequence[TaskView]) -> tuple[dict[str, Node], list[Edge]]:
    """Nodes by key, and edges between neighbouring layers only: a longer one passes through nodes of its own."""
    layer = layers(tasks)
    nodes = {task.task: Node(task.task, layer[task.task], task) for task in tasks if task.task in layer}
    edges: dict[Edge, None] = {}
    for task in tasks:
        for need in task.needs:
            if need not in layer or task.task not in layer:
                continue
            source = need
            for between in range(layer[need] + 1, layer[task.task]):
                # Edges of one source share their way: fewer lines, and none of them lies.
                key = f"{need} {between}"
                nodes[key] = Node(key, between)
                edges[Edge(source, key)] = None
                source = key
            edges[Edge(source, task.task)] = None
    return nodes, list(edges)


def _ordered(nodes: Mapping[str, Node], edges: Sequence[Edge]) -> list[list[Node]]:
    """Layers with their nodes from top to bottom: each near the middle of what it comes after."""
    count = max((node.layer for node in nodes.values()), default=-1) + 1
    columns: list[list[Node]] = [[] for _ in range(count)]
    for node in nodes.values():
        columns[node.layer].append(node)
    forth: dict[str, list[str]] = {key: [] for key in nodes}
    back: dict[str, list[str]] = {key: [] for key in nodes}
    for edge in edges:
        back[edge.target].append(edge.source)
        forth[edge.source].append(edge.target)
    for _ in range(4):
        for number in range(1, count):
            _sort_by(columns[number], columns[number - 1], back)
        for number in range(count - 2, -1, -1):
            _sort_by(columns[number], columns[number + 1], forth)
    for number in range(1, count):
        _sort_by(columns[number], columns[number - 1], back)
    return columns


def _sort_by(column: list[Node], beside: Sequence[Node], linked: Mapping[str, list[str]]) -> None:
    place = {node.key: number for number, node in enumerate(beside)}
    own = {node.key: number for number, node in enumerate(column)}

    def middle(node: Node) -> float:
        others = [place[key] for key in linked[node.key]]
        return sum(others) / len(others) if others else float(own[node.key])

    column.sort(key=middle)


def _placed(columns: Sequence[Sequence[Node]], edges: Sequence[Edge]) -> dict[str, int]:
    """Node to its row: as near to the middle of what it comes after as its layer has room."""
    back: dict[str, list[str]] = {}
    for edge in edges:
        back.setdefault(edge.target, []).append(edge.source)
    rows: dict[str, int] = {}
    for column in columns:
        lowest = -1
        for left, node in zip(range(len(column), 0, -1), column, strict=True):
            parents = sorted(rows[key] for key in back.get(node.key, []))
            wanted = parents[(len(parents) - 1) // 2] if parents else 0
            # Those that come after it need room too, but not above their own parents: being a little low is no harm.
            lowest = max(lowest + 1, wanted if left else 0)
            rows[node.key] = lowest
    return rows


def _tracks(column: Sequence[Node], edges: Sequence[Edge], rows: Mapping[str, int]) -> dict[str, int]:
    """Source to the column of the gap in which its edges turn; sources whose edges go straight on need none."""
    spans: list[tuple[int, int, str]] = []
    for node in column:
        ends = [rows[edge.target] for edge in edges if edge.source == node.key]
        if any(end != rows[node.key] for end in ends):
            spans.append((min(*ends, rows[node.key]), max(*ends, rows[node.key]), node.key))
    taken: list[list[tuple[int, int]]] = []
    found: dict[str, int] = {}
    for top, bottom, key in sorted(spans, key=lambda span: rows[span[2]]):
        for number, track in enumerate(taken):
            if all(bottom < other_top or top > other_bottom for other_top, other_bottom in track):
                track.append((top, bottom))
                found[key] = number
                break
        else:
            found[key] = len(taken)
            taken.append([(top, bottom)])
    return found


def _gap(
    column: Sequence[Node],
    following: Sequence[Node],
    edges: Sequence[Edge],
    rows: Mapping[str, int],
    tracks: Mapping[str, int],
    height: int,
    width: int,
) -> list[str]:
    """The lines of the gap between two layers, one text for each row; a space parts lines from names."""
    cells = [[0] * (width - 2) for _ in range(height)]
    for node in column:
        targets = [rows[edge.target] for edge in edges if edge.source == node.key]
        if not targets:
            continue
        own = rows[node.key]
        turn = tracks.get(node.key)
        if turn is None:
            _horizontal(cells[own], 0, width - 3)
            continue
        at = turn + 1
        _horizontal(cells[own], 0, at)
        for target in targets:
            _horizontal(cells[target], at, width - 3)
            for row in range(min(own, target), max(own, target)):
                cells[row][at] |= _DOWN
                cells[row + 1][at] |= _UP
    passing_in = {rows[node.key] for node in column if node.task is None}
    passing_on = {rows[target.key] for target in following if target.task is None}
    joints = {(rows[node.key], tracks[node.key] + 1) for node in column if node.key in tracks}
    joints |= {
        (rows[edge.target], tracks[edge.source] + 1)
        for edge in edges
        if edge.source in tracks and any(node.key == edge.source for node in column)
    }
    return [
        ("─" if row in passing_in else " ")
        + "".join(_char(cells[row], row, at, joints) for at in range(width - 2))
        + ("─" if row in passing_on else " ")
        for row in range(height)
    ]


def _horizontal(cells: list[int], start: int, end: int) -> None:
    for at in range(start, end):
        cells[at] |= _RIGHT
        cells[at + 1] |= _LEFT


def _char(cells: Sequence[int], row: int, at: int, joints: set[tuple[int, int]]) -> str:
    arms = cells[at]
    if arms == _UP | _DOWN | _LEFT | _RIGHT and (row, at) not in joints:
        return "│"  # a crossing, not a joint
    return _LINES.get(arms, " ")


def _label_width(node: Node) -> int:
    if node.task is None:
        return 1
    return text_width(_name(node.task)) + (2 if node.task.state else 0)


def _label(node: Node | None, width: int, style: Style) -> str:
    if node is None:
        return " " * width
    if node.task is None:
        return dim("─" * width, style)
    task = node.task
    # A line to the right edge of the layer tells where the edge of a short name begins.
    rest = " " * (width - _label_width(node))
    if not task.state:
        return _name(task) + rest
    return f"{glyph(task.state, style)} {paint_state(_name(task), task.state, style)}{rest}"
