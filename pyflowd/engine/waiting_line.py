"""A line of those who wait for the same, in order; only the first can be the next. Pure.

They stand in groups, each of which may be passed over as a whole: a run that is full keeps nobody else from going. It
knows them by their numbers only, and finds out late who has left: what nobody asks for costs nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Container
from typing import NamedTuple


class Entry(NamedTuple):
    """In order of `key`, and of the same in the order in which they came (`number`, unique)."""

    key: float
    number: int
    group: int


class Line:
    """Each method costs the logarithm of the line's length."""

    __slots__ = ("_groups", "_heads")

    def __init__(self) -> None:
        self._groups: dict[int, list[Entry]] = {}
        self._heads: list[Entry] = []
        """The first of each group, and some that are so no longer."""

    def push(self, entry: Entry) -> None:
        mates = self._groups.setdefault(entry.group, [])
        heapq.heappush(mates, entry)
        if mates[0] is entry:
            heapq.heappush(self._heads, entry)

    def first(self, waiting: Container[int]) -> Entry | None:
        """The first that still waits, by number, of the groups that have not been set aside."""
        while self._heads:
            head = self._heads[0]
            mates = self._groups.get(head.group)
            if mates and mates[0] is head:
                if head.number in waiting:
                    return head
                self._advance(mates, waiting)
            else:
                heapq.heappop(self._heads)
        return None

    def _advance(self, mates: list[Entry], waiting: Container[int]) -> None:
        """The first of a group, and of all, waits no more: find the next."""
        group = heapq.heappop(self._heads).group
        while mates and mates[0].number not in waiting:
            heapq.heappop(mates)
        if mates:
            heapq.heappush(self._heads, mates[0])
        else:
            del self._groups[group]

    def set_aside(self) -> Entry:
        """Pass over the group of the first; `put_back` takes what this returns."""
        entry = heapq.heappop(self._heads)
        while self._heads and self._heads[0] is entry:  # it was the first before one that has left
            heapq.heappop(self._heads)
        return entry

    def put_back(self, entry: Entry) -> None:
        heapq.heappush(self._heads, entry)

    @property
    def is_empty(self) -> bool:
        return not self._groups
