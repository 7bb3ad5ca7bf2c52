"""Faults at system calls, by strace: kill, error or delay at the n-th call of a kind that a process makes."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import wait_until

ATTACH_S = 20.0
_CALL = re.compile(r"^(?:\d+ +)?([a-z0-9_]+)\(", re.MULTILINE)

needs_strace = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("strace") is None, reason="only root, with strace, traces a daemon"
)


@contextlib.contextmanager
def traced(pid: int, *options: str) -> Iterator[None]:
    """While it lasts, the one thread of `pid` is under strace with these options."""
    with subprocess.Popen(
        ["strace", "-qqq", *options, "-p", str(pid)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    ) as tracer:  # fmt: skip
        try:
            _wait_attached(pid, tracer)
            yield
        finally:
            tracer.terminate()


def _wait_attached(pid: int, tracer: subprocess.Popen[str]) -> None:
    def attached() -> bool:
        if tracer.poll() is not None:
            assert tracer.stderr is not None
            pytest.skip(f"strace cannot attach here: {tracer.stderr.read().strip()}")
        return f"TracerPid:\t{tracer.pid}\n" in Path(f"/proc/{pid}/status").read_text()

    wait_until(attached, "strace attaches", ATTACH_S)


@contextlib.contextmanager
def injected(pid: int, calls: str, fault: str) -> Iterator[None]:
    """Into these calls of `pid`, the fault: `signal=KILL:when=3`, `error=EIO:when=1`, `delay_enter=200ms`."""
    with traced(pid, "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"):
        yield


@contextlib.contextmanager
def counted(pid: int, calls: tuple[str, ...]) -> Iterator[Counter[str]]:
    """How often each is called meanwhile; known when it is over."""
    found: Counter[str] = Counter()
    with tempfile.NamedTemporaryFile("r") as trace:
        with traced(pid, "-o", trace.name, "-e", f"trace={','.join(calls)}"):
            yield found
        found.update(count_calls(trace.read()))


def count_calls(trace: str) -> Counter[str]:
    """Of what strace wrote."""
    return Counter(_CALL.findall(trace))
