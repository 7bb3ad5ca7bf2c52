"""A workflow that a program writes for a person to go on with: what it says, and its text, as if written by hand.

Pure. It writes only the keys that importers need; whether the text means what the draft says, whoever compiles it
must see.
"""

from __future__ import annotations

import json
import re
import textwrap

from msgspec import Struct

from pyflowd.units import duration_written

_WIDTH = 116
_PLAIN = re.compile(
    r"[A-Za-z/._][A-Za-z0-9/._+=@:,()-]*(?: [A-Za-z0-9/._+=@,()&|<>;$\"'*-][A-Za-z0-9/._+=@:,()&|<>;$\"'*-]*)*",
    re.ASCII,
)
_NOT_PLAIN = re.compile(
    r":(?: |$)| #|^(?:true|false|null|yes|no|on|off|y|n|~|\.inf|\.nan|---.*|\.\.\..*)$", re.IGNORECASE
)
_NUMBER_LIKE = re.compile(r"[-+.]?[0-9][0-9.eExXoO_+-]*|[-+.]*")
_OPTION = re.compile(r"-[A-Za-z]+", re.ASCII)
_BLOCK_LINE = re.compile(r"[\t\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*")


class Trigger(Struct, frozen=True, kw_only=True):
    """A cron schedule."""

    cron: str
    timezone: str | None = None
    jitter_s: int = 0


class DraftTask(Struct, frozen=True, kw_only=True):
    """One of `run`, `argv` and `wait` is given."""

    name: str
    run: str = ""
    argv: tuple[str, ...] = ()
    wait: str = ""
    needs: str = ""
    stdin: str | None = None
    user: str = ""
    timeout: str = ""
    kill_grace: str = ""
    continue_on_error: bool = False
    success_codes: tuple[int, ...] = ()


class Draft(Struct, frozen=True, kw_only=True):
    """One workflow file."""

    name: str
    source: tuple[str, ...]
    """Where it comes from, for the comment at its head: what, and the text that was there."""
    description: str = ""
    triggers: tuple[Trigger, ...] = ()
    overlap: str = ""
    user: str = ""
    cwd: str = ""
    shell: tuple[str, ...] = ()
    env: dict[str, str] = {}
    env_files: tuple[str, ...] = ()
    notify: str = ""
    leftover: str = ""
    tasks: tuple[DraftTask, ...]
    remarks: tuple[str, ...] = ()
    """What a person should know, and may have to do."""


def text(draft: Draft) -> str:
    """The YAML file."""
    parts = [_head(draft), _when(draft), _how(draft), ["tasks:", *_indented(_tasks(draft))]]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _head(draft: Draft) -> list[str]:
    lines = [f"# {printable(line)}".rstrip() for line in draft.source]
    for remark in draft.remarks:
        lines += textwrap.wrap(f"# - {printable(remark)}", _WIDTH, subsequent_indent="#   ", break_long_words=False)
    if draft.description:
        lines += ["", *_long("description", printable(draft.description))]
    return lines


def printable(line: str) -> str:
    """On one line, and with nothing that a YAML comment may not hold."""
    return "".join(char if char.isprintable() else " " for char in line)


def _long(key: str, value: str) -> list[str]:
    """A sentence, folded where it is long."""
    if len(key) + 2 + len(value) <= _WIDTH or value != " ".join(value.split()):
        return [f"{key}: {scalar(value)}"]
    return [f"{key}: >-", *_indented(textwrap.wrap(value, _WIDTH, break_long_words=False, break_on_hyphens=False))]


def _when(draft: Draft) -> list[str]:
    lines = []
    if len(draft.triggers) == 1:
        lines += _trigger("schedule", draft.triggers[0])
    elif draft.triggers:
        lines.append("triggers:")
        for number, trigger in enumerate(draft.triggers, 1):
            lines += _indented([f"calendar-{number}:", *_indented(_trigger("schedule", trigger))])
    if draft.overlap == "allow":
        lines.append("overlap: allow   # as cron does; with skip a firing is left out while the last run goes on")
    return lines


def _trigger(key: str, trigger: Trigger) -> list[str]:
    if not trigger.timezone and not trigger.jitter_s:
        return [f"{key}: {json.dumps(trigger.cron)}"]
    lines = [f"{key}:", f"  cron: {json.dumps(trigger.cron)}"]
    if trigger.timezone:
        lines.append(f"  timezone: {scalar(trigger.timezone)}")
    if trigger.jitter_s:
        lines.append(f"  jitter: {duration_written(trigger.jitter_s)}")
    return lines


def _how(draft: Draft) -> list[str]:
    lines = []
    if draft.user:
        lines.append(f"user: {scalar(draft.user)}")
    if draft.shell:
        lines.append(f"shell: [{', '.join(_in_flow(word) for word in draft.shell)}]")
    if draft.cwd:
        lines.append(f"cwd: {scalar(draft.cwd)}")
    if draft.env_files:
        lines.append(f"env_file: [{', '.join(_in_flow(path) for path in draft.env_files)}]")
    if draft.env:
        lines += ["env:", *_indented([line for name, value in draft.env.items() for line in _entry(name, value)])]
    if draft.leftover:
        lines += [
            "defaults:",
            f"  leftover: {draft.leftover}   # what it leaves in the background goes on after its end",
        ]
    if draft.notify:
        lines.append(f"notify: {scalar(draft.notify)}")
    return lines


def _tasks(draft: Draft) -> list[str]:
    lines: list[str] = []
    for task in draft.tasks:
        lines += [f"{scalar(task.name)}:", *_indented(_task(task))]
    return lines


def _task(task: DraftTask) -> list[str]:
    lines = []
    if task.needs:
        lines.append(f"needs: {scalar(task.needs)}")
    if task.run:
        lines += _entry("run", task.run)
    elif task.wait:
        lines.append(f"wait: {task.wait}")
    else:
        lines += ["argv:", *(f"  - {scalar(word)}" for word in task.argv)]
    if task.stdin is not None:
        lines += _entry("stdin", task.stdin)
    for key in ("user", "timeout", "kill_grace"):
        if value := getattr(task, key):
            lines.append(f"{key}: {value}")
    if task.continue_on_error:
        lines.append("continue_on_error: true")
    if task.success_codes:
        lines.append(f"success_codes: [{', '.join(map(str, task.success_codes))}]")
    return lines


def _entry(key: str, value: str) -> list[str]:
    """A key with a text, which stands in a block of its own where quotes would make it hard to read."""
    lines = value.split("\n")
    body = lines[:-1] if value.endswith("\n") else lines
    blockable = all(_BLOCK_LINE.fullmatch(line) for line in lines) and body and body[0][:1] not in ("", " ", "\t")
    if _is_plain(value) or not blockable or body[-1] == "" or (len(body) == 1 and _is_short_word(value)):
        return [f"{key}: {scalar(value)}"]
    return [f"{key}: {'|' if value.endswith(chr(10)) else '|-'}", *_indented(body)]


def _is_short_word(value: str) -> bool:
    return len(value) < 60 and '"' not in value and "\\" not in value and "\n" not in value


def scalar(value: str) -> str:
    """A text on one line: plain where that is safe, else in double quotes."""
    return value if _is_plain(value) else _quoted(value)


def _in_flow(value: str) -> str:
    plain = (_is_plain(value) and not re.search(r"[,\[\]{}]", value)) or _OPTION.fullmatch(value)
    return value if plain else _quoted(value)


def _is_plain(value: str) -> bool:
    return bool(_PLAIN.fullmatch(value)) and not _NOT_PLAIN.search(value) and not _NUMBER_LIKE.fullmatch(value)


def _quoted(value: str) -> str:
    """JSON's quotes are YAML's; what is not printable is written out."""
    quoted = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escape(ord(char)) for char in quoted)


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" if line else "" for line in lines]
