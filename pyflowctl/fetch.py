"""A kept file, read from the open descriptor that the daemon handed over, to where the command line says.

Written beside and renamed, so a file is there whole or not at all; its SHA-256 is compared with the one on record.
"""

import hashlib
import os
import posix

from pyflowctl.link import ClientError, write
from pyflowctl.packing import Value
from pyflowd.render.layout import clean
from pyflowd.units import size_text

_CHUNK_BYTES = 1 << 20
_REFUSED_STATUS = 6


def save(frame: list[Value], descriptors: list[int], options: dict[str, str]) -> None:
    """Take the file of an `artifact_open` frame. Raises ClientError."""
    match frame:
        case ["artifact_open", int(), str(), str(name), int(size_bytes), str(sha256), *_] if descriptors:
            source = descriptors.pop(0)
        case _:
            raise ClientError("the daemon opened a file in a way that this client does not know", 4)
    target = options.get("--to") or name
    try:
        if target == "-":
            digest = _copy(source, 1)
            _compare(name, digest, sha256)
            return
        if "--to" not in options and (os.path.basename(target) != target or target in ("", ".", "..")):
            raise ClientError(
                f'"{clean(name)}" is no name for a file; say where it goes with --to FILE', _REFUSED_STATUS
            )
        _save(source, name, target, sha256, replaces="--force" in options)
    finally:
        posix.close(source)
    write(1, f"{clean(target)}: {size_text(size_bytes)}, SHA-256 {sha256}\n".encode("utf-8", "backslashreplace"))


def save_backup(frame: list[Value], descriptors: list[int], options: dict[str, str]) -> None:
    """Take the archive of a `backup_open` frame, for the owner's eyes only. Raises ClientError."""
    match frame:
        case ["backup_open", int(), str(sha256), *_] if descriptors:
            source = descriptors.pop(0)
        case _:
            raise ClientError("the daemon opened a backup in a way that this client does not know", 4)
    target = options["--to"]
    try:
        _save(source, target, target, sha256, replaces="--force" in options, mode=0o600)
    finally:
        posix.close(source)


def require_place(target: str, *, replaces: bool, other: str = "--to names another") -> None:
    """Raises ClientError where no file can be put at `target`; `other`: how another place is named."""
    if os.path.isdir(target):
        raise ClientError(f"{target}: it is a folder; name a file in it", _REFUSED_STATUS)
    if not replaces and os.path.lexists(target):
        raise _is_there(target, other)


def require_folder(target: str) -> None:
    """Raises ClientError where nothing can be made at `target`, before something is made for it."""
    folder = os.path.dirname(target) or "."
    if not os.access(folder, os.W_OK | os.X_OK):
        why = "you may not write there" if os.path.isdir(folder) else "there is no such folder"
        raise ClientError(f"{folder}: {why}; name a place for {os.path.basename(target)}", _REFUSED_STATUS)


def _save(source: int, name: str, target: str, sha256: str, *, replaces: bool, mode: int = 0o666) -> None:
    require_place(target, replaces=replaces)
    beside = f"{target}.{os.getpid()}.part"
    try:
        copy = posix.open(beside, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, mode)
        try:
            digest = _copy(source, copy)
            posix.fsync(copy)
        finally:
            posix.close(copy)
        _compare(name, digest, sha256)
        _put(beside, target, replaces=replaces)
        _sync_folder(os.path.dirname(target) or ".")
    except OSError as error:
        raise ClientError(f"{target}: cannot be written: {error.strerror}", _REFUSED_STATUS) from None
    finally:
        if os.path.lexists(beside):
            os.unlink(beside)


def _put(beside: str, target: str, *, replaces: bool) -> None:
    """A link refuses what is there, as a rename does not; some file systems have none."""
    if not replaces:
        try:
            os.link(beside, target)
        except FileExistsError:
            raise _is_there(target) from None
        except OSError:
            if os.path.lexists(target):
                raise _is_there(target) from None
        else:
            return
    os.rename(beside, target)


def _sync_folder(folder: str) -> None:
    """What was renamed into it is there after a power cut, too."""
    handle = posix.open(folder, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        posix.fsync(handle)
    finally:
        posix.close(handle)


def _is_there(target: str, other: str = "--to names another") -> ClientError:
    return ClientError(f"{target}: it is there already; --force replaces it, {other}", _REFUSED_STATUS)


def _copy(source: int, target: int) -> str:
    """All of `source`; its SHA-256."""
    digest = hashlib.sha256()
    while part := posix.read(source, _CHUNK_BYTES):
        digest.update(part)
        if target == 1:
            write(1, part)
            continue
        left = memoryview(part)
        while left:
            left = left[posix.write(target, left) :]
    return digest.hexdigest()


def _compare(name: str, found: str, recorded: str) -> None:
    if found != recorded:
        raise ClientError(
            f"{clean(name)}: its SHA-256 is {found}, on record is {recorded}: it was changed where it is kept",
            _REFUSED_STATUS,
        )
