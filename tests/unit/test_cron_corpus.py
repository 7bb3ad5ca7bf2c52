"""Cron against the corpus: what nine other libraries make of an expression, and where our rules decide otherwise.

Every row on which the libraries part has its rule here, by its number in the semantics; so has every one where we
do not follow the many.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from pyflowd.base.zones import zone
from pyflowd.clock import from_us, to_us
from pyflowd.conversion import on_calendar
from pyflowd.model.triggers import Dst
from pyflowd.schedules.cron import parse
from pyflowd.schedules.schedule import next_slot, upcoming_cron
from tests.corpus import CORPUS, needs_corpus

DAYS = "T2: a day field that begins with a star counts as a star; only if neither does may either match"
ELAPSED = "T3: a wildcard hour follows elapsed time, both passes of the fold and nothing in the gap"
GAP = "T3: a fixed time in the gap runs once, at the first instant after it"
FOLD = "T3: a fixed time in the fold runs once, at the first"
STEPPED = "T3: a fixed hour with stepped minutes as a fixed time, in the fold in the first pass only"
SKIPPED_DAY = "T3: a day that a zone skips is a gap; what falls into it runs once, as the day after begins"
BACKWARDS = "T2, Debian-like and strict: a range that runs backwards is refused"
NEVER = "T2: dates that never come are refused"
LONG_NAME = "T2, Debian-like and strict: names have three letters"
BARE_L = "T2: in the weekday field L needs its day"

FOLLOWS_DEBIAN = {
    "c004": DAYS, "c091": DAYS, "c137": DAYS, "c138": DAYS, "c139": DAYS, "c166": DAYS,
    "c006": ELAPSED, "c008": ELAPSED, "c105": ELAPSED, "c108": ELAPSED, "c123": ELAPSED,
    "c012": FOLD, "c013": FOLD, "c018": FOLD, "c126": FOLD,
    "c020": GAP, "c121": GAP, "c122": GAP, "c129": GAP, "c134": GAP,
}  # fmt: skip
"""Disputed, and our rule gives what Debian gives."""

RULED = {
    "c022": (STEPPED, ["2021-10-31T03:59:00+03:00", "2021-10-31T04:00:00+02:00", "2021-10-31T04:01:00+02:00"]),
    "c118": (
        STEPPED,
        [
            "2024-11-03T01:00:00-04:00",
            "2024-11-03T01:20:00-04:00",
            "2024-11-03T01:40:00-04:00",
            "2024-11-04T01:00:00-05:00",
        ],
    ),
    "c128": (
        SKIPPED_DAY,
        ["2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"],
    ),
}
"""Disputed, and our rule gives something else than Debian, or Debian gives nothing."""

REFUSED = {
    "c076": LONG_NAME,
    "c136": NEVER,
    "c142": BACKWARDS,
    "c143": BACKWARDS,
    "c145": LONG_NAME,
    "c155": BARE_L,
}
"""Taken by some, refused by us."""

VALID = {"v056": "T2: ? in a day field is *, also in both"}
"""The one row of validity.json that we take; the rest is refused."""

FIRES_OTHERWISE = {("* * */10 * Sun", "2012-07-15T00:00:00+00:00"): (False, DAYS)}


def rows(name: str) -> list[dict[str, Any]]:
    if CORPUS is None:
        return []
    read: list[dict[str, Any]] = json.loads((CORPUS / "cron" / name).read_text())["rows"]
    return read


def five_fields() -> list[dict[str, Any]]:
    return [row for row in rows("next_fire.json") if row["fields"].startswith("5")]


def times(row: dict[str, Any], count: int) -> list[str]:
    where = zone(row["tz"])
    start_us = to_us(datetime.fromisoformat(row["start"]))
    return [where.local(at_us).isoformat() for at_us in upcoming_cron(row["expr"], row["tz"], start_us, count)]


@needs_corpus
@pytest.mark.parametrize(
    "row",
    [row for row in five_fields() if row["status"] != "disputed" and row["id"] not in REFUSED],
    ids=lambda row: row["id"],
)
def test_what_the_libraries_agree_on_is_what_we_give(row: dict[str, Any]) -> None:
    assert times(row, len(row["expected"])) == row["expected"]


@needs_corpus
@pytest.mark.parametrize(
    "row", [row for row in five_fields() if row["id"] in FOLLOWS_DEBIAN], ids=lambda row: row["id"]
)
def test_where_the_libraries_part_we_follow_debian(row: dict[str, Any]) -> None:
    assert times(row, len(row["debian_like"])) == row["debian_like"], FOLLOWS_DEBIAN[row["id"]]


@needs_corpus
@pytest.mark.parametrize("row", [row for row in five_fields() if row["id"] in RULED], ids=lambda row: row["id"])
def test_where_debian_would_lose_or_double_our_rule_decides(row: dict[str, Any]) -> None:
    rule, wanted = RULED[row["id"]]
    assert times(row, len(wanted)) == wanted, rule


@needs_corpus
def test_every_disputed_row_has_its_rule() -> None:
    disputed = {row["id"] for row in five_fields() if row["status"] == "disputed"}
    assert disputed == FOLLOWS_DEBIAN.keys() | RULED.keys()


@needs_corpus
@pytest.mark.parametrize("row", [row for row in five_fields() if row["id"] in REFUSED], ids=lambda row: row["id"])
def test_what_our_rules_do_not_know_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"runs backwards|never comes|is no name|is not understood"):
        parse(row["expr"])


@needs_corpus
@pytest.mark.parametrize(
    "row", [row for row in rows("next_fire.json") if not row["fields"].startswith("5")], ids=lambda row: row["id"]
)
def test_six_and_seven_fields_are_refused_with_a_sentence(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="fields, but takes five, with none for seconds or years"):
        parse(row["expr"])


@needs_corpus
@pytest.mark.parametrize("row", rows("validity.json"), ids=lambda row: row["id"])
def test_odd_expressions_are_refused_unless_the_table_says_otherwise(row: dict[str, Any]) -> None:
    if row["id"] in VALID:
        assert parse(row["expr"]).text == "0 0 * * *", VALID[row["id"]]
        return
    with pytest.raises(ValueError, match=r"^cron ") as refused:
        parse(row["expr"])
    assert len(str(refused.value).splitlines()) == 1


@needs_corpus
@pytest.mark.parametrize("row", rows("fires_at.json"), ids=lambda row: f"{row['expr']} at {row['at']}")
def test_an_expression_fires_at_a_minute_or_does_not(row: dict[str, Any]) -> None:
    if len(row["expr"].split()) > 5:
        with pytest.raises(ValueError, match="fields, but takes five"):
            parse(row["expr"])
        return
    wanted, _ = FIRES_OTHERWISE.get((row["expr"], row["at"]), (row["fires"], ""))
    at_us = to_us(datetime.fromisoformat(row["at"]))
    found = next_slot(parse(row["expr"]), zone("UTC"), Dst.DEBIAN, at_us - 1)
    assert (found == at_us) is wanted, f"next: {from_us(found or 0)}"


# ---- Calendars of systemd -------------------------------------------------------------------------------------------


def calendars() -> list[dict[str, Any]]:
    """Those that cron can say."""
    return [row for row in rows("systemd_calendar.json") if len((row["cron_equivalent"] or "").split()) == 5]


def utc_times(row: dict[str, Any], dst: Dst, count: int) -> list[str]:
    start_us = to_us(datetime.fromisoformat(row["start"]))
    return [
        from_us(at_us).isoformat()
        for at_us in upcoming_cron(row["cron_equivalent"], row["cron_tz"], start_us, count, dst)
    ]


@needs_corpus
@pytest.mark.parametrize("row", calendars(), ids=lambda row: row["on_calendar"])
def test_a_calendar_of_systemd_fires_as_in_cron_and_in_a_gap_as_debian_has_it(row: dict[str, Any]) -> None:
    wanted = row["expected_utc"] if row["cron_agrees"] else row["cronsim_utc"]
    assert utc_times(row, Dst.DEBIAN, len(wanted)) == wanted, GAP


@needs_corpus
@pytest.mark.parametrize("row", calendars(), ids=lambda row: row["on_calendar"])
def test_where_a_gap_is_skipped_a_calendar_of_systemd_fires_as_systemd_has_it(row: dict[str, Any]) -> None:
    assert utc_times(row, Dst.SKIP, len(row["expected_utc"])) == row["expected_utc"]


@needs_corpus
def test_what_systemd_refuses_as_a_calendar_is_refused() -> None:
    assert CORPUS is not None
    for row in json.loads((CORPUS / "cron" / "systemd_calendar.json").read_text())["validity"]:
        if row["accepted"]:
            on_calendar.to_cron(row["on_calendar"])
        else:
            with pytest.raises(ValueError, match=r"^OnCalendar="):
                on_calendar.to_cron(row["on_calendar"])
