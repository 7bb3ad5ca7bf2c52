"""Which files an operation is about: paths and patterns to a bounded, sorted list. Changes nothing.

A text is a path if such a file is there; only else, and only where the definition itself wrote the pattern (`glob`),
is it one: `*` in a value names a file. Patterns follow no links to folders and find no hidden names but those that
they spell.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
import time
from collections.abc import Iterator
from typing import NamedTuple

from pyflowd.task.operation import Arguments, Failed

_MAGIC = re.compile(r"[*?[]")
_VISITS_PER_FILE = 100
"""A pattern may look at so many entries for each that it may find."""


class Found(NamedTuple):
    """A file that was asked for."""

    path: str
    name: str
    """Its path below the fixed part of the pattern; of a path, its last component."""
    status: os.stat_result
    by_pattern: bool

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.status.st_mode)


def select(arguments: Arguments, key: str, *, required: bool) -> list[Found]:
    """The files named under `key`, sorted, each once. Raises Failed: none though `required`, or too many."""
    required = arguments.flag("required", required)
    limit = arguments.max_files
    found: dict[str, Found] = {}
    for text in arguments.paths(key):
        before = len(found)
        for each in _named(text, arguments.flag("glob", default=False), limit):
            _check_text(each.path)
            found.setdefault(os.path.normpath(each.path), each)
            if len(found) > limit:
                raise Failed(f"{text}: more than {limit} files: name fewer, or raise max_files")
        if required and len(found) == before:
            raise Failed(f"{text}: no such file" + _pattern_remedy(text, arguments))
    return [each for _, each in sorted(found.items()) if _is_old_enough(each, arguments.seconds("older_than"))]


def _pattern_remedy(text: str, arguments: Arguments) -> str:
    if _MAGIC.search(text) and not arguments.flag("glob", default=False):
        return " of just that name (glob: true makes it a pattern)"
    return ""


def _named(text: str, glob: bool, limit: int) -> Iterator[Found]:
    try:
        yield Found(text, os.path.basename(text.rstrip("/")) or "/", os.lstat(text), by_pattern=False)
        return
    except (FileNotFoundError, NotADirectoryError):
        if not glob or not _MAGIC.search(text):
            return
    base = fixed_part(text)
    for path in matches(text, limit):
        try:
            yield Found(path, os.path.relpath(path, base or "."), os.lstat(path), by_pattern=True)
        except FileNotFoundError:
            continue  # gone since


def _check_text(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise Failed(f"{path!a}: the name is not UTF-8, so it cannot be given on") from None


def _is_old_enough(found: Found, age_s: float | None) -> bool:
    return age_s is None or found.status.st_mtime <= time.time() - age_s


def fixed_part(pattern: str) -> str:
    """The folders before the first component with a pattern in it."""
    parts = pattern.split("/")
    first = next((n for n, part in enumerate(parts) if _MAGIC.search(part)), len(parts) - 1)
    return "/".join(parts[:first]) or ("/" if pattern.startswith("/") else "")


def matches(pattern: str, limit: int) -> Iterator[str]:
    """Paths that match; `**` is any number of folders. Raises Failed after too many looks."""
    base = fixed_part(pattern)
    rest = pattern[len(base) :].strip("/").split("/")
    budget = [max(limit, 1) * _VISITS_PER_FILE]
    yield from dict.fromkeys(_below(base, [part for part in rest if part], budget, pattern))


def _below(folder: str, parts: list[str], budget: list[int], pattern: str) -> Iterator[str]:
    if not parts:
        if folder:
            yield folder
        return
    part, rest = parts[0], parts[1:]
    if not _MAGIC.search(part):
        path = os.path.join(folder, part)
        if os.path.lexists(path):
            yield from _below(path, rest, budget, pattern)
        return
    if part == "**":
        yield from _below(folder, rest or ["*"], budget, pattern)
    for entry in entries(folder or ".", budget, pattern):
        path = os.path.join(folder, entry.name)
        if part == "**":
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield from _below(path, parts, budget, pattern)
        elif _is_match(entry.name, part) and (not rest or entry.is_dir()):
            yield from _below(path, rest, budget, pattern)


def _is_match(name: str, part: str) -> bool:
    return fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))


def entries(folder: str, budget: list[int], pattern: str) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted; nothing if it is none. Each entry counts against the budget. Raises Failed."""
    try:
        with os.scandir(folder) as scan:
            found = []
            for entry in scan:
                budget[0] -= 1
                if budget[0] < 0:
                    raise Failed(f"{pattern}: too many files to look through: name a folder nearer to them")
                found.append(entry)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(found, key=lambda entry: entry.name)


class Entry(NamedTuple):
    """A member of a tree."""

    path: str
    name: str
    """Below the tree's top."""
    status: os.stat_result


def walk(top: str, limit: int) -> list[Entry]:
    """All below the folder `top`, folders before what is in them; links are not followed. Raises Failed, OSError."""
    found: list[Entry] = []
    folders = [(top, "")]
    while folders:
        folder, below = folders.pop()
        with os.scandir(folder) as scan:
            for item in sorted(scan, key=lambda entry: entry.name):
                name = os.path.join(below, item.name)
                found.append(Entry(item.path, name, item.stat(follow_symlinks=False)))
                if len(found) > limit:
                    raise Failed(f"{top}: more than {limit} files: raise max_files")
                if item.is_dir(follow_symlinks=False):
                    folders.append((item.path, name))
    return found
