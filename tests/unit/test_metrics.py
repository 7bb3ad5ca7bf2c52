"""Counting without a daemon: buckets, names beyond so many."""

from __future__ import annotations

from pyflowd.clock import US
from pyflowd.model.states import TaskState
from pyflowd.runtime import metrics
from pyflowd.runtime.metrics import OTHERS, Metrics, Tally
from pyflowd.store.batch import Batch, Fact, Moved, SlotSkipped


def test_a_value_at_a_bound_is_in_the_bucket_of_that_bound() -> None:
    tally = Tally((0.1, 1.0))
    for us in (0, US // 10, US // 10 + 1, US, US + 1, -5):
        tally.add(us)
    assert tally.counts == [3, 2, 1]
    assert tally.sum_us == 2 * (US // 10) + 2 * US + 2
    other = Tally((0.1, 1.0))
    other.take(tally)
    other.take(tally)
    assert (other.counts, other.sum_us) == ([6, 4, 2], 2 * tally.sum_us)


def test_workflows_beyond_so_many_count_together() -> None:
    counted = Metrics(lambda _: None)
    batch = Batch(1)
    for n in range(metrics.WORKFLOWS_MAX + 3):
        batch.moved.append(Moved(f"w{n}", TaskState.SUCCEEDED))
    counted.committed(batch)
    counted.committed(batch)
    assert len(counted.of) == metrics.WORKFLOWS_MAX + 1
    assert counted.of["w0"].tasks == {"succeeded": 2}
    assert counted.of[OTHERS].tasks == {"succeeded": 6}


def test_slots_of_a_down_time_are_counted() -> None:
    counted = Metrics(lambda _: None)
    batch = Batch(1)
    batch.facts.append(Fact(0, None, SlotSkipped("w", "t", 5, "down", None, "")))
    counted.committed(batch)
    assert counted.of["w"].slots == {"skipped": 1}
    assert sum(counted.of["w"].lateness.counts) == 0
