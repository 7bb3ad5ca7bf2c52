"""What became of a form, carried to the next page; and where a form may lead back to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.web.told import Told, local_path, pack, unpack


@given(st.text(max_size=3000), st.booleans())
def test_what_is_told_comes_through_and_fits_a_cookie(text: str, wrong: bool) -> None:
    if any(0xD800 <= ord(char) <= 0xDFFF for char in text):
        return
    packed = pack(Told(text, wrong), "token")
    assert len(packed) < 4000
    assert packed.isascii()
    found = unpack(packed, "token")
    assert found is not None
    assert found.wrong is wrong
    assert found.text == text or (found.text.endswith("…") and text.startswith(found.text[:-1]))


@pytest.mark.parametrize("value", ["", ".", "x", "e30.x", pack(Told("hello"), "another")])
def test_what_we_did_not_say_to_this_session_is_not_shown(value: str) -> None:
    assert unpack(value, "token") is None


def test_a_changed_word_is_not_shown() -> None:
    body, _, proof = pack(Told("hello"), "token").partition(".")
    assert unpack(f"{body[:-4]}AAAA.{proof}", "token") is None
    assert unpack(pack(Told("hello"), ""), "") is None


@pytest.mark.parametrize("path", ["/", "/runs/7?task=a%20b", "/workflows?q=//x"])
def test_a_page_of_ours_is_a_way_back(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "runs",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/\n//x",
        "https://evil.example",
        "\\/x",
        "/ /x",
    ],
)
def test_another_site_is_none(path: str) -> None:
    assert local_path(path) is None
