"""A definition that was read, against the plugins that there are. Pure; where these are told from it does not know."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from pyflowd.language import definition_uses
from pyflowd.language.assembly import Assembled, in_order
from pyflowd.language.definition_references import Scope, place_of
from pyflowd.language.definition_text import Role
from pyflowd.language.document import Document, quote
from pyflowd.language.fields import Report, suggest
from pyflowd.language.lint_places import TaskPlace, tasks_of
from pyflowd.language.plugins import Known
from pyflowd.model.problem import Problem, Severity


def uses_plugins(assembled: Assembled) -> bool:
    """Whether a task may use one: a cheap question, asked of every definition."""
    return assembled.document is not None and "uses" in assembled.document.text


def check_plugins(assembled: Assembled, known: Known | None) -> Assembled:
    """With what is wrong with its use of plugins; `known` None: what there is has not been found out yet."""
    if known is None or assembled.document is None or not uses_plugins(assembled):
        return assembled
    label = next(part.label for part in assembled.parts if part.role is Role.WORKFLOW)
    found = definition_uses.judge(assembled.document, label, known)
    found += _undeclared_outputs(assembled.document, assembled.scopes, label, known)
    if not found:
        return assembled
    bad = any(problem.severity is Severity.ERROR for problem in found)
    problems = sorted([*assembled.problems, *found], key=_place)
    return replace(
        assembled,
        workflow=None if bad else assembled.workflow,
        problems=in_order(problems, assembled.parts),
    )


def _undeclared_outputs(document: Document, scopes: Iterable[Scope], label: str, known: Known) -> list[Problem]:
    """Outputs that expressions name and the plugin of the task does not declare, where it declares any."""
    given = {place.name: (name, outputs) for place in tasks_of(document.root) for name, outputs in _given(place, known)}
    report = Report(label, document)
    uses = [use for scope in scopes for use in scope.uses if given]
    for use, expression in ((use, use.expression) for use in uses if use.expression is not None):
        for reference in expression.references:
            match reference.path:
                case ("tasks", task, "outputs", output, *_) if task in given and output not in given[task][1]:
                    plugin, outputs = given[task]
                    mark = place_of(use, expression, reference.column, report)
                    message = f"{use.key}: the plugin {plugin} has no output {quote(output)}{suggest(output, outputs)}"
                    report.add(mark, "undeclared_output", message, f"see: pyflowctl kinds {plugin}", warning=True)
    return report.problems


def _given(place: TaskPlace, known: Known) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The plugin of a task, and what the task gives on; nothing where that is not known."""
    plugin = known.get(str(place.mapping.get("uses")))
    if plugin is not None and plugin.outputs is not None and not {"outputs", "capture"} & place.mapping.keys():
        yield plugin.name, tuple(field.name for field in plugin.outputs)


def _place(problem: Problem) -> tuple[bool, int, int]:
    return not problem.line, problem.line, problem.column
