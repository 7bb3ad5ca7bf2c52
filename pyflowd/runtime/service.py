"""What the service manager is told while the daemon runs: that its loop turns, and one line of what it does.

Without a manager that listens nothing here costs anything. It decides nothing about runs.
"""

from __future__ import annotations

from pyflowd.base.timers import Timer, Timers
from pyflowd.clock import US, Clock
from pyflowd.model.states import RunState
from pyflowd.runtime.health import Health
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.stall import StallWatch
from pyflowd.runtime.workflows import Workflows
from pyflowd.systemd import is_listening, notify, watchdog_s

_TOLD_EVERY_US = US
"""The line changes at most so often."""
_AGED_EVERY_US = 60 * US
"""`in 12 min` becomes `in 11 min` with nothing happening."""
_BEATS = 3
"""Of the loop in each interval of the watchdog."""
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


class Service:
    """Of one daemon. `start` and `stop` are of the loop's thread, as all else here."""

    def __init__(
        self,
        *,
        runs: Runs,
        workflows: Workflows,
        health: Health,
        timers: Timers,
        clock: Clock,
        folders: tuple[str, ...],
    ) -> None:
        self._runs = runs
        self._workflows = workflows
        self._health = health
        self._timers = timers
        self._clock = clock
        self._listens = is_listening()
        self._interval_s = watchdog_s()
        self._stall = StallWatch(clock, folders, self._interval_s)
        self._told = ""
        self._told_us = 0
        self._due: Timer | None = None
        self._next: tuple[str, int] | None = None
        self._next_of: tuple[int | None, int] = (0, 0)

    def start(self) -> None:
        """From now on a disk that does not answer is no reason to be killed, also while the daemon starts or stops."""
        if self._interval_s:
            self._stall.start()
            self._beat()

    def ready(self) -> None:
        """Requests are answered."""
        notify("READY=1")
        if self._listens:
            self._tell()

    def reloading(self) -> None:
        """Settings and folder are looked at anew; `ready` follows."""
        notify("RELOADING=1")

    def stop(self) -> None:
        """Of the watch over the disk; the manager is told by who stops."""
        self._stall.stop()

    def _beat(self) -> None:
        """Called by a timer of the loop: the loop turns, and what it commits it commits in its turns."""
        self._stall.turned()
        notify("WATCHDOG=1")
        self._timers.at(self._clock.mono_us() + round(self._interval_s / _BEATS * US), self._beat)

    # ---- The line

    def changed(self) -> None:
        """Something happened that the line may speak of."""
        if self._listens:
            self._tell_at(max(self._clock.mono_us(), self._told_us + _TOLD_EVERY_US))

    def _tell_at(self, due_us: int) -> None:
        if self._due is not None:
            if self._due.due_us <= due_us:
                return
            self._due.cancel()
        self._due = self._timers.at(due_us, self._tell)

    def _tell(self) -> None:
        self._due = None
        now_us, self._told_us = self._clock.wall_us(), self._clock.mono_us()
        running = sum(live.run.state is RunState.RUNNING for live in self._runs.live.values())
        line = status_line(running, self._upcoming(now_us), now_us, self._health.errors())
        if line != self._told:
            self._told = line
            notify(f"STATUS={line}")
        self._tell_at(self._told_us + _AGED_EVERY_US)

    def _upcoming(self, now_us: int) -> tuple[str, int] | None:
        """Workflow and time of the next slot. Looked up anew once a minute, and where the timetable has changed: it
        costs a look at all triggers."""
        known = self._workflows.next_due_us(), now_us // _AGED_EVERY_US
        if known != self._next_of:
            self._next_of = known
            # Every account of the host may read the line: no workflow stands in it that names groups of its own.
            coming = self._workflows.upcoming(None, 1, self._workflows.rights.of)
            self._next = (coming[0].workflow, coming[0].scheduled_us) if coming else None
        return self._next


def status_line(running: int, coming: tuple[str, int] | None, now_us: int, errors: list[str]) -> str:
    """`3 running, next nightly-backup in 2 h`; what is wrong comes first."""
    parts = [f"{running} running"] if running else ["idle"]
    parts.append(f"next {coming[0]} {_ahead(coming[1] - now_us)}" if coming else "nothing scheduled")
    line = ", ".join(parts)
    return " ".join(f"degraded: {'; '.join(errors)} ({line})".split()) if errors else line


def _ahead(ahead_us: int) -> str:
    seconds = ahead_us // US
    if seconds < _MINUTE_S:
        return "within a minute"
    for size_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if seconds >= size_s:
            return f"in {seconds // size_s} {unit}"
    raise AssertionError("unreachable")
