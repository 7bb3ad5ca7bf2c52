"""Sessions of those whom a proxy in front has logged in: it names the account in a header (`proxy_header`).

Only what comes through a Unix socket is believed, which nobody but the proxy may connect to (`listening.judge`); sent
by anybody else the header means nothing. Whether proxies are believed at all, and how far, the daemon says
(`web_proxy_level`).
"""

from __future__ import annotations

from starlette.responses import Response

from pyflowd.errors import Forbidden
from pyflowd.protocol.tokens import OpenSession, SessionView
from pyflowd.web import told
from pyflowd.web.call import Call
from pyflowd.web.link import Link, only
from pyflowd.web.session import enter

ACCOUNT_MAX = 64


def account(call: Call, header: str) -> str:
    """Whom the proxy names; empty: nobody, or it is no proxy that says so."""
    if not header or call.http.client is not None:
        return ""
    named = call.http.headers.getlist(header)
    if len(named) != 1 or len(named[0]) > ACCOUNT_MAX or not named[0].isprintable():
        return ""
    return named[0].strip()


def is_theirs(call: Call, named: str) -> bool:
    """Whether the session that the browser has is of the account that the proxy names now."""
    return bool(call.token) and call.identity_or_nobody.account == named


def sign_on(call: Call, link: Link, named: str) -> Response:
    """A session for the account, and the same page again. Raises PyflowError."""
    opened = only(SessionView, link.ask("", OpenSession(account=named)))
    if opened.identity.account != named:  # or it would be opened for ever
        raise Forbidden(f"the proxy names {named}, which this host knows as {opened.identity.account}")
    return enter(call, opened, told.local_path(call.here) or "/")
