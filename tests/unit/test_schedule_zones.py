"""Every zone that there is, at every change of its clock from 2000 to 2040, against the oracle that walks by minutes.

That takes some minutes (`make zones`, PYFLOW_LONG); otherwise one change of some of the zones is looked at.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from zoneinfo import ZoneInfo, available_timezones

import pytest

from pyflowd.base.zones import zone
from pyflowd.clock import US, to_us
from pyflowd.model.triggers import Dst
from pyflowd.schedules.cron import parse
from pyflowd.schedules.schedule import slots
from tests import cron_oracle

LONG = bool(os.environ.get("PYFLOW_LONG"))
FIRST_YEAR, LAST_YEAR = 2000, 2040
EXPRESSIONS = (
    "30 2 * * *", "0 0 * * *", "*/20 1-3 * * *", "15,45 0-23 * * *", "*/15 * * * *", "7 */2 * * *",
    "5 0-4/2 * * *", "0 12 * * 1-5", "59 23 L * *", "30 1 * 3,4,9,10,11 0", "0 3 1-7 * */7", "10 2 15W,LW * *",
)  # fmt: skip
NO_ZONES = {"localtime", "Factory", "posixrules"}


NAMES = sorted(available_timezones() - NO_ZONES)
Change = tuple[datetime, timedelta | None, timedelta | None]

_passed: set[Change] = set()
"""What was looked at in another zone already: many have several names, or follow a neighbour."""


def chosen(name: str) -> list[datetime]:
    """All changes of a zone, or one of them by its name; of a clock that never changes, any time."""
    changes = cron_oracle.changes(ZoneInfo(name), FIRST_YEAR, LAST_YEAR) or [datetime(2024, 2, 29, tzinfo=UTC)]
    if LONG:
        return changes
    return [changes[int.from_bytes(sha256(name.encode()).digest()[:4]) % len(changes)]]


def unseen(name: str, change: datetime) -> bool:
    """Whether no zone had the same offset before and after the same instant."""
    where = ZoneInfo(name)
    key = (change, change.astimezone(where).utcoffset(), (change - timedelta(days=2)).astimezone(where).utcoffset())
    known = key in _passed
    _passed.add(key)
    return not known


def disagreements(name: str, change: datetime) -> list[str]:
    """Where slots within 30 hours of a change are not what the oracle finds."""
    where = zone(name)
    steps = cron_oracle.walk(where.info, change - timedelta(hours=60), 90 * 60)
    first_us, last_us = to_us(change - timedelta(hours=30)), to_us(change + timedelta(hours=30))
    wrong = []
    for expr in EXPRESSIONS:
        cron = parse(expr)
        for dst in Dst:
            fired = (at_s * US for at_s in cron_oracle.fire_times(expr, dst.value, steps))
            wanted = [at_us for at_us in fired if first_us < at_us < last_us]
            if list(slots(cron, where, dst, first_us, last_us - 1)) != wanted:
                wrong.append(f"{name} at {change:%F %H:%M} UTC, {expr}, dst: {dst}")
    return wrong


@pytest.mark.parametrize("name", NAMES if LONG else NAMES[::6])
def test_every_change_of_every_zone_is_as_the_oracle_says(name: str) -> None:
    assert [wrong for change in chosen(name) if unseen(name, change) for wrong in disagreements(name, change)] == []


@pytest.mark.parametrize("dst", Dst)
@pytest.mark.parametrize("expr", ["*/30 0-2 * * 6,0", "0 */3 L * *", "15 1 * 3,11 *"])
def test_the_oracle_of_years_is_as_the_one_that_walks_by_minutes(expr: str, dst: Dst) -> None:
    where = ZoneInfo("America/Havana")
    first, last = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
    steps = _year(where)
    for walked, by_years in (
        (cron_oracle.fire_times, cron_oracle.fire_times_of_years),
        (cron_oracle.left_out_times, cron_oracle.left_out_of_years),
    ):
        wanted = [at for at in walked(expr, dst.value, steps) if first.timestamp() <= at < last.timestamp()]
        found = by_years(expr, dst.value, where, 2020, 2020)
        assert [at for at in found if first.timestamp() <= at < last.timestamp()] == wanted


@cache
def _year(where: ZoneInfo) -> cron_oracle.Walk:
    return cron_oracle.walk(where, datetime(2019, 12, 20, tzinfo=UTC), 380 * 1440)
