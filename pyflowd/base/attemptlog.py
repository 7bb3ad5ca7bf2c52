"""The log of an attempt that runs inside the daemon, an HTTP request say: the same two files as the logger writes, so
that it is shown like any other. It knows nothing of what the attempt does.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pyflowd.clock import Clock
from pyflowd.keeper.masking import Masker, Masks
from pyflowd.keeper.sink import Sink


class AttemptLog:
    """One log, for one thread at a time. It owns both descriptors, which are open for writing, the log with O_APPEND.

    A log that cannot be written (say, the disk is full) never stops the attempt: what is missing is said in the log
    and its index once that is possible. `max_bytes` 0: no quota. `masks` are secrets, which are taken out.
    """

    def __init__(
        self, log_fd: int, index_fd: int, clock: Clock, max_bytes: int = 0, masks: Masks | Sequence[bytes] = ()
    ) -> None:
        self._clock = clock
        self._masker = Masker(masks) if masks else None
        self._sink: Sink | None = Sink("", log_fd, index_fd, max_bytes)

    def write(self, line: str) -> None:
        """Add a line; the newline at its end is added where it is missing. Nothing happens after `close`."""
        if self._sink:
            words = (line if line.endswith("\n") else line + "\n").encode(errors="replace")
            self._write(self._sink, self._masker.feed(words) if self._masker else words)

    def close(self) -> None:
        """Say that the log is complete, and close it. Safe twice."""
        sink, self._sink = self._sink, None
        if sink:
            if self._masker:
                self._write(sink, self._masker.end())
            sink.end(self._clock.wall_us())
            os.close(sink.log)
            os.close(sink.index)

    def _write(self, sink: Sink, words: bytes) -> None:
        if words:
            sink.write(words, self._clock.wall_us())
