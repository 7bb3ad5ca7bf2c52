"""Replies for tests of the renderers: one evening on one host, fixed in time."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from pyflowd.clock import to_us
from pyflowd.model.problem import Problem
from pyflowd.model.states import Fate
from pyflowd.protocol.tokens import Sort, TokenCreated, TokenPage, TokenView
from pyflowd.protocol.views import Reply
from pyflowd.protocol.views_host import (
    AuditPage,
    AuditView,
    HealthView,
    HostView,
    NotificationPage,
    NotificationView,
    SecretAnswer,
    SecretPage,
    SecretView,
    VersionView,
)
from pyflowd.protocol.views_runs import (
    BackfillPage,
    BackfillView,
    EventPage,
    EventView,
    RunPage,
    RunView,
    TaskPage,
    TaskView,
)
from pyflowd.protocol.views_workflows import (
    ChangePage,
    ChangeView,
    DefinitionView,
    FiringPage,
    FiringView,
    GraphView,
    HookAnswer,
    HookView,
    NextPage,
    NextView,
    PlanView,
    SlotPage,
    SlotView,
    WorkflowPage,
    WorkflowView,
)
from pyflowd.protocol.words import Level


def at_us(text: str) -> int:
    return to_us(datetime.fromisoformat(text if "T" in text else f"2026-03-02T{text}+01:00"))


NOW_US = at_us("21:18:00")
FAILED = RunView(
    run=42,
    workflow="nightly-backup",
    state="failed",
    reason="task_failed",
    error="ship: exit code 7",
    trigger="schedule",
    params={"day": "mon", "full": True},
    created_us=at_us("02:30:00.000200"),
    started_us=at_us("02:30:00.001500"),
    ended_us=at_us("02:33:12.250000"),
    scheduled_us=at_us("02:30:00"),
    tasks_total=5,
    counts={"succeeded": 2, "failed": 1, "upstream_failed": 1, "skipped": 1},
)
RUNNING = RunView(
    run=57,
    workflow="deploy",
    state="running",
    trigger="manual",
    requested_by="anna",
    created_us=at_us("21:15:40"),
    started_us=at_us("21:15:40.1"),
    tasks_total=7,
    counts={"succeeded": 3, "running": 2, "waiting": 2},
    running=["build-amd64", "build-arm64"],
)
QUEUED = RunView(
    run=58, workflow="deploy", state="queued", trigger="manual", created_us=at_us("21:17:01"), tasks_total=7
)
SUCCEEDED = RunView(
    run=55,
    workflow="sync-mail",
    state="succeeded",
    trigger="every-hour",
    created_us=at_us("21:00:00"),
    started_us=at_us("21:00:00.1"),
    ended_us=at_us("21:00:02.5"),
    scheduled_us=at_us("21:00:00"),
    tasks_total=1,
    counts={"succeeded": 1},
)
CANCELLED = RunView(
    run=31,
    workflow="rebuild-index",
    state="cancelled",
    reason="replaced",
    trigger="rerun",
    rerun_of=30,
    created_us=at_us("2026-02-27T23:59:58+01:00"),
    started_us=at_us("2026-02-27T23:59:58.5+01:00"),
    ended_us=at_us("2026-02-28T01:10:00+01:00"),
    tasks_total=3,
    counts={"cancelled": 3},
)
TASKS = [
    TaskView(
        task="dump",
        state="succeeded",
        exit_code=0,
        attempts=1,
        started_us=at_us("02:30:00.010"),
        ended_us=at_us("02:31:02.310"),
        cpu_s=41.25,
        max_rss_bytes=230 << 20,
    ),
    TaskView(
        task="checksum",
        state="succeeded",
        exit_code=0,
        attempts=2,
        attempts_max=3,
        needs=["dump"],
        started_us=at_us("02:31:03"),
        ended_us=at_us("02:31:03.420"),
        cpu_s=0.4,
        max_rss_bytes=9 << 20,
    ),
    TaskView(
        task="ship",
        state="failed",
        reason="exit_code",
        error="exit code 7",
        exit_code=7,
        attempts=3,
        attempts_max=3,
        needs=["checksum"],
        started_us=at_us("02:33:00"),
        ended_us=at_us("02:33:12.25"),
        cpu_s=1.0,
        max_rss_bytes=14 << 20,
    ),
    TaskView(task="announce", state="upstream_failed", reason="upstream_failed", needs=["ship"]),
    TaskView(task="clean", state="skipped", reason="upstream_skipped", needs=["announce"]),
]
DIAMOND = [
    TaskView(task="fetch", state="succeeded"),
    TaskView(task="unit-tests", state="succeeded", needs=["fetch"]),
    TaskView(task="lint", state="failed", needs=["fetch"]),
    TaskView(task="build-amd64", state="running", needs=["fetch"]),
    TaskView(task="build-arm64", state="retrying", needs=["fetch"]),
    TaskView(task="package", state="waiting", needs=["build-amd64", "build-arm64", "unit-tests"]),
    TaskView(task="publish", state="upstream_failed", needs=["package", "lint", "fetch"]),
]
PROBLEM = Problem(
    file="sync-mail.yaml",
    line=4,
    column=3,
    code="unknown_key",
    message='unknown key "shedule"',
    fix='did you mean "schedule"?',
)
WORKFLOWS = [
    WorkflowView(workflow="deploy", state="active", file="deploy.yaml", last=RUNNING, live_runs=2, tasks_total=7),
    WorkflowView(
        workflow="nightly-backup",
        state="active",
        file="nightly-backup.yaml",
        description="Dump, check and ship the database",
        schedules=["30 2 * * * Europe/Berlin"],
        next_us=at_us("2026-03-03T02:30:00+01:00"),
        last=FAILED,
        tasks_total=5,
    ),
    WorkflowView(
        workflow="rebuild-index",
        state="paused",
        schedules=["0 4 * * 0 Europe/Berlin"],
        paused_by="anna",
        last=CANCELLED,
        tasks_total=3,
    ),
    WorkflowView(
        workflow="sync-mail",
        state="stale",
        schedules=["0 * * * * Europe/Berlin"],
        next_us=at_us("22:00:00"),
        last=SUCCEEDED,
        tasks_total=1,
        problems=[PROBLEM],
    ),
]
NEXT = [
    NextView(workflow="sync-mail", trigger="every-hour", scheduled_us=at_us("22:00:00"), timezone="Europe/Berlin"),
    NextView(
        workflow="nightly-backup",
        trigger="schedule",
        scheduled_us=at_us("2026-03-03T02:30:00+01:00"),
        timezone="Europe/Berlin",
    ),
    NextView(
        workflow="tokyo-report", trigger="open", scheduled_us=at_us("2026-03-03T09:00:00+09:00"), timezone="Asia/Tokyo"
    ),
]
HOST = HostView(
    version="0.1.0",
    pid=812,
    started_us=at_us("2026-02-26T18:00:00+01:00"),
    now_us=NOW_US,
    root="system",
    workflows=12,
    running=[RUNNING],
    queued=[QUEUED],
    failed=[FAILED],
    succeeded_24h=31,
    failed_24h=1,
    next=NEXT,
    problems=[PROBLEM],
    warnings=["less than 1 GiB is free for logs"],
)
IDLE = HostView(
    version="0.1.0",
    pid=812,
    started_us=at_us("21:17:30"),
    now_us=NOW_US,
    root="/srv/trial",
    workflows=0,
    running=[],
    queued=[],
    failed=[],
    succeeded_24h=0,
    failed_24h=0,
    next=[],
    problems=[],
    folder="/srv/trial/workflows",
)
SLOTS = [
    SlotView(workflow="sync-mail", trigger="every-hour", scheduled_us=at_us("20:00:00"), fate=Fate.FIRED, run=54),
    SlotView(
        workflow="sync-mail",
        trigger="every-hour",
        scheduled_us=at_us("21:00:00"),
        fate=Fate.SKIPPED,
        reason="overlap",
        run=54,
    ),
    SlotView(
        workflow="nightly-backup",
        trigger="schedule",
        scheduled_us=at_us("2026-03-01T02:30:00+01:00"),
        fate=Fate.SKIPPED,
        reason="down",
    ),
]
FIRINGS = [
    FiringView(
        workflow="deploy", trigger="push", key="d1", at_us=at_us("20:58:00"), fate=Fate.FIRED, run=57,
        summary="POST of 412 bytes",
    ),
    FiringView(
        workflow="invoices", trigger="in", key="a.pdf@1", at_us=at_us("21:10:00"), fate=Fate.SKIPPED,
        reason="expression_error", summary="a.pdf arrives", error="no such name: event.sise",
    ),
]  # fmt: skip
HOOK = HookView(
    hook="deploy",
    answers=[
        HookAnswer(workflow="deploy", trigger="push", fate=Fate.FIRED, run=58),
        HookAnswer(workflow="rebuild-index", trigger="push", fate=Fate.FIRED, run=57, again=True),
        HookAnswer(workflow="sync-mail", trigger="push", fate=Fate.SKIPPED, reason="condition_false"),
    ],
)
EVENTS = [
    EventView(
        event=1001, at_us=at_us("21:15:40"), type="run_created", run=57, workflow="deploy", text="run 57 recorded"
    ),
    EventView(
        event=1002,
        at_us=at_us("21:15:40.2"),
        type="attempt_running",
        run=57,
        workflow="deploy",
        task="fetch",
        attempt=1,
        text="fetch: attempt 1 runs as process 4711",
    ),
    EventView(event=1003, at_us=at_us("21:16:00"), type="definition_refused", text="sync-mail: refused: line 4"),
]
CHECKS = [
    ("ok", "store", "SQLite 3.50.4, 41 MiB, last checked 2 h ago"),
    ("warning", "processes", "best effort: no cgroups; run under systemd"),
    ("error", "disk", "3 MiB are free in /var/lib/pyflow: make room"),
]
DEFINITION = DefinitionView(
    workflow="nightly-backup",
    file="nightly-backup.yaml",
    digest="9f" * 32,
    loaded_us=at_us("2026-02-26T18:00:00+01:00"),
    text=b'schedule: "30 2 * * *"\ntasks:\n  dump: {run: pg_dump app > /var/backups/app.sql}\n',
    view=WORKFLOWS[1],
)
PAST = replace(
    DEFINITION, digest="4e" * 32, loaded_us=at_us("2026-02-20T09:12:00+01:00"), in_force=False,
    view=WorkflowView(workflow="nightly-backup", state="past", file="nightly-backup.yaml", schedules=["0 2 * * *"]),
)  # fmt: skip
CHANGES = ChangePage(
    workflow="nightly-backup",
    changes=[
        ChangeView(at_us=at_us("18:00"), what="template_changed", file="nightly-backup.yaml", digest="9f" * 32,
                   detail="template templates/dump.yaml changed", in_force=True),
        ChangeView(at_us=at_us("2026-02-26T18:00:00+01:00"), what="removed", file="nightly-backup.yaml"),
        ChangeView(at_us=at_us("2026-02-20T09:12:00+01:00"), what="added", file="nightly-backup.yaml",
                   digest="4e" * 32),
    ],
)  # fmt: skip
AGAIN = replace(
    RUNNING, run=59, workflow="nightly-backup", rerun_of=42,
    definition_diff="--- nightly-backup@4e4e4e4e4e4e\n+++ nightly-backup@9f9f9f9f9f9f\n@@ -1 +1 @@\n-schedule: x\n"
    "+schedule: y",
)  # fmt: skip
PLAN = PlanView(
    workflow="nightly-backup",
    params={"day": "mon"},
    tasks=TASKS[:3],
    commands={"dump": "pg_dump app > /var/backups/app.sql", "checksum": "sha256sum app.sql\nsync", "ship": "./ship.sh"},
    warnings=[PROBLEM],
)
AUDIT = [
    AuditView(
        audit=9, at_us=at_us("21:17:00"), user="eve", uid=1005, pid=4021, request="start_run", workflow="deploy",
        asked={"params": ["version"]}, result="forbidden", left_out=31,
    ),
    AuditView(
        audit=8, at_us=at_us("21:16:30"), user="eve", uid=1005, pid=4020, request="set_secret",
        asked={"name": "db-password"}, result="forbidden",
    ),
    AuditView(
        audit=7, at_us=at_us("21:15:00"), user="anna", uid=1001, pid=3977, request="start_run", workflow="deploy",
        run=51, asked={"params": {"version": "1.4.2", "token": "deploy-token"}, "key": "r7"},
    ),
    AuditView(audit=6, at_us=at_us("21:00:00"), user="root", uid=0, pid=3900, request="reload"),
    AuditView(
        audit=5, at_us=at_us("20:58:00"), user="anna", uid=1001, pid=812, request="cancel_run", workflow="deploy",
        run=57, token=12,
    ),
]  # fmt: skip
NOTIFICATIONS = [
    NotificationView(
        notification=14, id="5f0c2a91-14", channel="deploys", state="waiting", subject="deploy failed on web1 (run 51)",
        created_us=at_us("21:15:00"), tries=3, next_us=at_us("21:19:10"),
        error="chat.example.com:443: no answer in time", workflow="deploy", run=51,
    ),
    NotificationView(
        notification=13, id="5f0c2a91-13", channel="oncall", state="sent", subject="message from anna on web1",
        created_us=at_us("21:14:00"), tries=1, ended_us=at_us("21:14:01.25"),
    ),
    NotificationView(
        notification=12, id="5f0c2a91-12", channel="pager", state="given_up",
        subject="nightly-backup failed on web1 (run 42)",
        created_us=at_us("2026-03-01T02:33:13+01:00"), tries=32, ended_us=at_us("03:10:00"),
        error='there is no channel "pager" in the settings', workflow="nightly-backup", run=42,
    ),
    NotificationView(
        notification=11, id="5f0c2a91-11", channel="oncall", state="dropped",
        subject="sync-mail failed on web1 (run 9)",
        created_us=at_us("02:00:00"), ended_us=at_us("02:00:00"), error="10000 messages waited already",
        workflow="sync-mail", run=9,
    ),
]  # fmt: skip
SECRETS = [
    SecretView(name="db-password", provider="file /etc/pyflow/secrets", changed_us=NOW_US - 90_000_000),
    SecretView(
        name="db-password", provider="store", changed_us=NOW_US - 86_400_000_000, changed_by="anna", version=3,
        hidden=True, workflows=["nightly-backup", "deploy"],
    ),
    SecretView(name="registry", provider="systemd"),
]  # fmt: skip
SECRET_NOTES = ["vault https://vault.example.com:8200: it does not tell its names"]
SECRET_SET = SecretAnswer(
    action="set", name="db-password", version=1, notes=["a key was made for the store: /etc/pyflow/secrets.key"]
)
SECRET_REKEYED = SecretAnswer(action="rekeyed", count=3, notes=["the key is in /k; keep a copy"])
BACKFILL = BackfillView(
    backfill=3, workflow="nightly-backup", trigger="schedule", state="running",
    from_us=at_us("2026-02-01T00:00:00+01:00"), until_us=at_us("2026-02-28T23:59:00+01:00"),
    created_us=NOW_US - 60_000_000, total=28, waiting=15, live=[61], succeeded=11, failed=1,
    why_waiting="1 of its runs is live", params={"full": True}, requested_by="anna",
)  # fmt: skip
BACKFILLS = [
    BACKFILL,
    BackfillView(
        backfill=2, workflow="report", trigger="hourly", state="cancelled", from_us=at_us("2026-02-01T00:00:00+01:00"),
        until_us=at_us("2026-02-02T00:00:00+01:00"), created_us=NOW_US - 90_000_000, total=25, waiting=0, succeeded=2,
        cancelled=1, parallel=4, newest_first=True, only_missing=True, requested_by="root", cancelled_by="anna",
        ended_us=NOW_US - 80_000_000,
    ),
]  # fmt: skip
BACKFILL_PLAN = replace(
    BACKFILL, backfill=0, state="planned", total=2, waiting=2, live=[], succeeded=0, failed=0, why_waiting="",
    left_out=26, only_missing=True, slots=[at_us("2026-02-03T02:30:00+01:00"), at_us("2026-02-04T02:30:00+01:00")],
)  # fmt: skip
TOKENS = [
    TokenView(
        token=12, sort=Sort.BEARER, account="anna", level=Level.OPERATE, label="deploys from CI",
        created_us=NOW_US - 90_000_000, expires_us=NOW_US + 86_400_000_000, used_us=NOW_US - 60_000_000,
    ),
    TokenView(
        token=11, sort=Sort.SESSION, account="bob", level=None, label="", created_us=NOW_US - 600_000_000,
        expires_us=NOW_US + 3_600_000_000,
    ),
    TokenView(
        token=3, sort=Sort.BEARER, account="root", level=Level.READ, label="prometheus", created_us=NOW_US - 10**13,
        expires_us=None, used_us=NOW_US - 5_000_000,
    ),
]  # fmt: skip
REPLIES: dict[str, tuple[str, list[Reply]]] = {
    "backfills": ("backfills", [BackfillPage(backfills=BACKFILLS)]),
    "run-for": ("run nightly-backup --for 2026-02-01..2026-02-28 -p full=true", [BACKFILL]),
    "run-for-dry": ("run nightly-backup --for 2026-02-01..2026-02-28 --only-missing --dry-run", [BACKFILL_PLAN]),
    "cancel-backfill": ("cancel --backfill 2", [BACKFILLS[1]]),
    "status-host-backfill": ("status", [replace(IDLE, backfills=[BACKFILL])]),
    "status-host": ("status", [HOST]),
    "status-idle": ("status", [IDLE]),
    "status-run": ("status 42", [FAILED, TaskPage(tasks=TASKS[:3]), TaskPage(tasks=TASKS[3:])]),
    "status-running": ("status deploy", [RUNNING, TaskPage(tasks=DIAMOND)]),
    "list": ("list", [WorkflowPage(workflows=WORKFLOWS)]),
    "run": ("run deploy", [QUEUED]),
    "run-wait": ("run nightly-backup --wait", [RUNNING, FAILED, TaskPage(tasks=TASKS)]),
    "run-dry": ("run nightly-backup --dry-run", [PLAN]),
    "history": ("history", [RunPage(runs=[QUEUED, RUNNING]), RunPage(runs=[SUCCEEDED, FAILED, CANCELLED])]),
    "history-empty": ("history", [RunPage(runs=[])]),
    "cancel": ("cancel 31", [CANCELLED]),
    "pause": ("pause rebuild-index", [WorkflowPage(workflows=WORKFLOWS[2:3])]),
    "resume": ("resume sync-mail", [WorkflowPage(workflows=WORKFLOWS[3:])]),
    "show": ("show nightly-backup", [DEFINITION]),
    "show-past": ("show nightly-backup@4e4e4e", [PAST]),
    "history-definition": ("history nightly-backup --definition", [CHANGES]),
    "rerun-latest": ("rerun 42 --latest", [AGAIN]),
    "graph": ("graph 57", [GraphView(title="run 57 of deploy", tasks=DIAMOND)]),
    "next": ("next", [NextPage(slots=NEXT)]),
    "slots": ("slots", [SlotPage(slots=SLOTS)]),
    "slots-events": ("slots --events", [FiringPage(firings=FIRINGS)]),
    "hook": ("hook send deploy --unsigned", [HOOK]),
    "events": ("events", [EventPage(events=EVENTS)]),
    "audit": ("audit", [AuditPage(records=AUDIT)]),
    "notify": ("notify oncall hello", [NotificationPage(notifications=NOTIFICATIONS[1:2])]),
    "notifications": ("notifications", [NotificationPage(notifications=NOTIFICATIONS)]),
    "token-list": ("token list", [TokenPage(tokens=TOKENS)]),
    "token-create": ("token create", [TokenCreated(token=TOKENS[0], text="pfb_the-text-of-it")]),
    "token-revoke": ("token revoke 12", [TOKENS[0]]),
    "secret-list": ("secret list", [SecretPage(secrets=SECRETS), SecretPage(secrets=[], notes=SECRET_NOTES)]),
    "secret-set": ("secret rm db-password", [SECRET_SET]),
    "secret-rekey": ("secret rekey", [SECRET_REKEYED]),
    "reload": ("reload", [WorkflowPage(workflows=WORKFLOWS[3:])]),
    "doctor": ("doctor", [HealthView(checks=CHECKS)]),
    "version": ("version", [VersionView(version="0.1.0", pid=812)]),
}
"""Name to a command line and the replies to it."""
