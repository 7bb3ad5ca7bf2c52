"""Requests about successes that are kept to be used again: list them, or make them be forgotten."""

from __future__ import annotations

from pyflowd.base.peer import Peer
from pyflowd.control.replies import Replies
from pyflowd.errors import NotFound, nearest
from pyflowd.events import CacheCleared
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.protocol.requests import ClearCache, ListCache
from pyflowd.protocol.views_runs import CachePage, CacheView, ClearedView
from pyflowd.store.store import Row

PAGE = 200


class CacheHandlers:
    """As `Handlers`: acts when called, answers when pulled."""

    def __init__(self, of_runs: RunHandlers) -> None:
        self.runs = of_runs.runs
        self.store = of_runs.store
        self.workflows = of_runs.workflows
        self.access = of_runs.access

    def list_entries(self, request: ListCache, peer: Peer) -> Replies:
        """A page is read as it is pulled, whole: an open cursor would hold the reader to an old state for all."""
        suffix, of = self.access.sight(peer).selected(request.workflow)
        keys = slice(0 if request.workflow is None else 1, 4)
        after: tuple[str, ...] = ("",) * 4
        told = False
        while rows := list(self.store.rows(f"cache_entries{suffix}", *of, *after[keys], PAGE)):
            yield CachePage(entries=[_view(row) for row in rows])
            after, told = rows[-1][:4], True
        if not told:
            if request.workflow is not None:
                self.workflows.find(request.workflow)
            yield CachePage(entries=[])

    def clear(self, request: ClearCache, peer: Peer) -> Replies:
        workflow, task = request.workflow, request.task
        of = (workflow,) if task is None else (workflow, task)
        suffix = "" if task is None else "_task"
        count: int = self.store.one("cache_count" + ("_of_task" if task else ""), *of)[0]
        if not count:
            self._check(workflow, task)
        else:
            self.runs.batch.add(f"cache_clear{suffix}", *of)
            now_us = self.runs.clock.wall_us()
            self.runs.batch.host_event(CacheCleared(now_us, workflow, task or "", peer.name, count))
        return self._cleared(ClearedView(workflow=workflow, task=task, entries=count))

    def _check(self, workflow: str, task: str | None) -> None:
        """Nothing is kept: is there such a workflow, and such a task? Raises NotFound."""
        kept = [row[0] for row in self.store.rows("cache_tasks", workflow)]
        names = kept or [each.name for each in self.workflows.find(workflow).definition.tasks]
        if task is not None and task not in names:
            raise NotFound(f'no task "{task}"{nearest(task, names)} of {workflow} has anything kept')

    def _cleared(self, view: ClearedView) -> Replies:
        yield view


def _view(row: Row) -> CacheView:
    workflow, task, item, key, run, made_us, expires_us = row
    of = {"task": f"{task}[{item}]", "of": task, "item": item} if item else {"task": task}
    return CacheView(workflow=workflow, key=key, run=run, made_us=made_us, expires_us=expires_us, **of)
