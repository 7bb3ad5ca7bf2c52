"""A kept file on its way from the daemon's descriptor to where the command line says."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from pyflowctl import fetch as fetching
from pyflowctl.fetch import save
from pyflowctl.link import ClientError

DATA = os.urandom(3_000_000)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kept").write_bytes(DATA)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def fetch(tmp_path: Path, name: str = "dist", sha256: str = "", **options: str) -> None:
    digest = sha256 or hashlib.sha256(DATA).hexdigest()
    descriptors = [os.open(tmp_path / "kept", os.O_RDONLY)]
    given = {f"--{option}": value for option, value in options.items()}
    save(["artifact_open", 42, "build", name, len(DATA), digest], descriptors, given)
    assert not descriptors


def refusal(tmp_path: Path, **how: str) -> str:
    with pytest.raises(ClientError) as raised:
        fetch(tmp_path, **how)
    assert raised.value.exit_status == 6
    assert [name for name in os.listdir() if name.endswith(".part")] == []
    return str(raised.value)


def test_a_file_comes_whole_under_its_name(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fetch(tmp_path)
    assert Path("dist").read_bytes() == DATA
    assert os.listdir() == ["dist"]
    assert capfd.readouterr().out == f"dist: 2.9 MiB, SHA-256 {hashlib.sha256(DATA).hexdigest()}\n"


def test_a_file_goes_where_it_is_asked_to(tmp_path: Path) -> None:
    fetch(tmp_path, to="other.bin")
    assert Path("other.bin").read_bytes() == DATA


def test_a_file_goes_to_standard_output_and_nothing_else_does(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    fetch(tmp_path, to="-")
    assert capfdbinary.readouterr().out == DATA
    assert os.listdir() == []


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    Path("dist").write_text("mine")
    assert refusal(tmp_path) == "dist: it is there already; --force replaces it, --to names another"
    assert Path("dist").read_text() == "mine"


def test_a_file_that_comes_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "_compare", lambda *_: Path("dist").write_text("mine"))
    assert "it is there already" in refusal(tmp_path)
    assert Path("dist").read_text() == "mine"


def test_a_link_that_is_there_is_not_followed(tmp_path: Path) -> None:
    Path("dist").symlink_to(tmp_path / "nowhere")
    assert "it is there already" in refusal(tmp_path)
    assert not (tmp_path / "nowhere").exists()


def test_force_replaces_a_file(tmp_path: Path) -> None:
    Path("dist").write_text("mine")
    fetch(tmp_path, force="")
    assert Path("dist").read_bytes() == DATA


def test_a_folder_is_no_place(tmp_path: Path) -> None:
    Path("dist").mkdir()
    assert refusal(tmp_path, force="") == "dist: it is a folder; name a file in it"


def test_a_file_that_is_not_what_was_kept_is_not_there_afterwards(tmp_path: Path) -> None:
    assert "on record is 00: it was changed where it is kept" in refusal(tmp_path, sha256="00")
    assert os.listdir() == []


@pytest.mark.parametrize("name", ["../up", "/etc/x", "..", "."])
def test_a_name_of_the_daemons_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    assert "is no name for a file" in refusal(tmp_path, name=name)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    assert refusal(tmp_path, to="no/such/folder") == "no/such/folder: cannot be written: No such file or directory"


def test_a_new_file_has_the_rights_that_new_files_have(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        fetch(tmp_path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(os.stat("dist").st_mode) == 0o640


def test_a_frame_without_its_file_is_one_line() -> None:
    with pytest.raises(ClientError, match="does not know"):
        save(["artifact_open", 42, "build", "dist", 1, "00"], [], {})
