"""Stand-ins that keep the contract of what they stand for."""

from __future__ import annotations

from pyflowd.clock import US


class FakeClock:
    """A clock that moves only when it is told to; wall and boot time move together unless the wall is set."""

    def __init__(self, wall_us: int = 1_700_000_000 * US, mono_us: int = 1_000 * US) -> None:
        self._wall_us = wall_us
        self._mono_us = mono_us

    def wall_us(self) -> int:
        return self._wall_us

    def mono_us(self) -> int:
        return self._mono_us

    def advance(self, seconds: float) -> None:
        self._wall_us += round(seconds * US)
        self._mono_us += round(seconds * US)

    def set_wall(self, wall_us: int) -> None:
        """Somebody sets the clock: boot time does not notice."""
        self._wall_us = wall_us
