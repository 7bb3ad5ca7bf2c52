"""How long the fault suite runs: `PYFLOW_FAULTS` is short, normal, long, or a number that multiplies the short one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
NAMED = {"short": 1.0, "normal": 10.0, "long": 100.0}


def factor() -> float:
    """What a short run is multiplied with. Raises ValueError for a word that is none of these."""
    word = os.environ.get("PYFLOW_FAULTS") or "short"
    return NAMED[word] if word in NAMED else float(word)


def times(short: int) -> int:
    """How many trials, of which a short run has so many."""
    return max(1, round(short * factor()))


def spread(points: Sequence[T], short: int) -> list[T]:
    """So many of them, evenly over all; each of them where there is time for all."""
    wanted = times(short)
    if wanted >= len(points):
        return list(points)
    return [points[at * len(points) // wanted] for at in range(wanted)]
