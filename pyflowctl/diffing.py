"""`diff`: what differs between two texts of a workflow, or between two runs.

The client asks for both and compares: that takes long where texts are long. It knows nothing of how what it finds is
shown.
"""

from __future__ import annotations

from pyflowctl import link
from pyflowctl.client import Client, connect
from pyflowd.protocol.views_workflows import DefinitionView
from pyflowd.render import commandline, diff, render_diff, render_json
from pyflowd.render.commandline import Words
from pyflowd.render.layout import Style, page

Named = tuple[str, str]
"""A workflow and one of its versions; empty: the one in force."""


def run_diff(words: Words, style: Style) -> int:
    """Ask for both sides, print what differs; 0 also where something does."""
    as_json = words.value("output") == "json"
    one, other = words.arguments[0], words.argument(1)
    if one.isdecimal() or (other or "").isdecimal():
        first, second = commandline.two_runs(one, other)
        with connect(root=words.value("root"), socket=words.value("socket")) as client:
            text = _runs(client, first, second, style, as_json=as_json)
    else:
        old, new = _versions(one, other)
        with connect(root=words.value("root"), socket=words.value("socket")) as client:
            text = _definitions(client, old, new, style, as_json=as_json)
    link.write(1, text)
    return 0


def _versions(one: str, other: str | None) -> tuple[Named, Named]:
    """The two texts that are meant: one workflow is its text before against the one in force."""
    workflow, version = commandline.workflow_version(one)
    if other is not None:
        return (workflow, version), commandline.workflow_version(other)
    return (workflow, version or "~1"), (workflow, "")


def _lines(old: DefinitionView, new: DefinitionView) -> list[str]:
    return diff.unified(old.text, new.text, render_diff.label(old), render_diff.label(new))


def _definitions(client: Client, old: Named, new: Named, style: Style, *, as_json: bool) -> bytes:
    before, after = client.definition(*old), client.definition(*new)
    lines = _lines(before, after)
    if as_json:
        return render_json.encode(render_diff.definitions_value(before, after, lines, style)) + b"\n"
    return page(render_diff.definitions(before, after, lines, style))


def _runs(client: Client, first: int, second: int, style: Style, *, as_json: bool) -> bytes:
    old, old_tasks = client.run(first)
    new, new_tasks = client.run(second)
    lines: list[str] = []
    if old.digest != new.digest:
        lines = _lines(client.definition(old.workflow, old.digest), client.definition(new.workflow, new.digest))
    pairs = diff.tasks(old_tasks, new_tasks)
    if as_json:
        return render_json.encode(render_diff.runs_value(old, new, lines, pairs, style)) + b"\n"
    return page(render_diff.runs(old, new, lines, pairs, style))
