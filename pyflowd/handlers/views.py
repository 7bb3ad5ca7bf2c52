"""From rows of the store, and from definitions, to the views of the protocol. Pure but for the rows it is given.

Tasks have a module of their own, `view_tasks`; what events say is in `sentences`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from typing import Any, assert_never

import msgspec

from pyflowd.model.kinds import Approval, Argv, Call, File, Http, Kind, Notify, Python, Reboot, Shell, Ssh, Uses, Wait
from pyflowd.model.states import RUN_TERMINAL, Fate, Reason, RunState, TaskState
from pyflowd.model.workflow import Param, Workflow, sections
from pyflowd.protocol.figures import OutcomeView
from pyflowd.protocol.views_runs import RunView
from pyflowd.protocol.views_workflows import ParamView, SlotView
from pyflowd.store.store import Row, Store

_params = msgspec.msgpack.Decoder(dict[str, object])
RUNNING_SHOWN = 5


def run_view(row: Row) -> RunView:
    """One run without its tasks, from the columns of `run` in reads.sql."""
    (
        run, workflow, state, reason, error, trigger, params, created_us, started_us, ended_us, scheduled_us,
        requested_by, rerun_of, digest, tasks_total, parent, parent_task, section, outputs, backfill,
        seen_by, seen_us,
    ) = row  # fmt: skip
    return RunView(
        run=run, workflow=workflow, state=state, reason=reason, error=error, trigger=trigger,
        params=_params.decode(params), created_us=created_us, started_us=started_us, ended_us=ended_us,
        scheduled_us=scheduled_us, requested_by=requested_by, rerun_of=rerun_of, digest=digest,
        tasks_total=tasks_total, parent=parent, parent_task=parent_task or "", section=section,
        outcome=_outcome(state, reason), outputs={} if outputs is None else _params.decode(outputs),
        backfill=backfill, seen_by=seen_by, seen_us=seen_us,
    )  # fmt: skip


def _outcome(state: str, reason: str | None) -> str:
    """What the tasks of an ended run came to: the handlers can only have made it worse (rule H2)."""
    if state not in RUN_TERMINAL:
        return ""
    spoilt = reason in (Reason.HANDLER_FAILED, Reason.FINALLY_FAILED)
    return RunState.SUCCEEDED.value if spoilt else state


def outcome_view(row: Row) -> OutcomeView:
    """A run in short, from the columns of `outcomes` in reads.sql."""
    run, state, reason, trigger, created_us, started_us, ended_us, scheduled_us = row
    return OutcomeView(
        run=run, state=state, reason=reason, trigger=trigger, created_us=created_us, started_us=started_us,
        ended_us=ended_us, scheduled_us=scheduled_us,
    )  # fmt: skip


def counted(view: RunView, store: Store, running: Iterable[str] = ()) -> RunView:
    """The same with the number of tasks in each state; a fan-out counts as one."""
    counts: dict[str, int] = dict(store.rows("task_counts", view.run, view.tasks_total))
    waiting = view.tasks_total - sum(counts.values())
    if waiting:
        counts[TaskState.WAITING] = waiting
    return msgspec.structs.replace(view, counts=counts, running=list(running))


def param_view(param: Param) -> ParamView:
    return ParamView(
        name=param.name, type=param.type, required=param.required, default=param.default,
        description=param.description, enum=None if param.enum is None else list(param.enum), minimum=param.minimum,
        maximum=param.maximum, pattern=param.pattern or "", items=param.items or "",
        item_pattern=param.item_pattern or "",
    )  # fmt: skip


def handler_names(workflow: Workflow) -> dict[str, list[str]]:
    """Section to the names of its tasks."""
    found = {section.value: [task.name for task in tasks] for section, tasks in sections(workflow) if section}
    return {section: names for section, names in found.items() if names}


def slot_view(row: Row) -> SlotView:
    workflow, trigger, scheduled_us, fate, reason, run, detail = row
    return SlotView(
        workflow=workflow, trigger=trigger, scheduled_us=scheduled_us, fate=Fate(fate), reason=reason, run=run,
        detail=detail,
    )  # fmt: skip


def command_text(kind: Kind) -> str:
    """What a task would do, for people; expressions as they are written."""
    match kind:
        case Shell():
            return kind.text
        case Argv():
            return shlex.join(kind.argv)
        case Python():
            return kind.function + _written(kind.arguments)
        case File():
            return kind.operation + _written(kind.arguments)
        case Uses():
            return f"plugin {kind.plugin}" + _written(kind.arguments)
        case Ssh():
            where = f"{kind.user}@{kind.host}" if kind.user else kind.host
            return f"on {where}:\n{kind.script}"
        case Reboot():
            by = f" by {shlex.join(kind.command)}" if kind.command else ""
            return f"restart of the host{by}, within {kind.within_s:g} s"
        case Http():
            return f"{kind.method} {kind.url}"
        case Call():
            return f"run of {kind.workflow}" + _written(kind.arguments) + ("" if kind.wait else ", not waited for")
        case Approval():
            return kind.message
        case Wait():
            return f"until {kind.until or kind.condition}" if kind.for_s is None else f"for {kind.for_s:g} s"
        case Notify():
            return f"to {kind.channel}: {kind.text}"
        case _:
            assert_never(kind)


def _written(arguments: dict[str, Any]) -> str:
    return " " + msgspec.json.encode(arguments).decode() if arguments else ""
