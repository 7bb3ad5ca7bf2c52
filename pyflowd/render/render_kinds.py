"""Kinds of task as text and as JSON: those that are built in, and plugins. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyflowd.language.plugins import Plugin, PluginField
from pyflowd.render.layout import Cell, Style, Table, bold, clean, dim, value_text

_DEFAULT_COLUMNS = 24


def kinds(plugins: Sequence[Plugin], style: Style) -> list[str]:
    """One line each; of a plugin that cannot be used, why."""
    rows = [[Cell(clean(each.name)), Cell(clean(each.origin)), _about(each)] for each in plugins]
    header = [Cell("KIND"), Cell("FROM"), Cell("DOES")]
    lines = Table(style, indent=0).lines([header, *rows])
    lines[0] = dim(lines[0], style)
    return [*lines, dim("pyflowctl kinds NAME shows one; a plugin is used by: uses: NAME", style)]


def _about(plugin: Plugin) -> Cell:
    if plugin.error:
        return Cell(f"cannot be used: {clean(plugin.error)}", "error")
    return Cell(clean(plugin.summary))


def kind(plugin: Plugin, style: Style, *, built_in: bool) -> list[str]:
    """All of one."""
    lines = [bold(f"{clean(plugin.name)}, {clean(plugin.origin)}", style)]
    lines += [f"  {clean(line)}".rstrip() for line in plugin.text.splitlines()]
    lines += _fields("Keys" if built_in else "Inputs, under with", plugin.inputs, style)
    lines += _fields("Outputs", plugin.outputs or (), style)
    example = plugin.example or _made_up(plugin)
    return [*lines, "", bold("Example", style), *(f"  {clean(line)}" for line in example.splitlines())]


def _fields(title: str, fields: Sequence[PluginField], style: Style) -> list[str]:
    if not fields:
        return []
    rows = [
        [Cell(field.name), Cell(field.type), Cell(_need(field)), Cell(clean(field.description))] for field in fields
    ]
    return ["", bold(title, style), *Table(style).lines(rows)]


def _need(field: PluginField) -> str:
    told = "required" if field.required else "" if field.default is None else _default(field)
    return ", ".join(each for each in (told, "secret" if field.secret else "") if each)


def _default(field: PluginField) -> str:
    return "default " + value_text(field.default, _DEFAULT_COLUMNS)


def _made_up(plugin: Plugin) -> str:
    """An example of one that has none: what has to be given."""
    needed = [f"  {field.name}: {_sample(field)}" for field in plugin.inputs if field.required]
    return "\n".join([f"uses: {plugin.name}", *(["with:", *needed] if needed else [])])


def _sample(field: PluginField) -> str:
    if field.secret:
        return "${{ secrets.NAME }}"
    if "enum" in field.schema:
        return value_text(field.schema["enum"][0])
    samples = {"string": '"..."', "integer": "1", "number": "1.5", "boolean": "true", "array": "[]", "object": "{}"}
    return samples.get(str(field.schema.get("type")), '"..."')


def as_json(plugin: Plugin, *, built_in: bool) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "built_in": built_in,
        "from": plugin.origin,
        "summary": plugin.summary,
        "description": plugin.text,
        "inputs": [_field_json(field) for field in plugin.inputs],
        "outputs": None if plugin.outputs is None else [_field_json(field) for field in plugin.outputs],
        "example": plugin.example,
        "error": plugin.error or None,
    }


def _field_json(field: PluginField) -> dict[str, Any]:
    return {
        "name": field.name,
        "type": field.type,
        "required": field.required,
        "default": field.default,
        "description": field.description,
        "secret": field.secret,
        "schema": field.schema,
    }
