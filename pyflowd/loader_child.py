"""The child that reads definitions for the daemon, within limits: a bomb ends this process, and nothing else.

It is started by `loader`, takes requests on descriptor 0 and answers each in turn. A file is opened beneath its folder
without following a link out of it, and counts only if it is the same before and after the read (rule D4). It knows
nothing of what is in force.
"""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import socket
import stat
import time
from typing import BinaryIO

import msgspec

from pyflowd import lint
from pyflowd.document import MAX_BYTES
from pyflowd.filenames import is_definition_name, split_name
from pyflowd.loader_frames import (
    HEADER_BYTES,
    Answer,
    FileRequest,
    Loaded,
    Ready,
    Rejected,
    Request,
    Signature,
    TextRequest,
    Unsettled,
    Vanished,
    decode_request,
    frame,
    signature_of,
)
from pyflowd.model import Problem

CPU_LIMIT_S = 2.0
"""Processor time for one file; then SIGPROF ends the child."""
MEMORY_LIMIT_BYTES = 256 * 1024 * 1024
"""Address space beyond what the started child has."""
_MAX_COMPILED_BYTES = 64 * 1024 * 1024
_TICK_NS = 20_000_000
"""The coarsest clock by which file systems stamp changes, 10 ms, twice."""
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_FOLDER_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

_encoder = msgspec.msgpack.Encoder()


class Outside(Exception):
    """A file that is not to be read; the message says why."""


def main() -> None:
    """Answers requests on descriptor 0 until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the daemon, which then closes the socket
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    peer = socket.socket(fileno=0)
    limit_self()
    peer.sendall(frame(Ready()))
    requests = peer.makefile("rb")
    while (request := _receive(requests)) is not None:
        signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
        answer = frame(handle(request))
        signal.setitimer(signal.ITIMER_PROF, 0)
        peer.sendall(answer)


def limit_self() -> None:
    """No files written, no processes, no core; address space bounded from here on."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        base_bytes = int(statm.read().split()[0]) * resource.getpagesize()
    limits = (
        (resource.RLIMIT_AS, base_bytes + MEMORY_LIMIT_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NPROC, 0),
    )
    for limit, value in limits:
        hard = resource.getrlimit(limit)[1]
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bounded, bounded))


def _receive(requests: BinaryIO) -> Request | None:
    """The next request; None if the other end is closed."""
    header = requests.read(HEADER_BYTES)
    body = requests.read(int.from_bytes(header, "big"))
    return decode_request(body) if body else None


def handle(request: Request) -> Answer:
    """The answer to one request; a file that takes too much memory is refused like any other."""
    label = request.file if isinstance(request, FileRequest) else request.label
    try:
        if isinstance(request, FileRequest):
            return _load_file(request)
        return check_text(request)
    except MemoryError:
        message = f"reading it takes more than {MEMORY_LIMIT_BYTES // 1024**2} MiB of memory"
        token = "" if isinstance(request, FileRequest) else request.token
        return Rejected(file=label, token=token, problems=(_problem(label, "too_large", message),))


def _problem(file: str, code: str, message: str, fix: str = "") -> Problem:
    return Problem(file=file, code=code, message=message, fix=fix)


# ---- Checking -------------------------------------------------------------------------------------------------------


def check_text(request: TextRequest, signature: Signature | None = None) -> Loaded | Rejected:
    """The definition in a text, compiled, or what is wrong with it."""
    digest = hashlib.sha256(request.data).hexdigest()
    label, token = request.label, request.token
    workflow, problems = lint.check(label, request.data, stem=request.stem, is_json=request.is_json)
    if workflow is None:
        return Rejected(file=label, token=token, problems=tuple(problems), digest=digest, signature=signature)
    compiled = _encoder.encode(workflow)
    if len(compiled) > _MAX_COMPILED_BYTES:
        message = f"its compiled form has {len(compiled)} bytes; at most {_MAX_COMPILED_BYTES} are taken"
        problem = _problem(label, "too_large", message, "values under defaults count once for each task")
        return Rejected(file=label, token=token, problems=(problem,), digest=digest, signature=signature)
    return Loaded(
        file=label,
        token=token,
        name=workflow.name,
        digest=digest,
        text=request.data,
        compiled=compiled,
        problems=tuple(problems),
        signature=signature,
    )


def _load_file(request: FileRequest) -> Answer:
    file = request.file
    try:
        if not is_definition_name(file):
            raise Outside("it is not named like a definition (.yaml, .yml, .json)")
        data, signature = read_settled(request.folder, file, request.expected)
    except FileNotFoundError:
        return Vanished(file=file)
    except Outside as outside:
        return Rejected(file=file, problems=(_problem(file, "not_read", str(outside)),))
    except OSError as error:
        reason = f"it cannot be read: {error.strerror}"
        fix = "let the daemon's user read it" if error.errno == errno.EACCES else ""
        return Rejected(file=file, problems=(_problem(file, "not_read", reason, fix),))
    if data is None:
        return Unsettled(file=file)
    stem, is_json = split_name(file)
    return check_text(TextRequest("", file, stem, is_json, data), signature)


# ---- Reading --------------------------------------------------------------------------------------------------------


def read_settled(folder: str, file: str, expected: Signature | None = None) -> tuple[bytes | None, Signature]:
    """The whole of a file, None if it changed meanwhile, and its signature. Raises Outside and OSError.

    Read in the tick of its last change, it may change once more and look the same: such a signature fits no scan.
    """
    descriptor = open_beneath(folder, file)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise Outside("it is no regular file")
        if before.st_size > MAX_BYTES:
            raise Outside(f"it has {before.st_size} bytes; at most {MAX_BYTES} are read")
        if expected is not None and signature_of(before) != expected:
            return None, signature_of(before)
        data = _read_all(descriptor, before.st_size)
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    signature = signature_of(after)
    if signature_of(before) != signature or len(data) != after.st_size:
        return None, signature
    if time.time_ns() - after.st_ctime_ns < _TICK_NS:
        signature = Signature(signature.mtime_ns, 0, signature.size_bytes, signature.inode)
    return data, signature


def _read_all(descriptor: int, size_bytes: int) -> bytes:
    """To the end, but never much over the limit: the size may lie, as in /proc."""
    data = os.read(descriptor, size_bytes + 1)
    while len(data) <= MAX_BYTES and (part := os.read(descriptor, 64 * 1024)):
        data += part
    return data


def open_beneath(folder: str, file: str) -> int:
    """A descriptor of `file` in `folder`. A link is followed only to a target that stays in the folder."""
    folder_fd = os.open(folder, _FOLDER_FLAGS)
    try:
        return os.open(file, _READ_FLAGS, dir_fd=folder_fd)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return _open_target(folder, folder_fd, file)
    finally:
        os.close(folder_fd)


def _open_target(folder: str, folder_fd: int, file: str) -> int:
    """Opens what a link leads to, one component at a time and following none, so that nothing can be swapped in."""
    real_folder = os.path.realpath(folder)
    target = os.path.realpath(os.path.join(real_folder, file))
    if not target.startswith(real_folder.rstrip("/") + "/"):
        raise Outside("it is a link that leads out of the folder")
    *folders, last = os.path.relpath(target, real_folder).split("/")
    here = os.dup(folder_fd)
    try:
        for name in folders:
            inner = os.open(name, _FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = inner
        return os.open(last, _READ_FLAGS, dir_fd=here)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise Outside("it is a link that changed while it was followed") from None
        raise
    finally:
        os.close(here)
