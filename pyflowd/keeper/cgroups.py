"""One cgroup for each attempt, below the keeper's own: there limits hold, use is counted exactly, and all that belongs
to the attempt is found and killed at once, whatever it did. Cgroup v2 only (the kernel's admin-guide/cgroup-v2.rst).

The keeper itself lives in a leaf beside them, as a cgroup that hands controllers down may hold no process. What of
this there is on a host, the files say, not a version. It knows nothing of requests, records or logs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import time

NONE, OWN = "none", "own"
_SUPERVISOR = "supervisor"
_ENDING, _LASTING = "attempt-", "lasting-"
"""A cgroup is called so and by its attempt; what is in a lasting one may live on when its attempt has ended."""
_PLAIN_MAX = 200
_PUNCTUATION = str.maketrans("-_.", "aaa")
_LOCK_PATIENCE_S = 1.0
_PAUSE_S = 0.002
_PERIOD_US = 100_000
CONTROLLERS = {
    "memory_max": "memory", "cpu_max": "cpu", "cpu_weight": "cpu", "io_weight": "io", "tasks_max": "pids",
}  # fmt: skip
"""Which controller keeps a limit of `wire.LIMITS`; `nice` needs none."""


class NoCgroups(Exception):
    """There can be none here: one line that says why."""


class Use:
    """What all processes of an attempt used together. Zero is also what is not counted here."""

    __slots__ = ("oom_kills", "peak_bytes", "system_us", "tasks_refused", "user_us")

    def __init__(self) -> None:
        self.user_us = self.system_us = 0
        self.peak_bytes = 0
        """Of their memory, caches of files that they read and wrote among it."""
        self.oom_kills = 0
        """Kills for want of memory, as the kernel counts them: one process may count twice."""
        self.tasks_refused = 0
        """How many processes and threads `tasks_max` did not let them start."""


class Cgroups:
    """The keeper's part of the hierarchy; `why` says why there is none, and then no attempt has a cgroup."""

    def __init__(self, path: str = "", controllers: tuple[str, ...] = (), lock: int = -1, why: str = "") -> None:
        self.path = path
        self.controllers = controllers
        self.why = why
        self._lock = lock
        self._waiting: set[str] = set()
        """Cgroups of attempts that are over: of an earlier keeper, or in which something lived a moment ago."""
        self._inhabited: set[str] = set()
        """Those in which something lives that is ours to reap when it ends."""

    def __bool__(self) -> bool:
        return bool(self.path)

    def __str__(self) -> str:
        """What a WELCOME says: `cgroup: memory cpu`, or `none: ` and why."""
        return f"cgroup: {' '.join(self.controllers)}".rstrip() if self else f"none: {self.why}"

    # ---- Before and after ----

    def make(self, name: str, limits: dict[str, int]) -> list[str]:
        """Make the cgroup of an attempt; which limits it cannot keep. Raises OSError."""
        os.mkdir(self._of(name), 0o755)
        return [limit for limit, value in limits.items() if limit in CONTROLLERS and not self._set(name, limit, value)]

    def _set(self, name: str, limit: str, value: int) -> bool:
        try:
            if limit == "memory_max":
                self._write(name, "memory.max", value)
                # What is over the limit is killed, and all of it: neither swapped out nor left in pieces.
                for file, content in (("memory.oom.group", 1), ("memory.swap.max", 0)):
                    with contextlib.suppress(FileNotFoundError):
                        self._write(name, file, content)
            elif limit == "cpu_max":
                self._write(name, "cpu.max", f"{value * _PERIOD_US // 100} {_PERIOD_US}")
            elif limit == "io_weight":
                self._set_io_weight(name, value)
            else:
                self._write(name, {"cpu_weight": "cpu.weight", "tasks_max": "pids.max"}[limit], value)
        except OSError:
            return False
        return True

    def _set_io_weight(self, name: str, value: int) -> None:
        """Two schedulers have weights, each a file; BFQ's end at 1,000."""
        kept = False
        for file, weight in (("io.weight", value), ("io.bfq.weight", min(value, 1000))):
            with contextlib.suppress(FileNotFoundError):
                self._write(name, file, weight)
                kept = True
        if not kept:
            raise FileNotFoundError(errno.ENOENT, "no scheduler with weights")

    def open(self, name: str) -> int:
        """A descriptor of the cgroup, to start a process in it. Raises OSError."""
        return os.open(self._of(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def use(self, name: str) -> Use:
        found = Use()
        cpu = self._numbers(name, "cpu.stat")
        found.user_us, found.system_us = cpu.get("user_usec", 0), cpu.get("system_usec", 0)
        found.oom_kills = self._numbers(name, "memory.events").get("oom_kill", 0)
        found.tasks_refused = self._numbers(name, "pids.events").get("max", 0)
        with contextlib.suppress(OSError, ValueError):
            found.peak_bytes = int(self._read(name, "memory.peak"))
        return found

    def remove(self, name: str) -> None:
        """Remove it now, or as soon as nothing lives in it."""
        if not self._removed(name):
            (self._inhabited if self.is_populated(name) else self._waiting).add(name)

    def sweep(self, *, orphans: bool) -> None:
        """Remove what could not be removed before. `orphans`: some have ended, so what lived may be gone."""
        for kept in (self._waiting, *((self._inhabited,) if orphans else ())):
            for name in tuple(kept):
                if self._removed(name):
                    kept.discard(name)

    def _removed(self, name: str) -> bool:
        try:
            if not _remove_leaf(self._of(name)):
                if self.is_populated(name):  # what lives keeps the cgroups below, too
                    return False
                _remove_below(self._of(name))
        except OSError:
            return False
        return True

    # ---- What lives ----

    def is_populated(self, name: str) -> bool:
        """Whether a process lives in it. One that has been reaped may stand in `populated` for another moment."""
        return self._numbers(name, "cgroup.events").get("populated", 0) > 0 and bool(self.pids(name))

    def pids(self, name: str) -> set[int]:
        """All processes in it and below, for a task may make cgroups of its own; 0 for one that we cannot see."""
        found: set[int] = set()
        for folder, _, _ in os.walk(self._of(name)):
            with contextlib.suppress(OSError):
                found.update(map(int, _content(os.path.join(folder, "cgroup.procs")).split()))
        return found

    def kill(self, name: str) -> None:
        """SIGKILL to all in it; nobody escapes by forking, and it needs no right over the processes."""
        try:
            self._write(name, "cgroup.kill", 1)
        except OSError:  # a kernel before 5.14, or it is gone
            for pid in self.pids(name) - {0}:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def kill_remains(self, doomed: set[str], patience_s: float) -> int:
        """Empty and remove what an earlier keeper has left; how many processes could not be killed.

        Lasting cgroups are left alone, unless they are of an attempt that had not ended (`doomed`).
        """
        found = {name for name in self._names() if name.startswith(_ENDING) or name in doomed}
        give_up = time.monotonic() + patience_s
        alive = found
        while alive := {name for name in alive if self.is_populated(name)}:
            for name in alive:
                self.kill(name)
            if time.monotonic() > give_up:
                break
            time.sleep(_PAUSE_S)
        self.keep_only(frozenset())
        return sum(len(self.pids(name)) for name in alive)

    def keep_only(self, names: frozenset[str]) -> None:
        """Remove all but these, as soon as nothing lives in them."""
        self._waiting.update(name for name in self._names() if name not in names)
        self.sweep(orphans=True)

    def _names(self) -> list[str]:
        return [name for name in os.listdir(self.path) if name.startswith((_ENDING, _LASTING))] if self else []

    # ---- Files ----

    def _of(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _write(self, name: str, file: str, content: int | str) -> None:
        _put(os.path.join(self.path, name, file), str(content))

    def _read(self, name: str, file: str) -> bytes:
        return _content(os.path.join(self.path, name, file))

    def _numbers(self, name: str, file: str) -> dict[str, int]:
        """A file of names and numbers; empty where there is none."""
        try:
            words = self._read(name, file).split()
            return dict(zip(map(bytes.decode, words[::2]), map(int, words[1::2]), strict=False))
        except (OSError, ValueError):
            return {}


def name_of(attempt: str, tag: int, *, lasting: bool) -> str:
    """What the cgroup of an attempt is called: an id that is no plain word must not become a path."""
    plain = attempt.isascii() and attempt.translate(_PUNCTUATION).isalnum() and len(attempt) <= _PLAIN_MAX
    return (_LASTING if lasting else _ENDING) + (attempt if plain else f"={tag}")


# ---- The keeper's own place ----


def settle(wish: str) -> Cgroups:
    """Take the place that `--cgroup` asks for: move this process into the leaf, hand controllers down.

    Only what can be had: `why` of the result says what could not. Safe to repeat, as after an upgrade in place.
    """
    try:
        if wish == NONE:
            raise NoCgroups("the keeper was started without --cgroup")
        path = own_path() if wish == OWN else wish
        if not os.path.exists(os.path.join(path, "cgroup.procs")):
            raise NoCgroups(f"{path} is no cgroup")
        lock = _lock(path)
        leaf = os.path.join(path, _SUPERVISOR)
        with contextlib.suppress(FileExistsError):
            os.mkdir(leaf, 0o755)
        _put(os.path.join(leaf, "cgroup.procs"), str(os.getpid()))
        return Cgroups(path, _hand_down(path), lock)
    except NoCgroups as none:
        return Cgroups(why=str(none))
    except OSError as error:
        return Cgroups(why=f"{error.filename}: {error.strerror} (a unit needs Delegate=yes)")


def _lock(path: str) -> int:
    """One keeper per place. Waits: a child between fork and exec holds the lock for a moment after its keeper's end."""
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    give_up = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                os.close(lock)
                raise NoCgroups(f"another keeper uses {path}") from None
            time.sleep(_PAUSE_S)
        else:
            return lock


def _hand_down(path: str) -> tuple[str, ...]:
    """Enable what there is of the controllers for the cgroups below; those that are enabled then."""
    there = _content(os.path.join(path, "cgroup.controllers")).decode().split()
    wanted = [name for name in dict.fromkeys(CONTROLLERS.values()) if name in there]
    for name in wanted:
        with contextlib.suppress(OSError):  # EBUSY: strangers live in it. Then there are none, and that is said
            _put(os.path.join(path, "cgroup.subtree_control"), f"+{name}")
    enabled = _content(os.path.join(path, "cgroup.subtree_control")).decode().split()
    return tuple(name for name in wanted if name in enabled)


def own_path() -> str:
    """The cgroup in which this process was started: that above, if it is in its leaf already. Raises NoCgroups."""
    lines = _content("/proc/self/cgroup").splitlines()
    inside = next((os.fsdecode(line[3:]) for line in lines if line.startswith(b"0::")), None)
    if inside is None:
        raise NoCgroups("this host has no cgroups of version 2")
    if os.path.basename(inside) == _SUPERVISOR:
        inside = os.path.dirname(inside)
    return path_below_mount(inside, _content("/proc/self/mountinfo"))


def path_below_mount(inside: str, mountinfo: bytes) -> str:
    """The folder of a cgroup, by the text of /proc/self/mountinfo. Raises NoCgroups."""
    for line in mountinfo.splitlines():
        fields, _, rest = line.partition(b" - ")
        if rest.split(b" ")[0] != b"cgroup2":
            continue
        root, point = (os.fsdecode(_unescaped(field)) for field in fields.split(b" ")[3:5])
        if inside == root or inside.startswith(root.rstrip("/") + "/"):
            return os.path.normpath(point + "/" + inside[len(root.rstrip("/")) :])
    raise NoCgroups("the hierarchy of cgroups of version 2 is not mounted here")


def _unescaped(field: bytes) -> bytes:
    """A blank in a path is an octal number in the table of mounts."""
    return field.decode("unicode_escape").encode("latin-1")


def _remove_leaf(path: str) -> bool:
    """Remove it, if nothing lives in it and no cgroup is below it; whether it is gone."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True


def _remove_below(path: str) -> None:
    """It and all that is below, the deepest first. Raises OSError."""
    for folder, _, _ in os.walk(path, topdown=False):
        os.rmdir(folder)


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _put(path: str, content: str) -> None:
    """One call, as these files want it. Raises OSError with the path."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, content.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(descriptor)
