"""What the loader and its child say to each other: one request, one answer, as length-prefixed msgpack frames.

Types and framing only: who reads files is `loader_child`, who waits for it is `loader`.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
from msgspec import Struct

from pyflowd.language.plugins import Known
from pyflowd.model.problem import Problem

HEADER_BYTES = 4
MAX_FRAME_BYTES = 128 * 1024 * 1024
"""A text of 8 MiB and its compiled form; only our own child writes these frames."""


class Signature(Struct, frozen=True, array_like=True):
    """What of a file changes when its content does (`ctime_ns` cannot be set by its owner)."""

    mtime_ns: int
    ctime_ns: int
    size_bytes: int
    inode: int


def signature_of(status: os.stat_result) -> Signature:
    return Signature(status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


MASK = Signature(0, 0, 0, 0)
"""Of a link to /dev/null: what lies below it, or would, is not to be had."""


class Seen(Struct, frozen=True):
    """What a definition was made of when it was read."""

    parts: dict[str, Signature]
    """By key (see `sources`): the file, its drop-ins, its template if there is one of that name."""
    template: str = ""
    """Name of the template that it asks for."""


class Folders(Struct, frozen=True, array_like=True):
    """Where definitions are: two folders of workflows, absolute, with a folder of templates beside each."""

    workflows: str
    vendor: str = ""
    """What packages bring, below `workflows`; empty: none."""
    by_owner: bool = False
    """Files may belong to anybody, whose tasks run as them; else to root and the account that reads them only."""

    @property
    def templates(self) -> str:
        return _beside(self.workflows)

    @property
    def plugins(self) -> str:
        """Plugins that are files (`plugin_survey`)."""
        return os.path.join(os.path.dirname(self.workflows), "plugins")

    @property
    def vendor_templates(self) -> str:
        return _beside(self.vendor) if self.vendor else ""


def _beside(folder: str) -> str:
    return os.path.join(os.path.dirname(folder), "templates")


class FileRequest(Struct, frozen=True, tag="file", array_like=True):
    """Read and check `file`, a name in the folders of workflows, with its template and its drop-ins.

    `alone`: it is the host's own and has no drop-ins, so that there is nothing to look for (a tenth of the time).
    """

    folders: Folders
    file: str
    alone: bool = False


class TextRequest(Struct, frozen=True, tag="text", array_like=True):
    """Check a text that a client sent; `label` is how messages call it. It may name a template of the folders."""

    token: str
    label: str
    stem: str
    is_json: bool
    data: bytes
    folders: Folders | None = None
    owner: int = 0
    """Uid of whoever sent it: as if the file belonged to them."""
    file: str = ""
    """Whose drop-ins in the folders lie over it; empty: it has none."""


class TraceRequest(Struct, frozen=True, tag="trace", array_like=True):
    """Say where each value of a definition comes from; `data` is its text as it is stored."""

    token: str
    label: str
    stem: str
    is_json: bool
    data: bytes


class PluginNotice(Struct, frozen=True, tag="plugins", array_like=True):
    """What plugins there are from now on; it is not answered."""

    known: Known


Request = FileRequest | TextRequest | TraceRequest


class Loaded(Struct, frozen=True, kw_only=True, tag="loaded"):
    """A definition that may come into force. `problems` are warnings; `compiled` is a `model.Workflow` as msgpack."""

    file: str
    token: str = ""
    """Of a text; empty for a file."""
    name: str
    digest: str
    """SHA-256 of `text`, in hex."""
    text: bytes
    """Of all parts, as `definition_text` packs them."""
    compiled: bytes
    problems: tuple[Problem, ...] = ()
    seen: Seen | None = None
    """Of a text that a client sent: None."""
    source: str = ""
    """Key of the file itself: its name, or its path where it is of the vendor."""


class Rejected(Struct, frozen=True, kw_only=True, tag="rejected"):
    """A definition that may not; `problems` says why. `seen` is None if it could not be read."""

    file: str
    token: str = ""
    problems: tuple[Problem, ...]
    seen: Seen | None = None


class Unsettled(Struct, frozen=True, kw_only=True, tag="unsettled"):
    """The file changed while it was read: ask again when it rests."""

    file: str


class Vanished(Struct, frozen=True, kw_only=True, tag="vanished"):
    """There is no such file any more."""

    file: str


class Leaf(Struct, frozen=True, array_like=True):
    """One value of a definition that is no mapping, and the place it comes from."""

    path: tuple[str, ...]
    value: Any
    file: str
    line: int
    column: int


class Traced(Struct, frozen=True, kw_only=True, tag="traced"):
    """The values of a definition in the order in which they apply; `problem` instead if it could not be read."""

    file: str
    token: str
    leaves: tuple[Leaf, ...] = ()
    problem: str = ""


class Ready(Struct, frozen=True, tag="ready"):
    """The child's first words: it has imported what it needs."""


Result = Loaded | Rejected | Unsettled | Vanished | Traced
Answer = Ready | Result

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[Request | PluginNotice] = msgspec.msgpack.Decoder(Request | PluginNotice)
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def frame(message: Request | PluginNotice | Answer) -> bytes:
    body = _encoder.encode(message)
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def decode_request(body: bytes) -> Request | PluginNotice:
    return _requests.decode(body)


def take_answers(buffer: bytearray) -> list[Answer]:
    """The answers that are complete in `buffer`, taken out of it."""
    answers = []
    at = 0
    while len(buffer) - at >= HEADER_BYTES:
        end = at + HEADER_BYTES + int.from_bytes(buffer[at : at + HEADER_BYTES], "big")
        if len(buffer) < end:
            break
        answers.append(_answers.decode(memoryview(buffer)[at + HEADER_BYTES : end]))
        at = end
    if at:
        del buffer[:at]
    return answers
