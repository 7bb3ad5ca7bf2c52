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


def _save(source: int, name: str, target: str, sha256: str, *, replaces: bool) -> None:
    if os.path.isdir(target):
        raise ClientError(f"{target}: it is a folder; name a file in it", _REFUSED_STATUS)
    if not replaces and os.path.lexists(target):
        raise _is_there(target)
    beside = f"{target}.{os.getpid()}.part"
    try:
        copy = posix.open(beside, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o666)
        try:
            digest = _copy(source, copy)
            posix.fsync(copy)
        finally:
            posix.close(copy)
        _compare(name, digest, sha256)
        _put(beside, target, replaces=replaces)
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


def _is_there(target: str) -> ClientError:
    return ClientError(f"{target}: it is there already; --force replaces it, --to names another", _REFUSED_STATUS)


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
