"""Texts in which expressions stand: `backup of ${{ params.host }}` (rules P1 to P3).

A text that is nothing but one expression keeps the type of its value; in any other an expression becomes text.
`$${{` stands for the characters `${{`. It knows nothing of where a template may stand.
"""

from __future__ import annotations

import re
from functools import lru_cache

from pyflowd.expressions.expression import Expression, ExpressionError, Names, Value
from pyflowd.expressions.expression import parse as parse_expression
from pyflowd.expressions.expression_lexer import end_of_expression
from pyflowd.expressions.expression_values import shown, text_of

__all__ = ["Template", "has_expression", "parse", "render", "render_text", "render_tree", "text_of"]

MAX_RENDERED_CHARACTERS = 8 * 1024 * 1024
"""As much as a definition may have (rule D5)."""
_OPENING = re.compile(r"\$?\$\{\{")
_SPACE = re.compile(r"[ \t\r\n]*")
_KEPT = 2048
_KEPT_CHARACTERS = 16 * 1024
"""Longer templates, such as bodies of requests, are read each time: the memory is not worth it."""


class Template:
    """A template that was read; made by `parse`."""

    __slots__ = ("_parts", "expressions", "is_single", "offsets", "text")

    def __init__(self, text: str, parts: tuple[str | Expression, ...], offsets: tuple[int, ...]) -> None:
        self.text = text
        self._parts = parts
        self.expressions: tuple[Expression, ...] = tuple(part for part in parts if isinstance(part, Expression))
        self.offsets = offsets
        """Where each expression's text begins in the template's, from 0."""
        self.is_single = len(parts) == 1 and len(offsets) == 1

    def __repr__(self) -> str:
        return f"Template({self.text!r})"

    def without_expressions(self, mark: str) -> str:
        """The template with `mark`, which is no expression, in the place of each expression."""
        return "".join(part.replace("${{", "$${{") if isinstance(part, str) else mark for part in self._parts)

    def render(self, names: Names) -> Value:
        """Rule P2. Raises ExpressionError, with the `offset` of the expression."""
        if self.is_single:
            return self._value(0, names)
        return self.render_text(names)

    def render_text(self, names: Names) -> str:
        """Rule P3. Raises ExpressionError, with the `offset` of the expression."""
        rendered: list[str] = []
        size, place = 0, 0
        for part in self._parts:
            if isinstance(part, str):
                rendered.append(part)
            else:
                rendered.append(self._text(place, names))
                place += 1
            size += len(rendered[-1])
            if size > MAX_RENDERED_CHARACTERS:
                raise ExpressionError(f"the text becomes longer than {MAX_RENDERED_CHARACTERS} characters")
        return "".join(rendered)

    def _value(self, place: int, names: Names) -> Value:
        try:
            return self.expressions[place].evaluate(names)
        except ExpressionError as error:
            error.offset = self.offsets[place]
            raise

    def _text(self, place: int, names: Names) -> str:
        value = self._value(place, names)
        try:
            return text_of(value)
        except ExpressionError as error:
            located = ExpressionError(f"{shown(self.expressions[place].text)[1:-1]}: {error}", 1)
            located.offset = self.offsets[place]
            raise located from None


def parse(text: str) -> Template:
    """The template that `text` is. Raises ExpressionError: what is wrong, where, what to write instead."""
    return _parse_kept(text) if len(text) <= _KEPT_CHARACTERS else _parse(text)


def _parse(text: str) -> Template:
    parts: list[str | Expression] = []
    offsets: list[int] = []
    at, literal = 0, ""
    while (match := _OPENING.search(text, at)) is not None:
        literal += text[at : match.start()]
        if match[0] == "$${{":
            literal += "${{"
            at = match.end()
            continue
        expression, offset, at = _expression(text, match.end())
        if literal:
            parts.append(literal)
        parts.append(expression)
        offsets.append(offset)
        literal = ""
    literal += text[at:]
    if literal:
        parts.append(literal)
    return Template(text, tuple(parts), tuple(offsets))


_parse_kept = lru_cache(maxsize=_KEPT)(_parse)


def _expression(text: str, start: int) -> tuple[Expression, int, int]:
    """The expression after a `${{`, where its text begins, and where the template goes on."""
    space = _SPACE.match(text, start)
    begin = space.end() if space else start
    try:
        end = end_of_expression(text, begin)
        if end < 0:
            raise ExpressionError("the expression is not closed: }} is missing; $${{ stands for the text ${{")
        return parse_expression(text[begin:end].rstrip(" \t\r\n")), begin, end + 2
    except ExpressionError as error:
        error.offset = begin
        raise


def render(text: str, names: Names) -> Value:
    """The value of a text: that of its expression if it is only one (rule P2), else text."""
    return parse(text).render(names) if "${{" in text else text


def render_text(text: str, names: Names) -> str:
    """The text of a text, its expressions as text (rule P3)."""
    return parse(text).render_text(names) if "${{" in text else text


def render_tree(value: Value, names: Names) -> Value:
    """`value` with every text in it rendered; keys of maps are left as they are."""
    if isinstance(value, str):
        return render(value, names)
    if isinstance(value, list):
        return [render_tree(each, names) for each in value]
    if isinstance(value, dict):
        return {key: render_tree(each, names) for key, each in value.items()}
    return value


def has_expression(value: Value) -> bool:
    """Whether an expression, or `$${{`, stands in a text or anywhere in a list or map."""
    if isinstance(value, str):
        return "${{" in value
    if isinstance(value, list):
        return any(map(has_expression, value))
    if isinstance(value, dict):
        return any(map(has_expression, value.values()))
    return False
