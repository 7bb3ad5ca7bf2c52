"""Where tasks of root's give their outputs on: nobody else gets there before the end, and no link is handed over."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from pyflowd.keeper.credentials import remove_tree
from pyflowd.keeper.outputs import Outputs

READER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to others")


def made(outputs: Outputs, attempt: str = "a") -> Path:
    (told,) = outputs.prepare(attempt)
    name, _, path = told.partition(b"=")
    assert name == b"PYFLOW_OUTPUT"
    return Path(os.fsdecode(path))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_keeper_of_the_daemons_own_account_makes_none(tmp_path: Path) -> None:
    outputs = Outputs(str(tmp_path), 0)
    assert outputs.prepare("a") == []
    outputs.hand_over("a")
    outputs.remove("a")
    assert not list(tmp_path.iterdir())


@as_root
def test_what_was_written_is_the_readers_with_the_end_and_gone_with_the_acknowledgement(tmp_path: Path) -> None:
    outputs = Outputs(str(tmp_path), READER)
    path = made(outputs)
    assert (mode(path.parent), path.parent.stat().st_uid) == (0o700, 0)
    path.write_text("a=1\n")
    error = path.with_name("output.error")
    error.write_text("why\n")
    error.chmod(0o600)
    outputs.hand_over("a")
    for each in (path, error):
        assert (mode(each), each.stat().st_uid) == (0o400, READER)
    assert (mode(path.parent), path.parent.stat().st_uid) == (0o711, 0), "nobody but root makes anything there"
    outputs.remove("a")
    assert not path.parent.exists()


@as_root
@pytest.mark.parametrize("how", ["link", "hard link", "pipe"])
def test_what_is_no_file_of_its_own_is_not_handed_over(tmp_path: Path, how: str) -> None:
    outputs = Outputs(str(tmp_path), READER)
    path = made(outputs)
    secret = tmp_path / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    if how == "link":
        path.symlink_to(secret)
    elif how == "hard link":
        path.hardlink_to(secret)
    else:
        os.mkfifo(path)
    outputs.hand_over("a")
    assert (mode(secret), secret.stat().st_uid) == (0o600, 0)


@as_root
def test_a_next_keeper_keeps_what_is_still_to_be_read(tmp_path: Path) -> None:
    outputs = Outputs(str(tmp_path), READER)
    paths = [made(outputs, name) for name in ("a", "b")]
    after = Outputs(str(tmp_path), READER)
    after.keep_only({"b"})
    assert [path.parent.exists() for path in paths] == [False, True]
    after.hand_over("b")
    after.remove("b")
    assert not paths[1].parent.exists()


def test_folders_without_an_end_do_not_stop_the_keeper(tmp_path: Path) -> None:
    top = tmp_path / "a"
    top.mkdir()
    here = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(1500):
        os.mkdir("x", dir_fd=here)
        above, here = here, os.open("x", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(above)
    os.close(here)
    try:
        remove_tree(str(tmp_path), "a")
        assert top.exists(), "what cannot be removed stays"
    finally:
        subprocess.run(["rm", "-r", top], check=True)  # pytest could not
