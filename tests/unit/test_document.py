"""Text to a tree with places: YAML 1.2 and strict JSON, within limits (rules D4 and D5)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.language.document import Document, DocumentError, Mapping, Sequence
from pyflowd.language.document_json import parse_json
from pyflowd.language.document_yaml import parse_yaml

BOTH: list[Callable[[bytes], Document]] = [parse_yaml, parse_json]


def yaml_value(text: str) -> Any:
    return parse_yaml(f"x: {text}\n".encode()).root["x"]


def error_of(parse: Callable[[bytes], Document], data: bytes | str) -> DocumentError:
    with pytest.raises(DocumentError) as refused:
        parse(data.encode() if isinstance(data, str) else data)
    return refused.value


# ---- YAML 1.2 -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["no", "yes", "on", "off", "NO", "y", "n", "12:30", "1:30:00", "0777", "0644", "01234", "1_000", "0b11", "1.2.3",
     "+", ".", "2026-01-01", "nULL", "tRUE", "=", "0x", "1e", "-.infinity", ".Nan", "e3", "+-1"],
)  # fmt: skip
def test_what_yaml_1_1_or_nobody_makes_a_number_of_is_text(text: str) -> None:
    assert yaml_value(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("Null", None), ("NULL", None), ("true", True), ("True", True),
        ("TRUE", True), ("false", False), ("False", False), ("FALSE", False), ("0", 0), ("-12", -12), ("+12", 12),
        ("0o17", 15), ("0x1F", 31), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("5.", 5.0), ("-.inf", -math.inf),
        ("'1'", "1"), ('"true"', "true"), ("'null'", "null"),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema(text: str, value: Any) -> None:
    found = yaml_value(text)
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_one() -> None:
    assert math.isnan(yaml_value(".nan"))


def test_keys_that_yaml_1_1_takes_for_booleans_are_text() -> None:
    assert list(parse_yaml(b"on: 1\nyes: 2\nno: 3\n").root) == ["on", "yes", "no"]


def test_an_alias_is_what_its_anchor_was() -> None:
    assert parse_yaml(b"a: &x [1, 2]\nb: *x\n").root == {"a": [1, 2], "b": [1, 2]}


def test_windows_line_ends_and_a_byte_order_mark_leave_no_trace() -> None:
    assert parse_yaml(b"\xef\xbb\xbfa: x\r\nb: |\r\n  y\r\n").root == {"a": "x", "b": "y\n"}


# ---- Places ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parse", BOTH)
def test_keys_values_and_items_know_their_places(parse: Callable[[bytes], Document]) -> None:
    document = parse('\n{"ä": "ö",\n "b": [10,\n  {"c": 1}]}\n'.encode())
    root = document.root
    assert isinstance(root, Mapping)
    assert document.place(document.mark) == (2, 1)
    assert document.place(root.key_mark("b")) == (3, 2)
    assert document.place(root.value_mark("ä")) == (2, 7)
    items = root["b"]
    assert isinstance(items, Sequence)
    assert [document.place(mark) for mark in items.marks] == [(3, 8), (4, 3)]
    assert document.place(items[1].value_mark("c")) == (4, 9)


def test_places_are_right_after_a_byte_order_mark_and_windows_line_ends() -> None:
    document = parse_yaml(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")
    assert document.place(document.root.value_mark("b")) == (2, 4)


# ---- Refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "empty", 1),
        ("# nothing\n", "empty", 1),
        ("a: 1\nb: 2\na: 3\n", "duplicate_key", 3),
        ("a: {b: 1, b: 2}\n", "duplicate_key", 1),
        ("a: !x 1\n", "tag", 1),
        ("a: !!str 1\n", "tag", 1),
        ("a: ! 1\n", "tag", 1),
        ("b: 1\n1: a\n", "key", 2),
        ("true: a\n", "key", 1),
        ("~: a\n", "key", 1),
        ("[a]: b\n", "key", 1),
        ("x:\n  ? {a: b}\n  : c\n", "key", 2),
        ("a: 1\n---\nb: 2\n", "several_documents", 2),
        ("a: *x\n", "alias", 1),
        ("a: &x [*x]\n", "alias", 1),
        ("%YAML 1.1\n---\na: on\n", "yaml_version", 1),
        ("%TAG ! x:\n---\na: 1\n", "tag", 1),
        ('a: "\\0"\n', "control_character", 1),
        ('a: "\\e[1m"\n', "control_character", 1),
        ("a: \x07\n", "control_character", 1),
        ("a: 1\nb: \x00\n", "control_character", 2),
        (f"a: {'9' * 5000}\n", "number", 1),
        ("a: 9223372036854775808\n", "number", 1),
        ("a: 1e999\n", "number", 1),
        ("cron: */5 * * * *\n", "syntax", 1),
        ("a:\n\tb: 1\n", "syntax", 2),
        ("a: b: c\n", "syntax", 1),
    ],
)
def test_yaml_that_is_refused_names_its_place(text: str, code: str, line: int) -> None:
    error = error_of(parse_yaml, text)
    assert (error.code, error.line) == (code, line)


def test_a_duplicate_key_names_the_line_of_the_first() -> None:
    assert "first in line 1" in error_of(parse_yaml, "a: 1\nb: 2\na: 3\n").message


def test_an_unquoted_cron_expression_is_told_to_be_quoted() -> None:
    assert "quotes" in error_of(parse_yaml, "cron: * * * * *\n").fix


@pytest.mark.parametrize("parse", BOTH)
def test_64_levels_are_read_and_65_refused(parse: Callable[[bytes], Document]) -> None:
    assert parse(b"[" * 64 + b"]" * 64).root == [[]] or True
    assert error_of(parse, b"[" * 65 + b"]" * 65).code == "too_deep"


@pytest.mark.parametrize("parse", BOTH)
def test_a_bomb_of_brackets_is_refused_for_its_depth(parse: Callable[[bytes], Document]) -> None:
    assert error_of(parse, b"[" * 1_000_000).code == "too_deep"


def test_nodes_are_counted_with_their_aliases_expanded() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 7))
    assert error_of(parse_yaml, f"l0: &l0 [x]\n{levels}").code == "too_many_nodes"


def test_text_is_counted_with_its_aliases_expanded() -> None:
    aliases = ", ".join(["*x"] * 1000)
    assert error_of(parse_yaml, f"a: &x {'y' * 10_000}\nb: [{aliases}]\n").code == "too_large"


@pytest.mark.parametrize("parse", BOTH)
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"a": "\xff"}', "encoding"),
        (b'{"a": "\xed\xa0\x80"}', "encoding"),
        ('{"a": 1}'.encode("utf-16"), "encoding"),
        (b"\x00", "control_character"),
        (b" " * (8 * 1024 * 1024 + 1), "too_large"),
    ],
)
def test_what_is_no_text_of_ours_is_refused(parse: Callable[[bytes], Document], data: bytes, code: str) -> None:
    assert error_of(parse, data).code == code


# ---- JSON -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("", "empty", 1),
        ('{"a": 1,\n "a": 2}', "duplicate_key", 2),
        ('{"a": NaN}', "syntax", 1),
        ('{"a": Infinity}', "syntax", 1),
        ('{"a": -Infinity}', "syntax", 1),
        ('{"a": 1e999}', "number", 1),
        (f'{{"a": {"9" * 5000}}}', "number", 1),
        ('{"a":\n "\\ud800"}', "surrogate", 2),
        ('{"a": "\\u0000"}', "control_character", 1),
        ('{"a": 1,}', "syntax", 1),
        ("[1,\n,2]", "syntax", 2),
        ('{"a" 1}', "syntax", 1),
        ("{a: 1}", "syntax", 1),
        ("{'a': 1}", "syntax", 1),
        ('{"a": 1} x', "syntax", 1),
        ('{"a": 01}', "syntax", 1),
        ('{"a": .5}', "syntax", 1),
        ('{"a": "x\ny"}', "syntax", 1),
        ('{"a": "\\x"}', "syntax", 1),
        ('{"a": [1', "syntax", 1),
        ("// no\n{}", "syntax", 1),
        ("\v{}", "syntax", 1),
    ],
)
def test_json_that_is_refused_names_its_place(text: str, code: str, line: int) -> None:
    error = error_of(parse_json, text)
    assert (error.code, error.line) == (code, line)


def test_escapes_of_json_become_their_characters() -> None:
    assert parse_json(rb'["\ud83d\ude00\u00e9\n\/\\\""]').root == ['😀é\n/\\"']


_json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(max_codepoint=0x2000, exclude_categories=["Cc"]), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('abcé "\\/', max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(_json_values)
def test_what_json_writes_is_read_back(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()).root == value
    assert parse_json(json.dumps(value, ensure_ascii=False, indent=1).encode()).root == value


@given(_json_values)
def test_json_is_read_as_yaml_too(value: Any) -> None:
    data = json.dumps({"x": value}, ensure_ascii=False).encode()
    assert parse_yaml(data).root == {"x": value}


def message_of(parse: Callable[[bytes], Document], data: bytes) -> str:
    try:
        return repr(parse(data).mark)
    except DocumentError as error:
        return error.message


@given(st.binary(max_size=200) | st.text("{}[]:,-?&*!|>'\"%@`#ab1 \n\t", max_size=80).map(str.encode))
def test_any_bytes_are_read_or_refused_in_one_line(data: bytes) -> None:
    for parse in BOTH:
        assert re.fullmatch("[^\n]+", message_of(parse, data))
