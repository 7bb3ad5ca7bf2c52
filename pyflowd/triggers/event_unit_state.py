"""How a unit of systemd stands, from its properties. Pure; whoever asks systemd is elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

PROPERTIES = ("ActiveState", "ActiveEnterTimestampMonotonic", "InactiveEnterTimestampMonotonic")
"""Of the interface org.freedesktop.systemd1.Unit. Text of a monotonic time is the same in all versions of systemctl."""
STATES = ("active", "inactive", "failed")
"""Others are on the way to one of these."""


class UnitState(NamedTuple):
    unit: str
    state: str
    since_us: int
    """Wall clock, computed: it may differ by a little from one telling to the next."""
    key: str
    """The same for the same change of the unit, whoever tells of it and when."""


def unit_state(unit: str, values: Mapping[str, object], boot: str, wall_of: Callable[[int], int]) -> UnitState | None:
    """None: on its way to another state, or it has never been in one. A failed unit has become inactive."""
    state = str(values.get("ActiveState", ""))
    entered = values.get("ActiveEnterTimestampMonotonic" if state == "active" else "InactiveEnterTimestampMonotonic")
    if state not in STATES or not str(entered or "").isdecimal() or not int(str(entered)):
        return None
    at_us = int(str(entered))
    return UnitState(unit, state, wall_of(at_us), f"{unit} {state} {boot} {at_us}")
