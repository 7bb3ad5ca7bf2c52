"""Files and folders that appear whole or not at all: made beside their place, synced, renamed into it.

A symbolic link at the place itself is never followed, and never replaced. What is not in its place when the program
ends, by SIGTERM too, is removed by `sweep`: a name is noted before it is made.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable

from pyflowd.task.operation import Failed
from pyflowd.task.selection import walk

CHUNK_BYTES = 1024 * 1024
_pending: set[str] = set()


def sweep() -> None:
    """Remove what was not put in its place."""
    for path in list(_pending):
        remove(path)
        _pending.discard(path)


def remove(path: str) -> None:
    """A file or a tree, if it is there."""
    try:
        os.unlink(path)
    except IsADirectoryError:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass


def beside(path: str) -> str:
    """A name beside `path` that nobody has, noted for `sweep`."""
    folder, name = os.path.split(path.rstrip("/"))
    made = os.path.join(folder, f".{name[:200]}.pyflow-{secrets.token_hex(6)}")
    _pending.add(made)
    return made


def place_file(
    path: str,
    fill: Callable[[int], object],
    *,
    mode: int | None,
    overwrite: bool,
    times: os.stat_result | None = None,
) -> None:
    """Make the file `path` by `fill(descriptor)`. `mode` None: that of the file it replaces, else by the umask."""
    old = check_place(path, overwrite=overwrite)
    made = beside(path)
    handle = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fill(handle)
        if old is not None:
            _keep_owner(handle, old)
        os.fchmod(handle, mode if mode is not None else stat.S_IMODE(old.st_mode) if old else 0o666 & ~umask())
        if times is not None:
            os.utime(handle, ns=(times.st_atime_ns, times.st_mtime_ns))
        os.fsync(handle)
    finally:
        os.close(handle)
    put(made, path, overwrite=overwrite)
    sync_folder_of(path)


def place_link(path: str, target: str, *, overwrite: bool) -> None:
    check_place(path, overwrite=overwrite)
    made = beside(path)
    os.symlink(target, made)
    put(made, path, overwrite=overwrite)


def put(made: str, path: str, *, overwrite: bool) -> None:
    """Rename into place; without `overwrite` so that nothing that came meanwhile is lost."""
    if overwrite or os.path.isdir(made):  # a folder is renamed over nothing but an empty one
        os.rename(made, path)
    else:
        try:
            os.link(made, path, follow_symlinks=False)
        except FileExistsError:
            raise Failed(f"{path} is there already (overwrite: true replaces it)") from None
        except OSError:  # a file system without hard links
            check_place(path, overwrite=False)
            os.rename(made, path)
        remove(made)
    _pending.discard(made)


def check_place(path: str, *, overwrite: bool) -> os.stat_result | None:
    """What a file would replace; None: nothing. Raises Failed where no file may be put."""
    try:
        old = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(old.st_mode):
        raise Failed(f"{path} is a symbolic link: name the file that it points to")
    if not stat.S_ISREG(old.st_mode):
        raise Failed(f"{path} is a {kind_of(old)}, so no file can be put there")
    if not overwrite:
        raise Failed(f"{path} is there already (overwrite: true replaces it)")
    return old


def place_tree(made: str, path: str, *, overwrite: bool, limit: int) -> None:
    """Put the folder `made` at `path`: at once if nothing is there, else file by file, after all was checked."""
    try:
        old = os.lstat(path)
    except FileNotFoundError:
        put(made, path, overwrite=False)
        sync_folder_of(path)
        return
    if not stat.S_ISDIR(old.st_mode):
        raise Failed(f"{path} is a {kind_of(old)}, so no folder can be put there")
    members = walk(made, limit)
    for member in members:
        _check_member(os.path.join(path, member.name), member.status, overwrite=overwrite)
    for member in members:
        target = os.path.join(path, member.name)
        if not stat.S_ISDIR(member.status.st_mode):
            put(member.path, target, overwrite=overwrite)
            sync_folder_of(target)
        elif not os.path.isdir(target):
            os.mkdir(target, stat.S_IMODE(member.status.st_mode))
    shutil.rmtree(made)
    _pending.discard(made)


def _check_member(path: str, status: os.stat_result, *, overwrite: bool) -> None:
    if not stat.S_ISDIR(status.st_mode):
        check_place(path, overwrite=overwrite)
        return
    try:
        old = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISDIR(old.st_mode):
        raise Failed(f"{path} is a {kind_of(old)}, so no folder can be put there")


def write_whole(handle: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def open_source(path: str, *, follow: bool) -> int:
    """A regular file for reading; a FIFO or a device cannot hang us. Raises Failed, OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW))
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise Failed(f"{path} is a {kind_of(status)}, no regular file")
    return handle


def sync_folder_of(path: str) -> None:
    handle = os.open(os.path.dirname(path.rstrip("/")) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def umask() -> int:
    current = os.umask(0o077)
    os.umask(current)
    return current


def _keep_owner(handle: int, old: os.stat_result) -> None:
    now = os.fstat(handle)
    if (now.st_uid, now.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(handle, old.st_uid, old.st_gid)
        except PermissionError:
            pass  # only root may; the new file is then the task user's, as with any editor


def kind_of(status: os.stat_result) -> str:
    names = {
        stat.S_IFDIR: "folder", stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "FIFO", stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "device", stat.S_IFBLK: "device",
    }  # fmt: skip
    return names.get(stat.S_IFMT(status.st_mode), "regular file")
