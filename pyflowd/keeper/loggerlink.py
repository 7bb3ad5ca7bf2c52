"""The keeper's end of the logger: starts it, hands it pipes and files, starts another when it dies.

The keeper holds every pipe, log and index too until the logger has written the log's end, so a logger's death breaks
no task and loses at most what it had read and not yet written.
"""

from __future__ import annotations

import os
import signal
import sys
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket, socketpair

from pyflowd.keeper.attempt import Attempt
from pyflowd.keeper.channel import Channel, close_all
from pyflowd.keeper.logindex import STREAMS
from pyflowd.keeper.wire import (
    FLAG_APART,
    FLAG_GAP,
    LOG_ADD,
    LOG_DONE,
    LOG_HELD,
    LOG_NOTE,
    LOG_READY,
    LOG_RETIRE,
    LOG_RETIRED,
    Frame,
    WireError,
    attempt_id,
    frame,
    number,
    pack_blobs,
    pack_list,
    pack_number,
)

ENTRY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
_RESTART_PAUSE_US = 200_000
"""Between two starts, so that a logger that cannot live is no busy loop."""


class LoggerLink:
    def __init__(self, root: str) -> None:
        self._root = root
        self.pid = 0
        self.channel: Channel | None = None
        self.attempts: dict[str, Attempt] = {}
        """Whose logs are not at their end."""
        self.retiring = False
        self._retired = False
        self._masks = False
        """The logger has said that it takes secrets out. One of an older version, installed since, never says so."""
        self.start_at_us = 0
        """Not before this time; a running logger was started `_RESTART_PAUSE_US` before it."""

    def start(self, now_us: int) -> None:
        """Start a logger and hand it all open logs. Raises OSError."""
        ours, theirs = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        self.start_at_us = now_us + _RESTART_PAUSE_US
        try:
            self.pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-I", "-S", ENTRY, "--logger", "3", "--root", self._root],
                dict(os.environ),
                file_actions=((os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),),
                setsid=True,
                setsigmask=(),
                setsigdef=(signal.SIGCHLD,),
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self.channel = Channel(ours)
        self.retiring = self._retired = self._masks = False
        for attempt in self.attempts.values():
            if not attempt.masks:
                self._hand_over(self.channel, attempt)

    def add(self, attempt: Attempt) -> None:
        """Hand over a new attempt's log; at the latest when the next logger starts."""
        attempt.log_open = True
        self.attempts[attempt.id] = attempt
        if self.channel and not self.retiring and (self._masks or not attempt.masks):
            self._hand_over(self.channel, attempt)

    def _hand_over(self, channel: Channel, attempt: Attempt) -> None:
        flags = FLAG_GAP if attempt.logged else 0
        descriptors: tuple[int, ...] = (attempt.pipe_fd, attempt.log_fd, attempt.index_fd)
        if attempt.error_pipe_fd >= 0:
            flags |= FLAG_APART
            descriptors += (attempt.error_pipe_fd,)
        fields = [attempt.id.encode(), pack_number(attempt.log_max_bytes), pack_number(flags)]
        if attempt.masks:
            fields += [pack_blobs(attempt.masks), pack_blobs([attempt.held.get(stream, b"") for stream in STREAMS])]
        elif attempt.journal:
            fields += [b"", pack_blobs([b""] * len(STREAMS))]
        if attempt.journal:
            fields.append(pack_list(attempt.journal))
        attempt.logged = True
        attempt.held = {}
        channel.send(frame(LOG_ADD, *fields), descriptors)

    def note(self, attempt: Attempt, line: str) -> None:
        """A line of ours in an attempt's log. Without a logger it is left out: it is no more than a hint."""
        if self.channel and not self.retiring and attempt.log_fd >= 0:
            copies = (os.dup(attempt.log_fd), os.dup(attempt.index_fd))
            note = frame(LOG_NOTE, attempt.id.encode(), line.encode())
            self.channel.send(note, copies, close_sent=True)

    def receive(self) -> list[Attempt]:
        """Attempts whose log is at its end. Afterwards `channel` is None if the logger has closed its end."""
        done: list[Attempt] = []
        channel = self.channel
        if channel:
            try:
                for received in channel.receive():
                    self._on_frame(channel, received, done)
            except (OSError, WireError):
                channel.at_end = True
        return done

    def _on_frame(self, channel: Channel, received: Frame, done: list[Attempt]) -> None:
        kind, fields = received
        if kind == LOG_DONE and (attempt := self.attempts.pop(attempt_id(fields[0]), None)):
            attempt.log_open = False
            done.append(attempt)
        elif kind == LOG_RETIRED:
            self._retired = True
        elif kind == LOG_HELD and (attempt := self.attempts.get(attempt_id(fields[0]))):
            attempt.held[number(fields[1])] = fields[2]
        elif kind == LOG_READY and not self.retiring:
            self._masks = True
            for attempt in self.attempts.values():
                if attempt.masks:
                    self._hand_over(channel, attempt)

    def flush(self) -> bool:
        """Send what is queued; true if nothing is left."""
        if not self.channel:
            return True
        try:
            return self.channel.flush()
        except OSError:
            self.channel.at_end = True
            return True

    def retire(self) -> None:
        """Ask a logger of an older version to end; the next one gets all logs, and there is no gap."""
        if self.channel and not self.retiring:
            self.channel.send(frame(LOG_RETIRE))
            self.retiring = True

    def gone(self) -> None:
        """The logger has ended: forget it. If it said good-bye nothing was lost of what it had been handed."""
        if self.channel:
            self.channel.close()
        self.channel = None
        self.pid = 0
        if self._retired:
            for attempt in self.attempts.values():
                if attempt.held or not attempt.masks:  # else it was not ready for it, and an earlier one may have died
                    attempt.logged = False


def adopt_channel(link: LoggerLink, pid: int, descriptor: int, received: bytes) -> None:
    """Take over a logger that an earlier version of this process started."""
    link.pid = pid
    link.channel = Channel(socket(fileno=descriptor))
    link.channel.received += received


def release(attempt: Attempt) -> None:
    """Close the keeper's own copies of an attempt's pipes and files, and forget its secrets."""
    held = (attempt.pipe_fd, attempt.error_pipe_fd, attempt.log_fd, attempt.index_fd)
    close_all(tuple(fd for fd in held if fd >= 0))
    attempt.pipe_fd = attempt.error_pipe_fd = attempt.log_fd = attempt.index_fd = -1
    attempt.masks, attempt.held = (), {}
