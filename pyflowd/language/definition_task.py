"""Tasks of a definition: the keys a task may have, how `defaults` are merged in, and the tasks that belong to one.

The kinds of task are in `definition_kinds`. It knows nothing of how tasks hang together (`definition_needs`), and of
what their expressions name (`definition_references`).
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from pyflowd.language import definition_fan_out, definition_outputs, fields
from pyflowd.language.definition_cache import judge_cache, read_cache
from pyflowd.language.definition_fan_out import build_fan_out, read_repeat
from pyflowd.language.definition_kinds import KINDS, LATER, WITHOUT_PROCESS, check_keys, kind_key
from pyflowd.language.definition_needs import Needs, check_needs
from pyflowd.language.definition_places import read_locks, read_pool, read_priority
from pyflowd.language.definition_references import Place, Scope, secret_variables
from pyflowd.language.definition_resources import read_resources
from pyflowd.language.definition_secrets import read_credentials
from pyflowd.language.definition_waiting import read_arguments
from pyflowd.language.document import Mapping, quote
from pyflowd.language.fields import Report, Table, Wrong, read
from pyflowd.model.kinds import ProcessKind, Shell
from pyflowd.model.states import is_name
from pyflowd.model.workflow import (
    Backoff,
    FanOut,
    Jitter,
    Journal,
    Leftover,
    OnLost,
    Resources,
    Retry,
    Task,
    TriggerRule,
    UndoAfter,
)

# ---- Retry ----------------------------------------------------------------------------------------------------------

_code = fields.integer_from(0, 255)
_failure_code = fields.integer_from(1, 255)
_attempts = fields.integer_from(1, 10_000)


def _read_respect(value: Any, report: Report) -> bool:
    if not fields.boolean(value, report):
        raise Wrong("Retry-After is always respected", "leave it out")
    return True


RETRY = Table(
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
        "on_status": ("on_status", fields.one_or_more(fields.integer_from(100, 599))),
        "on_lost": ("on_lost", fields.one_of(OnLost)),
        "respect_retry_after": ("respect_retry_after", _read_respect),
    },
    meant={"max_attempts": "attempts", "limit": "attempts", "retries": "attempts", "interval": "delay"},
)


def _read_retry(value: Any, report: Report) -> dict[str, Any]:
    """The fields that are given: what is not comes from `defaults`. A number is short for `attempts`."""
    if value.__class__ is Mapping:
        found = read(RETRY, value, report)
        found.pop("respect_retry_after", None)
        return found
    if value.__class__ is not int:
        raise Wrong(f"expected a number of attempts or a mapping, found {fields.shape(value)}")
    return {"attempts": _attempts(value, report)}


# ---- Keys -----------------------------------------------------------------------------------------------------------

LOG = Table(
    "log", {"max_bytes": ("log_max_bytes", fields.file_size_bytes), "journal": ("journal", fields.one_of(Journal))}
)

_COMMON: dict[str, tuple[str, fields.Reader]] = {
    "retry": ("retry", _read_retry),
    "timeout": ("timeout_s", fields.positive_duration_s),
    "kill_grace": ("kill_grace_s", fields.duration_s),
    "leftover": ("leftover", fields.one_of(Leftover)),
    "continue_on_error": ("continue_on_error", fields.boolean),
    "success_codes": ("success_codes", fields.one_or_more(_code)),
    "skip_codes": ("skip_codes", fields.one_or_more(_failure_code)),
    "env": ("env", fields.with_secrets(fields.env)),
    "cwd": ("cwd", fields.path_template),
    "shell": ("shell", fields.shell),
    "user": ("user", fields.user),
    "log": ("log", lambda value, report: read(LOG, fields.mapping(value, report), report)),
    "locks": ("locks", read_locks),
    "pool": ("pools", read_pool),
    "priority": ("priority", read_priority),
    "credentials": ("credentials", read_credentials),
    "resources": ("resources", read_resources),
}
"""What `defaults` and a task have in common."""

DEFAULTS = Table("defaults", _COMMON, later=frozenset({"on_error", "outputs"}))


def _raw(value: Any, report: Report) -> Any:
    """Read where the task that it belongs to is known."""
    return value


def _read_stdin(value: Any, report: Report) -> str:
    return fields.bounded(fields.template(value, report), fields.MAX_STDIN_BYTES)


def _read_interpreter(value: Any, report: Report) -> str:
    checked = fields.text(value, report)
    if not checked.startswith("/"):
        raise Wrong(f"{quote(checked)} is no absolute path", "write it as in /srv/app/venv/bin/python")
    return fields.bounded(checked, fields.MAX_PATH_BYTES)


TASK = Table(
    "a task",
    {
        **{key: (key, kind.read) for key, kind in KINDS.items()},
        "needs": ("needs", fields.one_or_more(fields.name)),
        "trigger_rule": ("trigger_rule", fields.one_of(TriggerRule, {"always": "all_done"})),
        "if": ("condition", fields.condition),
        "stdin": ("stdin", _read_stdin),
        "with": ("with", read_arguments),
        "interpreter": ("interpreter", _read_interpreter),
        "idempotency_key": ("idempotency_key", fields.template),
        "repeat": ("repeat", read_repeat),
        "cache": ("cache", read_cache),
        **definition_fan_out.KEYS,
        **definition_outputs.KEYS,
        "undo": ("undo", _raw),
        "after": ("undo_after", fields.one_of(UndoAfter)),
        "on_error": ("on_error", _raw),
        **_COMMON,
    },
    later=LATER | {"template", "secrets"},
    meant={
        "command": "run", "cmd": "run", "script": "run", "exec": "argv", "args": "argv",
        "depends": "needs", "depends_on": "needs", "requires": "needs", "dependencies": "needs",
        "environment": "env", "retries": "retry", "workdir": "cwd", "working_dir": "cwd", "working_directory": "cwd",
        "dir": "cwd", "allow_failure": "continue_on_error", "ignore_errors": "continue_on_error",
        "when": "if", "condition": "if", "strategy": "matrix", "foreach": "for_each", "loop": "for_each",
        "with_items": "for_each", "concurrency": "max_parallel", "on_failure": "on_error", "rescue": "on_error",
        "pools": "pool", "lock": "locks", "mutex": "locks",
        "compensate": "undo", "rollback": "undo", "until": "repeat", "while": "repeat", "sleep": "wait",
        "approve": "approval", "inputs": "with", "params": "with", "sub_workflow": "workflow", "call": "workflow",
    },
)  # fmt: skip

TASK_WITH_PLUGIN = TASK._replace(keys={**TASK.keys, "with": ("with", fields.with_secrets(read_arguments))})
"""A plugin gets its inputs on standard input, so that they may be secrets."""
_SCOPED = frozenset({"for_each", "matrix", "undo", "on_error"})
"""Keys with which a task must know what it sees, even if it asks for nothing itself."""
_FAN_OUT_FIELDS = frozenset(field for field, _ in definition_fan_out.KEYS.values())
MAX_ALL_ITEMS = 100_000
NOT_HERE = {
    Place.TASK: frozenset({"after"}),
    Place.HANDLER: frozenset({"after", "undo"}),
    Place.ON_ERROR: frozenset({"after", "undo", "on_error"}),
    Place.UNDO: frozenset({"undo", "on_error", "cache", "needs", "trigger_rule", *definition_fan_out.KEYS}),
}
"""Keys without a meaning for a task in such a place."""


class Reading:
    """What goes along while the tasks of a file are read."""

    def __init__(self, defaults: dict[str, Any], report: Report) -> None:
        self.defaults = defaults
        self.report = report
        self.scopes: list[Scope] = []
        self.sections: dict[str, Needs] = {}
        self.belonging: list[tuple[str, int]] = []
        """Names, and where, of all tasks but those of `tasks`."""
        self.items = 0
        """Of all fan-outs whose items are written out."""
        self._defaults_of: dict[str, dict[str, Any]] = {}

    def defaults_of(self, kind: str) -> dict[str, Any]:
        """Those that mean something to a kind of task."""
        found = self._defaults_of.get(kind)
        if found is None:
            refused = {_COMMON[key][0] for key in KINDS[kind].refuses if key in _COMMON}
            found = {field: value for field, value in self.defaults.items() if field not in refused}
            self._defaults_of[kind] = found
        return found


def read_defaults(value: Any, report: Report) -> dict[str, Any]:
    """The fields of `defaults`: those of a task, with `retry` still open for what a task adds."""
    return read(DEFAULTS, fields.mapping(value, report), report)


# ---- A task ---------------------------------------------------------------------------------------------------------


def read_task(name: str, mapping: Mapping, scope: Scope, reading: Reading) -> Task | None:
    """One task, `defaults` merged in; its `needs` are judged with all others. None: the report says what is wrong.

    `scope` says where it stands. Maps merge, lists and plain values replace: `retry: 5` beside a default delay keeps
    the delay.
    """
    report = reading.report
    own = read(TASK_WITH_PLUGIN if "uses" in mapping else TASK, mapping, report)
    if report.uses or not _SCOPED.isdisjoint(mapping):
        scope = _scope(name, mapping, own, scope, reading)
    if scope.place is not Place.TASK or "after" in mapping:
        _check_place(mapping, scope.place, report)
    key = kind_key(mapping)
    belonging = _read_belonging(name, mapping, scope, own, reading) if scope.task else None
    if key not in own:
        return None  # its value is wrong, and reported
    task = Task(name=name, **_merged(key, mapping, own, reading))
    return task if belonging is None else _with_belonging(task, mapping, *belonging)


def _scope(name: str, mapping: Mapping, own: dict[str, Any], section: Scope, reading: Reading) -> Scope:
    """What the expressions of a task see; they are taken out of the report."""
    env = frozenset(own["env"]) if "env" in own else frozenset() if "env" not in mapping else None
    if section.place is Place.UNDO and section.owner is not None and env is not None:
        env = env | section.owner.env if section.owner.env is not None else None
    scope = section._replace(
        task=name,
        uses=reading.report.take_uses(),
        env=env,
        variables=section.variables | _variables(mapping, own),
        secret_env=secret_variables(own["env"]) if "env" in own else frozenset(),
    )
    reading.scopes.append(scope)
    return scope


def _variables(mapping: Mapping, own: dict[str, Any]) -> frozenset[str]:
    """What the items of a fan-out are called in expressions."""
    if "matrix" in mapping:
        return frozenset({definition_fan_out.MATRIX, "index"})
    return frozenset({own.get("as", "item"), "index"}) if "for_each" in mapping else frozenset()


def _check_place(mapping: Mapping, place: Place, report: Report) -> None:
    for key in mapping.keys() & NOT_HERE[place]:
        message = f"{key} has no meaning here"
        fix = "it says after what the task inside undo runs" if key == "after" else "leave it out"
        report.add(mapping.key_mark(key), "place", message, fix)


def _merged(key: str, mapping: Mapping, own: dict[str, Any], reading: Reading) -> dict[str, Any]:
    """The fields of `Task` but its name and the tasks that belong to it."""
    kind, defaults, report = KINDS[key], reading.defaults_of(key), reading.report
    if not kind.refuses.isdisjoint(mapping):
        check_keys(key, mapping, report)
    task = {**defaults, **own}
    if "retry" in task:  # where it is not, the model's own default is shared
        task["retry"] = Retry(**{**defaults.get("retry", {}), **own.get("retry", {})})
    if "resources" in task:
        task["resources"] = Resources(**{**defaults.get("resources", {}), **own.get("resources", {})})
    if "log" in task:
        task.update(task.pop("log"))
    task["env"] = own.get("env", {})
    task["needs"] = tuple(dict.fromkeys(own.get("needs", ())))
    if not _FAN_OUT_FIELDS.isdisjoint(own):
        task["fan_out"] = build_fan_out(mapping, task, report)
    task["kind"] = kind.build(task.pop(key), task)
    for refused in kind.refuses.intersection(task):  # reported
        task.pop(refused)
    if "shell" in task:
        task.pop("shell")
    _judge(key, mapping, own, task, report)
    return task


def _judge(key: str, mapping: Mapping, own: dict[str, Any], task: dict[str, Any], report: Report) -> None:
    """What is wrong, or without effect, about keys together."""
    both = set(task["skip_codes"]).intersection(task.get("success_codes", ())) if "skip_codes" in task else ()
    if both and ("skip_codes" in own or "success_codes" in own):
        mark = mapping.value_mark("skip_codes" if "skip_codes" in own else "success_codes")
        report.add(mark, "value", f"exit code {min(both)} is both a success and a skip", "keep it in one list")
    if "retry" in own and "retry" in task:
        _judge_retry(key, mapping, own["retry"], task["retry"], report)
    if "resources" in own and key == "ssh":
        message = "resources holds for the ssh program on this host, not for what runs on the other one"
        report.add(mapping.value_mark("resources"), "no_effect", message, "limit it there", warning=True)
    if "cache" in mapping:
        judge_cache(mapping, task["kind"], report)
    if "trigger_rule" in own and not own.get("needs"):
        message = "trigger_rule has no effect on a task that needs none"
        report.add(mapping.value_mark("trigger_rule"), "no_effect", message, "leave it out", warning=True)


def _judge_retry(key: str, mapping: Mapping, own: dict[str, Any], retry: Retry, report: Report) -> None:
    def warn(message: str, fix: str) -> None:
        report.add(mapping.value_mark("retry"), "no_effect", message, fix, warning=True)

    if own and retry.attempts == 1 and "attempts" not in own:  # `retry: 1` takes back what `defaults` give
        warn("retry has no effect without attempts of 2 or more", "add attempts: 3")
    if "on_status" in own and key != "http":
        warn(f"on_status has no effect on a task with {key}", "write on_exit for exit codes")
    if "on_exit" in own and key in WITHOUT_PROCESS:
        warn(f"on_exit has no effect on a task with {key}", "leave it out")


# ---- Tasks that belong to one ---------------------------------------------------------------------------------------


def _read_belonging(
    name: str, mapping: Mapping, scope: Scope, own: dict[str, Any], reading: Reading
) -> tuple[Task | None, tuple[Task, ...]]:
    """`undo` and `on_error` of a task, which are taken out of `own`."""
    written, on_error = own.pop("undo", None), own.pop("on_error", None)
    undo: Task | None = None
    handlers: tuple[Task, ...] = ()
    if written is not None and scope.place is Place.TASK:
        try:
            undo = _read_undo(name, fields.mapping(written, reading.report), scope, reading)
        except Wrong as wrong:
            reading.report.wrong(mapping.value_mark("undo"), "undo", wrong)
    if on_error is not None and scope.place in (Place.TASK, Place.HANDLER):
        section = Scope(Place.ON_ERROR, [], f"{name}.on_error", owner=scope)
        handlers = read_tasks("on_error", on_error, mapping.value_mark("on_error"), section, reading)
    return undo, handlers


def _read_undo(name: str, mapping: Mapping, scope: Scope, reading: Reading) -> Task | None:
    own_name = f"{name}.undo"
    if not is_name(own_name):
        raise Wrong(f"{quote(own_name)}, as it would be called, is too long for a name", f"shorten {name}", code="name")
    reading.belonging.append((own_name, mapping.marks[0] if mapping else 0))
    return read_task(own_name, mapping, Scope(Place.UNDO, [], owner=scope, variables=scope.variables), reading)


def _with_belonging(task: Task, mapping: Mapping, undo: Task | None, on_error: tuple[Task, ...]) -> Task:
    """What takes a task back is run as the task was: in its folder, as its user, with its variables below its own."""
    if undo is None:
        return replace(task, on_error=on_error)
    after = undo.undo_after
    changes: dict[str, Any] = {"undo_after": UndoAfter.SUCCEEDED}
    if isinstance(undo.kind, ProcessKind) and isinstance(task.kind, ProcessKind):
        written = mapping["undo"]
        changes["env"] = {**task.env, **undo.env}
        changes.update({key: getattr(task, key) for key in ("cwd", "user") if key not in written})
        if isinstance(undo.kind, Shell) and isinstance(task.kind, Shell) and "shell" not in written:
            changes["kind"] = replace(undo.kind, shell=task.kind.shell)
    return replace(task, undo=replace(undo, **changes), undo_after=after, on_error=on_error)


def read_tasks(key: str, written: Any, mark: int, scope: Scope, reading: Reading) -> tuple[Task, ...]:
    """All tasks of a section, in the order of the file. `scope`: of the section, without a task."""
    report = reading.report
    if written.__class__ is not Mapping or not written:
        if written is not None:  # nothing at all is reported already
            message = f"{key}: expected a mapping of name to task, found {fields.shape(written) if written else 'none'}"
            report.add(mark, "value", message, "write it as in " + key + ": {hello: {run: echo hello}}")
        return ()
    tasks = []
    for index, (name, value) in enumerate(written.items()):
        mark = written.marks[2 * index]
        try:
            fields.check_name(name)
            if scope.place is not Place.TASK:
                reading.belonging.append((name, mark))
            mark = written.marks[2 * index + 1]
            task = read_task(name, fields.mapping(value, report), scope, reading)
            if task is not None:
                tasks.append(task)
                if task.fan_out is not None:
                    _count_items(task.fan_out, reading)
        except Wrong as wrong:
            report.wrong(mark, f"task {quote(name)[1:-1]}", wrong)
    reading.sections[scope.section] = check_needs(written, report)
    return tuple(tasks)


def _count_items(fan_out: FanOut, reading: Reading) -> None:
    """What a matrix becomes is more than what is written: a small file must not become a large definition."""
    reading.items += len(fan_out.items) if isinstance(fan_out.items, list) else 0
    if reading.items > MAX_ALL_ITEMS:
        raise Wrong(f"all fan-outs together have more than {MAX_ALL_ITEMS} items", "make more than one workflow of it")
