"""The one loop: wait for an event or a deadline, decide, commit, act.

Everything that happens arrives through one selector or one heap of timers, in one thread. A turn takes all that is
waiting, lets the parts decide in memory, commits what they changed in one durable transaction, and only then carries
out the effects and answers those who asked. A crash between commit and effect is repaired by `recovery`.
"""

from __future__ import annotations

import logging
import os
import selectors
from typing import assert_never

import msgspec

from pyflowd.base.pool import Pool
from pyflowd.base.timers import Timers
from pyflowd.clock import US, Clock, ClockWatch
from pyflowd.control.control import Control
from pyflowd.crashpoints import crashpoint
from pyflowd.engine.state import TaskRun
from pyflowd.errors import Unavailable
from pyflowd.model.kinds import ProcessKind
from pyflowd.model.states import TaskState
from pyflowd.notify.notify import Ended as RunEnded
from pyflowd.notify.notify import FailedTask
from pyflowd.runtime import recovery
from pyflowd.runtime.admission import TOKEN as GATES
from pyflowd.runtime.admission import Admission
from pyflowd.runtime.backfill_runs import Backfills
from pyflowd.runtime.calendars_watch import TOKEN as CALENDARS
from pyflowd.runtime.clock_steps import ClockSteps
from pyflowd.runtime.endings import TOKEN as ARTIFACTS
from pyflowd.runtime.endings import Endings
from pyflowd.runtime.errands import TOKEN as ERRANDS
from pyflowd.runtime.errands import Errands
from pyflowd.runtime.event_file_watch import TOKEN as FILES
from pyflowd.runtime.event_journal import EventJournal
from pyflowd.runtime.event_sources import EventSources
from pyflowd.runtime.expectation_watch import Expectations
from pyflowd.runtime.handlers_hooks import TOKEN as HOOKS
from pyflowd.runtime.handlers_hooks import HookHandlers
from pyflowd.runtime.health import Health
from pyflowd.runtime.http_tasks import TOKEN as HTTP
from pyflowd.runtime.http_tasks import HttpTasks
from pyflowd.runtime.inside import InsideTasks
from pyflowd.runtime.janitor import Janitor
from pyflowd.runtime.keeperlink import Ended, Gone, KeeperLink, Refusal, Running
from pyflowd.runtime.launcher import Launcher
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.metrics import Metrics
from pyflowd.runtime.notify_spool import TOKEN as NOTIFY
from pyflowd.runtime.notify_spool import Notifier
from pyflowd.runtime.runs import Acknowledge, Launch, Runs, Stop
from pyflowd.runtime.scratch import Scratch
from pyflowd.runtime.secret_lookups import TOKEN as SECRETS
from pyflowd.runtime.secret_lookups import SecretLookups
from pyflowd.runtime.service import Service
from pyflowd.runtime.tasklogs import TaskLogs
from pyflowd.runtime.upkeep_jobs import TOKEN as UPKEEP
from pyflowd.runtime.upkeep_jobs import UpkeepJobs
from pyflowd.runtime.workflows import Workflows
from pyflowd.store.store import NoSpace, Store

WAIT_MAX_US = 60 * US
KEEPER_RETRY_US = US // 2
SPACE_RETRY_US = US
SPACE_MIN_BYTES = 8 << 20
"""Free beside the ballast before new work is taken again."""
SET_ASIDE_TOLD = 10
"""Runs whose record cannot be read, each by itself."""
AWAITED = (HTTP, ARTIFACTS, SECRETS, HOOKS, NOTIFY, ERRANDS)
"""What a stop waits for in the pool: parts of attempts, messages, answers that somebody waits for."""
LAUNCHES_AT_ONCE = 64
"""Each holds two or three descriptors until it is sent to the keeper."""

log = logging.getLogger("pyflowd.runtime.dispatcher")


class Dispatcher:
    """Owns the turn. The parts are given; nothing here outlives `run`."""

    def __init__(
        self,
        *,
        store: Store,
        runs: Runs,
        workflows: Workflows,
        admission: Admission,
        inside: InsideTasks,
        http: HttpTasks,
        endings: Endings,
        scratch: Scratch,
        janitor: Janitor,
        notifier: Notifier,
        pool: Pool,
        link: KeeperLink,
        control: Control,
        logs: TaskLogs,
        timers: Timers,
        clock: Clock,
        selector: selectors.BaseSelector,
        launcher: Launcher,
        lookups: SecretLookups,
        health: Health,
        events: EventSources,
        hooks: HookHandlers,
        upkeep: UpkeepJobs,
        backfills: Backfills,
        expectations: Expectations,
        clock_steps: ClockSteps,
        service: Service,
        journal: EventJournal,
        metrics: Metrics,
        errands: Errands,
    ) -> None:
        self.metrics = metrics
        self.errands = errands
        self.clock_steps = clock_steps
        self.service = service
        self.journal = journal
        self.backfills = backfills
        self.expectations = expectations
        self.store = store
        self.runs = runs
        self.workflows = workflows
        self.admission = admission
        self.inside = inside
        self.http = http
        self.endings = endings
        self.scratch = scratch
        self.janitor = janitor
        self.notifier = notifier
        self.pool = pool
        self.link = link
        self.control = control
        self.logs = logs
        self.timers = timers
        self.clock = clock
        self.selector = selector
        self.launcher = launcher
        self.lookups = lookups
        self.health = health
        self.events = events
        self.hooks = hooks
        self.upkeep = upkeep
        self.epoch = ""
        """The keeper's life that we are connected to; empty: none."""
        self.boot_id = ""
        self.stopping = False
        self._draining = False
        self._told_before = 0
        """The number of the event that comes next, as of the turn that was told last."""
        self._clock_watch = ClockWatch()
        self._writing = False
        self._link_descriptor = -1

    # ---- Life

    def start(self) -> None:
        """Rebuild, connect to the keeper, match every live attempt, commit that."""
        self.runs.rebuild(self.workflows.compiled)
        self._tell_set_aside()
        self.backfills.restore()
        self.expectations.restore()
        for live in self.runs.live.values():
            live.log_bytes = self.logs.run_bytes(live.meta.run)
        self.selector.register(self._clock_watch, selectors.EVENT_READ, self._clock_was_set)
        self.selector.register(self.pool, selectors.EVENT_READ, self._pool_ready)
        for run in self.scratch.leftovers(self.runs.live.keys() | self.runs.aside.runs.keys()):
            self.janitor.remove_scratch(run)
        known_boot = self.store.meta("boot_id")
        self._connect(timeout_s=10.0, known_boot=known_boot)
        self.inside.recover()
        self.runs.batch.add("meta", "boot_id", self.boot_id)
        self.clock_steps.restore(self.boot_id)
        if known_boot != self.boot_id:
            self.workflows.fire_reboot()  # with the boot's id in one commit: never lost, never twice
        self.workflows.admit_all()
        self._finish_turn()

    def _tell_set_aside(self) -> None:
        found = list(self.runs.aside.runs.values())
        for each in found[:SET_ASIDE_TOLD]:
            log.error("%s", each.text, extra={"action": "run_set_aside"})
            said = f"of {each.workflow}, {each.state}"
            self.health.note(f"run {each.run}", said, "error", workflows=(each.workflow,))
        if len(found) > SET_ASIDE_TOLD:
            more = f"{len(found) - SET_ASIDE_TOLD} more are set aside, as their records cannot be read"
            self.health.note("runs", f"{more}; see: pyflowctl fsck", "error")

    def run(self) -> None:
        """Turn until told to stop."""
        while not self.stopping:
            self.turn()

    def stop(self) -> None:
        """End the loop after this turn; from a signal's callback."""
        self.stopping = True

    def finish(self) -> None:
        """A last turn for what was begun; nothing new is started or waited for."""
        self._finish_turn(starts=False)

    def close(self) -> None:
        """Let go of the keeper; safe twice."""
        if self.epoch:
            self.selector.unregister(self._link_descriptor)
            self.epoch = ""
            self.link.goodbye()
        self.link.close()
        self._clock_watch.close()

    # ---- One turn

    def turn(self) -> None:
        ready = self.selector.select(self._timeout_s())
        began_us = self.clock.mono_us()
        for key, mask in ready:
            key.data(mask)
        self.clock_steps.look()
        self.timers.fire(self.clock.mono_us())
        self._finish_turn()
        self.journal.write(idle=not ready)
        self.metrics.turns.add(self.clock.mono_us() - began_us)

    def _timeout_s(self) -> float:
        """Until the next deadline of either clock; the wall clock's is watched by a timer that notices a step."""
        now_us = self.clock.mono_us()
        due_us = self.timers.next_due_us()
        wait_us = WAIT_MAX_US if due_us is None else max(0, due_us - now_us)
        full = self.health.has("disk")
        if self.control.has_work() or ((self.workflows.has_work() or self.events.has_work()) and not full):
            wait_us = 0
        if not full and (self.expectations.has_work() or (self._may_start() and self.backfills.has_work())):
            wait_us = 0
        dues_us = (self.workflows.next_due_us(), self.expectations.next_due_us())
        due_us = None if full else min((due for due in dues_us if due is not None), default=None)
        if not self._clock_watch.arm(due_us):  # slots wait for space
            wait_us = 0
        journal_us = self.journal.wait_us()
        return min(wait_us, WAIT_MAX_US if journal_us is None else journal_us, WAIT_MAX_US) / US

    def _finish_turn(self, *, starts: bool = True) -> None:
        """Decide what is due, give out places, commit, act, answer."""
        full = self.health.has("disk")
        if not full:
            self.workflows.tick()
            self.events.tick()
        self._settle(starts=starts and not full and self._may_start())
        self.expectations.runs_changed(self.runs.changed)
        if self._commit():
            self._act()
            self.notifier.deliver_due()
            self._tell()
            self.expectations.look()
        else:
            self.control.flush()  # what only reads is answered from what is durable

    def _may_start(self) -> bool:
        return bool(self.epoch) and not self._draining and not self.runs.drained

    def _settle(self, *, starts: bool) -> None:
        """What follows within the turn: queued runs go, tasks take the places that are free, called runs end."""
        again = True
        while again:
            ended, self.runs.ended = self.runs.ended, []
            self.workflows.after_runs(ended)
            for live in ended:
                self._run_ended(live)
            if starts:
                self.backfills.advance()
                self.runs.fill(self.epoch)
            again = self.inside.settle(ended) or bool(self.runs.ended)

    def _run_ended(self, live: LiveRun) -> None:
        """Tell those who want to know, and let go of what only a live run needs."""
        run = live.run
        self.backfills.run_ended(live)
        self.expectations.run_ended(live)
        if self.scratch.forget(live.meta.run):
            self.runs.ended_with_scratch.append(live.meta.run)
        failed = tuple(
            FailedTask(task=task.name, state=task.state, reason=task.reason, error=task.error)
            for task in run.by_index
            if task.state is TaskState.FAILED
        )
        ended_us = run.ended_us or self.clock.wall_us()
        told = RunEnded(
            state=run.state, reason=run.reason, error=run.error, started_us=run.started_us, ended_us=ended_us,
            failed=failed,
        )  # fmt: skip
        self.notifier.run_ended(self.runs.batch, live.meta, live.workflow, told)

    def _pool_ready(self, _: int) -> None:
        """Something that only waits on the network or the disk is done."""
        for token, result in self.pool.receive():
            if token.startswith(HTTP):
                self.http.taken(token.removeprefix(HTTP), result)
            elif token.startswith(ARTIFACTS):
                self.endings.taken(token.removeprefix(ARTIFACTS), result)
            elif token.startswith(SECRETS):
                self.lookups.taken(token, result)
            elif token == CALENDARS and self.workflows.calendars is not None:
                self.workflows.calendars.taken(result)
                self.workflows.topics.add("workflows")
            elif token.startswith(GATES):
                self.admission.taken(token, result)
            elif token.startswith(HOOKS):
                self.hooks.taken(token.removeprefix(HOOKS), result)
            elif token.startswith(FILES):
                self.events.taken(token.removeprefix(FILES), result)
            elif token.startswith(ERRANDS):
                self.errands.taken(token, result)
            elif token.startswith(NOTIFY):
                self.notifier.taken(self.runs.batch, token, result)
            elif token == UPKEEP:
                self.upkeep.taken(result)
                self.workflows.topics.add(UPKEEP)

    def drain(self, timeout_s: float) -> None:
        """Rule I4: what is under way in the pool is given some time to end. All else is served, but nothing started."""
        self.notifier.stop()
        self.events.stop()
        self._draining = True
        due_us = self.clock.mono_us() + round(timeout_s * US)
        end = self.timers.at(due_us, lambda: None)  # to wake the loop
        if self._is_awaited():
            self.health.note("stopping", f"requests under way are waited for, {timeout_s:g} s at most; no task starts")
        while self._is_awaited() and self.clock.mono_us() < due_us:
            self.turn()
        end.cancel()
        self.pool.stop(0)
        self._pool_ready(0)

    def _is_awaited(self) -> bool:
        """Whether the pool has something to do that is not just looked at again by the next daemon."""
        return any(token.startswith(AWAITED) for token in self.pool.under_way)

    # ---- Commit

    def _commit(self) -> bool:
        """Make the turn durable. False: the disk is full, and nothing may be done or said until it is (rule I9)."""
        batch = self.runs.batch
        if not batch.writes:
            return True
        crashpoint("before_commit")
        try:
            self.store.commit(batch)
        except NoSpace as error:
            if not self.store.release_ballast():
                return self._no_space(error)
            try:
                self.store.commit(batch)
            except NoSpace:
                return self._no_space(error)
            self.disk_is_full(str(error))
        crashpoint("after_commit")
        self.journal.committed(batch.facts)
        self.metrics.committed(batch)
        self.runs.committed()
        return True

    def _no_space(self, error: NoSpace) -> bool:
        """Nothing of the batch is durable. It is kept for another try; who asked in the turn that met it is refused.

        Later requests that change something are refused before they do (`Health.check_writable`), so answers that are
        begun from now on only read.
        """
        if not self.health.has("disk"):
            self.control.refuse_fresh(
                Unavailable(f"{error}; not acknowledged: it is recorded if there is space again soon, see history")
            )
        self.disk_is_full(str(error))
        return False

    def disk_is_full(self, why: str) -> None:
        if not self.health.has("disk"):
            log.error("%s; new work waits, ends of running tasks are kept", why, extra={"action": "disk_full"})
            self.health.note("disk", why, "error")
            self.timers.at(self.clock.mono_us() + SPACE_RETRY_US, self._look_for_space)

    def _look_for_space(self) -> None:
        """Recovery by itself: when there is room for the ballast again, and some more."""
        stat = os.statvfs(self.store.folder)
        if stat.f_bavail * stat.f_frsize > self.store.ballast_missing() + SPACE_MIN_BYTES and self.store.take_ballast():
            log.info("there is space again", extra={"action": "disk_recovered"})
            self.health.note("disk", "")
        else:
            self.timers.at(self.clock.mono_us() + SPACE_RETRY_US, self._look_for_space)

    # ---- Act

    def _act(self) -> None:
        actions, self.runs.actions = self.runs.actions, []
        if not self.epoch:  # when the keeper is back, `recovery` finds what there is to do with processes
            actions = [action for action in actions if isinstance(action, Launch) and not _is_process(action.task)]
        launched, acknowledged = 0, False
        for action in actions:
            match action:
                case Acknowledge():
                    self.link.acknowledge(action.attempt_id)
                    acknowledged = True
                case Launch() if not _is_process(action.task):
                    self.http.launch(self.runs.attempt_id(action.live.run, action.task))
                case Launch():
                    self.launcher.launch(action.live, action.task)
                    launched += 1
                    if not launched % LAUNCHES_AT_ONCE:
                        self._send()  # what is sent is closed here
                case Stop():
                    self.launcher.stop(action.attempt_id, action.grace_s)
                    self.endings.stop(action.attempt_id)
                case _:
                    assert_never(action)
        if actions:
            crashpoint("before_send")
            self._send()
            crashpoint("after_send")
            if acknowledged:
                crashpoint("acknowledged")

    def _send(self) -> None:
        """Send to the keeper what it takes now; listen for room where it does not take all."""
        self.link.flush()
        writing = self.link.wants_write()
        if writing != self._writing:
            self._writing = writing
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
            self.selector.modify(self._link_descriptor, events, self._keeper_ready)

    # ---- Tell

    def _tell(self) -> None:
        """Answer what was asked in this turn, and wake those who watch what changed."""
        crashpoint("before_reply")
        for run in self.runs.ended_with_scratch:
            self.janitor.remove_scratch(run)
        self.runs.ended_with_scratch.clear()
        changed, self.runs.changed = self.runs.changed, set()
        topics = {f"run/{run}" for run in changed}
        if self.runs.batch.next_event != self._told_before:  # also of the host alone: a pause, a drain, a new text
            self._told_before = self.runs.batch.next_event
            topics.add("events")
        topics |= self.workflows.take_topics()
        if topics:
            self.control.wake(topics)
            self.service.changed()
        self.control.flush()
        crashpoint("after_reply")

    # ---- The keeper

    def _connect(self, timeout_s: float, known_boot: str | None) -> None:
        """Connect, and match every live attempt with what the keeper knows. Raises Unavailable."""
        listing = self.link.connect(timeout_s)
        crashpoint("connected")
        self.epoch, self.boot_id = listing.epoch, listing.boot_id
        self.runs.boot_id = listing.boot_id
        own = self.link.keeper_uid() == os.geteuid()
        self.launcher.host = msgspec.structs.replace(self.launcher.host, keeper_is_own=own)
        strangers = recovery.reconcile(
            self.runs, listing, self.endings.take, self.endings.had_begun_reboot,
            host_restarted=known_boot not in (None, listing.boot_id),
        )  # fmt: skip
        crashpoint("reconciled")
        for attempt_id in strangers:
            log.warning(
                "the keeper keeps attempt %s of another state folder; it is left alone", attempt_id,
                extra={"action": "stranger"},
            )  # fmt: skip
        self._link_descriptor = self.link.fileno()
        self.selector.register(self._link_descriptor, selectors.EVENT_READ, self._keeper_ready)
        self._writing = False
        older = "older than this daemon; it takes over the new version with: systemctl reload pyflow-keeper"
        self.health.note("keeper", older if self.link.is_older else "")
        self.health.fact("keeper", f"connected, life {listing.epoch}")

    def _keeper_ready(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._send()
        if not mask & selectors.EVENT_READ or not self.epoch:
            return
        events = self.link.receive()
        ended = {event.attempt for event in events if isinstance(event, Ended)}
        for event in events:
            match event:
                case Ended():
                    crashpoint("exit_read")
                    self._count_log(event.attempt)
                    self.endings.take(event.attempt, event.end)
                case Running():
                    if event.attempt not in ended:  # an attempt that has ended already needs no event of its own
                        self.runs.attempt_running(event.attempt, event.pid, event.started_us)
                case Refusal():
                    log.error("the keeper refuses: %s", event.message, extra={"action": "keeper_refused"})
                case Gone():
                    self._keeper_gone()
                    return

    def _count_log(self, attempt_id: str) -> None:
        """What the attempt's log takes counts against its run's quota."""
        found = self.runs.under_way(attempt_id)
        if found:
            live, task = found
            live.log_bytes += self.logs.size_bytes(live.meta.run, task.log_name, task.attempts)

    def _keeper_gone(self) -> None:
        """The link has closed itself: its old descriptor is all that the selector knows it by."""
        log.error("the keeper is gone; connecting again", extra={"action": "keeper_gone"})
        self.selector.unregister(self._link_descriptor)
        self.epoch = ""
        self.health.note("keeper", "gone; no task can start until it is back", "error")
        self._reconnect()

    def _reconnect(self) -> None:
        try:
            self._connect(timeout_s=0.3, known_boot=self.boot_id)
        except Unavailable as error:
            log.warning("no keeper yet: %s", error, extra={"action": "keeper_missing"})
            self.timers.at(self.clock.mono_us() + KEEPER_RETRY_US, self._reconnect)

    # ---- The clock

    def _clock_was_set(self, _: int) -> None:
        """Either the next slot is due or the clock was set: `tick` of this turn looks at the time anew (rule T8)."""
        self._clock_watch.read()


def _is_process(task: TaskRun) -> bool:
    return isinstance(task.definition.kind, ProcessKind)
