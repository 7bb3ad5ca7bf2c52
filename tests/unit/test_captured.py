"""`pyflowd.captured`: one stream of a log, by its index."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.base import captured
from pyflowd.base.captured import Captured, read_stream
from pyflowd.keeper.logindex import CUT, DATA, END, GAP, NOTE, STDERR, STDOUT, TOGETHER, pack
from pyflowd.keeper.sink import COALESCE_US, Sink

T = 1_000_000_000
LIMIT = 1 << 20


class Log:
    """A log and its index as the logger writes them."""

    def __init__(self, folder: Path | None = None, max_bytes: int = 0) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        if folder is None:
            self.log, self.index = os.memfd_create("log"), os.memfd_create("index")
        else:
            self.log, self.index = os.open(folder / "log", flags), os.open(folder / "index", flags)
        self.sink = Sink("a", self.log, self.index, max_bytes)

    def close(self) -> None:
        os.close(self.log)
        os.close(self.index)

    def record(self, kind: int, value: int = 0, stream: int = 0) -> None:
        os.write(self.index, pack(self.sink.offset, T, kind, value, stream))

    def read(self, stream: int, max_bytes: int = LIMIT) -> Captured:
        return read_stream(self.log, self.index, stream, max_bytes)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    opened = Log(tmp_path)
    yield opened
    opened.close()


said_on = st.lists(
    st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(min_size=1, max_size=9), st.integers(0, 3 * COALESCE_US)),
    max_size=40,
)


@given(said_on, st.integers(1, 6))
def test_each_stream_is_read_as_it_was_written_however_they_mix(
    said: list[tuple[int, bytes, int]], chunk_records: int
) -> None:
    whole, captured._CHUNK_BYTES = captured._CHUNK_BYTES, chunk_records * 24
    log, at_us = Log(), T
    try:
        for stream, payload, later_us in said:
            at_us += later_us
            log.sink.write(payload, at_us, stream)
        log.sink.end(at_us)
        for stream in (STDOUT, STDERR):
            assert log.read(stream) == Captured(
                data=b"".join(payload for other, payload, _ in said if other == stream), finished=True
            )
    finally:
        log.close()
        captured._CHUNK_BYTES = whole


def test_without_the_end_record_nothing_is_given(log: Log) -> None:
    log.sink.write(b"half", T, STDOUT)
    assert log.read(STDOUT) == Captured()
    assert not log.read(STDOUT).complete


def test_words_of_our_own_belong_to_neither_stream(log: Log) -> None:
    log.sink.write(b"one", T, STDOUT)
    log.sink.note("pyflow: hello\n", T)
    log.sink.write(b"two", T, STDOUT)
    log.sink.end(T)
    log.sink.note("pyflow: bye\n", T)
    found = log.read(STDOUT)
    assert (found.data, found.complete) == (b"onetwo", True)


def test_a_gap_makes_it_incomplete_and_says_why(log: Log) -> None:
    log.sink.write(b"one", T, STDOUT)
    log.sink.restarted(T)
    log.sink.write(b"two", T, STDOUT)
    log.sink.end(T)
    found = log.read(STDOUT)
    assert (found.data, found.finished, found.complete) == (b"onetwo", True, False)
    assert "some of it is missing" in found.problem


def test_a_hole_in_the_stream_makes_it_incomplete(tmp_path: Path) -> None:
    log = Log(tmp_path, max_bytes=40_000)
    for n in range(30):
        log.sink.write(b"x" * 4096, T + n, STDOUT)
    log.sink.end(T)
    found = log.read(STDOUT)
    log.close()
    assert (found.finished, found.complete) == (True, False)
    assert "quota" in found.problem


def test_a_hole_that_took_only_of_the_other_stream_does_no_harm(tmp_path: Path) -> None:
    log = Log(tmp_path, max_bytes=40_000)
    log.sink.write(b"first", T, STDOUT)
    for n in range(30):
        log.sink.write(b"x" * 4096, T + n, STDERR)
    log.sink.write(b"last", T, STDOUT)
    log.sink.end(T)
    found = log.read(STDOUT)
    errors = log.read(STDERR)
    log.close()
    assert (found.data, found.complete) == (b"firstlast", True)
    assert not errors.complete


def test_more_than_allowed_is_not_read(log: Log) -> None:
    log.sink.write(b"x" * 100, T, STDOUT)
    log.sink.write(b"y" * 100, T, STDERR)
    log.sink.end(T)
    assert log.read(STDOUT, 100).complete
    found = log.read(STDOUT, 99)
    assert (found.data, found.finished, found.complete, found.too_long) == (b"", True, False, True)
    assert found.problem == "it is more than 99 bytes"


def test_streams_that_were_not_kept_apart_are_not_taken_for_one_of_them(log: Log) -> None:
    log.sink.write(b"both", T, TOGETHER)
    log.sink.end(T)
    found = log.read(STDOUT)
    assert (found.data, found.complete) == (b"", False)
    assert "apart" in found.problem


def test_a_log_without_output_is_complete_and_empty(log: Log) -> None:
    log.sink.end(T)
    assert log.read(STDOUT) == Captured(data=b"", finished=True)


def test_a_record_of_an_unknown_kind_ends_no_piece(log: Log) -> None:
    log.sink.write(b"one", T, STDOUT)
    log.record(99)
    os.write(log.log, b"two")
    log.sink.offset += 3
    log.record(END)
    assert log.read(STDOUT).data == b"onetwo"


def test_the_positions_of_the_descriptors_stay(log: Log) -> None:
    log.sink.write(b"one", T, STDOUT)
    log.sink.end(T)
    before = [os.lseek(fd, 0, os.SEEK_CUR) for fd in (log.log, log.index)]
    assert log.read(STDOUT).data == b"one"
    assert [os.lseek(fd, 0, os.SEEK_CUR) for fd in (log.log, log.index)] == before


def test_both_streams_together_cannot_be_asked_for(log: Log) -> None:
    with pytest.raises(ValueError, match="no stream"):
        log.read(TOGETHER)


def test_the_end_is_seen_behind_the_notes_that_follow_it(log: Log) -> None:
    for kind in (DATA, CUT, GAP, END, NOTE, NOTE):
        assert captured.is_finished(log.index) == (kind == NOTE and log.read(STDERR).finished)
        log.record(kind)
    assert captured.is_finished(log.index)
