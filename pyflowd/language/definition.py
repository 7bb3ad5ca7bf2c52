"""A document to a workflow: which keys there are, what they mean together, and all that is wrong at once.

One table for each mapping of the file, one line for each key. Tasks are in `definition_task`, params in
`definition_params`, triggers in `definition_triggers`; what expressions name is judged by `definition_references`. It
knows nothing of folders, of other definitions and of what was in force before.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec.structs import replace

from pyflowd.language import fields
from pyflowd.language.definition_events import read_events
from pyflowd.language.definition_expect import judge_expect, read_expect
from pyflowd.language.definition_notify import read_notify_rules
from pyflowd.language.definition_outputs import read_workflow_outputs
from pyflowd.language.definition_params import read_params
from pyflowd.language.definition_places import (
    in_order,
    read_concurrency,
    read_gates,
    read_locks,
    read_pools,
    read_priority,
)
from pyflowd.language.definition_references import Known, Place, Scope, check, secret_variables
from pyflowd.language.definition_secrets import names_of_secrets
from pyflowd.language.definition_task import Reading, read_defaults, read_tasks
from pyflowd.language.definition_triggers import read_catchup, read_triggers
from pyflowd.language.document import Document, Mapping, quote
from pyflowd.language.fields import Enough, Report, Table, Wrong, read
from pyflowd.model.kinds import Argv, Shell
from pyflowd.model.problem import Problem
from pyflowd.model.workflow import Overlap, Param, Retention, Task, Workflow, all_tasks

MAX_COMMAND_BYTES = 1024 * 1024
"""Command and variables of one task together: the kernel gives them 2 MiB, params and the user's own come on top."""
_MAX_PARALLEL = 10_000
_MAX_REPEATED_CHARACTERS = 32 * 1024 * 1024
"""A default is kept with each task that it is for: 4 KiB times 100,000 tasks would burst whoever keeps it."""


class Compiled(NamedTuple):
    """`problems` are in the order of the file: errors or, with a workflow, warnings."""

    workflow: Workflow | None
    problems: list[Problem]
    scopes: tuple[Scope, ...]
    """The expressions of the file, and what they see."""


def compile_workflow(document: Document, file: str, stem: str) -> Compiled:
    """The workflow, or None; and what is to be said."""
    report = Report(file, document)
    workflow: Workflow | None = None
    scopes: tuple[Scope, ...] = ()
    try:
        workflow, scopes = _read_workflow(document, stem, report)
    except Enough:
        report.problems.append(Problem(file=file, code="more", message="and more: the rest is not listed"))
    return Compiled(None if report.errors else workflow, sorted(report.problems, key=_place), scopes)


def _place(problem: Problem) -> tuple[bool, int, int]:
    return not problem.line, problem.line, problem.column


# ---- Keys of the file -----------------------------------------------------------------------------------------------

RETENTION = Table(
    "retention",
    {
        "runs": ("runs", fields.integer_from(0, 10**9)),
        "age": ("age_s", fields.positive_duration_s),
        "log_bytes": ("log_bytes", fields.file_size_bytes),
    },
)


def _read_version(value: Any, report: Report) -> int:
    if value.__class__ is not int or value != 1:
        raise Wrong(f"this PyFlow reads version 1 of the format, not {fields.shape(value)}", "write version: 1")
    return 1


def _read_retention(value: Any, report: Report) -> Retention:
    return Retention(**read(RETENTION, fields.mapping(value, report), report))


def _read_labels(value: Any, report: Report) -> dict[str, str]:
    table = fields.mapping(value, report)
    labels = {}
    for name, content in table.items():
        try:
            fields.check_name(name)
            labels[name] = fields.value_text(content, report)
        except Wrong as wrong:
            report.wrong(table.value_mark(name), quote(name), wrong)
    return labels


def _read_env_file(value: Any, report: Report) -> str:
    """A path; a `-` before it lets the file be missing."""
    written = fields.word(value, report)
    optional = "-" if written.startswith("-") else ""
    return optional + fields.path(written.removeprefix("-"), report)


def _read_groups(value: Any, report: Report) -> tuple[str, ...]:
    """Names of Unix groups, one at least: a list of none would leave it open what is meant."""
    groups = tuple(dict.fromkeys(fields.one_or_more(fields.group)(value, report)))
    if not groups and not report.errors:
        raise Wrong("an empty list says nothing", "name a group; for administrators only: one without members")
    return groups


def _raw(value: Any, report: Report) -> Any:
    """Read where the keys it hangs on are known."""
    return value


WORKFLOW = Table(
    "a workflow",
    {
        "version": ("version", _read_version),
        "name": ("name", fields.name),
        "description": ("description", fields.text),
        "labels": ("labels", _read_labels),
        "owner": ("owner", fields.text),
        "visible_to": ("visible_to", _read_groups),
        "operate_by": ("operate_by", _read_groups),
        "params": ("params", _raw),
        "env": ("env", fields.with_secrets(fields.env)),
        "env_file": ("env_files", fields.one_or_more(_read_env_file)),
        "cwd": ("cwd", fields.path_template),
        "shell": ("shell", fields.shell),
        "user": ("user", fields.user),
        "schedule": ("schedule", _raw),
        "triggers": ("triggers", _raw),
        "overlap": ("overlap", fields.one_of(Overlap)),
        "catchup": ("catchup", read_catchup),
        "queue_max": ("queue_max", fields.integer_from(0, 10_000)),
        "timeout": ("timeout_s", fields.positive_duration_s),
        "max_parallel": ("max_parallel", fields.integer_from(1, _MAX_PARALLEL)),
        "defaults": ("defaults", read_defaults),
        "retention": ("retention", _read_retention),
        "tasks": ("tasks", _raw),
        "on_success": ("on_success", _raw),
        "on_failure": ("on_failure", _raw),
        "on_cancel": ("on_cancel", _raw),
        "finally": ("finally_", _raw),
        "handler_timeout": ("handler_timeout_s", fields.positive_duration_s),
        "outputs": ("outputs", _raw),
        "notify": ("notify", read_notify_rules),
        "concurrency": ("concurrency", read_concurrency),
        "locks": ("locks", read_locks),
        "pools": ("pools", read_pools),
        "priority": ("priority", read_priority),
        "gates": ("gates", read_gates),
        "expect": ("expect", read_expect),
        "template": ("template", fields.name),
        "with": ("with", _raw),
    },
    later=frozenset({"secrets"}),
    meant={
        "on_error": "on_failure", "always": "finally", "cleanup": "finally", "on_cancelled": "on_cancel",
        "handlers": "finally", "on_exit": "finally",
        "on": "triggers", "cron": "schedule", "jobs": "tasks", "steps": "tasks", "nodes": "tasks", "inputs": "params",
        "parameters": "params", "environment": "env", "tags": "labels", "concurrency_policy": "overlap",
    },
)  # fmt: skip


_SECTIONS = {
    "tasks": "tasks",
    "on_success": "on_success",
    "on_failure": "on_failure",
    "on_cancel": "on_cancel",
    "finally": "finally_",
}
"""Keys of mappings of tasks, in the order in which they run, and the fields of `Workflow` that they fill."""
_UNDOING = ("on_failure", "on_cancel")
_NOT_KEPT = ("version", "defaults", "shell", "schedule", "template", "with")

# ---- The workflow ---------------------------------------------------------------------------------------------------


def _read_workflow(document: Document, stem: str, report: Report) -> tuple[Workflow | None, tuple[Scope, ...]]:
    root = document.root
    if root.__class__ is not Mapping:
        message = f"expected a mapping with the key tasks, found {fields.shape(root)}"
        report.add(document.mark, "value", message, "see the examples")
        return None, ()
    found = read(WORKFLOW, root, report)
    found["name"] = _read_name(root, found, stem, report)
    defaults = found.get("defaults", {})
    found["env"] = {**found.get("env", {}), **defaults.get("env", {})}
    common = {"shell": found.get("shell", ()), "priority": found.get("priority", 0)}
    reading = Reading({**common, **defaults}, report)
    reading.scopes.append(Scope(Place.WORKFLOW, report.take_uses()))
    params = _read_params(root, found, reading)
    _read_all_tasks(root, found, reading)
    _read_outputs(root, found, reading)
    found["triggers"] = read_triggers(root, params, report)
    reading.scopes.append(Scope(Place.SCHEDULE, report.take_uses()))
    found["events"] = read_events(root, params, report)
    reading.scopes.append(Scope(Place.EVENT, report.take_uses()))
    _check_names(reading)
    _check_references(root, found, params, reading)
    if report.errors:
        return None, ()
    workflow = Workflow(**{field: value for field, value in found.items() if field not in _NOT_KEPT})
    if workflow.locks:
        workflow = replace(workflow, locks=in_order(workflow, tuple(task for _, task in all_tasks(workflow))))
    workflow = replace(workflow, secrets=_secrets(workflow, reading.scopes))
    _judge(workflow, root, report)
    judge_expect(workflow, root, report)
    return workflow, tuple(reading.scopes)


def _secrets(workflow: Workflow, scopes: list[Scope]) -> tuple[str, ...]:
    uses = [use for scope in scopes for use in scope.uses]
    return names_of_secrets(workflow, [task for _, task in all_tasks(workflow)], uses)


def _read_name(root: Mapping, found: dict[str, Any], stem: str, report: Report) -> str:
    name: str = found.get("name", "") if "name" in root else _name_of_file(stem, report)
    if name.isdecimal():
        mark = root.value_mark("name") if "name" in root else 0
        message = f"{quote(name)} would be taken for the number of a run"
        report.add(mark, "name", message, "begin it with a letter")
    return name


def _name_of_file(stem: str, report: Report) -> str:
    try:
        fields.check_name(stem)
    except Wrong as wrong:
        fix = "rename the file, or give the workflow a name: of its own"
        report.add(0, "name", f"the name of the file: {wrong.message}", fix)
    return stem


def _read_params(root: Mapping, found: dict[str, Any], reading: Reading) -> tuple[Param, ...] | None:
    """The declared params, to `found` as well; None if something is wrong with them."""
    errors = reading.report.errors
    written = found.pop("params", None)
    if written is not None:
        try:
            found["params"] = read_params(written, reading.report, reading.scopes)
        except Wrong as wrong:
            reading.report.wrong(root.value_mark("params"), "params", wrong)
    missing = written is None and "params" in root
    return None if missing or reading.report.errors > errors else found.get("params", ())


def _read_outputs(root: Mapping, found: dict[str, Any], reading: Reading) -> None:
    written = found.pop("outputs", None)
    if written is None:
        return
    try:
        found["outputs"] = read_workflow_outputs(written, reading.report)
    except Wrong as wrong:
        reading.report.wrong(root.value_mark("outputs"), "outputs", wrong)
    reading.scopes.append(Scope(Place.OUTPUTS, reading.report.take_uses()))


def _check_references(root: Mapping, found: dict[str, Any], params: tuple[Param, ...] | None, reading: Reading) -> None:
    scopes = [scope for scope in reading.scopes if scope.uses]
    if not scopes:
        return
    known = Known(
        params=None if params is None else {param.name: param for param in params},
        env=None if "env_file" in root else frozenset(found["env"]),
        sections=reading.sections,
        tasks={task.name: task for field in _SECTIONS.values() for task in found.get(field, ())},
        secret_env=secret_variables(found["env"]),
        has_events=bool(found.get("events")),
    )
    check(scopes, known, reading.report)


def _read_all_tasks(root: Mapping, found: dict[str, Any], reading: Reading) -> None:
    """The tasks of the file and those of its handlers to `found`."""
    if "tasks" not in root:
        fix = "write tasks: and below it a name and what it does"
        reading.report.add(0, "missing", "a workflow needs tasks", fix)
    for key, field in _SECTIONS.items():
        if key not in root:
            continue
        written, mark = root[key], root.value_mark(key)
        place = Place.TASK if key == "tasks" else Place.HANDLER
        if key in _UNDOING and written.__class__ is Mapping and written.get("undo") == "all":
            written = _without_undo(written)  # it says what is done anyway (rule H1)
            if not written:
                found.pop(field, None)
                continue
        found[field] = read_tasks(key, written, mark, Scope(place, [], key), reading)


def _without_undo(written: Mapping) -> Mapping:
    kept = Mapping((name, task) for name, task in written.items() if name != "undo")
    at = 2 * list(written).index("undo")
    kept.marks = written.marks[:at] + written.marks[at + 2 :]
    return kept


def _check_names(reading: Reading) -> None:
    """A task is known by its name in the whole file."""
    seen = set(reading.sections.get("tasks", ()))
    for name, mark in reading.belonging:
        if name in seen:
            message = f"there is another task {quote(name)} in this file"
            reading.report.add(mark, "duplicate_name", message, "choose another name")
        seen.add(name)


def _judge(workflow: Workflow, root: Mapping, report: Report) -> None:
    """What is wrong, or without effect, about the workflow as a whole."""
    repeated, common = 0, _text_bytes(workflow.env)
    for section, task in all_tasks(workflow):
        key = section.value or "tasks"
        repeated += _repeated_characters(task)
        total = common + _command_bytes(task) + (_text_bytes(task.env) if task.env else 0)
        if total > MAX_COMMAND_BYTES:
            size = f"{total} bytes; at most {MAX_COMMAND_BYTES} can be passed on"
            message = f"task {task.name}: command and variables have {size}"
            report.add(_task_mark(root, key, task.name), "too_long", message, "put values in files")
        if task.timeout_s is not None:
            _judge_timeout(key, task, workflow, root, report)
    if repeated > _MAX_REPEATED_CHARACTERS:
        message = f"cwd and shell of all tasks together have {repeated} characters; at most {_MAX_REPEATED_CHARACTERS}"
        report.add(root.key_mark("tasks"), "too_large", message, "shorten what defaults gives to every task")


def _judge_timeout(key: str, task: Task, workflow: Workflow, root: Mapping, report: Report) -> None:
    limit = workflow.timeout_s if key == "tasks" else workflow.handler_timeout_s
    if limit is not None and task.timeout_s is not None and task.timeout_s > limit:
        what = "that of the whole run" if key == "tasks" else "handler_timeout"
        message = f"task {task.name}: its timeout is longer than {what}"
        report.add(_task_mark(root, key, task.name), "no_effect", message, "shorten it", warning=True)


def _task_mark(root: Mapping, key: str, name: str) -> int:
    return root[key].key_mark(name) if name in root[key] else root.key_mark(key)  # one that belongs to another


def _command_bytes(task: Task) -> int:
    match task.kind:
        case Argv():
            return sum(map(fields.size_bytes, task.kind.argv))
        case Shell():
            return fields.size_bytes(task.kind.text)
        case _:
            return 0


def _repeated_characters(task: Task) -> int:
    shell = task.kind.shell if isinstance(task.kind, Shell) else ()
    return len(task.cwd or "") + sum(map(len, shell))


def _text_bytes(variables: dict[str, str]) -> int:
    return sum(fields.size_bytes(name) + fields.size_bytes(text) for name, text in variables.items())
