"""The shell texts of a definition: what their variables may hold, and where in the file what is wrong with them stands.

It starts no process itself: `check_shell_texts` names what a shell is to read, `syntax_problem` places what it said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from functools import lru_cache
from typing import NamedTuple

from pyflowctl.shellcommands import Unread, commands
from pyflowctl.shellhazards import Variable, hazards
from pyflowctl.shellsyntax import ShellText, SyntaxFault
from pyflowd.expressions import pattern, template
from pyflowd.expressions.expression_types import BOOLEAN, NUMBER, TEXT
from pyflowd.language.assembly import Assembled
from pyflowd.language.definition_references import Place, Scope, secret_variables
from pyflowd.language.document import Document, Mapping
from pyflowd.language.fields import Enough, Report
from pyflowd.language.lint_places import place_in_value, tasks_of
from pyflowd.lint.lint_expressions import Names
from pyflowd.model.kinds import Shell, Ssh
from pyflowd.model.problem import Problem
from pyflowd.model.workflow import Param, ParamType, Task, Workflow, all_tasks

_STARTS = ("", "a", "A", "1", "/", "/a", "-", "v1.0", "https://a")
_SPLITTING = tuple(start + end for start in _STARTS for end in (" ", " a", "*", "?", "\t1"))
_DASHED = ("-x", "--a", "-", "-oX=y")
_SPLITS = re.compile(r"[\s*?\[]")
_NO_SPLITTING = (ParamType.INTEGER, ParamType.NUMBER, ParamType.BOOLEAN, ParamType.DATE, ParamType.SECRET)


class _Text(NamedTuple):
    """A shell text, the task it is of, and where it begins."""

    task: Task
    text: str
    mark: int
    shell: tuple[str, ...]


class SyntaxText(NamedTuple):
    """A shell text that a shell is still to be asked about, and where it stands."""

    shell_text: ShellText
    mark: int


def check_shell_texts(file: str, assembled: Assembled) -> tuple[list[Problem], list[SyntaxText]]:
    """Hazards in all shell texts of a definition that compiled, and what a shell is to read."""
    workflow, document = assembled.workflow, assembled.document
    if workflow is None or document is None:
        return [], []
    report = Report(file, document)
    variables = _Variables(workflow, assembled.scopes)
    texts = []
    try:
        for each in _texts(workflow, document):
            family = _family(each.shell)
            if family:
                closes = _lint_text(each, variables, report)
                texts.append(SyntaxText(ShellText(family, each.text, closes), each.mark))
    except Enough:
        pass
    return report.problems, texts


def _lint_text(each: _Text, variables: _Variables, report: Report) -> bool:
    """Hazards to the report; whether the text closes all that it opens, as far as that can be told.

    Reading a text costs as much as all else that is done for it: most need not be read.
    """
    known = variables.of(each.task)
    strict = _is_strict(each.shell)
    is_simple = _SIMPLE.fullmatch(each.text) is not None
    if is_simple and not _is_worth_reading(each.text, known, variables.params, strict=strict):
        return True
    try:
        read = commands(each.text)
    except (Unread, RecursionError):
        return is_simple
    for hazard in hazards(each.text, read, known, strict=strict, params=variables.params):
        mark = place_in_value(report.document.text, each.mark, each.text, hazard.start, hazard.end)
        report.add(mark, hazard.code, f"run: {hazard.message}", hazard.fix, warning=True)
    return True


_SIMPLE = re.compile(
    r"""(?:[^\\'"`$<\#]++
    |\\[^\n]
    |'[^'\n]*+'
    |"(?:[^\\"`$]++|\\.|\$(?![('"{])|\$\{[A-Za-z0-9_@*#?]++\}|\$\([^\\"'`()$#]*+\))*+"
    |\$(?!['"{])|\$\{[A-Za-z0-9_@*#?]++\}
    |<(?!<)
    |(?<=\s)\#[^\n'"`]*+(?=\n|\Z)
    )*+""",
    re.VERBOSE | re.DOTALL,
)
"""A text in which it is plain to see that all quotes are closed: nothing nested, no here-document."""
_QUOTED = re.compile(r"\"[^\"]*+\"|'[^']*+'|\$(?:\(\(|[#?$!-])")
_NAMED = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*+)", re.ASCII)
_BARE = re.compile(r"\$\{?[A-Za-z_@*1-9]", re.ASCII)
_RUNS_TEXT = re.compile(r"\b(?:eval|ssh|su|runuser|[a-z]*sh)\b")
_SHOWS = re.compile(r"\b(?:env|printenv|set)\b")


def _is_worth_reading(
    text: str, known: AnyMapping[str, Variable], params: frozenset[str] | None, *, strict: bool
) -> bool:
    """Whether there can be a hazard in a simple text."""
    if not strict and "cd " in text:
        return True
    if _SHOWS.search(text) and any(held.secret for held in known.values()):
        return True
    if "$" not in text:
        return False
    runs_text = _RUNS_TEXT.search(text) is not None
    for name in _NAMED.findall(text):
        held = known.get(name)
        if held is None:
            if name.startswith("PARAM_") and params is not None:
                return True
        elif held.splits or held.dash or held.secret or (held.outside and runs_text):
            return True
    return _BARE.search(_QUOTED.sub("", text)) is not None


def _texts(workflow: Workflow, document: Document) -> Iterator[_Text]:
    """Each text once, also where several tasks share it by an alias."""
    tasks = {task.name: task for _, task in all_tasks(workflow)}
    done: set[int] = set()
    for place in tasks_of(document.root):
        task = tasks.get(place.name)
        kind = task.kind if task is not None else None
        if task is None or not isinstance(kind, Shell | Ssh):
            continue
        holder = place.mapping if isinstance(kind, Shell) else place.mapping.get("ssh")
        if not isinstance(holder, Mapping) or "run" not in holder or holder.value_mark("run") in done:
            continue
        if document.text.startswith("*", holder.value_mark("run")):
            continue  # an alias: the text is judged where it is written
        done.add(holder.value_mark("run"))
        text = kind.text if isinstance(kind, Shell) else kind.script
        yield _Text(task, text, holder.value_mark("run"), kind.shell)


def _family(shell: tuple[str, ...]) -> str:
    """`bash`, `sh`, or empty where the shell is another program; without a shell it is bash in strict mode."""
    name = shell[0].rpartition("/")[2] if shell else "bash"
    return {"bash": "bash", "sh": "sh", "dash": "sh"}.get(name, "") if not shell or shell[-1].endswith("c") else ""


def _is_strict(shell: tuple[str, ...]) -> bool:
    """Whether it ends at the first error."""
    return not shell or any(re.fullmatch(r"-[a-z]*e[a-z]*", option) or option == "errexit" for option in shell[1:])


# ---- What variables hold --------------------------------------------------------------------------------------------


class _Variables:
    """Of the tasks of one workflow."""

    def __init__(self, workflow: Workflow, scopes: tuple[Scope, ...]) -> None:
        self._names = Names(workflow)
        self._scopes = {scope.task: scope for scope in scopes if scope.place is not Place.PARAM}
        self._of_params = {param.variable: _of_param(param) for param in workflow.params}
        self._by_name = {param.name: self._of_params[param.variable] for param in workflow.params}
        self.params = None if workflow.env_files else frozenset(self._of_params)
        item = Variable(splits=True, outside=True, dash=True)
        self._common = {
            **self._of_params,
            "PYFLOW_ITEM_KEY": item,
            **self._of_env(workflow.env, Scope(Place.WORKFLOW, [])),
        }

    def of(self, task: Task) -> dict[str, Variable]:
        scope = self._scopes.get(task.name, Scope(Place.TASK, []))
        return {**self._common, **self._of_env(task.env, scope)} if task.env else self._common

    def _of_env(self, env: dict[str, str], scope: Scope) -> dict[str, Variable]:
        secret = secret_variables(env)
        return {
            name: Variable(splits=True, secret=True) if name in secret else self._of_text(text, scope)
            for name, text in env.items()
        }

    def _of_text(self, text: str, scope: Scope) -> Variable:
        """Of a variable: one that is written out is as whoever wrote it wants it."""
        if "${{" not in text:
            return Variable()
        parsed = template.parse(text)
        found = parsed.expressions
        if all(each.names <= {"run", "index"} for each in found):
            return Variable()
        found_type = self._names.type_of_text(scope, text)
        if found_type.kinds <= {NUMBER, BOOLEAN}:
            return Variable()
        if found_type.texts is not None and found_type.kinds == {TEXT}:
            return _of_words(found_type.texts)
        held = [self._param(each.text) for each in found]
        return Variable(
            splits=any(each.splits for each in held) or bool(_SPLITS.search(_around(parsed))),
            outside=True,
            dash=text.startswith("${{") and held[0].dash,
        )

    def _param(self, expression: str) -> Variable:
        """What an expression may be, that is one param; any other may be anything."""
        root, _, name = expression.strip().partition(".")
        anything = Variable(splits=True, outside=True, dash=root != "tasks")  # what our own tasks give is a value
        return self._by_name.get(name, anything) if root == "params" else anything


def _around(parsed: template.Template) -> str:
    """What stands in a template beside its expressions."""
    text = parsed.text
    for offset, each in reversed(list(zip(parsed.offsets, parsed.expressions, strict=True))):
        text = text[: text.rfind("${{", 0, offset)] + text[text.find("}}", offset + len(each.text)) + 2 :]
    return text


def _of_words(words: frozenset[str]) -> Variable:
    """Of a variable that is one of some texts."""
    return Variable(
        splits=any(not word or bool(_SPLITS.search(word)) for word in words),
        dash=any(word.startswith("-") for word in words),
    )


@lru_cache(maxsize=256)
def _of_pattern(written: str) -> Variable:
    """Of a variable that keeps to a pattern: tried out, as what a pattern allows is not plain to see."""
    return Variable(
        splits=any(pattern.matches(written, probe) for probe in _SPLITTING),
        outside=True,
        dash=any(pattern.matches(written, probe) for probe in _DASHED),
    )


def _of_param(param: Param) -> Variable:
    if param.type in _NO_SPLITTING:
        return Variable(outside=param.type is not ParamType.SECRET)
    if param.enum is not None:
        return _of_words(frozenset(map(str, param.enum)))
    if param.pattern is not None:
        return _of_pattern(param.pattern)
    return Variable(splits=True, outside=True, dash=param.type is ParamType.STRING)


# ---- bash -n --------------------------------------------------------------------------------------------------------


def syntax_problem(file: str, document: Document, text: SyntaxText, fault: SyntaxFault) -> Problem:
    """What a shell said against a text, at its line."""
    report = Report(file, document)
    written = text.shell_text.text
    lines = written.rstrip("\n").split("\n")
    fault = fault._replace(line=min(fault.line, len(lines)))
    start = sum(len(line) + 1 for line in lines[: fault.line - 1])
    line = lines[fault.line - 1]
    indent = len(line) - len(line.lstrip())
    mark = place_in_value(document.text, text.mark, written, start + indent, start + max(len(line), 1))
    message = f"run: {text.shell_text.shell}: {fault.message}"
    report.add(mark, "shell_syntax", message, "", warning=fault.is_warning)
    return report.problems[0]
