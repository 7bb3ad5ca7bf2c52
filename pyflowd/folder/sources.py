"""Which files a definition is made of: vendor's below the host's, drop-ins over both, a template by name.

Every file has a key, by which messages name it, too: `backup.yaml`, `backup.yaml.d/10-local.yaml`,
`templates/nightly.yaml`; one of the vendor its absolute path. Pure decisions over what was listed; it opens nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from pyflowd.base.filenames import SUFFIXES, is_drop_in_folder
from pyflowd.folder.loader_frames import MASK, Folders, Seen, Signature

TEMPLATES = "templates/"


def folder_of(folders: Folders, key: str) -> tuple[str, str]:
    """The folder out of which no link may lead, and the name below it."""
    if key.startswith("/"):
        for folder in (folders.vendor, folders.vendor_templates):
            if folder and key.startswith(folder + "/"):
                return folder, key[len(folder) + 1 :]
    if key.startswith(TEMPLATES):
        return folders.templates, key.removeprefix(TEMPLATES)
    return folders.workflows, key


def is_of_workflows(key: str) -> bool:
    """Whether it is in the host's own folder of workflows."""
    return not key.startswith(("/", TEMPLATES))


class Sources:
    """What was listed, by what it is for. `blocked`: files of the host that are refused where the vendor has one."""

    def __init__(
        self, entries: Mapping[str, Signature], folders: Folders, blocked: frozenset[str] = frozenset()
    ) -> None:
        self.entries = entries
        self.blocked = blocked
        self.files: dict[str, str] = {}
        """Name of each definition's file to its key."""
        self._drop_ins: dict[str, dict[str, str]] = {}
        self._templates: dict[str, str] = {}
        prefixes = {
            f"{folders.vendor}/": self._workflow,
            f"{folders.vendor_templates}/": self._template,
            TEMPLATES: self._template,
            "": self._workflow,
        }
        if not folders.vendor:
            prefixes = {TEMPLATES: self._template, "": self._workflow}
        ordered = sorted(entries, key=lambda key: not key.startswith("/"))  # the vendor's first: others lie over them
        for key in ordered:
            prefix = next(prefix for prefix in prefixes if key.startswith(prefix))
            prefixes[prefix](key, key[len(prefix) :])

    def _workflow(self, key: str, name: str) -> None:
        folder, _, inner = name.rpartition("/")
        if not folder:
            _lay(self.files, self.entries, name, key)
        elif is_drop_in_folder(folder):
            _lay(self._drop_ins.setdefault(folder.removesuffix(".d"), {}), self.entries, inner, key)

    def _template(self, key: str, name: str) -> None:
        _lay(self._templates, self.entries, name, key)

    @property
    def template_names(self) -> list[str]:
        return [name.rpartition(".")[0] for name in self._templates]

    @property
    def idle(self) -> list[str]:
        """Drop-ins for a file that is not there."""
        return [key for file, found in self._drop_ins.items() if file not in self.files for key in found.values()]

    def drop_ins(self, file: str) -> list[str]:
        """Keys of those that lie over a file, in their order: by name, wherever they are."""
        found = self._drop_ins.get(file)
        return [found[name] for name in sorted(found)] if found else []

    def template(self, name: str) -> str | None:
        """The key of a template; None: there is none."""
        found = (self._templates.get(name + suffix) for suffix in SUFFIXES)
        return next((key for key in found if key is not None), None)

    def parts(self, file: str, template: str) -> dict[str, Signature]:
        """What a file is made of now, if it asks for that template."""
        keys = [self.files[file], *self.drop_ins(file)]
        base = self.template(template) if template else None
        if base is not None:
            keys.append(base)
        return {key: self.entries[key] for key in keys}

    def holds(self, file: str, seen: Seen) -> bool:
        """Whether what was read is what has settled. A time of 0 stands for one that is too near to tell anything."""
        if file not in self.files:
            return False
        now = self.parts(file, seen.template)
        return now.keys() == seen.parts.keys() and all(_same(seen.parts[key], now[key]) for key in now)


def _lay(into: dict[str, str], entries: Mapping[str, Signature], name: str, key: str) -> None:
    if entries[key] == MASK:
        into.pop(name, None)
    else:
        into[name] = key


def _same(read: Signature, settled: Signature) -> bool:
    return read == settled or (
        not read.ctime_ns
        and (read.mtime_ns, read.size_bytes, read.inode) == (settled.mtime_ns, settled.size_bytes, settled.inode)
    )


def key_in(folders: Folders, folder: str, name: str) -> str:
    """The key of a file of one of the four folders."""
    if folder == folders.workflows:
        return name
    return TEMPLATES + name if folder == folders.templates else os.path.join(folder, name)
