"""Runs a `file` task: one operation on files, as the task's user, below its folder.

On standard input: `{"operation": ..., "arguments": {...}}`. Exit status: 0; 1 where it cannot be done, with one line on
standard error and as the attempt's own word; `NOT_IN_TIME` where what was waited for did not come. SIGTERM ends it,
and leaves nothing half-done beside the files.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from pyflowd.task import atomic, output
from pyflowd.task.operation import Arguments, Failed, NotInTime, Stopped, reason

NOT_IN_TIME = 75
"""EX_TEMPFAIL of sysexits.h."""

Operation = Callable[[Arguments], dict[str, Any]]


def find(name: str) -> Operation:
    """The operation of that name; only its module is loaded."""
    if name in ("copy", "move", "delete", "mkdir"):
        from pyflowd.task import transfer

        return {"copy": transfer.copy, "move": transfer.move, "delete": transfer.delete, "mkdir": transfer.mkdir}[name]
    if name in ("write", "append", "template"):
        from pyflowd.task import contents

        return {"write": contents.write, "append": contents.append, "template": contents.template}[name]
    if name in ("archive", "extract"):
        from pyflowd.task import archive, extraction

        return {"archive": archive.archive, "extract": extraction.extract}[name]
    from pyflowd.task import lookup

    return {
        "list": lookup.list_files, "read": lookup.read, "checksum": lookup.checksum, "wait_for": lookup.wait_for,
    }[name]  # fmt: skip


def main(arguments: list[str]) -> int:
    request = json.load(sys.stdin.buffer)
    signal.signal(signal.SIGTERM, _stop)
    name = request["operation"]
    try:
        outputs = find(name)(Arguments(request["arguments"]))
        _give_on(outputs, name)
    except NotInTime as failed:
        return _fail(f"{name}: {failed}", NOT_IN_TIME)
    except Failed as failed:
        return _fail(f"{name}: {failed}", 1)
    except OSError as error:
        return _fail(f"{name}: {reason(error)}", 1)
    except Stopped:
        atomic.sweep()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        atomic.sweep()
    return 0


def _stop(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the cleaning up is not to be broken off
    raise Stopped


def _give_on(outputs: dict[str, Any], name: str) -> None:
    for key in ("count", "bytes"):
        if key in outputs:
            sys.stdout.write(f"{outputs[key]} {'files' if key == 'count' else key}\n")
    path = os.environ.get("PYFLOW_OUTPUT")
    if not path:
        return
    try:
        output.append(path, outputs)
    except ValueError as error:
        if name in ("list", "read"):  # what it is there for
            raise Failed(str(error)) from None
        # The rest has been done, and cannot be undone.
        kept = {key: value for key, value in outputs.items() if key not in ("files", "checksums")}
        output.append(path, kept)
        sys.stderr.write("the list of files is too long for the outputs, and left out\n")


def _fail(message: str, status: int) -> int:
    line = output.one_line(message)
    sys.stderr.write(line.encode("utf-8", "backslashreplace").decode() + "\n")
    path = os.environ.get("PYFLOW_OUTPUT")
    if path:
        output.say(path, line)
    return status
