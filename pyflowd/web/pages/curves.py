"""CPU and memory of an attempt over time, as lines in boxes of 1000 by 100. Pure geometry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from pyflowd.protocol.figures import SamplesView
from pyflowd.web.times import Times, size

POINTS_MAX = 400


class Curve(Struct, frozen=True, kw_only=True):
    title: str
    line: str
    """A path; empty: one figure alone is known."""
    area: str
    most: str
    """The upper edge, in words."""
    mark_y: float | None = None
    """Of the line that 95 of 100 moments stay below."""
    mark: str = ""
    label: str


class Curves(Struct, frozen=True, kw_only=True):
    begin: str
    end: str
    cpu: Curve
    memory: Curve


def curves(samples: SamplesView, times: Times) -> Curves | None:
    """None: too few figures for a line."""
    points = samples.points
    if len(points) < 3:
        return None
    rates = [
        (at, max(0.0, (used - points[number][1]) / (at - points[number][0])))
        for number, (at, used, _) in enumerate(points[1:])
        if at > points[number][0]
    ]
    if len(rates) < 2:
        return None
    begin, end = points[0][0], points[-1][0]
    memory = [(at, float(resident)) for at, _, resident in points]
    first, last = times.when(begin, seconds=True), times.when(end, seconds=True)
    assert first is not None
    assert last is not None
    return Curves(
        begin=first.text, end=last.text,
        cpu=_curve("CPU", rates, begin, end, lambda value: f"{value * 100:.0f} %"),
        memory=_curve("Memory", memory, begin, end, lambda value: size(int(value))),
    )  # fmt: skip


def _curve(
    title: str, values: Sequence[tuple[int, float]], begin: int, end: int, said: Callable[[float], str]
) -> Curve:
    most = max(value for _, value in values)
    usual = percentile([value for _, value in values], 95)
    path = [
        f"{(at - begin) * 1000 / max(1, end - begin):.1f} {100 - 96 * value / (most or 1):.1f}"
        for at, value in thinned(values)
    ]
    line = "M" + "L".join(path)
    return Curve(
        title=title, line=line, area=f"{line}L{path[-1].split()[0]} 100L{path[0].split()[0]} 100Z", most=said(most),
        mark_y=round(100 - 96 * usual / (most or 1), 1) if 0 < usual < most else None, mark=said(usual),
        label=f"{title}: at most {said(most)}, 95 % of the time at most {said(usual)}",
    )  # fmt: skip


def percentile(values: Sequence[float], percent: int) -> float:
    """The least value that so many of a hundred do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def thinned(values: Sequence[tuple[int, float]], most: int = POINTS_MAX) -> list[tuple[int, float]]:
    """Of many points the highest of each stretch: a peak is never lost."""
    if len(values) <= most:
        return list(values)
    step = -(-len(values) // most)
    return [max(values[at : at + step], key=lambda each: each[1]) for at in range(0, len(values), step)]
