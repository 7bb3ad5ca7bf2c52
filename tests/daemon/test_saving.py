"""Saving a definition through the daemon: checked, told, written, in force; or one clear line and nothing changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from pyflowd.errors import PyflowError
from pyflowd.protocol.requests import Reload, SaveDefinition
from pyflowd.protocol.views_workflows import SavedView
from tests.daemon.instance import Instance

HOURLY = b'schedule: "7 * * * *"\ntasks: {a: {run: echo one}}\n'
DAILY = b'schedule: "7 3 * * *"\ntasks: {a: {run: echo two}}\n'


def digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


@pytest.fixture
def editable(instance: Instance) -> Instance:
    instance.settings(edit=True)
    instance.start()
    instance.install("w.yaml", HOURLY.decode())
    return instance


def save(instance: Instance, file: str, data: bytes, base: str = "", *, dry_run: bool = False) -> SavedView:
    with instance.client() as client:
        (found,) = client.ask(SaveDefinition(file=file, data=data, base=base, dry_run=dry_run))
    assert isinstance(found, SavedView)
    return found


def refused(instance: Instance, file: str, data: bytes, base: str = "") -> str:
    with pytest.raises(PyflowError) as raised:
        save(instance, file, data, base)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def folder(instance: Instance) -> Path:
    return instance.root / "workflows"


def test_what_is_saved_is_in_force_when_it_is_answered(editable: Instance) -> None:
    found = save(editable, "w.yaml", DAILY, digest(HOURLY))
    assert (found.written, found.workflow, found.problems) == (True, "w", [])
    assert found.digest == digest(DAILY)
    assert (folder(editable) / "w.yaml").read_bytes() == DAILY
    assert found.diff.splitlines()[:2] == ["--- w.yaml", "+++ w.yaml"]
    assert '+schedule: "7 3 * * *"' in found.diff
    assert len(found.slots_removed) == 23
    assert not found.slots_added
    assert {(slot.workflow, slot.trigger) for slot in found.slots_removed} == {("w", "schedule")}


def test_one_that_takes_long_to_read_is_in_force_too_when_it_is_answered(editable: Instance) -> None:
    tasks = "".join(f"  t{n}: {{run: echo {n}}}\n" for n in range(3000))
    large = f"tasks:\n{tasks}".encode()
    with editable.client() as client:
        (found,) = client.ask(SaveDefinition(file="w.yaml", data=large, base=digest(HOURLY)))
        assert isinstance(found, SavedView)
        assert found.written
        assert client.definition("w").digest == digest(large)


def test_a_new_file_is_made_and_told_with_its_slots(editable: Instance) -> None:
    found = save(editable, "new.yaml", HOURLY)
    assert found.written
    assert len(found.slots_added) == 24
    assert editable.json("show", "new")["digest"] == digest(HOURLY)
    assert sorted(os.listdir(folder(editable))) == ["new.yaml", "w.yaml"]


def test_a_dry_run_tells_all_and_writes_nothing(editable: Instance) -> None:
    found = save(editable, "w.yaml", DAILY, digest(HOURLY), dry_run=True)
    assert (found.written, found.refused, found.there) == (False, "", None)
    assert len(found.slots_removed) == 23
    assert (folder(editable) / "w.yaml").read_bytes() == HOURLY
    asked = save(editable, "w.yaml", b"", dry_run=True)
    assert asked.there == HOURLY
    assert "is there already" in asked.refused
    assert not save(editable, "w.yaml", HOURLY, digest(HOURLY)).written
    assert editable.json("audit") == []


def test_without_the_setting_a_text_is_checked_and_never_written(instance: Instance) -> None:
    instance.start()
    instance.install("w.yaml", HOURLY.decode())
    assert "write edit: true into" in refused(instance, "w.yaml", DAILY, digest(HOURLY))
    found = save(instance, "w.yaml", DAILY, digest(HOURLY), dry_run=True)
    assert "write edit: true into" in found.refused
    assert len(found.slots_removed) == 23
    instance.settings(edit=True)
    with instance.client() as client:
        list(client.ask(Reload()))
    assert save(instance, "w.yaml", DAILY, digest(HOURLY)).written
    instance.settings(edit=False)
    with instance.client() as client:
        list(client.ask(Reload()))
    assert "write edit: true into" in refused(instance, "w.yaml", HOURLY, digest(DAILY))
    assert (folder(instance) / "w.yaml").read_bytes() == DAILY


def test_what_somebody_else_wrote_is_not_overwritten(editable: Instance) -> None:
    mine, theirs = DAILY, HOURLY + b"# theirs\n"
    (folder(editable) / "w.yaml").write_bytes(theirs)
    told = refused(editable, "w.yaml", mine, digest(HOURLY))
    assert f"w.yaml has been changed since it was read (SHA-256 {digest(theirs)[:12]})" in told
    assert (folder(editable) / "w.yaml").read_bytes() == theirs
    asked = save(editable, "w.yaml", mine, digest(HOURLY), dry_run=True)
    assert asked.there == theirs
    assert "has been changed" in asked.refused


def test_a_bad_text_is_not_written_and_told_with_its_place(editable: Instance) -> None:
    found = save(editable, "w.yaml", b"tasks: {a: {rum: x}}\n", digest(HOURLY))
    assert not found.written
    assert ("unknown_key", 1) in {(problem.code, problem.line) for problem in found.problems}
    taken = save(editable, "other.yaml", b"name: w\ntasks: {a: {run: x}}\n")
    assert [problem.message for problem in taken.problems] == ["the name w is taken by w.yaml"]
    assert sorted(os.listdir(folder(editable))) == ["w.yaml"]
    assert (folder(editable) / "w.yaml").read_bytes() == HOURLY


def test_a_file_that_is_refused_can_be_read_and_mended(editable: Instance) -> None:
    broken = b"tasks: {a: {rum: x}}\n"
    (folder(editable) / "w.yaml").write_bytes(broken)
    editable.ctl("reload")
    asked = save(editable, "w.yaml", b"", dry_run=True)
    assert asked.there == broken
    found = save(editable, "w.yaml", DAILY, digest(broken))
    assert found.written
    assert editable.json("list")[0]["state"] == "active"


def test_drop_ins_lie_over_what_is_checked(editable: Instance) -> None:
    over = folder(editable) / "w.yaml.d"
    over.mkdir()
    (over / "10-more.yaml").write_text("tasks: {b: {run: echo, needs: a}}\n")
    assert editable.ctl("reload").returncode == 0
    found = save(editable, "w.yaml", b"tasks: {c: {run: x}}\n", digest(HOURLY))
    assert not found.written
    assert any("a" in problem.message and problem.file == "w.yaml.d/10-more.yaml" for problem in found.problems)
    good = save(editable, "w.yaml", DAILY, digest(HOURLY))
    assert (good.written, good.problems) == (True, [])


@pytest.mark.parametrize("file", ["../w.yaml", "/etc/w.yaml", ".w.yaml", "w.yaml.d/x.yaml", "w", "w.yaml\n"])
def test_no_name_leads_anywhere(editable: Instance, file: str) -> None:
    assert "cannot be the name of a file" in refused(editable, file, DAILY)
    assert sorted(os.listdir(editable.root / "workflows")) == ["w.yaml"]


def test_a_text_that_is_too_long_is_refused_in_one_line(editable: Instance) -> None:
    told = refused(editable, "big.yaml", b"#" * 10_000_000)
    assert "does not fit a frame" in told
    assert save(editable, "large.yaml", b"# some words\n" * 60_000 + DAILY).written


def test_who_saved_what_stands_in_the_record(editable: Instance) -> None:
    save(editable, "w.yaml", DAILY, digest(HOURLY))
    save(editable, "w.yaml", b"tasks: {", digest(DAILY))
    refused(editable, "w.yaml", HOURLY, digest(HOURLY))
    (record,) = editable.json("audit")
    assert (record["request"], record["workflow"], record["result"]) == ("save_definition", "w", "done")
    asked: dict[str, Any] = record["asked"]
    assert asked == {"file": "w.yaml", "base": digest(HOURLY), "digest": digest(DAILY)}


def test_a_workflow_that_is_paused_has_no_slots_to_gain(editable: Instance) -> None:
    editable.ctl("pause", "w")
    found = save(editable, "w.yaml", DAILY, digest(HOURLY), dry_run=True)
    assert not found.slots_added
    assert not found.slots_removed


def test_another_name_in_the_text_ends_the_schedules_of_the_old_one(editable: Instance) -> None:
    found = save(editable, "w.yaml", b"name: v\n" + HOURLY, digest(HOURLY), dry_run=True)
    assert {slot.workflow for slot in found.slots_removed} == {"w"}
    assert {slot.workflow for slot in found.slots_added} == {"v"}
    assert len(found.slots_removed) == len(found.slots_added) == 24


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_account_is_not_taken_over(editable: Instance) -> None:
    os.chown(folder(editable) / "w.yaml", 1, 1)
    told = refused(editable, "w.yaml", DAILY, digest(HOURLY))
    assert "w.yaml belongs to daemon; saved from here it would belong to root" in told
    assert (folder(editable) / "w.yaml").read_bytes() == HOURLY
