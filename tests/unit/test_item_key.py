"""What items are known by that are given no key: readable, stable, each its own."""

from __future__ import annotations

from typing import Any

import pytest

from pyflowd.base.item_key import KEY_MAX, default_key


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("web1", "web1"),
        (7, "7"),
        (True, "true"),
        ([80, 443], "[80,443]"),
        ({"os": "debian", "version": 12}, "debian, 12"),
        ({"ports": [80]}, '{"ports":[80]}'),
        ({}, "{}"),
    ],
)
def test_a_plain_item_is_its_own_key(value: Any, key: str) -> None:
    assert default_key(value) == key


def test_a_mapping_with_parts_is_named_by_its_plain_values_and_a_hash() -> None:
    name, _, digest = default_key({"name": "web", "ports": [80, 443]}).partition("#")
    assert (name, len(digest)) == ("web", 16)


def test_mappings_that_differ_in_a_part_have_different_keys() -> None:
    assert default_key({"name": "web", "ports": [80]}) != default_key({"name": "web", "ports": [81]})


def test_the_order_in_which_a_mapping_with_parts_was_written_does_not_count() -> None:
    assert default_key({"name": "web", "ports": [80]}) == default_key({"ports": [80], "name": "web"})


@pytest.mark.parametrize("value", ["x" * 5000, "two\nlines", "", {"name": "x" * 5000, "parts": []}])
def test_every_key_is_a_printable_line_of_bounded_length(value: Any) -> None:
    key = default_key(value)
    assert key.isprintable()
    assert 0 < len(key) <= KEY_MAX
