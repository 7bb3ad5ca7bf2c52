"""The file of a backup: a gzipped tar with a manifest at its end, which names every member with its size and SHA-256.

An archive that was cut short has no manifest, and is refused. Files are read as they are at that moment: of a log that
grows, what was there when it was opened. It knows nothing of what the members mean.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO

import msgspec
from msgspec import Struct

from pyflowd.base.trust import name_of
from pyflowd.errors import Refused

FORMAT = 1
MANIFEST = "MANIFEST.json"
MANIFEST_MAX_BYTES = 256 << 20
_PIECE_BYTES = 1 << 20
_BLOCK_BYTES = 4096
"""Of zeros in a row that are left out of a restored file: logs have holes."""
_LEVEL = 3
"""Of gzip: on logs it saves nearly as much as the highest, in a fifth of the time."""


class Member(Struct, frozen=True, kw_only=True):
    """A file as it is in the archive. Fields are only added, with a default."""

    size_bytes: int
    sha256: str
    owner: str = ""
    """Name of the account that the file belonged to."""
    mode: int = 0


class _Said(Struct, frozen=True, kw_only=True):
    """A manifest's members with the fields that it has: one of another version may have fewer, or more."""

    members: dict[str, dict[str, Any]]

    def agrees(self, name: str, found: dict[str, Member]) -> bool:
        """Whether a member is there and is said to be, and all that is said of it that we know is so."""
        said, there = self.members.get(name), found.get(name)
        if said is None or there is None:
            return False
        return all(getattr(there, field, value) == value for field, value in said.items())


class Manifest(Struct, frozen=True, kw_only=True):
    """What a backup says of itself. Fields are only added, with a default."""

    format: int = FORMAT
    pyflow: str = ""
    """Version of the daemon that made it."""
    schema: int = 0
    """Of its store."""
    made_at: str = ""
    """RFC 3339, UTC: the moment that the store is of."""
    host: str = ""
    instance: str = ""
    """Of its store."""
    with_logs: bool = False
    runs: int = 0
    events: int = 0
    slots: int = 0
    definitions: int = 0
    workflows: int = 0
    members: dict[str, Member] = {}


class Writer:
    """Adds members one by one; `finish` makes it an archive. Raises OSError."""

    def __init__(self, file: BinaryIO) -> None:
        self._packed = gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=_LEVEL)
        self._tar = tarfile.TarFile(fileobj=self._packed, mode="w", format=tarfile.PAX_FORMAT)
        self.members: dict[str, Member] = {}

    def add_file(self, name: str, path: str) -> bool:
        """A plain file; False where there is none (any more)."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return False
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                return False
            head = tarfile.TarInfo(name)
            head.size, head.mtime = status.st_size, round(status.st_mtime)
            head.uname, head.mode = name_of(status.st_uid), stat.S_IMODE(status.st_mode)
            self._add(head, file)
        return True

    def finish(self, manifest: Manifest) -> None:
        data = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        head = tarfile.TarInfo(MANIFEST)
        head.size, head.mode = len(data), 0o600
        self._add(head, io.BytesIO(data))
        self._tar.close()
        self._packed.close()

    def _add(self, head: tarfile.TarInfo, file: BinaryIO) -> None:
        reader = _Hashed(file, head.size)
        self._tar.addfile(head, reader)
        self.members[head.name] = _member(head, reader.digest.hexdigest())


class _Hashed(io.RawIOBase):
    """So many bytes of a file and no more, hashed as they are read; one that was cut meanwhile is filled up."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._left = size_bytes
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._file.read(wanted)
        data += bytes(wanted - len(data))
        self._left -= len(data)
        self.digest.update(data)
        return data


def unpack(file: BinaryIO, place: Callable[[str], str | None]) -> Manifest:
    """Read all of an archive, compare every byte with the manifest, and write members to where `place` says.

    `place` gives the path of a new file for a member's name; None: it is only compared. Raises Refused where the
    archive is not whole, OSError where a file cannot be written.
    """
    found: dict[str, Member] = {}
    manifest, said = None, _Said(members={})
    with _refusing(), gzip.GzipFile(fileobj=file) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
        for head in tar:
            source = tar.extractfile(head) if head.type == tarfile.REGTYPE and not head.issparse() else None
            if source is None or manifest is not None or head.name in found:
                raise Refused(f'"{head.name[:80]}" has no place in a backup')
            if head.name == MANIFEST:
                manifest, said = _manifest(source, head.size)
            else:
                found[head.name] = _member(head, _take(source, head.size, place(head.name)))
        while packed.read(_PIECE_BYTES):
            pass  # to its end, where its checksum is
    if manifest is None:
        raise Refused("it ends before its manifest: it was cut short, or is no backup")
    for name in sorted({*found, *manifest.members}):
        if not said.agrees(name, found):
            raise Refused(f"{name} is not what the manifest says: the file is damaged")
    return msgspec.structs.replace(manifest, members=found)


def _manifest(source: IO[bytes], size_bytes: int) -> tuple[Manifest, _Said]:
    if size_bytes > MANIFEST_MAX_BYTES:
        raise Refused("its manifest is too long")
    data = source.read()
    manifest = msgspec.json.decode(data, type=Manifest)
    if manifest.format != FORMAT:
        raise Refused(f"its format is {manifest.format}, made by pyflowd {manifest.pyflow}; install that version")
    return manifest, msgspec.json.decode(data, type=_Said)


def _member(head: tarfile.TarInfo, sha256: str) -> Member:
    return Member(size_bytes=head.size, sha256=sha256, owner=head.uname, mode=head.mode)


def _take(source: IO[bytes], size_bytes: int, path: str | None) -> str:
    """Its SHA-256."""
    digest = hashlib.sha256()
    if path is None:
        for piece in _pieces(source):
            digest.update(piece)
    else:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb", buffering=0) as target:
            for piece in _pieces(source):
                digest.update(piece)
                _write(target, piece)
            target.truncate(size_bytes)
            os.fsync(handle)
    return digest.hexdigest()


def _pieces(source: IO[bytes]) -> Iterator[bytes]:
    while piece := source.read(_PIECE_BYTES):
        yield piece


def _write(target: io.FileIO, piece: bytes) -> None:
    """Blocks of zeros become holes, as they were in the file that was read."""
    view = memoryview(piece)
    if not any(view[:_BLOCK_BYTES]) and piece.count(0) == len(piece):
        target.seek(len(piece), os.SEEK_CUR)
        return
    while view:
        view = view[target.write(view) :]


@contextmanager
def _refusing() -> Iterator[None]:
    """What makes an archive no backup, in one line."""
    try:
        yield
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, ValueError) as error:
        raise Refused(f"it is no whole backup: {error}") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise Refused(f"it is no whole backup: {error}") from error
