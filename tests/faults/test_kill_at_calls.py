"""kill -9 at every system call that matters of the commit, start and end paths, in the daemon and in the keeper."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable

import psutil

from tests.daemon.instance import Instance
from tests.daemon.keeper_host import is_alive
from tests.faults.calls import count_calls, counted, injected, needs_strace
from tests.faults.figures import Figures
from tests.faults.length import spread
from tests.faults.trial import Trial
from tests.waiting import wait_until

pytestmark = needs_strace
DAEMON = ("pwrite64", "fdatasync", "openat", "mkdir", "sendto", "sendmsg", "recvmsg", "recvfrom", "unlinkat")
"""What a run changes outside the daemon's own memory, and what it hears: store, logs, folders, sockets."""
START = ("pwrite64", "fdatasync", "fsync", "fallocate", "ftruncate", "rename", "sendmsg", "recvmsg", "unlink")
"""The same of a start, which looks for what is left of the life before."""
KEEPER = ("write", "pipe2", "clone3", "vfork", "clone", "chdir", "sendmsg", "recvmsg", "wait4", "prlimit64")
Report = Callable[[Figures], None]


def test_the_daemon_dies_at_any_call_of_a_run(instance: Instance, figures: Report) -> None:
    trial = Trial(instance)
    trial.begin()
    assert instance.process is not None
    with counted(instance.process.pid, DAEMON) as calls:
        run = trial.ask()
        assert run is not None, trial.said
        instance.wait_run(run)
    points = [(call, number) for call in DAEMON for number in range(1, calls[call] + 1)]
    tried = spread(points, 9)
    struck = 0
    for call, number in tried:
        if trial.dies(injected(instance.process.pid, call, f"signal=KILL:when={number}")):
            struck += 1
            assert instance.process.returncode == -signal.SIGKILL, instance.log_text()
            trial.come_back()
    verdict, counts = trial.end(
        "kill -9 of pyflowd at a call", len(tried), f"{struck} deaths at {len(tried)} of {len(points)} calls of a run"
    )
    figures(counts)
    assert not verdict.faults
    assert verdict.unknown == 0, "the keeper lived: it knows how everything ended"
    assert struck > len(tried) // 2


def test_the_daemon_dies_at_any_call_of_its_start_and_again(instance: Instance, figures: Report) -> None:
    """Killed in the middle of a run, and then twice while it recovers from that."""
    trial = Trial(instance)
    trial.begin()
    instance.kill()
    with tempfile.NamedTemporaryFile("r") as trace:
        instance.start(prefix=("strace", "-D", "-qqq", "-o", trace.name, "-e", f"trace={','.join(START)}"))
        calls = count_calls(trace.read())
    points = [(call, number) for call in START for number in range(1, calls[call] + 1)]
    tried = spread(points, 3)
    struck = 0
    for call, number in tried:
        trial.ask()
        instance.kill()
        for _ in range(2):
            instance.start(wait=False, prefix=kill_prefix(call, number))
            wait_until(lambda: trial.is_dead() or instance.ctl("next").returncode == 0, "a death, or it serves")
            struck += trial.is_dead()
            instance.kill()
            assert instance.process is not None
            assert instance.process.returncode == -signal.SIGKILL, instance.log_text()
        trial.come_back()
    verdict, counts = trial.end(
        "kill -9 of pyflowd in its recovery", len(tried),
        f"{struck} deaths at {len(tried)} of {len(points)} calls of a start, twice each",
    )  # fmt: skip
    figures(counts)
    assert not verdict.faults
    assert verdict.unknown == 0
    assert struck


def kill_prefix(call: str, number: int) -> tuple[str, ...]:
    """A tracer that leaves the daemon our own child."""
    return (
        "strace", "-D", "-qqq", "-o", "/dev/null", "-e", f"trace={call}", "-e",
        f"inject={call}:signal=KILL:when={number}",
    )  # fmt: skip


def test_the_keeper_dies_at_any_call_of_a_run(instance: Instance, figures: Report) -> None:
    trial = Trial(instance)
    trial.begin()
    with counted(instance.keeper().pid, KEEPER) as calls:
        run = trial.ask()
        assert run is not None, trial.said
        instance.wait_run(run)
    points = [(call, number) for call in KEEPER for number in range(1, calls[call] + 1)]
    tried = spread(points, 9)
    struck = 0
    for call, number in tried:
        keeper = wait_until(lambda: found_keeper(instance), "a keeper")
        with injected(keeper.pid, call, f"signal=KILL:when={number}"):
            run = trial.ask()
            assert run is not None, trial.said
            instance.wait_run(run)
            struck += not is_alive(keeper.pid)
    verdict, counts = trial.end(
        "kill -9 of the keeper at a call",
        len(tried),
        f"{struck} deaths at {len(tried)} of {len(points)} calls of a run",
    )
    figures(counts)
    assert not verdict.faults
    assert struck > len(tried) // 2


def found_keeper(instance: Instance) -> psutil.Process | None:
    """It may be just about to come back."""
    try:
        return instance.keeper()
    except StopIteration:
        return None
