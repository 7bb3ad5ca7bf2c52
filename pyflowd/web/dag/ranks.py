"""Which rank each box has, and the places that lines over several ranks hold open on their way (dummies)."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

PIECES_MAX = 20_000
"""Of lines, each from one rank to the next: two seconds of work, and a megabyte to send."""


class CycleError(ValueError):
    """A graph that goes round has no layers."""


class TangleError(ValueError):
    """So many lines over so many ranks that a drawing would show nothing but them; three hundred tasks that each need
    the sixty before them would take minutes."""


class Ranked(Struct, frozen=True):
    """Vertices are numbers: boxes in the order given, then dummies."""

    boxes: int
    ranks: list[list[int]]
    """Vertices of each rank, in the order to begin with."""
    above: list[list[int]]
    """Of each vertex its neighbours in the rank before."""
    below: list[list[int]]
    tie: list[int]
    """What decides where all else is equal: a box's own number, a dummy's that of the box it comes from."""
    lines: list[tuple[int, ...]]
    """Each edge as the vertices it goes through."""


def rank(needs: Sequence[Sequence[int]]) -> Ranked:
    """`needs`: of each box the numbers of those it needs. Raises CycleError, TangleError."""
    order, level = levels(needs)
    pieces = sum(level[box] - level[parent] for box, parents in enumerate(needs) for parent in parents)
    if pieces > PIECES_MAX:
        raise TangleError(f"{pieces} pieces of lines")
    return _with_dummies(needs, order, level)


def levels(needs: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
    """The boxes in an order in which each comes after all that it needs, and of each its rank. Raises CycleError."""
    children: list[list[int]] = [[] for _ in needs]
    for box, parents in enumerate(needs):
        for parent in parents:
            children[parent].append(box)
    order = _kahn(needs, children)
    if len(order) < len(needs):
        raise CycleError("the graph goes round")
    level = [0] * len(needs)
    for box in order:
        level[box] = max((level[parent] + 1 for parent in needs[box]), default=0)
    for box in order:
        if not needs[box] and children[box]:
            level[box] = min(level[child] for child in children[box]) - 1
    return order, level


def _kahn(needs: Sequence[Sequence[int]], children: Sequence[Sequence[int]]) -> list[int]:
    left = [len(parents) for parents in needs]
    ready = deque(box for box, count in enumerate(left) if not count)
    order = []
    while ready:
        box = ready.popleft()
        order.append(box)
        for child in children[box]:
            left[child] -= 1
            if not left[child]:
                ready.append(child)
    return order


def _with_dummies(needs: Sequence[Sequence[int]], order: Sequence[int], level: Sequence[int]) -> Ranked:
    place = {box: n for n, box in enumerate(order)}
    ranks: list[list[int]] = [[] for _ in range(max(level, default=-1) + 1)]
    for box in order:
        ranks[level[box]].append(box)
    above: list[list[int]] = [[] for _ in needs]
    below: list[list[int]] = [[] for _ in needs]
    tie = list(range(len(needs)))
    lines = []
    for child in range(len(needs)):
        for parent in needs[child]:
            line = [parent]
            for between in range(level[parent] + 1, level[child]):
                dummy = len(tie)
                tie.append(parent)
                above.append([])
                below.append([])
                ranks[between].append(dummy)
                line.append(dummy)
            line.append(child)
            for one, other in pairwise(line):
                below[one].append(other)
                above[other].append(one)
            lines.append(tuple(line))
    boxes = len(needs)
    begin: Mapping[int, int] = place
    for members in ranks:
        members.sort(key=lambda vertex: begin[vertex if vertex < boxes else tie[vertex]])
    return Ranked(boxes, ranks, above, below, tie, lines)
