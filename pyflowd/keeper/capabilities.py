"""Keeps the keeper's capabilities from its tasks: none is ambient, none can be inherited (capabilities(7)).

A task of root's has by its exec what the bounding set leaves, as root always has; one of anybody else's has nothing.
The bounding set and the secure bits stay as whoever started the keeper wants them.
"""

from __future__ import annotations

import os
import struct

_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
"""From linux/prctl.h."""
_VERSION_3 = 0x20080522
"""From linux/capability.h: two sets of three words of 32 bits."""


def keep_to_self() -> None:
    """For good, and for every child from now on. Raises OSError."""
    import ctypes  # Python has neither prctl nor capset

    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)  # a kernel without it has none
    header = struct.pack("Ii", _VERSION_3, 0)
    sets = ctypes.create_string_buffer(24)
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget: " + os.strerror(ctypes.get_errno()))
    effective, permitted, _, effective_high, permitted_high, _ = struct.unpack("6I", sets.raw)
    wanted = struct.pack("6I", effective, permitted, 0, effective_high, permitted_high, 0)
    if libc.capset(header, wanted):
        raise OSError(ctypes.get_errno(), "capset: " + os.strerror(ctypes.get_errno()))
