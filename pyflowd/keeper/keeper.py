"""The keeper: parent of every task process. This is its loop: sockets, signals, time; the work is in `attempts`.

It keeps what it knows until the daemon acknowledges it, never waits for the daemon, and no request can end it. It
knows nothing of workflows, schedules or the store.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from _socket import socket

from pyflowd.keeper import journal, rundir, upgrade, wire
from pyflowd.keeper.attempts import HUNT_PAUSE_S, Attempts, now_us, running_frame
from pyflowd.keeper.channel import Channel, close_all
from pyflowd.keeper.crash import crashpoint
from pyflowd.keeper.loggerlink import LoggerLink
from pyflowd.keeper.options import Options
from pyflowd.keeper.permissions import Permissions, refusal
from pyflowd.keeper.wire import Frame, Start, WireError, frame

LOG = "keeper.log"
"""In its folder, what a keeper says that no service manager listens to."""
LOG_MAX_BYTES = 1 << 20
_MAX_QUEUED_BYTES = 8 << 20
_MAX_STRANGERS = 16
"""Connections that have not said HELLO."""
_JOURNAL_RETRY_US = 1_000_000
_LAST_WORDS_US = 2_000_000
_STARTS_AT_ONCE = 3
"""Of many STARTs; then what has ended meanwhile is told, so that the daemon works while the keeper spawns."""


class Life:
    """What one life of the keeper is known by."""

    __slots__ = ("boot_id", "epoch", "lineage")

    def __init__(self, epoch: str, boot_id: str, lineage: tuple[str, ...]) -> None:
        self.epoch = epoch
        self.boot_id = boot_id
        self.lineage = lineage


class Keeper:
    def __init__(
        self, options: Options, life: Life, folder: int, lock: int, listener: socket, attempts: Attempts
    ) -> None:
        self.options = options
        self.life = life
        self.folder = folder
        self.lock = lock
        self.listener = listener
        self.attempts = attempts
        self.logger: LoggerLink = attempts.logger
        self.daemon: Channel | None = None
        self.upgrade_wished = False
        self._allowed_uids = frozenset({0, os.geteuid(), *options.allow_uids})
        self._strangers: dict[int, Channel] = {}
        self.draining = False
        """SIGTERM came: everything is being stopped, nothing more is started."""
        self.leaving = False
        """The daemon has said GOODBYE: end as soon as nothing is kept."""
        self._over = False
        self._checking = 0
        self._idle_at_us = 0
        self._logs_due_us = 0
        """Of a keeper that ends: how long the logger is waited for."""
        self._written = True
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._epoll = attempts.epoll
        for descriptor in (self._wake_read, listener.fileno()):
            self._epoll.register(descriptor, select.EPOLLIN)
        self._logger_fd = -1
        self.permissions = Permissions(options.settings, self._epoll, attempts.known, attempts.tags.lower, say)

    # ---- The loop ----

    def run(self) -> None:
        """Until it keeps nothing and is not needed any more. Signals are blocked when this is called."""
        self._install_signals()
        self._touch()
        self.attempts.reap()  # what ended while nobody listened to SIGCHLD
        while True:
            self._after_events()
            if self._over:
                break
            for descriptor, events in self._epoll.poll(self._wait_s()):
                self._on_event(descriptor, events)
        self._end()

    def _install_signals(self) -> None:
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, _note_signal)
        for number in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _on_event(self, descriptor: int, events: int) -> None:
        if descriptor == self._wake_read:
            self._on_signals()
        elif self.daemon and descriptor == self.daemon.fileno():
            self._on_daemon(self.daemon, events)
        elif descriptor == self.listener.fileno():
            self._on_connection()
        elif descriptor in self._strangers:
            self._on_stranger(self._strangers[descriptor])
        elif descriptor == self._logger_fd:
            self._on_logger(events)
        elif descriptor in self.attempts.failures:
            self.attempts.on_failure_pipe(descriptor)
        elif self.permissions.owns(descriptor):
            self._sift(self.permissions.on_answer(descriptor))

    def _after_events(self) -> None:
        """The rest of a turn: what is due, then the journal, then the replies that it allows."""
        self.attempts.on_time()
        self.permissions.on_time()
        if self.attempts.is_hunting():
            self.attempts.hunt()
        self._on_helpers()
        self._tell()
        if self._written and self.attempts.journal.is_long:
            self.attempts.journal.rewrite(self._journal_content())
        self._mind_logger()
        if self.upgrade_wished and not self._checking:
            self._begin_upgrade()
        self._mind_idleness()

    def _wait_s(self) -> float | None:
        """Until the next thing that is due; None: for ever."""
        due = [self.attempts.next_due_us(), self._idle_at_us, self._logs_due_us, self.permissions.next_due_us()]
        if not self.logger.channel and self.logger.attempts:
            due.append(self.logger.start_at_us)
        if not self._written:
            due.append(now_us() + _JOURNAL_RETRY_US)
        soonest = min((at for at in due if at), default=0)
        wait_s = max(0.0, (soonest - now_us()) / 1e6 + 0.0005) if soonest else None
        if self.attempts.is_hunting():
            return min(wait_s, HUNT_PAUSE_S) if wait_s is not None else HUNT_PAUSE_S
        return wait_s

    def _journal_content(self) -> str:
        life = self.life
        step = self.attempts.tags.step
        head = journal.life_lines(life.epoch, life.boot_id, step, now_us(), life.lineage)
        return head + self.attempts.journal_content()

    # ---- Signals and children ----

    def _on_signals(self) -> None:
        numbers = os.read(self._wake_read, 4096)
        if signal.SIGHUP in numbers:
            self.upgrade_wished = True
            self.permissions.read_settings()
        self.attempts.reap()
        if signal.SIGTERM in numbers and not self.draining:
            self.draining = True
            self.permissions.forget()
            self.attempts.stop_all(int(self.options.stop_grace_s * 1e6))

    def _on_helpers(self) -> None:
        for pid, status in self.attempts.helpers_ended:
            if pid == self.logger.pid:  # and not an older one, whose end was seen at its socket
                self._logger_gone()
            elif pid == self._checking:
                self._checking = 0
                self._end_upgrade(status)
        self.attempts.helpers_ended.clear()

    # ---- The daemon ----

    def _on_connection(self) -> None:
        try:
            connection = rundir.accept(self.listener, self._allowed_uids)
        except OSError as error:
            # The connection waits on; without a pause this would be a busy loop.
            say(f"cannot accept a connection: {os.strerror(error.errno or errno.EIO)}")
            self._epoll.poll(0.05, 1)
            return
        if connection is None:
            return
        if len(self._strangers) >= _MAX_STRANGERS:
            self._close_stranger(next(iter(self._strangers.values())))
        channel = Channel(connection)
        self._strangers[channel.fileno()] = channel
        self._epoll.register(channel.fileno(), select.EPOLLIN)

    def _on_stranger(self, channel: Channel) -> None:
        """A connection says HELLO: the newest wins, and what the older one sent and nobody read is dropped."""
        try:
            frames = channel.receive()
        except (OSError, WireError):
            self._close_stranger(channel)
            return
        if not frames:
            if channel.at_end:
                self._close_stranger(channel)
            return
        kind, fields = frames[0]
        if kind != wire.HELLO or fields[:1] != [wire.pack_number(wire.VERSION)]:
            words = f"this keeper speaks version {wire.VERSION} of its protocol: begin with HELLO and that version"
            self._refuse(channel, words)
            self._close_stranger(channel)
            return
        del self._strangers[channel.fileno()]
        if self.daemon:
            self._drop_daemon("another daemon has connected")
        self.permissions.forget()  # as what the old one sent and nobody has read
        self.daemon = channel
        self.leaving = False
        self.attempts.replies.clear()
        channel.send(self._welcome())
        self._carry_out(channel, frames[1:])

    def _welcome(self) -> bytes:
        life = self.life
        return frame(
            wire.WELCOME,
            wire.pack_number(wire.VERSION),
            life.epoch.encode(),
            life.boot_id.encode(),
            wire.pack_number(os.getpid()),
            "\0".join(life.lineage).encode(),
            wire.pack_number(wire.LEVEL),
            str(self.attempts.cgroups).encode(),
        )

    def _close_stranger(self, channel: Channel) -> None:
        del self._strangers[channel.fileno()]
        self._epoll.unregister(channel.fileno())
        channel.close()

    def _on_daemon(self, channel: Channel, events: int) -> None:
        if not events & ~select.EPOLLOUT:
            return
        try:
            frames = channel.receive()
        except OSError:
            self._drop_daemon("")
            return
        except WireError as error:
            self._drop_daemon(str(error))
            return
        self._carry_out(channel, frames)
        if channel.at_end and self.daemon is channel:
            self._drop_daemon("")

    def _carry_out(self, channel: Channel, frames: list[Frame]) -> None:
        """Requests in their order; STARTs that follow each other are one batch. Nonsense ends the connection."""
        starts: list[tuple[Start, list[int]]] = []
        refused = ""
        try:
            for kind, fields in frames:
                if kind == wire.START:
                    starts.append(self._take_start(channel, fields))
                    continue
                if starts:
                    self._start(starts)
                    starts = []
                self._request(channel, kind, fields)
        except WireError as error:
            refused = str(error)
        if starts:
            self._start(starts)
        if refused:
            self._drop_daemon(refused)

    def _take_start(self, channel: Channel, fields: list[bytes]) -> tuple[Start, list[int]]:
        start = wire.unpack_start(fields)
        if len(channel.descriptors) < start.descriptors:
            raise WireError("START came without its descriptors")
        return start, [channel.descriptors.popleft() for _ in range(start.descriptors)]

    def _start(self, starts: list[tuple[Start, list[int]]]) -> None:
        if self.draining:
            # Not taken and not answered: the next keeper has never heard of them, so the daemon asks it again.
            for _, descriptors in starts:
                close_all(tuple(descriptors))
            return
        self._sift(starts)

    def _sift(self, requests: list[tuple[Start, list[int]]]) -> None:
        """Start what may be started; what is refused has its end by that."""
        allowed, refused = self.permissions.sift(requests, self.attempts.by_id.__contains__)
        for request in refused:
            self.attempts.refuse(*request, refusal(request[0]))
        for at in range(0, len(allowed), _STARTS_AT_ONCE):
            if at:
                self.attempts.reap()
                self._tell()
            self.attempts.start(allowed[at : at + _STARTS_AT_ONCE])

    def _tell(self) -> None:
        """Write the journal, then send the replies that it allows."""
        self._written = self.attempts.journal.flush()
        if self._written:
            self._send_replies()

    def _request(self, channel: Channel, kind: int, fields: list[bytes]) -> None:
        if kind == wire.ACKNOWLEDGE and fields:
            self.attempts.acknowledge(wire.attempt_id(fields[0]))
        elif kind == wire.STOP and len(fields) >= 2:
            self._stop(wire.attempt_id(fields[0]), wire.number(fields[1]))
        elif kind == wire.LIST:
            self._list()
        elif kind == wire.UPGRADE:
            self.upgrade_wished = True
        elif kind == wire.GOODBYE:
            self.leaving = bool(self.options.idle_exit_s)
            self._drop_daemon("")
        else:
            raise WireError(f"a request of kind {kind} with {len(fields)} fields makes no sense")

    def _stop(self, attempt: str, grace_us: int) -> None:
        withdrawn = self.permissions.withdraw(attempt)
        if withdrawn:
            self.attempts.refuse(*withdrawn, refusal(withdrawn[0]))
        else:
            self.attempts.stop(attempt, grace_us, "request")

    def _list(self) -> None:
        replies = self.attempts.replies
        for attempt in self.attempts.by_id.values():
            if attempt.acknowledged:
                continue
            if attempt.end:
                replies.append((wire.pack_end(attempt.id, attempt.end), ""))
            elif attempt.pid:
                replies.append((running_frame(attempt), ""))
        replies.append((frame(wire.LISTED), ""))

    def _refuse(self, channel: Channel, words: str) -> None:
        channel.send(frame(wire.REFUSED, words.encode()))
        try:
            channel.flush()
        except OSError:
            pass  # it has gone already

    def _drop_daemon(self, words: str) -> None:
        channel, self.daemon = self.daemon, None
        if channel is None:
            return
        if words:
            self._refuse(channel, words)
            say(f"connection closed: {words}")
        self._epoll.unregister(channel.fileno())
        channel.close()
        self._touch()

    def _send_replies(self) -> None:
        replies, self.attempts.replies = self.attempts.replies, []
        channel = self.daemon
        if channel is None:
            return  # it will list
        for reply, _ in replies:
            channel.send(reply)
        if not channel.wants_write():
            return
        try:
            done = channel.flush()
        except OSError:
            self._drop_daemon("")
            return
        for _, point in replies:
            if point:
                crashpoint(point)
        if channel.queued_bytes > _MAX_QUEUED_BYTES:
            self._drop_daemon("")  # it does not read; when it does again, it connects and lists
            return
        self._watch(channel, done)

    def _watch(self, channel: Channel, done: bool) -> None:
        interest = select.EPOLLIN if done else select.EPOLLIN | select.EPOLLOUT
        if channel.interest != interest:
            channel.interest = interest
            self._epoll.modify(channel.fileno(), interest)

    # ---- The logger ----

    def _on_logger(self, events: int) -> None:
        if not events & ~select.EPOLLOUT:
            return
        for attempt in self.logger.receive():
            self.attempts.let_go(attempt)

    def _mind_logger(self) -> None:
        logger = self.logger
        if not logger.channel and logger.attempts and now_us() >= logger.start_at_us:
            self.start_logger()
        if logger.channel:
            done = logger.flush()
            if logger.channel.at_end:
                self._logger_gone()
            else:
                self._watch(logger.channel, done)

    def start_logger(self) -> None:
        """Start a logger, under a tag of its own: it must not be taken for a part of the last attempt."""
        self.attempts.tags.lower()
        try:
            self.logger.start(now_us())
        except OSError as error:
            say(f"cannot start the logger: {os.strerror(error.errno or errno.EIO)}")
            return
        self.attempts.known[self.logger.pid] = "logger"
        self.watch_logger()

    def watch_logger(self) -> None:
        if self.logger.channel:
            self._logger_fd = self.logger.channel.fileno()
            self._epoll.register(self._logger_fd, select.EPOLLIN)

    def _logger_gone(self) -> None:
        """It has closed its socket or has ended, whichever is seen first; another one is started when needed."""
        if self.logger.channel is None:
            return
        for attempt in self.logger.receive():
            self.attempts.let_go(attempt)
        self._epoll.unregister(self._logger_fd)
        self._logger_fd = -1
        self.logger.gone()

    # ---- Upgrade, end ----

    def adopt_daemon(self, channel: Channel) -> None:
        """Take over the connection that an earlier version of this process had; say what this one understands."""
        self.daemon = channel
        channel.send(self._welcome())
        self._epoll.register(channel.fileno(), select.EPOLLIN)

    def _begin_upgrade(self) -> None:
        """Let the new version check the state, as a child. It is only run in our place if it says yes."""
        if not self._may_upgrade():
            return  # something is half sent: after the next turn
        self.upgrade_wished = False
        self.attempts.tags.lower()
        try:
            self._checking = upgrade.start_check(self._state())
        except OSError as error:
            say(f"cannot check the new version: {os.strerror(error.errno or errno.EIO)}")
            return
        self.attempts.known[self._checking] = "check"

    def _may_upgrade(self) -> bool:
        if self.permissions.busy:
            return False
        return self._written and not (self.logger.channel and self.logger.channel.wants_write())

    def _end_upgrade(self, status: int) -> None:
        if status:
            say("the new version refuses this keeper's state: going on with the old one")
            if self.daemon:
                self.daemon.send(frame(wire.REFUSED, b"the new version refuses the keeper's state"))
            return
        if not self._may_upgrade():
            self.upgrade_wished = True
            return
        for channel in list(self._strangers.values()):
            self._close_stranger(channel)
        number = upgrade.replace_self(self._state())
        say(f"cannot run the new version: {os.strerror(number)}")

    def _state(self) -> upgrade.State:
        """All that the next version of this process must know."""
        attempts, logger = self.attempts, self.logger
        state = upgrade.State()
        state.epoch, state.boot_id, state.lineage = self.life.epoch, self.life.boot_id, self.life.lineage
        state.folder, state.lock, state.listener = self.folder, self.lock, self.listener.fileno()
        state.journal = attempts.journal.descriptor
        state.draining, state.leaving = self.draining, self.leaving
        state.tag, state.tag_step, state.soft_files = attempts.tags.last, attempts.tags.step, attempts.common.soft_files
        if logger.channel:
            state.logger_pid, state.logger = logger.pid, logger.channel.fileno()
            state.logger_received = bytes(logger.channel.received)
        if self.daemon:
            state.daemon = self.daemon.fileno()
            state.daemon_received = bytes(self.daemon.received)
            unsent = [reply for reply, _ in attempts.replies]
            state.daemon_unsent = self.daemon.unsent() + b"".join(unsent)
            state.daemon_descriptors = tuple(self.daemon.descriptors)
        state.attempts = [(one, one.pid in attempts.known) for one in attempts.by_id.values()]
        return state

    def _touch(self) -> None:
        self._idle_at_us = now_us() + int(self.options.idle_exit_s * 1e6) if self.options.idle_exit_s else 0

    def _mind_idleness(self) -> None:
        """Is it time to end? Never while a record is kept, but for SIGTERM: then records are in the journal."""
        if self.draining and self._is_drained():
            self._over = True
        if self.daemon or self._strangers or self.attempts.keeps() or self.permissions.busy:
            self._idle_at_us = 0
        elif self.leaving:
            self._over = True
        elif self.options.idle_exit_s and not self._idle_at_us:
            self._touch()
        elif self._idle_at_us and now_us() >= self._idle_at_us:
            self._over = True

    def _is_drained(self) -> bool:
        """Nothing lives, the last words of what lived are written, and the logger has ended: systemd kills what it
        still finds in the unit when the keeper is gone.
        """
        if self.attempts.living():
            return False
        self._logs_due_us = self._logs_due_us or now_us() + _LAST_WORDS_US
        if now_us() >= self._logs_due_us:
            return True
        if self.logger.attempts:
            return False
        if self.logger.channel and not self.logger.channel.wants_write():
            self._logger_gone()  # without us it ends when it has told the journal the last
        return "logger" not in self.attempts.known.values()

    def _end(self) -> None:
        """Take the name away, close those who came in that moment: they see the end before WELCOME and start anew."""
        if self.options.owns_socket:
            rundir.unlink(self.folder)
            while (late := rundir.accept(self.listener, self._allowed_uids)) is not None:
                late.close()
        if self.daemon:
            self.daemon.close()


def _note_signal(number: int, _frame: object) -> None:
    """The wake-up descriptor tells the loop; a handler must exist for that."""


def _bound_log() -> None:
    """The file of a detached keeper, which nobody rotates, begins anew before it is long. Raises OSError."""
    if os.fstat(2).st_size > LOG_MAX_BYTES and os.readlink("/proc/self/fd/2").endswith(f"/{LOG}"):
        os.ftruncate(2, 0)


def say(words: str) -> None:
    """One line to the keeper's own log."""
    try:
        _bound_log()
        os.write(2, f"pyflow-keeper: {words}\n".encode())
    except OSError:
        pass  # nobody reads it
    sys.stderr.flush()
