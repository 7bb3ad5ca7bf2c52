"""Upgrade in place: the next version of the keeper runs in the same process, with the same children and descriptors.

The state goes through a memfd in the wire's frames, with a version of its own: the new code reads it, as a child
first (`--check`), and only when that says yes by exec (`--resume`). Signals are blocked from before the exec until
the new version has its handlers: in between, each of them would be deadly.
"""

from __future__ import annotations

import os
import signal
import sys
from _socket import socket

from pyflowd.keeper.attempt import Attempt
from pyflowd.keeper.channel import Channel
from pyflowd.keeper.loggerlink import ENTRY
from pyflowd.keeper.wire import WireError, frame, pack_blobs, take_frames, text, unpack_blobs

STATE_VERSION = 4
"""Of what is written here; raised when an older version could not go on with it. 2 added `error_pipe_fd`, 3
the secrets to be masked: an older version would write them; 4 what goes to the host's journal, in a frame that an
older version takes for an attempt."""
_HEAD, _ATTEMPT, _MASKS, _JOURNAL = 1, 2, 3, 4
_NUMBERS = (
    "tag", "phase", "pid", "began_us", "started_us", "due_us", "kill_grace_us", "orphan_grace_us", "leftover_allow",
    "log_max_bytes", "pipe_fd", "log_fd", "index_fd", "failure_fd", "log_open", "logged", "status", "ended_us",
    "killed", "unkillable", "acknowledged", "error_pipe_fd", "in_cgroup",
)  # fmt: skip
_FIRST_NUMBERS = _NUMBERS.index("acknowledged") + 1
"""So many of them a state of version 1 holds."""
_BOOLEANS = ("leftover_allow", "log_open", "logged", "acknowledged", "in_cgroup")
_DESCRIPTORS = ("pipe_fd", "error_pipe_fd", "log_fd", "index_fd", "failure_fd")


class State:
    """Descriptors are numbers, -1 for none. `attempts`: each with whether its main process waits to be reaped."""

    __slots__ = (
        "attempts", "boot_id", "daemon", "daemon_descriptors", "daemon_received", "daemon_unsent",
        "draining", "epoch", "folder", "journal", "leaving", "lineage", "listener", "lock", "logger",
        "logger_pid", "logger_received", "soft_files", "tag", "tag_step",
    )  # fmt: skip

    def __init__(self) -> None:
        self.epoch = ""
        self.boot_id = ""
        self.lineage: tuple[str, ...] = ()
        self.folder = self.lock = self.listener = self.journal = -1
        self.tag = self.tag_step = self.soft_files = 0
        self.logger = -1
        self.logger_pid = 0
        self.logger_received = b""
        self.daemon = -1
        self.daemon_received = b""
        self.daemon_unsent = b""
        self.daemon_descriptors: tuple[int, ...] = ()
        self.draining = self.leaving = False
        self.attempts: list[tuple[Attempt, bool]] = []

    def holds_secrets(self) -> bool:
        return any(attempt.masks for attempt, _ in self.attempts)


def descriptors_of(state: State) -> list[int]:
    """All that must stay open over the exec."""
    found = [state.folder, state.lock, state.listener, state.journal, state.logger, state.daemon]
    found.extend(state.daemon_descriptors)
    for attempt, _ in state.attempts:
        found.extend(getattr(attempt, name) for name in _DESCRIPTORS)
    return [descriptor for descriptor in found if descriptor >= 0]


def pack(state: State) -> bytes:
    head = frame(
        _HEAD,
        _number(STATE_VERSION),
        state.epoch.encode(),
        state.boot_id.encode(),
        "\t".join(state.lineage).encode(),
        _numbers((state.folder, state.lock, state.listener, state.journal)),
        _numbers((state.tag, state.tag_step, state.soft_files, state.draining, state.leaving)),
        _numbers((state.logger, state.logger_pid)),
        state.logger_received,
        _number(state.daemon),
        state.daemon_received,
        state.daemon_unsent,
        _numbers(state.daemon_descriptors),
    )
    return head + b"".join([_pack_attempt(attempt, unreaped) for attempt, unreaped in state.attempts])


def _pack_attempt(attempt: Attempt, unreaped: bool) -> bytes:
    kind, fields = attempt.end or (0, ())
    packed = frame(
        _ATTEMPT,
        attempt.id.encode(),
        _numbers(tuple(int(getattr(attempt, name)) for name in _NUMBERS)),
        _numbers(attempt.cpu),
        attempt.stop.encode(),
        attempt.program,
        attempt.cwd,
        attempt.user.encode(),
        _number(unreaped),
        _number(kind),
        *[field.encode() for field in fields],
    )
    packed += _pack_masks(attempt) if attempt.masks else b""
    return packed + (frame(_JOURNAL, *attempt.journal) if attempt.journal else b"")


def _pack_masks(attempt: Attempt) -> bytes:
    """Follows its attempt. The memfd of the state is memory, and closed as soon as it is read."""
    streams = [item for stream, held in attempt.held.items() for item in (_number(stream), held)]
    return frame(_MASKS, pack_blobs(attempt.masks), *streams)


def unpack(packed: bytes) -> State:
    """Raises WireError if this is no state, or that of a newer version."""
    buffer = bytearray(packed)
    frames = take_frames(buffer)
    if buffer or not frames or frames[0][0] != _HEAD:
        raise WireError("the state is cut off")
    head = frames[0][1]
    if _parse(head[0])[0] > STATE_VERSION:
        raise WireError("the state is of a newer version")
    state = State()
    state.epoch, state.boot_id = text(head[1]), text(head[2])
    state.lineage = tuple(text(head[3]).split("\t")) if head[3] else ()
    state.folder, state.lock, state.listener, state.journal = _parse(head[4])
    state.tag, state.tag_step, state.soft_files, draining, leaving = _parse(head[5])[:5]
    state.draining, state.leaving = bool(draining), bool(leaving)
    state.logger, state.logger_pid = _parse(head[6])
    state.logger_received = head[7]
    state.daemon = _parse(head[8])[0]
    state.daemon_received, state.daemon_unsent = head[9], head[10]
    state.daemon_descriptors = tuple(_parse(head[11]))
    for kind, fields in frames[1:]:
        if kind == _MASKS and state.attempts:
            _unpack_masks(state.attempts[-1][0], fields)
        elif kind == _JOURNAL and state.attempts:
            state.attempts[-1][0].journal = tuple(fields)
        else:
            state.attempts.append(_unpack_attempt(fields))
    return state


def _unpack_attempt(fields: list[bytes]) -> tuple[Attempt, bool]:
    attempt = Attempt(text(fields[0]))
    numbers = _parse(fields[1])
    if not _FIRST_NUMBERS <= len(numbers) <= len(_NUMBERS):
        raise WireError(f"the state of an attempt has {len(numbers)} numbers")
    for name, value in zip(_NUMBERS, numbers, strict=False):  # what an older version did not know keeps its default
        setattr(attempt, name, bool(value) if name in _BOOLEANS else value)
    user_us, system_us, rss_bytes = _parse(fields[2])
    attempt.cpu = (user_us, system_us, rss_bytes)
    attempt.stop = text(fields[3])
    attempt.program, attempt.cwd, attempt.user = fields[4], fields[5], text(fields[6])
    kind = _parse(fields[8])[0]
    if kind:
        attempt.end = (kind, tuple(text(field) for field in fields[9:]))
    return attempt, bool(_parse(fields[7])[0])


def _unpack_masks(attempt: Attempt, fields: list[bytes]) -> None:
    attempt.masks = unpack_blobs(fields[0])
    attempt.held = {_parse(stream)[0]: held for stream, held in zip(fields[1::2], fields[2::2], strict=True)}


def _number(value: int) -> bytes:
    return b"%d" % value


def _numbers(values: tuple[int, ...]) -> bytes:
    return " ".join([str(int(value)) for value in values]).encode()


def _parse(field: bytes) -> list[int]:
    try:
        return [int(word) for word in field.split()]
    except ValueError as error:
        raise WireError("the state holds no number where one belongs") from error


# ---- Over the exec ----


def _memfd(state: State) -> int:
    descriptor = os.memfd_create("pyflow-keeper-state")
    rest = pack(state)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _arguments(option: str, descriptor: int) -> list[str]:
    return [sys.executable, "-I", "-S", ENTRY, *own_arguments(), option, str(descriptor)]


def own_arguments() -> list[str]:
    """How this process was called, without what was only for its start."""
    arguments = [word for word in sys.argv[1:] if word != "--detach"]
    if "--resume" in arguments:
        at = arguments.index("--resume")
        del arguments[at : at + 2]
    return arguments


def start_check(state: State) -> int:
    """Start the version that is installed now with `--check`; the pid. It ends with 0 if it can take over."""
    descriptor = _memfd(state)
    try:
        return os.posix_spawn(
            sys.executable,
            _arguments("--check", 3),
            dict(os.environ),
            file_actions=((os.POSIX_SPAWN_DUP2, descriptor, 3),),
            setsigmask=(),
            setsigdef=(signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM),
        )
    finally:
        os.close(descriptor)


def replace_self(state: State) -> int:
    """Run the new version in this process. Returns only if that failed: the errno, with all as before."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
    kept = descriptors_of(state)
    state_fd = -1
    try:
        state_fd = _memfd(state)
        kept.append(state_fd)
        for descriptor in kept:
            os.set_inheritable(descriptor, True)
        os.execve(sys.executable, _arguments("--resume", state_fd), os.environ)  # noqa: S606  no shell on purpose
    except OSError as error:
        for descriptor in kept:
            os.set_inheritable(descriptor, False)
        if state_fd >= 0:
            os.close(state_fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return error.errno or 0


def read_state(descriptor: int) -> State:
    with open(descriptor, "rb") as file:
        return unpack(file.read())


def take_descriptors(state: State) -> None:
    """They are inherited now; keep them from the tasks."""
    for descriptor in descriptors_of(state):
        os.set_inheritable(descriptor, False)


def daemon_channel(state: State) -> Channel | None:
    if state.daemon < 0:
        return None
    channel = Channel(socket(fileno=state.daemon))
    channel.received += state.daemon_received
    channel.descriptors.extend(state.daemon_descriptors)
    if state.daemon_unsent:
        channel.send(state.daemon_unsent)
    return channel
