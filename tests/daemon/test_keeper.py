"""The keeper as a process: starts, ends, stops, deaths, upgrades."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyflowd.keeper import wire
from pyflowd.keeper.crash import CRASHPOINTS
from pyflowd.model.ends import Exit, LostAttempt, StartFailure, Stop
from pyflowd.model.states import Lost
from pyflowd.model.workflow import Leftover
from tests.daemon.instance import REPOSITORY
from tests.daemon.keeper_host import (
    DEADLINE_S,
    KeeperHost,
    append,
    is_alive,
    lock_is_free,
    processes_with,
    succeeded,
)
from tests.waiting import wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[KeeperHost]:
    keeper = KeeperHost(tmp_path / "k")
    yield keeper
    keeper.end()


# ---- Starts and ends ----


def test_a_task_that_succeeds_ends_with_zero(host: KeeperHost) -> None:
    host.begin()
    end = host.run("a", "/bin/true")
    assert isinstance(end, Exit)
    assert (end.exit_code, end.signal, end.stop) == (0, None, Stop.NONE)


def test_an_exit_code_comes_back_as_it_is(host: KeeperHost) -> None:
    host.begin()
    end = host.run("a", sh="exit 113")
    assert isinstance(end, Exit)
    assert end.exit_code == 113


def test_a_death_by_signal_is_told_as_the_signal(host: KeeperHost) -> None:
    host.begin()
    end = host.run("a", sh="kill -USR1 $$")
    assert isinstance(end, Exit)
    assert (end.exit_code, end.signal, end.stop) == (None, signal.SIGUSR1, Stop.NONE)


def test_times_and_usage_are_of_this_attempt(host: KeeperHost) -> None:
    host.begin()
    end = host.run("a", sh="i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
    assert isinstance(end, Exit)
    assert end.started_us < end.ended_us
    assert 0 < end.usage.user_us + end.usage.system_us <= (end.ended_us - end.started_us) * 2
    assert end.usage.max_rss_bytes == 0, "less than the keeper itself: not known"


def test_the_peak_of_memory_is_told_where_it_is_more_than_the_keepers_own(host: KeeperHost) -> None:
    host.begin()
    end = host.run("a", sys.executable, "-c", "x = b'x' * (60 << 20)")
    assert isinstance(end, Exit)
    assert 60 << 20 < end.usage.max_rss_bytes < 120 << 20


def test_environment_folder_umask_and_session_are_as_asked(host: KeeperHost, tmp_path: Path) -> None:
    host.begin()
    script = "env | sort | grep -v -e ^PWD -e ^_ -e SHLVL -e OLDPWD; pwd; umask; cut -d' ' -f5,6 /proc/$$/stat; echo $$"
    host.run("a", sh=script, env={"PATH": "/usr/bin:/bin", "Z": "x y"}, cwd=str(tmp_path), umask=0o027)
    log = host.wait_log("a").decode().splitlines()
    pid = log[-1]
    assert log == ["PATH=/usr/bin:/bin", "Z=x y", str(tmp_path), "0027", f"{pid} {pid}", pid]


def test_the_program_is_looked_up_in_the_path_of_the_task(host: KeeperHost, tmp_path: Path) -> None:
    program = tmp_path / "only-here"
    program.write_text("#!/bin/sh\nexit 7\n")
    program.chmod(0o755)
    host.begin()
    end = host.run("a", "only-here", env={"PATH": f"/nonexistent:{tmp_path}"})
    assert isinstance(end, Exit)
    assert end.exit_code == 7


def test_standard_input_is_what_was_given(host: KeeperHost) -> None:
    host.begin()
    host.run("a", "/bin/cat", stdin="to be read\n")
    assert host.wait_log("a") == b"to be read\n"


def test_standard_input_is_empty_where_none_was_given(host: KeeperHost) -> None:
    host.begin()
    assert succeeded(host.run("a", "/bin/cat"))


def test_a_task_inherits_no_descriptor_but_the_three(host: KeeperHost) -> None:
    host.begin()
    host.start("other", "sleep", "60")
    host.wait_running("other")
    host.run("a", "/bin/ls", "/proc/self/fd")
    assert host.wait_log("a") == b"0\n1\n2\n3\n"  # the last is the folder that ls reads


def test_a_task_has_the_limit_of_open_files_that_the_keeper_was_born_with(host: KeeperHost) -> None:
    host.begin(prefix=("/bin/sh", "-c", 'ulimit -S -n 200; exec "$0" "$@"'))
    host.run("a", sh="ulimit -S -n")
    assert host.wait_log("a") == b"200\n"


def test_signals_have_their_default_actions_in_a_task(host: KeeperHost) -> None:
    host.begin(prefix=("/bin/sh", "-c", 'trap \'\' TERM HUP; exec "$0" "$@"'))
    host.run("a", "/bin/cat", "/proc/self/status")
    masks = [line.split()[1] for line in host.wait_log("a").splitlines() if line.startswith((b"SigIgn", b"SigBlk"))]
    # 32 and 33 are the C library's own.
    assert [int(mask, 16) & 0x7FFF_FFFF for mask in masks] == [0, 0]


@pytest.mark.parametrize(
    ("argv", "cwd", "step", "number", "words"),
    [
        (("/nonexistent/program",), "/", "exec", errno.ENOENT, "/nonexistent/program"),
        (("no-such-program",), "/", "exec", errno.ENOENT, "in the task's PATH"),
        (("/etc/passwd",), "/", "exec", errno.EACCES, "Permission denied"),
        (("/bin",), "/", "exec", errno.EACCES, "Permission denied"),
        (("/bin/true",), "/nonexistent", "cwd", errno.ENOENT, "/nonexistent"),
        (("/bin/true",), "/etc/passwd", "cwd", errno.ENOTDIR, "Not a directory"),
        (("/bin/true", "x" * 140_000), "/", "exec", errno.E2BIG, "use a file"),
    ],
)
def test_a_failed_start_says_which_step_and_why(
    host: KeeperHost, argv: tuple[str, ...], cwd: str, step: str, number: int, words: str
) -> None:
    host.begin()
    end = host.run("a", *argv, cwd=cwd)
    assert isinstance(end, StartFailure)
    assert (end.step, end.errno) == (step, number)
    assert words in end.message


@pytest.mark.parametrize(
    ("text", "number", "words"),
    [("#!/nonexistent/sh\n", errno.ENOENT, "interpreter"), ("echo no first line\n", errno.ENOEXEC, "no #! line")],
)
def test_a_script_that_cannot_be_run_says_why(
    host: KeeperHost, tmp_path: Path, text: str, number: int, words: str
) -> None:
    script = tmp_path / "script"
    script.write_text(text)
    script.chmod(0o755)
    host.begin()
    end = host.run("a", str(script))
    assert isinstance(end, StartFailure)
    assert end.errno == number
    assert words in end.message


def test_many_arguments_of_two_mebibytes_in_all_arrive(host: KeeperHost) -> None:
    host.begin()
    arguments = ["x" * 100_000] * 19
    end = host.run("a", "/bin/sh", "-c", 'echo "$# ${#19}"', "sh", *arguments)
    assert succeeded(end)
    assert host.wait_log("a") == b"19 100000\n"


def test_a_batch_of_starts_comes_back_whole_and_each_with_its_own_log(host: KeeperHost) -> None:
    host.begin()
    for n in range(200):
        host.start(f"a{n}", "/bin/echo", str(n), flush=False)
    host.link.flush()
    for n in range(200):
        assert succeeded(host.wait_end(f"a{n}"))
    assert [host.wait_log(f"a{n}") for n in range(200)] == [b"%d\n" % n for n in range(200)]


def test_an_attempt_is_started_once_however_often_it_is_asked_for(host: KeeperHost, tmp_path: Path) -> None:
    host.begin()
    for _ in range(3):
        host.start("a", sh=f"echo once >> {tmp_path}/count")
    host.wait_end("a")
    host.start("a", sh=f"echo once >> {tmp_path}/count")
    host.start("last", "/bin/true")
    host.wait_end("last")
    assert (tmp_path / "count").read_text() == "once\n"


# ---- Users ----


@needs_root
def test_a_task_of_another_user_has_all_its_ids_and_its_groups(host: KeeperHost) -> None:
    host.begin(prefix=("setpriv", "--groups=0,4,5"))
    nobody = pwd.getpwnam("nobody")
    host.run("a", sh="id -u; id -g; id -G; cat /proc/self/status | grep CapEff", user="nobody")
    group = str(nobody.pw_gid)
    lines = host.wait_log("a").decode().split()
    assert lines == [str(nobody.pw_uid), group, group, "CapEff:", "0000000000000000"]


@needs_root
def test_a_user_that_does_not_exist_is_a_failed_start(host: KeeperHost) -> None:
    host.begin()
    end = host.run("a", "/bin/true", user="no-such-user")
    assert isinstance(end, StartFailure)
    assert (end.step, end.message) == ("user", "no user no-such-user on this host")


@needs_root
def test_rights_are_dropped_before_the_folder_is_entered(host: KeeperHost, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    host.begin()
    end = host.run("a", "/bin/true", user="nobody", cwd=str(closed))
    assert isinstance(end, StartFailure)
    assert (end.step, end.errno) == ("cwd", errno.EACCES)


@needs_root
def test_a_task_of_another_user_may_open_its_stderr_by_name(host: KeeperHost) -> None:
    host.begin()
    host.run("a", sh="echo first; echo second > /dev/stderr", user="nobody")
    assert host.wait_log("a") == b"first\nsecond\n"


@needs_root
def test_a_keeper_without_root_runs_and_kills_tasks_and_refuses_users() -> None:
    with in_nobodys_folder() as folder:
        host = KeeperHost(folder)
        os.chown(folder, 65534, 65534)
        try:
            host.begin(prefix=("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"))
            host.start("escapee", sh="setsid sh -c 'trap \"\" TERM; sleep 61' & sleep 62")
            pid = host.wait_running("escapee").pid
            host.link.stop("escapee", 0)
            end = host.wait_end("escapee")
            assert isinstance(end, Exit)
            assert not is_alive(pid)
            refused = host.run("other-user", "/bin/true", user="daemon")
            assert isinstance(refused, StartFailure)
            assert refused.step == "user"
            assert succeeded(host.run("same-user", "/bin/true", user="nobody"))
        finally:
            host.kill()
            host.link.close()


@contextlib.contextmanager
def in_nobodys_folder() -> Iterator[Path]:
    """pytest's own folders are closed to others."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pyflow-test-") as name:
        os.chmod(name, 0o755)
        yield Path(name) / "k"


# ---- Stopping ----


def test_a_timeout_ends_an_attempt_and_says_so(host: KeeperHost) -> None:
    host.begin()
    end = host.run("a", "sleep", "60", timeout_s=0.05)
    assert isinstance(end, Exit)
    assert (end.signal, end.stop) == (signal.SIGTERM, Stop.TIMEOUT)


def test_a_timeout_holds_while_no_daemon_is_connected(host: KeeperHost) -> None:
    host.begin()
    host.start("a", "sleep", "60", timeout_s=0.2)
    pid = host.wait_running("a").pid
    host.link.close()
    wait_until(lambda: not is_alive(pid), "the end of the task")
    host.connect()
    end = host.wait_end("a")
    assert isinstance(end, Exit)
    assert end.stop is Stop.TIMEOUT


def test_a_task_may_end_well_within_the_grace_of_a_stop(host: KeeperHost) -> None:
    host.begin()
    host.start("a", sh="trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done")
    host.wait_in_log("a", "ready")
    host.link.stop("a", 60)
    host.link.flush()
    end = host.wait_end("a")
    assert isinstance(end, Exit)
    assert (end.exit_code, end.stop) == (5, Stop.REQUEST)


def test_who_ignores_a_stop_is_killed_after_the_grace(host: KeeperHost) -> None:
    host.begin()
    host.start("a", sh="trap '' TERM; echo ready; while :; do sleep 0.01; done")
    host.wait_in_log("a", "ready")
    host.link.stop("a", 0.05)
    host.link.flush()
    end = host.wait_end("a")
    assert isinstance(end, Exit)
    assert (end.signal, end.stop) == (signal.SIGKILL, Stop.REQUEST)


def test_a_stop_without_a_grace_kills_at_once_also_within_the_grace_of_another(host: KeeperHost) -> None:
    host.begin()
    host.start("a", sh="trap '' TERM; echo ready; while :; do sleep 0.01; done")
    host.wait_in_log("a", "ready")
    host.link.stop("a", 3600)
    host.link.stop("a", 0)
    host.link.flush()
    end = host.wait_end("a")
    assert isinstance(end, Exit)
    assert end.signal == signal.SIGKILL


def test_a_stopped_process_ends_too(host: KeeperHost) -> None:
    host.begin()
    host.start("a", sh="echo ready; kill -STOP $$; sleep 60")
    host.wait_in_log("a", "ready")
    host.link.stop("a", 3600)
    host.link.flush()
    end = host.wait_end("a")
    assert isinstance(end, Exit)
    assert end.signal == signal.SIGTERM


def test_an_attempt_that_ended_by_itself_is_not_called_stopped(host: KeeperHost) -> None:
    host.begin()
    host.run("a", sh="exit 3")
    host.link.stop("a", 0)
    host.start("last", "/bin/true")
    host.wait_end("last")
    end = host.ended["a"]
    assert isinstance(end, Exit)
    assert (end.exit_code, end.stop) == (3, Stop.NONE)


def test_who_has_ended_when_the_stop_comes_was_not_stopped(host: KeeperHost) -> None:
    host.begin()
    host.start("a", "sleep", "60")
    pid = host.wait_running("a").pid
    os.kill(host.keeper_pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGUSR1)
    wait_until(lambda: not is_alive(pid), "the end of the task")
    host.link.stop("a", 0)
    host.link.flush()
    os.kill(host.keeper_pid, signal.SIGCONT)
    end = host.wait_end("a")
    assert isinstance(end, Exit)
    assert (end.signal, end.stop) == (signal.SIGUSR1, Stop.NONE)


ESCAPES = {
    "double fork": "(sh -c '{}' &) ; {}",
    "session": "setsid sh -c '{}' & {}",
    "empty environment": "env -i setsid sh -c '{}' & {}",
    "closed descriptors": "setsid sh -c '{}' <&- >&- 2>&- & {}",
    "all": "(env -i setsid sh -c \"(trap '' TERM HUP; {} &) ; {}\" <&- >&- 2>&- &) ; {}",
}


@pytest.mark.parametrize("way", ESCAPES)
def test_nothing_of_a_stopped_attempt_is_left_whatever_it_did(host: KeeperHost, way: str) -> None:
    host.begin()
    mark = f"7{os.getpid()}.{list(ESCAPES).index(way)}1"
    script = ESCAPES[way].replace("{}", f'trap "" TERM; /bin/sleep {mark}' if way != "all" else f"/bin/sleep {mark}")
    host.start("a", sh=script)
    expected = 3 if way == "all" else 2
    wait_until(lambda: len(processes_with(mark)) == expected, "the escapees")
    host.link.stop("a", 0.02)
    host.link.flush()
    host.wait_end("a")
    assert processes_with(mark) == []


def test_processes_that_hop_from_fork_to_fork_are_caught(host: KeeperHost) -> None:
    host.begin()
    mark = f"hop-{os.getpid()}"
    hop = (
        "import os,sys,time\nend = time.monotonic() + 20\nwhile time.monotonic() < end:\n"
        "    if os.fork(): os._exit(0)\n    os.setsid(); time.sleep(0.001)\n"
    )
    host.start("a", "/usr/bin/env", "python3", "-I", "-S", "-c", hop, mark, orphan_grace_s=0.1)
    host.wait_end("a")
    wait_until(lambda: not processes_with(mark), "the end of the hopping")
    host.wait_in_log("a", "leftover process")


def test_the_exit_is_told_at_once_and_leftovers_are_killed_after_their_grace(host: KeeperHost) -> None:
    host.begin()
    mark = f"8{os.getpid()}.1"
    end = host.run("a", sh=f"setsid sleep {mark} & setsid sleep {mark} & exit 4", orphan_grace_s=0.2)
    assert isinstance(end, Exit)
    assert (end.exit_code, end.stop) == (4, Stop.NONE)
    wait_until(lambda: not processes_with(mark), "the end of the leftovers")
    assert host.wait_in_log("a", "leftover") == b"pyflow: 2 leftover processes killed\n"


def test_leftovers_that_are_allowed_live_on(host: KeeperHost) -> None:
    host.begin()
    end = host.run(
        "a", sh="setsid sh -c 'trap \"\" TERM; while [ ! -e stop ]; do sleep 0.01; done; echo late' & exit 0",
        leftover=Leftover.ALLOW, orphan_grace_s=0, cwd=str(host.folder),
    )  # fmt: skip
    assert succeeded(end)
    host.start("later", "/bin/true")
    host.wait_end("later")
    (host.folder / "stop").touch()
    assert host.wait_log("a") == b"late\n"


def test_killing_one_attempt_leaves_the_others_alone(host: KeeperHost) -> None:
    host.begin()
    for n in range(30):
        host.start(f"a{n}", sh="setsid sleep 60 & wait")
    for n in range(30):
        host.wait_running(f"a{n}")
    host.link.stop("a7", 0)
    host.link.flush()
    host.wait_end("a7")
    assert all(is_alive(host.running[f"a{n}"].pid) for n in range(30) if n != 7)
    assert set(host.ended) == {"a7"}


# ---- Records, connections ----


def test_an_end_is_listed_until_it_is_acknowledged(host: KeeperHost) -> None:
    host.begin()
    host.run("a", sh="exit 9")
    first = host.connect()
    host.link.acknowledge("a")
    host.link.flush()
    assert set(first.ended) == {"a"}
    wait_until(lambda: not host.connect().ended, "an empty listing")


def test_a_failed_start_is_listed_like_any_end(host: KeeperHost) -> None:
    host.begin()
    host.run("a", "/nonexistent")
    assert isinstance(host.connect().ended["a"], StartFailure)


def test_the_newest_connection_wins_and_unread_requests_of_the_old_are_dropped(
    host: KeeperHost, tmp_path: Path
) -> None:
    listing = host.begin()
    os.kill(host.keeper_pid, signal.SIGSTOP)
    host.start("ghost", sh=f"touch {tmp_path}/ghost")
    newer = KeeperHost(tmp_path / "other")
    newer.link = type(host.link)(str(host.run_dir), "x", spawn=False)
    os.kill(host.keeper_pid, signal.SIGCONT)
    host.link.close()
    assert newer.connect().epoch == listing.epoch
    again = newer.connect()
    newer.link.close()
    # Either it was read before the newer one came, and is known; or it never happens.
    assert ("ghost" in again.running or "ghost" in again.ended) == (
        "ghost" in host.connect().running or "ghost" in host.ended
    )


def test_the_older_connection_is_closed_when_a_newer_one_says_hello(host: KeeperHost) -> None:
    host.begin()
    newer = type(host.link)(str(host.run_dir), "x", spawn=False)
    newer.connect(DEADLINE_S)
    host.wait_gone()
    newer.close()


def test_a_daemon_that_asks_and_never_reads_is_disconnected(host: KeeperHost) -> None:
    host.begin()
    for n in range(100):
        host.run(f"{n:0200}", "/nonexistent")
    host.link._channel.send(wire.frame(wire.LIST) * 1000)  # type: ignore[union-attr]
    host.link.flush()
    poller = select.poll()
    poller.register(host.link.fileno(), select.POLLRDHUP)
    assert poller.poll(DEADLINE_S * 1000)


@pytest.mark.parametrize(
    "nonsense",
    [
        struct.pack("<I", 0),
        struct.pack("<I", 0xFFFFFFFF),
        wire.frame(99),
        wire.frame(wire.START, b"a"),
        wire.frame(wire.STOP, b"a", b"soon"),
        wire.frame(wire.ACKNOWLEDGE, b"a\nb"),
        wire.frame(wire.ACKNOWLEDGE, b"x" * 300),
        struct.pack("<IB", 9, 5) + struct.pack("<I", 99) + b"abcd",
        wire.pack_start(wire.Start("no-descriptors", [b"/bin/true"], [], b"/")),
    ],
)
def test_a_malformed_frame_ends_that_connection_and_nothing_else(host: KeeperHost, nonsense: bytes) -> None:
    epoch = host.begin().epoch
    host.start("a", "sleep", "60")
    host.wait_running("a")
    host.link._channel.send(nonsense)  # type: ignore[union-attr]
    host.link.flush()
    host.wait_gone()
    listing = host.connect()
    assert listing.epoch == epoch
    assert set(listing.running) == {"a"}


def test_a_connection_that_does_not_say_hello_does_not_replace_the_daemon(host: KeeperHost) -> None:
    host.begin()
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(host.run_dir / "keeper.sock"))
        stranger.sendall(wire.frame(wire.LIST))
        assert b"HELLO" in stranger.recv(4096)
    assert succeeded(host.run("a", "/bin/true"))


@needs_root
def test_a_peer_that_is_not_allowed_is_turned_away() -> None:
    with in_nobodys_folder() as folder:
        host = KeeperHost(folder)
        try:
            host.begin(options=("--allow-uid", "1"))
            os.chmod(host.run_dir, 0o755)
            answers = [answer_to_uid(host.run_dir / "keeper.sock", uid) for uid in (65534, 1, 0)]
            assert answers == [False, True, True]
        finally:
            host.end()


def answer_to_uid(path: Path, uid: int) -> bool:
    """Whether the keeper answers HELLO from a process of this user."""
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(OSError):
            os.setresuid(uid, uid, uid)
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str(path))
                peer.sendall(wire.frame(wire.HELLO, b"1"))
                status = 0 if peer.recv(4096) else 1
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_daemon_that_does_not_read_does_not_hold_up_the_keeper(host: KeeperHost) -> None:
    host.begin()
    for n in range(300):
        host.start(f"a{n:0190}", "/bin/true")
    host.start("last", sh=f"touch {host.folder}/done")
    while host.link.wants_write():
        select.select([], [host.link], [], DEADLINE_S)
        host.link.flush()
    wait_until((host.folder / "done").exists, "the last task")
    host.connect()
    for n in range(300):
        assert succeeded(host.wait_end(f"a{n:0190}"))


def test_a_very_deep_folder_works(tmp_path: Path) -> None:
    host = KeeperHost(tmp_path / ("d" * 120) / ("e" * 120))
    host.begin()
    assert succeeded(host.run("a", "/bin/true"))
    host.end()


def test_only_one_keeper_lives_in_a_folder(host: KeeperHost) -> None:
    host.begin()
    first = host.process
    host.launch()
    assert host.wait_keeper() == 75
    host.process = first


def test_a_folder_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    host = KeeperHost(tmp_path / "k")
    host.run_dir.mkdir()
    host.run_dir.chmod(0o777)
    host.launch()
    assert host.wait_keeper() == 73
    assert "chmod 700" in (host.folder / "keeper.err").read_text()


def test_an_idle_keeper_ends_by_itself_and_takes_its_socket_away(tmp_path: Path) -> None:
    host = KeeperHost(tmp_path / "k")
    host.begin(options=("--idle-exit", "0.05"))
    host.link.close()
    assert host.wait_keeper() == 0
    assert not (host.run_dir / "keeper.sock").exists()


def test_a_keeper_with_a_record_does_not_end(host: KeeperHost) -> None:
    host.begin(options=("--idle-exit", "0.05"))
    host.run("a", "/bin/true")
    host.link.goodbye()
    host.link.close()
    assert set(host.connect().ended) == {"a"}


def test_sigterm_stops_what_runs_with_its_grace_and_leaves_true_records(host: KeeperHost) -> None:
    host.begin()
    host.start("a", sh="trap 'read line < pipe; exit 6' TERM; echo ready; while :; do sleep 0.01; done",
               cwd=str(make_fifo(host)))  # fmt: skip
    host.start("b", "sleep", "60")
    host.wait_in_log("a", "ready")
    host.wait_running("b")
    os.kill(host.keeper_pid, signal.SIGTERM)
    (host.folder / "pipe").write_text("go\n")
    assert host.wait_keeper() == 0
    ended = host.begin().ended
    a, b = ended["a"], ended["b"]
    assert isinstance(a, Exit)
    assert isinstance(b, Exit)
    assert (a.exit_code, a.stop) == (6, Stop.SHUTDOWN)
    assert (b.signal, b.stop) == (signal.SIGTERM, Stop.SHUTDOWN)


def test_a_keeper_that_ends_waits_no_longer_than_its_own_grace(host: KeeperHost) -> None:
    host.begin(options=("--stop-grace", "0.1"))
    host.start("a", sh="trap '' TERM; echo ready; while :; do sleep 0.01; done", kill_grace_s=600)
    host.wait_in_log("a", "ready")
    os.kill(host.keeper_pid, signal.SIGTERM)
    assert host.wait_keeper() == 0
    end = host.begin().ended["a"]
    assert isinstance(end, Exit)
    assert (end.signal, end.stop) == (signal.SIGKILL, Stop.SHUTDOWN)


def test_what_a_task_says_when_the_keeper_ends_is_in_its_log_before_the_keeper_is_gone(host: KeeperHost) -> None:
    host.begin()
    script = "exec 2>/dev/null; trap 'echo last words; exit 0' TERM; echo ready; while :; do sleep 0.01; done"
    host.start("a", sh=script)
    host.wait_in_log("a", "ready")
    logger = host.logger_pid()
    os.kill(logger, signal.SIGSTOP)
    os.kill(host.keeper_pid, signal.SIGTERM)
    assert host.process is not None
    with pytest.raises(subprocess.TimeoutExpired):  # it waits for the logger, 2 s at most
        host.process.wait(0.2)
    os.kill(logger, signal.SIGCONT)
    assert host.wait_keeper() == 0
    assert not is_alive(logger)  # systemd kills what it finds in the unit after the keeper
    assert host.log_path("a").read_bytes() == b"ready\nlast words\n"


def test_a_keeper_that_ends_leaves_no_logger_that_would_be_killed(host: KeeperHost) -> None:
    host.begin()
    logger = host.logger_pid()
    os.kill(logger, signal.SIGSTOP)
    os.kill(host.keeper_pid, signal.SIGTERM)
    assert host.process is not None
    with pytest.raises(subprocess.TimeoutExpired):  # it waits for the logger, 2 s at most
        host.process.wait(0.2)
    os.kill(logger, signal.SIGCONT)
    assert host.wait_keeper() == 0
    assert not is_alive(logger)


def test_a_logger_that_does_not_end_keeps_no_keeper_from_ending(host: KeeperHost) -> None:
    host.begin()
    logger = host.logger_pid()
    os.kill(logger, signal.SIGSTOP)
    os.kill(host.keeper_pid, signal.SIGTERM)
    assert host.wait_keeper() == 0
    os.kill(logger, signal.SIGKILL)


def test_the_file_of_a_detached_keeper_begins_anew_before_it_is_long(tmp_path: Path) -> None:
    keeper_log, full = tmp_path / "keeper.log", "x" * (1 << 20)
    script = "import os, sys; sys.path.insert(0, sys.argv[1]); from pyflowd.keeper.keeper import say; say('hello')"

    def said(path: Path, text: str) -> str:
        path.write_text(text)
        with path.open("ab") as errors:
            subprocess.run([sys.executable, "-I", "-S", "-c", script, REPOSITORY], stderr=errors, check=True)
        return path.read_text()

    assert said(keeper_log, full) == full + "pyflow-keeper: hello\n"
    assert said(keeper_log, full + "y") == "pyflow-keeper: hello\n"
    assert said(tmp_path / "other", full + "y") == full + "ypyflow-keeper: hello\n"  # not ours to empty


def make_fifo(host: KeeperHost) -> Path:
    os.mkfifo(host.folder / "pipe")
    return host.folder


# ---- Deaths ----


@pytest.mark.parametrize("point", CRASHPOINTS)
def test_after_a_death_at_any_crash_point_each_attempt_ran_at_most_once_and_its_end_is_true(
    host: KeeperHost, point: str
) -> None:
    host.begin(crash=f"{point}:2")
    for n in range(4):
        host.start(f"a{n}", sh=f"echo {n} >> ran; exit {n}", cwd=str(host.folder), flush=False)
    with contextlib.suppress(AssertionError):
        host.link.flush()
        host.wait(lambda: len(host.ended) == 4, "four ends")
        for n in range(4):
            host.link.acknowledge(f"a{n}")
        host.link.flush()
        host.wait_gone()
    assert host.wait_keeper() == -signal.SIGKILL
    old = host.listing.epoch if host.listing else ""
    host.ended.clear()
    listing = host.begin()
    assert listing.lineage == (old,)
    ran = (host.folder / "ran").read_text().split() if (host.folder / "ran").exists() else []
    assert len(ran) == len(set(ran))
    for n in range(4):
        end = listing.ended.get(f"a{n}")
        if isinstance(end, LostAttempt):
            assert end.why is Lost.KEEPER_LOST
        elif end is None:
            # Never heard of, or acknowledged: the daemon knows which.
            assert str(n) not in ran or point == "ack_written"
        else:
            assert isinstance(end, Exit)
            assert end.exit_code == n


def test_what_lives_of_an_attempt_when_its_keeper_dies_is_killed_by_the_next_one(host: KeeperHost) -> None:
    host.begin()
    mark = f"9{os.getpid()}.1"
    host.start("a", sh=f"env -i setsid sleep {mark} & sleep {mark}")
    wait_until(lambda: len(processes_with(mark)) == 2, "the task")
    host.kill()
    assert len(processes_with(mark)) == 2
    listing = host.begin()
    assert processes_with(mark) == []
    end = listing.ended["a"]
    assert isinstance(end, LostAttempt)
    assert end.why is Lost.KEEPER_LOST


def test_the_next_keeper_leaves_processes_of_other_keepers_alone(host: KeeperHost, tmp_path: Path) -> None:
    other = KeeperHost(tmp_path / "other")
    other.begin()
    other.start("a", "sleep", "60")
    pid = other.wait_running("a").pid
    host.begin()
    host.start("a", "sleep", "60")
    host.wait_running("a")
    host.kill()
    host.begin()
    assert is_alive(pid)
    other.end()


def test_leftovers_in_their_grace_are_killed_by_the_next_keeper(host: KeeperHost) -> None:
    host.begin()
    mark = f"6{os.getpid()}.1"
    host.run("a", sh=f"setsid sleep {mark} & exit 0", orphan_grace_s=3600)
    host.link.acknowledge("a")
    host.start("b", "/bin/true")
    host.wait_end("b")
    wait_until(lambda: len(processes_with(mark)) == 1, "the leftover process")
    host.kill()
    host.begin()
    assert processes_with(mark) == []


def test_a_journal_of_another_boot_makes_attempts_lost_to_the_restart(host: KeeperHost) -> None:
    host.begin()
    host.start("a", "sleep", "60")
    pid = host.wait_running("a").pid
    host.kill()
    journal = host.run_dir / "journal"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    journal.write_text(journal.read_text().replace(boot_id, "another-boot"))
    end = host.begin().ended["a"]
    assert isinstance(end, LostAttempt)
    assert end.why is Lost.HOST_RESTARTED
    os.kill(pid, signal.SIGKILL)


def test_lineage_names_all_earlier_lives_newest_first(host: KeeperHost) -> None:
    epochs: list[str] = []
    for _ in range(3):
        epochs.insert(0, host.begin().epoch)
        host.kill()
    assert host.begin().lineage == tuple(epochs)


# ---- Upgrades ----


def test_an_upgrade_keeps_children_records_connection_and_pid(host: KeeperHost) -> None:
    epoch = host.begin().epoch
    host.run("ended", sh="exit 2")
    host.start("a", sh="echo before; read line < pipe; echo after; exit 8", cwd=str(make_fifo(host)))
    host.wait_in_log("a", "before")
    before = start_time(host.keeper_pid)
    logger = host.logger_pid()
    host.link.upgrade()
    host.link.flush()
    wait_until(lambda: not is_alive(logger), "the old logger's end")
    (host.folder / "pipe").write_text("go\n")
    end = host.wait_end("a")
    assert isinstance(end, Exit)
    assert end.exit_code == 8
    assert host.wait_log("a") == b"before\nafter\n"
    assert start_time(host.keeper_pid) == before
    listing = host.connect()
    assert (listing.epoch, set(listing.ended)) == (epoch, {"a", "ended"})


def start_time(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]


def test_upgrades_at_random_moments_lose_no_child_and_no_status(host: KeeperHost) -> None:
    host.begin()
    for n in range(50):
        host.start(f"a{n}", sh=f"sleep 0.{n % 10}{n % 7}; echo {n}; exit {n}")
        if n % 6 == 0:
            os.kill(host.keeper_pid, signal.SIGHUP)
    for n in range(50):
        end = host.wait_end(f"a{n}")
        assert isinstance(end, Exit)
        assert end.exit_code == n
        if n % 5 == 0:
            os.kill(host.keeper_pid, signal.SIGHUP)
    assert [host.wait_log(f"a{n}") for n in range(50)] == [b"%d\n" % n for n in range(50)]


def test_a_log_that_no_logger_had_yet_is_not_forgotten_by_an_upgrade(host: KeeperHost) -> None:
    host.begin()
    logger = host.logger_pid()
    os.kill(logger, signal.SIGSTOP)  # so that it cannot hand over its logs
    for n in range(2):
        mark = upgrades_said(host)
        host.link.upgrade()
        host.run(f"before{n}", "/bin/echo", "hello")
        wait_until(lambda mark=mark: upgrades_said(host) > mark, "the upgrade")  # type: ignore[misc]
        host.run(f"after{n}", "/bin/echo", "hello")
    os.kill(logger, signal.SIGCONT)
    assert {host.wait_log(f"{when}{n}") for n in range(2) for when in ("before", "after")} == {b"hello\n"}


def upgrades_said(host: KeeperHost) -> int:
    """How often the keeper has said that it is a newer version."""
    return (host.folder / "keeper.err").read_text().count("upgraded")


def test_a_wish_to_end_holds_over_an_upgrade(host: KeeperHost) -> None:
    host.begin()
    host.start("a", sh="trap 'read line < pipe' TERM; echo ready; while :; do sleep 0.01; done",
               cwd=str(make_fifo(host)))  # fmt: skip
    host.wait_in_log("a", "ready")
    os.kill(host.keeper_pid, signal.SIGHUP)
    os.kill(host.keeper_pid, signal.SIGTERM)
    wait_until(lambda: upgrades_said(host), "the upgrade")
    (host.folder / "pipe").write_text("go\n")
    assert host.wait_keeper() == 0


def test_timeouts_hold_over_an_upgrade(host: KeeperHost) -> None:
    host.begin()
    host.start("a", "sleep", "60", timeout_s=0.5)
    host.wait_running("a")
    os.kill(host.keeper_pid, signal.SIGHUP)
    end = host.wait_end("a")
    assert isinstance(end, Exit)
    assert end.stop is Stop.TIMEOUT


def test_a_refused_request_takes_no_descriptor_of_the_caller(host: KeeperHost) -> None:
    from pyflowd.errors import Refused
    from pyflowd.runtime.keeperlink import StartRequest

    host.begin()
    descriptor = append(host.log_path("x"))
    request = StartRequest(attempt="x", argv=("a\0b",), env={}, cwd="/")
    with pytest.raises(Refused, match="NUL"):
        host.link.start(request, descriptor, descriptor)
    os.close(descriptor)
    assert not lock_is_free(host.run_dir)
