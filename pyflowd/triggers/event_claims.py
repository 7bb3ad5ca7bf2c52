"""Claims a file: renames it into the folder `claimed` beside it, so that nobody else takes it and it is not seen again.

The intent is in the record before, the run after it: whatever died between, to do it again finds out what had been
done. It blocks as file systems do; it knows nothing of triggers.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from typing import NamedTuple

from pyflowd.triggers.event_files import CLAIMED, State

_NOREPLACE = 1
_MODE = 0o770
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


class Claimed(NamedTuple):
    """The file is at its new place, in this state."""

    state: State


class Taken(NamedTuple):
    """There is another file of that name: another one must be found."""


class Gone(NamedTuple):
    """The file is no more what it was: somebody took it, wrote it or put another in its place."""


class Failed(NamedTuple):
    """It could not be done for now."""

    why: str


Claiming = Claimed | Taken | Gone | Failed


def claim(source: str, target: str, state: State) -> Claiming:
    """Do what was intended, or find that it had been done. `target` is in the folder `claimed` beside `source`."""
    folder, name = os.path.split(source)
    try:
        here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            there = _open_claimed(here)
            try:
                return _claim(here, name, there, os.path.basename(target), state)
            finally:
                os.close(there)
        finally:
            os.close(here)
    except OSError as error:
        return Failed(f"{folder}/{CLAIMED}: {error.strerror}")


def _open_claimed(here: int) -> int:
    """The folder, made where it is not there; a symlink in its place is refused."""
    try:
        os.mkdir(CLAIMED, _MODE, dir_fd=here)
    except FileExistsError:
        pass
    return os.open(CLAIMED, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)


def _claim(here: int, name: str, there: int, target: str, state: State) -> Claiming:
    done = _state(there, target)
    if done is not None:
        return Claimed(done) if done.inode == state.inode and _state(here, name) != state else Taken()
    if _state(here, name) != state:
        return Gone()
    try:
        _rename(here, name, there, target)
    except FileExistsError:
        return Taken()
    except FileNotFoundError:
        return Gone()
    os.fsync(there)
    os.fsync(here)
    moved = _state(there, target)
    return Claimed(moved) if moved is not None else Gone()


def _state(folder: int, name: str) -> State | None:
    """Of a plain file; None: there is none."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return State(status.st_ino, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _rename(here: int, name: str, there: int, target: str) -> None:
    """Never over another file. Where the kernel or the file system cannot promise that, it was looked at before."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc has it since 2.28
    if call is not None:
        if call(here, os.fsencode(name), there, os.fsencode(target), _NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
        if number not in _UNSUPPORTED:
            raise OSError(number, os.strerror(number), name)
    os.rename(name, target, src_dir_fd=here, dst_dir_fd=there)
