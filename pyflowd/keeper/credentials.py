"""Secrets as files: a folder for each attempt that has some, for its user alone, gone when the attempt is over.

Written by the child that becomes the task, while it still may; removed by the keeper, and all that is left of an
earlier one when it starts. On a host with systemd the folder is in memory (/run). It knows nothing of what secrets are.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat

VARIABLE = b"CREDENTIALS_DIRECTORY"
_DEEPEST = 64


class Credentials:
    """The folder `base`, made when it is needed: anybody may pass through it, nobody may list it."""

    def __init__(self, base: str) -> None:
        self.base = base
        self._used = os.path.isdir(base)

    def prepare(self, *, for_others: bool) -> None:
        """Make the folder. `for_others`: another user has to get there, too. Raises OSError."""
        try:
            os.mkdir(self.base, 0o711)
        except FileExistsError:
            status = os.lstat(self.base)
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                raise OSError(errno.EPERM, "not a folder of the keeper's user", self.base) from None
        os.chmod(self.base, 0o711)  # noqa: S103  (whatever the umask was)
        above = os.path.dirname(self.base)
        mode = stat.S_IMODE(os.stat(above).st_mode)
        if for_others and not mode & 0o001 and os.stat(above).st_uid == os.geteuid():
            os.chmod(above, mode | 0o011)  # noqa: S103  (to pass through, not to list)
        self._used = True

    def folder(self, attempt: str) -> str:
        return os.path.join(self.base, attempt)

    def write(self, attempt: str, files: tuple[bytes, ...], user: str) -> None:
        """In the child, before it gives up its rights: names and contents in turn. Raises OSError."""
        entry = pwd.getpwnam(user) if user and os.geteuid() == 0 else None
        os.umask(0o077)
        os.mkdir(self.folder(attempt), 0o700)
        folder = os.open(self.folder(attempt), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            for name, content in zip(files[::2], files[1::2], strict=True):
                handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400, dir_fd=folder)
                try:
                    left = content
                    while left:
                        left = left[os.write(handle, left) :]
                    if entry:
                        os.fchown(handle, entry.pw_uid, entry.pw_gid)
                finally:
                    os.close(handle)
            if entry:
                os.fchown(folder, entry.pw_uid, entry.pw_gid)
            os.fchmod(folder, 0o500)
        finally:
            os.close(folder)

    def remove(self, attempt: str) -> None:
        """Whatever is there of an attempt; safe where there is nothing. What cannot be removed stays."""
        if self._used:
            remove_tree(self.base, attempt)

    def remove_all(self) -> None:
        """What an earlier keeper has left: nothing of it is needed by anyone we know of."""
        if self._used:
            for name in os.listdir(self.base):
                remove_tree(self.base, name)


def is_valid(files: tuple[bytes, ...]) -> bool:
    """Whether all names can be those of files in one folder."""
    return len(files) % 2 == 0 and all(map(is_file_name, files[::2]))


def is_file_name(name: bytes) -> bool:
    return 0 < len(name) <= 255 and not name.startswith(b".") and b"/" not in name and b"\0" not in name


def remove_tree(above: str | int, name: str, depth: int = 0) -> None:
    """A file or a folder with all that is in it; never through a link, as the task's user may have made some, and no
    deeper than anybody needs.
    """
    within = None if isinstance(above, str) else above
    path = os.path.join(above, name) if isinstance(above, str) else name
    try:
        try:
            os.unlink(path, dir_fd=within)
        except (IsADirectoryError, PermissionError):
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
            try:
                os.fchmod(folder, 0o700)
                for each in os.listdir(folder):
                    if depth < _DEEPEST:
                        remove_tree(folder, each, depth + 1)
            finally:
                os.close(folder)
            os.rmdir(path, dir_fd=within)
    except OSError:
        pass
