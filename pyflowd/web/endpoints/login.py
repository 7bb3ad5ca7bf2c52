"""Logging in and out, health, static files: all that is there without a session."""

from __future__ import annotations

from starlette.responses import FileResponse, JSONResponse, Response

from pyflowd.errors import Forbidden, NotFound, PyflowError
from pyflowd.protocol.requests import GetVersion
from pyflowd.protocol.tokens import GetIdentity, OpenSession, RevokeToken, SessionView
from pyflowd.protocol.views_host import VersionView
from pyflowd.protocol.words import Level
from pyflowd.web import session
from pyflowd.web.call import Call
from pyflowd.web.drawing import TYPES
from pyflowd.web.link import Away
from pyflowd.web.peer import address
from pyflowd.web.routes import Kind, Route

LOGINS = 20
LOGINS_PER_S = 0.2
"""Of one address: a code is beyond guessing, and asking costs the daemon something."""


def login_page(call: Call) -> Response:
    """A link of `pyflowctl dashboard` has a code; it opens a session by a button, not by being looked at."""
    return call.page("login.html", code=call.query.get("code", ""), message="")


def login(call: Call) -> Response:
    web = call.http.app.state.web
    wait_s = web.rates.take(f"login {address(call.http, web.settings)}", LOGINS, LOGINS_PER_S)
    if wait_s:
        response = call.page("login.html", 429, code="", message=f"too many attempts; try again in {wait_s} s")
        response.headers["Retry-After"] = str(wait_s)
        return response
    code = call.field("code").strip()
    if not code:
        return call.page("login.html", 403, code="", message="the link has no code")
    try:
        return session.enter(call, call.one(SessionView, OpenSession(login=code)), "/")
    except Forbidden as error:
        return call.page("login.html", 403, code="", message=str(error))


def logout(call: Call) -> Response:
    try:
        call.ask(RevokeToken())
    except Forbidden:
        pass  # it is over already
    except Away:  # whoever speaks with a token that is revoked is cut off, sometimes before the answer
        if not _is_over(call):
            raise
    return session.leave(call, "/login")


def _is_over(call: Call) -> bool:
    try:
        call.ask(GetIdentity())
    except Forbidden:
        return True
    return False


def health(call: Call) -> Response:
    """200 where the daemon answers, else 503."""
    try:
        call.one(VersionView, GetVersion())
    except PyflowError as error:
        return JSONResponse({"status": "unavailable", "error": str(error)}, 503, {"Cache-Control": "no-store"})
    return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})


def static(call: Call) -> Response:
    drawing = call.http.app.state.web.drawing
    name = call.path["name"]
    if name not in drawing.files:
        raise NotFound(f"no file {name}")
    current = call.path["digest"] == drawing.digests[name]
    kept = "public, max-age=31536000, immutable" if current else "no-cache"
    path = drawing.files[name]
    return FileResponse(path, headers={"Cache-Control": kept}, media_type=TYPES[path.suffix])


ROUTES = [
    Route("/login", login_page, Kind.OPEN, Level.NONE),
    Route("/login", login, Kind.OPEN, Level.NONE, "POST", body_max=4096),
    Route("/logout", logout, Kind.ACTION, Level.NONE, "POST", body_max=4096),
    Route("/healthz", health, Kind.OPEN, Level.NONE),
    Route("/static/{digest}/{name}", static, Kind.OPEN, Level.NONE),
]
