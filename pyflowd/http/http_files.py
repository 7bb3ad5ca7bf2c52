"""Files that a request reads and writes: below the run's scratch folder, and nowhere else.

The folder may belong to another user, who may put links into it while we look. So every part of a path is opened from
its parent's descriptor and is never a link. It knows nothing of requests.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pyflowd.http.http_errors import CallError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


def below(scratch: str, path: str) -> tuple[str, ...]:
    """The parts of `path` below the scratch folder. Raises ValueError."""
    inner = path
    if path.startswith("/"):
        folder = scratch.rstrip("/") + "/"
        if not path.startswith(folder):
            raise ValueError(f"{_shown(path)} is not below the run's scratch folder: write a path relative to that")
        inner = path[len(folder) :]
    parts = tuple(part for part in inner.split("/") if part not in ("", "."))
    if not parts or inner.endswith("/"):
        raise ValueError(f"{_shown(path)} names no file")
    if ".." in parts:
        raise ValueError(f'{_shown(path)} leads out of the run\'s scratch folder by ".."')
    if "\0" in path or any(len(os.fsencode(part)) > 255 for part in parts) or len(path) > 4000:
        raise ValueError(f"{_shown(path)} is no path")
    return parts


def _shown(path: str) -> str:
    return ascii(path[:100]).replace("'", '"')


def _open_folder(scratch: str, parts: tuple[str, ...], *, make: bool) -> int:
    """A descriptor of the folder that `parts` is in. Raises CallError."""
    try:
        at = os.open(scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CallError(f"the run's scratch folder cannot be opened: {_reason(error)}") from None
    for part in parts[:-1]:
        try:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=at)
            inner = os.open(part, _FOLDER, dir_fd=at)
        except OSError as error:
            raise CallError(f"{_name(parts)}: {_reason(error)}") from None
        finally:
            os.close(at)
        at = inner
    return at


def _name(parts: tuple[str, ...]) -> str:
    return _shown("/".join(parts))


def _reason(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "a part of it is a link, or no folder"
    return (error.strerror or str(error)).lower()


@contextmanager
def reading(scratch: str, parts: tuple[str, ...]) -> Iterator[int]:
    """A descriptor of a plain file, to read. Raises CallError."""
    folder = _open_folder(scratch, parts, make=False)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a FIFO would block
    try:
        found = os.open(parts[-1], flags, dir_fd=folder)
    except OSError as error:
        raise CallError(f"{_name(parts)}: {_reason(error)}") from None
    finally:
        os.close(folder)
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise CallError(f"{_name(parts)} is no plain file")
        yield found
    finally:
        os.close(found)


class Saving:
    """A file that is being written beside its name; `finish` makes it appear there at once and whole."""

    def __init__(self, scratch: str, parts: tuple[str, ...]) -> None:
        self._parts = parts
        self._hash = hashlib.sha256()
        self.size_bytes = 0
        self._beside = f".{secrets.token_hex(8)}.part"
        self._folder = _open_folder(scratch, parts, make=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(self._beside, flags, 0o644, dir_fd=self._folder)
        except OSError as error:
            os.close(self._folder)
            raise CallError(f"{_name(parts)}: {_reason(error)}") from None

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Raises CallError."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            raise CallError(f"{_name(self._parts)}: {_reason(error)}") from None
        self._hash.update(data)
        self.size_bytes += len(data)

    def finish(self) -> None:
        """Raises CallError."""
        try:
            os.fsync(self._descriptor)
            os.rename(self._beside, self._parts[-1], src_dir_fd=self._folder, dst_dir_fd=self._folder)
            self._beside = ""
            os.fsync(self._folder)
        except OSError as error:
            raise CallError(f"{_name(self._parts)}: {_reason(error)}") from None

    def close(self) -> None:
        """What is not finished goes away."""
        if self._beside:
            with suppress(OSError):
                os.unlink(self._beside, dir_fd=self._folder)
        os.close(self._descriptor)
        os.close(self._folder)


@contextmanager
def saving(scratch: str, parts: tuple[str, ...]) -> Iterator[Saving]:
    """Write a file; folders on the way are made. If the block raises, nothing of it stays. Raises CallError."""
    file = Saving(scratch, parts)
    try:
        yield file
        file.finish()
    finally:
        file.close()
