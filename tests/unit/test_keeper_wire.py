"""`pyflowd.keeper.wire` and `channel`: frames over a stream, descriptors beside them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyflowd.keeper import wire
from pyflowd.keeper.channel import Channel
from pyflowd.keeper.wire import WireError

fields_of_frames = st.lists(st.tuples(st.integers(0, 255), st.lists(st.binary(max_size=40), max_size=5)), max_size=8)


@given(fields_of_frames, st.data())
def test_frames_come_out_as_they_went_in_wherever_the_stream_is_cut(
    frames: list[tuple[int, list[bytes]]], data: st.DataObject
) -> None:
    stream = b"".join(wire.frame(kind, *fields) for kind, fields in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    buffer, taken = bytearray(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        buffer += stream[start:end]
        taken += wire.take_frames(buffer)
    assert taken == frames
    assert not buffer


@given(st.binary(max_size=200))
def test_nonsense_is_a_wire_error_or_waits_for_more(nonsense: bytes) -> None:
    buffer = bytearray(nonsense)
    try:
        wire.take_frames(buffer)
    except WireError:
        return
    assert len(buffer) <= len(nonsense)


@given(st.lists(st.binary(max_size=20).filter(lambda item: b"\0" not in item), max_size=6))
def test_a_list_is_read_as_it_was_written(items: list[bytes]) -> None:
    assert wire.unpack_list(wire.pack_list(items)) == items


def test_a_nul_in_a_list_is_refused_when_it_is_packed() -> None:
    with pytest.raises(ValueError, match="NUL"):
        wire.pack_list([b"a\0b"])


def test_a_list_that_is_cut_off_is_refused() -> None:
    with pytest.raises(WireError):
        wire.unpack_list(b"a\0b")


def test_a_start_is_read_as_it_was_written() -> None:
    start = wire.Start("run-1-task-2", [b"/bin/echo", b"", b"\xff"], [b"A=1=2", b"B="], b"/tmp", "nobody")
    start.umask, start.timeout_us, start.kill_grace_us, start.leftover_allow = 0o77, 5, 6, True
    start.orphan_grace_us, start.log_max_bytes, start.flags = 7, 8, wire.FLAG_STDIN
    (frame,) = wire.take_frames(bytearray(wire.pack_start(start)))
    read = wire.unpack_start(frame[1])
    assert {name: getattr(read, name) for name in wire.Start.__slots__} == {
        name: getattr(start, name) for name in wire.Start.__slots__
    }
    assert read.descriptors == 3


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_secrets_of_any_bytes_go_with_a_start(secrets: list[bytes]) -> None:
    start = wire.Start("a", [b"x"], [], b"/")
    start.masks = tuple(secrets)
    ((_, fields),) = wire.take_frames(bytearray(wire.pack_start(start)))
    assert wire.unpack_start(fields).masks == tuple(secrets)


def test_a_start_without_secrets_is_what_it_always_was() -> None:
    start = wire.Start("a", [b"x"], [], b"/")
    ((_, fields),) = wire.take_frames(bytearray(wire.pack_start(start)))
    assert len(fields) == 12


def test_fields_added_by_a_newer_version_are_passed_over() -> None:
    start = wire.Start("a", [b"x"], [], b"/")
    ((kind, fields),) = wire.take_frames(bytearray(wire.pack_start(start)))
    assert kind == wire.START
    assert wire.unpack_start([*fields, *[b""] * 5, b"newer"]).attempt == "a"


@pytest.mark.parametrize("name", [b"", b"x" * 201, b"a\tb", b"a\nb", b"a\x7fb", b"\xff\xfe"])
def test_ids_that_would_break_a_line_of_the_journal_are_refused(name: bytes) -> None:
    with pytest.raises(WireError):
        wire.attempt_id(name)


@pytest.mark.parametrize("name", [b"/etc", b"../../etc", b"..", b".", b"a/b", b".hidden"])
def test_ids_that_would_lead_out_of_the_keepers_folders_are_refused(name: bytes) -> None:
    with pytest.raises(WireError, match="no name of a file"):
        wire.attempt_id(name)


@pytest.mark.parametrize("field", [b"", b"-1", b"1.5", b"x", b"9" * 30, "\u0661".encode()])
def test_what_is_no_number_is_refused(field: bytes) -> None:
    with pytest.raises(WireError):
        wire.number(field)


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    left, right = socket.socketpair()
    channels = Channel(left), Channel(right)
    yield channels
    for channel in channels:
        channel.close()


def same_file(left: int, right: int) -> bool:
    return os.path.samestat(os.fstat(left), os.fstat(right))


def test_descriptors_arrive_in_the_order_of_their_frames(pair: tuple[Channel, Channel]) -> None:
    sender, receiver = pair
    pipes = [os.pipe() for _ in range(200)]
    for read, write in pipes:
        sender.send(wire.frame(1), (read, write))
    frames: list[object] = []
    while len(frames) < 200:
        sender.flush()
        frames += receiver.receive()
    assert len(receiver.descriptors) == 400
    assert all(same_file(a, b) for a, b in zip(receiver.descriptors, [fd for p in pipes for fd in p], strict=True))
    for read, write in pipes:
        os.close(read)
        os.close(write)


def test_a_frame_larger_than_the_socket_takes_goes_through_in_parts(pair: tuple[Channel, Channel]) -> None:
    sender, receiver = pair
    large = os.urandom(3_000_000)
    null = os.open("/dev/null", os.O_RDONLY)
    sender.send(wire.frame(7, large), (null,), close_sent=True)
    sender.send(wire.frame(8, b"after"))
    frames: list[wire.Frame] = []
    while len(frames) < 2:
        sender.flush()
        frames += receiver.receive()
    assert frames == [(7, [large]), (8, [b"after"])]
    assert len(receiver.descriptors) == 1
    assert sender.queued_bytes == 0


def test_a_channel_that_is_closed_closes_what_it_owns(pair: tuple[Channel, Channel]) -> None:
    sender, _ = pair
    null = os.open("/dev/null", os.O_RDONLY)
    sender.send(wire.frame(1), (null,), close_sent=True)
    sender.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(null)


def test_the_end_of_the_peer_is_seen_after_what_it_sent(pair: tuple[Channel, Channel]) -> None:
    sender, receiver = pair
    sender.send(wire.frame(1, b"last"))
    sender.flush()
    sender.close()
    assert receiver.receive() == [(1, [b"last"])]
    assert not receiver.at_end
    assert receiver.receive() == []
    assert receiver.at_end


@pytest.mark.parametrize("field", [b"MESSAGE=x", b"PYFLOW_RUN", b"_PID=1", b"PYFLOW_A B=1", b"PYFLOW_X=" + b"x" * 1025])
def test_no_field_of_the_journal_can_be_given_but_those_that_tell_whose_output_it_is(field: bytes) -> None:
    start = wire.Start("a", [b"x"], [], b"/")
    start.journal = (b"PYFLOW_RUN=1", b"PYFLOW_TASK=t[a\nb=c]")
    ((_, fields),) = wire.take_frames(bytearray(wire.pack_start(start)))
    assert wire.unpack_start(fields).journal == start.journal
    start.journal = (field,)
    ((_, fields),) = wire.take_frames(bytearray(wire.pack_start(start)))
    with pytest.raises(wire.WireError, match="no field of the journal"):
        wire.unpack_start(fields)
