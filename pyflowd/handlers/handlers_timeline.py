"""The request for a timeline: per workflow what ran, what was skipped, what comes. See `handlers`.

A lane that would have more marks than can be told apart is counted by the store in spans; what failed stays single.
A turn reads one lane. It knows nothing of how they are drawn.
"""

from __future__ import annotations

from pyflowd.base.peer import Peer
from pyflowd.clock import US
from pyflowd.control.control import NEXT_TURN
from pyflowd.control.replies import Replies
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.handlers.views import outcome_view
from pyflowd.protocol.figures import BandView, GetTimeline, LaneView, SkippedView, TimelineView
from pyflowd.store.store import Row

LANES_MAX = 50
SINGLE_MAX = 120
"""Marks of one sort in a lane: more of them in a day stand closer than one in twelve minutes."""
COMING_FEW = 8
COMING_MAX = 64
"""Coming slots of a lane: each costs 20 us."""
BAND_MIN_US = 60 * US
SPAN_MAX_US = 366 * 86_400 * US
"""Of the timeline, back and ahead."""


class TimelineHandlers:
    """As `Handlers`: answers when pulled."""

    def __init__(self, of_runs: RunHandlers) -> None:
        self.of_runs = of_runs
        self.store = of_runs.store
        self.workflows = of_runs.workflows
        self.access = of_runs.access
        self.clock = of_runs.clock

    def timeline(self, request: GetTimeline, peer: Peer) -> Replies:
        now_us = self.clock.wall_us()
        since_us = max(request.since_us, now_us - SPAN_MAX_US)
        band_us = max(request.band_s * US, BAND_MIN_US)
        until_us = min(request.until_us, now_us + SPAN_MAX_US)
        first = self.of_runs.first_run(since_us)
        lanes = []
        for name in list(dict.fromkeys(request.workflows))[:LANES_MAX]:
            if name in self.workflows.entries and self.access.sight(peer).sees(name):
                lanes.append(self._lane(name, first, since_us, until_us, band_us))
                yield NEXT_TURN
        sees = self.access.sight(peer).sees
        yield TimelineView(
            since_us=since_us, now_us=now_us, until_us=until_us, band_us=band_us,
            lanes=[lane for lane in lanes if sees(lane.workflow)],
        )  # fmt: skip

    def _lane(self, name: str, first: int, since_us: int, until_us: int, band_us: int) -> LaneView:
        rows = list(self.store.rows("timeline_runs", name, first, SINGLE_MAX + 1))
        bands: list[BandView] = []
        if len(rows) > SINGLE_MAX:
            live = [row for row in rows if row[6] is None]
            failed = list(self.store.rows("timeline_failed", name, first, SINGLE_MAX))
            rows = sorted({row[0]: row for row in (*live, *failed)}.values(), reverse=True)
            found = self.store.rows("timeline_bands", name, first, since_us, band_us)
            bands = [
                BandView(at_us=since_us + band * band_us, count=count, state=state, run=run)
                for band, count, state, run in found
            ]
        rows += self.store.rows("timeline_runs_before", name, first, since_us)
        skipped = list(self.store.rows("timeline_skipped", name, since_us, SINGLE_MAX + 1))
        skipped_bands: list[BandView] = []
        if len(skipped) > SINGLE_MAX:
            counted = self.store.rows("timeline_skipped_bands", name, since_us, band_us)
            skipped_bands = [BandView(at_us=since_us + band * band_us, count=count) for band, count in counted]
            skipped = []
        coming, more = self._coming(name, until_us)
        return LaneView(
            workflow=name, runs=[outcome_view(row) for row in reversed(rows)], bands=bands,
            skipped=[_skipped(row) for row in reversed(skipped)], skipped_bands=skipped_bands, coming=coming,
            more_coming=more,
        )  # fmt: skip

    def _coming(self, name: str, until_us: int) -> tuple[list[tuple[int, int]], bool]:
        """Few are asked for first: most workflows have no more in half a day."""
        for limit in (COMING_FEW, COMING_MAX):
            if self.workflows.idle(name):
                return [], False
            due = self.workflows.timetable.upcoming(self.clock.wall_us(), limit, name)
            if len(due) < limit or due[-1].scheduled_us > until_us:
                break
        shown = [each for each in due if each.scheduled_us <= until_us]
        return [(each.scheduled_us, int(each.trigger.jitter_s * US)) for each in shown], len(shown) == COMING_MAX


def _skipped(row: Row) -> SkippedView:
    scheduled_us, trigger, reason, run, detail = row
    return SkippedView(scheduled_us=scheduled_us, trigger=trigger, reason=reason, run=run, detail=detail)
