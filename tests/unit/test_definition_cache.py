"""`cache` of a task as it is written: what is taken, what is refused and why."""

from __future__ import annotations

import pytest

from pyflowd.language.assembly import Missing, assemble
from pyflowd.language.definition_text import Part
from pyflowd.model.problem import Problem
from pyflowd.model.workflow import Cache, Workflow


def read(task: str, rest: str = "") -> tuple[Workflow | None, list[Problem]]:
    text = f"tasks:\n  a: {task}\n{rest}"
    part = Part(label="w.yaml", data=text.encode())
    found = assemble(part, (), lambda _: Missing("no such template"), stem="w")
    return found.workflow, list(found.problems)


def problem(task: str, rest: str = "") -> tuple[str, str]:
    """Code and message of the only problem."""
    (found,) = read(task, rest)[1]
    assert found.line == 2
    return found.code, found.message


@pytest.mark.parametrize(
    "kind",
    [
        "run: make",
        "argv: [make]",
        "python: m:f",
        "file: {mkdir: /srv/x}",
        "ssh: {host: h, run: make}",
        "http: https://example.com/",
        "workflow: other",
        "run: make, for_each: [1, 2]",
    ],
)
def test_work_may_be_used_again(kind: str) -> None:
    found, problems = read(f"{{{kind}, cache: {{key: v1, ttl: 7d}}}}")
    assert not problems
    assert found is not None
    assert found.tasks[0].cache == Cache(key="v1", ttl_s=7 * 86_400.0)


@pytest.mark.parametrize("kind", ["approval: {message: ok?}", "wait: 5m", "notify: {channel: c, text: t}"])
def test_what_is_done_for_its_own_sake_may_not(kind: str) -> None:
    assert problem(f"{{{kind}, cache: {{key: v1, ttl: 7d}}}}")[0] == "no_meaning"


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("run: x, repeat: {until: tasks.a.exit_code == 0, max: 3}", "repeat and cache do not go together"),
        ("run: x, undo: {run: y}", "undo and cache do not go together"),
        ("http: {url: 'https://example.com/', save_to: f}", "save_to and cache do not go together"),
        ("workflow: other, wait: false", "wait: false and cache do not go together"),
    ],
)
def test_what_does_not_go_with_it_is_refused(task: str, reason: str) -> None:
    code, message = problem(f"{{{task}, cache: {{key: v1, ttl: 7d}}}}")
    assert (code, reason in message) == ("no_meaning", True), message


def test_what_takes_a_task_back_is_done_each_time() -> None:
    assert problem("{run: x, undo: {run: y, cache: {key: v1, ttl: 7d}}}")[0] == "place"


@pytest.mark.parametrize(
    ("cache", "code", "reason"),
    [
        ("v1", "value", "expected a mapping"),
        ("{key: v1}", "missing", "it has no ttl"),
        ("{ttl: 7d}", "missing", "it has no key"),
        ("{key: '', ttl: 7d}", "value", "its key is empty"),
        ("{key: 5, ttl: 7d}", "value", "expected text"),
        ("{key: v1, ttl: 7}", "value", "no unit"),
        ("{key: v1, ttl: 0s}", "value", "longer than nothing"),
        ("{key: v1, ttl: 7d, max_age: 1d}", "unknown_key", 'did you mean "ttl"'),
        ("{key: '${{ params.nope }}', ttl: 7d}", "reference", 'no param "nope"'),
        ("{key: '${{ item }}', ttl: 7d}", "reference", "item"),
        ("{key: '${{ tasks.a.outputs.x }}', ttl: 7d}", "reference", "this task itself"),
    ],
)
def test_a_cache_that_is_none_is_refused(cache: str, code: str, reason: str) -> None:
    found = problem(f"{{run: x, cache: {cache}}}")
    assert (found[0], reason in found[1]) == (code, True), found


def test_a_key_has_no_secrets() -> None:
    assert "secret" in problem("{run: x, cache: {key: '${{ secrets.token }}', ttl: 7d}}")[1]


def test_the_key_of_an_item_sees_the_item() -> None:
    assert not read("{run: x, for_each: [1], as: host, cache: {key: '${{ host }}-${{ index }}', ttl: 1h}}")[1]


def test_a_handler_may_use_something_again() -> None:
    handler = "finally:\n  h: {run: x, cache: {key: '${{ run.outcome }}', ttl: 1h}}\n"
    found, problems = read("{run: x}", handler)
    assert not problems
    assert found is not None
    assert found.finally_[0].cache is not None
