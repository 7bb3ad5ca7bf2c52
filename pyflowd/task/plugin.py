"""Runs the plugin of a `uses` task (`run`), or says what plugins there are (`list`) and what they take (`describe`).

`run` has its request on standard input: `{"plugin": NAME, "folder": plugin folder, "path": [folders], "inputs": {...}}`
in the format that the command line names, JSON or marshal. Exit status: 0; 1 for an exception or a result that is not
what the plugin declares; 2 where there is no such plugin or the inputs do not fit it. `list FOLDER...` and `describe
NAME PLUGINS FOLDER...` answer with JSON on standard output, within limits of their own; FOLDER are those in which
packages are looked for. Python 3.11, as only the daemon's interpreter runs it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any, NoReturn

from pyflowd.task import function, output, plugin_module
from pyflowd.task.function import Failed
from pyflowd.task.plugin_types import Wrong

DESCRIBE_CPU_S = 10
DESCRIBE_MEMORY_BYTES = 2 << 30
"""Address space: numeric libraries reserve a lot of it for their threads without using it."""
DESCRIBE_FILE_BYTES = 1 << 20


class Cancelled(BaseException):
    """The task is to stop: raised where `run` is at work, so that `with` and `finally` clean up."""


class Context:
    """What a plugin is told of its task, and what it can say."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.run = environ.get("PYFLOW_RUN_ID", "")
        self.workflow = environ.get("PYFLOW_WORKFLOW", "")
        self.task = environ.get("PYFLOW_TASK", "")
        self.attempt = int(environ.get("PYFLOW_ATTEMPT", "1"))
        self.item_key = environ.get("PYFLOW_ITEM_KEY")
        """Of an item of a fan-out; None: the task is none."""
        self.scratch = environ.get("PYFLOW_SCRATCH", "")
        """Folder of the run, removed at its end."""
        self.cancelled = False
        """For threads: the task is to stop. The main thread is told by `Cancelled`."""

    def log(self, text: object) -> None:
        """A line of the task's log."""
        print(text, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    mode, *rest = arguments
    if mode == "run":
        return _run(function.decoded(function.standard_input(), rest[0]))
    if mode == "list":
        return _answer(_list, rest)
    name, folder, *path = rest
    return _answer(lambda: _describe(name, folder), path)


# ---- run ------------------------------------------------------------------------------------------------------------


def _run(request: dict[str, Any]) -> int:
    context = Context(dict(os.environ))
    _listen(context)
    _look_in(request["path"])
    try:
        plugin = plugin_module.load(request["plugin"], request["folder"])
        inputs = plugin_module.inputs_of(plugin, request["inputs"])
        function.give_on(plugin_module.check_outputs(plugin, _result(plugin, inputs, context)))
    except Failed as failed:
        return function.refuse(str(failed), failed.status)
    except Wrong as wrong:
        return function.refuse(f"plugin {request['plugin']}: {wrong}", 2)
    except Cancelled:
        return _die_of_it()
    except Exception as error:  # noqa: BLE001  whatever the plugin raises is the task's failure
        return function.report(error)
    return 0


def _result(plugin: plugin_module.Plugin, inputs: Any, context: Context) -> Any:
    """What `run` returns. One that leaves by exit(0) has returned nothing; exit("why") is a failure in one line."""
    try:
        return plugin.run(inputs, context)
    except SystemExit as left:
        if isinstance(left.code, str):
            raise Failed(left.code, 1) from None
        if left.code not in (None, 0):
            raise
        return None


def _listen(context: Context) -> None:
    """SIGTERM becomes an exception in the main thread; in children of the plugin it is what it always is."""
    own = os.getpid()

    def stop(number: int, _: object) -> None:
        if os.getpid() != own:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        signal.signal(number, signal.SIG_IGN)  # a second one must not disturb the cleaning up
        context.cancelled = True
        raise Cancelled

    signal.signal(signal.SIGTERM, stop)


def _die_of_it() -> int:
    """The signal is what ended the process, and is what its parent is to see (rule R8)."""
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
    return 128 + signal.SIGTERM  # never reached


def _look_in(path: list[str]) -> None:
    sys.path += [folder for folder in path if folder not in sys.path]


# ---- list and describe ----------------------------------------------------------------------------------------------


def _answer(ask: Any, path: list[str]) -> NoReturn:
    """JSON to what is standard output now; what a plugin prints while it is imported goes nowhere."""
    answer = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    _limit()
    _look_in(path)
    own = os.getpid()
    try:
        found = ask()
    except (Failed, Wrong) as error:
        found = {"error": str(error)}
    except BaseException as error:  # noqa: BLE001  whatever it raises, SystemExit too, is what is wrong with it
        found = {"error": _told(error)}
    if os.getpid() == own:  # no child that the plugin left behind speaks for it
        os.write(answer, json.dumps(found).encode())
    os._exit(0)  # a thread that the plugin started must not keep us


def _told(error: BaseException) -> str:
    line = error.__traceback__
    place = ""
    while line is not None:
        file = line.tb_frame.f_code.co_filename
        if os.path.dirname(file) != os.path.dirname(__file__) and not file.startswith("<frozen"):
            place = f" ({os.path.basename(file)}, line {line.tb_lineno})"
        line = line.tb_next
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    return output.one_line(f"it cannot be imported: {said}{place}")


def _limit() -> None:
    limits = (
        (resource.RLIMIT_CPU, DESCRIBE_CPU_S),
        (resource.RLIMIT_AS, DESCRIBE_MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, DESCRIBE_FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    )
    for limit, value in limits:
        hard = resource.getrlimit(limit)[1]
        bounded = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (bounded, bounded))


def _list() -> dict[str, Any]:
    """Of each entry point its package and version, by which a change of it is seen."""
    found = {}
    for name, entry in plugin_module.entry_points().items():
        distribution = entry.dist
        package, version = (distribution.name, distribution.version) if distribution else ("", "")
        found[name] = {"module": entry.value, "package": package, "version": version}
    return found


def _describe(name: str, folder: str) -> dict[str, Any]:
    return plugin_module.as_json(plugin_module.load(name, folder))
