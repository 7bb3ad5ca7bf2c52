"""Scenarios of the corpus: what goes wrong, is tried again, runs out of time, is stopped. A real daemon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

import psutil
import pytest

from tests.daemon.mailserver import WebServer
from tests.daemon.scenario import Scenario, states
from tests.waiting import wait_until


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


# ---- Retries --------------------------------------------------------------------------------------------------------


@pytest.mark.scenario("argo-retry-if")
def test_only_some_exit_codes_are_tried_again(scenario: Scenario) -> None:
    run = scenario.run("""
        tasks:
          a:
            run: |
              echo $PYFLOW_ATTEMPT >> trace
              if [ $PYFLOW_ATTEMPT = 3 ]; then exit 1; fi
              exit 2
            retry: {attempts: 10, delay: 5ms, on_exit: [2, 3, 4]}
    """)
    assert scenario.trace == ["1", "2", "3"]
    task = run["tasks"]["a"]
    assert (task["state"], task["exit_code"], task["attempts"]) == ("failed", 1, 3)


@pytest.mark.scenario("digdag-retry-nested")
def test_retries_of_a_caller_and_of_the_called_multiply(scenario: Scenario) -> None:
    scenario.install(
        "nested-retry", "tasks: {a: {run: echo failed >> trace; exit 1, retry: {attempts: 3, delay: 5ms}}}"
    )
    run = scenario.run("tasks: {call: {workflow: nested-retry, retry: {attempts: 3, delay: 5ms}}}")
    assert scenario.trace == ["failed"] * 9
    assert (run["state"], run["tasks"]["call"]["attempts"]) == ("failed", 3)


@pytest.mark.scenario("digdag-retry-exp")
def test_the_delay_doubles_up_to_its_ceiling(scenario: Scenario) -> None:
    """A second of the scenario is 30 ms here; that the delays are no longer is shown by tests/unit/test_engine.py."""
    run = scenario.run("""
        tasks:
          a:
            run: date +%s%N >> trace; exit 1
            retry: {attempts: 7, delay: 30ms, max_delay: 60ms, jitter: none}
    """)
    assert run["tasks"]["a"]["attempts"] == len(scenario.trace) == 7
    waits_ms = [(int(later) - int(earlier)) / 1e6 for earlier, later in pairwise(scenario.trace)]
    assert all(waited >= wanted for waited, wanted in zip(waits_ms, [30, 60, 60, 60, 60, 60], strict=True))


@pytest.mark.scenario("sw-try-retry")
def test_a_server_that_is_busy_is_asked_again(scenario: Scenario, web: WebServer) -> None:
    for status in ("503 Busy", "503 Busy", "200 OK"):
        web.answer(status)
    run = scenario.run(FETCH.replace("PORT", str(web.port)))
    assert run["state"] == "succeeded"
    assert run["tasks"]["get"]["attempts"] == web.requests.qsize() == 3


@pytest.mark.scenario("sw-try-retry")
def test_what_is_not_there_is_asked_for_once_and_the_status_goes_up(scenario: Scenario, web: WebServer) -> None:
    web.answer("404 Not Found")
    run = scenario.run(FETCH.replace("PORT", str(web.port)))
    assert web.requests.qsize() == 1
    assert run["state"] == "failed"
    assert "404" in run["error"]


FETCH = """
    tasks:
      get: {http: 'http://127.0.0.1:PORT/thing', retry: {attempts: 5, delay: 5ms}}
"""


# ---- Errors of one's own, exit codes --------------------------------------------------------------------------------


@pytest.mark.scenario("sw-raise")
def test_a_task_says_in_its_own_words_why_it_failed(scenario: Scenario) -> None:
    run = scenario.run("""
        tasks:
          raise:
            env: {TITLE: no rest}
            run: |
              pyflow-out error "$TITLE: $PYFLOW_WORKFLOW cannot go on" type=https://example.com/errors/rest status=500
    """)
    task = run["tasks"]["raise"]
    assert (run["state"], task["error"]) == ("failed", "no rest: flow cannot go on")
    assert (task["values"]["type"], task["values"]["status"]) == ("https://example.com/errors/rest", "500")
    assert run["error"] == "raise: no rest: flow cannot go on"


@pytest.mark.scenario("task-exit-code")
def test_an_exit_code_is_kept_and_a_signal_is_none(scenario: Scenario) -> None:
    scenario.path("plain").write_text("no program")
    run = scenario.run("""
        defaults: {continue_on_error: true}
        tasks:
          code: {run: exit 42}
          signal: {run: kill -9 $$}
          missing: {run: no-such-command-anywhere}
          plain: {run: ./plain}
    """)
    found = {name: (task["exit_code"], task["signal"], task["reason"]) for name, task in run["tasks"].items()}
    assert found == {
        "code": (42, None, "exit_code"),
        "signal": (None, 9, "signal"),
        "missing": (127, None, "exit_code"),
        "plain": (126, None, "exit_code"),
    }


@pytest.mark.scenario("task-exit-code")
def test_a_program_that_cannot_be_started_at_all_has_no_exit_code(scenario: Scenario) -> None:
    run = scenario.run("tasks: {a: {argv: [./no-such-program]}}")
    task = run["tasks"]["a"]
    assert (task["exit_code"], task["reason"]) == (None, "start_failed")
    assert "no-such-program" in task["error"]


# ---- Time -----------------------------------------------------------------------------------------------------------


@pytest.mark.scenario("argo-wf-timeout")
def test_a_run_out_of_time_stops_what_runs_and_starts_nothing_more(scenario: Scenario) -> None:
    run = scenario.run("""
        timeout: 2s
        tasks:
          one: {run: echo 1 >> trace}
          two: {needs: one, run: echo 2 >> trace}
          three: {needs: two, run: echo 3 >> trace; exec sleep 60}
          four: {needs: three, run: echo 4 >> trace}
          five: {needs: four, run: echo 5 >> trace}
    """)
    assert scenario.trace == ["1", "2", "3"]
    assert (run["state"], run["reason"]) == ("failed", "timeout")
    assert [task["state"] for task in run["tasks"].values()] == [
        "succeeded", "succeeded", "failed", "cancelled", "cancelled",
    ]  # fmt: skip
    assert run["tasks"]["three"]["reason"] == "timeout"


@pytest.mark.scenario("kestra-sla")
def test_a_task_that_takes_longer_than_promised_is_stopped_and_failed(scenario: Scenario) -> None:
    """Of the three behaviours, fail is `timeout`; a promise that only marks a run as late (`expect`) comes later."""
    run = scenario.run("tasks: {slow: {run: exec sleep 60, timeout: 100ms}}")
    task = run["tasks"]["slow"]
    assert (run["state"], task["state"], task["reason"], task["signal"]) == ("failed", "failed", "timeout", 15)


SENSOR = """
    max_parallel: 1
    tasks:
      sensor:
        run: '[ -e there ]'
        retry: {attempts: 200, delay: 20ms, backoff: constant, jitter: none}
      maker: {run: touch there}
      after: {needs: sensor, run: echo after >> trace}
"""


@pytest.mark.scenario("airflow-sensor")
def test_a_sensor_at_rest_holds_no_place(scenario: Scenario) -> None:
    """There is one place: what makes the file can run only because the sensor, between its tries, has none (R7)."""
    run = scenario.run(SENSOR)
    assert run["state"] == "succeeded"
    assert scenario.trace == ["after"]


@pytest.mark.scenario("airflow-sensor")
def test_a_file_that_comes_late_is_noticed(scenario: Scenario) -> None:
    run = scenario.start("""
        tasks:
          sensor: {file: {wait_for: there, every: 20ms, timeout: 30s}}
          after: {needs: sensor, run: echo after >> trace}
    """)
    scenario.instance.wait_task(run, "sensor", "running")
    scenario.path("there").touch()
    assert scenario.instance.wait_run(run)["state"] == "succeeded"
    assert scenario.trace == ["after"]


@pytest.mark.scenario("airflow-sensor")
@pytest.mark.parametrize(("mode", "state"), [("fail", "failed"), ("skip", "skipped")])
def test_a_file_that_never_comes_fails_or_skips_as_asked_for(scenario: Scenario, mode: str, state: str) -> None:
    run = scenario.run(f"""
        tasks:
          sensor: {{file: {{wait_for: there, every: 20ms, timeout: 100ms, on_timeout: {mode}}}}}
          after: {{needs: sensor, run: echo after >> trace}}
    """)
    assert states(run)["sensor"] == state
    assert scenario.trace == []


# ---- Stops ----------------------------------------------------------------------------------------------------------


@pytest.mark.scenario("dagu-stop")
def test_a_task_that_ignores_a_stop_is_killed_with_its_child_after_its_grace(scenario: Scenario) -> None:
    run = scenario.start("""
        tasks:
          stubborn:
            kill_grace: 200ms
            run: |
              trap 'echo TERM >> trace' TERM
              (trap '' TERM; echo $BASHPID > child; while :; do sleep 1; done) &
              echo $$ > main
              while :; do wait || :; done
    """)
    pids = [int(wait_until(partial(read, scenario, name), f"{name} runs")) for name in ("main", "child")]
    processes = [psutil.Process(pid) for pid in pids]
    assert scenario.instance.ctl("cancel", run).returncode == 0
    ended = scenario.instance.wait_run(run)
    assert (ended["state"], states(ended)) == ("cancelled", {"stubborn": "cancelled"})
    assert ended["tasks"]["stubborn"]["signal"] == 9
    assert scenario.trace == ["TERM"]
    assert not any(process.is_running() for process in processes)


def read(scenario: Scenario, name: str) -> str:
    path = scenario.path(name)
    return path.read_text().strip() if path.exists() else ""


# ---- Done again -----------------------------------------------------------------------------------------------------


@pytest.mark.scenario("kestra-restart")
def test_after_its_cause_is_gone_only_the_failed_task_runs_again_with_what_the_others_gave(scenario: Scenario) -> None:
    first = scenario.run("""
        tasks:
          a: {run: echo a >> trace; pyflow-out set v=1}
          b: {needs: a, run: echo b >> trace; pyflow-out set v=2}
          c: {needs: b, run: echo c >> trace; pyflow-out set v=3}
          d:
            needs: [a, b, c]
            env: {ALL: "${{ tasks.a.outputs.v }}${{ tasks.b.outputs.v }}${{ tasks.c.outputs.v }}"}
            run: echo "d $ALL" >> trace; [ -e cure ]
    """)
    assert (first["state"], scenario.trace) == ("failed", ["a", "b", "c", "d 123"])
    scenario.path("cure").touch()
    done = scenario.instance.ctl("-o", "json", "rerun", first["run"], "--failed", "--wait")
    again = json.loads(done.stdout)
    assert scenario.trace == ["a", "b", "c", "d 123", "d 123"]
    assert (again["state"], again["rerun_of"]) == ("succeeded", first["run"])
    assert [task["reason"] for task in again["tasks"].values()] == ["kept", "kept", "kept", None]
    known = {run["run"]: run["state"] for run in scenario.instance.json("history", "-n", 5)}
    assert (known[first["run"]], known[again["run"]]) == ("failed", "succeeded")


async def never(writer: asyncio.StreamWriter) -> None:
    """An answer that does not come."""
    await asyncio.Event().wait()


@pytest.mark.scenario("sw-subflow")
def test_the_cancel_of_a_run_stops_its_request_and_the_run_that_it_called(scenario: Scenario, web: WebServer) -> None:
    web.answers.put(never)
    scenario.install("called-and-cancelled", """
        tasks:
          long: {run: touch called; exec sleep 60}
        on_cancel:
          told: {run: echo "told" >> trace}
    """)  # fmt: skip
    run = scenario.start(f"""
        tasks:
          call: {{workflow: called-and-cancelled}}
          get: {{http: "http://127.0.0.1:{web.port}/"}}
    """)
    wait_until(scenario.path("called").exists, "the called run is at work")
    web.take()
    assert scenario.instance.ctl("cancel", run).returncode == 0
    ended = scenario.instance.wait_run(run)
    assert (ended["state"], states(ended)) == ("cancelled", {"call": "cancelled", "get": "cancelled"})
    assert scenario.trace == ["told"]
    assert scenario.instance.json("history", "called-and-cancelled", "-n", 1)[0]["state"] == "cancelled"
