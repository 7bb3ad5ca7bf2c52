"""Replies to JSON, as they come: one value, an array, a value a line, or a run in one object. Pure.

Nothing is collected that may be large. The shapes of the values are in `render_json`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pyflowd.protocol.tokens import TokenCreated, TokenPage, TokenView
from pyflowd.protocol.views import Reply
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
    SecretView,
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
    render_diff,
    render_events,
    render_explain,
    render_json,
    render_tokens,
    render_upkeep,
)
from pyflowd.render.layout import Style


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
            case AnswerView():
                return render_json.answer(reply)
            case ClearedView():
                return render_json.cleared(reply)
            case BackfillView():
                return render_json.backfill(reply, self._style)
            case ExplanationView():
                return render_explain.explanation_json(reply, self._style)
            case HookView():
                return render_events.hook_object(reply)
            case HealthView():
                return render_json.health(reply)
            case VersionView():
                return render_json.version(reply)
            case WorkflowPage():  # of `pause` and `resume`: the one
                return render_json.workflow(reply.workflows[0], self._style) if reply.workflows else None
            case SecretAnswer():
                return render_json.secret_answer(reply)
            case BackupView():
                return render_upkeep.backup_object(reply)
            case StoreCheckView():
                return render_upkeep.store_check_object(reply)
            case TokenCreated():
                return render_tokens.created_record(reply, self._style)
            case TokenView():
                return render_tokens.record(reply, self._style)
            case DrainView():
                return render_upkeep.drain_object(reply, self._style)
            case NotificationPage():  # of `notify`: the one
                return render_json.notification(reply.notifications[0], self._style) if reply.notifications else None
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
        case ChangePage():
            return (encoded(render_diff.change(view, style)) for view in reply.changes)
        case NextPage():
            return (encoded(render_json.next_slot(view, style)) for view in reply.slots)
        case FiringPage():
            return (encoded(render_events.firing_object(view, style)) for view in reply.firings)
        case SlotPage():
            return (encoded(render_json.slot(view, style)) for view in reply.slots)
        case ApprovalPage():
            return (encoded(render_json.approval(view, style)) for view in reply.approvals)
        case ArtifactPage():
            return (encoded(render_json.artifact(view)) for view in reply.artifacts)
        case CachePage():
            return (encoded(render_json.cache_entry(view, style)) for view in reply.entries)
        case EventPage():
            return (encoded(render_json.event(view, style)) for view in reply.events)
        case TokenPage():
            return (encoded(render_tokens.record(view, style)) for view in reply.tokens)
        case AuditPage():
            return (encoded(render_audit.record(view, style)) for view in reply.records)
        case PlacePage():
            return (encoded(render_json.place(view)) for view in reply.places)
        case BackfillPage():
            return (encoded(render_json.backfill(view, style)) for view in reply.backfills)
        case NotificationPage():
            return (encoded(render_json.notification(view, style)) for view in reply.notifications)
        case _:
            return iter(())


class JsonLast(JsonValues):
    """The last of several values: what has come of a wait."""

    def __init__(self, style: Style) -> None:
        super().__init__(style)
        self._last = b""

    def feed(self, reply: Reply) -> Iterator[bytes]:
        self._last = b"".join(super().feed(reply)) or self._last
        return iter(())

    def end(self) -> Iterator[bytes]:
        yield self._last


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


class JsonSecrets:
    """One object with all names, and what is to be said of providers."""

    def __init__(self, style: Style) -> None:
        self._style = style
        self._views: list[SecretView] = []
        self._notes: list[str] = []

    def feed(self, reply: Reply) -> Iterator[bytes]:
        if isinstance(reply, SecretPage):
            self._views += reply.secrets
            self._notes += reply.notes
        return iter(())

    def end(self) -> Iterator[bytes]:
        shown = [render_json.secret(view, self._style) for view in self._views]
        yield render_json.encode({"secrets": shown, "notes": self._notes}) + b"\n"


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
    """The host, or a run with its tasks in one object: of several RunViews the last before the tasks counts.

    Pages hold tasks, each followed by its items, and then handlers: `tasks` and `handlers` are two objects, and the
    items of a fan-out are an array at the end of its own.
    """

    def __init__(self, style: Style) -> None:
        self._style = style
        self._run: RunView | None = None
        self._members = ""
        """The object that is open."""
        self._count = 0
        self._items: int | None = None
        """How many items of the fan-out that is open have come; None: none is open."""

    def feed(self, reply: Reply) -> Iterator[bytes]:
        match reply:
            case HostView():
                yield render_json.encode(render_json.host(reply, self._style)) + b"\n"
            case RunView():
                self._run = reply
            case TaskPage():
                yield self._begin() + b"".join(self._task(view) for view in reply.tasks)
            case _:
                pass

    def end(self) -> Iterator[bytes]:
        begin = self._begin()
        if self._members:
            yield begin + self._close_items() + self._open("handlers") + b"}}\n"

    def _begin(self) -> bytes:
        if self._run is None or self._members:
            return b""
        self._members = "tasks"
        return render_json.encode(render_json.whole_run(self._run, self._style))[:-1] + b',"tasks":{'

    def _open(self, members: str) -> bytes:
        """Close the object before, if it is another one."""
        if members == self._members:
            return b""
        self._members, self._count = members, 0
        return b'},"%s":{' % members.encode()

    def _task(self, view: TaskView) -> bytes:
        if view.item is not None and self._items is not None and view.section != "undo":
            self._items += 1
            separator = b",\n" if self._items > 1 else b""
            return separator + render_json.encode(render_json.item(view, self._style))
        said = self._close_items() + self._open("handlers" if view.section else "tasks")
        separator = b",\n" if self._count else b""
        self._count += 1
        value = render_json.encode(render_json.task(view, self._style))
        said += separator + render_json.encode(view.task) + b":" + value
        if view.fan_out:
            self._items = 0
            said = said[:-1] + b',"items":['
        return said

    def _close_items(self) -> bytes:
        if self._items is None:
            return b""
        self._items = None
        return b"]}"
