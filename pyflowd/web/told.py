"""What became of an action, told once on the next page: in a cookie that carries its proof. Pure.

A form is answered with 303, and so what there is to say must outlive one request. In the address it would be anybody's
words on our page; here it is proven with the session's token, and only a page of this session takes it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import msgspec
from msgspec import Struct

COOKIE = "pyflow-told"
COOKIE_SECURE = "__Host-pyflow-told"
KEPT_S = 60
"""Long enough for the page that follows."""
TEXT_MAX = 1500
"""Characters; a browser keeps 4,096 bytes."""


class Told(Struct, frozen=True):
    text: str
    wrong: bool = False
    """It was not done."""


_decoder = msgspec.json.Decoder(Told)


def cookie_name(secure: bool) -> str:
    return COOKIE_SECURE if secure else COOKIE


def pack(told: Told, token: str) -> str:
    """As a cookie's value. A long text is cut."""
    shown = told.text if len(told.text) <= TEXT_MAX else told.text[: TEXT_MAX - 1] + "…"
    while True:
        body = base64.urlsafe_b64encode(msgspec.json.encode(Told(shown, told.wrong))).decode()
        if len(body) <= 3800:
            return f"{body}.{_proof(body, token)}"
        shown = shown[: len(shown) * 3 // 4] + "…"


def unpack(value: str, token: str) -> Told | None:
    """None: nothing was told, or not by us to this session."""
    body, _, proof = value.rpartition(".")
    if not (token and body and hmac.compare_digest(proof.encode(), _proof(body, token).encode())):
        return None
    try:
        return _decoder.decode(base64.urlsafe_b64decode(body))
    except ValueError:
        return None


def _proof(body: str, token: str) -> str:
    return hmac.new(token.encode(), b"told" + body.encode(), hashlib.sha256).hexdigest()


def local_path(text: str) -> str | None:
    """The address of a page of ours, as a form names the one that it stands on; None: it leads elsewhere.

    A browser takes `//host`, `/\\host` and, after it has dropped tabs and line ends, `/<tab>/host` as another host.
    """
    if not text.startswith("/") or text[1:2] in ("/", "\\") or not text.isprintable() or " " in text:
        return None
    return text
