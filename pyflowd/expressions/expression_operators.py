"""The operators of expressions on values: comparisons and arithmetic, strict about kinds, bounded in what they cost.

They know nothing of the parts that the values come from; whoever calls says where an error is.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Protocol

from pyflowd.expressions.expression_lists import contains, same
from pyflowd.expressions.expression_values import (
    ExpressionError,
    Value,
    checked,
    depth_steps,
    is_number,
    kind,
    making,
    ordered,
    plain,
    search_steps,
)


class Budget(Protocol):
    """What the work of an evaluation is taken from."""

    def spend(self, steps: int) -> None:
        """Raises ExpressionError when there is no more."""


def not_boolean(value: Value) -> ExpressionError:
    """What is wrong with `value` where true or false is needed, and what to write instead."""
    fixes = {
        "null": "default(..., false) gives another value",
        "a number": "write x != 0",
        "a text": "write x == 'true', or x != '' for a text that is not empty",
        "a list": "write len(x) > 0",
        "a map": "write len(x) > 0",
    }
    word = kind(value)
    return ExpressionError(f"this is {word}, not true or false: {fixes.get(word, 'compare it with something')}")


_NUMBERS = (int, float)


def _equal(left: Value, right: Value, budget: Budget) -> bool:
    if left.__class__ is str and right.__class__ is str:
        return bool(left == right)
    left, right = plain(left), plain(right)
    if left.__class__ in (list, dict) and right.__class__ in (list, dict):
        budget.spend(depth_steps(left, right))
    return same(left, right)


def _in(left: Value, right: Value, budget: Budget) -> bool:
    left, right = plain(left), plain(right)
    budget.spend(search_steps(right, left))
    return contains(right, left)


def _in_order(compare: Callable[[Value, Value], bool]) -> Callable[[Value, Value, Budget], bool]:
    def compared(left: Value, right: Value, budget: Budget) -> bool:
        if left.__class__ in _NUMBERS and right.__class__ in _NUMBERS:
            return compare(left, right)
        ordered([left, right])
        return compare(left, right)

    return compared


COMPARISONS: dict[str, Callable[[Value, Value, Budget], bool]] = {
    "==": _equal,
    "!=": lambda left, right, budget: not _equal(left, right, budget),
    "in": _in,
    "not in": lambda left, right, budget: not _in(left, right, budget),
    "<": _in_order(operator.lt),
    "<=": _in_order(operator.le),
    ">": _in_order(operator.gt),
    ">=": _in_order(operator.ge),
}
_OPERATIONS: dict[str, Callable[[Value, Value], Value]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


def calculated(sign: str, left: Value, right: Value, budget: Budget) -> Value:
    """`left sign right`: numbers; or with + two texts, or two lists."""
    if is_number(left) and is_number(right):
        try:
            return checked(_OPERATIONS[sign](left, right))
        except ZeroDivisionError:
            raise ExpressionError("this divides by zero") from None
        except OverflowError:
            raise ExpressionError("the result is too large for a number") from None
    if sign == "+" and isinstance(left, str) and isinstance(right, str):
        budget.spend(making(left, right))
        return checked(left + right)
    if sign == "+" and isinstance(left, list) and isinstance(right, list):
        budget.spend(making(left, right))
        return checked(left + right)
    raise _no_operands(sign, left, right)


def _no_operands(sign: str, left: Value, right: Value) -> ExpressionError:
    if left is None or right is None:
        fix = ": default(...) gives another value"
    elif sign == "+" and (isinstance(left, str) or isinstance(right, str)):
        fix = ": text(...) makes a text of a value"
    elif sign == "+" and isinstance(left, dict) and isinstance(right, dict):
        fix = ": write merge(x, y)"
    elif isinstance(left, str) or isinstance(right, str):
        fix = ": int(...) or float(...) makes a number of a text"
    else:
        fix = ""
    return ExpressionError(f"{sign} does not take {kind(left)} and {kind(right)}{fix}")
