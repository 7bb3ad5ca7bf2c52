"""`pyflowd.keeper.forward`: output to lines of the journal, within what it is to be given."""

from __future__ import annotations

from pyflowd.keeper.forward import LINE_MAX_BYTES, LINES_AT_ONCE, LINES_PER_S, Forward
from pyflowd.keeper.journald import LEFT_OUT_ID, OUTPUT_ID
from tests.journal import parse

NOW_US = 1_000_000_000


def forward(*fields: bytes) -> Forward:
    return Forward(list(fields), NOW_US)


def lines(entries: list[bytes]) -> list[bytes]:
    return [parse(entry)["MESSAGE"] for entry in entries]


def test_a_line_is_an_entry_that_says_whose_it_is() -> None:
    (entry,) = forward(b"PYFLOW_RUN=7", b"PYFLOW_TASK=t[a\nb]").feed(b"hello\n", 0, NOW_US)
    assert parse(entry) == {
        "SYSLOG_IDENTIFIER": b"pyflow-task", "PYFLOW_RUN": b"7", "PYFLOW_TASK": b"t[a\nb]",
        "MESSAGE_ID": OUTPUT_ID.encode(), "PRIORITY": b"6", "MESSAGE": b"hello",
    }  # fmt: skip


def test_how_output_is_cut_into_reads_does_not_matter_and_streams_do_not_mix() -> None:
    output = forward()
    found = []
    for payload, stream in ((b"on", 1), (b"err", 2), (b"e\nt", 1), (b"wo\n\xff\x00\n", 1), (b"or\n", 2)):
        found += lines(output.feed(payload, stream, NOW_US))
    assert found == [b"one", b"two", b"\xff\x00", b"error"]
    assert output.end(NOW_US) == []


def test_a_last_line_without_an_end_goes_at_the_end() -> None:
    output = forward()
    assert output.feed(b"half", 0, NOW_US) == []
    assert lines(output.end(NOW_US)) == [b"half"]


def test_a_line_too_long_goes_in_pieces_and_is_not_gathered() -> None:
    output = forward()
    found = []
    for _ in range(5):
        found += lines(output.feed(b"x" * LINE_MAX_BYTES, 0, NOW_US))
    found += lines(output.feed(b"y\n", 0, NOW_US))
    assert b"".join(found) == b"x" * 5 * LINE_MAX_BYTES + b"y"
    assert max(map(len, found)) == LINE_MAX_BYTES


def test_a_flood_is_left_out_and_that_is_said_before_the_next_line() -> None:
    output = forward()
    first = output.feed(b"n\n" * (LINES_AT_ONCE + 30), 0, NOW_US)
    assert len(first) == LINES_AT_ONCE
    assert output.feed(b"n\n" * 5, 0, NOW_US) == []
    told, line = output.feed(b"again\n", 0, NOW_US + 1_000_000)
    assert parse(line)["MESSAGE"] == b"again"
    assert parse(told)["MESSAGE_ID"] == LEFT_OUT_ID.encode()
    assert parse(told)["MESSAGE"].startswith(b"pyflow: 35 lines of output left out here")
    assert len(output.feed(b"n\n" * 1000, 0, NOW_US + 1_000_000)) == LINES_PER_S - 1


def test_a_flood_to_the_end_is_said_at_the_end() -> None:
    output = forward()
    output.feed(b"n\n" * (LINES_AT_ONCE + 1), 0, NOW_US)
    (told,) = output.end(NOW_US)
    assert parse(told)["MESSAGE"].startswith(b"pyflow: 1 line of output left out here")


def test_a_clock_that_was_set_back_takes_no_credit_away() -> None:
    output = forward()
    assert len(output.feed(b"n\n", 0, NOW_US - 500_000_000)) == 1
    assert len(output.feed(b"n\n", 0, NOW_US)) == 1
