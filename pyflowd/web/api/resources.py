"""Which request stands where, and how its answer is shown: one table, from which routes and their document are made."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

from pyflowd.protocol.figures import (
    AttemptPage,
    GetGrid,
    GetMetrics,
    GetSamples,
    GetTimeline,
    GridView,
    ListAttempts,
    ListOutcomes,
    MetricsView,
    OutcomesPage,
    SamplesView,
    TimelineView,
)
from pyflowd.protocol.requests import (
    AnswerApproval,
    CancelBackfill,
    CancelRun,
    CheckStore,
    ClearCache,
    DeliverHook,
    DrainHost,
    Explain,
    GetArtifact,
    GetGraph,
    GetHealth,
    GetHost,
    GetLogs,
    GetRun,
    GetSimulationBasis,
    GetVersion,
    ListApprovals,
    ListArtifacts,
    ListAudit,
    ListBackfills,
    ListCache,
    ListChanges,
    ListEvents,
    ListFirings,
    ListNext,
    ListNotifications,
    ListPlaces,
    ListRuns,
    ListSecrets,
    ListSlots,
    ListWorkflows,
    MakeBackup,
    MarkSeen,
    PauseWorkflow,
    RekeySecrets,
    Reload,
    RemoveSecret,
    RerunRun,
    SaveDefinition,
    SendNotification,
    SetSecret,
    ShowWorkflow,
    StartBackfill,
    StartRun,
    WatchRun,
)
from pyflowd.protocol.tokens import (
    CreateToken,
    GetIdentity,
    IdentityView,
    ListTokens,
    OpenSession,
    RevokeToken,
    TokenPage,
    TokenView,
)
from pyflowd.protocol.views_workflows import SavedView


class Shape(Enum):
    """How an answer becomes JSON."""

    VALUE = "value"
    """One value, as `pyflowctl -o json` prints it."""
    RUN = "run"
    """The host, or a run with its tasks."""
    ARRAY = "array"
    """Everything of all pages in one array, as `pyflowctl -o json` prints it."""
    SECRETS = "secrets"
    """Names of secrets, with notes."""
    FIGURES = "figures"
    """The fields of the protocol as they are: times in microseconds since the epoch (`_us`)."""
    LOG = "log"
    """The output of one attempt as bytes."""


class Resource(NamedTuple):
    method: str
    path: str
    """Below /api/v1; what stands in braces is a field of the request."""
    request: type
    shape: Shape
    command: str = ""
    """Which command of pyflowctl prints the same JSON."""
    fixed: Mapping[str, Any] = MappingProxyType({})
    """Fields that the path settles."""
    hidden: frozenset[str] = frozenset()
    """Fields that make no sense here."""
    status: int = 200
    """Of an answer; 201: its Location is the run that was recorded."""
    view: type | None = None
    """What FIGURES are of."""
    most: int = 0
    """Of `limit`, which is this where it is left out and the request has none; 0: it has no limit."""


_FOLLOW = frozenset({"follow"})
_MOST = 1000

RESOURCES = (
    # ---- Reads
    Resource("GET", "/host", GetHost, Shape.RUN, "status"),
    Resource("GET", "/version", GetVersion, Shape.VALUE, "version"),
    Resource("GET", "/health", GetHealth, Shape.VALUE, "doctor"),
    Resource("GET", "/identity", GetIdentity, Shape.FIGURES, view=IdentityView),
    Resource("GET", "/workflows", ListWorkflows, Shape.ARRAY, "list"),
    Resource("GET", "/workflows/{workflow}", ShowWorkflow, Shape.VALUE, "show"),
    Resource("GET", "/workflows/{of}/graph", GetGraph, Shape.VALUE, "graph"),
    Resource("GET", "/workflows/{workflow}/changes", ListChanges, Shape.ARRAY, "changes", most=_MOST),
    Resource("GET", "/workflows/{workflow}/grid", GetGrid, Shape.FIGURES, view=GridView, most=200),
    Resource("GET", "/runs", ListRuns, Shape.ARRAY, "history", most=_MOST),
    Resource("GET", "/runs/{of}", GetRun, Shape.RUN, "status RUN"),
    Resource("GET", "/runs/{of}/graph", GetGraph, Shape.VALUE, "graph"),
    Resource("GET", "/runs/{of}/attempts", ListAttempts, Shape.FIGURES, view=AttemptPage),
    Resource("GET", "/runs/{of}/artifacts", ListArtifacts, Shape.ARRAY, "artifacts"),
    Resource("GET", "/runs/{of}/log/{task}", GetLogs, Shape.LOG, "logs --raw", hidden=_FOLLOW | {"all_attempts"}),
    Resource("GET", "/runs/{of}/samples/{task}", GetSamples, Shape.FIGURES, view=SamplesView),
    Resource("GET", "/outcomes", ListOutcomes, Shape.FIGURES, view=OutcomesPage, most=200),
    Resource("GET", "/timeline", GetTimeline, Shape.FIGURES, view=TimelineView),
    Resource("GET", "/slots", ListSlots, Shape.ARRAY, "slots", most=_MOST),
    Resource("GET", "/next", ListNext, Shape.ARRAY, "next", most=_MOST),
    Resource("GET", "/firings", ListFirings, Shape.ARRAY, "slots --events", most=_MOST),
    Resource("GET", "/events", ListEvents, Shape.ARRAY, "events", hidden=_FOLLOW, most=_MOST),
    Resource("GET", "/explain/{of}", Explain, Shape.VALUE, "explain"),
    Resource("GET", "/approvals", ListApprovals, Shape.ARRAY, "approvals"),
    Resource("GET", "/backfills", ListBackfills, Shape.ARRAY, "backfills", most=_MOST),
    Resource("GET", "/places", ListPlaces, Shape.ARRAY, "places"),
    Resource("GET", "/notifications", ListNotifications, Shape.ARRAY, "notifications", most=_MOST),
    Resource("GET", "/cache", ListCache, Shape.ARRAY, "cache list"),
    Resource("GET", "/secrets", ListSecrets, Shape.SECRETS, "secret list"),
    Resource("GET", "/audit", ListAudit, Shape.ARRAY, "audit", most=_MOST),
    Resource("GET", "/tokens", ListTokens, Shape.FIGURES, view=TokenPage),
    Resource("GET", "/metrics", GetMetrics, Shape.FIGURES, view=MetricsView),
    # ---- Actions
    Resource("POST", "/runs", StartRun, Shape.VALUE, "run", status=201),
    Resource("POST", "/runs/{run}/cancel", CancelRun, Shape.VALUE, "cancel", hidden=frozenset({"workflow"})),
    Resource("POST", "/runs/{run}/rerun", RerunRun, Shape.VALUE, "rerun", hidden=frozenset({"workflow"}), status=201),
    Resource("POST", "/runs/{run}/seen", MarkSeen, Shape.VALUE, "seen"),
    Resource(
        "POST", "/runs/{run}/approve/{task}", AnswerApproval, Shape.VALUE, "approve", {"approve": True},
        frozenset({"workflow"}),
    ),
    Resource(
        "POST", "/runs/{run}/reject/{task}", AnswerApproval, Shape.VALUE, "reject", {"approve": False},
        frozenset({"workflow", "choice"}),
    ),
    Resource("POST", "/workflows/{workflow}/pause", PauseWorkflow, Shape.VALUE, "pause", {"paused": True}),
    Resource("POST", "/workflows/{workflow}/resume", PauseWorkflow, Shape.VALUE, "resume", {"paused": False}),
    Resource("POST", "/workflows/{workflow}/cache/clear", ClearCache, Shape.VALUE, "cache clear"),
    Resource("POST", "/workflows/{workflow}/backfills", StartBackfill, Shape.VALUE, "run --for"),
    Resource("POST", "/backfills/{backfill}/cancel", CancelBackfill, Shape.VALUE, "cancel --backfill"),
    Resource("POST", "/notifications", SendNotification, Shape.VALUE, "notify"),
    Resource("POST", "/definitions", SaveDefinition, Shape.FIGURES, view=SavedView),
    Resource("POST", "/reload", Reload, Shape.ARRAY, "reload"),
    Resource("POST", "/drain", DrainHost, Shape.VALUE, "drain", hidden=frozenset({"wait"})),
    Resource("POST", "/tokens/{token}/revoke", RevokeToken, Shape.FIGURES, view=TokenView),
)  # fmt: skip

LEFT_OUT = {
    SetSecret: "values of secrets never travel by HTTP",
    RemoveSecret: "as what sets them",
    RekeySecrets: "as what sets them",
    MakeBackup: "a backup holds all that there is: it is made on the host",
    CheckStore: "reads the whole store: it is asked for on the host",
    GetArtifact: "a file, which a page hands over",
    GetSimulationBasis: "what pyflowctl simulates with, in a form of its own",
    WatchRun: "a stream: ask for the run again, or for events after the last one",
    DeliverHook: "has a path and a proof of its own: /hooks",
    CreateToken: "a token makes no token",
    OpenSession: "of browsers",
}
"""Requests that are none of this API, and why."""
