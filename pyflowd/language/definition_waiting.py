"""Kinds of task that the engine itself carries out: `workflow`, `approval`, `wait`.

They start no process. Readers and builders only; it knows nothing of other workflows and of who may answer.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from pyflowd.language import fields
from pyflowd.language.document import Mapping, Sequence, quote
from pyflowd.language.fields import Report, Table, Wrong, read
from pyflowd.model.kinds import Approval, Call, OnTimeout, Wait

_MAX_CHOICES = 100
_CLOCK_TIME = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", re.ASCII)
ANY_TASK = "<any task>"
"""In `Use.also`: the expression is asked while others run, so it may speak of tasks that its own does not wait for."""
_WHO = re.compile(r"(?:user|group):[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?", re.ASCII)

# ---- workflow -------------------------------------------------------------------------------------------------------


def read_arguments(value: Any, report: Report) -> dict[str, Any]:
    """`with`: names and values, in whose texts expressions may stand."""
    found: dict[str, Any] = fields.template_tree(fields.mapping(value, report), report)
    return found


CALL = Table(
    "workflow",
    {
        "name": ("name", fields.name),
        "with": ("with", read_arguments),
        "wait": ("wait", fields.boolean),
        "idempotency_key": ("idempotency_key", fields.template),
    },
    meant={"params": "with", "inputs": "with", "args": "with", "key": "idempotency_key", "workflow": "name"},
)


def read_call(value: Any, report: Report) -> dict[str, Any]:
    """The name of a workflow, or a mapping that has it."""
    if value.__class__ is not Mapping:
        return {"name": fields.name(value, report)}
    if "name" not in value:
        raise Wrong("it has no name", "write it as in workflow: {name: load, with: {day: mon}}", code="missing")
    return read(CALL, value, report)


def build_call(value: dict[str, Any], task: dict[str, Any]) -> Call:
    """`with`, `wait` and `idempotency_key` may stand beside `workflow` as well."""
    found = dict(value)
    for key in ("with", "wait", "idempotency_key"):
        if key in task and key in found:
            raise Wrong(f"{key} stands both in workflow and beside it", "keep it in one place")
        if key in task:
            found[key] = task.pop(key)
    if not isinstance(found.get("wait", True), bool):
        raise Wrong("both workflow and wait: a task does one thing", "make two tasks of it", code="kind")
    return Call(
        workflow=found.get("name", "?"),
        arguments=found.get("with", {}),
        wait=found.get("wait", True),
        key=found.get("idempotency_key", ""),
    )


# ---- approval -------------------------------------------------------------------------------------------------------


def _read_who(value: Any, report: Report) -> str:
    checked = fields.text(value, report)
    if not _WHO.fullmatch(checked):
        raise Wrong(f"{quote(checked)} names nobody", "write user:NAME or group:NAME")
    return checked


def _read_choices(value: Any, report: Report) -> tuple[str, ...]:
    if value.__class__ is not Sequence or not value:
        raise Wrong(f"expected a list of words, found {fields.shape(value)}", "write it as in [staging, production]")
    if len(value) > _MAX_CHOICES:
        raise Wrong(f"{len(value)} choices; at most {_MAX_CHOICES}")
    choices: tuple[str, ...] = fields.one_or_more(_read_choice)(value, report)
    if len(set(choices)) < len(choices):
        raise Wrong("a choice is given twice", "keep one of them")
    return choices


def _read_choice(value: Any, report: Report) -> str:
    checked = fields.word(value, report)
    if len(checked) > 200 or not checked.isprintable():
        raise Wrong("a choice is one line of at most 200 characters")
    return checked


def _read_message(value: Any, report: Report) -> str:
    checked = fields.template(value, report)
    if not checked.strip():
        raise Wrong("the text is empty")
    return checked


APPROVAL = Table(
    "approval",
    {
        "message": ("message", _read_message),
        "allow": ("allow", fields.one_or_more(_read_who)),
        "forbid_requester": ("forbid_requester", fields.boolean),
        "timeout": ("timeout_s", fields.positive_duration_s),
        "on_timeout": ("on_timeout", fields.one_of(OnTimeout)),
        "choices": ("choices", _read_choices),
        "default": ("default", fields.word),
    },
    meant={
        "text": "message", "question": "message", "approvers": "allow", "who": "allow", "users": "allow",
        "options": "choices", "enum": "choices",
    },
)  # fmt: skip


def read_approval(value: Any, report: Report) -> dict[str, Any]:
    """A message, or a mapping that has one."""
    if value.__class__ is not Mapping:
        return {"message": _read_message(value, report)}
    if "message" not in value:
        raise Wrong("it has no message", 'write it as in approval: {message: "Roll out?"}', code="missing")
    found = read(APPROVAL, value, report)
    if found.get("on_timeout") in (OnTimeout.FAIL, OnTimeout.SKIP):
        raise Wrong(f"on_timeout: {found['on_timeout']} is for wait", "write reject or approve")
    if "on_timeout" in value and "timeout" not in value:
        mark = value.value_mark("on_timeout")
        report.add(mark, "no_effect", "on_timeout has no effect without a timeout", "add timeout: 4h", warning=True)
    default = found.get("default")
    if default is not None and default not in found.get("choices", (default,) if "choices" in value else ()):
        raise Wrong(f"the default {quote(default)} is none of the choices", "add it to choices, or leave default out")
    return found


def build_approval(value: dict[str, Any], task: dict[str, Any]) -> Approval:
    return Approval(**{"message": "?", **value})  # a wrong message is reported


# ---- wait -----------------------------------------------------------------------------------------------------------


def _read_until(value: Any, report: Report) -> str:
    """A time with its offset, a time of the day, or a template of either."""
    checked = fields.template(value, report)
    if "${{" in checked or _CLOCK_TIME.fullmatch(checked):
        return checked
    try:
        moment = datetime.fromisoformat(checked)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or len(checked) < len("2026-01-01T00:00Z"):
        raise Wrong(f"{quote(checked)} is no time", 'write it as in "22:30" or "2026-10-01T06:00:00+02:00"')
    return checked


WAIT = Table(
    "wait",
    {
        "for": ("for_s", fields.positive_duration_s),
        "until": ("until", _read_until),
        "condition": ("condition", lambda value, report: fields.condition(value, report, frozenset({ANY_TASK}))),
        "timeout": ("timeout_s", fields.positive_duration_s),
        "on_timeout": ("on_timeout", fields.one_of(OnTimeout)),
    },
    meant={"duration": "for", "seconds": "for", "if": "condition", "while": "condition", "time": "until"},
)
_SORTS = ("for", "until", "condition")


def read_wait(value: Any, report: Report) -> Any:
    """A duration, or a mapping with one of `for`, `until`, `condition`; a boolean is an option of `workflow`."""
    if value.__class__ is bool:
        return value
    if value.__class__ is not Mapping:
        if value.__class__ is str and "${{" in value:
            raise Wrong("a duration is written out", "write wait: {until: ...} for a computed time", code="expression")
        return {"for_s": fields.positive_duration_s(value, report)}
    if sum(key in value for key in _SORTS) != 1:
        read(WAIT, value, report)  # for what else is wrong
        raise Wrong("it needs one of for, until and condition", "write it as in wait: {for: 10m}")
    found = read(WAIT, value, report)
    if found.get("on_timeout") in (OnTimeout.REJECT, OnTimeout.APPROVE):
        raise Wrong(f"on_timeout: {found['on_timeout']} is for approval", "write fail or skip")
    return found


def build_wait(value: dict[str, Any], task: dict[str, Any]) -> Wait:
    """`timeout` may stand in `wait` as well: it is the task's own."""
    found = dict(value)
    if "timeout_s" in found:
        task["timeout_s"] = found.pop("timeout_s")
    return Wait(**found)


def is_option_of_call(mapping: Mapping) -> bool:
    """Whether `wait` of a task says if it waits for the workflow that it calls."""
    return "workflow" in mapping and mapping.get("wait").__class__ is bool
