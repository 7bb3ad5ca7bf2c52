"""What is answered: every reply that there is, and how an answer ends. Fields are only added, with a default.

The views that replies are made of stand by subject in `views_runs`, `views_workflows`, `views_host`, `figures` and
`tokens`.
"""

from __future__ import annotations

from msgspec import Struct

from pyflowd.protocol.figures import AttemptPage, GridView, MetricsView, OutcomesPage, SamplesView, TimelineView
from pyflowd.protocol.tokens import IdentityView, SessionView, TokenCreated, TokenPage, TokenView
from pyflowd.protocol.views_host import (
    AuditPage,
    BackupView,
    DrainView,
    HealthView,
    HostView,
    NotificationPage,
    PlacePage,
    SecretAnswer,
    SecretPage,
    SettingsView,
    StoreCheckView,
    VersionView,
)
from pyflowd.protocol.views_runs import (
    AnswerView,
    ApprovalPage,
    ArtifactPage,
    BackfillPage,
    BackfillView,
    CachePage,
    ClearedView,
    EventPage,
    ExplanationView,
    RunPage,
    RunView,
    TaskPage,
)
from pyflowd.protocol.views_workflows import (
    BasisPage,
    ChangePage,
    DefinitionView,
    FiringPage,
    GraphView,
    HookView,
    NextPage,
    PlanView,
    SavedView,
    SimulationBasis,
    SlotPage,
    WorkflowPage,
)


class Failure(Struct, frozen=True, kw_only=True, tag="failure"):
    """Ends an answer: an expected error (errors.PyflowError)."""

    code: str
    message: str
    exit_status: int


class Done(Struct, frozen=True, kw_only=True, tag="done"):
    """Ends an answer. `exit_status` is that of the run where the request waited for one, else 0."""

    exit_status: int = 0


class Alive(Struct, frozen=True, array_like=True, tag="alive"):
    """Sent every few seconds while an answer waits for something, so that a client can tell waiting from death."""


class LogOpen(Struct, frozen=True, kw_only=True, array_like=True, tag="log_open"):
    """Output of one attempt; its frame carries two open descriptors: the log, and its index."""

    run: int
    task: str
    attempt: int
    live: bool
    """More may come: LogClose will follow."""
    label_width: int = 0
    """Widest task name that may appear, for columns; 0: only one task is shown."""
    raw: bool = False
    """Bytes as they are: no time, no name."""
    as_json: bool = False
    """One JSON object a line: run, task, attempt, time, text."""
    tail: int | None = None
    """Only the last so many lines of all that is shown."""
    since_us: int | None = None
    """Only what arrived from this instant on."""


class LogClose(Struct, frozen=True, kw_only=True, array_like=True, tag="log_close"):
    """The attempt has ended: read what is left up to the index's end record, then close."""

    task: str
    attempt: int


class ArtifactOpen(Struct, frozen=True, kw_only=True, array_like=True, tag="artifact_open"):
    """A kept file; its frame carries one open descriptor."""

    run: int
    task: str
    name: str
    size_bytes: int
    sha256: str


class BackupOpen(Struct, frozen=True, kw_only=True, array_like=True, tag="backup_open"):
    """A backup; its frame carries one open descriptor, of a file without a name."""

    size_bytes: int
    sha256: str


class Part(Struct, frozen=True, array_like=True, tag="part"):
    """A piece of a reply that is too long for one frame: the pieces up to the `last` are its bytes."""

    data: bytes
    last: bool


Reply = (
    RunView | TaskPage | RunPage | WorkflowPage | DefinitionView | GraphView | PlanView | NextPage | SlotPage
    | EventPage | HostView | HealthView | VersionView | NotificationPage | PlacePage | ApprovalPage
    | AnswerView | ArtifactPage | SecretPage | SecretAnswer
    | CachePage | ClearedView
    | ChangePage
    | BackfillView | BackfillPage
    | ExplanationView
    | SimulationBasis | BasisPage
    | HookView | FiringPage
    | AuditPage
    | BackupView | StoreCheckView | DrainView | SettingsView
    | IdentityView | TokenView | TokenPage | TokenCreated | SessionView
    | OutcomesPage | GridView | AttemptPage | SamplesView | TimelineView | MetricsView
    | SavedView
)  # fmt: skip
