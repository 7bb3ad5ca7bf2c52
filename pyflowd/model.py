"""The words of the domain: definitions, states, reasons, outcomes. Types only; it imports nothing of ours.

A definition here is *compiled*: units are numbers, `defaults` are merged, names are checked. `definition` makes it
from a file; the store keeps it as msgpack. Fields are only ever added, with a default.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
"""Rule D7: names of workflows, tasks, params, triggers; safe as one component of a path."""
_NAME = re.compile(NAME_PATTERN, re.ASCII)


def is_name(text: str) -> bool:
    """Whether `text` keeps rule D7 (a newline at the end does not pass)."""
    return bool(_NAME.match(text)) and not text.endswith("\n")


# ---- States (rules S1 to S3) ----------------------------------------------------------------------------------------


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskState(StrEnum):
    WAITING = "waiting"  # a direct dependency is not terminal
    QUEUED = "queued"  # ready, no slot free
    RUNNING = "running"
    RETRYING = "retrying"  # waits for its back-off, holds no slot
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    UPSTREAM_FAILED = "upstream_failed"  # it could never become eligible


class Section(StrEnum):
    """Where in its workflow a task stands; its value is the key of the file, but for the first."""

    TASKS = ""
    ON_ERROR = "on_error"
    ON_SUCCESS = "on_success"
    ON_FAILURE = "on_failure"
    ON_CANCEL = "on_cancel"
    UNDO = "undo"
    FINALLY = "finally"


class AttemptState(StrEnum):
    STARTING = "starting"  # committed, the keeper's answer is not
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"  # no true status can be had (rule S5)


RUN_TERMINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED})
TASK_TERMINAL = frozenset(
    {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED, TaskState.UPSTREAM_FAILED}
)
ATTEMPT_TERMINAL = frozenset(AttemptState) - {AttemptState.STARTING, AttemptState.RUNNING}


class Reason(StrEnum):
    """Why a terminal state was reached (rule S4); the facts stand beside it."""

    EXIT_CODE = "exit_code"  # ended with a code that is no success
    SIGNAL = "signal"  # killed by a signal that we did not send (rule R8)
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    START_FAILED = "start_failed"  # the process could not be started: `error` says which step, and why
    LOST = "lost"  # the attempt is `unknown`: `error` says what was lost
    SKIP_CODE = "skip_code"  # ended with one of its `skip_codes` (rule R10)
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_SKIPPED = "upstream_skipped"
    NO_UPSTREAM_FAILED = "no_upstream_failed"  # `any_failed`, and none did
    TASK_FAILED = "task_failed"  # of a run: a task's effective state is no success
    KEPT = "kept"  # taken over from the run that this one repeats
    NOT_ASKED = "not_asked"  # the run was asked for other tasks only
    CONDITION_FALSE = "condition_false"  # its `if` is false; the values that were used stand beside it
    EXPRESSION_ERROR = "expression_error"  # an expression of its definition has no value: `error` says why
    OUTPUT_INVALID = "output_invalid"  # what it gave on is not what it declares, or an artifact is missing
    EMPTY = "empty"  # a fan-out without items
    ITEMS_FAILED = "items_failed"  # of a fan-out: more items failed than `max_failures`
    MAX_FAILURES = "max_failures"  # of an item: not started, as more items had failed than `max_failures`
    FAIL_FAST = "fail_fast"  # of an item: cancelled, as another had failed
    REPEAT_EXHAUSTED = "repeat_exhausted"  # `repeat` has had its `max` passes
    REJECTED = "rejected"  # an approval was refused, or nobody answered in time
    CALL_FAILED = "call_failed"  # a request came to no good answer: `error` says what came
    RUN_FAILED = "run_failed"  # the run that the task called did not succeed
    HANDLER_FAILED = "handler_failed"  # of a run: a task of `on_success` failed
    FINALLY_FAILED = "finally_failed"  # of a run: a task of `finally` failed (rule H2)
    GATE_CLOSED = "gate_closed"  # of a run: what must hold before its first task did not, for as long as it waits
    DEADLOCK = "deadlock"  # it would wait for a place that waits for itself, by way of called runs
    SECRET_MISSING = "secret_missing"  # noqa: S105 - a secret that it names could not be had: `error` says from where
    CACHED = "cached"  # the outputs of an earlier success were used again
    REPLACED = "replaced"  # of a run: `overlap: replace` and a newer one came
    DEADLINE = "deadline"  # of a run: it had not started by the deadline of the schedule that fired it


class Lost(StrEnum):
    """Why an attempt is `unknown` (rule S5)."""

    KEEPER_LOST = "keeper lost"
    HOST_RESTARTED = "host restarted"
    RECORD_LOST = "record lost"
    DAEMON_LOST = "daemon restarted"  # of what runs inside the daemon (rule I4)


class Fate(StrEnum):
    """How a slot ended (rule T1)."""

    FIRED = "fired"
    SKIPPED = "skipped"


class SlotReason(StrEnum):
    """Why a slot was skipped."""

    OVERLAP = "overlap"  # a run of the workflow was live; the slot's `run` names it
    QUEUE_FULL = "queue_full"
    DOWN = "down"  # the daemon was not running
    PAUSED = "paused"
    DISABLED = "disabled"
    LATE = "late"  # a newer slot of the same trigger was due in the same instant, as after a clock step (rule T8)
    CLOCK_STEP = "clock_step"  # the clock was set forward by more than three hours (rule T8)
    BAD_PARAMS = "bad_params"
    BLACKOUT = "blackout"  # a named time in which nothing is to start
    CALENDAR = "calendar"  # a day that its calendar leaves out
    DEADLINE = "deadline"  # it could have started only later than `catchup` or its deadline allows
    CONDITION_FALSE = "condition_false"  # the trigger's `if`
    DST = "dst"  # a time that the clock change left out (rule T3)
    ONLY_CHANGES = "only_changes"  # a file arrived, and its trigger is for changes only
    GONE = "gone"  # the file was gone before it could be claimed
    DEPTH = "depth"  # runs started each other, one after the other, too many times
    HELD = "held"  # a calendar or blackout that it names is missing or broken: nothing fires blindly
    REMOVED = "removed"  # its schedule was taken away while it waited for its jitter
    EXPRESSION_ERROR = "expression_error"  # the trigger's `if` has no value


# ---- Definitions ----------------------------------------------------------------------------------------------------


class TriggerRule(StrEnum):
    """Rule J3; `always` is a synonym of `all_done` and is compiled to it."""

    ALL_OK = "all_ok"
    ALL_SUCCESS = "all_success"
    NONE_FAILED = "none_failed"
    ANY_SUCCESS = "any_success"
    ANY_FAILED = "any_failed"
    ALL_DONE = "all_done"


class Overlap(StrEnum):
    """Rule T5: what a start does while a run of the workflow is live."""

    SKIP = "skip"
    QUEUE = "queue"
    QUEUE_LATEST = "queue_latest"
    REPLACE = "replace"
    ALLOW = "allow"


class Backoff(StrEnum):
    EXPONENTIAL = "exponential"
    LINEAR = "linear"
    CONSTANT = "constant"


class Jitter(StrEnum):
    FULL = "full"
    NONE = "none"


class Leftover(StrEnum):
    """Rule R9: what becomes of processes that outlive the main process of their attempt."""

    KILL = "kill"
    ALLOW = "allow"


class OnLost(StrEnum):
    FAIL = "fail"
    RETRY = "retry"


class Dst(StrEnum):
    """Rule T3: fixed local times in the gap and the fold of a clock change."""

    DEBIAN = "debian"  # in the gap at its end, in the fold once
    SKIP = "skip"  # in the gap not at all, in the fold once
    BOTH = "both"  # in the gap at its end, in the fold at both


class CatchupPolicy(StrEnum):
    """Rule T6: what becomes of the slots of a down time."""

    LATEST = "latest"
    NONE = "none"
    ALL = "all"


class ParamType(StrEnum):
    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ARRAY = "array"
    OBJECT = "object"
    DATE = "date"
    SECRET = "secret"  # noqa: S105 - its value is the name of a secret (rule P4)


class Retry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rules R1 to R4. `attempts` counts all tries, the first too."""

    attempts: int = 1
    delay_s: float = 1.0
    backoff: Backoff = Backoff.EXPONENTIAL
    factor: float = 2.0
    max_delay_s: float = 3600.0
    jitter: Jitter = Jitter.FULL
    max_elapsed_s: float | None = None
    on_exit: tuple[int, ...] | None = None
    """Exit codes that are retried; None: every failure but 126 and 127."""
    on_lost: OnLost = OnLost.FAIL
    on_status: tuple[int, ...] | None = None
    """HTTP statuses that are retried; None: 408, 425, 429 and 5xx (rule R4)."""


class Shell(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="run", tag_field="kind"):
    """`run`: shell text, given to `shell` (argv before the text; empty: bash in strict mode, else sh)."""

    text: str
    shell: tuple[str, ...] = ()


class Argv(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="argv", tag_field="kind"):
    """`argv`: a program and its arguments, no shell."""

    argv: tuple[str, ...]


class Python(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="python", tag_field="kind"):
    """`python`: a function by name, called with keyword arguments in a process of its own."""

    function: str
    """`module:function`; the function may be `Class.method`."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """`with`: values; texts in them may hold expressions."""
    interpreter: str | None = None
    """Absolute path; None: the daemon's own."""


class File(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="file", tag_field="kind"):
    """`file`: one operation on files, in a process of the task's user."""

    operation: str
    """One of `FILE_OPERATIONS` of definition_process."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """As checked by the operation's table; texts may hold expressions."""


class Ssh(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="ssh", tag_field="kind"):
    """`ssh`: a script on another host, through OpenSSH. `host`, `user`, `identity` may hold expressions."""

    host: str
    script: str
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    """Of ssh_config(5)."""
    shell: tuple[str, ...] = ()
    """Argv before the script, on the other host; empty: bash in strict mode where it is, else sh."""


class Uses(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="uses", tag_field="kind"):
    """`uses`: what a plugin does, in a process of the task's user."""

    plugin: str
    arguments: dict[str, Any] = field(default_factory=dict)
    """`with`: its inputs; texts in them may hold expressions."""


class JsonBody(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="json", tag_field="sort"):
    value: Any


class FormBody(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="form", tag_field="sort"):
    """URL-encoded; a list gives a name several times, null leaves it out."""

    values: dict[str, Any]


class FilePart(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file of a multipart body."""

    name: str
    path: str
    """Below the run's scratch folder."""
    filename: str = ""
    """As the server is told; empty: the last part of the path."""
    content_type: str = "application/octet-stream"


class MultipartBody(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="multipart", tag_field="sort"):
    files: tuple[FilePart, ...]
    values: dict[str, Any] = field(default_factory=dict)


class TextBody(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="text", tag_field="sort"):
    text: str


HttpBody = JsonBody | FormBody | MultipartBody | TextBody


class BasicAuth(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="basic", tag_field="sort"):
    user: str
    password: str


class BearerAuth(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="bearer", tag_field="sort"):
    token: str


class Tls(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Paths are absolute, and read by the daemon's user."""

    verify: bool = True
    ca_file: str = ""
    """In place of the host's certificate authorities."""
    cert_file: str = ""
    """The client's certificate, with its chain; with its key where `key_file` is empty."""
    key_file: str = ""
    min_version: str = "1.2"


class TextTest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is given must hold."""

    equals: str | None = None
    contains: str | None = None
    matches: str | None = None
    """Of the dialect of `pattern`: a whole line of the text matches."""


class Expect(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What makes an answer a good one."""

    status: tuple[tuple[int, int], ...] = ((200, 299),)
    """Ranges, both ends included."""
    headers: dict[str, TextTest] = field(default_factory=dict)
    """By lower-cased name."""
    body: TextTest | None = None
    json: str = ""
    """Expression text over `body`, `status`, `headers`, `links` and all that a task sees; must be true."""


class Paginate(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Both are expression text, as `Expect.json`, asked of each page."""

    next: str
    """Gives the URL of the next page; null or empty: there is none."""
    items: str
    """Gives the list of a page."""
    max_pages: int = 100


class Http(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="http", tag_field="kind"):
    """`http`: a request, in the daemon's thread pool. Texts may hold expressions."""

    url: str
    method: str = "GET"
    headers: dict[str, Any] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    """Added to what the URL has; as `FormBody.values`."""
    body: HttpBody | None = None
    auth: BasicAuth | BearerAuth | None = None
    tls: Tls = Tls()
    expect: Expect = Expect()
    paginate: Paginate | None = None
    save_to: str = ""
    """A file below the run's scratch folder; empty: the body is an output."""
    max_bytes: int | None = None
    """Of a body, decoded; None: 1 MiB, and 1 GiB into a file."""
    redirects: int = 5
    idempotency_key: str = ""
    """`auto`: made of run, task and item, the same for all attempts."""
    allow_addresses: tuple[str, ...] = ()
    """Networks that are reached although they are link-local, of a cloud's metadata, or the like."""
    proxy: str = ""
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    """Longest silence of the server."""

    @property
    def safe_to_repeat(self) -> bool:
        """Rule I4: whether it may be sent again when nobody knows whether it arrived."""
        keyed = self.idempotency_key or any(name.lower() == "idempotency-key" for name in self.headers)
        return bool(keyed) or self.method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")


class Call(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="workflow", tag_field="kind"):
    """`workflow`: a run of another workflow."""

    workflow: str
    arguments: dict[str, Any] = field(default_factory=dict)
    """`with`: its params; texts may hold expressions."""
    wait: bool = True
    key: str = ""
    """`idempotency_key`, a template (rule I2)."""


class OnTimeout(StrEnum):
    """What it means that nothing came in time."""

    REJECT = "reject"
    APPROVE = "approve"
    FAIL = "fail"
    SKIP = "skip"


class Approval(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="approval", tag_field="kind"):
    """`approval`: waits for a person, holding nothing (rule R7)."""

    message: str
    """A template."""
    allow: tuple[str, ...] = ()
    """`user:NAME` or `group:NAME`; empty: whoever may operate."""
    forbid_requester: bool = False
    timeout_s: float | None = None
    on_timeout: OnTimeout = OnTimeout.REJECT
    choices: tuple[str, ...] = ()
    """One of them is the output `choice`."""
    default: str | None = None
    """The choice of an approval that names none."""


class Wait(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="wait", tag_field="kind"):
    """`wait`: for a duration, until a time, or until a condition over the run holds; holds nothing. One of three."""

    for_s: float | None = None
    until: str = ""
    """An RFC 3339 time, `HH:MM` (the next such moment in the zone of the host), or a template of either."""
    condition: str = ""
    """Expression text, asked again whenever something happens in the run."""
    on_timeout: OnTimeout = OnTimeout.FAIL
    """What the task's `timeout` means: fail, or skip."""


class Notify(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="notify", tag_field="kind"):
    """`notify`: a message to a channel of the settings; spooled, so the task ends at once."""

    channel: str
    text: str
    """A template."""
    subject: str = ""


Kind = Shell | Argv | Python | File | Ssh | Uses | Http | Call | Approval | Wait | Notify
"""Exactly one kind per task; a new kind is a struct here, a validator in `definition`, a runner."""

ProcessKind = Shell | Argv | Python | File | Ssh | Uses
"""Kinds that the keeper runs as a process."""
PoolKind = Http
"""Kinds that the daemon's thread pool runs (rule I4)."""


class OnEmpty(StrEnum):
    """Rule F4: what a fan-out without items is."""

    SKIP = "skip"
    SUCCEED = "succeed"
    FAIL = "fail"


class FanOut(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`for_each` or `matrix` (rules F1 to F4)."""

    items: Any
    """A list, or a template that is only one expression and gives a list (or a mapping: items `{key, value}`)."""
    variable: str = "item"
    """`as`: what an item is called in expressions; `matrix` for a matrix."""
    key: str = ""
    """A template for an item's stable key; empty: made of the item itself."""
    max_parallel: int | None = None
    max_failures: int | None = None
    """More failed items than this: no new one starts. None: nothing stops the others; the aggregate fails then with
    the first (rules F2, F3)."""
    max_failures_percent: float | None = None
    """In place of `max_failures`."""
    fail_fast: bool = False
    on_empty: OnEmpty = OnEmpty.SKIP
    if_each: bool = False
    """The task's `if` names an item, so it is asked of each item and not once."""


class Repeat(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rule F5. One of `until`, `while_`: expression text, asked after each pass that succeeded."""

    max: int
    until: str = ""
    while_: str = ""
    delay_s: float = 0.0


class Output(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A declared output of a task (rule P5)."""

    name: str
    type: ParamType = ParamType.STRING
    pattern: str | None = None
    maximum: float | None = None
    """`max_items` of an array, `max_length` of a text."""
    optional: bool = False


class Capture(StrEnum):
    """What standard output becomes: the output `stdout` as text, or the outputs that it says as JSON."""

    STDOUT = "stdout"
    JSON = "json"


class Artifact(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file kept with the run."""

    name: str
    path: str
    """Relative to the task's folder, or absolute; a template."""
    optional: bool = False


class Credential(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A secret given to a task as a file below `$CREDENTIALS_DIRECTORY` (rule P6)."""

    name: str
    """Of the file."""
    secret: str
    """The secret's name; a template, as that of a `secret` param is known only then."""


class Cache(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Outputs of an earlier success of the task are used again, if it had the same key and is not older."""

    key: str
    """A template."""
    ttl_s: float


class Concurrency(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many runs of a group are under way at once."""

    group: str = ""
    """A template over the params; empty: the workflow's own runs."""
    limit: int = 1
    queue_max: int | None = None
    """In place of the workflow's `queue_max`."""


class DiskFree(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of the two is given."""

    path: str
    bytes: int | None = None
    percent: float | None = None


class Gates(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What must hold before a run's first task; asked again every `every_s`, for up to `wait_s`."""

    units_active: tuple[str, ...] = ()
    disk_free: tuple[DiskFree, ...] = ()
    path_exists: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    """A program and its arguments, run as the daemon's own account: exit 0 is open."""
    every_s: float = 30.0
    wait_s: float = 3600.0


class UndoAfter(StrEnum):
    SUCCEEDED = "succeeded"
    STARTED = "started"


class Task(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A node of a workflow, `defaults` merged in."""

    name: str
    kind: Kind
    needs: tuple[str, ...] = ()
    """Direct dependencies, each once, in the order written."""
    trigger_rule: TriggerRule = TriggerRule.ALL_OK
    retry: Retry = Retry()
    timeout_s: float | None = None
    """Per attempt (rule R1)."""
    kill_grace_s: float = 10.0
    leftover: Leftover = Leftover.KILL
    continue_on_error: bool = False
    success_codes: tuple[int, ...] = ()
    skip_codes: tuple[int, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    """Texts may hold expressions, as those of `cwd` and `stdin`."""
    cwd: str | None = None
    user: str | None = None
    stdin: str | None = None
    """Text given on standard input; None: /dev/null."""
    log_max_bytes: int | None = None
    condition: str = ""
    """`if` (rule J4): expression text; empty: none."""
    fan_out: FanOut | None = None
    repeat: Repeat | None = None
    outputs: tuple[Output, ...] = ()
    capture: Capture | None = None
    artifacts: tuple[Artifact, ...] = ()
    undo: Task | None = None
    """The task that takes this one back (rule H1); its name is this one's with `.undo`."""
    undo_after: UndoAfter = UndoAfter.SUCCEEDED
    credentials: tuple[Credential, ...] = ()
    locks: tuple[str, ...] = ()
    """Mutexes of the host that an attempt takes (rule R7), sorted."""
    pools: dict[str, int] = field(default_factory=dict)
    """Slots of the host's pools that an attempt takes."""
    priority: int = 0
    """The workflow's merged in; higher is sooner."""
    cache: Cache | None = None
    on_error: tuple[Task, ...] = ()
    """Run when this task has failed for good, before its children are told (rule H4)."""


class Param(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rule P4. `default` is already checked against the rest, but where it holds expressions: a run makes its value."""

    name: str
    type: ParamType = ParamType.STRING
    default: Any = None
    required: bool = False
    enum: tuple[Any, ...] | None = None
    pattern: str | None = None
    minimum: float | None = None
    """Least value of a number, least length of a string or array."""
    maximum: float | None = None
    items: ParamType | None = None
    description: str = ""
    item_pattern: str | None = None
    """Of the items of an array of text."""

    @property
    def variable(self) -> str:
        """Its variable in a task's environment: `PARAM_` and the name, upper-cased, others than A-Z 0-9 as `_`."""
        return "PARAM_" + re.sub(r"[^A-Z0-9]", "_", self.name.upper())


class Catchup(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rule T6. `within_s`: slots older than this are left out; `max`: of `all`, the newest so many."""

    policy: CatchupPolicy = CatchupPolicy.LATEST
    within_s: float = 3600.0
    max: int = 100


class Schedule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A trigger by time (rules T2 to T7): one of `cron`, `every_s`, `at`. `boot` is the cron `@reboot`."""

    name: str
    cron: str = ""
    timezone: str | None = None
    """IANA name; None: the host's zone."""
    jitter_s: float = 0.0
    """Greatest delay after the nominal time; stable per host, workflow and trigger (rule T7)."""
    dst: Dst = Dst.DEBIAN
    enabled: bool = True
    params: dict[str, Any] = field(default_factory=dict)
    every_s: float = 0.0
    """Counted from the first load of the trigger, which is stored (rule T2)."""
    at: tuple[str, ...] = ()
    """RFC 3339 times, without an offset in the trigger's zone."""
    random_jitter: bool = False
    """A new delay for each slot, in place of a stable one (rule T7)."""
    catchup: Catchup | None = None
    """None: the default of rule T6."""
    calendars: tuple[str, ...] = ()
    """Names of the settings: slots on other days are skipped."""
    blackouts: tuple[str, ...] = ()
    """Names of the settings: slots in these times are skipped, beside those of all workflows."""
    deadline_s: float | None = None
    """A slot that could start only later than this after its time is skipped."""
    condition: str = ""
    """`if`: expression text over `params` and `run`; false: the slot is skipped."""


class FileTrigger(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="file", tag_field="sort"):
    """A file that arrives, or changes; each state of a file starts one run, also over a restart."""

    name: str
    path: str
    """Absolute, with globs in its last part or parts."""
    on: tuple[str, ...] = ("arrives",)
    """`arrives`, `changes`."""
    stable_for_s: float = 2.0
    claim: bool = False
    """The file is renamed into the folder `claimed` beside it before the run is recorded."""
    enabled: bool = True
    params: dict[str, Any] = field(default_factory=dict)
    """Texts may hold expressions over `event`: path, name, folder, size, modified_at, change, found_at."""
    condition: str = ""


class WorkflowTrigger(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="workflow", tag_field="sort"):
    """A run of another workflow has ended; each of its runs starts one."""

    name: str
    workflow: str
    outcomes: tuple[RunState, ...] = (RunState.SUCCEEDED,)
    enabled: bool = True
    params: dict[str, Any] = field(default_factory=dict)
    """`event`: run, workflow, outcome, params, outputs, scheduled_at, ended_at."""
    condition: str = ""


class UnitTrigger(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="unit", tag_field="sort"):
    """A unit of systemd has come into a state."""

    name: str
    unit: str
    states: tuple[str, ...] = ("failed",)
    """`active`, `inactive`, `failed`."""
    enabled: bool = True
    params: dict[str, Any] = field(default_factory=dict)
    """`event`: unit, state, since."""
    condition: str = ""


class Verify(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a delivery proves where it comes from. `form`: github, gitlab, stripe, pyflow."""

    form: str
    secrets: tuple[str, ...]
    """Names of secrets, one or two: the second while the first is being replaced."""
    header: str = ""
    """Where it is not the one that the form has."""


class WebhookTrigger(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="webhook", tag_field="sort"):
    """A delivery to the hook `hook`, checked, kept for 24 hours, and recorded with its run."""

    name: str
    hook: str
    verify: Verify | None = None
    """None: whoever can reach the socket's operation may (lint warns)."""
    dedupe: str = ""
    """A template over `event`; empty: the sender's id; a signed delivery without one by a hash of its body."""
    enabled: bool = True
    params: dict[str, Any] = field(default_factory=dict)
    """`event`: body, headers, method, query, delivery."""
    condition: str = ""


EventTrigger = FileTrigger | WorkflowTrigger | UnitTrigger | WebhookTrigger


class Expected(StrEnum):
    """The keys of `expect`."""

    START_WITHIN = "start_within"
    FINISH_BY = "finish_by"
    MAX_DURATION = "max_duration"


class Expectation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`expect`: alerts where something did not happen; it stops nothing."""

    start_within_s: float | None = None
    """After a slot's time."""
    finish_by: str = ""
    """`HH:MM`, in the zone of the schedule: the run of the newest slot before it has succeeded by then."""
    max_duration_s: float | None = None


class Retention(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is kept of ended runs; None: no limit of this sort. The newest ended run is always kept."""

    runs: int | None = None
    age_s: float | None = None
    log_bytes: int | None = None


class Workflow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One compiled definition."""

    name: str
    tasks: tuple[Task, ...]
    """In the order of the file; acyclic; every `needs` names another task of the tuple."""
    description: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    owner: str = ""
    params: tuple[Param, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    """`env` of the file, then `env` of its `defaults`; a task's own come on top."""
    env_files: tuple[str, ...] = ()
    """Read when an attempt starts, below `env`; a leading `-` lets the file be missing."""
    cwd: str | None = None
    user: str | None = None
    triggers: tuple[Schedule, ...] = ()
    events: tuple[EventTrigger, ...] = ()
    catchup: Catchup | None = None
    """Of schedules that have none of their own."""
    expect: Expectation | None = None
    overlap: Overlap | None = None
    """As written; None: the default of each sort of start (rule T5)."""
    queue_max: int = 100
    timeout_s: float | None = None
    max_parallel: int = 16
    retention: Retention | None = None
    on_success: tuple[Task, ...] = ()
    on_failure: tuple[Task, ...] = ()
    on_cancel: tuple[Task, ...] = ()
    finally_: tuple[Task, ...] = ()
    handler_timeout_s: float = 600.0
    """Budget of each of: `on_success`, `on_failure` or `on_cancel`; `undo`; `finally` (rule H2)."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """What the workflow gives to its caller; texts may hold expressions over its tasks."""
    notify: tuple[NotifyRule, ...] = ()
    concurrency: Concurrency | None = None
    locks: tuple[str, ...] = ()
    """Mutexes of the host that a run holds from its start to its end, sorted."""
    pools: dict[str, int] = field(default_factory=dict)
    """Sizes of pools that this file declares; the settings come first, else the least of all files."""
    priority: int = 0
    """Order of its runs among those that wait for a place; -100 to 100."""
    gates: Gates | None = None
    secrets: tuple[str, ...] = ()
    """Names of the secrets that it names, sorted. Where an expression gives the name it is not known, but for what a
    param of type secret has by default."""


class NotifyRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tell `channel` of runs that end so."""

    channel: str
    on: tuple[RunState, ...] = (RunState.FAILED,)


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finding about a file. `line` and `column` count from 1; 0: no place. The message is one line."""

    file: str
    line: int = 0
    column: int = 0
    severity: Severity = Severity.ERROR
    code: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message}" + (f" ({self.fix})" if self.fix else "")


# ---- Ends of attempts -----------------------------------------------------------------------------------------------


class Usage(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True):
    """What an attempt used, from `wait4`: the main process and all it waited for."""

    user_us: int = 0
    system_us: int = 0
    max_rss_bytes: int = 0
    """0: not known. A task that never needed more than the keeper itself, about 10 MiB, cannot be told from it."""

    @property
    def cpu_us(self) -> int:
        return self.user_us + self.system_us


class Stop(StrEnum):
    """Why the keeper stopped an attempt; empty: it ended by itself."""

    NONE = ""
    TIMEOUT = "timeout"
    REQUEST = "request"


class Exit(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="exit"):
    """The main process ended and was reaped: a true status from `waitid` (rule S5). One of code, signal is None."""

    exit_code: int | None
    signal: int | None
    started_us: int
    """Wall clock just before the spawn; `ended_us` is from the same clock."""
    ended_us: int
    usage: Usage = Usage()
    stop: Stop = Stop.NONE
    leftovers: int = 0
    """Processes of the attempt killed after the main process was gone."""


class StartFailure(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="start_failure"):
    """The process never came to be: `step` (such as `cwd`, `exec`, `user`), the error number, and its text."""

    step: str
    errno: int
    message: str
    at_us: int


class LostAttempt(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="lost"):
    """No true status can be had; nothing of the attempt lives any more (rule R6)."""

    why: Lost
    at_us: int
    again: bool = False
    """It may be sent again as a new attempt, whatever `on_lost` says (rule I4)."""


class CallEnd(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="call_end"):
    """A request of the thread pool came to an end. `error` is empty where it is a success."""

    started_us: int
    ended_us: int
    error: str = ""
    status: int | None = None
    """Of the last answer, if one came."""
    transient: bool = False
    """It may go better another time: no connection, or a status that is worth another try (rule R4)."""
    retry_after_s: float | None = None
    stop: Stop = Stop.NONE


class RunEnd(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="run_end"):
    """The run that a `workflow` task called has ended, or could not be recorded (`run` 0, `error` says why)."""

    run: int
    state: RunState
    ended_us: int
    error: str = ""
    stop: Stop = Stop.NONE


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="answer"):
    """Somebody answered an approval, or its time ran out (`by` is empty)."""

    approved: bool
    ended_us: int
    by: str = ""
    comment: str = ""
    skip: bool = False


class Waited(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="waited"):
    """What a `wait` or `notify` task was there for has come; or its time ran out, or it could not be."""

    ended_us: int
    error: str = ""
    timed_out: bool = False
    skip: bool = False


class Stopped(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, tag="stopped"):
    """An attempt without a process was stopped."""

    ended_us: int
    stop: Stop = Stop.REQUEST


End = Exit | StartFailure | LostAttempt | CallEnd | RunEnd | Answer | Waited | Stopped
"""How an attempt ended, as the keeper, the record or the pool tell it; the engine makes its state of it."""


class KeptFile(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True):
    """An artifact as it was stored."""

    size_bytes: int
    sha256: str
    run: int = 0
    """Where a rerun took it over: the run in whose folder it is, with the name that its task has there."""
    folder: str = ""


class Given(Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True):
    """What an attempt gave on (rule P5). `error`: why it is not what the task declares."""

    outputs: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, KeptFile] = field(default_factory=dict)
    error: str = ""
    """It makes a success a failure."""
    said: str = ""
    """The attempt's own word for why it failed; shown in place of its exit code."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What else it said of that, such as the type of an error."""
