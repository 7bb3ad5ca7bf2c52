"""Patterns of params, matched in a time that grows with the text, never exponentially.

`re` backtracks: `(a+)+b` against thirty letters takes minutes, in the daemon's only thread. So patterns are a plain
dialect, turned into states that are walked all at once: characters, `.`, classes in brackets, the escapes of d, w, s
and their opposites, groups, `|`, `* + ? {n} {n,} {n,m}`. The whole value must match; `^` at the start and `$` at the
end change nothing. It knows nothing of params.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

MAX_VALUE_CHARACTERS = 1024
"""With the greatest pattern 0.1 s."""
_MAX_STATES = 500
_MAX_DEPTH = 20
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_SET_OPERATION = re.compile(r"(?<!\\)\[|--|&&|\|\||~~")
"""What `re` warns that it may come to mean something else."""
_REPEAT = re.compile(r"\{([0-9]{1,3})(?:(,)([0-9]{1,3})?)?\}", re.ASCII)
_SETS = frozenset("dDwWsS")
_NOT_HERE = "look-around, back-references and other extensions of groups are not taken"

_Node = tuple[str, object]
"""("one", test of a character) | ("all", nodes in turn) | ("any", alternatives) | ("repeat", (node, least, most))"""


def check(pattern: str) -> None:
    """Raises ValueError with the reason if `pattern` is none of this dialect."""
    _compile(pattern)


def matches(pattern: str, value: str) -> bool:
    """Whether the whole of `value` matches; `pattern` was checked. A value of more than 1024 characters does not."""
    if len(value) > MAX_VALUE_CHARACTERS:
        return False
    machine = _compile(pattern)
    states = machine.start
    for character in value:
        states = machine.step(states, character)
        if not states:
            return False
    return machine.end in states


class _Machine:
    """States that are left by a character (`tests`) or by none (`free`)."""

    def __init__(self) -> None:
        self.tests: list[re.Pattern[str] | None] = []
        self.free: list[list[int]] = []
        self.start: frozenset[int] = frozenset()
        self.end = 0

    def add(self) -> int:
        if len(self.tests) >= _MAX_STATES:
            raise ValueError("the pattern is too large")
        self.tests.append(None)
        self.free.append([])
        return len(self.tests) - 1

    def close(self, states: set[int]) -> frozenset[int]:
        """All that can be reached without a character."""
        ready = list(states)
        while ready:
            for state in self.free[ready.pop()]:
                if state not in states:
                    states.add(state)
                    ready.append(state)
        return frozenset(states)

    def step(self, states: frozenset[int], character: str) -> frozenset[int]:
        """A state that tests a character is left for the one after it."""
        after = set()
        for state in states:
            test = self.tests[state]
            if test is not None and test.match(character):
                after.add(state + 1)
        return self.close(after)


@lru_cache(maxsize=256)
def _compile(pattern: str) -> _Machine:
    if len(pattern) > _MAX_STATES:
        raise ValueError("the pattern is too long")
    body = pattern.removeprefix("^")
    if body.endswith("$") and not body.endswith("\\$"):
        body = body[:-1]
    parser = _Parser(body)
    tree = parser.alternatives(0)
    if parser.at < len(body):
        raise ValueError(f"unexpected {body[parser.at]} at character {parser.at + 1}")
    machine = _Machine()
    start = machine.add()
    machine.end = _build(machine, tree, start)
    machine.start = machine.close({start})
    return machine


def _build(machine: _Machine, node: _Node, start: int) -> int:
    """Adds what leads from `start` through `node`; returns the state after it."""
    match node:
        case ("one", test):
            assert isinstance(test, re.Pattern)
            here = machine.add()
            machine.free[start].append(here)
            machine.tests[here] = test
            return machine.add()
        case ("all", list(parts)):
            for part in parts:
                start = _build(machine, part, start)
            return start
        case ("any", list(parts)):
            ends = [_build(machine, part, _after(machine, start)) for part in parts]
            end = machine.add()
            for each in ends:
                machine.free[each].append(end)
            return end
        case ("repeat", (inner, int(least), int() | None as most)):
            return _repeat(machine, inner, start, least, most)
        case _:
            raise AssertionError(node)


def _after(machine: _Machine, start: int) -> int:
    state = machine.add()
    machine.free[start].append(state)
    return state


def _repeat(machine: _Machine, inner: Any, start: int, least: int, most: int | None) -> int:
    for _ in range(least):
        start = _build(machine, inner, start)
    if most is None:
        loop = _after(machine, start)
        machine.free[_build(machine, inner, loop)].append(loop)
        return _after(machine, loop)
    skips = [start]
    for _ in range(most - least):
        start = _build(machine, inner, start)
        skips.append(start)
    end = machine.add()
    for each in skips:
        machine.free[each].append(end)
    return end


class _Parser:
    """Reads the dialect; single characters and classes are left to `re`, which is exact about them."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def alternatives(self, depth: int) -> _Node:
        if depth > _MAX_DEPTH:
            raise ValueError("groups are nested too deeply")
        parts = [self._sequence(depth)]
        while self._peek() == "|":
            self.at += 1
            parts.append(self._sequence(depth))
        return parts[0] if len(parts) == 1 else ("any", parts)

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _sequence(self, depth: int) -> _Node:
        parts = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(self._atom(depth)))
        return ("all", parts)

    def _repeated(self, node: _Node) -> _Node:
        sign = self._peek()
        bounds = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(sign)
        if bounds is not None:
            self.at += 1
        elif sign == "{":
            found = _REPEAT.match(self.text, self.at)
            if found is None:
                raise ValueError("{ begins no number of repeats: write \\{ for the character")
            least = int(found[1])
            bounds = (least, least if not found[2] else int(found[3]) if found[3] else None)
            if bounds[1] is not None and bounds[1] < least:
                raise ValueError(f"{found[0]} runs backwards")
            self.at = found.end()
        else:
            return node
        if self._peek() in ("*", "+", "?", "{") and self._peek():
            raise ValueError(f"{self._peek()} follows a repeat")
        return ("repeat", (node, *bounds))

    def _atom(self, depth: int) -> _Node:
        found = self._peek()
        if found == "(":
            self.at += 3 if self.text.startswith("(?:", self.at) else 1
            if self._peek() == "?":
                raise ValueError(_NOT_HERE)
            inner = self.alternatives(depth + 1)
            if self._peek() != ")":
                raise ValueError("a group is not closed")
            self.at += 1
            return inner
        if found in ("*", "+", "?", "{"):
            raise ValueError(f"{found} repeats nothing")
        if found in ("^", "$"):
            raise ValueError(f"{found} stands inside: the whole value must match in any case")
        return ("one", self._character(found))

    def _character(self, found: str) -> re.Pattern[str]:
        if found == "[":
            match = _CLASS.match(self.text, self.at)
            if match is None:
                raise ValueError("a [ is not closed")
            if _SET_OPERATION.search(match[0], 1):
                raise ValueError(f"{match[0]}: put \\ before [ and before doubled -, &, |, ~")
            self.at = match.end()
            try:
                return re.compile(match[0], re.ASCII)
            except re.error as error:
                raise ValueError(f"{match[0]}: {error}") from None
        if found == "\\":
            escaped = self.text[self.at + 1 : self.at + 2]
            if not escaped or (escaped.isalnum() and escaped not in _SETS):
                raise ValueError(f"\\{escaped} is not taken" if escaped else "a \\ ends the pattern")
            self.at += 2
            return re.compile("\\" + escaped, re.ASCII)
        self.at += 1
        return re.compile("." if found == "." else re.escape(found), re.ASCII)
