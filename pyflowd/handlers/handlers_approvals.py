"""Requests about approvals: what waits for an answer, and answers. See `handlers` for when what is done."""

from __future__ import annotations

from collections.abc import Iterator

from pyflowd.base.peer import Peer
from pyflowd.clock import US
from pyflowd.control.replies import Replies
from pyflowd.engine.state import TaskRun
from pyflowd.errors import Forbidden, NotFound, Refused
from pyflowd.handlers.access import Sight
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.model.kinds import Approval
from pyflowd.model.states import TaskState
from pyflowd.protocol.requests import AnswerApproval, ListApprovals
from pyflowd.protocol.views_runs import AnswerView, ApprovalPage, ApprovalView
from pyflowd.runtime.inside import InsideTasks, may_answer
from pyflowd.runtime.live import LiveRun

PAGE = 200
COMMENT_MAX = 1000


class ApprovalHandlers:
    """As `Handlers`: acts when called, answers when pulled."""

    def __init__(self, of_runs: RunHandlers, inside: InsideTasks) -> None:
        self.of_runs = of_runs
        self.access = of_runs.access
        self.audit = of_runs.audit
        self.runs = of_runs.runs
        self.inside = inside

    def waiting(self, sight: Sight, workflow: str | None = None) -> list[ApprovalView]:
        """What waits for an answer, the oldest run first; of the workflows that are seen."""
        live = self.runs.of_workflow.get(workflow, []) if workflow is not None else list(self.runs.live.values())
        return [_view(each, task, sight) for each in live if sight.sees(each.meta.workflow) for task in _waiting(each)]

    def list_approvals(self, _: ListApprovals, peer: Peer) -> Replies:
        found = self.waiting(self.access.sight(peer))
        for at in range(0, max(1, len(found)), PAGE):
            yield ApprovalPage(approvals=found[at : at + PAGE])

    def answer(self, request: AnswerApproval, peer: Peer) -> Replies:
        live = self._live(request)
        task = self.of_runs.node(live, request.task)
        kind = task.definition.kind
        if not isinstance(kind, Approval) or task.fan is not None:
            asks = ", ".join(each.name for each in _waiting(live)) or "no task of it"
            raise Refused(f"{request.task} of run {live.meta.run} is no approval; {asks} waits for an answer")
        refusal = may_answer(kind, live.meta.requested_by, peer.name, peer.group_names)
        if refusal:
            raise Forbidden(f"{peer.name} may not answer {request.task} of run {live.meta.run}: {refusal}")
        if len(request.comment) > COMMENT_MAX:
            raise Refused(f"the comment has {len(request.comment)} characters; {COMMENT_MAX} are taken: shorten it")
        self.audit.about(live.meta.workflow, live.meta.run)
        self.inside.answer(live, task, peer.name, request.comment, request.choice, approve=request.approve)
        return self._answered(live, task, request, peer)

    def _answered(self, live: LiveRun, task: TaskRun, request: AnswerApproval, peer: Peer) -> Replies:
        choice = (task.outputs or {}).get("choice") if request.approve else None
        yield AnswerView(
            run=live.meta.run, workflow=live.meta.workflow, task=task.name, approved=request.approve, by=peer.name,
            comment=request.comment, choice=choice,
        )  # fmt: skip

    def _live(self, request: AnswerApproval) -> LiveRun:
        """The run that is meant: of a workflow's name the newest in which the task waits."""
        if request.run:
            return self.of_runs.live(request.run)
        found = self.runs.of_workflow.get(request.workflow, [])
        if not found:
            self.of_runs.newest_live(request.workflow)  # says why there is none
        for live in reversed(found):
            if any(task.name == request.task for task in _waiting(live)):
                return live
        asked = sorted({task.name for live in found for task in _waiting(live)})
        if not asked:
            raise Refused(f"no run of {request.workflow} waits for an answer")
        raise NotFound(
            f"no {request.task} of {request.workflow} waits for an answer; {', '.join(asked[:5])} "
            f"{'does' if len(asked) == 1 else 'do'}"
        )


def _waiting(live: LiveRun) -> Iterator[TaskRun]:
    """The approvals of a run that have been asked for and not been answered."""
    for task in live.by_index:
        if isinstance(task.definition.kind, Approval) and task.state is TaskState.RUNNING and task.fan is None:
            yield task


def _refusal(live: LiveRun, kind: Approval, sight: Sight) -> str:
    if not sight.operates(live.meta.workflow):
        return f"you may not operate {live.meta.workflow}"
    return may_answer(kind, live.meta.requested_by, sight.peer.name, sight.peer.group_names)


def _view(live: LiveRun, task: TaskRun, sight: Sight) -> ApprovalView:
    kind = task.definition.kind
    assert isinstance(kind, Approval)
    since_us = task.attempt.started_us if task.attempt else live.meta.created_us
    timeout_s = kind.timeout_s if kind.timeout_s is not None else task.definition.timeout_s
    return ApprovalView(
        run=live.meta.run, workflow=live.meta.workflow, task=task.name,
        message=str((task.facts or {}).get("message", "")), since_us=since_us, requested_by=live.meta.requested_by,
        choices=list(kind.choices), default=kind.default, allow=list(kind.allow),
        forbid_requester=kind.forbid_requester, due_us=None if timeout_s is None else since_us + round(timeout_s * US),
        on_timeout=kind.on_timeout if timeout_s is not None else "", refusal=_refusal(live, kind, sight),
    )  # fmt: skip
