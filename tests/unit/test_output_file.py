"""What a task wrote about its outputs: which texts are taken, and what is said of the others."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.base import output_file
from pyflowd.base.output_file import parse, parse_said

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=4),
    max_leaves=10,
)  # fmt: skip


@pytest.mark.parametrize(
    ("data", "outputs"),
    [
        (b"", {}),
        (b"\n \n", {}),
        (b'{"a": 1, "b": [true, null]}', {"a": 1, "b": [True, None]}),
        (b'{\n "a": {\n "b": 2\n }\n}\n', {"a": {"b": 2}}),
        (b"a=1\n", {"a": "1"}),
        (b"a=1", {"a": "1"}),
        (b"a= x = y \n", {"a": " x = y "}),
        (b"a=\n", {"a": ""}),
        (b"a=b<<c\n", {"a": "b<<c"}),
        (b"a<<EOF\none\n\n two=2\nEOF\nb=3\n", {"a": "one\n\n two=2", "b": "3"}),
        (b"a<<EOF\nEOF", {"a": ""}),
        (b'a=1\n{"a": 2}\n', {"a": 2}),
        (b'{"a": 2}\na=1\n', {"a": "1"}),
        (b'{"a": 1}\n{"b": 2}\n', {"a": 1, "b": 2}),
        (b"\xef\xbb\xbfa=1\n", {"a": "1"}),
        ("a=\u2028\x0b\n".encode(), {"a": "\u2028\x0b"}),
        (b"_a-b=1\n", {"_a-b": "1"}),
    ],
)
def test_objects_and_lines_are_outputs(data: bytes, outputs: dict[str, Any]) -> None:
    assert parse(data) == outputs


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a=1\nnonsense\n", "line 2: neither name=value nor a JSON object"),
        (b"a=1\n1b=2\n", "line 2: neither"),
        (b'{"a b": 1}', 'line 1: "a b" is no name'),
        (b"[1]", "line 1: neither"),
        (b'{"a": 1', "line 1: not JSON"),
        (b'{"a": 1} x', "text after the JSON object"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": 1e999}', "a: a number too large"),
        (b'{"a": 99999999999999999999}', "more than 64 bits"),
        (b'{"a": "\\ud800"}', "half a surrogate"),
        (b"a=1\n\xff\n", "line 2: not UTF-8"),
        (b"a<<EOF\nx\n", "the end of a<<EOF is missing"),
        (b"a<<\nx\n", "names no end"),
        (b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}", "deeper than 64"),
        (b'{"a": ' + b"[" * 100_000, "deeper than 64"),
        (b"a" * (output_file.MAX_BYTES + 1), "more than"),
    ],
)
def test_anything_else_is_refused_with_its_line(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        parse(data)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=200) | st.text('a=<{}"\n1E', max_size=40).map(str.encode))
def test_no_bytes_raise_anything_but_value_errors(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(parse(data), dict)


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", fullmatch=True), JSON_VALUES, max_size=5))
def test_what_a_program_appends_is_read_as_it_was(values: dict[str, Any]) -> None:
    import json

    assert parse(json.dumps(values, ensure_ascii=False).encode() + b"\n") == values


def test_the_first_line_is_the_message_and_facts_follow() -> None:
    said = parse_said(b"it  broke\x1b[0m\ntype=ValueError\nnonsense\nstatus=503\n")
    assert said.message == "it  broke [0m"
    assert said.facts == {"type": "ValueError", "status": "503"}


@given(st.binary(max_size=100))
def test_whatever_a_task_says_is_one_line(data: bytes) -> None:
    said = parse_said(data)
    assert said.message.isprintable() or "\n" not in said.message
