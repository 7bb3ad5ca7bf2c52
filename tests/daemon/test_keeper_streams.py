"""Standard output and error kept apart: two pipes, one log, an index that tells them apart, over every death."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyflowctl.logsource import LogSource
from pyflowd.base.captured import Captured
from pyflowd.keeper import wire
from pyflowd.keeper.logindex import GAP, STDERR, STDOUT
from pyflowd.model.ends import StartFailure
from tests.daemon.keeper_host import KeeperHost, is_alive, succeeded
from tests.waiting import wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
TALK = "echo o1; echo e1 >&2; read line < pipe; echo o2; echo e2 >&2; read line < pipe; echo o3; echo e3 >&2"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[KeeperHost]:
    keeper = KeeperHost(tmp_path / "k")
    keeper.begin()
    yield keeper
    keeper.end()


@pytest.fixture
def go_on(host: KeeperHost) -> Iterator[Callable[[], None]]:
    """Lets one `read line < pipe` of the task go on."""
    os.mkfifo(host.folder / "pipe")
    # Open for reading too: so it waits for nobody, and no reader sees an end between two lines.
    pipe = os.open(host.folder / "pipe", os.O_RDWR)

    def write() -> None:
        os.write(pipe, b"go\n")

    yield write
    os.close(pipe)


def talk(host: KeeperHost) -> None:
    """Start a task that says one, then waits, two, waits, three, on both streams."""
    host.start("a", sh=TALK, cwd=str(host.folder), apart=True)
    host.wait_in_log("a", "e1")


def whole(data: bytes) -> Captured:
    return Captured(data=data, finished=True)


def test_each_stream_is_read_alone_and_the_log_has_both(host: KeeperHost) -> None:
    host.run("a", sh="echo o1; echo e1 >&2; echo o2; printf 'e2 no newline' >&2", apart=True)
    assert host.wait_said("a", STDOUT) == whole(b"o1\no2\n")
    assert host.wait_said("a", STDERR) == whole(b"e1\ne2 no newline")
    assert sorted(host.log_path("a").read_bytes()) == sorted(b"o1\no2\ne1\ne2 no newline")


def test_what_came_later_stands_later_in_the_log(host: KeeperHost, go_on: Callable[[], None]) -> None:
    talk(host)
    for words in ("e2", "e3"):
        go_on()
        host.wait_in_log("a", words)
    log = host.wait_log("a").split()
    assert [set(log[at : at + 2]) for at in (0, 2, 4)] == [{b"o%d" % n, b"e%d" % n} for n in (1, 2, 3)]


def test_the_client_shows_both_streams_in_the_order_of_the_log(host: KeeperHost, go_on: Callable[[], None]) -> None:
    talk(host)
    for words in ("e2", "e3"):
        go_on()
        host.wait_in_log("a", words)
    log = host.wait_log("a")
    files = [os.open(path, os.O_RDONLY) for path in (host.log_path("a"), host.index_path("a"))]
    source = LogSource(1, "a", 1, *files)
    shown = source.pieces()
    source.close()
    assert b"".join(piece for _, piece in shown) == log
    assert source.ended


def test_a_log_of_both_together_is_not_taken_for_one_of_them(host: KeeperHost) -> None:
    host.run("a", sh="echo o; echo e >&2")
    assert "apart" in host.wait_said("a", STDOUT).problem


def test_many_megabytes_on_both_at_once_arrive_whole_and_unmixed(host: KeeperHost) -> None:
    host.run("a", sh="seq 1000000 1399999 & seq 2000000 2399999 >&2; wait", apart=True)
    limit = 1 << 23
    assert host.wait_said("a", STDOUT, limit) == whole(b"".join(b"%d\n" % n for n in range(1_000_000, 1_400_000)))
    assert host.wait_said("a", STDERR, limit) == whole(b"".join(b"%d\n" % n for n in range(2_000_000, 2_400_000)))


def test_the_log_ends_only_when_both_are_closed(host: KeeperHost, go_on: Callable[[], None]) -> None:
    host.start("a", sh="echo o1; exec >&-; read line < pipe; echo e1 >&2", cwd=str(host.folder), apart=True)
    host.wait_in_log("a", "o1")
    host.run("b", sh="echo o1; exec >&-; echo later >&2", apart=True)
    host.wait_said("b", STDOUT)
    assert not host.said("a", STDOUT).finished
    go_on()
    assert host.wait_said("a", STDERR) == whole(b"e1\n")


def test_an_end_may_be_told_before_the_last_output_is_there(host: KeeperHost, go_on: Callable[[], None]) -> None:
    host.run("a", sh="(read line < pipe; echo late) & exit 0", cwd=str(host.folder), apart=True, orphan_grace_s=3600)
    assert host.said("a", STDOUT) == Captured()
    go_on()
    assert host.wait_said("a", STDOUT) == whole(b"late\n")


def test_more_than_allowed_is_said_and_not_given(host: KeeperHost) -> None:
    host.run("a", sh="head -c 3000 /dev/zero; head -c 9000 /dev/zero >&2", apart=True)
    assert host.wait_said("a", STDOUT, 3000).complete
    assert host.wait_said("a", STDOUT, 2999).too_long


def test_a_task_may_open_its_streams_by_name(host: KeeperHost) -> None:
    host.run("a", sh="echo o > /dev/stdout; echo e > /dev/stderr", apart=True)
    assert host.wait_said("a", STDOUT) == whole(b"o\n")
    assert host.wait_said("a", STDERR) == whole(b"e\n")


@needs_root
def test_a_task_of_another_user_may_open_its_streams_by_name(host: KeeperHost) -> None:
    host.run("a", sh="echo o > /dev/stdout; echo e > /dev/stderr", user="nobody", apart=True)
    assert host.wait_said("a", STDOUT) == whole(b"o\n")
    assert host.wait_said("a", STDERR) == whole(b"e\n")


def test_a_failed_start_says_nothing_and_is_finished(host: KeeperHost) -> None:
    assert isinstance(host.run("a", "/nonexistent", apart=True), StartFailure)
    assert host.wait_said("a", STDOUT) == whole(b"")


def test_words_of_ours_about_leftovers_are_no_output(host: KeeperHost) -> None:
    host.run("a", sh="setsid sleep 60 & echo o; echo e >&2", apart=True, orphan_grace_s=0.05)
    host.wait_in_log("a", "leftover process")
    assert host.wait_said("a", STDOUT) == whole(b"o\n")
    assert host.wait_said("a", STDERR) == whole(b"e\n")


def test_a_quota_that_cut_out_the_stream_makes_it_incomplete(host: KeeperHost) -> None:
    host.run("a", sh="seq 1000000 1099999; echo short >&2", apart=True, log_max_bytes=1 << 16)
    assert "quota" in host.wait_said("a", STDOUT).problem
    assert host.wait_said("a", STDERR) == whole(b"short\n")


def test_output_stays_whole_after_the_keeper_is_killed(host: KeeperHost, go_on: Callable[[], None]) -> None:
    talk(host)
    logger = host.logger_pid()
    host.kill()
    go_on()
    host.wait_in_log("a", "e2")
    go_on()
    assert host.wait_said("a", STDOUT) == whole(b"o1\no2\no3\n")
    assert host.wait_said("a", STDERR) == whole(b"e1\ne2\ne3\n")
    wait_until(lambda: not is_alive(logger), "the end of the logger that nobody needs")


def test_after_the_loggers_death_both_streams_go_on_and_neither_is_called_whole(
    host: KeeperHost, go_on: Callable[[], None]
) -> None:
    talk(host)
    os.kill(host.logger_pid(), signal.SIGKILL)
    go_on()
    host.wait_in_log("a", "e2")
    go_on()
    assert succeeded(host.wait_end("a"))
    out, error = host.wait_said("a", STDOUT), host.wait_said("a", STDERR)
    assert (out.data, error.data) == (b"o1\no2\no3\n", b"e1\ne2\ne3\n")
    assert not out.complete
    assert not error.complete
    assert [record[2] for record in host.records("a")].count(GAP) == 1


def test_an_upgrade_keeps_both_streams_and_there_is_no_gap(host: KeeperHost, go_on: Callable[[], None]) -> None:
    talk(host)
    for words in ("e2", "e3"):
        logger = host.logger_pid()
        host.link.upgrade()
        host.link.flush()
        wait_until(lambda logger=logger: not is_alive(logger), "the old logger's end")  # type: ignore[misc]
        go_on()
        host.wait_in_log("a", words)
    assert succeeded(host.wait_end("a"))
    assert host.wait_said("a", STDOUT) == whole(b"o1\no2\no3\n")
    assert host.wait_said("a", STDERR) == whole(b"e1\ne2\ne3\n")


def test_descriptors_of_both_pipes_are_given_back(host: KeeperHost) -> None:
    logger = host.logger_pid()

    def open_files() -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in (host.keeper_pid, logger))

    host.run("first", "/bin/true", apart=True)
    host.wait_log("first")
    before = open_files()
    for n in range(40):
        host.start(f"a{n}", *(("/bin/true",) if n % 2 else ("/nonexistent",)), apart=True)
    for n in range(40):
        host.wait_end(f"a{n}")
        host.link.acknowledge(f"a{n}")
    host.link.flush()
    wait_until(lambda: open_files() <= before, "as many open files as before")


def test_a_task_that_is_apart_inherits_no_descriptor_but_the_three(host: KeeperHost) -> None:
    host.start("other", "sleep", "60", apart=True)
    host.wait_running("other")
    host.run("a", "/bin/ls", "/proc/self/fd", apart=True)
    assert host.wait_said("a", STDOUT) == whole(b"0\n1\n2\n3\n")  # the last is the folder that ls reads


def test_the_second_stream_of_a_request_is_one_flag_that_an_old_keeper_passes_over() -> None:
    start = wire.Start("a", [b"x"], [], b"/")
    start.flags = wire.FLAG_APART
    ((_, fields),) = wire.take_frames(bytearray(wire.pack_start(start)))
    assert len(fields) == 12
    assert wire.unpack_start(fields).descriptors == 2
