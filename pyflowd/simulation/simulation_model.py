"""What a simulation is given, and what it tells. Types only.

A simulation is a restart of the daemon on another clock: `Basis` holds the very rows that a restart reads, and what
else decides. Times are microseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pyflowd.model.states import Fate, Reason, RunState, SlotReason
from pyflowd.schedules.calendars import NOTHING, Entries


class Basis(Struct, frozen=True, kw_only=True):
    """The host as it is at `now_us`."""

    now_us: int
    mono_us: int
    """The boot-time clock in the same instant."""
    host: str
    """The store's instance: stable jitter comes of it."""
    timezone: str
    max_tasks: int
    pools: dict[str, int] = {}
    """As the settings size them."""
    next_run: int = 1
    rows: dict[str, list[list[Any]]] = {}
    """By the name of the statement that would read them. Where one is asked for a single key, each row begins with it.
    """
    almanac: Entries = NOTHING
    durations: dict[tuple[str, str], Duration] = {}
    """By workflow and task."""


class Duration(Struct, frozen=True, kw_only=True):
    """How long a task took in its last runs that succeeded."""

    runs: int
    median_s: float
    p90_s: float
    """Nine of ten took no longer."""
    items: int = 0
    """Of a fan-out: the median of their number."""


class Options(Struct, frozen=True, kw_only=True):
    """What the one who asks assumes."""

    default_s: float = 60.0
    """Of a task that has no history."""
    slow: bool = False
    """Tasks take as long as nine of ten of their runs do, not as long as every other."""


class Ref(Struct, frozen=True, kw_only=True):
    """How a person knows a run that may not exist: by its workflow and its time."""

    workflow: str
    at_us: int
    """Its nominal time, or when it was, or will be, recorded."""
    run: int | None = None
    """Where it exists."""


class Waiting(Struct, frozen=True, kw_only=True):
    """A run, or one of its tasks, could have begun, but for something of others."""

    since_us: int
    until_us: int
    """Where it is not over: the end of the simulation."""
    over: bool = True
    place: str
    """`overlap`, `lock db`, `pool net`, `group x`, `max_tasks`, `gate`."""
    task: str = ""
    """Empty: the run as a whole."""
    behind: tuple[Ref, ...] = ()
    """Whoever holds the place then, or comes before."""


class SimulatedSlot(Struct, frozen=True, kw_only=True):
    """Rule T1, of a time to come."""

    workflow: str
    trigger: str
    scheduled_us: int
    fate: Fate
    reason: SlotReason | None = None
    because: Ref | None = None
    """The run in whose way it would be."""
    run: int | None = None
    """Its number within the simulation."""
    detail: str = ""
    """Which calendar or blackout, what a condition used."""


class SimulatedRun(Struct, frozen=True, kw_only=True):
    number: int
    """Within the simulation."""
    ref: Ref
    trigger: str
    by_slot: bool
    created_us: int
    started_us: int | None = None
    ended_us: int | None = None
    """None: it has not ended when the simulation ends."""
    state: RunState = RunState.QUEUED
    reason: Reason | None = None
    error: str = ""
    waits: tuple[Waiting, ...] = ()
    called_by: int | None = None


class Peak(Struct, frozen=True, kw_only=True):
    """The most that was in use at once, and when first."""

    used: int = 0
    size: int = 0
    at_us: int = 0


class Simulation(Struct, frozen=True, kw_only=True):
    """What came of it. Slots in the order in which they were decided, runs in that in which they were recorded."""

    begun_us: int
    """Where it began: what came before `from_us` only leads to the state of things then."""
    from_us: int
    to_us: int
    slots: tuple[SimulatedSlot, ...] = ()
    runs: tuple[SimulatedRun, ...] = ()
    """All that were live between `from_us` and `to_us`."""
    tasks: Peak = Peak()
    """Places of the host."""
    live: Peak = Peak()
    """Runs that had begun."""
    pools: dict[str, Peak] = {}
    assumptions: tuple[str, ...] = ()
    """What could not be told, and what was taken for it."""

    def of(self, workflows: Collection[str]) -> Simulation:
        """Only what is told of some of them; the host is as full as it is."""
        return replace(
            self,
            slots=tuple(slot for slot in self.slots if slot.workflow in workflows),
            runs=tuple(run for run in self.runs if run.ref.workflow in workflows),
        )
