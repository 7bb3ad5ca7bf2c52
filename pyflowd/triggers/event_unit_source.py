"""Tells how units of systemd stand: over D-Bus where `jeepney` is installed, else by asking `systemctl` every few
seconds. A thread of its own; it knows nothing of triggers.
"""

from __future__ import annotations

import os
import select
import subprocess
import threading
from collections.abc import Callable, Iterable

from pyflowd.clock import wall_of_monotonic_us
from pyflowd.triggers.event_unit_bus import Bus, BusError
from pyflowd.triggers.event_unit_state import PROPERTIES, UnitState, unit_state

POLL_S = 5.0
ASK_TIMEOUT_S = 20.0
_JOIN_S = 2.0
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class UnitProblem(Exception):
    """Why nothing can be told of units."""


class UnitSource:
    """`want` says which units; `receive` how they stand, again at each change."""

    def __init__(self, poll_s: float = POLL_S, connect: Callable[[list[str], str], Bus] = Bus) -> None:
        self._poll_s = poll_s
        self._connect = connect
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._nudge = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        """Wakes the thread."""
        self._lock = threading.Lock()
        self._wanted: frozenset[str] = frozenset()
        self._states: list[UnitState] = []
        self._problem = ""
        self._stopping = False
        self._thread: threading.Thread | None = None

    def fileno(self) -> int:
        """Readable when `receive` has something."""
        return self._wake

    def want(self, units: Iterable[str]) -> None:
        """Tell of these from now on, first of how they stand."""
        with self._lock:
            self._wanted = frozenset(units)
            starts = self._thread is None and bool(self._wanted) and not self._stopping
            if starts:
                self._thread = threading.Thread(target=self._run, name="units", daemon=True)
        os.eventfd_write(self._nudge, 1)
        if starts and self._thread:
            self._thread.start()

    def receive(self) -> tuple[list[UnitState], str]:
        """What has been told since the last call, and what is wrong now."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            pass
        with self._lock:
            states, self._states = self._states, []
            return states, self._problem

    def stop(self) -> None:
        """Returns when stopped, or after 2 s; safe twice and before `want`."""
        with self._lock:
            self._stopping = True
            thread, self._thread = self._thread, None
        if thread is not None:
            os.eventfd_write(self._nudge, 1)
            thread.join(_JOIN_S)

    # ---- In the thread

    def _run(self) -> None:
        with open(_BOOT_ID, encoding="ascii") as file:
            boot = file.read().strip()
        while not self._stopping:
            with self._lock:
                wanted = sorted(self._wanted)
            self._drain()
            if wanted:
                self._watch(wanted, boot)
            self._wait(None, self._poll_s if wanted else None)

    def _watch(self, wanted: list[str], boot: str) -> None:
        """Tell of them until others are wanted; without a bus once."""
        try:
            bus = self._connect(wanted, boot)
        except BusError:
            self._ask(wanted, boot)
            return
        try:
            self._tell([*bus.states(), *bus.changes()], "")
            while not self._wait(bus.fileno(), None):
                self._tell(bus.changes(), "")
        except BusError:
            self._ask(wanted, boot)  # it is connected again after a while
        finally:
            bus.close()

    def _ask(self, wanted: list[str], boot: str) -> None:
        try:
            self._tell(ask(wanted, boot), "")
        except UnitProblem as problem:
            self._tell([], str(problem))

    def _wait(self, descriptor: int | None, timeout_s: float | None) -> bool:
        """Whether others are wanted, or the end."""
        watched = [self._nudge, *([descriptor] if descriptor is not None else [])]
        return self._nudge in select.select(watched, [], [], timeout_s)[0]

    def _drain(self) -> None:
        try:
            os.eventfd_read(self._nudge)
        except BlockingIOError:
            pass

    def _tell(self, states: list[UnitState], problem: str) -> None:
        with self._lock:
            if not states and problem == self._problem:
                return
            self._states += states
            self._problem = problem
        os.eventfd_write(self._wake, 1)


def ask(units: list[str], boot: str) -> list[UnitState]:
    """How they stand, from `systemctl`. Raises UnitProblem."""
    command = ["systemctl", "show", f"--property={','.join(('Id', *PROPERTIES))}", "--", *units]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=ASK_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnitProblem(f"systemctl: {error}") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise UnitProblem(f"systemctl: {said[0][:200] if said else f'exit status {done.returncode}'}")
    found = []
    for unit, block in zip(units, done.stdout.strip().split("\n\n"), strict=False):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        state = unit_state(unit, values, boot, wall_of_monotonic_us)
        if state is not None:
            found.append(state)
    return found
