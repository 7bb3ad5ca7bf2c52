"""`pyflowd --check`: reads the settings and every definition as a daemon would that starts now, and says what is wrong.

Nothing is started, written or asked of a running daemon, and nobody is served.
"""

from __future__ import annotations

import os
import select

from pyflowd import settings
from pyflowd.base.filenames import is_definition_name
from pyflowd.clock import US, SystemClock
from pyflowd.errors import Refused
from pyflowd.folder.listing import list_all
from pyflowd.folder.loader import Loader
from pyflowd.folder.loader_frames import Folders, Loaded, Rejected, Result
from pyflowd.model.problem import Problem, Severity
from pyflowd.paths import Paths


def rehearse(paths: Paths) -> tuple[list[str], list[str]]:
    """What would be refused, and what would be warned of, a line each."""
    errors: list[str] = []
    try:
        by_owner = bool(settings.load(paths.settings).default_user or paths.default_user)
    except Refused as error:
        errors += str(error).splitlines()
        by_owner = bool(paths.default_user)
    problems = _definitions(Folders(os.path.abspath(paths.workflows), paths.vendor, by_owner))
    errors += [str(problem) for problem in problems if problem.severity is Severity.ERROR]
    return errors, [str(problem) for problem in problems if problem.severity is not Severity.ERROR]


def _definitions(folders: Folders) -> list[Problem]:
    try:
        listing = list_all(folders)
    except OSError as error:
        return [Problem(file=folders.workflows, code="unreadable", message=f"it cannot be listed: {error.strerror}")]
    files = sorted({name for folder in (folders.workflows, folders.vendor) for name in _names(folder)})
    found = [*listing.problems.values()]
    names: dict[str, str] = {}
    for result in _load(folders, [file for file in files if file not in listing.blocked]):
        if isinstance(result, Loaded | Rejected):
            found += result.problems
        if isinstance(result, Loaded) and names.setdefault(result.name, result.file) != result.file:
            message = f'"{result.name}" is defined by {names[result.name]}, too'
            fix = "give one of them another name"
            found.append(Problem(file=result.file, code="duplicate_name", message=message, fix=fix))
    return list(dict.fromkeys(found))


def _names(folder: str) -> list[str]:
    return [name for name in os.listdir(folder) if is_definition_name(name)] if os.path.isdir(folder) else []


def _load(folders: Folders, files: list[str]) -> list[Result]:
    """One result for each, from the same child process, within the same limits, that a daemon reads them by."""
    clock = SystemClock()
    loader = Loader(folders, clock)
    results: list[Result] = []
    try:
        loader.submit(files)
        while loader.busy:
            due_us = loader.next_deadline()
            wait_s = None if due_us is None else max(0, due_us - clock.mono_us()) / US
            select.select([loader], [], [], wait_s)
            results += loader.receive()
            results += loader.on_deadline(clock.mono_us())
    finally:
        loader.stop()
    return results
