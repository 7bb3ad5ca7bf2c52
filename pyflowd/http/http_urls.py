"""URLs of requests: what is taken, which origin one belongs to, how one is shown. Pure text, no network."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_plus, urljoin, urlsplit

MAX_URL_CHARACTERS = 16_384

_URL = re.compile(r"(https?)://(\[[0-9A-Fa-f:.%]+\]|[^\s/?#@:\[\]\\%]+)(?::([0-9]{1,5}))?([/?#].*)?", re.I | re.DOTALL)
"""Strict, so that no two readers of it can disagree on the host: no user, no backslash, no percent sign in it."""
_SECRET_NAME = re.compile(
    r"token|secret|passw|passphrase|pwd|api.?key|access.?key|^key$|[_.-]key$|auth|^sig$|signature|credential|session"
    r"|jwt|^code$|^state$",
    re.I,
)
_QUERY_VALUE = re.compile(r"([?&;])([^=&;#]*)=([^&;#]*)")
_USER = re.compile(r"(//)[^/?#]*@")


class Origin(NamedTuple):
    """Who answers: what is secret is sent to nobody else."""

    scheme: str
    host: str
    port: int


def origin(url: str) -> Origin:
    """Of a URL that `check` takes."""
    found = _URL.fullmatch(url)
    assert found is not None
    scheme = found[1].lower()
    return Origin(scheme, found[2].lower(), int(found[3]) if found[3] else 443 if scheme == "https" else 80)


def check(url: str) -> str:
    """`url`, without its fragment. Raises ValueError with the reason and the remedy in one line."""
    if len(url) > MAX_URL_CHARACTERS:
        raise ValueError(f"the URL has {len(url)} characters; at most {MAX_URL_CHARACTERS} are sent")
    if not url.isprintable():
        raise ValueError("the URL holds a character that cannot be printed")
    if "@" in re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]:
        raise ValueError(f'the URL "{shown(url)}" holds a user: write it under auth: {{basic: {{user, password}}}}')
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError(f'"{shown(url)[:100]}" is no URL: write it as https://host/path')
    if found[3] and not 0 < int(found[3]) < 65536:
        raise ValueError(f"{found[3]} is no port")
    return url.partition("#")[0]


def join(base: str, reference: str) -> str:
    """The URL that `reference` means on the page `base`. Raises ValueError."""
    if not reference.isprintable():
        raise ValueError("the URL holds a character that cannot be printed")
    return check(urljoin(base, reference))


def shown(url: str) -> str:
    """For people and records: a user, and values of the query that look secret by their names, are masked."""

    def mask(found: re.Match[str]) -> str:
        value = "***" if _SECRET_NAME.search(unquote_plus(found[2])) else found[3]
        return f"{found[1]}{found[2]}={value}"

    plain = _QUERY_VALUE.sub(mask, _USER.sub(r"\1***@", url.partition("#")[0]))
    return plain if plain.isprintable() else plain.encode("unicode_escape").decode()


def host_of(url: str) -> str:
    """The host as it is written, without brackets."""
    return urlsplit(url).hostname or ""
