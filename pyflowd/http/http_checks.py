"""What may stand in a request: methods, headers, proxies, networks. Pure text, for definitions and for requests.

Apart from what sends requests, so that reading a definition stays quick.
"""

from __future__ import annotations

import ipaddress
import re

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_METHOD = re.compile(r"[A-Z][A-Z-]{0,19}", re.ASCII)
_PROXY = re.compile(r"http://(?:[^\s/?#@]+@)?[^\s/?#@]+/?", re.IGNORECASE)
_OURS = frozenset({"content-length", "transfer-encoding", "connection", "host", "te", "trailer", "upgrade", "expect"})
"""What frames a request is made by PyFlow: two opinions on it are how requests are smuggled."""


def method(method: str) -> str:
    """Any method but those that turn a connection into something else. Raises ValueError."""
    if not _METHOD.fullmatch(method):
        raise ValueError("a method is written in capital letters, such as GET or POST")
    if method in ("CONNECT", "TRACE"):
        raise ValueError(f"{method} is not sent by a task")
    return method


def proxy(proxy: str) -> str:
    """The URL of a proxy, which may hold a user. Raises ValueError."""
    if not _PROXY.fullmatch(proxy) or not proxy.isprintable():
        raise ValueError("this is no proxy: write it as in http://proxy.example.com:3128")
    return proxy


def header(name: str) -> str:
    """A name of a header that a task may set. Raises ValueError."""
    if not _HEADER_NAME.fullmatch(name) or len(name) > 100:
        raise ValueError("this is no name of a header")
    if name.lower() in _OURS:
        raise ValueError(f"the header {name} is made by PyFlow: leave it out")
    return name


def network(text: str) -> Network:
    """`10.0.0.0/8`, `fe80::1`. Raises ValueError."""
    return ipaddress.ip_network(text.strip(), strict=True)
