"""What a list is narrowed to: what a browser asked for, as chips that take one away. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pyflowd.web.drawing import link_to


class Chip(NamedTuple):
    text: str
    """`state failed`."""
    path: str
    """The same list without it."""


def chips(page: str, asked: Mapping[str, str], words: Mapping[str, str]) -> list[Chip]:
    """For each of `words` (the name of a filter to its word) that is set; pages of the list begin anew."""
    on = {name: asked[name] for name in words if asked.get(name)}
    return [
        Chip(f"{words[name]} {value}".strip(), link_to(page, **{other: on[other] for other in on if other != name}))
        for name, value in on.items()
    ]
