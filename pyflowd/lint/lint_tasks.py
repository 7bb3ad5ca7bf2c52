"""Tasks that never run, what is declared and not read, and keys of tasks that do not do what they seem to.

Of a definition that compiled. Outputs are for people as well, and a program may read a variable that no text names: it
tells of neither where that may be so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pyflowd.expressions import expression
from pyflowd.language.definition_references import Scope
from pyflowd.language.document import Mapping as Node
from pyflowd.language.document import quote
from pyflowd.language.fields import Report
from pyflowd.language.lint_places import TaskPlace
from pyflowd.model.kinds import Approval, Argv, File, Http, Notify, OnTimeout, Reboot, Shell, Ssh, Wait
from pyflowd.model.workflow import Leftover, OnEmpty, Task, TriggerRule, Workflow, all_tasks, sections

Places = Mapping[str, TaskPlace]
_SECRET_MAPPING = re.compile(r'\{"secret":\s*"([\w.-]+)"\}', re.ASCII)
"""How a secret is named in pyflowd.yaml, as a variable gets it: the JSON text of a mapping."""
_OF_TEMPLATE = re.compile(r"\btemplate\s*[.\[]", re.ASCII)


def lint_tasks(workflow: Workflow, places: Places, report: Report) -> None:
    """What each task by itself, and all of them together, have that does not do what it seems to."""
    for _, tasks in sections(workflow):
        _lint_reach(tasks, places, report)
        for task in tasks:
            for each in (task, *task.on_error):
                if each.name in places:
                    _lint_keys(each, places[each.name].mapping, report)
                    _lint_reboot(each, workflow, places[each.name].mapping, report)


# ---- Tasks that never run -------------------------------------------------------------------------------------------

_OK, _FAILED, _SKIPPED, _UPSTREAM = "succeeds", "fails", "is skipped", "never becomes eligible"


def _lint_reach(tasks: Iterable[Task], places: Places, report: Report) -> None:
    """Tasks whose rule or condition can never hold, in an order in which needs come first."""
    ends: dict[str, frozenset[str]] = {}
    todo = {task.name: task for task in tasks}
    while todo:
        ready = [task for task in todo.values() if all(need in ends for need in task.needs)]
        if not ready:
            return  # needs that name nothing; reported elsewhere
        for task in ready:
            del todo[task.name]
            ends[task.name] = _ends(task, ends, places, report)


def _ends(task: Task, ends: Mapping[str, frozenset[str]], places: Places, report: Report) -> frozenset[str]:
    """How a task may end; what can never run is reported."""
    above = [ends[need] for need in task.needs]
    why = _never_eligible(task, above)
    if why:
        mark = _mark(places, task.name, "trigger_rule", "needs")
        report.add(mark, "unreachable", f"task {task.name} never runs: {why}", _REACH, warning=True)
        return frozenset({_SKIPPED if all(end == {_SKIPPED} for end in above) else _UPSTREAM})
    at = _mark(places, task.name, "if")
    if _constant(task.condition) is False and not _is_of_template(at, report):
        message = f"task {task.name} never runs: its if is always false"
        report.add(at, "unreachable", message, "take it out", warning=True)
        return frozenset({_SKIPPED})
    may = {_OK} if task.continue_on_error else {_OK, _FAILED}
    if task.condition or task.skip_codes or isinstance(task.kind, Wait | Approval) or _may_be_empty(task):
        may.add(_SKIPPED)
    if any(end & {_FAILED, _UPSTREAM} for end in above):
        may.add(_UPSTREAM)
    if any(_SKIPPED in end for end in above):
        may.add(_SKIPPED)
    return frozenset(may)


_REACH = "change its trigger_rule, its needs, or the condition of what it needs"


def _may_be_empty(task: Task) -> bool:
    fan_out = task.fan_out
    return fan_out is not None and fan_out.on_empty is OnEmpty.SKIP and not (isinstance(fan_out.items, list))


def _never_eligible(task: Task, above: list[frozenset[str]]) -> str:
    """Why the rule of a task can never hold (rule J3); empty: it can."""
    if not above:
        return ""
    good = [_OK in end for end in above]
    fine = [bool(end & {_OK, _SKIPPED}) for end in above]
    bad = [bool(end & {_FAILED, _UPSTREAM}) for end in above]
    names = task.needs
    match task.trigger_rule:
        case TriggerRule.ALL_OK if not all(fine):
            return f"{names[fine.index(False)]}, which it needs, never runs"
        case TriggerRule.ALL_OK if not any(good):
            return "all that it needs is always skipped"
        case TriggerRule.ALL_SUCCESS if not all(good):
            return f"{names[good.index(False)]}, which it needs, never succeeds"
        case TriggerRule.NONE_FAILED if not all(fine):
            return f"{names[fine.index(False)]}, which it needs, never runs"
        case TriggerRule.ANY_SUCCESS if not any(good):
            return "nothing that it needs ever succeeds"
        case TriggerRule.ANY_FAILED if not any(bad):
            return "nothing that it needs ever counts as failed: a task with continue_on_error counts as succeeded"
    return ""


def _constant(condition: str) -> object:
    """The value of a condition without names; None: it has names, or no value."""
    if not condition:
        return None
    try:
        parsed = expression.parse(condition)
        return None if parsed.names else parsed.evaluate(expression.Variables({}))
    except expression.ExpressionError:
        return None


def _is_of_template(mark: int, report: Report) -> bool:
    """Whether the condition there was written over params of a template: another workflow has other values."""
    line = report.document.text[max(0, mark) :].partition("\n")[0]
    return _OF_TEMPLATE.search(line) is not None


def _mark(places: Places, name: str, *keys: str) -> int:
    """Of the first of these keys that the task has, else of its name."""
    place = places.get(name)
    if place is None:
        return 0
    return next((place.mapping.value_mark(key) for key in keys if key in place.mapping), place.mark)


# ---- Keys of one task -----------------------------------------------------------------------------------------------


def _lint_keys(task: Task, mapping: Node, report: Report) -> None:
    kind = task.kind
    if isinstance(kind, Approval) and kind.choices and kind.default is None and kind.on_timeout is OnTimeout.APPROVE:
        mark = mapping["approval"].value_mark("on_timeout")
        message = f"task {task.name}: approved by its timeout it has no choice, so its output choice is absent"
        report.add(mark, "approval_default", message, f"add default: {kind.choices[0]}", warning=True)
    if task.capture is not None and task.leftover is Leftover.ALLOW:
        mark = mapping.value_mark("capture") if "capture" in mapping else mapping.marks[0]
        message = f"task {task.name}: what it leaves running keeps its output open, so that nothing can be captured"
        fix = "write outputs with pyflow-out, or send the output of what is left elsewhere"
        report.add(mark, "capture_leftover", message, fix, warning=True)
    if task.fan_out is not None and isinstance(task.fan_out.items, list) and not task.fan_out.key:
        _lint_items(task, task.fan_out.items, mapping, report)
    for variable, text in task.env.items():
        if (found := _SECRET_MAPPING.fullmatch(text)) and "env" in mapping and variable in mapping["env"]:
            message = f"task {task.name}: {variable} gets the text {text}, and no secret"
            fix = f'write {variable}: "${{{{ secrets.{found[1]} }}}}"'
            report.add(mapping["env"].value_mark(variable), "secret_mapping", message, fix, warning=True)


def _lint_reboot(task: Task, workflow: Workflow, mapping: Node, report: Report) -> None:
    user = task.user or workflow.user
    if isinstance(task.kind, Reboot) and user != "root":
        mark = mapping.value_mark("user") if "user" in mapping else mapping.key_mark("reboot")
        runs_as = f"runs as {user}" if user else "is not said to run as root"
        message = f"task {task.name} restarts the host and {runs_as}: it fails, but where pyflowd itself is root"
        report.add(mark, "reboot_user", message, "write user: root", warning=True)


def _lint_items(task: Task, items: list[object], mapping: Node, report: Report) -> None:
    """The key of an item that is nested is made of its JSON text: nobody can type it, and any change makes another."""
    mark = mapping.value_mark("for_each" if "for_each" in mapping else "matrix")
    nested = next((item for item in items if _is_nested(item)), None)
    if nested is not None:
        by_key = isinstance(nested, dict) and set(nested) == {"key", "value"}
        fix = f"add key: ${{{{ {task.fan_out.variable if task.fan_out else 'item'}.{'key' if by_key else 'NAME'} }}}}"
        message = f"task {task.name}: the key of an item with lists or mappings in it is its JSON text"
        report.add(mark, "item_key", message, fix, warning=True)


def _is_nested(item: object) -> bool:
    if isinstance(item, dict):
        return any(isinstance(part, dict | list) for part in item.values())
    return isinstance(item, list)


# ---- Declared, and not read -----------------------------------------------------------------------------------------

_VARIABLE = re.compile(r"PARAM_([A-Z0-9_]*)", re.ASCII)
_DUMPS = re.compile(r"(?:^|[\s;&|(`])(?:env|printenv|declare|export -p|set)(?:$|[\s;&|)`])|environ|ENV\b")
"""What shows, or hands on, variables without naming them."""
_SYSTEM = ("/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/")
_OWN_PROGRAM = re.compile(
    r"(?:^|[;&|(`]|\$\(|\b(?:then|do|else|exec|source|sudo|nohup|time|bash|sh|python3?|perl|ruby|node|xargs)\s)\s*"
    r"(?:\.\s+)?[\"']?(?!(?:/usr)?/s?bin/)[^\s;&|()<>]*(?:/[^\s;&|()<>]*|\.(?:sh|py|pl|rb|js)\b)",
    re.MULTILINE,
)
"""A program of the user's own in the place of a command: it has all variables, and may read any."""


def lint_unused(workflow: Workflow, scopes: Iterable[Scope], places: Places, report: Report) -> None:
    """Params and outputs that nothing reads."""
    paths = {
        reference.path
        for scope in scopes
        for use in scope.uses
        if use.expression is not None
        for reference in use.expression.references
    }
    _lint_params(workflow, paths, report)
    _lint_outputs(workflow, paths, places, report)


def _lint_params(workflow: Workflow, paths: set[tuple[str, ...]], report: Report) -> None:
    if not workflow.params or ("params",) in paths:
        return
    read = {path[1] for path in paths if path[0] == "params"}
    unread = [param for param in workflow.params if param.name not in read]
    if not unread:
        return
    text = report.document.text
    named = set(_VARIABLE.findall(text))
    if "" in named or any(_may_read(task) for _, task in all_tasks(workflow)):
        return
    declared = report.document.root["params"]
    for param in unread:
        if param.variable.removeprefix("PARAM_") not in named:
            message = f"nothing reads the param {param.name}"
            fix = f'read it as "${param.variable}" or params.{param.name}, or take it out'
            report.add(declared.key_mark(param.name), "unused_param", message, fix, warning=True)


def _may_read(task: Task) -> bool:
    """Whether a task may read a variable that its definition does not name."""
    match task.kind:
        case Shell(text=text) | Ssh(script=text):
            return bool(_DUMPS.search(text) or _OWN_PROGRAM.search(text))
        case Argv(argv=argv):
            return ("/" in argv[0] and not argv[0].startswith(_SYSTEM)) or bool(_OWN_PROGRAM.search(" ".join(argv)))
        case File() | Http() | Approval() | Wait() | Notify() | Reboot():
            return False
        case _:
            return task.kind.__class__.__name__ != "Call"


def _lint_outputs(workflow: Workflow, paths: set[tuple[str, ...]], places: Places, report: Report) -> None:
    """Of tasks that others wait for and none of whose outputs is read: what else is given on is for people."""
    needed = {need for _, task in all_tasks(workflow) for need in task.needs}
    read = {path[1] for path in paths if path[0] == "tasks" and len(path) > 1 and _reads_outputs(path[2:])}
    if ("tasks",) in paths:
        return
    for _, task in all_tasks(workflow):
        if not task.outputs or task.name not in needed or task.name in read or task.name not in places:
            continue
        declared = places[task.name].mapping.get("outputs")
        if isinstance(declared, Node) and declared:
            names = ", ".join(quote(output.name) for output in task.outputs[:5])
            message = f"nothing reads what {task.name} gives on: {names}"
            fix = f"read it as tasks.{task.name}.outputs.{task.outputs[0].name}, or take it out"
            report.add(declared.marks[0], "unused_output", message, fix, warning=True)


def _reads_outputs(members: tuple[str, ...]) -> bool:
    return not members or members[0] in ("outputs", "results")
