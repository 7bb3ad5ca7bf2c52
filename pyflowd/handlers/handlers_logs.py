"""Requests for what a run leaves in files: output of its tasks, and artifacts. Hands out open descriptors.

A task is named by its node: `fetch` is a fan-out with all its items, `fetch[web1]` one of them, `ship.undo` what takes
`ship` back. Names of files come from the store, never from a request.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from pyflowd.base.peer import Peer
from pyflowd.control.control import Wait
from pyflowd.control.replies import Attached, Replies
from pyflowd.errors import NotFound, Refused, nearest
from pyflowd.events import AttemptEnded, AttemptRunning, RunEnded, StoredEvent
from pyflowd.handlers.handlers_runs import PROGRESS_QUIET_US, RunHandlers
from pyflowd.handlers.view_tasks import nodes
from pyflowd.model.workflow import Workflow
from pyflowd.protocol.requests import GetArtifact, GetLogs, ListArtifacts
from pyflowd.protocol.views import ArtifactOpen, LogClose, LogOpen
from pyflowd.protocol.views_runs import ArtifactPage, ArtifactView
from pyflowd.runtime.scratch import Scratch
from pyflowd.runtime.tasklogs import TaskLogs

PAGE = 200
LABEL_MAX = 40
"""Columns that the names of tasks take at most, so that there is room for what they said."""
NEAREST_MAX = 200
"""Keys that a misspelt one is compared with."""
_event = msgspec.msgpack.Decoder(StoredEvent)


class _Log(NamedTuple):
    """One attempt that has begun."""

    task: str
    file: str
    attempt: int
    live: bool


class LogHandlers:
    """As `Handlers`: acts when called, answers when pulled."""

    def __init__(self, of_runs: RunHandlers, logs: TaskLogs, scratch: Scratch) -> None:
        self.of_runs = of_runs
        self.store = of_runs.store
        self.runs = of_runs.runs
        self.logs = logs
        self.scratch = scratch

    # ---- Output

    def get_logs(self, request: GetLogs, _: Peer) -> Replies:
        run = self.of_runs.find_run(request.of)
        view = self.of_runs.bare_view(run)
        definition = self.of_runs.definition_of(view.digest)
        if request.task is not None:
            self._check(run, view.workflow, definition, request.task)
        one = request.task is not None and "[" in request.task
        width = 0 if one else self._width(run, definition, request.task)
        found = self._followed(run, request.task) if request.follow else self._begun(run, request)
        return self._output(run, found, width)

    def _output(self, run: int, found: Iterator[_Log | LogClose | Wait], width: int) -> Replies:
        for each in found:
            if not isinstance(each, _Log):
                yield each
            elif descriptors := self.logs.open(run, each.file, each.attempt):
                opened = LogOpen(run=run, task=each.task, attempt=each.attempt, live=each.live, label_width=width)
                yield Attached(opened, descriptors)

    def _begun(self, run: int, request: GetLogs) -> Iterator[_Log]:
        """What is there, in the order in which it began."""
        rows = (
            self.store.rows("attempts_by_begin", run)
            if request.task is None
            else self.store.rows("attempts_of_task_by_begin", run, request.task)
        )
        for task, position, state, attempts, attempt, live in list(rows):
            wanted = attempt == attempts if request.attempt is None else attempt == request.attempt
            if _is_meant(task, request.task) and (request.all_attempts or wanted):
                yield _Log(task, _file(task, position), attempt, bool(live) and state == "running")

    def _followed(self, run: int, asked: str | None) -> Iterator[_Log | LogClose | Wait]:
        """What begins and ends, from the run's first event to its last: what is new costs, not what has been."""
        files = _Files(self, run)
        opened: set[tuple[str, int]] = set()
        after = 0
        while True:
            rows = list(self.store.rows("events_of_run_after", run, after, PAGE))
            for row in rows:
                event = _event.decode(row[3])
                if isinstance(event, RunEnded):
                    return
                if not isinstance(event, (AttemptRunning, AttemptEnded)) or not _is_meant(event.task, asked):
                    continue
                key = (event.task, event.attempt)
                if isinstance(event, AttemptRunning):
                    opened.add(key)
                    yield _Log(event.task, files.of(event.task), event.attempt, live=True)
                elif key in opened:
                    opened.discard(key)
                    yield LogClose(task=event.task, attempt=event.attempt)
                else:
                    yield _Log(event.task, files.of(event.task), event.attempt, live=False)
            if rows:
                after = rows[-1][0]
            else:
                yield Wait(frozenset({f"run/{run}"}), PROGRESS_QUIET_US // 5)

    def places(self, run: int) -> dict[str, str]:
        """Items, and undoings of items, to the names of their files."""
        return {task: _file(task, position) for task, position in self.store.rows("places", run)}

    def _width(self, run: int, definition: Workflow, asked: str | None) -> int:
        """Columns for the names of what may be shown; 0 where that is one task."""
        names = [name for name in _names(definition) if _is_meant(name, asked)]
        names += [task for task, _ in self.store.rows("places", run) if _is_meant(task, asked)]
        fans = any(node.task.fan_out is not None for node in nodes(definition) if _is_meant(node.task.name, asked))
        if len(names) < 2 and not fans:
            return 0
        return min(LABEL_MAX, max(map(len, names)))

    def _check(self, run: int, workflow: str, definition: Workflow, asked: str) -> None:
        """Raises NotFound where a run has no such task."""
        names = _names(definition)
        head, bracket, _ = asked.partition("[")
        if head not in names:
            raise NotFound(f'no task "{head}"{nearest(head, names)} in run {run} of {workflow}')
        if not bracket:
            return
        known = [task for task, _ in self.store.rows("places", run) if task.startswith(f"{head}[")]
        if asked not in known:
            near = nearest(asked, known[:NEAREST_MAX])
            raise NotFound(f'no item "{asked}"{near} in run {run} of {workflow}; it has {len(known)} of {head}')

    # ---- Artifacts

    def list_artifacts(self, request: ListArtifacts, _: Peer) -> Replies:
        run = self.of_runs.find_run(request.of)
        view = self.of_runs.bare_view(run)
        if request.task is not None:
            self._check(run, view.workflow, self.of_runs.definition_of(view.digest), request.task)
        return self._artifact_pages(run, request.task)

    def _artifact_pages(self, run: int, asked: str | None) -> Replies:
        n, name, shown = -1, "", False
        while rows := list(self.store.rows("artifacts", run, n, name, PAGE)):
            n, name = rows[-1][0], rows[-1][2]
            found = [
                ArtifactView(run=run, task=row[1], name=row[2], attempt=row[3], size_bytes=row[4], sha256=row[5])
                for row in rows
                if _is_meant(row[1], asked)
            ]
            if found:
                shown = True
                yield ArtifactPage(artifacts=found)
        if not shown:
            yield ArtifactPage(artifacts=[])

    def get_artifact(self, request: GetArtifact, _: Peer) -> Replies:
        run = self.of_runs.find_run(request.of)
        view = self.of_runs.bare_view(run)
        self._check(run, view.workflow, self.of_runs.definition_of(view.digest), request.task)
        row = self.store.one_or_none("artifact", run, request.task, request.name)
        if row is None:
            known = [found[0] for found in self.store.rows("artifact_names", run, request.task)]
            kept = f"it has {', '.join(known)}" if known else "it has none"
            near = nearest(request.name, known)
            raise NotFound(f'{request.task} of run {run} has no artifact "{request.name}"{near}; {kept}')
        return self._opened(run, request, row)

    def _opened(self, run: int, request: GetArtifact, row: tuple[int, int, str, str]) -> Replies:
        origin, size_bytes, sha256, folder = row
        path = self.scratch.artifact(origin, folder, request.name)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            gone = f"it was in the folder of run {origin}" + (", whose history was removed" if origin != run else "")
            raise Refused(f"{request.name} of {request.task}, run {run}, is gone: {gone}") from None
        except OSError as error:
            raise Refused(f"{request.name} of {request.task}, run {run}, cannot be read: {error.strerror}") from None
        opened = ArtifactOpen(run=run, task=request.task, name=request.name, size_bytes=size_bytes, sha256=sha256)
        yield Attached(opened, (descriptor,))


class _Files:
    """Names of the files of nodes: of a live run from memory, of one that has ended from its rows, read once."""

    def __init__(self, handlers: LogHandlers, run: int) -> None:
        self._handlers = handlers
        self._run = run
        self._places: dict[str, str] | None = None

    def of(self, task: str) -> str:
        if "[" not in task:
            return task
        live = self._handlers.runs.live.get(self._run)
        node = live.run.tasks.get(task) if live else None
        if node is not None:
            return node.log_name
        if self._places is None:
            self._places = self._handlers.places(self._run)
        return self._places.get(task, "")


def _names(definition: Workflow) -> list[str]:
    """Every task that may have said something, without items."""
    found = nodes(definition)
    return [node.task.name for node in found] + [node.task.undo.name for node in found if node.task.undo is not None]


def _is_meant(task: str, asked: str | None) -> bool:
    """Whether a node is the one asked for, or an item of it; names of definitions hold no bracket."""
    return asked is None or task == asked or task.startswith(f"{asked}[")


def _file(task: str, position: int | None) -> str:
    """`TaskRun.log_name` of a node, from its row."""
    head = task.partition("[")[0]
    return head if position is None else f"{head}~{position}"
