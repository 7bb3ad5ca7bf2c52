"""What a backup holds of an instance, and where each member belongs. No key of secrets is ever among it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pyflowd.errors import Refused
from pyflowd.paths import Paths
from pyflowd.runtime.calendars_files import FOLDER as CALENDARS
from pyflowd.secrets.secrets_store import FILE as SECRETS
from pyflowd.store.store import DATABASE

STORE = f"state/{DATABASE}"
SECRETS_MEMBER = f"state/{SECRETS}"
SETTINGS = "settings/pyflowd.yaml"
KEEPER_SETTINGS = "settings/keeper.yaml"
CONFIG = ("settings", "calendars", "workflows")
"""First parts of the names of what an administrator writes himself: never written over."""
_TOPS = ("state", *CONFIG, "artifacts", "log")


def files(paths: Paths, *, with_logs: bool) -> Iterator[tuple[str, str]]:
    """(member, path) of everything but the store itself, which is copied."""
    beside = os.path.dirname(paths.settings)
    yield SETTINGS, paths.settings
    yield KEEPER_SETTINGS, os.path.join(beside, "keeper.yaml")
    yield from _below("calendars", os.path.join(beside, CALENDARS))
    yield from _below("workflows", paths.workflows)
    yield SECRETS_MEMBER, os.path.join(paths.state, SECRETS)
    if with_logs:
        yield from _below("artifacts", os.path.join(paths.state, "artifacts"))
        yield from _below("log", paths.log, numbered=True)


def _below(top: str, folder: str, *, numbered: bool = False) -> Iterator[tuple[str, str]]:
    """Every file below a folder, in order; links are no files, and folders that are links are not entered."""
    for place, folders, names in os.walk(folder):
        within = os.path.relpath(place, folder)
        if within == "." and numbered:  # folders for a thousand runs each; nothing else is ours there
            folders[:] = [name for name in folders if name.isdecimal()]
        folders.sort()
        for name in sorted(names):
            yield os.path.normpath(f"{top}/{within}/{name}"), os.path.join(place, name)


def checked(name: str) -> tuple[str, str]:
    """The first part of a member's name and the rest. Raises Refused where it could leave its place."""
    top, _, rest = name.partition("/")
    parts = rest.split("/")
    if (
        top not in _TOPS
        or any(part in ("", ".", "..") or "\0" in part for part in parts)
        or (top == "settings" and name not in (SETTINGS, KEEPER_SETTINGS))
    ):
        raise Refused(f'"{name[:80]}" has no place in a backup')
    return top, rest


def config_path(paths: Paths, top: str, rest: str) -> str:
    """Where something that an administrator writes belongs."""
    beside = os.path.dirname(paths.settings)
    match top:
        case "settings" if rest == "pyflowd.yaml":
            return paths.settings
        case "settings":
            return os.path.join(beside, rest)
        case "calendars":
            return os.path.join(beside, CALENDARS, rest)
        case _:
            return os.path.join(paths.workflows, rest)
