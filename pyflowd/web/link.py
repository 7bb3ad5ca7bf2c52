"""Connections to the daemon, each with the rights of one token. The only module here that speaks to it.

Who asks is decided by the daemon from the token (`protocol.tokens`): this process has no word in it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from pyflowctl import link
from pyflowctl.client import Answer, Client
from pyflowd.clock import SystemClock
from pyflowd.errors import Forbidden, Unavailable
from pyflowd.protocol.requests import Request

IDLE_MAX = 32
"""Connections kept open for the next request, of all tokens together; the daemon takes 200 of one account."""
IDLE_S = 30.0
TIMEOUT_S = 10.0
"""The daemon says every few seconds that it lives."""
AGAIN_S = 0.5
"""A daemon that has not answered is asked again after so long; until then whoever asks is told at once."""
T = TypeVar("T")


INVALID_S = 60.0
INVALID_MAX = 1024


class Away(Unavailable):
    """There is no daemon, or it does not answer."""

    def __init__(self, message: str, since_us: int) -> None:
        """`since_us`: when that was found first."""
        super().__init__(message)
        self.since_us = since_us


class Link:
    """Safe for threads. `close` ends the connections that are kept."""

    def __init__(self, socket: str, timeout_s: float = TIMEOUT_S) -> None:
        """`socket`: the daemon's. `timeout_s`: longest silence of an answer."""
        self.socket = socket
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle: list[tuple[float, str, Client]] = []
        """The longest unused first."""
        self._away: tuple[Away, float] | None = None
        """Why the daemon was not there, and when it was asked last."""
        self._invalid: OrderedDict[bytes, float] = OrderedDict()
        """Hashes of tokens that the daemon does not know, and when it said so; the longest ago first."""

    def ask(self, token: str, request: Request) -> list[Answer]:
        """All replies. Raises PyflowError with the daemon's own words, Away where there is none."""
        with self.connection(token) as client:
            return list(client.ask(request))

    @contextmanager
    def connection(self, token: str) -> Iterator[Client]:
        """One for several requests; it is kept for others unless something went wrong in between."""
        client = self._take(token)
        try:
            yield client
        except Unavailable as error:
            broken = client.broken()
            client.close()
            if broken:
                raise Away(str(error), SystemClock().wall_us()) from None
            raise
        except BaseException:
            client.close()
            raise
        self._away = None
        self._keep(token, client)

    def fresh(self, token: str) -> Client:
        """A connection of one's own, for as long as one likes. Raises PyflowError."""
        away = self._away
        if away is not None and time.monotonic() - away[1] < AGAIN_S:
            raise away[0]
        if self._is_known_invalid(token):
            raise Forbidden("the session or token is over")
        began_s = time.monotonic()
        try:
            connection = link.connect(self.socket, "start pyflowd", self.timeout_s)
        except link.ClientError as error:
            raise self._found_away(error) from None
        try:
            return Client(connection, self.timeout_s, token)
        except BaseException as error:
            connection.close()
            if isinstance(error, Forbidden):
                self._invalid[_hash(token)] = time.monotonic()
            elif isinstance(error, Unavailable) and time.monotonic() - began_s >= self.timeout_s:
                raise self._found_away(error) from None
            raise

    def _is_known_invalid(self, token: str) -> bool:
        """Whether the daemon has said so of late: a page that is left open asks for ever."""
        now_s = time.monotonic()
        with self._lock:
            while self._invalid and (
                len(self._invalid) > INVALID_MAX or now_s - next(iter(self._invalid.values())) > INVALID_S
            ):
                self._invalid.popitem(last=False)
            return _hash(token) in self._invalid

    def _found_away(self, error: Exception) -> Away:
        before = self._away
        since_us = SystemClock().wall_us() if before is None else before[0].since_us
        found = Away(str(error), since_us)
        self._away = found, time.monotonic()
        return found

    def _take(self, token: str) -> Client:
        now_s = time.monotonic()
        with self._lock:
            stale = [each for each in self._idle if now_s - each[0] > IDLE_S]
            self._idle = [each for each in self._idle if now_s - each[0] <= IDLE_S]
            found = next((each for each in reversed(self._idle) if each[1] == token), None)
            if found is not None:
                self._idle.remove(found)
        for _, _, client in stale:
            client.close()
        if found is not None:
            if not found[2].broken():
                return found[2]
            found[2].close()
        return self.fresh(token)

    def _keep(self, token: str, client: Client) -> None:
        with self._lock:
            self._idle.append((time.monotonic(), token, client))
            surplus = self._idle.pop(0)[2] if len(self._idle) > IDLE_MAX else None
        if surplus is not None:
            surplus.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for _, _, client in idle:
            client.close()


def only(kind: type[T], replies: list[Answer]) -> T:
    """The one reply of a kind. Raises Unavailable where it is missing."""
    for reply in replies:
        if isinstance(reply, kind):
            return reply
    raise Unavailable("the daemon's answer lacks what was asked for; are daemon and web front of one version?")


def every(kind: type[T], replies: list[Answer]) -> list[T]:
    return [reply for reply in replies if isinstance(reply, kind)]


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
