"""The JSON API by itself: from HTTP to requests, its document, and that nothing of the protocol is forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from openapi_spec_validator import validate

from pyflowd.errors import UsageError
from pyflowd.protocol.figures import GetTimeline
from pyflowd.protocol.requests import OPERATIONS, AnswerApproval, CancelRun, ListEvents, ListRuns, ListSlots, StartRun
from pyflowd.web.api import asked, openapi
from pyflowd.web.api.resources import LEFT_OUT, RESOURCES, Resource


def resource(method: str, path: str) -> Resource:
    return next(each for each in RESOURCES if (each.method, each.path) == (method, path))


def got(path: str, *query: tuple[str, str], **of_path: str) -> Any:
    return asked.of_query(resource("GET", path), of_path, query)


def posted(path: str, body: bytes = b"", key: str | None = None, **of_path: str) -> Any:
    return asked.of_body(resource("POST", path), of_path, body, key)


def test_every_request_of_the_protocol_is_there_or_said_to_be_left_out() -> None:
    there = {each.request for each in RESOURCES}
    assert not there & set(LEFT_OUT)
    assert there | set(LEFT_OUT) == set(OPERATIONS)


def test_what_changes_something_is_posted_and_what_does_not_is_got() -> None:
    assert {each.request for each in RESOURCES if each.method == "POST"} == {
        each.request for each in RESOURCES if OPERATIONS[each.request].changes
    }


def test_no_two_resources_are_one() -> None:
    shapes = [
        (each.method, tuple("{}" if part[:1] == "{" else part for part in each.path.split("/"))) for each in RESOURCES
    ]
    assert len(shapes) == len(set(shapes))


def test_a_query_becomes_a_request() -> None:
    assert got("/runs", ("workflow", "w"), ("limit", "5"), ("before", "9")) == ListRuns(workflow="w", limit=5, before=9)
    assert got("/slots") == ListSlots(limit=1000)
    assert got("/events", ("after", "3")) == ListEvents(after=3)
    assert got("/slots", ("since", "1970-01-01T01:00:01+01:00")) == ListSlots(since_us=1_000_000, limit=1000)
    lanes = [
        ("workflows", "a"),
        ("workflows", "b"),
        ("since", "1970-01-01T00:00:00Z"),
        ("until", "1970-01-01T00:00:01Z"),
    ]
    assert got("/timeline", *lanes) == GetTimeline(workflows=["a", "b"], since_us=0, until_us=1_000_000)


def test_a_body_becomes_a_request() -> None:
    assert posted("/runs", b'{"workflow": "w", "params": {"n": 1}}') == StartRun(workflow="w", params={"n": 1})
    assert posted("/runs/{run}/cancel", run="7") == CancelRun(run=7)
    answer = posted("/runs/{run}/reject/{task}", b'{"comment": "no"}', run="7", task="prod")
    assert answer == AnswerApproval(run=7, task="prod", approve=False, comment="no")
    assert posted("/runs", b'{"workflow": "w"}', key="k").key == "k"


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ([("limt", "5")], 'did you mean "limit"'),
        ([("limit", "0")], "limit"),
        ([("limit", "1001")], "more than 1000"),
        ([("limit", "five")], "int"),
        ([("limit", "1"), ("limit", "2")], "twice"),
        ([("since", "yesterday")], "2026-11-24T02:30:00"),
        ([("since", "2026-11-24T02:30:00")], "no offset"),
        ([("since_us", "1")], 'did you mean "since"'),
        ([("before", str(1 << 63))], "before"),
        ([("follow", "true")], "nothing to ask for"),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_line(query: list[tuple[str, str]], word: str) -> None:
    with pytest.raises(UsageError) as told:
        got("/runs", *query)
    assert word in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("body", "key", "word"),
    [
        (b"{", None, "no JSON"),
        (b"[" * 100_000, None, "no JSON"),
        (b"[]", None, "no JSON object"),
        (b'{"workflow": 7}', None, "str"),
        (b'{"workflw": "w"}', None, 'did you mean "workflow"'),
        (b'{"workflow": "w", "key": "a"}', "b", "differ"),
        (b'{"workflow": "w"}', "k" * 256, "1 to 255"),
        (b'{"workflow": "w"}', "", "1 to 255"),
        (b"\xff", None, "no JSON"),
        (b'{"workflow": "\xff"}', None, "no JSON"),
    ],
)
def test_a_body_that_is_none_is_told_in_one_line(body: bytes, key: str | None, word: str) -> None:
    with pytest.raises(UsageError) as told:
        posted("/runs", body, key)
    assert word in str(told.value)


def test_what_the_path_settles_is_not_taken_from_the_body() -> None:
    with pytest.raises(UsageError, match="nothing to ask for"):
        posted("/runs/{run}/approve/{task}", b'{"approve": false}', run="1", task="t")
    with pytest.raises(UsageError, match="nothing to ask for"):
        posted("/runs/{run}/cancel", b'{"run": 2}', run="1")
    with pytest.raises(UsageError):
        posted("/runs/{run}/cancel", run="w")


def test_the_document_is_openapi_and_holds_every_resource() -> None:
    document = openapi.document("/api/v1")
    validate(document)
    there = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    assert there == {(each.method, each.path) for each in RESOURCES}
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


def test_every_operation_says_what_it_takes() -> None:
    runs = openapi.document("/api/v1")["paths"]["/runs"]
    assert {each["name"] for each in runs["get"]["parameters"]} == {"workflow", "state", "since", "limit", "before"}
    body = runs["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"workflow", "params", "key", "dry_run"} <= set(body["properties"])
    assert "Idempotency-Key" in {each["name"] for each in runs["post"]["parameters"]}
