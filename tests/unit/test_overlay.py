"""Maps merge, lists replace, null removes; every value keeps its place."""

from __future__ import annotations

from typing import Any

import pytest

from pyflowd.language.document import Document
from pyflowd.language.document_yaml import parse_yaml
from pyflowd.language.overlay import Labelled, join, merge, without


def joined(*texts: str) -> list[Document]:
    return join([Labelled(f"{n}.yaml", parse_yaml(text.encode())) for n, text in enumerate(texts)])


def merged(*texts: str) -> Document:
    first, *others = joined(*texts)
    root = first.root
    for each in others:
        root = merge(root, each.root)
    return first._replace(root=root)


@pytest.mark.parametrize(
    ("below", "above", "result"),
    [
        ("{a: 1, b: 2}", "{b: 3, c: 4}", {"a": 1, "b": 3, "c": 4}),
        ("{a: {x: 1, y: 2}}", "{a: {y: 3}}", {"a": {"x": 1, "y": 3}}),
        ("{a: [1, 2]}", "{a: [3]}", {"a": [3]}),
        ("{a: {x: 1}}", "{a: text}", {"a": "text"}),
        ("{a: text}", "{a: {x: 1}}", {"a": {"x": 1}}),
        ("{a: 1, b: 2}", "{a: null}", {"b": 2}),
        ("{a: {x: 1, y: 2}}", "{a: {x: null}}", {"a": {"y": 2}}),
        ("{a: 1}", "{b: null}", {"a": 1}),
        ("{a: 1}", "{b: {x: null}}", {"a": 1, "b": {"x": None}}),
        ("{a: 1}", "{}", {"a": 1}),
        ("{}", "{a: 1}", {"a": 1}),
    ],
)
def test_merge(below: str, above: str, result: Any) -> None:
    assert merged(below, above).root == result


def test_the_order_is_that_of_below_then_what_is_new() -> None:
    assert list(merged("{a: 1, b: 2, c: 3}", "{d: 4, b: 5}").root) == ["a", "b", "c", "d"]


def test_the_last_one_wins() -> None:
    assert merged("{a: 1}", "{a: 2}", "{a: 3}").root == {"a": 3}


def test_neither_side_is_changed() -> None:
    one, other = joined("{a: {x: 1}}", "{a: {x: 2}}")
    merge(one.root, other.root)
    assert (one.root, other.root) == ({"a": {"x": 1}}, {"a": {"x": 2}})


def test_every_value_knows_its_text_and_its_line() -> None:
    found = merged("a: 1\nb:\n  x: 1\n  y: 2\n", "c: 1\nb:\n\n  y: 3\n")

    def place(holder: Any, key: str) -> tuple[str, int, int]:
        mark = holder.value_mark(key)
        return found.label(mark), *found.place(mark)

    assert place(found.root, "a") == ("0.yaml", 1, 4)
    assert place(found.root, "c") == ("1.yaml", 1, 4)
    assert place(found.root["b"], "x") == ("0.yaml", 3, 6)
    assert place(found.root["b"], "y") == ("1.yaml", 4, 6)


def test_an_alias_is_moved_once() -> None:
    found = joined("{}", "a: &x {k: 1}\nb: *x\n")[1]
    assert found.place(found.root["b"].value_mark("k")) == (1, 11)


def test_a_document_of_one_text_needs_no_label() -> None:
    assert parse_yaml(b"a: 1").label(3) == ""


def test_keys_are_left_out_with_their_marks() -> None:
    found = joined("{a: 1, b: 2, c: 3}")[0]
    kept = without(found.root, frozenset({"b"}))
    assert (kept, kept.value_mark("c")) == ({"a": 1, "c": 3}, found.root.value_mark("c"))
