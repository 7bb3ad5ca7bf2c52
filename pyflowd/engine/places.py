"""Places that runs of all workflows share: locks, slots of pools, groups of concurrency. Pure: who holds what, who
waits for whom, who is next. It knows nothing of workflows, and nothing of it is stored: what a run or an attempt holds
follows from its state, so a place cannot outlive its holder.

- Whoever asks gets all that it wants in one go, or nothing (no holder waits for a second place of its own).
- They come in the order of their `key`, the smallest first: the time when they asked, less a minute for each point of
  priority, so nobody waits for ever. One that cannot be served keeps later ones from what it wants.
- Runs that were called hold within their callers: a place that a caller holds is free for what it calls, one at a time
  for a lock. Whoever holds something by its callers is not bound by the reservations of others, as those may wait for
  it; but one that has been passed so too often is kept from being passed by all whom it can come without.
- What called runs may still do to each other is wait in a circle, also by waiting for the end of a run that another
  one has called (`join`); `stuck` finds that exactly.
- Those who want the same stand in one line, and only the first of a line can be the next: what is looked at when
  something changes grows with the number of lines, not with that of those who wait.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

from pyflowd.engine.holdings import RUN, Held, Hold, Place, Sort, Want, Who
from pyflowd.engine.waiting_line import Entry, Line


class Asked(Struct, frozen=True, kw_only=True):
    who: Who
    want: Want
    key: float
    number: int
    chain: tuple[Who, ...]
    """Whose part it is, the nearest first: its own run, the attempt that called that, and so on."""
    needs_host: bool = False
    """Whether it can begin only where the host has a place."""


class Obstacle(NamedTuple):
    """Why somebody waits: a place whose units are held by others, or kept for those who asked before."""

    place: Place
    holders: tuple[Who, ...]
    before: tuple[Who, ...] = ()


PASSED_MAX = 100
"""How often one that waits is passed by those who are not bound to keep its places for it."""

_Position = tuple[Want, tuple[Who, ...]]


class Places:
    """`size_of` gives the slots of a pool; it may change at any time."""

    def __init__(self, size_of: Callable[[str], int]) -> None:
        self._size_of = size_of
        self._held: dict[Place, Held] = {}
        self._of: dict[Who, Want] = {}
        """What each holder holds."""
        self._waiting: dict[Who, Asked] = {}
        self._by_number: dict[int, Asked] = {}
        """The same."""
        self._lines: dict[bool, dict[_Position, Line]] = {False: {}, True: {}}
        """By whether those in it need a place of the host."""
        self._inside: set[Who] = set()
        """Of those who wait: whose callers hold something. Nobody else can be part of a circle."""
        self._joined: dict[int, dict[Who, tuple[Who, ...]]] = {}
        """Run to the attempts that wait for its end though they have not called it, each with its chain."""
        self._passed: dict[Who, int] = {}
        """How often somebody who waits was passed."""
        self._bound: dict[Who, Asked] = {}
        """Who was last kept from passing whom."""
        self._numbers = 0
        self._stirred = False

    # ---- Asking and leaving

    def ask(self, who: Who, want: Want, key: float, chain: Sequence[Who] = (), *, needs_host: bool = False) -> None:
        """Wait for all of `want`; `grant` says when it is there. Asking again changes nothing."""
        if who in self._waiting or who in self._of:
            return
        self._numbers += 1
        asked = Asked(who=who, want=want, key=key, number=self._numbers, chain=tuple(chain), needs_host=needs_host)
        self._waiting[who] = self._by_number[asked.number] = asked
        if self._is_holder(asked):
            self._inside.add(who)
        line = self._lines[needs_host].setdefault(self._position(asked), Line())
        line.push(Entry(key, asked.number, RUN if who.node == RUN else who.run))
        self._stirred = True

    def _position(self, asked: Asked) -> _Position:
        """Who holds something by its callers stands by itself: it is served by other rules than the rest."""
        return asked.want, asked.chain if asked.who in self._inside else ()

    def hold(self, who: Who, want: Want, chain: Sequence[Who] = ()) -> None:
        """It has the places already, whatever others hold: taken up after a restart."""
        self._waits_no_more(who)
        self._of[who] = want
        for place, units in want.units:
            held = self._held.setdefault(place, Held())
            outer = held.nearest(chain)
            held.by[who] = Hold(units, want.limit, outer)
            held.total = None
            if outer is not None:
                held.by[outer].inner.append(who)

    def _waits_no_more(self, who: Who) -> bool:
        asked = self._waiting.pop(who, None)
        if asked is not None:
            del self._by_number[asked.number]
            self._inside.discard(who)
            self._passed.pop(who, None)
            self._bound.pop(who, None)
        return asked is not None

    def leave(self, who: Who) -> None:
        """It waits no more and holds no more; safe for one that did neither."""
        if self._waits_no_more(who):
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

    def join(self, who: Who, run: int, chain: Sequence[Who]) -> None:
        """An attempt waits for the end of a run that somebody else has called."""
        self._joined.setdefault(run, {})[who] = tuple(chain)

    def part(self, who: Who, run: int) -> None:
        """It does not any more; safe for one that did not."""
        joined = self._joined.get(run, {})
        if joined.pop(who, None) is not None and not joined:
            del self._joined[run]

    def stir(self) -> None:
        """Something that `can` or the sizes depend on has changed: whoever ends an attempt says so."""
        self._stirred = True

    def holds(self, who: Who) -> bool:
        return who in self._of

    def is_waiting(self, who: Who) -> bool:
        return who in self._waiting

    # ---- Giving out

    def grant(self, can: Callable[[Who], bool], host_has_place: Callable[[], bool] = lambda: True) -> Iterator[Who]:
        """Those whose turn it is, each holding its places when it is given; `can`: whether its run has room for it.

        What happens to one before the next is asked for may change who that is.
        """
        if not self._stirred:
            return
        self._stirred = False
        heads = [
            (first, needs_host, position)
            for needs_host, lines in self._lines.items() if not needs_host or host_has_place()
            for position in list(lines) if (first := self._first(lines, position))
        ]  # fmt: skip
        heapq.heapify(heads)
        reserved: dict[Place, int] = {}
        blocked: list[Asked] = []
        self._bound.clear()
        aside: list[tuple[Line, Entry]] = []
        try:
            while heads:
                entry, needs_host, position = heapq.heappop(heads)
                lines = self._lines[needs_host]
                if (needs_host and not host_has_place()) or self._first(lines, position) is not entry:
                    continue  # the host is full by now; or it has left meanwhile, which has stirred
                asked = self._by_number[entry.number]
                if not can(asked.who):  # its own run is full: others may go, and nothing is kept for it
                    aside.append((lines[position], lines[position].set_aside()))
                elif self._fits(asked, reserved) and not self._is_kept_back(asked, reserved, blocked):
                    self.hold(asked.who, asked.want, asked.chain)
                    yield asked.who
                else:  # nor do those behind it in the line
                    blocked.append(asked)
                    for place, units in asked.want.units:
                        reserved[place] = reserved.get(place, 0) + units
                    continue
                first = self._first(lines, position)
                if first:
                    heapq.heappush(heads, (first, needs_host, position))
        finally:
            for line, entry in aside:
                line.put_back(entry)

    def _first(self, lines: dict[_Position, Line], position: _Position) -> Entry | None:
        """The first of a line; a line in which nobody waits is taken away."""
        line = lines.get(position)
        first = line.first(self._by_number) if line else None
        if line and not first and line.is_empty:
            del lines[position]
        return first

    def _is_holder(self, asked: Asked) -> bool:
        return any(each in self._of for each in asked.chain)

    def _fits(self, asked: Asked, reserved: dict[Place, int], without: frozenset[Who] | set[Who] = frozenset()) -> bool:
        return self._fits_beside(asked, {} if self._is_holder(asked) else reserved, without)

    def _fits_beside(
        self, asked: Asked, kept: dict[Place, int], without: frozenset[Who] | set[Who] = frozenset()
    ) -> bool:
        return all(
            self._has_room(place, units, asked, kept.get(place, 0), without) for place, units in asked.want.units
        )

    def _is_kept_back(self, asked: Asked, reserved: dict[Place, int], blocked: list[Asked]) -> bool:
        """Whether one that need not heed reservations has to: somebody has been passed too often, and can come
        without its end, and without that of all who are kept back already."""
        if asked.who not in self._inside or self._fits_beside(asked, reserved):
            return False
        wanted = {place for place, _ in asked.want.units}
        passed = [each for each in blocked if any(place in wanted for place, _ in each.want.units)]
        patient = blocked[0]  # what is kept for an earlier one could keep any other from coming
        if patient in passed and self._passed.get(patient.who, 0) >= PASSED_MAX:
            kept_back = [asked, *(self._waiting[who] for who in self._bound)]
            if self._comes_without(patient, kept_back):
                self._bound[asked.who] = patient
                return True
        for each in passed:
            self._passed[each.who] = self._passed.get(each.who, 0) + 1
        return False

    def _comes_without(self, patient: Asked, kept_back: list[Asked]) -> bool:
        """Whether one gets its places some day although others do not get theirs: as `stuck`."""
        staying: set[Who] = set().union(*(self._behind(each) for each in kept_back))
        pending = [patient, *(self._waiting[who] for who in self._inside if who != patient.who)]
        pending = [each for each in pending if each not in kept_back]
        while patient in pending:
            kept_by = staying.union(*(self._behind(each) for each in pending))
            still = [each for each in pending if not self._fits_beside(each, {}, self._of.keys() - kept_by)]
            if len(still) == len(pending):
                return False
            pending = still
        return True

    def _has_room(
        self, place: Place, units: int, asked: Asked, kept: int, without: frozenset[Who] | set[Who] = frozenset()
    ) -> bool:
        held = self._held.get(place)
        if held is None:
            return units + kept <= max(self.size(place, asked.want.limit), units)
        size = self.size(place, asked.want.limit)
        within = held.nearest(asked.chain)
        used = held.used(without=without, more=(within, units))
        if place.sort is Sort.POOL and within is not None and used == held.used(without=without):
            return True  # its caller has the slots already, however few there are by now
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
        what then still waits waits for ever.
        """
        waiting = self._inside if not self._joined else self._waiting.keys()
        behind = {who: self._behind(self._waiting[who]) for who in waiting}
        pending = [self._waiting[who] for who, others in behind.items() if not self._of.keys().isdisjoint(others)]
        while pending:
            kept_by: set[Who] = set().union(*(behind[asked.who] for asked in pending))
            gone = self._of.keys() - kept_by
            still = [asked for asked in pending if not self._fits(asked, {}, gone)]
            if len(still) == len(pending):
                return max(pending, key=lambda asked: asked.number).who
            pending = still
        return None

    def _behind(self, asked: Asked) -> frozenset[Who]:
        """All who cannot end before somebody has got what it asks for."""
        todo, found = [asked.who, *asked.chain], set[Who]()
        while todo:
            who = todo.pop()
            if who not in found:
                found.add(who)
                if who.node == RUN:
                    for joined, chain in self._joined.get(who.run, {}).items():
                        todo += [joined, *chain]
        return frozenset(found)

    @property
    def may_be_stuck(self) -> bool:
        """Whether it is worth asking."""
        return bool(self._inside or (self._joined and self._waiting))

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
        """Those for whom places are kept that `asked` wants: the first of each line, as `grant` has it."""
        if asked.who in self._inside:
            return [self._bound[asked.who]] if asked.who in self._bound else []
        mine = (asked.key, asked.number)
        firsts = [
            self._by_number[first.number] for lines in self._lines.values() for position in list(lines)
            if (first := self._first(lines, position)) and first[:2] < mine
        ]  # fmt: skip
        return sorted((each for each in firsts if not self._fits(each, {})), key=lambda each: (each.key, each.number))

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

    def waiting(self) -> dict[Place, list[Who]]:
        """Those who want a place, in their order, by place."""
        found: dict[Place, list[Who]] = {}
        for asked in sorted(self._waiting.values(), key=lambda asked: (asked.key, asked.number)):
            for place, _ in asked.want.units:
                found.setdefault(place, []).append(asked.who)
        return found

    def waiting_for(self, place: Place) -> list[Who]:
        """Those who want one place."""
        return self.waiting().get(place, [])

    def known(self) -> set[Place]:
        """All places that somebody holds or waits for."""
        wanted = {place for asked in self._waiting.values() for place, _ in asked.want.units}
        return wanted | set(self._held)
