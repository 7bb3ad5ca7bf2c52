"""Scenarios of the corpus: fan-out, loops, and workflows that are called. A real daemon."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.daemon.scenario import Scenario, in_order, items, states

# ---- Lists ----------------------------------------------------------------------------------------------------------


@pytest.mark.scenario("argo-items")
def test_results_stand_in_the_order_of_the_list_whatever_ends_first(scenario: Scenario) -> None:
    """The first ends only when the second has."""
    run = scenario.run("""
        tasks:
          say:
            for_each: [hello world, goodbye world]
            env: {TEXT: "${{ item }}", FIRST: "${{ 'yes' if index == 0 else 'no' }}"}
            run: |
              if [ $FIRST = yes ]; then ./await other; fi
              echo "$TEXT" >> trace
              touch other
              pyflow-out set said="$TEXT"
        outputs: {said: "${{ pick(tasks.say.results, 'outputs.said') }}"}
    """)
    assert scenario.trace == ["goodbye world", "hello world"]
    assert run["outputs"] == {"said": ["hello world", "goodbye world"]}
    assert items(run, "say") == {"hello world": "succeeded", "goodbye world": "succeeded"}


OF_OUTPUT = """
    params: {printed: {}}
    tasks:
      list: {run: 'printf %s "$PARAM_PRINTED"', capture: json, outputs: {result: array}}
      each:
        needs: list
        for_each: ${{ tasks.list.outputs.result }}
        on_empty: succeed
        max_parallel: 1
        env: {N: "${{ item }}"}
        run: echo $N >> trace
      after: {needs: each, run: echo after >> trace}
"""


@pytest.mark.scenario("argo-items-result")
def test_a_list_that_a_task_printed_is_fanned_out_in_its_order(scenario: Scenario) -> None:
    run = scenario.run(OF_OUTPUT, "-p", f"printed={list(range(20, 31))}")
    assert scenario.trace == [*map(str, range(20, 31)), "after"]
    assert len(run["tasks"]["each"]["items"]) == 11


@pytest.mark.scenario("argo-items-result")
def test_of_an_empty_list_there_is_no_instance_and_what_follows_runs(scenario: Scenario) -> None:
    """Rule F4: skipped by default; `on_empty: succeed` lets what needs it run."""
    run = scenario.run(OF_OUTPUT, "-p", "printed=[]")
    assert scenario.trace == ["after"]
    assert (run["tasks"]["each"]["state"], run["tasks"]["each"]["reason"]) == ("succeeded", "empty")


@pytest.mark.scenario("argo-items-result")
@pytest.mark.parametrize("printed", ["twenty, thirty", '{"result": "twenty"}'])
def test_output_that_is_no_list_fails_its_task_and_is_shown(scenario: Scenario, printed: str) -> None:
    run = scenario.run(OF_OUTPUT, "-p", f"printed={printed}")
    task = run["tasks"]["list"]
    assert (task["state"], task["reason"]) == ("failed", "output_invalid")
    assert "twenty" in task["error"]
    assert states(run)["each"] == "upstream_failed"


@pytest.mark.scenario("argo-mapreduce")
def test_map_and_reduce_over_files(scenario: Scenario) -> None:
    """Part 3 is lost on the way where `lose` says so: then there is nothing to reduce."""
    run = scenario.run(MAPREDUCE)
    assert scenario.trace == ["12"]
    assert run["state"] == "succeeded"


@pytest.mark.scenario("argo-mapreduce")
def test_a_map_that_fails_leaves_nothing_to_reduce(scenario: Scenario) -> None:
    run = scenario.run(MAPREDUCE, "-p", "lose=3")
    assert scenario.trace == []
    assert items(run, "map") == {"0": "succeeded", "1": "succeeded", "2": "succeeded", "3": "failed"}
    assert states(run)["reduce"] == "upstream_failed"


MAPREDUCE = """
    params: {lose: {type: integer, default: -1}}
    tasks:
      split:
        run: |
          for n in 0 1 2 3; do echo $n > "$PYFLOW_SCRATCH/part$n"; done
          pyflow-out set parts:json='[0, 1, 2, 3]'
      map:
        needs: split
        for_each: ${{ tasks.split.outputs.parts }}
        env: {N: "${{ item }}"}
        run: |
          [ $N != $PARAM_LOSE ]
          echo $(( 2 * $(cat "$PYFLOW_SCRATCH/part$N") )) > "$PYFLOW_SCRATCH/double$N"
      reduce:
        needs: map
        run: |
          sum=0
          for n in 0 1 2 3; do sum=$(( sum + $(cat "$PYFLOW_SCRATCH/double$n") )); done
          echo $sum >> trace
"""

SUM = """
    params: {numbers: {type: array, items: integer}}
    tasks:
      plus:
        for_each: ${{ params.numbers }}
        env: {N: "${{ item }}"}
        run: pyflow-out set more:int=$(( N + 1 ))
      sum:
        needs: plus
        trigger_rule: none_failed
        env: {SUM: "${{ sum(pick(tasks.plus.results, 'outputs.more')) }}"}
        run: echo $SUM >> trace
"""


@pytest.mark.scenario("airflow-mapping")
def test_a_sum_over_what_the_items_of_a_list_gave_on(scenario: Scenario) -> None:
    scenario.run(SUM, "-p", "numbers=[1,2,3]")
    assert scenario.trace == ["9"]


@pytest.mark.scenario("airflow-mapping")
def test_the_results_of_an_empty_list_are_an_empty_list(scenario: Scenario) -> None:
    """Rules F4 and J1: the fan-out is skipped, and so is what needs it; with `none_failed` the sum runs, and is 0."""
    run = scenario.run(SUM, "-p", "numbers=[]")
    assert scenario.trace == ["0"]
    assert (states(run)["plus"], run["tasks"]["plus"]["items"]) == ("skipped", [])


@pytest.mark.scenario("gha-matrix")
def test_a_matrix_with_exclude_and_include_has_these_six(scenario: Scenario) -> None:
    run = scenario.run("""
        tasks:
          job:
            matrix:
              os: [a, b]
              version: [1, 2, 3]
              exclude: [{os: b, version: 3}]
              include: [{os: c, version: 9}]
            env: {OS: "${{ matrix.os }}", VERSION: "${{ matrix.version }}"}
            run: echo $OS$VERSION >> trace
    """)
    assert sorted(scenario.trace) == ["a1", "a2", "a3", "b1", "b2", "c9"]
    assert set(items(run, "job").values()) == {"succeeded"}


@pytest.mark.scenario("digdag-parallel-set")
def test_a_hundred_tasks_at_once_give_two_values_each_and_all_are_right(scenario: Scenario) -> None:
    run = scenario.run("""
        max_parallel: 100
        tasks:
          write:
            for_each: ${{ range(100) }}
            env: {N: "${{ item }}"}
            run: |
              pyflow-out set key1=$N & pyflow-out set key2:int=$(( N * 1000 )) & wait
        outputs:
          first: ${{ pick(tasks.write.results, 'outputs.key1') }}
          second: ${{ pick(tasks.write.results, 'outputs.key2') }}
    """)
    assert run["state"] == "succeeded"
    assert run["outputs"] == {"first": [str(n) for n in range(100)], "second": [n * 1000 for n in range(100)]}


@pytest.mark.scenario("sw-fork-all")
def test_outputs_of_branches_stand_as_they_are_written_not_as_they_ended(scenario: Scenario) -> None:
    run = scenario.run("""
        tasks:
          long: {run: ./await middle; echo long >> trace; pyflow-out set v=long}
          middle: {run: ./await short; echo middle >> trace; touch middle; pyflow-out set v=middle}
          short: {run: echo short >> trace; touch short; pyflow-out set v=short}
        outputs: {all: "${{ [tasks.long.outputs.v, tasks.middle.outputs.v, tasks.short.outputs.v] }}"}
    """)
    assert scenario.trace == ["short", "middle", "long"]
    assert run["outputs"]["all"] == ["long", "middle", "short"]


@pytest.mark.scenario("sw-for-while")
def test_a_loop_over_a_list_goes_on_as_long_as_something_holds(scenario: Scenario) -> None:
    """One after the other (`max_parallel: 1`); an item that finds nobody there skips itself with one of its codes."""
    run = scenario.run("""
        tasks:
          vet: {run: touch vet}
          visit:
            needs: vet
            for_each: [a, b, c]
            as: pet
            max_parallel: 1
            skip_codes: 75
            env: {PET: "${{ pet }}", INDEX: "${{ index }}"}
            run: |
              [ -e vet ] || exit 75
              echo "$PET ($INDEX)" >> trace
              pyflow-out set seen="$PET"
              if [ $PET = b ]; then rm vet; fi
        outputs: {seen: "${{ pick(tasks.visit.results, 'outputs.seen', state='succeeded') }}"}
    """)
    assert scenario.trace == ["a (0)", "b (1)"]
    assert run["outputs"] == {"seen": ["a", "b"]}
    assert items(run, "visit") == {"a": "succeeded", "b": "succeeded", "c": "skipped"}


@pytest.mark.scenario("wcp13")
def test_a_summary_runs_once_after_three_instances_and_sees_their_results_in_order(scenario: Scenario) -> None:
    scenario.run("""
        tasks:
          review:
            for_each: [ann, bob, cy]
            env: {WHO: "${{ item }}"}
            run: echo review >> trace; pyflow-out set verdict="$WHO says yes"
          summary:
            needs: review
            env: {ALL: "${{ join(pick(tasks.review.results, 'outputs.verdict'), ', ') }}"}
            run: echo "$ALL" >> trace
    """)
    assert scenario.trace == ["review"] * 3 + ["ann says yes, bob says yes, cy says yes"]


@pytest.mark.scenario("wcp15")
def test_what_finds_more_work_gives_it_on_and_a_summary_waits_for_all(scenario: Scenario) -> None:
    """Rule F1: a list is evaluated once and frozen. What finds more while it runs gives it on as an output, over which
    the next task fans out; for any number of rounds a workflow calls itself.
    """
    scenario.run("""
        tasks:
          first:
            for_each: [1, 2, 3]
            env: {N: "${{ item }}"}
            run: |
              echo $N >> trace
              if [ $N = 2 ]; then pyflow-out set more:json='[4, 5]'; else pyflow-out set more:json='[]'; fi
          second:
            needs: first
            for_each: ${{ flatten(pick(tasks.first.results, 'outputs.more')) }}
            env: {N: "${{ item }}"}
            run: echo $N >> trace
          summary:
            needs: [first, second]
            env: {COUNT: "${{ tasks.first.succeeded + tasks.second.succeeded }}"}
            run: echo "of $COUNT" >> trace
    """)
    assert in_order(scenario.trace, {"1", "2", "3"}, {"4", "5"}, "of 5")


# ---- Bounds ---------------------------------------------------------------------------------------------------------


@pytest.mark.scenario("digdag-bomb")
def test_too_many_combinations_are_refused_with_the_limit_and_the_count(scenario: Scenario) -> None:
    definition = f"tasks: {{bomb: {{matrix: {{a: {list(range(101))}, b: {list(range(100))}}}, run: touch trace}}}}"
    line = scenario.refused(definition)
    assert "10100" in line
    assert "10000" in line


@pytest.mark.scenario("digdag-bomb")
def test_a_list_of_a_hundred_thousand_fails_its_task_with_the_limit_and_the_count_and_nothing_else(
    scenario: Scenario,
) -> None:
    run = scenario.run("""
        tasks:
          bomb: {for_each: "${{ range(100000) }}", run: echo bomb >> trace}
          other: {run: echo other >> trace}
    """)
    assert states(run) == {"bomb": "failed", "other": "succeeded"}
    assert "100000 items; at most 10000" in run["tasks"]["bomb"]["error"]
    assert scenario.trace == ["other"]


@pytest.mark.scenario("digdag-bomb")
def test_a_limit_of_ones_own_is_refused_with_the_count(scenario: Scenario) -> None:
    """A loop of 3 in which there is a loop of 5, as one list, with a limit of 10."""
    run = scenario.run("""
        tasks:
          list:
            run: pyflow-out set pairs:json="[$(seq -s, 15)]"
            outputs: {pairs: {type: array, max_items: 10}}
          each: {needs: list, for_each: "${{ tasks.list.outputs.pairs }}", run: echo each >> trace}
    """)
    assert (run["tasks"]["list"]["state"], run["tasks"]["list"]["reason"]) == ("failed", "output_invalid")
    assert "15" in run["tasks"]["list"]["error"]
    assert "10" in run["tasks"]["list"]["error"]
    assert scenario.trace == []


# ---- Called workflows -----------------------------------------------------------------------------------------------


@pytest.mark.scenario("argo-sequence-dynamic")
@pytest.mark.parametrize(("outer", "tasks"), [(3, 10), (0, 1)])
def test_a_sequence_whose_end_is_an_output_nested(scenario: Scenario, outer: int, tasks: int) -> None:
    """Rule F4 says what 0 is: `range(1, 1)` has no entry, and the fan-out is skipped."""
    scenario.install("sequence-inner", """
        tasks:
          count: {run: echo inner >> trace; pyflow-out set n:int=2}
          each: {needs: count, for_each: "${{ range(1, tasks.count.outputs.n + 1) }}", run: echo leaf >> trace}
    """)  # fmt: skip
    run = scenario.run(
        """
        params: {n: {type: integer}}
        tasks:
          count: {run: echo outer >> trace; pyflow-out set n:int=$PARAM_N}
          each: {needs: count, for_each: "${{ range(1, tasks.count.outputs.n + 1) }}", workflow: sequence-inner}
        """,
        "-p", f"n={outer}",
    )  # fmt: skip
    assert len(scenario.trace) == tasks
    assert (run["state"], states(run)["each"]) == ("succeeded", "succeeded" if outer else "skipped")


@pytest.mark.scenario("argo-recursion-counter")
def test_a_workflow_counts_by_calling_itself(scenario: Scenario) -> None:
    scenario.install("counter", """
        params: {n: {type: integer, default: 0}}
        tasks:
          plus: {run: 'echo $PARAM_N >> trace; pyflow-out set n:int=$(( PARAM_N + 1 ))'}
          again:
            needs: plus
            if: tasks.plus.outputs.n < 10
            workflow: counter
            with: {n: "${{ tasks.plus.outputs.n }}"}
          end:
            needs: [plus, again]
            env: {AT: "${{ tasks.plus.outputs.n }}", OWN: "${{ params.n }}"}
            run: if [ $OWN = 0 ]; then echo "back at $AT" >> trace; fi
        outputs: {n: "${{ default(tasks.again.outputs.n, tasks.plus.outputs.n) }}"}
    """)  # fmt: skip
    run = scenario.run("tasks: {count: {workflow: counter}}\noutputs: {n: '${{ tasks.count.outputs.n }}'}\n")
    assert run["outputs"] == {"n": 10}
    assert scenario.trace == [*map(str, range(10)), "back at 1"]


def test_what_follows_a_called_run_does_not_wait_for_something_else_to_happen(scenario: Scenario) -> None:
    """The daemon looks up every two seconds by itself: twenty such waits would be longer than the test's patience.

    Nobody asks for the run of which this is meanwhile, as each question and each answer makes the daemon look, too.
    """
    scenario.install("nothing", "tasks: {a: {run: 'true'}}")
    tasks: dict[str, Any] = {"t0": {"run": "true"}}
    for number in range(1, 21):
        tasks[f"call{number}"] = {"needs": f"t{number - 1}", "workflow": "nothing"}
        tasks[f"t{number}"] = {"needs": f"call{number}", "run": "true"}
    scenario.install("chain-of-calls", {"tasks": tasks})
    assert scenario.run({"tasks": {"chain": {"workflow": "chain-of-calls"}}})["state"] == "succeeded"


def test_what_follows_a_condition_does_not_wait_for_something_else_to_happen(scenario: Scenario) -> None:
    tasks: dict[str, Any] = {"t0": {"run": "true"}}
    for number in range(1, 21):
        before = f"tasks.t{number - 1}.state == 'succeeded'"
        tasks[f"wait{number}"] = {"wait": {"condition": before}}
        tasks[f"t{number}"] = {"needs": f"wait{number}", "run": "true"}
    scenario.install("chain-of-waits", {"tasks": tasks})
    assert scenario.run({"tasks": {"chain": {"workflow": "chain-of-waits"}}})["state"] == "succeeded"


@pytest.mark.scenario("argo-parallel-nested")
def test_four_lanes_at_once_and_in_each_one_at_a_time(scenario: Scenario) -> None:
    """All lanes are in their first task at the same time: each waits there for the others."""
    scenario.install("lane", """
        params: {lane: {type: integer}}
        tasks:
          step:
            for_each: [a, b, c, d]
            max_parallel: 1
            env: {STEP: "${{ item }}"}
            run: |
              mkdir busy$PARAM_LANE
              if [ $STEP = a ]; then touch lane$PARAM_LANE; ./await lane1 lane2 lane3 lane4; fi
              echo "$PARAM_LANE $STEP" >> trace
              rmdir busy$PARAM_LANE
    """)  # fmt: skip
    run = scenario.run('tasks: {lanes: {for_each: [1, 2, 3, 4], workflow: lane, with: {lane: "${{ item }}"}}}')
    assert run["state"] == "succeeded"
    assert len(scenario.trace) == 16
    for lane in "1234":
        assert [line for line in scenario.trace if line.startswith(lane)] == [f"{lane} {step}" for step in "abcd"]


@pytest.mark.scenario("digdag-parallel-limit")
def test_of_five_rounds_of_three_steps_two_are_open_at_most(scenario: Scenario) -> None:
    scenario.install("three-steps", """
        params: {round: {type: integer}}
        tasks:
          one: {run: echo "$PARAM_ROUND 1" >> trace}
          two: {needs: one, run: echo "$PARAM_ROUND 2" >> trace}
          three: {needs: two, run: echo "$PARAM_ROUND 3" >> trace}
    """)  # fmt: skip
    scenario.run("""
        tasks:
          rounds: {for_each: "${{ range(5) }}", max_parallel: 2, workflow: three-steps, with: {round: "${{ item }}"}}
    """)
    assert len(scenario.trace) == 15
    is_open: set[str] = set()
    for line in scenario.trace:
        number, step = line.split()
        is_open.add(number)
        assert len(is_open) <= 2
        if step == "3":
            is_open.remove(number)
    for number in "01234":
        assert [line.split()[1] for line in scenario.trace if line.startswith(number)] == ["1", "2", "3"]


@pytest.mark.scenario("dagu-parallel-sub")
def test_a_workflow_for_each_item_two_at_a_time_with_a_sum_of_what_became_of_them(scenario: Scenario) -> None:
    scenario.install("letter", """
        params: {letter: {}}
        tasks:
          a:
            run: |
              echo "+ $PARAM_LETTER" >> trace
              sleep 0.03
              echo "- $PARAM_LETTER" >> trace
              [ $PARAM_LETTER != C ]
              pyflow-out set low="${PARAM_LETTER,,}"
        outputs: {low: "${{ tasks.a.outputs.low }}"}
    """)  # fmt: skip
    run = scenario.run("""
        tasks:
          letters:
            for_each: [A, B, C, D]
            max_parallel: 2
            max_failures: 1
            workflow: letter
            with: {letter: "${{ item }}"}
          sum:
            needs: letters
            env: {SUM: "${{ tasks.letters.succeeded }} and ${{ tasks.letters.failed }}"}
            run: echo "$SUM" >> trace
        outputs: {low: "${{ pick(tasks.letters.results, 'outputs.low', state='succeeded') }}"}
    """)
    at_once = peak = 0
    for line in scenario.trace[:-1]:
        at_once += 1 if line.startswith("+") else -1
        peak = max(peak, at_once)
    assert peak <= 2
    assert scenario.trace[-1] == "3 and 1"
    assert run["outputs"] == {"low": ["a", "b", "d"]}
    assert run["state"] == "succeeded"


@pytest.mark.scenario("kestra-batches")
@pytest.mark.parametrize("bad", ["", "seven"])
def test_batches_of_a_file_go_to_called_workflows_and_a_failing_one_is_named(scenario: Scenario, bad: str) -> None:
    lines = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    scenario.path("lines").write_text("".join(f"{line}\n" for line in lines))
    scenario.install("batch", """
        params: {lines: {type: array, items: string}, bad: {}}
        tasks:
          take:
            env: {COUNT: "${{ len(params.lines) }}", IS_BAD: "${{ params.bad in params.lines }}"}
            run: echo $COUNT >> trace; ! $IS_BAD
    """)  # fmt: skip
    run = scenario.run(
        """
        params: {bad: {}}
        tasks:
          read: {file: {read: lines}}
          batches:
            needs: read
            for_each: ${{ chunk(lines(trim(tasks.read.outputs.text)), 3) }}
            key: batch-${{ index }}
            workflow: batch
            with: {lines: "${{ item }}", bad: "${{ params.bad }}"}
        """,
        "-p", f"bad={bad}",
    )  # fmt: skip
    assert sorted(scenario.trace) == ["1", "3", "3", "3"]
    assert run["state"] == ("failed" if bad else "succeeded")
    found = items(run, "batches")
    assert found == {f"batch-{n}": "failed" if bad and n == 2 else "succeeded" for n in range(4)}
    if bad:
        assert "batch-2" in run["error"]


# ---- Repeat ---------------------------------------------------------------------------------------------------------

ROUNDS = """
    tasks:
      round:
        repeat: {until: tasks.round.outputs.number == 4, max: MAX}
        run: echo $PYFLOW_ATTEMPT >> trace; pyflow-out set number:int=$PYFLOW_ATTEMPT
        continue_on_error: GOES_ON
      after: {needs: round, run: echo after >> trace}
"""


@pytest.mark.scenario("kestra-waitfor")
def test_a_task_is_repeated_until_its_own_output_says_so(scenario: Scenario) -> None:
    run = scenario.run(ROUNDS.replace("MAX", "10").replace("GOES_ON", "false"))
    assert scenario.trace == ["1", "2", "3", "4", "after"]
    assert run["tasks"]["round"]["attempts"] == 4


@pytest.mark.scenario("kestra-waitfor")
@pytest.mark.parametrize("goes_on", [True, False])
def test_rounds_that_are_used_up_fail_or_go_on_as_asked_for(scenario: Scenario, goes_on: bool) -> None:
    run = scenario.run(ROUNDS.replace("MAX", "3").replace("GOES_ON", str(goes_on).lower()))
    assert scenario.trace == ["1", "2", "3", *(["after"] if goes_on else [])]
    assert (run["tasks"]["round"]["state"], run["tasks"]["round"]["reason"]) == ("failed", "repeat_exhausted")
    assert run["state"] == ("succeeded" if goes_on else "failed")


POLL = """
    tasks:
      poll:
        repeat: {until: tasks.poll.outputs.ready, delay: 20ms, max: 10}
        env: {READY_AT: AT}
        run: |
          date +%s%N >> trace
          pyflow-out set ready:bool=$([ $PYFLOW_ATTEMPT -lt $READY_AT ] && echo false || echo true)
"""


@pytest.mark.scenario("dagu-repeat")
def test_polling_ends_when_it_is_ready_and_waits_between_the_rounds(scenario: Scenario) -> None:
    run = scenario.run(POLL.replace("AT}", "3}"))
    assert run["state"] == "succeeded"
    assert len(scenario.trace) == 3
    assert all(int(later) - int(earlier) >= 20_000_000 for earlier, later in pairwise(scenario.trace))


@pytest.mark.scenario("dagu-repeat")
def test_polling_for_what_never_comes_fails_after_its_last_round(scenario: Scenario) -> None:
    run = scenario.run(POLL.replace("AT}", "99}"))
    assert run["tasks"]["poll"]["state"] == "failed"
    assert len(scenario.trace) == 10
