"""What belongs to a workflow file that a command line names: drop-ins beside it, templates in the folder by its own.

Found as the daemon finds it, but read as the user, who may read what he likes. It checks nothing.
"""

from __future__ import annotations

import os

from pyflowctl import link
from pyflowd import paths
from pyflowd.assembly import Missing
from pyflowd.definition_text import Part, Role
from pyflowd.document import quote
from pyflowd.fields import suggest
from pyflowd.filenames import is_drop_in_folder, split_name
from pyflowd.listing import Listing, list_templates, look_at, look_for_template
from pyflowd.loader_frames import Folders
from pyflowd.model import Problem
from pyflowd.sources import Sources, folder_of

_KNOWN = "templates"


class Beside:
    """The parts that lie over and under one file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._given = os.path.dirname(path)
        folder = os.path.dirname(os.path.abspath(path))
        self._folders = Folders(folder, _vendor_of(folder))

    def drop_ins(self) -> list[Part] | Problem:
        """In their order; a problem where one cannot be read."""
        file = os.path.basename(self._path)
        listing = look_at(self._folders, file)
        if is_drop_in_folder(file + ".d"):
            for key, problem in listing.problems.items():
                if key not in listing.entries and key != file:
                    return Problem(file=self._label(key), code=problem.code, message=problem.message, fix=problem.fix)
        try:
            return [self._part(key, Role.DROP_IN) for key in self._sources(listing).drop_ins(file)]
        except link.ClientError as error:
            return Problem(file=self._path, code="unreadable", message=str(error))

    def template(self, name: str) -> Part | Missing:
        """The template of that name."""
        key = self._sources(look_for_template(self._folders, name)).template(name)
        if key is not None:
            try:
                return self._part(key, Role.TEMPLATE)
            except link.ClientError as error:
                return Missing(str(error))
        known = self._sources(list_templates(self._folders)).template_names
        guess = suggest(name, tuple(known))
        return Missing(f"there is no template {quote(name)}{guess}", f"put it into {self._folders.templates}")

    def _sources(self, listing: Listing) -> Sources:
        return Sources(listing.entries, self._folders)

    def _part(self, key: str, role: Role) -> Part:
        label = self._label(key)
        data = link.read_file(os.path.join(*folder_of(self._folders, key)))
        return Part(label=label, data=data, is_json=split_name(key)[1], role=role)

    def _label(self, key: str) -> str:
        """As the user would name it, from where the file itself was named."""
        if key.startswith("/"):
            return key
        if key.startswith(_KNOWN + "/"):
            return os.path.normpath(os.path.join(self._given, os.pardir, key))
        return os.path.join(self._given, key)


def is_template(path: str) -> bool:
    """Whether a file is one that others are built from, by the folder in which it is."""
    return os.path.basename(os.path.dirname(os.path.abspath(path))) == _KNOWN


def _vendor_of(folder: str) -> str:
    """What lies below a folder of workflows; empty if nothing does."""
    for instance in (paths.SYSTEM, paths.of_user(dict(os.environ), os.getuid())):
        if folder == instance.workflows:
            return instance.vendor
    below = paths.below(os.path.dirname(folder))
    return below.vendor if folder == below.workflows else ""
