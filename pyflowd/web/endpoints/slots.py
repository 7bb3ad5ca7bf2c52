"""The ledger of slots, and of what reached event triggers."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from pyflowd.errors import NotFound
from pyflowd.protocol.requests import ListFirings, ListRuns, ListSlots
from pyflowd.protocol.views_runs import RunPage, RunView
from pyflowd.protocol.views_workflows import FiringPage, FiringView, SlotPage, SlotView
from pyflowd.protocol.words import Level
from pyflowd.web.call import Call
from pyflowd.web.pages import slots as page
from pyflowd.web.routes import Kind, Route

RUNS_MAX = 1000
"""Runs that are looked through for those that the shown slots fired."""


def show(call: Call) -> Response:
    return call.page("slots.html", shown=_shown(call), fates=page.FATES)


def fragment(call: Call) -> Response:
    """All of the page below its frame."""
    return call.fragment("fragments/slots.html", shown=_shown(call), fates=page.FATES)


def _shown(call: Call) -> page.Slots:
    wish = page.asked(call.query, call.times)
    found = [] if wish.events else _found(call, wish)
    firings = _firings(call, wish) if wish.events else []
    return page.slots(found, _runs(call, page.shown_of(found, wish)), firings, wish, call.times)


def _found(call: Call, wish: page.Asked) -> list[SlotView]:
    """None of what there is not: a filter is no address that could be wrong."""
    if wish.fate and wish.fate not in page.FATES:
        return []
    since_us, until_us = page.span_us(wish, call.times)
    request = ListSlots(
        workflow=wish.workflow or None, since_us=since_us, until_us=until_us, fate=wish.fate or None, limit=page.SUMMED
    )
    try:
        return [slot for found in call.every(SlotPage, request) for slot in found.slots]
    except NotFound:
        return []


def _runs(call: Call, slots: Sequence[SlotView]) -> dict[int, RunView]:
    """The runs that these fired: their numbers stand together, so that few others are read with them."""
    fired = [slot.run for slot in slots if slot.run is not None]
    if not fired:
        return {}
    names = {slot.workflow for slot in slots}
    request = ListRuns(
        workflow=names.pop() if len(names) == 1 else None, before=max(fired) + 1,
        limit=min(RUNS_MAX, max(fired) - min(fired) + 1),
    )  # fmt: skip
    return {view.run: view for found in call.every(RunPage, request) for view in found.runs}


def _firings(call: Call, wish: page.Asked) -> list[FiringView]:
    since_us, until_us = page.span_us(wish, call.times)
    request = ListFirings(workflow=wish.workflow or None, since_us=since_us, limit=page.EVENTS)
    try:
        found = [each for some in call.every(FiringPage, request) for each in some.firings]
    except NotFound:
        return []
    return [each for each in found if each.at_us < until_us]


ROUTES = [
    Route("/slots", show, Kind.PAGE, Level.READ),
    Route("/fragment/slots", fragment, Kind.FRAGMENT, Level.READ),
]
