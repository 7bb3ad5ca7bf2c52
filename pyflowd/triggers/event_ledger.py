"""The ledger of what reached event triggers: one row each, in the transaction of the run that it started (rule I2).

Also what file and unit triggers need to know over a restart: since when they are there, what was there before them,
and which files were about to be claimed. It knows nothing of files and units themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from pyflowd.model.states import Fate, SlotReason
from pyflowd.model.triggers import EventTrigger, FileTrigger, UnitTrigger
from pyflowd.store.batch import Batch
from pyflowd.store.store import Store


class Place(NamedTuple):
    """What a row of the ledger is about; together they are unique."""

    workflow: str
    trigger: str
    key: str


class Firing(NamedTuple):
    """How an event ended at a trigger."""

    fate: Fate
    reason: SlotReason | None = None
    run: int | None = None
    error: str = ""
    is_new: bool = False
    """False: it had been there before, and this is the first answer."""


class Claim(NamedTuple):
    """A file that was to be renamed."""

    place: Place
    source: str
    target: str


class Since(NamedTuple):
    """A trigger that looks at something that lasts."""

    spec: str
    since_us: int
    known: bytes | None


class EventLedger:
    """Part of a turn: writes into its batch, and knows what was written there before the commit."""

    def __init__(self, store: Store, batch: Callable[[], Batch]) -> None:
        """`batch`: that of the turn."""
        self._store = store
        self._batch_of_turn = batch
        self._batch: Batch | None = None
        self._fresh: dict[Place, Firing] = {}
        """Rows that are not committed yet."""
        self.since: dict[tuple[str, str], Since] = {
            (workflow, trigger): Since(spec, since_us, known)
            for workflow, trigger, spec, since_us, known in store.rows("event_triggers")
        }

    @property
    def batch(self) -> Batch:
        batch = self._batch_of_turn()
        if batch is not self._batch:
            self._fresh.clear()
            self._batch = batch
        return batch

    # ---- Rows

    def find(self, place: Place) -> Firing | None:
        """What became of it before."""
        assert self.batch is not None  # forgets what an earlier turn has committed
        if place in self._fresh:
            return self._fresh[place]
        row = self._store.one_or_none("firing", *place)
        if row is None:
            return None
        return Firing(Fate(row[0]), SlotReason(row[1]) if row[1] else None, row[2], row[3])

    def add(self, place: Place, firing: Firing, at_us: int, summary: str, expires_us: int | None = None) -> Firing:
        self.batch.add(
            "firing", *place, at_us, firing.fate, firing.reason, firing.run, summary, firing.error, expires_us
        )
        self._fresh[place] = firing
        return firing._replace(is_new=True)

    def keys(self, workflow: str, trigger: str) -> list[str]:
        """Of one trigger, oldest first; committed ones."""
        return [row[0] for row in self._store.rows("firing_keys", workflow, trigger)]

    # ---- Triggers come and go

    def put(self, workflow: str, before: Iterable[EventTrigger], after: Iterable[EventTrigger], now_us: int) -> None:
        """A definition has come into force: what a trigger looks at from now on has no past."""
        gone = {trigger.name for trigger in before}
        for trigger in after:
            spec = _spec(trigger)
            known = self.since.get((workflow, trigger.name))
            if spec is None:
                continue
            gone.discard(trigger.name)
            if known is None or known.spec != spec:
                self.since[workflow, trigger.name] = Since(spec, now_us, None)
                self.batch.add("event_trigger", workflow, trigger.name, spec, now_us)
        for name in gone:
            if self.since.pop((workflow, name), None):
                self.batch.add("event_trigger_remove", workflow, name)

    def set_known(self, workflow: str, trigger: str, known: bytes) -> None:
        """What was there before the trigger."""
        self.since[workflow, trigger] = self.since[workflow, trigger]._replace(known=known)
        self.batch.add("event_trigger_known", known, workflow, trigger)

    def move_on(self, workflow: str, trigger: str, since_us: int) -> None:
        """What happened up to then has been told."""
        self.since[workflow, trigger] = self.since[workflow, trigger]._replace(since_us=since_us)
        self.batch.add("event_trigger_since", since_us, workflow, trigger)

    # ---- Claims

    def claims(self) -> list[Claim]:
        """Those that a daemon before this one has begun."""
        return [Claim(Place(*row[:3]), row[3], row[4]) for row in self._store.rows("claims")]

    def begin_claim(self, claim: Claim) -> None:
        self.batch.add("claim", *claim.place, claim.source, claim.target)

    def end_claim(self, claim: Claim) -> None:
        self.batch.add("claim_remove", *claim.place)


def _spec(trigger: EventTrigger) -> str | None:
    """What it looks at; switched off and on again is another thing. None: it looks at nothing that lasts."""
    match trigger:
        case FileTrigger():
            looked_at = trigger.path
        case UnitTrigger():
            looked_at = trigger.unit
        case _:
            return None
    return looked_at if trigger.enabled else f"off {looked_at}"
