"""What is known of runs and their tasks, for explanations: from the live runs, the store and the logs. It looks, and
changes nothing; what is said of it is the business of `explain_run` and `explain_task`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

import msgspec

from pyflowd.errors import NotFound, nearest
from pyflowd.events import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarting,
    CancelRequested,
    StoredEvent,
    TaskSettled,
)
from pyflowd.handlers.access import Sight
from pyflowd.handlers.explain_obstacles import Obstacles
from pyflowd.handlers.explain_run import Part, Standing, Tried
from pyflowd.handlers.explain_task import NEEDS_TOLD, Need, TaskStanding
from pyflowd.handlers.handlers_runs import RunHandlers, named
from pyflowd.handlers.view_tasks import Found, Look, RunOf, nodes
from pyflowd.model.states import RUN_TERMINAL, TASK_TERMINAL, AttemptState, Reason, RunState, Section, TaskState
from pyflowd.model.workflow import Task, TriggerRule
from pyflowd.protocol.views_runs import EventView, RunView, TaskView
from pyflowd.protocol.words import HIDDEN
from pyflowd.render import sentences
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.tasklogs import TaskLogs

BAD_LOOKED_AT = 50
BAD_TOLD = 2
LIVE_TOLD = 4
SKIPPED_TOLD = 5
ATTEMPTS_TOLD = 3
NEEDS_DEPTH = 30
RUNS_TOLD = 20
"""In one explanation, each of them once."""
STORY_MAX = 200
NAMES_MAX = 200
SAID_LINES = 5
SAID_BYTES = 4096
SAID_COLUMNS = 200
_BAD = (TaskState.FAILED, TaskState.CANCELLED, TaskState.UPSTREAM_FAILED)
_NOT_RETRIED = (126, 127)
_event = msgspec.msgpack.Decoder(StoredEvent)


class Sources:
    """As whoever asks may know them. `obstacles` knows what live runs wait for."""

    def __init__(self, of_runs: RunHandlers, logs: TaskLogs, sight: Sight) -> None:
        self.sight = sight
        self.of_runs = of_runs
        self.store = of_runs.store
        self.runs = of_runs.runs
        self.logs = logs
        self.obstacles = Obstacles(of_runs.runs, self._behind, named(sight))

    # ---- Runs

    def standing(self, run: int, *, attempts: int = ATTEMPTS_TOLD) -> Standing:
        """How a run stands; `attempts` of each of its tasks are told. Raises NotFound, Refused."""
        view = self.of_runs.view(run, self.sight)
        self.runs.aside.check(run)
        if view.state not in RUN_TERMINAL:
            return self._live(view, set(), attempts)
        look = self._look(view)
        bad, not_run = self._bad(view, look, attempts)
        cancel = self._cancel(run) if view.state == RunState.CANCELLED else None
        skipped = [found.view for found in look.in_state(TaskState.SKIPPED, SKIPPED_TOLD)]
        return Standing(
            view=view, bad=bad, not_run=not_run, skipped=tuple(each for each in skipped if each.item is None),
            handlers=self._handlers(view, look), cancelled_by=cancel.by if cancel else "",
            cancelled_us=cancel.at_us if cancel else None,
        )  # fmt: skip

    def brief(self, run: int) -> Standing | None:
        """The same without its tasks, where it has ended; None where it is forgotten."""
        try:
            view = self.of_runs.view(run, self.sight)
        except NotFound:
            return None
        return Standing(view=view) if view.state in RUN_TERMINAL else self._live(view, set(), 0)

    def _behind(self, run: int, seen: set[int]) -> Standing | None:
        """A run that another waits for; None where it has been told already, or enough have been."""
        if run in seen or len(seen) >= RUNS_TOLD:
            return None
        with suppress(NotFound):
            view = self.of_runs.view(run, self.sight)
            if not self.sight.sees(view.workflow):
                return Standing(view=RunView(run=0, workflow=HIDDEN, state=view.state))
            return Standing(view=view) if view.state in RUN_TERMINAL else self._live(view, seen, 0)
        return None

    def _live(self, view: RunView, seen: set[int], attempts: int) -> Standing:
        seen.add(view.run)
        if view.run in self.runs.aside.runs:
            return Standing(view=view)
        live = self.runs.live[view.run]
        if view.state == RunState.QUEUED:
            return Standing(view=view, obstacles=self.obstacles.of_run(live, seen))
        names, total = _under_way(live)
        look = self._look(view)
        found = [each for name in names if (each := look.named(name)) is not None]
        parts = tuple(self.part(view, look, each, attempts, seen) for each in found)
        cancel = self._cancel(view.run) if live.run.cancelled else None
        return Standing(
            view=view, live=parts, live_total=total, cancelled_by=cancel.by if cancel else "",
            cancelled_us=cancel.at_us if cancel else None,
        )  # fmt: skip

    def _look(self, view: RunView) -> Look:
        return Look(
            self.store,
            RunOf(
                view.run, self.of_runs.definition_of(view.digest), view.section, user_of=self.of_runs.workflows.user_of
            ),
        )

    def _cancel(self, run: int) -> CancelRequested | None:
        """The first that was accepted."""
        rows = list(self.store.rows("run_events_with", run, b"cancel_requested", STORY_MAX))
        found = [event for row in reversed(rows) if isinstance(event := _event.decode(row[3]), CancelRequested)]
        return found[0] if found else None

    def _bad(self, view: RunView, look: Look, attempts: int) -> tuple[tuple[Part, ...], tuple[str, ...]]:
        """The tasks that failed first, and the names of those that did not run because of them; of a run that has
        succeeded those that were allowed to fail.
        """
        failed = look.in_state(TaskState.FAILED, BAD_LOOKED_AT)
        allowed = view.state == RunState.SUCCEEDED
        tasks = [each for each in failed if each.view.item is None and each.view.allowed == allowed]
        names = set() if allowed else {each.view.task for each in tasks}
        items = [each for each in failed if each.view.item is not None and each.view.of in names]
        told = {each.view.of for each in items}
        blamed = [*items, *(each for each in tasks if each.view.task not in told)]
        blamed.sort(key=lambda each: (each.view.section == Section.UNDO, each.view.ended_us or 0))
        blocked = look.in_state(TaskState.UPSTREAM_FAILED, NAMES_MAX)
        parts = tuple(self.part(view, look, each, attempts) for each in blamed[:BAD_TOLD])
        return parts, tuple(each.view.task for each in blocked if each.view.item is None)

    def _handlers(self, view: RunView, look: Look) -> tuple[TaskView, ...]:
        """Those of the whole run that have begun."""
        of_run = (Section.ON_SUCCESS, Section.ON_FAILURE, Section.ON_CANCEL, Section.FINALLY)
        named = [node.task.name for node in nodes(self.of_runs.definition_of(view.digest)) if node.section in of_run][
            :SKIPPED_TOLD
        ]
        found = [look.named(name) for name in named]
        return tuple(each.view for each in found if each is not None and each.view.state != TaskState.WAITING)

    # ---- Tasks

    def part(self, view: RunView, look: Look, found: Found, attempts: int, seen: set[int] | None = None) -> Part:
        """A task with what it waits for, and its newest attempts."""
        live = self.runs.live.get(view.run)
        task = live.run.tasks.get(found.view.task) if live else None
        seen = {view.run} if seen is None else seen
        node = look.node(found.view.task)
        return Part(
            view=found.view, obstacles=self.obstacles.of_task(live, task, seen) if live and task else (),
            tried=self._tried(view, found, attempts), retries=_retries(node.task, found.view) if node else "",
        )  # fmt: skip

    def _tried(self, view: RunView, found: Found, most: int) -> tuple[Tried, ...]:
        if found.view.items or not found.view.attempts or not most:
            return ()
        rows = list(self.store.rows("attempts_of_task", view.run, found.n, most))
        newest = rows[0][0] if rows else 0
        return tuple(self._attempt(view.run, found.view, row, row[0] == newest) for row in reversed(rows))

    def _attempt(self, run: int, task: TaskView, row: tuple[object, ...], newest: bool) -> Tried:
        number, state, reason, error, exit_code, signal, started_us, ended_us = row
        failed = state in (AttemptState.FAILED, AttemptState.TIMED_OUT, AttemptState.UNKNOWN)
        return msgspec.convert(
            {
                "number": number, "state": state, "reason": reason, "error": error, "exit_code": exit_code,
                "signal": signal, "started_us": started_us, "ended_us": ended_us,
                "said": self._said(run, task, int(str(number))) if failed and newest else (),
            },
            Tried,
        )  # fmt: skip

    def _said(self, run: int, task: TaskView, attempt: int) -> tuple[str, ...]:
        """The last lines of an attempt's log, in which secrets are masked already."""
        head = task.task.partition("[")[0]
        file = head if task.position is None else f"{head}~{task.position}"
        with suppress(OSError):
            descriptors = self.logs.open(run, file, attempt)
            if descriptors is None:
                return ()
            try:
                size_bytes = os.fstat(descriptors[0]).st_size
                data = os.pread(descriptors[0], SAID_BYTES, max(0, size_bytes - SAID_BYTES))
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            lines = [line for line in data.decode(errors="replace").splitlines() if line.strip()]
            return tuple(line[:SAID_COLUMNS] for line in lines[-SAID_LINES:])
        return ()

    def task_standing(self, view: RunView, name: str, *, attempts: int) -> TaskStanding:
        """One task of a run, or one item. Raises NotFound."""
        look = self._look(view)
        found = look.named(name)
        if found is None:
            raise NotFound(self._unknown(view, name))
        node = look.node(name)
        task = node.task if node and found.view.item is None else None
        bad_items: list[Found] = []
        if found.view.items and found.view.state == TaskState.FAILED:
            failed = look.in_state(TaskState.FAILED, BAD_LOOKED_AT)
            bad_items = [each for each in failed if each.view.item is not None and each.view.of == name][:BAD_TOLD]
        needs, open_needs = _by_weight(task.needs, look.states()) if task and task.needs else ([], 0)
        told: set[str] = set()
        return TaskStanding(
            run=view, part=self.part(view, look, found, attempts),
            rule=task.trigger_rule if task else TriggerRule.ALL_OK,
            needs=tuple(self._need(view, look, need, told, NEEDS_DEPTH) for need in needs[:NEEDS_TOLD]),
            needs_total=len(needs), needs_open=open_needs, condition=task.condition if task else "",
            story=tuple(self._story(view.run, name)),
            bad_items=tuple(self.part(view, look, each, 1) for each in bad_items),
        )  # fmt: skip

    def _unknown(self, view: RunView, name: str) -> str:
        definition = self.of_runs.definition_of(view.digest)
        known = [node.task.name for node in nodes(definition)]
        head = name.partition("[")[0]
        if head in known:
            known = [row[0] for row in self.store.rows("places", view.run) if row[0].startswith(f"{head}[")]
            return f'no item "{name}"{nearest(name, known[:NAMES_MAX])} in run {view.run} of {view.workflow}'
        return f'no task "{name}"{nearest(name, known[:NAMES_MAX])} in run {view.run} of {view.workflow}'

    def _need(self, view: RunView, look: Look, name: str, told: set[str], depth: int) -> Need:
        """A task that is needed; of one that did not run also what it needs in its turn, where that went wrong."""
        found = look.named(name)
        assert found is not None  # `needs` names tasks of the definition
        told.add(name)
        deeper: list[Need] = []
        if found.view.state == TaskState.UPSTREAM_FAILED and depth:
            for each in found.view.needs:
                need = None if each in told else self._need(view, look, each, told, depth - 1)
                if need is not None and need.part.view.state in _BAD:
                    deeper.append(need)
        return Need(part=self.part(view, look, found, 0), needs=tuple(deeper))

    def _story(self, run: int, task: str) -> Iterator[EventView]:
        """What happened to a task beside its attempts."""
        for row in reversed(list(self.store.rows("run_events_with", run, task.encode(), STORY_MAX))):
            event = _event.decode(row[3])
            known = isinstance(event, (AttemptStarting, AttemptRunning, AttemptEnded, TaskSettled))
            if getattr(event, "task", None) == task and not known:
                yield sentences.event_view(row, "")

    # ---- What was around

    def run_of_workflow(self, workflow: str) -> int | None:
        """Its oldest live run, else its newest one."""
        live = self.runs.of_workflow.get(workflow)
        newest: int | None = self.store.one("newest_run", workflow)[0]
        return live[0].meta.run if live else newest


def _under_way(live: LiveRun) -> tuple[list[str], int]:
    """Names of some tasks that run, are ready or wait for their back-off, and how many there are; fan-outs by items."""
    order = (TaskState.RUNNING, TaskState.RETRYING, TaskState.QUEUED)
    names: list[str] = []
    total = 0
    for state in order:
        for task in live.by_index:
            if task.state is state and task.fan is None:
                total += 1
                if len(names) < LIVE_TOLD:
                    names.append(task.name)
    return names, total


def _by_weight(needs: tuple[str, ...], states: dict[str, str]) -> tuple[list[str], int]:
    """Tasks that are needed, those first that went wrong, then those that have not ended; how many have not."""
    ended = {name for name in needs if states.get(name) in TASK_TERMINAL}
    rank = {name: 0 if states.get(name) in _BAD else 2 if name in ended else 1 for name in needs}
    return sorted(needs, key=rank.__getitem__), len(needs) - len(ended)


def _retries(task: Task, view: TaskView) -> str:
    """How many attempts are left, or why there was none after the last."""
    most = task.retry.attempts
    if view.state == TaskState.RETRYING:
        return f"attempt {view.attempts + 1} of {most} comes next"
    if view.state != TaskState.FAILED or not view.attempts:
        return ""
    if most <= 1:
        return "its retry allows one attempt: it is not tried again"
    if view.attempts >= most:
        return f"its retry allows {most} attempts: none is left"
    if view.reason == Reason.EXIT_CODE and view.exit_code in _NOT_RETRIED and task.retry.on_exit is None:
        return f"exit code {view.exit_code} is not tried again: it means that the command cannot be run"
    if task.retry.max_elapsed_s is not None:
        return f"{most - view.attempts} of {most} attempts are left, but retry.max_elapsed was over"
    return f"{most - view.attempts} of {most} attempts are left, but this end is none that is tried again"
