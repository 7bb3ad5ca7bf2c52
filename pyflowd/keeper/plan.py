"""What a task of root's may be started with, by its definition, and whether that is what is asked.

A plan comes from `pyflowd.rootcheck`, which has read the definition: constants, and between them places for the values
of expressions, which only the daemon knows. What is started is made here from the plan; the daemon's word fills those
places and nothing else. Pure; it knows nothing of files, users and processes.

A text is a string, or a list of strings between which any text may stand. A tree is one of
`{"text": text}`, `{"value": scalar}`, `{"any": true}`, `{"set": value}` (whatever was asked), `{"list": [tree, ...]}`,
`{"map": {key: tree}}`, `{"program": [head, tail]}` (a shell program with exports between).
"""

from __future__ import annotations

import re

from pyflowd.keeper.wire import Start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LOCALE = re.compile(r"(LANG|LC_[A-Z]+)=[A-Za-z0-9_.@,-]*")
_ZONE = re.compile(r"TZ=(:?[A-Za-z0-9_+<-][A-Za-z0-9_+:,<>/-]*)?")
"""Not absolute and without dots: no path out of the folder of zones, and no file of anybody's."""
_EXPORT = re.compile(r"export ([A-Za-z_][A-Za-z0-9_]*)=([A-Za-z0-9_@%+=:,./-]+|(?:'[^']*'|\"'\")+)\n")
"""A line as `shlex.quote` makes it: its value is one word, in which a shell looks at nothing."""
_TOLD = frozenset({
    "PYFLOW_ATTEMPT", "PYFLOW_ITEM_KEY", "PYFLOW_OUTPUT", "PYFLOW_RUN_ID", "PYFLOW_SCHEDULED_AT", "PYFLOW_SCRATCH",
    "PYFLOW_TASK", "PYFLOW_WORKFLOW",
})  # fmt: skip
"""What an attempt is told of its place. No others: programs of ours would look for an instance elsewhere."""
_NEVER_SENT = frozenset({"PATH", "HOME", "USER", "LOGNAME"})


class Mismatch(Exception):
    """What is asked is not what the definition says: one line."""


def fill(plan: dict[str, Any], start: Start, stdin: bytes | None) -> bytes | None:
    """Make of `start` what the plan says; returns its standard input, None for none. Raises Mismatch."""
    argv, wanted = [_decoded(word) for word in start.argv], plan["argv"]
    if len(argv) != len(wanted):
        raise Mismatch(f"it has {len(wanted)} arguments, and {len(argv)} are asked")
    start.argv = [
        _tree(each, word, plan, f"argument {n}").encode(errors="surrogateescape")
        for n, (each, word) in enumerate(zip(wanted, argv, strict=True))
    ]
    if not _fits(plan["cwd"], _decoded(start.cwd)):
        raise Mismatch(f"its folder is not {_decoded(start.cwd)[:200]!r}")
    if start.umask != plan["umask"]:
        raise Mismatch(f"its umask is not {start.umask:03o}")
    names = set(map(_decoded, start.credentials[::2]))
    if not names <= set(plan["credentials"]):
        raise Mismatch("it has no such credentials")
    _fill_environment(plan, start)
    return _fill_stdin(plan, stdin)


def _fill_environment(plan: dict[str, Any], start: Start) -> None:
    asked: dict[str, str] = {}
    for item in start.env:
        name, _, value = _decoded(item).partition("=")
        if name not in plan["set"]:
            _check_variable(plan, name, value)
            asked[name] = value
    for name, text in plan["env"].items():
        if isinstance(text, list) and name not in asked:
            raise Mismatch(f"its variable {name} is missing")
    constant = {name: text for name, text in plan["env"].items() if isinstance(text, str)}
    found = {**asked, **constant, **plan["set"]}
    start.env = [f"{name}={value}".encode(errors="surrogateescape") for name, value in found.items()]


def _check_variable(plan: dict[str, Any], name: str, value: str) -> None:
    if name in plan["env"]:
        if not _fits(plan["env"][name], value):
            raise Mismatch(f"its variable {name} has another value")
    elif name.startswith("PARAM_") or name in _TOLD:
        pass
    elif not (_LOCALE.fullmatch(f"{name}={value}") or _ZONE.fullmatch(f"{name}={value}")):
        raise Mismatch(f"it has no variable {name[:100]!r}")


def _fill_stdin(plan: dict[str, Any], stdin: bytes | None) -> bytes | None:
    wanted = plan["stdin"]
    if wanted is None or stdin is None:
        if wanted is not None or stdin is not None:
            raise Mismatch("it has standard input" if stdin is None else "it has no standard input")
        return None
    if "json" not in wanted:
        return str(_tree(wanted, stdin.decode(errors="surrogateescape"), plan, "standard input")).encode(
            errors="surrogateescape"
        )
    import json  # most keepers never need it

    try:
        asked = json.loads(stdin)
    except (ValueError, RecursionError):
        raise Mismatch("its standard input is no JSON") from None
    return json.dumps(_tree(wanted["json"], asked, plan, "standard input")).encode()


def _tree(wanted: dict[str, Any], asked: Any, plan: dict[str, Any], what: str) -> Any:
    """The value that the plan makes of what is asked. Raises Mismatch."""
    if "set" in wanted:
        return wanted["set"]
    if "any" in wanted:
        return asked
    if "text" in wanted and isinstance(asked, str) and _fits(wanted["text"], asked):
        return asked
    if "value" in wanted and type(asked) is type(wanted["value"]) and asked == wanted["value"]:
        return asked
    if "list" in wanted and isinstance(asked, list) and len(asked) == len(wanted["list"]):
        return [_tree(each, one, plan, what) for each, one in zip(wanted["list"], asked, strict=True)]
    if "map" in wanted and isinstance(asked, dict) and asked.keys() == wanted["map"].keys():
        return {key: _tree(each, asked[key], plan, what) for key, each in wanted["map"].items()}
    if "program" in wanted and isinstance(asked, str):
        _check_program(wanted["program"], asked, plan)
        return asked
    raise Mismatch(f"its {what} is another")


def _check_program(wanted: list[str], asked: str, plan: dict[str, Any]) -> None:
    """A program for another host: between its constant parts nothing but lines that export variables it may have."""
    head, tail = wanted
    if len(asked) < len(head) + len(tail) or not (asked.startswith(head) and asked.endswith(tail)):
        raise Mismatch("its program is another")
    exports = asked[len(head) : len(asked) - len(tail)]
    at = 0
    while at < len(exports):
        line = _EXPORT.match(exports, at)
        if line is None or line[1] in _NEVER_SENT - plan["env"].keys():
            raise Mismatch("its program sets something else than variables")
        _check_variable(plan, line[1], _unquoted(line[2]))
        at = line.end()


def _unquoted(word: str) -> str:
    """What a shell makes of a word that `shlex.quote` has made."""
    return word[1:-1].replace("'\"'\"'", "'") if word.startswith("'") else word


def _fits(wanted: str | list[str], asked: str) -> bool:
    """Whether a text has the constant parts of another, in their order, with any text between them."""
    if isinstance(wanted, str):
        return wanted == asked
    first, *middle, last = wanted
    end = len(asked) - len(last)
    if not asked.startswith(first) or not asked.endswith(last) or end < len(first):
        return False
    at = len(first)
    for part in middle:
        found = asked.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _decoded(text: bytes) -> str:
    return text.decode(errors="surrogateescape")
