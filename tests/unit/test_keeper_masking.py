"""`pyflowd.keeper.masking` and `maskforms`: what is looked for, and that cuts between reads never matter."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
import urllib.parse
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyflowd.keeper.maskforms import ENCODED_MAX_BYTES, LEAST_BYTES, LONGEST_BYTES, forms
from pyflowd.keeper.masking import HELD_MAX_BYTES, MASK, TORN, Masker, Masks, mask_text

SECRET = b"p\xc3\xa4ss'w\"o/r+d <&> $1\\ \xf0\x9f\x94\x91 end"
PEM = b"-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj\nAgEAAoIBAQC7VJTUt9Us8cKj\n-----END KEY-----\n"

few_letters = st.text("ab1+", max_size=30).map(str.encode)
secrets = st.lists(
    st.one_of(st.text("ab1+", min_size=8, max_size=20).map(str.encode), st.binary(min_size=7, max_size=200)),
    max_size=4,
)


def reference(text: bytes, values: list[bytes]) -> bytes:
    """The same by trying every form at every place."""
    marked = bytearray(len(text))
    ends = set()
    for form in {form for value in values for form in forms(value)}:
        at = text.find(form)
        while at >= 0:
            marked[at : at + len(form)] = b"\1" * len(form)
            ends.add(at)
            at = text.find(form, at + 1)
    masked = bytearray()
    for at, byte in enumerate(text):
        if not marked[at]:
            masked.append(byte)
        elif not at or not marked[at - 1]:
            masked += MASK
    return bytes(masked)


def masked(text: bytes, *values: bytes) -> bytes:
    masker = Masker(values)
    return masker.feed(text) + masker.end()


def in_pieces(text: bytes, cuts: list[int], masker: Masker) -> bytes:
    bounds = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return b"".join(masker.feed(text[a:b]) for a, b in pairwise(bounds)) + masker.end()


@st.composite
def outputs(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Secrets, and what a task that knows them says: forms, parts of forms, other things, with no space between."""
    values = draw(secrets)
    known = [form for value in values for form in forms(value)] or [b"nothing"]
    part = st.tuples(st.sampled_from(known), st.integers(0, 200), st.integers(0, 200))
    parts = st.one_of(
        st.sampled_from(known), part.map(lambda cut: cut[0][min(cut[1:]) : max(cut[1:])]), few_letters, st.binary()
    )
    return values, b"".join(draw(st.lists(parts, max_size=12)))


@given(outputs(), st.lists(st.integers(0, 1 << 20), max_size=20))
@example(([b"11111111"], b"a111111111"), [])
def test_wherever_output_is_cut_it_is_masked_as_if_it_had_come_at_once(
    output: tuple[list[bytes], bytes], cuts: list[int]
) -> None:
    values, text = output
    assert in_pieces(text, cuts, Masker(values)) == reference(text, values)


@given(outputs())
@example(([b"aaaaaaaab"], b"a" * 300 + b"b"))
def test_output_that_comes_byte_by_byte_is_masked_as_if_it_had_come_at_once(output: tuple[list[bytes], bytes]) -> None:
    values, text = output
    assert in_pieces(text, list(range(len(text))), Masker(values)) == reference(text, values)


@given(outputs(), st.lists(st.integers(0, 1 << 20), max_size=8))
def test_another_masker_can_go_on_at_any_place(output: tuple[list[bytes], bytes], cuts: list[int]) -> None:
    values, text = output
    masks = Masks(values)
    bounds = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    said, state = b"", b""
    for start, end in pairwise(bounds):
        masker = Masker(masks, state)
        said += masker.feed(text[start:end])
        state = masker.state()
    assert said + Masker(masks, state).end() == reference(text, values)


@given(outputs(), st.lists(st.integers(0, 1 << 20), max_size=8))
def test_no_more_is_held_back_than_is_said(output: tuple[list[bytes], bytes], cuts: list[int]) -> None:
    values, text = output
    masker = Masker(values)
    in_pieces(text, cuts, masker)
    masker.feed(text)
    assert len(masker.state().partition(b" ")[2]) <= HELD_MAX_BYTES


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        json.dumps(SECRET.decode()).encode(),
        json.dumps(SECRET.decode(), ensure_ascii=False).encode(),
        json.dumps(SECRET.decode()).replace("/", "\\/").encode(),
        json.dumps(SECRET.decode()).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode(),
        urllib.parse.quote(SECRET).encode(),
        urllib.parse.quote(SECRET, safe="").lower().encode(),
        urllib.parse.quote_plus(SECRET).encode(),
        shlex.quote(SECRET.decode()).encode(),
        SECRET.hex().encode(),
        SECRET.hex().upper().encode(),
        base64.b64encode(SECRET),
        base64.urlsafe_b64encode(SECRET),
    ],
)
def test_each_form_is_masked(written: bytes) -> None:
    assert leaked(masked(b"it is " + written + b"; so", SECRET), written) < 6


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"name:"])
@pytest.mark.parametrize("after", [b"", b"z", b"\n", b" and more"])
def test_base64_of_a_text_that_holds_it_is_masked_but_for_what_is_not_its_own(before: bytes, after: bytes) -> None:
    said = masked(base64.b64encode(before + SECRET + after), SECRET)
    start, _, end = said.partition(MASK)
    assert base64.b64decode(start + b"A" * (-len(start) % 4)).startswith(before)
    assert len(start) <= len(before) * 8 // 6 + 1
    assert len(end) <= len(after) * 8 // 6 + 4


def leaked(said: bytes, written: bytes) -> int:
    """The longest part of what was written that can still be read."""
    sizes = range(len(written), 0, -1)
    return next((n for n in sizes if any(written[at : at + n] in said for at in range(len(written) - n + 1))), 0)


@pytest.mark.parametrize("script", ['set -x; : "$S"', 'printf "%q" "$S"'])
def test_what_the_shell_writes_of_a_value_is_masked(script: str) -> None:
    secret = "it's a $ecret (one)"
    done = subprocess.run(["bash", "-c", script], env={"S": secret}, capture_output=True, check=True)
    written = done.stdout + done.stderr
    assert b"ecret" in written
    assert b"ecret" not in masked(written, secret.encode())


@pytest.mark.parametrize("width", [64, 76])
def test_base64_in_lines_is_masked(width: int) -> None:
    secret = bytes(range(33, 255))
    whole = base64.b64encode(secret)
    text = b"\n".join(whole[at : at + width] for at in range(0, len(whole), width))
    said = masked(text, secret)
    assert len(said.replace(MASK, b"").replace(b"\n", b"")) <= 4


def test_each_line_of_a_value_is_masked_alone() -> None:
    lines = PEM.splitlines()
    assert masked(b"<" + lines[1] + b">\n<" + lines[2] + b">", PEM) == b"<***>\n<***>"


def test_a_value_of_several_lines_as_a_whole_is_one_mask() -> None:
    assert masked(b"<" + PEM + b">", PEM) == b"<***\n>"


def test_the_white_space_around_a_value_is_none_of_it() -> None:
    assert masked(b"x=" + b"q3N8vT5xZ1" + b";", b"q3N8vT5xZ1\r\n") == b"x=***;"


def test_a_value_of_fewer_than_eight_bytes_is_not_masked() -> None:
    assert forms(b"1234567") == []
    assert forms(b"12345678")


def test_overlapping_secrets_are_masked_as_one() -> None:
    assert masked(b"abcdefgh12345678ijklmnop", b"abcdefgh12345678", b"12345678ijklmnop") == MASK


@given(st.one_of(st.binary(max_size=300), st.binary(min_size=8, max_size=40)))
def test_a_form_is_neither_short_nor_long(value: bytes) -> None:
    assert all(LEAST_BYTES <= len(form) <= LONGEST_BYTES for form in forms(value))


def test_a_long_value_is_masked_wherever_it_stands() -> None:
    value = b"".join(b"%07d" % n for n in range(ENCODED_MAX_BYTES // 4))
    assert masked(b"<" + value + b">", value) == b"<***>"


@pytest.mark.parametrize("from_byte", range(1, 21))
def test_the_rest_of_a_torn_secret_is_masked(from_byte: int) -> None:
    secret = b"q3N8vT5xZ1+b/nW4kR7mY2cL"
    for rest in (secret[from_byte:] + b" more", secret[from_byte:]):
        masker = Masker([secret], TORN)
        assert in_pieces(rest, list(range(len(rest))), masker) == MASK + rest[len(secret) - from_byte :]


def test_what_only_looks_like_the_inside_of_a_secret_is_written() -> None:
    masker = Masker([b"q3N8vT5xZ1+b/nW4kR7mY2cL"], TORN)
    assert in_pieces(b"T5xZ but then q3N8vT5xZ1+b/nW4kR7mY2cL.", [2, 3, 20], masker) == b"T5xZ but then ***."


def test_a_torn_masker_hands_on_what_it_holds() -> None:
    masks = Masks([b"q3N8vT5xZ1+b/nW4kR7mY2cL"])
    first = Masker(masks, TORN)
    assert first.feed(b"W4kR7") == b""
    second = Masker(masks, first.state())
    assert second.feed(b"mY2cL rest") + second.end() == b"*** rest"


@pytest.mark.parametrize("text", ["", "plain", "a\udcff\ud800 q3N8vT5xZ1", "\udcffq3N8vT5xZ1"])
def test_a_message_is_masked_whatever_it_holds(text: str) -> None:
    assert mask_text(text, [b"q3N8vT5xZ1"]) == text.replace("q3N8vT5xZ1", "***")


def test_without_secrets_a_message_stays_as_it_is() -> None:
    assert mask_text("a b c d e f g h", [b"short"]) == "a b c d e f g h"
