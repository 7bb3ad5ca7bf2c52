"""One function per request: the only readers of the store for clients, and the only way in for what they ask.

A function checks, and changes what is to be changed, when it is called; it returns an iterator of replies that is
pulled after the turn's commit. So a reply promises only what has already happened (rule I7).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from pyflowd.base.peer import Peer
from pyflowd.clock import US
from pyflowd.control.control import Wait
from pyflowd.control.replies import Replies
from pyflowd.errors import Forbidden, Refused
from pyflowd.handlers import views
from pyflowd.handlers.handlers_approvals import ApprovalHandlers
from pyflowd.handlers.handlers_backfill import BackfillHandlers
from pyflowd.handlers.handlers_cache import CacheHandlers
from pyflowd.handlers.handlers_definitions import DefinitionHandlers
from pyflowd.handlers.handlers_explain import ExplainHandlers
from pyflowd.handlers.handlers_logs import LogHandlers
from pyflowd.handlers.handlers_notify import NotificationHandlers
from pyflowd.handlers.handlers_places import PlaceHandlers
from pyflowd.handlers.handlers_runs import PROGRESS_QUIET_US, RunHandlers
from pyflowd.handlers.handlers_secrets import SecretHandlers
from pyflowd.handlers.handlers_simulation import SimulationHandlers
from pyflowd.model.states import RunState
from pyflowd.protocol.requests import (
    LEVELS,
    AnswerApproval,
    CancelBackfill,
    CancelRun,
    ClearCache,
    DeliverHook,
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
    PauseWorkflow,
    RekeySecrets,
    Reload,
    RemoveSecret,
    Request,
    RerunRun,
    SendNotification,
    SetSecret,
    ShowWorkflow,
    StartBackfill,
    StartRun,
    WatchRun,
)
from pyflowd.protocol.views import (
    Done,
    EventPage,
    EventView,
    HealthView,
    HostView,
    NextPage,
    NextView,
    SlotPage,
    VersionView,
    WorkflowPage,
    WorkflowView,
)
from pyflowd.protocol.words import Level
from pyflowd.render import sentences
from pyflowd.runtime.expectation_watch import Expectations
from pyflowd.runtime.handlers_hooks import HookHandlers
from pyflowd.version import VERSION

DAY_US = 86_400 * US
PAGE = 200
EVENTS_PAGE = 50
"""Few enough that what is said of them fits one frame: a stream goes on from there over a restart."""
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
        groups: Mapping[Level, str],
        of_notifications: NotificationHandlers,
        of_logs: LogHandlers,
        of_approvals: ApprovalHandlers,
        of_secrets: SecretHandlers,
        of_backfills: BackfillHandlers,
        expectations: Expectations,
        of_hooks: HookHandlers,
    ) -> None:
        """`groups`: whose members have a level."""
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
        self.groups = groups
        of_cache = CacheHandlers(of_runs)
        of_definitions = DefinitionHandlers(of_runs)
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
            ListSlots: self._slots,
            ListEvents: self._events,
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
            ListFirings: of_hooks.list_firings,
        }

    def handle(self, request: Request, peer: Peer) -> Replies:
        """Check the level, act, and return the replies to be pulled after the commit. Raises PyflowError."""
        needed = LEVELS[type(request)]
        if isinstance(request, StartRun) and request.data:
            needed = Level.ADMIN
        if peer.level < needed:
            raise Forbidden(f"{peer.name} may not do this; {self._remedy(needed)}")
        if needed > Level.READ:
            self.health.check_writable()
        return self._table[type(request)](request, peer)

    def _remedy(self, needed: Level) -> str:
        group = self.groups.get(needed)
        if group is None:
            return "only root and the account that pyflowd runs as may"
        return f"ask the administrator to make you a member of the group {group}"

    # ---- The host

    def _host(self, _: GetHost, __: Peer) -> Replies:
        now_us = self.clock.wall_us()
        # A run that a full disk keeps from being recorded is in memory only: it is not shown.
        live = [self.of_runs.view(run) for run in sorted(self.runs.live) if self.store.one_or_none("run", run)]
        ended: dict[str, int] = dict(self.store.rows("ended_since", now_us - DAY_US))
        failed = self.store.rows("runs_by_state", RunState.FAILED, RUN_MAX, now_us - DAY_US, FAILED_SHOWN)
        yield HostView(
            version=VERSION,
            pid=self.health.pid,
            started_us=self.health.started_us,
            now_us=now_us,
            root=self.health.label,
            workflows=len(self.workflows.entries),
            running=[view for view in live if view.state == RunState.RUNNING],
            queued=[view for view in live if view.state == RunState.QUEUED],
            failed=[views.run_view(row) for row in failed],
            succeeded_24h=ended.get(RunState.SUCCEEDED, 0),
            failed_24h=ended.get(RunState.FAILED, 0),
            next=self._next_views(None, 3),
            problems=self.definitions.problems(),
            warnings=[*self.health.warnings(), *self.workflows.warnings(), *self.expectations.warnings()],
            approvals=self.of_approvals.waiting(),
            backfills=self.of_backfills.open_views(),
        )

    def _health(self, _: GetHealth, __: Peer) -> Replies:
        problems = self.definitions.problems()
        found = [("warning", "definitions", str(problem)) for problem in problems[:PROBLEMS_SHOWN]]
        if len(problems) > PROBLEMS_SHOWN:
            found.append(("warning", "definitions", f"and {len(problems) - PROBLEMS_SHOWN} more; see: pyflowctl list"))
        if not problems:
            found.append(
                ("ok", "definitions", f"{len(self.workflows.entries)} in force, no file is refused or ignored")
            )
        found += [("warning", "secrets", fault) for fault in self.of_secrets.faults()]
        held = [("warning", "schedules", text) for text in self.workflows.held_all()]
        yield HealthView(checks=[*self.health.checks(), *found, *held])

    def _version(self, _: GetVersion, __: Peer) -> Replies:
        yield VersionView(version=VERSION, pid=self.health.pid)

    # ---- Workflows

    def _workflows(self, _: ListWorkflows, __: Peer) -> Replies:
        last = {row[1]: views.run_view(row) for row in self.store.rows("newest_runs")}
        found = [self._with_approvals(view) for view in self.definitions.views(last)]
        for at in range(0, len(found), PAGE):
            yield WorkflowPage(workflows=found[at : at + PAGE])
        # On a page of their own: one that is too long for a frame is cut in two, and would tell them twice.
        if not found or self.definitions.notes():
            yield WorkflowPage(workflows=[], notes=self.definitions.notes())

    def _with_approvals(self, view: WorkflowView) -> WorkflowView:
        waiting = self.of_approvals.waiting(view.workflow)
        return msgspec.structs.replace(view, approvals=waiting) if waiting else view

    def _pause(self, request: PauseWorkflow, peer: Peer) -> Replies:
        if request.paused:
            self.workflows.pause(request.workflow, peer.name)
        else:
            self.workflows.resume(request.workflow, peer.name)
        return self._one_workflow(request.workflow)

    def _one_workflow(self, name: str) -> Replies:
        yield WorkflowPage(workflows=[self.definitions.view(name, None)])

    def _reload(self, _: Reload, __: Peer) -> Replies:
        self.definitions.rescan(believe_gone=True)
        if self.workflows.calendars is not None:
            self.workflows.calendars.reload()
        return self._reloaded()

    def _reloaded(self) -> Replies:
        calendars = self.workflows.calendars
        while self.definitions.busy or (calendars is not None and calendars.busy):
            yield Wait(frozenset({"workflows"}))
        yield from self._workflows(ListWorkflows(), _NOBODY)
        yield Done(exit_status=Refused.exit_status if self.definitions.refused else 0)

    # ---- Time

    def _next_views(self, workflow: str | None, limit: int) -> list[NextView]:
        return self.workflows.upcoming(workflow, limit)

    def _next(self, request: ListNext, _: Peer) -> Replies:
        if request.workflow is not None:
            self.workflows.find(request.workflow)
        if request.limit > NEXT_MAX:
            raise Refused(f"{request.limit} coming slots are asked for; at most {NEXT_MAX} are computed")
        none = "" if request.workflow is None else self.workflows.idle(request.workflow)
        yield NextPage(slots=self._next_views(request.workflow, request.limit), none=none)

    def _slots(self, request: ListSlots, _: Peer) -> Replies:
        """Rows of the ledger from `since` on; with a limit the newest so many of them."""
        since_us = request.since_us or 0
        of = () if request.workflow is None else (request.workflow,)
        suffix = "" if request.workflow is None else "_of_workflow"
        count: int = self.store.one(f"slots_count{suffix}", *of, since_us)[0]
        if not count and request.workflow is not None:
            self.workflows.find(request.workflow)
        offset = 0 if request.limit is None else max(0, count - request.limit)
        if not count:
            yield SlotPage(slots=[])
        last: tuple[object, ...] = (since_us, "", "")
        while rows := list(self.store.rows(f"slots{suffix}", *of, *last, PAGE, offset)):
            yield SlotPage(slots=[views.slot_view(row) for row in rows])
            last, offset = (rows[-1][2], rows[-1][0], rows[-1][1]), 0

    # ---- Events

    def _events(self, request: ListEvents, _: Peer) -> Replies:
        of = () if request.run is None else (request.run,)
        suffix = "" if request.run is None else "_of_run"
        if request.run is not None:
            self.of_runs.bare_view(request.run)
        if request.after is None:
            first = self.store.one_or_none(f"newest_event{suffix}", *of, request.limit - 1)
            after = first[0] - 1 if first else 0
        else:
            after = request.after
        empty = not request.follow
        while True:
            rows = list(self.store.rows(f"events{suffix}_after", *of, after, EVENTS_PAGE))
            if rows or empty:
                empty = False
                names: dict[int, str] = {}
                yield EventPage(events=[self._event(row, names) for row in rows])
                after = rows[-1][0] if rows else after
            elif request.follow:
                yield Wait(frozenset({"events"}), PROGRESS_QUIET_US // 10)
            else:
                return

    def _event(self, row: Any, names: dict[int, str]) -> EventView:
        run = row[1]
        if run is not None and run not in names:
            found = self.store.one_or_none("run", run)
            names[run] = found[1] if found else ""
        return sentences.event_view(row, names.get(run, "") if run is not None else "")


_NOBODY = Peer(uid=-1, gid=-1, pid=0)
