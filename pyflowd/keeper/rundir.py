"""The keeper's folder: one keeper per folder (lock), its socket, who may connect.

Socket paths are limited to 107 bytes: bind and connect go through the folder's descriptor, so a deep folder works.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat
import struct
import time
from _socket import AF_UNIX, SO_PEERCRED, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, socket

SOCKET = "keeper.sock"
_ASIDE = "keeper.sock.new"
_BACKLOG = 64


class Unusable(Exception):
    """The folder cannot be used: one line with the reason."""


def open_folder(path: str) -> int:
    """The folder's descriptor; made with mode 0700 if missing. It must be ours and closed to others."""
    os.makedirs(path, mode=0o700, exist_ok=True)
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    status = os.fstat(folder)
    if status.st_uid != os.geteuid():
        raise Unusable(f"{path} belongs to uid {status.st_uid}, not to this keeper's {os.geteuid()}")
    if stat.S_IMODE(status.st_mode) & 0o022:
        raise Unusable(f"{path} can be written by others: chmod 700 it")
    return folder


def lock(folder: int) -> int:
    """Hold the folder's lock; -1 if another keeper does.

    Waits up to a second: a child between fork and exec holds the lock for a moment after its keeper's death.
    """
    descriptor = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600, dir_fd=folder)
    give_up = time.monotonic() + 1.0
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno != errno.EWOULDBLOCK or time.monotonic() > give_up or _answers(folder):
                os.close(descriptor)
                return -1
            time.sleep(0.02)
        else:
            return descriptor


def _answers(folder: int) -> bool:
    """Whether a keeper listens in the folder: then there is nothing to wait for."""
    probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
    try:
        probe.connect(f"/proc/self/fd/{folder}/{SOCKET}")
    except OSError:
        return False
    finally:
        probe.close()
    return True


def listen(folder: int, mode: int) -> socket:
    """Bind aside, listen, rename: the name never stands for a socket that nobody listens on. Holds the lock."""
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
    unlink(folder, _ASIDE)
    listener.bind(f"/proc/self/fd/{folder}/{_ASIDE}")
    os.chmod(_ASIDE, mode, dir_fd=folder)
    listener.listen(_BACKLOG)
    os.rename(_ASIDE, SOCKET, src_dir_fd=folder, dst_dir_fd=folder)
    return listener


def unlink(folder: int, name: str = SOCKET) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass


def close_strangers() -> None:
    """Close what whoever started us has left open: a task would inherit it. Before anything of ours is opened."""
    os.closerange(4 if _is_passed() else 3, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def _is_passed() -> bool:
    return os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1"


def from_systemd() -> socket | None:
    """The socket that systemd passed, if it did."""
    if not _is_passed():
        return None
    os.set_inheritable(3, False)
    listener = socket(fileno=3)
    listener.setblocking(False)
    return listener


def accept(listener: socket, allowed_uids: frozenset[int]) -> socket | None:
    """The next connection, if one waits and its peer may connect; others are closed at once."""
    while True:
        try:
            # The C class has no accept without the underscore; the socket module would cost 1 MB.
            descriptor, _ = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return None
        connection = socket(fileno=descriptor)
        credentials = connection.getsockopt(SOL_SOCKET, SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[1] in allowed_uids:
            return connection
        connection.close()
