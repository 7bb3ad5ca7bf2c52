"""The watcher over a real folder and real events."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyflowd.clock import SystemClock
from pyflowd.settling import FolderGone, Scan
from pyflowd.watcher import Watcher, list_folder

DEADLINE_S = 20.0


class Watched:
    """A folder, its watcher, and the newest thing it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.watcher = Watcher(str(folder), SystemClock())
        self.newest: Scan | FolderGone | None = None
        self.all: list[Scan | FolderGone] = []

    def wait(self, condition: Callable[[Scan | FolderGone], bool]) -> Scan | FolderGone:
        deadline = time.monotonic() + DEADLINE_S
        while self.newest is None or not condition(self.newest):
            left = deadline - time.monotonic()
            assert left > 0, f"not in time; last: {self.newest}"
            select.select([self.watcher], [], [], left)
            for found in self.watcher.receive():
                self.all.append(found)
                self.newest = found
        return self.newest

    def wait_for(self, *files: str) -> Scan:
        found = self.wait(lambda found: isinstance(found, Scan) and set(found.entries) == set(files))
        assert isinstance(found, Scan)
        return found


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    folder = tmp_path / "workflows"
    folder.mkdir()
    watched = Watched(folder)
    yield watched
    watched.watcher.stop()


def write(path: Path, text: str = "tasks: {a: {run: 'true'}}\n") -> None:
    path.write_text(text)


def test_what_is_there_at_the_start_is_told(watched: Watched) -> None:
    write(watched.folder / "a.yaml")
    watched.watcher.start()
    watched.wait_for("a.yaml")


def test_a_file_written_in_place_is_told(watched: Watched) -> None:
    watched.watcher.start()
    watched.wait_for()
    write(watched.folder / "a.yml")
    watched.wait_for("a.yml")


def test_a_file_renamed_into_place_is_told_without_having_settled_first(watched: Watched) -> None:
    watched.watcher.start()
    watched.wait_for()
    write(watched.folder / ".a.yaml.tmp")
    os.rename(watched.folder / ".a.yaml.tmp", watched.folder / "a.yaml")
    found = watched.wait_for("a.yaml")
    assert found.entries["a.yaml"].inode == os.stat(watched.folder / "a.yaml").st_ino


def test_a_new_version_has_a_new_signature(watched: Watched) -> None:
    write(watched.folder / "a.yaml")
    watched.watcher.start()
    first = watched.wait_for("a.yaml").entries["a.yaml"]
    write(watched.folder / "a.yaml", "tasks: {b: {run: 'false'}}\n")
    watched.wait(lambda found: isinstance(found, Scan) and found.entries.get("a.yaml") not in (None, first))


def test_a_file_that_is_kept_open_for_writing_is_not_told(watched: Watched) -> None:
    watched.watcher.start()
    watched.wait_for()
    with open(watched.folder / "half.yaml", "w") as half:
        half.write("tasks:\n")
        half.flush()
        write(watched.folder / "whole.yaml")
        watched.wait_for("whole.yaml")
        half.write("  a: {run: 'true'}\n")
    watched.wait_for("half.yaml", "whole.yaml")
    assert not any(
        "half.yaml" in f.entries and "whole.yaml" not in f.entries for f in watched.all if isinstance(f, Scan)
    )


def test_a_deleted_file_is_gone_from_the_next_scan(watched: Watched) -> None:
    write(watched.folder / "a.yaml")
    watched.watcher.start()
    watched.wait_for("a.yaml")
    os.unlink(watched.folder / "a.yaml")
    watched.wait_for()


def test_a_file_moved_aside_and_written_anew_never_goes(watched: Watched) -> None:
    path = watched.folder / "a.yaml"
    write(path)
    watched.watcher.start()
    first = watched.wait_for("a.yaml").entries["a.yaml"]
    watched.all.clear()
    os.rename(path, watched.folder / "a.yaml~")
    write(path, "tasks: {b: {run: 'false'}}\n")
    watched.wait(lambda found: isinstance(found, Scan) and found.entries.get("a.yaml") not in (None, first))
    assert all(isinstance(found, Scan) and "a.yaml" in found.entries for found in watched.all)


def test_the_missing_folder_is_told_and_so_is_its_return(watched: Watched) -> None:
    write(watched.folder / "a.yaml")
    watched.watcher.start()
    watched.wait_for("a.yaml")
    os.rename(watched.folder, watched.folder.with_name("elsewhere"))
    watched.watcher.rescan()
    watched.wait(lambda found: isinstance(found, FolderGone))
    watched.folder.mkdir()
    write(watched.folder / "b.yaml")
    watched.watcher.rescan()
    watched.wait(lambda found: isinstance(found, Scan) and "b.yaml" in found.entries)


def test_a_folder_that_was_replaced_is_watched_again(watched: Watched) -> None:
    watched.watcher.start()
    watched.wait_for()
    os.rename(watched.folder, watched.folder.with_name("elsewhere"))
    watched.folder.mkdir()
    watched.watcher.rescan()
    write(watched.folder / "a.yaml")
    watched.wait_for("a.yaml")
    write(watched.folder / "b.yaml")
    watched.wait_for("a.yaml", "b.yaml")


def test_stop_is_safe_twice_and_before_start(tmp_path: Path) -> None:
    watcher = Watcher(str(tmp_path), SystemClock())
    watcher.stop()
    watcher.start()
    watcher.stop()
    watcher.stop()


# ---- What counts as a definition ------------------------------------------------------------------------------------

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


@pytest.mark.parametrize(("name", "reason"), [("A.YAML", "capital"), ("a.yaml.d", "drop-in")])
def test_what_only_looks_like_a_definition_is_told(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).mkdir()
    assert reason in str(list_folder(str(tmp_path))[1][0])


def test_a_name_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.yaml", "w"):
        pass
    assert "not UTF-8" in str(list_folder(str(tmp_path))[1][0])
