"""One making for all who ask at the same moment."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pyflowd.errors import Unavailable
from pyflowd.web.shared import AGE_S, Shared


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_what_is_asked_for_within_a_second_is_made_once_for_each_key() -> None:
    clock, made = Clock(), list[str]()
    shared: Shared[int] = Shared(clock)

    def make(key: str) -> int:
        made.append(key)
        return len(made)

    assert [shared.get(key, lambda key=key: make(key)) for key in ("a", "a", "b")] == [1, 1, 2]  # type: ignore[misc]
    clock.now_s += AGE_S + 0.01
    assert shared.get("a", lambda: make("a")) == 3


def test_those_who_ask_meanwhile_wait_for_it() -> None:
    shared: Shared[str] = Shared()
    begun, go_on = threading.Event(), threading.Event()

    def make() -> str:
        begun.set()
        assert go_on.wait(30)
        return "made"

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(shared.get, "key", make)
        assert begun.wait(30)
        others = [pool.submit(shared.get, "key", lambda: "made again") for _ in range(3)]
        go_on.set()
        assert {each.result(30) for each in (first, *others)} == {"made"}


def test_what_goes_wrong_goes_wrong_for_all_and_not_for_ever() -> None:
    clock = Clock()
    shared: Shared[str] = Shared(clock)

    def fail() -> str:
        raise Unavailable("away")

    for _ in range(2):
        with pytest.raises(Unavailable):
            shared.get("key", fail)
    clock.now_s += AGE_S + 0.01
    assert shared.get("key", lambda: "back") == "back"
