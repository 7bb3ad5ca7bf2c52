"""From a kind of task to the command that is started: no value in argv but what ssh needs, and that checked."""

from __future__ import annotations

import json
import marshal
from typing import Any

import pytest

from pyflowd.base import process
from pyflowd.base.process import Command
from pyflowd.model.kinds import File, Python, Ssh

PYTHON = "/opt/pyflow/bin/python"
REQUEST = {"function": "m:f", "arguments": {"x": "$(id)"}, "path": ["/etc/pyflow/python"]}


def made(kind: Python | File | Ssh, **env: str) -> Command:
    return process.command(kind, "task", env, PYTHON, path=("/etc/pyflow/python",))


def ssh(**fields: Any) -> Ssh:
    return Ssh(**{"host": "web1", "script": "true", **fields})


def given(command: Command) -> Any:
    assert command.stdin is not None
    return json.loads(command.stdin)


def options(command: Command) -> list[str]:
    argv = given(command)["argv"]
    return [argv[n + 1] for n, word in enumerate(argv) if word == "-o"]


def test_a_function_and_its_arguments_go_through_standard_input() -> None:
    command = made(Python(function="m:f", arguments={"x": "$(id)"}))
    assert command.argv[:2] == (PYTHON, "-u")
    assert not any("$(id)" in word for word in command.argv)
    assert command.stdin is not None
    assert marshal.loads(command.stdin) == REQUEST


def test_another_interpreter_is_told_in_json() -> None:
    command = made(Python(function="m:f", arguments={"x": "$(id)"}, interpreter="/srv/venv/bin/python"))
    assert command.argv[0] == "/srv/venv/bin/python"
    assert given(command) == REQUEST


def test_an_operation_on_files_goes_through_standard_input() -> None:
    command = made(File(operation="write", arguments={"write": "/x", "text": "secret"}))
    assert command.argv[:3] == (PYTHON, "-I", "-S")
    assert not any("secret" in word for word in command.argv)
    assert given(command) == {"operation": "write", "arguments": {"write": "/x", "text": "secret"}}


def test_neither_script_nor_values_are_in_the_command_line_of_ssh() -> None:
    argv = given(made(ssh(script="echo hello"), PARAM_X="value"))["argv"]
    assert not any("hello" in word or "value" in word for word in argv)
    assert argv[-3:] == ["--", "web1", process.REMOTE_COMMAND]


def test_nobody_is_asked_for_a_password_or_a_host_key() -> None:
    assert "BatchMode=yes" in options(made(ssh()))


def test_host_keys_are_checked_as_the_users_own_settings_say() -> None:
    assert not any(option.startswith("StrictHostKeyChecking") for option in options(made(ssh())))


def test_an_option_of_the_task_takes_the_place_of_ours() -> None:
    given_options = options(made(ssh(options={"connecttimeout": "3"})))
    assert "connecttimeout=3" in given_options
    assert "ConnectTimeout=15" not in given_options


def test_user_port_and_identity_are_options_of_ssh() -> None:
    argv = given(made(ssh(user="deploy", port=2222, identity="/k/%id")))["argv"]
    assert argv[argv.index("-l") + 1] == "deploy"
    assert argv[argv.index("-p") + 1] == "2222"
    assert argv[argv.index("-i") + 1] == "/k/%%id"
    assert "IdentitiesOnly=yes" in argv


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "-oProxyCommand=id"}, {"host": ""}, {"host": "a b"}, {"host": "a\n"}, {"host": "u@h"},
        {"host": "$(id)"}, {"host": "a;b"}, {"host": "x" * 300}, {"user": "-l"}, {"user": "a b"}, {"user": ""},
        {"user": "a`b`"}, {"identity": "key"}, {"identity": "/a\nb"}, {"identity": "/${HOME}"}, {"identity": "-i"},
    ],
)  # fmt: skip
def test_a_hostile_host_user_or_key_is_refused_in_one_line(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))) as caught:
        made(ssh(**fields))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["web1", "web-1.example.com", "10.0.0.1", "::1", "fe80::1%eth0", "my_alias"])
def test_names_and_addresses_are_hosts(host: str) -> None:
    process.check_host(host)


def test_the_account_of_this_host_is_not_sent_to_another() -> None:
    program = given(made(ssh(), PATH="/x", HOME="/root", LC_ALL="C", PYFLOW_OUTPUT="/o", PARAM_X="1", A="2"))["program"]
    sent = {line.split()[1] for line in program.splitlines() if line.startswith("export ")}
    assert sent == {"SHLVL=1", "PARAM_X=1", "A=2"}


def test_an_environment_meant_for_the_other_host_is_sent_but_for_files_of_this() -> None:
    command = process.command(ssh(), "t", {}, PYTHON, remote_env={"PATH": "/x", "PYFLOW_SCRATCH": "/s"})
    assert "export PATH=/x\n" in given(command)["program"]
    assert "PYFLOW_SCRATCH" not in given(command)["program"]


@pytest.mark.parametrize("name", ["UID", "a-b", "1a", "a b", "x;id"])
def test_a_variable_that_a_shell_would_choke_on_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="rename it"):
        made(ssh(), **{name: "1"})
