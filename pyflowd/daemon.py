"""Builds the parts of the daemon, starts them in order, stops them in reverse. The only module that knows everybody."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import secrets
import selectors
import signal
import socket
import stat
from collections.abc import Callable, Iterator

import msgspec

from pyflowd import journal, settings
from pyflowd.base import peer, zones
from pyflowd.base.pool import Pool
from pyflowd.base.timers import Timers
from pyflowd.base.trust import name_of
from pyflowd.clock import US, SystemClock
from pyflowd.control.control import Answers, Control
from pyflowd.control.replies import framed
from pyflowd.crashpoints import arm
from pyflowd.engine.state import IllegalEvent
from pyflowd.errors import PyflowError, Refused, Unavailable
from pyflowd.events import DaemonStarted, DaemonStopped, MessageLost
from pyflowd.expressions import template
from pyflowd.folder.definitions import Definitions
from pyflowd.folder.loader_frames import Folders
from pyflowd.handlers.access import Access
from pyflowd.handlers.console import Console
from pyflowd.handlers.handlers import Handlers
from pyflowd.handlers.handlers_approvals import ApprovalHandlers
from pyflowd.handlers.handlers_backfill import BackfillHandlers
from pyflowd.handlers.handlers_logs import LogHandlers
from pyflowd.handlers.handlers_metrics import MetricsHandlers, Surroundings
from pyflowd.handlers.handlers_notify import NotificationHandlers
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.handlers.handlers_saving import SaveHandlers
from pyflowd.handlers.handlers_secrets import SecretHandlers
from pyflowd.handlers.handlers_tokens import TokenHandlers
from pyflowd.handlers.handlers_upkeep import UpkeepHandlers
from pyflowd.journal import Journal
from pyflowd.keeper.memory import close_memory
from pyflowd.model.kinds import Notify
from pyflowd.paths import SYSTEM, Paths
from pyflowd.protocol.words import Level
from pyflowd.runtime import launch
from pyflowd.runtime.admission import Admission
from pyflowd.runtime.audit import Audit
from pyflowd.runtime.backfill_runs import Backfills
from pyflowd.runtime.calendars_watch import CalendarWatch
from pyflowd.runtime.clock_steps import ClockSteps
from pyflowd.runtime.context import TaskNames
from pyflowd.runtime.dispatcher import Dispatcher
from pyflowd.runtime.drain import Drain
from pyflowd.runtime.endings import Endings
from pyflowd.runtime.errands import Errands
from pyflowd.runtime.event_journal import EventJournal
from pyflowd.runtime.event_sources import EventSources
from pyflowd.runtime.expectation_watch import Expectations
from pyflowd.runtime.handlers_hooks import HookHandlers
from pyflowd.runtime.health import Health
from pyflowd.runtime.http_tasks import HttpTasks
from pyflowd.runtime.inside import InsideTasks
from pyflowd.runtime.janitor import Janitor
from pyflowd.runtime.keeperlink import KeeperLink
from pyflowd.runtime.last_words import LastWords
from pyflowd.runtime.launcher import Launcher
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.live_settings import LiveSettings, Take
from pyflowd.runtime.metrics import Metrics
from pyflowd.runtime.notify_spool import Notifier
from pyflowd.runtime.retention import Retirement
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.sampler import Sampler
from pyflowd.runtime.scratch import Scratch
from pyflowd.runtime.secret_lookups import SecretLookups
from pyflowd.runtime.service import Service
from pyflowd.runtime.tasklogs import TaskLogs
from pyflowd.runtime.tokens import Tokens
from pyflowd.runtime.upkeep_jobs import UpkeepJobs
from pyflowd.runtime.workflows import Workflows
from pyflowd.secrets.secrets_resolver import Resolver
from pyflowd.settings import Settings, UseJournal
from pyflowd.store.batch import Batch
from pyflowd.store.store import Store
from pyflowd.systemd import listeners, notify
from pyflowd.version import VERSION

RETENTION_EVERY_US = 600 * US
STORE_LOOK_EVERY_US = 60 * US
DRAIN_S = 20.0
"""Rule I4: how long a stop waits for requests that are under way."""

log = logging.getLogger("pyflowd.daemon")


class Daemon:
    """One instance, from its paths to its end."""

    def __init__(self, paths: Paths, journal: Journal, *, spawn_keeper: bool) -> None:
        os.umask(0o027)
        self.paths = paths
        self.settings = settings.load(paths.settings)
        self.journal = journal
        if self.settings.journal is not UseJournal.AUTO:
            journal.active = self.settings.journal is UseJournal.ALWAYS
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
        default_user = self.settings.default_user or paths.default_user
        host = launch.read_host(dict(os.environ), paths.workflows, default_user)
        admission = Admission(self.runs, self.pool, {**host.passed_on, "PATH": host.own.path, "HOME": host.own.home})
        self.workflows = Workflows(self.store, self.runs, admission, self.store.instance, zone)
        self.workflows.note = self.health.note
        self.calendars = self.workflows.calendars = CalendarWatch(
            paths.settings, zone, clock, self.pool, put=self.workflows.slots.put_almanac, note=self.health.note
        )
        self.definitions = Definitions(
            self.workflows, Folders(os.path.abspath(paths.workflows), paths.vendor, bool(default_user)),
            self.timers, self.selector,
        )  # fmt: skip
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
            self.runs, self.logs, self.scratch, self.pool, host, self.settings.artifact_max_bytes, lookups, paths.keeper
        )
        self.retirement = Retirement(self.runs, self.workflows, self.logs, self.janitor, self.settings.retention)
        self.retirement.audit_age_s = self.settings.audit_age_s
        self.backfills = Backfills(self.workflows)
        access = self.access = Access(self.runs, self.workflows, self.backfills, _groups(self.settings))
        known = peer.roles(os.geteuid(), access.groups)
        self.tokens = Tokens(self.runs, self.health, known)
        self.tokens.proxy_level = self.settings.web_proxy_level
        audit = Audit(self.runs, self.health)
        of_runs = RunHandlers(
            self.store, self.runs, self.workflows, self.definitions, self.sampler, self.health, access, audit
        )
        self.expectations = Expectations(self.workflows, self.notifier)
        of_hooks = HookHandlers(self.events.starts, self.secrets, self.pool, self.health, audit, access.judges)
        metrics, errands = Metrics(self.runs.of_turn), Errands(self.pool)
        of_hooks.delivered = metrics.delivered
        upkeep = UpkeepJobs(self.pool)
        self.live_settings = LiveSettings(
            paths.settings, self.settings, self._takers(http, endings), self.runs, self.health.note
        )
        handlers = Handlers(
            of_runs, NotificationHandlers(self.runs, self.notifier, access),
            LogHandlers(of_runs, self.logs, self.scratch), ApprovalHandlers(of_runs, self.inside),
            SecretHandlers(self.runs, self.secrets, self.workflows.users_of_secrets),
            BackfillHandlers(of_runs, self.backfills), self.expectations, of_hooks,
            UpkeepHandlers(
                self.runs, self.workflows, upkeep, paths, Drain(self.runs, self.workflows, self.health),
                self.live_settings,
            ),
            TokenHandlers(self.tokens, access, audit, None if paths == SYSTEM else os.geteuid()),
            self.live_settings, MetricsHandlers(of_runs, metrics, self._surroundings(paths)),
            SaveHandlers(of_runs, errands, self.live_settings),
        )  # fmt: skip
        console = Console(handlers.handle, clock, zone.name)
        self.control = Control(
            listeners() or listen(paths.socket), self.selector, self.timers, clock, known,
            Answers(request=framed(handlers.handle), command=console.answer, tokens=self.tokens),
        )  # fmt: skip
        self.tokens.ended = self.control.review_when_answered
        self.link = KeeperLink(paths.keeper, paths.label, spawn=spawn_keeper)
        self.health.watch_cgroups(lambda: self.link.cgroups)
        self.launcher = launcher = Launcher(
            runs=self.runs, link=self.link, logs=self.logs, scratch=self.scratch, lookups=lookups, timers=self.timers,
            clock=clock, settings=self.settings, host=host, journal=journal,
        )  # fmt: skip
        launcher.path_of = self.definitions.path_of
        self.workflows.user_of = host.name_of_task
        last_words = LastWords(journal, self.logs, self.timers, clock, self.settings.journal_of_tasks)
        self.service = Service(
            runs=self.runs, workflows=self.workflows, health=self.health, timers=self.timers, clock=clock,
            folders=(paths.state, paths.log),
        )  # fmt: skip
        self.dispatcher = Dispatcher(
            store=self.store, runs=self.runs, workflows=self.workflows, admission=admission, inside=self.inside,
            http=http, endings=endings, scratch=self.scratch, janitor=self.janitor, notifier=self.notifier,
            pool=self.pool, link=self.link, control=self.control, logs=self.logs, timers=self.timers, clock=clock,
            selector=self.selector, launcher=launcher, lookups=lookups, health=self.health, events=self.events,
            hooks=of_hooks, upkeep=upkeep,
            backfills=self.backfills, expectations=self.expectations,
            clock_steps=ClockSteps(self.runs, self.health), service=self.service,
            journal=EventJournal(journal, self.runs.of_turn, last_words, self.selector, clock), metrics=metrics,
            errands=errands,
        )  # fmt: skip

    def _surroundings(self, paths: Paths) -> Surroundings:
        return Surroundings(
            keeper_is_up=lambda: bool(self.dispatcher.epoch),
            connections=lambda: len(self.control.connections),
            folders={"state": paths.state, "log": paths.log},
        )

    def _secret(self) -> str:
        """Of this store: what only it may be able to compute."""
        known = self.store.meta("secret")
        if known is None:
            known = secrets.token_hex(16)
            batch = self.store.batch()
            batch.add("meta", "secret", known)
            self.store.commit(batch)
        return known

    def _takers(self, http: HttpTasks, endings: Endings) -> dict[str, Take]:
        """Who is told of a setting that is another one from now on. A field that is not here needs a restart."""

        def most_tasks(found: Settings) -> None:
            self.runs.max_tasks = found.max_tasks
            self.pool.resize(found.max_tasks)

        def logs(found: Settings) -> None:
            self.launcher.settings = found
            http.log_max_bytes = found.log_max_bytes

        def artifacts(found: Settings) -> None:
            endings.artifact_max_bytes = found.artifact_max_bytes

        def retention(found: Settings) -> None:
            self.retirement.default = found.retention
            self.notifier.take(found)

        def audit_age(found: Settings) -> None:
            self.retirement.audit_age_s = found.audit_age_s

        def edit(_: Settings) -> None:
            """Looked at when somebody saves."""

        def samples(found: Settings) -> None:
            self.sampler.interval_us = round(found.sample_interval_s * US)

        def pools(found: Settings) -> None:
            self.runs.sharing.settings_sizes = found.pools
            self.runs.places.stir()

        def almanac(_: Settings) -> None:
            """The watch of calendars reads the same file, and what it names, beside."""

        def proxy_level(found: Settings) -> None:
            self.tokens.take_proxy_level(found.web_proxy_level)

        return {
            "max_tasks": most_tasks, "log_max_bytes": logs, "run_log_max_bytes": logs, "artifact_max_bytes": artifacts,
            "retention": retention, "sample_interval_s": samples, "pools": pools, "channels": self.notifier.take,
            "notify": self.notifier.take, "calendars": almanac, "blackouts": almanac,
            "group_read": self._take_groups, "group_operate": self._take_groups, "group_admin": self._take_groups,
            "audit_age_s": audit_age, "edit": edit, "web_proxy_level": proxy_level,
        }  # fmt: skip

    def _take_groups(self, found: Settings) -> None:
        self.access.groups = _groups(found)
        self.tokens.roles = peer.roles(os.geteuid(), self.access.groups)
        self.control.take_roles(self.tokens.roles)

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
        self.service.ready()
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
        self.service.start()
        now_us = self.clock.wall_us()
        if not self.store.take_ballast():
            self.dispatcher.disk_is_full(f"{self.paths.state}: no space left on the device; free some")
        self.calendars.begin(self.settings)
        self.workflows.slots.held = True  # until the folder has been looked at
        with self._believing():
            self.workflows.restore(now_us)
            self.dispatcher.start()
        self.notifier.start()
        self.runs.batch.host_event(DaemonStarted(now_us, VERSION, self.dispatcher.boot_id))
        self.events.start()
        self.definitions.start()
        self.definitions.when_settled(self.workflows.slots.release)
        self._every(lambda: RETENTION_EVERY_US, self.retirement.begin)
        self._every(lambda: RETENTION_EVERY_US, self.tokens.prune)
        self._every(lambda: STORE_LOOK_EVERY_US, self.store.look)
        self._every(lambda: self.sampler.interval_us, self._sample)
        self.control.start()

    @contextlib.contextmanager
    def _believing(self) -> Iterator[None]:
        """What the store says is taken up. Raises StoreError where it makes no sense: then the file is damaged."""
        try:
            yield
        except (msgspec.MsgspecError, UnicodeDecodeError, IllegalEvent) as error:
            raise self.store.damaged(str(error)) from error

    def _every(self, period_us: Callable[[], int], call: Callable[[], object]) -> None:
        def again() -> None:
            call()
            self.timers.at(self.clock.mono_us() + period_us(), again)

        self.timers.at(self.clock.mono_us() + period_us(), again)

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
        self.service.stop()
        log.info("pyflowd has stopped; running tasks go on", extra={"action": "stopped"})

    def _abandon(self) -> None:
        """Rule I8: after an error of the store nothing is written, acknowledged or answered any more."""
        self.events.stop()
        self.definitions.stop()
        self.control.stop()
        self.dispatcher.close()
        self.service.stop()

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
                self.service.reloading()
                self.definitions.rescan()
                if not self.live_settings.reload().error:
                    self.calendars.reload()
                self.service.ready()


def _groups(found: Settings) -> dict[Level, tuple[str, ...]]:
    """Of each level those whose members have it."""
    return {Level.READ: found.group_read, Level.OPERATE: found.group_operate, Level.ADMIN: found.group_admin}


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
            if os.statvfs(folder).f_flag & os.ST_RDONLY:
                raise Unavailable(f"{folder}: the file system can only be read; see why (dmesg), and mount it writable")
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), folder)
            owner = os.stat(folder).st_uid
            if os.geteuid() == 0 and owner:  # who could lead root elsewhere by a link in it
                raise Unavailable(f"{folder} belongs to {name_of(owner)}; run pyflowd as {name_of(owner)}, not as root")
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
    to_journal = journal.start(verbose=verbose)
    arm(dict(os.environ))
    if not close_memory():
        raise Unavailable("the host does not let pyflowd keep its memory to itself (prctl), and it may hold secrets")
    try:
        daemon = Daemon(paths, to_journal, spawn_keeper=spawn_keeper)
    except OSError as error:
        raise Unavailable(
            f"{error.filename or paths.label}: {error.strerror}; see that its folders can be written by this user"
        ) from error
    try:
        daemon.run()
    finally:
        to_journal.close()
