"""What can go wrong in a shell text: values that are split, taken for options, or read as commands. Pure.

Told is only what a value that may really come can break: of a variable that holds a number, a name that is written out
or what a pattern allows, nothing is said. It knows nothing of YAML; whoever asks says what the variables may hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from pyflowctl.shellcommands import Command, Expansion, Word
from pyflowd.errors import nearest

_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "su", "runuser"})
_TEXT_OPTION = re.compile(r"-[a-z]*c")
_DECLARING = frozenset({"local", "export", "declare", "readonly", "typeset"})
_NO_SPLIT = frozenset({"eval", "exit", "return", "shift", "sleep", "wait", "kill", "set", *_DECLARING})
"""Where a bare variable is told otherwise, meant so, or a number in any case."""
_OPTION_TAKERS = (
    "awk bzip2 cat chgrp chmod chown cmp cp curl cut diff docker du find gcc git gpg grep gunzip gzip head install "
    "ln ls make mkdir mktemp mv mysql mysqldump nc pg_dump pg_restore podman psql readlink realpath rename rm rmdir "
    "rsync scp sed sftp sha256sum shred sort split sqlite3 ssh stat strip systemctl tail tar tee touch truncate "
    "umount uniq unlink unzip wc wget xz zcat zip zstd"
)
_TAKES_OPTIONS = frozenset(_OPTION_TAKERS.split())
_FEW_VALUES = frozenset({"cat", "chgrp", "chmod", "chown", "cp", "ln", "mkdir", "mv", "rm", "rmdir", "unlink"})
"""Whose options have no values but a few."""
_WRAPPERS = frozenset({"sudo", "env", "nice", "ionice", "nohup", "exec", "command", "time", "doas"})
_SSH_VALUED = frozenset("-" + letter for letter in "BbcDEeFIiJLlmOopQRSWw")
_NUMBERS = re.compile(
    r"^\s*(?:date|id|nproc|seq|mktemp|hostname|uname|expr|whoami|git rev-parse|printf '?%[0-9]*d)\b"
    r"|(?:^|\|)\s*(?:wc|sha(?:1|224|256|384|512)sum|md5sum|stat -c '?%[sYi]'?|grep -c|tput)\b[^|]*$"
)
"""Commands whose output is one word without a pattern in it."""
_GLOB = re.compile(r"[*?\[]")


class Variable(NamedTuple):
    """What a variable may hold."""

    splits: bool = False
    """Blanks, or signs that become names of files."""
    outside: bool = False
    """It comes with the run, so that somebody else may choose it."""
    dash: bool = False
    """It may begin with `-`."""
    secret: bool = False


class Hazard(NamedTuple):
    """`start`, `end`: the piece of the text that it is about."""

    start: int
    end: int
    code: str
    message: str
    fix: str


def hazards(
    text: str,
    found: list[Command],
    known: Mapping[str, Variable],
    *,
    strict: bool,
    params: frozenset[str] | None,
) -> list[Hazard]:
    """What can go wrong with the commands of a text, in its order.

    `known`: variables that are there when it starts. `strict`: the shell ends at the first error. `params`: all
    `PARAM_` variables that there are; None: not known.
    """
    variables = {**known, **_locals(found, known)}
    told: dict[tuple[str, str], Hazard] = {}
    for hazard, about in _all(found, variables, text, strict=strict, params=params):
        told.setdefault((hazard.code, about), hazard)
    return sorted(told.values())


def _all(
    found: list[Command],
    variables: Mapping[str, Variable],
    text: str,
    *,
    strict: bool,
    params: frozenset[str] | None,
) -> Iterator[tuple[Hazard, str]]:
    """With what each is about, so that it is told once."""
    stops = strict or any(command.name == "set" and _sets(command, "e", "errexit") for command in found)
    for command in found:
        if command.kind == "simple" and command.words:
            yield from _as_text(command, variables)
            yield from _unquoted(command, variables)
            yield from _options(command, variables)
            yield from _shown(command, variables, text)
            if not stops:
                yield from _cd(command)
    if params is not None:
        yield from _unknown(found, params)


# ---- What variables hold --------------------------------------------------------------------------------------------


def _locals(found: list[Command], known: Mapping[str, Variable]) -> dict[str, Variable]:
    """Variables that the text itself gives values to, joined over all places where it does."""
    given: dict[str, Variable] = {}

    def give(name: str, value: Variable) -> None:
        before = given.get(name, Variable())
        given[name] = Variable(*(one or other for one, other in zip(before, value, strict=True)))

    for command in found:
        assigning = [*command.assignments, *(word for word in command.words if command.name in _DECLARING)]
        for word in assigning:
            if word.assigns:
                give(word.assigns, _value(word, {**known, **given}))
        names = [word.plain for word in command.words[1:] if word.is_literal]
        if command.name == "read":
            for name in names:
                if name.isidentifier():
                    give(name, Variable(splits=True))
        if command.kind in ("for", "select") and len(command.words) > 2:
            several = [_element(word, {**known, **given}) for word in command.words[3:]]
            for value in several:
                give(names[0], value)
    return given


def _value(word: Word, variables: Mapping[str, Variable]) -> Variable:
    """Of an assignment."""
    body = word.text.partition("=")[2]
    if body.startswith("("):
        return Variable()  # an array: what it holds is not followed
    held = [variables.get(each.name, Variable()) for each in word.expansions if not each.operator.startswith("#")]
    begins = word.expansions and word.expansions[0].start <= word.start + len(word.text) - len(body) + 1
    unsafe = any(not _NUMBERS.search(each.text) for each in word.substitutions)
    return Variable(
        splits=any(each.splits for each in held) or unsafe,
        outside=any(each.outside for each in held),
        dash=bool(begins and held and held[0].dash),
        secret=any(each.secret for each in held),
    )


def _element(word: Word, variables: Mapping[str, Variable]) -> Variable:
    """Of a word behind `in`: a bare variable is split there, so no part of it holds a blank."""
    held = [variables.get(each.name, Variable()) for each in word.expansions]
    quoted = any(variables.get(each.name, Variable()).splits for each in word.expansions if each.quoted)
    is_pattern = word.is_literal and "'" not in word.text and bool(_GLOB.search(word.text))
    positional = any(each.name in ("@", "*") or each.name.isdecimal() for each in word.expansions)
    return Variable(
        splits=quoted
        or is_pattern
        or positional
        or bool(word.expansions and _GLOB.search(word.text.partition("$")[2])),
        outside=any(each.outside for each in held),
        dash=any(each.dash for each in held),
    )


# ---- Hazards --------------------------------------------------------------------------------------------------------


def _spelled(word: Word, each: Expansion) -> str:
    return word.text[each.start - word.start : each.end - word.start]


def _is_plain(each: Expansion) -> bool:
    """A value as it is: not its length, not quoted again by the shell."""
    return not each.operator.startswith(("#", "@", ":+", "+", "[@]", "[*]"))


def _unquoted(command: Command, variables: Mapping[str, Variable]) -> Iterator[tuple[Hazard, str]]:
    if command.name in _NO_SPLIT:
        return
    for word in command.words[1:]:
        for each in word.expansions:
            positional = each.name in ("@", "*") or (each.name.isdecimal() and each.name != "0")
            if each.quoted or not _is_plain(each) or not (positional or variables.get(each.name, Variable()).splits):
                continue
            written = _spelled(word, each)
            message = (
                f"{written} is not in quotes: blanks in its value make several words of it, * and ? names of files"
            )
            yield Hazard(each.start, each.end, "unquoted", message, f'write "{written}"'), each.name


def _as_text(command: Command, variables: Mapping[str, Variable]) -> Iterator[tuple[Hazard, str]]:
    """Values that a shell reads as its text: of `eval`, of `sh -c`, of the other host's behind `ssh`."""
    for word in _texts_for_shells(command):
        for each in word.expansions:
            if not variables.get(each.name, Variable()).outside or not _is_plain(each):
                continue
            written = _spelled(word, each)
            if command.name == "eval":
                message = f"eval runs {written} as commands: whoever chooses its value chooses what is run"
                fix = "leave eval out; an array holds arguments that are put together"
                yield Hazard(each.start, each.end, "eval", message, fix), each.name
                continue
            message = (
                f"{written} becomes part of the text of another shell: whoever chooses its value chooses what it runs"
            )
            if "ssh" in _names(command):
                fix = "use a task with ssh:, whose env reaches the script apart from it, or write ${X@Q} for $X"
            else:
                fix = "put the text in single quotes: what is in the environment is there as well"
            yield Hazard(each.start, each.end, "injection", message, fix), f"{each.name} {command.name}"


def _names(command: Command) -> list[str]:
    return [word.plain for word in command.words if word.is_literal]


def _texts_for_shells(command: Command) -> Iterable[Word]:
    """The words that a shell reads as commands."""
    words = command.words
    if command.name == "eval":
        return words[1:]
    for n, word in enumerate(words):
        name = word.plain.rpartition("/")[2] if word.is_literal else ""
        if name in _SHELLS:
            for m in range(n + 1, len(words) - 1):
                if words[m].is_literal and _TEXT_OPTION.fullmatch(words[m].text):
                    return words[m + 1 : m + 2]
            return ()
        if name == "ssh":
            return words[_host(words, n) + 1 :]
        if n and name not in _WRAPPERS and words[0].plain != "xargs" and words[0].plain not in _WRAPPERS:
            return ()
    return ()


def _host(words: tuple[Word, ...], ssh: int) -> int:
    """Which word names the host."""
    n = ssh + 1
    while n < len(words) and words[n].text.startswith("-"):
        n += 2 if words[n].text in _SSH_VALUED else 1
    return n


def _options(command: Command, variables: Mapping[str, Variable]) -> Iterator[tuple[Hazard, str]]:
    words = list(command.words)
    while words and words[0].plain in _WRAPPERS:
        words.pop(0)
    if not words or words[0].plain.rpartition("/")[2] not in _TAKES_OPTIONS:
        return
    name = words[0].plain.rpartition("/")[2]
    for before, word in pairwise(words):
        if word.text == "--":
            return
        begins = word.expansions and word.expansions[0].start - word.start <= (1 if word.text[0] == '"' else 0)
        if not begins or (before.text.startswith("-") and _takes_value(name, before.text)):
            continue
        each = word.expansions[0]
        held = variables.get(each.name, Variable())
        if held.outside and held.dash and _is_plain(each):
            written = _spelled(word, each)
            message = f"{name} takes {written} for an option where its value begins with -"
            fix = f"write -- before it{', or ./ where it is a path' if name in ('find', 'awk', 'sed') else ''}"
            if each.name.startswith("PARAM_"):
                fix += ", or give the param a pattern"
            yield Hazard(each.start, each.end, "option_injection", message, fix), each.name


def _takes_value(name: str, option: str) -> bool:
    """Whether what follows an option may be its value."""
    return "=" not in option and (name not in _FEW_VALUES or option[-1] in "tSm")


def _shown(command: Command, variables: Mapping[str, Variable], text: str) -> Iterator[tuple[Hazard, str]]:
    """Secrets on standard output, or in a trace."""
    secret = {name for name, held in variables.items() if held.secret}
    if not secret:
        return
    leaves = command.after in ("|", "|&") or any(operator in (">", ">>", ">|") for operator, _ in command.redirects)
    if command.name in ("echo", "printf") and not leaves:
        for word in command.words[1:]:
            for each in word.expansions:
                if each.name in secret and not each.operator:
                    message = f"{command.name} writes the secret in {_spelled(word, each)} to the log"
                    yield Hazard(each.start, each.end, "secret_in_log", message, "leave it out"), each.name
    first = command.words[0]
    if command.name in ("env", "printenv") and len(command.words) == 1 and not leaves:
        message = f"{command.name} writes all variables to the log, {', '.join(sorted(secret))} among them"
        yield (
            Hazard(first.start, first.end, "secret_in_log", message, "name the variables that are wanted"),
            command.name,
        )
    if command.name == "set" and _sets(command, "x", "xtrace"):
        used = sorted(name for name in secret if re.search(rf"\$\{{?{name}\b", text))
        if used:
            message = f"set -x writes each command with its values to the log, the secret in {used[0]} among them"
            end = command.words[-1].end
            yield Hazard(first.start, end, "secret_in_log", message, "leave set -x out, or set +x before"), "set"


def _sets(command: Command, letter: str, name: str) -> bool:
    words = [word.plain for word in command.words[1:]]
    return name in words or any(re.fullmatch(rf"-[a-z]*{letter}[a-z]*", word) for word in words)


def _cd(command: Command) -> Iterator[tuple[Hazard, str]]:
    if command.name != "cd" or len(command.words) < 2 or command.tested or command.after in ("&&", "||"):
        return
    if command.words[-1].text in ("/", "-", "..", "~"):
        return
    message = "if cd fails, what follows runs in the wrong folder: this shell goes on after an error"
    last = command.words[-1]
    yield (
        Hazard(command.words[0].start, last.end, "cd_unchecked", message, "write cd ... || exit, or set -e"),
        last.text,
    )


def _unknown(found: list[Command], params: frozenset[str]) -> Iterator[tuple[Hazard, str]]:
    """`$PARAM_X` where there is no such param."""
    given = {word.assigns for command in found for word in (*command.assignments, *command.words)}
    given |= {word.plain for command in found for word in command.words if command.name in ("read", "for", "unset")}
    given |= {command.words[1].plain for command in found if command.kind == "for" and len(command.words) > 1}
    for command in found:
        for word in (*command.assignments, *command.words, *(target for _, target in command.redirects)):
            for each in word.expansions:
                if not each.name.startswith("PARAM_") or each.name in params or each.name in given:
                    continue
                if each.operator.lstrip(":").startswith(("-", "+", "=")):
                    continue  # it is asked whether it is there
                message = f"there is no param for {_spelled(word, each)}{nearest(each.name[:80], sorted(params))}"
                yield Hazard(each.start, each.end, "unknown_param", message, "declare it under params:"), each.name
