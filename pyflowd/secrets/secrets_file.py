"""Files that hold what nobody else may read: read only where that is so, written so that a crash leaves old or new.

It knows nothing of what is in them.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import NamedTuple

from pyflowd.crashpoints import crashpoint

OWN_ONLY = 0o077
"""Rights that nobody may have on a secret: those of group and others, as sshd's StrictModes for a key. Not even the
group's to read: members of the group `pyflow` may look at runs, and shall not have secrets by that."""
NOT_OTHERS = 0o027
"""For what systemd makes: an access list for the unit's user shows as rights of the group."""
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class Unfit(Exception):
    """A file that may not be used; the text is one line with the path and the remedy."""


def read(path: str, most_bytes: int, forbidden: int = OWN_ONLY) -> bytes:
    """The bytes of a private file. Raises FileNotFoundError, Unfit."""
    return _read(path, None, path, most_bytes, forbidden)


def read_in(folder: str, name: str, most_bytes: int, forbidden: int = OWN_ONLY) -> bytes:
    """As `read`, of a file in a folder that only root and we may change. `name` must be checked. Raises
    FileNotFoundError also where the folder is not there."""
    handle = _open_folder(folder)
    try:
        return _read(name, handle, os.path.join(folder, name), most_bytes, forbidden)
    finally:
        os.close(handle)


class Entry(NamedTuple):
    """A file of such a folder, unread."""

    name: str
    changed_us: int
    fault: str
    """Why `read_in` would not take it; empty: its owner and mode are right."""


def names_in(folder: str, forbidden: int = OWN_ONLY) -> list[Entry]:
    """Regular files of such a folder, sorted. Raises as `read_in`."""
    handle = _open_folder(folder)
    try:
        with os.scandir(handle) as entries:
            return sorted(
                Entry(entry.name, found.st_mtime_ns // 1000, _fault(os.path.join(folder, entry.name), found, forbidden))
                for entry in entries
                if stat.S_ISREG((found := entry.stat(follow_symlinks=False)).st_mode)
            )
    except OSError as error:
        raise Unfit(f"{folder}: {error.strerror}") from None
    finally:
        os.close(handle)


def _open_folder(folder: str) -> int:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Unfit(f"{folder}: {error.strerror}; pyflowd's account must be able to read it") from None
    found = os.fstat(handle)
    if found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o022:
        return handle
    os.close(handle)
    raise Unfit(f"{folder}: others may change it; it must belong to root or pyflowd's account: chmod go-w {folder}")


def _read(name: str, folder: int | None, path: str, most_bytes: int, forbidden: int) -> bytes:
    try:
        handle = os.open(name, _READ, dir_fd=folder)
    except FileNotFoundError:
        raise
    except OSError as error:
        if stat.S_ISLNK(_mode(name, folder)):
            raise Unfit(f"{path}: it is a symbolic link, which is not followed; put the file itself there") from None
        raise Unfit(f"{path}: {error.strerror}; pyflowd's account must own it: chown it, chmod 600 {path}") from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise Unfit(f"{path}: it is no file")
        if fault := _fault(path, found, forbidden):
            raise Unfit(fault)
        with open(handle, "rb", closefd=False) as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise Unfit(f"{path}: {error.strerror}") from None
    finally:
        os.close(handle)
    if len(data) > most_bytes:
        raise Unfit(f"{path}: longer than {most_bytes >> 10} KiB")
    return data


def _fault(path: str, found: os.stat_result, forbidden: int) -> str:
    """What is wrong with owner and mode; empty: nothing."""
    if found.st_uid in (0, os.geteuid()) and not found.st_mode & forbidden:
        return ""
    return f"{path}: others may read or change it; chmod 600, owned by pyflowd's account or root"


def _mode(name: str, folder: int | None) -> int:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except OSError:
        return 0


def write(path: str, data: bytes) -> None:
    """Put `data` at `path` for our eyes only, durably: beside, then renamed. Raises OSError, with nothing changed.

    The name beside is always the same: what a crash leaves there is taken away by the next write.
    """
    folder_path, name = os.path.split(path)
    beside = f".{name}.new"
    folder = os.open(folder_path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside, dir_fd=folder)
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
        try:
            with open(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(handle)
            crashpoint("secret_beside")
            os.rename(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside, dir_fd=folder)
            raise
        os.fsync(folder)
        crashpoint("secret_renamed")
    finally:
        os.close(folder)
