"""The command line's grammar at work: argv to a request and how its answer is to be shown.

The daemon parses what the thin client sends; the client parses what needs no daemon. A hand-written walk over the
table in `grammar`: argparse takes 14 ms to build this many commands, exits and prints by itself, and cannot take
`logs 42 -n 5 dump`. It reads no clock and no file, never prints and never exits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo

from msgspec import Struct
from msgspec.structs import replace

from pyflowd.clock import from_us, to_us
from pyflowd.errors import UsageError, nearest
from pyflowd.model.states import is_name
from pyflowd.protocol import requests as protocol
from pyflowd.protocol.tokens import CreateToken, ListTokens, RevokeToken
from pyflowd.protocol.words import Level
from pyflowd.render.grammar import (
    BY_NAME,
    COMMANDS,
    GLOBAL_OPTIONS,
    LATER,
    SECRET_ACTIONS,
    TOKEN_ACTIONS,
    CommandSpec,
    Option,
)
from pyflowd.units import duration_s

COUNT_MAX = 1_000_000
_RUN_MAX = (1 << 63) - 1
_VERSION = re.compile(r"[0-9a-f]{6,64}|~[0-9]{1,4}", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_FILE_SUFFIXES = (".yaml", ".yml", ".json")


class Words(Struct, frozen=True, kw_only=True):
    """A command line taken apart; values are still text."""

    command: str
    arguments: tuple[str, ...] = ()
    values: Mapping[str, tuple[str, ...]] = {}
    """Option key to its values; a switch that was given has none."""

    def has(self, key: str) -> bool:
        return key in self.values

    def value(self, key: str) -> str | None:
        given = self.values.get(key)
        return given[-1] if given else None

    def argument(self, number: int) -> str | None:
        return self.arguments[number] if number < len(self.arguments) else None


class LogOptions(Struct, frozen=True, kw_only=True):
    """How the client shows output: the fields of the same names of protocol.LogOpen."""

    raw: bool = False
    as_json: bool = False
    tail: int | None = None
    since_us: int | None = None


class Invocation(Struct, frozen=True, kw_only=True):
    """What was asked for. `request` is None for commands that run in the client."""

    command: str
    request: protocol.Request | None
    output: str = "table"
    wait: bool = False
    """The answer ends with the run, and its exit status is that of the run."""
    follow: bool = False
    """With `run`, `rerun` and `wait`: show output as it comes; implies `wait`."""
    log: LogOptions = LogOptions()
    words: Words


def parse(argv: list[str], *, now_us: int, zone: tzinfo, files: Mapping[str, bytes] | None = None) -> Invocation:
    """The invocation of `argv`; times without a zone are in `zone`. Raises UsageError with one line."""
    words = split(argv)
    output = words.value("output") or "table"
    follow = words.has("follow") and words.command in ("run", "rerun", "wait")
    log = LogOptions(
        raw=words.has("raw"),
        as_json=output == "json",
        tail=_count(words, "lines", least=0),
        since_us=_since_us(words, now_us, zone) if words.command == "logs" else None,
    )
    if log.raw and log.as_json:
        raise UsageError("--raw gives bytes and -o json gives JSON: leave one of them out")
    return Invocation(
        command=words.command,
        request=_request(words, now_us, zone, files or {}),
        output=output,
        wait=(words.has("wait") and words.command != "drain") or follow or words.command == "wait",
        follow=follow,
        log=log,
        words=words,
    )


# ---- Text to words --------------------------------------------------------------------------------------------------


def split(argv: list[str]) -> Words:
    """The command, its arguments and its options; global options may stand before or after the command."""
    spec = _command(argv)
    options = {name: option for option in (*spec.options, *GLOBAL_OPTIONS) for name in option.names}
    arguments: list[str] = []
    values: dict[str, tuple[str, ...]] = {}
    rest = iter(argv)
    for word in rest:
        if word == "--":
            arguments += rest
        elif word.startswith("-") and word != "-":
            option, text = _option(spec, options, word)
            if option.value:
                text = next(rest, None) if text is None else text
                _check_value(option, word, text)
                values[option.key] = (*values.get(option.key, ()), text or "")
            elif text is not None:
                raise UsageError(f"{option.names[-1]} takes no value; leave out ={text}")
            else:
                values[option.key] = ()
        else:
            arguments.append(word)
    if spec.name not in arguments:  # it was the value of an option
        raise UsageError(f'no command is given, "{spec.name}" is the value of an option; `pyflowctl help` names all')
    arguments.remove(spec.name)
    _check_arguments(spec, arguments)
    _check_options(spec, values)
    return Words(command=spec.name, arguments=tuple(arguments), values=values)


def _command(argv: list[str]) -> CommandSpec:
    """The command that `argv` names: its first word that is neither an option nor the value of a global one."""
    valued = {name for option in GLOBAL_OPTIONS if option.value for name in option.names}
    rest = iter(argv)
    for word in rest:
        if word in valued:
            next(rest, None)
        elif not word.startswith("-"):
            if word in BY_NAME:
                return BY_NAME[word]
            if word in LATER:
                raise UsageError(f'"{word}" is not in this version yet; `pyflowctl help` names what is')
            known = nearest(word, [spec.name for spec in COMMANDS])
            raise UsageError(f'there is no command "{word}"{known}; `pyflowctl help` names all')
    raise UsageError("no command is given; `pyflowctl help` names all")


def _option(spec: CommandSpec, options: dict[str, Option], word: str) -> tuple[Option, str | None]:
    """The option that `word` names, and the value joined to it (`--key=K`, `-n5`), None where there is none."""
    if word in options:
        return options[word], None
    name, equals, text = word.partition("=")
    if word.startswith("--") and equals and name in options:
        return options[name], text
    if not word.startswith("--") and word[:2] in options and options[word[:2]].value:
        return options[word[:2]], word[2:]
    close = nearest(name, list(options))
    raise UsageError(f"{spec.name} has no option {name}{close}; see: pyflowctl help {spec.name}")


def _check_value(option: Option, word: str, text: str | None) -> None:
    if text is None:
        raise UsageError(f"{word} needs a value: {word} {option.value}")
    if not text and option.key in ("root", "socket"):
        raise UsageError(f"--{option.key} names nothing; write --{option.key} {option.value}, or leave it out")
    if option.choices and text not in option.choices:
        known = nearest(text, option.choices)
        raise UsageError(f'{option.names[-1]}: "{text}" is none of {", ".join(option.choices)}{known}')


def _check_arguments(spec: CommandSpec, given: list[str]) -> None:
    required = sum(argument.required for argument in spec.arguments)
    if len(given) < required:
        missing = spec.arguments[len(given)].name
        raise UsageError(f"{spec.name} needs {missing}; usage: {spec.usage}")
    if spec.name == "secret" and len(given) > len(spec.arguments):
        raise UsageError("secret: a value is never an argument, where others see it: type it, pipe it, or use --file")
    many = bool(spec.arguments) and spec.arguments[-1].many
    if len(given) > len(spec.arguments) and not many:
        raise UsageError(f'{spec.name}: "{given[len(spec.arguments)]}" is too much; usage: {spec.usage}')


def _check_options(spec: CommandSpec, values: Mapping[str, tuple[str, ...]]) -> None:
    if "root" in values and "socket" in values:
        raise UsageError("--root and --socket both name a daemon: leave one of them out")
    for group in spec.exclusive:
        if all(key in values for key in group):
            raise UsageError(f"{spec.name}: {' and '.join('--' + key for key in group)} do not go together")
    for option in (*spec.options, *GLOBAL_OPTIONS):
        if len(values.get(option.key, ())) > 1 and not option.repeat:
            raise UsageError(f"{option.names[-1]} is given twice; leave one of them out")


# ---- Words to a request ---------------------------------------------------------------------------------------------


def _request(words: Words, now_us: int, zone: tzinfo, files: Mapping[str, bytes]) -> protocol.Request | None:
    match words.command:
        case "status":
            of = words.argument(0)
            if of is None and words.has("items"):
                raise UsageError("status: --items goes with a run or a workflow")
            all_items = words.has("items") or words.value("output") == "json"
            return protocol.GetHost() if of is None else protocol.GetRun(of=_run_or_workflow(of), items=all_items)
        case "list":
            return protocol.ListWorkflows()
        case "run" if words.has("for"):
            return _backfill(words, now_us, zone)
        case "run":
            for key in ("trigger", "only-missing", "parallel", "newest-first"):
                if words.has(key):
                    raise UsageError(f"run: --{key} goes with --for FROM..TO only")
            return _start(words, files)
        case "logs":
            return protocol.GetLogs(
                of=_run_or_workflow(words.arguments[0]),
                task=_optional_task(words.argument(1)),
                follow=words.has("follow"),
                all_attempts=words.has("all-attempts"),
            )
        case "history" if words.has("definition"):
            return _changes(words)
        case "history":
            return protocol.ListRuns(
                workflow=_optional_name(words.argument(0), "workflow"),
                state=words.value("state"),
                since_us=_since_us(words, now_us, zone),
                before=None if (before := words.value("before")) is None else _run(before),
                limit=_count(words, "limit") or 20,
            )
        case "cancel" if words.has("backfill"):
            return _cancel_backfill(words)
        case "cancel":
            if not words.arguments:
                raise UsageError("cancel needs RUN|WORKFLOW, or --backfill N; usage: pyflowctl cancel RUN [TASK]")
            run, workflow = _run_and_workflow(words.arguments[0])
            return protocol.CancelRun(run=run, workflow=workflow, task=_optional_task(words.argument(1)) or "")
        case "rerun":
            run, workflow = _run_and_workflow(words.arguments[0])
            return protocol.RerunRun(
                run=run,
                workflow=workflow,
                failed_only=words.has("failed"),
                from_task=_optional_name(words.value("from"), "task"),
                latest=words.has("latest"),
                no_cache=words.has("no-cache"),
            )
        case "pause" | "resume":
            name = _name(words.arguments[0], "workflow")
            return protocol.PauseWorkflow(workflow=name, paused=words.command == "pause")
        case "show":
            name, version = workflow_version(words.arguments[0])
            return protocol.ShowWorkflow(workflow=name, origin=words.has("origin"), version=version)
        case "graph":
            return protocol.GetGraph(of=_run_or_workflow(words.arguments[0]))
        case "secret":
            return _secret(words, files)
        case "hook":
            return _hook(words, files)
        case _:
            return _more_requests(words, now_us, zone)


def _more_requests(words: Words, now_us: int, zone: tzinfo) -> protocol.Request | None:
    match words.command:
        case "wait":
            run, workflow = _run_and_workflow(words.arguments[0])
            return protocol.WatchRun(run=run, workflow=workflow)
        case "seen":
            return protocol.MarkSeen(run=_run(words.arguments[0]), seen=not words.has("undo"))
        case "approve" | "reject":
            run, workflow = _run_and_workflow(words.arguments[0])
            return protocol.AnswerApproval(
                run=run,
                workflow=workflow,
                task=_task(words.arguments[1]),
                approve=words.command == "approve",
                comment=words.value("comment") or "",
                choice=words.value("choose"),
            )
        case "approvals":
            return protocol.ListApprovals()
        case "artifacts":
            return _artifacts(words)
        case "cache":
            return _cache(words)
        case "next":
            return _next(words)
        case "slots" if words.has("events"):
            for key in ("until", "fate"):
                if words.has(key):
                    raise UsageError(f"slots: --{key} does not go with --events")
            return protocol.ListFirings(
                workflow=_optional_name(words.argument(0), "workflow"),
                since_us=_since_us(words, now_us, zone),
                limit=_count(words, "limit"),
            )
        case "slots":
            return protocol.ListSlots(
                workflow=_optional_name(words.argument(0), "workflow"),
                since_us=_since_us(words, now_us, zone),
                until_us=_until_us(words, now_us, zone),
                fate=words.value("fate"),
                limit=_count(words, "limit"),
            )
        case "explain":
            return _explain(words, now_us, zone)
        case "events":
            of = words.value("run")
            return protocol.ListEvents(
                run=None if of is None else _run(of),
                after=_event(words.value("after")),
                limit=_count(words, "limit") or 50,
                follow=words.has("follow"),
            )
        case "backfills":
            return protocol.ListBackfills(limit=_count(words, "limit") or 20)
        case "notify":
            return protocol.SendNotification(channel=_name(words.arguments[0], "channel"), text=words.arguments[1])
        case "places":
            return protocol.ListPlaces()
        case "token":
            return _token(words)
        case "audit":
            return protocol.ListAudit(
                since_us=_since_us(words, now_us, zone),
                user=words.value("user") or "",
                workflow=_optional_name(words.value("workflow"), "workflow") or "",
                limit=_count(words, "limit") or 20,
            )
        case "notifications":
            return protocol.ListNotifications(limit=_count(words, "limit") or 20)
        case "reload":
            return protocol.Reload()
        case "backup":
            return protocol.MakeBackup(with_logs=words.has("with-logs"))
        case "drain" | "undrain":
            return protocol.DrainHost(drained=words.command == "drain", wait=words.has("wait"))
        case "doctor":
            return protocol.GetHealth()
        case "version":
            return protocol.GetVersion()
        case _:
            return None  # help, lint, fix, completion: the client's own


def _start(words: Words, files: Mapping[str, bytes]) -> protocol.Request:
    what = words.arguments[0]
    request = protocol.StartRun(
        params=_params(words.values.get("param", ())),
        params_are_text=True,
        key=words.value("key") or "",
        dry_run=words.has("dry-run"),
        only=[_name(task, "task") for task in words.values.get("only", ())],
        no_cache=words.has("no-cache"),
    )
    if not is_file(what):
        return replace(request, workflow=_name(what, "workflow"))
    if what not in files:
        raise UsageError(f"{what}: the client did not send this file; are daemon and client of one version?")
    return replace(request, file=what, data=files[what])


def _backfill(words: Words, now_us: int, zone: tzinfo) -> protocol.Request:
    """`run WORKFLOW --for FROM..TO`: a day stands for all of it."""
    what, text = words.arguments[0], words.value("for") or ""
    if is_file(what):
        raise UsageError(f"{what}: slots are those of a workflow that is installed; --for takes no file")
    first, dots, last = text.partition("..")
    if not (dots and first and last):
        raise UsageError(f'--for: "{text}" is no span; write FROM..TO, such as 2026-02-01..2026-02-28')
    until_us = instant_us(last, "--for", now_us=now_us, zone=zone)
    if _DAY.fullmatch(last):
        until_us = instant_us(_day_after(last), "--for", now_us=now_us, zone=zone) - 1
    return protocol.StartBackfill(
        workflow=_name(what, "workflow"),
        from_us=instant_us(first, "--for", now_us=now_us, zone=zone),
        until_us=until_us,
        trigger=_optional_name(words.value("trigger"), "trigger") or "",
        params=_params(words.values.get("param", ())),
        params_are_text=True,
        only_missing=words.has("only-missing"),
        newest_first=words.has("newest-first"),
        parallel=_count(words, "parallel") or 1,
        dry_run=words.has("dry-run"),
    )


def _day_after(text: str) -> str:
    try:
        return (date.fromisoformat(text) + timedelta(days=1)).isoformat()
    except (ValueError, OverflowError):
        return text  # it has been refused, or there is none


def _cancel_backfill(words: Words) -> protocol.Request:
    text = words.value("backfill") or ""
    if words.arguments:
        raise UsageError("cancel: a run and --backfill are two things: leave one of them out")
    if not _is_run(text):
        raise UsageError(f'--backfill: "{text}" is no number of a backfill; `pyflowctl backfills` shows them')
    return protocol.CancelBackfill(backfill=int(text))


def _secret(words: Words, files: Mapping[str, bytes]) -> protocol.Request:
    """The client sends the value as a file of the secret's name."""
    action, name = words.arguments[0], words.argument(1)
    if action not in SECRET_ACTIONS:
        raise UsageError(f'secret: "{action}" is none of {", ".join(SECRET_ACTIONS)}{nearest(action, SECRET_ACTIONS)}')
    if words.has("file") and action != "set":
        raise UsageError("secret: --file goes with set only")
    if action in ("list", "rekey"):
        if name is not None:
            raise UsageError(f"secret {action} takes no name: leave it out")
        return protocol.ListSecrets() if action == "list" else protocol.RekeySecrets()
    if name is None:
        raise UsageError(f"secret {action} needs NAME; usage: pyflowctl secret {action} NAME")
    _name(name, "secret")
    if action == "rm":
        return protocol.RemoveSecret(name=name)
    if name not in files:
        raise UsageError("secret set: the client did not send the value; are daemon and client of one version?")
    return protocol.SetSecret(name=name, value=files[name])


def _token(words: Words) -> protocol.Request:
    action, number = words.arguments[0], words.argument(1)
    if action not in TOKEN_ACTIONS:
        raise UsageError(f'token: "{action}" is none of {", ".join(TOKEN_ACTIONS)}{nearest(action, TOKEN_ACTIONS)}')
    if action != "create":
        for key in ("label", "level", "expires"):
            if words.has(key):
                raise UsageError(f"token: --{key} goes with create only")
    if action == "revoke":
        if number is None:
            raise UsageError("token revoke needs TOKEN; usage: pyflowctl token revoke TOKEN")
        if not (number.isascii() and number.isdecimal() and 0 < len(number) < 19 and int(number)):
            raise UsageError("token revoke: that is no number of a token; `pyflowctl token list` has them")
        return RevokeToken(token=int(number))
    if number is not None:
        raise UsageError(f"token {action} takes no TOKEN: leave it out")
    if action == "list":
        return ListTokens()
    return CreateToken(label=words.value("label") or "", level=level(words), expires_s=_expires_s(words))


def level(words: Words) -> Level | None:
    """Of --level; None: it is not given."""
    name = words.value("level")
    return None if name is None else Level[name.upper()]


def _expires_s(words: Words) -> int | None:
    """0: never."""
    text = words.value("expires")
    if text is None or text == "never":
        return None if text is None else 0
    try:
        return max(1, int(duration_s(text)))
    except ValueError as error:
        raise UsageError(f"--expires: {error}, or never") from None


def _hook(words: Words, files: Mapping[str, bytes]) -> protocol.Request:
    """The client sends the body as a file."""
    if words.arguments[0] != "send":
        raise UsageError(f'hook: "{words.arguments[0]}" is not send; usage: pyflowctl hook send HOOK --body FILE')
    path = words.value("body")
    if path is not None and path not in files:
        raise UsageError(f"{path}: the client did not send this file; are daemon and client of one version?")
    body = b"" if path is None else files[path]
    sort = "application/json" if body.lstrip()[:1] in (b"{", b"[") else "text/plain"
    headers = {"content-type": sort}
    for text in words.values.get("header", ()):
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise UsageError(f'--header: "{text}" is no header; write NAME:VALUE')
        headers[name.strip().lower()] = value.strip()
    return protocol.DeliverHook(
        hook=_name(words.arguments[1], "hook"), headers=headers, body=body, trusted=words.has("unsigned")
    )


def _artifacts(words: Words) -> protocol.Request:
    """The list, or one file, which is no JSON."""
    of = _run_or_workflow(words.arguments[0])
    task, name = _optional_task(words.argument(1)), _optional_name(words.argument(2), "artifact")
    if task is None or name is None:
        for key in ("to", "force"):
            if words.has(key):
                raise UsageError(f"artifacts: --{key} goes with TASK and NAME, which say which file is wanted")
        return protocol.ListArtifacts(of=of, task=task)
    if words.value("output") == "json":
        raise UsageError("artifacts: a file is no JSON; leave out -o json, or NAME to list what there is")
    return protocol.GetArtifact(of=of, task=task, name=name)


def _cache(words: Words) -> protocol.Request:
    """The list, or `clear WORKFLOW [TASK]`."""
    first, *others = words.arguments or ("",)
    if first == "clear":
        if not others:
            raise UsageError("cache clear needs WORKFLOW: cache clear WORKFLOW [TASK]")
        return protocol.ClearCache(
            workflow=_name(others[0], "workflow"), task=_optional_name(words.argument(2), "task")
        )
    if others:
        raise UsageError(f'cache: "{others[0]}" is too much; write cache [WORKFLOW], or cache clear WORKFLOW [TASK]')
    return protocol.ListCache(workflow=_optional_name(words.argument(0), "workflow"))


def _explain(words: Words, now_us: int, zone: tzinfo) -> protocol.Request:
    of, task, at = _run_or_workflow(words.arguments[0]), _optional_task(words.argument(1)), words.value("at")
    if at is not None and (task is not None or _is_run(of)):
        raise UsageError("explain: --at names a slot of a workflow; leave out TASK, and name a workflow, not a run")
    at_us = None if at is None else instant_us(at, "--at", now_us=now_us, zone=zone)
    return protocol.Explain(of=of, task=task, at_us=at_us, all=words.has("all") or words.value("output") == "json")


def _changes(words: Words) -> protocol.Request:
    workflow = words.argument(0)
    if workflow is None:
        raise UsageError("history --definition needs WORKFLOW; usage: pyflowctl history WORKFLOW --definition")
    return protocol.ListChanges(workflow=_name(workflow, "workflow"), limit=_count(words, "limit") or 20)


def _next(words: Words) -> protocol.Request | None:
    limit = _count(words, "limit") or 10
    if words.has("cron"):
        if words.arguments:
            raise UsageError("next takes a workflow or --cron, not both")
        return None  # the client's own
    for key in ("timezone", "from", "dst"):
        if words.has(key):
            raise UsageError(f"next: --{key} goes with --cron only")
    workflow = _optional_name(words.argument(0), "workflow")
    return protocol.ListNext(workflow=workflow, limit=limit)


# ---- Single values --------------------------------------------------------------------------------------------------


def is_file(word: str) -> bool:
    """Whether `run WORD` means a file, not an installed workflow."""
    return "/" in word or word.endswith(_FILE_SUFFIXES)


def _is_run(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text[:20]) <= _RUN_MAX


def _run(text: str) -> int:
    if not _is_run(text):
        raise UsageError(f'"{text}" is not a run; runs are numbers, as `pyflowctl history` shows them')
    return int(text)


def _name(text: str, what: str) -> str:
    if what == "task" and text.endswith("]") and "[" in text:
        raise UsageError(f'"{text}" is one item of a task; name the whole task here: {text.partition("[")[0]}')
    if not is_name(text):
        article = "an" if what[0] in "aeiou" else "a"
        raise UsageError(f'"{text}" cannot be the name of {article} {what}: letters, digits, _ . - only, 63 at most')
    return text


def workflow_version(text: str) -> tuple[str, str]:
    """`WORKFLOW`, or `WORKFLOW@VERSION`: the name, and the version or an empty text."""
    workflow, at, version = text.partition("@")
    _name(workflow, "workflow")
    if at and not _VERSION.fullmatch(version):
        fix = "write six or more digits of its SHA-256, or ~1 for the one before; see: pyflowctl history --definition"
        raise UsageError(f'"{text}" names no version: {fix} {workflow}')
    return workflow, version


def two_runs(one: str, other: str | None) -> tuple[int, int]:
    """Both arguments of `diff` where one of them is a run."""
    if other is None:
        raise UsageError(f"run {one} is to be compared with another one: pyflowctl diff {one} RUN")
    return _run(one), _run(other)


def _optional_name(text: str | None, what: str) -> str | None:
    return None if text is None else _name(text, what)


def _task(text: str) -> str:
    """The name of a task, or of an item: `fetch[web1]`. What is in brackets is a key, which may be any text."""
    head, bracket, key = text.partition("[")
    _name(head, "task")
    if bracket and not (len(key) > 1 and key.endswith("]")):
        raise UsageError(f"\"{text}\" is no item; write TASK[KEY], in quotes, such as 'fetch[web1]'")
    return text


def _optional_task(text: str | None) -> str | None:
    return None if text is None else _task(text)


def _run_or_workflow(text: str) -> str:
    if not is_name(text):
        raise UsageError(f'"{text}" is neither a run (a number) nor the name of a workflow')
    return text


def _run_and_workflow(text: str) -> tuple[int, str]:
    """A run's number, or 0 and the name of a workflow."""
    return (_run(text), "") if text.isdecimal() else (0, _run_or_workflow(text))


def _params(pairs: tuple[str, ...]) -> dict[str, str]:
    params: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f'-p "{pair}": write NAME=VALUE, such as -p version=1.4.2')
        if name in params:
            raise UsageError(f'-p: "{name}" is given twice; leave one of them out')
        params[name] = value
    return params


def _count(words: Words, key: str, *, least: int = 1) -> int | None:
    text = words.value(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 9 and least <= int(text) <= COUNT_MAX):
        raise UsageError(f'--{key}: "{text}" is not a number from {least} to {COUNT_MAX}')
    return int(text)


def _event(text: str | None) -> int | None:
    if text is not None and not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise UsageError(f'--after: "{text}" is no number of an event; `pyflowctl events -o json` has them')
    return None if text is None else int(text)


def _since_us(words: Words, now_us: int, zone: tzinfo) -> int | None:
    text = words.value("since")
    return None if text is None else instant_us(text, "--since", now_us=now_us, zone=zone)


def _until_us(words: Words, now_us: int, zone: tzinfo) -> int | None:
    text = words.value("until")
    return None if text is None else instant_us(text, "--until", now_us=now_us, zone=zone)


def instant_us(text: str, option: str, *, now_us: int, zone: tzinfo) -> int:
    """The instant that a person wrote: a duration ago, a date, a time of today, or both, with or without offset."""
    try:
        return now_us - int(duration_s(text) * 1_000_000)
    except ValueError:
        pass
    today = from_us(now_us).astimezone(zone).date().isoformat()
    for written in (text, f"{today}T{text}"):
        try:
            at = datetime.fromisoformat(written)
            return to_us((at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC))
        except (ValueError, OverflowError):
            continue
    raise UsageError(
        f'{option}: "{text}" is no time; write 2h, 2026-02-28, 03:00, "2026-02-28 03:00" or 2026-02-28T03:00:00+01:00'
    )
