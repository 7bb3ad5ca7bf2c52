"""Fan-out and loops of a task as a definition writes them: `for_each`, `matrix`, `repeat` (section F).

A matrix is expanded here, with the meaning that GitHub gives to `exclude` and `include`. It knows nothing of the runs:
what an expression gives as items is known only there.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from typing import Any

from pyflowd.base.item_key import default_key
from pyflowd.expressions import expression, template
from pyflowd.expressions.expression import ExpressionError
from pyflowd.language import fields
from pyflowd.language.document import Mapping, Sequence, quote
from pyflowd.language.fields import Reader, Report, Table, Wrong, read
from pyflowd.model.workflow import FanOut, OnEmpty, Repeat

MAX_ITEMS = 10_000
MAX_MATRIX_BYTES = 4 * 1024 * 1024
"""A value of an axis stands in many items; the whole list is kept with the definition."""
MATRIX = "matrix"
OWN_TASK = "<own task>"
"""In `Use.also`: the expression may speak of what its own task has given on."""
NAMES = frozenset({"params", "env", "tasks", "run", "event", "secrets", "index", MATRIX})
"""What expressions have in any case; an item cannot be called so."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}", re.ASCII)
_WORDS = frozenset(["and", "or", "not", "in", "if", "else", "true", "false", "null", "True", "False", "None"])
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%", re.ASCII)
_count = fields.integer_from(0, MAX_ITEMS)

# ---- for_each -------------------------------------------------------------------------------------------------------


def _read_items(value: Any, report: Report) -> Any:
    """A list, a mapping (items of `key` and `value`), or one expression."""
    if value.__class__ is str:
        return _only_expression(value, report)
    if value.__class__ is not Sequence and value.__class__ is not Mapping:
        raise Wrong(f"expected a list or an expression, found {fields.shape(value)}")
    if len(value) > MAX_ITEMS:
        raise Wrong(f"{len(value)} items; at most {MAX_ITEMS}")
    found = fields.template_tree(value, report)
    return [{"key": key, "value": item} for key, item in found.items()] if isinstance(found, dict) else found


def _only_expression(text: str, report: Report) -> str:
    written = fields.template(text, report).strip()
    if "${{" not in written:
        fix = "write ${{ " + written + " }}" if _is_reference(written) else "write a list, as in [a, b]"
        raise Wrong(f"expected a list or an expression, found {fields.shape(text)}", fix)
    if not template.parse(written).is_single:
        raise Wrong(f"{quote(written)} becomes text and no list", "write one expression and nothing round it")
    return written


def _is_reference(text: str) -> bool:
    try:
        return bool(expression.parse(text).names & NAMES)
    except ExpressionError:
        return False


def _read_variable(value: Any, report: Report) -> str:
    checked = fields.text(value, report)
    if not _VARIABLE.fullmatch(checked) or checked in _WORDS:
        raise Wrong(f"{quote(checked)} is no name for an item", 'use letters, digits and "_", first no digit')
    if checked in NAMES:
        raise Wrong(f"{quote(checked)} is the name of something else", "choose another name")
    return checked


def _read_max_failures(value: Any, report: Report) -> dict[str, Any]:
    """A count, or a part of all items."""
    if value.__class__ is not str:
        return {"max_failures": _count(value, report)}
    percent = _PERCENT.fullmatch(value)
    if percent is None or float(percent[1]) > 100:
        raise Wrong(f"expected a number or a percentage, found {fields.shape(value)}", "write it as in 3 or 5%")
    return {"max_failures_percent": float(percent[1])}


# ---- matrix ---------------------------------------------------------------------------------------------------------


def read_matrix(value: Any, report: Report) -> list[dict[str, Any]]:
    """All combinations of the axes without those of `exclude`, and what `include` adds."""
    table = fields.mapping(value, report)
    axes = {}
    for index, (name, written) in enumerate(table.items()):
        if name in ("exclude", "include"):
            continue
        fields.check_name(name)
        mark = table.marks[2 * index + 1]
        try:
            axes[name] = _read_axis(written, report)
        except Wrong as wrong:
            report.wrong(mark, quote(name)[1:-1], wrong)
            return []
        report.place_uses(name, mark)
    _check_size(axes)
    excluded = _read_combinations(table, "exclude", report)
    for each in excluded:
        for name in each:
            if name not in axes:
                raise Wrong(f"exclude names {quote(name)}, which is no axis{fields.suggest(name, tuple(axes))}")
    items = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())] if axes else []
    kept = [item for item in items if not any(_covers(item, each) for each in excluded)]
    items = _include(kept, axes, _read_combinations(table, "include", report))
    if not items:
        raise Wrong("it has no combination", "give it an axis, as in {os: [debian, fedora]}")
    if len(items) > MAX_ITEMS:
        raise Wrong(f"{len(items)} combinations; at most {MAX_ITEMS}")
    return items


def _read_axis(value: Any, report: Report) -> list[Any]:
    if value.__class__ is not Sequence:
        fix = "use for_each for a computed list" if value.__class__ is str and "${{" in value else ""
        raise Wrong(f"expected a list of values, found {fields.shape(value)}", fix)
    if not value:
        raise Wrong("the list is empty")
    found: list[Any] = fields.template_tree(value, report)
    return found


def _check_size(axes: dict[str, list[Any]]) -> None:
    """Before anything is multiplied."""
    count = math.prod(map(len, axes.values()))
    if count > MAX_ITEMS:
        raise Wrong(f"{count} combinations; at most {MAX_ITEMS}")
    size = sum(len(json.dumps(values)) * count // len(values) for values in axes.values())
    if size > MAX_MATRIX_BYTES:
        raise Wrong(f"its combinations have {size} characters together; at most {MAX_MATRIX_BYTES}")


def _read_combinations(table: Mapping, key: str, report: Report) -> list[dict[str, Any]]:
    written = table.get(key, ())
    if written.__class__ is Mapping:
        written = [written]
    if not isinstance(written, list | tuple) or not all(each.__class__ is Mapping and each for each in written):
        raise Wrong(f"{key}: expected a list of mappings", f"write it as in {key}: [{{os: debian, version: 12}}]")
    if len(written) > MAX_ITEMS:
        raise Wrong(f"{key}: {len(written)} of them; at most {MAX_ITEMS}")
    found = [fields.template_tree(each, report) for each in written]
    if key in table:
        report.place_uses(key, table.value_mark(key))
    for each in found:
        for name in each:
            fields.check_name(name)
    return found


def _same(one: Any, other: Any) -> bool:
    """Equality that tells true from 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _covers(item: dict[str, Any], excluded: dict[str, Any]) -> bool:
    return all(_same(item[name], value) for name, value in excluded.items())


def _include(
    items: list[dict[str, Any]], axes: dict[str, list[Any]], included: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Each goes into every combination whose axes it does not contradict; into none: it is one of its own."""
    if len(items) * len(included) > 10_000_000:
        raise Wrong("include and the combinations are too many together", "write them out as for_each")
    found = [dict(item) for item in items]
    added = []
    for each in included:
        own = [(name, value) for name, value in each.items() if name in axes]
        fitting = [n for n, item in enumerate(items) if all(_same(item[name], value) for name, value in own)]
        for n in fitting:
            found[n].update(each)
        if not fitting:
            added.append(each)
    return found + added


# ---- Together -------------------------------------------------------------------------------------------------------

KEYS: dict[str, tuple[str, Reader]] = {
    "for_each": ("for_each", _read_items),
    "matrix": (MATRIX, read_matrix),
    "as": ("as", _read_variable),
    "key": ("key", fields.template),
    "max_parallel": ("max_parallel", fields.integer_from(1, MAX_ITEMS)),
    "max_failures": ("max_failures", _read_max_failures),
    "fail_fast": ("fail_fast", fields.boolean),
    "on_empty": ("on_empty", fields.one_of(OnEmpty)),
}
"""Keys of a task."""


def build_fan_out(mapping: Mapping, task: dict[str, Any], report: Report) -> FanOut | None:
    """The keys of `KEYS` are taken out of `task`. Raises Wrong where there is no list for them."""
    given = {key: task.pop(key) for key in KEYS if key in task}
    written = [key for key in mapping if key in KEYS]
    if "for_each" in mapping and MATRIX in mapping:
        raise Wrong("both for_each and matrix: a task fans out once", "keep one, or call a workflow for each")
    if "for_each" not in mapping and MATRIX not in mapping:
        raise Wrong(f"{written[0]} is for a task with for_each or matrix", f"leave {written[0]} out, or add for_each")
    if "as" in mapping and MATRIX in mapping:
        raise Wrong("the items of a matrix are called matrix", "leave as out")
    if MATRIX not in given and "for_each" not in given:
        return None  # wrong, and reported
    matrix = given.pop(MATRIX, None)
    items = given.pop("for_each", matrix)
    variable = MATRIX if matrix is not None else given.pop("as", "item")
    given.update(given.pop("max_failures", {}))
    if "key" not in given and isinstance(mapping.get("for_each"), Mapping):
        given["key"] = f"${{{{ {variable}.key }}}}"
    elif "key" not in given and isinstance(items, list):
        _check_keys(mapping, items, report)
    names = expression.parse(task["condition"]).names if task.get("condition") else ()
    if_each = variable in names or "index" in names
    return FanOut(items=items, variable=variable, if_each=if_each, **given)


def _check_keys(mapping: Mapping, items: list[Any], report: Report) -> None:
    """An item without a key of its own is known by its value (rule F1)."""
    seen: dict[str, int] = {}
    for number, item in enumerate(items, 1):
        key = default_key(item)
        if key in seen and "${{" not in json.dumps(item):
            mark = mapping.value_mark("for_each" if "for_each" in mapping else MATRIX)
            fix = "take one out, or tell them apart by key: ${{ index }}"
            both = f"items {seen[key]} and {number} have the same key, {quote(key)}"
            report.add(mark, "duplicate_key", both, fix)
            return
        seen[key] = number


REPEAT = Table(
    "repeat",
    {
        "until": ("until", lambda value, report: fields.condition(value, report, frozenset({OWN_TASK}))),
        "while": ("while_", lambda value, report: fields.condition(value, report, frozenset({OWN_TASK}))),
        "delay": ("delay_s", fields.duration_s),
        "max": ("max", fields.integer_from(1, MAX_ITEMS)),
    },
    meant={"times": "max", "limit": "max", "interval": "delay", "every": "delay", "condition": "until"},
)


def read_repeat(value: Any, report: Report) -> Repeat | None:
    """Rule F5. None: something is wrong with it, and reported."""
    table = fields.mapping(value, report)
    if "max" not in table:
        raise Wrong("it has no max", "say how often at most, as in max: 100", code="missing")
    if ("until" in table) == ("while" in table):
        raise Wrong("it needs one of until and while", "write it as in {until: tasks.x.outputs.ready, max: 100}")
    errors = report.errors
    found = read(REPEAT, table, report)
    return Repeat(**found) if report.errors == errors else None
