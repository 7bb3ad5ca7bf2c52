"""Scenarios of the corpus: what runs share, use again, or must not show. A real daemon."""

from __future__ import annotations

from typing import Any

import pytest

from tests.daemon.scenario import Scenario, items, states
from tests.waiting import wait_until

SEMAPHORE = """
    overlap: allow
    pools: {scenario-semaphore: 2}
    tasks:
      work:
        for_each: [a, b, c]
        pool: scenario-semaphore
        run: |
          exec 7>> one 8>> two
          flock -n 7 || flock -n 8 || echo "a third is here" >> trace
          ./await go
"""


@pytest.mark.scenario("argo-semaphore")
def test_of_nine_tasks_in_three_runs_two_are_inside_at_once_in_the_order_of_their_coming(scenario: Scenario) -> None:
    scenario.install("semaphore", SEMAPHORE)

    def place() -> Any:
        return next((each for each in scenario.instance.json("places") if each["name"] == "scenario-semaphore"), None)

    runs = []
    for _ in range(3):
        runs.append(scenario.instance.run("semaphore"))
        wait_until(
            lambda: (found := place()) and found["used"] + len(found["waiting"]) == 3 * len(runs), "all are in the row"
        )
    wait_until(lambda: states(scenario.instance.status(runs[0]))["work"] == "running", "the first run works")
    assert place()["used"] == 2
    scenario.path("go").touch()
    ended = [scenario.instance.wait_run(run) for run in runs]
    assert [items(run, "work") for run in ended] == [dict.fromkeys("abc", "succeeded")] * 3
    begins = sorted((item["started_at"], run["run"]) for run in ended for item in run["tasks"]["work"]["items"])
    assert [run for _, run in begins] == [run for run in runs for _ in range(3)]
    assert scenario.trace == []


@pytest.mark.scenario("gha-outputs")
def test_a_secret_that_is_printed_in_two_writes_is_masked_in_the_log(scenario: Scenario) -> None:
    folder = scenario.instance.root / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    secret = folder / "scenario-token"
    secret.touch(mode=0o600)
    secret.write_text("correct horse battery")
    run = scenario.start("""
        tasks:
          print:
            env: {TOKEN: "${{ secrets.scenario-token }}"}
            run: |
              echo "whole $TOKEN"
              printf %s "${TOKEN%battery}"
              ./await go
              echo battery
    """)
    wait_until(lambda: "whole" in scenario.instance.ctl("logs", run, "--raw").stdout, "the first write is in the log")
    scenario.path("go").touch()
    scenario.instance.wait_run(run)
    assert scenario.instance.ctl("logs", run, "--raw").stdout == "whole ***\n***\n"


CACHED = """
    tasks:
      sums: {run: 'pyflow-out set of="$(cat a.in b.in | sha256sum)"'}
      build:
        needs: sums
        cache: {key: "${{ tasks.sums.outputs.of }}", ttl: 1d}
        run: echo build >> trace; cat a.in b.in > result
        artifacts: {result: result}
      place: {needs: build, file: {copy: "${{ tasks.build.artifacts.result }}", to: result, overwrite: true}}
"""
"""What is built is kept by the sums of its sources."""
COMPARED = """
    tasks:
      look:
        run: |
          if [ -e result ] && sha256sum --status -c sums; then pyflow-out set stale:bool=false
          else pyflow-out set stale:bool=true; fi
      build:
        needs: look
        if: tasks.look.outputs.stale
        run: echo build >> trace; cat a.in b.in > result; sha256sum a.in b.in > sums
"""
"""The result itself, and the sums of its sources beside it, say whether it is new enough."""


def builds(scenario: Scenario, definition: str) -> int:
    """Run it; how often something was built."""
    before = len(scenario.trace)
    run = scenario.run(definition)
    assert run["state"] == "succeeded", run
    assert scenario.path("result").read_text() == scenario.path("a.in").read_text() + "b\n"
    return len(scenario.trace) - before


@pytest.mark.scenario("task-uptodate")
@pytest.mark.parametrize(("definition", "after_a_loss"), [(CACHED, 0), (COMPARED, 1)], ids=["cached", "compared"])
def test_what_has_not_changed_is_not_built_again(scenario: Scenario, definition: str, after_a_loss: int) -> None:
    """A result that is gone is built again where it is the proof, and put back where it is kept as an artifact."""
    scenario.path("a.in").write_text("a\n")
    scenario.path("b.in").write_text("b\n")
    assert [builds(scenario, definition) for _ in range(2)] == [1, 0]
    scenario.path("a.in").write_text("other\n")
    assert builds(scenario, definition) == 1
    scenario.path("result").unlink()
    assert builds(scenario, definition) == after_a_loss
    scenario.path("a.in").touch()
    assert builds(scenario, definition) == 0
