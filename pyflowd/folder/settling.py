"""When a change in the folders of definitions is to be believed: pure decisions over what scans saw (rule D4).

A file counts once it has settled; a vanished one once it has stayed away. Files are named by their keys. Times are
boot-time microseconds and are given. It knows nothing of threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from pyflowd.folder.loader_frames import Signature
from pyflowd.model.problem import Problem

SETTLE_US = 100_000
"""An in-place write counts when nothing has changed for so long."""
AWAY_US = 500_000
"""Editors move a file aside before they write it anew: only one that stays away is gone."""
OPEN_LIMIT_US = 60_000_000
"""A writer that keeps the file open is waited for, but not for ever: the event of its close can be lost."""


class Scan(Struct, frozen=True):
    """The folders as they are to be believed now."""

    entries: dict[str, Signature]
    """Files that have settled, by key; one that is being rewritten stands with its last settled state."""
    problems: tuple[Problem, ...] = ()
    """Things that look like definitions and are not read, and why."""
    pending: bool = False
    """Something has not settled yet: another scan follows soon."""
    gone: dict[str, str] = {}
    """Folders beside that of the workflows that cannot be listed, or are not there, and why."""
    blocked: frozenset[str] = frozenset()
    """See `listing.Listing`."""


class FolderGone(Struct, frozen=True):
    """The folder of workflows cannot be listed."""

    reason: str


class Observed(NamedTuple):
    """What one scan means."""

    entries: dict[str, Signature]
    look_again_us: int | None
    """When something may have settled that has not yet; None: nothing is pending."""
    again: bool
    """Tell of this scan even if it equals the last. A file that was renamed into place counts at once, and may be read
    in the same tick of the file system's clock in which it is written once more: its signature would not tell."""


class Settling:
    """Turns what each scan sees, and the hints of events between them, into what has settled."""

    def __init__(self, settled: Mapping[str, Signature] | None = None) -> None:
        """`settled`: files as they were known before the first scan; one that is unchanged is settled already."""
        self._settled: dict[str, Signature] = dict(settled or {})
        self._pending: dict[str, tuple[Signature | None, int]] = {}
        """What a file is to become (None: gone), and since when it is so."""
        self._written_us: dict[str, int] = {}
        """Files that were written to and not closed since, with the time of the last write."""
        self._moved: set[str] = set()
        self._confirm_us: dict[str, int] = {}
        """Files that counted at once, and when to tell of them again: see `Observed.again`."""

    def moved_in(self, file: str) -> None:
        """A finished file was renamed into place: it need not wait."""
        self._moved.add(file)
        self._written_us.pop(file, None)

    def written(self, file: str, now_us: int) -> None:
        self._moved.discard(file)
        self._written_us[file] = now_us

    def closed(self, file: str) -> None:
        self._written_us.pop(file, None)

    def observe(self, seen: Mapping[str, Signature], now_us: int) -> Observed:
        """What has settled now. `seen` is a scan made after the hints."""
        wanted: dict[str, Signature | None] = {**dict.fromkeys(self._settled), **seen}
        pending = {}
        for file, signature in wanted.items():
            if self._settled.get(file) == signature:
                continue
            before, since_us = self._pending.get(file, (signature, now_us))
            if before != signature:
                since_us = now_us
            due_us = self._due_us(file, signature, since_us)
            if now_us < due_us:
                pending[file] = (signature, since_us)
            elif signature is None:
                del self._settled[file]
            else:
                self._settled[file] = signature
                if file in self._moved:
                    self._confirm_us[file] = now_us + SETTLE_US
        self._pending = pending
        self._moved.clear()
        self._written_us = {file: at_us for file, at_us in self._written_us.items() if file in seen}
        again = [file for file, due_us in self._confirm_us.items() if due_us <= now_us]
        for file in again:
            del self._confirm_us[file]
        due = [*(self._due_us(file, *state) for file, state in pending.items()), *self._confirm_us.values()]
        return Observed(dict(self._settled), min(due, default=None), bool(again))

    def _due_us(self, file: str, signature: Signature | None, since_us: int) -> int:
        if signature is None:
            return since_us + AWAY_US
        if file in self._moved:
            return since_us
        settled = self._settled.get(file)
        same_content = (
            settled is not None and settled.mtime_ns == signature.mtime_ns and settled.inode == signature.inode
        )
        if file in self._written_us and not same_content:  # a change of mode is reported as a write, and has no close
            return max(since_us + SETTLE_US, self._written_us[file] + OPEN_LIMIT_US)
        return since_us + SETTLE_US
