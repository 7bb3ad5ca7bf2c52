"""Words of help for a key of a definition, by where it stands: those of the schema. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pyflowd.language.definition_kinds import KINDS
from pyflowd.schema.schema import words
from pyflowd.web.editor.jobs import Help

SECTIONS = frozenset({"tasks", "on_success", "on_failure", "on_cancel", "finally"})
_WORKFLOW, _TASK, _PARAM = "a workflow", "a task", "a param"


def help_for(path: Sequence[str]) -> Help:
    """`path`: the keys from the top to the one in question, such as `tasks`, `upload`, `retry`. Of what nothing is
    known: the keys that may stand around it."""
    table = _WORKFLOW
    known = Help(title="A workflow", what="top of the file", text="", keys=_keys(_WORKFLOW))
    at = 0
    while at < len(path):
        key = path[at]
        said = words().get(table, {}).get(key)
        if said is None:
            break
        below, names = _below(table, key)
        known = Help(title=key, what=_spoken(table), text=said, keys=_keys(below))
        table = below
        at += 1
        if names and at < len(path):  # a name that somebody gave: of a task, a param, a trigger
            known = Help(title=path[at], what=_named(key), text="", keys=_keys(below))
            at += 1
    return known


def _below(table: str, key: str) -> tuple[str, bool]:
    """The table of what stands below a key, and whether names stand between."""
    if table == _WORKFLOW and key in SECTIONS:
        return _TASK, True
    if key == "on_error":
        return _TASK, True
    if key == "undo":
        return _TASK, False
    if table == _WORKFLOW and key == "params":
        return _PARAM, True
    if table == _WORKFLOW and key == "triggers":
        return "schedule", True
    if key == "outputs" and table == _TASK:
        return "an output", True
    return key if key in words() else "", False


def _keys(table: str) -> list[tuple[str, str]]:
    found = list(words().get(table, {}).items())
    if table == _TASK:  # what most look for stands first
        found.sort(key=lambda each: each[0] not in KINDS)
    return found


def _spoken(table: str) -> str:
    return {_WORKFLOW: "workflow key", _TASK: "task key", _PARAM: "key of a param"}.get(table, f"key of {table}")


def _named(key: str) -> str:
    return {"params": "param", "triggers": "trigger", "outputs": "output"}.get(key, "task")
