"""What the operations of a `file` task have in common: their arguments, how they fail, how they are stopped."""

from __future__ import annotations

import os
from typing import Any

MAX_FILES = 10_000
MAX_BYTES = 10 * 1024**3


class Failed(Exception):
    """The operation cannot be done: one line that says what, where, and the remedy."""


class NotInTime(Failed):
    """What was waited for did not come."""


class Stopped(BaseException):
    """SIGTERM came: clean up, and end by it."""


def reason(error: OSError, path: str = "") -> Failed:
    """An error of the kernel as ours, with the path it is about."""
    place = path or (error.filename if isinstance(error.filename, str) else "")
    text = (error.strerror or str(error)).lower()
    return Failed(f"{place}: {text}" if place else text)


class Arguments:
    """The arguments of one operation, as they came from expressions: each is checked when it is asked for."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given

    def __contains__(self, key: str) -> bool:
        return key in self._given

    def text(self, key: str) -> str:
        value = self._given.get(key)
        if not isinstance(value, str):
            raise Failed(f"{key}: expected text, found {_shape(value)}")
        return value

    def path(self, key: str) -> str:
        return _path(key, self._given.get(key))

    def paths(self, key: str) -> list[str]:
        value = self._given.get(key)
        return [_path(key, each) for each in (value if isinstance(value, list) else [value])]

    def flag(self, key: str, default: bool) -> bool:
        return bool(self._given.get(key, default))

    def number(self, key: str, default: int) -> int:
        return int(self._given.get(key, default))

    def seconds(self, key: str) -> float | None:
        value = self._given.get(key)
        return None if value is None else float(value)

    def mode(self) -> int | None:
        """Permission bits, None: none are asked for."""
        value = self._given.get("mode")
        return None if value is None else int(str(value), 8)

    def value(self, key: str) -> Any:
        return self._given.get(key)

    @property
    def max_files(self) -> int:
        return self.number("max_files", MAX_FILES)


def _path(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise Failed(f"{key}: expected a path, found {_shape(value)}")
    if not value:
        raise Failed(f"{key}: the path is empty")
    if "\0" in value:
        raise Failed(f"{key}: a NUL in the path")
    return os.path.expanduser(value) if value == "~" or value.startswith("~/") else value


def _shape(value: Any) -> str:
    names = {dict: "a mapping", list: "a list", bool: "a boolean", int: "a number", float: "a number", str: "text"}
    return names.get(type(value), "nothing")
