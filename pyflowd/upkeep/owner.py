"""Root in a folder of somebody else's: whoever owns it can put links there, so root does nothing in it as root.

Looks at one folder; it knows nothing of what is done in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext


@contextmanager
def as_owner_of(folder: str) -> Iterator[None]:
    """For root: act as the account that a folder belongs to. For anybody else nothing changes. Raises OSError."""
    status = os.stat(folder)
    with _acting(status.st_uid, status.st_gid) if os.geteuid() == 0 else nullcontext():
        yield


@contextmanager
def as_caller() -> Iterator[None]:
    """Within `as_owner_of`: again with the rights of whoever called it."""
    with _acting(0, 0) if os.getuid() == 0 else nullcontext():
        yield


@contextmanager
def _acting(uid: int, gid: int) -> Iterator[None]:
    before = os.geteuid(), os.getegid(), os.getgroups()
    _become(uid, gid, [gid])
    try:
        yield
    finally:
        _become(*before)


def _become(uid: int, gid: int, groups: list[int]) -> None:
    """By the effective ids only, so that there is a way back."""
    os.seteuid(0)
    os.setgroups(groups)
    os.setegid(gid)
    os.seteuid(uid)
