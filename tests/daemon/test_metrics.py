"""What is counted, on a real daemon: each thing once, by the workflow that it is of, from the daemon's start on."""

from __future__ import annotations

from collections import Counter as Tallied
from contextlib import suppress
from typing import Any

import pytest

from pyflowd.errors import PyflowError
from pyflowd.protocol.figures import GetMetrics, Histogram, MetricsView
from pyflowd.protocol.requests import DeliverHook
from tests.daemon.instance import Instance
from tests.waiting import wait_until

RETRIES = """
tasks:
  a: {run: exit 3, retry: {attempts: 3, delay: 10ms}, continue_on_error: true}
  fan: {for_each: [x, y, z], run: "true", needs: a}
  b: {run: "true", needs: fan, if: "${{ false }}"}
  c: {run: exit 1, needs: fan}
  d: {run: "true", needs: c}
on_failure: {tell: {run: "true"}}
"""

HOOKED = """
triggers:
  push:
    webhook: {hook: push, verify: {gitlab: key}}
    if: event.headers['x-gitlab-event'] == 'push'
tasks: {a: {run: "true"}}
"""


def metrics(instance: Instance) -> MetricsView:
    with instance.client() as client:
        (found,) = client.ask(GetMetrics())
    assert isinstance(found, MetricsView)
    return found


def value(found: MetricsView, name: str, **labels: str) -> float | None:
    """Of the one counter or gauge with that name and all of these labels."""
    for each in (*found.counters, *found.gauges):
        if each.name == name and each.labels == labels:
            return each.value
    return None


def histogram(found: MetricsView, name: str, **labels: str) -> Histogram:
    return next(each for each in found.histograms if each.name == name and each.labels == labels)


def outcomes(found: MetricsView, name: str, workflow: str) -> dict[str, float]:
    mine = (each for each in found.counters if each.name == name and each.labels["workflow"] == workflow)
    return {each.labels["outcome"]: each.value for each in mine}


def test_runs_tasks_and_retries_are_counted_once_when_they_end(daemon: Instance) -> None:
    daemon.install("r.yaml", RETRIES)
    zero = {"succeeded": 0, "failed": 0, "cancelled": 0}
    assert outcomes(metrics(daemon), "pyflow_runs", "r") == zero
    for count in (1, 2):
        daemon.wait_run(daemon.run("r"))
        found = metrics(daemon)
        assert outcomes(found, "pyflow_runs", "r") == {**zero, "failed": count}
        assert outcomes(found, "pyflow_tasks", "r") == {
            "succeeded": 4 * count, "failed": 2 * count, "skipped": count, "upstream_failed": count,
        }  # fmt: skip
        assert value(found, "pyflow_task_retries", workflow="r") == 2 * count
        assert sum(histogram(found, "pyflow_run_duration_seconds", workflow="r").counts) == count
        tasks = histogram(found, "pyflow_task_duration_seconds", workflow="r")
        assert sum(tasks.counts) == 6 * count
        assert 0 < tasks.sum < 60
        assert len(tasks.counts) == len(tasks.bounds) + 1
        assert sum(histogram(found, "pyflow_run_queue_seconds").counts) == count
    daemon.stop()
    daemon.start()
    assert outcomes(metrics(daemon), "pyflow_runs", "r") == zero


def test_a_task_that_is_cancelled_while_it_waits_for_its_next_try_is_counted(daemon: Instance) -> None:
    daemon.install("w.yaml", "tasks: {a: {run: exit 1, retry: {attempts: 2, delay: 1h}}}\n")
    run = daemon.run("w")
    daemon.wait_task(run, "a", "retrying")
    assert value(metrics(daemon), "pyflow_live_runs", state="running") == 1
    daemon.ctl("cancel", run)
    daemon.wait_run(run)
    found = metrics(daemon)
    assert outcomes(found, "pyflow_tasks", "w") == {"cancelled": 1}
    assert outcomes(found, "pyflow_runs", "w") == {"succeeded": 0, "failed": 0, "cancelled": 1}
    assert value(found, "pyflow_task_retries", workflow="w") == 1


def test_tasks_that_a_rerun_keeps_are_not_counted_again(daemon: Instance) -> None:
    daemon.install("w.yaml", "tasks: {a: {run: 'true'}, b: {run: exit 1, needs: a}}\n")
    run = daemon.run("w")
    daemon.wait_run(run)
    again = daemon.json("rerun", run, "--failed")["run"]
    daemon.wait_run(again)
    assert outcomes(metrics(daemon), "pyflow_tasks", "w") == {"succeeded": 1, "failed": 2}


def test_slots_are_counted_by_fate_and_lateness_is_of_those_that_fired(daemon: Instance) -> None:
    daemon.install("s.yaml", "triggers: {tick: {every: 1s}}\noverlap: skip\ntasks: {a: {approval: {message: go}}}\n")

    def counted() -> MetricsView | None:
        found = metrics(daemon)
        return found if (value(found, "pyflow_slots", workflow="s", fate="skipped") or 0) >= 2 else None

    wait_until(counted, "slots")
    daemon.ctl("pause", "s")
    shown = Tallied(slot["fate"] for slot in daemon.json("slots", "s"))
    found = metrics(daemon)
    assert value(found, "pyflow_slots", workflow="s", fate="fired") == 1
    assert (value(found, "pyflow_slots", workflow="s", fate="skipped") or 0) >= shown["skipped"]
    assert sum(histogram(found, "pyflow_slot_lateness_seconds").counts) == 1
    assert value(found, "pyflow_workflows", state="paused") == 1
    assert value(found, "pyflow_workflow_next_slot_timestamp_seconds", workflow="s") is None


def test_how_things_stand_is_told_as_it_is(daemon: Instance) -> None:
    daemon.install(
        "a.yaml", "schedule: '0 3 * * *'\ntasks: {a: {approval: {message: go}}, b: {run: 'true', needs: a}}\n"
    )
    daemon.write("broken.yaml", "tasks: {a: {rum: x}}\n")
    daemon.ctl("reload")
    before = metrics(daemon)
    assert value(before, "pyflow_keeper_up") == 1
    assert value(before, "pyflow_drained") == 0
    assert value(before, "pyflow_workflows", state="active") == 1
    assert value(before, "pyflow_workflows", state="broken") == 1
    assert value(before, "pyflow_workflow_last_success_timestamp_seconds", workflow="a") is None
    next_s = value(before, "pyflow_workflow_next_slot_timestamp_seconds", workflow="a")
    started_s = value(before, "pyflow_start_timestamp_seconds")
    assert next_s is not None
    assert started_s is not None
    assert 0 < next_s - started_s <= 86_400 + 60
    run = daemon.run("a")
    daemon.wait_task(run, "a", "running")
    during = metrics(daemon)
    assert value(during, "pyflow_live_runs", state="running") == 1
    assert value(during, "pyflow_running_tasks") == 0  # an approval holds nothing
    daemon.ctl("approve", run, "a")
    ended = daemon.wait_run(run)
    daemon.ctl("drain")
    after = metrics(daemon)
    assert value(after, "pyflow_drained") == 1
    assert value(after, "pyflow_live_runs", state="running") == 0
    success_s = value(after, "pyflow_workflow_last_success_timestamp_seconds", workflow="a")
    assert success_s is not None
    assert ended["state"] == "succeeded"
    for name in ("pyflow_store_size_bytes", "pyflow_connections", "pyflow_max_tasks", "pyflow_events"):
        assert (value(after, name) or 0) > 0, name
    for folder in ("state", "log"):
        assert (value(after, "pyflow_disk_free_bytes", folder=folder) or 0) > 0
    assert sum(histogram(after, "pyflow_loop_turn_seconds").counts) > 5
    daemon.stop()
    daemon.start()
    assert value(metrics(daemon), "pyflow_workflow_last_success_timestamp_seconds", workflow="a") == success_s


def test_every_name_is_explained_and_keeps_the_conventions(daemon: Instance) -> None:
    daemon.install("r.yaml", RETRIES)
    daemon.wait_run(daemon.run("r"))
    found = metrics(daemon)
    names = {each.name for each in (*found.counters, *found.gauges, *found.histograms)}
    assert names <= set(found.help)
    units = ("_seconds", "_bytes")
    for each in found.histograms:
        assert each.name.endswith("_seconds")
        assert each.bounds == sorted(each.bounds)
    assert not [name for name in found.help if name.endswith(("_total", "_count", "_sum", "_bucket"))]
    assert all(name.startswith("pyflow_") for name in found.help)
    assert not [name for name in found.help if "size" in name and not name.endswith(units)]


def test_deliveries_are_counted_by_what_became_of_them(instance: Instance) -> None:
    secret = instance.root / "secrets" / "key"
    secret.parent.mkdir(mode=0o700)
    secret.write_text("k3y-of-the-hook")
    secret.chmod(0o600)
    instance.start()
    instance.install("h.yaml", HOOKED)
    good = {"X-Gitlab-Token": "k3y-of-the-hook", "X-Gitlab-Event-UUID": "1", "X-Gitlab-Event": "push"}
    deliveries = [
        DeliverHook(hook="push", headers=good, body=b"{}"),
        DeliverHook(hook="push", headers=good, body=b"{}"),
        DeliverHook(hook="push", headers={**good, "X-Gitlab-Event-UUID": "2", "X-Gitlab-Event": "tag"}, body=b"{}"),
        DeliverHook(hook="push", headers={"X-Gitlab-Token": "guessed"}, body=b"{}"),
        DeliverHook(hook="none", body=b"{}"),
    ]
    for delivery in deliveries:
        with instance.client() as client, suppress(PyflowError):
            list(client.ask(delivery))
    found = {each.labels["result"]: each.value for each in metrics(instance).counters if "hook" in each.name}
    assert found == {"accepted": 1, "repeated": 1, "skipped": 1, "refused": 1, "unknown": 1}


@pytest.mark.parametrize("ends", ["succeeded", "failed"])
def test_the_last_success_is_found_behind_failures(daemon: Instance, ends: str) -> None:
    text = "params: {code: {type: integer, default: 0}}\n"
    text += "tasks: {a: {run: 'exit $CODE', env: {CODE: '${{ params.code }}'}}}\n"
    daemon.install("w.yaml", text)
    states: list[Any] = [daemon.wait_run(daemon.run("w", "-p", f"code={code}")) for code in (0, 1, 1)]
    assert [each["state"] for each in states] == ["succeeded", "failed", "failed"]
    if ends == "succeeded":
        daemon.wait_run(daemon.run("w"))
    live = value(metrics(daemon), "pyflow_workflow_last_success_timestamp_seconds", workflow="w")
    daemon.stop()
    daemon.start()
    assert value(metrics(daemon), "pyflow_workflow_last_success_timestamp_seconds", workflow="w") == live
