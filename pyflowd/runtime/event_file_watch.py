"""File triggers: has their folders looked at in the thread pool, and fires for each file that has come to rest.

A hint shortens the wait, a look every few seconds is what counts. What a look found is recorded in later turns, a few
at a time; a claim is recorded, carried out in the pool, and ends in the transaction of its run. One thread, part of a
turn, but for what the pool calls.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from pyflowd.base.pool import Cancel, Pool
from pyflowd.base.timers import Timer, Timers
from pyflowd.clock import US
from pyflowd.errors import Refused
from pyflowd.model.states import SlotReason
from pyflowd.model.triggers import FileTrigger
from pyflowd.runtime import context
from pyflowd.runtime.event_starts import EventStarts
from pyflowd.runtime.health import Note
from pyflowd.store.batch import Batch
from pyflowd.triggers.event_claims import Claimed, Claiming, Failed, Gone, Taken, claim
from pyflowd.triggers.event_files import Due, Look, State, Watched, from_key, key_of, target_of
from pyflowd.triggers.event_hints import EventHints
from pyflowd.triggers.event_ledger import Claim, Place

TOKEN = "files/"  # noqa: S105  (of the pool)
_CLAIM = "claim/"
LOOK_US = 5 * US
"""Between two looks, however quick they are; `UNHINTED_US` where there are no hints."""
UNHINTED_US = 2 * US
SHARE = 200
"""A look that takes a second is done every 200: folders of many files must not keep the daemon busy."""
HINT_US = US // 20
"""Files come in crowds: a hint waits this long for the next."""
AGAIN_US = US // 2
"""While the queue of the workflow is full, or a claim fails."""
HANGS_US = 30 * US
"""A look that takes longer is told of: a server of files may be gone."""
PER_TURN = 50
KEPT_US = 7 * 86_400 * US
"""Rows about states of files that are no more."""
PRUNE_US = 3600 * US
PRUNED_AT_ONCE = 1000

log = logging.getLogger("pyflowd.runtime.event_file_watch")
_states = msgspec.msgpack.Decoder(dict[str, tuple[int, int, int]])


class _Watch:
    """One trigger."""

    __slots__ = (
        "answered", "cursor", "due", "folders", "id", "looked_us", "looking", "patience", "problem", "pruned_us",
        "spec", "timer", "took_us", "trigger", "watched", "workflow",
    )  # fmt: skip

    def __init__(self, number: int, workflow: str, trigger: FileTrigger, spec: str, watched: Watched) -> None:
        self.id = number
        self.workflow = workflow
        self.trigger = trigger
        self.spec = spec
        self.watched = watched
        self.looking = False
        """Whether the pool has `watched`."""
        self.answered: list[tuple[str, State | None]] = []
        """For the next look."""
        self.due: deque[Due] = deque()
        self.folders: tuple[str, ...] = ()
        self.timer: Timer | None = None
        self.patience: Timer | None = None
        """While the pool looks: when to say that the file system does not answer."""
        self.looked_us = 0
        self.took_us = 0
        self.problem = ""
        self.cursor: str | None = None
        """Rows up to here have been looked at for pruning; None: that is not under way."""
        self.pruned_us: int | None = None


class FileEvents:
    """All file triggers of the host."""

    def __init__(self, starts: EventStarts, pool: Pool, timers: Timers, note: Note) -> None:
        """`note`: tells what is wrong with a subject, and with an empty text that nothing is."""
        self.starts = starts
        self.workflows = starts.workflows
        self.clock = starts.workflows.clock
        self.hints = EventHints()
        self._pool = pool
        self._timers = timers
        self._note = note
        self._watches: dict[int, _Watch] = {}
        self._by_place: dict[tuple[str, str], _Watch] = {}
        self._number = 0
        self._seen_changes = -1
        self._claims: deque[tuple[Batch | None, Claim]] = deque()
        """Intended, with the batch that says so; None: it is in the store."""
        self._claiming: dict[str, Claim] = {}
        self._stopped = False

    def start(self) -> None:
        """Take up what a daemon before this one has begun."""
        self._claims.extend((None, each) for each in self.starts.ledger.claims())

    def stop(self) -> None:
        """Nothing is asked of the pool any more; safe twice."""
        self._stopped = True
        self.hints.stop()

    # ---- The turn

    def has_work(self) -> bool:
        """Whether the next turn has something to do at once."""
        if self._stopped:
            return False
        return bool(self._claims) or any(watch.due and watch.timer is None for watch in self._watches.values())

    def tick(self) -> None:
        if self._stopped:
            return
        if self._seen_changes != self.workflows.event_changes:
            self._seen_changes = self.workflows.event_changes
            self._refresh()
        left = PER_TURN
        for watch in self._watches.values():
            while watch.due and left > 0 and watch.timer is None:
                left -= 1
                if not self._fire(watch, watch.due[0]):
                    self._later(watch, AGAIN_US)
                    break
                watch.due.popleft()
            if not watch.due and not watch.looking and watch.timer is None:
                self._plan(watch)
        self._carry_out()

    def hinted(self, _: int = 0) -> None:
        """Something has happened in some folders."""
        happened = self.hints.receive()
        for watch in self._watches.values():
            if not watch.looking and not watch.due and not happened.isdisjoint(watch.folders):
                self._later(watch, max(HINT_US, min(LOOK_US, watch.took_us * SHARE // 10)))

    # ---- Triggers come and go

    def _refresh(self) -> None:
        wanted = {(name, trigger.name): trigger for name, trigger in self.starts.triggers(FileTrigger)}
        since = self.starts.ledger.since
        for place, watch in list(self._by_place.items()):
            known = since.get(place)
            if place in wanted and known is not None and known.spec == watch.spec:
                watch.trigger = wanted.pop(place)
            else:
                self._drop(watch)
        for (workflow, name), trigger in wanted.items():
            known = since.get((workflow, name))
            if known is None or not trigger.enabled:
                continue
            before = None
            if known.known is not None:
                before = {path: State(*state) for path, state in _states.decode(known.known).items()}
            watched = Watched(
                trigger.path, stable_us=round(trigger.stable_for_s * US), since_us=known.since_us, before=before,
                keys=self.starts.ledger.keys(workflow, name),
            )  # fmt: skip
            self._number += 1
            watch = _Watch(self._number, workflow, trigger, known.spec, watched)
            self._watches[watch.id] = self._by_place[workflow, name] = watch
            self._look(watch)

    def _drop(self, watch: _Watch) -> None:
        del self._watches[watch.id], self._by_place[watch.workflow, watch.trigger.name]
        if watch.timer:
            watch.timer.cancel()
        if watch.patience:
            watch.patience.cancel()
        if watch.looking:
            self._pool.cancel(f"{TOKEN}{watch.id}")
        self._tell(watch, "")
        self._want_hints()

    # ---- Looking

    def _later(self, watch: _Watch, delay_us: int) -> None:
        """Look, or go on with what is due, then at the latest."""
        due_us = self.clock.mono_us() + delay_us
        if watch.timer is not None:
            if watch.timer.due_us <= due_us:
                return
            watch.timer.cancel()

        def again() -> None:
            watch.timer = None
            if not watch.due:
                self._look(watch)

        watch.timer = self._timers.at(due_us, again)

    def _plan(self, watch: _Watch) -> None:
        hinted = watch.folders and all(map(self.hints.watches, watch.folders))
        self._later(watch, max(LOOK_US if hinted else UNHINTED_US, watch.took_us * SHARE))

    def _look(self, watch: _Watch) -> None:
        if watch.looking or self._stopped or watch.id not in self._watches:
            return
        watch.looking, watch.looked_us = True, self.clock.mono_us()
        answered, watch.answered = watch.answered, []
        keys, now = self._old_keys(watch), self.clock.mono_us
        watched = watch.watched

        def hangs() -> None:
            self._tell(watch, f"{watch.trigger.path}: the file system does not answer; nothing that comes is seen")

        watch.patience = self._timers.at(watch.looked_us + HANGS_US, hangs)
        self._pool.submit(f"{TOKEN}{watch.id}", lambda _: watched.look(now, answered, keys))

    def taken(self, token: str, result: Any) -> None:
        """The pool is done with something of ours; `token` without `TOKEN`."""
        if token.startswith(_CLAIM):
            self._claimed(self._claiming.pop(token), result)
            return
        watch = self._watches.get(int(token))
        if watch is None:
            return
        if watch.patience:
            watch.patience.cancel()
        watch.looking, watch.took_us = False, self.clock.mono_us() - watch.looked_us
        if isinstance(result, Look):
            self._looked(watch, result)
        else:
            self._tell(watch, f"{watch.trigger.path}: {result}")

    def _looked(self, watch: _Watch, look: Look) -> None:
        self._tell(watch, f"{look.problem}; nothing that comes there is seen" if look.problem else "")
        if look.before is not None:
            known = msgspec.msgpack.encode({path: tuple(state) for path, state in look.before.items()})
            self.starts.ledger.set_known(watch.workflow, watch.trigger.name, known)
        for key in look.forgettable:
            self.starts.ledger.batch.add("prune_firing", watch.workflow, watch.trigger.name, key)
        if look.folders != watch.folders:
            watch.folders = look.folders
            self._want_hints()
        watch.due.extend(look.due)
        if not watch.due:
            self._plan(watch)
            if look.again_us is not None:
                self._later(watch, max(HINT_US, look.again_us - self.clock.mono_us()))

    def _want_hints(self) -> None:
        self.hints.want({folder for watch in self._watches.values() for folder in watch.folders})

    def _tell(self, watch: _Watch, problem: str) -> None:
        if problem != watch.problem:
            watch.problem = problem
            self._note(f"{watch.workflow}: trigger {watch.trigger.name}", problem, workflows=(watch.workflow,))

    # ---- Firing

    def _fire(self, watch: _Watch, due: Due) -> bool:
        """Whether it is done with; else the queue is full, and it waits."""
        place = Place(watch.workflow, watch.trigger.name, key_of(due.path, due.state))
        wanted = {"arrives": due.arrived, "changes": due.changed}
        if not any(wanted[each] for each in watch.trigger.on):
            if due.arrived:  # a change of it over a restart is told by this row
                self.starts.skip(place, SlotReason.ONLY_CHANGES, _summary(due.path, arrived=due.arrived))
        elif watch.trigger.claim and self._would_start(watch, due, place):
            if len(self._claiming) >= PER_TURN or not self.workflows.has_room(watch.workflow):
                return False
            self._intend(place, due.path, 0)
        else:
            event = self._event(due.path, due.state, "arrives" if due.arrived else "changes")
            try:
                self.starts.fire(
                    watch.workflow, watch.trigger, event, place.key, summary=_summary(due.path, arrived=due.arrived),
                    by=f"file {due.path}", ask_again=True,
                )  # fmt: skip
            except Refused as full:
                self._tell(watch, str(full))
                return False
        watch.answered.append((due.path, due.state))
        return True

    def _would_start(self, watch: _Watch, due: Due, place: Place) -> bool:
        """Whether the file may be claimed: what starts no run stays where it is, and is said to be skipped."""
        if self.starts.ledger.find(place) is not None:
            return False
        return self.starts.would_start(watch.workflow, watch.trigger, self._event(due.path, due.state, "arrives"))

    def _event(self, path: str, state: State, change: str, source: str = "") -> dict[str, Any]:
        folder, name = os.path.split(path)
        return {
            "path": path,
            "name": os.path.basename(source) or name,
            "folder": folder,
            "size": state.size_bytes,
            "modified_at": context.time_text(state.modified_ns // 1000, self.workflows.zone.info),
            "change": change,
            "found_at": source or path,
        }

    # ---- Claims

    def _intend(self, place: Place, source: str, number: int) -> None:
        claim = Claim(place, source, target_of(source, number))
        self.starts.ledger.begin_claim(claim)
        self._claims.append((self.starts.ledger.batch, claim))

    def _carry_out(self) -> None:
        """Those whose intent is durable."""
        batch = self.starts.ledger.batch
        while self._claims and self._claims[0][0] is not batch:
            _, intended = self._claims.popleft()
            state = from_key(intended.place.key)[1]
            token = f"{_CLAIM}{intended.place.workflow}/{intended.place.trigger}/{intended.place.key}"
            self._claiming[token] = intended
            self._pool.submit(TOKEN + token, _claiming(intended, state))

    def _claimed(self, intended: Claim, result: Claiming | BaseException) -> None:
        match result:
            case Claimed(state):
                self._record(intended, state)
            case Taken():
                number = int(intended.target.removeprefix(target_of(intended.source)).removeprefix(".") or 0)
                self.starts.ledger.end_claim(intended)
                self._intend(intended.place, intended.source, number + 1)
            case Gone():
                self.starts.ledger.end_claim(intended)
                self.starts.skip(intended.place, SlotReason.GONE, _summary(intended.source, arrived=True))
                watch = self._by_place.get(intended.place[:2])
                if watch is not None:  # one that is being written on has yet to arrive
                    watch.answered.append((intended.source, None))
            case Failed(why):
                self._claim_later(intended, why)
            case _:
                self._claim_later(intended, str(result))

    def _claim_later(self, intended: Claim, why: str) -> None:
        watch = self._by_place.get(intended.place[:2])
        if watch is not None:
            self._tell(watch, f"{why}; the file is not claimed")
        self._timers.at(self.clock.mono_us() + 10 * AGAIN_US, lambda: self._claims.append((None, intended)))

    def _record(self, intended: Claim, state: State) -> None:
        """The file is ours: the run, its row and the end of the claim in one transaction."""
        place = intended.place
        trigger = next((each for name, each in self.starts.triggers(FileTrigger)
                        if (name, each.name) == place[:2]), None)  # fmt: skip
        if trigger is None:
            log.warning(
                "%s was claimed for %s, which is gone; it stays there", intended.target, place.workflow,
                extra={"action": "claim_left"},
            )  # fmt: skip
            self.starts.ledger.end_claim(intended)
            return
        event = self._event(intended.target, state, "arrives", intended.source)
        try:
            self.starts.fire(
                place.workflow, trigger, event, place.key, summary=f"{intended.source} arrived, now {intended.target}",
                by=f"file {intended.source}", ask_again=True,
            )  # fmt: skip
        except Refused:
            self._timers.at(self.clock.mono_us() + AGAIN_US, lambda: self._record(intended, state))
            return
        self.starts.ledger.end_claim(intended)

    # ---- Pruning

    def _old_keys(self, watch: _Watch) -> list[str]:
        """Some keys to ask about with the next look, once an hour."""
        now_us = self.clock.mono_us()
        if watch.cursor is None:
            if watch.pruned_us is not None and now_us - watch.pruned_us < PRUNE_US:
                return []
            watch.cursor = ""
        before_us = self.clock.wall_us() - KEPT_US
        rows = self.workflows.store.rows(
            "firing_keys_before", watch.workflow, watch.trigger.name, watch.cursor, before_us, PRUNED_AT_ONCE
        )
        keys = [row[0] for row in rows]
        watch.cursor = keys[-1] if len(keys) == PRUNED_AT_ONCE else None
        if watch.cursor is None:
            watch.pruned_us = now_us
        return keys


def _claiming(intended: Claim, state: State) -> Callable[[Cancel], Claiming]:
    return lambda _: claim(intended.source, intended.target, state)


def _summary(path: str, *, arrived: bool) -> str:
    return f"{path} {'arrived' if arrived else 'changed'}"
