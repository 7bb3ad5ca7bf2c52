"""`keeper.yaml`: for which users the keeper starts tasks, as root says. Read whole, and only if it is root's word."""

from __future__ import annotations

import os
import stat

from msgspec import Struct

from pyflowd.base import trust
from pyflowd.errors import Refused
from pyflowd.language import fields
from pyflowd.language.document import DocumentError
from pyflowd.language.document_yaml import parse_yaml
from pyflowd.language.fields import Enough, Report, Table, Wrong, read
from pyflowd.model.problem import Severity
from pyflowd.paths import SYSTEM

ALL = "*"
_MAX_BYTES = 1 << 20


class KeeperSettings(Struct, frozen=True, kw_only=True):
    """What `keeper.yaml` says."""

    users: tuple[str, ...] = ()
    """Names, or `*` for all but root."""
    root: bool = False
    """Whether tasks of root's are started, each as a definition of root's says it."""
    workflows: str = SYSTEM.workflows
    """The folder in which such definitions are looked for."""
    vendor: str = SYSTEM.vendor
    """Where packages bring some."""


def _read_users(value: object, report: Report) -> tuple[str, ...]:
    if value in (ALL, [ALL]):
        return (ALL,)
    names = tuple(fields.one_or_more(fields.user)(value, report)) if value != [] else ()
    if "root" in names:
        raise Wrong("root is no user among others", "write root: true")
    return names


KEEPER_SETTINGS = Table(
    "keeper.yaml",
    {
        "users": ("users", _read_users),
        "root": ("root", fields.boolean),
        "workflows": ("workflows", fields.absolute_path),
        "vendor": ("vendor", fields.absolute_path),
    },
)


def answer(path: str) -> str:
    """The lines that the keeper reads (`keeper.permissions`)."""
    try:
        found = parse(path, load(path))
    except Refused as refused:
        return f"error\t{' '.join(str(refused).split())}\n"
    lines = [
        "\t".join(("users", *found.users)),
        f"root\t{'yes' if found.root else 'no'}",
        f"workflows\t{found.workflows}",
        f"vendor\t{found.vendor}",
        "end",
    ]
    return "\n".join(lines) + "\n"


def load(path: str) -> bytes:
    """The file's text, if nobody but root could have written it. Raises Refused."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise Refused(f"it cannot be read: {error.strerror}") from error
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_BYTES:
            raise Refused("it is no plain file of at most 1 MiB")
        fault = trust.of_file(path, status, frozenset({0})) or trust.of_folder(os.path.dirname(path), 0)
        if fault is not None:
            raise Refused(f"{fault.message}; {fault.fix}")
        return file.read(_MAX_BYTES + 1)


def parse(path: str, data: bytes) -> KeeperSettings:
    """What stands in `data`; a file of nothing but comments says nothing. Raises Refused with the first problem."""
    if not any(line.strip() and not line.lstrip().startswith(b"#") for line in data.splitlines()):
        return KeeperSettings()
    try:
        document = parse_yaml(data)
    except DocumentError as error:
        raise Refused(f"line {error.line}: {error}") from error
    report = Report(path, document)
    found = {}
    try:
        found = read(KEEPER_SETTINGS, fields.mapping(document.root, report), report)
    except Wrong as wrong:
        report.wrong(document.mark, KEEPER_SETTINGS.what, wrong)
    except Enough:
        pass
    for problem in report.problems:
        if problem.severity is Severity.ERROR:
            fix = f"; {problem.fix}" if problem.fix else ""
            raise Refused(f"line {problem.line}: {problem.message}{fix}")
    return KeeperSettings(**found)
