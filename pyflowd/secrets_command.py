"""A program that knows secrets: the name is its last argument, what it prints is the value.

It gets no more of the daemon than what it needs to find its own files, and ends in time with all that it started in its
session. Its standard output is shown nowhere; of its errors the last line is.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import selectors
import signal
import subprocess
from typing import IO

from pyflowd.clock import US, Clock
from pyflowd.document import one_line
from pyflowd.pool import Cancel
from pyflowd.secrets_model import SECRET_MAX_BYTES, Secret, SecretError, checked, without_newline

TIMEOUT_S = 10.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ERRORS_KEPT_BYTES = 4096
_PIECE_BYTES = 1 << 20
"""What a pipe holds at most, unless root has raised it: one read empties it."""


def fetch(argv: tuple[str, ...], name: str, cancel: Cancel, clock: Clock, timeout_s: float = TIMEOUT_S) -> Secret:
    """The value that the program prints for `name`. Raises SecretError."""
    what = f"command {argv[0]}"
    try:
        process = subprocess.Popen(
            [*argv, name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
            env=_environment(), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise SecretError(name, f"{what} cannot be started: {error.strerror}") from None
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout as out, process.stderr as err:
        try:
            said = _listen(process.pid, out, err, cancel, clock, clock.mono_us() + round(timeout_s * US))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it is not reaped yet: the number is its own
            exit_status = process.wait()
    if len(said.printed) > SECRET_MAX_BYTES + 1:
        raise SecretError(name, f"{what} printed more than 64 KiB")
    if not said.ended:
        why = "was stopped" if cancel.is_set() else f"did not end within {timeout_s:g} s"
        raise SecretError(name, f"{what} {why}")
    if exit_status:
        raise SecretError(name, f"{what} {_ended(exit_status)}{_last_line(bytes(said.errors))}")
    return checked(name, without_newline(bytes(said.printed)), f"what {what} printed")


def _environment() -> dict[str, str]:
    found = {"PATH": _PATH, "LANG": "C.UTF-8"}
    with contextlib.suppress(KeyError):  # an account without an entry
        account = pwd.getpwuid(os.geteuid())
        found |= {"HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}
    return found


class _Said:
    """What came of a program, so far."""

    def __init__(self) -> None:
        self.printed = bytearray()
        """At most a piece too many."""
        self.errors = bytearray()
        """Their end."""
        self.ended = False


def _listen(pid: int, out: IO[bytes], err: IO[bytes], cancel: Cancel, clock: Clock, until_us: int) -> _Said:
    """Until the program has ended, whoever else has its pipes; or it said too much, is not wanted, or is too late."""
    said = _Said()
    wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    end = os.pidfd_open(pid)
    forget = cancel.on_cancel(lambda: os.eventfd_write(wake, 1))
    try:
        with selectors.DefaultSelector() as selector:
            for pipe in (out, err):
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            selector.register(end, selectors.EVENT_READ)
            while not (said.ended or cancel.is_set() or len(said.printed) > SECRET_MAX_BYTES + 1):
                ready = {key.fd for key, _ in selector.select(max(0, until_us - clock.mono_us()) / US)}
                if not ready:
                    break
                said.ended = end in ready
                for pipe, into in ((out, said.printed), (err, said.errors)):
                    if (said.ended or pipe.fileno() in ready) and not _take(pipe.fileno(), into) and not said.ended:
                        selector.unregister(pipe)
                del said.errors[:-_ERRORS_KEPT_BYTES]
    finally:
        forget()
        os.close(end)
        os.close(wake)
    return said


def _take(descriptor: int, into: bytearray) -> bool:
    """Add what is there, at most one pipe full; False at its end."""
    try:
        piece = os.read(descriptor, _PIECE_BYTES)
    except BlockingIOError:
        return True
    into += piece
    return bool(piece)


def _ended(exit_status: int) -> str:
    return f"ended with exit code {exit_status}" if exit_status > 0 else f"was ended by signal {-exit_status}"


def _last_line(errors: bytes) -> str:
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return f": {one_line(lines[-1])}" if lines else ""
