"""As whom tasks run, and whose definitions are believed: a whole instance of root's that goes by owners."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.instance import Instance
from tests.daemon.keeper_host import ENTRY
from tests.waiting import wait_until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others")
NOBODY, DAEMON, NAMELESS = 65534, 1, 54321
WHO = "tasks: {t: {argv: [id, -un]}}\n"


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    made = Instance(tmp_path / "root")
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def owned(instance: Instance) -> Iterator[Instance]:
    """It has a keeper with settings, as the system's."""
    instance.settings(default_user="daemon")
    root = instance.root
    (root / "keeper.yaml").write_text(
        f"users: [daemon, nobody]\nroot: true\nworkflows: {root}/workflows\nvendor: {root}/vendor/workflows\n"
    )
    arguments = ["--run-dir", root / "run", "--root", root, "--settings", root / "keeper.yaml"]
    with instance.log.open("ab") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", ENTRY, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    instance.start()
    try:
        yield instance
    finally:
        instance.end()
        keeper.wait()


def install(instance: Instance, name: str, text: str, owner: int = 0, mode: int = 0o644) -> None:
    """As `install -o OWNER -m MODE` does, and wait until it has been read."""
    put(instance, name, text, owner, mode)
    instance.ctl("reload")
    wait_until(lambda: [each for each in instance.json("list") if each["file"] == name], f"{name} is read")


def put(instance: Instance, name: str, text: str, owner: int = 0, mode: int = 0o644) -> Path:
    beside = instance.root / f"{name}.new"
    beside.write_text(text)
    beside.chmod(mode)
    os.chown(beside, owner, -1)
    target = instance.root / "workflows" / name
    target.parent.mkdir(exist_ok=True)
    beside.rename(target)
    return target


def said(instance: Instance, workflow: str, *words: str) -> str:
    run = instance.run(workflow, *words)
    found = instance.wait_run(run)
    assert found["state"] == "succeeded", found
    return instance.ctl("logs", run, "--raw").stdout.strip()


def failure(instance: Instance, workflow: str) -> str:
    found = instance.wait_run(instance.run(workflow))
    assert found["state"] == "failed"
    task = next(iter(found["tasks"].values()))
    assert task["reason"] == "start_failed"
    return str(task["error"])


def problem(instance: Instance, file: str) -> str:
    for each in instance.json("list"):
        if each["file"] == file and each["problems"]:
            found = each["problems"][0]
            return f"{found['line']}: {found['message']} ({found['fix']})"
    return ""


# ---- As whom --------------------------------------------------------------------------------------------------------


@as_root
def test_a_task_runs_as_the_owner_of_its_file_and_of_roots_as_the_default_user(owned: Instance) -> None:
    install(owned, "of-root.yaml", WHO)
    install(owned, "of-nobody.yaml", WHO, NOBODY)
    install(owned, "of-daemon.yaml", "user: daemon\n" + WHO, DAEMON)
    install(owned, "named.yaml", "user: nobody\n" + WHO)
    install(owned, "root.yaml", "user: root\n" + WHO)
    whom = {name: said(owned, name) for name in ("of-root", "of-nobody", "of-daemon", "named", "root")}
    assert whom == {
        "of-root": "daemon", "of-nobody": "nobody", "of-daemon": "daemon", "named": "nobody", "root": "root",
    }  # fmt: skip


@as_root
def test_what_is_told_of_a_task_says_as_whom_it_runs(owned: Instance) -> None:
    install(owned, "two.yaml", "tasks: {a: {run: id}, b: {run: id, user: root}, c: {approval: sure}}\n", 0)
    install(owned, "of-nobody.yaml", WHO, NOBODY)
    run = owned.run("of-nobody")
    assert owned.wait_run(run)["tasks"]["t"]["user"] == "nobody"
    shown = owned.json("run", "two", "--dry-run")
    assert {task["task"]: task["user"] for task in shown["tasks"]} == {"a": "daemon", "b": "root", "c": None}
    assert "its tasks run as nobody" in owned.ctl("show", "of-nobody").stdout
    assert owned.json("show", "two")["users"] == ["daemon", "root"]
    assert "it runs as nobody" in owned.ctl("explain", run, "t").stdout


@as_root
def test_a_user_that_cannot_be_found_or_is_not_listed_is_an_error_and_nothing_else(owned: Instance) -> None:
    for name in ("0day", "nosuch", "0", "1"):
        install(owned, f"u{name}.yaml", f"user: '{name}'\n{WHO}")
        assert failure(owned, f"u{name}").endswith(
            f"keeper.yaml does not list the user {name}: add it to users there, then: systemctl reload pyflow-keeper"
        )
    install(owned, "nameless.yaml", WHO, NAMELESS)
    assert f"belongs to uid {NAMELESS}, which no user of this host has" in failure(owned, "nameless")
    (owned.root / "keeper.yaml").write_text('users: "*"\n')
    owned.keeper().send_signal(1)
    install(owned, "later.yaml", "user: nosuch\n" + WHO)
    assert "no user nosuch on this host" in failure(owned, "later")


@as_root
def test_a_run_keeps_to_the_owner_with_whom_it_began(owned: Instance) -> None:
    install(owned, "w.yaml", WHO, NOBODY)
    run = owned.run("w")
    assert owned.wait_run(run)["state"] == "succeeded"
    before = owned.json("show", "w")["digest"]
    path = owned.root / "workflows" / "w.yaml"
    os.chown(path, DAEMON, -1)
    wait_until(lambda: owned.json("show", "w")["digest"] != before, "the same text of another owner is in force")
    assert [each["what"] for each in owned.json("history", "--definition", "w")] == ["owner_changed", "added"]
    assert said(owned, "w") == "daemon"
    owned.kill()
    owned.start()
    assert said(owned, "w") == "daemon"
    again = owned.json("rerun", run)["run"]
    assert owned.wait_run(again)["tasks"]["t"]["user"] == "nobody"
    assert owned.ctl("logs", again, "--raw").stdout.strip() == "nobody"
    latest = owned.json("rerun", run, "--latest")["run"]
    owned.wait_run(latest)
    assert owned.ctl("logs", latest, "--raw").stdout.strip() == "daemon"
    assert owned.json("show", "w")["text"] == WHO


# ---- Whose word -----------------------------------------------------------------------------------------------------


@as_root
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("user: root\n" + WHO, '1: user: only a file of root\'s may name "root"; it belongs to nobody'),
        ("tasks:\n  t:\n    run: id\n    user: daemon\n", '4: user: only a file of root\'s may name "daemon"'),
        ("defaults: {user: root}\n" + WHO, '1: user: only a file of root\'s may name "root"'),
        ("tasks: {t: {run: id}}\nfinally: {e: {run: id, user: root}}\n", "2: user: only a file"),
        ("tasks: {t: {run: id, undo: {run: id, user: root}}}\n", "1: user: only a file"),
        ("env_file: /etc/shadow\n" + WHO, "1: env_file: it would be read with the rights of pyflowd"),
        ("tasks: {t: {run: id, credentials: db}}\n", "it asks for secrets of the host"),
        ("tasks: {t: {run: id, env: {X: '${{ secrets.db }}'}}}\n", "it asks for secrets of the host"),
        ("params: {s: {type: secret}}\n" + WHO, "it asks for secrets of the host"),
        ("gates: {command: [id]}\n" + WHO, "gates: its command would be run as pyflowd"),
        ("tasks: {t: {http: {url: 'http://a/', tls: {ca_file: /etc/x}}}}\n", "http of t would read files"),
    ],
)
def test_what_only_roots_files_may_say_is_refused_in_others(owned: Instance, text: str, wanted: str) -> None:
    install(owned, "w.yaml", text, NOBODY)
    assert wanted in problem(owned, "w.yaml")
    assert "chown root w.yaml" in problem(owned, "w.yaml")


@as_root
def test_a_definition_calls_workflows_of_its_owner_only(owned: Instance) -> None:
    install(owned, "admin.yaml", "user: root\n" + WHO)
    install(owned, "own.yaml", WHO, NOBODY)
    install(owned, "caller.yaml", "tasks: {t: {workflow: admin}}\n", NOBODY)
    install(owned, "good.yaml", "tasks: {t: {workflow: own}}\n", NOBODY)
    found = owned.wait_run(owned.run("caller"))
    assert "admin belongs to somebody else" in found["tasks"]["t"]["error"]
    assert owned.wait_run(owned.run("good"))["state"] == "succeeded"


@as_root
def test_parts_must_belong_to_root_or_to_the_owner_of_the_file(owned: Instance) -> None:
    drop_in = "env: {X: '1'}\n"
    install(owned, "w.yaml", WHO, NOBODY)
    put(owned, "w.yaml.d/10-a.yaml".replace("/", "-"), drop_in, NOBODY)
    folder = owned.root / "workflows" / "w.yaml.d"
    folder.mkdir()
    (owned.root / "workflows" / "w.yaml.d-10-a.yaml").rename(folder / "10-a.yaml")
    owned.ctl("reload")
    wait_until(lambda: "X:" in owned.ctl("show", "w").stdout, "the drop-in applies")
    os.chown(folder / "10-a.yaml", DAEMON, -1)
    owned.ctl("reload")
    wait_until(lambda: "belongs to daemon; only root or nobody may own it" in problem(owned, "w.yaml"), "it is refused")
    os.chown(folder / "10-a.yaml", 0, 0)
    wait_until(lambda: not problem(owned, "w.yaml"), "root's drop-in applies")


@as_root
def test_an_instance_that_does_not_go_by_owners_refuses_files_of_others(instance: Instance) -> None:
    instance.start()
    install(instance, "w.yaml", WHO, NOBODY)
    assert "belongs to nobody; only root may own it (chown root" in problem(instance, "w.yaml")


@pytest.mark.parametrize("mode", [0o664, 0o666])
def test_a_file_of_umask_002_is_refused_with_what_to_do_and_read_once_that_is_done(
    instance: Instance, mode: int
) -> None:
    instance.start()
    install(instance, "w.yaml", WHO, os.geteuid(), mode)
    path = instance.root / "workflows" / "w.yaml"
    assert f"(mode {mode:04o})" in problem(instance, "w.yaml")
    assert f"{path}; umask 022 makes new ones so" in problem(instance, "w.yaml")
    path.chmod(0o644)
    wait_until(lambda: instance.ctl("show", "w").returncode == 0, "it is in force")


def test_what_is_in_force_stays_while_a_folder_can_be_written_by_others_and_new_files_are_not_read(
    instance: Instance,
) -> None:
    instance.start()
    install(instance, "old.yaml", WHO, os.geteuid())
    instance.root.chmod(0o777)
    install(instance, "new.yaml", WHO, os.geteuid())
    assert f"the folder {instance.root} can be written by everybody" in problem(instance, "new.yaml")
    assert f"nothing in it is read: the folder {instance.root}" in instance.ctl("list").stdout
    assert instance.wait_run(instance.run("old"))["state"] == "succeeded"
    instance.root.chmod(0o755)
    instance.ctl("reload")
    wait_until(lambda: instance.ctl("show", "new").returncode == 0, "it is in force")


def test_a_folder_that_was_mended_while_the_daemon_was_away_is_seen(instance: Instance) -> None:
    instance.root.chmod(0o775)
    instance.start()
    install(instance, "w.yaml", WHO, os.geteuid())
    assert problem(instance, "w.yaml")
    instance.stop()
    instance.root.chmod(0o755)
    instance.start()
    wait_until(lambda: instance.ctl("show", "w").returncode == 0, "it is in force")


# ---- Tasks of root's ------------------------------------------------------------------------------------------------


@as_root
def test_all_kinds_of_task_run_as_root_as_they_are_written(owned: Instance) -> None:
    (owned.root / "python").mkdir()
    (owned.root / "python" / "mine.py").write_text("def f(a, n): return {'said': f'{a} {n}'}\n")
    text = """
user: root
params: {who: {default: "it's"}, n: {type: integer, default: 3}}
env: {GREET: "hello ${{ params.who }}", LITERAL: "a$${{b"}
tasks:
  shell: {run: 'test "$GREET" = "hello $PARAM_WHO" && printf "%s\\n" "$LITERAL" && cat', stdin: "for ${{ params.who }}"}
  python: {python: "mine:f", with: {a: "x ${{ params.who }}", n: "${{ params.n }}"}, outputs: {said: string}}
  file: {file: {write: "ROOT/out", text: "y ${{ params.who }}"}}
  each: {for_each: [1, 2], argv: [echo, "no ${{ item }}", "${{ tasks.python.outputs.said }}"], needs: python}
finally: {last: {run: 'id -un'}}
""".replace("ROOT", str(owned.root))
    install(owned, "w.yaml", text)
    found: Any = owned.wait_run(owned.run("w", "-p", "who=a'b; $(id) \\ \""))
    assert found["state"] == "succeeded", found
    assert "a${{b" in owned.ctl("logs", found["run"], "shell", "--raw").stdout
    assert found["tasks"]["python"]["outputs"] == {"said": "x a'b; $(id) \\ \" 3"}
    assert (owned.root / "out").stat().st_uid == 0
    assert (owned.root / "out").read_text() == "y a'b; $(id) \\ \""


@as_root
def test_a_text_that_is_gone_is_not_started_as_root_by_a_new_keeper(owned: Instance) -> None:
    install(owned, "w.yaml", "user: root\n" + WHO)
    run = owned.run("w")
    assert owned.wait_run(run)["state"] == "succeeded"
    install(owned, "w.yaml", "user: root\ndescription: new\n" + WHO)
    again = owned.wait_run(owned.json("rerun", run)["run"])
    assert again["state"] == "succeeded"  # this keeper has seen that it was root's word
    owned.keeper().send_signal(1)
    owned.ctl("reload")
    wait_until(lambda: "upgraded in place" in owned.log_text(), "the keeper is reloaded")
    found = owned.wait_run(owned.json("rerun", run)["run"])
    assert "pyflowctl rerun --latest" in found["tasks"]["t"]["error"]
    latest = owned.wait_run(owned.json("rerun", run, "--latest")["run"])
    assert latest["state"] == "succeeded"
