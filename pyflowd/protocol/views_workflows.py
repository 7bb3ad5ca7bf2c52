"""What is said of workflows: definitions and their changes, slots and events that start them, what saving one changes.

Fields are only added, with a default.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from pyflowd.model.problem import Problem
from pyflowd.model.states import Fate
from pyflowd.protocol.views_runs import ApprovalView, RunView, TaskView


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
    labels: dict[str, str] = field(default_factory=dict)
    """Of the definition in force."""


class WorkflowPage(Struct, frozen=True, kw_only=True, tag="workflows"):
    workflows: list[WorkflowView]
    notes: list[str] = field(default_factory=list)
    """What of the workflows folder is ignored or held, and why."""
    folder: str = ""
    """Where workflow files are read from, on a page without workflows: an absolute path."""


class ParamView(Struct, frozen=True, kw_only=True):
    name: str
    type: str
    required: bool = False
    default: Any = None
    description: str = ""
    enum: list[Any] | None = None
    """The values that are allowed."""
    minimum: float | None = None
    """Of a number its least value, of text and lists their least length; so `maximum`."""
    maximum: float | None = None
    pattern: str = ""
    """Of text; empty: any."""
    items: str = ""
    """Of an array: the type of each item; empty: any."""
    item_pattern: str = ""


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


class SavedView(Struct, frozen=True, kw_only=True, tag="saved"):
    """What writing a file of the workflows folder came to."""

    file: str
    workflow: str
    """That the text defines; of one that is refused, the name that the file gives."""
    written: bool
    """False: a dry run, or nothing is different."""
    digest: str
    """SHA-256 of the text."""
    problems: list[Problem]
    """Errors: it was not written."""
    diff: str
    """Unified, from the text that is there."""
    slots_added: list[NextView] = field(default_factory=list)
    """Of the next 24 hours, against what is in force."""
    slots_removed: list[NextView] = field(default_factory=list)
    refused: str = ""
    """Of a dry run: why it could not be written as things are."""
    there: bytes | None = None
    """The text that is there, where that is not `base`."""


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
