"""What people and scripts see. The texts are kept in tests/snapshots: `PYFLOW_SNAPSHOTS=write` writes them anew."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pyflowd.errors import NotFound, Refused
from pyflowd.model.problem import Problem
from pyflowd.protocol.views import Failure, Reply
from pyflowd.protocol.views_runs import AnswerView, ApprovalPage, EventPage, RunPage, RunView, TaskPage, TaskView
from pyflowd.protocol.views_workflows import GraphView, NextPage, PlanView, SlotPage, WorkflowPage, WorkflowView
from pyflowd.render import layout, render
from pyflowd.render.commandline import parse
from pyflowd.render.layout import Cell, Style, Table, fit, span, text_width, wrapped
from pyflowd.render.render_graph import graph, layers
from pyflowd.render.render_runs import progress
from pyflowd.render.render_tasks import task_phrase
from tests.unit import views, views_explain, views_language
from tests.unit.views import DIAMOND, FAILED, HOST, NOW_US, QUEUED, RUNNING, SUCCEEDED, TASKS, WORKFLOWS
from tests.unit.views_language import ACCOUNTS, APPROVAL, APPROVE, FETCH, HANDLERS, ITEM, SKIPPED, SYNC

LOOP = TaskView(task="a", state="running", attempts=3, pass_number=3, passes_max=9)
REPLIES = views.REPLIES | views_language.REPLIES | views_explain.REPLIES
SNAPSHOTS = Path(__file__).resolve().parent.parent / "snapshots"
TERMINAL = Style(width=80, terminal=True, timezone="Europe/Berlin", now_us=NOW_US)
STYLES = {
    "80": TERMINAL,
    "120": msgspec.structs.replace(TERMINAL, width=120),
    "colour": msgspec.structs.replace(TERMINAL, width=100, colour=True),
    "pipe": msgspec.structs.replace(TERMINAL, terminal=False),
}


def output(line: str, style: Style, replies: list[Reply]) -> bytes:
    invocation = parse(line.split(), now_us=NOW_US, zone=style.zone)
    return b"".join(render.render_all(invocation, style, replies))


def check_snapshot(name: str, found: bytes) -> None:
    path = SNAPSHOTS / name
    if os.environ.get("PYFLOW_SNAPSHOTS") == "write":
        path.write_bytes(found)
    assert found == path.read_bytes(), f"{name} differs; if it is meant to, write the snapshots anew"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", REPLIES)
def test_text_is_as_it_was(name: str, style: str) -> None:
    line, replies = REPLIES[name]
    check_snapshot(f"{name}.{style}.txt", output(line, STYLES[style], replies))


@pytest.mark.parametrize("name", REPLIES)
def test_json_is_as_it_was(name: str) -> None:
    line, replies = REPLIES[name]
    check_snapshot(f"{name}.json", output(f"{line} -o json", STYLES["pipe"], replies))


@pytest.mark.parametrize("name", [name for name in REPLIES if name != "events"])
def test_json_is_one_value(name: str) -> None:
    line, replies = REPLIES[name]
    json.loads(output(f"{line} -o json", STYLES["pipe"], replies))


def test_events_are_one_value_a_line() -> None:
    line, replies = REPLIES["events"]
    lines = output(f"{line} -o json", STYLES["pipe"], replies).splitlines()
    assert [json.loads(text)["event"] for text in lines] == [1001, 1002, 1003]


@pytest.mark.parametrize("width", [60, 79])
@pytest.mark.parametrize("name", ["status-host", "status-run", "status-items", "list", "history", "slots"])
def test_tables_keep_to_the_width_of_the_terminal(name: str, width: int) -> None:
    line, replies = REPLIES[name]
    text = output(line, msgspec.structs.replace(TERMINAL, width=width), replies).decode()
    rows = [row for row in text.splitlines() if re.match(r" *[●◌✓✗↻−‖!]  ", row)]
    assert rows
    assert not [row for row in rows if text_width(row) > width]


def test_a_pipe_gets_everything_whole() -> None:
    name = "w" * 63
    run = msgspec.structs.replace(FAILED, workflow=name, error="x" * 300)
    assert "x" * 300 in output("status 42", STYLES["pipe"], [run, TaskPage(tasks=TASKS)]).decode()


@pytest.mark.parametrize("state", ["succeeded", "failed", "running", "skipped", "upstream_failed", "cancelled"])
def test_a_state_is_told_by_word_and_glyph_as_well_as_by_colour(state: str) -> None:
    views = [TaskView(task="a", state=state)]
    text = output("status 42", TERMINAL, [FAILED, TaskPage(tasks=views)]).decode()
    assert layout.GLYPHS[state] in text
    assert ("not run" if state == "upstream_failed" else state) in text


@pytest.mark.parametrize(
    ("view", "phrase"),
    [
        (TaskView(task="a", state="failed", reason="signal", signal=9, attempts=1), "failed: killed by SIGKILL"),
        (TaskView(task="a", state="failed", reason="signal", signal=99, attempts=1), "failed: killed by signal 99"),
        (
            TaskView(task="a", state="failed", reason="timeout", attempts=2, attempts_max=3),
            "failed: its time ran out (attempt 2 of 3)",
        ),
        (
            TaskView(task="a", state="failed", reason="lost", error="host restarted"),
            "failed: its end is unknown (host restarted)",
        ),
        (
            TaskView(task="a", state="failed", reason="exit_code", exit_code=141),
            "failed: exit code 141 (128 + SIGPIPE)",
        ),
        (TaskView(task="a", state="failed", reason="exit_code", exit_code=200), "failed: exit code 200"),
        (
            TaskView(task="a", state="failed", reason="exit_code", exit_code=7, allowed=True),
            "failed, allowed: exit code 7",
        ),
        (TaskView(task="a", state="skipped", reason="skip_code", exit_code=75), "skipped: exit code 75"),
        (TaskView(task="a", state="succeeded", reason="kept"), "succeeded: kept from the run before"),
        (TaskView(task="a", state="failed", reason="something_new"), "failed: something new"),
        (
            TaskView(
                task="a",
                state="retrying",
                reason="exit_code",
                exit_code=7,
                attempts=1,
                attempts_max=3,
                retry_us=NOW_US + 90_000_000,
            ),
            "retrying in 2 min: exit code 7 (attempt 1 of 3)",
        ),
        (
            TaskView(task="a", state="failed", reason="exit_code", exit_code=1, error="KeyError: 'day'"),
            "failed: KeyError: 'day' (exit code 1)",
        ),
        (SKIPPED, "skipped: params.full is false"),
        (TaskView(task="a", state="skipped", reason="condition_false"), "skipped: its condition is false"),
        (TaskView(task="a", state="skipped", reason="not_asked"), "skipped: the run was asked for other tasks only"),
        (FETCH, "succeeded: 397 of 400, 3 failed"),
        (LOOP, "running (pass 3 of at most 9)"),
        (replace(LOOP, state="succeeded"), "succeeded (pass 3)"),
        (
            replace(LOOP, state="failed", reason="exit_code", exit_code=7, attempts=4),
            "failed: exit code 7 (pass 3 of at most 9, attempt 4)",
        ),
        (
            replace(LOOP, state="failed", reason="repeat_exhausted", error="not so after 9 passes"),
            "failed: not so after 9 passes",
        ),
        (replace(LOOP, state="retrying", retry_us=NOW_US + 30_000_000), "next pass in 30 s (pass 3 of at most 9)"),
        (
            replace(LOOP, state="retrying", reason="exit_code", exit_code=7, retry_us=NOW_US + 30_000_000),
            "retrying in 30 s: exit code 7 (pass 3 of at most 9)",
        ),
        (TaskView(task="a", state="waiting", passes_max=9), "waiting"),
        (
            replace(FETCH, state="running", items={"succeeded": 120, "queued": 200, "running": 8, "retrying": 1}),
            "running: 120 of 329, 8 running, 1 retrying",
        ),
        (replace(FETCH, items={}, state="skipped", reason="empty"), "skipped: its list of items is empty"),
        (APPROVE, "waits for an answer: Canary runs v1.4.2. Roll out?"),
        (
            replace(APPROVE, state="succeeded", outputs={"by": "berta", "choice": "half"}),
            "succeeded: approved by berta, who chose half",
        ),
        (TaskView(task="a", state="running", kind="workflow", called_runs=[7, 9]), "running: run 9"),
        (TaskView(task="a", state="succeeded", kind="workflow", called_runs=[7]), "succeeded: run 7"),
    ],
)
def test_the_reason_of_a_state_is_spelled_out(view: TaskView, phrase: str) -> None:
    assert task_phrase(view, TERMINAL) == phrase


# ---- Streams --------------------------------------------------------------------------------------------------------


def test_a_run_of_many_tasks_leaves_page_by_page() -> None:
    pages = [
        TaskPage(tasks=[TaskView(task=f"t{page}-{number}", state="succeeded") for number in range(100)])
        for page in range(100)
    ]
    invocation = parse(["status", "42", "-o", "json"], now_us=NOW_US, zone=TERMINAL.zone)
    shown = render.renderer(invocation, TERMINAL)
    pieces = [b"".join(shown.feed(reply)) for reply in (FAILED, *pages)] + [b"".join(shown.end())]
    assert max(map(len, pieces)) < 40_000
    assert len(json.loads(b"".join(pieces))["tasks"]) == 10_000


def test_ten_thousand_items_leave_page_by_page() -> None:
    fan = replace(FETCH, items={"succeeded": 10_000})
    pages = [
        TaskPage(tasks=[replace(ITEM, state="succeeded", item=f"{page}-{number}") for number in range(100)])
        for page in range(100)
    ]
    invocation = parse(["status", "61", "-o", "json"], now_us=NOW_US, zone=TERMINAL.zone)
    shown = render.renderer(invocation, TERMINAL)
    replies = (SYNC, TaskPage(tasks=[ACCOUNTS, fan]), *pages, TaskPage(tasks=[SKIPPED, *HANDLERS]))
    pieces = [b"".join(shown.feed(reply)) for reply in replies] + [b"".join(shown.end())]
    assert max(map(len, pieces)) < 60_000
    found = json.loads(b"".join(pieces))
    assert [item["key"] for item in found["tasks"]["fetch"]["items"][::5_000]] == ["0-0", "50-0"]
    assert (list(found["tasks"]), list(found["handlers"])) == (
        ["accounts", "fetch", "restore-test"], ["tell", "accounts.undo", "ping"],
    )  # fmt: skip


def test_a_fan_out_that_has_no_items_yet_has_an_empty_array() -> None:
    fan = replace(FETCH, state="waiting", items={})
    found = json.loads(output("status 61 -o json", TERMINAL, [SYNC, TaskPage(tasks=[fan, SKIPPED])]))
    assert (found["tasks"]["fetch"]["items"], "items" in found["tasks"]["restore-test"]) == ([], False)


def test_the_undoing_of_an_item_is_a_handler_of_its_own() -> None:
    undoing = replace(HANDLERS[1], task="fetch.undo[acme]", of="fetch[acme]", item="acme", position=17)
    found = json.loads(output("status 61 -o json", TERMINAL, [SYNC, TaskPage(tasks=[FETCH, ITEM, undoing])]))
    assert found["handlers"]["fetch.undo[acme]"]["of"] == "fetch[acme]"
    assert len(found["tasks"]["fetch"]["items"]) == 1


def test_items_that_are_not_shown_are_counted_after_those_that_are() -> None:
    fan = replace(FETCH, items={"failed": 12, "running": 4})
    pages: list[Reply] = [SYNC, TaskPage(tasks=[fan, ITEM]), TaskPage(tasks=[ITEM, SKIPPED])]
    lines = output("status 61", STYLES["pipe"], pages).decode().splitlines()
    at = next(number for number, line in enumerate(lines) if "14 more" in line)
    assert lines[at].strip() == "and 14 more: pyflowctl status 61 --items"
    assert "fetch[acme]" in lines[at - 1]
    assert "restore-test" in lines[at + 1]


def test_cancelled_items_that_are_not_shown_are_counted_too() -> None:
    whole = replace(FETCH, items={"succeeded": 90, "failed": 1, "cancelled": 9})
    shown = [replace(ITEM, state="failed", task="fetch[x]"), replace(ITEM, state="cancelled", task="fetch[y]")]
    text = output("status 42", TERMINAL, [FAILED, TaskPage(tasks=[whole, *shown])]).decode()
    assert "and 8 more: pyflowctl status 42 --items" in text


def test_items_that_succeeded_are_not_counted_as_left_out() -> None:
    assert "more" not in output("status 61", TERMINAL, [SYNC, TaskPage(tasks=[FETCH, ITEM, ITEM, ITEM])]).decode()


def test_a_run_that_was_waited_for_shows_failed_items_only_of_what_failed() -> None:
    other = replace(ITEM, task="send[x]", of="send")
    send = replace(FETCH, task="send", state="failed", items={"failed": 1})
    text = output("run x --wait", TERMINAL, [SYNC, TaskPage(tasks=[FETCH, ITEM]), TaskPage(tasks=[send, other])])
    assert b"send[x]" in text
    assert b"fetch[acme]" not in text


def test_the_hint_after_a_failed_item_can_be_pasted() -> None:
    fan = replace(FETCH, state="failed", items={"failed": 1})
    item = replace(ITEM, task="fetch[$(reboot)]", item="$(reboot)")
    text = output("status 61", TERMINAL, [SYNC, TaskPage(tasks=[fan, item])]).decode()
    assert "  pyflowctl logs 61 'fetch[$(reboot)]'\n" in text


def test_of_a_run_that_is_waited_for_the_last_state_counts() -> None:
    found = json.loads(output("run x --wait -o json", TERMINAL, [RUNNING, FAILED, TaskPage(tasks=TASKS)]))
    assert (found["state"], found["tasks"]["ship"]["exit_code"]) == ("failed", 7)


def test_a_run_without_tasks_to_show_is_whole_json() -> None:
    assert json.loads(output("run x --wait -o json", TERMINAL, [RUNNING]))["tasks"] == {}


def test_progress_is_for_terminals_only() -> None:
    replies: list[Reply] = [RUNNING, FAILED, TaskPage(tasks=TASKS)]
    assert b"\r" in output("run x --wait", TERMINAL, replies)
    assert b"\r" not in output("run x --wait", STYLES["pipe"], replies)
    assert b"\r" not in output("run x --follow", TERMINAL, replies)


@pytest.mark.parametrize("width", [20, 40, 80])
def test_progress_stays_on_one_line(width: int) -> None:
    view = msgspec.structs.replace(RUNNING, running=["a-task-with-a-long-name"] * 5)
    line = progress(view, msgspec.structs.replace(TERMINAL, width=width)).decode()
    assert text_width(re.sub(r"\r|\x1b\[K", "", line)) < width


# ---- What is said of a run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("view", "sentence"),
    [
        (
            replace(RUNNING, stopping="cancel", counts={"running": 1}),
            "is being cancelled: 1 task is still being stopped",
        ),
        (
            replace(RUNNING, stopping="timeout"),
            "is being stopped, its time ran out: 2 tasks are still being stopped",
        ),
        (replace(QUEUED, waits_for=57), "run 58 of deploy is queued: it waits for run 57"),
    ],
)
@pytest.mark.parametrize("line", ["status 1", "cancel 1"])
def test_what_a_run_waits_for_or_how_it_is_stopped_is_said(view: RunView, sentence: str, line: str) -> None:
    assert sentence in output(line, TERMINAL, [view, TaskPage(tasks=[])]).decode()


def test_a_cancel_that_is_under_way_tells_of_the_second() -> None:
    text = output("cancel 57", TERMINAL, [replace(RUNNING, stopping="cancel")]).decode()
    assert "pyflowctl cancel 57  (a second cancel kills at once)" in text


def test_the_time_taken_stands_before_the_reason() -> None:
    text = output("run x --wait", STYLES["pipe"], [FAILED, TaskPage(tasks=TASKS)]).decode()
    assert "run 42 of nightly-backup failed after 3m12s: ship: exit code 7" in text


def test_what_could_not_be_started_has_no_output_to_look_at() -> None:
    tasks = [TaskView(task="a", state="failed", reason="start_failed", error="could not start: no such file")]
    assert "pyflowctl logs" not in output("status 42", TERMINAL, [FAILED, TaskPage(tasks=tasks)]).decode()


def test_a_failure_that_was_allowed_is_not_red() -> None:
    tasks = [replace(TASKS[2], allowed=True)]
    shown = output("status 55", STYLES["colour"], [SUCCEEDED, TaskPage(tasks=tasks)])
    assert b"failed, allowed" in shown
    assert b"\x1b[31m" not in shown


def test_the_notes_of_a_run_stand_below_its_number() -> None:
    text = output("run deploy", TERMINAL, [replace(QUEUED, notes=["the newest text is refused"])]).decode()
    assert text.splitlines()[:2] == ["recorded as run 58 of deploy", "  ! the newest text is refused"]


@pytest.mark.parametrize(
    ("line", "page", "sentence"),
    [
        ("history", RunPage(runs=[]), "no runs"),
        ("slots w", SlotPage(slots=[]), "no slots"),
        ("events", EventPage(events=[]), "no events"),
        ("list", WorkflowPage(workflows=[]), "no workflows"),
        ("next w", NextPage(slots=[], none="paused"), "w is paused: its schedules start nothing"),
        ("next w", NextPage(slots=[], none="disabled"), "its schedules are disabled"),
        ("next w", NextPage(slots=[], none="unscheduled"), "it has no schedule"),
    ],
)
def test_an_empty_answer_is_a_sentence(line: str, page: Reply, sentence: str) -> None:
    assert sentence in output(line, TERMINAL, [page]).decode()


def test_the_mark_of_a_workflow_is_that_of_the_worst() -> None:
    text = output("list", TERMINAL, [WorkflowPage(workflows=WORKFLOWS)]).decode()
    marks = {words[1]: words[0] for line in text.splitlines() if len(words := line.split()) > 2}
    assert [marks[view.workflow] for view in WORKFLOWS] == ["✓", "✗", "‖", "!"]


def test_schedules_that_start_nothing_are_told_in_the_list() -> None:
    view = WorkflowView(workflow="w", state="active", schedules=["@daily"], disabled=True)
    assert "disabled" in output("list", TERMINAL, [WorkflowPage(workflows=[view])]).decode()


def test_a_problem_of_a_template_is_told_once_with_the_workflows_that_are_built_from_it() -> None:
    wrong = Problem(file="templates/t.yaml", line=3, column=5, code="value", message="url: the text is empty")
    own = Problem(file="c.yaml", line=1, column=1, code="value", message="wrong")
    views = [WorkflowView(workflow=name, state="broken", problems=[wrong]) for name in "ab"]
    views.append(WorkflowView(workflow="c", state="broken", problems=[own]))
    below = output("list", TERMINAL, [WorkflowPage(workflows=views)]).decode().splitlines()[4:6]
    assert below == ["  ✗ templates/t.yaml:3:5: url: the text is empty; in a, b", "  ✗ c.yaml:1:1: wrong"]


def test_what_of_the_folder_is_ignored_stands_below_the_list() -> None:
    pages: list[Reply] = [WorkflowPage(workflows=WORKFLOWS), WorkflowPage(workflows=[], notes=["ignored: x.yaml"])]
    assert "  ! ignored: x.yaml" in output("reload", TERMINAL, pages).decode()


def test_a_run_that_only_waits_for_an_answer_is_not_counted_as_running() -> None:
    asks = replace(RUNNING, run=APPROVAL.run, running=["approve"])
    text = output("status", TERMINAL, [replace(HOST, running=[asks, RUNNING], approvals=[APPROVAL])]).decode()
    assert text.startswith("1 running, ")
    assert "1 waiting for an answer" in text


def test_a_run_that_waits_for_an_answer_and_does_something_else_is_running() -> None:
    both = replace(RUNNING, run=APPROVAL.run, running=["approve", "fetch (3 of 8)"])
    text = output("status", TERMINAL, [replace(HOST, running=[both], approvals=[APPROVAL])]).decode()
    assert text.startswith("1 running, 1 queued, 1 waiting for an answer" if HOST.queued else "1 running, 1 waiting")


def test_a_host_whose_files_are_all_refused_does_not_say_that_there_are_none() -> None:
    refused = replace(HOST, workflows=0, running=[], queued=[])
    assert HOST.problems
    assert output("status", TERMINAL, [refused]).decode().startswith("no workflow is in force: ")


def test_failures_that_are_not_shown_are_counted() -> None:
    text = output("status", TERMINAL, [replace(HOST, failed_24h=4)]).decode()
    assert "and 3 more: pyflowctl history --state failed" in text


# ---- Safe and one line ----------------------------------------------------------------------------------------------


def test_an_error_is_one_line_whatever_it_holds() -> None:
    assert render.error_line(NotFound("bad\nthing\x1b[2J")) == "pyflowctl: bad⏎thing\\x1b[2J\n".encode()


def test_each_problem_of_a_refusal_is_a_line_and_clean() -> None:
    assert render.error_line(Refused("a:1:1: bad\na:2:1: \x1b[2J")) == (
        b"pyflowctl: a:1:1: bad\npyflowctl: a:2:1: \\x1b[2J\n"
    )


def test_a_failure_of_the_wire_is_told_as_the_error_it_was() -> None:
    failure = Failure(code="not_found", message='no run 9 (did you mean "8"?)', exit_status=3)
    assert render.error_line(failure) == b'pyflowctl: no run 9 (did you mean "8"?)\n'


@given(st.text(max_size=30))
def test_texts_of_others_cannot_command_the_terminal(text: str) -> None:
    view = msgspec.structs.replace(FAILED, error=text, params={"p": text}, requested_by=text)
    tasks = [
        TaskView(task="a", state="failed", error=text),
        replace(FETCH, items={"failed": 1}),
        replace(ITEM, task=f"fetch[{text}]", item=text),
        replace(SKIPPED, values={text: text}),
        replace(APPROVE, task=f"ask[{text}]", values={"message": text}, choices=[text or "x"]),
        replace(HANDLERS[1], task=f"fetch.undo[{text}]", item=text, of=text),
    ]
    view = replace(view, outputs={text: text})
    shown = output("status 42", TERMINAL, [view, TaskPage(tasks=tasks)])
    graph_view = GraphView(title="g", tasks=tasks[1:2], handlers=tasks[-1:])
    shown += output("graph 42", TERMINAL, [graph_view])
    approval = replace(APPROVAL, task=text, message=text, choices=[text], allow=[text], requested_by=text)
    shown += output("approvals", TERMINAL, [ApprovalPage(approvals=[approval])])
    shown += output("status", TERMINAL, [replace(HOST, approvals=[approval])])
    answer = AnswerView(run=1, workflow="w", task=text, approved=True, by=text, choice=text)
    shown += output("approve 1 a", TERMINAL, [answer])
    shown += output("run w --dry-run", TERMINAL, [
        PlanView(workflow="w", params={"p": text}, tasks=[replace(FETCH, condition=text, repeat=text, fan_out=text)],
                 commands={"fetch": text}, outputs={text: text})
    ])  # fmt: skip
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", shown)


# ---- Layout ---------------------------------------------------------------------------------------------------------


@given(st.text(max_size=40), st.integers(0, 30))
def test_a_text_that_is_cut_fits(text: str, columns: int) -> None:
    assert text_width(fit(text, columns)) <= max(columns, 0)


@pytest.mark.parametrize(
    ("text", "columns", "wanted"),
    [
        ("你好世界", 8, "你好世界"), ("你好世界", 7, "你好世…"), ("你好世界", 6, "你好…"),
        ("abc", 2, "a…"), ("e\u0301e", 2, "e\u0301e"),
    ],
)  # fmt: skip
def test_wide_characters_are_not_cut_in_half(text: str, columns: int, wanted: str) -> None:
    assert fit(text, columns) == wanted


@given(st.text(alphabet="ab 你\u0301", max_size=80), st.integers(2, 30))
def test_wrapping_loses_nothing_but_the_spaces_between_lines(text: str, columns: int) -> None:
    lines = wrapped(text, columns)
    assert all(text_width(line) <= columns for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_long_reason_of_a_task_takes_lines_of_its_own_and_no_column_of_others() -> None:
    reason = "cannot run /srv/program: " + "no such file or directory " * 8
    bad = TaskView(task="b", state="failed", reason="start_failed", error=reason, started_us=NOW_US, ended_us=NOW_US)
    text = output("status 42", TERMINAL, [FAILED, TaskPage(tasks=[*TASKS, bad])]).decode()
    assert re.search(r"checksum +succeeded .* 02:31:03", text)
    assert text.count("directory") == 8
    assert max(map(text_width, text.splitlines()[5:])) <= 80


def test_beyond_a_terminal_a_long_reason_is_whole_and_widens_no_other_row() -> None:
    rows = [[Cell("a"), Cell("failed: " + "x" * 300), Cell("end")], [Cell("b"), Cell("failed"), Cell("end")]]
    lines = Table(STYLES["pipe"]).lines(rows)
    assert "x" * 300 in lines[0]
    assert lines[1] == "  b  failed  end"


def test_columns_of_wide_characters_are_aligned() -> None:
    lines = Table(TERMINAL, indent=0).lines([[Cell("你好"), Cell("x")], [Cell("abcd"), Cell("y")]])
    assert [text_width(line) for line in lines] == [7, 7]


def test_the_rows_of_a_later_page_stand_below_those_of_the_first() -> None:
    table = Table(TERMINAL, indent=0)
    first = table.lines([[Cell("a-long-name"), Cell("x")]])
    assert table.lines([[Cell("b"), Cell("y")]])[0].index("y") == first[0].index("x")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (3569, "59 min"), (3570, "1 h"), (11_520, "3 h 12 min"),
        (86_370, "1 d"), (97_200, "1 d 3 h"),
    ],
)  # fmt: skip
def test_a_length_of_time_has_two_units_at_most(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_a_zone_that_is_not_known_is_shown_as_utc() -> None:
    style = Style(timezone="Mars/Olympus", now_us=NOW_US)
    assert (layout.zone_text(style), layout.moment(NOW_US, style)) == ("times: UTC", "20:18:00")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "", "a\0b"])
def test_the_name_of_a_zone_is_no_path(name: str) -> None:
    assert layout.zone_text(Style(timezone=name, now_us=NOW_US)) == "times: UTC"


# ---- Graphs ---------------------------------------------------------------------------------------------------------


@st.composite
def dags(draw: st.DrawFn) -> list[TaskView]:
    count = draw(st.integers(1, 14))
    return [
        TaskView(
            task=f"t{number}",
            state=draw(st.sampled_from(["", "failed"])),
            needs=[f"t{need}" for need in sorted(draw(st.sets(st.integers(0, number - 1), max_size=3)))]
            if number
            else [],
        )
        for number in range(count)
    ]


@given(dags())
def test_a_task_stands_after_its_needs(tasks: list[TaskView]) -> None:
    found = layers(tasks)
    assert all(found[need] < found[task.task] for task in tasks for need in task.needs)


@given(dags())
def test_every_task_is_drawn_once(tasks: list[TaskView]) -> None:
    style = Style(width=2000, terminal=True)
    text = "\n".join(graph(GraphView(title="g", tasks=tasks), style)[2:])
    assert sorted(re.findall(r"t\d+", text)) == sorted(task.task for task in tasks)


_ARMS = {
    "─": "lr", "│": "ud", "╭": "dr", "╮": "dl", "╰": "ur", "╯": "ul",
    "├": "udr", "┤": "udl", "┬": "lrd", "┴": "lru", "┼": "udlr",
}  # fmt: skip


@given(dags())
def test_no_line_ends_in_the_air_but_at_a_task_or_a_crossing(tasks: list[TaskView]) -> None:
    rows = graph(GraphView(title="g", tasks=tasks), Style(width=2000, terminal=True))[2:]
    for at, row in enumerate(rows):
        for column, char in enumerate(row):
            for arm, (down, right), back in (("d", (1, 0), "u"), ("u", (-1, 0), "d")):
                if arm in _ARMS.get(char, ""):
                    other = rows[at + down][column + right] if 0 <= at + down < len(rows) else " "
                    assert back in _ARMS.get(other, ""), "\n".join(rows)


def test_a_graph_that_is_too_wide_is_a_list() -> None:
    lines = graph(GraphView(title="g", tasks=DIAMOND), msgspec.structs.replace(TERMINAL, width=40))
    assert lines[2:4] == ["✓ fetch  succeeded", "✓   unit-tests  succeeded  after fetch"]


def test_a_graph_of_ten_thousand_tasks_is_a_list() -> None:
    tasks = [
        TaskView(task=f"t{number}", state="", needs=[f"t{number - 1}"] if number else []) for number in range(10_000)
    ]
    assert len(graph(GraphView(title="g", tasks=tasks), TERMINAL)) == 10_002


def test_a_view_from_a_daemon_that_knows_more_states_is_shown() -> None:
    view = RunView(run=1, workflow="w", state="hibernating")
    assert b"hibernating" in output("status 1", TERMINAL, [view, TaskPage(tasks=[])])
