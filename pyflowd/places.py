"""Places that runs of all workflows share: locks, slots of pools, groups of concurrency. Pure: who holds what, who
waits for whom, who is next. It knows nothing of workflows, and nothing of it is stored: what a run or an attempt holds
follows from its state, so a place cannot outlive its holder.

- Whoever asks gets all that it wants in one go, or nothing (no holder waits for a second place of its own).
- They come in the order of their `key`, the smallest first: the time when they asked, less a minute for each point of
  priority, so nobody waits for ever. One that cannot be served keeps later ones from what it wants.
- Runs that were called hold within their callers: a place that a caller holds is free for what it calls, one at a time
  for a lock. Whoever holds something by its callers is not bound by the reservations of others: they wait for it.
- What called runs may still do to each other is wait in a circle; `stuck` finds that exactly.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct


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


class Asked(Struct, frozen=True, kw_only=True):
    who: Who
    want: Want
    key: float
    number: int
    chain: tuple[Who, ...]
    """Whose part it is, the nearest first: its own run, the attempt that called that, and so on."""


class Obstacle(NamedTuple):
    """Why somebody waits: a place whose units are held by others, or kept for those who asked before."""

    place: Place
    holders: tuple[Who, ...]
    before: tuple[Who, ...] = ()


class _Hold:
    """Units that somebody holds of one place, and what those hold who hold within them."""

    __slots__ = ("inner", "limit", "outer", "units")

    def __init__(self, units: int, limit: int, outer: Who | None) -> None:
        self.units = units
        self.limit = limit
        self.outer = outer
        self.inner: list[Who] = []


class _Held:
    """All holds of one place."""

    __slots__ = ("by", "total")

    def __init__(self) -> None:
        self.by: dict[Who, _Hold] = {}
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


class Places:
    """`size_of` gives the slots of a pool; it may change at any time."""

    def __init__(self, size_of: Callable[[str], int]) -> None:
        self._size_of = size_of
        self._held: dict[Place, _Held] = {}
        self._of: dict[Who, Want] = {}
        """What each holder holds."""
        self._waiting: dict[Who, Asked] = {}
        self._queues: dict[tuple[Want, tuple[Who, ...], int], list[tuple[float, int, Who]]] = {}
        """Those who want the same in the same position: only the first of each can be the next."""
        self._numbers = 0
        self._stirred = False

    # ---- Asking and leaving

    def ask(self, who: Who, want: Want, key: float, chain: Sequence[Who] = ()) -> None:
        """Wait for all of `want`; `grant` says when it is there. Asking again changes nothing."""
        if who in self._waiting or who in self._of:
            return
        self._numbers += 1
        asked = Asked(who=who, want=want, key=key, number=self._numbers, chain=tuple(chain))
        self._waiting[who] = asked
        heapq.heappush(self._queues.setdefault(_position(asked), []), (key, asked.number, who))
        self._stirred = True

    def hold(self, who: Who, want: Want, chain: Sequence[Who] = ()) -> None:
        """It has the places already, whatever others hold: taken up after a restart."""
        self._waiting.pop(who, None)
        self._of[who] = want
        for place, units in want.units:
            held = self._held.setdefault(place, _Held())
            outer = _nearest(held, chain)
            held.by[who] = _Hold(units, want.limit, outer)
            held.total = None
            if outer is not None:
                held.by[outer].inner.append(who)

    def leave(self, who: Who) -> None:
        """It waits no more and holds no more; safe for one that did neither."""
        if self._waiting.pop(who, None) is not None:
            self._stirred = True
        want = self._of.pop(who, None)
        if want is None:
            return
        self._stirred = True
        for place, _ in want.units:
            held = self._held[place]
            gone = held.by.pop(who)
            held.total = None
            if gone.outer is not None:
                held.by[gone.outer].inner.remove(who)
                held.by[gone.outer].inner += gone.inner
            for inner in gone.inner:
                held.by[inner].outer = gone.outer
            if not held.by:
                del self._held[place]

    def stir(self) -> None:
        """Something that `can` or the sizes depend on has changed."""
        self._stirred = True

    def holds(self, who: Who) -> bool:
        return who in self._of

    def is_waiting(self, who: Who) -> bool:
        return who in self._waiting

    # ---- Giving out

    def grant(self, can: Callable[[Who], bool]) -> Iterator[Who]:
        """Those whose turn it is, each holding its places when it is given; `can`: whether it could begin now.

        What happens to one before the next is asked for may change who that is.
        """
        if not self._stirred:
            return
        self._stirred = False
        heads = [(queue[0], position) for position in list(self._queues) if (queue := self._first(position))]
        heapq.heapify(heads)
        reserved: dict[Place, int] = {}
        while heads:
            (_, number, who), position = heapq.heappop(heads)
            asked = self._waiting.get(who)
            if asked is not None and asked.number == number:
                if not can(who):
                    self._stirred = True
                    continue  # its own run, or the host, is full: others may go, and nothing is kept for it
                if not self._fits(asked, reserved):
                    for place, units in asked.want.units:
                        reserved[place] = reserved.get(place, 0) + units
                    continue
                heapq.heappop(self._queues[position])
                self.hold(who, asked.want, asked.chain)
                yield who
            queue = self._first(position)
            if queue:
                heapq.heappush(heads, (queue[0], position))

    def _first(self, position: tuple[Want, tuple[Who, ...], int]) -> list[tuple[float, int, Who]] | None:
        """The queue of a position, with one that waits at its head; None where nobody does."""
        queue = self._queues.get(position)
        while queue:
            _, number, who = queue[0]
            asked = self._waiting.get(who)
            if asked is not None and asked.number == number:
                return queue
            heapq.heappop(queue)
        self._queues.pop(position, None)
        return None

    def _is_holder(self, asked: Asked) -> bool:
        return any(each in self._of for each in asked.chain)

    def _fits(self, asked: Asked, reserved: dict[Place, int], without: frozenset[Who] | set[Who] = frozenset()) -> bool:
        kept = {} if self._is_holder(asked) else reserved
        return all(
            self._has_room(place, units, asked, kept.get(place, 0), without) for place, units in asked.want.units
        )

    def _has_room(
        self, place: Place, units: int, asked: Asked, kept: int, without: frozenset[Who] | set[Who] = frozenset()
    ) -> bool:
        held = self._held.get(place)
        if held is None:
            return units + kept <= max(self.size(place, asked.want.limit), units)
        size = self.size(place, asked.want.limit)
        used = held.used(without=without, more=(_nearest(held, asked.chain), units))
        # One who wants more than there ever is comes when nobody else is there.
        return used + kept <= size or used + kept == units

    def size(self, place: Place, limit: int) -> int:
        """Units that may be in use; of a group the least limit of those concerned."""
        if place.sort is Sort.LOCK:
            return 1
        if place.sort is Sort.POOL:
            return self._size_of(place.name)
        held = self._held.get(place)
        return min([limit, *(hold.limit for hold in held.by.values())]) if held else limit

    # ---- Circles

    def stuck(self) -> Who | None:
        """One of those who wait for themselves by way of others, the last that came; None where nobody does.

        Assumes that whatever waits for nothing ends some day, and takes everything that can end out of the picture:
        what then still waits waits for ever. Only one whose run or callers hold something can be part of a circle.
        """
        pending = [asked for asked in self._waiting.values() if self._is_holder(asked)]
        gone: set[Who] = set()
        while pending:
            kept_by = {each for asked in pending for each in asked.chain}
            gone |= self._of.keys() - kept_by
            still = [asked for asked in pending if not self._fits(asked, {}, gone)]
            if len(still) == len(pending):
                return max(pending, key=lambda asked: asked.number).who
            pending = still
        return None

    @property
    def may_be_stuck(self) -> bool:
        """Whether it is worth asking."""
        return any(self._is_holder(asked) for asked in self._waiting.values())

    # ---- For people

    def obstacles(self, who: Who) -> list[Obstacle]:
        """What somebody waits for, and who has it or comes before; empty where it does not wait."""
        asked = self._waiting.get(who)
        if asked is None:
            return []
        found = []
        before = self._before(asked)
        for place, units in asked.want.units:
            wanted_before = tuple(each.who for each in before if any(other == place for other, _ in each.want.units))
            kept = sum(n for each in before for other, n in each.want.units if other == place)
            full = not self._has_room(place, units, asked, 0)
            if full or (wanted_before and not self._has_room(place, units, asked, kept)):
                found.append(Obstacle(place, self.holders(place), wanted_before))
        return found

    def _before(self, asked: Asked) -> list[Asked]:
        """Those for whom places are kept that `asked` wants."""
        if self._is_holder(asked):
            return []
        mine = (asked.key, asked.number)
        others = [
            each for each in self._waiting.values() if (each.key, each.number) < mine and not self._fits(each, {})
        ]
        return sorted(others, key=lambda each: (each.key, each.number))

    def size_now(self, place: Place, limit: int) -> int:
        """As `size`; `limit`: of a group in which nobody is."""
        held = self._held.get(place)
        return self.size(place, limit if held is None else min(hold.limit for hold in held.by.values()))

    def holders(self, place: Place) -> tuple[Who, ...]:
        held = self._held.get(place)
        return tuple(held.by) if held else ()

    def units(self, place: Place, who: Who) -> int:
        """What `who` holds of a place."""
        return self._held[place].by[who].units

    def used(self, place: Place) -> int:
        held = self._held.get(place)
        return held.used() if held else 0

    def waiting_for(self, place: Place) -> list[Who]:
        """Those who want a place, in their order."""
        found = [asked for asked in self._waiting.values() if any(each == place for each, _ in asked.want.units)]
        return [asked.who for asked in sorted(found, key=lambda asked: (asked.key, asked.number))]

    def known(self) -> set[Place]:
        """All places that somebody holds or waits for."""
        wanted = {place for asked in self._waiting.values() for place, _ in asked.want.units}
        return wanted | set(self._held)


def _position(asked: Asked) -> tuple[Want, tuple[Who, ...], int]:
    """Attempts of different runs are told apart, as the one run may be full and the other not."""
    return asked.want, asked.chain, asked.who.run if asked.who.node != RUN else RUN


def _nearest(held: _Held, chain: Sequence[Who]) -> Who | None:
    """The nearest of `chain` that holds something of a place."""
    return next((who for who in chain if who in held.by), None)
