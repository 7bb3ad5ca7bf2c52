"""What a task gives on, as its definition declares it: `outputs`, `capture`, `artifacts` (rule P5).

It knows nothing of what a task really gave: that is in `gather`.
"""

from __future__ import annotations

from typing import Any

from pyflowd.language import fields
from pyflowd.language.definition_types import check_identifier, one_maximum, read_pattern, read_type
from pyflowd.language.document import Mapping, quote
from pyflowd.language.fields import Reader, Report, Table, Wrong, read
from pyflowd.model.workflow import Artifact, Capture, Output, ParamType

MAX_OUTPUTS = 1000

OUTPUT = Table(
    "an output",
    {
        "type": ("type", read_type),
        "pattern": ("pattern", read_pattern),
        "max_items": ("max_items", fields.integer_from(0, 10**9)),
        "max_length": ("max_length", fields.integer_from(0, 10**9)),
        "optional": ("optional", fields.boolean),
    },
    meant={"regex": "pattern", "required": "optional", "maximum": "max_length"},
)

ARTIFACT = Table(
    "an artifact",
    {"path": ("path", fields.template), "optional": ("optional", fields.boolean)},
    meant={"file": "path", "required": "optional"},
)


def _read_output(name: str, value: Any, report: Report) -> Output:
    check_identifier(name)
    if value.__class__ is not Mapping:
        return Output(name=name, type=read_type(value, report))
    found = read(OUTPUT, value, report)
    kind = found.get("type", ParamType.STRING)
    one_maximum(found, value, kind)
    if "pattern" in found and kind is not ParamType.STRING:
        raise Wrong(f"a pattern is for text, not for {kind}")
    return Output(name=name, **found)


def _read_artifact(name: str, value: Any, report: Report) -> Artifact:
    fields.check_name(name)
    found = read(ARTIFACT, value, report) if value.__class__ is Mapping else {"path": fields.template(value, report)}
    path = found.get("path")
    if path is None:
        if value.__class__ is Mapping and "path" in value:  # wrong, and reported
            return Artifact(name=name, path="?")
        raise Wrong("it has no path", f"write it as in {name}: dist/app.tar.gz", code="missing")
    if not path.strip():
        raise Wrong("the path is empty")
    fields.bounded(path, fields.MAX_PATH_BYTES)
    return Artifact(name=name, **found)


def _each(read_one: Any) -> Reader:
    """A reader of a mapping of names; what is wrong is told at its place."""

    def items(value: Any, report: Report) -> tuple[Any, ...]:
        table = fields.mapping(value, report)
        if len(table) > MAX_OUTPUTS:
            raise Wrong(f"{len(table)} of them; at most {MAX_OUTPUTS}")
        found = []
        for index, (name, written) in enumerate(table.items()):
            mark = table.marks[2 * index + 1]
            try:
                found.append(read_one(name, written, report))
            except Wrong as wrong:
                report.wrong(mark, quote(name)[1:-1], wrong)
            report.place_uses(name, mark)
        return tuple(found)

    return items


KEYS: dict[str, tuple[str, Reader]] = {
    "outputs": ("outputs", _each(_read_output)),
    "capture": ("capture", fields.one_of(Capture)),
    "artifacts": ("artifacts", _each(_read_artifact)),
}
"""Keys of a task."""


def read_workflow_outputs(value: Any, report: Report) -> dict[str, Any]:
    """`outputs` of a workflow: name to a value, in whose texts expressions over its tasks may stand."""
    table = fields.mapping(value, report)
    found = fields.template_tree(table, report)
    for index, name in enumerate(table):
        try:
            check_identifier(name)
        except Wrong as wrong:
            report.wrong(table.marks[2 * index], quote(name), wrong)
    return dict(found)
