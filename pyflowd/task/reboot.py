"""Runs a `reboot` task: starts the command that restarts the host, and waits for the end of the host.

On standard input: `{"command": [...], "within_s": ..., "boot_id": ...}`. Before the command is started its word for
that, the boot id in a file of the run's scratch folder, is on the disk: who finds it when another boot of the host has
begun knows that the restart was ours, and who does not find it knows that the command was not started. A command that
failed, or after which the host stays up, takes it back. Success is never said here: there is nobody left to say it.

The folder may be of another account, and this runs as root: no link on the way to it is followed but those of root.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

from pyflowd.task import output


def main(arguments: list[str]) -> int:
    request = json.load(sys.stdin.buffer)
    # A host that goes down sends SIGTERM to everything. A handler, unlike SIG_IGN, is not handed on to the command.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _go_on)
    path = os.environ["PYFLOW_OUTPUT"]
    name = f".reboot-{os.environ['PYFLOW_TASK']}-{os.environ['PYFLOW_ATTEMPT']}"
    command = request["command"] or default_command()
    due_s = now_s() + request["within_s"]
    try:
        folder = _open_folder(os.environ["PYFLOW_SCRATCH"])
        _write_durably(folder, name, request["boot_id"])
    except OSError as error:
        return _fail(path, f"not begun, as that cannot be recorded in $PYFLOW_SCRATCH: {error.strerror}")
    failure = _run(command, due_s)
    if not failure:
        wait_until(due_s)
        failure = f"the host is still up {request['within_s']:g} s after {' '.join(command)}"
    os.unlink(name, dir_fd=folder)
    os.fsync(folder)
    return _fail(path, failure)


def default_command() -> list[str]:
    return ["systemctl", "reboot"] if shutil.which("systemctl") else ["shutdown", "-r", "now"]


def now_s() -> float:
    """Goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def wait_until(due_s: float) -> None:
    while (left_s := due_s - now_s()) > 0:
        time.sleep(min(left_s, 60.0))


def _go_on(number: int, frame: object) -> None:
    pass


def _run(command: list[str], due_s: float) -> str:
    """Why the command failed; empty where it did not, as far as anybody can say: a signal is what the host's going down
    sends to it, too.
    """
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        return f"there is no program {command[0]} on this host"
    except OSError as error:
        return f"{command[0]} cannot be started: {error.strerror}"
    try:
        status = process.wait(max(0.0, due_s - now_s()))
    except subprocess.TimeoutExpired:
        return ""
    return f"{' '.join(command)} ended with exit code {status}" if status > 0 else ""


def _fail(path: str, message: str) -> int:
    line = output.one_line(message)
    sys.stderr.write(line + "\n")
    output.say(path, line)
    return 1


def _open_folder(path: str) -> int:
    folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in path.strip("/").split("/"):
        is_roots = os.stat(part, dir_fd=folder, follow_symlinks=False).st_uid == 0
        follow = 0 if is_roots else os.O_NOFOLLOW
        inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow, dir_fd=folder)
        os.close(folder)
        folder = inner
    return folder


def _write_durably(folder: int, name: str, text: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = os.open(name, flags, 0o644, dir_fd=folder)
    try:
        os.write(handle, text.encode())
        os.fsync(handle)
    finally:
        os.close(handle)
    os.fsync(folder)
