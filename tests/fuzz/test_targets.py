"""A short run of every fuzz target, always the same inputs; `make fuzz TIME=600` goes further."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.__main__ import fuzz
from tests.fuzz.mutation import LONGEST_BYTES, mutated
from tests.fuzz.seeds import SEEDS, WORDS
from tests.fuzz.targets import TARGETS

SLOWEST_S = 2.0
"""Of processor time; what a definition may take as a whole."""


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_documented_errors_comes_of_bad_input(name: str) -> None:
    executions = {"definition": 150, "log-index": 300}.get(name, 1500)
    told = fuzz(name, 1, executions=executions)
    assert told.executions == executions
    assert told.slowest_s < SLOWEST_S
    assert told.grown_kib < 64 << 10


def test_mutation_changes_and_stays_in_bounds() -> None:
    dice = random.Random(1)
    for name, seeds in SEEDS.items():
        found = {mutated(dice, seeds, WORDS.get(name, [])) for _ in range(200)}
        assert len(found) > 100
        assert max(map(len, found)) <= LONGEST_BYTES
