"""What a client may ask for, and the level that each request needs. Fields are only added, with a default."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from msgspec import Struct, field

from pyflowd.protocol.figures import GetGrid, GetMetrics, GetSamples, GetTimeline, ListAttempts, ListOutcomes
from pyflowd.protocol.tokens import CreateToken, GetIdentity, ListTokens, OpenSession, RevokeToken
from pyflowd.protocol.words import Integer, Level, Limit


class GetHost(Struct, frozen=True, kw_only=True, tag="get_host"):
    """The host at a glance -> HostView."""


class GetRun(Struct, frozen=True, kw_only=True, tag="get_run"):
    """One run with its tasks -> RunView, TaskPage...; `of` is a run id, or a workflow's name for its newest run."""

    of: str
    items: bool = True
    """Every item of its fan-outs; False: of each only a few that went wrong or are under way."""


class GetGraph(Struct, frozen=True, kw_only=True, tag="get_graph"):
    """The DAG of a workflow, or of a run with its states -> GraphView; a name means the definition, a number a run."""

    of: str


class ListWorkflows(Struct, frozen=True, kw_only=True, tag="list_workflows"):
    """-> WorkflowPage..."""


class ShowWorkflow(Struct, frozen=True, kw_only=True, tag="show_workflow"):
    """The definition in force -> DefinitionView. `origin`: with the place of every value."""

    workflow: str
    origin: bool = False
    version: str = ""
    """Another text that was in force or run: the first six or more digits of its SHA-256, or `~N`: N before."""


class ListChanges(Struct, frozen=True, kw_only=True, tag="list_changes"):
    """How the definition of a workflow changed, newest first -> ChangePage..."""

    workflow: str
    limit: Limit = 20


class ListRuns(Struct, frozen=True, kw_only=True, tag="list_runs"):
    """Past and present runs, newest first -> RunPage..."""

    workflow: str | None = None
    state: str | None = None
    since_us: Integer | None = None
    limit: Limit = 20
    before: Integer | None = None
    """Only runs with a lower number: the page after the one that ended with it."""


class StartRun(Struct, frozen=True, kw_only=True, tag="start_run"):
    """Record a run of an installed workflow, or of a file's text -> RunView (recorded, not started: rule I7).

    With `wait`, RunView again at each change that is worth showing and at its end.
    """

    workflow: str = ""
    file: str = ""
    data: bytes = b""
    """Text of a definition that is not installed (level admin); `file` is its label."""
    params: dict[str, Any] = field(default_factory=dict)
    params_are_text: bool = False
    """Values came from a command line: the declared types direct how they are read (rule P4)."""
    key: str = ""
    """Rule I2: the same key again returns the first answer."""
    dry_run: bool = False
    """Record nothing -> PlanView."""
    only: list[str] = field(default_factory=list)
    """Only these tasks, and what they need; empty: all."""
    no_cache: bool = False
    """Use no earlier success again; what this run gives is kept for others."""


class StartBackfill(Struct, frozen=True, kw_only=True, tag="start_backfill"):
    """Record runs for slots of the past, one by one -> BackfillView (recorded; runs come as places get free)."""

    workflow: str
    from_us: Integer
    until_us: Integer
    """Slots from the one up to and with the other; those that have not come are left out."""
    trigger: str = ""
    """Empty: the only one that has slots."""
    params: dict[str, Any] = field(default_factory=dict)
    """Over those of the trigger."""
    params_are_text: bool = False
    only_missing: bool = False
    """Leave out slots with a run that has succeeded, or may yet."""
    newest_first: bool = False
    parallel: Limit = 1
    """Runs at once, at most."""
    dry_run: bool = False
    """Record nothing: the view has the number 0, and slots."""


class CancelBackfill(Struct, frozen=True, kw_only=True, tag="cancel_backfill"):
    """Make no further runs, cancel those that are live -> BackfillView."""

    backfill: Integer


class ListBackfills(Struct, frozen=True, kw_only=True, tag="list_backfills"):
    """Newest first -> BackfillPage..."""

    limit: Limit = 20


class CancelRun(Struct, frozen=True, kw_only=True, tag="cancel_run"):
    """Rules R3, R5; a second cancel kills at once -> RunView."""

    run: Integer = 0
    workflow: str = ""
    """Where `run` is 0: the newest live run of this workflow."""
    task: str = ""
    """Only this task, or item such as `fetch[web1]`; the run goes on by its rules."""


class AnswerApproval(Struct, frozen=True, kw_only=True, tag="answer_approval"):
    """Approve or reject -> AnswerView."""

    run: Integer = 0
    workflow: str = ""
    """Where `run` is 0: the newest live run of this workflow in which `task` waits for an answer."""
    task: str
    approve: bool
    comment: str = ""
    choice: str | None = None
    """One of those that the approval offers."""


class ListApprovals(Struct, frozen=True, kw_only=True, tag="list_approvals"):
    """What waits for an answer, the oldest run first -> ApprovalPage..."""


class ListArtifacts(Struct, frozen=True, kw_only=True, tag="list_artifacts"):
    """Files kept with a run -> ArtifactPage...; `of` as of GetRun."""

    of: str
    task: str | None = None
    """Only of this task (with all its items), or of this item."""


class GetArtifact(Struct, frozen=True, kw_only=True, tag="get_artifact"):
    """One kept file -> ArtifactOpen with one descriptor."""

    of: str
    task: str
    name: str


class RerunRun(Struct, frozen=True, kw_only=True, tag="rerun_run"):
    """Do again -> RunView of the new run. Without `failed_only` and `from_task`, every task is done again."""

    run: Integer = 0
    workflow: str = ""
    """Where `run` is 0: the newest run of this workflow."""
    failed_only: bool = False
    from_task: str | None = None
    latest: bool = False
    """With the definition in force instead of the text that the run began with (rule D1)."""
    key: str = ""
    no_cache: bool = False


class PauseWorkflow(Struct, frozen=True, kw_only=True, tag="pause_workflow"):
    """Schedules off (paused) or on -> WorkflowPage with the one."""

    workflow: str
    paused: bool = True


class GetLogs(Struct, frozen=True, kw_only=True, tag="get_logs"):
    """Output -> LogOpen..., LogClose..., each with two descriptors (log, index); `follow`: until the run has ended."""

    of: str
    task: str | None = None
    """Only of this task (with all its items), or of this item."""
    follow: bool = False
    all_attempts: bool = False
    """Every attempt of a task, not the newest only."""
    attempt: Integer | None = None
    """Only this one; not with `follow`."""


class WatchRun(Struct, frozen=True, kw_only=True, tag="watch_run"):
    """-> RunView now, at each change, and at its end; then Done."""

    run: Integer = 0
    workflow: str = ""
    """Where `run` is 0: the newest run of this workflow."""


class ListNext(Struct, frozen=True, kw_only=True, tag="list_next"):
    """Coming slots, soonest first -> NextPage."""

    workflow: str | None = None
    limit: Limit = 10


class ListSlots(Struct, frozen=True, kw_only=True, tag="list_slots"):
    """The ledger of slots, oldest first -> SlotPage...; `limit`: the newest so many."""

    workflow: str | None = None
    since_us: Integer | None = None
    limit: Limit | None = None
    until_us: Integer | None = None
    """Only slots before this."""
    fate: str | None = None
    """Only of this fate."""


class Explain(Struct, frozen=True, kw_only=True, tag="explain"):
    """Why something has run, waits, failed, or has not run -> ExplanationView."""

    of: str
    """A run's number, or the name of a workflow."""
    task: str | None = None
    """A task of the run, or an item; of a workflow's name: of its newest run."""
    at_us: Integer | None = None
    """The slot of the workflow at this time, or in the minute that begins then."""
    all: bool = False
    """Every fact, not only as many as fit a screen."""


class ListEvents(Struct, frozen=True, kw_only=True, tag="list_events"):
    """What happened, oldest first -> EventPage...; with `follow` for ever."""

    run: Integer | None = None
    after: Integer | None = None
    """Only events after this id."""
    limit: Limit = 50
    follow: bool = False


class SaveDefinition(Struct, frozen=True, kw_only=True, tag="save_definition"):
    """Write a file of the workflows folder, where the settings let it be edited -> SavedView. Level admin."""

    file: str
    """A name in the folder such as `nightly-backup.yaml`."""
    data: bytes
    base: str = ""
    """SHA-256 of the text that the change began with: another one there now is not overwritten. Empty: a new file."""
    dry_run: bool = False
    """Write nothing: check it, and tell what would change."""


class MarkSeen(Struct, frozen=True, kw_only=True, tag="mark_seen"):
    """Say of a failed run that somebody has taken note of it -> RunView."""

    run: Integer
    seen: bool = True


class Reload(Struct, frozen=True, kw_only=True, tag="reload"):
    """Look at the workflows folder again, wait for the outcome -> WorkflowPage of what changed or is wrong."""


class SendNotification(Struct, frozen=True, kw_only=True, tag="send_notification"):
    """A message to a channel of the settings, to try it -> NotificationPage with the one: recorded, not sent."""

    channel: str
    text: str


class ListNotifications(Struct, frozen=True, kw_only=True, tag="list_notifications"):
    """The spool of messages, newest first -> NotificationPage..."""

    limit: Limit = 20


class ListCache(Struct, frozen=True, kw_only=True, tag="list_cache"):
    """Successes that are kept to be used again -> CachePage..."""

    workflow: str | None = None


class ClearCache(Struct, frozen=True, kw_only=True, tag="clear_cache"):
    """Forget those of a workflow -> ClearedView. What runs now is kept when it has succeeded."""

    workflow: str
    task: str | None = None
    """Only of this task, with all its items."""


class SetSecret(Struct, frozen=True, kw_only=True, tag="set_secret"):
    """Put a value into the encrypted store -> SecretAnswer. Level admin, as all about secrets."""

    name: str
    value: bytes
    """Taken as it is, 64 KiB at most."""

    def __repr__(self) -> str:
        """Without the value: whoever shows a request shows none."""
        return f"SetSecret(name={self.name!r}, value=***)"


class RemoveSecret(Struct, frozen=True, kw_only=True, tag="remove_secret"):
    """Take a value out of the store -> SecretAnswer."""

    name: str


class ListSecrets(Struct, frozen=True, kw_only=True, tag="list_secrets"):
    """Names, never values -> SecretPage."""


class RekeySecrets(Struct, frozen=True, kw_only=True, tag="rekey_secrets"):
    """Seal all of the store anew under another key -> SecretAnswer."""


class ListPlaces(Struct, frozen=True, kw_only=True, tag="list_places"):
    """The places that runs share, and who holds them or waits -> PlacePage..."""


class GetSimulationBasis(Struct, frozen=True, kw_only=True, tag="get_simulation_basis"):
    """What whoever asks needs to simulate the host by himself -> SimulationBasis, BasisPage..."""


class GetHealth(Struct, frozen=True, kw_only=True, tag="get_health"):
    """What `doctor` asks of a daemon -> HealthView."""


class MakeBackup(Struct, frozen=True, kw_only=True, tag="make_backup"):
    """A copy of the instance, as it is now -> BackupOpen with one descriptor, BackupView. Level admin."""

    with_logs: bool = False
    """Logs and artifacts, too."""


class CheckStore(Struct, frozen=True, kw_only=True, tag="check_store"):
    """A check of all of the store, from a snapshot -> StoreCheckView. Level admin."""


class DrainHost(Struct, frozen=True, kw_only=True, tag="drain_host"):
    """Start no task from now on, or (`drained` False) start them again -> DrainView. Level admin."""

    drained: bool = True
    wait: bool = False
    """A second DrainView when nothing runs any more."""


class GetVersion(Struct, frozen=True, kw_only=True, tag="get_version"):
    """-> VersionView."""


class DeliverHook(Struct, frozen=True, kw_only=True, tag="deliver_hook"):
    """A delivery to a hook, as a web server got it -> HookView (recorded, not started: rule I7).

    The same delivery again gives the first answer, for 24 hours (rule I2).
    """

    hook: str
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    """As it came, 1,000,000 bytes at most: signatures are made of it."""
    trusted: bool = False
    """Take it without a signature, to try the hook (level admin)."""

    def __repr__(self) -> str:
        """Without what may be secret: whoever shows a request shows neither headers nor body."""
        return f"DeliverHook(hook={self.hook!r}, {len(self.body)} bytes)"


class ListFirings(Struct, frozen=True, kw_only=True, tag="list_firings"):
    """What reached event triggers, oldest first -> FiringPage...; `limit`: the newest so many."""

    workflow: str | None = None
    since_us: Integer | None = None
    limit: Limit | None = None


class ListAudit(Struct, frozen=True, kw_only=True, tag="list_audit"):
    """Who changed what, newest first -> AuditPage..."""

    since_us: Integer | None = None
    user: str = ""
    """Only what this account did; of one that has no name its number."""
    workflow: str = ""
    """Only what was done to this workflow."""
    limit: Limit = 20


Request = (
    GetHost | GetRun | GetGraph | ListWorkflows | ShowWorkflow | ListRuns | StartRun | CancelRun | RerunRun
    | PauseWorkflow | GetLogs | WatchRun | ListNext | ListSlots | ListEvents | Reload | GetHealth | GetVersion
    | SendNotification | ListNotifications | ListPlaces | AnswerApproval | ListApprovals | ListArtifacts | GetArtifact
    | SetSecret | RemoveSecret | ListSecrets | RekeySecrets
    | ListCache | ClearCache
    | ListChanges
    | StartBackfill | CancelBackfill | ListBackfills
    | Explain
    | GetSimulationBasis
    | DeliverHook | ListFirings
    | ListAudit
    | MakeBackup | CheckStore | DrainHost
    | GetIdentity | CreateToken | ListTokens | RevokeToken | OpenSession
    | ListOutcomes | GetGrid | ListAttempts | GetSamples | GetTimeline | GetMetrics
    | SaveDefinition | MarkSeen
)  # fmt: skip


class About(StrEnum):
    """What a request is about, and so whose right it needs beside the level; `handlers.access` judges it."""

    HOST = "host"
    """No workflow: the level itself is needed."""
    EACH = "each"
    """All workflows: answered with those that whoever asks may see."""
    WORKFLOW = "workflow"
    """The one that `workflow` names; as EACH where it names none."""
    RUN = "run"
    """The one that `of` names, or `run` and `workflow`; as EACH where they name none."""
    BACKFILL = "backfill"
    HOOK = "hook"
    """The workflows that have the hook: whose signature a delivery bears may make it, whoever he is; without one each
    of them is judged by who decides about it."""


class Operation(NamedTuple):
    """Who may make a request: whoever has `level`, on the host or on the workflow that it is about."""

    level: Level
    about: About
    changes: bool = False
    """Whether it changes something, and is kept in the record of who did what (audit)."""


OPERATIONS: dict[type, Operation] = {
    GetHost: Operation(Level.READ, About.EACH),
    GetRun: Operation(Level.READ, About.RUN),
    GetGraph: Operation(Level.READ, About.RUN),
    ListWorkflows: Operation(Level.READ, About.EACH),
    ShowWorkflow: Operation(Level.READ, About.WORKFLOW),
    ListChanges: Operation(Level.READ, About.WORKFLOW),
    ListRuns: Operation(Level.READ, About.WORKFLOW),
    StartBackfill: Operation(Level.OPERATE, About.WORKFLOW, changes=True),
    CancelBackfill: Operation(Level.OPERATE, About.BACKFILL, changes=True),
    ListBackfills: Operation(Level.READ, About.EACH),
    StartRun: Operation(Level.OPERATE, About.WORKFLOW, changes=True),
    CancelRun: Operation(Level.OPERATE, About.RUN, changes=True),
    RerunRun: Operation(Level.OPERATE, About.RUN, changes=True),
    PauseWorkflow: Operation(Level.OPERATE, About.WORKFLOW, changes=True),
    GetLogs: Operation(Level.READ, About.RUN),
    WatchRun: Operation(Level.READ, About.RUN),
    ListNext: Operation(Level.READ, About.WORKFLOW),
    ListSlots: Operation(Level.READ, About.WORKFLOW),
    ListEvents: Operation(Level.READ, About.RUN),
    Explain: Operation(Level.READ, About.RUN),
    GetSimulationBasis: Operation(Level.READ, About.EACH),
    Reload: Operation(Level.ADMIN, About.HOST, changes=True),
    GetHealth: Operation(Level.READ, About.HOST),
    GetVersion: Operation(Level.NONE, About.HOST),
    ListCache: Operation(Level.READ, About.WORKFLOW),
    ClearCache: Operation(Level.OPERATE, About.WORKFLOW, changes=True),
    SendNotification: Operation(Level.OPERATE, About.HOST, changes=True),
    ListNotifications: Operation(Level.READ, About.EACH),
    ListPlaces: Operation(Level.READ, About.EACH),
    AnswerApproval: Operation(Level.OPERATE, About.RUN, changes=True),
    ListApprovals: Operation(Level.READ, About.EACH),
    ListArtifacts: Operation(Level.READ, About.RUN),
    GetArtifact: Operation(Level.READ, About.RUN),
    SetSecret: Operation(Level.ADMIN, About.HOST, changes=True),
    RemoveSecret: Operation(Level.ADMIN, About.HOST, changes=True),
    ListSecrets: Operation(Level.ADMIN, About.HOST),
    RekeySecrets: Operation(Level.ADMIN, About.HOST, changes=True),
    DeliverHook: Operation(Level.NONE, About.HOOK, changes=True),
    ListFirings: Operation(Level.READ, About.WORKFLOW),
    ListAudit: Operation(Level.ADMIN, About.HOST),
    MakeBackup: Operation(Level.ADMIN, About.HOST, changes=True),
    CheckStore: Operation(Level.ADMIN, About.HOST),
    DrainHost: Operation(Level.ADMIN, About.HOST, changes=True),
    GetIdentity: Operation(Level.NONE, About.HOST),
    CreateToken: Operation(Level.READ, About.EACH, changes=True),
    ListTokens: Operation(Level.READ, About.EACH),
    RevokeToken: Operation(Level.NONE, About.HOST, changes=True),
    OpenSession: Operation(Level.NONE, About.HOST, changes=True),
    ListOutcomes: Operation(Level.READ, About.WORKFLOW),
    GetGrid: Operation(Level.READ, About.WORKFLOW),
    ListAttempts: Operation(Level.READ, About.RUN),
    GetSamples: Operation(Level.READ, About.RUN),
    GetTimeline: Operation(Level.READ, About.EACH),
    GetMetrics: Operation(Level.READ, About.EACH),
    SaveDefinition: Operation(Level.ADMIN, About.HOST, changes=True),
    MarkSeen: Operation(Level.OPERATE, About.RUN, changes=True),
}
"""The right that each request needs. A request that is not here cannot be made.

StartRun of a file's text needs ADMIN on the host, and so does DeliverHook of what is `trusted`.
"""


def operation(request: Request) -> Operation:
    """The right that this very request needs, and whether it changes something."""
    known = OPERATIONS[type(request)]
    if isinstance(request, StartRun):
        if request.data:
            known = Operation(Level.ADMIN, About.HOST, changes=True)
        return known._replace(changes=not request.dry_run)
    if isinstance(request, StartBackfill | SaveDefinition):
        return known._replace(changes=not request.dry_run)
    if isinstance(request, DeliverHook) and request.trusted:
        return Operation(Level.ADMIN, About.HOST, changes=True)
    return known
