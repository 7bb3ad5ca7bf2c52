"""One text of a definition, to a workflow or to what is wrong with it. Pure.

It knows nothing of where the text came from, of templates, and of other definitions.
"""

from __future__ import annotations

from pyflowd.assembly import assemble
from pyflowd.definition_text import Part
from pyflowd.model import Problem, Workflow


def check(path_label: str, data: bytes, *, stem: str, is_json: bool) -> tuple[Workflow | None, list[Problem]]:
    """The workflow in `data`, or None; and its problems in the order of the file (with a workflow: warnings).

    `path_label` is how messages name the file; `stem` is the workflow's name if it gives none itself.
    """
    assembled = assemble(Part(label=path_label, data=data, is_json=is_json), stem=stem)
    return assembled.workflow, assembled.problems
