"""`pyflowctl export systemd WORKFLOW|FILE`: units for who leaves, written beside each other.

The definition is read as lint reads it, with its drop-ins and its template; no daemon is asked.
"""

from __future__ import annotations

import os

from pyflowctl import imports, link
from pyflowctl.beside import Beside
from pyflowd import paths
from pyflowd.base.filenames import SUFFIXES, looks_like_definition, split_name
from pyflowd.conversion import unit_export
from pyflowd.errors import NotFound, Refused, UsageError
from pyflowd.language.assembly import assemble
from pyflowd.language.definition_text import Part
from pyflowd.model.problem import Problem, Severity
from pyflowd.model.states import is_name
from pyflowd.model.workflow import Workflow
from pyflowd.render import grammar
from pyflowd.render.commandline import Words, is_file
from pyflowd.render.layout import Style, bold, clean, page, plural
from pyflowd.render.render_json import encode


def export(words: Words, style: Style) -> int:
    """Write the units, print what was written, and give the exit status. Raises Refused with every obstacle."""
    sort, what = words.arguments
    if sort not in grammar.EXPORTS:
        raise UsageError(f'export knows no "{sort[:40]}"; write one of: {", ".join(grammar.EXPORTS)}')
    folder = words.value("to")
    if folder == "":
        raise UsageError("--to names nothing; write --to DIR, or leave it out")
    folder = os.path.abspath(folder or ".")
    workflow, _ = definition_of(_path(what, words))
    try:
        units = unit_export.export(workflow, folder)
    except ValueError as wrong:
        raise Refused("\n".join(f"{workflow.name}: {line}" for line in str(wrong).splitlines())) from None
    written = [(os.path.join(folder, name), text) for name, text in units.files.items()]
    outcomes = [_outcome(path, text, words) for path, text in written]
    _show(workflow, written, outcomes, units.remarks, words, style)
    return 0


def _path(what: str, words: Words) -> str:
    """The file that is named, or that of a workflow of the instance."""
    if is_file(what):
        return what
    if not is_name(what):
        raise UsageError(f'"{what[:80]}" is neither a file nor the name of a workflow')
    instance = paths.find(words.value("root"), dict(os.environ), os.getuid())
    for folder in (instance.workflows, instance.vendor):
        for suffix in SUFFIXES:
            if folder and os.path.isfile(path := os.path.join(folder, what + suffix)):
                return path
    raise NotFound(f"there is no {what} in {instance.workflows}; name the file")


def definition_of(path: str) -> tuple[Workflow, bytes]:
    """The definition in a file, its drop-ins and its template with it, and its text. Raises Refused with every
    problem."""
    file = os.path.basename(path)
    if not looks_like_definition(file):
        raise UsageError(f"{path}: not the name of a definition: end it in .yaml, .yml or .json")
    stem, is_json = split_name(file)
    beside = Beside(path)
    drop_ins = beside.drop_ins()
    if isinstance(drop_ins, Problem):
        raise Refused(str(drop_ins))
    main = Part(label=path, data=link.read_file(path), is_json=is_json)
    found = assemble(main, drop_ins, beside.template, stem=stem)
    if found.workflow is None:
        raise Refused("\n".join(str(each) for each in found.problems if each.severity is Severity.ERROR))
    return found.workflow, main.data


def _outcome(path: str, text: str, words: Words) -> str:
    if words.has("dry-run"):
        return "would be written"
    try:
        return imports.write(path, text, force=words.has("force"), mode=0o755 if path.endswith(".sh") else 0o644)
    except ValueError as wrong:
        raise Refused(str(wrong)) from None


def _show(
    workflow: Workflow,
    written: list[tuple[str, str]],
    outcomes: list[str],
    remarks: tuple[str, ...],
    words: Words,
    style: Style,
) -> None:
    if words.value("output") == "json":
        files = [
            {"path": path, "outcome": outcome, "text": text}
            for (path, text), outcome in zip(written, outcomes, strict=True)
        ]
        link.write(1, encode({"workflow": workflow.name, "files": files, "remarks": list(remarks)}) + b"\n")
        return
    lines: list[str] = []
    if words.has("dry-run"):
        for path, text in written:
            lines += [bold(f"# ---- {clean(path)}", style), *map(clean, text.splitlines()), ""]
    lines += [f"{outcome}: {clean(path)}" for (path, _), outcome in zip(written, outcomes, strict=True)]
    lines += [f"  - {clean(remark)}" for remark in remarks]
    lines.append(bold(f"{plural(len(written), 'file')} of {workflow.name}", style))
    link.write(1, page(lines))
