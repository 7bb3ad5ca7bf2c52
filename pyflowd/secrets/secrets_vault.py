"""HashiCorp Vault, or OpenBao: values of a KV engine of version 2, over HTTPS.

The connection ends in time, follows no redirect (the token would go along) and uses no proxy of the environment.
Imported when such a provider is asked. Of what the server answers only the words of its own errors are shown.
"""

from __future__ import annotations

import http.client
from urllib.parse import quote

import msgspec

from pyflowd.base.pool import Cancel
from pyflowd.language.document import one_line
from pyflowd.notify.notify_connection import SILENCE_S, Undeliverable, connection, context
from pyflowd.notify.notify_payload import Target, target
from pyflowd.secrets import secrets_file
from pyflowd.secrets.secrets_file import Unfit
from pyflowd.secrets.secrets_model import Secret, SecretError, Vault, checked, described

_ANSWER_MAX_BYTES = 1 << 20
_TOKEN_MAX_BYTES = 8192
_NO_FIELD = object()


class _Version(msgspec.Struct):
    data: dict[str, object] | None = None


class _Answer(msgspec.Struct):
    """Of a read; a deleted version has no data. Of an error: its words."""

    data: _Version | None = None
    errors: list[str] = []


_decode = msgspec.json.Decoder(_Answer).decode


def fetch(vault: Vault, name: str, cancel: Cancel) -> Secret | None:
    """The value of `name`; None: Vault has none. Raises SecretError."""
    what = described(vault)
    path = "/".join(part for part in (vault.path, name) if part)
    try:
        status, body = _get(vault, f"/v1/{quote(vault.mount)}/data/{quote(path)}", _token(vault), cancel)
    except (Undeliverable, Unfit) as error:
        raise SecretError(name, f"vault: {error}") from None
    try:
        answer = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        answer = _Answer()
    if status == 404:
        return None
    if status != 200:
        raise SecretError(name, f"{what} answers {status}{_why(status, answer, f'{vault.mount}/{path}')}")
    if answer.data is None or answer.data.data is None:
        raise SecretError(name, f"{what} answers otherwise than KV version 2 does; see mount: {vault.mount}")
    value = answer.data.data.get(vault.field, _NO_FIELD)
    if value is _NO_FIELD:
        raise SecretError(name, f"{what}: {path} has no field {vault.field}; see field:")
    if not isinstance(value, str):
        raise SecretError(name, f"{what}: the field {vault.field} of {path} is no text")
    return checked(name, value.encode(), f"the field {vault.field} of {path} in {what}")


def _token(vault: Vault) -> str:
    """Read for each call: tokens are renewed."""
    try:
        text = secrets_file.read(vault.token_file, _TOKEN_MAX_BYTES).decode("ascii", "replace").strip()
    except FileNotFoundError:
        raise Unfit(f"{vault.token_file}: there is no such file; put Vault's token there") from None
    if not text or not text.isprintable() or not text.isascii():
        raise Unfit(f"{vault.token_file}: it holds no token")
    return text


def _get(vault: Vault, path: str, token: str, cancel: Cancel) -> tuple[int, bytes]:
    """Status and body. Raises Undeliverable."""
    to = target(vault.address)
    tls = context(vault.ca_file) if to.tls else None
    with connection(to.host, to.port, tls, cancel) as connected:
        line = http.client.HTTPConnection(to.host, to.port, timeout=SILENCE_S)
        line.sock = connected
        line.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        for name, value in _headers(vault, to, token).items():
            line.putheader(name, value)
        line.endheaders()
        answer = line.getresponse()
        return answer.status, answer.read(_ANSWER_MAX_BYTES)


def _headers(vault: Vault, to: Target, token: str) -> dict[str, str]:
    found = {"Host": to.authority, "X-Vault-Token": token, "X-Vault-Request": "true", "Connection": "close"}
    return {**found, "X-Vault-Namespace": vault.namespace} if vault.namespace else found


def _why(status: int, answer: _Answer, path: str) -> str:
    if 300 <= status < 400:
        return ": it sends us elsewhere; give the address that it leads to"
    if status == 403:
        return f": its token may not read {path}, or is no longer valid"
    return f": {one_line('; '.join(answer.errors))}" if answer.errors else ""
