"""Texts with expressions: where an expression ends, what becomes of its value, where an error is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.expressions import template
from pyflowd.expressions.expression import Absent, ExpressionError, Variables

NAMES = Variables(
    {"params": {"n": 3, "list": [1, "é"], "yes": True, "none": None, "name": "app"}, "big": "x" * 1_000_000}
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("${{ params.n }}", 3),
        ("${{params.list}}", [1, "é"]),
        ("${{ params.yes }}", True),
        ("${{ params.none }}", None),
        ("${{\n  params.n\n}}", 3),
        (" ${{ params.n }}", " 3"),
        ("n=${{ params.n }};", "n=3;"),
        ("${{ params.n }}${{ params.n }}", "33"),
        ("${{ params.yes }}, ${{ 1.5 }}, ${{ params.list }}", 'true, 1.5, [1, "é"]'),
        ("${{ '}}' }}", "}}"),
        ("${{ {'a': {'b': 1}} }}", {"a": {"b": 1}}),
        ("${{ {'a': {'b': 1}}.a.b }}!", "1!"),
        ("${{ [{'a': '}}'}][0].a }}}}", "}}}}"),
        ("$${{ params.n }}", "${{ params.n }}"),
        ("$${{ ${{ params.n }}", "${{ 3"),
        ("a $$ { {{ }} ${ b", "a $$ { {{ }} ${ b"),
    ],
)
def test_a_template_has_its_value(text: str, expected: Any) -> None:
    found = template.render(text, NAMES)
    assert (found, type(found)) == (expected, type(expected))


RUN = Variables(
    {
        "params": {"full": False, "ref": "v1.2", "reason": "", "databases": ["app", "billing"]},
        "run": {
            "outcome": "failed",
            "failed_tasks": ["dump", "ship"],
            "scheduled_at": "2026-03-29T00:30:00+00:00",
            "requested_by": "ada",
        },
        "tasks": {
            "fetch": {
                "succeeded": 1,
                "results": [
                    {"key": "a", "state": "succeeded", "artifacts": {"part": "/a"}},
                    {"key": "b", "state": "failed"},
                ],
            }
        },
        "event": {"headers": {"X-GitHub-Delivery": "d1"}, "body": {"action": "published"}},
        "account": {"id": 7},
    }
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${{ params.databases }}", ["app", "billing"]),
        ("${{ 'full' if params.full else 'incremental' }}", "incremental"),
        ("${{ date(add_days(run.scheduled_at, -1), '%F') }}", "2026-03-28"),
        ("backup ${{ run.outcome }}: ${{ join(run.failed_tasks, ', ') }}", "backup failed: dump, ship"),
        ("${{ run.outcome != 'succeeded' }}", True),
        ("${{ event.headers['X-GitHub-Delivery'] }}", "d1"),
        ("${{ event.body.action == 'published' }}", True),
        ("web-${{ params.ref }}", "web-v1.2"),
        ("${{ account.id }}", 7),
        ("${{ tasks.fetch.succeeded >= 1 }}", True),
        ("${{ pick(tasks.fetch.results, 'artifacts.part', state='succeeded') }}", ["/a"]),
        ("${{ pick(tasks.fetch.results, 'key', state='failed') }}", ["b"]),
        (
            "${{ params.ref }} ${{ run.outcome }} by ${{ run.requested_by }}: ${{ params.reason }}",
            "v1.2 failed by ada: ",
        ),
    ],
)
def test_what_real_workflows_write_has_its_value(text: str, expected: Any) -> None:
    assert template.render(text, RUN) == expected


def test_as_text_a_single_expression_becomes_text_too() -> None:
    assert template.render_text("${{ params.yes }}", NAMES) == "true"


@pytest.mark.parametrize(
    ("value", "expected"),
    [("a", "a"), (True, "true"), (3, "3"), (0.1, "0.1"), ([1, "é"], '[1, "é"]'), ({"a": None}, '{"a": null}')],
)
def test_values_become_text_as_json_writes_them(value: Any, expected: str) -> None:
    assert template.text_of(value) == expected


@pytest.mark.parametrize("text", ["n=${{ params.none }}", "${{ params.none }}"])
def test_null_has_no_text(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"params\.none: null has no text: default") as caught:
        template.render_text(text, NAMES)
    assert caught.value.offset == text.index("params")


def test_a_tree_is_rendered_in_its_texts_only() -> None:
    tree = {"${{ params.n }}": ["${{ params.n }}", {"a": "n${{ params.n }}"}], "b": 1, "c": None}
    assert template.render_tree(tree, NAMES) == {"${{ params.n }}": [3, {"a": "n3"}], "b": 1, "c": None}


@pytest.mark.parametrize(
    ("value", "expected"), [("a", False), ("${{ a }}", True), ([1, {"a": "x ${{ a }}"}], True), ({"${{": 1}, False)]
)
def test_an_expression_is_found_anywhere_in_a_value(value: Any, expected: bool) -> None:
    assert template.has_expression(value) is expected


def test_a_template_knows_its_expressions_and_where_they_are() -> None:
    text = "a ${{ params.n }} $${{ b }} ${{params.yes}}"
    found = template.parse(text)
    assert [
        (each.text, text[offset:].startswith(each.text))
        for each, offset in zip(found.expressions, found.offsets, strict=True)
    ] == [
        ("params.n", True),
        ("params.yes", True),
    ]
    assert not found.is_single
    assert template.parse("${{ params.n }}").is_single


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("ab ${{ params.n", "params", "not closed"),
        ("ab ${{ params.n }", "params", "not closed"),
        ("ab ${{ (1 }}", "(1", "the ( is not closed"),
        ("ab ${{ 'x }}", "'x", "not closed on its line"),
        ("ab ${{ }}", "}}", "empty"),
        ("ab ${{ a ? b : c }}", "?", "write x if"),
        ("ab ${{ a }} ${{ b && c }}", "&&", "write and"),
        ("ab ${{ " + "a" * 9000 + " }}", "aaa", "longer than 8192"),
    ],
)
def test_a_template_that_cannot_be_read_says_where(text: str, place: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        template.parse(text)
    assert words in str(caught.value)
    assert caught.value.offset + max(caught.value.column, 1) - 1 == text.index(place)


def test_an_error_of_a_value_says_where_its_expression_is() -> None:
    with pytest.raises(Absent) as caught:
        template.render("a ${{ params.n }} ${{ params.nn }}", NAMES)
    assert caught.value.offset + caught.value.column - 1 == len("a ${{ params.n }} ${{ ")


def test_a_rendered_text_is_bounded() -> None:
    with pytest.raises(ExpressionError, match="longer"):
        template.render("${{ big }}" * 20, NAMES)


def test_a_long_text_with_many_expressions_is_read_in_one_go() -> None:
    assert template.render("${{ params.n }} " * 50_000, NAMES) == "3 " * 50_000


@given(
    st.lists(
        st.sampled_from(["${{", "}}", "$", "{", "}", "'", '"', "a", " ", "params.n", "\\", "[", "\n"]), max_size=15
    ).map("".join)
)
def test_any_text_has_a_value_or_an_expression_error(text: str) -> None:
    problem = None
    try:
        template.render(text, NAMES)
    except ExpressionError as error:
        problem = error
    assert problem is None or (str(problem).isprintable() and 0 <= problem.offset <= len(text))


@given(st.text())
def test_a_text_without_the_opening_stays_as_it_is(text: str) -> None:
    assert template.render(text.replace("${{", ""), NAMES) == text.replace("${{", "")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_value_is_never_read_as_a_template(text: str) -> None:
    assert template.render("a${{ x }}", Variables({"x": text + "${{ 1 }}"})) == "a" + text + "${{ 1 }}"
