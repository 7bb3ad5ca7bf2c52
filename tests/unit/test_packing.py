"""The thin client's own msgpack says the same as msgspec's."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowctl.packing import pack, unpack

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)
NUMBERS = st.integers(-(2**63), 2**64 - 1)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXT | st.binary(max_size=300)
ARRAYS = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=20), max_leaves=40)


@given(ARRAYS)
def test_unpack_reads_what_msgspec_writes(value: object) -> None:
    assert unpack(msgspec.msgpack.encode(value)) == value


@given(ARRAYS | st.dictionaries(TEXT, LEAVES, max_size=20))
def test_msgspec_reads_what_pack_writes(value: object) -> None:
    assert msgspec.msgpack.decode(pack(value)) == value


@pytest.mark.parametrize("size", [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
def test_every_form_of_a_length_is_written_right(size: int) -> None:
    for value in ("x" * size, b"x" * size, [None] * size, {str(n): n for n in range(size)}):
        assert msgspec.msgpack.decode(pack(value)) == value


@pytest.mark.parametrize("size", [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
def test_every_form_of_a_length_is_read_right(size: int) -> None:
    for value in ("x" * size, b"x" * size, [None] * size):
        assert unpack(msgspec.msgpack.encode(value)) == value


@given(ARRAYS, st.data())
def test_a_value_cut_short_is_an_error(value: object, data: st.DataObject) -> None:
    encoded = msgspec.msgpack.encode(value)
    with pytest.raises(ValueError, match="cut short"):
        unpack(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_a_value_error(data: bytes) -> None:
    try:
        unpack(data)
    except (ValueError, RecursionError):
        pass


def test_bytes_after_the_value_are_an_error() -> None:
    with pytest.raises(ValueError, match="left over"):
        unpack(pack(1) + b"\x00")


def test_text_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(UnicodeError):
        pack("\udcff")


def test_a_type_that_msgpack_has_and_we_have_not_is_refused() -> None:
    with pytest.raises(TypeError, match="float"):
        pack(1.5)
