"""What the client does by itself: help, lint, next --cron, completion; and the typed client for programs."""

from __future__ import annotations

import json
import os
import posix
import socket
from pathlib import Path

import pytest
from msgspec.structs import replace

from pyflowctl import thin
from pyflowctl.client import OpenLog, connect
from pyflowctl.complete import candidates
from pyflowd.errors import NotFound, Unavailable
from pyflowd.protocol.frames import frame, parted
from pyflowd.protocol.requests import GetLogs
from pyflowd.protocol.views import Alive, ArtifactOpen, Done, Failure, LogOpen
from pyflowd.protocol.views_host import HealthView, VersionView
from pyflowd.protocol.views_runs import ApprovalPage, ArtifactPage, ArtifactView, RunPage, TaskPage
from pyflowd.protocol.views_workflows import GraphView, WorkflowPage
from pyflowd.protocol.words import FRAME_MAX
from pyflowd.render.grammar import COMMANDS, SHELLS
from tests.unit.fakedaemon import FakeDaemon, send_with_files
from tests.unit.views import CHECKS, DEFINITION, FAILED, HOST, TASKS, WORKFLOWS
from tests.unit.views_language import APPROVAL, FETCH, ITEM, SYNC

GREETING = frame(VersionView(version="0.1.0")) + frame(Done())
GOOD = b"tasks: {a: {run: 'true'}}\n"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(posix, "environ", {b"TZ": b"Europe/Berlin", b"PYFLOW_ROOT": str(tmp_path).encode()})
    (tmp_path / "run").mkdir()


def typed(tmp_path: Path, *answers: bytes) -> FakeDaemon:
    """A daemon that greets, then gives one of the answers to each request."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        for answer in answers:
            connection.recv(4096)
            connection.sendall(answer)
        connection.recv(1)

    return FakeDaemon(tmp_path / "run" / "pyflowd.sock", talk)


# ---- Without a daemon -----------------------------------------------------------------------------------------------


def test_a_bare_command_is_a_short_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert thin.main([]) == 0
    assert "`pyflowctl help` names all commands" in capfd.readouterr().out


@pytest.mark.parametrize("argv", [["help", "run"], ["run", "--help"], ["-h", "run"]])
def test_help_about_a_command_comes_in_every_way(argv: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert thin.main(argv) == 0
    assert capfd.readouterr().out.startswith("usage: pyflowctl run WORKFLOW|FILE")


def test_help_about_a_mistyped_command_names_the_right_one(capfd: pytest.CaptureFixture[str]) -> None:
    assert thin.main(["help", "stauts"]) == 2
    assert 'did you mean "status"?' in capfd.readouterr().err


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_has_its_completion(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert thin.main(["completion", shell]) == 0
    assert "pyflowctl __complete -- " in capfd.readouterr().out


def test_lint_of_a_good_file_is_done(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.yaml").write_bytes(GOOD)
    assert thin.main(["lint", str(tmp_path / "good.yaml")]) == 0
    assert capfd.readouterr().out == "1 file checked: no problems\n"


def test_lint_of_a_bad_file_names_the_place(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(GOOD + b"shedule: x\n")
    assert thin.main(["lint", str(path), "-o", "json"]) == 1
    found = json.loads(capfd.readouterr().out)
    assert [(problem["file"], problem["line"], problem["severity"]) for problem in found] == [(str(path), 2, "error")]


def test_lint_goes_on_after_a_file_that_is_missing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.yaml").write_bytes(GOOD)
    assert thin.main(["lint", str(tmp_path / "no.yaml"), str(tmp_path / "good.yaml")]) == 1
    assert "2 files checked: 1 error, 0 warnings" in capfd.readouterr().out


def test_lint_finds_template_and_drop_ins_beside_the_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for folder in ("workflows/a.yaml.d", "templates"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "workflows/a.yaml").write_text("template: t\nwith: {x: y}\n")
    (tmp_path / "templates/t.yaml").write_text("params: {x: {type: string}}\ntasks: {a: {run: x, cdw: /}}\n")
    (tmp_path / "workflows/a.yaml.d/1.yaml").write_text("tasks: {a: {tiemout: 1m}}\n")
    for path in ("workflows/a.yaml", "workflows/a.yaml.d/1.yaml"):
        assert thin.main(["lint", str(tmp_path / path), "-o", "json"]) == 1
        found = json.loads(capfd.readouterr().out)
        assert [os.path.relpath(each["file"], tmp_path) for each in found] == [
            "templates/t.yaml", "workflows/a.yaml.d/1.yaml",
        ]  # fmt: skip


def test_lint_of_a_template_checks_it_with_its_defaults(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "templates").mkdir()
    path = tmp_path / "templates" / "t.yaml"
    path.write_text("params: {x: {type: string, default: /tmp}}\ntasks: {a: {run: x, cwd: '${{ template.x }}'}}\n")
    assert thin.main(["lint", str(path)]) == 0
    path.write_text("params: {x: {type: string, default: tmp}}\ntasks: {a: {run: x, cwd: '${{ template.x }}'}}\n")
    assert thin.main(["lint", str(path)]) == 1
    assert "t.yaml:2:26" in capfd.readouterr().out


def test_lint_of_a_template_that_needs_values_says_what_it_cannot_check(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "templates").mkdir()
    path = tmp_path / "templates" / "t.yaml"
    path.write_text("params: {x: {type: string, required: true}}\ntasks: {a: {run: x, cwd: '${{ template.x }}'}}\n")
    assert thin.main(["lint", str(path)]) == 0
    assert "lint a file that is built from it" in capfd.readouterr().out


def test_the_line_for_a_missing_file_is_about_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert thin.main(["lint", str(tmp_path / "no.yaml")]) == 1
    assert "there is no such file; name a file that is there" in capfd.readouterr().out


def test_the_version_is_an_option_too(capfd: pytest.CaptureFixture[str]) -> None:
    assert thin.main(["--version"]) == 0
    assert capfd.readouterr().out.startswith("pyflowctl ")


def test_slots_of_a_bare_expression_are_in_the_zone_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    argv = ["next", "--cron", "30 2 * * *", "--timezone", "Asia/Tokyo", "--from", "2026-03-01", "-n", "2", "-o", "json"]
    assert thin.main(argv) == 0
    assert json.loads(capfd.readouterr().out) == [
        {"scheduled_at": "2026-03-01T02:30:00.000000+09:00"},
        {"scheduled_at": "2026-03-02T02:30:00.000000+09:00"},
    ]


@pytest.mark.parametrize(("option", "value"), [("--cron", "x"), ("--timezone", "Mars"), ("-n", "0"), ("--dst", "no")])
def test_a_bad_expression_is_one_line(option: str, value: str, capfd: pytest.CaptureFixture[str]) -> None:
    argv = [option, value] if option == "--cron" else ["--cron", "@daily", option, value]
    assert thin.main(["next", *argv]) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_the_version_of_the_client_needs_no_daemon(capfd: pytest.CaptureFixture[str]) -> None:
    assert thin.main(["version", "-o", "json"]) == 0
    assert json.loads(capfd.readouterr().out)["daemon"] is None


def test_doctor_without_a_daemon_says_so_with_its_status(capfd: pytest.CaptureFixture[str]) -> None:
    assert thin.main(["doctor"]) == 4
    assert "error   daemon: no daemon at " in capfd.readouterr().out


def test_doctor_adds_what_the_daemon_found(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with typed(tmp_path, frame(HealthView(checks=CHECKS)) + frame(Done())):
        assert thin.main(["doctor", "-o", "json"]) == 1
    found = json.loads(capfd.readouterr().out)["checks"]
    assert {"level": "error", "subject": "disk", "found": CHECKS[2][2]} in found


# ---- Completion -----------------------------------------------------------------------------------------------------


def names(*words: str) -> list[str]:
    return [name for name, _ in candidates(list(words))]


def test_commands_are_completed() -> None:
    assert names("re") == ["reject", "rerun", "resume", "reload", "restore"]


def test_all_commands_are_offered() -> None:
    assert names("-o", "json", "") == [spec.name for spec in COMMANDS]


def test_options_are_completed() -> None:
    assert names("rerun", "42", "--f") == ["--failed", "--from", "--follow"]


def test_values_of_options_are_completed() -> None:
    assert names("history", "--state", "") == ["queued", "running", "succeeded", "failed", "cancelled"]


def test_without_a_daemon_there_are_no_names() -> None:
    assert names("show", "") == []


def test_workflows_and_runs_are_asked_for(tmp_path: Path) -> None:
    pages = (WorkflowPage(workflows=WORKFLOWS), RunPage(runs=[FAILED]))
    with typed(tmp_path, *(frame(page) + frame(Done()) for page in pages)):
        assert names("status", "") == ["deploy", "nightly-backup", "rebuild-index", "sync-mail", "42"]


def test_tasks_of_the_run_are_asked_for(tmp_path: Path) -> None:
    with typed(tmp_path, frame(FAILED) + frame(TaskPage(tasks=TASKS)) + frame(Done())):
        assert names("logs", "42", "c") == ["checksum", "clean"]


def test_items_are_offered_where_a_shell_takes_them_for_what_they_are(tmp_path: Path) -> None:
    tasks = [FETCH, *(replace(ITEM, task=f"fetch[{key}]", item=key) for key in ("web1", "$(reboot)", "a b", "a\tb"))]
    with typed(tmp_path, frame(SYNC) + frame(TaskPage(tasks=tasks)) + frame(Done())):
        assert names("logs", "61", "f") == ["fetch", "fetch[web1]"]


def test_runs_and_tasks_that_wait_for_an_answer_are_offered(tmp_path: Path) -> None:
    page = frame(ApprovalPage(approvals=[APPROVAL])) + frame(Done())
    with typed(tmp_path, page):
        assert names("approve", "") == ["42"]
    (tmp_path / "run" / "pyflowd.sock").unlink()
    with typed(tmp_path, page):
        assert names("approve", "42", "") == ["approve"]


def test_artifacts_of_the_task_are_offered(tmp_path: Path) -> None:
    view = ArtifactView(run=61, task="accounts", name="list", attempt=1, size_bytes=1, sha256="00")
    with typed(tmp_path, frame(ArtifactPage(artifacts=[view])) + frame(Done())):
        assert names("artifacts", "61", "accounts", "") == ["list"]


def test_tasks_of_the_workflow_are_offered_for_only(tmp_path: Path) -> None:
    with typed(tmp_path, frame(GraphView(title="w", tasks=TASKS)) + frame(Done())):
        assert names("run", "w", "--only", "c") == ["checksum", "clean"]


def test_what_may_be_cleared_is_offered(tmp_path: Path) -> None:
    assert names("cache", "c") == ["clear"]
    with typed(tmp_path, frame(GraphView(title="w", tasks=TASKS)) + frame(Done())):
        assert names("cache", "clear", "w", "c") == ["checksum", "clean"]


def test_only_live_runs_are_offered_for_a_cancel(tmp_path: Path) -> None:
    with typed(tmp_path, frame(HOST) + frame(Done())):
        assert names("cancel", "") == ["57", "58"]


def test_only_paused_workflows_are_offered_for_a_resume(tmp_path: Path) -> None:
    with typed(tmp_path, frame(WorkflowPage(workflows=WORKFLOWS)) + frame(Done())):
        assert names("resume", "") == ["rebuild-index"]


def test_params_of_the_workflow_are_completed_with_their_sign(tmp_path: Path) -> None:
    with typed(tmp_path, frame(replace(DEFINITION, params=["day", "full"])) + frame(Done())):
        assert names("run", "nightly-backup", "-p", "") == ["day=", "full="]


# ---- The typed client -----------------------------------------------------------------------------------------------


def test_a_reply_that_is_longer_than_a_frame_is_put_together(tmp_path: Path) -> None:
    long = replace(TASKS[0], outputs={"text": "x" * FRAME_MAX})
    with typed(tmp_path, frame(FAILED) + b"".join(parted(TaskPage(tasks=[long]))) + frame(Done())), connect() as client:
        assert client.run(42)[1] == [long]


def test_a_kept_file_comes_open(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_bytes(b"data")

    def talk(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        connection.recv(4096)
        with kept.open("rb") as file:
            opened = ArtifactOpen(run=42, task="build", name="dist", size_bytes=4, sha256="00")
            send_with_files(connection, frame(opened), [file.fileno()])
        connection.sendall(frame(Done()))
        connection.recv(1)

    with FakeDaemon(tmp_path / "run" / "pyflowd.sock", talk), connect() as client:
        found = client.artifact(42, "build", "dist")
        with open(found.fd, "rb") as file:
            assert (found.artifact.name, file.read()) == ("dist", b"data")


def test_a_run_comes_with_its_tasks(tmp_path: Path) -> None:
    pages = frame(FAILED) + frame(TaskPage(tasks=TASKS[:2])) + frame(Alive()) + frame(TaskPage(tasks=TASKS[2:]))
    with typed(tmp_path, pages + frame(Done())), connect(root=str(tmp_path)) as client:
        assert client.run(42) == (FAILED, TASKS)


def test_one_connection_takes_several_requests(tmp_path: Path) -> None:
    answer = frame(FAILED) + frame(Done())
    with typed(tmp_path, answer, answer), connect() as client:
        assert [client.cancel(42), client.start("deploy")] == [FAILED, FAILED]


def test_a_failure_is_raised_as_what_it_is(tmp_path: Path) -> None:
    failure = frame(Failure(code="not_found", message="no run 9", exit_status=3))
    with typed(tmp_path, failure), connect() as client, pytest.raises(NotFound, match="no run 9"):
        client.run(9)


def test_a_log_comes_with_its_files(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:

        def talk(connection: socket.socket) -> None:
            connection.sendall(GREETING)
            connection.recv(4096)
            view = LogOpen(run=1, task="a", attempt=1, live=False)
            send_with_files(connection, frame(view), [log.fileno(), log.fileno()])
            connection.sendall(frame(Done()))

        with FakeDaemon(tmp_path / "run" / "pyflowd.sock", talk), connect() as client:
            found = [answer for answer in client.ask(GetLogs(of="1")) if isinstance(answer, OpenLog)]
    assert [(answer.log.task, answer.log_fd > 2) for answer in found] == [("a", True)]
    for answer in found:
        posix.close(answer.log_fd)
        posix.close(answer.index_fd)


def test_without_a_daemon_connecting_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="no daemon at "):
        connect()


def test_a_second_request_before_the_answer_is_used_up_is_a_mistake(tmp_path: Path) -> None:
    with typed(tmp_path, frame(FAILED) + frame(Done())), connect() as client:
        client.ask(GetLogs(of="1"))
        with pytest.raises(RuntimeError, match="used up"):
            client.ask(GetLogs(of="1"))
