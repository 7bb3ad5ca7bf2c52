"""Threads for what only waits on the network: the loop submits calls, waits on a descriptor, and receives results.

Nothing but the loop's thread calls a `Pool`. It knows nothing of what a call does: a call is given a `Cancel` and is
expected to end soon after that is set.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

_IDLE_S = 10.0
"""A thread without work ends after this; its kept connections are closed with it."""

Call = Callable[["Cancel"], Any]


class Cancelled(Exception):
    """The result of a call that was cancelled before a thread took it."""


class Cancel:
    """Set once, from any thread, when nobody wants the result any more."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.RLock()
        self._callbacks: dict[object, Callable[[], None]] = {}

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether it is set, at the latest after `timeout_s`."""
        return self._event.wait(timeout_s)

    def set(self) -> None:
        """Safe twice. The callbacks are called in this thread, so they must not block."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = list(self._callbacks.values()), {}
            for callback in callbacks:
                callback()

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when this is set, at once if it is. What is returned takes it back: after that it is not
        called, and no call of it is under way (but from within itself)."""
        key = object()
        with self._lock:
            if self._event.is_set():
                callback()
            else:
                self._callbacks[key] = callback

        def forget() -> None:
            with self._lock:
                self._callbacks.pop(key, None)

        return forget


class Pool:
    """At most `most` daemon threads, started when there is work and ended when there has been none for a while."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.RLock()
        self._came = threading.Condition(self._lock)
        self._ended = threading.Condition(self._lock)
        self._queued: deque[tuple[str, Call]] = deque()
        self._cancels: dict[str, Cancel] = {}
        """Of all that is queued or under way."""
        self._results: list[tuple[str, Any]] = []
        self._threads = 0
        self._idle = 0
        self._stopped = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """Readable while results wait."""
        return self._wake

    @property
    def active(self) -> int:
        """Calls that have been submitted and have not ended."""
        with self._lock:
            return len(self._cancels)

    @property
    def under_way(self) -> frozenset[str]:
        """The tokens of these."""
        with self._lock:
            return frozenset(self._cancels)

    def resize(self, most: int) -> None:
        """From now on; calls under way are not touched."""
        with self._lock:
            self._most = most

    def submit(self, token: str, call: Callable[[Cancel], Any]) -> None:
        """Run `call` in a thread, as soon as one is free; `token` must not be under way. After `stop` nothing is run,
        as its result would not be told."""
        with self._lock:
            if self._stopped:
                return
            assert token not in self._cancels, f"{token} is under way"
            self._cancels[token] = Cancel()
            self._queued.append((token, call))
            if len(self._queued) <= self._idle:
                self._came.notify()
            elif self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._work, name=f"pyflow-pool-{self._threads}", daemon=True).start()

    def receive(self) -> list[tuple[str, Any]]:
        """Results and exceptions of the calls that ended since the last time, in the order of their ends."""
        with self._lock:
            if self._results and not self._is_closed:
                os.eventfd_read(self._wake)
            results, self._results = self._results, []
            return results

    def cancel(self, token: str) -> None:
        """A call that has not begun ends with `Cancelled`; one under way is asked to end. Unknown: nothing happens."""
        with self._lock:
            cancel = self._cancels.get(token)
            waiting = next((entry for entry in self._queued if entry[0] == token), None)
            if waiting is not None:
                self._queued.remove(waiting)
                self._end(token, Cancelled(f"{token} was cancelled before it began"))
        if cancel is not None:
            cancel.set()

    def stop(self, timeout_s: float) -> list[str]:
        """Take no more calls, wait for those under way (rule I4). Tokens of those that did not end: they are cancelled,
        and their results are never told. What ended can still be received. Safe twice."""
        with self._lock:
            self._stopped = True
            self._came.notify_all()
            self._ended.wait_for(lambda: not self._cancels, timeout_s)
            unfinished, self._cancels = self._cancels, {}
            self._queued.clear()
        for cancel in unfinished.values():
            cancel.set()
        return list(unfinished)

    def close(self) -> None:
        """Give the descriptor back; after `stop`. Safe twice."""
        with self._lock:
            if not self._is_closed:
                os.close(self._wake)
                self._wake = -1

    @property
    def _is_closed(self) -> bool:
        return self._wake < 0

    def _work(self) -> None:
        """A thread's life."""
        while (entry := self._take()) is not None:
            token, call, cancel = entry
            result: Any
            try:
                result = call(cancel)
            except Exception as error:  # noqa: BLE001 - it is the result, and the thread lives on
                result = error
            except BaseException as error:  # noqa: BLE001 - SystemExit in a call is no word to this thread
                result = RuntimeError(f"{type(error).__name__}: {error}")
            with self._lock:
                if self._cancels.get(token) is cancel:  # else it was given up by `stop`
                    self._end(token, result)
            del entry, call, result  # nothing of a call is kept while its thread is idle

    def _take(self) -> tuple[str, Call, Cancel] | None:
        """The next call; None: the thread's end."""
        with self._lock:
            if not self._queued and not self._stopped:
                self._idle += 1
                self._came.wait_for(lambda: bool(self._queued) or self._stopped, _IDLE_S)
                self._idle -= 1
            if not self._queued:
                self._threads -= 1
                return None
            token, call = self._queued.popleft()
            return token, call, self._cancels[token]

    def _end(self, token: str, result: Any) -> None:
        """Under the lock."""
        del self._cancels[token]
        if not self._results and not self._is_closed:
            os.eventfd_write(self._wake, 1)
        self._results.append((token, result))
        self._ended.notify()
