"""`pyflowd.keeper.logger` and the pipes that it reads, without a keeper."""

from __future__ import annotations

import os
import select
import socket
from pathlib import Path

import pytest

from pyflowd.keeper import wire
from pyflowd.keeper.attempt import Attempt
from pyflowd.keeper.channel import Channel
from pyflowd.keeper.logger import Logger
from pyflowd.keeper.loggerlink import LoggerLink, release
from pyflowd.keeper.spawn import Pipes
from tests.journal import FakeJournal


def retire(log: Path, index: Path) -> list[int]:
    """Hand a log of a dead logger to a new one and ask that one to retire; the kinds of what it answers."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    reader, writer = os.pipe()
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    descriptors = (reader, os.open(log, flags), os.open(index, flags))
    channel.send(wire.frame(wire.LOG_ADD, b"a", b"0", b"%d" % wire.FLAG_GAP), descriptors, close_sent=True)
    channel.send(wire.frame(wire.LOG_RETIRE))
    channel.flush()
    logger = Logger(theirs)
    logger.run()
    kinds = [kind for kind, _ in channel.receive()]
    for pipe, (sink, _, _) in logger._pipes.items():
        for descriptor in (pipe, sink.log, sink.index):
            os.close(descriptor)
    logger._epoll.close()
    theirs.close()
    channel.close()
    os.close(writer)
    return kinds


def test_a_logger_that_has_written_all_says_so_when_it_retires(tmp_path: Path) -> None:
    assert retire(tmp_path / "log", tmp_path / "index") == [wire.LOG_READY, wire.LOG_RETIRED]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_logger_that_could_not_write_all_retires_as_one_that_died(tmp_path: Path) -> None:
    assert retire(tmp_path / "log", Path("/dev/full")) == [wire.LOG_READY]


def test_a_log_without_secrets_has_no_masker(tmp_path: Path) -> None:
    logger, channel, (writer,) = logger_with(tmp_path, ())
    assert [masker for _, _, masker in logger._pipes.values()] == [None]
    os.close(writer)
    close(logger, channel)


def test_attempts_with_the_same_secrets_share_one_search_and_it_is_forgotten_with_the_last(tmp_path: Path) -> None:
    logger, channel, writers = logger_with(tmp_path, (b"a secret of some length",), names=("a", "b"))
    assert len(logger._masks) == 1
    for pipe, writer in zip(list(logger._pipes), writers, strict=True):
        os.write(writer, b"a secret of ")
        logger._on_pipe(pipe, select.EPOLLIN)
        os.close(writer)
        logger._on_pipe(pipe, select.EPOLLHUP)
    assert len(logger._masks) == 0
    assert (tmp_path / "a.log").read_bytes() == b"a secret of "
    close(logger, channel)


def test_what_comes_after_the_wish_to_retire_is_left_to_the_next_logger(tmp_path: Path) -> None:
    logger, channel, (writer,) = logger_with(tmp_path, (b"a secret of some length",))
    ((pipe, (_, _, masker)),) = logger._pipes.items()
    assert masker is not None
    masker.feed(b"and a secret")
    channel.send(wire.frame(wire.LOG_RETIRE))
    channel.flush()
    os.write(writer, b" of some length")
    logger.run()
    kinds = dict(channel.receive())
    assert kinds[wire.LOG_HELD] == [b"a", b"0", b"-1 a secret"]
    assert wire.LOG_RETIRED in kinds
    assert ((tmp_path / "a.log").read_bytes(), os.read(pipe, 100)) == (b"", b" of some length")
    os.close(writer)
    close(logger, channel)


def test_secrets_are_forgotten_when_the_log_is_let_go_and_what_was_held_when_it_is_handed_on(tmp_path: Path) -> None:
    attempt = with_secrets()
    ours, theirs = socket.socketpair()
    link, channel = LoggerLink(str(tmp_path)), Channel(ours)
    link._hand_over(channel, attempt)
    assert attempt.held == {}
    release(attempt)
    assert len(attempt.masks) == 0
    channel.close()
    theirs.close()


def test_what_a_dead_logger_lost_is_not_forgotten_when_the_next_one_retires_before_it_is_ready(tmp_path: Path) -> None:
    attempt = with_secrets()
    attempt.logged, attempt.held = True, {}
    link = LoggerLink(str(tmp_path))
    link.attempts["a"] = attempt
    channel = Channel(socket.socket())
    link._on_frame(channel, (wire.LOG_RETIRED, []), [])
    link.gone()
    channel.close()
    assert attempt.logged


def test_nothing_is_lost_with_a_logger_that_says_what_it_held_and_retires(tmp_path: Path) -> None:
    attempt = with_secrets()
    attempt.logged, attempt.held = True, {}
    link = LoggerLink(str(tmp_path))
    link.attempts["a"] = attempt
    channel = Channel(socket.socket())
    link._on_frame(channel, (wire.LOG_HELD, [b"a", b"0", b"-1 "]), [])
    link._on_frame(channel, (wire.LOG_RETIRED, []), [])
    link.gone()
    channel.close()
    assert not attempt.logged


def with_secrets() -> Attempt:
    attempt = Attempt("a")
    attempt.masks, attempt.held = (b"a secret of some length",), {0: b"-1 a sec"}
    return attempt


def logger_with(
    folder: Path, masks: tuple[bytes, ...], names: tuple[str, ...] = ("a",), fields: list[bytes] | None = None
) -> tuple[Logger, Channel, list[int]]:
    """A logger that has been handed logs, and the ends to write to."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    logger = Logger(theirs)
    control = logger._channel
    assert control is not None
    writers = []
    for name in names:
        reader, writer = os.pipe2(os.O_NONBLOCK)
        writers.append(writer)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        files = (os.open(folder / f"{name}.log", flags), os.open(folder / f"{name}.idx", flags))
        control.descriptors.extend((reader, *files))
        secrets = [wire.pack_blobs(masks), wire.pack_blobs((b"", b"", b""))] if masks else []
        logger._on_frame(control, (wire.LOG_ADD, fields or [name.encode(), b"0", b"0", *secrets]))
    return logger, channel, writers


def adds(folder: Path, attempt: Attempt) -> list[bytes]:
    """The fields of the frame by which a keeper hands an attempt's log over."""
    attempt.pipe_fd, attempt.log_fd, attempt.index_fd = (os.open(os.devnull, os.O_RDONLY) for _ in range(3))
    ours, theirs = socket.socketpair()
    link, channel = LoggerLink(str(folder)), Channel(ours)
    link._hand_over(channel, attempt)
    channel.flush()
    reader = Channel(theirs)
    ((kind, fields),) = reader.receive()
    assert kind == wire.LOG_ADD
    for each in (attempt.pipe_fd, attempt.log_fd, attempt.index_fd):
        os.close(each)
    channel.close()
    reader.close()
    return fields


@pytest.mark.parametrize("masks", [(), (b"a secret of some length",)])
def test_lines_go_to_the_journal_as_they_come_with_secrets_taken_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, masks: tuple[bytes, ...]
) -> None:
    journal = FakeJournal(tmp_path)
    monkeypatch.setenv("PYFLOW_JOURNAL_SOCKET", journal.path)
    attempt = Attempt("a")
    attempt.masks, attempt.journal = masks, (b"PYFLOW_RUN=7",)
    logger, channel, (writer,) = logger_with(tmp_path, (), fields=adds(tmp_path, attempt))
    (pipe,) = logger._pipes
    for payload in (b"with a secret of ", b"some length\nand", b" more"):
        os.write(writer, payload)
        logger._on_pipe(pipe, select.EPOLLIN)
    os.close(writer)
    logger._on_pipe(pipe, select.EPOLLHUP)
    logger._tell_journald()
    found = journal.entries()
    said = [b"with ***" if masks else b"with a secret of some length", b"and more"]
    assert [(entry["MESSAGE"], entry["PYFLOW_RUN"]) for entry in found] == [(line, b"7") for line in said]
    assert (tmp_path / "a.log").read_bytes() == b"\n".join(said)
    close(logger, channel)
    journal.close()


def test_a_logger_of_an_older_version_takes_a_log_that_goes_to_the_journal(tmp_path: Path) -> None:
    """It makes maskers of what stands in the fourth and fifth field, whatever that is."""
    attempt = Attempt("a")
    attempt.journal = (b"PYFLOW_RUN=7",)
    fields = adds(tmp_path, attempt)
    assert wire.unpack_blobs(fields[3]) == ()
    assert wire.unpack_blobs(fields[4]) == (b"", b"", b"")


def close(logger: Logger, channel: Channel) -> None:
    logger._journald.close()
    for pipe, (sink, _, _) in logger._pipes.items():
        for descriptor in (pipe, sink.log, sink.index):
            os.close(descriptor)
    logger._epoll.close()
    if logger._channel:
        logger._channel.close()
    channel.close()


def test_without_a_second_pipe_the_first_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = os.pipe2

    def pipe2(flags: int) -> tuple[int, int]:
        if made:
            raise OSError(24, "Too many open files")
        made.extend(real(flags))
        return made[0], made[1]

    monkeypatch.setattr(os, "pipe2", pipe2)
    with pytest.raises(OSError, match="Too many"):
        Pipes(apart=True)
    for descriptor in made:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(descriptor)
