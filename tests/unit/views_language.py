"""Replies for tests of the renderers: runs with items, handlers, approvals, artifacts, called runs."""

from __future__ import annotations

from msgspec.structs import replace

from pyflowd.language.definition_text import Part, Role, pack
from pyflowd.model.ends import KeptFile
from pyflowd.protocol.views import Reply
from pyflowd.protocol.views_host import HostView
from pyflowd.protocol.views_runs import (
    AnswerView,
    ApprovalPage,
    ApprovalView,
    ArtifactPage,
    ArtifactView,
    CachePage,
    CacheView,
    ClearedView,
    RunPage,
    RunView,
    TaskPage,
    TaskView,
)
from pyflowd.protocol.views_workflows import (
    DefinitionView,
    GraphView,
    OriginView,
    ParamView,
    PlanView,
    WorkflowPage,
    WorkflowView,
)

DIGEST = "0f" * 32
_T = 1_772_482_000_000_000
"""Some instant of the evening of tests.unit.views."""

SYNC = RunView(
    run=61, workflow="orders-sync", state="failed", reason="task_failed", error="load: run 62 of load failed",
    trigger="hourly", created_us=_T, started_us=_T + 1_000, ended_us=_T + 95_000_000, scheduled_us=_T, tasks_total=4,
    counts={"succeeded": 2, "failed": 1, "skipped": 1}, section="finally", outcome="failed",
)  # fmt: skip
FETCH = TaskView(
    task="fetch", state="succeeded", kind="http", fan_out="for_each: ${{ tasks.accounts.outputs.items }}",
    items={"succeeded": 397, "failed": 3}, needs=["accounts"], started_us=_T + 2_000_000, ended_us=_T + 60_000_000,
)  # fmt: skip
ITEM = TaskView(
    task="fetch[acme]", state="failed", reason="call_failed", error="crm.example.com: status 404", kind="http",
    of="fetch", item="acme", position=17, attempts=1, started_us=_T + 3_000_000, ended_us=_T + 3_200_000,
)  # fmt: skip
LOAD = TaskView(
    task="load", state="failed", reason="run_failed", error="run 62 of load failed", kind="workflow", called_runs=[62],
    needs=["fetch"], attempts=1, started_us=_T + 61_000_000, ended_us=_T + 94_000_000,
)  # fmt: skip
SKIPPED = TaskView(
    task="restore-test", state="skipped", reason="condition_false", kind="run", values={"params.full": False},
    needs=["fetch"],
)  # fmt: skip
ACCOUNTS = TaskView(
    task="accounts", state="succeeded", kind="http", outputs={"items": ["acme", "zeta"]}, attempts=2, attempts_max=5,
    started_us=_T + 1_000_000, ended_us=_T + 2_000_000,
    artifacts={"list": KeptFile(size_bytes=3_200_000, sha256=DIGEST)},
)  # fmt: skip
HANDLERS = [
    TaskView(
        task="tell", state="succeeded", kind="notify", section="on_failure", attempts=1, started_us=_T + 94_100_000,
        ended_us=_T + 94_200_000,
    ),
    TaskView(
        task="accounts.undo", state="succeeded", kind="run", section="undo", of="accounts", attempts=1, exit_code=0,
        started_us=_T + 94_300_000, ended_us=_T + 94_400_000,
    ),
    TaskView(task="ping", state="failed", reason="call_failed", error="no route", kind="http", section="finally",
             allowed=True, attempts=1, started_us=_T + 94_500_000, ended_us=_T + 95_000_000),
]  # fmt: skip
WHOLE = [ACCOUNTS, FETCH, ITEM, LOAD, SKIPPED, *HANDLERS]

DEPLOY = RunView(
    run=42, workflow="deploy", state="running", trigger="manual", requested_by="anna", created_us=_T,
    started_us=_T + 500, tasks_total=2, counts={"succeeded": 1, "running": 1}, running=["approve"],
    outputs={"version": "1.4.2", "hosts": ["web1", "web2"]},
)  # fmt: skip
APPROVE = TaskView(
    task="approve", state="running", kind="approval", values={"message": "Canary runs v1.4.2. Roll out?"}, attempts=1,
    started_us=_T + 9_000_000, choices=["all", "half"], needs=["canary"],
)  # fmt: skip
APPROVAL = ApprovalView(
    run=42, workflow="deploy", task="approve", message="Canary runs v1.4.2. Roll out?", since_us=_T + 9_000_000,
    requested_by="anna", choices=["all", "half"], allow=["group:sre"], forbid_requester=True,
    due_us=_T + 14_409_000_000, on_timeout="reject",
)  # fmt: skip
CALLED = RunView(
    run=62, workflow="load", state="failed", reason="task_failed", error="copy: exit code 1", trigger="workflow",
    parent=61, parent_task="load", created_us=_T + 61_000_000, started_us=_T + 61_000_000, ended_us=_T + 94_000_000,
    tasks_total=1, counts={"failed": 1},
)  # fmt: skip
HANDLING = replace(
    SYNC, state="running", reason=None, error="", ended_us=None, section="on_failure", running=["tell"]
)  # fmt: skip
SHOWN = DefinitionView(
    workflow="orders-sync", file="orders-sync.yaml", digest=DIGEST, loaded_us=_T, text=b"tasks: {}\n",
    view=WorkflowView(workflow="orders-sync", state="active", file="orders-sync.yaml"),
    params=["day", "full"],
    declared=[
        ParamView(name="day", type="date", required=True, description="the day to load"),
        ParamView(name="full", type="boolean", default=False),
    ],
    outputs=["rows"], handlers={"on_failure": ["tell"], "finally": ["ping"]},
)  # fmt: skip
PARTS = pack(
    [
        Part(label="templates/sync.yaml", data=b"tasks: {}\n", role=Role.TEMPLATE),
        Part(label="orders-sync.yaml", data=b"template: sync\n"),
    ]
)
ORIGIN = [
    OriginView(path=["description"], value="yes: no", file="orders-sync.yaml", line=2, column=14),
    OriginView(path=["env", "SIZE"], value="3", file="orders-sync.yaml", line=3, column=12),
    OriginView(path=["tasks", "load", "run"], value="one\ntwo\n", file="templates/sync.yaml", line=7, column=10),
    OriginView(path=["tasks", "load", "needs"], value=["fetch"], file="templates/sync.yaml", line=6, column=12),
    OriginView(path=["tasks", "tell", "timeout"], value="5m", file="orders-sync.yaml.d/1.yaml", line=1, column=30),
]
PLANNED = PlanView(
    workflow="orders-sync", params={"day": "2026-03-01"},
    tasks=[
        TaskView(task="accounts", state="", kind="http"),
        replace(FETCH, state="", items={}, started_us=None, ended_us=None),
        TaskView(
            task="poll", state="", kind="run", repeat="until outputs.done, at most 20 times", condition="params.full"
        ),
        TaskView(task="extract", state="", kind="run", cache="${{ params.day }}, at most 7 d old"),
    ],
    commands={"accounts": "GET https://crm.example.com/v2/accounts", "fetch": "GET ${{ item.url }}", "poll": "./poll",
    "extract": "./extract",
              "tell": "to oncall: it failed"},
    handlers=[TaskView(task="tell", state="", kind="notify", section="on_failure")],
    outputs={"rows": "${{ tasks.load.outputs.rows }}"},
)  # fmt: skip
HOST = HostView(
    version="0.1.0", pid=812, started_us=_T, now_us=_T + 10_000_000, root="system", workflows=2, running=[DEPLOY],
    queued=[], failed=[], succeeded_24h=3, failed_24h=0, next=[], problems=[], approvals=[APPROVAL],
)  # fmt: skip

KEPT = [
    CacheView(
        workflow="report", task="extract", key="2026-03-01", run=88, made_us=_T, expires_us=_T + 7 * 86_400_000_000
    ),
    CacheView(
        workflow="report", task="render[a/b]", of="render", item="a/b", key="v1\x1b[2J", run=9,
        made_us=_T - 90_000_000_000, expires_us=_T - 10_000_000,
    ),
]  # fmt: skip
CACHED_RUN = RunView(
    run=91, workflow="report", state="succeeded", trigger="manual", requested_by="anna", created_us=_T,
    started_us=_T + 500, ended_us=_T + 9_000_000, tasks_total=2, counts={"succeeded": 2},
)  # fmt: skip
CACHED = [
    TaskView(
        task="extract", state="succeeded", reason="cached", kind="run", outputs={"rows": 12},
        values={"cache": {"run": 88, "age_s": 10_800, "key": "2026-03-01"}},
    ),
    TaskView(task="render", state="succeeded", kind="run", needs=["extract"], attempts=1, exit_code=0,
             started_us=_T + 1_000, ended_us=_T + 9_000_000),
]  # fmt: skip

REPLIES: dict[str, tuple[str, list[Reply]]] = {
    "status-items": ("status 61", [SYNC, TaskPage(tasks=WHOLE[:3]), TaskPage(tasks=WHOLE[3:])]),
    "status-handling": ("status 61", [HANDLING, TaskPage(tasks=[*WHOLE[:5], replace(HANDLERS[0], state="running")])]),
    "status-approval": ("status 42", [DEPLOY, TaskPage(tasks=[APPROVE])]),
    "status-called": ("status 62", [CALLED, TaskPage(tasks=[TaskView(task="copy", state="failed", kind="run")])]),
    "status-host-approval": ("status", [HOST]),
    "run-wait-items": ("run orders-sync --wait", [HANDLING, SYNC, TaskPage(tasks=WHOLE)]),
    "run-dry-language": ("run orders-sync --dry-run", [PLANNED]),
    "history-called": ("history", [RunPage(runs=[CALLED, HANDLING])]),
    "show-declared": ("show orders-sync", [SHOWN]),
    "show-parts": ("show orders-sync", [replace(SHOWN, text=PARTS)]),
    "show-origin": ("show orders-sync --origin", [replace(SHOWN, text=PARTS, origin=ORIGIN)]),
    "graph-items": (
        "graph 61", [GraphView(title="orders-sync, run 61", tasks=[ACCOUNTS, FETCH, LOAD, SKIPPED], handlers=HANDLERS)]
    ),
    "list-approval": (
        "list", [WorkflowPage(workflows=[WorkflowView(workflow="deploy", state="active", approvals=[APPROVAL])])]
    ),
    "cache": ("cache", [CachePage(entries=KEPT)]),
    "cache-clear": ("cache clear report extract", [ClearedView(workflow="report", task="extract", entries=2)]),
    "status-cached": ("status 91", [CACHED_RUN, TaskPage(tasks=CACHED)]),
    "approvals": ("approvals", [ApprovalPage(approvals=[APPROVAL])]),
    "approve": (
        "approve 42 approve",
        [AnswerView(run=42, workflow="deploy", task="approve", approved=True, by="berta", choice="half")],
    ),
    "reject": (
        "reject deploy approve --comment no",
        [AnswerView(run=42, workflow="deploy", task="approve", approved=False, by="berta", comment="no")],
    ),
    "artifacts": (
        "artifacts 61",
        [
            ArtifactPage(
                artifacts=[
                    ArtifactView(
                        run=61, task="accounts", name="list", attempt=2, size_bytes=3_200_000, sha256=DIGEST
                    )
                ]
            )
        ],
    ),
}  # fmt: skip
"""As those of tests.unit.views."""
