"""Make an archive of files and folders: tar (plain, gz, bz2, xz, zst) or zip, by the name's end; whole or not at all.

Links are stored as links. What cannot be stored (a socket, in a zip also a link) is an error, not left out in silence.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shutil
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

from pyflowd.task import atomic
from pyflowd.task.operation import Arguments, Failed
from pyflowd.task.selection import Entry, select, walk
from pyflowd.task.transfer import make_parents

_TAR_SUFFIXES = {
    ".tar": "", ".tar.gz": "gz", ".tgz": "gz", ".tar.bz2": "bz2", ".tbz2": "bz2", ".tar.xz": "xz", ".txz": "xz",
    ".tar.zst": "zst", ".tzst": "zst",
}  # fmt: skip


def format_of(path: str) -> str:
    """`zip`, or the compression of a tar (may be empty: none). Raises Failed."""
    lowered = path.lower()
    if lowered.endswith(".zip"):
        return "zip"
    for suffix, compression in _TAR_SUFFIXES.items():
        if lowered.endswith(suffix):
            return compression
    raise Failed(f"{path}: the name must end with one of .zip {' '.join(_TAR_SUFFIXES)}")


def zstd() -> str:
    """The program; Python has no module for it yet. Raises Failed."""
    program = shutil.which("zstd")
    if program is None:
        raise Failed("there is no program zstd on this host: install it, or use .tar.xz or .tar.gz")
    return program


def archive(arguments: Arguments) -> dict[str, Any]:
    to = arguments.path("to")
    form = format_of(to)
    make_parents(to, arguments)
    members = _members(arguments)
    real = os.path.realpath(to)
    for member in members:
        _check_member(member, form)
        if os.path.realpath(member.path) == real:
            raise Failed(f"{to} would contain itself: put it elsewhere, or exclude it")
    digest = _Digest()

    def fill(handle: int) -> None:
        _PACKERS.get(form, _pack_tar)(handle, members, form)
        os.lseek(handle, 0, os.SEEK_SET)
        digest.read(handle)

    atomic.place_file(to, fill, mode=arguments.mode(), overwrite=arguments.flag("overwrite", default=True))
    count = sum(not stat.S_ISDIR(member.status.st_mode) for member in members)
    return {"path": to, "count": count, "bytes": digest.size, "sha256": digest.hex()}


class _Digest:
    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    def read(self, handle: int) -> None:
        while chunk := os.read(handle, atomic.CHUNK_BYTES):
            self._hash.update(chunk)
            self.size += len(chunk)

    def hex(self) -> str:
        return self._hash.hexdigest()


def _members(arguments: Arguments) -> list[Entry]:
    """What goes in, each with the name that it gets. Raises Failed where two get the same."""
    limit = arguments.max_files
    root = arguments.path("root") if "root" in arguments else None
    exclude = arguments.paths("exclude") if "exclude" in arguments else []
    members: dict[str, Entry] = {}
    for found in select(arguments, "archive", required=True):
        name = found.name if root is None else os.path.relpath(found.path, root)
        if name.startswith("../") or name in ("..", "."):
            raise Failed(f"{found.path} does not lie below {root or 'a folder with a name'}")
        inside = walk(found.path, limit) if found.is_folder else []
        below = (Entry(each.path, os.path.join(name, each.name), each.status) for each in inside)
        for member in (Entry(found.path, name, found.status), *below):
            if _is_excluded(member.name, exclude):
                continue
            other = members.setdefault(member.name, member)
            if os.path.normpath(other.path) != os.path.normpath(member.path):
                raise Failed(f"{other.path} and {member.path} would both be {member.name} (root: tells them apart)")
        if len(members) > limit:
            raise Failed(f"more than {limit} files: raise max_files")
    return [members[name] for name in sorted(members)]


def _is_excluded(name: str, patterns: Iterable[str]) -> bool:
    """By its whole name, that of a folder that it lies in, or the last component of either."""
    parts = name.split("/")
    names = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    return any(fnmatch.fnmatchcase(each, pattern) for pattern in patterns for each in (*names, *parts))


def _check_member(member: Entry, form: str) -> None:
    kind = stat.S_IFMT(member.status.st_mode)
    if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        raise Failed(f"{member.path} is a {atomic.kind_of(member.status)}, which no archive can hold: exclude it")
    if form == "zip" and kind == stat.S_IFLNK:
        raise Failed(f"{member.path} is a symbolic link, which a zip cannot hold: exclude it, or make a .tar.gz")


# ---- Formats --------------------------------------------------------------------------------------------------------


def _pack_tar(handle: int, members: list[Entry], compression: str) -> None:
    with (
        os.fdopen(os.dup(handle), "wb") as file,
        tarfile.open(fileobj=file, mode=f"w:{compression}", format=tarfile.PAX_FORMAT) as tar,  # type: ignore[call-overload]  # the mode is made of a checked suffix
    ):
        for member in members:
            tar.add(member.path, member.name, recursive=False)


def _pack_zst(handle: int, members: list[Entry], form: str) -> None:
    with subprocess.Popen([zstd(), "-q", "-c"], stdin=subprocess.PIPE, stdout=handle) as process:
        try:
            with tarfile.open(fileobj=process.stdin, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for member in members:
                    tar.add(member.path, member.name, recursive=False)
        except BrokenPipeError:
            pass  # zstd says why
        except BaseException:
            process.kill()
            raise
        process.communicate()
    if process.returncode:
        raise Failed(f"zstd ended with exit status {process.returncode}")


def _pack_zip(handle: int, members: list[Entry], form: str) -> None:
    with (
        os.fdopen(os.dup(handle), "wb") as file,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as pack,
    ):
        for member in members:
            pack.write(member.path, member.name)


_PACKERS: dict[str, Callable[[int, list[Entry], str], None]] = {"zst": _pack_zst, "zip": _pack_zip}
