"""One definition, from bytes to a workflow or to what is wrong with it; for the daemon's child and `pyflowctl lint`.

Pure: it knows nothing of where the bytes came from, and of other definitions.
"""

from __future__ import annotations

from pyflowd.definition import compile_workflow
from pyflowd.document import DocumentError, one_line
from pyflowd.document_json import parse_json
from pyflowd.document_yaml import parse_yaml
from pyflowd.model import Problem, Workflow


def check(path_label: str, data: bytes, *, stem: str, is_json: bool) -> tuple[Workflow | None, list[Problem]]:
    """The workflow in `data`, or None; and its problems in the order of the file (with a workflow: warnings).

    `path_label` is how messages name the file; `stem` is the workflow's name if it gives none itself.
    """
    try:
        document = parse_json(data) if is_json else parse_yaml(data)
    except DocumentError as error:
        problem = Problem(
            file=path_label,
            line=error.line,
            column=error.column,
            code=error.code,
            message=one_line(error.message),
            fix=error.fix,
        )
        return None, [problem]
    return compile_workflow(document, path_label, stem)
