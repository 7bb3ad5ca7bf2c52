"""The keeper's journal: one line for each intent, start, end and acknowledgement, so that a new keeper knows.

Lines are fields parted by tabs; a line counts only with its newline, and a writer that opens the file begins with a
newline, so that a line cut off by a kill never joins another. Fields by their first letter:

    K epoch boot_id tag_step at_us          a keeper's life began
    P epoch ...                             the lives before it, newest first
    I attempt tag began_us                  it is about to be started; began_us is of the boot-time clock
    S attempt pid started_us                its process exists
    E | F | L attempt fields of its end     (`wire.End`)
    A attempt                               the daemon has it in its own record: forgotten
    O attempt tag began_us                  its main process has ended, others of it still live and will be killed
    C attempt                               nothing of it lives any more

Text to values and back, and the append. The file is in the run-time folder and is never fsynced: after a boot all of
it is history, and the boot id says so.
"""

from __future__ import annotations

import os

from pyflowd.keeper.crash import crashpoint
from pyflowd.keeper.wire import CGROUP_FIELDS, END_FIELDS, EXIT, FAILED, LOST, End

LINEAGE = 64
"""Epochs of earlier keepers that are remembered."""
_LETTERS = {EXIT: "E", FAILED: "F", LOST: "L"}
_KINDS = {letter: kind for kind, letter in _LETTERS.items()}
_COMPACT_BYTES = 1 << 20
_BLANK = str.maketrans(dict.fromkeys([*range(32), 127], " "))


class Entry:
    """What a journal says of one attempt."""

    __slots__ = ("began_us", "end", "pid", "started_us", "tag")

    def __init__(self, tag: int, began_us: int) -> None:
        self.tag = tag
        self.began_us = began_us
        self.pid = 0
        self.started_us = 0
        self.end: End | None = None


class Past:
    """What a journal says: the life that wrote it, the lives before, the attempts not acknowledged."""

    __slots__ = ("attempts", "boot_id", "epoch", "lineage", "orphans", "tag_step")

    def __init__(self) -> None:
        self.epoch = ""
        self.boot_id = ""
        self.tag_step = 1
        self.lineage: tuple[str, ...] = ()
        self.attempts: dict[str, Entry] = {}
        self.orphans: dict[str, tuple[int, int]] = {}
        """Of ended attempts with processes left: tag and began_us."""


def life_lines(epoch: str, boot_id: str, tag_step: int, at_us: int, lineage: tuple[str, ...]) -> str:
    lives = "\t".join(("P", *lineage[:LINEAGE])) + "\n" if lineage else ""
    return f"K\t{epoch}\t{boot_id}\t{tag_step}\t{at_us}\n{lives}"


def intent_line(attempt: str, tag: int, began_us: int) -> str:
    return f"I\t{attempt}\t{tag}\t{began_us}\n"


def started_line(attempt: str, pid: int, started_us: int) -> str:
    return f"S\t{attempt}\t{pid}\t{started_us}\n"


def end_line(attempt: str, end: End) -> str:
    kind, fields = end
    return "\t".join((_LETTERS[kind], attempt, *[field.translate(_BLANK) for field in fields])) + "\n"


def acknowledged_line(attempt: str) -> str:
    return f"A\t{attempt}\n"


def orphans_line(attempt: str, tag: int, began_us: int) -> str:
    return f"O\t{attempt}\t{tag}\t{began_us}\n"


def clear_line(attempt: str) -> str:
    return f"C\t{attempt}\n"


def parse(content: bytes) -> Past:
    """Read a journal. What is no whole, sensible line is passed over: it was never written."""
    past = Past()
    whole, _, _ = content.rpartition(b"\n")
    for line in whole.decode(errors="replace").split("\n"):
        fields = line.split("\t")
        try:
            _fold(past, fields)
        except (IndexError, KeyError, ValueError):
            continue
    return past


def _fold(past: Past, fields: list[str]) -> None:
    letter = fields[0]
    if letter == "I":
        past.attempts[fields[1]] = Entry(int(fields[2]), int(fields[3]))
    elif letter == "S":
        entry = past.attempts[fields[1]]
        entry.pid, entry.started_us = int(fields[2]), int(fields[3])
    elif letter in _KINDS:
        kind = _KINDS[letter]
        if len(fields) - 2 in (END_FIELDS[kind], END_FIELDS[kind] + (CGROUP_FIELDS if kind == EXIT else 0)):
            past.attempts.setdefault(fields[1], Entry(0, 0)).end = (kind, tuple(fields[2:]))
    elif letter == "A":
        past.attempts.pop(fields[1], None)
    elif letter == "O":
        past.orphans[fields[1]] = (int(fields[2]), int(fields[3]))
    elif letter == "C":
        past.orphans.pop(fields[1], None)
    elif letter == "K":
        past.tag_step, past.epoch, past.boot_id = int(fields[3]), fields[1], fields[2]
    elif letter == "P":
        past.lineage = tuple(fields[1:])


class Journal:
    """The open journal. Lines are added, then written together: nothing is told to the daemon before `flush`."""

    def __init__(self, folder: int, descriptor: int) -> None:
        self._folder = folder
        self.descriptor = descriptor
        self._lines: list[str] = []
        self._points: list[str] = []
        self._unwritten = b""
        self._size_bytes = os.fstat(descriptor).st_size if descriptor >= 0 else 0
        self._compact_at_bytes = _COMPACT_BYTES

    def add(self, line: str, point: str = "") -> None:
        self._lines.append(line)
        if point:
            self._points.append(point)

    def flush(self) -> bool:
        """Write what was added, in one call; false if some of it could not be written (say, no space): try again."""
        if self._lines:
            self._unwritten += "".join(self._lines).encode()
            self._lines.clear()
        while self._unwritten:
            try:
                written = os.write(self.descriptor, self._unwritten)
            except OSError:
                return False
            self._size_bytes += written
            self._unwritten = self._unwritten[written:]
        if self._points:
            for point in self._points:
                crashpoint(point)
            self._points.clear()
        return True

    def withdraw(self) -> None:
        """Forget lines that could not be written and that nothing has come of (an intent, say)."""
        # A part of a line may stand in the file; the newline keeps it apart from what comes after.
        self._unwritten = b"\n" if self._unwritten else b""

    @property
    def is_long(self) -> bool:
        return self._size_bytes > self._compact_at_bytes

    def rewrite(self, content: str) -> None:
        """Put `content` in the journal's place, in one step. On an OSError the old one stays in use."""
        try:
            fresh, size_bytes = _write_aside(self._folder, content)
        except OSError:
            self._compact_at_bytes = self._size_bytes + _COMPACT_BYTES
            return
        os.dup2(fresh, self.descriptor, inheritable=False)
        os.close(fresh)
        self._size_bytes = size_bytes
        self._compact_at_bytes = size_bytes + _COMPACT_BYTES


def create(folder: int, content: str) -> Journal:
    """Put a new journal with `content` in the place of whatever is there."""
    descriptor, _ = _write_aside(folder, content)
    return Journal(folder, descriptor)


def read(folder: int) -> Past:
    """What the journal in `folder` says; empty if there is none."""
    try:
        descriptor = os.open("journal", os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return Past()
    with open(descriptor, "rb") as file:
        return parse(file.read())


def _write_aside(folder: int, content: str) -> tuple[int, int]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open("journal.new", flags, 0o600, dir_fd=folder)
    try:
        payload = content.encode()
        rest = payload
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.rename("journal.new", "journal", src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor, len(payload)
