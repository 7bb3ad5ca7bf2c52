"""The manual is whole: every command, option, setting and workflow key stands in it, and its examples hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyflowd import commandline, settings
from pyflowd.definition import _RETENTION, _WORKFLOW
from pyflowd.definition_params import _PARAM
from pyflowd.definition_task import _LOG, _RETRY, _TASK
from pyflowd.definition_triggers import _SCHEDULE, _TRIGGER
from pyflowd.document_yaml import parse_yaml
from pyflowd.fields import Table
from pyflowd.grammar import COMMANDS, GLOBAL_OPTIONS
from pyflowd.layout import zone_of
from pyflowd.lint import check

MAN = Path(__file__).resolve().parent.parent.parent / "man"


def plain(page: str) -> str:
    """The text of a page without its escapes and fonts."""
    text = (MAN / page).read_text()
    text = re.sub(r"\\f[BIRP]|\\&", "", text)
    text = text.replace(r"\(dq", '"').replace(r"\(aq", "'").replace(r"\-", "-").replace(r"\e", "\\")
    return re.sub(r"^\.(?:B|BR|RB|I|IR|RI) ", "", text, flags=re.MULTILINE)


def section(page: str, heading: str) -> str:
    return plain(page).split(f"\n.SH {heading}\n")[1].split("\n.SH ")[0]


def command_entries() -> dict[str, str]:
    """Command to its part of pyflowctl.1: from its tagged paragraph to that of the next command."""
    text = section("pyflowctl.1", "COMMANDS")
    marks = [(match.start(), match[1]) for match in re.finditer(r"^\.TP\n([a-z]+)\b", text, re.MULTILINE)]
    ends = [*(start for start, _ in marks[1:]), len(text)]
    return {name: text[start:end] for (start, name), end in zip(marks, ends, strict=True)}


def keys(page: str, heading: str) -> set[str]:
    """The keys that have a tagged paragraph of their own in a section."""
    tags = re.findall(r"^\.TP\n(.+)$", section(page, heading), re.MULTILINE)
    return {key for tag in tags for key in re.findall(r"[a-z_]+", tag.split(" (")[0].split('"')[0])}


def examples(heading: str) -> list[str]:
    text = section("pyflow-workflow.5", heading)
    return re.findall(r"^\.EX\n(.*?)^\.EE$", text, re.MULTILINE | re.DOTALL)


# ---- pyflowctl(1) ---------------------------------------------------------------------------------------------------


def test_every_command_and_no_other_stands_in_the_manual() -> None:
    assert set(command_entries()) == {spec.name for spec in COMMANDS}


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.name)
def test_every_option_of_a_command_stands_in_its_entry(spec: commandline.CommandSpec) -> None:
    entry = command_entries()[spec.name]
    missing = [name for option in spec.options for name in option.names if name not in entry]
    assert not missing


def test_every_global_option_stands_in_the_manual() -> None:
    text = section("pyflowctl.1", "OPTIONS OF EVERY COMMAND")
    assert not [name for option in GLOBAL_OPTIONS for name in option.names if name not in text]


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.name)
def test_every_option_has_an_example(spec: commandline.CommandSpec) -> None:
    shown = re.findall(r"^Example:\n(?:\.br\n)?(.+)$", command_entries()[spec.name], re.MULTILINE)
    used = {word for line in shown for word in line.split()}
    assert not [option.key for option in spec.options if not used & set(option.names)]


def test_every_example_of_the_manual_is_a_command_line_that_is_understood() -> None:
    lines = re.findall(r"^Example:\n(?:\.br\n)?(.+)$", plain("pyflowctl.1"), re.MULTILINE)
    assert len(lines) > 40
    for line in lines:
        argv = _words(line.split(" && ")[0].split(" | ")[0].split(" > ")[0])
        if "--help" not in argv:
            files = dict.fromkeys(argv, b"")
            commandline.parse(argv[1:], now_us=1_772_400_000_000_000, zone=zone_of("UTC"), files=files)


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.name)
def test_the_example_of_the_help_is_understood(spec: commandline.CommandSpec) -> None:
    argv = _words(spec.example.split(" > ")[0])
    assert commandline.split(argv[1:]).command == spec.name


def _words(line: str) -> list[str]:
    return [quoted or word for quoted, word in re.findall(r'"([^"]*)"|(\S+)', line)]


# ---- pyflowd.yaml(5), pyflowd(8) ------------------------------------------------------------------------------------


def test_every_setting_and_no_other_stands_in_the_manual() -> None:
    nested = set(_RETENTION.keys)
    assert keys("pyflowd.yaml.5", "SETTINGS") == set(settings.SETTINGS.keys) | nested


def test_the_examples_of_the_settings_are_settings() -> None:
    lines = re.findall(r"^Example:\n(.+)$", section("pyflowd.yaml.5", "SETTINGS"), re.MULTILINE)
    found = settings.parse("pyflowd.yaml", "\n".join(lines).encode())
    assert (len(lines), found.max_tasks, found.group_operate) == (8, 64, "wheel")


def test_the_defaults_in_the_manual_are_the_defaults() -> None:
    text = plain("pyflowd.yaml.5")
    default = settings.Settings()
    assert f'max_tasks " ({default.max_tasks})"' in text
    assert f'log_max_bytes " ({default.log_max_bytes >> 20}MiB)"' in text


def test_every_option_of_the_daemon_stands_in_the_manual() -> None:
    cli = pytest.importorskip("pyflowd.cli")
    options = {name for action in cli._parser()._actions for name in action.option_strings}
    text = section("pyflowd.8", "OPTIONS")
    assert not [name for name in options if name not in text]


# ---- pyflow-workflow(5) ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heading", "table"),
    [
        ("KEYS OF A WORKFLOW", _WORKFLOW),
        ("KEYS OF A TASK", _TASK),
        ("SCHEDULES", _SCHEDULE),
        ("PARAMS", _PARAM),
        ("RETRIES", _RETRY),
    ],
)
def test_every_key_and_no_other_stands_in_the_manual(heading: str, table: Table) -> None:
    assert keys("pyflow-workflow.5", heading) == set(table.keys)


def test_the_keys_below_keys_stand_in_the_manual() -> None:
    text = plain("pyflow-workflow.5")
    below = {*_LOG.keys, *_RETENTION.keys, *_TRIGGER.keys}
    assert not [key for key in below if key not in text]


def _indented(text: str, columns: int) -> str:
    return "".join(" " * columns + line for line in text.splitlines(keepends=True))


def _whole(heading: str, example: str) -> str:
    """A whole definition round an example."""
    task = "tasks:\n  dump: {run: 'true'}\n  check: {run: 'true'}\n"
    match heading:
        case "KEYS OF A WORKFLOW":
            return example if example.startswith("tasks:") else _params(example) + example + task
        case "KEYS OF A TASK" | "RETRIES":
            run = "" if example.startswith(("run:", "argv:")) else "    run: 'true'\n"
            return f"{task}  it:\n{run}{_indented(example, 4)}"
        case "SCHEDULES":
            return _params(example) + example + task
        case _:
            return f"params:\n{_indented(example, 2)}{task}"


def _params(example: str) -> str:
    return "params: {full: {type: boolean, default: false}}\n" if "full:" in example else ""


@pytest.mark.parametrize(
    "heading", ["DESCRIPTION", "KEYS OF A WORKFLOW", "KEYS OF A TASK", "SCHEDULES", "PARAMS", "RETRIES"]
)
def test_the_examples_of_the_manual_are_definitions(heading: str) -> None:
    found = examples(heading)
    assert found
    for example in found:
        text = example if heading == "DESCRIPTION" else _whole(heading, example)
        parse_yaml(text.encode())
        workflow, problems = check("example.yaml", text.encode(), stem="example", is_json=False)
        assert workflow is not None, f"{problems}\n{text}"
