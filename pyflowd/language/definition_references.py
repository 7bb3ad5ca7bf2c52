"""Whether what the expressions of a definition name is there: params, tasks and their members, names of a fan-out.

Judged when all tasks are read, from the needs as written, so that one mistake does not hide the others. What a value
is at run time it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

from pyflowd.expressions import template
from pyflowd.expressions.expression import Expression, Reference
from pyflowd.language import fields
from pyflowd.language.definition_fan_out import OWN_TASK
from pyflowd.language.definition_needs import Needs
from pyflowd.language.definition_waiting import ANY_TASK
from pyflowd.language.document import quote
from pyflowd.language.fields import Report, Use
from pyflowd.model.kinds import Argv, File, Http, Python, Reboot, Shell, Ssh, Uses
from pyflowd.model.workflow import Capture, Param, ParamType, Task

TASK_MEMBERS = (
    "state", "reason", "outputs", "error", "exit_code", "attempts", "artifacts", "results", "succeeded", "failed",
)  # fmt: skip
"""As `context` has them."""
RUN_MEMBERS = ("id", "workflow", "scheduled_at", "created_at", "started_at", "requested_by", "trigger", "scratch")
HANDLER_RUN_MEMBERS = ("outcome", "failed_tasks", "error")
"""Known when the tasks have ended."""
_ROOTS = ("params", "env", "tasks", "run")
_MAX_STEPS = 5_000_000
"""Of looking for a task among those that another waits for: some seconds."""


class Place(StrEnum):
    """Where the tasks that an expression stands in are, which decides what it sees."""

    TASK = "task"
    HANDLER = "handler"
    ON_ERROR = "on_error"
    UNDO = "undo"
    OUTPUTS = "outputs"
    WORKFLOW = "workflow"
    PARAM = "param"
    SCHEDULE = "schedule"
    EVENT = "event"
    """Of a trigger that waits for one."""


_BEFORE_THE_RUN = (Place.PARAM, Place.SCHEDULE)


class Scope(NamedTuple):
    """The expressions of one task, or of one key of the file, and what they see."""

    place: Place
    uses: list[Use]
    section: str = ""
    """`tasks`, `finally` and so on; of an `on_error`: `OWNER.on_error`."""
    task: str = ""
    owner: Scope | None = None
    """Of `on_error` and `undo`: the task that has it."""
    variables: frozenset[str] = frozenset()
    """Names of a fan-out."""
    env: frozenset[str] | None = frozenset()
    """Of the task itself; None: it is wrong."""
    secret_env: frozenset[str] = frozenset()
    """Those of them that hold a secret."""


class Known(NamedTuple):
    """What there is to be named."""

    params: dict[str, Param] | None
    """None: they are wrong themselves."""
    env: frozenset[str] | None
    """Variables of the workflow; None: env files may have any."""
    sections: dict[str, Needs]
    """In the order in which they run."""
    tasks: dict[str, Task]
    """Those that compiled, of all sections."""
    secret_env: frozenset[str] = frozenset()
    """Variables of the workflow that hold a secret."""
    has_events: bool = False
    """Whether a trigger of the workflow gives its runs an `event`."""


def check(scopes: Iterable[Scope], known: Known, report: Report) -> None:
    judge = _Judge(known, report)
    for scope in scopes:
        for use in scope.uses:
            if use.expression is None:
                fix = f"write ${use.bare} if it is an expression"
                report.add(use.mark, "braces", f"{use.key}: {quote(use.bare)} is plain text", fix, warning=True)
            else:
                judge.expression(scope, use, use.expression)


class _Judge:
    def __init__(self, known: Known, report: Report) -> None:
        self._known = known
        self._report = report
        self._steps = 0

    def expression(self, scope: Scope, use: Use, found: Expression) -> None:
        told = set()
        for reference in found.references:
            wrong = self._reference(scope, use, reference)
            if wrong is None or reference.path in told:
                continue
            told.add(reference.path)
            code, message, fix = wrong
            mark = place_of(use, found, reference.column, self._report)
            self._report.add(mark, code, f"{use.key}: {message}", fix, warning=code == "undeclared_output")
        if use.key == "for_each" and len(found.references) == 1:
            self._items(use, found)

    def _items(self, use: Use, found: Expression) -> None:
        """A param that is all of `for_each` must be a list, or a mapping."""
        path = found.references[0].path
        if found.text.strip() != "params." + path[-1] or len(path) != 2:
            return
        param = (self._known.params or {}).get(path[1])
        if param is not None and param.type not in (ParamType.ARRAY, ParamType.OBJECT):
            message = f"for_each: the param {path[1]} is of type {param.type}, which has no items"
            self._report.add(use.mark, "value", message, "give it type: array")

    def _reference(self, scope: Scope, use: Use, reference: Reference) -> tuple[str, str, str] | None:
        """Code, message and fix of what is wrong with a reference."""
        root, *members = reference.path
        if root == fields.SECRETS:
            return _secret(use, members)
        if root in use.also or (root in scope.variables and use.key != "for_each"):
            return None
        match root:
            case "params":
                return self._param(scope, members)
            case _ if scope.place is Place.EVENT:
                return "reference", f"{root} is not known here: there is no run yet", "use event and params"
            case "run" if members:
                return _run_member(scope, members[0])
            case "event" if scope.place not in _BEFORE_THE_RUN:
                return None if self._known.has_events else _no_event()
            case "env" if scope.place not in (*_BEFORE_THE_RUN, Place.OUTPUTS):
                return self._secret_variable(scope, use, members) or self._env(scope, members)
            case "tasks" if scope.place not in (*_BEFORE_THE_RUN, Place.WORKFLOW):
                return self._task(scope, use, members)
            case "run":
                return None
            case "env" | "tasks" | "event":
                return "reference", f"{root} is not known here", "use params and run only"
            case "item" | "index" | "matrix":
                return _no_item(scope, use, root)
            case _:
                choices = (*_ROOTS, *scope.variables, *(name for name in use.also if name.isidentifier()))
                guess = fields.suggest(root, choices)
                return "reference", f"there is no name {quote(root)}{guess}", f"there are {', '.join(choices)}"

    def _param(self, scope: Scope, members: list[str]) -> tuple[str, str, str] | None:
        declared = self._known.params
        if declared is None or not members or members[0] in declared:
            if scope.place is Place.PARAM and declared is not None and not members:
                return "reference", "name one param", "write it as in params.day"
            return _later_param(scope, members, tuple(declared or ()))
        guess = fields.suggest(members[0], tuple(declared))
        return "reference", f"there is no param {quote(members[0])}{guess}", "declare it under params:"

    def _secret_variable(self, scope: Scope, use: Use, members: list[str]) -> tuple[str, str, str] | None:
        """`env.TOKEN` is the secret as well, where `env:` took it from one."""
        if fields.SECRETS in use.also or not members:
            return None
        of_owner = scope.owner.secret_env if scope.owner is not None else frozenset()
        if members[0] not in self._known.secret_env | scope.secret_env | of_owner:
            return None
        fix = "use the variable in the task itself: what stands here is kept, logged or shown"
        return "secret_place", f"env.{members[0]} is a secret, which may not stand here", fix

    def _env(self, scope: Scope, members: list[str]) -> tuple[str, str, str] | None:
        if self._known.env is None or scope.env is None or not members:
            return None
        names = (*self._known.env, *scope.env)
        if members[0] in names:
            return None
        guess = fields.suggest(members[0], names)
        fix = "env. has the variables of env: only, not those of the daemon or of the shell"
        return "reference", f"there is no variable {quote(members[0])} under env:{guess}", fix

    def _task(self, scope: Scope, use: Use, members: list[str]) -> tuple[str, str, str] | None:
        if not members:
            return "reference", "name the task", "write it as in tasks.dump.outputs.path"
        name = members[0]
        wrong = self._visible(scope, use, name)
        if wrong is not None or len(members) < 2:
            return wrong
        if members[1] not in TASK_MEMBERS:
            guess = fields.suggest(members[1], TASK_MEMBERS)
            fix = f"there are {', '.join(TASK_MEMBERS)}"
            return "reference", f"tasks.{name} has no {quote(members[1])}{guess}", fix
        if members[1] == "outputs" and len(members) > 2:
            return self._output(name, members[2])
        return None

    def _output(self, name: str, output: str) -> tuple[str, str, str] | None:
        task = self._known.tasks.get(name)
        if task is None or not task.outputs or isinstance(task.kind, Uses) or output in _own_outputs(task):
            return None
        declared = tuple(each.name for each in task.outputs)
        if output in declared:
            return None
        message = f"task {name} declares no output {quote(output)}{fields.suggest(output, declared)}"
        return "undeclared_output", message, "declare it under outputs:"

    def _visible(self, scope: Scope, use: Use, name: str) -> tuple[str, str, str] | None:
        """Is task `name` surely over when this is evaluated?"""
        own = self._known.sections.get(scope.section, {})
        tasks = self._known.sections.get("tasks", {})
        if ANY_TASK in use.also and name in own and name != scope.task:
            if self._waits(own, name, scope.task):
                return "reference", f"tasks.{name} waits for {scope.task} itself", "this would wait for ever"
            return None
        match scope.place:
            case Place.OUTPUTS:
                return None if name in tasks else self._unknown_task(name, tuple(tasks))
            case Place.ON_ERROR | Place.UNDO if scope.owner is not None:
                if name == scope.owner.task or (name in own and self._waits(own, scope.task, name)):
                    return None
                return self._unordered(scope, own, name) if name in own else self._visible(scope.owner, use, name)
        if name == scope.task:
            if OWN_TASK in use.also:
                return None
            return "reference", f"tasks.{name} is this task itself, which has given nothing on yet", ""
        if name in own:
            return None if self._waits(own, scope.task, name) else self._unordered(scope, own, name)
        earlier = self._earlier(scope)
        if any(name in needs for needs in earlier):
            return None
        return self._unknown_task(name, tuple(each for needs in (own, *earlier) for each in needs))

    def _earlier(self, scope: Scope) -> list[Needs]:
        """Of the sections that are over when those of a handler run."""
        if scope.place is not Place.HANDLER:
            return []
        names = ("tasks", "on_success", "on_failure", "on_cancel") if scope.section == "finally" else ("tasks",)
        return [self._known.sections[name] for name in names if name in self._known.sections]

    def _unordered(self, scope: Scope, own: Needs, name: str) -> tuple[str, str, str]:
        if name == scope.task:
            return "reference", f"tasks.{name} is this task itself, which has given nothing on yet", ""
        message = f"tasks.{name}: {scope.task} does not wait for {name}"
        return "not_upstream", message, f"add {name} to the needs of {scope.task}"

    def _unknown_task(self, name: str, names: tuple[str, ...]) -> tuple[str, str, str]:
        return "reference", f"there is no task {quote(name)} here{fields.suggest(name, names)}", ""

    def _waits(self, needs: Needs, task: str, name: str) -> bool:
        """Whether `name` is among all that `task` waits for."""
        direct = needs.get(task, ())
        if name in direct:
            return True
        seen, todo = set(direct), list(direct)
        while todo:
            above = needs.get(todo.pop(), ())
            if name in above:
                return True
            self._steps += 1 + len(above)
            if self._steps > _MAX_STEPS:
                return True  # what is not told here is told when it runs
            fresh = [each for each in above if each not in seen]
            seen.update(fresh)
            todo.extend(fresh)
        return False


def place_of(use: Use, found: Expression, column: int, report: Report) -> int:
    """Where `column` of an expression stands, if the text of the file has it as it is; else where its value begins."""
    at = report.document.text.find(found.text, use.mark, use.mark + len(found.text) + 4096) if use.mark >= 0 else -1
    return use.mark if at < 0 else at + max(0, column - 1)


def secret_variables(env: Mapping[str, str]) -> frozenset[str]:
    """Those of `env` whose text holds the value of a secret."""
    return frozenset(name for name, text in env.items() if _holds_secret(text))


def _holds_secret(text: str) -> bool:
    if "${{" not in text or fields.SECRETS not in text:
        return False
    return any(fields.SECRETS in each.names for each in template.parse(text).expressions)


def _secret(use: Use, members: list[str]) -> tuple[str, str, str] | None:
    """Rule P6: only where a secret goes to a process or a server, and is neither kept nor shown."""
    if fields.SECRETS not in use.also:
        fix = "put it under env: of the task and use the variable, or under credentials: as a file"
        return "secret_place", "a secret may not stand here: this is kept in the record, logged or shown", fix
    if not members and use.expression is not None and use.expression.text.strip() == fields.SECRETS:
        return "secret_place", "these would be all secrets", "name one, as in secrets.db_password"
    return None


def _run_member(scope: Scope, name: str) -> tuple[str, str, str] | None:
    if name in RUN_MEMBERS:
        return None
    if name in HANDLER_RUN_MEMBERS:
        place = scope.owner.place if scope.place is Place.ON_ERROR and scope.owner else scope.place
        if place in (Place.HANDLER, Place.UNDO):
            return None
        return "reference", f"run.{name} is known in handlers only", "use it below finally: or on_failure:"
    choices = (*RUN_MEMBERS, *HANDLER_RUN_MEMBERS)
    return "reference", f"run has no {quote(name)}{fields.suggest(name, choices)}", f"there are {', '.join(choices)}"


def _no_event() -> tuple[str, str, str]:
    fix = "give it a trigger of the sort file, workflow, unit or webhook"
    return "reference", "there is no event: none of the triggers of this workflow has one", fix


def _no_item(scope: Scope, use: Use, root: str) -> tuple[str, str, str]:
    if use.key == "for_each":
        return "reference", f"{root} is not known yet: this makes the list", ""
    names = sorted(scope.variables)
    if names:
        return "reference", f"there is no {root} here", f"the items are called {' and '.join(names)}"
    return "reference", f"{root} is known in a task with for_each or matrix only", ""


def _later_param(scope: Scope, members: list[str], order: tuple[str, ...]) -> tuple[str, str, str] | None:
    """A default may use the params that stand before it."""
    if scope.place is not Place.PARAM or not members or members[0] not in order or scope.task not in order:
        return None
    if order.index(members[0]) < order.index(scope.task):
        return None
    return "reference", f"the param {members[0]} has no value yet", f"declare it before {scope.task}"


def _own_outputs(task: Task) -> tuple[str, ...]:
    """What a task of this kind gives on without declaring it."""
    captured = ("stdout",) if task.capture is Capture.STDOUT else ()
    match task.kind:
        case Shell() | Argv() | Ssh():
            return captured
        case Reboot():
            return ()
        case Python():
            return ("result", *captured)
        case Http():
            return ("status", "headers", "body", "items", "url", "path", "bytes", "sha256")
        case File():
            return ("files", "count", "bytes", "sha256", "path", "text", "json")
        case _:
            return tuple(_ANSWERS)


_ANSWERS = ("run", "state", "choice", "approved", "by", "comment")
