"""Requests about slots: the ledger of those that have come. See `handlers` for when what is done.

A ledger may have a million rows of which few are wanted: each turn looks through some of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from pyflowd.base.peer import Peer
from pyflowd.control.control import NEXT_TURN, Wait
from pyflowd.control.replies import Replies
from pyflowd.errors import Refused, nearest
from pyflowd.handlers import views
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.model.states import Fate
from pyflowd.protocol.requests import ListSlots
from pyflowd.protocol.views_workflows import SlotPage
from pyflowd.store.store import Row

PAGE = 200
LOOKED_AT = 2_000
"""Rows in a turn, 4 ms."""
_NEVER_US = (1 << 63) - 1
"""Greatest integer of SQLite."""
_FATE = 3
"""Its column in `slots`."""
_Key = tuple[int, str, str]
"""Time, workflow and trigger: the order of the ledger."""


class _Wanted(NamedTuple):
    """Which rows are meant. `suffix`, `of`: of which workflows, as statements have it."""

    suffix: str
    of: tuple[Any, ...]
    since_us: int
    until_us: int
    fate: str | None

    def takes(self, row: Row) -> bool:
        return self.fate is None or row[_FATE] == self.fate


class SlotHandlers:
    """As `Handlers`: answers when pulled."""

    def __init__(self, of_runs: RunHandlers) -> None:
        self.store = of_runs.store
        self.workflows = of_runs.workflows
        self.access = of_runs.access

    def list_slots(self, request: ListSlots, peer: Peer) -> Replies:
        """Rows of the ledger from `since` on; with a limit the newest so many of them."""
        fates = [fate.value for fate in Fate]
        if request.fate is not None and request.fate not in fates:
            raise Refused(f'"{request.fate}" is no fate of a slot{nearest(request.fate, fates)}: {", ".join(fates)}')
        sight = self.access.sight(peer)
        suffix, of = sight.selected(request.workflow)
        if request.workflow is not None and not self._has_any(request.workflow):
            self.workflows.find(request.workflow)
        until_us = _NEVER_US if request.until_us is None else request.until_us
        return self._pages(_Wanted(suffix, of, request.since_us or 0, until_us, request.fate), request.limit)

    def _has_any(self, workflow: str) -> bool:
        return self.store.one_or_none("slot_of_workflow", workflow) is not None

    def _pages(self, wanted: _Wanted, limit: int | None) -> Replies:
        last: _Key = (wanted.since_us, "", "")
        if limit is not None:
            for found in self._before_newest(wanted, limit):
                if isinstance(found, Wait):
                    yield found
                else:
                    last = found
        told = False
        for page in self._from(wanted, last):
            if isinstance(page, Wait):
                yield page
            else:
                told = True
                yield SlotPage(slots=[views.slot_view(row) for row in page])
        if not told:
            yield SlotPage(slots=[])

    def _from(self, wanted: _Wanted, last: _Key) -> Iterator[list[Row] | Wait]:
        """What is wanted after `last`, in pages."""
        many = PAGE if wanted.fate is None else LOOKED_AT
        name = f"slots{wanted.suffix}"
        while rows := list(self.store.rows(name, *wanted.of, *last, wanted.until_us, many)):
            last = _key(rows[-1])
            found = [row for row in rows if wanted.takes(row)]
            for at in range(0, len(found), PAGE):
                yield found[at : at + PAGE]
            if wanted.fate is not None:
                yield NEXT_TURN

    def _before_newest(self, wanted: _Wanted, limit: int) -> Iterator[_Key | Wait]:
        """At last the row before the newest `limit` of those that are wanted; nothing where there are not so many."""
        first: _Key = (wanted.until_us, "", "")
        left = limit
        name = f"slots_before{wanted.suffix}"
        many = LOOKED_AT if wanted.fate is not None else min(LOOKED_AT, limit + 1)
        while rows := list(self.store.rows(name, *wanted.of, *first, wanted.since_us, many)):
            for row in rows:
                if left <= 0:
                    yield _key(row)
                    return
                left -= wanted.takes(row)
            first = _key(rows[-1])
            yield NEXT_TURN


def _key(row: Row) -> _Key:
    return row[2], row[0], row[1]
