"""`pyflowd.journal`, `runtime.event_journal`, `runtime.last_words`: when entries go, what of a log goes with them."""

from __future__ import annotations

import logging
import os
import selectors
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyflowd import journal as journal_of_daemon
from pyflowd.base.timers import Timers
from pyflowd.engine.outcomes import Outcome
from pyflowd.events import AttemptEnded, DaemonStarted, DefinitionRefused
from pyflowd.journal import Journal, is_connected, level_prefix
from pyflowd.keeper.logindex import END, pack
from pyflowd.model.ends import Exit
from pyflowd.model.kinds import Shell, Wait
from pyflowd.model.states import AttemptState
from pyflowd.model.workflow import Journal as Wanted
from pyflowd.model.workflow import Retry, Task
from pyflowd.runtime.event_journal import BUSY_ENTRIES, EventJournal
from pyflowd.runtime.last_words import BYTES, LINES, LastWords, last_lines, wanted
from pyflowd.runtime.tasklogs import TaskLogs
from pyflowd.store.batch import Fact
from tests.fakes import FakeClock
from tests.journal import FakeJournal


@pytest.fixture
def there(tmp_path: Path) -> Iterator[FakeJournal]:
    found = FakeJournal(tmp_path)
    yield found
    found.close()


@pytest.fixture
def journal(there: FakeJournal) -> Iterator[Journal]:
    found = Journal(there.path, active=True)
    yield found
    found.close()


class Told:
    """An event journal, its clock and its selector."""

    def __init__(self, journal: Journal) -> None:
        self.clock = FakeClock()
        self.selector = selectors.DefaultSelector()
        nothing: Any = SimpleNamespace()
        self.events = EventJournal(journal, lambda run: None, nothing, self.selector, self.clock)

    def commit(self, count: int = 1) -> None:
        self.events.committed([Fact(n, None, DaemonStarted(1, "1", "b")) for n in range(count)])


@pytest.fixture
def told(journal: Journal) -> Iterator[Told]:
    made = Told(journal)
    yield made
    made.selector.close()


def test_entries_go_in_idle_turns(there: FakeJournal, told: Told) -> None:
    told.commit(3)
    assert told.events.wait_us() == 0, "the next turn is to come at once"
    told.events.write(idle=False)
    assert there.take() == []
    told.events.write(idle=True)
    assert [entry.get("PYFLOW_EVENT") for entry in there.entries()] == [None, b"1", b"2"]
    assert told.events.wait_us() is None


def test_in_busy_turns_a_few_go_once_they_have_waited(there: FakeJournal, told: Told) -> None:
    told.commit(5)
    told.events.write(idle=False)
    told.clock.advance(1.1)
    told.events.write(idle=False)
    assert 0 < len(there.take()) <= BUSY_ENTRIES


def test_a_journald_that_does_not_read_is_waited_for_by_the_selector_alone(there: FakeJournal, told: Told) -> None:
    told.commit(4_000)
    while told.events.wait_us() == 0:
        told.events.write(idle=True)
    assert told.events.wait_us() is None
    assert told.selector.select(0) == []
    taken = len(there.take())
    assert taken
    ((key, _),) = told.selector.select(0)
    key.data(0)
    told.events.write(idle=True)
    assert there.take()


def test_without_a_journal_nothing_is_kept(there: FakeJournal, journal: Journal, told: Told) -> None:
    journal.active = False
    told.commit(3)
    assert (journal.waiting(), told.events.wait_us()) == (0, None)


def test_a_close_sends_what_waits_and_gives_up_where_nobody_reads(there: FakeJournal, journal: Journal) -> None:
    journal.put(b"A=1\n")
    journal.close()
    assert there.take() == [b"A=1\n"]
    for _ in range(4_000):
        journal.put(b"A=1\n")
    journal.close(timeout_s=0.05)
    assert journal.waiting()


# ---- The daemon's own log -------------------------------------------------------------------------------------------


@pytest.fixture
def log(journal: Journal) -> Iterator[logging.Logger]:
    found = logging.getLogger("test.of.journal")
    handler = journal_of_daemon._Handler(journal)
    handler.setFormatter(journal_of_daemon._Lines())
    found.propagate = False
    found.addHandler(handler)
    found.setLevel(logging.INFO)
    yield found
    found.removeHandler(handler)


def test_a_message_is_an_entry_with_its_action_as_a_field(there: FakeJournal, log: logging.Logger) -> None:
    log.error("two\nlines of %s", "text", extra={"action": "disk_full"})
    assert there.entries() == [{
        "MESSAGE": b"two\nlines of text", "PRIORITY": b"3", "SYSLOG_IDENTIFIER": b"pyflowd",
        "PYFLOW_LOGGER": b"test.of.journal", "PYFLOW_ACTION": b"disk_full",
    }]  # fmt: skip


def test_a_bug_keeps_its_traceback(there: FakeJournal, log: logging.Logger) -> None:
    try:
        raise RuntimeError("oh")
    except RuntimeError:
        log.exception("a bug")
    assert there.entries()[0]["MESSAGE"].endswith(b"RuntimeError: oh")


def test_what_is_an_event_as_well_is_said_once(there: FakeJournal, log: logging.Logger) -> None:
    log.warning("refused: x", extra={"action": DefinitionRefused.__struct_config__.tag})
    assert there.take() == []


def test_where_there_is_no_journald_messages_are_lines_on_standard_error(
    there: FakeJournal, journal: Journal, capsys: pytest.CaptureFixture[str]
) -> None:
    there.absent()
    journal.put(b"A=1\n")
    journal.flush(1)
    handler = journal_of_daemon._Handler(journal)
    handler.setFormatter(journal_of_daemon._Lines())
    handler.emit(logging.LogRecord("n", logging.WARNING, "", 1, "no keeper yet", None, None))
    assert "WARNING no keeper yet" in capsys.readouterr().err
    there.back()


def test_only_the_stream_that_systemd_told_of_is_the_journal() -> None:
    reader, writer = os.pipe()
    status = os.fstat(writer)
    stream = f"{status.st_dev}:{status.st_ino}"
    assert is_connected({"JOURNAL_STREAM": stream}, writer)
    assert not is_connected({"JOURNAL_STREAM": f"{status.st_dev}:1"}, writer), "standard error was redirected"
    assert not is_connected({}, writer)
    os.close(reader)
    os.close(writer)
    assert not is_connected({"JOURNAL_STREAM": stream}, 999_999)


def test_a_line_that_is_no_message_has_its_level_for_the_journal_only() -> None:
    """Else `journalctl -p err` would leave out why a daemon did not start."""
    status = os.fstat(2)
    assert level_prefix({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, logging.ERROR) == "<3>"
    assert level_prefix({}, logging.ERROR) == ""


# ---- The last lines of a log ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"", []),
        (b"one\ntwo", [b"one", b"two"]),
        (b"one\n\n", [b"one", b""]),
        (b"\n".join(b"%d" % n for n in range(50)), [b"%d" % n for n in range(30, 50)]),
        (b"x" * 2 * BYTES, [b"x" * BYTES]),
        (b"x" * 2 * BYTES + b"\nlast\n", [b"last"]),
        (b"\0" * 2 * BYTES + b"after a hole\nlast\n", [b"last"]),
        (b"head\n" + b"\0" * 8192 + b"ss\nlast\n", [b"last"]),
        (b"\xff\x00\n", [b"\xff\x00"]),
    ],
)
def test_the_last_lines_of_a_log(tmp_path: Path, text: bytes, lines: list[bytes]) -> None:
    (tmp_path / "log").write_bytes(text)
    with (tmp_path / "log").open("rb") as log:
        found = last_lines(log.fileno())
    assert found == lines
    assert len(found) <= LINES


def test_a_task_says_what_of_its_output_goes_to_the_journal_else_the_settings_do() -> None:
    task = Task(name="a", kind=None, retry=Retry())  # type: ignore[arg-type]  # its kind does not matter
    assert wanted(task, Wanted.FAILED) is Wanted.FAILED
    task = Task(name="a", kind=None, journal=Wanted.NONE)  # type: ignore[arg-type]
    assert wanted(task, Wanted.ALL) is Wanted.NONE


class OneLog:
    """A run of one task whose first attempt has failed, and its log, which the logger has not finished."""

    def __init__(self, folder: Path, journal: Journal, task: Task) -> None:
        self.clock, self.timers = FakeClock(), Timers()
        self.logs = TaskLogs(str(folder))
        self.words = LastWords(journal, self.logs, self.timers, self.clock, Wanted.FAILED)
        node = SimpleNamespace(definition=task, log_name="a")
        meta = SimpleNamespace(run=7, workflow="w")
        self.live: Any = SimpleNamespace(meta=meta, run=SimpleNamespace(tasks={"a": node}))
        self.log, self.index = self.logs.create(7, "a", 1)
        os.write(self.log, b"one\ntwo\n")

    def end(self, state: AttemptState = AttemptState.FAILED) -> None:
        end = Exit(exit_code=1, signal=None, started_us=1, ended_us=2)
        self.words.attempt_ended(self.live, AttemptEnded("a", 1, 1, 1, end), Outcome(state))

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.timers.fire(self.clock.mono_us())

    def finish(self) -> None:
        os.write(self.index, pack(8, 1, END))

    def close(self) -> None:
        os.close(self.log)
        os.close(self.index)


PROCESS, REQUEST = Shell(text="x"), Wait(for_s=1.0)


@pytest.mark.parametrize(
    ("kind", "journal_of_task", "state", "lines"),
    [
        (PROCESS, None, AttemptState.FAILED, 2),
        (PROCESS, None, AttemptState.TIMED_OUT, 2),
        (PROCESS, None, AttemptState.CANCELLED, 0),
        (PROCESS, None, AttemptState.SUCCEEDED, 0),
        (PROCESS, Wanted.ALL, AttemptState.FAILED, 0),
        (PROCESS, Wanted.NONE, AttemptState.FAILED, 0),
        (REQUEST, Wanted.NONE, AttemptState.FAILED, 0),
        (REQUEST, Wanted.ALL, AttemptState.SUCCEEDED, 2),
    ],
)
def test_whose_last_lines_go_to_the_journal(
    tmp_path: Path, journal: Journal, kind: Any, journal_of_task: Wanted | None, state: AttemptState, lines: int
) -> None:
    log = OneLog(tmp_path, journal, Task(name="a", kind=kind, journal=journal_of_task))
    log.finish()
    log.end(state)
    assert journal.waiting() == lines
    log.close()


def test_a_log_is_waited_for_until_it_is_finished_but_not_for_ever(
    tmp_path: Path, there: FakeJournal, journal: Journal
) -> None:
    log = OneLog(tmp_path, journal, Task(name="a", kind=PROCESS))
    log.end()
    log.advance(0.01)
    assert journal.waiting() == 0
    os.write(log.log, b"late\n")
    log.finish()
    log.advance(0.1)
    journal.flush(10)
    assert [entry["MESSAGE"] for entry in there.entries()] == [b"one", b"two", b"late"]
    os.truncate(log.index, 0)
    log.end()
    for _ in range(40):
        log.advance(0.5)
    assert (journal.waiting(), log.timers.next_due_us()) == (3, None)
    log.close()
