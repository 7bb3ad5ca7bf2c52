"""The list of workflows."""

from __future__ import annotations

from starlette.responses import Response

from pyflowd.protocol.requests import ListWorkflows
from pyflowd.protocol.views_workflows import WorkflowPage
from pyflowd.protocol.words import Level
from pyflowd.web.call import Call
from pyflowd.web.endpoints.overview import outcomes
from pyflowd.web.pages import workflows as page
from pyflowd.web.pages.workflow_rows import Sort
from pyflowd.web.routes import Kind, Route


def show(call: Call) -> Response:
    return call.page("workflows.html", shown=_shown(call), states=page.STATES, sorts=list(Sort))


def fragment(call: Call) -> Response:
    return call.fragment("fragments/workflows.html", shown=_shown(call))


def _shown(call: Call) -> page.Workflows:
    wish = page.asked(call.query)
    pages = call.every(WorkflowPage, ListWorkflows())
    views = [view for found in pages for view in found.workflows]
    names = [view.workflow for view in page.of_page(page.chosen(views, wish), wish)]
    notes = [note for found in pages for note in found.notes]
    return page.workflows(views, outcomes(call, names), notes, wish, call.times)


ROUTES = [
    Route("/workflows", show, Kind.PAGE, Level.READ),
    Route("/fragment/workflows", fragment, Kind.FRAGMENT, Level.READ),
]
