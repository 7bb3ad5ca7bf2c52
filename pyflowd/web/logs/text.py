"""A line of a log as people see it: colours to classes, the last state of a progress bar, no hidden character. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_ESCAPE = re.compile(
    r"\x1b(?:\[([0-?]*)[ -/]*([@-~])"  # CSI: parameters and what to do
    r"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"  # OSC, DCS, SOS, PM, APC: a text for the terminal itself
    r"|[ -/]*[0-Z\\-~])"  # any other
)
_COLOURS = ("k", "r", "g", "y", "b", "m", "c", "w")
"""Names of style.css, by the number of the colour."""
_PICTURES = {
    **{code: chr(0x2400 + code) for code in range(0x20) if code != 0x09},
    0x7F: "\u2421",
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
    # Marks that turn the direction of writing can make a line read as what it does not say; others hide.
    **{code: f"\\u{code:04x}" for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))},
    0x2028: "\\u2028",
    0x2029: "\\u2029",
    0xFEFF: "\\ufeff",
}


class Span(NamedTuple):
    css: str
    """Classes of style.css; empty: plain."""
    text: str


class _Look(NamedTuple):
    colour: str = ""
    bold: bool = False
    underline: bool = False

    @property
    def css(self) -> str:
        names = (self.colour and f"c-{self.colour}", self.bold and "c-bold", self.underline and "c-under")
        return " ".join(name for name in names if name)


def spans(line: bytes) -> list[Span]:
    """A line without its end; bytes that are no UTF-8 are shown as `\\xNN`. An empty line has no spans."""
    text = last_state(line.decode("utf-8", "backslashreplace"))
    if "\x1b" not in text:
        return [Span("", text.translate(_PICTURES))] if text else []
    return list(_joined(text))


def last_state(text: str) -> str:
    """What a terminal would show in the end of a line that was written over and over."""
    if "\r" not in text:
        return text
    return next((part for part in reversed(text.split("\r")) if part), "")


def _joined(text: str) -> Iterator[Span]:
    look, at = _Look(), 0
    css, said = "", ""
    for found in _ESCAPE.finditer(text):
        plain = text[at : found.start()]
        at = found.end()
        if plain:
            if look.css != css and said:
                yield Span(css, said)
                said = ""
            css, said = look.css, said + plain.translate(_PICTURES)
        if found[2] == "m":
            look = _changed(look, found[1] or "")
    if plain := text[at:]:
        if look.css != css and said:
            yield Span(css, said)
            said = ""
        css, said = look.css, said + plain.translate(_PICTURES)
    if said:
        yield Span(css, said)


def _changed(look: _Look, parameters: str) -> _Look:
    """After a CSI m; what has no class of ours changes nothing."""
    codes = [int(code) if code.isascii() and code.isdigit() and len(code) < 4 else 0 for code in parameters.split(";")]
    while codes:
        code = codes.pop(0)
        match code:
            case 0:
                look = _Look()
            case 1:
                look = look._replace(bold=True)
            case 2:
                look = look._replace(colour="d")
            case 4:
                look = look._replace(underline=True)
            case 22:
                look = look._replace(bold=False, colour="" if look.colour == "d" else look.colour)
            case 24:
                look = look._replace(underline=False)
            case 39:
                look = look._replace(colour="")
            case _ if 30 <= code <= 37:
                look = look._replace(colour=_COLOURS[code - 30])
            case _ if 90 <= code <= 97:
                look = look._replace(colour=_COLOURS[code - 90] if code != 90 else "d")
            case 38 | 48:
                if codes[:1] == [5]:
                    if code == 38 and len(codes) > 1 and codes[1] < 16:
                        look = look._replace(colour="d" if codes[1] == 8 else _COLOURS[codes[1] % 8])
                    codes = codes[2:]
                elif codes[:1] == [2]:
                    codes = codes[4:]
            case _:
                pass
    return look


def marked(found: list[Span], wanted: str) -> list[Span]:
    """With `mark` as a class where the text is what was looked for; spans are cut there. Case as in `search`."""
    if not wanted:
        return found
    text = "".join(span.text for span in found)
    haystack = text if wanted != wanted.lower() else _lowered(text)
    hits: list[tuple[int, int]] = []
    at = haystack.find(wanted)
    while at >= 0:
        hits.append((at, at + len(wanted)))
        at = haystack.find(wanted, at + len(wanted))
    return list(_cut(found, hits)) if hits else found


def _lowered(text: str) -> str:
    """Of the same length: only ASCII, as bytes are compared."""
    return text.translate({code: code + 32 for code in range(ord("A"), ord("Z") + 1)})


def _cut(found: list[Span], hits: list[tuple[int, int]]) -> Iterator[Span]:
    begin = 0
    for css, text in found:
        end, at = begin + len(text), begin
        for hit_first, hit_last in hits:
            first, last = max(hit_first, begin), min(hit_last, end)
            if first >= last:
                continue
            if at < first:
                yield Span(css, text[at - begin : first - begin])
            yield Span(f"{css} mark".strip(), text[first - begin : last - begin])
            at = last
        if at < end:
            yield Span(css, text[at - begin :])
        begin = end
