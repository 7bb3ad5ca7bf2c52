"""The file beside the database that says which store belongs there, how far it went, and whether it was closed well.

A database that is missing, empty, another one, an older copy, or without the end of its write-ahead log is noticed by
it, so none of these is taken for the truth. It is rewritten in place, in one sector, so that a full disk does not keep
a daemon from its start. It knows nothing of what is in the store.
"""

from __future__ import annotations

import contextlib
import os

from msgspec import Struct

MARK = "instance"
_OPEN, _CLOSED = "open  ", "closed"


class Mark(Struct, frozen=True, kw_only=True):
    instance: str
    """Of the store: `meta.instance`."""
    closed: bool
    """Its owner ended well: nothing is in the log that is not in the database."""
    newest: int = 0
    """Number of the newest event that was made durable, or of one before it."""


def path_of(folder: str) -> str:
    return os.path.join(folder, MARK)


def read(folder: str) -> Mark | None:
    """None where there is none, as in a folder that never had a store. Raises OSError."""
    try:
        with open(path_of(folder), encoding="ascii", errors="replace") as file:
            instance, state, newest, *_ = [*file.read(64).split(), "", "", ""]
    except FileNotFoundError:
        return None
    return Mark(instance=instance, closed=state == _CLOSED, newest=int(newest) if newest.isdecimal() else 0)


def write(folder: str, mark: Mark) -> None:
    """Durably, as far as the disk allows: without space for a new file there is none, and nothing is noticed by it."""
    text = f"{mark.instance} {_CLOSED if mark.closed else _OPEN} {mark.newest:020d}\n".encode("ascii")
    with contextlib.suppress(OSError):
        handle = os.open(path_of(folder), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.pwrite(handle, text, 0)
            os.ftruncate(handle, len(text))
            os.fsync(handle)
        finally:
            os.close(handle)


def open_for_notes(folder: str) -> int:
    """A descriptor for `note_newest`; -1 where there is no mark to be had."""
    try:
        return os.open(path_of(folder), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return -1


def note_newest(handle: int, instance: str, newest: int) -> None:
    """After each commit, and so without a sync: a kill takes nothing of it away, and what a power cut leaves is an
    older number, which is true as well.
    """
    with contextlib.suppress(OSError):
        os.pwrite(handle, b"%020d" % newest, len(instance) + len(_OPEN) + 2)


def lost(folder: str, database: str) -> str:
    """What is missing of the store that the mark speaks of; empty where nothing is, or there is no mark."""
    mark = read(folder)
    if mark is None:
        return ""
    try:
        size_bytes = os.stat(database).st_size
    except FileNotFoundError:
        return "the database is gone"
    if not size_bytes:
        return "the database is empty"
    if not mark.closed and not os.path.exists(f"{database}-wal"):
        return f"{os.path.basename(database)}-wal is gone, and with it what was recorded last"
    return ""
