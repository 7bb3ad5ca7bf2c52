"""Strict JSON (RFC 8259) to the tree of `document`, with places and without recursion (rules D4 and D5).

Neither the json module nor a YAML parser is strict enough: they take NaN, Infinity, duplicate keys, or half of what
is no JSON at all, and keep no places. It knows nothing of workflows.
"""

from __future__ import annotations

import re
from typing import Any

from pyflowd.language.document import (
    MAX_DEPTH,
    MAX_NODES,
    Document,
    DuplicateKey,
    Invalid,
    Mapping,
    Sequence,
    check_string,
    decode,
    integer,
    quote,
    real,
    too_deep,
)

_BLANKS = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"', re.ASCII)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)((?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)(?![A-Za-z0-9_+.-])", re.ASCII)
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_SHORT_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_WORDS = {"true": True, "false": False, "null": None}
_WORD = re.compile(r"[A-Za-z0-9_+.-]+", re.ASCII)


def parse_json(data: bytes, *, any_text: bool = False) -> Document:
    """The one value in `data`. Raises `document.DocumentError` with a place.

    `any_text`: texts may hold what only an escape can bring into them, as data of others may: control characters.
    """
    text = decode(data)
    try:
        root, mark = _Parser(text, any_text=any_text).parse()
    except Invalid as error:
        raise error.at(text) from None
    return Document(root, mark, text)


class _Parser:
    """One pass over the text; `stack` holds the open collections, `keys` the key that waits in each."""

    def __init__(self, text: str, *, any_text: bool) -> None:
        self._text = text
        self._any_text = any_text
        self._at = 0
        self._stack: list[Mapping | Sequence] = []
        self._keys: list[str] = []
        self._nodes = 0

    def parse(self) -> tuple[Any, int]:
        if self._next() == "":
            raise Invalid(0, "empty", "the file is empty")
        start = self._at
        root = self._value()
        while self._stack:
            self._member()
        if self._next() != "":
            raise self._unexpected("something follows the end of the value")
        return root, start

    def _next(self) -> str:
        """The next character that is no blank, not taken; empty at the end."""
        found = self._text[self._at : self._at + 1]
        if found and found in " \t\n\r":
            match = _BLANKS.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            found = self._text[self._at : self._at + 1]
        return found

    def _member(self) -> None:
        """One more member of the innermost collection, or its end."""
        into = self._stack[-1]
        closing = "}" if isinstance(into, Mapping) else "]"
        found = self._next()
        if found == closing:
            self._at += 1
            self._stack.pop()
            self._keys.pop()
            return
        if into:
            if found != ",":
                raise self._unexpected(f"expected a comma or {closing}")
            self._at += 1
            if self._next() == closing:
                raise self._unexpected(f"a comma stands before {closing}")
        if isinstance(into, Mapping):
            self._key(into)
        self._next()
        into.marks.append(self._at)
        depth = len(self._stack) - 1
        value = self._value()
        if isinstance(into, Mapping):
            into[self._keys[depth]] = value
        else:
            into.append(value)

    def _key(self, into: Mapping) -> None:
        mark = self._at
        if self._next() != '"':
            raise self._unexpected("expected a key in double quotes")
        key = self._string()
        if key in into:
            raise DuplicateKey(key, mark, into.key_mark(key))
        if self._next() != ":":
            raise self._unexpected("expected a colon after the key")
        self._at += 1
        into.marks.append(mark)
        self._keys[-1] = key
        self._count(mark)

    def _value(self) -> Any:
        """The value that begins here; of a collection only its beginning, which goes on the stack."""
        found = self._next()
        self._count(self._at)
        if found == '"':
            return self._string()
        if found in ("{", "["):
            if len(self._stack) >= MAX_DEPTH:
                raise too_deep(self._at)
            self._at += 1
            value: Mapping | Sequence = Mapping() if found == "{" else Sequence()
            value.marks = []
            self._stack.append(value)
            self._keys.append("")
            return value
        if found and found in "-0123456789":
            return self._number()
        match = _WORD.match(self._text, self._at)
        if match is not None and match[0] in _WORDS:
            self._at = match.end()
            return _WORDS[match[0]]
        raise self._unexpected("expected a value")

    def _count(self, mark: int) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Invalid(mark, "too_many_nodes", f"more than {MAX_NODES} values")

    def _number(self) -> int | float:
        match = _NUMBER.match(self._text, self._at)
        if match is None:
            raise self._unexpected("not a number as JSON writes it")
        mark, self._at = self._at, match.end()
        return real(match[0], mark) if match[1] else integer(match[0], mark)

    def _string(self) -> str:
        match = _STRING.match(self._text, self._at)
        if match is None:
            raise self._unexpected("the text is not closed, holds a raw control character or an unknown escape")
        mark, self._at = self._at, match.end()
        value = match[0][1:-1]
        if "\\" in value:
            value = _unescape(value)
        return value if self._any_text else check_string(value, mark)

    def _unexpected(self, reason: str) -> Invalid:
        found = self._text[self._at : self._at + 20].split("\n")[0]
        shown = f"found {quote(found)}" if self._at < len(self._text) else "the file ends here"
        return Invalid(self._at, "syntax", f"not JSON: {reason}; {shown}")


def _unescape(text: str) -> str:
    """Escapes resolved; two escaped halves of a surrogate pair become their character, a lone half stays."""
    text = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _SHORT_ESCAPES.get(m[2], m[2]), text)
    return _PAIR.sub(lambda m: m[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
