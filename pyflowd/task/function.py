"""Runs a `python` task: calls a function by name, gives on what it returns, and says what it raised.

On standard input: `{"function": "module:qualname", "arguments": {...}, "path": [folders]}`, in the format that the
command line names: JSON, or marshal where the interpreter is that of the daemon (7 ms less). Exit status: 0; 1 for an
exception or a result that is no JSON; 2 where there is no such function or the arguments do not fit it; that of a
SystemExit. Knows nothing of workflows. Python 3.8; imports little, as each import delays the user's code.
"""

from __future__ import annotations

import os
import sys

from pyflowd.task import output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

_HINTS = {
    "date": "its .isoformat()",
    "datetime": "its .isoformat()",
    "time": "its .isoformat()",
    "timedelta": "its .total_seconds()",
    "PosixPath": "str() of it",
    "Decimal": "str() of it",
    "Fraction": "str() of it",
    "UUID": "str() of it",
    "set": "sorted() of it",
    "frozenset": "sorted() of it",
    "bytes": "its .decode()",
    "generator": "list() of it",
    "DataFrame": 'its .to_dict("records")',
    "ndarray": "its .tolist()",
}
"""By the name of the type: what to return instead."""


class Failed(Exception):
    """The call cannot be made (status 2), or its result cannot be given on (status 1)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def main(arguments: list[str]) -> int:
    request = decoded(standard_input(), arguments[0])
    sys.path[:0] = request["path"]
    try:
        function = find(request["function"], request["path"])
        result = call(function, request["arguments"])
        give_on(result)
    except Failed as failed:
        return refuse(str(failed), failed.status)
    except Exception as error:  # noqa: BLE001  whatever the user's code raises is the task's failure
        return report(error)
    return 0


def standard_input() -> bytes:
    """All of it; afterwards it is empty for the user's code."""
    with open(0, "rb", closefd=False) as file:
        data = file.read()
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return data


def decoded(data: bytes, form: str) -> Any:
    if form == "marshal":
        import marshal

        return marshal.loads(data)  # noqa: S302  it comes from the daemon, which tells us what to run anyway
    import json

    return json.loads(data)


def find(name: str, path: list[str]) -> Callable[..., Any]:
    """The function `module:qualname`. Raises Failed, or what importing the module raises."""
    module_name, _, qualname = name.partition(":")
    try:
        __import__(module_name)  # unlike importlib.import_module, it leaves no frames of its own in a traceback
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name != missing and not module_name.startswith(missing + "."):
            raise  # the module is there; one that it imports is not
        searched = ", ".join([*path, os.environ.get("PYTHONPATH", "")]).strip(", ") or "no folder of yours"
        where = f"looked in {searched}, and what {sys.executable} has installed"
        fix = "PYTHONPATH under env adds folders"
        raise Failed(f"there is no module {missing} ({where}); {fix}", 2) from None
    found = sys.modules[module_name]
    for part in qualname.split("."):
        if not hasattr(found, part):
            raise Failed(f"{module_name} has no {qualname}{nearest(part, dir(found))}", 2)
        found = getattr(found, part)
    if not callable(found):
        raise Failed(f"{name} is no function: it is a {type(found).__name__}", 2)
    return found


def nearest(word: str, choices: list[str]) -> str:
    import difflib  # costs time; only an error needs it

    close = difflib.get_close_matches(word, choices, n=1)
    return f' (did you mean "{close[0]}"?)' if close else ""


def call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """What the function returns; one that is `async` is run to its end. Raises what it raises, or Failed."""
    try:
        result = function(**arguments)
    except TypeError as error:
        if _user_traceback(error) is None:  # not raised inside the function: it was not even entered
            raise Failed(f"the arguments under `with` do not fit: {error}{_signature(function)}", 2) from None
        raise
    if not hasattr(result, "__await__"):
        return result
    import asyncio  # costs 30 ms

    async def wait() -> Any:
        return await result

    return asyncio.run(wait())


def _signature(function: Callable[..., Any]) -> str:
    import inspect  # costs time; only an error needs it

    try:
        return f"; it takes {inspect.signature(function)}"
    except ValueError:  # a function written in C may have none
        return ""


# ---- The result -----------------------------------------------------------------------------------------------------


def give_on(result: Any) -> None:
    """A mapping with text keys is the outputs, anything else but None the output `result`. Raises Failed."""
    if result is None:
        return
    outputs = result if isinstance(result, dict) and all(isinstance(key, str) for key in result) else {"result": result}
    path = os.environ.get("PYFLOW_OUTPUT")
    try:
        for name in outputs:
            output.check_name(name)
        if outputs and not path:
            raise ValueError("there is nowhere to give it: PYFLOW_OUTPUT is not set")
        if outputs:
            output.append(str(path), outputs)
    except output.NotJson as error:
        raise Failed(f"the result cannot be given on: {error}{_hint(error.value)}", 1) from None
    except ValueError as error:  # an UnicodeEncodeError, too
        raise Failed(f"the result cannot be given on: {error}", 1) from None


def _hint(value: Any) -> str:
    if hasattr(value, "__dataclass_fields__"):
        return ": return dataclasses.asdict() of it"
    hint = _HINTS.get(type(value).__name__)
    return f": return {hint}" if hint else ""


# ---- Errors ---------------------------------------------------------------------------------------------------------


def refuse(message: str, status: int) -> int:
    sys.stderr.write(message + "\n")
    say(message)
    return status


def report(error: Exception) -> int:
    """The traceback, as if the user's code had been called by nobody; its last line is the attempt's own word."""
    import traceback  # costs time; only an error needs it

    kind = type(error)
    traceback.print_exception(kind, error, _user_traceback(error))
    say("".join(traceback.format_exception_only(kind, error)[-1:]), type=output.type_name(error))
    return 1


def _user_traceback(error: BaseException) -> TracebackType | None:
    """Its traceback, from the first frame on that is neither ours nor asyncio's."""
    found = error.__traceback__
    while found is not None:
        folder = os.path.dirname(found.tb_frame.f_code.co_filename)
        if folder != os.path.dirname(__file__) and os.path.basename(folder) != "asyncio":
            return found
        found = found.tb_next
    return None


def say(message: str, **facts: str) -> None:
    path = os.environ.get("PYFLOW_OUTPUT")
    if path:
        try:
            output.say(path, message, **facts)
        except OSError as error:
            sys.stderr.write(f"{error.filename}: {error.strerror}\n")
