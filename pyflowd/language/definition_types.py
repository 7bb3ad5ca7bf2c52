"""Types and bounds as params and outputs declare them: words of a definition that both have.

It knows nothing of values: whether one is of its type is in `params`.
"""

from __future__ import annotations

import re
from typing import Any

from pyflowd.expressions import pattern
from pyflowd.language import fields
from pyflowd.language.document import Mapping, quote
from pyflowd.language.fields import Report, Wrong
from pyflowd.model.workflow import ParamType

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", re.ASCII)
_type_word = fields.one_of(ParamType)


def read_type(value: Any, report: Report) -> ParamType:
    """A type that a value can have as it is; that of a secret cannot."""
    if value == ParamType.SECRET:
        raise Wrong("the type secret is for params: their value is a secret's name", "take string")
    return read_param_type(value, report)


def read_param_type(value: Any, report: Report) -> ParamType:
    """A type, that of a secret among them (rule P4)."""
    kind: ParamType = _type_word(value, report)
    return kind


def read_pattern(value: Any, report: Report) -> str:
    """A regular expression that `pattern` takes."""
    written = fields.text(value, report)
    try:
        pattern.check(written)
    except ValueError as error:
        raise Wrong(f"{quote(written)}: {error}") from None
    return written


def check_identifier(name: str) -> None:
    """Raises Wrong unless `name` can stand after a dot in an expression."""
    if not _IDENTIFIER.fullmatch(name):
        fix = 'use letters, digits, "_" and "-", first a letter or "_", at most 63'
        raise Wrong(f"{quote(name)} is no name", fix, code="name")


def one_maximum(found: dict[str, Any], mapping: Mapping, kind: ParamType) -> None:
    """Make `maximum` of `max_length` (of text) and `max_items` (of lists), which are other words for it."""
    for key, fitting, what in (
        ("max_length", ParamType.STRING, "text"),
        ("max_items", ParamType.ARRAY, "lists"),
    ):
        if key not in found:
            continue
        most = found.pop(key)
        if kind is not fitting:
            raise Wrong(f"{key} is for {what}, not for {kind}", f"leave it out, or write type: {fitting}")
        if "maximum" in mapping:
            raise Wrong(f"both maximum and {key}", "keep one of them")
        found["maximum"] = float(most)
