"""Backup, restore and checks of a store: what comes back is what was there, or it is said; nothing is done twice."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from pyflowd.clock import US
from pyflowd.errors import PyflowError, Refused, Unavailable
from pyflowd.events import BackupMade, RunCreated
from pyflowd.model.triggers import Schedule
from pyflowd.paths import Paths, below
from pyflowd.protocol.views_host import BackupView, StoreCheckView
from pyflowd.store import mark
from pyflowd.store.batch import RunMeta
from pyflowd.store.snapshot import Snapshot
from pyflowd.store.store import DATABASE, Store, StoreError
from pyflowd.upkeep import archive, backup, host, restore
from pyflowd.upkeep.check import check
from tests.fakes import FakeClock
from tests.unit.test_store import WORKFLOW, Host

TEXT = b"text"
DIGEST = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1"
"""SHA-256 of TEXT."""


class Told(Host):
    """As the other, with a definition whose digest is true."""

    def install(self) -> None:
        self.workflows.put("w", "w.yaml", DIGEST, TEXT, msgspec.msgpack.encode(WORKFLOW))
        self.commit()

    def queued(self) -> None:
        """A run that waits."""
        meta = RunMeta(run=self.runs.next_run(), workflow="w", digest=DIGEST, trigger="manual", created_us=1)
        self.runs.create(meta, WORKFLOW, RunCreated(1))

    def begin(self) -> Any:
        meta = RunMeta(
            run=self.runs.next_run(), workflow="w", digest=DIGEST, trigger="manual", created_us=self.clock.wall_us()
        )
        live = self.runs.create(meta, WORKFLOW, RunCreated(meta.created_us))
        self.runs.start(live)
        self.runs.fill("epoch")
        return live


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return below(str(tmp_path / "root"))


@pytest.fixture
def told(paths: Paths) -> Iterator[Told]:
    """Two runs that have ended, one that runs, one that waits; workflows, settings, secrets and logs beside."""
    root = Path(paths.root or "")
    root.mkdir()
    made = Told(root)
    made.install()
    for _ in range(2):
        made.end(made.begin(), 0)
    made.begin()
    made.queued()
    made.commit()
    for name, text in (
        ("workflows/w.yaml", "tasks: {a: {run: 'true'}}\n"), ("pyflowd.yaml", "max_tasks: 3\n"),
        ("state/secrets.store", "sealed"), ("secrets.key", "the key"), ("log/000000/1/a.1.log", "said"),
        ("log/000000/1/a.1.idx", "index"),
    ):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    yield made
    made.store.close()


def made_of(told: Told, paths: Paths, *, with_logs: bool = False) -> tuple[Path, BackupView]:
    told.store.close()
    target = Path(paths.root or "").parent / "b.tar.gz"
    with target.open("w+b") as file:
        made = backup.make(paths, file, FakeClock(), with_logs=with_logs)
    return target, made


def put_back(archived: Path, where: Paths, *, force: bool = False) -> restore.Restored:
    with archived.open("rb") as file:
        return restore.restore(file, where, FakeClock(), force=force)


def checked(where: Paths) -> StoreCheckView:
    with Snapshot(where.state) as snapshot:
        return check(snapshot, where)


def rows(where: Paths, sql: str) -> list[Any]:
    connection = apsw.Connection(os.path.join(where.state, DATABASE), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


# ---- Backup


def test_a_backup_holds_the_store_and_what_an_administrator_wrote_and_no_key(told: Told, paths: Paths) -> None:
    archived, made = made_of(told, paths)
    assert (made.runs, made.findings, made.left_out, made.has_secrets) == (4, [], [], True)
    with tarfile.open(archived) as tar:
        names = tar.getnames()
        assert b"the key" not in b"".join(tar.extractfile(name).read() for name in names)  # type: ignore[union-attr]
    assert names == [
        "state/pyflow.db",
        "settings/pyflowd.yaml",
        "workflows/w.yaml",
        "state/secrets.store",
        archive.MANIFEST,
    ]


def test_logs_are_in_it_where_they_are_asked_for(told: Told, paths: Paths) -> None:
    archived, _ = made_of(told, paths, with_logs=True)
    with tarfile.open(archived) as tar:
        assert {"log/000000/1/a.1.log", "log/000000/1/a.1.idx"} <= set(tar.getnames())


def test_nothing_is_left_in_the_state_folder(told: Told, paths: Paths) -> None:
    (Path(paths.state) / "backup-left-over").mkdir()
    before = set(os.listdir(paths.state)) - {"backup-left-over"}
    made_of(told, paths)
    assert {name for name in os.listdir(paths.state) if not name.startswith("pyflow.db-")} == {
        name for name in before if not name.startswith("pyflow.db-")
    }


def test_a_store_whose_rows_are_not_the_fold_of_its_events_is_told_by_its_backup(told: Told, paths: Paths) -> None:
    told.store.close()
    plant(paths, "UPDATE run SET state = 'failed' WHERE run = 1")
    _, made = made_of(told, paths)
    assert any("run 1: its state" in finding for finding in made.findings)


def test_a_disk_without_room_for_it_is_told_before(told: Told, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "SPARE_BYTES", 1 << 60)
    with pytest.raises(Unavailable, match="a backup needs"):
        made_of(told, paths)


# ---- Archives


def packed(*members: tuple[str, bytes], finish: bool = True) -> io.BytesIO:
    file = io.BytesIO()
    with archive_folder() as folder:
        writer = archive.Writer(file)
        for number, (name, data) in enumerate(members):
            path = os.path.join(folder, str(number))
            Path(path).write_bytes(data)
            assert writer.add_file(name, path)
        if finish:
            writer.finish(archive.Manifest(members=dict(writer.members)))
    file.seek(0)
    return file


def said_otherwise(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> io.BytesIO:
    """An archive whose manifest says this of its member; a field that is None is left out."""
    member = {"size_bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest(), **fields}
    line = {name: value for name, value in member.items() if value is not None}
    monkeypatch.setattr(archive.msgspec.json, "encode", lambda _: json.dumps({"members": {"a": line}}).encode())
    return packed(("a", b"x"))


@pytest.mark.parametrize("fields", [{}, {"mode": 0o644}, {"of_a_later_version": 7}])
def test_of_a_manifest_what_it_says_is_compared_and_no_more(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    manifest = archive.unpack(said_otherwise(monkeypatch, **fields), lambda _: None)
    assert (manifest.members["a"].size_bytes, manifest.members["a"].mode) == (1, 0o644)


@pytest.mark.parametrize("fields", [{"mode": 0o600}, {"owner": "nobody-else"}, {"size_bytes": 2}, {"sha256": "0"}])
def test_what_a_manifest_says_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="a is not what the manifest says"):
        archive.unpack(said_otherwise(monkeypatch, **fields), lambda _: None)


def archive_folder() -> Any:
    import tempfile

    return tempfile.TemporaryDirectory()


def test_what_is_unpacked_is_what_was_packed_with_its_holes(tmp_path: Path) -> None:
    data = b"head" + bytes(8 << 20) + b"tail" + bytes(100)
    archive.unpack(packed(("log/000000/1/a.1.log", data)), lambda _: str(tmp_path / "out" / "a"))
    found = tmp_path / "out" / "a"
    assert found.read_bytes() == data
    assert found.stat().st_blocks * 512 < len(data) / 2, "zeros were written"
    assert found.stat().st_mode & 0o777 == 0o600


def test_an_archive_that_was_cut_short_anywhere_is_refused() -> None:
    whole = packed(("state/pyflow.db", os.urandom(5000)), ("pyflowd.yaml", b"x")).getvalue()
    for length in range(0, len(whole) - 1, 97):
        with pytest.raises(Refused):
            archive.unpack(io.BytesIO(whole[:length]), lambda _: None)


def test_an_archive_with_a_changed_byte_is_refused_or_says_the_same() -> None:
    whole = packed(("state/pyflow.db", os.urandom(3000))).getvalue()
    manifest = archive.unpack(io.BytesIO(whole), lambda _: None)
    refused = 0
    for at in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[at] ^= 0x41
        try:
            assert archive.unpack(io.BytesIO(bytes(changed)), lambda _: None) == manifest  # in the head of gzip, say
        except Refused:
            refused += 1
    assert refused > len(whole) // 7 * 0.9


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/passwd", "state/../../evil", "state/", "other/x", "state//x", "workflows/./x", "settings/evil"],
)
def test_a_member_that_would_leave_its_place_is_refused(paths: Paths, name: str, tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        head = tarfile.TarInfo(name)
        head.size = 1
        tar.addfile(head, io.BytesIO(b"x"))
    archived = tmp_path / "evil.tar.gz"
    archived.write_bytes(file.getvalue())
    with pytest.raises(Refused):
        put_back(archived, paths)
    assert not list(tmp_path.rglob("evil"))


def test_a_link_in_an_archive_is_refused(paths: Paths, tmp_path: Path) -> None:
    archived = tmp_path / "evil.tar.gz"
    with tarfile.open(archived, mode="w:gz") as tar:
        head = tarfile.TarInfo("state/pyflow.db")
        head.type, head.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(head)
    with pytest.raises(Refused, match="no place in a backup"):
        put_back(archived, paths)


# ---- Restore


def test_a_restored_store_is_whole_and_has_the_same_runs(told: Told, paths: Paths, tmp_path: Path) -> None:
    archived, _ = made_of(told, paths, with_logs=True)
    other = below(str(tmp_path / "other"))
    done = put_back(archived, other)
    assert (done.manifest.runs, done.runs_ended, done.aside, done.config.kept) == (4, 2, "", [])
    assert sorted(os.listdir(other.state)) == ["instance", "lock", DATABASE, "secrets.store"]
    assert checked(other).findings == []
    assert Path(other.log, "000000/1/a.1.log").read_text() == "said"
    assert Path(other.settings).read_text() == "max_tasks: 3\n"
    assert Path(other.state, "secrets.store").read_text() == "sealed"


def test_live_runs_of_the_backup_end_as_unknown_and_cancelled(told: Told, paths: Paths, tmp_path: Path) -> None:
    archived, _ = made_of(told, paths)
    other = below(str(tmp_path / "other"))
    put_back(archived, other)
    assert rows(other, "SELECT run, state, reason FROM run ORDER BY run") == [
        (1, "succeeded", None), (2, "succeeded", None), (3, "cancelled", "restored"), (4, "cancelled", "restored"),
    ]  # fmt: skip
    assert rows(other, "SELECT run, state, reason, error, exit_code FROM attempt WHERE run > 2") == [
        (3, "unknown", "lost", "restored from a backup", None)
    ]


def test_a_restored_store_has_a_name_and_numbers_of_its_own(told: Told, paths: Paths, tmp_path: Path) -> None:
    archived, _ = made_of(told, paths)
    before = mark.read(paths.state)
    other = below(str(tmp_path / "other"))
    Path(other.log, "000002", "2345").mkdir(parents=True)
    done = put_back(archived, other)
    store = Store(other.state)
    try:
        assert before is not None
        assert store.instance != before.instance
        assert store.next_run == done.next_run == 3001, "logs of run 2345 were there"
    finally:
        store.close()


def test_a_store_with_runs_is_not_replaced_unless_that_is_asked_for(told: Told, paths: Paths) -> None:
    archived, _ = made_of(told, paths)
    before = mark.read(paths.state)
    with pytest.raises(Refused, match="a store with 4 runs; --force sets it aside"):
        put_back(archived, paths)
    assert mark.read(paths.state) == before
    done = put_back(archived, paths, force=True)
    assert {"instance", DATABASE, f"{DATABASE}-wal", "secrets.store"} <= set(os.listdir(done.aside))
    assert mark.read(done.aside) == before
    assert Path(paths.log, "000000/1/a.1.log").read_text() == "said", "logs of runs that it knows stay"
    assert checked(paths).findings == []


def test_logs_of_runs_that_the_backup_does_not_know_are_set_aside(told: Told, paths: Paths) -> None:
    archived, _ = made_of(told, paths)
    Path(paths.log, "000000", "7").mkdir()
    done = put_back(archived, paths, force=True)
    assert not Path(paths.log, "000000", "7").exists()
    assert Path(paths.log, os.path.basename(done.aside), "000000", "7").is_dir()
    assert done.next_run == 1001


def test_what_an_administrator_wrote_is_never_replaced(told: Told, paths: Paths, tmp_path: Path) -> None:
    archived, _ = made_of(told, paths)
    other = below(str(tmp_path / "other"))
    Path(other.workflows).mkdir(parents=True)
    Path(other.workflows, "w.yaml").write_text("mine")
    done = put_back(archived, other)
    assert Path(other.workflows, "w.yaml").read_text() == "mine"
    assert (done.config.kept, done.config.written) == ([f"{other.workflows}/w.yaml"], [other.settings])


def test_a_running_daemon_keeps_its_store(told: Told, paths: Paths, tmp_path: Path) -> None:
    archived, _ = made_of(told, paths)
    store = Store(paths.state)
    try:
        with pytest.raises(Unavailable, match="stop it first"):
            put_back(archived, paths, force=True)
    finally:
        store.close()


def test_a_backup_of_a_newer_version_is_refused(told: Told, paths: Paths, tmp_path: Path) -> None:
    told.store.close()
    plant(paths, "UPDATE meta SET value = value WHERE key = 'instance'", "PRAGMA user_version = 99")
    file = tmp_path / "b.tar.gz"
    with file.open("w+b") as target:
        writer = archive.Writer(target)
        writer.add_file("state/pyflow.db", os.path.join(paths.state, DATABASE))
        writer.finish(archive.Manifest(schema=99, pyflow="9.9", members=dict(writer.members)))
    with pytest.raises(Refused, match=r"made by pyflowd 9\.9, whose store has schema 99"):
        put_back(file, below(str(tmp_path / "other")))


def test_a_restore_that_is_cut_off_anywhere_never_leaves_a_new_beginning(
    told: Told, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th rename fails, for every n: what is there then is a store, or is refused; and the next restore works."""
    archived, _ = made_of(told, paths)
    real = os.rename
    for n in range(20):
        left = [n]

        def failing(source: str, target: str, left: list[int] = left) -> None:
            if not left[0]:
                raise OSError(5, "cut off", target)
            left[0] -= 1
            real(source, target)

        monkeypatch.setattr(restore.os, "rename", failing)
        try:
            put_back(archived, paths, force=True)
            break
        except OSError:
            pass
        finally:
            monkeypatch.setattr(restore.os, "rename", real)
        try:
            store = Store(paths.state)
        except StoreError:
            continue
        assert store.next_run > 4, f"begun anew after rename {n}"
        store.close()
    else:
        raise AssertionError("it never came to its end")
    assert n > 3
    assert checked(paths).findings == []


@pytest.mark.parametrize(("started_s", "after"), [(1210, []), (1800, ["skipped", "fired"])])
def test_slots_from_before_the_restore_are_not_made_up_for(paths: Paths, started_s: float, after: list[str]) -> None:
    """Rule T6 holds from the restore on: before it nobody knows what fired."""
    Path(paths.root or "").mkdir()
    told = Told(Path(paths.root or ""))
    every = Schedule(name="s", cron="*/5 * * * *", timezone="UTC")
    scheduled = msgspec.structs.replace(WORKFLOW, triggers=(every,))
    told.workflows.put("w", "w.yaml", DIGEST, TEXT, msgspec.msgpack.encode(scheduled))
    told.commit()
    archived, _ = made_of(told, paths)
    clock = FakeClock()
    clock.advance(1200)
    with archived.open("rb") as file:
        restore.restore(file, paths, clock, force=True)
    again = Told(Path(paths.root or ""))
    try:
        again.clock.advance(started_s)
        again.workflows.restore(again.clock.wall_us())
        again.workflows.tick()
        again.commit()
        found = list(again.store.rows("slots", 0, "", "", 1 << 62, 100))
        restored_us = clock.wall_us()
        before = [row[3:5] + row[6:] for row in found if row[2] <= restored_us]
        assert before == [("skipped", "down", "before the store was restored from a backup")] * 4
        assert [row[3] for row in found if row[2] > restored_us] == after, "the newest within the hour"
    finally:
        again.store.close()


# ---- Checks


def plant(where: Paths, *statements: str) -> None:
    connection = apsw.Connection(os.path.join(where.state, DATABASE))
    try:
        for sql in statements:
            connection.execute(sql)
        assert connection.total_changes() > 0, "the fault was not planted"
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("fault", "told_of"),
    [
        ("UPDATE run SET ended_us = 7 WHERE run = 1", "run 1: its ended"),
        ("UPDATE run SET workflow = 'other' WHERE run = 1", "run 1: its workflow"),
        ("UPDATE run SET digest = 'gone' WHERE run = 1", "run 1: its definition gone"),
        ("DELETE FROM attempt WHERE run = 1", "run 1, a: 0 attempts have rows"),
        ("UPDATE attempt SET state = 'failed' WHERE run = 1", "run 1, a: attempt 1 is shown as failed"),
        ("DELETE FROM run WHERE run = 1", "task: 1 rows of run 1, which is not there"),
        ("UPDATE event SET body = x'00' WHERE run = 1", "run 1: it cannot be read"),
        ("UPDATE event SET body = x'00' WHERE run IS NULL", "of the host cannot be read"),
        ("UPDATE event SET body = x'a1ff' WHERE run = 1", "run 1: it cannot be read"),  # a text that is no UTF-8
        ("UPDATE event SET body = x'a1ff' WHERE run IS NULL", "of the host cannot be read"),
        ("UPDATE run SET reason = CAST(x'ff' AS TEXT) WHERE run = 1", "can't decode byte 0xff"),
        ("DELETE FROM event WHERE run = 1", "run 1: it has no events"),
        ("UPDATE definition SET text = x'00'", "its text has another SHA-256"),
        ("UPDATE definition SET compiled = x'c1'", "it cannot be read"),
        ("UPDATE definition SET compiled = x'a1ff'", "it cannot be read"),
        (
            "INSERT INTO slot (workflow, trigger, scheduled_us, fate, run) VALUES ('v', 't', 1, 'fired', 1)",
            "run 1 is of another workflow",
        ),
        ("INSERT INTO artifact VALUES (1, 0, 'x', 1, 5, 'ab', 1, 'a')", "rows of tasks, artifacts or attempts"),
    ],
)
def test_a_planted_fault_is_found(told: Told, paths: Paths, fault: str, told_of: str) -> None:
    told.store.close()
    assert checked(paths).findings == []
    plant(paths, fault)
    assert any(told_of in finding for finding in checked(paths).findings), checked(paths).findings


def test_folders_that_no_run_owns_are_found(told: Told, paths: Paths) -> None:
    told.store.close()
    plant(paths, "UPDATE sqlite_sequence SET seq = 9 WHERE name = 'run'")
    for folder in ("log/000000/9", "state/artifacts/000000/9-abc"):
        Path(paths.root or "", folder).mkdir(parents=True)
    assert [finding.partition(":")[0] for finding in checked(paths).findings] == [
        "no run 9 owns its folder of artifacts", "no run 9 owns its logs",
    ]  # fmt: skip


def test_a_store_of_another_schema_is_not_looked_into(told: Told, paths: Paths) -> None:
    told.store.close()
    plant(paths, "UPDATE meta SET value = value", "PRAGMA user_version = 99")
    assert "written by a newer pyflowd" in checked(paths).findings[0]


def parted(database: bytes) -> tuple[list[int], list[int]]:
    """Offsets of what SQLite uses of its file, and of the free space in its pages: between their heads and their cells
    (https://www.sqlite.org/fileformat2.html#b_tree_pages)."""
    size = int.from_bytes(database[16:18])
    used, free = [], []
    for page in range(0, len(database), size):
        head = page or 100
        inner = database[head] in (2, 5)
        begin = head + (12 if inner else 8) + 2 * int.from_bytes(database[head + 3 : head + 5])
        end = page + int.from_bytes(database[head + 5 : head + 7])
        used += [*range(page, begin), *range(end, page + size)]
        free += range(begin, end)
    return used, free


@pytest.mark.parametrize("where", ["used", "free"])
def test_flipped_bytes_give_a_right_answer_or_a_named_error(told: Told, paths: Paths, where: str) -> None:
    """Finding D6: a check ends, whatever it meets, and is no crash.

    Nine tenths of a small store are free space: what is changed there is no damage. A quarter of what is used is the
    text of the schema, of which SQLite reads neither comments nor the space between words.
    """
    told.store.close()
    database = Path(paths.state, DATABASE)
    whole = database.read_bytes()
    used, free = parted(whole)
    assert len(used) + len(free) == len(whole)
    places, trials = (used, 120) if where == "used" else (free, 30)
    dice = random.Random(6)
    noticed = 0
    for _ in range(trials):
        changed = bytearray(whole)
        for _ in range(dice.choice((1, 1, 8))):
            changed[dice.choice(places)] ^= 1 << dice.randrange(8)
        database.write_bytes(changed)
        try:
            noticed += bool(checked(paths).findings)
        except PyflowError:
            noticed += 1
        for name in ("-wal", "-shm"):
            Path(f"{database}{name}").unlink(missing_ok=True)
    assert noticed > trials * 2 / 3 if where == "used" else noticed == 0


# ---- The store under our feet


def test_a_database_that_is_gone_is_not_begun_anew(told: Told, paths: Paths) -> None:
    told.store.close()
    Path(paths.state, DATABASE).unlink()
    with pytest.raises(StoreError, match=r"the database is gone.*restore a backup.*remove .*instance"):
        Store(paths.state)
    assert not Path(paths.state, DATABASE).exists()


def test_an_empty_database_is_not_begun_anew(told: Told, paths: Paths) -> None:
    told.store.close()
    Path(paths.state, DATABASE).write_bytes(b"")
    with pytest.raises(StoreError, match="the database is empty"):
        Store(paths.state)
    assert not Path(paths.state, DATABASE).stat().st_size


def test_another_store_in_its_place_is_refused(told: Told, paths: Paths, tmp_path: Path) -> None:
    told.store.close()
    (tmp_path / "x").mkdir()
    Store(str(tmp_path / "x")).close()
    os.replace(tmp_path / "x" / DATABASE, os.path.join(paths.state, DATABASE))
    with pytest.raises(StoreError, match="it is another store than was here before"):
        Store(paths.state)


def test_a_log_that_is_gone_after_a_kill_is_noticed(told: Told, paths: Paths) -> None:
    told.store._mark = -1
    copy = Path(paths.root or "").parent / "killed"
    copy.mkdir()
    for name in (DATABASE, "instance"):
        (copy / name).write_bytes(Path(paths.state, name).read_bytes())
    with pytest.raises(StoreError, match=r"pyflow\.db-wal is gone, and with it what was recorded last"):
        Store(str(copy))
    (copy / "instance").unlink()  # by hand: what is there is what counts
    Store(str(copy)).close()


@pytest.mark.parametrize("name", [DATABASE, f"{DATABASE}-wal"])
def test_a_file_that_is_deleted_or_replaced_under_the_store_is_noticed(told: Told, paths: Paths, name: str) -> None:
    told.store.look()
    Path(paths.state, name).rename(Path(paths.state, "away"))
    with pytest.raises(StoreError, match="was deleted under this daemon"):
        told.store.look()
    Path(paths.state, name).write_bytes(b"")
    with pytest.raises(StoreError, match="was replaced under this daemon"):
        told.store.look()


def test_the_database_is_for_its_owners_eyes_only(told: Told, paths: Paths) -> None:
    for name in (DATABASE, f"{DATABASE}-wal"):
        assert Path(paths.state, name).stat().st_mode & 0o777 == 0o600


# ---- The host


def test_what_is_looked_at_without_a_daemon_says_why_one_would_not_start(told: Told, paths: Paths) -> None:
    told.store.close()
    Path(paths.settings).write_text("max_tasks: none\n")
    Path(paths.state, DATABASE).unlink()
    found = {(level, subject) for level, subject, _ in host.without_daemon(paths)}
    assert {("error", "settings"), ("error", "store")} <= found


def test_folders_that_others_can_write_to_are_errors(told: Told, paths: Paths) -> None:
    for path in (paths.root, paths.state, paths.log, paths.workflows):
        os.chmod(str(path), 0o700)
    os.chmod(Path(paths.state, "secrets.store"), 0o600)
    settings = host.Settings()
    assert [
        text for level, subject, text in host.checks(paths, settings) if subject == "permissions" and level != "ok"
    ] == []
    os.chmod(paths.workflows, 0o777)
    os.chmod(paths.log, 0o777)
    found = [text for level, subject, text in host.checks(paths, settings) if subject == "permissions"]
    assert len(found) == 2
    assert all("chmod" in text for text in found)


def test_settings_that_others_can_write_to_are_an_error(told: Told, paths: Paths) -> None:
    """Who may do everything stands in them."""
    settings = Path(paths.settings)
    settings.write_text("max_tasks: 5\n")
    settings.chmod(0o664)
    found = [text for _, subject, text in host.checks(paths, host.Settings()) if subject == "permissions"]
    assert any(text.startswith(f"{settings} can be written by its group") for text in found)


def test_a_group_that_is_not_there_is_told_without_a_word_of_the_others(paths: Paths) -> None:
    settings = host.Settings(group_read=("root",), group_operate=("nobody-knows-us",), group_admin=())
    found = [found for found in host.checks(paths, settings) if found[1] == "groups"]
    told = "not on this host, and so nobody has their rights: nobody-knows-us; groupadd --system nobody-knows-us"
    assert found == [("warning", "groups", told)]


def test_users_that_are_not_there_are_told_with_their_workflows() -> None:
    found = list(host.users([("a", "root"), ("b", "nobody-knows-me"), ("c", "nobody-knows-me")]))
    assert found == [
        ("warning", "users", "nobody-knows-me is no account of this host, and b, c names it: its tasks fail")
    ]


def test_an_account_is_asked_for_once_however_many_workflows_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(host.pwd, "getpwnam", asked.append)
    assert not list(host.users((f"w{number}", "root") for number in range(2000)))
    assert asked == ["root"]


def test_an_event_of_a_backup_is_kept_as_it_was() -> None:
    event = BackupMade(5 * US, "ann", 10, 2, False)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=BackupMade) == event
