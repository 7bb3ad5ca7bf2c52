"""One run with everything on it: the page, and the part of it that is brought up to date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from pyflowd.errors import Forbidden, NotFound, PyflowError
from pyflowd.protocol.figures import (
    AttemptPage,
    AttemptView,
    GetSamples,
    ListAttempts,
    ListOutcomes,
    OutcomesPage,
    SamplesView,
)
from pyflowd.protocol.requests import Explain, GetRun, ListApprovals, ListArtifacts, ListEvents, ListNext, ListRuns
from pyflowd.protocol.views_runs import (
    ApprovalPage,
    ApprovalView,
    ArtifactPage,
    EventPage,
    ExplanationView,
    RunPage,
    RunView,
    TaskPage,
    TaskView,
)
from pyflowd.protocol.views_workflows import NextPage
from pyflowd.protocol.words import Level
from pyflowd.web.call import Call
from pyflowd.web.drawing import link_to
from pyflowd.web.endpoints.actions import run_number
from pyflowd.web.logs import opened
from pyflowd.web.logs.view import LogShown
from pyflowd.web.logs.view import shown as log_shown
from pyflowd.web.numbers import whole
from pyflowd.web.pages import dag
from pyflowd.web.pages.curves import Curves, curves
from pyflowd.web.pages.gantt import gantt
from pyflowd.web.pages.items import items
from pyflowd.web.pages.run import shown
from pyflowd.web.pages.selection import BAD, Selected, cause_of, select
from pyflowd.web.pages.since import changes
from pyflowd.web.pages.why import Said, why
from pyflowd.web.pages.words import no_right
from pyflowd.web.routes import Kind, Route

EVENTS_SHOWN = 50
LOG_LINES = 60
"""Of each of the two parts of the log that the page shows at first."""
LIVE_TASKS_MAX = 300
"""A run of more tasks is looked at every few seconds, not at each event."""


class Asked:
    """All that the daemon says of one run, as a page needs it; asked for once."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.query = call.query
        number = str(run_number(call))
        self.run, self.tasks = _run(call, number, items=bool(self.query.get("item") or self.query.get("find")))
        whole = sum(1 + sum(task.items.values()) for task in self.tasks) <= LIVE_TASKS_MAX
        self.explanation = _optional(call, ExplanationView, Explain(of=number, all=whole))
        self.cause = cause_of(self.explanation, self.tasks) if self.run.state in BAD else None
        self.selected = self._select()
        if self.selected.task is not None and self.selected.task.items and not _has_all(self.selected.task, self.tasks):
            _, self.tasks = _run(call, number, items=True)
            self.cause = cause_of(self.explanation, self.tasks) if self.run.state in BAD else None
            self.selected = self._select()

    def _select(self) -> Selected:
        return select(self.tasks, self.cause, self.query.get("task", ""), self.query.get("item"))

    def attempts(self) -> list[AttemptView]:
        try:
            pages = self.call.every(AttemptPage, ListAttempts(of=str(self.run.run)))
        except PyflowError:
            return _newest_only(self.tasks)
        return [attempt for page in pages for attempt in page.attempts]

    def attempt(self) -> int:
        """Of the selected task; the newest where none is named."""
        newest = self.selected.node.attempts if self.selected.node else 0
        return min(newest, whole(self.query.get("attempt", "")) or newest)

    def link(self, task: TaskView) -> str:
        named = {"task": task.task, "item": ""}
        if task.item is not None and task.of and task.section != "undo":
            named = {"task": task.of, "item": task.item}
        return self.changed(**named, attempt="", page="", find=self.query.get("find", "") if named["item"] else "")

    def changed(self, **changes: str) -> str:
        return link_to("runs", self.run.run, **{**_view_state(self.query), **changes})


def _view_state(query: Mapping[str, str]) -> dict[str, str]:
    return {
        name: query[name]
        for name in ("task", "item", "attempt", "view", "only", "zoom", "fit", "gantt")
        if name in query
    }


def _run(call: Call, number: str, *, items: bool) -> tuple[RunView, list[TaskView]]:
    answers = call.ask(GetRun(of=number, items=items))
    run = next((answer for answer in answers if isinstance(answer, RunView)), None)
    if run is None:
        raise NotFound(f"no run {number}")
    return run, [task for answer in answers if isinstance(answer, TaskPage) for task in answer.tasks]


def _has_all(fan: TaskView, tasks: list[TaskView]) -> bool:
    return sum(task.of == fan.task and task.item is not None for task in tasks) >= sum(fan.items.values())


def _optional(call: Call, kind: type[Any], request: Any) -> Any:
    """None where it cannot be had: what else the page says is worth showing."""
    try:
        return call.one(kind, request)
    except PyflowError:
        return None


def _newest_only(tasks: list[TaskView]) -> list[AttemptView]:
    """What is known of attempts by the tasks alone."""
    return [
        AttemptView(
            task=task.task, attempt=task.attempts, state="unknown" if task.state == "waiting" else task.state,
            started_us=task.started_us, ended_us=task.ended_us,
        )
        for task in tasks if task.started_us is not None and task.attempts and not task.items
    ]  # fmt: skip


# ---- What stands on the page ----------------------------------------------------------------------------------------


def values(call: Call) -> dict[str, Any]:
    """All that templates/parts/run.html draws."""
    asked = Asked(call)
    run, selected = asked.run, asked.selected
    if selected.missing:
        raise NotFound(f"run {run.run} of {run.workflow} has no task {selected.missing}")
    attempts = asked.attempts()
    log, log_note = _log(asked, attempts)
    approvals = _approvals(call) if run.state == "running" else []
    usual = _usual(call, run)
    links = dag.Links(of=str(run.run), page=link_to("runs", run.run), query=_view_state(call.query))
    look = dag.asked({**call.query, "task": selected.name})
    return {
        "shown": shown(
            run, asked.tasks, asked.explanation, selected, asked.cause, call.times, usual_us=usual, approvals=approvals,
            no_right=no_right(call.identity, run.workflow),
        ),
        "why": _why(asked, log, approvals),
        "graph": dag.draw(asked.tasks, call.times, look, links),
        "gantt": gantt(
            asked.tasks, attempts, call.times, asked.link, created_us=run.created_us, ended_us=run.ended_us,
            selected=selected.name, fit=call.query.get("fit", ""), everything=call.query.get("gantt") == "all",
            fit_href=lambda name: asked.changed(fit=name),
        ),
        "items": _items(asked),
        "log": log, "log_note": log_note, "selected": selected, "attempt": asked.attempt(),
        "attempts": _attempt_links(asked, attempts), "curves": _curves(asked),
        "artifacts": [
            artifact
            for page in _every(call, ArtifactPage, ListArtifacts(of=str(run.run)))
            for artifact in page.artifacts
        ],
        "events": [
            event
            for page in _every(call, EventPage, ListEvents(run=run.run, limit=EVENTS_SHOWN))
            for event in page.events
        ],
        "neighbours": _neighbours(call, run),
        "topics": f"run:{run.run}" if run.tasks_total <= LIVE_TASKS_MAX else "",
        "live": run.state in ("queued", "running"),
        "fragment": link_to(
            "fragment", "runs", run.run, **{**call.query, "task": selected.name, "item": selected.item or ""}
        ),
        "href_all": asked.changed(gantt="all"),
        "page_of_items": lambda page: link_to(
            "runs", run.run, task=selected.name, find=call.query.get("find"), page=page, view=call.query.get("view")
        ),
    }  # fmt: skip


def _every(call: Call, kind: type[Any], request: Any) -> list[Any]:
    try:
        return call.every(kind, request)
    except PyflowError:
        return []


def _usual(call: Call, run: RunView) -> int | None:
    if run.state not in ("running", "queued"):
        return None
    pages = _every(call, OutcomesPage, ListOutcomes(workflow=run.workflow))
    return next((each.usual_us for page in pages for each in page.workflows if each.workflow == run.workflow), None)


def _approvals(call: Call) -> list[ApprovalView]:
    return [each for page in _every(call, ApprovalPage, ListApprovals()) for each in page.approvals]


def _why(asked: Asked, log: LogShown | None, approvals: list[ApprovalView]) -> Any:
    if asked.explanation is None:
        return None
    call, run = asked.call, asked.run
    coming = _optional(call, NextPage, ListNext(workflow=run.workflow, limit=1)) if run.ended_us else None
    return why(
        run, asked.explanation, asked.tasks, call.times, cause=asked.cause, said=_said(asked, log),
        coming=coming.slots[0] if coming and coming.slots else None, none_coming=coming.none if coming else "",
        changed=_changed(asked) if run.state in BAD else (),
        approvals=[each for each in approvals if each.run == run.run],
    )  # fmt: skip


def _said(asked: Asked, log: LogShown | None) -> Said | None:
    node = asked.selected.node
    if log is None or node is None or not log.error:
        return None
    shown = {row.number: row for row in log.rows}
    row = shown.get(log.last_error) or shown.get(log.error)
    if row is None:
        return None
    text = "".join(span.text for span in row.spans)
    return Said(task=node.task, text=text.strip(), number=row.number, href=f"#L{row.number}")


def _changed(asked: Asked) -> list[str]:
    call, run = asked.call, asked.run
    pages = _every(call, RunPage, ListRuns(workflow=run.workflow, state="succeeded", limit=1, before=run.run))
    good = next((each for page in pages for each in page.runs), None)
    if good is None:
        return []
    try:
        _, before = _run(call, str(good.run), items=False)
    except PyflowError:
        return []
    return changes(run, asked.tasks, good, before)


def _log(asked: Asked, attempts: list[AttemptView]) -> tuple[LogShown | None, str]:
    """And why there is none."""
    node, run = asked.selected.node, asked.run
    if node is None:
        return None, ""
    if not asked.selected.has_log:
        return None, "" if node.attempts else "It has not begun, and so has said nothing."
    attempt = asked.attempt()
    own = next((each for each in attempts if each.task == node.task and each.attempt == attempt), None)
    try:
        with opened.opened(asked.call, run.run, node.task, attempt) as log:
            since = own.started_us if own is not None else 0
            failed = (own.state if own else node.state) not in ("succeeded", "running", "starting")
            return log_shown(log, since_us=since, failed=failed, lines_max=LOG_LINES), ""
    except NotFound:
        return None, "Its log was removed."
    except Forbidden as error:
        return None, str(error)


def _attempt_links(asked: Asked, attempts: list[AttemptView]) -> list[tuple[int, str, bool]]:
    node = asked.selected.node
    if node is None or node.attempts < 2:
        return []
    own = [each.attempt for each in attempts if each.task == node.task] or list(range(1, node.attempts + 1))
    shown = own if len(own) <= 9 else [*own[:2], *own[-6:]]
    return [
        (number, asked.changed(**_named(asked.selected), attempt=str(number)), number == asked.attempt())
        for number in shown
    ]


def _named(selected: Selected) -> dict[str, str]:
    return {"task": selected.name, "item": selected.item or ""}


def _items(asked: Asked) -> Any:
    fan = asked.selected.task
    if fan is None or not fan.items:
        return None
    return items(
        fan, asked.tasks, asked.call.times, asked.link, find=asked.query.get("find", ""),
        page=whole(asked.query.get("page", "")) or 1,
        selected=asked.selected.node.task if asked.selected.node else "",
    )  # fmt: skip


def _curves(asked: Asked) -> Curves | None:
    node = asked.selected.node
    if node is None or not node.attempts or not asked.selected.has_log:
        return None
    request = GetSamples(of=str(asked.run.run), task=node.task, attempt=asked.attempt())
    samples = _optional(asked.call, SamplesView, request)
    return curves(samples, asked.call.times) if samples is not None else None


def _neighbours(call: Call, run: RunView) -> tuple[int | None, int | None]:
    """The run before this one of its workflow, and the one after it where that is known cheaply: the newest."""
    older = [
        each.run
        for page in _every(call, RunPage, ListRuns(workflow=run.workflow, limit=1, before=run.run))
        for each in page.runs
    ]
    newest = [
        each.run for page in _every(call, RunPage, ListRuns(workflow=run.workflow, limit=1)) for each in page.runs
    ]
    return (older[0] if older else None), (newest[0] if newest and newest[0] != run.run else None)


def page(call: Call) -> Response:
    return call.page("run.html", **values(call))


def fragment(call: Call) -> Response:
    return call.fragment("parts/run.html", **values(call))


ROUTES = [
    Route("/runs/{run}", page, Kind.PAGE, Level.READ),
    Route("/fragment/runs/{run}", fragment, Kind.FRAGMENT, Level.READ),
]
