"""Editing a text by its drawing: what was meant is there, and nothing else has changed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyflowd.language.document_yaml import parse_yaml
from pyflowd.web.editor.insertion import Left, add_need, add_task
from pyflowd.web.editor.jobs import Text

BLOCK = """\
# nightly
schedule: {cron: "30 2 * * *"}   # at night
tasks:
  # first of all
  check: {run: ./check.sh}
  dump:
    needs: check        # what else
    run: |
      echo one

      echo two

  upload:
    needs:
      - dump   # this
      - check
    run: echo up

# what is done at the end
finally:
  clean: {run: "true"}
"""


def text(content: str, file: str = "w.yaml") -> Text:
    return Text(file=file, data=content.encode())


def test_a_task_comes_behind_the_last_one_and_before_what_leads_to_the_next_section() -> None:
    found = add_task(text(BLOCK), "report", "run", ["upload"])
    assert found == BLOCK.replace(
        "    run: echo up\n", "    run: echo up\n  report:\n    needs: upload\n    run: echo hello\n"
    )


def test_a_task_at_the_end_of_a_text_without_a_last_line_break() -> None:
    assert add_task(text("tasks:\n    a:\n        run: echo a"), "b", "wait", ["a"]) == (
        'tasks:\n    a:\n        run: echo a\n    b:\n        needs: a\n        wait: "10m"\n'
    )


def test_a_task_in_braces() -> None:
    assert add_task(text("tasks: {a: {run: echo a}}\n"), "b", "run", ["a"]) == (
        "tasks: {b: {needs: a, run: echo hello}, a: {run: echo a}}\n"
    )


def test_a_task_in_json_keeps_its_lines() -> None:
    before = json.dumps({"tasks": {"a": {"run": "echo a"}}}, indent=2)
    found = add_task(text(before, "w.json"), "b", "run", ["a"])
    assert json.loads(found)["tasks"] == {"b": {"needs": "a", "run": "echo hello"}, "a": {"run": "echo a"}}
    assert '\n    "b": {"needs": "a", "run": "echo hello"},\n    "a": {' in found


def test_the_first_task_of_an_empty_text() -> None:
    assert add_task(text(""), "a", "run", []) == "tasks:\n  a:\n    run: echo hello\n"
    assert add_task(text("description: x"), "a", "run", []) == "description: x\ntasks:\n  a:\n    run: echo hello\n"


@pytest.mark.parametrize(
    ("name", "kind", "needs", "why"),
    [
        ("check", "run", [], "already"),
        ("a b", "run", [], "cannot be a task's name"),
        ("x\n  y: {run: rm}", "run", [], "cannot be a task's name"),
        ("x", "nothing", [], "no kind"),
        ("x", "run", ["nobody"], "no task"),
    ],
)
def test_a_task_that_cannot_be_there_is_said(name: str, kind: str, needs: list[str], why: str) -> None:
    with pytest.raises(Left, match=why):
        add_task(text(BLOCK), name, kind, needs)


def test_a_need_becomes_a_list_and_the_comment_stays() -> None:
    found = add_need(text(BLOCK.replace("  upload:", "  other: {run: echo o}\n  upload:")), "dump", "other")
    assert "    needs: [check, other]        # what else\n" in found


def test_a_need_in_a_list_of_lines() -> None:
    before = BLOCK.replace("  upload:", "  other: {run: echo o}\n  upload:")
    assert add_need(text(before), "upload", "other") == before.replace(
        "      - check\n", "      - check\n      - other\n"
    )


def test_the_first_need_of_a_task() -> None:
    assert "  check: {needs: other, run: ./check.sh}\n" in add_need(
        text(BLOCK.replace("  upload:", "  other: {run: echo o}\n  upload:")), "check", "other"
    )
    block = "tasks:\n  a:\n    run: echo a\n  b:\n    run: echo b\n"
    assert add_need(text(block), "b", "a") == block.replace("  b:\n", "  b:\n    needs: a\n")


def test_a_circle_is_refused() -> None:
    with pytest.raises(Left, match="circle"):
        add_need(text(BLOCK), "check", "upload")


def test_a_text_that_cannot_be_read_is_left() -> None:
    with pytest.raises(Left, match="cannot be read"):
        add_task(text("tasks: {a: ["), "b", "run", [])


def test_what_an_alias_shares_is_not_changed_for_both() -> None:
    """The needs of one task are those of the other: the place of one is the place of both."""
    shared = "tasks:\n  z: {run: echo z}\n  y: {run: echo y}\n  a: &a\n    needs: z\n    run: echo a\n  b: *a\n"
    with pytest.raises(Left, match="by hand"):
        add_need(text(shared), "b", "y")


NAMES = st.sampled_from(["a", "b", "c", "task-1", "x.y"])
STYLES = st.sampled_from(
    ["{run: echo hi}", "\n    run: echo hi", "\n    run: |\n      echo hi\n\n      echo ho", " {run: 'x'}  # why"]
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(NAMES, STYLES, min_size=1),
    st.sampled_from(["", "\n", "\n\n# end\n", "\nfinally: {z: {run: echo}}\n"]),
)
def test_any_block_of_tasks_takes_one_more_and_loses_nothing(tasks: dict[str, str], tail: str) -> None:
    before = "tasks:\n" + "\n".join(f"  {name}: {body}".replace(":  ", ": ") for name, body in tasks.items()) + tail
    after = add_task(text(before), "fresh", "run", list(tasks)[:1])
    root = parse_yaml(after.encode()).root
    assert list(root["tasks"]) == [*tasks, "fresh"]
    for line in before.splitlines():
        assert line in after
