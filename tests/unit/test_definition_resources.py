"""`resources`: which limits a file may give, and what becomes of them up to the keeper's request."""

from __future__ import annotations

import pytest

from pyflowd.language.assembly import assemble
from pyflowd.language.definition_text import Part
from pyflowd.model.problem import Problem
from pyflowd.model.workflow import Resources, Workflow
from pyflowd.runtime.launch import limits
from tests.unit.test_launch import both


def read(text: str) -> tuple[Workflow | None, list[Problem]]:
    found = assemble(Part(label="w.yaml", data=text.encode()), stem="w")
    return found.workflow, list(found.problems)


def of(resources: str, kind: str = "run: x", defaults: str = "") -> Resources | None:
    workflow, problems = read(f"{defaults}tasks: {{a: {{{kind}, resources: {resources}}}}}\n")
    assert workflow is not None, problems
    return workflow.tasks[0].resources


def refusal(text: str) -> Problem:
    workflow, problems = read(text)
    assert workflow is None
    assert len(problems) == 1, problems
    return problems[0]


def test_every_limit_is_read() -> None:
    written = "{memory_max: 2GiB, cpu_max: 150%, cpu_weight: 20, io_weight: 30, tasks_max: 9, nice: -5}"
    assert of(written) == Resources(
        memory_max_bytes=2 << 30, cpu_max_percent=150, cpu_weight=20, io_weight=30, tasks_max=9, nice=-5
    )


def test_a_task_replaces_single_limits_of_the_defaults() -> None:
    defaults = "defaults: {resources: {memory_max: 1GiB, nice: 5}}\n"
    assert of("{nice: 7}", defaults=defaults) == Resources(memory_max_bytes=1 << 30, nice=7)


def test_defaults_hold_for_processes_and_for_nothing_else() -> None:
    text = "defaults: {resources: {nice: 5}}\ntasks: {a: {run: x}, b: {http: {url: 'https://h/'}}, c: {wait: 1s}}\n"
    workflow, problems = read(text)
    assert workflow is not None, problems
    assert [task.resources for task in workflow.tasks] == [Resources(nice=5), None, None]


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ("{memory_max: 512}", "512 has no unit"),
        ("{memory_max: 1KiB}", "is not from 4MiB to 1024TiB"),
        ("{cpu_max: 2}", "2 has no unit"),
        ("{cpu_max: 0%}", "is not from 1% to"),
        ("{cpu_max: half}", "no share of a processor"),
        ("{cpu_weight: 0}", "0 is not from 1 to 10000"),
        ("{io_weight: 10001}", "10001 is not from 1 to 10000"),
        ("{tasks_max: 0}", "0 is not from 1 to"),
        ("{nice: 20}", "20 is not from -20 to 19"),
        ("{memory: 1GiB}", 'did you mean "memory_max"?'),
        ("{}", "there is no limit"),
        ("512MiB", "expected a mapping"),
    ],
)
def test_what_is_no_limit_is_refused_with_its_place(resources: str, words: str) -> None:
    problem = refusal(f"tasks:\n  a:\n    run: x\n    resources: {resources}\n")
    assert words in problem.message
    assert problem.line == 4


KINDS = ["http: {url: 'https://h/'}", "workflow: other", "approval: {message: ok}", "wait: 1s"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_without_a_process_has_no_limits(kind: str) -> None:
    text = f"tasks: {{a: {{{kind}, resources: {{nice: 5}}}}}}\n"
    problem = refusal(text)
    assert problem.code == "no_meaning"
    assert "has no resources" in problem.message


def test_limits_of_a_task_on_another_host_are_warned_of() -> None:
    _, problems = read("tasks: {a: {ssh: {host: h, run: x}, resources: {memory_max: 1GiB}}}\n")
    assert [problem.code for problem in problems] == ["no_effect"]


def test_the_keeper_is_asked_for_what_is_written_by_the_names_of_the_file() -> None:
    asked, _ = both(resources=Resources(memory_max_bytes=1 << 30, cpu_max_percent=50, nice=0))
    assert asked.limits == {"memory_max": 1 << 30, "cpu_max": 50, "nice": 0}
    assert limits(None) == {}
