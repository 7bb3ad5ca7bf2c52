"""Carries out the request of a task in a thread of the pool, page by page, and says how it ended.

It decides nothing about retries: it says what came, and whether that may be better another time (rule R4). It brings
`requests`, so the daemon imports it when the first such task runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from pyflowd.base.output_file import MAX_BYTES as MAX_OUTPUTS_BYTES
from pyflowd.base.pool import Cancel
from pyflowd.clock import Clock
from pyflowd.expressions.expression_values import ExpressionError
from pyflowd.http import http_answer, http_checks, http_connection, http_hops, http_urls
from pyflowd.http.http_alarm import ALARM
from pyflowd.http.http_answer import Answer
from pyflowd.http.http_connection import Line
from pyflowd.http.http_errors import CallError
from pyflowd.http.http_exchange import Exchange
from pyflowd.http.http_hops import Hop
from pyflowd.http.http_request import HttpRequest
from pyflowd.model.ends import CallEnd, Stop
from pyflowd.model.kinds import Paginate


class HttpResult(Struct, frozen=True, kw_only=True):
    """How the attempt ended, and what it gives on."""

    end: CallEnd
    outputs: dict[str, Any]


def perform(request: HttpRequest, sink: Callable[[str], None], cancel: Cancel, clock: Clock) -> HttpResult:
    """Send the request, follow redirects and pages, judge the answer. What it raises is a bug of ours.

    `sink` takes the lines of the attempt's log. Ends at the latest `request.timeout_s` after it began, and at once
    when `cancel` is set.
    """
    started_us = clock.wall_us()
    allowed = tuple(map(http_checks.network, request.allow_addresses))
    line = Line(allowed=allowed, connect_timeout_s=request.connect_timeout_s, may_reuse=request.safe_to_repeat)
    forget = cancel.on_cancel(lambda: line.cut(Stop.REQUEST))
    status: int | None = None
    try:
        with ALARM.after(request.timeout_s, lambda: line.cut(Stop.TIMEOUT)), http_connection.using(line) as adapter:
            exchange = Exchange(request, sink, line, adapter, clock)
            try:
                outputs = _outputs(request, exchange)
            finally:
                status = exchange.status
    except (CallError, ExpressionError) as error:
        end = _failed(error, line.stop, request, status, started_us, clock.wall_us())
        return HttpResult(end=end, outputs={})
    finally:
        forget()
    end = CallEnd(started_us=started_us, ended_us=clock.wall_us(), status=status)
    return HttpResult(end=end, outputs=outputs)


def _failed(
    error: CallError | ExpressionError,
    stop: Stop,
    request: HttpRequest,
    status: int | None,
    started_us: int,
    ended_us: int,
) -> CallEnd:
    """A stop explains whatever else went wrong after it."""
    if stop is not Stop.NONE:
        message = "cancelled" if stop is Stop.REQUEST else f"not done within {request.timeout_s:g} s"
        return CallEnd(started_us=started_us, ended_us=ended_us, error=message, status=status, stop=stop)
    of_call = error if isinstance(error, CallError) else CallError(str(error))
    return CallEnd(
        started_us=started_us,
        ended_us=ended_us,
        error=str(error),
        status=status,
        transient=of_call.transient,
        retry_after_s=of_call.retry_after_s,
    )


def _outputs(request: HttpRequest, exchange: Exchange) -> dict[str, Any]:
    if request.paginate is not None:
        return http_answer.bounded(_pages(request, request.paginate, exchange))
    answer = _good(http_hops.first(request), request, exchange)
    outputs = _about(answer)
    outputs |= answer.saved if request.save_to else {"body": answer.body}
    return http_answer.bounded(outputs)


def _about(answer: Answer) -> dict[str, Any]:
    return {"status": answer.status, "headers": answer.headers, "url": http_urls.shown(answer.url)}


def _good(hop: Hop, request: HttpRequest, exchange: Exchange) -> Answer:
    """The answer, which is as expected. Raises CallError, ExpressionError."""
    answer = exchange.answer(hop)
    what = http_answer.unmet(answer, request.expect, http_answer.names_with(answer, request.names), exchange.check)
    if what:
        raise CallError(f"{what} (status {answer.status})", transient=http_answer.is_transient(answer.status))
    return answer


def _pages(request: HttpRequest, paginate: Paginate, exchange: Exchange) -> dict[str, Any]:
    """The items of all pages, and what is to be said of the last one."""
    first = hop = http_hops.first(request)
    items: list[Any] = []
    size_bytes = 0
    seen: set[str] = set()
    for _ in range(paginate.max_pages):
        answer = _good(hop, request, exchange)
        seen |= {hop.url, answer.url} if not hop.query else {answer.url}
        names = http_answer.names_with(answer, request.names)
        found = http_answer.evaluate(paginate.items, names)
        if not isinstance(found, list):
            raise CallError("paginate.items gives no list")
        size_bytes += len(msgspec.json.encode(found))
        if size_bytes > MAX_OUTPUTS_BYTES:
            raise CallError("the items of all pages have more than 1 MiB: pick less in paginate.items")
        items += found
        following = http_answer.evaluate(paginate.next, names)
        if following is None or following == "":
            return _about(answer) | {"items": items}
        hop = _next(first, answer, following, seen)
    raise CallError(f"there are more than {paginate.max_pages} pages: raise paginate.max_pages")


def _next(first: Hop, answer: Answer, following: Any, seen: set[str]) -> Hop:
    if not isinstance(following, str):
        raise CallError("paginate.next gives neither a URL nor null")
    try:
        url = http_urls.join(answer.url, following)
        hop = http_hops.at(first, url)
    except ValueError as error:
        raise CallError(f"paginate.next: {error}") from None
    if url in seen:
        raise CallError(f"the pages run in a circle: {http_urls.shown(url)} was read before")
    return hop
