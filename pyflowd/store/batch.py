"""The writes of one turn, in order, until they are committed together.

A batch is a list of named statements with their bindings and nothing else, so a commit that met a full disk can be
made again from it. It keeps the fold (rows) beside the truth (events): each method writes what one fact changes.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from pyflowd.engine.outcomes import Outcome
from pyflowd.engine.state import Run, TaskRun
from pyflowd.events import AttemptRunning, HostEvent, RunCreated, RunEnded, StoredEvent, TaskSettled
from pyflowd.model.ends import CallEnd, Exit
from pyflowd.model.states import TASK_TERMINAL, AttemptState, Fate, Reason, TaskState

_encode = msgspec.msgpack.Encoder().encode
_NOT_DONE = (Reason.KEPT, Reason.NOT_ASKED)
"""Of tasks that this run has nothing to do with."""
_NEVER_US = (1 << 63) - 1
"""Greatest integer of SQLite."""
Value = str | bytes | int | float | None


class RunMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is bound to from its beginning; nothing of it ever changes."""

    run: int
    workflow: str
    digest: str
    trigger: str
    params: dict[str, object] = {}
    requested_by: str = ""
    key: str = ""
    rerun_of: int | None = None
    scheduled_us: int | None = None
    created_us: int = 0
    parent: int | None = None
    """The run whose task called this one, with that task's name."""
    parent_task: str = ""
    depth: int = 0
    backfill: int | None = None
    """That asked for this run, of the slot `scheduled_us`."""
    event: dict[str, object] | None = None
    """What started it, where that was an event (`event` in expressions)."""
    of_slot_us: int | None = None
    """Of a rerun; kept in its RunCreated."""
    of_trigger: str = ""

    @property
    def slot_us(self) -> int | None:
        """The nominal time that the run is for: its own slot's, or that of the run that it repeats."""
        return self.of_slot_us if self.scheduled_us is None else self.scheduled_us

    @property
    def slot_trigger(self) -> str:
        """The trigger of that slot, or what else started the run."""
        return self.of_trigger or self.trigger


class SlotSkipped(NamedTuple):
    """A slot that started nothing; a row of the ledger, and no event."""

    workflow: str
    trigger: str
    scheduled_us: int
    reason: str
    because_of_run: int | None
    detail: str


class Fact(NamedTuple):
    """What the commit makes true, for those who tell of it. `number`: the event's; 0 for what is none."""

    number: int
    run: int | None
    event: StoredEvent | SlotSkipped
    outcome: Outcome | None = None
    """Of an attempt that ended."""


class Moved(NamedTuple):
    """A task that ended, or waits for another try, for those who count. Of a fan-out it is each item."""

    workflow: str
    state: TaskState
    took_us: int | None = None
    """What its last attempt took; None: it had none."""


class Batch:
    """Writes waiting for one commit."""

    __slots__ = ("facts", "moved", "next_event", "writes")

    def __init__(self, next_event: int) -> None:
        self.writes: list[tuple[str, tuple[Value, ...]]] = []
        self.facts: list[Fact] = []
        self.moved: list[Moved] = []
        self.next_event = next_event

    def add(self, name: str, *bindings: Value) -> None:
        """One statement of `writes.sql`."""
        self.writes.append((name, bindings))

    def event(self, run: int | None, event: StoredEvent, outcome: Outcome | None = None) -> None:
        at_us = event.started_us if isinstance(event, AttemptRunning) else event.at_us
        self.add("event", self.next_event, run, at_us, _encode(event))
        self.facts.append(Fact(self.next_event, run, event, outcome))
        self.next_event += 1

    def host_event(self, event: HostEvent) -> None:
        self.event(None, event)

    def run_created(self, meta: RunMeta, created: RunCreated, state: str, tasks_total: int) -> None:
        self.add(
            "run_create", meta.run, meta.workflow, meta.digest, state, meta.trigger, _encode(meta.params),
            meta.requested_by, meta.key, meta.rerun_of, meta.scheduled_us, meta.created_us, tasks_total, meta.parent,
            meta.parent_task or None, meta.depth, meta.backfill,
        )  # fmt: skip
        if meta.event is not None:
            self.add("run_event", meta.run, _encode(meta.event))
        self.event(meta.run, created)

    def run_state(self, run: Run) -> None:
        outputs = _encode(run.outputs) if run.outputs else None
        self.add(
            "run_state", run.state, run.reason, run.error, run.started_us, run.ended_us, run.section, outputs,
            run.run_id,
        )  # fmt: skip
        if run.ended_us is not None:
            self.event(run.run_id, RunEnded(run.ended_us, run.state, run.reason, run.error))

    def task_changed(self, run: Run, task: TaskRun, at_us: int) -> None:
        """The row of a task that moved; when it settled without an attempt ending, that is a fact of its own."""
        attempt, item = task.attempt, task.item
        place = (
            task.section, task.owner.index if task.owner else None, item.key if item else None,
            item.position if item else None,
        )  # fmt: skip
        given = (_encode(task.outputs) if task.outputs else None, _encode(task.facts) if task.facts else None)
        if attempt is not None and attempt.outcome is not None and attempt.number == task.attempts:
            outcome, end = attempt.outcome, attempt.end
            usage = end.usage if isinstance(end, Exit) else None
            ended_us = end.ended_us if isinstance(end, (Exit, CallEnd)) else at_us
            self.add(
                "task_attempt_ended", run.run_id, task.index, task.name, task.state, task.reason, task.error,
                task.attempts, task.retry_us, outcome.exit_code, outcome.signal, attempt.started_us, ended_us,
                usage.cpu_us if usage else None, (usage.max_rss_bytes or None) if usage else None, *place, *given,
            )  # fmt: skip
            self._artifacts(run, task)
            self._keep(run, task, ended_us)
            again = task.state is TaskState.RETRYING and outcome.state is not AttemptState.SUCCEEDED
            if again or task.state in TASK_TERMINAL:
                self.moved.append(Moved(run.workflow.name, task.state, ended_us - attempt.started_us))
            return
        started_us = attempt.started_us if attempt else None
        self.add(
            "task", run.run_id, task.index, task.name, task.state, task.reason, task.error, task.attempts,
            task.retry_us, started_us, *place, *given,
        )  # fmt: skip
        self._artifacts(run, task)
        if task.state in TASK_TERMINAL:
            self.event(run.run_id, TaskSettled(task.name, at_us, task.state, task.reason))
            if task.fan is None and task.reason not in _NOT_DONE:
                self.moved.append(Moved(run.workflow.name, task.state))

    def _artifacts(self, run: Run, task: TaskRun) -> None:
        for name, file in task.artifacts.items():
            self.add(
                "artifact", run.run_id, task.index, name, task.attempts, file.size_bytes, file.sha256,
                file.run or run.run_id, file.folder or task.log_name,
            )  # fmt: skip

    def _keep(self, run: Run, task: TaskRun, made_us: int) -> None:
        """A success that later runs may use again, in the place of an older one."""
        cache, keep = task.definition.cache, task.keep
        if cache is None or keep is None or task.state is not TaskState.SUCCEEDED:
            return
        expires_us = min(_NEVER_US, made_us + round(cache.ttl_s * 1_000_000))
        self.add(
            "cache", run.workflow.name, task.definition.name, task.item.key if task.item else "", keep.key, keep.recipe,
            run.run_id, task.index, made_us, expires_us,
        )  # fmt: skip

    def attempt_started(self, run: Run, task: TaskRun, epoch: str, at_us: int) -> None:
        self.add("attempt_start", run.run_id, task.index, task.attempts, "starting", epoch, at_us)

    def attempt_running(self, run: Run, task: TaskRun, pid: int, started_us: int) -> None:
        self.add("attempt_running", "running", pid, started_us, run.run_id, task.index, task.attempts)

    def attempt_ended(self, run: Run, task: TaskRun, at_us: int) -> None:
        attempt = task.attempt
        assert attempt is not None
        assert attempt.outcome is not None
        outcome, end = attempt.outcome, attempt.end
        usage = end.usage if isinstance(end, Exit) else None
        self.add(
            "attempt_end", outcome.state, outcome.reason, outcome.error, outcome.exit_code, outcome.signal,
            end.started_us if isinstance(end, (Exit, CallEnd)) else None,
            end.ended_us if isinstance(end, (Exit, CallEnd)) else at_us,
            usage.cpu_us if usage else None, (usage.max_rss_bytes or None) if usage else None,
            end.leftovers if isinstance(end, Exit) else 0, run.run_id, task.index, attempt.number,
        )  # fmt: skip

    def slot(
        self,
        workflow: str,
        trigger: str,
        scheduled_us: int,
        fate: Fate,
        reason: str | None,
        run: int | None,
        detail: str = "",
    ) -> None:
        """Rule T1: the slot's row, and the trigger's cursor with it."""
        self.add("slot", workflow, trigger, scheduled_us, fate, reason, run, detail)
        self.add("trigger", workflow, trigger, scheduled_us)
        if reason is not None:
            self.facts.append(Fact(0, None, SlotSkipped(workflow, trigger, scheduled_us, reason, run, detail)))
