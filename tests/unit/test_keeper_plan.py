"""A task of root's, as its definition says it, against what a daemon asks: the true one, and one that lies."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pyflowd.base import process
from pyflowd.engine.engine import begin
from pyflowd.events import RunCreated
from pyflowd.keeper import wire
from pyflowd.keeper.plan import Mismatch, fill
from pyflowd.language.assembly import assemble
from pyflowd.language.definition_text import Part
from pyflowd.model.workflow import Workflow
from pyflowd.rootcheck import plans
from pyflowd.runtime import launch
from pyflowd.runtime.context import Facts, TaskNames
from pyflowd.runtime.keeperlink import StartRequest
from pyflowd.store.batch import RunMeta

WORKFLOWS = "/etc/pyflow/workflows"
TEXT = r"""
user: root
params:
  who: {default: me}
  n: {type: integer, default: 5}
env: {GREETING: "hello ${{ params.who }}", FIXED: "1", LITERAL: "a$${{b"}
tasks:
  shell: {run: 'echo "$GREETING"', stdin: "in ${{ params.who }} put"}
  words: {argv: [systemctl, restart, "app@${{ params.who }}", --quiet], cwd: "/srv/${{ params.who }}"}
  python:
    python: "shop.orders:load"
    with: {count: "${{ params.n }}", texts: ["a ${{ params.who }} b", fixed], deep: {x: null}}
  file: {file: {write: "/srv/out", text: "x ${{ params.who }}", mode: "0600"}}
  ssh: {ssh: {host: "${{ params.who }}.example.com", user: deploy, run: "systemctl restart app"}}
"""
VALUES = {"who": "eve'; $(id) \"\n\\", "n": 5}


def workflow_of(text: str) -> Workflow:
    found = assemble(Part(label="w.yaml", data=text.encode()), stem="w")
    assert found.workflow is not None, found.problems
    return found.workflow


@pytest.fixture(scope="module")
def workflow() -> Workflow:
    return workflow_of(TEXT)


def host() -> launch.Host:
    """What the daemon knows of it."""
    found = launch.read_host({"LANG": "de_DE.UTF-8", "TZ": "Europe/Berlin"}, WORKFLOWS, default_user="nobody")
    return msgspec.structs.replace(found, python="/opt/daemon/python", packages=("/opt/daemon/lib",))


def plan_of(workflow: Workflow, task: str) -> dict[str, Any]:
    found = plans.of_root(workflow, plans.host_of(WORKFLOWS), "")[task]
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def asked(workflow: Workflow, name: str, **values: object) -> tuple[wire.Start, bytes | None]:
    """What the daemon asks for."""
    params = {"who": "web1" if name == "ssh" else VALUES["who"], "n": 5, **values}
    meta = RunMeta(run=7, workflow="w", digest="", trigger="manual", params=params)
    run = begin(7, workflow, RunCreated(0))
    task = run.tasks[name]
    names = TaskNames(Facts(meta, run), task)
    common = launch.run_environment(workflow, launch.Binding(run=7, workflow="w", values=params))
    told = launch.Told(output="/state/out", scratch="/state/work")
    request, stdin = launch.request("7/1", task, host(), common, {}, None, 0, names, told)
    return start_of(request), stdin


def start_of(request: StartRequest) -> wire.Start:
    env = [f"{name}={value}".encode() for name, value in request.env.items()]
    start = wire.Start("7/1", [os.fsencode(word) for word in request.argv], env, os.fsencode(request.cwd), "root")
    start.umask = request.umask
    return start


@pytest.mark.parametrize("task", ["shell", "words", "python", "file", "ssh"])
def test_what_the_daemon_asks_of_a_good_definition_is_what_it_says(workflow: Workflow, task: str) -> None:
    start, stdin = asked(workflow, task)
    before = {item.partition(b"=")[0]: item for item in start.env}
    argv = list(start.argv)
    found = fill(plan_of(workflow, task), start, stdin)
    after = {item.partition(b"=")[0]: item for item in start.env}
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} <= {b"PYFLOW_PYTHON"}
    assert after[b"LITERAL"] == b"LITERAL=a${{b"
    own = {b"/opt/daemon/python": os.fsencode(plans.host_of(WORKFLOWS).python)}
    assert start.argv == [own.get(word, word) for word in argv]
    if stdin is None or task == "shell":
        assert found == stdin
    else:
        assert found is not None
        assert json.loads(found) == json.loads(stdin)


Lie = Callable[[wire.Start, Any], Any]


def with_env(item: bytes) -> Lie:
    def lie(start: wire.Start, stdin: Any) -> Any:
        name = item.partition(b"=")[0] + b"="
        start.env = [each for each in start.env if not each.startswith(name)] + [item]
        return stdin

    return lie


def with_argv(index: int, word: bytes) -> Lie:
    def lie(start: wire.Start, stdin: Any) -> Any:
        start.argv[index : index + 1] = [word]
        return stdin

    return lie


def without_env(name: bytes) -> Lie:
    def lie(start: wire.Start, stdin: Any) -> Any:
        start.env = [each for each in start.env if not each.startswith(name + b"=")]
        return stdin

    return lie


def in_json(path: list[Any], value: Any) -> Lie:
    def lie(_: wire.Start, stdin: Any) -> Any:
        request = json.loads(stdin)
        place = request
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value(place[path[-1]]) if callable(value) else value
        return json.dumps(request).encode()

    return lie


def more_argv(start: wire.Start, stdin: Any) -> Any:
    start.argv.append(b"extra")
    return stdin


def other_umask(start: wire.Start, stdin: Any) -> Any:
    start.umask = 0
    return stdin


def other_cwd(start: wire.Start, stdin: Any) -> Any:
    start.cwd = b"/tmp"
    return stdin


def credentials(start: wire.Start, stdin: Any) -> Any:
    start.credentials = (b"key", b"content")
    return stdin


EXPORT = "export SHLVL=1\n"


@pytest.mark.parametrize(
    ("task", "lie"),
    [
        ("shell", with_argv(0, b"/tmp/bash")), ("shell", with_argv(-2, b"id")), ("shell", with_argv(-1, b"other")),
        ("shell", more_argv), ("shell", other_umask), ("shell", other_cwd), ("shell", credentials),
        ("shell", lambda start, stdin: b"out " + stdin), ("shell", lambda start, stdin: None),
        ("words", lambda start, stdin: b"something"),
        ("words", with_argv(0, b"./systemctl")), ("words", with_argv(2, b"other@web1")),
        ("words", with_argv(3, b"--root=/tmp")), ("words", with_argv(1, b"stop")),
        *[
            ("shell", with_env(item))
            for item in (
                b"LD_PRELOAD=/tmp/x.so", b"BASH_ENV=/tmp/x", b"ENV=/tmp/x", b"PYTHONPATH=/tmp", b"IFS=/",
                b"UNDECLARED=1",
                b"BASH_FUNC_echo%%=() { id; }", b"FIXED=2", b"GREETING=bye", b"LANG=../../tmp/x", b"TZ=/tmp/zone",
                b"TZ=../../tmp/zone", b"LC_ALL=/tmp", b"=x", b"SHELLOPTS=xtrace", b"LD_PRELOAD",
                b"CREDENTIALS_DIRECTORY=/x",
            )
        ],
        ("shell", without_env(b"GREETING")),
        ("python", in_json(["function"], "os:system")), ("python", in_json(["path"], ["/tmp"])),
        ("python", in_json(["arguments", "texts"], lambda texts: [*texts, "more"])),
        ("python", in_json(["arguments", "texts", 1], "other")), ("python", in_json(["arguments", "more"], 1)),
        ("python", in_json(["arguments", "deep"], {"x": 0})), ("python", in_json(["more"], 1)),
        ("python", lambda start, stdin: b"\xff"), ("python", lambda start, stdin: b"[" * 100_000),
        ("python", with_argv(3, b"other")),
        ("file", in_json(["operation"], "delete")), ("file", in_json(["arguments", "mode"], "4755")),
        ("file", lambda start, stdin: stdin.replace(b"/srv/out", b"/etc/passwd")),
        ("ssh", in_json(["argv", 0], "/tmp/ssh")),
        ("ssh", in_json(["argv"], lambda argv: ["ssh", "-o", "ProxyCommand=id", *argv[1:]])),
        ("ssh", in_json(["program"], lambda text: text.replace("restart app", "stop app"))),
        ("ssh", in_json(["program"], lambda text: text.replace(EXPORT, EXPORT + "id\n"))),
        ("ssh", in_json(["program"], lambda text: text.replace(EXPORT, EXPORT + "export PARAM_X='a'$(id)\n"))),
        ("ssh", in_json(["program"], lambda text: text.replace(EXPORT, EXPORT + "export PARAM_X=a;id\n"))),
        ("ssh", in_json(["program"], lambda text: text.replace(EXPORT, EXPORT + "export PARAM_X='a' id\n"))),
        ("ssh", in_json(["program"], lambda text: text.replace(EXPORT, EXPORT + "export LD_PRELOAD=/tmp/x\n"))),
        ("ssh", in_json(["program"], lambda text: text.replace(EXPORT, EXPORT + "export PATH=/tmp\n"))),
        ("ssh", in_json(["program"], lambda text: text.replace(EXPORT, EXPORT + "export FIXED=2\n"))),
        ("ssh", in_json(["host"], lambda host: host.replace("example.com", "example.org"))),
    ],
)  # fmt: skip
def test_a_daemon_that_lies_is_refused(workflow: Workflow, task: str, lie: Lie) -> None:
    start, stdin = asked(workflow, task)
    stdin = lie(start, stdin)
    with pytest.raises(Mismatch):
        fill(plan_of(workflow, task), start, stdin)


@pytest.mark.parametrize("name", [b"PATH", b"HOME", b"USER", b"LOGNAME", b"PYFLOW_PYTHON", b"PYFLOW_TASK", b"FIXED"])
def test_what_is_fixed_is_what_the_definition_and_the_host_say_whether_asked_or_not(
    workflow: Workflow, name: bytes
) -> None:
    true, stdin = asked(workflow, "shell")
    fill(plan_of(workflow, "shell"), true, stdin)
    start, stdin = asked(workflow, "shell")
    without_env(name)(start, stdin)
    if name != b"FIXED":
        with_env(name + b"=/tmp/evil")(start, stdin)
    fill(plan_of(workflow, "shell"), start, stdin)
    assert sorted(start.env) == sorted(true.env)
    found = next(item.partition(b"=")[2].decode() for item in start.env if item.startswith(name + b"="))
    root = plans.host_of(WORKFLOWS).named("root")
    assert found == {
        "PATH": f"{root.path}:{process.COMMANDS}", "HOME": root.home, "USER": "root", "LOGNAME": "root",
        "PYFLOW_PYTHON": plans.host_of(WORKFLOWS).python, "PYFLOW_TASK": "shell", "FIXED": "1",
    }[name.decode()]  # fmt: skip


def test_our_own_programs_are_run_from_where_they_are_whatever_is_asked(workflow: Workflow) -> None:
    start, stdin = asked(workflow, "python")
    start.argv[0], start.argv[2] = b"/tmp/python", b"/tmp/main.py"
    fill(plan_of(workflow, "python"), start, stdin)
    assert start.argv[0] == os.fsencode(plans.host_of(WORKFLOWS).python)
    assert start.argv[2] == os.fsencode(process.PROGRAMS)


@pytest.mark.parametrize("text", ["LD_PRELOAD", "PATH", "BASH_ENV", "PYTHONSTARTUP", "IFS"])
def test_a_variable_that_says_what_is_run_may_be_a_constant_and_no_expression(text: str) -> None:
    body = "user: root\nparams: {x: {default: a}}\ntasks: {t: {run: id, env: {%s: %s}}}\n"
    good = plan_of(workflow_of(body % (text, "/opt/x")), "t")
    assert good["env"] == {text: "/opt/x"}
    bad = plan_of(workflow_of(body % (text, '"${{ params.x }}"')), "t")
    assert "no expression may stand in it" in bad["refused"]


def test_only_tasks_that_name_root_have_a_plan() -> None:
    found = workflow_of("tasks: {a: {run: id, user: root}, b: {run: id, user: backup}, c: {run: id}}\n")
    assert plans.of_root(found, plans.host_of(WORKFLOWS), "").keys() == {"a"}


def test_what_cannot_be_checked_is_refused_with_the_reason() -> None:
    env_file = workflow_of("user: root\nenv_file: /etc/x\ntasks: {t: {run: id}}\n")
    assert "env_file is read by the daemon" in plan_of(env_file, "t")["refused"]
    modules = workflow_of('user: root\ntasks: {t: {python: "a:b"}, u: {run: id}}\n')
    found = plans.of_root(modules, plans.host_of(WORKFLOWS), "bad folder")
    assert "bad folder" in found["t"]["refused"]
    assert "argv" in found["u"]


def test_handlers_undoings_and_those_of_an_error_have_plans() -> None:
    text = """
user: root
tasks:
  a: {run: id, undo: {run: back}, on_error: {mend: {run: mend}}}
finally: {last: {run: end}}
"""
    assert plans.of_root(workflow_of(text), plans.host_of(WORKFLOWS), "").keys() == {"a", "a.undo", "mend", "last"}


def test_the_folder_of_the_definition_is_not_needed(tmp_path: Path) -> None:
    assert plans.host_of(str(tmp_path)).python_path == (f"{tmp_path.parent}/python",)
