"""The kinds of task: by which key each is found, who reads its value, and which other keys mean nothing to it.

A kind is a struct in `model`, a reader and a builder in the module of its sort, a runner elsewhere. It knows nothing
of the keys that all tasks have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pyflowd.language import fields
from pyflowd.language.definition_http import build_http, read_http
from pyflowd.language.definition_notify import build_notify, read_notify
from pyflowd.language.definition_process import build_file, build_python, build_ssh, read_file, read_python, read_ssh
from pyflowd.language.definition_reboot import build_reboot, read_reboot
from pyflowd.language.definition_uses import build_uses, read_uses
from pyflowd.language.definition_waiting import (
    build_approval,
    build_call,
    build_wait,
    is_option_of_call,
    read_approval,
    read_call,
    read_wait,
)
from pyflowd.language.document import Mapping, Sequence
from pyflowd.language.fields import Report, Wrong
from pyflowd.model.kinds import Argv, Kind, Shell


class KindOfTask(NamedTuple):
    """How the value of its key is read, and how a struct of `model` is made of it and of the task's other fields."""

    read: fields.Reader
    build: Callable[[Any, dict[str, Any]], Kind]
    refuses: frozenset[str] = frozenset()
    """Keys of a task that mean nothing to it."""


# ---- run and argv ---------------------------------------------------------------------------------------------------


def read_run(value: Any, report: Report) -> str:
    if value.__class__ is not str:
        fix = "put it in quotes, or write it below run: |" if not isinstance(value, list) else "a list goes under argv"
        raise Wrong(f"expected shell text, found {fields.shape(value)}", fix)
    fields.literal(value)
    if not value.strip():
        raise Wrong("the text is empty")
    return fields.bounded(value)


def build_run(text: str, task: dict[str, Any]) -> Shell:
    return Shell(text=text, shell=task.pop("shell", ()))


def read_argv(value: Any, report: Report) -> tuple[str, ...]:
    if value.__class__ is not Sequence or not value:
        fix = "write it as in [program, argument], or use run for a line of shell"
        raise Wrong(f"expected a list of a program and its arguments, found {fields.shape(value)}", fix)
    words: list[str] = []
    for item, mark in zip(value, value.marks, strict=True):
        try:
            if isinstance(item, (Mapping, Sequence)):
                raise Wrong(f"expected text, found {fields.shape(item)}")
            if not words and item.__class__ is str:
                fields.literal(item)
            words.append(fields.value_template(item, report))
            fields.warn_of_number(item, words[-1], mark, report)
        except Wrong as wrong:
            report.wrong(mark, "argv", wrong)
            words.append("?")
        if report.unplaced:
            report.place_uses("argv", mark)
    if not words[0].strip():
        raise Wrong("the program's name is empty")
    return tuple(words)


def build_argv(words: tuple[str, ...], task: dict[str, Any]) -> Argv:
    return Argv(argv=words)


# ---- The table ------------------------------------------------------------------------------------------------------

_OF_PROCESSES = frozenset(
    {
        "env", "cwd", "user", "stdin", "shell", "kill_grace", "leftover", "success_codes", "skip_codes", "capture",
        "artifacts", "credentials", "resources",
    }
)  # fmt: skip
_OF_CALLS = frozenset({"with", "idempotency_key"})
_OF_FAN_OUT = frozenset(
    {"for_each", "matrix", "as", "key", "max_parallel", "max_failures", "fail_fast", "on_empty", "repeat"}
)
_OF_WORK = frozenset({"retry", "log", "outputs", "cache"})
"""Of what may go wrong and be tried again, and says something."""
_NOT_COMMAND = _OF_CALLS | {"interpreter"}
_OF_PLACES = frozenset({"locks", "pool"})
"""What waits for people or time holds nothing (rule R7)."""
_NOT_REBOOT = (_OF_PROCESSES - {"env", "cwd", "user"}) | _NOT_COMMAND | _OF_FAN_OUT | {
    "retry", "timeout", "outputs", "cache", "undo",
}  # fmt: skip
"""Nothing brings about a second restart by itself."""
_NOT_WORK = _OF_PROCESSES | _NOT_COMMAND | _OF_WORK | _OF_PLACES

KINDS: dict[str, KindOfTask] = {
    "run": KindOfTask(read_run, build_run, _NOT_COMMAND),
    "argv": KindOfTask(read_argv, build_argv, _NOT_COMMAND | {"shell"}),
    "python": KindOfTask(read_python, build_python, frozenset({"stdin", "shell", "idempotency_key"})),
    "file": KindOfTask(read_file, build_file, _NOT_COMMAND | {"stdin", "shell", "capture"}),
    "ssh": KindOfTask(read_ssh, build_ssh, _NOT_COMMAND | {"stdin"}),
    "uses": KindOfTask(read_uses, build_uses, frozenset({"stdin", "shell", "idempotency_key", "interpreter"})),
    "reboot": KindOfTask(read_reboot, build_reboot, _NOT_REBOOT),
    "http": KindOfTask(read_http, build_http, _OF_PROCESSES | _NOT_COMMAND),
    "workflow": KindOfTask(read_call, build_call, (_OF_PROCESSES | {"interpreter", "log"})),
    "approval": KindOfTask(read_approval, build_approval, _NOT_WORK | _OF_FAN_OUT | {"timeout", "undo"}),
    "wait": KindOfTask(read_wait, build_wait, _NOT_WORK | _OF_FAN_OUT | {"undo"}),
    "notify": KindOfTask(read_notify, build_notify, _NOT_WORK | {"timeout", "repeat"}),
}
WITHOUT_PROCESS = frozenset(key for key, kind in KINDS.items() if "success_codes" in kind.refuses)
LATER = frozenset({"steps"})

_FIXES = {
    ("approval", "timeout"): "put it in approval: {timeout: 4h}",
    ("http", "idempotency_key"): "put it in http:",
    ("http", "env"): "write the expression where its value is wanted",
    ("approval", "for_each"): "call a workflow with an approval for each",
    ("argv", "shell"): "leave shell out, or use run",
    ("python", "stdin"): "pass values under with:",
    ("ssh", "stdin"): "pass values under env:",
    ("reboot", "timeout"): "put it in reboot: {within: 10m}",
    ("reboot", "retry"): "leave it out: a host is never restarted twice by itself",
    ("uses", "stdin"): "pass values under with:",
}


def kind_key(mapping: Mapping) -> str:
    """The one key that says what kind of task it is. Raises Wrong."""
    found = [key for key in mapping if key in KINDS or key in LATER]
    if not found:
        raise Wrong("a task needs something to do", f"give it one of {', '.join(KINDS)}", code="kind")
    if len(found) > 1:
        if "wait" in found and is_option_of_call(mapping):
            found.remove("wait")
        if len(found) > 1:
            raise Wrong(f"both {found[0]} and {found[1]}: a task does one thing", "make two tasks of it", code="kind")
    if found[0] == "wait" and mapping["wait"].__class__ is bool:
        raise Wrong("wait: true or false is for a task with workflow", "write it as in wait: 10m", code="kind")
    return found[0]


def check_keys(key: str, mapping: Mapping, report: Report) -> None:
    """Report the keys of a task that mean nothing to its kind."""
    for refused in mapping.keys() & KINDS[key].refuses:
        fix = _FIXES.get((key, refused), f"leave {refused} out")
        report.add(mapping.key_mark(refused), "no_meaning", f"a task with {key} has no {refused}", fix)
