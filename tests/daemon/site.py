"""A web server on loopback whose answers a test makes of the requests: paths to functions, all requests remembered."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit


class Asked(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str] = {}  # noqa: RUF012  (of a tuple, never changed)


Reply = tuple[int, Any]
"""Status, and what is sent as JSON."""


def _not_there(asked: Asked) -> Reply:
    return 404, f"no {asked.path}"


class Site:
    """`routes`: path to what makes the reply; a path without one is 404."""

    def __init__(self) -> None:
        self.routes: dict[str, Callable[[Asked], Reply]] = {}
        self.asked: list[Asked] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                url = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = Asked(self.command, url.path, dict(parse_qsl(url.query)), body, dict(self.headers))
                site.asked.append(asked)
                status, value = site.routes.get(asked.path, _not_there)(asked)
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = answer  # noqa: N815  (the names are http.server's)

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def paths(self, path: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path == path]
