"""Durations and sizes as people write them: `500ms 30s 5m 1h 7d`, `64KiB 2GiB`. The unit is required.

Pure text to number and back; knows nothing of definitions.
"""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {
    "B": 1,
    "KB": 1000, "MB": 1000**2, "GB": 1000**3, "TB": 1000**4,
    "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4,
}  # fmt: skip
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d|w))+", re.ASCII)
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)", re.ASCII)
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]i?B|B)", re.ASCII)
_LONGEST_S = 366 * 86400.0 * 10


def duration_s(text: str) -> float:
    """Seconds of `90s`, `1h30m`, `500ms`; at most ten years. Raises ValueError with the reason and the remedy."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f'"{text}" is not a duration: write a number and a unit, such as 500ms, 30s, 5m, 1h, 7d')
    total = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if total > _LONGEST_S:
        raise ValueError(f'"{text}" is longer than ten years')
    return total


def size_bytes(text: str) -> int:
    """Bytes of `64KiB`, `2GiB`, `10MB`. Raises ValueError with the reason and the remedy."""
    match = _SIZE.fullmatch(text)
    if not match or len(match[1]) > 15:
        raise ValueError(f'"{text}" is not a size: write a number and a unit, such as 64KiB, 10MB, 2GiB')
    return int(float(match[1]) * _BYTES[match[2]])


def duration_text(seconds: float) -> str:
    """A duration for people, two units at most: `350ms`, `2.4s`, `3m12s`, `2h05m`, `4d03h`."""
    if seconds < 0:
        return "-" + duration_text(-seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    whole = int(seconds + 0.5)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def duration_written(seconds: float) -> str:
    """As a file has it: with the largest unit that says it exactly."""
    if seconds != int(seconds):
        return f"{round(seconds * 1000)}ms"
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{int(seconds) // size}{unit}"
    return f"{int(seconds)}s"


def size_written(size_bytes: int) -> str:
    """As a file has it: with the largest unit that says it exactly."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes and size_bytes % _BYTES[unit] == 0:
            return f"{size_bytes // _BYTES[unit]}{unit}"
    return f"{size_bytes}B"


def size_text(size: float) -> str:
    """A size for people: `512 B`, `3.4 KiB`, `1.2 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")
