"""Tasks of a definition: the keys a task may have, the kinds of task, and how `defaults` are merged in.

Each kind is found by one key of the task (`KINDS`): a struct in `model`, a reader and a builder here, a runner
elsewhere. It knows nothing of the other tasks: how they hang together is in `graph`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pyflowd import fields
from pyflowd.document import Mapping, Sequence
from pyflowd.fields import Report, Table, Wrong, read
from pyflowd.model import Argv, Backoff, Jitter, Kind, Leftover, OnLost, Retry, Shell, Task, TriggerRule

MAX_COMMAND_BYTES = 1024 * 1024
"""Command and variables of one task together: the kernel gives them 2 MiB, params and the user's own come on top."""

# ---- Retry ----------------------------------------------------------------------------------------------------------

_code = fields.integer_from(0, 255)
_failure_code = fields.integer_from(1, 255)
_attempts = fields.integer_from(1, 10_000)

_RETRY = Table(
    "retry",
    {
        "attempts": ("attempts", _attempts),
        "delay": ("delay_s", fields.duration_s),
        "backoff": ("backoff", fields.one_of(Backoff)),
        "factor": ("factor", fields.number_from(1, 100)),
        "max_delay": ("max_delay_s", fields.duration_s),
        "jitter": ("jitter", fields.one_of(Jitter)),
        "max_elapsed": ("max_elapsed_s", fields.positive_duration_s),
        "on_exit": ("on_exit", fields.one_or_more(_failure_code)),
        "on_lost": ("on_lost", fields.one_of(OnLost)),
    },
    later=frozenset({"on_status"}),
    meant={"max_attempts": "attempts", "limit": "attempts", "retries": "attempts", "interval": "delay"},
)


def _read_retry(value: Any, report: Report) -> dict[str, Any]:
    """The fields that are given: what is not comes from `defaults`. A number is short for `attempts`."""
    if value.__class__ is Mapping:
        return read(_RETRY, value, report)
    if value.__class__ is not int:
        raise Wrong(f"expected a number of attempts or a mapping, found {fields.shape(value)}")
    return {"attempts": _attempts(value, report)}


# ---- Kinds of task --------------------------------------------------------------------------------------------------


class KindOfTask(NamedTuple):
    """How the value of its key is read, and how a struct of `model` is made of it and of the task's other fields."""

    read: fields.Reader
    build: Callable[[Any, dict[str, Any]], Kind]


def _read_run(value: Any, report: Report) -> str:
    if value.__class__ is not str:
        fix = "put it in quotes, or write it below run: |" if not isinstance(value, list) else "a list goes under argv"
        raise Wrong(f"expected shell text, found {fields.shape(value)}", fix)
    fields.literal(value)
    if not value.strip():
        raise Wrong("the text is empty")
    return fields.bounded(value)


def _build_run(text: str, task: dict[str, Any]) -> Shell:
    return Shell(text=text, shell=task.pop("shell", ()))


def _read_argv(value: Any, report: Report) -> tuple[str, ...]:
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
            words.append(fields.value_text(item, report))
            fields.warn_of_number(item, words[-1], mark, report)
        except Wrong as wrong:
            report.wrong(mark, "argv", wrong)
            words.append("?")
    if not words[0].strip():
        raise Wrong("the program's name is empty")
    return tuple(words)


def _build_argv(words: tuple[str, ...], task: dict[str, Any]) -> Argv:
    return Argv(argv=words)


KINDS: dict[str, KindOfTask] = {
    "run": KindOfTask(_read_run, _build_run),
    "argv": KindOfTask(_read_argv, _build_argv),
}
_KINDS_LATER = frozenset({"python", "http", "file", "ssh", "workflow", "approval", "wait", "notify", "uses", "steps"})


# ---- Keys -----------------------------------------------------------------------------------------------------------

_LOG = Table("log", {"max_bytes": ("log_max_bytes", fields.file_size_bytes)}, later=frozenset({"journal"}))

_COMMON: dict[str, tuple[str, fields.Reader]] = {
    "retry": ("retry", _read_retry),
    "timeout": ("timeout_s", fields.positive_duration_s),
    "kill_grace": ("kill_grace_s", fields.duration_s),
    "leftover": ("leftover", fields.one_of(Leftover)),
    "continue_on_error": ("continue_on_error", fields.boolean),
    "success_codes": ("success_codes", fields.one_or_more(_code)),
    "skip_codes": ("skip_codes", fields.one_or_more(_failure_code)),
    "env": ("env", fields.env),
    "cwd": ("cwd", fields.path),
    "shell": ("shell", fields.shell),
    "user": ("user", fields.user),
    "log": ("log", lambda value, report: read(_LOG, fields.mapping(value, report), report)),
}
"""What `defaults` and a task have in common."""

DEFAULTS = Table(
    "defaults", _COMMON, later=frozenset({"resources", "on_error", "pool", "locks", "priority", "outputs"})
)

_TASK = Table(
    "a task",
    {
        **{key: (key, kind.read) for key, kind in KINDS.items()},
        "needs": ("needs", fields.one_or_more(fields.name)),
        "trigger_rule": ("trigger_rule", fields.one_of(TriggerRule, {"always": "all_done"})),
        "stdin": ("stdin", lambda value, report: fields.bounded(fields.text(value, report), fields.MAX_STDIN_BYTES)),
        **_COMMON,
    },
    later=_KINDS_LATER
    | {
        "if", "for_each", "as", "key", "max_parallel", "max_failures", "fail_fast", "on_empty", "matrix", "repeat",
        "on_error", "credentials", "resources", "outputs", "capture", "artifacts", "undo", "after", "cache", "pool",
        "pools", "locks", "priority", "with", "interpreter", "notify", "template",
    },
    meant={
        "command": "run", "cmd": "run", "script": "run", "exec": "argv", "args": "argv",
        "depends": "needs", "depends_on": "needs", "requires": "needs", "dependencies": "needs",
        "environment": "env", "retries": "retry", "workdir": "cwd", "working_dir": "cwd", "working_directory": "cwd",
        "dir": "cwd", "allow_failure": "continue_on_error", "ignore_errors": "continue_on_error",
        "when": "trigger_rule",
    },
)  # fmt: skip


def read_defaults(value: Any, report: Report) -> dict[str, Any]:
    """The fields of `defaults`: those of a task, with `retry` still open for what a task adds."""
    return read(DEFAULTS, fields.mapping(value, report), report)


def read_task(name: str, mapping: Mapping, defaults: dict[str, Any], report: Report) -> Task | None:
    """One task, `defaults` merged in; its `needs` are judged with all others. None: the report says what is wrong.

    Maps merge, lists and plain values replace: `retry: 5` beside a default delay keeps the delay.
    """
    own = read(_TASK, mapping, report)
    key = _kind_key(mapping)
    if key not in own:
        return None  # its value is wrong, and reported
    task = {**defaults, **own}
    if "retry" in task:  # where it is not, the model's own default is shared
        task["retry"] = Retry(**{**defaults.get("retry", {}), **own.get("retry", {})})
    if "log" in task:
        task.update(task.pop("log"))
    task["env"] = own.get("env", {})
    task["needs"] = tuple(dict.fromkeys(own.get("needs", ())))
    if "shell" in own and key != "run":
        raise Wrong(f"a task with {key} has no shell", "leave shell out, or use run")
    kind = KINDS[key].build(task.pop(key), task)
    task.pop("shell", None)
    _judge(mapping, own, task, report)
    return Task(name=name, kind=kind, **task)


def _kind_key(mapping: Mapping) -> str:
    """The one key that says what kind of task it is. Raises Wrong."""
    found = [key for key in mapping if key in KINDS or key in _KINDS_LATER]
    if not found:
        raise Wrong("a task needs something to do", f"give it one of {', '.join(KINDS)}", code="kind")
    if len(found) > 1:
        raise Wrong(f"both {found[0]} and {found[1]}: a task does one thing", "make two tasks of it", code="kind")
    return found[0]


def _judge(mapping: Mapping, own: dict[str, Any], task: dict[str, Any], report: Report) -> None:
    """What is wrong, or without effect, about keys together."""
    both = set(task["skip_codes"]).intersection(task.get("success_codes", ())) if "skip_codes" in task else ()
    if both and ("skip_codes" in own or "success_codes" in own):
        mark = mapping.value_mark("skip_codes" if "skip_codes" in own else "success_codes")
        report.add(mark, "value", f"exit code {min(both)} is both a success and a skip", "keep it in one list")
    retry = own.get("retry")
    if retry and task["retry"].attempts == 1:
        message = "retry has no effect without attempts of 2 or more"
        report.add(mapping.value_mark("retry"), "no_effect", message, "add attempts: 3", warning=True)
    if "trigger_rule" in own and not own.get("needs"):
        message = "trigger_rule has no effect on a task that needs none"
        report.add(mapping.value_mark("trigger_rule"), "no_effect", message, "leave it out", warning=True)
