"""Values of params: given, defaulted, read from text, made into variables (rule P4)."""

from __future__ import annotations

from typing import Any

import pytest

from pyflowd.errors import Refused
from pyflowd.language import params
from pyflowd.model.workflow import Param, ParamType

CITY = Param(name="city", pattern="[A-Z][a-z]+", default="Berlin")
COUNT = Param(name="count", type=ParamType.INTEGER, required=True, minimum=1, maximum=10)


def bind_text(param: Param, text: str) -> Any:
    return params.bind([param], {param.name: text}, from_text=True)[param.name]


def refusal(declared: list[Param], given: dict[str, Any], *, from_text: bool = False) -> str:
    with pytest.raises(Refused) as refused:
        params.bind(declared, given, from_text=from_text)
    return str(refused.value)


def test_a_default_stands_for_what_is_not_given() -> None:
    assert params.bind([CITY, COUNT], {"count": 3}, from_text=False) == {"city": "Berlin", "count": 3}


def test_an_optional_param_without_a_default_is_absent() -> None:
    assert params.bind([Param(name="x")], {}, from_text=False) == {}


def test_all_problems_are_told_at_once_in_one_line() -> None:
    message = refusal([CITY, COUNT], {"city": "berlin", "citty": "x"})
    assert "\n" not in message
    assert 'did you mean "city"' in message
    assert '"berlin" does not match' in message
    assert "count: a value is required" in message


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (ParamType.STRING, "12", "12"),
        (ParamType.INTEGER, "-12", -12),
        (ParamType.NUMBER, "1.5", 1.5),
        (ParamType.NUMBER, "2", 2),
        (ParamType.BOOLEAN, "true", True),
        (ParamType.ARRAY, "[1, 2]", [1, 2]),
        (ParamType.ARRAY, '["\\u0007\\u0085"]', ["\a\x85"]),
        (ParamType.OBJECT, '{"a": [null]}', {"a": [None]}),
        (ParamType.DATE, "2026-02-28", "2026-02-28"),
    ],
)
def test_text_is_read_as_the_type_directs(kind: ParamType, text: str, value: Any) -> None:
    found = bind_text(Param(name="x", type=kind), text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ParamType.INTEGER, "1.0"), (ParamType.INTEGER, "01"), (ParamType.INTEGER, "9" * 5000), (ParamType.INTEGER, ""),
        (ParamType.NUMBER, "nan"), (ParamType.NUMBER, "1e999"), (ParamType.NUMBER, "inf"), (ParamType.BOOLEAN, "yes"),
        (ParamType.BOOLEAN, "True"), (ParamType.ARRAY, "{}"), (ParamType.ARRAY, "[1,]"), (ParamType.ARRAY, "[" * 100),
        (ParamType.OBJECT, '{"a":1,"a":2}'), (ParamType.DATE, "2026-02-30"), (ParamType.DATE, "20260228"),
        (ParamType.ARRAY, '["\\ud800"]'),
        (ParamType.STRING, "a\0b"), (ParamType.STRING, "\udcff"), (ParamType.STRING, "x" * 122_881),
    ],
)  # fmt: skip
def test_text_that_is_no_such_value_is_refused(kind: ParamType, text: str) -> None:
    assert refusal([Param(name="x", type=kind)], {"x": text}, from_text=True).isprintable()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ParamType.STRING, 1), (ParamType.INTEGER, True), (ParamType.INTEGER, 1.0), (ParamType.INTEGER, "1"),
        (ParamType.INTEGER, 2**63), (ParamType.NUMBER, False), (ParamType.NUMBER, float("inf")), (ParamType.BOOLEAN, 1),
        (ParamType.ARRAY, "a"), (ParamType.OBJECT, [1]), (ParamType.OBJECT, {1: 2}), (ParamType.STRING, None),
    ],
)  # fmt: skip
def test_nothing_is_coerced_but_text_of_the_command_line(kind: ParamType, value: Any) -> None:
    assert refusal([Param(name="x", type=kind)], {"x": value})


@pytest.mark.parametrize(
    ("param", "value"),
    [
        (COUNT, 0),
        (COUNT, 11),
        (Param(name="x", minimum=2), "a"),
        (Param(name="x", maximum=2), "abc"),
        (Param(name="x", type=ParamType.ARRAY, maximum=1), [1, 2]),
        (Param(name="x", type=ParamType.ARRAY, items=ParamType.INTEGER), [1, "2"]),
        (Param(name="x", enum=("a", "b")), "c"),
        (Param(name="x", type=ParamType.INTEGER, enum=(1, 2)), 3),
    ],
)
def test_bounds_hold(param: Param, value: Any) -> None:
    assert refusal([param], {param.name: value})


def test_the_sum_of_all_values_is_bounded() -> None:
    declared = [Param(name=f"p{n}") for n in range(6)]
    assert "together" in refusal(declared, {param.name: "x" * 100_000 for param in declared})


def test_variables_are_upper_case_and_their_text_is_json_or_itself() -> None:
    declared = [
        Param(name="dry-run", type=ParamType.BOOLEAN),
        Param(name="list.x", type=ParamType.ARRAY),
        Param(name="text"),
        Param(name="absent"),
    ]
    values = {"dry-run": True, "list.x": [1, "é"], "text": "a b"}
    assert params.environment(declared, values) == {
        "PARAM_DRY_RUN": "true",
        "PARAM_LIST_X": '[1, "é"]',
        "PARAM_TEXT": "a b",
    }


# ---- Defaults with expressions --------------------------------------------------------------------------------------

RUN = {"id": "7", "scheduled_at": None, "created_at": "2026-10-01T06:00:00+02:00"}
DAY = Param(
    name="day",
    type=ParamType.DATE,
    default="${{ date(add_days(default(run.scheduled_at, run.created_at), -1), '%F') }}",
)


def test_a_default_is_made_of_the_run() -> None:
    assert params.bind([DAY], {}, from_text=False, run=RUN) == {"day": "2026-09-30"}


def test_a_default_is_made_of_the_params_before_it_as_they_are_given() -> None:
    path = Param(name="path", default="/srv/${{ params.day }}")
    bound = params.bind([DAY, path], {"day": "2026-01-02"}, from_text=False, run=RUN)
    assert bound["path"] == "/srv/2026-01-02"


def test_a_default_that_is_one_expression_keeps_its_type() -> None:
    hosts = Param(name="hosts", type=ParamType.ARRAY, default=["a", "b"])
    count = Param(name="count", type=ParamType.INTEGER, default="${{ len(params.hosts) }}")
    assert params.bind([hosts, count], {}, from_text=False, run=RUN)["count"] == 2


def test_a_default_that_is_made_is_checked_like_any_value() -> None:
    count = Param(name="count", type=ParamType.INTEGER, default="${{ run.id }}")
    with pytest.raises(Refused, match="count: expected an integer"):
        params.bind([count], {}, from_text=False, run=RUN)


def test_a_default_that_has_no_value_is_refused_with_its_param() -> None:
    other = Param(name="x")
    late = Param(name="late", default="${{ params.x }}")
    with pytest.raises(Refused, match="late: "):
        params.bind([other, late], {}, from_text=False, run=RUN)


def test_without_a_run_a_computed_default_is_left_open() -> None:
    assert params.bind([DAY], {}, from_text=False) == {}


def test_the_items_of_an_array_have_a_pattern_of_their_own() -> None:
    hosts = Param(name="hosts", type=ParamType.ARRAY, items=ParamType.STRING, item_pattern="[a-z]+")
    assert params.bind([hosts], {"hosts": ["a"]}, from_text=False) == {"hosts": ["a"]}
    assert "item 2" in refusal([hosts], {"hosts": ["a", "B"]})
