"""What is said of the host: how it is, places, notifications, secrets, audit, backups, settings.

Fields are only added, with a default.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from pyflowd.model.problem import Problem
from pyflowd.protocol.views_runs import ApprovalView, BackfillView, RunView
from pyflowd.protocol.views_workflows import NextView
from pyflowd.protocol.words import VERSION


class HostView(Struct, frozen=True, kw_only=True, tag="host"):
    version: str
    pid: int
    started_us: int
    now_us: int
    root: str
    workflows: int
    running: list[RunView]
    queued: list[RunView]
    failed: list[RunView]
    """Runs that failed in the last 24 hours, newest first, ten at most."""
    succeeded_24h: int
    failed_24h: int
    next: list[NextView]
    problems: list[Problem]
    """Definitions that were refused or are stale."""
    warnings: list[str] = field(default_factory=list)
    """What the administrator should know: no space, keeper lost, folder held."""
    approvals: list[ApprovalView] = field(default_factory=list)
    """What waits for an answer."""
    backfills: list[BackfillView] = field(default_factory=list)
    """That have not ended."""
    folder: str = ""
    """Where workflow files are read from: an absolute path."""


class HealthView(Struct, frozen=True, kw_only=True, tag="health"):
    checks: list[tuple[str, str, str]]
    """(`ok` | `warning` | `error`, what was looked at, what was found and what to do)."""


class VersionView(Struct, frozen=True, kw_only=True, tag="version"):
    version: str
    protocol: int = VERSION
    pid: int = 0


class HolderView(Struct, frozen=True, kw_only=True):
    """A run that holds a place or waits for it; `task`: an attempt of it does. `units`: what it holds. One of a
    workflow that whoever asks may not see has the number 0."""

    run: int
    workflow: str
    task: str | None = None
    units: int = 0


class PlaceView(Struct, frozen=True, kw_only=True):
    sort: str
    """`lock`, `pool`, `group`."""
    name: str
    size: int
    used: int
    holders: list[HolderView]
    waiting: list[HolderView]
    """In the order in which they come, a thousand at most."""
    waiting_total: int


class PlacePage(Struct, frozen=True, kw_only=True, tag="places"):
    places: list[PlaceView]


class NotificationView(Struct, frozen=True, kw_only=True):
    notification: int
    """Its number; ascending."""
    id: str
    """What its receivers know it by."""
    channel: str
    state: str
    """`waiting`, `sent`, `given_up`, `dropped`."""
    subject: str
    created_us: int
    tries: int = 0
    next_us: int | None = None
    """While it waits: not before this."""
    ended_us: int | None = None
    error: str = ""
    """Of the newest try."""
    workflow: str = ""
    run: int | None = None


class NotificationPage(Struct, frozen=True, kw_only=True, tag="notifications"):
    notifications: list[NotificationView]


class SecretView(Struct, frozen=True, kw_only=True):
    """A secret that a provider has. No message holds a value but SetSecret."""

    name: str
    provider: str
    """For people: `store`, `file FOLDER`, ..."""
    changed_us: int | None = None
    changed_by: str = ""
    """Of the store: who set it."""
    version: int | None = None
    """Of the store: how often it was set."""
    hidden: bool = False
    """A provider before this one has the name, too: its value is used."""
    workflows: list[str] = field(default_factory=list)
    """That use it."""


class SecretPage(Struct, frozen=True, kw_only=True, tag="secrets"):
    secrets: list[SecretView]
    """In the order in which providers are asked, then by name."""
    notes: list[str] = field(default_factory=list)
    """Providers that cannot tell their names, or are at fault."""


class SecretAnswer(Struct, frozen=True, kw_only=True, tag="secret_answer"):
    """What became of a change of the store."""

    action: str
    """`set`, `removed`, `rekeyed`."""
    name: str = ""
    version: int = 0
    """Of what was set."""
    count: int = 0
    """How many were sealed anew."""
    notes: list[str] = field(default_factory=list)


class AuditView(Struct, frozen=True, kw_only=True):
    """What somebody changed, or tried to."""

    audit: int
    """Its number; ascending."""
    at_us: int
    user: str
    """The account's name, as it was then."""
    uid: int
    pid: int
    """Of the process that asked; it may have ended long ago."""
    request: str
    """The request's tag, such as `start_run`."""
    workflow: str = ""
    run: int | None = None
    """That was recorded, or that it was about."""
    asked: dict[str, Any] = field(default_factory=dict)
    """What the request said beside that, but for what is secret or long; of what was refused no values of params."""
    result: str = "done"
    """`done`, or `forbidden`."""
    left_out: int = 0
    """Refusals of the last minute for which there is no record of their own."""
    token: int | None = None
    """The number of the token that it was asked with; None: the account asked by itself."""


class AuditPage(Struct, frozen=True, kw_only=True, tag="audit"):
    records: list[AuditView]


class BackupView(Struct, frozen=True, kw_only=True, tag="backup"):
    """A backup that was made, and what came of restoring it on trial."""

    size_bytes: int
    sha256: str
    made_at: str
    """RFC 3339: the moment that it is of."""
    schema: int
    with_logs: bool
    runs: int
    events: int
    slots: int
    definitions: int
    workflows: int
    files: int
    findings: list[str] = field(default_factory=list)
    """What is wrong with the restored copy; empty: it is whole."""
    left_out: list[str] = field(default_factory=list)
    """Files that the daemon may not read."""
    has_secrets: bool = False
    """The encrypted store of secrets is in it; its key never is."""


class StoreCheckView(Struct, frozen=True, kw_only=True, tag="store_check"):
    runs: int
    events: int
    slots: int
    findings: list[str]
    more: bool = False
    """There are more than these."""


class SettingsView(Struct, frozen=True, kw_only=True, tag="settings"):
    """What `reload` found different in the settings, by key."""

    live: list[str]
    """In force now."""
    restart: list[str]
    """In force when the daemon starts the next time."""


class DrainView(Struct, frozen=True, kw_only=True, tag="drain"):
    drained: bool
    active: int
    """Tasks at work."""
    queued: int
    """Runs that wait to start."""
    by: str = ""
    since_us: int | None = None
