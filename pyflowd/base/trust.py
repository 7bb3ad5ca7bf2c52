"""Whose word a file is: whether anybody but root and one account could have written it, or put it where it lies.

The rule of OpenSSH's StrictModes: a file, its folder, and each folder above belong to root or to that account, and
group and others may not write to them. A folder above may be sticky, as /tmp is: what lies in it can be replaced by its
owner only. Looks at the file system; it knows nothing of what files are for.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from pyflowd.base import names

_MOST_LINKS = 40
"""As many as the kernel follows."""


class Fault(NamedTuple):
    """What is wrong, with the path, and the remedy; one line each."""

    message: str
    fix: str


def of_file(path: str, status: os.stat_result, owners: frozenset[int] | None) -> Fault | None:
    """What is wrong with an open file by itself. `owners`: uids that it may belong to; None: any."""
    if owners is not None and status.st_uid not in owners:
        message = f"{path} belongs to {name_of(status.st_uid)}; only {_names(owners)} may own it"
        return Fault(message, f"chown {name_of(min(owners))} {path}, after you have read it")
    return _writable(path, status)


def of_folder(path: str, own: int) -> Fault | None:
    """What is wrong with a folder, or one above it, for files that are to be the word of root or of the uid `own`.

    Links are followed; where they lie is looked at, too. None too where it is not there, or cannot be looked at: what
    opens a file in it says so. `path` is absolute.
    """
    try:
        return _walk(path, own)
    except OSError:
        return None


def _walk(path: str, own: int) -> Fault | None:
    here, links = "/", 0
    rest = _parts(path)
    while rest:
        if fault := _of_one(here, os.lstat(here), own, sticky=True):
            return fault
        part = rest.pop()
        if part == "..":
            here = os.path.dirname(here)
            continue
        next_one = os.path.join(here, part)
        status = os.lstat(next_one)
        if not stat.S_ISLNK(status.st_mode):
            here = next_one
            continue
        links += 1
        if links > _MOST_LINKS:
            return Fault(f"{path} leads through too many links", "write the path without them")
        if status.st_uid not in (0, own):
            message = f"{next_one}, a link on the way, belongs to {name_of(status.st_uid)}"
            return Fault(message, "write the path without it")
        target = os.readlink(next_one)
        here = "/" if target.startswith("/") else here
        rest += _parts(target)
    return _of_one(here, os.lstat(here), own, sticky=False)


def _parts(path: str) -> list[str]:
    """The names of a path, the last first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _of_one(path: str, status: os.stat_result, own: int, *, sticky: bool) -> Fault | None:
    if status.st_uid not in (0, own):
        message = f"the folder {path} belongs to {name_of(status.st_uid)}, who could put anything there"
        return Fault(message, f"chown {name_of(own)} {path}, or keep such files elsewhere")
    if sticky and status.st_mode & stat.S_ISVTX:
        return None
    return _writable(path, status, "the folder ")


def _writable(path: str, status: os.stat_result, what: str = "") -> Fault | None:
    mode = stat.S_IMODE(status.st_mode)
    if not mode & 0o022:
        return None
    by_all = mode & 0o002
    who = "everybody" if by_all else f"its group {_group(status.st_gid)}"
    even = "" if by_all else ", even a group of one"
    digits = f"{mode & 0o7777:04o}"
    fix = f"chmod {'go-w' if by_all else 'g-w'} {path}; umask 022 makes new ones so"
    return Fault(f"{what}{path} can be written by {who} (mode {digits}){even}", fix)


def name_of(uid: int) -> str:
    """The account's name, else its number."""
    account = names.account_of_uid(uid)
    return f"uid {uid}" if account is None else account.pw_name


def _names(uids: frozenset[int]) -> str:
    return " or ".join(name_of(uid) for uid in sorted(uids))


def _group(gid: int) -> str:
    group = names.group_of_gid(gid)
    return str(gid) if group is None else group.gr_name
