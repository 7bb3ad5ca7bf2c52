"""From a task to the process that the keeper is asked to start: argv, environment, folder. Starts nothing.

Values reach a shell only through the environment (rule P1). An attempt's environment is: a few variables of its user,
`PYFLOW_*`, `PARAM_*`, the env files, `env` of the workflow, `env` of the task, each over those before. Expressions are
evaluated here, at the last moment.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
import sys
from typing import assert_never

import msgspec
from msgspec import Struct

from pyflowd.base import process
from pyflowd.base.process import Command
from pyflowd.clock import from_us
from pyflowd.engine.state import TaskRun
from pyflowd.expressions import template
from pyflowd.language import params
from pyflowd.model.kinds import Argv, File, Python, Reboot, Shell, Ssh, Uses
from pyflowd.model.workflow import Resources, Task, Workflow
from pyflowd.runtime.accounts import PATH, Account, Accounts, home_of
from pyflowd.runtime.context import TaskNames
from pyflowd.runtime.keeperlink import StartRequest

ENV_FILE_MAX_BYTES = 1 << 20
PASSED_ON = ("LANG", "LC_ALL", "TZ")
"""Of the daemon's own environment; nothing else of it reaches a task."""


class Host(Accounts, frozen=True, kw_only=True):
    """What a launch needs of the host, read once when the daemon starts."""

    passed_on: dict[str, str]
    keeper_is_own: bool = True
    """Whether the keeper runs as the daemon's own user; else even that user has to be asked for."""
    strict_shell: tuple[str, ...]
    """Argv before the text of a `run` task that names no shell."""
    python: str = sys.executable
    python_path: tuple[str, ...] = ()
    """Where `python` tasks find their modules: beside the workflows folder."""
    plugins: str = ""
    """Folder of plugins that are files."""
    packages: tuple[str, ...] = ()
    """Where the packages of plugins are found: where the daemon finds its own."""


def read_host(environ: dict[str, str], workflows: str = "", default_user: str = "") -> Host:
    """The daemon's own account and shell. Looks at the file system; called once."""
    try:
        entry = pwd.getpwuid(os.geteuid())
        name, home = entry.pw_name, entry.pw_dir
    except KeyError:  # a uid without an entry, as in a container
        name, home = str(os.geteuid()), environ.get("HOME", "/")
    bash = next(
        (path for path in ("/bin/bash", "/usr/bin/bash", "/usr/local/bin/bash") if os.access(path, os.X_OK)), ""
    )
    path = PATH if default_user else environ.get("PATH") or PATH
    return Host(
        own=Account(name=name, home=home_of(home), path=path, uid=os.geteuid()),
        default_user=default_user,
        passed_on={key: environ[key] for key in PASSED_ON if key in environ},
        strict_shell=(bash, "-euo", "pipefail", "-c") if bash else ("/bin/sh", "-eu", "-c"),
        python_path=(os.path.join(os.path.dirname(workflows), "python"),) if workflows else (),
        plugins=os.path.join(os.path.dirname(workflows), "plugins") if workflows else "",
        packages=tuple(filter(os.path.isabs, sys.path)),
    )


def check_reboot(workflow: Workflow, task: Task, host: Host) -> None:
    """Raises ValueError for a task that is to restart the host and would not be root."""
    if isinstance(task.kind, Reboot) and (user := host.of_task(workflow, task)).uid != 0:
        raise ValueError(f"only root may restart the host, and the task would run as {user.name}: write user: root")


def command(
    task: Task,
    host: Host,
    names: TaskNames,
    env: dict[str, str],
    given: dict[str, str],
    *,
    form: process.Form = "marshal",
    boot_id: str = "",
) -> Command:
    """What a process task runs. The text of `run` goes in as one argument; the task's name is its `$0`. `given`: what
    of `env` does not belong to this host. `boot_id`: of the boot that a restart of the host is to end.
    """
    kind, name = task.kind, task.name
    match kind:
        case Shell():
            return Command(argv=(*(kind.shell or host.strict_shell), kind.text, *(() if kind.shell else (name,))))
        case Argv():
            return Command(argv=(kind.argv[0], *(template.render_text(word, names) for word in kind.argv[1:])))
        case Uses():
            rendered = msgspec.structs.replace(kind, arguments=template.render_tree(kind.arguments, names.opened()))
            return process.plugin(rendered, host.python, host.plugins, host.packages, form=form)
        case Python() | File() | Ssh():
            rendered_kind = _rendered(kind, names)
            return process.command(rendered_kind, name, env, host.python, host.python_path, given, form=form)
        case Reboot():
            return process.reboot(kind, host.python, boot_id)
        case _:
            raise AssertionError(kind)


def _rendered(kind: Python | File | Ssh, names: TaskNames) -> Python | File | Ssh:
    """The kind with the values of its expressions in their places."""
    match kind:
        case Python() | File():
            return msgspec.structs.replace(kind, arguments=template.render_tree(kind.arguments, names))
        case Ssh():
            return msgspec.structs.replace(
                kind,
                host=template.render_text(kind.host, names),
                user=None if kind.user is None else template.render_text(kind.user, names),
                identity=None if kind.identity is None else template.render_text(kind.identity, names),
            )
        case _:
            assert_never(kind)


class Binding(Struct, frozen=True, kw_only=True):
    """What of a run its attempts are told; the same for each."""

    run: int
    workflow: str
    values: dict[str, object]
    scheduled_us: int | None = None


def run_environment(workflow: Workflow, binding: Binding) -> dict[str, str]:
    """The part of the environment that all attempts of a run have in common."""
    told = {"PYFLOW_RUN_ID": str(binding.run), "PYFLOW_WORKFLOW": binding.workflow}
    if binding.scheduled_us is not None:
        told["PYFLOW_SCHEDULED_AT"] = from_us(binding.scheduled_us).isoformat()
    return told | params.environment(workflow.params, binding.values)


def folder(workflow: Workflow, task: Task, user: Account, names: TaskNames) -> str:
    """Where the process begins. Raises ExpressionError."""
    cwd = task.cwd or workflow.cwd or user.home
    if "${{" in cwd:
        cwd = template.render_text(cwd, names)
    return cwd if cwd.startswith("/") else os.path.join(user.home, cwd)


class Told(Struct, frozen=True, kw_only=True):
    """What of its place an attempt is told by the environment."""

    output: str
    scratch: str


def request(
    attempt_id: str,
    task: TaskRun,
    host: Host,
    common: dict[str, str],
    from_files: dict[str, str],
    timeout_s: float | None,
    log_max_bytes: int,
    names: TaskNames,
    told: Told,
) -> tuple[StartRequest, bytes | None]:
    """What the keeper is asked, and what is on standard input. `common` is run_environment, `from_files` what the env
    files gave. Raises ExpressionError, or ValueError where a value cannot be handed over.
    """
    workflow, definition = names.facts.run.workflow, task.definition
    user = host.of_task(workflow, definition)
    env = {
        **host.passed_on,
        "PATH": f"{user.path}:{process.COMMANDS}",
        "HOME": user.home,
        "USER": user.name,
        "LOGNAME": user.name,
        **common,
        "PYFLOW_TASK": definition.name,
        "PYFLOW_ATTEMPT": str(task.attempts),
        "PYFLOW_OUTPUT": told.output,
        "PYFLOW_SCRATCH": told.scratch,
        "PYFLOW_PYTHON": host.python,
        **({"PYFLOW_ITEM_KEY": task.item.key} if task.item else {}),
    }
    own = {**from_files, **names.env()}
    told_elsewhere = {name: text for name, text in env.items() if name.startswith(("PARAM_", "PYFLOW_"))}
    env |= own
    form: process.Form = "json" if user.uid == 0 else "marshal"  # the keeper reads what root is to be given
    boot_id = task.attempt.boot_id if task.attempt else ""
    ran = command(definition, host, names, env, {**told_elsewhere, **own}, form=form, boot_id=boot_id)
    _check_sizes(ran.argv, env)
    stdin = ran.stdin
    if stdin is None and definition.stdin is not None:
        stdin = template.render_text(definition.stdin, names).encode()
    asked = StartRequest(
        attempt=attempt_id,
        argv=ran.argv,
        env={**env, **ran.env},
        cwd=folder(workflow, definition, user, names),
        user=None if user is host.own and host.keeper_is_own else user.name,
        timeout_s=timeout_s,
        kill_grace_s=definition.kill_grace_s,
        leftover=definition.leftover,
        log_max_bytes=log_max_bytes,
        apart=definition.capture is not None,
        masks=names.secrets.masks(),
        credentials=_credentials(definition, names),
        limits=limits(definition.resources),
    )
    return asked, stdin


def limits(resources: Resources | None) -> dict[str, int]:
    """As the keeper is asked for them, by the names that they have in a file."""
    if resources is None:
        return {}
    asked = {
        "memory_max": resources.memory_max_bytes,
        "cpu_max": resources.cpu_max_percent,
        "cpu_weight": resources.cpu_weight,
        "io_weight": resources.io_weight,
        "tasks_max": resources.tasks_max,
        "nice": resources.nice,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _credentials(definition: Task, names: TaskNames) -> dict[str, bytes]:
    """Files and what is in them. Raises ExpressionError."""
    return {each.name: names.secrets.fetch(template.render_text(each.secret, names)) for each in definition.credentials}


def _check_sizes(argv: tuple[str, ...], env: dict[str, str]) -> None:
    """Rule D5, for what is known only now: the kernel takes 128 KiB in one string."""
    for name, text in (*((f"argument {index}", word) for index, word in enumerate(argv)), *env.items()):
        if len(text) > params.MAX_VALUE_BYTES // 4 and len(text.encode()) > params.MAX_VALUE_BYTES:
            raise ValueError(f"{name}: {len(text)} characters; at most {params.MAX_VALUE_BYTES} bytes: use a file")
        if "\0" in text:
            raise ValueError(f"{name}: a NUL byte, which no argument or variable can hold")


def read_env_files(paths: tuple[str, ...], host: Host) -> dict[str, str]:
    """All env files of a workflow, later ones over earlier ones. Raises OSError, or ValueError with file and line."""
    values: dict[str, str] = {}
    for written in paths:
        optional, path = written.startswith("-"), written.removeprefix("-")
        try:
            values |= parse_env_file(_read_regular(os.path.join(host.own.home, path)))
        except FileNotFoundError:
            if not optional:
                raise
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return values


def _read_regular(path: str) -> str:
    """A regular file of at most 1 MiB; opened so that a FIFO cannot hang us."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > ENV_FILE_MAX_BYTES:
            raise ValueError("not a regular file of at most 1 MiB")
        return os.read(handle, ENV_FILE_MAX_BYTES + 1).decode()
    finally:
        os.close(handle)


def stdin_descriptor(content: bytes | None) -> int | None:
    """A descriptor from which `content` can be read, by whoever has it for good; None for None."""
    if content is None:
        return None
    handle = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(content)
        os.lseek(handle, 0, os.SEEK_SET)
        fcntl.fcntl(handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    except OSError:
        os.close(handle)
        raise
    return handle


def parse_env_file(text: str) -> dict[str, str]:
    """`NAME=value` lines; `#` comments, blank lines, an optional `export `, and one pair of quotes around the value.

    Nothing is expanded. Raises ValueError with the line's number where a line is none of these.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip().removeprefix("export ").lstrip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.partition("=")
        name = name.rstrip()
        if not equals or not name.isascii() or not name.replace("_", "a").isalnum() or name[0].isdigit():
            raise ValueError(f"line {number}: not NAME=value")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        if "\0" in value:
            raise ValueError(f"line {number}: a NUL in a value")
        values[name] = value
    return values
