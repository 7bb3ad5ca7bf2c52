"""Exit statuses of processes as people read them. Pure text."""

from __future__ import annotations

import signal


def signal_name(number: int) -> str:
    """`SIGKILL`; `signal 40` of one that has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def exit_text(code: int) -> str:
    """The exit code, with the signal where it looks like what a shell makes of one."""
    try:
        return f"exit code {code} (128 + {signal.Signals(code - 128).name})"
    except ValueError:
        return f"exit code {code}"


def status_text(status: int) -> str:
    """Of a child's `returncode`: `exit status 3`, `signal SIGKILL`."""
    if status >= 0:
        return f"exit status {status}"
    name = signal_name(-status)
    return f"signal {name}" if name.startswith("SIG") else name
