"""What the engine asks to be decided: conditions, item lists, keys of a cache, further passes, outputs of a run.

Evaluates expressions, and says what came of them as an event. Pure, but that it asks `recall` for an earlier success.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from pyflowd.base.item_key import KEY_MAX, default_key
from pyflowd.base.output_file import MAX_BYTES as MAX_OUTPUT_BYTES
from pyflowd.engine.state import Decide, Question, TaskRun
from pyflowd.events import CacheDecided, ConditionDecided, Expanded, OutputsDecided, RepeatDecided
from pyflowd.expressions import expression, template
from pyflowd.expressions.expression_values import ExpressionError, encoded
from pyflowd.runtime.cache import KEY_MAX as CACHE_KEY_MAX
from pyflowd.runtime.cache import Recalled, Sought
from pyflowd.runtime.context import Facts, TaskNames

MAX_ITEMS = 10_000
"""Rule F1."""
_SHOWN = 200

Decision = ConditionDecided | Expanded | CacheDecided | RepeatDecided | OutputsDecided
Look = Callable[[Sought, bool], Recalled]
"""Whether there is an earlier success; with False only what a new one is to be kept under."""


def decide(facts: Facts, asked: Decide, at_us: int, recall: Look) -> Decision:
    """The answer to one question of the engine. Never raises: an expression without a value is an answer too."""
    if asked.question is Question.OUTPUTS:
        return _outputs(facts, at_us)
    task = facts.run.tasks[asked.task]
    match asked.question:
        case Question.CONDITION:
            return _condition(facts, task, at_us)
        case Question.ITEMS:
            return _items(facts, task, at_us)
        case Question.CACHE:
            return _cache(facts, task, at_us, recall)
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
    given = template.render_tree(fan_out.items, TaskNames(facts, task))
    values = _list(given)
    if len(values) > MAX_ITEMS:
        raise ExpressionError(f"{len(values)} items; at most {MAX_ITEMS}: put several into one, as with chunk(list, n)")
    found: dict[str, int] = {}
    for position, value in enumerate(values):
        if fan_out.key:
            key = _key(facts, task, fan_out.key, value, position)
        else:
            key = default_key(value["key"] if isinstance(given, dict) else value)
        if key in found:
            both = f"items {found[key] + 1} and {position + 1} of the list"
            raise ExpressionError(f"{both} have the same key, {_show(key)}; give each its own with key:")
        found[key] = position
    return list(zip(found, values, strict=True))


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [{"key": key, "value": entry} for key, entry in value.items()]
    raise ExpressionError(f"expected a list, got {_show(value)}")


def _key(facts: Facts, task: TaskRun, text: str, value: Any, position: int) -> str:
    key = template.render_text(text, TaskNames(facts, task, (value, position)))
    if not key or len(key) > KEY_MAX or not key.isprintable():
        raise ExpressionError(f"item {position + 1}: a key is printable text of 1 to {KEY_MAX} characters")
    return key


def _cache(facts: Facts, task: TaskRun, at_us: int, recall: Look) -> CacheDecided:
    try:
        key = _cache_key(facts, task)
    except ExpressionError as error:
        return CacheDecided(task.name, at_us, error=str(error))
    item = task.item.key if task.item else ""
    found = recall(Sought(facts.run.workflow, task.definition, item, key, at_us), not facts.run.kept.no_cache)
    return CacheDecided(
        task.name, at_us, key, found.recipe, found.run, found.made_us, found.outputs, found.artifacts, found.why
    )


def _cache_key(facts: Facts, task: TaskRun) -> str:
    cache = task.definition.cache
    assert cache is not None
    key = template.render_text(cache.key, TaskNames(facts, task))
    encoded(key)  # raises where SQLite could not take it
    if not key.strip():
        raise ExpressionError("its key is empty")
    if len(key) > CACHE_KEY_MAX:
        raise ExpressionError(f"its key has {len(key)} characters; at most {CACHE_KEY_MAX}: give its hash(...)")
    return key


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
