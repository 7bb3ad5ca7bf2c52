"""Unit files of systemd, read: sections, keys with all their values, command lines, durations. Pure.

systemd.syntax(7), systemd.service(5), systemd.time(7). It knows nothing of what the keys mean.
"""

from __future__ import annotations

import re

from msgspec import Struct

_SECTION = re.compile(r"\[([^\[\]]+)\]")
_KEY = re.compile(r"([A-Za-z][A-Za-z0-9-]*)[ \t]*=[ \t]*(.*)", re.DOTALL)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " ",
            "\\": "\\", '"': '"', "'": "'"}  # fmt: skip
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[0-7]{3}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?)[ \t]*([a-zµμ]*)[ \t]*", re.IGNORECASE)
_UNITS = {
    "us": 1e-6, "usec": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "msec": 1e-3,
    "": 1.0, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0,
    "m": 60.0, "min": 60.0, "minute": 60.0, "minutes": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "hours": 3600.0,
    "d": 86_400.0, "day": 86_400.0, "days": 86_400.0, "w": 604_800.0, "week": 604_800.0, "weeks": 604_800.0,
    "M": 2_629_800.0, "month": 2_629_800.0, "months": 2_629_800.0,
    "y": 31_557_600.0, "year": 31_557_600.0, "years": 31_557_600.0,
}  # fmt: skip
_PREFIXES = "@-:+!"


class Unit(Struct, frozen=True, kw_only=True):
    """Section and key to all values, an empty assignment having taken back those before it."""

    name: str
    sections: dict[str, dict[str, list[str]]]
    lines: dict[tuple[str, str], int]
    """Where each key stands for the first time."""

    def all(self, section: str, key: str) -> list[str]:
        return self.sections.get(section, {}).get(key, [])

    def last(self, section: str, key: str) -> str:
        """The value that counts of a key that has one; empty if it is not there."""
        found = self.all(section, key)
        return found[-1] if found else ""

    def line(self, section: str, key: str) -> int:
        return self.lines.get((section, key), 1)


def read(name: str, texts: list[str]) -> Unit:
    """The unit `name` of its file and the drop-ins over it. Raises ValueError, one line."""
    sections: dict[str, dict[str, list[str]]] = {}
    places: dict[tuple[str, str], int] = {}
    for text in texts:
        section = ""
        for number, line in _logical_lines(text):
            if found := _SECTION.fullmatch(line):
                section = found[1]
                continue
            entry = _KEY.fullmatch(line)
            if entry is None or not section:
                raise ValueError(f"{name}:{number}: neither a section nor KEY=VALUE of one")
            values = sections.setdefault(section, {}).setdefault(entry[1], [])
            places.setdefault((section, entry[1]), number)
            if entry[2]:
                values.append(entry[2])
            else:
                values.clear()
    return Unit(name=name, sections=sections, lines=places)


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines with those that continue them, without comments and empty ones, and the number of the first of each."""
    found = []
    joined, start = "", 0
    for number, raw in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        line = raw.strip(" \t")
        if line.startswith(("#", ";")) or (not line and not joined):
            continue
        start = start or number
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        found.append((start, (joined + line).strip()))
        joined, start = "", 0
    return found + ([(start, joined.strip())] if joined.strip() else [])


# ---- Values ---------------------------------------------------------------------------------------------------------


def span_s(text: str) -> float | None:
    """Seconds of `1h 30min` or `90`; None for `infinity`. Raises ValueError."""
    if text.strip() == "infinity":
        return None
    total, at = 0.0, 0
    stripped = text.strip()
    while at < len(stripped):
        found = _SPAN.match(stripped, at)
        unit = "" if found is None else found[2] if found[2] == "M" else found[2].lower()
        if found is None or unit not in _UNITS:
            raise ValueError(f"{text[:60]} is no span of time")
        total += float(found[1]) * _UNITS[unit]
        at = found.end()
    if not stripped:
        raise ValueError("there is no span of time")
    return total


def is_true(text: str) -> bool:
    return text.lower() in ("1", "yes", "y", "true", "t", "on")


def words(text: str) -> list[str]:
    """Split as systemd does: quotes of both sorts, C escapes. Raises ValueError where a quote is not closed."""
    found: list[str] = []
    at = 0
    while at < len(text):
        if text[at] in " \t\n":
            at += 1
            continue
        word, at = _word(text, at)
        found.append(word)
    return found


def _word(text: str, at: int) -> tuple[str, int]:
    quote, word = "", ""
    while at < len(text) and (quote or text[at] not in " \t\n"):
        char = text[at]
        if char == "\\" and (escape := _ESCAPE.match(text, at)):
            word += _unescaped(escape[1])
            at = escape.end()
            continue
        if char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        else:
            word += char
        at += 1
    if quote:
        raise ValueError(f"a quote is not closed in {text[:60]}")
    return word, at


def _unescaped(code: str) -> str:
    if code[0] in "xuU" and len(code) > 1:
        return chr(int(code[1:], 16))
    if len(code) == 3:
        return chr(int(code, 8))
    return _ESCAPES.get(code, "\\" + code)


class Command(Struct, frozen=True, kw_only=True):
    """One command line of a service."""

    prefixes: str
    """Of `@-:+!`."""
    words: tuple[str, ...]


def commands(text: str) -> list[Command]:
    """The commands of one ExecStart=; several are parted by a lone `;`. Raises ValueError."""
    found: list[list[str]] = [[]]
    for word in words(text):
        if word == ";":
            found.append([])
        else:
            found[-1].append(";" if word == "\\;" else word)
    made = []
    for line in found:
        if not line:
            continue
        program = line[0].lstrip(_PREFIXES)
        prefixes = line[0][: len(line[0]) - len(program)]
        if not program:
            raise ValueError(f"there is no program in {text[:60]}")
        made.append(Command(prefixes=prefixes, words=(program, *line[1:])))
    return made


def specifiers(text: str, name: str) -> str:
    """`%n`, `%p`, `%i` and their like, filled in by the name of the unit. Raises ValueError for all others."""
    stem = name.rpartition(".")[0]
    prefix, _, instance = stem.partition("@")
    known = {"%": "%", "n": name, "N": stem, "p": prefix, "i": instance, "I": instance.replace("-", "/")}

    def filled(found: re.Match[str]) -> str:
        if found[1] not in known:
            raise ValueError(
                f"the specifier %{found[1]} in {text[:60]} is known to the running systemd only: write it out"
            )
        return known[found[1]]

    return re.sub(r"%(.)", filled, text)
