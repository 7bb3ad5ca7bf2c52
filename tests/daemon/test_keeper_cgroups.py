"""The keeper with a part of the cgroup v2 hierarchy: nothing of an attempt is left, whatever it did; use is exact.

They need a hierarchy in which they may make folders, as root has it; controllers need not be there (see `vm` in
tests/systemd for limits).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyflowd.keeper import cgroups
from pyflowd.model.ends import Exit, Stop
from pyflowd.model.workflow import Leftover
from tests.daemon.keeper_host import KeeperHost, is_alive, processes_with, succeeded
from tests.waiting import wait_until

SHED = "prlimit --rttime=1000000:1000000 "
"""Takes the tag off: only the cgroup knows then whose process it is."""
_numbers = itertools.count()


def own_place() -> Path | None:
    """A folder for the test's own cgroup; None where none can be made."""
    try:
        path = Path(cgroups.own_path()) / f"pyflow-test-{os.getpid()}-{next(_numbers)}"
        path.mkdir()
    except (OSError, cgroups.NoCgroups):
        return None
    return path


@pytest.fixture
def place() -> Iterator[Path]:
    path = own_place()
    if path is None:
        pytest.skip("no cgroup can be made here")
    yield path
    for folder, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder, "cgroup.kill").write_text("1")
        wait_until(lambda folder=folder: not Path(folder, "cgroup.procs").read_text(), f"the end of all in {folder}")
        os.rmdir(folder)


@pytest.fixture
def host(tmp_path: Path, place: Path) -> Iterator[KeeperHost]:
    keeper = KeeperHost(tmp_path / "k")
    yield keeper
    keeper.end()


def begin(host: KeeperHost, place: Path, **more: tuple[str, ...]) -> None:
    host.begin(options=("--cgroup", str(place)), **more)


def patched(patch: str) -> tuple[str, ...]:
    """A prefix that runs the keeper with something of it replaced."""
    program = (
        "import sys; entry = sys.argv[4]; sys.argv = sys.argv[4:]; sys.path.insert(0, entry.partition('/pyflowd/')[0])"
        f"; from pyflowd.keeper import main, spawn; {patch}; sys.exit(main.run(sys.argv[1:]))"
    )
    return (sys.executable, "-c", program)


def attempts_in(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if path.name.startswith(("attempt-", "lasting-")))


def mark_of(word: str) -> str:
    """Seconds to sleep that stand in no other process list."""
    return f"9{os.getpid()}.{sum(word.encode())}"


# ---- A place of its own ----


def test_each_attempt_has_a_cgroup_of_its_own_while_it_runs(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    host.start("a", sh="cat /proc/self/cgroup; sleep 60")
    host.start("b", sh="cat /proc/self/cgroup")
    host.wait_end("b")
    assert f"/{place.name}/attempt-b\n".encode() in host.wait_log("b")
    assert attempts_in(place) == ["attempt-a"]
    host.link.stop("a", 0)
    host.link.flush()
    host.wait_end("a")
    assert attempts_in(place) == []


def test_keeper_and_logger_live_in_a_leaf(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    pids = {host.keeper_pid, host.logger_pid()}
    assert {int(pid) for pid in (place / "supervisor" / "cgroup.procs").read_text().split()} == pids
    assert (place / "cgroup.procs").read_text() == ""


def test_an_id_that_is_no_plain_word_becomes_no_path(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    host.run("x y", sh="cat /proc/self/cgroup")
    assert re.search(rf"/{place.name}/attempt-=\d+\n", host.wait_log("x y").decode())


def test_a_task_of_another_user_begins_in_its_cgroup(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    host.run("a", sh="id -un; cat /proc/self/cgroup", user="nobody")
    log = host.wait_log("a").decode()
    assert log.startswith("nobody\n")
    assert f"/{place.name}/attempt-a\n" in log


def test_a_failed_start_leaves_no_cgroup(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    host.run("a", "/nonexistent")
    wait_until(lambda: attempts_in(place) == [], "the end of the cgroup")


def test_where_the_kernel_cannot_fork_into_a_cgroup_the_child_enters_it_by_itself(
    host: KeeperHost, place: Path
) -> None:
    begin(host, place, prefix=patched("spawn._clone_into = lambda cgroup: None"))
    host.run("a", sh="cat /proc/self/cgroup", user="nobody")
    assert f"/{place.name}/attempt-a\n".encode() in host.wait_log("a")


def test_of_two_keepers_with_one_place_the_second_does_without(host: KeeperHost, place: Path, tmp_path: Path) -> None:
    begin(host, place)
    second = KeeperHost(tmp_path / "second")
    try:
        begin(second, place)
        assert second.link.cgroups == f"none: another keeper uses {place}"
        assert succeeded(second.run("a", "/bin/true"))
    finally:
        second.end()


@pytest.mark.parametrize(("wish", "why"), [("/nonexistent", "/nonexistent is no cgroup"), ("none", "without --cgroup")])
def test_a_keeper_without_a_place_says_why_and_works(tmp_path: Path, wish: str, why: str) -> None:
    host = KeeperHost(tmp_path / "k")
    try:
        host.begin(options=("--cgroup", wish))
        assert host.link.cgroups.startswith("none: ")
        assert why in host.link.cgroups
        assert succeeded(host.run("a", "/bin/true"))
    finally:
        host.end()


# ---- Nothing is left ----

ZOO = {
    "session": "setsid {} & {}",
    "double fork": "({} &) ; {}",
    "ignored signals": "trap '' TERM HUP INT; {} & {}",
    "stopped": "sh -c 'kill -STOP $$; exec \"$@\"' sh {} & {}",
    "without the tag": f"setsid {SHED}{{}} & {{}}",
    "all without the tag": f"(env -i setsid {SHED}sh -c \"(trap '' TERM HUP; {{}} &) ; {{}}\" <&- >&- 2>&- &) ; {{}}",
}


@pytest.mark.parametrize("way", ZOO)
def test_nothing_of_a_stopped_attempt_is_left_whatever_it_did(host: KeeperHost, place: Path, way: str) -> None:
    begin(host, place)
    mark = mark_of(way)
    host.start("a", sh=ZOO[way].replace("{}", f"/bin/sleep {mark}"))
    wait_until(lambda: len(processes_with(mark)) == ZOO[way].count("{}"), "the escapees")
    host.link.stop("a", 0.02)
    host.link.flush()
    host.wait_end("a")
    assert processes_with(mark) == []
    assert attempts_in(place) == []


STORM = (
    "import os, resource\nprint('storm', flush=True)\n"
    "resource.setrlimit(resource.RLIMIT_RTTIME, (1000000, 1000000))\n"
    "for _ in range(6): os.fork()\n"
    "while True:\n    if os.fork(): os._exit(0)\n    os.setsid()\n"
)
HOP = (
    "import os, resource, time\nprint('hop', flush=True)\n"
    "resource.setrlimit(resource.RLIMIT_RTTIME, (1000000, 1000000))\n"
    "while True:\n    if os.fork(): os._exit(0)\n    os.setsid(); time.sleep({pause})\n"
)


@pytest.mark.parametrize("pause", ["0", "0.001"])
def test_who_hops_from_fork_to_fork_without_a_tag_is_caught(host: KeeperHost, place: Path, pause: str) -> None:
    begin(host, place)
    mark = f"hop-{os.getpid()}-{pause}"
    host.start("a", sys.executable, "-I", "-S", "-c", HOP.replace("{pause}", pause), mark, orphan_grace_s=0.05)
    end = host.wait_end("a")
    assert isinstance(end, Exit)
    assert end.exit_code == 0
    host.wait_in_log("a", "leftover process")
    assert processes_with(mark) == []
    wait_until(lambda: attempts_in(place) == [], "the end of the cgroup")


def test_a_storm_of_forks_is_ended(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    mark = f"storm-{os.getpid()}"
    host.start("a", "/bin/sh", "-c", '"$@" & wait; sleep 60', "sh", sys.executable, "-ISc", STORM, mark)
    host.wait_running("a")
    wait_until(lambda: len((place / "attempt-a" / "cgroup.procs").read_text().split()) > 30, "the storm")
    host.link.stop("a", 0)
    host.link.flush()
    end = host.wait_end("a")
    assert isinstance(end, Exit)
    assert end.stop is Stop.REQUEST
    assert processes_with(mark) == []
    assert attempts_in(place) == []


def test_leftovers_without_a_tag_are_killed_after_their_grace_and_counted_once(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    mark = mark_of("leftovers")
    end = host.run("a", sh=f"setsid {SHED}sleep {mark} & setsid sleep {mark} & exit 4", orphan_grace_s=0.2)
    assert isinstance(end, Exit)
    assert end.exit_code == 4
    wait_until(lambda: not processes_with(mark), "the end of the leftovers")
    assert host.wait_in_log("a", "leftover") == b"pyflow: 2 leftover processes killed\n"


def test_an_attempt_whose_leftovers_end_by_themselves_waits_for_no_grace(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    host.run("a", sh=f"setsid {SHED}sh -c 'while [ ! -e go ]; do sleep 0.01; done' & exit 0", cwd=str(host.folder),
             orphan_grace_s=3600)  # fmt: skip
    (host.folder / "go").touch()
    wait_until(lambda: attempts_in(place) == [], "the end of the cgroup")


def test_a_task_that_makes_cgroups_of_its_own_leaves_none(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    mark = mark_of("nested")
    script = (
        f"cd {place}/attempt-a && mkdir -p one/two && (echo 0 > one/two/cgroup.procs; exec setsid {SHED}sleep {mark}) &"
        f"while [ ! -s {place}/attempt-a/one/two/cgroup.procs ]; do grep -q . {place}/attempt-a/one/two/cgroup.procs"
        "&& break; done 2>/dev/null; exit 0"
    )
    assert succeeded(host.run("a", sh=script, orphan_grace_s=0.05))
    wait_until(lambda: attempts_in(place) == [], "the end of the cgroup")
    assert processes_with(mark) == []


def test_two_hundred_and_fifty_six_attempts_end_apart(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    names = [f"a{n}" for n in range(256)]
    for name in names:
        host.start(name, sh=f"setsid {SHED}sleep 60 & exec sleep 60", flush=False)
    host.link.flush()
    for name in names:
        host.wait_running(name)
    assert len(attempts_in(place)) == 256
    for name in names[::2]:
        host.link.stop(name, 0)
    host.link.flush()
    for name in names[::2]:
        host.wait_end(name)
    assert attempts_in(place) == sorted(f"attempt-{name}" for name in names[1::2])
    assert set(host.ended) == set(names[::2])
    assert all(is_alive(host.running[name].pid) for name in names[1::2])


# ---- What outlives what ----


def lasting_task(host: KeeperHost) -> str:
    """Ends at once; what it leaves may live on until the file `stop` is there."""
    host.run(
        "a", sh=f"setsid {SHED}sh -c 'while [ ! -e stop ]; do sleep 0.01; done' & exit 0", leftover=Leftover.ALLOW,
        cwd=str(host.folder), orphan_grace_s=0,
    )  # fmt: skip
    return "lasting-a"


def test_allowed_leftovers_keep_their_cgroup_until_they_end(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    name = lasting_task(host)
    host.run("later", "/bin/true")
    assert attempts_in(place) == [name]
    (host.folder / "stop").touch()
    wait_until(lambda: attempts_in(place) == [], "the end of the cgroup")


def test_allowed_leftovers_outlive_the_keeper(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    name = lasting_task(host)
    host.link.acknowledge("a")
    host.link.flush()
    host.run("later", "/bin/true")
    host.kill()
    begin(host, place)
    assert attempts_in(place) == [name]
    (host.folder / "stop").touch()
    wait_until(lambda: not (place / name / "cgroup.procs").read_text(), "the end of the leftovers")
    host.run("b", "/bin/true")
    assert attempts_in(place) == []


@pytest.mark.parametrize("leftover", list(Leftover))
def test_the_next_keeper_kills_what_lives_in_the_cgroup_of_an_unfinished_attempt(
    host: KeeperHost, place: Path, leftover: Leftover
) -> None:
    begin(host, place)
    mark = mark_of(f"unfinished{leftover}")
    host.start("a", sh=f"setsid {SHED}sleep {mark} & exec {SHED}sleep {mark}", leftover=leftover)
    wait_until(lambda: len(processes_with(mark)) == 2, "the task")
    host.kill()
    begin(host, place)
    assert processes_with(mark) == []
    assert attempts_in(place) == []


def test_the_next_keeper_kills_what_no_journal_knows(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    mark = mark_of("no journal")
    host.start("a", sh=f"exec {SHED}sleep {mark}")
    wait_until(lambda: len(processes_with(mark)) == 1, "the task")
    host.kill()
    shutil.move(host.run_dir / "journal", host.folder / "journal.away")
    begin(host, place)
    assert processes_with(mark) == []
    assert attempts_in(place) == []


def test_an_upgrade_keeps_cgroups_and_what_is_known_of_them(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    mark = mark_of("upgrade")
    host.start("a", sh=f"setsid {SHED}sleep {mark} & exec sleep {mark}")
    wait_until(lambda: len(processes_with(mark)) == 2, "the task")
    name = lasting_task_beside(host)
    host.link.upgrade()
    host.link.flush()
    wait_until(lambda: b"upgraded in place" in (host.folder / "keeper.err").read_bytes(), "the upgrade")
    assert attempts_in(place) == ["attempt-a", name]
    host.link.stop("a", 0)
    host.link.flush()
    end = host.wait_end("a")
    assert isinstance(end, Exit)
    assert end.signal == signal.SIGKILL
    assert processes_with(mark) == []
    (host.folder / "stop").touch()
    wait_until(lambda: attempts_in(place) == [], "the end of the cgroups")


def lasting_task_beside(host: KeeperHost) -> str:
    host.run(
        "b", sh=f"setsid {SHED}sh -c 'while [ ! -e stop ]; do sleep 0.01; done' & exit 0", leftover=Leftover.ALLOW,
        cwd=str(host.folder), orphan_grace_s=0,
    )  # fmt: skip
    return "lasting-b"


# ---- Use and limits ----

BURN = "import time\nwhile time.process_time() < 0.3: pass\nopen('burnt', 'w')"


def test_the_use_of_processes_that_nobody_waited_for_is_counted(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    script = f'(setsid {sys.executable} -ISc "{BURN}" &); while [ ! -e burnt ]; do sleep 0.02; done'
    end = host.run("a", sh=script, cwd=str(host.folder))
    assert isinstance(end, Exit)
    assert end.usage.cpu_us >= 300_000


def test_limits_that_cannot_be_kept_are_said_in_the_log(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    there = (place / "cgroup.subtree_control").read_text().split()
    if "memory" in there or "pids" in there:
        pytest.skip("the controllers are there")
    host.run("a", sh="echo out", limits={"memory_max": 1 << 30, "tasks_max": 9, "nice": 3})
    assert host.wait_log("a") == (
        b"pyflow: not kept: memory_max, tasks_max (the keeper's cgroup has no such controller)\nout\n"
    )


def test_without_cgroups_niceness_is_kept_and_nothing_else(tmp_path: Path) -> None:
    host = KeeperHost(tmp_path / "k")
    try:
        host.begin()
        host.run("a", sh="nice", limits={"cpu_weight": 10, "nice": 7})
        said = b"pyflow: not kept: cpu_weight (the keeper was started without --cgroup)\n7\n"
        assert host.wait_log("a") == said
    finally:
        host.end()


def test_niceness_that_the_keeper_may_not_give_is_said_in_the_log(tmp_path: Path) -> None:
    host = KeeperHost(tmp_path / "k")
    try:
        host.begin(prefix=("setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice", "--"))
        host.run("a", sh="nice", limits={"nice": -5})
        told = f"pyflow: not kept: nice (this keeper may give 0 or more)\n{os.nice(0)}\n"
        assert host.wait_log("a").decode() == told
    finally:
        host.end()


def test_what_may_live_on_keeps_the_cgroups_that_it_made(host: KeeperHost, place: Path) -> None:
    begin(host, place)
    script = f"mkdir {place}/lasting-a/own; setsid sh -c 'while [ ! -e stop ]; do sleep 0.01; done' & exit 0"
    host.run("a", sh=script, leftover=Leftover.ALLOW, cwd=str(host.folder), orphan_grace_s=0)
    host.run("later", "/bin/true")
    assert (place / "lasting-a" / "own").is_dir()
    (host.folder / "stop").touch()
    wait_until(lambda: attempts_in(place) == [], "the end of the cgroups")


def test_a_keeper_that_is_protected_when_memory_runs_out_does_not_hand_that_on(tmp_path: Path) -> None:
    host = KeeperHost(tmp_path / "k")
    raised = "open('/proc/self/oom_score_adj', 'w').write('300'); spawn.own_oom_score_adj = lambda: -900"
    try:
        host.begin(prefix=patched(raised))
        assert Path(f"/proc/{host.keeper_pid}/oom_score_adj").read_text() == "300\n"
        host.run("a", "/bin/cat", "/proc/self/oom_score_adj")
        assert host.wait_log("a") == b"0\n"
    finally:
        host.end()
