"""The programs in a task's process, run as the daemon runs them: functions, and the command that gives outputs on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pyflowd.base import output_file
from pyflowd.model.kinds import Python
from tests.corpus import CORPUS, needs_corpus
from tests.daemon import programs
from tests.daemon.programs import Ended

CODE = """
import asyncio, datetime, decimal, os, sys, dataclasses, pathlib

def add(a, b=2): return {"sum": a + b}
def same(value): return value
def text(): return "text"
def nothing(): return None
def reads():
    os.lseek(0, 0, os.SEEK_SET)
    return os.read(0, 10).decode()
def says(): print("out"); print("err", file=sys.stderr)
def raises(): raise ValueError("no\\nway")
def chained():
    try:
        raises()
    except ValueError as error:
        raise KeyError("deeper") from error
def inner_type_error(): return len(5)
def leaves(status): sys.exit(status)
def path(): return sys.path[0], [name for name in sys.path if name.endswith(os.path.join("pyflowd", "task"))]
async def later(value):
    await asyncio.sleep(0)
    return {"later": value}
async def fails_later():
    await asyncio.sleep(0)
    raise OSError("disk")
def dates(): return {"days": [{"first": datetime.date(2026, 1, 1)}]}
def money(): return decimal.Decimal(1)
def place(): return {"p": pathlib.Path("/x")}
@dataclasses.dataclass
class Point:
    x: int
    @classmethod
    def origin(cls): return cls(0)
def infinite(): return float("inf")
def keys(): return {1: 2}
def names(): return {"a b": 1}
def endless():
    found = []
    found.append(found)
    return found
def large(): return "x" * 2_000_000
def half(): return "\\ud800"
VALUE = 3
"""


def call(folder: Path, function: str, interpreter: str | None = None, **arguments: Any) -> Ended:
    (folder / "python").mkdir(exist_ok=True)
    (folder / "python" / "code_of_user.py").write_text(CODE)
    (folder / "python" / "broken.py").write_text("import no_such_module\n")
    (folder / "python" / "wrong.py").write_text("def x(:\n")
    name = function if ":" in function else f"code_of_user:{function}"
    return programs.run(Python(function=name, arguments=arguments, interpreter=interpreter), folder)


def test_a_returned_mapping_is_the_outputs(tmp_path: Path) -> None:
    assert call(tmp_path, "add", a=1).outputs == {"sum": 3}


@pytest.mark.parametrize(("function", "outputs"), [("text", {"result": "text"}), ("nothing", {})])
def test_anything_else_but_none_is_the_output_result(tmp_path: Path, function: str, outputs: dict[str, Any]) -> None:
    ended = call(tmp_path, function)
    assert (ended.status, ended.outputs) == (0, outputs)


def test_an_async_function_is_run_to_its_end(tmp_path: Path) -> None:
    assert call(tmp_path, "later", value=[1, None]).outputs == {"later": [1, None]}


def test_standard_input_is_empty_for_the_users_code(tmp_path: Path) -> None:
    assert call(tmp_path, "reads").outputs == {"result": ""}


def test_a_traceback_has_the_users_frames_only(tmp_path: Path) -> None:
    ended = call(tmp_path, "raises")
    assert ended.status == 1
    assert ended.stderr.startswith("Traceback (most recent call last):\n")
    assert ended.stderr.count("File ") == 1
    assert "function.py" not in ended.stderr


def test_the_last_line_of_an_exception_is_the_tasks_own_word(tmp_path: Path) -> None:
    ended = call(tmp_path, "raises")
    assert ended.message == "ValueError: no way"
    assert ended.said is not None
    assert ended.said.facts == {"type": "ValueError"}


def test_the_cause_of_an_exception_is_shown(tmp_path: Path) -> None:
    ended = call(tmp_path, "chained")
    assert "direct cause" in ended.stderr
    assert ended.message == "KeyError: 'deeper'"


def test_an_exception_after_an_await_shows_no_frames_of_asyncio(tmp_path: Path) -> None:
    ended = call(tmp_path, "fails_later")
    assert ended.message == "OSError: disk"
    assert "runners.py" not in ended.stderr


def test_a_type_error_inside_the_function_is_the_functions(tmp_path: Path) -> None:
    assert call(tmp_path, "inner_type_error").status == 1


@pytest.mark.parametrize(("status", "expected"), [(7, 7), (0, 0), (None, 0), ("text", 1)])
def test_system_exit_is_respected(tmp_path: Path, status: Any, expected: int) -> None:
    assert call(tmp_path, "leaves", status=status).status == expected


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nowhere:f", "there is no module nowhere (looked in "),
        ("code_of_user:addd", 'code_of_user has no addd (did you mean "add"?)'),
        ("code_of_user:Point.nothing", "has no Point.nothing"),
        ("code_of_user:VALUE", "is no function: it is a int"),
        ("code_of_user:add", "do not fit: add() missing 1 required positional argument: 'a'; it takes (a, b=2)"),
    ],
)
def test_what_cannot_be_called_ends_with_2_and_says_why(tmp_path: Path, function: str, message: str) -> None:
    ended = call(tmp_path, function)
    assert ended.status == 2
    assert message in ended.message
    assert "Traceback" not in ended.stderr


def test_a_module_that_cannot_import_another_shows_where(tmp_path: Path) -> None:
    ended = call(tmp_path, "broken:f")
    assert (ended.status, ended.message) == (1, "ModuleNotFoundError: No module named 'no_such_module'")
    assert "broken.py" in ended.stderr
    assert "task" not in ended.stderr


def test_a_syntax_error_shows_its_line(tmp_path: Path) -> None:
    ended = call(tmp_path, "wrong:f")
    assert ended.status == 1
    assert "def x(:" in ended.stderr


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("dates", "days[0].first is a datetime.date, which JSON does not have: return its .isoformat()"),
        ("money", "result is a decimal.Decimal, which JSON does not have: return str() of it"),
        ("place", "p is a pathlib.PosixPath"),
        ("Point.origin", "result is a code_of_user.Point, which JSON does not have: return dataclasses.asdict() of it"),
        ("infinite", "result is inf, which JSON does not have"),
        ("keys", "result has a key of type int: keys must be text"),
        ("names", '"a b" is no name of an output'),
        ("endless", "nested deeper than 64"),
        ("large", "at most 1048576"),
        ("half", "surrogates not allowed"),
    ],
)
def test_a_result_that_is_no_json_is_a_failure_with_its_place(tmp_path: Path, function: str, message: str) -> None:
    ended = call(tmp_path, function)
    assert (ended.status, ended.outputs) == (1, {})
    assert message in ended.message


def test_the_programs_own_folder_is_not_in_the_way_of_the_users_modules(tmp_path: Path) -> None:
    assert call(tmp_path, "path").outputs == {"result": [str(tmp_path / "python"), []]}


@needs_corpus
def test_naughty_strings_arrive_and_come_back_as_they_were(tmp_path: Path) -> None:
    assert CORPUS is not None
    strings = json.loads((CORPUS / "nasty" / "naughty_strings.json").read_text())["strings"]
    assert call(tmp_path, "same", value={"all": strings}).outputs == {"all": strings}


def _interpreters() -> list[str]:
    """Other versions of Python that happen to be here."""
    folders = [*os.environ.get("PATH", "").split(":"), *map(str, Path.home().glob(".pyenv/versions/*/bin"))]
    found = {}
    for version in ("3.8", "3.9", "3.10", "3.12", "3.13", "3.14"):
        path = shutil.which(f"python{version}", path=":".join(folders[::-1]))
        if path and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            found[version] = path
    return list(found.values())


@pytest.mark.parametrize("interpreter", _interpreters())
@pytest.mark.parametrize(
    ("function", "status"), [("add", 0), ("later", 0), ("raises", 1), ("dates", 1), ("fails_later", 1), ("no", 2)]
)
def test_another_interpreter_does_the_same(tmp_path: Path, interpreter: str, function: str, status: int) -> None:
    arguments = {"add": {"a": 1}, "later": {"value": 1}}.get(function, {})
    ours = call(tmp_path, function, **arguments)
    theirs = call(tmp_path, function, interpreter=interpreter, **arguments)
    assert theirs.status == ours.status == status
    assert theirs.outputs == ours.outputs
    assert theirs.said == ours.said


# ---- pyflow-out -----------------------------------------------------------------------------------------------------


def shell(folder: Path, text: str, **env: str) -> Ended:
    done = subprocess.run(
        ["sh", "-c", text],
        cwd=folder,
        env=programs.environment(folder, **env),
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=programs.DEADLINE_S,
    )
    return Ended(done.returncode, done.stdout, done.stderr, folder / "pyflow-outputs")


def test_outputs_have_the_types_that_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("two\nlines\n")
    command = "pyflow-out set a=x=1 n:int=-3 f:number=2.50 i:number=4 b:bool=true l:json='[1, null]' t:file=text e="
    assert shell(tmp_path, command).outputs == {
        "a": "x=1", "n": -3, "f": 2.5, "i": 4, "b": True, "l": [1, None], "t": "two\nlines\n", "e": "",
    }  # fmt: skip


def test_a_later_value_replaces_an_earlier_one_whoever_wrote_it(tmp_path: Path) -> None:
    text = 'pyflow-out set a=1 b=1; printf "a=2\\nc=x" >>"$PYFLOW_OUTPUT"; pyflow-out set c=3'
    assert shell(tmp_path, text).outputs == {"a": "2", "b": "1", "c": "3"}


def test_an_object_on_standard_input_is_merged(tmp_path: Path) -> None:
    assert shell(tmp_path, """pyflow-out set a=1; echo '{"b": {"c": [2]}}' | pyflow-out json""").outputs == {
        "a": "1",
        "b": {"c": [2]},
    }


def test_twenty_at_once_lose_nothing(tmp_path: Path) -> None:
    loop = "for n in $(seq 20); do pyflow-out set k$n:int=$n & done; wait"
    assert shell(tmp_path, loop).outputs == {f"k{n}": n for n in range(1, 21)}


def test_an_error_of_ones_own_ends_a_strict_shell(tmp_path: Path) -> None:
    ended = shell(tmp_path, 'set -e; pyflow-out error "no rows in $T" type=Empty; echo not here', T="a\nb")
    assert (ended.status, ended.stdout, ended.message) == (1, "", "no rows in a b")
    assert ended.said is not None
    assert ended.said.facts == {"type": "Empty"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "use set, json or error"),
        ("sett a=1", "use set, json or error"),
        ("set", "set needs NAME=VALUE"),
        ("set a", '"a" is not NAME=VALUE'),
        ("set 1a=2", '"1a" is no name of an output'),
        ("set 'a b=2'", "is no name"),
        ("set a:int=x", 'a: "x" is not a whole number'),
        ("set a:int=1.5", "is not a whole number"),
        ("set a:bool=yes", "is not true or false"),
        ("set a:number=inf", "is not a number"),
        ("set a:json='{'", "is not JSON"),
        ("set a:json=NaN", "is not JSON"),
        ("set a:float=1", 'there is no type "float"'),
        ("json </dev/null", "standard input is not JSON"),
        ("error", "error needs a message"),
        ("error two words", "put the message in quotes"),
        ('set a="$(printf "\\\\377")"', "not UTF-8"),
        ("set a=ok b:int=no", "b: "),
    ],
)
def test_a_wrong_call_is_refused_in_one_line_and_writes_nothing(tmp_path: Path, arguments: str, message: str) -> None:
    ended = shell(tmp_path, f"pyflow-out {arguments}")
    assert ended.status == 2
    assert message in ended.stderr
    assert ended.stderr.startswith("pyflow-out: ")
    assert ended.stderr.count("\n") == 1
    assert (ended.outputs, ended.said) == ({}, None)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    ended = shell(tmp_path, "pyflow-out set a:file=/no/such")
    assert (ended.status, ended.stderr) == (1, "pyflow-out: /no/such: No such file or directory\n")


def test_more_than_a_mebibyte_is_refused_and_what_was_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 600_000)
    ended = shell(tmp_path, "pyflow-out set a:file=large && pyflow-out set b:file=large")
    assert ended.status == 2
    assert "at most 1048576" in ended.stderr
    assert list(ended.outputs) == ["a"]


def test_outside_of_a_task_it_says_so(tmp_path: Path) -> None:
    ended = shell(tmp_path, "unset PYFLOW_OUTPUT; pyflow-out set a=1")
    assert (ended.status, "this is no task of PyFlow" in ended.stderr) == (2, True)


def test_without_the_daemons_interpreter_that_of_the_path_is_used(tmp_path: Path) -> None:
    text = 'unset PYFLOW_PYTHON; PATH="$PATH:$BIN"; pyflow-out set a=1'
    assert shell(tmp_path, text, BIN=str(Path(sys.executable).parent)).outputs == {"a": "1"}


@needs_corpus
def test_naughty_strings_are_given_on_byte_for_byte(tmp_path: Path) -> None:
    assert CORPUS is not None
    strings = json.loads((CORPUS / "nasty" / "naughty_strings.json").read_text())["strings"]
    arguments = [f"n{n}={text}" for n, text in enumerate(strings)]
    subprocess.run(
        [f"{programs.process.COMMANDS}/pyflow-out", "set", *arguments], env=programs.environment(tmp_path), check=True
    )
    written = (tmp_path / "pyflow-outputs").read_bytes()
    assert list(output_file.parse(written).values()) == strings
