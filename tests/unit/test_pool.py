"""Threads for what waits: results and faults come back, cancels arrive, a stop drains."""

from __future__ import annotations

import select
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pyflowd.base import pool as pools
from pyflowd.base.pool import Cancel, Cancelled, Pool

DEADLINE_S = 20.0


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool(4)
    yield made
    made.stop(0)
    made.close()


def received(pool: Pool, count: int) -> dict[str, Any]:
    """So many results, waited for as the loop does."""
    found: dict[str, Any] = {}
    while len(found) < count:
        assert select.select([pool.fileno()], [], [], DEADLINE_S)[0], f"only {found}"
        found.update(pool.receive())
    return found


def is_readable(pool: Pool) -> bool:
    return bool(select.select([pool.fileno()], [], [], 0)[0])


def test_what_a_call_returns_is_received(pool: Pool) -> None:
    pool.submit("a", lambda cancel: 42)
    assert received(pool, 1) == {"a": 42}


def test_the_descriptor_is_readable_only_while_results_wait(pool: Pool) -> None:
    assert not is_readable(pool)
    for n in range(10):
        pool.submit(str(n), lambda cancel: None)
    received(pool, 10)
    assert not is_readable(pool)


@pytest.mark.parametrize("fault", [ValueError("bad"), KeyError("x")])
def test_what_a_call_raises_is_its_result(pool: Pool, fault: Exception) -> None:
    def raising(cancel: Cancel) -> None:
        raise fault

    pool.submit("a", raising)
    assert received(pool, 1)["a"] is fault


def test_a_call_that_exits_ends_no_thread() -> None:
    pool = Pool(1)

    def exiting(cancel: Cancel) -> None:
        raise SystemExit(3)

    pool.submit("a", exiting)
    assert isinstance(received(pool, 1)["a"], RuntimeError)
    pool.submit("b", lambda cancel: 1)
    assert received(pool, 1) == {"b": 1}
    pool.stop(DEADLINE_S)
    pool.close()


def test_no_more_calls_than_allowed_run_at_once() -> None:
    pool, lock, gate = Pool(3), threading.Lock(), threading.Event()
    running = most = 0

    def call(cancel: Cancel) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 3:
                gate.set()
        assert gate.wait(DEADLINE_S)
        with lock:
            running -= 1

    for n in range(12):
        pool.submit(str(n), call)
    received(pool, 12)
    assert most == 3
    pool.stop(0)
    pool.close()


def test_a_cancel_wakes_the_call_that_it_is_for(pool: Pool) -> None:
    began = threading.Event()

    def call(cancel: Cancel) -> str:
        began.set()
        return "cancelled" if cancel.wait(DEADLINE_S) else "late"

    pool.submit("a", call)
    assert began.wait(DEADLINE_S)
    pool.cancel("a")
    assert received(pool, 1) == {"a": "cancelled"}


def test_a_queued_call_that_is_cancelled_never_begins() -> None:
    pool, gate, began = Pool(1), threading.Event(), []
    pool.submit("first", lambda cancel: gate.wait(DEADLINE_S))
    pool.submit("second", lambda cancel: began.append("second"))
    pool.cancel("second")
    assert isinstance(received(pool, 1)["second"], Cancelled)
    gate.set()
    received(pool, 1)
    assert began == []
    pool.stop(0)
    pool.close()


def test_cancelling_what_is_not_there_does_nothing(pool: Pool) -> None:
    pool.cancel("nobody")
    assert pool.receive() == []


def test_active_counts_what_has_not_ended(pool: Pool) -> None:
    gate = threading.Event()
    for n in range(6):
        pool.submit(str(n), lambda cancel: gate.wait(DEADLINE_S))
    assert pool.active == 6
    gate.set()
    received(pool, 6)
    assert pool.active == 0


def test_a_token_is_under_way_once(pool: Pool) -> None:
    gate = threading.Event()
    pool.submit("a", lambda cancel: gate.wait(DEADLINE_S))
    with pytest.raises(AssertionError, match="under way"):
        pool.submit("a", lambda cancel: None)
    gate.set()


def test_a_stop_waits_for_what_is_under_way_and_queued() -> None:
    pool, gate = Pool(1), threading.Event()
    pool.submit("a", lambda cancel: gate.wait(DEADLINE_S))
    pool.submit("b", lambda cancel: 2)
    threading.Timer(0.05, gate.set).start()
    assert pool.stop(DEADLINE_S) == []
    assert pool.receive() == [("a", True), ("b", 2)]
    pool.close()


def test_a_stop_names_and_cancels_what_does_not_end() -> None:
    pool = Pool(1)
    told = threading.Event()

    def call(cancel: Cancel) -> None:
        cancel.wait(10 * DEADLINE_S)
        told.set()

    pool.submit("stuck", call)
    pool.submit("queued", lambda cancel: None)
    assert pool.stop(0.05) == ["stuck", "queued"]
    assert told.wait(DEADLINE_S)
    assert pool.receive() == []
    assert pool.stop(0) == []
    pool.close()
    pool.close()


def test_idle_threads_end_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_IDLE_S", 0.01)
    pool, threads = Pool(2), []
    pool.submit("a", lambda cancel: threads.append(threading.current_thread()))
    received(pool, 1)
    threads[0].join(DEADLINE_S)
    assert not threads[0].is_alive()
    pool.submit("b", lambda cancel: "again")
    assert received(pool, 1) == {"b": "again"}
    pool.stop(0)
    pool.close()


def test_an_idle_thread_is_used_again(pool: Pool) -> None:
    used, pause = set(), threading.Event()
    for n in range(5):
        pool.submit(str(n), lambda cancel: used.add(threading.get_ident()))
        received(pool, 1)
        for _ in range(2000):  # the result comes before its thread is idle
            if pool._idle:
                break
            pause.wait(0.01)
    assert len(used) == 1


def test_callbacks_of_a_cancel_are_called_once() -> None:
    cancel, calls = Cancel(), []
    cancel.on_cancel(lambda: calls.append("before"))
    cancel.set()
    cancel.set()
    cancel.on_cancel(lambda: calls.append("after"))
    assert calls == ["before", "after"]


def test_a_callback_that_was_taken_back_is_not_called() -> None:
    cancel, calls = Cancel(), []
    cancel.on_cancel(lambda: calls.append("called"))()
    cancel.set()
    assert calls == []


def test_what_is_submitted_after_the_stop_is_not_run() -> None:
    pool = Pool(1)
    pool.stop(0)
    pool.submit("late", lambda _: "done")
    assert (pool.under_way, pool.receive()) == (frozenset(), [])
    pool.close()
