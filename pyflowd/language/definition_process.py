"""`python`, `file` and `ssh` in a definition: the kinds of task that run a program of ours in the task's process.

It knows which keys each operation on files has; what they do is in `pyflowd.task`.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from pyflowd import errors
from pyflowd.base import process
from pyflowd.expressions import template as templates
from pyflowd.language import fields
from pyflowd.language.document import Mapping, Sequence, quote
from pyflowd.language.fields import Reader, Report, Table, Wrong, read
from pyflowd.model.kinds import File, Python, Ssh

# ---- python ---------------------------------------------------------------------------------------------------------

_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)


def read_python(value: Any, report: Report) -> str:
    """`module:function`."""
    if value.__class__ is str and "${{" in value:
        raise Wrong("an expression may not say what is run", "write the function out, and pass values under with")
    checked = fields.word(value, report).strip()
    if not _FUNCTION.fullmatch(checked):
        found = f"{quote(checked)} is no function" if len(checked) < 200 and "\n" not in checked else "this is code"
        raise Wrong(found, "write it as in checks.backup:main, the module, a colon, the function")
    return checked


def build_python(value: str, task: dict[str, Any]) -> Python:
    """Takes `with` and `interpreter` from the task's fields."""
    return Python(function=value, arguments=task.pop("with", {}), interpreter=task.pop("interpreter", None))


# ---- file -----------------------------------------------------------------------------------------------------------

NOT_IN_TIME = 75
"""Exit status of a `wait_for` whose file did not come, as `pyflowd.task.files` has it."""
MAX_FILES = 1_000_000
_MAGIC = re.compile(r"[*?[]")
_MODE = re.compile(r"[0-7]{3,4}", re.ASCII)
_ARCHIVE = re.compile(r"\.(?:zip|tar|tar\.(?:gz|bz2|xz|zst)|tgz|tbz2|txz|tzst)$", re.IGNORECASE)


class _Type(StrEnum):
    FILE = "file"
    FOLDER = "folder"
    ANY = "any"


class _Format(StrEnum):
    TEXT = "text"
    JSON = "json"


class _Algorithm(StrEnum):
    SHA256 = "sha256"
    SHA512 = "sha512"
    SHA384 = "sha384"
    SHA1 = "sha1"
    MD5 = "md5"
    BLAKE2B = "blake2b"


class _OnTimeout(StrEnum):
    FAIL = "fail"
    SKIP = "skip"


def _path(value: Any, report: Report) -> str:
    checked = fields.template(value, report)
    if not checked.strip():
        raise Wrong("the path is empty")
    if "\0" in checked:
        raise Wrong("a NUL in a path")
    return fields.bounded(checked, fields.MAX_PATH_BYTES)


def _paths(value: Any, report: Report) -> str | list[str]:
    """One path or pattern, or a list of them."""
    if value.__class__ is not Sequence:
        return _path(value, report)
    if not value:
        raise Wrong("the list is empty")
    return list(fields.one_or_more(_path)(value, report))


def _archive_path(value: Any, report: Report) -> str:
    checked = _path(value, report)
    if "${{" not in checked and not _ARCHIVE.search(checked):
        raise Wrong(f"{quote(checked)} has no known ending", "use .tar.gz, .tar.xz, .tar.zst, .tar.bz2, .tar or .zip")
    return checked


def _mode(value: Any, report: Report) -> str:
    if value.__class__ is int:
        raise Wrong(f"expected text, found the number {value}", f'put it in quotes: "0{value}"')
    checked = fields.text(value, report)
    if not _MODE.fullmatch(checked):
        raise Wrong(f"{quote(checked)} is no mode", 'write it as in "0640"')
    return checked


def _content(value: Any, report: Report) -> str:
    if isinstance(value, (Mapping, Sequence)):
        raise Wrong(f"expected text, found {fields.shape(value)}", "put it under json, which writes it as JSON")
    return fields.value_template(value, report)


def _values(value: Any, report: Report) -> Any:
    if value.__class__ is str:  # one expression that is a mapping
        return fields.template(value, report)
    return fields.template_tree(fields.mapping(value, report), report)


def _keys(operation: str, operand: Reader, **others: Reader) -> Table:
    keys = {operation: operand, **others}
    return Table(f"file with {operation}", {key: (key, reader) for key, reader in keys.items()}, meant=_MEANT)


_MEANT = {
    "cp": "copy", "mv": "move", "rename": "move", "rm": "delete", "remove": "delete", "unlink": "delete",
    "dest": "to", "destination": "to", "target": "to", "dst": "to", "content": "text", "contents": "text",
    "unpack": "extract", "unzip": "extract", "tar": "archive", "zip": "archive", "force": "overwrite",
    "replace": "overwrite", "permissions": "mode", "make_parents": "parents", "exclude_patterns": "exclude",
    "vars": "values", "variables": "values", "interval": "every", "within": "timeout", "wait": "wait_for",
    "sha256": "checksum", "hash": "checksum",
}  # fmt: skip
_flag = fields.boolean
_files = fields.integer_from(1, MAX_FILES)
_CHOICE: dict[str, Reader] = {
    "glob": _flag, "required": _flag, "max_files": _files, "older_than": fields.positive_duration_s,
}  # fmt: skip
"""Of operations on files that are there: which."""
_PLACE: dict[str, Reader] = {"overwrite": _flag, "parents": _flag}
"""Of operations that make files: how."""

OPERATIONS: dict[str, Table] = {
    "copy": _keys("copy", _paths, to=_path, recursive=_flag, mode=_mode, **_PLACE, **_CHOICE),
    "move": _keys("move", _paths, to=_path, recursive=_flag, mode=_mode, **_PLACE, **_CHOICE),
    "delete": _keys("delete", _paths, recursive=_flag, **_CHOICE),
    "mkdir": _keys("mkdir", _paths, mode=_mode),
    "write": _keys("write", _path, text=_content, json=fields.template_tree, mode=_mode, **_PLACE),
    "append": _keys("append", _path, text=_content, json=fields.template_tree, mode=_mode, parents=_flag),
    "template": _keys("template", _path, to=_path, values=_values, mode=_mode, **_PLACE),
    "archive": _keys("archive", _paths, to=_archive_path, root=_path, exclude=_paths, mode=_mode, **_PLACE, **_CHOICE),
    "extract": _keys(
        "extract", _archive_path, to=_path, max_files=_files, max_bytes=fields.file_size_bytes, **_PLACE
    ),
    "checksum": _keys("checksum", _paths, algorithm=fields.one_of(_Algorithm), expect=_path, **_CHOICE),
    "list": _keys("list", _paths, type=fields.one_of(_Type), **_CHOICE),
    "read": _keys("read", _path, format=fields.one_of(_Format)),
    "wait_for": _keys(
        "wait_for", _paths, every=fields.positive_duration_s, stable_for=fields.duration_s, absent=_flag,
        timeout=fields.positive_duration_s, on_timeout=fields.one_of(_OnTimeout), glob=_flag, max_files=_files,
    ),
}  # fmt: skip
"""Each operation by its key, with all keys that may stand beside it. Arguments are called as their keys."""

NEEDS = {"copy": "to", "move": "to", "template": "to", "archive": "to", "extract": "to"}


def read_file(value: Any, report: Report) -> dict[str, Any]:
    """The fields of `file`."""
    mapping = fields.mapping(value, report)
    operation = _operation(mapping)
    needed = NEEDS.get(operation)
    if needed is not None and needed not in mapping:
        raise Wrong(f"{operation} has no {needed}", f"add {needed}: PATH")
    if operation in ("write", "append") and ("text" in mapping) == ("json" in mapping):
        raise Wrong(f"{operation} wants one of text and json", f"write it as in {{{operation}: PATH, text: ...}}")
    if "on_timeout" in mapping and "timeout" not in mapping:
        raise Wrong("on_timeout without timeout", "add timeout: 10m, of how long to wait")
    arguments = read(OPERATIONS[operation], mapping, report)
    if "glob" in OPERATIONS[operation].keys and "glob" not in arguments:
        arguments["glob"] = _is_pattern(arguments.get(operation))
    return {"operation": operation, "arguments": arguments}


def _operation(mapping: Mapping) -> str:
    found = [key for key in mapping if key in OPERATIONS]
    if not found:
        guess = next((errors.nearest(_MEANT.get(key, key), list(OPERATIONS)) for key in mapping), "")
        raise Wrong(f"there is no operation{guess}", f"give it one of {', '.join(OPERATIONS)}")
    if len(found) > 1:
        raise Wrong(f"both {found[0]} and {found[1]}: a task does one thing", "make two tasks of it")
    return found[0]


def _is_pattern(value: Any) -> bool:
    """Whether the definition itself wrote a pattern: a `*` that an expression brings is part of a name."""
    texts = value if isinstance(value, list) else [value]
    return any(_MAGIC.search(_without_expressions(text)) for text in texts if isinstance(text, str))


def _without_expressions(text: str) -> str:
    found = templates.parse(text)
    for offset, expression in reversed(list(zip(found.offsets, found.expressions, strict=True))):
        text = text[:offset] + text[offset + len(expression.text) :]
    return text


def build_file(value: dict[str, Any], task: dict[str, Any]) -> File:
    """Adds the exit status of a wait in vain to the `skip_codes` of a task that asks for that."""
    arguments = dict(value["arguments"])
    if arguments.pop("on_timeout", None) is _OnTimeout.SKIP:
        task["skip_codes"] = (*task.get("skip_codes", ()), NOT_IN_TIME)
    return File(operation=value["operation"], arguments=arguments)


# ---- ssh ------------------------------------------------------------------------------------------------------------

_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9]{1,63}", re.ASCII)
_OURS = {
    "batchmode": "nobody can be asked", "requesttty": "a script needs none", "remotecommand": "run says what is run",
    "stdinnull": "the script comes by it", "forkafterauthentication": "the task would lose it",
    "sessiontype": "the script needs a session",
}  # fmt: skip
_OWN_KEYS = {"hostname": "host", "user": "user", "port": "port", "identityfile": "identity"}


def _checked(check: Any) -> Reader:
    """A template; one without expressions is judged at once, as it is again when it is rendered."""

    def reader(value: Any, report: Report) -> str:
        text = fields.template(value, report)
        if "${{" not in text:
            try:
                check(text)
            except ValueError as error:
                raise Wrong(str(error).partition(": ")[2]) from None
        return text

    return reader


def _script(value: Any, report: Report) -> str:
    if value.__class__ is not str:
        raise Wrong(f"expected shell text, found {fields.shape(value)}", "write it below run: |")
    fields.literal(value)
    if not value.strip():
        raise Wrong("the text is empty")
    return fields.bounded(value)


def _options(value: Any, report: Report) -> dict[str, str]:
    """Options of ssh_config(5), written out: some of them run programs."""
    mapping = fields.mapping(value, report)
    found: dict[str, str] = {}
    for option, content in mapping.items():
        try:
            found[option] = _option(option, content, report)
        except Wrong as wrong:
            report.wrong(mapping.value_mark(option), quote(option)[1:-1], wrong)
    return found


def _option(option: str, content: Any, report: Report) -> str:
    lowered = option.lower()
    if not _OPTION.fullmatch(option):
        raise Wrong("no name of an option", "see ssh_config(5)")
    if lowered in _OURS:
        raise Wrong(f"PyFlow sets this itself: {_OURS[lowered]}", "leave it out")
    if lowered in _OWN_KEYS:
        raise Wrong("it has a key of its own", f"write it as {_OWN_KEYS[lowered]}: beside host")
    if isinstance(content, bool):
        return "yes" if content else _not_for_host_keys(lowered, "no")
    if content.__class__ is int:
        return str(content)
    fields.literal(content if isinstance(content, str) else "")
    text = fields.word(content, report)
    if not text.isprintable():
        raise Wrong("a control character")
    return _not_for_host_keys(lowered, text)


def _not_for_host_keys(option: str, value: str) -> str:
    if option == "stricthostkeychecking" and value.lower() in ("no", "off"):
        fix = "add the host's key to known_hosts (ssh-keyscan), or write accept-new"
        raise Wrong("it would connect to anybody who answers", fix)
    return value


SSH = Table(
    "ssh",
    {
        "host": ("host", _checked(process.check_host)),
        "user": ("user", _checked(process.check_user)),
        "port": ("port", fields.integer_from(1, 65535)),
        "identity": ("identity", _checked(process.check_identity)),
        "options": ("options", _options),
        "run": ("script", _script),
    },
    meant={
        "hostname": "host", "address": "host", "username": "user", "login": "user", "key": "identity",
        "identity_file": "identity", "key_file": "identity", "script": "run", "command": "run", "cmd": "run",
    },
)  # fmt: skip


def read_ssh(value: Any, report: Report) -> dict[str, Any]:
    """The fields of `ssh`."""
    mapping = fields.mapping(value, report)
    for key in ("host", "run"):
        if key not in mapping:
            hint = ' (did you mean "run"?)' if key == "run" and "script" in mapping else ""
            raise Wrong(f"there is no {key}{hint}", "write it as in {host: web1, user: deploy, run: ./deploy.sh}")
    return read(SSH, mapping, report)


def build_ssh(value: dict[str, Any], task: dict[str, Any]) -> Ssh:
    """Takes `shell` from the task's fields."""
    return Ssh(**{"host": "", "script": "", **value}, shell=task.pop("shell", ()))
