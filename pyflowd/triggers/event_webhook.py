"""Deliveries to hooks: does one prove where it comes from, which is it, and what is its event? Pure.

The forms: GitHub's and Stripe's HMACs, GitLab's token, and one of our own, whose signature also covers the hook, the
time and the delivery's id. It knows nothing of HTTP servers and of what a delivery starts.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from msgspec import Struct

from pyflowd.clock import US
from pyflowd.errors import Refused
from pyflowd.language import params
from pyflowd.language.document import DocumentError
from pyflowd.language.document_json import parse_json
from pyflowd.model.triggers import Verify

BODY_MAX_BYTES = 1_000_000
"""With `HEADERS_MAX_BYTES` it fits one frame of the protocol."""
HEADERS_MAX_BYTES = 16 * 1024
"""Names and values of headers and of the query."""
TOLERANCE_US = 300 * US
"""How far the time of a signature may be from ours."""
MAX_FIELDS = 1000
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)
"""Of our own form. No dot: it parts what is signed."""
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_MAX_ID = 255
_NOT_SHOWN = frozenset({"authorization", "proxy-authorization", "cookie", "x-gitlab-token"})
"""Headers that may hold a secret: they are no part of the event (rule P6)."""
_SIGNATURE = {
    "github": "x-hub-signature-256",
    "gitlab": "x-gitlab-token",
    "stripe": "stripe-signature",
    "pyflow": "x-pyflow-signature",
}
_DELIVERY = {
    "github": "x-github-delivery",
    "gitlab": "x-gitlab-event-uuid",
    "stripe": "",
    "pyflow": "x-pyflow-delivery",
}


class Delivery(Struct, frozen=True, kw_only=True):
    """As it came; names of headers in lower case."""

    hook: str
    method: str
    headers: dict[str, str]
    query: dict[str, str]
    body: bytes


def delivery(hook: str, method: str, headers: Mapping[str, str], query: Mapping[str, str], body: bytes) -> Delivery:
    """Raises Refused where it is larger than may be."""
    if len(body) > BODY_MAX_BYTES:
        raise Refused(f"{hook}: the body has {len(body)} bytes; at most {BODY_MAX_BYTES} are taken")
    size_bytes = sum(len(name.encode()) + len(text.encode()) for name, text in (*headers.items(), *query.items()))
    if size_bytes > HEADERS_MAX_BYTES or len(headers) + len(query) > MAX_FIELDS:
        raise Refused(f"{hook}: headers and query have {size_bytes} bytes; at most {HEADERS_MAX_BYTES} are taken")
    lowered = {name.lower(): text for name, text in headers.items()}
    return Delivery(hook=hook, method=method.upper(), headers=lowered, query=dict(query), body=body)


# ---- Proof ----------------------------------------------------------------------------------------------------------


def why_refused(verify: Verify, found: Delivery, secrets: Sequence[bytes], now_us: int) -> str:
    """Why a delivery does not prove where it comes from; empty: one of the secrets made its signature.

    Comparisons take the same time wherever two texts differ.
    """
    header = verify.header or _SIGNATURE[verify.form]
    given = found.headers.get(header, "")
    if not given:
        return f"there is no header {header}"
    match verify.form:
        case "github":
            right = [f"sha256={_hmac(secret, found.body)}" for secret in secrets]
            return _compared([given], right, "the signature is not that of the body")
        case "gitlab":
            return _compared([given], [secret.decode("utf-8", "replace") for secret in secrets], "it is another token")
        case "stripe":
            return _stripe(given, found.body, secrets, now_us)
        case "pyflow":
            return _pyflow(given, found, secrets, now_us)
        case form:
            return f"{form} is no form of signature that is known"


def _stripe(given: str, body: bytes, secrets: Sequence[bytes], now_us: int) -> str:
    parts = [part.strip().partition("=")[::2] for part in given.split(",")[:20]]
    stamps = [text for name, text in parts if name == "t"]
    if len(stamps) != 1:
        return "the signature has no time"
    late = _why_late(stamps[0], now_us)
    if late:
        return late
    signed = stamps[0].encode() + b"." + body
    right = [_hmac(secret, signed) for secret in secrets]
    return _compared([text for name, text in parts if name == "v1"], right, "the signature is not that of the body")


def _pyflow(given: str, found: Delivery, secrets: Sequence[bytes], now_us: int) -> str:
    stamp = found.headers.get("x-pyflow-timestamp", "")
    late = _why_late(stamp, now_us)
    if late:
        return late
    number = found.headers.get(_DELIVERY["pyflow"], "")
    if not _ID.fullmatch(number):
        return "x-pyflow-delivery is no id: letters, digits, _ and -, at most 128"
    right = [sign(secret, found.hook, stamp, number, found.body) for secret in secrets]
    return _compared([given], right, "the signature is not that of hook, time, id and body")


def sign(secret: bytes, hook: str, stamp: str, number: str, body: bytes) -> str:
    """The value of `X-Pyflow-Signature`; `stamp`: seconds since the epoch, `number`: the id of the delivery."""
    return "v1=" + _hmac(secret, f"v1.{hook}.{stamp}.{number}.".encode() + body)


def _why_late(stamp: str, now_us: int) -> str:
    if not _SECONDS.fullmatch(stamp):
        return "the time of the signature is no number of seconds"
    off_s = (now_us - int(stamp) * US) // US
    if abs(off_s) * US > TOLERANCE_US:
        return f"its time is {abs(off_s)} s {'ago' if off_s > 0 else 'ahead'}; at most {TOLERANCE_US // US} are taken"
    return ""


def _hmac(secret: bytes, signed: bytes) -> str:
    return hmac.new(bytes(secret), signed, hashlib.sha256).hexdigest()


def _compared(given: Sequence[str], right: Sequence[str], otherwise: str) -> str:
    """Every pair, so that the time tells nothing of which fitted."""
    fits = [hmac.compare_digest(one.encode(), other.encode()) for one in given for other in right]
    return "" if any(fits) else otherwise


# ---- The event ------------------------------------------------------------------------------------------------------


def id_of(form: str, found: Delivery, body: Any) -> str:
    """The sender's own name for this delivery, which is the same when it is sent again; empty: it has none."""
    name = _DELIVERY.get(form, "")
    number = found.headers.get(name, "") if name else ""
    if form == "stripe" and isinstance(body, dict):
        number = body["id"] if isinstance(body.get("id"), str) else ""
    return key_text(number or found.headers.get("idempotency-key", ""))


def key_text(text: str) -> str:
    """As the ledger keeps it: a long one by its hash."""
    return text if len(text) <= _MAX_ID else "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def hash_of(found: Delivery) -> str:
    """What stands in for an id where a signed delivery has none: the same body again is the same delivery."""
    return "sha256:" + hashlib.sha256(found.body).hexdigest()


def read_body(found: Delivery) -> Any:
    """The body as its content type says: JSON, a form, or text. Raises Refused."""
    sort = found.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        text = found.body.decode()
    except UnicodeDecodeError:
        raise Refused(f"{found.hook}: the body is not UTF-8") from None
    if sort == "application/json" or sort.endswith("+json"):
        if not text.strip():
            return None
        try:
            return params.plain(parse_json(found.body, any_text=True).root)
        except DocumentError as error:
            place = f"line {error.line}, column {error.column}"
            raise Refused(f"{found.hook}: the body is no JSON: {error.message} ({place})") from None
    if sort == "application/x-www-form-urlencoded":
        try:
            return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, strict_parsing=False))
        except ValueError:
            raise Refused(f"{found.hook}: the body is a form of more than {MAX_FIELDS} fields") from None
    return text


def event_of(verify: Verify | None, found: Delivery, body: Any, number: str, received_at: str) -> dict[str, Any]:
    """`event`, without the headers that may hold a secret."""
    hidden = _NOT_SHOWN | ({verify.header} if verify is not None else frozenset())
    return {
        "hook": found.hook,
        "method": found.method,
        "headers": {name: text for name, text in found.headers.items() if name not in hidden},
        "query": found.query,
        "body": body,
        "delivery": number,
        "received_at": received_at,
    }
