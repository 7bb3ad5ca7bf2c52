"""The application: from the table of routes to answers. The one place that knows all."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import TypeVar, cast

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route as HttpRoute

from pyflowd.clock import SystemClock
from pyflowd.errors import Forbidden, PyflowError, Unavailable
from pyflowd.protocol.words import Level
from pyflowd.web import guard, sign_on, troubles
from pyflowd.web.bodies import Bodies, TooMuch
from pyflowd.web.call import Call
from pyflowd.web.drawing import Templates
from pyflowd.web.editor.checker import Checker
from pyflowd.web.feed import Feeds
from pyflowd.web.guard import Wrong
from pyflowd.web.link import Link
from pyflowd.web.rates import Rates
from pyflowd.web.routes import Kind, Route
from pyflowd.web.settings import Settings
from pyflowd.web.table import table

THREADS = 16
"""Requests at work at once; each may wait for the daemon."""
LANE_THREADS = 2
LANE_WAITING = 16
"""Requests of a lane that wait for one of its threads, each with its body."""
T = TypeVar("T")

log = logging.getLogger("pyflowd.web.app")


class Web:
    """What is shared by all requests of the process."""

    def __init__(self, link: Link, drawing: Templates, settings: Settings, origins: frozenset[str]) -> None:
        """`origins`: `https://flow.example.com`, ...: those of our own pages; their hosts are the names served."""
        self.link = link
        self.feeds = Feeds(link)
        self.checker = Checker()
        self.drawing = drawing
        self.settings = settings
        self.origins = origins
        self.hosts = frozenset(origin.partition("://")[2] for origin in origins)
        self.clock = SystemClock()
        self.rates = Rates(self.clock)
        self._bodies = Bodies()
        self._limiters: dict[str, CapacityLimiter] = {}

    def application(self, routes: Sequence[Route] | None = None) -> Starlette:
        served = [HttpRoute(each.path, self._served(each), methods=[each.method]) for each in routes or table()]
        application = Starlette(routes=served, exception_handlers={HTTPException: self._http_error})
        application.state.web = self
        return application

    def _served(self, route: Route) -> Callable[[HttpRequest], Awaitable[Response]]:
        async def serve(http: HttpRequest) -> Response:
            try:
                response = await self._answer(route, http)
            except ClientDisconnect:
                response = Response(status_code=400)
            for name, value in guard.HEADERS.items():
                response.headers.setdefault(name, value)
            if route.kind is not Kind.OPEN:
                response.headers.setdefault("Cache-Control", "no-store")
            return response

        return serve

    async def _answer(self, route: Route, http: HttpRequest) -> Response:
        wrong = guard.host_wrong(http.headers.get("host", ""), self.hosts) or guard.origin_wrong(
            http.method, http.headers, self.origins, route.kind
        )
        if wrong:
            return troubles.wrong(route, wrong)
        call = Call(http, self.link, self.token(route, http), b"", self.drawing, self.clock.wall_us())
        try:
            turned_away = await self.in_thread(partial(self._turned_away, route, call))
            if turned_away is not None:
                return turned_away
            call.body = await self._bodies.read(http, route.body_max)
            if route.kind is Kind.ACTION and (wrong := guard.csrf_wrong(call.token, call.field("csrf"))):
                return troubles.wrong(route, wrong)
            if inspect.iscoroutinefunction(route.endpoint):
                return cast(Response, await route.endpoint(call))
            return await self._at_work(lambda: cast(Response, route.endpoint(call)), route.lane)
        except ClientDisconnect:
            raise
        except TooMuch as error:
            return troubles.wrong(route, error.wrong)
        except PyflowError as error:
            return await self.in_thread(partial(troubles.of_error, route, call, error))
        except Exception:
            log.exception("a request failed", extra={"action": "request_failed"})
            message = "an internal error; the log of pyflow-web has it"
            return await self.in_thread(partial(troubles.said, route, call, 500, message))

    def _turned_away(self, route: Route, call: Call) -> Response | None:
        """None: whoever asks may go on to the endpoint. Raises PyflowError."""
        if route.before is not None:
            return route.before(call)
        if route.kind in (Kind.HOOK, Kind.OPEN) or (route.kind is Kind.API and route.level is Level.NONE):
            return None
        if route.kind is not Kind.API:
            named = sign_on.account(call, self.settings.proxy_header)
            if named and not sign_on.is_theirs(call, named):
                return self._signed_on(route, call, named) if route.kind is Kind.PAGE else self._over(route, call)
        if not call.token:
            return self._over(route, call)
        if route.level is Level.NONE:
            return None
        lacking = guard.identity_wrong(call.identity, route)
        if lacking is None:
            return None
        if lacking is guard.STRANGER:
            return self._over(route, call)
        return troubles.said(route, call, lacking.status, lacking.message)

    def _signed_on(self, route: Route, call: Call, named: str) -> Response:
        """Whatever session the browser has is another one's. Raises PyflowError."""
        call.token = ""
        call.forget()
        try:
            return sign_on.sign_on(call, self.link, named)
        except Forbidden as error:
            return troubles.said(route, call, 403, str(error))

    def _over(self, route: Route, call: Call) -> Response:
        call.forget()
        return troubles.stranger(route, call)

    async def _at_work(self, act: Callable[[], T], lane: str) -> T:
        """Raises Unavailable where as many of a lane wait as may, and what `act` raises."""
        limiter = self._limiters.get(lane)
        if lane and limiter is not None and limiter.statistics().tasks_waiting >= LANE_WAITING:
            raise Unavailable("too much of this is asked for at once; try again in a moment")
        return await self.in_thread(act, LANE_THREADS if lane else THREADS, lane)

    async def in_thread(self, act: Callable[[], T], threads: int = THREADS, of: str = "") -> T:
        """What may wait for the daemon, in one of the threads for it; `of`: so many are kept apart for this."""
        limiter = self._limiters.get(of)
        if limiter is None:
            limiter = self._limiters[of] = CapacityLimiter(threads)
        return await to_thread.run_sync(act, limiter=limiter)

    def token(self, route: Route, http: HttpRequest) -> str:
        """Of a browser its session, of a program its bearer token; empty: nobody."""
        if route.kind in (Kind.HOOK, Kind.OPEN):
            return ""
        if route.kind is Kind.API:
            return bearer(http)
        return http.cookies.get(guard.cookie_name(self.is_secure(http)), "")

    def is_secure(self, http: HttpRequest) -> bool:
        """Whether the browser reaches us by TLS, by the name that it uses."""
        return f"https://{http.headers.get('host', '').lower()}" in self.origins

    async def _http_error(self, http: HttpRequest, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        wrong = guard.host_wrong(http.headers.get("host", ""), self.hosts)
        response = troubles.plain(wrong or Wrong(error.status_code, HTTPStatus(error.status_code).phrase))
        response.headers.update(guard.HEADERS)
        return response


def bearer(http: HttpRequest) -> str:
    """The token that a program shows; empty: none."""
    scheme, _, token = http.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
