"""Says that the wall clock was set, and by how much: as an event, and for a day in `status` and `doctor` (rule T8).

What becomes of slots then is decided by the timetable; this only tells. It also notices what happened while the daemon
was not there, as long as the host was not restarted. One thread; `look` is part of each turn.
"""

from __future__ import annotations

from pyflowd.base.timers import Timer
from pyflowd.clock import STEP_TOLD_US, US, StepWatch, from_us
from pyflowd.events import ClockStepped
from pyflowd.runtime.health import Health
from pyflowd.runtime.runs import Runs
from pyflowd.units import duration_written

SHOWN_US = 86_400 * US
SUBJECT = "clock"


class ClockSteps:
    """Owns the notice about the clock."""

    def __init__(self, runs: Runs, health: Health) -> None:
        self._runs = runs
        self._health = health
        self._watch = StepWatch(runs.clock)
        self._boot_id = ""
        self._timer: Timer | None = None

    def restore(self, boot_id: str) -> None:
        """With the host's boot as it is now: tell of what was set since the daemon last looked."""
        self._boot_id = boot_id
        known_boot, _, ahead = (self._runs.store.meta("clock") or "").partition(" ")
        told_us, _, by_us = (self._runs.store.meta("clock_set") or "").partition(" ")
        if by_us:
            self._show(int(told_us), int(by_us))
        if known_boot == boot_id and abs(self._watch.ahead_us - int(ahead)) >= STEP_TOLD_US:
            self._tell(self._watch.ahead_us - int(ahead))
        self._keep()

    def look(self) -> None:
        by_us = self._watch.look()
        if by_us:
            self._tell(by_us)
            self._keep()

    def _tell(self, by_us: int) -> None:
        now_us = self._runs.clock.wall_us()
        self._runs.batch.host_event(ClockStepped(now_us, by_us))
        self._runs.batch.add("meta", "clock_set", f"{now_us} {by_us}")
        self._show(now_us, by_us)

    def _keep(self) -> None:
        self._runs.batch.add("meta", "clock", f"{self._boot_id} {self._watch.ahead_us}")

    def _show(self, at_us: int, by_us: int) -> None:
        left_us = min(SHOWN_US, at_us + SHOWN_US - self._runs.clock.wall_us())
        if left_us <= 0:
            return
        back = "back" if by_us < 0 else "forward"
        by = duration_written(round(abs(by_us) / US, 1))
        text = f"it was set {back} by {by}, to {from_us(at_us):%Y-%m-%d %H:%M:%S} UTC; see: pyflowctl slots"
        self._health.note(SUBJECT, text)

        if self._timer is not None:
            self._timer.cancel()

        def forget() -> None:
            self._health.note(SUBJECT, "")

        self._timer = self._runs.timers.at(self._runs.clock.mono_us() + left_us, forget)
