"""The static types of expressions: what can never work is told, what may work never is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.expressions import expression
from pyflowd.expressions.expression import ExpressionError, Variables
from pyflowd.expressions.expression_functions import FUNCTIONS
from pyflowd.expressions.expression_signatures import SIGNATURES
from pyflowd.expressions.expression_types import ANY, LIST, MAP, NUMBER, TEXT, Type, judge, one, type_of
from pyflowd.expressions.expression_values import kind

NAMES = {
    "n": one(NUMBER),
    "t": one(TEXT),
    "l": one(LIST),
    "m": one(MAP),
    "state": Type(frozenset({TEXT}), frozenset({"succeeded", "failed"})),
    "what": ANY,
}


def codes(text: str) -> list[str]:
    return [finding.code for finding in judge(expression.parse(text).tree, text, lambda name: NAMES[name])[1]]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("n < '3'", "type"),
        ("t and n > 1", "type"),
        ("not t", "type"),
        ("1 if n else 2", "type"),
        ("n + t", "type"),
        ("t - 1", "type"),
        ("-t", "type"),
        ("upper(n)", "type"),
        ("join(t, ',')", "type"),
        ("len(n)", "type"),
        ("max(l, n)", "type"),
        ("date(t, form=1)", "type"),
        ("n.x", "type"),
        ("l.x", "type"),
        ("n in n", "type"),
        ("n in t", "type"),
        ("{1: 2}", "type"),
        ("matches(t, '[a')", "pattern"),
        ("n == '3'", "never_equal"),
        ("state == 'sucess'", "never_equal"),
        ("'sucess' != state", "never_equal"),
        ("state in ['failed', 'skiped']", "never_equal"),
        ("(what or true) and state == 'x'", "never_equal"),
    ],
)
def test_what_can_never_work_is_told(text: str, code: str) -> None:
    assert codes(text) == [code]


@pytest.mark.parametrize(
    "text",
    [
        "n < 3", "n == 3.5", "t == 'x'", "state == 'failed'", "state != 'failed'", "state in ['failed']", "t in l",
        "'a' in t", "'a' in m", "what and what", "not what", "what + n", "what < t", "what.x.y", "what[0]", "m.x + 1",
        "l[0] < 3", "default(what, 1) < 3", "default(t, 'x') == 'x'", "what == null", "n == null", "t + 'x'", "l + l",
        "max(n, 2)", "max(l)", "min(t, 'x')", "upper(what)", "upper(t if what else what)", "matches(t, what)",
        "date(t, '%F', null)", "first(l) > 3", "first(l) and what", "bool(t) and true", "int(t) > 3", "text(n) == '3'",
        "(n if what else t) == '3'", "(n if what else t) < 3", "sum(l) > 1", "m['x'] and true", "len(t) > 0",
        "where(l, state='x')", "pick(l, 'a')[0] == 1", "state == what", "state == t", "state < 'x'", "slice(t, 1)",
        "slice(l, 0, null)", "from_json(t).x and true", "sort(l, by='x')", "round(n, digits=2) > 1", "any(l)",
    ],
)  # fmt: skip
def test_what_may_work_is_not_told(text: str) -> None:
    assert codes(text) == []


def test_a_wrong_word_is_told_with_the_nearest_right_one() -> None:
    text = "state == 'suceeded'"
    finding = judge(expression.parse(text).tree, text, lambda name: NAMES[name])[1][0]
    assert 'did you mean "succeeded"' in finding.message
    assert finding.is_warning


def test_every_function_but_default_has_a_signature() -> None:
    assert set(SIGNATURES) == set(FUNCTIONS) - {"default"}


VALUES = [None, True, 1, 2.5, "", "x", "1", "true", "[1]", "2026-03-01", "1d", "UTC", [], [1], ["a"], [True], [[1]],
          [{"a": 1}], {}, {"a": "b"}, {"a": 1}]  # fmt: skip


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_a_kind_that_a_signature_refuses_is_refused_in_fact(name: str) -> None:
    """Each argument with a value of every kind, the others such that some call works."""
    function, signature = FUNCTIONS[name], SIGNATURES[name]
    count = max(function.least, min(len(signature.arguments), function.most))
    working: dict[int, set[str]] = {place: set() for place in range(count)}
    for values in _calls(count):
        try:
            result = function.call(*values, **({"a": 1} if name == "where" else {}))
        except (ExpressionError, TypeError):
            continue
        assert not signature.result or kind(result) in signature.result
        for place, value in enumerate(values):
            working[place].add(kind(value))
    for place, kinds in enumerate(signature.arguments[:count]):
        wanted = signature.many if signature.many and count > 1 else kinds
        assert working[place], f"no call of {name} worked"
        assert not wanted or working[place] <= wanted


def _calls(count: int) -> list[tuple[object, ...]]:
    import itertools

    return list(itertools.islice(itertools.product(VALUES, repeat=count), 20_000))


_leaves = st.sampled_from(["n", "t", "l", "m", "1", "'a'", "true", "null", "[1, 'b']", "{'k': 2}", "what"])
_texts = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "<", "==", "!=", "in", "and", "or"]), inner).map(
            lambda parts: f"({' '.join(parts)})"
        ),
        inner.map(lambda part: f"(not {part})"),
        inner.map(lambda part: f"len({part})"),
        inner.map(lambda part: f"upper({part})"),
        inner.map(lambda part: f"default({part}, 1)"),
        st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} if {parts[1]} else {parts[2]})"),
    ),
    max_leaves=6,
)
_given = {"n": st.integers(0, 3), "t": st.sampled_from(["", "a"]), "l": st.just([1, "b"]), "m": st.just({"k": 1})}


@given(_texts, st.fixed_dictionaries({**_given, "what": st.sampled_from([None, True, 1, "a", [1], {"k": 1}])}))
def test_an_expression_that_has_a_value_has_it_of_a_kind_that_was_foreseen(
    text: str, values: dict[str, object]
) -> None:
    parsed = expression.parse(text)
    try:
        value = parsed.evaluate(Variables(values))
    except ExpressionError:
        return
    found, _ = judge(parsed.tree, text, lambda name: NAMES[name])
    assert kind(value) in found.kinds


@given(_texts, st.fixed_dictionaries(_given))
def test_an_expression_without_branches_that_is_told_to_fail_fails(text: str, values: dict[str, object]) -> None:
    parsed = expression.parse(text)
    branches = (" if ", " and ", " or ", "default", "what")
    _, findings = judge(parsed.tree, text, lambda name: NAMES[name])
    if not any(finding.code == "type" for finding in findings) or any(word in text for word in branches):
        return
    with pytest.raises(ExpressionError):
        parsed.evaluate(Variables(values))


def test_what_default_gives_is_not_null_where_its_second_is_not() -> None:
    text = "default(maybe, 'x')"
    found, _ = judge(expression.parse(text).tree, text, lambda name: one(TEXT, "null"))
    assert found.kinds == {TEXT}


def test_types_of_plain_values_know_their_members() -> None:
    found = type_of({"a": [1, 2]})
    assert found.members is not None
    assert found.members["a"].entries == one(NUMBER)
