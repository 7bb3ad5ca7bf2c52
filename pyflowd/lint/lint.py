"""One text of a definition, to a workflow or to what is wrong with it; and what is worth saying beyond that. Pure.

`check` finds what the daemon refuses or warns of. `advise` looks further, at what would only show when it runs, and
costs more: the daemon does not ask it. It knows nothing of where the text came from.
"""

from __future__ import annotations

from pyflowd.language.assembly import Assembled, assemble, in_order
from pyflowd.language.definition_text import Part
from pyflowd.language.fields import Enough, Report
from pyflowd.language.lint_places import tasks_of
from pyflowd.lint.lint_expressions import lint_expressions
from pyflowd.lint.lint_host import Surroundings, lint_host
from pyflowd.lint.lint_tasks import lint_tasks, lint_unused
from pyflowd.model.problem import Problem
from pyflowd.model.workflow import Workflow

NOTHING_KNOWN = Surroundings()


def check(path_label: str, data: bytes, *, stem: str, is_json: bool) -> tuple[Workflow | None, list[Problem]]:
    """The workflow in `data`, or None; and its problems in the order of the file (with a workflow: warnings).

    `path_label` is how messages name the file; `stem` is the workflow's name if it gives none itself.
    """
    assembled = assemble(Part(label=path_label, data=data, is_json=is_json), stem=stem)
    return assembled.workflow, assembled.problems


def advise(file: str, assembled: Assembled, surroundings: Surroundings = NOTHING_KNOWN) -> list[Problem]:
    """What else is to be said of a definition that compiled; of any other, nothing."""
    workflow, document = assembled.workflow, assembled.document
    if workflow is None or document is None:
        return []
    report = Report(file, document)
    places = {place.name: place for place in tasks_of(document.root)}
    try:
        lint_expressions(workflow, assembled.scopes, report)
        lint_tasks(workflow, places, report)
        lint_unused(workflow, assembled.scopes, places, report)
        lint_host(workflow, places, surroundings, report)
    except Enough:
        report.problems.append(Problem(file=file, code="more", message="and more: the rest is not listed"))
    return report.problems


def ordered(problems: list[Problem], assembled: Assembled) -> list[Problem]:
    """Those of one text together, in the order of the text."""
    placed = sorted(problems, key=lambda problem: (not problem.line, problem.line, problem.column))
    return in_order(placed, assembled.parts)
