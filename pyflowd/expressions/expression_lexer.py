"""The text of an expression as tokens. What people bring from other languages is refused with what to write instead.

It finds the end of an expression inside a longer text, too: the `}}` that no bracket and no quote holds. It knows
nothing of what the tokens mean.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pyflowd.expressions.expression_values import MAX_INTEGER, ExpressionError, Value, shown

MAX_CHARACTERS = 8 * 1024
"""Of one expression."""

_SPACE = re.compile(r"[ \t\r\n]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_MEMBER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:-[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
"""After a dot a `-` between letters belongs to the name, as in `tasks.size-check.state`; a minus has spaces."""
_NUMBER = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_TEXT = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(.))")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", "\\": "\\", "'": "'", '"': '"', "/": "/"}
_SIGN = re.compile(r"//|<=|>=|==|!=|[-+*/%<>.,:=()\[\]{}]")
_CLOSED_BY = {"(": ")", "[": "]", "{": "}"}
_FOREIGN = {
    "===": "write ==",
    "!==": "write !=",
    "&&": "write and",
    "||": "write or",
    "**": "there are no powers; write x * x",
    "=>": "there are no functions of your own",
    ":=": "names cannot be given here",
    "?.": "write default(x.y, z)",
    "??": "write default(x, y)",
    "!": "write not x",
    "&": "write and",
    "|": "there are no filters; write name(x)",
    "?": "write x if condition else y",
    "~": "write x + y",
    "$": "write the name alone",
    "`": "write a text as 'text'",
    "’": "write a text as 'text', with plain quotes",
    "‘": "write a text as 'text', with plain quotes",
    "“": 'write a text as "text", with plain quotes',
    "”": 'write a text as "text", with plain quotes',
    "#": "there are no comments in expressions",
    ";": "one expression only",
    "\\": "a \\ may stand in a text only",
    "\xa0": "this is a no-break space; write a plain one",
}
"""The longer first: `===` before `=`."""


class Token(NamedTuple):
    """`kind`: `name`, `member` (after a dot), `number`, `text`, `sign`, or `end`; `start`, `end`: where it stands."""

    kind: str
    value: Value
    start: int
    end: int


def tokens(text: str) -> list[Token]:
    """The tokens of an expression that is all of `text`; the last is the end."""
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"the expression is longer than {MAX_CHARACTERS} characters")
    found, at = _scan(text, 0, len(text))
    if at < len(text):
        raise ExpressionError(f"unexpected {text[at]}", at + 1)
    return found


def end_of_expression(text: str, start: int) -> int:
    """Where the `}}` stands that ends the expression which begins at `start`; -1 if there is none."""
    limit = min(len(text), start + MAX_CHARACTERS + 2)
    _, at = _scan(text, start, limit)
    if at >= limit < len(text):
        raise ExpressionError(f"the expression is longer than {MAX_CHARACTERS} characters")
    return at if text.startswith("}}", at) else -1


def _scan(text: str, start: int, limit: int) -> tuple[list[Token], int]:
    """The tokens from `start` on, and where they end: at a `}` that closes nothing, or at `limit`.

    Raises ExpressionError with its column counted from `start`.
    """
    found: list[Token] = []
    awaited: list[str] = []
    at = _skip(text, start, limit)
    while at < limit:
        if text[at] == "}" and awaited[-1:] != ["}"]:
            break
        token = _token(text, at, limit, start, found)
        found.append(token)
        if token.kind == "sign":
            if token.value in _CLOSED_BY:
                awaited.append(_CLOSED_BY[token.value])
            elif awaited[-1:] == [token.value]:
                awaited.pop()
        at = _skip(text, token.end, limit)
    found.append(Token("end", None, at, at))
    return found, at


def _skip(text: str, at: int, limit: int) -> int:
    match = _SPACE.match(text, at, limit)
    return match.end() if match else at


def _token(text: str, at: int, limit: int, start: int, before: list[Token]) -> Token:
    character = text[at]
    column = at - start + 1
    if before and before[-1].kind == "sign" and before[-1].value == ".":
        return _member(text, at, limit, column)
    if match := _NAME.match(text, at, limit):
        return Token("name", match[0], at, match.end())
    if match := _NUMBER.match(text, at, limit):
        return _number(text, match, limit, column)
    if match := _TEXT.match(text, at, limit):
        return Token("text", _unescaped(match[0], column), at, match.end())
    if character in "'\"":
        raise ExpressionError(f"the text that begins with {character} is not closed on its line", column)
    foreign = next((sign for sign in _FOREIGN if text.startswith(sign, at)), None)
    match = _SIGN.match(text, at, limit)
    if match and (foreign is None or len(match[0]) >= len(foreign)):
        return Token("sign", match[0], at, match.end())
    if foreign is not None:
        name = foreign if foreign.isprintable() else shown(foreign)
        raise ExpressionError(f"{name} is not part of expressions: {_FOREIGN[foreign]}", column)
    raise ExpressionError(f"the character {shown(character)} is not part of expressions", column)


def _member(text: str, at: int, limit: int, column: int) -> Token:
    match = _MEMBER.match(text, at, limit)
    if match is None:
        if text[at].isdecimal():
            raise ExpressionError(
                "a name after a dot does not begin with a digit: write [0] for an entry, ['0'] for a key", column
            )
        raise ExpressionError("a name is missing after the dot", column)
    if text.startswith("-", match.end()) and text[match.end() + 1 : match.end() + 2].isdecimal():
        name = re.match(r"[A-Za-z0-9_-]*", text[at:limit], re.ASCII)
        written = name[0] if name else match[0]
        raise ExpressionError(
            f"- before a digit may be part of the name or a minus: write [{shown(written)}], or put spaces around it",
            column + len(match[0]),
        )
    return Token("member", match[0], at, match.end())


def _number(text: str, match: re.Match[str], limit: int, column: int) -> Token:
    written, after = match[0], text[match.end() : min(match.end() + 1, limit)]
    if after == "_":
        raise ExpressionError("a number is written without _", column)
    if after.isalnum():
        if written == "0" and after.isdecimal():
            raise ExpressionError("a number does not begin with 0", column)
        raise ExpressionError(f"a number with a letter: put it in quotes, as in '{written}{after}'", column)
    if after == "." and not text[match.end() + 1 : match.end() + 2].isalpha():
        raise ExpressionError(f"a digit is missing after {written}.", column)
    if written.isdecimal():
        if len(written) > len(str(MAX_INTEGER)) or int(written) > MAX_INTEGER:
            raise ExpressionError("the number is too large: at most 64 bits", column)
        return Token("number", int(written), match.start(), match.end())
    value = float(written)
    if value - value != 0:
        raise ExpressionError("the number is too large", column)
    return Token("number", value, match.start(), match.end())


def _unescaped(quoted: str, column: int) -> str:
    def one(match: re.Match[str]) -> str:
        if match[3] is None:
            return chr(int(match[1] or match[2], 16))
        if match[3] not in _ESCAPES:
            raise ExpressionError(
                f"\\{match[3] if match[3].isprintable() else ''} is no escape in a text: write \\\\ for a backslash",
                column + match.start() + 1,
            )
        return _ESCAPES[match[3]]

    body = quoted[1:-1]
    if "\\" not in body:
        return body
    text = _ESCAPE.sub(one, body)
    if any("\ud800" <= character <= "\udfff" for character in text):
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise ExpressionError("\\u gives half of a character: write both halves", column) from None
    return text
