"""The functions of expressions that work on lists and maps.

Each is pure, takes any plain values and raises nothing but ExpressionError. Values that are not there are Absent, and
so are the first, the least and the greatest of nothing.
"""

from __future__ import annotations

from itertools import chain, islice

from pyflowd.expressions.expression_values import (
    MAX_LIST_ITEMS,
    Absent,
    ExpressionError,
    Value,
    identity,
    is_number,
    kind,
    member,
    ordered,
)


def _list(value: Value) -> list[Value]:
    if isinstance(value, list):
        return value
    fix = ": default(..., []) gives an empty one" if value is None else ""
    raise ExpressionError(f"it needs a list, not {kind(value)}{fix}")


def _map(value: Value) -> dict[str, Value]:
    if isinstance(value, dict):
        return value
    fix = ": default(..., {}) gives an empty one" if value is None else ""
    raise ExpressionError(f"it needs a map, not {kind(value)}{fix}")


def _whole(value: Value, what: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ExpressionError(f"{what} must be a whole number, not {kind(value)}")


def length(x: Value) -> int:
    if isinstance(x, (str, list, dict)):
        return len(x)
    fix = ": default(...) gives another value" if x is None else ""
    raise ExpressionError(f"only a text, list or map has a length, not {kind(x)}{fix}")


def same(left: Value, right: Value) -> bool:
    """Whether two values are equal: 1 and 1.0 are, 1 and true are not, in lists and maps neither.

    Lists and maps have had their depth measured before (`depth_steps`).
    """
    if isinstance(left, (str, int, float, bool)) and isinstance(right, (str, int, float, bool)):
        return isinstance(left, bool) is isinstance(right, bool) and left == right
    if left is None or right is None:
        return left is right
    if isinstance(left, (list, dict)) and isinstance(right, (list, dict)):
        return identity(left) == identity(right)
    return False


def contains(x: Value, y: Value) -> bool:
    """`y in x`."""
    if isinstance(x, str):
        if isinstance(y, str):
            return y in x
        raise ExpressionError(f"in a text there can be a text only, not {kind(y)}: text(...) makes one")
    if isinstance(x, dict):
        if isinstance(y, str):
            return y in x
        raise ExpressionError(f"the keys of a map are texts, not {kind(y)}")
    return any(same(each, y) for each in _list(x))


# ---- All entries at once --------------------------------------------------------------------------------------------


def _several(values: tuple[Value, ...]) -> list[Value]:
    found = ordered(_list(values[0]) if len(values) == 1 else list(values))
    if not found:
        raise Absent("the list is empty; default(...) gives another value")
    return found


def least(*x: Value) -> Value:
    return min(_several(x))


def greatest(*x: Value) -> Value:
    return max(_several(x))


def total(items: Value) -> int | float:
    found = _list(items)
    odd = next((each for each in found if not is_number(each)), 0)
    if not is_number(odd):
        raise ExpressionError(f"only numbers have a sum, not {kind(odd)}")
    try:
        return sum(found)
    except OverflowError:
        raise ExpressionError("the result is too large for a number") from None


def _booleans(items: Value) -> list[bool]:
    found = _list(items)
    odd = next((each for each in found if not isinstance(each, bool)), True)
    if not isinstance(odd, bool):
        raise ExpressionError(f"the list must hold booleans only, not {kind(odd)}")
    return found


def any_true(items: Value) -> bool:
    return any(_booleans(items))


def all_true(items: Value) -> bool:
    return all(_booleans(items))


# ---- Order and parts ------------------------------------------------------------------------------------------------


def sort(items: Value, by: Value = None) -> list[Value]:
    found = _list(items)
    if by is None:
        return sorted(ordered(found))
    path = _path(by)
    keys = ordered([_at(each, path) for each in found])
    places = sorted(range(len(found)), key=keys.__getitem__)
    return [found[place] for place in places]


def unique(items: Value) -> list[Value]:
    found: dict[object, Value] = {}
    for each in _list(items):
        found.setdefault(identity(each), each)
    return list(found.values())


def backwards(items: Value) -> list[Value]:
    return _list(items)[::-1]


def flatten(items: Value) -> list[Value]:
    found = _list(items)
    odd: Value = next((each for each in found if not isinstance(each, list)), [])
    if not isinstance(odd, list):
        raise ExpressionError(f"every entry must be a list, not {kind(odd)}")
    return list(islice(chain.from_iterable(found), MAX_LIST_ITEMS + 1))


def first(items: Value) -> Value:
    return _end(items, 0)


def last(items: Value) -> Value:
    return _end(items, -1)


def _end(items: Value, place: int) -> Value:
    if not _list(items):
        raise Absent("the list is empty; default(...) gives another value")
    return items[place]


def cut(x: Value, start: Value, end: Value = None) -> Value:
    if not isinstance(x, (str, list)):
        raise ExpressionError(f"it needs a list or a text, not {kind(x)}")
    return x[_whole(start, "start") : None if end is None else _whole(end, "end")]


def numbers(n: Value, end: Value = None, step: Value = 1) -> list[int]:
    start = 0 if end is None else _whole(n, "the start")
    stop = _whole(n if end is None else end, "the end")
    by = _whole(step, "the step")
    if by == 0:
        raise ExpressionError("the step is 0")
    found = range(start, stop, by)
    if (stop - start) // by > MAX_LIST_ITEMS:
        raise ExpressionError(f"the result has more than {MAX_LIST_ITEMS} entries")
    return list(found)


def chunk(items: Value, n: Value) -> list[list[Value]]:
    found, size = _list(items), _whole(n, "the size")
    if size < 1:
        raise ExpressionError("the size must be at least 1")
    return [found[at : at + size] for at in range(0, len(found), size)]


# ---- Maps -----------------------------------------------------------------------------------------------------------


def keys(mapping: Value) -> list[str]:
    return list(_map(mapping))


def values(mapping: Value) -> list[Value]:
    return list(_map(mapping).values())


def items(mapping: Value) -> list[Value]:
    return [{"key": key, "value": value} for key, value in _map(mapping).items()]


def merge(*maps: Value) -> dict[str, Value]:
    merged: dict[str, Value] = {}
    for each in maps:
        merged.update(_map(each))
    return merged


# ---- Lists of maps --------------------------------------------------------------------------------------------------


def _path(path: Value) -> list[str]:
    if not isinstance(path, str) or not path:
        raise ExpressionError("a path is a text such as 'outputs.path'")
    return path.split(".")


def _at(value: Value, path: list[str]) -> Value:
    for key in path:
        value = member(value, key)
    return value


def _chosen(entries: Value, wanted: dict[str, Value]) -> list[dict[str, Value]]:
    found = _list(entries)
    compound = next((key for key, want in wanted.items() if isinstance(want, (list, dict))), None)
    if compound is not None:
        raise ExpressionError(f"{compound} is compared with a text, number, boolean or null only")
    odd: Value = next((each for each in found if not isinstance(each, dict)), {})
    if not isinstance(odd, dict):
        raise ExpressionError(f"every entry of the list must be a map, not {kind(odd)}")
    return [each for each in found if all(key in each and same(each[key], want) for key, want in wanted.items())]


def pick(entries: Value, path: Value, /, **wanted: Value) -> list[Value]:
    steps = _path(path)
    found = []
    for each in _chosen(entries, wanted):
        try:
            found.append(_at(each, steps))
        except Absent:
            continue
    return found


def where(entries: Value, /, **wanted: Value) -> list[Value]:
    if not wanted:
        raise ExpressionError("say which entries, as in where(list, state='failed')")
    return list(_chosen(entries, wanted))


def count(entries: Value, /, **wanted: Value) -> int:
    return len(_chosen(entries, wanted)) if wanted else len(_list(entries))
