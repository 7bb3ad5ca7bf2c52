"""Who holds what of one place, and who holds within whom: words and counts of `places`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


class Sort(StrEnum):
    LOCK = "lock"
    POOL = "pool"
    GROUP = "group"


class Place(NamedTuple):
    sort: Sort
    name: str


class Who(NamedTuple):
    """A run (`node` is RUN), or an attempt of one of its nodes."""

    run: int
    node: int


RUN = -1


class Want(NamedTuple):
    """What is wanted at once: places with units of each, sorted. `limit`: of the group, if there is one."""

    units: tuple[tuple[Place, int], ...]
    limit: int = 1


class Hold:
    """Units that somebody holds of one place, and what those hold who hold within them."""

    __slots__ = ("inner", "limit", "outer", "units")

    def __init__(self, units: int, limit: int, outer: Who | None) -> None:
        self.units = units
        self.limit = limit
        self.outer = outer
        self.inner: list[Who] = []


class Held:
    """All holds of one place."""

    __slots__ = ("by", "total")

    def __init__(self) -> None:
        self.by: dict[Who, Hold] = {}
        self.total: int | None = None
        """Units in use, as long as it is known."""

    def used(
        self, *, without: frozenset[Who] | set[Who] = frozenset(), more: tuple[Who | None, int] | None = None
    ) -> int:
        """Units in use. `without`: as if those were gone; `more`: and these were held within (by) somebody."""
        if not without and (more is None or more[0] is None):
            if self.total is None:
                self.total = sum(self._of(who, without, None) for who, hold in self.by.items() if hold.outer is None)
            return self.total + (more[1] if more else 0)
        return sum(self._of(who, without, more) for who, hold in self.by.items() if hold.outer is None) + (
            more[1] if more and more[0] is None else 0
        )

    def _of(self, who: Who, without: frozenset[Who] | set[Who], more: tuple[Who | None, int] | None) -> int:
        hold = self.by[who]
        inner = sum(self._of(each, without, more) for each in hold.inner)
        if more and more[0] == who:
            inner += more[1]
        return max(0 if who in without else hold.units, inner)

    def nearest(self, chain: Sequence[Who]) -> Who | None:
        """The nearest of `chain` that holds something of the place."""
        return next((who for who in chain if who in self.by), None)
