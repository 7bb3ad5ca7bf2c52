"""The value of `secret set`: from a file, from standard input, or typed unseen; never from the command line.

It knows nothing of the daemon.
"""

from __future__ import annotations

import posix
import sys

from pyflowctl.link import ClientError
from pyflowctl.local import check

MOST_BYTES = 64 * 1024
_USAGE_STATUS = 2
_NOT_FOUND_STATUS = 3
_REFUSED_STATUS = 6
_INTERRUPTED_STATUS = 130


def read_value(argv: list[str], name: str, options: dict[str, str]) -> bytes:
    """The value, without the newline at its end. Raises ClientError, before it asks where the command line is wrong."""
    check(argv, {name: b""})
    path = options.get("--file", "-")
    if path != "-":
        return _bounded(_read_file(path))
    if "--file" not in options and posix.isatty(0):
        return _bounded(_typed(name))
    return _bounded(_read(0, "standard input"))


def _read_file(path: str) -> bytes:
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOCTTY)
    except FileNotFoundError:
        raise ClientError(f"{path}: there is no such file; name one that holds the value", _NOT_FOUND_STATUS) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ClientError(f"{path}: cannot be read: {reason}; name a file that you may read", _REFUSED_STATUS) from None
    try:
        return _read(descriptor, path)
    finally:
        posix.close(descriptor)


def _read(descriptor: int, where: str) -> bytes:
    """Up to its end, at most a few bytes too many; one newline at the end is dropped."""
    data = b""
    try:
        while len(data) <= MOST_BYTES + 1 and (piece := posix.read(descriptor, MOST_BYTES)):
            data += piece
    except OSError as error:
        raise ClientError(f"{where}: cannot be read: {error.strerror}", _REFUSED_STATUS) from None
    return data[:-1] if data.endswith(b"\n") else data


def _typed(name: str) -> bytes:
    """Twice, unseen."""
    import getpass

    try:
        first = getpass.getpass(f"Value of {name}: ")
        again = getpass.getpass("The same again: ")
    except EOFError:
        raise ClientError("no value was typed", _USAGE_STATUS) from None
    except KeyboardInterrupt:
        raise ClientError("nothing is stored", _INTERRUPTED_STATUS) from None
    if first != again:
        raise ClientError("the two differ; nothing is stored, try again", _USAGE_STATUS)
    return first.encode(sys.getfilesystemencoding(), "surrogateescape")


def _bounded(value: bytes) -> bytes:
    if not value:
        raise ClientError("the value is empty; an empty secret is mostly a mistake, and is not stored", _REFUSED_STATUS)
    if len(value) > MOST_BYTES:
        raise ClientError("the value is longer than 64 KiB, which no secret may be", _REFUSED_STATUS)
    return value
