"""A picture of boxes and lines: from what needs what to coordinates in pixels.

A thousand boxes take some tens of milliseconds, so a picture is kept as long as the graph is the same: states have no
part in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from msgspec import Struct

from pyflowd.web.dag.coordinates import placed
from pyflowd.web.dag.order import ordered
from pyflowd.web.dag.ranks import Ranked, rank

LINE = 16.0
"""Along its rank, of a line on its way between boxes."""
KEPT = 64
"""Pictures."""


class Measure(Struct, frozen=True, kw_only=True):
    """Sizes in pixels."""

    across: bool
    """Ranks go from left to right; else from the top down."""
    width: float
    height: float
    gap: float
    """Between boxes of a rank."""
    between: float
    """Between ranks."""
    line: float = LINE
    arrow: float = 7
    """Its length; 0: none."""


DOWN = Measure(across=False, width=164, height=46, gap=24, between=36)
ACROSS = Measure(across=True, width=204, height=46, gap=24, between=48)


class Placed(Struct, frozen=True):
    """A box: its number, its rank, and its upper left corner."""

    box: int
    rank: int
    x: float
    y: float


class Line(Struct, frozen=True):
    """An edge between two boxes, drawn in the ranks from `first` to `last`."""

    source: int
    target: int
    path: str
    """Of SVG."""
    arrow: str
    first: int
    last: int


class Picture(Struct, frozen=True):
    across: bool
    width: float
    height: float
    ranks: int
    boxes: list[Placed]
    """In the order of ranks, and within a rank in its order."""
    lines: list[Line]


@lru_cache(maxsize=KEPT)
def layout(needs: tuple[tuple[int, ...], ...], measure: Measure) -> Picture:
    """`needs`: of each box the numbers of those that it needs. Raises CycleError, TangleError."""
    graph, ranks = _arranged(needs)
    extent, thick = (measure.height, measure.width) if measure.across else (measure.width, measure.height)
    middle = placed(graph, ranks, extent, measure.line, measure.gap)
    step = thick + measure.between
    boxes, start = [], {}
    for level, members in enumerate(ranks):
        for vertex in members:
            start[vertex] = level * step
            if vertex < graph.boxes:
                along = round(middle[vertex] - extent / 2, 1)
                x, y = (start[vertex], along) if measure.across else (along, start[vertex])
                boxes.append(Placed(vertex, level, x, y))
    far = max((at + (extent if n < graph.boxes else measure.line) / 2 for n, at in enumerate(middle)), default=0.0)
    deep = max(0.0, len(ranks) * step - measure.between)
    width, height = (deep, far) if measure.across else (far, deep)
    return Picture(measure.across, width, height, len(ranks), boxes, _lines(graph, middle, start, thick, measure))


@lru_cache(maxsize=KEPT)
def _arranged(needs: tuple[tuple[int, ...], ...]) -> tuple[Ranked, list[list[int]]]:
    """Ranks and the order in them: the same in whatever size and direction it is drawn."""
    graph = rank(needs)
    return graph, ordered(graph)


def _lines(
    graph: Ranked, middle: Sequence[float], start: dict[int, float], thick: float, measure: Measure
) -> list[Line]:
    step = thick + measure.between
    found = []
    for line in graph.lines:
        points = []
        for one, other in pairwise(line):
            points.append((start[one] + thick, middle[one], start[other], middle[other]))
        end = (points[-1][2], points[-1][3])
        first, last = round(start[line[0]] / step), round(start[line[-1]] / step)
        path = _path(points, across=measure.across)
        found.append(Line(line[0], line[-1], path, _arrow(end, measure), first, last))
    return found


def _path(points: Sequence[tuple[float, float, float, float]], *, across: bool) -> str:
    """Cubics that leave and enter at a right angle, straight through the ranks between."""
    words = []
    for n, (depth, along, deeper, further) in enumerate(points):
        half = (depth + deeper) / 2
        steps = [(depth, along), (half, along), (half, further), (deeper, further)]
        a, b, c, d = (_point(*each, across=across) for each in steps)
        words.append(f"{'L' if n else 'M'}{a}C{b} {c} {d}")
    return "".join(words)


def _point(depth: float, along: float, *, across: bool) -> str:
    x, y = (depth, along) if across else (along, depth)
    return f"{x:g} {y:g}"


def _arrow(end: tuple[float, float], measure: Measure) -> str:
    if not measure.arrow:
        return ""
    depth, along = end
    back = depth - measure.arrow
    if measure.across:
        return f"M{back:g} {along - 4:g}v8l{measure.arrow:g}-4z"
    return f"M{along - 4:g} {back:g}h8l-4 {measure.arrow:g}z"
