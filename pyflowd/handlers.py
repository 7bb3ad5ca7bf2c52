"""One function per request: the only readers of the store for clients, and the only way in for what they ask.

A function checks, and changes what is to be changed, when it is called; it returns an iterator of replies that is
pulled after the turn's commit. So a reply promises only what has already happened (rule I7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from pyflowd import params as parameters
from pyflowd import views
from pyflowd.clock import US
from pyflowd.control import Answer, Frame, Wait
from pyflowd.definitions import Definitions
from pyflowd.errors import Forbidden, NotFound, PyflowError, Refused, nearest
from pyflowd.health import Health
from pyflowd.loader_frames import Loaded, Rejected
from pyflowd.model import RUN_TERMINAL, Problem, RunState, TaskState, Workflow
from pyflowd.peer import Peer
from pyflowd.protocol import (
    LEVELS,
    CancelRun,
    DefinitionView,
    Done,
    EventPage,
    EventView,
    GetGraph,
    GetHealth,
    GetHost,
    GetLogs,
    GetRun,
    GetVersion,
    GraphView,
    HealthView,
    HostView,
    Level,
    ListEvents,
    ListNext,
    ListRuns,
    ListSlots,
    ListWorkflows,
    LogClose,
    LogOpen,
    NextPage,
    NextView,
    PauseWorkflow,
    PlanView,
    Reload,
    Reply,
    Request,
    RerunRun,
    RunPage,
    RunView,
    ShowWorkflow,
    SlotPage,
    StartRun,
    TaskPage,
    TaskView,
    VersionView,
    WatchRun,
    WorkflowPage,
    frame,
)
from pyflowd.rerun import tasks_to_keep
from pyflowd.runs import LiveRun, Runs
from pyflowd.sampler import Sampler
from pyflowd.store.store import Store
from pyflowd.tasklogs import TaskLogs
from pyflowd.version import VERSION
from pyflowd.workflows import Workflows

DAY_US = 86_400 * US
PAGE = 200
FAILED_SHOWN = 10
PROBLEMS_SHOWN = 10
"""By `doctor`; `list` and `status` show all."""
RUN_MAX = (1 << 63) - 1
"""Greatest integer of SQLite."""
NEXT_MAX = 10_000
"""Coming slots are computed in one turn, 20 us each."""
KEY_MAX = 255
PROGRESS_QUIET_US = 100_000
"""Ten progress reports a second at most, whatever happens in the run."""


class Attached(NamedTuple):
    """A reply that carries descriptors; whoever takes it owns them."""

    reply: LogOpen
    descriptors: tuple[int, int]


Spoken = Reply | LogClose | Done | Attached | Wait
Replies = Iterator[Spoken]
EXIT_OF_RUN = {RunState.SUCCEEDED: 0, RunState.FAILED: 1, RunState.CANCELLED: 7}


class _Found(NamedTuple):
    """What there is to say of a definition that is to be run."""

    warnings: Sequence[Problem] = ()
    notes: Sequence[str] = ()


class Handlers:
    """Answers requests. `handle` is given to the control socket, to the console, later to the web."""

    def __init__(
        self,
        store: Store,
        runs: Runs,
        workflows: Workflows,
        definitions: Definitions,
        logs: TaskLogs,
        sampler: Sampler,
        health: Health,
        groups: Mapping[Level, str],
    ) -> None:
        """`groups`: whose members have a level."""
        self.store = store
        self.runs = runs
        self.workflows = workflows
        self.definitions = definitions
        self.logs = logs
        self.sampler = sampler
        self.health = health
        self.groups = groups
        self.clock = runs.clock
        self._table: dict[type, Callable[[Any, Peer], Replies]] = {
            GetHost: self._host,
            GetRun: self._run,
            GetGraph: self._graph,
            ListWorkflows: self._workflows,
            ShowWorkflow: self._show,
            ListRuns: self._runs,
            StartRun: self._start,
            CancelRun: self._cancel,
            RerunRun: self._rerun,
            PauseWorkflow: self._pause,
            GetLogs: self._logs,
            WatchRun: self._watch,
            ListNext: self._next,
            ListSlots: self._slots,
            ListEvents: self._events,
            Reload: self._reload,
            GetHealth: self._health,
            GetVersion: self._version,
        }

    def handle(self, request: Request, peer: Peer) -> Replies:
        """Check the level, act, and return the replies to be pulled after the commit. Raises PyflowError."""
        needed = LEVELS[type(request)]
        if isinstance(request, StartRun) and request.data:
            needed = Level.ADMIN
        if peer.level < needed:
            raise Forbidden(f"{peer.name} may not do this; {self._remedy(needed)}")
        if needed > Level.READ:
            self.health.check_writable()
        return self._table[type(request)](request, peer)

    def _remedy(self, needed: Level) -> str:
        group = self.groups.get(needed)
        if group is None:
            return "only root and the account that pyflowd runs as may"
        return f"ask the administrator to make you a member of the group {group}"

    # ---- The host

    def _host(self, _: GetHost, __: Peer) -> Replies:
        now_us = self.clock.wall_us()
        # A run that a full disk keeps from being recorded is in memory only: it is not shown.
        live = [self._view(run) for run in sorted(self.runs.live) if self.store.one_or_none("run", run)]
        ended: dict[str, int] = dict(self.store.rows("ended_since", now_us - DAY_US))
        failed = self.store.rows("runs_by_state", RunState.FAILED, RUN_MAX, now_us - DAY_US, FAILED_SHOWN)
        yield HostView(
            version=VERSION,
            pid=self.health.pid,
            started_us=self.health.started_us,
            now_us=now_us,
            root=self.health.label,
            workflows=len(self.workflows.entries),
            running=[view for view in live if view.state == RunState.RUNNING],
            queued=[view for view in live if view.state == RunState.QUEUED],
            failed=[views.run_view(row) for row in failed],
            succeeded_24h=ended.get(RunState.SUCCEEDED, 0),
            failed_24h=ended.get(RunState.FAILED, 0),
            next=self._next_views(None, 3),
            problems=self.definitions.problems(),
            warnings=[*self.health.warnings(), *self.workflows.warnings()],
        )

    def _health(self, _: GetHealth, __: Peer) -> Replies:
        problems = self.definitions.problems()
        found = [("warning", "definitions", str(problem)) for problem in problems[:PROBLEMS_SHOWN]]
        if len(problems) > PROBLEMS_SHOWN:
            found.append(("warning", "definitions", f"and {len(problems) - PROBLEMS_SHOWN} more; see: pyflowctl list"))
        if not problems:
            found.append(
                ("ok", "definitions", f"{len(self.workflows.entries)} in force, no file is refused or ignored")
            )
        yield HealthView(checks=[*self.health.checks(), *found])

    def _version(self, _: GetVersion, __: Peer) -> Replies:
        yield VersionView(version=VERSION, pid=self.health.pid)

    # ---- Runs

    def _view(self, run: int) -> RunView:
        """A run with its counts; raises NotFound."""
        view = self._with_live(self._bare_view(run))
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

    def _bare_view(self, run: int) -> RunView:
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

    def _run(self, request: GetRun, _: Peer) -> Replies:
        view = self._view(self._find_run(request.of))
        yield view
        live = self.sampler.of_run(view.run)
        for page in views.task_pages(self.store, view.run, self._definition_of(view.digest), live):
            yield TaskPage(tasks=page)

    def _graph(self, request: GetGraph, _: Peer) -> Replies:
        if request.of in self.workflows.entries:
            entry = self.workflows.find(request.of)
            tasks = [TaskView(task=task.name, state="", needs=list(task.needs)) for task in entry.definition.tasks]
            yield GraphView(title=request.of, tasks=tasks)
            return
        view = self._bare_view(self._find_run(request.of))
        pages = views.task_pages(self.store, view.run, self._definition_of(view.digest), {})
        yield GraphView(title=f"{view.workflow}, run {view.run}", tasks=[task for page in pages for task in page])

    def _runs(self, request: ListRuns, _: Peer) -> Replies:
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

    def _start(self, request: StartRun, peer: Peer) -> Replies:
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
        if len(request.key) > KEY_MAX:
            raise Refused(f"the key has {len(request.key)} characters; {KEY_MAX} are taken: send a hash of it")
        known = self.runs.with_key(definition.name, request.key)
        if known is not None:
            if self._params_of(known) != values:
                raise Refused(f'the key "{request.key}" was used for run {known}, with other params; use another key')
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

    def _params_of(self, run: int) -> dict[str, Any]:
        live = self.runs.live.get(run)
        return dict(live.meta.params) if live else self._bare_view(run).params

    def _said(self, run: int, notes: Sequence[str] = ()) -> Replies:
        yield msgspec.structs.replace(self._view(run), notes=list(notes))

    def _live(self, run: int) -> LiveRun:
        live = self.runs.live.get(run)
        if live is None:
            view = self._bare_view(run)
            raise Refused(f"run {run} of {view.workflow} has ended already: {view.state}")
        return live

    def _cancel(self, request: CancelRun, peer: Peer) -> Replies:
        live = self._live(request.run or self._newest_live(request.workflow))
        self.runs.cancel(live, peer.name)
        return self._said(live.meta.run)

    def _newest_live(self, workflow: str) -> int:
        live = self.runs.of_workflow.get(workflow)
        if not live:
            run = self._find_run(workflow)
            raise Refused(f"no run of {workflow} is live; its newest, run {run}, is {self._bare_view(run).state}")
        return live[-1].meta.run

    def _named(self, request: RerunRun | WatchRun) -> int:
        return request.run or self._find_run(request.workflow)

    def _rerun(self, request: RerunRun, peer: Peer) -> Replies:
        old = self._bare_view(self._named(request))
        if old.state not in RUN_TERMINAL:
            raise Refused(f"run {old.run} is {old.state}; cancel it first, or wait for its end")
        entry = self.workflows.find(old.workflow) if request.latest else None
        digest = entry.digest if entry else old.digest
        definition = self._definition_of(digest)
        kept = self._kept(msgspec.structs.replace(request, run=old.run), definition)
        values = parameters.bind(definition.params, old.params, from_text=False)
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

    def _watch(self, request: WatchRun, _: Peer) -> Replies:
        view = self._view(self._named(request))
        yield view
        while view.state not in RUN_TERMINAL:
            yield Wait(frozenset({f"run/{view.run}"}), PROGRESS_QUIET_US)
            view = self._view(view.run)
            yield view
        yield Done(exit_status=EXIT_OF_RUN[RunState(view.state)])

    # ---- Output

    def _logs(self, request: GetLogs, _: Peer) -> Replies:
        run = self._find_run(request.of)
        view = self._bare_view(run)
        names = [task.name for task in self._definition_of(view.digest).tasks]
        if request.task is not None and request.task not in names:
            raise NotFound(f'no task "{request.task}"{nearest(request.task, names)} in run {run} of {view.workflow}')
        return self._output(request, run, [request.task] if request.task else names)

    def _output(self, request: GetLogs, run: int, names: list[str]) -> Replies:
        """Open what is there; with `follow`, what comes, until the run has ended."""
        width = 0 if request.task else max(map(len, names))
        wanted, shown, open_ones = set(names), dict[str, int](), set[tuple[str, int]]()
        while True:
            state = self._bare_view(run).state
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

    # ---- Workflows

    def _workflows(self, _: ListWorkflows, __: Peer) -> Replies:
        last = {row[1]: views.run_view(row) for row in self.store.rows("newest_runs")}
        found = self.definitions.views(last)
        for at in range(0, len(found), PAGE):
            yield WorkflowPage(workflows=found[at : at + PAGE])
        # On a page of their own: one that is too long for a frame is cut in two, and would tell them twice.
        if not found or self.definitions.notes():
            yield WorkflowPage(workflows=[], notes=self.definitions.notes())

    def _show(self, request: ShowWorkflow, _: Peer) -> Replies:
        entry = self.workflows.find(request.workflow)
        text = self.store.one("definition", entry.digest)[0]
        yield DefinitionView(
            workflow=entry.name,
            file=entry.file,
            digest=entry.digest,
            loaded_us=entry.loaded_us,
            text=text,
            view=self.definitions.view(entry.name, None),
            params=[param.name for param in entry.definition.params],
        )

    def _pause(self, request: PauseWorkflow, peer: Peer) -> Replies:
        self.workflows.pause(request.workflow, peer.name if request.paused else "")
        return self._one_workflow(request.workflow)

    def _one_workflow(self, name: str) -> Replies:
        yield WorkflowPage(workflows=[self.definitions.view(name, None)])

    def _reload(self, _: Reload, __: Peer) -> Replies:
        self.definitions.rescan(believe_gone=True)
        return self._reloaded()

    def _reloaded(self) -> Replies:
        while self.definitions.busy:
            yield Wait(frozenset({"workflows"}))
        yield from self._workflows(ListWorkflows(), _NOBODY)
        yield Done(exit_status=Refused.exit_status if self.definitions.refused else 0)

    # ---- Time

    def _next_views(self, workflow: str | None, limit: int) -> list[NextView]:
        return self.workflows.upcoming(workflow, limit)

    def _next(self, request: ListNext, _: Peer) -> Replies:
        if request.workflow is not None:
            self.workflows.find(request.workflow)
        if request.limit > NEXT_MAX:
            raise Refused(f"{request.limit} coming slots are asked for; at most {NEXT_MAX} are computed")
        none = "" if request.workflow is None else self.workflows.idle(request.workflow)
        yield NextPage(slots=self._next_views(request.workflow, request.limit), none=none)

    def _slots(self, request: ListSlots, _: Peer) -> Replies:
        """Rows of the ledger from `since` on; with a limit the newest so many of them."""
        since_us = request.since_us or 0
        of = () if request.workflow is None else (request.workflow,)
        suffix = "" if request.workflow is None else "_of_workflow"
        count: int = self.store.one(f"slots_count{suffix}", *of, since_us)[0]
        if not count and request.workflow is not None:
            self.workflows.find(request.workflow)
        offset = 0 if request.limit is None else max(0, count - request.limit)
        if not count:
            yield SlotPage(slots=[])
        last: tuple[object, ...] = (since_us, "", "")
        while rows := list(self.store.rows(f"slots{suffix}", *of, *last, PAGE, offset)):
            yield SlotPage(slots=[views.slot_view(row) for row in rows])
            last, offset = (rows[-1][2], rows[-1][0], rows[-1][1]), 0

    # ---- Events

    def _events(self, request: ListEvents, _: Peer) -> Replies:
        of = () if request.run is None else (request.run,)
        suffix = "" if request.run is None else "_of_run"
        if request.run is not None:
            self._bare_view(request.run)
        if request.after is None:
            first = self.store.one_or_none(f"newest_event{suffix}", *of, request.limit - 1)
            after = first[0] - 1 if first else 0
        else:
            after = request.after
        empty = not request.follow
        while True:
            rows = list(self.store.rows(f"events{suffix}_after", *of, after, PAGE))
            if rows or empty:
                empty = False
                names: dict[int, str] = {}
                yield EventPage(events=[self._event(row, names) for row in rows])
                after = rows[-1][0] if rows else after
            elif request.follow:
                yield Wait(frozenset({"events"}), PROGRESS_QUIET_US // 10)
            else:
                return

    def _event(self, row: Any, names: dict[int, str]) -> EventView:
        run = row[1]
        if run is not None and run not in names:
            found = self.store.one_or_none("run", run)
            names[run] = found[1] if found else ""
        return views.event_view(row, names.get(run, "") if run is not None else "")


_PAGES = (RunPage, TaskPage, WorkflowPage, SlotPage, EventPage, NextPage)
"""Replies of one list, which may come in any number."""
_NOBODY = Peer(uid=-1, gid=-1, pid=0)


def _plan(definition: Workflow, values: dict[str, Any], found: _Found) -> PlanView:
    return PlanView(
        workflow=definition.name,
        params=values,
        tasks=[TaskView(task=task.name, state="", needs=list(task.needs)) for task in definition.tasks],
        commands={task.name: views.command_text(task.kind) for task in definition.tasks},
        warnings=list(found.warnings),
        notes=list(found.notes),
    )


def framed(handle: Callable[[Request, Peer], Replies]) -> Callable[[Request, Peer], Answer]:
    """Answers for typed clients: every reply a frame, and Done or Failure at the end."""

    def answer(request: Request, peer: Peer) -> Answer:
        return _frames(handle(request, peer))

    return answer


def _parts(reply: Reply | LogClose | Done) -> Iterator[bytes]:
    """A reply as frames: a page that does not fit one is cut in two."""
    try:
        data = frame(reply)
    except ValueError:
        field = reply.__struct_fields__[0]
        items = getattr(reply, field)
        if not isinstance(reply, _PAGES) or len(items) < 2:
            raise Refused("the answer does not fit a frame; ask for less, or use pyflowctl") from None
        for half in (items[: len(items) // 2], items[len(items) // 2 :]):
            yield from _parts(msgspec.structs.replace(reply, **{field: half}))
        return
    yield data


def _frames(replies: Replies) -> Answer:
    done = False
    for reply in replies:
        if isinstance(reply, Wait):
            yield reply
        elif isinstance(reply, Attached):
            yield Frame(frame(reply.reply), reply.descriptors)
        else:
            done = isinstance(reply, Done)
            for part in _parts(reply):
                yield Frame(part)
    if not done:
        yield Frame(frame(Done()))
