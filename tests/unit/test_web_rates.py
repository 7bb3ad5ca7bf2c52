"""Buckets that fill again, in bounded memory."""

from __future__ import annotations

from pyflowd.web.rates import Rates
from tests.fakes import FakeClock


def test_a_burst_is_taken_and_then_one_at_a_time() -> None:
    clock = FakeClock()
    rates = Rates(clock)
    assert [rates.take("a", 3, 0.5) for _ in range(5)] == [0, 0, 0, 2, 2]
    clock.advance(2.0)
    assert [rates.take("a", 3, 0.5) for _ in range(2)] == [0, 2]
    clock.advance(3600.0)
    assert [rates.take("a", 3, 0.5) for _ in range(4)] == [0, 0, 0, 2]


def test_one_who_asks_too_often_takes_nothing_from_others() -> None:
    rates = Rates(FakeClock())
    assert [rates.take("a", 1, 1.0), rates.take("a", 1, 1.0), rates.take("b", 1, 1.0)] == [0, 1, 0]


def test_whoever_comes_with_ever_new_keys_fills_no_memory() -> None:
    rates = Rates(FakeClock(), keys_max=10)
    for number in range(1000):
        rates.take(f"key {number}", 1, 1.0)
    assert len(rates._left) == 10
