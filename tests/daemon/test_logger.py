"""The logger as a process, beside a real keeper: what tasks say is in their logs, whatever dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyflowd.keeper import logindex
from pyflowd.keeper.logindex import CUT, DATA, END, GAP, NOTE
from pyflowd.keeper.sink import COALESCE_US
from tests.daemon.keeper_host import KeeperHost, is_alive, succeeded
from tests.waiting import wait_until


@pytest.fixture
def host(tmp_path: Path) -> Iterator[KeeperHost]:
    keeper = KeeperHost(tmp_path / "k")
    keeper.begin()
    yield keeper
    keeper.end()


def fifo(host: KeeperHost) -> str:
    """The folder for a task that waits with `read line < pipe` until the test says so."""
    os.mkfifo(host.folder / "pipe")
    return str(host.folder)


def go_on(host: KeeperHost) -> None:
    (host.folder / "pipe").write_text("go\n")


def test_bytes_are_written_as_they_are(host: KeeperHost) -> None:
    host.run("a", sh=r"printf '\000\377\r\n\033[1m no newline'")
    assert host.wait_log("a") == b"\0\xff\r\n\033[1m no newline"


def test_stdout_and_stderr_stay_in_order(host: KeeperHost) -> None:
    host.run("a", sh="for n in 1 2 3 4 5; do echo o$n; echo e$n >&2; done")
    assert host.wait_log("a").split() == [b"%c%d" % (c, n) for n in range(1, 6) for c in b"oe"]


def test_a_task_that_opens_its_stderr_by_name_does_not_empty_the_log(host: KeeperHost) -> None:
    host.run("a", sh="echo first; echo second > /dev/stderr; echo third")
    assert host.wait_log("a") == b"first\nsecond\nthird\n"


def test_a_megabyte_a_log_from_many_tasks_at_once_is_complete(host: KeeperHost) -> None:
    for n in range(8):
        host.start(f"a{n}", sh=f"yes {n}234567 | head -c 1000000")
    for n in range(8):
        host.wait_end(f"a{n}")
        assert host.wait_log(f"a{n}") == (b"%d234567\n" % n * 125_000)[:1_000_000]


def test_the_index_says_when_what_came_and_that_it_is_complete(host: KeeperHost) -> None:
    host.start("a", sh="echo one; read line < pipe; echo two", cwd=fifo(host))
    host.wait_in_log("a", "one")
    wait_until(lambda: host.records("a") and host.records("a")[0][1] + COALESCE_US < time.time_ns() // 1000, "time")
    go_on(host)
    end = host.wait_end("a")
    host.wait_log("a")
    records = host.records("a")
    assert [(offset, kind) for offset, _, kind, _ in records] == [(0, DATA), (4, DATA), (8, END)]
    times = [time_us for _, time_us, _, _ in records]
    assert getattr(end, "started_us", 0) <= times[0] < times[1] <= times[2]


def test_a_task_without_output_has_an_empty_log_and_one_record(host: KeeperHost) -> None:
    host.run("a", "/bin/true")
    assert host.wait_log("a") == b""
    assert [record[2] for record in host.records("a")] == [END]


def test_a_failed_start_has_a_complete_log_too(host: KeeperHost) -> None:
    host.run("a", "/nonexistent")
    assert host.wait_log("a") == b""


def test_the_log_ends_when_the_last_writer_does_not_with_the_main_process(host: KeeperHost) -> None:
    host.run("a", sh="(read line < pipe; echo late) & exit 0", cwd=fifo(host), orphan_grace_s=3600)
    assert [record[2] for record in host.records("a")] == []
    go_on(host)
    assert host.wait_log("a") == b"late\n"


def test_output_goes_on_after_the_keeper_is_killed(host: KeeperHost) -> None:
    host.start("a", sh="echo before; read line < pipe; echo after", cwd=fifo(host))
    host.wait_in_log("a", "before")
    logger = host.logger_pid()
    host.kill()
    go_on(host)
    assert host.wait_log("a") == b"before\nafter\n"
    wait_until(lambda: not is_alive(logger), "the end of the logger that nobody needs")


def test_a_killed_logger_breaks_no_task_and_the_log_says_what_may_be_missing(host: KeeperHost) -> None:
    host.start("a", sh="echo before; read line < pipe; echo after", cwd=fifo(host))
    host.wait_in_log("a", "before")
    logger = host.logger_pid()
    os.kill(logger, signal.SIGKILL)
    go_on(host)
    assert succeeded(host.wait_end("a"))
    log = host.wait_log("a")
    assert log.startswith(b"before\n\npyflow: the logger was restarted here; up to 65536 bytes")
    assert log.endswith(b"may be missing\nafter\n")
    records = host.records("a")
    assert [record[2] for record in records] == [DATA, GAP, NOTE, DATA, END]
    note = records[2]
    assert log[note[0] : note[0] + note[3]].strip().startswith(b"pyflow: the logger")
    assert records[1] == (7, records[1][1], GAP, 65_536)


def test_a_logger_that_is_killed_again_and_again_loses_no_more_than_it_says(host: KeeperHost) -> None:
    script = "n=0; while [ $n -lt 3000 ]; do n=$((n+1)); echo line $n; done; read line < pipe; echo last"
    host.start("a", sh=script, cwd=fifo(host))
    for _ in range(4):
        os.kill(host.logger_pid(), signal.SIGKILL)
    go_on(host)
    assert succeeded(host.wait_end("a"))
    own = [line for line in host.wait_log("a").splitlines() if b"pyflow: the logger was restarted" not in line]
    numbers = [int(line.split()[1]) for line in own if line.startswith(b"line ") and line.split()[1].isdigit()]
    assert own[-1] == b"last"
    assert numbers == sorted(numbers)
    gaps = [record for record in host.records("a") if record[2] == GAP]
    assert len(gaps) <= 4
    if not gaps:
        assert len(numbers) == 3000


def test_a_stopped_logger_holds_up_neither_the_keeper_nor_the_ends(host: KeeperHost) -> None:
    logger = host.logger_pid()
    os.kill(logger, signal.SIGSTOP)
    for n in range(300):
        host.start(f"a{n}", "/bin/echo", str(n), flush=False)
    host.link.flush()
    for n in range(300):
        assert succeeded(host.wait_end(f"a{n}"))
    os.kill(logger, signal.SIGCONT)
    assert [host.wait_log(f"a{n}") for n in range(300)] == [b"%d\n" % n for n in range(300)]


def test_over_the_quota_head_and_tail_are_kept_and_the_middle_is_a_hole(host: KeeperHost) -> None:
    quota = 1 << 20
    host.run("a", sh="seq 1000000 1999999", log_max_bytes=quota)  # 8,000,000 bytes
    log = host.wait_log("a")
    whole = b"".join(b"%d\n" % n for n in range(1_000_000, 2_000_000))
    hole = logindex.holes(host.records("a"))
    assert hole is not None
    start, end = hole
    assert len(log) == len(whole)
    assert log[:start] == whole[:start]
    assert log[end:] == whole[end:]
    assert log[start:end].count(b"\0") == end - start
    assert start == quota // 4
    assert quota // 2 <= start + len(log) - end <= quota
    assert host.log_path("a").stat().st_blocks * 512 <= quota + (64 << 10)


def test_a_new_logger_knows_the_hole_that_the_old_one_cut(host: KeeperHost) -> None:
    quota = 1 << 18
    script = "seq 1000000 1099999; echo half; read line < pipe; seq 1000000 1099999"
    host.start("a", sh=script, cwd=fifo(host), log_max_bytes=quota)
    host.wait_in_log("a", "half")
    os.kill(host.logger_pid(), signal.SIGKILL)
    go_on(host)
    host.wait_end("a")
    log = host.wait_log("a")
    hole = logindex.holes(host.records("a"))
    assert hole is not None
    start, end = hole
    assert start == quota // 4
    assert log[start:end].count(b"\0") == end - start
    assert start + len(log) - end <= quota
    assert [record[2] for record in host.records("a")].count(CUT) >= 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_disk_that_is_full_does_not_stop_the_task(host: KeeperHost) -> None:
    host.log_path("a").symlink_to("/dev/full")
    assert succeeded(host.run("a", sh="yes | head -c 300000"))
    wait_until(lambda: any(record[2] == END for record in host.records("a")), "the end of the log")
    os.kill(host.logger_pid(), signal.SIGKILL)  # it would try for ten minutes to say what is missing


def test_descriptors_are_given_back(host: KeeperHost) -> None:
    logger = host.logger_pid()

    def open_files() -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in (host.keeper_pid, logger))

    host.run("first", "/bin/true")
    host.wait_log("first")
    before = open_files()
    for n in range(40):
        host.start(f"a{n}", *(("/bin/true",) if n % 2 else ("/nonexistent",)), stdin="x")
    for n in range(40):
        host.wait_end(f"a{n}")
        host.link.acknowledge(f"a{n}")
    host.link.flush()
    wait_until(lambda: open_files() <= before, "as many open files as before")
