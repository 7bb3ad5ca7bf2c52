"""The logger: one process that reads the output pipes of all attempts and writes them to their logs.

The keeper starts it and hands it pipes and files; it goes on without the keeper until all pipes are at their end. It
never waits for the keeper, and one log that cannot be written holds up no other. It knows nothing of processes.
"""

from __future__ import annotations

import os
import select
import signal
import time
from _socket import socket
from weakref import WeakValueDictionary

from pyflowd.keeper.channel import Channel
from pyflowd.keeper.forward import Forward
from pyflowd.keeper.journald import TASK_IDENTIFIER, Outbox, path_of_socket
from pyflowd.keeper.logindex import STDERR, STDOUT, TOGETHER
from pyflowd.keeper.masking import HELD_MAX_BYTES, TORN, Masker, Masks
from pyflowd.keeper.memory import close_memory
from pyflowd.keeper.sink import PIPE_BYTES, Sink
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
    pack_number,
    text,
    unpack_blobs,
    unpack_list,
)

_RETRY_S = 1.0
_RETRIES = 600
"""An ended log whose last words find no space is given up after ten minutes."""


class Logger:
    def __init__(self, control: socket) -> None:
        self._channel: Channel | None = Channel(control)
        self._control_fd = control.fileno()
        self._epoll = select.epoll()
        self._epoll.register(self._control_fd, select.EPOLLIN)
        self._journald = Outbox(path_of_socket(), TASK_IDENTIFIER)
        self._journald_fd = -1
        """Waited for: it takes nothing more just now."""
        self._forwards: dict[str, Forward] = {}
        """By the attempt: those whose output goes to the host's journal, too."""
        self._pipes: dict[int, tuple[Sink, int, Masker | None]] = {}
        """By the descriptor of the pipe: where its bytes go, the stream that they are, and what takes secrets out."""
        self._masks: WeakValueDictionary[bytes, Masks] = WeakValueDictionary()
        """By the secrets: the items of a fan-out have the same ones."""
        self._sinks: dict[str, Sink] = {}
        """By the attempt, until its pipes are at their end."""
        self._struggling: set[Sink] = set()
        """Something of theirs could not be written: tried again now and then."""
        self._owing: list[tuple[Sink, int]] = []
        """The same, and their pipe is at its end; with the number of tries left."""
        self._retry_at_s = 0.0
        self._retiring = False

    def run(self) -> None:
        """Until there is neither a keeper nor a pipe, or the keeper hands all of it to another logger."""
        if self._channel:
            self._channel.send(frame(LOG_READY))
            self._flush(self._channel)
        while not self._retiring and (self._channel or self._pipes or self._owing):
            wait_s = _RETRY_S if self._struggling or self._owing or self._journald.wait_s() is not None else None
            self._take_events(wait_s)
            if len(self._journald):
                self._tell_journald()
            if wait_s and time.monotonic() >= self._retry_at_s:
                self._retry()
            if self._channel:
                self._flush(self._channel)

    def _take_events(self, wait_s: float | None) -> None:
        for descriptor, events in self._epoll.poll(wait_s):
            if self._retiring:
                return  # the next logger reads on from here
            if descriptor == self._control_fd and self._channel:
                self._on_control(self._channel, events)
            elif descriptor in self._pipes:
                self._on_pipe(descriptor, events)

    def _tell_journald(self) -> None:
        """What it takes now; it is waited for where it takes no more, and nobody else waits for it."""
        self._journald.flush()
        wanted = self._journald.fileno() if self._journald.blocked else -1
        if wanted != self._journald_fd:
            if self._journald_fd >= 0:
                self._epoll.unregister(self._journald_fd)
            if wanted >= 0:
                self._epoll.register(wanted, select.EPOLLOUT)
            self._journald_fd = wanted

    def _retry(self) -> None:
        self._retry_at_s = time.monotonic() + _RETRY_S
        now_us = time.time_ns() // 1000
        struggling, self._struggling = self._struggling, set()
        for sink in struggling:
            sink.settle(now_us)
            if sink.owes:
                self._struggling.add(sink)
        owing, self._owing = self._owing, []
        for sink, tries in owing:
            sink.settle(now_us)
            self._release(sink, tries)

    # ---- The keeper ----

    def _on_control(self, channel: Channel, events: int) -> None:
        if not events & ~select.EPOLLOUT:
            return
        try:
            for received in channel.receive():
                self._on_frame(channel, received)
        except (OSError, WireError):
            channel.at_end = True
        if channel.at_end:
            self._drop_channel(channel)

    def _drop_channel(self, channel: Channel) -> None:
        self._epoll.unregister(self._control_fd)
        channel.close()
        self._channel = None

    def _flush(self, channel: Channel) -> None:
        if not channel.wants_write():
            return
        try:
            done = channel.flush()
        except OSError:
            self._drop_channel(channel)
            return
        self._epoll.modify(self._control_fd, select.EPOLLIN if done else select.EPOLLIN | select.EPOLLOUT)

    def _on_frame(self, channel: Channel, received: Frame) -> None:
        kind, fields = received
        if kind == LOG_ADD:
            flags = number(fields[2])
            pipe, log, index = (channel.descriptors.popleft() for _ in range(3))
            error_pipe = channel.descriptors.popleft() if flags & FLAG_APART else -1
            sink = Sink(attempt_id(fields[0]), log, index, number(fields[1]))
            maskers: list[Masker | None] = [None, None, None]
            gap = bool(flags & FLAG_GAP)
            if len(fields) > 4 and fields[3]:
                maskers = self._maskers(fields[3], fields[4], torn=gap)
            if gap:
                self._note_gap(sink, HELD_MAX_BYTES * (1 + (error_pipe >= 0)) if any(maskers) else 0)
            if len(fields) > 5:
                self._forwards[sink.attempt] = Forward(unpack_list(fields[5]), time.time_ns() // 1000)
            self._add(sink, pipe, error_pipe, maskers)
        elif kind == LOG_NOTE:
            log, index = (channel.descriptors.popleft() for _ in range(2))
            self._note(attempt_id(fields[0]), text(fields[1]), log, index)
        elif kind == LOG_RETIRE:
            self._retire(channel)

    def _retire(self, channel: Channel) -> None:
        """Hand all logs back, with what the next logger must know to go on masking."""
        self._retiring = True
        for each in self._forwards.values():
            self._forward(each.end(time.time_ns() // 1000))
        self._retry()
        if self._struggling or self._owing:
            return  # what could not be written dies with us, as with a logger that is killed
        for sink, stream, masker in self._pipes.values():
            if masker:
                channel.send(frame(LOG_HELD, sink.attempt.encode(), pack_number(stream), masker.state()))
        channel.send(frame(LOG_RETIRED))
        poll = select.poll()
        poll.register(self._control_fd, select.POLLOUT)
        while self._channel and channel.wants_write():
            poll.poll()
            self._flush(channel)

    def _note_gap(self, sink: Sink, held_bytes: int) -> None:
        sink.restarted(time.time_ns() // 1000, held_bytes)
        if sink.owes:
            self._struggling.add(sink)

    def _maskers(self, values: bytes, held: bytes, *, torn: bool) -> list[Masker | None]:
        """One for each stream that a log may have, going on where an earlier logger's was as far as that is known."""
        masks = self._masks.get(values)
        if masks is None:
            close_memory()
            masks = self._masks[values] = Masks(unpack_blobs(values))
        return [Masker(masks, TORN if torn else state) for state in unpack_blobs(held)]

    def _add(self, sink: Sink, pipe: int, error_pipe: int, maskers: list[Masker | None]) -> None:
        self._sinks[sink.attempt] = sink
        if error_pipe < 0:
            self._watch(sink, pipe, TOGETHER, maskers[TOGETHER])
            return
        sink.open_pipes = 2
        self._watch(sink, pipe, STDOUT, maskers[STDOUT])
        self._watch(sink, error_pipe, STDERR, maskers[STDERR])

    def _watch(self, sink: Sink, pipe: int, stream: int, masker: Masker | None) -> None:
        self._pipes[pipe] = (sink, stream, masker)
        self._epoll.register(pipe, select.EPOLLIN)

    def _note(self, attempt: str, line: str, log: int, index: int) -> None:
        """A line for a log, which may have ended: descriptors of its own come with it."""
        sink = self._sinks.get(attempt) or Sink(attempt, log, index, 0)
        sink.note(line, time.time_ns() // 1000)
        os.close(log)
        os.close(index)

    # ---- The pipes ----

    def _on_pipe(self, pipe: int, events: int) -> None:
        sink, stream, masker = self._pipes[pipe]
        if events & select.EPOLLIN:
            try:
                payload = os.read(pipe, PIPE_BYTES)
            except BlockingIOError:
                return
            if payload:
                if masker:
                    payload = masker.feed(payload)
                self._write(sink, payload, stream)
                return
        if masker:
            self._write(sink, masker.end(), stream)
        # The keeper holds the same pipe: closing ours does not take it out of the epoll.
        self._epoll.unregister(pipe)
        os.close(pipe)
        del self._pipes[pipe]
        sink.open_pipes -= 1
        if sink.open_pipes:
            return
        sink.end(time.time_ns() // 1000)
        if sink.attempt in self._forwards:
            self._forward(self._forwards.pop(sink.attempt).end(time.time_ns() // 1000))
        del self._sinks[sink.attempt]
        self._struggling.discard(sink)
        self._release(sink, _RETRIES)

    def _write(self, sink: Sink, payload: bytes, stream: int) -> None:
        if payload:
            now_us = time.time_ns() // 1000
            sink.write(payload, now_us, stream)
            if sink.owes:
                self._struggling.add(sink)
            if sink.attempt in self._forwards:
                self._forward(self._forwards[sink.attempt].feed(payload, stream, now_us))

    def _forward(self, entries: list[bytes]) -> None:
        for entry in entries:
            self._journald.put(entry)

    def _release(self, sink: Sink, tries: int) -> None:
        if sink.owes and tries > 0:
            self._owing.append((sink, tries - 1))
            return
        os.close(sink.log)
        os.close(sink.index)
        if self._channel:
            self._channel.send(frame(LOG_DONE, sink.attempt.encode()))


def main(descriptor: int) -> None:
    """Run as the logger at the other end of the keeper's socket pair."""
    for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_IGN)  # it ends by itself when there is nothing left to read
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open("/proc/self/comm", "w") as comm:
        comm.write("pyflow-logger")
    Logger(socket(fileno=descriptor)).run()
