"""The functions of expressions: what each gives, and what it says when it cannot."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.expressions.expression import Absent, ExpressionError, Variables, functions, parse
from pyflowd.expressions.expression_functions import FUNCTIONS

RESULTS = [
    {"key": "a", "status": "succeeded", "artifacts": {"part": "/1"}, "n": 2},
    {"key": "b", "status": "failed", "n": 3},
    {"key": "c", "status": "succeeded", "artifacts": {"part": "/3"}, "n": 1},
]
NAMES = Variables(
    {"results": RESULTS, "hosts": {"web1": {"port": 80}, "web2": {"port": 81}}, "brackets": "[" * 100_000}
)


def value(text: str) -> Any:
    return parse(text).evaluate(NAMES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text(true)", "true"),
        ("text(1.5)", "1.5"),
        ("text([1, null, 'é'])", '[1, null, "é"]'),
        ("str('a')", "a"),
        ("int(' 42 ')", 42),
        ("int('-7')", -7),
        ("int(3.0)", 3),
        ("float('1e3')", 1000.0),
        ("float(2)", 2.0),
        ("bool('true')", True),
        ("bool(false)", False),
        ("json(null)", "null"),
        ("json({'a': 'b\"'})", '{"a": "b\\""}'),
        ("from_json('{\"a\": [1, 2.5]}').a[1]", 2.5),
        ("len('äb')", 2),
        ("len(hosts)", 2),
        ("join(['a', 1, true], '-')", "a-1-true"),
        ("join([], '-')", ""),
        ("split('a,b,,c', ',')", ["a", "b", "", "c"]),
        (r"lines('a\r\nb\n\nc\n')", ["a", "b", "", "c"]),
        ("lines('')", []),
        (r"trim(' \ta b\n')", "a b"),
        ("upper('aß')", "ASS"),
        ("lower('AÄ')", "aä"),
        ("replace('aXbX', 'X', '--')", "a--b--"),
        ("starts_with('abc', 'ab')", True),
        ("ends_with('abc', 'ab')", False),
        ("contains('abc', 'b')", True),
        ("contains([1, [2]], [2])", True),
        ("contains([1], true)", False),
        ("contains(hosts, 'web1')", True),
        ("matches('v1.22', 'v[0-9]+[.][0-9]+')", True),
        ("matches('v1.22 ', 'v[0-9]+[.][0-9]+')", False),
        ("hash('abc')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("hash([1]) == hash('[1]')", True),
        ("base64('é')", "w6k="),
        ("from_base64('w6k=')", "é"),
        ("url_encode('a b/é?&~')", "a%20b%2F%C3%A9%3F%26~"),
        ("basename('/srv/a.txt')", "a.txt"),
        ("basename('/srv/')", "srv"),
        ("dirname('/srv/a.txt')", "/srv"),
        ("dirname('/a')", "/"),
        ("dirname('a')", "."),
        ("dirname('/')", "/"),
        ("min(3, 1.5, 2)", 1.5),
        ("max([3, 1])", 3),
        ("max('a', 'b')", "b"),
        ("sum([1, 2, 3])", 6),
        ("sum([])", 0),
        ("abs(-3)", 3),
        ("round(2.5)", 3),
        ("round(-2.5)", -3),
        ("round(2.675, 2)", 2.68),
        ("round(1.0, digits=1)", 1.0),
        ("round(7)", 7),
        ("floor(-1.5)", -2),
        ("ceil(1.2)", 2),
        ("sort([3, 1.5, 2])", [1.5, 2, 3]),
        ("pick(sort(results, by='n'), 'key')", ["c", "a", "b"]),
        ("unique([1, 1.0, true, 'a', 'a', [1], [1.0], {'a': 1}, {'a': 1}])", [1, True, "a", [1], {"a": 1}]),
        ("reverse([1, 2])", [2, 1]),
        ("flatten([[1], [], [2, [3]]])", [1, 2, [3]]),
        ("first([1, 2])", 1),
        ("last([1, 2])", 2),
        ("default(first([]), 0)", 0),
        ("slice('abcdef', 1, -1)", "bcde"),
        ("slice([1, 2, 3], -2)", [2, 3]),
        ("slice([1, 2, 3], 0, end=1)", [1]),
        ("range(3)", [0, 1, 2]),
        ("range(2, 9, 3)", [2, 5, 8]),
        ("range(3, 0, step=-1)", [3, 2, 1]),
        ("range(-1)", []),
        ("chunk([1, 2, 3], 2)", [[1, 2], [3]]),
        ("keys(hosts)", ["web1", "web2"]),
        ("values({'a': 1})", [1]),
        ("items({'a': 1})", [{"key": "a", "value": 1}]),
        ("merge({'a': 1, 'b': 1}, {'a': 2})", {"a": 2, "b": 1}),
        ("pick(results, 'artifacts.part', status='succeeded')", ["/1", "/3"]),
        ("pick(results, 'key', status='failed')", ["b"]),
        ("pick(results, 'artifacts.part')", ["/1", "/3"]),
        ("pick(results, 'key', nothing=1)", []),
        ("where(results, status='failed', n=3)[0].key", "b"),
        ("where(results, n=true)", []),
        ("count(results, status='succeeded')", 2),
        ("count(results)", 3),
        ("any([false, true])", True),
        ("all([])", True),
        ("date('2026-03-09T02:05:07+02:00', '%F %T %y %e %I%p %j %u %w %a %A %b %B %G-W%V %R %z %%')",
         "2026-03-09 02:05:07 26  9 02AM 068 1 1 Mon Monday Mar March 2026-W11 02:05 +0200 %"),
        ("date('2026-03-09T23:30:00Z', '%F %H %z', 'Europe/Berlin')", "2026-03-10 00 +0100"),
        ("date('2026-03-09', zone='America/New_York')", "2026-03-09"),
        ("date('2026-03-09T10:00:00.25Z', '%f %s')", "250000 1773050400"),
        ("add_days('2026-03-28T02:30:00+01:00', 1)", "2026-03-29T02:30:00+01:00"),
        ("add_days('2026-03-28T12:00:00+01:00', 1, zone='Europe/Berlin')", "2026-03-29T12:00:00+02:00"),
        ("add_days('2026-03-28T02:30:00+01:00', 1, zone='Europe/Berlin')", "2026-03-29T03:30:00+02:00"),
        ("add_days('2026-03-01', -1)", "2026-02-28"),
        ("add('2026-03-28T23:30:00Z', '90m')", "2026-03-29T01:00:00+00:00"),
        ("add('2026-03-29', '-1d')", "2026-03-28"),
        ("timestamp('1970-01-02T00:00:00Z')", 86400),
        ("timestamp('1970-01-01T00:00:00.500Z')", 0.5),
        ("timestamp('1970-01-01', zone='Europe/Berlin')", -3600),
    ],
)  # fmt: skip
def test_a_function_gives_its_value(text: str, expected: Any) -> None:
    found = value(text)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("text(null)", "default("),
        ("int('4.2')", "float(...)"),
        ("int(4.2)", "floor(...)"),
        ("int(true)", "1 if x else 0"),
        ("int('99999999999999999999')", "64 bits"),
        ("float('nan')", "no number"),
        ("float('1e999')", "too large"),
        ("bool('yes')", "'true' and 'false'"),
        ("bool(1)", "x != 0"),
        ("from_json('[1,')", "line 1, column 4"),
        ("from_json('NaN')", "no JSON"),
        ("from_json(brackets)", "no JSON"),
        ("timestamp('0001-01-01', zone='Asia/Tokyo')", "not in the calendar"),
        ("len(null)", "default("),
        ("len(1)", "not a number"),
        ("join('a', ',')", "needs a list"),
        ("join([null], ',')", "default("),
        ("split('a', '')", "separator is empty"),
        ("upper(1)", "text(...)"),
        ("replace('a', '', 'b')", "empty"),
        ("matches('a', '(a')", "the pattern"),
        ("from_base64('?')", "no base64"),
        ("sum([1, 'a'])", "not a text"),
        ("min(1, 'a')", "no order"),
        ("abs('1')", "int(...)"),
        ("round(1.5, 99)", "digits"),
        ("floor(1e300)", "64 bits"),
        ("sort([1, null])", "null"),
        ("flatten([1])", "every entry must be a list"),
        ("range(1, 2, 0)", "step is 0"),
        ("chunk([1], 0)", "at least 1"),
        ("keys([1])", "needs a map"),
        ("pick([1], 'a')", "must be a map"),
        ("pick(results, '')", "a path"),
        ("pick(results, 'key', n=[1])", "n is compared with"),
        ("where(results)", "state='failed'"),
        ("any([1])", "booleans only"),
        ("date('yesterday')", "2026-03-29T02:30:00+02:00"),
        ("date('2026-02-30')", "not in the calendar"),
        ("date('2026-03-09T02:05:07')", "with its offset"),
        ("date('2026-03-09', '%Q')", "there are %Y"),
        ("date('2026-03-09', '100%')", "no code"),
        ("date('2026-03-09', '%F', 'Mars/Base')", "no time zone"),
        ("date('2026-03-09', '%F', '../../etc/passwd')", "not the name of a time zone"),
        ("date('0001-01-01T00:00:00+14:00')", "not in the calendar"),
        ("add_days('2026-03-09', 1.5)", "whole number"),
        ("add_days('9999-12-31', 1)", "years 1 to 9999"),
        ("add_days('2026-03-09', 99999999999)", "years 1 to 9999"),
        ("add('2026-03-09T00:00:00Z', '90')", "'90m'"),
        ("add('2026-03-09', '90m')", "whole days"),
        ("add('2026-03-09T00:00:00Z', 90)", "'90m'"),
        ("timestamp(null)", "default("),
    ],
)
def test_a_function_says_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        value(text)
    assert words in str(caught.value)
    assert not isinstance(caught.value, Absent)


@pytest.mark.parametrize("text", ["first([])", "last([])", "min([])", "max([])"])
def test_an_end_of_nothing_is_absent(text: str) -> None:
    with pytest.raises(Absent):
        value(text)


def test_every_function_has_a_signature_and_a_line() -> None:
    listed = functions()
    assert {signature.partition("(")[0] for signature, _ in listed} == set(FUNCTIONS)
    assert all(doc and len(doc) < 110 and "\n" not in doc for _, doc in listed)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_a_signature_is_what_the_function_takes(name: str) -> None:
    function = FUNCTIONS[name]
    kinds = inspect.Parameter
    parameters = list(inspect.signature(function.call).parameters.values())
    optional = tuple(each.name for each in parameters if each.default is not kinds.empty)
    assert function.named == optional
    assert function.any_named == any(each.kind is kinds.VAR_KEYWORD for each in parameters)
    if not any(each.kind is kinds.VAR_POSITIONAL for each in parameters):
        needed = [each for each in parameters if each.default is kinds.empty and each.kind is not kinds.VAR_KEYWORD]
        assert (function.least, function.most) == (len(needed), len(needed) + len(optional))


_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just("2026-01-01")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_no_argument_makes_a_function_raise_anything_else(name: str) -> None:
    function = FUNCTIONS[name]

    @given(st.lists(_values, min_size=function.least, max_size=min(function.most, 3)))
    def check(arguments: list[Any]) -> None:
        names = {f"x{n}": each for n, each in enumerate(arguments)}
        problem = None
        try:
            parse(f"{name}({', '.join(names)})").evaluate(Variables(names))
        except ExpressionError as error:
            problem = error
        assert problem is None or str(problem).isprintable()

    check()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_was_put_into_base64_and_json_comes_back(text: str) -> None:
    names = Variables({"x": text})
    assert parse("from_base64(base64(x))").evaluate(names) == text
    assert parse("from_json(json([x]))[0]").evaluate(names) == text
