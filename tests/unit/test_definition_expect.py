"""`expect` in a file: what is taken, what is refused with its remedy, and what would never be told."""

from __future__ import annotations

import pytest

from pyflowd.lint import lint
from pyflowd.model.problem import Problem, Severity
from pyflowd.model.triggers import Expectation

TASKS = "tasks: {a: {run: 'true'}}\n"
SCHEDULE = "schedule: '30 2 * * *'\n"


def found(text: str) -> tuple[Expectation | None, list[Problem]]:
    workflow, problems = lint.check("w.yaml", (text + TASKS).encode(), stem="w", is_json=False)
    return (workflow.expect if workflow else None), problems


def test_each_key_has_its_field() -> None:
    expect, problems = found(SCHEDULE + 'expect: {start_within: 15m, finish_by: "06:00", max_duration: 2h}\n')
    assert expect == Expectation(start_within_s=900.0, finish_by="06:00", max_duration_s=7200.0)
    assert problems == []


def test_without_the_key_nothing_is_expected() -> None:
    assert found(SCHEDULE) == (None, [])


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("{}", "nothing is expected"),
        ("15m", "expected a mapping"),
        ("{finish_by: 360}", "expected a time of day"),
        ("{finish_by: '24:00'}", "expected a time of day"),
        ("{finish_by: '6:00'}", "expected a time of day"),
        ("{start_within: 15}", "unit"),
        ("{start_within: 0s}", "longer than nothing"),
        ("{within: 15m}", "start_within"),
    ],
)
def test_what_is_no_expectation_is_refused(written: str, reason: str) -> None:
    expect, problems = found(SCHEDULE + f"expect: {written}\n")
    assert expect is None
    assert any(reason in str(problem) for problem in problems if problem.severity is Severity.ERROR), problems


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("expect: {start_within: 15m}\n", ["start_within: it is counted from slots, and no schedule has any"]),
        ("expect: {finish_by: '06:00'}\n", ["finish_by: it is counted from slots, and no schedule has any"]),
        ("schedule: '@reboot'\nexpect: {finish_by: '06:00'}\n", ["finish_by: it is counted from slots"]),
        ("expect: {max_duration: 2h}\n", []),
        ("timeout: 1h\nexpect: {max_duration: 2h}\n", ["max_duration: the run's timeout ends it before that"]),
        ("timeout: 3h\nexpect: {max_duration: 2h}\n", []),
    ],
)
def test_what_would_never_be_told_is_a_warning(text: str, told: list[str]) -> None:
    expect, problems = found(text)
    assert expect is not None
    assert len(problems) == len(told)
    for problem, message in zip(problems, told, strict=True):
        assert (problem.code, message in problem.message) == ("no_effect", True)
