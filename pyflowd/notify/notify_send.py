"""One try to send a message to a channel. Runs in the thread pool; imports what is heavy, so it is imported late.

It knows nothing of the spool: what comes of a try is a value, `Sent`.
"""

from __future__ import annotations

import http.client

import msgspec

from pyflowd.base.pool import Cancel
from pyflowd.language.document import one_line
from pyflowd.notify import notify_mail, notify_payload
from pyflowd.notify.notify import Message, Sent
from pyflowd.notify.notify_channels import Channel, Hook, Mail, Shape
from pyflowd.notify.notify_connection import SILENCE_S, Undeliverable, connection, context, secret
from pyflowd.notify.notify_payload import Target, identity
from pyflowd.version import VERSION

ANSWER_MAX_BYTES = 2048
"""Read of an answer: it is looked at only to say why it is none."""
ANSWER_SHOWN = 120


def deliver(channel: Channel, message: Message, ids: tuple[str, ...], cancel: Cancel) -> Sent:
    """Send, or say why not. `ids`: of the messages that this one stands for."""
    try:
        if isinstance(channel, Mail):
            return notify_mail.send(channel, message, ids, cancel)
        return _post(channel, message, ids, cancel)
    except Undeliverable as error:
        return Sent(error=str(error))


def _post(hook: Hook, message: Message, ids: tuple[str, ...], cancel: Cancel) -> Sent:
    target = _target(hook)
    match hook.shape:
        case Shape.SLACK:
            payload = notify_payload.slack(message)
        case Shape.TEAMS:
            payload = notify_payload.teams(message)
        case Shape.WEBHOOK:
            payload = notify_payload.webhook(message, ids)
    body = msgspec.json.encode(payload)
    tls = context(hook.ca_file) if target.tls else None
    with connection(target.host, target.port, tls, cancel) as connected:
        http_connection = http.client.HTTPConnection(target.host, target.port, timeout=SILENCE_S)
        http_connection.sock = connected
        http_connection.putrequest(hook.method, target.path, skip_host=True, skip_accept_encoding=True)
        for name, value in _headers(hook, target, ids, len(body)).items():
            http_connection.putheader(name, value)
        http_connection.endheaders(body)
        answer = http_connection.getresponse()
        if 200 <= answer.status < 300:
            return Sent()
        text = answer.read(ANSWER_MAX_BYTES)
    return Sent(error=_refusal(hook, target, answer.status, text), retry_after_s=_wait_s(answer.headers["Retry-After"]))


def _target(hook: Hook) -> Target:
    url = secret(hook.url_file) if hook.url_file else hook.url
    try:
        return notify_payload.target(url)
    except ValueError as error:
        raise Undeliverable(f"{hook.url_file}: {error}") from None


def _headers(hook: Hook, target: Target, ids: tuple[str, ...], size_bytes: int) -> dict[str, str]:
    ours = {
        "Host": target.authority,
        "User-Agent": f"pyflow/{VERSION}",
        "Content-Type": "application/json; charset=utf-8",
        "Content-Length": str(size_bytes),
        "Idempotency-Key": identity(ids),
        "Connection": "close",
    }
    given = {name.lower() for name in hook.headers}
    return {**{name: value for name, value in ours.items() if name.lower() not in given}, **hook.headers}


def _refusal(hook: Hook, target: Target, status: int, text: bytes) -> str:
    """What the server said, without what it may repeat of the URL or of the headers: they hold secrets."""
    if 300 <= status < 400:
        return f"{target.host} answers {status}: it sends us elsewhere; give the URL that it leads to"
    said = one_line(text.decode("utf-8", "replace"))
    for hidden in sorted((target.path, *hook.headers.values()), key=len, reverse=True):
        if len(hidden) > 1:
            said = said.replace(hidden, "***")
    return f"{target.host} answers {status}" + (f": {said[:ANSWER_SHOWN]}" if said else "")


def _wait_s(written: str | None) -> float | None:
    """Seconds of Retry-After; a date there counts for nothing, the back-off is enough."""
    return float(written) if written and written.isascii() and written.isdecimal() and len(written) < 7 else None
