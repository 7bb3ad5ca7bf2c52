"""The tree of an expression as one function of its names, made of closures: walked once, called often.

Functions and their arguments are checked here, before anything runs. What a call may cost and give is bounded here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from pyflowd.expressions.expression_functions import Function, bind, find
from pyflowd.expressions.expression_operators import COMPARISONS, calculated, not_boolean
from pyflowd.expressions.expression_parser import (
    MAX_NESTING,
    Arithmetic,
    Call,
    Choice,
    Comparison,
    Index,
    ListOf,
    Literal,
    Logic,
    MapOf,
    Negative,
    Not,
    Part,
    Path,
    Tree,
)
from pyflowd.expressions.expression_values import (
    MAX_STEPS,
    Absent,
    ExpressionError,
    Names,
    Value,
    checked,
    kind,
    making,
    member,
    plain,
    shortened,
    shown,
)


class Scope:
    """One evaluation: its names, the steps that are left, and what was read if that is wanted."""

    __slots__ = ("lookup", "steps", "trace")

    def __init__(self, names: Names, trace: dict[str, Value] | None) -> None:
        self.lookup = names.lookup
        self.steps = MAX_STEPS
        self.trace = trace

    def spend(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise ExpressionError(f"it takes more than {MAX_STEPS} steps: work on less, or in a task")


MASKED = "***"
Evaluate: TypeAlias = Callable[[Scope], Value]


def compiled(tree: Tree, text: str) -> Evaluate:
    """The function that evaluates `tree`, which was parsed from `text`. Raises ExpressionError with the column."""
    return _Compiler(text).part(tree, 0)


def path_text(root: str, keys: tuple[str | int, ...]) -> str:
    """`tasks.scan.outputs['the count'][0]`: how a path is written."""
    parts = [root]
    for key in keys:
        plain_name = isinstance(key, str) and key.replace("-", "_").isidentifier() and key.isascii()
        parts.append(f".{key}" if plain_name else f"[{shown(key) if isinstance(key, str) else key}]")
    return "".join(parts)


def _root(tree: Tree) -> str:
    """The name that a member is a member of, at last; empty if it is of something computed."""
    while isinstance(tree, Index):
        tree = tree.base
    return tree.root if isinstance(tree, Path) else ""


def _recorder(written: str, root: str) -> Callable[[dict[str, Value], Value], None]:
    """What puts the value of a reference into the trace; a secret's never is."""

    def record(trace: dict[str, Value], value: Value) -> None:
        trace[written] = MASKED if root == "secrets" else shortened(plain(value))

    return record


class _Compiler:
    def __init__(self, text: str) -> None:
        self.text = text

    def located(self, error: ExpressionError, part: Part) -> ExpressionError:
        """`error` with the part that it is about."""
        source = shown(" ".join(self.text[part.start : part.end].split()))[1:-1]
        made = Absent if isinstance(error, Absent) else ExpressionError
        return made(f"{source}: {error}", part.start + 1)

    def part(self, tree: Tree, depth: int) -> Evaluate:
        if depth > MAX_NESTING:
            raise ExpressionError(f"the expression is nested deeper than {MAX_NESTING}", tree.start + 1)
        match tree:
            case Literal():
                value = tree.value
                return lambda scope: value
            case Path():
                return self._path(tree)
            case Index():
                return self._index(tree, depth + 1)
            case ListOf():
                return self._list(tree, depth + 1)
            case MapOf():
                return self._map(tree, depth + 1)
            case Not():
                return self._not(tree, depth + 1)
            case Negative():
                return self._negative(tree, depth + 1)
            case Logic():
                return self._logic(tree, depth + 1)
            case Comparison():
                return self._comparison(tree, depth + 1)
            case Arithmetic():
                return self._arithmetic(tree, depth + 1)
            case Choice():
                return self._choice(tree, depth + 1)
            case Call():
                return self._default(tree, depth + 1) if tree.name == "default" else self._call(tree, depth + 1)

    # -- Names and members --

    def _path(self, tree: Path, *, traced: bool = True) -> Evaluate:
        root, keys = tree.root, tree.keys
        record = _recorder(path_text(root, keys), root) if traced else None

        def evaluate(scope: Scope) -> Value:
            try:
                value = scope.lookup(root)
                for key in keys:
                    value = value[key] if value.__class__ is dict and key in value else member(value, key)
            except ExpressionError as error:
                raise self.located(error, tree) from None
            if scope.trace is not None and record is not None:
                record(scope.trace, value)
            return value

        return evaluate

    def _index(self, tree: Index, depth: int) -> Evaluate:
        root = _root(tree)
        base = self._path(tree.base, traced=False) if isinstance(tree.base, Path) else self.part(tree.base, depth)
        key = self.part(tree.key, depth)
        record = _recorder(self.text[tree.start : tree.end], root) if root else None

        def evaluate(scope: Scope) -> Value:
            value, name = base(scope), key(scope)
            try:
                found = member(value, name)
            except ExpressionError as error:
                raise self.located(error, tree) from None
            if scope.trace is not None and record is not None:
                record(scope.trace, found)
            return found

        return evaluate

    # -- Lists and maps --

    def _list(self, tree: ListOf, depth: int) -> Evaluate:
        entries = [self.part(entry, depth) for entry in tree.entries]

        def evaluate(scope: Scope) -> Value:
            return [plain(entry(scope)) for entry in entries]

        return evaluate

    def _map(self, tree: MapOf, depth: int) -> Evaluate:
        entries = [(self.part(key, depth), self.part(value, depth)) for key, value in tree.entries]

        def evaluate(scope: Scope) -> Value:
            made: dict[str, Value] = {}
            for key, value in entries:
                name = key(scope)
                if not isinstance(name, str):
                    raise self.located(ExpressionError(f"a key of a map is a text, not {kind(name)}"), tree)
                if name in made:
                    raise self.located(ExpressionError(f"the key {shown(name)} is there twice"), tree)
                made[name] = plain(value(scope))
            return made

        return evaluate

    # -- Booleans --

    def _boolean(self, tree: Tree, depth: int) -> Evaluate:
        """A part that must give true or false: what else counts as true differs from language to language."""
        operand = self.part(tree, depth)

        def evaluate(scope: Scope) -> Value:
            value = operand(scope)
            if value is True or value is False:
                return value
            raise self.located(not_boolean(value), tree)

        return evaluate

    def _not(self, tree: Not, depth: int) -> Evaluate:
        operand = self._boolean(tree.operand, depth)
        return lambda scope: not operand(scope)

    def _logic(self, tree: Logic, depth: int) -> Evaluate:
        operands = [self._boolean(operand, depth) for operand in tree.operands]
        decides = tree.word == "or"

        def evaluate(scope: Scope) -> Value:
            for operand in operands:
                if operand(scope) is decides:
                    return decides
            return not decides

        return evaluate

    def _choice(self, tree: Choice, depth: int) -> Evaluate:
        condition = self._boolean(tree.condition, depth)
        yes, no = self.part(tree.yes, depth), self.part(tree.no, depth)
        return lambda scope: yes(scope) if condition(scope) else no(scope)

    # -- Operators --

    def _comparison(self, tree: Comparison, depth: int) -> Evaluate:
        first = self.part(tree.first, depth)
        rest = [(COMPARISONS[sign], self.part(operand, depth)) for sign, operand in tree.rest]

        def evaluate(scope: Scope) -> Value:
            left = first(scope)
            for compare, operand in rest:
                right = operand(scope)
                try:
                    if not compare(left, right, scope):
                        return False
                except ExpressionError as error:
                    raise self.located(error, tree) from None
                left = right
            return True

        return evaluate

    def _arithmetic(self, tree: Arithmetic, depth: int) -> Evaluate:
        first = self.part(tree.first, depth)
        rest = [(sign, self.part(operand, depth)) for sign, operand in tree.rest]

        def evaluate(scope: Scope) -> Value:
            value = first(scope)
            for sign, operand in rest:
                right = operand(scope)
                try:
                    value = calculated(sign, value, right, scope)
                except ExpressionError as error:
                    raise self.located(error, tree) from None
            return value

        return evaluate

    def _negative(self, tree: Negative, depth: int) -> Evaluate:
        operand = self.part(tree.operand, depth)

        def evaluate(scope: Scope) -> Value:
            value = operand(scope)
            try:
                return calculated("-", 0, value, scope)
            except ExpressionError as error:
                raise self.located(error, tree) from None

        return evaluate

    # -- Functions --

    def _call(self, tree: Call, depth: int) -> Evaluate:
        function = self._bound(tree)
        arguments = [self.part(argument, depth) for argument in tree.arguments]
        named = [(name, self.part(argument, depth)) for name, argument in tree.named]
        call, cost = function.call, function.cost

        def evaluate(scope: Scope) -> Value:
            values = [plain(argument(scope)) for argument in arguments]
            others = {name: plain(argument(scope)) for name, argument in named}
            try:
                scope.spend(1 + cost(*values, *others.values()))
                result = checked(call(*values, **others))
                scope.spend(making(result))
            except ExpressionError as error:
                raise self.located(error, tree) from None
            return result

        return evaluate

    def _bound(self, tree: Call) -> Function:
        try:
            function = find(tree.name)
            bind(function, len(tree.arguments), tuple(name for name, _ in tree.named))
        except ExpressionError as error:
            raise ExpressionError(str(error), tree.start + 1) from None
        return function

    def _default(self, tree: Call, depth: int) -> Evaluate:
        self._bound(tree)
        wanted, other = (self.part(argument, depth) for argument in tree.arguments)

        def evaluate(scope: Scope) -> Value:
            try:
                value = wanted(scope)
            except Absent:
                value = None
            return other(scope) if value is None else value

        return evaluate
