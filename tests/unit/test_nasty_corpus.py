"""Broken and hostile input from outside: refused in one line with a place, or read; never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyflowd.language.document import DocumentError
from pyflowd.language.document_json import parse_json
from pyflowd.language.document_yaml import parse_yaml
from pyflowd.lint import lint
from pyflowd.model.problem import Problem
from tests.corpus import CORPUS, needs_corpus

pytestmark = needs_corpus
NASTY = (CORPUS or Path()) / "nasty"
ROWS: list[dict[str, Any]] = json.loads((NASTY / "manifest.json").read_text()) if CORPUS else []
DAGS: list[dict[str, Any]] = json.loads((NASTY / "dag_cases.json").read_text())["cases"] if CORPUS else []
STRINGS: list[Any] = json.loads((NASTY / "naughty_strings.json").read_text()) if CORPUS else []

BY_RULE_D5 = {
    "json-test-suite/y_string_null_escape.json": "control_character",
    "json-test-suite/y_string_unescaped_char_delete.json": "control_character",
    "own-yaml/utf16-le.yaml": "encoding",
}
"""What its grammar allows and rule D5, or our encoding, does not."""
HIDDEN_BY_SHAPE = {
    "own-yaml/merge-scalar.yaml", "own-yaml/retries-bool.yaml", "own-yaml/retries-text.yaml", "own-yaml/task-typo.yaml",
    "own-yaml/timeout-infinite.yaml",
}  # fmt: skip
"""Their tasks are a list, which is refused before what they are about is seen: the line is that of the list."""


def rows(*expectations: str) -> list[Any]:
    return [pytest.param(row, id=row["file"]) for row in ROWS if row["expect"] in expectations]


def check(row: dict[str, Any]) -> tuple[bool, list[Problem]]:
    data = (NASTY / row["file"]).read_bytes()
    workflow, problems = lint.check(row["file"], data, stem="nasty", is_json=row["file"].endswith(".json"))
    return workflow is not None, problems


@pytest.mark.parametrize("row", rows("reject"))
def test_what_must_be_refused_is_refused(row: dict[str, Any]) -> None:
    assert not check(row)[0]


@pytest.mark.parametrize("row", rows("reject", "either", "reject or bound"))
def test_each_problem_is_one_printable_line_with_a_place(row: dict[str, Any]) -> None:
    for problem in check(row)[1]:
        assert str(problem).isprintable()
        assert len(str(problem)) < 600
        assert problem.line > 0


@pytest.mark.parametrize("row", [row for row in rows("reject") if row.values[0].get("line")])
def test_the_line_is_the_right_one(row: dict[str, Any]) -> None:
    if row["file"] in HIDDEN_BY_SHAPE:
        pytest.skip("refused for its shape, which comes first")
    assert row["line"] in {problem.line for problem in check(row)[1]}


@pytest.mark.parametrize("row", rows("accept"))
def test_what_its_grammar_allows_is_read(row: dict[str, Any]) -> None:
    data = (NASTY / row["file"]).read_bytes()
    parse = parse_json if row["file"].endswith(".json") else parse_yaml
    if row["file"] in BY_RULE_D5:
        with pytest.raises(DocumentError) as refused:
            parse(data)
        assert refused.value.code == BY_RULE_D5[row["file"]]
    else:
        assert parse(data).text


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in DAGS])
def test_a_graph_is_taken_or_refused_as_it_must_be(case: dict[str, Any]) -> None:
    tasks = {}
    for task in case["tasks"]:
        tasks[task["id"]] = {"run": "true", **({"needs": task["needs"]} if "needs" in task else {})}
    data = json.dumps({"tasks": tasks}).encode()
    workflow, problems = lint.check("dag.json", data, stem="dag", is_json=True)
    if case["expect"] != "either":
        assert (workflow is not None) == (case["expect"] == "accept"), problems


def test_a_naughty_string_as_a_name_is_refused_or_safe() -> None:
    for text in STRINGS:
        if not isinstance(text, str):
            continue
        data = json.dumps({"tasks": {text: {"run": "true"}}}).encode()
        workflow, problems = lint.check("naughty.json", data, stem="naughty", is_json=True)
        assert workflow is None or "/" not in text
        assert all(str(problem).isprintable() for problem in problems)


def test_a_naughty_string_as_a_value_arrives_unchanged_or_is_refused() -> None:
    for text in STRINGS:
        if not isinstance(text, str):
            continue
        data = json.dumps({"tasks": {"a": {"run": "true", "env": {"X": text}}}}).encode()
        workflow, problems = lint.check("naughty.json", data, stem="naughty", is_json=True)
        assert workflow.tasks[0].env["X"] == text if workflow else problems
