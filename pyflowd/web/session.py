"""The cookie that a session lives in: made when it is opened, taken back when it ends.

A session is opened anew each time, with a text that the daemon has made: none that a browser brings along is taken
over.
"""

from __future__ import annotations

from starlette.responses import Response

from pyflowd.protocol.tokens import SessionView
from pyflowd.web import guard
from pyflowd.web.call import Call

SESSION_S = 8 * 3600
"""As long as the daemon keeps one at most."""


def enter(call: Call, session: SessionView, path: str) -> Response:
    response = call.go(path)
    response.set_cookie(
        guard.cookie_name(call.secure), session.text, max_age=SESSION_S, path="/", secure=call.secure, httponly=True,
        samesite="strict",
    )  # fmt: skip
    return response


def leave(call: Call, path: str) -> Response:
    response = call.go(path)
    response.delete_cookie(
        guard.cookie_name(call.secure), path="/", secure=call.secure, httponly=True, samesite="strict"
    )  # fmt: skip
    return response
