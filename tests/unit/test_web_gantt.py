"""Geometry of the Gantt chart: one axis, bars in their place, waits, chains, what is left out."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyflowd.protocol.figures import AttemptView
from pyflowd.protocol.views_runs import TaskView
from pyflowd.web.pages.gantt import ROWS_MAX, Gantt, gantt
from pyflowd.web.pages.gantt_axis import TICKS_MAX, WIDTH, step_s
from pyflowd.web.times import Times

S = 1_000_000
T0 = 1_795_000_000 * S
TIMES = Times(ZoneInfo("UTC"), T0 + 1000 * S)


def task(name: str, state: str = "succeeded", **more: Any) -> TaskView:
    return TaskView(task=name, state=state, **more)


def tried(
    name: str, begin: float, end: float | None, number: int = 1, queued: float | None = None, state: str = "succeeded"
) -> AttemptView:
    return AttemptView(
        task=name, attempt=number, state=state if end is not None else "running", started_us=T0 + int(begin * S),
        ended_us=None if end is None else T0 + int(end * S),
        queued_us=None if queued is None else T0 + int(queued * S),
    )  # fmt: skip


def drawn(tasks: list[TaskView], attempts: list[AttemptView], *, ended: float | None = 100, **more: Any) -> Gantt:
    return gantt(
        tasks, attempts, TIMES, lambda each: each.task, created_us=T0,
        ended_us=None if ended is None else T0 + int(ended * S), **more,
    )  # fmt: skip


def at(text: str) -> float:
    assert text.endswith("%")
    return float(text[:-1])


@settings(deadline=None)
@given(st.floats(0.001, 1e8), st.integers(1, 12))
def test_no_more_ticks_than_wanted(span: float, most: int) -> None:
    assert span / step_s(span, most) <= most + 1e-9


@pytest.mark.parametrize(("span", "step"), [(7, 1), (9, 2), (1721, 300), (90_000, 21_600), (3_000_000, 432_000)])
def test_steps_are_those_of_clocks(span: float, step: int) -> None:
    assert step_s(span) == step


def test_ticks_stand_at_whole_steps_of_the_wall_clock() -> None:
    times = Times(ZoneInfo("Asia/Kolkata"), T0)
    chart = gantt([task("a")], [tried("a", 0, 7200)], times, lambda _: "", created_us=T0, ended_us=T0 + 7200 * S)
    assert chart.ticks
    assert all(tick.text.endswith((":00", ":15", ":30", ":45")) for tick in chart.ticks)
    assert len(chart.ticks) <= TICKS_MAX + 1


def test_bars_are_where_their_time_is_and_retries_wait_between() -> None:
    tasks = [task("a"), task("b", "failed", needs=["a"])]
    attempts = [tried("a", 0, 50), tried("b", 60, 70, queued=50), tried("b", 80, 100, 2, state="failed")]
    chart = drawn(tasks, attempts)
    a, b = chart.rows
    assert (at(a.bars[0].x), at(a.bars[0].width)) == (0, WIDTH / 2)
    assert [bar.css for bar in b.bars] == ["q", "b", "b"]
    assert at(b.bars[0].x) == pytest.approx(WIDTH * 0.5)
    assert [(at(x), at(y)) for x, y in b.waits] == [(pytest.approx(WIDTH * 0.7), pytest.approx(WIDTH * 0.8))]
    assert b.text == "2 attempts"


def test_a_wait_for_a_second_parent_is_dotted() -> None:
    tasks = [task("a"), task("b"), task("c", needs=["a", "b"])]
    chart = drawn(tasks, [tried("a", 0, 20), tried("b", 0, 60), tried("c", 60, 100)])
    assert chart.rows[2].waits == [(f"{WIDTH * 0.2:.2f}%", f"{WIDTH * 0.6:.2f}%")]


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 5000), st.floats(0, 5000)), min_size=1, max_size=20))
def test_nothing_lies_outside_of_the_axis(times: list[tuple[float, float]]) -> None:
    tasks = [task(f"t{n}") for n in range(len(times))]
    attempts = [tried(f"t{n}", begin, begin + took) for n, (begin, took) in enumerate(times)]
    chart = drawn(tasks, attempts, ended=max(begin + took for begin, took in times))
    for row in chart.rows:
        for bar in row.bars:
            assert 0 <= at(bar.x) <= WIDTH
            assert 0.35 - 1e-9 <= at(bar.width) <= WIDTH + 0.36


def test_what_runs_grows_to_now_and_never_began_stands_at_the_end() -> None:
    chart = drawn([task("w", "waiting"), task("a", "running")], [tried("a", 0, None)], ended=None)
    assert [row.name for row in chart.rows] == ["a", "w"]
    assert chart.rows[0].bars[0].since_us == T0
    assert at(chart.now_x) == WIDTH
    assert chart.rows[1].bars == []


def test_the_longest_chain_goes_back_by_who_ended_last() -> None:
    tasks = [task("a"), task("b", needs=["a"]), task("c", needs=["a"]), task("d", needs=["b", "c"])]
    attempts = [tried("a", 0, 10), tried("b", 10, 20), tried("c", 10, 70), tried("d", 70, 100)]
    chart = drawn(tasks, attempts)
    assert [row.name for row in chart.rows if row.longest] == ["a", "c", "d"]
    assert chart.sentence == "1 min 40 s; longest chain: a › c › d"


def test_of_many_rows_those_that_matter_are_shown() -> None:
    tasks = [task(f"t{n}") for n in range(1000)]
    tasks[777] = task("t777", "failed")
    attempts = [tried(f"t{n}", n * 0.1, n * 0.1 + 0.1) for n in range(1000)]
    chart = drawn(tasks, attempts)
    assert (len(chart.rows), chart.left_out) == (ROWS_MAX, 1000 - ROWS_MAX)
    assert {"t777", "t999"} <= {row.name for row in chart.rows}
    assert drawn(tasks, attempts, everything=True).left_out == 0


def test_a_fan_out_is_one_row_and_opens_to_its_slowest_and_failed_items() -> None:
    fan = task("f", "failed", items={"succeeded": 99, "failed": 1})
    items = [task(f"f[{n}]", of="f", item=str(n), position=n) for n in range(100)]
    items[0] = task("f[0]", "failed", of="f", item="0", position=0)
    attempts = [tried(f"f[{n}]", n, n + 1 + n / 1000) for n in range(100)]
    (row,) = drawn([fan, *items], attempts).rows
    assert (row.name, len(row.bars), row.text) == ("f ×100", 1, "1 min 40 s, 100 items")
    assert row.density.startswith("M0.0 20L")
    opened = drawn([fan, *items], attempts, selected="f").rows
    assert len(opened) == 22
    assert opened[1].name == "0"


def test_items_that_are_not_known_still_make_the_row_of_their_fan_out() -> None:
    fan = task("f", items={"succeeded": 2})
    (row,) = drawn([fan], [tried("f[a]", 0, 10), tried("f[b]", 5, 100)]).rows
    assert at(row.bars[0].width) == pytest.approx(WIDTH)


def test_a_short_task_that_a_long_one_hides_can_fill_the_width() -> None:
    tasks = [task("long"), task("short")]
    attempts = [tried("long", 0, 1000), tried("short", 0, 2)]
    assert (
        drawn(tasks, attempts, selected="short", ended=1000, fit_href=lambda name: f"?fit={name}").fits == "?fit=short"
    )
    assert drawn(tasks, attempts, selected="long", ended=1000).fits == ""
    fitted = drawn(tasks, attempts, selected="short", fit="short", ended=1000)
    row = next(row for row in fitted.rows if row.name == "short")
    assert at(row.bars[0].width) > 70
    assert fitted.fits_word == "Show the whole run"


def test_labels_stand_left_of_bars_that_end_at_the_right() -> None:
    tasks = [task("a"), task("f", items={"succeeded": 1000})]
    first, fan = drawn(tasks, [tried("a", 0, 100), tried("f[b]", 80, 100)]).rows
    assert (fan.text, fan.left, fan.narrow_left) == ("20 s, 1,000 items", True, True)
    assert (first.left, first.narrow_left) == (False, False), "there is no room for it"
