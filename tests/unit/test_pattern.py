"""Patterns of params: the same answers as `re`, and no pattern that takes for ever."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.expressions import pattern

_atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", r"\w", "-", r"\."])
_patterns = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=5,
)


@given(_patterns, st.text(alphabet="ab1-.", max_size=6))
def test_it_answers_as_re_does(expression: str, value: str) -> None:
    assert pattern.matches(expression, value) == (re.fullmatch(expression, value, re.ASCII) is not None)


@pytest.mark.parametrize("expression", ["(a+)+b", "(a|a)*b", "(a|aa)+b", "a*a*a*a*a*a*a*a*a*a*b", "(.*)*(.*)*b"])
def test_what_makes_re_hang_is_answered(expression: str) -> None:
    assert not pattern.matches(expression, "a" * 1000)


def test_the_whole_value_must_match() -> None:
    assert not pattern.matches("[a-z]+", "abc; rm -rf")
    assert not pattern.matches("^[a-z]+$", "abc\n")


@pytest.mark.parametrize(
    "expression",
    ["(", ")", "a)", "[a", "*a", "a**", "a{2", "a{3,1}", "(?=a)", "(?P<x>a)", r"\1", r"\b", "\\", "a^b", "[b-a]",
     "((" * 30, "a{999}", "x" * 501, "(a{30}){30}", "[[a]]", "[a--b]"],
)  # fmt: skip
def test_what_is_not_of_the_dialect_is_refused_with_a_reason(expression: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        pattern.check(expression)


def test_a_value_beyond_the_limit_does_not_match() -> None:
    assert not pattern.matches("a*", "a" * 1025)
