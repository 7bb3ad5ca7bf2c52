"""Triggers that wait for something to happen: `file`, `workflow`, `unit`, `webhook`.

Readers only; it knows nothing of files, of other workflows, of systemd and of who delivers.
"""

from __future__ import annotations

import re
from typing import Any

from pyflowd.expressions.template import has_expression
from pyflowd.language import fields, params
from pyflowd.language.document import Mapping, Sequence, quote
from pyflowd.language.fields import Reader, Report, Table, Wrong, read
from pyflowd.model.states import RunState
from pyflowd.model.triggers import EventTrigger, FileTrigger, UnitTrigger, Verify, WebhookTrigger, WorkflowTrigger
from pyflowd.model.workflow import Param

EVENT = "event"
"""In `Use.also`: the name that the expressions of such a trigger have."""
_ENDS = {state.value: state for state in (RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED)}
_FILE_EVENTS = {"arrives": "arrives", "changes": "changes"}
_UNIT_STATES = {state: state for state in ("active", "inactive", "failed")}
FORMS = ("github", "gitlab", "stripe", "pyflow")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,250}\.(?:service|timer|socket|mount|target|path|slice|scope|device|swap)")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}", re.ASCII)
_MIN_STABLE_S = 0.1
_MAX_STABLE_S = 86_400.0


def _distinct(reader: Reader, value: Any, report: Report) -> tuple[Any, ...]:
    """One word or a list of them, each once."""
    if isinstance(value, Sequence) and not value:
        raise Wrong("the list is empty", "leave the key out")
    return tuple(dict.fromkeys(fields.items(reader, value, report)))


def _read_file_events(value: Any, report: Report) -> tuple[str, ...]:
    return _distinct(lambda each, to: fields.choice(_FILE_EVENTS, each, to), value, report)


def _read_ends(value: Any, report: Report) -> tuple[RunState, ...]:
    return _distinct(lambda each, to: fields.choice(_ENDS, each, to), value, report)


def _read_states(value: Any, report: Report) -> tuple[str, ...]:
    return _distinct(lambda each, to: fields.choice(_UNIT_STATES, each, to), value, report)


# ---- file -----------------------------------------------------------------------------------------------------------


def _read_pattern(value: Any, report: Report) -> str:
    """An absolute path, globs in it."""
    written = fields.bounded(fields.word(value, report), fields.MAX_PATH_BYTES)
    if not written.startswith("/"):
        raise Wrong(f"{quote(written)} is no absolute path", "begin it with /")
    parts = written.split("/")[1:]
    if "**" in written:
        raise Wrong("** is not supported", "write one * for each folder, as in /srv/*/incoming/*.csv")
    if not parts[-1]:
        raise Wrong(f"{quote(written)} names a folder", f"name its files, as in {written}*.csv")
    if "" in parts or "." in parts or ".." in parts:
        raise Wrong(f"{quote(written)} is not written plainly", "leave out //, . and ..")
    return written


def _read_stable(value: Any, report: Report) -> float:
    found = fields.positive_duration_s(value, report)
    if not _MIN_STABLE_S <= found <= _MAX_STABLE_S:
        raise Wrong("it is not from 100ms to 1d")
    return found


def _read_claim(value: Any, report: Report) -> bool:
    return True if value == "move" else fields.boolean(value, report)


FILE_TRIGGER = Table(
    "file of a trigger",
    {
        "path": ("path", _read_pattern),
        "on": ("on", _read_file_events),
        "stable_for": ("stable_for_s", _read_stable),
        "claim": ("claim", _read_claim),
    },
    meant={"glob": "path", "pattern": "path", "stable": "stable_for", "move": "claim", "event": "on"},
)


def read_file(value: Any, report: Report) -> dict[str, Any]:
    """A path, or a mapping that has one."""
    return _named(FILE_TRIGGER, "path", _read_pattern, "/srv/incoming/*.csv", value, report)


def _named(table: Table, key: str, reader: Reader, example: str, value: Any, report: Report) -> dict[str, Any]:
    """A mapping with the keys of `table`, or the value of its `key` alone."""
    if value.__class__ is not Mapping:
        return {table.keys[key][0]: reader(value, report)}
    if key not in value:
        read(table, value, report)  # for what else is wrong
        raise Wrong(f"it has no {key}", f"write it as in {key}: {example}", code="missing")
    return read(table, value, report)


# ---- workflow -------------------------------------------------------------------------------------------------------

FOLLOWED = Table(
    "workflow of a trigger",
    {"name": ("workflow", fields.name), "outcome": ("outcomes", _read_ends)},
    meant={"workflow": "name", "outcomes": "outcome", "state": "outcome", "on": "outcome"},
)


def read_followed(value: Any, report: Report) -> dict[str, Any]:
    """The name of a workflow, or a mapping that has it."""
    return _named(FOLLOWED, "name", fields.name, "import", value, report)


# ---- unit -----------------------------------------------------------------------------------------------------------


def _read_unit_name(value: Any, report: Report) -> str:
    written = fields.word(value, report)
    if not _UNIT.fullmatch(written):
        raise Wrong(f"{quote(written)} is no name of a unit", "write it in whole, as in postgresql.service")
    return written


UNIT = Table(
    "unit of a trigger",
    {"name": ("unit", _read_unit_name), "state": ("states", _read_states)},
    meant={"unit": "name", "states": "state", "on": "state"},
)


def read_unit(value: Any, report: Report) -> dict[str, Any]:
    """The name of a unit of systemd, or a mapping that has it."""
    return _named(UNIT, "name", _read_unit_name, "postgresql.service", value, report)


# ---- webhook --------------------------------------------------------------------------------------------------------


def _read_header(value: Any, report: Report) -> str:
    written = fields.word(value, report)
    if not _HEADER.fullmatch(written):
        raise Wrong(f"{quote(written)} is no name of a header")
    return written.lower()


def _read_secrets(value: Any, report: Report) -> tuple[str, ...]:
    """Names of secrets."""
    found = _distinct(fields.name, value, report)
    if len(found) > 2:
        raise Wrong(f"{len(found)} secrets", "name one, or two while the first is being replaced")
    return found


VERIFY = Table(
    "verify",
    {**{form: (form, _read_secrets) for form in FORMS}, "header": ("header", _read_header)},
    meant={"hmac_sha256": "github", "secret": "pyflow", "token": "gitlab"},
)


def _read_verify(value: Any, report: Report) -> Verify:
    found = read(VERIFY, fields.mapping(value, report), report)
    forms = [form for form in FORMS if form in found]
    if len(forms) != 1:
        message = "more than one form of signature" if forms else "it names no form of signature"
        raise Wrong(message, f"give one of {', '.join(FORMS)} with the name of a secret, as in github: deploy_hook")
    return Verify(form=forms[0], secrets=found[forms[0]], header=found.get("header", ""))


def _read_dedupe(value: Any, report: Report) -> str:
    return fields.template(value, report, frozenset({EVENT}))


WEBHOOK_TRIGGER = Table(
    "webhook of a trigger",
    {"hook": ("hook", fields.name), "verify": ("verify", _read_verify), "dedupe": ("dedupe", _read_dedupe)},
    meant={"path": "hook", "name": "hook", "secret": "verify", "signature": "verify", "key": "dedupe"},
)


def read_webhook(value: Any, report: Report) -> dict[str, Any]:
    """The name of a hook, or a mapping that has it."""
    return _named(WEBHOOK_TRIGGER, "hook", fields.name, "deploy", value, report)


# ---- Triggers -------------------------------------------------------------------------------------------------------


def _read_params(value: Any, report: Report) -> Any:
    return fields.template_tree(fields.mapping(value, report), report, frozenset({EVENT}))


def _read_condition(value: Any, report: Report) -> str:
    return fields.condition(value, report, frozenset({EVENT}))


SORTS: dict[str, tuple[str, Reader]] = {
    "file": ("file", read_file),
    "workflow": ("workflow", read_followed),
    "unit": ("unit", read_unit),
    "webhook": ("webhook", read_webhook),
}
"""Keys of a trigger, for its table."""
_KEYS: dict[str, tuple[str, Reader]] = {
    **SORTS,
    "params": ("params", _read_params),
    "if": ("condition", _read_condition),
    "enabled": ("enabled", fields.boolean),
}
_MEANT = {"path": "file", "when": "if", "with": "params"}
_MADE: dict[str, type[EventTrigger]] = {
    "file": FileTrigger,
    "workflow": WorkflowTrigger,
    "unit": UnitTrigger,
    "webhook": WebhookTrigger,
}


def is_event(value: Any) -> bool:
    """Whether the value of a trigger is for this module."""
    return isinstance(value, Mapping) and any(sort in value for sort in SORTS)


def read_events(workflow: Mapping, declared: tuple[Param, ...] | None, report: Report) -> tuple[EventTrigger, ...]:
    """All such triggers of a file. `declared` is None if the params are wrong themselves."""
    triggers = workflow.get("triggers")
    if triggers.__class__ is not Mapping:
        return ()
    found: list[EventTrigger] = []
    for index, (name, value) in enumerate(triggers.items()):
        if not is_event(value):
            continue
        mark = triggers.marks[2 * index + 1]
        try:
            fields.check_name(name)
            errors = report.errors
            trigger = _read_one(name, value, declared, report)
            if report.errors == errors:
                found.append(trigger)
                _lint(trigger, mark, report)
        except Wrong as wrong:
            report.wrong(mark, name, wrong)
    return tuple(found)


def _read_one(name: str, value: Mapping, declared: tuple[Param, ...] | None, report: Report) -> EventTrigger:
    sorts = [sort for sort in SORTS if sort in value]
    others = [key for key in ("schedule", "every", "at", "boot") if key in value]
    if len(sorts) + len(others) > 1:
        fix = "make a trigger of each"
        raise Wrong(f"a trigger is fired by one thing, not by {' and '.join([*sorts, *others])}", fix)
    found = read(Table("a trigger", _KEYS, meant=_MEANT), value, report)
    of_sort = found.pop(sorts[0], None)
    if of_sort is None:
        return FileTrigger(name=name, path="")  # what is wrong is reported
    given = found.get("params", {})
    if declared is not None:
        _check_params(declared, given)
    return _MADE[sorts[0]](name=name, **of_sort, **found)


def _check_params(declared: tuple[Param, ...], given: dict[str, Any]) -> None:
    """What can be told of the params before there is an event."""
    known = {param.name: param for param in declared}
    fix = "give it under params: of the trigger, or a default"
    for name, value in given.items():
        if name not in known:
            guess = fields.suggest(name, tuple(known))
            raise Wrong(f"params: there is no param {quote(name)}{guess}", "declare it under params:", code="params")
        if has_expression(value):
            continue
        try:
            params.check(known[name], value)
        except ValueError as error:
            raise Wrong(f"params: {name}: {error}", fix, code="params") from None
    missing = [param.name for param in declared if param.required and param.name not in given]
    if missing:
        raise Wrong(f"params: {', '.join(missing)}: a value is required", fix, code="params")


def _lint(trigger: EventTrigger, mark: int, report: Report) -> None:
    match trigger:
        case WebhookTrigger() if trigger.verify is None:
            message = (
                f"{trigger.name}: a delivery to {trigger.hook} proves nothing: whoever reaches the hook starts runs"
            )
            fix = "add verify: {github: NAME_OF_A_SECRET}, or gitlab, stripe, pyflow"
            report.add(mark, "unverified_hook", message, fix, warning=True)
        case FileTrigger() if trigger.claim and "changes" in trigger.on:
            message = f"{trigger.name}: a claimed file is moved away, so it cannot change any more"
            report.add(mark, "no_effect", message, "leave changes out of on:", warning=True)
        case _:
            pass
