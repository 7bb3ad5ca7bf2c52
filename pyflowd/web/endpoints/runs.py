"""The history of runs."""

from __future__ import annotations

from starlette.responses import Response

from pyflowd.errors import NotFound
from pyflowd.protocol.requests import ListRuns
from pyflowd.protocol.views_runs import RunPage, RunView
from pyflowd.protocol.words import Level
from pyflowd.web.call import Call
from pyflowd.web.pages import runs as page
from pyflowd.web.routes import Kind, Route


def show(call: Call) -> Response:
    return call.page("runs.html", shown=_shown(call), states=page.STATES, sinces=list(page.SINCE))


def fragment(call: Call) -> Response:
    return call.fragment("fragments/runs.html", shown=_shown(call))


def _shown(call: Call) -> page.Runs:
    wish = page.asked(call.query)
    return page.runs(_found(call, wish), wish, call.times)


def _found(call: Call, wish: page.Asked) -> list[RunView]:
    """None for what there is not: a filter is no address that could be wrong."""
    if wish.state and wish.state not in page.STATES:
        return []
    request = ListRuns(
        workflow=wish.workflow or None, state=wish.state or None, since_us=page.since_us(wish, call.times.now_us),
        limit=page.PAGE + 1, before=wish.before,
    )  # fmt: skip
    try:
        return [view for found in call.every(RunPage, request) for view in found.runs]
    except NotFound:
        return []


ROUTES = [
    Route("/runs", show, Kind.PAGE, Level.READ),
    Route("/fragment/runs", fragment, Kind.FRAGMENT, Level.READ),
]
