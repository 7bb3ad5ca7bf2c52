"""The run page without a daemon: which task is selected, sentences, why, what is different, actions, items, curves."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pyflowd.protocol.figures import SamplesView
from pyflowd.protocol.views_runs import ApprovalView, ExplanationView, FactView, RunView, StepView, TaskView
from pyflowd.protocol.views_workflows import NextView
from pyflowd.web.pages.curves import curves, percentile, thinned
from pyflowd.web.pages.items import BLOCK, items
from pyflowd.web.pages.run import outputs, shown
from pyflowd.web.pages.run_actions import actions, questions
from pyflowd.web.pages.run_words import heading, lede
from pyflowd.web.pages.selection import Selected, cause_of, select
from pyflowd.web.pages.since import changes
from pyflowd.web.pages.why import Said, keeps, nothing, why
from pyflowd.web.times import Times

S = 1_000_000
NOW = 1_795_000_000 * S
TIMES = Times(ZoneInfo("Europe/Berlin"), NOW)


def task(name: str, state: str = "succeeded", **more: Any) -> TaskView:
    given: dict[str, Any] = {"attempts": 0 if state in ("waiting", "upstream_failed", "queued") else 1}
    return TaskView(task=name, state=state, **{**given, **more})


def run(state: str = "failed", **more: Any) -> RunView:
    given: dict[str, Any] = {"run": 7, "workflow": "nightly", "created_us": NOW - 100 * S, "requested_by": "anna"}
    if state not in ("queued",):
        given["started_us"] = NOW - 90 * S
    if state in ("succeeded", "failed", "cancelled"):
        given["ended_us"] = NOW - 30 * S
    return RunView(state=state, **{**given, **more})


def explanation(*facts: FactView, state: str = "failed", steps: tuple[StepView, ...] = ()) -> ExplanationView:
    return ExplanationView(
        workflow="nightly", run=7, state=state, answer="run 7 of nightly failed", facts=list(facts), next=list(steps)
    )


def fact(code: str, text: str, of: str = "", **more: Any) -> FactView:
    return FactView(code=code, text=text, task=of, run=7, **more)


# ---- Which task is selected


def test_the_first_cause_of_a_failure_is_selected() -> None:
    tasks = [task("a", "failed", ended_us=9), task("b", "failed", ended_us=5), task("c", "succeeded", ended_us=99)]
    assert cause_of(explanation(fact("task", "a failed", "a")), tasks) is tasks[0]
    assert cause_of(None, tasks) is tasks[1]
    assert select(tasks, tasks[0]).node is tasks[0]


def test_of_a_fan_out_that_failed_its_first_failed_item_is_selected() -> None:
    fan = task("fan", "failed", items={"failed": 2, "succeeded": 1})
    tasks = [
        fan,
        task("fan[a]", of="fan", item="a", ended_us=1),
        task("fan[b]", "failed", of="fan", item="b", ended_us=8),
        task("fan[c]", "failed", of="fan", item="c", ended_us=4),
        task("fan[d]", "cancelled", of="fan", item="d", ended_us=2),
    ]
    cause = cause_of(explanation(fact("task", "fan failed", "fan")), tasks)
    chosen = select(tasks, cause)
    assert (chosen.name, chosen.item, chosen.has_log) == ("fan", "c", True)


def test_of_a_live_run_what_runs_longest_is_selected_then_what_asks_then_what_ended_last() -> None:
    old = task("old", "running", started_us=1)
    new = task("new", "running", started_us=5)
    asks = task("asks", "running", kind="approval", started_us=0)
    ended = task("ended", ended_us=3)
    assert select([asks, new, old, ended], None).node is old
    assert select([asks, ended], None).node is asks
    assert select([ended, task("later", ended_us=4), task("tidy", ended_us=9, section="finally")], None).name == "later"
    assert select([task("w", "waiting")], None).node is None
    assert select([], None).node is None


def test_the_address_names_the_task_and_the_item() -> None:
    tasks = [task("fan", items={"succeeded": 2}), task("fan[a]", of="fan", item="a"), task("fan[]", of="fan", item="")]
    assert select(tasks, None, "fan", "").node is tasks[2]
    assert select(tasks, None, "fan", "zz").missing == "fan[zz]"
    assert select(tasks, None, "gone").missing == "gone"


@pytest.mark.parametrize("kind", ["approval", "wait", "workflow"])
def test_what_has_no_process_has_no_log(kind: str) -> None:
    assert not Selected(task=task("a", kind=kind), node=task("a", kind=kind)).has_log


# ---- Sentences

UPLOAD = task("upload", "failed")
HEADINGS: list[tuple[RunView, list[TaskView], TaskView | None, str]] = [
    (run("queued"), [], None, "nightly waits to start"),
    (run("queued", waits_for=6), [], None, "nightly waits to start: run 6 still runs"),
    (run("running"), [], None, "nightly runs"),
    (run("running"), [task("a", "running"), task("b", "running")], None, "nightly runs a and 1 more"),
    (run("running"), [task("a", "retrying")], None, "nightly runs: a is tried again"),
    (run("running"), [task("ok", "running", kind="approval")], None, "nightly waits for approval of ok"),
    (run("running", section="finally", outcome="failed"), [], None, "nightly runs its finally after it failed"),
    (run("running", stopping="cancel"), [], None, "nightly is being cancelled"),
    (run("running", stopping="timeout"), [], None, "nightly is being stopped: its time ran out"),
    (run("succeeded"), [], None, "nightly succeeded"),
    (run("cancelled", reason="cancelled"), [], None, "nightly was cancelled"),
    (run("cancelled", reason="replaced"), [], None, "nightly was cancelled: a newer run replaced it"),
    (run("failed"), [UPLOAD], UPLOAD, "nightly failed at upload"),
    (run("failed"), [UPLOAD, task("other", "failed")], UPLOAD, "nightly failed at upload and 1 more"),
    (run("failed", reason="timeout"), [UPLOAD], UPLOAD, "nightly failed: its time ran out"),
    (run("failed", error="none may begin"), [], None, "nightly failed: none may begin"),
    (run("odd_state"), [], None, "nightly: odd state"),
]


@pytest.mark.parametrize(("view", "tasks", "cause", "text"), HEADINGS, ids=[each[-1] for each in HEADINGS])
def test_the_heading_is_a_sentence_about_the_present(
    view: RunView, tasks: list[TaskView], cause: TaskView | None, text: str
) -> None:
    assert heading(view, tasks, cause) == text


def test_the_line_below_says_when_how_long_and_what_came_of_it() -> None:
    def said(view: RunView, facts: ExplanationView | None = None, usual_us: int | None = None) -> str:
        return "".join(text for _, text in lede(view, facts, TIMES, usual_us))

    counts = {"succeeded": 2, "failed": 1}
    assert said(run(counts=counts)) == ("Asked for by anna, ran 1 min, ended 30 s ago. Tasks: 2 succeeded, 1 failed.")
    assert said(run("succeeded", counts={"succeeded": 3}, tasks_total=3)).endswith("All 3 tasks succeeded.")
    assert "runs for 1 min 30 s, usually 10 min" in said(run("running"), usual_us=600 * S)
    assert said(run(scheduled_us=NOW - 3600 * S)).startswith("Slot ")
    waits = explanation(state="queued")
    assert "recorded 2 min ago" in said(run("queued"), waits)
    by = explanation(fact("cancelled", "cancelled by bob", by="bob"))
    assert "Cancelled by bob." in said(run("cancelled"), by)


# ---- Why


def failed_upload() -> tuple[list[TaskView], ExplanationView]:
    tasks = [
        task("check"),
        task("files", needs=["check"]),
        task("upload", "failed", needs=["files"], ended_us=NOW),
        task("prune", "upstream_failed", needs=["upload"]),
    ]
    facts = explanation(
        fact("task", "upload failed: exit code 11", "upload", at_us=NOW),
        *(fact("attempt", f"attempt {n} failed: exit code 11", "upload", depth=1) for n in (1, 2, 3)),
        fact("output", "Broken pipe", "upload", depth=2),
        fact("retries", "its retry allows 3 attempts: none is left", "upload", depth=1),
        fact("not_run", "did not run because of that: prune"),
        steps=(
            StepView(text="what it said, in whole", command="pyflowctl logs 7 upload"),
            StepView(text="do again what failed", command="pyflowctl rerun 7 --failed"),
        ),
    )
    return tasks, facts


def test_attempts_that_ended_alike_are_one_fact_and_the_log_is_linked() -> None:
    tasks, facts = failed_upload()
    said = Said(task="upload", text="No space left on device", number=18217, href="#L18217")
    told = why(run(), facts, tasks, TIMES, cause=tasks[2], said=said)
    assert [(each.name, each.text, each.code) for each in told.facts] == [
        ("upload", "failed: exit code 11", ""),
        ("", "Attempts 1 to 3 ended alike: exit code 11; its retry allows 3 attempts: none is left", ""),
        ("", "Its log says", "No space left on device"),
        ("", "Did not run because of that: prune", ""),
    ]
    assert told.facts[1].href == "/runs/7/log/upload?attempt=3"
    assert (told.facts[2].source, told.facts[2].href) == ("log 18,217", "#L18217")
    assert told.can[0].text == "Mend what upload needs, then rerun from it. check and files keep their results."
    assert [step.command for step in told.can[1:]] == ["pyflowctl rerun 7 --failed"]
    assert not told.folded


def test_without_an_error_line_the_last_line_of_the_log_is_told() -> None:
    tasks, facts = failed_upload()
    told = why(run(), facts, tasks, TIMES, cause=tasks[2])
    assert [(each.text, each.code) for each in told.facts][2] == ("It said last", "Broken pipe")


def test_attempts_that_ended_otherwise_are_told_apart() -> None:
    facts = explanation(
        fact("attempt", "attempt 1 failed: exit code 1", "a"),
        fact("attempt", "attempt 2 failed: its time ran out", "a"),
    )
    told = why(run(), facts, [], TIMES)
    assert [each.text for each in told.facts] == [
        "Attempt 1 failed: exit code 1", "Attempt 2 failed: its time ran out",
    ]  # fmt: skip


def test_a_rerun_keeps_what_does_not_come_after_the_cause() -> None:
    tasks, _ = failed_upload()
    assert keeps(tasks[2], tasks) == ["check", "files"]
    assert keeps(task("files[a]", "failed", of="files", item="a"), tasks) == ["check"]


@pytest.mark.parametrize(
    ("view", "tasks", "coming", "none", "text"),
    [
        (run("queued"), [], None, "", "It starts by itself as soon as what it waits for is over."),
        (run("running"), [], None, "", "It goes on to its end by its rules."),
        (run("running"), [task("a", "running", kind="approval")], None, "", "It waits on, holding nothing"),
        (run("running"), [task("a", "retrying", retry_us=NOW + 60 * S)], None, "", "a is tried again in 1 min."),
        (run(), [], NextView(workflow="n", trigger="t", scheduled_us=NOW + 3600 * S), "", "in 1 h. It starts from"),
        (run(), [], None, "paused", "Its schedules are paused: nothing starts by itself."),
        (run(), [], None, "unscheduled", "It has no schedule: nothing starts by itself."),
    ],
)
def test_what_happens_if_nobody_does_anything(
    view: RunView, tasks: list[TaskView], coming: NextView | None, none: str, text: str
) -> None:
    assert text in nothing(view, tasks, TIMES, coming, none)


def test_an_approval_that_answers_itself_says_when() -> None:
    given = {"run": 7, "workflow": "n", "message": "", "since_us": NOW}
    late = ApprovalView(task="late", due_us=NOW + 7200 * S, on_timeout="approve", **given)
    soon = ApprovalView(task="soon", due_us=NOW + 3600 * S, on_timeout="reject", **given)
    tasks = [task("soon", "running", kind="approval")]
    told = nothing(run("running"), tasks, TIMES, None, approvals=[late, soon])
    assert told == f"soon rejects itself {TIMES.text(NOW + 3600 * S)}, in 1 h."


def test_who_may_not_answer_is_not_told_to() -> None:
    tasks = [task("a", "running", kind="approval")]
    asked = ApprovalView(run=7, workflow="n", task="a", message="", since_us=NOW, refusal="only anna may answer")
    facts = ExplanationView(workflow="n", state="running", answer="")
    assert [step.text for step in why(run("running"), facts, tasks, TIMES, approvals=[asked]).can] == [
        "Ask somebody who may answer: you may not."
    ]


# ---- Since the last success


def test_what_differs_is_told_largest_first_and_three_at_most() -> None:
    before = [
        task("a", started_us=0, ended_us=2 * S, outputs={"bytes": "41200", "ok": True, "name": "x"}),
        task("b", started_us=0, ended_us=100 * S),
        task("c", started_us=0, ended_us=10 * S),
    ]
    now = [
        task("a", started_us=0, ended_us=2 * S, outputs={"bytes": "57900", "ok": False, "name": "y"}),
        task("b", started_us=0, ended_us=104 * S),
        task("c", started_us=0, ended_us=60 * S),
    ]
    assert changes(run(digest="1", params={"p": 1}), now, run("succeeded", digest="1", params={"p": 2}), before) == [
        "Same definition, other params (p: 2 → 1).",
        "c took 1 min, then 10 s.",
        "a.bytes went from 41,200 to 57,900 (+41 %).",
    ]
    assert changes(run(digest="1"), before, run("succeeded", digest="2"), before) == [
        "Another definition, same params. Nothing else stands out."
    ]


# ---- What can be done


def labels(view: RunView, tasks: list[TaskView], cause: TaskView | None = None) -> list[str]:
    return [each.label for each in actions(view, tasks, select(tasks, cause), cause)]


def test_actions_follow_the_state() -> None:
    tasks, _ = failed_upload()
    assert labels(run(), tasks, tasks[2]) == ["Rerun from upload", "Rerun what failed", "Rerun all…", "Seen"]
    assert labels(run(seen_us=1, seen_by="bob"), tasks, tasks[2])[-1] == "Not seen"
    assert labels(run("queued"), []) == ["Cancel run…"]
    going = [task("a", "running", started_us=1), task("b", "waiting")]
    assert labels(run("running", tasks_total=2), going) == ["Cancel a…", "Cancel run…"]
    assert labels(run("running", tasks_total=2, stopping="cancel"), going) == ["Kill now…"]
    assert labels(run("succeeded"), [task("a", ended_us=1)]) == ["Rerun from a", "Rerun all…"]


def test_what_is_destructive_is_never_the_main_button_and_each_action_has_its_command() -> None:
    tasks, _ = failed_upload()
    for view in (run(), run("queued"), run("running", tasks_total=2), run("succeeded"), run("cancelled")):
        for each in actions(view, tasks, select(tasks, tasks[2]), tasks[2]):
            assert each.command.startswith("pyflowctl ")
            if "cancel" in each.path:
                assert each.css == "danger"


def test_a_question_says_who_may_answer_and_what_happens_else() -> None:
    asked = ApprovalView(
        run=7, workflow="nightly", task="ship it", message="Deploy?", since_us=NOW - S, choices=["blue", "green"],
        allow=["group:ops"], forbid_requester=True, requested_by="anna", due_us=NOW + 60 * S, on_timeout="reject",
    )  # fmt: skip
    (told,) = questions(run("running"), [asked], TIMES)
    assert told.note == "May be answered by group:ops, but not by anna. Without an answer it rejects itself 12:07 CET."
    assert told.command == "pyflowctl approve 7 'ship it' --choose blue"
    assert questions(run("running", run=8), [asked], TIMES) == []


# ---- Facts and outputs


def test_facts_say_where_a_run_comes_from_and_what_it_used() -> None:
    view = run(
        parent=3, parent_task="call", params={"a": "x y", "n": [1]}, digest="9f3c1e7aabcd", scheduled_us=NOW - 160 * S
    )
    tasks = [task("a", max_rss_bytes=222_298_112, called_runs=[12], user="www")]
    told = shown(view, tasks, None, Selected(), None, TIMES)
    facts = {row.term: "".join(piece.text for piece in row.pieces) for row in told.facts}
    assert facts["Started by"] == "run 3, task call"
    assert facts["Slot"].endswith("fired 1 min late")
    assert facts["Params"] == "a=x yn=[1]"
    assert facts["Definition"] == "9f3c1e7a"
    assert facts["Called"] == "run 12"
    assert facts["Most memory"].startswith("a, 212")


def test_outputs_are_json_over_lines_and_huge_ones_are_cut() -> None:
    given = outputs(run("succeeded", outputs={"v": 1}), [task("a", outputs={"list": [1, 2], "big": "x" * 30_000})])
    assert [each.of for each in given] == ["", "a"]
    assert given[1].values[0].block
    assert (len(given[1].values[1].text), given[1].values[1].cut) == (20_000, 10_002)


# ---- Items


def test_items_are_told_failed_first_in_blocks_and_found_by_key() -> None:
    fan = task("f", "failed", items={"succeeded": 119, "failed": 1})
    tasks = [fan, *(task(f"f[h{n}]", of="f", item=f"h{n}", position=n) for n in range(119))]
    tasks.append(task("f[bad]", "failed", of="f", item="bad", position=119))
    first = items(fan, tasks, TIMES, lambda each: each.task)
    assert (first.rows[0].key, len(first.rows), first.pages) == ("bad", BLOCK, 3)
    assert len(items(fan, tasks, TIMES, lambda each: each.task, page=9).rows) == 20
    found = items(fan, tasks, TIMES, lambda each: each.task, find="H11")
    assert [row.key for row in found.rows] == [
        "h11",
        "h110",
        "h111",
        "h112",
        "h113",
        "h114",
        "h115",
        "h116",
        "h117",
        "h118",
    ]


# ---- Curves


def samples(*points: tuple[int, int, int]) -> SamplesView:
    return SamplesView(run=7, task="a", attempt=1, started_us=0, ended_us=None, points=list(points))


def test_curves_are_rates_and_sizes_with_the_line_of_95_percent() -> None:
    points = [(NOW + n * S, n * S // 2 + (S if n >= 99 else 0), (n + 1) << 20) for n in range(101)]
    drawn = curves(samples(*points), TIMES)
    assert drawn is not None
    assert (drawn.cpu.most, drawn.cpu.mark) == ("150 %", "50 %")
    assert drawn.memory.most == "101 MiB"
    assert drawn.memory.line.startswith("M0.0 ")
    assert drawn.memory.line.endswith("1000.0 4.0")


def test_too_few_figures_are_no_curve() -> None:
    assert curves(samples((0, 0, 0), (S, S, 5)), TIMES) is None
    assert curves(samples((0, 0, 0), (0, 0, 0), (0, 0, 0)), TIMES) is None


def test_a_peak_is_never_thinned_away() -> None:
    values = [(n, 1.0) for n in range(5000)]
    values[3333] = (3333, 9.0)
    assert (3333, 9.0) in thinned(values)
    assert len(thinned(values)) <= 400
    assert percentile([1, 2, 3, 4], 50) == 2
