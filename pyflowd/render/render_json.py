"""Replies as JSON: the shapes that scripts may rely on (design, section 5; pyflowctl(1), JSON OUTPUT).

Fields are only ever added. Times are RFC 3339 with the offset of the reader's zone and all microseconds. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pyflowd.language.definition_text import readable, texts_of
from pyflowd.model.problem import Problem
from pyflowd.protocol.views_host import (
    HealthView,
    HolderView,
    HostView,
    NotificationView,
    PlaceView,
    SecretAnswer,
    SecretView,
    VersionView,
)
from pyflowd.protocol.views_runs import (
    AnswerView,
    ApprovalView,
    ArtifactView,
    BackfillView,
    CacheView,
    ClearedView,
    EventView,
    RunView,
    TaskView,
)
from pyflowd.protocol.views_workflows import DefinitionView, GraphView, NextView, PlanView, SlotView, WorkflowView
from pyflowd.render.layout import Style, iso

Object = dict[str, Any]
encode = msgspec.json.encode


def run(view: RunView, style: Style) -> Object:
    """A run without its tasks."""
    return {
        "run": view.run,
        "workflow": view.workflow,
        "state": view.state,
        "reason": view.reason,
        "error": view.error or None,
        "trigger": view.trigger or None,
        "params": view.params,
        "created_at": iso(view.created_us, style),
        "started_at": iso(view.started_us, style),
        "ended_at": iso(view.ended_us, style),
        "scheduled_at": iso(view.scheduled_us, style),
        "requested_by": view.requested_by or None,
        "rerun_of": view.rerun_of,
        "digest": view.digest or None,
        "stopping": view.stopping or None,
        "waits_for": view.waits_for,
        "why_queued": view.why_queued or None,
        "section": view.section or None,
        "outcome": view.outcome or None,
        "parent": None if view.parent is None else {"run": view.parent, "task": view.parent_task},
        "backfill": view.backfill,
        "seen_by": view.seen_by or None,
        "seen_at": iso(view.seen_us, style),
    }


def whole_run(view: RunView, style: Style) -> Object:
    """The same, with what it gave to its caller and what started it."""
    return {**run(view, style), "outputs": view.outputs, "event": view.event}


def recorded(view: RunView) -> Object:
    """The acknowledgement of a run."""
    told = {"definition_diff": view.definition_diff} if view.definition_diff else {}
    return {"run": view.run, "workflow": view.workflow, **told}


def task(view: TaskView, style: Style) -> Object:
    return {
        "state": view.state,
        "reason": view.reason,
        "error": view.error or None,
        "exit_code": view.exit_code,
        "signal": view.signal,
        "attempts": view.attempts,
        "started_at": iso(view.started_us, style),
        "ended_at": iso(view.ended_us, style),
        "retry_at": iso(view.retry_us, style),
        "why_queued": view.why_queued or None,
        "outputs": view.outputs,
        "cpu_s": view.cpu_s,
        "max_rss_bytes": view.max_rss_bytes,
        "needs": view.needs,
        "attempts_max": view.attempts_max,
        "allowed": view.allowed,
        **_what_it_is(view),
        **({"counts": view.items} if view.fan_out else {}),
        **({"pass": view.pass_number, "passes_max": view.passes_max} if view.passes_max else {}),
    }


def _what_it_is(view: TaskView) -> Object:
    """What a task says of itself beside its state; a handler has its section, and what it is for."""
    of_handler = {"section": view.section, "of": view.of or None} if view.section else {}
    return {
        "kind": view.kind or None,
        "user": view.user or None,
        "values": view.values,
        "artifacts": {
            name: {"size_bytes": kept.size_bytes, "sha256": kept.sha256} for name, kept in view.artifacts.items()
        },
        "called_runs": view.called_runs,
        **of_handler,
        **({"key": view.item} if view.item is not None else {}),
    }


def item(view: TaskView, style: Style) -> Object:
    """An item of a fan-out: as a task, with its key first, without what all items have in common."""
    common = ("needs", "attempts_max", "passes_max", "allowed", "kind", "user", "section", "of", "key")
    own = {name: value for name, value in task(view, style).items() if name not in common}
    return {"key": view.item, "task": view.task, **own}


def approval(view: ApprovalView, style: Style) -> Object:
    return {
        "run": view.run,
        "workflow": view.workflow,
        "task": view.task,
        "message": view.message,
        "since": iso(view.since_us, style),
        "until": iso(view.due_us, style),
        "on_timeout": view.on_timeout or None,
        "requested_by": view.requested_by or None,
        "choices": view.choices,
        "default": view.default,
        "allow": view.allow,
        "forbid_requester": view.forbid_requester,
    }


def answer(view: AnswerView) -> Object:
    return {
        "run": view.run,
        "workflow": view.workflow,
        "task": view.task,
        "approved": view.approved,
        "by": view.by,
        "comment": view.comment,
        "choice": view.choice,
    }


def artifact(view: ArtifactView) -> Object:
    return {
        "run": view.run,
        "task": view.task,
        "name": view.name,
        "attempt": view.attempt,
        "size_bytes": view.size_bytes,
        "sha256": view.sha256,
    }


def cache_entry(view: CacheView, style: Style) -> Object:
    return {
        "workflow": view.workflow,
        "task": view.task,
        "item": view.item,
        "key": view.key,
        "run": view.run,
        "made_at": iso(view.made_us, style),
        "expires_at": iso(view.expires_us, style),
    }


def cleared(view: ClearedView) -> Object:
    return {"workflow": view.workflow, "task": view.task, "cleared": view.entries}


def workflow(view: WorkflowView, style: Style) -> Object:
    return {
        "workflow": view.workflow,
        "state": view.state,
        "file": view.file,
        "description": view.description,
        "schedules": view.schedules,
        "events": view.events,
        "next_at": iso(view.next_us, style),
        "paused_by": view.paused_by or None,
        "live_runs": view.live_runs,
        "tasks": view.tasks_total,
        "last": None if view.last is None else run(view.last, style),
        "problems": [problem(found) for found in view.problems],
        "disabled": view.disabled,
        "approvals": [approval(waiting, style) for waiting in view.approvals],
    }


def problem(found: Problem) -> Object:
    return {
        "file": found.file,
        "line": found.line,
        "column": found.column,
        "severity": found.severity.value,
        "code": found.code,
        "message": found.message,
        "fix": found.fix,
    }


def host(view: HostView, style: Style) -> Object:
    return {
        "version": view.version,
        "pid": view.pid,
        "started_at": iso(view.started_us, style),
        "now": iso(view.now_us, style),
        "root": view.root,
        "workflows": view.workflows,
        "succeeded_24h": view.succeeded_24h,
        "failed_24h": view.failed_24h,
        "running": [run(item, style) for item in view.running],
        "queued": [run(item, style) for item in view.queued],
        "failed": [run(item, style) for item in view.failed],
        "next": [next_slot(item, style) for item in view.next],
        "problems": [problem(item) for item in view.problems],
        "warnings": view.warnings,
        "approvals": [approval(item, style) for item in view.approvals],
        "backfills": [backfill(item, style) for item in view.backfills],
    }


def definition(view: DefinitionView, style: Style) -> Object:
    """`parts` is empty where the text is that of one file."""
    parts = texts_of(view.text)
    return {
        **workflow(view.view, style),
        "file": view.file,
        "digest": view.digest,
        "loaded_at": iso(view.loaded_us, style),
        "in_force": view.in_force,
        "users": view.users,
        "text": readable(view.text),
        "parts": [
            {"file": part.label, "role": part.role, "text": part.data.decode("utf-8", "replace")} for part in parts
        ]
        if len(parts) > 1
        else [],
        "params": [
            {
                "name": param.name,
                "type": param.type,
                "required": param.required,
                "default": param.default,
                "description": param.description or None,
            }
            for param in view.declared
        ],
        "outputs": view.outputs,
        "handlers": view.handlers,
        **({} if view.origin is None else {"origin": msgspec.to_builtins(view.origin)}),
    }


def graph(view: GraphView) -> Object:
    return {
        "title": view.title,
        "tasks": [_node(node) for node in view.tasks],
        "handlers": [*map(_node, view.handlers)],
    }


def _node(view: TaskView) -> Object:
    return {
        "task": view.task,
        "state": view.state or None,
        "needs": view.needs,
        "kind": view.kind or None,
        **({"counts": view.items} if view.fan_out else {}),
        **({"section": view.section, "of": view.of or None} if view.section else {}),
    }


def plan(view: PlanView) -> Object:
    return {
        "workflow": view.workflow,
        "params": view.params,
        "tasks": [_planned(planned, view) for planned in view.tasks],
        "handlers": [_planned(planned, view) for planned in view.handlers],
        "outputs": view.outputs,
        "warnings": [problem(item) for item in view.warnings],
        "notes": view.notes,
    }


def _planned(task: TaskView, view: PlanView) -> Object:
    return {
        "task": task.task,
        "needs": task.needs,
        "command": view.commands.get(task.task),
        "kind": task.kind or None,
        "user": task.user or None,
        "if": task.condition or None,
        "fan_out": task.fan_out or None,
        "repeat": task.repeat or None,
        "cache": task.cache or None,
        **({"section": task.section, "of": task.of or None} if task.section else {}),
    }


def next_slot(view: NextView, style: Style) -> Object:
    at = iso(view.scheduled_us, style)
    return {"workflow": view.workflow, "trigger": view.trigger, "scheduled_at": at, "timezone": view.timezone or None}


def slot(view: SlotView, style: Style) -> Object:
    return {
        "workflow": view.workflow,
        "trigger": view.trigger,
        "scheduled_at": iso(view.scheduled_us, style),
        "fate": view.fate.value,
        "reason": view.reason,
        "run": view.run,
        "detail": view.detail,
    }


def event(view: EventView, style: Style) -> Object:
    return {
        "event": view.event,
        "at": iso(view.at_us, style),
        "type": view.type,
        "run": view.run,
        "workflow": view.workflow or None,
        "task": view.task or None,
        "attempt": view.attempt,
        "text": view.text,
    }


def notification(view: NotificationView, style: Style) -> Object:
    return {
        "notification": view.notification,
        "id": view.id,
        "channel": view.channel,
        "state": view.state,
        "subject": view.subject,
        "created_at": iso(view.created_us, style),
        "tries": view.tries,
        "next_at": iso(view.next_us, style),
        "ended_at": iso(view.ended_us, style),
        "error": view.error or None,
        "workflow": view.workflow or None,
        "run": view.run,
    }


def backfill(view: BackfillView, style: Style) -> Object:
    return {
        "backfill": view.backfill or None,
        "workflow": view.workflow,
        "trigger": view.trigger,
        "state": view.state,
        "from": iso(view.from_us, style),
        "until": iso(view.until_us, style),
        "total": view.total,
        "waiting": view.waiting,
        "live": view.live,
        "succeeded": view.succeeded,
        "failed": view.failed,
        "cancelled": view.cancelled,
        "refused": view.refused,
        "error": view.error or None,
        "why_waiting": view.why_waiting or None,
        "parallel": view.parallel,
        "newest_first": view.newest_first,
        "only_missing": view.only_missing,
        "left_out": view.left_out,
        "params": view.params,
        "requested_by": view.requested_by or None,
        "created_at": iso(view.created_us, style),
        "cancelled_by": view.cancelled_by or None,
        "ended_at": iso(view.ended_us, style),
        **({"slots": [iso(at_us, style) for at_us in view.slots]} if view.state == "planned" else {}),
    }


def place(view: PlaceView) -> Object:
    return {
        "place": view.sort,
        "name": view.name,
        "size": view.size,
        "used": view.used,
        "holders": [{**_holder(each), "units": each.units} for each in view.holders],
        "waiting": [_holder(each) for each in view.waiting],
        "waiting_total": view.waiting_total,
    }


def _holder(view: HolderView) -> Object:
    return {"run": view.run or None, "workflow": view.workflow, "task": view.task}


def secret(view: SecretView, style: Style) -> Object:
    return {
        "secret": view.name,
        "provider": view.provider,
        "changed_at": iso(view.changed_us, style),
        "changed_by": view.changed_by or None,
        "version": view.version,
        "hidden": view.hidden,
        "workflows": view.workflows,
    }


def secret_answer(reply: SecretAnswer) -> Object:
    return {
        "action": reply.action,
        "secret": reply.name or None,
        "version": reply.version or None,
        "count": reply.count if reply.action == "rekeyed" else None,
        "notes": reply.notes,
    }


def health(view: HealthView) -> Object:
    return {"checks": [{"level": level, "subject": subject, "found": found} for level, subject, found in view.checks]}


def version(view: VersionView) -> Object:
    return {"daemon": {"version": view.version, "protocol": view.protocol, "pid": view.pid}}
