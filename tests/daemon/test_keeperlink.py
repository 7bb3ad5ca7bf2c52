"""`pyflowd.keeperlink`: the daemon's half, against a real keeper that it starts itself."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pyflowd.errors import Refused, Unavailable
from pyflowd.keeper import wire
from pyflowd.model.ends import Exit
from pyflowd.runtime.keeperlink import Ended, Gone, KeeperLink, Running, StartRequest, decode_event
from tests.daemon.keeper_host import DEADLINE_S, KeeperHost, append, lock_is_free, succeeded
from tests.waiting import wait_until


@pytest.fixture
def host(tmp_path: Path) -> Iterator[KeeperHost]:
    """A host whose link starts the keeper; none runs yet."""
    keeper = KeeperHost(tmp_path / "k")
    keeper.link = KeeperLink(str(keeper.run_dir), str(keeper.folder), spawn=True, idle_exit_s=60.0)
    yield keeper
    keeper.end()


def test_a_link_starts_a_keeper_where_none_is_and_finds_it_again(host: KeeperHost) -> None:
    first = host.connect()
    assert succeeded(host.run("a", "/bin/true"))
    again = host.connect()
    assert again.epoch == first.epoch
    assert set(again.ended) == {"a"}


def test_the_keeper_that_a_link_starts_is_nobodys_child(host: KeeperHost) -> None:
    host.connect()
    ours = psutil.Process().children(recursive=True)
    assert not [child for child in ours if str(host.folder) in " ".join(child.cmdline())]


def test_the_arguments_of_a_keeper_name_its_root(host: KeeperHost) -> None:
    host.connect()
    pid = host.run("a", sh="cat /proc/$PPID/cmdline | tr '\\0' ' '")
    assert succeeded(pid)
    assert f"--root {host.folder} ".encode() in host.wait_log("a")


def test_a_keeper_that_keeps_nothing_ends_at_goodbye(host: KeeperHost) -> None:
    host.connect()
    host.run("a", "/bin/true")
    host.run("b", "/nonexistent")
    host.link.acknowledge("a")
    host.link.acknowledge("b")
    host.link.goodbye()
    wait_until(lambda: lock_is_free(host.run_dir), "the keeper's end")


def test_without_leave_to_start_one_a_missing_keeper_is_said_in_one_line(tmp_path: Path) -> None:
    link = KeeperLink(str(tmp_path / "none"), "x", spawn=False)
    with pytest.raises(Unavailable, match=r"no keeper in .*none after 0.05 s.*start it") as caught:
        link.connect(0.05)
    assert "\n" not in str(caught.value)


def test_many_links_at_once_find_one_keeper(tmp_path: Path) -> None:
    host = KeeperHost(tmp_path / "k")
    epochs: list[str] = []

    def connect() -> None:
        # A keeper that comes late, when the first has ended, ends by itself too.
        link = KeeperLink(str(host.run_dir), "x", spawn=True, idle_exit_s=2.0)
        epochs.append(link.connect(DEADLINE_S).epoch)
        link.close()

    threads = [threading.Thread(target=connect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(epochs) == 4
    assert len(set(epochs)) == 1
    host.end()


def test_the_loss_of_the_keeper_is_an_event_and_closes_the_link(host: KeeperHost) -> None:
    host.link = KeeperLink(str(host.run_dir), str(host.folder), spawn=False)
    host.begin()
    host.kill()
    host.wait_gone()
    assert host.link.fileno() == -1
    assert host.link.receive() == []


def test_descriptors_of_a_start_without_a_connection_are_closed(tmp_path: Path) -> None:
    link = KeeperLink(str(tmp_path), "x", spawn=False)
    descriptors = [append(tmp_path / name) for name in "ab"]
    link.start(StartRequest(attempt="a", argv=("/bin/true",), env={}, cwd="/"), descriptors[0], descriptors[1])
    for descriptor in descriptors:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(descriptor)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attempt": "a\nb"}, "control character"),
        ({"attempt": ""}, "1 to 200 bytes"),
        ({"argv": ()}, "no program"),
        ({"argv": ("x", "a\0b")}, "NUL"),
        ({"env": {"A": "a\0b"}}, "NUL"),
        ({"cwd": "/a\0b"}, "NUL"),
        ({"argv": ("x", "y" * (wire.MAX_FRAME_BYTES + 1))}, "in a file"),
    ],
)
def test_what_no_process_can_be_given_is_refused_before_it_is_sent(
    tmp_path: Path, changes: dict[str, object], words: str
) -> None:
    link = KeeperLink(str(tmp_path), "x", spawn=False)
    request = {"attempt": "a", "argv": ("/bin/true",), "env": {}, "cwd": "/", **changes}
    with pytest.raises(Refused, match=words):
        link.start(StartRequest(**request), -1, -1)  # type: ignore[arg-type]


def test_events_of_a_kind_that_is_not_known_are_passed_over() -> None:
    assert decode_event(200, [b"a"]) is None


def test_an_end_that_comes_right_behind_the_listing_is_not_lost(tmp_path: Path) -> None:
    """A keeper that writes its whole answer, and an end that happens just then, in one go."""
    (tmp_path / "run").mkdir()
    end: wire.End = (wire.EXIT, ("0", "", "1", "2", "0", "0", "0", "", "0", "0"))
    answer = wire.frame(wire.WELCOME, b"1", b"epoch", b"boot", b"7", b"")
    answer += wire.frame(wire.RUNNING, b"a", b"41", b"1") + wire.frame(wire.LISTED) + wire.pack_end("a", end)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "run" / "keeper.sock"))
        listener.listen()
        served: list[socket.socket] = []

        def serve() -> None:
            connection, _ = listener.accept()
            connection.sendall(answer)
            served.append(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        link = KeeperLink(str(tmp_path / "run"), "x", spawn=False)
        listing = link.connect(DEADLINE_S)
        thread.join()
        link.close()
        served[0].close()
    assert (listing.running, set(listing.ended)) == ({}, {"a"})


def test_requests_sent_together_are_answered_in_order(host: KeeperHost) -> None:
    host.connect()
    for name in ("a", "b"):
        host.start(name, "sleep", "60", flush=False)
        host.link.stop(name, 0)
    host.link.flush()
    assert not host.link.wants_write()
    events: list[object] = []
    give_up = time.monotonic() + DEADLINE_S
    while sum(isinstance(event, Ended) for event in events) < 2:
        assert time.monotonic() < give_up
        select.select([host.link], [], [], 1.0)
        events += host.link.receive()
    kinds = [(type(event), getattr(event, "attempt", "")) for event in events]
    assert kinds.index((Running, "a")) < kinds.index((Ended, "a"))
    assert kinds.index((Running, "b")) < kinds.index((Ended, "b"))
    assert Gone() not in events


def test_an_end_of_an_attempt_with_a_cgroup_says_what_the_cgroup_counted() -> None:
    fields = [b"a", b"", b"9", b"10", b"20", b"300", b"40", b"5000", b"", b"1", b"0"]
    without = decode_event(wire.EXIT, fields)
    assert isinstance(without, Ended)
    assert isinstance(without.end, Exit)
    assert (without.end.oom_kills, without.end.tasks_refused, without.end.usage.memory_peak_bytes) == (0, 0, 0)
    found = decode_event(wire.EXIT, [*fields, b"2", b"3", b"4096", b"of a later version"])
    assert isinstance(found, Ended)
    assert isinstance(found.end, Exit)
    assert (found.end.oom_kills, found.end.tasks_refused, found.end.usage.memory_peak_bytes) == (2, 3, 4096)
    assert (found.end.signal, found.end.leftovers, found.end.usage.cpu_us) == (9, 1, 340)


def test_an_older_keeper_is_given_no_task_with_limits(tmp_path: Path) -> None:
    link, keeper = link_to_older_keeper(tmp_path)
    with keeper:
        request = StartRequest(attempt="a", argv=("x",), env={}, cwd="/", limits={"memory_max": 1, "nice": 1})
        with pytest.raises(Refused, match=r"without its limits \(memory_max, nice\): .* reload pyflow-keeper"):
            link.start(request, -1, -1)
        assert not link.wants_write()
        link.close()


def link_to_older_keeper(folder: Path) -> tuple[KeeperLink, socket.socket]:
    """Connected to what answers as a keeper did before it knew limits."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(folder / "keeper.sock"))
    listener.listen()
    answered: list[socket.socket] = []

    def answer() -> None:
        connection, _ = listener.accept()
        level = wire.pack_number(wire.LEVEL_SERVICE - 1)
        welcome = wire.frame(wire.WELCOME, b"1", b"epoch", b"boot", b"1", b"", level)
        connection.sendall(welcome + wire.frame(wire.LISTED))
        answered.append(connection)

    thread = threading.Thread(target=answer)
    thread.start()
    link = KeeperLink(str(folder), "test", spawn=False)
    link.connect(DEADLINE_S)
    thread.join()
    listener.close()
    assert link.cgroups == ""
    return link, answered[0]
