"""The state of a run, and the named moves by which its tasks change. Pure data; what leads to a move is in `engine`.

A node (`TaskRun`) is a task of the definition, an item of a fan-out, or the undoing of one. The first kind is there
from the beginning, numbered in the order of the definition; the others are added by events, numbered as they come, so
the same events always give the same numbers.

A task moves by named moves only, and the table below has all of them:

    waiting ── ready ──► queued ── start ──► running ── succeed | fail | cancel | skip ──► (terminal)
       │                   ▲  ▲                │  │
       │                   │  └──── again ─────┘  └── retry ──► retrying
       │                   └────────────────────────── ready ──────┘
       ├── expand ──► running: a fan-out, until its items have ended
       └── skip | block | keep | fail | succeed ──► (terminal)       cancel ends whatever is not running
"""

from __future__ import annotations

import heapq
from collections import deque
from enum import StrEnum
from typing import Any, NamedTuple

from pyflowd.engine.outcomes import Outcome, Stopping
from pyflowd.events import KeptItem, RunCreated
from pyflowd.model.ends import End, KeptFile
from pyflowd.model.kinds import Approval, Call, Notify, Wait
from pyflowd.model.states import TASK_TERMINAL, AttemptState, Reason, RunState, Section, TaskState
from pyflowd.model.workflow import Task, Workflow, sections

S = TaskState

MOVES: dict[str, dict[TaskState, TaskState]] = {
    "ready": {S.WAITING: S.QUEUED, S.RETRYING: S.QUEUED},
    "start": {S.QUEUED: S.RUNNING},
    "expand": {S.WAITING: S.RUNNING},
    "succeed": {S.RUNNING: S.SUCCEEDED, S.WAITING: S.SUCCEEDED},
    "fail": {S.RUNNING: S.FAILED, S.WAITING: S.FAILED, S.QUEUED: S.FAILED},
    "retry": {S.RUNNING: S.RETRYING},
    "again": {S.RUNNING: S.QUEUED},
    "skip": {S.WAITING: S.SKIPPED, S.RUNNING: S.SKIPPED},
    "block": {S.WAITING: S.UPSTREAM_FAILED},
    "cancel": {
        S.WAITING: S.CANCELLED,
        S.QUEUED: S.CANCELLED,
        S.RETRYING: S.CANCELLED,
        S.RUNNING: S.CANCELLED,
    },
    "keep_succeeded": {S.WAITING: S.SUCCEEDED},
    "keep_skipped": {S.WAITING: S.SKIPPED},
}


class IllegalEvent(Exception):
    """The event cannot happen in the run's present state: a fault of the caller. Nothing was changed."""


# ---- Effects: what must be done about a step ------------------------------------------------------------------------


class StopAttempt(NamedTuple):
    """Run the stop sequence of rule R5; a grace of 0 kills at once."""

    task: str
    attempt: int
    grace_s: float


class WakeTask(NamedTuple):
    """Feed RetryDue after `delay_s`."""

    task: str
    delay_s: float


class Question(StrEnum):
    CONDITION = "condition"
    ITEMS = "items"
    REPEAT = "repeat"
    CACHE = "cache"
    OUTPUTS = "outputs"


class Decide(NamedTuple):
    """Evaluate an expression of the definition and feed what it came to, in the same transaction."""

    question: Question
    task: str
    """Empty: of the run as a whole."""


class WatchHandlers(NamedTuple):
    """Feed HandlersTimedOut when the budget of the section of handlers that has begun is used up."""


Effect = StopAttempt | WakeTask | Decide | WatchHandlers


# ---- Nodes ----------------------------------------------------------------------------------------------------------


class Attempt:
    """One try. `outcome` is None until it ends."""

    __slots__ = ("boot_id", "called", "end", "epoch", "number", "outcome", "pid", "started_us", "state")

    def __init__(self, number: int, epoch: str, boot_id: str) -> None:
        self.number = number
        self.epoch = epoch
        """The keeper's life that was to start it."""
        self.boot_id = boot_id
        """Of a `reboot` task: the boot of the host that it is to end."""
        self.state = AttemptState.STARTING
        self.pid = 0
        self.called = 0
        """The run that it waits for."""
        self.started_us = 0
        self.end: End | None = None
        self.outcome: Outcome | None = None


class Keep(NamedTuple):
    """What a success is kept under, beside the names of workflow, task and item."""

    key: str
    recipe: str
    """Hash of what the task runs."""


class Item(NamedTuple):
    """What makes a node an item of a fan-out."""

    key: str
    value: Any
    position: int


class Fan:
    """The items of a fan-out that has been expanded."""

    __slots__ = ("failed", "items", "max_failures", "open", "released", "stopped", "waiting")

    def __init__(self, max_failures: float) -> None:
        self.items: list[TaskRun] = []
        self.waiting: deque[TaskRun] = deque()
        """Items that have not been released: so that no more than `max_parallel` are under way."""
        self.released = 0
        self.open = 0
        self.failed = 0
        self.max_failures = max_failures
        self.stopped = False
        """No further item starts."""


class TaskRun:
    """A node, with what its join needs: how many direct parents are open, and how the others ended."""

    __slots__ = (
        "artifacts", "attempt", "attempts", "bad", "children", "deciding", "definition", "error", "error_open",
        "facts", "fan", "first_mono_us", "holds_host", "holds_run", "index", "item", "keep", "name", "ok",
        "open_parents", "outputs", "owner", "passes", "reason", "released", "retry_us", "section", "settled", "shared",
        "short", "skipped", "state", "stop_reason", "stopping", "tried",
    )  # fmt: skip

    def __init__(self, index: int, definition: Task, section: Section) -> None:
        self.index = index
        self.definition = definition
        self.name = definition.name
        self.section = section
        self.state = S.WAITING
        self.reason: Reason | None = None
        self.error = ""
        self.facts: dict[str, Any] | None = None
        """The values that its `if` used (rule J4); what else is to be said of it."""
        self.children: list[TaskRun] = []
        self.open_parents = len(definition.needs)
        self.ok = 0
        self.skipped = 0
        self.bad = 0
        self.attempt: Attempt | None = None
        self.attempts = 0
        self.tried = 0
        """Attempts that count against `retry.attempts`: lost ones (rule R6) and those that `short` counts do not."""
        self.short = 0
        """Attempts in a row that could not start, as the host was short of something."""
        self.passes = 0
        """Of a `repeat`: those that succeeded."""
        self.first_mono_us = 0
        self.retry_us: int | None = None
        self.outputs: dict[str, Any] | None = None
        """None: absent (rule J6)."""
        self.artifacts: dict[str, KeptFile] = {}
        self.keep: Keep | None = None
        """Set where its success may be used again by a later run."""
        self.fan: Fan | None = None
        self.item: Item | None = None
        self.owner: TaskRun | None = None
        """Of an item its fan-out; of an `on_error` task or an undoing the task that it is for."""
        self.released = False
        """Of an item: whether it has one of the `max_parallel` places of its fan-out."""
        self.error_open = 0
        """`on_error` tasks of this one that are under way: its children are told when they have ended (rule H4)."""
        self.deciding: Question | None = None
        self.stopping = Stopping.NO
        """Set where this node alone is stopped."""
        self.stop_reason = Reason.CANCELLED
        self.settled = 0
        """When it became terminal, as a number that grows; 0: it has not."""
        kind = definition.kind
        self.holds_run = not isinstance(kind, (Approval, Wait, Notify))
        """Whether an attempt takes one of the run's `max_parallel` places (rule R7)."""
        self.holds_host = self.holds_run and not isinstance(kind, Call)
        """Whether an attempt takes one of the host's `max_tasks` places."""
        self.shared = bool(definition.locks or definition.pools)
        """Whether an attempt takes places that runs share: who is next among all of them is decided elsewhere."""

    @property
    def home(self) -> Section:
        """The section in whose time it runs: of an `on_error` task, also of its items, that of the task that failed."""
        return self.owner.home if self.section is Section.ON_ERROR and self.owner else self.section

    @property
    def log_name(self) -> str:
        """Safe as part of a file name: the task's, and for an item its position."""
        return f"{self.definition.name}~{self.item.position}" if self.item else self.definition.name


class Run:
    """The state of one run: made by `begin`, changed by `engine.step` only."""

    __slots__ = (
        "active", "by_index", "cancel_reason", "cancelled", "cancels", "created_us", "ended_us", "error", "first_bad",
        "free", "gate", "gate_us", "handler_bad", "held", "kept", "open", "outcome", "outputs", "queued", "ready",
        "reason", "refused", "run_id", "section", "section_us", "settled", "started_mono_us", "started_us", "state",
        "stopping", "tasks", "timed_out", "workflow",
    )  # fmt: skip

    def __init__(self, run_id: int, workflow: Workflow, created: RunCreated) -> None:
        self.run_id = run_id
        self.workflow = workflow
        self.state = RunState.QUEUED
        self.reason: Reason | None = None
        self.error = ""
        self.created_us = created.at_us
        self.started_us: int | None = None
        self.started_mono_us = 0
        self.ended_us: int | None = None
        self.kept = created
        """What is taken over from another run."""
        self.section = Section.TASKS
        """Which section is at work (rule H1)."""
        self.section_us = 0
        """Since when; 0 for the tasks."""
        self.outcome: RunState | None = None
        """What the tasks came to, known when they have ended (rule H1)."""
        self.outputs: dict[str, Any] | None = None
        self.stopping = Stopping.NO
        """Whether the present section is being stopped."""
        self.cancels = 0
        """Cancels that were accepted in the present section."""
        self.cancelled = False
        self.timed_out = False
        self.cancel_reason = Reason.CANCELLED
        self.by_index: list[TaskRun] = []
        self.tasks: dict[str, TaskRun] = {}
        self.gate = ""
        """Why it has not started: which of its gates was closed when last looked at."""
        self.gate_us = 0
        """When one of its gates was first found closed; 0: never."""
        self.refused: tuple[Reason, str] | None = None
        """Why its tasks were not let begin at all."""
        self.queued = 0
        """How many tasks have been queued."""
        self.ready: list[tuple[int, int, TaskRun]] = []
        """Heap of queued tasks: by priority, then in the order in which they became eligible. It may hold tasks that
        are no longer queued (see `next_ready`), and has none that take shared places."""
        self.free: deque[TaskRun] = deque()
        """The same, of those that need no place."""
        self.active = 0
        """Tasks that hold a place of the run: `running` ones."""
        self.held = 0
        """Of those, the ones that hold a place of the host."""
        self.settled = 0
        """How many nodes have become terminal."""
        self.first_bad: TaskRun | None = None
        """Of the tasks."""
        self.handler_bad: dict[Section, TaskRun] = {}
        """The first of each section of handlers that went wrong."""
        for section, tasks in sections(workflow):
            for task in tasks:
                self.add(task, section)
        for owner in list(self.by_index):
            for task in owner.definition.on_error:
                self.add(task, Section.ON_ERROR, owner)
        for node in self.by_index:
            for need in node.definition.needs:
                self.tasks[need].children.append(node)
        self.open = len(workflow.tasks)
        """Nodes of the present section that are not terminal; items count in their fan-out only."""

    def add(self, task: Task, section: Section, owner: TaskRun | None = None, name: str = "") -> TaskRun:
        """A further node."""
        node = TaskRun(len(self.by_index), task, section)
        if name:
            node.name = name
        node.owner = owner
        self.by_index.append(node)
        self.tasks[node.name] = node
        return node

    def next_ready(self, *, host_has_place: bool) -> TaskRun | None:
        """The task to start next, if there is a place for it; it stays in the queue."""
        self._drop_started()
        if self.free:
            return self.free[0]
        if self.ready and self.active < self.workflow.max_parallel:
            first = self.ready[0][2]
            return first if host_has_place or not first.holds_host else None
        return None

    def urgency(self) -> int | None:
        """The priority of the task to start next; None: none is queued here."""
        self._drop_started()
        if self.ready:
            return -self.ready[0][0]
        return self.workflow.priority if self.free else None

    def _drop_started(self) -> None:
        """Tasks at the heads of the queues that are no longer queued."""
        while self.free and self.free[0].state is not S.QUEUED:
            self.free.popleft()
        while self.ready and self.ready[0][2].state is not S.QUEUED:
            heapq.heappop(self.ready)

    def kept_items(self, task: str) -> list[KeptItem]:
        return self.kept.items.get(task, [])


class Step(NamedTuple):
    """What one event led to: nodes whose state changed (in order), effects, whether the run's state changed."""

    changed: list[TaskRun]
    effects: list[Effect]
    run_changed: bool


class Turn:
    """One step under way: what it has changed so far, and which ends have still to reach the children."""

    __slots__ = ("changed", "effects", "run", "run_changed", "settled")

    def __init__(self, run: Run) -> None:
        self.run = run
        self.changed: list[TaskRun] = []
        self.effects: list[Effect] = []
        self.run_changed = False
        self.settled: deque[TaskRun] = deque()

    def move(self, task: TaskRun, name: str, reason: Reason | None = None, error: str = "") -> None:
        """Apply one named move of the table, with what follows from it for the run's counts."""
        run = self.run
        before = task.state
        after = MOVES[name].get(before)
        if after is None:
            raise IllegalEvent(f'run {run.run_id}, task "{task.name}": cannot {name} while {before}')
        task.state, task.reason, task.error = after, reason, error
        if task.fan is None:
            if before is S.RUNNING:
                run.active -= task.holds_run
                run.held -= task.holds_host
            if after is S.RUNNING:
                run.active += task.holds_run
                run.held += task.holds_host
        if after is S.QUEUED:
            self._queue(task)
        elif after in TASK_TERMINAL:
            self._settle(task)
        self.changed.append(task)

    def _queue(self, task: TaskRun) -> None:
        run = self.run
        if task.shared:
            return
        if task.holds_run:
            run.queued += 1
            heapq.heappush(run.ready, (-task.definition.priority, run.queued, task))
        else:
            run.free.append(task)

    def _settle(self, task: TaskRun) -> None:
        run = self.run
        run.settled += 1
        task.settled = run.settled
        task.deciding = None
        self.settled.append(task)
        if task.item is not None and task.section is not Section.UNDO:
            return  # it counts in its fan-out
        run.open -= 1
        if task.state is S.SKIPPED or counts_as_ok(task):
            return
        if task.home is Section.TASKS:
            run.first_bad = run.first_bad or task
        else:
            run.handler_bad.setdefault(task.home, task)


def counts_as_ok(task: TaskRun) -> bool:
    """Whether a terminal task's effective state is `succeeded` (rules S6, J3)."""
    return task.state is S.SUCCEEDED or (task.state is S.FAILED and task.definition.continue_on_error)
