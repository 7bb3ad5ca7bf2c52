"""Every code of a problem stands in the table, and each of its examples shows what it says."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from pyflowctl import linting
from pyflowd.lint.lint_code import Code
from pyflowd.lint.lint_codes import CODES
from pyflowd.model.problem import Severity

REPOSITORY = Path(__file__).resolve().parents[2]
_MAKERS = {"Problem", "Wrong", "Invalid", "DocumentError", "_problem", "Finding", "Hazard"}
_NOT_OF_FILES = {"usage", "internal", "not_found", "denied", "refused", "unavailable", "not_now", "too_many"}
"""Codes of errors that a request gets: they are no problems of a file."""
SHOWN: dict[str, dict[str, bytes]] = {
    "encoding": {"w.yaml": "tasks: {a: {run: x}}".encode("utf-16")},
    "more": {"w.yaml": b"".join(b"k%d: 1\n" % n for n in range(60))},
    "not_read": {"w.yaml": b"tasks: {a: {run: x}}\n", "w.yaml.d/X.YAML": b""},
    "param": {"workflows/w.yaml": b"template: t\nwith: {hots: x}\n", "templates/t.yaml": b"tasks: {a: {run: x}}\n"},
    "surrogate": {"w.json": b'{"tasks": {"a": {"run": "\\ud800"}}}'},
    "too_deep": {"w.yaml": b"tasks: " + b"[" * 70 + b"]" * 70},
    "too_large": {"w.yaml": b'a: &a "' + b"x" * 100_000 + b'"\nb: [' + b"*a, " * 200 + b"*a]\n"},
    "too_long": {"w.yaml": b'tasks: {a: {run: x, env: {X: "' + b"x" * 200_000 + b'"}}}\n'},
    "too_many_nodes": {
        "w.yaml": b"a0: &a0 [x]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 10)) for n in range(1, 8))
    },
    "never_fires": {
        "workflows/w.yaml": b"schedule: {cron: '0 9 * * sun', calendar: workdays}\ntasks: {a: {run: echo a}}\n",
        "pyflowd.yaml": b"calendars: {workdays: {days: mon-fri}}\n",
    },
    "unknown_blackout": {
        "workflows/w.yaml": b"schedule: {cron: '0 9 * * *', blackout: freez}\ntasks: {a: {run: echo a}}\n",
        "pyflowd.yaml": b"blackouts: {freeze: {daily: '22:00-02:00'}}\n",
    },
    "unknown_calendar": {
        "workflows/w.yaml": b"schedule: {cron: '0 9 * * *', calendar: workday}\ntasks: {a: {run: echo a}}\n",
        "pyflowd.yaml": b"calendars: {workdays: {days: mon-fri}}\n",
    },
    "unknown_channel": {
        "workflows/w.yaml": b"notify: oncal\ntasks: {a: {run: echo a}}\n",
        "pyflowd.yaml": b"channels: {oncall: {webhook: {url: https://example.com/}}}\n",
    },
    "unsized_pool": {
        "workflows/w.yaml": b"tasks: {a: {run: echo a, pool: crm-apo}}\n",
        "workflows/other.yaml": b"pools: {crm-api: 4}\ntasks: {a: {run: echo a}}\n",
    },
    "unreadable": {"other.yaml": b""},
}
"""Files that show what no few lines can; the first is linted, or `w.yaml`."""
NOT_OF_LINT = {"held", "inotify", "not_checked", "not_in_force", "unfixed", "unwritable"}
"""Told by the daemon, by the editor of the dashboard, or by `fix`."""


def found(path: Path) -> dict[str, Severity]:
    return {problem.code: problem.severity for problem in linting.check_files([str(path)])}


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("code", [code for code in CODES.values() if code.bad], ids=lambda code: code.name)
def test_the_bad_example_of_a_code_shows_it(code: Code, tmp_path: Path) -> None:
    assert found(written(tmp_path, "w.yaml", code.bad)).get(code.name) is code.severity


@pytest.mark.parametrize("code", [code for code in CODES.values() if code.good], ids=lambda code: code.name)
def test_the_good_example_of_a_code_is_without_any_problem(code: Code, tmp_path: Path) -> None:
    assert found(written(tmp_path, "w.yaml", code.good)) == {}


@pytest.mark.parametrize("code", CODES.values(), ids=lambda code: code.name)
def test_every_code_has_a_pair_of_examples_or_says_what_would_show_it(code: Code) -> None:
    assert bool(code.bad and code.good) != bool(code.shown)
    assert code.meaning
    assert code.why


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_what_is_only_said_of_a_code_shows_it(name: str, tmp_path: Path) -> None:
    for file, data in SHOWN[name].items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes(data)
    first = next(iter(SHOWN[name])) if name != "unreadable" else "w.yaml"
    assert name in found(tmp_path / first)


def test_every_code_that_has_no_example_is_shown_in_another_way() -> None:
    # Of secrets: test_lint; of inputs: test_definition_uses; of the daemon and of fix: their own tests.
    apart = {"secret_place", "secret_in_log", "plugin_input", *NOT_OF_LINT}
    assert {code.name for code in CODES.values() if code.shown} <= set(SHOWN) | apart


def codes_in(path: Path) -> set[str]:
    """Codes that a module's calls name: `report.add(mark, "code", ...)`, `code="code"`, `Hazard(a, b, "code", ...)`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in _MAKERS:
            names |= {word.value.value for word in node.keywords
                      if word.arg == "code" and isinstance(word.value, ast.Constant)}  # fmt: skip
        if called == "add" and "report" not in ast.unparse(node.func):
            continue
        place = {"add": 1, "Invalid": 1, "DocumentError": 0, "Finding": 1, "Hazard": 2}.get(called)
        if place is not None and len(node.args) > place + 1:
            given = node.args[place]
            names |= {given.value} if isinstance(given, ast.Constant) and isinstance(given.value, str) else set()
    return names


def test_every_code_that_the_program_gives_stands_in_the_table() -> None:
    modules = [*REPOSITORY.glob("pyflowd/**/*.py"), *REPOSITORY.glob("pyflowctl/*.py")]
    used = set().union(*map(codes_in, modules))
    assert len(used) > 50
    assert sorted(used - set(CODES) - _NOT_OF_FILES) == []


def test_codes_as_json_are_whole(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    from pyflowctl import local

    assert local.run(["lint", "--codes", "-o", "json"]) == 0
    assert {each["code"] for each in json.loads(capfdbinary.readouterr().out)} == set(CODES)


def test_an_explanation_has_both_examples(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    from pyflowctl import local

    assert local.run(["lint", "--explain", "unquoted"]) == 0
    said = capfdbinary.readouterr().out.decode()
    assert "cat -- $PARAM_FILE" in said
    assert 'cat -- "$PARAM_FILE"' in said


def test_a_code_that_there_is_not_is_a_wrong_command_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    from pyflowctl import local

    assert local.run(["lint", "--explain", "unquotd"]) == 2
    assert b'did you mean "unquoted"' in capfdbinary.readouterr().err


def test_a_warning_is_an_error_when_it_is_strict(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    from pyflowctl import local

    path = written(tmp_path, "w.yaml", CODES["unquoted"].bad)
    assert (local.run(["lint", str(path)]), local.run(["lint", "--strict", str(path)])) == (0, 1)
    capfdbinary.readouterr()
