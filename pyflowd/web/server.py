"""uvicorn as a service: tells its manager when it serves and when it ends, and ends by itself when nobody needs it.

It knows nothing of routes. Whether somebody needs it is asked of `Uses`, through which every request goes.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator
from types import FrameType

import anyio
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pyflowd.systemd import notify
from pyflowd.web.connections import HEAD_MAX_BYTES, KEEP_ALIVE_S, Bounds, protocol

GRACE_S = 10
"""Requests that are under way when we are told to stop have so long."""
_STREAM = b"text/event-stream"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Uses:
    """An application around the application: knows when somebody asked last, and ends event streams when we stop."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner
        self._streams: set[anyio.CancelScope] = set()
        self._under_way = 0
        self._used_s = time.monotonic()

    @property
    def idle_s(self) -> float:
        """How long nothing has been asked, or answered."""
        return 0.0 if self._under_way else time.monotonic() - self._used_s

    def end_streams(self) -> None:
        for scope in self._streams:
            scope.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._under_way += 1
        try:
            with anyio.CancelScope() as until_stop:
                await self._inner(scope, receive, self._watched(send, until_stop))
            if until_stop.cancelled_caught:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._streams.discard(until_stop)
            self._under_way -= 1
            self._used_s = time.monotonic()

    def _watched(self, send: Send, scope: anyio.CancelScope) -> Send:
        async def passed_on(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_stream(message):
                self._streams.add(scope)
            await send(message)

        return passed_on


def _is_stream(message: Message) -> bool:
    return any(name == b"content-type" and value.startswith(_STREAM) for name, value in message.get("headers", []))


class Server(uvicorn.Server):
    """`idle_s`: stop when nobody has asked for so long; 0: never."""

    def __init__(self, config: uvicorn.Config, uses: Uses, idle_s: float) -> None:
        super().__init__(config)
        self._uses = uses
        self._idle_s = idle_s
        self._closing = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        notify("READY=1")

    async def on_tick(self, counter: int) -> bool:
        if self._closing:
            return not self.server_state.connections  # taken before we stopped to: they are answered
        if self._idle_s and self._uses.idle_s > self._idle_s and not self.server_state.connections:
            self._closing = True
            for server in self.servers:
                server.close()
            return False  # once more round the loop: what has just been accepted is there then
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        notify("STOPPING=1")
        self._uses.end_streams()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A stop that was asked for is a clean end."""

        def stop(number: int, frame: FrameType | None) -> None:
            self.handle_exit(number, frame)

        before = {number: signal.signal(number, stop) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def server(application: ASGIApp, *, tls: object = None, idle_s: float = 0.0, bounds: Bounds | None = None) -> Server:
    """`tls`: the ssl.SSLContext of the listener, if it has one."""
    uses = Uses(application)
    config = uvicorn.Config(
        uses, http=protocol(bounds or Bounds()), lifespan="off", ws="none", access_log=False, log_config=None,
        server_header=False, date_header=False, proxy_headers=False, h11_max_incomplete_event_size=HEAD_MAX_BYTES,
        timeout_keep_alive=KEEP_ALIVE_S, timeout_graceful_shutdown=GRACE_S,
        ssl_context_factory=None if tls is None else lambda config, default: tls,  # type: ignore[arg-type,return-value]
    )  # fmt: skip
    return Server(config, uses, idle_s)
