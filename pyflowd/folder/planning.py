"""What a scan of the folders means: definitions to load, definitions that are gone, and what is held (rule D6).

Pure: a definition is to be loaded when any of its parts is another than when it was read. It knows nothing of what is
in force.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from pyflowd.folder.loader_frames import Folders, Seen, Signature
from pyflowd.folder.settling import FolderGone, Scan
from pyflowd.folder.sources import Sources, folder_of, is_of_workflows

HOLD_US = 60_000_000
_MANY_FILES = 10
_MANY_GONE = 0.2


class Plan(Struct, frozen=True):
    """What is to be done, and what is to be believed of the folders until the next scan."""

    sources: Sources
    changed: dict[str, Seen] = {}
    """By file, as the scan saw them."""
    gone: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    """Parts that have vanished, and are taken for an unmounted folder until `HOLD_US` after `held_since_us`."""
    held_since_us: int | None = None
    why: str = ""
    """Of what is held."""


def plan(
    known: Mapping[str, Seen | None],
    found: Scan | FolderGone,
    folders: Folders,
    held_since_us: int | None,
    now_us: int,
) -> Plan:
    """Call it for each scan, and again with the last one when a hold is over."""
    parts = {key: part for seen in known.values() if seen is not None for key, part in seen.parts.items()}
    if isinstance(found, FolderGone):
        entries = {key: part for key, part in parts.items() if not is_of_workflows(key)}
    else:
        entries = found.entries
    missing = [key for key in parts if key not in entries]
    many = len(parts) >= _MANY_FILES and len(missing) > _MANY_GONE * len(parts)
    unlisted = found.reason if isinstance(found, FolderGone) else _gone_folder(missing, found.gone, folders)
    held: list[str] = []
    since_us = None
    if missing and (many or unlisted):
        since_us = now_us if held_since_us is None else held_since_us
        held = missing if now_us - since_us < HOLD_US else []
    if held:
        entries = {**entries, **{key: parts[key] for key in held}}
    sources = Sources(entries, folders, found.blocked if isinstance(found, Scan) else frozenset())
    return Plan(
        sources=sources,
        changed=_changed(known, sources),
        gone=tuple(file for file in known if file not in sources.files),
        held=tuple(held),
        held_since_us=since_us if held else None,
        why=unlisted or "many files are gone at once",
    )


def _gone_folder(missing: list[str], gone: Mapping[str, str], folders: Folders) -> str:
    """Why a folder of what is missing cannot be listed; empty: they all can."""
    reasons = (gone.get(folder_of(folders, key)[0], "") for key in missing)
    return next(filter(None, reasons), "")


def _changed(known: Mapping[str, Seen | None], sources: Sources) -> dict[str, Seen]:
    changed = {}
    for file in sources.files:
        if file in sources.blocked:
            continue
        seen = known.get(file)
        template = seen.template if seen is not None else ""
        parts: dict[str, Signature] = sources.parts(file, template)
        if seen is None or parts != seen.parts:
            changed[file] = Seen(parts, template)
    return changed
