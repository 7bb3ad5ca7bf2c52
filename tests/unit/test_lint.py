"""From bytes to a workflow or to problems, and the names of files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.base import filenames
from pyflowd.language.definition import WORKFLOW
from pyflowd.language.definition_task import TASK
from pyflowd.lint import lint

EXAMPLES = sorted((Path(__file__).parents[2] / "etc" / "workflows").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_without_fault(path: Path) -> None:
    workflow, problems = lint.check(path.name, path.read_bytes(), stem=path.stem, is_json=False)
    assert workflow is not None
    assert problems == []
    assert workflow.name == path.stem


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5


def test_a_problem_names_the_file_as_it_was_given() -> None:
    problems = lint.check("./some/file.yaml", b"tasks:\n  a: {rnu: x}\n", stem="file", is_json=False)[1]
    assert str(problems[0]).startswith("./some/file.yaml:2:")


def test_yaml_is_no_json() -> None:
    assert lint.check("w.json", b"tasks: {a: {run: x}}", stem="w", is_json=True)[0] is None


_words = st.sampled_from(
    ["tasks", "a", "run", "argv", "needs", "retry", "attempts", "env", "params", "default", "type", "timeout", "5s",
     "x", "schedule", "* * * * *", "cron", "shell", "defaults", "log", "max_bytes", "1KiB", "labels", "name", "<<",
     "${{ x }}", "${{ params.a }}", "${{ tasks.a.outputs.x }}", "${{ item }}", "${{", "{{ item }}", "item == 1",
     *WORKFLOW.keys, *TASK.keys, "b", "exclude", "include", "until", "while", "max", "message", "choices", "for",
     "condition", "path", "optional", "channel", "text", "url", "json", "expect", "paginate", "copy", "to", "host",
     "a:b", "http://x/", "/x", "3%", "stdout", "all", "array"]
)  # fmt: skip
_trees = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=4),
    max_leaves=25,
)


@given(st.dictionaries(_words, _trees, max_size=5), _trees)
def test_any_tree_is_a_workflow_or_has_printable_problems_with_places(root: dict[str, object], tasks: object) -> None:
    data = json.dumps({**root, "tasks": {"a": tasks, "b": {"run": "x", "needs": "a"}}}).encode()
    workflow, problems = lint.check("w.json", data, stem="w", is_json=True)
    assert workflow is not None or problems
    assert all(str(problem).isprintable() and problem.line for problem in problems)


_task_keys = st.sampled_from(sorted(TASK.keys))
_task_like = st.dictionaries(_task_keys, _trees, min_size=1, max_size=5)


@given(
    _task_like, _task_like, st.dictionaries(st.sampled_from(["on_failure", "finally", "outputs", "defaults"]), _trees)
)
def test_any_task_is_one_or_has_printable_problems_with_places(
    one: dict[str, object], other: dict[str, object], root: dict[str, object]
) -> None:
    tasks = {"a": {"run": "x", **one}, "b": {"run": "x", "needs": "a", "undo": other, "on_error": {"c": other}}}
    data = json.dumps({**root, "tasks": tasks, "finally": {"z": other}}).encode()
    workflow, problems = lint.check("w.json", data, stem="w", is_json=True)
    assert workflow is not None or problems
    assert all(str(problem).isprintable() and (problem.line or problem.code == "more") for problem in problems)


@pytest.mark.parametrize(
    ("file", "parts"), [("a.yaml", ("a", False)), ("a.b.yml", ("a.b", False)), ("a.json", ("a", True))]
)
def test_a_name_is_stem_and_suffix(file: str, parts: tuple[str, bool]) -> None:
    assert filenames.is_definition_name(file)
    assert filenames.split_name(file) == parts


@pytest.mark.parametrize("file", [".a.yaml", "a.YAML", "a.yaml~", "#a.yaml", "~a.yaml", "a/b.yaml", "a.txt", "yaml"])
def test_other_names_are_none_of_ours(file: str) -> None:
    assert not filenames.is_definition_name(file)
