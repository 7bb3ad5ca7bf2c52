"""`pyflowd.keeper.sink` and `logindex`: a log, its index, its quota."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.keeper import logindex, sink
from pyflowd.keeper.logindex import CUT, DATA, END, GAP, NOTE
from pyflowd.keeper.sink import Sink

T = 1_000_000_000


class Disk:
    """Stands in for os.write on one descriptor: takes `room` bytes, then fails as a full disk does."""

    def __init__(self, full: int) -> None:
        self.full = full
        self.room = 1 << 30
        self._write = os.write

    def write(self, descriptor: int, payload: bytes) -> int:
        if descriptor != self.full:
            return self._write(descriptor, payload)
        if not self.room:
            raise OSError(28, "No space left on device")
        written = self._write(descriptor, payload[: self.room])
        self.room -= written
        return written


class Opened:
    def __init__(self, folder: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        self.log_path, self.index_path = folder / "log", folder / "index"
        self.log, self.index = os.open(self.log_path, flags), os.open(self.index_path, flags)

    def records(self) -> list[tuple[int, int, int, int]]:
        return logindex.parse(self.index_path.read_bytes())

    def stream_records(self) -> list[tuple[int, int]]:
        """Offset and stream of each record."""
        content = self.index_path.read_bytes()
        return [(offset, kind >> 16) for offset, _, kind, _ in struct.iter_unpack("<QQII", content)]

    def kinds(self) -> list[int]:
        return [record[2] for record in self.records()]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Opened]:
    opened = Opened(tmp_path)
    yield opened
    os.close(opened.log)
    os.close(opened.index)


def test_reads_within_a_millisecond_share_a_record(files: Opened) -> None:
    one = Sink("a", files.log, files.index, 0)
    for at_us in (T, T + 900, T + 1000, T + 1001, T + 3000):
        one.write(b"x", at_us)
    assert files.records() == [(0, T, DATA, 0), (3, T + 1001, DATA, 0), (4, T + 3000, DATA, 0)]


def test_a_clock_that_is_set_back_begins_a_new_record(files: Opened) -> None:
    one = Sink("a", files.log, files.index, 0)
    one.write(b"x", T)
    one.write(b"y", T - 500)
    assert files.records() == [(0, T, DATA, 0), (1, T - 500, DATA, 0)]


def test_a_note_begins_on_a_line_of_its_own_and_data_after_it_has_a_record(files: Opened) -> None:
    one = Sink("a", files.log, files.index, 0)
    one.write(b"half a line", T)
    one.note("pyflow: hello\n", T + 1)
    one.write(b"rest", T + 2)
    assert files.log_path.read_bytes() == b"half a line\npyflow: hello\nrest"
    assert files.records() == [(0, T, DATA, 0), (11, T + 1, NOTE, 15), (26, T + 2, DATA, 0)]


def test_bytes_of_another_stream_begin_a_record_of_their_own_however_close(files: Opened) -> None:
    one = Sink("a", files.log, files.index, 0)
    for payload, stream in ((b"o", 1), (b"o", 1), (b"e", 2), (b"o", 1)):
        one.write(payload, T, stream)
    assert files.log_path.read_bytes() == b"ooeo"
    assert files.stream_records() == [(0, 1), (2, 2), (3, 1)]


def test_bytes_that_the_index_could_not_tell_apart_are_lost_and_said_so(
    files: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(files.index)
    monkeypatch.setattr(os, "write", disk.write)
    monkeypatch.setattr(sink, "_INDEX_BACKLOG_BYTES", 23)
    one = Sink("a", files.log, files.index, 0)
    disk.room = 24
    for payload, stream in ((b"out ", 1), (b"error ", 2), (b"output", 1)):
        one.write(payload, T, stream)
    assert files.log_path.read_bytes() == b"out error "
    disk.room = 1 << 20
    one.settle(T + 1)
    assert files.log_path.read_bytes().startswith(b"out error \npyflow: 6 bytes of output lost here")
    assert files.kinds() == [DATA, DATA, GAP, NOTE]


def test_output_after_words_of_ours_is_not_taken_for_them_when_the_index_has_no_room(
    files: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(files.index)
    monkeypatch.setattr(os, "write", disk.write)
    monkeypatch.setattr(sink, "_INDEX_BACKLOG_BYTES", 23)
    one = Sink("a", files.log, files.index, 0)
    disk.room = 24
    one.write(b"out\n", T, 1)
    one.note("pyflow: hello\n", T)
    one.write(b"more", T, 1)
    assert files.log_path.read_bytes() == b"out\npyflow: hello\n"


def test_nothing_is_cut_out_while_the_index_cannot_tell_of_it(files: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(files.index)
    monkeypatch.setattr(os, "write", disk.write)
    monkeypatch.setattr(sink, "_INDEX_BACKLOG_BYTES", 23)
    one = Sink("a", files.log, files.index, 20_000)
    disk.room = 0
    for n in range(8):
        one.write(b"x" * 4096, T + n)
    assert b"\0" not in files.log_path.read_bytes()
    disk.room = 1 << 20
    one.settle(T + 9)
    one.write(b"x" * 4096, T + 10)
    hole = logindex.holes(files.records())
    assert hole is not None
    assert files.log_path.read_bytes().count(b"\0") == hole[1] - hole[0]


def test_without_room_for_its_last_words_a_log_has_the_gap_before_its_end(
    files: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(files.log)
    monkeypatch.setattr(os, "write", disk.write)
    one = Sink("a", files.log, files.index, 0)
    disk.room = 4
    one.write(b"kept, the rest lost", T)
    one.end(T + 1)
    assert files.records() == [(0, T, DATA, 0), (4, T + 1, GAP, 15), (4, T + 1, END, 0)]
    disk.room = 1 << 20
    one.settle(T + 2)
    assert files.kinds() == [DATA, GAP, END, NOTE]
    assert not one.owes


def test_after_a_record_that_a_dead_logger_tore_the_next_ones_can_be_read(files: Opened) -> None:
    os.write(files.index, logindex.pack(0, T, DATA)[:13])
    one = Sink("a", files.log, files.index, 0)
    one.restarted(T + 1)
    assert files.kinds()[1:] == [GAP, NOTE]


def test_what_a_full_disk_did_not_take_is_counted_and_said_when_there_is_space(
    files: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(files.log)
    monkeypatch.setattr(os, "write", disk.write)
    one = Sink("a", files.log, files.index, 0)
    disk.room = 4
    one.write(b"kept, the rest lost", T)
    one.write(b"lost", T + 5000)
    assert one._lost_bytes == 19
    disk.room = 1 << 20
    one.settle(T + 9000)
    one.write(b"again\n", T + 9001)
    assert not one.owes
    words = b"\npyflow: 19 bytes of output lost here: No space left on device\n"
    assert files.log_path.read_bytes() == b"kept" + words + b"again\n"
    assert files.kinds() == [DATA, GAP, NOTE, DATA]
    assert files.records()[1] == (4, T + 9000, GAP, 19)


def test_an_index_that_was_torn_goes_on_at_the_byte_where_it_stopped(
    files: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(files.index)
    monkeypatch.setattr(os, "write", disk.write)
    one = Sink("a", files.log, files.index, 0)
    disk.room = 30
    one.write(b"x", T)
    one.write(b"y", T + 5000)
    assert len(files.index_path.read_bytes()) == 30
    disk.room = 1 << 20
    one.end(T + 9000)
    assert files.records() == [(0, T, DATA, 0), (1, T + 5000, DATA, 0), (2, T + 9000, END, 0)]


def test_where_holes_cannot_be_punched_the_head_is_kept_and_the_rest_is_said(
    files: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_log: int, _start: int, _length: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(sink, "_punch", refuse)
    one = Sink("a", files.log, files.index, 20_000)
    one.write(b"x" * 21_000, T)
    one.write(b"y" * 500, T + 1)
    one.end(T + 2)
    assert not one.owes
    log = files.log_path.read_bytes()
    assert log[:21_000] == b"x" * 21_000
    assert log[21_000:] == b"\npyflow: 500 bytes of output lost here: its quota is used up\n"
    assert files.kinds() == [DATA, GAP, NOTE, END]


@pytest.mark.parametrize("chunk", [100, 4096, 65_536])
def test_the_disk_never_holds_much_more_than_the_quota(files: Opened, chunk: int) -> None:
    quota = 100_000
    one = Sink("a", files.log, files.index, quota)
    most = 0
    for n in range(1_000_000 // chunk):
        one.write(bytes([65 + n % 26]) * chunk, T + n)
        most = max(most, os.fstat(files.log).st_blocks * 512)
    assert most <= quota + chunk + 2 * 4096
    hole = logindex.holes(files.records())
    assert hole is not None
    assert hole[0] == 24_576
    assert os.lseek(files.log, hole[0], os.SEEK_DATA) == hole[1]


def test_only_the_newest_cut_counts() -> None:
    records = [(0, T, DATA, 0), (4096, T, CUT, 1), (9000, T, DATA, 0), (4096, T, CUT, 3)]
    assert logindex.holes(records) == (4096, 4096 + 3 * 4096)


def test_a_record_that_is_cut_off_is_not_read() -> None:
    packed = logindex.pack(1, 2, DATA) + logindex.pack(3, 4, END)
    assert logindex.parse(packed[:-1]) == [(1, 2, DATA, 0)]


@given(
    st.integers(0, 2**63), st.integers(0, 2**60), st.sampled_from([DATA, GAP, CUT, END, NOTE]),
    st.integers(0, 2**40), st.integers(0, 3),
)  # fmt: skip
def test_a_record_is_read_as_it_was_written(offset: int, time_us: int, kind: int, value: int, stream: int) -> None:
    packed = logindex.pack(offset, time_us, kind, value, stream)
    assert len(packed) == logindex.RECORD_BYTES
    assert logindex.parse(packed) == [(offset, time_us, kind, min(value, logindex.VALUE_MAX))]
