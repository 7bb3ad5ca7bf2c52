"""One definition, from the texts of its parts to a workflow or to what is wrong with it: rules D1, D2, D5.

The file lies over its template, its drop-ins lie over both. Where the texts come from it does not know: whoever calls
hands out a template when it is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from pyflowd.language.definition import compile_workflow
from pyflowd.language.definition_references import Scope
from pyflowd.language.definition_reuse import fill, read_arguments
from pyflowd.language.definition_text import Part, Role
from pyflowd.language.document import MAX_BYTES, Document, DocumentError, Mapping, one_line, quote
from pyflowd.language.document_json import parse_json
from pyflowd.language.document_yaml import parse_yaml
from pyflowd.language.fields import Enough, Report, shape, suggest
from pyflowd.language.overlay import Labelled, idle_nulls, join, merge, without
from pyflowd.model.problem import Problem, Severity
from pyflowd.model.states import is_name
from pyflowd.model.workflow import Workflow

REUSE = frozenset({"template", "with"})
"""Keys that say what a definition is built from, and are no part of it."""


class Missing(Struct, frozen=True):
    """Why there is no such template, and what to do."""

    message: str
    fix: str = ""


FindTemplate = Callable[[str], Part | Missing]


class Assembled(Struct, frozen=True, kw_only=True):
    """What became of the parts."""

    workflow: Workflow | None = None
    problems: list[Problem]
    parts: tuple[Part, ...]
    """In the order in which they apply, the template among them."""
    template: str = ""
    """The name of the template that is asked for, there or not."""
    document: Document | None = None
    """What they come to, with places; None: they come to nothing."""
    scopes: tuple[Scope, ...] = ()
    """The expressions in it, and what they see."""


def no_templates(name: str) -> Missing:
    """Where a definition has no folder of templates beside it."""
    return Missing(f"there is no template {quote(name)}: templates are of files in a workflows folder")


def assemble(
    main: Part, drop_ins: Sequence[Part] = (), find_template: FindTemplate = no_templates, *, stem: str
) -> Assembled:
    """The workflow of a file, of the drop-ins over it in their order, and of the template that they name."""
    documents, problems = _read([main, *drop_ins])
    if problems:
        return Assembled(problems=problems, parts=(main, *drop_ins))
    root = documents[0].root
    if not drop_ins and not (root.__class__ is Mapping and REUSE & root.keys()):
        compiled = compile_workflow(documents[0], main.label, stem)
        return Assembled(
            workflow=compiled.workflow,
            problems=compiled.problems,
            parts=(main,),
            document=documents[0],
            scopes=compiled.scopes,
        )
    return _built([main, *drop_ins], documents, find_template, stem)


def check_template(template: Part) -> list[Problem]:
    """What is wrong with a template by itself: filled with its defaults, where every param that it needs has one."""
    using = Part(label="", data=b'{"template": "template"}', is_json=True)
    found = assemble(using, (), lambda _: template, stem="template").problems
    problems = [problem for problem in found if problem.file != using.label]
    if len(problems) == len(found) or any(problem.severity is Severity.ERROR for problem in problems):
        return problems
    message = "a param has no default, so that only the params were checked: lint a file that is built from it"
    return [
        *problems,
        Problem(file=template.label, severity=Severity.WARNING, code="template", message=message),
    ]


def parse(part: Part) -> Document:
    """The tree of one text. Raises DocumentError."""
    return parse_json(part.data) if part.is_json else parse_yaml(part.data)


def _read(parts: Sequence[Part]) -> tuple[list[Document], list[Problem]]:
    documents, problems = [], []
    for part in parts:
        try:
            documents.append(parse(part))
        except DocumentError as error:
            problems.append(
                Problem(
                    file=part.label,
                    line=error.line,
                    column=error.column,
                    code=error.code,
                    message=one_line(error.message),
                    fix=error.fix,
                )
            )
    return documents, problems


def _built(parts: list[Part], documents: list[Document], find_template: FindTemplate, stem: str) -> Assembled:
    """Of several parts, or of one that names a template."""
    joined = join([Labelled(part.label, document) for part, document in zip(parts, documents, strict=True)])
    report = Report(parts[0].label, joined[0])
    if not _are_mappings(joined, report):
        return Assembled(problems=report.problems, parts=tuple(parts))
    own = joined[0].root
    for each in joined[1:]:
        own = merge(own, each.root)
    if "template" not in own and "with" in own:
        report.add(own.key_mark("with"), "template", "with: there is no template that it would fill", "name it")
        return Assembled(problems=report.problems, parts=tuple(parts))
    if "template" not in own:
        below = joined[0].root
        for each in joined[1:]:
            _tell_idle_nulls(below, each.root, report)
            below = merge(below, each.root)
        return _compiled(parts, joined[0]._replace(root=own), "", stem, report.problems)
    name = own["template"]
    found = find_template(name) if isinstance(name, str) and is_name(name) else _no_name(name)
    named = name if isinstance(name, str) else ""
    if isinstance(found, Missing):
        report.add(own.value_mark("template"), "template", f"template: {found.message}", found.fix)
        return Assembled(problems=report.problems, parts=tuple(parts), template=named)
    documents, problems = _read([*parts, found])
    everything = (found, *parts)
    if problems or sum(len(part.data) for part in everything) > MAX_BYTES:
        problems = problems or [_too_large(parts[0].label)]
        return Assembled(problems=problems, parts=everything, template=named)
    return _templated(parts, found, documents, named, stem)


def _templated(parts: list[Part], template: Part, documents: list[Document], name: str, stem: str) -> Assembled:
    """With the template below; `documents` are those of `parts`, then that of the template."""
    labels = [*(part.label for part in parts), template.label]
    joined = join([Labelled(*pair) for pair in zip(labels, documents, strict=True)])
    everything = [template, *parts]
    report = Report(parts[0].label, joined[0])
    base = joined[-1].root
    if not _are_mappings(joined, report):
        return Assembled(problems=report.problems, parts=tuple(everything), template=name)
    own = joined[0].root
    for each in joined[1:-1]:
        own = merge(own, each.root)
    for key in REUSE & set(base):
        report.add(base.key_mark(key), "template", f"{key}: a template is not built from another one", "write it out")
    merged = without(base, REUSE | {"params"})
    for each in joined[:-1]:
        _tell_idle_nulls(merged, each.root, report)
        merged = merge(merged, each.root)
    merged = without(merged, REUSE)
    filled: Mapping | None = None
    try:
        filled = _filled(merged, base, own, report)
    except Enough:
        report.problems.append(Problem(file=parts[0].label, code="more", message="and more: the rest is not listed"))
    if filled is None or report.errors:
        problems = in_order(report.problems, everything)
        return Assembled(problems=problems, parts=tuple(everything), template=name)
    return _compiled(everything, joined[0]._replace(root=filled), name, stem, report.problems)


def _tell_idle_nulls(below: Mapping, above: Mapping, report: Report) -> None:
    for path, mark in idle_nulls(below, above):
        holder: Any = below
        for key in path[:-1]:
            holder = holder[key]
        message = f"null takes nothing away: below there is no {'.'.join(path)}{suggest(path[-1], tuple(holder))}"
        report.add(mark, "no_effect", message, "name what is to go, or leave it out", warning=True)


def _filled(merged: Mapping, base: Mapping, own: Mapping, report: Report) -> Mapping:
    declared_mark = base.value_mark("params") if "params" in base else 0
    given_mark = own.key_mark("with") if "with" in own else own.value_mark("template")
    arguments = read_arguments(base.get("params"), declared_mark, own.get("with"), given_mark, report)
    if report.errors:
        return merged
    declared = base.get("params") or {}
    return fill(merged, frozenset(declared), arguments, report)


def _compiled(parts: list[Part], document: Document, name: str, stem: str, warnings: list[Problem]) -> Assembled:
    main = next(part for part in parts if part.role is Role.WORKFLOW)
    compiled = compile_workflow(document, main.label, stem)
    return Assembled(
        workflow=compiled.workflow,
        problems=in_order([*warnings, *compiled.problems], parts),
        parts=tuple(parts),
        template=name,
        document=document,
        scopes=compiled.scopes,
    )


def _are_mappings(documents: Sequence[Document], report: Report) -> bool:
    """Whether there is something to lay over each other."""
    for each in documents:
        if each.root.__class__ is not Mapping:
            message = f"expected a mapping (key: value), found {shape(each.root)}"
            report.add(each.mark, "value", message, "see the examples")
    return not report.errors


def _no_name(value: Any) -> Missing:
    fix = "name a file of the templates folder, without its ending"
    return Missing(f"{shape(value)} is no name of a template", fix)


def _too_large(file: str) -> Problem:
    return Problem(file=file, code="too_large", message=f"all parts together have more than {MAX_BYTES} bytes")


def in_order(problems: list[Problem], parts: Sequence[Part]) -> list[Problem]:
    """Those of one text together."""
    order = {part.label: n for n, part in enumerate(parts)}
    return sorted(problems, key=lambda problem: order.get(problem.file, len(order)))
