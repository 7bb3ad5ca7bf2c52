"""Expressions, the `...` of `${{ ... }}` (rules P2, P3, J4): Python-flavoured, total, closed.

An expression is read once (`parse`), and evaluated against names as often as needed. It always ends: its length, its
nesting, its work and what it gives are bounded. It raises ExpressionError and nothing else. Nothing of Python can be
reached but plain values. It knows nothing of workflows: whoever evaluates says what the names mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from msgspec import Struct

from pyflowd.expressions.expression_compiler import Evaluate, Scope, compiled, path_text
from pyflowd.expressions.expression_functions import functions
from pyflowd.expressions.expression_operators import not_boolean
from pyflowd.expressions.expression_parser import (
    Arithmetic,
    Call,
    Choice,
    Comparison,
    Index,
    ListOf,
    Logic,
    MapOf,
    Negative,
    Not,
    Path,
    Tree,
)
from pyflowd.expressions.expression_parser import parse as parse_tree
from pyflowd.expressions.expression_values import (
    MAX_VALUE_SIZE,
    Absent,
    ExpressionError,
    Names,
    Namespace,
    Value,
    Variables,
    plain,
    shown,
    weight,
)

__all__ = [
    "Absent",
    "Expression",
    "ExpressionError",
    "Names",
    "Namespace",
    "Reference",
    "Value",
    "Variables",
    "functions",
    "parse",
]

_KEPT = 2048
"""How many expressions stay parsed: more than the workflows in force usually have together."""


class Reference(Struct, frozen=True, kw_only=True):
    """A path that an expression uses, as far as it is written out: the first entry is the name.

    `column`: where it begins, from 1. `guarded`: it stands in the first argument of `default`.
    """

    path: tuple[str, ...]
    column: int
    guarded: bool

    def __str__(self) -> str:
        return path_text(self.path[0], self.path[1:])


class Expression:
    """An expression that was read; made by `parse`."""

    __slots__ = ("_evaluate", "_made", "names", "references", "text", "tree")

    def __init__(self, text: str, tree: Tree, evaluate: Evaluate) -> None:
        self.text = text
        self.tree = tree
        self.references: tuple[Reference, ...] = tuple(_references(tree, guarded=False))
        self.names: frozenset[str] = frozenset(reference.path[0] for reference in self.references)
        self._evaluate = evaluate
        self._made = not isinstance(tree, Path)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def evaluate(self, names: Names) -> Value:
        """Its value, plain. Raises ExpressionError."""
        return self._value(Scope(names, None))

    def traced(self, names: Names) -> tuple[Value, dict[str, Value]]:
        """Its value, and the value of each reference that was read for it, shortened; secrets are masked (rule J4).

        What is absent is left out. An ExpressionError has what was read until then as its `values`.
        """
        trace: dict[str, Value] = {}
        try:
            return self._value(Scope(names, trace)), trace
        except ExpressionError as error:
            error.values = trace
            raise

    def holds(self, names: Names) -> tuple[bool, dict[str, Value]]:
        """As `traced`, of a condition: a value that is neither true nor false is an error."""
        value, trace = self.traced(names)
        if value is True or value is False:
            return value, trace
        error = ExpressionError(f"{shown(self.text)[1:-1]}: {not_boolean(value)}", 1)
        error.values = trace
        raise error

    def _value(self, scope: Scope) -> Value:
        try:
            value = self._evaluate(scope)
            if value.__class__ in _SCALARS:
                return value
            value = plain(value)
            if self._made and weight(value, MAX_VALUE_SIZE) > MAX_VALUE_SIZE:
                raise ExpressionError("the result is too large: give it as a file")
            return value
        except RecursionError:  # nesting is bounded, the stack of whoever asks is not
            raise ExpressionError("it is nested too deeply") from None


_SCALARS = frozenset({bool, int, float, str, type(None)})


@lru_cache(maxsize=_KEPT)
def parse(text: str) -> Expression:
    """The expression that `text` is. Raises ExpressionError: what is wrong, at which column, what to write instead."""
    try:
        tree = parse_tree(text)
        return Expression(text, tree, compiled(tree, text))
    except RecursionError:
        raise ExpressionError("the expression is nested too deeply") from None


def _references(tree: Tree, *, guarded: bool) -> Iterator[Reference]:
    """In the order of the text; each place on its own."""
    if isinstance(tree, Path):
        yield _reference(tree, guarded=guarded)
        return
    for n, part in enumerate(_parts(tree)):
        inside = isinstance(tree, Call) and tree.name == "default" and n == 0
        yield from _references(part, guarded=guarded or inside)


def _reference(tree: Path, *, guarded: bool) -> Reference:
    path = [tree.root]
    for key in tree.keys:
        if not isinstance(key, str):
            break
        path.append(key)
    return Reference(path=tuple(path), column=tree.start + 1, guarded=guarded)


def _parts(tree: Tree) -> tuple[Tree, ...]:
    """What a part is made of, in the order of the text."""
    match tree:
        case Index():
            return (tree.base, tree.key)
        case ListOf():
            return tree.entries
        case MapOf():
            return tuple(part for entry in tree.entries for part in entry)
        case Not() | Negative():
            return (tree.operand,)
        case Logic():
            return tree.operands
        case Comparison() | Arithmetic():
            return (tree.first, *(operand for _, operand in tree.rest))
        case Choice():
            return (tree.yes, tree.condition, tree.no)
        case Call():
            return (*tree.arguments, *(argument for _, argument in tree.named))
        case _:
            return ()
