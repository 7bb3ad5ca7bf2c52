"""A stand-in for the daemon's socket: takes one command frame, answers with given frames. For tests of the client."""

from __future__ import annotations

import array
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from pyflowd.protocol.frames import Command, opening_decoder

DEADLINE_S = 20.0
Answer = Callable[[socket.socket], None]


class FakeDaemon:
    """Listens at `path`; `answer` is called with each connection once its command was read."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self.path = path
        self.commands: list[Command] = []
        self.asked = threading.Event()
        self.over = threading.Event()
        """Set when the test is over: an answer that waits may wait for this."""
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.settimeout(DEADLINE_S)
        self._listener.bind(str(path))
        self._listener.listen(4)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        with socket.socket(socket.AF_UNIX) as wake:
            wake.connect(str(self.path))
        self._thread.join(DEADLINE_S)
        self._listener.close()

    def _serve(self) -> None:
        while not self.over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                if self.over.is_set():
                    return
                connection.settimeout(DEADLINE_S)
                try:
                    self._talk(connection)
                except (BrokenPipeError, ConnectionResetError):
                    continue

    def _talk(self, connection: socket.socket) -> None:
        size = int.from_bytes(_exactly(connection, 4), "big")
        command = opening_decoder.decode(_exactly(connection, size))
        if isinstance(command, Command):
            self.commands.append(command)
        self.asked.set()
        self._answer(connection)


def sends(*frames: bytes) -> Answer:
    """An answer of these frames."""
    return lambda connection: connection.sendall(b"".join(frames))


def send_with_files(connection: socket.socket, data: bytes, descriptors: Sequence[int]) -> None:
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
    connection.sendmsg([data], ancillary)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise ConnectionResetError
        data += piece
    return data
