"""A decade in the life of a scheduler, made of a seed: schedules of all sorts, restarts, edits, pauses, clocks that are
set. `decade_ledger` tells what its ledger must hold afterwards.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from pyflowd.base.pool import Pool
from pyflowd.base.timers import Timers
from pyflowd.base.zones import zone
from pyflowd.clock import US, from_us, to_us
from pyflowd.model.kinds import Shell
from pyflowd.model.triggers import Catchup, CatchupPolicy, Dst, Schedule
from pyflowd.model.workflow import Overlap, Task, Workflow
from pyflowd.runtime.admission import Admission
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.workflows import Workflows
from pyflowd.schedules.calendars import Almanac, Blackout, Calendar, Entries
from pyflowd.store.store import Store
from tests.daemon.decade_ledger import DAY_US, FIRST_YEAR, FREEZE, LAST_YEAR, WORKDAYS, Ledger, Slot
from tests.daemon.test_schedules import Host

BEGIN_US, END_US = to_us(datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)), to_us(datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC))
HOUR_US = 3600 * US
ZONES = ("Europe/Berlin", "America/Havana", "Africa/Casablanca", "Australia/Lord_Howe")
EXPRESSIONS = (
    "30 2 * * *", "*/30 1-3 * * 0", "0 0 L * *", "0 12 * * 1-5", "45 23 * * 1#1", "0 9 15W * *", "7 4 1 */2 *",
    "15 * 1 * *", "10 */8 * * 6",
)  # fmt: skip
INTERVALS_S = (25_200.0, 172_800.0, 604_800.0)
JITTERS_S = (0.0, 0.0, 900.0, 5400.0)
CATCHUPS = (
    None, None, Catchup(policy=CatchupPolicy.NONE), Catchup(within_s=30_000.0),
    Catchup(policy=CatchupPolicy.ALL, within_s=86_400.0, max=3),
)  # fmt: skip
_POOL = Pool(1)
"""One for all lives of all hosts: it holds a descriptor, and nothing is asked of it."""
POLICIES = (Overlap.SKIP, Overlap.ALLOW, Overlap.QUEUE_LATEST, Overlap.REPLACE)


class HostWithCalendars(Host):
    """A scheduler that knows a calendar and a blackout, before it looks at what was missed."""

    def start(self) -> None:
        self.timers = Timers()
        self.store = Store(str(self.folder))
        # There are thousands of commits, and no power cut among what happens.
        self.store._writer.execute("PRAGMA synchronous=OFF")
        self.runs = Runs(self.store, self.clock, self.timers, 100, zone("UTC"))
        self.workflows = Workflows(self.store, self.runs, Admission(self.runs, _POOL, {}), "host", zone("UTC"))
        freeze = Blackout(from_text=FREEZE[0], to_text=FREEZE[1], for_all=True)
        entries = Entries(calendars={WORKDAYS: Calendar(rule="0 0 * * 1-5")}, blackouts={"freeze": freeze})
        self.workflows.slots.almanac = Almanac(entries)
        self.workflows.restore(self.clock.wall_us())
        self.runs.rebuild(self.workflows.compiled)
        assert not self.runs.aside.runs
        self.workflows.admit_all()


class Decade:
    """The scheduler, its ledger as it must be, and the accidents of one seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.host = HostWithCalendars(folder)
        self.host.stop()
        self.host.clock.set_wall(BEGIN_US)
        self.host.start()
        self.ledger = Ledger()
        self.done: list[str] = []
        """What has happened, for the one who looks for the reason of a failure."""

    @property
    def now_us(self) -> int:
        return self.host.clock.wall_us()

    # ---- Time goes by

    def tick(self, *, stepped: bool = False) -> None:
        self.host.tick()
        self.ledger.turn(self.now_us, stepped=stepped)

    def run_until(self, at_us: int) -> None:
        """The daemon sleeps until the next slot is due, and wakes a little late."""
        while (due_us := self.host.workflows.next_due_us()) is not None and due_us <= at_us:
            late_us = self.random.choice((0, 1, 30_000, 2 * US))
            self.host.clock.advance(max(0, due_us + late_us - self.now_us) / US)
            self.tick()
            self.end_runs()
        self.host.clock.advance(max(0, at_us - self.now_us) / US)
        self.tick()

    def end_runs(self) -> None:
        """Some of the runs that are live end."""
        for number in list(self.host.runs.live):
            live = self.host.runs.live.get(number)
            if live and live.admitted and self.random.random() < 0.9:
                self.host.end_run(number)

    # ---- What happens

    def trigger(self, name: str) -> Schedule:
        choose = self.random.choice
        sort = choose(("cron", "cron", "cron", "every", "at"))
        ahead = [self.now_us + round(self.random.random() * 400) * DAY_US for _ in range(3)]
        return Schedule(
            name=name,
            cron=choose(EXPRESSIONS) if sort == "cron" else "",
            every_s=choose(INTERVALS_S) if sort == "every" else 0.0,
            at=tuple(f"{from_us(at_us):%FT%H:%M:%S}Z" for at_us in ahead) if sort == "at" else (),
            timezone=choose(ZONES) if sort == "cron" else None,
            dst=choose((Dst.DEBIAN, Dst.DEBIAN, Dst.SKIP, Dst.BOTH)),
            jitter_s=choose(JITTERS_S),
            random_jitter=self.random.random() < 0.3,
            catchup=choose(CATCHUPS),
            calendars=(WORKDAYS,) if self.random.random() < 0.2 else (),
            deadline_s=choose((None, None, None, 1200.0)),
            enabled=self.random.random() < 0.95,
        )

    def install(self, name: str, triggers: list[Schedule] | None = None) -> None:
        triggers = triggers or [
            self.trigger(each) for each in self.random.sample(("a", "b", "c"), self.random.randint(1, 2))
        ]
        task = Task(name="t", kind=Shell(text="true"))
        made = Workflow(
            name=name, tasks=(task,), triggers=tuple(triggers), overlap=self.random.choice(POLICIES), queue_max=2
        )
        compiled = msgspec.msgpack.encode(made)
        self.host.workflows.put(name, f"{name}.yaml", f"digest-{hash(compiled)}", compiled, compiled)
        self.ledger.install(name, triggers, self.now_us)
        self.tick()

    def file(self, name: str) -> None:
        """It comes, changes, or goes."""
        if name in self.ledger.planned and self.random.random() < 0.4:
            self.host.workflows.remove(name)
            self.ledger.remove(name, self.now_us)
            self.tick()
        else:
            self.install(name)

    def come_back(self, name: str) -> None:
        """A file is away while somebody sets the clock back: what has a row must not be done again."""
        if name not in self.ledger.planned:
            return
        triggers = [each.trigger for each in self.ledger.planned[name]]
        self.host.workflows.remove(name)
        self.ledger.remove(name, self.now_us)
        self.tick()
        self.host.clock.set_wall(self.now_us - round(self.random.random() * 2 * DAY_US))
        self.tick()
        self.install(name, triggers)

    def pause(self, name: str) -> None:
        if name not in self.ledger.planned:
            return
        if name in self.ledger.paused:
            self.ledger.paused.remove(name)
            self.host.workflows.pause(name, "")
        else:
            self.ledger.paused.add(name)
            self.host.workflows.pause(name, "ann")
        self.tick()

    def restart(self, name: str) -> None:
        """A kill at any point of a turn; mostly short, at times a holiday, once in a while a season."""
        if self.random.random() < 0.3:
            self.host.workflows.tick()  # what it wrote was not committed
        down_s = self.random.choice((0.0, 1.0, 90.0, 3000.0, 40_000.0, 5 * 86_400.0, 100 * 86_400.0))
        self.host.stop()
        self.host.clock.advance(down_s * self.random.random())
        self.host.start()
        self.ledger.down(self.now_us)
        self.tick()

    def sleep(self, name: str) -> None:
        """The machine is suspended."""
        self.host.clock.advance(self.random.choice((600.0, 20_000.0, 3 * 86_400.0)) * self.random.random())
        self.tick()

    def set_clock(self, name: str) -> None:
        """Forward by at most half an hour more or less than what counts as a step, or back."""
        by_us = round(self.random.choice((-2 * DAY_US, -HOUR_US, 2 * HOUR_US, 20 * HOUR_US)) * self.random.random())
        self.host.clock.set_wall(self.now_us + by_us)
        self.tick(stepped=by_us > 3 * HOUR_US)

    def instant(self) -> int:
        """When the next thing happens: at any time, or where it hurts, soon, or about a slot that is due or waits."""
        if self.random.random() < 0.3:
            return self.now_us + round(self.random.random() * HOUR_US)
        at_us = self.now_us + round(self.random.expovariate(1 / (20 * DAY_US)))
        triggers = [each for planned in self.ledger.planned.values() for each in planned]
        if triggers and self.random.random() < 0.5:
            coming = self.random.choice(triggers)
            place = bisect_right(coming.times, at_us)
            if place < len(coming.times):
                return max(self.now_us, coming.times[place] + round(self.random.uniform(-0.1, 1.6) * HOUR_US))
        return at_us

    def live(self) -> None:
        """From the first year to the end of the last."""
        for name in ("v", "w"):
            self.install(name)
        happenings = (
            self.file, self.file, self.pause, self.pause, self.restart, self.restart, self.restart, self.sleep,
            self.set_clock, self.come_back,
        )  # fmt: skip
        while self.now_us < END_US:
            self.run_until(self.instant())
            what, name = self.random.choice(happenings), self.random.choice(("v", "w"))
            if name in self.ledger.paused and self.random.random() < 0.6:
                what = self.pause  # else half of all slots would be those of a pause
            self.done.append(f"{datetime.fromtimestamp(self.now_us / US, UTC):%F %T} {what.__name__} {name}")
            what(name)
        self.run_until(self.now_us + 3 * DAY_US)

    # ---- What must be

    def faults(self) -> list[str]:
        """Where the ledger is not as it must be."""
        found: dict[Slot, str] = {}
        wrong: list[str] = []
        runs: list[int] = []
        for name, trigger, at_us, fate, reason, run, _ in self.host.store.rows("slots", -1, "", "", 1 << 62, -1):
            slot = (name, trigger, at_us)
            wrong += [f"{slot} has two rows"] * (slot in found)
            found[slot] = reason or fate
            if fate == "fired":
                runs.append(run)
        wrong += [
            f"{slot} has no row, or should be {set(self.ledger.owed[slot])}" for slot in self.ledger.owed.keys() - found
        ]
        wrong += [
            f"{slot} was never planned, and is {found[slot]}"
            for slot in found.keys() - self.ledger.owed.keys() - self.ledger.free
        ]
        wrong += [
            f"{slot} is {found[slot]}, and may be {set(fates)}"
            for slot, fates in self.ledger.owed.items()
            if slot in found and found[slot] not in fates
        ]
        if sorted(runs) != list(range(1, self.host.store.one("last_run")[0] + 1)):
            wrong.append("runs and fired slots are not the same")
        return wrong
