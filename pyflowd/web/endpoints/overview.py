"""The host at a glance."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.responses import Response

from pyflowd.errors import Forbidden, NotFound
from pyflowd.protocol.figures import GetTimeline, ListOutcomes, OutcomesPage, OutcomesView, TimelineView
from pyflowd.protocol.requests import GetHealth, GetHost, GetRun, ListWorkflows
from pyflowd.protocol.views_host import HealthView, HostView
from pyflowd.protocol.views_runs import TaskPage, TaskView
from pyflowd.protocol.views_workflows import WorkflowPage, WorkflowView
from pyflowd.protocol.words import Level
from pyflowd.render.render_tasks import first_failed
from pyflowd.web.call import Call
from pyflowd.web.logs.fault import fault
from pyflowd.web.pages import attention
from pyflowd.web.pages import overview as page
from pyflowd.web.pages.attention import Facts
from pyflowd.web.pages.timeline import AHEAD_US, BACK_US, BAND_S
from pyflowd.web.routes import Kind, Route
from pyflowd.web.shared import Shared

_fragments: Shared[page.Overview] = Shared()


def show(call: Call) -> Response:
    return call.page("overview.html", shown=_shown(call))


def fragment(call: Call) -> Response:
    """All of the page below its frame; the same for all sessions that see the same."""
    who = call.identity
    key = (call.link, who.account, who.level, who.operates, *who.exceptions)
    shown = _fragments.get(key, lambda: _shown(call))
    return call.fragment("fragments/overview.html", shown=shown)


def _shown(call: Call) -> page.Overview:
    host = call.one(HostView, GetHost())
    views = workflows(call)
    line = call.one(
        TimelineView,
        GetTimeline(
            workflows=[view.workflow for view in page.lanes(views)], since_us=host.now_us - BACK_US,
            until_us=host.now_us + AHEAD_US, band_s=BAND_S,
        ),
    )  # fmt: skip
    failed = attention.failed_workflows(views)[: attention.SHOWN]
    of = [*page.rows(views), *failed]
    names = dict.fromkeys([*(view.workflow for view in of), *(run.workflow for run in host.running)])
    failed_tasks = {view.last.run: failed_task(call, view.last.run) for view in failed if view.last}
    facts = Facts(
        host=host, workflows=views, outcomes=outcomes(call, list(names)), failed_tasks=failed_tasks,
        said={run: fault(call, run, task.task, task.attempts) for run, task in failed_tasks.items() if task},
        errors=_errors(call), folder=_folder(call) if not views else "",
    )  # fmt: skip
    return page.overview(facts, line, call.times, call.identity.may_operate)


def workflows(call: Call) -> list[WorkflowView]:
    return [view for found in call.every(WorkflowPage, ListWorkflows()) for view in found.workflows]


def _folder(call: Call) -> str:
    """Where files of workflows are put."""
    return next((found.folder for found in call.every(WorkflowPage, ListWorkflows()) if found.folder), "")


def outcomes(call: Call, names: Sequence[str], limit: int = 30) -> dict[str, OutcomesView]:
    """The newest runs of each of these in short."""
    if not names:
        return {}
    pages = call.every(OutcomesPage, ListOutcomes(workflows=list(names), limit=limit))
    return {view.workflow: view for found in pages for view in found.workflows}


def failed_task(call: Call, run: int) -> TaskView | None:
    """The first task of a run that failed; None: it failed otherwise, or is gone."""
    try:
        pages = call.every(TaskPage, GetRun(of=str(run), items=False))
    except NotFound:
        return None
    return first_failed(task for found in pages for task in found.tasks)


def _errors(call: Call) -> list[str]:
    """Findings of `doctor` that are errors; none for who may not ask."""
    try:
        health = call.one(HealthView, GetHealth())
    except Forbidden:
        return []
    return [f"{subject}: {found}" for level, subject, found in health.checks if level == "error"]


ROUTES = [
    Route("/", show, Kind.PAGE, Level.READ),
    Route("/fragment/", fragment, Kind.FRAGMENT, Level.READ),
]
