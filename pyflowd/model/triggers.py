"""What starts runs: by time, and by events. Compiled, as `workflow`."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct, field

from pyflowd.model.states import RunState


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


class Expectation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`expect`: alerts where something did not happen; it stops nothing."""

    start_within_s: float | None = None
    """After a slot's time."""
    finish_by: str = ""
    """`HH:MM`, in the zone of the schedule: the run of the newest slot before it has succeeded by then."""
    max_duration_s: float | None = None
