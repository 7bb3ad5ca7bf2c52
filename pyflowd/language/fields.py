"""What the value of a key may be: one reader for each sort of value, and the report that gathers what is wrong.

A reader takes the value as `document` read it and returns it as the model wants it, or raises `Wrong`. Expressions
are parsed here and noted in the report; whether what they name is there, `definition_references` judges. It knows
nothing of which keys there are: that is in the tables of `definition`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from collections.abc import Mapping as AnyMapping
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple, TypeVar

from pyflowd import errors, units
from pyflowd.base import zones
from pyflowd.expressions import expression
from pyflowd.expressions import template as templates
from pyflowd.expressions.expression import Expression, ExpressionError
from pyflowd.language.document import Document, Mapping, Sequence, one_line, quote
from pyflowd.model.problem import Problem, Severity
from pyflowd.model.states import is_name
from pyflowd.schedules import cron

MAX_PROBLEMS = 50
MAX_STRING_BYTES = 120 * 1024
"""Rule D5: the kernel takes no single argument or variable of more than 128 KiB, name and end included."""
MAX_PATH_BYTES = 4095
_MAX_MESSAGE = 1000
MAX_STDIN_BYTES = 1024 * 1024

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_RESERVED_ENV = ("PYFLOW_", "PARAM_")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?", re.ASCII)
_BARE_BRACES = re.compile(
    r"(?<![$\w])\{\{\s*(?:params|tasks|run|env|item|index|matrix|event|secrets|inputs)\b[^{}]*\}\}", re.ASCII
)
"""`{{ params.x }}`: surely an expression without its dollar; `{{.Names}}` of docker and its like is none."""
_PARAM_EXPRESSION = re.compile(r"\$\{\{\s*(params|template)\.([A-Za-z0-9_.-]{1,63})\s*\}\}", re.ASCII)
_PLAIN_NUMBER = re.compile(r"[-+.0-9][-+.0-9A-Za-z]*", re.ASCII)

_E = TypeVar("_E", bound=StrEnum)


CONDITION = "<condition>"
"""In `Use.also`: the expression says whether something holds, so it must give true or false."""
SECRETS = "secrets"
"""In `Use.also`: secrets may be named here (rule P6)."""


class Wrong(Exception):
    """A value that may not stand where it stands; whoever knows the place adds it to the report."""

    def __init__(self, message: str, fix: str = "", *, code: str = "value") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix


class Enough(Exception):
    """The report is full: what else is wrong would not be read anyway, and finding it may take long."""


class Use(NamedTuple):
    """An expression of the file: the key that holds it, where, and the names it has beside those that all have."""

    expression: Expression | None
    """None: `bare` stands there, which looks like one."""
    key: str
    mark: int
    also: frozenset[str]
    bare: str = ""


class Report:
    """The problems of one file, at most `MAX_PROBLEMS`, then `add` raises Enough; and the expressions that it holds."""

    def __init__(self, file: str, document: Document) -> None:
        self.file = file
        self.document = document
        self.problems: list[Problem] = []
        self.errors = 0
        self.uses: list[Use] = []
        self.unplaced = 0
        """How many of the last `uses` have no place yet: a reader does not know where its value stands."""

    def note(self, expression: Expression | None, also: frozenset[str], bare: str = "") -> None:
        self.uses.append(Use(expression, "", -1, also, bare))
        self.unplaced += 1

    def place_uses(self, key: str, mark: int) -> None:
        """Give what has been noted, and has no nearer place, this one."""
        for index in range(len(self.uses) - self.unplaced, len(self.uses)):
            self.uses[index] = self.uses[index]._replace(key=key, mark=mark)
        self.unplaced = 0

    def allow(self, name: str, since: int) -> None:
        """Let the expressions noted since there were `since` of them speak of `name`."""
        for index in range(since, len(self.uses)):
            self.uses[index] = self.uses[index]._replace(also=self.uses[index].also | {name})

    def take_uses(self) -> list[Use]:
        """What has been noted since this was asked last."""
        taken, self.uses, self.unplaced = self.uses, [], 0
        return taken

    def add(self, mark: int, code: str, message: str, fix: str = "", *, warning: bool = False) -> None:
        if warning and len(self.problems) >= MAX_PROBLEMS:
            return
        line, column = self.document.place(mark)
        self.errors += not warning
        severity = Severity.WARNING if warning else Severity.ERROR
        self.problems.append(
            Problem(
                file=self.document.label(mark) or self.file,
                line=line,
                column=column,
                severity=severity,
                code=code,
                message=_shown(message),
                fix=_shown(fix),
            )
        )
        if not warning and len(self.problems) >= MAX_PROBLEMS:
            raise Enough

    def wrong(self, mark: int, key: str, wrong: Wrong) -> None:
        self.add(mark, wrong.code, f"{key}: {wrong.message}", wrong.fix)


def _shown(text: str) -> str:
    """What is told, whatever of the file is in it: on one line, not endless, nothing that a terminal obeys."""
    text = text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 3] + "..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


Reader = Callable[[Any, Report], Any]


class Table(NamedTuple):
    """The keys that a mapping may have: one place for each, with the field it fills and the reader of its value."""

    what: str
    keys: dict[str, tuple[str, Reader]]
    later: frozenset[str] = frozenset()
    """Keys of the language that this version does not have yet."""
    meant: AnyMapping[str, str] = {}
    """What is called otherwise elsewhere."""


def read(table: Table, mapping: Mapping, report: Report) -> dict[str, Any]:
    """The fields that `mapping` fills; whatever is wrong goes to the report."""
    fields: dict[str, Any] = {}
    keys = table.keys
    for key, value in mapping.items():
        entry = keys.get(key)
        if entry is None:
            report.add(mapping.key_mark(key), *_unknown(table, key))
            continue
        try:
            if value is None:
                raise Wrong("there is no value", "give one, or leave the key out")
            fields[entry[0]] = entry[1](value, report)
        except Wrong as wrong:
            report.wrong(mapping.value_mark(key), key, wrong)
        if report.unplaced:
            report.place_uses(key, mapping.value_mark(key))
    return fields


def _unknown(table: Table, key: str) -> tuple[str, str, str]:
    if key in table.later:
        return "later", f'"{key}" in {table.what} is not supported by this version', "leave it out"
    if key == "<<":
        return "unknown_key", 'merge keys ("<<") are not part of YAML 1.2', "write the keys out, or use defaults"
    choices = (*table.keys, *table.later)
    guess = f' (did you mean "{table.meant[key]}"?)' if key in table.meant else suggest(key, choices)
    return "unknown_key", f"{table.what} has no key {quote(key)}{guess}", ""


def suggest(word: str, choices: tuple[str, ...]) -> str:
    """`errors.nearest`, made cheap: a comparison with each of 10,000 names takes a second."""
    if len(word) > 80:
        return ""
    if len(choices) > 200:
        near = (choice for choice in choices if abs(len(choice) - len(word)) <= 2 and choice[:1] == word[:1])
        choices = tuple(choice for choice, _ in zip(near, range(200), strict=False))
    return errors.nearest(word, choices)


def size_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


# ---- Text -----------------------------------------------------------------------------------------------------------


def shape(value: Any) -> str:
    """What a value is, in the words of the file."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {quote(value)}"
        case dict():
            return "a mapping"
        case _:
            return "a list"


def text(value: Any, report: Report) -> str:
    """Any text without an expression."""
    if value.__class__ is not str:
        fix = "put it in quotes" if isinstance(value, (bool, int, float)) else ""
        raise Wrong(f"expected text, found {shape(value)}", fix)
    if "${{" in value:
        raise Wrong("an expression (${{ }}) may not stand here", "write the value out", code="expression")
    checked: str = value
    return checked


def template(value: Any, report: Report, also: frozenset[str] = frozenset()) -> str:
    """Text in which expressions may stand (rule P1). `also`: names that they have here beside those of the run."""
    if value.__class__ is not str:
        raise Wrong(f"expected text, found {shape(value)}", "put it in quotes")
    if "{{" in value:
        _note(value, report, also)
    checked: str = value
    return checked


def _note(text: str, report: Report, also: frozenset[str]) -> None:
    """The expressions in a text to the report; `$${{` stands for the text `${{`."""
    if "${{" in text:
        try:
            found = templates.parse(text).expressions
        except ExpressionError as error:
            raise Wrong(one_line(str(error)), code="expression") from None
        for each in found:
            report.note(each, also)
    bare = _BARE_BRACES.search(text)
    if bare is not None:
        report.note(None, also, bare[0])


def template_tree(value: Any, report: Report, also: frozenset[str] = frozenset()) -> Any:
    """Any value of the file, as plain dicts and lists; expressions may stand in its texts (rules P1, P2)."""
    if value.__class__ is str:
        return template(value, report, also)
    if value.__class__ is Mapping:
        return {key: _branch(value.marks[2 * n + 1], key, value[key], report, also) for n, key in enumerate(value)}
    if value.__class__ is Sequence:
        pairs = zip(value, value.marks, strict=True)
        return [_branch(mark, str(n), item, report, also) for n, (item, mark) in enumerate(pairs)]
    return value


def _branch(mark: int, key: str, value: Any, report: Report, also: frozenset[str]) -> Any:
    try:
        found = template_tree(value, report, also)
    except Wrong as wrong:
        report.wrong(mark, quote(key)[1:-1], wrong)
        return None
    if report.unplaced:
        report.place_uses(quote(key)[1:-1], mark)
    return found


def condition(value: Any, report: Report, also: frozenset[str] = frozenset()) -> str:
    """The text of an expression that says whether something holds, without the `${{ }}` that may stand around it."""
    if value.__class__ is bool:
        return "true" if value else "false"
    return expression_text(value, report, also | {CONDITION})


def expression_text(value: Any, report: Report, also: frozenset[str] = frozenset()) -> str:
    """The text of one expression of any type."""
    if value.__class__ is not str or not value.strip():
        raise Wrong(f"expected an expression, found {shape(value)}", "write it as in params.full and run.id != 1")
    try:
        parsed = _only_expression(value) if "${{" in value else expression.parse(value.strip())
    except ExpressionError as error:
        raise Wrong(one_line(str(error)), code="expression") from None
    report.note(parsed, also)
    return parsed.text.strip()


def with_secrets(reader: Reader) -> Reader:
    """A reader of what may hold secrets: it goes to a process or a server, and is neither kept nor shown."""
    return partial(secret_too, reader)


def secret_too(reader: Reader, value: Any, report: Report) -> Any:
    since = len(report.uses)
    found = reader(value, report)
    report.allow(SECRETS, since)
    return found


def _only_expression(text: str) -> Expression:
    found = templates.parse(text.strip())
    if not found.is_single:
        raise Wrong("more than one expression", "write one, without ${{ }}", code="expression")
    return found.expressions[0]


def word(value: Any, report: Report) -> str:
    """Text that is not empty."""
    checked = text(value, report)
    if not checked.strip():
        raise Wrong("the text is empty")
    return checked


def name(value: Any, report: Report) -> str:
    """Rule D7."""
    if value.__class__ is not str:
        raise Wrong(f"expected a name, found {shape(value)}", "put it in quotes")
    check_name(value)
    checked: str = value
    return checked


def check_name(value: str) -> None:
    """Raises Wrong unless `value` keeps rule D7."""
    if is_name(value):
        return
    if "${{" in value:
        raise Wrong("an expression may not stand in a name", "write the name out", code="expression")
    fix = 'use letters, digits, "_", "." and "-", first a letter or digit, at most 63'
    raise Wrong(f"{quote(value)} is no name", fix, code="name")


def literal(value: str) -> None:
    """Raises Wrong where a value would get into a command as text (rule P1)."""
    if "${{" not in value:
        return
    param = _PARAM_EXPRESSION.search(value)
    if param is not None:
        prefix = "PARAM_" if param[1] == "params" else "TEMPLATE_"
        variable = prefix + re.sub(r"[^A-Z0-9]", "_", param[2].upper())
        fix = f'write "${variable}" instead: every param is in the environment'
    else:
        fix = "put the value under env: and use the variable, in double quotes"
    raise Wrong("an expression (${{ }}) would be pasted into the command", fix, code="expression")


def bounded(value: str, limit_bytes: int = MAX_STRING_BYTES) -> str:
    """Raises Wrong if the kernel would not take `value` (rule D5)."""
    if len(value) * 4 > limit_bytes and size_bytes(value) > limit_bytes:
        fix = "put it in a file and name that"
        raise Wrong(f"{size_bytes(value)} bytes; at most {limit_bytes} can be passed on", fix, code="too_long")
    return value


def value_text(value: Any, report: Report) -> str:
    """Rule P3: text as it is, booleans `true` and `false`, numbers, lists and maps as JSON writes them."""
    return bounded(text(value, report)) if value.__class__ is str else value_template(value, report)


def value_template(value: Any, report: Report) -> str:
    """As `value_text`; a text may hold expressions, which have their place in a list or mapping only as a whole."""
    if value.__class__ is str:
        return bounded(template(value, report))
    if value is None:
        raise Wrong("there is no value", 'write "" for an empty text')
    try:
        written = bounded(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except ValueError:
        raise Wrong(f"the number {value} has no form in JSON", "put it in quotes") from None
    if "${{" in written:
        fix = "make one expression of all of it, as in ${{ [1, params.x] }}"
        raise Wrong(f"an expression inside {shape(value)} that becomes text", fix, code="expression")
    return written


def warn_of_number(value: Any, converted: str, mark: int, report: Report) -> None:
    """3.10 is the number 3.1: where text is made of a number, say so if it looks otherwise than written."""
    if value.__class__ is not float and value.__class__ is not int:
        return
    written = _PLAIN_NUMBER.match(report.document.text, mark)
    if written is not None and written[0] != converted:
        message = f"the number {written[0]} becomes the text {quote(converted)}"
        report.add(mark, "number_text", message, f'write "{written[0]}" in quotes to keep it', warning=True)


def path(value: Any, report: Report) -> str:
    """An absolute path, or one below the home folder of the task's user (`~/x`), which becomes relative (`x`)."""
    checked = bounded(word(value, report), MAX_PATH_BYTES)
    if checked.startswith("/"):
        return checked
    if checked == "~" or checked.startswith("~/"):
        return checked[2:] or "."
    raise Wrong(f"{quote(checked)} is no absolute path", "begin it with / or ~/")


def absolute_path(value: Any, report: Report) -> str:
    """A path of the host, in the settings."""
    checked = word(value, report)
    if not checked.startswith("/") or "\0" in checked or len(checked) > MAX_PATH_BYTES:
        raise Wrong(f"{quote(checked)} is no absolute path", "begin it with /")
    return checked.rstrip("/") or "/"


def path_template(value: Any, report: Report) -> str:
    """A path as `path` has it, in which expressions may stand; one that begins with an expression is judged later."""
    if value.__class__ is not str or "${{" not in value:
        return path(value, report)
    checked = bounded(template(value, report), MAX_PATH_BYTES)
    if checked.startswith("~/"):
        return checked[2:]
    if checked.startswith(("/", "${{")):
        return checked
    raise Wrong(f"{quote(checked)} is no absolute path", "begin it with / or ~/")


def user(value: Any, report: Report) -> str:
    checked = text(value, report)
    if not _USER.fullmatch(checked):
        raise Wrong(f"{quote(checked)} is no name of a user")
    return checked


def group(value: Any, report: Report) -> str:
    """A name of a Unix group; whether the host knows it is another matter."""
    checked = text(value, report)
    if not _USER.fullmatch(checked):
        raise Wrong(f"{quote(checked)} is no name of a group")
    return checked


def timezone(value: Any, report: Report) -> str:
    """An IANA name that this host knows."""
    checked = text(value, report)
    try:
        zones.zone(checked)
    except ValueError as error:
        raise Wrong(one_line(str(error)), code="timezone") from None
    return checked


def cron_text(value: Any, report: Report) -> str:
    """A cron expression that `cron` takes (rule T2)."""
    if value.__class__ is str and "${{" in value:
        raise Wrong("an expression may not stand in a schedule", "write the times out", code="expression")
    checked = text(value, report)
    try:
        cron.parse(checked)
    except ValueError as error:
        raise Wrong(one_line(str(error)), code="cron") from None
    return checked


# ---- Numbers, durations, sizes, choices -----------------------------------------------------------------------------


def boolean(value: Any, report: Report) -> bool:
    if value.__class__ is not bool:
        raise Wrong(f"expected true or false, found {shape(value)}")
    return bool(value)


# Readers made with bounds, words or another reader are partials: `schema_forms` looks at what they are made of.


def integer_from(least: int, most: int) -> Reader:
    return partial(bounded_integer, least, most)


def bounded_integer(least: int, most: int, value: Any, report: Report) -> int:
    if value.__class__ is not int:
        fix = "take the quotes away" if isinstance(value, str) and value.isdecimal() else ""
        raise Wrong(f"expected a whole number, found {shape(value)}", fix)
    if not least <= value <= most:
        raise Wrong(f"{value} is not from {least} to {most}")
    return int(value)


def number_from(least: float, most: float) -> Reader:
    return partial(bounded_number, least, most)


def bounded_number(least: float, most: float, value: Any, report: Report) -> float:
    if value.__class__ is not int and value.__class__ is not float:
        raise Wrong(f"expected a number, found {shape(value)}")
    if not least <= value <= most:
        raise Wrong(f"{value} is not from {least:g} to {most:g}")
    return float(value)


def duration_s(value: Any, report: Report) -> float:
    """`30s`, `5m`: the unit is required."""
    if value.__class__ is int or value.__class__ is float:
        fix = f'write "{value}s" for seconds' if value - value == 0 else "leave the key out for no limit"
        raise Wrong(f"{value} has no unit", fix)
    checked = text(value, report)
    try:
        return units.duration_s(checked)
    except ValueError as error:
        raise Wrong(one_line(str(error))) from None


def positive_duration_s(value: Any, report: Report) -> float:
    seconds = duration_s(value, report)
    if seconds <= 0:
        raise Wrong("it must be longer than nothing", "leave the key out for no limit")
    return seconds


def file_size_bytes(value: Any, report: Report) -> int:
    """`64KiB`, `10MB`: the unit is required."""
    if value.__class__ is int or value.__class__ is float:
        raise Wrong(f"{value} has no unit", "write it as in 64KiB, 10MB, 2GiB")
    checked = text(value, report)
    try:
        return units.size_bytes(checked)
    except ValueError as error:
        raise Wrong(one_line(str(error))) from None


def one_of(kind: type[_E], also: AnyMapping[str, str] | None = None) -> Reader:
    """A word of a closed set; `also` names synonyms."""
    words = {member.value: member for member in kind}
    words.update({synonym: kind(meaning) for synonym, meaning in (also or {}).items()})

    return partial(choice, words)


def choice(words: AnyMapping[str, Any], value: Any, report: Report) -> Any:
    found = words.get(value) if value.__class__ is str else None
    if found is None:
        guess = errors.nearest(value, list(words)) if isinstance(value, str) and len(value) < 80 else ""
        raise Wrong(f"expected one of {', '.join(words)}, found {shape(value)}{guess}")
    return found


# ---- Collections ----------------------------------------------------------------------------------------------------


def mapping(value: Any, report: Report) -> Mapping:
    if value.__class__ is not Mapping:
        raise Wrong(f"expected a mapping (key: value), found {shape(value)}")
    checked: Mapping = value
    return checked


def one_or_more(item: Reader) -> Reader:
    """One value, or a list of them, as a tuple."""
    return partial(items, item)


def items(item: Reader, value: Any, report: Report) -> tuple[Any, ...]:
    if value.__class__ is not Sequence:
        return (item(value, report),)
    found = []
    for each, mark in zip(value, value.marks, strict=True):
        try:
            found.append(item(each, report))
        except Wrong as wrong:
            report.add(mark, wrong.code, wrong.message, wrong.fix)
    return tuple(found)


def env(value: Any, report: Report) -> dict[str, str]:
    """Variables and their text."""
    table = mapping(value, report)
    found: dict[str, str] = {}
    for variable, content in table.items():
        try:
            if not _ENV_NAME.fullmatch(variable) or len(variable) > 255:
                raise Wrong("no name of a variable", "use letters, digits and _, first no digit", code="name")
            if variable.startswith(_RESERVED_ENV):
                raise Wrong("variables that begin with PYFLOW_ or PARAM_ are made by PyFlow", "rename it", code="name")
            converted = found[variable] = value_template(content, report)
        except Wrong as wrong:
            mark = table.key_mark(variable) if wrong.code == "name" else table.value_mark(variable)
            report.wrong(mark, quote(variable), wrong)
            continue
        if report.unplaced:
            report.place_uses(variable, table.value_mark(variable))
        if content.__class__ is not str:
            warn_of_number(content, converted, table.value_mark(variable), report)
    return found


_STRICT_SHELLS = {
    "bash": ("-euo", "pipefail", "-c"),
    "zsh": ("-euo", "pipefail", "-c"),
    "ksh": ("-euo", "pipefail", "-c"),
    "sh": ("-eu", "-c"),
    "dash": ("-eu", "-c"),
    "python3": ("-c",),
}


def shell(value: Any, report: Report) -> tuple[str, ...]:
    """The argv that comes before the text of `run`: a list, several words, or a shell that we know, in strict mode."""
    if value.__class__ is Sequence:
        words: tuple[str, ...] = one_or_more(word)(value, report)
        if not words:
            raise Wrong("the list is empty", "write it as in [bash, -c]")
    else:
        try:
            words = tuple(shlex.split(word(value, report)))
        except ValueError:
            raise Wrong("a quote is not closed") from None
        if len(words) == 1:
            options = _STRICT_SHELLS.get(words[0].rpartition("/")[2])
            if options is None:
                fix = f"write a list that ends with the option that takes text, as in [{words[0]}, -c]"
                raise Wrong(f"{quote(words[0])} is no shell whose options are known", fix)
            words += options
    for each in words:
        literal(each)
    bounded(" ".join(words), MAX_PATH_BYTES)
    return words
