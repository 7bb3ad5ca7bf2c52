"""Where in a shell text something stands: bare, in quotes, in a here-document. Pure; it knows nothing of YAML.

As bash reads it, roughly: enough to say how a variable must be written at a place, and where none would be expanded.
"""

from __future__ import annotations

import re
from enum import StrEnum

_HEREDOC = re.compile(r"<<-?[ \t]*(\\?)(?:'([^'\n]+)'|\"([^\"\n]+)\"|([A-Za-z0-9_.+-]+))")
_SINGLE = ("'", "$'")


class Context(StrEnum):
    BARE = "bare"
    DOUBLE = "double"
    """In double quotes, in a here-document: what is expanded is not split."""
    SINGLE = "single"
    """Nothing is expanded."""
    COMMENT = "comment"
    ARITHMETIC = "arithmetic"
    """A value there is read as an expression of its own, which may run commands."""
    ESCAPED = "escaped"
    """Behind a backslash, which takes the sense from what follows."""


class _Scanner:
    """One pass over a text; `open` is the stack of what is not closed yet."""

    def __init__(self, text: str, spans: list[tuple[int, int]]) -> None:
        self.text = text
        self.spans = dict(spans)
        self.found: list[Context] = []
        self.at = 0
        self.open: list[str] = []
        self.heredocs: list[tuple[str, bool, bool]] = []

    def scan(self) -> list[Context]:
        while self.at < len(self.text):
            if self.at in self.spans:
                escaped = self.at > 0 and self.text[self.at - 1] == "\\" and self.context() is not Context.SINGLE
                self.found.append(Context.ESCAPED if escaped else self.context())
                self.at = self.spans[self.at]
            elif self.open and self.open[-1] in _SINGLE:
                self._in_single(self.open[-1])
            else:
                self._step()
        return self.found

    def context(self) -> Context:
        top = self.open[-1] if self.open else ""
        if top in _SINGLE:
            return Context.SINGLE
        if top == "((":
            return Context.ARITHMETIC
        return Context.DOUBLE if top == '"' else Context.BARE

    def _in_single(self, mark: str) -> None:
        escaped = mark == "$'" and self.text[self.at] == "\\" and self.at + 1 not in self.spans
        if self.text[self.at] == "'":
            self.open.pop()
        self.at += 2 if escaped else 1

    def _step(self) -> None:
        text, at, quoted = self.text, self.at, bool(self.open) and self.open[-1] == '"'
        character = text[at]
        self.at += 1
        if character == "\\":
            self.at += 0 if self.at in self.spans else 1
        elif text.startswith("$((", at) or (text.startswith("((", at) and not quoted):
            self.open.append("((")
            self.at = at + (3 if character == "$" else 2)
        elif text.startswith("$(", at):
            self.open.append("(")
            self.at = at + 2
        elif character == '"':
            self._toggle('"')
        elif character == "`":
            self._toggle("`")
        elif not quoted:
            self._bare(character, at)

    def _toggle(self, mark: str) -> None:
        if mark in self.open:
            del self.open[len(self.open) - 1 - self.open[::-1].index(mark) :]
        else:
            self.open.append(mark)

    def _bare(self, character: str, at: int) -> None:
        top = self.open[-1] if self.open else ""
        if character == "'":
            self.open.append("$'" if at and self.text[at - 1] == "$" else "'")
        elif character == "(":
            self.open.append("(")
        elif character == ")" and top == "((" and self.text.startswith("))", at):
            self.open.pop()
            self.at = at + 2
        elif character == ")" and top == "(":
            self.open.pop()
        elif character == "#" and (not at or self.text[at - 1] in " \t\n;&|("):
            self._comment()
        elif character == "<" and self.text.startswith("<<", at) and top != "((":
            self._heredoc(at)
        elif character == "\n" and self.heredocs:
            self._bodies()

    def _comment(self) -> None:
        end = self.text.find("\n", self.at)
        self._pass(len(self.text) if end < 0 else end, Context.COMMENT)

    def _heredoc(self, at: int) -> None:
        if self.text.startswith("<<<", at):
            self.at = at + 3
            return
        found = _HEREDOC.match(self.text, at)
        if found is None:
            return
        literal = bool(found[1] or found[2] or found[3])
        self.heredocs.append((found[2] or found[3] or found[4], literal, found[0].startswith("<<-")))
        self.at = found.end()

    def _bodies(self) -> None:
        """The here-documents that were announced in the line that has ended."""
        for word, literal, stripped in self.heredocs:
            end = self.at
            while end < len(self.text):
                line, _, _ = self.text[end:].partition("\n")
                if (line.lstrip("\t") if stripped else line) == word:
                    break
                end += len(line) + 1
            self._pass(min(end, len(self.text)), Context.SINGLE if literal else Context.DOUBLE)
            after = self.text.find("\n", self.at)
            self.at = len(self.text) if after < 0 else after + 1
        self.heredocs.clear()

    def _pass(self, end: int, context: Context) -> None:
        """Go on to `end`, everything between being in `context`."""
        for start in sorted(self.spans):
            if self.at <= start < end:
                self.found.append(context)
        self.at = end


def contexts(text: str, spans: list[tuple[int, int]]) -> list[Context]:
    """The context of each of `spans` (begin, end; in their order, apart from each other), which is not looked into."""
    return _Scanner(text, spans).scan()
