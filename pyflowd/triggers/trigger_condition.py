"""The `if` of a trigger: whether what fires it is to start a run. Pure; it knows neither clocks nor events.

Whoever asks brings the names: of a schedule these are `params` and `run`, of other triggers `event` as well.
"""

from __future__ import annotations

import json
from typing import Any

from msgspec import Struct

from pyflowd.expressions import expression
from pyflowd.expressions.expression_values import ExpressionError, Names

_SHOWN = 200


class Verdict(Struct, frozen=True, kw_only=True):
    """What came of a condition."""

    holds: bool
    error: str = ""
    """Why it has no value; it does not hold then."""
    values: dict[str, Any] = {}
    """What it used."""

    @property
    def detail(self) -> str:
        """For people, as in `params.full = false`."""
        used = ", ".join(f"{name} = {_shown(value)}" for name, value in self.values.items())
        return "; ".join(text for text in (self.error, used) if text)


TRUE = Verdict(holds=True)


def judge(condition: str, names: Names) -> Verdict:
    """Whether `condition` holds; empty: it does. Never raises: an expression without a value is an answer, too."""
    if not condition:
        return TRUE
    try:
        holds, values = expression.parse(condition).holds(names)
    except ExpressionError as error:
        return Verdict(holds=False, error=str(error), values=dict(error.values or {}))
    return Verdict(holds=holds, values=values)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
