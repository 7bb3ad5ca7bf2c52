"""Daemons forked from a process that has loaded the daemon's modules: loading them takes longer than most tests do.

What runs is the same, but for its command line in /proc. A test that is about starting gives `prefix` or variables of
the interpreter to `Instance.start`, and gets a process of its own making.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache

MESSAGE_MAX = 1 << 17


class Forked:
    """A daemon, with what tests use of `subprocess.Popen`."""

    def __init__(self, mother: Mother, pid: int) -> None:
        self._mother = mother
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self._mother.listen(0)
            self.returncode = self._mother.ended.get(self.pid)
        return self.returncode

    def wait(self, timeout: float = 60.0) -> int:
        end = time.monotonic() + timeout
        while (status := self.poll()) is None:
            left = end - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(f"pyflowd {self.pid}", timeout)
            self._mother.listen(left)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Mother:
    """The side of the tests: one for a process of pytest."""

    def __init__(self, repository: str) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._lock = threading.Lock()
        self._started: list[int] = []
        self.ended: dict[int, int] = {}
        """Pid to exit status, negative for a signal."""
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from tests.daemon.preloaded import serve; serve()"],
                stdin=theirs.fileno(),
                cwd="/",
                env={**os.environ, "PYTHONPATH": repository, "PYTHONWARNINGS": "error"},
            )
        atexit.register(self.close)

    def close(self) -> None:
        self._socket.close()
        self._process.wait(10)

    def start(self, argv: Sequence[str], env: Mapping[str, str], log_fd: int) -> Forked:
        message = json.dumps({"argv": list(argv), "env": dict(env)}).encode()
        with self._lock:
            socket.send_fds(self._socket, [message], [log_fd])
            while not self._started:
                self._take()
            pid = self._started.pop()
        return Forked(self, pid)

    def listen(self, timeout_s: float) -> None:
        """Take what has ended, or wait for something to."""
        with self._lock:
            if select.select([self._socket], [], [], min(timeout_s, 0.05))[0]:
                self._take()

    def _take(self) -> None:
        word, pid, status = self._socket.recv(MESSAGE_MAX).decode().split()
        if word == "started":
            self.ended.pop(int(pid), None)  # the number is given again
            self._started.append(int(pid))
        else:
            self.ended[int(pid)] = int(status)


preloaded = cache(Mother)
"""By repository."""


# ---- The process that is forked


def serve() -> None:
    """Fork for each message; tell of each end. Ends when the tests do."""
    import pyflowd.cli
    import pyflowd.daemon  # noqa: F401  what is to be there already

    gc.freeze()
    control = socket.socket(fileno=os.dup(0))
    children: dict[int, int] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd in children:
                pid = children.pop(fd)
                poll.unregister(fd)
                os.close(fd)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                control.send(f"ended {pid} {status}".encode())
                continue
            message, fds, _, _ = socket.recv_fds(control, MESSAGE_MAX, 1)
            if not message:
                return
            pid = os.fork()
            if pid == 0:
                _become(json.loads(message), fds[0])
            os.close(fds[0])
            pidfd = os.pidfd_open(pid)
            children[pidfd] = pid
            poll.register(pidfd, select.POLLIN)
            control.send(f"started {pid} 0".encode())


def _become(asked: dict[str, object], log_fd: int) -> None:
    """pyflowd, as if it had been executed; does not return."""
    from pyflowd.cli import main

    status = 1
    try:
        null = os.open("/dev/null", os.O_RDONLY)
        for fd, target in ((null, 0), (log_fd, 1), (log_fd, 2)):
            os.dup2(fd, target)
        os.closerange(3, 1 << 16)
        os.environ.clear()
        os.environ.update(asked["env"])  # type: ignore[call-overload]
        sys.argv = ["pyflowd", *asked["argv"]]  # type: ignore[misc]
        try:
            status = main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  shown as the interpreter itself shows it
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
