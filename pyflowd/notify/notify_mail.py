"""A message as mail: its MIME form, and the conversation with an SMTP server. Runs in the thread pool.

The Message-ID is the same at every try, so receivers can drop what they have. Some may be refused while others are
served: then those are named who are still to be told.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from pyflowd.base.pool import Cancel
from pyflowd.clock import from_us
from pyflowd.notify.notify import Message, Sent
from pyflowd.notify.notify_channels import Mail, Tls
from pyflowd.notify.notify_connection import SILENCE_S, Undeliverable, connection, context, secret, smtp_text
from pyflowd.notify.notify_payload import identity

_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", re.ASCII)
REFUSED_SHOWN = 3


def mime(mail: Mail, message: Message, ids: tuple[str, ...]) -> bytes:
    """The mail as it travels."""
    made = EmailMessage()
    made["From"] = _sender(mail, message)
    made["To"] = ", ".join(mail.to)
    made["Subject"] = message.subject
    made["Date"] = format_datetime(from_us(message.at_us))
    made["Message-ID"] = f"<{identity(ids)}@{_domain(message.host)}>"
    made["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note is to answer it
    if message.workflow:
        made["X-PyFlow-Workflow"] = message.workflow
    if message.run is not None:
        made["X-PyFlow-Run"] = str(message.run)
    made.set_content(message.text + "\n", cte="quoted-printable")  # passes servers that take seven bits or short lines
    return made.as_bytes(policy=SMTP)


def _sender(mail: Mail, message: Message) -> str:
    return mail.sender or f"pyflow@{_domain(message.host)}"


def _domain(host: str) -> str:
    return host if _DOMAIN.fullmatch(host) and ".." not in host else "localhost"


def send(mail: Mail, message: Message, ids: tuple[str, ...], cancel: Cancel) -> Sent:
    """One try. Raises Undeliverable where nobody was told."""
    body = mime(mail, message, ids)
    password = secret(mail.password_file) if mail.password_file else mail.password
    tls = None if mail.tls is Tls.NONE else context(mail.ca_file)
    direct = tls if mail.tls is Tls.TLS else None
    with connection(mail.host, mail.port, direct, cancel) as connected:
        smtp = _Smtp(connected, mail, _domain(message.host))
        with contextlib.closing(smtp):  # STARTTLS makes another socket of the one that is connected
            if mail.tls is Tls.STARTTLS:
                smtp.starttls(context=tls)
            if mail.user:
                smtp.login(mail.user, password)
            sent = _hand_over(smtp, mail, message, body)
            with contextlib.suppress(OSError, smtplib.SMTPException):  # the server has it: nothing changes that now
                smtp.quit()
            return sent


class _Smtp(smtplib.SMTP):
    """Speaks over a connection that was made before, so that its deadline holds for every word."""

    def __init__(self, connected: socket.socket, mail: Mail, own_name: str) -> None:
        self._connected = connected
        super().__init__(mail.host, mail.port, local_hostname=own_name, timeout=SILENCE_S)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return self._connected


def _hand_over(smtp: smtplib.SMTP, mail: Mail, message: Message, body: bytes) -> Sent:
    receivers = [address for address in mail.to if not message.only_to or address in message.only_to] or list(mail.to)
    try:
        refused = smtp.sendmail(_sender(mail, message), receivers, body)
    except smtplib.SMTPRecipientsRefused as error:
        raise Undeliverable(f"{mail.host}:{mail.port}: it refuses {_refusals(error.recipients)}") from error
    if refused:
        return Sent(error=f"{mail.host}:{mail.port}: it refuses {_refusals(refused)}", left=tuple(refused))
    return Sent()


def _refusals(refused: dict[str, tuple[int, bytes]]) -> str:
    told = [f"{address}: {code} {smtp_text(text)}" for address, (code, text) in refused.items()]
    more = f", and {len(told) - REFUSED_SHOWN} more" if len(told) > REFUSED_SHOWN else ""
    return ", ".join(told[:REFUSED_SHOWN]) + more
