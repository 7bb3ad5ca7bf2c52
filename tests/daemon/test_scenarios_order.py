"""Scenarios of the corpus: which task runs when, and what the others make of its end. A real daemon."""

from __future__ import annotations

import psutil
import pytest

from tests.daemon.instance import Instance
from tests.daemon.scenario import Scenario, in_order, states
from tests.waiting import wait_until

UPDOWN = """
    tasks:
      a: {run: echo a >> trace}
      b: {needs: a, run: echo b >> trace}
      c: {needs: a, run: echo c >> trace}
      d: {needs: [b, c], run: echo d >> trace}
      e: {needs: c, run: echo e >> trace}
"""


@pytest.mark.scenario("argo-diamond", "wcp03")
def test_both_sides_of_a_diamond_run_at_once_and_the_join_once_after_the_later(scenario: Scenario) -> None:
    run = scenario.run("""
        tasks:
          a: {run: echo a >> trace}
          b: {needs: a, run: touch b; ./await c; echo b >> trace}
          c: {needs: a, run: touch c; ./await b; echo c >> trace}
          d: {needs: [b, c], run: echo d >> trace}
    """)
    assert states(run) == dict.fromkeys("abcd", "succeeded")
    assert in_order(scenario.trace, "a", {"b", "c"}, "d")
    begins = {name: task["started_at"] for name, task in run["tasks"].items()}
    assert begins["d"] >= max(run["tasks"]["b"]["ended_at"], run["tasks"]["c"]["ended_at"])


@pytest.mark.scenario("argo-targets")
def test_asked_for_one_task_it_and_what_it_needs_run_and_nothing_else(scenario: Scenario) -> None:
    run = scenario.run(UPDOWN, "--only", "e")
    assert scenario.trace == ["a", "c", "e"]
    assert run["state"] == "succeeded"
    assert {name: run["tasks"][name]["state"] for name in "bd"} == {"b": "skipped", "d": "skipped"}
    assert run["tasks"]["b"]["reason"] == "not_asked"


@pytest.mark.scenario("argo-targets")
def test_asked_for_two_tasks_all_that_they_need_runs(scenario: Scenario) -> None:
    scenario.run(UPDOWN, "--only", "d", "--only", "e")
    assert sorted(scenario.trace) == list("abcde")


@pytest.mark.scenario("argo-targets")
def test_an_unknown_task_that_is_asked_for_is_refused_before_anything_runs(scenario: Scenario) -> None:
    done = scenario.instance.ctl("run", scenario.file(UPDOWN), "--only", "f", "--wait")
    assert done.returncode in (2, 3, 6)
    assert '"f"' in done.stderr
    assert done.stderr.count("\n") == 1
    assert scenario.trace == []


@pytest.mark.scenario("task-once")
def test_what_two_asked_tasks_need_runs_once(scenario: Scenario) -> None:
    scenario.run(
        """
        tasks:
          prepare: {run: echo prepare >> trace}
          x: {needs: prepare, run: echo x >> trace}
          y: {needs: prepare, run: echo y >> trace}
          z: {needs: prepare, run: echo z >> trace}
        """,
        "--only", "x", "--only", "y",
    )  # fmt: skip
    assert in_order(scenario.trace, "prepare", {"x", "y"})


@pytest.mark.scenario("argo-failfast-off")
def test_a_failure_leaves_the_other_branch_alone_and_the_run_names_it(scenario: Scenario) -> None:
    """The branch of `b` goes on: it ends only when the last attempt of `c` has begun."""
    run = scenario.run("""
        tasks:
          a: {run: "true"}
          b: {needs: a, run: ./await four}
          c:
            needs: a
            run: |
              [ $PYFLOW_ATTEMPT -lt 4 ] || touch four
              exit 2
            retry: {attempts: 4, delay: 5ms}
          d: {needs: b, run: echo d >> trace}
          e: {needs: d, run: echo e >> trace}
    """)
    assert scenario.trace == ["d", "e"]
    assert (run["tasks"]["c"]["attempts"], run["tasks"]["c"]["exit_code"]) == (4, 2)
    assert (run["state"], run["error"]) == ("failed", "c: exit code 2")


BRANCH = """
    params: {fail: {type: boolean, default: false}}
    tasks:
      branch: {run: pyflow-out set pick=a}
      a: {needs: branch, if: tasks.branch.outputs.pick == 'a', run: '! $PARAM_FAIL'}
      b: {needs: branch, if: tasks.branch.outputs.pick == 'b', run: "true"}
      c: {needs: branch, if: tasks.branch.outputs.pick == 'c', run: "true"}
      success: {needs: [a, b, c], trigger_rule: all_success, run: "true"}
      ok: {needs: [a, b, c], trigger_rule: all_ok, run: "true"}
      done: {needs: [a, b, c], trigger_rule: all_done, run: "true"}
      bad: {needs: [a, b, c], trigger_rule: any_failed, run: "true"}
"""
JOINS = ("success", "ok", "done", "bad")


@pytest.mark.scenario("airflow-trigger-rules")
def test_each_trigger_rule_after_a_choice_that_went_well(scenario: Scenario) -> None:
    found = states(scenario.run(BRANCH))
    assert [found[name] for name in "abc"] == ["succeeded", "skipped", "skipped"]
    assert [found[name] for name in JOINS] == ["skipped", "succeeded", "succeeded", "skipped"]


@pytest.mark.scenario("airflow-trigger-rules")
def test_each_trigger_rule_after_a_choice_that_failed(scenario: Scenario) -> None:
    found = states(scenario.run(BRANCH, "-p", "fail=true"))
    assert [found[name] for name in JOINS] == ["upstream_failed", "upstream_failed", "succeeded", "succeeded"]


@pytest.mark.scenario("kestra-dag-bad")
def test_a_cycle_is_refused_and_written_out(scenario: Scenario) -> None:
    line = scenario.refused("""
        tasks:
          one: {needs: two, run: echo one >> trace}
          two: {needs: one, run: echo two >> trace}
    """)
    assert "one" in line
    assert "two" in line
    assert "cycle" in line
    assert line.count("\n") == 1


@pytest.mark.scenario("kestra-dag-bad")
def test_a_need_that_does_not_exist_is_refused_with_its_name_and_that_of_the_task(scenario: Scenario) -> None:
    line = scenario.refused("tasks: {one: {needs: zero, run: echo one >> trace}}")
    assert "zero" in line
    assert "one" in line


@pytest.mark.scenario("gha-always")
def test_after_a_failed_build_nothing_is_deployed_but_cleaned_up_and_reported(scenario: Scenario) -> None:
    run = scenario.run("""
        tasks:
          build: {run: exit 1}
          deploy: {needs: build, run: echo deploy >> trace}
          cleanup: {needs: deploy, trigger_rule: always, run: echo cleanup >> trace}
          report: {needs: [build, deploy], trigger_rule: any_failed, run: echo report >> trace}
    """)
    assert run["state"] == "failed"
    assert states(run)["deploy"] == "upstream_failed"
    assert in_order(scenario.trace, {"cleanup", "report"})


@pytest.mark.scenario("gha-continue-on-error")
def test_a_task_that_may_fail_is_shown_as_failed_in_a_run_that_succeeded(scenario: Scenario) -> None:
    run = scenario.run("""
        tasks:
          lint: {run: exit 1, continue_on_error: true}
          test: {needs: lint, run: echo test >> trace}
    """)
    assert (run["state"], states(run)) == ("succeeded", {"lint": "failed", "test": "succeeded"})
    assert run["tasks"]["lint"]["allowed"]
    assert scenario.trace == ["test"]


GROUP = """
    tasks:
      a: {run: echo a >> trace}
      ko: {needs: a, run: echo ko >> trace; exit 1}
      c: {needs: ko, run: echo c >> trace}
"""
ALLOWING = """
    params: {crash: {type: boolean, default: false}}
    tasks:
      group:
        workflow: allowed-group
        continue_on_error: true
        on_error:
          local: {run: echo local >> trace}
      todo: {needs: group, run: echo todo >> trace}
      crash: {needs: todo, if: params.crash, run: exit 1}
      last: {needs: todo, if: not params.crash, run: echo last >> trace}
    on_failure:
      global: {run: 'echo "global $FAILED" >> trace', env: {FAILED: "${{ join(run.failed_tasks, ',') }}"}}
"""


@pytest.mark.scenario("kestra-allow-failure")
def test_a_group_that_may_fail_has_a_handler_of_its_own_and_the_run_goes_on(scenario: Scenario) -> None:
    scenario.install("allowed-group", GROUP)
    run = scenario.run(ALLOWING)
    assert scenario.trace == ["a", "ko", "local", "todo", "last"]
    assert (run["state"], states(run)["group"], run["tasks"]["group"]["allowed"]) == ("succeeded", "failed", True)


@pytest.mark.scenario("kestra-allow-failure")
def test_the_handler_of_the_whole_runs_once_where_something_else_fails(scenario: Scenario) -> None:
    scenario.install("allowed-group", GROUP)
    run = scenario.run(ALLOWING, "-p", "crash=true")
    assert scenario.trace[:4] == ["a", "ko", "local", "todo"]
    assert scenario.trace[4:] == ["global group,crash"]
    assert run["state"] == "failed"


@pytest.mark.scenario("argo-hooks")
def test_hooks_run_when_a_step_runs_and_when_it_has_succeeded(scenario: Scenario) -> None:
    """A hook on `running` is a task that waits for the step's first attempt: each step ends only after its hook."""
    scenario.run("""
        tasks:
          step1: {run: ./await running1}
          runs1: {wait: {condition: tasks.step1.attempts > 0}}
          hook1: {needs: runs1, run: echo "running(1)" >> trace; touch running1}
          done1: {needs: [step1, hook1], run: echo "success(1)" >> trace}
          step2: {needs: done1, run: ./await running2}
          runs2: {wait: {condition: tasks.step2.attempts > 0}}
          hook2: {needs: runs2, run: echo "running(2)" >> trace; touch running2}
          done2: {needs: [step2, hook2], run: echo "success(2)" >> trace}
    """)
    assert scenario.trace == ["running(1)", "success(1)", "running(2)", "success(2)"]


TOSSED = """
    params:
      a: {enum: [heads, tails]}
      b: {enum: [heads, tails]}
    tasks:
      first: {run: pyflow-out set side="$PARAM_A"}
      second: {run: pyflow-out set side="$PARAM_B"}
      x:
        needs: [first, second]
        if: >-
          (tasks.first.outputs.side == 'heads' and tasks.second.outputs.side == 'tails')
          or (tasks.first.outputs.side == 'tails' and tasks.second.outputs.side == 'heads')
        run: echo x >> trace
      y: {needs: [first, second], if: tasks.first.outputs.side == tasks.second.outputs.side, run: echo y >> trace}
"""


@pytest.mark.scenario("argo-conditionals-complex")
@pytest.mark.parametrize("first", ["heads", "tails"])
@pytest.mark.parametrize("second", ["heads", "tails"])
def test_of_two_conditions_that_exclude_each_other_exactly_one_holds(
    scenario: Scenario, first: str, second: str
) -> None:
    run = scenario.run(TOSSED, "-p", f"a={first}", "-p", f"b={second}")
    chosen, other = ("y", "x") if first == second else ("x", "y")
    assert scenario.trace == [chosen]
    assert (states(run)[other], run["tasks"][other]["reason"]) == ("skipped", "condition_false")


@pytest.mark.scenario("argo-skipped-default")
def test_the_output_of_a_skipped_task_has_the_default_that_its_reader_gives(scenario: Scenario) -> None:
    scenario.run("""
        tasks:
          producer: {if: 1 > 2, run: pyflow-out set colour=red}
          consumer:
            needs: producer
            trigger_rule: none_failed
            env: {COLOUR: "${{ default(tasks.producer.outputs.colour, 'blue') }}"}
            run: echo "$COLOUR" >> trace
    """)
    assert scenario.trace == ["blue"]


@pytest.mark.scenario("argo-skipped-default")
def test_reading_the_output_of_a_skipped_task_without_a_default_fails_and_names_both(scenario: Scenario) -> None:
    run = scenario.run("""
        tasks:
          producer: {if: 1 > 2, run: pyflow-out set colour=red}
          consumer:
            needs: producer
            trigger_rule: none_failed
            env: {COLOUR: "${{ tasks.producer.outputs.colour }}"}
            run: echo "$COLOUR" >> trace
    """)
    consumer = run["tasks"]["consumer"]
    assert (consumer["state"], consumer["reason"]) == ("failed", "expression_error")
    assert "producer" in consumer["error"]
    assert "colour" in consumer["error"]
    assert not scenario.trace


# ---- Control-flow patterns ------------------------------------------------------------------------------------------


@pytest.mark.scenario("wcp01")
def test_a_sequence_goes_on_after_success(scenario: Scenario) -> None:
    scenario.run("tasks: {a: {run: echo a >> trace}, b: {needs: a, run: echo b >> trace}}")
    assert scenario.trace == ["a", "b"]


@pytest.mark.scenario("wcp01")
def test_a_sequence_ends_with_a_failure(scenario: Scenario) -> None:
    run = scenario.run("tasks: {a: {run: echo a >> trace; exit 1}, b: {needs: a, run: echo b >> trace}}")
    assert scenario.trace == ["a"]
    assert states(run) == {"a": "failed", "b": "upstream_failed"}


@pytest.mark.scenario("wcp05")
def test_a_merge_runs_once_after_the_branch_that_was_chosen(scenario: Scenario) -> None:
    run = scenario.run("""
        tasks:
          b: {if: 1 == 1, run: echo b >> trace}
          c: {if: 1 == 2, run: echo c >> trace}
          d: {needs: [b, c], run: echo d >> trace}
    """)
    assert scenario.trace == ["b", "d"]
    assert states(run)["c"] == "skipped"


CHOSEN = """
    params: {of: {type: array, items: string}}
    tasks:
      b: {if: "'b' in params.of", run: echo b >> trace}
      c: {if: "'c' in params.of", run: echo c >> trace}
      d: {if: "'d' in params.of", run: echo d >> trace}
      e: {needs: [b, c, d], run: echo e >> trace}
"""


@pytest.mark.scenario("wcp07")
def test_a_merge_runs_once_after_the_last_of_the_branches_that_were_chosen(scenario: Scenario) -> None:
    scenario.run(CHOSEN, "-p", 'of=["b","d"]')
    assert in_order(scenario.trace, {"b", "d"}, "e")


@pytest.mark.scenario("wcp07")
def test_a_merge_of_branches_none_of_which_was_chosen_is_skipped(scenario: Scenario) -> None:
    """Rule J1: if all its needs were skipped, a task is skipped; `trigger_rule: none_failed` runs it all the same."""
    run = scenario.run(CHOSEN, "-p", "of=[]")
    assert (states(run)["e"], run["state"]) == ("skipped", "succeeded")


@pytest.mark.scenario("wcp09")
def test_what_waits_for_the_first_of_two_runs_once_while_the_slower_goes_on(scenario: Scenario) -> None:
    """A join asks once, when all needs have ended (rule J2); the first of several is what a `wait` is for.

    The slower ends only when `d` has run; a second round, in the same run, does the same.
    """
    scenario.install("first-of-two", """
        params: {round: {type: integer}}
        tasks:
          b: {run: 'echo "b" >> trace'}
          c: {run: './await d$PARAM_ROUND; echo "c" >> trace'}
          first: {wait: {condition: tasks.b.state == 'succeeded' or tasks.c.state == 'succeeded'}}
          d: {needs: first, run: 'echo "d" >> trace; touch d$PARAM_ROUND'}
    """)  # fmt: skip
    run = scenario.run("""
        tasks:
          rounds: {for_each: [1, 2], max_parallel: 1, workflow: first-of-two, with: {round: "${{ item }}"}}
    """)
    assert run["state"] == "succeeded"
    assert scenario.trace == ["b", "d", "c"] * 2


@pytest.mark.scenario("wcp11")
def test_a_run_ends_when_the_last_of_its_branches_has_ended(scenario: Scenario) -> None:
    run = scenario.start("""
        tasks:
          a: {run: "true"}
          b: {run: "true"}
          c: {run: ./await go}
    """)
    scenario.instance.wait_task(run, "a", "succeeded")
    scenario.instance.wait_task(run, "b", "succeeded")
    assert scenario.instance.status(run)["state"] == "running"
    scenario.path("go").touch()
    ended = scenario.instance.wait_run(run)
    assert ended["state"] == "succeeded"
    assert ended["ended_at"] >= ended["tasks"]["c"]["ended_at"]


@pytest.mark.scenario("wcp17")
def test_tasks_in_any_order_but_never_two_at_once(scenario: Scenario) -> None:
    scenario.run("""
        max_parallel: 1
        tasks:
          a: {run: ./alone a}
          b: {run: ./alone b}
          c: {run: ./alone c}
          d: {needs: [a, b, c], run: ./alone d}
    """)
    assert in_order(scenario.trace, {"a", "b", "c"}, "d")


@pytest.mark.scenario("wcp19")
def test_one_running_task_is_withdrawn_and_the_others_end_as_usual(scenario: Scenario) -> None:
    instance: Instance = scenario.instance
    run = scenario.start("""
        tasks:
          a: {run: ./await go; echo a >> trace}
          b: {run: echo $$ > pid; exec sleep 60}
          c: {run: ./await go; echo c >> trace}
          after-b: {needs: b, run: echo after-b >> trace}
          all: {needs: [a, b, c], trigger_rule: all_done, run: echo all >> trace}
    """)
    pid = int(wait_until(lambda: scenario.path("pid").exists() and scenario.path("pid").read_text(), "b runs"))
    assert instance.ctl("cancel", run, "b").returncode == 0
    instance.wait_task(run, "b", "cancelled")
    scenario.path("go").touch()
    ended = instance.wait_run(run)
    assert states(ended) == {
        "a": "succeeded", "b": "cancelled", "c": "succeeded", "after-b": "upstream_failed", "all": "succeeded",
    }  # fmt: skip
    assert in_order(scenario.trace, {"a", "c"}, "all")
    assert ended["state"] == "failed"
    assert not is_alive(pid)


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
