"""The page of a workflow: its sentence, graph, grid, calendar, form and texts, without a daemon."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pyflowd.clock import US, to_us
from pyflowd.model.problem import Problem
from pyflowd.model.states import Fate
from pyflowd.protocol.figures import GridCell, GridRun, GridView, OutcomeView
from pyflowd.protocol.views_runs import ExplanationView, RunView, TaskView
from pyflowd.protocol.views_workflows import ChangeView, DefinitionView, NextView, ParamView, SlotView, WorkflowView
from pyflowd.web.marks import mark
from pyflowd.web.pages import dag, params_form, texts, versions
from pyflowd.web.pages.calendar import calendar, month
from pyflowd.web.pages.clock_changes import next_change
from pyflowd.web.pages.grid import grid
from pyflowd.web.pages.history_curves import curves
from pyflowd.web.pages.schedule_words import in_words
from pyflowd.web.pages.texts import fitted, width_px
from pyflowd.web.pages.workflow import page, refusal, starts, successes, tag
from pyflowd.web.pages.workflow_why import reasons
from pyflowd.web.pages.yaml_colour import lines
from pyflowd.web.times import Times

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> int:
    from datetime import datetime

    return to_us(datetime.fromisoformat(text).replace(tzinfo=BERLIN))


NOW = at("2026-11-23T03:12:41")
TIMES = Times(BERLIN, NOW)
LINKS = dag.Links(of="w", page="/workflows/w")


def task(name: str, *needs: str, **fields: Any) -> TaskView:
    return TaskView(task=name, needs=list(needs), **{"state": "", "kind": "run", **fields})


# ---- The sentence ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("30 2 * * * (Europe/Berlin)", "every day at 02:30 Europe/Berlin"),
        ("0 8,20 * * * (Etc/UTC)", "every day at 08:00 and 20:00 Etc/UTC"),
        ("30 2 * * 1-6 (Europe/Berlin)", "Monday to Saturday at 02:30 Europe/Berlin"),
        ("0 3 * * MON,THU (Etc/UTC)", "every Monday and Thursday at 03:00 Etc/UTC"),
        ("15 4 1 * * (Etc/UTC)", "on day 1 of every month at 04:15 Etc/UTC"),
        ("*/5 * * * * (Etc/UTC)", "every 5 min Etc/UTC"),
        ("* * * * * (Etc/UTC)", "every minute Etc/UTC"),
        ("7 * * * * (Etc/UTC)", "every hour at :07 Etc/UTC"),
        ("5 */6 * * * (Etc/UTC)", "every 6 h at :05 Etc/UTC"),
        ("*/7 * * * * (Etc/UTC)", "by cron */7 * * * *, Etc/UTC"),
        ("0 0 13 * 5 (Etc/UTC)", "by cron 0 0 13 * 5, Etc/UTC"),
        ("0 2 1 1 * (Etc/UTC)", "by cron 0 2 1 1 *, Etc/UTC"),
        ("0 2 * * 1#2 (Etc/UTC)", "by cron 0 2 * * 1#2, Etc/UTC"),
        ("every 15m", "every 15m"),
    ],
)
def test_a_schedule_is_said_in_words_only_where_they_are_all_of_it(schedule: str, said: str) -> None:
    assert in_words(schedule) == said


def view(**fields: Any) -> WorkflowView:
    return WorkflowView(**{"workflow": "w", "state": "active", **fields})


def run_of(number: int, state: str, took_s: float = 60, **fields: Any) -> GridRun:
    start = NOW - (100 - number) * 3600 * US
    outcome = OutcomeView(
        run=number, state=state, created_us=start, started_us=start, ended_us=start + int(took_s * US)
    )
    return GridRun(outcome=outcome, digest="d" * 64, **fields)


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([], ""),
        (["running"], ""),
        (["succeeded"], "Its only run succeeded"),
        (["failed"], "Its only run did not succeed"),
        (["succeeded"] * 3, "All of the last 3 runs succeeded"),
        (["failed"] * 3, "None of the last 3 runs succeeded"),
        (["succeeded", "failed", "succeeded", "running"], "2 of the last 3 runs succeeded"),
    ],
)
def test_successes_count_runs_that_have_ended(states: list[str], said: str) -> None:
    runs = [run_of(n, state) for n, state in enumerate(states)]
    assert successes(GridView(workflow="w", tasks=[], runs=runs)) == said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "Starts by hand only"),
        ({"schedules": ["every 15m"]}, "Every 15m"),
        ({"schedules": ["every 15m"], "events": ["webhook w"]}, "Every 15m and 1 trigger"),
        ({"events": ["a", "b"]}, "By 2 triggers"),
    ],
)
def test_what_starts_it(fields: dict[str, Any], said: str) -> None:
    assert starts(view(**fields)) == said


def test_nothing_starts_what_never_had_a_good_text() -> None:
    assert page(view(), None, None, [], "", [], TIMES).starts == "Nothing starts it"


def test_a_failure_says_why_in_the_first_lines() -> None:
    last = RunView(run=45, workflow="w", state="failed", error="upload: exit code 11", ended_us=NOW)
    shown = page(view(last=last), definition(), None, [], "", [], TIMES)
    assert shown.last
    assert shown.last.failed == "Run 45 failed: upload: exit code 11"


def test_what_is_active_and_failed_does_not_look_well() -> None:
    told = ExplanationView(workflow="w", state="active", answer="it ran")
    assert reasons(told, TIMES, "failed").css == mark("failed").css
    assert reasons(told, TIMES, "succeeded").css == mark("active").css
    assert reasons(ExplanationView(workflow="w", state="paused", answer=""), TIMES, "failed").css == mark("paused").css


def test_who_paused_it_is_said() -> None:
    assert tag(view(state="paused", paused_by="anna")) == "paused by anna"
    assert tag(view(disabled=True)) == "schedules off"


def definition(text: str = "tasks: {}\n", **fields: Any) -> DefinitionView:
    known: dict[str, Any] = {
        "workflow": "w", "file": "w.yaml", "digest": "9f3c1e7a" + "0" * 56, "loaded_us": NOW, "text": text.encode(),
        "view": view(),
    }  # fmt: skip
    return DefinitionView(**{**known, **fields})


def test_a_refused_text_says_where_why_and_what_stays_in_force() -> None:
    problem = Problem(file="w.yaml", line=4, column=19, code="x", message="unknown key", fix="write run")
    found = refusal(view(problems=[problem]), definition())
    assert found
    assert (found.wrong[0].place, found.wrong[0].message) == ("w.yaml:4:19", "unknown key")
    assert "9f3c1e7a stays in force" in found.effect
    broken = refusal(view(problems=[problem]), None)
    assert broken
    assert "nothing starts it" in broken.effect


def test_the_next_slot_is_told_in_its_own_zone_with_the_hosts_in_brackets() -> None:
    slot = NextView(workflow="w", trigger="t", scheduled_us=at("2026-11-24T02:30:00"), timezone="Europe/Berlin")
    times = Times(ZoneInfo("UTC"), NOW)
    shown = page(view(), definition(), None, [slot], "", [], times)
    assert shown.next
    assert shown.next.text == "Tue 24 Nov 02:30 CET (01:30 UTC)"
    shown = page(view(), definition(), None, [slot], "", [], TIMES)
    assert shown.next
    assert shown.next.text == "Tue 24 Nov 02:30 CET"


def test_who_may_not_operate_gets_no_action() -> None:
    assert not page(view(), definition(), None, [], "", [], TIMES, no_right="no").do
    assert [act.label for act in page(view(), definition(), None, [], "", [], TIMES).do] == ["Pause"]


# ---- The graph ------------------------------------------------------------------------------------------------------

NIGHT = [
    task("check"),
    task("dump", "check", fan_out="for_each: params.databases"),
    task("files", "check"),
    task("upload", "dump", "files", attempts_max=3),
    task("report", "upload", trigger_rule="all_done"),
    task("unmount", section="finally"),
]


def test_a_definition_is_drawn_both_ways_with_what_each_task_is() -> None:
    found = dag.draw(NIGHT, TIMES, dag.Asked(), LINKS)
    down, across = found.drawings
    assert (down.css.split()[0], across.css.split()[0]) == ("down", "across")
    assert {box.key: box.sub for box in across.boxes}["upload"] == "run · retry 3"
    assert {box.key: box.card for box in down.boxes} == {
        "check": False, "dump": True, "files": False, "upload": False, "report": False,
    }  # fmt: skip
    assert [line.css for line in down.lines if line.target == "report"] == ["any"]
    assert [(each.task, each.section) for each in found.handlers] == [("unmount", "finally")]
    ids = [box.id for drawing in found.drawings for box in drawing.boxes]
    assert len(set(ids)) == len(ids)
    assert "n-upload" in ids


def test_a_run_is_drawn_with_states_and_a_failure_leads_to_what_did_not_run() -> None:
    tasks = [
        task("a", state="succeeded", started_us=NOW - 2 * US, ended_us=NOW),
        task("b", "a", state="failed", reason="exit_code", exit_code=11, attempts=3),
        task("c", "b", state="upstream_failed"),
    ]
    found = dag.draw(tasks, TIMES, dag.Asked(task="b"), LINKS)
    boxes = {box.key: box for box in found.drawings[0].boxes}
    assert [(boxes[key].css, boxes[key].icon, boxes[key].sub) for key in "abc"] == [
        ("s-ok", "ok", "2.0 s"), ("s-fail", "fail", "exit 11 · 3 attempts"), ("s-up", "up", "never started"),
    ]  # fmt: skip
    assert [key for key in boxes if boxes[key].selected] == ["b"]
    assert boxes["b"].label == "b, Failed, exit 11 · 3 attempts"
    assert {line.target: line.css for line in found.drawings[0].lines} == {"b": "", "c": "bad"}


@pytest.mark.parametrize(
    ("items", "name", "cells"),
    [
        ({"succeeded": 6}, "d ×6", 6),
        ({"succeeded": 11, "failed": 1}, "d ×12", 12),
        ({"failed": 2, "running": 500}, "d ×502", 2),
    ],
)
def test_items_of_a_fan_out_are_cells_then_parts_of_a_bar(items: dict[str, int], name: str, cells: int) -> None:
    found = dag.draw(
        [task("a", state="succeeded"), task("d", "a", state="running", items=items)], TIMES, dag.Asked(), LINKS
    )
    box = next(box for box in found.drawings[0].boxes if box.key == "d")
    assert (box.name, len(box.cells)) == (name, cells)
    assert all(box.text_x < cell.x and cell.x + cell.width <= 164 for cell in box.cells)
    if "failed" in items:
        assert box.cells[0].css == "s-fail"


def test_one_task_has_no_graph_but_a_list() -> None:
    found = dag.draw([task("only")], TIMES, dag.Asked(), LINKS)
    assert found.as_list
    assert not found.drawings
    assert [row.task for row in found.rows] == ["only"]


def test_a_graph_that_goes_round_is_a_list() -> None:
    found = dag.draw([task("a", "b"), task("b", "a")], TIMES, dag.Asked(), LINKS)
    assert found.as_list
    assert [row.task for row in found.rows] == ["a", "b"]


def chains(count: int, length: int, **last: Any) -> list[TaskView]:
    found = []
    for n in range(count):
        for k in range(length):
            needs = [f"t{n}-{k - 1}"] if k else []
            fields = last if last and (n, k) == (0, length - 1) else {}
            found.append(task(f"t{n}-{k}", *needs, **fields))
        if n:
            found[-1].needs.append(f"t{n - 1}-0")
    return found


def test_a_large_graph_is_sent_in_bands_that_together_are_all_of_it() -> None:
    tasks = chains(40, 20)
    first = dag.draw(tasks, TIMES, dag.Asked(), LINKS)
    drawing = first.drawings[0]
    assert first.map
    assert first.fragment == "/fragment/dag/w"
    assert len(drawing.boxes) < len(tasks)
    assert drawing.sent == [0, 1]
    seen: dict[str, tuple[float, float]] = {}
    lines = set()
    for band in range(drawing.bands):
        part = dag.draw(tasks, TIMES, dag.Asked(band=band), LINKS).drawings[0]
        assert part.sent == [band]
        seen.update({box.key: (box.x, box.y) for box in part.boxes})
        lines |= {(line.source, line.target) for line in part.lines}
    assert set(seen) == {each.task for each in tasks}
    assert lines == {(need, each.task) for each in tasks for need in each.needs}
    places = {key: (x, y) for key, _, x, y, _ in dag.places(tasks, dag.Asked())}
    assert places == seen


def test_of_a_large_failed_run_what_failed_and_what_led_there_is_drawn_first() -> None:
    tasks = chains(40, 20, state="failed")
    found = dag.draw(tasks, TIMES, dag.Asked(), LINKS)
    assert found.note == "20 of 800 tasks: what failed and what led there"
    assert {box.key for box in found.drawings[0].boxes} == {f"t0-{k}" for k in range(20)}
    assert len(dag.draw(tasks, TIMES, dag.Asked(only="all"), LINKS).drawings[0].boxes) > 20


def test_a_fold_is_a_link_that_opens_it() -> None:
    tasks = [task("first"), *(task(f"m{n}", "first") for n in range(30))]
    folded = dag.draw(tasks, TIMES, dag.Asked(), LINKS).drawings[0]
    box = next(box for box in folded.boxes if box.key == "m0")
    assert (box.name, box.href) == ("30 tasks alike", "/workflows/w?open=m0")
    opened = dag.draw(tasks, TIMES, dag.asked({"open": "m0"}), LINKS)
    assert len(opened.drawings[0].boxes) == 31
    assert len(dag.draw(tasks, TIMES, dag.Asked(whole=True), LINKS).drawings[0].boxes) == 31


def test_an_address_that_is_no_word_of_ours_is_passed_over() -> None:
    assert dag.asked({"zoom": "x", "only": "y", "band": "-1", "view": "z"}) == dag.Asked()


def test_a_name_that_is_too_long_is_cut_in_its_middle() -> None:
    shown = fitted("a" * 40 + "-tail", 100, 12.5)
    assert shown.endswith("tail")
    assert "…" in shown
    assert width_px(shown, 12.5) <= 100


@pytest.mark.parametrize("text", ["abcdefgh" * 4, "iiiiiiWWWWWW" * 3, "日本" * 9, "e\u0301" * 20, "ab"])
@pytest.mark.parametrize("room_px", [0, 9.05, 20.05, 60.05, 150.05])
def test_as_much_is_kept_as_fits(text: str, room_px: float) -> None:
    shown = fitted(text, room_px, 10)
    kept = [f"{text[: keep - keep // 3]}…{text[len(text) - keep // 3 :]}" for keep in range(len(text) - 1, 1, -1)]
    fitting = (each for each in [text, *kept] if width_px(each, 10) <= room_px)
    assert shown == next(fitting, "…")


def test_cutting_takes_no_longer_than_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fold's second line has the names of all its members."""
    looks = 0

    def em(char: str) -> float:
        nonlocal looks
        looks += 1
        return 0.62

    monkeypatch.setattr(texts, "_em", em)
    assert "…" in fitted("name, " * 500, 100, 12.5)
    assert looks < 10_000


# ---- Tasks by runs --------------------------------------------------------------------------------------------------


def test_the_grid_has_a_column_for_each_run_and_the_newest_failure_is_tinted() -> None:
    cell = {"a": GridCell(state="failed", reason="exit_code", exit_code=3, attempts=2)}
    runs = [run_of(n, "succeeded", 30) for n in range(1, 12)] + [run_of(12, "failed", 60, cells=cell)]
    found = grid(GridView(workflow="w", tasks=["a", "b"], runs=runs), TIMES, 30)
    assert [column.hot for column in found.columns] == [False] * 11 + [True]
    assert [column.older for column in found.columns] == [True] * 2 + [False] * 10
    assert (found.columns[-1].bar_height, found.columns[0].bar_height) == (44.0, 22.0)
    assert found.rows[0].cells[-1].title.startswith("Failed, exit 3")
    assert found.rows[1].cells[-1].mark is None
    assert found.columns[-1].href == "/runs/12"
    assert not found.older_href


# ---- The calendar ---------------------------------------------------------------------------------------------------


def test_a_day_shows_its_worst_outcome_and_how_many_slots_it_had() -> None:
    slots = [
        SlotView(workflow="w", trigger="t", scheduled_us=at("2026-11-20T02:30:00"), fate=Fate.FIRED, run=1),
        SlotView(workflow="w", trigger="t", scheduled_us=at("2026-11-20T14:30:00"), fate=Fate.FIRED, run=2),
        SlotView(workflow="w", trigger="t", scheduled_us=at("2026-11-21T02:30:00"), fate=Fate.SKIPPED),
        SlotView(workflow="w", trigger="t", scheduled_us=at("2026-11-22T02:30:00"), fate=Fate.FIRED, run=3),
    ]
    coming = [NextView(workflow="w", trigger="t", scheduled_us=at("2026-11-24T02:30:00"), timezone="Europe/Berlin")]
    found = calendar("w", month("", TIMES), slots, {1: "succeeded", 2: "failed"}, coming, TIMES)
    days = {day.iso: day for week in found.weeks for day in week}
    assert [len(week) for week in found.weeks] == [7] * 6
    shown = {iso: (day.mark.word if day.mark else "", day.count) for iso, day in days.items() if day.count}
    assert shown == {
        "2026-11-20": ("Failed", 2), "2026-11-21": ("Skipped", 1), "2026-11-22": ("Fired", 1),
        "2026-11-24": ("Coming", 1),
    }  # fmt: skip
    assert days["2026-11-23"].today
    assert days["2026-11-24"].title == "Tue 24 Nov: Coming, 02:30 CET"
    assert (found.before_href, found.now_href) == ("/workflows/w?month=2026-10#schedule", "")


@pytest.mark.parametrize(
    ("asked", "title"), [("2027-03", "March 2027"), ("2026-13", "November 2026"), ("x", "November 2026")]
)
def test_the_month_is_in_the_address(asked: str, title: str) -> None:
    assert calendar("w", month(asked, TIMES), [], {}, [], TIMES).title == title


def test_a_change_of_the_clocks_is_spelled_out_with_what_fires_then() -> None:
    coming = [
        NextView(workflow="w", trigger="t", scheduled_us=at(f"2027-03-{day}"), timezone="Europe/Berlin")
        for day in ("27T02:30:00", "28T03:00:00", "29T02:30:00")
    ]
    found = calendar("w", month("", TIMES), [], {}, coming, TIMES)
    assert found.notes == [
        "Clock change Sun 28 Mar 2027 (Europe/Berlin): 02:00 CET becomes 03:00 CEST; that day it fires at 03:00 CEST."
    ]


def test_in_autumn_the_clocks_go_back_from_what_they_would_have_shown() -> None:
    change = next_change(BERLIN, at("2026-10-01T00:00:00"), at("2026-11-01T00:00:00"))
    assert change
    assert (change.old, change.new) == ("03:00 CEST", "02:00 CET")
    assert next_change(ZoneInfo("UTC"), 0, NOW) is None


# ---- Params ---------------------------------------------------------------------------------------------------------

PARAMS = [
    ParamView(name="target", type="string", enum=["b2", "b3"], default="b2", description="Where it goes"),
    ParamView(name="keep", type="integer", minimum=1, maximum=365, default=30),
    ParamView(name="names", type="array", items="string", default=["a"]),
    ParamView(name="full", type="boolean", default=False),
    ParamView(name="maybe", type="boolean"),
    ParamView(name="why", type="string", required=True, pattern="[a-z]+"),
]


def test_each_param_has_a_field_of_its_type() -> None:
    found = params_form.form(PARAMS, {})
    assert [(field.label, field.kind, field.value) for field in found.fields] == [
        ("target", "select", "b2"), ("keep", "number", "30"), ("names", "json", '["a"]'), ("full", "check", "false"),
        ("maybe", "select", ""), ("why", "text", ""),
    ]  # fmt: skip
    assert found.fields[1].hint == "Integer, 1 to 365, its default if left empty"
    assert found.fields[0].hint.startswith("Where it goes. String")
    assert [option.word for option in found.fields[4].options] == ["not given", "true", "false"]


def test_a_secret_is_chosen_by_its_name_or_typed_where_names_may_not_be_listed() -> None:
    param = ParamView(name="key", type="secret", required=True)
    (chosen,) = params_form.form([param], {}, secrets=["crm", "mail"]).fields
    assert (chosen.kind, [option.value for option in chosen.options]) == ("select", ["", "crm", "mail"])
    (typed,) = params_form.form([param], {}).fields
    assert (typed.kind, typed.hint) == ("text", "The name of a secret, never its value, required")


def test_errors_stand_at_their_fields_and_the_first_is_focused() -> None:
    error = (
        "params: why: a value is required; names: not JSON: expected a value; the file ends here; there is no param x"
    )
    found = params_form.form(PARAMS, {"names": "[1,"}, error)
    errors = {field.label: (field.error, field.focus) for field in found.fields if field.error}
    assert errors == {
        "names": ("not JSON: expected a value; the file ends here", True), "why": ("a value is required", False),
    }  # fmt: skip
    assert found.problems == ["there is no param x"]
    assert next(field for field in found.fields if field.label == "names").value == "[1,"


def test_another_refusal_stands_above_the_fields() -> None:
    found = params_form.form(PARAMS, {}, "w is paused")
    assert (found.problems, found.wrong) == (["w is paused"], 1)


# ---- Texts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "colours"),
    [
        ("schedule: '0 2 * * *' # night", [("k", "schedule"), ("", ":"), ("v", " '0 2 * * *' "), ("cm", "# night")]),
        ("  - a: ${{ params.x }}", [("", "  - "), ("k", "a"), ("", ":"), ("v", " "), ("x", "${{ params.x }}")]),
        ('url: "http://h/#x"', [("k", "url"), ("", ":"), ("v", ' "http://h/#x"')]),
        ("# all", [("cm", "# all")]),
        ("", []),
    ],
)
def test_a_line_is_coloured_by_its_look(line: str, colours: list[tuple[str, str]]) -> None:
    (found,) = lines(line + "\n")
    assert [(span.css, span.text) for span in found] == colours


def test_colours_lose_no_character_and_a_block_of_text_has_no_keys() -> None:
    text = "run: |\n  echo a: b\n\n  # no comment\nneeds: x\n"
    found = lines(text)
    assert "\n".join("".join(span.text for span in line) for line in found) + "\n" == text
    assert all(span.css != "k" for line in found[1:4] for span in line)
    assert found[4][0].css == "k"


def test_a_difference_has_the_numbers_of_both_texts() -> None:
    found = versions.diff(definition("a\nb\nc\n"), definition("a\nB\nc\n--- x\n", digest="41d09b52" + "0" * 56))
    assert [(line.css, line.old, line.new, line.text) for line in found.lines if line.css not in ("file", "hunk")] == [
        ("", "1", "1", "a"), ("del", "2", "", "b"), ("add", "", "2", "B"), ("", "3", "3", "c"),
        ("add", "", "4", "--- x"),
    ]  # fmt: skip
    assert (found.added, found.removed) == (2, 1)


def test_versions_say_from_when_to_when_and_lead_to_what_changed() -> None:
    changes = [
        ChangeView(at_us=NOW, what="edited", file="w.yaml", digest="b" * 64, in_force=True),
        ChangeView(at_us=NOW - US, what="added", file="w.yaml", digest="a" * 64),
    ]
    new, old = versions.versions("w", changes, {"b" * 64: 3}, TIMES)
    assert (new.until, new.runs) == (None, 3)
    assert new.diff_href == f"/workflows/w/versions/{'a' * 16}..{'b' * 16}"
    assert old.until
    assert not old.diff_href


def test_curves_are_of_runs_that_succeeded() -> None:
    runs = [
        run_of(1, "succeeded", 10),
        run_of(2, "failed", 900),
        run_of(3, "succeeded", 20),
        run_of(4, "succeeded", 30),
    ]
    (found,) = curves(GridView(workflow="w", tasks=[], runs=runs))
    assert (found.last, len(found.table)) == ("last 30 s", 3)
    assert not curves(GridView(workflow="w", tasks=[], runs=runs[:3]))


def test_the_newest_run_is_the_last_outcome_even_where_the_definition_view_has_none() -> None:
    shown = page(
        view(),
        definition(),
        GridView(workflow="w", tasks=[], runs=[run_of(99, "failed")]),
        [],
        "",
        [],
        TIMES,
    )
    assert shown.last
    assert (shown.last.state, shown.last.href) == ("failed", "/runs/99")
    older = view(last=RunView(run=100, workflow="w", state="succeeded", ended_us=NOW))
    newest = page(older, definition(), None, [], "", [], TIMES).last
    assert newest
    assert newest.word == "Succeeded now"
