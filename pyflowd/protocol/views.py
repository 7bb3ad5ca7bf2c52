"""What is answered: replies, and the views that they are made of. Fields are only added, with a default."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from pyflowd.model.ends import KeptFile
from pyflowd.model.problem import Problem
from pyflowd.model.states import Fate
from pyflowd.protocol.words import VERSION


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


class TaskPage(Struct, frozen=True, kw_only=True, tag="tasks"):
    """Tasks of the run whose RunView came before, in the order of the definition: each with its items after it, then
    the handlers that have begun."""

    tasks: list[TaskView]


class RunPage(Struct, frozen=True, kw_only=True, tag="runs"):
    runs: list[RunView]


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


class ApprovalPage(Struct, frozen=True, kw_only=True, tag="approvals"):
    approvals: list[ApprovalView]


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


class WorkflowView(Struct, frozen=True, kw_only=True):
    workflow: str
    state: str
    """`active`, `paused`, `stale` (a bad newer version), `broken` (never a good one); paused wins over stale."""
    file: str = ""
    description: str = ""
    schedules: list[str] = field(default_factory=list)
    """Cron expressions with their zone, for people."""
    next_us: int | None = None
    paused_by: str = ""
    last: RunView | None = None
    live_runs: int = 0
    tasks_total: int = 0
    problems: list[Problem] = field(default_factory=list)
    disabled: bool = False
    """It has schedules, and none of them is enabled."""
    approvals: list[ApprovalView] = field(default_factory=list)
    """Tasks of its runs that wait for an answer."""
    events: list[str] = field(default_factory=list)
    """What its event triggers wait for, for people."""


class WorkflowPage(Struct, frozen=True, kw_only=True, tag="workflows"):
    workflows: list[WorkflowView]
    notes: list[str] = field(default_factory=list)
    """What of the workflows folder is ignored or held, and why."""


class ParamView(Struct, frozen=True, kw_only=True):
    name: str
    type: str
    required: bool = False
    default: Any = None
    description: str = ""


class OriginView(Struct, frozen=True, kw_only=True):
    """One value of a definition that is no mapping, and the place it comes from."""

    path: list[str]
    value: Any
    file: str
    line: int
    column: int


class DefinitionView(Struct, frozen=True, kw_only=True, tag="definition"):
    workflow: str
    file: str
    digest: str
    loaded_us: int
    text: bytes
    view: WorkflowView
    params: list[str] = field(default_factory=list)
    """Names of its params."""
    declared: list[ParamView] = field(default_factory=list)
    """The same, with what is declared of each."""
    outputs: list[str] = field(default_factory=list)
    """Names of what it gives to its caller."""
    handlers: dict[str, list[str]] = field(default_factory=dict)
    """Section to the names of its tasks; sections without are left out."""
    origin: list[OriginView] | None = None
    """Every value after templates and drop-ins, where that was asked for."""
    users: list[str] = field(default_factory=list)
    """As whom its tasks run, sorted."""
    in_force: bool = True
    """False: it was, or a run had it; `loaded_us` is when, and `view` says nothing of the present."""


class ChangeView(Struct, frozen=True, kw_only=True):
    """A text came into force, or the workflow went."""

    at_us: int
    what: str
    """One of `changes.Change`."""
    file: str
    digest: str | None = None
    detail: str = ""
    """Which template or drop-ins, for people."""
    in_force: bool = False
    """Until now."""


class ChangePage(Struct, frozen=True, kw_only=True, tag="changes"):
    workflow: str
    changes: list[ChangeView]


class GraphView(Struct, frozen=True, kw_only=True, tag="graph"):
    title: str
    tasks: list[TaskView]
    """With `needs`; `state` is empty for a definition. No items: a fan-out is one node."""
    handlers: list[TaskView] = field(default_factory=list)


class PlanView(Struct, frozen=True, kw_only=True, tag="plan"):
    """What a run would do."""

    workflow: str
    params: dict[str, Any]
    tasks: list[TaskView]
    commands: dict[str, str] = field(default_factory=dict)
    """Task to its shell text or its argv, quoted."""
    warnings: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """As of RunView."""
    handlers: list[TaskView] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    """What the run would give to its caller, as written."""


class NextView(Struct, frozen=True, kw_only=True):
    workflow: str
    trigger: str
    scheduled_us: int
    timezone: str = ""


class NextPage(Struct, frozen=True, kw_only=True, tag="next"):
    slots: list[NextView]
    none: str = ""
    """Where one workflow was asked for, why there are none: `paused`, `disabled`, or `unscheduled`."""


class SlotView(Struct, frozen=True, kw_only=True):
    workflow: str
    trigger: str
    scheduled_us: int
    fate: Fate
    reason: str | None = None
    run: int | None = None
    detail: str = ""
    """Which calendar or blackout, what a condition used."""


class SlotPage(Struct, frozen=True, kw_only=True, tag="slots"):
    slots: list[SlotView]


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


class NotificationView(Struct, frozen=True, kw_only=True):
    notification: int
    """Its number; ascending."""
    id: str
    """What its receivers know it by."""
    channel: str
    state: str
    """`waiting`, `sent`, `given_up`, `dropped`."""
    subject: str
    created_us: int
    tries: int = 0
    next_us: int | None = None
    """While it waits: not before this."""
    ended_us: int | None = None
    error: str = ""
    """Of the newest try."""
    workflow: str = ""
    run: int | None = None


class NotificationPage(Struct, frozen=True, kw_only=True, tag="notifications"):
    notifications: list[NotificationView]


class SecretView(Struct, frozen=True, kw_only=True):
    """A secret that a provider has. No message holds a value but SetSecret."""

    name: str
    provider: str
    """For people: `store`, `file FOLDER`, ..."""
    changed_us: int | None = None
    changed_by: str = ""
    """Of the store: who set it."""
    version: int | None = None
    """Of the store: how often it was set."""
    hidden: bool = False
    """A provider before this one has the name, too: its value is used."""
    workflows: list[str] = field(default_factory=list)
    """That use it."""


class SecretPage(Struct, frozen=True, kw_only=True, tag="secrets"):
    secrets: list[SecretView]
    """In the order in which providers are asked, then by name."""
    notes: list[str] = field(default_factory=list)
    """Providers that cannot tell their names, or are at fault."""


class SecretAnswer(Struct, frozen=True, kw_only=True, tag="secret_answer"):
    """What became of a change of the store."""

    action: str
    """`set`, `removed`, `rekeyed`."""
    name: str = ""
    version: int = 0
    """Of what was set."""
    count: int = 0
    """How many were sealed anew."""
    notes: list[str] = field(default_factory=list)


class HolderView(Struct, frozen=True, kw_only=True):
    """A run that holds a place or waits for it; `task`: an attempt of it does. `units`: what it holds. One of a
    workflow that whoever asks may not see has the number 0."""

    run: int
    workflow: str
    task: str | None = None
    units: int = 0


class PlaceView(Struct, frozen=True, kw_only=True):
    sort: str
    """`lock`, `pool`, `group`."""
    name: str
    size: int
    used: int
    holders: list[HolderView]
    waiting: list[HolderView]
    """In the order in which they come, a thousand at most."""
    waiting_total: int


class SimulationBasis(Struct, frozen=True, kw_only=True, tag="simulation_basis"):
    """The host in one instant, but for what is in its store: the pages that follow."""

    now_us: int
    mono_us: int
    """The boot-time clock in the same instant."""
    host: str
    """What stable jitter comes of."""
    timezone: str
    max_tasks: int
    pools: dict[str, int] = field(default_factory=dict)
    next_run: int = 1
    almanac: bytes = b""
    """msgpack of calendars.Entries; empty: there are neither calendars nor blackouts."""


class BasisPage(Struct, frozen=True, kw_only=True, tag="basis"):
    """Rows as a daemon that is started reads them; `read` names the statement."""

    rows: list[list[Any]]
    read: str


class PlacePage(Struct, frozen=True, kw_only=True, tag="places"):
    places: list[PlaceView]


class HostView(Struct, frozen=True, kw_only=True, tag="host"):
    version: str
    pid: int
    started_us: int
    now_us: int
    root: str
    workflows: int
    running: list[RunView]
    queued: list[RunView]
    failed: list[RunView]
    """Runs that failed in the last 24 hours, newest first, ten at most."""
    succeeded_24h: int
    failed_24h: int
    next: list[NextView]
    problems: list[Problem]
    """Definitions that were refused or are stale."""
    warnings: list[str] = field(default_factory=list)
    """What the administrator should know: no space, keeper lost, folder held."""
    approvals: list[ApprovalView] = field(default_factory=list)
    """What waits for an answer."""
    backfills: list[BackfillView] = field(default_factory=list)
    """That have not ended."""


class HealthView(Struct, frozen=True, kw_only=True, tag="health"):
    checks: list[tuple[str, str, str]]
    """(`ok` | `warning` | `error`, what was looked at, what was found and what to do)."""


class BackupView(Struct, frozen=True, kw_only=True, tag="backup"):
    """A backup that was made, and what came of restoring it on trial."""

    size_bytes: int
    sha256: str
    made_at: str
    """RFC 3339: the moment that it is of."""
    schema: int
    with_logs: bool
    runs: int
    events: int
    slots: int
    definitions: int
    workflows: int
    files: int
    findings: list[str] = field(default_factory=list)
    """What is wrong with the restored copy; empty: it is whole."""
    left_out: list[str] = field(default_factory=list)
    """Files that the daemon may not read."""
    has_secrets: bool = False
    """The encrypted store of secrets is in it; its key never is."""


class StoreCheckView(Struct, frozen=True, kw_only=True, tag="store_check"):
    runs: int
    events: int
    slots: int
    findings: list[str]
    more: bool = False
    """There are more than these."""


class SettingsView(Struct, frozen=True, kw_only=True, tag="settings"):
    """What `reload` found different in the settings, by key."""

    live: list[str]
    """In force now."""
    restart: list[str]
    """In force when the daemon starts the next time."""


class DrainView(Struct, frozen=True, kw_only=True, tag="drain"):
    drained: bool
    active: int
    """Tasks at work."""
    queued: int
    """Runs that wait to start."""
    by: str = ""
    since_us: int | None = None


class FiringView(Struct, frozen=True, kw_only=True):
    """What reached an event trigger."""

    workflow: str
    trigger: str
    key: str
    """Unique for the trigger: the same thing never starts a second run."""
    at_us: int
    fate: Fate
    reason: str | None = None
    run: int | None = None
    summary: str = ""
    """The event in a few words."""
    error: str = ""


class FiringPage(Struct, frozen=True, kw_only=True, tag="firings"):
    firings: list[FiringView]


class HookAnswer(Struct, frozen=True, kw_only=True):
    """What a trigger made of a delivery."""

    workflow: str
    trigger: str
    fate: Fate
    reason: str | None = None
    run: int | None = None
    error: str = ""
    again: bool = False
    """The delivery had come before: this is the first answer."""


class HookView(Struct, frozen=True, kw_only=True, tag="hook"):
    hook: str
    answers: list[HookAnswer]
    """Of each workflow that has this hook, and to whose trigger the delivery is proven."""


class AuditView(Struct, frozen=True, kw_only=True):
    """What somebody changed, or tried to."""

    audit: int
    """Its number; ascending."""
    at_us: int
    user: str
    """The account's name, as it was then."""
    uid: int
    pid: int
    """Of the process that asked; it may have ended long ago."""
    request: str
    """The request's tag, such as `start_run`."""
    workflow: str = ""
    run: int | None = None
    """That was recorded, or that it was about."""
    asked: dict[str, Any] = field(default_factory=dict)
    """What the request said beside that, but for what is secret or long; of what was refused no values of params."""
    result: str = "done"
    """`done`, or `forbidden`."""
    left_out: int = 0
    """Refusals of the last minute for which there is no record of their own."""


class AuditPage(Struct, frozen=True, kw_only=True, tag="audit"):
    records: list[AuditView]


class VersionView(Struct, frozen=True, kw_only=True, tag="version"):
    version: str
    protocol: int = VERSION
    pid: int = 0


class Failure(Struct, frozen=True, kw_only=True, tag="failure"):
    """Ends an answer: an expected error (errors.PyflowError)."""

    code: str
    message: str
    exit_status: int


class Done(Struct, frozen=True, kw_only=True, tag="done"):
    """Ends an answer. `exit_status` is that of the run where the request waited for one, else 0."""

    exit_status: int = 0


class Alive(Struct, frozen=True, array_like=True, tag="alive"):
    """Sent every few seconds while an answer waits for something, so that a client can tell waiting from death."""


class LogOpen(Struct, frozen=True, kw_only=True, array_like=True, tag="log_open"):
    """Output of one attempt; its frame carries two open descriptors: the log, and its index."""

    run: int
    task: str
    attempt: int
    live: bool
    """More may come: LogClose will follow."""
    label_width: int = 0
    """Widest task name that may appear, for columns; 0: only one task is shown."""
    raw: bool = False
    """Bytes as they are: no time, no name."""
    as_json: bool = False
    """One JSON object a line: run, task, attempt, time, text."""
    tail: int | None = None
    """Only the last so many lines of all that is shown."""
    since_us: int | None = None
    """Only what arrived from this instant on."""


class LogClose(Struct, frozen=True, kw_only=True, array_like=True, tag="log_close"):
    """The attempt has ended: read what is left up to the index's end record, then close."""

    task: str
    attempt: int


class ArtifactOpen(Struct, frozen=True, kw_only=True, array_like=True, tag="artifact_open"):
    """A kept file; its frame carries one open descriptor."""

    run: int
    task: str
    name: str
    size_bytes: int
    sha256: str


class BackupOpen(Struct, frozen=True, kw_only=True, array_like=True, tag="backup_open"):
    """A backup; its frame carries one open descriptor, of a file without a name."""

    size_bytes: int
    sha256: str


class Part(Struct, frozen=True, array_like=True, tag="part"):
    """A piece of a reply that is too long for one frame: the pieces up to the `last` are its bytes."""

    data: bytes
    last: bool


Reply = (
    RunView | TaskPage | RunPage | WorkflowPage | DefinitionView | GraphView | PlanView | NextPage | SlotPage
    | EventPage | HostView | HealthView | VersionView | NotificationPage | PlacePage | ApprovalPage
    | AnswerView | ArtifactPage | SecretPage | SecretAnswer
    | CachePage | ClearedView
    | ChangePage
    | BackfillView | BackfillPage
    | ExplanationView
    | SimulationBasis | BasisPage
    | HookView | FiringPage
    | AuditPage
    | BackupView | StoreCheckView | DrainView | SettingsView
)  # fmt: skip
