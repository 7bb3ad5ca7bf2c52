"""The only module that reads the time. Everyone else is given a `Clock`, or a `now`.

Times are integers in microseconds: `wall_us` since the Unix epoch (for people and schedules, may be set), `mono_us`
of the boot-time clock (for time-outs and back-off, rule R11; goes on while the machine sleeps).
"""

from __future__ import annotations

import ctypes
import os
import struct
import time
from datetime import UTC, datetime
from typing import Protocol

US = 1_000_000


class Clock(Protocol):
    """What reads the time."""

    def wall_us(self) -> int: ...

    def mono_us(self) -> int: ...


class SystemClock:
    """The kernel's clocks."""

    def wall_us(self) -> int:
        return time.time_ns() // 1000

    def mono_us(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


_TFD_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK
_TFD_TIMER_ABSTIME_CANCEL_ON_SET = 3


class ClockWatch:
    """A descriptor that becomes readable when the wall clock reaches an instant, and whenever somebody sets the clock.

    The kernel's timerfd with TFD_TIMER_CANCEL_ON_SET, by ctypes, as Python has it from 3.13 only (rule T8).
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.timerfd_create(time.CLOCK_REALTIME, _TFD_FLAGS)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._armed_us = 0

    def fileno(self) -> int:
        return int(self._descriptor)

    def arm(self, due_us: int | None) -> bool:
        """Wake at `due_us`, at once if that is past; None: only when the clock is set.

        False: it was set before this call, which takes the notice away that a wake-up would have been; call again.
        """
        wanted_us = max(1, due_us) if due_us is not None else (1 << 62)
        if wanted_us == self._armed_us:
            return True
        spec = struct.pack("4q", 0, 0, wanted_us // US, wanted_us % US * 1000)
        if self._libc.timerfd_settime(self._descriptor, _TFD_TIMER_ABSTIME_CANCEL_ON_SET, spec, None) != 0:
            return False
        self._armed_us = wanted_us
        return True

    def read(self) -> None:
        """Take the wake-up; the next `arm` sets the timer anew."""
        self._armed_us = 0
        try:
            os.read(self._descriptor, 8)
        except OSError:
            pass  # ECANCELED: the clock was set; EAGAIN: somebody read before us

    def close(self) -> None:
        """Safe twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


STEP_TOLD_US = US // 2
"""Less than this is told to nobody: programs that keep the time slew what is smaller."""


class StepWatch:
    """Notices by how much the wall clock was set: boot time does not jump (rule T8).

    What the kernel slews, it slews on both clocks; a machine that slept moves both on. Small steps add up.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ahead_us = self._measure()
        """Of the wall clock before boot time."""

    def look(self) -> int:
        """By how many microseconds the clock was set since it was last told; 0: not by much."""
        if abs(self._measure() - self.ahead_us) < STEP_TOLD_US:
            return 0
        ahead_us = self._measure()  # between two readings a process may be held up, but hardly twice
        by_us = ahead_us - self.ahead_us
        if abs(by_us) < STEP_TOLD_US:
            return 0
        self.ahead_us = ahead_us
        return by_us

    def _measure(self) -> int:
        return self._clock.wall_us() - self._clock.mono_us()


def from_us(at_us: int) -> datetime:
    """An aware UTC datetime of `at_us` microseconds since the epoch."""
    return datetime.fromtimestamp(at_us // US, UTC).replace(microsecond=at_us % US)


def to_us(at: datetime) -> int:
    """Microseconds since the epoch of an aware datetime, exact."""
    delta = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * US + delta.microseconds


def wall_of_monotonic_us(monotonic_us: int) -> int:
    """When the wall clock showed an instant of CLOCK_MONOTONIC, as systemd tells it; by the wall clock of now."""
    return (time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC)) // 1000 + monotonic_us
