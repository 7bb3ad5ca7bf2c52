"""A workflow as units of systemd, for who leaves: a service, a timer, and a script where there is more than one task.

Tasks run one after the other, in an order in which each comes after what it needs. What a unit cannot do and what the
workflow means is refused, each by its name; what only helps it is a remark. Pure.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from msgspec import Struct

from pyflowd.conversion import on_calendar
from pyflowd.conversion.draft import printable
from pyflowd.language import params
from pyflowd.model.kinds import Argv, Shell
from pyflowd.model.triggers import Schedule
from pyflowd.model.workflow import Leftover, Param, ParamType, Retry, Task, TriggerRule, Workflow
from pyflowd.schedules import cron

STRICT = ("/bin/bash", "-euo", "pipefail", "-c")
_OURS = re.compile(r"PYFLOW_[A-Z_]+|pyflow-out|CREDENTIALS_DIRECTORY")


class Units(Struct, frozen=True, kw_only=True):
    """What is written: names of files to their text, and what is to be said."""

    files: dict[str, str]
    remarks: tuple[str, ...]


def export(workflow: Workflow, folder: str) -> Units:
    """The units; `folder` is where a script among them will lie. Raises ValueError, one line for each obstacle."""
    tasks = _in_order(workflow.tasks)
    obstacles = [*_of_workflow(workflow), *(line for task in tasks for line in _of_task(task, workflow))]
    calendars, boots, notes = _times(workflow, obstacles)
    if obstacles:
        raise ValueError("\n".join(dict.fromkeys(obstacles)))
    name = workflow.name
    files = {}
    if len(tasks) == 1 and tasks[0].stdin is None:
        command = _command_line(tasks[0])
    else:
        files[f"{name}.sh"] = _script(workflow, tasks)
        command = _quoted((f"{folder}/{name}.sh",))
    files[f"{name}.service"] = _service(workflow, tasks, command)
    if calendars or boots:
        files[f"{name}.timer"] = _timer(workflow, calendars, boots)
    return Units(files=files, remarks=(*notes, *_remarks(workflow, tasks)))


def _in_order(tasks: tuple[Task, ...]) -> list[Task]:
    """Each after what it needs, else as written."""
    left, ordered, done = list(tasks), [], set[str]()
    while left:
        ready = next(task for task in left if done.issuperset(task.needs))  # there is one: it has no cycle
        left.remove(ready)
        ordered.append(ready)
        done.add(ready.name)
    return ordered


# ---- What stands against it -----------------------------------------------------------------------------------------


def _of_workflow(workflow: Workflow) -> Iterator[str]:
    handlers = {
        "on_success": workflow.on_success,
        "on_failure": workflow.on_failure,
        "on_cancel": workflow.on_cancel,
        "finally": workflow.finally_,
    }
    yield from (f"{key}: a unit has no handlers like these" for key, found in handlers.items() if found)
    for param in workflow.params:
        if param.type is ParamType.SECRET:
            yield f"param {param.name}: it is a secret; use LoadCredential= of systemd.exec(5) by hand"
        elif param.default is None:
            yield f"param {param.name}: it has no default, and nobody gives one to a unit"
        elif _has_expression(param.default):
            yield f"param {param.name}: its default is made of an expression"
    yield from (f"env {name}: its value is an expression" for name, value in workflow.env.items() if "${{" in value)
    if workflow.outputs:
        yield "outputs: nobody calls a unit"
    for key in ("gates", "concurrency", "locks", "pools"):
        if getattr(workflow, key, None):
            yield f"{key}: systemd has nothing like it"


def _of_task(task: Task, workflow: Workflow) -> Iterator[str]:
    if not isinstance(task.kind, Shell | Argv):
        yield f"task {task.name}: it is no command, but a task of PyFlow's own"
        return
    checks = {
        "if": task.condition,
        "for_each": task.fan_out,
        "repeat": task.repeat,
        "undo": task.undo,
        "on_error": task.on_error,
        "outputs": task.outputs or task.capture,
        "artifacts": task.artifacts,
        "credentials": task.credentials,
        "cache": task.cache,
        "skip_codes": task.skip_codes,
    }
    yield from (f"task {task.name}: {key} has no counterpart" for key, found in checks.items() if found)
    if task.trigger_rule is not TriggerRule.ALL_OK:
        yield f"task {task.name}: trigger_rule {task.trigger_rule.value}: a unit stops at the first failure"
    if (task.user or workflow.user) != workflow.user:
        yield f"task {task.name}: it runs as {task.user}, a unit as one user"
    values = [*task.env.values(), task.cwd or "", task.stdin or ""]
    words = list(task.kind.argv) if isinstance(task.kind, Argv) else [task.kind.text]
    if any("${{" in text for text in (*values, *words)):
        yield f"task {task.name}: an expression, which only PyFlow evaluates"
    if found := next((match for text in (*values, *words) if (match := _OURS.search(text))), None):
        yield f"task {task.name}: it uses {found[0]}, which is PyFlow's"


def _has_expression(value: object) -> bool:
    return "${{" in str(value)


_REBOOT = "@reboot"


def _no_timer(trigger: Schedule) -> str:
    """Why no timer of systemd starts at the same times."""
    if not trigger.cron:
        return "an interval or single times: write a timer with OnUnitActiveSec= or OnCalendar= by hand"
    if trigger.calendars or trigger.blackouts:
        return "systemd has neither calendars nor blackouts"
    return "systemd has no conditions over params" if trigger.condition else ""


def _times(workflow: Workflow, obstacles: list[str]) -> tuple[list[str], bool, list[str]]:
    """OnCalendar= lines, whether it starts at boot, and what is to be said of it."""
    calendars, boots, notes = [], False, []
    for trigger in workflow.triggers:
        if not trigger.enabled:
            notes.append(f"{trigger.name}: it is not enabled, and left out")
        elif trigger.params:
            obstacles.append(f"trigger {trigger.name}: it gives params of its own; a unit has one set of them")
        elif why := _no_timer(trigger):
            obstacles.append(f"trigger {trigger.name}: {why}")
        elif trigger.cron == _REBOOT:
            boots = True
        else:
            try:
                calendars += on_calendar.from_cron(cron.parse(trigger.cron), trigger.timezone)
            except ValueError as wrong:
                obstacles.append(f"trigger {trigger.name}: {wrong}")
    if calendars:
        notes.append("clock changes: systemd leaves out what falls into the skipped hour, PyFlow runs it at its end")
    return list(dict.fromkeys(calendars)), boots, notes


def _remarks(workflow: Workflow, tasks: list[Task]) -> Iterator[str]:
    if workflow.notify:
        yield "notify: write OnFailure= to tell somebody"
    if workflow.retention or workflow.labels or workflow.owner:
        yield "labels, owner, retention: left out"
    if workflow.overlap is not None:
        yield f"overlap: {workflow.overlap.value}: a timer never starts a service that is running"
    roots = sum(1 for task in tasks if not task.needs)
    if len(tasks) > 1 and (roots > 1 or any(len(task.needs) > 1 for task in tasks)):
        yield "tasks that could run at the same time run one after the other, and the first that fails ends them all"
    for task in tasks:
        if task.retry != Retry() and task.retry.attempts > 1:
            yield f"task {task.name}: retry is left out; Restart=on-failure would repeat the whole service"
        if task.timeout_s and len(tasks) > 1:
            yield f"task {task.name}: its timeout is kept by timeout(1)"
        if task.locks or task.pools or task.priority:
            yield f"task {task.name}: locks, pools and priority are left out"
    if any(isinstance(task.kind, Shell) and not task.kind.shell for task in tasks):
        yield f"shell text is run by {' '.join(STRICT)}"


# ---- The units ------------------------------------------------------------------------------------------------------


def _service(workflow: Workflow, tasks: list[Task], command: str) -> str:
    lines = [
        f"# The workflow {workflow.name}, by pyflowctl export systemd",
        "[Unit]",
        f"Description={_unit_text(printable(workflow.description or workflow.name))}",
        "",
        "[Service]",
        "Type=oneshot",
    ]
    user = workflow.user or tasks[0].user
    if user:
        lines.append(f"User={user}")
    lines.append(f"WorkingDirectory={_folder(workflow, tasks)}")
    env = _environment(workflow) | (tasks[0].env if len(tasks) == 1 else {})
    lines += [f"Environment={_quoted((f'{name}={value}',), variables=False)}" for name, value in env.items()]
    lines += [f"EnvironmentFile={_unit_text(path)}" for path in workflow.env_files]
    lines.append(f"ExecStart={command}")
    timeout_s = _timeout_s(workflow, tasks)
    if timeout_s:
        lines.append(f"TimeoutStartSec={timeout_s:g}")
    if len(tasks) == 1:
        lines.append(f"TimeoutStopSec={tasks[0].kill_grace_s:g}")
        if tasks[0].success_codes:
            lines.append(f"SuccessExitStatus={' '.join(map(str, tasks[0].success_codes))}")
    if any(task.leftover is Leftover.ALLOW for task in tasks):
        lines.append("KillMode=process")
    return "\n".join(lines) + "\n"


def _timeout_s(workflow: Workflow, tasks: list[Task]) -> float | None:
    given = [each for each in (workflow.timeout_s, tasks[0].timeout_s if len(tasks) == 1 else None) if each]
    return min(given) if given else None


def _folder(workflow: Workflow, tasks: list[Task]) -> str:
    """`~` is the home of the user, which is where PyFlow begins, too."""
    folder = (tasks[0].cwd if len(tasks) == 1 else None) or workflow.cwd
    if not folder or folder == ".":
        return "~"
    return _unit_text(folder) if folder.startswith("/") else "~"


def _environment(workflow: Workflow) -> dict[str, str]:
    return {param.variable: _param_text(param) for param in workflow.params} | workflow.env


def _param_text(param: Param) -> str:
    return params.environment((param,), {param.name: param.default})[param.variable]


def _timer(workflow: Workflow, calendars: list[str], boots: bool) -> str:
    lines = [
        f"# When the workflow {workflow.name} starts, by pyflowctl export systemd",
        "[Unit]",
        f"Description=When {workflow.name} starts",
        "",
        "[Timer]",
        *(f"OnCalendar={calendar}" for calendar in calendars),
        *(["OnBootSec=1s"] if boots else []),
        "AccuracySec=1s",
    ]
    jitter_s = max((trigger.jitter_s for trigger in _enabled(workflow)), default=0.0)
    if jitter_s:
        lines += [f"RandomizedDelaySec={jitter_s:g}", "FixedRandomDelay=true"]
    return "\n".join([*lines, "", "[Install]", "WantedBy=timers.target"]) + "\n"


def _enabled(workflow: Workflow) -> list[Schedule]:
    return [trigger for trigger in workflow.triggers if trigger.enabled]


def _argv(task: Task) -> tuple[str, ...]:
    if isinstance(task.kind, Argv):
        return task.kind.argv
    assert isinstance(task.kind, Shell)  # others are refused
    return (*(task.kind.shell or STRICT), task.kind.text, *(() if task.kind.shell else (task.name,)))


def _command_line(task: Task) -> str:
    return ("-" if task.continue_on_error else "") + _quoted(_argv(task))


def _unit_text(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(words: tuple[str, ...], *, variables: bool = True) -> str:
    """Words as systemd splits them; `variables`: where a `$` would be one."""
    return " ".join(_quoted_word(word, variables) for word in words)


def _quoted_word(word: str, variables: bool) -> str:
    text = _unit_text(word)
    if variables:
        text = text.replace("$", "$$")
    if re.fullmatch(r"[A-Za-z0-9_./:=@%+,-]+", text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{"".join(char if char.isprintable() else _escaped(char) for char in escaped)}"'


def _escaped(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode())


# ---- The script -----------------------------------------------------------------------------------------------------


def _script(workflow: Workflow, tasks: list[Task]) -> str:
    head = [
        "#!/bin/sh",
        f"# The tasks of the workflow {workflow.name}, each after what it needs, by pyflowctl export systemd.",
        "# Run by its service, which gives variables and folder; the first task that fails ends it.",
        "set -eu",
    ]
    return "\n".join(["\n".join(head) + "\n", *map(_step, tasks)])


def _step(task: Task) -> str:
    """One task, as a command of its own: quoted, its text is for its own shell to read, and for no other."""
    words = [shlex.quote(word) for word in _argv(task)]
    before = []
    if task.cwd and task.cwd.startswith("/"):
        before += ["-C", shlex.quote(task.cwd)]
    before += [shlex.quote(f"{name}={value}") for name, value in task.env.items()]
    line = " ".join([*(["env", *before] if before else []), *_timeout(task), *words])
    if task.stdin is not None:
        line = f"printf %s {shlex.quote(task.stdin)} | {line}"
    if task.success_codes:
        codes = "|".join(map(str, sorted({0, *task.success_codes})))
        line = f'status=0; {line} || status=$?\ncase $status in {codes}) ;; *) exit "$status" ;; esac'
    elif task.continue_on_error:
        line += " || :"
    return f"# {task.name}\n{line}\n"


def _timeout(task: Task) -> list[str]:
    if not task.timeout_s:
        return []
    return ["timeout", f"--kill-after={task.kill_grace_s:g}", f"{task.timeout_s:g}"]
