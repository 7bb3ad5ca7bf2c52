"""Two sequences of firings held against each other: what an import proves, or shows to be otherwise, and why. Pure.

Both are minutes since the epoch in order; a minute that stands twice fires twice. It knows nothing of who made them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby, pairwise
from zoneinfo import ZoneInfo

from msgspec import Struct

_NEAR_MINUTES = 26 * 60
"""A fixed time that a gap of a whole day swallowed comes at its end."""


class Difference(Struct, frozen=True, kw_only=True):
    minute: int
    before: int
    """How often the old scheduler starts it then."""
    after: int
    """How often PyFlow does."""
    reason: str


class Proof(Struct, frozen=True, kw_only=True):
    """What came of a comparison."""

    from_minute: int
    until_minute: int
    zone: str
    before: int
    """Firings of the old scheduler."""
    after: int
    differences: tuple[Difference, ...] = ()


def compare(
    before: Iterable[int], after: Iterable[int], from_minute: int, until_minute: int, zone: ZoneInfo, old: str
) -> Proof:
    """Every minute in which one fires more often than the other; `old` is what the old scheduler is called."""
    left, right = _Counted(before), _Counted(after)
    found = []
    while left.minute is not None or right.minute is not None:
        minute = min(each for each in (left.minute, right.minute) if each is not None)
        was, now = left.take(minute), right.take(minute)
        if was != now:
            reason = _reason(minute, was, now, zone, old)
            found.append(Difference(minute=minute, before=was, after=now, reason=reason))
    return Proof(
        from_minute=from_minute,
        until_minute=until_minute,
        zone=zone.key,
        before=left.total,
        after=right.total,
        differences=tuple(found),
    )


class _Counted:
    """A sequence of minutes, taken minute by minute with the number of times that each stands there."""

    def __init__(self, minutes: Iterable[int]) -> None:
        self._groups: Iterator[tuple[int, Iterator[int]]] = groupby(minutes)
        self.total = 0
        self.minute: int | None = None
        self._count = 0
        self._next()

    def take(self, minute: int) -> int:
        if minute != self.minute:
            return 0
        count = self._count
        self._next()
        return count

    def _next(self) -> None:
        found = next(self._groups, None)
        self.minute = None if found is None else found[0]
        self._count = 0 if found is None else sum(1 for _ in found[1])
        self.total += self._count


def _reason(minute: int, before: int, after: int, zone: ZoneInfo, old: str) -> str:
    change = _change(minute, zone)
    if change is None:
        return f"{old} and PyFlow read the expression differently"
    at, shift = change
    day = datetime.fromtimestamp(at * 60, zone).strftime("%d %B %Y")
    if shift > 0:
        clock = f"clock change: {_span(shift)} left out on {day}"
        if before > after:
            return (
                f"{clock}; {old} starts it {'more often' if after else 'all the same'}, PyFlow once for the whole gap"
            )
        return f"{clock}; {old} leaves out what falls into it, PyFlow runs a fixed hour right after it"
    clock = f"clock change: {_span(-shift)} repeated on {day}"
    if before > after:
        return f"{clock}; {old} runs in both passes, PyFlow a fixed hour only in the first"
    return f"{clock}; {old} runs in one of the passes only"


def _span(minutes: int) -> str:
    return "1 hour" if minutes == 60 else f"{minutes // 60} hours" if minutes % 60 == 0 else f"{minutes} minutes"


def _change(minute: int, zone: ZoneInfo) -> tuple[int, int] | None:
    """The nearest change of the offset, to the minute, and by how many minutes; None if there is none near."""
    offsets = [(at, _offset(at, zone)) for at in range(minute - _NEAR_MINUTES, minute + _NEAR_MINUTES + 60, 60)]
    changes = [(low[0], high[0]) for low, high in pairwise(offsets) if low[1] != high[1]]
    if not changes:
        return None
    low, high = min(changes, key=lambda span: abs(span[0] - minute))
    at = next(each for each in range(low + 1, high + 1) if _offset(each, zone) != _offset(low, zone))
    return at, _offset(at, zone) - _offset(low, zone)


def _offset(minute: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(minute * 60, zone).utcoffset()
    assert offset is not None  # a ZoneInfo always has one for an instant
    return int(offset.total_seconds()) // 60
