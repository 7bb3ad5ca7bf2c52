"""Whose word a file is: every way in which somebody else could have written it, or put it where it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyflowd.base import trust

OWN = os.geteuid()
as_root = pytest.mark.skipif(OWN != 0, reason="gives files to others")


def fault_of_file(path: Path, owners: frozenset[int] | None = frozenset({0, OWN})) -> str:
    fault = trust.of_file(str(path), path.stat(), owners)
    return "" if fault is None else f"{fault.message} ({fault.fix})"


def fault_of_folder(path: Path) -> str:
    fault = trust.of_folder(str(path), OWN)
    return "" if fault is None else f"{fault.message} ({fault.fix})"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "a" / "b"
    made.mkdir(parents=True)
    return made


@pytest.mark.parametrize("mode", [0o644, 0o600, 0o755, 0o400])
def test_a_file_that_only_its_owner_can_write_is_its_owners_word(folder: Path, mode: int) -> None:
    path = folder / "x.yaml"
    path.write_text("")
    path.chmod(mode)
    assert not fault_of_file(path)


@pytest.mark.parametrize(
    ("mode", "who", "remedy"),
    [
        (0o664, "its group", "g-w"),
        (0o620, "its group", "g-w"),
        (0o646, "everybody", "go-w"),
        (0o666, "everybody", "go-w"),
    ],
)
def test_a_file_that_others_can_write_is_told_with_path_mode_and_remedy(
    folder: Path, mode: int, who: str, remedy: str
) -> None:
    path = folder / "x.yaml"
    path.write_text("")
    path.chmod(mode)
    said = fault_of_file(path)
    assert f"{path} can be written by {who}" in said
    assert f"(mode {mode:04o})" in said
    assert f"chmod {remedy} {path}; umask 022" in said
    assert ("even a group of one" in said) == (who == "its group")


@as_root
def test_a_file_of_somebody_else_is_told_with_both_names(folder: Path) -> None:
    path = folder / "x.yaml"
    path.write_text("")
    os.chown(path, 65534, 65534)
    assert "belongs to nobody; only root may own it" in fault_of_file(path)
    assert not fault_of_file(path, None)
    assert not fault_of_file(path, frozenset({0, 65534}))


def test_the_folders_of_a_test_are_safe(folder: Path) -> None:
    assert not fault_of_folder(folder)


@pytest.mark.parametrize("which", ["a/b", "a"])
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_a_folder_above_that_others_can_write_is_at_fault(tmp_path: Path, folder: Path, which: str, mode: int) -> None:
    (tmp_path / which).chmod(mode)
    assert f"the folder {tmp_path / which} can be written by" in fault_of_folder(folder)


def test_a_sticky_folder_may_be_above_and_may_not_be_the_folder_itself(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "a").chmod(0o1777)
    assert not fault_of_folder(folder)
    folder.chmod(0o1777)
    assert f"the folder {folder} can be written by everybody" in fault_of_folder(folder)


@as_root
@pytest.mark.parametrize("sticky", [0, 0o1000])
def test_a_folder_above_of_somebody_else_is_at_fault_sticky_or_not(tmp_path: Path, folder: Path, sticky: int) -> None:
    (tmp_path / "a").chmod(0o755 | sticky)
    os.chown(tmp_path / "a", 65534, 65534)
    assert f"the folder {tmp_path / 'a'} belongs to nobody" in fault_of_folder(folder)


def test_a_link_is_followed_and_where_it_leads_is_looked_at(tmp_path: Path, folder: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "deep"
    elsewhere.mkdir(parents=True)
    (folder / "link").symlink_to("../../elsewhere/deep")
    assert not fault_of_folder(folder / "link")
    elsewhere.parent.chmod(0o777)
    assert f"the folder {elsewhere.parent} can be written" in fault_of_folder(folder / "link")


def test_where_a_link_lies_is_looked_at(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "safe").mkdir()
    (folder / "link").symlink_to(tmp_path / "safe")
    folder.chmod(0o777)
    assert f"the folder {folder} can be written" in fault_of_folder(folder / "link")


@as_root
def test_a_link_of_somebody_else_in_a_sticky_folder_is_at_fault(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "safe").mkdir()
    link = folder / "link"
    link.symlink_to(tmp_path / "safe")
    folder.chmod(0o1777)
    os.lchown(link, 65534, 65534)
    assert f"{link}, a link on the way, belongs to nobody" in fault_of_folder(link)


def test_a_circle_of_links_and_dots_end(tmp_path: Path, folder: Path) -> None:
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    assert "too many links" in fault_of_folder(folder / "one")
    assert not fault_of_folder(folder / ".." / "b")
    (tmp_path / "a").chmod(0o1777)
    assert "can be written by everybody" in fault_of_folder(folder / "..")


def test_a_folder_that_is_not_there_is_for_others_to_tell(folder: Path) -> None:
    assert not fault_of_folder(folder / "none")


def test_a_folder_is_looked_at_anew_each_time(folder: Path) -> None:
    for mode, safe in ((0o755, True), (0o777, False), (0o755, True)):
        folder.chmod(mode)
        assert (fault_of_folder(folder) == "") is safe
