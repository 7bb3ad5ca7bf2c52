"""Every scenario and every pattern of the corpus has its test, or stands here with what it waits for."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import tests.daemon
from tests.corpus import CORPUS, needs_corpus

LATER = {
    "argo-semaphore": "places: pools shared by all runs of the host",
    "argo-cron-when": "triggers with `if`, whose slots are recorded as skipped",
    "airflow-past": "catch-up: runs for slots of a down time, in order, held by a failed one",
    "task-uptodate": "cache: outputs of an earlier success, by a key made of checksums",
}
"""Scenarios without a test, by what of the language they need."""

PARTLY_LATER = {
    "gha-outputs": "secrets: masked in every log, also when split over two writes",
    "kestra-sla": "expect: a promise that cancels, or only marks a run as late",
}
"""Scenarios of which a part has its test."""


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
def test_every_scenario_of_the_corpus_has_a_test_or_is_known_to_come_later() -> None:
    assert corpus() - shown() == LATER.keys()


@needs_corpus
def test_no_test_names_a_scenario_that_the_corpus_does_not_have() -> None:
    assert shown() <= corpus()


def test_what_comes_partly_later_has_a_test_already() -> None:
    assert PARTLY_LATER.keys() <= shown()
