"""Where each value of a definition comes from, after templates and drop-ins: file, line and column.

Pure; it knows nothing of how it is shown.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from pyflowd.folder.loader_frames import Leaf
from pyflowd.language.document import Document, Mapping, line_starts
from pyflowd.language.params import plain


def leaves(document: Document, label: str) -> Iterator[Leaf]:
    """Each value that is no mapping, and each empty mapping; `label` is that of a document of one text."""
    yield from _leaves(document.root, document.mark, (), _Places(document, label))


class _Places:
    """Places of many marks: counting the lines anew for each would take their number squared."""

    def __init__(self, document: Document, label: str) -> None:
        self._sources = document.sources or ((0, label),)
        self._lines = line_starts(document.text)

    def of(self, mark: int) -> tuple[str, int, int]:
        start, label = self._sources[bisect_right(self._sources, mark, key=lambda source: source[0]) - 1]
        number = bisect_right(self._lines, mark)
        first = bisect_right(self._lines, start)
        return label, number - first + 1, mark - self._lines[number - 1] + 1


def _leaves(value: Any, mark: int, path: tuple[str, ...], places: _Places) -> Iterator[Leaf]:
    if value.__class__ is Mapping and value:
        for n, (key, each) in enumerate(value.items()):
            yield from _leaves(each, value.marks[2 * n + 1], (*path, key), places)
        return
    yield Leaf(path, plain(value), *places.of(mark))
