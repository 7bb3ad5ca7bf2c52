"""How much room text takes in a drawing, where nothing wraps it: an estimate, on the safe side. Pure."""

from __future__ import annotations

import unicodedata
from itertools import accumulate

THIN = frozenset("ijl.,:;'|! ")
NARROW = frozenset("tfrI()[]{}/\\·-")
BROAD = frozenset("mwMW@%&—")


def width_px(text: str, size_px: float, *, bold: bool = False) -> float:
    """Of a sans-serif font of that size, one that runs wide (DejaVu): a host's own font may be it."""
    return sum(_em(char) for char in text) * _scale_px(size_px, bold=bold)


def _scale_px(size_px: float, *, bold: bool) -> float:
    return size_px * (1.16 if bold else 1.0)


def _em(char: str) -> float:
    if char in THIN:
        return 0.32
    if char in NARROW:
        return 0.41
    if char in BROAD:
        return 0.98
    if char.isascii():
        return 0.72 if char.isupper() else 0.62
    if unicodedata.combining(char):
        return 0.0
    return 1.0 if unicodedata.east_asian_width(char) in "WFA" else 0.75


def fitted(text: str, room_px: float, size_px: float, *, bold: bool = False) -> str:
    """`text`, cut in the middle where it is too long: names differ at their ends as often as at their heads."""
    room_em = room_px / _scale_px(size_px, bold=bold)
    up_to = [0.0, *accumulate(map(_em, text))]
    if up_to[-1] <= room_em:
        return text
    room_em -= _em("…")
    for keep in range(len(text) - 1, 1, -1):
        tail = keep // 3
        rest = len(text) - tail
        if up_to[keep - tail] + up_to[-1] - up_to[rest] <= room_em:
            return f"{text[: keep - tail]}…{text[rest:]}"
    return "…"
