"""Builds the parts of the daemon, starts them in order, stops them in reverse. The only module that knows everybody."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import selectors
import signal
import socket
import stat

from pyflowd import journal, settings
from pyflowd.base import peer, zones
from pyflowd.base.pool import Pool
from pyflowd.base.timers import Timers
from pyflowd.clock import US, SystemClock
from pyflowd.control.control import Answers, Control
from pyflowd.control.replies import framed
from pyflowd.crashpoints import arm
from pyflowd.errors import PyflowError, Refused, Unavailable
from pyflowd.events import DaemonStarted, DaemonStopped, MessageLost
from pyflowd.expressions import template
from pyflowd.folder.definitions import Definitions
from pyflowd.folder.loader_frames import Folders
from pyflowd.handlers.console import Console
from pyflowd.handlers.handlers import Handlers
from pyflowd.handlers.handlers_approvals import ApprovalHandlers
from pyflowd.handlers.handlers_backfill import BackfillHandlers
from pyflowd.handlers.handlers_logs import LogHandlers
from pyflowd.handlers.handlers_notify import NotificationHandlers
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.handlers.handlers_secrets import SecretHandlers
from pyflowd.keeper.memory import close_memory
from pyflowd.model.kinds import Notify
from pyflowd.paths import Paths
from pyflowd.protocol.words import Level
from pyflowd.runtime import launch
from pyflowd.runtime.admission import Admission
from pyflowd.runtime.backfill_runs import Backfills
from pyflowd.runtime.calendars_watch import CalendarWatch
from pyflowd.runtime.clock_steps import ClockSteps
from pyflowd.runtime.context import TaskNames
from pyflowd.runtime.dispatcher import Dispatcher
from pyflowd.runtime.endings import Endings
from pyflowd.runtime.event_sources import EventSources
from pyflowd.runtime.expectation_watch import Expectations
from pyflowd.runtime.handlers_hooks import HookHandlers
from pyflowd.runtime.health import Health
from pyflowd.runtime.http_tasks import HttpTasks
from pyflowd.runtime.inside import InsideTasks
from pyflowd.runtime.janitor import Janitor
from pyflowd.runtime.keeperlink import KeeperLink
from pyflowd.runtime.launcher import Launcher
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.notify_spool import Notifier
from pyflowd.runtime.retention import Retirement
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.sampler import Sampler
from pyflowd.runtime.scratch import Scratch
from pyflowd.runtime.secret_lookups import SecretLookups
from pyflowd.runtime.tasklogs import TaskLogs
from pyflowd.runtime.workflows import Workflows
from pyflowd.secrets.secrets_resolver import Resolver
from pyflowd.store.batch import Batch
from pyflowd.store.store import Store
from pyflowd.systemd import listeners, notify
from pyflowd.version import VERSION

RETENTION_EVERY_US = 600 * US
DRAIN_S = 20.0
"""Rule I4: how long a stop waits for requests that are under way."""

log = logging.getLogger("pyflowd.daemon")


class Daemon:
    """One instance, from its paths to its end."""

    def __init__(self, paths: Paths, *, spawn_keeper: bool) -> None:
        os.umask(0o027)
        self.paths = paths
        self.settings = settings.load(paths.settings)
        _make_folders(paths)
        clock = SystemClock()
        self.clock = clock
        self.secrets = Resolver(self.settings.secrets, self.settings.secrets_key, paths, os.environ, clock)
        self.timers = Timers()
        self.selector = selectors.DefaultSelector()
        self.health = Health(paths.label, clock.wall_us())
        self.store = Store(paths.state)
        self.logs = TaskLogs(paths.log)
        zone = zones.zone(self.settings.timezone) if self.settings.timezone else zones.host_zone()
        self.runs = Runs(self.store, clock, self.timers, self.settings.max_tasks, zone)
        self.runs.sharing.settings_sizes = self.settings.pools
        self.pool = Pool(self.settings.max_tasks)
        host = launch.read_host(dict(os.environ), paths.workflows)
        admission = Admission(self.runs, self.pool, {**host.passed_on, "PATH": host.own.path, "HOME": host.own.home})
        self.workflows = Workflows(self.store, self.runs, admission, self.store.instance, zone)
        self.calendars = self.workflows.calendars = CalendarWatch(
            paths.settings, zone, clock, self.pool, put=self.workflows.slots.put_almanac, note=self.health.note
        )
        self.definitions = Definitions(
            self.workflows, Folders(os.path.abspath(paths.workflows), paths.vendor), self.timers, self.selector
        )
        self.events = EventSources(self.workflows, self.pool, self.timers, self.selector, self.health.note)
        self.sampler = Sampler(self.runs, self.settings.sample_interval_s)
        self.scratch = Scratch(paths.state, self._secret())
        self.runs.artifact_path, self.runs.scratch_path = self.scratch.artifact, self.scratch.work
        self.janitor = Janitor(self.logs, self.scratch)
        self.notifier = Notifier(
            store=self.store, timers=self.timers, clock=clock, pool=self.pool, settings=self.settings,
            host=socket.gethostname(), zone=zone.info, note=self.health.note,
            lost=_say_lost,
        )  # fmt: skip
        lookups = SecretLookups(self.secrets, self.pool)
        http = HttpTasks(self.runs, self.pool, self.logs, self.scratch, clock, self.settings.log_max_bytes, lookups)
        self.inside = InsideTasks(self.runs, self.workflows, self._send, http.prepare, http.cancel)
        endings = Endings(
            self.runs, self.logs, self.scratch, self.pool, host, self.settings.artifact_max_bytes, lookups
        )
        self.retirement = Retirement(self.runs, self.workflows, self.logs, self.janitor, self.settings.retention)
        of_runs = RunHandlers(self.store, self.runs, self.workflows, self.definitions, self.sampler, self.health)
        self.backfills = Backfills(self.workflows)
        self.expectations = Expectations(self.workflows, self.notifier)
        groups = {Level.READ: self.settings.group_read, Level.OPERATE: self.settings.group_operate}
        of_hooks = HookHandlers(self.events.starts, self.secrets, self.pool, self.health)
        handlers = Handlers(
            of_runs, groups, NotificationHandlers(self.runs, self.notifier),
            LogHandlers(of_runs, self.logs, self.scratch), ApprovalHandlers(of_runs, self.inside),
            SecretHandlers(self.runs, self.secrets, self.workflows.users_of_secrets),
            BackfillHandlers(of_runs, self.backfills), self.expectations, of_hooks,
        )  # fmt: skip
        console = Console(handlers.handle, clock, zone.name)
        known = peer.roles(os.geteuid(), self.settings.group_operate, self.settings.group_read)
        self.control = Control(
            listeners() or listen(paths.socket), self.selector, self.timers, clock, known,
            Answers(request=framed(handlers.handle), command=console.answer),
        )  # fmt: skip
        self.link = KeeperLink(paths.keeper, paths.label, spawn=spawn_keeper)
        launcher = Launcher(
            runs=self.runs, link=self.link, logs=self.logs, scratch=self.scratch, lookups=lookups, timers=self.timers,
            clock=clock, settings=self.settings, host=host,
        )  # fmt: skip
        self.dispatcher = Dispatcher(
            store=self.store, runs=self.runs, workflows=self.workflows, admission=admission, inside=self.inside,
            http=http, endings=endings, scratch=self.scratch, janitor=self.janitor, notifier=self.notifier,
            pool=self.pool, link=self.link, control=self.control, logs=self.logs, timers=self.timers, clock=clock,
            selector=self.selector, launcher=launcher, lookups=lookups, health=self.health, events=self.events,
            hooks=of_hooks,
            backfills=self.backfills, expectations=self.expectations,
            clock_steps=ClockSteps(self.runs, self.health),
        )  # fmt: skip

    def _secret(self) -> str:
        """Of this store: what only it may be able to compute."""
        known = self.store.meta("secret")
        if known is None:
            known = secrets.token_hex(16)
            batch = self.store.batch()
            batch.add("meta", "secret", known)
            self.store.commit(batch)
        return known

    def _send(self, kind: Notify, live: LiveRun, names: TaskNames) -> str:
        """The message of a `notify` task, into the spool; the reason where it cannot be. Raises ExpressionError."""
        text = template.render_text(kind.text, names)
        subject = template.render_text(kind.subject, names) if kind.subject else ""
        try:
            self.notifier.send(
                self.runs.batch, kind.channel, text, subject=subject, workflow=live.meta.workflow, run=live.meta.run
            )
        except PyflowError as error:
            return str(error)
        return ""

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; tasks go on after that."""
        self._catch_signals()
        self._start()
        notify("READY=1")
        log.info("pyflowd %s serves %s", VERSION, self.paths.label, extra={"action": "started"})
        try:
            self.dispatcher.run()
        except PyflowError as error:
            if error.fatal:
                notify("STOPPING=1")
                self._abandon()
            raise
        notify("STOPPING=1")
        self._stop()

    def _start(self) -> None:
        now_us = self.clock.wall_us()
        if not self.store.take_ballast():
            self.dispatcher.disk_is_full(f"{self.paths.state}: no space left on the device; free some")
        self.calendars.begin(self.settings)
        self.workflows.slots.held = True  # until the folder has been looked at
        self.workflows.restore(now_us)
        self.dispatcher.start()
        self.notifier.start()
        self.runs.batch.host_event(DaemonStarted(now_us, VERSION, self.dispatcher.boot_id))
        self.events.start()
        self.definitions.start()
        self.definitions.when_settled(self.workflows.slots.release)
        self._every(RETENTION_EVERY_US, self.retirement.begin)
        self._every(round(self.settings.sample_interval_s * US), self._sample)
        self.control.start()

    def _every(self, period_us: int, call: object) -> None:
        assert callable(call)

        def again() -> None:
            call()
            self.timers.at(self.clock.mono_us() + period_us, again)

        self.timers.at(self.clock.mono_us() + period_us, again)

    def _sample(self) -> None:
        if self.runs.active:
            self.sampler.take()

    def _stop(self) -> None:
        """In reverse; what is in the store stays true whether or not this comes to its end."""
        self.dispatcher.drain(DRAIN_S)
        self.definitions.stop()
        self.runs.batch.host_event(DaemonStopped(self.clock.wall_us()))
        self.dispatcher.finish()
        self.janitor.stop()
        self.control.stop()
        self.dispatcher.close()
        self.store.close()
        log.info("pyflowd has stopped; running tasks go on", extra={"action": "stopped"})

    def _abandon(self) -> None:
        """Rule I8: after an error of the store nothing is written, acknowledged or answered any more."""
        self.events.stop()
        self.definitions.stop()
        self.control.stop()
        self.dispatcher.close()

    def _catch_signals(self) -> None:
        """Signals only write a byte that wakes the loop; what they mean is decided there."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        self._wake = ours, theirs
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        self.selector.register(ours, selectors.EVENT_READ, self._signalled)

    def _signalled(self, _: int) -> None:
        for number in self._wake[0].recv(64):
            if number in (signal.SIGTERM, signal.SIGINT):
                self.dispatcher.stop()
            elif number == signal.SIGHUP:
                self.definitions.rescan()
                self.calendars.reload()


def _say_lost(batch: Batch, channel: str, number: int, error: str) -> None:
    """The event of a message that reached nobody."""
    batch.host_event(MessageLost(SystemClock().wall_us(), channel, number, error))


def _make_folders(paths: Paths) -> None:
    """Create what is missing, for our eyes only where it holds state."""
    try:
        os.makedirs(paths.workflows, mode=0o755, exist_ok=True)
        for folder in (paths.state, paths.log, paths.keeper):
            os.makedirs(folder, mode=0o700, exist_ok=True)
        os.makedirs(os.path.dirname(paths.socket), mode=0o755, exist_ok=True)
        for folder in (paths.state, paths.log):
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)
    except OSError as error:
        raise Unavailable(
            f"{error.filename}: {error.strerror}; run pyflowd as the user who owns it, or choose --root DIR"
        ) from error


def listen(path: str) -> socket.socket:
    """A listening control socket at `path`, however deep its folder is (the kernel takes 107 bytes of a path).

    Any account may connect; what it is answered depends on who it is (`peer`).
    """
    folder, name = os.path.split(path)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        near = f"/proc/self/fd/{handle}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            if not stat.S_ISSOCK(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode):
                raise Refused(f"{path}: there is something that is no socket; take it away")
        except FileNotFoundError:
            pass
        aside = f".{name}.{os.getpid()}"
        listener.bind(f"{near}/{aside}")
        os.chmod(f"{near}/{aside}", 0o666)  # noqa: S103  (who may ask what is decided by the peer's identity)
        listener.listen(256)
        os.rename(aside, name, src_dir_fd=handle, dst_dir_fd=handle)
    finally:
        os.close(handle)
    return listener


def run(paths: Paths, *, spawn_keeper: bool, verbose: bool) -> None:
    """Be the daemon; returns after a clean stop. Raises PyflowError where it cannot start."""
    journal.start(verbose=verbose)
    arm(dict(os.environ))
    if not close_memory():
        raise Unavailable("the host does not let pyflowd keep its memory to itself (prctl), and it may hold secrets")
    try:
        daemon = Daemon(paths, spawn_keeper=spawn_keeper)
    except OSError as error:
        raise Unavailable(
            f"{error.filename or paths.label}: {error.strerror}; see that its folders can be written by this user"
        ) from error
    daemon.run()
