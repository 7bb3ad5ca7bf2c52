"""Time zones: a zone by its name, the host's own, and the stretches of time over which a zone's offset stays the same.

It knows nothing of cron. A stretch is found by asking `zoneinfo` once a day for its offset and bisecting where the
answer changes; in the whole of tzdata no two changes are nearer than 95 hours.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from msgspec import Struct

from pyflowd.errors import nearest

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9][A-Za-z0-9_+-]*){0,3}", re.ASCII)
_LONGEST_NAME = 64
_NOT_NAMES = ("posix", "right", "posixrules", "localtime", "Factory")
"""Entries of the zone folder that are no zones; `right` counts leap seconds, which the kernel's clock does not."""

_DAY_S = 86_400
_CHUNK_S = 400 * _DAY_S
_OVERLAP_S = 2 * _DAY_S
"""How far a chunk looks back: further than the longest fold, a day, so that a stretch knows how it began."""
EARLIEST_S = -5_364_662_400
"""1 January 1800, before the first change of any zone; a stretch is asked for from then on."""
LATEST_S = 250_000_000_000
"""The year 9892, the last for which a stretch is asked for; datetime ends with 9999."""


class Stretch(Struct, frozen=True):
    """Instants `start_s <= t < end_s` (seconds since the epoch), all of one offset from UTC.

    At `start_s` the offset changed from `before_s`. Where a search began or ended without finding a change, the bound
    is only as far as it looked: `before_s` then equals `offset_s`, and no fold reaches into the stretch's users.
    """

    start_s: int
    end_s: int
    offset_s: int
    before_s: int


class Zone:
    """A time zone with the stretches found so far; share it, `zone` keeps one for each name."""

    def __init__(self, name: str, info: ZoneInfo) -> None:
        self.name = name
        self.info = info
        self._chunks: dict[int, tuple[list[int], list[Stretch]]] = {}
        always = info.utcoffset(None)
        self._always: Stretch | None = None
        if always is not None:
            self._always = Stretch(EARLIEST_S - 1, LATEST_S + 1, _seconds(always), _seconds(always))

    def __repr__(self) -> str:
        return f"Zone({self.name!r})"

    def stretch(self, at_s: int) -> Stretch:
        """The stretch that holds the instant `at_s`, which is between `EARLIEST_S` and `LATEST_S`."""
        if self._always is not None:
            return self._always
        chunk = at_s // _CHUNK_S
        found = self._chunks.get(chunk)
        if found is None:
            stretches = _stretches(self.info, chunk * _CHUNK_S, (chunk + 1) * _CHUNK_S)
            found = self._chunks[chunk] = ([stretch.start_s for stretch in stretches], stretches)
        starts, stretches = found
        return stretches[bisect_right(starts, at_s) - 1]

    def local(self, at_us: int) -> datetime:
        """The instant as an aware datetime of this zone, for people."""
        return datetime.fromtimestamp(at_us // 1_000_000, self.info).replace(microsecond=at_us % 1_000_000)


@lru_cache(maxsize=1024)
def zone(name: str) -> Zone:
    """The zone of an IANA name. Raises ValueError with one line: what is wrong, and the nearest name."""
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name) or name.split("/")[0] in _NOT_NAMES:
        raise ValueError(f"{name[:80]!r} is not the name of a time zone: write one such as UTC or Europe/Berlin")
    try:
        return Zone(name, ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError) as unknown:
        hint = nearest(name, sorted(available_timezones()))
        raise ValueError(f'there is no time zone "{name}" on this host{hint}') from unknown


def host_zone(environ: Mapping[str, str] = os.environ, etc: str = "/etc") -> Zone:
    """The host's zone: by `TZ`, `/etc/timezone`, the link `/etc/localtime`; UTC where none of them names one.

    A `TZ` that is a rule and no name, such as `CET-1CEST`, is passed over.
    """
    for name in (environ.get("TZ", ""), _first_line(f"{etc}/timezone"), _link(f"{etc}/localtime")):
        try:
            return zone(name.removeprefix(":").rpartition("zoneinfo/")[2])
        except ValueError:
            continue
    return zone("UTC")


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.readline(256).strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _seconds(offset: timedelta) -> int:
    return offset.days * _DAY_S + offset.seconds


def _offset_s(info: ZoneInfo, at_s: int) -> int:
    offset = datetime.fromtimestamp(at_s, info).utcoffset()
    assert offset is not None  # a ZoneInfo always has one for an instant
    return _seconds(offset)


def _stretches(info: ZoneInfo, from_s: int, to_s: int) -> list[Stretch]:
    """The stretches of `from_s` to `to_s`, the first found from some days before it."""
    at_s = start_s = from_s - _OVERLAP_S
    before_s = offset_s = _offset_s(info, at_s)
    stretches = []
    while at_s < to_s:
        next_s = min(at_s + _DAY_S, to_s)
        if _offset_s(info, next_s) != offset_s:
            next_s = _change(info, at_s, next_s, offset_s)
            stretches.append(Stretch(start_s, next_s, offset_s, before_s))
            start_s, before_s, offset_s = next_s, offset_s, _offset_s(info, next_s)
        at_s = next_s
    if start_s < to_s:
        stretches.append(Stretch(start_s, to_s, offset_s, before_s))
    return stretches


def _change(info: ZoneInfo, same_s: int, changed_s: int, offset_s: int) -> int:
    """The first second after `same_s` whose offset is not `offset_s`; at `changed_s` it is another."""
    while changed_s - same_s > 1:
        middle_s = (same_s + changed_s) // 2
        if _offset_s(info, middle_s) == offset_s:
            same_s = middle_s
        else:
            changed_s = middle_s
    return changed_s
