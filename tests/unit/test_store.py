"""The store: all or nothing, one owner, a full disk, migrations, retention; and that the checkers of it can fail."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import msgspec
import pytest

from pyflowd.base.pool import Pool
from pyflowd.base.timers import Timers
from pyflowd.base.zones import zone
from pyflowd.clock import US
from pyflowd.errors import Unavailable
from pyflowd.events import AttemptEnded, DaemonStopped, RunCreated
from pyflowd.model.ends import Exit
from pyflowd.model.kinds import Shell
from pyflowd.model.workflow import Retention, Task, Workflow
from pyflowd.runtime.admission import Admission
from pyflowd.runtime.janitor import Janitor
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.retention import RUNS_PER_PIECE, Retirement, expired
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.scratch import Scratch
from pyflowd.runtime.tasklogs import TaskLogs
from pyflowd.runtime.workflows import Workflows
from pyflowd.store import mark, statements
from pyflowd.store import store as store_module
from pyflowd.store.batch import RunMeta
from pyflowd.store.store import BALLAST, BALLAST_BYTES, DATABASE, NoSpace, Store, StoreError
from tests.daemon.checker import check_fold, check_witness
from tests.daemon.instance import REPOSITORY
from tests.fakes import FakeClock

WORKFLOW = Workflow(name="w", tasks=(Task(name="a", kind=Shell(text="true")),))


class Host:
    """The parts that record, in memory but for the store; no process is ever started."""

    def __init__(self, root: Path) -> None:
        (root / "state").mkdir(exist_ok=True)
        self.root = root
        self.clock, self.timers = FakeClock(), Timers()
        self.store = Store(str(root / "state"))
        self.runs = Runs(self.store, self.clock, self.timers, 100, zone("UTC"))
        admission = Admission(self.runs, Pool(1), {})
        self.workflows = Workflows(self.store, self.runs, admission, "host", zone("UTC"))
        self.logs = TaskLogs(str(root / "log"))

    def commit(self) -> None:
        self.store.commit(self.runs.batch)
        self.runs.batch, self.runs.actions, self.runs.ended = self.store.batch(), [], []

    def install(self) -> None:
        self.workflows.put("w", "w.yaml", "d1", b"text", msgspec.msgpack.encode(WORKFLOW))
        self.commit()

    def begin(self) -> LiveRun:
        """A run that is live."""
        meta = RunMeta(
            run=self.runs.next_run(), workflow="w", digest="d1", trigger="manual", created_us=self.clock.wall_us()
        )
        live = self.runs.create(meta, WORKFLOW, RunCreated(meta.created_us))
        self.runs.start(live)
        self.runs.fill("epoch")
        return live

    def end(self, live: LiveRun, code: int = 0) -> None:
        now_us = self.clock.wall_us()
        end = Exit(exit_code=code, signal=None, started_us=now_us, ended_us=now_us)
        self.runs.attempt_ended(self.runs.attempt_id(live.run, live.by_index[0]), end)
        self.commit()

    def ended_run(self, log_bytes: int = 0) -> int:
        live = self.begin()
        if log_bytes:
            for descriptor in self.logs.create(live.meta.run, "a", 1):
                os.write(descriptor, b"x" * log_bytes)
                os.close(descriptor)
        self.end(live)
        self.clock.advance(3600)
        return live.meta.run

    def known_runs(self) -> list[int]:
        return [row[0] for row in self.store.rows("runs_for_check")]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.store.close()


# ---- One owner, one schema


def test_a_second_store_on_the_folder_is_refused_and_names_the_owner(host: Host) -> None:
    with pytest.raises(Unavailable, match=f"pid {os.getpid()}.*stop it first"):
        Store(host.store.folder)


def test_the_folder_is_free_again_when_the_store_is_closed(host: Host) -> None:
    host.store.close()
    host.store.close()
    Store(host.store.folder).close()


def schema_of(path: Path) -> list[tuple[str, str]]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return sorted(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall())
    finally:
        connection.close()


def test_a_migrated_database_equals_a_fresh_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each migration is applied by a daemon of its own time, to a database that the ones before have made."""
    steps = [*statements.migrations(), "ALTER TABLE meta ADD COLUMN later TEXT"]
    for number in range(1, len(steps) + 1):
        monkeypatch.setattr(statements, "migrations", lambda known=steps[:number]: known)
        (tmp_path / "old").mkdir(exist_ok=True)
        Store(str(tmp_path / "old")).close()
    (tmp_path / "new").mkdir()
    Store(str(tmp_path / "new")).close()
    assert schema_of(tmp_path / "old" / DATABASE) == schema_of(tmp_path / "new" / DATABASE)
    assert any("later" in sql for _, sql in schema_of(tmp_path / "old" / DATABASE))


def test_a_migration_that_fails_leaves_the_database_as_it_was(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.store.close()
    database = Path(host.store.folder, DATABASE)
    before = schema_of(database)
    broken = "CREATE TABLE half (x INTEGER); CREATE TABLE run (x INTEGER)"
    steps = [*statements.migrations(), broken]
    monkeypatch.setattr(statements, "migrations", lambda: steps)
    with pytest.raises(StoreError, match="already exists"):
        Store(host.store.folder)
    assert schema_of(database) == before


def test_a_store_that_nobody_closed_opens_again(tmp_path: Path) -> None:
    """As where a daemon cannot begin: its connections are closed in no order."""
    code = "import sys; from pyflowd.store.store import Store; store = Store(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True, timeout=60, cwd=REPOSITORY)
    Store(str(tmp_path)).close()


def test_a_newer_schema_is_refused_and_left_alone(host: Host) -> None:
    host.store.close()
    database = Path(host.store.folder, DATABASE)
    connection = apsw.Connection(str(database))
    connection.pragma("user_version", 99)
    connection.close()
    before = database.read_bytes()
    with pytest.raises(StoreError, match=r"newer pyflowd \(schema 99"):
        Store(host.store.folder)
    assert database.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"nonsense " * 1000, b"SQLite format 3\0" + b"\xff" * 8000], ids=["text", "header"]
)
def test_a_corrupt_database_is_refused_with_its_path_and_left_alone(tmp_path: Path, content: bytes) -> None:
    database = tmp_path / DATABASE
    database.write_bytes(content)
    with pytest.raises(StoreError, match=f"{database}: .*; check the disk"):
        Store(str(tmp_path))
    assert database.read_bytes() == content


# ---- A commit is all or nothing


def test_a_batch_with_one_impossible_write_changes_nothing(host: Host) -> None:
    batch = host.store.batch()
    batch.add("meta", "key", "value")
    batch.add("event", None, None, None, None)
    with pytest.raises(StoreError, match="NOT NULL"):
        host.store.commit(batch)
    assert host.store.meta("key") is None


def test_a_value_that_no_database_holds_leaves_no_transaction_open(host: Host) -> None:
    batch = host.store.batch()
    batch.add("meta", "key", "value")
    batch.add("prune_run", 1 << 70)
    with pytest.raises(OverflowError):
        host.store.commit(batch)
    assert host.store.meta("key") is None
    host.install()  # the next batch is not in the way of a half one


def test_a_full_disk_changes_nothing_and_the_same_batch_goes_in_later(host: Host) -> None:
    host.install()
    writer = host.store._writer
    writer.pragma("max_page_count", writer.pragma("page_count"))
    batch = host.store.batch()
    for number in range(200):
        batch.add("meta", f"key-{number}", "x" * 1000)
    batch.host_event(DaemonStopped(1))
    with pytest.raises(NoSpace, match="no space left on the device"):
        host.store.commit(batch)
    assert host.store.meta("key-0") is None
    writer.pragma("max_page_count", 1 << 30)
    host.store.commit(batch)
    assert host.store.meta("key-199") == "x" * 1000


def test_a_failed_commit_gives_no_event_number_away(host: Host) -> None:
    host.install()
    before = host.store.next_event
    batch = host.store.batch()
    batch.host_event(DaemonStopped(1))
    batch.add("event", None, None, None, None)
    with pytest.raises(StoreError):
        host.store.commit(batch)
    assert host.store.next_event == before


def test_the_ballast_is_set_aside_and_given_back(host: Host) -> None:
    ballast = Path(host.store.folder, BALLAST)
    assert host.store.ballast_missing() == BALLAST_BYTES
    assert host.store.take_ballast()
    assert ballast.stat().st_blocks * 512 >= BALLAST_BYTES
    assert host.store.ballast_missing() == 0
    assert host.store.release_ballast()
    assert not ballast.exists()
    assert not host.store.release_ballast()


def test_a_ballast_that_does_not_fit_leaves_nothing_behind(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.os, "posix_fallocate", full)
    assert not host.store.take_ballast()
    assert not Path(host.store.folder, BALLAST).exists()


# ---- The checkers can fail


def recorded(host: Host) -> Path:
    host.install()
    host.end(host.begin(), 7)
    host.store.close()
    return host.root


def change(root: Path, sql: str) -> None:
    connection = apsw.Connection(str(root / "state" / DATABASE))
    connection.execute(sql)
    assert connection.changes() > 0, "the fault was not planted"
    connection.close()


def test_the_fold_of_sound_events_is_what_is_shown(host: Host) -> None:
    assert check_fold(recorded(host)) == 1


@pytest.mark.parametrize(
    "fault",
    [
        "UPDATE run SET state = 'succeeded'",
        "UPDATE run SET reason = 'timeout'",
        "UPDATE run SET tasks_total = 2",
        "UPDATE task SET state = 'succeeded'",
        "UPDATE task SET reason = NULL",
        "UPDATE task SET attempts = 2",
        "DELETE FROM task",
        "DELETE FROM event WHERE event = (SELECT max(event) - 1 FROM event)",
    ],
)
def test_a_changed_row_is_noticed_by_the_checker_of_the_fold(host: Host, fault: str) -> None:
    root = recorded(host)
    change(root, fault)
    with pytest.raises(AssertionError):
        check_fold(root)


def test_a_changed_event_is_noticed_by_the_checker_of_the_fold(host: Host) -> None:
    root = recorded(host)
    connection = apsw.Connection(str(root / "state" / DATABASE))
    end = Exit(exit_code=0, signal=None, started_us=1, ended_us=1)
    body = msgspec.msgpack.encode(AttemptEnded("a", 1, 1, 1, end))
    tagged = "SELECT max(event) FROM event WHERE CAST(body AS TEXT) LIKE '%attempt_ended%'"
    connection.execute(f"UPDATE event SET body = ? WHERE event = ({tagged})", (body,))
    assert connection.changes() == 1
    connection.close()
    with pytest.raises(AssertionError, match="run 1"):
        check_fold(root)


def test_a_start_that_happened_twice_is_noticed_by_the_checker_of_witnesses(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    witness.write_text("start 1 a 1\nexit 1 a 1 0\nstart 1 b 1\n")
    assert check_witness(witness)["start 1 a 1"] == 1
    witness.write_text("start 1 a 1\nstart 1 a 1\n")
    with pytest.raises(AssertionError, match="started twice"):
        check_witness(witness)


# ---- Rare among many


@pytest.fixture
def long_lived(host: Host) -> Host:
    """5,000 runs that went well, a day apart, and none that did not."""
    host.install()
    run = host.ended_run()
    day_us = 86_400 * US
    with closing(apsw.Connection(host.store.path)) as other:
        other.execute(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000) "
            "INSERT INTO run (run, workflow, digest, state, trigger, params, requested_by, created_us, started_us, "
            "ended_us, tasks_total) SELECT r.run + n.n, r.workflow, r.digest, r.state, r.trigger, r.params, "
            "r.requested_by, r.created_us + n.n * ?1, r.started_us + n.n * ?1, r.ended_us + n.n * ?1, 1 "
            "FROM n, run r WHERE r.run = ?2",
            (day_us, run),
        )
    return host


SEEN = '["w"]'
FAR = 1 << 62
RARE = {
    "cancelled of all": ("runs_by_state", ("cancelled", FAR, 0, 0, 50), 0),
    "live of all": ("runs_by_state", ("running", FAR, 0, 0, 50), 0),
    "failed of a workflow": ("runs_of_workflow_by_state", ("w", "failed", FAR, 0, 0, 50), 0),
    "live of a workflow": ("runs_of_workflow_by_state", ("w", "queued", FAR, 0, 0, 50), 0),
    "failed of those that are seen": ("runs_seen_by_state", (SEEN, "failed", FAR, 0, 0, 50), 0),
    "those that went well": ("runs_by_state", ("succeeded", FAR, 0, 0, 3), 3),
    "of the last day": ("runs", (FAR, 4_999, 0, 50), 3),
    "failed of the last day": ("failed_since", (0, 10), 0),
}


@pytest.mark.parametrize("case", RARE)
def test_what_is_rare_is_found_without_a_look_at_every_run(long_lived: Host, case: str) -> None:
    name, bindings, count = RARE[case]
    steps = 0

    def more() -> bool:
        nonlocal steps
        steps += 100
        return False

    reader = long_lived.store._reader
    list(reader.execute("SELECT 1"))
    reader.set_progress_handler(more, 100)
    try:
        found = list(long_lived.store.rows(name, *bindings))
    finally:
        reader.set_progress_handler(None)
    assert (len(found), steps < 2_000) == (count, True), steps


def test_what_ended_is_counted_out_of_the_index(long_lived: Host) -> None:
    """A busy host ends hundreds of thousands of runs a day, and every page asks."""
    reader, reads = long_lived.store._reader, long_lived.store._reads
    for name, bindings in (("ended_since", (0,)), ("ended_since_seen", (SEEN, 1, 0))):
        plan = [row[3] for row in reader.execute(f"EXPLAIN QUERY PLAN {reads[name]}", bindings)]
        assert any(step.startswith("SEARCH run USING COVERING INDEX run_ended") for step in plan), plan
        assert list(long_lived.store.rows(name, *bindings)) == [("succeeded", 5001)]


# ---- Retention


def test_a_run_number_is_never_given_twice_even_after_retention(host: Host) -> None:
    host.install()
    runs = [host.ended_run() for _ in range(3)]
    for statement in ("prune_attempts", "prune_tasks", "prune_events", "prune_run"):
        for run in runs:
            host.runs.batch.add(statement, run)
    host.commit()
    host.store.close()
    again = Store(host.store.folder)
    assert (again.next_run, list(again.rows("runs_for_check"))) == (4, [])
    again.close()


def test_the_number_of_runs_is_kept(host: Host) -> None:
    host.install()
    runs = [host.ended_run() for _ in range(5)]
    assert expired(host.runs, host.logs, "w", Retention(runs=2)) == runs[:3]


def test_the_age_of_runs_counts_from_their_record(host: Host) -> None:
    host.install()
    runs = [host.ended_run() for _ in range(5)]  # an hour apart; the newest is an hour old now
    assert expired(host.runs, host.logs, "w", Retention(age_s=2.5 * 3600)) == runs[:3]


def test_the_bytes_of_logs_count_from_the_newest_run_on(host: Host) -> None:
    host.install()
    runs = [host.ended_run(log_bytes=40_960) for _ in range(4)]
    room = host.logs.run_bytes(runs[0]) * 2
    assert expired(host.runs, host.logs, "w", Retention(log_bytes=room)) == runs[:2]


@pytest.mark.parametrize("policy", [Retention(age_s=1.0), Retention(log_bytes=1), Retention(runs=1)])
def test_the_newest_ended_run_is_always_kept(host: Host, policy: Retention) -> None:
    host.install()
    runs = [host.ended_run(log_bytes=8192) for _ in range(3)]
    host.clock.advance(10 * 86_400)
    assert expired(host.runs, host.logs, "w", policy) == runs[:-1]


def test_a_live_run_is_never_taken_away(host: Host) -> None:
    host.install()
    live = host.begin()
    host.commit()
    host.clock.advance(100 * 86_400)
    ended = host.ended_run()
    assert expired(host.runs, host.logs, "w", Retention(age_s=1.0)) == []
    assert host.known_runs() == [live.meta.run, ended]


def retire(host: Host, policy: Retention) -> None:
    """Retention to its end, as the dispatcher's turns would have it."""
    janitor = Janitor(host.logs, Scratch(str(host.logs.folder), "x"))
    retirement = Retirement(host.runs, host.workflows, host.logs, janitor, policy)
    retirement.begin()
    while host.timers.next_due_us() is not None:
        host.clock.advance(1)
        host.timers.fire(host.clock.mono_us())
        host.commit()
    janitor.stop()


def test_retention_takes_runs_and_logs_in_pieces_and_says_so(host: Host) -> None:
    host.install()
    runs = [host.ended_run(log_bytes=10 if number < 3 else 0) for number in range(RUNS_PER_PIECE + 20)]
    retire(host, Retention(runs=10))
    assert host.known_runs() == runs[-10:]
    assert not Path(host.logs.run_folder(runs[0])).exists()
    said = [row for row in host.store.rows("events_after", 0, 10_000) if b"history_removed" in row[3]]
    assert len(said) == 2


def test_logs_stay_while_the_removal_of_their_run_is_not_durable(host: Host) -> None:
    """A full disk keeps the batch from being committed: what it says has not happened yet."""
    host.install()
    runs = [host.ended_run(log_bytes=10) for _ in range(2)]
    janitor = Janitor(host.logs, Scratch(str(host.logs.folder), "x"))
    Retirement(host.runs, host.workflows, host.logs, janitor, Retention(runs=1)).begin()
    for _ in range(5):
        host.clock.advance(1)
        host.timers.fire(host.clock.mono_us())
    janitor.stop()
    assert Path(host.logs.run_folder(runs[0])).exists()
    host.commit()
    host.clock.advance(1)
    host.timers.fire(host.clock.mono_us())
    janitor.stop()
    assert not Path(host.logs.run_folder(runs[0])).exists()


def test_slots_and_definitions_that_nothing_refers_to_go_too(host: Host) -> None:
    host.install()
    host.runs.batch.add("definition", "d0", b"old", b"", 0)
    host.runs.batch.slot("w", "t", 1 * US, "skipped", "paused", None)
    host.runs.batch.slot("w", "t", host.clock.wall_us(), "skipped", "paused", None)
    host.commit()
    host.ended_run()
    retire(host, Retention(age_s=86_400.0))
    assert len(list(host.store.rows("slots", 0, "", "", 1 << 62, 10))) == 1
    assert host.store.one_or_none("definition", "d0") is None
    assert host.store.one_or_none("definition", "d1") is not None


def with_events(folder: Path, events: int) -> Store:
    store = Store(str(folder))
    batch = store.batch()
    for _ in range(events):
        batch.host_event(DaemonStopped(1))
    store.commit(batch)
    return store


def test_a_store_that_has_lost_what_was_recorded_is_refused_until_somebody_accepts_it(tmp_path: Path) -> None:
    """A disk that has not kept what it was told to, or an older copy in the place of the newest."""
    store = with_events(tmp_path, 3)
    store.close()
    older = (tmp_path / DATABASE).read_bytes()
    with_events(tmp_path, 2).close()
    (tmp_path / DATABASE).write_bytes(older)
    with pytest.raises(StoreError, match=r"newest event is 3, and event 5 was recorded.*pyflowctl restore"):
        Store(str(tmp_path))
    assert (tmp_path / DATABASE).read_bytes() == older
    os.unlink(mark.path_of(str(tmp_path)))
    Store(str(tmp_path)).close()


def test_what_a_kill_leaves_is_no_loss(tmp_path: Path) -> None:
    """The mark is never ahead of the store, not even where it was not written."""
    store = with_events(tmp_path, 3)
    known = mark.read(str(tmp_path))
    assert known is not None
    assert (known.closed, known.newest) == (False, 3)
    mark.note_newest(store._mark, store.instance, 2)  # as if the last note had not come to pass
    store._writer.close()
    os.close(store._lock)
    Store(str(tmp_path)).close()
    found = mark.read(str(tmp_path))
    assert found is not None
    assert (found.closed, found.newest) == (True, 3)


def test_a_mark_of_an_older_version_has_no_number(tmp_path: Path) -> None:
    Path(mark.path_of(str(tmp_path))).write_text("abcd1234 closed\n")
    assert mark.read(str(tmp_path)) == mark.Mark(instance="abcd1234", closed=True)
