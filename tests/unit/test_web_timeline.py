"""The geometry of the slot timeline, and of the strips of outcomes."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pyflowd.clock import US
from pyflowd.protocol.figures import BandView, LaneView, OutcomesView, OutcomeView, SkippedView, TimelineView
from pyflowd.web.pages.strips import strip
from pyflowd.web.pages.timeline import AHEAD_US, BACK_US, Lane, Timeline, timeline
from pyflowd.web.times import Times

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600 * US


def at(text: str, zone: ZoneInfo = BERLIN) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * US


NOW = at("2026-11-23 19:30")


def drawn(*lanes: LaneView, now: int = NOW, zone: ZoneInfo = BERLIN, **fields: Any) -> Timeline:
    view = TimelineView(
        since_us=now - BACK_US, now_us=now, until_us=now + AHEAD_US, band_us=600 * US, lanes=list(lanes)
    )  # fmt: skip
    return timeline(view, Times(zone, now), **{"approvals": {}, "idle": {}, **fields})


def lane(now: int = NOW, approvals: dict[int, str] | None = None, **fields: Any) -> Lane:
    return drawn(
        LaneView(**{"workflow": "w", "runs": [], **fields}), now=now, approvals=approvals or {}, idle={"w": "by hand"}
    ).lanes[0]  # fmt: skip


def run(number: int = 1, state: str = "succeeded", began: int = -6 * HOUR, took: int | None = HOUR) -> OutcomeView:
    ended = None if took is None else NOW + began + took
    return OutcomeView(run=number, state=state, created_us=NOW + began, started_us=NOW + began, ended_us=ended)


def test_now_stands_at_two_thirds() -> None:
    found = drawn()
    assert (found.now_x, found.rest, found.now_text) == ("66.67%", "33.33%", "now 19:30")


def test_ticks_are_every_three_hours_of_the_zone_with_the_date_at_midnight() -> None:
    labels = [tick.text for tick in drawn().ticks]
    assert labels == [
        "21:00", "Mon 23", "03:00", "06:00", "09:00", "12:00", "15:00", "", "", "Tue 24", "03:00", "06:00",
    ]  # fmt: skip
    assert [tick.css for tick in drawn().ticks if tick.text.startswith(("Mon", "Tue"))] == ["mid", "mid"]


def test_ticks_keep_to_whole_hours_in_a_zone_with_half_hours() -> None:
    zone = ZoneInfo("Asia/Kolkata")
    labels = [tick.text for tick in drawn(now=at("2026-11-23 10:00", zone), zone=zone).ticks]
    assert all(text.endswith(":00") for text in labels if ":" in text)
    assert "Mon 23" in labels


@pytest.mark.parametrize(
    ("now", "both"),
    [("2026-10-25 10:00", ["02:00 CEST", "02:00 CET"]), ("2026-03-29 12:00", ["01:00 CET", "03:00 CEST"])],
)
def test_a_day_with_a_clock_change_shows_both_hours(now: str, both: list[str]) -> None:
    labels = [tick.text for tick in drawn(now=at(now)).ticks]
    assert [text for text in labels if "CE" in text] == both


def test_a_run_is_a_bar_from_its_start_to_its_end() -> None:
    (bar,) = lane(runs=[run()]).bars
    assert (bar.x, bar.width, bar.css, bar.path) == ("50.00%", "2.78%", "s-ok", "/runs/1")
    assert bar.title == "Succeeded, 13:30 CET, 1 h"


def test_a_short_run_is_still_to_be_seen_and_none_leaves_the_line() -> None:
    bars = lane(runs=[run(1, took=0), run(2, began=-30 * HOUR, took=7 * HOUR), run(3, began=-1, took=None)]).bars
    for bar in bars:
        x, width = float(bar.x[:-1]), float(bar.width[:-1])
        assert width >= 0.28
        assert x >= 0
        assert x + width <= 100.01


def test_a_run_that_lives_reaches_up_to_now() -> None:
    (bar,) = lane(runs=[run(state="running", began=-3 * HOUR, took=None)]).bars
    assert float(bar.x[:-1]) + float(bar.width[:-1]) == pytest.approx(66.67, abs=0.02)
    assert bar.css == "s-run"


def test_a_failure_has_a_mark_and_an_approval_another() -> None:
    found = lane(runs=[run(1, "failed"), run(2, "running", -2 * HOUR, None)], approvals={2: "production"})
    assert [(icon.icon, icon.css) for icon in found.icons] == [("fail", "s-fail"), ("hold", "s-hold")]
    assert "Waits for approval of production" in found.icons[1].title


def test_marks_that_would_lie_on_one_another_are_thinned_and_their_bars_stay() -> None:
    found = lane(runs=[run(n, "failed", began=-HOUR + n * 10 * US, took=US) for n in range(100)])
    assert len(found.bars) == 100
    assert 1 <= len(found.icons) <= 3
    assert found.icons[-1].path == "/runs/99"


def test_a_dense_lane_is_bands_with_its_failures_on_top() -> None:
    bands = [BandView(at_us=NOW - BACK_US + k * 600 * US, count=10, state="succeeded", run=k) for k in range(100)] + [
        BandView(at_us=NOW - BACK_US, count=1, state="failed", run=7)
    ]
    found = lane(runs=[run(7, "failed", -BACK_US, US)], bands=bands)
    assert len(found.bands) == 100
    assert found.bands[0].css == "s-ok"
    assert found.bands[0].title == "10 succeeded and 1 failed in 10 min from 19:30"
    assert [icon.icon for icon in found.icons] == ["fail"]
    assert found.label.startswith("w: 1 failed and 1,000 succeeded")


def test_a_skipped_slot_says_why() -> None:
    skipped = SkippedView(scheduled_us=NOW - HOUR, trigger="t", reason="overlap", run=4)
    (icon,) = lane(skipped=[skipped]).icons
    assert (icon.icon, icon.title) == ("skip", "Slot 18:30 CET skipped: a run was live (run 4)")


def test_coming_slots_are_rings_with_their_jitter() -> None:
    rings = lane(coming=[(NOW + 6 * HOUR, 0), (NOW + 9 * HOUR, HOUR)]).rings
    assert [(ring.x, ring.r, ring.until) for ring in rings] == [("83.33%", "4", ""), ("91.67%", "4", "94.44%")]
    assert rings[1].title == "Tue 24 Nov 04:30 CET, up to 1 h later"


def test_rings_that_are_close_are_small_and_too_many_go_on_as_a_line() -> None:
    found = lane(coming=[(NOW + n * 60 * US, 0) for n in range(1, 65)], more_coming=True)
    assert {ring.r for ring in found.rings} == {"2"}
    assert len(found.rings) < 15
    assert found.on_from == "69.63%"


def test_an_empty_lane_says_why_it_is_empty() -> None:
    assert lane().words == "by hand"
    assert lane(runs=[run()]).words == ""


# ---- Strips


def outcomes(*runs: OutcomeView, slow_us: int | None = HOUR) -> OutcomesView:
    return OutcomesView(workflow="w", runs=list(runs), usual_us=None, slow_us=slow_us)


def test_a_strip_without_runs_says_so() -> None:
    assert strip(None, NOW).text == strip(outcomes(), NOW).text == "no runs yet"


def test_a_strip_is_right_aligned_and_as_high_as_the_root_of_the_time_taken() -> None:
    (piece,) = strip(outcomes(run(took=HOUR // 4)), NOW).pieces
    assert piece.path == "M145 9.0h3.6V18h-3.6z"  # half of 18: the root of a quarter


def test_a_failed_bar_has_a_foot_and_a_cancelled_one_is_hollow() -> None:
    found = strip(outcomes(run(1, "failed"), run(2, "cancelled")), NOW)
    assert [(piece.css, piece.hollow) for piece in found.pieces] == [("s-fail", False), ("s-cancel", True)]
    assert "M140 20h" in found.pieces[0].path
    assert found.text == "the last 2 runs: 1 failed and 1 cancelled"


def test_durations_are_a_line_from_three_successes_on() -> None:
    assert strip(outcomes(run(1), run(2)), NOW).line == ""
    found = strip(outcomes(run(1, took=1), run(2, took=2), run(3, took=3)), NOW).line
    assert found == "0.0,16.0 75.0,9.0 150.0,2.0"
    assert strip(outcomes(run(1), run(2), run(3)), NOW).line == "0.0,9.0 75.0,9.0 150.0,9.0"
