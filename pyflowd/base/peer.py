"""Who is at the other end of a Unix socket, told by the kernel at the moment of connect, and what they may do."""

from __future__ import annotations

import ctypes
import grp
import pwd
import socket
import struct

from msgspec import Struct

from pyflowd.protocol.words import Level

SO_PEERGROUPS = 59
"""From asm-generic/socket.h; Python does not name it."""
_FEW = 1024
"""Most bytes that Python's getsockopt takes: 256 groups."""
_MOST = 262_144
"""65,536 groups, the kernel's own limit."""


class Peer(Struct, frozen=True, kw_only=True):
    uid: int
    gid: int
    pid: int
    level: Level = Level.NONE
    groups: frozenset[int] = frozenset()
    """All of them, the supplementary ones too."""

    @property
    def group_names(self) -> list[str]:
        """Names of its groups; a group without one is left out."""
        names = (_group_name(gid) for gid in sorted(self.groups))
        return [name for name in names if name]

    @property
    def name(self) -> str:
        """The account's name, else the number; for the record of who asked."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)


class Roles(Struct, frozen=True, kw_only=True):
    """Which accounts have which level. Group names are resolved once; one that does not exist gives nobody anything."""

    admins: frozenset[int]
    operators: frozenset[int]
    """Group ids."""
    readers: frozenset[int]
    """Group ids."""

    def level(self, uid: int, groups: frozenset[int]) -> Level:
        if uid in self.admins:
            return Level.ADMIN
        if groups & self.operators:
            return Level.OPERATE
        return Level.READ if groups & self.readers else Level.NONE


def roles(own_uid: int, operate_group: str, read_group: str) -> Roles:
    """Root and the daemon's own user are admin; members of the two groups operate and read."""
    return Roles(admins=frozenset({0, own_uid}), operators=_group_ids(operate_group), readers=_group_ids(read_group))


def _group_ids(name: str) -> frozenset[int]:
    try:
        return frozenset({grp.getgrnam(name).gr_gid})
    except KeyError:
        return frozenset()


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""


def identify(connection: socket.socket, known: Roles) -> Peer:
    """The peer of a connected Unix socket, with its level. Any doubt about its groups gives no group rights."""
    pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    groups = frozenset({gid, *_supplementary(connection)})
    return Peer(uid=uid, gid=gid, pid=pid, level=known.level(uid, groups), groups=groups)


def _supplementary(connection: socket.socket) -> tuple[int, ...]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, _FEW)
    except OSError:
        raw = _many(connection)
    return struct.unpack(f"{len(raw) // 4}I", raw)


def _many(connection: socket.socket) -> bytes:
    """More than 256 groups: the kernel says ERANGE and the size, which only the C call hands on."""
    buffer, size = ctypes.create_string_buffer(_MOST), ctypes.c_uint(_MOST)
    libc = ctypes.CDLL(None)
    failed = libc.getsockopt(connection.fileno(), socket.SOL_SOCKET, SO_PEERGROUPS, buffer, ctypes.byref(size))
    return b"" if failed else buffer.raw[: size.value]
