"""Where along its rank each vertex stands: as near to the median of its neighbours as order and gaps allow."""

from __future__ import annotations

from collections.abc import Sequence

from pyflowd.web.dag.order import median
from pyflowd.web.dag.ranks import Ranked

PASSES = 12


def placed(graph: Ranked, ranks: Sequence[Sequence[int]], extent: float, dummy: float, gap: float) -> list[float]:
    """The middle of each vertex along its rank, the least edge of a box at 0.

    `extent` and `dummy`: sizes along the rank of a box and of a line on its way. `gap`: least space between two boxes;
    beside a line it is half.
    """
    size = [extent if vertex < graph.boxes else dummy for vertex in range(len(graph.tie))]
    apart = [_apart(graph, members, size, gap) for members in ranks]
    centre = [0.0] * len(size)
    for members, offsets in zip(ranks, apart, strict=True):
        for vertex, offset in zip(members, offsets, strict=True):
            centre[vertex] = offset - offsets[-1] / 2
    for turn in range(PASSES):
        neighbours = graph.above if turn % 2 == 0 else graph.below
        steps = range(len(ranks)) if turn % 2 == 0 else range(len(ranks) - 1, -1, -1)
        for n in steps:
            wishes = [
                median([centre[each] for each in neighbours[vertex]]) if neighbours[vertex] else centre[vertex]
                for vertex in ranks[n]
            ]
            for vertex, at in zip(ranks[n], nearest(wishes, apart[n]), strict=True):
                centre[vertex] = at
    least = min((centre[vertex] - size[vertex] / 2 for vertex in range(len(size))), default=0.0)
    return [round(at - least, 1) for at in centre]


def _apart(graph: Ranked, members: Sequence[int], size: Sequence[float], gap: float) -> list[float]:
    """How far each stands at least from the first."""
    offsets = [0.0] * len(members)
    for n in range(1, len(members)):
        before, here = members[n - 1], members[n]
        between = gap if before < graph.boxes and here < graph.boxes else gap / 2
        offsets[n] = offsets[n - 1] + (size[before] + size[here]) / 2 + between
    return offsets


def nearest(wishes: Sequence[float], offsets: Sequence[float]) -> list[float]:
    """Places in order, each pair at least its difference of `offsets` apart, with the least squares to `wishes`.

    By pooling adjacent violators: less its offset, a place may not be less than the one before it.
    """
    blocks: list[tuple[float, int]] = []
    """(mean, number)."""
    for wish, offset in zip(wishes, offsets, strict=True):
        mean, count = wish - offset, 1
        while blocks and blocks[-1][0] > mean:
            before, number = blocks.pop()
            mean, count = (mean * count + before * number) / (count + number), count + number
        blocks.append((mean, count))
    found = [mean for mean, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(found, offsets, strict=True)]
