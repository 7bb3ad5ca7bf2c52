"""Fix the workflow files that a command line names, without a daemon."""

from __future__ import annotations

from typing import NamedTuple

from pyflowctl import fixing
from pyflowctl.linting import read_definition
from pyflowd.language.document import DocumentError, decode
from pyflowd.lint.lint import check
from pyflowd.model.problem import Problem


class FixedFile(NamedTuple):
    """What became of a file: the change, as a diff, and what is left to be done by hand."""

    path: str
    diff: str
    problems: list[Problem]


def fix_file(path: str, *, dry_run: bool) -> FixedFile:
    """Move expressions out of shell text; `dry_run`: only show it."""
    found = read_definition(path)
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
