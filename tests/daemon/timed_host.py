"""The parts of a daemon that have to do with time, driven by a clock that is told; its turns are the dispatcher's.

No process is started: a run that is let go is ended by hand. Messages stay in the spool, where a test reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from pyflowd.base.pool import Call, Pool
from pyflowd.base.timers import Timers
from pyflowd.base.zones import zone
from pyflowd.clock import US, to_us
from pyflowd.model.ends import Exit
from pyflowd.model.kinds import Shell
from pyflowd.model.triggers import Schedule
from pyflowd.model.workflow import NotifyRule, Task, Workflow
from pyflowd.notify.notify import Message
from pyflowd.notify.notify_channels import Mail
from pyflowd.render.sentences import event_view
from pyflowd.runtime.admission import Admission
from pyflowd.runtime.backfill import Backfill
from pyflowd.runtime.backfill_runs import Backfills
from pyflowd.runtime.clock_steps import ClockSteps
from pyflowd.runtime.expectation_watch import Expectations
from pyflowd.runtime.health import Health
from pyflowd.runtime.notify_spool import Notifier
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.workflows import Workflows
from pyflowd.settings import Settings
from pyflowd.store.store import Store
from tests.fakes import FakeClock

HOURLY = Schedule(name="cron", cron="0 * * * *")
DAILY = Schedule(name="cron", cron="30 2 * * *")
_message = msgspec.msgpack.Decoder(Message).decode


class Nobody:
    """A pool that never comes to send."""

    def submit(self, token: str, call: Call, /) -> None:
        pass


class TimedHost:
    """`advance` lets time go by with its turns; `restart` is a kill -9."""

    def __init__(self, folder: Path, at: datetime) -> None:
        self.folder = folder
        self.clock = FakeClock(to_us(at))
        self.boot = "boot-1"
        self.start()

    def start(self) -> None:
        clock, where = self.clock, zone("UTC")
        self.timers, self.store = Timers(), Store(str(self.folder))
        self.health = Health("test", clock.wall_us())
        self.runs = Runs(self.store, clock, self.timers, 100, where)
        self.workflows = Workflows(self.store, self.runs, Admission(self.runs, Pool(1), {}), "host", where)
        settings = Settings(channels={"oncall": Mail(to=("a@example.com",))})
        self.notifier = Notifier(
            store=self.store, timers=self.timers, clock=clock, pool=Nobody(), settings=settings, host="web1",
            zone=where.info, note=self.health.note,
        )  # fmt: skip
        self.backfills = Backfills(self.workflows)
        self.expectations = Expectations(self.workflows, self.notifier)
        self.steps = ClockSteps(self.runs, self.health)
        self.workflows.restore(clock.wall_us())
        self.runs.rebuild(self.workflows.compiled)
        assert not self.runs.aside.runs
        self.backfills.restore()
        self.expectations.restore()
        self.steps.restore(self.boot)
        self.workflows.admit_all()

    def stop(self) -> None:
        self.store.close()

    def restart(self, down_s: float = 0.0) -> None:
        """What was not committed is gone."""
        self.stop()
        self.clock.advance(down_s)
        self.start()
        self.tick()

    def tick(self) -> None:
        """A turn; again while there is more to do."""
        while True:
            self.steps.look()
            self.timers.fire(self.clock.mono_us())
            self.workflows.tick()
            self._settle()
            self.expectations.runs_changed(self.runs.changed)
            self.store.commit(self.runs.batch)
            self.runs.committed()
            self.runs.actions, self.runs.changed = [], set()
            self.expectations.look()
            due_us = self.timers.next_due_us()
            due = due_us is not None and due_us <= self.clock.mono_us()
            parts = (self.workflows, self.expectations, self.backfills)
            if not (any(part.has_work() for part in parts) or self.runs.ended or due):
                return

    def _settle(self) -> None:
        while True:
            ended, self.runs.ended = self.runs.ended, []
            self.workflows.after_runs(ended)
            for live in ended:
                self.backfills.run_ended(live)
                self.expectations.run_ended(live)
            self.backfills.advance()
            self.runs.fill("epoch")
            if not self.runs.ended:
                return

    def advance(self, seconds: float, step_s: float = 60.0) -> None:
        """Time goes by, with a turn at least every `step_s`."""
        while seconds > 0:
            self.clock.advance(min(step_s, seconds))
            seconds -= step_s
            self.tick()

    def set_clock(self, at: datetime) -> None:
        self.clock.set_wall(to_us(at))
        self.tick()

    # ---- What people do

    def install(self, *triggers: Schedule, name: str = "w", **more: Any) -> None:
        task = Task(name="a", kind=Shell(text="true"))
        made = Workflow(name=name, tasks=(task,), triggers=triggers, notify=(NotifyRule(channel="oncall"),), **more)
        compiled = msgspec.msgpack.encode(made)
        self.workflows.put(name, f"{name}.yaml", f"digest-{hash(compiled)}", compiled, compiled)
        self.tick()

    def run(self) -> int:
        """Somebody starts it."""
        entry = self.workflows.find("w")
        live = self.workflows.start("w", entry.digest, entry.definition, {}, trigger="manual", by="ann")
        self.tick()
        return live.meta.run

    def pause(self, *, paused: bool = True) -> None:
        self.workflows.pause("w", "ann" if paused else "")
        self.tick()

    def backfill(self, slots: list[int], **more: Any) -> int:
        """Record one for slots that are given; its number."""
        asked = Backfill(backfill=0, workflow="w", trigger="cron", from_us=min(slots), until_us=max(slots), **more)
        number = self.backfills.record(asked, slots).backfill
        self.tick()
        return number

    def end_run(self, number: int, code: int = 0) -> None:
        self.finish(number, code)
        self.tick()

    def finish(self, number: int, code: int = 0) -> None:
        """Its task has ended; the turn is still to come."""
        live = self.runs.live[number]
        now_us = self.clock.wall_us()
        end = Exit(exit_code=code, signal=None, started_us=now_us, ended_us=now_us)
        self.runs.attempt_ended(self.runs.attempt_id(live.run, live.by_index[0]), end)

    def end_all(self, after_s: float = 0.0) -> None:
        """End one live run after the other, as long as there are any."""
        while self.runs.live:
            self.advance(after_s) if after_s else None
            self.end_run(next(iter(self.runs.live)))

    # ---- What there is to see

    def slots_run(self) -> list[int]:
        """Of the runs that there are, in their order: the slot of each."""
        rows = reversed(list(self.store.rows("runs", (1 << 63) - 1, 0, 0, 1000)))
        return [row[10] for row in rows]

    def messages(self) -> list[str]:
        """Subjects of all that was sent, the oldest first."""
        return [_message(row[3]).subject for row in self.store.rows("notifications_before", 1 << 62, 1000)][::-1]

    def texts(self) -> list[str]:
        return [_message(row[3]).text.split("\n")[0] for row in self.store.rows("notifications_before", 1 << 62, 1000)][
            ::-1
        ]

    def events(self, *types: str) -> list[str]:
        """Sentences of the host's events of these types."""
        views = [event_view(row, "") for row in self.store.rows("events_after", 0, 10_000)]
        return [view.text for view in views if view.type in types]

    def count(self, condition: Callable[[int], bool]) -> int:
        return sum(condition(at_us // US) for at_us in self.slots_run())
