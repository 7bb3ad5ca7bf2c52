"""Candidates for the shells' completion: commands, options, values, and names that the daemon knows.

`pyflowctl __complete -- WORDS...`: the words after the program's name, the last one as far as it was typed. One
candidate a line, a tab, a few words about it. Whatever goes wrong gives no candidates: completion must not disturb.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyflowctl.client import Client, connect
from pyflowd.errors import PyflowError
from pyflowd.protocol.requests import GetGraph, ListChanges, ListRuns, ListSecrets, ShowWorkflow
from pyflowd.protocol.tokens import ListTokens, TokenPage
from pyflowd.protocol.views_host import SecretPage
from pyflowd.protocol.views_runs import RunView
from pyflowd.protocol.views_workflows import ChangePage, DefinitionView, GraphView
from pyflowd.render.grammar import (
    BY_NAME,
    COMMANDS,
    EXPORTS,
    GLOBAL_OPTIONS,
    IMPORTS,
    SECRET_ACTIONS,
    SHELLS,
    TOKEN_ACTIONS,
    CommandSpec,
    Option,
)
from pyflowd.render.layout import clean

_TIMEOUT_S = 2.0
_VERSIONS = 20
DIGITS = 12
"""Of a digest: as `pyflowctl history --definition` shows it."""
_ASKED = {
    "workflow", "version", "paused", "run", "live-run", "waiting-run", "task", "task-of", "item", "approval",
    "artifact", "param", "secret", "token",
}  # fmt: skip
"""Kinds that the daemon knows."""
_HARMLESS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,:@%+-=/[]")
"""What a candidate may hold: the key of an item may be any text, and bash puts a candidate into the line unquoted."""
Candidate = tuple[str, str]


def candidates(words: list[str]) -> list[Candidate]:
    """What the last word may become."""
    words, taken = _rejoined(words)
    *before, current = words or [""]
    found = (candidate for candidate in _possible(before, current) if candidate[0].startswith(current))
    return [(name[len(taken) :], clean(about)) for name, about in found if _HARMLESS.issuperset(name)]


def _rejoined(words: list[str]) -> tuple[list[str], str]:
    """The words as they stand on the line, and what of the last one is not to be said again: bash ends a word at @."""
    at = next((n for n in (len(words) - 1, len(words) - 2) if n > 0 and words[n] == "@"), 0)
    if not at:
        return words, ""
    return [*words[: at - 1], "".join(words[at - 1 :])], words[at - 1] + "@"


def _possible(before: list[str], current: str) -> Iterator[Candidate]:
    spec, arguments, values, pending = _read(before)
    if pending is not None:
        yield from ((choice, "") for choice in pending.choices)
        yield from _names(pending.kind, arguments, values, current)
    elif current.startswith("-"):
        for option in (*(spec.options if spec else ()), *GLOBAL_OPTIONS):
            yield from ((name, option.help) for name in option.names if name.startswith("--"))
    elif spec is None:
        yield from ((command.name, command.summary) for command in COMMANDS)
    elif spec.arguments and (len(arguments) < len(spec.arguments) or spec.arguments[-1].many):
        yield from _names(spec.arguments[min(len(arguments), len(spec.arguments) - 1)].kind, arguments, values, current)


def _read(before: list[str]) -> tuple[CommandSpec | None, list[str], dict[str, str], Option | None]:
    """The command, its arguments, values of options so far, and the option whose value comes next."""
    spec: CommandSpec | None = None
    arguments: list[str] = []
    values: dict[str, str] = {}
    pending: Option | None = None
    for word in before:
        options = {
            name: option for option in (*(spec.options if spec else ()), *GLOBAL_OPTIONS) for name in option.names
        }
        if pending is not None:
            values["--" + pending.key] = word
            pending = None
        elif word in options:
            pending = options[word] if options[word].value else None
        elif word.startswith("-"):
            name, _, value = word.partition("=")
            values[name] = value
        elif spec is None:
            spec = BY_NAME.get(word)
        else:
            arguments.append(word)
    return spec, arguments, values, pending


def _names(kinds: str, arguments: list[str], values: dict[str, str], current: str) -> Iterator[Candidate]:
    wanted = kinds.split("|")
    if "command" in wanted:
        yield from ((command.name, command.summary) for command in COMMANDS)
    if "import" in wanted:
        yield from ((sort, "") for sort in IMPORTS)
    if "export" in wanted:
        yield from ((sort, "") for sort in EXPORTS)
    if "clear" in wanted:
        yield "clear", "make earlier successes be forgotten"
    if "kind" in wanted:
        from pyflowd.language.kinds import ABOUT

        yield from ((name, about.summary) for name, about in ABOUT.items())
    if "code" in wanted:
        from pyflowd.lint.lint_codes import CODES

        yield from ((code.name, code.meaning) for code in CODES.values())
    if "shell" in wanted:
        yield from ((shell, "") for shell in SHELLS)
    if "secret-action" in wanted:
        yield from ((action, "") for action in SECRET_ACTIONS)
    if "token-action" in wanted:
        yield from ((action, "") for action in TOKEN_ACTIONS)
    if not _ASKED & set(wanted):
        return
    try:
        with connect(root=values.get("--root"), socket=values.get("--socket"), timeout_s=_TIMEOUT_S) as client:
            yield from _known(client, wanted, arguments)
            if "version" in wanted:
                yield from _versions(client, current)
    except PyflowError:
        return


def _known(client: Client, wanted: list[str], arguments: list[str]) -> Iterator[Candidate]:
    if "workflow" in wanted:
        yield from ((view.workflow, view.description or view.state) for view in client.workflows())
    if "paused" in wanted:
        paused = (view for view in client.workflows() if view.state == "paused")
        yield from ((view.workflow, f"paused by {view.paused_by}") for view in paused)
    if "run" in wanted:
        yield from _runs(client.runs(ListRuns(limit=50)))
    if "live-run" in wanted:
        host = client.host()
        yield from _runs([*host.running, *host.queued])
    if "secret" in wanted and arguments[:1] in (["set"], ["rm"]):
        for answer in client.ask(ListSecrets()):
            if isinstance(answer, SecretPage):
                yield from ((view.name, view.provider) for view in answer.secrets if view.provider == "store")
    if "token" in wanted and arguments[:1] == ["revoke"]:
        for answer in client.ask(ListTokens()):
            if isinstance(answer, TokenPage):
                yield from ((str(view.token), view.label or view.sort.value) for view in answer.tokens)
    if "param" in wanted and arguments:
        for answer in client.ask(ShowWorkflow(workflow=arguments[0])):
            if isinstance(answer, DefinitionView):
                yield from ((f"{name}=", "") for name in answer.params)
    if "task-of" in wanted and arguments:
        for answer in client.ask(GetGraph(of=arguments[-1])):
            if isinstance(answer, GraphView):
                yield from ((task.task, "") for task in answer.tasks)
    if "waiting-run" in wanted:
        for waiting in client.approvals():
            yield str(waiting.run), f"{waiting.workflow}: {waiting.task}"
    if arguments:
        yield from _of_run(client, wanted, arguments)


def _versions(client: Client, current: str) -> Iterator[Candidate]:
    """Workflows; behind the @ the texts of the one before it, the newest first."""
    workflow, at, _ = current.partition("@")
    if not at:
        yield from ((view.workflow, view.description or view.state) for view in client.workflows())
        return
    for answer in client.ask(ListChanges(workflow=workflow, limit=_VERSIONS)):
        if isinstance(answer, ChangePage):
            texts = (change for change in answer.changes if change.digest)
            yield from ((f"{workflow}@{(text.digest or '')[:DIGITS]}", text.what) for text in texts)


def _of_run(client: Client, wanted: list[str], arguments: list[str]) -> Iterator[Candidate]:
    """What the run or workflow that the command line names has."""
    if "task" in wanted:
        found = client.run(arguments[0], items=False)[1]
        yield from ((task.task, task.state) for task in found if "item" in wanted or task.item is None)
    if "approval" in wanted:
        of = (view for view in client.approvals() if arguments[0] in (str(view.run), view.workflow))
        yield from ((view.task, view.message) for view in of)
    if "artifact" in wanted and len(arguments) > 1:
        yield from ((kept.name, "") for kept in client.artifacts(arguments[0], arguments[1]))


def _runs(views: Iterable[RunView]) -> Iterator[Candidate]:
    return ((str(view.run), f"{view.workflow} {view.state}") for view in views)
