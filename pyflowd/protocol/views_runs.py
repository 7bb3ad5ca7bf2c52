"""What is said of runs: their tasks, approvals, artifacts, events, backfills, why they stand as they do.

Fields are only added, with a default.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from pyflowd.model.ends import KeptFile


class RunView(Struct, frozen=True, kw_only=True, tag="run"):
    run: int
    workflow: str
    state: str
    reason: str | None = None
    error: str = ""
    """The facts behind the reason, for people."""
    trigger: str = ""
    """`manual`, `rerun`, or the name of the trigger that fired."""
    params: dict[str, Any] = field(default_factory=dict)
    created_us: int = 0
    started_us: int | None = None
    ended_us: int | None = None
    scheduled_us: int | None = None
    requested_by: str = ""
    rerun_of: int | None = None
    digest: str = ""
    """SHA-256 of the text that the run is bound to (rule D1)."""
    tasks_total: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    """Task state to number of tasks; states with none are left out."""
    running: list[str] = field(default_factory=list)
    """Names of running tasks, a few of them, for a progress line."""
    stopping: str = ""
    """`cancel` or `timeout` while a live run is being stopped."""
    waits_for: int | None = None
    """Of a queued run: the oldest live run of its workflow, where that is what it waits for."""
    why_queued: str = ""
    """What else a queued run waits for: places that others hold, a gate that is closed."""
    notes: list[str] = field(default_factory=list)
    """What whoever asked for the run should know, such as that a newer text of the workflow is refused."""
    definition_diff: str = ""
    """Of `rerun` with `latest`: how the text differs from that of the old run, shortened (rule D1)."""
    section: str = ""
    """Which handlers are at work, or were at the end: `on_failure`, `undo`, `finally`, ...; empty: the tasks."""
    outcome: str = ""
    """What the tasks came to, as soon as they have ended (rule H1)."""
    outputs: dict[str, Any] = field(default_factory=dict)
    parent: int | None = None
    """The run whose task `parent_task` called this one."""
    parent_task: str = ""
    backfill: int | None = None
    """That asked for it."""
    event: dict[str, Any] | None = None
    """What started it, where that was an event and it is asked for one run; one that is large is left out."""
    seen_by: str = ""
    """Who has taken note that it failed."""
    seen_us: int | None = None


class RunPage(Struct, frozen=True, kw_only=True, tag="runs"):
    runs: list[RunView]


class TaskView(Struct, frozen=True, kw_only=True):
    task: str
    state: str
    reason: str | None = None
    error: str = ""
    exit_code: int | None = None
    signal: int | None = None
    attempts: int = 0
    started_us: int | None = None
    """Of the newest attempt, read just before the spawn."""
    ended_us: int | None = None
    retry_us: int | None = None
    """While `retrying`: when the next attempt is due."""
    cpu_s: float | None = None
    """Of the newest attempt (see model.Usage); while it runs, sampled."""
    max_rss_bytes: int | None = None
    """None: not known, as of a task that never needed more than about 10 MiB (see model.Usage)."""
    outputs: dict[str, Any] = field(default_factory=dict)
    needs: list[str] = field(default_factory=list)
    attempts_max: int = 1
    """Tries that its `retry` allows."""
    pass_number: int = 0
    """Of a `repeat`: the pass that the newest attempt is, or was; 0: none has begun."""
    passes_max: int = 0
    """0: it is not repeated."""
    allowed: bool = False
    """It may fail: its `continue_on_error` is on (rule S6)."""
    kind: str = ""
    """The key of the file: `run`, `http`, `approval`, ..."""
    user: str = ""
    """As whom its process runs, or would now; empty: it has none."""
    section: str = ""
    """Of a handler: `on_error`, `on_success`, `on_failure`, `on_cancel`, `undo`, `finally`."""
    of: str = ""
    """Of an item its fan-out; of an `on_error` task or an undoing the task or item that it is for."""
    item: str | None = None
    """The key of an item, or of the item that is undone."""
    position: int | None = None
    """Of an item, in its list."""
    fan_out: str = ""
    """Of a fan-out: how its items come to be."""
    items: dict[str, int] = field(default_factory=dict)
    """Of a fan-out whose items are known: their states, and how many are in each."""
    values: dict[str, Any] = field(default_factory=dict)
    """What its condition used, and what else it says of itself, such as the `message` of an approval."""
    artifacts: dict[str, KeptFile] = field(default_factory=dict)
    called_runs: list[int] = field(default_factory=list)
    choices: list[str] = field(default_factory=list)
    """Of an approval."""
    condition: str = ""
    """Its `if`; like `repeat` and `cache` said of what has not run: in graphs and plans."""
    repeat: str = ""
    cache: str = ""
    why_queued: str = ""
    """What a queued task waits for, and who has it."""
    trigger_rule: str = ""
    """Rule J3, where it is not `all_ok`."""


class TaskPage(Struct, frozen=True, kw_only=True, tag="tasks"):
    """Tasks of the run whose RunView came before, in the order of the definition: each with its items after it, then
    the handlers that have begun."""

    tasks: list[TaskView]


class EventView(Struct, frozen=True, kw_only=True):
    event: int
    """Its id; ascending."""
    at_us: int
    type: str
    run: int | None = None
    workflow: str = ""
    task: str = ""
    attempt: int | None = None
    text: str = ""
    """One sentence for people."""


class EventPage(Struct, frozen=True, kw_only=True, tag="events"):
    events: list[EventView]


class ApprovalView(Struct, frozen=True, kw_only=True):
    """A task that waits for a person."""

    run: int
    workflow: str
    task: str
    message: str
    since_us: int
    requested_by: str = ""
    """Who asked for the run."""
    choices: list[str] = field(default_factory=list)
    default: str | None = None
    allow: list[str] = field(default_factory=list)
    """`user:NAME`, `group:NAME`; empty: whoever may operate."""
    forbid_requester: bool = False
    due_us: int | None = None
    """When it is answered by itself, by `on_timeout`."""
    on_timeout: str = ""
    refusal: str = ""
    """Why whoever asks may not answer it; empty: they may."""


class ApprovalPage(Struct, frozen=True, kw_only=True, tag="approvals"):
    approvals: list[ApprovalView]


class AnswerView(Struct, frozen=True, kw_only=True, tag="answered"):
    """The answer to an approval as it is recorded."""

    run: int
    workflow: str
    task: str
    approved: bool
    by: str
    comment: str = ""
    choice: str | None = None


class ArtifactView(Struct, frozen=True, kw_only=True):
    """A file kept with a run."""

    run: int
    task: str
    name: str
    attempt: int
    size_bytes: int
    sha256: str


class ArtifactPage(Struct, frozen=True, kw_only=True, tag="artifacts"):
    artifacts: list[ArtifactView]


class CacheView(Struct, frozen=True, kw_only=True):
    """A success that is kept to be used again."""

    workflow: str
    task: str
    """Its name in the run; of an item such as `fetch[web1]`."""
    key: str
    run: int
    """Whose success it is."""
    made_us: int
    expires_us: int
    of: str = ""
    """Of an item: its fan-out."""
    item: str | None = None
    """The key of the item."""


class CachePage(Struct, frozen=True, kw_only=True, tag="cache"):
    entries: list[CacheView]


class ClearedView(Struct, frozen=True, kw_only=True, tag="cleared"):
    """Successes that are used no more."""

    workflow: str
    task: str | None
    entries: int


class BackfillView(Struct, frozen=True, kw_only=True, tag="backfill"):
    """Runs for slots of the past."""

    backfill: int
    """Its number; 0: nothing was recorded."""
    workflow: str
    trigger: str
    state: str
    """`planned`, `running`, `ended`, `cancelled`."""
    from_us: int
    until_us: int
    created_us: int
    total: int
    """Slots."""
    waiting: int
    """Slots that have no run yet."""
    live: list[int] = field(default_factory=list)
    """Runs that have not ended."""
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    """Slots for which no run could be recorded."""
    error: str = ""
    """Why not, of the newest of them."""
    why_waiting: str = ""
    """Why no further run is recorded now."""
    parallel: int = 1
    newest_first: bool = False
    only_missing: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    requested_by: str = ""
    cancelled_by: str = ""
    ended_us: int | None = None
    slots: list[int] = field(default_factory=list)
    """Of a plan: the first thousand in their order."""
    left_out: int = 0
    """Of a plan, and of what has just been recorded: slots that have a run already."""


class BackfillPage(Struct, frozen=True, kw_only=True, tag="backfills"):
    backfills: list[BackfillView]


class FactView(Struct, frozen=True, kw_only=True):
    """One link of a chain: what is, or happened."""

    code: str
    """One of `explain.Code`."""
    text: str
    """One sentence for people, without its time."""
    depth: int = 0
    """A deeper fact says why the nearest one before it that is less deep is so."""
    at_us: int | None = None
    by: str = ""
    """Who did it, if somebody did."""
    workflow: str = ""
    run: int | None = None
    task: str = ""
    trigger: str = ""


class StepView(Struct, frozen=True, kw_only=True):
    """What would have to happen, or will."""

    text: str
    at_us: int | None = None
    command: str = ""
    """That does it, if one does."""


class ExplanationView(Struct, frozen=True, kw_only=True, tag="explanation"):
    """Why something is as it is: the answer, the chain of facts behind it, and what would have to happen next."""

    workflow: str
    run: int | None = None
    task: str = ""
    trigger: str = ""
    scheduled_us: int | None = None
    """Of a slot."""
    state: str
    """Of what was asked about: of a run or a task its state, of a slot `fired`, `skipped`, `coming`, `none`; of a
    workflow `active`, `paused`, `stale`, `broken`, `removed`."""
    answer: str
    """One sentence, without its time."""
    answer_us: int | None = None
    facts: list[FactView] = field(default_factory=list)
    next: list[StepView] = field(default_factory=list)
    left_out: int = 0
    """Facts beyond a screen."""
