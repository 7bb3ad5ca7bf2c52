"""Processes that want out, pids that come again, forks that fail: nothing of an attempt stays, nobody else is hit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyflowd.model.ends import Exit, Stop
from tests.daemon.instance import REPOSITORY
from tests.daemon.keeper_host import KeeperHost
from tests.faults.escapees import ESCAPEES, kinds
from tests.faults.figures import Figures
from tests.faults.filesystem import needs_root
from tests.faults.history import survivors
from tests.faults.length import times
from tests.waiting import wait_until

Report = Callable[[Figures], None]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[KeeperHost]:
    keeper = KeeperHost(tmp_path / "k")
    yield keeper
    keeper.end()


def kinds_here(host: KeeperHost) -> list[str]:
    """Without cgroups one is out of reach, and the manual says so."""
    host.start("probe", "/bin/sleep", "60")
    cgroup = Path(f"/proc/{host.wait_running('probe').pid}/cgroup").read_text()
    host.link.stop("probe", 0)
    host.link.flush()
    host.wait_end("probe")
    return kinds(root=os.geteuid() == 0, cgroup=cgroup != Path("/proc/self/cgroup").read_text())


def test_nothing_of_a_stopped_attempt_lives_whatever_it_did(host: KeeperHost, tmp_path: Path, figures: Report) -> None:
    """Rule I5: all of the kinds at once, each stopped; and as many times as the run is long."""
    host.begin()
    tried = kinds_here(host)
    left: list[str] = []
    rounds = times(1)
    for number in range(rounds):
        for kind in tried:
            attempt = f"{number}-{tried.index(kind)}"
            mark = f"escape-{os.getpid()}-{attempt}-end"
            ready = tmp_path / attempt
            host.start(attempt, *ESCAPEES[kind], mark, str(ready))
            wait_until(ready.exists, f"{kind} is ready")
            host.link.stop(attempt, 0.01)
            host.link.flush()
        for kind in tried:
            attempt = f"{number}-{tried.index(kind)}"
            mark = f"escape-{os.getpid()}-{attempt}-end"
            end = host.wait_end(attempt)
            assert isinstance(end, Exit), kind
            assert end.stop is Stop.REQUEST, kind
            host.link.acknowledge(attempt)
        live = survivors(f"escape-{os.getpid()}-{number}-")
        left += [Path(f"/proc/{pid}/cmdline").read_text() for pid in live]
        for pid in live:
            os.kill(pid, signal.SIGKILL)
    trials = rounds * len(tried)
    figures(
        Figures(fault="processes that escape, stopped", trials=trials, survivors=len(left), note=f"{len(tried)} kinds")
    )
    assert not left


def test_nothing_of_an_attempt_lives_after_the_death_of_its_keeper(
    host: KeeperHost, tmp_path: Path, figures: Report
) -> None:
    """The next keeper kills what is left before it says that an attempt is lost."""
    host.begin()
    tried = kinds_here(host)
    for kind in tried:
        attempt = str(tried.index(kind))
        host.start(attempt, *ESCAPEES[kind], f"orphan-{os.getpid()}-{attempt}-end", str(tmp_path / attempt))
    wait_until(lambda: all((tmp_path / str(at)).exists() for at in range(len(tried))), "all of them are ready")
    host.kill()
    host.begin()
    live = survivors(f"orphan-{os.getpid()}-")
    told = [Path(f"/proc/{pid}/cmdline").read_text() for pid in live]
    for pid in live:
        os.kill(pid, signal.SIGKILL)
    figures(Figures(fault="processes that escape, keeper killed", trials=len(tried), survivors=len(live)))
    assert not told


REUSE = """
import os, sys
sys.path.insert(0, sys.argv[1])
from tests.faults.test_processes import reuse_pids
reuse_pids(sys.argv[2], int(sys.argv[3]))
"""


@needs_root
def test_a_stranger_with_the_pid_of_a_task_is_never_hit(tmp_path: Path, figures: Report) -> None:
    """In a pid namespace with so few pids that they come again at once."""
    rounds = times(40)
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", REUSE,
         str(REPOSITORY), str(tmp_path), str(rounds)],
        capture_output=True, text=True, check=False, timeout=30 + rounds, cwd="/",
    )  # fmt: skip
    if "unshare:" in done.stderr or "pid_max" in done.stderr:
        pytest.skip(done.stderr.strip()[-200:])
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    figures(
        Figures(
            fault="pid of a task that comes again",
            trials=counts["reused"],
            note=f"{counts['hit']} strangers hit in {counts['reused']} reuses of {rounds} tasks",
        )
    )
    assert counts["hit"] == 0
    assert counts["reused"] > rounds // 2


def reuse_pids(folder: str, rounds: int) -> None:
    """Inside the namespace: tasks end, strangers take their pids, then a stop and a time-out come for the tasks."""
    Path("/proc/sys/kernel/pid_max").write_text("330")
    host = KeeperHost(Path(folder) / "k")
    host.begin()
    reused = hit = 0
    for number in range(rounds):
        attempt = f"a{number}"
        host.start(attempt, "/bin/sh", "-c", "exit 3", orphan_grace_s=0.05, timeout_s=0.3)
        end = host.wait_end(attempt)
        assert isinstance(end, Exit)
        pid = host.wait_running(attempt).pid
        stranger = _take_pid(pid)
        if stranger is None:
            continue
        reused += 1
        host.link.stop(attempt, 0)  # late: the task is over
        host.link.stop(attempt, 0.01)
        host.link.acknowledge(attempt)
        host.link.flush()
        host.run(f"b{number}", "/bin/true", timeout_s=0.3)  # by then the keeper has dealt with the stops
        hit += stranger.poll() is not None
        stranger.kill()
        stranger.wait()
    host.end()
    print(json.dumps({"reused": reused, "hit": hit}))


def _take_pid(wanted: int) -> subprocess.Popen[bytes] | None:
    """A process with this pid that has nothing to do with us; None where somebody else has it."""
    for _ in range(400):
        process = subprocess.Popen(["sleep", "60"], start_new_session=True)
        if process.pid == wanted:
            return process
        process.kill()
        process.wait()
    return None
