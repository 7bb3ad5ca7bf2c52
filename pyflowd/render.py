"""Replies to bytes: a renderer takes the replies to one request in order and yields what is to be printed.

Nothing is collected that may be large: a run of 10,000 tasks comes as pages and leaves as pages. Pure: no printing,
no clock. What the pieces look like is the business of `render_runs`, `render_host`, `render_graph`, `render_json`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from pyflowd import render_graph, render_host, render_json, render_runs
from pyflowd.commandline import Invocation
from pyflowd.errors import PyflowError, Refused
from pyflowd.layout import Cell, Style, Table, clean, dim, page, zone_text
from pyflowd.protocol import (
    DefinitionView,
    EventPage,
    Failure,
    GraphView,
    HealthView,
    HostView,
    NextPage,
    PlanView,
    Reply,
    RunPage,
    RunView,
    SlotPage,
    TaskPage,
    TaskView,
    VersionView,
    WorkflowPage,
)

__all__ = ["Renderer", "Style", "error_line", "render_all", "renderer"]


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
        return _json_renderer(invocation.command, style)
    if invocation.command in ("pause", "resume"):
        return PausedWorkflow(style)
    if invocation.command == "next" and invocation.words.arguments:
        return NextOf(invocation.words.arguments[0], style)
    return StatusRun(style) if invocation.command == "status" and invocation.words.arguments else Text(style)


def _json_renderer(command: str, style: Style) -> Renderer:
    match command:
        case "status":
            return JsonRun(style)
        case "list" | "history" | "next" | "slots" | "reload":
            return JsonArray(style)
        case "events":
            return JsonLines(style)
        case _:
            return JsonValues(style, whole_run=command == "cancel")


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
                return render_runs.recorded(reply, style) if self._recorded else render_runs.answered(reply, style)
            case DefinitionView():
                return render_host.definition(reply, style)
            case GraphView():
                return render_graph.graph(reply, style)
            case PlanView():
                return render_runs.plan(reply, style)
            case NextPage():
                return render_host.next_slots(reply.slots, style)
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
            case SlotPage():
                return self._rows(render_host.slot_rows(reply.slots, style), None, (3,), "no slots")
            case EventPage():
                return self._rows(render_host.event_rows(reply.events, style), None, (2,), "no events")
            case WorkflowPage():
                self._foot = []
                rows = render_host.workflow_rows(reply.workflows, style)
                lines = self._rows(rows, render_host.workflow_header(), (4, 6, 7), "no workflows")
                return lines + render_host.workflow_problems(reply, style)
            case _:
                return []  # TaskPage: only renderers of runs show tasks

    def _rows(
        self, rows: list[list[Cell]], header: list[Cell] | None, droppable: tuple[int, ...], none: str
    ) -> list[str]:
        """Rows of a page; the first has the header, and the zone of the times is said at the end."""
        if not rows:
            return [none] if none and self._table is None else []
        first = self._table is None
        if self._table is None:
            self._table = Table(self._style, droppable, indent=0)
            self._foot = [dim(zone_text(self._style), self._style)]
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
        self._table = render_runs.task_table(style)
        self._run: RunView | None = None
        self._first_failed: TaskView | None = None

    def feed(self, reply: Reply) -> Iterator[bytes]:
        style = self._style
        match reply:
            case RunView():
                self._run = reply
                yield page([render_runs.head(reply, style), *render_runs.facts(reply, style), ""])
            case TaskPage():
                self._first_failed = self._first_failed or render_runs.first_failed(reply.tasks)
                yield page(self._table.lines(render_runs.task_rows(reply.tasks, style)))
            case _:
                pass

    def end(self) -> Iterator[bytes]:
        if self._run is not None and (lines := render_runs.hints(self._run, self._first_failed, self._style)):
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
                    yield page(render_runs.recorded(reply, self._style)[:-1])
                if self._shows_progress:
                    yield render_runs.progress(reply, self._style)
            case TaskPage():
                self._failed += render_runs.bad_tasks(reply.tasks)
            case _:
                pass

    def end(self) -> Iterator[bytes]:
        if self._run is None:
            return
        if self._shows_progress:
            yield b"\r\x1b[K"
        yield page(render_runs.summary(self._run, self._failed, self._style))


# ---- JSON -----------------------------------------------------------------------------------------------------------


class JsonValues:
    """One value for a reply that stands alone."""

    def __init__(self, style: Style, *, whole_run: bool = False) -> None:
        self._style = style
        self._whole_run = whole_run

    def feed(self, reply: Reply) -> Iterator[bytes]:
        value = self._value(reply)
        if value is not None:
            yield render_json.encode(value) + b"\n"

    def end(self) -> Iterator[bytes]:
        return iter(())

    def _value(self, reply: Reply) -> Any:
        match reply:
            case RunView():
                return render_json.run(reply, self._style) if self._whole_run else render_json.recorded(reply)
            case DefinitionView():
                return render_json.definition(reply, self._style)
            case GraphView():
                return render_json.graph(reply)
            case PlanView():
                return render_json.plan(reply)
            case HealthView():
                return render_json.health(reply)
            case VersionView():
                return render_json.version(reply)
            case WorkflowPage():  # of `pause` and `resume`: the one
                return render_json.workflow(reply.workflows[0], self._style) if reply.workflows else None
            case _:
                return None


def _items(reply: Reply, style: Style) -> Iterator[bytes]:
    """The elements of a page, encoded."""
    encoded: Callable[[Any], bytes] = render_json.encode
    match reply:
        case WorkflowPage():
            return (encoded(render_json.workflow(view, style)) for view in reply.workflows)
        case RunPage():
            return (encoded(render_json.run(view, style)) for view in reply.runs)
        case NextPage():
            return (encoded(render_json.next_slot(view, style)) for view in reply.slots)
        case SlotPage():
            return (encoded(render_json.slot(view, style)) for view in reply.slots)
        case EventPage():
            return (encoded(render_json.event(view, style)) for view in reply.events)
        case _:
            return iter(())


class JsonArray:
    """One array of all elements of all pages."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._begun = False

    def feed(self, reply: Reply) -> Iterator[bytes]:
        if text := b",\n".join(_items(reply, self._style)):
            yield (b",\n" if self._begun else b"[") + text
            self._begun = True

    def end(self) -> Iterator[bytes]:
        yield b"]\n" if self._begun else b"[]\n"


class JsonLines:
    """One element a line, for streams."""

    def __init__(self, style: Style) -> None:
        self._style = style

    def feed(self, reply: Reply) -> Iterator[bytes]:
        if text := b"\n".join(_items(reply, self._style)):
            yield text + b"\n"

    def end(self) -> Iterator[bytes]:
        return iter(())


class JsonRun:
    """The host, or a run with its tasks in one object: of several RunViews the last before the tasks counts."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._run: RunView | None = None
        self._begun = False
        self._tasks = 0

    def feed(self, reply: Reply) -> Iterator[bytes]:
        match reply:
            case HostView():
                yield render_json.encode(render_json.host(reply, self._style)) + b"\n"
            case RunView():
                self._run = reply
            case TaskPage():
                yield from self._begin()
                yield b"".join(self._task(view) for view in reply.tasks)
            case _:
                pass

    def end(self) -> Iterator[bytes]:
        yield from self._begin()
        if self._begun:
            yield b"}}\n"

    def _begin(self) -> Iterator[bytes]:
        if self._run is not None and not self._begun:
            self._begun = True
            yield render_json.encode(render_json.run(self._run, self._style))[:-1] + b',"tasks":{'

    def _task(self, view: TaskView) -> bytes:
        separator = b",\n" if self._tasks else b""
        self._tasks += 1
        value = render_json.encode(render_json.task(view, self._style))
        return separator + render_json.encode(view.task) + b":" + value
