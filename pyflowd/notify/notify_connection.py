"""The way to a channel's server: a connection that ends in time whatever the other side does, secrets from files, and
what went wrong in one line without any of them. Runs in the thread pool; knows nothing of SMTP, HTTP or messages.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import smtplib
import socket
import ssl
import stat
import threading
from collections.abc import Iterator

from pyflowd.base.pool import Cancel
from pyflowd.language.document import one_line

CONNECT_S = 10.0
"""For each address of the server."""
SILENCE_S = 20.0
"""Longest wait for its next byte."""
TOTAL_S = 60.0
"""Of the whole conversation: a server that drips bytes does not hold a thread."""
SECRET_MAX_BYTES = 8192


class Undeliverable(Exception):
    """It cannot be sent now; the text is one line and tells no secret."""


@contextlib.contextmanager
def connection(host: str, port: int, tls: ssl.SSLContext | None, cancel: Cancel) -> Iterator[socket.socket]:
    """A connected socket, with TLS where a context is given. Whatever fails within is raised as Undeliverable."""
    deadline: _Deadline | None = None
    try:
        with socket.create_connection((host, port), CONNECT_S) as plain:
            deadline = _Deadline(plain, cancel)
            plain.settimeout(SILENCE_S)
            if tls is None:
                yield plain
            else:
                with tls.wrap_socket(plain, server_hostname=host) as wrapped:
                    yield wrapped
    except (OSError, UnicodeError, http.client.HTTPException) as error:  # what smtplib raises is an OSError
        if deadline is not None and deadline.why:
            raise Undeliverable(f"{_name(host, port)}: {deadline.why}") from None
        raise Undeliverable(f"{_name(host, port)}: {_reason(error)}") from error
    finally:
        if deadline is not None:
            deadline.close()


def context(ca_file: str) -> ssl.SSLContext:
    """Checks certificate and name; with `ca_file` by its certificates, else by the system's."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        raise Undeliverable(f"{ca_file}: {error.strerror or 'it holds no certificate'}") from error


class _Deadline:
    """Shuts a connection down, from another thread: on a descriptor of its own, which TLS on the first leaves alone."""

    def __init__(self, connected: socket.socket, cancel: Cancel) -> None:
        self.why = ""
        self._line = connected.dup()
        self._timer = threading.Timer(TOTAL_S, self._end, [f"not done within {TOTAL_S:g} s"])
        self._timer.daemon = True
        self._timer.start()
        self._forget = cancel.on_cancel(lambda: self._end("stopped with the daemon"))

    def _end(self, why: str) -> None:
        self.why = why
        with contextlib.suppress(OSError):  # it has ended already
            self._line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._forget()
        self._timer.cancel()
        self._line.close()


def _name(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {one_line(error.verify_message)}"
        case ssl.SSLError():
            return f"TLS failed: {one_line(error.reason or str(error))}"
        case smtplib.SMTPNotSupportedError():
            return "it offers no STARTTLS, or no AUTH; see tls"
        case smtplib.SMTPResponseException():
            return f"it answers {error.smtp_code} {smtp_text(error.smtp_error)}"
        case smtplib.SMTPException():
            return f"it does not speak SMTP as it should: {one_line(str(error)) or type(error).__name__}"
        case http.client.HTTPException():
            return f"it does not answer as HTTP wants it ({type(error).__name__})"
        case TimeoutError():
            return "no answer in time"
        case socket.gaierror():
            return "its name has no address"
        case UnicodeError():
            return "its name can be no host's"
        case OSError():
            return one_line(error.strerror or str(error)) or type(error).__name__
        case _:
            return type(error).__name__


def smtp_text(answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)
    return one_line(text[:300])


def secret(path: str) -> str:
    """The first line of a file that only its owner, root or us, may write and nobody else may read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise Undeliverable(f"{path}: {error.strerror}") from error
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise Undeliverable(f"{path}: it is no file")
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o027:
            raise Undeliverable(f"{path}: others may read or change it; chmod 600, owned by root or pyflowd's user")
        lines = os.read(handle, SECRET_MAX_BYTES).decode("utf-8", "replace").splitlines()
    finally:
        os.close(handle)
    if not lines or not lines[0].strip() or not lines[0].isascii():
        raise Undeliverable(f"{path}: its first line is empty, or not plain ASCII")
    return lines[0].strip()
