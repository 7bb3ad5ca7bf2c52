"""Puts back what an administrator writes (settings, calendars, workflows) where it is not there; what is stays.

A file gets its owner again, with one exception: nothing becomes root's word by coming out of an archive, which the
daemon made. What was root's belongs to the daemon's account then, until root has read it.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress

from msgspec import Struct

from pyflowd.errors import Refused
from pyflowd.paths import Paths
from pyflowd.upkeep import members
from pyflowd.upkeep.archive import Manifest, Member
from pyflowd.upkeep.owner import as_caller

MAX_BYTES = 16 << 20
_MODES = 0o755
"""What is kept of a mode: nobody else may write, and nothing is set-user-ID."""


class Config(Struct):
    """Paths of the administrator's files."""

    written: list[str] = []
    """They were not there."""
    unconfirmed: list[str] = []
    """Of these: they were root's, and belong to the daemon's account."""
    kept: list[str] = []
    """There is another one, which was left as it is."""
    ownerless: list[str] = []
    """Not written: their owner is no account of this host."""


def check_sizes(manifest: Manifest) -> None:
    """Raises Refused for a file that no administrator has written."""
    for name, member in _config(manifest):
        if member.size_bytes > MAX_BYTES:
            raise Refused(f"{name} has {member.size_bytes} bytes, more than such a file may have")


def put_config(paths: Paths, work: str, manifest: Manifest, daemon: os.stat_result) -> Config:
    """Called as the daemon's account, as which it reads; it writes as the caller. `daemon`: of the folder of the state.

    Raises OSError.
    """
    umask = os.umask(0o022)
    try:
        return _put(paths, work, manifest, daemon)
    finally:
        os.umask(umask)


def _put(paths: Paths, work: str, manifest: Manifest, daemon: os.stat_result) -> Config:
    done = Config()
    is_root = os.getuid() == 0
    for name, member in sorted(_config(manifest)):
        top, rest = members.checked(name)
        target = members.config_path(paths, top, rest)
        with as_caller():
            there = os.path.lexists(target)
        if there:
            if _digest(target) != member.sha256:
                done.kept.append(target)
            continue
        owner = _owner(member.owner, daemon) if is_root else (-1, -1)
        if owner is None:
            done.ownerless.append(target)
            continue
        with open(os.path.join(work, top, rest), "rb") as source, as_caller():
            handle = _create(target, rest.count("/"))
            with open(handle, "wb") as file:
                shutil.copyfileobj(source, file)
                os.fchown(handle, *owner)
                os.fchmod(handle, member.mode & _MODES)
        done.written.append(target)
        if member.owner == "root" and is_root and owner[0]:
            done.unconfirmed.append(target)
    return done


def _config(manifest: Manifest) -> Iterator[tuple[str, Member]]:
    for name, member in manifest.members.items():
        if name.partition("/")[0] in members.CONFIG:
            yield name, member


def _owner(name: str, daemon: os.stat_result) -> tuple[int, int] | None:
    """Whom a file is given to; None: there is no such account."""
    try:
        account = pwd.getpwnam(name)
    except KeyError:
        return None
    return (account.pw_uid, account.pw_gid) if account.pw_uid else (daemon.st_uid, daemon.st_gid)


def _digest(path: str) -> str:
    """Empty where it is no plain file, or cannot be read."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with open(handle, "rb") as file:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                return hashlib.file_digest(file, "sha256").hexdigest()
    return ""


def _create(path: str, below: int) -> int:
    """A descriptor of a new file. The last `below` folders of its path may be somebody else's: no link of theirs is
    followed.
    """
    *within, name = path.split("/")[-below - 1 :]
    top = path.rsplit("/", below + 1)[0]
    os.makedirs(top, exist_ok=True)
    folder = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in within:
            with suppress(FileExistsError):
                os.mkdir(part, dir_fd=folder)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            above, folder = folder, os.open(part, flags, dir_fd=folder)
            os.close(above)
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    finally:
        os.close(folder)
