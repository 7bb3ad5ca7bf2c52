"""Requests of whoever looks after the host: backup, a check of the store, drain. As `Handlers`: acts when called.

A backup is written by a process of its own into a file without a name, whose descriptor the client gets: the daemon
opens no path that a client names.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import msgspec

from pyflowd.base.peer import Peer
from pyflowd.clock import US
from pyflowd.control.control import Wait
from pyflowd.control.replies import Attached, Replies
from pyflowd.errors import Refused
from pyflowd.events import BackupMade, StoredEvent
from pyflowd.model.states import RunState
from pyflowd.paths import Paths
from pyflowd.protocol.requests import CheckStore, DrainHost, MakeBackup
from pyflowd.protocol.views import BackupOpen, Done
from pyflowd.protocol.views_host import DrainView
from pyflowd.runtime.drain import Drain
from pyflowd.runtime.live_settings import LiveSettings
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.upkeep_jobs import TOKEN, UpkeepJob, UpkeepJobs
from pyflowd.runtime.workflows import Workflows
from pyflowd.units import duration_text
from pyflowd.upkeep import host
from pyflowd.upkeep.host import Check
from pyflowd.upkeep.job import Job, Outcome

TOPIC = TOKEN
BACKUP_OLD_US = 8 * 86_400 * US
"""Then `doctor` asks for another: who makes one a week has it in time."""
USERS_OF = 2000
"""Definitions whose users are looked up by `doctor`, 20 us each."""
_QUIET_US = 200_000
_outcome = msgspec.json.Decoder(Outcome)


class _TaskUser(msgspec.Struct, frozen=True, kw_only=True):
    user: str | None = None


class _Users(msgspec.Struct, frozen=True, kw_only=True):
    """Of a definition: whom it names."""

    user: str | None = None
    tasks: tuple[_TaskUser, ...] = ()


_named = msgspec.msgpack.Decoder(_Users)
_event = msgspec.msgpack.Decoder(StoredEvent)


class UpkeepHandlers:
    """One for the host."""

    def __init__(
        self, runs: Runs, workflows: Workflows, jobs: UpkeepJobs, paths: Paths, drain: Drain, settings: LiveSettings
    ) -> None:
        self.runs = runs
        self.workflows = workflows
        self.settings = settings
        self.jobs = jobs
        self.paths = paths
        self.drain_of_host = drain

    # ---- Doctor

    def checks(self) -> Iterator[Check]:
        """What of the host, of definitions' users and of backups an administrator should know."""
        yield from host.checks(self.paths, self.settings.now)
        yield from host.users(self._users())
        yield self._last_backup()

    def _users(self) -> Iterator[tuple[str, str]]:
        """(workflow, user) of definitions in force, of so many that the look takes no time."""
        for name, entry in list(self.workflows.entries.items())[:USERS_OF]:
            named = _named.decode(entry.compiled)
            for user in {named.user, *(task.user for task in named.tasks)} - {None}:
                yield name, str(user)

    def _last_backup(self) -> Check:
        now_us = self.runs.clock.wall_us()
        row = next(iter(list(self.runs.store.rows("host_events_with", now_us, b"backup_made", 1))), None)
        if row is None:
            return "warning", "backup", "none was ever made: pyflowctl backup FILE, as a workflow each night"
        made = _event.decode(row[3])
        assert isinstance(made, BackupMade)
        age = f"the newest is {duration_text((now_us - made.at_us) / US)} old"
        if made.findings:
            return "error", "backup", f"{age}, and a check of it found {made.findings} faults; see: pyflowctl fsck"
        if now_us - made.at_us > BACKUP_OLD_US:
            return "warning", "backup", f"{age}: pyflowctl backup FILE, as a workflow each night"
        return "ok", "backup", f"{age}, and was restored on trial"

    # ---- Backup

    def backup(self, request: MakeBackup, peer: Peer) -> Replies:
        target = _nameless(self.paths.state)
        try:
            job = Job(job="backup", paths=self.paths, with_logs=request.with_logs, descriptor=target)
            started = self._start(job, lambda said: self._record(said, peer.name))
        except BaseException:
            os.close(target)
            raise
        return self._backup(started, target)

    def _record(self, said: bytes, by: str) -> None:
        made = _outcome.decode(said).made
        if made is not None:
            now_us, findings = self.runs.clock.wall_us(), len(made.findings)
            self.runs.batch.host_event(BackupMade(now_us, by, made.size_bytes, made.runs, made.with_logs, findings))

    def _backup(self, job: UpkeepJob, target: int) -> Replies:
        try:
            yield from self._until_done(job)
            made = _said(job).made
            assert made is not None
            readable = os.open(f"/proc/self/fd/{target}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            self.jobs.give_up(job)
            os.close(target)
        yield Attached(BackupOpen(size_bytes=made.size_bytes, sha256=made.sha256), (readable,))
        yield made
        yield Done(exit_status=1 if made.findings or made.left_out else 0)

    # ---- Check

    def check(self, _: CheckStore, __: Peer) -> Replies:
        return self._check(self._start(Job(job="check", paths=self.paths), lambda _: None))

    def _check(self, job: UpkeepJob) -> Replies:
        try:
            yield from self._until_done(job)
        finally:
            self.jobs.give_up(job)
        checked = _said(job).checked
        assert checked is not None
        yield checked
        yield Done(exit_status=1 if checked.findings else 0)

    def _start(self, job: Job, then: Callable[[bytes], None]) -> UpkeepJob:
        return self.jobs.start(job.job, msgspec.json.encode(job).decode(), job.descriptor, then)

    def _until_done(self, job: UpkeepJob) -> Replies:
        while not job.done:
            yield Wait(frozenset({TOPIC}))

    # ---- Drain

    def drain(self, request: DrainHost, peer: Peer) -> Replies:
        if request.drained:
            self.drain_of_host.begin(peer.name)
        else:
            self.drain_of_host.end(peer.name)
        return self._drained(wait=request.drained and request.wait)

    def _drained(self, *, wait: bool) -> Replies:
        yield self._drain_view()
        if not wait or not self.drain_of_host.active:
            return
        while self.drain_of_host.active and self.drain_of_host.now is not None:
            yield Wait(frozenset({"events", TOPIC}), _QUIET_US)
        yield self._drain_view()
        yield Done(exit_status=0 if self.drain_of_host.now is not None else Refused.exit_status)

    def _drain_view(self) -> DrainView:
        now = self.drain_of_host.now
        queued = sum(live.run.state is RunState.QUEUED for live in self.runs.live.values())
        return DrainView(
            drained=now is not None, active=self.drain_of_host.active, queued=queued, by=now.by if now else "",
            since_us=now.since_us if now else None,
        )  # fmt: skip


def _said(job: UpkeepJob) -> Outcome:
    """Raises Refused where there was an error."""
    if isinstance(job.outcome, Exception):
        raise Refused(f"{job.name}: {job.outcome}")
    outcome = _outcome.decode(job.outcome)
    if outcome.error:
        raise Refused(f"{job.name}: {outcome.error}")
    return outcome


def _nameless(folder: str) -> int:
    """A new file that is gone when nobody has it open any more. Raises Refused."""
    try:
        with contextlib.suppress(OSError):  # not every file system has them
            return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        path = os.path.join(folder, f"backup.{os.getpid()}")
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        os.unlink(path)
    except OSError as error:
        raise Refused(f"{folder}: {error.strerror}; a backup is made there before it is handed over") from error
    return descriptor
