"""Requests about runs: start, stop, do again, look, watch, read their output. See `handlers` for when what is done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from pyflowd import params as parameters
from pyflowd import views
from pyflowd.control import Wait
from pyflowd.definitions import Definitions
from pyflowd.errors import NotFound, PyflowError, Refused, nearest
from pyflowd.health import Health
from pyflowd.loader_frames import Loaded, Rejected
from pyflowd.model import RUN_TERMINAL, Problem, RunState, TaskState, Workflow
from pyflowd.peer import Peer
from pyflowd.protocol import (
    CancelRun,
    Done,
    GetGraph,
    GetLogs,
    GetRun,
    GraphView,
    ListRuns,
    LogClose,
    LogOpen,
    PlanView,
    RerunRun,
    RunPage,
    RunView,
    StartRun,
    TaskPage,
    TaskView,
    WatchRun,
)
from pyflowd.replies import EXIT_OF_RUN, Attached, Replies
from pyflowd.rerun import tasks_to_keep
from pyflowd.runs import LiveRun, Runs
from pyflowd.sampler import Sampler
from pyflowd.store.store import Store
from pyflowd.tasklogs import TaskLogs
from pyflowd.workflows import Workflows

KEY_MAX = 255
PAGE = 200
RUN_MAX = (1 << 63) - 1
"""Greatest integer of SQLite."""
PROGRESS_QUIET_US = 100_000
"""Ten progress reports a second at most, whatever happens in the run."""


class _Found(NamedTuple):
    """What there is to say of a definition that is to be run."""

    warnings: Sequence[Problem] = ()
    notes: Sequence[str] = ()


class RunHandlers:
    """One method per request about runs; each takes (request, peer)."""

    def __init__(
        self,
        store: Store,
        runs: Runs,
        workflows: Workflows,
        definitions: Definitions,
        logs: TaskLogs,
        sampler: Sampler,
        health: Health,
    ) -> None:
        self.store = store
        self.runs = runs
        self.workflows = workflows
        self.definitions = definitions
        self.logs = logs
        self.sampler = sampler
        self.health = health
        self.clock = runs.clock

    def view(self, run: int) -> RunView:
        """A run with its counts; raises NotFound."""
        view = self._with_live(self.bare_view(run))
        live = self.runs.live.get(run)
        running = [task.name for task in live.by_index if task.state is TaskState.RUNNING] if live else []
        return views.counted(view, self.store, running[: views.RUNNING_SHOWN])

    def _with_live(self, view: RunView) -> RunView:
        """With what the store does not know: whether it is being stopped, and which run it waits for."""
        live = self.runs.live.get(view.run)
        if live is None:
            return view
        first = self.runs.of_workflow[view.workflow][0].meta.run
        waits_for = first if view.state == RunState.QUEUED and first != view.run else None
        return msgspec.structs.replace(view, stopping=live.run.stopping.value, waits_for=waits_for)

    def bare_view(self, run: int) -> RunView:
        try:
            if not 0 < run <= RUN_MAX:
                raise LookupError
            return views.run_view(self.store.one("run", run))
        except LookupError:
            raise NotFound(f"no run {str(run)[:20]}; `pyflowctl history` shows what there is") from None

    def _find_run(self, of: str) -> int:
        """A run id, or the newest run of the workflow of that name."""
        if of.isascii() and of.isdigit() and of not in self.workflows.entries:
            return int(of[:20])  # 20 digits are more than there can be runs
        newest: int | None = self.store.one("newest_run", of)[0]
        if newest is None:
            self.workflows.find(of)
            raise NotFound(f"{of} has never run; start it: pyflowctl run {of}")
        return newest

    def _definition_of(self, digest: str) -> Workflow:
        return self.workflows.compiled(digest)

    def get_run(self, request: GetRun, _: Peer) -> Replies:
        view = self.view(self._find_run(request.of))
        yield view
        live = self.sampler.of_run(view.run)
        for page in views.task_pages(self.store, view.run, self._definition_of(view.digest), live):
            yield TaskPage(tasks=page)

    def get_graph(self, request: GetGraph, _: Peer) -> Replies:
        if request.of in self.workflows.entries:
            entry = self.workflows.find(request.of)
            tasks = [TaskView(task=task.name, state="", needs=list(task.needs)) for task in entry.definition.tasks]
            yield GraphView(title=request.of, tasks=tasks)
            return
        view = self.bare_view(self._find_run(request.of))
        pages = views.task_pages(self.store, view.run, self._definition_of(view.digest), {})
        yield GraphView(title=f"{view.workflow}, run {view.run}", tasks=[task for page in pages for task in page])

    def list_runs(self, request: ListRuns, _: Peer) -> Replies:
        states = [state.value for state in RunState]
        if request.state is not None and request.state not in states:
            raise Refused(
                f'"{request.state}" is no state of a run{nearest(request.state, states)}: {", ".join(states)}'
            )
        since_us = request.since_us or 0
        of: tuple[str, ...] = ()
        name = "runs"
        if request.workflow:
            name, of = f"{name}_of_workflow", (request.workflow,)
            if self.store.one("newest_run", request.workflow)[0] is None:
                self.workflows.find(request.workflow)
        if request.state:
            name, of = f"{name}_by_state", (*of, request.state)
        return self._run_pages(name, of, since_us, request.limit)

    def _run_pages(self, name: str, of: tuple[str, ...], since_us: int, limit: int) -> Replies:
        """A page is read as it is pulled, whole: an open cursor would hold the reader to an old state for all."""
        before, left = RUN_MAX, limit
        while left > 0 and (rows := list(self.store.rows(name, *of, before, since_us, min(left, PAGE)))):
            yield RunPage(runs=[self._with_live(views.run_view(row)) for row in rows])
            before, left = rows[-1][0], left - len(rows)
        if left == limit:
            yield RunPage(runs=[])

    def start_run(self, request: StartRun, peer: Peer) -> Replies:
        if request.data:
            return self._start_text(request, peer)
        known = request.workflow in self.workflows.entries
        if known and not self.definitions.busy:
            return self._start_installed(request, peer)
        if not known:
            self.definitions.rescan()
        return self._deferred(self.definitions.when_settled, lambda: self._start_installed(request, peer))

    def _start_installed(self, request: StartRun, peer: Peer) -> Replies:
        entry = self.workflows.find(request.workflow)
        notes = self.definitions.stale_note(entry.name)
        return self._begin(request, peer, entry.digest, entry.definition, _Found(notes=notes))

    def _begin(self, request: StartRun, peer: Peer, digest: str, definition: Workflow, found: _Found) -> Replies:
        values = parameters.bind(definition.params, request.params, from_text=request.params_are_text)
        if request.dry_run:
            return iter([_plan(definition, values, found)])
        known = self._with_key(definition.name, request.key, values)
        if known is not None:
            return self._said(known)
        live = self.workflows.start(
            definition.name, digest, definition, values, trigger="manual", by=peer.name, key=request.key
        )
        return self._said(live.meta.run, found.notes)

    def _start_text(self, request: StartRun, peer: Peer) -> Replies:
        """A text must be read by the child first."""
        result: list[Loaded | Rejected] = []

        def check(then: Callable[[], None]) -> None:
            def read(outcome: Loaded | Rejected) -> None:
                result.append(outcome)
                then()

            self.definitions.check_text(request.file, request.data, read)

        return self._deferred(check, lambda: self._begin_text(request, peer, result[0]))

    def _deferred(self, subscribe: Callable[[Callable[[], None]], None], act: Callable[[], Replies]) -> Replies:
        """Act in the turn in which `subscribe` calls back, so that what it changes is committed before the reply."""
        outcome: list[Replies | PyflowError] = []
        topic = f"deferred/{id(outcome)}"

        def now() -> None:
            self.workflows.topics.add(topic)
            try:
                self.health.check_writable()
                outcome.append(act())
            except PyflowError as error:
                outcome.append(error)

        subscribe(now)
        return self._when_acted(topic, outcome)

    def _when_acted(self, topic: str, outcome: list[Replies | PyflowError]) -> Replies:
        while not outcome:
            yield Wait(frozenset({topic}))
        if isinstance(outcome[0], PyflowError):
            raise outcome[0]
        yield from outcome[0]

    def _begin_text(self, request: StartRun, peer: Peer, result: Loaded | Rejected) -> Replies:
        if isinstance(result, Rejected):
            raise Refused("\n".join(map(str, result.problems)))
        definition = self.workflows.decode(result.compiled)
        found = _Found(warnings=result.problems)
        replies = self._begin(request, peer, result.digest, definition, found)
        if not request.dry_run:
            self.runs.batch.add("definition", result.digest, result.text, result.compiled, self.clock.wall_us())
        return replies

    def _with_key(self, workflow: str, key: str, values: dict[str, Any]) -> int | None:
        """Rule I2: the run that this key has recorded; raises Refused where it was for something else."""
        if len(key) > KEY_MAX:
            raise Refused(f"the key has {len(key)} characters; {KEY_MAX} are taken: send a hash of it")
        known = self.runs.with_key(workflow, key)
        if known is None:
            return None
        run, params = known
        if params != values:
            raise Refused(f'the key "{key}" was used for run {run}, with other params; use another key')
        return run

    def _said(self, run: int, notes: Sequence[str] = ()) -> Replies:
        yield msgspec.structs.replace(self.view(run), notes=list(notes))

    def _live(self, run: int) -> LiveRun:
        live = self.runs.live.get(run)
        if live is None:
            view = self.bare_view(run)
            raise Refused(f"run {run} of {view.workflow} has ended already: {view.state}")
        return live

    def cancel_run(self, request: CancelRun, peer: Peer) -> Replies:
        live = self._live(request.run or self._newest_live(request.workflow))
        self.runs.cancel(live, peer.name)
        return self._said(live.meta.run)

    def _newest_live(self, workflow: str) -> int:
        live = self.runs.of_workflow.get(workflow)
        if not live:
            run = self._find_run(workflow)
            raise Refused(f"no run of {workflow} is live; its newest, run {run}, is {self.bare_view(run).state}")
        return live[-1].meta.run

    def _named(self, request: RerunRun | WatchRun) -> int:
        return request.run or self._find_run(request.workflow)

    def rerun_run(self, request: RerunRun, peer: Peer) -> Replies:
        old = self.bare_view(self._named(request))
        if old.state not in RUN_TERMINAL:
            raise Refused(f"run {old.run} is {old.state}; cancel it first, or wait for its end")
        entry = self.workflows.find(old.workflow) if request.latest else None
        digest = entry.digest if entry else old.digest
        definition = self._definition_of(digest)
        kept = self._kept(msgspec.structs.replace(request, run=old.run), definition)
        values = parameters.bind(definition.params, old.params, from_text=False)
        known = self._with_key(old.workflow, request.key, values)
        if known is not None:
            return self._said(known)
        live = self.workflows.start(
            old.workflow, digest, definition, values, trigger="rerun", by=peer.name, key=request.key,
            rerun_of=old.run, kept=kept,
        )  # fmt: skip
        return self._said(live.meta.run, self.definitions.stale_note(old.workflow) if request.latest else ())

    def _kept(self, request: RerunRun, definition: Workflow) -> dict[str, TaskState]:
        """What the new run takes over from the old one."""
        if not request.failed_only and request.from_task is None:
            return {}
        states = {name: TaskState(state) for name, state in self.store.rows("task_states", request.run)}
        again: set[str] = set()
        if request.from_task is not None:
            names = [task.name for task in definition.tasks]
            if request.from_task not in names:
                raise NotFound(f'no task "{request.from_task}"{nearest(request.from_task, names)} in run {request.run}')
            again = {request.from_task}
        kept = tasks_to_keep(states, definition, again)
        if len(kept) == len(definition.tasks):
            raise Refused(f"run {request.run} has no failed task; leave out --failed to do all of it again")
        return kept

    def watch_run(self, request: WatchRun, _: Peer) -> Replies:
        view = self.view(self._named(request))
        yield view
        while view.state not in RUN_TERMINAL:
            yield Wait(frozenset({f"run/{view.run}"}), PROGRESS_QUIET_US)
            view = self.view(view.run)
            yield view
        yield Done(exit_status=EXIT_OF_RUN[RunState(view.state)])

    def get_logs(self, request: GetLogs, _: Peer) -> Replies:
        run = self._find_run(request.of)
        view = self.bare_view(run)
        names = [task.name for task in self._definition_of(view.digest).tasks]
        if request.task is not None and request.task not in names:
            raise NotFound(f'no task "{request.task}"{nearest(request.task, names)} in run {run} of {view.workflow}')
        return self._output(request, run, [request.task] if request.task else names)

    def _output(self, request: GetLogs, run: int, names: list[str]) -> Replies:
        """Open what is there; with `follow`, what comes, until the run has ended."""
        width = 0 if request.task else max(map(len, names))
        wanted, shown, open_ones = set(names), dict[str, int](), set[tuple[str, int]]()
        while True:
            state = self.bare_view(run).state
            for row in list(self.store.rows("tasks", run, 0, -1)):
                task, task_state, attempts = row[1], row[2], row[5]
                if task not in wanted:
                    continue
                first = shown.get(task, 0) + 1 if request.all_attempts or request.follow else max(attempts, 1)
                for attempt in range(first, attempts + 1):
                    live = task_state == TaskState.RUNNING and attempt == attempts
                    descriptors = self.logs.open(run, task, attempt)
                    if descriptors:
                        opened = LogOpen(run=run, task=task, attempt=attempt, live=live, label_width=width)
                        yield Attached(opened, descriptors)
                        if live:
                            open_ones.add((task, attempt))
                shown[task] = attempts
                for known in sorted(open_ones):
                    if known[0] == task and (task_state != TaskState.RUNNING or known[1] != attempts):
                        open_ones.discard(known)
                        yield LogClose(task=known[0], attempt=known[1])
            if not request.follow or state in RUN_TERMINAL:
                return
            yield Wait(frozenset({f"run/{run}"}), PROGRESS_QUIET_US // 5)


def _plan(definition: Workflow, values: dict[str, Any], found: _Found) -> PlanView:
    return PlanView(
        workflow=definition.name,
        params=values,
        tasks=[TaskView(task=task.name, state="", needs=list(task.needs)) for task in definition.tasks],
        commands={task.name: views.command_text(task.kind) for task in definition.tasks},
        warnings=list(found.warnings),
        notes=list(found.notes),
    )
