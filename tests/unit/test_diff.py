"""What differs between two texts of a definition and between two runs, and how it looks."""

from __future__ import annotations

import msgspec
import pytest

from pyflowd.language.definition_text import Part, Role, pack
from pyflowd.protocol.views_runs import RunView, TaskView
from pyflowd.protocol.views_workflows import ChangeView
from pyflowd.render import diff, render_diff
from pyflowd.render.diff import Difference
from pyflowd.render.layout import Style
from tests.unit.views import at_us

STYLE = Style(width=100, now_us=at_us("21:17:05"), timezone="Europe/Berlin")
OLD, NEW = b"tasks:\n  a: {run: x}\n", b"tasks:\n  a: {run: y}\n"
TASK = TaskView(task="a", state="succeeded", exit_code=0, started_us=1_000_000, ended_us=3_000_000, outputs={"n": 1})

# ---- Texts ----------------------------------------------------------------------------------------------------------


def test_equal_texts_have_no_diff() -> None:
    assert diff.unified(OLD, OLD, "a", "b") == []


def test_a_diff_is_a_unified_one() -> None:
    assert diff.unified(OLD, NEW, "w@1", "w@2") == [
        "--- w@1", "+++ w@2", "@@ -1,2 +1,2 @@", " tasks:", "-  a: {run: x}", "+  a: {run: y}"
    ]  # fmt: skip


def test_texts_that_differ_in_ends_of_lines_only_say_so() -> None:
    assert diff.unified(OLD, OLD.replace(b"\n", b"\r\n"), "a", "b")[-1] == "(they differ in ends of lines only)"


def test_a_drop_in_that_was_added_is_shown_by_itself() -> None:
    main = Part(label="w.yaml", data=OLD)
    drop_in = Part(label="w.yaml.d/1.yaml", data=b"timeout: 1h\n", role=Role.DROP_IN)
    assert diff.unified(pack([main]), pack([main, drop_in]), "w@1", "w@2") == [
        "--- /dev/null", "+++ w@2 (drop-in w.yaml.d/1.yaml)", "@@ -0,0 +1 @@", "+timeout: 1h"
    ]  # fmt: skip


def test_a_brief_diff_ends_with_how_to_see_the_rest() -> None:
    old = b"".join(b"%d\n" % n for n in range(200))
    lines = diff.brief(old, old.replace(b"\n", b"x\n"), "a", "b", "pyflowctl diff a b").split("\n")
    assert len(lines) == diff.BRIEF_LINES
    assert lines[-1] == "(364 more lines; see: pyflowctl diff a b)"


@pytest.mark.parametrize("text", [b"x" * (diff.BRIEF_BYTES + 1), b"\n" * (diff.BRIEF_TEXT_LINES + 1)])
def test_long_texts_are_not_compared_where_others_wait(text: bytes) -> None:
    assert "too long to be compared here; see: pyflowctl diff" in diff.brief(text, OLD, "a", "b", "pyflowctl diff a b")


def test_a_diff_is_coloured_and_obeyed_by_no_terminal() -> None:
    shown = render_diff.diff_lines(["-a\x1b[2J", "+b", " c"], Style(colour=True, terminal=True))
    assert shown == ["\x1b[31m-a\\x1b[2J\x1b[0m", "\x1b[32m+b\x1b[0m", " c"]


# ---- Runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [Difference(name="a", old=1, new=2)]),
        ({"a": 1}, {"a": True}, [Difference(name="a", old=1, new=True)]),
        ({"a": None}, {}, [Difference(name="a", there=False)]),
        ({}, {"a": None}, [Difference(name="a", was=False)]),
    ],
)
def test_values_differ_by_name(old: dict[str, object], new: dict[str, object], found: list[Difference]) -> None:
    assert diff.values(old, new) == found


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"ended_us": 9_000_000}, True),
        ({"state": "failed"}, False),
        ({"reason": "timeout"}, False),
        ({"exit_code": 3}, False),
        ({"outputs": {"n": 2}}, False),
    ],
)
def test_a_task_is_the_same_if_it_came_to_the_same(change: dict[str, object], *, same: bool) -> None:
    (pair,) = diff.tasks([TASK], [msgspec.structs.replace(TASK, **change)])
    assert pair.same is same


def test_tasks_stand_in_the_order_of_the_new_run_then_those_that_are_gone() -> None:
    a, b, c = (msgspec.structs.replace(TASK, task=name) for name in "abc")
    pairs = diff.tasks([a, b], [c, b])
    assert [(pair.task, pair.same) for pair in pairs] == [("c", False), ("b", True), ("a", False)]


def run_view(run: int, **changes: object) -> RunView:
    view = RunView(
        run=run, workflow="w", state="succeeded", created_us=at_us("21:00"), started_us=at_us("21:00"),
        ended_us=at_us("21:00:02"), params={"day": "mon"},
    )  # fmt: skip
    return msgspec.structs.replace(view, **changes)


def test_two_runs_stand_side_by_side() -> None:
    other = msgspec.structs.replace(TASK, state="failed", exit_code=7, ended_us=2_000_000, outputs={})
    new = run_view(42, state="failed", reason="task_failed", params={"day": "tue"})
    lines = render_diff.runs(run_view(41), new, ["-x", "+y"], diff.tasks([TASK], [other]), STYLE)
    assert lines == [
        "✓ run 41 of w: succeeded; 21:00:00, took 2.0s",
        "✗ run 42 of w: failed (task_failed); 21:00:00, took 2.0s",
        "",
        "Definition",
        "-x",
        "+y",
        "",
        "Params",
        '  day: "mon" → "tue"',
        "outputs: the same",
        "",
        "  task  run 41           run 42",
        "  a     succeeded  2.0s  failed (7)  1.0s  differs",
        "      n: 1 → (absent)",
        "times: Europe/Berlin, UTC+01:00",
    ]


def test_an_item_is_shown_where_it_differs_only() -> None:
    items = [msgspec.structs.replace(TASK, task=f"f[{key}]", item=key, outputs={}) for key in ("a", "b")]
    other = [items[0], msgspec.structs.replace(items[1], state="failed")]
    lines = render_diff.runs(run_view(1), run_view(2), [], diff.tasks(items, other), STYLE)
    assert [line.split()[0] for line in lines if "f[" in line] == ["f[b]"]


def test_values_of_two_runs_as_json_keep_null_apart_from_absent() -> None:
    found = render_diff.runs_value(run_view(1, params={"a": None}), run_view(2, params={}), [], [], STYLE)
    assert found["params"] == [{"name": "a", "old": None}]


def test_the_time_of_a_task_is_in_the_json() -> None:
    found = render_diff.runs_value(run_view(1), run_view(2), [], diff.tasks([TASK], [TASK]), STYLE)
    assert found["tasks"][0]["old"]["duration_s"] == 2.0


# ---- Over time ------------------------------------------------------------------------------------------------------


def test_a_change_is_told_with_its_parts() -> None:
    view = ChangeView(at_us=at_us("21:00"), what="drop_in_changed", file="w.yaml", digest="ab" * 32,
                      detail="drop-in x added", in_force=True)  # fmt: skip
    (row,) = render_diff.change_rows([view], STYLE)
    assert [cell.text for cell in row] == [
        "21:00:00", "abababababab", "drop-in changed (drop-in x added)", "w.yaml", "in force"
    ]  # fmt: skip
