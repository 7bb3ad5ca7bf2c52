"""Replies to bytes: a renderer takes the replies to one request in order and yields what is to be printed.

Nothing is collected that may be large: a run of 10,000 tasks comes as pages and leaves as pages. Pure: no printing,
no clock. What the pieces look like is the business of `render_runs`, `render_host`, `render_graph`, `render_json`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from pyflowd.errors import PyflowError, Refused
from pyflowd.protocol.tokens import TokenCreated, TokenPage, TokenView
from pyflowd.protocol.views import Failure, Reply
from pyflowd.protocol.views_host import (
    AuditPage,
    BackupView,
    DrainView,
    HealthView,
    HostView,
    NotificationPage,
    PlacePage,
    SecretAnswer,
    SecretPage,
    SettingsView,
    StoreCheckView,
    VersionView,
)
from pyflowd.protocol.views_runs import (
    AnswerView,
    ApprovalPage,
    ArtifactPage,
    BackfillPage,
    BackfillView,
    CachePage,
    ClearedView,
    EventPage,
    ExplanationView,
    RunPage,
    RunView,
    TaskPage,
    TaskView,
)
from pyflowd.protocol.views_workflows import (
    ChangePage,
    DefinitionView,
    FiringPage,
    GraphView,
    HookView,
    NextPage,
    PlanView,
    SlotPage,
    WorkflowPage,
)
from pyflowd.render import (
    render_audit,
    render_backfill,
    render_cache,
    render_diff,
    render_events,
    render_explain,
    render_graph,
    render_host,
    render_notify,
    render_places,
    render_runs,
    render_secrets,
    render_tasks,
    render_tokens,
    render_upkeep,
)
from pyflowd.render.commandline import Invocation
from pyflowd.render.layout import Cell, Style, Table, clean, dim, page, zone_text
from pyflowd.render.render_json_pages import JsonArray, JsonLast, JsonLines, JsonRun, JsonSecrets, JsonValues

__all__ = ["Renderer", "Style", "error_line", "render_all", "renderer"]


_LISTS = frozenset(
    {
        "list", "history", "next", "slots", "reload", "notifications", "places", "approvals", "artifacts", "backfills",
        "audit",
    }
)  # fmt: skip
"""Commands whose JSON is one array."""


class Renderer(Protocol):
    """Feed the replies in order, then end; each gives what is to be printed now on standard output."""

    def feed(self, reply: Reply) -> Iterator[bytes]: ...

    def end(self) -> Iterator[bytes]: ...


def renderer(invocation: Invocation, style: Style) -> Renderer:
    """The renderer of one invocation's answer."""
    as_json = invocation.output == "json"
    if invocation.wait:
        recorded = invocation.command != "wait"
        return JsonRun(style) if as_json else WaitedRun(style, follow=invocation.follow, recorded=recorded)
    if invocation.command in ("run", "rerun") and not invocation.words.has("dry-run"):
        return JsonValues(style) if as_json else Text(style, recorded=True)
    if as_json:
        if invocation.command == "secret" and invocation.words.arguments[0] == "list":
            return JsonSecrets(style)
        return _json_renderer(invocation, style)
    if invocation.command in ("pause", "resume"):
        return PausedWorkflow(style)
    if invocation.command == "seen":
        return SeenRun(style)
    if invocation.command == "notify":
        return RecordedNotification(style)
    if invocation.command == "next" and invocation.words.arguments:
        return NextOf(invocation.words.arguments[0], style)
    return StatusRun(style) if invocation.command == "status" and invocation.words.arguments else Text(style)


def _json_renderer(invocation: Invocation, style: Style) -> Renderer:
    match invocation.command:
        case "status":
            return JsonRun(style)
        case command if command in _LISTS:
            return JsonArray(style)
        case "token":
            return JsonArray(style) if invocation.words.arguments[0] == "list" else JsonValues(style)
        case "cache":
            return JsonValues(style) if invocation.words.argument(0) == "clear" else JsonArray(style)
        case "events":
            return JsonLines(style)
        case "drain":
            return JsonLast(style)
        case _:
            return JsonValues(style, whole_run=invocation.command in ("cancel", "seen"))


def render_all(invocation: Invocation, style: Style, replies: Iterable[Reply]) -> Iterator[bytes]:
    """The whole output of an answer that is at hand."""
    shown = renderer(invocation, style)
    for reply in replies:
        yield from shown.feed(reply)
    yield from shown.end()


def error_line(error: PyflowError | Failure) -> bytes:
    """What goes to standard error: one line, whatever the message holds; a refusal has a line for each problem."""
    message = error.message if isinstance(error, Failure) else str(error)
    lines = message.split("\n") if error.code == Refused.code else [message]
    return page([f"pyflowctl: {clean(line)}" for line in lines if line.strip()])


# ---- Text -----------------------------------------------------------------------------------------------------------


class Text:
    """Replies that stand alone, and pages of tables."""

    def __init__(self, style: Style, *, recorded: bool = False) -> None:
        self._style = style
        self._recorded = recorded
        self._table: Table | None = None
        self._foot: list[str] = []

    def feed(self, reply: Reply) -> Iterator[bytes]:
        if lines := self._lines(reply):
            yield page(lines)

    def end(self) -> Iterator[bytes]:
        if self._foot:
            yield page(self._foot)

    def _lines(self, reply: Reply) -> list[str]:
        style = self._style
        match reply:
            case HostView():
                return render_host.host(reply, style)
            case RunView():
                if not self._recorded:
                    return render_runs.answered(reply, style)
                return [*render_diff.announced(reply, style), *render_runs.recorded(reply, style)]
            case DefinitionView():
                return render_host.definition(reply, style)
            case GraphView():
                return render_graph.graph(reply, style)
            case PlanView():
                return render_tasks.plan(reply, style)
            case AnswerView():
                return render_tasks.answer(reply, style)
            case ClearedView():
                return render_cache.cleared(reply, style)
            case BackfillView():
                return render_backfill.lines(reply, style)
            case NextPage():
                return render_host.next_slots(reply.slots, style)
            case SecretAnswer():
                return render_secrets.answer(reply, style)
            case BackupView():
                return render_upkeep.backup(reply, style)
            case StoreCheckView():
                return render_upkeep.store_check(reply, style)
            case DrainView():
                return render_upkeep.drain(reply, style)
            case SettingsView():
                return render_upkeep.settings(reply, style)
            case ExplanationView():
                return render_explain.explanation(reply, style)
            case TokenCreated():
                return render_tokens.created(reply, style)
            case TokenView():
                return render_tokens.revoked(reply, style)
            case HealthView():
                return render_host.health_view(reply, style)
            case VersionView():
                return render_host.version(reply)
            case _:
                return self._page(reply)

    def _page(self, reply: Reply) -> list[str]:
        style = self._style
        match reply:
            case RunPage():
                rows = render_runs.run_rows(reply.runs, style)
                return self._rows(rows, render_runs.run_header(), (6,), "no runs")
            case FiringPage():
                return self._rows(render_events.firing_rows(reply.firings, style), None, (3,), "no events")
            case HookView():
                return render_events.hook(reply)
            case SlotPage():
                return self._rows(render_host.slot_rows(reply.slots, style), None, (3,), "no slots")
            case ApprovalPage():
                rows = render_tasks.approval_rows(reply.approvals, style)
                return self._rows(rows, render_tasks.approval_header(), (4, 6), "nothing waits for an answer")
            case ArtifactPage():
                rows = render_tasks.artifact_rows(reply.artifacts)
                return self._rows(rows, render_tasks.artifact_header(), (3,), "no artifacts", times=False)
            case CachePage():
                rows = render_cache.rows(reply.entries, style)
                return self._rows(rows, render_cache.header(), (4,), "nothing is kept", times=False)
            case BackfillPage():
                rows = render_backfill.rows(reply.backfills, style)
                return self._rows(rows, render_backfill.header(), (7, 3, 5, 4), "no backfills")
            case ChangePage():
                rows = render_diff.change_rows(reply.changes, style)
                return self._rows(rows, render_diff.change_header(), (3,), "no changes")
            case EventPage():
                return self._rows(render_host.event_rows(reply.events, style), None, (2,), "no events")
            case SecretPage():
                rows = render_secrets.secret_rows(reply.secrets, style)
                lines = self._rows(rows, render_secrets.secret_header(), (2, 3, 4), "no secrets")
                return lines + [f"! {clean(note)}" for note in reply.notes]
            case PlacePage():
                rows = render_places.place_rows(reply.places)
                return self._rows(
                    rows, render_places.place_header(), (), "nothing is shared at the moment", times=False
                )
            case TokenPage():
                rows = render_tokens.rows(reply.tokens, style)
                return self._rows(rows, render_tokens.header(), (5, 6, 4), "no tokens")
            case AuditPage():
                rows = render_audit.rows(reply.records, style)
                return self._rows(rows, render_audit.header(), (7, 3), "nothing was changed by anybody")
            case NotificationPage():
                rows = render_notify.notification_rows(reply.notifications, style)
                return self._rows(rows, render_notify.notification_header(), (4, 5), "no messages")
            case WorkflowPage():
                self._foot = []
                rows = render_host.workflow_rows(reply.workflows, style)
                where = f"; their files belong into {clean(reply.folder)}" if reply.folder else ""
                lines = self._rows(rows, render_host.workflow_header(), (4, 6, 7), "no workflows" + where)
                return lines + render_host.workflow_problems(reply, style)
            case _:
                return []  # TaskPage: only renderers of runs show tasks

    def _rows(
        self,
        rows: list[list[Cell]],
        header: list[Cell] | None,
        droppable: tuple[int, ...],
        none: str,
        *,
        times: bool = True,
    ) -> list[str]:
        """Rows of a page; the first has the header, and the zone of its times is said at the end."""
        if not rows:
            return [none] if none and self._table is None else []
        first = self._table is None
        if self._table is None:
            self._table = Table(self._style, droppable, indent=0)
            self._foot = [dim(zone_text(self._style), self._style)] if times else []
        lines = self._table.lines([header, *rows] if first and header else rows)
        if first and header:
            lines[0] = dim(lines[0], self._style)
        return lines


class PausedWorkflow(Text):
    """The answer to `pause` and `resume`: a sentence, not a table."""

    def _page(self, reply: Reply) -> list[str]:
        if isinstance(reply, WorkflowPage):
            return [line for view in reply.workflows for line in render_host.paused(view, self._style)]
        return []


class SeenRun(Text):
    """The answer to `seen`: a sentence about who has taken note."""

    def _lines(self, reply: Reply) -> list[str]:
        return render_runs.seen(reply, self._style) if isinstance(reply, RunView) else super()._lines(reply)


class RecordedNotification(Text):
    """The answer to `notify`: a sentence, not a table."""

    def _page(self, reply: Reply) -> list[str]:
        if isinstance(reply, NotificationPage):
            return [line for view in reply.notifications for line in render_notify.recorded(view, self._style)]
        return []


class NextOf(Text):
    """The coming slots of one workflow; where there are none, the answer says why."""

    def __init__(self, workflow: str, style: Style) -> None:
        super().__init__(style)
        self._workflow = workflow

    def _lines(self, reply: Reply) -> list[str]:
        if isinstance(reply, NextPage) and not reply.slots:
            return render_host.no_next(self._workflow, reply.none, self._style)
        return super()._lines(reply)


class StatusRun:
    """A run with all its tasks: RunView, then TaskPages."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._table = render_tasks.TaskLines(0, style)
        self._run: RunView | None = None
        self._first_failed: TaskView | None = None
        self._questions: list[TaskView] = []

    def feed(self, reply: Reply) -> Iterator[bytes]:
        style = self._style
        match reply:
            case RunView():
                self._run = reply
                self._table = render_tasks.TaskLines(reply.run, style)
                yield page([render_runs.head(reply, style), *render_runs.facts(reply, style), ""])
            case TaskPage():
                self._first_failed = self._first_failed or render_tasks.first_failed(reply.tasks)
                self._questions += render_tasks.waits_for_answer(reply.tasks)
                yield page(self._table.lines(reply.tasks))
            case _:
                pass

    def end(self) -> Iterator[bytes]:
        if self._run is None:
            return
        given = render_runs.outputs(self._run.outputs, self._style)
        lines = [*self._table.rest(), *(["", *given] if given else [])]
        lines += render_tasks.questions(self._run.run, self._questions, self._style)
        if lines := lines + render_tasks.hints(self._run, self._first_failed, self._style):
            yield page(lines)


class WaitedRun:
    """A run that is waited for: RunView at the start and at each change, TaskPages after the last one.

    On a terminal one line shows how far it is (not while output is followed); the end is a summary.
    """

    def __init__(self, style: Style, *, follow: bool, recorded: bool) -> None:
        self._style = style
        self._recorded = recorded
        """Whether the run has just been recorded, which is said first."""
        self._shows_progress = style.terminal and not follow
        self._run: RunView | None = None
        self._failed: list[TaskView] = []

    def feed(self, reply: Reply) -> Iterator[bytes]:
        match reply:
            case RunView():
                first = self._run is None
                self._run = reply
                if first and self._recorded:
                    told = render_runs.recorded(reply, self._style)[:-1]
                    yield page([*render_diff.announced(reply, self._style), *told])
                if self._shows_progress:
                    yield render_runs.progress(reply, self._style)
            case TaskPage():
                self._failed += render_tasks.bad_tasks(reply.tasks, self._failed)
            case _:
                pass

    def end(self) -> Iterator[bytes]:
        if self._run is None:
            return
        if self._shows_progress:
            yield b"\r\x1b[K"
        yield page(render_tasks.summary(self._run, self._failed, self._style))
