"""Who gets no further: requests that are not meant for this host, come from another site, or carry no right word.

Pure: from a request's head, and from who the daemon says it is, to what is wrong with it. Applied by `app` to every
route, by its kind and level.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import NamedTuple

from pyflowd.protocol.tokens import IdentityView, Sort
from pyflowd.protocol.words import Level
from pyflowd.web.call import csrf_word
from pyflowd.web.routes import Kind, Route

COOKIE = "pyflow"
COOKIE_SECURE = "__Host-pyflow"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types pyflow"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: with it a browser says of a form on our own page that it comes from nowhere (Origin: null).
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
"""Of every answer. Nothing that lets another origin read one (CORS) is ever among them."""


class Wrong(NamedTuple):
    status: int
    message: str


_ELSEWHERE = Wrong(403, "this request comes from another site: open the page of this host and try again")
STRANGER = Wrong(401, "log in: pyflowctl dashboard prints a link")


def host_wrong(host: str, allowed: frozenset[str]) -> Wrong | None:
    """A name that somebody else's DNS points here (rebinding) is none of ours."""
    if host.lower() in allowed:
        return None
    return Wrong(421, "this is not the name of a host that pyflow-web serves; add it to hosts in web.yaml")


def origin_wrong(method: str, headers: Mapping[str, str], origins: frozenset[str], kind: Kind) -> Wrong | None:
    """What changes something comes from our own pages, or from no page at all."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if method in ("GET", "HEAD"):
        asked_by_page = kind in (Kind.FRAGMENT, Kind.LIVE)
        return _ELSEWHERE if asked_by_page and site in ("cross-site", "same-site") else None
    if kind in (Kind.HOOK, Kind.API):  # a browser sends neither a signature nor a bearer token by itself
        from_elsewhere = origin is not None and origin not in origins
    elif origin is None and site is None:
        from_elsewhere = True  # every browser that can show these pages says one of the two with a form
    else:
        from_elsewhere = (origin is not None and origin not in origins) or site not in (None, "same-origin", "none")
    return _ELSEWHERE if from_elsewhere else None


def csrf_wrong(token: str, told: str) -> Wrong | None:
    word = csrf_word(token)
    if word and hmac.compare_digest(word.encode(), told.encode()):
        return None
    return Wrong(403, "the form is of another session: load the page again and try again")


def identity_wrong(identity: IdentityView, route: Route) -> Wrong | None:
    """Whether whoever the daemon takes this for has what the route declares. What exactly they may see or do there,
    the daemon judges at each request.

    The text of a session is good for nothing but a browser's cookie, that of a bearer token for nothing but programs.
    """
    sort = Sort.BEARER if route.kind is Kind.API else Sort.SESSION
    if not identity.account or identity.sort is not sort:
        return STRANGER
    if route.level is Level.ADMIN and identity.level < Level.ADMIN:
        return Wrong(403, f"{identity.account} may not do this: it needs level admin")
    if route.level is Level.OPERATE and not identity.operates:
        return Wrong(403, f"{identity.account} may not do this: it needs level operate")
    return None


def cookie_name(secure: bool) -> str:
    return COOKIE_SECURE if secure else COOKIE
