"""`pyflowctl fix`: expressions pasted into shell text become variables, the file keeping its own form (rule P1).

`${{ expression }}` in `run` is put under `env:` of its task, and `"$NAME"` takes its place. The text of the file is
edited at the places that the parser gives; it is never written anew from its tree. What cannot be done safely is left
and said. Pure but for `write_beside`.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from pyflowctl.shelltext import Context, contexts
from pyflowd.expressions.expression import ExpressionError
from pyflowd.expressions.template import Template
from pyflowd.expressions.template import parse as parse_template
from pyflowd.language.document import BOM, Document, DocumentError, Mapping, Sequence, quote
from pyflowd.language.document_json import parse_json
from pyflowd.language.document_yaml import parse_yaml
from pyflowd.lint.lint import check
from pyflowd.model.problem import Problem, Severity

_SECTIONS = ("tasks", "on_success", "on_failure", "on_cancel", "finally")
_SHELLS = ("bash", "sh", "dash", "zsh", "ksh")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PARAM = re.compile(r"params\.([A-Za-z0-9][A-Za-z0-9_.-]{0,62})", re.ASCII)
_VARIABLE = re.compile(r"env\.([A-Za-z_][A-Za-z0-9_]*)", re.ASCII)
_SAFE_PLAIN = re.compile(r"\$\{\{(?:(?!: | #|:$)[ -~])*\}\}", re.ASCII)
_MAX_NAME = 40


class Fixed(NamedTuple):
    """What became of one file."""

    text: str
    problems: list[Problem]
    """What is left to be done by hand, and why."""


class _Edit(NamedTuple):
    start: int
    end: int
    text: str


class _Place(NamedTuple):
    """A shell text of a task: where its key and its value stand, and what it is."""

    task: Mapping
    key_mark: int
    mark: int
    text: str


_NOT_THERE = {
    Context.SINGLE: (
        "in single quotes the shell expands no variable",
        "end the quotes before it, and put it in double quotes",
    ),
    Context.ARITHMETIC: (
        "in arithmetic a shell reads a value as an expression of its own, which may run commands",
        "compute it in env: with an expression, and use the variable",
    ),
    Context.ESCAPED: ("the backslash before it takes the sense from a variable", "take the backslash away"),
}
"""Where a variable would be wrong: what is said of it, and what to do."""


class _Left(Exception):
    """Why a shell text is left as it is."""

    def __init__(self, message: str, fix: str = "edit it by hand") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


def fix(label: str, data: bytes, *, stem: str, is_json: bool) -> Fixed:
    """The text of a file with what could be fixed, and what could not. Raises DocumentError if it is no document."""
    document = parse_json(data) if is_json else parse_yaml(data)
    if not isinstance(document.root, Mapping):
        return Fixed(document.text, [])
    fixer = _Fixer(label, document)
    fixer.run()
    text = _applied(document.text, fixer.edits)
    if text != document.text:
        known = {(problem.code, problem.message) for problem in _errors(label, data, stem, is_json)}
        fresh = [
            each for each in _errors(label, text.encode(), stem, is_json) if (each.code, each.message) not in known
        ]
        if fresh:
            message = f"not changed, as the result would be refused: {fresh[0].message}"
            return Fixed(document.text, [Problem(file=label, code="unfixed", message=message, fix="edit it by hand")])
    return Fixed(text, fixer.problems)


def _errors(label: str, data: bytes, stem: str, is_json: bool) -> list[Problem]:
    problems = check(label, data, stem=stem, is_json=is_json)[1]
    return [problem for problem in problems if problem.severity is Severity.ERROR]


def _applied(text: str, edits: list[_Edit]) -> str:
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


# ---- Places ---------------------------------------------------------------------------------------------------------


def _marks(value: object) -> Iterator[int]:
    """Of all keys and values of a tree."""
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, Mapping):
            yield from each.marks
            todo.extend(each.values())
        elif isinstance(each, Sequence):
            yield from each.marks
            todo.extend(each)


def _tasks(root: Mapping) -> Iterator[Mapping]:
    """All tasks of a file, those within others too."""
    todo = [root.get(key) for key in _SECTIONS]
    while todo:
        section = todo.pop(0)
        for task in section.values() if isinstance(section, Mapping) else ():
            if not isinstance(task, Mapping):
                continue
            yield task
            undo = task.get("undo")
            if isinstance(undo, Mapping):
                yield undo
            todo.append(task.get("on_error"))


def _places(root: Mapping) -> Iterator[_Place]:
    for task in _tasks(root):
        for holder in (task, task.get("ssh")):
            if isinstance(holder, Mapping) and isinstance(holder.get("run"), str) and "${{" in holder["run"]:
                key = "run" if holder is task else "ssh"
                yield _Place(task, task.key_mark(key), holder.value_mark("run"), holder["run"])


class _Fixer:
    """Gathers the edits of one file."""

    def __init__(self, label: str, document: Document) -> None:
        self._label = label
        self._document = document
        self._text = document.text
        self._ends = sorted({*_marks(document.root), len(document.text)})
        self._newline = "\r\n" if "\r\n" in document.text else "\n"
        self.edits: list[_Edit] = []
        self.problems: list[Problem] = []

    def run(self) -> None:
        root = self._document.root
        done: set[int] = set()
        for place in _places(root):
            if place.mark in done:
                continue  # an alias: the same text again
            done.add(place.mark)
            try:
                self._check_shell(root, place.task)
                self._fix(root, place)
            except _Left as left:
                self._leave(place.mark, left)
            except ExpressionError as error:
                self._leave(place.mark, _Left(str(error)))

    def _leave(self, mark: int, left: _Left) -> None:
        line, column = self._document.place(mark)
        self.problems.append(
            Problem(file=self._label, line=line, column=column, code="unfixed", message=left.message, fix=left.fix)
        )

    def _check_shell(self, root: Mapping, task: Mapping) -> None:
        defaults = root.get("defaults")
        given = [task.get("shell"), defaults.get("shell") if isinstance(defaults, Mapping) else None, root.get("shell")]
        shell = next((each for each in given if each is not None), "bash")
        first = shell[0] if isinstance(shell, list) and shell else str(shell).partition(" ")[0]
        if str(first).rpartition("/")[2] not in _SHELLS:
            raise _Left(f"the shell is {first}, whose quotes are not known")

    # ---- One shell text ----

    def _fix(self, root: Mapping, place: _Place) -> None:
        template = parse_template(place.text)
        spans = _spans(place.text, template)
        sources = self._sources(place, template)
        names = _Names(root, place.task)
        edits = []
        found = zip(template.expressions, contexts(place.text, spans), sources, strict=True)
        for expression, context, (start, end) in found:
            if context in _NOT_THERE:
                self._leave(start, _Left(*_NOT_THERE[context]))
                continue
            edits.append(_Edit(start, end, _written(names.of(expression.text), context, self._text[place.mark])))
        if not edits:
            return
        added = self._env(place, names.added)
        self.edits += self._requoted(place, edits) + added

    def _sources(self, place: _Place, template: Template) -> list[tuple[int, int]]:
        """Where each expression stands in the file: as in the value, but for indentation."""
        end = next(each for each in self._ends if each > place.mark)
        found, at = [], place.mark
        for expression in template.expressions:
            start = self._text.find("${{", at, end)
            close = self._text.find("}}", start + 3 + len(expression.text), end) if start >= 0 else -1
            if start < 0 or close < 0 or self._text[start + 3 : close].strip() != expression.text.strip():
                raise _Left("the text is escaped or folded, so that the place is not clear")
            at = close + 2
            found.append((start, at))
        return found

    def _requoted(self, place: _Place, edits: list[_Edit]) -> list[_Edit]:
        """A plain text that now begins with a quote must be quoted itself."""
        if edits[0].start != place.mark:
            return edits
        end = place.mark + len(place.text)
        if self._text[place.mark : end] != place.text:
            raise _Left("the text begins with an expression, and goes on in another line", "write it below run: |")
        inner = _applied(self._text[:end], edits)[place.mark :]
        return [_Edit(place.mark, end, "'" + inner.replace("'", "''") + "'")]

    # ---- env: ----

    def _env(self, place: _Place, added: dict[str, str]) -> list[_Edit]:
        """What puts the variables under `env:` of the task."""
        if not added:
            return []
        task, is_json = place.task, self._text.lstrip()[:1] == "{"
        if "env" not in task:
            return [_Edit(place.key_mark, place.key_mark, self._new_env(place.key_mark, task, added, is_json))]
        env, mark = task["env"], task.value_mark("env")
        if not isinstance(env, Mapping) or "*" in self._text[task.key_mark("env") : mark + 1]:
            raise _Left("env: of the task is not written out here")
        if self._text[mark] == "{":
            inner = ", ".join(_flow(name, text, is_json) for name, text in added.items())
            return [_Edit(mark + 1, mark + 1, inner + (", " if env else ""))]
        first = env.marks[0]
        indent = " " * (self._document.place(first)[1] - 1)
        lines = "".join(f"{name}: {_block(text)}{self._newline}{indent}" for name, text in added.items())
        return [_Edit(first, first, lines)]

    def _new_env(self, key_mark: int, task: Mapping, added: dict[str, str], is_json: bool) -> str:
        line_start = self._text.rfind("\n", 0, key_mark) + 1
        if is_json or self._text[line_start:key_mark].strip():  # within braces
            inner = ", ".join(_flow(name, text, is_json) for name, text in added.items())
            return ('"env"' if is_json else "env") + ": {" + inner + "}, "
        if self._in_braces(task):
            raise _Left("the task is written in braces over more than one line")
        indent = self._text[line_start:key_mark]
        lines = "".join(f"{self._newline}{indent}  {name}: {_block(text)}" for name, text in added.items())
        return f"env:{lines}{self._newline}{indent}"

    def _in_braces(self, task: Mapping) -> bool:
        before = self._text[: task.marks[0]].rstrip()
        return before.endswith("{")


def _spans(text: str, template: Template) -> list[tuple[int, int]]:
    """Begin and end of each `${{ }}` in a text."""
    spans = []
    for expression, offset in zip(template.expressions, template.offsets, strict=True):
        start = text.rfind("${{", 0, offset)
        end = text.find("}}", offset + len(expression.text)) + 2
        spans.append((start, end))
    return spans


def _written(name: str, context: Context, style: str) -> str:
    """A variable as it is written in a context of the shell and a style of YAML."""
    if context is not Context.BARE:
        return "${" + name + "}"
    return f'\\"${name}\\"' if style == '"' else f'"${name}"'


def _flow(name: str, text: str, is_json: bool) -> str:
    return f"{json.dumps(name) if is_json else name}: {json.dumps(text, ensure_ascii=False)}"


def _block(text: str) -> str:
    return text if _SAFE_PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class _Names:
    """Names of variables for expressions of one task."""

    def __init__(self, root: Mapping, task: Mapping) -> None:
        defaults = root.get("defaults")
        holders = [root, task, defaults if isinstance(defaults, Mapping) else {}]
        envs = [holder.get("env") for holder in holders]
        params = root.get("params")
        self._params = params if isinstance(params, Mapping) else {}
        env = task.get("env")
        self._own: dict[str, object] = dict(env) if isinstance(env, Mapping) else {}
        self._taken = {name for env in envs if isinstance(env, Mapping) for name in env}
        self.added: dict[str, str] = {}
        """Name to the text that goes under `env:`."""

    def of(self, expression: str) -> str:
        """The variable that holds an expression's value: one that is there already, else one to be added."""
        expression = expression.strip()
        param = _PARAM.fullmatch(expression)
        if param is not None:
            if param[1] not in self._params:
                raise _Left(f"there is no param {quote(param[1])}", "declare it under params:")
            return "PARAM_" + re.sub(r"[^A-Z0-9]", "_", param[1].upper())
        variable = _VARIABLE.fullmatch(expression)
        if variable is not None:
            return str(variable[1])
        text = "${{ " + expression + " }}"
        for name, content in {**self._own, **self.added}.items():
            if isinstance(content, str) and content.replace(" ", "") == text.replace(" ", ""):
                return name
        name = self._free(_name(expression))
        self.added[name] = text
        self._taken.add(name)
        return name

    def _free(self, wanted: str) -> str:
        name, count = wanted, 1
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        return name


def _name(expression: str) -> str:
    """Made of the words of an expression: `tasks.dump.outputs.path` becomes DUMP_PATH."""
    without_texts = re.sub(r"'[^']*'|\"[^\"]*\"", " ", expression)
    words = [word.upper() for word in _WORD.findall(without_texts) if word not in ("tasks", "outputs", "params")]
    name = "_".join(words)[:_MAX_NAME].strip("_") or "THE"
    if name.startswith(("PYFLOW_", "PARAM_")):
        return f"X_{name}"
    return name if len(words) > 1 or name in ("ITEM", "INDEX") else f"{name}_VALUE"  # PATH alone would do harm


# ---- Files ----------------------------------------------------------------------------------------------------------


def diff(path: str, before: str, after: str) -> str:
    """The change as `diff -u` shows it; empty if there is none."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"{path} (as it is)", f"{path} (fixed)"
    )
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)


def write_beside(path: str, data: bytes) -> None:
    """Replace a file by new content, atomically; it keeps its mode, and its owner where that is allowed."""
    path = os.path.realpath(path)
    folder, name = os.path.split(path)
    found = os.stat(path)
    beside = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            with suppress(PermissionError):
                os.fchown(file.fileno(), found.st_uid, found.st_gid)
            os.fchmod(file.fileno(), found.st_mode & 0o7777)
            os.fsync(file.fileno())
        os.rename(beside, path)
    except BaseException:
        os.unlink(beside)
        raise
    handle = os.open(folder or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def with_mark(data: bytes, text: str) -> bytes:
    """`text` as bytes, with the byte order mark that the file had."""
    return (BOM if data.startswith(BOM) else b"") + text.encode()


__all__ = ["DocumentError", "Fixed", "diff", "fix", "with_mark", "write_beside"]
