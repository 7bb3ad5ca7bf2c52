"""Scenarios of the corpus: what goes from task to task, from people to tasks, and to other workflows. A real daemon."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.instance import Instance
from tests.daemon.scenario import Scenario, states
from tests.waiting import wait_until

# ---- Files ----------------------------------------------------------------------------------------------------------


@pytest.mark.scenario("argo-artifacts")
def test_a_file_of_three_megabytes_arrives_as_it_was(scenario: Scenario) -> None:
    run = scenario.run("""
        tasks:
          write:
            run: head -c 3000000 /dev/urandom > random
            artifacts: {random: random}
          hash:
            needs: write
            env: {FILE: "${{ tasks.write.artifacts.random }}"}
            run: pyflow-out set sha256="$(sha256sum "$FILE" | cut -d' ' -f1)"
    """)
    wanted = hashlib.sha256(scenario.path("random").read_bytes()).hexdigest()
    assert run["state"] == "succeeded"
    assert run["tasks"]["hash"]["outputs"] == {"sha256": wanted}
    assert run["tasks"]["write"]["artifacts"] == {"random": {"size_bytes": 3_000_000, "sha256": wanted}}


@pytest.mark.scenario("argo-artifacts")
def test_a_file_that_is_not_there_fails_its_task_with_its_path_and_an_optional_one_does_not(scenario: Scenario) -> None:
    run = scenario.run("""
        tasks:
          must: {run: "true", artifacts: {report: out/report.csv}}
          may: {run: "true", artifacts: {report: {path: out/report.csv, optional: true}}}
    """)
    task = run["tasks"]["must"]
    assert (task["state"], task["reason"]) == ("failed", "output_invalid")
    assert f"{scenario.folder}/out/report.csv" in task["error"]
    assert states(run)["may"] == "succeeded"


def test_files_of_tasks_and_items_that_are_not_done_again_are_there_for_those_that_are(scenario: Scenario) -> None:
    """Also in a rerun of a rerun."""
    run = scenario.run("""
        tasks:
          one: {run: echo from one > one, artifacts: {file: one}}
          many:
            for_each: [a, b]
            env: {KEY: "${{ item }}"}
            run: echo "from $KEY" > $KEY
            artifacts: {file: "${{ item }}"}
          last:
            needs: [one, many]
            env:
              ONE: ${{ tasks.one.artifacts.file }}
              MANY: ${{ join(pick(tasks.many.results, 'artifacts.file'), ' ') }}
            run: cat "$ONE" $MANY >> trace; [ -e cure ]
    """)
    for name in ("one", "a", "b"):
        scenario.path(name).unlink()
    for _ in range(2):
        done = scenario.instance.ctl("-o", "json", "rerun", run["run"], "--failed", "--wait")
        run = json.loads(done.stdout)
    assert run["tasks"]["last"]["error"] == "exit code 1"
    assert scenario.trace == ["from one", "from a", "from b"] * 3
    kept = scenario.instance.ctl("artifacts", run["run"], "many[b]", "file", "--to", "-")
    assert kept.stdout == "from b\n", kept.stderr


@pytest.fixture
def for_all() -> Iterator[Scenario]:
    """On a root that every account of the host can come to, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="pyflow-test-") as folder:
        os.chmod(folder, 0o755)
        made = Instance(Path(folder) / "root")
        try:
            made.start()
            yield Scenario(made, Path(folder))
        finally:
            made.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts tasks as another user")
def test_a_file_that_one_user_left_is_read_by_a_task_of_another(for_all: Scenario) -> None:
    """The path is known to the run's tasks only: nobody can list the folders above it."""
    run = for_all.run("""
        tasks:
          write: {run: umask 077; echo hello > said, artifacts: {said: said}}
          read:
            needs: write
            user: nobody
            cwd: /
            env: {SAID: "${{ tasks.write.artifacts.said }}"}
            run: |
              task=$(dirname "$SAID"); run=$(dirname "$task"); all=$(dirname "$run")
              for folder in "$task" "$run" "$all"; do
                if ls "$folder" 2> /dev/null; then exit 9; fi
              done
              echo "said=$(cat "$SAID")" >> "$PYFLOW_OUTPUT"
    """)
    assert run["tasks"]["read"]["outputs"] == {"said": "hello"}, run["error"]


# ---- Values ---------------------------------------------------------------------------------------------------------


@pytest.mark.scenario("gha-outputs")
def test_values_that_a_task_writes_to_its_output_file_arrive_with_their_line_breaks(scenario: Scenario) -> None:
    run = scenario.run("""
        tasks:
          write:
            run: |
              echo "short=a = b" >> "$PYFLOW_OUTPUT"
              printf 'long<<END\\none\\n  two\\n\\nthree\\nEND\\n' >> "$PYFLOW_OUTPUT"
          print:
            needs: write
            env: {SHORT: "${{ tasks.write.outputs.short }}", LONG: "${{ tasks.write.outputs.long }}"}
            run: printf '%s\\n' "$SHORT" "$LONG" >> trace
    """)
    assert scenario.trace == ["a = b", "one", "  two", "", "three"]
    assert run["tasks"]["write"]["outputs"] == {"short": "a = b", "long": "one\n  two\n\nthree"}


@pytest.mark.scenario("sw-stdin")
def test_a_program_gets_its_arguments_and_its_input_as_they_are_written(scenario: Scenario) -> None:
    path = scenario.path("show")
    path.write_text('#!/bin/sh\n{ echo $#; printf "<%s>\\n" "$@"; cat; } >> trace\n')
    path.chmod(0o755)
    scenario.run("""
        tasks:
          show:
            argv: [./show, a b, "c'd", "", $HOME, "*"]
            stdin: |
              first line
              second line
    """)
    assert scenario.trace == ["5", "<a b>", "<c'd>", "<>", "<$HOME>", "<*>", "first line", "second line"]


# ---- Called workflows -----------------------------------------------------------------------------------------------


@pytest.mark.scenario("sw-subflow")
def test_a_called_workflow_takes_params_and_gives_outputs(scenario: Scenario) -> None:
    scenario.install("twice", """
        params: {n: {type: integer, required: true}}
        tasks:
          double: {run: 'pyflow-out set n:int=$(( 2 * PARAM_N ))'}
        outputs: {n: "${{ tasks.double.outputs.n }}"}
    """)  # fmt: skip
    run = scenario.run("""
        tasks:
          first: {workflow: twice, with: {n: 21}}
          use: {needs: first, env: {N: "${{ tasks.first.outputs.n }}"}, run: echo $N >> trace}
    """)
    assert scenario.trace == ["42"]
    assert run["state"] == "succeeded"


@pytest.mark.scenario("sw-subflow")
def test_a_workflow_that_is_not_there_fails_its_caller_with_its_name(scenario: Scenario) -> None:
    run = scenario.run("tasks: {a: {workflow: no-such-workflow}}")
    assert run["tasks"]["a"]["reason"] == "run_failed"
    assert "no-such-workflow" in run["error"]


@pytest.mark.scenario("sw-subflow")
def test_workflows_that_call_each_other_without_an_end_are_stopped_at_the_limit(scenario: Scenario) -> None:
    scenario.install("ping", "tasks: {a: {run: echo ping >> trace}, b: {needs: a, workflow: pong}}")
    scenario.install("pong", "tasks: {a: {run: echo pong >> trace}, b: {needs: a, workflow: ping}}")
    run = scenario.run("tasks: {a: {workflow: ping}}")
    assert run["state"] == "failed"
    assert len(scenario.trace) == 32
    assert "at most 32" in run["error"]


# ---- People ---------------------------------------------------------------------------------------------------------

CHOICE = """
    tasks:
      ask: {approval: {message: "Deploy?", choices: ["YES", "NO"], default: "NO"}}
      deploy: {needs: ask, if: tasks.ask.outputs.choice == 'YES', run: echo deployed >> trace}
"""


@pytest.mark.scenario("argo-suspend-value")
@pytest.mark.parametrize(("choice", "trace"), [("YES", ["deployed"]), ("NO", []), (None, [])])
def test_somebody_who_is_asked_picks_from_a_list(scenario: Scenario, choice: str | None, trace: list[str]) -> None:
    run = scenario.start(CHOICE)
    scenario.instance.wait_task(run, "ask", "running")
    done = scenario.instance.ctl("approve", run, "ask", *(["--choose", choice] if choice else []))
    assert done.returncode == 0, done.stderr
    ended = scenario.instance.wait_run(run)
    assert ended["state"] == "succeeded"
    assert ended["tasks"]["ask"]["outputs"]["choice"] == (choice or "NO")
    assert states(ended)["deploy"] == ("succeeded" if trace else "skipped")
    assert scenario.trace == trace


@pytest.mark.scenario("argo-suspend-value")
def test_what_is_not_on_the_list_is_refused_and_it_waits_on(scenario: Scenario) -> None:
    run = scenario.start(CHOICE)
    scenario.instance.wait_task(run, "ask", "running")
    done = scenario.instance.ctl("approve", run, "ask", "--choose", "MAYBE")
    assert done.returncode == 6
    assert "MAYBE" in done.stderr
    assert "YES, NO" in done.stderr
    assert scenario.instance.status(run)["tasks"]["ask"]["state"] == "running"
    scenario.instance.ctl("reject", run, "ask")
    ended = scenario.instance.wait_run(run)
    assert (ended["state"], ended["tasks"]["ask"]["reason"]) == ("failed", "rejected")
    assert scenario.trace == []


# ---- Python ---------------------------------------------------------------------------------------------------------


def test_a_python_function_takes_values_as_they_are_and_gives_its_result_on(scenario: Scenario) -> None:
    scenario.path("rates.py").write_text(
        "def convert(prices, rate):\n    return {name: price * rate for name, price in prices.items()}\n"
    )
    run = scenario.run("""
        params: {prices: {type: object, default: {tea: 2, coffee: 3.5}}}
        tasks:
          convert:
            python: rates:convert
            with: {prices: "${{ params.prices }}", rate: 2}
            env: {PYTHONPATH: FOLDER}
        outputs: {prices: "${{ tasks.convert.outputs }}"}
    """.replace("FOLDER", str(scenario.folder)))  # fmt: skip
    assert run["outputs"] == {"prices": {"tea": 4, "coffee": 7.0}}


def test_an_exception_of_a_python_function_is_the_error_of_its_task(scenario: Scenario) -> None:
    scenario.path("broken.py").write_text("def main():\n    return 1 / 0\n")
    run = scenario.run(f"tasks: {{a: {{python: broken:main, env: {{PYTHONPATH: {scenario.folder}}}}}}}")
    assert run["tasks"]["a"]["error"] == "ZeroDivisionError: division by zero"
    log = wait_until(lambda: scenario.instance.ctl("logs", run["run"], "--raw").stdout, "its log")
    assert "broken.py" in log


def test_what_a_run_called_is_found_by_its_number(scenario: Scenario) -> None:
    scenario.install("found-by-number", "tasks: {a: {run: 'true'}}")
    run = scenario.run("tasks: {call: {workflow: found-by-number, wait: false}}")
    called = run["tasks"]["call"]["outputs"]["run"]
    ended = scenario.instance.wait_run(called)
    assert ended["workflow"] == "found-by-number"
    assert json.dumps(ended["parent"]) == json.dumps({"run": run["run"], "task": "call"})
