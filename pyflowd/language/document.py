"""The tree that a definition's text becomes, in which every value knows its place, and the limits that hold for it.

`document_yaml` and `document_json` make it (rules D4 and D5). It knows nothing of workflows: which keys may stand
where is the affair of `definition`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Any, NamedTuple

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 1_000_000

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1  # what msgpack, SQLite and every reader of our JSON can hold
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what libyaml counts as one
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")
BOM = b"\xef\xbb\xbf"


class Mapping(dict[str, Any]):
    """A dict that knows where its keys and values began: `marks` is key, value, key, value, in order.

    A mark is an offset in characters from the start of the text; `Document.place` makes line and column of it.
    """

    __slots__ = ("marks",)
    marks: list[int]

    def key_mark(self, key: str) -> int:
        return self.marks[2 * list(self).index(key)]

    def value_mark(self, key: str) -> int:
        return self.marks[2 * list(self).index(key) + 1]


class Sequence(list[Any]):
    """A list that knows where its items began."""

    __slots__ = ("marks",)
    marks: list[int]


class Document(NamedTuple):
    """What was read: `root` is None, bool, int, float, str, `Mapping` or `Sequence` (of such)."""

    root: Any
    mark: int
    text: str
    sources: tuple[tuple[int, str], ...] = ()
    """Of one that is made of several texts (`overlay`): where in `text` each begins, and its label."""

    def place(self, mark: int) -> tuple[int, int]:
        """Line and column, in the text in which the mark stands."""
        start, _ = _source(self.sources, mark)
        return place_in(self.text[start:] if start else self.text, mark - start)

    def label(self, mark: int) -> str:
        """Of the text in which the mark stands; empty where there is but one."""
        return _source(self.sources, mark)[1]


def _source(sources: tuple[tuple[int, str], ...], mark: int) -> tuple[int, str]:
    return sources[bisect_right(sources, mark, key=lambda source: source[0]) - 1] if sources else (0, "")


class DocumentError(Exception):
    """The text is no document that we read. `line` and `column` count from 1; 0: no place."""

    def __init__(self, code: str, message: str, fix: str = "", *, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix
        self.line = line
        self.column = column


class Invalid(Exception):
    """Raised inside a parser, where an offset is at hand and the text is not; the border makes a `DocumentError`."""

    def __init__(self, mark: int, code: str, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.mark = mark
        self.code = code
        self.message = message
        self.fix = fix

    def at(self, text: str) -> DocumentError:
        line, column = place_in(text, self.mark)
        return DocumentError(self.code, self.message, self.fix, line=line, column=column)


class DuplicateKey(Invalid):
    """A key that stands in its mapping already, at `first`."""

    def __init__(self, key: str, mark: int, first: int) -> None:
        super().__init__(mark, "duplicate_key", f"the key {quote(key)} is given twice", "keep one of them")
        self.first = first

    def at(self, text: str) -> DocumentError:
        error = super().at(text)
        error.message += f", first in line {place_in(text, self.first)[0]}"
        return error


def quote(text: str) -> str:
    """`text` for a message: in quotes, on one line, short, nothing in it that a terminal obeys."""
    shown = text if len(text) <= 60 else text[:57] + "..."
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
    return f'"{shown}"'


def one_line(message: str) -> str:
    """Somebody else's message, safe to show: on one line, not endless."""
    text = " ".join(message.split())
    return quote(text)[1:-1] if not text.isprintable() else text if len(text) <= 300 else text[:297] + "..."


def place_in(text: str, mark: int) -> tuple[int, int]:
    """Line and column, from 1, of an offset in characters."""
    line, start = 1, 0
    for found in _LINE_BREAK.finditer(text, 0, mark):
        line, start = line + 1, found.end()
    return line, mark - start + 1


def line_starts(text: str) -> list[int]:
    """Where each line begins; `bisect_right` of a mark in it gives the number of its line."""
    return [0, *(found.end() for found in _LINE_BREAK.finditer(text))]


def decode(data: bytes) -> str:
    """The text of a file: UTF-8, a byte order mark taken away. Raises DocumentError."""
    if len(data) > MAX_BYTES:
        raise DocumentError("too_large", f"the file has {len(data)} bytes; at most {MAX_BYTES} are read")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DocumentError("encoding", "the file is UTF-16", "save it as UTF-8", line=1, column=1)
    data = data.removeprefix(BOM)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = place_in(data[: error.start].decode("utf-8"), len(data[: error.start].decode("utf-8")))
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise DocumentError("encoding", message, "save the file as UTF-8", line=line, column=column) from None
    nul = text.find("\0")
    if nul >= 0:
        line, column = place_in(text, nul)
        raise DocumentError("control_character", "a NUL byte in the text", "take it out", line=line, column=column)
    return text


def check_string(value: str, mark: int) -> str:
    """`value`, unless it holds a control character or half of a surrogate pair. Raises Invalid.

    Such a character can only come from an escape: raw ones are refused earlier.
    """
    found = _CONTROL.search(value)
    if found is None:
        return value
    name = f"U+{ord(found[0]):04X}"
    if "\ud800" <= found[0] <= "\udfff":
        raise Invalid(
            mark, "surrogate", f"the text holds half of a surrogate pair ({name})", "write the whole character"
        )
    fix = "leave it out; in a script, let printf make it"
    raise Invalid(mark, "control_character", f"the text holds the control character {name}", fix)


def too_deep(mark: int) -> Invalid:
    return Invalid(mark, "too_deep", f"nested deeper than {MAX_DEPTH} levels")


_MAX_DIGITS = 400
"""No number that we use is longer, and int() of thousands of digits is slow, then an error of its own."""


def integer(text: str, mark: int, base: int = 10) -> int:
    """An integer that fits 64 bits. Raises Invalid."""
    if len(text) <= _MAX_DIGITS:
        value = int(text, base)
        if _MIN_INT <= value <= _MAX_INT:
            return value
    raise Invalid(mark, "number", "an integer beyond 64 bits", "put it in quotes if it is text")


def real(text: str, mark: int) -> float:
    """A finite float. Raises Invalid."""
    if len(text) <= _MAX_DIGITS:
        value = float(text)
        if value - value == 0:
            return value
    raise Invalid(mark, "number", "a number beyond what a float holds", "put it in quotes if it is text")
