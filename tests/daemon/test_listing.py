"""What in the folders is a definition, and what only looks like one (rule D4)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyflowd.folder.listing import MAX_DROP_INS, list_all, look_at
from pyflowd.folder.loader_frames import MASK, Folders, Signature
from pyflowd.model.problem import Problem, Severity


def write(path: Path, text: str = "tasks: {a: {run: 'true'}}\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def list_folder(folder: str) -> tuple[dict[str, Signature], list[Problem]]:
    found = list_all(Folders(folder))
    return found.entries, list(found.problems.values())


TEMPORARIES = [
    ".hidden.yaml", ".a.yaml.swp", ".#a.yaml", "#a.yaml#", "a.yaml~", "~a.yaml", "4913", "a.yaml.tmp", "a.yaml.part",
    "a.yaml.bak", "a.yaml.dpkg-new", "a.yaml.dpkg-old", "a.yaml.rpmnew", "a.yaml.rpmsave", "a.yaml.ucf-dist",
    "sedAbCdEf", ".a.yaml.Xy12Zw", "a.yaml___jb_tmp___", "README", "notes.txt",
]  # fmt: skip


@pytest.mark.parametrize("name", TEMPORARIES)
def test_temporaries_are_passed_over_in_silence(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    assert list_folder(str(tmp_path)) == ({}, [])


def test_a_fifo_is_not_read_and_the_reason_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    entries, problems = list_folder(str(tmp_path))
    assert not entries
    assert "no regular file" in str(problems[0])


def test_a_folder_named_like_a_definition_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    assert "no regular file" in str(list_folder(str(tmp_path))[1][0])


def test_a_link_out_of_the_folder_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "workflows"
    folder.mkdir()
    write(tmp_path / "secret.yaml")
    os.symlink("../secret.yaml", folder / "a.yaml")
    entries, problems = list_folder(str(folder))
    assert not entries
    assert "leads out of the folder" in str(problems[0])


def test_a_link_within_the_folder_is_taken(tmp_path: Path) -> None:
    inner = tmp_path / "..2026"
    inner.mkdir()
    write(inner / "a.yaml")
    os.symlink("..2026/a.yaml", tmp_path / "a.yaml")
    assert list(list_folder(str(tmp_path))[0]) == ["a.yaml"]


def test_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    os.symlink("nothing.yaml", tmp_path / "a.yaml")
    assert "leads nowhere" in str(list_folder(str(tmp_path))[1][0])


@pytest.mark.parametrize(("name", "reason"), [("A.YAML", "capital"), ("a.json", "regular")])
def test_what_only_looks_like_a_definition_is_told(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).mkdir()
    assert reason in str(list_folder(str(tmp_path))[1][0])


def test_a_name_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.yaml", "w"):
        pass
    assert "not UTF-8" in str(list_folder(str(tmp_path))[1][0])


# ---- Templates, drop-ins, the vendor's -------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    (tmp_path / "workflows").mkdir()
    return Folders(f"{tmp_path}/workflows", f"{tmp_path}/vendor/workflows")


def test_each_file_has_its_key(tmp_path: Path, folders: Folders) -> None:
    for name in ("workflows/a.yaml", "workflows/a.yaml.d/1.yaml", "templates/t.yaml"):
        write(tmp_path / name)
    for name in ("workflows/v.yaml", "workflows/v.yaml.d/1.yaml", "templates/u.yaml"):
        write(tmp_path / "vendor" / name)
    vendor = f"{tmp_path}/vendor"
    assert set(list_all(folders).entries) == {
        "a.yaml", "a.yaml.d/1.yaml", "templates/t.yaml",
        f"{vendor}/workflows/v.yaml", f"{vendor}/workflows/v.yaml.d/1.yaml", f"{vendor}/templates/u.yaml",
    }  # fmt: skip


def test_folders_that_are_not_there_are_no_problem(folders: Folders) -> None:
    found = list_all(folders)
    assert (found.entries, found.problems) == ({}, {})
    assert set(found.gone) == {folders.vendor, folders.templates, folders.vendor_templates}


def test_a_link_to_the_null_device_masks_and_says_so(tmp_path: Path, folders: Folders) -> None:
    write(tmp_path / "vendor/workflows/v.yaml")
    os.symlink(os.devnull, tmp_path / "workflows/v.yaml")
    found = list_all(folders)
    assert found.entries["v.yaml"] == MASK
    assert found.problems["v.yaml"].severity is Severity.WARNING
    assert not found.blocked


def test_what_is_refused_keeps_the_vendors_file_of_that_name_from_being_taken_for_it(
    tmp_path: Path, folders: Folders
) -> None:
    write(tmp_path / "vendor/workflows/v.yaml")
    os.symlink("/etc/hostname", tmp_path / "workflows/v.yaml")
    assert list_all(folders).blocked == {"v.yaml"}


def test_a_drop_in_that_leads_out_of_the_folder_is_told(tmp_path: Path, folders: Folders) -> None:
    write(tmp_path / "workflows/a.yaml")
    (tmp_path / "workflows/a.yaml.d").mkdir()
    os.symlink("/etc/hostname", tmp_path / "workflows/a.yaml.d/1.yaml")
    found = look_at(folders, "a.yaml")
    assert "leads out of the folder" in found.problems["a.yaml.d/1.yaml"].message


def test_a_drop_in_folder_that_leads_elsewhere_is_not_followed(tmp_path: Path, folders: Folders) -> None:
    write(tmp_path / "workflows/a.yaml")
    write(tmp_path / "elsewhere/1.yaml")
    os.symlink("../elsewhere", tmp_path / "workflows/a.yaml.d")
    for found in (look_at(folders, "a.yaml"), list_all(folders)):
        assert set(found.entries) == {"a.yaml"}
        assert "leads out of the folder" in found.problems["a.yaml.d"].message


def test_more_drop_ins_than_are_read_are_told(tmp_path: Path, folders: Folders) -> None:
    write(tmp_path / "workflows/a.yaml")
    for n in range(MAX_DROP_INS + 1):
        write(tmp_path / f"workflows/a.yaml.d/{n}.yaml")
    found = list_all(folders)
    assert set(found.entries) == {"a.yaml"}
    assert str(MAX_DROP_INS) in found.problems["a.yaml.d"].message


def test_other_files_in_a_drop_in_folder_are_passed_over(tmp_path: Path, folders: Folders) -> None:
    for name in ("README", "1.yaml~", ".1.yaml.swp", "1.yaml.dpkg-old"):
        write(tmp_path / "workflows/a.yaml.d" / name)
    found = list_all(folders)
    assert (found.entries, found.problems) == ({}, {})
