"""What a live run, or a task of it, waits for: one obstacle each, with who is behind it and what ends it. It looks at
the live runs, and changes nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence

from pyflowd.clock import US
from pyflowd.engine.holdings import RUN, Who
from pyflowd.engine.state import TaskRun
from pyflowd.handlers.explain import Code
from pyflowd.handlers.explain_run import Obstacle, Standing
from pyflowd.model.kinds import Approval, Call, ProcessKind, Wait
from pyflowd.model.states import AttemptState, TaskState
from pyflowd.protocol.views_runs import StepView
from pyflowd.render.layout import clean, plural
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.sharing import Named

BEHIND_TOLD = 2

Behind = Callable[[int, set[int]], Standing | None]
"""How another run stands; (its number, those that have been told)."""


class Obstacles:
    """`named`: what may be told of a workflow's name."""

    def __init__(self, runs: Runs, behind: Behind, named: Named) -> None:
        self._named = named
        self.runs = runs
        self._behind = behind

    # ---- Runs

    def of_run(self, live: LiveRun, seen: set[int]) -> tuple[Obstacle, ...]:
        """Of one that is queued."""
        if self.runs.drained:
            return (self._drained(),)
        if not live.admitted:
            return (self._overlap(live, seen),)
        places = self._places(live, RUN, seen)
        if places:
            return places
        run = live.run
        if run.gate and live.workflow.gates is not None:
            until_us = run.gate_us + round(live.workflow.gates.wait_s * US)
            step = StepView(text="its gate opens, or it gives up", at_us=until_us)
            return (Obstacle(code=Code.GATE, text=f"waits for its gate: {run.gate}", at_us=run.gate_us, step=step),)
        return (Obstacle(code=Code.STARTING, text="is about to start"),)

    def _overlap(self, live: LiveRun, seen: set[int]) -> Obstacle:
        """Nothing of the host keeps it: runs of its own workflow do."""
        others = self.runs.of_workflow.get(live.meta.workflow, [])
        admitted = [each for each in others if each.admitted]
        ahead = sum(1 for each in others if not each.admitted and each.meta.run < live.meta.run)
        aside = self.runs.aside.in_the_way(live.meta.workflow)
        first = aside[0] if aside else admitted[0].meta.run if admitted else others[0].meta.run
        limit = live.workflow.concurrency.limit if live.workflow.concurrency else 1
        most = f"{limit} of them may be" if limit > 1 else "one may be"
        text = f"waits for run {first} of the same workflow: {most} live at a time"
        if ahead:
            text += f"; {plural(ahead, 'run')} {'stands' if ahead == 1 else 'stand'} before it"
        behind = self._standings([first], seen)
        return Obstacle(code=Code.OVERLAP, text=text, at_us=live.meta.created_us, behind=behind)

    # ---- Tasks

    def of_task(self, live: LiveRun, task: TaskRun, seen: set[int]) -> tuple[Obstacle, ...]:
        """What keeps a task from going on; of one that waits for others, or has ended, nothing."""
        match task.state:
            case TaskState.QUEUED:
                return self._queued(live, task, seen)
            case TaskState.RETRYING:
                return (self._back_off(task),)
            case TaskState.RUNNING if task.fan is None:
                return (self._running(live, task, seen),)
            case _:
                return ()

    def _drained(self) -> Obstacle:
        step = StepView(text="an administrator lets the host go on", command="pyflowctl undrain")
        return Obstacle(code=Code.DRAINED, text=f"waits, as no task starts: {clean(self.runs.drained)}", step=step)

    def _queued(self, live: LiveRun, task: TaskRun, seen: set[int]) -> tuple[Obstacle, ...]:
        if self.runs.drained:
            return (self._drained(),)
        places = self._places(live, task.index, seen)
        if places:
            return places
        run, most = live.run, live.workflow.max_parallel
        if task.holds_run and run.active >= most:
            names = [each.name for each in live.by_index if each.state is TaskState.RUNNING and each.fan is None][:3]
            text = f"waits for another task of the run to end (max_parallel is {most}): {', '.join(names)}"
            return (Obstacle(code=Code.MAX_PARALLEL, text=text),)
        if task.holds_host and self.runs.active >= self.runs.max_tasks:
            text = f"waits for a task of any run to end: {self.runs.active} run (max_tasks is {self.runs.max_tasks})"
            step = StepView(text="a task of the host ends; what runs", command="pyflowctl status")
            return (Obstacle(code=Code.MAX_TASKS, text=text, step=step),)
        return (Obstacle(code=Code.STARTING, text="is about to start"),)

    def _back_off(self, task: TaskRun) -> Obstacle:
        most = task.definition.retry.attempts
        text = f"waits for its back-off: attempt {task.attempts + 1} of {max(most, task.attempts + 1)} is next"
        if task.definition.repeat is not None and task.reason is None:
            text = f"waits for its next pass, which is {task.passes + 1} of at most {task.definition.repeat.max}"
        return Obstacle(
            code=Code.BACK_OFF, text=text, at_us=task.retry_us,
            step=StepView(text=f"{clean(task.name)} is tried again", at_us=task.retry_us),
        )  # fmt: skip

    def _running(self, live: LiveRun, task: TaskRun, seen: set[int]) -> Obstacle:
        attempt, run = task.attempt, live.meta.run
        since_us = attempt.started_us if attempt and attempt.started_us else None
        if task.stopping or live.run.stopping:
            text = "is being stopped: what belongs to it gets its grace, and is killed then"
            return Obstacle(code=Code.STOPPING, text=text, at_us=since_us)
        if attempt is None or attempt.state is AttemptState.STARTING:
            return Obstacle(code=Code.STARTING, text="is being started")
        match task.definition.kind:
            case Approval() as kind:
                return _approval(live, task, kind, since_us)
            case Call() if attempt.called:
                behind = self._standings([attempt.called], seen)
                return Obstacle(
                    code=Code.CALLED, text=f"waits for run {attempt.called}, which it called", at_us=since_us,
                    behind=behind,
                )  # fmt: skip
            case Wait() as kind:
                return _wait(task, kind, since_us)
            case _:
                what = _at_work(task, attempt.pid)
        step = StepView(text=f"{clean(task.name)} ends", command=f"pyflowctl logs {run} {clean(task.name)} -f")
        if task.definition.timeout_s is not None and since_us is not None:
            until_us = since_us + round(task.definition.timeout_s * US)
            step = StepView(text=f"{clean(task.name)} ends, or its time runs out", at_us=until_us, command=step.command)
        return Obstacle(code=Code.RUNNING, text=what, at_us=since_us, step=step)

    # ---- Places that runs share

    def _places(self, live: LiveRun, node: int, seen: set[int]) -> tuple[Obstacle, ...]:
        sharing = self.runs.sharing
        found = []
        for obstacle in sharing.places.obstacles(Who(live.meta.run, node)):
            named = sharing.named(obstacle.place)
            who = obstacle.holders or obstacle.before
            how = "held by" if obstacle.holders else "kept for"
            runs = list(dict.fromkeys(each.run for each in who))
            text = f"waits for {named}" + (f", {how} {sharing.told(who, self._named)}" if runs else "")
            step = StepView(text="who holds places, and who waits", command="pyflowctl places")
            since_us = live.meta.created_us if node == RUN else None
            behind = self._standings(runs, seen)
            found.append(Obstacle(code=Code.PLACE, text=text, at_us=since_us, step=step, behind=behind))
        return tuple(found)

    def _standings(self, runs: Sequence[int], seen: set[int]) -> tuple[Standing, ...]:
        found = (self._behind(run, seen) for run in runs[:BEHIND_TOLD])
        return tuple(each for each in found if each is not None)


def _at_work(task: TaskRun, pid: int) -> str:
    if not isinstance(task.definition.kind, ProcessKind):
        return "waits for the answer to its request"
    return f"has been running as process {pid}" if pid else "has been running"


def _choose(kind: Approval) -> str:
    """What a command has to add: without a default it is refused where nothing is chosen."""
    if not kind.choices or kind.default is not None:
        return ""
    return f" --choose {shlex.quote(clean(kind.choices[0]))}"


def _approval(live: LiveRun, task: TaskRun, kind: Approval, since_us: int | None) -> Obstacle:
    who = ", ".join(each.replace("user:", "").replace("group:", "group ") for each in kind.allow) or "an operator"
    if kind.forbid_requester:
        who += f", but not {live.meta.requested_by}"
    message = clean(str((task.facts or {}).get("message", "")))
    text = f"waits for an answer of {who}: {message}"
    timeout_s = kind.timeout_s if kind.timeout_s is not None else task.definition.timeout_s
    until_us = None if timeout_s is None or since_us is None else since_us + round(timeout_s * US)
    ends = f"somebody answers, or at that time it is answered by itself ({kind.on_timeout})"
    step = StepView(
        text=ends if until_us is not None else "somebody answers", at_us=until_us,
        command=f"pyflowctl approve {live.meta.run} {shlex.quote(clean(task.name))}{_choose(kind)}",
    )  # fmt: skip
    return Obstacle(code=Code.APPROVAL, text=text, at_us=since_us, step=step)


def _wait(task: TaskRun, kind: Wait, since_us: int | None) -> Obstacle:
    name = clean(task.name)
    if kind.for_s is not None:
        until_us = None if since_us is None else since_us + round(kind.for_s * US)
        step = StepView(text=f"{name} ends", at_us=until_us)
        return Obstacle(code=Code.WAIT, text=f"waits for {kind.for_s:g} s to pass", at_us=until_us, step=step)
    what = f"until {kind.until}" if kind.until else f"until {kind.condition} holds"
    return Obstacle(
        code=Code.WAIT, text=f"waits {clean(what)}", at_us=since_us, step=StepView(text=f"{name}: {clean(what)}")
    )
