"""Every scenario and every pattern of the corpus has its test, or stands here with what of it cannot be done."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import tests.daemon
from tests.corpus import CORPUS, needs_corpus

PARTLY = {
    "argo-cron-when": "the condition of a trigger knows its slot and the params, not when the last run has started",
}
"""Scenarios of which a part is not possible."""


def modules() -> Iterator[ModuleType]:
    for module in pkgutil.iter_modules(tests.daemon.__path__, "tests.daemon."):
        if module.name.startswith("tests.daemon.test_scenarios_"):
            yield importlib.import_module(module.name)


def shown() -> set[str]:
    """All that the marks of tests name."""
    return {
        name
        for module in modules()
        for test in vars(module).values()
        for mark in getattr(test, "pytestmark", ())
        if isinstance(mark, pytest.Mark) and mark.name == "scenario"
        for name in mark.args
    }


def corpus() -> set[str]:
    assert CORPUS is not None
    files = [CORPUS / "scenarios" / name for name in ("scenarios.json", "control_flow_patterns.json")]
    return {case["id"] for file in files for case in json.loads(file.read_text())["cases"]}


@needs_corpus
def test_every_scenario_of_the_corpus_has_a_test() -> None:
    assert corpus() - shown() == set()


@needs_corpus
def test_no_test_names_a_scenario_that_the_corpus_does_not_have() -> None:
    assert shown() <= corpus()


def test_what_is_possible_in_part_has_a_test() -> None:
    assert PARTLY.keys() <= shown()
