"""What the names of an expression mean in a run: params, tasks, items, the run itself (rules J6, P1). Pure.

Made for one task of one run and thrown away; it reads the run's state and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from pyflowd.clock import from_us
from pyflowd.engine.state import Run, TaskRun
from pyflowd.errors import nearest
from pyflowd.expressions import template
from pyflowd.expressions.expression_values import Absent, ExpressionError, Namespace, Value
from pyflowd.language import params
from pyflowd.model.states import TASK_TERMINAL, Section, TaskState
from pyflowd.model.workflow import Workflow
from pyflowd.runtime.secret_names import PLACES, Secrets, Variables
from pyflowd.store.batch import RunMeta

NO_STATE = "waiting"


class Facts:
    """What all expressions of a run have in common."""

    __slots__ = ("artifact_path", "meta", "run", "scratch_path", "zone")

    def __init__(self, meta: RunMeta, run: Run, zone: tzinfo = UTC) -> None:
        self.meta = meta
        self.run = run
        self.zone = zone
        self.artifact_path: Any = None
        """(run, folder, name) to the path of a kept file; None: there are none."""
        self.scratch_path: Any = None
        """Run to its scratch folder; None: there is none."""


class TaskNames:
    """The names of an expression of `task`; None: one of the run as a whole. `item` stands in for an item that is only
    about to be: (its value, its position)."""

    __slots__ = ("_env", "_hidden", "_item", "_open", "facts", "secrets", "task")

    def __init__(
        self,
        facts: Facts,
        task: TaskRun | None,
        item: tuple[Any, int] | None = None,
        secrets: Secrets | None = None,
    ) -> None:
        """`secrets`: those of an attempt that is about to start; their values are in `env()`, never in `env` as an
        expression sees it."""
        self.facts = facts
        self.task = task
        self.secrets = secrets or Secrets()
        self._open = False
        """Whether `secrets` may be named in what is evaluated now."""
        self._hidden: dict[str, None] = {}
        """Variables that hold secrets."""
        if item is None and task is not None and task.item is not None:
            item = (task.item.value, task.item.position)
        self._item = item
        self._env: dict[str, str] | None = None

    def lookup(self, name: str) -> Value:
        facts = self.facts
        match name:
            case "params":
                return facts.meta.params
            case "tasks":
                return _Tasks(facts, self.task)
            case "run":
                return _Run(facts)
            case "env":
                return self._visible_env()
            case "event":
                return event_value(facts.meta)
            case "secrets" if self._open:
                return self.secrets
            case "secrets":
                raise ExpressionError(f"a secret may stand only {PLACES}")
        found = self._of_item(name)
        if found is not None:
            return found[0]
        known = ["params", "tasks", "run", "env", "event", "secrets", *self._item_names()]
        raise ExpressionError(f'there is no name "{name}"{nearest(name, known)}; known are {", ".join(known)}')

    def _item_names(self) -> list[str]:
        if self._item is None:
            return []
        return [_variable(self.task), "index"]

    def _of_item(self, name: str) -> tuple[Any] | None:
        if self._item is None or name not in self._item_names():
            return None
        return (self._item[1],) if name == "index" else (self._item[0],)

    def env(self) -> dict[str, str]:
        """`env` of the workflow and over it the task's own, as text (rule P3)."""
        if self._env is None:
            self._env = {}  # an expression of `env` that asks for `env` sees what stands before it
            self._render(self.facts.run.workflow.env)
            if self.task is not None:
                self._render(self.task.definition.env)
        return self._env

    def _visible_env(self) -> Value:
        """`env` as an expression sees it; while `env` itself is made, with the secrets in it."""
        if self._open:
            self.secrets.asked = self.secrets.asked or bool(self._hidden)
            found_open: dict[str, Value] = dict(self.env() if self._env is None else self._env)
            return found_open
        found: dict[str, Value] = dict(self.env())
        return Variables(self.env(), self._hidden) if self._hidden else found

    def opened(self) -> OpenNames:
        """The same names where secrets may stand."""
        return OpenNames(self)

    def lookup_open(self, name: str) -> Value:
        was, self._open = self._open, True
        try:
            return self.lookup(name)
        finally:
            self._open = was

    def _render(self, written: Mapping[str, str]) -> None:
        assert self._env is not None
        was, self._open = self._open, True
        try:
            self._render_open(written)
        finally:
            self._open = was

    def _render_open(self, written: Mapping[str, str]) -> None:
        assert self._env is not None
        for variable, text in written.items():
            self._hidden.pop(variable, None)
            if "${{" not in text:
                self._env[variable] = text
                continue
            self.secrets.asked = False
            try:
                self._env[variable] = template.render_text(text, self)
            except ExpressionError as error:
                self._env = None
                raise ExpressionError(f"env {variable}: {error}") from error
            if self.secrets.asked:
                self._hidden[variable] = None


class OpenNames:
    """The names of a task in a place where secrets may stand."""

    def __init__(self, names: TaskNames) -> None:
        self._names = names

    def lookup(self, name: str) -> Value:
        return self._names.lookup_open(name)


def _variable(task: TaskRun | None) -> str:
    """What the items of a task are called."""
    while task is not None and task.definition.fan_out is None and task.owner is not None:
        task = task.owner  # of an undoing: the task that it takes back
    fan_out = task.definition.fan_out if task is not None else None
    return fan_out.variable if fan_out else "item"


class _Tasks(Namespace):
    """`tasks`."""

    def __init__(self, facts: Facts, reader: TaskRun | None) -> None:
        self._facts = facts
        self._reader = reader

    def member(self, name: str) -> Value:
        reader = self._reader
        if reader is not None and reader.item is not None and name == reader.definition.name:
            return _Task(self._facts, reader)  # what an item says of its own task is said of the item
        node = self._facts.run.tasks.get(name)
        if node is None or node.item is not None:
            known = [task.name for task in self._facts.run.by_index if task.item is None]
            raise ExpressionError(f'there is no task "{name}"{nearest(name, known)}')
        return _Task(self._facts, node)

    def plain(self) -> dict[str, Value]:
        nodes = [node for node in self._facts.run.by_index if node.item is None and node.section is Section.TASKS]
        return {node.name: _Task(self._facts, node).plain() for node in nodes}


MEMBERS = (
    "state", "reason", "outputs", "error", "exit_code", "attempts", "artifacts", "results", "succeeded", "failed",
)  # fmt: skip
"""What can be asked of a task."""


class _Task(Namespace):
    """`tasks.ID`."""

    def __init__(self, facts: Facts, node: TaskRun) -> None:
        self._facts = facts
        self._node = node

    def member(self, name: str) -> Value:
        node = self._node
        match name:
            case "state":
                return node.state.value
            case "reason":
                return node.reason.value if node.reason else None
            case "error":
                return node.error
            case "attempts":
                return node.attempts
            case "exit_code":
                return self._exit_code()
            case "outputs":
                return self._outputs()
            case "artifacts":
                return _artifacts(self._facts, node)
            case "results":
                return self._results()
            case "succeeded":
                return self._count(TaskState.SUCCEEDED)
            case "failed":
                return self._count(TaskState.FAILED)
        raise ExpressionError(f'a task has no "{name}"{nearest(name, list(MEMBERS))}: {", ".join(MEMBERS)}')

    def _exit_code(self) -> int:
        attempt = self._node.attempt
        code = attempt.outcome.exit_code if attempt and attempt.outcome else None
        if code is None:
            raise Absent(f"task {self._node.name} has no exit code: it is {self._node.state}")
        return code

    def _outputs(self) -> Value:
        """Rule J6: absent unless it has succeeded."""
        node = self._node
        if node.outputs is not None:
            return node.outputs
        raise Absent(f"task {node.name} is {node.state}, so it has no outputs; use default(...) for such a case")

    def _results(self) -> list[Value]:
        """Rule F3: every item in order, with key, state, outputs, error."""
        node = self._node
        if node.fan is None:
            if node.definition.fan_out is None:
                raise ExpressionError(f"task {node.name} is no fan-out, so it has no results; see its outputs")
            if node.state in TASK_TERMINAL and node.state is not TaskState.UPSTREAM_FAILED:
                return []
            raise Absent(f"task {node.name} is {node.state}, so it has no results")
        return [_result(self._facts, item) for item in node.fan.items]

    def _count(self, state: TaskState) -> int:
        node = self._node
        if node.fan is not None:
            return sum(item.state is state for item in node.fan.items)
        return int(node.state is state and node.definition.fan_out is None)

    def plain(self) -> dict[str, Value]:
        found: dict[str, Value] = {"state": self._node.state.value, "error": self._node.error}
        if self._node.outputs is not None:
            found["outputs"] = self._node.outputs
        return found


def _result(facts: Facts, node: TaskRun) -> dict[str, Value]:
    assert node.item is not None
    found: dict[str, Value] = {"key": node.item.key, "state": node.state.value, "error": node.error}
    if node.outputs is not None:
        found["outputs"] = node.outputs
    if node.artifacts:
        found["artifacts"] = _artifacts(facts, node)
    return found


def _artifacts(facts: Facts, node: TaskRun) -> dict[str, Value]:
    if facts.artifact_path is None:
        return {}
    return {
        name: facts.artifact_path(file.run or facts.meta.run, file.folder or node.log_name, name)
        for name, file in node.artifacts.items()
    }


class _Run(Namespace):
    """`run`."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def member(self, name: str) -> Value:
        run = self._facts.run
        match name:
            case "started_at":
                return None if run.started_us is None else time_text(run.started_us, self._facts.zone)
            case "outcome":
                return run.outcome.value if run.outcome else None
            case "error":
                return run.error
            case "scratch" if self._facts.scratch_path is not None:
                return self._facts.scratch_path(self._facts.meta.run)
            case "failed_tasks":
                return [node.name for node in run.by_index if _has_failed(run, node)]
        known = run_names(self._facts.meta, self._facts.zone)
        if name not in known:
            members = [*known, "started_at", "scratch", "outcome", "error", "failed_tasks"]
            raise ExpressionError(f'a run has no "{name}"{nearest(name, members)}: {", ".join(members)}')
        return known[name]

    def plain(self) -> dict[str, Value]:
        more = ("started_at", "outcome", "error", "failed_tasks")
        return {**run_names(self._facts.meta, self._facts.zone), **{name: self.member(name) for name in more}}


def _has_failed(run: Run, node: TaskRun) -> bool:
    """Also one that was withdrawn, unless the whole run was."""
    bad = node.state is TaskState.FAILED or (node.state is TaskState.CANCELLED and not run.cancelled)
    return bad and node.home is Section.TASKS and node.item is None


def event_value(meta: RunMeta) -> Value:
    """`event`: absent in a run that somebody else started."""
    if meta.event is None:
        raise Absent(f"run {meta.run} was started by no event, so there is no event; use default(...) for such a case")
    found: dict[str, Value] = dict(meta.event)
    return found


class RunNames(params.RunNames):
    """The names of what is evaluated when the run is there, and nothing of it has begun."""

    def __init__(self, meta: RunMeta, zone: tzinfo) -> None:
        super().__init__(meta.params, run_names(meta, zone))
        self._meta = meta

    def lookup(self, name: str) -> Value:
        return event_value(self._meta) if name == "event" else super().lookup(name)


def run_names(meta: RunMeta, zone: tzinfo) -> dict[str, Value]:
    """`run` as it is known before the run exists."""
    return {
        "id": str(meta.run),
        "workflow": meta.workflow,
        "scheduled_at": None if meta.slot_us is None else time_text(meta.slot_us, zone),
        "created_at": time_text(meta.created_us, zone),
        "requested_by": meta.requested_by,
        "trigger": meta.trigger,
    }


def group(workflow: Workflow, meta: RunMeta, zone: tzinfo) -> str:
    """The group of concurrency that a run belongs to. Raises ExpressionError where its name has no value."""
    written = workflow.concurrency.group if workflow.concurrency else ""
    names = RunNames(meta, zone)
    return template.render_text(written, names) if written else meta.workflow


def zone_of(workflow: Workflow, trigger: str, default: tzinfo, zone: Any) -> tzinfo:
    """The zone in which a run tells its times: of the schedule that started it, else the host's. `zone`: by name."""
    for schedule in workflow.triggers:
        if schedule.name == trigger and schedule.timezone:
            found: tzinfo = zone(schedule.timezone).info
            return found
    return default


def time_text(at_us: int, zone: tzinfo) -> str:
    """RFC 3339, with the offset of `zone`."""
    moment: datetime = from_us(at_us).astimezone(zone)
    return moment.isoformat(timespec="seconds" if not at_us % 1_000_000 else "microseconds")
