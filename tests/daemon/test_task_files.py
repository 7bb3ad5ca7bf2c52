"""Operations on files, run as the daemon runs them: what they do, what they refuse, what they leave behind: nothing."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import stat
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pyflowd.model.kinds import File
from pyflowd.task import lookup
from pyflowd.task.operation import Arguments
from tests.daemon import programs
from tests.daemon.programs import file, names
from tests.waiting import wait_until


def tree(folder: Path, **contents: str) -> None:
    for name, text in contents.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# ---- write, append, template ----------------------------------------------------------------------------------------


def test_a_written_file_has_the_text_and_says_its_sum(tmp_path: Path) -> None:
    ended = file(tmp_path, "write", "a.txt", text="hé\n", mode="0640")
    assert (tmp_path / "a.txt").read_text() == "hé\n"
    assert mode_of(tmp_path / "a.txt") == 0o640
    assert ended.outputs == {"path": "a.txt", "bytes": 4, "sha256": hashlib.sha256("hé\n".encode()).hexdigest()}


def test_a_replaced_file_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o604)
    assert file(tmp_path, "write", "a", text="new").status == 0
    assert (mode_of(tmp_path / "a"), (tmp_path / "a").read_text()) == (0o604, "new")


def test_a_file_is_not_replaced_against_the_wish(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    ended = file(tmp_path, "write", "a", text="new", overwrite=False)
    assert (ended.status, ended.message) == (1, "write: a is there already (overwrite: true replaces it)")
    assert (tmp_path / "a").read_text() == "old"


@pytest.mark.parametrize("operation", ["write", "append"])
def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path, operation: str) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    ended = file(tmp_path, operation, "link", text="new")
    assert "link is a symbolic link: name the file that it points to" in ended.message
    assert (tmp_path / "target").read_text() == "old"


def test_json_is_written_as_json(tmp_path: Path) -> None:
    file(tmp_path, "write", "a.json", json={"x": [1, "é"]})
    assert (tmp_path / "a.json").read_text() == '{\n  "x": [\n    1,\n    "é"\n  ]\n}\n'


def test_a_missing_folder_is_an_error_unless_it_is_to_be_made(tmp_path: Path) -> None:
    assert "parents: true makes it" in file(tmp_path, "write", "x/y/a", text="t").message
    assert file(tmp_path, "write", "x/y/a", text="t", parents=True).status == 0
    assert names(tmp_path) == ["x", "x/y", "x/y/a"]


def test_text_is_appended(tmp_path: Path) -> None:
    for text in ("one\n", "two\n"):
        assert file(tmp_path, "append", "log", text=text).status == 0
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


@pytest.mark.parametrize("operation", ["write", "append"])
def test_a_fifo_is_refused_at_once(tmp_path: Path, operation: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "FIFO" in file(tmp_path, operation, "fifo", text="x").message


def test_a_template_is_filled(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("host=$host port=${port} on=$on cost=$$1 list=$list\n")
    ended = file(tmp_path, "template", "t", to="out", values={"host": "a b", "port": 1, "on": True, "list": [1]})
    assert ended.status == 0
    assert (tmp_path / "out").read_text() == "host=a b port=1 on=true cost=$1 list=[1]\n"


@pytest.mark.parametrize(
    ("text", "message"), [("a\nb $nope", "t, line 2: there is no value for $nope"), ("a $ b", "invalid placeholder")]
)
def test_a_name_without_a_value_is_an_error_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t").write_text(text)
    assert message in file(tmp_path, "template", "t", to="out", values={}).message
    assert names(tmp_path) == ["t"]


# ---- copy, move -----------------------------------------------------------------------------------------------------


def test_a_copy_keeps_mode_and_time_but_no_setuid(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").chmod(0o4751)
    os.utime(tmp_path / "a", (1, 1))
    ended = file(tmp_path, "copy", "a", to="b")
    assert (mode_of(tmp_path / "b"), (tmp_path / "b").stat().st_mtime) == (0o751, 1)
    assert ended.outputs == {"files": ["b"], "count": 1, "bytes": 1, "path": "b"}


def test_what_matches_a_pattern_is_copied_into_a_folder(tmp_path: Path) -> None:
    tree(tmp_path, **{"a__1.csv": "1", "a__2.csv": "22", "a__note.txt": "", "a__b__3.csv": "3"})
    ended = file(tmp_path, "copy", "a/*.csv", to="out/", glob=True)
    assert ended.outputs == {"files": ["out/1.csv", "out/2.csv"], "count": 2, "bytes": 3}
    assert file(tmp_path, "copy", "a/**/*.csv", to="all/", glob=True).outputs["count"] == 3


def test_a_star_in_a_value_is_a_name(tmp_path: Path) -> None:
    tree(tmp_path, a="1", b="2")
    (tmp_path / "*").write_text("star")
    assert file(tmp_path, "delete", "*", glob=True).outputs["files"] == ["*"]
    assert file(tmp_path, "delete", "*").outputs["files"] == []
    assert names(tmp_path) == ["a", "b"]


def test_a_missing_source_is_an_error(tmp_path: Path) -> None:
    assert file(tmp_path, "copy", "no", to="b").message == "copy: no: no such file"
    assert "glob: true makes it a pattern" in file(tmp_path, "copy", "*.x", to="b/").message
    assert file(tmp_path, "copy", "*.x", to="b/", glob=True, required=False).outputs["count"] == 0


def test_two_files_that_would_become_one_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    tree(tmp_path, a__x="1", b__x="2")
    assert "would both become out/x" in file(tmp_path, "copy", ["a/x", "b/x"], to="out/").message
    assert not (tmp_path / "out" / "x").exists()


def test_a_file_is_not_copied_over_itself(tmp_path: Path) -> None:
    tree(tmp_path, a="1")
    (tmp_path / "hard").hardlink_to(tmp_path / "a")
    for to in ("a", "./a", "hard"):
        assert "same file" in file(tmp_path, "copy", "a", to=to).message


def test_a_folder_needs_to_be_asked_for(tmp_path: Path) -> None:
    tree(tmp_path, a__b__c="1", a__d="2")
    (tmp_path / "a" / "link").symlink_to("d")
    assert "recursive: true takes it" in file(tmp_path, "copy", "a", to="z").message
    assert file(tmp_path, "copy", "a", to="z", recursive=True).outputs["count"] == 3
    assert (tmp_path / "z" / "link").readlink() == Path("d")
    assert names(tmp_path / "z") == ["b", "b/c", "d", "link"]


def test_a_folder_is_merged_into_one_that_is_there(tmp_path: Path) -> None:
    tree(tmp_path, a__b__c="new", z__a__b__c="old", z__a__b__d="kept")
    assert file(tmp_path, "copy", "a", to="z", recursive=True).status == 0
    assert (tmp_path / "z/a/b/c").read_text() == "new"
    assert (tmp_path / "z/a/b/d").read_text() == "kept"


def test_a_merge_that_would_replace_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    tree(tmp_path, a__b="new", a__a="new", z__a__b="old")
    assert "z/a/b is there already" in file(tmp_path, "copy", "a", to="z", recursive=True, overwrite=False).message
    assert names(tmp_path / "z") == ["a", "a/b"]


def test_a_folder_cannot_be_copied_into_itself(tmp_path: Path) -> None:
    tree(tmp_path, a__b="1")
    assert "lies in a" in file(tmp_path, "copy", "a", to="a/c", recursive=True).message


def test_a_link_that_a_pattern_finds_is_copied_as_a_link(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "evil.csv").symlink_to("/etc/passwd")
    file(tmp_path, "copy", "in/*", to="out/", glob=True)
    assert (tmp_path / "out" / "evil.csv").is_symlink()


def test_a_link_that_is_named_is_followed(tmp_path: Path) -> None:
    tree(tmp_path, a="1")
    (tmp_path / "link").symlink_to("a")
    file(tmp_path, "copy", "link", to="b")
    assert not (tmp_path / "b").is_symlink()


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, **{f"a__{n}": "" for n in range(5)})
    assert "more than 4 files" in file(tmp_path, "copy", "a/*", to="b/", glob=True, max_files=4).message
    assert "more than 4 files" in file(tmp_path, "delete", "a", recursive=True, max_files=4).message


@pytest.mark.parametrize("recursive", [True, False])
def test_a_move_leaves_nothing_behind(tmp_path: Path, recursive: bool) -> None:
    tree(tmp_path, **({"a__b": "1"} if recursive else {"a": "1"}))
    assert file(tmp_path, "move", "a", to="z").outputs["count"] == 1
    assert names(tmp_path) == (["z", "z/b"] if recursive else ["z"])


@pytest.mark.skipif(not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat("/tmp").st_dev,
                    reason="no second file system")  # fmt: skip
def test_a_move_to_another_file_system_is_whole(tmp_path: Path) -> None:
    import tempfile

    tree(tmp_path, a__b__c="1", a__d="2")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        assert file(tmp_path, "move", "a", to=other + "/z").status == 0
        assert names(Path(other)) == ["z", "z/b", "z/b/c", "z/d"]
    assert names(tmp_path) == []


def test_a_move_does_not_replace_against_the_wish(tmp_path: Path) -> None:
    tree(tmp_path, a="new", b="old")
    assert file(tmp_path, "move", "a", to="b", overwrite=False).status == 1
    assert (tmp_path / "b").read_text() == "old"


# ---- delete, mkdir --------------------------------------------------------------------------------------------------


def test_deleting_what_is_not_there_is_no_error_unless_it_is_required(tmp_path: Path) -> None:
    assert file(tmp_path, "delete", "no").outputs == {"files": [], "count": 0, "bytes": 0}
    assert file(tmp_path, "delete", "no", required=True).status == 1


def test_a_link_is_deleted_and_not_what_it_points_to(tmp_path: Path) -> None:
    tree(tmp_path, a__b="1")
    (tmp_path / "link").symlink_to("a")
    file(tmp_path, "delete", "link", recursive=True)
    assert names(tmp_path) == ["a", "a/b"]


def test_only_what_is_old_enough_is_deleted(tmp_path: Path) -> None:
    tree(tmp_path, old="1", new="2")
    os.utime(tmp_path / "old", (time.time() - 90_000,) * 2)
    assert file(tmp_path, "delete", "*", glob=True, older_than=86_400.0).outputs["files"] == ["old"]


@pytest.mark.parametrize("path", ["/", ".", "../{name}", "{home}", "/proc", "//"])
def test_nobody_deletes_the_root_or_the_ground_they_stand_on(tmp_path: Path, path: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    operand = path.format(name=tmp_path.name, home=home)
    kind = File(operation="delete", arguments={"delete": operand, "recursive": True, "max_files": 3})
    ended = programs.run(kind, tmp_path, HOME=str(home))  # max_files: a broken guard must not cost us the host
    assert ended.status == 1
    assert "name what is to go below it" in ended.message
    assert home.is_dir()


def test_a_folder_that_is_there_is_no_error_for_mkdir(tmp_path: Path) -> None:
    for _ in range(2):
        assert file(tmp_path, "mkdir", ["a/b", "c"], mode="0700").status == 0
    assert mode_of(tmp_path / "a" / "b") == 0o700
    (tmp_path / "f").write_text("")
    assert "is no folder" in file(tmp_path, "mkdir", "f").message


# ---- list, read, checksum, wait_for ---------------------------------------------------------------------------------


def test_a_list_is_sorted_and_may_be_empty(tmp_path: Path) -> None:
    tree(tmp_path, b="1", a="2", d__x="")
    assert file(tmp_path, "list", "[a-z]*", glob=True, type="file").outputs["files"][:2] == ["a", "b"]
    assert file(tmp_path, "list", "?", glob=True, type="folder").outputs["files"] == ["d"]
    assert file(tmp_path, "list", "x*", glob=True).outputs == {"files": [], "count": 0, "bytes": 0}


def test_hidden_files_are_found_only_by_name(tmp_path: Path) -> None:
    tree(tmp_path, **{"d__.hidden": "", "d__seen": ""})
    assert file(tmp_path, "list", "d/*", glob=True).outputs["files"] == ["d/seen"]
    assert file(tmp_path, "list", "d/.*", glob=True).outputs["files"] == ["d/.hidden"]


def test_a_file_is_read_as_text_or_json(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('{"x": 1}')
    assert file(tmp_path, "read", "a").outputs == {"text": '{"x": 1}', "path": "a", "bytes": 8}
    assert file(tmp_path, "read", "a", format="json").outputs["json"] == {"x": 1}
    (tmp_path / "b").write_text("{\nx")
    assert "b, line 2: not JSON" in file(tmp_path, "read", "b", format="json").message
    (tmp_path / "c").write_bytes(b"\xff")
    assert "c: not UTF-8" in file(tmp_path, "read", "c").message
    (tmp_path / "d").write_bytes(b"x" * (1 << 20))
    assert "at most 1048576" in file(tmp_path, "read", "d").message


def test_a_checksum_is_compared_with_a_sum_or_a_file_of_sums(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    assert file(tmp_path, "checksum", "a").outputs["sha256"] == digest
    (tmp_path / "SUMS").write_text(f"{'0' * 64}  b\n{digest} *a\n")
    for expect in (digest, digest.upper(), "SUMS"):
        assert file(tmp_path, "checksum", "a", expect=expect).status == 0
    assert f"the checksum is {digest}, expected 000" in file(tmp_path, "checksum", "a", expect="0" * 64).message
    (tmp_path / "c").write_bytes(b"")
    assert "SUMS has no sum for c" in file(tmp_path, "checksum", "c", expect="SUMS").message


def test_a_file_that_comes_ends_the_waiting(tmp_path: Path) -> None:
    kind = File(operation="wait_for", arguments={"wait_for": "in/*.csv", "glob": True, "every": 0.02})
    program = programs.start(kind, tmp_path)
    tree(tmp_path, **{"in__a.csv": "1"})
    ended = programs.end(program, tmp_path)
    assert ended.outputs["files"] == ["in/a.csv"]


def test_waiting_in_vain_has_a_status_of_its_own(tmp_path: Path) -> None:
    ended = file(tmp_path, "wait_for", "x", timeout=0.05, every=0.01)
    assert (ended.status, ended.message) == (75, "wait_for: x: did not come within 0.05 s")


def test_waiting_for_absence_ends_when_the_file_is_gone(tmp_path: Path) -> None:
    assert file(tmp_path, "wait_for", "x", absent=True).status == 0
    (tmp_path / "x").write_text("")
    assert "still there" in file(tmp_path, "wait_for", "x", absent=True, timeout=0.05, every=0.01).message


class StandingTime:
    """Stands still but for sleeps; `on_sleep` is told the time after each, in seconds since the first."""

    def __init__(self, on_sleep: Callable[[float], object]) -> None:
        self._now_s = 0.0
        self._on_sleep = on_sleep

    def monotonic(self) -> float:
        return self._now_s

    def sleep(self, pause_s: float) -> None:
        self._now_s += pause_s
        self._on_sleep(self._now_s)


def test_a_file_that_still_grows_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    growing = tmp_path / "x"
    growing.write_text("")

    def grow(now_s: float) -> None:
        if growing.stat().st_size < 100:  # written again, it would have another time
            growing.write_text("x" * min(round(now_s * 10), 100))

    clock = StandingTime(grow)
    monkeypatch.setattr(lookup, "time", clock)
    arguments = {"wait_for": str(growing), "every": 0.4, "stable_for": 2.0}
    assert lookup.wait_for(Arguments(arguments))["waited_s"] == pytest.approx(12.0, abs=0.5)
    assert growing.stat().st_size == 100


# ---- archive, extract -----------------------------------------------------------------------------------------------

SUFFIXES = [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst", ".zip"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_gives_back_what_was_put_in(tmp_path: Path, suffix: str) -> None:
    tree(tmp_path, a__b__c="1" * 100_000, a__run="#!/bin/sh\n", a__empty="")
    (tmp_path / "a" / "run").chmod(0o755)
    (tmp_path / "a" / "é").mkdir()
    if suffix != ".zip":
        (tmp_path / "a" / "link").symlink_to("b/c")
        (tmp_path / "a" / "hard").hardlink_to(tmp_path / "a" / "run")
    packed = file(tmp_path, "archive", ["a"], to="x" + suffix)
    assert packed.status == 0, packed.stderr
    assert packed.outputs["sha256"] == hashlib.sha256((tmp_path / f"x{suffix}").read_bytes()).hexdigest()
    unpacked = file(tmp_path, "extract", "x" + suffix, to="out")
    assert unpacked.status == 0, unpacked.stderr
    assert names(tmp_path / "out" / "a") == names(tmp_path / "a")
    assert (tmp_path / "out/a/b/c").read_text() == "1" * 100_000
    assert mode_of(tmp_path / "out/a/run") == 0o755


def test_names_in_an_archive_begin_where_the_pattern_does(tmp_path: Path) -> None:
    tree(tmp_path, **{"d__a__x.log": "1", "d__b__x.log": "2", "d__b__tmp__y.log": "3"})
    file(tmp_path, "archive", ["d/**/*.log"], to="x.tar", glob=True, exclude=["tmp"])
    with tarfile.open(tmp_path / "x.tar") as tar:
        assert tar.getnames() == ["a/x.log", "b/x.log"]
    file(tmp_path, "archive", ["d/a", "d/b"], to="y.tar", root=".")
    with tarfile.open(tmp_path / "y.tar") as tar:
        assert "d/a/x.log" in tar.getnames()


def test_an_archive_cannot_contain_itself(tmp_path: Path) -> None:
    tree(tmp_path, **{"a__x": "1", "a__x.tar": "2"})
    assert "would contain itself" in file(tmp_path, "archive", "a", to="a/x.tar").message


def test_what_no_archive_can_hold_is_an_error(tmp_path: Path) -> None:
    tree(tmp_path, a__x="1")
    os.mkfifo(tmp_path / "a" / "fifo")
    assert "FIFO" in file(tmp_path, "archive", "a", to="x.tar").message
    assert file(tmp_path, "archive", "a", to="x.tar", exclude=["fifo"]).status == 0
    (tmp_path / "a" / "link").symlink_to("x")
    assert "symbolic link" in file(tmp_path, "archive", "a", to="x.zip", exclude="fifo").message


def test_without_zstd_the_message_says_what_to_do(tmp_path: Path) -> None:
    tree(tmp_path, a="1")
    kind = File(operation="archive", arguments={"archive": "a", "to": "x.tar.zst"})
    assert "install it, or use .tar.xz" in programs.run(kind, tmp_path, PATH="/nonexistent").message
    assert names(tmp_path) == ["a"]


Add = Callable[[tarfile.TarFile], None]


def member(name: str, kind: bytes = tarfile.REGTYPE, *, target: str = "", data: bytes = b"x", mode: int = 0o644) -> Add:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = kind, target, mode
        info.size = len(data) if kind == tarfile.REGTYPE else 0
        tar.addfile(info, io.BytesIO(data))

    return add


LINK, HARD, FOLDER = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


@pytest.mark.parametrize(
    "members",
    [
        [member("/abs")],
        [member("../up")],
        [member("a/../../up")],
        [member("l", LINK, target="/etc"), member("l/passwd")],
        [member("l", LINK, target="../..")],
        [member("a/l", LINK, target="../../x")],
        [member("d", FOLDER), member("l", LINK, target="d"), member("l/x")],
        [member("a", LINK, target="b/c"), member("b", LINK, target="d")],
        [member("h", HARD, target="/etc/passwd")],
        [member("h", HARD, target="../x")],
        [member("h", HARD, target="later"), member("later")],
        [member("l", LINK, target="f"), member("f"), member("h", HARD, target="l")],
        [member("dev", tarfile.CHRTYPE)],
        [member("fifo", tarfile.FIFOTYPE)],
        [member("twice"), member("twice", data=b"y")],
        [member("f"), member("f/x")],
        [member("n" * 300)],
        [member("")],
        [member(f"f{n}") for n in range(30)],
        [member("large", data=b"x" * 2000)],
    ],
)
def test_a_hostile_archive_is_refused_whole(tmp_path: Path, members: list[Add]) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        member("good")(tar)
        for add in members:
            add(tar)
    ended = file(tmp_path, "extract", "x.tar", to="out", max_files=20, max_bytes=1000)
    assert ended.status == 1, ended.stdout
    assert ended.message.startswith("extract: x.tar: ")
    assert names(tmp_path) == ["x.tar"]


@pytest.mark.parametrize("name", ["/abs", "../up", "a/../../up"])
def test_a_hostile_zip_is_refused_whole(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as pack:
        pack.writestr("good", "x")
        pack.writestr(name, "x")
    assert "may lead elsewhere" in file(tmp_path, "extract", "x.zip", to="out").message
    assert names(tmp_path) == ["x.zip"]


def test_a_link_in_a_zip_may_not_lead_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as pack:
        info = zipfile.ZipInfo("l")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        pack.writestr(info, "/etc")
    assert "is a link out of the archive" in file(tmp_path, "extract", "x.zip", to="out").message


def test_a_bomb_is_refused_without_being_unpacked(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        member("zeros", data=b"\0" * 50_000_000)(tar)
    assert "more than 1000000 bytes" in file(tmp_path, "extract", "x.tar.gz", to="out", max_bytes=1_000_000).message


def test_a_header_that_is_a_bomb_is_refused(tmp_path: Path) -> None:
    import gzip

    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 200_000_000
    with gzip.open(tmp_path / "x.tar.gz", "wb", compresslevel=1) as packed:
        packed.write(info.tobuf())
        packed.write(b"\0" * 100_000_000)
    assert "not plausible" in file(tmp_path, "extract", "x.tar.gz", to="out").message


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("cut", [10, 600, 5000])
def test_a_broken_archive_is_one_clear_line(tmp_path: Path, suffix: str, cut: int) -> None:
    (tmp_path / "a").write_bytes(os.urandom(20_000))
    file(tmp_path, "archive", "a", to="x" + suffix)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(path.read_bytes()[:cut])
    ended = file(tmp_path, "extract", path.name, to="out")
    assert ended.status == 1, ended.stdout
    assert "Traceback" not in ended.stderr
    assert names(tmp_path) == ["a", path.name]


def test_rights_that_an_archive_should_not_give_are_dropped(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        member("f", mode=0o6777)(tar)
    file(tmp_path, "extract", "x.tar", to="out")
    assert mode_of(tmp_path / "out" / "f") == 0o755


def test_what_is_there_is_merged_with_and_a_link_in_the_way_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        member("d/f", data=b"new")(tar)
    tree(tmp_path, out__d__f="old", out__d__kept="1")
    assert file(tmp_path, "extract", "x.tar", to="out").status == 0
    assert ((tmp_path / "out/d/f").read_text(), (tmp_path / "out/d/kept").read_text()) == ("new", "1")
    tree(tmp_path, elsewhere__f="safe")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "d").symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in file(tmp_path, "extract", "x.tar", to="linked").message
    assert (tmp_path / "elsewhere" / "f").read_text() == "safe"


# ---- Being stopped --------------------------------------------------------------------------------------------------


def test_sigterm_leaves_no_half_made_file_behind(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as large:
        large.truncate(4_000_000_000)  # a hole: no space, but long to read
    program = programs.start(File(operation="copy", arguments={"copy": "large", "to": "copy"}), tmp_path)

    def under_way() -> bool:
        assert program.poll() is None, program.communicate()
        return len(names(tmp_path)) == 2

    wait_until(under_way, "a file beside", programs.DEADLINE_S)
    program.send_signal(signal.SIGTERM)
    assert programs.end(program, tmp_path).status == -signal.SIGTERM
    assert names(tmp_path) == ["large"]


def test_a_value_of_the_wrong_type_is_said(tmp_path: Path) -> None:
    assert file(tmp_path, "write", ["a"], text="x").message == "write: write: expected a path, found a list"
    assert "a NUL" in file(tmp_path, "write", "a\0b", text="x").message
