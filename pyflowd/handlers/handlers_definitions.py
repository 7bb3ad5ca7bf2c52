"""Requests about definitions: what is in force and what was, how it changed, and where each value of it comes from.

As all handlers it acts when it is called, and its replies are pulled after the turn's commit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pyflowd.base.peer import Peer
from pyflowd.control.control import Wait
from pyflowd.control.replies import Replies
from pyflowd.errors import NotFound, Refused, Unavailable
from pyflowd.folder.loader_frames import Leaf
from pyflowd.handlers import views
from pyflowd.handlers.handlers_runs import PAGE, RunHandlers
from pyflowd.model.kinds import ProcessKind
from pyflowd.model.workflow import Task, Workflow, all_tasks
from pyflowd.protocol.requests import ListChanges, ShowWorkflow
from pyflowd.protocol.views_workflows import ChangePage, ChangeView, DefinitionView, OriginView, WorkflowView
from pyflowd.runtime.workflows import Entry
from pyflowd.schedules import schedule
from pyflowd.store.store import Row

_PREFIX = re.compile(r"[0-9a-f]{6,64}", re.ASCII)
_BEFORE = re.compile(r"~([0-9]{1,4})", re.ASCII)
_AMBIGUOUS_SHOWN = 5
_CHANGE_MAX = (1 << 63) - 1


class _Version(NamedTuple):
    """One text of a workflow: in force, or of the past."""

    workflow: str
    digest: str
    file: str
    loaded_us: int
    view: WorkflowView
    in_force: bool


class DefinitionHandlers:
    """Part of `Handlers`."""

    def __init__(self, of_runs: RunHandlers) -> None:
        self.store = of_runs.store
        self.workflows = of_runs.workflows
        self.definitions = of_runs.definitions

    # ---- One text

    def show(self, request: ShowWorkflow, _: Peer) -> Replies:
        if request.version:
            return self._of_past(request)
        return self._shown(self._in_force(self._find(request.workflow)), request)

    def _find(self, name: str) -> Entry:
        try:
            return self.workflows.find(name)
        except NotFound:
            if self.store.one_or_none("change_known", name) is None:
                raise
            remedy = f"see: pyflowctl history --definition {name}, pyflowctl show {name}@~0"
            raise NotFound(f"{name} was removed; {remedy}") from None

    def _in_force(self, entry: Entry) -> _Version:
        view = self.definitions.view(entry.name, None)
        return _Version(entry.name, entry.digest, entry.file, entry.loaded_us, view, in_force=True)

    def _of_past(self, request: ShowWorkflow) -> Replies:
        """Looked up when it is pulled, as the text that it may be."""
        name = request.workflow
        digest = self._digest(name, request.version)
        entry = self.workflows.entries.get(name)
        if entry is not None and entry.digest == digest:
            yield from self._shown(self._in_force(entry), request)
            return
        change = self.store.one_or_none("change_of_text", name, digest)
        definition = self.workflows.compiled(digest)
        at_us, file = change[1:] if change else (self.store.one("definition", digest)[2], "")
        view = WorkflowView(
            workflow=name, state="past", file=file, description=definition.description,
            schedules=[schedule.text_of(each, self.workflows.zone) for each in definition.triggers],
            tasks_total=len(definition.tasks),
        )  # fmt: skip
        yield from self._shown(_Version(name, digest, file, at_us, view, in_force=False), request)

    def _digest(self, name: str, version: str) -> str:
        """The digest of the text of `name` that `version` names. Raises NotFound, Refused."""
        see = f"see: pyflowctl history --definition {name}"
        if before := _BEFORE.fullmatch(version):
            row = self.store.one_or_none("change_before", name, int(before[1]))
            if row is None:
                self._find(name)
                if int(before[1]) == 1:
                    raise NotFound(f"{name} has had no other text than the one in force; {see}")
                raise NotFound(f"{name} has no text {before[1]} before the newest; {see}")
            return str(row[0])
        if not _PREFIX.fullmatch(version):
            fix = "write six or more digits of its SHA-256, or ~1 for the one before"
            raise Refused(f'"{version[:80]}" names no version of a definition; {fix}')
        found = [row[0] for row in self.store.rows("digests_between", name, version, version + "g")]
        if not found:
            self._find(name)
            raise NotFound(f"no text of {name} begins with {version}; {see}")
        if len(found) > 1:
            told = ", ".join(digest[: len(version) + 6] for digest in found[:_AMBIGUOUS_SHOWN])
            raise Refused(f"{len(found)} texts of {name} begin with {version}: {told}; write more digits")
        return str(found[0])

    def _shown(self, version: _Version, request: ShowWorkflow) -> Replies:
        """Read when it is pulled: a text that came into force in this turn is in the store after its commit."""
        row = self.store.one_or_none("definition", version.digest)
        if row is None:
            raise Unavailable(f"{version.workflow} is being recorded; ask again")
        if request.origin:
            yield from self._with_origin(version, row[0])
        else:
            yield self._view(version, row[0], None)

    def _view(self, version: _Version, text: bytes, origin: list[OriginView] | None) -> DefinitionView:
        definition: Workflow = self.workflows.compiled(version.digest)
        return DefinitionView(
            workflow=version.workflow,
            file=version.file,
            digest=version.digest,
            loaded_us=version.loaded_us,
            text=text,
            view=version.view,
            params=[param.name for param in definition.params],
            declared=[views.param_view(param) for param in definition.params],
            outputs=list(definition.outputs),
            handlers=views.handler_names(definition),
            origin=origin,
            in_force=version.in_force,
            users=sorted({self.workflows.user_of(definition, task) for task in _processes(definition)} - {""}),
        )

    # ---- Over time

    def changes(self, request: ListChanges, _: Peer) -> Replies:
        if self.store.one_or_none("change_known", request.workflow) is None:
            self.workflows.find(request.workflow)
        return self._change_pages(request.workflow, request.limit)

    def _change_pages(self, name: str, limit: int) -> Replies:
        before, left, newest = _CHANGE_MAX, limit, True
        while left > 0 and (rows := list(self.store.rows("changes", name, before, min(left, PAGE)))):
            found = [_change(row) for row in rows]
            if newest and found[0].digest is not None:
                found[0] = _change(rows[0], in_force=True)
            yield ChangePage(workflow=name, changes=found)
            before, left, newest = rows[-1][0], left - len(rows), False
        if newest:
            yield ChangePage(workflow=name, changes=[])

    # ---- Where values come from

    def _with_origin(self, version: _Version, text: bytes) -> Replies:
        """The text is read by the child that reads all definitions: the daemon parses none."""
        found: list[tuple[tuple[Leaf, ...], str]] = []
        topic = f"trace/{id(found)}"

        def take(leaves: tuple[Leaf, ...], problem: str) -> None:
            found.append((leaves, problem))
            self.workflows.topics.add(topic)

        self.definitions.trace(version.file, text, take)
        while not found:
            yield Wait(frozenset({topic}))
        leaves, problem = found[0]
        if problem:
            raise Refused(f"{version.workflow}: {problem}")
        yield self._view(version, text, [_origin(leaf) for leaf in leaves])


def _processes(definition: Workflow) -> Iterator[Task]:
    return (task for _, task in all_tasks(definition) if isinstance(task.kind, ProcessKind))


def _change(row: Row, *, in_force: bool = False) -> ChangeView:
    _, at_us, what, file, digest, detail = row
    return ChangeView(at_us=at_us, what=what, file=file, digest=digest, detail=detail, in_force=in_force)


def _origin(leaf: Leaf) -> OriginView:
    return OriginView(path=list(leaf.path), value=leaf.value, file=leaf.file, line=leaf.line, column=leaf.column)
