"""The editor without a browser: what is checked, within which limits, and what the page says of it."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator

import pytest

from pyflowctl.linting import check_files
from pyflowd.base.zones import host_zone
from pyflowd.errors import Refused
from pyflowd.model.problem import Problem, Severity
from pyflowd.protocol.views_workflows import NextView, SavedView
from pyflowd.web.editor import checker as checkers
from pyflowd.web.editor.checker import Checker
from pyflowd.web.editor.help import help_for
from pyflowd.web.editor.jobs import AddTask, Check, Checked, Edited, Text, TypedTask
from pyflowd.web.pages import edit
from pyflowd.web.pages.edit import Draft, changes, fixed, verdict
from pyflowd.web.times import Times

GOOD = b"tasks:\n  a: {run: echo a}\n  b: {needs: a, run: echo b}\n"
TIMES = Times(host_zone().info, 1_795_458_778_325_126)


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    made = Checker()
    yield made
    made.close()


def check(checker: Checker, data: bytes, file: str = "w.yaml") -> Checked:
    return checker.ask(Checked, Check(text=Text(file=file, data=data)))


# ---- Checked in a process of its own


def test_it_says_what_lint_says(checker: Checker, tmp_path: object) -> None:
    wrong = b"tasks:\n  a: {run: 'echo ${{ params.x }}', trigger_rule: allways}\n  b: {run: 'if true'}\n"
    path = os.path.join(str(tmp_path), "w.yaml")
    with open(path, "wb") as file:
        file.write(wrong)
    said = [(p.line, p.column, p.code, p.message, p.fix) for p in check_files([path])]
    assert [(p.line, p.column, p.code, p.message, p.fix) for p in check(checker, wrong).problems] == said
    assert said


def test_tasks_are_known_though_the_text_is_wrong(checker: Checker) -> None:
    found = check(
        checker, b"tasks:\n  a: {run: x, needs: [b, 3], retry: 4}\n  b: {for_each: [1], nonsense: 1, http: x}\n  c: 3\n"
    )
    assert [(task.name, task.line, task.kind, task.needs, task.attempts, task.fan_out) for task in found.tasks] == [
        ("a", 2, "run", ["b"], 4, ""), ("b", 3, "http", [], 1, "for_each"), ("c", 4, "", [], 1, "")
    ]  # fmt: skip


def test_what_cannot_be_read_is_a_problem_and_no_graph(checker: Checker) -> None:
    found = check(checker, b"tasks: {a: [")
    assert not found.readable
    assert found.problems[0].line == 1


def test_a_template_is_for_the_daemon_to_judge(checker: Checker) -> None:
    assert check(checker, b"template: base\nwith: {x: 1}\n").elsewhere
    assert not check(checker, GOOD).elsewhere


BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n" % (98 + n, 98 + n, *[97 + n] * 8) for n in range(12)
)


@pytest.mark.parametrize(
    "data", [BOMB, b"x: " + b"[" * 100_000, b"\xff\xfe", b"\x00", b"tasks: {a: {run: \"" + b"$((" * 20_000 + b'"}}'],
    ids=["aliases", "deep", "utf-16", "nul", "shell"],
)  # fmt: skip
def test_a_hostile_text_is_refused_and_the_next_one_read(checker: Checker, data: bytes) -> None:
    assert check(checker, data).problems
    assert not check(checker, GOOD).problems


def test_a_process_that_dies_costs_one_answer() -> None:
    checker = Checker()
    try:
        check(checker, GOOD)
        assert checker._process is not None
        os.kill(checker._process.pid, signal.SIGKILL)
        checker._process.wait()
        assert not check(checker, GOOD).problems
    finally:
        checker.close()


def test_a_process_that_hangs_is_ended_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkers, "_ENTRY", "import time; time.sleep(600)")
    checker = Checker(time_limit_s=0.3)
    try:
        with pytest.raises(Refused, match="takes more than"):
            check(checker, GOOD)
        assert checker._process is None, "it is taken away"
    finally:
        checker.close()


def refusal(checker: Checker, data: bytes) -> str:
    """Its own word, or ours where it could not say any more."""
    try:
        return check(checker, data).problems[0].message
    except Refused as error:
        return str(error)


def test_a_process_that_takes_too_much_memory_refuses_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    limited = checkers._ENTRY.replace("main()", "main.__globals__.update(MEMORY_LIMIT_BYTES=1 << 20); main()")
    monkeypatch.setattr(checkers, "_ENTRY", limited)
    checker = Checker()
    try:
        many = b"tasks:\n" + b"".join(b"  t%d: {run: echo %d}\n" % (n, n) for n in range(20_000))
        assert re.search("memory|ended the process", refusal(checker, many))
    finally:
        checker.close()


def test_an_edit_that_cannot_be_made_says_why(checker: Checker) -> None:
    text = Text(file="w.yaml", data=GOOD)
    assert "already" in checker.ask(Edited, AddTask(text=text, name="a")).error
    assert "  c:\n    run: echo hello\n" in checker.ask(Edited, AddTask(text=text, name="c")).text


# ---- Words of help


@pytest.mark.parametrize(
    ("path", "title", "what", "key"),
    [
        ([], "A workflow", "top of the file", "tasks"),
        (["schedule"], "schedule", "workflow key", "timezone"),
        (["tasks", "upload"], "upload", "task", "run"),
        (["tasks", "upload", "retry"], "retry", "task key", "attempts"),
        (["tasks", "upload", "retry", "delay"], "delay", "key of retry", ""),
        (["params", "day", "minimum"], "minimum", "key of a param", ""),
        (["tasks", "upload", "undo", "run"], "run", "task key", ""),
        (["tasks", "upload", "nonsense"], "upload", "task", "run"),
        (["finally", "x", "argv"], "argv", "task key", ""),
        (["<script>"] * 40, "A workflow", "top of the file", "tasks"),
    ],
)
def test_help_is_found_by_where_a_key_stands(path: list[str], title: str, what: str, key: str) -> None:
    found = help_for(path)
    assert (found.title, found.what) == (title, what)
    assert not key or key in dict(found.keys)


# ---- What the page says


def draft(text: str = "x") -> Draft:
    return Draft(name="w", file="w.yaml", text=text, base="ab" * 32)


def problem(severity: Severity, message: str = "wrong", fix: str = "", line: int = 2) -> Problem:
    return Problem(file="w.yaml", line=line, column=3, severity=severity, code="x", message=message, fix=fix)


def test_an_error_puts_save_off_and_a_warning_does_not() -> None:
    checked = Checked(problems=[], tasks=[], readable=True)
    wrong = verdict(draft(), checked, [problem(Severity.ERROR), problem(Severity.WARNING)], TIMES, "")
    assert (wrong.summary, wrong.save, wrong.may_save) == ("1 error, 1 warning", "1 error: Save is off", False)
    warned = verdict(draft(), checked, [problem(Severity.WARNING)], TIMES, "")
    assert (warned.summary, warned.save, warned.may_save) == ("1 warning", "", True)
    refused = verdict(draft(), checked, [], TIMES, "not from here")
    assert (refused.summary, refused.save, refused.may_save) == ("No problems", "not from here", False)


def test_a_word_to_write_is_offered_where_one_was_meant() -> None:
    checked = Checked(problems=[], tasks=[], readable=True)
    near = problem(Severity.ERROR, 'there is no task "cuont" (did you mean "count"?)')
    other = problem(Severity.ERROR, "no such thing", "edit it by hand")
    assert [each.word for each in verdict(draft(), checked, [near, other], TIMES, "").problems] == ["count", ""]


def test_a_fix_changes_one_word_at_its_place() -> None:
    assert (
        fixed("tasks:\n  b: {needs: cuont, run: cuont}\n", 2, 14, "count")
        == "tasks:\n  b: {needs: count, run: cuont}\n"
    )
    assert fixed('a: "cuont"\n', 1, 4, "count") == 'a: "count"\n'
    assert fixed("a\n", 7, 1, "x") == "a\n"


def test_the_graph_is_drawn_of_what_is_typed() -> None:
    tasks = [TypedTask(name="a", line=1, kind="run"), TypedTask(name="b", line=2, kind="run", needs=["a", "gone"])]
    found = verdict(draft(), Checked(problems=[], tasks=tasks, readable=True), [], TIMES, "", task="b")
    assert found.graph is not None
    assert [box.key for box in found.graph.drawings[0].boxes] == ["a", "b"]
    unread = verdict(draft(), Checked(problems=[], tasks=[], readable=False), [], TIMES, "")
    assert unread.graph is None
    assert unread.graph_note


def saved(**fields: object) -> SavedView:
    plain = {"file": "w.yaml", "workflow": "w", "written": False, "digest": "x", "problems": [], "diff": DIFF}
    return SavedView(**{**plain, **fields})  # type: ignore[arg-type]


DIFF = "--- w.yaml\n+++ w.yaml\n@@ -1,2 +1,3 @@\n tasks:\n-  a: 1\n+  a: 2\n+  b: 3\n"


def test_before_saving_the_page_tells_what_changes() -> None:
    slot = NextView(workflow="w", trigger="schedule", scheduled_us=TIMES.now_us + 60_000_000, timezone="UTC")
    found = changes(saved(slots_added=[slot, slot], slots_removed=[slot]), TIMES)
    assert found.heading == "Save w.yaml: 2 lines added, 1 removed"
    assert found.slots_text == "In the next 24 hours: 2 slots more, 1 slot fewer."
    assert found.may_save
    assert changes(saved(), TIMES).slots_text == "The slots of the next 24 hours stay as they are."
    assert changes(saved(diff=""), TIMES).why_not == "nothing is different"
    conflict = changes(saved(there=b"other", refused="changed meanwhile"), TIMES)
    assert (conflict.may_save, conflict.conflict, conflict.why_not) == (False, True, "changed meanwhile")
    wrong = changes(saved(problems=[problem(Severity.ERROR)]), TIMES)
    assert (wrong.may_save, wrong.conflict) == (False, False)


def test_a_new_workflow_begins_with_one_that_is_right(checker: Checker) -> None:
    assert check(checker, edit.NEW.encode()).problems == []


def test_a_check_of_a_thousand_tasks_is_answered_while_one_types(checker: Checker) -> None:
    many = "tasks:\n" + "".join(
        f"  t{n}: {{run: 'echo {n}', needs: [{f't{n - 1}' if n else ''}]}}\n" for n in range(1000)
    )
    began = time.process_time()
    assert len(check(checker, many.encode()).tasks) == 1000
    assert time.process_time() - began < 1, "the front itself does next to nothing"
