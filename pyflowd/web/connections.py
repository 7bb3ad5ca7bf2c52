"""HTTP connections that cost us little, whoever is at the other end: so many and no more, and none that only lingers.

uvicorn's protocol over h11, with limits of its own: all connections, those of one address, the time for the head of a
request, and the time that an answer may wait for a reader. It knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS_MAX = 512
"""Browsers keep one for each page that is open, and a few more while one loads."""
PER_ADDRESS_MAX = 64
"""Of loopback and Unix sockets no such number: there a proxy speaks for everybody."""
HEAD_S = 10.0
"""From the first byte of a request, or the connection, to the end of its head; of one that was answered before its body
had come, from then on to the head of the next one."""
UNREAD_S = 60.0
"""An answer of which nothing has been taken for so long is given up."""
HEAD_MAX_BYTES = 32 << 10
KEEP_ALIVE_S = 15
Timer = asyncio.TimerHandle
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 5\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 21\r\n\r\ntoo many connections\n"
)


class Bounds:
    """Of one server; tests make them smaller."""

    def __init__(
        self, connections: int = CONNECTIONS_MAX, per_address: int = PER_ADDRESS_MAX, head_s: float = HEAD_S,
        unread_s: float = UNREAD_S,
    ) -> None:  # fmt: skip
        self.connections = connections
        self.per_address = per_address
        self.head_s = head_s
        self.unread_s = unread_s
        self.of_address: Counter[str] = Counter()
        """Connections that are there, of each address that counts."""


def protocol(bounds: Bounds) -> type[asyncio.Protocol]:
    """The class of connections that keep these bounds, for `uvicorn.Config(http=...)`."""

    return type("Bounded", (Connection,), {"bounds": bounds})


class Connection(H11Protocol):
    """One of them. `bounds` are the class's."""

    bounds: Bounds

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._head: Timer | None = None
        self._unread: Timer | None = None
        self._turned_away = False
        self._address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = _counted(self.client)
        self.bounds.of_address[self._address] += 1
        too_many = self._address and self.bounds.of_address[self._address] > self.bounds.per_address
        if too_many or len(self.connections) > self.bounds.connections:
            self._turned_away = True
            transport.write(_BUSY)
            transport.close()
            return
        self._head = self._after(self.bounds.head_s)

    def data_received(self, data: bytes) -> None:
        if self._turned_away:
            return
        super().data_received(data)
        if self._is_rest:
            return  # on time since it was answered
        if self.conn.their_state is not h11.IDLE:
            self._head = _stop(self._head)
        elif self._head is None and self.conn.trailing_data[0]:
            self._head = self._after(self.bounds.head_s)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._is_rest and self._head is None:
            self._head = self._after(self.bounds.head_s)

    @property
    def _is_rest(self) -> bool:
        """Whether the body of a request that is answered already still comes: nobody waits for it any more."""
        return self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self._after(self.bounds.unread_s)

    def resume_writing(self) -> None:
        self._unread = _stop(self._unread)
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head = _stop(self._head)
        self.bounds.of_address[self._address] -= 1
        if not self.bounds.of_address[self._address]:
            del self.bounds.of_address[self._address]
        super().connection_lost(exc)
        self._unread = _stop(self._unread)  # of which `super` has written the last

    def _after(self, seconds: float) -> Timer:
        return self.loop.call_later(seconds, self.transport.abort)


def _counted(client: tuple[str, int] | None) -> str:
    """The address of a connection; empty where it is not counted."""
    if client is None or ipaddress.ip_address(client[0]).is_loopback:
        return ""
    return client[0]


def _stop(timer: Timer | None) -> Timer | None:
    if timer is not None:
        timer.cancel()
    return None
