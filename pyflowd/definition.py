"""A document to a workflow: which keys there are, what they mean together, and all that is wrong at once.

One table for each mapping of the file, one line for each key. Tasks are in `definition_task`, params in
`definition_params`, triggers in `definition_triggers`. It knows nothing of folders, of other definitions and of what
was in force before.
"""

from __future__ import annotations

from typing import Any

from pyflowd import fields, graph
from pyflowd.definition_params import read_params
from pyflowd.definition_task import MAX_COMMAND_BYTES, read_defaults, read_task
from pyflowd.definition_triggers import read_triggers
from pyflowd.document import Document, Mapping, Sequence, quote
from pyflowd.fields import Enough, Report, Table, Wrong, read
from pyflowd.model import Argv, Overlap, Problem, Retention, Task, Workflow, is_name

_MAX_PARALLEL = 10_000
_MAX_REPEATED_CHARACTERS = 32 * 1024 * 1024
"""A default is kept with each task that it is for: 4 KiB times 100,000 tasks would burst whoever keeps it."""


def compile_workflow(document: Document, file: str, stem: str) -> tuple[Workflow | None, list[Problem]]:
    """The workflow, or None; and what is to be said, in the order of the file: errors or, with a workflow, warnings."""
    report = Report(file, document)
    workflow = None
    try:
        workflow = _read_workflow(document, stem, report)
    except Enough:
        report.problems.append(Problem(file=file, code="more", message="and more: the rest is not listed"))
    return None if report.errors else workflow, sorted(report.problems, key=_place)


def _place(problem: Problem) -> tuple[bool, int, int]:
    return not problem.line, problem.line, problem.column


# ---- Keys of the file -----------------------------------------------------------------------------------------------

_RETENTION = Table(
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
    return Retention(**read(_RETENTION, fields.mapping(value, report), report))


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


def _raw(value: Any, report: Report) -> Any:
    """Read where the keys it hangs on are known."""
    return value


_WORKFLOW = Table(
    "a workflow",
    {
        "version": ("version", _read_version),
        "name": ("name", fields.name),
        "description": ("description", fields.text),
        "labels": ("labels", _read_labels),
        "owner": ("owner", fields.text),
        "params": ("params", read_params),
        "env": ("env", fields.env),
        "env_file": ("env_files", fields.one_or_more(_read_env_file)),
        "cwd": ("cwd", fields.path),
        "shell": ("shell", fields.shell),
        "user": ("user", fields.user),
        "schedule": ("schedule", _raw),
        "triggers": ("triggers", _raw),
        "overlap": ("overlap", fields.one_of(Overlap)),
        "queue_max": ("queue_max", fields.integer_from(0, 10_000)),
        "timeout": ("timeout_s", fields.positive_duration_s),
        "max_parallel": ("max_parallel", fields.integer_from(1, _MAX_PARALLEL)),
        "defaults": ("defaults", read_defaults),
        "retention": ("retention", _read_retention),
        "tasks": ("tasks", _raw),
    },
    later=frozenset(
        {
            "catchup", "concurrency", "locks", "pools", "gates", "expect", "on_success", "on_failure", "on_cancel",
            "finally", "outputs", "template", "with", "notify",
        }
    ),
    meant={
        "on": "triggers", "cron": "schedule", "jobs": "tasks", "steps": "tasks", "nodes": "tasks", "inputs": "params",
        "parameters": "params", "environment": "env", "tags": "labels", "concurrency_policy": "overlap",
    },
)  # fmt: skip


# ---- The workflow ---------------------------------------------------------------------------------------------------


def _read_workflow(document: Document, stem: str, report: Report) -> Workflow | None:
    root = document.root
    if root.__class__ is not Mapping:
        message = f"expected a mapping with the key tasks, found {fields.shape(root)}"
        report.add(document.mark, "value", message, "see the examples")
        return None
    found = read(_WORKFLOW, root, report)
    if "name" not in root:
        found["name"] = _name_of_file(stem, report)
    if found.get("name", "").isdecimal():
        mark = root.value_mark("name") if "name" in root else 0
        report.add(
            mark, "name", f"{quote(found['name'])} would be taken for the number of a run", "begin it with a letter"
        )
    tasks = _read_tasks(root, found, report)
    declared = found.get("params", None if report.errors and "params" in root else ())
    triggers = read_triggers(root, declared, report)
    defaults = found.get("defaults", {})
    found["env"] = {**found.get("env", {}), **defaults.get("env", {})}
    if report.errors:
        return None
    for key in ("version", "defaults", "shell", "schedule"):
        found.pop(key, None)
    workflow = Workflow(**{**found, "tasks": tasks, "triggers": triggers})
    _judge(workflow, root, report)
    return workflow


def _name_of_file(stem: str, report: Report) -> str:
    try:
        fields.check_name(stem)
    except Wrong as wrong:
        fix = "rename the file, or give the workflow a name: of its own"
        report.add(0, "name", f"the name of the file: {wrong.message}", fix)
    return stem


def _read_tasks(root: Mapping, found: dict[str, Any], report: Report) -> tuple[Task, ...]:
    """All tasks in the order of the file."""
    written = root.get("tasks")
    if written.__class__ is not Mapping or not written:
        if "tasks" not in root:
            report.add(0, "missing", "a workflow needs tasks", "write tasks: and below it a name and what it does")
        elif written is not None:  # nothing at all is reported already
            message = f"tasks: expected a mapping of name to task, found {fields.shape(written) if written else 'none'}"
            report.add(root.value_mark("tasks"), "value", message, "write it as in tasks: {hello: {run: echo hello}}")
        return ()
    defaults = {"shell": found.get("shell", ()), **found.get("defaults", {})}
    tasks = []
    for index, (name, value) in enumerate(written.items()):
        mark = written.marks[2 * index]
        try:
            fields.check_name(name)
            mark = written.marks[2 * index + 1]
            task = read_task(name, fields.mapping(value, report), defaults, report)
            if task is not None:
                tasks.append(task)
        except Wrong as wrong:
            report.wrong(mark, f"task {quote(name)[1:-1]}", wrong)
    _check_needs(written, report)
    return tuple(tasks)


def _check_needs(written: Mapping, report: Report) -> None:
    """Every need names another task, each once, and none waits for itself: also of tasks that are wrong otherwise."""
    names = tuple(written)
    needs = {name: _needs(task) for name, task in written.items()}
    above: set[str] = set()
    in_order = True  # as most files are written: each task below those that it needs
    for name, direct in needs.items():
        if not above.issuperset(direct):
            in_order = False
            for need in direct:
                if need not in written and is_name(need):  # what is no name is reported already
                    message = f"needs: there is no task {quote(need)}{fields.suggest(need, names)}"
                    report.add(_need_mark(written[name], need), "unknown_need", message)
        if len(set(direct)) < len(direct):
            mark = written[name].value_mark("needs")
            report.add(mark, "needs_twice", "needs: a task is named twice", "once is enough", warning=True)
        above.add(name)
    cycle = None if in_order else graph.find_cycle(needs)
    if cycle:
        message = f"the tasks wait for each other: {graph.show_cycle(cycle)}"
        report.add(written[cycle[0]].value_mark("needs"), "cycle", message, "take one of these needs out")


def _needs(task: Any) -> tuple[str, ...]:
    """The needs of a task as written, those that are text."""
    value = task.get("needs", ()) if task.__class__ is Mapping else ()
    if value.__class__ is str:
        return (value,)
    return tuple(need for need in value if need.__class__ is str) if value.__class__ is Sequence else ()


def _need_mark(task: Mapping, need: str) -> int:
    needs = task["needs"]
    return needs.marks[needs.index(need)] if isinstance(needs, Sequence) else task.value_mark("needs")


def _judge(workflow: Workflow, root: Mapping, report: Report) -> None:
    """What is wrong, or without effect, about the workflow as a whole."""
    repeated = sum(_repeated_characters(task) for task in workflow.tasks)
    if repeated > _MAX_REPEATED_CHARACTERS:
        message = f"cwd and shell of all tasks together have {repeated} characters; at most {_MAX_REPEATED_CHARACTERS}"
        report.add(root.key_mark("tasks"), "too_large", message, "shorten what defaults gives to every task")
    common = _text_bytes(workflow.env)
    for task in workflow.tasks:
        command = task.kind.argv if isinstance(task.kind, Argv) else (task.kind.text,)
        total = common + sum(map(fields.size_bytes, command)) + (_text_bytes(task.env) if task.env else 0)
        if total > MAX_COMMAND_BYTES:
            size = f"{total} bytes; at most {MAX_COMMAND_BYTES} can be passed on"
            message = f"task {task.name}: command and variables have {size}"
            report.add(root["tasks"].key_mark(task.name), "too_long", message, "put values in files")
        if workflow.timeout_s is not None and task.timeout_s is not None and task.timeout_s > workflow.timeout_s:
            message = f"task {task.name}: its timeout is longer than that of the whole run"
            report.add(root["tasks"].key_mark(task.name), "no_effect", message, "shorten it", warning=True)


def _repeated_characters(task: Task) -> int:
    shell = () if isinstance(task.kind, Argv) else task.kind.shell
    return len(task.cwd or "") + sum(map(len, shell))


def _text_bytes(variables: dict[str, str]) -> int:
    return sum(fields.size_bytes(name) + fields.size_bytes(text) for name, text in variables.items())
