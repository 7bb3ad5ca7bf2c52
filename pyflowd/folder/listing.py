"""What is in the folders of definitions: the files with their signatures, and what only looks like one (rule D4).

Listing and looking; it reads no file, and remembers nothing. Folders that others can write to are told: what is in them
is refused when it is read (`loader_read`), what is in force already stays.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import NamedTuple

from pyflowd.base import trust
from pyflowd.base.filenames import SUFFIXES, is_definition_name, is_drop_in_folder, looks_like_definition
from pyflowd.folder.loader_frames import MASK, Folders, Signature, signature_of
from pyflowd.folder.sources import key_in
from pyflowd.language.document import one_line
from pyflowd.model.problem import Problem, Severity

UNSAFE = "unsafe"
"""The code of a problem with whoever could write a file, or put it where it is."""
MAX_DROP_INS = 64
"""Of one file in one folder."""


class Listing(NamedTuple):
    """What was found, by key."""

    entries: dict[str, Signature]
    problems: dict[str, Problem]
    """What is not read, and why."""
    gone: dict[str, str]
    """Folders that cannot be listed, or are not there, and why."""
    blocked: frozenset[str]
    """Files of the host that are not read, where the vendor has one of that name: that one is not meant either."""


class _Refused(NamedTuple):
    message: str
    fix: str = ""


def list_all(folders: Folders) -> Listing:
    """All folders. Raises OSError if the host's own workflows cannot be listed."""
    found = Listing({}, {}, {}, frozenset())
    _list(folders, folders.workflows, found, drop_ins=True)
    for folder, drop_ins in ((folders.vendor, True), (folders.templates, False), (folders.vendor_templates, False)):
        if not folder:
            continue
        try:
            _list(folders, folder, found, drop_ins=drop_ins)
        except OSError as error:
            found.gone[folder] = f"{folder}: {error.strerror}"
            if not isinstance(error, FileNotFoundError):  # there need not be one
                found.problems[folder] = _problem(folder, _Refused(f"it cannot be listed: {error.strerror}"))
    _list_unsafe(folders, found)
    blocked = (key for key in found.problems if f"{folders.vendor}/{key}" in found.entries and key not in found.entries)
    return found._replace(blocked=frozenset(blocked) if folders.vendor else frozenset())


def _list_unsafe(folders: Folders, found: Listing) -> None:
    """Folders whose files are refused; each fault once, as one above them is that of all."""
    told = set()
    for folder in filter(None, (folders.workflows, folders.vendor, folders.templates, folders.vendor_templates)):
        fault = None if folder in found.gone else trust.of_folder(folder, os.geteuid())
        if fault is not None and fault not in told:
            told.add(fault)
            refused = _Refused(f"nothing in it is read: {fault.message}", f"{fault.fix}; then pyflowctl reload")
            found.problems[folder] = _problem(folder, refused, code=UNSAFE)


def look_at(folders: Folders, file: str) -> Listing:
    """One file and its drop-ins."""
    found = Listing({}, {}, {}, frozenset())
    for folder in filter(None, (folders.workflows, folders.vendor)):
        _look(folders, folder, file, found)
        if file not in found.problems:
            _list_drop_ins(folders, folder, file + ".d", found)
    return found


def look_for_template(folders: Folders, name: str) -> Listing:
    """The files that could be a template of that name."""
    found = Listing({}, {}, {}, frozenset())
    for folder in filter(None, (folders.templates, folders.vendor_templates)):
        for suffix in SUFFIXES:
            _look(folders, folder, name + suffix, found)
    return found


def list_templates(folders: Folders) -> Listing:
    """All templates; of folders that cannot be listed, none."""
    found = Listing({}, {}, {}, frozenset())
    for folder in filter(None, (folders.templates, folders.vendor_templates)):
        with suppress(OSError):
            _list(folders, folder, found, drop_ins=False)
    return found


def _list(folders: Folders, folder: str, found: Listing, *, drop_ins: bool) -> None:
    for name in os.listdir(folder):
        if looks_like_definition(name):
            _look(folders, folder, name, found)
        elif drop_ins and is_drop_in_folder(name):
            _list_drop_ins(folders, folder, name, found)


def _list_drop_ins(folders: Folders, folder: str, name: str, found: Listing) -> None:
    path = os.path.join(folder, name)
    key = key_in(folders, folder, name)
    try:
        inside = [each for each in os.listdir(path) if looks_like_definition(each)]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        found.problems[key] = _problem(key, _Refused(f"it cannot be listed: {error.strerror}"))
        return
    if os.path.islink(path) and not _leads_into(path, folder):
        found.problems[key] = _problem(
            key, _Refused("it is a link that leads out of the folder", "copy the files here")
        )
        return
    if len(inside) > MAX_DROP_INS:
        message = f"it has {len(inside)} drop-ins; at most {MAX_DROP_INS} are read"
        found.problems[key] = _problem(key, _Refused(message, "put some together"))
        return
    for each in inside:
        _look(folders, folder, f"{name}/{each}", found)


def _look(folders: Folders, folder: str, name: str, found: Listing) -> None:
    key = key_in(folders, folder, name)
    judged = judge(folder, name)
    if isinstance(judged, Signature):
        found.entries[key] = judged
        if judged == MASK:
            found.problems[key] = _problem(key, _Refused("it is a link to /dev/null: masked"), Severity.WARNING)
    elif judged is not None:
        found.problems[key] = _problem(key, judged)


def judge(folder: str, name: str) -> Signature | _Refused | None:
    """The signature of a definition, `MASK` of one that is masked, why it is not read; None: it is not there."""
    last = name.rpartition("/")[2]
    if not is_definition_name(last):
        return _Refused("its suffix has capital letters", "rename it")
    path = os.path.join(folder, name)
    try:
        name.encode("utf-8")
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            if os.path.realpath(path) == os.devnull:
                return MASK
            if not _leads_into(path, folder):
                return _Refused("it is a link that leads out of the folder", "copy the file here")
            status = os.stat(path)
    except UnicodeEncodeError:
        return _Refused("its name is not UTF-8", "rename it")
    except FileNotFoundError:
        return _Refused("it is a link that leads nowhere") if os.path.islink(path) else None
    except OSError as error:
        return _Refused(f"it cannot be looked at: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):
        return _Refused("it is no regular file", "move it elsewhere")
    return signature_of(status)


def _leads_into(path: str, folder: str) -> bool:
    return os.path.realpath(path).startswith(os.path.realpath(folder).rstrip("/") + "/")


def _problem(key: str, refused: _Refused, severity: Severity = Severity.ERROR, *, code: str = "not_read") -> Problem:
    return Problem(file=one_line(key), severity=severity, code=code, message=refused.message, fix=refused.fix)
