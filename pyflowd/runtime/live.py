"""A run that has not ended, with what its launches have in common."""

from __future__ import annotations

from typing import NamedTuple

from pyflowd.base import zones
from pyflowd.base.timers import Timer
from pyflowd.base.zones import Zone
from pyflowd.clock import US
from pyflowd.engine.holdings import Place, Sort, Want
from pyflowd.engine.state import Run, TaskRun
from pyflowd.model.kinds import Approval, Call, Notify, Wait
from pyflowd.model.workflow import Task, Workflow, all_tasks
from pyflowd.runtime import context, launch
from pyflowd.store.batch import RunMeta

PRIORITY_US = 60 * US
"""What a point of priority is worth: somebody else comes first who has waited so much longer."""


class Offer(NamedTuple):
    """A run has something to start: since when (boot time), and how urgent it is."""

    since_us: int
    priority: int


class LiveRun:
    """Made when a run is recorded, or rebuilt; gone from `Runs` when it has ended."""

    __slots__ = (
        "_with_secrets", "admitted", "caller", "common_env", "facts", "gate_due_us", "handlers_timer", "log_bytes",
        "meta", "needs_no_host", "offer", "run", "timer", "users", "want", "wants", "workflow",
    )  # fmt: skip

    def __init__(self, meta: RunMeta, run: Run, zone: Zone) -> None:
        self.meta = meta
        self.run = run
        self.workflow: Workflow = run.workflow
        self.facts = context.Facts(meta, run, context.zone_of(run.workflow, meta.slot_trigger, zone.info, zones.zone))
        self.common_env = launch.run_environment(
            run.workflow,
            launch.Binding(run=meta.run, workflow=meta.workflow, values=meta.params, scheduled_us=meta.slot_us),
        )
        self.users = frozenset(task.user or run.workflow.user or "" for _, task in all_tasks(run.workflow))
        """Those that its tasks name; empty text: some name none."""
        self.needs_no_host = any(
            isinstance(node.definition.kind, Call | Approval | Wait | Notify) for node in run.by_index
        )
        """Whether some of its tasks can start while the host is full."""
        self.want = _want_of_run(run.workflow, self.facts)
        """Places that it holds from its start to its end; None: none."""
        self.wants: dict[str, Want] = {}
        """Those of its tasks' attempts, by task."""
        self._with_secrets: dict[str, bool] = {}
        self.caller: tuple[LiveRun, TaskRun] | None = None
        """The task that waits for it."""
        self.admitted = False
        """Whether it has got past the overlap rule: it runs, or waits for places or gates only."""
        self.gate_due_us: int | None = None
        """Boot time until which it waits for its gates; None: none was found closed since the daemon began."""
        self.log_bytes = 0
        self.offer: Offer | None = None
        """Where it stands in the queue for places of the host; None: it does not."""
        self.timer: Timer | None = None
        self.handlers_timer: Timer | None = None

    @property
    def by_index(self) -> list[TaskRun]:
        return self.run.by_index

    def may_have_secrets(self, task: Task) -> bool:
        """Whether an attempt of `task` may be given secrets; quickly, as most are not."""
        known = self._with_secrets.get(task.name)
        if known is None:
            texts = (*self.workflow.env.values(), *task.env.values())
            known = bool(task.credentials) or any("secrets" in text for text in texts)
            self._with_secrets[task.name] = known
        return known

    def want_of(self, task: Task) -> Want:
        """The places that an attempt of `task` takes."""
        want = self.wants.get(task.name)
        if want is None:
            locks = [(Place(Sort.LOCK, name), 1) for name in task.locks]
            pools = [(Place(Sort.POOL, name), units) for name, units in task.pools.items()]
            want = self.wants[task.name] = Want(tuple(sorted(locks + pools)))
        return want


def _want_of_run(workflow: Workflow, facts: context.Facts) -> Want | None:
    concurrency = workflow.concurrency
    units = [(Place(Sort.LOCK, name), 1) for name in workflow.locks]
    if concurrency is not None:
        units.append((Place(Sort.GROUP, context.group(workflow, facts.meta, facts.zone)), 1))
    return Want(tuple(sorted(units)), concurrency.limit if concurrency else 1) if units else None
