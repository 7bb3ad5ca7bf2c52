"""From a kind of task that runs in a process, its values already rendered, to what is started: argv and standard input.
Pure; starts nothing.

What the process is given goes through standard input, never through argv: `python` and `file` tasks to a program of
`pyflowd.task`, `ssh` tasks to one that runs OpenSSH, `reboot` tasks to one that restarts the host.
"""

from __future__ import annotations

import json
import marshal
import os
import re
import shlex
from collections.abc import Mapping
from typing import Any, Literal, assert_never

from msgspec import Struct, field

from pyflowd.model.kinds import File, Python, Reboot, Ssh, Uses

_FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "task")
PROGRAMS = os.path.join(_FOLDER, "__main__.py")  # the folder itself would be run by runpy, which costs 5 ms
"""Starts one of the programs of `pyflowd.task`, by the name that follows."""
COMMANDS = os.path.join(_FOLDER, "bin")
"""The folder of `pyflow-out`, for the PATH of every task."""


Form = Literal["marshal", "json"]
"""How a program of Python's is given its request: JSON where others than that program are to read it."""


class Command(Struct, frozen=True, kw_only=True):
    """What is to be started."""

    argv: tuple[str, ...]
    stdin: bytes | None = None
    """All of standard input; None: /dev/null."""
    env: dict[str, str] = field(default_factory=dict)
    """On top of the task's environment."""


def command(
    kind: Python | File | Ssh,
    name: str,
    env: Mapping[str, str],
    python: str,
    path: tuple[str, ...] = (),
    remote_env: Mapping[str, str] | None = None,
    *,
    form: Form = "marshal",
) -> Command:
    """What runs the task `name`. `python` is the daemon's interpreter, `path` are folders with modules of the user's.

    `remote_env` is what a script on another host is given; None: `env` without what belongs to this host. Raises
    ValueError, one line, where a rendered value may not be what it is used for.
    """
    match kind:
        case Python():
            return _function(kind, python, path, form)
        case File():
            request = _json(operation=kind.operation, arguments=kind.arguments)
            return Command(argv=(python, "-I", "-S", PROGRAMS, "files"), stdin=request)
        case Ssh():
            sent = remote_environment(without_own(env) if remote_env is None else remote_env)
            request = _json(argv=ssh_argv(kind), host=kind.host, program=remote_program(kind, name, sent))
            return Command(argv=(python, "-I", "-S", PROGRAMS, "ssh"), stdin=request)
        case _:
            assert_never(kind)


def _function(kind: Python, python: str, path: tuple[str, ...], form: Form) -> Command:
    """The same version of Python can read marshal, for which it need not import anything."""
    request = {"function": kind.function, "arguments": kind.arguments, "path": list(path)}
    form = "json" if kind.interpreter is not None else form
    return Command(argv=(kind.interpreter or python, "-u", PROGRAMS, "function", form), stdin=_packed(request, form))


def plugin(kind: Uses, python: str, folder: str, path: tuple[str, ...] = (), *, form: Form = "marshal") -> Command:
    """What runs a plugin: under the daemon's interpreter, whose packages are found in `path`; no variable of the task
    (`PYTHONPATH` and the like) has a say in what is imported. `folder`: of plugins that are files.
    """
    request = {"plugin": kind.plugin, "folder": folder, "path": list(path), "inputs": kind.arguments}
    return Command(argv=(python, "-I", "-u", PROGRAMS, "plugin", "run", form), stdin=_packed(request, form))


def _packed(request: dict[str, Any], form: Form) -> bytes:
    return marshal.dumps(request) if form == "marshal" else _json(**request)


def reboot_word(task: str, attempt: int) -> str:
    """The file in the scratch folder of its run by which a `reboot` task says that it has begun."""
    return f".reboot-{task}-{attempt}"


def reboot(kind: Reboot, python: str, boot_id: str) -> Command:
    """What restarts the host. `boot_id`: of the boot that is to end, as it is recorded with the attempt."""
    request = _json(command=kind.command, within_s=kind.within_s, boot_id=boot_id)
    return Command(argv=(python, "-I", "-S", PROGRAMS, "reboot"), stdin=request)


def _json(**request: Any) -> bytes:
    return json.dumps(request).encode()


# ---- ssh ------------------------------------------------------------------------------------------------------------

_HOST = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]{0,254}", re.ASCII)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,62}\$?", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

ALWAYS = {"BatchMode": "yes", "RequestTTY": "no"}
"""Options of ssh_config(5) that no task may change."""
_UNLESS_GIVEN = {
    "ConnectTimeout": "15",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",
    "LogLevel": "ERROR",
    "ClearAllForwardings": "yes",
    "ControlMaster": "no",
}
"""A control master would be a process of the task that opened it, and end with it under everybody else's feet."""

_HERE_ONLY = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "PWD", "TMPDIR", "CREDENTIALS_DIRECTORY",
     "PYFLOW_OUTPUT", "PYFLOW_SCRATCH", "PYFLOW_PYTHON", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR"}
)  # fmt: skip
_NEVER_SENT = frozenset({"PYFLOW_OUTPUT", "PYFLOW_SCRATCH", "PYFLOW_PYTHON", "CREDENTIALS_DIRECTORY"})
"""They name files of this host."""
_READ_ONLY = frozenset({"UID", "EUID", "PPID", "BASHOPTS", "SHELLOPTS", "BASH_VERSINFO"})
"""A shell that is told to set one of these ends."""


def ssh_argv(kind: Ssh) -> tuple[str, ...]:
    """OpenSSH's command line. An unknown or changed host key is refused, as nobody can be asked (BatchMode), unless the
    task user's own ssh_config(5) says otherwise. Raises ValueError.
    """
    check_host(kind.host)
    argv = ["ssh"]
    for option, value in {**ALWAYS, **kind.options}.items():
        argv += ["-o", f"{option}={value}"]
    given = {option.lower() for option in kind.options}
    for option, value in _UNLESS_GIVEN.items():
        if option.lower() not in given:
            argv += ["-o", f"{option}={value}"]
    if kind.port is not None:
        argv += ["-p", str(kind.port)]
    if kind.user is not None:
        check_user(kind.user)
        argv += ["-l", kind.user]
    if kind.identity is not None:
        check_identity(kind.identity)
        argv += ["-i", kind.identity.replace("%", "%%"), "-o", "IdentitiesOnly=yes"]
    return (*argv, "--", kind.host, REMOTE_COMMAND)


def check_host(host: str) -> None:
    if not _HOST.fullmatch(host):
        raise ValueError(f"host: {json.dumps(host[:80])} is no name or address of a host")


def check_user(user: str) -> None:
    if not _USER.fullmatch(user):
        raise ValueError(f"user: {json.dumps(user[:80])} is no name of a user")


def check_identity(path: str) -> None:
    if not path.startswith(("/", "~/")) or "${" in path or not path.isprintable():
        raise ValueError(f"identity: {json.dumps(path[:80])} is no absolute path of a key (begin it with / or ~/)")


def remote_environment(env: Mapping[str, str]) -> dict[str, str]:
    """What of an environment goes to another host. Raises ValueError for a name that no shell there would take."""
    sent = {name: value for name, value in env.items() if name not in _NEVER_SENT}
    for name in sent:
        if not _VARIABLE.fullmatch(name) or name in _READ_ONLY:
            raise ValueError(f"env: {json.dumps(name[:80])} cannot be set on another host: rename it")
    return sent


def without_own(env: Mapping[str, str]) -> dict[str, str]:
    """An environment without what describes this host and the task's account on it."""
    return {name: value for name, value in env.items() if name not in _HERE_ONLY and not name.startswith("LC_")}


REMOTE_COMMAND = 'exec /bin/sh -c \'IFS= read -r size && eval "$(head -c "$size")"\''
"""What the login shell of the other host is told, whichever it is: a fixed text, without any value. The program comes
after its size in bytes: standard input stays open, as the other side's sign that we are there."""

_REMOTE_PROGRAM = """\
exec 3<&0 </dev/null
group=; read -r _ _ _ _ group _ 2>/dev/null </proc/$$/stat || :
stop() {{
    if [ "$group" = $$ ]; then trap "" TERM; kill -"$1" 0; else kill -"$1" "$script"; fi
}}
{{
export SHLVL=1
{exports}
{run}
}} 3<&- &
script=$!
exec 4>&2 >/dev/null 2>&1
trap : TERM
{{ while read -r _; do :; done; stop TERM; sleep {grace_s}; stop KILL; }} <&3 4>&- &
watch=$!
exec 3<&-
wait $script; status=$?
while kill -0 $script; do wait $script; status=$?; done
kill -KILL $watch
if [ "$group" = $$ ]; then
    {{ sleep {orphan_s}; stop TERM; sleep 1; stop KILL; }} 4>&- &
fi
[ $status != 255 ] || echo {own_255} >&4
exit $status
"""
"""Runs the script with its variables and an empty standard input, in the process group that sshd made for the session.
The end of our standard input is the end of the connection: then all of the group is stopped (rule R5), as are, after
the script's end, those of it that are left over (rule R9). Where there is no such group, only the script is. Nobody but
the script holds its output, or ssh would wait for them. SHLVL: Debian's bash takes a script for a login otherwise."""
_STRICT_SHELL = """\
command -v bash >/dev/null && exec bash -euo pipefail -c "$@"
exec sh -eu -c "$@\""""
OWN_255 = "the script itself ended with exit status 255"
"""Said on standard error, as ssh ends with 255 where there is no connection, too; `pyflowd.task.ssh` looks for it."""
_GRACE_S = 5
_ORPHAN_S = 5


def remote_program(kind: Ssh, name: str, env: Mapping[str, str]) -> str:
    """The shell program that the other host runs: values quoted, which no POSIX shell looks into."""
    exports = "\n".join(f"export {variable}={shlex.quote(value)}" for variable, value in env.items())
    text = shlex.quote(kind.script)
    if kind.shell:
        run = f"exec {shlex.join(kind.shell)} {text}"
    else:
        run = f"set -- {text} {shlex.quote(name)}\n{_STRICT_SHELL}"
    return _REMOTE_PROGRAM.format(exports=exports, run=run, own_255=OWN_255, grace_s=_GRACE_S, orphan_s=_ORPHAN_S)
