"""What an expression can be, found without evaluating it: kinds of its parts, and what of them can never work.

A type says which kinds of value a part may have; what is not known may have all. Nothing is told unless every value
that a part may have would fail, or would never compare as it is compared. It knows nothing of workflows: whoever asks
says what the names may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from pyflowd.errors import nearest
from pyflowd.expressions import pattern
from pyflowd.expressions.expression_parser import (
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
    Path,
    Tree,
)
from pyflowd.expressions.expression_signatures import SIGNATURES
from pyflowd.expressions.expression_values import shown

NULL, BOOLEAN, NUMBER, TEXT, LIST, MAP = "null", "a boolean", "a number", "a text", "a list", "a map"
_EVERY = frozenset({NULL, BOOLEAN, NUMBER, TEXT, LIST, MAP})


class Type(NamedTuple):
    """What a value may be. `texts`: all that it may be where it is a text; None: any."""

    kinds: frozenset[str] = _EVERY
    texts: frozenset[str] | None = None
    members: Mapping[str, Type] | None = None
    """Of a map: those that are known; others may be anything."""
    entries: Type | None = None
    """Of a list."""
    why: str = ""
    """Why `texts` are all that it may be."""


ANY = Type()


def one(*kinds: str) -> Type:
    return Type(frozenset(kinds))


_BOOLEAN, _NUMBER, _TEXT = one(BOOLEAN), one(NUMBER), one(TEXT)


def type_of(value: Any) -> Type:
    """Of a plain value that is known."""
    match value:
        case None:
            return one(NULL)
        case bool():
            return _BOOLEAN
        case int() | float():
            return _NUMBER
        case str():
            return Type(frozenset({TEXT}), frozenset({value}))
        case dict():
            return Type(frozenset({MAP}), members={str(key): type_of(each) for key, each in value.items()})
        case list():
            return Type(frozenset({LIST}), entries=any_of(type_of(each) for each in value) if value else None)
    return ANY


def any_of(types: Iterable[Type]) -> Type:
    """What a value may be that has one of several types."""
    several = list(types)
    kinds = frozenset[str]().union(*(each.kinds for each in several))
    texts: frozenset[str] | None = frozenset()
    members = several[0].members if len(several) == 1 else None
    entries = several[0].entries if len(several) == 1 else None
    for each in several:
        if TEXT in each.kinds:
            texts = None if texts is None or each.texts is None else texts | each.texts
    return Type(kinds, texts if TEXT in kinds else None, members, entries)


class Finding(NamedTuple):
    """What is wrong with a part that begins at `start` of the expression's text."""

    start: int
    code: str
    message: str
    fix: str = ""
    is_warning: bool = False


def judge(tree: Tree, text: str, names: Callable[[str], Type]) -> tuple[Type, list[Finding]]:
    """The type of an expression, and all that can never work in it."""
    judged = _Judge(text, names)
    return judged.part(tree), judged.findings


def not_boolean(found: Type) -> str:
    """What to do where a condition can be neither true nor false."""
    if found.kinds <= {TEXT}:
        return "write x == 'true', or x != '' for a text that is not empty"
    if found.kinds <= {NUMBER}:
        return "write x != 0"
    return "write len(x) > 0" if found.kinds <= {LIST, MAP} else "compare it with something"


def spoken(found: Type) -> str:
    """The kinds of a type, for messages."""
    return " or ".join(sorted(found.kinds)) if len(found.kinds) < len(_EVERY) else "anything"


class _Judge:
    def __init__(self, text: str, names: Callable[[str], Type]) -> None:
        self._text = text
        self._names = names
        self.findings: list[Finding] = []

    def _source(self, tree: Tree) -> str:
        return shown(" ".join(self._text[tree.start : tree.end].split()))[1:-1]

    def _wrong(self, tree: Tree, message: str, fix: str = "") -> None:
        self.findings.append(Finding(tree.start, "type", f"{self._source(tree)}: {message}", fix))

    def part(self, tree: Tree) -> Type:
        match tree:
            case Literal():
                return type_of(tree.value)
            case Path():
                return self._path(tree)
            case Index():
                return self._index(tree)
            case ListOf():
                return Type(frozenset({LIST}), entries=any_of(map(self.part, tree.entries)) if tree.entries else None)
            case MapOf():
                return self._map(tree)
            case Not():
                self._boolean(tree.operand)
                return _BOOLEAN
            case Logic():
                for operand in tree.operands:
                    self._boolean(operand)
                return _BOOLEAN
            case Comparison():
                return self._comparison(tree)
            case Arithmetic():
                return self._arithmetic(tree)
            case Negative():
                self._number(tree.operand)
                return _NUMBER
            case Choice():
                self._boolean(tree.condition)
                return any_of([self.part(tree.yes), self.part(tree.no)])
            case Call():
                return self._call(tree)

    # -- Names and members --

    def _path(self, tree: Path) -> Type:
        found = self._names(tree.root)
        for key in tree.keys:
            found = self._member(tree, found, key)
        return found

    def _member(self, tree: Tree, holder: Type, key: Any) -> Type:
        if not holder.kinds & {LIST, MAP, NULL}:
            self._wrong(tree, f"this is a member of {spoken(holder)}, which has none", "leave the member out")
            return ANY
        if isinstance(key, str) and holder.kinds <= {LIST}:
            self._wrong(tree, "this is a list: its entries are numbered from 0", f"write [0], or pick(list, '{key}')")
            return ANY
        if isinstance(key, str) and holder.kinds == {MAP} and holder.members is not None:
            return holder.members.get(key, ANY)
        return holder.entries or ANY if isinstance(key, int) and holder.kinds == {LIST} else ANY

    def _index(self, tree: Index) -> Type:
        holder, key = self.part(tree.base), self.part(tree.key)
        if not holder.kinds & {LIST, MAP, NULL}:
            self._wrong(tree, f"this is a member of {spoken(holder)}, which has none", "leave the member out")
        elif not key.kinds & {TEXT, NUMBER}:
            self._wrong(tree, f"a member is named by a text or a number, not by {spoken(key)}")
        return holder.entries or ANY if holder.kinds == {LIST} else ANY

    def _map(self, tree: MapOf) -> Type:
        members = {}
        for key, value in tree.entries:
            named = self.part(key)
            if TEXT not in named.kinds:
                self._wrong(key, f"a key of a map is a text, not {spoken(named)}")
            if isinstance(key, Literal):
                members[str(key.value)] = self.part(value)
            else:
                self.part(value)
        return Type(frozenset({MAP}), members=members)

    # -- Operators --

    def _boolean(self, tree: Tree) -> None:
        found = self.part(tree)
        if BOOLEAN not in found.kinds:
            self._wrong(tree, f"this is {spoken(found)}, not true or false", not_boolean(found))

    def _number(self, tree: Tree) -> None:
        found = self.part(tree)
        if NUMBER not in found.kinds:
            fix = "int(...) or float(...) makes a number of a text" if TEXT in found.kinds else ""
            self._wrong(tree, f"it needs a number, and this is {spoken(found)}", fix)

    def _comparison(self, tree: Comparison) -> Type:
        left_tree, left = tree.first, self.part(tree.first)
        for sign, right_tree in tree.rest:
            right = self.part(right_tree)
            if sign in ("==", "!="):
                self._equality(tree, sign, (left_tree, left), (right_tree, right))
            elif sign in ("in", "not in"):
                self._membership(tree, sign, left, right)
                if isinstance(right_tree, ListOf):
                    for entry in right_tree.entries:
                        self._equality(tree, sign, (left_tree, left), (entry, self._quietly(entry)))
            else:
                self._order(tree, left, right)
            left_tree, left = right_tree, right
        return _BOOLEAN

    def _quietly(self, tree: Tree) -> Type:
        return _Judge(self._text, self._names).part(tree)

    def _equality(self, tree: Tree, sign: str, left: tuple[Tree, Type], right: tuple[Tree, Type]) -> None:
        one_kinds, other_kinds = left[1].kinds, right[1].kinds
        always = "never" if sign in ("==", "in") else "always"
        if NULL in one_kinds or NULL in other_kinds:
            return  # comparing with null is how one asks whether there is a value
        if not one_kinds & other_kinds:
            message = f"{spoken(left[1])} is never equal to {spoken(right[1])}: this is {always} true"
            numbers = {frozenset({NUMBER}), frozenset({TEXT})} == {one_kinds, other_kinds}
            fix = "take the quotes away, or put text(...) around the number" if numbers else ""
            self._never(tree, message, fix)
            return
        if isinstance(left[0], Literal):
            left, right = right, left
        value = right[0].value if isinstance(right[0], Literal) else None
        texts = left[1].texts
        if isinstance(value, str) and left[1].kinds == {TEXT} and texts is not None and value not in texts:
            if isinstance(left[0], Literal):
                return
            known = sorted(texts)
            guess = nearest(value[:80], known)
            message = f"{self._source(left[0])} is never {shown(value)}{guess}: this is {always} true"
            self._never(tree, message, f"it is one of {', '.join(known[:12])}{left[1].why}")

    def _never(self, tree: Tree, message: str, fix: str) -> None:
        self.findings.append(Finding(tree.start, "never_equal", f"{self._source(tree)}: {message}", fix, True))

    def _membership(self, tree: Tree, sign: str, left: Type, right: Type) -> None:
        if not right.kinds & {TEXT, LIST, MAP}:
            self._wrong(tree, f"{sign} looks into a list, a map or a text, not into {spoken(right)}")
        elif TEXT not in left.kinds and LIST not in right.kinds:
            self._wrong(tree, f"in {spoken(right)} there can be a text only, not {spoken(left)}", "text(...) makes one")

    def _order(self, tree: Tree, left: Type, right: Type) -> None:
        for each in (left, right):
            if not each.kinds & {NUMBER, TEXT}:
                self._wrong(tree, f"only numbers, or only texts, have an order, not {spoken(each)}")
                return
        if not left.kinds & right.kinds & {NUMBER, TEXT}:
            message = f"{spoken(left)} and {spoken(right)} have no order among them"
            self._wrong(tree, message, "write float(...) or text(...) around one")

    def _arithmetic(self, tree: Arithmetic) -> Type:
        left = self.part(tree.first)
        for sign, operand in tree.rest:
            right = self.part(operand)
            fitting = {NUMBER, TEXT, LIST} if sign == "+" else {NUMBER}
            result = left.kinds & right.kinds & fitting
            if not result:
                fix = "text(...) makes a text of a value" if sign == "+" else "float(...) makes a number of a text"
                self._wrong(tree, f"{sign} does not take {spoken(left)} and {spoken(right)}", fix)
                return ANY
            left = Type(frozenset(result))
        return left

    # -- Functions --

    def _call(self, tree: Call) -> Type:
        given = [self.part(argument) for argument in tree.arguments]
        named = {name: self.part(argument) for name, argument in tree.named}
        if tree.name == "default":
            wanted = given[0]
            return any_of([wanted._replace(kinds=wanted.kinds - {NULL}), given[1]])
        signature = SIGNATURES.get(tree.name)
        if signature is None:
            return ANY
        wanted_kinds = list(signature.arguments)
        if signature.many and len(given) > 1:
            wanted_kinds = [signature.many] * len(given)
        for n, (kinds, found) in enumerate(zip(wanted_kinds, given, strict=False)):
            self._argument(tree, tree.arguments[n], kinds, found)
        for name, argument in tree.named:
            if name in signature.named:
                self._argument(tree, argument, signature.named[name], named[name])
        if tree.name == "matches" and len(tree.arguments) == 2:
            self._pattern(tree.arguments[1])
        return Type(signature.result) if signature.result else ANY

    def _argument(self, tree: Call, argument: Tree, kinds: frozenset[str], found: Type) -> None:
        if kinds and not kinds & found.kinds:
            wanted = " or ".join(sorted(kinds - {NULL}))
            fix = "text(...) makes a text of a value" if TEXT in kinds and NULL not in found.kinds else ""
            self._wrong(argument, f"{tree.name} takes {wanted} here, and this is {spoken(found)}", fix)

    def _pattern(self, tree: Tree) -> None:
        if not isinstance(tree, Literal) or not isinstance(tree.value, str):
            return
        try:
            pattern.check(tree.value)
        except ValueError as error:
            message = f"{self._source(tree)}: {shown(str(error), 200)[1:-1]}"
            self.findings.append(Finding(tree.start, "pattern", message))
