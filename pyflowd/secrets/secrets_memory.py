"""Keeps what this process holds in memory from others: accounts, dumps, and the programs that it starts."""

from __future__ import annotations

import ctypes
import os

_PR_SET_DUMPABLE = 4
"""From linux/prctl.h."""


def forbid_looks() -> None:
    """No core dump of this process, and no look at its memory or first environment by others of its account, such as
    tasks of a user's own instance; by root still. Unlike a limit on core dumps it holds for dumps that are piped to a
    program, too, and a program that is started does not inherit it. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "prctl")
