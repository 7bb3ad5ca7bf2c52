"""`pyflowd.keeper.journal`: lines that survive a kill at any byte."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.keeper import journal, recover, wire
from pyflowd.keeper.wire import EXIT, FAILED, LOST, End

exits: End = (EXIT, ("0", "", "10", "20", "1", "2", "3", "", "0", "0"))
of_cgroup: End = (EXIT, (*exits[1], "1", "2", "4096"))
CONTENT = (
    journal.life_lines("e2", "boot", 1 << 20, 5, ("e1", "e0"))
    + journal.intent_line("a", 900, 6)
    + journal.started_line("a", 41, 7)
    + journal.intent_line("b", 800, 8)
    + journal.started_line("b", 42, 9)
    + journal.end_line("b", exits)
    + journal.intent_line("c", 700, 10)
    + journal.acknowledged_line("b")
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_a_journal_is_read_as_it_was_written() -> None:
    past = journal.parse(CONTENT.encode())
    assert (past.epoch, past.boot_id, past.lineage, past.tag_step) == ("e2", "boot", ("e1", "e0"), 1 << 20)
    assert set(past.attempts) == {"a", "c"}
    a = past.attempts["a"]
    assert (a.tag, a.began_us, a.pid, a.started_us, a.end) == (900, 6, 41, 7, None)


@given(st.integers(0, len(CONTENT)))
def test_a_journal_cut_at_any_byte_says_what_its_whole_lines_say(cut: int) -> None:
    whole = CONTENT[:cut].rpartition("\n")[0] + "\n"
    cut_off, complete = journal.parse(CONTENT[:cut].encode()), journal.parse(whole.encode())
    assert (cut_off.epoch, set(cut_off.attempts)) == (complete.epoch, set(complete.attempts))


@given(st.binary(max_size=300))
def test_nonsense_in_a_journal_is_passed_over(nonsense: bytes) -> None:
    past = journal.parse(CONTENT.encode() + b"\n" + nonsense.replace(b"\t", b" ") + b"\n")
    assert past.attempts["a"].pid == 41


@pytest.mark.parametrize(
    "end",
    [
        exits,
        of_cgroup,
        (FAILED, ("cwd", "2", "cannot enter the folder /x: No such file", "99")),
        (LOST, ("keeper lost", "9")),
    ],
)
def test_an_end_is_read_as_it_was_written(end: End) -> None:
    lines = journal.intent_line("a", 1, 2) + journal.end_line("a", end)
    assert journal.parse(lines.encode()).attempts["a"].end == end


def test_a_message_cannot_add_a_line_or_a_field() -> None:
    evil: End = (FAILED, ("exec", "2", "x\nA\ta\n\ty", "1"))
    line = journal.end_line("a", evil)
    assert line.count("\n") == 1
    past = journal.parse((journal.intent_line("a", 1, 2) + line).encode())
    assert past.attempts["a"].end == (FAILED, ("exec", "2", "x A a  y", "1"))


def test_leftovers_are_remembered_until_they_are_gone() -> None:
    lines = journal.orphans_line("a", 5, 6) + journal.orphans_line("b", 7, 8) + journal.clear_line("a")
    assert journal.parse(lines.encode()).orphans == {"b": (7, 8)}


def test_unfinished_attempts_of_a_dead_keeper_are_lost_and_ended_ones_keep_their_end() -> None:
    past = journal.parse((CONTENT + journal.end_line("c", exits)).encode())
    kept = {attempt.id: attempt.end for attempt in recover.kept_attempts(past, "boot")}
    assert kept["c"] == exits
    assert kept["a"] is not None
    assert kept["a"][0] == LOST
    assert kept["a"][1][0] == recover.KEEPER_LOST


def test_lineage_is_bounded() -> None:
    past = journal.parse(journal.life_lines("new", "b", 1, 1, tuple(f"e{n}" for n in range(100))).encode())
    lineage = recover.lineage(past)
    assert len(lineage) == journal.LINEAGE
    assert lineage[:2] == ("new", "e0")


def test_lines_reach_the_file_at_a_flush_and_not_before(folder: int, tmp_path: Path) -> None:
    book = journal.create(folder, "K\tx\n")
    book.add("I\ta\t1\t2\n")
    assert (tmp_path / "journal").read_text() == "K\tx\n"
    assert book.flush()
    assert (tmp_path / "journal").read_text() == "K\tx\nI\ta\t1\t2\n"


def test_a_line_that_a_full_disk_did_not_take_is_written_later(
    folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = journal.create(folder, "")
    real_write, room = os.write, [4, 0]

    def write(descriptor: int, payload: bytes) -> int:
        taken = room.pop(0)
        if not taken:
            raise OSError(28, "No space left on device")
        return real_write(descriptor, payload[:taken])

    monkeypatch.setattr(os, "write", write)
    book.add("E\tlonger than the room\n")
    flushed = [book.flush()]
    monkeypatch.undo()
    flushed.append(book.flush())
    assert flushed == [False, True]
    assert (tmp_path / "journal").read_text() == "E\tlonger than the room\n"


def test_a_rewritten_journal_takes_the_lines_that_come_after(folder: int, tmp_path: Path) -> None:
    book = journal.create(folder, "old\n" * 300_000)
    long_before = book.is_long
    book.rewrite("new\n")
    assert (long_before, book.is_long) == (True, False)
    book.add("A\tx\n")
    book.flush()
    assert (tmp_path / "journal").read_text() == "new\nA\tx\n"


def test_what_is_kept_is_in_the_wire_as_it_is_in_the_journal() -> None:
    ((kind, fields),) = wire.take_frames(bytearray(wire.pack_end("a", exits)))
    assert (kind, [field.decode() for field in fields]) == (EXIT, ["a", *exits[1]])
