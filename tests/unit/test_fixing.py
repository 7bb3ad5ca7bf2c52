"""`pyflowctl fix`: expressions leave shell text, the file keeps its form, and what is not safe is left and said."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowctl import fixing, thin
from pyflowctl.shelltext import Context, contexts
from pyflowd.lint.lint import check
from pyflowd.model.kinds import Shell
from pyflowd.model.problem import Severity
from pyflowd.model.workflow import Task


def fixed(text: str, *, is_json: bool = False) -> str:
    found = fixing.fix("w", text.encode(), stem="w", is_json=is_json)
    assert found.problems == []
    return found.text


def left(text: str) -> str:
    """The reason why a text is left as it is."""
    found = fixing.fix("w", text.encode(), stem="w", is_json=False)
    assert found.text == text
    (problem,) = found.problems
    return problem.message


def first_task(text: str, *, is_json: bool = False) -> Task:
    workflow, problems = check("w", text.encode(), stem="w", is_json=is_json)
    assert workflow is not None, problems
    return workflow.tasks[0]


# ---- Form -----------------------------------------------------------------------------------------------------------

BEFORE = """\
# kept
params: {day: {}}   # kept, too
tasks:
  dump:
    run: echo dump
  ship:
    needs: dump          # and this
    run: |
      # the ${{ params.day }} one
      ./ship.sh ${{ tasks.dump.outputs.path }} --day=${{ params.day }} "to ${{ run.id }}"
      cat <<EOF
      ${{ tasks.dump.outputs.path }}
      EOF
    timeout: 5m
"""
AFTER = """\
# kept
params: {day: {}}   # kept, too
tasks:
  dump:
    run: echo dump
  ship:
    needs: dump          # and this
    env:
      DUMP_PATH: ${{ tasks.dump.outputs.path }}
      RUN_ID: ${{ run.id }}
    run: |
      # the ${PARAM_DAY} one
      ./ship.sh "$DUMP_PATH" --day="$PARAM_DAY" "to ${RUN_ID}"
      cat <<EOF
      ${DUMP_PATH}
      EOF
    timeout: 5m
"""


def test_a_file_keeps_its_form() -> None:
    assert fixed(BEFORE) == AFTER


def test_a_fixed_file_is_without_fault_and_stays_as_it_is() -> None:
    assert check("w", AFTER.encode(), stem="w", is_json=False)[1] == []
    assert fixed(AFTER) == AFTER


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("tasks: {a: {run: 'echo ${{ run.id }}'}}\n",
         "tasks: {a: {env: {RUN_ID: \"${{ run.id }}\"}, run: 'echo \"$RUN_ID\"'}}\n"),
        ('tasks: {a: {run: "echo ${{ run.id }}"}}\n',
         'tasks: {a: {env: {RUN_ID: "${{ run.id }}"}, run: "echo \\"$RUN_ID\\""}}\n'),
        ("tasks:\n  a:\n    env: {X: y}\n    run: echo ${{ run.id }}\n",
         "tasks:\n  a:\n    env: {RUN_ID: \"${{ run.id }}\", X: y}\n    run: echo \"$RUN_ID\"\n"),
        ("tasks:\n  a:\n    env:\n      X: y\n    run: echo ${{ run.id }}\n",
         "tasks:\n  a:\n    env:\n      RUN_ID: ${{ run.id }}\n      X: y\n    run: echo \"$RUN_ID\"\n"),
        ("tasks:\n  a:\n    env: {ID: '${{run.id}}'}\n    run: echo ${{ run.id }}\n",
         "tasks:\n  a:\n    env: {ID: '${{run.id}}'}\n    run: echo \"$ID\"\n"),
        ("tasks:\n  a:\n    env: {RUN_ID: x}\n    run: echo ${{ run.id }}\n",
         "tasks:\n  a:\n    env: {RUN_ID_2: \"${{ run.id }}\", RUN_ID: x}\n    run: echo \"$RUN_ID_2\"\n"),
        ("tasks:\n  a:\n    run: ${{ run.id }} it's\n",
         "tasks:\n  a:\n    env:\n      RUN_ID: ${{ run.id }}\n    run: '\"$RUN_ID\" it''s'\n"),
        ("tasks:\n  a:\n    run: |\n      echo ${{ run.id + ': #' }}\n",
         "tasks:\n  a:\n    env:\n      RUN_ID: \"${{ run.id + ': #' }}\"\n    run: |\n      echo \"$RUN_ID\"\n"),
        ("env: {X: y}\ntasks:\n  a:\n    run: echo ${{ env.X }}\n",
         "env: {X: y}\ntasks:\n  a:\n    run: echo \"$X\"\n"),
        ("tasks:\n a:\n  run: x\n  undo:\n   run: echo ${{ run.id }}\n",
         "tasks:\n a:\n  run: x\n  undo:\n   env:\n     RUN_ID: ${{ run.id }}\n   run: echo \"$RUN_ID\"\n"),
        ("tasks:\n  a:\n    ssh:\n      host: b\n      run: echo ${{ run.id }}\n",
         "tasks:\n  a:\n    env:\n      RUN_ID: ${{ run.id }}\n    ssh:\n      host: b\n      run: echo \"$RUN_ID\"\n"),
        ("tasks:\r\n  a:\r\n    run: echo ${{ run.id }}\r\n",
         "tasks:\r\n  a:\r\n    env:\r\n      RUN_ID: ${{ run.id }}\r\n    run: echo \"$RUN_ID\"\r\n"),
    ],
)  # fmt: skip
def test_each_style_is_edited_in_its_own_way(before: str, after: str) -> None:
    assert fixed(before) == after
    first_task(after)


def test_a_json_file_stays_json() -> None:
    before = json.dumps({"tasks": {"a": {"run": "echo ${{ run.id }}"}}}, indent=1)
    after = fixed(before, is_json=True)
    assert json.loads(after) == {"tasks": {"a": {"env": {"RUN_ID": "${{ run.id }}"}, "run": 'echo "$RUN_ID"'}}}
    first_task(after, is_json=True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tasks:\n  a:\n    run: |\n      echo '${{ run.id }}'\n", "single quotes"),
        ("tasks:\n  a:\n    run: |\n      cat <<'EOF'\n      ${{ run.id }}\n      EOF\n", "single quotes"),
        ("tasks:\n  a:\n    shell: python3\n    run: print(${{ run.id }})\n", "the shell is python3"),
        ("tasks:\n  a:\n    run: echo ${{ params.x }}\n", "no param"),
        ("tasks:\n  a:\n    run: echo ${{ run.idd }}\n", "would be refused"),
        ("tasks:\n  a:\n    run: echo ${{ run.id\n", "not closed"),
        ('tasks:\n  a:\n    run: "echo ${{ \\"x\\" + run.id }}"\n', "escaped or folded"),
    ],
)
def test_what_cannot_be_done_safely_is_left_and_said(text: str, reason: str) -> None:
    assert reason in left(text)


# ---- The shell ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ("echo @", Context.BARE),
        ("'a' @", Context.BARE),
        ("'@'", Context.SINGLE),
        ("$'\\'@'", Context.SINGLE),
        ('"@"', Context.DOUBLE),
        ('"it\'s @"', Context.DOUBLE),
        ('"\\"@"', Context.DOUBLE),
        ('"$(echo @)"', Context.BARE),
        ('"$(echo ")") @"', Context.DOUBLE),
        ('"`echo` @"', Context.DOUBLE),
        ("$(( 1 + @ ))", Context.ARITHMETIC),
        ("echo \\@", Context.ESCAPED),
        ("$(( (1) )) @", Context.BARE),
        ("x # it's @", Context.COMMENT),
        ("x#'@'", Context.SINGLE),
        ("# it's\n@", Context.BARE),
        ("cat <<E\nit's @\nE\n", Context.DOUBLE),
        ("cat <<'E'\n@\nE\n", Context.SINGLE),
        ("cat <<\\E\n@\nE\n", Context.SINGLE),
        ("cat <<-E\n\tit's\n\tE\n@", Context.BARE),
        ("cat <<E; echo @\nE\n", Context.BARE),
        ("cat <<< @", Context.BARE),
        ("cat <<A <<'B'\nA\n@\nB\n", Context.SINGLE),
        ("(a) @", Context.BARE),
    ],
)
def test_a_place_in_shell_text_is_told_from_others(text: str, context: Context) -> None:
    at = text.index("@")
    assert contexts(text, [(at, at + 1)]) == [context]


@given(st.text(alphabet="ab @'\"\\$()`#<E\n-", max_size=40))
def test_any_text_has_a_context_for_each_place(text: str) -> None:
    spans = [(at, at + 1) for at, character in enumerate(text) if character == "@"]
    assert len(contexts(text, spans)) == len(spans)


HOSTILE = "a  b; $(touch marker) `touch marker` \" ' * \n EOF"


@pytest.mark.parametrize(
    "script",
    [
        "printf %s ${{ run.id }}",
        'printf %s "${{ run.id }}"',
        "printf %s x${{ run.id }}y",
        'printf %s "$(printf %s ${{ run.id }})"',
        "cat <<EOF_1\n${{ run.id }}\nEOF_1",
    ],
)
def test_a_hostile_value_arrives_as_it_is(script: str, tmp_path: Path) -> None:
    text = json.dumps({"tasks": {"a": {"run": script}}})
    task = first_task(fixed(text, is_json=True), is_json=True)
    assert isinstance(task.kind, Shell)
    done = subprocess.run(
        ["/bin/sh", "-eu", "-c", task.kind.text],
        env={"PATH": os.environ["PATH"], "RUN_ID": HOSTILE},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert HOSTILE in done.stdout
    assert list(tmp_path.iterdir()) == []


# ---- The command ----------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_and_keeps_its_mode(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + BEFORE.encode())
    path.chmod(0o640)
    assert thin.main(["fix", str(path)]) == 0
    assert path.read_bytes() == b"\xef\xbb\xbf" + AFTER.encode()
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]
    assert '+      ./ship.sh "$DUMP_PATH"' in capfd.readouterr().out


def test_where_nothing_is_to_be_changed_that_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(AFTER)
    assert (thin.main(["fix", str(path)]), capfd.readouterr().out) == (0, "nothing to change\n")


def test_a_dry_run_writes_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(BEFORE)
    assert thin.main(["fix", "--dry-run", str(path), "-o", "json"]) == 0
    assert path.read_text() == BEFORE
    (shown,) = json.loads(capfd.readouterr().out)
    assert (shown["changed"], shown["problems"]) == (True, [])


def test_what_is_left_is_told_with_its_place(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.yaml"
    path.write_text("tasks:\n  a:\n    run: |\n      echo '${{ run.id }}' ${{ run.id }}\n")
    assert thin.main(["fix", str(path)]) == 1
    assert "w.yaml:4:13" in capfd.readouterr().out
    assert path.read_text().endswith("echo '${{ run.id }}' \"$RUN_ID\"\n")


@pytest.mark.parametrize("text", ["tasks: [", "tasks: {a: {run: x}}\n", "- a\n", ""])
def test_a_file_without_such_an_expression_is_not_touched(text: str, tmp_path: Path) -> None:
    path = tmp_path / "w.yaml"
    path.write_text(text)
    before = path.stat().st_mtime_ns
    thin.main(["fix", str(path)])
    assert path.stat().st_mtime_ns == before


_pieces = st.lists(
    st.sampled_from(["${{ run.id }}", "'", '"', "echo ", "\n", " ", "x", "<<E\n", "E\n", "# "]), max_size=9
)


@given(_pieces)
def test_whatever_is_fixed_has_no_new_fault(pieces: list[str]) -> None:
    text = json.dumps({"tasks": {"a": {"run": "".join(["true ", *pieces])}}})
    found = fixing.fix("w", text.encode(), stem="w", is_json=True)
    problems = check("w", found.text.encode(), stem="w", is_json=True)[1]
    assert bool(found.problems) == any(problem.severity is Severity.ERROR for problem in problems)
