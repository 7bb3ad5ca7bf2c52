"""A day of slots as lanes: where on the line each run, each skip and each coming slot stands, in percent. Pure.

What is dense comes in spans from the daemon and is drawn as bands; failures stay single, on top. Marks that would lie
on one another are thinned: their bars stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from msgspec import Struct

from pyflowd.clock import US
from pyflowd.protocol.figures import BandView, LaneView, OutcomeView, SkippedView, TimelineView
from pyflowd.render.layout import clean
from pyflowd.render.render_runs import reason_text
from pyflowd.web.drawing import link_to
from pyflowd.web.marks import mark
from pyflowd.web.pages.words import listed
from pyflowd.web.times import Times, counted, length

BACK_US = 24 * 3600 * US
AHEAD_US = 12 * 3600 * US
BAND_S = 10 * 60
"""Six pixels of a desktop's line."""
TICK_H = 3
_BAR_MIN = 0.28
_ICON = 1.25
"""Width of an icon, in percent of a desktop's line."""
_LABEL = 4.6
"""Half of what two labels need between their middles."""
_RING, _RING_SMALL = 4.0, 2.0


class Tick(NamedTuple):
    x: str
    text: str
    """Empty: a line without a label."""
    css: str
    """`g`, or `mid` at midnight."""
    anchor: str = "middle"
    near: bool = False
    """Close to another label: left out where the line is short."""


class Bar(NamedTuple):
    x: str
    width: str
    css: str
    title: str
    path: str


class Icon(NamedTuple):
    x: str
    icon: str
    css: str
    title: str
    path: str


class Ring(NamedTuple):
    x: str
    r: str
    title: str
    until: str
    """End of its jitter; empty: it has none."""


class Lane(Struct, frozen=True, kw_only=True):
    name: str
    path: str
    label: str
    """All of it in one sentence."""
    bands: list[Bar]
    bars: list[Bar]
    icons: list[Icon]
    rings: list[Ring]
    on_from: str
    """From here on slots come as before, too many for a ring each; empty: they do not."""
    words: str
    """In place of marks, where there are none."""


class Timeline(Struct, frozen=True, kw_only=True):
    now_x: str
    now_text: str
    rest: str
    """Of the width, right of now."""
    ticks: list[Tick]
    lanes: list[Lane]
    more: int
    """Workflows that have no lane here."""


def timeline(
    view: TimelineView,
    times: Times,
    *,
    approvals: Mapping[int, str],
    idle: Mapping[str, str],
    more: int = 0,
) -> Timeline:
    """`approvals`: of runs that wait for a person, what for. `idle`: of workflows, why no slot of theirs comes."""
    line = _Line(view.since_us, max(view.until_us, view.since_us + 1))
    return Timeline(
        now_x=line.at(view.now_us), now_text=f"now {times.local(view.now_us):%H:%M}",
        rest=f"{100 - line.percent(view.now_us):.2f}%", ticks=ticks(line, view.now_us, times),
        lanes=[_lane(lane, view, line, times, approvals, idle.get(lane.workflow, "")) for lane in view.lanes],
        more=more,
    )  # fmt: skip


class _Line(NamedTuple):
    since_us: int
    until_us: int

    def percent(self, at_us: int) -> float:
        share = (at_us - self.since_us) / (self.until_us - self.since_us)
        return 100 * min(1.0, max(0.0, share))

    def at(self, at_us: int) -> str:
        return f"{self.percent(at_us):.2f}%"


# ---- The axis -------------------------------------------------------------------------------------------------------


def ticks(line: _Line, now_us: int, times: Times) -> list[Tick]:
    """Every three hours of the zone's clock; midnight with its date; both hours where the clock is changed."""
    changes = _clock_changes(line, times)
    now_x = line.percent(now_us)
    found: list[Tick] = []
    for at_us in _whole_hours(line, times):
        local = times.local(at_us)
        if local.hour % TICK_H:
            continue
        x = line.percent(at_us)
        apart = min([abs(x - now_x), *(abs(x - line.percent(change)) / 1.6 for change in changes)])
        midnight = local.hour == 0
        text = "" if apart < _LABEL else f"{local:%a} {local.day}" if midnight else f"{local:%H:%M}"
        found.append(Tick(f"{x:.2f}%", text, "mid" if midnight else "g", near=apart < 2 * _LABEL))
    for change in changes:
        before, after = times.local(change - 3600 * US), times.local(change)
        if abs(line.percent(change) - now_x) < 2 * _LABEL:
            continue
        if before.utcoffset() != after.utcoffset():  # the hour that comes twice, or the one that does not come
            found.append(Tick(line.at(change - 3600 * US), f"{before:%H:%M %Z}", "g", "end"))
        found.append(Tick(line.at(change), f"{after:%H:%M %Z}", "g", "start"))
    return sorted(found, key=lambda tick: float(tick.x[:-1]))


def _whole_hours(line: _Line, times: Times) -> list[int]:
    """Instants of the span at which the zone's clock shows a whole hour, whatever its offset."""
    at = datetime.fromtimestamp(line.since_us // US, UTC).replace(minute=0, second=0) - timedelta(hours=1)
    found = []
    while (at_us := int(at.timestamp()) * US) <= line.until_us:
        if at_us >= line.since_us and times.local(at_us).minute == 0:
            found.append(at_us)
        at += timedelta(minutes=15)
    return found


def _clock_changes(line: _Line, times: Times) -> list[int]:
    """Instants of the span at which the zone's offset is another one than an hour's quarter before."""
    step = 900 * US
    at_us = line.since_us // step * step
    found = []
    while at_us + step <= line.until_us:
        if times.local(at_us).utcoffset() != times.local(at_us + step).utcoffset():
            found.append(at_us + step)
        at_us += step
    return found


# ---- A lane ---------------------------------------------------------------------------------------------------------


def _lane(
    lane: LaneView, view: TimelineView, line: _Line, times: Times, approvals: Mapping[int, str], idle: str
) -> Lane:
    bars, icons = [], []
    for run in lane.runs:
        asked = approvals.get(run.run)
        bar = _bar(run, line, times, asked)
        bars.append(bar)
        if asked is not None:
            icons.append((max(_ICON, line.percent(_begin(run)) - _ICON / 2), "approval", bar))
        elif run.state == "failed":
            icons.append((max(_ICON / 2, line.percent(_end(run, view.now_us)) - 0.3), "failed", bar))
    marks = _thinned(sorted(icons, key=lambda icon: icon[0]))
    skips = [
        (line.percent(each.scheduled_us), "skipped", Bar("", "", "", _skipped(each, times), _ledger(lane)))
        for each in lane.skipped
    ]
    coming = [line.percent(at_us) for at_us, _ in lane.coming]
    return Lane(
        name=lane.workflow, path=link_to("workflows", lane.workflow), label=_label(lane, times),
        bands=_bands(lane, view, line, times), bars=bars, icons=_thinned(skips) + marks,
        rings=_rings(lane, line, times), on_from=f"{coming[-1]:.2f}%" if lane.more_coming else "",
        words="" if lane.runs or lane.bands or skips or lane.skipped_bands or coming else idle,
    )  # fmt: skip


def _end(run: OutcomeView, now_us: int) -> int:
    return now_us if run.ended_us is None else run.ended_us


def _begin(run: OutcomeView) -> int:
    return run.created_us if run.started_us is None else run.started_us


def _bar(run: OutcomeView, line: _Line, times: Times, asked: str | None) -> Bar:
    x, end = line.percent(_begin(run)), line.percent(_end(run, times.now_us))
    width = max(_BAR_MIN, end - x)
    shown = mark("approval" if asked is not None else run.state)
    return Bar(
        f"{min(x, 100 - width):.2f}%",
        f"{width:.2f}%",
        shown.css,
        _run_title(run, times, asked),
        link_to("runs", run.run),
    )


def _run_title(run: OutcomeView, times: Times, asked: str | None) -> str:
    at = times.text(_begin(run))
    took = times.took(run.started_us, run.ended_us)
    if asked is not None:
        return f"Waits for approval of {clean(asked)}, since {at}"
    if run.state == "running":
        return f"Running since {at}, for {took}"
    why = f": {reason_text(run.reason)}" if run.state == "failed" and run.reason not in (None, "task_failed") else ""
    return ", ".join(part for part in (mark(run.state).word + why, at, took) if part)


def _thinned(found: Sequence[tuple[float, str, Bar]]) -> list[Icon]:
    """Those with room for their icon, the newest first to be kept."""
    kept: list[Icon] = []
    last = 1000.0
    for middle, state, bar in reversed(found):
        if last - middle >= _ICON:
            shown = mark(state)
            kept.append(Icon(f"{middle:.2f}%", shown.icon, shown.css, bar.title, bar.path))
            last = middle
    return kept[::-1]


def _skipped(each: SkippedView, times: Times) -> str:
    because = f" (run {each.run})" if each.run is not None else ""
    return f"Slot {times.text(each.scheduled_us)} skipped: {reason_text(each.reason) or 'no reason'}{because}"


def _ledger(lane: LaneView) -> str:
    return link_to("slots", workflow=lane.workflow, fate="skipped")


def _bands(lane: LaneView, view: TimelineView, line: _Line, times: Times) -> list[Bar]:
    """One for each span; it has the colour of success if anything in it succeeded: what failed is drawn on top."""
    spans: dict[int, list[BandView]] = {}
    history = link_to("runs", workflow=lane.workflow)
    for band in lane.bands:
        spans.setdefault(band.at_us, []).append(band)
    width = f"{max(_BAR_MIN, 100 * view.band_us / (line.until_us - line.since_us) - 0.08):.2f}%"
    found = []
    for at_us, bands in spans.items():
        shown = max(bands, key=lambda band: (band.state == "succeeded", band.count))
        told = listed([f"{band.count:,} {band.state}" for band in bands])
        title = f"{told} in {length(view.band_us)} from {times.local(at_us):%H:%M}"
        found.append(Bar(line.at(at_us), width, mark(shown.state).css, title, history))
    for band in lane.skipped_bands:
        title = f"{counted(band.count, 'slot')} skipped in {length(view.band_us)} from {times.local(band.at_us):%H:%M}"
        found.append(Bar(line.at(band.at_us), width, "s-skip dense", title, _ledger(lane)))
    return found


def _rings(lane: LaneView, line: _Line, times: Times) -> list[Ring]:
    found = []
    last, dense = -100.0, _dense([line.percent(at_us) for at_us, _ in lane.coming])
    for at_us, jitter_us in lane.coming:
        x = line.percent(at_us)
        if x - last < 0.3:
            continue
        last = x
        spread = f", up to {length(jitter_us)} later" if jitter_us else ""
        until = line.at(at_us + jitter_us) if jitter_us else ""
        ring = f"{_RING_SMALL if dense else _RING:g}"
        found.append(Ring(f"{x:.2f}%", ring, times.text(at_us, seconds=at_us % (60 * US) != 0) + spread, until))
    return found


def _dense(coming: Sequence[float]) -> bool:
    return any(after - before < 1.0 for before, after in pairwise(coming))


def _label(lane: LaneView, times: Times) -> str:
    """`nightly-backup: 1 run failed, 2 succeeded; 1 slot skipped; next 02:30 CET`."""
    states: dict[str, int] = {}
    if lane.bands:
        for band in lane.bands:
            states[band.state] = states.get(band.state, 0) + band.count
    else:
        for run in lane.runs:
            states[run.state] = states.get(run.state, 0) + 1
    parts = [f"{count:,} {state}" for state, count in sorted(states.items(), key=lambda item: item[0] != "failed")]
    told = [listed(parts) if parts else "no runs"]
    skipped = sum(band.count for band in lane.skipped_bands) or len(lane.skipped)
    if skipped:
        told.append(f"{counted(skipped, 'slot')} skipped")
    if lane.coming and (when := times.when(lane.coming[0][0])):
        told.append(f"next {when.text}")
    return f"{lane.workflow}: " + "; ".join(told)
