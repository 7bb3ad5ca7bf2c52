"""Calendars and blackouts: against a plain reading of their words, over changes of the clock, and from files."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyflowd import settings as settings_file
from pyflowd.base.zones import zone
from pyflowd.clock import US, from_us, to_us
from pyflowd.errors import Refused
from pyflowd.model.states import SlotReason
from pyflowd.model.triggers import Schedule
from pyflowd.runtime.calendars_files import read_almanac
from pyflowd.schedules.calendars import Almanac, Entries
from pyflowd.settings import Settings

BERLIN = zone("Europe/Berlin")
TODAY = date(2026, 6, 1)
DAYS = [date(2026, 1, 1) + timedelta(days=n) for n in range(800)]


def read(text: str) -> Settings:
    return settings_file.parse("pyflowd.yaml", text.encode())


def almanac(text: str) -> Almanac:
    found = read(text)
    return Almanac(Entries(calendars=found.calendars, blackouts=found.blackouts), BERLIN)


def days(text: str, name: str = "c") -> list[date]:
    made = almanac(text)
    assert made.problems() == []
    return [day for day in DAYS if made.has(name, day)]


# ---- Calendars


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("days: mon-fri", lambda day: day.weekday() < 5),
        ("days: [sat, 0]", lambda day: day.weekday() >= 5),
        ("month_days: L", lambda day: (day + timedelta(days=1)).day == 1),
        ("month_days: [1, 15]", lambda day: day.day in (1, 15)),
        ("days: 5L", lambda day: day.weekday() == 4 and (day + timedelta(days=7)).month != day.month),
        ("days: mon, month_days: 1-7", lambda day: day.weekday() == 0 and day.day <= 7),
        ("months: jun-aug, days: sun", lambda day: day.month in (6, 7, 8) and day.weekday() == 6),
        ('dates: ["2026-12-24", "2026-12-27..2026-12-31"]', lambda day: day.isoformat() in (
            "2026-12-24", "2026-12-27", "2026-12-28", "2026-12-29", "2026-12-30", "2026-12-31")),
        ('dates: "05-01"', lambda day: (day.month, day.day) == (5, 1)),
        ("days: sun, also: may", lambda day: day.weekday() == 6 or (day.month, day.day) == (5, 1)),
        ("days: mon-fri, not: may", lambda day: day.weekday() < 5 and (day.month, day.day) != (5, 1)),
        ("not: [may]", lambda day: (day.month, day.day) != (5, 1)),
    ],
)  # fmt: skip
def test_a_calendar_has_the_days_that_its_words_say(written: str, wanted: object) -> None:
    assert callable(wanted)
    text = f'calendars: {{c: {{{written}}}, may: {{dates: "05-01"}}}}'
    assert days(text) == [day for day in DAYS if wanted(day)]


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        ("calendars: {a: {not: b}, b: {also: a}}", "a", "calendar b is broken"),
        ("calendars: {a: {not: b}, b: {also: a}}", "b", "calendar a is broken"),
        ("calendars: {a: {not: a}}", "a", "it is made of itself"),
        ("calendars: {a: {days: mon, not: nobody}}", "a", "there is no calendar nobody"),
        ("calendars: {a: {ics: x.ics}}", "a", "x.ics was not read"),
    ],
)
def test_a_calendar_that_cannot_be_made_is_broken_and_says_why(text: str, name: str, why: str) -> None:
    made = almanac(text)
    assert any(problem.startswith(f"calendar {name}: ") for problem in made.problems())
    assert why in made.held(Schedule(name="t", calendars=(name,))) or "itself" in " ".join(made.problems())


@pytest.mark.parametrize(
    "written",
    [
        "calendars: {c: {}}", "calendars: {c: {days: fri-mon}}", "calendars: {c: {days: '* '}}",
        "calendars: {c: {month_days: 32}}", "calendars: {c: {dates: 2026-02-30}}", "calendars: {c: {dates: 31-12}}",
        "calendars: {c: {dates: 2026-12-31..2026-12-01}}", "calendars: {c: {ics: ../x.ics}}",
        "calendars: {c: {ics: x.yaml}}", "calendars: {c: {month_days: 31, months: feb}}",
        "calendars: {'../c': {days: 1}}",
        "blackouts: {b: {}}", "blackouts: {b: {all: true}}", "blackouts: {b: {daily: '22:00'}}",
        "blackouts: {b: {daily: '22:00-22:00'}}", "blackouts: {b: {daily: '25:00-26:00'}}",
        "blackouts: {b: {from: 2026-12-24 18:00, to: 2026-12-24 17:00}}", "blackouts: {b: {from: tomorrow}}",
        "blackouts: {b: {daily: '22:00-23:00', timezone: Nowhere}}",
    ],
)  # fmt: skip
def test_what_is_no_calendar_is_refused_with_its_place(written: str) -> None:
    with pytest.raises(Refused, match=r"^pyflowd\.yaml:1:[0-9]+: "):
        read(written)


# ---- Judging


def judge(made: Almanac, trigger: Schedule, text: str) -> tuple[SlotReason, str] | None:
    at_us = to_us(datetime.fromisoformat(text).replace(tzinfo=BERLIN.info))
    bar = made.judge(trigger, BERLIN, at_us, at_us)
    return None if bar is None else (bar.reason, bar.detail)


@pytest.mark.parametrize(
    ("at", "name"),
    [
        ("2026-12-19 21:59", None), ("2026-12-20 00:00", "freeze"), ("2027-01-05 23:59", "freeze"),
        ("2027-01-06 02:00", None), ("2026-06-02 21:59", None), ("2026-06-02 22:00", "nightly"),
        ("2026-06-02 01:59", "nightly"), ("2026-06-02 02:00", None), ("2026-06-06 12:00", "weekend"),
        ("2026-06-08 00:00", "nightly"), ("2026-06-08 03:00", None),
    ],
)  # fmt: skip
def test_a_blackout_is_in_force_while_all_that_it_says_holds(at: str, name: str | None) -> None:
    made = almanac("""
calendars: {weekend: {days: [sat, sun]}}
blackouts:
  freeze: {from: "2026-12-20", to: "2027-01-05"}
  nightly: {daily: "22:00-02:00"}
  weekend: {calendar: weekend, daily: "08:00-20:00"}
""")
    found = judge(made, Schedule(name="t", blackouts=("freeze", "weekend", "nightly")), at)
    assert found == (None if name is None else (SlotReason.BLACKOUT, name))


def test_a_blackout_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    made = almanac('calendars: {sat: {days: sat}}\nblackouts: {b: {daily: "22:00-02:00", calendar: sat}}')
    trigger = Schedule(name="t", blackouts=("b",))
    found = [judge(made, trigger, f"2026-06-{day} 01:00") is not None for day in ("06", "07", "08")]
    assert found == [False, True, False]


def test_a_start_that_the_jitter_puts_into_a_blackout_is_barred() -> None:
    made = almanac('blackouts: {b: {daily: "22:00-23:00", all: true}}')
    at_us = to_us(datetime(2026, 6, 1, 21, 50, tzinfo=BERLIN.info))
    assert made.judge(Schedule(name="t"), BERLIN, at_us, at_us) is None
    assert made.judge(Schedule(name="t"), BERLIN, at_us, at_us + 20 * 60 * US) is not None


@pytest.mark.parametrize("trigger", [{"calendars": ("x",)}, {"blackouts": ("x",)}])
def test_what_is_not_there_holds_the_schedule(trigger: dict[str, tuple[str, ...]]) -> None:
    found = judge(Almanac(), Schedule(name="t", **trigger), "2026-06-01 12:00")  # type: ignore[arg-type]
    assert found is not None
    assert found[0] is SlotReason.HELD


def test_a_broken_blackout_for_all_holds_every_schedule() -> None:
    made = almanac("blackouts: {b: {calendar: nowhere, all: true}}")
    assert made.held(Schedule(name="t")) == "blackout b: there is no calendar nowhere"


ALL = """
calendars: {work: {days: mon-fri, not: may}, may: {dates: "05-01"}, end: {month_days: [L, 1]}}
blackouts:
  night: {daily: "22:00-03:15"}
  trip: {from: "2026-03-20 12:30", to: "2026-04-02"}
  off: {calendar: end}
"""


@settings(deadline=None, max_examples=300)
@given(
    minute=st.integers(0, 800 * 1440),
    calendars=st.lists(st.sampled_from(["work", "end"]), unique=True, max_size=2),
    blackouts=st.lists(st.sampled_from(["night", "trip", "off"]), unique=True, max_size=3),
)
def test_until_what_a_bar_says_nothing_is_free_of_it(minute: int, calendars: list[str], blackouts: list[str]) -> None:
    """So that who looks for the next slot may go on there, and passes over none."""
    made = almanac(ALL)
    trigger = Schedule(name="t", calendars=tuple(calendars), blackouts=tuple(blackouts))
    at_us = to_us(datetime(2026, 1, 1, tzinfo=UTC)) + minute * 60 * US
    bar = made.judge(trigger, BERLIN, at_us, at_us)
    if bar is None:
        return
    assert bar.until_us is not None
    assert bar.until_us > at_us
    step_us = max(60 * US, (bar.until_us - at_us) // 200 // US * US)
    free = [us for us in range(at_us, bar.until_us, step_us) if made.judge(trigger, BERLIN, us, us) is None]
    assert [from_us(us).isoformat() for us in free] == []


def test_a_day_is_that_of_the_zone_of_the_schedule() -> None:
    made = almanac('calendars: {day: {dates: "2026-06-02"}}')
    at_us = to_us(datetime(2026, 6, 1, 20, 0, tzinfo=UTC))
    trigger = Schedule(name="t", calendars=("day",))
    assert made.judge(trigger, BERLIN, at_us, at_us) is not None
    assert made.judge(trigger, zone("Asia/Tokyo"), at_us, at_us) is None


# ---- Files


def event(*lines: str) -> str:
    return "\r\n".join(["BEGIN:VEVENT", f"UID:{len(lines)}{lines[0]}", "SUMMARY:x", *lines, "END:VEVENT"])


def ics(*events: str) -> str:
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//EN", *events, "END:VCALENDAR", ""])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "calendars").mkdir()
    return tmp_path / "calendars"


def from_files(folder: Path, found: Settings = Settings()) -> Almanac:  # noqa: B008 - it is frozen
    return read_almanac(str(folder.parent / "pyflowd.yaml"), found, BERLIN, TODAY)


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        (event("DTSTART;VALUE=DATE:20261225", "DTEND;VALUE=DATE:20261227"), ["2026-12-25", "2026-12-26"]),
        (event("DTSTART;VALUE=DATE:20261225"), ["2026-12-25"]),
        (event("DTSTART;VALUE=DATE:20240501", "RRULE:FREQ=YEARLY"), ["2026-05-01", "2027-05-01"]),
        (event("DTSTART;VALUE=DATE:20240501", "RRULE:FREQ=YEARLY", "EXDATE;VALUE=DATE:20260501"), ["2027-05-01"]),
        (event("DTSTART;VALUE=DATE:20261225", "STATUS:CANCELLED"), []),
        (event("DTSTART:20261231T220000Z", "DTEND:20270101T020000Z"), ["2026-12-31", "2027-01-01"]),
        ("", []),
    ],
)  # fmt: skip
def test_a_file_of_events_has_their_days(folder: Path, events: str, wanted: list[str]) -> None:
    (folder / "holidays.ics").write_text(ics(*([events] if events else [])))
    made = from_files(folder)
    assert made.problems() == []
    assert [day.isoformat() for day in DAYS if made.has("holidays", day)] == wanted


@pytest.mark.parametrize("text", ["", "no calendar", "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", "\0" * 100])
def test_a_file_that_is_no_calendar_is_broken_and_says_so_in_one_line(folder: Path, text: str) -> None:
    (folder / "h.ics").write_text(text)
    (problem,) = from_files(folder).problems()
    assert problem.startswith("calendar h: ")
    assert len(problem.splitlines()) == 1


def test_a_file_that_repeats_without_end_is_broken_and_does_not_stop_the_daemon(folder: Path) -> None:
    endless = event("DTSTART:19700101T000000Z", "DTEND:19700101T000001Z", "RRULE:FREQ=SECONDLY")
    (folder / "h.ics").write_text(ics(endless))
    (problem,) = from_files(folder).problems()
    assert problem.startswith("calendar h: ")


@pytest.mark.parametrize("kind", ["fifo", "folder", "huge", "missing", "link to nothing"])
def test_what_is_no_plain_file_of_a_sound_size_is_broken(folder: Path, kind: str) -> None:
    path = folder / "h.ics"
    match kind:
        case "fifo":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "huge":
            with path.open("wb") as file:
                file.truncate(5 << 20)
        case "link to nothing":
            path.symlink_to(folder / "nothing")
        case _:
            pass
    found = read("calendars: {h: {ics: h.ics}}")
    (problem,) = from_files(folder, found).problems()
    assert problem.startswith(f"calendar h: {path}: ")


def test_files_of_the_folder_are_calendars_and_names_of_the_settings_come_before(folder: Path) -> None:
    (folder / "work.yaml").write_text("days: mon-fri\nnot: free\n")
    (folder / "free.yml").write_text('dates: "05-01"\n')
    (folder / "both.yaml").write_text("days: mon\n")
    (folder / ".hidden.yaml").write_text("days: mon\n")
    (folder / "notes.txt").write_text("x\n")
    made = from_files(folder, read("calendars: {both: {days: sun}}"))
    assert made.calendars == ("both", "free", "work")
    assert made.problems() == []
    assert made.has("both", date(2026, 6, 7))
    assert not made.has("work", date(2026, 5, 1))


def test_a_broken_file_of_the_folder_names_its_place(folder: Path) -> None:
    (folder / "work.yaml").write_text("days: mon-fri\nnut: free\n")
    (problem,) = from_files(folder).problems()
    assert problem.startswith(f"calendar work: {folder}/work.yaml:2:1: ")
    assert "not" in problem


def test_a_name_that_two_files_give_is_broken(folder: Path) -> None:
    (folder / "work.yaml").write_text("days: mon-fri\n")
    (folder / "work.ics").write_text(ics())
    assert "two files" in from_files(folder).problems()[0]


def test_without_a_folder_there_are_no_calendars(tmp_path: Path) -> None:
    assert read_almanac(str(tmp_path / "pyflowd.yaml"), Settings(), BERLIN, TODAY).calendars == ()
