"""Runs whose events cannot be read: set aside when the daemon starts, so that all others go on (rule E9).

Nothing of such a run is changed, started or stopped, and the keeper keeps the ends of its attempts, for a daemon that
can read it. As long as a process of it lives, it counts as live for its workflow: no other run is let go beside it that
would not be otherwise. It knows nothing of what is wrong with a run, nor how that is mended.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pyflowd.errors import Refused

_WHY_MAX = 300


class SetAside(NamedTuple):
    run: int
    workflow: str
    why: str

    @property
    def text(self) -> str:
        return f"run {self.run} of {self.workflow} is {self.state}"

    @property
    def state(self) -> str:
        return f"set aside, as its record cannot be read ({self.why}); see: pyflowctl fsck"


class Aside:
    """All of the host, by their number."""

    def __init__(self) -> None:
        self.runs: dict[int, SetAside] = {}
        self._living: dict[str, int] = {}
        """Attempts whose process lives, with the number of their run."""
        self._freed: set[str] = set()

    def put(self, run: int, workflow: str, why: str) -> None:
        self.runs[run] = SetAside(run, workflow, why[:_WHY_MAX])

    def check(self, run: int) -> None:
        """Raises Refused where it is set aside."""
        if run in self.runs:
            raise Refused(self.runs[run].text)

    def living(self, attempts: Iterable[str]) -> None:
        """All attempts of this store whose processes live, as the keeper tells."""
        before, self._living = self._living, {}
        for attempt in attempts:
            if (run := _run_of(attempt)) in self.runs:
                self._living[attempt] = run
        for attempt in before.keys() - self._living.keys():
            self._freed.add(self.runs[before[attempt]].workflow)

    def ended(self, attempt: str) -> bool:
        """The process of an attempt of this store has ended; whether it is of a run that is set aside."""
        found = self.runs.get(_run_of(attempt))
        if found is None:
            return False
        if self._living.pop(attempt, None) is not None:
            self._freed.add(found.workflow)
        return True

    def in_the_way(self, workflow: str) -> list[int]:
        """Runs of a workflow of which a process lives, in ascending order."""
        return sorted({run for run in self._living.values() if self.runs[run].workflow == workflow})

    def take_freed(self) -> set[str]:
        """Workflows in whose way fewer may be since this was last asked."""
        freed, self._freed = self._freed, set()
        return freed


def _run_of(attempt: str) -> int:
    return int(attempt.split("-")[1])
