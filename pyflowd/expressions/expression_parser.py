"""The tokens of an expression as a tree: what binds how, and what is refused with the fix in the message.

    x if c else y  <  or  <  and  <  not  <  == != < <= > >= in, not in  <  + -  <  * / // %  <  -x  <  . [] ()

It knows nothing of which functions and names there are.
"""

from __future__ import annotations

from typing import TypeAlias, Union

from msgspec import Struct

from pyflowd.expressions.expression_lexer import Token, tokens
from pyflowd.expressions.expression_values import ExpressionError, Value

MAX_NESTING = 50
"""How deep parts of an expression may stand in each other."""


class Part(Struct, frozen=True):
    """`start`, `end`: the characters of the expression's text that it was made of."""

    start: int
    end: int


class Literal(Part, frozen=True):
    value: Value


class Path(Part, frozen=True):
    """A name and its members as far as they are written out: `tasks.scan.outputs['count']`, `x[0]`."""

    root: str
    keys: tuple[str | int, ...]


class Index(Part, frozen=True):
    """A member of something computed, or named by something computed."""

    base: Tree
    key: Tree


class ListOf(Part, frozen=True):
    entries: tuple[Tree, ...]


class MapOf(Part, frozen=True):
    entries: tuple[tuple[Tree, Tree], ...]


class Not(Part, frozen=True):
    operand: Tree


class Negative(Part, frozen=True):
    operand: Tree


class Logic(Part, frozen=True):
    """`word`: `and` or `or`."""

    word: str
    operands: tuple[Tree, ...]


class Comparison(Part, frozen=True):
    """`a < b <= c`: each of `rest` is the sign and what stands right of it."""

    first: Tree
    rest: tuple[tuple[str, Tree], ...]


class Arithmetic(Part, frozen=True):
    """Signs of one rank, worked off from the left."""

    first: Tree
    rest: tuple[tuple[str, Tree], ...]


class Choice(Part, frozen=True):
    condition: Tree
    yes: Tree
    no: Tree


class Call(Part, frozen=True):
    name: str
    arguments: tuple[Tree, ...]
    named: tuple[tuple[str, Tree], ...]


Tree: TypeAlias = Union[  # noqa: UP007  the structs above name it before it is there
    Literal, Path, Index, ListOf, MapOf, Not, Negative, Logic, Comparison, Arithmetic, Choice, Call
]

_OR, _AND, _NOT, _COMPARISON, _SUM, _PRODUCT = range(6)
_RANKS = {
    "or": _OR,
    "and": _AND,
    "in": _COMPARISON,
    "not": _COMPARISON,  # of `not in`
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), _COMPARISON),
    **dict.fromkeys(("+", "-"), _SUM),
    **dict.fromkeys(("*", "/", "//", "%"), _PRODUCT),
}
_CONSTANTS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_RESERVED = {
    "lambda": "there are no functions of your own",
    "for": "there are no loops: pick(list, 'member'), where(list, key=value) and count(list, key=value) are there",
    "is": "write == or !=",
    "then": "write x if condition else y",
    "await": "there is nothing to wait for",
    "yield": "there is nothing to yield to",
    "import": "there are no modules",
    "AND": "write and",
    "OR": "write or",
    "NOT": "write not",
    "TRUE": "write true",
    "FALSE": "write false",
    "NULL": "write null",
}
_WORDS = frozenset({"and", "or", "not", "in", "if", "else"})


def parse(text: str) -> Tree:
    """The tree of an expression. Raises ExpressionError with the column."""
    found = tokens(text)
    if found[0].kind == "end":
        raise ExpressionError("the expression is empty")
    parser = _Parser(found)
    tree = parser.choice()
    parser.must_be_over()
    return tree


class _Parser:
    def __init__(self, found: list[Token]) -> None:
        self._tokens = found
        self._at = 0
        self._depth = 0

    # -- Reading tokens --

    def _start(self) -> int:
        return self._tokens[self._at].start

    def _end(self) -> int:
        """Of the token that was taken last: a part ends with the brackets around it."""
        return self._tokens[self._at - 1].end

    def _is(self, *values: str) -> bool:
        """Whether the next token is one of these signs or words."""
        token = self._tokens[self._at]
        return token.kind in ("sign", "name") and token.value in values

    def _take(self) -> Token:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _expect(self, sign: str, opened: Token) -> Token:
        if self._is(sign):
            return self._take()
        token = self._tokens[self._at]
        if token.kind == "end":
            raise ExpressionError(f"the {opened.value} is not closed: {sign} is missing", opened.start + 1)
        raise self._unexpected(token, f"; {sign} or a comma is missing before it")

    def _unexpected(self, token: Token, why: str = "") -> ExpressionError:
        if token.kind == "end":
            return ExpressionError("the expression ends too early: a value is missing", token.start + 1)
        column = token.start + 1
        if token.kind == "name" and token.value in _RESERVED:
            return ExpressionError(f"{token.value} is not part of expressions: {_RESERVED[token.value]}", column)
        if token.value == "=" and token.kind == "sign":
            return ExpressionError("= gives a name to an argument of a function: write == to compare", column)
        what = "a text" if token.kind == "text" else str(token.value)
        return ExpressionError(f"unexpected {what}{why}", column)

    def must_be_over(self) -> None:
        token = self._tokens[self._at]
        if token.kind == "end":
            return
        before = self._tokens[self._at - 1]
        why = ""
        if token.kind == "name" and before.kind == "name":
            why = f"; an operator is missing between {before.value} and {token.value}"
        elif token.kind in ("text", "number", "name"):
            why = "; an operator is missing before it"
        raise self._unexpected(token, why)

    # -- Operators --

    def choice(self) -> Tree:
        """`x if condition else y`, and all that binds closer."""
        start = self._start()
        yes = self._binary(_OR)
        if not self._is("if"):
            return yes
        self._take()
        condition = self._binary(_OR)
        if not self._is("else"):
            raise self._unexpected(self._tokens[self._at], "; write x if condition else y")
        self._take()
        self._enter()
        no = self.choice()
        self._depth -= 1
        return Choice(start, self._end(), condition, yes, no)

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_NESTING:
            column = self._tokens[self._at].start + 1
            raise ExpressionError(f"the expression is nested deeper than {MAX_NESTING}", column)

    def _binary(self, rank: int) -> Tree:
        """Operators of `rank` and those that bind closer."""
        self._enter()
        start = self._start()
        left = self._prefixed(rank)
        while (found := self._rank()) is not None and found >= rank:
            left = self._chain(left, found, start)
        self._depth -= 1
        return left

    def _rank(self) -> int | None:
        token = self._tokens[self._at]
        if token.kind not in ("sign", "name") or token.value not in _RANKS:
            return None
        if token.value == "not" and self._tokens[self._at + 1].value != "in":
            return None
        return _RANKS[token.value]

    def _chain(self, first: Tree, rank: int, start: int) -> Tree:
        """All operators of one rank that follow each other, in one part: a long chain is not a deep one."""
        rest: list[tuple[str, Tree]] = []
        while self._rank() == rank:
            sign = self._take()
            if sign.value == "not":
                self._take()
            operand = self._binary(rank + 1)
            rest.append(("not in" if sign.value == "not" else sign.value, operand))
            if len(rest) > 1 and rank == _COMPARISON and {"in", "not in"} & {word for word, _ in rest}:
                raise ExpressionError("in stands in no chain of comparisons: put ( ) around one", sign.start + 1)
        if rank <= _AND:
            return Logic(start, self._end(), rest[0][0], (first, *(operand for _, operand in rest)))
        made = Comparison if rank == _COMPARISON else Arithmetic
        return made(start, self._end(), first, tuple(rest))

    def _prefixed(self, rank: int) -> Tree:
        if self._is("not"):
            sign = self._take()
            if rank > _NOT:
                raise ExpressionError("not binds less than what stands left of it: put ( ) around it", sign.start + 1)
            operand = self._binary(_NOT)
            return Not(sign.start, self._end(), operand)
        if self._is("-", "+"):
            sign = self._take()
            operand = self._binary(_PRODUCT + 1)
            if isinstance(operand, Literal) and operand.value.__class__ in (int, float) and sign.value == "-":
                return Literal(sign.start, self._end(), -operand.value)
            if sign.value == "+":
                raise ExpressionError("a + needs something left of it", sign.start + 1)
            return Negative(sign.start, self._end(), operand)
        return self._postfixed()

    # -- Values --

    def _postfixed(self) -> Tree:
        start = self._start()
        tree = self._value()
        while self._is(".", "[", "("):
            sign = self._take()
            if sign.value == "(":
                raise self._no_function(tree, sign)
            tree = self._dotted(tree, start) if sign.value == "." else self._indexed(tree, sign, start)
        return tree

    def _no_function(self, tree: Tree, sign: Token) -> ExpressionError:
        if isinstance(tree, Path) and tree.keys and isinstance(tree.keys[-1], str):
            name = tree.keys[-1]
            return ExpressionError(f"methods cannot be called: write {name}(x), not x.{name}()", sign.start + 1)
        return ExpressionError("only functions can be called, by their names", sign.start + 1)

    def _dotted(self, base: Tree, start: int) -> Tree:
        name = self._take()
        if name.kind != "member":
            raise ExpressionError("a name is missing after the dot", name.start + 1)
        if self._is("("):
            column = name.start + 1
            raise ExpressionError(f"methods cannot be called: write {name.value}(x), not x.{name.value}()", column)
        return _member(base, Literal(name.start, name.end, name.value), start, name.end)

    def _indexed(self, base: Tree, opened: Token, start: int) -> Tree:
        if self._is(":"):
            raise ExpressionError("there are no slices: write slice(x, start, end)", opened.start + 1)
        key = self.choice()
        if self._is(":"):
            raise ExpressionError("there are no slices: write slice(x, start, end)", opened.start + 1)
        return _member(base, key, start, self._expect("]", opened).end)

    def _value(self) -> Tree:
        token = self._take()
        if token.kind in ("text", "number"):
            return Literal(token.start, token.end, token.value)
        if token.kind == "name":
            return self._named(token)
        if token.kind == "sign" and token.value == "(":
            tree = self.choice()
            self._expect(")", token)
            return tree
        if token.kind == "sign" and token.value == "[":
            return self._list(token)
        if token.kind == "sign" and token.value == "{":
            return self._map(token)
        raise self._unexpected(token, "" if token.value in (")", "]") else "; a value is missing before it")

    def _named(self, token: Token) -> Tree:
        name = token.value
        if name in _CONSTANTS:
            return Literal(token.start, token.end, _CONSTANTS[name])
        if name in _WORDS:
            raise self._unexpected(token, "; a value is missing before it")
        if name in _RESERVED:
            raise self._unexpected(token)
        if self._is("("):
            return self._call(token)
        return Path(token.start, token.end, name, ())

    def _list(self, opened: Token) -> Tree:
        entries: list[Tree] = []
        while not self._is("]"):
            entries.append(self.choice())
            if self._is("for"):
                raise self._unexpected(self._take())
            if not self._is(","):
                break
            self._take()
        return ListOf(opened.start, self._expect("]", opened).end, tuple(entries))

    def _map(self, opened: Token) -> Tree:
        entries: list[tuple[Tree, Tree]] = []
        while not self._is("}"):
            key = self.choice()
            if isinstance(key, Path) and not key.keys and self._is(":", ",", "}"):
                raise ExpressionError(f"a key is a text: write '{key.root}', or ({key.root} + '')", key.start + 1)
            if not self._is(":"):
                raise self._unexpected(self._tokens[self._at], "; a map is written {'key': value}")
            self._take()
            entries.append((key, self.choice()))
            if not self._is(","):
                break
            self._take()
        return MapOf(opened.start, self._expect("}", opened).end, tuple(entries))

    def _call(self, name: Token) -> Tree:
        opened = self._take()
        arguments: list[Tree] = []
        named: list[tuple[str, Tree]] = []
        while not self._is(")"):
            key = self._argument_name()
            value = self.choice()
            if self._is("for"):
                raise self._unexpected(self._take())
            if key is None and named:
                raise ExpressionError("an argument without a name after one with a name", value.start + 1)
            if key is None:
                arguments.append(value)
            elif key in dict(named):
                raise ExpressionError(f"the argument {key} is given twice", value.start + 1)
            else:
                named.append((key, value))
            if not self._is(","):
                break
            self._take()
        end = self._expect(")", opened).end
        return Call(name.start, end, name.value, tuple(arguments), tuple(named))

    def _argument_name(self) -> str | None:
        """`key` of `key=value`: the lexer gives it as one token each."""
        token, after = self._tokens[self._at], self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        if token.kind == "name" and after.kind == "sign" and after.value == "=":
            self._at += 2
            return str(token.value)
        return None


def _member(base: Tree, key: Tree, start: int, end: int) -> Tree:
    if isinstance(base, Path) and isinstance(key, Literal) and key.value.__class__ in (str, int):
        return Path(start, end, base.root, (*base.keys, key.value))
    return Index(start, end, base, key)
