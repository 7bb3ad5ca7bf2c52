"""What systemd is told, and what it hands over: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3)."""

from __future__ import annotations

import os
import socket

_FIRST_DESCRIPTOR = 3


def notify(state: str) -> None:
    """Tell the service manager; nothing happens where there is none."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect(address)
            sock.sendall(state.encode())
        except OSError:
            pass  # the manager is gone or restarting; it asks again by other ways


def is_listening() -> bool:
    """Whether a service manager wants to be told."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def watchdog_s() -> float:
    """After so many seconds of silence the service manager ends us; 0: never."""
    if not is_listening() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return int(os.environ.get("WATCHDOG_USEC", "0")) / 1_000_000
    except ValueError:
        return 0.0


def listeners() -> socket.socket | None:
    """The control socket, if systemd has opened it for us."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or int(os.environ.get("LISTEN_FDS", "0")) < 1:
        return None
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    os.set_inheritable(_FIRST_DESCRIPTOR, False)
    return socket.socket(fileno=_FIRST_DESCRIPTOR)
