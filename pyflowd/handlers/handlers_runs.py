"""Requests about runs: start, stop, do again, look, watch. See `handlers` for when what is done."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from pyflowd.base.peer import Peer
from pyflowd.control.control import NEXT_TURN, Wait
from pyflowd.control.replies import EXIT_OF_RUN, Replies
from pyflowd.engine import rerun
from pyflowd.engine.fanout import is_item
from pyflowd.engine.sections import in_progress
from pyflowd.engine.state import Run, TaskRun
from pyflowd.errors import NoRun, NotFound, PyflowError, Refused, nearest
from pyflowd.events import RunCreated, RunSeen
from pyflowd.folder.definitions import Definitions
from pyflowd.folder.loader_frames import Loaded, Rejected
from pyflowd.handlers import views
from pyflowd.handlers.access import Access, Sight
from pyflowd.handlers.view_tasks import RunOf, nodes, planned, planned_handlers, task_pages
from pyflowd.language import params as parameters
from pyflowd.model.problem import Problem
from pyflowd.model.states import RUN_TERMINAL, TASK_TERMINAL, RunState, Section, TaskState
from pyflowd.model.workflow import Task, Workflow
from pyflowd.protocol.requests import CancelRun, GetGraph, GetRun, ListRuns, MarkSeen, RerunRun, StartRun, WatchRun
from pyflowd.protocol.views import Done
from pyflowd.protocol.views_runs import RunPage, RunView, TaskPage, TaskView
from pyflowd.protocol.views_workflows import GraphView, PlanView
from pyflowd.protocol.words import HIDDEN
from pyflowd.render import diff
from pyflowd.runtime import idempotency
from pyflowd.runtime.audit import Audit
from pyflowd.runtime.health import Health
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.rights import Groups
from pyflowd.runtime.runs import Runs, fold
from pyflowd.runtime.sampler import Sampler
from pyflowd.runtime.workflows import Workflows
from pyflowd.store.store import Store

PAGE = 200
RUN_MAX = (1 << 63) - 1
"""Greatest integer of SQLite."""
PLANNED_A_TURN = 500
"""Tasks of a graph that is drawn from its definition: 4 ms."""
LOOKED_AT = 1_000
"""Runs in a turn, 5 ms, for those that somebody may see."""
NEAREST_MAX = 200
"""Names that a misspelt one is compared with."""
EVENT_SHOWN_BYTES = 64 << 10
"""A view is one frame."""
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
        sampler: Sampler,
        health: Health,
        access: Access,
        audit: Audit,
    ) -> None:
        self.access = access
        self.audit = audit
        self.store = store
        self.runs = runs
        self.workflows = workflows
        self.definitions = definitions
        self.sampler = sampler
        self.health = health
        self.clock = runs.clock

    def view(self, run: int, sight: Sight) -> RunView:
        """A run with its counts, as whoever asks may see it; raises NotFound."""
        view = self._with_live(self.bare_view(run), sight)
        live = self.runs.live.get(run)
        return views.counted(view, self.store, _running(live) if live else ())

    def _event(self, run: int) -> dict[str, object] | None:
        live = self.runs.live.get(run)
        event = live.meta.event if live else self.runs.event_of(run)
        return event if event is not None and len(msgspec.msgpack.encode(event)) <= EVENT_SHOWN_BYTES else None

    def _with_live(self, view: RunView, sight: Sight) -> RunView:
        """With what the store does not know: whether it is being stopped, and which run it waits for."""
        view = self.seen(view, sight)
        live = self.runs.live.get(view.run)
        if live is None:
            return view
        outcome = live.run.outcome.value if live.run.outcome else ""
        view = msgspec.structs.replace(view, stopping=live.run.stopping.value, outcome=outcome)
        if view.state != RunState.QUEUED:
            return view
        if live.admitted or self.runs.drained:
            return msgspec.structs.replace(view, why_queued=self.runs.why_queued(live, named(sight)))
        in_the_way = self.runs.aside.in_the_way(view.workflow)
        return msgspec.structs.replace(
            view, waits_for=in_the_way[0] if in_the_way else self.runs.of_workflow[view.workflow][0].meta.run
        )

    def seen(self, view: RunView, sight: Sight) -> RunView:
        """Without the run that called it, where that is of a workflow that may not be seen."""
        if view.parent is None or sight.sees_all or sight.sees(self.access.workflow_of_run(view.parent)):
            return view
        return msgspec.structs.replace(view, parent=None, parent_task="")

    def bare_view(self, run: int) -> RunView:
        try:
            if not 0 < run <= RUN_MAX:
                raise LookupError
            return views.run_view(self.store.one("run", run))
        except LookupError:
            raise NoRun(run) from None

    def find_run(self, of: str) -> int:
        """A run id, or the newest run of the workflow of that name."""
        if of.isascii() and of.isdigit() and of not in self.workflows.entries:
            return int(of[:20])  # 20 digits are more than there can be runs
        newest: int | None = self.store.one("newest_run", of)[0]
        if newest is None:
            self.workflows.find(of)
            raise NotFound(f"{of} has never run; start it: pyflowctl run {of}")
        return newest

    def definition_of(self, digest: str) -> Workflow:
        return self.workflows.compiled(digest)

    def get_run(self, request: GetRun, peer: Peer) -> Replies:
        sight = self.access.sight(peer)
        view = self.view(self.find_run(request.of), sight)
        yield msgspec.structs.replace(view, event=self._event(view.run))
        run = RunOf(
            view.run, self.definition_of(view.digest), view.section, self.sampler.of_run(view.run),
            self.runs.waits_of(view.run, named(sight)), self.workflows.user_of,
        )  # fmt: skip
        for page in task_pages(self.store, run, all_items=request.items):
            yield TaskPage(tasks=page)

    def get_graph(self, request: GetGraph, _: Peer) -> Replies:
        if request.of in self.workflows.entries:
            definition = self.workflows.find(request.of).definition
            tasks: list[TaskView] = []
            for at in range(0, len(definition.tasks), PLANNED_A_TURN):
                if at:
                    yield NEXT_TURN
                tasks += map(planned, definition.tasks[at : at + PLANNED_A_TURN])
            yield GraphView(title=request.of, tasks=tasks, handlers=planned_handlers(definition))
            return
        view = self.bare_view(self.find_run(request.of))
        run = RunOf(view.run, self.definition_of(view.digest), view.section)
        found = [_without_values(task) for page in task_pages(self.store, run, all_items=False) for task in page]
        shown = [task for task in found if task.item is None or task.section == Section.UNDO]
        yield GraphView(
            title=f"{view.workflow}, run {view.run}",
            tasks=[task for task in shown if not task.section],
            handlers=[task for task in shown if task.section],
        )

    def list_runs(self, request: ListRuns, peer: Peer) -> Replies:
        states = [state.value for state in RunState]
        if request.state is not None and request.state not in states:
            raise Refused(
                f'"{request.state}" is no state of a run{nearest(request.state, states)}: {", ".join(states)}'
            )
        since_us = request.since_us or 0
        if request.workflow and self.store.one("newest_run", request.workflow)[0] is None:
            self.workflows.find(request.workflow)
        sight = self.access.sight(peer)
        suffix, of = "", tuple[Any, ...]()
        if request.workflow:
            suffix, of = "_of_workflow", (request.workflow,)
        elif not sight.sees_host(""):
            suffix, of = "_seen", (json.dumps(sight.seen()),)
        if request.state:
            suffix, of = f"{suffix}_by_state", (*of, request.state)
        before = RUN_MAX if request.before is None else request.before
        return self._run_pages(f"runs{suffix}", of, before, since_us, request.limit, sight)

    def first_run(self, since_us: int) -> int:
        """The number from which on runs were recorded since then: numbers ascend with time, so a search halves."""
        low, high = 1, int(self.store.one("last_run")[0] or 0) + 1
        while low < high:
            middle = (low + high) // 2
            found = self.store.one_or_none("first_run_from", middle)
            if found is None or found[1] >= since_us:
                high = middle
            else:
                low = found[0] + 1
        return low

    def _run_pages(
        self, name: str, of: tuple[Any, ...], before: int, since_us: int, limit: int, sight: Sight
    ) -> Replies:
        """A page is read as it is pulled, whole: an open cursor would hold the reader to an old state for all.

        Where there are many that may not be seen, each turn looks through some of them.
        """
        left = limit
        first = self.first_run(since_us) if since_us else 0
        mixed = not sight.sees_all and name in ("runs", "runs_by_state")
        while left > 0:
            wanted = LOOKED_AT if mixed else min(left, PAGE)
            rows = list(self.store.rows(name, *of, before, first, since_us, wanted))
            if not rows:
                break
            before = rows[-1][0]
            seen = [row for row in rows if sight.sees(row[1])][:left]
            left -= len(seen)
            for at in range(0, len(seen), PAGE):
                yield RunPage(runs=[self._with_live(views.run_view(row), sight) for row in seen[at : at + PAGE]])
            if not seen:
                yield NEXT_TURN
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
        return self.deferred(self.definitions.when_settled, lambda: self._start_installed(request, peer))

    def _start_installed(self, request: StartRun, peer: Peer) -> Replies:
        entry = self.workflows.find(request.workflow)
        notes = self.definitions.stale_note(entry.name)
        return self._begin(request, peer, entry.digest, entry.definition, _Found(notes=notes))

    def _begin(self, request: StartRun, peer: Peer, digest: str, definition: Workflow, found: _Found) -> Replies:
        values = parameters.bind(definition.params, request.params, from_text=request.params_are_text)
        not_asked = _not_asked(definition, request.only)
        if request.dry_run:
            return iter([_plan(definition, values, found, not_asked, self.workflows.user_of)])

        def asked(of: Workflow) -> RunCreated:
            return RunCreated(0, not_asked=_not_asked(of, request.only))

        known = idempotency.first_run(self.workflows, definition.name, request.key, values, asked)
        if known is not None:
            return self._said(known, definition.name, peer)
        kept = None
        if not_asked or request.no_cache:
            kept = RunCreated(self.clock.wall_us(), not_asked=not_asked, no_cache=request.no_cache)
        live = self.workflows.start(
            definition.name, digest, definition, values, trigger="manual", by=peer.name, key=request.key, kept=kept
        )
        return self._said(live.meta.run, definition.name, peer, found.notes)

    def _start_text(self, request: StartRun, peer: Peer) -> Replies:
        """A text must be read by the child first."""
        result: list[Loaded | Rejected] = []

        def check(then: Callable[[], None]) -> None:
            def read(outcome: Loaded | Rejected) -> None:
                result.append(outcome)
                then()

            self.definitions.check_text(request.file, request.data, peer.uid, read)

        return self.deferred(check, lambda: self._begin_text(request, peer, result[0]))

    def deferred(self, subscribe: Callable[[Callable[[], None]], None], act: Callable[[], Replies]) -> Replies:
        """Act in the turn in which `subscribe` calls back, so that what it changes is committed before the reply.

        Who may is judged again then: the definition that came meanwhile may say something else.
        """
        outcome: list[Replies | PyflowError] = []
        topic = f"deferred/{id(outcome)}"
        deed = self.audit.put_off()

        def judged() -> Replies:
            self.access.authorise(deed.request, deed.peer)
            self.health.check_writable()
            return act()

        def now() -> None:
            self.workflows.topics.add(topic)
            try:
                outcome.append(self.audit.during(deed, judged))
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
            if definition.name not in self.workflows.entries:
                self.workflows.rights.put(definition.name, Groups(definition.visible_to, definition.operate_by))
        return replies

    def _said(
        self,
        run: int,
        workflow: str,
        peer: Peer,
        notes: Sequence[str] = (),
        difference: tuple[str, str] | None = None,
    ) -> Replies:
        """What was done to a run, which may have ended in this turn: it is in the store only after the commit.

        `difference`: digests of two texts, of which it is to be told how they differ.
        """
        self.audit.about(workflow, run)
        return self._told(run, peer, notes, difference)

    def _told(self, run: int, peer: Peer, notes: Sequence[str], difference: tuple[str, str] | None) -> Replies:
        view = self.view(run, self.access.sight(peer))
        said = self._differing(view.workflow, *difference) if difference else ""
        yield msgspec.structs.replace(view, notes=list(notes), definition_diff=said)

    def _differing(self, workflow: str, old: str, new: str) -> str:
        """Read when it is pulled: a text that came into force in this turn is in the store after its commit."""
        if old == new:
            return ""
        before, after = f"{workflow}@{old[: diff.DIGITS]}", f"{workflow}@{new[: diff.DIGITS]}"
        texts = [self.store.one("definition", digest)[0] for digest in (old, new)]
        return diff.brief(texts[0], texts[1], before, after, f"pyflowctl diff {before} {after}")

    def live(self, run: int) -> LiveRun:
        live = self.runs.live.get(run)
        if live is None:
            self.runs.aside.check(run)
            view = self.bare_view(run)
            raise Refused(f"run {run} of {view.workflow} has ended already: {view.state}")
        return live

    def cancel_run(self, request: CancelRun, peer: Peer) -> Replies:
        live = self.live(request.run or self.newest_live(request.workflow))
        if request.task:
            return self._cancel_task(live, request.task, peer)
        self.runs.cancel(live, peer.name)
        return self._said(live.meta.run, live.meta.workflow, peer)

    def node(self, live: LiveRun, name: str) -> TaskRun:
        """A task of a live run, or one of its items; raises NotFound."""
        found = live.run.tasks.get(name)
        if found is not None:
            return found
        head, bracket, _ = name.partition("[")
        known = list(itertools.islice((task for task in live.run.tasks if bracket or "[" not in task), NEAREST_MAX))
        if bracket and head in live.run.tasks:
            raise NotFound(f'no item "{name}"{nearest(name, known)} in run {live.meta.run} of {live.meta.workflow}')
        raise NotFound(f'no task "{head}"{nearest(head, known)} in run {live.meta.run} of {live.meta.workflow}')

    def _cancel_task(self, live: LiveRun, name: str, peer: Peer) -> Replies:
        task, run = self.node(live, name), live.run
        if task.state in TASK_TERMINAL:
            raise Refused(f"{name} of run {run.run_id} has ended already: {task.state}")
        if run.state is not RunState.RUNNING or task not in in_progress(run):
            raise Refused(f"{name} of run {run.run_id} has not begun; `pyflowctl cancel {run.run_id}` stops the run")
        again = bool(task.stopping)
        self.runs.cancel_task(live, name, peer.name)
        how = "killed" if again else "cancelled"
        return self._said(run.run_id, live.meta.workflow, peer, [f"{name} is being {how}; the run goes on"])

    def newest_live(self, workflow: str) -> int:
        live = self.runs.of_workflow.get(workflow)
        if not live:
            run = self.find_run(workflow)
            raise Refused(f"no run of {workflow} is live; its newest, run {run}, is {self.bare_view(run).state}")
        return live[-1].meta.run

    def _named(self, request: RerunRun | WatchRun) -> int:
        return request.run or self.find_run(request.workflow)

    def rerun_run(self, request: RerunRun, peer: Peer) -> Replies:
        old = self.bare_view(self._named(request))
        if old.state not in RUN_TERMINAL:
            raise Refused(f"run {old.run} is {old.state}; cancel it first, or wait for its end")
        entry = self.workflows.find(old.workflow) if request.latest else None
        digest = entry.digest if entry else old.digest
        definition = self.definition_of(digest)
        request = msgspec.structs.replace(request, run=old.run)
        kept = msgspec.structs.replace(self._kept(request, old.digest, definition), no_cache=request.no_cache)
        values = parameters.bind(definition.params, old.params, from_text=False)

        def asked(of: Workflow) -> RunCreated:
            return self._kept(request, old.digest, of)

        known = idempotency.first_run(self.workflows, old.workflow, request.key, values, asked, old.run)
        if known is not None:
            return self._said(known, old.workflow, peer)
        live = self.workflows.start(
            old.workflow, digest, definition, values, trigger="rerun", by=peer.name, key=request.key,
            rerun_of=old.run, kept=kept,
        )  # fmt: skip
        if not request.latest:
            return self._said(live.meta.run, old.workflow, peer)
        notes = self.definitions.stale_note(old.workflow)
        return self._said(live.meta.run, old.workflow, peer, notes, difference=(old.digest, digest))

    def _kept(self, request: RerunRun, digest: str, definition: Workflow) -> RunCreated:
        """What the new run takes over from the old one."""
        old = fold(request.run, self.definition_of(digest), self.runs.stored_events(request.run))
        kept = self._kept_tasks(request, old, definition)
        view = self.bare_view(request.run)
        if view.scheduled_us is None:
            return msgspec.structs.replace(kept, of_slot_us=old.kept.of_slot_us, of_trigger=old.kept.of_trigger)
        return msgspec.structs.replace(kept, of_slot_us=view.scheduled_us, of_trigger=view.trigger)

    def _kept_tasks(self, request: RerunRun, old: Run, definition: Workflow) -> RunCreated:
        now_us = self.clock.wall_us()
        if not request.failed_only and request.from_task is None:
            return rerun.afresh(old, now_us)
        again: set[str] = set()
        if request.from_task is not None:
            names = [task.name for task in definition.tasks]
            if request.from_task not in names:
                raise NotFound(f'no task "{request.from_task}"{nearest(request.from_task, names)} in run {request.run}')
            again = {request.from_task}
        kept = rerun.taken_over(old, definition, again, now_us)
        if len(kept.kept) + len(kept.not_asked) == len(definition.tasks):
            raise Refused(f"run {request.run} has no failed task; leave out --failed to do all of it again")
        return kept

    def mark_seen(self, request: MarkSeen, peer: Peer) -> Replies:
        """The first word counts: who says it again learns who was before."""
        view = self.bare_view(request.run)
        self.audit.about(view.workflow, view.run)
        if view.state != RunState.FAILED:
            raise Refused(f"run {view.run} of {view.workflow} is {view.state}; only of one that failed is note taken")
        if bool(view.seen_by) != request.seen:
            now_us = self.clock.wall_us()
            self.runs.batch.add("run_seen", *((peer.name, now_us) if request.seen else ("", None)), view.run)
            self.runs.batch.event(view.run, RunSeen(now_us, peer.name, view.workflow, request.seen))
            self.runs.changed.add(view.run)
        return self._told(view.run, peer, (), None)

    def watch_run(self, request: WatchRun, peer: Peer) -> Replies:
        view = self.view(self._named(request), self.access.sight(peer))
        yield view
        self.runs.aside.check(view.run)
        while view.state not in RUN_TERMINAL:
            yield Wait(frozenset({f"run/{view.run}"}), PROGRESS_QUIET_US)
            view = self.view(view.run, self.access.sight(peer))
            yield view
        yield Done(exit_status=EXIT_OF_RUN[RunState(view.state)])


def named(sight: Sight) -> Callable[[str], str]:
    """A function from a workflow's name to what may be told of it."""
    return lambda workflow: workflow if sight.sees(workflow) else HIDDEN


def _running(live: LiveRun) -> list[str]:
    """Some of what is under way: a fan-out is one, with how far it is."""
    found = (_name(task) for task in live.by_index if task.state is TaskState.RUNNING and not is_item(task))
    return list(itertools.islice(found, views.RUNNING_SHOWN))


def _name(task: TaskRun) -> str:
    if task.fan is None:
        return task.name
    return f"{task.name} ({len(task.fan.items) - task.fan.open} of {len(task.fan.items)})"


def _without_values(task: TaskView) -> TaskView:
    """What a graph shows of a task: its outputs may be large."""
    return msgspec.structs.replace(task, outputs={}, values={}, artifacts={})


def _not_asked(definition: Workflow, only: list[str]) -> tuple[str, ...]:
    """The tasks that are left out; raises NotFound for a name that is none."""
    names = [task.name for task in definition.tasks]
    for name in only:
        if name not in names:
            raise NotFound(f'no task "{name}"{nearest(name, names)} in {definition.name}; nothing was run')
    return rerun.only(definition, set(only)) if only else ()


def _plan(
    definition: Workflow,
    values: dict[str, Any],
    found: _Found,
    not_asked: tuple[str, ...],
    user_of: Callable[[Workflow, Task], str],
) -> PlanView:
    tasks = [task for task in definition.tasks if task.name not in not_asked]
    of_task = partial(user_of, definition)
    handlers = planned_handlers(definition, user_of=of_task)
    kinds = {node.task.name: node.task.kind for node in nodes(definition)}
    kinds |= {node.task.undo.name: node.task.undo.kind for node in nodes(definition) if node.task.undo is not None}
    return PlanView(
        workflow=definition.name,
        params=values,
        tasks=[planned(task, user_of=of_task) for task in tasks],
        commands={task.task: views.command_text(kinds[task.task]) for task in (*map(planned, tasks), *handlers)},
        warnings=list(found.warnings),
        notes=list(found.notes),
        handlers=[handler for handler in handlers if handler.of not in not_asked],
        outputs=definition.outputs,
    )
