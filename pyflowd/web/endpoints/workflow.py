"""One workflow: its page, and the texts of its definition."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from msgspec.structs import replace
from starlette.responses import Response

from pyflowd.errors import NotFound, PyflowError, Refused
from pyflowd.protocol.figures import GetGrid, GridView, ListOutcomes, OutcomesPage
from pyflowd.protocol.requests import (
    Explain,
    GetGraph,
    ListChanges,
    ListNext,
    ListRuns,
    ListSecrets,
    ListSlots,
    ListWorkflows,
    ShowWorkflow,
)
from pyflowd.protocol.views_host import SecretPage
from pyflowd.protocol.views_runs import ExplanationView, RunPage, RunView
from pyflowd.protocol.views_workflows import (
    ChangePage,
    ChangeView,
    DefinitionView,
    GraphView,
    NextPage,
    ParamView,
    SlotPage,
    WorkflowPage,
    WorkflowView,
)
from pyflowd.protocol.words import Level
from pyflowd.web.call import Call
from pyflowd.web.drawing import link_to
from pyflowd.web.numbers import whole
from pyflowd.web.pages import dag, params_form, versions
from pyflowd.web.pages.calendar import Calendar, Month, calendar, month
from pyflowd.web.pages.grid import grid
from pyflowd.web.pages.history_curves import curves
from pyflowd.web.pages.words import no_right
from pyflowd.web.pages.workflow import page
from pyflowd.web.pages.workflow_why import Reasons, reasons
from pyflowd.web.routes import Kind, Route

RUNS = 30
"""Columns of the grid."""
COMING = 400
"""Slots ahead: more than a year of a daily schedule."""
SLOTS = 2000
"""Of a month that has passed; the newest."""
OUTCOMES = 200
FAILURES = 200
CHANGES = 12
NEAR = 5


class Found(NamedTuple):
    view: WorkflowView
    definition: DefinitionView | None
    """None: no text of it was ever good."""


def find(call: Call, name: str) -> Found:
    """Raises NotFound."""
    try:
        definition = call.one(DefinitionView, ShowWorkflow(workflow=name))
    except Refused:
        for listed in call.every(WorkflowPage, ListWorkflows()):
            for view in listed.workflows:
                if view.workflow == name:
                    return Found(view, None)
        raise
    return Found(definition.view, definition)


def show(call: Call) -> Response:
    name = call.path["name"]
    try:
        found = find(call, name)
    except NotFound as error:
        return missing(call, name, error)
    return call.page("workflow.html", **_values(call, name, found))


def fragment(call: Call) -> Response:
    """All of the page below its frame."""
    name = call.path["name"]
    return call.fragment("fragments/workflow.html", **_values(call, name, find(call, name)))


def _values(call: Call, name: str, found: Found) -> dict[str, Any]:
    """All that templates/fragments/workflow.html draws."""
    found = found._replace(view=replace(found.view, last=_newest(call, name)))
    shown_grid = _grid(call, name) if found.definition else None
    changes = _changes(call, name)
    coming = call.one(NextPage, ListNext(workflow=name, limit=COMING)) if found.definition else NextPage(slots=[])
    shown = page(
        found.view, found.definition, shown_grid, coming.slots, coming.none, changes, call.times,
        no_right=no_right(call.identity, name),
    )  # fmt: skip
    counts: dict[str, int] = {}
    for run in shown_grid.runs if shown_grid else ():
        counts[run.digest] = counts.get(run.digest, 0) + 1
    known = versions.versions(name, changes, counts, call.times)
    declared = found.definition.declared if found.definition else []
    return {
        "shown": shown, "graph": _graph(call, name) if found.definition else None,
        "grid": grid(shown_grid, call.times, RUNS) if shown_grid else None,
        "calendar": _calendar(call, name, coming) if found.view.schedules else None, "versions": known,
        **_text(call, name, found.definition, known), "why": _why(call, name, found.view),
        "schedules": found.view.schedules, "key": secrets.token_hex(16),
        "form": params_form.form(declared, {}, secrets=secret_names(call, declared)) if found.definition else None,
        "curves": curves(shown_grid) if shown_grid else [],
        "triggers": sorted({slot.trigger for slot in coming.slots}),
    }  # fmt: skip


def secret_names(call: Call, params: Sequence[ParamView]) -> list[str]:
    """Those that a param of type `secret` may name; none where there is no such param, or they may not be listed."""
    if not any(param.type == "secret" for param in params):
        return []
    try:
        pages = call.every(SecretPage, ListSecrets())
    except PyflowError:
        return []
    return sorted({view.name for found in pages for view in found.secrets})


def _newest(call: Call, name: str) -> RunView | None:
    with suppress(NotFound, Refused):  # of a file that was never good there are no runs
        pages = call.every(RunPage, ListRuns(workflow=name, limit=1))
        return next((run for page in pages for run in page.runs), None)
    return None


def _grid(call: Call, name: str) -> GridView | None:
    before = whole(call.query.get("before", ""))
    with suppress(NotFound):
        return call.one(GridView, GetGrid(workflow=name, limit=RUNS, before=before))
    return None


def _changes(call: Call, name: str) -> list[ChangeView]:
    try:
        return [
            change
            for part in call.every(ChangePage, ListChanges(workflow=name, limit=CHANGES))
            for change in part.changes
        ]
    except PyflowError:  # of a file that was never good there is no history
        return []


def _graph(call: Call, name: str) -> dag.Dag:
    view = call.one(GraphView, GetGraph(of=name))
    links = dag.Links(of=name, page=link_to("workflows", name), query=call.query, anchor="#tasks")
    return dag.draw([*view.tasks, *view.handlers], call.times, dag.asked(call.query), links)


def _calendar(call: Call, name: str, coming: NextPage) -> Calendar:
    shown = month(call.query.get("month", ""), call.times)
    slots = call.every(
        SlotPage,
        ListSlots(
            workflow=name, since_us=shown.from_us(call.times.zone), until_us=shown.until_us(call.times.zone),
            limit=SLOTS,
        ),
    )  # fmt: skip
    found = [slot for part in slots for slot in part.slots]
    more = ""
    if len(found) >= SLOTS:
        more = f"The newest {SLOTS:,} slots of this month are counted; the ledger has all."
    elif (
        coming.slots and len(coming.slots) >= COMING and coming.slots[-1].scheduled_us < shown.until_us(call.times.zone)
    ):
        more = f"The next {COMING} slots are shown."
    return calendar(name, shown, found, _states(call, name, shown), coming.slots, call.times, more=more)


def _states(call: Call, name: str, shown: Month) -> dict[int, str]:
    """Of the newest runs all, before them of those that failed."""
    known = {
        run.run: run.state
        for part in call.every(OutcomesPage, ListOutcomes(workflow=name, limit=OUTCOMES))
        for each in part.workflows
        for run in each.runs
    }
    since = shown.from_us(call.times.zone)
    failed = call.every(RunPage, ListRuns(workflow=name, state="failed", since_us=since, limit=FAILURES))
    return {**{run.run: run.state for part in failed for run in part.runs}, **known}


def _why(call: Call, name: str, view: WorkflowView) -> Reasons | None:
    with suppress(PyflowError):
        return reasons(call.one(ExplanationView, Explain(of=name)), call.times, view.last.state if view.last else "")
    return None


def _text(call: Call, name: str, definition: DefinitionView | None, known: list[versions.Version]) -> dict[str, Any]:
    """Either the last change, where there was one, or the whole text."""
    if definition is None:
        return {"text": [], "diff": None, "whole": True}
    older = next((each for each in known[1:] if each.digest), None)
    whole = call.query.get("definition") == "whole" or older is None or len(known) < 2
    if not whole:
        with suppress(PyflowError):
            before = call.one(DefinitionView, ShowWorkflow(workflow=name, version="~1"))
            return {"text": [], "diff": versions.diff(before, definition), "whole": False}
    return {"text": versions.text_parts(definition), "diff": None, "whole": True}


def version(call: Call) -> Response:
    """`SHA`, or `A..B`: how the one became the other; `A..`: what is in force."""
    name, asked = call.path["name"], call.path["version"]
    old, dots, new = asked.partition("..")
    first = call.one(DefinitionView, ShowWorkflow(workflow=name, version=old))
    changes = _changes(call, name)
    known = versions.versions(name, changes, {}, call.times)
    if not dots:
        return call.page(
            "version.html", name=name, view=first, loaded=call.times.when(first.loaded_us), known=known,
            text=versions.text_parts(first), diff=None, other=None, digits=versions.DIGITS,
        )  # fmt: skip
    second = call.one(DefinitionView, ShowWorkflow(workflow=name, version=new))
    return call.page(
        "version.html", name=name, view=second, loaded=call.times.when(second.loaded_us), known=known, text=[],
        diff=versions.diff(first, second), other=first, digits=versions.DIGITS,
    )  # fmt: skip


def missing(call: Call, name: str, error: NotFound) -> Response:
    names = [view.workflow for part in call.every(WorkflowPage, ListWorkflows()) for view in part.workflows]
    near = difflib.get_close_matches(name, names, n=NEAR, cutoff=0.5)
    with_history = bool(_changes(call, name))
    return call.page("workflow_missing.html", 404, name=name, message=str(error), near=near, history=with_history)


ROUTES = [
    Route("/workflows/{name}", show, Kind.PAGE, Level.READ),
    Route("/fragment/workflows/{name}", fragment, Kind.FRAGMENT, Level.READ),
    Route("/workflows/{name}/versions/{version}", version, Kind.PAGE, Level.READ),
]
