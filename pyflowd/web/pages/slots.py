"""The ledger: every slot with its fate and why, by days; and what reached event triggers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

from msgspec import Struct

from pyflowd.clock import US
from pyflowd.model.states import Fate
from pyflowd.protocol.views_runs import RunView
from pyflowd.protocol.views_workflows import FiringView, SlotView
from pyflowd.render.layout import clean
from pyflowd.render.render_runs import reason_text
from pyflowd.web.drawing import link_to
from pyflowd.web.numbers import whole
from pyflowd.web.pages.filters import Chip, chips
from pyflowd.web.pages.words import count_word, listed
from pyflowd.web.times import Times, When, counted, length

SUMMED = 20_000
"""Slots that a summing line counts; beyond them it says so."""
ROWS = 200
EVENTS = 200
FATES = tuple(fate.value for fate in Fate)


class Asked(Struct, frozen=True, kw_only=True):
    """Of the address; days are those of the host's zone, both included."""

    first: date
    last: date
    workflow: str = ""
    fate: str = ""
    before_us: int | None = None
    """Only slots before this: the page after."""
    events: bool = False
    """What reached event triggers, in place of slots."""


class SlotRow(Struct, frozen=True, kw_only=True):
    at: When
    workflow: str
    workflow_path: str
    trigger: str
    fate: str
    reason: str
    because: str
    """The run that kept it from firing; empty: none did."""
    run: int | None
    """That it fired."""
    run_path: str
    """Of either."""
    run_state: str
    """Of the run that it fired; empty: not known, or it fired none."""
    late: str


class FiringRow(Struct, frozen=True, kw_only=True):
    at: When
    workflow: str
    workflow_path: str
    trigger: str
    fate: str
    reason: str
    run: int | None
    run_path: str
    summary: str


class Slots(Struct, frozen=True, kw_only=True):
    heading: str
    asked: Asked
    chips: list[Chip]
    rows: list[SlotRow]
    firings: list[FiringRow]
    older: str
    slots_path: str
    events_path: str


def asked(query: Mapping[str, str], times: Times) -> Asked:
    """A day that is none, or stands after the last, is today's."""
    today = times.local(times.now_us).date()
    last = _day(query.get("to", "")) or today
    first = _day(query.get("from", "")) or min(last, today)
    return Asked(
        first=min(first, last), last=last, workflow=query.get("workflow", "").strip(), fate=query.get("fate", ""),
        before_us=whole(query.get("before", "")),
        events=query.get("show") == "events",
    )  # fmt: skip


def _day(text: str) -> date | None:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        return None
    return found if 1971 <= found.year <= 2200 else None


def span_us(wish: Asked, times: Times) -> tuple[int, int]:
    """From the first day's begin up to the last one's end, by the zone's clock."""
    begin = datetime.combine(wish.first, datetime.min.time(), times.zone)
    end = datetime.combine(wish.last + timedelta(days=1), datetime.min.time(), times.zone)
    return int(begin.timestamp() * US), int(end.timestamp() * US)


def shown_of(found: Sequence[SlotView], wish: Asked) -> list[SlotView]:
    """A page of what was found, newest first; slots of one instant are never parted: the next page begins before it."""
    until = wish.before_us
    rest = [slot for slot in reversed(found) if until is None or slot.scheduled_us < until]
    return [slot for slot in rest if slot.scheduled_us >= rest[:ROWS][-1].scheduled_us] if rest else []


def slots(
    found: Sequence[SlotView], runs: Mapping[int, RunView], firings: Sequence[FiringView], wish: Asked, times: Times
) -> Slots:
    """`found`: oldest first, of which the newest are shown. `runs`: of those that are shown."""
    shown = shown_of(found, wish)
    kept = {
        "from": wish.first.isoformat(), "to": wish.last.isoformat(), "workflow": wish.workflow, "fate": wish.fate,
    }  # fmt: skip
    older = bool(shown) and any(slot.scheduled_us < shown[-1].scheduled_us for slot in found[:1])
    events = {"from": kept["from"], "to": kept["to"], "workflow": wish.workflow}
    return Slots(
        heading=firings_heading(firings) if wish.events else heading(found, wish, times), asked=wish,
        chips=chips("slots", kept, {"workflow": "of", "fate": ""}),
        rows=[slot_row(slot, runs, times) for slot in shown],
        firings=[firing_row(each, times) for each in reversed(firings)],
        older=link_to("slots", **kept, before=shown[-1].scheduled_us) if older else "",
        slots_path=link_to("slots", **kept), events_path=link_to("slots", **events, show="events"),
    )  # fmt: skip


def heading(found: Sequence[SlotView], wish: Asked, times: Times) -> str:
    """`288 slots today: 285 fired, 3 skipped: 2 overlap, 1 paused`."""
    when = day_words(wish, times)
    if not found:
        return f"No slot {when}"
    fired = sum(slot.fate is Fate.FIRED for slot in found)
    skipped = len(found) - fired
    many = f"The newest {len(found):,} slots" if len(found) >= SUMMED else counted(len(found), "slot")
    if not skipped:
        return f"{many} {when}: " + ("it fired" if fired == 1 else "all fired")
    reasons: dict[str, int] = {}
    for slot in found:
        if slot.fate is not Fate.FIRED:
            reasons[slot.reason or "no reason"] = reasons.get(slot.reason or "no reason", 0) + 1
    most = sorted(reasons.items(), key=lambda item: -item[1])
    told = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in most)
    parts = [f"{fired:,} fired"] if fired else []
    return f"{many} {when}: " + ", ".join([*parts, f"{skipped:,} skipped: {told}"])


def firings_heading(firings: Sequence[FiringView]) -> str:
    if not firings:
        return "No event has reached a trigger"
    runs = sum(each.run is not None for each in firings)
    many = f"The newest {len(firings)} events" if len(firings) >= EVENTS else counted(len(firings), "event")
    return f"{many}: {listed([f'{count_word(runs)} became a run', f'{count_word(len(firings) - runs)} did not'])}"


def day_words(wish: Asked, times: Times) -> str:
    """`today`, `on Mon 23 Nov`, `from 1 Nov to 23 Nov 2026`."""
    today = times.local(times.now_us).date()
    if wish.first == wish.last:
        if wish.first == today:
            return "today"
        year = "" if wish.first.year == today.year else f" {wish.first.year}"
        return f"on {wish.first:%a} {wish.first.day} {wish.first:%b}{year}"
    return f"from {wish.first.day} {wish.first:%b} to {wish.last.day} {wish.last:%b} {wish.last.year}"


def slot_row(slot: SlotView, runs: Mapping[int, RunView], times: Times) -> SlotRow:
    at = times.slot(slot.scheduled_us)
    assert at is not None
    run = runs.get(slot.run) if slot.run is not None and slot.fate is Fate.FIRED else None
    begun = None if run is None else run.started_us
    fired = slot.fate is Fate.FIRED
    because = f"run {slot.run}" if slot.run is not None and not fired else ""
    detail = f" ({clean(slot.detail)})" if slot.detail and clean(slot.detail) != because else ""
    return SlotRow(
        at=at, workflow=slot.workflow, workflow_path=link_to("workflows", slot.workflow), trigger=slot.trigger,
        fate=slot.fate.value, reason="" if slot.fate is Fate.FIRED else (reason_text(slot.reason) or "") + detail,
        run=slot.run if fired else None, because=because,
        run_path="" if slot.run is None else link_to("runs", slot.run), run_state="" if run is None else run.state,
        late="" if begun is None else length(max(0, begun - slot.scheduled_us)),
    )  # fmt: skip


def firing_row(view: FiringView, times: Times) -> FiringRow:
    at = times.when(view.at_us, seconds=True)
    assert at is not None
    error = f" ({clean(view.error)})" if view.error else ""
    return FiringRow(
        at=at, workflow=view.workflow, workflow_path=link_to("workflows", view.workflow), trigger=view.trigger,
        fate=view.fate.value, reason="" if view.run is not None else (reason_text(view.reason) or "") + error,
        run=view.run, run_path="" if view.run is None else link_to("runs", view.run), summary=clean(view.summary),
    )  # fmt: skip
