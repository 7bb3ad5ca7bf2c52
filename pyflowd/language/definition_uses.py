"""`uses` in a definition: a task that a plugin carries out, with its inputs under `with`.

Whether there is such a plugin, and whether the inputs fit it, is judged apart (`judge`), as what plugins there are
depends on the host. It knows nothing of how plugins are found; values that expressions make are checked by the task's
process (`pyflowd.task.plugin_types`, by the same schemas).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyflowd.language import fields
from pyflowd.language.document import Document, Mapping, Sequence, quote
from pyflowd.language.fields import Enough, Report, Wrong
from pyflowd.language.plugins import Known, Plugin, PluginField, Schema
from pyflowd.model.kinds import Uses
from pyflowd.model.problem import Problem
from pyflowd.model.states import is_name

CODES = frozenset({"plugin", "plugin_input"})
"""Of problems that another plugin may solve."""
_SECTIONS = ("tasks", "on_success", "on_failure", "on_cancel", "finally", "on_error")
_SEE = "see: pyflowctl kinds"


def read_uses(value: Any, report: Report) -> str:
    """The name of a plugin (rule D7, so that it can be the name of a file)."""
    if value.__class__ is str and "${{" in value:
        raise Wrong("an expression may not say what is run", "write the name out, and pass values under with")
    return fields.name(value, report)


def build_uses(value: str, task: dict[str, Any]) -> Uses:
    """Takes `with` from the task's fields."""
    return Uses(plugin=value, arguments=task.pop("with", {}))


# ---- Against what there is ------------------------------------------------------------------------------------------


def names(document: Document) -> set[str]:
    """Of all plugins that a definition uses."""
    return {name for task in _tasks(document.root) if (name := _plugin_of(task))}


def _plugin_of(task: Mapping) -> str:
    """Empty: it uses none, or what is no name, which is told elsewhere."""
    written = task.get("uses")
    return written if isinstance(written, str) and is_name(written) else ""


def judge(document: Document, label: str, known: Known) -> list[Problem]:
    """What is wrong with the tasks of a definition that use plugins. `label`: the name of its file."""
    report = Report(label, document)
    try:
        for task in _tasks(document.root):
            if _plugin_of(task):
                _judge_task(task, known, report)
    except Enough:
        pass  # the first ones tell enough
    return report.problems


def _tasks(holder: Any) -> Iterator[Mapping]:
    """All tasks below a workflow or a task, whatever else is wrong with it."""
    if holder.__class__ is not Mapping:
        return
    for key in _SECTIONS:
        section = holder.get(key)
        if section.__class__ is Mapping:
            for task in section.values():
                if task.__class__ is Mapping:
                    yield task
                    yield from _tasks(task)
    undo = holder.get("undo")
    if undo.__class__ is Mapping:
        yield undo


def _judge_task(task: Mapping, known: Known, report: Report) -> None:
    name, mark = task["uses"], task.value_mark("uses")
    plugin = known.get(name)
    if plugin is None:
        guess = fields.suggest(name, tuple(known))
        fix = _SEE if guess else f"put {name}.py into the plugins folder, or install its package; {_SEE}"
        report.add(mark, "plugin", f"uses: there is no plugin {quote(name)}{guess}", fix)
    elif plugin.error:
        report.add(mark, "plugin", f"uses: the plugin {name} cannot be used: {plugin.error}", f"mend {plugin.origin}")
    else:
        _judge_inputs(task, plugin, report)


def _judge_inputs(task: Mapping, plugin: Plugin, report: Report) -> None:
    given = task.get("with")
    written = given if given.__class__ is Mapping else Mapping()
    inputs = {field.name: field for field in plugin.inputs}
    for index, (name, value) in enumerate(written.items()):
        if name not in inputs:
            guess = fields.suggest(name, tuple(inputs))
            message = f"with: the plugin {plugin.name} has no input {quote(name)}{guess}"
            report.add(written.marks[2 * index], "plugin_input", message, f"{_SEE} {plugin.name}")
            continue
        _judge_input(inputs[name], value, written.marks[2 * index + 1], report)
    for name, field in inputs.items():
        if field.required and name not in written:
            message = f"with: the plugin {plugin.name} needs the input {name} ({field.type})"
            mark = task.key_mark("with" if "with" in task else "uses")
            report.add(mark, "plugin_input", message, f"add it; {_SEE} {plugin.name}")


def _judge_input(field: PluginField, value: Any, mark: int, report: Report) -> None:
    if field.secret and value not in ("", None) and not (value.__class__ is str and "${{" in value):
        message = f"{field.name}: a secret may not be written in a definition"
        fix = "give it by an expression, such as ${{ secrets.NAME }}"
        report.add(mark, "plugin_input", message, fix)
        return
    for place, message in wrongs(field.schema, value, mark):
        report.add(place, "plugin_input", f"{field.name}: {message}", "")


def wrongs(schema: Schema, value: Any, mark: int) -> Iterator[tuple[int, str]]:
    """Places, and what stands there that is not of its type. What an expression gives is not known."""
    if value.__class__ is str and "${{" in value.replace("$${{", ""):
        return
    kind = schema.get("type")
    if "anyOf" in schema:
        if any(next(wrongs(each, value, mark), None) is None for each in schema["anyOf"]):
            return
    elif "enum" in schema:
        if any(each == value and each.__class__ is value.__class__ for each in schema["enum"]):
            return
    elif kind == "array" and value.__class__ is Sequence:
        for item, place in zip(value, value.marks, strict=True):
            yield from wrongs(schema["items"], item, place)
        return
    elif kind == "object" and value.__class__ is Mapping:
        for index, item in enumerate(value.values()):
            yield from wrongs(schema["additionalProperties"], item, value.marks[2 * index + 1])
        return
    elif kind is None or value.__class__ in _CLASSES.get(kind, ()):
        return
    yield mark, f"expected {schema['title']}, found {fields.shape(value)}"


_CLASSES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
