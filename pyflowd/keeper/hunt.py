"""Finding and killing all processes of an attempt, whatever they did (double fork, setsid, empty environment).

Two facts carry it. The tag: before each spawn the keeper lowers its own limit RLIMIT_RTTIME, which acts only on
real-time scheduling and not before 100,000 years; every descendant inherits it and nobody can raise it without
privilege. The sub-reaper: what loses its parent becomes a child of the keeper, in the same instant, so every tree of
an attempt without its main process hangs at a direct child of the keeper, and a direct child keeps its pid until the
keeper reaps it: signalling it never hits a stranger. It knows nothing of requests, records or logs.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import select
import signal
import time

TAG_CEILING = 1 << 62
"""Microseconds; limits above are free to be anybody's, also `unlimited`."""
_STEP = 1 << 20
"""Room below each tag for the tags of a PyFlow that runs inside a task: that one takes steps of 1."""
_PR_SET_CHILD_SUBREAPER = 36
_TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")
_LARGE_READ_BYTES = 3_000
"""The kernel fills one page at most per read of `children`; over this there may be more."""


def become_subreaper() -> None:
    import ctypes  # Python has no prctl

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot become the reaper of orphans (PR_SET_CHILD_SUBREAPER)")


class Tags:
    """The falling sequence of tags. Each life begins at a random place, so that no two keepers' tags meet."""

    def __init__(self, last: int, step: int) -> None:
        self.last = last
        self.step = step

    def lower(self) -> int:
        """Wear the next tag and return it; what is started from now on inherits it."""
        self.last -= self.step
        resource.setrlimit(resource.RLIMIT_RTTIME, (self.last, self.last))
        return self.last

    def of_limit(self, limit: int) -> int:
        """The tag in whose range a process's limit lies: itself, or a tag that a PyFlow inside a task made of it."""
        return limit + (self.last - limit) % self.step


def first_tags() -> Tags:
    """The sequence for a new life, below whatever limit this process was born with."""
    limit = resource.getrlimit(resource.RLIMIT_RTTIME)[1]
    if limit == resource.RLIM_INFINITY or limit >= TAG_CEILING:
        return Tags(TAG_CEILING - random.SystemRandom().randrange(1 << 40) * _STEP, _STEP)
    return Tags(limit - random.SystemRandom().randrange(_STEP >> 1), 1)


def limit_of(pid: int) -> int:
    """RLIMIT_RTTIME of a process; `TAG_CEILING` where it has none, is gone or cannot be read."""
    try:
        limit = resource.prlimit(pid, resource.RLIMIT_RTTIME)[1]
    except PermissionError:
        limit = _limit_from_proc(pid)
    except OSError:
        return TAG_CEILING
    return limit if 0 <= limit < TAG_CEILING else TAG_CEILING


def _limit_from_proc(pid: int) -> int:
    """The same for processes of other users, which prlimit denies even to root without CAP_SYS_RESOURCE."""
    try:
        with open(f"/proc/{pid}/limits", "rb") as file:
            for line in file:
                if line.startswith(b"Max realtime timeout"):
                    hard = line.split()[4]
                    return int(hard) if hard.isdigit() else TAG_CEILING
    except (OSError, IndexError):
        pass
    return TAG_CEILING


class Family:
    """The keeper's direct children that are no main process of an attempt: what tasks left behind, by tag."""

    def __init__(self, tags: Tags) -> None:
        self._tags = tags
        self.members: dict[int, set[int]] = {}
        """Tag to the pids of direct children that wear it."""
        self._tag_of: dict[int, int] = {}
        try:
            self._children = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._children = -1  # a kernel without CONFIG_PROC_CHILDREN: scan

    def refresh(self, known: dict[int, object]) -> None:
        """Take in new direct children that are not `known` (main processes and the keeper's own helpers).

        Only the keeper's reaping takes children away, so an equal number means nothing new: the usual case costs
        one call to the kernel.
        """
        listed = self._list()
        if len(listed) == len(known) + len(self._tag_of):
            return
        for word in listed:
            pid = int(word)
            if pid not in known and pid not in self._tag_of:
                tag = self._tags.of_limit(limit_of(pid))
                self._tag_of[pid] = tag
                self.members.setdefault(tag, set()).add(pid)

    def _list(self) -> list[bytes]:
        if self._children < 0:
            return _scan_children()
        listing = os.pread(self._children, 65_536, 0)
        if len(listing) > _LARGE_READ_BYTES:
            os.lseek(self._children, 0, os.SEEK_SET)
            parts = []
            while part := os.read(self._children, 65_536):
                parts.append(part)
            listing = b"".join(parts)
        return listing.split()

    def reaped(self, pid: int) -> None:
        """A direct child that was no main process has been reaped."""
        tag = self._tag_of.pop(pid, None)
        if tag is not None:
            pids = self.members[tag]
            pids.discard(pid)
            if not pids:
                del self.members[tag]

    def kill(self, tag: int) -> tuple[set[int], int]:
        """SIGKILL to all direct children with this tag: those that got it, and how many may not be killed."""
        killed, refused = set(), 0
        for pid in self.members.get(tag, ()):
            try:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            except PermissionError:
                refused += 1
        return killed, refused


def _scan_children() -> list[bytes]:
    parent = b"%d" % os.getpid()
    return [b"%d" % pid for pid in all_pids() if (stat := _stat(pid)) and stat[1] == parent]


def all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/PID/stat after the name: state, parent, group, ...; empty if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def began_us(pid: int) -> int:
    """When a process began, by the boot-time clock; 0 if it is gone."""
    stat = _stat(pid)
    return int(stat[19]) * _TICK_US if stat else 0


def find_tagged(wanted: dict[int, int], step: int) -> list[int]:
    """Pids of all processes of the host with one of the tags `wanted` (tag to the start of its attempt).

    Beside the tag the start time must fit: nothing of an attempt is older than the attempt.
    """
    found = []
    own = os.getpid()
    for pid in all_pids():
        limit = limit_of(pid)
        if limit == TAG_CEILING or pid == own:
            continue
        for tag, attempt_began_us in wanted.items():
            if tag - step < limit <= tag and began_us(pid) >= attempt_began_us - 2 * _TICK_US:
                found.append(pid)
                break
    return found


def kill_tagged(wanted: dict[int, int], step: int) -> int:
    """SIGKILL to every process that wears one of the tags, also where the keeper is not its parent.

    A pidfd is opened first and the tag read again after: then it is the same process, or the signal finds nobody.
    Returns how many were found alive.
    """
    alive = 0
    for pid in find_tagged(wanted, step):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            handle = os.pidfd_open(pid)
            try:
                limit = limit_of(pid)
                if any(tag - step < limit <= tag for tag in wanted) and not _has_ended(handle):
                    alive += 1
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)
    return alive


def _has_ended(handle: int) -> bool:
    """A zombie of another parent still has its limits: it is dead all the same."""
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    return bool(poller.poll(0))


def kill_all_tagged(wanted: dict[int, int], step: int, patience_s: float) -> int:
    """Kill until nothing with these tags is found any more, some scans in a row; how many were left at the end."""
    give_up = time.monotonic() + patience_s
    empty_scans, alive = 0, 0
    while wanted and empty_scans < 3 and time.monotonic() < give_up:
        alive = kill_tagged(wanted, step)
        empty_scans = 0 if alive else empty_scans + 1
        if alive:
            time.sleep(0.001)
    return alive
