"""A draft's text means what the draft says, to the letter, and reads as if written by hand."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pyflowctl.imports import means
from pyflowd.conversion.crontab_draft import escaped
from pyflowd.conversion.draft import Draft, DraftTask, Trigger, text
from pyflowd.lint.lint import check
from pyflowd.units import duration_s, duration_written

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)
_CONTROL = "control_character"
"""No text of a definition may hold one: an importer then says so."""


def compiles(draft: Draft) -> bool:
    workflow, problems = check(f"{draft.name}.yaml", text(draft).encode(), stem=draft.name, is_json=False)
    if workflow is None:
        assert {problem.code for problem in problems if problem.severity == "error"} == {_CONTROL}, problems
        return True
    return means(workflow, draft)


def of(run: str = "true", **more: object) -> Draft:
    task = DraftTask(name="job", run=run, stdin=more.pop("stdin", None))  # type: ignore[arg-type]
    return Draft(name="job", source=("From a test",), shell=("/bin/sh", "-c"), tasks=(task,), **more)  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(_TEXT)
@example("echo one \\")
@example("- a")
@example("a: b # c")
@example("  two spaces")
@example("x\n\n")
@example("true")
@example("1.5")
@example("*/5")
@example("\tx\n  y")
@example("a\x85b\u2028c\ufeffd")
@example("[ -x /a ] && { b; }")
def test_any_command_is_kept_to_the_letter(command: str) -> None:
    if command.strip() and "${{" not in command:
        assert compiles(of(command))


@settings(max_examples=200, deadline=None)
@given(_TEXT, _TEXT)
@example("${{ x }}", "$${{")
def test_any_input_and_any_variable_are_kept_to_the_letter(stdin: str, value: str) -> None:
    draft = of(stdin=escaped(stdin), env={"A": escaped(value), "PATH": "/usr/bin:/bin"})
    assert compiles(draft)


@settings(max_examples=100, deadline=None)
@given(_TEXT)
@example("x" * 300)
@example("word " * 60)
@example(": # -")
def test_any_comment_and_any_description_leave_a_file_that_can_be_read(said: str) -> None:
    draft = of(description=" ".join(said.split()), remarks=(said,))
    workflow, problems = check("job.yaml", text(draft).encode(), stem="job", is_json=False)
    assert workflow is not None, problems


def test_a_file_reads_as_if_written_by_hand() -> None:
    draft = of(
        '[ -x /opt/x ] && echo "a"',
        description="Purge old sessions",
        triggers=(Trigger(cron="9,39 * * * *"),),
        overlap="allow",
        user="root",
        env={"PATH": "/usr/bin:/bin"},
    )
    assert text(draft) == (
        "# From a test\n\n"
        "description: Purge old sessions\n\n"
        'schedule: "9,39 * * * *"\n'
        "overlap: allow   # as cron does; with skip a firing is left out while the last run goes on\n\n"
        "user: root\n"
        "shell: [/bin/sh, -c]\n"
        "env:\n"
        "  PATH: /usr/bin:/bin\n\n"
        "tasks:\n"
        "  job:\n"
        "    run: |-\n"
        '      [ -x /opt/x ] && echo "a"\n'
    )


@pytest.mark.parametrize(
    "other",
    [
        of(env={"A": "2"}),
        of("false", env={"A": "1"}),
        of(env={"A": "1"}, user="bob"),
        of(env={"A": "1"}, triggers=(Trigger(cron="@daily"),)),
        of(env={"A": "1"}, stdin="x"),
    ],
)
def test_a_definition_that_says_something_else_is_noticed(other: Draft) -> None:
    draft = of(env={"A": "1"})
    workflow, _ = check("job.yaml", text(draft).encode(), stem="job", is_json=False)
    assert workflow is not None
    assert means(workflow, draft)
    assert not means(workflow, other)


@given(st.integers(1, 10**6))
def test_a_duration_says_the_same(seconds: int) -> None:
    assert duration_s(duration_written(seconds)) == seconds
