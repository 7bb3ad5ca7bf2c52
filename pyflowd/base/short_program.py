"""A short program that the daemon runs for itself: a gate's command, one that knows secrets. In a thread of the pool.

It ends in time, with all that it has started in its session; what it says is bounded, and whoever else holds its pipes
is not waited for. It knows nothing of what the program is for.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

from pyflowd.base.pool import Cancel
from pyflowd.clock import US, Clock

_ERRORS_KEPT_BYTES = 4096
_PIECE_BYTES = 1 << 20
"""What a pipe holds at most, unless root has raised it: one read empties it."""


class Said:
    """What came of a program."""

    def __init__(self) -> None:
        self.printed = bytearray()
        """Of standard output; at most a piece too many."""
        self.errors = bytearray()
        """The end of standard error."""
        self.exit_status: int | None = None
        """As `subprocess` has it; None: it did not end by itself."""


def run(
    argv: Sequence[str],
    env: Mapping[str, str],
    cancel: Cancel,
    clock: Clock,
    timeout_s: float,
    printed_max_bytes: int | None = None,
) -> Said:
    """Run until it has ended, has printed too much, is not wanted or is too late; then nothing of it is left.

    `printed_max_bytes` None: what it prints goes with its errors. Raises OSError, ValueError where it cannot start.
    """
    apart = printed_max_bytes is not None
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE if apart else subprocess.STDOUT,
        cwd="/", env=dict(env), start_new_session=True,
    )  # fmt: skip
    said = Said()
    pipes = [(pipe, into) for pipe, into in _pipes(process, said, apart=apart)]
    ended = False
    try:
        until_us = clock.mono_us() + round(timeout_s * US)
        ended = _listen(process.pid, pipes, said, printed_max_bytes, cancel, clock, until_us)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it is not reaped yet: the number is its own
        exit_status = process.wait()
        for pipe, _ in pipes:
            pipe.close()
    if ended:
        said.exit_status = exit_status
    return said


def last_line(errors: bytes | bytearray) -> str:
    """The last line of what a program said."""
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""


def _pipes(process: subprocess.Popen[bytes], said: Said, *, apart: bool) -> list[tuple[IO[bytes], bytearray]]:
    assert process.stdout is not None
    if not apart:
        return [(process.stdout, said.errors)]
    assert process.stderr is not None
    return [(process.stdout, said.printed), (process.stderr, said.errors)]


def _listen(
    pid: int,
    pipes: list[tuple[IO[bytes], bytearray]],
    said: Said,
    printed_max_bytes: int | None,
    cancel: Cancel,
    clock: Clock,
    until_us: int,
) -> bool:
    """Whether it has ended."""
    wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    end = os.pidfd_open(pid)
    forget = cancel.on_cancel(lambda: os.eventfd_write(wake, 1))
    ended = False
    try:
        with selectors.DefaultSelector() as selector:
            for pipe, _ in pipes:
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            selector.register(end, selectors.EVENT_READ)
            while not (ended or cancel.is_set() or len(said.printed) > (printed_max_bytes or 0)):
                ready = {key.fd for key, _ in selector.select(max(0, until_us - clock.mono_us()) / US)}
                if not ready or clock.mono_us() > until_us:
                    break
                ended = end in ready
                for pipe, into in pipes:
                    if (ended or pipe.fileno() in ready) and not _take(pipe.fileno(), into) and not ended:
                        selector.unregister(pipe)
                del said.errors[:-_ERRORS_KEPT_BYTES]
    finally:
        forget()
        os.close(end)
        os.close(wake)
    return ended


def _take(descriptor: int, into: bytearray) -> bool:
    """Add what is there, at most one pipe full; False at its end."""
    try:
        piece = os.read(descriptor, _PIECE_BYTES)
    except BlockingIOError:
        return True
    into += piece
    return bool(piece)
