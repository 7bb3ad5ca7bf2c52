"""From a definition to the plans of its tasks of root's (`keeper.plan`): made by the daemon's own `launch`, with marks
in the places of expressions. Pure but for the accounts and programs of the host.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from typing import Any, cast

import msgspec

from pyflowd.base import process
from pyflowd.expressions import template
from pyflowd.model.kinds import Argv, File, Kind, ProcessKind, Python, Ssh, Uses
from pyflowd.model.workflow import Task, Workflow, all_tasks
from pyflowd.runtime import launch
from pyflowd.runtime.accounts import PATH, Account
from pyflowd.runtime.context import TaskNames
from pyflowd.runtime.keeperlink import StartRequest

Plan = dict[str, Any]

_MARK = "x" + secrets.token_hex(16)
"""In the place of an expression; nothing that a file can hold by chance or by will."""
_BOOT = _MARK + "boot"
_EXPORTS = "X" + secrets.token_hex(16)
_LOADERS = re.compile(
    "LD_.*|PYTHON.*|PERL.*|RUBY.*|NODE_.*|BASH_.*|GCONV_PATH|GLIBC_TUNABLES|LOCPATH|NLSPATH|IFS|ENV|PATH|PS4|CDPATH"
    "|SHELLOPTS|BASHOPTS|PROMPT_COMMAND|MALLOC_.*|HOSTALIASES|RES_OPTIONS|GIT_.*|SSH_ASKPASS|EDITOR|PAGER"
)
"""Variables by which others than the script say what is run: only a constant may stand there."""


class _NoNames:
    """For texts without expressions."""

    def opened(self) -> _NoNames:
        return self

    def lookup(self, *_: object) -> Any:
        raise AssertionError("an expression is left")


_NAMES = cast(TaskNames, _NoNames())


def host_of(workflows: str) -> launch.Host:
    """What the daemon would know of the host, had root started it."""
    found = launch.read_host({}, workflows, default_user="nobody")
    return msgspec.structs.replace(found, python=_interpreter(), packages=_packages())


def _interpreter() -> str:
    """That of the environment in which we are installed; else our own."""
    folder = _packages()[0]
    for _ in range(3):
        folder = os.path.dirname(folder)
    there = os.path.exists(f"{folder}/pyvenv.cfg") and os.access(f"{folder}/bin/python3", os.X_OK)
    return f"{folder}/bin/python3" if there else sys.executable


def _packages() -> tuple[str, ...]:
    own = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return tuple(dict.fromkeys((own, *filter(os.path.isabs, sys.path))))


def of_root(workflow: Workflow, host: launch.Host, code: str) -> dict[str, Plan]:
    """A plan for each task that names root; `{"refused": why}` where that cannot be checked. `code`: what is wrong with
    the folders of modules and plugins; empty: nothing.
    """
    found = {}
    for _, task in all_tasks(workflow):
        if (task.user or workflow.user) == "root" and isinstance(task.kind, ProcessKind):
            try:
                found[task.name] = _plan(workflow, task, host, code)
            except ValueError as error:
                found[task.name] = {"refused": str(error)}
    return found


def _plan(workflow: Workflow, task: Task, host: launch.Host, code: str) -> Plan:
    """Raises ValueError."""
    if code and isinstance(task.kind, Python | Uses):
        raise ValueError(f"what it would import is not believed: {code}")
    if workflow.env_files:
        raise ValueError("env_file is read by the daemon, so what root is given by it cannot be checked: use env")
    root = host.named("root")
    env = {name: _marked(text) for name, text in (workflow.env | task.env).items()}
    for name, text in env.items():
        if _LOADERS.fullmatch(name) and _MARK in text:
            raise ValueError(f"env: {name} says what is run, so no expression may stand in it")
    marked = msgspec.structs.replace(task, kind=_marked_kind(task.kind))
    ran = launch.command(marked, host, _NAMES, {}, {_EXPORTS: ""}, form="json", boot_id=_BOOT)
    fixed = {
        "PATH": f"{PATH}:{process.COMMANDS}",
        "HOME": root.home,
        "USER": root.name,
        "LOGNAME": root.name,
        "PYFLOW_WORKFLOW": workflow.name,
        "PYFLOW_TASK": task.name,
        "PYFLOW_PYTHON": host.python,
    }
    return {
        "argv": [_word(each, host) for each in ran.argv],
        "stdin": _stdin(task, ran.stdin, host),
        "cwd": _text(_rendered(_folder(workflow, task, root))),
        "umask": StartRequest(attempt="", argv=(), env={}, cwd="").umask,
        "env": {name: _text(_rendered(text)) for name, text in {**env, **ran.env}.items()},
        "set": {name: value for name, value in fixed.items() if name not in env},
        "credentials": [each.name for each in task.credentials],
    }


def _folder(workflow: Workflow, task: Task, root: Account) -> str:
    cwd = _marked(task.cwd or workflow.cwd or root.home)
    return cwd if cwd.startswith("/") or cwd == _MARK else os.path.join(root.home, cwd)


def _stdin(task: Task, request: bytes | None, host: launch.Host) -> Plan | None:
    if request is not None:
        return {"json": _tree(json.loads(request), host, isinstance(task.kind, Ssh))}
    return None if task.stdin is None else {"text": _text(_rendered(_marked(task.stdin)))}


# ---- Marks ----------------------------------------------------------------------------------------------------------


def _marked(text: str) -> str:
    """A template with a mark in the place of each expression."""
    return template.parse(text).without_expressions(_MARK) if "${{" in text else text


def _rendered(text: str) -> str:
    return template.render_text(text, _NAMES)  # what is left is `$${{`


def _marked_tree(value: Any) -> Any:
    if isinstance(value, str):
        return _marked(value)
    if isinstance(value, list):
        return [_marked_tree(each) for each in value]
    if isinstance(value, dict):
        return {key: _marked_tree(each) for key, each in value.items()}
    return value


def _marked_kind(kind: Kind) -> Kind:
    match kind:
        case Argv():
            return msgspec.structs.replace(kind, argv=(kind.argv[0], *map(_marked, kind.argv[1:])))
        case Python() | File() | Uses():
            return msgspec.structs.replace(kind, arguments=_marked_tree(kind.arguments))
        case Ssh():
            return msgspec.structs.replace(
                kind,
                host=_marked(kind.host),
                user=None if kind.user is None else _marked(kind.user),
                identity=None if kind.identity is None else _marked(kind.identity),
            )
        case _:
            return kind


def _text(text: str) -> str | list[str]:
    """A text with marks as the keeper takes it."""
    return text.split(_MARK) if _MARK in text else text


def _word(word: str, host: launch.Host) -> Plan:
    """Our own programs are run from where they are now, wherever the daemon found them."""
    return {"set": word} if word in (host.python, process.PROGRAMS) else {"text": _text(word)}


def _tree(value: Any, host: launch.Host, is_ssh: bool) -> Plan:
    if value == _BOOT or (value == _MARK and not is_ssh):
        return {"any": True}
    if value == list(host.packages):
        return {"set": value}
    if isinstance(value, str):
        export = f"export {_EXPORTS}=''\n"
        return {"program": value.split(export)} if is_ssh and export in value else {"text": _text(value)}
    if isinstance(value, list):
        return {"list": [_tree(each, host, is_ssh) for each in value]}
    if isinstance(value, dict):
        return {"map": {key: _tree(each, host, is_ssh) for key, each in value.items()}}
    return {"value": value}
