"""Secrets of attempts that are about to start, or whose end is to be told: fetched by the pool, kept in memory while
the attempt is under way, and nowhere else (rule P6). One thread, but for what the pool calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pyflowd.base.pool import Cancel, Cancelled, Pool
from pyflowd.secrets.secrets_model import Secret
from pyflowd.secrets.secrets_resolver import Resolver

TOKEN = "secrets/"  # noqa: S105  (of the pool, no secret)

Found = Mapping[str, Secret]
Then = Callable[[Found | Exception], None]


class SecretLookups:
    """What is asked for by attempt."""

    def __init__(self, resolver: Resolver, pool: Pool) -> None:
        self._resolver = resolver
        self._pool = pool
        self._pending: dict[str, Then] = {}
        self._kept: dict[str, Found] = {}

    def ask(self, attempt_id: str, names: Iterable[str], then: Then) -> None:
        """Call `then` with all values, or with why one cannot be had; values are kept with the attempt."""
        wanted = tuple(names)
        self._pending[attempt_id] = then

        def look(cancel: Cancel) -> Found:
            return self._resolver.resolve(wanted, cancel)

        self._pool.submit(TOKEN + attempt_id, look)

    def is_pending(self, attempt_id: str) -> bool:
        return attempt_id in self._pending

    def cancel(self, attempt_id: str) -> bool:
        """Nobody wants them any more; False where nobody had asked. `then` is not called."""
        if self._pending.pop(attempt_id, None) is None:
            return False
        self.forget(attempt_id)
        self._pool.cancel(TOKEN + attempt_id)
        return True

    def taken(self, token: str, result: Found | Exception) -> None:
        """The pool is done."""
        attempt_id = token.removeprefix(TOKEN)
        then = self._pending.pop(attempt_id, None)
        if then is None or isinstance(result, Cancelled):
            return
        if not isinstance(result, Exception):
            self._kept[attempt_id] = result
        then(result)

    def kept(self, attempt_id: str) -> Found | None:
        """The values that an attempt was given; None: not known, as after a restart."""
        return self._kept.get(attempt_id)

    def forget(self, attempt_id: str) -> None:
        """The attempt has ended."""
        self._kept.pop(attempt_id, None)
