"""Which plugins there are and what each says of itself: files of a folder, and entry points of installed packages.

A plugin is imported in a process of its own, within limits of time and memory, never here: one that raises, hangs or
exits is a plugin with an `error`. The calls wait for these processes, so the daemon makes them in a thread. It knows
nothing of definitions.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from pyflowd.base import process, trust
from pyflowd.exit_status import status_text
from pyflowd.language.plugins import Known, Plugin
from pyflowd.model.states import is_name

TIMEOUT_S = 10.0
"""For one plugin to be imported and described."""
MAX_PLUGINS = 500
_MAX_ANSWER_BYTES = 1 << 20
_SUFFIX = ".py"
_ABOUT = (".dist-info", ".egg-info", ".egg")
"""Ends of the names of what tells of an installed package, as `importlib.metadata` looks for them."""
_GROUP = b"pyflow.tasks"
"""The group of entry points, as the text that names it has it."""


class Source(Struct, frozen=True, kw_only=True):
    """Where a plugin is, and by what a change of it is seen."""

    name: str
    origin: str
    stamp: tuple[int | str, ...] = ()
    error: str = ""
    """Why it cannot even be looked at."""


class Found(Struct, frozen=True, kw_only=True):
    """A plugin as it was when its source had this stamp."""

    source: Source
    plugin: Plugin


class _Package(Struct, frozen=True):
    module: str
    package: str = ""
    version: str = ""


class _Failed(Exception):
    """A process had no answer to give; one line."""


_packages = msgspec.json.Decoder(dict[str, _Package])
_plugin = msgspec.json.Decoder(Plugin)


def survey(folder: str, taken: Iterable[str] = (), before: Mapping[str, Found] | None = None) -> dict[str, Found]:
    """All plugins, by name. `taken`: names of kinds that are built in; `before`: what need not be asked again."""
    sources = {source.name: source for source in (*packages(), *files(folder))}  # a file comes before a package
    return describe(folder, list(sources.values())[:MAX_PLUGINS], taken, before or {})


def describe(
    folder: str, sources: Iterable[Source], taken: Iterable[str], before: Mapping[str, Found]
) -> dict[str, Found]:
    """The plugins of these sources; those that have not changed since `before` are taken from there."""
    known = frozenset(taken)
    found = {}
    for source in sources:
        old = before.get(source.name)
        same = old is not None and old.source == source
        found[source.name] = (
            old if old is not None and same else Found(source=source, plugin=ask(source, folder, known))
        )
    return found


def known(found: Mapping[str, Found]) -> Known:
    return {name: each.plugin for name, each in sorted(found.items())}


def survey_of(folder: str, names: Iterable[str], taken: Iterable[str] = ()) -> Known:
    """As much as the use of these plugins asks for: their descriptions, and what others are called."""
    sources = {source.name: source for source in files(folder)}
    wanted = set(names)
    if not wanted <= sources.keys():
        sources = {source.name: source for source in packages()} | sources
    return {
        name: ask(source, folder, taken) if name in wanted else Plugin(name=name, origin=source.origin)
        for name, source in sources.items()
    }


# ---- Where they are -------------------------------------------------------------------------------------------------


def files(folder: str) -> list[Source]:
    """Those of the folder, by name; what begins with `_` or `.` is none."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        return [Source(name="plugins", origin=folder, error=f"the folder cannot be read: {error.strerror}")]
    return [_file(entry) for entry in entries if entry.name.endswith(_SUFFIX) and entry.name[0] not in "_."]


def _file(entry: os.DirEntry[str]) -> Source:
    name = entry.name.removesuffix(_SUFFIX)
    try:
        status = entry.stat()
    except OSError as error:
        return Source(name=name, origin=entry.path, error=error.strerror or "it cannot be read")
    stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
    wrong = "" if entry.is_file() else "it is no plain file"
    owners = frozenset({0, os.geteuid()})
    fault = trust.of_file(entry.path, status, owners) or trust.of_folder(os.path.dirname(entry.path), os.geteuid())
    if fault is not None:
        wrong = f"{fault.message} ({fault.fix})"
    return Source(name=name, origin=entry.path, stamp=stamp, error=wrong)


def packages() -> list[Source]:
    """Entry points of the packages that the daemon itself could import."""
    if not any(map(_may_declare, _path())):
        return []
    try:
        answer = _packages.decode(_answer(["list", *_path()]))
    except (_Failed, msgspec.DecodeError) as error:
        return [Source(name="packages", origin="entry points", error=f"they cannot be listed: {error}")]
    return [
        Source(
            name=name, origin=f"{each.package} {each.version}".strip() or each.module,
            stamp=(each.module, each.package, each.version),
        )
        for name, each in sorted(answer.items())
    ]  # fmt: skip


def _may_declare(folder: str) -> bool:
    """Whether a package in a folder of the path may have plugins. A look costs less than a process that asks: most
    installations have none. What is no folder is not looked into: maybe.
    """
    try:
        about = [entry.path for entry in os.scandir(folder) if entry.name.endswith(_ABOUT)]
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return any(path.endswith(".egg") or _has_group(os.path.join(path, "entry_points.txt")) for path in about)


def _has_group(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return _GROUP in file.read()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


# ---- What they say --------------------------------------------------------------------------------------------------


def ask(source: Source, folder: str, taken: Iterable[str] = ()) -> Plugin:
    """What one plugin says of itself, or why it cannot be used."""
    error = source.error
    if not is_name(source.name):
        error = 'its name may have letters, digits, "_", "." and "-", first a letter or digit, 63 at most'
    elif source.name in taken:
        error = f"{source.name} is a kind that is built in: rename it"
    if not error:
        try:
            plugin = _decoded(_answer(["describe", source.name, folder, *_path()]))
            return msgspec.structs.replace(plugin, name=source.name, origin=source.origin)
        except _Failed as failed:
            error = str(failed)
    return Plugin(name=source.name, origin=source.origin, error=error)


def _decoded(answer: bytes) -> Plugin:
    try:
        return _plugin.decode(answer)
    except msgspec.DecodeError:
        pass
    try:
        raise _Failed(str(msgspec.json.decode(answer)["error"]))
    except (msgspec.DecodeError, KeyError, TypeError):
        raise _Failed("what it says of itself cannot be read") from None


def _answer(arguments: list[str]) -> bytes:
    """Standard output of `pyflowd.task.plugin`, into memory: a pipe would be held open by what the plugin leaves."""
    output = os.memfd_create("plugin", os.MFD_CLOEXEC)
    try:
        argv: list[Any] = [sys.executable, "-I", "-u", process.PROGRAMS, "plugin", *arguments]
        program = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL, cwd="/", env=_environment(),
            start_new_session=True,
        )  # fmt: skip
        in_time = _wait(program)
        if not in_time:
            raise _Failed(f"it takes more than {TIMEOUT_S:g} s to be imported")
        answer = os.pread(output, _MAX_ANSWER_BYTES + 1, 0)
        if not answer:
            raise _Failed(f"it ended the process that imported it ({status_text(program.returncode)})")
        if len(answer) > _MAX_ANSWER_BYTES:
            raise _Failed(f"it says more than {_MAX_ANSWER_BYTES} bytes of itself")
        return answer
    finally:
        os.close(output)


def _wait(program: subprocess.Popen[bytes]) -> bool:
    """Whether it ends in time; nothing of its process group is left in either case."""
    handle = os.pidfd_open(program.pid)
    try:
        ready, _, _ = select.select([handle], [], [], TIMEOUT_S)
    finally:
        os.close(handle)
        os.killpg(program.pid, signal.SIGKILL)  # before it is reaped: the number is still its own
        program.wait()
    return bool(ready)


def _environment() -> dict[str, str]:
    """A task's environment is not known here, the daemon's own is none of a plugin's business."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": os.environ.get("HOME", "/"), "LANG": "C.UTF-8"}


def _path() -> list[str]:
    return [folder for folder in sys.path if os.path.isabs(folder)]
