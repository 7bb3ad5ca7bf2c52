"""The front's half of reading typed texts: hands them to a process with limits, and waits no longer than it may.

One job at a time. A process that hangs or dies is taken away, its text is refused, and the next job gets a new one.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from typing import IO, TypeVar

import msgspec

from pyflowd.errors import Refused, Unavailable
from pyflowd.web.editor.jobs import Answer, Job

TIME_LIMIT_S = 6.0
"""Of one job, its start and what a shell is asked included."""
ANSWER_MAX = 32 << 20
_ENTRY = "import sys; sys.path[:] = sys.argv[1:]; from pyflowd.web.editor.reader import main; main()"
_decoder: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
T = TypeVar("T")


class Checker:
    """One for the front. Safe for threads; `close` ends its process."""

    def __init__(self, time_limit_s: float = TIME_LIMIT_S) -> None:
        self._time_limit_s = time_limit_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, kind: type[T], job: Job) -> T:
        """Raises Refused for a text that cannot be read within the limits, Unavailable where others are read."""
        if not self._lock.acquire(timeout=self._time_limit_s):
            raise Unavailable("other texts are being checked; try again in a moment")
        try:
            answer = self._asked(msgspec.msgpack.encode(job))
        finally:
            self._lock.release()
        if not isinstance(answer, kind):
            raise Unavailable("the check answered something else than it was asked")
        return answer

    def close(self) -> None:
        with self._lock:
            self._end()

    def _asked(self, body: bytes) -> Answer:
        until_s = time.monotonic() + self._time_limit_s
        frame = len(body).to_bytes(4, "big") + body
        process = self._running()
        try:
            self._send(process, frame, until_s)
            size = int.from_bytes(self._receive(process, 4, until_s), "big")
            if size > ANSWER_MAX:
                raise Refused("checking it finds too much")
            return _decoder.decode(self._receive(process, size, until_s))
        except BaseException:
            self._end()
            raise

    def _running(self) -> subprocess.Popen[bytes]:
        process = self._process
        if process is not None and process.stdout is not None:
            # Between jobs it says nothing: what can be read is its end.
            if process.poll() is None and not select.select([process.stdout], [], [], 0)[0]:
                return process
            self._end()
        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
        made = subprocess.Popen(
            [sys.executable, "-I", "-c", _ENTRY, package, *filter(os.path.isabs, sys.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, cwd="/",
            env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}, start_new_session=True,
        )  # fmt: skip
        assert made.stdin is not None
        os.set_blocking(made.stdin.fileno(), False)
        self._process = made
        return made

    def _send(self, process: subprocess.Popen[bytes], data: bytes, until_s: float) -> None:
        assert process.stdin is not None
        rest = memoryview(data)
        while rest:
            self._wait([], [process.stdin], until_s)
            try:
                rest = rest[os.write(process.stdin.fileno(), rest) :]
            except BlockingIOError:
                continue
            except OSError:
                raise self._died(process) from None

    def _receive(self, process: subprocess.Popen[bytes], size: int, until_s: float) -> bytes:
        assert process.stdout is not None
        found = bytearray()
        while len(found) < size:
            self._wait([process.stdout], [], until_s)
            piece = os.read(process.stdout.fileno(), min(size - len(found), 1 << 20))
            if not piece:
                raise self._died(process)
            found += piece
        return bytes(found)

    def _wait(self, readable: list[IO[bytes]], writable: list[IO[bytes]], until_s: float) -> None:
        left_s = until_s - time.monotonic()
        if left_s <= 0 or not any(select.select(readable, writable, [], left_s)):
            raise Refused(f"checking it takes more than {self._time_limit_s:g} s: take the file apart")

    def _died(self, process: subprocess.Popen[bytes]) -> Refused:
        status = process.wait()
        if status == -signal.SIGPROF:
            return Refused("checking it takes more than 3 s of processor time: take the file apart")
        return Refused(f"it ended the process that checks texts (status {status}): take the file apart")

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended, and nothing of it is left
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
