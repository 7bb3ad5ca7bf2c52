"""What the host says of accounts and groups is kept for a minute, not longer."""

from __future__ import annotations

from pyflowd.base.names import KEPT_US, MOST_KEPT, Kept
from tests.fakes import FakeClock


class Host:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.accounts: dict[str, int] = {}
        self.asked = 0
        self.kept = Kept(self._ask, self.clock.mono_us)

    def _ask(self, name: str) -> int:
        self.asked += 1
        return self.accounts[name]


def test_an_answer_is_kept_for_a_minute_and_so_is_that_there_is_none() -> None:
    host = Host()
    assert [host.kept("me") for _ in range(3)] == [None] * 3
    host.accounts["me"] = 1000
    assert (host.kept("me"), host.asked) == (None, 1)
    host.clock.advance(KEPT_US / 1_000_000)
    assert [host.kept("me") for _ in range(3)] == [1000] * 3
    assert host.asked == 2


def test_who_asks_for_a_fresh_answer_gets_one_and_so_does_everybody_then() -> None:
    host = Host()
    assert host.kept("me") is None
    host.accounts["me"] = 1000
    assert (host.kept.fresh("me"), host.kept("me")) == (1000, 1000)


def test_strangers_without_end_take_no_memory_without_end() -> None:
    host = Host()
    for number in range(3 * MOST_KEPT):
        host.kept(f"stranger {number}")
    assert len(host.kept._known) <= MOST_KEPT
