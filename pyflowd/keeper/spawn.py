"""Starting one task process, in one of two ways.

Fast: the keeper changes folder and umask itself and calls posix_spawn, each step a call of its own, so that the step
that failed and its errno are exact. Full, where a cgroup, another user or a niceness is asked for or the folder is on a
file system that may hang: a fork, in which the child drops its rights *before* it enters the folder; what fails there
comes back through a pipe that closes at exec, and nobody waits for it. It knows nothing of records, journals or
requests.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import struct
from functools import cache

from pyflowd.keeper.credentials import VARIABLE, Credentials
from pyflowd.keeper.outputs import Outputs
from pyflowd.keeper.wire import Start

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing would cost 1 MB
    from collections.abc import Callable
    from typing import Any

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_CLONE3 = 435
"""The same number on all architectures."""
_CLONE_INTO_CGROUP = 0x2_0000_0000
_CAP_SYS_NICE = 23
_OOM_SCORE_ADJ = "/proc/self/oom_score_adj"
_DEFAULT_SIGNALS = [n for n in range(1, 32) if n not in (signal.SIGKILL, signal.SIGSTOP)]


class SpawnError(Exception):
    """A process could not be started: `step` (cwd, umask, exec, user, ...) failed with `number`."""

    def __init__(self, step: str, number: int, message: str) -> None:
        super().__init__(message)
        self.step = step
        self.number = number
        self.message = message


class Common:
    """What all tasks of a keeper get alike."""

    __slots__ = ("credentials", "least_nice", "oom_score_adj", "outputs", "soft_files")

    def __init__(self, soft_files: int, credentials: Credentials, outputs: Outputs) -> None:
        self.soft_files = soft_files
        """RLIMIT_NOFILE (soft): as the keeper found it. Its own is as high as may be."""
        self.credentials = credentials
        self.outputs = outputs
        self.oom_score_adj = 0 if own_oom_score_adj() < 0 else None
        """A keeper that its unit protects when memory runs out does not hand that on; None: as the keeper's own."""
        self.least_nice = least_nice()


class Pipes:
    """The pipes of an attempt. Standard output and error share one unless they are kept apart."""

    __slots__ = ("error", "error_reader", "output", "reader")

    def __init__(self, apart: bool) -> None:
        """Raises OSError, with none of them open."""
        self.reader, self.output = _pipe()
        self.error_reader, self.error = -1, self.output
        if apart:
            try:
                self.error_reader, self.error = _pipe()
            except OSError:
                os.close(self.reader)
                os.close(self.output)
                raise

    def close_writers(self) -> None:
        os.close(self.output)
        if self.error != self.output:
            os.close(self.error)


def _pipe() -> tuple[int, int]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reader, False)
    return reader, writer


def spawn_fast(start: Start, stdin: int, pipes: Pipes) -> int:
    """Start the process in a session of its own; its pid. Leaves the keeper in the task's folder. Or SpawnError."""
    try:
        os.chdir(start.cwd)
    except OSError as error:
        raise explain(start, "cwd", error.errno or 0) from error
    os.umask(start.umask)
    variables = environment(start.env)
    try:
        program = find_program(start.argv[0], variables.get(b"PATH"))
        return os.posix_spawn(
            program,
            start.argv,
            variables,
            file_actions=(
                (os.POSIX_SPAWN_DUP2, stdin, 0),
                (os.POSIX_SPAWN_DUP2, pipes.output, 1),
                (os.POSIX_SPAWN_DUP2, pipes.error, 2),
            ),
            setsid=True,
            setsigmask=(),
            setsigdef=_DEFAULT_SIGNALS,
        )
    except OSError as error:
        raise explain(start, "exec", error.errno or 0) from error
    except ValueError as error:  # a variable without a name, say
        raise explain(start, "exec", errno.EINVAL) from error


def spawn_full(start: Start, stdin: int, pipes: Pipes, common: Common, cgroup: int) -> tuple[int, int]:
    """Fork, and start the process in the child: its pid, and the pipe that tells of a failure or closes at exec.

    `cgroup`: the descriptor of the one in which it is to begin; -1: where the keeper is.
    """
    failure, report = os.pipe()
    os.set_blocking(failure, False)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
    try:
        pid, still_to_enter = _fork(cgroup)
        if pid == 0:
            _become_task(start, stdin, pipes, report, common, still_to_enter)
    except OSError as error:
        os.close(failure)
        raise explain(start, "fork", error.errno or 0) from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(report)
    return pid, failure


def _fork(cgroup: int) -> tuple[int, int]:
    """As os.fork, and the cgroup that the child has still to enter; -1: none. Raises OSError."""
    if cgroup >= 0:
        pid = _clone_into(cgroup)
        if pid is not None:
            return pid, -1
    return os.fork(), cgroup


@cache
def _libc() -> tuple[Any, Callable[[], int]]:
    """The C library, called without letting go of the interpreter; and how to ask for its errno."""
    import ctypes

    return ctypes.PyDLL(None, use_errno=True), ctypes.get_errno


def _clone_into(cgroup: int) -> int | None:
    """A fork whose child begins in a cgroup: moving a process that runs costs 10 ms. None: it cannot be had here.

    Python knows nothing of this fork, which one thread that goes on to exec never notices. Raises OSError.
    """
    # clone_args of linux/sched.h: a plain fork fills in the fifth alone.
    arguments = struct.pack("11Q", _CLONE_INTO_CGROUP, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, cgroup)
    libc, last_errno = _libc()
    pid: int = libc.syscall(_CLONE3, arguments, len(arguments))
    if pid >= 0:
        return pid
    number = last_errno()
    if number in (errno.EAGAIN, errno.ENOMEM):
        raise OSError(number, os.strerror(number))
    return None


def _become_task(start: Start, stdin: int, pipes: Pipes, report: int, common: Common, cgroup: int) -> None:
    """In the child: never returns. Each step is named before it is tried."""
    step = "setup"
    try:
        if cgroup >= 0:
            step = "cgroup"
            _write(os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=cgroup), b"0")
            step = "setup"
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in _DEFAULT_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (common.soft_files, hard))
        if common.oom_score_adj is not None:
            step = "oom_score_adj"
            _write(os.open(_OOM_SCORE_ADJ, os.O_WRONLY | os.O_CLOEXEC), b"%d" % common.oom_score_adj)
        if "nice" in start.limits:
            step = "nice"
            os.setpriority(os.PRIO_PROCESS, 0, start.limits["nice"])
        variables = environment(start.env)
        if start.credentials:
            step = "credentials"
            common.credentials.write(start.attempt, start.credentials, start.user)
            variables[VARIABLE] = common.credentials.folder(start.attempt).encode()
        if start.user:
            step = "user"
            _become_user(start.user, pipes, may_be_root=start.may_be_root)
        for source, target in ((stdin, 0), (pipes.output, 1), (pipes.error, 2)):
            os.dup2(source, target)
        step = "cwd"
        os.chdir(start.cwd)
        os.umask(start.umask)
        step = "exec"
        program = find_program(start.argv[0], variables.get(b"PATH"))
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execve(program, start.argv, variables)  # noqa: S606  no shell on purpose
    except OSError as error:
        os.write(report, f"{step} {error.errno or 0}".encode())
    except BaseException:  # noqa: BLE001  nothing may escape from the child into the keeper's own loop
        os.write(report, f"{step} {errno.EINVAL}".encode())
    finally:
        os._exit(127)


def _write(descriptor: int, content: bytes) -> None:
    os.write(descriptor, content)
    os.close(descriptor)


def own_oom_score_adj() -> int:
    """How soon the kernel kills this process when memory runs out: -1000, never, to 1000."""
    with open(_OOM_SCORE_ADJ) as file:
        return int(file.read())


def least_nice() -> int:
    """The least niceness that this process may give to a task (setpriority(2))."""
    with open("/proc/self/status") as status:
        capabilities = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff:"))
    if capabilities >> _CAP_SYS_NICE & 1:
        return -20
    limit = resource.getrlimit(resource.RLIMIT_NICE)[0]
    by_limit = -20 if limit == resource.RLIM_INFINITY else 20 - limit
    return min(by_limit, os.getpriority(os.PRIO_PROCESS, 0))


def _become_user(name: str, pipes: Pipes, *, may_be_root: bool) -> None:
    """Take on all rights of a user, for good. The look-up may wait for a directory service: hence in the child.

    A number is no name, whatever the directory service says; a name with the uid 0 is root.
    """
    import pwd

    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise OSError(errno.ENOENT, "no such user") from None
    if name.isdigit():
        raise OSError(errno.ENOENT, "a number is no name")
    if entry.pw_uid == 0 and not may_be_root:
        raise OSError(errno.EACCES, "it is root by its uid")
    if os.geteuid() != 0:
        if entry.pw_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "only root may become another user")
        return
    for pipe in {pipes.output, pipes.error}:
        os.fchown(pipe, entry.pw_uid, entry.pw_gid)  # else `echo x > /dev/stderr` in the task is denied
    os.initgroups(name, entry.pw_gid)
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)


def environment(env: list[bytes]) -> dict[bytes, bytes]:
    variables = {}
    for item in env:
        name, _, value = item.partition(b"=")
        variables[name] = value
    return variables


def find_program(name: bytes, path: bytes | None) -> bytes:
    """Where the program is, by the *task's* PATH; a name with a slash is taken as it is. Raises OSError."""
    if b"/" in name:
        return name
    number = errno.ENOENT
    for folder in (DEFAULT_PATH.encode() if path is None else path).split(b":"):
        candidate = (folder or b".") + b"/" + name
        if os.access(candidate, os.X_OK):
            if not os.path.isdir(candidate):
                return candidate
            number = errno.EACCES
        elif os.path.exists(candidate):
            number = errno.EACCES
    raise OSError(number, os.strerror(number))


def explain(start: Start, step: str, number: int) -> SpawnError:
    """The error of a step, with one line for people."""
    return SpawnError(step, number, message(step, number, start.argv[0], start.cwd, start.user))


def message(step: str, number: int, program: bytes, cwd: bytes, user: str) -> str:
    """What failed, where, and the remedy where there is one."""
    reason = os.strerror(number)
    name = os.fsdecode(program)[:200]
    if step == "cwd":
        return f"cannot enter the folder {os.fsdecode(cwd)[:200]}: {reason}"
    if step == "user":
        if number == errno.ENOENT:
            return f"no user {user} on this host"
        if number == errno.EACCES:
            return f"user {user} is root by its uid: write user: root"
        return f"cannot become user {user}: {reason} (only a keeper that runs as root can)"
    if step == "cgroup":
        return f"cannot enter the cgroup of the attempt: {reason}"
    if step != "exec":
        return f"{step}: {reason}"
    if number == errno.ENOENT and b"/" not in program:
        return f"no program {name} in the task's PATH"
    if number == errno.ENOENT and os.path.exists(os.path.join(cwd, program)):
        return f"cannot run {name}: the interpreter in its first line does not exist"
    if number == errno.ENOEXEC:
        return f"cannot run {name}: it has no #! line and is no program of this machine"
    if number == errno.E2BIG:
        return f"cannot run {name}: arguments or environment too long (128 KiB each, 2 MiB in all): use a file"
    return f"cannot run {name}: {reason}"
