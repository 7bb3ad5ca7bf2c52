"""The values that expressions work on, the errors they raise, and the bounds that hold for both.

A value is null, a boolean, a number, text, a list or a map, as in JSON, or a namespace, which becomes a map where it is
used as a whole. Nothing else of Python can be reached. It knows nothing of how an expression is written.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias

from pyflowd.errors import nearest

MAX_STEPS = 100_000
"""Work of one evaluation: an entry that is looked at is a step, 256 characters are one; 0.1 s or so at the most."""
MAX_TEXT_CHARACTERS = 1024 * 1024
MAX_LIST_ITEMS = 100_000
MAX_INTEGER = 2**63 - 1
MIN_INTEGER = -(2**63)
MAX_VALUE_DEPTH = 100
"""How deep lists and maps may be nested where a function has to go through all of them."""
MAX_VALUE_SIZE = 4 * 1024 * 1024
"""Characters and entries of a list or map that an expression puts together."""
_CHARACTERS_A_STEP = 256
_SHOWN_CHARACTERS = 60
_TRACED_CHARACTERS = 200
_TRACED_ENTRIES = 20
_TRACED_DEPTH = 2
_CUT = "…"

Value: TypeAlias = Any
"""None, bool, int, float, str, list, dict with text as keys; inside an evaluation a Namespace too."""


class ExpressionError(ValueError):
    """An expression that cannot be read or has no value: one line that says what is wrong and what to do.

    `column`: where in the expression's text, from 1; 0 if it is about no place. `offset`: where in a template the
    expression begins, 0 outside of templates: the place in the template is `offset + max(column, 1)`, from 1.
    `values`: what `traced` had read until then.
    """

    def __init__(self, message: str, column: int = 0) -> None:
        super().__init__(message)
        self.column = column
        self.offset = 0
        self.values: dict[str, Value] = {}


class Absent(ExpressionError):
    """Something is not there: an output of a skipped task, a key of a map. `default(...)` catches it, nothing else."""


class Names(Protocol):
    """What the names of an expression mean."""

    def lookup(self, name: str) -> Value:
        """The value or namespace of a name. Raises ExpressionError for one that is not known."""
        ...


class Namespace(ABC):
    """A value whose members are made when they are asked for, such as a task."""

    @abstractmethod
    def member(self, name: str) -> Value:
        """Raises Absent where there could be a member and is none, ExpressionError where there can be none."""

    @abstractmethod
    def plain(self) -> dict[str, Value]:
        """All of it as a plain value."""


class Variables:
    """Names from a mapping, before those of `outer` if there is one."""

    def __init__(self, values: Mapping[str, Value], outer: Names | None = None) -> None:
        self._values = values
        self._outer = outer

    def lookup(self, name: str) -> Value:
        if name in self._values:
            return self._values[name]
        if self._outer is not None:
            return self._outer.lookup(name)
        raise ExpressionError(f"there is no name {shown(name)} here{guess(name, self._values)}")


# ---- Words for messages ---------------------------------------------------------------------------------------------


def shown(text: str, most: int = _SHOWN_CHARACTERS) -> str:
    """A piece of text for a message: on one line, short, nothing in it that a terminal obeys."""
    short = text if len(text) <= most else text[: most - 1] + _CUT
    if not short.isprintable():
        short = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in short)
    return f'"{short}"'


def guess(word: str, choices: Iterable[str]) -> str:
    """`' (did you mean "x"?)'`, or an empty string. Only the first 200 choices are compared."""
    if len(word) > 80:
        return ""
    found = nearest(word, [choice for choice, _ in zip(choices, range(200), strict=False) if len(choice) <= 80])
    return found if found.isprintable() else ""


_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a text",
    list: "a list",
    dict: "a map",
}


def kind(value: Value) -> str:
    """What a value is, in the words of messages. Values themselves stand in no message: one may be a secret."""
    found = _KINDS.get(value.__class__)
    if found is not None:
        return found
    if isinstance(value, Namespace):
        return "a map"
    return next((word for each, word in _KINDS.items() if isinstance(value, each)), "no value of expressions")


def is_number(value: Value) -> bool:
    """Whether it is a number; a boolean is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


# ---- Members --------------------------------------------------------------------------------------------------------


def plain(value: Value) -> Value:
    """`value`, a namespace as a map. Subclasses (enums, mappings with places) become what they stand for."""
    if value.__class__ in _KINDS:
        return value
    if isinstance(value, Namespace):
        return value.plain()
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (dict, list)):
        return dict(value) if isinstance(value, dict) else list(value)
    raise ExpressionError(f"{type(value).__name__} is no value of expressions; this is a bug of PyFlow")


def member(value: Value, key: Value) -> Value:
    """`value.key` or `value[key]`. Raises Absent if it is not there, ExpressionError if it cannot be."""
    if isinstance(value, dict):
        return _of_map(value, key)
    if isinstance(value, Namespace):
        if isinstance(key, str):
            return value.member(key)
        raise ExpressionError(f"a member is named by a text, not by {kind(key)}")
    if value is None:
        raise Absent(f"this is null: there is no {_member_name(key)} in it; default(...) gives another value")
    if isinstance(value, list):
        return _of_list(value, key)
    fix = "; write slice(text, start, end) for a part of it" if isinstance(value, str) else ""
    raise ExpressionError(f"this is {kind(value)}: it has no members{fix}")


def _member_name(key: Value) -> str:
    return shown(key) if isinstance(key, str) else "entry"


def _of_map(value: dict[str, Value], key: Value) -> Value:
    if not isinstance(key, str):
        raise ExpressionError(f"a key of a map is a text, not {kind(key)}")
    if key in value:
        return value[key]
    raise Absent(f"the map has no key {shown(key)}{guess(key, value)}; default(...) gives another value")


def _of_list(value: list[Value], key: Value) -> Value:
    if not isinstance(key, int) or isinstance(key, bool):
        fix = f"[0], or pick(list, {shown(key)})" if isinstance(key, str) else "a whole number"
        raise ExpressionError(f"this is a list: its entries are numbered from 0; write {fix}")
    if -len(value) <= key < len(value):
        return value[key]
    raise Absent(f"the list has {len(value)} entries, no entry {key}; default(...) gives another value")


# ---- Size and equality ----------------------------------------------------------------------------------------------


def surface(*values: Value) -> int:
    """Steps that it costs to go over `values` once, without what is inside their entries."""
    steps = 0
    for value in values:
        if isinstance(value, str):
            steps += len(value) // _CHARACTERS_A_STEP
        elif isinstance(value, (list, dict)):
            steps += len(value)
    return steps


def weight(value: Value, limit: int, characters: int = 1) -> int:
    """Entries of `value` in every depth, and its characters by `characters`; not much more than `limit` is counted.

    Raises ExpressionError if it is nested deeper than can be worked with.
    """
    total, level, depth = 0, [value], 0
    while level and total <= limit:
        inside: list[Value] = []
        for each in level:
            total += 1
            if isinstance(each, str):
                total += len(each) // characters
            elif isinstance(each, list):
                inside += each
            elif isinstance(each, dict):
                total += sum(map(len, each)) // characters
                inside += each.values()
            if len(inside) + total > limit:
                return limit + 1
        depth += 1
        if depth > MAX_VALUE_DEPTH:
            raise ExpressionError(f"the value is nested deeper than {MAX_VALUE_DEPTH} lists and maps")
        level = inside
    return total


def making(*values: Value) -> int:
    """Steps that it costs to make `values`: an eighth of what it costs to look at them."""
    return surface(*values) // 8


def depth_steps(*values: Value) -> int:
    """Steps that it costs to go through all of `values`, to any depth. Raises ExpressionError if that is too deep."""
    return sum(weight(value, MAX_STEPS, _CHARACTERS_A_STEP) for value in values)


def search_steps(where: Value, wanted: Value) -> int:
    """Steps that it costs to look for `wanted`."""
    return depth_steps(where, wanted) if isinstance(wanted, (list, dict)) else surface(where, wanted)


def json_steps(*values: Value) -> int:
    """As `depth_steps`, for what is written as JSON, which takes a quarter of the time."""
    return sum(weight(plain(value), 4 * MAX_STEPS, _CHARACTERS_A_STEP) for value in values) // 4


def identity(value: Value) -> object:
    """What equal values share and others do not: 1 and 1.0 are equal, 1 and true are not. Hashable."""
    if value is None or isinstance(value, bool):
        return (value,)
    if isinstance(value, (str, int, float)):
        return value
    if isinstance(value, dict):
        return ("map", frozenset((key, identity(each)) for key, each in value.items()))
    if isinstance(value, list):
        return ("list", tuple(map(identity, value)))
    return identity(plain(value))


def ordered(values: list[Value]) -> list[Value]:
    """`values`, once it is sure that they have an order: all numbers, or all texts."""
    if all(map(is_number, values)) or all(isinstance(value, str) for value in values):
        return values
    odd = next((value for value in values if not is_number(value) and not isinstance(value, str)), None)
    if odd is None and None not in values:
        raise ExpressionError("numbers and texts have no order among them: write float(...) or text(...) around one")
    fix = ": default(...) gives another value for null" if odd is None else ""
    raise ExpressionError(f"only numbers, or only texts, have an order, not {kind(odd)}{fix}")


def checked(value: Value) -> Value:
    """`value`, if it is within the bounds for results."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise ExpressionError("the result is no whole number of 64 bits")
    elif isinstance(value, float):
        if value - value != 0:
            raise ExpressionError("the result is too large for a number")
    elif isinstance(value, str):
        if len(value) > MAX_TEXT_CHARACTERS:
            raise ExpressionError(f"the result is longer than {MAX_TEXT_CHARACTERS} characters")
    elif len(value) > MAX_LIST_ITEMS:
        raise ExpressionError(f"the result has more than {MAX_LIST_ITEMS} entries")
    return value


# ---- Text -----------------------------------------------------------------------------------------------------------


def json_text(value: Value) -> str:
    """`value` as JSON on one line, characters as they are."""
    value = plain(value)
    if weight(value, MAX_TEXT_CHARACTERS) > MAX_TEXT_CHARACTERS:
        raise ExpressionError(f"as JSON it is longer than {MAX_TEXT_CHARACTERS} characters")
    try:
        return str(checked(_JSON.encode(value)))
    except ExpressionError:
        raise
    except ValueError:
        raise ExpressionError("it holds a number that has no form in JSON") from None


def _plain_inside(value: Value) -> Value:
    if isinstance(value, Namespace):
        return value.plain()
    raise ExpressionError(f"{type(value).__name__} is no value of expressions; this is a bug of PyFlow")


_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain_inside)
"""Made once: `json.dumps` with options makes one for each value."""


def text_of(value: Value) -> str:
    """Rule P3: text as it is, booleans `true` and `false`, numbers, lists and maps as JSON writes them."""
    if isinstance(value, str):
        return str.__str__(value)
    if value is None:
        raise ExpressionError("null has no text: default(..., '') gives another value")
    return json_text(value)


def encoded(text: str) -> bytes:
    """`text` in UTF-8."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ExpressionError("the text holds half of a character (a lone surrogate)") from None


def shortened(value: Value, depth: int = _TRACED_DEPTH) -> Value:
    """`value` for the record: long texts, lists and maps are cut and end with `…` (rule J4)."""
    if isinstance(value, str):
        return value if len(value) <= _TRACED_CHARACTERS else value[:_TRACED_CHARACTERS] + _CUT
    if isinstance(value, list):
        if value and depth == 0:
            return [_CUT]
        cut = [shortened(each, depth - 1) for each in value[:_TRACED_ENTRIES]]
        return [*cut, _CUT] if len(value) > _TRACED_ENTRIES else cut
    if isinstance(value, dict):
        if value and depth == 0:
            return {_CUT: _CUT}
        some = zip(value.items(), range(_TRACED_ENTRIES), strict=False)
        entries = {key: shortened(each, depth - 1) for (key, each), _ in some}
        return {**entries, _CUT: _CUT} if len(value) > _TRACED_ENTRIES else entries
    return value
