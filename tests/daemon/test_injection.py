"""Values are never run, expanded or cut off, and never become paths: hostile ones on every way to a shell, and the
naughty strings of the corpus as values and as names. A real daemon.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from pyflowd.errors import PyflowError
from pyflowd.protocol.requests import (
    AnswerApproval,
    CancelRun,
    GetArtifact,
    GetGraph,
    GetLogs,
    GetRun,
    ListArtifacts,
    ListRuns,
    PauseWorkflow,
    Request,
    RerunRun,
    ShowWorkflow,
    StartRun,
)
from tests.corpus import CORPUS, needs_corpus
from tests.daemon.instance import Instance
from tests.daemon.scenario import Scenario

MARKER = "pwned"
"""The file that a hostile value would make in the folder of its task, if it were run."""
HOSTILE = [
    f"; touch {MARKER} ;",
    f"$(touch {MARKER})",
    f"`touch {MARKER}`",
    f"' ; touch {MARKER} ; '",
    f'" ; touch {MARKER} ; "',
    f"one\ntouch {MARKER}\n",
    f"one\nEND\ntouch {MARKER}\n",
    f"*  ? [a-z] ~ $HOME ${{HOME}} \\ | touch {MARKER}",
]

CONTEXTS = """\
{ printf '%s\\n' $V || :; } > "$OUT.unquoted"
printf %s "$V" > "$OUT.double"
printf %s '$V' > "$OUT.single"
cat > "$OUT.here" <<END
$V
END
sh -c 'printf %s "$V"' > "$OUT.inner"
"""
"""The five places in a shell text where a value may stand; OUT is a path without the context."""


def wanted(value: str) -> dict[str, str]:
    """What must arrive in each context; in none is anything run. What is not quoted is cut into words by the shell."""
    return {"double": value, "single": "$V", "here": f"{value}\n", "inner": value}


def workflow() -> dict[str, Any]:
    """Takes one value on every way that there is, and writes down what arrived by each."""

    def task(name: str, value: str | None, **more: Any) -> dict[str, Any]:
        env = {"OUT": f"out/${{{{ params.n }}}}.{name}"}
        text = CONTEXTS if value is not None else more.pop("before") + CONTEXTS
        return {"run": text, "env": env | ({"V": value} if value is not None else {}), **more}

    return {
        "params": {"v": {"type": "string"}, "n": {"type": "integer"}},
        "env": {"FROM_WORKFLOW": "${{ params.v }}"},
        "tasks": {
            "give": {"run": 'pyflow-out set v="$PARAM_V"'},
            "by-param": task("param", None, before='export V="$PARAM_V"\n'),
            "by-env": task("env", None, before='export V="$FROM_WORKFLOW"\n'),
            "by-template": task("template", "${{ params.v + '' }}"),
            "by-output": task("output", "${{ tasks.give.outputs.v }}", needs=["give"]),
            "by-item": task("item", "${{ item }}", for_each=["${{ params.v }}"]),
            "by-key": task(
                "key", None, before='export V="$PYFLOW_ITEM_KEY"\n', for_each=["${{ params.v }}"],
                key="${{ replace(item, '\\n', ' ') }}",
            ),
        },
    }  # fmt: skip


WAYS = ("param", "env", "template", "output", "item", "key")


@pytest.fixture(scope="module")
def arrived(shared_daemon: Instance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which one run has taken all hostile values on all ways."""
    scenario = Scenario(shared_daemon, tmp_path_factory.mktemp("injection"))
    scenario.path("out").mkdir()
    scenario.install("injected", workflow())
    calls = {
        "params": {"values": {"type": "array", "items": "string"}},
        "tasks": {
            "each": {
                "for_each": "${{ params.values }}",
                "workflow": "injected",
                "with": {"v": "${{ item }}", "n": "${{ index }}"},
            }
        },
    }
    run = scenario.run(calls, "-p", f"values={json.dumps(HOSTILE)}")
    assert run["state"] == "succeeded", run["error"]
    return scenario.folder


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_hostile_value_arrives_as_it_is(arrived: Path, way: str, number: int) -> None:
    value = HOSTILE[number].replace("\n", " ") if way == "key" else HOSTILE[number]
    found = {path.suffix[1:]: path.read_text() for path in (arrived / "out").glob(f"{number}.{way}.*")}
    unquoted = found.pop("unquoted")
    assert found == wanted(value)
    assert unquoted


def test_no_hostile_value_is_run(arrived: Path) -> None:
    assert len(list((arrived / "out").iterdir())) == len(HOSTILE) * len(WAYS) * 5
    assert not list(arrived.rglob(MARKER))
    assert not list(Path.home().glob(MARKER))


def test_a_value_pasted_into_shell_text_is_refused_with_the_way_out(scenario: Scenario) -> None:
    """What would be executed in every other engine: rule P1."""
    line = scenario.refused("params: {v: {}}\ntasks: {a: {run: 'echo ${{ params.v }} >> trace'}}")
    assert "$PARAM_V" in line
    assert line.count("\n") == 1


# ---- Naughty strings ------------------------------------------------------------------------------------------------


def naughty() -> list[str]:
    """Those that JSON, and with it the corpus, can hold as text."""
    assert CORPUS is not None
    strings: list[str] = json.loads((CORPUS / "nasty" / "naughty_strings.json").read_text())["strings"]
    return list(dict.fromkeys(strings))


def many_params(strings: list[str]) -> dict[str, Any]:
    return {
        "params": {f"s{n}": {"type": "string"} for n in range(len(strings))},
        "tasks": {"write": {"run": "env -0 > all"}},
    }


def written(folder: Path) -> list[bytes]:
    """The params as the task found them in its environment."""
    pairs = dict(line.split(b"=", 1) for line in (folder / "all").read_bytes().split(b"\0") if line)
    return [pairs[f"PARAM_S{n}".encode()] for n in range(len(pairs)) if f"PARAM_S{n}".encode() in pairs]


@needs_corpus
def test_naughty_strings_on_the_command_line_arrive_byte_for_byte(scenario: Scenario) -> None:
    strings = naughty()
    words = [word for n, text in enumerate(strings) for word in ("-p", f"s{n}={text}")]
    scenario.run(many_params(strings), *words)
    assert written(scenario.folder) == [text.encode() for text in strings]


@needs_corpus
def test_naughty_strings_from_a_program_arrive_byte_for_byte(scenario: Scenario) -> None:
    strings = naughty()
    instance = scenario.instance
    scenario.install("naughty-params", many_params(strings))
    with instance.client() as client:
        run = client.start("naughty-params", params={f"s{n}": text for n, text in enumerate(strings)})
        assert client.wait(run.run).state == "succeeded"
        assert client.run(run.run)[0].params == {f"s{n}": text for n, text in enumerate(strings)}
    assert written(scenario.folder) == [text.encode() for text in strings]


@needs_corpus
def test_naughty_strings_as_items_and_outputs_arrive_byte_for_byte(scenario: Scenario) -> None:
    """Each is an item with its default key, a variable, and an output of a task that is read by another."""
    strings = naughty()
    scenario.path("out").mkdir()
    scenario.path("strings").write_text(json.dumps({f"s{n}": text for n, text in enumerate(strings)}))
    run = scenario.run("""
        max_parallel: 32
        tasks:
          give: {run: pyflow-out json < strings}
          each:
            needs: give
            for_each: ${{ values(tasks.give.outputs) }}
            env: {V: "${{ item }}", N: "${{ index }}"}
            run: printf %s "$V" > out/$N; printf %s "$PYFLOW_ITEM_KEY" > out/$N.key
        outputs: {strings: "${{ values(tasks.give.outputs) }}"}
    """)
    assert run["state"] == "succeeded", run["error"]
    assert run["outputs"] == {"strings": strings}
    found = [scenario.path(f"out/{n}").read_bytes() for n in range(len(strings))]
    assert found == [text.encode() for text in strings]
    keys = [item["key"] for item in run["tasks"]["each"]["items"]]
    assert [scenario.path(f"out/{n}.key").read_text() for n in range(len(strings))] == keys
    assert len(set(keys)) == len(strings)
    assert all(key.isprintable() and key for key in keys)


@needs_corpus
def test_naughty_strings_as_keys_and_names_of_outputs_are_taken_or_refused_in_one_line(scenario: Scenario) -> None:
    strings = naughty()
    scenario.path("names").mkdir()
    for n, text in enumerate(strings):
        scenario.path(f"names/{n}").write_text(json.dumps({text: n}))
    scenario.install("naughty-key", """
        params: {key: {}, n: {}}
        tasks:
          key: {for_each: [0], key: "${{ params.key }}", run: "true"}
          output: {run: cp names/$PARAM_N "$PYFLOW_OUTPUT"}
    """)  # fmt: skip
    run = scenario.run(
        """
        params: {strings: {type: array, items: string}}
        tasks:
          each:
            for_each: ${{ params.strings }}
            key: ${{ index }}
            workflow: naughty-key
            with: {key: "${{ item }}", n: "${{ text(index) }}"}
        """,
        "-p", f"strings={json.dumps(strings)}",
    )  # fmt: skip
    with scenario.instance.client() as client:
        called = client.runs(ListRuns(workflow="naughty-key", limit=len(strings)))
        assert len(called) == len(run["tasks"]["each"]["items"]) == len(strings)
        for view in called:
            text = strings[int(view.params["n"])]
            tasks = {task.task: task for task in client.run(view.run)[1]}
            assert (tasks["key"].state == "succeeded") == (text.isprintable() and 0 < len(text) <= 200), text
            is_name = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", text) is not None
            assert (tasks["output"].state == "succeeded") == is_name, text
            for task in tasks.values():
                assert "\n" not in task.error


@needs_corpus
def test_naughty_strings_as_names_in_a_definition_are_taken_or_refused_in_one_line(scenario: Scenario) -> None:
    strings = naughty()
    files = []
    for n, text in enumerate(strings):
        for place, definition in named(text).items():
            path = scenario.path(f"{place}{n}.json")
            path.write_text(json.dumps(definition))
            files.append(path)
    problems = json.loads(scenario.instance.ctl("-o", "json", "lint", *files, timeout_s=120).stdout)
    refused = {Path(problem["file"]).name for problem in problems if problem["severity"] == "error"}
    for problem in problems:
        assert problem["message"].isprintable()
    for n, text in enumerate(strings):
        is_name = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", text) is not None
        for place in ("task", "artifact", "param"):
            assert (f"{place}{n}.json" in refused) == (not is_name), (place, text)
        assert (f"workflow{n}.json" in refused) == (not is_name or text.isdecimal()), text


def named(text: str) -> dict[str, Any]:
    """A definition for each place where a name may stand."""
    task = {"run": "true"}
    return {
        "workflow": {"name": text, "tasks": {"a": task}},
        "task": {"tasks": {text: task}},
        "param": {"params": {text: {}}, "tasks": {"a": task}},
        "artifact": {"tasks": {"a": {**task, "artifacts": {text: "file"}}}},
        "output": {"tasks": {"a": {**task, "outputs": {text: "string"}}}},
        "call": {"tasks": {"a": {"workflow": text}}},
    }


@needs_corpus
def test_naughty_strings_where_a_request_names_something_are_refused_in_one_line(scenario: Scenario) -> None:
    run = scenario.run("tasks: {a: {run: echo said, artifacts: {f: trace}}}")["run"]
    with scenario.instance.client() as client:
        for text in naughty():
            for request in naming(text, run):
                with pytest.raises(PyflowError) as caught:
                    list(client.ask(request))
                assert "\n" not in str(caught.value), (text, request)


def naming(text: str, run: int) -> list[Request]:
    missing = run + 1_000_000
    return [
        GetRun(of=text if not text.isdecimal() else f"x{text}"),
        GetGraph(of=text if not text.isdecimal() else f"x{text}"),
        ShowWorkflow(workflow=text),
        StartRun(workflow=text),
        CancelRun(workflow=text or "-"),
        CancelRun(run=run, task=text or "-"),
        RerunRun(run=run, from_task=text),
        PauseWorkflow(workflow=text),
        GetLogs(of=str(run), task=text or "-"),
        ListArtifacts(of=str(run), task=text or "-"),
        GetArtifact(of=str(run), task="a", name=text),
        GetArtifact(of=str(run), task=text, name="f"),
        AnswerApproval(run=run, task=text, approve=True),
        AnswerApproval(run=missing, task=text, approve=True),
    ]


@needs_corpus
def test_naughty_strings_as_names_of_files_in_the_folder_harm_nobody(daemon: Instance) -> None:
    folder = daemon.root / "workflows"
    names = [text for text in naughty() if text and "/" not in text and len(os.fsencode(text)) < 240]
    for text in names:
        (folder / f"{text}.json").write_text('{"tasks": {"a": {"run": "true"}}}')
    daemon.install("honest.yaml", "tasks: {a: {run: echo fine}}")
    assert daemon.wait_run(daemon.run("honest"))["state"] == "succeeded"
    known = {view["workflow"] for view in daemon.json("list") if view["state"] == "active"}
    assert "honest" in known
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", name) for name in known)


def test_only_names_of_ours_become_paths(scenario: Scenario) -> None:
    """Keys, outputs and artifacts as hostile as they come leave nothing but plain names below the root."""
    keys = ["../../escape", "/etc/passwd", "..", ".", "a/b", "-rf", "~", f"$(touch {MARKER})", "x" * 200]
    scenario.path("kept").write_text("kept")
    run = scenario.run(
        """
        params: {keys: {type: array}}
        tasks:
          each: {for_each: "${{ params.keys }}", run: echo "$PYFLOW_ITEM_KEY", artifacts: {kept: kept}}
        """,
        "-p", f"keys={json.dumps(keys)}",
    )  # fmt: skip
    assert run["state"] == "succeeded", run["error"]
    root = scenario.instance.root
    plain = re.compile(r"[A-Za-z0-9._~-]+")
    names = {path.name for folder in ("state", "log", "run") for path in (root / folder).rglob("*")}
    assert [name for name in names if not plain.fullmatch(name) or name in (".", "..")] == []
    assert not list(root.parent.rglob("*escape*"))
    for key in keys:
        done = scenario.instance.ctl("logs", run["run"], f"each[{key}]", "--raw")
        assert done.stdout == f"{key}\n", shlex.quote(key)
