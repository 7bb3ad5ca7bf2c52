"""The JSON API and the metrics by HTTP, against what the command line prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pyflowd.protocol.words import Level
from tests.daemon.front import Front
from tests.daemon.instance import Instance

WORKFLOW = """
params: {day: {default: mon}}
tasks:
  first: {run: 'echo hello; echo "$PARAM_DAY"'}
  second: {needs: first, run: 'exit 3'}
"""
ASKS = "tasks: {prod: {approval: {message: 'Ship it?'}}}\n"


@pytest.fixture(scope="module")
def front(shared_daemon: Instance) -> Iterator[Front]:
    shared_daemon.install("w.yaml", WORKFLOW)
    shared_daemon.install("asks.yaml", ASKS)
    made = Front(shared_daemon)
    made.start()
    yield made
    made.end()


@pytest.fixture(scope="module")
def token(front: Front) -> str:
    return front.bearer()


@pytest.fixture(scope="module")
def run(front: Front, token: str) -> int:
    answer = front.api("POST", "/runs", token, {"workflow": "w", "params": {"day": "tue"}})
    assert answer.status == 201
    recorded = answer.json()
    assert answer.headers["Location"] == f"/api/v1/runs/{recorded['run']}"
    front.instance.wait_run(recorded["run"])
    return int(recorded["run"])


def _without_now(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_now(each) for key, each in value.items() if key not in ("now", "next", "used_us")}
    return [_without_now(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("/host", "status"), ("/workflows", "list"), ("/workflows/w", "show w"), ("/runs", "history"),
        ("/runs/{run}", "status {run}"), ("/runs?workflow=w&state=failed", "history w --state failed"),
        ("/runs/{run}/graph", "graph {run}"), ("/workflows/w/graph", "graph w"), ("/slots", "slots"),
        ("/explain/{run}?task=second", "explain {run} second"), ("/approvals", "approvals"), ("/version", "version"),
        ("/audit?limit=5", "audit -n 5"), ("/secrets", "secret list"), ("/places", "places"),
    ],
)  # fmt: skip
def test_what_it_tells_is_what_the_command_line_prints(
    front: Front, token: str, run: int, path: str, command: str
) -> None:
    answer = front.api("GET", path.format(run=run), token)
    assert answer.status == 200, answer.text
    printed = front.instance.ctl("-o", "json", *command.format(run=run).split()).stdout
    shown = json.loads(printed)
    if command == "version":
        shown = {"daemon": shown["daemon"]}
    assert _without_now(answer.json()) == _without_now(shown)


def test_the_log_is_told_as_bytes(front: Front, token: str, run: int) -> None:
    answer = front.api("GET", f"/runs/{run}/log/first", token)
    assert (answer.status, answer.body) == (200, b"hello\ntue\n")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert front.api("GET", f"/runs/{run}/log/nothing", token).status == 404


DAY = "since=2026-01-01T00:00:00Z&until=2026-01-02T00:00:00Z"


@pytest.mark.parametrize(
    "path",
    [
        "/identity", "/outcomes", "/workflows/w/grid", "/runs/{run}/attempts", "/tokens", "/metrics",
        "/runs/{run}/samples/first", f"/timeline?workflows=w&{DAY}",
    ],
)  # fmt: skip
def test_figures_are_told_as_the_protocol_has_them(front: Front, token: str, run: int, path: str) -> None:
    answer = front.api("GET", path.format(run=run), token)
    assert answer.status == 200, answer.text
    assert isinstance(answer.json(), dict)


def test_the_same_key_gives_the_same_run(front: Front, token: str) -> None:
    key = {"Idempotency-Key": "night-1"}
    runs = [front.api("POST", "/runs", token, {"workflow": "w"}, **key).json()["run"] for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_run_is_done_again_cancelled_seen_and_answered(front: Front, token: str, run: int) -> None:
    again = front.api("POST", f"/runs/{run}/rerun", token, {"failed_only": True})
    assert (again.status, again.json()["run"] > run) == (201, True)
    seen = front.api("POST", f"/runs/{run}/seen", token)
    assert (seen.status, bool(seen.json()["seen_by"])) == (200, True)
    asks = front.api("POST", "/runs", token, {"workflow": "asks"}).json()["run"]
    front.instance.wait_task(asks, "prod", "running")
    approved = front.api("POST", f"/runs/{asks}/approve/prod", token, {"comment": "fine"})
    assert (approved.status, approved.json()["approved"], approved.json()["comment"]) == (200, True, "fine")
    other = front.api("POST", "/runs", token, {"workflow": "asks"}).json()["run"]
    cancelled = front.api("POST", f"/runs/{other}/cancel", token)
    assert (cancelled.status, cancelled.json()["run"]) == (200, other)
    assert front.instance.wait_run(other)["state"] == "cancelled"


def test_pages_are_had_with_the_last_number(front: Front, token: str, run: int) -> None:
    first = front.api("GET", "/runs?limit=2", token).json()
    assert [each["run"] for each in first] == sorted((each["run"] for each in first), reverse=True)
    rest = front.api("GET", f"/runs?before={first[-1]['run']}", token).json()
    assert all(each["run"] < first[-1]["run"] for each in rest)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "word"),
    [
        ("GET", "/runs/999999", None, 404, "not_found", "999999"),
        ("GET", "/workflows/nope", None, 404, "not_found", "nope"),
        ("GET", "/runs?limt=1", None, 400, "usage", "limit"),
        ("POST", "/runs", {"workflow": "w", "params": {"nope": 1}}, 409, "refused", "nope"),
        ("POST", "/runs", {"workflow": "..%2f"}, 404, "not_found", "workflow"),
        ("POST", "/runs?workflow=w", {}, 400, "usage", "body"),
        ("GET", "/workflows/..%2f..%2fetc%2fpasswd", None, 404, "", ""),
    ],
)
def test_errors_are_objects_with_one_line(
    front: Front, token: str, method: str, path: str, body: Any, status: int, code: str, word: str
) -> None:
    answer = front.api(method, path, token, body)
    assert answer.status == status, answer.text
    if code:
        told = answer.json()
        assert (told["status"], told["code"]) == (status, code)
        assert word in told["error"]
        assert "\n" not in told["error"]


def test_without_a_token_there_is_only_the_document(front: Front) -> None:
    assert front.api("GET", "/openapi.json", "").json()["openapi"] == "3.1.0"
    answer = front.api("GET", "/host", "")
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json()["code"] == "unauthorized"


def test_a_token_for_reading_starts_nothing(front: Front) -> None:
    reading = front.bearer(Level.READ)
    assert front.api("GET", "/runs", reading).status == 200
    answer = front.api("POST", "/runs", reading, {"workflow": "w"})
    assert (answer.status, answer.json()["code"]) == (403, "forbidden")


# ---- Metrics


def test_metrics_are_told_to_a_token(front: Front, token: str, run: int) -> None:
    answer = front.ask("GET", "/metrics", {"Authorization": f"Bearer {token}"})
    assert (answer.status, answer.headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    found = {family.name: family for family in text_string_to_metric_families(answer.text)}
    ended = {sample.labels["outcome"]: sample.value for sample in found["pyflow_runs"].samples
             if sample.labels["workflow"] == "w"}  # fmt: skip
    assert ended["failed"] >= 1
    assert found["pyflow_up"].samples[0].value == 1
    assert front.ask("GET", "/metrics").status == 401
    assert front.ask("GET", "/metrics", {"Authorization": f"Bearer {front.session()}"}).status == 401


def test_open_metrics_tell_nothing_of_workflows(front: Front) -> None:
    other = Front(front.instance)
    other.settings("metrics_token: false\n")
    try:
        other.start()
        assert "workflow" not in other.get("/metrics").text
        assert "pyflow_up 1.0" in other.get("/metrics").text
        other.end()
        other.settings("metrics: false\n")
        other.start()
        assert other.get("/metrics").status == 404
    finally:
        other.end()
        other.settings("")
