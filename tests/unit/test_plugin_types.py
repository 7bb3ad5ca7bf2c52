"""Types of a plugin's inputs: schemas made of annotations, and two judges of values who must agree."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.language import definition_uses
from pyflowd.language.document_json import parse_json
from pyflowd.task import plugin_types
from pyflowd.task.plugin_types import Wrong, fields_of, problems, schema_of

HINTS: list[Any] = [
    str, int, float, bool, None, Any, list, list[str], list[list[int]], dict, dict[str, float], str | None,
    Literal["a", "b"], Literal[1, True], list[str | int] | dict[str, Any], Literal["x"] | None,
]  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(-3, 3)
    | st.sampled_from(["a", "b", "x", "", "$${{ a }}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("pqr"), inner, max_size=3),
    max_leaves=6,
)


class Inputs:
    city: Annotated[str, "whose weather"]
    days: int = 3
    tags: list[str] = []  # noqa: RUF012  a default is copied, as all values are
    token: Annotated[str | None, "of the account", "secret"] = None


def test_the_fields_of_a_class_are_in_order_with_defaults_and_descriptions() -> None:
    found = fields_of(Inputs, "Inputs")
    assert [(each.name, each.schema["title"], each.required, each.default) for each in found] == [
        ("city", "string", True, None),
        ("days", "integer", False, 3),
        ("tags", "array of string", False, []),
        ("token", "string | null", False, None),
    ]
    assert [(each.description, each.secret) for each in found][::3] == [
        ("whose weather", False),
        ("of the account", True),
    ]


def test_a_dataclass_has_the_defaults_of_its_factories() -> None:
    @dataclass
    class Made:
        items: list[int] = field(default_factory=lambda: [1])

    assert fields_of(Made, "Inputs")[0].default == [1]


class _Typed(TypedDict):
    x: int


class _Set:
    x: set[int]


class _Odd:
    x: int = "one"  # type: ignore[assignment]


class _Infinite:
    x: float = float("inf")


class _Marked:
    x: Annotated[str, "of it", "secrte"]


class _Shown:
    x: Annotated[str, "of it", "secret"] = "hunter2"


class _Named:
    ü: int


class _Undefined:
    x: "Nowhere"  # type: ignore[name-defined]  # noqa: F821, UP037


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (_Typed, "Inputs is no plain class"),
        (3, "Inputs is no plain class"),
        (_Set, "Inputs.x: the type set has no form in a workflow file"),
        (_Odd, 'Inputs.x: expected integer, found the text "one" as its default'),
        (_Infinite, "Inputs.x: its default is inf, which JSON does not have"),
        (_Marked, 'Inputs.x: there is no mark "secrte"'),
        (_Shown, "Inputs.x: a secret has no default but an empty one"),
        (_Named, "is no name of an output"),
        (_Undefined, "Inputs: an annotation cannot be read: name 'Nowhere' is not defined"),
    ],
)
def test_a_class_that_does_not_say_what_it_should_is_refused(cls: Any, message: str) -> None:
    with pytest.raises(Wrong) as caught:
        fields_of(cls, "Inputs")
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_value_inside_a_list_is_told_with_its_place() -> None:
    assert problems(schema_of(dict[str, list[int]], ""), {"a": [1, "x"]}, "n") == [
        'n.a[1]: expected integer, found the text "x"'
    ]


def test_the_value_of_a_secret_is_not_told() -> None:
    assert problems(schema_of(int, ""), "hunter2", "n", secret=True) == ["n: expected integer, found another value"]


def test_a_whole_number_is_a_number_and_a_boolean_is_neither() -> None:
    number, integer = schema_of(float, ""), schema_of(int, "")
    assert (problems(number, 1, ""), problems(number, True, "") != [], problems(integer, True, "") != []) == (
        [],
        True,
        True,
    )


@given(st.sampled_from(HINTS), VALUES)
def test_the_judge_of_definitions_and_that_of_tasks_agree(hint: Any, value: Any) -> None:
    schema = schema_of(hint, "")
    document = parse_json(json.dumps([value]).encode())
    in_file = list(definition_uses.wrongs(schema, document.root[0], document.root.marks[0]))
    assert bool(in_file) == bool(problems(schema, value, "x"))


def test_what_a_schema_says_is_json() -> None:
    for hint in HINTS:
        assert json.loads(json.dumps(schema_of(hint, ""))) == schema_of(hint, "")


def test_a_field_is_told_as_the_daemon_reads_it() -> None:
    told = plugin_types.Field("x", {"title": "any"}, required=False)._asdict()
    assert set(told) == {"name", "schema", "required", "default", "description", "secret"}
