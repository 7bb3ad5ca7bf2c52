"""The frames of the keeper's protocol: between daemon and keeper, and between keeper and logger.

A frame is a length (u32, little endian) of what follows, one byte of kind, then fields, each a length (u32) and its
bytes. Numbers are decimal text; a list is its items, each ended by NUL; a field may be added at the end of a frame
and old readers ignore it. Descriptors travel beside the bytes (SCM_RIGHTS) and belong to the frames in order. Bytes
to values and back: it knows nothing of sockets, processes or files.
"""

from __future__ import annotations

import os
import struct

from pyflowd.keeper.credentials import is_file_name, is_valid

VERSION = 1
LEVEL_MASKS = 2
LEVEL_SERVICE = 3
LEVEL = LEVEL_SERVICE
"""What a keeper of this version understands beyond `VERSION`, told in its WELCOME; one that tells none has level 1. At
`LEVEL_MASKS` it takes secrets out of a task's output; an older one would write them, and must not be given any. At
`LEVEL_SERVICE` it knows limits and origins."""
MAX_FRAME_BYTES = 8 << 20
"""Arguments and environment together are at most 2 MiB by default (the kernel's limit); the rest is room."""
MAX_ID_BYTES = 200

# Daemon to keeper.
HELLO, LIST, START, STOP, ACKNOWLEDGE, UPGRADE, GOODBYE = range(1, 8)
# Keeper to daemon. The last field of WELCOME says what there is of cgroups: `cgroup: memory cpu`, or `none: ` and why.
WELCOME, RUNNING, EXIT, FAILED, LOST, LISTED, REFUSED, UPGRADING = range(64, 72)
# Keeper to logger, and back.
LOG_ADD, LOG_NOTE, LOG_RETIRE = range(128, 131)
LOG_DONE, LOG_RETIRED, LOG_HELD, LOG_READY = range(192, 196)

FLAG_STDIN = 1
"""Of START: a third descriptor is the task's standard input."""
FLAG_APART = 2
"""Of START: standard output and error are kept apart. Of LOG_ADD: a fourth descriptor is the pipe of standard error."""
FLAG_GAP = 1
"""Of LOG_ADD: an earlier logger died with this log; say that output may be missing."""

LIMITS = {
    "memory_max": (1, 1 << 62), "cpu_max": (1, 1_000_000), "cpu_weight": (1, 10_000), "io_weight": (1, 10_000),
    "tasks_max": (1, 1 << 30), "nice": (-20, 19),
}  # fmt: skip
"""Least and most of each limit: bytes, percent of one processor, weights, processes and threads, niceness."""

_U32 = struct.Struct("<I")
_pack_u32 = _U32.pack
_unpack_u32 = _U32.unpack_from

Frame = tuple[int, list[bytes]]


class WireError(ValueError):
    """The peer's bytes are no frame, or a frame that says nothing sensible. Ends the connection, nothing else."""


def frame(kind: int, *fields: bytes) -> bytes:
    """The bytes of one frame."""
    parts = [b"", b""]
    size = 1
    for field in fields:
        parts.append(_pack_u32(len(field)))
        parts.append(field)
        size += 4 + len(field)
    parts[0] = _pack_u32(size)
    parts[1] = bytes((kind,))
    return b"".join(parts)


def take_frames(buffer: bytearray) -> list[Frame]:
    """Take all whole frames from the front of `buffer`; a frame that is cut off stays."""
    frames: list[Frame] = []
    at, end = 0, len(buffer)
    while end - at >= 4:
        size = _unpack_u32(buffer, at)[0]
        if not 1 <= size <= MAX_FRAME_BYTES:
            raise WireError(f"frame of {size} bytes: 1 to {MAX_FRAME_BYTES} are allowed")
        if end - at < 4 + size:
            break
        frames.append((buffer[at + 4], _take_fields(buffer, at + 5, at + 4 + size)))
        at += 4 + size
    if at:
        del buffer[:at]
    return frames


def _take_fields(buffer: bytes | bytearray, at: int, end: int) -> list[bytes]:
    fields = []
    while at < end:
        if end - at < 4:
            raise WireError("a field's length is cut off")
        size = _unpack_u32(buffer, at)[0]
        at += 4
        if size > end - at:
            raise WireError("a field is longer than its frame")
        fields.append(bytes(buffer[at : at + size]))
        at += size
    return fields


def pack_list(items: list[bytes] | tuple[bytes, ...]) -> bytes:
    """Items, each ended by NUL. Raises ValueError if an item holds a NUL, which no argument may."""
    packed = b"".join([item + b"\0" for item in items])
    if packed.count(b"\0") != len(items):
        raise ValueError("a NUL byte cannot be part of an argument or of the environment")
    return packed


def unpack_list(packed: bytes) -> list[bytes]:
    if not packed:
        return []
    if packed[-1]:
        raise WireError("a list does not end with NUL")
    return packed[:-1].split(b"\0")


def pack_blobs(blobs: list[bytes] | tuple[bytes, ...]) -> bytes:
    """Items that may hold any byte, as one field."""
    return b"".join([_pack_u32(len(blob)) + blob for blob in blobs])


def unpack_blobs(packed: bytes) -> tuple[bytes, ...]:
    return tuple(_take_fields(packed, 0, len(packed)))


def number(field: bytes, least: int = 0, most: int = 1 << 62) -> int:
    """The number that a field says, within bounds."""
    if not field.isdigit() or len(field) > 20 or not least <= (value := int(field)) <= most:
        raise WireError(f"{field[:20]!r} is no number from {least} to {most}")
    return value


def pack_number(value: int) -> bytes:
    return b"%d" % value


def text(field: bytes) -> str:
    try:
        return field.decode()
    except UnicodeDecodeError as error:
        raise WireError("text is not UTF-8") from error


def attempt_id(field: bytes) -> str:
    """An attempt's id: opaque, but short, without control characters, for it stands in a line of the journal, and such
    that a file in a folder of the keeper's can be called so.
    """
    if not 0 < len(field) <= MAX_ID_BYTES:
        raise WireError(f"an attempt id has 1 to {MAX_ID_BYTES} bytes, not {len(field)}")
    if min(field) < 0x20 or 0x7F in field:
        raise WireError("an attempt id holds a control character")
    if not is_file_name(field):
        raise WireError("an attempt id is no name of a file")
    return text(field)


class Start:
    """A START request: all that a task process is made of. Durations in microseconds, 0 for none."""

    __slots__ = (
        "argv", "attempt", "credentials", "cwd", "env", "flags", "journal", "kill_grace_us", "leftover_allow", "limits",
        "log_max_bytes", "masks", "may_be_root", "origin", "orphan_grace_us", "refused", "timeout_us", "umask", "user",
    )  # fmt: skip

    def __init__(self, attempt: str, argv: list[bytes], env: list[bytes], cwd: bytes, user: str = "") -> None:
        self.attempt = attempt
        self.argv = argv
        self.env = env
        self.cwd = cwd
        self.user = user
        self.umask = 0o022
        self.timeout_us = 0
        self.kill_grace_us = 10_000_000
        self.leftover_allow = False
        self.orphan_grace_us = 5_000_000
        self.log_max_bytes = 0
        self.flags = 0
        self.masks: tuple[bytes, ...] = ()
        """Secrets to be taken out of its output. Any bytes; never in a line of ours."""
        self.credentials: tuple[bytes, ...] = ()
        """Secrets that it finds as files: a name and the content, in turn."""
        self.limits: dict[str, int] = {}
        """Of `LIMITS`."""
        self.journal: tuple[bytes, ...] = ()
        """Its output goes to the host's journal, too, line by line, with these fields: `NAME=value` each."""
        self.origin: tuple[str, str, str] | None = None
        """Where it is defined: absolute path of the file, SHA-256 of its text in hexadecimal, name of the task."""
        self.may_be_root = True
        """Not of the request: what the keeper itself has found out. False: not even by a name with the uid 0."""
        self.refused = ""
        """Not of the request: why the keeper does not start it."""

    @property
    def descriptors(self) -> int:
        """How many descriptors travel with it: log, index, perhaps standard input."""
        return 2 + (self.flags & FLAG_STDIN)


def pack_start(start: Start) -> bytes:
    more = [
        pack_blobs(start.masks),
        pack_blobs(start.credentials),
        pack_list([b"%s=%d" % (name.encode(), value) for name, value in start.limits.items()]),
        pack_list([os.fsencode(part) for part in start.origin or ()]),
        pack_list(start.journal),
    ]
    while more and not more[-1]:
        more.pop()  # most have none of it
    return frame(
        START,
        start.attempt.encode(),
        pack_list(start.argv),
        pack_list(start.env),
        start.cwd,
        start.user.encode(),
        b"%d" % start.umask,
        b"%d" % start.timeout_us,
        b"%d" % start.kill_grace_us,
        b"allow" if start.leftover_allow else b"kill",
        b"%d" % start.orphan_grace_us,
        b"%d" % start.log_max_bytes,
        b"%d" % start.flags,
        *more,
    )


def unpack_start(fields: list[bytes]) -> Start:
    if len(fields) < 12:
        raise WireError(f"START has {len(fields)} fields, needs 12")
    name, argv, env, cwd, user, umask, timeout, grace, leftover, orphan_grace, log_max, flags = fields[:12]
    start = Start(attempt_id(name), unpack_list(argv), unpack_list(env), cwd, text(user))
    if not start.argv or b"\0" in cwd or b"\0" in user:
        raise WireError("START has no program, or a NUL in its folder or user")
    if leftover not in (b"kill", b"allow"):
        raise WireError("leftover is neither kill nor allow")
    start.umask = number(umask, most=0o777)
    start.timeout_us = number(timeout)
    start.kill_grace_us = number(grace)
    start.leftover_allow = leftover == b"allow"
    start.orphan_grace_us = number(orphan_grace)
    start.log_max_bytes = number(log_max)
    start.flags = number(flags, most=255)
    start.masks = unpack_blobs(fields[12]) if len(fields) > 12 else ()
    start.credentials = unpack_blobs(fields[13]) if len(fields) > 13 else ()
    if start.credentials and not is_valid(start.credentials):
        raise WireError("START has credentials whose names can be no files")
    start.limits = _limits(unpack_list(fields[14])) if len(fields) > 14 else {}
    start.origin = _origin(unpack_list(fields[15])) if len(fields) > 15 and fields[15] else None
    start.journal = _journal(unpack_list(fields[16])) if len(fields) > 16 else ()
    return start


def _journal(items: list[bytes]) -> tuple[bytes, ...]:
    """Fields that tell whose output it is: the journal trusts what the keeper says, so no others can be given."""
    for item in items:
        name, equals, value = item.partition(b"=")
        known = name.startswith(b"PYFLOW_") and len(name) <= 64 and name.replace(b"_", b"").isalpha() and name.isupper()
        if not equals or not known or len(value) > 1024:
            raise WireError(f"START has {item[:40]!r}, which is no field of the journal")
    return tuple(items)


def _limits(items: list[bytes]) -> dict[str, int]:
    found = {}
    for item in items:
        name, _, value = text(item).partition("=")
        if name not in LIMITS:
            raise WireError(f"START has a limit {name[:40]!r}, which there is not")
        least, most = LIMITS[name]
        digits = value.removeprefix("-")
        if not digits.isdigit() or len(digits) > 20 or not least <= int(value) <= most:
            raise WireError(f"START has a limit {name} that is no number from {least} to {most}")
        found[name] = int(value)
    return found


def _origin(parts: list[bytes]) -> tuple[str, str, str]:
    if len(parts) != 3 or not parts[0].startswith(b"/"):
        raise WireError("START has an origin that is no path, digest and task")
    return os.fsdecode(parts[0]), text(parts[1]), text(parts[2])


End = tuple[int, tuple[str, ...]]
"""How an attempt ended: EXIT, FAILED or LOST with its fields as text, the same on the wire and in the journal.

EXIT: code, signal (one of them empty), started_us, ended_us, user_us, system_us, max_rss_bytes, stop (`timeout`,
`request` or empty), leftovers killed after the main process was gone, processes that could not be killed; and of an
attempt with a cgroup, where user_us and system_us are those of all its processes: oom_kills, tasks_refused (by
`tasks_max`), peak_bytes (of all memory, caches of files among it).
FAILED: step, errno, message, at_us. LOST: why, at_us.
"""
END_FIELDS = {EXIT: 10, FAILED: 4, LOST: 2}
"""How many each has at least."""
CGROUP_FIELDS = 3
"""More of EXIT, where the attempt had a cgroup."""


def pack_end(attempt: str, end: End) -> bytes:
    kind, fields = end
    return frame(kind, attempt.encode(), *[field.encode() for field in fields])
