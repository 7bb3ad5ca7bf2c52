"""Writing a file of the workflows folder: whole or not at all, and never over what somebody else wrote."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pyflowd.errors import PyflowError, Refused, Unavailable
from pyflowd.folder import saving
from pyflowd.folder.saving import digest_of, look, write

OLD, NEW = b"tasks: {a: {run: old}}\n", b"tasks: {a: {run: new}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "workflows"
    found.mkdir(mode=0o755)
    (found / "w.yaml").write_bytes(OLD)
    (found / "w.yaml").chmod(0o644)
    return found


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_new_file_is_there_whole_and_nothing_beside_it(folder: Path) -> None:
    write(str(folder), "new.json", NEW, "")
    assert (folder / "new.json").read_bytes() == NEW
    assert names(folder) == ["new.json", "w.yaml"]
    assert (folder / "new.json").stat().st_mode & 0o777 == saving.NEW_MODE


def test_a_file_that_is_changed_keeps_its_mode(folder: Path) -> None:
    (folder / "w.yaml").chmod(0o604)
    write(str(folder), "w.yaml", NEW, digest_of(OLD))
    assert (folder / "w.yaml").read_bytes() == NEW
    assert (folder / "w.yaml").stat().st_mode & 0o7777 == 0o604
    assert names(folder) == ["w.yaml"]


@pytest.mark.parametrize(
    "file",
    [
        "", ".", "..", "/etc/x.yaml", "../x.yaml", "a/b.yaml", ".x.yaml", "#x.yaml", "~x.yaml", "x", "x.txt", "x.YAML",
        ".yaml", "x.yaml\n", "x\n.yaml", "x.yaml\0", "é.yaml", "x y.yaml", "-x.yaml", "x" * 64 + ".yaml", "\udc80.yaml",
    ],
)  # fmt: skip
def test_only_a_plain_name_of_a_definition_is_taken(folder: Path, file: str) -> None:
    for act in (lambda: write(str(folder), file, NEW, ""), lambda: look(str(folder), file)):
        with pytest.raises(Refused, match="cannot be the name of a file") as raised:
            act()
        assert "\n" not in str(raised.value)
    assert names(folder) == ["w.yaml"]


def test_what_was_changed_since_it_was_read_is_not_overwritten(folder: Path) -> None:
    with pytest.raises(Refused, match=r"w\.yaml has been changed since it was read \(SHA-256 [0-9a-f]{12}\)"):
        write(str(folder), "w.yaml", NEW, digest_of(b"another text"))
    with pytest.raises(Refused, match="is there already"):
        write(str(folder), "w.yaml", NEW, "")
    with pytest.raises(Refused, match="is gone since it was read"):
        write(str(folder), "gone.yaml", NEW, digest_of(OLD))
    assert (folder / "w.yaml").read_bytes() == OLD
    assert names(folder) == ["w.yaml"]


def just_before_it_is_put(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Somebody else does something in the instant between the last look and the exchange."""
    rename = saving._rename

    def renamed(*arguments: object) -> bool:
        monkeypatch.setattr(saving, "_rename", rename)
        act()
        return rename(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(saving, "_rename", renamed)


@pytest.mark.parametrize("how", ["in place", "by a rename", "by a link"])
def test_what_somebody_writes_in_the_last_instant_stays(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    theirs = b"tasks: {a: {run: theirs}}\n"
    other = tmp_path / "other.yaml"
    other.write_bytes(theirs)

    def change() -> None:
        if how == "in place":
            (folder / "w.yaml").write_bytes(theirs)
        elif how == "by a rename":
            other.rename(folder / "w.yaml")
        else:
            (folder / "w.yaml").unlink()
            (folder / "w.yaml").symlink_to(other)

    just_before_it_is_put(monkeypatch, change)
    with pytest.raises(Refused, match="has been changed while it was saved"):
        write(str(folder), "w.yaml", NEW, digest_of(OLD))
    assert (folder / "w.yaml").read_bytes() == theirs
    assert (folder / "w.yaml").is_symlink() == (how == "by a link")
    assert names(folder) == ["w.yaml"]


def test_a_new_file_that_comes_to_be_in_the_last_instant_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    just_before_it_is_put(monkeypatch, lambda: (folder / "new.yaml").write_bytes(b"theirs"))
    with pytest.raises(Refused, match="has come to be meanwhile"):
        write(str(folder), "new.yaml", NEW, "")
    assert (folder / "new.yaml").read_bytes() == b"theirs"
    assert names(folder) == ["new.yaml", "w.yaml"]


def test_a_file_that_goes_in_the_last_instant_is_not_made_anew(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    just_before_it_is_put(monkeypatch, (folder / "w.yaml").unlink)
    with pytest.raises(Refused, match="is gone since it was read"):
        write(str(folder), "w.yaml", NEW, digest_of(OLD))
    assert names(folder) == []


def test_where_names_cannot_be_exchanged_a_file_is_replaced_and_a_new_one_still_never(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving.ctypes, "CDLL", lambda *_, **__: object())
    write(str(folder), "w.yaml", NEW, digest_of(OLD))
    write(str(folder), "new.yaml", NEW, "")
    assert (folder / "w.yaml").read_bytes() == (folder / "new.yaml").read_bytes() == NEW
    just_before_it_is_put(monkeypatch, lambda: (folder / "other.yaml").write_bytes(b"theirs"))
    with pytest.raises(Refused, match="has come to be meanwhile"):
        write(str(folder), "other.yaml", NEW, "")
    assert (folder / "other.yaml").read_bytes() == b"theirs"
    assert names(folder) == ["new.yaml", "other.yaml", "w.yaml"]


def test_no_link_is_followed(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.yaml"
    target.write_bytes(OLD)
    (folder / "link.yaml").symlink_to(target)
    (folder / "masked.yaml").symlink_to("/dev/null")
    os.mkfifo(folder / "pipe.yaml")
    (folder / "inner.yaml").mkdir()
    for file in ("link.yaml", "masked.yaml", "pipe.yaml", "inner.yaml"):
        there = look(str(folder), file)
        assert there.text is None
        assert there.fault
        with pytest.raises(Refused, match=file):
            write(str(folder), file, NEW, "")
    assert target.read_bytes() == OLD
    assert (folder / "link.yaml").is_symlink()


def test_a_file_with_a_second_name_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "second.yaml").hardlink_to(folder / "w.yaml")
    with pytest.raises(Refused, match="hard link"):
        write(str(folder), "w.yaml", NEW, digest_of(OLD))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_account_is_not_replaced_as_its_tasks_would_run_as_another(folder: Path) -> None:
    os.chown(folder / "w.yaml", 1, 1)
    there = look(str(folder), "w.yaml")
    assert there.text == OLD
    assert "w.yaml belongs to daemon; saved from here it would belong to root, who decides as whom" in there.fault
    with pytest.raises(Refused, match=r"chown root .*w\.yaml, if that is meant"):
        write(str(folder), "w.yaml", NEW, digest_of(OLD))
    assert (folder / "w.yaml").stat().st_uid == 1
    assert (folder / "w.yaml").read_bytes() == OLD


def test_a_folder_that_others_can_write_to_is_not_written(folder: Path) -> None:
    folder.chmod(0o777)
    with pytest.raises(Refused, match=r"nothing in .* is read: the folder .* can be written by everybody"):
        write(str(folder), "w.yaml", NEW, digest_of(OLD))
    folder.chmod(0o755)
    (folder / "w.yaml").chmod(0o666)
    with pytest.raises(Refused, match=r"w\.yaml can be written by everybody"):
        write(str(folder), "w.yaml", NEW, digest_of(OLD))
    assert (folder / "w.yaml").read_bytes() == OLD


@pytest.mark.parametrize(
    ("call", "number", "kind"),
    [
        ("write", errno.ENOSPC, Unavailable),
        ("fsync", errno.EDQUOT, Unavailable),
        ("fsync", errno.EIO, Refused),
        ("fchmod", errno.EPERM, Refused),
    ],
)
def test_a_disk_that_is_full_or_broken_leaves_all_as_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, kind: type[PyflowError]
) -> None:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(saving.os, call, fail)
    with pytest.raises(kind) as raised:
        write(str(folder), "w.yaml", NEW, digest_of(OLD))
    assert "w.yaml is as it was" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert (folder / "w.yaml").read_bytes() == OLD
    assert names(folder) == ["w.yaml"]


def test_a_write_that_takes_less_than_all_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(saving.os, "write", lambda descriptor, data: real(descriptor, bytes(data)[:3]))
    write(str(folder), "w.yaml", NEW, digest_of(OLD))
    assert (folder / "w.yaml").read_bytes() == NEW
