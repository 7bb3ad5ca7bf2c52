"""Control flow, handlers and what tasks give on: what each key becomes, and what is said of what is wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pyflowd.language.definition_fan_out import MAX_ITEMS
from pyflowd.lint import lint
from pyflowd.model.kinds import Approval, Call, OnTimeout, Shell, Wait
from pyflowd.model.problem import Problem, Severity
from pyflowd.model.workflow import (
    Artifact,
    Capture,
    FanOut,
    OnEmpty,
    Output,
    ParamType,
    Repeat,
    Task,
    UndoAfter,
    Workflow,
)


def compiled(text: str) -> Workflow:
    workflow, problems = lint.check("w.yaml", text.encode(), stem="w", is_json=False)
    assert workflow is not None, problems
    return workflow


def problems_of(text: str) -> list[Problem]:
    return lint.check("w.yaml", text.encode(), stem="w", is_json=False)[1]


def refused(text: str) -> Problem:
    workflow, problems = lint.check("w.yaml", text.encode(), stem="w", is_json=False)
    assert workflow is None
    (problem,) = (problem for problem in problems if problem.severity is Severity.ERROR)
    return problem


def task(text: str) -> Task:
    return compiled(f"params: {{hosts: {{type: array, default: []}}}}\ntasks:\n  a: {text}\n").tasks[0]


def fan_out(text: str) -> FanOut:
    found = task(f"{{run: x, {text}}}").fan_out
    assert found is not None
    return found


# ---- Fan-out --------------------------------------------------------------------------------------------------------


def test_every_key_of_a_fan_out_has_its_field() -> None:
    assert fan_out(
        "for_each: '${{ params.hosts }}', as: host, key: '${{ host.id }}', max_parallel: 3, max_failures: 2, "
        "fail_fast: true, on_empty: fail"
    ) == FanOut(
        items="${{ params.hosts }}",
        variable="host",
        key="${{ host.id }}",
        max_parallel=3,
        max_failures=2,
        fail_fast=True,
        on_empty=OnEmpty.FAIL,
    )


def test_failures_may_be_a_part_of_all_items() -> None:
    assert fan_out("for_each: [a, b], max_failures: 2.5%").max_failures_percent == 2.5


def test_the_items_of_a_mapping_are_keys_and_values() -> None:
    assert fan_out("for_each: {a: 1, b: [2]}").items == [{"key": "a", "value": 1}, {"key": "b", "value": [2]}]


def test_items_of_a_mapping_are_known_by_its_keys() -> None:
    assert fan_out("for_each: {a: 1, b: [2]}").key == "${{ item.key }}"
    assert fan_out("for_each: {a: 1, b: [2]}, as: host").key == "${{ host.key }}"
    assert fan_out("for_each: {a: 1, b: [2]}, key: 'k${{ index }}'").key == "k${{ index }}"


@pytest.mark.parametrize(
    ("condition", "each"), [("item == 1", True), ("index > 0", True), ("params.hosts == []", False)]
)
def test_a_condition_that_names_an_item_is_asked_of_each(condition: str, each: bool) -> None:
    assert fan_out(f"for_each: [1, 2], if: '{condition}'").if_each is each


def matrix(text: str) -> Any:
    found = fan_out(f"matrix: {text}")
    assert found.variable == "matrix"
    return found.items


def test_a_matrix_is_all_combinations_in_the_order_of_its_axes() -> None:
    items = matrix("{os: [a, b], version: [1, 2]}")
    assert [f"{item['os']}{item['version']}" for item in items] == ["a1", "a2", "b1", "b2"]


def test_a_matrix_leaves_out_and_adds_as_told() -> None:
    items = matrix("{os: [a, b], version: [1, 2, 3], exclude: [{os: b, version: 3}], include: [{os: c, version: 9}]}")
    assert [f"{item['os']}{item['version']}" for item in items] == ["a1", "a2", "a3", "b1", "b2", "c9"]


def test_an_include_goes_into_each_combination_that_it_does_not_contradict() -> None:
    """The example of the documentation of GitHub Actions."""
    items = matrix(
        "{fruit: [apple, pear], animal: [cat, dog], include: [{color: green}, {color: pink, animal: cat}, "
        "{fruit: apple, shape: circle}, {fruit: banana}, {fruit: banana, animal: cat}]}"
    )
    assert items == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


def test_true_is_not_one_in_a_matrix() -> None:
    assert matrix("{a: [1, true], exclude: [{a: true}]}") == [{"a": 1}]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("for_each: params.hosts", "write ${{ params.hosts }}"),
        ("for_each: hello", "expected a list or an expression"),
        ("for_each: 3", "expected a list or an expression"),
        ("for_each: 'a ${{ params.hosts }}'", "becomes text"),
        ("for_each: [a, b, a]", 'items 1 and 3 have the same key, "a"'),
        ("for_each: [{n: 1, of: [2]}, {of: [2], n: 1}]", "items 1 and 2 have the same key"),
        (f"for_each: [{', '.join(['1'] * (MAX_ITEMS + 1))}]", f"at most {MAX_ITEMS}"),
        ("for_each: [a], as: run", "name of something else"),
        ("for_each: [a], as: a-b", "no name for an item"),
        ("for_each: [a], as: in", "no name for an item"),
        ("for_each: [a], max_failures: 101%", "a number or a percentage"),
        ("for_each: [a], max_failures: many", "a number or a percentage"),
        ("for_each: [a], max_failures: -1", "from 0"),
        ("for_each: [a], max_parallel: 0", "from 1"),
        ("for_each: [a], on_empty: ok", "expected one of skip"),
        ("for_each: [a], matrix: {x: [1]}", "fans out once"),
        ("matrix: {x: [1]}, as: y", "called matrix"),
        ("max_parallel: 3", "for_each or matrix"),
        ("fail_fast: true", "for_each or matrix"),
        ("matrix: {}", "no combination"),
        ("matrix: {x: []}", "list is empty"),
        ("matrix: {x: '${{ params.hosts }}'}", "use for_each"),
        ("matrix: {x: [1], exclude: [{y: 1}]}", "which is no axis"),
        ("matrix: {x: [1], exclude: [{x: 1}]}", "no combination"),
        ("matrix: {x: [1], include: [a]}", "list of mappings"),
        (f"matrix: {{x: {list(range(101))}, y: {list(range(100))}}}", "10100 combinations"),
        (f"matrix: {{x: [{'x' * 5000}], y: {list(range(1000))}}}", "characters together"),
        ("repeat: {until: 'true'}", "no max"),
        ("repeat: {max: 3}", "one of until and while"),
        ("repeat: {max: 3, until: 'true', while: 'true'}", "one of until and while"),
        ("repeat: {max: 0, until: 'true'}", "from 1"),
    ],
)
def test_a_wrong_fan_out_or_loop_is_refused(text: str, reason: str) -> None:
    problem = refused(f"params: {{hosts: {{type: array}}}}\ntasks:\n  a: {{run: x, {text}}}\n")
    assert reason in str(problem)


def test_a_small_file_does_not_become_a_large_definition() -> None:
    axes = f"{{x: {list(range(100))}, y: {list(range(100))}}}"
    tasks = "".join(f"  t{n}: {{run: x, matrix: {axes}}}\n" for n in range(50))
    assert "together" in problems_of(f"tasks:\n{tasks}")[0].message


def test_a_loop_asks_for_what_its_own_task_has_given_on() -> None:
    found = task("{run: x, repeat: {until: tasks.a.outputs.ready, delay: 200ms, max: 10}}")
    assert found.repeat == Repeat(max=10, until="tasks.a.outputs.ready", delay_s=0.2)
    assert task("{run: x, repeat: {while: '${{ true }}', max: 1}}").repeat == Repeat(max=1, while_="true")


def test_items_may_repeat() -> None:
    found = task("{run: x, for_each: [a], repeat: {until: tasks.a.outputs.x == item, max: 2}}")
    assert found.fan_out is not None
    assert found.repeat is not None


# ---- What a task gives on -------------------------------------------------------------------------------------------


def test_outputs_and_artifacts_have_their_fields() -> None:
    found = task("""
    run: x
    capture: json
    outputs:
      path: string
      digest: {pattern: "[0-9a-f]+", max_length: 64}
      parts: {type: array, max_items: 9, optional: true}
    artifacts: {dist: "out/${{ run.id }}.tgz", log: {path: /tmp/x, optional: true}}""")
    assert found.capture is Capture.JSON
    assert found.outputs == (
        Output(name="path"),
        Output(name="digest", pattern="[0-9a-f]+", maximum=64),
        Output(name="parts", type=ParamType.ARRAY, maximum=9, optional=True),
    )
    assert found.artifacts == (
        Artifact(name="dist", path="out/${{ run.id }}.tgz"),
        Artifact(name="log", path="/tmp/x", optional=True),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("outputs: {x: text}", "expected one of string"),
        ("outputs: {a b: string}", "no name"),
        ("outputs: {x: {type: integer, pattern: a}}", "is for text"),
        ("outputs: {x: {type: integer, max_items: 1}}", "is for lists"),
        ("outputs: [x]", "expected a mapping"),
        ("outputs: {x: secret}", "the type secret is for params"),
        ("capture: stderr", "expected one of stdout"),
        ("artifacts: {../x: y}", "no name"),
        ("artifacts: {x: {optional: true}}", "no path"),
        ("artifacts: {x: ''}", "empty"),
    ],
)
def test_a_wrong_output_is_refused(text: str, reason: str) -> None:
    assert reason in str(refused(f"tasks:\n  a: {{run: x, {text}}}\n"))


# ---- Kinds that the engine carries out ------------------------------------------------------------------------------


def test_a_workflow_is_called_with_its_params() -> None:
    found = task("{workflow: load, with: {table: orders, n: [1, '${{ run.id }}']}, wait: false, idempotency_key: k}")
    assert found.kind == Call(
        workflow="load", arguments={"table": "orders", "n": [1, "${{ run.id }}"]}, wait=False, key="k"
    )
    assert task("{workflow: {name: load, with: {a: 1}, wait: true}}").kind == Call(workflow="load", arguments={"a": 1})


def test_an_approval_is_a_message_or_a_mapping() -> None:
    assert task("{approval: 'Go on?'}").kind == Approval(message="Go on?")
    found = task(
        "{approval: {message: m, allow: ['group:sre', 'user:anna'], forbid_requester: true, timeout: 4h, "
        "on_timeout: approve, choices: [YES, NO], default: NO}}"
    )
    assert found.kind == Approval(
        message="m",
        allow=("group:sre", "user:anna"),
        forbid_requester=True,
        timeout_s=4 * 3600.0,
        on_timeout=OnTimeout.APPROVE,
        choices=("YES", "NO"),
        default="NO",
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("10m", Wait(for_s=600.0)),
        ("{for: 1s}", Wait(for_s=1.0)),
        ("{until: '22:30'}", Wait(until="22:30")),
        ("{until: '2026-10-01T06:00:00+02:00'}", Wait(until="2026-10-01T06:00:00+02:00")),
        ("{until: '${{ run.created_at }}'}", Wait(until="${{ run.created_at }}")),
        ("{condition: 'run.id != 1', on_timeout: skip}", Wait(condition="run.id != 1", on_timeout=OnTimeout.SKIP)),
    ],
)
def test_a_wait_is_one_of_three(text: str, kind: Wait) -> None:
    assert task(f"{{wait: {text}}}").kind == kind


def test_the_time_of_a_wait_is_that_of_its_task() -> None:
    assert task("{wait: {condition: 'true', timeout: 5m}}").timeout_s == 300.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{workflow: '${{ params.hosts }}'}", "expression"),
        ("{workflow: {with: {}}}", "no name"),
        ("{workflow: {name: x, with: {}}, with: {}}", "both in workflow and beside"),
        ("{workflow: x, wait: 5m}", "does one thing"),
        ("{wait: true}", "is for a task with workflow"),
        ("{run: x, wait: true}", "does one thing"),
        ("{approval: {allow: 'user:a'}}", "no message"),
        ("{approval: ''}", "empty"),
        ("{approval: {message: m, allow: anna}}", "user:NAME"),
        ("{approval: {message: m, choices: [a, a]}}", "given twice"),
        ("{approval: {message: m, choices: [a], default: b}}", "none of the choices"),
        ("{approval: {message: m, default: b}}", "none of the choices"),
        ("{approval: {message: m, timeout: 1h, on_timeout: skip}}", "is for wait"),
        ("{wait: 10}", "no unit"),
        ("{wait: {}}", "one of for, until"),
        ("{wait: {for: 1s, until: '22:30'}}", "one of for, until"),
        ("{wait: {until: tomorrow}}", "no time"),
        ("{wait: {until: '2026-10-01T06:00:00'}}", "no time"),
        ("{wait: {until: '25:00'}}", "no time"),
        ("{wait: {for: 1s, on_timeout: approve}}", "is for approval"),
    ],
)
def test_a_wrong_task_without_process_is_refused(text: str, reason: str) -> None:
    assert reason in str(refused(f"params: {{hosts: {{type: array}}}}\ntasks:\n  a: {text}\n"))


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("http: 'http://x/'", "cwd", "/x"),
        ("http: 'http://x/'", "env", "{A: b}"),
        ("http: 'http://x/'", "success_codes", "3"),
        ("workflow: x", "user", "root"),
        ("workflow: x", "stdin", "y"),
        ("approval: m", "timeout", "1h"),
        ("approval: m", "retry", "3"),
        ("approval: m", "for_each", "[a]"),
        ("wait: 1s", "kill_grace", "1s"),
        ("wait: 1s", "outputs", "{x: string}"),
        ("notify: {channel: c, text: t}", "leftover", "allow"),
        ("notify: {channel: c, text: t}", "retry", "3"),
        ("run: x", "with", "{a: 1}"),
        ("argv: [x]", "interpreter", "/usr/bin/python3"),
    ],
)
def test_a_key_that_means_nothing_to_its_kind_is_refused(kind: str, key: str, value: str) -> None:
    problem = refused(f"tasks:\n  a: {{{kind}, {key}: {value}}}\n")
    assert (problem.code, key in problem.message, bool(problem.fix)) == ("no_meaning", True, True)


def test_defaults_that_mean_nothing_to_a_kind_are_left_out() -> None:
    workflow = compiled(
        "defaults: {user: backup, cwd: /srv, retry: 3, timeout: 1m, log: {max_bytes: 1KiB}, success_codes: 4}\n"
        "tasks: {a: {approval: m}, b: {run: x}}\n"
    )
    assert workflow.tasks[0] == Task(name="a", kind=Approval(message="m"))
    assert (workflow.tasks[1].user, workflow.tasks[1].retry.attempts) == ("backup", 3)


# ---- Handlers -------------------------------------------------------------------------------------------------------


def test_handlers_are_tasks_with_the_defaults_of_all() -> None:
    workflow = compiled(
        "defaults: {timeout: 1m}\nhandler_timeout: 2m\ntasks: {a: {run: x}}\non_success: {b: {run: x}}\n"
        "on_failure: {c: {run: x}, d: {needs: c, run: x}}\non_cancel: {e: {run: x}}\nfinally: {f: {run: x}}\n"
    )
    sections = (workflow.on_success, workflow.on_failure, workflow.on_cancel, workflow.finally_)
    assert [[each.name for each in section] for section in sections] == [["b"], ["c", "d"], ["e"], ["f"]]
    assert workflow.finally_[0].timeout_s == 60.0
    assert workflow.handler_timeout_s == 120.0


def test_undo_all_says_what_is_done_anyway() -> None:
    workflow = compiled("tasks: {a: {run: x}}\non_failure: {undo: all, b: {run: y}}\non_cancel: {undo: all}\n")
    assert [each.name for each in workflow.on_failure] == ["b"]
    assert workflow.on_cancel == ()


def test_an_undoing_is_run_as_its_task_was() -> None:
    found = task("{run: x, cwd: /srv, shell: sh, env: {A: a, B: b}, undo: {after: started, run: y, env: {B: c}}}")
    assert found.undo_after is UndoAfter.STARTED
    assert found.undo == Task(
        name="a.undo", kind=Shell(text="y", shell=("sh", "-eu", "-c")), cwd="/srv", env={"A": "a", "B": "c"}
    )


def test_tasks_after_an_error_belong_to_their_task() -> None:
    found = task("{run: x, on_error: {tell: {run: y}, then: {needs: tell, run: z}}}")
    assert [(each.name, each.needs) for each in found.on_error] == [("tell", ()), ("then", ("tell",))]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("tasks: {a: {run: x}}\nfinally: {a: {run: x}}\n", "duplicate_name"),
        ("tasks: {a: {run: x, on_error: {b: {run: x}}}}\non_failure: {b: {run: x}}\n", "duplicate_name"),
        ("tasks: {a: {run: x, undo: {run: x}}, a.undo: {run: x}}\n", "duplicate_name"),
        ("tasks: {a: {run: x}}\nfinally: {b: {run: x, needs: a}}\n", "unknown_need"),
        ("tasks: {a: {run: x, on_error: {b: {run: x, needs: a}}}}\n", "unknown_need"),
        ("tasks: {a: {run: x}}\nfinally: {b: {run: x, undo: {run: y}}}\n", "place"),
        ("tasks: {a: {run: x, undo: {run: x, undo: {run: y}}}}\n", "place"),
        ("tasks: {a: {run: x, undo: {run: x, needs: a}}}\n", "place"),
        ("tasks: {a: {run: x, undo: {run: x, for_each: [1]}}}\n", "place"),
        ("tasks: {a: {run: x, on_error: {b: {run: x, on_error: {c: {run: x}}}}}}\n", "place"),
        ("tasks: {a: {run: x, after: started}}\n", "place"),
        ("tasks: {a: {run: x, undo: y}}\n", "value"),
        ("tasks: {a: {run: x, on_error: {}}}\n", "value"),
        (f"tasks: {{{'a' * 60}: {{run: x, undo: {{run: x}}}}}}\n", "name"),
        ("tasks: {a: {run: x}}\nhandler_timeout: 0s\n", "value"),
        ("tasks: {a: {run: x}}\noutputs: {a b: 1}\n", "name"),
    ],
)
def test_a_wrong_handler_is_refused(text: str, code: str) -> None:
    assert refused(text).code == code


def test_what_a_workflow_gives_to_its_caller_is_kept_as_written() -> None:
    workflow = compiled("tasks: {a: {run: x}}\noutputs: {path: '${{ tasks.a.outputs.path }}', n: [1, {b: 2}]}\n")
    assert workflow.outputs == {"path": "${{ tasks.a.outputs.path }}", "n": [1, {"b": 2}]}


def test_a_workflow_of_every_kind_survives_its_storage() -> None:
    workflow = compiled("""
tasks:
  a: {run: x, for_each: [1, {b: "${{ params.x }}"}], undo: {run: y}, on_error: {e: {argv: [x]}}}
  b: {workflow: w, with: {a: {b: 1}}}
  c: {approval: m}
  d: {wait: 1s}
  e2: {notify: {channel: c, text: t}}
  f: {http: "http://x/"}
params: {x: {}}
finally: {z: {run: x}}
outputs: {x: 1}
notify: oncall
""")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(workflow), type=Workflow) == workflow


# ---- Whose it is ----------------------------------------------------------------------------------------------------


def test_groups_that_see_and_operate_a_workflow() -> None:
    found = compiled("visible_to: [dba, auditors, dba]\noperate_by: dba\ntasks: {a: {run: x}}\n")
    assert (found.visible_to, found.operate_by) == (("dba", "auditors"), ("dba",))
    none = compiled("tasks: {a: {run: x}}\n")
    assert (none.visible_to, none.operate_by) == ((), ())


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("visible_to: []", "an empty list says nothing"),
        ("operate_by: [a b]", '"a b" is no name of a group'),
        ("operate_by: {a: b}", "expected"),
        ("visible_to: ${{ params.x }}", "may not stand here"),
    ],
)
def test_what_is_no_group_is_refused_with_its_place(written: str, said: str) -> None:
    problem = refused(f"{written}\ntasks: {{a: {{run: x}}}}\n")
    assert said in problem.message
    assert problem.line == 1
