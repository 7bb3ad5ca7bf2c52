"""What the daemon may ask of a keeper of root's: for which users it starts processes, and what of root's.

The daemon is not trusted: it has no rights of its own, and may have been taken over. Root says in a file (keeper.yaml)
whom it may start tasks for; what a task of root's runs is checked against its definition, which must be root's word. A
child of ours (`pyflowd.rootcheck`) reads both, as it takes YAML; until its answer comes, a request waits here, unread
as it were: nothing of it is in the journal, and a new daemon asks for it again. It starts no task.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Callable

from pyflowd.keeper.channel import close_all
from pyflowd.keeper.spawn import SpawnError
from pyflowd.keeper.wire import FLAG_STDIN, Start

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing would cost 1 MB
    from typing import Any

ENTRY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "rootcheck", "__main__.py")
_ANSWER_MAX_BYTES = 16 << 20
_KEPT_BYTES = 32 << 20
"""Of answers about definitions; the oldest are forgotten."""
_WAITING_MAX = 10_000
_CHECKS_AT_ONCE = 2
_PATIENCE_US = 15_000_000
"""The child ends by itself after ten seconds, unless somebody has stopped it: it has nobody's uid by then."""
_STDIN_MAX_BYTES = 16 << 20
_SEALED = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_DEFAULT_SIGNALS = (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE)
_RELOAD = "then: systemctl reload pyflow-keeper"
"""The file is read when the keeper starts, and then."""
SETTINGS = ("", "")
"""In place of a definition's path and digest: keeper.yaml."""

_CHILD = "rootcheck"

Request = tuple[Start, list[int]]
Definition = tuple[str, str]
"""Absolute path of its file, and digest."""


class Settings:
    """What keeper.yaml says. `error`: why it cannot be believed."""

    __slots__ = ("error", "folders", "root", "users")

    def __init__(self) -> None:
        self.users: frozenset[str] = frozenset()
        """Names; `*`: all but root."""
        self.root = False
        self.folders = ["", ""]
        """Of workflows: the host's, the vendor's."""
        self.error = ""


def parse_settings(lines: list[str]) -> Settings:
    """What the child says: `users NAME...`, `root yes`, `workflows PATH`, `vendor PATH`, `end`; or `error TEXT`."""
    found = Settings()
    for line in lines:
        word, *values = line.split("\t")
        if word == "users":
            found.users = frozenset(values)
        elif word == "root":
            found.root = values == ["yes"]
        elif word in ("workflows", "vendor"):
            found.folders[word == "vendor"] = values[0] if values else ""
        elif word == "error":
            found.error = values[0] if values else "it cannot be read"
    if "end" not in lines and not found.error:
        found.error = "it could not be read: the program that does has failed"
    return found


class Permissions:
    """Asked about every start. With no `path`, or in a keeper that is not root, everything is allowed: such a keeper
    serves its own user, or can become nobody else.
    """

    def __init__(
        self,
        path: str,
        epoll: select.epoll,
        known: dict[int, object],
        prepare: Callable[[], object],
        say: Callable[[str], None],
    ) -> None:
        """`known`: where a child of ours is entered; `prepare` is called before one is started; `say` is the log."""
        self.path = path if os.geteuid() == 0 else ""
        self.settings: Settings | None = None
        """None: not read yet."""
        self._epoll = epoll
        self._known = known
        self._prepare = prepare
        self._say = say
        self._plans: dict[Definition, tuple[int, dict[str, Any]]] = {}
        """Definitions that were found to be root's word: the size of the answer, and by task what it may run."""
        self._checks: dict[int, tuple[Definition, bytearray]] = {}
        """By the pipe of the child that is at work: about what, and what it has said."""
        self._due: dict[int, tuple[int, int]] = {}
        """By that pipe: when the child is killed (boot time), and its pid."""
        self._waiting: dict[str, tuple[Definition, Request]] = {}
        """By attempt: what its request waits for."""
        if self.path:
            self.read_settings()

    def read_settings(self) -> None:
        """Read them again; what is asked meanwhile waits for them."""
        if self.path:
            self.settings = None
            if why := self._ask(SETTINGS):
                unread = Settings()
                unread.error = why
                self._adopt(unread)

    def _adopt(self, settings: Settings) -> None:
        """They are in force. What bars every start is said at once, not by the first task that fails of it."""
        self.settings = settings
        if settings.error:
            self._say(_barred(self.path, settings))

    # ---- Requests

    def sift(self, requests: list[Request], is_known: Callable[[str], bool]) -> tuple[list[Request], list[Request]]:
        """Those that may be started, and those that are refused, each with why in its `refused`. Others wait.

        May be asked again about what has waited.
        """
        allowed, refused = [], []
        for request in requests:
            start = request[0]
            if start.refused:
                refused.append(request)
            elif not self.path or is_known(start.attempt):
                allowed.append(request)
            elif start.attempt in self._waiting:
                close_all(tuple(request[1]))
            else:
                verdict = self._judge(request)
                if isinstance(verdict, tuple):
                    verdict = self._wait_for(verdict, request)
                    if not verdict:
                        continue
                start.refused = verdict
                (refused if verdict else allowed).append(request)
        return allowed, refused

    def _wait_for(self, wanted: Definition, request: Request) -> str:
        """Why it cannot wait; empty: it does."""
        if len(self._waiting) >= _WAITING_MAX:
            return f"{len(self._waiting)} starts wait for a check already"
        why = self._ask(wanted)
        if not why:
            self._waiting[request[0].attempt] = wanted, request
        return why

    def withdraw(self, attempt: str) -> Request | None:
        """A request that waits and is not wanted any more; None: there is none."""
        found = self._waiting.pop(attempt, None)
        if found is None:
            return None
        found[1][0].refused = os.strerror(errno.ECANCELED)
        return found[1]

    def forget(self) -> None:
        """Drop all that wait: another daemon has come, which asks for what it wants, or the keeper ends."""
        for _, (_, descriptors) in self._waiting.values():
            close_all(tuple(descriptors))
        self._waiting.clear()

    @property
    def busy(self) -> bool:
        """Whether children are at work, or requests wait: no time for an upgrade."""
        return bool(self._checks or self._waiting)

    def _judge(self, request: Request) -> Definition | str:
        """What it waits for; or why it is refused, empty where it is allowed."""
        start = request[0]
        settings = self.settings
        if settings is None:
            return SETTINGS
        user = start.user or "root"
        start.may_be_root = False
        if settings.error:
            return f"{_barred(self.path, settings)}; mend it, {_RELOAD}"
        if user != "root":
            listed = settings.users & {user, "*"}
            return "" if listed else f"{self.path} does not list the user {user}: add it to users there, {_RELOAD}"
        if not settings.root:
            return f"{self.path} does not let tasks of root's start: write root: true there, {_RELOAD}"
        if start.origin is None:
            return "tasks of root's are started only as a file of root's in the workflows folder says it"
        return self._judge_root(request, start.origin)

    def _judge_root(self, request: Request, origin: tuple[str, str, str]) -> Definition | str:
        start, descriptors = request
        path, digest, task = origin
        known = self._plans.pop((path, digest), None)
        if known is None:
            return path, digest
        self._plans[path, digest] = known  # the one used last is forgotten last
        plan = known[1].get(task)
        if plan is None:
            return f"{path} has no task {task[:100]} that runs as root"
        if "refused" in plan:
            return f"{path}: {task}: {plan['refused']}"
        if why := _fill(plan, start, descriptors):
            return f"the daemon asks for something else than {path} says of {task}: {why}"
        start.may_be_root = True
        return ""

    # ---- Children

    def _ask(self, about: Definition) -> str:
        """Start a child, unless one is at work on this or enough are: then when one has ended. Why it cannot be."""
        if len(self._checks) >= _CHECKS_AT_ONCE or any(each == about for each, _ in self._checks.values()):
            return ""
        arguments = [sys.executable, "-I", ENTRY, self.path]
        if about != SETTINGS:
            folders = self.settings.folders if self.settings else ["", ""]
            arguments += [*folders, *about]
        self._prepare()
        try:
            pid, reader = _start_child(arguments)
        except OSError as error:
            return f"the program that checks it cannot be started: {os.strerror(error.errno or 0)}"
        self._known[pid] = _CHILD
        self._checks[reader] = about, bytearray()
        self._due[reader] = _now_us() + _PATIENCE_US, pid
        self._epoll.register(reader, select.EPOLLIN)
        return ""

    def next_due_us(self) -> int:
        """When `on_time` has something to do; 0: never."""
        return min((due_us for due_us, _ in self._due.values()), default=0)

    def on_time(self) -> None:
        """Kill children that take too long: their pipes tell of it."""
        now_us = _now_us()
        for descriptor, (due_us, pid) in self._due.items():
            if due_us <= now_us and self._known.get(pid) == _CHILD:  # not reaped: the pid is still its own
                os.kill(pid, signal.SIGKILL)
                self._due[descriptor] = now_us + _PATIENCE_US, pid

    def owns(self, descriptor: int) -> bool:
        """Whether `on_answer` is to be called when it can be read."""
        return descriptor in self._checks

    def on_answer(self, descriptor: int) -> list[Request]:
        """A child says something, or has ended: requests to be sifted again."""
        about, said = self._checks[descriptor]
        try:
            part = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return []
        said += part
        if part and len(said) <= _ANSWER_MAX_BYTES:
            return []
        self._epoll.unregister(descriptor)
        os.close(descriptor)
        del self._checks[descriptor], self._due[descriptor]
        why = self._take(about, bytes(said))
        again = [name for name, (wanted, _) in self._waiting.items() if wanted == about]
        requests = [self._waiting.pop(name)[1] for name in again]
        for start, _ in requests:
            start.refused = why
        for name, (wanted, request) in list(self._waiting.items()):
            if failed := self._ask(wanted):
                request[0].refused = failed
                requests.append(self._waiting.pop(name)[1])
        return requests

    def _take(self, about: Definition, said: bytes) -> str:
        """Keep what a child has found out; why not, where it could not."""
        if about == SETTINGS:
            self._adopt(parse_settings(said.decode(errors="replace").splitlines()))
            return ""
        import json  # most keepers never need it

        try:
            answer = json.loads(said)
            error = str(answer.get("error", ""))
        except ValueError:
            error = "it could not be checked: the program that does has failed, or took too long"
        if error:
            return f"{about[0]}: {error}"
        self._plans[about] = len(said), answer["tasks"]
        while sum(size for size, _ in self._plans.values()) > _KEPT_BYTES and len(self._plans) > 1:
            del self._plans[next(iter(self._plans))]
        return ""


def _barred(path: str, settings: Settings) -> str:
    return f"no task is started, as {path} is not believed: {settings.error}"


def _now_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def _start_child(arguments: list[str]) -> tuple[int, int]:
    """Its pid, and the pipe on which it answers. Raises OSError."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    null = -1
    try:
        os.set_blocking(writer, True)
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        pid = os.posix_spawn(
            sys.executable, arguments, {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            file_actions=((os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, writer, 1)),
            setsid=True, setsigmask=(), setsigdef=_DEFAULT_SIGNALS,
        )  # fmt: skip
    except OSError:
        os.close(reader)
        raise
    finally:
        close_all((writer, null) if null >= 0 else (writer,))
    return pid, reader


def refusal(start: Start) -> SpawnError:
    """As which a refused request ends."""
    cancelled = start.refused == os.strerror(errno.ECANCELED)
    return SpawnError("user", errno.ECANCELED if cancelled else errno.EPERM, start.refused)


def _fill(plan: dict[str, Any], start: Start, descriptors: list[int]) -> str:
    """What is started is made from the plan; also its standard input, of which the daemon keeps no hold. Why it cannot
    be; empty: it is.
    """
    from pyflowd.keeper.plan import Mismatch, fill  # most keepers never need it, nor what it imports

    try:
        stdin = _content(descriptors[2]) if start.flags & FLAG_STDIN else None
        content = fill(plan, start, stdin)
        if content is not None:
            fresh = _in_memory(content)
            os.close(descriptors[2])
            descriptors[2] = fresh
    except (Mismatch, OSError, ValueError) as error:
        return str(error)
    return ""


def _in_memory(content: bytes) -> int:
    descriptor = os.memfd_create("stdin", os.MFD_CLOEXEC)
    rest = content
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _content(descriptor: int) -> bytes:
    """All of a file in memory that nobody can change any more: reading it cannot wait either. Raises OSError."""
    try:
        sealed = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError:
        sealed = 0
    if sealed & _SEALED != _SEALED or os.fstat(descriptor).st_size > _STDIN_MAX_BYTES:
        raise OSError("its standard input is no sealed memory")
    found = b""
    while part := os.pread(descriptor, _STDIN_MAX_BYTES, len(found)):
        found += part
    return found
