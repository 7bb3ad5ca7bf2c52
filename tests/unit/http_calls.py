"""What the tests of requests share: a call with short words, and routes of a server."""

from __future__ import annotations

from typing import Any

from pyflowd.base.pool import Cancel
from pyflowd.clock import SystemClock
from pyflowd.expressions.expression_values import Variables
from pyflowd.http.http_call import HttpResult, perform
from pyflowd.http.http_request import build
from pyflowd.model.kinds import Http
from tests.unit.web import Handler, Seen

DEADLINE_S = 20.0
CLOCK = SystemClock()


class Said(list[str]):
    """The lines of a log."""

    def __call__(self, line: str) -> None:
        self.append(line)


def call(
    url: str, *, sink: Said | None = None, cancel: Cancel | None = None, timeout_s: float = DEADLINE_S, **fields: Any
) -> HttpResult:
    scratch = fields.pop("scratch", "/nonexistent")
    names = Variables({"n": 3})
    request = build(Http(url=url, **fields), names, identity="run 1", scratch=str(scratch), timeout_s=timeout_s)
    return perform(request, sink if sink is not None else Said(), cancel or Cancel(), CLOCK)


def good(url: str, **fields: Any) -> dict[str, Any]:
    result = call(url, **fields)
    assert result.end.error == ""
    return result.outputs


def hello(handler: Handler, seen: Seen) -> None:
    handler.json({"hello": 1})


def echo(handler: Handler, seen: Seen) -> None:
    handler.json({"method": seen.method, "path": seen.path, "headers": seen.headers, "body": seen.body.decode()})


def to(location: str, status: int = 302) -> Any:
    return lambda handler, seen: handler.answer(status, Location=location)


def drips(first: bytes) -> Any:
    return lambda handler, seen: handler.drip(first)


DRIPS = [b"HTTP/1.1 200 OK\r\nX-A: ", b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]
