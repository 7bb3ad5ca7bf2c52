"""Definitions, compiled: units are numbers, `defaults` are merged, names are checked. Fields are only added."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from pyflowd.model.kinds import Kind
from pyflowd.model.states import RunState, Section
from pyflowd.model.triggers import Catchup, EventTrigger, Expectation, Schedule


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


class Resources(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits of each attempt. Where the host has no such control, the log of the attempt and `doctor` say so."""

    memory_max_bytes: int | None = None
    cpu_max_percent: int | None = None
    """Of one processor: 150 is one and a half."""
    cpu_weight: int | None = None
    """1 to 10,000; others have 100."""
    io_weight: int | None = None
    """1 to 10,000; others have 100."""
    tasks_max: int | None = None
    """Processes and threads at once."""
    nice: int | None = None
    """-20 to 19; below 0 takes a keeper that runs as root."""


class Journal(StrEnum):
    """Which output of tasks goes to the host's journal, too."""

    NONE = "none"
    FAILED = "failed"
    """The last lines of attempts that failed."""
    ALL = "all"


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
    journal: Journal | None = None
    """None: as the settings have it."""
    resources: Resources | None = None
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


class Expected(StrEnum):
    """The keys of `expect`."""

    START_WITHIN = "start_within"
    FINISH_BY = "finish_by"
    MAX_DURATION = "max_duration"


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
    owner_uid: int | None = None
    """Whose word it is, as whom its tasks run; None: root's, or the instance does not go by owners."""
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
    visible_to: tuple[str, ...] = ()
    """Unix groups whose members see it, in place of all who read on this host; those of `operate_by` do, too."""
    operate_by: tuple[str, ...] = ()
    """Unix groups whose members operate it, in place of all operators of this host."""


def sections(workflow: Workflow) -> Iterator[tuple[Section, tuple[Task, ...]]]:
    """All sections of a definition in the order in which their tasks are numbered; `on_error` comes after them."""
    yield Section.TASKS, workflow.tasks
    yield Section.ON_SUCCESS, workflow.on_success
    yield Section.ON_FAILURE, workflow.on_failure
    yield Section.ON_CANCEL, workflow.on_cancel
    yield Section.FINALLY, workflow.finally_


def all_tasks(workflow: Workflow) -> Iterator[tuple[Section, Task]]:
    """Each task and behind it those that belong to it, with the section in which it stands."""
    for section, tasks in sections(workflow):
        for task in tasks:
            yield section, task
            if task.undo is not None:
                yield section, task.undo
            for each in task.on_error:
                yield section, each


class NotifyRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tell `channel` of runs that end so."""

    channel: str
    on: tuple[RunState, ...] = (RunState.FAILED,)
