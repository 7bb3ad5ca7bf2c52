"""Explanations from facts: what the answer is, what stands in the chain, what comes next."""

from __future__ import annotations

from msgspec.structs import replace

from pyflowd.handlers.explain import SCREEN_FACTS, Code, on_a_screen
from pyflowd.handlers.explain_run import Obstacle, Part, Standing, Tried, explain_run, reason_text, root, run_text
from pyflowd.handlers.explain_slot import SlotQuestion, SlotStanding, explain_slot, slot_text
from pyflowd.handlers.explain_task import Need, TaskStanding, explain_task
from pyflowd.handlers.explain_workflow import TriggerStanding, WorkflowStanding, explain_workflow
from pyflowd.model.problem import Problem
from pyflowd.model.states import AttemptState, Fate, Reason, SlotReason
from pyflowd.model.workflow import TriggerRule
from pyflowd.protocol.views_runs import ExplanationView, FactView, RunView, StepView, TaskView
from pyflowd.protocol.views_workflows import NextView, SlotView

T = 1_772_482_000_000_000


def run(number: int, workflow: str = "a", state: str = "running", **more: object) -> RunView:
    base = RunView(run=number, workflow=workflow, state=state, created_us=T, started_us=T, trigger="manual")
    return replace(base, requested_by="anna", **more)


def task(name: str, state: str = "running", **more: object) -> TaskView:
    return replace(TaskView(task=name, state=state), **more)


def told(view: ExplanationView) -> list[tuple[int, str, str]]:
    return [(fact.depth, fact.code, fact.text) for fact in view.facts]


def codes(view: ExplanationView) -> list[str]:
    return [fact.code for fact in view.facts]


ANSWER = StepView(text="somebody answers", command="pyflowctl approve 1 ask")
ASKS = Standing(
    view=run(1, "b"),
    live=(
        Part(
            view=task("ask"),
            obstacles=(Obstacle(code=Code.APPROVAL, text="waits for an answer", at_us=T + 5, step=ANSWER),),
        ),
    ),
    live_total=1,
)
PLACES = StepView(text="who holds places", command="pyflowctl places")
LOCKED = Standing(
    view=run(2, state="queued"),
    obstacles=(Obstacle(code=Code.PLACE, text="waits for lock x, held by run 1 (b)", step=PLACES, behind=(ASKS,)),),
)


# ---- Runs -----------------------------------------------------------------------------------------------------------


def test_the_chain_goes_down_to_the_root() -> None:
    view = explain_run(LOCKED, [])
    assert told(view)[:3] == [
        (0, "place", "run 2 of a waits for lock x, held by run 1 (b)"),
        (1, "run", "run 1 of b is running"),
        (2, "approval", "ask waits for an answer"),
    ]


def test_the_answer_names_the_nearest_obstacle_and_the_root() -> None:
    view = explain_run(LOCKED, [])
    assert view.answer == (
        "run 2 of a is queued: it waits for lock x, held by run 1 (b); "
        "at the root of it ask of run 1 waits for an answer"
    )
    assert view.answer_us == T + 5


def test_what_ends_the_root_comes_first_among_the_next_steps() -> None:
    assert explain_run(LOCKED, []).next == [ANSWER, PLACES]


def test_the_root_of_a_run_that_nothing_keeps_is_nothing() -> None:
    assert root(Standing(view=run(1))) is None


def test_what_is_wrong_with_the_host_comes_first_for_a_live_run_only() -> None:
    host = [FactView(code=Code.HOST, text="keeper: gone")]
    assert codes(explain_run(LOCKED, host))[0] == "host"
    assert "host" not in codes(explain_run(Standing(view=run(1, state="succeeded", ended_us=T)), host))


def test_a_failed_run_tells_the_task_its_attempts_its_output_and_what_did_not_run() -> None:
    tried = Tried(
        number=2, state=AttemptState.FAILED, reason="exit_code", exit_code=7, started_us=T, ended_us=T + 1,
        said=("no space",),
    )  # fmt: skip
    bad = Part(
        view=task("dump", "failed", reason="exit_code", exit_code=7, ended_us=T + 1), tried=(tried,),
        retries="none is left",
    )  # fmt: skip
    failed = run(3, state="failed", reason="task_failed", error="dump: exit code 7", ended_us=T + 9)
    view = explain_run(Standing(view=failed, bad=(bad,), not_run=("ship", "mail")), [])
    assert told(view) == [
        (0, "task", "dump failed: exit code 7"),
        (1, "attempt", "attempt 2 failed: exit code 7"),
        (2, "output", "no space"),
        (1, "retries", "none is left"),
        (0, "not_run", "did not run because of that: ship, mail"),
        (0, "requested", "it was asked for by anna"),
    ]
    assert (view.answer, view.answer_us) == ("run 3 of a failed: dump: exit code 7", T + 9)
    assert [step.command for step in view.next] == ["pyflowctl logs 3 dump", "pyflowctl rerun 3 --failed"]


def test_a_cancelled_run_tells_by_whom() -> None:
    view = explain_run(
        Standing(view=run(3, state="cancelled", reason="cancelled"), cancelled_by="ben", cancelled_us=T), []
    )
    assert view.answer == "run 3 of a was cancelled by ben"
    assert (view.facts[0].code, view.facts[0].by) == ("cancelled", "ben")


def test_a_run_that_was_replaced_says_so() -> None:
    assert run_text(run(3, state="cancelled", reason=Reason.REPLACED)) == (
        "was cancelled: a newer run replaced it (overlap)"
    )


def test_who_asked_for_a_run_is_told_for_each_sort_of_start() -> None:
    said = [
        explain_run(Standing(view=view), []).facts[-1].text
        for view in (
            run(1, trigger="manual"),
            run(1, trigger="nightly", scheduled_us=T),
            run(1, trigger="rerun", rerun_of=7),
            run(1, trigger="workflow", parent=8, parent_task="c"),
            run(1, trigger="nightly", scheduled_us=T, backfill=4),
        )
    ]
    assert said == [
        "it was asked for by anna",
        "its trigger nightly fired",
        "it repeats run 7, asked for by anna",
        "it was called by task c of run 8",
        "it was recorded by backfill 4, asked for by anna",
    ]


# ---- Tasks ----------------------------------------------------------------------------------------------------------


def test_a_task_that_did_not_run_names_the_task_at_the_root() -> None:
    failed = Part(view=task("dump", "failed", reason="exit_code", exit_code=7))
    between = Part(view=task("ship", "upstream_failed", reason="upstream_failed"))
    standing = TaskStanding(
        run=run(1, state="failed"), part=Part(view=task("mail", "upstream_failed", reason="upstream_failed")),
        needs=(Need(part=between, needs=(Need(part=failed),)),),
    )  # fmt: skip
    view = explain_task(standing, [])
    assert view.answer == "mail of run 1 of a did not run: dump, which it needs, failed: exit code 7"
    assert [depth for depth, code, _ in told(view) if code == "dependency"] == [0, 1]


def test_a_task_that_waits_names_what_is_open_and_what_that_waits_for() -> None:
    behind = Part(view=task("ask"), obstacles=(Obstacle(code=Code.APPROVAL, text="waits for an answer", step=ANSWER),))
    done = Part(view=task("build", "succeeded"))
    standing = TaskStanding(
        run=run(1), part=Part(view=task("ship", "waiting")), rule=TriggerRule.ALL_SUCCESS,
        needs=(Need(part=behind), Need(part=done)), needs_total=2, needs_open=1,
    )  # fmt: skip
    view = explain_task(standing, [])
    assert view.answer == "ship of run 1 of a waits for ask"
    assert codes(view) == ["rule", "dependency", "approval", "dependency"]
    assert view.next == [ANSWER]


def test_a_condition_is_told_with_its_values() -> None:
    part = Part(view=task("b", "skipped", reason="condition_false", values={"params.full": False}))
    view = explain_task(TaskStanding(run=run(1), part=part, condition="params.full"), [])
    assert view.answer == "b of run 1 of a was skipped: its condition is false: params.full is false"
    assert view.next[0].text == "it runs in a run in which its condition holds: params.full"


# ---- Slots ----------------------------------------------------------------------------------------------------------


def slot(reason: str | None, **more: object) -> SlotView:
    fate = Fate.FIRED if reason is None else Fate.SKIPPED
    base = SlotView(workflow="a", trigger="nightly", scheduled_us=T, fate=fate, reason=reason)
    return replace(base, **more)


def test_a_skipped_slot_says_why_with_its_detail_and_what_would_help() -> None:
    standing = SlotStanding(view=slot(SlotReason.BLACKOUT, detail="blackout freeze"))
    view = explain_slot(SlotQuestion(workflow="a", at_us=T, now_us=T, slots=(standing,)), [])
    assert view.state == "skipped"
    assert "it falls into a blackout, in which nothing is to start (blackout freeze)" in view.answer
    assert view.next


def test_a_slot_skipped_for_overlap_tells_how_that_run_stands() -> None:
    standing = SlotStanding(view=slot(SlotReason.OVERLAP, run=1), behind=ASKS)
    view = explain_slot(SlotQuestion(workflow="a", at_us=T, now_us=T, slots=(standing,)), [])
    assert codes(view)[:3] == ["slot_skipped", "run", "approval"]
    assert ANSWER in view.next


def test_a_reason_of_a_newer_version_is_no_error() -> None:
    assert "for a reason that this version has no words for" in slot_text(slot("of_the_future"))


def test_of_several_slots_at_a_time_the_skipped_one_is_the_answer() -> None:
    slots = (SlotStanding(view=slot(None, run=1, trigger="x")), SlotStanding(view=slot(SlotReason.PAUSED)))
    view = explain_slot(SlotQuestion(workflow="a", at_us=T, now_us=T, slots=slots), [])
    assert (view.trigger, view.state) == ("nightly", "skipped")
    assert codes(view) == ["slot_skipped", "slot_fired"]


def test_a_slot_to_come_tells_what_would_keep_it_from_firing() -> None:
    coming = (NextView(workflow="a", trigger="nightly", scheduled_us=T + 9, timezone="UTC"),)
    paused = FactView(code=Code.PAUSED, text="paused")
    view = explain_slot(
        SlotQuestion(workflow="a", at_us=T + 9, now_us=T, coming=coming, hindrances=(paused,), triggers=1), []
    )
    assert view.state == "coming"
    assert view.answer.endswith("has not come yet, and as things stand it would not fire")


def test_a_time_that_is_no_slot_names_the_nearest_ones() -> None:
    question = SlotQuestion(
        workflow="a", at_us=T, now_us=T + 1, before=slot(None, run=1), triggers=1,
        after=NextView(workflow="a", trigger="nightly", scheduled_us=T + 9),
    )  # fmt: skip
    view = explain_slot(question, [])
    assert (view.state, view.answer) == ("none", "a: there was no slot at this time")
    assert [fact.at_us for fact in view.facts] == [T, T + 9]


# ---- Workflows ------------------------------------------------------------------------------------------------------


NIGHTLY = TriggerStanding(name="nightly", text="30 2 * * *", next_us=T + 99)
ACTIVE = WorkflowStanding(
    workflow="a", state="active", file="a.yaml", digest="ab" * 32, since_us=T - 9, triggers=(NIGHTLY,)
)


def test_a_paused_workflow_says_by_whom_since_when_and_what_would_happen_at_its_slot() -> None:
    view = explain_workflow(replace(ACTIVE, state="paused", paused_by="anna", paused_us=T), [])
    assert (view.answer, view.answer_us) == ("a is paused by anna: its slots are skipped", T)
    assert (view.facts[0].code, view.facts[0].by, view.facts[0].at_us) == ("paused", "anna", T)
    assert view.facts[1].text.endswith("its next slot will be skipped")
    assert [step.command for step in view.next] == ["pyflowctl resume a"]


def test_the_newest_skipped_slot_is_always_told() -> None:
    skipped = SlotStanding(view=slot(SlotReason.DOWN, scheduled_us=T - 500))
    view = explain_workflow(replace(ACTIVE, newest=SlotStanding(view=slot(None, run=3)), skipped=skipped), [])
    assert [fact.at_us for fact in view.facts if fact.code == "slot_skipped"] == [T - 500]


def test_a_workflow_whose_newest_slot_was_skipped_did_not_run() -> None:
    missed = SlotStanding(view=slot(SlotReason.DOWN))
    view = explain_workflow(replace(ACTIVE, newest=missed, skipped=missed), [])
    assert view.answer == "a did not run: the slot of its trigger nightly was skipped: pyflowd was not running"
    assert codes(view).count("slot_skipped") == 1
    assert view.next[0].at_us == T + 99


def test_a_stale_workflow_names_the_problem_of_its_newest_text() -> None:
    problem = Problem(file="a.yaml", line=4, column=2, code="key", message="no key rum", fix="write run")
    stale = replace(ACTIVE, state="stale", problems=(problem,), refused_us=T, path="/w/a.yaml")
    view = explain_workflow(stale, [])
    assert codes(view)[:2] == ["stale", "stale"]
    assert (view.facts[0].at_us, view.facts[1].depth) == (T, 1)
    assert view.next[0] == StepView(text="write run", command="pyflowctl lint /w/a.yaml")


def test_what_is_wrong_with_the_mode_of_a_file_is_not_for_lint() -> None:
    problem = Problem(file="a.yaml", code="unsafe", message="its group can write it", fix="chmod g-w a.yaml")
    stale = replace(ACTIVE, state="stale", problems=(problem,), refused_us=T, path="/w/a.yaml")
    step = explain_workflow(stale, []).next[0]
    assert step == StepView(text="chmod g-w a.yaml", command="pyflowctl reload")


def test_that_a_task_could_not_start_is_said_once() -> None:
    assert reason_text("start_failed", "could not start: no user x", None, None) == "could not start: no user x"
    assert reason_text("start_failed", "", None, None) == "it could not be started"


def test_a_workflow_without_a_trigger_says_so() -> None:
    view = explain_workflow(replace(ACTIVE, triggers=()), [])
    assert view.answer.startswith("a has no trigger")
    assert "unscheduled" in codes(view)


def test_a_disabled_workflow_says_so() -> None:
    view = explain_workflow(replace(ACTIVE, triggers=(replace(NIGHTLY, enabled=False),)), [])
    assert view.answer == "a does not start by itself: all its triggers are disabled"
    assert "disabled" in codes(view)


def test_what_keeps_an_earlier_slot_from_firing_stands_below_its_trigger() -> None:
    view = explain_workflow(
        replace(ACTIVE, triggers=(replace(NIGHTLY, barred="calendar holidays", barred_us=T + 5),)), []
    )
    assert (1, "barred", "an earlier one will not fire: calendar holidays") in told(view)


def test_while_a_run_is_live_its_slot_would_be_skipped() -> None:
    view = explain_workflow(replace(ACTIVE, last=ASKS, live_runs=1, skips=True), [])
    assert view.facts[0].text.endswith("its next slot, which is skipped if a run is live then")
    assert view.answer == "run 1 of b is running: ask waits for an answer"


def test_no_slot_ever_comes_again() -> None:
    view = explain_workflow(replace(ACTIVE, triggers=(replace(NIGHTLY, next_us=None),)), [])
    assert view.answer == "a does not run again: no slot of its schedules comes any more"


# ---- A screen -------------------------------------------------------------------------------------------------------


def test_what_is_deepest_is_left_out_first_and_the_number_is_told() -> None:
    facts = [FactView(code="task", text=str(n), depth=n % 3) for n in range(15)]
    view = on_a_screen(ExplanationView(workflow="a", state="failed", answer="", facts=facts))
    assert len(view.facts) + view.left_out == 15
    assert len(view.facts) < SCREEN_FACTS
    assert max(fact.depth for fact in view.facts) == 1
    assert [int(fact.text) for fact in view.facts] == sorted(int(fact.text) for fact in view.facts)


def test_of_what_was_said_the_last_lines_stay() -> None:
    facts = [FactView(code=Code.OUTPUT, text=str(n), depth=2) for n in range(15)]
    view = on_a_screen(ExplanationView(workflow="a", state="failed", answer="", facts=facts))
    assert [fact.text for fact in view.facts] == [str(n) for n in range(view.left_out, 15)]


def test_what_fits_a_screen_stays_whole() -> None:
    facts = [FactView(code="task", text=str(n)) for n in range(SCREEN_FACTS + 1)]
    view = ExplanationView(workflow="a", state="failed", answer="", facts=facts)
    assert on_a_screen(view) is view
