"""Keeps a process's memory to itself, once it holds secrets. It knows nothing of what they are."""

from __future__ import annotations

_PR_SET_DUMPABLE = 4
"""From linux/prctl.h."""


def close_memory() -> bool:
    """No core dump, whatever handler the host has, and no look by a debugger or at the first environment but root's. An
    exec opens it again. False: the host does not allow it.

    A limit of 0 for core files would not do: tasks would inherit it, and a handler to which cores are piped ignores it.
    Not from the start: this takes the process's own files in /proc from its user, too.
    """
    import ctypes  # Python has no prctl, and most loggers never hold a secret

    return not ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
