"""`secrets` in expressions: values where they may stand, and a note of those that have to be fetched first. Pure.

Rule P6: a secret goes to a process or a server, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyflowd.expressions.expression_values import ExpressionError, Namespace, Value
from pyflowd.keeper.masking import Masks, mask_text
from pyflowd.model.states import is_name
from pyflowd.secrets.secrets_model import Secret

PLACES = "in env, in headers, auth and body of http, and under credentials"


class Secrets(Namespace):
    """The secrets of one attempt. One that is not there yet is noted in `missing`, and reads as empty text: whoever
    finds something missing fetches it and evaluates everything again.
    """

    def __init__(self, values: Mapping[str, Secret] | None = None) -> None:
        self.values = dict(values or {})
        self.missing: dict[str, None] = {}
        self.asked = False
        """Whether any was asked for since this was last set back."""

    def member(self, name: str) -> Value:
        value = self.fetch(name)
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            raise ExpressionError(f"secret {name} is no text: give it as a file, under credentials") from None

    def fetch(self, name: str) -> bytes:
        """Its bytes; Raises ExpressionError where `name` can be none."""
        self.asked = True
        if not is_name(name):
            raise ExpressionError("this is no name of a secret: letters, digits, _ . - only, first a letter or digit")
        value = self.values.get(name)
        if value is None:
            self.missing[name] = None
            return b""
        return bytes(value)

    def plain(self) -> dict[str, Value]:
        raise ExpressionError("these would be all secrets: name one, as in secrets.db_password")

    def masks(self) -> tuple[bytes, ...]:
        """What has to be taken out of whatever comes back."""
        return tuple(bytes(value) for value in self.values.values())


class Variables(Namespace):
    """`env` of which some variables hold secrets: those cannot be read."""

    def __init__(self, values: Mapping[str, str], sealed: Mapping[str, None]) -> None:
        self._values = values
        self._sealed = sealed

    def member(self, name: str) -> Value:
        if name in self._sealed:
            raise ExpressionError(f"env.{name} holds a secret, which may stand only {PLACES}")
        if name not in self._values:
            raise ExpressionError(f"env has no variable {name}")
        return self._values[name]

    def plain(self) -> dict[str, Value]:
        return {name: text for name, text in self._values.items() if name not in self._sealed}


def masked(value: Any, masks: Masks | Sequence[bytes]) -> Any:
    """A plain value without the secrets in its texts and keys."""
    match value:
        case str():
            return mask_text(value, masks)
        case dict():
            return {mask_text(key, masks): masked(each, masks) for key, each in value.items()}
        case list() | tuple():
            return [masked(each, masks) for each in value]
        case _:
            return value
