"""`pyflowd.attemptlog`: a log that the daemon writes itself, read as the client reads any."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyflowctl.logsource import LogSource
from pyflowd.base.attemptlog import AttemptLog
from pyflowd.keeper import logindex
from pyflowd.keeper.logindex import DATA, END
from pyflowd.runtime.tasklogs import TaskLogs
from tests.fakes import FakeClock


def open_log(folder: Path, clock: FakeClock, max_bytes: int = 0) -> AttemptLog:
    return AttemptLog(*TaskLogs(str(folder)).create(1, "get", 1), clock, max_bytes)


def read(folder: Path) -> LogSource:
    found = TaskLogs(str(folder)).open(1, "get", 1)
    assert found is not None
    return LogSource(1, "get", 1, *found)


def records(folder: Path) -> list[logindex.Record]:
    return logindex.parse(Path(TaskLogs(str(folder)).path(1, "get", 1)[:-4] + ".idx").read_bytes())


def test_the_client_reads_its_lines_with_their_times_and_its_end(tmp_path: Path) -> None:
    clock = FakeClock()
    began_us = clock.wall_us()
    log = open_log(tmp_path, clock)
    log.write("GET http://localhost/")
    clock.advance(2)
    log.write("200 OK\n")
    log.close()
    source = read(tmp_path)
    assert source.pieces() == [(began_us, b"GET http://localhost/\n"), (began_us + 2_000_000, b"200 OK\n")]
    assert source.ended
    source.close()


def test_a_log_without_a_line_is_complete_when_it_is_closed(tmp_path: Path) -> None:
    open_log(tmp_path, FakeClock()).close()
    assert [record[2] for record in records(tmp_path)] == [END]


def test_closing_twice_writes_one_end_and_nothing_comes_after_it(tmp_path: Path) -> None:
    log = open_log(tmp_path, FakeClock())
    log.write("one")
    log.close()
    log.close()
    log.write("two")
    assert [record[2] for record in records(tmp_path)] == [DATA, END]


def test_it_closes_its_descriptors(tmp_path: Path) -> None:
    descriptors = TaskLogs(str(tmp_path)).create(1, "get", 1)
    AttemptLog(*descriptors, FakeClock()).close()
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(descriptor)


def test_text_that_cannot_be_encoded_does_not_stop_the_attempt(tmp_path: Path) -> None:
    log = open_log(tmp_path, FakeClock())
    log.write("half a \ud800 pair")
    log.close()
    assert Path(TaskLogs(str(tmp_path)).path(1, "get", 1)).read_bytes() == b"half a ? pair\n"


def test_its_quota_holds(tmp_path: Path) -> None:
    log = open_log(tmp_path, FakeClock(), max_bytes=100_000)
    for _ in range(500):
        log.write("x" * 999)
    log.close()
    path = Path(TaskLogs(str(tmp_path)).path(1, "get", 1))
    assert path.stat().st_size == 500_000
    assert path.stat().st_blocks * 512 <= 110_000


def test_a_secret_in_a_line_is_not_written_also_over_two_lines(tmp_path: Path) -> None:
    clock = FakeClock()
    log = AttemptLog(*TaskLogs(str(tmp_path)).create(1, "get", 1), clock, masks=(b"token-0123\nline-4567",))
    log.write("GET /?q=token-0123")
    log.write("token-0123")
    log.write("line-4567 and token-01")
    log.write("token-0123")
    log.close()
    content = Path(TaskLogs(str(tmp_path)).path(1, "get", 1)).read_bytes()
    assert content == b"GET /?q=***\n*** and token-01\n***\n"
