"""Extract an archive, as if it came from an enemy: all of it is judged before anything is written, it is unpacked
beside its place and put there whole. No member leaves the folder, by name or by link; no devices; counts and bytes,
real ones too, are bounded; setuid and the like, owners, and write permission for others are not taken over.
"""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, NamedTuple, cast

from pyflowd.task import atomic
from pyflowd.task.archive import format_of, zstd
from pyflowd.task.operation import MAX_BYTES, Arguments, Failed
from pyflowd.task.transfer import make_parents

_MAX_READ_BYTES = 64 * 1024 * 1024
"""In one go, as for an extended header: more is a bomb."""
_MAX_DEPTH = 100


class Member(NamedTuple):
    """A member of an archive of any format."""

    name: str
    kind: str
    """`file`, `folder`, `link`, `hardlink`, or what it is that cannot be taken."""
    size: int
    mode: int
    modified_s: float
    target: str
    """Of a link, else empty."""
    data: IO[bytes] | None
    """Its contents, to be read before the next member is asked for."""


def extract(arguments: Arguments) -> dict[str, Any]:
    source, to = arguments.path("extract"), arguments.path("to").rstrip("/") or "/"
    form = format_of(source)
    max_bytes = arguments.number("max_bytes", MAX_BYTES)
    make_parents(to, arguments)
    handle = atomic.open_source(source, follow=True)
    try:
        judge = Judge(source, arguments.max_files, max_bytes)
        for member in _members(handle, form, max_bytes):
            judge.see(member)
        judge.end()
        made = atomic.beside(to)
        os.mkdir(made, 0o777)
        count, size = _unpack(handle, form, made, Judge(source, arguments.max_files, max_bytes))
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, RuntimeError, NotImplementedError) as error:
        raise Failed(f"{source}: cannot be read: {error}") from None
    except OSError as error:  # gzip, bz2 and lzma say so of broken data
        if error.errno is None:
            raise Failed(f"{source}: cannot be read: {error}") from None
        raise
    finally:
        os.close(handle)
    atomic.place_tree(made, to, overwrite=arguments.flag("overwrite", default=True), limit=arguments.max_files)
    return {"path": to, "count": count, "bytes": size}


# ---- Judging --------------------------------------------------------------------------------------------------------


class Judge:
    """Sees all members of an archive and raises Failed at the first that may not be unpacked."""

    def __init__(self, source: str, max_files: int, max_bytes: int) -> None:
        self._source = source
        self._max_files, self.max_bytes = max_files, max_bytes
        self._kinds: dict[str, str] = {}
        self._links: dict[str, str] = {}
        self.size = 0

    def see(self, member: Member) -> str:
        """The member's path below the folder."""
        name = self._clean(member)
        if name in self._kinds and not (member.kind == self._kinds[name] == "folder"):
            raise self._refuse(member, "is in it twice")
        if member.kind == "link":
            self._links[name] = self._inside(member, os.path.join(os.path.dirname(name), member.target))
        elif member.kind == "hardlink":
            target = self._inside(member, member.target)
            if self._kinds.get(target) not in ("file", "hardlink"):
                raise self._refuse(member, f"is a hard link to {member.target!r}, which is no file before it")
        elif member.kind not in ("file", "folder"):
            raise self._refuse(member, f"is a {member.kind}")
        self._kinds[name] = member.kind
        self.size += member.size
        if len(self._kinds) > self._max_files:
            raise Failed(f"{self._source}: more than {self._max_files} members: raise max_files if you trust it")
        if self.size > self.max_bytes:
            raise Failed(f"{self._source}: more than {self.max_bytes} bytes unpacked: raise max_bytes if you trust it")
        return name

    def end(self) -> None:
        """What only the whole can show: nothing may lie below, or be reached through, a link or a file."""
        for name in [*self._kinds, *self._links.values()]:
            folder = os.path.dirname(name)
            while folder:
                if self._kinds.get(folder, "folder") != "folder":
                    raise Failed(f"{self._source}: {name!r} leads through {folder!r}, which is no folder")
                folder = os.path.dirname(folder)

    def _clean(self, member: Member) -> str:
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        if member.name.startswith("/") or ".." in parts or "\0" in member.name:
            raise self._refuse(member, "has a name that may lead elsewhere")
        if len(parts) > _MAX_DEPTH or any(len(os.fsencode(part)) > 255 for part in parts):
            raise self._refuse(member, "has a name that is too long")
        if not parts and member.kind != "folder":
            raise self._refuse(member, "has no name")
        return "/".join(parts)

    def _inside(self, member: Member, path: str) -> str:
        normal = os.path.normpath(path)
        if member.target.startswith("/") or normal == ".." or normal.startswith("../") or "\0" in path:
            raise self._refuse(member, f"is a link out of the archive, to {member.target!r}")
        return "" if normal == "." else normal

    def _refuse(self, member: Member, why: str) -> Failed:
        return Failed(f"{self._source}: refused, nothing was unpacked: member {member.name[:200]!r} {why}")


# ---- Unpacking ------------------------------------------------------------------------------------------------------


def _unpack(handle: int, form: str, made: str, judge: Judge) -> tuple[int, int]:
    """Into the empty folder `made`. Each member is judged again: the archive may have changed meanwhile."""
    links: list[tuple[str, str]] = []
    folders: list[tuple[str, int]] = []
    count = 0
    for member in _members(handle, form, judge.max_bytes):
        name = judge.see(member)
        path = os.path.join(made, name)
        if member.kind == "folder":
            os.makedirs(path, exist_ok=True)
            folders.append((path, member.mode))
            continue
        count += 1
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if member.kind == "link":
            links.append((path, member.target))
        elif member.kind == "hardlink":
            os.link(os.path.join(made, os.path.normpath(member.target)), path)
        else:
            _write(path, member)
    judge.end()
    for path, target in links:  # last, so that nothing can have been written through one
        os.symlink(target, path)
    for path, mode in reversed(folders):
        os.chmod(path, mode & 0o755 | 0o700)
    return count, judge.size


def _write(path: str, member: Member) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        left = member.size
        while member.data is not None and (chunk := member.data.read(atomic.CHUNK_BYTES)):
            left -= len(chunk)
            if left < 0:
                raise Failed(f"{member.name!r} is longer than the archive says")
            atomic.write_whole(handle, chunk)
        if left:
            raise Failed(f"{member.name!r} is shorter than the archive says")
        os.fchmod(handle, member.mode & 0o755 | 0o600)
        os.utime(handle, (member.modified_s, member.modified_s))
        os.fsync(handle)
    finally:
        os.close(handle)


# ---- Formats --------------------------------------------------------------------------------------------------------


def _members(handle: int, form: str, max_bytes: int) -> Iterator[Member]:
    os.lseek(handle, 0, os.SEEK_SET)
    if form == "zip":
        yield from _zip_members(handle)
        return
    with _plain(handle, form) as plain:
        # Headers and padding beside the data: 4 KiB a member is plenty.
        stream = cast("IO[bytes]", _Forward(plain, max_bytes + 4096 * 1_000_000))
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for info in tar:
                yield _tar_member(tar, info)


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    kinds = {"file": info.isreg(), "folder": info.isdir(), "link": info.issym(), "hardlink": info.islnk(),
             "FIFO": info.isfifo(), "device": info.isdev()}  # fmt: skip
    kind = next((kind for kind, applies in kinds.items() if applies), "member of an unknown sort")
    return Member(
        name=info.name,
        kind=kind,
        size=info.size if kind == "file" else 0,
        mode=info.mode,
        modified_s=info.mtime,
        target=info.linkname if kind in ("link", "hardlink") else "",
        data=tar.extractfile(info) if kind == "file" else None,
    )


def _zip_members(handle: int) -> Iterator[Member]:
    with os.fdopen(os.dup(handle), "rb") as file, zipfile.ZipFile(file) as pack:
        for info in pack.infolist():
            mode = info.external_attr >> 16
            is_link = stat.S_ISLNK(mode)
            kind = "folder" if info.is_dir() else "link" if is_link else "file"
            yield Member(
                name=info.filename,
                kind=kind,
                size=info.file_size,
                mode=mode & 0o777 or (0o755 if info.is_dir() else 0o644),
                modified_s=_zip_time_s(info),
                target=_zip_target(pack, info) if is_link else "",
                data=pack.open(info) if kind == "file" else None,
            )


def _zip_time_s(info: zipfile.ZipInfo) -> float:
    import time

    try:
        return time.mktime((*info.date_time, 0, 0, -1))
    except (ValueError, OverflowError):
        return 0.0


def _zip_target(pack: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    with pack.open(info) as file:
        return os.fsdecode(file.read(4096))


@contextmanager
def _plain(handle: int, form: str) -> Iterator[IO[bytes]]:
    """The tar itself, uncompressed as it is read."""
    with os.fdopen(os.dup(handle), "rb") as file:
        if form == "gz":
            import gzip

            with gzip.open(file) as plain:
                yield cast("IO[bytes]", plain)
        elif form == "bz2":
            import bz2

            with bz2.open(file) as plain:
                yield cast("IO[bytes]", plain)
        elif form == "xz":
            import lzma

            with lzma.open(file) as plain:
                yield cast("IO[bytes]", plain)
        elif form == "zst":
            with _through_zstd(file) as plain:
                yield plain
        else:
            yield file


@contextmanager
def _through_zstd(file: IO[bytes]) -> Iterator[IO[bytes]]:
    process = subprocess.Popen([zstd(), "-dcq"], stdin=file, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.stdout
        if process.stdout.read(1) == b"" and process.wait():
            raise Failed(f"zstd ended with exit status {process.returncode}")
    finally:
        process.stdout.close()
        process.kill()
        process.wait()


class _Forward:
    """A stream that only goes forward, and not for ever: what a tar bomb would have us read is bounded."""

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._at = 0

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        if size > _MAX_READ_BYTES or self._at + size > self._limit:
            raise Failed("the archive is not plausible: a header of more than 64 MiB, or too much data")
        data = self._stream.read(size)
        self._at += len(data)
        return data

    def seek(self, place: int) -> None:
        if place < self._at:
            raise tarfile.ReadError("not in order")
        while self._at < place:
            if not self.read(min(atomic.CHUNK_BYTES, place - self._at)):
                break
