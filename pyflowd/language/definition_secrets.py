"""`credentials`: secrets that a task gets as files below `$CREDENTIALS_DIRECTORY` (rule P6). All that are named."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyflowd.language import fields
from pyflowd.language.document import Mapping, Sequence, quote
from pyflowd.language.fields import Report, Use, Wrong
from pyflowd.model.states import is_name
from pyflowd.model.triggers import WebhookTrigger
from pyflowd.model.workflow import Credential, ParamType, Task, Workflow

MAX_CREDENTIALS = 100


def read_credentials(value: Any, report: Report) -> tuple[Credential, ...]:
    """A name, a list of names, or names of files and of the secrets that are in them."""
    if value.__class__ is Mapping:
        found = _read_mapping(value, report)
    else:
        found = [Credential(name=name, secret=name) for name in _names(value, report)]
    if len(found) > MAX_CREDENTIALS:
        raise Wrong(f"{len(found)} credentials; a task can have {MAX_CREDENTIALS}", "give it what it needs only")
    return tuple(found)


def _names(value: Any, report: Report) -> list[str]:
    if value.__class__ is Sequence and not value:
        raise Wrong("the list is empty", "name a secret, or leave the key out")
    return list(dict.fromkeys(fields.one_or_more(fields.name)(value, report)))


def _read_mapping(mapping: Mapping, report: Report) -> list[Credential]:
    found = []
    for name, secret in mapping.items():
        try:
            fields.check_name(name)
            written = fields.template(secret, report)
            if "${{" not in written:
                fields.check_name(written)
            found.append(Credential(name=name, secret=written))
        except Wrong as wrong:
            report.wrong(mapping.value_mark(name), quote(name), wrong)
        if report.unplaced:
            report.place_uses(name, mapping.value_mark(name))
    return found


def names_of_secrets(workflow: Workflow, tasks: Iterable[Task], uses: Iterable[Use]) -> tuple[str, ...]:
    """Of those that expressions, `credentials` and webhooks name, and of the defaults of secret params, sorted."""
    params, events = workflow.params, workflow.events
    names = {credential.secret for task in tasks for credential in task.credentials if "${{" not in credential.secret}
    names |= {param.default for param in params if param.type is ParamType.SECRET and isinstance(param.default, str)}
    for event in events:
        if isinstance(event, WebhookTrigger) and event.verify is not None:
            names.update(event.verify.secrets)
    for use in uses:
        for reference in use.expression.references if use.expression is not None else ():
            if reference.path[0] == fields.SECRETS and len(reference.path) > 1:
                names.add(reference.path[1])
    return tuple(sorted(filter(is_name, names)))
