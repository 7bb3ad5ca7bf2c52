"""Connections within bounds, over real sockets of loopback, with bounds small enough to be met."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import pytest
from starlette.types import Receive, Scope, Send

from pyflowd.web import connections
from pyflowd.web.connections import Bounds
from pyflowd.web.server import Server, server

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
LONG_S = 3600.0


async def _application(scope: Scope, receive: Receive, send: Send) -> None:
    size = int(scope["path"].strip("/") or 0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(size).encode())]})
    piece = b"x" * 65_536
    for _ in range(0, size, len(piece)):
        await send({"type": "http.response.body", "body": piece[: min(len(piece), size)], "more_body": True})
    await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def _served(bounds: Bounds) -> AsyncIterator[tuple[Server, int]]:
    made = server(_application, bounds=bounds)
    made.config.load()
    made.lifespan = made.config.lifespan_class(made.config)
    listener = await asyncio.get_running_loop().create_server(
        lambda: made.config.http_protocol_class(  # type: ignore[call-arg,return-value]
            config=made.config, server_state=made.server_state, app_state={}
        ),
        "127.0.0.1", 0,
    )  # fmt: skip
    async with listener:
        yield made, listener.sockets[0].getsockname()[1]


def _try(bounds: Bounds, act: Callable[[Server, int], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        async with asyncio.timeout(30), _served(bounds) as (made, port):
            await act(made, port)

    asyncio.run(all_of_it())


async def _ended(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(ConnectionError):
        return await reader.read()
    return b""


def test_one_connection_too_many_is_told_so_and_the_others_go_on() -> None:
    async def act(_: Server, port: int) -> None:
        pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        first, last = pairs[0], pairs[-1]
        assert (await _ended(last[0])).startswith(b"HTTP/1.1 503 ")
        first[1].write(HEAD + b"\r\n")
        assert (await first[0].readline()).startswith(b"HTTP/1.1 200 ")
        for _, writer in pairs:
            writer.close()

    _try(Bounds(connections=2), act)


def test_one_address_does_not_take_all_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_counted", lambda client: client[0])

    async def act(made: Server, port: int) -> None:
        pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert (await _ended(pairs[2][0])).startswith(b"HTTP/1.1 503 ")
        for _, writer in pairs:
            writer.close()
        while made.server_state.connections:
            await asyncio.sleep(0)
        assert made.config.http_protocol_class.bounds.of_address == {}  # type: ignore[union-attr]

    _try(Bounds(per_address=2), act)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", HEAD])
def test_a_head_that_does_not_end_is_not_waited_for(sent: bytes) -> None:
    async def act(_: Server, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert await _ended(reader) == b""
        writer.close()

    _try(Bounds(head_s=0.05), act)


def test_nor_is_that_of_a_second_request_on_the_same_connection() -> None:
    async def act(_: Server, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        assert await _ended(reader) == b""
        writer.close()

    _try(Bounds(head_s=0.05), act)


def test_an_answer_that_nobody_reads_is_given_up() -> None:
    async def act(made: Server, port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /100000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        await writer.drain()
        while not made.server_state.connections:
            await asyncio.sleep(0)
        while made.server_state.connections:
            await asyncio.sleep(0)
        writer.close()

    _try(Bounds(unread_s=0.05, head_s=LONG_S), act)


def test_an_answer_that_is_read_slowly_comes_whole() -> None:
    async def act(_: Server, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.write(b"GET /655360 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        assert len(await _ended(reader)) == 655_360
        writer.close()

    _try(Bounds(unread_s=LONG_S, head_s=0.01), act)


def test_a_body_that_comes_after_the_answer_does_not_hold_the_connection() -> None:
    async def act(_: Server, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        ended = asyncio.ensure_future(_ended(reader))
        while not ended.done():  # one byte after the other, for ever
            writer.write(b"x")
            await asyncio.wait([ended], timeout=0.01)
        writer.close()

    _try(Bounds(head_s=0.1), act)


def test_a_body_that_comes_whole_after_the_answer_leaves_the_connection_to_the_next_request() -> None:
    async def act(made: Server, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            writer.write(b"ab")
        writer.write(HEAD + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        (connection,) = made.server_state.connections
        assert cast(connections.Connection, connection)._head is None  # nothing is owed: it may idle
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.write(b"ab")
        assert await _ended(reader) == b""  # and nothing more: it ends by itself
        writer.close()

    _try(Bounds(head_s=0.3), act)
