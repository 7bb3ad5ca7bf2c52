"""Plugins as a user has them: run by a daemon, described to lint and `kinds`, unable to harm but their own task."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

import psutil
import pytest

from pyflowd.language.plugins import Plugin
from pyflowd.plugins import plugin_survey
from pyflowd.plugins.plugin_survey import Found, Source
from tests.daemon.instance import REPOSITORY, Instance
from tests.waiting import wait_until

GREET = '''
"""Greet somebody.

At length.
"""
from __future__ import annotations
from typing import Annotated, Literal

class Inputs:
    name: Annotated[str, "who is greeted"]
    times: int = 1
    tone: Literal["soft", "loud"] = "soft"

class Outputs:
    text: str
    attempt: int

def run(inputs, context):
    context.log(f"{context.workflow} greets {inputs.name}")
    return {"text": f"hello {inputs.name}, " * inputs.times, "attempt": context.attempt}
'''
LEAK = """
import resource
def run(i, c):
    resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
    x = b""
    while True:
        x += bytes(1 << 24)
"""
SQL = """
tasks:
  make:
    uses: sql
    with:
      connect: {database: "${{ run.scratch }}/a.db"}
      script: create table t (n integer); insert into t values (1), (2);
  read:
    needs: make
    uses: sql
    with: {connect: {database: "${{ run.scratch }}/a.db"}, query: select n from t where n > ?, params: ["${{ 1 }}"]}
"""
ANY = "class Inputs:\n    a: object = None\n"


def write(root: Path, name: str, text: str) -> None:
    (root / "plugins").mkdir(exist_ok=True)
    (root / "plugins" / f"{name}.py").write_text(textwrap.dedent(text))


def carry_out(daemon: Instance, name: str, code: str, task: str = "") -> Any:
    """The ended task of a run of a plugin with this `run`; and whatever it was, the daemon answers."""
    write(daemon.root, name, ANY + code)
    daemon.ctl("reload")
    daemon.install(f"{name}.yaml", f"tasks:\n  a: {{uses: {name}{task}}}\n")
    ended = daemon.wait_run(daemon.run(name))
    assert daemon.ctl("status").returncode == 0
    return ended["tasks"]["a"]


# ---- A good one -----------------------------------------------------------------------------------------------------


def test_a_task_gives_on_what_its_plugin_returns(daemon: Instance) -> None:
    write(daemon.root, "greet", GREET)
    daemon.ctl("reload")
    daemon.install("a.yaml", "tasks:\n  a: {uses: greet, with: {name: '${{ run.workflow }}', times: '${{ 1 + 1 }}'}}\n")
    run = daemon.run("a")
    assert daemon.wait_run(run)["tasks"]["a"]["outputs"] == {"text": "hello a, hello a, ", "attempt": 1}
    assert daemon.ctl("logs", run, "--raw").stdout == "a greets a\n"


def test_an_edit_of_a_plugin_counts_from_the_next_task_on(daemon: Instance) -> None:
    carry_out(daemon, "edited", "def run(inputs, context): return {'n': 1}\n")
    write(daemon.root, "edited", ANY + "def run(inputs, context): return {'n': 2}\n")
    assert daemon.wait_run(daemon.run("edited"))["tasks"]["a"]["outputs"] == {"n": 2}


def test_a_plugin_imports_what_lies_beside_it_and_nothing_of_pyflow_or_of_the_tasks_path(daemon: Instance) -> None:
    write(daemon.root, "_shared", "VALUE = 7\n")
    (daemon.root / "elsewhere").mkdir()
    (daemon.root / "elsewhere" / "smuggled.py").write_text("")
    code = """
        import importlib.util, sys, _shared
        def run(inputs, context):
            here = [folder for folder in sys.path if folder.endswith("pyflowd/task")]
            return {"n": _shared.VALUE, "here": here, "smuggled": bool(importlib.util.find_spec("smuggled"))}
    """
    found = carry_out(daemon, "imports", textwrap.dedent(code), f", env: {{PYTHONPATH: {daemon.root}/elsewhere}}")
    assert found["outputs"] == {"n": 7, "here": [], "smuggled": False}


# ---- Bad ones harm their own task only ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code", "exit_code", "error"),
    [
        ("raises", "def run(i, c):\n    raise ValueError('no\\nway')\n", 1, "ValueError: no way"),
        ("stops", "def run(i, c):\n    raise SystemExit('there is no such host')\n", 1, "there is no such host"),
        ("exits", "import os\ndef run(i, c):\n    os._exit(7)\n", 7, ""),
        ("returns", "def run(i, c): return [1]\n", 1, "plugin returns: run returned an array: return a dict"),
        ("bytes", "def run(i, c): return {'x': b'y'}\n", 1, "x is a bytes, which JSON does not have"),
        ("huge", "def run(i, c): return {'x': 'y' * 2_000_000}\n", 1, "the outputs would take 2000010 bytes"),
        ("lies", "class Outputs:\n    n: int\ndef run(i, c): return {'m': 1}\n", 1, "m is no output of it; n is"),
        ("leaves", "import sys\nclass Outputs:\n    n: int\ndef run(i, c): sys.exit(0)\n", 1, "n is missing"),
        ("leaks", LEAK, 1, "MemoryError"),
    ],
)  # fmt: skip
def test_a_plugin_that_goes_wrong_is_a_failed_task(
    shared_daemon: Instance, name: str, code: str, exit_code: int, error: str
) -> None:
    found = carry_out(shared_daemon, name, code)
    assert (found["state"], found["exit_code"]) == ("failed", exit_code)
    assert error in (found["error"] or "")


def test_a_plugin_that_hangs_is_timed_out(shared_daemon: Instance) -> None:
    found = carry_out(shared_daemon, "hangs", "import time\ndef run(i, c):\n    time.sleep(600)\n", ", timeout: 300ms")
    assert (found["state"], found["reason"]) == ("failed", "timeout")


def test_a_plugin_that_is_stopped_cleans_up(shared_daemon: Instance, tmp_path: Path) -> None:
    code = f"""
        import time
        def run(inputs, context):
            open({str(tmp_path / "begun")!r}, "w").close()
            try:
                time.sleep(600)
            finally:
                open({str(tmp_path / "cleaned")!r}, "w").write(str(context.cancelled))
    """
    write(shared_daemon.root, "tidy", textwrap.dedent(code))
    shared_daemon.ctl("reload")
    shared_daemon.install("tidy.yaml", "tasks: {a: {uses: tidy}}\n")
    run = shared_daemon.run("tidy")
    wait_until((tmp_path / "begun").exists, "it is at work")
    shared_daemon.ctl("cancel", run)
    assert shared_daemon.wait_run(run)["state"] == "cancelled"
    assert (tmp_path / "cleaned").read_text() == "True"


def test_what_a_plugin_prints_is_its_log_whatever_it_is(shared_daemon: Instance) -> None:
    code = "import os\ndef run(i, c):\n    os.write(1, b'\\xff\\x00{')\n    return {'n': 1}\n"
    assert carry_out(shared_daemon, "binary", code)["outputs"] == {"n": 1}


def test_children_that_a_plugin_leaves_end_with_it(shared_daemon: Instance, tmp_path: Path) -> None:
    code = f"""
        import os, subprocess
        def run(inputs, context):
            child = subprocess.Popen(["sleep", "600"], start_new_session=True)
            open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
            os._exit(0)
    """
    write(shared_daemon.root, "forks", textwrap.dedent(code))
    shared_daemon.ctl("reload")
    shared_daemon.install("forks.yaml", "tasks: {a: {uses: forks}}\n")
    assert shared_daemon.wait_run(shared_daemon.run("forks"))["state"] == "succeeded"
    child = int((tmp_path / "pid").read_text())
    wait_until(lambda: not psutil.pid_exists(child), "its child is ended")


def test_inputs_that_an_expression_makes_are_checked_in_the_task(shared_daemon: Instance) -> None:
    write(shared_daemon.root, "greet", GREET)
    shared_daemon.ctl("reload")
    shared_daemon.install(
        "late.yaml", "tasks:\n  a: {uses: greet, with: {name: '${{ 3 }}', times: '${{ run.workflow }}'}}\n"
    )
    found = shared_daemon.wait_run(shared_daemon.run("late"))["tasks"]["a"]
    assert found["exit_code"] == 2
    assert found["error"] == (
        'plugin greet: name: expected string, found the number 3; times: expected integer, found the text "late"; '
        "see: pyflowctl kinds greet"
    )


# ---- What the daemon knows ------------------------------------------------------------------------------------------


def test_a_definition_comes_into_force_when_its_plugin_comes(daemon: Instance) -> None:
    daemon.write("a.yaml", "tasks:\n  a: {uses: greet, with: {name: x}}\n")
    refused = daemon.ctl("reload")
    assert refused.returncode == 6
    assert 'there is no plugin "greet"' in refused.stdout
    write(daemon.root, "greet", GREET)
    assert daemon.ctl("reload").returncode == 0
    assert daemon.wait_run(daemon.run("a"))["state"] == "succeeded"


def test_a_definition_that_fits_its_plugin_no_longer_stays_in_force_and_is_told(daemon: Instance) -> None:
    write(daemon.root, "greet", GREET)
    daemon.ctl("reload")
    daemon.install("a.yaml", "tasks:\n  a: {uses: greet, with: {name: x}}\n")
    write(daemon.root, "greet", GREET.replace("name: Annotated", "who: Annotated"))
    told = daemon.ctl("reload").stdout
    assert 'the plugin greet has no input "name"' in told
    assert [each["state"] for each in daemon.json("list")] == ["stale"]


def test_inputs_are_checked_after_a_restart(daemon: Instance) -> None:
    daemon.install("a.yaml", "tasks: {a: {run: 'true'}}\n")
    write(daemon.root, "greet", GREET)
    daemon.ctl("reload")
    daemon.stop()
    daemon.write("b.yaml", "tasks:\n  a: {uses: greet, with: {name: 3}}\n")
    daemon.start()
    wait_until(lambda: "expected string" in daemon.ctl("list").stdout, "the bad input is told")


def test_the_plugin_that_is_the_example_works_as_a_file(daemon: Instance) -> None:
    write(daemon.root, "sql", (REPOSITORY / "examples" / "pyflow-sql" / "pyflow_sql.py").read_text())
    daemon.ctl("reload")
    daemon.install("a.yaml", SQL)
    tasks = daemon.wait_run(daemon.run("a"))["tasks"]
    assert tasks["read"]["outputs"] == {"rows": [{"n": 2}], "columns": ["n"], "count": 1}


# ---- Describing hostile ones ----------------------------------------------------------------------------------------


def described(folder: Path, name: str, code: str) -> str:
    """Why a plugin cannot be used."""
    write(folder, name, code)
    (source,) = [each for each in plugin_survey.files(str(folder / "plugins")) if each.name == name]
    return plugin_survey.ask(source, str(folder / "plugins"), {"run"}).error


@pytest.mark.parametrize(
    ("name", "code", "error"),
    [
        ("raises", "raise ValueError('no\\nway')", "it cannot be imported: ValueError: no way (raises.py, line 1)"),
        ("wrong", "def x(:", "SyntaxError"),
        ("exits", "import os; os._exit(3)", "it ended the process that imported it (exit status 3)"),
        ("leaves", "exit(0)", "it cannot be imported: SystemExit: 0"),
        ("dies", "import os; os.kill(os.getpid(), 9)", "(signal SIGKILL)"),
        ("dies_oddly", "import os; os.kill(os.getpid(), 40)", "(signal 40)"),
        ("eats", "x = [0] * (1 << 40)", "MemoryError"),
        ("empty", "", "there is no function run(inputs, context)"),
        ("untyped", "class Inputs:\n    x: set = 1\ndef run(i, c): pass", "the type set has no form"),
        ("long", "DESCRIPTION = 3\ndef run(i, c): pass", "DESCRIPTION and EXAMPLE are texts"),
        ("run", "def run(i, c): pass", "run is a kind that is built in"),
        ("a b", "def run(i, c): pass", "its name may have letters"),
    ],
)
def test_a_plugin_that_cannot_be_described_has_a_reason(tmp_path: Path, name: str, code: str, error: str) -> None:
    assert error in described(tmp_path, name, code)


def test_a_plugin_that_hangs_while_it_is_imported_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_survey, "TIMEOUT_S", 0.5)
    code = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    assert described(tmp_path, "hangs", code) == "it takes more than 0.5 s to be imported"
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_what_a_plugin_prints_and_leaves_behind_spoils_nothing(tmp_path: Path) -> None:
    code = """
        import os, sys, threading, time
        print('{"error": "printed"}', flush=True)
        os.write(1, b"\\xff{")
        threading.Thread(target=time.sleep, args=(600,)).start()
        if not os.fork():
            time.sleep(600)
        def run(inputs, context): pass
    """
    assert described(tmp_path, "odd", code) == ""


def test_a_child_that_goes_on_as_if_it_were_the_plugin_says_nothing(tmp_path: Path) -> None:
    code = "import os\nchild = os.fork()\nif child: os.waitpid(child, 0)\ndef run(inputs, context): pass\n"
    assert described(tmp_path, "two", code) == ""


def test_only_what_has_changed_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a", "def run(i, c): pass\n")
    write(tmp_path, "b", "def run(i, c): pass\n")
    folder = str(tmp_path / "plugins")
    before: dict[str, Found] = plugin_survey.survey(folder)
    write(tmp_path, "b", "def run(inputs, context): pass\n")
    asked: list[str] = []

    def ask(source: Source, *_: object) -> Plugin:
        asked.append(source.name)
        return before["a"].plugin

    monkeypatch.setattr(plugin_survey, "ask", ask)
    plugin_survey.survey(folder, (), before)
    assert asked == ["b"]


def test_files_that_are_no_plugins_are_left_alone(tmp_path: Path) -> None:
    for name in ("_shared", ".hidden"):
        write(tmp_path, name, "raise SystemExit\n")
    (tmp_path / "plugins" / "notes.txt").write_text("")
    (tmp_path / "plugins" / "folder.py").mkdir()
    os.symlink("/nowhere", tmp_path / "plugins" / "dangling.py")
    found = plugin_survey.files(str(tmp_path / "plugins"))
    assert {each.name: bool(each.error) for each in found} == {"folder": True, "dangling": True}


def test_a_folder_that_is_not_there_has_no_plugins(tmp_path: Path) -> None:
    assert plugin_survey.files(str(tmp_path / "plugins")) == []


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with the entry points `packaged` and `missing`, found by those who can import it."""
    folder = tmp_path / "site"
    about = folder / "greetings-1.2.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: greetings\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text("[pyflow.tasks]\npackaged = greetings\nmissing = no_such_module\n")
    (folder / "greetings.py").write_text(GREET)
    monkeypatch.syspath_prepend(folder)
    return folder


def test_a_plugin_of_an_installed_package_is_found_by_its_entry_point(package: Path, tmp_path: Path) -> None:
    found = plugin_survey.known(plugin_survey.survey(str(tmp_path / "plugins")))
    assert (found["packaged"].origin, found["packaged"].summary) == ("greetings 1.2", "Greet somebody.")
    assert "No module named 'no_such_module'" in found["missing"].error


def test_a_file_comes_before_a_package_of_the_same_name(package: Path, tmp_path: Path) -> None:
    write(tmp_path, "packaged", '"""Mine."""\ndef run(i, c): pass\n')
    assert plugin_survey.known(plugin_survey.survey(str(tmp_path / "plugins")))["packaged"].summary == "Mine."


def test_a_daemon_runs_a_plugin_of_a_package(package: Path, instance: Instance) -> None:
    instance.start(PYTHONPATH=f"{REPOSITORY}:{package}")
    instance.install("a.yaml", "tasks:\n  a: {uses: packaged, with: {name: x}}\n")
    assert instance.wait_run(instance.run("a"))["tasks"]["a"]["outputs"]["text"] == "hello x, "


# ---- The client -----------------------------------------------------------------------------------------------------


def test_kinds_and_lint_need_no_daemon(instance: Instance) -> None:
    write(instance.root, "greet", GREET)
    write(instance.root, "broken", "import no_such_module\n")
    listed = {each["name"]: each for each in instance.json("kinds")}
    assert (listed["greet"]["summary"], listed["http"]["built_in"]) == ("Greet somebody.", True)
    assert "No module named 'no_such_module'" in listed["broken"]["error"]
    assert "  name   string" in instance.ctl("kinds", "greet").stdout
    file = instance.write("a.yaml", "tasks:\n  a: {uses: greet, with: {nam: x}}\n")
    done = instance.ctl("lint", file)
    assert done.returncode == 1
    assert 'has no input "nam" (did you mean "name"?)' in done.stdout


@pytest.mark.parametrize(
    ("name", "status", "said"), [("greeet", 3, '(did you mean "greet"?)'), ("broken", 6, "broken.py")]
)
def test_a_kind_that_is_not_there_or_broken_is_an_error(instance: Instance, name: str, status: int, said: str) -> None:
    write(instance.root, "greet", GREET)
    write(instance.root, "broken", "import no_such_module\n")
    done = instance.ctl("kinds", name)
    assert (done.returncode, said in done.stderr, done.stdout) == (status, True, "")


def test_an_example_of_a_plugin_that_does_not_fit_its_inputs_is_told(instance: Instance) -> None:
    example = "uses: greet\\nwith: {nam: '${{ tasks.x.outputs.y }}'}"
    write(instance.root, "greet", GREET + f'\nEXAMPLE = "{example}"\n')
    shown = instance.ctl("kinds", "greet").stdout
    assert '! it would be refused: with: the plugin greet has no input "nam" (did you mean "name"?)' in shown
    write(instance.root, "greet", GREET + f'\nEXAMPLE = "{example.replace("nam:", "name:")}"\n')
    assert "refused" not in instance.ctl("kinds", "greet").stdout


# ---- pyflow-plugin(7) -----------------------------------------------------------------------------------------------


def test_the_first_plugin_of_the_manual_is_one(tmp_path: Path) -> None:
    page = (REPOSITORY / "man" / "pyflow-plugin.7").read_text().replace(r"\-", "-")
    code = page.split(".SH A FIRST PLUGIN")[1].split(".EX\n")[1].split(".EE\n")[0]
    write(tmp_path, "weather", code)
    (source,) = plugin_survey.files(str(tmp_path / "plugins"))
    found = plugin_survey.ask(source, str(tmp_path / "plugins"))
    assert (found.error, found.summary) == ("", "Tell the weather of a city.")
    assert [(each.name, each.type, each.required, each.secret) for each in found.inputs] == [
        ("city", "string", True, False),
        ("days", "integer", False, False),
        ("unit", '"C" | "F"', False, False),
        ("token", "string | null", False, True),
    ]


@pytest.mark.parametrize(
    ("file", "text", "asked"),
    [
        ("x-1.dist-info/entry_points.txt", "[console_scripts]\nx = x:main\n", False),
        ("x-1.dist-info/METADATA", "pyflow.tasks\n", False),
        ("x.egg-info", "pyflow.tasks\n", False),
        ("x-1.dist-info/entry_points.txt", "[pyflow.tasks]\nx = x\n", True),
        ("x.egg-info/entry_points.txt", "[ pyflow.tasks ]\nx = x\n", True),
        ("x.egg/EGG-INFO/entry_points.txt", "[pyflow.tasks]\nx = x\n", True),
    ],
)
def test_packages_without_plugins_cost_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, asked: bool
) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    (tmp_path / "file.zip").write_text("")
    monkeypatch.setattr(plugin_survey.sys, "path", [str(tmp_path), "/nowhere"])
    processes: list[object] = []
    monkeypatch.setattr(plugin_survey, "_answer", lambda words: processes.append(words) or b"{}")
    assert plugin_survey.packages() == []
    assert bool(processes) is asked


def test_a_path_that_is_no_folder_is_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site.zip").write_text("")
    monkeypatch.setattr(plugin_survey.sys, "path", [str(tmp_path / "site.zip")])
    monkeypatch.setattr(plugin_survey, "_answer", lambda _: b'{"x": ["x", "p", "1"]}')
    assert [source.name for source in plugin_survey.packages()] in (["x"], ["packages"])
