"""Logs as the web front reads them: maps of lines, blocks, colours, faults, searches, ranges."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Message, Scope

from pyflowctl.client import OpenLog
from pyflowd.errors import UsageError
from pyflowd.keeper.logindex import CUT, DATA, END, GAP, NOTE, STDERR, STDOUT, pack
from pyflowd.protocol.views import LogOpen
from pyflowd.web.endpoints.sending import Streamed, Unsatisfiable, asked_range
from pyflowd.web.logs import errors, linemap, search
from pyflowd.web.logs.block import block, offset
from pyflowd.web.logs.errors import first_error, is_error, last_error
from pyflowd.web.logs.linemap import LineMap, LineMaps
from pyflowd.web.logs.opened import Log
from pyflowd.web.logs.text import Span, marked, spans
from pyflowd.web.logs.view import shown


def made(tmp_path: Path, content: bytes, records: bytes | None = None, *, live: bool = False) -> Log:
    path = tmp_path / "log"
    path.write_bytes(content)
    (tmp_path / "idx").write_bytes(pack(0, 1_000_000, DATA) if records is None else records)
    opened = LogOpen(run=7, task="t", attempt=1, live=live)
    return Log(OpenLog(opened, os.open(path, os.O_RDONLY), os.open(tmp_path / "idx", os.O_RDONLY)))


def in_memory(content: bytes) -> int:
    fd = os.memfd_create("log")
    os.write(fd, content)
    return fd


def mapped(log: Log) -> LineMap:
    lines = LineMap()
    lines.extend(log.fd)
    return lines


# ---- Maps of lines


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")), max_size=60), st.booleans())
def test_every_line_is_where_the_map_says(lines: list[bytes], whole: bool) -> None:
    content = b"\n".join(lines) + (b"\n" if whole and lines else b"")
    expected = content.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    fd = in_memory(content)
    try:
        found = LineMap()
        found.extend(fd)
        assert found.lines == len(expected)
        told = found.block(fd, 1, 1000, 1 << 20, 1 << 20)
        assert [content[line.begin : line.end] for line in told] == expected
        assert [found.number_at(fd, line.begin) for line in told if line.end > line.begin] == [
            line.number for line in told if line.end > line.begin
        ]
    finally:
        os.close(fd)


def test_lines_are_found_across_the_chunks_of_a_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linemap, "CHUNK_BYTES", 64)
    monkeypatch.setattr(linemap, "_READ_BYTES", 256)
    content = b"".join(b"line %d %s\n" % (n, b"x" * (n % 90)) for n in range(1, 500))
    log = made(tmp_path, content)
    lines = mapped(log)
    assert lines.lines == 499
    for number in (1, 2, 63, 64, 65, 250, 499):
        (line,) = lines.block(log.fd, number, 1, 1, 4096)
        assert content[line.begin : line.end].startswith(b"line %d " % number)
        assert lines.number_at(log.fd, line.begin) == number
    assert lines.block(log.fd, 500, 10, 1000, 1000) == []


def test_a_log_that_grows_is_counted_on_and_one_that_shrinks_anew(tmp_path: Path) -> None:
    log = made(tmp_path, b"one\ntw")
    lines = mapped(log)
    assert (lines.lines, lines.unfinished) == (2, True)
    with (tmp_path / "log").open("ab") as file:
        file.write(b"o\nthree\n")
    lines.extend(log.fd)
    assert (lines.lines, lines.unfinished) == (3, False)
    assert [(line.begin, line.end) for line in lines.block(log.fd, 2, 1, 9, 9)] == [(4, 7)]
    os.truncate(tmp_path / "log", 4)
    lines.extend(log.fd)
    assert (lines.lines, lines.unfinished) == (1, False)


def test_a_hole_parts_a_log_and_lines_are_counted_on_after_it(tmp_path: Path) -> None:
    log = made(tmp_path, b"")
    with (tmp_path / "log").open("r+b") as file:
        file.write(b"a\nb" + b"." * 4093)
        file.seek(1 << 20)
        file.write(b"rest of a line\nlast\n")
    if os.lseek(log.fd, 0, os.SEEK_HOLE) > 4096:
        pytest.skip("this file system has no holes")
    lines = mapped(log)
    assert lines.hole is not None
    assert lines.lines == 4
    assert (lines.hole.after, lines.hole.begin, lines.hole.end) == (2, 4096, 1 << 20)
    found = block(log, lines, 1)
    assert [row.number for row in found.rows] == [1, 2, 0, 3, 4]
    assert found.rows[2].text == "1020 KiB left out here to keep the quota of the log"
    assert "".join(span.text for span in found.rows[3].spans) == "rest of a line"


def test_maps_of_few_logs_are_kept_and_files_with_the_same_number_are_told_apart(tmp_path: Path) -> None:
    log = made(tmp_path, b"x\n")
    maps = LineMaps(2)
    first = maps.of(log.fd, "1/a", 1)
    assert maps.of(log.fd, "1/a", 1) is first
    assert maps.of(log.fd, "1/a", 2) is not first
    maps.of(log.fd, "1/b", 1)
    assert maps.of(log.fd, "1/a", 1) is not first


# ---- Blocks


def test_a_block_ends_after_so_many_lines_or_bytes(tmp_path: Path) -> None:
    log = made(tmp_path, b"".join(b"%d\n" % n for n in range(1, 1001)))
    found = block(log, mapped(log), 301)
    assert (found.rows[0].number, found.rows[-1].number, found.after, found.total) == (301, 500, 501, 1000)
    log = made(tmp_path, b"".join(b"%d %s\n" % (n, b"y" * 3000) for n in range(1, 101)))
    found = block(log, mapped(log), 1)
    assert len(found.rows) == 22
    assert found.after == 23


def test_a_line_without_end_costs_what_is_shown_of_it(tmp_path: Path) -> None:
    log = made(tmp_path, b"short\n" + "é".encode() * 300_000 + b"\nend\n")
    found = block(log, mapped(log), 1)
    long = found.rows[1]
    assert [row.number for row in found.rows] == [1, 2, 3]
    assert "".join(span.text for span in long.spans) == "é" * 2048
    assert long.cut == 600_000 - 4096
    log = made(tmp_path, "€".encode() * 3000)
    (row,) = block(log, mapped(log), 1).rows
    assert "".join(span.text for span in row.spans) == "€" * 1365
    assert row.cut == 9000 - 4095


def test_a_progress_bar_of_any_length_shows_its_last_state(tmp_path: Path) -> None:
    log = made(tmp_path, b"".join(b"\r%d %%" % n for n in range(20_000)) + b"\rdone\n")
    (row,) = block(log, mapped(log), 1).rows
    assert row.spans == [Span("", "done")]
    assert row.cut == 0


def test_lines_have_their_time_their_stream_and_what_is_missing(tmp_path: Path) -> None:
    records = b"".join(
        (
            pack(0, 2_000_000, DATA, stream=STDOUT),
            pack(4, 3_500_000, DATA, stream=STDERR),
            pack(4, 0, CUT, 3),
            pack(8, 5_000_000, GAP, 9000),
            pack(8, 5_000_000, NOTE, 5),
            pack(13, 70_000_000, DATA, stream=STDOUT),
            pack(17, 80_000_000, END),
        )
    )
    log = made(tmp_path, b"out\nerr\nnote\nout\n", records)
    rows = block(log, mapped(log), 1, since_us=1_000_000).rows
    assert [row.offset for row in rows] == ["+0:01.0", "+0:02.5", "", "+0:04.0", "+1:09.0"]
    assert [row.css for row in rows] == ["", "e2", "", "note", ""]
    assert rows[2].text == "9,000 bytes of output, or fewer, are missing here"


def test_the_index_of_a_log_is_searched_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = b"".join(pack(n * 2, 1_000_000 + n * 100_000, DATA) for n in range(20_000))
    log = made(tmp_path, b"x\n" * 20_000, records)
    lines = mapped(log)
    read: list[int] = []
    pread = os.pread

    def counting(fd: int, count: int, at: int) -> bytes:
        read.append(count if fd == log.index_fd else 0)
        return pread(fd, count, at)

    monkeypatch.setattr(os, "pread", counting)
    rows = block(log, lines, 15_000, since_us=1_000_000).rows
    assert rows[0].offset == "+24:59.9"
    assert sum(read) < 60_000


def test_a_line_within_a_record_has_its_time(tmp_path: Path) -> None:
    records = pack(0, 2_000_000, DATA) + pack(0, 0, CUT, 1) + pack(9, 3_000_000, DATA) + pack(90, 4_000_000, DATA)
    log = made(tmp_path, b"abcdefgh\n" + b"x\n" * 60, records)
    assert [row.offset for row in block(log, mapped(log), 20, most=1, since_us=1_000_000).rows] == ["+0:02.0"]
    assert [row.offset for row in block(log, mapped(log), 60, most=1, since_us=1_000_000).rows] == ["+0:03.0"]


@pytest.mark.parametrize(
    ("us", "text"), [(0, "+0:00.0"), (-5, "+0:00.0"), (61_250_000, "+1:01.2"), (3_723_400_000, "+1:02:03.4")]
)
def test_offsets_since_the_begin(us: int, text: str) -> None:
    assert offset(us) == text


# ---- What a page shows of a log


def test_a_failed_task_opens_at_its_first_fault_and_shows_the_end(tmp_path: Path) -> None:
    content = b"fine\n" * 1000 + b"fatal: no\n" + b"after\n" * 1000
    log = made(tmp_path, content)
    seen = shown(log, since_us=0, failed=True, lines_max=60)
    numbers = [row.number for row in seen.rows]
    assert (seen.error, seen.at) == (1001, 1001)
    assert numbers[1] == 995
    assert numbers[-1] == 2001
    gaps = [(row.first, row.until) for row in seen.rows if row.until]
    assert gaps == [(1, 995), (1055, 1962)]
    told = {row.number for row in seen.rows if row.number} | {n for a, b in gaps for n in range(a, b)}
    assert told == set(range(1, 2002))


@pytest.mark.parametrize("lines", [0, 1, 39, 40, 41, 59, 60, 61, 500])
@pytest.mark.parametrize("at", [0, 1, 30, 400])
def test_every_line_of_a_log_is_shown_or_in_a_gap_once(tmp_path: Path, lines: int, at: int) -> None:
    log = made(tmp_path, b"".join(b"%d\n" % n for n in range(lines)))
    seen = shown(log, since_us=0, failed=False, at=at, lines_max=60)
    told: list[int] = []
    for row in seen.rows:
        told += [row.number] if row.number else range(row.first, row.until)
    assert told == list(range(1, lines + 1))


# ---- Text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"", []),
        (b"plain", [Span("", "plain")]),
        (b"\x1b[31mred\x1b[0m x", [Span("c-r", "red"), Span("", " x")]),
        (b"\x1b[1;4;92mall", [Span("c-g c-bold c-under", "all")]),
        (b"\x1b[38;5;3myellow\x1b[38;5;200mkept", [Span("c-y", "yellowkept")]),
        (b"\x1b[38;2;1;2;3mtrue colour\x1b[48;5;1mback", [Span("", "true colourback")]),
        (b"a\x1b]0;title\x07b\x1b[2Jc\x1b(Bd", [Span("", "abcd")]),
        (b"\x1b[31m\x1b[mback", [Span("", "back")]),
        (b"bell\x07 nul\x00 del\x7f", [Span("", "bell\u2407 nul\u2400 del\u2421")]),
        (b"\xff bytes", [Span("", "\\xff bytes")]),
        ("turn \u202eback".encode(), [Span("", "turn \\u202eback")]),
        (b"10 %\r20 %\r", [Span("", "20 %")]),
        (b"<b>&", [Span("", "<b>&")]),
        (b"\x1b", [Span("", "\u241b")]),
    ],
)
def test_a_line_as_people_see_it(line: bytes, expected: list[Span]) -> None:
    assert spans(line) == expected


@settings(deadline=None)
@given(st.binary(max_size=200).map(lambda data: data.replace(b"\n", b"")))
def test_no_line_has_a_hidden_character(line: bytes) -> None:
    text = "".join(span.text for span in spans(line))
    assert not any(ord(char) < 32 and char != "\t" for char in text)
    assert not any(0x7F <= ord(char) < 0xA0 or char in "\u202e\u2066\u2028" for char in text)


def test_what_is_looked_for_is_marked_across_colours() -> None:
    found = [Span("c-r", "No spa"), Span("", "ce left, no SPACE")]
    assert marked(found, "space") == [
        Span("c-r", "No "), Span("c-r mark", "spa"), Span("mark", "ce"), Span("", " left, no "), Span("mark", "SPACE"),
    ]  # fmt: skip
    assert marked(found, "SPACE")[-1] == Span("mark", "SPACE")
    assert marked(found, "absent") == found


# ---- Faults


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (b"rsync: write failed on /vault: No space left on device (28)", True),
        (b"ERROR: it broke", True),
        (b"ValueError: bad", True),
        (b"Traceback (most recent call last):", True),
        (b"bash: line 1: X: unbound variable", True),
        (b"2 errors, 0 warnings", True),
        (b"0 errors", False),
        (b"no errors found", False),
        (b"errors: 0", False),
        (b"[debug] retry after error", False),
        (b"error_log=/var/log/x", False),
        (b"/srv/errors.txt copied", False),
        (b"failover ready", False),
        (b"all is well", False),
    ],
)
def test_lines_that_tell_of_a_fault(line: bytes, wrong: bool) -> None:
    assert is_error(line) is wrong


def test_the_first_fault_is_found_wherever_pieces_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_READ_BYTES", 64)
    log = made(tmp_path, b"no errors here\n" * 20 + b"x" * 50 + b" ERROR: yes\nerror: again\n")
    assert first_error(log.fd, mapped(log)) == 21


def test_the_last_fault_is_the_end_of_a_traceback(tmp_path: Path) -> None:
    content = (
        b"error: expected\n" + b"fine\n" * 9 + b"Traceback (most recent call last):\n  in f\nValueError: no\nbye\n"
    )
    log = made(tmp_path, content)
    assert last_error(log.fd, mapped(log)) == 13
    assert shown(log, since_us=0, failed=True).last_error == 13
    fine = made(tmp_path, b"fine\n" * 9)
    assert last_error(fine.fd, mapped(fine)) is None


def test_the_last_fault_is_looked_for_in_the_end_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "LATE_BYTES", 32)
    log = made(tmp_path, b"error: early\n" + b"fine\n" * 30)
    assert last_error(log.fd, mapped(log)) is None


def test_a_log_too_long_for_the_time_is_looked_at_in_its_end_then_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "_READ_BYTES", 64)
    monkeypatch.setattr(errors, "LATE_BYTES", 32)
    log = made(tmp_path, b"fine\n" * 30 + b"error: first\n" + b"fine\n" * 30 + b"fatal: last\n")
    lines = mapped(log)
    assert first_error(log.fd, lines, budget_s=-1) == 62
    assert [first_error(log.fd, lines, budget_s=-1) for _ in range(3)][-1] == 31


# ---- Searches


@settings(deadline=None)
@given(st.text("abAB\n", max_size=120), st.text("ab", min_size=1, max_size=3))
def test_a_search_tells_each_line_once(text: str, wanted: str) -> None:
    expected = [number for number, line in enumerate(text.split("\n"), 1) if wanted in line.lower()]
    fd = in_memory(text.encode())
    before = search._READ_BYTES
    try:
        lines = LineMap()
        lines.extend(fd)
        search._READ_BYTES = 16
        found = [hit for hit in search.hits(fd, lines, wanted.encode()) if hit is not None]
        assert found == expected
    finally:
        search._READ_BYTES = before
        os.close(fd)


@pytest.mark.parametrize("before", range(12, 20))
def test_a_hit_across_two_pieces_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    monkeypatch.setattr(search, "_READ_BYTES", 16)
    log = made(tmp_path, b"1\n2\n" + b"." * (before - 4) + b"needle......needle......needle\nneedle\n")
    assert [hit for hit in search.hits(log.fd, mapped(log), b"needle") if hit] == [3, 4]


def test_capital_letters_are_looked_for_as_they_are(tmp_path: Path) -> None:
    log = made(tmp_path, b"error\nError\nERROR\n")
    lines = mapped(log)
    assert [hit for hit in search.hits(log.fd, lines, b"error") if hit] == [1, 2, 3]
    assert [hit for hit in search.hits(log.fd, lines, b"Error") if hit] == [2]


def test_a_search_is_for_one_line_of_text() -> None:
    for text in ("a\nb", "x" * 1001):
        with pytest.raises(UsageError):
            search.asked_for(text)


# ---- Ranges


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None), ("bytes=0-9", (0, 10)), ("bytes=90-", (90, 100)), ("bytes=90-500", (90, 100)),
        ("bytes=-7", (93, 100)),
        ("bytes=-500", (0, 100)), ("bytes=0-1,5-6", None), ("lines=0-1", None), ("bytes=5-4", None), ("bytes=-", None),
    ],
)  # fmt: skip
def test_ranges_of_bytes(header: str, expected: tuple[int, int] | None) -> None:
    assert asked_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=200-300", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        asked_range(header, 100)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_answer_lets_go_of_what_it_holds_also_when_nobody_waits_for_it(method: str) -> None:
    closed: list[str] = []
    scope: Scope = {"type": "http", "method": method, "asgi": {"version": "3.0", "spec_version": "2.3"}}

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        await asyncio.sleep(0)

    answer = Streamed(iter([b"piece"] * 3), lambda: closed.append("once"), media_type="text/plain")
    asyncio.run(answer(scope, receive, send))
    assert closed == ["once"]
