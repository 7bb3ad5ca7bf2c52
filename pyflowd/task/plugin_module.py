"""A plugin as a module: found by its name, imported, and described.

A plugin is a file `NAME.py` of the plugin folder, or a module that an installed package names under the entry point
group `pyflow.tasks`; the file comes first. It knows nothing of the task that it is run for.
"""

from __future__ import annotations

import os
import sys
import types
from typing import Any, NamedTuple

from pyflowd.task import function, plugin_types
from pyflowd.task.function import Failed
from pyflowd.task.plugin_types import Field, Wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib import metadata

GROUP = "pyflow.tasks"
_MAX_TEXT = 4000
_MAX_SUMMARY = 200


class Plugin(NamedTuple):
    """What a module says of itself."""

    name: str
    run: Callable[..., Any]
    inputs_class: type
    inputs: list[Field]
    outputs: list[Field] | None
    """None: it does not say."""
    text: str
    """The module's own description; its first line is the summary."""
    example: str


def entry_points() -> dict[str, metadata.EntryPoint]:
    """Those of the installed packages; of two with one name the first that is found."""
    from importlib import metadata  # costs 20 ms; a plugin that is a file does not need it

    found: dict[str, metadata.EntryPoint] = {}
    for each in metadata.entry_points(group=GROUP):
        found.setdefault(each.name, each)
    return found


def load(name: str, folder: str) -> Plugin:
    """The plugin `name`; its module is imported. Raises Failed, Wrong, or what importing it raises."""
    path = os.path.join(folder, f"{name}.py")
    sys.path.append(folder)  # what it shares with others of its folder; behind all else, so that it hides nothing
    if os.path.lexists(path):
        return described(name, _from_file(name, path))
    known = entry_points()
    if name not in known:
        near = function.nearest(name, list(known))
        raise Failed(f"there is no plugin {name}{near}: no file {path}, no entry point of the group {GROUP}", 2)
    module_name = known[name].module
    __import__(module_name)
    return described(name, sys.modules[module_name])


def _from_file(name: str, path: str) -> types.ModuleType:
    """Without importlib, which leaves frames of its own in a traceback and compiled files in the folder."""
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        raise Failed(f"plugin {name}: {path}: {error.strerror}; the task's user must be able to read it", 2) from None
    module = types.ModuleType("pyflow_plugin_" + "".join([c if c.isalnum() else "_" for c in name]))
    module.__file__ = path
    sys.modules[module.__name__] = module  # annotations are looked up there
    exec(compile(source, path, "exec"), module.__dict__)  # noqa: S102  it is what the administrator installed
    return module


def described(name: str, module: types.ModuleType) -> Plugin:
    """What a module says; raises Wrong where it is no plugin."""
    run = getattr(module, "run", None)
    if not callable(run):
        raise Wrong("there is no function run(inputs, context)")
    inputs_class = getattr(module, "Inputs", None) or type("Inputs", (), {})
    outputs_class = getattr(module, "Outputs", None)
    example = getattr(module, "EXAMPLE", "")
    text = getattr(module, "DESCRIPTION", None) or module.__doc__ or ""
    if not isinstance(text, str) or not isinstance(example, str):
        raise Wrong("DESCRIPTION and EXAMPLE are texts")
    return Plugin(
        name=name,
        run=run,
        inputs_class=inputs_class,
        inputs=plugin_types.fields_of(inputs_class, "Inputs"),
        outputs=None if outputs_class is None else plugin_types.fields_of(outputs_class, "Outputs"),
        text=text.strip()[:_MAX_TEXT],
        example=example.strip("\n")[:_MAX_TEXT],
    )


def as_json(plugin: Plugin) -> dict[str, Any]:
    """A description, as `pyflowd.plugins` reads it."""
    summary = plugin.text.partition("\n")[0].strip()
    return {
        "name": plugin.name,
        "summary": summary[:_MAX_SUMMARY],
        "text": plugin.text,
        "example": plugin.example,
        "inputs": [field._asdict() for field in plugin.inputs],
        "outputs": None if plugin.outputs is None else [field._asdict() for field in plugin.outputs],
    }


def inputs_of(plugin: Plugin, given: dict[str, Any]) -> Any:
    """An instance of its `Inputs` with values and defaults. Raises Failed, with all that is wrong."""
    known = {field.name: field for field in plugin.inputs}
    wrong = [f"there is no input {name}{function.nearest(name, list(known))}" for name in given if name not in known]
    values: dict[str, Any] = {}
    for name, field in known.items():
        if name in given:
            wrong += plugin_types.problems(field.schema, given[name], name, secret=field.secret)
        elif field.required:
            wrong.append(f"{name} is required ({field.schema['title']})")
        values[name] = given.get(name, field.default)
    if wrong:
        raise Failed(f"plugin {plugin.name}: {'; '.join(wrong)}; see: pyflowctl kinds {plugin.name}", 2)
    if hasattr(plugin.inputs_class, "__dataclass_fields__"):
        return plugin.inputs_class(**values)
    made = plugin.inputs_class()
    vars(made).update(values)
    return made


def check_outputs(plugin: Plugin, result: Any) -> dict[str, Any]:
    """What `run` returned, as outputs. Raises Failed."""
    said = f"plugin {plugin.name}: run"
    outputs = {} if result is None else result
    if not isinstance(outputs, dict):
        raise Failed(f"{said} returned {plugin_types.shown(outputs)}: return a dict of outputs, or None", 1)
    if plugin.outputs is None:
        return outputs
    known = {field.name: field for field in plugin.outputs}
    wrong = [f"{name} is no output of it" for name in outputs if name not in known]
    for name, field in known.items():
        if name in outputs:
            wrong += plugin_types.problems(field.schema, outputs[name], name)
        elif field.required:
            wrong.append(f"{name} is missing")
    if wrong:
        raise Failed(f"{said} did not return what Outputs says: {'; '.join(map(str, wrong))}", 1)
    return {name: outputs.get(name, field.default) for name, field in known.items()}
