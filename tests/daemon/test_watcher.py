"""The watcher over a real folder and real events."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyflowd.clock import SystemClock
from pyflowd.folder.loader_frames import Folders
from pyflowd.folder.settling import FolderGone, Scan
from pyflowd.folder.watcher import Watcher

DEADLINE_S = 20.0


class Watched:
    """A folder, its watcher, and the newest thing it said."""

    def __init__(self, folder: Path, vendor: str = "") -> None:
        self.folder = folder
        self.watcher = Watcher(Folders(str(folder), vendor), SystemClock())
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
    watcher = Watcher(Folders(str(tmp_path)), SystemClock())
    watcher.stop()
    watcher.start()
    watcher.stop()
    watcher.stop()


# ---- Templates, drop-ins, the vendor's -------------------------------------------------------------------------------


@pytest.fixture
def layered(tmp_path: Path) -> Iterator[Watched]:
    """With a folder of the vendor beside."""
    folder = tmp_path / "workflows"
    folder.mkdir()
    watched = Watched(folder, str(tmp_path / "vendor" / "workflows"))
    yield watched
    watched.watcher.stop()


def test_a_drop_in_is_noticed_in_a_folder_that_appears(layered: Watched) -> None:
    write(layered.folder / "a.yaml")
    layered.watcher.start()
    layered.wait_for("a.yaml")
    (layered.folder / "a.yaml.d").mkdir()
    write(layered.folder / "a.yaml.d" / "10.yaml")
    layered.wait_for("a.yaml", "a.yaml.d/10.yaml")


def test_a_drop_in_that_was_renamed_into_place_counts_at_once(layered: Watched) -> None:
    (layered.folder / "a.yaml.d").mkdir()
    write(layered.folder / "a.yaml")
    layered.watcher.start()
    layered.wait_for("a.yaml")
    write(layered.folder / "a.yaml.d" / ".10.yaml.tmp")
    os.rename(layered.folder / "a.yaml.d" / ".10.yaml.tmp", layered.folder / "a.yaml.d" / "10.yaml")
    layered.wait_for("a.yaml", "a.yaml.d/10.yaml")


def test_a_template_is_noticed_in_a_folder_that_appears(layered: Watched) -> None:
    layered.watcher.start()
    layered.wait_for()
    templates = layered.folder.parent / "templates"
    templates.mkdir()
    write(templates / "t.yaml")
    layered.wait_for("templates/t.yaml")
    write(templates / "u.yaml")
    layered.wait_for("templates/t.yaml", "templates/u.yaml")


def test_a_file_of_the_vendor_is_told_with_its_path(layered: Watched) -> None:
    vendor = layered.folder.parent / "vendor" / "workflows"
    vendor.mkdir(parents=True)
    layered.watcher.start()
    layered.wait_for()
    write(vendor / "v.yaml")
    layered.wait_for(f"{vendor}/v.yaml")


def test_a_change_deep_below_the_folder_is_none_of_ours(layered: Watched) -> None:
    deep = layered.folder / "notes" / "old"
    deep.mkdir(parents=True)
    layered.watcher.start()
    layered.wait_for()
    before = len(layered.all)
    write(deep / "a.yaml")
    write(layered.folder / "b.yaml")
    layered.wait_for("b.yaml")
    assert all("a.yaml" not in str(found) for found in layered.all[before:])
