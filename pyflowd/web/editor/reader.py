"""The process that reads typed texts, within limits of its own: a bomb ends it, and nothing else.

Started by `checker`; takes jobs on standard input, answers each on standard output, ends when there is nothing to do.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from pyflowctl.linting import check_text
from pyflowd.base.filenames import split_name
from pyflowd.language.assembly import REUSE
from pyflowd.language.definition_kinds import KINDS
from pyflowd.language.document import Document, Mapping
from pyflowd.model.problem import Problem
from pyflowd.web.editor import insertion
from pyflowd.web.editor.help import help_for
from pyflowd.web.editor.jobs import AddNeed, AddTask, Answer, Check, Checked, Edited, Explain, Job, Text, TypedTask

HEADER_BYTES = 4
CPU_LIMIT_S = 3.0
"""Processor time for one job."""
MEMORY_LIMIT_BYTES = 384 << 20
"""Address space beyond what the started process has."""
IDLE_S = 60.0
"""How long it is kept warm: a start takes a third of a second."""
_decoder: msgspec.msgpack.Decoder[Job] = msgspec.msgpack.Decoder(Job)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    limit_self()
    while (job := _receive(0)) is not None:
        signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
        body = msgspec.msgpack.encode(handle(job))
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.buffer.write(len(body).to_bytes(HEADER_BYTES, "big") + body)
        sys.stdout.buffer.flush()


def limit_self() -> None:
    """No files written, no core; address space bounded from here on."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        base_bytes = int(statm.read().split()[0]) * resource.getpagesize()
    for limit, value in (
        (resource.RLIMIT_AS, base_bytes + MEMORY_LIMIT_BYTES), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)
    ):  # fmt: skip
        hard = resource.getrlimit(limit)[1]
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bounded, bounded))


def _receive(fd: int) -> Job | None:
    """None: nobody asks any more."""
    if not select.select([fd], [], [], IDLE_S)[0]:
        return None
    size = int.from_bytes(_exactly(fd, HEADER_BYTES), "big")
    body = _exactly(fd, size)
    return _decoder.decode(body) if body else None


def _exactly(fd: int, size: int) -> bytes:
    found = bytearray()
    while len(found) < size:
        piece = os.read(fd, size - len(found))
        if not piece:
            return b""
        found += piece
    return bytes(found)


def handle(job: Job) -> Answer:
    """The answer to one job; a text that takes too much memory is refused like any other."""
    try:
        match job:
            case Check():
                return check(job.text)
            case AddTask():
                return _edited(lambda: insertion.add_task(job.text, job.name, job.kind, job.needs))
            case AddNeed():
                return _edited(lambda: insertion.add_need(job.text, job.task, job.need))
            case Explain():
                return help_for(job.path)
    except MemoryError:
        message = f"reading it takes more than {MEMORY_LIMIT_BYTES >> 20} MiB of memory"
        if not isinstance(job, Check):
            return Edited(text="", error=message)
        problem = Problem(file=job.text.file, code="too_large", message=message)
        return Checked(problems=[problem], tasks=[], readable=False)


def _edited(edit: Any) -> Edited:
    try:
        return Edited(text=edit())
    except insertion.Left as left:
        return Edited(text="", error=str(left))


def check(text: Text) -> Checked:
    """As `pyflowctl lint`, of the text alone: without templates, drop-ins and plugins of a host."""
    stem, is_json = split_name(text.file)
    problems, assembled = check_text(text.file, text.data, stem=stem, is_json=is_json)
    document = assembled.document
    root = document.root if document is not None else None
    if assembled.template or not isinstance(root, Mapping) or document is None:
        return Checked(
            problems=problems, tasks=[], readable=bool(assembled.template) or document is not None,
            elsewhere=bool(assembled.template),
        )  # fmt: skip
    tasks = list(_tasks(document, root))
    return Checked(
        problems=problems, tasks=tasks, readable=True,
        elsewhere=bool(REUSE & root.keys()) or any(task.kind == "uses" for task in tasks),
    )  # fmt: skip


def _tasks(document: Document, root: Mapping) -> Iterator[TypedTask]:
    """What stands under `tasks`, right or wrong."""
    section = root.get("tasks")
    if not isinstance(section, Mapping):
        return
    line_of = _Lines(document)
    for n, (name, body) in enumerate(section.items()):
        task = body if isinstance(body, Mapping) else {}
        needs = task.get("needs")
        retry = task.get("retry")
        attempts = retry.get("attempts") if isinstance(retry, Mapping) else retry
        yield TypedTask(
            name=str(name), line=line_of(section.marks[2 * n]), kind=next((key for key in KINDS if key in task), ""),
            needs=[each for each in ([needs] if isinstance(needs, str) else needs or []) if isinstance(each, str)]
            if isinstance(needs, str | list)
            else [],
            trigger_rule=rule if isinstance(rule := task.get("trigger_rule"), str) else "",
            fan_out=next((key for key in ("for_each", "matrix") if key in task), ""),
            attempts=attempts if isinstance(attempts, int) and 0 < attempts < 1000 else 1,
        )  # fmt: skip


class _Lines:
    """Lines of marks that only grow, without counting from the start each time."""

    def __init__(self, document: Document) -> None:
        self._text = document.text
        self._at = 0
        self._line = 1

    def __call__(self, mark: int) -> int:
        if mark < self._at:  # of an alias
            self._at, self._line = 0, 1
        self._line += self._text.count("\n", self._at, mark)
        self._at = mark
        return self._line
