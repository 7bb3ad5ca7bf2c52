"""Who may do what: the one place where a request is judged by who asks and by the workflow that it is about.

A workflow that names groups (`visible_to`, `operate_by`) is for these; any other is for whoever has the level on the
host. What somebody may not see is to them as if it were not there: the same words, no count, no name. What a request
needs stands in `protocol.requests`; how it is answered, this does not know.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyflowd.base.peer import Peer, group_ids
from pyflowd.errors import Forbidden, NoBackfill, NoRun, NotFound, NoWorkflow
from pyflowd.protocol.requests import About, Operation, Request, operation
from pyflowd.protocol.words import Level
from pyflowd.runtime.backfill_runs import Backfills
from pyflowd.runtime.rights import Groups
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.workflows import Workflows

_NONE = Groups()


class Sight:
    """Which workflows somebody may see and operate; as things are when it is asked."""

    __slots__ = ("_all", "_groups", "level", "peer")

    def __init__(self, peer: Peer, groups: Mapping[str, Groups]) -> None:
        """`groups`: of the workflows that name some."""
        self.peer = peer
        self._groups = groups
        self.level = peer.level
        self._all: bool | None = None

    def _is_in(self, names: Sequence[str]) -> bool:
        return bool(names) and not self.peer.groups.isdisjoint(group_ids(names))

    def sees(self, workflow: str) -> bool:
        if self.level is Level.ADMIN:
            return True
        own = self._groups.get(workflow, _NONE)
        if self._is_in(own.operate_by):
            return True
        return self._is_in(own.visible_to) if own.visible_to else self.level >= Level.READ

    def operates(self, workflow: str) -> bool:
        if self.level is Level.ADMIN:
            return True
        if self.peer.cap < Level.OPERATE:
            return False
        own = self._groups.get(workflow, _NONE)
        if own.operate_by:
            return self._is_in(own.operate_by)
        return self.level >= Level.OPERATE and self.sees(workflow)

    def may_anywhere(self, level: Level) -> bool:
        """Whether there is something on this host for which they have the level."""
        if self.level >= level:
            return True
        judged = self.sees if level is Level.READ else self.operates
        return level < Level.ADMIN and any(judged(workflow) for workflow in self._groups)

    def exceptions(self) -> list[str]:
        """Workflows that are seen and operated just where the level on the host says otherwise."""
        if self.level is Level.ADMIN:
            return []
        usual = self.level >= Level.OPERATE
        return [workflow for workflow in self._groups if self.sees(workflow) and self.operates(workflow) != usual]

    @property
    def sees_all(self) -> bool:
        """Whether nothing is hidden from them; looked up once."""
        if self._all is None:
            self._all = self.level is Level.ADMIN or (self.level >= Level.READ and not self.hidden())
        return self._all

    def sees_host(self, workflow: str) -> bool:
        """Whether they may know of what is about this workflow, or where it is empty about the host itself."""
        return self.sees(workflow) if workflow else self.level >= Level.READ

    def hidden(self) -> list[str]:
        """Workflows that name groups and are not for them."""
        return [workflow for workflow in self._groups if not self.sees(workflow)]

    def seen(self) -> list[str]:
        """Workflows that name groups and are for them; they see no others without a level on the host."""
        return [workflow for workflow in self._groups if self.sees(workflow)]

    def selected(self, workflow: str | None = None) -> tuple[str, tuple[Any, ...]]:
        """For statements over all workflows, one, or those that are seen: the end of their name, and first bindings."""
        if workflow is not None:
            return "_of_workflow", (workflow,)
        if self.sees_all:
            return "", ()
        if self.level >= Level.READ:
            return "_seen", (json.dumps(self.hidden()), 0)
        return "_seen", (json.dumps(self.seen()), 1)


class Access:
    """Judges requests. One for the instance."""

    def __init__(
        self, runs: Runs, workflows: Workflows, backfills: Backfills, groups: Mapping[Level, Sequence[str]]
    ) -> None:
        """`groups`: whose members have a level on the host."""
        self.runs = runs
        self.workflows = workflows
        self.backfills = backfills
        self.groups = groups

    def sight(self, peer: Peer) -> Sight:
        return Sight(peer, self.workflows.rights.of)

    def judges(self, peer: Peer) -> tuple[Callable[[str], bool], Callable[[str], bool]]:
        """Which workflows somebody sees, and operates, when it is asked."""
        return lambda workflow: self.sight(peer).sees(workflow), lambda workflow: self.sight(peer).operates(workflow)

    def authorise(self, request: Request, peer: Peer) -> str:
        """The workflow that a request is about, if it is about one that there is. Raises Forbidden, NotFound."""
        needed = operation(request)
        if peer.level is Level.ADMIN:
            return ""
        sight = self.sight(peer)
        if not (peer.level >= needed.level if needed.about is About.HOST else sight.may_anywhere(needed.level)):
            raise Forbidden(f"{_who(peer)} may not do this; {self._remedy(needed.level, peer)}")
        workflow = self._workflow(request, needed)
        if workflow and not sight.sees(workflow):
            raise self.unseen(request, workflow, peer)
        if workflow and needed.level is Level.OPERATE and not sight.operates(workflow):
            if needed.about is not About.BACKFILL and not _run_of(request) and workflow not in self.workflows.entries:
                raise self.unseen(request, workflow, peer)  # or what is hidden would be told from what there is not
            raise Forbidden(f"{_who(peer)} may not operate {workflow}; {self._remedy_of(workflow, peer)}")
        return workflow

    def unseen(self, request: Request, workflow: str, peer: Peer) -> NotFound:
        """What is said of something that may not be seen: that there is no such thing."""
        about = operation(request).about
        run = _run_of(request) if about is About.RUN else 0
        error: NotFound
        if about is About.BACKFILL:
            error = NoBackfill(getattr(request, "backfill", 0))
        elif run:
            error = NoRun(run)
        else:
            error = self.no_workflow(workflow, peer)
        error.denied = True
        return error

    def no_workflow(self, name: str, peer: Peer) -> NoWorkflow:
        """With the nearest name that whoever asks may know."""
        return NoWorkflow(name, list(filter(self.sight(peer).sees, self.workflows.entries)))

    # ---- What a request is about

    def _workflow(self, request: Request, needed: Operation) -> str:
        """Its name; empty: none, or all, or one that there is not."""
        match needed.about:
            case About.WORKFLOW:
                return getattr(request, "workflow", None) or ""
            case About.RUN:
                run = _run_of(request)
                if run:
                    return self.workflow_of_run(run)
                return getattr(request, "of", "") or getattr(request, "workflow", "") or ""
            case About.BACKFILL:
                return self.backfills.workflow_of(getattr(request, "backfill", 0))
            case _:
                return ""

    def workflow_of_run(self, run: int) -> str:
        """Empty: there is no such run."""
        live = self.runs.live.get(run)
        if live is not None:
            return live.meta.workflow
        row = self.runs.store.one_or_none("workflow_of_run", run) if 0 < run < 1 << 63 else None
        return row[0] if row else ""

    # ---- What would help

    def _remedy(self, needed: Level, peer: Peer) -> str:
        if peer.is_nobody:
            return "log in, or show a token; see: pyflowctl dashboard, pyflowctl token"
        if peer.cap < needed:
            return f"it is for level {peer.cap.name.lower()}; make one for more with: pyflowctl token create --level"
        groups = self.groups.get(needed)
        if not groups:
            return "only root and the account that pyflowd runs as may"
        return f"ask the administrator to make you a member of the group {' or '.join(groups)}"

    def _remedy_of(self, workflow: str, peer: Peer) -> str:
        own = self.workflows.rights.of.get(workflow, _NONE)
        if not own.operate_by or peer.cap < Level.OPERATE:
            return self._remedy(Level.OPERATE, peer)
        return f"members of {' and '.join(own.operate_by)} may (operate_by in its file)"


def _who(peer: Peer) -> str:
    if peer.is_nobody:
        return "who is not logged in"
    return f"{peer.name} by token {peer.token}" if peer.token else peer.name


def _run_of(request: Request) -> int:
    """The number of the run that a request names; 0: it names none, or a workflow, whose name is never a number."""
    of = str(getattr(request, "of", ""))
    if of:
        return int(of[:20]) if of.isascii() and of.isdigit() else 0
    return getattr(request, "run", None) or 0
