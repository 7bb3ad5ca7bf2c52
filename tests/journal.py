"""A journal of our own: a datagram socket in a folder, and what came to it, taken apart as the protocol says."""

from __future__ import annotations

import mmap
import os
import socket
import struct
from pathlib import Path

Entry = dict[str, bytes]


class FakeJournal:
    """As journald: its socket, unread entries in the kernel's queue. `absent` takes it away."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "journal.sock")
        self.socket = self._bind()

    def _bind(self) -> socket.socket:
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        bound.bind(self.path)
        return bound

    def take(self) -> list[bytes]:
        """The bytes of all entries that have come."""
        found: list[bytes] = []
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self.socket, 1 << 20, 1)
            except BlockingIOError:
                return found
            for descriptor in descriptors:
                with mmap.mmap(descriptor, 0, prot=mmap.PROT_READ) as memory:
                    data = memory[:]
                os.close(descriptor)
            found.append(data)

    def entries(self) -> list[Entry]:
        return [parse(entry) for entry in self.take()]

    def absent(self) -> None:
        self.socket.close()
        os.unlink(self.path)

    def back(self) -> None:
        self.socket = self._bind()

    def close(self) -> None:
        self.socket.close()


def parse(entry: bytes) -> Entry:
    """The fields of an entry; fails where it is none."""
    found: Entry = {}
    at = 0
    while at < len(entry):
        end = entry.index(b"\n", at)
        name, equals, value = entry[at:end].partition(b"=")
        at = end + 1
        if not equals:
            (size,) = struct.unpack_from("<Q", entry, at)
            value = entry[at + 8 : at + 8 + size]
            assert entry[at + 8 + size : at + 9 + size] == b"\n", "a value is cut off"
            at += 9 + size
        assert name.decode() not in found, f"{name!r} twice"
        found[name.decode()] = value
    return found
