"""Cron expressions: what is read, what is refused and how it says so, and the naive walk."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyflowd.schedules.cron import Cron, advice, describe, parse
from tests import cron_oracle

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  naive times are what this module counts
MINUTE = timedelta(minutes=1)


def walk(expr: str, start: str, count: int) -> list[str]:
    """The next `count` naive times from `start` on, which counts too."""
    cron, minute = parse(expr), (datetime.fromisoformat(start) - EPOCH) // MINUTE
    found: list[str] = []
    while len(found) < count:
        hit = cron.next_from(minute)
        assert hit is not None
        found.append((EPOCH + hit * MINUTE).isoformat(" ", "minutes"))
        minute = hit + 1
    return found


def refusal(expr: str) -> str:
    with pytest.raises(ValueError, match="cron") as caught:
        parse(expr)
    return str(caught.value)


# ---- Fields ---------------------------------------------------------------------------------------------------------

BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def masks(cron: Cron) -> tuple[int, ...]:
    return (cron.minutes, cron.hours, cron.days, cron.months, cron.weekdays)


@pytest.mark.parametrize("index", range(5))
def test_every_range_with_every_step_means_what_counting_says(index: int) -> None:
    low, high = BOUNDS[index]
    wrong = []
    for first in range(low, high + 1):
        for last in range(first, high + 1):
            for step in {1, 2, 3, 5, 7, last - first or 1, last - first + 1}:
                fields = ["*"] * 5
                fields[index] = f"{first}-{last}/{step}"
                wanted = {n % 7 if index == 4 else n for n in range(first, last + 1, step)}
                if masks(parse.__wrapped__(" ".join(fields)))[index] != sum(1 << n for n in wanted):
                    wrong.append(fields[index])
    assert wrong == []


@pytest.mark.parametrize(
    ("expr", "same"),
    [
        ("7/20 * * * *", "7,27,47 * * * *"),
        ("*/25 * * * *", "0,25,50 * * * *"),
        ("*/60 * * * *", "0 * * * *"),
        ("59/15 * * * *", "59 * * * *"),
        ("5-5 * * * *", "5 * * * *"),
        ("00 08 01 07 *", "0 8 1 7 *"),
        ("5,3,1 * * * *", "1,3,5 * * * *"),
        ("0 0 * JAN,jul Sun", "0 0 * 1,7 0"),
        ("0 0 * * mon-fri/2", "0 0 * * 1,3,5"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * 5-7", "0 0 * * 5,6,0"),
        ("0 0 * * mon/2", "0 0 * * 1,3,5"),
        ("0 0 * * 7/2", "0 0 * * 0"),
        ("0 0 * * */2", "0 0 * * 0,2,4,6"),
        ("0 0 ? * ?", "0 0 * * *"),
        ("\t0  0 * * * ", "0 0 * * *"),
        ("0 0 * * 7L", "0 0 * * 0L"),
        ("0 0 * * sun#2", "0 0 * * 7#2"),
        ("@weekly", "0 0 * * 0"),
        ("@annually", "0 0 1 1 *"),
    ],
)
def test_two_spellings_mean_the_same(expr: str, same: str) -> None:
    one, other = parse(expr), parse(same)
    assert (*masks(one), one.last_weekdays, one.nth_weekdays) == (
        *masks(other),
        other.last_weekdays,
        other.nth_weekdays,
    )


@pytest.mark.parametrize(
    ("expr", "either"),
    [
        ("0 0 13 * 5", True),
        ("0 0 1-31 * 1", True),
        ("0 0 L * 1", True),
        ("0 0 */2 * 6", False),
        ("0 0 15 * */2", False),
        ("0 0 *,13 * 5", False),
        ("0 0 13,* * 5", True),
        ("0 0 ? * 5", False),
        ("0 0 13 * ?", False),
    ],
)
def test_a_day_field_that_begins_with_a_star_makes_both_fields_count(expr: str, either: bool) -> None:
    assert parse(expr).either_day is either


@pytest.mark.parametrize(
    ("expr", "any_hour"),
    [("0 * * * *", True), ("0 */2 * * *", True), ("@hourly", True), ("* 2 * * *", False), ("0 0-23 * * *", False)],
)
def test_only_a_star_in_the_hour_field_follows_elapsed_time(expr: str, any_hour: bool) -> None:
    assert parse(expr).any_hour is any_hour


def test_reboot_comes_at_no_minute() -> None:
    cron = parse("@reboot")
    assert (cron.reboot, cron.next_from(0)) == (True, None)


# ---- The walk -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "start", "wanted"),
    [
        ("30 2 * * *", "2024-01-01 02:30", ["2024-01-01 02:30", "2024-01-02 02:30"]),
        ("30 2 * * *", "2024-12-31 02:31", ["2025-01-01 02:30"]),
        ("*/20 22,23 * * *", "2024-01-01 22:41", ["2024-01-01 23:00", "2024-01-01 23:20", "2024-01-01 23:40"]),
        ("59 23 31 12 *", "2024-01-01 00:00", ["2024-12-31 23:59", "2025-12-31 23:59"]),
        ("0 0 29 2 *", "2096-03-01 00:00", ["2104-02-29 00:00"]),
        ("0 0 L * *", "2100-02-01 00:00", ["2100-02-28 00:00", "2100-03-31 00:00"]),
        ("0 0 LW * *", "2013-11-02 00:00", ["2013-11-29 00:00", "2013-12-31 00:00"]),
        ("0 0 1W * *", "2024-06-01 00:00", ["2024-06-03 00:00", "2024-07-01 00:00"]),
        ("0 0 30W * *", "2013-06-02 00:00", ["2013-06-28 00:00", "2013-07-30 00:00"]),
        ("0 0 31W 4,5 *", "2024-04-01 00:00", ["2024-05-31 00:00", "2025-05-30 00:00"]),
        ("0 0 15W,L * *", "2024-06-01 00:00", ["2024-06-14 00:00", "2024-06-30 00:00", "2024-07-15 00:00"]),
        ("0 0 * * 5L", "2020-02-01 00:00", ["2020-02-28 00:00", "2020-03-27 00:00"]),
        ("0 0 * * 6#5", "2013-09-02 00:00", ["2013-11-30 00:00", "2014-03-29 00:00"]),
        ("0 0 13 * 5", "2024-01-05 00:01", ["2024-01-12 00:00", "2024-01-13 00:00"]),
        ("0 0 29 2 */7", "2088-03-01 00:00", ["2128-02-29 00:00"]),
    ],
)
def test_the_walk_finds_the_next_times(expr: str, start: str, wanted: list[str]) -> None:
    assert walk(expr, start, len(wanted)) == wanted


def field(low: int, high: int, *specials: str) -> st.SearchStrategy[str]:
    value = st.integers(low, high)
    step = st.sampled_from(["", "", "/1", "/2", "/3", "/7", "/40"])
    span = st.tuples(value, value).map(lambda pair: f"{min(pair)}-{max(pair)}")
    term = st.one_of(st.just("*"), value.map(str), span)
    plain = st.tuples(term, step).map("".join)
    special = [st.sampled_from(specials)] if specials else []
    return st.lists(st.one_of(plain, *special), min_size=1, max_size=3).map(",".join)


def expressions() -> st.SearchStrategy[str]:
    """Valid expressions of all shapes; some of them never come."""
    return st.tuples(
        field(0, 59),
        field(0, 23),
        field(1, 31, "L", "LW", "1W", "15W", "30W", "31W") | st.just("?"),
        field(1, 12, "feb", "mar-may/2"),
        field(0, 7, "5L", "7L", "1#1", "fri#5", "mon-fri", "sun") | st.just("?"),
    ).map(" ".join)


@settings(deadline=None)
@given(expr=expressions(), start=st.integers(10_000_000, 60_000_000))
@example(expr="0 0 * 2 5#5", start=15_778_080)
@example(expr="* * ? * 7/1", start=10_000_000)
def test_the_walk_agrees_with_looking_at_every_minute(expr: str, start: int) -> None:
    try:
        cron = parse(expr)
    except ValueError as refused:
        assert "never comes" in str(refused)  # noqa: PT017  the only thing that can be wrong with it
        return
    fits = cron_oracle.fits(expr)
    looked_at = range(start, start + 3 * 1440)
    wanted = [minute for minute in looked_at if fits(EPOCH + minute * MINUTE)]
    found = []
    minute = cron.next_from(start)
    while minute is not None and minute in looked_at:
        found.append(minute)
        minute = cron.next_from(minute + 1)
    assert found == wanted


@settings(deadline=None)
@given(expr=expressions(), year=st.integers(1990, 2090), month=st.integers(1, 12))
def test_the_dates_of_a_month_agree_with_looking_at_every_date(expr: str, year: int, month: int) -> None:
    try:
        cron = parse(expr)
    except ValueError:
        return
    fields = expr.split()
    fits = cron_oracle.fits(f"0 0 {' '.join(fields[2:])}")
    days = [EPOCH.replace(year=year, month=month) + timedelta(days=n) for n in range(31)]
    assert cron.days_of(year, month) == sum(1 << day.day for day in days if day.month == month and fits(day))


@settings(deadline=None)
@given(expr=expressions(), start=st.integers(10_000_000, 60_000_000))
def test_the_walk_only_goes_forward(expr: str, start: int) -> None:
    try:
        cron = parse(expr)
    except ValueError:
        return
    found = [start - 1]
    for _ in range(20):
        hit = cron.next_from(found[-1] + 1)
        if hit is None:
            break
        found.append(hit)
    assert all(earlier < later for earlier, later in pairwise(found))


# ---- Refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "said"),
    [
        ("* * * *", "has 4 fields, but needs five: minute, hour, day of month, month, day of week"),
        ("*/5 * * * * *", "has 6 fields, but takes five, with none for seconds or years"),
        ("61 * * * *", "minute: 61 is out of range: write 0 to 59"),
        ("* 24 * * *", "hour: 24 is out of range: write 0 to 23"),
        ("* * 0 * *", "day of month: 0 is out of range: write 1 to 31"),
        ("* * * 13 *", "month: 13 is out of range: write 1 to 12"),
        ("* * * * 8", "day of week: 8 is out of range: write 0 to 7"),
        ("*/0 * * * *", "has a step of 0: write 1 or more"),
        ("0 22-2 * * *", "hour: '22-2' runs backwards: write 22-23,0-2"),
        ("0 0 * * fri-mon", "day of week: 'fri-mon' runs backwards: write fri-sat,sun-mon"),
        ("0 0 * * sat-sun", "write sat-7, as 7 is Sunday too"),
        ("0 0 * * 7-2", "write 0-2"),
        ("0 0 * * friday", "day of week: 'friday' is no name: write fri"),
        ("0 0 * * MONL", "write 5L for the last Friday"),
        ("0 0 * * L", "write 5L for the last Friday"),
        ("0 0 L-2 * *", "write L, LW or 15W"),
        ("0 0 1-5W * *", "write L, LW or 15W"),
        ("0 0 32W * *", "day of month: 32 is out of range"),
        ("0 0 * * 1#6", "#6 never comes: write #1 to #5"),
        ("0 0 30 2 *", "this date never comes"),
        ("0 0 30W 2 *", "this date never comes"),
        ("@every 5m", "write a trigger with `every`"),
        ("@Daily", "write @daily"),
        ("@fortnightly", "there are @hourly, @daily"),
        ("@daily 1", "no such nickname"),
        ("CRON_TZ=UTC 0 0 * * *", "write it as `timezone` beside `cron`"),
        ("0 0 *\n* *", r"contains '\n': part the fields with plain spaces or tabs"),
        ("0\xa00 * * *", r"contains '\xa0'"),
        ("0 0 * * \x00", r"contains '\x00'"),
        ("0 0 * * \u212aed", "day of week"),
        ("1, * * * *", "minute: '' stands where a list has an empty place: remove the comma"),
        ("? * * * *", "minute: '?' is not understood: ? stands alone, in a day field"),
        ("H * * * *", "minute: 'h' is no name: write a number"),
        ("0 " * 400, "at most 500 characters"),
    ],
)
def test_a_refusal_says_what_where_and_what_to_write(expr: str, said: str) -> None:
    message = refusal(expr)
    assert said in message
    assert "\n" not in message


@settings(deadline=None)
@given(st.text(max_size=40) | st.text(alphabet="0123456789*,-/#?LWlwmonfri@ \t", max_size=40))
def test_whatever_is_written_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        parse(text)
    except ValueError as refused:
        assert len(str(refused).splitlines()) == 1  # noqa: PT017


def test_the_longest_sensible_expression_is_taken() -> None:
    text = " ".join(",".join(str(n) for n in range(low, high + 1)) for low, high in BOUNDS)
    assert parse(text).minutes == (1 << 60) - 1


def test_plain_numbers_and_stars_are_read_without_loading_croniter() -> None:
    program = "import sys; from pyflowd.schedules.cron import parse; parse('30 2 * * 1,5'); "
    program += "sys.exit('croniter' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# ---- Words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expr", "words"),
    [
        ("30 2 * * *", "at 02:30 every day"),
        ("0 9,17 * * 1-5", "at 09:00 and 17:00 on Monday to Friday"),
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("7 * * * *", "at minute 7 of every hour"),
        ("0 */2 * * *", "every 2 hours from 00:00"),
        ("0 3 1 1,7 *", "at 03:00 on day 1 of the month in January and July"),
        ("0 3 * * 5L", "at 03:00 on the last Friday of the month"),
        ("0 3 * * mon#2", "at 03:00 on the second Monday of the month"),
        ("0 3 15W,L * *", "at 03:00 on the weekday nearest to day 15 and the last day of the month"),
        ("0 0 13 * 5", "at 00:00 on day 13 of the month and on every Friday"),
        ("@reboot", "at every start of the host"),
    ],
)
def test_an_expression_is_put_in_words(expr: str, words: str) -> None:
    assert describe(parse(expr)) == words


@pytest.mark.parametrize(
    "expr", ["0 0 */2 * 1", "0 0-23 * * *", "*/7 * * * *", "0 */5 * * *", "1,2,3 4,5 * * *", "0 0 1-20 * *"]
)
def test_what_words_would_get_wrong_stays_an_expression(expr: str) -> None:
    assert describe(parse(expr)) == expr


@settings(deadline=None)
@given(expr=expressions())
def test_every_expression_has_one_line_of_words(expr: str) -> None:
    try:
        cron = parse(expr)
    except ValueError:
        return
    assert describe(cron).isprintable()


@pytest.mark.parametrize(
    ("expr", "said"),
    [
        ("0 0 13 * 5", "either"),
        ("*/40 * * * *", "*/40 begins anew with each hour"),
        ("0 */5 * * *", "*/5 begins anew with each day"),
        ("*/60 * * * *", "*/60 is the same as 0"),
    ],
)
def test_what_may_surprise_is_said(expr: str, said: str) -> None:
    assert any(said in sentence for _, sentence in advice(parse(expr)))


@pytest.mark.parametrize("expr", ["*/15 */2 * * *", "0 0 1 * *", "@daily", "@reboot"])
def test_what_is_plain_gets_no_advice(expr: str) -> None:
    assert advice(parse(expr)) == ()
