"""`python`, `file` and `ssh` in a definition: what becomes of them, and what is said of what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from pyflowd.language import definition_process, document_yaml, fields
from pyflowd.language.definition_process import (
    OPERATIONS,
    build_file,
    build_python,
    build_ssh,
    read_file,
    read_python,
    read_ssh,
)
from pyflowd.language.fields import Reader, Report, Wrong
from pyflowd.model.kinds import File, Python, Ssh
from pyflowd.task import files


def read_value(reader: Reader, text: str) -> tuple[Any, list[str]]:
    """What a reader makes of a value, and what it reports."""
    document = document_yaml.parse_yaml(text.encode())
    report = Report("w.yaml", document)
    try:
        value = reader(document.root, report)
    except Wrong as wrong:
        return None, [f"{wrong.message} ({wrong.fix})"]
    return value, [f"{problem.message} ({problem.fix})" for problem in report.problems]


def file(text: str, **task: Any) -> File:
    value, problems = read_value(read_file, text)
    assert not problems
    return build_file(value, task)


def ssh(text: str, **task: Any) -> Ssh:
    value, problems = read_value(read_ssh, text)
    assert not problems
    return build_ssh(value, task)


def refused(reader: Reader, text: str) -> str:
    (problem,) = read_value(reader, text)[1]
    return problem


def test_a_function_takes_its_arguments_and_interpreter_from_the_task() -> None:
    task = {"with": {"x": 1}, "interpreter": "/v/bin/python", "timeout_s": 1.0}
    kind = build_python("a.b:C.f", task)
    assert kind == Python(function="a.b:C.f", arguments={"x": 1}, interpreter="/v/bin/python")
    assert task == {"timeout_s": 1.0}


@pytest.mark.parametrize("text", ["module", "../a:main", "'a:'", "':f'", "print(1)", "a:f()", "a b:c", "'-m x:y'"])
def test_what_is_no_module_and_function_is_refused(text: str) -> None:
    assert "checks.backup:main" in refused(read_python, text)


def test_an_expression_may_not_say_what_function_is_called() -> None:
    assert "under with" in refused(read_python, '"m:${{ params.f }}"')


@pytest.mark.parametrize(
    ("text", "operation", "arguments"),
    [
        ("{copy: /a/*.csv, to: /b/}", "copy", {"copy": "/a/*.csv", "to": "/b/", "glob": True}),
        ("{move: [/a, /b], to: /c/}", "move", {"move": ["/a", "/b"], "to": "/c/", "glob": False}),
        ("{write: x, text: hi, mode: '0640'}", "write", {"write": "x", "text": "hi", "mode": "0640"}),
        ("{write: x, text: 3}", "write", {"write": "x", "text": "3"}),
        ("{write: x, json: [1]}", "write", {"write": "x", "json": [1]}),
        ("{delete: /t, older_than: 7d}", "delete", {"delete": "/t", "older_than": 604800.0, "glob": False}),
        ("{template: a, to: b, values: {x: 1}}", "template", {"template": "a", "to": "b", "values": {"x": 1}}),
        ("{extract: a.tgz, to: b, max_bytes: 1KiB}", "extract", {"extract": "a.tgz", "to": "b", "max_bytes": 1024}),
        ("{wait_for: /x, every: 2s}", "wait_for", {"wait_for": "/x", "every": 2.0, "glob": False}),
    ],
)
def test_an_operation_is_found_by_its_key(text: str, operation: str, arguments: dict[str, Any]) -> None:
    assert file(text) == File(operation=operation, arguments=arguments)


def test_only_a_pattern_that_the_definition_writes_is_one() -> None:
    assert file('{delete: "/data/${{ params.x[0] }}"}').arguments["glob"] is False
    assert file('{delete: "/data/${{ params.x }}/*.tmp"}').arguments["glob"] is True
    assert file('{delete: "/data/${{ params.x }}", glob: true}').arguments["glob"] is True


def test_waiting_in_vain_may_skip_the_task() -> None:
    task: dict[str, Any] = {"skip_codes": (3,)}
    value, _ = read_value(read_file, "{wait_for: /x, timeout: 1m, on_timeout: skip}")
    assert build_file(value, task).arguments == {"wait_for": "/x", "timeout": 60.0, "glob": False}
    assert task["skip_codes"] == (3, files.NOT_IN_TIME)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/a", "expected a mapping"),
        ("{to: /b}", "there is no operation"),
        ("{cp: /a, to: /b}", 'did you mean "copy"'),
        ("{copy: /a, move: /b, to: /c}", "both copy and move"),
        ("{copy: /a}", "copy has no to"),
        ("{copy: /a, dest: /b, to: /c}", 'did you mean "to"'),
        ("{copy: [], to: /b}", "the list is empty"),
        ("{copy: '', to: /b}", "the path is empty"),
        ("{write: x}", "one of text and json"),
        ("{write: x, text: a, json: b}", "one of text and json"),
        ("{write: x, text: [a]}", "put it under json"),
        ("{write: x, text: a, mode: 640}", 'put it in quotes: "0640"'),
        ("{write: x, text: a, mode: 'u+x'}", "is no mode"),
        ("{archive: x, to: y.rar}", "no known ending"),
        ("{checksum: x, algorithm: crc}", "expected one of sha256"),
        ("{wait_for: x, on_timeout: skip}", "on_timeout without timeout"),
        ("{wait_for: x, every: 5}", "has no unit"),
        ("{delete: x, recursive: yes}", "expected true or false"),
    ],
)
def test_what_is_wrong_with_an_operation_is_said(text: str, message: str) -> None:
    assert message in refused(read_file, text)


def test_the_program_knows_every_operation() -> None:
    for operation in OPERATIONS:
        assert callable(files.find(operation))


def test_both_sides_agree_on_the_status_of_waiting_in_vain() -> None:
    assert definition_process.NOT_IN_TIME == files.NOT_IN_TIME


def test_ssh_says_where_and_what() -> None:
    text = "{host: web1, user: deploy, port: 22, identity: ~/.ssh/id, options: {ConnectTimeout: 3}, run: ./x}"
    kind = ssh(text, shell=("sh", "-c"))
    assert kind == Ssh(
        host="web1", user="deploy", port=22, identity="~/.ssh/id", options={"ConnectTimeout": "3"}, script="./x",
        shell=("sh", "-c"),
    )  # fmt: skip


def test_host_and_user_may_be_expressions() -> None:
    assert ssh('{host: "${{ item }}", user: "${{ params.u }}", run: x}').host == "${{ item }}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{run: x}", "there is no host"),
        ("{host: h}", "there is no run"),
        ("{host: h, script: x}", 'did you mean "run"'),
        ("{host: '-oX=1', run: x}", "is no name or address"),
        ("{host: h, user: 'a b', run: x}", "is no name of a user"),
        ("{host: h, identity: key, run: x}", "no absolute path of a key"),
        ("{host: h, port: 0, run: x}", "not from 1 to 65535"),
        ('{host: h, run: "echo ${{ params.x }}"}', "$PARAM_X"),
        ("{host: h, options: {StrictHostKeyChecking: 'no'}, run: x}", "anybody who answers"),
        ("{host: h, options: {StrictHostKeyChecking: false}, run: x}", "anybody who answers"),
        ("{host: h, options: {BatchMode: 'no'}, run: x}", "PyFlow sets this itself"),
        ("{host: h, options: {RemoteCommand: id}, run: x}", "run says what is run"),
        ("{host: h, options: {User: id}, run: x}", "write it as user"),
        ("{host: h, options: {'a b': c}, run: x}", "no name of an option"),
        ('{host: h, options: {ProxyCommand: "${{ params.x }}"}, run: x}', "expression"),
        ('{host: h, options: {ProxyCommand: "a\\nb"}, run: x}', "control character"),
    ],
)
def test_what_is_wrong_with_ssh_is_said(text: str, message: str) -> None:
    assert message in refused(read_ssh, text)


def test_every_argument_of_an_operation_is_called_as_its_key() -> None:
    for table in OPERATIONS.values():
        assert isinstance(table, fields.Table)
        assert all(key == field for key, (field, _) in table.keys.items())
