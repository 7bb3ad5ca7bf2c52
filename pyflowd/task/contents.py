"""Write, append and template: text into files."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import string
from typing import Any

from pyflowd.task import atomic
from pyflowd.task.operation import Arguments, Failed, reason
from pyflowd.task.transfer import make_parents

MAX_TEMPLATE_BYTES = 8 * 1024 * 1024


def write(arguments: Arguments) -> dict[str, Any]:
    return _place(arguments.path("write"), _text(arguments).encode(), arguments)


def append(arguments: Arguments) -> dict[str, Any]:
    """To the end, all or nothing; a file that is not there is made."""
    path, data = arguments.path("append"), _text(arguments).encode()
    make_parents(path, arguments)
    mode = arguments.mode()
    if os.path.islink(path):
        raise Failed(f"{path} is a symbolic link: name the file that it points to")
    if os.path.lexists(path):
        os.close(atomic.open_source(path, follow=False))  # no FIFO, no device
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    handle = os.open(path, flags, 0o666 if mode is None else mode)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        size = os.fstat(handle).st_size
        try:
            atomic.write_whole(handle, data)
        except OSError:
            os.ftruncate(handle, size)
            raise
        if mode is not None:
            os.fchmod(handle, mode)
        os.fsync(handle)
    except OSError as error:
        raise reason(error, path) from None
    finally:
        os.close(handle)
    atomic.sync_folder_of(path)
    return {"path": path, "bytes": size + len(data)}


def template(arguments: Arguments) -> dict[str, Any]:
    """A file with `$name` in it to one with the values; `$$` is a dollar. An unknown name is an error."""
    source = arguments.path("template")
    values = arguments.value("values") or {}
    if not isinstance(values, dict):
        raise Failed("values: expected a mapping of names to values")
    handle = atomic.open_source(source, follow=True)
    with os.fdopen(handle, "rb") as file:
        data = file.read(MAX_TEMPLATE_BYTES + 1)
    if len(data) > MAX_TEMPLATE_BYTES:
        raise Failed(f"{source}: a template has at most {MAX_TEMPLATE_BYTES} bytes")
    try:
        text = data.decode()
        filled = string.Template(text).substitute({name: as_text(value) for name, value in values.items()})
    except UnicodeDecodeError:
        raise Failed(f"{source}: not UTF-8") from None
    except KeyError as error:
        line = text[: _place_of(text, str(error.args[0]))].count("\n") + 1
        raise Failed(f"{source}, line {line}: there is no value for ${error.args[0]} ($$ writes a dollar)") from None
    except ValueError as error:
        raise Failed(f"{source}: {_lowered(str(error))} ($$ writes a dollar)") from None
    return _place(arguments.path("to"), filled.encode(), arguments)


def as_text(value: Any) -> str:
    """Rule P3: text as it is, all else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _text(arguments: Arguments) -> str:
    if "json" in arguments:
        return json.dumps(arguments.value("json"), ensure_ascii=False, indent=2) + "\n"
    return as_text(arguments.value("text"))


def _place(path: str, data: bytes, arguments: Arguments) -> dict[str, Any]:
    make_parents(path, arguments)
    atomic.place_file(
        path,
        lambda handle: atomic.write_whole(handle, data),
        mode=arguments.mode(),
        overwrite=arguments.flag("overwrite", default=True),
    )
    return {"path": path, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _place_of(text: str, name: str) -> int:
    for match in string.Template.pattern.finditer(text):
        if name in (match.group("named"), match.group("braced")):
            return match.start()
    return 0


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
