"""What the engine asks to be decided: conditions, item lists, further passes, outputs of a run. Evaluates expressions,
and says what came of them as an event. Pure.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pyflowd import expression, template
from pyflowd.context import Facts, TaskNames
from pyflowd.events import ConditionDecided, Expanded, OutputsDecided, RepeatDecided
from pyflowd.expression_values import ExpressionError
from pyflowd.model import FanOut
from pyflowd.output_file import MAX_BYTES as MAX_OUTPUT_BYTES
from pyflowd.state import Decide, Question, TaskRun

MAX_ITEMS = 10_000
"""Rule F1."""
KEY_MAX = 200
"""Characters of an item's key; a longer one made by us ends with a hash."""
_SHOWN = 200

Decision = ConditionDecided | Expanded | RepeatDecided | OutputsDecided


def decide(facts: Facts, asked: Decide, at_us: int) -> Decision:
    """The answer to one question of the engine. Never raises: an expression without a value is an answer too."""
    if asked.question is Question.OUTPUTS:
        return _outputs(facts, at_us)
    task = facts.run.tasks[asked.task]
    match asked.question:
        case Question.CONDITION:
            return _condition(facts, task, at_us)
        case Question.ITEMS:
            return _items(facts, task, at_us)
        case _:
            return _repeat(facts, task, at_us)


def _condition(facts: Facts, task: TaskRun, at_us: int) -> ConditionDecided:
    holds, values, error = _ask(task.definition.condition, facts, task)
    return ConditionDecided(task.name, at_us, holds, values, error)


def _repeat(facts: Facts, task: TaskRun, at_us: int) -> RepeatDecided:
    repeat = task.definition.repeat
    assert repeat is not None
    holds, values, error = _ask(repeat.until or repeat.while_, facts, task)
    return RepeatDecided(task.name, at_us, holds != bool(repeat.until), values, error)


def _ask(text: str, facts: Facts, task: TaskRun) -> tuple[bool, dict[str, Any], str]:
    """Whether a condition holds, the values that it used, and why it has no value."""
    try:
        holds, values = expression.parse(text).holds(TaskNames(facts, task))
    except ExpressionError as error:
        return False, error.values, str(error)
    return holds, values, ""


def _items(facts: Facts, task: TaskRun, at_us: int) -> Expanded:
    try:
        return Expanded(task.name, at_us, _keyed(facts, task))
    except ExpressionError as error:
        return Expanded(task.name, at_us, [], str(error))


def _keyed(facts: Facts, task: TaskRun) -> list[tuple[str, Any]]:
    """Rule F1: the items with their keys, each key once."""
    fan_out = task.definition.fan_out
    assert fan_out is not None
    values = _list(template.render_tree(fan_out.items, TaskNames(facts, task)))
    if len(values) > MAX_ITEMS:
        raise ExpressionError(f"{len(values)} items; at most {MAX_ITEMS}: put several into one, as with chunk(list, n)")
    found: dict[str, Any] = {}
    for position, value in enumerate(values):
        key = _key(facts, task, fan_out, value, position)
        if key in found:
            raise ExpressionError(f'two items have the key "{key}"; give each its own with key:')
        found[key] = value
    return list(found.items())


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [{"key": key, "value": entry} for key, entry in value.items()]
    raise ExpressionError(f"expected a list, got {_show(value)}")


def _key(facts: Facts, task: TaskRun, fan_out: FanOut, value: Any, position: int) -> str:
    if fan_out.key:
        key = template.render_text(fan_out.key, TaskNames(facts, task, (value, position)))
        if not key or len(key) > KEY_MAX or not key.isprintable():
            raise ExpressionError(f"item {position + 1}: a key is printable text of 1 to {KEY_MAX} characters")
        return key
    return default_key(value)


def default_key(value: Any) -> str:
    """The key of an item that is given none: stable, made of the item alone."""
    if isinstance(value, dict) and value and all(not isinstance(part, (dict, list)) for part in value.values()):
        text = ", ".join(_word(part) for part in value.values())
    else:
        text = _word(value)
    if text and len(text) <= KEY_MAX and text.isprintable():
        return text
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[: KEY_MAX // 2])
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{shown}#{digest}"


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _outputs(facts: Facts, at_us: int) -> OutputsDecided:
    try:
        found = template.render_tree(facts.run.workflow.outputs, TaskNames(facts, None))
    except ExpressionError as error:
        return OutputsDecided(at_us, {}, str(error))
    size_bytes = len(json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size_bytes > MAX_OUTPUT_BYTES:
        return OutputsDecided(at_us, {}, f"{size_bytes} bytes; at most {MAX_OUTPUT_BYTES}: give a file's name instead")
    return OutputsDecided(at_us, found)


def _show(value: Any) -> str:
    """A value for a message, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
