"""The words of a shell text: quotes, escapes, and the expansions in them. Pure.

As bash reads them, nearly. What it cannot read it says so of (`Unread`). Which words make a command, `shellcommands`
knows.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import NamedTuple

_PLAIN = re.compile(r"[^\s\\'\"$`|&;()<>]+")
_IN_DOUBLE = re.compile(r"[^\\\"$`]+")
_IN_BRACES = re.compile(r"[^\\'\"$`}]+")
_NAME = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-])", re.ASCII)
_IN_BRACE_NAME = re.compile(r"\$\{([#!]?)([A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?$!-])(\[[^\]]*\])?", re.ASCII)
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:\[[^\]]*\])?\+?=", re.ASCII)
_IN_ARRAY = re.compile(r"(?:[\s|]|\\\n)*")


class Unread(Exception):
    """The text is not closed, or is written in a way that is not known here."""


class Expansion(NamedTuple):
    """A variable in a word: from its `$` at `start` to `end`. `operator`: what stands behind the name in braces."""

    name: str
    start: int
    end: int
    quoted: bool
    operator: str = ""


class Substitution(NamedTuple):
    """`$(...)` in a word, and the text inside."""

    start: int
    quoted: bool
    text: str


class Word(NamedTuple):
    """One word as it is written, quotes and all."""

    start: int
    end: int
    text: str
    expansions: tuple[Expansion, ...]
    substitutions: tuple[Substitution, ...]

    @property
    def is_literal(self) -> bool:
        return not self.expansions and not self.substitutions

    @property
    def plain(self) -> str:
        """The text without its quotes, as far as that is plain."""
        return self.text.replace('"', "").replace("'", "").replace("\\", "")

    @property
    def assigns(self) -> str:
        """The variable that it gives a value to; empty: none."""
        found = _ASSIGNMENT.match(self.text)
        return found[1] if found else ""


class _Parts:
    """Of the word that is being read."""

    def __init__(self) -> None:
        self.expansions: list[Expansion] = []
        self.substitutions: list[Substitution] = []


class WordReader(ABC):
    """A place in a text, and how to go on from there by a word."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._backticks = 0

    @abstractmethod
    def block(self, closer: str, depth: int) -> None:
        """Commands up to `closer`, which is passed; `depth` is of nesting."""

    def word(self, depth: int) -> Word:
        """The word that begins here."""
        start, parts = self.at, _Parts()
        while self.at < len(self.text):
            character = self.text[self.at]
            if character in " \t\n;&|" or (character == "`" and self._backticks):
                break
            if character in "<>" and not (self.text.startswith(("<(", ">("), self.at)):
                break
            if character in "<>":
                self.at += 2
                self.block(")", depth + 1)
            elif character == "(":
                if not self._in_word(start, parts, depth):
                    break
            elif character == ")":
                break
            else:
                self._piece(character, parts, depth)
        if self.at == start:
            raise Unread
        return Word(start, self.at, self.text[start : self.at], tuple(parts.expansions), tuple(parts.substitutions))

    def _in_word(self, start: int, parts: _Parts, depth: int) -> bool:
        """A parenthesis within a word: the values of an array, a pattern; else the word ends before it."""
        before = self.text[self.at - 1] if self.at > start else ""
        if before == "=" or before in tuple("?*+@!"):
            self.at += 1
            while True:
                space = _IN_ARRAY.match(self.text, self.at)
                self.at = space.end() if space else self.at
                if self.text.startswith(")", self.at):
                    self.at += 1
                    return True
                if self.text.startswith("#", self.at) and before == "=":
                    self.at = self.text.find("\n", self.at)
                    if self.at < 0:
                        raise Unread
                    continue
                if self.at >= len(self.text):
                    raise Unread
                inner = self.word(depth)
                parts.substitutions.extend(inner.substitutions)
        return False

    def _piece(self, character: str, parts: _Parts, depth: int) -> None:
        if character == "\\":
            self.at = min(self.at + 2, len(self.text))
        elif character == "'":
            self._to("'", self.at + 1)
        elif character == '"':
            self.at += 1
            self._double(parts, depth)
        elif character == "$":
            self._dollar(parts, depth, quoted=False)
        elif character == "`":
            self._backtick(parts, depth, quoted=False)
        else:
            found = _PLAIN.match(self.text, self.at)
            self.at = found.end() if found else self.at + 1

    def _to(self, mark: str, start: int) -> None:
        end = self.text.find(mark, start)
        if end < 0:
            raise Unread
        self.at = end + len(mark)

    def _double(self, parts: _Parts, depth: int) -> None:
        """To the quote that closes."""
        while self.at < len(self.text):
            character = self.text[self.at]
            if character == '"':
                self.at += 1
                return
            if character == "\\":
                self.at += 2
            elif character == "$":
                self._dollar(parts, depth, quoted=True)
            elif character == "`":
                self._backtick(parts, depth, quoted=True)
            else:
                found = _IN_DOUBLE.match(self.text, self.at)
                self.at = found.end() if found else self.at + 1
        raise Unread

    def _backtick(self, parts: _Parts, depth: int, *, quoted: bool) -> None:
        if self._backticks:
            raise Unread  # one that closes within quotes, or is nested
        start = self.at
        self.at += 1
        self._backticks += 1
        self.block("`", depth + 1)
        self._backticks -= 1
        parts.substitutions.append(Substitution(start, quoted, self.text[start + 1 : self.at - 1]))

    def _dollar(self, parts: _Parts, depth: int, *, quoted: bool) -> None:
        text, start = self.text, self.at
        if text.startswith("$((", start):
            self.at += 3
            self._arithmetic(depth)
        elif text.startswith("$(", start):
            self.at += 2
            self.block(")", depth + 1)
            parts.substitutions.append(Substitution(start, quoted, text[start + 2 : self.at - 1]))
        elif text.startswith("${", start):
            self._braces(parts, depth, quoted=quoted)
        elif text.startswith("$'", start) and not quoted:
            self.at += 2
            while not text.startswith("'", self.at):
                self.at += 2 if text.startswith("\\", self.at) else 1
                if self.at >= len(text):
                    raise Unread
            self.at += 1
        else:
            found = _NAME.match(text, start)
            self.at = found.end() if found else start + 1
            if found:
                parts.expansions.append(Expansion(found[1], start, self.at, quoted))

    def _braces(self, parts: _Parts, depth: int, *, quoted: bool) -> None:
        start = self.at
        found = _IN_BRACE_NAME.match(self.text, start)
        if found is None:
            raise Unread
        self.at = found.end()
        inner, begin = _Parts(), self.at
        while not self.text.startswith("}", self.at):
            if self.at >= len(self.text):
                raise Unread
            character = self.text[self.at]
            if character == "\\":
                self.at += 2
            elif character == "'" and not quoted:
                self._to("'", self.at + 1)
            elif character == '"':
                self.at += 1
                self._double(inner, depth)
            elif character == "$":
                self._dollar(inner, depth, quoted=quoted)
            elif character == "`":
                self._backtick(inner, depth, quoted=quoted)
            else:
                plain = _IN_BRACES.match(self.text, self.at)
                self.at = plain.end() if plain else self.at + 1
        operator = found[1] + (found[3] or "") + self.text[begin : self.at]
        self.at += 1
        parts.expansions.append(Expansion(found[2], start, self.at, quoted, operator))
        parts.expansions.extend(inner.expansions)
        parts.substitutions.extend(inner.substitutions)

    def _arithmetic(self, depth: int) -> None:
        """To the `))`."""
        opened, parts = 0, _Parts()
        while self.at < len(self.text):
            character = self.text[self.at]
            if character == "(":
                opened += 1
            elif character == ")" and opened:
                opened -= 1
            elif character == ")":
                if not self.text.startswith("))", self.at):
                    raise Unread
                self.at += 2
                return
            elif character == "$":
                self._dollar(parts, depth, quoted=True)
                continue
            elif character == "\\":
                self.at += 1
            self.at += 1
        raise Unread
