"""What is said where a request comes to nothing: a page for people, JSON for programs, a line for modules."""

from __future__ import annotations

from http import HTTPStatus

from starlette.responses import JSONResponse, RedirectResponse, Response

from pyflowd.errors import Forbidden, NotFound, PyflowError, Refused, Unavailable, UsageError
from pyflowd.web.call import Call
from pyflowd.web.guard import STRANGER, Wrong
from pyflowd.web.link import Away
from pyflowd.web.routes import Kind, Route

STATUS: dict[type[PyflowError], int] = {
    UsageError: 400, Forbidden: 403, NotFound: 404, Refused: 409, Unavailable: 503,
}  # fmt: skip
CODES = {
    400: "usage", 401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "method", 408: "timeout",
    409: "refused", 413: "too_large", 421: "misdirected", 429: "too_many", 503: "unavailable",
}  # fmt: skip
"""Of errors in JSON: those of the command line, and a few of HTTP's own."""
RETRY_S = 5


def wrong(route: Route, found: Wrong) -> Response:
    """Before anything is known of who asks."""
    if route.kind in (Kind.API, Kind.HOOK):
        return _object(found.status, found.message)
    return plain(found)


def plain(found: Wrong) -> Response:
    return Response(f"{found.message}\n", found.status, media_type="text/plain")


def of_error(route: Route, call: Call, error: PyflowError) -> Response:
    """Of an error that the daemon told, or that there is none."""
    status = next((code for kind, code in STATUS.items() if isinstance(error, kind)), 500)
    if isinstance(error, Away):
        return _away(route, call, error)
    if isinstance(error, Forbidden) and route.kind is not Kind.OPEN and not call.identity_or_nobody.account:
        return stranger(route, call)
    if route.kind is Kind.ACTION and status != 403 and call.back_path:
        return call.back(str(error), wrong=True)
    return said(route, call, status, str(error))


def stranger(route: Route, call: Call) -> Response:
    """Nobody, or whose session is over."""
    if route.kind in (Kind.PAGE, Kind.ACTION):
        return RedirectResponse("/login", 303)
    return said(route, call, STRANGER.status, _BEARER if route.kind is Kind.API else STRANGER.message)


_BEARER = "send a token that holds, as in: Authorization: Bearer TOKEN; pyflowctl token create makes one"


def said(route: Route, call: Call, status: int, message: str) -> Response:
    if route.kind in (Kind.API, Kind.HOOK):
        return _object(status, message)
    if route.kind in (Kind.FRAGMENT, Kind.LIVE):
        return plain(Wrong(status, message))
    return call.page("error.html", status, title=HTTPStatus(status).phrase, message=message, away=None)


def _away(route: Route, call: Call, error: Away) -> Response:
    call.forget()
    if route.kind in (Kind.PAGE, Kind.ACTION, Kind.OPEN):
        since = call.times.when(error.since_us, seconds=True)
        title, message = "The daemon does not answer", str(error)
        asked = route.kind is Kind.ACTION
        back = (call.back_path or "/") if asked else call.here
        response = call.page("error.html", 503, title=title, message=message, away=since, back=back, asked=asked)
    else:
        response = said(route, call, 503, str(error))
    response.headers["Retry-After"] = str(RETRY_S)
    return response


def _object(status: int, message: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(
        {"error": message, "status": status, "code": CODES.get(status, "error")}, status, headers
    )  # fmt: skip
