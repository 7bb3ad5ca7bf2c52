"""Laying one definition over another: maps merge, lists replace, null removes; every value keeps its place.

The texts of all parts stand one after the other in the joined document, so that a mark still says which text it is in.
Pure; it knows nothing of workflows.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Items
from typing import Any, NamedTuple

from pyflowd.language.document import Document, Mapping, Sequence


class Labelled(NamedTuple):
    """A document and how messages name it."""

    label: str
    document: Document


def join(parts: Items[Labelled]) -> list[Document]:
    """The same documents with one text and one count of marks for all: the first keeps its own."""
    text = "\n".join(part.document.text for part in parts)
    base, starts = 0, []
    for part in parts:
        starts.append((base, part.label))
        _shift(part.document.root, base)
        base += len(part.document.text) + 1
    sources = tuple(starts)
    return [
        Document(part.document.root, part.document.mark + start, text, sources)
        for part, (start, _) in zip(parts, sources, strict=True)
    ]


def _shift(root: Any, base: int) -> None:
    """Add `base` to every mark, once: an alias is the same object in several places."""
    if not base:
        return
    todo, done = [root], set()
    while todo:
        value = todo.pop()
        if value.__class__ not in (Mapping, Sequence) or id(value) in done:
            continue
        done.add(id(value))
        value.marks = [mark + base for mark in value.marks]
        todo.extend(value.values() if value.__class__ is Mapping else value)


def merge(below: Mapping, above: Mapping) -> Mapping:
    """`below` with what `above` says otherwise. Neither is changed.

    A null that has nothing to remove is dropped; one inside a mapping that is wholly new is a value like any other.
    """
    over = _members(above)
    merged = Mapping()
    merged.marks = []
    for key, member in _members(below).items():
        new = over.get(key)
        if new is None:
            _put(merged, key, member)
        elif member.value.__class__ is Mapping and new.value.__class__ is Mapping:
            _put(merged, key, new._replace(value=merge(member.value, new.value)))
        elif new.value is not None:
            _put(merged, key, new)
    for key, new in over.items():
        if key not in below and new.value is not None:
            _put(merged, key, new)
    return merged


def idle_nulls(below: Mapping, above: Mapping, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    """Keys of `above` that are to take something away which is not there, and where they stand."""
    for key, new in _members(above).items():
        if key not in below:
            if new.value is None:
                yield (*path, key), new.key_mark
        elif new.value.__class__ is Mapping and below[key].__class__ is Mapping:
            yield from idle_nulls(below[key], new.value, (*path, key))


def without(mapping: Mapping, keys: frozenset[str]) -> Mapping:
    """`mapping` less some keys."""
    kept = Mapping()
    kept.marks = []
    for key, member in _members(mapping).items():
        if key not in keys:
            _put(kept, key, member)
    return kept


class _Member(NamedTuple):
    """A value, and where its key and it stand."""

    value: Any
    key_mark: int
    mark: int


def _members(mapping: Mapping) -> dict[str, _Member]:
    marks = mapping.marks
    return {key: _Member(value, marks[2 * n], marks[2 * n + 1]) for n, (key, value) in enumerate(mapping.items())}


def _put(mapping: Mapping, key: str, member: _Member) -> None:
    mapping[key] = member.value
    mapping.marks += (member.key_mark, member.mark)
