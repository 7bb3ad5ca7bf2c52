"""The host is drained: what runs goes on, and nothing new starts until somebody says so. It outlives the daemon.

Runs are recorded, slots become runs, and all of them wait; so nothing is lost, and `explain` can say what for. It knows
nothing of who may ask.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from pyflowd.clock import from_us
from pyflowd.events import HostDrained, HostUndrained
from pyflowd.runtime.health import Health
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.workflows import Workflows

_KEY = "drained"


class Drained(Struct, frozen=True, kw_only=True):
    by: str
    since_us: int

    @property
    def text(self) -> str:
        return f"the host is drained by {self.by} since {from_us(self.since_us):%Y-%m-%d %H:%M:%S} UTC"


class Drain:
    """Whether tasks may start, by an administrator's word. Part of a turn."""

    def __init__(self, runs: Runs, workflows: Workflows, health: Health) -> None:
        self._runs = runs
        self._workflows = workflows
        self._health = health
        known = runs.store.meta(_KEY)
        self.now = msgspec.json.decode(known, type=Drained) if known else None
        """None: tasks start."""
        self._tell()

    def begin(self, by: str) -> None:
        """Nothing happens where the host is drained already: who was first stays."""
        if self.now is None:
            self.now = Drained(by=by, since_us=self._runs.clock.wall_us())
            self._runs.batch.add("meta", _KEY, msgspec.json.encode(self.now).decode())
            self._runs.batch.host_event(HostDrained(self.now.since_us, by))
            self._tell()

    def end(self, by: str) -> None:
        """What has waited goes on."""
        if self.now is not None:
            self.now = None
            self._runs.batch.add("meta_remove", _KEY)
            self._runs.batch.host_event(HostUndrained(self._runs.clock.wall_us(), by))
            self._tell()
            self._workflows.admit_all()

    @property
    def active(self) -> int:
        """Tasks at work, which a drain does not end."""
        return self._runs.active

    def _tell(self) -> None:
        self._runs.drained = self.now.text if self.now else ""
        note = f"{self.now.text}; no task starts, go on with: pyflowctl undrain" if self.now else ""
        self._health.note("drain", note.removeprefix("the host is "))
