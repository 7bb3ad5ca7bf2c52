"""The commands of a shell text, with their words, and what stands before and behind each. Pure.

As bash reads it, nearly: enough to find hazards, not enough to run anything. What it cannot read it says so of
(`Unread`), and nothing is told of such a text. It knows nothing of YAML and of what variables hold.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pyflowctl.shellwords import Expansion, Substitution, Unread, Word, WordReader

__all__ = ["Command", "Expansion", "Substitution", "Unread", "Word", "commands"]

_BLANK = re.compile(r"(?:[ \t]|\\\n)*")
_OPERATOR = re.compile(r";;&|;;|;&|&&|\|\||\|&|[;|&]")
_REDIRECT = re.compile(r"(?:[0-9]+|\{[A-Za-z_]\w*\})?(<<<|<<-?|<>|<&|>&|>>|>\||<(?!\()|>(?!\()|&>>|&>)")
_DELIMITER = re.compile(r"[ \t]*(\\?)(?:'([^'\n]+)'|\"([^\"\n]+)\"|([^\s;&|<>()]+))")
_RESERVED = frozenset({"if", "then", "elif", "else", "fi", "do", "done", "while", "until", "{", "}", "!", "time"})
_TESTING = frozenset({"if", "elif", "while", "until", "!"})
_MAX_DEPTH = 40
_SPACE = re.compile(r"(?:\s|\\\n)*")


class Command(NamedTuple):
    """A simple command, or the head of a `for` or `case`, or a `[[ ]]`.

    `after`: the operator behind it. `tested`: it stands in a condition, or its failure is asked for otherwise.
    """

    kind: str
    words: tuple[Word, ...]
    assignments: tuple[Word, ...]
    redirects: tuple[tuple[str, Word], ...]
    before: str
    after: str
    tested: bool

    @property
    def name(self) -> str:
        return self.words[0].plain if self.words and self.words[0].is_literal else ""


def commands(text: str) -> list[Command]:
    """All commands, those within substitutions and loops too. Raises Unread."""
    reader = _Reader(text)
    reader.block("", 0)
    return reader.found


class _Draft:
    """A command that is being read."""

    def __init__(self, before: str) -> None:
        self.before = before
        self.words: list[Word] = []
        self.redirects: list[tuple[str, Word]] = []
        self.tested = False
        self.kind = "simple"


class _Reader(WordReader):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.found: list[Command] = []
        self._heredocs: list[tuple[str, bool]] = []

    # -- Lists of commands --

    def block(self, closer: str, depth: int) -> None:
        """Commands up to `closer`, which is passed; `depth` is of nesting."""
        if depth > _MAX_DEPTH:
            raise Unread
        cases: list[bool] = []  # of each open `case`: whether a pattern comes
        draft = _Draft("")
        while True:
            self._skip_blanks()
            if self.at >= len(self.text):
                if closer:
                    raise Unread
                self._finish(draft, "")
                return
            character = self.text[self.at]
            if character == closer and (character != ")" or not (cases and cases[-1])):
                self._finish(draft, "")
                self.at += 1
                return
            if cases and cases[-1]:
                draft = self._pattern(cases, draft)
            elif character == "\n":
                draft = self._finish(draft, "\n")
                self.at += 1
                self._bodies()
            elif character == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif character == "(":
                self._parenthesis(draft, depth)
            elif _REDIRECT.match(self.text, self.at):
                self._redirect(draft, depth)
            elif character in ";|&":
                draft = self._operator(draft, cases)
            elif character == ")":
                raise Unread
            else:
                draft = self._word_of_command(draft, cases, depth)

    def _skip_blanks(self) -> None:
        found = _BLANK.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def _operator(self, draft: _Draft, cases: list[bool]) -> _Draft:
        found = _OPERATOR.match(self.text, self.at)
        if found is None:
            raise Unread
        self.at = found.end()
        if found[0] in (";;", ";&", ";;&"):
            if not cases:
                raise Unread
            cases[-1] = True
        return self._finish(draft, found[0])

    def _finish(self, draft: _Draft, after: str) -> _Draft:
        """Keep what was read; the next command."""
        words = draft.words
        first = next((n for n, word in enumerate(words) if not word.assigns), len(words))
        if draft.kind != "simple":
            first = 0
        if words or draft.redirects:
            self.found.append(
                Command(
                    kind=draft.kind,
                    words=tuple(words[first:]),
                    assignments=tuple(words[:first]),
                    redirects=tuple(draft.redirects),
                    before=draft.before,
                    after=after,
                    tested=draft.tested,
                )
            )
        following = _Draft(after)
        following.tested = draft.tested and after in ("|", "&&", "||")
        return following

    def _pattern(self, cases: list[bool], draft: _Draft) -> _Draft:
        """One step towards the `)` behind the patterns of a `case`, or its `esac`."""
        character = self.text[self.at]
        if character == ")":
            cases[-1] = False
            self.at += 1
            return _Draft("")
        if character in "(|\n":
            self.at += 1
        elif character == "#":
            end = self.text.find("\n", self.at)
            self.at = len(self.text) if end < 0 else end
        elif self.word(0).text == "esac":
            cases.pop()
        return draft

    def _parenthesis(self, draft: _Draft, depth: int) -> None:
        if not draft.words or draft.words[-1].text in ("for", "select"):
            if self.text.startswith("((", self.at):
                self.at += 2
                self._arithmetic(depth)
            else:
                self.at += 1
                self.block(")", depth + 1)
            return
        self.at += 1
        self._skip_blanks()
        if len(draft.words) > 2 or not self.text.startswith(")", self.at):
            raise Unread
        self.at += 1  # the head of a function
        draft.words.clear()

    def _redirect(self, draft: _Draft, depth: int) -> None:
        found = _REDIRECT.match(self.text, self.at)
        assert found is not None
        self.at = found.end()
        if found[1] in ("<<", "<<-"):
            delimiter = _DELIMITER.match(self.text, self.at)
            if delimiter is None:
                raise Unread
            self.at = delimiter.end()
            self._heredocs.append((delimiter[2] or delimiter[3] or delimiter[4], found[1] == "<<-"))
            return
        self._skip_blanks()
        draft.redirects.append((found[1], self.word(depth)))

    def _bodies(self) -> None:
        """Pass the here-documents that were announced in the line that has ended."""
        for word, stripped in self._heredocs:
            while True:
                if self.at >= len(self.text):
                    raise Unread
                line, _, _ = self.text[self.at :].partition("\n")
                self.at += len(line) + 1
                if (line.lstrip("\t") if stripped else line) == word:
                    break
        self._heredocs.clear()
        self.at = min(self.at, len(self.text))

    def _word_of_command(self, draft: _Draft, cases: list[bool], depth: int) -> _Draft:
        word = self.word(depth)
        if not draft.words:
            if word.text in _RESERVED:
                draft.tested = word.text in _TESTING or (draft.tested and word.text == "{")
                return draft
            if word.text == "esac" and cases:
                cases.pop()
                return draft
            if word.text == "[[":
                self._test(draft, word, depth)
                return draft
            if word.text == "function":
                self._skip_blanks()
                self.word(depth)
                return draft
            if word.text in ("for", "select", "case"):
                draft.kind = word.text
        draft.words.append(word)
        if draft.kind == "case" and len(draft.words) == 3:
            if word.text != "in":
                raise Unread
            cases.append(True)
            return self._finish(draft, "")
        return draft

    def _test(self, draft: _Draft, opened: Word, depth: int) -> None:
        """To the `]]`."""
        draft.kind = "test"
        draft.words.append(opened)
        while True:
            space = _SPACE.match(self.text, self.at)
            self.at = space.end() if space else self.at
            if self.at >= len(self.text):
                raise Unread
            if self.text[self.at] in "()<>&|;":
                self.at += 1
                continue
            word = self.word(depth)
            draft.words.append(word)
            if word.text == "]]":
                return
