"""Short calls that wait for the disk: done by the thread pool, their results taken within a turn of the loop.

It knows nothing of what a call does. Whoever wants many at a time bounds them himself.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TypeVar

from pyflowd.base.pool import Pool

TOKEN = "errands/"  # noqa: S105  (of the pool)
T = TypeVar("T")


class Errands:
    """Of one daemon; the loop's thread only."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._numbers = count(1)
        self._then: dict[str, Callable[[object], None]] = {}

    def send(self, call: Callable[[], T], then: Callable[[T | Exception], None]) -> None:
        """Have `call` done by a thread; `then` is given its result, or what it raised, in a later turn."""

        def take(result: object) -> None:
            if isinstance(result, BaseException) and not isinstance(result, Exception):
                raise result
            then(result)  # type: ignore[arg-type]  # what the pool hands over is what the call gave it

        token = f"{TOKEN}{next(self._numbers)}"
        self._then[token] = take
        self._pool.submit(token, lambda _: call())

    def taken(self, token: str, result: object) -> None:
        """The pool has a result."""
        self._then.pop(token)(result)
