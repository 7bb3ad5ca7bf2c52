"""Looking for a text in a whole log, in a memory that does not grow with it; each line that has it is told once."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pyflowd.errors import UsageError
from pyflowd.web.logs.linemap import LineMap

HITS_MAX = 10_000
"""Of all attempts together."""
WANTED_MAX = 1000
"""Characters looked for."""
_READ_BYTES = 1 << 20


def asked_for(text: str) -> bytes:
    """What is looked for. Raises UsageError."""
    if len(text) > WANTED_MAX or "\n" in text:
        raise UsageError(f"look for one line of at most {WANTED_MAX:,} characters")
    return text.encode("utf-8", "surrogatepass")


def hits(fd: int, lines: LineMap, wanted: bytes) -> Iterator[int | None]:
    """Numbers of lines that have `wanted`; None after each piece of the log without further ones, so that whoever
    asks may stop. Text without capital letters finds both; ASCII letters only.
    """
    any_case = wanted == wanted.lower()
    for begin, end, first in lines.segments():
        number, at, told = first, begin, 0
        while at < end:
            data = os.pread(fd, min(_READ_BYTES, end - at), at)
            if not data:
                return
            low = data.lower() if any_case else data
            counted = 0
            place = low.find(wanted)
            while place >= 0:
                number += data.count(b"\n", counted, place)
                counted = place
                if number != told:
                    told = number
                    yield number
                newline = data.find(b"\n", place)
                if newline < 0:
                    break
                place = low.find(wanted, newline)
            if at + len(data) >= end:
                break
            # What is looked for may lie across the end of a piece: the next one begins a little before it.
            step = max(1, len(data) - len(wanted) + 1)
            number += data.count(b"\n", counted, step) if step >= counted else -data.count(b"\n", step, counted)
            at += step
            yield None
