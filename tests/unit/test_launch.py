"""From a task to the process that the keeper is asked for."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import msgspec
import pytest

from pyflowd.base import names
from pyflowd.engine.engine import begin
from pyflowd.events import RunCreated
from pyflowd.expressions.expression_values import ExpressionError
from pyflowd.model.kinds import Argv, Kind, Shell
from pyflowd.model.workflow import Task, Workflow
from pyflowd.runtime import launch
from pyflowd.runtime.context import Facts, TaskNames
from pyflowd.runtime.keeperlink import StartRequest
from pyflowd.store.batch import RunMeta

HOST = launch.Host(
    own=launch.Account(name="me", home="/home/me"), passed_on={"LANG": "C.UTF-8"}, strict_shell=("/bin/bash", "-c")
)


TRUE = Argv(argv=("true",))


def both(kind: Kind = TRUE, host: launch.Host = HOST, **more: object) -> tuple[StartRequest, bytes | None]:
    task = Task(name="t", kind=kind, **more)  # type: ignore[arg-type]
    workflow = Workflow(name="w", tasks=(task,), env={"A": "workflow", "B": "workflow"})
    meta = RunMeta(run=7, workflow="w", digest="", trigger="manual", params={"n": 5, "evil": "$(touch x); '\""})
    run = begin(7, workflow, RunCreated(0))
    names = TaskNames(Facts(meta, run), run.tasks["t"])
    told = launch.Told(output="/o", scratch="/s")
    common = {"PYFLOW_RUN_ID": "7"}
    return launch.request("id", run.tasks["t"], host, common, {"A": "file"}, None, 1000, names, told)


def request(kind: Kind = TRUE, host: launch.Host = HOST, **more: object) -> StartRequest:
    return both(kind, host, **more)[0]


def test_expressions_get_their_values_in_arguments_variables_folder_and_standard_input() -> None:
    kind = Argv(argv=("echo", "${{ params.evil }}", "n is ${{ params.n }}"))
    asked, stdin = both(kind, env={"N": "${{ params.n + 1 }}"}, cwd="/x/${{ params.n }}", stdin="${{ [params.n] }}")
    assert asked.argv == ("echo", "$(touch x); '\"", "n is 5")
    assert (asked.env["N"], asked.cwd, stdin) == ("6", "/x/5", b"[5]")


def test_an_expression_without_a_value_is_one_error() -> None:
    with pytest.raises(ExpressionError, match="nothing"):
        request(env={"N": "${{ params.nothing }}"})


@pytest.mark.parametrize("value", ["${{ 'x' * 1 }}", "${{ from_base64('AA==') }}"])
def test_what_no_variable_can_hold_is_refused_before_the_start(value: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        request(env={"N": value})


def test_a_task_is_told_where_its_outputs_and_its_scratch_folder_are() -> None:
    env = request().env
    assert (env["PYFLOW_OUTPUT"], env["PYFLOW_SCRATCH"]) == ("/o", "/s")
    assert env["PATH"].endswith("/task/bin")


def test_nothing_of_the_daemons_environment_reaches_a_task_but_what_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    host = launch.read_host(dict(os.environ))
    assert not {"SECRET", "PYTHONPATH", "VIRTUAL_ENV"} & request(host=host).env.keys()


def test_a_tasks_own_variables_come_over_the_workflows_and_those_over_files() -> None:
    env = request(env={"B": "task"}).env
    assert (env["A"], env["B"]) == ("workflow", "task")


def test_the_text_of_a_shell_task_is_one_argument_whatever_it_holds() -> None:
    text = "echo '; rm -rf /' $(x)\n"
    assert request(Shell(text=text)).argv == ("/bin/bash", "-c", text, "t")
    assert request(Shell(text=text, shell=("python3", "-c"))).argv == ("python3", "-c", text)


def test_without_a_user_a_task_runs_as_the_daemons_own_also_where_the_keeper_is_root() -> None:
    assert request().user is None
    root_keeper = msgspec.structs.replace(HOST, keeper_is_own=False)
    assert request(host=root_keeper).user == "me"


def test_a_user_without_a_home_begins_in_the_root_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def account(home: Path) -> pwd.struct_passwd:
        return pwd.struct_passwd(("you", "x", 1234, 1234, "", str(home), "/bin/sh"))

    monkeypatch.setattr(names, "account_named", lambda _: account(tmp_path / "none"))
    assert (request(user="you").user, request(user="you").cwd) == ("you", "/")
    monkeypatch.setattr(names, "account_named", lambda _: account(tmp_path))
    assert request(user="you").cwd == str(tmp_path)


def test_a_relative_folder_is_below_the_home_of_the_user() -> None:
    assert request(cwd="work").cwd == "/home/me/work"


@pytest.mark.parametrize(
    ("line", "value"),
    [("A=b c", "b c"), ("export A=b", "b"), ('A="b # c"', "b # c"), ("A='$x'", "$x"), ("  A = b ", "b"), ("A=", "")],
)
def test_env_files_are_read_without_expanding_anything(line: str, value: str) -> None:
    assert launch.parse_env_file(f"# comment\n\n{line}\n") == {"A": value}


@pytest.mark.parametrize("line", ["A", "1A=b", "A-B=c", "=x", "Ä=b"])
def test_a_line_that_is_no_assignment_is_told_with_its_number(line: str) -> None:
    with pytest.raises(ValueError, match="line 2: not NAME=value"):
        launch.parse_env_file(f"# comment\n{line}\n")


def test_an_env_file_that_is_no_regular_file_cannot_hang_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ValueError, match="not a regular file"):
        launch.read_env_files((str(tmp_path / "fifo"),), HOST)


def test_an_env_file_may_be_missing_where_it_says_so(tmp_path: Path) -> None:
    assert launch.read_env_files((f"-{tmp_path}/none",), HOST) == {}
    with pytest.raises(FileNotFoundError):
        launch.read_env_files((f"{tmp_path}/none",), HOST)
