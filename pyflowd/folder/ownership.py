"""What a definition may say that belongs to neither root nor the daemon: its word is its owner's, and no more.

Its tasks run as its owner. What the daemon would do for it with rights of its own (read files, hand out secrets, start
somebody else's workflow) it may not ask for. Pure; who owns it was found out when it was read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from msgspec.structs import replace

from pyflowd.base.trust import name_of
from pyflowd.language.assembly import Assembled, in_order
from pyflowd.language.definition_text import Role, owned_by
from pyflowd.language.document import Document, Mapping, quote
from pyflowd.language.fields import Enough, Report
from pyflowd.language.lint_places import TaskPlace, tasks_of
from pyflowd.model.kinds import Http, MultipartBody
from pyflowd.model.triggers import FileTrigger
from pyflowd.model.workflow import ParamType, Workflow, all_tasks

CODE = "not_yours"


class _Wrong(NamedTuple):
    mark: int
    message: str


def of_owner(assembled: Assembled, uid: int, own: int) -> Assembled:
    """The definition as the word of the account `uid`: with what it may not say, or bound to that account. `own`: the
    daemon's, which may ask itself for anything.
    """
    workflow, document = assembled.workflow, assembled.document
    if workflow is None or document is None:
        return assembled
    owner = name_of(uid)
    label = next(part.label for part in assembled.parts if part.role is Role.WORKFLOW)
    report = Report(label, document)
    with suppress(Enough):
        for mark, message in _other_users(document, workflow, owner):
            report.add(mark, CODE, f"{message}; it belongs to {owner}", f"chown root {label}, if root means it")
        for mark, message in _with_rights_of_the_daemon(workflow, assembled, document) if uid != own else ():
            fix = f"chown root {label}, and write user: {owner} in it"
            report.add(mark, CODE, f"{message}; the file belongs to {owner}", fix)
    if report.problems:
        problems = in_order([*assembled.problems, *report.problems], assembled.parts)
        return replace(assembled, workflow=None, problems=problems)
    bound = replace(workflow, owner_uid=uid)
    return replace(assembled, workflow=bound, parts=tuple(owned_by(assembled.parts, uid)))


def _other_users(document: Document, workflow: Workflow, owner: str) -> Iterator[_Wrong]:
    root = document.root
    named = {user for user in (workflow.user, *(task.user for _, task in all_tasks(workflow))) if user} - {owner}
    for place in (root, root.get("defaults"), *(task.mapping for task in tasks_of(root))):
        user = place.get("user") if isinstance(place, Mapping) else None
        if isinstance(place, Mapping) and user in named:
            yield _Wrong(place.key_mark("user"), f"user: only a file of root's may name {quote(user)}")
            named -= {user}
    for user in sorted(named):
        yield _Wrong(document.mark, f"user: only a file of root's may name {quote(user)}")


def _with_rights_of_the_daemon(workflow: Workflow, assembled: Assembled, document: Document) -> Iterator[_Wrong]:
    """What is done, or read, by the daemon's own account."""
    if workflow.env_files:
        yield _at(document, "env_file", "env_file: it would be read with the rights of pyflowd; a script can read it")
    if workflow.gates is not None and workflow.gates.command:
        yield _at(document, "gates", "gates: its command would be run as pyflowd")
    if _uses_secrets(workflow, assembled):
        yield _at(document, "", "it asks for secrets of the host, which only files of root's may have")
    for trigger in workflow.events:
        if isinstance(trigger, FileTrigger) and trigger.claim:
            yield _at(document, "on", f"{trigger.name}: claim would rename files with the rights of pyflowd")
    marks = {place.name: place for place in tasks_of(document.root)}
    for _, task in all_tasks(workflow):
        if isinstance(task.kind, Http) and _reads_files(task.kind):
            message = f"http of {task.name} would read files with the rights of pyflowd; run curl instead"
            yield _Wrong(_mark_of(marks.get(task.name), document), message)


def _at(document: Document, key: str, message: str) -> _Wrong:
    return _Wrong(document.root.key_mark(key) if key in document.root else document.mark, message)


def _mark_of(place: TaskPlace | None, document: Document) -> int:
    return document.mark if place is None else place.mark


def _uses_secrets(workflow: Workflow, assembled: Assembled) -> bool:
    named = (
        reference.path[:1] == ("secrets",)
        for scope in assembled.scopes
        for use in scope.uses
        if use.expression is not None
        for reference in use.expression.references
    )
    declared = any(param.type is ParamType.SECRET for param in workflow.params)
    given = any(task.credentials for _, task in all_tasks(workflow))
    return bool(workflow.secrets) or declared or given or any(named)


def _reads_files(kind: Http) -> bool:
    return isinstance(kind.body, MultipartBody) or bool(kind.tls.ca_file or kind.tls.cert_file or kind.tls.key_file)
