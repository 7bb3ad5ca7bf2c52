"""When Debian's cron would fire: its loop, followed apart from PyFlow's scheduler; and where the two differ."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyflowd.base import zones
from pyflowd.conversion import crontab_time
from pyflowd.conversion.firings import Proof, compare
from pyflowd.model.triggers import Dst
from pyflowd.schedules import cron, schedule
from tests.corpus import CORPUS, needs_corpus

DAY = 1440


def minute(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) // 60


def fired(expression: str, zone: str, start: str, days: int = 1) -> list[str]:
    """Local times at which cron fires."""
    info = ZoneInfo(zone)
    first = int(datetime.fromisoformat(start).replace(tzinfo=info).timestamp()) // 60
    found = crontab_time.firings(crontab_time.read(expression.split()), info, first, first + days * DAY)
    return [datetime.fromtimestamp(at * 60, info).strftime("%d %H:%M%z") for at in found]


def proof(expression: str, zone: str, start: str, days: int) -> Proof:
    first = minute(start)
    last = first + days * DAY
    old = crontab_time.firings(crontab_time.read(expression.split()), ZoneInfo(zone), first, last)
    slots = schedule.slots(
        cron.parse(expression), zones.zone(zone), Dst.DEBIAN, first * 60_000_000 - 1, last * 60_000_000 - 1
    )
    return compare(old, (slot // 60_000_000 for slot in slots), first, last, ZoneInfo(zone), "cron")


# ---- Cron -----------------------------------------------------------------------------------------------------------


def test_a_fixed_time_in_the_skipped_hour_comes_at_its_end() -> None:
    assert fired("30 2 * * *", "Europe/Berlin", "2027-03-28") == ["28 03:00+0200"]


def test_several_fixed_times_in_the_skipped_hour_all_come_at_its_end() -> None:
    assert fired("0,30 2 * * *", "Europe/Berlin", "2027-03-28") == ["28 03:00+0200"] * 2


def test_a_fixed_time_in_the_repeated_hour_comes_once() -> None:
    assert fired("30 2 * * *", "Europe/Berlin", "2027-10-31") == ["31 02:30+0200"]


def test_a_star_in_the_minutes_makes_a_job_follow_the_clock_on_the_wall() -> None:
    assert fired("*/30 2 * * *", "Europe/Berlin", "2027-03-28", days=1) == []
    assert len(fired("*/30 2 * * *", "Europe/Berlin", "2027-10-31", days=1)) == 4


def test_an_hourly_job_runs_in_each_hour_that_there_is() -> None:
    assert len(fired("0 * * * *", "Europe/Berlin", "2027-03-28T00:00", days=1)) == 24
    assert "28 03:00+0200" in fired("0 * * * *", "Europe/Berlin", "2027-03-28")


def test_a_skipped_day_is_a_correction_of_the_clock_for_cron() -> None:
    assert fired("0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00", days=2) == []


@needs_corpus
def test_the_corpus_has_the_same_firings() -> None:
    assert CORPUS is not None
    rows: list[dict[str, Any]] = json.loads((CORPUS / "cron" / "next_fire.json").read_text())["rows"]
    checked = 0
    for row in rows:
        expected = row["expected"] if row["status"] == "agreed" else row.get("debian_like")
        if not expected or not row["fields"].startswith("5"):
            continue
        try:
            times = crontab_time.read(row["expr"].split())
        except (ValueError, IndexError):
            continue  # L, W, # and the like
        if times.wildcard and row["tz"] != "UTC":
            continue  # cronsim, which these are from, reads a star otherwise at a clock change
        start = minute(row["start"]) + 1
        end = minute(expected[-1]) + 1
        if end - start > 20 * 366 * DAY:
            continue
        found = list(dict.fromkeys(crontab_time.firings(times, ZoneInfo(row["tz"]), start, end)))
        assert found == [minute(each) for each in expected], row["id"]
        checked += 1
    assert checked > 60


# ---- Cron and PyFlow ------------------------------------------------------------------------------------------------

_SMALL = st.lists(st.integers(0, 23), min_size=1, max_size=3, unique=True).map(lambda found: ",".join(map(str, found)))
_MINUTES = st.one_of(st.integers(0, 59).map(str), st.sampled_from(["*", "*/5", "*/7", "0-30/10", "5,50"]))
_HOURS = st.one_of(_SMALL, st.sampled_from(["*", "*/2", "0-6", "2", "2-3"]))
_DAYS = st.sampled_from(["*", "1,15", "*/2", "31", "1-7"])
_WEEKDAYS = st.sampled_from(["*", "5", "1-5", "*/2", "sun", "0,7"])
_ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])


@settings(max_examples=40, deadline=None)
@given(_MINUTES, _HOURS, _DAYS, _WEEKDAYS, _ZONES)
def test_cron_and_pyflow_differ_at_clock_changes_only(
    minutes: str, hours: str, days: str, weekdays: str, zone: str
) -> None:
    found = proof(f"{minutes} {hours} {days} * {weekdays}", zone, "2027-03-01T00:00:00+00:00", days=270)
    assert all(each.reason.startswith("clock change") for each in found.differences), found.differences
    assert zone not in ("UTC", "Asia/Kolkata") or not found.differences


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize("expression", ["30 2 * * *", "0 3 * * *", "7 * * * *", "0 0 1,15 * 5", "0 0 */2 * 1"])
def test_usual_times_fire_alike_for_five_years(expression: str, zone: str) -> None:
    found = proof(expression, zone, "2026-01-01T00:00:00+00:00", days=5 * 366)
    assert found.before == found.after > 0
    assert not found.differences


def test_a_difference_is_told_with_its_reason() -> None:
    found = proof("*/30 2 * * *", "Europe/Berlin", "2027-03-27T00:00:00+00:00", days=3)
    (only,) = found.differences
    assert (only.before, only.after) == (0, 1)
    assert only.reason.startswith("clock change: 1 hour left out on 28 March 2027; cron leaves out")


def test_a_minute_that_fires_twice_is_one_difference() -> None:
    (only,) = proof("0,30 2 * * *", "Europe/Berlin", "2027-03-27T00:00:00+00:00", days=3).differences
    assert (only.before, only.after) == (2, 1)


def test_another_reading_of_the_fields_is_called_that() -> None:
    found = compare([10, 20], [10, 21], 0, 100, ZoneInfo("UTC"), "cron")
    assert [each.reason for each in found.differences] == ["cron and PyFlow read the expression differently"] * 2
    assert (found.before, found.after) == (2, 2)


def test_dates_that_never_come_are_known() -> None:
    assert crontab_time.read(["0", "0", "31", "2", "*"]).never
    assert not crontab_time.read(["0", "0", "29", "2", "*"]).never
