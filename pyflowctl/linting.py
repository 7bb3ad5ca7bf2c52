"""Check the workflow files that a command line names, and fix what can be fixed, without a daemon."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pyflowctl import fixing, link
from pyflowctl.beside import Beside, is_template
from pyflowd.assembly import assemble, check_template
from pyflowd.definition_text import Part, Role
from pyflowd.document import DocumentError, decode
from pyflowd.filenames import is_drop_in_folder, looks_like_definition, split_name
from pyflowd.lint import check
from pyflowd.model import Problem


def check_files(paths: Iterable[str]) -> list[Problem]:
    """All problems of all files, in their order; a file that cannot be read is a problem as well."""
    return [problem for path in paths for problem in _check_file(path)]


def _check_file(path: str) -> list[Problem]:
    """Those of a file with all that belongs to it; of a drop-in, those of the file that it lies over."""
    folder = path.rpartition("/")[0]
    if is_drop_in_folder(folder.rpartition("/")[2]):
        path = folder.removesuffix(".d")
    found = _read(path)
    if isinstance(found, Problem):
        return [found]
    if is_template(path):
        return check_template(Part(label=path, data=found.data, is_json=found.is_json, role=Role.TEMPLATE))
    beside = Beside(path)
    drop_ins = beside.drop_ins()
    if isinstance(drop_ins, Problem):
        return [drop_ins]
    main = Part(label=path, data=found.data, is_json=found.is_json)
    return assemble(main, drop_ins, beside.template, stem=found.stem).problems


class _File(NamedTuple):
    data: bytes
    stem: str
    is_json: bool


def _read(path: str) -> _File | Problem:
    name = path.rpartition("/")[2]
    if not looks_like_definition(name):
        message = "not the name of a definition: end it in .yaml, .yml or .json"
        return Problem(file=path, code="name", message=message)
    try:
        return _File(link.read_file(path), *split_name(name))
    except link.ClientError as error:
        return Problem(file=path, code="unreadable", message=str(error).removeprefix(f"{path}: "))


class FixedFile(NamedTuple):
    """What became of a file: the change, as a diff, and what is left to be done by hand."""

    path: str
    diff: str
    problems: list[Problem]


def fix_file(path: str, *, dry_run: bool) -> FixedFile:
    """Move expressions out of shell text; `dry_run`: only show it."""
    found = _read(path)
    if isinstance(found, Problem):
        return FixedFile(path, "", [found])
    try:
        fixed = fixing.fix(path, found.data, stem=found.stem, is_json=found.is_json)
    except DocumentError:
        return FixedFile(path, "", check(path, found.data, stem=found.stem, is_json=found.is_json)[1])
    data = fixing.with_mark(found.data, fixed.text)
    if data != found.data and not dry_run:
        try:
            fixing.write_beside(path, data)
        except OSError as error:
            message = f"it cannot be written: {error.strerror}"
            return FixedFile(path, "", [Problem(file=path, code="unwritable", message=message)])
    return FixedFile(path, fixing.diff(path, decode(found.data), fixed.text), fixed.problems)
