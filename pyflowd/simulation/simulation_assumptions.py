"""What a simulation takes for what only a real run can tell: outputs, answers, items. Pure.

A definition is made into one that the same engine can run without them: whatever needs an output, a captured text, an
error or an event is left out, or replaced by what happened before; all else stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from pyflowd.expressions import expression, template
from pyflowd.expressions.expression_values import ExpressionError
from pyflowd.model.kinds import Approval, Call, OnTimeout, Wait
from pyflowd.model.triggers import EventTrigger, WorkflowTrigger
from pyflowd.model.workflow import FanOut, Param, ParamType, Task, Workflow
from pyflowd.simulation.simulation_model import Duration, Options

DAY_S = 86_400.0
_TOLD_BY_TASKS = frozenset({"outputs", "results", "error", "exit_code", "artifacts"})
_OF_AN_END = frozenset({"run", "workflow", "outcome", "reason", "scheduled_at", "ended_at", "params"})
"""Members of `event` that the end of another run has, also of one that is simulated."""
_PLACEHOLDERS: dict[ParamType, Any] = {
    ParamType.STRING: "", ParamType.INTEGER: 0, ParamType.NUMBER: 0, ParamType.BOOLEAN: False, ParamType.ARRAY: [],
    ParamType.OBJECT: {}, ParamType.DATE: "2000-01-01", ParamType.SECRET: "unknown",
}  # fmt: skip
Durations = Mapping[tuple[str, str], Duration]


def attempt_s(workflow: str, task: Task, durations: Durations, options: Options) -> float:
    """How long an attempt is taken to last; never longer than it may."""
    known = durations.get((workflow, task.name))
    taken_s = options.default_s
    if known is not None:
        taken_s = known.p90_s if options.slow else known.median_s
    return taken_s if task.timeout_s is None else min(taken_s, task.timeout_s)


def answer_s(workflow: str, task: Task, durations: Durations, options: Options) -> float:
    """How long an approval is taken to wait: as before, else a day, else for half of the time that it has."""
    kind = task.kind
    limit_s = kind.timeout_s if isinstance(kind, Approval) and kind.timeout_s is not None else task.timeout_s
    if (workflow, task.name) in durations:
        return attempt_s(workflow, task, durations, options)
    return DAY_S if limit_s is None or limit_s > DAY_S else limit_s / 2


class Assumed:
    """Makes definitions ready for a simulation, and remembers what it assumed."""

    def __init__(self, workflows: Mapping[str, Workflow], durations: Durations, options: Options) -> None:
        self._workflows = workflows
        self._durations = durations
        self._options = options
        self._counts: dict[str, int] = {}

    def told(self) -> tuple[str, ...]:
        """Each assumption once, with the number of tasks that it concerns."""
        return tuple(f"{text} ({count} {'task' if count == 1 else 'tasks'})" for text, count in self._counts.items())

    def workflow(self, workflow: Workflow) -> Workflow:
        """The same object where nothing had to be assumed."""
        changed: dict[str, Any] = {}
        for section in ("tasks", "on_success", "on_failure", "on_cancel", "finally_"):
            tasks: tuple[Task, ...] = getattr(workflow, section)
            made = tuple(self.task(workflow, task) for task in tasks)
            if any(new is not old for new, old in zip(made, tasks, strict=True)):
                changed[section] = made
        events = tuple(self._trigger(workflow, trigger) for trigger in workflow.events)
        if any(new is not old for new, old in zip(events, workflow.events, strict=True)):
            changed["events"] = events
        if workflow.outputs and not _can_be_told(workflow.outputs, workflow, None):
            changed["outputs"] = {}
        return replace(workflow, **changed) if changed else workflow

    def task(self, workflow: Workflow, task: Task) -> Task:
        """One task of it, with its handlers."""
        changed: dict[str, Any] = {}
        if task.condition and not _condition_can_be_told(task.condition, workflow, task):
            changed["condition"] = self._note("an `if` over outputs is true", "")
        if task.fan_out is not None and not _can_be_told(task.fan_out.items, workflow, task):
            changed["fan_out"] = self._fan_out(workflow, task, task.fan_out)
        if task.repeat is not None:
            changed["repeat"] = self._note("`repeat` ends after one pass", None)
        if task.cache is not None:
            changed["cache"] = self._note("no success is used again from a cache", None)
        kind = self._kind(workflow, task)
        if kind is not task.kind:
            changed["kind"] = kind
        if task.on_error:
            changed["on_error"] = tuple(self.task(workflow, each) for each in task.on_error)
        if task.undo is not None:
            changed["undo"] = self.task(workflow, task.undo)
        return replace(task, **changed) if changed else task

    def _trigger(self, workflow: Workflow, trigger: EventTrigger) -> EventTrigger:
        """Only ends of other runs happen in a simulation; what they give on is not known."""
        if not isinstance(trigger, WorkflowTrigger):
            return trigger
        changed: dict[str, Any] = {}
        if trigger.condition and not _condition_can_be_told(trigger.condition, workflow, None):
            changed["condition"] = self._note("an `if` over outputs is true", "")
        if not _can_be_told(trigger.params, workflow, None):
            changed["params"] = self._arguments(trigger.params, workflow, workflow, None)
        return replace(trigger, **changed) if changed else trigger

    def _note(self, text: str, value: Any) -> Any:
        self._counts[text] = self._counts.get(text, 0) + 1
        return value

    def _fan_out(self, workflow: Workflow, task: Task, fan_out: FanOut) -> FanOut:
        known = self._durations.get((workflow.name, task.name))
        count = max(1, known.items) if known is not None else 1
        self._note("a fan-out over outputs has as many items as it had, else one", None)
        return replace(fan_out, items=[f"item {number}" for number in range(1, count + 1)], key="", if_each=False)

    def _kind(self, workflow: Workflow, task: Task) -> Any:
        match task.kind:
            case Approval() as kind:
                self._note("an approval is given, after its usual time or a day", None)
                return replace(kind, message="", on_timeout=OnTimeout.APPROVE) if kind.message else kind
            case Wait(until=until) as kind if until and not _can_be_told(until, workflow, task):
                return Wait(for_s=self._usual_s("a wait until an unknown time", workflow, task))
            case Wait(condition=condition) if condition and not _condition_can_be_told(condition, workflow, task):
                return Wait(for_s=self._usual_s("a wait for something unknown", workflow, task))
            case Call() as kind if not _can_be_told([kind.arguments, kind.key], workflow, task):
                return self._call(workflow, task, kind)
            case _:
                return task.kind

    def _usual_s(self, what: str, workflow: Workflow, task: Task) -> float:
        self._note(f"{what} takes its usual time", None)
        return attempt_s(workflow.name, task, self._durations, self._options)

    def _call(self, workflow: Workflow, task: Task, kind: Call) -> Call:
        """Values that nobody knows are the defaults of the called workflow, or something of their type."""
        self._note("a called workflow is given its defaults for values that are outputs", None)
        called = self._workflows.get(kind.workflow)
        arguments = self._arguments(kind.arguments, called, workflow, task)
        return replace(kind, arguments=arguments, key="")

    def _arguments(
        self, given: dict[str, Any], called: Workflow | None, workflow: Workflow, task: Task | None
    ) -> dict[str, Any]:
        """Those that are known; for the others, where there is no default, something of their type."""
        declared = {param.name: param for param in called.params} if called is not None else {}
        arguments: dict[str, Any] = {}
        for name, value in given.items():
            if _can_be_told(value, workflow, task):
                arguments[name] = value
            elif name in declared and declared[name].default is None:
                arguments[name] = _placeholder(declared[name])
        return arguments


def _placeholder(param: Param) -> Any:
    """A value that the param takes, as far as it can be made up."""
    if param.enum:
        return param.enum[0]
    value = _PLACEHOLDERS[param.type]
    if param.minimum is not None and isinstance(value, int) and not isinstance(value, bool):
        return max(value, int(param.minimum))
    return value


def _condition_can_be_told(text: str, workflow: Workflow, task: Task | None) -> bool:
    try:
        return _all_told([expression.parse(text)], workflow, task)
    except ExpressionError:
        return True  # the daemon will find the same fault


def _can_be_told(value: Any, workflow: Workflow, task: Task | None) -> bool:
    """Whether a value with templates can be made before anything has run."""
    try:
        return _all_told(_expressions(value), workflow, task)
    except ExpressionError:
        return True


def _expressions(value: Any) -> Iterable[expression.Expression]:
    if isinstance(value, str) and "${{" in value:
        yield from template.parse(value).expressions
    elif isinstance(value, list):
        for each in value:
            yield from _expressions(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _expressions(each)


def _all_told(expressions: Iterable[expression.Expression], workflow: Workflow, task: Task | None) -> bool:
    return all(_is_told(reference.path, workflow, task) for each in expressions for reference in each.references)


def _is_told(path: tuple[str, ...], workflow: Workflow, task: Task | None) -> bool:
    """Whether what a reference names is known in a simulation."""
    match path:
        case ("tasks", _, member, *_):
            return member not in _TOLD_BY_TASKS
        case ("tasks", *_):
            return False
        case ("env", *_):
            texts = [*workflow.env.values(), *(task.env.values() if task is not None else ())]
            return not any("${{" in text for text in texts)
        case ("event", member, *_):
            return member in _OF_AN_END
        case (root, *_):
            return root not in ("event", "secrets")
        case _:
            return True
