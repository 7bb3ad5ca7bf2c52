"""The order of vertices within their ranks: few crossings, and the order of the file wherever that is as good."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pyflowd.web.dag.ranks import Ranked

SWEEPS = 8


def ordered(graph: Ranked) -> list[list[int]]:
    """The ranks with their vertices in the order with the fewest crossings that was met."""
    ranks = [list(members) for members in graph.ranks]
    best, fewest = ranks, crossings(graph, ranks)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        ranks = swept(graph, ranks, down=sweep % 2 == 0)
        count = crossings(graph, ranks)
        if count < fewest:
            best, fewest = ranks, count
    return best


def swept(graph: Ranked, ranks: Sequence[Sequence[int]], *, down: bool) -> list[list[int]]:
    """Each rank by the median place of its vertices' neighbours in the one before; who has none stays."""
    neighbours = graph.above if down else graph.below
    found = [list(members) for members in ranks]
    steps = range(1, len(found)) if down else range(len(found) - 2, -1, -1)
    for n in steps:
        fixed = found[n - 1 if down else n + 1]
        place = {vertex: index for index, vertex in enumerate(fixed)}
        wish = {
            vertex: median([place[each] for each in neighbours[vertex]])
            for vertex in found[n]
            if neighbours[vertex]
        }  # fmt: skip
        moved = iter(sorted(wish, key=lambda vertex: (wish[vertex], graph.tie[vertex], vertex)))
        found[n] = [next(moved) if vertex in wish else vertex for vertex in found[n]]
    return found


def median(values: Sequence[float]) -> float:
    """Of an even number the mean of the two in the middle."""
    if len(values) == 1:
        return values[0]
    at = sorted(values)
    middle = len(at) // 2
    return at[middle] if len(at) % 2 else (at[middle - 1] + at[middle]) / 2


def crossings(graph: Ranked, ranks: Sequence[Sequence[int]]) -> int:
    """How many pairs of lines between neighbouring ranks cross."""
    return sum(_between(graph, upper, lower) for upper, lower in pairwise(ranks))


def _between(graph: Ranked, upper: Sequence[int], lower: Sequence[int]) -> int:
    """Inversions of the lines' lower ends, taken in the order of their upper ends; counted by a Fenwick tree."""
    place = {vertex: index for index, vertex in enumerate(lower)}
    tree = [0] * (len(lower) + 1)
    seen = crossed = 0
    for vertex in upper:
        ends = [place[child] for child in graph.below[vertex]]
        for end in ends:
            at, before = end + 1, 0
            while at:
                before += tree[at]
                at &= at - 1
            crossed += seen - before
        for end in ends:
            at = end + 1
            while at < len(tree):
                tree[at] += 1
                at += at & -at
        seen += len(ends)
    return crossed
