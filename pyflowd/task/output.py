"""The file in which a task gives its outputs on (`$PYFLOW_OUTPUT`), and the one beside it with its own word for why it
failed: how they are written. How they are read is in `pyflowd.output_file`.

The file is only ever appended to, a line a write, so any number of writers get along, and so does a plain
`echo name=value >> "$PYFLOW_OUTPUT"`. Python 3.8; it imports neither `re` nor `json`, which would take as long as all
the rest of a small python task.
"""

from __future__ import annotations

import fcntl
import os

MAX_BYTES = 1024 * 1024
"""Rule P5."""
MAX_DEPTH = 64
_MAX_NAME = 63
_MAX_MESSAGE = 2000
_ESCAPES = {**{code: f"\\u{code:04x}" for code in range(32)}, ord('"'): '\\"', ord("\\"): "\\\\"}


class NotJson(ValueError):
    """A value that JSON does not have: `value`, and where it stands."""

    def __init__(self, place: str, value: object, message: str) -> None:
        super().__init__(f"{place[:200]} {message}")
        self.value = value


def check_name(name: str) -> None:
    """Raises ValueError."""
    plain = name.isascii() and name.replace("-", "_").isidentifier() and name[0] != "-"
    if not plain or len(name) > _MAX_NAME:
        rule = f"letters, digits, _ and -, first a letter or _, at most {_MAX_NAME}"
        raise ValueError(f"{quoted(name[:80])} is no name of an output: use {rule}")


def quoted(text: str) -> str:
    """A text as JSON has it."""
    return '"' + text.translate(_ESCAPES) + '"'


def encoded(value: object, place: str, depth: int = 0) -> str:
    """JSON. Raises NotJson with the place below `place`; lists may be tuples, nothing else is converted."""
    if depth > MAX_DEPTH:
        raise NotJson(place, value, f"is nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        return quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        if value - value != 0:
            raise NotJson(place, value, f"is {value}, which JSON does not have")
        return float.__repr__(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join([encoded(item, f"{place}[{n}]", depth + 1) for n, item in enumerate(value)]) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join([_member(key, item, place, depth + 1) for key, item in value.items()]) + "}"
    raise NotJson(place, value, f"is a {type_name(value)}, which JSON does not have")


def _member(key: object, value: object, place: str, depth: int) -> str:
    if not isinstance(key, str):
        raise NotJson(place, key, f"has a key of type {type_name(key)}: keys must be text")
    return f"{quoted(key)}: {encoded(value, place + '.' + key if place else key, depth)}"


def type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def append(path: str, values: dict[str, object]) -> None:
    """Add outputs, later ones over earlier ones. Raises ValueError for what is no JSON or too long, OSError."""
    line = encoded(values, "").encode() + b"\n"
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":  # written by hand, without an end of line
            line = b"\n" + line
        if size + len(line) > MAX_BYTES:
            needed = size + len(line)
            raise ValueError(f"the outputs would take {needed} bytes, at most {MAX_BYTES}: write a file, give its path")
        _write_whole(handle, line, size)
    finally:
        os.close(handle)


def _write_whole(handle: int, line: bytes, size: int) -> None:
    """A half-written line would spoil those before it: on a full disk the file is as it was."""
    try:
        done = os.write(handle, line)
        while done < len(line):
            done += os.write(handle, line[done:])
    except OSError:
        os.ftruncate(handle, size)
        raise


def say(path: str, message: str, **facts: str) -> None:
    """Write why the attempt fails, in its own words, to the file beside the outputs; a later word replaces it.

    The first line is the message; `name=value` lines follow.
    """
    lines = [one_line(message)] + [f"{name}={one_line(value)}" for name, value in facts.items()]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = os.open(path + ".error", flags, 0o666)
    try:
        os.write(handle, "".join(line + "\n" for line in lines).encode("utf-8", "replace"))
    finally:
        os.close(handle)


def one_line(text: str) -> str:
    """`text` in one line of bounded length, without control characters."""
    line = "".join([each if each.isprintable() else " " for each in text[: 2 * _MAX_MESSAGE]]).strip()
    return line if len(line) <= _MAX_MESSAGE else line[: _MAX_MESSAGE - 3] + "..."
