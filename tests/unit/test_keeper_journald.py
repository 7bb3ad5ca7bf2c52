"""`pyflowd.keeper.journald`: the bytes of entries, and the sending end with journalds of every sort."""

from __future__ import annotations

import fcntl
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.keeper import journald
from pyflowd.keeper.journald import DROPPED_ID, Outbox, encode
from tests.journal import FakeJournal, parse


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[FakeJournal]:
    found = FakeJournal(tmp_path)
    yield found
    found.close()


@pytest.fixture
def outbox(journal: FakeJournal) -> Iterator[Outbox]:
    found = Outbox(journal.path, "pyflow-test")
    yield found
    found.close()


def test_an_entry_is_its_fields_a_line_each() -> None:
    assert encode([("MESSAGE", "hello"), ("PRIORITY", 6), ("RAW", b"\xff\x00=")]) == (
        b"MESSAGE=hello\nPRIORITY=6\nRAW=\xff\x00=\n"
    )


def test_a_value_with_a_newline_goes_with_its_length() -> None:
    assert encode([("MESSAGE", "a\nb"), ("X", "")]) == b"MESSAGE\n\x03\0\0\0\0\0\0\0a\nb\nX=\n"


def test_text_that_is_no_unicode_is_written_in_escapes() -> None:
    assert encode([("X", "a\udcffb")]) == b"X=a\\udcffb\n"


@given(
    st.lists(st.tuples(st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True), st.binary()), unique_by=lambda e: e[0])
)
def test_no_value_can_make_a_field_of_its_own(fields: list[tuple[str, bytes]]) -> None:
    assert list(parse(encode(fields)).items()) == fields


def test_entries_arrive_in_order(journal: FakeJournal, outbox: Outbox) -> None:
    for n in range(3):
        outbox.put(b"N=%d\n" % n)
    outbox.put(lambda: b"N=3\n")
    assert journal.take() == []
    outbox.flush()
    assert journal.take() == [b"N=0\n", b"N=1\n", b"N=2\n", b"N=3\n"]
    assert (len(outbox), outbox.wait_s()) == (0, None)


def test_no_more_is_sent_than_asked_for(journal: FakeJournal, outbox: Outbox) -> None:
    for n in range(3):
        outbox.put(b"N=%d\n" % n)
    outbox.flush(2)
    assert (len(journal.take()), len(outbox), outbox.wait_s()) == (2, 1, 0.0)


def test_an_entry_too_large_for_a_datagram_goes_as_a_sealed_memfd(journal: FakeJournal, outbox: Outbox) -> None:
    entry = encode([("MESSAGE", b"x\n" * 5_000_000)])
    outbox.put(entry)
    outbox.flush()
    data, (descriptor,), _, _ = socket.recv_fds(journal.socket, 100, 1)
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
        assert seals == fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        assert (data, os.pread(descriptor, len(entry) + 1, 0) == entry) == (b"", True)
    finally:
        os.close(descriptor)


def fill(outbox: Outbox) -> int:
    """Send until journald's queue is full; how many it has taken."""
    sent = 0
    while not outbox.blocked:
        outbox.put(b"N=%d\n" % sent)
        outbox.flush()
        sent += 1
    return sent - 1


def test_a_journald_that_does_not_read_is_not_waited_for_and_nothing_is_lost(
    journal: FakeJournal, outbox: Outbox
) -> None:
    taken = fill(outbox)
    assert (len(outbox), outbox.wait_s()) == (1, None)
    poll = select.poll()
    poll.register(outbox.fileno(), select.POLLOUT)
    assert poll.poll(0) == []
    assert len(journal.take()) == taken
    assert poll.poll(0)
    outbox.flush()
    assert journal.take() == [b"N=%d\n" % taken]


def test_what_is_too_much_is_counted_and_said_when_journald_reads_again(
    journal: FakeJournal, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journald, "QUEUE_MAX", 5)
    fill(outbox)
    for _ in range(4 + 7):
        outbox.put(b"LATE=1\n")
    journal.take()
    outbox.flush()
    *late, told = journal.entries()
    assert len(late) == 5
    assert told == {
        "MESSAGE": b"7 entries were dropped: journald did not read them in time", "MESSAGE_ID": DROPPED_ID.encode(),
        "PRIORITY": b"4", "SYSLOG_IDENTIFIER": b"pyflow-test", "PYFLOW_DROPPED": b"7",
    }  # fmt: skip
    assert len(outbox) == 0


def test_what_an_entry_is_made_of_is_not_kept_while_journald_does_not_read(outbox: Outbox) -> None:
    fill(outbox)
    made: list[str] = []

    def entry() -> bytes:
        made.append("now")
        return b"A=1\n"

    outbox.put(entry)
    assert made == ["now"]


def test_a_journald_that_is_not_there_is_tried_again_later(
    journal: FakeJournal, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.put(b"N=0\n")
    outbox.flush()
    journal.absent()
    outbox.put(b"N=1\n")
    outbox.flush()
    assert (outbox.is_absent, outbox.fileno()) == (True, -1)
    assert 0 < (outbox.wait_s() or 0) <= journald.RETRY_S
    journal.back()
    outbox.flush()
    assert journal.take() == [], "it is not looked for at each entry"
    monkeypatch.setattr(outbox, "_retry_at_s", 1e-9)
    outbox.flush()
    assert journal.take() == [b"N=1\n"]
