"""What a template's params become: values checked, and put where `${{ template.NAME }}` stands, when a file is loaded.

Nothing is pasted as text: an expression that is all of a value gives it its type, and shell text is left alone, for
which each param is a variable, `TEMPLATE_NAME`. It knows nothing of files, and of what the filled keys mean.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pyflowd.expressions import expression, template
from pyflowd.expressions.expression import Expression, ExpressionError, Variables
from pyflowd.language import fields, params
from pyflowd.language.definition_params import read_params
from pyflowd.language.document import MAX_BYTES, MAX_NODES, Mapping, Sequence, one_line, quote
from pyflowd.language.fields import Report, Wrong
from pyflowd.language.overlay import without
from pyflowd.model.workflow import Param

ROOT = "template"
"""The name under which expressions have the params."""
_VARIABLE = "TEMPLATE_"
_SECTIONS = ("tasks", "on_success", "on_failure", "on_cancel", "finally")
_BELOW = {
    **{("workflow", section): "tasks" for section in _SECTIONS},
    ("task", "undo"): "task",
    ("task", "on_error"): "tasks",
    ("task", "ssh"): "ssh",
    ("task", "reboot"): "reboot",
    ("task", "repeat"): "repeat",
    ("task", "wait"): "wait",
    ("task", "http"): "http",
    ("http", "expect"): "expect",
}
"""What a mapping is, by what holds it and under which key; below `tasks` any key is a task."""
_SHELL_TEXTS = frozenset({("task", "run"), ("ssh", "run")})
_CONDITIONS = frozenset(
    {("task", "if"), ("repeat", "until"), ("repeat", "while"), ("wait", "condition"), ("expect", "json")}
)
"""Keys whose text is an expression without `${{ }}`."""
_OPENING = re.compile(r"\$\{\{")
_CLOSING = re.compile(r"[ \t\r\n]*\}\}")


class Argument:
    """The value of one param of a template, as a plain value, and where it was given."""

    __slots__ = ("mark", "param", "value")

    def __init__(self, param: Param, value: Any, mark: int) -> None:
        self.param = param
        self.value = value
        self.mark = mark


def read_arguments(declared: Any, declared_mark: int, given: Any, given_mark: int, report: Report) -> list[Argument]:
    """The params that a template declares with what `with` gives them; all that is wrong goes to the report."""
    scopes: list[Any] = []
    known: tuple[Param, ...] = ()
    errors = report.errors
    if declared is not None:
        try:
            known = read_params(declared, report, scopes)
        except Wrong as wrong:
            report.wrong(declared_mark, "params", wrong)
    report.take_uses()
    if report.errors > errors:
        return []
    if given is not None and given.__class__ is not Mapping:
        report.add(given_mark, "value", f"with: expected a mapping (key: value), found {fields.shape(given)}")
        return []
    written = given if given is not None else Mapping()
    _refuse_unknown(written, known, report)
    found = []
    for param in known:
        argument = _argument(param, declared, written, given_mark, report)
        if argument is not None:
            found.append(argument)
    return found


def _refuse_unknown(written: Mapping, known: tuple[Param, ...], report: Report) -> None:
    names = tuple(param.name for param in known)
    for name in written:
        if name not in names:
            guess = fields.suggest(name, names)
            fix = f"there are {', '.join(names[:20])}" if names else "it declares none"
            report.add(written.key_mark(name), "param", f"with: the template has no param {quote(name)}{guess}", fix)


def _argument(param: Param, declared: Mapping, written: Mapping, given_mark: int, report: Report) -> Argument | None:
    if param.name in written:
        mark = written.value_mark(param.name)
        value = params.plain(written[param.name])
        try:
            if template.has_expression(value):
                fix = "write the value out; the template may use expressions of its own"
                raise Wrong("an expression (${{ }}) may not stand here: it is read with the file", fix)
            params.check(param, value)
        except Wrong as wrong:
            report.wrong(mark, f"with: {param.name}", wrong)
        except ValueError as error:
            report.add(mark, "value", f"with: {param.name}: {error}")
        return Argument(param, value, mark)
    if param.required:
        message = f"with: the template needs a value for {param.name}"
        report.add(given_mark, "missing", message, f"write it as in with: {{{param.name}: ...}}")
    elif param.default is not None:
        mark = declared[param.name].value_mark("default")
        if template.has_expression(param.default):
            fix = "write the value out"
            report.add(mark, "expression", "default: a param of a template has its value before there is a run", fix)
        return Argument(param, param.default, mark)
    return None


def fill(root: Mapping, declared: frozenset[str], arguments: list[Argument], report: Report) -> Mapping:
    """`root` with every `${{ template.NAME }}` evaluated, and the variables for shell text under `env`."""
    filler = _Filler(declared, {argument.param.name: argument.value for argument in arguments}, report)
    filled: Mapping = filler.mapping(root, "workflow")
    return _with_variables(filled, arguments)


def _with_variables(root: Mapping, arguments: list[Argument]) -> Mapping:
    """The params under `env`, below what is there already."""
    env = root.get("env")
    if not arguments or (env is not None and env.__class__ is not Mapping):
        return root
    variables = Mapping()
    variables.marks = []
    for argument in arguments:
        name = _VARIABLE + argument.param.variable.removeprefix("PARAM_")
        if env is not None and name in env:
            continue
        variables[name] = params.value_text(argument.value)
        variables.marks += (argument.mark, argument.mark)
    mark = arguments[0].mark
    if env is not None:
        variables.update(env)
        variables.marks += env.marks
        mark = root.key_mark("env")
    filled = without(root, frozenset({"env"}))
    filled["env"] = variables
    filled.marks += (mark, mark)
    return filled


def _pasted(value: str, before: str, after: str) -> str:
    """A value within a text: as it is, unless it would make the opening of an expression with what stands beside it."""
    start = min(len(before), 2)
    edges = before[-2:] + value + after[:2]
    opens = any(at.start() < start or at.end() > start + len(value) for at in _OPENING.finditer(edges))
    if opens or (value.endswith("$") and after == "${{"):
        return "${{ " + json.dumps(value, ensure_ascii=False) + " }}"
    return value.replace("${{", "$${{")


class _Filler:
    """One pass over a merged definition."""

    def __init__(self, declared: frozenset[str], values: dict[str, Any], report: Report) -> None:
        self._declared = declared
        self._values = values
        self._names = Variables({ROOT: values})
        self._report = report
        self._nodes = 0
        self._characters = 0

    def mapping(self, source: Mapping, what: str) -> Mapping:
        """A key whose value becomes null by its expression is left out, as null removes."""
        filled = Mapping()
        filled.marks = []
        for n, (key, value) in enumerate(source.items()):
            key_mark, mark = source.marks[2 * n : 2 * n + 2]
            if value.__class__ is str:
                new = self._text(value, mark, what, key)
                if new is None:
                    continue
            else:
                below = "task" if what == "tasks" else _BELOW.get((what, key), "")
                new = self._value(value, mark, below)
            filled[key] = new
            filled.marks += (key_mark, mark)
        return filled

    def _value(self, value: Any, mark: int, what: str) -> Any:
        self._count(1, 0, mark)
        if value.__class__ is Mapping:
            return self.mapping(value, what)
        if value.__class__ is Sequence:
            items = Sequence(
                self._text(item, at, "", "") if item.__class__ is str else self._value(item, at, "")
                for item, at in zip(value, value.marks, strict=True)
            )
            items.marks = value.marks
            return items
        return value

    def _text(self, text: str, mark: int, what: str, key: str) -> Any:
        self._count(1, 0, mark)
        if ROOT not in text or (what, key) in _SHELL_TEXTS:
            return text
        try:
            if "${{" in text:
                return self._template(text, mark)
            if (what, key) in _CONDITIONS:
                condition = expression.parse(text.strip())
                self._check(condition)
                return self._expression(condition, mark)
        except ExpressionError as error:
            self._report.add(mark, "expression", f"{key}: {one_line(str(error))}" if key else one_line(str(error)))
        return text

    def _template(self, text: str, mark: int) -> Any:
        read = template.parse(text)
        for each in read.expressions:
            self._check(each)
        if read.is_single and self._is_ours(read.expressions[0]):
            return self._placed(read.expressions[0].evaluate(self._names), mark)
        is_whole = all(self._is_ours(each) for each in read.expressions)
        filled, at = "", 0
        for each, offset in zip(read.expressions, read.offsets, strict=True):
            if ROOT not in each.names:
                continue
            closing = _CLOSING.match(text, offset + len(each.text))
            start, end = text.rindex("${{", 0, offset), closing.end() if closing else len(text)
            filled += text[at:start]
            if self._is_ours(each):
                value = template.text_of(each.evaluate(self._names))
                is_safe = value or is_whole  # nothing beside one expression would make a value of what is a text
                piece = _pasted(value, filled, text[end : end + 3]) if is_safe else '${{ "" }}'
            else:
                piece = "${{ " + self._expression(each, mark) + " }}"
            self._count(0, len(piece), mark)
            filled, at = filled + piece, end
        return filled + text[at:]

    def _is_ours(self, found: Expression) -> bool:
        """Whether it can be evaluated now: it names nothing but the template's params."""
        return found.names == {ROOT}

    def _check(self, found: Expression) -> None:
        """Raises ExpressionError where a param that it names cannot be had."""
        for reference in found.references:
            if reference.path[0] != ROOT:
                continue
            if len(reference.path) < 2:
                raise ExpressionError("name one param, as in template.host")
            if reference.path[1] not in self._declared:
                guess = fields.suggest(reference.path[1], tuple(self._declared))
                raise ExpressionError(f"the template has no param {quote(reference.path[1])}{guess}")
            if reference.path[1] not in self._values and not reference.guarded:
                fix = "give one under with:, or use default(...)"
                raise ExpressionError(f"template.{reference.path[1]} has no value: {fix}")

    def _expression(self, found: Expression, mark: int) -> str:
        """An expression of the run, the template's params in it written out as literals."""
        text, at = "", 0
        for reference in sorted(found.references, key=lambda each: each.column):
            if reference.path[0] != ROOT:
                continue
            name = reference.path[1]
            start = reference.column - 1
            spelled = re.compile(rf"{ROOT}\s*(?:\.\s*{re.escape(name)}|\[\s*(['\"]){re.escape(name)}\1\s*\])")
            match = spelled.match(found.text, start)
            if match is None:
                raise ExpressionError(f"write template.{name}")
            text += found.text[at:start] + self._literal(name)
            at = match.end()
        written = text + found.text[at:]
        self._count(0, len(written), mark)
        return written

    def _literal(self, name: str) -> str:
        if name not in self._values:
            return f"{{}}[{json.dumps(name)}]"  # absent, which the `default` around it catches
        written = json.dumps(self._values[name], ensure_ascii=False, allow_nan=False)
        return f"({written})" if written.startswith(("-", "[", "{")) else written

    def _placed(self, value: Any, mark: int) -> Any:
        """A plain value as the document has it; all of it stands where its expression does."""
        self._count(1, len(value) if isinstance(value, str) else 0, mark)
        if isinstance(value, dict):
            mapping = Mapping((key, self._placed(each, mark)) for key, each in value.items())
            mapping.marks = [mark] * (2 * len(mapping))
            return mapping
        if isinstance(value, list):
            items = Sequence(self._placed(each, mark) for each in value)
            items.marks = [mark] * len(items)
            return items
        return value.replace("${{", "$${{") if isinstance(value, str) else value

    def _count(self, nodes: int, characters: int, mark: int) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > MAX_NODES or self._characters > MAX_BYTES:
            self._report.add(mark, "too_large", f"more than {MAX_NODES} values or {MAX_BYTES} characters, when filled")
            raise fields.Enough
