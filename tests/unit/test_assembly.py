"""A definition of several texts: template, file, drop-ins."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.expressions import template as templates
from pyflowd.expressions.expression import ExpressionError, Variables
from pyflowd.language.assembly import Assembled, Missing, assemble
from pyflowd.language.definition_text import Part, Role
from pyflowd.language.document import quote
from pyflowd.model.kinds import Argv, Shell
from pyflowd.model.workflow import Workflow

TEMPLATE = """\
params:
  host: {type: string, required: true}
  keep: {type: integer, default: 7, minimum: 1}
  when: {type: string, default: "0 3 * * *"}
  hosts: {type: array, default: [a, b]}
  limit: {type: string}
schedule: ${{ template.when }}
tasks:
  dump: {run: 'echo "$TEMPLATE_HOST"', timeout: 5m}
  ship: {needs: dump, argv: [echo, "${{ template.host }}"]}
"""


def built(main: str, *drop_ins: str, template: str = TEMPLATE) -> Assembled:
    base = Part(label="templates/t.yaml", data=template.encode(), role=Role.TEMPLATE)
    return assemble(
        Part(label="w.yaml", data=main.encode()),
        [Part(label=f"w.yaml.d/{n}.yaml", data=each.encode(), role=Role.DROP_IN) for n, each in enumerate(drop_ins)],
        lambda name: base if name == "t" else Missing(f"there is no template {quote(name)}"),
        stem="w",
    )


def good(main: str, *drop_ins: str, template: str = TEMPLATE) -> Workflow:
    found = built(main, *drop_ins, template=template)
    assert found.workflow is not None, found.problems
    return found.workflow


def problems(main: str, *drop_ins: str, template: str = TEMPLATE) -> list[str]:
    found = built(main, *drop_ins, template=template)
    assert found.workflow is None
    return [str(problem) for problem in found.problems]


def template_of(task: str, params: str = "x: {type: string, default: v}") -> str:
    return f"params: {{{params}}}\ntasks:\n  a: {task}\n"


def task_of(task: str, params: str = "x: {type: string, default: v}", **kwargs: str) -> Workflow:
    return good("template: t\n", template=template_of(task, params), **kwargs)


# ---- Drop-ins -------------------------------------------------------------------------------------------------------


def test_a_drop_in_changes_one_key_of_one_task() -> None:
    found = good("tasks: {a: {run: x, timeout: 1m}, b: {run: y}}\n", "tasks: {a: {timeout: 2m}}\n")
    assert [(task.name, task.timeout_s) for task in found.tasks] == [("a", 120.0), ("b", None)]


def test_a_drop_in_takes_away_with_null() -> None:
    found = good("schedule: '* * * * *'\ntasks: {a: {run: x}, b: {run: y}}\n", "schedule: null\ntasks: {b: null}\n")
    assert ([task.name for task in found.tasks], found.triggers) == (["a"], ())


def test_drop_ins_apply_in_their_order() -> None:
    found = good("tasks: {a: {run: x}}\n", "description: one\n", "description: two\n")
    assert found.description == "two"


def test_a_problem_names_the_part_in_which_it_stands() -> None:
    found = problems(
        "tasks:\n  a: {run: x, cdw: /}\n",
        "tasks:\n  b: {run: y, tiemout: 1m}\n",
        "\n\ntasks: {c: {needs: d, run: z}}\n",
    )
    assert [each.split(": ")[0] for each in found] == ["w.yaml:2:15", "w.yaml.d/0.yaml:2:15", "w.yaml.d/1.yaml:3:20"]


def test_every_text_that_cannot_be_read_is_named() -> None:
    found = problems("tasks: [\n", "a: 'x\n")
    assert [each.split(":")[0] for each in found] == ["w.yaml", "w.yaml.d/0.yaml"]


def test_a_drop_in_that_is_no_mapping_is_refused() -> None:
    assert "w.yaml.d/0.yaml:1:1: expected a mapping" in problems("tasks: {a: {run: x}}\n", "[1]\n")[0]


def test_what_is_missing_is_told_of_the_file_itself() -> None:
    assert problems("description: x\n", "owner: y\n")[0].startswith("w.yaml:1:1: a workflow needs tasks")


def test_a_file_alone_is_what_it_always_was() -> None:
    found = built("tasks: {a: {run: x}}\n")
    assert (len(found.parts), found.template) == (1, "")


# ---- Templates ------------------------------------------------------------------------------------------------------


def test_a_template_is_filled_by_with() -> None:
    found = good("template: t\nwith: {host: db1, when: '5 4 * * *'}\n")
    assert [trigger.cron for trigger in found.triggers] == ["5 4 * * *"]
    assert found.tasks[1].kind == Argv(argv=("echo", "db1"))
    assert found.params == ()


def test_shell_text_has_the_params_as_variables() -> None:
    found = good("template: t\nwith: {host: db1, hosts: [x]}\n")
    assert isinstance(found.tasks[0].kind, Shell)
    assert found.env == {
        "TEMPLATE_HOST": "db1", "TEMPLATE_KEEP": "7", "TEMPLATE_WHEN": "0 3 * * *", "TEMPLATE_HOSTS": '["x"]',
    }  # fmt: skip


def test_shell_text_is_never_filled() -> None:
    found = problems("template: t\n", template=template_of("{run: 'echo ${{ template.x }}'}"))
    assert len(found) == 1
    assert found[0].startswith("templates/t.yaml:3:12: run: an expression")
    assert 'write "$TEMPLATE_X"' in found[0]


@pytest.mark.parametrize(
    "holder", ["on_error: {e: {run: 'x ${{ template.x }}'}}", "undo: {run: 'x ${{ template.x }}'}"]
)
def test_shell_text_of_tasks_within_tasks_is_never_filled(holder: str) -> None:
    assert "pasted into the command" in problems("template: t\n", template=template_of(f"{{run: y, {holder}}}"))[0]


def test_shell_text_over_ssh_is_never_filled() -> None:
    text = template_of("{ssh: {host: '${{ template.x }}', run: 'x ${{ template.x }}'}}")
    assert "pasted into the command" in problems("template: t\n", template=text)[0]


def test_a_key_called_run_that_is_no_shell_text_is_filled() -> None:
    found = task_of("{python: 'm:f', with: {run: '${{ template.x }}'}}")
    assert "'run': 'v'" in str(found.tasks[0].kind)


def test_the_file_lies_over_its_template_and_drop_ins_over_both() -> None:
    found = good(
        "template: t\nwith: {host: h}\ntasks: {dump: {timeout: 1m}, more: {run: x}}\n", "tasks: {ship: null}\n"
    )
    assert [(task.name, task.timeout_s) for task in found.tasks] == [("dump", 60.0), ("more", None)]


@pytest.mark.parametrize(
    ("main", "drop_in", "told"),
    [
        (
            "tasks: {dump: {run: x}}\n", "tasks: {dmp: null}\n",
            'null takes nothing away: below there is no tasks.dmp (did you mean "dump"?)',
        ),
        (
            "template: t\nwith: {host: h}\n", "tasks: {dump: {timeuot: null}}\n",
            'null takes nothing away: below there is no tasks.dump.timeuot (did you mean "timeout"?)',
        ),
    ],
)  # fmt: skip
def test_a_null_that_takes_nothing_away_is_told_with_its_place(main: str, drop_in: str, told: str) -> None:
    found = built(main, drop_in)
    assert found.workflow is not None
    [problem] = found.problems
    assert (problem.file, problem.line, problem.code, problem.message) == ("w.yaml.d/0.yaml", 1, "no_effect", told)


def test_a_null_of_a_later_drop_in_takes_away_what_an_earlier_one_brought() -> None:
    assert built("tasks: {a: {run: x}}\n", "tasks: {b: {run: y}}\n", "tasks: {b: null}\n").problems == []


def test_null_in_the_file_takes_away_from_its_template() -> None:
    assert good("template: t\nwith: {host: h}\nschedule: null\n").triggers == ()


def test_a_drop_in_can_change_what_a_template_is_filled_with() -> None:
    assert good("template: t\nwith: {host: h}\n", "with: {host: other}\n").env["TEMPLATE_HOST"] == "other"


def test_the_params_of_the_file_are_those_of_its_runs() -> None:
    found = good("template: t\nwith: {host: h}\nparams: {full: {type: boolean}}\n")
    assert [param.name for param in found.params] == ["full"]


@pytest.mark.parametrize(
    ("type_", "value", "field", "expected"),
    [
        ("integer", "3", "retry: {attempts: '${{ template.x }}'}", 3),
        ("integer", "3", "retry: '${{ template.x + 1 }}'", 4),
    ],
)
def test_an_expression_that_is_all_of_a_value_keeps_its_type(type_: str, value: str, field: str, expected: int) -> None:
    found = task_of(f"{{run: x, {field}}}", f"x: {{type: {type_}, default: {value}}}")
    assert found.tasks[0].retry.attempts == expected


def test_a_list_becomes_a_list_and_a_mapping_a_mapping() -> None:
    params = "x: {type: array, default: [a, b]}, e: {type: object, default: {K: v}}"
    found = task_of("{run: x, env: '${{ template.e }}', matrix: {axis: '${{ template.x }}'}}", params)
    assert found.tasks[0].env == {"K": "v"}
    assert "'a'" in str(found.tasks[0].fan_out)


def test_text_around_an_expression_makes_text() -> None:
    found = task_of("{argv: [echo, 'a ${{ template.x }} b ${{ template.x }}']}")
    assert found.tasks[0].kind == Argv(argv=("echo", "a v b v"))


def test_expressions_of_the_run_are_left_for_it() -> None:
    found = task_of("{run: x, env: {A: '${{ template.x }} ${{ run.id }} $${{ no }}'}}")
    assert found.tasks[0].env == {"A": "v ${{ run.id }} $${{ no }}"}


def test_params_of_the_template_in_an_expression_of_the_run_become_literals() -> None:
    params = 'x: {type: string, default: "it\'s \\"so\\""}, n: {type: integer, default: -3}'
    found = task_of("{run: x, env: {A: '${{ [template.x, template[\"n\"] + run.id] }}'}}", params)
    assert found.tasks[0].env == {"A": '${{ ["it\'s \\"so\\"", (-3) + run.id] }}'}


@pytest.mark.parametrize(
    "key", ["if: template.x == 'v' and run.id > 1", "if: '${{ template.x == \"v\" and run.id > 1 }}'"]
)
def test_a_condition_may_use_them_with_and_without_braces(key: str) -> None:
    assert task_of(f"{{run: x, {key}}}").tasks[0].condition in (
        "\"v\" == 'v' and run.id > 1", '"v" == "v" and run.id > 1',
    )  # fmt: skip


def test_a_condition_that_is_known_at_load_is_so() -> None:
    assert task_of("{run: x, if: '${{ template.x == \"v\" }}'}").tasks[0].condition == "true"


def test_an_optional_param_without_a_value_takes_its_key_away() -> None:
    found = task_of("{run: x, timeout: '${{ default(template.x, null) }}'}", "x: {type: string}")
    assert found.tasks[0].timeout_s is None


def test_reading_a_param_without_a_value_is_an_error() -> None:
    text = template_of("{run: x, cwd: '/${{ template.x }}'}", "x: {type: string}")
    assert problems("template: t\n", template=text)[0].startswith("templates/t.yaml:3:20: cwd: template.x has no value")


def test_all_that_is_wrong_with_the_arguments_is_told_at_once() -> None:
    found = problems("template: t\nwith:\n  hots: db1\n  keep: 0\n  hosts: x\n")
    assert [each.split(":")[1] for each in found] == ["3", "2", "4", "5"]
    assert 'did you mean "hosts"' in found[0]
    assert "needs a value for host" in found[1]
    assert "0 is less than 1" in found[2]
    assert "expected a list" in found[3]


def test_an_argument_is_a_value_and_no_expression() -> None:
    assert "w.yaml:2:14: with: host: an expression" in problems("template: t\nwith: {host: '${{ run.id }}'}\n")[0]


def test_an_argument_cannot_smuggle_an_expression_in() -> None:
    params = "x: {type: string, default: v}, y: {type: string, default: '{{ run.id }}'}"
    found = task_of("{run: x, env: {A: '${{ \"$\" + template.y }}', B: '${{ \"$\" + template.y }}!'}}", params)
    assert found.tasks[0].env == {"A": "$${{ run.id }}", "B": "$${{ run.id }}!"}


def test_a_name_that_the_template_does_not_declare_is_told_with_its_place() -> None:
    found = problems("template: t\n", template=template_of("{run: x, cwd: '${{ template.y }}', if: template.z}"))
    assert [each.split(": ")[0] for each in found] == ["templates/t.yaml:3:20", "templates/t.yaml:3:45"]


def test_a_bad_value_that_was_filled_in_is_told_where_it_stands() -> None:
    found = problems("template: t\nwith: {host: h, when: 61 * * * *}\n")
    assert found[0].startswith("templates/t.yaml:7:11: schedule: cron")


def test_a_template_that_is_not_there_is_told_where_it_is_named() -> None:
    assert problems("description: x\ntemplate: u\n")[0].startswith('w.yaml:2:11: template: there is no template "u"')


@pytest.mark.parametrize("name", ["../t", "a/b", "[t]", "7", "''"])
def test_a_name_that_is_none_never_becomes_a_path(name: str) -> None:
    assert "no name of a template" in problems(f"template: {name}\n")[0]


def test_a_template_is_not_built_from_another() -> None:
    assert (
        "templates/t.yaml:1:1: template: a template is not built"
        in problems("template: t\n", template="template: u\ntasks: {a: {run: x}}\n")[0]
    )


def test_with_alone_is_told() -> None:
    found = built("with: {a: 1}\ntasks: {a: {run: x}}\n")
    assert found.workflow is None
    assert "with" in str(found.problems[0])


def test_a_default_of_a_template_is_no_expression() -> None:
    text = template_of("{run: x}", "x: {type: string, default: '${{ run.id }}'}")
    assert "templates/t.yaml:1:37: default:" in problems("template: t\n", template=text)[0]


def test_filling_is_bounded() -> None:
    values = "".join(f"    V{n}: ${{{{ template.x }}}}\n" for n in range(200))
    text = f"params: {{x: {{type: string, default: {'y' * 100_000}}}}}\ntasks:\n  a:\n    run: x\n    env:\n  {values}"
    found = problems("template: t\n", template=text.replace("\n      V", "\n      V"))
    assert any("when filled" in each for each in found)


# ---- Filled early or late, it is the same ----------------------------------------------------------------------------

_PIECES = """
    ${{ template.s }} | ${{ template.n }} | ${{ params.p }} | ${{template['s'] == params.p}} | $${{ no }} | }} | $ |
    ${{ default(template.o, params.p) }} | ${{ template.l + [template.n, params.p] }} | template.s | { | ${ |
    ${{ '}}' if template.n > 1 else "${{" }} | ${{ template.m.k }} | ${{ template.l[0] }} | é | ${{ 1 }} | { 1 }}
"""
PIECES = st.lists(st.sampled_from([piece.strip() for piece in _PIECES.split(" |")]), min_size=1, max_size=5)
TEXTS = st.one_of(
    st.sampled_from(["$", "a$", "{", "{{ 1 }}", "{ 1 }}", "$$", "${", "}}", ""]),
    st.text(alphabet=st.sampled_from("ab'\"\\$}{\n é😀\t"), max_size=8).filter(lambda text: "${{" not in text),
)
VALUES = st.fixed_dictionaries(
    {
        "s": TEXTS, "n": st.integers(-5, 5), "l": st.lists(TEXTS, min_size=1, max_size=2),
        "m": st.fixed_dictionaries({"k": TEXTS | st.booleans()}),
    }
)  # fmt: skip


def rendered(text: Any, **names: Any) -> Any:
    try:
        return templates.render(text, Variables(names)) if isinstance(text, str) else text
    except ExpressionError:
        return ExpressionError


@given(PIECES, VALUES, TEXTS)
def test_a_text_filled_at_load_is_what_it_would_be_at_the_run(
    pieces: list[str], values: dict[str, Any], p: str
) -> None:
    text = "".join(pieces)
    params = {
        "s": {"type": "string", "required": True}, "n": {"type": "integer", "required": True},
        "l": {"type": "array", "required": True}, "m": {"type": "object", "required": True}, "o": {"type": "string"},
    }  # fmt: skip
    base = {"params": params, "outputs": {"x": text}, "tasks": {"a": {"run": "x"}}}
    found = assemble(
        Part(label="w.json", data=json.dumps({"template": "t", "with": values}).encode(), is_json=True),
        (),
        lambda _: Part(label="t.json", data=json.dumps(base).encode(), is_json=True, role=Role.TEMPLATE),
        stem="w",
    )
    late = rendered(text, template=values, params={"p": p})
    if found.document is None:
        assert late is ExpressionError, found.problems
        return
    early = rendered(found.document.root["outputs"]["x"], params={"p": p})
    assert early == late
