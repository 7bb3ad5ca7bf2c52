"""The axis of time of a Gantt chart: from instants to places, and ticks at whole steps of the wall clock. Pure."""

from __future__ import annotations

import math
from datetime import datetime

from msgspec import Struct

from pyflowd.clock import US
from pyflowd.web.times import Times

WIDTH = 86.0
"""Percent of the drawing that time has; the rest is for the last label."""
TICKS_MAX = 8
STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)


class Tick(Struct, frozen=True):
    x: str
    text: str
    narrow: bool
    """Shown on a phone, too."""


class Scale:
    def __init__(self, begin_us: int, end_us: int, step_s: int) -> None:
        self.begin_us = begin_us
        self.span_us = max(1, end_us - begin_us)
        self.step_s = step_s

    def x(self, at_us: float) -> float:
        return min(1.0, max(0.0, (at_us - self.begin_us) / self.span_us)) * WIDTH


def step_s(span_s: float, most: int = TICKS_MAX) -> int:
    """The smallest step with which no more than so many ticks stand in a span; beyond days, whole days."""
    for step in STEPS_S:
        if span_s / step <= most:
            return step
    return math.ceil(span_s / most / 86_400) * 86_400


def scaled(begin_us: int, end_us: int) -> Scale:
    step = step_s((end_us - begin_us) / US)
    return Scale(begin_us, end_us, step)


def ticks(scale: Scale, times: Times) -> list[Tick]:
    """At whole steps of the wall clock, as it stands at the begin."""
    offset = times.local(scale.begin_us).utcoffset()
    shift_us = int(offset.total_seconds()) * US if offset else 0
    step_us = scale.step_s * US
    at = -(-(scale.begin_us + shift_us) // step_us) * step_us - shift_us
    found: list[Tick] = []
    count = 0
    every = 1 if scale.span_us / step_us <= 4 else 2
    while at <= scale.begin_us + scale.span_us:
        found.append(Tick(f"{scale.x(at):.2f}%", _clock(times.local(at), scale.step_s), count % every == 0))
        at += step_us
        count += 1
    if not found:
        found.append(Tick("0.00%", times.local(scale.begin_us).strftime("%H:%M:%S"), True))
    return found


def _clock(at: datetime, step: int) -> str:
    if step >= 86_400:
        return f"{at.day} {at:%b}"
    return at.strftime("%H:%M:%S" if step < 60 else "%H:%M")
