"""Which files a pattern means, and which of them have come, changed and come to rest since they were looked at last.

Only names and status are read: no file is opened, no symlink of a folder is followed, nothing but plain files counts.
It knows nothing of triggers; whoever asks does so in a thread that may hang with a dead mount.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from fnmatch import translate
from typing import NamedTuple

from msgspec import Struct

MAX_FILES = 100_000
"""That match one pattern: more is taken for a mistake, and none of them is looked at."""
MAX_ABSENT = 100_000
"""Files that have gone and are remembered, so that they start nothing when their file system is mounted again."""
CLAIMED = "claimed"
"""The folder beside a file into which it is claimed."""
_TICK_US = 10_000
"""The kernel takes the time of a file from a clock that moves every few milliseconds."""
_GLOB = re.compile(r"[*?\[]")


class State(NamedTuple):
    """What tells one state of a file from another."""

    inode: int
    size_bytes: int
    modified_ns: int

    def is_like(self, other: State) -> bool:
        """The same but for the inode, which some file systems give anew with each mount."""
        return self[1:] == other[1:]


class Found(NamedTuple):
    state: State
    changed_us: int
    """When it was made, written or renamed last: nobody can set this time."""


class Listing(Struct, frozen=True, kw_only=True):
    """What was there. `problem`: why that may not be all; what is missing then is not gone."""

    files: dict[str, Found] = {}
    folders: tuple[str, ...] = ()
    base: tuple[int, int] = (0, 0)
    """Device and inode of the first folder of the pattern."""
    problem: str = ""


class Due(NamedTuple):
    """A state of a file at which it came to rest."""

    path: str
    state: State
    arrived: bool
    """It was not there before, or another file was."""
    changed: bool
    """A file was there before."""


class Look(Struct, frozen=True, kw_only=True):
    """What came of looking once."""

    due: tuple[Due, ...] = ()
    again_us: int | None = None
    """On the boot-time clock: when something may have come to rest."""
    folders: tuple[str, ...] = ()
    problem: str = ""
    before: dict[str, State] | None = None
    """Of the first look: what had been there before the trigger was."""
    forgettable: tuple[str, ...] = ()
    """Of the keys that were asked about: those of states that are no more."""


def key_of(path: str, state: State) -> str:
    """The key of a state of a file in the ledger."""
    return f"{path}|{state.inode}:{state.size_bytes}:{state.modified_ns}"


def from_key(key: str) -> tuple[str, State]:
    path, _, text = key.rpartition("|")
    inode, size, modified = text.split(":")
    return path, State(int(inode), int(size), int(modified))


# ---- Listing --------------------------------------------------------------------------------------------------------


def list_files(pattern: str) -> Listing:
    """Plain files that match `pattern`, an absolute path with globs; names that begin with a dot match only where the
    pattern has it."""
    parts = pattern.split("/")[1:]
    fixed = next((n for n, part in enumerate(parts) if _GLOB.search(part)), len(parts) - 1)
    base = "/" + "/".join(parts[:fixed])
    try:
        status = os.stat(base)
        if not stat.S_ISDIR(status.st_mode):
            return Listing(problem=f"{base} is no folder")
        found = _Walk(parts[fixed:])
        found.walk(base, 0)
    except OSError as error:
        return Listing(problem=f"{error.filename or base}: {error.strerror}")
    return Listing(
        files=found.files,
        folders=tuple(found.folders),
        base=(status.st_dev, status.st_ino),
        problem=found.problem,
    )


class _Walk:
    """From a folder down the parts of a pattern. A folder that goes away meanwhile has no files."""

    def __init__(self, parts: list[str]) -> None:
        self.files: dict[str, Found] = {}
        self.folders: list[str] = []
        self.problem = ""
        self._parts = [_Part(part) for part in parts]

    def walk(self, folder: str, depth: int) -> None:
        self.folders.append(folder)
        part, last = self._parts[depth], depth == len(self._parts) - 1
        for entry in self._entries(folder):
            if not part.matches(entry.name):
                continue
            if last:
                self._take(entry)
            elif entry.is_dir(follow_symlinks=False) and entry.name != CLAIMED:
                self.walk(entry.path, depth + 1)

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                yield from entries
        except (FileNotFoundError, NotADirectoryError):
            if len(self.folders) == 1:
                raise
        except OSError as error:
            if len(self.folders) == 1:
                raise
            self.problem = f"{folder}: {error.strerror}"

    def _take(self, entry: os.DirEntry[str]) -> None:
        try:
            if not entry.is_file(follow_symlinks=False):
                return
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        if not _is_text(entry.path):
            self.problem = f"{entry.path.encode(errors='backslashreplace').decode()}: the name is not UTF-8"
            return
        if len(self.files) >= MAX_FILES:
            raise OSError(0, f"more than {MAX_FILES} files match; take some away", entry.path)
        state = State(status.st_ino, status.st_size, status.st_mtime_ns)
        self.files[entry.path] = Found(state, status.st_ctime_ns // 1000)


class _Part:
    """One part of a pattern."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._pattern = re.compile(translate(text)) if _GLOB.search(text) else None

    def matches(self, name: str) -> bool:
        if self._pattern is None:
            return name == self._text
        return (not name.startswith(".") or self._text.startswith(".")) and bool(self._pattern.match(name))


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


# ---- Coming to rest -------------------------------------------------------------------------------------------------


class Watched:
    """What is known of the files of one pattern, over many looks. Used by one thread at a time."""

    def __init__(
        self,
        pattern: str,
        *,
        stable_us: int,
        since_us: int,
        before: dict[str, State] | None,
        keys: Iterable[str] = (),
        lister: Callable[[str], Listing] = list_files,
    ) -> None:
        """`before`: what had been there before the trigger; None: nobody has looked. `keys`: states that the ledger
        has, the newest of a file last."""
        self._pattern = pattern
        self._stable_us = stable_us
        self._since_us = since_us
        self._first = before is None
        self._known: dict[str, State] = dict(before or {})
        self._known.update(map(from_key, keys))
        self._absent: dict[str, None] = {}
        """Of these: those that have gone, the longest ago first."""
        self._waiting: dict[str, tuple[State, int]] = {}
        """Not yet at rest: since when it is as it is, on the boot-time clock."""
        self._base: tuple[int, int] | None = None
        self._lister = lister

    def look(
        self, now: Callable[[], int], answered: Iterable[tuple[str, State | None]] = (), keys: Iterable[str] = ()
    ) -> Look:
        """`answered`: states that were due and need not be told again, None: the file is as if it had not been there;
        `keys`: which of these states are no more?"""
        for path, state in answered:
            self._waiting.pop(path, None)
            if state is None:
                self._known.pop(path, None)
            else:
                self._known[path] = state
        listing = self._lister(self._pattern)
        now_us = now()
        if listing.base == (0, 0):
            return Look(problem=listing.problem)
        before = self._begin(listing) if self._first else None
        due = self._compare(listing, now_us)
        if not listing.problem:
            self._forget(listing)
        waits = [since_us + self._stable_us for _, since_us in self._waiting.values()]
        return Look(
            due=tuple(sorted(due, key=lambda each: (each.state.modified_ns, each.path))),
            again_us=min((at_us for at_us in waits if at_us > now_us), default=None),
            folders=listing.folders,
            problem=listing.problem,
            before=before,
            forgettable=() if listing.problem else tuple(key for key in keys if self._is_past(key)),
        )

    def _begin(self, listing: Listing) -> dict[str, State]:
        """The first look ever: what was there before the trigger starts nothing."""
        self._first = False
        limit_us = self._since_us - _TICK_US
        before = {path: found.state for path, found in listing.files.items() if found.changed_us <= limit_us}
        self._known.update(before)
        return before

    def _compare(self, listing: Listing, now_us: int) -> list[Due]:
        """The folder may be another one now, or be mounted anew, or the daemon: inodes count only if it is not."""
        remounted = self._base != listing.base
        self._base = listing.base
        due = []
        for path, (state, _) in listing.files.items():
            known = self._known.get(path)
            if known == state or (remounted and known is not None and known.is_like(state)):
                self._known[path] = state
                self._waiting.pop(path, None)
                self._absent.pop(path, None)
                continue
            waiting = self._waiting.get(path)
            if waiting is None or waiting[0] != state:
                self._waiting[path] = state, now_us
            elif now_us - waiting[1] >= self._stable_us:
                was_there = known is not None and path not in self._absent
                other = known is None or not was_there or known.inode != state.inode
                due.append(Due(path, state, arrived=other, changed=was_there))
        return due

    def _forget(self, listing: Listing) -> None:
        files, absent = listing.files, self._absent
        for path in [path for path in self._waiting if path not in files]:
            del self._waiting[path]
        for path in self._known:
            if path not in files:
                absent.setdefault(path)
        while len(absent) > MAX_ABSENT:
            path = next(iter(absent))
            del absent[path]
            self._known.pop(path, None)

    def _is_past(self, key: str) -> bool:
        path, state = from_key(key)
        return path in self._absent or self._known.get(path) != state


# ---- Claiming -------------------------------------------------------------------------------------------------------


def target_of(path: str, number: int = 0) -> str:
    """Where a file goes when it is claimed; `number`: the so-manieth name for it."""
    folder, name = os.path.split(path)
    return os.path.join(folder, CLAIMED, f"{name}.{number}" if number else name)
