"""The JSON Schema: it says what the tables say, takes what the readers take, and names what editors should mark."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import pyflowd
from pyflowctl import thin
from pyflowd import settings, units
from pyflowd.language import fields
from pyflowd.language.assembly import assemble
from pyflowd.language.definition import WORKFLOW
from pyflowd.language.definition_kinds import KINDS
from pyflowd.language.definition_process import OPERATIONS
from pyflowd.language.definition_task import NOT_HERE, TASK
from pyflowd.language.definition_text import Part
from pyflowd.language.document_yaml import parse_yaml
from pyflowd.language.fields import Table
from pyflowd.language.params import plain
from pyflowd.schema import schema
from pyflowd.schema.schema_forms import DURATION, SIZE, one_or_more
from pyflowd.schema.schema_parts import PARTS, REQUIRED, SETTINGS_TABLES, WORKFLOW_TABLES, slug
from pyflowd.settings import SETTINGS
from tests import manual_words

REPOSITORY = Path(__file__).resolve().parent.parent.parent
EXAMPLES = sorted(
    path for folder in ("etc/examples", "etc/workflows", "examples") for path in (REPOSITORY / folder).rglob("*.yaml")
)
TABLES = (WORKFLOW, TASK, SETTINGS, *WORKFLOW_TABLES, *SETTINGS_TABLES)


@lru_cache(maxsize=2)
def validator(*, of_settings: bool = False) -> jsonschema.Draft202012Validator:
    made = schema.settings_schema() if of_settings else schema.workflow_schema()
    return jsonschema.Draft202012Validator(made)


def read(text: str) -> Any:
    return plain(parse_yaml(text.encode()).root)


def wrongs(text: str, *, of_settings: bool = False) -> list[str]:
    """Where something is wrong with a file, as the schema sees it."""
    found = validator(of_settings=of_settings).iter_errors(read(text))
    return sorted({each.json_path.removeprefix("$.") for each in found})


def lint_takes(text: str) -> bool:
    part = Part(label="w.yaml", data=text.encode())
    return assemble(part, (), lambda _: pytest.fail("a template"), stem="w").workflow is not None


# ---- Against the tables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [schema.workflow_schema(), schema.settings_schema()], ids=["workflow", "settings"])
def test_it_is_a_schema(made: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(made)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.what)
def test_the_form_of_every_key_is_known(table: Table) -> None:
    assert not [key for key in table.keys if schema.key_form(table, key) is None]


def test_no_part_is_of_a_key_that_there_is_not() -> None:
    keys: dict[str, set[str]] = {}
    for table in TABLES:
        keys.setdefault(table.what, set()).update(table.keys)
    said = {(what, key) for parts in (PARTS, REQUIRED) for what, each in parts.items() for key in each}
    assert not [(what, key) for what, key in said if key not in keys.get(what, ())]


def _all_tables() -> Iterator[Table]:
    for found in pkgutil.iter_modules(pyflowd.__path__):
        if found.name.startswith(("definition", "settings", "notify_channels", "secrets_settings")):
            module = importlib.import_module(f"pyflowd.{found.name}")
            yield from (value for value in vars(module).values() if isinstance(value, Table))


def test_every_table_of_the_readers_is_in_the_schema() -> None:
    known = {(table.what, *table.keys) for table in TABLES}
    assert not [table.what for table in _all_tables() if (table.what, *table.keys) not in known]


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (each for key, each in value.items() if key == "$ref")
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


@pytest.mark.parametrize("made", [schema.workflow_schema(), schema.settings_schema()], ids=["workflow", "settings"])
def test_every_table_is_reached_and_every_reference_leads_somewhere(made: dict[str, Any]) -> None:
    assert {reference.removeprefix("#/$defs/") for reference in _references(made)} == set(made["$defs"])


def test_two_tables_of_one_schema_never_have_one_name() -> None:
    for tables in (WORKFLOW_TABLES, SETTINGS_TABLES):
        assert len({slug(table) for table in tables}) == len(tables)


def test_the_words_are_those_of_the_manual() -> None:
    assert manual_words.FILE.read_text("utf-8") == manual_words.written(), "write them: python -m tests.manual_words"


@pytest.mark.parametrize("table", [WORKFLOW, TASK, SETTINGS], ids=lambda table: table.what)
def test_every_key_of_the_manual_is_described(table: Table) -> None:
    assert not [key for key in table.keys if key not in schema.words()[table.what]]


@pytest.mark.parametrize("text", ["30s", "1h30m", "0.5ms", "7d", "5", "5 m", "m", "1y", "-1s", ""])
def test_a_duration_is_what_units_takes(text: str) -> None:
    assert bool(re.search(DURATION["pattern"], text)) == _takes(units.duration_s, text)


@pytest.mark.parametrize("text", ["64KiB", "10 MB", "1.5GiB", "7B", "7", "1KIB", "KiB", "-1B", ""])
def test_a_size_is_what_units_takes(text: str) -> None:
    assert bool(re.search(SIZE["pattern"], text)) == _takes(units.size_bytes, text)


def _takes(reader: Any, text: str) -> bool:
    try:
        reader(text)
    except ValueError:
        return False
    return True


def test_one_or_more_of_words_takes_a_list_of_them() -> None:
    form = one_or_more({"type": "string", "enum": ["a", "b"]})
    judge = jsonschema.Draft202012Validator(form)
    assert [judge.is_valid(value) for value in ("a", ["a", "b"], "c", ["c"], 1)] == [True, True, False, False, False]


def test_bounds_are_those_of_the_reader() -> None:
    table = Table("bounded", {"n": ("n", fields.integer_from(2, 5))})
    assert schema.key_form(table, "n") == {"type": "integer", "minimum": 2, "maximum": 5}


# ---- What it takes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_taken(path: Path) -> None:
    assert not wrongs(path.read_text())


def test_the_settings_in_etc_are_taken() -> None:
    commented = (REPOSITORY / "etc" / "pyflowd.yaml").read_text()
    told = re.sub(r"^# (?=[ a-z].*(?::|- |password_file))", "", commented, flags=re.MULTILINE)
    assert settings.parse("etc", told.encode()).channels
    assert not wrongs(told, of_settings=True)


WHOLE = """\
version: 1
labels: {tier: 1, on: true}
params:
  hosts: {type: array, items: {type: string, pattern: "[a-z]+"}, default: [a], max_items: 3}
  day: {enum: [mon, tue], default: mon}
env: {N: 1, ON: true, L: [1, 2]}
env_file: [-/etc/x, ~/y]
shell: [bash, -c]
triggers:
  nightly: {schedule: {cron: "@daily", dst: skip, jitter: 5m}, params: {day: tue}}
overlap: queue_latest
concurrency: 2
pools: {disk: 2}
locks: [a, b]
gates: {disk_free: [{path: /var, at_least: 10%}], units_active: a.service, wait: 1h}
defaults: {retry: 2, timeout: 5m, log: {max_bytes: 1MiB}}
notify: [ops, {channel: oncall, on: [failed, cancelled]}]
visible_to: [dba, auditors]
operate_by: dba
outputs: {n: "${{ tasks.a.outputs.n }}"}
tasks:
  a: {run: "true", outputs: {n: integer, s: {type: string, optional: true}}, artifacts: {f: out.txt}}
  b: {needs: [a], argv: [echo, 1, true], if: "params.day == 'mon'", retry: {attempts: 3, on_exit: 7}}
  c: {needs: a, for_each: "${{ params.hosts }}", as: host, max_failures: 5%, run: 'true'}
  d: {matrix: {os: [x, y], exclude: {os: x}}, python: "m:f", with: {a: 1}, trigger_rule: always}
  e: {file: {copy: [/a, /b], to: /c, overwrite: true}}
  f: {file: {write: /x, json: [1]}}
  g: {http: {url: https://example.com, method: POST, json: {a: 1}, expect: {status: [200, 2xx], body: ok}}}
  h: {http: "https://example.com"}
  i: {ssh: {host: web1, run: "true", options: {ConnectTimeout: 5}}}
  j: {workflow: other, wait: false, with: {a: 1}}
  k: {approval: {message: go?, allow: user:anna, choices: [a, b], timeout: 1h}}
  l: {wait: 10m}
  m: {wait: {condition: "tasks.a.succeeded > 0"}, needs: a}
  n: {notify: {channel: ops, text: hello}}
  o: {run: x, undo: {run: y, after: started}, on_error: {o2: {run: z}}, pool: {disk: 1}}
  r: {run: x, repeat: {until: "true", max: 3}, credentials: {key: db-key}}
  p: {run: x, cache: {key: k, ttl: 1d}, success_codes: [0, 3], priority: 5, locks: a}
on_failure: {undo: all}
on_cancel: {undo: all, q: {run: x}}
finally: {z: {run: "true", env: {A: "${{ run.outcome }}"}}}
"""


def test_every_form_that_the_readers_take_is_taken() -> None:
    assert lint_takes(WHOLE)
    assert not wrongs(WHOLE)


def test_a_file_that_is_built_from_a_template_needs_no_tasks() -> None:
    assert not wrongs("template: dump\nwith: {database: app}\n")


TASKS = "tasks: {a: {run: 'true'}}\n"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (TASKS + "shedule: '@daily'\n", "$"),
        ("name: x\n", "$"),
        ("tasks: {}\n", "tasks"),
        (TASKS + "timeout: 5\n", "timeout"),
        (TASKS + "timeout: 5 minutes\n", "timeout"),
        (TASKS + "version: 2\n", "version"),
        (TASKS + "overlap: never\n", "overlap"),
        (TASKS + "max_parallel: 0\n", "max_parallel"),
        (TASKS + "name: a b\n", "name"),
        (TASKS + "env: {PYFLOW_X: 1}\n", "env"),
        (TASKS + "schedule: {timezone: UTC}\n", "schedule"),
        (TASKS + "triggers: {n: {cron: '@daily'}}\n", "triggers.n"),
        (TASKS + "params: {x: {type: text}}\n", "params.x.type"),
        (TASKS + "notify: {channel: c, on: [ended]}\n", "notify.on[0]"),
        ("tasks: {a: {run: [x]}}\n", "tasks.a.run"),
        ("tasks: {a: {run: x, argv: [y]}}\n", "tasks.a"),
        ("tasks: {a: {needs: b}}\n", "tasks.a"),
        ("tasks: {a: {run: x, with: {}}}\n", "tasks.a"),
        ("tasks: {a: {run: x, after: started}}\n", "tasks.a"),
        ("tasks: {a: {run: x, retry: {attempts: many}}}\n", "tasks.a.retry.attempts"),
        ("tasks: {a: {run: x, outputs: {n: int}}}\n", "tasks.a.outputs.n"),
        ("tasks: {a: {wait: true}}\n", "tasks.a.wait"),
        ("tasks: {a: {file: {copy: /a}}}\n", "tasks.a.file"),
        ("tasks: {a: {file: {delete: /a, to: /b}}}\n", "tasks.a.file"),
        ("tasks: {a: {file: {copy: /a, move: /b, to: /c}}}\n", "tasks.a.file"),
        ("tasks: {a: {http: {method: GET}}}\n", "tasks.a.http"),
        ("tasks: {a: {http: {url: x, expect: {status: 20}}}}\n", "tasks.a.http.expect.status"),
        (TASKS + "finally: {z: {run: x, undo: {run: y}}}\n", "finally.z"),
    ],
)
def test_what_lint_refuses_is_marked_at_its_place(text: str, where: str) -> None:
    assert not lint_takes(text)
    assert wrongs(text) == [where]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("max_task: 3\n", "$"),
        ("max_tasks: many\n", "max_tasks"),
        ("log_max_bytes: 5\n", "log_max_bytes"),
        ("channels: {a: {mail: {to: x@y.z}, slack: {url: 'https://x.y'}}}\n", "channels.a"),
        ("channels: {a: {mail: {to: nobody}}}\n", "channels.a.mail.to"),
    ],
)
def test_what_the_settings_refuse_is_marked_at_its_place(text: str, where: str) -> None:
    assert wrongs(text, of_settings=True) == [where]


def test_every_kind_excludes_every_other() -> None:
    defined = schema.workflow_schema()["$defs"]["task"]
    assert len(defined["allOf"]) == len(defined["anyOf"]) == len(KINDS)


def test_every_operation_on_files_is_offered() -> None:
    assert set(OPERATIONS) <= set(schema.workflow_schema()["$defs"]["file"]["properties"])


@pytest.mark.parametrize("place", ["task", "handler", "on_error", "undo"])
def test_a_task_has_the_keys_that_mean_something_where_it_stands(place: str) -> None:
    offered = set(schema.workflow_schema()["$defs"][place]["properties"])
    refused = next(keys for name, keys in NOT_HERE.items() if name.name.lower() == place)
    assert offered == set(TASK.keys) - refused


# ---- The command ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "made"), [(["schema"], schema.workflow_schema), (["schema", "--settings"], schema.settings_schema)]
)
def test_the_command_prints_it(argv: list[str], made: Any, capfd: pytest.CaptureFixture[str]) -> None:
    assert thin.main(argv) == 0
    assert json.loads(capfd.readouterr().out) == made()
