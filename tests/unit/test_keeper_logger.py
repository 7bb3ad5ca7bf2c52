"""`pyflowd.keeper.logger` and the pipes that it reads, without a keeper."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pyflowd.keeper import wire
from pyflowd.keeper.channel import Channel
from pyflowd.keeper.logger import Logger
from pyflowd.keeper.spawn import Pipes


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
    for pipe, (sink, _) in logger._pipes.items():
        for descriptor in (pipe, sink.log, sink.index):
            os.close(descriptor)
    logger._epoll.close()
    theirs.close()
    channel.close()
    os.close(writer)
    return kinds


def test_a_logger_that_has_written_all_says_so_when_it_retires(tmp_path: Path) -> None:
    assert retire(tmp_path / "log", tmp_path / "index") == [wire.LOG_RETIRED]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_logger_that_could_not_write_all_retires_as_one_that_died(tmp_path: Path) -> None:
    assert retire(tmp_path / "log", Path("/dev/full")) == []


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
