"""How long runs took and how much memory they needed, run by run: a line over the band of what is usual. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from pyflowd.protocol.figures import GridView
from pyflowd.web.times import length, size

WIDTH, HEIGHT = 100.0, 48.0
LEAST = 3
"""Points that make a curve."""


class Curve(Struct, frozen=True, kw_only=True):
    title: str
    usual: str
    last: str
    label: str
    points: str
    band_y: float
    band_height: float
    table: list[tuple[str, str]]
    """(run, value): the same as a table."""


def curves(view: GridView) -> list[Curve]:
    """Of runs that succeeded: a failed one ends early and says nothing about the next."""
    ended = [
        (run.outcome.run, run.outcome.ended_us - run.outcome.started_us, run.max_rss_bytes)
        for run in view.runs
        if run.outcome.state == "succeeded" and run.outcome.started_us is not None and run.outcome.ended_us is not None
    ]
    took = [(run, value) for run, value, _ in ended]
    memory = [(run, rss) for run, _, rss in ended if rss is not None]
    return [
        *([_curve("Duration per run", took, length)] if len(took) >= LEAST else []),
        *([_curve("Most memory per run", memory, size)] if len(memory) >= LEAST else []),
    ]


def _curve(title: str, values: Sequence[tuple[int, int]], said: Callable[[int], str]) -> Curve:
    numbers = [value for _, value in values]
    ordered = sorted(numbers)
    low, high = ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10]
    most = max(ordered[-1], 1)
    step = WIDTH / max(1, len(numbers) - 1)
    points = " ".join(f"{n * step:.1f},{_y(value, most)}" for n, value in enumerate(numbers))
    return Curve(
        title=title, usual=f"usually {said(low)}" + (f" to {said(high)}" if said(low) != said(high) else ""),
        last=f"last {said(numbers[-1])}",
        label=f"{title}, {said(ordered[0])} to {said(ordered[-1])} over {len(numbers)} runs that succeeded",
        points=points, band_y=_y(high, most), band_height=round(max(1.0, _y(low, most) - _y(high, most)), 1),
        table=[(str(run), said(value)) for run, value in reversed(values)],
    )  # fmt: skip


def _y(value: int, most: int) -> float:
    return round(HEIGHT - 2 - (HEIGHT - 6) * value / most, 1)
