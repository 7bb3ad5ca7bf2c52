"""`uses` in a definition, against the plugins that there are: what is wrong, and where."""

from __future__ import annotations

import pytest

from pyflowd.language.assembly import Assembled, assemble
from pyflowd.language.definition_text import Part
from pyflowd.language.plugins import Known, Plugin, PluginField
from pyflowd.model.kinds import Uses
from pyflowd.plugins.plugin_checks import check_plugins
from pyflowd.task.plugin_types import schema_of


def field(name: str, hint: object, *, required: bool = False, secret: bool = False) -> PluginField:
    return PluginField(name=name, schema=schema_of(hint, name), required=required, secret=secret)


KNOWN: Known = {
    "sql": Plugin(
        name="sql",
        origin="plugins/sql.py",
        inputs=(
            field("query", str, required=True), field("rows", int), field("params", list[str] | dict[str, str]),
            field("names", list[str]), field("password", str, secret=True),
        ),
    ),
    "broken": Plugin(name="broken", origin="plugins/broken.py", error="it cannot be imported"),
}  # fmt: skip


def assembled(text: str) -> Assembled:
    return assemble(Part(label="a.yaml", data=text.encode()), stem="a")


def checked(task: str, known: Known | None = KNOWN) -> list[str]:
    """Problems of a workflow with one task, as lint prints them; none where it is fine."""
    found = check_plugins(assembled(f"tasks:\n  a: {task}\n"), known)
    assert (found.workflow is None) == bool(found.problems)
    return [str(problem) for problem in found.problems]


def test_a_task_that_uses_a_plugin_keeps_its_inputs() -> None:
    workflow = assembled("tasks:\n  a: {uses: sql, with: {query: select 1, rows: '${{ 1 + 1 }}'}}\n").workflow
    assert workflow is not None
    assert workflow.tasks[0].kind == Uses(plugin="sql", arguments={"query": "select 1", "rows": "${{ 1 + 1 }}"})


@pytest.mark.parametrize("name", ["../sql", "/etc/passwd", "a/b", ".hidden", "", "'sql '", "sql\\n"])
def test_what_is_no_name_is_refused_before_anything_looks_for_it(name: str) -> None:
    found = assembled(f'tasks:\n  a: {{uses: "{name}"}}\n')
    assert [problem.code for problem in found.problems] == ["name"]
    assert check_plugins(found, KNOWN).problems == found.problems


def test_an_expression_may_not_say_which_plugin() -> None:
    assert "an expression may not say what is run" in checked('{uses: "${{ params.x }}"}')[0]


def test_good_inputs_are_fine() -> None:
    assert not checked("{uses: sql, with: {query: select 1, rows: 3, params: {a: b}, names: [x]}}")


def test_an_expression_is_left_to_the_task() -> None:
    assert not checked('{uses: sql, with: {query: "${{ 1 }}", rows: "${{ 2 }}", names: ["${{ 3 }}", x]}}')


def test_an_unknown_plugin_is_told_with_the_nearest() -> None:
    assert checked("{uses: sqll}") == [
        'a.yaml:2:13: uses: there is no plugin "sqll" (did you mean "sql"?) (see: pyflowctl kinds)'
    ]


def test_a_plugin_that_cannot_be_used_is_told_with_its_reason() -> None:
    assert (
        "the plugin broken cannot be used: it cannot be imported (mend plugins/broken.py)"
        in checked("{uses: broken}")[0]
    )


@pytest.mark.parametrize(
    ("inputs", "place", "message"),
    [
        ("{query: 3}", "2:32", "query: expected string, found the number 3"),
        ("{query: x, rows: '3'}", "2:41", 'rows: expected integer, found the text "3"'),
        ("{query: x, rows: true}", "2:41", "rows: expected integer, found the boolean true"),
        ("{query: x, names: [a, [b]]}", "2:46", "names: expected string, found a list"),
        ("{query: x, params: 3}", "2:43", "params: expected array of string | object of string, found the number 3"),
        ("{query: x, querry: y}", "2:35", 'has no input "querry" (did you mean "query"?)'),
        ("{rows: 1}", "2:18", "needs the input query (string)"),
        ("{query: x, password: hunter2}", "2:45", "password: a secret may not be written in a definition"),
    ],
)
def test_inputs_that_do_not_fit_are_told_with_their_place(inputs: str, place: str, message: str) -> None:
    found = checked(f"{{uses: sql, with: {inputs}}}")
    assert len(found) == 1
    assert found[0].startswith(f"a.yaml:{place}: ")
    assert message in found[0]
    assert "hunter2" not in found[0]


@pytest.mark.parametrize(
    "text",
    [
        "tasks:\n  a: {run: 'true', undo: {uses: nope}}\n",
        "tasks:\n  a: {run: 'true', on_error: {b: {uses: nope}}}\n",
        "tasks:\n  a: {run: 'true'}\nfinally:\n  b: {uses: nope}\n",
        "tasks:\n  a: {run: 'true'}\non_failure:\n  b: {run: 'true', on_error: {c: {uses: nope}}}\n",
    ],
)
def test_tasks_are_checked_wherever_they_stand(text: str) -> None:
    found = check_plugins(assembled(text), KNOWN)
    assert [problem.code for problem in found.problems] == ["plugin"]


def test_what_else_is_wrong_hides_nothing() -> None:
    found = check_plugins(assembled("tasks:\n  a: {uses: nope, timeout: 3}\n"), KNOWN)
    assert [problem.code for problem in found.problems] == ["plugin", "value"]


GIVING: Known = {"disk": Plugin(name="disk", outputs=(field("free", int), field("total", int)))}


def undeclared(task: str, expression: str, known: Known = GIVING) -> list[str]:
    """Of a workflow whose second task reads the first one's outputs."""
    env = f'{{A: "${{{{ {expression} }}}}"}}'
    text = f"tasks:\n  look: {task}\n  tell: {{needs: look, run: 'true', env: {env}}}\n"
    found = check_plugins(assembled(text), known)
    assert found.workflow is not None
    return [str(problem) for problem in found.problems]


def test_an_output_that_the_plugin_does_not_declare_is_a_warning_with_its_place() -> None:
    assert undeclared("{uses: disk}", "tasks.look.outputs.totl") == [
        'a.yaml:3:50: A: the plugin disk has no output "totl" (did you mean "total"?) (see: pyflowctl kinds disk)'
    ]


@pytest.mark.parametrize(
    ("task", "expression"),
    [
        ("{uses: disk}", "tasks.look.outputs.free"),
        ("{uses: disk}", "tasks.look.outputs"),
        ("{uses: disk, outputs: {more: integer}}", "tasks.look.outputs.more"),
        ("{uses: disk, capture: stdout}", "tasks.look.outputs.stdout"),
        ("{run: 'true'}", "tasks.look.outputs.totl"),
    ],
)
def test_an_output_that_may_be_there_is_fine(task: str, expression: str) -> None:
    assert undeclared(task, expression) == []


def test_a_plugin_that_does_not_say_what_it_gives_may_give_anything() -> None:
    assert undeclared("{uses: disk}", "tasks.look.outputs.totl", {"disk": Plugin(name="disk")}) == []


def test_before_the_plugins_are_known_nothing_is_said() -> None:
    assert not checked("{uses: nope}", None)


@pytest.mark.parametrize("key", ["stdin: x", "shell: bash", "interpreter: /usr/bin/python3"])
def test_keys_that_mean_nothing_to_a_plugin_are_refused(key: str) -> None:
    assert "a task with uses has no" in checked(f"{{uses: sql, with: {{query: x}}, {key}}}")[0]


def test_outputs_of_a_plugin_are_not_judged_by_what_the_task_declares() -> None:
    tasks = "tasks:\n  a: {uses: sql, with: {query: x}, outputs: {rows: array}}\n"
    found = assembled(tasks + '  b: {needs: a, run: "true", env: {N: "${{ tasks.a.outputs.count }}"}}\n')
    assert not found.problems
