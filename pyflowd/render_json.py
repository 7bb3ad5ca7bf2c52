"""Replies as JSON: the shapes that scripts may rely on (design, section 5; pyflowctl(1), JSON OUTPUT).

Fields are only ever added. Times are RFC 3339 with the offset of the reader's zone and all microseconds. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pyflowd.layout import Style, iso
from pyflowd.model import Problem
from pyflowd.protocol import (
    DefinitionView,
    EventView,
    GraphView,
    HealthView,
    HostView,
    NextView,
    PlanView,
    RunView,
    SlotView,
    TaskView,
    VersionView,
    WorkflowView,
)

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
    }


def recorded(view: RunView) -> Object:
    """The acknowledgement of a run."""
    return {"run": view.run, "workflow": view.workflow}


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
        "outputs": view.outputs,
        "cpu_s": view.cpu_s,
        "max_rss_bytes": view.max_rss_bytes,
        "needs": view.needs,
        "attempts_max": view.attempts_max,
        "allowed": view.allowed,
    }


def workflow(view: WorkflowView, style: Style) -> Object:
    return {
        "workflow": view.workflow,
        "state": view.state,
        "file": view.file,
        "description": view.description,
        "schedules": view.schedules,
        "next_at": iso(view.next_us, style),
        "paused_by": view.paused_by or None,
        "live_runs": view.live_runs,
        "tasks": view.tasks_total,
        "last": None if view.last is None else run(view.last, style),
        "problems": [problem(found) for found in view.problems],
        "disabled": view.disabled,
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
    }


def definition(view: DefinitionView, style: Style) -> Object:
    return {
        **workflow(view.view, style),
        "file": view.file,
        "digest": view.digest,
        "loaded_at": iso(view.loaded_us, style),
        "text": view.text.decode("utf-8", "replace"),
    }


def graph(view: GraphView) -> Object:
    tasks = [{"task": item.task, "state": item.state or None, "needs": item.needs} for item in view.tasks]
    return {"title": view.title, "tasks": tasks}


def plan(view: PlanView) -> Object:
    return {
        "workflow": view.workflow,
        "params": view.params,
        "tasks": [
            {"task": item.task, "needs": item.needs, "command": view.commands.get(item.task)} for item in view.tasks
        ],
        "warnings": [problem(item) for item in view.warnings],
        "notes": view.notes,
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


def health(view: HealthView) -> Object:
    return {"checks": [{"level": level, "subject": subject, "found": found} for level, subject, found in view.checks]}


def version(view: VersionView) -> Object:
    return {"daemon": {"version": view.version, "protocol": view.protocol, "pid": view.pid}}
