"""Named places where a test may kill the daemon (`PYFLOWD_CRASH=name:n`: at the n-th passing). Off, they do nothing."""

from __future__ import annotations

import os
import signal

CRASHPOINTS = (
    "connected",  # to the keeper; nothing matched yet
    "reconciled",  # every live attempt matched, nothing committed
    "before_commit",
    "after_commit",  # durable, nothing done or said
    "before_send",  # log files are open, the keeper has not been asked
    "after_send",
    "before_reply",
    "after_reply",
    "exit_read",  # the keeper's word of an end is read, not committed
    "acknowledged",  # the keeper has been told that an end is in the record, nobody else
)
OF_SECRETS = (
    "secret_beside",  # the new file of secrets, or of their key, is written beside the old one
    "secret_renamed",  # it is in its place, the event is not yet committed
)
"""Passed only by `pyflowctl secret`."""

_armed: dict[str, int] = {}


def arm(environ: dict[str, str]) -> None:
    """Read the environment once; an unknown name is a fault of the test and raises."""
    name, _, count = environ.get("PYFLOWD_CRASH", "").partition(":")
    if name:
        if name not in (*CRASHPOINTS, *OF_SECRETS):
            raise ValueError(f"no crash point {name}")
        _armed[name] = int(count or 1)


def crashpoint(name: str) -> None:
    if _armed and name in _armed:
        _armed[name] -= 1
        if _armed[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
