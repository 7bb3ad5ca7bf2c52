"""The grammar of the command line: what it takes, what it makes of it, how it says no."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.clock import to_us
from pyflowd.errors import UsageError
from pyflowd.protocol.requests import (
    AnswerApproval,
    CancelBackfill,
    CancelRun,
    ClearCache,
    Explain,
    GetArtifact,
    GetGraph,
    GetHealth,
    GetHost,
    GetLogs,
    GetRun,
    GetVersion,
    ListApprovals,
    ListArtifacts,
    ListAudit,
    ListBackfills,
    ListCache,
    ListChanges,
    ListEvents,
    ListNext,
    ListNotifications,
    ListRuns,
    ListSlots,
    ListWorkflows,
    MarkSeen,
    PauseWorkflow,
    Reload,
    Request,
    RerunRun,
    SendNotification,
    ShowWorkflow,
    StartBackfill,
    StartRun,
    WatchRun,
)
from pyflowd.protocol.tokens import CreateToken, ListTokens, RevokeToken
from pyflowd.protocol.words import Level
from pyflowd.render.commandline import Invocation, LogOptions, instant_us, parse, two_runs
from pyflowd.render.grammar import COMMANDS, GLOBAL_OPTIONS, LATER, command_help, full_help, short_help
from pyflowd.render.layout import zone_of
from tests.unit.views import NOW_US, at_us

BERLIN = zone_of("Europe/Berlin")


def read(line: str, files: dict[str, bytes] | None = None) -> Invocation:
    return parse(line.split(), now_us=NOW_US, zone=BERLIN, files=files)


def refusal(line: str) -> str:
    with pytest.raises(UsageError) as raised:
        read(line)
    return str(raised.value)


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("status", GetHost()),
        ("status 42", GetRun(of="42", items=False)),
        ("status deploy", GetRun(of="deploy", items=False)),
        ("list", ListWorkflows()),
        ("run deploy", StartRun(workflow="deploy", params_are_text=True)),
        (
            "run deploy -p a=1 --param b=x=y --key k",
            StartRun(workflow="deploy", params={"a": "1", "b": "x=y"}, params_are_text=True, key="k"),
        ),
        ("run deploy --dry-run", StartRun(workflow="deploy", params_are_text=True, dry_run=True)),
        ("logs 42", GetLogs(of="42")),
        ("logs 42 -n 5 dump -f", GetLogs(of="42", task="dump", follow=True)),
        ("logs deploy --all-attempts", GetLogs(of="deploy", all_attempts=True)),
        ("history", ListRuns()),
        (
            "history deploy --state failed --since 2h -n 5",
            ListRuns(workflow="deploy", state="failed", since_us=NOW_US - 7_200_000_000, limit=5),
        ),
        ("cancel 42", CancelRun(run=42)),
        ("cancel deploy", CancelRun(workflow="deploy")),
        ("rerun 42", RerunRun(run=42)),
        ("rerun deploy --failed", RerunRun(workflow="deploy", failed_only=True)),
        ("wait 42", WatchRun(run=42)),
        ("wait deploy --follow", WatchRun(workflow="deploy")),
        ("rerun 42 --failed --latest", RerunRun(run=42, failed_only=True, latest=True)),
        ("rerun 42 --from ship", RerunRun(run=42, from_task="ship")),
        ("pause deploy", PauseWorkflow(workflow="deploy")),
        ("resume deploy", PauseWorkflow(workflow="deploy", paused=False)),
        ("show deploy", ShowWorkflow(workflow="deploy")),
        ("show deploy@3f0c2a --origin", ShowWorkflow(workflow="deploy", version="3f0c2a", origin=True)),
        ("show deploy@~2", ShowWorkflow(workflow="deploy", version="~2")),
        ("history deploy --definition -n 5", ListChanges(workflow="deploy", limit=5)),
        ("diff deploy", None),
        ("schema", None),
        ("graph deploy", GetGraph(of="deploy")),
        ("next", ListNext()),
        ("next deploy -n 3", ListNext(workflow="deploy", limit=3)),
        ("slots", ListSlots()),
        ("slots w --fate skipped -n 3", ListSlots(workflow="w", fate="skipped", limit=3)),
        ("seen 42", MarkSeen(run=42)),
        ("seen 42 --undo", MarkSeen(run=42, seen=False)),
        ("history w --before 7", ListRuns(workflow="w", before=7)),
        (
            "slots deploy --since 2026-03-01 -n 9",
            ListSlots(workflow="deploy", since_us=at_us("2026-03-01T00:00:00+01:00"), limit=9),
        ),
        ("explain deploy", Explain(of="deploy")),
        ("explain 42 ship[web1] --all", Explain(of="42", task="ship[web1]", all=True)),
        ("explain 42 -o json", Explain(of="42", all=True)),
        ("explain deploy --slot 2026-03-01", Explain(of="deploy", at_us=at_us("2026-03-01T00:00:00+01:00"))),
        ("events", ListEvents()),
        ("events -f --run 42 -n 7", ListEvents(run=42, limit=7, follow=True)),
        ("notify oncall hello", SendNotification(channel="oncall", text="hello")),
        ("cache", ListCache()),
        ("cache report", ListCache(workflow="report")),
        ("cache clear report", ClearCache(workflow="report")),
        ("cache clear report extract", ClearCache(workflow="report", task="extract")),
        ("run deploy --no-cache", StartRun(workflow="deploy", params_are_text=True, no_cache=True)),
        ("rerun 42 --no-cache", RerunRun(run=42, no_cache=True)),
        ("notifications", ListNotifications()),
        ("backfills", ListBackfills()),
        ("cancel --backfill 3", CancelBackfill(backfill=3)),
        (
            "run w --for 2026-02-01T02Z..2026-02-01T04Z --trigger t -p a=1 --only-missing --newest-first --parallel 4",
            StartBackfill(
                workflow="w", from_us=1769911200000000, until_us=1769918400000000, trigger="t", params={"a": "1"},
                params_are_text=True, only_missing=True, newest_first=True, parallel=4,
            ),
        ),
        ("notifications -n 5", ListNotifications(limit=5)),
        ("token create", CreateToken()),
        (
            "token create --label ci --level operate --expires 1h30m",
            CreateToken(label="ci", level=Level.OPERATE, expires_s=5400),
        ),
        ("token create --expires never", CreateToken(expires_s=0)),
        ("token create --expires 1ms", CreateToken(expires_s=1)),
        ("token list", ListTokens()),
        ("token revoke 7", RevokeToken(token=7)),
        ("audit --user alice --workflow dump -n 5", ListAudit(user="alice", workflow="dump", limit=5)),
        ("reload", Reload()),
        ("doctor", GetHealth()),
        ("version", GetVersion()),
        ("status 42 --items", GetRun(of="42")),
        ("status 42 -o json", GetRun(of="42")),
        ("logs 42 fetch[web1]", GetLogs(of="42", task="fetch[web1]")),
        ("logs 42 fetch.undo[a]b]", GetLogs(of="42", task="fetch.undo[a]b]")),
        ("cancel 42 fetch[web1]", CancelRun(run=42, task="fetch[web1]")),
        ("run deploy --only a --only b", StartRun(workflow="deploy", params_are_text=True, only=["a", "b"])),
        ("approvals", ListApprovals()),
        (
            "approve 42 go --comment fine --choose half",
            AnswerApproval(run=42, task="go", approve=True, comment="fine", choice="half"),
        ),
        ("approve deploy go", AnswerApproval(workflow="deploy", task="go", approve=True)),
        ("reject 42 go[a] --comment no", AnswerApproval(run=42, task="go[a]", approve=False, comment="no")),
        ("artifacts 42", ListArtifacts(of="42")),
        ("artifacts 42 build -o json", ListArtifacts(of="42", task="build")),
        ("artifacts 42 build dist --to x --force", GetArtifact(of="42", task="build", name="dist")),
    ],
)  # fmt: skip
def test_a_command_line_becomes_its_request(line: str, request_: Request) -> None:
    assert read(line).request == request_


@pytest.mark.parametrize("line", ["help", "lint a.yaml", "completion bash", "next --cron @daily"])
def test_what_needs_no_daemon_has_no_request(line: str) -> None:
    assert read(line).request is None


def test_a_file_is_run_with_its_text() -> None:
    invocation = read("run ./x.yaml -p a=1", {"./x.yaml": b"tasks: {}"})
    wanted = StartRun(file="./x.yaml", data=b"tasks: {}", params={"a": "1"}, params_are_text=True)
    assert invocation.request == wanted


def test_a_file_that_did_not_come_along_is_told() -> None:
    assert "did not send this file" in refusal("run x.yaml")


@pytest.mark.parametrize("line", ["-o json list", "list -o json", "list --output=json", "list -ojson"])
def test_options_of_every_command_may_stand_anywhere(line: str) -> None:
    assert read(line).output == "json"


def test_after_two_dashes_nothing_is_an_option() -> None:
    assert read("logs 42 -- dump").request == GetLogs(of="42", task="dump")


def test_a_command_named_like_its_argument_is_understood() -> None:
    assert read("show show").request == ShowWorkflow(workflow="show")


@pytest.mark.parametrize(
    ("line", "wait", "follow"),
    [("run x", False, False), ("run x --wait", True, False), ("rerun 4 --follow", True, True)],
)
def test_following_is_waiting(line: str, wait: bool, follow: bool) -> None:
    invocation = read(line)
    assert (invocation.wait, invocation.follow) == (wait, follow)


def test_the_options_of_logs_reach_the_client() -> None:
    invocation = read("logs 42 --raw -n 0 --since 1h")
    assert invocation.log == LogOptions(raw=True, tail=0, since_us=NOW_US - 3_600_000_000)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "no command is given; `pyflowctl help` names all"),
        ("-p run", 'no command is given, "run" is the value of an option'),
        ("stauts", 'there is no command "stauts" (did you mean "status"?); `pyflowctl help` names all'),
        ("top", '"top" is not in this version yet; `pyflowctl help` names what is'),
        ("run", "run needs WORKFLOW|FILE; usage: "),
        ("cache clear", "cache clear needs WORKFLOW"),
        ("cache one two", 'cache: "two" is too much; write cache [WORKFLOW], or cache clear WORKFLOW [TASK]'),
        ("cancel 1 2 3", 'cancel: "3" is too much; usage: pyflowctl cancel [RUN'),
        ("cancel", "cancel needs RUN|WORKFLOW, or --backfill N"),
        ("cancel 4 --backfill 3", "cancel: a run and --backfill are two things"),
        ("cancel --backfill x", '--backfill: "x" is no number of a backfill'),
        ("run w --for 2026-02-01", '--for: "2026-02-01" is no span; write FROM..TO'),
        ("run w --for 2026-02-30..2026-03-01", '--for: "2026-02-30" is no time'),
        ("run w --for 2026-02-01..2026-02-30", '--for: "2026-02-30" is no time'),
        ("run w.yaml --for 2026-02-01..2026-02-02", "w.yaml: slots are those of a workflow that is installed"),
        ("run w --for 2026-02-01..2026-02-02 --wait", "run: --for and --wait do not go together"),
        ("run w --only-missing", "run: --only-missing goes with --for FROM..TO only"),
        ("run w --parallel 3", "run: --parallel goes with --for FROM..TO only"),
        ("notify oncall", "notify needs TEXT; usage: pyflowctl notify CHANNEL TEXT"),
        ("notify ../x hello", '"../x" cannot be the name of a channel: letters, digits, _ . - only, 63 at most'),
        ("explain deploy ship --at 02:30", "explain: --at names a slot of a workflow; leave out TASK"),
        ("explain deploy --at noon", '--at: "noon" is no time; write 2h'),
        ("events --run deploy", '"deploy" is not a run; runs are numbers, as `pyflowctl history` shows them'),
        ("cancel 0", '"0" is not a run'),
        ("cancel 99999999999999999999", '"99999999999999999999" is not a run'),
        ("cancel ٤٢", '"٤٢" is not a run'),
        ("status ../../etc", '"../../etc" is neither a run (a number) nor the name of a workflow'),
        ("logs 42 ../x", '"../x" cannot be the name of a task'),
        ("pause a/b", '"a/b" cannot be the name of a workflow'),
        ("history --stat failed", 'history has no option --stat (did you mean "--state"?); see: pyflowctl help '),
        ("history --state broken", '--state: "broken" is none of queued, running, succeeded, failed, cancelled'),
        ("history --definition", "history --definition needs WORKFLOW"),
        ("history w --definition --since 2h", "history: --definition and --since do not go together"),
        ("show w@", '"w@" names no version: write six or more digits of its SHA-256, or ~1 for the one before'),
        ("show w@3F0C2A", '"w@3F0C2A" names no version'),
        ("show w@3f0c2", '"w@3f0c2" names no version'),
        ("show w@../x", '"w@../x" names no version'),
        ("history -n many", '--limit: "many" is not a number from 1 to 1000000'),
        ("history -n 0", '--limit: "0" is not a number from 1 to 1000000'),
        ("history -n " + "9" * 5000, '--limit: "999'),
        ("history -n", "-n needs a value: -n N"),
        ("list --wait", "list has no option --wait"),
        ("token make", 'token: "make" is none of create, list, revoke'),
        ("token create 7", "token create takes no TOKEN: leave it out"),
        ("token revoke", "token revoke needs TOKEN; usage: pyflowctl token revoke TOKEN"),
        ("token revoke 0", "token revoke: that is no number of a token; `pyflowctl token list` has them"),
        ("token revoke pfb_x", "token revoke: that is no number of a token; `pyflowctl token list` has them"),
        ("token list --level read", "token: --level goes with create only"),
        ("token create --expires soon", '--expires: "soon" is not a duration'),
        ("token create --level none", '--level: "none" is none of read, operate, admin'),
        ("list -o xml", '--output: "xml" is none of table, json'),
        ("run x --wait=yes", "--wait takes no value; leave out =yes"),
        ("run x -p a", '-p "a": write NAME=VALUE, such as -p version=1.4.2'),
        ("run x -p a=1 -p a=2", '-p: "a" is given twice; leave one of them out'),
        ("run x --key a --key b", "--key is given twice; leave one of them out"),
        ("run x --dry-run --wait", "run: --dry-run and --wait do not go together"),
        ("rerun 4 --failed --from x", "rerun: --failed and --from do not go together"),
        ("list --root a --socket b", "--root and --socket both name a daemon: leave one of them out"),
        ("logs 42 --raw -o json", "--raw gives bytes and -o json gives JSON: leave one of them out"),
        ("logs 42 --since yesterday", '--since: "yesterday" is no time; write 2h, 2026-02-28, 03:00'),
        ("next x --cron @daily", "next takes a workflow or --cron, not both"),
        ("next --timezone UTC", "next: --timezone goes with --cron only"),
        ("status --items", "status: --items goes with a run or a workflow"),
        ("logs 42 fetch[web1", '"fetch[web1" is no item; write TASK[KEY], in quotes, such as '),
        ("logs 42 fetch[]", '"fetch[]" is no item'),
        ("cancel 42 ../x[a]", '"../x" cannot be the name of a task'),
        ("run x --only ../y", '"../y" cannot be the name of a task'),
        ("approve 42", "approve needs TASK; usage: pyflowctl approve RUN|WORKFLOW TASK"),
        ("reject 42 go --choose x", "reject has no option --choose"),
        ("artifacts 42 --to x", "artifacts: --to goes with TASK and NAME, which say which file is wanted"),
        ("artifacts 42 a --force", "artifacts: --force goes with TASK and NAME"),
        ("artifacts 42 a ../b", '"../b" cannot be the name of an artifact'),
        ("artifacts 42 a b -o json", "artifacts: a file is no JSON; leave out -o json"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_remedy(line: str, said: str) -> None:
    assert refusal(line).startswith(said)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("90s", NOW_US - 90_000_000),
        ("7d", NOW_US - 7 * 86_400_000_000),
        ("03:00", at_us("2026-03-02T03:00:00+01:00")),
        ("2026-02-28", at_us("2026-02-28T00:00:00+01:00")),
        ("2026-02-28 03:00", at_us("2026-02-28T03:00:00+01:00")),
        ("2026-02-28T03:00:00Z", at_us("2026-02-28T03:00:00+00:00")),
        ("2026-07-01T03:00:00", at_us("2026-07-01T03:00:00+02:00")),
    ],
)
def test_times_are_read_as_people_write_them(text: str, wanted: int) -> None:
    assert instant_us(text, "--since", now_us=NOW_US, zone=BERLIN) == wanted


WORDS = ["run", "logs", "42", "x", "-n", "-f", "--", "-o", "json", "--key=", "-p", "=", "", "-", "--since"]


@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=8))
def test_any_command_line_is_understood_or_refused_with_one_line(argv: list[str]) -> None:
    said = "understood"
    try:
        parse(argv, now_us=NOW_US, zone=BERLIN)
    except UsageError as error:
        said = str(error)
    assert said


def test_commands_of_later_versions_are_no_commands_yet() -> None:
    assert not {spec.name for spec in COMMANDS} & set(LATER)


def test_the_short_help_has_the_commands_of_a_newcomer() -> None:
    assert [line.split()[0] for line in short_help().splitlines() if line.startswith("  ")] == [
        "status", "list", "run", "logs", "history",
    ]  # fmt: skip


def test_the_full_help_names_every_command_and_option() -> None:
    text = full_help()
    assert not [spec.name for spec in COMMANDS if f"  {spec.name} " not in text]
    assert not [option.key for option in GLOBAL_OPTIONS if option.usage not in text]


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.name)
def test_the_help_of_a_command_fits_a_terminal_and_names_its_options(spec: object) -> None:
    text = command_help(spec)  # type: ignore[arg-type]
    assert not [option for option in spec.options if option.usage not in text]  # type: ignore[attr-defined]
    assert max(len(line) for line in text.splitlines()[1:]) <= 100


def test_now_is_not_read_from_a_clock() -> None:
    from datetime import UTC, datetime

    early = to_us(datetime(2001, 1, 1, tzinfo=UTC))
    assert parse(["history", "--since", "1h"], now_us=early, zone=BERLIN).request == ListRuns(
        since_us=early - 3_600_000_000
    )


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ("41", None, "run 41 is to be compared with another one: pyflowctl diff 41 RUN"),
        ("41", "deploy", '"deploy" is not a run'),
        ("deploy", "41", '"deploy" is not a run'),
    ],
)
def test_a_run_is_compared_with_a_run(one: str, other: str | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        two_runs(one, other)
