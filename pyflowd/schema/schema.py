"""A JSON Schema (2020-12) of the workflow file, and of the settings file, made from the tables that read them.

For editors and checkers: it knows keys, types, words, bounds and the forms of names, durations and sizes. What needs
the whole file, such as names in expressions, only lint judges. It knows nothing of templates and drop-ins, which are
parts of a file: the schema is of whole ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files

from pyflowd.language.definition import WORKFLOW
from pyflowd.language.definition_kinds import KINDS
from pyflowd.language.definition_process import NEEDS, OPERATIONS
from pyflowd.language.definition_references import Place
from pyflowd.language.definition_task import NOT_HERE, TASK
from pyflowd.language.fields import Table
from pyflowd.schema.schema_forms import ANYTHING, Form, form_of
from pyflowd.schema.schema_parts import PARTS, REQUIRED, SETTINGS_TABLES, WORKFLOW_TABLES, slug
from pyflowd.settings import SETTINGS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PLACES = {"task": Place.TASK, "handler": Place.HANDLER, "on_error": Place.ON_ERROR, "undo": Place.UNDO}
_SPOKEN = {"wait": {"workflow"}}
"""Keys of a kind of task that are an option of another kind as well."""


def workflow_schema() -> Form:
    """Of a workflow file."""
    defs = {slug(table): _mapping(table) for table in WORKFLOW_TABLES}
    defs |= {name: _task(place) for name, place in _PLACES.items()}
    defs["file"] = _file()
    return {
        "$schema": DIALECT,
        "title": "A workflow of PyFlow",
        "type": "object",
        **_mapping(WORKFLOW),
        "if": {"required": ["template"]},
        "else": {"required": ["tasks"]},
        "$defs": defs,
    }


def settings_schema() -> Form:
    """Of `pyflowd.yaml`. An empty file is one with all defaults."""
    defs = {slug(table): _mapping(table) for table in SETTINGS_TABLES}
    return {
        "$schema": DIALECT,
        "title": "Settings of PyFlow's daemon",
        "type": ["object", "null"],
        **_mapping(SETTINGS),
        "$defs": defs,
    }


def _mapping(table: Table) -> Form:
    """What the keys of a table take; a key that nothing is known of takes anything."""
    found: Form = {"properties": _properties(table, table.keys), "additionalProperties": False}
    if table.what in REQUIRED:
        found["required"] = REQUIRED[table.what]
    return found


def _properties(table: Table, keys: Iterable[str]) -> Form:
    return {key: _described(table, key) for key in keys}


def _described(table: Table, key: str) -> Form:
    said = words().get(table.what, {}).get(key)
    found = key_form(table, key) or ANYTHING
    return {"description": said, **found} if said else found


def key_form(table: Table, key: str) -> Form | None:
    """What a key takes, from its reader or from `schema_parts`."""
    return PARTS.get(table.what, {}).get(key) or form_of(table.keys[key][1])


@lru_cache(maxsize=1)
def words() -> dict[str, dict[str, str]]:
    """What keys mean, by table: the words of the manual, which a test holds equal."""
    text = files("pyflowd.schema").joinpath("schema_words.json").read_text("utf-8")
    found: dict[str, dict[str, str]] = json.loads(text)
    return found


# ---- Tasks ----------------------------------------------------------------------------------------------------------


def _task(place: Place) -> Form:
    """A task where it stands: one kind, and no key that means nothing to it."""
    keys = [key for key in TASK.keys if key not in NOT_HERE[place]]
    found: Form = {"properties": _properties(TASK, keys), "additionalProperties": False}
    if place is Place.UNDO:
        found["properties"]["after"] = _described(TASK, "after")
    return {**found, "anyOf": [{"required": [kind]} for kind in KINDS], "allOf": [_of_kind(kind) for kind in KINDS]}


def _of_kind(kind: str) -> Form:
    """What goes with it, as a condition on its key: the error is told of the key that does not."""
    others = [other for other in KINDS if other != kind and kind not in _SPOKEN.get(other, ())]
    refused = {key for key in (*others, *KINDS[kind].refuses) if key in TASK.keys}
    when: Form = {"required": [kind]}
    then: Form = {"properties": {key: False for key in TASK.keys if key in refused}}
    for other in _SPOKEN.get(kind, ()):
        when["not"] = {"required": [other]}
        then["properties"][kind] = {"type": ["string", "object"]}
    return {"if": when, "then": then}


def _file() -> Form:
    """One operation with its own keys. The keys of all stand first, for editors to offer."""
    keys = {key: table for table in OPERATIONS.values() for key in table.keys}
    return {
        "properties": {key: _described(table, key) for key, table in keys.items()},
        "additionalProperties": False,
        "anyOf": [{"required": [operation]} for operation in OPERATIONS],
        "allOf": [_of_operation(operation, table) for operation, table in OPERATIONS.items()],
    }


def _of_operation(operation: str, table: Table) -> Form:
    then: Form = {"$ref": f"#/$defs/{slug(table)}"}
    if operation in NEEDS:
        then["required"] = [NEEDS[operation]]
    return {"if": {"required": [operation]}, "then": then}
