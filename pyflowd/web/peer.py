"""Which address a request comes from, for limits and records: a proxy on this host speaks for others."""

from __future__ import annotations

import ipaddress

from starlette.requests import Request as HttpRequest

from pyflowd.web.settings import Settings


def address(http: HttpRequest, settings: Settings) -> str:
    """`X-Forwarded-For` counts only from a proxy: through a Unix socket, or from loopback where `url` says that
    something stands in front; of several addresses the last, which the proxy itself has seen.
    """
    peer = http.client.host if http.client is not None else ""
    by_proxy = not peer or (bool(settings.url) and settings.tls is None and _is_loopback(peer))
    if by_proxy:
        told = http.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        try:
            return str(ipaddress.ip_address(told))
        except ValueError:
            pass
    return peer or "unix"


def _is_loopback(peer: str) -> bool:
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False
