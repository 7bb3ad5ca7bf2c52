"""Check the workflow files that a command line names, without a daemon."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from pyflowctl import link
from pyflowctl.beside import Beside, is_template
from pyflowctl.lintshell import SyntaxText, check_shell_texts, syntax_problem
from pyflowctl.shellsyntax import faults
from pyflowctl.surroundings import surroundings_of
from pyflowd.base.filenames import is_drop_in_folder, looks_like_definition, split_name
from pyflowd.language.assembly import Assembled, assemble, check_template
from pyflowd.language.definition_text import Part, Role
from pyflowd.lint.lint import advise, ordered
from pyflowd.model.problem import Problem
from pyflowd.plugins.plugin_checks import check_plugins

_AT_ONCE = 250
"""Files whose shell texts are read together: each group costs a process or two."""
_WORTH_A_PROCESS = 60
"""Files that take as long to check as it takes to start a process for them and to take its answer, many times."""
_MOST_PROCESSES = 4


def check_files(paths: Iterable[str]) -> list[Problem]:
    """All problems of all files, in their order; a file that cannot be read is a problem as well."""
    todo = list(paths)
    if len(todo) > _WORTH_A_PROCESS:
        gc.freeze()  # trees of documents have no cycles: looking for some takes a sixth of the time
        gc.set_threshold(100_000, 50, 50)
    count = min(len(os.sched_getaffinity(0)), _MOST_PROCESSES, max(1, len(todo) // _WORTH_A_PROCESS))
    size = -(-len(todo) // count)
    shares = [todo[start : start + size] for start in range(0, len(todo), size)] if todo else []
    helpers = [(share, *_start_helper(share)) for share in shares[1:]]
    found = _check_share(shares[0]) if shares else []
    for share, pid, answer in helpers:
        found += _take(share, pid, answer)
    return found


def _check_share(paths: list[str]) -> list[Problem]:
    groups = [paths[start : start + _AT_ONCE] for start in range(0, len(paths), _AT_ONCE)]
    return [problem for group in groups for problem in _check_group(group)]


def _start_helper(paths: list[str]) -> tuple[int, int]:
    """A process of our own that checks a share of the files: its id, and where its answer comes."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    status = 1
    try:
        os.close(reading)
        with os.fdopen(writing, "wb") as answer:
            answer.write(msgspec.msgpack.encode(_check_share(paths)))
        status = 0
    finally:
        os._exit(status)


def _take(paths: list[str], pid: int, reading: int) -> list[Problem]:
    """What a helper found; where it did not come to an end, its share is checked here."""
    with os.fdopen(reading, "rb") as answer:
        data = answer.read()
    _, status = os.waitpid(pid, 0)
    return _check_share(paths) if status else msgspec.msgpack.decode(data, type=list[Problem])


def check_text(label: str, data: bytes, *, stem: str, is_json: bool) -> tuple[list[Problem], Assembled]:
    """One text by itself, as an editor has it: nothing lies beside it, nothing of a host is known. Its problems in
    their order, and what became of it."""
    assembled = assemble(Part(label=label, data=data, is_json=is_json), stem=stem)
    hazards, texts = check_shell_texts(label, assembled)
    checked = _Checked(label, [*assembled.problems, *advise(label, assembled), *hazards], assembled, texts)
    return _with_shell_syntax([checked]), assembled


def _check_group(paths: list[str]) -> list[Problem]:
    return _with_shell_syntax([_check_file(path) for path in paths])


def _with_shell_syntax(checked: list[_Checked]) -> list[Problem]:
    """All problems of files, with what a shell says of their texts, which are read together."""
    texts = [text for each in checked for text in each.texts]
    found = faults([text.shell_text for text in texts])
    problems, at = [], 0
    for each in checked:
        own = [
            syntax_problem(each.file, each.assembled.document, text, found[at + n])
            for n, text in enumerate(each.texts)
            if at + n in found and each.assembled is not None and each.assembled.document is not None
        ]
        at += len(each.texts)
        together = [*each.problems, *own]
        problems += together if each.assembled is None else ordered(together, each.assembled)
    return problems


class _Checked(NamedTuple):
    """What is wrong with a file, and what a shell is still to be asked."""

    file: str
    problems: list[Problem]
    assembled: Assembled | None = None
    texts: Sequence[SyntaxText] = ()


def _check_file(path: str) -> _Checked:
    """A file with all that belongs to it; of a drop-in, the file that it lies over."""
    folder = path.rpartition("/")[0]
    if is_drop_in_folder(folder.rpartition("/")[2]):
        path = folder.removesuffix(".d")
    found = read_definition(path)
    if isinstance(found, Problem):
        return _Checked(path, [found])
    if is_template(path):
        part = Part(label=path, data=found.data, is_json=found.is_json, role=Role.TEMPLATE)
        return _Checked(path, check_template(part))
    beside = Beside(path)
    drop_ins = beside.drop_ins()
    if isinstance(drop_ins, Problem):
        return _Checked(path, [drop_ins])
    main = Part(label=path, data=found.data, is_json=found.is_json)
    assembled = assemble(main, drop_ins, beside.template, stem=found.stem)
    assembled = check_plugins(assembled, beside.plugins(assembled))
    surroundings = surroundings_of(os.path.dirname(os.path.abspath(path)))
    hazards, texts = check_shell_texts(path, assembled)
    return _Checked(path, [*assembled.problems, *advise(path, assembled, surroundings), *hazards], assembled, texts)


class DefinitionFile(NamedTuple):
    """A file of a definition; `stem` names its workflow."""

    data: bytes
    stem: str
    is_json: bool


def read_definition(path: str) -> DefinitionFile | Problem:
    if os.path.isdir(path):
        fix = f"name the files in it: {path.rstrip('/')}/*.yaml"
        return Problem(file=path, code="unreadable", message="this is a folder", fix=fix)
    name = path.rpartition("/")[2]
    if not looks_like_definition(name):
        message = "not the name of a definition: end it in .yaml, .yml or .json"
        return Problem(file=path, code="name", message=message)
    try:
        return DefinitionFile(link.read_file(path), *split_name(name))
    except link.ClientError as error:
        return Problem(file=path, code="unreadable", message=str(error).removeprefix(f"{path}: "))
