"""From a task's output to lines of the host's journal: whole lines, no more of them than the journal is to be given.

What a line holds is what the log holds: verbatim, secrets already taken out. It knows nothing of pipes and sockets.
"""

from __future__ import annotations

from pyflowd.keeper.journald import INFO, LEFT_OUT_ID, OUTPUT_ID, TASK_IDENTIFIER, WARNING, encode
from pyflowd.keeper.wire import text

LINE_MAX_BYTES = 16_384
"""A longer line goes in pieces."""
LINES_AT_ONCE = 1_000
LINES_PER_S = 200
"""Of one attempt; journald by itself takes some 330 a second from a whole service, and drops the rest."""


class Forward:
    """The lines of one attempt. `fields`: what says whose they are, `NAME=value` each."""

    def __init__(self, fields: list[bytes], now_us: int) -> None:
        pairs = [field.partition(b"=") for field in fields]
        whose = encode([("SYSLOG_IDENTIFIER", TASK_IDENTIFIER), *((text(name), value) for name, _, value in pairs)])
        self._head = whose + encode((("MESSAGE_ID", OUTPUT_ID), ("PRIORITY", INFO)))
        self._left_out_head = whose + encode((("MESSAGE_ID", LEFT_OUT_ID), ("PRIORITY", WARNING)))
        self._rests: dict[int, bytes] = {}
        """By stream: the beginning of a line."""
        self._credit = float(LINES_AT_ONCE)
        self._credit_us = now_us
        self._left_out = 0

    def feed(self, payload: bytes, stream: int, now_us: int) -> list[bytes]:
        """The entries of the lines that are whole now."""
        *lines, rest = (self._rests.get(stream, b"") + payload).split(b"\n")
        if len(rest) > LINE_MAX_BYTES:
            whole = len(rest) - len(rest) % LINE_MAX_BYTES
            lines.append(rest[:whole])
            rest = rest[whole:]
        self._rests[stream] = rest
        return self._entries(lines, now_us) if lines else []

    def end(self, now_us: int) -> list[bytes]:
        """What is left when no more comes: lines without an end, and the word of what was left out."""
        lines = [rest for rest in self._rests.values() if rest]
        self._rests.clear()
        entries = self._entries(lines, now_us)
        return [*entries, self._told_left_out()] if self._left_out else entries

    def _entries(self, lines: list[bytes], now_us: int) -> list[bytes]:
        since_us, self._credit_us = max(0, now_us - self._credit_us), now_us
        self._credit = min(LINES_AT_ONCE, self._credit + since_us * LINES_PER_S / 1_000_000)
        # After a gap there is room for a second's lines at once, or each line of a flood would have a gap beside it.
        room = 0 if self._left_out and self._credit < LINES_PER_S else int(self._credit)
        pieces = [
            line[at : at + LINE_MAX_BYTES] for line in lines[:room] for at in range(0, len(line) or 1, LINE_MAX_BYTES)
        ]
        taken = pieces[:room]
        self._credit -= len(taken)
        entries = []
        if taken and self._left_out:
            entries.append(self._told_left_out())
        entries += [self._head + encode((("MESSAGE", piece),)) for piece in taken]
        self._left_out += len(pieces) - len(taken) + max(0, len(lines) - room)
        return entries

    def _told_left_out(self) -> bytes:
        count, self._left_out = self._left_out, 0
        lines = "1 line" if count == 1 else f"{count} lines"
        words = f"pyflow: {lines} of output left out here: more than {LINES_PER_S} a second; see the task's log"
        return self._left_out_head + encode((("MESSAGE", words),))
