"""A program that knows secrets: the name is its last argument, what it prints is the value.

It gets no more of the daemon than what it needs to find its own files, and ends in time with all that it started in its
session. Its standard output is shown nowhere; of its errors the last line is.
"""

from __future__ import annotations

import contextlib
import os
import pwd

from pyflowd.base import short_program
from pyflowd.base.pool import Cancel
from pyflowd.clock import Clock
from pyflowd.language.document import one_line
from pyflowd.secrets.secrets_model import SECRET_MAX_BYTES, Secret, SecretError, checked, without_newline

TIMEOUT_S = 10.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def fetch(argv: tuple[str, ...], name: str, cancel: Cancel, clock: Clock, timeout_s: float = TIMEOUT_S) -> Secret:
    """The value that the program prints for `name`. Raises SecretError."""
    what = f"command {argv[0]}"
    try:
        said = short_program.run([*argv, name], _environment(), cancel, clock, timeout_s, SECRET_MAX_BYTES + 1)
    except OSError as error:
        raise SecretError(name, f"{what} cannot be started: {error.strerror}") from None
    if len(said.printed) > SECRET_MAX_BYTES + 1:
        raise SecretError(name, f"{what} printed more than 64 KiB")
    if said.exit_status is None:
        why = "was stopped" if cancel.is_set() else f"did not end within {timeout_s:g} s"
        raise SecretError(name, f"{what} {why}")
    if said.exit_status:
        raise SecretError(name, f"{what} {_ended(said.exit_status)}{_last_line(said.errors)}")
    return checked(name, without_newline(bytes(said.printed)), f"what {what} printed")


def _environment() -> dict[str, str]:
    found = {"PATH": _PATH, "LANG": "C.UTF-8"}
    with contextlib.suppress(KeyError):  # an account without an entry
        account = pwd.getpwuid(os.geteuid())
        found |= {"HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}
    return found


def _ended(exit_status: int) -> str:
    return f"ended with exit code {exit_status}" if exit_status > 0 else f"was ended by signal {-exit_status}"


def _last_line(errors: bytes | bytearray) -> str:
    line = short_program.last_line(errors)
    return f": {one_line(line)}" if line else ""
