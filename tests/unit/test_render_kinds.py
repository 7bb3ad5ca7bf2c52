"""Kinds of task as they are shown: built-in ones and plugins alike."""

from __future__ import annotations

import pytest

from pyflowd.language import kinds
from pyflowd.language.assembly import assemble
from pyflowd.language.definition_kinds import KINDS
from pyflowd.language.definition_text import Part
from pyflowd.language.plugins import Plugin, PluginField
from pyflowd.render import render_kinds
from pyflowd.render.layout import Style

SQL = Plugin(
    name="sql",
    origin="pyflow-sql 0.1",
    summary="Query a database.",
    text="Query a database.\n\nMore of it.",
    inputs=(
        PluginField(name="query", schema={"type": "string", "title": "string"}, required=True, description="what"),
        PluginField(name="rows", schema={"type": "integer", "title": "integer"}, default=3),
        PluginField(name="password", schema={"type": "string", "title": "string"}, required=True, secret=True),
    ),
    outputs=(PluginField(name="count", schema={"title": "integer"}, required=True),),
)
BROKEN = Plugin(name="odd", origin="plugins/odd.py", error="it cannot\x1b[31m be imported")


def test_a_kind_is_shown_with_inputs_outputs_and_an_example() -> None:
    assert render_kinds.kind(SQL, Style(), built_in=False) == [
        "sql, pyflow-sql 0.1",
        "  Query a database.",
        "",
        "  More of it.",
        "",
        "Inputs, under with",
        "  query     string   required          what",
        "  rows      integer  default 3",
        "  password  string   required, secret",
        "",
        "Outputs",
        "  count  integer  required",
        "",
        "Example",
        "  uses: sql",
        "  with:",
        '    query: "..."',
        "    password: ${{ secrets.NAME }}",
    ]


def test_the_list_has_one_line_for_each_and_says_what_is_broken() -> None:
    lines = render_kinds.kinds([SQL, BROKEN], Style())
    assert lines[1:3] == [
        "sql   pyflow-sql 0.1  Query a database.",
        r"odd   plugins/odd.py  cannot be used: it cannot\x1b[31m be imported",
    ]


def test_a_program_is_told_types_and_defaults() -> None:
    told = render_kinds.as_json(SQL, built_in=False)
    assert (told["name"], told["from"], told["error"], told["built_in"]) == ("sql", "pyflow-sql 0.1", None, False)
    assert told["inputs"][1] == {
        "name": "rows", "type": "integer", "required": False, "default": 3, "description": "", "secret": False,
        "schema": {"type": "integer", "title": "integer"},
    }  # fmt: skip


def test_every_built_in_kind_is_told() -> None:
    assert set(kinds.ABOUT) == set(KINDS)


@pytest.mark.parametrize("name", kinds.ABOUT)
def test_the_example_of_a_built_in_kind_is_a_task(name: str) -> None:
    task = kinds.ABOUT[name].example.replace("\n", "\n    ")
    found = assemble(Part(label="a.yaml", data=f"tasks:\n  a:\n    {task}\n".encode()), stem="a")
    assert found.workflow is not None, found.problems


@pytest.mark.parametrize(
    ("kind", "key", "told"),
    [
        ("http", "method", ("string", "GET", False)),
        ("http", "read_timeout", ("duration", "60s", False)),
        ("http", "url", ("string", None, True)),
        ("ssh", "port", ("integer", None, False)),
        ("wait", "for", ("duration", None, False)),
        ("approval", "on_timeout", ('"reject" | "approve" | "fail" | "skip"', "reject", False)),
        ("file", "copy", ("operation", None, False)),
    ],
)
def test_keys_of_built_in_kinds_have_types_and_defaults(kind: str, key: str, told: tuple[object, ...]) -> None:
    found = next(each for each in kinds.built_in() if each.name == kind)
    field = next(each for each in found.inputs if each.name == key)
    assert (field.type, field.default, field.required) == told
