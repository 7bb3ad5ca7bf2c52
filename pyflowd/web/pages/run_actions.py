"""What can be done to a run: forms with what each will do and its command, and the questions that wait. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from pyflowd.protocol.views_runs import ApprovalView, RunView, TaskView
from pyflowd.render.layout import clean
from pyflowd.web.pages import acts
from pyflowd.web.pages.acts import Act
from pyflowd.web.pages.selection import Selected
from pyflowd.web.pages.why import keeps
from pyflowd.web.pages.words import answers_itself, quoted
from pyflowd.web.times import Times, When, counted


class Question(Struct, frozen=True, kw_only=True):
    """An approval that waits."""

    task: str
    message: str
    since: When | None
    choices: list[str]
    default: str
    note: str
    """Who may answer, and what happens when nobody does."""
    refusal: str
    """Why whoever looks may not answer; empty: they may."""
    command: str


def actions(run: RunView, tasks: Sequence[TaskView], selected: Selected, cause: TaskView | None) -> list[Act]:
    """The main one first; what is destructive never is."""
    if run.state in ("queued", "running"):
        return [*_stop_task(run, selected), acts.cancel(run.run, run.workflow, again=bool(run.stopping))]
    found: list[Act] = []
    bad = run.state in ("failed", "cancelled")
    start = cause if bad and cause is not None else selected.task
    if start is not None and not start.section:
        found.append(_rerun_from(run, tasks, start, main=bad and cause is not None))
    if bad and len([task for task in tasks if task.state in ("failed", "cancelled", "upstream_failed")]) > 1:
        found.append(acts.rerun_failed(run.run, run.workflow))
    every = "the task" if run.tasks_total == 1 else f"all {counted(run.tasks_total, 'task')}"
    found.append(replace(acts.rerun_all(run.run, run.workflow), do=f"Rerun {every}", css="" if found else "main"))
    if run.state == "failed":
        found.append(acts.seen(run.run) if run.seen_us is None else acts.unseen(run.run))
    return found


def _rerun_from(run: RunView, tasks: Sequence[TaskView], start: TaskView, *, main: bool) -> Act:
    kept = keeps(start, tasks)
    held = f"{counted(len(kept), 'task')} {'keeps its result' if len(kept) == 1 else 'keep their results'}"
    name = start.of if start.item is not None and start.of else start.task
    made = acts.rerun_from(run.run, run.workflow, name, held if kept else "nothing is kept")
    return replace(made, css="main" if main else "")


def _stop_task(run: RunView, selected: Selected) -> list[Act]:
    node = selected.node or selected.task
    if node is None or node.state not in ("running", "retrying", "queued") or run.stopping or run.tasks_total < 2:
        return []
    return [acts.cancel_task(run.run, node.task)]


def questions(run: RunView, approvals: Sequence[ApprovalView], times: Times) -> list[Question]:
    found = []
    for each in approvals:
        if each.run != run.run:
            continue
        who = ", ".join(clean(allowed) for allowed in each.allow) or "whoever may operate"
        note = f"May be answered by {who}" + (
            f", but not by {clean(each.requested_by)}" if each.forbid_requester else ""
        )
        if each.due_us is not None:
            note += f". Without an answer it {answers_itself(each.on_timeout)} {times.text(each.due_us)}"
        choose = f" --choose {quoted(each.choices[0])}" if each.choices else ""
        found.append(
            Question(
                task=each.task, message=clean(each.message), since=times.when(each.since_us), choices=each.choices,
                default=each.default or "", note=f"{note}.", refusal=clean(each.refusal),
                command=f"pyflowctl approve {run.run} {quoted(each.task)}{choose}",
            )
        )  # fmt: skip
    return found
