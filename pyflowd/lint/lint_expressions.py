"""Expressions of a definition that can never work: wrong types, comparisons that never hold.

The declared types of params and outputs, the states that a task can be in, and the items that are written out say what
the names are; all else may be anything. It tells only what is sure. It starts nothing and reads nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyflowd.expressions import template
from pyflowd.expressions.expression import Expression
from pyflowd.expressions.expression_types import (
    ANY,
    BOOLEAN,
    LIST,
    MAP,
    NULL,
    NUMBER,
    TEXT,
    Type,
    any_of,
    judge,
    not_boolean,
    one,
    spoken,
    type_of,
)
from pyflowd.language import fields
from pyflowd.language.definition_references import Place, Scope, place_of
from pyflowd.language.fields import Report, Use
from pyflowd.model.kinds import File, Http
from pyflowd.model.states import RunState, TaskState
from pyflowd.model.workflow import Capture, Param, ParamType, Task, TriggerRule, Workflow, all_tasks

_TYPES = {
    ParamType.STRING: one(TEXT),
    ParamType.DATE: one(TEXT),
    ParamType.SECRET: one(TEXT),
    ParamType.INTEGER: one(NUMBER),
    ParamType.NUMBER: one(NUMBER),
    ParamType.BOOLEAN: one(BOOLEAN),
    ParamType.ARRAY: one(LIST),
    ParamType.OBJECT: one(MAP),
}
_MAYBE_TEXT = one(TEXT, NULL)


def _texts(*words: str, why: str = "") -> Type:
    return Type(frozenset({TEXT}), frozenset(words), why=why)


_RUN = Type(
    frozenset({MAP}),
    members={
        "id": one(TEXT),
        "workflow": one(TEXT),
        "scheduled_at": _MAYBE_TEXT,
        "created_at": one(TEXT),
        "started_at": _MAYBE_TEXT,
        "scratch": one(TEXT),
        "outcome": _texts(RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED),
        "failed_tasks": Type(frozenset({LIST}), entries=one(TEXT)),
        "error": _MAYBE_TEXT,
    },
)
_OF_HTTP = {"status": one(NUMBER), "headers": one(MAP), "url": one(TEXT), "path": one(TEXT), "sha256": one(TEXT)}
_OF_FILE = {"count": one(NUMBER), "bytes": one(NUMBER), "files": one(LIST), "sha256": one(TEXT), "text": one(TEXT)}
_OF_ANSWER = {"status": one(NUMBER), "headers": one(MAP)}


def lint_expressions(workflow: Workflow, scopes: tuple[Scope, ...], report: Report) -> None:
    """What is wrong with expressions, to the report."""
    names = Names(workflow)
    for scope in scopes:
        for use in scope.uses:
            if use.expression is None:
                continue
            found, findings = judge(use.expression.tree, use.expression.text, names.of(scope, use))
            for finding in findings:
                mark = place_of(use, use.expression, finding.start + 1, report)
                report.add(mark, finding.code, f"{use.key}: {finding.message}", finding.fix, warning=finding.is_warning)
            if not findings:
                _judge_whole(use, use.expression, found, report)


def _judge_whole(use: Use, expression: Expression, found: Type, report: Report) -> None:
    """The value of the whole, where its key wants a certain kind."""
    mark = place_of(use, expression, 1, report)
    if fields.CONDITION in use.also and BOOLEAN not in found.kinds:
        message = f"{use.key}: this is {spoken(found)}, not true or false"
        report.add(mark, "condition_type", message, not_boolean(found))
    elif use.key == "for_each" and not found.kinds & {LIST, MAP}:
        report.add(mark, "type", f"for_each: this is {spoken(found)}, which has no items", "give it a list")


# ---- What names are -------------------------------------------------------------------------------------------------


class Names:
    """Types of names, made once for a workflow."""

    def __init__(self, workflow: Workflow) -> None:
        self._tasks = {task.name: task for _, task in all_tasks(workflow)}
        self._params = Type(frozenset({MAP}), members={param.name: _param(param) for param in workflow.params})

    def of(self, scope: Scope, use: Use) -> Callable[[str], Type]:
        """Name to type, as an expression at this place sees them."""
        task = self._tasks.get(scope.task) if scope.place is not Place.PARAM else None

        def type_of_name(name: str) -> Type:
            if name in use.also:
                return _OF_ANSWER.get(name, one(MAP) if name == fields.SECRETS else ANY)
            if name in scope.variables:
                return self._item(scope, name)
            match name:
                case "params":
                    return self._params
                case "run":
                    return _RUN
                case "tasks":
                    return Type(frozenset({MAP}), members=_Tasks(self._tasks, task, use))
                case "env":
                    return Type(frozenset({MAP}), members=_Texts())
            return ANY

        return type_of_name

    def type_of_text(self, scope: Scope, text: str) -> Type:
        """What a text of `env` may be, that is only one expression; of any other, a text."""
        parsed = template.parse(text)
        if not parsed.is_single:
            return one(TEXT)
        found = parsed.expressions[0]
        return judge(found.tree, found.text, self.of(scope, Use(found, "", -1, frozenset())))[0]

    def _item(self, scope: Scope, name: str) -> Type:
        if name == "index":
            return one(NUMBER)
        holder: Scope | None = scope
        while holder is not None:
            task = self._tasks.get(holder.task)
            if task is not None and task.fan_out is not None and name == task.fan_out.variable:
                return _item(task.fan_out.items, self._params)
            holder = holder.owner
        return ANY


def _item(items: Any, params: Type) -> Type:
    if isinstance(items, list):
        if not items or template.has_expression(items):
            return ANY
        found = any_of(map(type_of, items))
        return found if found.kinds != {MAP} else _alike(items)
    parsed = template.parse(items).expressions[0]
    path = parsed.references[0].path if len(parsed.references) == 1 else ()
    if len(path) == 2 and path[0] == "params" and parsed.text.strip() == str(parsed.references[0]):
        declared = (params.members or {}).get(path[1], ANY)
        return declared.entries or ANY if declared.kinds == {LIST} else ANY
    return ANY


def _alike(items: list[dict[str, Any]]) -> Type:
    """Of maps: the members that all of them have."""
    names = set(items[0]).intersection(*items[1:])
    members = {name: any_of(type_of(item[name]) for item in items) for name in names}
    return Type(frozenset({MAP}), members=members)


def _param(param: Param) -> Type:
    """An optional param without a default is absent, which is an error of its own where it is read."""
    found = _TYPES[param.type]
    if param.enum is not None and param.type is ParamType.STRING:
        return _texts(*map(str, param.enum), why=", as its enum says")
    if param.type is ParamType.ARRAY and param.items is not None:
        return found._replace(entries=_TYPES[param.items])
    return found


class _Texts(dict[str, Type]):
    """Every member is a text."""

    def get(self, key: str, default: Any = None) -> Any:
        return one(TEXT)


class _Tasks(dict[str, Type]):
    """The members of `tasks`, made when they are asked for: there may be thousands."""

    def __init__(self, tasks: dict[str, Task], reader: Task | None, use: Use) -> None:
        super().__init__()
        self._of = tasks
        self._reader = reader
        self._use = use

    def get(self, key: str, default: Any = None) -> Any:
        task = self._of.get(key)
        return default if task is None else _task(task, self._states(task))

    def _states(self, task: Task) -> Type:
        """Those in which a task can be when its state is asked for."""
        reader = self._reader
        every = _texts(*TaskState)
        if reader is None or task.name not in reader.needs or self._use.key != "if" or task.fan_out is not None:
            return every
        states = _DIRECT.get(reader.trigger_rule)
        if states is None:
            return every
        if task.continue_on_error:
            states = states | {TaskState.FAILED}
        fix = ": trigger_rule: any_failed, or all_done, is for a task that runs after a failure"
        return _texts(*states, why=f" where this is asked, as {reader.trigger_rule} is the trigger_rule{fix}")


_GOOD = frozenset({TaskState.SUCCEEDED, TaskState.SKIPPED})
_DIRECT: dict[TriggerRule, frozenset[TaskState]] = {
    TriggerRule.ALL_OK: _GOOD,
    TriggerRule.NONE_FAILED: _GOOD,
    TriggerRule.ALL_SUCCESS: frozenset({TaskState.SUCCEEDED}),
}
"""States of a need when the `if` of a task with such a rule is asked."""


def _task(task: Task, state: Type) -> Type:
    return Type(
        frozenset({MAP}),
        members={
            "state": state,
            "reason": _MAYBE_TEXT,
            "error": _MAYBE_TEXT,
            "exit_code": one(NUMBER),
            "attempts": one(NUMBER),
            "artifacts": one(MAP),
            "results": Type(frozenset({LIST}), entries=one(MAP)),
            "succeeded": one(NUMBER),
            "failed": one(NUMBER),
            "outputs": _outputs(task) if task.fan_out is None else ANY,
        },
    )


def _outputs(task: Task) -> Type:
    found: dict[str, Type] = {}
    if isinstance(task.kind, Http):
        found.update(_OF_HTTP)
    elif isinstance(task.kind, File):
        found.update(_OF_FILE)
    if task.capture is Capture.STDOUT:
        found["stdout"] = one(TEXT)
    found.update({output.name: _TYPES[output.type] for output in task.outputs})
    return Type(frozenset({MAP}), members=found)
