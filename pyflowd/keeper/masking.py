"""Taking secrets out of output: each occurrence of a form of theirs becomes `***`. Pure; it knows no files or pipes.

Output is masked as it comes, and how it is cut into reads never matters: what may be the beginning of a form is held
back until it is one, or is none. Occurrences that overlap or touch become one `***`, and no byte of any is written.

How it is fast: whatever is as long as a form holds, wherever it stands, a whole word of four bytes at one of the
places 0, s, 2s, ... if s is small enough. So one word of every s bytes is looked up among the words of all forms, and
only where one is known the forms are compared. The cost does not grow with the number of secrets.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Iterable

from pyflowd.keeper.maskforms import LONGEST_BYTES, forms

MASK = b"***"
HELD_MAX_BYTES = LONGEST_BYTES - 1
"""A masker holds back no more than that."""
TORN = b"torn"
"""The state of a masker whose stream may begin in the middle of a form: who read before died with what it had read."""
_TORN_LEAST_BYTES = 4
"""Of the end of a form, to be taken for one: less is found anywhere."""
_WORD_BYTES = 4
_STRIDE_MAX_BYTES = 16
"""Looking more seldom gains little, and each form costs so many entries of the table."""

Span = tuple[int, int]


class Masks:
    """What is to be masked, made ready for the search. Shared by the maskers of all streams with the same secrets."""

    __slots__ = ("__weakref__", "_beginnings", "_places", "_stride_bytes", "_words", "sorted_forms")

    def __init__(self, values: Iterable[bytes]) -> None:
        self.sorted_forms = sorted({form for value in values for form in forms(value)})
        shortest = min(map(len, self.sorted_forms), default=_STRIDE_MAX_BYTES)
        room = min(shortest - _WORD_BYTES + 1, _STRIDE_MAX_BYTES)
        self._stride_bytes = room - room % _WORD_BYTES
        places: dict[int, list[tuple[bytes, int]]] = {}
        for form in self.sorted_forms:
            for offset in range(self._stride_bytes):
                word = int.from_bytes(form[offset : offset + _WORD_BYTES], sys.byteorder)
                places.setdefault(word, []).append((form, offset))
        self._places = places
        """By word: the forms that hold it, and where."""
        self._words = frozenset(places)
        self._beginnings = frozenset([form[:_WORD_BYTES] for form in self.sorted_forms])

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self.sorted_forms)

    def find(self, text: bytes) -> list[Span]:
        """Where forms occur, in order; what overlaps or touches is one."""
        whole_words = memoryview(text)[: len(text) - len(text) % _WORD_BYTES].cast("I")
        words = whole_words[:: self._stride_bytes // _WORD_BYTES]
        if self._words.isdisjoint(words):
            return []
        found: list[Span] = []
        for number, word in enumerate(words):
            if word in self._words:
                self._find_around(text, number * self._stride_bytes, word, found)
        return _joined(sorted(found))

    def _find_around(self, text: bytes, at: int, word: int, found: list[Span]) -> None:
        """Forms that hold the word which stands there; but for what the newest find covers already."""
        first, last = found.pop() if found else (at, at)
        for form, offset in self._places[word]:
            start, end = at - offset, at - offset + len(form)
            if (first <= start and end <= last) or start < 0 or not text.startswith(form, start):
                continue
            if start <= last and first <= end:
                first, last = min(start, first), max(end, last)
            else:
                found.append((first, last))
                first, last = start, end
        if first < last:
            found.append((first, last))

    def first_open(self, text: bytes) -> int:
        """Where the first form begins that may go on behind the end of the text; the text's length if none does."""
        start = max(len(text) - HELD_MAX_BYTES, 0)
        for at in range(start, len(text)):
            head = text[at : at + _WORD_BYTES]
            if (len(head) < _WORD_BYTES or head in self._beginnings) and self._begins_a_form(text[at:]):
                return at
        return len(text)

    def _begins_a_form(self, text: bytes) -> bool:
        at = bisect_right(self.sorted_forms, text)
        return at < len(self.sorted_forms) and self.sorted_forms[at].startswith(text)

    def is_inside_a_form(self, text: bytes) -> bool:
        return any(text in form for form in self.sorted_forms)

    def torn_bytes(self, text: bytes) -> int:
        """How many bytes at the text's beginning are the end of a form whose beginning is not there."""
        for size in range(min(len(text), HELD_MAX_BYTES), _TORN_LEAST_BYTES - 1, -1):
            end = text[:size]
            if any(form.endswith(end) for form in self.sorted_forms):
                return size
        return 0


def _joined(spans: list[Span]) -> list[Span]:
    joined = spans[:1]
    for start, end in spans[1:]:
        if start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


class Masker:
    """One stream. `state` is that of another masker with the same secrets, which this one goes on for, or `TORN`."""

    __slots__ = ("_held", "_masked_to", "_masks", "_torn")

    def __init__(self, masks: Masks | Iterable[bytes], state: bytes = b"") -> None:
        self._masks = _made_ready(masks)
        where, _, self._held = state.partition(b" ")
        self._torn = where == TORN
        self._masked_to = -1 if self._torn else int(where or -1)
        """How many of the held bytes the last `***` stands for already; 0: it stands right before them; -1: neither."""

    def feed(self, data: bytes) -> bytes:
        """What may be written now that `data` has come."""
        text = self._held + data
        if self._torn:
            if self._masks.is_inside_a_form(text):
                self._held = text
                return b""
            return self._begin_torn(text) + self._take(text, self._masks.first_open(text))
        return self._take(text, self._masks.first_open(text))

    def end(self) -> bytes:
        """What is left to write when nothing more comes."""
        text, self._held = self._held, b""
        if self._torn:  # all of it is of a form, whose end is missing too
            return MASK if len(text) >= _TORN_LEAST_BYTES else text
        return self._take(text, len(text))

    def state(self) -> bytes:
        """For the masker that goes on for this one. It holds bytes that may be a part of a secret."""
        return (TORN if self._torn else b"%d" % self._masked_to) + b" " + self._held

    def _begin_torn(self, text: bytes) -> bytes:
        self._torn = False
        torn_bytes = self._masks.torn_bytes(text)
        if not torn_bytes:
            return b""
        self._masked_to = torn_bytes
        return MASK

    def _take(self, text: bytes, until: int) -> bytes:
        """Write the text up to there, hold the rest."""
        parts = []
        masked_to = self._masked_to
        at = max(masked_to, 0)
        for start, end in self._masks.find(text):
            if start >= until:
                break  # held, and found again
            if start > masked_to:
                parts += [text[at:start], MASK]
            masked_to = at = max(masked_to, end)
        if at < until:
            parts.append(text[at:until])
            masked_to = -1
        self._held = text[until:]
        self._masked_to = max(masked_to - until, -1)
        return b"".join(parts)


def mask_text(text: str, values: Masks | Iterable[bytes]) -> str:
    """A whole text, a message say, without the secrets."""
    masks = _made_ready(values)
    if not masks:
        return text
    try:
        content, errors = text.encode(errors="surrogateescape"), "surrogateescape"
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        content, errors = text.encode(errors="surrogatepass"), "surrogatepass"
    masker = Masker(masks)
    return (masker.feed(content) + masker.end()).decode(errors=errors)


def _made_ready(masks: Masks | Iterable[bytes]) -> Masks:
    return masks if isinstance(masks, Masks) else Masks(masks)
