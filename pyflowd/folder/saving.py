"""Writes one file of the workflows folder for a client: whole or not at all, never over what somebody else wrote.

The new text is written beside, synced, and exchanged with the old one in one step; what came out by that is looked at,
and put back where it is not what the client had read. No link is followed, no file of another account is replaced.
It knows nothing of what the text says, and of who may ask. It may wait for the disk: not for the loop's thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator

from msgspec import Struct

from pyflowd.base import trust
from pyflowd.base.filenames import is_definition_name, split_name
from pyflowd.errors import Refused, Unavailable
from pyflowd.language.document import MAX_BYTES, quote
from pyflowd.model.states import is_name

NEW_MODE = 0o640
"""Of a file that was not there; another keeps its own."""
_EXCHANGE, _NOREPLACE = 2, 1  # RENAME_EXCHANGE, RENAME_NOREPLACE of renameat2(2)
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL)
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)


class There(Struct, frozen=True, kw_only=True):
    """What is there under a name. `text` None: nothing. `fault`: why it is not to be replaced."""

    text: bytes | None = None
    mode: int = NEW_MODE
    fault: str = ""

    @property
    def digest(self) -> str:
        return "" if self.text is None else digest_of(self.text)


def digest_of(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def check_name(file: str) -> None:
    """Raises Refused for what is no plain name of a definition: it never becomes a path."""
    stem, _ = split_name(file)
    if not is_definition_name(file) or not is_name(stem):
        how = "letters, digits, _ . - only, 63 at most, and .yaml, .yml or .json at the end"
        raise Refused(f"{quote(file[:80])} cannot be the name of a file of the workflows folder: {how}")


def look(folder: str, file: str) -> There:
    """What is in `folder` under that name. Raises Refused where nothing can be looked at or written."""
    check_name(file)
    with _opened(folder) as here:
        return _look(here, folder, file)


def write(folder: str, file: str, text: bytes, base: str) -> None:
    """Put `text` in the place of the text whose digest is `base`; empty: where there is none. Raises Refused where
    another one is there, or it cannot be written: then all is as it was.
    """
    check_name(file)
    with _opened(folder) as here:
        there = _look(here, folder, file)
        if there.fault:
            raise Refused(there.fault)
        if why := conflict(file, there, base):
            raise Refused(why)
        aside = f".{file}.{secrets.token_hex(6)}.tmp"
        try:
            _write_beside(here, aside, text, there.mode)
            _put(here, folder, file, aside, base)
            os.fsync(here)
        except OSError as error:
            if error.errno in _FULL:
                raise Unavailable(f"{folder}: no space left on the device; {file} is as it was: free some") from error
            raise _refused(folder, error, f"{file} is as it was") from error
        finally:
            with contextlib.suppress(OSError):
                os.unlink(aside, dir_fd=here)


@contextlib.contextmanager
def _opened(folder: str) -> Iterator[int]:
    try:
        here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _refused(folder, error, "it cannot be opened") from error
    try:
        yield here
    finally:
        os.close(here)


def _look(here: int, folder: str, file: str) -> There:
    fault = trust.of_folder(folder, os.geteuid())
    if fault is not None:
        raise Refused(f"nothing in {folder} is read: {fault.message}; {fault.fix}")
    try:
        descriptor = os.open(file, _READ_FLAGS, dir_fd=here)
    except FileNotFoundError:
        return There()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return There(fault=f"{file} is a link: edit the file that it leads to")
        return There(fault=f"{file} cannot be read: {error.strerror}")
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return There(fault=f"{file} is no regular file")
        if status.st_size > MAX_BYTES:
            return There(fault=f"{file} has {status.st_size} bytes; at most {MAX_BYTES} are read")
        text = _read_all(descriptor)
    finally:
        os.close(descriptor)
    return There(text=text, mode=stat.S_IMODE(status.st_mode), fault=_fault(folder, file, status))


def _fault(folder: str, file: str, status: os.stat_result) -> str:
    """Why a file is not to be replaced by one of ours; empty: it may be."""
    own = os.geteuid()
    if status.st_uid != own:
        was, would = trust.name_of(status.st_uid), trust.name_of(own)
        effect = f"saved from here it would belong to {would}, who decides as whom its tasks run"
        return f"{file} belongs to {was}; {effect}: chown {would} {os.path.join(folder, file)}, if that is meant"
    if status.st_nlink > 1:
        return f"{file} has another name (a hard link), which would keep the old text: copy it first"
    fault = trust.of_file(os.path.join(folder, file), status, frozenset({own}))
    return "" if fault is None else f"{fault.message}; {fault.fix}"


def _read_all(descriptor: int) -> bytes:
    data = b""
    while len(data) <= MAX_BYTES and (part := os.read(descriptor, 1 << 20)):
        data += part
    return data


def conflict(file: str, there: There, base: str) -> str:
    """Why a text that was made from the one with the digest `base` is not to replace what is there; empty: it may."""
    if there.digest == base:
        return ""
    if there.text is None:
        return f"{file} is gone since it was read; save it as a new file, if it is to be there again"
    if not base:
        return f"{file} is there already; open it to change it, or choose another name"
    return f"{file} has been changed since it was read (SHA-256 {there.digest[:12]}); look at it again first"


def _write_beside(here: int, aside: str, text: bytes, mode: int) -> None:
    descriptor = os.open(aside, _WRITE_FLAGS, 0o600, dir_fd=here)
    try:
        left = memoryview(text)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _put(here: int, folder: str, file: str, aside: str, base: str) -> None:
    """The text that was written aside into its place; the old one is aside then. Raises Refused, OSError."""
    if not base:
        try:
            _rename(here, aside, file, _NOREPLACE)
        except FileExistsError:
            raise Refused(f"{file} has come to be meanwhile; look at it first") from None
        return
    try:
        exchanged = _rename(here, aside, file, _EXCHANGE)
    except FileNotFoundError:
        raise Refused(f"{file} is gone since it was read; save it as a new file, if it is to be there again") from None
    if not exchanged:
        return
    old = _look(here, folder, aside)
    if old.fault or old.digest != base:  # it was changed after it had been looked at
        _rename(here, aside, file, _EXCHANGE)
        raise Refused(f"{file} has been changed while it was saved, and is as somebody else wrote it; look at it again")


def _rename(here: int, name: str, target: str, flag: int) -> bool:
    """Whether the kernel and the file system could promise what `flag` says; else the target was looked at before."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # glibc has it since 2.28
    if call is not None:
        if call(here, os.fsencode(name), here, os.fsencode(target), flag) == 0:
            return True
        number = ctypes.get_errno()
        if number not in _UNSUPPORTED:
            raise OSError(number, os.strerror(number), target)
    if flag == _NOREPLACE:
        os.link(name, target, src_dir_fd=here, dst_dir_fd=here, follow_symlinks=False)
    else:
        os.rename(name, target, src_dir_fd=here, dst_dir_fd=here)
    return False


def _refused(folder: str, error: OSError, what: str) -> Refused:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        own = trust.name_of(os.geteuid())
        return Refused(f"{folder}: {error.strerror}; {what}: let {own} write to the folder, or edit the file there")
    return Refused(f"{folder}: {error.strerror}; {what}")
