"""Versions of a definition with a real daemon: when each came into force and why, how it is shown and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyflowctl.complete import candidates
from tests.daemon.instance import Instance
from tests.waiting import wait_until

FIRST = """\
params: {day: {default: mon}}
tasks:
  a:
    run: pyflow-out set n=1
    outputs: {n: integer}
"""
SECOND = FIRST.replace("n=1", "n=2")


def changes(instance: Instance, name: str = "w") -> list[Any]:
    done = instance.ctl("-o", "json", "history", name, "--definition")
    return list(instance.json("history", name, "--definition")) if done.returncode == 0 else []


def whats(instance: Instance) -> list[str]:
    return [each["what"] for each in changes(instance)]


def becomes(instance: Instance, *expected: str) -> None:
    """Wait until what happened to the workflow, the newest first, is this."""
    wait_until(lambda: whats(instance) == list(expected), f"{expected}, not {whats(instance)}")


def digests(instance: Instance) -> list[str]:
    return [each["digest"] for each in changes(instance)]


@pytest.fixture
def two(daemon: Instance) -> Instance:
    """A workflow in its second version."""
    daemon.install("w.yaml", FIRST)
    daemon.write("w.yaml", SECOND)
    becomes(daemon, "edited", "added")
    return daemon


def test_every_version_is_kept_with_what_happened(daemon: Instance) -> None:
    daemon.install("w.yaml", FIRST)
    daemon.write("w.yaml", SECOND)
    becomes(daemon, "edited", "added")
    folder = daemon.root / "workflows" / "w.yaml.d"
    folder.mkdir()
    (folder / "10.yaml").write_text("timeout: 1h\n")
    becomes(daemon, "drop_in_changed", "edited", "added")
    assert changes(daemon)[0]["detail"] == "drop-in w.yaml.d/10.yaml added"
    (folder / "10.yaml").unlink()
    becomes(daemon, "restored", "drop_in_changed", "edited", "added")
    assert [each["in_force"] for each in changes(daemon)] == [True, False, False, False]


def test_a_changed_template_is_what_happened(daemon: Instance) -> None:
    templates = daemon.root / "templates"
    templates.mkdir()
    (templates / "t.yaml").write_text("tasks: {a: {run: 'true'}}\n")
    daemon.install("w.yaml", "template: t\n")
    (templates / "t.yaml").write_text("tasks: {a: {run: 'false'}}\n")
    becomes(daemon, "template_changed", "added")
    assert changes(daemon)[0]["detail"] == "template templates/t.yaml changed"


def test_a_workflow_that_went_still_has_its_history(two: Instance) -> None:
    (two.root / "workflows" / "w.yaml").unlink()
    two.ctl("reload")
    becomes(two, "removed", "edited", "added")
    done = two.ctl("show", "w")
    assert (done.returncode, done.stderr) == (
        3, "pyflowctl: w was removed; see: pyflowctl history --definition w, pyflowctl show w@~0\n"
    )  # fmt: skip
    assert two.json("show", "w@~0")["text"] == SECOND
    two.write("w.yaml", SECOND)
    becomes(two, "returned", "removed", "edited", "added")


def test_history_lives_over_a_restart_which_is_no_change(two: Instance) -> None:
    two.kill()
    two.start()
    assert whats(two) == ["edited", "added"]


def test_a_version_is_shown_by_its_digits(two: Instance) -> None:
    found = two.json("show", f"w@{digests(two)[1][:6]}")
    assert (found["text"], found["in_force"], found["state"]) == (FIRST, False, "past")


def test_a_version_is_shown_with_the_place_of_its_values(two: Instance) -> None:
    found = two.json("show", "w@~1", "--origin")
    assert {"path": ["tasks", "a", "run"], "value": "pyflow-out set n=1"}.items() <= next(
        each for each in found["origin"] if each["path"][-1] == "run"
    ).items()


@pytest.mark.parametrize(
    ("named", "status", "said"),
    [
        ("w@000000", 3, "no text of w begins with 000000; see: pyflowctl history --definition w"),
        ("w@~9", 3, "w has no text 9 before the newest; see: pyflowctl history --definition w"),
        ("nobody@~1", 3, 'no workflow "nobody"; `pyflowctl list` names all'),
    ],
)
def test_a_version_that_there_is_not_is_told(two: Instance, named: str, status: int, said: str) -> None:
    done = two.ctl("show", named)
    assert (done.returncode, done.stderr) == (status, f"pyflowctl: {said}\n")


def test_of_a_workflow_with_one_text_that_is_told(daemon: Instance) -> None:
    daemon.install("one.yaml", FIRST)
    done = daemon.ctl("diff", "one")
    said = "one has had no other text than the one in force; see: pyflowctl history --definition one"
    assert (done.returncode, done.stderr) == (3, f"pyflowctl: {said}\n")


def test_the_text_of_a_file_that_was_run_is_shown_and_compared(two: Instance, tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(FIRST.replace("n=1", "n=3"))
    run = two.run(file)
    digest = two.wait_run(run)["digest"]
    assert two.json("show", f"w@{digest[:8]}")["text"] == file.read_text()
    assert digest not in digests(two)
    assert "+    run: pyflow-out set n=2" in two.ctl("diff", f"w@{digest[:8]}").stdout


def test_a_workflow_alone_is_its_version_before_against_the_one_in_force(two: Instance) -> None:
    newer, older = digests(two)
    found = two.json("diff", "w")
    assert (found["old"]["digest"], found["new"]["digest"], found["same"]) == (older, newer, False)
    assert "-    run: pyflow-out set n=1" in found["diff"]
    assert two.json("diff", "w@~0", "w")["same"] is True


def test_two_runs_are_compared(two: Instance) -> None:
    first = two.run("w")
    two.wait_run(first)
    two.write("w.yaml", FIRST)
    becomes(two, "restored", "edited", "added")
    second = two.run("w", "-p", "day=tue")
    two.wait_run(second)
    found = two.json("diff", first, second)
    assert found["params"] == [{"name": "day", "old": "mon", "new": "tue"}]
    assert [(each["task"], each["same"], each["outputs"]) for each in found["tasks"]] == [
        ("a", False, [{"name": "n", "old": 2, "new": 1}])
    ]
    assert "n=1" in found["definition"]["diff"]


def test_a_rerun_with_the_latest_definition_says_first_what_is_another(two: Instance) -> None:
    run = two.run("w")
    two.wait_run(run)
    two.write("w.yaml", FIRST)
    becomes(two, "restored", "edited", "added")
    done = two.ctl("rerun", run, "--latest")
    lines = done.stdout.splitlines()
    newer, older = (digest[:12] for digest in digests(two)[:2])
    assert lines[:2] == [f"--- w@{older}", f"+++ w@{newer}"]
    assert lines.index("recorded as run 2 of w") > lines.index("+    run: pyflow-out set n=1")
    assert "definition_diff" not in two.json("rerun", run)


def test_the_latest_definition_that_is_the_old_one_has_no_diff(two: Instance) -> None:
    run = two.run("w")
    two.wait_run(run)
    assert two.ctl("rerun", run, "--latest").stdout.startswith("recorded as run 2 of w")


def test_an_event_says_what_happened_to_the_definition(two: Instance) -> None:
    assert "in force, from w.yaml (edited)" in two.ctl("events").stdout


def test_versions_are_completed_behind_the_at(two: Instance) -> None:
    newer, older = (digest[:12] for digest in digests(two))
    root = ["--root", str(two.root)]
    assert [name for name, _ in candidates([*root, "show", "w@"])] == [f"w@{newer}", f"w@{older}"]
    assert [name for name, _ in candidates([*root, "diff", "w", "@", older[:3]])] == [older]
    assert [name for name, _ in candidates([*root, "show", ""])] == ["w"]
