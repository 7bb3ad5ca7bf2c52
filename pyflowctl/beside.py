"""What belongs to a workflow file that a command line names: drop-ins beside it, templates and plugins in the folders
by its own.

Found as the daemon finds it, but read as the user, who may read what he likes. It checks nothing.
"""

from __future__ import annotations

import os
from functools import lru_cache

from pyflowctl import link
from pyflowctl.surroundings import instance_of
from pyflowd.base.filenames import is_drop_in_folder, split_name
from pyflowd.folder.listing import Listing, list_templates, look_at, look_for_template
from pyflowd.folder.loader_frames import Folders
from pyflowd.folder.sources import Sources, folder_of
from pyflowd.language import definition_uses
from pyflowd.language.assembly import Assembled, Missing
from pyflowd.language.definition_kinds import KINDS
from pyflowd.language.definition_text import Part, Role
from pyflowd.language.document import quote
from pyflowd.language.fields import suggest
from pyflowd.language.plugins import Known
from pyflowd.model.problem import Problem
from pyflowd.plugins import plugin_survey
from pyflowd.plugins.plugin_checks import uses_plugins

_KNOWN = "templates"


class Beside:
    """The parts that lie over and under one file."""

    def __init__(self, path: str) -> None:
        self._path = path
        folder = os.path.dirname(os.path.abspath(path))
        instance = instance_of(folder)
        self._given = os.path.dirname(path) if instance is None or folder == instance.workflows else instance.workflows
        self._folders = Folders(folder) if instance is None else Folders(instance.workflows, instance.vendor)

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

    def plugins(self, assembled: Assembled) -> Known | None:
        """What there is of the plugins that the definition uses; None: it uses none."""
        if assembled.document is None or not uses_plugins(assembled):
            return None
        return _plugins(self._folders.plugins, frozenset(definition_uses.names(assembled.document)))

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


@lru_cache(maxsize=64)
def _plugins(folder: str, names: frozenset[str]) -> Known:
    """Asking costs a process for each: the files of one command line ask for the same ones."""
    return plugin_survey.survey_of(folder, names, KINDS)


def is_template(path: str) -> bool:
    """Whether a file is one that others are built from, by the folder in which it is."""
    return os.path.basename(os.path.dirname(os.path.abspath(path))) == _KNOWN
