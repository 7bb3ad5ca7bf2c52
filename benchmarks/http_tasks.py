"""B4: 200 HTTP tasks of 50 ms each, 50 at once, beside a plain thread pool with requests in the same run."""

from __future__ import annotations

import asyncio
import multiprocessing
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median
from typing import Any

import requests

from benchmarks.harness import daemon, in_turns, ratio, say, wall_s
from pyflowd.base.pool import Pool
from pyflowd.clock import SystemClock
from pyflowd.expressions.expression_values import Variables
from pyflowd.http.http_call import perform
from pyflowd.http.http_request import build
from pyflowd.model.kinds import Http

TASKS = 200
AT_ONCE = 50
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'


def _serve(listener: socket.socket) -> None:
    """Each request is answered after 50 ms; in a process of its own, so that it takes nobody's interpreter."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(0.05)
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(client, sock=listener, backlog=512)
        await server.serve_forever()

    asyncio.run(main())


@contextmanager
def server() -> Iterator[str]:
    """Its URL."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        process = multiprocessing.get_context("fork").Process(target=_serve, args=(listener,), daemon=True)
        process.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            process.terminate()
            process.join()


def plain_s(url: str) -> float:
    """A session per thread, as its users are told to do."""
    own = threading.local()

    def get(_: int) -> None:
        if not hasattr(own, "session"):
            own.session = requests.Session()
        assert own.session.get(url, timeout=10).json()["ok"]

    before = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(get, range(TASKS)))
    return time.perf_counter() - before


def pool_s(url: str) -> float:
    """Our pool without the daemon around it."""
    pool, clock, names = Pool(AT_ONCE), SystemClock(), Variables({})
    before = time.perf_counter()
    for n in range(TASKS):
        request = build(Http(url=url), names, identity=str(n), scratch="/nonexistent", timeout_s=10)
        pool.submit(str(n), lambda cancel, request=request: perform(request, _quiet, cancel, clock))
    ended: list[Any] = []
    while len(ended) < TASKS:
        select.select([pool], [], [])
        ended += pool.receive()
    took_s = time.perf_counter() - before
    assert all(result.outputs["body"]["ok"] for _, result in ended)
    pool.stop(1)
    pool.close()
    return took_s


def _quiet(line: str) -> None:
    pass


def main(rounds: int = 5) -> None:
    with server() as url:
        plain, ours = in_turns(rounds, lambda: plain_s(url), lambda: pool_s(url))
        beside = ratio(ours, plain)
        figures = f"{median(ours):.2f} s against {median(plain):.2f} s"
        say(
            "B4p",
            f"{TASKS} requests, {AT_ONCE} at once, pool alone: {beside:.2f} times; {figures}",
            "1.5",
            met=beside <= 1.5,
        )
        if "--pool" in sys.argv:
            return
        tasks = {f"t{n}": {"http": url} for n in range(TASKS)}
        with daemon() as bench:
            bench.install(calls={"max_parallel": AT_ONCE, "tasks": tasks})
            plain, ours = in_turns(rounds, lambda: plain_s(url), lambda: wall_s(bench.run("calls")))
        beside = ratio(ours, plain)
        figures = f"{median(ours):.2f} s against {median(plain):.2f} s"
        say("B4", f"{TASKS} HTTP tasks, {AT_ONCE} at once: {beside:.2f} times; {figures}", "1.5", met=beside <= 1.5)


if __name__ == "__main__":
    main()
