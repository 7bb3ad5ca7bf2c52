"""The installation: what `doctor` finds, who holds what, what waits to be sent, who may come in, who did what. Pure.

A part that whoever asks may not see is None, and is not drawn.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from msgspec import Struct

from pyflowd.protocol.tokens import Sort, TokenView
from pyflowd.protocol.views_host import (
    AuditView,
    HealthView,
    HolderView,
    HostView,
    NotificationView,
    PlaceView,
    SecretPage,
    SecretView,
)
from pyflowd.protocol.views_runs import BackfillView
from pyflowd.render.layout import clean, spoken, values_text
from pyflowd.web.drawing import link_to
from pyflowd.web.pages.acts import Act
from pyflowd.web.pages.attention import DRAIN
from pyflowd.web.pages.words import capital, listed, several
from pyflowd.web.times import Times, When, counted

HOLDERS = 5
_COMMAND = re.compile(r"\b(?:pyflowctl|systemctl|loginctl|groupadd|usermod|chown|chmod|journalctl) [^,;()]*[^,;().\s]")


class Check(Struct, frozen=True, kw_only=True):
    level: str
    subject: str
    found: str
    command: str
    """That it names as its remedy; empty: none."""


class Holder(Struct, frozen=True):
    text: str
    path: str
    """Empty: of a run that may not be seen."""


class Place(Struct, frozen=True, kw_only=True):
    sort: str
    name: str
    used: str
    full: bool
    holders: list[Holder]
    waiting: list[Holder]
    more_holders: int
    more_waiting: int


class Message(Struct, frozen=True, kw_only=True):
    number: int
    state: str
    word: str
    channel: str
    subject: str
    path: str
    """Of the run that it is about."""
    at: When | None
    error: str


class Backfill(Struct, frozen=True, kw_only=True):
    number: int
    state: str
    workflow: str
    path: str
    span: str
    progress: str
    waits: str
    cancel: Act | None


class Token(Struct, frozen=True, kw_only=True):
    number: int
    sort: str
    account: str
    level: str
    label: str
    made: When | None
    ends: When | None
    used: When | None
    mine: bool
    revoke: Act


class Record(Struct, frozen=True, kw_only=True):
    at: When | None
    user: str
    did: str
    refused: bool
    workflow: str
    workflow_path: str
    run: int | None
    run_path: str
    asked: str


class Secret(Struct, frozen=True, kw_only=True):
    name: str
    provider: str
    changed: When | None
    by: str
    workflows: list[tuple[str, str]]
    hidden: bool


class System(Struct, frozen=True, kw_only=True):
    heading: str
    lede: str
    checks: list[Check] | None
    """Errors, then warnings."""
    sound: list[Check]
    """What is well."""
    facts: list[tuple[str, str]]
    drain: Act | None
    drained: str
    places: list[Place]
    messages: list[Message]
    backfills: list[Backfill]
    tokens: list[Token]
    records: list[Record] | None
    secrets: list[Secret] | None
    secret_notes: list[str]


class Facts(Struct, frozen=True, kw_only=True):
    host: HostView
    health: HealthView | None
    places: Sequence[PlaceView]
    notifications: Sequence[NotificationView]
    backfills: Sequence[BackfillView]
    tokens: Sequence[TokenView]
    audit: Sequence[AuditView] | None
    secrets: SecretPage | None


def system(facts: Facts, times: Times, may_operate: Callable[[str], bool], *, is_admin: bool, token: int) -> System:
    """`may_operate`: a workflow. `token`: the number of the one that is asked with."""
    found = [_check(*each) for each in facts.health.checks] if facts.health else []
    wrong = [check for level in ("error", "warning") for check in found if check.level == level]
    drained = next((text.removeprefix(DRAIN) for text in facts.host.warnings if text.startswith(DRAIN)), "")
    return System(
        heading=heading(wrong, drained, facts.health is not None), lede=_lede(facts.host, times),
        checks=wrong if facts.health else None, sound=[check for check in found if check.level == "ok"],
        facts=_facts(facts.host, times), drain=_drain(bool(drained)) if is_admin else None, drained=clean(drained),
        places=[_place(view) for view in facts.places],
        messages=[_message(view, times) for view in facts.notifications],
        backfills=[_backfill(view, times, may_operate(view.workflow)) for view in facts.backfills],
        tokens=[_token(view, times, token) for view in facts.tokens],
        records=None if facts.audit is None else [_record(view, times) for view in facts.audit],
        secrets=None if facts.secrets is None else [_secret(view, times) for view in facts.secrets.secrets],
        secret_notes=[clean(note) for note in facts.secrets.notes] if facts.secrets else [],
    )  # fmt: skip


def heading(wrong: Sequence[Check], drained: str, known: bool) -> str:
    """One sentence about the present."""
    errors = sum(check.level == "error" for check in wrong)
    warnings = len(wrong) - errors
    parts = ["the host is drained"] if drained else []
    if errors:
        parts.append(several(errors, "error"))
    if warnings:
        parts.append(several(warnings, "warning"))
    if parts:
        return capital(listed(parts))
    return "All is well with the installation" if known else "The installation"


def _lede(host: HostView, times: Times) -> str:
    since = times.when(host.started_us)
    return f"pyflowd {host.version} has been up for {times.took(host.started_us, None)}" + (
        f", since {since.text}." if since else "."
    )


def _check(level: str, subject: str, found: str) -> Check:
    command = _COMMAND.search(found)
    return Check(level=level, subject=clean(subject), found=clean(found), command=command[0] if command else "")


def _facts(host: HostView, times: Times) -> list[tuple[str, str]]:
    return [
        ("Version", host.version),
        ("Process", str(host.pid)),
        ("Instance", clean(host.root)),
        ("Workflows", f"{host.workflows:,} in force"),
        ("Last 24 h", f"{host.succeeded_24h:,} runs succeeded, {host.failed_24h:,} failed"),
        ("At work", f"{counted(len(host.running), 'run')}, {len(host.queued)} queued"),
    ]


def _drain(drained: bool) -> Act:
    if drained:
        return Act(
            label="Undrain the host", path="/system/undrain", command="pyflowctl undrain",
            effect="Tasks start again: first what has waited meanwhile.",
        )  # fmt: skip
    return Act(
        label="Drain the host", path="/system/drain", css="danger", command="pyflowctl drain",
        effect="No task of any workflow starts from now on. What runs goes on to its end; runs and slots are recorded "
        "and wait. It stays so over restarts, until somebody undrains the host.",
    )  # fmt: skip


def _place(view: PlaceView) -> Place:
    return Place(
        sort=view.sort, name=clean(view.name), used=f"{view.used} of {view.size}", full=view.used >= view.size,
        holders=[_holder(each) for each in view.holders[:HOLDERS]],
        waiting=[_holder(each) for each in view.waiting[:HOLDERS]],
        more_holders=max(0, len(view.holders) - HOLDERS), more_waiting=max(0, view.waiting_total - HOLDERS),
    )  # fmt: skip


def _holder(view: HolderView) -> Holder:
    task = f", {clean(view.task)}" if view.task else ""
    if not view.run:
        return Holder(clean(view.workflow) + task, "")
    return Holder(f"{view.workflow} run {view.run}{task}", link_to("runs", view.run, task=view.task))


def _message(view: NotificationView, times: Times) -> Message:
    state = "retrying" if view.state == "waiting" and view.tries else view.state
    tries = f", {several(view.tries, 'try', 'tries')}" if view.tries > 1 else ""
    return Message(
        number=view.notification, state=state, word=capital(spoken(view.state)) + tries, channel=clean(view.channel),
        subject=clean(view.subject), path="" if view.run is None else link_to("runs", view.run),
        at=times.when(view.ended_us or view.next_us or view.created_us), error=clean(view.error),
    )  # fmt: skip


def _backfill(view: BackfillView, times: Times, may_operate: bool) -> Backfill:
    done = view.succeeded + view.failed + view.cancelled + view.refused
    counts = {"failed": view.failed, "cancelled": view.cancelled, "refused": view.refused, "live": len(view.live)}
    told = [f"{done:,} of {counted(view.total, 'slot')} done", *(f"{n:,} {word}" for word, n in counts.items() if n)]
    first, last = times.when(view.from_us), times.when(view.until_us)
    is_open = view.state == "running"
    return Backfill(
        number=view.backfill, state="failed" if not is_open and (view.failed or view.refused) else view.state,
        workflow=view.workflow, path=link_to("workflows", view.workflow),
        span=f"{first.text} to {last.text}" if first and last else "", progress=", ".join(told),
        waits=clean(view.why_waiting) if view.waiting and is_open else clean(view.error),
        cancel=Act(
            label="Cancel", path=link_to("system", "backfills", view.backfill, "cancel"), css="danger",
            effect=f"Records no further runs of {view.workflow} for these slots, and cancels those that live.",
            command=f"pyflowctl cancel --backfill {view.backfill}",
        ) if is_open and may_operate else None,
    )  # fmt: skip


def _token(view: TokenView, times: Times, mine: int) -> Token:
    words = {Sort.LOGIN: "login", Sort.SESSION: "session", Sort.BEARER: "token"}
    return Token(
        number=view.token, sort=words[view.sort], account=clean(view.account),
        level=view.level.name.lower() if view.level is not None else "as the account", label=clean(view.label),
        made=times.when(view.created_us), ends=times.when(view.expires_us), used=times.when(view.used_us),
        mine=view.token == mine,
        revoke=Act(
            label="Revoke", path=link_to("system", "tokens", view.token, "revoke"), css="danger",
            effect=f"Whoever speaks with {words[view.sort]} {view.token} of {clean(view.account)} is cut off at once."
            + (" It is the one that you use now." if view.token == mine else ""),
            command=f"pyflowctl token revoke {view.token}",
        ),
    )  # fmt: skip


def _record(view: AuditView, times: Times) -> Record:
    told = values_text(view.asked)
    if view.left_out:
        told = f"and {several(view.left_out, 'refusal')} of that minute" + (f"; the last: {told}" if told else "")
    return Record(
        at=times.when(view.at_us, seconds=True),
        user=(clean(view.user) or str(view.uid)) + (f" by token {view.token}" if view.token else ""),
        did=capital(spoken(view.request)),
        refused=view.result != "done", workflow=clean(view.workflow),
        workflow_path=link_to("workflows", view.workflow) if view.workflow else "", run=view.run,
        run_path="" if view.run is None else link_to("runs", view.run), asked=told,
    )  # fmt: skip


def _secret(view: SecretView, times: Times) -> Secret:
    return Secret(
        name=clean(view.name), provider=clean(view.provider), changed=times.when(view.changed_us),
        by=clean(view.changed_by), workflows=[(name, link_to("workflows", name)) for name in view.workflows],
        hidden=view.hidden,
    )  # fmt: skip
