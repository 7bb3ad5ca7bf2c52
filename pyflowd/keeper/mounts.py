"""Which folders are on file systems that may hang (network, FUSE, automount), by the kernel's table of mounts.

A path is only compared with the mount points as text: a hint that costs nothing, no guarantee (a symbolic link goes
past it).
"""

from __future__ import annotations

import os
import select

_SLOW = frozenset(
    b"9p afs autofs ceph cifs coda fuse fuseblk gfs2 glusterfs lustre ncpfs nfs nfs4 ocfs2 smb3 smbfs".split()
)


class SlowMounts:
    """The table, read again when the kernel says that it has changed."""

    def __init__(self) -> None:
        self._table = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._table, select.POLLPRI)
        self._points = self._read()

    def _read(self) -> tuple[bytes, ...]:
        os.lseek(self._table, 0, os.SEEK_SET)
        parts = []
        while part := os.read(self._table, 65_536):
            parts.append(part)
        return slow_points(b"".join(parts))

    def may_hang(self, *paths: bytes) -> bool:
        """Whether one of the paths is below such a mount point."""
        if self._poll.poll(0):
            self._points = self._read()
        return any(path == point or path.startswith(point + b"/") for point in self._points for path in paths)


def slow_points(mountinfo: bytes) -> tuple[bytes, ...]:
    """Mount points of slow file systems in the text of /proc/self/mountinfo."""
    points = []
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(b" - ")
        kind = rest.split(b" ")[0]
        if kind in _SLOW or kind.startswith(b"fuse."):
            points.append(fields.split(b" ")[4].decode("unicode_escape").encode("latin-1").rstrip(b"/"))
    return tuple(points)
