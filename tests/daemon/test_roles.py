"""Rights and the record of who did what, with real accounts: peers that the kernel names (promises X1, X4, X9).

`zebra` is for two groups only. It leaves traces wherever a workflow can; what others are answered is searched for them.
"""

from __future__ import annotations

import grp
import itertools
import json
import os
import pwd
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from pyflowd.protocol import requests
from pyflowd.protocol.requests import OPERATIONS, Request
from tests.daemon.instance import REPOSITORY, Instance
from tests.waiting import wait_until

READ, OPERATE, ADMIN, SEE, RUN, MULE = "games", "mail", "man", "news", "backup", "tape"
"""Groups that every Debian has; members of `SEE` and `RUN` see and operate `zebra`, those of `MULE` `mule`."""
ASK = """
import json, os, sys
import msgspec
sys.path.insert(0, sys.argv[2])
from pyflowctl import client
from pyflowd.errors import PyflowError
from pyflowd.protocol.requests import Request
answers = []
for request in msgspec.json.decode(sys.stdin.buffer.read(), type=list[Request]):
    try:
        with client.connect(root=sys.argv[1], token=os.environ.get("TOKEN")) as asked:
            replies = [repr(reply) for reply in asked.ask(request)]
        answers.append(["ok", "\\n".join(replies)])
    except PyflowError as error:
        answers.append([error.code, str(error)])
print(json.dumps(answers))
"""
HORSE = """
schedule: "0 4 1 1 *"
params: {token: {type: secret, required: false}, day: {type: string, required: false}}
concurrency: {group: shared}
tasks:
  a: {run: echo neigh, locks: common}
"""
ZEBRA = f"""
visible_to: {SEE}
operate_by: [{RUN}]
description: zebra-words
schedule: "0 3 1 1 *"
triggers: {{zebra-file: {{file: /nowhere/zebra/*}}, zebra-hook: {{webhook: zebra-hook}}}}
expect: {{max_duration: 1ms}}
notify: [{{channel: ops, on: [failed, succeeded, cancelled]}}]
pools: {{zebra-pool: 3}}
locks: [common, zebra-lock]
tasks:
  hold: {{approval: {{message: zebra-question}}}}
"""
ZEBRA_FAILS = f"""
visible_to: [{SEE}]
operate_by: [{RUN}]
schedule: "0 2 1 1 *"
tasks:
  a: {{run: 'echo zebra-says; echo x > zebra-kept; exit 3', cwd: "${{{{ run.scratch }}}}",
       artifacts: {{zebra-file: zebra-kept}}}}
"""
ZEBRA_KEEPS = f"""
visible_to: [{SEE}]
operate_by: [{RUN}]
tasks: {{a: {{run: echo zebra, cache: {{key: zebra-key, ttl: 1d}}}}}}
"""
HOLD = """
import sys
sys.path.insert(0, sys.argv[2])
from pyflowctl import client
from pyflowd.errors import PyflowError
from pyflowd.protocol.requests import Reload
with client.connect(root=sys.argv[1]) as held:
    for _ in range(2):
        try:
            list(held.ask(Reload()))
            print("reloaded", flush=True)
        except PyflowError as error:
            print(error.code, flush=True)
        sys.stdin.readline()
"""
FOLLOW = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pyflowctl import client
from pyflowd.errors import PyflowError
from pyflowd.protocol.requests import ListEvents
with client.connect(root=sys.argv[1], token=os.environ["TOKEN"]) as asked:
    replies = asked.ask(ListEvents(follow=True, limit=1))
    next(replies)
    print("following", flush=True)
    try:
        for _ in replies:
            pass
    except PyflowError as error:
        print(error.code, flush=True)
"""
SESSION = """
import sys
sys.path.insert(0, sys.argv[2])
from pyflowctl import client
from pyflowd.protocol.tokens import CreateToken, OpenSession, Sort
with client.connect(root=sys.argv[1]) as own, client.connect(root=sys.argv[1], token="") as front:
    login = next(own.ask(CreateToken(sort=Sort.LOGIN))).text
    print(next(front.ask(OpenSession(login=login))).text, end="")
"""
_UIDS = itertools.count(61_100)
needs_accounts = pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as somebody else")


class Account(NamedTuple):
    """Somebody, as `setpriv` makes him."""

    instance: Instance
    groups: tuple[str, ...]
    uid: int

    def _who(self) -> list[str]:
        ids = [str(grp.getgrnam(name).gr_gid) for name in self.groups]
        return [
            "setpriv",
            f"--reuid={self.uid}",
            "--regid=65534",
            f"--groups={','.join(ids)}" if ids else "--clear-groups",
        ]

    def argv(self, *arguments: object) -> list[str]:
        """The whole command line of a `pyflowctl`."""
        code = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); from pyflowctl.thin import main; "
        code += "sys.exit(main(sys.argv[1:]))"
        return [*self._who(), sys.executable, "-c", code, *map(str, arguments)]

    def python(self, code: str) -> list[str]:
        """The command line of a program that is told where the instance is, and we are."""
        return [*self._who(), sys.executable, "-c", code, str(self.instance.root), str(REPOSITORY)]

    def ctl(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*arguments), capture_output=True, text=True, timeout=60, check=False, cwd="/",
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "NO_COLOR": "1", "TZ": "UTC", "PYFLOW_ROOT": str(self.instance.root)},
        )  # fmt: skip

    def ask(self, asked: list[Request], token: str | None = None) -> list[tuple[str, str]]:
        """Code and text of each answer; with a token in the place of the account's own rights."""
        done = subprocess.run(
            self.python(ASK),
            input=msgspec.json.encode(asked), capture_output=True, timeout=120, check=False, cwd="/",
            env={"PATH": os.environ["PATH"], **({} if token is None else {"TOKEN": token})},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [(code, text) for code, text in json.loads(done.stdout)]


class Host(NamedTuple):
    instance: Instance
    stranger: Account
    reader: Account
    operator: Account
    viewer: Account
    keeper: Account
    """Operates `zebra`, and nothing else."""
    driver: Account
    """Reads, and operates `mule`."""
    admin: Account
    live: int
    """The run of zebra that waits for an answer."""
    failed: int
    waiting: int
    """The run of horse that waits for a lock that zebra holds."""

    def fresh(self, *groups: str) -> Account:
        """Somebody whom nobody has refused anything yet."""
        return Account(self.instance, groups, next(_UIDS))


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        instance = Instance(Path(folder) / "root")
        instance.root.chmod(0o755)
        (instance.root / "run").mkdir(mode=0o755)
        accounts = {
            name: Account(instance, groups, uid)
            for uid, (name, groups) in enumerate(
                {
                    "stranger": (), "reader": (READ,), "operator": (READ, OPERATE), "viewer": (SEE,), "keeper": (RUN,),
                    "driver": (READ, MULE), "admin": (ADMIN,),
                }.items(),
                61_001,
            )
        }  # fmt: skip
        if accounts["reader"].ctl("help").returncode:
            pytest.skip("the interpreter cannot be run by another account")
        instance.settings(
            group_read=[READ], group_operate=[OPERATE], group_admin=ADMIN, pools={"plain": 2},
            channels={"ops": {"webhook": {"url": "http://127.0.0.1:9/"}}},
        )  # fmt: skip
        instance.start()
        try:
            yield _furnished(instance, accounts)
        finally:
            instance.end()


def _furnished(instance: Instance, accounts: dict[str, Account]) -> Host:
    """Traces of zebra wherever there can be any."""
    for name, text in {
        "horse": HORSE, "zebra": ZEBRA, "zebra-fails": ZEBRA_FAILS, "zebra-keeps": ZEBRA_KEEPS,
        "zebra-gone": ZEBRA_KEEPS,
        "mule": f"operate_by: {MULE}\ntasks: {{a: {{run: 'true'}}}}",
        "caller": f"visible_to: {SEE}\noperate_by: {RUN}\ntasks: {{zebra-calls: {{workflow: horse, wait: false}}}}",
    }.items():  # fmt: skip
        instance.install(f"{name}.yaml", text)
    live = instance.run("zebra")
    instance.wait_task(live, "hold", "running")
    failed = instance.run("zebra-fails")
    for run in (failed, instance.run("zebra-keeps"), instance.run("zebra-gone")):
        instance.wait_run(run)
    waiting = instance.run("horse")
    instance.wait_task(waiting, "a", "queued")
    called = instance.run("caller")
    instance.wait_run(called)
    for name in ("zebra-fails", "horse"):
        done = instance.ctl("run", name, "--for", "2020-01-01..2020-12-31", "--parallel", "1")
        assert done.returncode == 0, done.stderr
    (instance.root / "workflows" / "zebra-gone.yaml").unlink()
    assert instance.ctl("reload").returncode == 0
    instance.write("zebra-keeps.yaml", ZEBRA_KEEPS + "zebra-mistake: 1\n")
    wait_until(lambda: "zebra-mistake" in instance.ctl("list").stdout, "the mistake is seen")
    assert instance.ctl("pause", "zebra-fails").returncode == 0
    wait_until(lambda: "takes longer than" in " ".join(instance.ctl("status").stdout.split()), "it is late")
    return Host(instance=instance, live=live, failed=failed, waiting=waiting, **accounts)


def lookings() -> dict[str, list[Request]]:
    """Every request that only looks and names no workflow, in the ways in which it can be made."""
    return {
        "GetHost": [requests.GetHost()],
        "ListWorkflows": [requests.ListWorkflows()],
        "ListRuns": [
            requests.ListRuns(limit=50), requests.ListRuns(state="failed"), requests.ListRuns(state="succeeded"),
            requests.ListRuns(since_us=1),
        ],
        "GetGraph": [], "GetRun": [], "ShowWorkflow": [], "ListChanges": [], "WatchRun": [], "GetLogs": [],
        "ListArtifacts": [], "GetArtifact": [], "Explain": [],
        "ListBackfills": [requests.ListBackfills()],
        "ListApprovals": [requests.ListApprovals()],
        "ListNext": [requests.ListNext(limit=50)],
        "ListSlots": [
            requests.ListSlots(), requests.ListSlots(limit=1), requests.ListSlots(fate="skipped"),
            requests.ListSlots(fate="fired", limit=3), requests.ListSlots(until_us=1 << 60),
        ],
        "ListOutcomes": [requests.ListOutcomes(), requests.ListOutcomes(workflows=["horse", "zebra", "zebra-fails"])],
        "GetMetrics": [requests.GetMetrics()],
        "GetTimeline": [
            requests.GetTimeline(workflows=["horse", "zebra", "zebra-fails"], since_us=0, until_us=1 << 60),
        ],
        "GetGrid": [], "ListAttempts": [], "GetSamples": [],
        "ListEvents": [
            requests.ListEvents(limit=1000), requests.ListEvents(limit=3), requests.ListEvents(after=0),
        ],
        "ListNotifications": [requests.ListNotifications()],
        "ListCache": [requests.ListCache()],
        "ListPlaces": [requests.ListPlaces()],
        "GetSimulationBasis": [requests.GetSimulationBasis()],
        "GetHealth": [requests.GetHealth()],
        "ListTokens": [requests.ListTokens()], "CreateToken": [],
        "ListFirings": [requests.ListFirings(), requests.ListFirings(limit=1)],
    }  # fmt: skip


def of_zebra(host: Host) -> list[tuple[Request, Request]]:
    """Requests about zebra, each with the same about something that there is not."""
    run, failed = host.live, host.failed
    pairs: list[tuple[Request, Request]] = []
    for name, nothing in (("zebra", "nebra"), ("zebra-gone", "nebra-gone"), ("zebra-fails", "nebra-fails")):
        pairs += [
            (requests.GetRun(of=name), requests.GetRun(of=nothing)),
            (requests.GetGraph(of=name), requests.GetGraph(of=nothing)),
            (requests.ShowWorkflow(workflow=name), requests.ShowWorkflow(workflow=nothing)),
            (requests.ShowWorkflow(workflow=name, version="~1"), requests.ShowWorkflow(workflow=nothing, version="~1")),
            (requests.ListChanges(workflow=name), requests.ListChanges(workflow=nothing)),
            (requests.ListRuns(workflow=name), requests.ListRuns(workflow=nothing)),
            (requests.GetLogs(of=name), requests.GetLogs(of=nothing)),
            (requests.ListArtifacts(of=name), requests.ListArtifacts(of=nothing)),
            (requests.WatchRun(workflow=name), requests.WatchRun(workflow=nothing)),
            (requests.ListNext(workflow=name), requests.ListNext(workflow=nothing)),
            (requests.ListSlots(workflow=name), requests.ListSlots(workflow=nothing)),
            (requests.ListFirings(workflow=name), requests.ListFirings(workflow=nothing)),
            (requests.ListCache(workflow=name), requests.ListCache(workflow=nothing)),
            (requests.ListOutcomes(workflow=name), requests.ListOutcomes(workflow=nothing)),
            (requests.GetGrid(workflow=name), requests.GetGrid(workflow=nothing)),
            (requests.ListAttempts(of=name), requests.ListAttempts(of=nothing)),
            (requests.GetSamples(of=name, task="a"), requests.GetSamples(of=nothing, task="a")),
            (requests.Explain(of=name), requests.Explain(of=nothing)),
            (requests.Explain(of=name, at_us=1), requests.Explain(of=nothing, at_us=1)),
            (requests.StartRun(workflow=name), requests.StartRun(workflow=nothing)),
            (requests.StartRun(workflow=name, dry_run=True), requests.StartRun(workflow=nothing, dry_run=True)),
            (requests.PauseWorkflow(workflow=name), requests.PauseWorkflow(workflow=nothing)),
            (requests.CancelRun(workflow=name), requests.CancelRun(workflow=nothing)),
            (requests.RerunRun(workflow=name), requests.RerunRun(workflow=nothing)),
            (requests.ClearCache(workflow=name), requests.ClearCache(workflow=nothing)),
            (
                requests.StartBackfill(workflow=name, from_us=0, until_us=10**15),
                requests.StartBackfill(workflow=nothing, from_us=0, until_us=10**15),
            ),
            (
                requests.AnswerApproval(workflow=name, task="hold", approve=True),
                requests.AnswerApproval(workflow=nothing, task="hold", approve=True),
            ),
        ]
    for number in (run, failed):
        nothing = str(number + 9000)
        pairs += [
            (requests.GetRun(of=str(number)), requests.GetRun(of=nothing)),
            (requests.GetGraph(of=str(number)), requests.GetGraph(of=nothing)),
            (requests.GetLogs(of=str(number)), requests.GetLogs(of=nothing)),
            (requests.ListArtifacts(of=str(number)), requests.ListArtifacts(of=nothing)),
            (
                requests.GetArtifact(of=str(number), task="a", name="zebra-file"),
                requests.GetArtifact(of=nothing, task="a", name="zebra-file"),
            ),
            (requests.WatchRun(run=number), requests.WatchRun(run=int(nothing))),
            (requests.ListEvents(run=number), requests.ListEvents(run=int(nothing))),
            (requests.ListAttempts(of=str(number)), requests.ListAttempts(of=nothing)),
            (requests.GetSamples(of=str(number), task="a"), requests.GetSamples(of=nothing, task="a")),
            (requests.MarkSeen(run=number), requests.MarkSeen(run=int(nothing))),
            (requests.Explain(of=str(number)), requests.Explain(of=nothing)),
            (requests.Explain(of=str(number), task="a"), requests.Explain(of=nothing, task="a")),
            (requests.CancelRun(run=number), requests.CancelRun(run=int(nothing))),
            (requests.RerunRun(run=number), requests.RerunRun(run=int(nothing))),
            (
                requests.AnswerApproval(run=number, task="hold", approve=True),
                requests.AnswerApproval(run=int(nothing), task="hold", approve=True),
            ),
        ]
    pairs += [
        (requests.CancelBackfill(backfill=1), requests.CancelBackfill(backfill=9001)),
        (requests.DeliverHook(hook="zebra-hook", body=b"{}"), requests.DeliverHook(hook="nebra-hook", body=b"{}")),
    ]
    return pairs


def test_every_request_that_looks_is_asked_here() -> None:
    assert set(lookings()) == {kind.__name__ for kind, known in OPERATIONS.items() if known.level == 1}


@needs_accounts
@pytest.mark.parametrize("who", ["reader", "operator"])
def test_nothing_that_somebody_is_answered_tells_of_a_workflow_that_is_not_for_him(host: Host, who: str) -> None:
    asked = [request for ways in lookings().values() for request in ways]
    about_horse = [
        requests.GetRun(of="horse"), requests.Explain(of=str(host.waiting)), requests.Explain(of="horse"),
        requests.Explain(of="horse", all=True), requests.ListEvents(run=host.waiting), requests.GetGraph(of="horse"),
        requests.ListRuns(workflow="horse"),
    ]  # fmt: skip
    for request, (code, text) in zip(asked + about_horse, getattr(host, who).ask(asked + about_horse), strict=True):
        assert code == "ok", (request, text)
        assert "zebra" not in text.lower(), (request, text)
        assert "caller" not in text, (request, text)


@needs_accounts
@pytest.mark.parametrize("who", ["reader", "operator", "driver", "viewer", "keeper"])
def test_what_one_may_not_see_is_answered_as_what_there_is_not(host: Host, who: str) -> None:
    """Word for word, but for the name or number itself."""
    if who in ("viewer", "keeper"):
        pairs: list[tuple[Request, Request]] = [
            (requests.GetRun(of="horse"), requests.GetRun(of="norse")),
            (requests.GetRun(of=str(host.waiting)), requests.GetRun(of=str(host.waiting + 9000))),
            (requests.ListRuns(workflow="horse"), requests.ListRuns(workflow="norse")),
            (requests.StartRun(workflow="horse"), requests.StartRun(workflow="norse")),
            (requests.CancelRun(workflow="horse"), requests.CancelRun(workflow="norse")),
            (requests.CancelBackfill(backfill=2), requests.CancelBackfill(backfill=9002)),
        ]
    elif who == "driver":  # sees what a reader sees, and may change something
        pairs = [
            (requests.StartRun(workflow="zebra"), requests.StartRun(workflow="nebra")),
            (requests.CancelRun(workflow="zebra-gone"), requests.CancelRun(workflow="nebra-gone")),
            (requests.CancelRun(run=host.live), requests.CancelRun(run=host.live + 9000)),
        ]
    else:
        pairs = of_zebra(host)
    answers = getattr(host, who).ask([request for pair in pairs for request in pair])
    for (request, other), (code, text), (other_code, other_text) in zip(
        pairs, answers[::2], answers[1::2], strict=True
    ):
        assert code in ("not_found", "forbidden"), (request, text)
        assert code == other_code, (request, text, other_text)
        assert _plain(text, request) == _plain(other_text, other), request


def _plain(text: str, request: Request) -> str:
    """Without the name or number that was asked about."""
    fields = msgspec.structs.asdict(request)
    for name in ("of", "workflow", "run", "backfill", "hook"):
        if fields.get(name):
            text = re.sub(rf"\b{re.escape(str(fields[name]))}\b", "IT", text)
    return text


@needs_accounts
def test_a_stranger_is_answered_nothing(host: Host) -> None:
    assert_nothing(host, host.stranger)


def assert_nothing(host: Host, account: Account, token: str | None = None) -> None:
    """But that there is no such hook: whoever has its secret may deliver to it."""
    asked = [request for ways in lookings().values() for request in ways]
    asked += [request for pair in of_zebra(host) for request in pair]
    for request, (code, text) in zip(asked, account.ask(asked, token), strict=True):
        assert code == ("not_found" if isinstance(request, requests.DeliverHook) else "forbidden"), (request, text)


@needs_accounts
def test_a_member_of_its_groups_sees_the_workflow_and_nothing_else(host: Host) -> None:
    for account in (host.viewer, host.keeper):
        listed = json.loads(account.ctl("-o", "json", "list").stdout)
        assert {view["workflow"] for view in listed} == {"zebra", "zebra-fails", "zebra-keeps", "caller"}
        runs = json.loads(account.ctl("-o", "json", "history", "-n", "100").stdout)
        assert {run["workflow"] for run in runs} >= {"zebra", "zebra-fails", "zebra-gone"}
        assert "horse" not in {run["workflow"] for run in runs}
        everything = [request for name, ways in lookings().items() for request in ways if name != "GetHealth"]
        for request, (code, text) in zip(everything, account.ask(everything), strict=True):
            assert code == "ok", (request, text)
            if not isinstance(request, requests.GetSimulationBasis):  # the text of `caller` names it
                assert "horse" not in text, (request, text)
        assert account.ctl("doctor").returncode != 0


@needs_accounts
def test_pages_hold_as_many_as_were_asked_for_of_what_is_seen(host: Host) -> None:
    for account, own in ((host.reader, "horse"), (host.viewer, "zebra-fails")):
        found = json.loads(account.ctl("-o", "json", "history", "-n", "2").stdout)
        assert len(found) == 2
        numbers = [run["run"] for run in found]
        whole = json.loads(host.admin.ctl("-o", "json", "history", "-n", "1000").stdout)
        mine = {run["workflow"] for run in json.loads(account.ctl("-o", "json", "history", "-n", "1000").stdout)}
        assert own in mine
        assert numbers == [run["run"] for run in whole if run["workflow"] in mine][:2]
        events = account.ctl("-o", "json", "events", "-n", "4").stdout.splitlines()
        assert len(events) == 4
        view = json.loads(account.ctl("-o", "json", "status").stdout)
        shown = json.loads(account.ctl("-o", "json", "history", "--state", "failed", "-n", "100").stdout)
        assert view["failed_24h"] == len(shown)


@needs_accounts
def test_a_place_that_is_held_by_what_one_may_not_see_is_held_by_another_workflow(host: Host) -> None:
    found = json.loads(host.reader.ctl("-o", "json", "places").stdout)
    common = next(place for place in found if place["name"] == "common")
    assert common["holders"] == [{"run": None, "workflow": "another workflow", "task": None, "units": 1}]
    assert [holder["workflow"] for holder in common["waiting"]] == ["horse"]
    assert {place["name"] for place in found} >= {"common", "plain"}
    assert "zebra-lock" not in {place["name"] for place in found}
    why = host.reader.ctl("status", host.waiting).stdout
    assert "held by a run of another workflow" in " ".join(why.split())
    why = " ".join(host.reader.ctl("explain", host.waiting).stdout.split())
    assert "held by a run of another workflow" in why
    assert "a run of another workflow is running" in why


@needs_accounts
def test_who_may_operate_one_workflow_operates_that_one(host: Host) -> None:
    assert host.keeper.ctl("pause", "zebra").returncode == 0
    assert host.keeper.ctl("resume", "zebra").returncode == 0
    assert host.viewer.ctl("pause", "zebra").returncode == 5
    assert host.keeper.ctl("pause", "horse").returncode == 3
    assert host.operator.ctl("pause", "horse").returncode == 0
    assert host.operator.ctl("resume", "horse").returncode == 0
    assert host.reader.ctl("pause", "horse").returncode == 5
    for account in (host.reader, host.operator, host.viewer, host.keeper):
        assert account.ctl("audit").returncode == account.ctl("reload").returncode == 5
    for account in (host.stranger, host.reader, host.viewer, host.keeper, host.operator):
        assert account.ctl("-o", "json", "audit").stdout == ""
    assert host.admin.ctl("reload").returncode in (0, 6)
    words = host.reader.ctl("__complete", "--", "show", "").stdout
    assert "horse" in words
    assert "zebra" not in words


@needs_accounts
def test_rights_are_those_of_the_newest_definition_also_in_an_answer_that_is_under_way(host: Host) -> None:
    """A stream that may not go on ends; a start that waits for the folder is judged by what it finds there."""
    instance = host.instance
    instance.install("moves.yaml", "tasks: {a: {approval: {message: go?}}}")
    run = instance.run("moves")
    instance.wait_task(run, "a", "running")
    watching = subprocess.Popen(
        host.reader.argv("--root", instance.root, "wait", run), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, cwd="/", env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    try:
        assert host.operator.ctl("run", "moves", "--dry-run").returncode == 0
        instance.write("moves.yaml", f"visible_to: {SEE}\ntasks: {{a: {{approval: {{message: go?}}}}}}")
        assert host.operator.ctl("run", "moves").returncode == 3
        assert host.operator.ctl("run", "moves", "--dry-run").returncode == 3
        instance.ctl("approve", run, "a")
        _, err = watching.communicate(timeout=30)
    finally:
        watching.kill()
    assert watching.returncode == 3
    assert f"no run {run};" in err
    assert host.reader.ctl("status", run).returncode == 3
    instance.write("moves.yaml", "tasks: {a: {approval: {message: go?}}}")
    wait_until(lambda: host.reader.ctl("status", run).returncode == 0, "it is for everybody again")


# ---- Who speaks by a token


class Identity(NamedTuple):
    """`account`: one of this host, by a group of its name; `like`: who has the same rights by the kernel's word."""

    account: str
    like: str
    sort: str = "bearer"
    level: str = ""


IDENTITIES = {
    "a reader's token": Identity(READ, "reader"),
    "an operator's token": Identity(OPERATE, "operator"),
    "an operator's session": Identity(OPERATE, "operator", "session"),
    "an operator's token for reading": Identity(OPERATE, "reader", level="read"),
    "an administrator's token for operating": Identity(ADMIN, "operator", level="operate"),
    "a viewer's session": Identity(SEE, "viewer", "session"),
    "a keeper's token": Identity(RUN, "keeper"),
    "a keeper's token for reading": Identity(RUN, "viewer", level="read"),
}
"""Each is shown by a program whose own account has no rights, whatever groups it is in."""


def front(host: Host) -> Account:
    """A service with a dynamic account, a member of all groups."""
    return Account(host.instance, (READ, OPERATE, ADMIN, SEE, RUN), 61_500)


def real(host: Host, name: str) -> Account:
    return Account(host.instance, (name,), pwd.getpwnam(name).pw_uid)


def token_of(host: Host, identity: Identity) -> str:
    account, level = real(host, identity.account), ("--level", identity.level) if identity.level else ()
    if identity.sort == "bearer":
        made = account.ctl("-o", "json", "token", "create", *level)
        return str(json.loads(made.stdout)["text"])
    return subprocess.run(
        account.python(SESSION), capture_output=True, text=True, timeout=60, check=True, cwd="/",
        env={"PATH": os.environ["PATH"]},
    ).stdout  # fmt: skip


@needs_accounts
def test_the_account_of_the_web_front_has_no_rights_of_its_own(host: Host) -> None:
    assert_nothing(host, front(host))
    (code, text), (created, _) = front(host).ask([requests.GetIdentity(), requests.CreateToken()])
    assert (code, created) == ("ok", "forbidden")
    assert "level=<Level.NONE: 0>" in text


@needs_accounts
def test_whoever_is_not_logged_in_is_answered_nothing_whoever_speaks_for_him(host: Host) -> None:
    for account in (front(host), host.admin):
        assert_nothing(host, account, "")


@needs_accounts
@pytest.mark.parametrize("who", IDENTITIES)
def test_a_token_gives_the_rights_of_its_account_to_whoever_shows_it(host: Host, who: str) -> None:
    identity = IDENTITIES[who]
    token, like = token_of(host, identity), getattr(host, identity.like)
    asked = [request for ways in lookings().values() for request in ways]
    if identity.like in ("reader", "operator"):
        asked += [request for pair in of_zebra(host) for request in pair]
    asked += [requests.Reload(), requests.ListAudit(), requests.ListSecrets(), requests.SetSecret(name="n", value=b"v")]
    expected = [code for code, _ in like.ask(asked)]
    for request, code, (found, text) in zip(asked, expected, front(host).ask(asked, token), strict=True):
        assert found == code, (request, text)
        if identity.like in ("reader", "operator") and found == "ok":
            assert "zebra" not in text, (request, text)
    expected_to_operate = host.operator if identity.like == "operator" else host.reader
    pause = requests.PauseWorkflow(workflow="horse", paused=False)
    ((found, _),) = front(host).ask([pause], token)
    ((code, _),) = expected_to_operate.ask([pause])
    assert (found == "ok") == (code == "ok")


@needs_accounts
def test_a_token_that_has_ended_gives_nothing(host: Host) -> None:
    account = real(host, OPERATE)
    made = json.loads(account.ctl("-o", "json", "token", "create").stdout)
    assert account.ctl("token", "revoke", made["token"]).returncode == 0
    assert_ended(host, made["text"])
    assert_ended(host, "pfb_" + "x" * 43)
    login = json.loads(account.ctl("-o", "json", "token", "create").stdout)
    assert real(host, READ).ctl("token", "revoke", login["token"]).returncode == 3
    assert host.admin.ctl("token", "revoke", login["token"]).returncode == 0
    assert_ended(host, login["text"])


def assert_ended(host: Host, token: str) -> None:
    asked: list[Request] = [requests.GetVersion(), requests.GetIdentity(), requests.GetHost(), requests.RevokeToken()]
    for code, text in front(host).ask(asked, token):
        assert code == "forbidden"
        assert text.startswith("this token is not valid (any more)")


@needs_accounts
def test_what_is_done_by_a_token_is_recorded_with_its_account_and_number(host: Host) -> None:
    made = json.loads(real(host, OPERATE).ctl("-o", "json", "token", "create").stdout)
    ((code, _),) = front(host).ask([requests.PauseWorkflow(workflow="horse", paused=False)], made["text"])
    assert code == "ok"
    record = audit(host.instance, "--user", OPERATE)[0]
    assert (record["request"], record["uid"], record["token"]) == (
        "pause_workflow", pwd.getpwnam(OPERATE).pw_uid, made["token"],
    )  # fmt: skip


@needs_accounts
def test_other_groups_in_the_settings_count_for_tokens_at_once(host: Host) -> None:
    token = token_of(host, Identity(READ, "reader"))
    asked: list[Request] = [requests.GetHost()]
    kept = (host.instance.root / "pyflowd.yaml").read_text()
    following = subprocess.Popen(
        front(host).python(FOLLOW), stdout=subprocess.PIPE, text=True, cwd="/",
        env={"PATH": os.environ["PATH"], "TOKEN": token},
    )  # fmt: skip
    assert following.stdout is not None
    assert following.stdout.readline() == "following\n"
    try:
        (host.instance.root / "pyflowd.yaml").write_text(kept.replace(f'["{READ}"]', "[]"))
        host.instance.ctl("reload")
        assert [code for code, _ in front(host).ask(asked, token)] == ["forbidden"]
        assert following.stdout.readline() == "unavailable\n"
    finally:
        (host.instance.root / "pyflowd.yaml").write_text(kept)
        host.instance.ctl("reload")
        following.kill()
        following.communicate()
    assert [code for code, _ in front(host).ask(asked, token)] == ["ok"]


# ---- The record of who did what


def audit(instance: Instance, *options: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = instance.json("audit", "-n", 10_000, *options)
    return found


@needs_accounts
def test_what_somebody_changes_is_recorded_with_who_he_is(host: Host) -> None:
    before = audit(host.instance)[0]["audit"]
    operator, reader = host.fresh(READ, OPERATE), host.fresh(READ)
    done = operator.ctl("-o", "json", "run", "horse", "-p", "day=monday", "-p", "token=my-secret", "--key", "k1")
    run = json.loads(done.stdout)["run"]
    operator.ctl("cancel", run)
    operator.ctl("status")
    operator.ctl("run", "horse", "--dry-run")
    reader.ctl("run", "horse", "-p", "day=tuesday")
    operator.ctl("run", "zebra")
    operator.ctl("run", "no-such-workflow")
    host.admin.ctl("secret", "rm", "no-such-secret")
    found = [each for each in audit(host.instance) if each["audit"] > before][::-1]
    told = [(each["uid"], each["request"], each["workflow"], each["run"], each["result"]) for each in found]
    assert told == [
        (operator.uid, "start_run", "horse", run, "done"),
        (operator.uid, "cancel_run", "horse", run, "done"),
        (reader.uid, "start_run", "horse", None, "forbidden"),
        (operator.uid, "start_run", "zebra", None, "forbidden"),
    ]
    assert found[0]["asked"] == {"params": {"day": "monday", "token": "my-secret"}, "key": "k1"}
    assert found[2]["asked"] == {"params": ["day"]}
    assert all(each["pid"] > 0 and each["user"] == str(each["uid"]) for each in found)
    assert audit(host.instance, "--user", reader.uid, "--workflow", "horse")[0]["audit"] == found[2]["audit"]
    assert not audit(host.instance, "--user", "nobody-such")


@needs_accounts
def test_refusals_beyond_so_many_a_minute_are_counted(host: Host) -> None:
    asked: list[Request] = [requests.PauseWorkflow(workflow="horse")] * 60
    account = host.fresh(READ)
    assert {code for code, _ in account.ask(asked)} == {"forbidden"}
    found = audit(host.instance, "--user", account.uid)
    assert 20 <= len(found) <= 40  # a minute may have passed in between
    other = host.fresh(READ)
    assert other.ctl("pause", "horse").returncode == 5
    assert audit(host.instance, "--user", other.uid)[0]["request"] == "pause_workflow"


def test_after_a_kill_there_is_a_record_of_everything_that_was_acknowledged(instance: Instance) -> None:
    """And none without its effect: both are in one commit."""
    instance.start()
    instance.install("w.yaml", "overlap: allow\ntasks: {a: {run: 'true'}}")
    acknowledged: list[int] = []
    for _ in range(3):
        acknowledged += [instance.run("w") for _ in range(5)]
        instance.kill()
        instance.start()
    found = [each["run"] for each in audit(instance, "--workflow", "w")]
    assert sorted(found) == sorted(acknowledged)
    assert sorted(run["run"] for run in instance.json("history", "w", "-n", 100)) == sorted(found)


@needs_accounts
def test_a_level_that_the_settings_take_away_is_gone_for_those_who_are_connected() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        instance = Instance(Path(folder) / "root")
        instance.root.chmod(0o755)
        (instance.root / "run").mkdir(mode=0o755)
        instance.settings(group_admin=[ADMIN])
        try:
            instance.start()
            _hold(instance)
        finally:
            instance.end()


def _hold(instance: Instance) -> None:
    who = Account(instance, (ADMIN,), next(_UIDS))
    asking = who.python(HOLD)
    with subprocess.Popen(asking, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/") as held:
        assert held.stdin is not None
        assert held.stdout is not None
        assert held.stdout.readline() == "reloaded\n"
        instance.settings(group_admin=[])
        assert instance.ctl("reload").returncode == 0
        held.stdin.write("\n\n")
        held.stdin.flush()
        assert held.stdout.readline() == "forbidden\n"
