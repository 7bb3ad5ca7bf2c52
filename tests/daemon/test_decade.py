"""Simulated decades: every planned slot is exactly one row, with a fate that the rules allow (rule T1).

`make decades` runs a thousand. PYFLOW_DECADES says how many, PYFLOW_SEED is the first.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.daemon.decade import Decade

FIRST_SEED = int(os.environ.get("PYFLOW_SEED", "1"))
SEEDS = range(FIRST_SEED, FIRST_SEED + int(os.environ.get("PYFLOW_DECADES", "4")))


@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_decade_every_planned_slot_is_one_row(tmp_path: Path, seed: int) -> None:
    decade = Decade(tmp_path, seed)
    try:
        decade.live()
        assert decade.faults() == [], decade.done[-20:]
    finally:
        decade.host.stop()
