"""A task of kind `http` made concrete for one attempt: expressions rendered, all checked that can be before sending.

It sends nothing and opens nothing. What needs the answer (`expect.json`, `paginate`) stays expression text, beside
the names it is over.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct

from pyflowd.base.output_file import MAX_BYTES as MAX_OUTPUTS_BYTES
from pyflowd.expressions import template
from pyflowd.expressions.expression_values import Names
from pyflowd.http import http_checks, http_files, http_urls
from pyflowd.model.kinds import (
    BasicAuth,
    BearerAuth,
    Expect,
    FilePart,
    FormBody,
    Http,
    HttpBody,
    JsonBody,
    MultipartBody,
    Paginate,
    TextBody,
    TextTest,
    Tls,
)
from pyflowd.version import VERSION

DEFAULT_TIMEOUT_S = 600.0
"""Of an attempt whose task has no `timeout`: nothing waits for ever."""
MAX_FILE_BYTES = 1024**3


class Content(Struct, frozen=True, kw_only=True):
    """A body in memory."""

    data: bytes
    content_type: str


class Upload(Struct, frozen=True, kw_only=True):
    """A file of a multipart body; `path` is checked, and below the scratch folder."""

    name: str
    path: tuple[str, ...]
    filename: str
    content_type: str


class Multipart(Struct, frozen=True, kw_only=True):
    """A body that is read from files while it is sent."""

    values: tuple[tuple[str, str], ...]
    uploads: tuple[Upload, ...]


class HttpRequest(Struct, frozen=True, kw_only=True):
    """All that `http_call.perform` needs. It may hold secrets: it is never shown, stored or logged."""

    url: str
    method: str
    headers: dict[str, str]
    query: tuple[tuple[str, str], ...]
    body: Content | Multipart | None
    expect: Expect
    """Rendered, but for `json`."""
    paginate: Paginate | None
    names: Names
    scratch: str
    save_to: tuple[str, ...]
    """Below `scratch`; empty: into memory."""
    max_bytes: int
    redirects: int
    tls: Tls
    allow_addresses: tuple[str, ...]
    proxy: str
    connect_timeout_s: float
    read_timeout_s: float
    timeout_s: float
    safe_to_repeat: bool


def build(
    kind: Http,
    names: Names,
    *,
    identity: str,
    scratch: str,
    timeout_s: float | None = None,
    opened: Names | None = None,
) -> HttpRequest:
    """The request of one attempt.

    `opened` are the names where secrets may stand: in headers, `auth` and the body (rule P6); None: none may.
    `identity` is the same for all attempts of a task (or item) and for no other; `scratch` is the run's folder.
    Raises ValueError (ExpressionError is one) with one line.
    """
    headers = _headers(kind, opened or names, identity)
    body = _body(kind.body, opened or names, scratch) if kind.body is not None else None
    if isinstance(body, Content) and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = body.content_type
    largest = MAX_FILE_BYTES if kind.save_to else MAX_OUTPUTS_BYTES  # what is no file becomes an output
    return HttpRequest(
        url=http_urls.check(_text(kind.url, names).strip()),
        method=http_checks.method(kind.method),
        headers=headers,
        query=_pairs(kind.query, names),
        body=body,
        expect=_expect(kind.expect, names),
        paginate=kind.paginate,
        names=names,
        scratch=scratch,
        save_to=http_files.below(scratch, _text(kind.save_to, names)) if kind.save_to else (),
        max_bytes=largest if kind.max_bytes is None else kind.max_bytes,
        redirects=kind.redirects,
        tls=kind.tls,
        allow_addresses=kind.allow_addresses,
        proxy=http_checks.proxy(_text(kind.proxy, names)) if kind.proxy else "",
        connect_timeout_s=kind.connect_timeout_s,
        read_timeout_s=kind.read_timeout_s,
        timeout_s=DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s,
        safe_to_repeat=kind.safe_to_repeat,
    )


def _text(text: str, names: Names) -> str:
    return template.render_text(text, names)


def _headers(kind: Http, names: Names, identity: str) -> dict[str, str]:
    """Those of the task, then those that its other keys stand for."""
    headers: dict[str, str] = {}
    for name, value in kind.headers.items():
        rendered = template.render_tree(value, names)
        if rendered is not None:
            headers[http_checks.header(name)] = _header_value(name, template.text_of(rendered))
    taken = {name.lower() for name in headers}
    if kind.auth is not None:
        if "authorization" in taken:
            raise ValueError("both auth and the header Authorization: keep one of them")
        headers["Authorization"] = _authorization(kind.auth, names)
    if kind.idempotency_key and "idempotency-key" not in taken:
        headers["Idempotency-Key"] = _idempotency_key(kind.idempotency_key, names, identity)
    ours = {"User-Agent": f"pyflow/{VERSION}", "Accept": "*/*"}
    return headers | {name: value for name, value in ours.items() if name.lower() not in taken}


def _header_value(name: str, value: str) -> str:
    stripped = value.strip()
    if not stripped.isprintable() and any(character < " " and character != "\t" for character in stripped):
        raise ValueError(f"the value of the header {name} holds a line break or another control character")
    return stripped


def _authorization(auth: BasicAuth | BearerAuth, names: Names) -> str:
    if isinstance(auth, BearerAuth):
        return _header_value("Authorization", f"Bearer {_text(auth.token, names)}")
    user, password = _text(auth.user, names), _text(auth.password, names)
    if ":" in user:
        raise ValueError("the user of auth.basic holds a colon: the server would read the rest as the password")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _idempotency_key(text: str, names: Names, identity: str) -> str:
    if text == "auto":
        return "pyflow-" + hashlib.sha256(identity.encode()).hexdigest()[:32]
    key = _header_value("Idempotency-Key", _text(text, names))
    if not key:
        raise ValueError("idempotency_key is empty: the server could not tell a repeated request")
    return key


# ---- Bodies ---------------------------------------------------------------------------------------------------------


def _body(body: HttpBody, names: Names, scratch: str) -> Content | Multipart:
    match body:
        case JsonBody():
            value = template.render_tree(body.value, names)
            data = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
            return Content(data=data, content_type="application/json")
        case FormBody():
            pairs = urlencode(_pairs(body.values, names))
            return Content(data=pairs.encode(), content_type="application/x-www-form-urlencoded")
        case TextBody():
            return Content(data=_text(body.text, names).encode(), content_type="text/plain; charset=utf-8")
        case MultipartBody():
            uploads = tuple(_upload(part, names, scratch) for part in body.files)
            return Multipart(values=_pairs(body.values, names), uploads=uploads)


def _upload(part: FilePart, names: Names, scratch: str) -> Upload:
    path = http_files.below(scratch, _text(part.path, names))
    filename = _text(part.filename, names) or path[-1]
    content_type = _header_value("Content-Type", _text(part.content_type, names))
    return Upload(name=part.name, path=path, filename=filename, content_type=content_type)


def _pairs(values: dict[str, Any], names: Names) -> tuple[tuple[str, str], ...]:
    """A list gives a name several times; null leaves it out."""
    found = []
    for name, value in values.items():
        rendered = template.render_tree(value, names)
        several = rendered if isinstance(rendered, list) else [rendered]
        found += [(name, template.text_of(each)) for each in several if each is not None]
    return tuple(found)


# ---- Expectations ---------------------------------------------------------------------------------------------------


def _expect(expect: Expect, names: Names) -> Expect:
    return Expect(
        status=expect.status,
        headers={name: _text_test(test, names) for name, test in expect.headers.items()},
        body=_text_test(expect.body, names) if expect.body is not None else None,
        json=expect.json,
    )


def _text_test(test: TextTest, names: Names) -> TextTest:
    """`matches` is no template: a value pasted into a pattern would be read as one."""
    return TextTest(
        equals=None if test.equals is None else _text(test.equals, names),
        contains=None if test.contains is None else _text(test.contains, names),
        matches=test.matches,
    )
