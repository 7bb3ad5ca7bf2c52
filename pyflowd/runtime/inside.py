"""Attempts that are no processes: called runs, approvals, waits, notifications, and requests in the thread pool.

They begin, are stopped and end in the turn that decides so; only a request leaves the loop, after its commit, and
comes back through the pool. What was under way when the daemon died is taken up by `recover` (rule I4).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, assert_never

from pyflowd.base.timers import Timer
from pyflowd.clock import US, from_us, to_us
from pyflowd.engine import engine
from pyflowd.engine.outcomes import EXPRESSION
from pyflowd.engine.state import TaskRun
from pyflowd.errors import PyflowError, Refused, nearest
from pyflowd.expressions import expression, template
from pyflowd.expressions.expression_values import ExpressionError
from pyflowd.model.ends import Answer, End, Given, LostAttempt, RunEnd, StartFailure, Stop, Stopped, Waited
from pyflowd.model.kinds import Approval, Call, Http, Notify, OnTimeout, ProcessKind, Wait
from pyflowd.model.states import Lost, RunState, TaskState
from pyflowd.runtime.context import TaskNames
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.runs import Launch, Runs
from pyflowd.runtime.workflows import Workflows

ERROR_MAX = 500
DEPTH_MAX = 32
"""Runs that call runs: deeper than this is taken for a recursion without an end."""
_CALLED = re.compile(r"run [0-9]+ of [^ ]+ (?:failed|cancelled)", re.ASCII)
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)

Send = Callable[[Notify, LiveRun, TaskNames], str]
"""Put a message into the spool, in this turn's batch; the reason where it cannot be."""
Submit = Callable[[str, LiveRun, TaskRun, TaskNames, float | None], None]
"""Put a request together, which is sent after the commit. Raises ValueError."""


class InsideTasks:
    """All attempts that run in the daemon. One thread; every method is part of a turn."""

    def __init__(self, runs: Runs, workflows: Workflows, send: Send, submit: Submit, cancel: Callable[[str], None]):
        self.runs = runs
        self.workflows = workflows
        self._send = send
        self._submit = submit
        self._cancel = cancel
        self._timers: dict[str, list[Timer]] = {}
        self._callers: dict[int, set[str]] = {}
        """Run to the attempts that wait for it."""
        self._ended_some = False
        """Whether an attempt has ended: what comes after it may have become ready."""
        self._ending: set[int] = set()
        """Runs that ended in this turn, and whose callers are about to be told."""
        self._stops: dict[str, Stop] = {}
        """Why a called run was cancelled."""
        self._conditions: dict[int, set[str]] = {}
        """Run to its tasks that wait for a condition."""

    # ---- The turn

    def settle(self, ended: list[LiveRun]) -> bool:
        """Do what this turn asks for; whether anything was done (others may have something to do then)."""
        self._ended_some = False
        self._ending = {live.meta.run for live in ended}
        todo, self.runs.inside = self.runs.inside, []
        for live, task, grace_s in todo:
            if task.state is not TaskState.RUNNING or live.meta.run not in self.runs.live:
                continue
            if grace_s is None:
                self._begin(live, task)
            else:
                self._stop(live, task, Stop.REQUEST)
        for live in ended:
            self._called_has_ended(live)
        self._ending = set()
        for run in self.runs.changed & self._conditions.keys():
            self._look_again(run)
        return bool(todo or self._ended_some or self.runs.inside)

    def _begin(self, live: LiveRun, task: TaskRun) -> None:
        kind = task.definition.kind
        attempt_id = self.runs.attempt_id(live.run, task)
        names = TaskNames(live.facts, task)
        try:
            match kind:
                case Http():
                    self._submit(attempt_id, live, task, names, self._timeout_s(task))
                    self.runs.inside_running(live, task)
                    self.runs.actions.append(Launch(live, task))
                case Call():
                    self._begin_call(live, task, kind, names)
                case Approval():
                    message = template.render_text(kind.message, names)
                    self.runs.inside_running(live, task, facts={"message": message})
                    self._watch_approval(live, task, kind)
                case Wait():
                    self.runs.inside_running(live, task)
                    self._watch_wait(live, task, kind)
                case Notify():
                    self.runs.inside_running(live, task)
                    error = self._send(kind, live, names)
                    self._end(attempt_id, Waited(ended_us=self._now_us(), error=error))
                case _:
                    raise AssertionError(kind)
        except ValueError as error:
            self._end(attempt_id, StartFailure(step=EXPRESSION, errno=0, message=str(error), at_us=self._now_us()))

    def _stop(self, live: LiveRun, task: TaskRun, why: Stop) -> None:
        """A cancel of the task or its run, or its time has run out."""
        attempt_id = self.runs.attempt_id(live.run, task)
        match task.definition.kind:
            case Http():
                self._cancel(attempt_id)
            case Call():
                called = self.runs.live.get(task.attempt.called) if task.attempt else None
                if called is None or called.meta.parent != live.meta.run:
                    self._end(attempt_id, Stopped(ended_us=self._now_us(), stop=why))
                    return
                self._stops.setdefault(attempt_id, why)
                self.runs.cancel(called, f"run {live.meta.run}")
            case _:
                self._end(attempt_id, Stopped(ended_us=self._now_us(), stop=why))

    def _end(self, attempt_id: str, end: End, given: Given | None = None) -> None:
        self._ended_some = True
        for timer in self._timers.pop(attempt_id, ()):
            timer.cancel()
        found = self.runs.under_way(attempt_id)
        if found is not None:
            self._waits_no_more(*found)
        self.runs.attempt_ended(attempt_id, end, given)

    def _waits_no_more(self, live: LiveRun, task: TaskRun) -> None:
        run = live.meta.run
        waiting = self._conditions.get(run)
        if waiting is not None:
            waiting.discard(task.name)
            if not waiting:
                del self._conditions[run]
        if task.attempt and task.attempt.called:
            self.runs.sharing.part(live, task, task.attempt.called)

    def _now_us(self) -> int:
        return self.runs.clock.wall_us()

    def _timeout_s(self, task: TaskRun) -> float | None:
        return engine.attempt_timeout_s(task, self.runs.clock.mono_us())

    def _at(self, attempt_id: str, delay_us: int, call: Callable[[], None]) -> None:
        """Call after `delay_us`, unless the attempt has ended by then."""

        def due() -> None:
            if self.runs.under_way(attempt_id) is not None:
                call()

        timer = self.runs.timers.at(self.runs.clock.mono_us() + max(0, delay_us), due)
        self._timers.setdefault(attempt_id, []).append(timer)

    def _left_us(self, task: TaskRun, whole_s: float) -> int:
        """What is left of a span that began with the attempt, by the wall clock: a restart does not renew it."""
        began_us = task.attempt.started_us if task.attempt else self._now_us()
        return min(round(whole_s * US), max(0, began_us + round(whole_s * US) - self._now_us()))

    # ---- Called runs

    def _begin_call(self, live: LiveRun, task: TaskRun, kind: Call, names: TaskNames) -> None:
        attempt_id = self.runs.attempt_id(live.run, task)
        values = template.render_tree(kind.arguments, names)
        key = template.render_text(kind.key, names) if kind.key else ""
        try:
            if live.meta.depth >= DEPTH_MAX:
                raise Refused(f"{kind.workflow} would be called {DEPTH_MAX + 1} deep; at most {DEPTH_MAX}")
            called = self.workflows.call(live, task.name, kind.workflow, values, key, wait=kind.wait)
        except PyflowError as error:
            self._end(attempt_id, RunEnd(run=0, state=RunState.FAILED, ended_us=self._now_us(), error=str(error)))
            return
        self.runs.inside_running(live, task, called)
        if not kind.wait:
            ended = RunEnd(run=called, state=RunState.QUEUED, ended_us=self._now_us())
            self._end(attempt_id, ended, Given(outputs={"run": called}))
            return
        self._await_run(live, task)

    def _await_run(self, live: LiveRun, task: TaskRun) -> None:
        """Wait for the called run; one that had ended before this turn is answered at once.

        One that ends in this very turn, as may be after a restart or where a key names it, is not in the store yet:
        `settle` tells of it.
        """
        assert task.attempt is not None
        attempt_id = self.runs.attempt_id(live.run, task)
        called = task.attempt.called
        ends_now = called in self._ending or any(ended.meta.run == called for ended in self.runs.ended)
        if called not in self.runs.live and not ends_now:
            row = self.runs.store.one_or_none("run_end", called)
            if row is None:
                end: End = RunEnd(run=called, state=RunState.FAILED, ended_us=self._now_us(), error=self._lost(called))
                self._end(attempt_id, end)
            else:
                self._tell_caller(attempt_id, called, row[0], RunState(row[1]), row[2], self.workflows.outputs(row[3]))
            return
        self._callers.setdefault(called, set()).add(attempt_id)
        run = self.runs.live.get(called)
        if run is None or run.caller != (live, task):
            self.runs.sharing.join(live, task, called)
        timeout_s = self._timeout_s(task)
        if timeout_s is not None:
            self._at(attempt_id, self._left_us(task, timeout_s), lambda: self._stop(live, task, Stop.TIMEOUT))

    def _lost(self, run: int) -> str:
        """Why nothing is known of the end of a run that was called."""
        aside = self.runs.aside.runs.get(run)
        return aside.text if aside else f"no run {run}"

    def _called_has_ended(self, called: LiveRun) -> None:
        run = called.run
        for attempt_id in sorted(self._callers.pop(called.meta.run, ())):
            self._tell_caller(
                attempt_id, called.meta.run, called.meta.workflow, run.state, run.error, run.outputs or {}
            )

    def _tell_caller(
        self, attempt_id: str, run: int, workflow: str, state: RunState, error: str, outputs: dict[str, Any]
    ) -> None:
        stop = self._stops.pop(attempt_id, Stop.NONE)
        why = ""
        if state is not RunState.SUCCEEDED:
            why = f"run {run} of {workflow} {state}" + (f": {_cause(error)}" if error else "")
        end = RunEnd(run=run, state=state, ended_us=self._now_us(), error=why, stop=stop if why else Stop.NONE)
        self._end(attempt_id, end, Given(outputs=outputs))

    # ---- Approvals

    def _watch_approval(self, live: LiveRun, task: TaskRun, kind: Approval) -> None:
        timeout_s = kind.timeout_s if kind.timeout_s is not None else self._timeout_s(task)
        if timeout_s is None:
            return
        attempt_id = self.runs.attempt_id(live.run, task)

        def nobody() -> None:
            now_us = self._now_us()
            match kind.on_timeout:
                case OnTimeout.APPROVE:
                    self._end(attempt_id, Answer(approved=True, ended_us=now_us), _chosen(kind, kind.default, ""))
                case OnTimeout.SKIP:
                    self._end(attempt_id, Answer(approved=False, ended_us=now_us, skip=True))
                case OnTimeout.REJECT | OnTimeout.FAIL:
                    self._end(attempt_id, Answer(approved=False, ended_us=now_us))
                case _:
                    assert_never(kind.on_timeout)

        self._at(attempt_id, self._left_us(task, timeout_s), nobody)

    def answer(self, live: LiveRun, task: TaskRun, by: str, comment: str, choice: str | None, *, approve: bool) -> None:
        """Somebody answers an approval that waits; who may is checked by `may_answer`. Raises Refused."""
        kind = task.definition.kind
        if not isinstance(kind, Approval) or task.state is not TaskState.RUNNING:
            raise Refused(f"{task.name} of run {live.meta.run} waits for no answer: it is {task.state}")
        attempt_id = self.runs.attempt_id(live.run, task)
        end = Answer(approved=approve, ended_us=self._now_us(), by=by, comment=comment)
        if not approve:
            self._end(attempt_id, end)
            return
        picked = choice if choice is not None else kind.default
        if kind.choices and picked not in kind.choices:
            known = ", ".join(kind.choices)
            if picked is None:
                raise Refused(f"{task.name} asks for a choice: {known}; name it with --choose")
            raise Refused(f'"{picked}" is no choice{nearest(picked, list(kind.choices))}: {known}')
        if choice is not None and not kind.choices:
            raise Refused(f"{task.name} offers no choice")
        self._end(attempt_id, end, _chosen(kind, picked, by))

    # ---- Waits

    def _watch_wait(self, live: LiveRun, task: TaskRun, kind: Wait) -> None:
        attempt_id = self.runs.attempt_id(live.run, task)

        def come() -> None:
            self._end(attempt_id, Waited(ended_us=self._now_us()))

        def out_of_time() -> None:
            skip = kind.on_timeout is OnTimeout.SKIP
            error = "what it waits for did not come in time"
            self._end(attempt_id, Waited(ended_us=self._now_us(), error=error, timed_out=True, skip=skip))

        timeout_s = self._timeout_s(task)
        if timeout_s is not None:
            self._at(attempt_id, self._left_us(task, timeout_s), out_of_time)
        if kind.for_s is not None:
            self._at(attempt_id, self._left_us(task, kind.for_s), come)
        elif kind.until:
            self._watch_wall(attempt_id, self._until_us(live, task, kind), come)
        else:
            self._conditions.setdefault(live.meta.run, set()).add(task.name)
            self._look(live, task, kind)

    def _watch_wall(self, attempt_id: str, due_us: int, come: Callable[[], None]) -> None:
        """An instant of the wall clock: looked at again every so often, as the clock may be set (rule T8)."""

        def look() -> None:
            left_us = due_us - self._now_us()
            if left_us <= 0:
                come()
            else:
                self._at(attempt_id, min(left_us, 30 * US), look)

        self._at(attempt_id, 0, look)

    def _until_us(self, live: LiveRun, task: TaskRun, kind: Wait) -> int:
        """The instant that `until` names; `HH:MM` is the next such moment after the beginning, in the run's zone."""
        text = template.render_text(kind.until, TaskNames(live.facts, task)).strip()
        began = from_us(task.attempt.started_us if task.attempt else self._now_us()).astimezone(live.facts.zone)
        time_of_day = _TIME_OF_DAY.fullmatch(text)
        if time_of_day:
            due = began.replace(hour=int(time_of_day[1]), minute=int(time_of_day[2]), second=0, microsecond=0)
            return to_us(due if due >= began else due + timedelta(days=1))
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ExpressionError(
                f'until: "{text[:80]}" is no time; write 2026-01-31T22:30:00+01:00, or 22:30'
            ) from None
        return to_us(moment if moment.tzinfo else moment.replace(tzinfo=live.facts.zone))

    def _look_again(self, run: int) -> None:
        live = self.runs.live.get(run)
        if live is None:
            del self._conditions[run]
            return
        for name in sorted(self._conditions[run]):
            task = live.run.tasks[name]
            kind = task.definition.kind
            if isinstance(kind, Wait) and task.state is TaskState.RUNNING:
                try:
                    self._look(live, task, kind)
                except ExpressionError as error:
                    attempt_id = self.runs.attempt_id(live.run, task)
                    failure = StartFailure(step=EXPRESSION, errno=0, message=str(error), at_us=self._now_us())
                    self._end(attempt_id, failure)

    def _look(self, live: LiveRun, task: TaskRun, kind: Wait) -> None:
        value = expression.parse(kind.condition).evaluate(TaskNames(live.facts, task))
        if not isinstance(value, bool):
            raise ExpressionError("condition: it must be true or false: compare it with something")
        if value:
            self._end(self.runs.attempt_id(live.run, task), Waited(ended_us=self._now_us()))

    # ---- After a restart

    def recover(self, *, requests_go_on: bool = False) -> None:
        """Take up what was under way, once, when the runs have been rebuilt. `requests_go_on`: they outlived it all."""
        elsewhere = (ProcessKind | Http) if requests_go_on else ProcessKind
        for live in list(self.runs.live.values()):
            for task in live.by_index:
                inside = not isinstance(task.definition.kind, elsewhere) and task.fan is None
                if task.state is TaskState.RUNNING and inside:
                    self._take_up(live, task)

    def _take_up(self, live: LiveRun, task: TaskRun) -> None:
        kind = task.definition.kind
        attempt_id = self.runs.attempt_id(live.run, task)
        try:
            match kind:
                case Http():
                    again = kind.safe_to_repeat
                    self._end(attempt_id, LostAttempt(why=Lost.DAEMON_LOST, at_us=self._now_us(), again=again))
                case Call():
                    self._await_run(live, task)
                case Approval():
                    self._watch_approval(live, task, kind)
                case Wait():
                    self._watch_wait(live, task, kind)
                case _:
                    self._end(attempt_id, LostAttempt(why=Lost.DAEMON_LOST, at_us=self._now_us(), again=True))
        except ExpressionError as error:
            self._end(attempt_id, StartFailure(step=EXPRESSION, errno=0, message=str(error), at_us=self._now_us()))


def _cause(error: str) -> str:
    """Of a chain of runs that called each other, what went wrong in the last one."""
    inner = list(_CALLED.finditer(error))
    text = f"… {error[inner[-1].start() :]}" if inner else error
    return text if len(text) <= ERROR_MAX else f"{text[: ERROR_MAX - 1]}…"


def _chosen(kind: Approval, choice: str | None, by: str) -> Given:
    outputs: dict[str, Any] = {"by": by}
    if kind.choices and choice is not None:
        outputs["choice"] = choice
    return Given(outputs=outputs)


def may_answer(kind: Approval, requested_by: str, name: str, groups: list[str]) -> str:
    """Why somebody may not answer an approval; empty where he may. The level to operate is checked before."""
    if kind.forbid_requester and name == requested_by:
        return "the run was asked for by you; somebody else has to answer"
    if not kind.allow or f"user:{name}" in kind.allow or any(f"group:{group}" in kind.allow for group in groups):
        return ""
    return f"only {', '.join(kind.allow)} may answer"
