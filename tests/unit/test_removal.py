"""Folders that tasks leave behind: any depth, any name, links out of them, and what cannot be removed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pyflowd.base.removal import remove_tree
from pyflowd.runtime.scratch import Scratch


def deep(folder: Path, levels: int) -> None:
    """Deeper than a recursion goes, and than a path can say."""
    make = f"for _ in range({levels}): open('f', 'w').close(); os.mkdir('x'); os.chdir('x')"
    subprocess.run([sys.executable, "-c", f"import os\n{make}"], check=True, cwd=folder)


def test_a_folder_without_an_end_is_removed(tmp_path: Path) -> None:
    scratch = Scratch(str(tmp_path), "secret")
    scratch.prepare(1, shared=False)
    deep(Path(scratch.work(1)), 3000)
    try:
        scratch.remove(1)
        assert not os.path.exists(scratch.run_folder(1))
    finally:
        subprocess.run(["rm", "-rf", scratch.run_folder(1)], check=True)  # pytest could not


def test_all_of_a_folder_goes_and_nothing_that_its_links_lead_to(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    top = tmp_path / "top"
    for name in ("a/b/c", "a/d", "e"):
        (top / name).mkdir(parents=True)
        (top / name / "file").touch()
    (top / "a" / "link").symlink_to(kept)
    (top / "link").symlink_to(kept / "file")
    os.mkfifo(top / "a" / "pipe")
    remove_tree(str(top))
    assert not top.exists()
    assert (kept / "file").exists()


def test_a_link_in_place_of_the_folder_and_one_that_is_not_there_are_let_be(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    (kept / "a").mkdir(parents=True)
    (tmp_path / "link").symlink_to(kept)
    remove_tree(str(tmp_path / "link"))
    remove_tree(str(tmp_path / "none"))
    assert (kept / "a").exists()
