"""The workflows in force: their definitions, their schedules, and how a start becomes a run.

Holds what `catalog` decided about the files, asks `schedule` what is due and `overlap` what becomes of a start, and
writes all of it into the turn's batch. It opens no file of the workflows folder.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import msgspec

from pyflowd.base import zones
from pyflowd.base.zones import Zone
from pyflowd.clock import Clock
from pyflowd.engine import overlap
from pyflowd.engine.state import TaskRun
from pyflowd.errors import NoWorkflow, Refused
from pyflowd.events import (
    DefinitionLoaded,
    DefinitionRefused,
    DefinitionRemoved,
    RunCreated,
    WorkflowPaused,
    WorkflowResumed,
)
from pyflowd.language import params as parameters
from pyflowd.model.problem import Problem, Severity
from pyflowd.model.states import Reason, SlotReason
from pyflowd.model.triggers import Catchup, EventTrigger, Expectation, Schedule
from pyflowd.model.workflow import Concurrency, Overlap, Retention, Task, Workflow
from pyflowd.protocol.views_runs import RunView
from pyflowd.protocol.views_workflows import NextView, WorkflowView
from pyflowd.runtime import admission, changes, context
from pyflowd.runtime.admission import Admission
from pyflowd.runtime.calendars_watch import CalendarWatch
from pyflowd.runtime.health import Note
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.rights import Groups, Rights
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.slots import SCHEDULER, Book, Planned, Slots, Starter
from pyflowd.schedules import schedule
from pyflowd.schedules.fates import Due
from pyflowd.store.batch import RunMeta
from pyflowd.store.store import Store
from pyflowd.triggers import event_values, trigger_condition
from pyflowd.triggers.event_ledger import EventLedger

KEPT_COMPILED = 64
LIVE_MAX = 10_000
"""Live runs beyond which no task may call another one: loops that call loops multiply."""

log = logging.getLogger("pyflowd.runtime.workflows")
_workflow = msgspec.msgpack.Decoder(Workflow)
_problems = msgspec.msgpack.Decoder(list[Problem])
_outputs = msgspec.msgpack.Decoder(dict[str, Any])


class _Nothing(msgspec.Struct, frozen=True):
    """A task of which only the presence counts."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept decoded of every definition in force; the rest is decoded when it is needed."""

    triggers: tuple[Schedule, ...] = ()
    catchup: Catchup | None = None
    description: str = ""
    overlap: Overlap | None = None
    queue_max: int = 100
    retention: Retention | None = None
    tasks: tuple[_Nothing, ...] = ()
    concurrency: Concurrency | None = None
    locks: tuple[str, ...] = ()
    pools: dict[str, int] = {}
    gates: _Nothing | None = None
    secrets: tuple[str, ...] = ()
    expect: Expectation | None = None
    events: tuple[EventTrigger, ...] = ()
    visible_to: tuple[str, ...] = ()
    operate_by: tuple[str, ...] = ()
    labels: dict[str, str] = {}


_head = msgspec.msgpack.Decoder(Head)


class Entry:
    """A workflow that is, or was, in force."""

    __slots__ = ("compiled", "digest", "file", "head", "loaded_us", "name", "paused_by", "paused_us")

    def __init__(self, name: str, file: str, digest: str, compiled: bytes, loaded_us: int) -> None:
        self.name = name
        self.file = file
        self.digest = digest
        self.compiled = compiled
        self.head = _head.decode(compiled)
        self.loaded_us = loaded_us
        self.paused_us: int | None = None
        self.paused_by = ""

    @property
    def definition(self) -> Workflow:
        return _workflow.decode(self.compiled)

    @property
    def planned(self) -> Planned:
        return Planned(triggers=self.head.triggers, catchup=self.head.catchup)


class Unreadable(NamedTuple):
    """What was in force, by a definition that the store cannot give back: it is again when its file is read."""

    digest: str
    loaded_us: int
    books: Mapping[str, Book]


class Workflows:
    """All definitions in force, their timetable, and the starts of runs. One thread; part of a turn."""

    def __init__(self, store: Store, runs: Runs, admission: Admission, host_id: str, zone: Zone) -> None:
        self.store = store
        self.runs = runs
        self.admission = admission
        self._pool_sizes: dict[str, int] | None = None
        """As the definitions in force declare them; None: to be looked up again."""
        runs.sharing.declared_size = lambda pool: self._declared_pools().get(pool)
        runs.sharing.declared_pools = self._declared_pools
        runs.recall.digest_of = self._digest_of
        self.clock: Clock = runs.clock
        self.zone = zone
        self.host_id = host_id
        self.entries: dict[str, Entry] = {}
        self.unreadable: dict[str, Unreadable] = {}
        self.note: Note = lambda *_, **__: None
        """Told of what of the store cannot be read, and is set aside."""
        starter = Starter(self._decide_slot, self._fire, self.is_paused)
        self.slots = Slots(store, runs, host_id, zone, starter)
        self.timetable = self.slots.timetable
        self.calendars: CalendarWatch | None = None
        self._paused: dict[str, tuple[int, str]] = {}
        """Also of workflows whose file is gone for the moment: a pause outlives a re-installation."""
        self.topics: set[str] = set()
        """What changed in this turn, for those who watch."""
        self._recent: OrderedDict[str, Workflow] = OrderedDict()
        self.ledger = EventLedger(store, lambda: runs.batch)
        self.rights = Rights(store, lambda: runs.batch)
        self.event_changes = 0
        """How often event triggers have come or gone: whoever looks for events has to look anew."""
        self.on_end: Callable[[LiveRun], None] = lambda _: None
        """Called in the turn in which a run ends."""
        self.on_definition: Callable[[str], None] = lambda _: None
        """Told of a workflow whose definition in force has changed, or is gone."""
        self.user_of: Callable[[Workflow, Task], str] = lambda *_: ""
        """As whom a task of a definition runs; set where that is known."""
        self.refusals: Callable[[str], list[Problem]] = lambda _: []
        """Why the file of a workflow that is not in force is not; none where there is no such file."""

    # ---- Looking up

    def find(self, name: str) -> Entry:
        """The workflow in force; raises Refused with what is wrong with its file, NotFound with the nearest name."""
        entry = self.entries.get(name)
        if entry is not None:
            return entry
        if problems := self.refusals(name):
            more = f"; and {len(problems) - 1} more, see: pyflowctl list" if len(problems) > 1 else ""
            raise Refused(f"{name} is not in force: {problems[0]}{more}")
        raise NoWorkflow(name, list(self.entries))

    def compiled(self, digest: str) -> Workflow:
        """The definition of this text, in force or not (rule D1). Raises Refused where the store cannot give it."""
        known = self._recent.get(digest)
        if known is None:
            try:
                known = _workflow.decode(self.store.one("compiled", digest)[0])
            except (msgspec.MsgspecError, UnicodeDecodeError, TypeError) as error:
                raise Refused(f"the definition cannot be read in the store ({error}); see: pyflowctl doctor") from error
            self._recent[digest] = known
            if len(self._recent) > KEPT_COMPILED:
                self._recent.popitem(last=False)
        return known

    def outputs(self, stored: bytes | None) -> dict[str, Any]:
        """Outputs of a run as the store keeps them."""
        return {} if stored is None else _outputs.decode(stored)

    def decode(self, compiled: bytes) -> Workflow:
        return _workflow.decode(compiled)

    def warnings(self, sees: Callable[[str], bool]) -> list[str]:
        """What of the schedules an administrator would not expect; of the workflows that one `sees`."""
        return [*self.slots.warnings(self.clock.wall_us(), sees), *self.held_all(sees)]

    def held_all(self, sees: Callable[[str], bool]) -> list[str]:
        """Every schedule that is held, and why."""
        return [f"{name}: held: {why}" for name in sorted(self.entries) if sees(name) for why in self.held(name)]

    def held(self, name: str) -> list[str]:
        """Why schedules of a workflow in force start nothing before somebody mends what they name."""
        found = ((each.name, self.slots.almanac.held(each)) for each in self.find(name).head.triggers if each.enabled)
        return [f"{trigger}: {why}" for trigger, why in found if why]

    def upcoming(self, workflow: str | None, limit: int, hidden: Collection[str] = ()) -> list[NextView]:
        """`hidden`: workflows that are left out."""
        left_out = {*self._paused, *hidden} if hidden else self._paused
        coming = self.timetable.upcoming(self.clock.wall_us(), limit, workflow, left_out)
        return [
            NextView(
                workflow=due.workflow,
                trigger=due.trigger.name,
                scheduled_us=due.scheduled_us,
                timezone=due.trigger.timezone or self.zone.name,
            )
            for due in coming
        ]

    def users_of_secrets(self, sees: Callable[[str], bool]) -> dict[str, list[str]]:
        """Each secret that a definition in force names, with the workflows that do; of those that one `sees`."""
        users: dict[str, list[str]] = {}
        for name, entry in sorted(self.entries.items()):
            for secret in entry.head.secrets if sees(name) else ():
                users.setdefault(secret, []).append(name)
        return users

    def paused(self, name: str) -> tuple[int | None, str]:
        """Since when its schedules are off, and by whom; None where they are not."""
        return self._paused.get(name, (None, ""))

    def idle(self, name: str) -> str:
        """Why its schedules start nothing: `unscheduled`, `paused`, `disabled`, `held`; empty where they do."""
        triggers = self.find(name).head.triggers
        if not triggers:
            return "unscheduled"
        if name in self._paused:
            return "paused"
        enabled = [trigger for trigger in triggers if trigger.enabled]
        if enabled and all(self.slots.almanac.held(trigger) for trigger in enabled):
            return "held"
        return "" if enabled else "disabled"

    def view(self, entry: Entry, problems: list[Problem], last: RunView | None) -> WorkflowView:
        """What `list` and `show` say of a workflow in force; `problems` are those of its newest text."""
        next_us = self.timetable.next_of(entry.name, self.clock.wall_us())
        stale = any(problem.severity is Severity.ERROR for problem in problems)
        paused = entry.name in self._paused
        schedules = [schedule.text_of(trigger, self.zone) for trigger in entry.head.triggers]
        return WorkflowView(
            workflow=entry.name,
            state="paused" if paused else "stale" if stale else "active",
            file=entry.file,
            description=entry.head.description,
            schedules=schedules,
            next_us=None if paused else next_us,
            paused_by=self._paused.get(entry.name, (0, ""))[1],
            last=last,
            live_runs=len(self.runs.of_workflow.get(entry.name, ())),
            tasks_total=len(entry.head.tasks),
            problems=problems,
            disabled=bool(schedules) and not any(trigger.enabled for trigger in entry.head.triggers),
            events=[event_values.trigger_text(trigger) for trigger in entry.head.events],
            labels=entry.head.labels,
        )

    # ---- Definitions come and go

    def restore(self, now_us: int) -> None:
        """What was in force when the daemon last was there; the slots since then are accounted for as `down`."""
        books: dict[str, dict[str, Book]] = {}
        for workflow, trigger, cursor_us, anchor_us in self.store.rows("triggers"):
            books.setdefault(workflow, {})[trigger] = Book(cursor_us, anchor_us)
        for name, file, digest, loaded_us, paused_us, paused_by, compiled in self.store.rows("workflows"):
            if paused_us is not None:
                self._paused[name] = (paused_us, paused_by)
            if digest is None:
                continue
            try:
                entry = self.entries[name] = Entry(name, file, digest, compiled, loaded_us)
            except (msgspec.MsgspecError, UnicodeDecodeError, TypeError) as error:
                self._set_aside(name, Unreadable(digest, loaded_us, books.get(name, {})), error)
                continue
            self.slots.restore(name, entry.planned, books.get(name, {}), now_us)

    def _set_aside(self, name: str, lost: Unreadable, error: Exception) -> None:
        """One row that makes no sense keeps no other workflow from its work: the file gives it back, if it is there."""
        self.unreadable[name] = lost
        why = f"it is not in force, as the store cannot give it back ({error}) until its file is read again"
        log.error("definition of %s: %s", name, why, extra={"action": "definition_set_aside"})
        self.note(f"definition of {name}", why, "error", workflows=(name,))

    def _take_back(self, name: str, file: str, lost: Unreadable, compiled: bytes) -> None:
        """The same text was read again: what was in force goes on where it was, its slots too."""
        now_us = self.clock.wall_us()
        entry = self.entries[name] = Entry(name, file, lost.digest, compiled, lost.loaded_us)
        self.runs.batch.add("workflow", name, file, lost.digest, lost.loaded_us)
        self.runs.batch.add("definition_mend", compiled, lost.digest)
        self.rights.put(name, Groups(entry.head.visible_to, entry.head.operate_by))
        self.slots.restore(name, entry.planned, lost.books, now_us)
        self.event_changes += 1
        self.on_definition(name)

    def put(self, name: str, file: str, digest: str, text: bytes, compiled: bytes) -> None:
        """Put a definition in force; one with the text that is in force already changes its file only."""
        self._forget_pools()
        if lost := self.unreadable.pop(name, None):
            self.note(f"definition of {name}", "")
            if lost.digest == digest:
                self._take_back(name, file, lost, compiled)
                return
        now_us = self.clock.wall_us()
        batch, old = self.runs.batch, self.entries.get(name)
        loaded_us = old.loaded_us if old and old.digest == digest else now_us
        entry = self.entries[name] = Entry(name, file, digest, compiled, loaded_us)
        batch.add("workflow", name, file, digest, loaded_us)
        self.rights.put(name, Groups(entry.head.visible_to, entry.head.operate_by))
        if old and old.digest == digest:
            return
        batch.add("definition", digest, text, compiled, now_us)
        last = old.digest if old else None
        change = changes.record_loaded(self.store, batch, now_us, name, file, digest, text, last)
        batch.host_event(DefinitionLoaded(now_us, name, file, digest, change))
        self.slots.put(name, old.planned if old else Planned(), entry.planned, now_us)
        self._put_events(name, old.head.events if old else (), entry.head.events)
        self.on_definition(name)

    def _put_events(self, name: str, before: tuple[EventTrigger, ...], after: tuple[EventTrigger, ...]) -> None:
        if before != after:
            self.event_changes += 1
            self.ledger.put(name, before, after, self.clock.wall_us())

    def remove(self, name: str) -> None:
        """Rule D3: its schedules end, its runs go on."""
        entry = self.entries.pop(name)
        self._forget_pools()
        now_us = self.clock.wall_us()
        self.slots.remove(name, entry.planned, now_us)
        self.runs.batch.add("workflow_remove", name)
        self._put_events(name, entry.head.events, ())
        self.on_definition(name)
        changes.record_removed(self.runs.batch, now_us, name, entry.file)
        self.runs.batch.host_event(DefinitionRemoved(now_us, name))

    def moved(self, name: str, file: str) -> None:
        """The same text is in force from another file."""
        entry = self.entries[name]
        if entry.file != file:
            entry.file = file
            self.runs.batch.add("workflow_file", file, name)

    def refused(self, name: str, problem: Problem) -> None:
        """Say that a newer text of `name` is bad (rule D2)."""
        self.runs.batch.host_event(DefinitionRefused(self.clock.wall_us(), name, str(problem)))

    def pause(self, name: str, by: str) -> None:
        """Schedules off, or on where `by` is empty. Slots that pass meanwhile are rows `skipped: paused`."""
        self.find(name)
        now_us = self.clock.wall_us()
        if by and name in self._paused:
            return
        if by:
            self._paused[name] = (now_us, by)
            self.runs.batch.add("workflow_pause", now_us, by, name)
            self.runs.batch.host_event(WorkflowPaused(now_us, name, by))
        else:
            self.resume(name, "")

    def resume(self, name: str, by: str) -> None:
        """Schedules on again."""
        self.find(name)
        if self._paused.pop(name, None):
            self.runs.batch.add("workflow_pause", None, "", name)
            self.runs.batch.host_event(WorkflowResumed(self.clock.wall_us(), name, by))

    def is_paused(self, name: str) -> bool:
        return name in self._paused

    def pause_of(self, name: str) -> tuple[int, str] | None:
        """Since when it is paused, and by whom."""
        return self._paused.get(name)

    def take_topics(self) -> set[str]:
        topics, self.topics = self.topics, set()
        return topics

    # ---- Starts

    def start(
        self,
        name: str,
        digest: str,
        definition: Workflow,
        values: dict[str, Any],
        *,
        trigger: str,
        by: str,
        key: str = "",
        rerun_of: int | None = None,
        kept: RunCreated | None = None,
        scheduled_us: int | None = None,
        backfill: int | None = None,
    ) -> LiveRun:
        """Record a run that somebody asked for; raises Refused where the queue is full (rule T5)."""
        decision = self._decide(name, definition, by_schedule=False)
        if isinstance(decision, overlap.RefuseFull):
            raise Refused(f"{name}: {decision.queued} runs wait already (queue_max); cancel some, or wait")
        meta = RunMeta(
            run=self.runs.next_run(), workflow=name, digest=digest, trigger=trigger, params=values, requested_by=by,
            key=key, rerun_of=rerun_of, created_us=self.clock.wall_us(), scheduled_us=scheduled_us, backfill=backfill,
            of_slot_us=kept.of_slot_us if kept else None, of_trigger=kept.of_trigger if kept else "",
            event=self.runs.event_of(rerun_of) if rerun_of else None,
        )  # fmt: skip
        return self._enter(self._completed(meta, definition), definition, kept, decision)

    def has_room(self, name: str) -> bool:
        """Whether a run that an event starts would be taken."""
        decision = self._decide(name, self.entries[name].head, by_schedule=False)
        return not isinstance(decision, overlap.RefuseFull)

    def start_by_event(
        self, entry: Entry, trigger: str, values: dict[str, Any], event: dict[str, Any], by: str, depth: int
    ) -> LiveRun | overlap.RefuseFull:
        """Record a run that an event starts; it queues as one that somebody asked for. Raises Refused."""
        definition = entry.definition
        decision = self._decide(entry.name, definition, by_schedule=False)
        if isinstance(decision, overlap.RefuseFull):
            return decision
        meta = RunMeta(
            run=self.runs.next_run(), workflow=entry.name, digest=entry.digest, trigger=trigger, params=values,
            requested_by=by, created_us=self.clock.wall_us(), depth=depth, event=event,
        )  # fmt: skip
        return self._enter(self._completed(meta, definition), definition, None, decision)

    def _completed(self, meta: RunMeta, definition: Workflow) -> RunMeta:
        """With the params whose defaults are expressions over the run. Raises Refused."""
        zone = context.zone_of(definition, meta.slot_trigger, self.zone.info, zones.zone)
        if any(param.default is not None and param.name not in meta.params for param in definition.params):
            names = context.run_names(meta, zone)
            values = parameters.bind(definition.params, meta.params, from_text=False, run=names)
            meta = msgspec.structs.replace(meta, params=values)
        admission.check(definition, meta, zone)
        return meta

    def call(self, parent: LiveRun, task: str, name: str, values: dict[str, Any], key: str, *, wait: bool) -> int:
        """Record the run that a `workflow` task asks for; its id. Raises NotFound, Refused.

        One that is waited for is part of a live run, as a function is part of its caller: no overlap rule holds it
        back, so a workflow may call itself.
        """
        entry = self.find(name)
        definition = entry.definition
        if parent.workflow.owner_uid not in (None, definition.owner_uid):
            raise Refused(
                f"{name} belongs to somebody else: {parent.meta.workflow} may call workflows of its owner only"
            )
        if len(self.runs.live) >= LIVE_MAX:
            raise Refused(
                f"{len(self.runs.live)} runs are live; at most {LIVE_MAX} may be while runs call further ones"
            )
        bound = parameters.bind(definition.params, values, from_text=False)
        known = self.runs.with_key(name, key)
        if known is not None:
            if any(known[1].get(param) != value for param, value in bound.items()):
                raise Refused(f'the key "{key}" was used for run {known[0]}, with other params; use another key')
            return known[0]
        decision: overlap.Decision = overlap.Start()
        if not wait:
            decision = self._decide(name, definition, by_schedule=False)
            if isinstance(decision, overlap.RefuseFull):
                raise Refused(f"{name}: {decision.queued} runs wait already (queue_max)")
        meta = RunMeta(
            run=self.runs.next_run(), workflow=name, digest=entry.digest, trigger="workflow", params=bound,
            requested_by=parent.meta.requested_by, key=key, created_us=self.clock.wall_us(),
            scheduled_us=parent.meta.slot_us, parent=parent.meta.run, parent_task=task,
            depth=parent.meta.depth + 1,
        )  # fmt: skip
        caller = (parent, parent.run.tasks[task]) if wait else None
        kept = RunCreated(meta.created_us, no_cache=wait and parent.run.kept.no_cache)
        return self._enter(self._completed(meta, definition), definition, kept, decision, caller).meta.run

    def _digest_of(self, name: str) -> str:
        """Of the definition in force; empty: there is none."""
        entry = self.entries.get(name)
        return entry.digest if entry else ""

    def _forget_pools(self) -> None:
        """A definition has come or gone: pools may have other sizes."""
        self._pool_sizes = None
        self.runs.sharing.places.stir()

    def _declared_pools(self) -> dict[str, int]:
        """Pools and the least size that a definition in force gives each."""
        if self._pool_sizes is None:
            self._pool_sizes = {}
            for entry in self.entries.values():
                for name, size in entry.head.pools.items():
                    self._pool_sizes[name] = min(size, self._pool_sizes.get(name, size))
        return self._pool_sizes

    def _decide(self, name: str, definition: Workflow | Head, *, by_schedule: bool) -> overlap.Decision:
        """What becomes of a start beside the live runs of the workflow (rule T5)."""
        shared = definition.concurrency
        queue_max = definition.queue_max if shared is None or shared.queue_max is None else shared.queue_max
        return overlap.decide(
            definition.overlap, by_schedule, self.runs.references(name), queue_max,
            limit=shared.limit if shared else 1,
            may_wait=bool(shared or definition.locks or definition.gates),
        )  # fmt: skip

    def _enter(
        self,
        meta: RunMeta,
        definition: Workflow,
        kept: RunCreated | None,
        decision: overlap.Decision,
        caller: tuple[LiveRun, TaskRun] | None = None,
    ) -> LiveRun:
        """Record the run and do what the overlap rule decided of it and of others."""
        match decision:
            case overlap.EnqueueLatest(drop=others) | overlap.Replace(cancel=others):
                for other in others:
                    if not self.runs.live[other].run.stopping:  # a second cancel would cut its grace (rule R5)
                        self.runs.cancel(self.runs.live[other], f"run {meta.run}", Reason.REPLACED)
            case _:
                pass
        live = self.runs.create(meta, definition, kept or RunCreated(meta.created_us))
        live.caller = caller
        if not isinstance(decision, overlap.Start):
            return live
        if self.runs.aside.in_the_way(meta.workflow):
            self._admit(meta.workflow)
        else:
            self.admission.admit(live)
        return live

    def after_runs(self, ended: list[LiveRun]) -> None:
        """Runs have ended: start what follows them, let the next queued ones of their workflows go."""
        for live in ended:
            self.on_end(live)
            self.admission.withdraw(live.meta.run)
            self._admit(live.meta.workflow)
        for name in self.runs.aside.take_freed():
            self._admit(name)

    def admit_all(self) -> None:
        """After a restart: queued runs that nothing of their own workflow keeps go on waiting for the rest, or go."""
        for name in list(self.runs.of_workflow):
            self._admit(name)
        for live in list(self.runs.live.values()):
            self.slots.watch(live)

    def _admit(self, name: str) -> None:
        """Let queued runs of a workflow get past the overlap rule, the oldest first, as far as it allows."""
        live = self.runs.of_workflow.get(name, [])
        past = sum(each.admitted for each in live) + len(self.runs.aside.in_the_way(name))
        for each in list(live):
            shared, queued = each.workflow.concurrency, not each.admitted
            called = each.caller is not None
            if queued and (called or each.workflow.overlap is Overlap.ALLOW or past < (shared.limit if shared else 1)):
                self.admission.admit(each)
                past += 1

    # ---- Slots

    def next_due_us(self) -> int | None:
        """When the wall clock must be looked at again."""
        return self.slots.next_due_us()

    def has_work(self) -> bool:
        """Whether `tick` has something to write already."""
        return self.slots.has_work()

    def tick(self) -> None:
        """Give every slot that has come due its row, and those that fire their run (rule T1)."""
        self.slots.tick()

    def fire_reboot(self) -> None:
        """The host has been started."""
        self.slots.fire_boot()

    def _decide_slot(self, name: str, in_turn: bool) -> overlap.Decision:
        """Several that are made up for would skip each other: they queue, unless the file says otherwise."""
        head = self.entries[name].head
        return self._decide(name, head, by_schedule=not in_turn or head.overlap is not None)

    def _fire(self, due: Due, decision: overlap.Decision) -> None:
        """Record the run of a slot with its row; a row that says why where there can be none."""
        entry, trigger = self.entries[due.workflow], due.trigger
        definition = entry.definition
        try:
            values = parameters.bind(definition.params, trigger.params, from_text=False)
            meta = RunMeta(
                run=self.runs.next_run(), workflow=entry.name, digest=entry.digest, trigger=trigger.name,
                params=values, requested_by=SCHEDULER, scheduled_us=due.scheduled_us, created_us=self.clock.wall_us(),
            )  # fmt: skip
            meta = self._completed(meta, definition)
        except Refused as error:
            log.error("%s: slot skipped: %s", entry.name, error, extra={"action": "bad_params"})
            self.slots.skip(due, SlotReason.BAD_PARAMS, detail=str(error))
            return
        zone = context.zone_of(definition, meta.slot_trigger, self.zone.info, zones.zone)
        verdict = trigger_condition.judge(trigger.condition, context.RunNames(meta, zone))
        if not verdict.holds:
            reason = SlotReason.EXPRESSION_ERROR if verdict.error else SlotReason.CONDITION_FALSE
            if verdict.error:
                log.error("%s: slot skipped: if: %s", entry.name, verdict.error, extra={"action": "condition_error"})
            self.slots.skip(due, reason, detail=verdict.detail)
            return
        self.slots.fired(due, self._enter(meta, definition, None, decision))
