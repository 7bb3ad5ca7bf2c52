"""`pyflow-out`: a task's command to give outputs on, or to say why it fails. Knows nothing of what becomes of them.

Python 3.8.
"""

from __future__ import annotations

import json
import os
import sys

from pyflowd.task import output

USAGE = """\
usage: pyflow-out set NAME[:TYPE]=VALUE...     give outputs on; a later value replaces an earlier one
       pyflow-out json                         give the members of the JSON object on standard input on
       pyflow-out error MESSAGE [NAME=VALUE]... say why the task fails, and exit with 1

TYPE: text (default), int, number, bool (true or false), json, or file: the text of the file VALUE.
NAME: letters, digits, _ and -, first a letter or _.

  pyflow-out set path="$file" bytes:int="$(stat -c %s "$file")"
  pyflow-out error "no rows in $table" type=EmptyTable
"""


class Usage(Exception):
    """The command line, or a value on it, is wrong: one line."""


def converted(kind: str, text: str, name: str) -> object:
    """The value of `name:kind=text`. Raises Usage, OSError."""
    try:
        if kind == "text":
            return text
        if kind == "file":
            return _text_of(text)
        if kind == "int":
            return int(text)
        if kind == "number":
            return _json(text) if text.strip().lstrip("-").isdigit() else _finite(text)
        if kind == "bool":
            return {"true": True, "false": False}[text]
        if kind == "json":
            return _json(text)
    except (ValueError, KeyError):
        wanted = {"int": "a whole number", "bool": "true or false", "json": "JSON", "file": "a text file"}
        raise Usage(f"{name}: {json.dumps(text[:80])} is not {wanted.get(kind, 'a number')}") from None
    raise Usage(f"{name}: there is no type {json.dumps(kind)}: use text, int, number, bool, json or file")


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise ValueError
    return value


def _json(text: str) -> object:
    def refuse(constant: str) -> object:
        raise ValueError(constant)

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError from None


def _text_of(path: str) -> str:
    with open(path, "rb") as file:
        data = file.read(output.MAX_BYTES + 1)
    if len(data) > output.MAX_BYTES:
        raise Usage(f"{path} is longer than {output.MAX_BYTES} bytes: give its path instead")
    return data.decode()


def read_set(arguments: list[str]) -> dict[str, object]:
    if not arguments:
        raise Usage("set needs NAME=VALUE")
    values: dict[str, object] = {}
    for argument in arguments:
        head, equals, text = argument.partition("=")
        name, _, kind = head.partition(":")
        if not equals:
            raise Usage(f"{json.dumps(argument[:80])} is not NAME=VALUE")
        output.check_name(name)
        values[name] = converted(kind or "text", text, name)
    return values


def read_json() -> dict[str, object]:
    data = sys.stdin.buffer.read(output.MAX_BYTES + 1)
    if len(data) > output.MAX_BYTES:
        raise Usage(f"more than {output.MAX_BYTES} bytes on standard input")
    try:
        values = _json(data.decode())
    except ValueError:
        raise Usage("standard input is not JSON") from None
    if not isinstance(values, dict):
        raise Usage("standard input is JSON, but no object")
    for name in values:
        output.check_name(name)
    return values


def read_error(arguments: list[str]) -> tuple[str, dict[str, str]]:
    if not arguments or not arguments[0].strip():
        raise Usage("error needs a message")
    facts = {}
    for argument in arguments[1:]:
        name, equals, text = argument.partition("=")
        if not equals:
            raise Usage(f"{json.dumps(argument[:80])} is not NAME=VALUE (put the message in quotes)")
        output.check_name(name)
        facts[name] = text
    return arguments[0], facts


def act(arguments: list[str]) -> int:
    """Raises Usage, ValueError, OSError."""
    if arguments[:1] in (["-h"], ["--help"]):
        sys.stdout.write(USAGE)
        return 0
    path = os.environ.get("PYFLOW_OUTPUT")
    if not path:
        raise Usage("PYFLOW_OUTPUT is not set: this is no task of PyFlow")
    if arguments[:1] == ["error"]:
        message, facts = read_error(arguments[1:])
        output.say(path, message, **facts)
        sys.stderr.write(output.one_line(message).encode("utf-8", "replace").decode() + "\n")
        return 1
    if arguments[:1] == ["set"]:
        values = read_set(arguments[1:])
    elif arguments == ["json"]:
        values = read_json()
    else:
        raise Usage("use set, json or error (see pyflow-out --help)")
    output.append(path, values)
    return 0


def main(arguments: list[str]) -> int:
    try:
        return act(arguments)
    except UnicodeEncodeError:
        problem, status = "a value is not UTF-8", 2
    except (Usage, ValueError) as error:
        problem, status = str(error), 2
    except OSError as error:
        problem, status = f"{error.filename or 'writing the outputs'}: {error.strerror}", 1
    printable = problem.encode("utf-8", "replace").decode()
    sys.stderr.write(f"pyflow-out: {printable}\n")
    return status
