"""The manual is whole: every command, option, setting and workflow key stands in it, and its examples hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pyflowd import settings
from pyflowd.expressions.expression_functions import functions
from pyflowd.language.assembly import Missing, assemble
from pyflowd.language.definition import RETENTION, WORKFLOW
from pyflowd.language.definition_cache import CACHE
from pyflowd.language.definition_fan_out import NAMES, REPEAT
from pyflowd.language.definition_http import HTTP, UPLOAD
from pyflowd.language.definition_http_parts import AUTH, BASIC, EXPECT, PAGINATE, TEST, TLS
from pyflowd.language.definition_kinds import KINDS
from pyflowd.language.definition_notify import NOTIFY, NOTIFY_RULE
from pyflowd.language.definition_outputs import ARTIFACT, OUTPUT
from pyflowd.language.definition_params import ITEMS, PARAM
from pyflowd.language.definition_places import CONCURRENCY, GATES
from pyflowd.language.definition_process import OPERATIONS, SSH
from pyflowd.language.definition_references import HANDLER_RUN_MEMBERS, RUN_MEMBERS, TASK_MEMBERS
from pyflowd.language.definition_task import LOG, RETRY, TASK
from pyflowd.language.definition_text import Part, Role
from pyflowd.language.definition_triggers import SCHEDULE, TRIGGER
from pyflowd.language.definition_waiting import APPROVAL, CALL, WAIT
from pyflowd.language.document_yaml import parse_yaml
from pyflowd.language.fields import Table
from pyflowd.notify import notify_channels
from pyflowd.render import commandline
from pyflowd.render.grammar import COMMANDS, GLOBAL_OPTIONS, CommandSpec
from pyflowd.render.layout import zone_of
from pyflowd.secrets import secrets_settings
from tests.unit.test_render import REPLIES, SNAPSHOTS

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
def test_every_option_of_a_command_stands_in_its_entry(spec: CommandSpec) -> None:
    entry = command_entries()[spec.name]
    missing = [name for option in spec.options for name in option.names if name not in entry]
    assert not missing


def test_every_global_option_stands_in_the_manual() -> None:
    text = section("pyflowctl.1", "OPTIONS OF EVERY COMMAND")
    assert not [name for option in GLOBAL_OPTIONS for name in option.names if name not in text]


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.name)
def test_every_option_has_an_example(spec: CommandSpec) -> None:
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
def test_the_example_of_the_help_is_understood(spec: CommandSpec) -> None:
    argv = _words(spec.example.split(" > ")[0])
    assert commandline.split(argv[1:]).command == spec.name


def json_entries() -> dict[str, set[str]]:
    """Shape to the words of its entry in JSON OUTPUT."""
    found = re.findall(
        r"^\.TP\n(.+)\n((?:(?!\.TP\n).*\n)*)", section("pyflowctl.1", "JSON OUTPUT") + "\n", re.MULTILINE
    )
    return {
        " ".join(tag.replace('"', "").replace(" ,", ",").split()): set(re.findall(r"[a-z0-9_]+", body))
        for tag, body in found
    }


_RUN, _WORKFLOW = "status RUN, wait, run --wait, rerun --wait", "list, reload, pause, resume"
_BACKFILL = "backfills, run --for, cancel --backfill"
SHAPES = {
    "status": ("status", _RUN, "approvals", _BACKFILL, "next", "lint"),
    "list": (_WORKFLOW, _RUN, "approvals", "lint"),
    "run": ("run, rerun",),
    "rerun": ("run, rerun",),
    "run --wait": (_RUN,),
    "run --dry-run": ("run --dry-run", "lint"),
    "run --for": (_BACKFILL,),
    "history": ("history, cancel", _RUN),
    "cancel": ("history, cancel", _RUN),
    "cancel --backfill": (_BACKFILL,),
    "backfills": (_BACKFILL,),
    "show": ("show", _WORKFLOW, _RUN),
    "pause": (_WORKFLOW, _RUN),
    "resume": (_WORKFLOW, _RUN, "lint"),
    "reload": (_WORKFLOW, _RUN, "lint"),
    "approve": ("approve, reject",),
    "reject": ("approve, reject",),
    "notify": ("notifications, notify",),
    "notifications": ("notifications, notify",),
    "secret rm": ("secret set, rm, rekey",),
    "secret rekey": ("secret set, rm, rekey",),
}
"""What a command shows to the entries that tell its fields, where that is more than the one of its name."""
NAMES_OF_USERS = ("asked", "params", "outputs", "values", "counts", "handlers", "event", "default", "value")
"""Fields whose keys are the names that a definition or an event brings along."""


def fields(value: Any) -> set[str]:
    """The keys of all objects in a value."""
    if isinstance(value, list):
        return set().union(*map(fields, value))
    if not isinstance(value, dict):
        return set()
    found = set(value)
    for key, inner in value.items():
        named = isinstance(inner, dict) and key in ("tasks", "handlers", "artifacts")
        if isinstance(inner, list) or named or key not in NAMES_OF_USERS:
            found |= fields([each for each in inner.values() if isinstance(each, dict)] if named else inner)
    return found


@pytest.mark.parametrize("name", REPLIES)
def test_every_field_of_the_json_stands_in_the_manual(name: str) -> None:
    command, *words = REPLIES[name][0].split()
    known = {*SHAPES, *json_entries()}
    of = next((key for word in words if (key := f"{command} {word}") in known), command)
    text = (SNAPSHOTS / f"{name}.json").read_text()
    shown = fields([json.loads(each) for each in text.splitlines()] if name == "events" else json.loads(text))
    told = set().union(*(json_entries()[entry] for entry in SHAPES.get(of, (of,))))
    assert not shown - told


def _words(line: str) -> list[str]:
    return [quoted or word for quoted, word in re.findall(r'"([^"]*)"|(\S+)', line)]


# ---- pyflowd.yaml(5), pyflowd(8) ------------------------------------------------------------------------------------


def test_every_setting_and_no_other_stands_in_the_manual() -> None:
    nested = {*RETENTION.keys, *notify_channels.HOST_RULE.keys}
    assert keys("pyflowd.yaml.5", "SETTINGS") == set(settings.SETTINGS.keys) | nested


def test_every_key_of_a_channel_and_no_other_stands_in_the_manual() -> None:
    tables = (notify_channels.MAIL, notify_channels.CHAT, notify_channels.WEBHOOK)
    assert keys("pyflowd.yaml.5", "CHANNELS") == {key for table in tables for key in table.keys}


def test_the_examples_of_channels_and_those_in_etc_are_settings() -> None:
    shown = re.findall(
        r"^\.EX\nchannels:\n(.*?)^\.EE$", section("pyflowd.yaml.5", "CHANNELS"), re.MULTILINE | re.DOTALL
    )
    found = settings.parse("pyflowd.yaml", ("channels:\n" + "".join(shown)).encode())
    assert set(found.channels) == {"oncall", "deploys", "managers", "pager"}
    assert set(settings_in_etc().channels) == {"oncall", "ops", "deploys", "managers", "pager"}


def settings_in_etc() -> settings.Settings:
    """As they are where every comment that may be a setting is one."""
    commented = (MAN.parent / "etc" / "pyflowd.yaml").read_text()
    keys_only = re.sub(r"^# (?=[ a-z].*(?::|- |password_file))", "", commented, flags=re.MULTILINE)
    return settings.parse("etc", keys_only.encode())


def test_every_setting_stands_in_etc() -> None:
    commented = (MAN.parent / "etc" / "pyflowd.yaml").read_text()
    shown = set(re.findall(r"^# ([a-z_]+):", commented, re.MULTILINE))
    assert not set(settings.SETTINGS.keys) - shown


def test_every_key_of_a_provider_of_secrets_and_no_other_stands_in_the_manual() -> None:
    tables = (secrets_settings.PROVIDER, secrets_settings.VAULT)
    assert keys("pyflowd.yaml.5", "SECRETS") == {key for table in tables for key in table.keys}


def test_the_example_of_the_secrets_is_settings() -> None:
    shown = re.findall(r"^\.EX\n(secrets:\n.*?)^\.EE$", section("pyflowd.yaml.5", "SECRETS"), re.MULTILINE | re.DOTALL)
    found = settings.parse("pyflowd.yaml", "".join(shown).encode())
    assert found.secrets is not None
    assert {type(provider).__name__ for provider in found.secrets} == {
        "Files", "Credentials", "Environment", "LocalStore", "Command", "Vault",
    }  # fmt: skip


def test_the_examples_of_the_settings_are_settings() -> None:
    lines = re.findall(r"^Example:\n(.+)$", section("pyflowd.yaml.5", "SETTINGS"), re.MULTILINE)
    found = settings.parse("pyflowd.yaml", "\n".join(lines).encode())
    assert (len(lines), found.max_tasks, found.group_operate) == (23, 64, ("wheel", "deployers"))


def test_the_examples_of_calendars_are_calendars() -> None:
    lines = re.findall(r"^Example:\n(.+)$", section("pyflowd.yaml.5", "CALENDARS"), re.MULTILINE)
    found = [settings.parse("pyflowd.yaml", line.encode()) for line in lines]
    assert len(lines) == 9
    assert all(each.calendars or each.blackouts for each in found)


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
        ("KEYS OF A WORKFLOW", WORKFLOW),
        ("KEYS OF A TASK", TASK),
        ("SCHEDULES", SCHEDULE),
        ("PARAMS", PARAM),
        ("RETRIES", RETRY),
        ("LOOPS", REPEAT),
        ("CACHES", CACHE),
        ("PLACES", CONCURRENCY),
        ("GATES", GATES),
        ("OUTPUTS", OUTPUT),
        ("CALLS", CALL),
        ("APPROVALS", APPROVAL),
        ("WAITS", WAIT),
        ("MESSAGES", NOTIFY),
        ("SSH", SSH),
        ("HTTP", HTTP),
        (
            "FILE OPERATIONS",
            Table("file", {key: entry for each in OPERATIONS.values() for key, entry in each.keys.items()}),
        ),
    ],
)
def test_every_key_and_no_other_stands_in_the_manual(heading: str, table: Table) -> None:
    assert keys("pyflow-workflow.5", heading) == set(table.keys)


def test_the_keys_below_keys_stand_in_the_manual() -> None:
    text = plain("pyflow-workflow.5")
    tables = (LOG, RETENTION, TRIGGER, ARTIFACT, ITEMS, NOTIFY_RULE, AUTH, BASIC, TLS, EXPECT, TEST, PAGINATE, UPLOAD)
    below = {key for table in tables for key in table.keys}
    assert not [key for key in below if key not in text]


def _indented(text: str, columns: int) -> str:
    return "".join(" " * columns + line for line in text.splitlines(keepends=True))


_KIND = re.compile(rf"^(?:{'|'.join(KINDS)}):", re.MULTILINE)


def _whole(heading: str, example: str) -> str:
    """A whole definition round an example."""
    tasks = "tasks:\n  dump: {run: 'true'}\n  check: {run: 'true'}\n"
    match heading:
        case "KEYS OF A WORKFLOW" | "SCHEDULES" | "EVENTS" | "PLACES" | "GATES":
            return example if example.startswith("tasks:") else _params(example) + example + tasks
        case "PARAMS":
            return f"params:\n{_indented(example, 2)}{tasks}"
        case "OUTPUTS":
            return f"{tasks}  it:\n    run: 'true'\n    outputs:\n{_indented(example, 6)}"
        case _:
            run = "" if _KIND.search(example) else "    run: 'true'\n"
            needs = "" if "needs:" in example else "    needs: dump\n"
            tasks = ("triggers: {in: {file: /in/*}}\n" if "event." in example else "") + tasks
            return f"{_params(example)}{tasks}  it:\n{run}{needs}{_indented(example, 4)}"


def _params(example: str) -> str:
    """The params that an example speaks of."""
    if "params:" in example and "{full: true}" not in example:
        return ""
    return "params: {full: {type: boolean, default: false}, day: {default: mon}}\n"


@pytest.mark.parametrize(
    "heading",
    [
        "DESCRIPTION",
        "KEYS OF A WORKFLOW",
        "KEYS OF A TASK",
        "SCHEDULES",
        "EVENTS",
        "PARAMS",
        "RETRIES",
        "LOOPS",
        "CACHES",
        "PLACES",
        "GATES",
        "OUTPUTS",
        "CALLS",
        "APPROVALS",
        "WAITS",
        "MESSAGES",
        "SSH",
        "HTTP",
        "FILE OPERATIONS",
        "EXPRESSIONS",
    ],
)
def test_the_examples_of_the_manual_are_definitions(heading: str) -> None:
    shown = examples(heading)
    assert shown
    for example in shown:
        text = example if heading == "DESCRIPTION" else _whole(heading, example)
        parse_yaml(text.encode())
        found = assemble(Part(label="example.yaml", data=text.encode()), (), _template, stem="example")
        assert found.workflow is not None, f"{found.problems}\n{text}"
        assert not found.problems, f"{found.problems}\n{text}"


def _template(name: str) -> Part | Missing:
    """The template of the manual's examples."""
    data = examples("TEMPLATES AND DROP-INS")[0].encode()
    return Part(label="dump.yaml", data=data, role=Role.TEMPLATE) if name == "dump" else Missing("no such example")


def test_the_example_of_templates_and_drop_ins_holds() -> None:
    _, main, drop_in = (each.encode() for each in examples("TEMPLATES AND DROP-INS"))
    over = Part(label="50-local.yaml", data=drop_in, role=Role.DROP_IN)
    found = assemble(Part(label="app.yaml", data=main), [over], _template, stem="app")
    assert not found.problems
    assert found.workflow is not None
    assert [(task.name, task.timeout_s) for task in found.workflow.tasks] == [("dump", 7200.0)]


def test_every_key_has_an_example_that_uses_it() -> None:
    text = plain("pyflow-workflow.5").split(".SH EXPRESSIONS")[0]
    entries = re.findall(r"^\.TP\n(.+)\n((?:(?!\.TP|\.SH).*\n)*)", text, re.MULTILINE)
    assert len(entries) > 100
    for tag, entry in entries:
        example = entry.partition(".EX\n")[2]
        assert any(f"{key}:" in example for key in re.findall(r"[a-z_]+", tag.split(" (")[0])), tag


def test_every_function_and_no_other_stands_in_the_manual() -> None:
    text = section("pyflow-workflow.5", "EXPRESSIONS").split(".SS Functions\n")[1]
    assert re.findall(r"^\.TP\n(.+)\n(.+)$", text, re.MULTILINE) == functions()


def test_every_name_of_expressions_stands_in_the_manual() -> None:
    text = section("pyflow-workflow.5", "EXPRESSIONS")
    assert NAMES - {"event", "secrets"} <= set(re.findall(r"[a-z_]+", text))
    missing = [each for each in (*TASK_MEMBERS, *RUN_MEMBERS, *HANDLER_RUN_MEMBERS) if each not in text]
    assert not missing
