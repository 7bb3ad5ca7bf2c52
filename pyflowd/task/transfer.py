"""Copy, move, delete and make folders. A copy keeps permission bits (without setuid) and times; its owner is the task's
user. A link that is named is followed; one that a pattern or a folder brings is copied as a link.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from typing import Any

from pyflowd.task import atomic
from pyflowd.task.operation import Arguments, Failed
from pyflowd.task.selection import Found, select, walk


def copy(arguments: Arguments) -> dict[str, Any]:
    total = Count()
    overwrite, mode = arguments.flag("overwrite", default=True), arguments.mode()
    pairs = _destinations(arguments, "copy")
    for found, target in pairs:
        if found.is_folder:
            total.add_tree(_copy_folder(found.path, target, overwrite=overwrite, limit=arguments.max_files))
        else:
            total.add(_copy_file(found, target, overwrite=overwrite, mode=mode))
    return total.outputs([target for _, target in pairs])


def move(arguments: Arguments) -> dict[str, Any]:
    total = Count()
    overwrite, mode = arguments.flag("overwrite", default=True), arguments.mode()
    pairs = _destinations(arguments, "move")
    for found, target in pairs:
        total.add_found(found, arguments.max_files)
        _move(found, target, overwrite=overwrite, limit=arguments.max_files)
        if mode is not None and stat.S_ISREG(found.status.st_mode):
            os.chmod(target, mode)
        atomic.sync_folder_of(target)
        atomic.sync_folder_of(found.path)
    return total.outputs([target for _, target in pairs])


def delete(arguments: Arguments) -> dict[str, Any]:
    chosen = select(arguments, "delete", required=False)
    total = Count()
    for found in chosen:
        _check_delete(found, recursive=arguments.flag("recursive", default=False))
        total.add_found(found, arguments.max_files)
    for found in chosen:
        if found.is_folder:
            shutil.rmtree(found.path)
        elif os.path.lexists(found.path):  # else it went with a folder that was also chosen
            os.unlink(found.path)
    return total.outputs([found.path for found in chosen])


def mkdir(arguments: Arguments) -> dict[str, Any]:
    paths, mode = arguments.paths("mkdir"), arguments.mode()
    for path in paths:
        try:
            os.makedirs(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise Failed(f"{path} is there already, and is no folder") from None
        if mode is not None:
            os.chmod(path, mode)
        atomic.sync_folder_of(path)
    return {"files": paths, "count": len(paths), **({"path": paths[0]} if len(paths) == 1 else {})}


# ---- Where to -------------------------------------------------------------------------------------------------------


def make_parents(path: str, arguments: Arguments) -> None:
    """The folder in which `path` is to be: made if `parents` says so. Raises Failed where there is none."""
    folder = os.path.dirname(path.rstrip("/")) or "."
    if arguments.flag("parents", default=False):
        os.makedirs(folder, exist_ok=True)
    elif not os.path.isdir(folder):
        raise Failed(f"{folder}: there is no such folder (parents: true makes it)")


def _destinations(arguments: Arguments, key: str) -> list[tuple[Found, str]]:
    """Each source with the path that it gets; all are checked before anything is done."""
    chosen = select(arguments, key, required=True)
    to = arguments.path("to")
    recursive = arguments.flag("recursive", default=key == "move")
    into = to.endswith("/") or os.path.isdir(to) or len(chosen) > 1 or any(found.by_pattern for found in chosen)
    if into:
        make_parents(to.rstrip("/") + "/.", arguments) if not to.endswith("/") else os.makedirs(to, exist_ok=True)
    else:
        make_parents(to, arguments)
    pairs: dict[str, Found] = {}
    for found in chosen:
        target = os.path.join(to, os.path.basename(found.path.rstrip("/"))) if into else to
        if target in pairs:
            raise Failed(f"{pairs[target].path} and {found.path} would both become {target}")
        pairs[target] = found
        _check_pair(found, target, recursive=recursive, overwrite=arguments.flag("overwrite", default=True))
    return [(found, target) for target, found in pairs.items()]


def _check_pair(found: Found, target: str, *, recursive: bool, overwrite: bool) -> None:
    if os.path.exists(target) and os.path.exists(found.path) and os.path.samefile(found.path, target):
        raise Failed(f"{found.path} and {target} are the same file")
    if not found.is_folder:
        atomic.check_place(target, overwrite=overwrite)
        return
    if not recursive:
        raise Failed(f"{found.path} is a folder (recursive: true takes it with all that is in it)")
    inside = os.path.realpath(found.path) + "/"
    if (os.path.realpath(target) + "/").startswith(inside):
        raise Failed(f"{target} lies in {found.path}, so it cannot take it")


# ---- Doing it -------------------------------------------------------------------------------------------------------


def _copy_file(found: Found, target: str, *, overwrite: bool, mode: int | None) -> int:
    if found.is_link and (found.by_pattern or os.path.isdir(found.path)):
        atomic.place_link(target, os.readlink(found.path), overwrite=overwrite)
        return 0
    return copy_contents(found.path, target, overwrite=overwrite, mode=mode, follow=not found.by_pattern)


def copy_contents(source: str, target: str, *, overwrite: bool, mode: int | None, follow: bool) -> int:
    """One regular file; its size."""
    handle = atomic.open_source(source, follow=follow)
    try:
        status = os.fstat(handle)
        bits = mode if mode is not None else status.st_mode & 0o777

        def fill(made: int) -> None:
            while chunk := os.read(handle, atomic.CHUNK_BYTES):
                atomic.write_whole(made, chunk)

        atomic.place_file(target, fill, mode=bits, overwrite=overwrite, times=status)
        return status.st_size
    finally:
        os.close(handle)


def _copy_folder(source: str, target: str, *, overwrite: bool, limit: int) -> tuple[int, int]:
    """A whole tree: copied beside its place, then put there. Number of files and their bytes."""
    members = walk(source, limit)
    made = atomic.beside(target)
    os.mkdir(made, 0o700)
    count = size = 0
    for member in members:
        copied = os.path.join(made, member.name)
        if stat.S_ISDIR(member.status.st_mode):
            os.mkdir(copied, 0o700)
        elif stat.S_ISLNK(member.status.st_mode):
            os.symlink(os.readlink(member.path), copied)
            count += 1
        else:
            size += copy_contents(member.path, copied, overwrite=False, mode=None, follow=False)
            count += 1
    for member in reversed(members):  # a folder that may not be written to gets its mode after it is filled
        if stat.S_ISDIR(member.status.st_mode):
            os.chmod(os.path.join(made, member.name), member.status.st_mode & 0o777)
    os.chmod(made, os.stat(source).st_mode & 0o777)
    atomic.place_tree(made, target, overwrite=overwrite, limit=limit)
    return count, size


def _move(found: Found, target: str, *, overwrite: bool, limit: int) -> None:
    try:
        if found.is_folder and os.path.isdir(target):
            atomic.place_tree(found.path, target, overwrite=overwrite, limit=limit)
        else:
            atomic.put(found.path, target, overwrite=overwrite)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        if found.is_folder:
            _copy_folder(found.path, target, overwrite=overwrite, limit=limit)
            shutil.rmtree(found.path)
            return
        if found.is_link:
            atomic.place_link(target, os.readlink(found.path), overwrite=overwrite)
        else:
            copy_contents(found.path, target, overwrite=overwrite, mode=None, follow=False)
        os.unlink(found.path)


def _check_delete(found: Found, *, recursive: bool) -> None:
    if not found.is_folder:
        return
    if not recursive:
        raise Failed(f"{found.path} is a folder (recursive: true deletes it with all that is in it)")
    real = os.path.realpath(found.path)
    home = os.path.realpath(os.environ.get("HOME") or "/")
    if real in ("/", home, os.path.realpath(".")) or os.path.ismount(found.path):
        what = "a mount point" if os.path.ismount(found.path) else "the home or the working folder of the task"
        raise Failed(f"{found.path} is {what}: name what is to go below it")


class Count:
    """Files and bytes."""

    def __init__(self) -> None:
        self.files = 0
        self.size = 0

    def add(self, size: int) -> None:
        self.files += 1
        self.size += size

    def add_tree(self, counted: tuple[int, int]) -> None:
        self.files += counted[0]
        self.size += counted[1]

    def add_found(self, found: Found, limit: int) -> None:
        if not found.is_folder:
            self.add(found.status.st_size if stat.S_ISREG(found.status.st_mode) else 0)
            return
        for member in walk(found.path, limit):
            if member.status.st_dev != found.status.st_dev:
                raise Failed(f"{member.path} is another file system, mounted below {found.path}")
            if not stat.S_ISDIR(member.status.st_mode):
                self.add(member.status.st_size if stat.S_ISREG(member.status.st_mode) else 0)

    def outputs(self, paths: list[str]) -> dict[str, Any]:
        return {
            "files": paths,
            "count": self.files,
            "bytes": self.size,
            **({"path": paths[0]} if len(paths) == 1 else {}),
        }
