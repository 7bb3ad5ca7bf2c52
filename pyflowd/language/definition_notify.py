"""`notify` in a definition: the kind of task that sends a message, and the rules by which a run's end is told.

Which channels there are is in the settings of the daemon, so lint cannot judge their names: a task that names none of
them fails when it runs, and a rule's message waits in the spool and says so.
"""

from __future__ import annotations

from typing import Any

from pyflowd.language import fields
from pyflowd.language.document import Mapping, Sequence
from pyflowd.language.fields import Report, Table, Wrong, read
from pyflowd.model.kinds import Notify
from pyflowd.model.states import RunState
from pyflowd.model.workflow import NotifyRule

_ENDS = {state.value: state for state in (RunState.FAILED, RunState.CANCELLED, RunState.SUCCEEDED)}

# ---- A task ---------------------------------------------------------------------------------------------------------


def _read_text(value: Any, report: Report) -> str:
    checked = fields.template(value, report)
    if not checked.strip():
        raise Wrong("the text is empty")
    return checked


NOTIFY = Table(
    "notify",
    {
        "channel": ("channel", fields.name),
        "text": ("text", _read_text),
        "subject": ("subject", fields.template),
    },
    meant={"message": "text", "msg": "text", "body": "text", "title": "subject", "to": "channel"},
)


def read_notify(value: Any, report: Report) -> dict[str, Any]:
    """The fields of `notify` of a task."""
    mapping = fields.mapping(value, report)
    for key in ("channel", "text"):
        if key not in mapping:
            raise Wrong(f"there is no {key}", 'write it as in {channel: oncall, text: "it is done"}')
    return read(NOTIFY, mapping, report)


def build_notify(value: dict[str, Any], task: dict[str, Any]) -> Notify:
    return Notify(channel=value.get("channel", ""), text=value.get("text", ""), subject=value.get("subject", ""))


# ---- Rules ----------------------------------------------------------------------------------------------------------


def read_end(value: Any, report: Report) -> RunState:
    """How a run may end."""
    found = _ENDS.get(value) if value.__class__ is str else None
    if found is None:
        guess = fields.suggest(value, tuple(_ENDS)) if isinstance(value, str) else ""
        raise Wrong(f"expected one of {', '.join(_ENDS)}, found {fields.shape(value)}{guess}")
    return found


_read_ends = fields.one_or_more(read_end)


def read_on(value: Any, report: Report) -> tuple[RunState, ...]:
    """One of them, or a list."""
    if isinstance(value, list) and not value:
        raise Wrong("the list is empty", "leave the key out for failed runs only")
    return tuple(dict.fromkeys(_read_ends(value, report)))


NOTIFY_RULE = Table(
    "a rule of notify",
    {"channel": ("channel", fields.name), "on": ("on", read_on)},
    meant={"to": "channel", "when": "on", "events": "on", "states": "on"},
)


def read_notify_rules(value: Any, report: Report) -> tuple[NotifyRule, ...]:
    """`notify` of a workflow: a channel's name, a rule, or a list of them."""
    return tuple(NotifyRule(**found) for found in read_rules(NOTIFY_RULE, value, report))


def read_rules(table: Table, value: Any, report: Report) -> list[dict[str, Any]]:
    """The fields of each rule; a name is short for a rule about failed runs."""
    if value.__class__ is not Sequence:
        return [_read_rule(table, value, report)]
    found = []
    for each, mark in zip(value, value.marks, strict=True):
        try:
            found.append(_read_rule(table, each, report))
        except Wrong as wrong:
            report.wrong(mark, "notify", wrong)
    return found


def _read_rule(table: Table, value: Any, report: Report) -> dict[str, Any]:
    if value.__class__ is not Mapping:
        if value.__class__ is not str:
            fix = "write it as in {channel: oncall, on: [failed, cancelled]}"
            raise Wrong(f"expected the name of a channel or a rule, found {fields.shape(value)}", fix)
        return {"channel": fields.name(value, report)}
    if "channel" not in value:
        raise Wrong("a rule needs a channel", "write it as in {channel: oncall, on: [failed, cancelled]}")
    return {"channel": "?", **read(table, value, report)}  # a wrong channel is reported
