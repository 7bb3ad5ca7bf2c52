"""From one request to the next: redirects (RFC 9110, 15.4) and pages, and what goes along. Pure, no network."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from pyflowd.http import http_urls
from pyflowd.http.http_request import Content, HttpRequest, Multipart
from pyflowd.model.kinds import Tls

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ANYWHERE = frozenset(
    {
        "accept",
        "accept-language",
        "content-type",
        "content-language",
        "idempotency-key",
        "prefer",
        "range",
        "user-agent",
    }
)
"""Headers that go along to another origin: any other may be a secret, whatever its name."""


class Hop(Struct, frozen=True, kw_only=True):
    """One request to one URL."""

    url: str
    method: str
    headers: dict[str, str]
    query: tuple[tuple[str, str], ...] = ()
    """Still to be added to the URL."""
    body: Content | Multipart | None = None
    tls: Tls = Tls()


def first(request: HttpRequest) -> Hop:
    return Hop(
        url=request.url,
        method=request.method,
        headers=request.headers,
        query=request.query,
        body=request.body,
        tls=request.tls,
    )


def at(hop: Hop, url: str) -> Hop:
    """The same request to a URL that a server named; without what may be secret if it is another origin's. Raises
    ValueError."""
    here, there = http_urls.origin(hop.url), http_urls.origin(url)
    if here.scheme == "https" and there.scheme == "http":
        raise ValueError(f"the server sends us on to {http_urls.shown(url)}, without TLS: not followed")
    if here == there:
        return replace(hop, url=url, query=())
    headers = {name: value for name, value in hop.headers.items() if name.lower() in _ANYWHERE}
    return replace(hop, url=url, query=(), headers=headers, tls=replace(hop.tls, cert_file="", key_file=""))


def redirected(hop: Hop, asked: str, status: int, location: str) -> Hop:
    """What to send after a redirect from `asked`, the URL with its query. Raises ValueError."""
    after = at(hop, http_urls.join(asked, location))
    keeps_method = status in (307, 308) or hop.method in ("GET", "HEAD") or (status != 303 and hop.method != "POST")
    if keeps_method:
        return after
    headers = {name: value for name, value in after.headers.items() if not name.lower().startswith("content-")}
    return replace(after, method="GET", headers=headers, body=None)
