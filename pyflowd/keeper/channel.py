"""One end of a Unix stream socket that carries frames and descriptors and never blocks.

What is sent is queued; `flush` hands as much as it can to the kernel in as few calls as it can. It knows nothing of
what the frames mean.
"""

from __future__ import annotations

import errno
import os
import struct
from _socket import CMSG_SPACE, MSG_CMSG_CLOEXEC, MSG_CTRUNC, SCM_RIGHTS, SOL_SOCKET, socket
from collections import deque
from select import EPOLLIN

from pyflowd.keeper.wire import Frame, WireError, take_frames

MAX_DESCRIPTORS = 253
"""SCM_MAX_FD: what the kernel passes in one message."""
_ANCILLARY_BYTES = CMSG_SPACE(MAX_DESCRIPTORS * 4)
_RECEIVE_BYTES = 65_536
_SEND_BYTES = 262_144


class Channel:
    """A framed, non-blocking connection. Owns the socket, and the descriptors that came and were not yet taken."""

    def __init__(self, sock: socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._fileno = sock.fileno()
        self.received = bytearray()
        self.descriptors: deque[int] = deque()
        """Descriptors that came, in order; the receiver of a frame takes those that belong to it."""
        self._queue: deque[tuple[bytes, tuple[int, ...], bool]] = deque()
        self.queued_bytes = 0
        self.interest = EPOLLIN
        """What its owner's epoll waits for."""
        self.at_end = False
        """The peer has closed; what it sent before has been received."""

    def fileno(self) -> int:
        return self._fileno

    def receive(self) -> list[Frame]:
        """What is there now, as whole frames: one call to the kernel. Raises OSError, or WireError for nonsense."""
        try:
            chunk, ancillary, flags, _ = self._sock.recvmsg(_RECEIVE_BYTES, _ANCILLARY_BYTES, MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return []
        for level, kind, payload in ancillary:
            if level == SOL_SOCKET and kind == SCM_RIGHTS:
                self.descriptors.extend(struct.unpack(f"{len(payload) // 4}i", payload[: len(payload) // 4 * 4]))
        if flags & MSG_CTRUNC:
            raise WireError("descriptors were lost on the way: this process has too many open files")
        if not chunk:
            self.at_end = True
            return []
        self.received += chunk
        return take_frames(self.received)

    def send(self, frame: bytes, descriptors: tuple[int, ...] = (), *, close_sent: bool = False) -> None:
        """Queue a frame and its descriptors; with `close_sent` the channel owns them and closes them once sent."""
        self._queue.append((frame, descriptors, close_sent))
        self.queued_bytes += len(frame)

    def wants_write(self) -> bool:
        return bool(self._queue)

    def flush(self) -> bool:
        """Send what can be sent now; true when nothing is left. Raises OSError if the peer is gone."""
        while self._queue:
            batch, descriptors = self._next_batch()
            ancillary = []
            if descriptors:
                ancillary = [(SOL_SOCKET, SCM_RIGHTS, struct.pack(f"{len(descriptors)}i", *descriptors))]
            try:
                sent = self._sock.sendmsg([b"".join(batch)], ancillary)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                if error.errno in (errno.ETOOMANYREFS, errno.ENOBUFS, errno.ENOMEM):
                    return False  # too many descriptors on the way, or no memory: it passes
                raise
            self._forget_sent(sent, len(batch))
        return True

    def _next_batch(self) -> tuple[list[bytes], list[int]]:
        batch: list[bytes] = []
        descriptors: list[int] = []
        size = 0
        for frame, with_frame, _ in self._queue:
            if batch and (size > _SEND_BYTES or len(descriptors) + len(with_frame) > MAX_DESCRIPTORS):
                break
            batch.append(frame)
            descriptors.extend(with_frame)
            size += len(frame)
        return batch, descriptors

    def _forget_sent(self, sent: int, frames: int) -> None:
        """Drop what was sent. All descriptors of a batch go with its first byte, so a rest needs them no more."""
        self.queued_bytes -= sent
        rest: list[bytes] = []
        for _ in range(frames):
            frame, descriptors, close_sent = self._queue.popleft()
            if close_sent:
                close_all(descriptors)
            if sent >= len(frame):
                sent -= len(frame)
            else:
                rest.append(frame[sent:])
                sent = 0
        self._queue.extendleft([(frame, (), False) for frame in reversed(rest)])

    def unsent(self) -> bytes:
        """The bytes still queued, for a successor of this process. Only where none has descriptors."""
        return b"".join([frame for frame, _, _ in self._queue])

    def close(self) -> None:
        """Close without reading further. Safe twice."""
        self._sock.close()
        close_all(tuple(self.descriptors))
        self.descriptors.clear()
        for _, descriptors, close_sent in self._queue:
            if close_sent:
                close_all(descriptors)
        self._queue.clear()
        self.queued_bytes = 0


def close_all(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
