"""Whether what must hold before a run's first task does (`gates`): units, free space, paths, a command's exit status.

Runs in a thread of the pool: all of it may take its time. It knows nothing of runs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from pyflowd.base import short_program
from pyflowd.base.pool import Cancel
from pyflowd.clock import SystemClock
from pyflowd.model.workflow import DiskFree, Gates
from pyflowd.units import size_text

COMMAND_TIMEOUT_S = 30.0


def closed(gates: Gates, env: Mapping[str, str], cancel: Cancel) -> str:
    """Why the gates are closed, the first of them that is; empty: all are open. `gates` holds values, no expressions.

    Never raises: what cannot be found out is closed, and says why.
    """
    for path in gates.path_exists:
        if not os.path.exists(path):
            return f"{path} does not exist"
    for disk in gates.disk_free:
        why = _disk(disk)
        if why:
            return why
    if gates.units_active:
        why = _units(gates.units_active, env, cancel)
        if why:
            return why
    return _command(gates.command, env, cancel) if gates.command else ""


def _disk(wanted: DiskFree) -> str:
    try:
        found = os.statvfs(wanted.path)
    except OSError as error:
        return f"{wanted.path}: {error.strerror}"
    free_bytes, whole_bytes = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    if wanted.bytes is not None and free_bytes < wanted.bytes:
        return f"{wanted.path} has {size_text(free_bytes)} free, less than {size_text(wanted.bytes)}"
    percent = 100 * free_bytes / whole_bytes if whole_bytes else 0.0
    if wanted.percent is not None and percent < wanted.percent:
        return f"{wanted.path} has {percent:.1f}% free, less than {wanted.percent:g}%"
    return ""


def _units(units: tuple[str, ...], env: Mapping[str, str], cancel: Cancel) -> str:
    program = shutil.which("systemctl", path=env.get("PATH"))
    if program is None:
        return f"{units[0]}: systemctl is not on this host, so no unit can be asked about"
    for unit in units:
        code, said = _run((program, "is-active", "--", unit), env, cancel)
        if code:
            return f"{unit} is {said or 'not active'}"
    return ""


def _command(command: tuple[str, ...], env: Mapping[str, str], cancel: Cancel) -> str:
    code, said = _run(command, env, cancel)
    if code == 0:
        return ""
    ended = said if code is None else f"{command[0]} ended with {code}" + (f": {said}" if said else "")
    return ended or f"{command[0]} did not end well"


def _run(command: tuple[str, ...], env: Mapping[str, str], cancel: Cancel) -> tuple[int | None, str]:
    """Its exit status and the last line that it said; None where there is no status, and the line says why."""
    try:
        said = short_program.run(command, env, cancel, SystemClock(), COMMAND_TIMEOUT_S)
    except (OSError, ValueError) as error:
        return None, f"{command[0]}: {getattr(error, 'strerror', None) or error}"
    if said.exit_status is None:
        return None, f"{command[0]} did not end within {COMMAND_TIMEOUT_S:g} s"
    line = short_program.last_line(said.errors)
    return said.exit_status, "".join(letter for letter in line if letter.isprintable())[:200]
