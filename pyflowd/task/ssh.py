"""Runs an `ssh` task: OpenSSH, whose standard input is held open for as long as the script is to run.

On standard input: `{"argv": [...], "host": ..., "program": ...}`. The program is sent to the other host, which stops
the script as soon as the connection is gone or our end of its standard input is closed. So SIGTERM closes that end and
waits for the other side; what ssh itself says is kept apart, as 255 is also what a script may end with.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import termios
import threading
from typing import Any

from pyflowd.task import output
from pyflowd.task.operation import Stopped

STOP_S = 8.0
"""For the other side to stop the script: more than it takes, less than the default grace of a task (10 s)."""
_CONNECTION_FAILED = 255
_OWN_255 = b"the script itself ended with exit status 255"
"""What `pyflowd.process` has the other side say of it."""


def main(arguments: list[str]) -> int:
    request = json.load(sys.stdin.buffer)
    log = os.memfd_create("ssh", os.MFD_CLOEXEC)
    tail = Tail()
    signal.signal(signal.SIGTERM, _stop)
    try:
        status = _run(request, log, tail)
    except FileNotFoundError:
        return _fail("there is no program ssh on this host: install openssh-client", 127)
    except Stopped:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
        return 1
    said = _said(log) or tail.last_line()
    if status != _CONNECTION_FAILED or _OWN_255 in tail.data:
        return status
    return _fail(f"no connection to {request['host']}, or it broke: {said}", status)


class Tail:
    """What came on standard error last, while all of it is passed on."""

    def __init__(self) -> None:
        self.data = b""

    def copy(self, source: int) -> None:
        while chunk := os.read(source, 65536):
            self.data = (self.data + chunk)[-4096:]
            sys.stderr.buffer.write(chunk)
            sys.stderr.flush()

    def last_line(self) -> str:
        lines = self.data.decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else ""


def _stop(number: int, frame: object) -> None:
    raise Stopped


def _run(request: dict[str, Any], log: int, tail: Tail) -> int:
    """ssh's exit status: that of the script, or 255."""
    argv = [request["argv"][0], "-E", f"/proc/{os.getpid()}/fd/{log}", *request["argv"][1:]]
    # A session of its own: SIGTERM to our group must not break the connection before the other side knows.
    ssh = subprocess.Popen(argv, stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert ssh.stderr is not None
    copier = threading.Thread(target=tail.copy, args=(ssh.stderr.fileno(),), daemon=True)
    copier.start()
    try:
        _send(ssh, request["program"])
        status = ssh.wait()
        copier.join()
        return status
    except Stopped:
        _stop_other_side(ssh)
        raise
    finally:
        ssh.kill()
        ssh.wait()


def _send(ssh: subprocess.Popen[bytes], program: str) -> None:
    data = program.encode("utf-8", "surrogateescape")
    assert ssh.stdin is not None
    try:
        ssh.stdin.write(f"{len(data)}\n".encode() + data)
        ssh.stdin.flush()
    except BrokenPipeError:
        pass  # it has ended, and says why


def _stop_other_side(ssh: subprocess.Popen[bytes]) -> None:
    """Close the script's lifeline and wait for its end; ssh that is not even connected is ended at once."""
    assert ssh.stdin is not None
    unread = struct.unpack("i", fcntl.ioctl(ssh.stdin.fileno(), termios.FIONREAD, b"\0" * 4))[0]
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, ssh.stdin.fileno(), inheritable=False)  # closes the pipe, whatever its buffer still holds
    os.close(null)
    if unread:
        ssh.terminate()
    try:
        ssh.wait(STOP_S)
    except subprocess.TimeoutExpired:
        ssh.terminate()


def _said(log: int) -> str:
    """The last line of what ssh itself said; all of it goes to standard error."""
    data = os.pread(log, 1 << 20, 0)
    sys.stderr.buffer.write(data)
    sys.stderr.flush()
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    if not lines:
        return ""
    if "Host key verification failed" in lines[-1]:
        return lines[-1] + " Check the host's key, then add it to known_hosts (ssh-keyscan shows it)"
    return lines[-1]


def _fail(message: str, status: int) -> int:
    line = output.one_line(message)
    sys.stderr.write(line + "\n")
    path = os.environ.get("PYFLOW_OUTPUT")
    if path:
        output.say(path, line)
    return status
