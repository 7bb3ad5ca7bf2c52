"""The child that reads definitions for the daemon, within limits: a bomb ends this process, and nothing else.

It is started by `loader`, takes requests on descriptor 0 and answers each in turn. It knows nothing of what is in
force; how files are read is the affair of `loader_read`.
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import socket
from typing import BinaryIO

import msgspec

from pyflowd.base.filenames import is_definition_name, split_name
from pyflowd.folder.loader_frames import (
    HEADER_BYTES,
    Answer,
    FileRequest,
    Folders,
    Loaded,
    PluginNotice,
    Ready,
    Rejected,
    Request,
    Seen,
    TextRequest,
    Traced,
    TraceRequest,
    Unsettled,
    Vanished,
    decode_request,
    frame,
)
from pyflowd.folder.loader_read import Changed, Gone, Outside, Reader
from pyflowd.folder.origin import leaves
from pyflowd.folder.ownership import of_owner
from pyflowd.language.assembly import Assembled, assemble, no_templates
from pyflowd.language.definition_text import Part, Role, pack, unpack
from pyflowd.language.plugins import Known
from pyflowd.model.problem import Problem
from pyflowd.plugins.plugin_checks import check_plugins

CPU_LIMIT_S = 2.0
"""Processor time for one file; then SIGPROF ends the child."""
MEMORY_LIMIT_BYTES = 256 * 1024 * 1024
"""Address space beyond what the started child has."""
_MAX_COMPILED_BYTES = 64 * 1024 * 1024
_encoder = msgspec.msgpack.Encoder()


def main() -> None:
    """Answers requests on descriptor 0 until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the daemon, which then closes the socket
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    peer = socket.socket(fileno=0)
    limit_self()
    peer.sendall(frame(Ready()))
    requests = peer.makefile("rb")
    known: Known | None = None
    while (request := _receive(requests)) is not None:
        if isinstance(request, PluginNotice):
            known = request.known
            continue
        signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
        answer = frame(handle(request, known))
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


def _receive(requests: BinaryIO) -> Request | PluginNotice | None:
    """The next request; None if the other end is closed."""
    header = requests.read(HEADER_BYTES)
    body = requests.read(int.from_bytes(header, "big"))
    return decode_request(body) if body else None


def handle(request: Request, known: Known | None = None) -> Answer:
    """The answer to one request; a file that takes too much memory is refused like any other. `known`: the plugins."""
    label = request.file if isinstance(request, FileRequest) else request.label
    token = "" if isinstance(request, FileRequest) else request.token
    try:
        match request:
            case FileRequest():
                return load_file(request, known)
            case TextRequest():
                return check_text(request, known)
            case TraceRequest():
                return trace(request)
    except MemoryError:
        message = f"reading it takes more than {MEMORY_LIMIT_BYTES // 1024**2} MiB of memory"
        return Rejected(file=label, token=token, problems=(_problem(label, "too_large", message),))


def _problem(file: str, code: str, message: str, fix: str = "") -> Problem:
    return Problem(file=file, code=code, message=message, fix=fix)


# ---- Checking -------------------------------------------------------------------------------------------------------


def check_text(request: TextRequest, known: Known | None = None) -> Loaded | Rejected:
    """The definition in a text that a client sent, compiled, or what is wrong with it."""
    main = Part(label=request.label, data=request.data, is_json=request.is_json)
    folders = request.folders or Folders("")
    reader = Reader(folders)
    if folders.by_owner:
        reader.owner = request.owner
    find = reader.template if request.folders else no_templates
    try:
        drop_ins = reader.drop_ins(request.file) if request.folders and request.file else []
        assembled = assemble(main, drop_ins, find, stem=request.stem)
    except Changed:
        problem = _problem(request.label, "not_read", "its template changed while it was read", "try again")
        return Rejected(file=request.label, token=request.token, problems=(problem,))
    except Outside as outside:
        problem = _problem(outside.label, outside.code, outside.message, outside.fix)
        return Rejected(file=request.label, token=request.token, problems=(problem,))
    return _answer(_checked(assembled, known, folders, request.owner), request.label, request.token)


def load_file(request: FileRequest, known: Known | None = None) -> Answer:
    """A file of the folders with all that belongs to it."""
    file = request.file
    reader = Reader(request.folders)
    try:
        if not is_definition_name(file):
            raise Outside(file, "it is not named like a definition (.yaml, .yml, .json)")
        main, *drop_ins = [reader.alone(file)] if request.alone else reader.file(file)
        stem, _ = split_name(file)
        assembled = assemble(main, drop_ins, reader.template, stem=stem)
    except Gone:
        return Vanished(file=file)
    except Changed:
        return Unsettled(file=file)
    except Outside as outside:
        problem = _problem(outside.label, outside.code, outside.message, outside.fix)
        return Rejected(file=file, problems=(problem,), seen=reader.seen("") if reader.has_main else None)
    checked = _checked(assembled, known, request.folders, reader.owner or 0)
    return _answer(checked, file, seen=reader.seen(assembled.template), source=main.label)


def _checked(assembled: Assembled, known: Known | None, folders: Folders, owner: int) -> Assembled:
    """Against the plugins that there are, and against what its owner, a uid, may say."""
    checked = check_plugins(assembled, known)
    return of_owner(checked, owner, os.geteuid()) if folders.by_owner and owner else checked


def _answer(
    assembled: Assembled, file: str, token: str = "", *, seen: Seen | None = None, source: str = ""
) -> Loaded | Rejected:
    workflow = assembled.workflow
    if workflow is None:
        return Rejected(file=file, token=token, problems=tuple(assembled.problems), seen=seen)
    compiled = _encoder.encode(workflow)
    if len(compiled) > _MAX_COMPILED_BYTES:
        message = f"its compiled form has {len(compiled)} bytes; at most {_MAX_COMPILED_BYTES} are taken"
        problem = _problem(file, "too_large", message, "values under defaults count once for each task")
        return Rejected(file=file, token=token, problems=(problem,), seen=seen)
    text = pack(assembled.parts)
    return Loaded(
        file=file,
        token=token,
        name=workflow.name,
        digest=hashlib.sha256(text).hexdigest(),
        text=text,
        compiled=compiled,
        problems=tuple(assembled.problems),
        seen=seen,
        source=source,
    )


def trace(request: TraceRequest) -> Traced:
    """Where each value of a stored definition comes from. What it was made of then is all in its text."""
    parts = unpack(request.data, request.label, is_json=request.is_json)
    main = next(part for part in parts if part.role is Role.WORKFLOW)
    drop_ins = [part for part in parts if part.role is Role.DROP_IN]
    base = next((part for part in parts if part.role is Role.TEMPLATE), None)
    assembled = assemble(main, drop_ins, lambda name: base or no_templates(name), stem=request.stem)
    if assembled.document is None:
        why = "; ".join(map(str, assembled.problems[:1]))
        return Traced(file=request.label, token=request.token, problem=f"this version cannot read it any more: {why}")
    return Traced(file=request.label, token=request.token, leaves=tuple(leaves(assembled.document, main.label)))
