"""Forms that change runs and workflows, from whichever page they stand on.

What was refused is told on that page (`app`, for every form); what was done is told by the daemon's reply (rule I7).
"""

from __future__ import annotations

from starlette.responses import Response

from pyflowd.errors import UsageError
from pyflowd.protocol.requests import AnswerApproval, CancelRun, MarkSeen, PauseWorkflow, RerunRun
from pyflowd.protocol.views_runs import AnswerView, RunView
from pyflowd.protocol.views_workflows import WorkflowPage
from pyflowd.protocol.words import Level
from pyflowd.web.call import Call
from pyflowd.web.drawing import link_to
from pyflowd.web.numbers import whole
from pyflowd.web.routes import Kind, Route


def run_number(call: Call) -> int:
    """Of the path. Raises UsageError."""
    text = call.path["run"]
    number = whole(text)
    if number is None:
        raise UsageError(f'"{text[:40]}" is no run: runs have numbers')
    return number


def is_on(call: Call, name: str) -> bool:
    """A checkbox, or a hidden field with a value."""
    return call.field(name) not in ("", "0", "no")


def cancel(call: Call) -> Response:
    """With a task only this one; a second time kills at once (rule R5)."""
    view = call.one(RunView, CancelRun(run=run_number(call), task=call.field("task")))
    note = " ".join(view.notes)
    return call.back(
        f"Recorded: run {view.run} of {view.workflow} is being cancelled" if not note else f"Recorded: {note}"
    )


def rerun(call: Call) -> Response:
    view = call.one(
        RunView,
        RerunRun(
            run=run_number(call), from_task=call.field("from_task") or None, failed_only=is_on(call, "failed_only"),
            latest=is_on(call, "latest"),
        ),
    )  # fmt: skip
    return call.go(link_to("runs", view.run), f"Recorded as run {view.run}, a rerun of run {view.rerun_of}")


def answer(call: Call, approve: bool) -> Response:
    request = AnswerApproval(
        run=run_number(call), task=call.field("task"), approve=approve, comment=call.field("comment"),
        choice=call.field("choice") or None,
    )  # fmt: skip
    view = call.one(AnswerView, request)
    word = "approved" if view.approved else "rejected"
    return call.back(f"Recorded: {view.task} of run {view.run} is {word} by {view.by}")


def approve(call: Call) -> Response:
    return answer(call, True)


def reject(call: Call) -> Response:
    return answer(call, False)


def seen(call: Call) -> Response:
    """`seen` is "no" to take it back."""
    view = call.one(RunView, MarkSeen(run=run_number(call), seen=call.field("seen") != "no"))
    if not view.seen_by:
        return call.back(f"Recorded: run {view.run} of {view.workflow} is to be looked at again")
    return call.back(f"Recorded: {view.seen_by} has seen that run {view.run} of {view.workflow} failed")


def pause(call: Call) -> Response:
    return _paused(call, True)


def resume(call: Call) -> Response:
    return _paused(call, False)


def _paused(call: Call, paused: bool) -> Response:
    name = call.path["name"]
    call.one(WorkflowPage, PauseWorkflow(workflow=name, paused=paused))
    return call.back(
        f"Recorded: {name} is paused, its schedules start nothing" if paused else f"Recorded: {name} is resumed"
    )


ROUTES = [
    Route("/runs/{run}/cancel", cancel, Kind.ACTION, Level.OPERATE, "POST"),
    Route("/runs/{run}/rerun", rerun, Kind.ACTION, Level.OPERATE, "POST"),
    Route("/runs/{run}/approve", approve, Kind.ACTION, Level.OPERATE, "POST"),
    Route("/runs/{run}/reject", reject, Kind.ACTION, Level.OPERATE, "POST"),
    Route("/runs/{run}/seen", seen, Kind.ACTION, Level.OPERATE, "POST"),
    Route("/workflows/{name}/pause", pause, Kind.ACTION, Level.OPERATE, "POST"),
    Route("/workflows/{name}/resume", resume, Kind.ACTION, Level.OPERATE, "POST"),
]
