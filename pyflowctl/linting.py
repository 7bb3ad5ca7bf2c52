"""Check the workflow files that a command line names, without a daemon."""

from __future__ import annotations

from collections.abc import Iterable

from pyflowctl import link
from pyflowd.filenames import looks_like_definition, split_name
from pyflowd.lint import check
from pyflowd.model import Problem


def check_files(paths: Iterable[str]) -> list[Problem]:
    """All problems of all files, in their order; a file that cannot be read is a problem as well."""
    return [problem for path in paths for problem in _check_file(path)]


def _check_file(path: str) -> list[Problem]:
    name = path.rpartition("/")[2]
    if not looks_like_definition(name):
        message = "not the name of a definition: end it in .yaml, .yml or .json"
        return [Problem(file=path, code="name", message=message)]
    try:
        data = link.read_file(path)
    except link.ClientError as error:
        return [Problem(file=path, code="unreadable", message=str(error).removeprefix(f"{path}: "))]
    stem, is_json = split_name(name)
    return check(path, data, stem=stem, is_json=is_json)[1]
