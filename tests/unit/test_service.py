"""What the service manager is told."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyflowd import systemd
from pyflowd.base.timers import Timers
from pyflowd.clock import US
from pyflowd.model.states import RunState
from pyflowd.runtime import stall
from pyflowd.runtime.health import Health
from pyflowd.runtime.service import Service, status_line
from pyflowd.runtime.stall import StallWatch
from tests.fakes import FakeClock
from tests.waiting import wait_until

HOUR_US = 3600 * US


@pytest.mark.parametrize(
    ("running", "coming", "errors", "line"),
    [
        (3, ("nightly-backup", 2 * HOUR_US + US), [], "3 running, next nightly-backup in 2 h"),
        (0, ("nightly-backup", 59 * 60 * US), [], "idle, next nightly-backup in 59 min"),
        (1, ("minutely", 59 * US), [], "1 running, next minutely within a minute"),
        (0, ("yearly", 49 * HOUR_US), [], "idle, next yearly in 2 d"),
        (0, None, [], "idle, nothing scheduled"),
        (1, None, ["keeper: gone"], "degraded: keeper: gone (1 running, nothing scheduled)"),
        (0, None, ["a: two\nlines"], "degraded: a: two lines (idle, nothing scheduled)"),
    ],
)
def test_the_line_says_what_runs_and_what_comes(
    running: int, coming: tuple[str, int] | None, errors: list[str], line: str
) -> None:
    assert status_line(running, coming, 0, errors) == line


class Manager:
    """A service manager's end of the socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(10)

    def heard(self) -> list[str]:
        """What waits, without waiting for it."""
        found = []
        while select.select([self.socket], [], [], 0)[0]:
            found.append(self.next())
        return found

    def next(self) -> str:
        return self.socket.recv(4096).decode()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    yield made
    made.socket.close()


class Host:
    """A service with a clock and timers of the test's."""

    def __init__(self) -> None:
        self.clock, self.timers = FakeClock(), Timers()
        self.runs: Any = SimpleNamespace(live={})
        self.workflows: Any = SimpleNamespace(
            next_due_us=lambda: None, upcoming=lambda *_: [], rights=SimpleNamespace(of={})
        )
        self.health = Health("test", 0)
        self.service = Service(
            runs=self.runs, workflows=self.workflows, health=self.health, timers=self.timers, clock=self.clock,
            folders=(),
        )  # fmt: skip

    def add_run(self) -> None:
        self.runs.live[len(self.runs.live)] = SimpleNamespace(run=SimpleNamespace(state=RunState.RUNNING))

    def pass_s(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.timers.fire(self.clock.mono_us())


def test_the_line_changes_once_a_second_at_most_and_only_if_it_is_another(manager: Manager) -> None:
    host = Host()
    host.service.ready()
    assert manager.heard() == ["READY=1", "STATUS=idle, nothing scheduled"]
    for _ in range(5):
        host.add_run()
        host.service.changed()
        host.pass_s(0.1)
    assert manager.heard() == []
    host.pass_s(0.6)
    assert manager.heard() == ["STATUS=5 running, nothing scheduled"]
    host.service.changed()
    host.pass_s(1.5)
    assert manager.heard() == []


def test_the_line_ages_with_nothing_happening(manager: Manager) -> None:
    host = Host()
    host.service.ready()
    host.add_run()
    host.pass_s(61)
    assert manager.heard()[-1] == "STATUS=1 running, nothing scheduled"


def test_the_watchdog_is_fed_by_the_turning_loop(manager: Manager) -> None:
    host = Host()
    host.service.start()
    assert manager.heard() == ["WATCHDOG=1"]
    host.pass_s(9)
    assert manager.heard() == []
    host.pass_s(1.1)
    assert manager.heard() == ["WATCHDOG=1"]
    host.service.stop()
    host.service.stop()


def test_without_a_manager_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    host = Host()
    host.service.start()
    host.service.ready()
    host.service.changed()
    assert host.timers.next_due_us() is None
    host.service.stop()


def test_the_watchdog_of_another_process_is_not_ours(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    assert systemd.watchdog_s() == 30.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert systemd.watchdog_s() == 0.0


def test_a_silent_loop_is_not_excused_where_the_disk_answers(manager: Manager, tmp_path: Path) -> None:
    clock = FakeClock()
    watch = StallWatch(clock, (str(tmp_path),), 300.0)  # a look waits for a sixth of it, but no longer than it must
    clock.advance(301)
    for _ in range(3):
        watch.look()
    assert manager.heard() == []
    assert list(tmp_path.glob(".disk*")) == []


def test_a_loop_that_turns_needs_no_excuse(manager: Manager, hung: Path) -> None:
    clock = FakeClock()
    watch = StallWatch(clock, (str(hung),), 0.3)
    clock.advance(0.1)
    watch.look()
    assert manager.heard() == []
    assert list(hung.glob(".disk*")) == []


def test_a_silent_loop_is_excused_while_the_disk_hangs(manager: Manager, hung: Path) -> None:
    clock = FakeClock()
    watch = StallWatch(clock, (str(hung),), 0.3)
    clock.advance(60)
    watch.look()
    watch.look()
    first, second = manager.heard()
    assert "WATCHDOG=1" in first.splitlines()
    assert f"STATUS=degraded: the disk of {hung} has not answered for 60 s" in first.splitlines()
    assert "WATCHDOG=1" in second.splitlines()
    watch.turned()
    watch.look()
    assert manager.heard() == []


def test_the_thread_looks_by_itself_and_stops_when_told(manager: Manager, hung: Path) -> None:
    clock = FakeClock()
    watch = StallWatch(clock, (str(hung),), 0.3)
    watch.start()
    clock.advance(60)
    assert "WATCHDOG=1" in manager.next()
    watch.stop()
    watch.stop()


@pytest.fixture
def hung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on a disk that answers at the end of the test only."""
    back = threading.Event()
    monkeypatch.setattr(stall.os, "fdatasync", lambda _: back.wait(60))
    yield tmp_path
    back.set()
    wait_until(lambda: not list(tmp_path.glob(".disk*")), "nothing is left of the probe")
