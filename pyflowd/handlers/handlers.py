"""One function per request: the only readers of the store for clients, and the only way in for what they ask.

A function checks, and changes what is to be changed, when it is called; it returns an iterator of replies that is
pulled after the turn's commit. So a reply promises only what has already happened (rule I7).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from typing import Any

import msgspec

from pyflowd.base.peer import Peer
from pyflowd.clock import US
from pyflowd.control.control import NEXT_TURN, Wait, close_all
from pyflowd.control.replies import Attached, Replies
from pyflowd.errors import NoWorkflow, Refused
from pyflowd.handlers import views
from pyflowd.handlers.access import Sight
from pyflowd.handlers.handlers_approvals import ApprovalHandlers
from pyflowd.handlers.handlers_audit import AuditHandlers
from pyflowd.handlers.handlers_backfill import BackfillHandlers
from pyflowd.handlers.handlers_cache import CacheHandlers
from pyflowd.handlers.handlers_definitions import DefinitionHandlers
from pyflowd.handlers.handlers_explain import ExplainHandlers
from pyflowd.handlers.handlers_figures import FigureHandlers
from pyflowd.handlers.handlers_logs import LogHandlers
from pyflowd.handlers.handlers_metrics import MetricsHandlers
from pyflowd.handlers.handlers_notify import NotificationHandlers
from pyflowd.handlers.handlers_places import PlaceHandlers
from pyflowd.handlers.handlers_runs import PROGRESS_QUIET_US, RunHandlers
from pyflowd.handlers.handlers_saving import SaveHandlers
from pyflowd.handlers.handlers_secrets import SecretHandlers
from pyflowd.handlers.handlers_simulation import SimulationHandlers
from pyflowd.handlers.handlers_slots import SlotHandlers
from pyflowd.handlers.handlers_timeline import TimelineHandlers
from pyflowd.handlers.handlers_tokens import TokenHandlers
from pyflowd.handlers.handlers_upkeep import UpkeepHandlers
from pyflowd.model.states import RunState
from pyflowd.protocol.figures import GetGrid, GetMetrics, GetSamples, GetTimeline, ListAttempts, ListOutcomes
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
    Request,
    RerunRun,
    SaveDefinition,
    SendNotification,
    SetSecret,
    ShowWorkflow,
    StartBackfill,
    StartRun,
    WatchRun,
    operation,
)
from pyflowd.protocol.tokens import CreateToken, GetIdentity, ListTokens, OpenSession, RevokeToken
from pyflowd.protocol.views import Done
from pyflowd.protocol.views_host import HealthView, HostView, SettingsView, VersionView
from pyflowd.protocol.views_runs import EventPage, EventView
from pyflowd.protocol.views_workflows import NextPage, NextView, WorkflowPage, WorkflowView
from pyflowd.protocol.words import Level
from pyflowd.render import sentences
from pyflowd.runtime.audit import Deed
from pyflowd.runtime.expectation_watch import Expectations
from pyflowd.runtime.handlers_hooks import HookHandlers
from pyflowd.runtime.live_settings import LiveSettings, Reread
from pyflowd.version import VERSION

DAY_US = 86_400 * US
PAGE = 200
WORKFLOWS_A_TURN = 200
"""Of which a turn tells: 3 ms."""
EVENTS_PAGE = 50
"""Few enough that what is said of them fits one frame: a stream goes on from there over a restart."""
EVENTS_LOOKED_AT = 1_000
"""In a turn, 3 ms: for those that somebody may see among all."""
FAILED_SHOWN = 10
PROBLEMS_SHOWN = 10
"""By `doctor`; `list` and `status` show all."""
RUN_MAX = (1 << 63) - 1
"""Greatest integer of SQLite."""
NEXT_MAX = 10_000
"""Coming slots are computed in one turn, 20 us each."""


class Handlers:
    """Answers requests. `handle` is given to the control socket, to the console, later to the web."""

    def __init__(
        self,
        of_runs: RunHandlers,
        of_notifications: NotificationHandlers,
        of_logs: LogHandlers,
        of_approvals: ApprovalHandlers,
        of_secrets: SecretHandlers,
        of_backfills: BackfillHandlers,
        expectations: Expectations,
        of_hooks: HookHandlers,
        of_upkeep: UpkeepHandlers,
        of_tokens: TokenHandlers,
        settings: LiveSettings,
        of_metrics: MetricsHandlers,
        of_saving: SaveHandlers,
    ) -> None:
        self.settings = settings
        self.of_upkeep = of_upkeep
        self.of_backfills = of_backfills
        self.expectations = expectations
        self.of_runs = of_runs
        self.of_approvals = of_approvals
        self.of_secrets = of_secrets
        self.store = of_runs.store
        self.runs = of_runs.runs
        self.workflows = of_runs.workflows
        self.definitions = of_runs.definitions
        self.health = of_runs.health
        self.clock = of_runs.clock
        self.access = of_runs.access
        self.audit = of_runs.audit
        of_cache = CacheHandlers(of_runs)
        of_definitions = DefinitionHandlers(of_runs)
        of_figures = FigureHandlers(of_runs)
        self._table: dict[type, Callable[[Any, Peer], Replies]] = {
            GetHost: self._host,
            GetRun: self.of_runs.get_run,
            GetGraph: self.of_runs.get_graph,
            ListWorkflows: self._workflows,
            ShowWorkflow: of_definitions.show,
            ListChanges: of_definitions.changes,
            ListRuns: self.of_runs.list_runs,
            StartRun: self.of_runs.start_run,
            StartBackfill: of_backfills.start,
            CancelBackfill: of_backfills.cancel,
            ListBackfills: of_backfills.list_backfills,
            CancelRun: self.of_runs.cancel_run,
            RerunRun: self.of_runs.rerun_run,
            MarkSeen: self.of_runs.mark_seen,
            PauseWorkflow: self._pause,
            GetLogs: of_logs.get_logs,
            ListArtifacts: of_logs.list_artifacts,
            GetArtifact: of_logs.get_artifact,
            ListCache: of_cache.list_entries,
            ClearCache: of_cache.clear,
            AnswerApproval: of_approvals.answer,
            ListApprovals: of_approvals.list_approvals,
            WatchRun: self.of_runs.watch_run,
            ListNext: self._next,
            ListSlots: SlotHandlers(of_runs).list_slots,
            ListEvents: self._events,
            ListOutcomes: of_figures.outcomes,
            GetGrid: of_figures.grid,
            ListAttempts: of_figures.attempts,
            GetSamples: of_figures.samples,
            GetTimeline: TimelineHandlers(of_runs).timeline,
            GetMetrics: of_metrics.get,
            SaveDefinition: of_saving.save,
            Explain: ExplainHandlers(of_runs, of_logs.logs).explain,
            Reload: self._reload,
            GetHealth: self._health,
            GetVersion: self._version,
            SendNotification: of_notifications.send,
            ListNotifications: of_notifications.spool,
            SetSecret: of_secrets.set,
            RemoveSecret: of_secrets.remove,
            ListSecrets: of_secrets.list_secrets,
            RekeySecrets: of_secrets.rekey,
            ListPlaces: PlaceHandlers(of_runs).places,
            GetSimulationBasis: SimulationHandlers(of_runs).basis,
            DeliverHook: of_hooks.deliver,
            ListFirings: lambda request, peer: of_hooks.list_firings(
                request, *self.access.sight(peer).selected(request.workflow)
            ),
            MakeBackup: of_upkeep.backup,
            CheckStore: of_upkeep.check,
            DrainHost: of_upkeep.drain,
            ListAudit: AuditHandlers(of_runs.store).records,
            GetIdentity: of_tokens.identity,
            CreateToken: of_tokens.create,
            ListTokens: of_tokens.tokens_held,
            RevokeToken: of_tokens.revoke,
            OpenSession: of_tokens.open_session,
        }

    def handle(self, request: Request, peer: Peer) -> Replies:
        """Judge, act, record, and return the replies to be pulled after the commit. Raises PyflowError."""
        try:
            return self.audit.during(Deed(request, peer), lambda: self._judged(request, peer))
        except NoWorkflow as error:
            raise self._unknown(error, peer) from None

    def _judged(self, request: Request, peer: Peer) -> Replies:
        workflow = self.access.authorise(request, peer)
        if operation(request).changes:
            self.health.check_writable()
        replies = self._table[type(request)](request, peer)
        return replies if peer.level is Level.ADMIN else self._guarded(replies, request, workflow, peer)

    def _guarded(self, replies: Replies, request: Request, workflow: str, peer: Peer) -> Replies:
        """The same for as long as the workflow that they are about may be seen: a definition may come in between."""
        try:
            for reply in replies:
                if workflow and not self.access.sight(peer).sees(workflow):
                    close_all(reply.descriptors if isinstance(reply, Attached) else ())
                    raise self.access.unseen(request, workflow, peer)
                yield reply
        except NoWorkflow as error:
            raise self._unknown(error, peer) from None

    def _unknown(self, error: NoWorkflow, peer: Peer) -> NoWorkflow:
        """The same error with no name in it that whoever asks may not know."""
        told = self.access.no_workflow(error.name, peer)
        told.denied = error.denied
        return told

    # ---- The host

    def _host(self, _: GetHost, peer: Peer) -> Replies:
        now_us, sight = self.clock.wall_us(), self.access.sight(peer)
        suffix, of = sight.selected()
        # A run that a full disk keeps from being recorded is in memory only: it is not shown.
        seen = [run for run, each in sorted(self.runs.live.items()) if sight.sees(each.meta.workflow)]
        live = [self.of_runs.view(run, sight) for run in seen if self.store.one_or_none("run", run)]
        ended: dict[str, int] = dict(self.store.rows(f"ended_since{suffix}", *of, now_us - DAY_US))
        failed = self.store.rows(f"failed_since{suffix}", *of, now_us - DAY_US, FAILED_SHOWN)
        yield HostView(
            version=VERSION,
            pid=self.health.pid,
            started_us=self.health.started_us,
            now_us=now_us,
            root=self.health.label,
            workflows=sum(map(sight.sees, self.workflows.entries)),
            running=[view for view in live if view.state == RunState.RUNNING],
            queued=[view for view in live if view.state == RunState.QUEUED],
            failed=[self.of_runs.seen(views.run_view(row), sight) for row in failed],
            succeeded_24h=ended.get(RunState.SUCCEEDED, 0),
            failed_24h=ended.get(RunState.FAILED, 0),
            next=self._next_views(None, 3, sight),
            problems=self.definitions.problems(sight.sees_host),
            warnings=[
                *self.health.warnings(sight.sees_host),
                *self.workflows.warnings(sight.sees),
                *self.expectations.warnings(sight.sees),
            ],
            approvals=self.of_approvals.waiting(sight),
            backfills=self.of_backfills.open_views(sight),
            folder=self.definitions.folders.workflows,
        )

    def _health(self, _: GetHealth, peer: Peer) -> Replies:
        sight = self.access.sight(peer)
        problems = self.definitions.problems(sight.sees_host)
        found = [("warning", "definitions", str(problem)) for problem in problems[:PROBLEMS_SHOWN]]
        if len(problems) > PROBLEMS_SHOWN:
            found.append(("warning", "definitions", f"and {len(problems) - PROBLEMS_SHOWN} more; see: pyflowctl list"))
        if not problems:
            found.append(
                (
                    "ok",
                    "definitions",
                    f"{sum(map(sight.sees, self.workflows.entries))} in force, no file is refused or ignored",
                )
            )
        found += [("warning", "secrets", fault) for fault in self.of_secrets.faults(sight.sees)]
        held = [("warning", "schedules", text) for text in self.workflows.held_all(sight.sees)]
        yield HealthView(checks=[*self.health.checks(sight.sees_host), *found, *held, *self.of_upkeep.checks()])

    def _version(self, _: GetVersion, __: Peer) -> Replies:
        yield VersionView(version=VERSION, pid=self.health.pid)

    # ---- Workflows

    def _workflows(self, _: ListWorkflows, peer: Peer) -> Replies:
        """A piece a turn; at last what may be told of it by then."""
        read: list[WorkflowView] = []
        names = sorted(self.workflows.entries)
        for at in range(0, len(names), WORKFLOWS_A_TURN):
            if at:
                yield NEXT_TURN
            read += self._of_workflows(names[at : at + WORKFLOWS_A_TURN], self.access.sight(peer))
        sight = self.access.sight(peer)
        found = [view for view in read if view.workflow in self.workflows.entries and sight.sees(view.workflow)]
        found += self.definitions.broken(sight.sees)
        found.sort(key=lambda view: view.workflow)
        for at in range(0, len(found), PAGE):
            yield WorkflowPage(workflows=found[at : at + PAGE])
        # On a page of their own: one that is too long for a frame is cut in two, and would tell them twice.
        notes = self.definitions.notes(sight.sees_host)
        if not found or notes:
            yield WorkflowPage(workflows=[], notes=notes, folder=self.definitions.folders.workflows)

    def _of_workflows(self, names: list[str], sight: Sight) -> list[WorkflowView]:
        """Those of them that are in force still and may be seen."""
        some = [name for name in names if name in self.workflows.entries and sight.sees(name)]
        newest = (views.run_view(row) for row in self.store.rows("newest_runs", json.dumps(some)))
        last = {view.workflow: self.of_runs.seen(view, sight) for view in newest}
        return [self._with_approvals(self.definitions.view(name, last.get(name)), sight) for name in some]

    def _with_approvals(self, view: WorkflowView, sight: Sight) -> WorkflowView:
        waiting = self.of_approvals.waiting(sight, view.workflow)
        return msgspec.structs.replace(view, approvals=waiting) if waiting else view

    def _pause(self, request: PauseWorkflow, peer: Peer) -> Replies:
        if request.paused:
            self.workflows.pause(request.workflow, peer.name)
        else:
            self.workflows.resume(request.workflow, peer.name)
        return self._one_workflow(request.workflow)

    def _one_workflow(self, name: str) -> Replies:
        yield WorkflowPage(workflows=[self.definitions.view(name, None)])

    def _reload(self, _: Reload, peer: Peer) -> Replies:
        self.definitions.rescan(believe_gone=True)
        found = self.settings.reload()
        if self.workflows.calendars is not None and not found.error:
            self.workflows.calendars.reload()
        return self._reloaded(found, peer)

    def _reloaded(self, found: Reread, peer: Peer) -> Replies:
        calendars = self.workflows.calendars
        while self.definitions.busy or (calendars is not None and calendars.busy):
            yield Wait(frozenset({"workflows"}))
        yield from self._workflows(ListWorkflows(), peer)
        if found.error:
            raise Refused(f"{found.error}; the settings from before stay in force")
        if found.live or found.restart:
            yield SettingsView(live=list(found.live), restart=list(found.restart))
        yield Done(exit_status=Refused.exit_status if self.definitions.refused else 0)

    # ---- Time

    def _next_views(self, workflow: str | None, limit: int, sight: Sight) -> list[NextView]:
        hidden = () if sight.sees_all else {name for name in self.workflows.entries if not sight.sees(name)}
        return self.workflows.upcoming(workflow, limit, hidden)

    def _next(self, request: ListNext, peer: Peer) -> Replies:
        if request.workflow is not None:
            self.workflows.find(request.workflow)
        if request.limit > NEXT_MAX:
            raise Refused(f"{request.limit} coming slots are asked for; at most {NEXT_MAX} are computed")
        none = "" if request.workflow is None else self.workflows.idle(request.workflow)
        slots = self._next_views(request.workflow, request.limit, self.access.sight(peer))
        yield NextPage(slots=slots, none=none)

    # ---- Events

    def _events(self, request: ListEvents, peer: Peer) -> Replies:
        """Of one run, or all that whoever asks may see; each page by what he may see then."""
        of = () if request.run is None else (request.run,)
        suffix = "" if request.run is None else "_of_run"
        if request.run is not None:
            self.of_runs.bare_view(request.run)
        after = request.after
        if after is None and (request.run is not None or self.access.sight(peer).sees_all):
            first = self.store.one_or_none(f"newest_event{suffix}", *of, request.limit - 1)
            after = first[0] - 1 if first else 0
        elif after is None:
            after = yield from self._before_newest(request.limit, peer)
        empty = not request.follow
        while True:
            rows = list(self.store.rows(f"events{suffix}_after", *of, after, EVENTS_PAGE))
            sight, names = self.access.sight(peer), dict[int, str]()
            events = [self._event(row, names) for row in rows]
            seen = [event for event in events if self._is_seen(event, sight)]
            after = rows[-1][0] if rows else after
            if seen or (empty and not rows):
                empty = False
                yield EventPage(events=seen)
            elif rows:
                yield NEXT_TURN
            elif request.follow:
                yield Wait(frozenset({"events"}), PROGRESS_QUIET_US // 10)
            else:
                return

    def _before_newest(self, limit: int, peer: Peer) -> Generator[Wait, None, int]:
        """The event before the newest `limit` of those that are seen; a piece a turn, as others may be many."""
        before, left = RUN_MAX, limit
        while rows := list(self.store.rows("events_before", before, EVENTS_LOOKED_AT)):
            sight = self.access.sight(peer)
            for event, run, workflow, body in rows:
                left -= sight.sees(workflow or "") if run is not None else sight.sees_host(sentences.workflow_of(body))
                if not left:
                    return int(event) - 1
            before = rows[-1][0]
            yield NEXT_TURN
        return 0

    def _is_seen(self, event: EventView, sight: Sight) -> bool:
        return sight.sees(event.workflow) if event.run is not None else sight.sees_host(event.workflow)

    def _event(self, row: Any, names: dict[int, str]) -> EventView:
        run = row[1]
        if run is not None and run not in names:
            names[run] = self.access.workflow_of_run(run)
        return sentences.event_view(row, names.get(run, "") if run is not None else "")
