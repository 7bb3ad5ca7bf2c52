"""The looks of text in a terminal: width, colour, columns, times, states. Pure; knows nothing of replies."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pyflowd.clock import US, from_us
from pyflowd.units import duration_text

GLYPHS = {
    "queued": "◌", "waiting": "◌", "running": "●", "retrying": "↻", "starting": "●",
    "succeeded": "✓", "failed": "✗", "cancelled": "✗", "skipped": "−", "upstream_failed": "−",
    "timed_out": "✗", "unknown": "?",
    "active": "✓", "paused": "‖", "stale": "!", "broken": "✗",
    "fired": "✓", "ok": "✓", "warning": "!", "error": "✗",
}  # fmt: skip
_GREEN, _RED, _YELLOW, _BLUE, _DIM, _BOLD = "32", "31", "33", "34", "2", "1"
_COLOURS = {
    "running": _BLUE, "starting": _BLUE, "retrying": _YELLOW,
    "succeeded": _GREEN, "failed": _RED, "cancelled": _YELLOW, "upstream_failed": _YELLOW, "skipped": _DIM,
    "timed_out": _RED, "unknown": _RED, "queued": _DIM, "waiting": _DIM,
    "active": _GREEN, "paused": _YELLOW, "stale": _YELLOW, "broken": _RED,
    "fired": _GREEN, "ok": _GREEN, "warning": _YELLOW, "error": _RED,
}  # fmt: skip
NO_LIMIT = 1 << 20
ALIGNED_COLUMNS = 60
"""Beyond a terminal, where nothing is cut: a wider text stands out of its column, and moves nobody else's."""
WRAPPED_COLUMNS = 44
"""What a text that may take several lines gets of a narrow terminal, before other columns are left out."""
_VALUES_SHOWN = 5
_VALUE_COLUMNS = 60


class Style(Struct, frozen=True, kw_only=True):
    """What the reader's side is like."""

    width: int = 80
    colour: bool = False
    timezone: str = "UTC"
    """IANA name; one that this host does not know reads as UTC, and is shown so."""
    now_us: int = 0
    terminal: bool = False
    """Not a terminal: nothing is cut to the width, there is no progress, controls stay as they are."""

    @property
    def columns(self) -> int:
        return max(self.width, 20) if self.terminal else NO_LIMIT

    @property
    def zone(self) -> tzinfo:
        return zone_of(self.timezone)


@lru_cache(maxsize=64)
def zone_of(name: str) -> tzinfo:
    """The zone of an IANA name; UTC where there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


# ---- Text -----------------------------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """One line of printable text: names, messages and params may hold anything."""
    if text.isprintable():
        return text
    shown = text.replace("\n", "⏎").replace("\t", " ")
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in shown)


def text_width(text: str) -> int:
    """Columns that `text` takes; East Asian wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def fit(text: str, columns: int) -> str:
    """`text`, cut to `columns` with `…` at its end where it is wider."""
    if text_width(text) <= columns:
        return text
    if columns < 1:
        return ""
    kept, used = "", 0
    for char in text:
        used += _char_width(char)
        if used > columns - 1:
            break
        kept += char
    return kept + "…"


def wrapped(text: str, columns: int) -> list[str]:
    """`text` in lines of at most `columns`, broken between words where that can be."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if text_width(joined) <= columns:
            line = joined
            continue
        lines += [line] if line else []
        line = word
        while text_width(line) > columns:
            head = fit(line, columns)[:-1] or line[0]  # what `fit` cuts ends with its sign for that
            lines.append(head)
            line = line[len(head) :]
    return [*lines, line]


def spoken(word: str) -> str:
    """A word of a closed set, for people: `upstream failed`, `drop-in changed`."""
    return word.replace("drop_in", "drop-in").replace("_", " ")


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def value_text(value: object, columns: int = NO_LIMIT) -> str:
    """A value as JSON writes it, on one line."""
    return fit(clean(msgspec.json.encode(value).decode()), columns)


def values_text(values: Mapping[str, object]) -> str:
    """`params.full is false, tasks.a.state is "failed"`: a few of them, each shortened."""
    told = [f"{clean(name)} is {value_text(value, _VALUE_COLUMNS)}" for name, value in values.items()]
    more = f", and {len(told) - _VALUES_SHOWN} more" if len(told) > _VALUES_SHOWN else ""
    return ", ".join(told[:_VALUES_SHOWN]) + more


# ---- Colour ---------------------------------------------------------------------------------------------------------


def paint(text: str, code: str, style: Style) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if style.colour and code and text else text


def paint_state(text: str, state: str, style: Style) -> str:
    return paint(text, _COLOURS.get(state, ""), style)


def dim(text: str, style: Style) -> str:
    return paint(text, _DIM, style)


def bold(text: str, style: Style) -> str:
    return paint(text, _BOLD, style)


def glyph(state: str, style: Style) -> str:
    return paint_state(GLYPHS.get(state, " "), state, style)


# ---- Time -----------------------------------------------------------------------------------------------------------


def local(at_us: int, style: Style) -> datetime:
    return from_us(at_us).astimezone(style.zone)


def moment(at_us: int | None, style: Style) -> str:
    """Time of day; with the date where that is not today."""
    if at_us is None:
        return ""
    at, now = local(at_us, style), local(style.now_us, style)
    return at.strftime("%H:%M:%S" if at.date() == now.date() else "%Y-%m-%d %H:%M:%S")


def span(seconds: float) -> str:
    """A length of time for a sentence: `45 s`, `12 min`, `3 h 12 min`, `4 d 3 h`."""
    whole = int(abs(seconds) + 0.5)
    if whole < 60:
        return f"{whole} s"
    minutes = (whole + 30) // 60
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        hours, rest = divmod(minutes, 60)
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days, rest = divmod((whole + 1800) // 3600, 24)
    return f"{days} d {rest} h" if rest else f"{days} d"


def slot_moment(at_us: int | None, style: Style) -> str:
    """As `moment`, without seconds where there are none: most slots fall on a minute."""
    return (
        moment(at_us, style).removesuffix(":00")
        if at_us is not None and at_us % (60 * US) == 0
        else moment(at_us, style)
    )


def relative(at_us: int | None, style: Style) -> str:
    """`in 3 h 12 min`, `12 min ago`, `now`."""
    if at_us is None:
        return ""
    seconds = (at_us - style.now_us) / US
    if abs(seconds) < 0.5:
        return "now"
    return f"in {span(seconds)}" if seconds > 0 else f"{_coarse(-seconds)} ago"


def _coarse(seconds: float) -> str:
    """One unit is enough for what is past."""
    whole = int(seconds + 0.5)
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if whole >= size:
            return f"{int(whole / size + 0.5)} {unit}"
    return f"{whole} s"


def took(started_us: int | None, ended_us: int | None, style: Style) -> str:
    """How long it took, or has taken so far; empty if it has not begun."""
    if started_us is None:
        return ""
    end_us = style.now_us if ended_us is None else ended_us
    return duration_text(max(0, end_us - started_us) / US)


def zone_text(style: Style) -> str:
    """`times: Europe/Berlin, UTC+01:00`: said once for each output that shows times."""
    now = local(style.now_us, style)
    known = style.timezone if not isinstance(style.zone, type(UTC)) else "UTC"
    offset = now.strftime("%z")
    return "times: UTC" if known == "UTC" else f"times: {known}, UTC{offset[:3]}:{offset[3:5]}"


def iso(at_us: int | None, style: Style) -> str | None:
    """RFC 3339 with microseconds and offset, in the reader's zone."""
    return None if at_us is None else local(at_us, style).isoformat(timespec="microseconds")


# ---- Columns --------------------------------------------------------------------------------------------------------


class Cell(Struct, frozen=True):
    """Text of one place in a table, and the state whose colour it takes."""

    text: str
    state: str = ""
    right: bool = False
    wraps: bool = False
    """Where it is too wide for a terminal it takes several lines, and is not cut."""


class Table:
    """Rows with columns aligned, two spaces apart; widths only grow, so that later pages stand below earlier ones.

    Where a terminal is too narrow, texts that wrap take more lines; then the columns named as `droppable` are left
    out, the last named first; then the widest column is cut, never below eight columns. Elsewhere nothing is cut.
    """

    def __init__(self, style: Style, droppable: Sequence[int] = (), indent: int = 2) -> None:
        self._style = style
        self._droppable = tuple(droppable)
        self._indent = indent
        self._widths: list[int] = []
        self._wrapping: set[int] = set()

    def lines(self, rows: Sequence[Sequence[Cell]]) -> list[str]:
        """One text for each row; that of a row with a wrapped text holds line ends."""
        for row in rows:
            self._widths += [0] * (len(row) - len(self._widths))
            for number, cell in enumerate(row):
                self._widths[number] = max(self._widths[number], self._counted(cell))
                if cell.wraps:
                    self._wrapping.add(number)
        shown, widths = self._fitted()
        return [self._lines(row, shown, widths) for row in rows]

    def _counted(self, cell: Cell) -> int:
        """What a cell asks of its column."""
        width = text_width(cell.text)
        return width if self._style.terminal or width <= ALIGNED_COLUMNS else 1

    def _fitted(self) -> tuple[list[int], list[int]]:
        """The columns that are shown, and the width of every one."""
        widths = list(self._widths)
        shown = [number for number, width in enumerate(widths) if width]
        room = self._style.columns - self._indent
        for number in self._wrapping:
            excess = max(0, _total(shown, widths) - room)
            widths[number] = min(widths[number], max(WRAPPED_COLUMNS, widths[number] - excess))
        for number in reversed(self._droppable):
            if _total(shown, widths) > room and number in shown:
                shown.remove(number)
        while (excess := _total(shown, widths) - room) > 0:
            widest = max(shown, key=lambda number: widths[number])
            if widths[widest] <= 8:
                break
            others = [widths[number] for number in shown if number != widest and widths[number] < widths[widest]]
            widths[widest] = max(8, widths[widest] - excess, min(max(others, default=8), widths[widest] - 1))
        return shown, widths

    def _lines(self, row: Sequence[Cell], shown: list[int], widths: list[int]) -> str:
        """A row; below it what of a wrapped text does not fit into its first line."""
        parts = {number: self._parts(row[number], widths[number]) for number in shown if number < len(row)}
        most = max((len(lines) for lines in parts.values()), default=1)
        lines = []
        for at in range(most):
            cells = {number: replace(row[number], text=lines[at]) for number, lines in parts.items() if at < len(lines)}
            lines.append(self._line(cells, shown, widths))
        return "\n".join(lines)

    def _parts(self, cell: Cell, width: int) -> list[str]:
        if not self._style.terminal:
            return [cell.text]
        return wrapped(cell.text, width) if cell.wraps else [fit(cell.text, width)]

    def _line(self, cells: Mapping[int, Cell], shown: list[int], widths: list[int]) -> str:
        parts = []
        for number in shown:
            cell = cells.get(number, Cell(""))
            gap = " " * (widths[number] - text_width(cell.text))
            painted = paint_state(cell.text, cell.state, self._style) if cell.state else cell.text
            parts.append(gap + painted if cell.right else painted + gap)
        return (" " * self._indent + "  ".join(parts)).rstrip()


def _total(shown: list[int], widths: list[int]) -> int:
    return sum(widths[number] for number in shown) + 2 * max(0, len(shown) - 1)


def page(lines: Sequence[str]) -> bytes:
    """Lines as bytes, each ended."""
    return "".join(line + "\n" for line in lines).encode("utf-8", "backslashreplace")
