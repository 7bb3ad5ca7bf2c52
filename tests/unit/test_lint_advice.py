"""What lint says beyond what the daemon refuses: places, types, tasks that never run, what is around a file."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from pyflowctl import linting, surroundings
from pyflowd.language.assembly import Assembled, assemble
from pyflowd.language.definition_text import Part
from pyflowd.lint.lint import advise
from pyflowd.lint.lint_host import Surroundings
from pyflowd.model.problem import Problem
from pyflowd.render import render_host
from pyflowd.render.layout import Style

ETC = Path(__file__).parents[2] / "etc"
EXAMPLES = sorted([*(ETC / "examples").glob("*.yaml"), *(ETC / "workflows").glob("*.yaml")])
HERE = Surroundings(
    now_s=1_772_323_200,  # 2026-03-01
    timezone="Europe/Berlin",
    is_user=lambda name: name == "root",
    is_group=lambda name: name == "root",
    workflows=lambda: frozenset({"load", "w"}),
    channels=frozenset({"oncall"}),
)


def assembled(text: str) -> Assembled:
    found = assemble(Part(label="w.yaml", data=textwrap.dedent(text).encode()), stem="w")
    assert found.workflow is not None, found.problems
    return found


def codes(text: str, surroundings: Surroundings = Surroundings()) -> list[str]:  # noqa: B008 - it is frozen
    return [problem.code for problem in advise("w.yaml", assembled(text), surroundings)]


def linted(tmp_path: Path, text: str, name: str = "w.yaml") -> list[tuple[str, int, int]]:
    path = tmp_path / name
    path.write_text(text)
    return [(problem.code, problem.line, problem.column) for problem in linting.check_files([str(path)])]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_without_a_word(path: Path) -> None:
    assert linting.check_files([str(path)]) == []


# ---- Places ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("params: {f: {}}\ntasks:\n  a:\n    run: |\n      echo ok\n      cat -- $PARAM_F\n", (6, 14)),
        ("params: {f: {}}\ntasks:\n  a:\n    run: |2-\n        echo\n      cat -- $PARAM_F\n", (6, 14)),
        ("params: {f: {}}\ntasks:\n  a:\n    run: |\n\n      echo ok\n\n      cat -- $PARAM_F\n", (8, 14)),
        ("params: {f: {}}\ntasks:\n  a:\n    run: >-\n      echo ok\n      cat -- $PARAM_F\n", (6, 14)),
        ("params: {f: {}}\ntasks:\n  a:\n    run: cat -- $PARAM_F\n", (4, 17)),
        ("params: {f: {}}\ntasks:\n  a:\n    run: echo ok;\n      cat -- $PARAM_F\n", (5, 14)),
        ("params: {f: {}}\ntasks: {a: {run: 'cat -- $PARAM_F'}}\n", (2, 26)),
        ('params: {f: {}}\ntasks: {a: {run: "echo \\"x\\"; cat -- $PARAM_F"}}\n', (2, 38)),
        ("params: {f: {}}\r\ntasks:\r\n  a:\r\n    run: |\r\n      echo\r\n      cat -- $PARAM_F\r\n", (6, 14)),
        ("params: {f: {}}\ntasks: {a: {ssh: {host: h, run: cat -- $PARAM_F}}}\n", (2, 40)),
    ],
)
def test_a_hazard_has_the_line_and_column_of_its_word(tmp_path: Path, text: str, place: tuple[int, int]) -> None:
    path = tmp_path / "w.yaml"
    path.write_bytes(text.encode())
    found = [(problem.line, problem.column) for problem in linting.check_files([str(path)])]
    assert found == [place]


def test_a_hazard_in_json_has_its_place(tmp_path: Path) -> None:
    text = '{"params": {"f": {}},\n "tasks": {"a": {"run": "echo\\ncat -- $PARAM_F"}}}'
    assert linted(tmp_path, text, "w.json") == [("unquoted", 2, 39)]


def test_a_fault_of_syntax_has_the_line_that_the_shell_names(tmp_path: Path) -> None:
    text = "tasks:\n  a:\n    run: |\n      echo a\n      echo )\n      echo b\n"
    assert linted(tmp_path, text) == [("shell_syntax", 5, 7)]


def test_a_text_of_two_tasks_by_an_alias_is_told_of_once(tmp_path: Path) -> None:
    text = "params: {f: {}}\ntasks:\n  a: {run: &t cat -- $PARAM_F}\n  b: {run: *t}\n"
    assert [code for code, _, _ in linted(tmp_path, text)] == ["unquoted"]


def test_text_for_another_program_is_not_read_as_shell(tmp_path: Path) -> None:
    text = 'tasks: {a: {shell: python3, run: "print($x); if ("}}\n'
    assert linted(tmp_path, text) == []


def test_many_files_are_told_in_their_order(tmp_path: Path) -> None:
    for n in range(130):
        (tmp_path / f"w{n:03}.yaml").write_text(f"params: {{p{n}: {{}}}}\ntasks: {{a: {{run: echo {n}}}}}\n")
    files = sorted(map(str, tmp_path.iterdir()))
    found = linting.check_files(files)
    assert [problem.file for problem in found] == files
    assert {problem.code for problem in found} == {"unused_param"}


# ---- Variables ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ("{}", ["option_injection", "unquoted"]),
        ("{type: integer}", []),
        ("{type: boolean}", []),
        ("{type: date}", []),
        ("{enum: [a, b]}", []),
        ("{enum: [a b, c]}", ["unquoted"]),
        ("{pattern: '[a-z]+'}", []),
        ("{pattern: '[a-z ]+'}", ["unquoted"]),
        ("{pattern: '/.*'}", ["unquoted"]),
        ("{pattern: '[a-z-]+'}", ["option_injection"]),
        ("{type: array}", ["unquoted"]),
    ],
)
def test_what_a_param_may_hold_decides(tmp_path: Path, declared: str, told: list[str]) -> None:
    found = linted(tmp_path, f"params: {{p: {declared}}}\ntasks: {{a: {{run: cat $PARAM_P}}}}\n")
    assert sorted(code for code, _, _ in found) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("a b", []),
        ("${{ run.id }}", []),
        ("${{ len(params.p) }}", []),
        ("${{ params.n }}", []),
        ("x-${{ params.p }}", ["unquoted"]),
        ("${{ params.p }}", ["option_injection", "unquoted"]),
        ("${{ 'a' if params.p == '' else 'b' }}", []),
    ],
)
def test_what_a_variable_is_made_of_decides(tmp_path: Path, value: str, told: list[str]) -> None:
    text = (
        "params: {p: {}, n: {type: integer, default: 1}}\n"
        f'tasks: {{a: {{env: {{X: "{value}"}}, run: cat $X "./$PARAM_P$PARAM_N"}}}}\n'
    )
    assert sorted(code for code, _, _ in linted(tmp_path, text)) == told


def test_items_that_are_written_out_are_known(tmp_path: Path) -> None:
    text = 'tasks: {a: {for_each: [one, two], env: {X: "${{ item }}"}, run: echo $X}}\n'
    assert linted(tmp_path, text) == []
    assert [code for code, _, _ in linted(tmp_path, text.replace("one", '"one *"'))] == ["unquoted"]


def test_a_secret_in_the_log_is_told_and_one_in_a_pipe_is_not(tmp_path: Path) -> None:
    text = (
        'env: {TOKEN: "${{ secrets.token }}"}\ntasks:\n'
        '  a: {run: echo "$TOKEN"}\n  b: {run: \'echo "$TOKEN" | docker login --password-stdin\'}\n'
    )
    assert [(code, line) for code, line, _ in linted(tmp_path, text)] == [("secret_in_log", 3)]


# ---- Expressions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ("if: params.text", ["condition_type"]),
        ("if: params.count > 1", []),
        ("if: tasks.up.state == 'failed'", ["never_equal"]),
        ("if: tasks.up.state == 'skipped'", []),
        ("if: tasks.up.state == 'failed'\n    trigger_rule: all_done", []),
        ("if: tasks.soft.state == 'failed'", []),
        ("if: tasks.up.outputs.n == '3'", ["never_equal"]),
        ("if: tasks.up.outputs.n > 3", []),
        ("if: tasks.up.outputs.other", []),
        ("if: params.mode == 'off'", []),
        ("if: params.mode == 'of'", ["never_equal"]),
        ("for_each: ${{ params.count + 1 }}", ["type"]),
        ("for_each: ${{ split(params.text, ',') }}", []),
        ("for_each: ${{ params.list }}\n    if: item > 3", ["type"]),
        ("env: {X: '${{ upper(params.count) }}'}", ["type"]),
        ("env: {X: '${{ env.E + 1 }}'}", ["type"]),
        ("repeat: {until: tasks.it.exit_code, max: 3}", ["condition_type"]),
    ],
)  # fmt: skip
def test_declared_types_are_known_to_expressions(task: str, told: list[str]) -> None:
    text = f"""\
params:
  text: {{default: x}}
  count: {{type: integer, default: 1}}
  mode: {{enum: [on, off], default: "off"}}
  list: {{type: array, items: string, default: [a]}}
env: {{E: x}}
tasks:
  up: {{run: echo "$PARAM_TEXT$PARAM_COUNT$PARAM_MODE$PARAM_LIST", outputs: {{n: integer}}}}
  soft: {{run: echo a, continue_on_error: true}}
  it:
    needs: [up, soft]
    run: echo it
    {task}
outputs: {{n: "${{{{ tasks.up.outputs.n }}}}"}}
"""
    assert codes(text) == told


# ---- Tasks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ("b: {needs: a, if: false, run: x}\n  c: {needs: b, run: x}", ["b", "c"]),
        ("b: {needs: a, if: false, run: x}\n  c: {needs: b, trigger_rule: all_done, run: x}", ["b"]),
        ("b: {needs: a, if: false, run: x}\n  c: {needs: [a, b], run: x}", ["b"]),
        ("b: {needs: a, if: false, run: x}\n  c: {needs: [a, b], trigger_rule: all_success, run: x}", ["b", "c"]),
        ("b: {needs: a, if: false, run: x}\n  c: {needs: b, trigger_rule: none_failed, run: x}", ["b"]),
        ("b: {needs: a, if: false, run: x}\n  c: {needs: b, trigger_rule: any_failed, run: x}", ["b", "c"]),
        ("b: {needs: a, trigger_rule: any_failed, run: x}\n  c: {needs: b, run: x}", []),
        ("b: {run: x, continue_on_error: true}\n  c: {needs: b, trigger_rule: any_failed, run: x}", ["c"]),
        ("b: {needs: a, if: 1 > 2, run: x}", ["b"]),
        ("b: {needs: a, if: run.id == '1', run: x}\n  c: {needs: b, run: x}", []),
        ("b: {needs: a, if: true, run: x}", []),
    ],
)
def test_tasks_that_never_run_are_told(tasks: str, told: list[str]) -> None:
    found = advise("w.yaml", assembled(f"tasks:\n  a: {{run: x}}\n  {tasks}\n"))
    assert [problem.message.split()[1] for problem in found if problem.code == "unreachable"] == told


@pytest.mark.parametrize(
    "task",
    [
        "{run: ./deploy.sh}", "{run: /opt/app/run}", "{run: bash deploy.sh}", "{run: env | sort}", "{argv: [/opt/x]}",
        "{argv: [sh, deploy.sh]}", "{python: 'app:main'}", "{run: 'echo $PARAM_DAY'}",
        "{run: 'echo \"${PARAM_DAY:-}\"'}",
        "{run: x, if: params.day == 'mon'}", "{run: x, env: {D: '${{ json(params) }}'}}",
        "{run: 'for v in \"${!PARAM_@}\"; do echo \"$v\"; done'}", "{argv: [echo, '${{ params.day }}']}",
    ],
)  # fmt: skip
def test_a_param_that_may_be_read_is_not_told(task: str) -> None:
    assert "unused_param" not in codes(f"params: {{day: {{default: mon}}}}\ntasks: {{a: {task}}}\n")


@pytest.mark.parametrize(
    "task", ["{run: /bin/echo hello}", "{argv: [/usr/bin/true]}", "{http: 'https://example.com/'}"]
)
def test_a_param_that_nothing_can_read_is_told(task: str) -> None:
    assert codes(f"params: {{day: {{default: mon}}}}\ntasks: {{a: {task}}}\n") == ["unused_param"]


@pytest.mark.parametrize(
    "reader",
    [
        "b: {needs: a, run: x, if: tasks.a.outputs.n > 1}",
        "b: {needs: a, run: x, env: {O: '${{ json(tasks.a.outputs) }}'}}",
        "b: {run: x}",
    ],
)
def test_outputs_that_are_read_or_for_people_are_not_told(reader: str) -> None:
    assert codes(f"tasks:\n  a: {{run: x, outputs: {{n: integer}}}}\n  {reader}\n") == []


# ---- What is around -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("user: nobody-such\ntasks: {a: {run: x}}", ["unknown_user"]),
        ("visible_to: [root, nobody-such]\ntasks: {a: {run: x}}", ["unknown_group"]),
        ("operate_by: nobody-such\ntasks: {a: {run: x}}", ["unknown_group"]),
        ("defaults: {user: nobody-such}\ntasks: {a: {run: x}}", ["unknown_user"]),
        ("tasks: {a: {run: x, user: root}}", []),
        ("tasks: {a: {workflow: laod}}", ["unknown_workflow"]),
        ("tasks: {a: {workflow: {name: load, with: {x: 1}}}}", []),
        ("notify: [oncall, {channel: oncal, on: failed}]\ntasks: {a: {run: x}}", ["unknown_channel"]),
        ("tasks: {a: {notify: {channel: deploys, text: x}}}", ["unknown_channel"]),
        ("tasks: {a: {notify: {channel: oncall, text: x}}}", []),
        ('schedule: "30 2 * * *"\ntasks: {a: {run: x}}', ["clock_change"]),
        ('schedule: "30 1 * * *"\ntasks: {a: {run: x}}', []),
        ('schedule: "30 3 * * *"\ntasks: {a: {run: x}}', []),
        ('schedule: "30 2 * * 1-5"\ntasks: {a: {run: x}}', []),
        ('schedule: "*/30 * * * *"\ntasks: {a: {run: x}}', []),
        ('schedule: {cron: "30 2 * * *", timezone: UTC}\ntasks: {a: {run: x}}', []),
        ('schedule: {cron: "30 2 * * *", dst: skip}\ntasks: {a: {run: x}}', []),
        ('schedule: {cron: "30 2 * * *", enabled: false}\ntasks: {a: {run: x}}', []),
        ('triggers: {t: {schedule: {cron: "30 2 * * *"}}}\ntasks: {a: {run: x}}', ["clock_change"]),
        ('triggers: {t: {schedule: "30 1 * * *"}, u: {schedule: "@reboot"}}\ntasks: {a: {run: x}}', []),
    ],
)
def test_what_is_not_there_is_told(text: str, told: list[str]) -> None:
    assert codes(text, HERE) == told
    assert codes(text) == []


def test_a_workflow_beside_the_file_is_known_by_its_file_and_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "load.yaml").write_text("tasks: {a: {run: x}}\n")
    (tmp_path / "other.yaml").write_text("name: mine\ntasks: {a: {run: x}}\n")
    text = "tasks: {a: {workflow: load}, b: {workflow: mine}, c: {workflow: none}}\n"
    assert [(code, column) for code, _, column in linted(tmp_path, text)] == [("unknown_workflow", 65)]


def test_a_vendor_file_is_linted_with_the_drop_ins_of_the_host(tmp_path: Path) -> None:
    vendor = tmp_path / "vendor" / "workflows"
    drop_ins = tmp_path / "workflows" / "w.yaml.d"
    vendor.mkdir(parents=True)
    drop_ins.mkdir(parents=True)
    (vendor / "w.yaml").write_text("tasks: {a: {run: echo a}}\n")
    (drop_ins / "10-local.yaml").write_text("tasks: {a: {timeuot: 5m}}\n")
    found = linting.check_files([str(vendor / "w.yaml")])
    assert [(problem.file, problem.code) for problem in found] == [(str(drop_ins / "10-local.yaml"), "unknown_key")]


# ---- Secrets --------------------------------------------------------------------------------------------------------


def refused(text: str) -> list[str]:
    """Codes of what the daemon refuses as well."""
    return [problem.code for problem in assemble(Part(label="w.yaml", data=text.encode()), stem="w").problems]


@pytest.mark.parametrize(
    "task",
    [
        "{run: x, if: secrets.a == 'x'}",
        "{run: x, stdin: '${{ secrets.a }}'}",
        "{run: x, cwd: '/x/${{ secrets.a }}'}",
        "{argv: [x, '${{ secrets.a }}']}",
        "{python: 'm:f', with: {a: '${{ secrets.a }}'}}",
        "{http: {url: 'https://example.com/${{ secrets.a }}'}}",
        "{http: {url: 'https://example.com/', query: {a: '${{ secrets.a }}'}}}",
        "{notify: {channel: oncall, text: '${{ secrets.a }}'}}",
        "{approval: '${{ secrets.a }}'}",
        "{for_each: '${{ [secrets.a] }}', run: x}",
        "{run: x, env: {A: '${{ secrets }}'}}",
        "{run: x, env: {A: '${{ secrets.a }}'}, if: env.A == 'x'}",
        "{notify: {channel: oncall, text: '${{ env.TOKEN }}'}}",
        "{run: x, on_error: {b: {notify: {channel: oncall, text: '${{ env.TOKEN }}'}}}}",
    ],
)
def test_a_secret_where_it_would_be_kept_or_shown_is_refused(task: str) -> None:
    assert refused(f"env: {{TOKEN: '${{{{ secrets.t }}}}'}}\ntasks: {{a: {task}}}\n") == ["secret_place"]


@pytest.mark.parametrize(
    "task",
    [
        "{run: x, env: {A: '${{ secrets.a }}'}}",
        "{run: x, env: {A: 'Bearer ${{ env.TOKEN }}'}}",
        "{http: {url: 'https://example.com/', headers: {X: '${{ secrets.a }}'}}}",
        "{http: {url: 'https://example.com/', auth: {bearer: '${{ env.TOKEN }}'}}}",
        "{http: {url: 'https://example.com/', auth: {basic: {user: a, password: '${{ secrets.a }}'}}}}",
        "{http: {url: 'https://example.com/', method: POST, json: {a: ['${{ secrets.a }}']}}}",
        "{http: {url: 'https://example.com/', method: POST, form: {a: '${{ secrets.a }}'}}}",
        "{http: {url: 'https://example.com/', method: POST, body: 'a=${{ secrets.a }}'}}",
        "{run: x, if: env.PLAIN == 'x'}",
    ],
)
def test_a_secret_that_goes_to_a_process_or_a_server_is_not_refused(task: str) -> None:
    assert refused(f"env: {{TOKEN: '${{{{ secrets.t }}}}', PLAIN: a}}\ntasks: {{a: {task}}}\n") == []


def test_a_condition_over_params_of_a_template_is_not_called_unreachable(tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "workflows").mkdir()
    template = "params: {full: {type: boolean, default: false}}\ntasks: {a: {run: x}, b: {if: template.full, run: x}}\n"
    (tmp_path / "templates" / "t.yaml").write_text(template)
    assert linted(tmp_path / "workflows", "template: t\n") == []


def test_a_problem_of_a_template_is_told_once_for_all_files_that_are_built_from_it() -> None:
    problem = Problem(file="templates/t.yaml", line=1, column=1, code="value", message="wrong")
    shown = render_host.lint(2, [problem, problem], Style())
    assert shown == ["templates/t.yaml:1:1: error: wrong [value]", "2 files checked: 1 error, 0 warnings"]


def test_a_folder_is_said_to_be_one(tmp_path: Path) -> None:
    [problem] = linting.check_files([str(tmp_path)])
    assert (problem.message, problem.fix) == ("this is a folder", f"name the files in it: {tmp_path}/*.yaml")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("workflows/other.yaml", "pools: {api: 4}\ntasks: {a: {run: x}}\n"),
        ("workflows/w.yaml.d/1.yaml", "pools: {api: 4}\n"),
        ("workflows/other.yaml.d/1.yaml", "pools: {api: 4}\n"),
        ("templates/t.yaml", "pools: {api: 4}\ntasks: {a: {run: x}}\n"),
        ("vendor/workflows/v.json", '{"pools": {"api": 4}, "tasks": {"a": {"run": "x"}}}'),
        ("pyflowd.yaml", "pools: {api: 4}\n"),
    ],
)
def test_a_pool_is_known_wherever_it_has_its_size_from(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / "workflows").mkdir()
    assert linted(tmp_path / "workflows", "tasks: {a: {run: x, pool: {api: 2}}}\n") == [("unsized_pool", 1, 28)]
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    surroundings._pools.cache_clear()
    assert linted(tmp_path / "workflows", "tasks: {a: {run: x, pool: {api: 2}}}\n") == []


def test_of_a_file_that_is_in_no_workflows_folder_nobody_knows_the_pools(tmp_path: Path) -> None:
    assert linted(tmp_path, "tasks: {a: {run: x, pool: api}}\n") == []
