"""Slots on time zones against a slow oracle, and the timetable under clocks that jump."""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyflowd.base.zones import Zone, host_zone, zone
from pyflowd.clock import US, to_us
from pyflowd.engine.overlap import Decision, Enqueue, RefuseFull, RunRef, Skip, Start, decide
from pyflowd.model.states import RunState, SlotReason
from pyflowd.model.triggers import Catchup, CatchupPolicy, Dst, Schedule
from pyflowd.model.workflow import Overlap
from pyflowd.schedules.cron import parse
from pyflowd.schedules.fates import Due, fate
from pyflowd.schedules.schedule import (
    CronTimes,
    EveryTimes,
    from_slots,
    instant_us,
    jitter_us,
    next_slot,
    random_jitter_us,
    slots,
    upcoming_cron,
)
from pyflowd.schedules.timetable import Timetable
from tests import cron_oracle
from tests.unit.test_cron import expressions

HOUR_US = 3600 * US
DAY_US = 24 * HOUR_US
MINUTE_US = 60 * US


def at(text: str) -> int:
    return to_us(datetime.fromisoformat(text))


def local_times(expr: str, name: str, start: str, count: int, dst: Dst = Dst.DEBIAN) -> list[str]:
    return [zone(name).local(us).isoformat() for us in upcoming_cron(expr, name, at(start), count, dst)]


# ---- Daylight saving ------------------------------------------------------------------------------------------------

GAP = "2024-03-31T00:30:00+01:00"  # Berlin: 02:00 to 03:00 does not come
FOLD = "2024-10-27T00:30:00+02:00"  # Berlin: 02:00 to 03:00 comes twice


@pytest.mark.parametrize(
    ("expr", "dst", "wanted"),
    [
        ("30 2 * * *", Dst.DEBIAN, ["2024-03-31T03:00:00+02:00", "2024-04-01T02:30:00+02:00"]),
        ("30 2 * * *", Dst.BOTH, ["2024-03-31T03:00:00+02:00", "2024-04-01T02:30:00+02:00"]),
        ("30 2 * * *", Dst.SKIP, ["2024-04-01T02:30:00+02:00", "2024-04-02T02:30:00+02:00"]),
        ("*/30 2 * * *", Dst.DEBIAN, ["2024-03-31T03:00:00+02:00", "2024-04-01T02:00:00+02:00"]),
        ("30 2,3 * * *", Dst.DEBIAN, ["2024-03-31T03:00:00+02:00", "2024-03-31T03:30:00+02:00"]),
        ("0 2,3 * * *", Dst.DEBIAN, ["2024-03-31T03:00:00+02:00", "2024-04-01T02:00:00+02:00"]),
        ("30 * * * *", Dst.DEBIAN, ["2024-03-31T01:30:00+01:00", "2024-03-31T03:30:00+02:00"]),
        ("30 */2 * * *", Dst.DEBIAN, ["2024-03-31T04:30:00+02:00", "2024-03-31T06:30:00+02:00"]),
    ],
)
def test_in_the_gap(expr: str, dst: Dst, wanted: list[str]) -> None:
    assert local_times(expr, "Europe/Berlin", GAP, len(wanted), dst) == wanted


@pytest.mark.parametrize(
    ("expr", "dst", "wanted"),
    [
        ("30 2 * * *", Dst.DEBIAN, ["27T02:30:00+02:00", "28T02:30:00+01:00"]),
        ("30 2 * * *", Dst.SKIP, ["27T02:30:00+02:00", "28T02:30:00+01:00"]),
        ("30 2 * * *", Dst.BOTH, ["27T02:30:00+02:00", "27T02:30:00+01:00"]),
        ("*/40 2 * * *", Dst.DEBIAN, ["27T02:00:00+02:00", "27T02:40:00+02:00", "28T02:00:00+01:00"]),
        ("0 1-4 * * *", Dst.DEBIAN, ["27T01:00:00+02:00", "27T02:00:00+02:00", "27T03:00:00+01:00"]),
        ("0 * * * *", Dst.DEBIAN, ["27T01:00:00+02:00", "27T02:00:00+02:00", "27T02:00:00+01:00"]),
        ("0 * * * *", Dst.SKIP, ["27T01:00:00+02:00", "27T02:00:00+02:00", "27T02:00:00+01:00"]),
    ],
)
def test_in_the_fold(expr: str, dst: Dst, wanted: list[str]) -> None:
    found = local_times(expr, "Europe/Berlin", FOLD, len(wanted), dst)
    assert [time.removeprefix("2024-10-") for time in found] == wanted


@pytest.mark.parametrize("start", ["2024-10-27T02:10:00+01:00", "2024-10-27T02:50:00+02:00"])
def test_asked_within_the_fold_the_first_pass_is_not_repeated(start: str) -> None:
    assert local_times("30 2 * * *", "Europe/Berlin", start, 1) == ["2024-10-28T02:30:00+01:00"]


@pytest.mark.parametrize(
    ("expr", "name", "start", "wanted"),
    [
        ("15 2 * * *", "Australia/Lord_Howe", "2024-10-05T12:00:00+10:30", "2024-10-06T02:30:00+11:00"),
        ("0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00-03:00", "2018-11-04T01:00:00-02:00"),
        ("0 12 30 * *", "Pacific/Apia", "2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00"),
        ("0 12 * * *", "Pacific/Kwajalein", "1993-08-20T12:00:00-12:00", "1993-08-22T00:00:00+12:00"),
        ("10 0 * * *", "Africa/Monrovia", "1972-01-06T12:00:00-00:44:30", "1972-01-07T00:44:30+00:00"),
        ("45 2 * * *", "Pacific/Chatham", "2024-09-28T12:00:00+12:45", "2024-09-29T03:45:00+13:45"),
        ("0 0 29 2 *", "UTC", "2096-03-01T00:00:00+00:00", "2104-02-29T00:00:00+00:00"),
        ("0 3 * * *", "UTC", "2038-01-19T03:00:00+00:00", "2038-01-20T03:00:00+00:00"),
        ("0 0 1 1 *", "UTC", "1969-06-01T00:00:00+00:00", "1970-01-01T00:00:00+00:00"),
    ],
)
def test_odd_zones_and_far_dates(expr: str, name: str, start: str, wanted: str) -> None:
    assert local_times(expr, name, start, 1) == [wanted]


def one_change(at_s: int, before_s: int, after_s: int) -> Zone:
    """A zone of two offsets, as a compiled zone file (RFC 8536, version 1)."""
    kinds = struct.pack(">lBBlBB", before_s, 0, 0, after_s, 0, 0)
    counts = struct.pack(">6L", 0, 0, 0, 1, 2, 4)
    file = b"TZif" + bytes(16) + counts + struct.pack(">lB", at_s, 1) + kinds + b"XXX\0"
    return Zone("made up", ZoneInfo.from_file(io.BytesIO(file)))


@pytest.mark.parametrize("minutes", range(-90, 95, 10))
def test_a_fold_is_seen_wherever_the_search_for_changes_was_cut(minutes: int) -> None:
    searched_s = 400 * 86_400  # what zones looks through at a time
    change_s = 20 * searched_s + minutes * 60
    where = one_change(change_s, 3600, 0)
    first_us, last_us = (change_s - 86_400) * US, (change_s + 86_400) * US
    found = [us // US for us in slots(parse("*/10 0-23 * * *"), where, Dst.DEBIAN, first_us - 1, last_us)]
    before, after = range(change_s - 86_400, change_s, 600), range(change_s + 3600, change_s + 86_401, 600)
    assert found == [*before, *after]


def test_the_end_of_time_is_none() -> None:
    assert next_slot(parse("* * * * *"), zone("UTC"), Dst.DEBIAN, 250_000_000_000 * US) is None


def test_reboot_has_no_next_slot() -> None:
    assert next_slot(parse("@reboot"), zone("Europe/Berlin"), Dst.DEBIAN, 0) is None


ZONES = (
    "Europe/Berlin", "America/New_York", "Europe/London", "Australia/Lord_Howe", "Pacific/Apia", "America/Havana",
    "Asia/Beirut", "Asia/Gaza", "Africa/Casablanca", "Africa/El_Aaiun", "Pacific/Chatham", "America/St_Johns",
    "America/Nuuk", "Antarctica/Troll", "America/Caracas", "Asia/Pyongyang", "Asia/Tehran", "Pacific/Fakaofo",
    "America/Asuncion", "Europe/Dublin", "Asia/Kathmandu", "America/Scoresbysund", "Antarctica/Casey", "UTC",
)  # fmt: skip
EXPRESSIONS = (
    "30 2 * * *", "*/20 2 * * *", "* 1-3 * * *", "15,45 0-23 * * *", "0 0 * * *", "*/15 * * * *", "7 */2 * * *",
    "0 12 * * 1-5", "30 1-4/2 */2 * 0,6", "59 23 L * *",
)  # fmt: skip


def disagreements(name: str, change: datetime, exprs: list[str], modes: list[Dst]) -> list[object]:
    """Where the slots within 30 hours of a change are not what the oracle finds."""
    where = zone(name)
    steps = cron_oracle.walk(where.info, change - timedelta(hours=60), 90 * 60)
    first_us, last_us = to_us(change - timedelta(hours=30)), to_us(change + timedelta(hours=30))
    wrong: list[object] = []
    for expr in exprs:
        for dst in modes:
            fired = [s * US for s in cron_oracle.fire_times(expr, dst.value, steps)]
            wanted = [us for us in fired if first_us < us < last_us]
            found = list(slots(parse(expr), where, dst, first_us, last_us - 1))
            if found != wanted:
                wrong.append((name, change.isoformat(), expr, dst.value))
    return wrong


@pytest.mark.parametrize("name", ZONES)
def test_every_change_of_some_zones_is_as_the_oracle_says(name: str) -> None:
    changes = cron_oracle.changes(zone(name).info, 2008, 2026)
    chosen = changes[:: max(1, len(changes) // 6)] or [datetime(2024, 1, 1, tzinfo=UTC)]
    modes = [Dst.DEBIAN, Dst.SKIP, Dst.BOTH]
    wrong = [each for change in chosen for each in disagreements(name, change, list(EXPRESSIONS), modes)]
    assert wrong == []


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(available_timezones() - {"localtime", "Factory", "posixrules"})),
    pick=st.integers(0, 100),
    expr=expressions(),
    dst=st.sampled_from(Dst),
)
def test_any_expression_at_any_change_is_as_the_oracle_says(name: str, pick: int, expr: str, dst: Dst) -> None:
    year = 1995 + pick % 30
    changes = cron_oracle.changes(zone(name).info, year, year) or [datetime(year, 3, 1, tzinfo=UTC)]
    try:
        parse(expr)
    except ValueError:
        return
    assert disagreements(name, changes[pick % len(changes)], [expr], [dst]) == []


@settings(deadline=None)
@given(expr=expressions(), name=st.sampled_from(ZONES), start_s=st.integers(0, 4_000_000_000), dst=st.sampled_from(Dst))
def test_slots_are_strictly_after_and_strictly_increasing(expr: str, name: str, start_s: int, dst: Dst) -> None:
    try:
        cron = parse(expr)
    except ValueError:
        return
    before_us = start_s * US + 1
    for slot_us in islice(slots(cron, zone(name), dst, before_us, 2**62), 20):
        assert slot_us > before_us
        assert next_slot(cron, zone(name), dst, slot_us - 1) == slot_us
        before_us = slot_us


# ---- What a change leaves out ---------------------------------------------------------------------------------------


def left_out_by_hand(expr: str, where: Zone, dst: Dst, first_us: int, last_us: int) -> set[int]:
    """Minute by minute: what the clock on the wall shows a second time, and gaps that hold a time of `expr`."""
    cron, found = parse(expr), set()
    kept = set(slots(cron, where, dst, first_us, last_us))
    if cron.any_hour or dst is Dst.BOTH:
        return set()
    for at_us in range(first_us + MINUTE_US, last_us + 1, MINUTE_US):
        before, here = (where.local(us).replace(tzinfo=None) for us in (at_us - MINUTE_US, at_us))
        naive = int((here - datetime(1970, 1, 1)).total_seconds()) // 60  # noqa: DTZ001 - a time on the wall
        if cron.next_from(naive) == naive:
            found.add(at_us)
        skipped = int((here - before).total_seconds()) // 60 - 1
        if skipped > 0 and dst is Dst.SKIP and (cron.next_from(naive - skipped) or naive) < naive:
            found.add(at_us)
    return found - kept


@pytest.mark.parametrize("expr", EXPRESSIONS)
@pytest.mark.parametrize("dst", Dst)
@pytest.mark.parametrize("name", ["Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"])
def test_what_a_change_leaves_out_is_what_the_clock_on_the_wall_says(name: str, dst: Dst, expr: str) -> None:
    where = zone(name)
    for change in cron_oracle.changes(where.info, 2010, 2012):
        first_us, last_us = to_us(change - timedelta(hours=3)), to_us(change + timedelta(hours=3))
        times = CronTimes(parse(expr), where, dst)
        found = {slot.at_us for slot in from_slots(times, first_us, last_us) if slot.left_out}
        assert found == left_out_by_hand(expr, where, dst, first_us, last_us)


@settings(deadline=None)
@given(expr=expressions(), name=st.sampled_from(ZONES), start_s=st.integers(0, 4_000_000_000), dst=st.sampled_from(Dst))
def test_what_is_left_out_stands_between_the_slots_and_takes_the_place_of_none(
    expr: str, name: str, start_s: int, dst: Dst
) -> None:
    try:
        cron = parse(expr)
    except ValueError:
        return
    all_of_them = list(islice(from_slots(CronTimes(cron, zone(name), dst), start_s * US, 2**62), 20))
    instants = [slot.at_us for slot in all_of_them]
    kept = [slot.at_us for slot in all_of_them if not slot.left_out]
    assert instants == sorted(set(instants))
    assert kept == list(islice(slots(cron, zone(name), dst, start_s * US, 2**62), len(kept)))


# ---- Intervals and single times -------------------------------------------------------------------------------------


@settings(deadline=None)
@given(anchor=st.integers(0, 2**50), every=st.integers(US, 2**45), after=st.integers(0, 2**50))
def test_an_interval_is_the_first_whole_number_of_times_after(anchor: int, every: int, after: int) -> None:
    slot = EveryTimes(anchor, every).next_after(after)
    assert slot is not None
    passed, rest = divmod(slot.at_us - anchor, every)
    assert rest == 0
    assert passed >= 1
    assert slot.at_us > after
    assert passed == 1 or slot.at_us - every <= after


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2024-03-31 02:30", "2024-03-31T03:00:00+02:00"),  # in the gap: at its end
        ("2024-10-27 02:30", "2024-10-27T02:30:00+02:00"),  # in the fold: the first
        ("2024-10-27T02:30:00+01:00", "2024-10-27T02:30:00+01:00"),
        ("2024-06-01T12:00:00Z", "2024-06-01T14:00:00+02:00"),
        ("2024-06-01 12:00", "2024-06-01T12:00:00+02:00"),
    ],
)
def test_a_single_time_is_one_instant(text: str, wanted: str) -> None:
    assert instant_us(text, zone("Europe/Berlin")) == at(wanted)


# ---- Random jitter --------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(host=st.text(max_size=5), at_us=st.integers(0, 2**50), to_next=st.integers(1, 2**40), most_s=st.floats(0, 9e4))
def test_a_random_jitter_stays_before_the_next_slot(host: str, at_us: int, to_next: int, most_s: float) -> None:
    late_us = random_jitter_us(host, "w", "t", most_s, at_us, at_us + to_next)
    assert 0 <= late_us < max(1, min(to_next, most_s * US))
    assert late_us == random_jitter_us(host, "w", "t", most_s, at_us, at_us + to_next)


def test_a_random_jitter_is_drawn_anew_for_each_slot_and_fills_its_span() -> None:
    drawn = sorted(random_jitter_us("host", "w", "t", 3600.0, n * DAY_US, None) for n in range(1000))
    assert len(set(drawn)) == 1000
    assert [drawn[n] / (3600 * US) for n in (100, 500, 900)] == pytest.approx([0.1, 0.5, 0.9], abs=0.05)


# ---- Zones ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../etc/passwd",
        "/etc/localtime",
        "Europe/../UTC",
        "right/UTC",
        "localtime",
        "Europe",
        "UTC\n",
        "é",
        "x" * 99,
    ],
)
def test_what_is_no_zone_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ValueError, match="time zone") as refused:
        zone(name)
    assert len(str(refused.value).splitlines()) == 1


def test_a_mistyped_zone_gets_a_hint() -> None:
    with pytest.raises(ValueError, match='did you mean "Europe/Berlin"'):
        zone("Europe/Berln")


@pytest.mark.parametrize(
    ("tz", "timezone_file", "link", "wanted"),
    [
        ("Europe/Berlin", "Asia/Tokyo\n", "/usr/share/zoneinfo/Asia/Kolkata", "Europe/Berlin"),
        (":Europe/Berlin", None, None, "Europe/Berlin"),
        (":/usr/share/zoneinfo/Europe/Berlin", None, None, "Europe/Berlin"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "Asia/Tokyo\n", None, "Asia/Tokyo"),
        (None, "Asia/Tokyo\n", "/usr/share/zoneinfo/Asia/Kolkata", "Asia/Tokyo"),
        (None, None, "../usr/share/zoneinfo/Asia/Kolkata", "Asia/Kolkata"),
        (None, "\xff", None, "UTC"),
        (None, None, None, "UTC"),
    ],
)
def test_the_host_names_its_zone(
    tmp_path: Path, tz: str | None, timezone_file: str | None, link: str | None, wanted: str
) -> None:
    if timezone_file is not None:
        (tmp_path / "timezone").write_text(timezone_file, encoding="latin-1")
    if link is not None:
        (tmp_path / "localtime").symlink_to(link)
    environ = {} if tz is None else {"TZ": tz}
    assert host_zone(environ, str(tmp_path)).name == wanted


# ---- The timetable --------------------------------------------------------------------------------------------------

NOON = at("2024-06-01T12:00:00+00:00")


def trigger(cron: str, name: str = "t", jitter_s: float = 0.0, enabled: bool = True) -> Schedule:
    return Schedule(name=name, cron=cron, timezone="UTC", jitter_s=jitter_s, enabled=enabled)


def timetable(*triggers: Schedule, since_us: int = NOON) -> Timetable:
    table = Timetable("host", zone("UTC"))
    table.set_workflow("w", triggers, since_us)
    return table


def nominal(found: list[Due]) -> list[int]:
    return [due.scheduled_us for due in found]


def test_a_slot_is_due_at_its_time_and_not_before() -> None:
    table = timetable(trigger("0 13 * * *"))
    assert table.next_due_us() == NOON + HOUR_US
    assert table.due(NOON + HOUR_US - 1, 0) == []
    assert nominal(table.due(NOON + HOUR_US, HOUR_US)) == [NOON + HOUR_US]


def test_a_slot_is_given_out_once() -> None:
    table = timetable(trigger("0 13 * * *"))
    table.due(NOON + HOUR_US, 0)
    assert table.due(NOON + HOUR_US, 0) == []


def test_the_slot_at_the_very_start_is_past() -> None:
    assert timetable(trigger("0 12 * * *")).next_due_us() == NOON + DAY_US


def test_slots_of_all_workflows_come_in_order() -> None:
    table = timetable(trigger("3 12 * * *"))
    table.set_workflow("v", (trigger("1 12 * * *", "a"), trigger("2 12 * * *", "b")), NOON)
    found = table.due(NOON + 5 * MINUTE_US, 0)
    assert [(due.workflow, due.trigger.name) for due in found] == [("v", "a"), ("v", "b"), ("w", "t")]


def test_of_several_due_slots_the_newest_fires_and_the_others_are_late() -> None:
    found = timetable(trigger("* * * * *")).due(NOON + 3 * MINUTE_US, 0)
    assert [due.reason for due in found] == [SlotReason.LATE, SlotReason.LATE, None]


def test_a_limit_leaves_the_rest_for_the_next_call() -> None:
    table = timetable(trigger("* * * * *"))
    first = table.due(NOON + 5 * MINUTE_US, 0, limit=2)
    rest = table.due(NOON + 5 * MINUTE_US, 0)
    assert nominal(first + rest) == [NOON + n * MINUTE_US for n in range(1, 6)]
    assert [due.reason for due in first + rest] == [SlotReason.LATE] * 4 + [None]


def test_a_clock_set_back_fires_nothing_twice() -> None:
    table = timetable(trigger("*/30 * * * *"))
    fired = nominal(table.due(NOON + HOUR_US, HOUR_US))
    for minutes in range(-60, 60):
        fired += nominal(table.due(NOON + minutes * MINUTE_US, HOUR_US + minutes))
    assert fired == [NOON + HOUR_US // 2, NOON + HOUR_US]


def test_a_clock_set_back_and_an_edit_fire_nothing_twice() -> None:
    table = timetable(trigger("0 * * * *"))
    table.due(NOON + HOUR_US, 0)
    table.set_workflow("w", (trigger("*/30 * * * *"),), NOON + 1)
    assert table.next_due_us() == NOON + 3 * HOUR_US // 2


def test_a_small_step_forward_fires_the_newest() -> None:
    table = timetable(trigger("0 * * * *"))
    table.due(NOON, 0)
    found = table.due(NOON + 3 * HOUR_US, 1)
    assert [due.reason for due in found] == [SlotReason.LATE, SlotReason.LATE, None]


def test_a_step_forward_over_three_hours_is_one_decision_the_newest_fires() -> None:
    table = timetable(trigger("0 * * * *"))
    table.due(NOON, 0)
    found = table.due(NOON + 4 * HOUR_US, 1)
    assert [due.reason for due in found] == [SlotReason.CLOCK_STEP] * 3 + [None]


@pytest.mark.parametrize(
    ("cron", "catchup"),
    [("30 13 * * *", None), ("0 * * * *", Catchup(policy=CatchupPolicy.NONE)), ("45 15 * * *", Catchup(within_s=600))],
    ids=["too old", "none", "too old for its own rule"],
)
def test_a_step_forward_fires_nothing_that_a_down_time_would_not(cron: str, catchup: Catchup | None) -> None:
    table = Timetable("host", zone("UTC"))
    table.set_workflow("w", (trigger(cron),), NOON, catchup=catchup)
    table.due(NOON, 0)
    found = table.due(NOON + 4 * HOUR_US, 1)
    assert {due.reason for due in found} == {SlotReason.CLOCK_STEP}


def test_a_step_forward_makes_up_for_one_slot_even_where_a_down_time_makes_up_for_all() -> None:
    table = Timetable("host", zone("UTC"))
    every = Catchup(policy=CatchupPolicy.ALL, within_s=86_400)
    table.set_workflow("w", (trigger("0 * * * *"),), NOON, catchup=every)
    table.due(NOON, 0)
    found = table.due(NOON + 4 * HOUR_US, 1)
    assert [due.reason for due in found] == [SlotReason.CLOCK_STEP] * 3 + [None]


def test_a_machine_that_slept_for_long_does_not_make_up_for_what_is_too_old() -> None:
    table = timetable(trigger("0 13 * * *"))
    table.due(NOON, 0)
    assert [due.reason for due in table.due(NOON + 3 * HOUR_US, 3 * HOUR_US)] == [SlotReason.DEADLINE]


def test_a_step_is_known_over_a_limit() -> None:
    table = timetable(trigger("0 * * * *"))
    table.due(NOON, 0)
    found = table.due(NOON + 4 * HOUR_US, 1, limit=1) + table.due(NOON + 4 * HOUR_US, 2)
    assert [due.reason for due in found] == [SlotReason.CLOCK_STEP] * 3 + [None]


def test_after_a_step_forward_the_next_slot_fires() -> None:
    table = timetable(trigger("0 * * * *"))
    table.due(NOON, 0)
    table.due(NOON + 4 * HOUR_US, 1)
    assert [due.reason for due in table.due(NOON + 5 * HOUR_US, HOUR_US)] == [None]


def test_a_step_forward_that_was_taken_back_leaves_no_trace() -> None:
    table = timetable(trigger("0 13 * * *"))
    table.due(NOON, 0)
    table.due(NOON + 4 * HOUR_US, 1)
    table.due(NOON, 2)
    table.set_workflow("new", (trigger("30 12 * * *"),), NOON)
    assert [due.reason for due in table.due(NOON + HOUR_US, HOUR_US)] == [None]


def test_a_machine_that_slept_is_no_step() -> None:
    table = timetable(trigger("0 * * * *"))
    table.due(NOON, 0)
    found = table.due(NOON + 8 * HOUR_US, 8 * HOUR_US)
    assert [due.reason for due in found] == [SlotReason.LATE] * 7 + [None]


def test_the_jitter_delays_and_is_no_part_of_identity() -> None:
    table = timetable(trigger("0 13 * * *", jitter_s=600))
    late_us = jitter_us("host", "w", "t", 600)
    assert table.due(NOON + HOUR_US + late_us - 1, 0) == []
    (due,) = table.due(NOON + HOUR_US + late_us, 0)
    assert (due.scheduled_us, due.due_us) == (NOON + HOUR_US, NOON + HOUR_US + late_us)


@settings(deadline=None)
@given(host=st.text(max_size=9), workflow=st.text(max_size=9), jitter_s=st.floats(0, 86_400))
def test_jitter_is_stable_and_below_its_bound(host: str, workflow: str, jitter_s: float) -> None:
    late_us = jitter_us(host, workflow, "t", jitter_s)
    assert 0 <= late_us <= max(0, jitter_s * US - 1)
    assert late_us == jitter_us(host, workflow, "t", jitter_s)


def test_jitter_differs_between_triggers() -> None:
    assert len({jitter_us("host", "w", f"t{n}", 3600) for n in range(100)}) == 100


def test_an_unchanged_trigger_goes_on_where_it_was() -> None:
    table = timetable(trigger("0 13 * * *"))
    table.set_workflow("w", (trigger("0 13 * * *", enabled=False),), NOON + 2 * HOUR_US)
    assert table.next_due_us() == NOON + HOUR_US


def test_an_unchanged_trigger_loses_no_slot_over_a_reload() -> None:
    table = timetable(trigger("0 * * * *"))
    table.set_workflow("w", (trigger("0 * * * *"),), NOON + 3 * HOUR_US)
    assert nominal(table.due(NOON + 3 * HOUR_US, 0)) == [NOON + n * HOUR_US for n in (1, 2, 3)]


def test_an_edited_schedule_creates_no_past_firings() -> None:
    table = timetable(trigger("0 20 * * *"))
    table.set_workflow("w", (trigger("0 13 * * *"),), NOON + 2 * HOUR_US)
    assert table.next_due_us() == NOON + HOUR_US + DAY_US


def test_a_slot_that_waits_for_its_jitter_is_overdue_before_it_is_due() -> None:
    table = timetable(trigger("0 13 * * *", jitter_s=3600))
    assert [slot.at_us for slot in table.overdue("w", "t", NOON + HOUR_US + MINUTE_US)] == [NOON + HOUR_US]


def test_after_an_edit_slots_begin_with_the_edit() -> None:
    table = timetable(trigger("0 13 * * *", jitter_s=3600))
    table.set_workflow("w", (trigger("*/10 * * * *"),), NOON + HOUR_US + MINUTE_US)
    found = nominal(table.due(NOON + HOUR_US + 20 * MINUTE_US, 0))
    assert found == [NOON + HOUR_US + 10 * MINUTE_US, NOON + HOUR_US + 20 * MINUTE_US]


def test_a_removed_workflow_has_no_slots() -> None:
    table = timetable(trigger("0 13 * * *"))
    table.remove_workflow("w")
    table.remove_workflow("w")
    assert (table.next_due_us(), table.due(NOON + DAY_US, 0)) == (None, [])


def test_a_bad_trigger_changes_nothing() -> None:
    table = timetable(trigger("0 13 * * *"))
    with pytest.raises(ValueError, match="minute"):
        table.set_workflow("w", (trigger("0 14 * * *"), trigger("61 * * * *", "bad")), NOON)
    assert table.next_due_us() == NOON + HOUR_US


def test_reloading_over_and_over_does_not_grow_the_heap() -> None:
    table = timetable()
    for n in range(5000):
        table.set_workflow("w", (trigger(f"{n % 60} 13 * * *"),), NOON)
    assert len(table._heap) < 1100


def test_reboot_triggers_are_kept_apart() -> None:
    table = timetable(trigger("@reboot"))
    assert table.boot_triggers() == [("w", trigger("@reboot"))]
    assert table.next_due_us() is None
    table.remove_workflow("w")
    assert table.boot_triggers() == []


def missed(table: Timetable, of: Schedule, until_us: int, anchor_us: int = NOON) -> list[int]:
    known_us = table.accounted_us("w", of, anchor_us, NOON, until_us)
    return [slot.at_us for slot in table.missed("w", of, anchor_us, NOON, known_us)]


def test_missed_slots_are_those_after_the_cursor_up_to_the_start() -> None:
    found = missed(timetable(), trigger("0 * * * *"), NOON + 3 * HOUR_US)
    assert found == [NOON + n * HOUR_US for n in (1, 2, 3)]


def test_a_slot_that_waits_for_its_jitter_is_not_missed() -> None:
    hourly = trigger("0 * * * *", jitter_s=1800)
    start_us = NOON + 2 * HOUR_US + jitter_us("host", "w", "t", 1800) - 1
    assert missed(timetable(), hourly, start_us) == [NOON + HOUR_US]


@pytest.mark.parametrize("drawn", [False, True])
@settings(deadline=None)
@given(minutes=st.integers(0, 300))
def test_a_restart_neither_loses_nor_doubles_a_slot_that_waits_for_its_jitter(drawn: bool, minutes: int) -> None:
    hourly = Schedule(name="t", cron="0 * * * *", timezone="UTC", jitter_s=5400, random_jitter=drawn)
    start_us, end_us = NOON + minutes * MINUTE_US, NOON + 8 * HOUR_US
    table = Timetable("host", zone("UTC"))
    known_us = table.accounted_us("w", hourly, NOON, NOON, start_us)
    found = [slot.at_us for slot in table.missed("w", hourly, NOON, NOON, known_us)]
    table.set_workflow("w", (hourly,), start_us, {"t": known_us})
    found += nominal(table.due(end_us, 0))
    assert found == [NOON + n * HOUR_US for n in range(1, len(found) + 1)]
    assert len(found) >= 6


def test_what_is_coming_is_listed_in_order() -> None:
    table = timetable(trigger("0 13 * * *"), trigger("30 * * * *", "half"), trigger("* * * * *", "off", enabled=False))
    found = table.upcoming(NOON, 3)
    assert [(due.trigger.name, due.scheduled_us) for due in found] == [
        ("half", NOON + HOUR_US // 2),
        ("t", NOON + HOUR_US),
        ("half", NOON + 3 * HOUR_US // 2),
    ]


def test_what_is_coming_can_be_asked_of_one_workflow() -> None:
    table = timetable(trigger("0 13 * * *"))
    table.set_workflow("v", (trigger("* * * * *"),), NOON)
    assert [due.workflow for due in table.upcoming(NOON, 2, "w")] == ["w", "w"]


def test_what_is_overdue_is_not_coming() -> None:
    table = timetable(trigger("0 * * * *"))
    assert nominal(table.upcoming(NOON + 5 * HOUR_US, 1)) == [NOON + 6 * HOUR_US]


def test_what_waits_for_its_jitter_is_coming() -> None:
    table = timetable(trigger("0 13 * * *", jitter_s=3600))
    assert nominal(table.upcoming(NOON + HOUR_US, 1)) == [NOON + HOUR_US]


def test_the_next_of_a_workflow_is_the_first_that_is_coming() -> None:
    table = timetable(trigger("0 14 * * *"), trigger("0 13 * * *", "b"), trigger("* * * * *", "off", enabled=False))
    assert table.next_of("w", NOON) == table.upcoming(NOON, 1, "w")[0].scheduled_us == NOON + HOUR_US
    assert table.next_of("unknown", NOON) is None


def test_listing_what_is_coming_changes_nothing() -> None:
    table = timetable(trigger("* * * * *"))
    table.upcoming(NOON, 50)
    assert table.next_due_us() == NOON + MINUTE_US


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-200, 400), st.integers(0, 60)), min_size=1, max_size=30))
def test_under_any_clock_each_slot_is_given_out_once_and_never_early(steps: list[tuple[int, int]]) -> None:
    table = timetable(trigger("*/7 * * * *"), trigger("30 */2 * * *", "b", jitter_s=600))
    wall_us, mono_us, seen, highest_us = NOON, 0, [], NOON
    for wall_minutes, mono_minutes in steps:
        wall_us += wall_minutes * MINUTE_US
        mono_us += mono_minutes * MINUTE_US
        highest_us = max(highest_us, wall_us)
        for due in table.due(wall_us, mono_us):
            assert due.due_us <= wall_us
            seen.append((due.trigger.name, due.scheduled_us))
    expected = {("t", us) for us in slots(parse("*/7 * * * *"), zone("UTC"), Dst.DEBIAN, NOON, highest_us)}
    assert len(seen) == len(set(seen))
    assert {slot for slot in seen if slot[0] == "t"} == expected


# ---- Fate -----------------------------------------------------------------------------------------------------------

DUE = Due(workflow="w", trigger=trigger("0 13 * * *"), scheduled_us=NOON, due_us=NOON)
LATE = Due(workflow="w", trigger=trigger("0 13 * * *"), scheduled_us=NOON, due_us=NOON, reason=SlotReason.LATE)
BLOCKED = decide(Overlap.SKIP, True, [RunRef(id=7, state=RunState.RUNNING)], 1)


@pytest.mark.parametrize(
    ("due", "paused", "enabled", "decision", "wanted"),
    [
        (DUE, False, True, Start(), Start()),
        (DUE, False, True, Enqueue(), Enqueue()),
        (DUE, False, True, BLOCKED, Skip(reason=SlotReason.OVERLAP, because_of_run=7)),
        (DUE, False, True, RefuseFull(queued=1), Skip(reason=SlotReason.QUEUE_FULL)),
        (LATE, False, True, Start(), Skip(reason=SlotReason.LATE)),
        (LATE, True, True, Start(), Skip(reason=SlotReason.PAUSED)),
        (DUE, True, True, BLOCKED, Skip(reason=SlotReason.PAUSED)),
        (DUE, True, False, Start(), Skip(reason=SlotReason.DISABLED)),
    ],
)
def test_the_fate_of_a_slot(due: Due, paused: bool, enabled: bool, decision: Decision, wanted: Decision) -> None:
    assert fate(due, paused, enabled, decision) == wanted
