"""A settings file, by a table of its keys: read and judged as definitions are, told with file, line, column and remedy.

It knows nothing of what the settings mean.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pyflowd.base import trust
from pyflowd.errors import Refused
from pyflowd.language import fields
from pyflowd.language.document import DocumentError, Mapping
from pyflowd.language.document_yaml import parse_yaml
from pyflowd.language.fields import Enough, Report, Table, read
from pyflowd.model.problem import Severity

Judge = Callable[[Mapping, dict[str, Any], Report], None]
"""What is wrong only of several settings together, to the report."""


def load(path: str, *, strict: bool = False) -> bytes:
    """What the file holds; nothing where there is none. Raises Refused.

    `strict`: also where others than root and this user could have written it (`trust`): who may, could have any program
    run as this user.
    """
    try:
        with open(path, "rb") as file:
            if strict:
                _check_writers(path, os.fstat(file.fileno()))
            return file.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from error


def _check_writers(path: str, status: os.stat_result) -> None:
    own = os.geteuid()
    fault = trust.of_file(path, status, frozenset({0, own})) or trust.of_folder(os.path.dirname(path), own)
    if fault is not None:
        raise Refused(f"{fault.message}, and settings are taken from whoever owns this host only: {fault.fix}")


def parse(path: str, data: bytes, table: Table, judge: Judge) -> dict[str, Any]:
    """Fields of the settings in `data`; a file of nothing but comments has none. Raises Refused with every problem."""
    if not any(line.strip() and not line.lstrip().startswith(b"#") for line in data.splitlines()):
        return {}
    try:
        document = parse_yaml(data)
    except DocumentError as error:
        raise Refused(f"{path}:{error.line}:{error.column}: {error}") from error
    report = Report(path, document)
    found = {}
    try:
        root = fields.mapping(document.root, report)
        found = read(table, root, report)
        judge(root, found, report)
    except fields.Wrong as wrong:
        report.wrong(document.mark, table.what, wrong)
    except Enough:
        pass
    errors = [problem for problem in report.problems if problem.severity is Severity.ERROR]
    if errors:
        raise Refused("\n".join(map(str, errors)))
    return found
