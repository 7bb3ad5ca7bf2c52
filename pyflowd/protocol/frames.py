"""The first frames of a connection, and what the thin client is sent."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct, field

from pyflowd.protocol.requests import Request
from pyflowd.protocol.views import Part
from pyflowd.protocol.words import FRAME_MAX, VERSION

_PART_BYTES = FRAME_MAX >> 1


class Command(Struct, frozen=True, kw_only=True, tag="command"):
    """One command line. The thin client packs it by hand, as a map with these keys."""

    argv: list[str]
    """What follows the program's name."""
    version: int = VERSION
    width: int = 80
    """Columns of the terminal; 80 where there is none."""
    colour: bool = False
    terminal: bool = False
    """Whether standard output is a terminal (progress, escaping)."""
    timezone: str = ""
    """IANA name for times shown; empty: the daemon's."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Files named on the command line, as the client read them: the daemon opens no path that a client names."""


class Hello(Struct, frozen=True, kw_only=True, tag="hello"):
    version: int = VERSION
    token: str | None = None
    """Whose rights are asked for: None: those of the peer itself, by the kernel's word; empty: nobody's; else those of
    the account that the token stands for."""

    def __repr__(self) -> str:
        """Without the token: whoever shows a frame shows none."""
        return f"Hello(version={self.version})"


class Print(Struct, frozen=True, array_like=True, tag="print"):
    """Bytes for standard output (`stream` 1) or standard error (2)."""

    stream: int
    text: bytes


class Again(Struct, frozen=True, array_like=True, tag="again"):
    """What to ask for, instead of what was asked, if the daemon goes away before Finish: something that waits for a run
    goes on over a restart. Empty: what comes from here on cannot be had a second time."""

    argv: list[str]


class Passage(Struct, frozen=True, array_like=True, tag="passage"):
    """Print and Again in one frame: of a stream that goes on over a restart nothing is shown twice or left out."""

    stream: int
    text: bytes
    argv: list[str]


class Finish(Struct, frozen=True, array_like=True, tag="finish"):
    """The last frame: what the client ends with."""

    exit_status: int


Opening = Command | Hello
_encoder = msgspec.msgpack.Encoder()
opening_decoder = msgspec.msgpack.Decoder(Opening)
request_decoder = msgspec.msgpack.Decoder(Request)


def frame(value: Struct) -> bytes:
    """One frame of `value`. Raises ValueError where it would be longer than FRAME_MAX."""
    body = _encoder.encode(value)
    if len(body) > FRAME_MAX:
        raise ValueError(f"a {type(value).__name__} of {len(body)} bytes does not fit a frame of {FRAME_MAX}")
    return len(body).to_bytes(4, "big") + body


def parted(value: Struct) -> Iterator[bytes]:
    """Frames of a value that does not fit one."""
    body = _encoder.encode(value)
    for at in range(0, len(body), _PART_BYTES):
        yield frame(Part(body[at : at + _PART_BYTES], at + _PART_BYTES >= len(body)))
