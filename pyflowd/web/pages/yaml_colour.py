"""The text of a definition in colours: keys, values, comments, expressions, line by line. Pure.

It reads no YAML: a line's look is enough for colours, and a text that is wrong has them, too.
"""

from __future__ import annotations

import re

from msgspec import Struct

_KEY = re.compile(r"""(\s*(?:- +)*)("[^"]*"|'[^']*'|[^\s#"'\[\]{},:&*!|>%@`][^#:]*?)(\s*:)(?=\s|$)""")
_EXPRESSION = re.compile(r"\$\{\{.*?\}\}")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'""")
LINES_MAX = 5000


class Span(Struct, frozen=True):
    css: str
    """`k` key, `v` value, `cm` comment, `x` expression; empty: none of them."""
    text: str


def lines(text: str) -> list[list[Span]]:
    """Of each line its pieces; together they are the text. Beyond `LINES_MAX` there are no colours."""
    found = text.split("\n")
    if found and not found[-1]:
        found.pop()
    if len(found) > LINES_MAX:
        return [[Span("", line)] for line in found]
    shown = []
    block: int | None = None
    """Indentation of the key of a block of text (`|`, `>`), in which there are no keys."""
    for line in found:
        indent = len(line) - len(line.lstrip())
        if block is not None and line.strip() and indent <= block:
            block = None
        if block is not None:
            shown.append(_value(line))
            continue
        pieces = _line(line)
        shown.append(pieces)
        if re.search(r":\s+[|>][0-9+-]*\s*(?:#.*)?$", line):
            block = indent
    return shown


def _line(line: str) -> list[Span]:
    body, comment = _parted(line)
    key = _KEY.match(body)
    head = [Span("", key[1]), Span("k", key[2]), Span("", key[3])] if key else []
    spans = [*head, *_value(body[key.end() if key else 0 :])]
    if comment:
        spans.append(Span("cm", comment))
    return [span for span in spans if span.text]


def _parted(line: str) -> tuple[str, str]:
    """A line and its comment: `#` within quotes is none."""
    hidden = _QUOTED.sub(lambda found: "x" * len(found[0]), line)
    found = _COMMENT.search(hidden)
    if not found:
        return line, ""
    start = found.start() + (0 if line[found.start()] == "#" else 1)
    return line[:start], line[start:]


def _value(text: str) -> list[Span]:
    """A value with its expressions."""
    spans, at = [], 0
    for found in _EXPRESSION.finditer(text):
        spans += [Span("v", text[at : found.start()]), Span("x", found[0])]
        at = found.end()
    spans.append(Span("v", text[at:]))
    return [span for span in spans if span.text]
