"""Crash points: places where a test lets the keeper kill itself, as a power cut would. Nothing without PYFLOW_CRASH."""

from __future__ import annotations

import os
import signal

CRASHPOINTS = (
    "received",
    "intent_written",
    "spawned",
    "started_written",
    "reaped",
    "exit_written",
    "exit_sent",
    "ack_written",
)

_armed, _, _count = os.environ.get("PYFLOW_CRASH", "").partition(":")
_left = int(_count) if _count.isdigit() else 1


def crashpoint(name: str) -> None:
    """SIGKILL this process at the n-th passing of `name`, if PYFLOW_CRASH is `name:n`."""
    global _left
    if name == _armed:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
