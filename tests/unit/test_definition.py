"""A document to a workflow: what each key becomes, and what is said of what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from pyflowd.base import graph
from pyflowd.language.definition import WORKFLOW
from pyflowd.language.definition_kinds import KINDS
from pyflowd.language.definition_task import TASK
from pyflowd.lint import lint
from pyflowd.model.kinds import Argv, Shell
from pyflowd.model.problem import Problem, Severity
from pyflowd.model.triggers import Dst, Schedule
from pyflowd.model.workflow import (
    Backoff,
    Jitter,
    Leftover,
    OnLost,
    Overlap,
    Retention,
    Retry,
    Task,
    TriggerRule,
    Workflow,
)

TASKS = "tasks: {a: {run: 'true'}}\n"


def compiled(text: str) -> Workflow:
    workflow, problems = lint.check("w.yaml", text.encode(), stem="w", is_json=False)
    assert workflow is not None, problems
    return workflow


def problems_of(text: str) -> list[Problem]:
    return lint.check("w.yaml", text.encode(), stem="w", is_json=False)[1]


def refused(text: str) -> list[Problem]:
    workflow, problems = lint.check("w.yaml", text.encode(), stem="w", is_json=False)
    assert workflow is None
    return [problem for problem in problems if problem.severity is Severity.ERROR]


def only(problems: Iterable[Problem]) -> Problem:
    (problem,) = problems
    return problem


def task(text: str, before: str = "") -> Task:
    return compiled(f"{before}tasks:\n  a: {text}\n").tasks[0]


def task_problem(text: str) -> Problem:
    return only(refused(f"tasks:\n  a: {text}\n"))


# ---- What keys become -----------------------------------------------------------------------------------------------


def test_the_smallest_useful_file_compiles() -> None:
    workflow = compiled(
        'schedule: "30 2 * * *"\ntasks:\n  dump: {run: pg_dump app}\n  ship: {needs: dump, run: ./ship.sh}\n'
    )
    assert workflow.name == "w"
    assert workflow.triggers == (Schedule(name="schedule", cron="30 2 * * *"),)
    assert [(each.name, each.needs) for each in workflow.tasks] == [("dump", ()), ("ship", ("dump",))]


def test_every_key_of_a_workflow_has_its_field() -> None:
    workflow = compiled("""
version: 1
name: nightly
description: of every key
labels: {team: ops, tier: 2}
owner: ops@example.org
params: {city: {default: Berlin}}
env: {A: 1, B: true, C: text, D: 1.5, E: [1, a], F: {x: null}}
env_file: [/etc/default/x, -~/own.env]
cwd: ~/work
user: backup
schedule: {cron: "0 3 * * 1", timezone: Europe/Berlin, jitter: 5m, dst: skip, enabled: false, params: {city: Bonn}}
triggers:
  noon: {schedule: "0 12 * * *", params: {city: Ulm}}
overlap: queue_latest
queue_max: 5
timeout: 1h30m
max_parallel: 4
retention: {runs: 10, age: 30d, log_bytes: 1GiB}
defaults: {env: {B: default}}
tasks: {a: {run: "true"}}
""")
    assert workflow == Workflow(
        name="nightly",
        description="of every key",
        labels={"team": "ops", "tier": "2"},
        owner="ops@example.org",
        params=workflow.params,
        env={"A": "1", "B": "default", "C": "text", "D": "1.5", "E": '[1, "a"]', "F": '{"x": null}'},
        env_files=("/etc/default/x", "-own.env"),
        cwd="work",
        user="backup",
        triggers=(
            Schedule(
                name="schedule",
                cron="0 3 * * 1",
                timezone="Europe/Berlin",
                jitter_s=300.0,
                dst=Dst.SKIP,
                enabled=False,
                params={"city": "Bonn"},
            ),
            Schedule(name="noon", cron="0 12 * * *", params={"city": "Ulm"}),
        ),
        overlap=Overlap.QUEUE_LATEST,
        queue_max=5,
        timeout_s=5400.0,
        max_parallel=4,
        retention=Retention(runs=10, age_s=30 * 86400.0, log_bytes=1024**3),
        tasks=(Task(name="a", kind=Shell(text="true")),),
    )


def test_every_key_of_a_task_has_its_field() -> None:
    found = task("""
    argv: [sort, -k, 2, true]
    trigger_rule: always
    retry: {attempts: 4, delay: 2s, backoff: linear, factor: 3, max_delay: 1m, jitter: none, max_elapsed: 1h,
            on_exit: [75, 111], on_lost: retry}
    timeout: 90s
    kill_grace: 500ms
    leftover: allow
    continue_on_error: true
    success_codes: [2, 3]
    skip_codes: 99
    env: {X: y}
    cwd: /srv
    user: www-data
    stdin: |
      b 2
    log: {max_bytes: 64KiB}
    needs: []""")
    assert found == Task(
        name="a",
        kind=Argv(argv=("sort", "-k", "2", "true")),
        trigger_rule=TriggerRule.ALL_DONE,
        retry=Retry(
            attempts=4,
            delay_s=2.0,
            backoff=Backoff.LINEAR,
            factor=3.0,
            max_delay_s=60.0,
            jitter=Jitter.NONE,
            max_elapsed_s=3600.0,
            on_exit=(75, 111),
            on_lost=OnLost.RETRY,
        ),
        timeout_s=90.0,
        kill_grace_s=0.5,
        leftover=Leftover.ALLOW,
        continue_on_error=True,
        success_codes=(2, 3),
        skip_codes=(99,),
        env={"X": "y"},
        cwd="/srv",
        user="www-data",
        stdin="b 2\n",
        log_max_bytes=65536,
    )


def test_defaults_are_merged_by_key_and_the_task_wins() -> None:
    before = "defaults: {retry: {attempts: 3, delay: 9s}, timeout: 1m, success_codes: [7], log: {max_bytes: 1KiB}}\n"
    found = task("{run: x, retry: 5, success_codes: [8]}", before)
    assert (found.retry.attempts, found.retry.delay_s) == (5, 9.0)
    assert (found.timeout_s, found.success_codes, found.log_max_bytes) == (60.0, (8,), 1024)


@pytest.mark.parametrize(
    ("shell", "argv"),
    [
        ("sh", ("sh", "-eu", "-c")),
        ("/bin/bash", ("/bin/bash", "-euo", "pipefail", "-c")),
        ("python3", ("python3", "-c")),
        ("[perl, -e]", ("perl", "-e")),
        ("env -i bash -c", ("env", "-i", "bash", "-c")),
    ],
)
def test_a_shell_is_the_argv_before_the_text(shell: str, argv: tuple[str, ...]) -> None:
    assert task(f"{{run: x, shell: {shell}}}").kind == Shell(text="x", shell=argv)


def test_the_nearest_shell_counts() -> None:
    text = "shell: sh\ndefaults: {shell: dash}\ntasks: {a: {run: x}, b: {run: x, shell: zsh}, c: {argv: [x]}}\n"
    kinds = [each.kind for each in compiled(text).tasks]
    assert [kind.shell[0] for kind in kinds if isinstance(kind, Shell)] == ["dash", "zsh"]


def test_a_json_file_compiles_to_the_same() -> None:
    data = {"schedule": "30 2 * * *", "tasks": {"a": {"run": "true", "retry": 2}}}
    workflow, problems = lint.check("w.json", json.dumps(data).encode(), stem="w", is_json=True)
    assert workflow == compiled('schedule: "30 2 * * *"\ntasks: {a: {run: "true", retry: 2}}\n')
    assert not problems


def test_warnings_come_with_the_workflow() -> None:
    workflow, problems = lint.check("w.yaml", b'schedule: "0 3 1 * 5"\n' + TASKS.encode(), stem="w", is_json=False)
    assert workflow is not None
    assert only(problems).severity is Severity.WARNING


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('schedule: "0 3 1 * 5"\n' + TASKS, "cron_days"),
        ('schedule: "*/40 * * * *"\n' + TASKS, "cron_step"),
        ("env: {V: 3.10}\n" + TASKS, "number_text"),
        ("tasks: {a: {argv: [x, 0x1F]}}\n", "number_text"),
        ("tasks: {a: {run: x}, b: {run: x, needs: [a, a]}}\n", "needs_twice"),
        ("tasks: {a: {run: x, trigger_rule: any_failed}}\n", "no_effect"),
        ("tasks: {a: {run: x, retry: {delay: 5s}}}\n", "no_effect"),
        ("timeout: 1m\ntasks: {a: {run: x, timeout: 2m}}\n", "no_effect"),
    ],
)
def test_what_is_certainly_not_meant_is_warned_of(text: str, code: str) -> None:
    problem = only(problems_of(text))
    assert (problem.code, problem.severity) == (code, Severity.WARNING)


def test_one_attempt_takes_back_those_of_the_defaults_without_a_warning() -> None:
    text = "defaults: {retry: 3}\ntasks: {a: {run: x, retry: 1}}\n"
    assert problems_of(text) == []
    assert compiled(text).tasks[0].retry.attempts == 1


# ---- What is refused ------------------------------------------------------------------------------------------------


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    problems = refused("nmae: x\ntimeout: 10\ntasks:\n  a: {rnu: x}\n  b: {run: x, needs: [zz]}\n")
    assert [(problem.line, problem.code) for problem in problems] == [
        (1, "unknown_key"), (2, "value"), (4, "kind"), (4, "unknown_key"), (5, "unknown_need"),
    ]  # fmt: skip


def test_at_most_fifty_problems_are_listed_and_it_is_said() -> None:
    problems = refused("tasks:\n" + "".join(f"  t{n}: {{rnu: x}}\n" for n in range(500)))
    assert len(problems) == 51
    assert problems[-1].code == "more"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("schedul: x\n", "schedule"), ("taks: {}\n", "tasks"), ("on: push\n", "triggers"), ("inputs: {}\n", "params"),
    ],
)  # fmt: skip
def test_an_unknown_key_comes_with_the_nearest_word(text: str, word: str) -> None:
    assert f'did you mean "{word}"' in str(only(refused(text + TASKS)))


@pytest.mark.parametrize(
    "text",
    ["secrets: {}\n"],
)
def test_a_key_of_a_later_version_is_refused_as_such(text: str) -> None:
    assert only(refused(text + TASKS)).code == "later"


@pytest.mark.parametrize(
    ("params", "fix"),
    [("{dya: x}", "declare it under params:"), ("{}", "give it under params: of the trigger, or a default")],
)
def test_params_of_a_trigger_that_do_not_fit_come_with_what_to_do(params: str, fix: str) -> None:
    text = f"params: {{day: {{required: {str(params == '{}').lower()}}}}}\n"
    text += f"triggers: {{t: {{schedule: '@daily', params: {params}}}}}\n{TASKS}"
    problem = only(refused(text))
    assert (problem.code, problem.fix) == ("params", fix)


@pytest.mark.parametrize("key", ["secrets"])
def test_a_task_key_of_a_later_version_is_refused_as_such(key: str) -> None:
    assert task_problem(f"{{run: x, {key}: x}}").code == "later"


@pytest.mark.parametrize("kind", ["steps"])
def test_a_kind_of_a_later_version_is_refused_as_such(kind: str) -> None:
    assert task_problem(f"{{{kind}: {{}}}}").code == "later"


def test_a_merge_key_is_refused_as_such() -> None:
    assert "merge keys" in only(refused(f"<<: {{env: {{}}}}\n{TASKS}")).message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("version: 2\n" + TASKS, "version 1"),
        ("version: '1'\n" + TASKS, "version 1"),
        ("name: ../x\n" + TASKS, "no name"),
        ("name: 7\n" + TASKS, "expected a name"),
        ("description: [a]\n" + TASKS, "expected text"),
        ("env:\n" + TASKS, "no value"),
        ("env: [A]\n" + TASKS, "expected a mapping"),
        ("env: {1A: x}\n" + TASKS, "no name of a variable"),
        ("env: {PYFLOW_X: x}\n" + TASKS, "made by PyFlow"),
        ("env: {PARAM_X: x}\n" + TASKS, "made by PyFlow"),
        ("env: {A: }\n" + TASKS, "no value"),
        ("env: {A: .nan}\n" + TASKS, "no form in JSON"),
        ("cwd: work\n" + TASKS, "absolute path"),
        ("user: a b\n" + TASKS, "no name of a user"),
        ("user: 0\n" + TASKS, "expected text"),
        ("shell: fsh\n" + TASKS, "options are known"),
        ("schedule: every day\n" + TASKS, "cron"),
        ("schedule: 5\n" + TASKS, "expected a cron"),
        ("schedule: {timezone: UTC}\n" + TASKS, "no cron"),
        ("schedule: {cron: '* * * * *', timezone: ../etc}\n" + TASKS, "time zone"),
        ("schedule: {cron: '* * * * *', timezone: Europe/Berlinn}\n" + TASKS, "Europe/Berlin"),
        ("triggers: {t: {}}\n" + TASKS, "fires it"),
        ("triggers: {a b: {schedule: '* * * * *'}}\n" + TASKS, "no name"),
        ("schedule: '* * * * *'\ntriggers: {schedule: {schedule: '* * * * *'}}\n" + TASKS, "at the top"),
        ("params: {x: {required: true}}\nschedule: '* * * * *'\n" + TASKS, "a value is required"),
        ("schedule: {cron: '* * * * *', params: {x: 1}}\n" + TASKS, "no param"),
        ("overlap: sometimes\n" + TASKS, "expected one of skip"),
        ("queue_max: -1\n" + TASKS, "from 0"),
        ("max_parallel: 0\n" + TASKS, "from 1"),
        ("max_parallel: true\n" + TASKS, "whole number"),
        ("timeout: 0s\n" + TASKS, "longer than nothing"),
        ("timeout: .inf\n" + TASKS, "no unit"),
        ("retention: {log_bytes: 5}\n" + TASKS, "no unit"),
        ("tasks: {}\n", "expected a mapping of name to task"),
        ("name: x\n", "needs tasks"),
        ("tasks: [a]\n", "found a list"),
    ],
)
def test_a_wrong_value_of_a_workflow_is_refused(text: str, reason: str) -> None:
    assert reason in str(only(refused(text)))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}", "something to do"),
        ("x", "expected a mapping"),
        ("{run: x, argv: [y]}", "both run and argv"),
        ("{run: ''}", "empty"),
        ("{run: [a]}", "expected shell text"),
        ("{run: true}", "put it in quotes"),
        ("{argv: a b}", "expected a list"),
        ("{argv: []}", "expected a list"),
        ("{argv: [[a]]}", "found a list"),
        ("{argv: ['', a]}", "empty"),
        ("{argv: [x], shell: sh}", "no shell"),
        ("{run: x, needs: [[a]]}", "expected a name"),
        ("{run: x, needs: }", "no value"),
        ("{run: x, needs: a}", "a -> a"),
        ("{run: x, trigger_rule: all_failed}", "expected one of all_ok"),
        ("{run: x, retry: 0}", "from 1"),
        ("{run: x, retry: true}", "attempts"),
        ("{run: x, retry: {attempts: three}}", "whole number"),
        ("{run: x, retry: {on_exit: 256}}", "from 1 to 255"),
        ("{run: x, retry: {on_status: 99}}", "from 100 to 599"),
        ("{run: x, timeout: 10}", '"10s"'),
        ("{run: x, continue_on_error: 1}", "true or false"),
        ("{run: x, success_codes: [3], skip_codes: 3}", "both a success and a skip"),
        ("{run: x, log: {journal: true}}", "expected one of none, failed, all"),
        ("{run: x, stdin: 5}", "expected text"),
    ],
)
def test_a_wrong_value_of_a_task_is_refused(text: str, reason: str) -> None:
    assert reason in str(task_problem(text))


@pytest.mark.parametrize("name", [".", "..", "", "a/b", "a b", "-rf", "a" * 64, "ä", "a\u202eb", "%s"])
def test_a_name_that_breaks_rule_d7_is_refused_and_shown_safely(name: str) -> None:
    data = json.dumps({"tasks": {name: {"run": "x"}}}).encode()
    workflow, problems = lint.check("w.json", data, stem="w", is_json=True)
    assert workflow is None
    assert only(problems).code == "name"
    assert str(problems[0]).isprintable()


def test_a_file_whose_name_is_no_name_must_name_its_workflow() -> None:
    assert lint.check("a b.yaml", TASKS.encode(), stem="a b", is_json=False)[0] is None
    assert lint.check("a b.yaml", b"name: ab\n" + TASKS.encode(), stem="a b", is_json=False)[0] is not None


# ---- Expressions (rule P1) ------------------------------------------------------------------------------------------


def test_an_expression_in_run_is_refused_with_its_variable() -> None:
    problem = task_problem("{run: 'echo ${{ params.dry-run }}'}")
    assert problem.code == "expression"
    assert "$PARAM_DRY_RUN" in problem.fix


@pytest.mark.parametrize(
    "text",
    ["{run: 'echo ${{ tasks.x.outputs.y }}'}", "{argv: ['${{ params.x }}']}", "{run: x, shell: ['${{ x }}', -c]}"],
)
def test_an_expression_that_would_reach_a_command_is_refused_with_the_way_to_do_it(text: str) -> None:
    problem = task_problem(text)
    assert problem.code in ("expression", "later")
    assert problem.fix


@pytest.mark.parametrize(
    "text",
    ["name: '${{ x }}'\n" + TASKS, "schedule: '${{ x }}'\n" + TASKS, "tasks: {'${{ x }}': {run: x}}\n"],
)
def test_an_expression_in_a_name_or_a_schedule_is_refused(text: str) -> None:
    assert only(refused(text)).code == "expression"


@pytest.mark.parametrize("text", ["description: '${{ x }}'\n", "owner: '${{ x }}'\n", "labels: {a: '${{ x }}'}\n"])
def test_an_expression_in_a_text_for_people_is_refused(text: str) -> None:
    assert only(refused(text + TASKS)).code == "expression"


# ---- Limits (rule D5) -----------------------------------------------------------------------------------------------

LONG = "x" * (120 * 1024 + 1)


@pytest.mark.parametrize("text", [f"{{run: {LONG}}}", f"{{argv: [a, {LONG}]}}", f"{{run: x, env: {{A: {LONG}}}}}"])
def test_a_string_that_the_kernel_would_not_take_is_refused_with_the_remedy(text: str) -> None:
    problem = task_problem(text)
    assert (problem.code, "file" in problem.fix) == ("too_long", True)


def test_bytes_count_and_not_characters() -> None:
    assert task(f"{{run: {'x' * 120 * 1024}}}").kind == Shell(text="x" * 120 * 1024)
    assert task_problem(f"{{run: {'ä' * 61 * 1024}}}").code == "too_long"


def test_a_command_with_all_its_variables_is_bounded() -> None:
    env = ", ".join(f"V{n}: {'x' * 100_000}" for n in range(12))
    assert only(refused(f"env: {{{env}}}\n{TASKS}")).code == "too_long"


# ---- Graph ----------------------------------------------------------------------------------------------------------


def test_a_cycle_is_shown_in_the_order_of_its_runs() -> None:
    text = "tasks: {x: {run: x}, a: {run: x, needs: [x, c]}, b: {run: x, needs: a}, c: {run: x, needs: b}}\n"
    assert only(refused(text)).message.endswith("a -> b -> c -> a")


def test_an_unknown_need_comes_with_the_nearest_name_and_its_place() -> None:
    problem = only(refused("tasks:\n  fetch: {run: x}\n  b:\n    run: x\n    needs:\n      - fetch\n      - fecth\n"))
    assert (problem.line, problem.column) == (7, 9)
    assert 'did you mean "fetch"' in problem.message


def test_the_middle_of_a_long_cycle_is_left_out() -> None:
    shown = graph.show_cycle([f"t{n}" for n in range(3001)])
    assert len(shown) < 200
    assert "more" in shown


def test_ten_thousand_tasks_compile_without_recursion() -> None:
    tasks = "".join(f"  t{n}: {{needs: t{n + 1}, run: x}}\n" for n in range(10_000))
    assert len(compiled(f"tasks:\n{tasks}  t10000: {{run: x}}\n").tasks) == 10_001


def test_a_cycle_of_ten_thousand_tasks_is_found() -> None:
    tasks = "".join(f"  t{n}: {{needs: t{(n + 1) % 10_000}, run: x}}\n" for n in range(10_000))
    assert only(refused(f"tasks:\n{tasks}")).code == "cycle"


# ---- Params (rule P4) -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{x: string}", "expected a mapping"),
        ("{x: {type: text}}", "expected one of string"),
        ("{x: {type: array, items: secret}}", "the type secret is for params"),
        ("{x: {type: secret, default: 'the value itself'}}", "expected the name of a secret"),
        ("{x: {type: integer, default: '1'}}", "expected an integer"),
        ("{x: {type: integer, default: 5, maximum: 4}}", "more than 4"),
        ("{x: {default: c, enum: [a, b]}}", "none of"),
        ("{x: {enum: [a, 1]}}", "expected text"),
        ("{x: {pattern: '(a'}}", "not closed"),
        ("{x: {pattern: 'a+', default: b}}", "does not match"),
        ("{x: {type: integer, pattern: a}}", "is for text"),
        ("{x: {type: boolean, minimum: 1}}", "are for numbers"),
        ("{x: {minimum: 2, maximum: 1}}", "minimum is more"),
        ("{x: {items: string}}", "is for lists"),
        ("{x: {required: true, default: a}}", "never missing"),
        ("{a b: {}}", "no name"),
        ("{a-b: {}, a.b: {}}", "PARAM_A_B"),
        ("{x: {defualt: a}}", 'did you mean "default"'),
    ],
)
def test_a_wrong_param_is_refused(text: str, reason: str) -> None:
    assert reason in str(only(refused(f"params: {text}\n{TASKS}")))


# ---- The tables -----------------------------------------------------------------------------------------------------


def test_every_kind_is_a_key_of_a_task() -> None:
    assert KINDS.keys() <= TASK.keys.keys()


@pytest.mark.parametrize("table", [WORKFLOW, TASK])
def test_no_key_is_both_there_and_for_later(table: Any) -> None:
    assert not table.keys.keys() & table.later
    assert set(table.meant.values()) <= table.keys.keys()
    assert not table.meant.keys() & (table.keys.keys() | table.later)
