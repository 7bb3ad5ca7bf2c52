"""Tests wait for conditions: one function does, and nothing else in the tests sleeps."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests import waiting
from tests.waiting import wait_until

TESTS = Path(waiting.__file__).parent


def test_the_first_true_value_is_given() -> None:
    values = iter([0, "", "third", "fourth"])
    assert wait_until(lambda: next(values), "a value") == "third"


def test_what_does_not_come_fails_with_how_things_stand_then() -> None:
    looked: list[int] = []
    with pytest.raises(AssertionError, match=r"not within 0\.01 s: looked [1-9]"):
        wait_until(lambda: looked.append(1), lambda: f"looked {len(looked)}", 0.01)  # type: ignore[func-returns-value]


def _sleeps(path: Path) -> bool:
    calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return any(isinstance(call, ast.Attribute) and ast.unparse(call) == "time.sleep" for call in calls)


def test_nothing_else_sleeps() -> None:
    sleeping = {str(path.relative_to(TESTS)) for path in TESTS.rglob("*.py") if _sleeps(path)}
    assert sleeping == {"waiting.py"}
