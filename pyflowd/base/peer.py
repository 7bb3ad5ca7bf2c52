"""Who is at the other end of a Unix socket, told by the kernel at the moment of connect, and what they may do."""

from __future__ import annotations

import ctypes
import grp
import os
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from pyflowd.base import names
from pyflowd.protocol.words import Level

SO_PEERGROUPS = 59
"""From asm-generic/socket.h; Python does not name it."""
_FEW = 1024
"""Most bytes that Python's getsockopt takes: 256 groups."""
_MOST = 262_144
"""65,536 groups, the kernel's own limit."""
WEB_FRONT = "pyflow-web"
"""The account of the web front: it has no rights but those of the tokens that it carries."""
_DYNAMIC_UIDS = range(61_184, 65_520)
"""That systemd gives to services with DynamicUser (systemd.exec(5)); such a service is nobody's account."""
_DYNAMIC_NAMES = "/run/systemd/dynamic-uid"
"""Where it says which name has which of them; there need not be a module that tells the C library."""
_NOBODY = 65_534
"""The kernel's overflow uid."""


class Peer(Struct, frozen=True, kw_only=True):
    uid: int
    gid: int
    pid: int
    level: Level = Level.NONE
    groups: frozenset[int] = frozenset()
    """All of them, the supplementary ones too."""
    carrier: int | None = None
    """User id of the program that speaks for it, by the kernel; None: it speaks for itself."""
    token: int = 0
    """The number of the token that it speaks with; 0 with a carrier: for nobody."""
    cap: Level = Level.ADMIN
    """The most that it may do to anything, whatever its groups are; of a token."""

    @property
    def is_nobody(self) -> bool:
        return self.carrier is not None and not self.token

    @property
    def group_names(self) -> list[str]:
        """Names of its groups; a group without one is left out."""
        return [group.gr_name for gid in sorted(self.groups) if (group := names.group_of_gid(gid)) is not None]

    @property
    def name(self) -> str:
        """The account's name, else the number; for the record of who asked."""
        account = names.account_of_uid(self.uid)
        return str(self.uid) if account is None else account.pw_name


class Roles(Struct, frozen=True, kw_only=True):
    """Which accounts have which level. Group names are resolved once; one that does not exist gives nobody anything."""

    admins: frozenset[int]
    """User ids."""
    administrators: frozenset[int] = frozenset()
    """Group ids."""
    operators: frozenset[int]
    """Group ids."""
    readers: frozenset[int]
    """Group ids."""

    def level(self, uid: int, groups: frozenset[int]) -> Level:
        if uid in self.admins:
            return Level.ADMIN
        if _carries_only(uid):
            return Level.NONE
        if groups & self.administrators:
            return Level.ADMIN
        if groups & self.operators:
            return Level.OPERATE
        return Level.READ if groups & self.readers else Level.NONE


def roles(own_uid: int, groups: Mapping[Level, Sequence[str]]) -> Roles:
    """Root and the daemon's own user are admin, and so are members of the groups of a level what that level says."""
    ids = {level: _ids(map(names.group_named.fresh, of_level)) for level, of_level in groups.items()}
    none: frozenset[int] = frozenset()
    return Roles(
        admins=frozenset({0, own_uid}), administrators=ids.get(Level.ADMIN, none),
        operators=ids.get(Level.OPERATE, none), readers=ids.get(Level.READ, none),
    )  # fmt: skip


def group_ids(group_names: Sequence[str]) -> frozenset[int]:
    """Those of the groups that exist, or did within the last minute."""
    return _ids(map(names.group_named, group_names))


def _ids(groups: Iterable[grp.struct_group | None]) -> frozenset[int]:
    return frozenset(group.gr_gid for group in groups if group is not None)


def identify(connection: socket.socket, known: Roles) -> Peer:
    """The peer of a connected Unix socket, with its level. Any doubt about its groups gives no group rights."""
    pid, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid not in known.admins and _carries_only(uid):  # nor do groups that a workflow names give it any
        return Peer(uid=uid, gid=gid, pid=pid)
    groups = frozenset({gid, *_supplementary(connection)})
    return Peer(uid=uid, gid=gid, pid=pid, level=known.level(uid, groups), groups=groups)


def nobody(kernel: Peer) -> Peer:
    """Whoever has shown nothing to the program at the other end."""
    return Peer(uid=_NOBODY, gid=_NOBODY, pid=kernel.pid, carrier=kernel.uid)


def _carries_only(uid: int) -> bool:
    """Whether it is a service that may speak with the tokens of others, and has no rights itself."""
    front = names.account_named(WEB_FRONT)
    return uid in _DYNAMIC_UIDS or (front is not None and uid == front.pw_uid)


def is_web_front(uid: int) -> bool:
    """Whether it is the web front's own account, which another service's dynamic one is not."""
    try:
        return os.readlink(f"{_DYNAMIC_NAMES}/direct:{uid}") == WEB_FRONT
    except OSError:
        account = names.account_of_uid.fresh(uid)
        return account is not None and account.pw_name == WEB_FRONT


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
