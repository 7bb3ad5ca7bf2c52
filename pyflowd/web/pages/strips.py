"""The last runs of a workflow in a strip: a bar each, as high as it took long; and their durations as a line. Pure.

Drawn in a box of fixed numbers that the page stretches: one path for each state, so that a table of fifty is light.
"""

from __future__ import annotations

from math import sqrt

from msgspec import Struct

from pyflowd.protocol.figures import OutcomesView, OutcomeView
from pyflowd.web.marks import mark
from pyflowd.web.pages.words import listed

BARS = 30
WIDTH, HEIGHT = 150.0, 18.0
_STEP, _BAR = WIDTH / BARS, 3.6
_FOOT = "20"
"""Where a failed bar's second mark begins, below the base line."""


class Piece(Struct, frozen=True):
    css: str
    path: str
    """The `d` of a path."""
    hollow: bool = False


class Strip(Struct, frozen=True, kw_only=True):
    pieces: list[Piece]
    text: str
    """`30 runs: 28 succeeded, 2 failed`."""
    line: str
    """Durations of those that succeeded, oldest left: points of a polyline; empty: fewer than three."""


def strip(view: OutcomesView | None, now_us: int) -> Strip:
    """Of no runs: no pieces."""
    runs = view.runs[-BARS:] if view else []
    if not runs or view is None:
        return Strip(pieces=[], text="no runs yet", line="")
    slow = view.slow_us or max((_took(run, now_us) for run in runs), default=0) or 1
    paths: dict[tuple[str, bool], list[str]] = {}
    for place, run in enumerate(runs, BARS - len(runs)):
        x = place * _STEP
        hollow = run.state in ("cancelled", "queued")
        high = 4.5 if hollow else max(2.0, HEIGHT * min(1.0, sqrt(_took(run, now_us) / slow)))
        paths.setdefault((mark(run.state).css, hollow), []).append(
            f"M{x:g} {HEIGHT - high:.1f}h{_BAR}V{HEIGHT:g}h-{_BAR}z"
        )
        if run.state == "failed":
            paths[mark(run.state).css, False].append(f"M{x:g} {_FOOT}h{_BAR}v2h-{_BAR}z")
    return Strip(
        pieces=[Piece(css, "".join(path), hollow) for (css, hollow), path in paths.items()],
        text=_text(runs), line=_line(runs),
    )  # fmt: skip


def _took(run: OutcomeView, now_us: int) -> int:
    if run.started_us is None:
        return 0
    return max(0, (now_us if run.ended_us is None else run.ended_us) - run.started_us)


def _text(runs: list[OutcomeView]) -> str:
    states: dict[str, int] = {}
    for run in runs:
        states[run.state] = states.get(run.state, 0) + 1
    told = listed([f"{count} {state}" for state, count in states.items()])
    return f"the last {len(runs)} runs: {told}" if len(runs) > 1 else f"one run: {runs[0].state}"


def _line(runs: list[OutcomeView]) -> str:
    took = [_took(run, 0) for run in runs if run.state == "succeeded" and run.ended_us is not None]
    if len(took) < 3:
        return ""
    low, high = min(took), max(took)
    room = HEIGHT - 4
    step = WIDTH / (len(took) - 1)
    points = (
        (place * step, 2 + room * (1 - (each - low) / (high - low)) if high > low else HEIGHT / 2)
        for place, each in enumerate(took)
    )
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
