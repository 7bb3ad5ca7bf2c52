"""Root restores and checks in folders of the daemon's account, which may have put links there; and whose files come out
of an archive that this account has made.
"""

from __future__ import annotations

import io
import os
import pwd
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyflowd.errors import Refused, Unavailable
from pyflowd.paths import Paths, below
from pyflowd.store.store import DATABASE, Store, lock
from pyflowd.upkeep import archive, members
from pyflowd.upkeep.owner import as_caller, as_owner_of
from pyflowd.upkeep.restore import Restored, restore
from tests.fakes import FakeClock

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another account")
DAEMON, AUTHOR = pwd.getpwnam("nobody"), pwd.getpwnam("games")
"""Whom the state belongs to, and somebody who writes definitions."""
DEFINITION = b"tasks: {a: {run: 'true'}}\n"


@pytest.fixture
def top() -> Iterator[Path]:
    """A folder that everybody may pass through, as those of the system are."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def paths(top: Path) -> Paths:
    found = below(str(top / "root"))
    for folder in (found.state, found.log):
        os.makedirs(folder)
        os.chown(folder, DAEMON.pw_uid, DAEMON.pw_gid)
        os.chmod(folder, 0o700)
    return found


def archived(top: Path, *config: tuple[str, str, int]) -> Path:
    """A backup of an empty store, with files of an administrator: member, owner, mode."""
    (top / "made").mkdir(mode=0o700)
    Store(str(top / "made")).close()
    target = top / "b.tar.gz"
    with target.open("w+b") as file:
        writer = archive.Writer(file)
        writer.add_file(members.STORE, str(top / "made" / DATABASE))
        for name, owner, mode in config:
            source = top / "made" / "config"
            source.write_bytes(DEFINITION)
            source.chmod(mode)
            if owner.isdecimal():
                os.chown(source, int(owner), -1)
            else:
                os.chown(source, pwd.getpwnam(owner).pw_uid, -1)
            writer.add_file(name, str(source))
        writer.finish(archive.Manifest(schema=1, members=dict(writer.members)))
    return target


def put_back(file: Path, paths: Paths) -> Restored:
    with file.open("rb") as source:
        return restore(source, paths, FakeClock(), force=True)


def owner_and_mode(path: str) -> tuple[str, int]:
    status = os.lstat(path)
    return pwd.getpwuid(status.st_uid).pw_name, stat.S_IMODE(status.st_mode)


@pytest.fixture
def victim(top: Path) -> Path:
    found = top / "shadow"
    found.write_text("root:*:\n")
    found.chmod(0o600)
    return found


def untouched(victim: Path) -> bool:
    return (victim.read_text(), *owner_and_mode(str(victim))) == ("root:*:\n", "root", 0o600)


# ---- Links in the daemon's folders


def test_a_link_in_place_of_the_lock_is_followed_by_nobody(paths: Paths, victim: Path) -> None:
    os.symlink(victim, f"{paths.state}/lock")
    Path(paths.state, DATABASE).touch()
    done = fsck(paths)
    assert (done.returncode, "state/lock" in done.stderr) == (6, True), done
    with pytest.raises(OSError, match="lock"):
        lock(paths.state)
    assert untouched(victim)


def fsck(paths: Paths) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pyflowctl", "--root", str(paths.root), "fsck"], capture_output=True, text=True
    )


def test_root_checks_as_the_account_that_the_state_belongs_to(paths: Paths, victim: Path) -> None:
    with as_owner_of(paths.state):
        Store(paths.state).close()
    assert fsck(paths).returncode == 0
    assert {os.lstat(f"{paths.state}/{name}").st_uid for name in os.listdir(paths.state)} == {DAEMON.pw_uid}
    os.unlink(f"{paths.state}/{DATABASE}")
    os.symlink(victim, f"{paths.state}/{DATABASE}")
    assert fsck(paths).returncode == 6, "it may not read that"


def test_root_restores_as_the_account_that_the_state_belongs_to(paths: Paths, top: Path, victim: Path) -> None:
    for name in (DATABASE, f"{DATABASE}-wal", "secrets.store", "artifacts"):
        os.symlink(victim, f"{paths.state}/{name}")
    put_back(archived(top), paths)
    assert untouched(victim)
    assert owner_and_mode(f"{paths.state}/{DATABASE}") == ("nobody", 0o600)
    assert os.geteuid() == os.getegid() == 0


def test_rights_are_those_of_the_owner_within_and_come_back(paths: Paths, victim: Path) -> None:
    before = os.getgroups()
    with as_owner_of(paths.state):
        with pytest.raises(PermissionError):
            victim.read_text()
        assert os.getgroups() == [DAEMON.pw_gid]
        with as_caller():
            assert victim.read_text()
        assert (os.geteuid(), os.getegid()) == (DAEMON.pw_uid, DAEMON.pw_gid)
    assert (os.geteuid(), os.getegid(), os.getgroups()) == (0, 0, before)


def test_root_is_no_daemon_in_somebody_elses_folders(paths: Paths) -> None:
    from pyflowd.daemon import _make_folders

    with pytest.raises(Unavailable, match="belongs to nobody; run pyflowd as nobody, not as root"):
        _make_folders(paths)


# ---- Whose files come out of an archive


def test_what_was_roots_is_the_daemons_until_root_has_read_it(paths: Paths, top: Path) -> None:
    file = archived(top, ("settings/keeper.yaml", "root", 0o644), ("workflows/w.yaml", "root", 0o640))
    done = put_back(file, paths).config
    assert done.written == done.unconfirmed == [f"{paths.root}/keeper.yaml", f"{paths.workflows}/w.yaml"]
    assert owner_and_mode(f"{paths.root}/keeper.yaml") == ("nobody", 0o644)
    assert owner_and_mode(f"{paths.workflows}/w.yaml") == ("nobody", 0o640)


def test_a_file_gets_its_owner_again_and_never_another_one(paths: Paths, top: Path) -> None:
    file = archived(
        top, ("workflows/own.yaml", AUTHOR.pw_name, 0o755), ("workflows/of-nobody-here.yaml", "54321", 0o644)
    )
    done = put_back(file, paths).config
    assert owner_and_mode(f"{paths.workflows}/own.yaml") == (AUTHOR.pw_name, 0o755)
    assert (done.ownerless, done.unconfirmed) == ([f"{paths.workflows}/of-nobody-here.yaml"], [])
    assert not os.path.lexists(f"{paths.workflows}/of-nobody-here.yaml")


@pytest.mark.parametrize("mode", [0o4755, 0o6777, 0o2775, 0o1757])
def test_nobody_else_may_write_what_is_restored_and_nothing_is_set_user_id(paths: Paths, top: Path, mode: int) -> None:
    put_back(archived(top, ("workflows/w.yaml", "games", mode)), paths)
    assert owner_and_mode(f"{paths.workflows}/w.yaml") == ("games", 0o755)


def test_no_link_below_the_workflows_folder_is_followed(paths: Paths, top: Path) -> None:
    elsewhere = top / "profile.d"
    elsewhere.mkdir()
    os.mkdir(paths.workflows)
    os.symlink(elsewhere, f"{paths.workflows}/w.yaml.d")
    with pytest.raises(OSError, match="Not a directory"):
        put_back(archived(top, ("workflows/w.yaml.d/10.sh", "games", 0o644)), paths)
    assert not list(elsewhere.iterdir())


def test_folders_are_made_that_the_daemon_may_enter(paths: Paths, top: Path) -> None:
    before = os.umask(0o077)  # as the command has it
    try:
        put_back(archived(top, ("workflows/w.yaml.d/10.yaml", "root", 0o644)), paths)
    finally:
        os.umask(before)
    assert owner_and_mode(f"{paths.workflows}/w.yaml.d") == ("root", 0o755)
    assert owner_and_mode(paths.workflows) == ("root", 0o755)


def test_a_pipe_in_place_of_a_file_is_another_one_and_nobody_waits_for_it(paths: Paths, top: Path) -> None:
    os.mkdir(paths.workflows)
    os.mkfifo(f"{paths.workflows}/w.yaml")
    assert put_back(archived(top, ("workflows/w.yaml", "root", 0o644)), paths).config.kept


# ---- Archives that nobody has made by `backup`


def test_a_file_of_the_administrator_that_is_too_large_is_refused(paths: Paths, top: Path) -> None:
    file = top / "large.tar.gz"
    source = top / "large"
    with source.open("wb") as made:
        made.truncate(17 << 20)
    with file.open("w+b") as target:
        writer = archive.Writer(target)
        writer.add_file("workflows/w.yaml", str(source))
        writer.finish(archive.Manifest(members=dict(writer.members)))
    with pytest.raises(Refused, match="more than such a file may have"):
        put_back(file, paths)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_what_is_no_plain_file_is_refused(paths: Paths, top: Path, kind: bytes) -> None:
    file = top / "evil.tar.gz"
    with tarfile.open(file, mode="w:gz") as tar:
        head = tarfile.TarInfo("workflows/w.yaml")
        head.type, head.linkname = kind, "/etc/shadow"
        tar.addfile(head)
    with pytest.raises(Refused, match="no place in a backup"):
        put_back(file, paths)


def test_a_sparse_file_of_an_exabyte_is_refused_before_it_is_read(paths: Paths, top: Path) -> None:
    file = top / "sparse.tar.gz"
    with tarfile.open(file, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        head = tarfile.TarInfo("state/pyflow.db")
        head.size = 1024
        head.pax_headers = {
            "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,1024",
            "GNU.sparse.size": str(1 << 60),
        }  # fmt: skip
        tar.addfile(head, io.BytesIO(bytes(1024)))
    with pytest.raises(Refused, match="no place in a backup"):
        put_back(file, paths)
