"""A definition that was read, against the plugins that there are. Pure; where these are told from it does not know."""

from __future__ import annotations

from msgspec.structs import replace

from pyflowd import definition_uses
from pyflowd.assembly import Assembled, in_order
from pyflowd.definition_text import Role
from pyflowd.model import Problem, Severity
from pyflowd.plugins import Known


def uses_plugins(assembled: Assembled) -> bool:
    """Whether a task may use one: a cheap question, asked of every definition."""
    return assembled.document is not None and "uses" in assembled.document.text


def check_plugins(assembled: Assembled, known: Known | None) -> Assembled:
    """With what is wrong with its use of plugins; `known` None: what there is has not been found out yet."""
    if known is None or assembled.document is None or not uses_plugins(assembled):
        return assembled
    label = next(part.label for part in assembled.parts if part.role is Role.WORKFLOW)
    found = definition_uses.judge(assembled.document, label, known)
    if not found:
        return assembled
    bad = any(problem.severity is Severity.ERROR for problem in found)
    problems = sorted([*assembled.problems, *found], key=_place)
    return replace(
        assembled,
        workflow=None if bad else assembled.workflow,
        problems=in_order(problems, assembled.parts),
    )


def _place(problem: Problem) -> tuple[bool, int, int]:
    return not problem.line, problem.line, problem.column
