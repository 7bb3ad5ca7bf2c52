"""What expressions name is judged before anything runs: where it may stand, what there is, what comes before."""

from __future__ import annotations

import pytest

from pyflowd.language.definition_references import TASK_MEMBERS
from pyflowd.lint import lint
from pyflowd.model.problem import Problem, Severity
from pyflowd.model.workflow import Workflow
from pyflowd.runtime.context import MEMBERS

PARAMS = "params: {x: {}, hosts: {type: array, default: []}}\n"


def checked(text: str) -> tuple[Workflow | None, list[Problem]]:
    return lint.check("w.yaml", (PARAMS + text).encode(), stem="w", is_json=False)


def refused(text: str) -> Problem:
    workflow, problems = checked(text)
    assert workflow is None
    (problem,) = problems
    return problem


# ---- What is seen ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "env: {A: '${{ params.x }}', B: '${{ env.A }} of ${{ run.id }}'}\ntasks: {a: {run: x}}\n",
        "cwd: '/srv/${{ params.x }}'\ntasks: {a: {run: x, cwd: '${{ params.x }}', stdin: '${{ params.x }}'}}\n",
        "tasks: {a: {argv: [echo, '${{ params.x }}']}}\n",
        "tasks: {a: {run: x, env: {A: '$${{ not.one }}', B: '${{ default(params.x, run.trigger) }}'}}}\n",
        "tasks: {a: {run: x}, b: {needs: a, run: x}, c: {needs: b, if: tasks.a.outputs.n > 1, run: x}}\n",
        "tasks: {a: {run: x, for_each: '${{ params.hosts }}', key: '${{ item }}-${{ index }}', if: index > 0}}\n",
        "tasks: {a: {run: x, matrix: {os: [a]}, env: {OS: '${{ matrix.os }}'}, undo: {run: y, if: matrix.os != 1}}}\n",
        "tasks: {a: {run: x, undo: {run: y, if: tasks.a.outputs.n == 1 and run.outcome != 'x'}}}\n",
        "tasks: {a: {run: x, on_error: {b: {run: x, env: {E: '${{ tasks.a.error }}'}}}}}\n",
        "tasks: {a: {run: x}}\nfinally: {b: {if: run.outcome == 'failed' and tasks.a.failed > 0, run: x}}\n",
        "tasks: {a: {run: x}}\non_failure: {b: {run: x}}\nfinally: {c: {if: tasks.b.state == 'failed', run: x}}\n",
        "tasks: {a: {run: x}}\nfinally: {b: {run: x}, c: {needs: b, if: tasks.b.outputs.ok, run: x}}\n",
        "tasks: {a: {run: x, env: {N: 1}, repeat: {until: tasks.a.outputs.n == env.N, max: 3}}}\n",
        "tasks: {a: {run: x}}\noutputs: {n: '${{ tasks.a.outputs.n }}'}\n",
        "tasks: {a: {http: {url: 'http://x/', expect: {json: body.n == params.x}}}}\n",
        "tasks: {a: {run: x}, b: {needs: a, workflow: w, with: {a: ['${{ tasks.a.outputs }}']}}}\n",
        "tasks: {a: {run: x, env: {A: \"${{ tasks['b-2'].state }}\"}, needs: b-2}, b-2: {run: x}}\n",
        "env_file: /etc/x\ntasks: {a: {run: x, if: env.FROM_FILE == '1'}}\n",
        "tasks: {a: {run: x}, b: {wait: {condition: tasks.a.state == 'running'}}}\n",
    ],
)
def test_what_is_there_is_no_problem(text: str) -> None:
    workflow, problems = checked(text)
    assert workflow is not None
    assert problems == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tasks: {a: {run: x, if: params.y}}\n", 'no param "y"'),
        ("tasks: {a: {run: x, if: parms.x}}\n", 'did you mean "params"'),
        ("tasks: {a: {run: x, if: 'default(params.y, 1) == 1'}}\n", 'no param "y"'),
        ("tasks: {a: {run: x, if: tasks.b.state == 'x'}}\n", 'no task "b"'),
        ("tasks: {fetch: {run: x}, b: {run: x, needs: fetch, if: tasks.fecth.failed}}\n", 'did you mean "fetch"'),
        ("tasks: {a: {run: x}, b: {run: x, if: tasks.a.failed == 0}}\n", "b does not wait for a"),
        ("tasks: {a: {run: x, if: tasks.a.failed == 0}}\n", "this task itself"),
        ("tasks: {a: {wait: {condition: tasks.a.failed == 0}}}\n", "this task itself"),
        ("tasks: {a: {wait: {condition: tasks.b.failed == 0}}}\n", 'no task "b"'),
        ("tasks: {a: {run: x}, b: {run: x, needs: a, if: tasks.a.output == 0}}\n", 'did you mean "outputs"'),
        ("tasks: {a: {run: x}, b: {run: x, needs: a, if: tasks == 0}}\n", "name the task"),
        ("tasks: {a: {run: x, env: {A: '${{ item }}'}}}\n", "for_each or matrix only"),
        ("tasks: {a: {run: x, for_each: [1], as: host, env: {A: '${{ item }}'}}}\n", "called host and index"),
        ("tasks: {a: {run: x, for_each: '${{ item }}'}}\n", "makes the list"),
        ("tasks: {a: {run: x, for_each: [1], on_error: {b: {run: x, if: item == 1}}}}\n", "for_each or matrix only"),
        ("tasks: {a: {run: x, for_each: '${{ params.x }}'}}\n", "has no items"),
        ("tasks: {a: {run: x, if: run.outcome == 'failed'}}\n", "in handlers only"),
        ("tasks: {a: {run: x, on_error: {b: {run: x, if: run.outcome == 'x'}}}}\n", "in handlers only"),
        ("tasks: {a: {run: x, if: run.name == 'x'}}\n", 'run has no "name"'),
        ("tasks: {a: {run: x, env: {A: b}, if: env.HOME == 'x'}}\n", 'no variable "HOME"'),
        ("tasks: {a: {run: x, if: secrets.k}}\n", "a secret may not stand here"),
        ("tasks: {a: {run: x, env: {A: '${{ event.body }}'}}}\n", "none of the triggers of this workflow has one"),
        ("env: {A: '${{ tasks.a.state }}'}\ntasks: {a: {run: x}}\n", "not known here"),
        ("tasks: {a: {run: x}}\nfinally: {b: {run: x, if: tasks.c.failed == 1}, c: {run: x}}\n", "does not wait for c"),
        (
            "tasks: {a: {run: x}}\non_failure: {b: {run: x, if: tasks.c.failed == 1}}\nfinally: {c: {run: x}}\n",
            "no task",
        ),
        ("tasks: {a: {run: x, if: tasks.c.failed == 1}}\nfinally: {c: {run: x}}\n", 'no task "c"'),
        ("tasks: {a: {run: x}}\noutputs: {n: '${{ tasks.b.outputs.n }}'}\n", 'no task "b"'),
        ("tasks: {a: {run: x}}\noutputs: {n: '${{ item }}'}\n", "for_each or matrix only"),
        ("tasks: {a: {http: 'http://x/${{ body.n }}'}}\n", 'no name "body"'),
        ("tasks: {a: {run: x, if: 'params.x +'}}\n", "if:"),
        ("tasks: {a: {run: x, if: '${{ params.x }} and ${{ params.x }}'}}\n", "more than one"),
        ("tasks: {a: {run: x, env: {A: '${{ params.x '}}}\n", "not closed"),
        ("tasks: {a: {run: x, env: {A: [1, '${{ params.x }}']}}}\n", "one expression of all of it"),
        ("tasks: {a: {run: x, cwd: 'work/${{ params.x }}'}}\n", "absolute path"),
        ("tasks: {a: {run: x, if: 3}}\n", "expected an expression"),
        ("tasks: {a: {wait: {condition: tasks.b.failed > 0}}, b: {needs: a, run: x}}\n", "waits for a itself"),
        ("schedule: {cron: '@daily', params: {x: '${{ run.id }}'}}\ntasks: {a: {run: x}}\n", "params of a trigger"),
    ],
)
def test_what_is_not_there_is_told_before_anything_runs(text: str, reason: str) -> None:
    assert reason in str(refused(text))


def test_a_task_that_is_wrong_otherwise_is_judged_too() -> None:
    problems = checked("tasks: {a: {run: x, timeout: 5}, b: {run: x, if: tasks.a.failed == 0}}\n")[1]
    assert [problem.code for problem in problems] == ["value", "not_upstream"]


def test_a_reference_is_shown_where_it_stands() -> None:
    problem = refused("tasks:\n  a:\n    run: x\n    env:\n      A: from ${{ params.y }}\n")
    assert (problem.line, problem.column) == (6, 19)


def test_the_way_out_of_a_missing_need_is_shown() -> None:
    assert refused("tasks: {a: {run: x}, b: {run: x, if: tasks.a.failed == 0}}\n").fix == "add a to the needs of b"


def test_an_output_that_is_not_declared_is_warned_of() -> None:
    text = "tasks: {a: {run: x, outputs: {path: string}}, b: {run: x, needs: a, if: tasks.a.outputs.paht == 'x'}}\n"
    workflow, problems = checked(text)
    assert workflow is not None
    (problem,) = problems
    assert (problem.code, problem.severity) == ("undeclared_output", Severity.WARNING)
    assert 'did you mean "path"' in problem.message


@pytest.mark.parametrize("text", ["{{ params.x }}", "x {{item}} y"])
def test_braces_without_their_dollar_are_warned_of(text: str) -> None:
    (problem,) = checked(f"tasks: {{a: {{run: x, env: {{A: '{text}'}}}}}}\n")[1]
    assert (problem.code, problem.severity) == ("braces", Severity.WARNING)


def test_braces_of_other_programs_are_left_alone() -> None:
    assert checked("tasks: {a: {argv: [docker, ps, --format, '{{.Names}}']}}\n")[1] == []


def test_thousands_of_tasks_that_ask_for_the_first_are_judged() -> None:
    tasks = "".join(f"  t{n}: {{needs: t{n - 1}, run: x, if: tasks.t0.failed == 0}}\n" for n in range(1, 3000))
    assert checked(f"tasks:\n  t0: {{run: x}}\n{tasks}")[1] == []


def test_what_can_be_asked_of_a_task_is_what_a_run_answers() -> None:
    assert set(TASK_MEMBERS) == set(MEMBERS)


# ---- Defaults of params ---------------------------------------------------------------------------------------------


def test_a_default_may_use_the_run_and_params_before_it() -> None:
    default = "${{ default(run.scheduled_at, run.created_at) }}"
    workflow, problems = lint.check(
        "w.yaml",
        f"params: {{a: {{default: '{default}'}}, b: {{default: 'x ${{{{ params.a }}}}'}}}}\n"
        "schedule: '@daily'\ntasks: {t: {run: x}}\n".encode(),
        stem="w",
        is_json=False,
    )
    assert problems == []
    assert workflow is not None
    assert workflow.params[0].default == default


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{a: {default: '${{ params.b }}'}, b: {}}", "declare it before a"),
        ("{a: {default: '${{ params.a }}'}}", "declare it before a"),
        ("{a: {default: '${{ params.c }}'}}", 'no param "c"'),
        ("{a: {default: '${{ tasks.t.state }}'}}", "not known here"),
        ("{a: {default: '${{ env.X }}'}}", "not known here"),
        ("{a: {default: '${{ run.outcome }}'}}", "in handlers only"),
    ],
)
def test_a_default_that_cannot_be_made_is_refused(text: str, reason: str) -> None:
    workflow, problems = lint.check(
        "w.yaml", f"params: {text}\ntasks: {{t: {{run: x}}}}\n".encode(), stem="w", is_json=False
    )
    assert workflow is None
    assert reason in str(problems[0])
