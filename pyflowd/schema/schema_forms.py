"""What readers of `fields` take, as JSON Schema says it (2020-12): the forms that a schema is put together from.

A form never refuses what its reader takes; it may let through what only the reader can judge. Where a key takes a
short form beside a mapping, one form holds both: keywords of one type say nothing of another, and an editor can name
the key that is wrong where `oneOf` could not. It knows nothing of which keys there are.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from pyflowd.language import fields
from pyflowd.language.fields import Reader
from pyflowd.model.states import NAME_PATTERN

Form = dict[str, Any]

# ---- Values ---------------------------------------------------------------------------------------------------------

_PART = "(?:[0-9]+(?:\\.[0-9]+)?(?:ms|s|m|h|d|w))+"
DURATION: Form = {"type": "string", "pattern": f"^{_PART}$", "examples": ["30s", "5m", "1h30m", "7d"]}
"""As `units` reads it: a test compares the two."""
SIZE: Form = {
    "type": "string",
    "pattern": "^[0-9]+(?:\\.[0-9]+)? ?(?:[KMGT]i?B|B)$",
    "examples": ["64KiB", "10MB", "2GiB"],
}
ANYTHING: Form = {}
ACCOUNT: Form = {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\\$?$"}
NAME: Form = {"type": "string", "pattern": NAME_PATTERN}
TEXT: Form = {"type": "string"}
WORD: Form = {"type": "string", "pattern": "\\S"}
FLAG: Form = {"type": "boolean"}
TRUE: Form = {"type": "boolean", "enum": [True]}
OBJECT: Form = {"type": "object"}
IDENTIFIER = "^[A-Za-z_][A-Za-z0-9_-]{0,62}$"
ABSOLUTE: Form = {"type": "string", "pattern": "^/"}
PATH: Form = {"type": "string", "pattern": "^(?:/|~/|~$)"}
PATH_TEMPLATE: Form = {"type": "string", "pattern": "^(?:/|~/|~$|\\$\\{\\{)"}
VALUE: Form = {"type": ["string", "number", "boolean", "array", "object"]}
"""What becomes text (rule P3)."""
SCALAR: Form = {"type": ["string", "number", "boolean"]}
ENV: Form = {
    "type": "object",
    "propertyNames": {"pattern": "^(?!PYFLOW_|PARAM_)[A-Za-z_][A-Za-z0-9_]{0,254}$"},
    "additionalProperties": VALUE,
}


def mapped(value: Form, names: str = NAME_PATTERN) -> Form:
    """A mapping whose keys are the user's."""
    return {"type": "object", "propertyNames": {"pattern": names}, "additionalProperties": value}


def listed(item: Form, *, least: int = 0) -> Form:
    return {"type": "array", "items": item, **({"minItems": least} if least else {})}


def one_or_more(item: Form, *, least: int = 0) -> Form:
    """One value, or a list of them; a form without a type takes anything."""
    if "type" not in item:
        return ANYTHING
    found: Form = {**item, "type": [*types(item), "array"], "items": item, **({"minItems": least} if least else {})}
    if "enum" in item:  # it would speak of the list, too
        found |= {"if": {"type": item["type"]}, "then": {"enum": found.pop("enum")}}
    return found


def types(form: Form) -> list[str]:
    found = form["type"]
    return list(found) if isinstance(found, list) else [found]


def words_or(words: list[str], form: Form) -> Form:
    """A word of a closed set, or what `form` says. `enum` would speak of values of every type."""
    return {**form, "type": ["string", *types(form)], "if": {"type": "string"}, "then": {"enum": words}}


def short_or(short: Form, form: Form) -> Form:
    """A short form, or what `form` says: the keywords of the two are of different types."""
    return {**form, **short, "type": [*types(short), *types(form)]}


# ---- Readers --------------------------------------------------------------------------------------------------------

FORMS: dict[Reader, Form] = {
    fields.text: TEXT,
    fields.template: TEXT,
    fields.template_tree: ANYTHING,
    fields.condition: {"type": ["string", "boolean"], "pattern": "\\S"},
    fields.expression_text: WORD,
    fields.word: WORD,
    fields.name: NAME,
    fields.value_text: VALUE,
    fields.value_template: VALUE,
    fields.path: PATH,
    fields.path_template: PATH_TEMPLATE,
    fields.user: ACCOUNT,
    fields.group: ACCOUNT,
    fields.timezone: {"type": "string", "examples": ["UTC", "Europe/Berlin"]},
    fields.cron_text: {"type": "string", "examples": ["30 2 * * *", "@daily"]},
    fields.boolean: FLAG,
    fields.duration_s: DURATION,
    fields.positive_duration_s: DURATION,
    fields.file_size_bytes: SIZE,
    fields.mapping: OBJECT,
    fields.env: ENV,
    fields.shell: {"type": ["string", "array"], "items": WORD, "minItems": 1, "pattern": "\\S"},
}
"""Of readers that are no partials."""


def form_of(reader: Reader) -> Form | None:
    """What a reader takes; None: only its own module knows it, and `schema_parts` says it of the key."""
    if not isinstance(reader, partial):
        return FORMS.get(reader)
    made: Any = reader.func
    if made is fields.bounded_integer:
        return {"type": "integer", "minimum": reader.args[0], "maximum": reader.args[1]}
    if made is fields.bounded_number:
        return {"type": "number", "minimum": reader.args[0], "maximum": reader.args[1]}
    if made is fields.choice:
        return {"type": "string", "enum": list(reader.args[0])}
    if made not in (fields.items, fields.secret_too):
        return None
    item = form_of(reader.args[0])
    return item if item is None or made is fields.secret_too else one_or_more(item)
