"""What the ledger of a simulated decade must hold: told from the rules (T1 to T8), and fire times from `cron_oracle`.

It knows nothing of how the scheduler keeps its cursors. Where a rule leaves room, so does it.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime
from functools import cache

from pyflowd.base.zones import zone
from pyflowd.clock import US, from_us, to_us
from pyflowd.model.triggers import CatchupPolicy, Schedule
from pyflowd.schedules.schedule import jitter_us, random_jitter_us
from tests import cron_oracle

FIRST_YEAR, LAST_YEAR = 2016, 2025
MARGIN_YEARS = 2
"""A clock that is set may leave the decade; the oracle must know what is due there."""
DAY_US = 86_400 * US
LEFT_OUT_US = 90 * DAY_US
"""Of a longer down time only so much is written."""
CATCHUP_US = 3600 * US
"""Rule T6: so old a slot is made up for where nothing else is said."""
FREEZE = ("2019-12-20T00:00:00Z", "2020-01-07T00:00:00Z")
"""A blackout for all."""
WORKDAYS = "workdays"
"""The calendar of those that have one: Monday to Friday."""

Slot = tuple[str, str, int]
"""Workflow, trigger, nominal time."""
Fates = frozenset[str]

STARTED = frozenset({"fired", "overlap", "queue_full"})
TOO_LATE = frozenset({"deadline"})
DOWN = frozenset({"down"})
LAST_US = to_us(datetime(LAST_YEAR + MARGIN_YEARS, 12, 31, tzinfo=UTC))


@cache
def cron_times(cron: str, dst: str, timezone: str) -> tuple[list[int], frozenset[int]]:
    """All nominal times in and around the decade, and which of them a change of the clock leaves out."""
    where, years = zone(timezone).info, (FIRST_YEAR - MARGIN_YEARS, LAST_YEAR + MARGIN_YEARS)
    left_out = {at * US for at in cron_oracle.left_out_of_years(cron, dst, where, *years)}
    kept = {at * US for at in cron_oracle.fire_times_of_years(cron, dst, where, *years)}
    return sorted(kept | left_out), frozenset(left_out - kept)


def nominal_times(trigger: Schedule, anchor_us: int) -> tuple[list[int], frozenset[int]]:
    if trigger.every_s:
        return list(range(anchor_us + round(trigger.every_s * US), LAST_US, round(trigger.every_s * US))), frozenset()
    if trigger.at:
        return sorted({to_us(datetime.fromisoformat(text)) for text in trigger.at}), frozenset()
    return cron_times(trigger.cron, trigger.dst.value, trigger.timezone or "UTC")


def what_decides(trigger: Schedule) -> tuple[object, ...]:
    return trigger.cron, trigger.timezone, trigger.dst, trigger.every_s, trigger.at


class Planned:
    """What one trigger in force owes."""

    def __init__(self, workflow: str, trigger: Schedule, anchor_us: int, cursor_us: int) -> None:
        self.workflow = workflow
        self.trigger = trigger
        self.anchor_us = anchor_us
        self.cursor_us = cursor_us
        self.times, self.left_out = nominal_times(trigger, anchor_us)
        self.pending: list[int] = []
        """Nominal times that have come and wait for their jitter."""
        self.free_until_us = 0
        """Times up to this may come or not: the clock was set back, and the schedule is another since."""

    def due_us(self, at_us: int) -> int:
        """With the jitter (rule T7)."""
        name, jitter_s = self.trigger.name, self.trigger.jitter_s
        if not self.trigger.random_jitter:
            return at_us + jitter_us("host", self.workflow, name, jitter_s)
        place = bisect_right(self.times, at_us)
        next_us = self.times[place] if place < len(self.times) else None
        return at_us + random_jitter_us("host", self.workflow, name, jitter_s, at_us, next_us)

    def take(self, now_us: int) -> list[int]:
        """The nominal times that have come due by now."""
        first, upto = bisect_right(self.times, self.cursor_us), bisect_right(self.times, now_us)
        self.pending += self.times[first:upto]
        self.cursor_us = max(self.cursor_us, now_us)
        due = [at_us for at_us in self.pending if self.due_us(at_us) <= now_us]
        self.pending = self.pending[len(due) :]
        return due

    def give_up(self, now_us: int) -> list[int]:
        """What waits, of a trigger that ends, or is another from now on; what has not come yet is forgotten."""
        waiting = [at_us for at_us in self.pending if at_us <= now_us]
        self.pending = []
        return waiting

    def standing(self, at_us: int, start_us: int) -> list[Fates]:
        """The fates that are possible for reasons which hold whenever it is looked at; the last may be none."""
        if at_us in self.left_out:
            return [frozenset({"dst"})]
        barred = set()
        where = zone(self.trigger.timezone or "UTC").info
        if self.trigger.calendars and from_us(at_us).astimezone(where).isoweekday() > 5:
            barred.add("calendar")
        first_us, last_us = (to_us(datetime.fromisoformat(text)) for text in FREEZE)
        frozen = [first_us <= each < last_us for each in (at_us, start_us)]
        if any(frozen):
            barred.add("blackout")
        found = [frozenset(barred)] if barred else []
        return found if "calendar" in barred or all(frozen) else [*found, frozenset()]


class Ledger:
    """What the rows must be: of each slot that is owed, the fates that it may have."""

    def __init__(self) -> None:
        self.planned: dict[str, list[Planned]] = {}
        self.paused: set[str] = set()
        self.owed: dict[Slot, Fates] = {}
        self.free: set[Slot] = set()

    # ---- Files

    def install(self, name: str, triggers: list[Schedule], now_us: int) -> None:
        """A trigger goes on where it was, or begins; one that was here before does not do again what it has done."""
        before = {each.trigger.name: each for each in self.planned.get(name, [])}
        made = []
        for trigger in triggers:
            old = before.pop(trigger.name, None)
            same_interval = old and old.trigger.every_s == trigger.every_s
            anchor_us = old.anchor_us if old and same_interval else now_us // US * US  # a whole second
            each = Planned(name, trigger, anchor_us, now_us)
            known = [at_us for slots in (self.owed, self.free) for *who, at_us in slots if who == [name, trigger.name]]
            if old and what_decides(old.trigger) == what_decides(trigger):
                each.cursor_us, each.free_until_us, each.pending = old.cursor_us, old.free_until_us, old.pending
            else:
                if old:
                    self._due(each, old.give_up(now_us), now_us, stepped=False, left_out=old.left_out)
                    each.free_until_us = old.cursor_us
                of_rows_us = max((at for at in known if (name, trigger.name, at) in self.owed), default=0)
                each.free_until_us = max(each.free_until_us, *known, 0)
                each.cursor_us = max(now_us, of_rows_us)
            made.append(each)
        self._end(list(before.values()), now_us)
        self.planned[name] = made

    def remove(self, name: str, now_us: int) -> None:
        self._end(self.planned.pop(name), now_us)

    def _end(self, gone: list[Planned], now_us: int) -> None:
        for each in gone:
            for at_us in each.give_up(now_us):
                self._owe(each, at_us, frozenset({"dst"} if at_us in each.left_out else {"removed"}))

    # ---- Time

    def turn(self, now_us: int, *, stepped: bool) -> None:
        """The scheduler has looked at the clock."""
        for planned in self.planned.values():
            for each in planned:
                self._due(each, each.take(now_us), now_us, stepped=stepped)

    def _due(
        self, each: Planned, slots: list[int], now_us: int, *, stepped: bool, left_out: frozenset[int] = frozenset()
    ) -> None:
        """Of the slots of one trigger that are due together the newest may start."""
        passed_over = frozenset({"clock_step" if stepped else "late"})
        startable = [at_us for at_us in slots if at_us not in left_out | each.left_out]
        for at_us in slots:
            newest = startable[-1:] == [at_us]
            fates = STARTED if newest else passed_over
            trigger = each.trigger
            if newest and slots[-1] != at_us:
                fates |= passed_over
            if newest and (now_us - at_us > self._within_us(trigger) or stepped):
                fates |= TOO_LATE | passed_over
            if newest and trigger.deadline_s is not None and now_us - at_us > trigger.deadline_s * US:
                fates = TOO_LATE | (fates & passed_over)
            if each.workflow in self.paused:
                fates = frozenset({"paused"})
            elif at_us in left_out:
                fates = frozenset({"dst"})
            else:
                fates = self._barred(each, at_us, now_us, fates)
            self._owe(each, at_us, fates if trigger.enabled else frozenset({"disabled"}))

    def _barred(self, each: Planned, at_us: int, start_us: int, otherwise: Fates) -> Fates:
        return frozenset().union(*(found or otherwise for found in each.standing(at_us, start_us)))

    def _within_us(self, trigger: Schedule) -> int:
        return round(trigger.catchup.within_s * US) if trigger.catchup else CATCHUP_US

    def down(self, now_us: int) -> None:
        """The scheduler has been started again: what is made up for is the newest, or some of the newest (rule T6)."""
        for planned in self.planned.values():
            for each in planned:
                slots = [at_us for at_us in each.take(now_us) if at_us > now_us - LEFT_OUT_US]
                made_up = self._made_up(each, slots, now_us)
                for at_us in slots:
                    fates = self._barred(each, at_us, at_us, DOWN)
                    if at_us in made_up:
                        fates = self._barred(each, at_us, now_us, STARTED)
                    elif each.workflow in self.paused:
                        fates = frozenset({"paused"})  # as it was all the time: nobody was there to change it
                    self._owe(each, at_us, fates if each.trigger.enabled else frozenset({"disabled"}))

    def _made_up(self, each: Planned, slots: list[int], now_us: int) -> list[int]:
        trigger = each.trigger
        policy = trigger.catchup.policy if trigger.catchup else CatchupPolicy.LATEST
        if policy is CatchupPolicy.NONE or each.workflow in self.paused:
            return []
        within_us = self._within_us(trigger)
        if trigger.deadline_s is not None:
            within_us = min(within_us, round(trigger.deadline_s * US))
        young = [at_us for at_us in slots if now_us - at_us <= within_us]
        startable = [at_us for at_us in young if frozenset() in each.standing(at_us, now_us)]
        most = trigger.catchup.max if trigger.catchup and policy is CatchupPolicy.ALL else 1
        return startable[-most:]

    def _owe(self, each: Planned, at_us: int, fates: Fates) -> None:
        slot = (each.workflow, each.trigger.name, at_us)
        if at_us <= each.free_until_us:
            self.free.add(slot)
            return
        assert slot not in self.owed, f"the oracle plans {slot} twice"
        self.owed[slot] = fates
