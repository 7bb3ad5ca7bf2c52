"""`http` in a definition: what a request may be made of, read and judged as far as it can be without its answer."""

from __future__ import annotations

from typing import Any

from pyflowd.http import http_checks, http_urls
from pyflowd.language import fields
from pyflowd.language.definition_http_parts import (
    check_headers,
    filled,
    mapped,
    read_auth,
    read_expect,
    read_networks,
    read_paginate,
    read_tls,
)
from pyflowd.language.document import Mapping, Sequence, one_line, quote
from pyflowd.language.fields import Report, Table, Wrong, read
from pyflowd.model.kinds import FilePart, FormBody, Http, HttpBody, JsonBody, MultipartBody, TextBody

MAX_MEMORY_BYTES = 64 * 1024 * 1024
"""Of a body that is read for its pages: fifty of them may be in memory at once."""
_BODIES = ("json", "form", "files", "body")

# ---- Texts ----------------------------------------------------------------------------------------------------------


def _read_url(value: Any, report: Report) -> str:
    checked = filled(value, report).strip()
    if "${{" not in checked:
        try:
            http_urls.check(checked)
        except ValueError as error:
            raise Wrong(one_line(str(error))) from None
    elif "://" in checked.partition("${{")[0] and not checked.lower().startswith(("http://", "https://")):
        raise Wrong(f"{quote(checked)} is no URL", "begin it with https:// or http://")
    return checked


def _read_method(value: Any, report: Report) -> str:
    checked = fields.text(value, report)
    try:
        return http_checks.method(checked)
    except ValueError as error:
        known = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
        guess = fields.suggest(checked, known) or fields.suggest(checked.upper(), known)
        raise Wrong(f"{error}{guess}") from None


def _read_proxy(value: Any, report: Report) -> str:
    checked = filled(value, report)
    if "${{" not in checked:
        try:
            http_checks.proxy(checked)
        except ValueError as error:
            raise Wrong(str(error)) from None
    return checked


def _scalar(value: Any, report: Report) -> Any:
    """Text with expressions, a number, a boolean."""
    if isinstance(value, (Mapping, Sequence)) or value is None:
        raise Wrong(f"expected text, found {fields.shape(value)}")
    return fields.template_tree(value, report)


# ---- Maps whose keys are the user's ---------------------------------------------------------------------------------


def _read_headers(value: Any, report: Report) -> dict[str, Any]:
    check_headers(fields.mapping(value, report), report)
    return mapped(value, report, _scalar)


def _read_values(value: Any, report: Report) -> dict[str, Any]:
    """Of `query` and `form`: text, a number, a boolean, a list of such, or an expression that gives one."""

    def one(each: Any, report: Report) -> Any:
        if each.__class__ is Sequence:
            return [_scalar(item, report) for item in each]
        return None if each is None else _scalar(each, report)

    return mapped(value, report, one)


# ---- Bodies ---------------------------------------------------------------------------------------------------------

UPLOAD = Table(
    "a file of a form",
    {"path": ("path", filled), "filename": ("filename", filled), "content_type": ("content_type", filled)},
    meant={"name": "filename", "type": "content_type", "file": "path"},
)


def _read_upload(value: Any, report: Report) -> dict[str, Any]:
    if value.__class__ is str:
        return {"path": filled(value, report)}
    mapping = fields.mapping(value, report)
    if "path" not in mapping:
        raise Wrong("there is no path", "name a file below the run's scratch folder")
    return read(UPLOAD, mapping, report)


def _read_files(value: Any, report: Report) -> tuple[FilePart, ...]:
    found = mapped(value, report, _read_upload)
    if not found and not fields.mapping(value, report):
        raise Wrong("there is no file", "write it as in {report: out/report.csv}")
    return tuple(FilePart(name=name, **part) for name, part in found.items() if "path" in part)


def _body(request: dict[str, Any]) -> HttpBody | None:
    """Of those that were read."""
    if "files" in request:
        return MultipartBody(files=request["files"], values=request.get("form", {}))
    if "json" in request:
        return JsonBody(value=request["json"])
    if "form" in request:
        return FormBody(values=request["form"])
    return TextBody(text=request["body"]) if "body" in request else None


# ---- The whole ------------------------------------------------------------------------------------------------------

HTTP = Table(
    "http",
    {
        "method": ("method", _read_method),
        "url": ("url", _read_url),
        "headers": ("headers", fields.with_secrets(_read_headers)),
        "query": ("query", _read_values),
        "json": ("json", fields.with_secrets(fields.template_tree)),
        "form": ("form", fields.with_secrets(_read_values)),
        "files": ("files", _read_files),
        "body": ("body", fields.with_secrets(fields.template)),
        "auth": ("auth", fields.with_secrets(read_auth)),
        "tls": ("tls", read_tls),
        "expect": ("expect", read_expect),
        "paginate": ("paginate", read_paginate),
        "save_to": ("save_to", filled),
        "max_bytes": ("max_bytes", fields.file_size_bytes),
        "redirects": ("redirects", fields.integer_from(0, 20)),
        "idempotency_key": ("idempotency_key", filled),
        "allow_addresses": ("allow_addresses", read_networks),
        "proxy": ("proxy", _read_proxy),
        "connect_timeout": ("connect_timeout_s", fields.positive_duration_s),
        "read_timeout": ("read_timeout_s", fields.positive_duration_s),
    },
    meant={
        "uri": "url", "address": "url", "verb": "method", "params": "query", "data": "body", "payload": "json",
        "verify": "tls", "cert": "tls", "token": "auth", "output": "save_to", "download": "save_to",
        "follow_redirects": "redirects", "max_redirects": "redirects", "max_size": "max_bytes", "header": "headers",
        "pagination": "paginate", "expected": "expect", "retries": "retry (beside http)",
    },
)  # fmt: skip


def read_http(value: Any, report: Report) -> dict[str, Any]:
    """The fields of a request. A text is short for GET of that URL."""
    if value.__class__ is str:
        return {"url": _read_url(value, report)}
    mapping = fields.mapping(value, report)
    if "url" not in mapping:
        raise Wrong("there is no url", "write it as in {url: https://example.com/health}")
    if "timeout" in mapping:
        raise Wrong("timeout: the time of an attempt is a key of the task", "write it beside http, not in it")
    found = read(HTTP, mapping, report)
    _judge(mapping, found, report)
    return found


def build_http(value: dict[str, Any], task: dict[str, Any]) -> Http:
    """What could not be read is in the report, and left out here."""
    body = _body(value)
    others = {key: each for key, each in value.items() if key not in _BODIES and each is not None}
    return Http(**{"url": "", **others}, body=body)


def _judge(mapping: Mapping, found: dict[str, Any], report: Report) -> None:
    """What is wrong, or without effect, about keys together."""
    bodies = [key for key in _BODIES if key in mapping]
    if len(bodies) > 1 and set(bodies) != {"form", "files"}:
        message = f"both {bodies[0]} and {bodies[1]}: a request has one body"
        report.add(mapping.key_mark(bodies[1]), "value", message, "keep one; form may stand beside files")
    method = found.get("method", "GET")
    if bodies and method in ("GET", "HEAD"):
        message = f"{method} with a body: most servers ignore it, some refuse it"
        report.add(mapping.key_mark(bodies[0]), "no_effect", message, "write method: POST, or use query", warning=True)
    if "save_to" in mapping and "paginate" in mapping:
        message = "both save_to and paginate: pages become the output items, not a file"
        report.add(mapping.key_mark("save_to"), "value", message, "keep one of them")
    expect = found.get("expect")
    if "save_to" in mapping and expect is not None and (expect.body is not None or expect.json):
        message = "expect looks into the body, which save_to puts into a file"
        report.add(mapping.value_mark("expect"), "value", message, "test the file in another task")
    largest = found.get("max_bytes", 0)
    if "save_to" not in mapping and largest > MAX_MEMORY_BYTES:
        report.add(mapping.value_mark("max_bytes"), "value", "at most 64 MiB are kept in memory", "add save_to")
    if "auth" in found and any(name.lower() == "authorization" for name in found.get("headers", ())):
        message = "both auth and the header Authorization"
        report.add(mapping.key_mark("auth"), "value", message, "keep one of them")
