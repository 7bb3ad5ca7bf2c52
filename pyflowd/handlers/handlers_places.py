"""Requests about the places that runs share: who holds them, who waits. See `handlers` for when what is done."""

from __future__ import annotations

from pyflowd.base.peer import Peer
from pyflowd.control.replies import Replies
from pyflowd.engine.holdings import RUN, Place, Sort, Who
from pyflowd.handlers.access import Sight
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.protocol.requests import ListPlaces
from pyflowd.protocol.views_host import HolderView, PlacePage, PlaceView
from pyflowd.protocol.words import HIDDEN
from pyflowd.runtime.sharing import Sharing

PAGE = 50
SHOWN = 1_000
"""Of those who wait for one place."""


class PlaceHandlers:
    """As `Handlers`: acts when called, answers when pulled."""

    def __init__(self, of_runs: RunHandlers) -> None:
        self.runs = of_runs.runs
        self.access = of_runs.access
        self.workflows = of_runs.workflows

    @property
    def sharing(self) -> Sharing:
        return self.runs.sharing

    def places(self, _: ListPlaces, peer: Peer) -> Replies:
        sight = self.access.sight(peer)
        waiting = self.sharing.places.waiting()
        known = [place for place in self._known() if self._is_seen(place, waiting.get(place, []), sight)]
        found = [self._view(place, waiting.get(place, []), sight) for place in known]
        for at in range(0, max(1, len(found)), PAGE):
            yield PlacePage(places=found[at : at + PAGE])

    def _known(self) -> list[Place]:
        """Those in use, and the pools that have a size."""
        sized = {Place(Sort.POOL, name) for name in self.sharing.sized_pools()}
        return sorted(sized | self.sharing.places.known())

    def _is_seen(self, place: Place, waiting: list[Who], sight: Sight) -> bool:
        """A place is known by those who use it, and by a size that settings or a definition give it."""
        users = [*self.sharing.places.holders(place), *waiting]
        if sight.sees_all or any(sight.sees(self.runs.live[who.run].meta.workflow) for who in users):
            return True
        if place.sort is not Sort.POOL:
            return False
        declared = (name for name, entry in self.workflows.entries.items() if place.name in entry.head.pools)
        return (place.name in self.sharing.settings_sizes and sight.sees_host("")) or any(map(sight.sees, declared))

    def _view(self, place: Place, waiting: list[Who], sight: Sight) -> PlaceView:
        places = self.sharing.places
        return PlaceView(
            sort=place.sort.value,
            name=place.name,
            size=self._size(place, waiting),
            used=places.used(place),
            holders=[self._who(who, places.units(place, who), sight) for who in places.holders(place)],
            waiting=[self._who(who, 0, sight) for who in waiting[:SHOWN]],
            waiting_total=len(waiting),
        )

    def _size(self, place: Place, waiting: list[Who]) -> int:
        """Of a group that nobody is in yet: as the first that waits has it."""
        limit = 1
        if waiting and place.sort is Sort.GROUP:
            want = self.runs.live[waiting[0].run].want
            limit = want.limit if want else 1
        return self.sharing.places.size_now(place, limit)

    def _who(self, who: Who, units: int, sight: Sight) -> HolderView:
        live = self.runs.live[who.run]
        if not sight.sees(live.meta.workflow):
            return HolderView(run=0, workflow=HIDDEN, units=units)
        task = None if who.node == RUN else live.by_index[who.node].name
        return HolderView(run=who.run, workflow=live.meta.workflow, task=task, units=units)
