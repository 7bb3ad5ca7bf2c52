"""The parts of `http` in a definition that are mappings of their own: auth, TLS, what is expected, pages.

Beside them what they share with the whole: maps whose keys are the user's, names of headers.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from pyflowd.expressions import pattern
from pyflowd.http import http_checks
from pyflowd.language import fields
from pyflowd.language.document import Mapping, one_line, quote
from pyflowd.language.fields import Report, Table, Wrong, read
from pyflowd.model.kinds import BasicAuth, BearerAuth, Expect, Paginate, TextTest, Tls

_OF_ANSWER = frozenset({"body", "status", "headers", "links"})
"""Names of the answer, in `expect.json` and `paginate`."""
_STATUS = re.compile(r"([1-5])xx|([1-5][0-9]{2})(?:\s*-\s*([1-5][0-9]{2}))?", re.ASCII)

# ---- Shared ---------------------------------------------------------------------------------------------------------


def filled(value: Any, report: Report) -> str:
    checked = fields.template(value, report)
    if not checked.strip():
        raise Wrong("the text is empty")
    return checked


def mapped(value: Any, report: Report, reader: fields.Reader) -> dict[str, Any]:
    """Each value read by `reader`, and what is wrong told of its key."""
    mapping = fields.mapping(value, report)
    found: dict[str, Any] = {}
    for key, each in mapping.items():
        try:
            found[key] = reader(each, report)
        except Wrong as wrong:
            report.wrong(mapping.value_mark(key), quote(key)[1:-1], wrong)
        report.place_uses(quote(key)[1:-1], mapping.value_mark(key))
    return found


def check_headers(mapping: Mapping, report: Report) -> None:
    seen: set[str] = set()
    for name in mapping:
        try:
            http_checks.header(name)
            if name.lower() in seen:
                raise ValueError("this header is given twice; upper and lower case are the same")
        except ValueError as error:
            report.add(mapping.key_mark(name), "name", f"{quote(name)}: {error}")
        seen.add(name.lower())


def _read_file(value: Any, report: Report) -> str:
    """An absolute path, read by the daemon's user."""
    checked = fields.path(value, report)
    if not checked.startswith("/"):
        raise Wrong("the daemon's user reads it", "begin it with /")
    return checked


def _read_version(value: Any, report: Report) -> str:
    if value.__class__ not in (str, float) or str(value) not in ("1.2", "1.3"):
        raise Wrong(f'expected "1.2" or "1.3", found {fields.shape(value)}')
    return str(value)


# ---- Auth, TLS ------------------------------------------------------------------------------------------------------

BASIC = Table("basic", {"user": ("user", fields.template), "password": ("password", fields.template)},
               meant={"username": "user", "login": "user", "pass": "password"})  # fmt: skip


def _read_basic(value: Any, report: Report) -> BasicAuth | None:
    found = read(BASIC, fields.mapping(value, report), report)
    missing = [key for key in ("user", "password") if key not in fields.mapping(value, report)]
    if missing:
        raise Wrong(f"there is no {missing[0]}", "write it as in {user: backup, password: ...}")
    return BasicAuth(**found) if len(found) == 2 else None


AUTH = Table(
    "auth",
    {
        "basic": ("basic", _read_basic),
        "bearer": ("bearer", lambda value, report: BearerAuth(token=filled(value, report))),
    },
    meant={"token": "bearer", "user": "basic", "username": "basic", "password": "basic"},
)


def read_auth(value: Any, report: Report) -> BasicAuth | BearerAuth | None:
    mapping = fields.mapping(value, report)
    found = read(AUTH, mapping, report)
    if len(mapping) != 1:
        raise Wrong("expected one of basic, bearer", "write it as in {bearer: ...}")
    return next(iter(found.values()), None)


TLS = Table(
    "tls",
    {
        "verify": ("verify", fields.boolean),
        "ca_file": ("ca_file", _read_file),
        "cert_file": ("cert_file", _read_file),
        "key_file": ("key_file", _read_file),
        "min_version": ("min_version", _read_version),
    },
    meant={"ca": "ca_file", "cacert": "ca_file", "cert": "cert_file", "key": "key_file", "insecure": "verify"},
)


def read_tls(value: Any, report: Report) -> Tls:
    mapping = fields.mapping(value, report)
    found = Tls(**read(TLS, mapping, report))
    if found.key_file and not found.cert_file:
        raise Wrong("key_file without cert_file", "name the client's certificate, too")
    if not found.verify:
        message = "the server's certificate is not checked: whoever stands between reads and changes all of it"
        report.add(mapping.value_mark("verify"), "security", message, "name the authority under ca_file", warning=True)
    return found


# ---- What is expected -----------------------------------------------------------------------------------------------


def _read_status(value: Any, report: Report) -> tuple[int, int]:
    """`200`, `2xx`, `200-204`."""
    match = _STATUS.fullmatch(str(value).strip()) if value.__class__ in (int, str) else None
    if match is None:
        raise Wrong(f"expected a status, found {fields.shape(value)}", "write it as in 200, 2xx or 200-204")
    if match[1]:
        return int(match[1]) * 100, int(match[1]) * 100 + 99
    low, high = int(match[2]), int(match[3] or match[2])
    if high < low:
        raise Wrong(f"{quote(str(value))} runs backwards")
    return low, high


def _read_pattern(value: Any, report: Report) -> str:
    """No template: a value pasted into a pattern would be read as one."""
    checked = fields.text(value, report)
    try:
        pattern.check(checked)
    except ValueError as error:
        raise Wrong(one_line(str(error))) from None
    return checked


TEST = Table(
    "a test of a text",
    {
        "equals": ("equals", fields.template),
        "contains": ("contains", fields.template),
        "matches": ("matches", _read_pattern),
    },
    meant={"equal": "equals", "is": "equals", "includes": "contains", "regex": "matches", "pattern": "matches"},
)


def _read_test(value: Any, report: Report, short: str) -> TextTest:
    """A text is short for the test named `short`."""
    if value.__class__ is not Mapping:
        return TextTest(**{short: filled(value, report)})
    if not value:
        raise Wrong("nothing is tested", "write it as in {contains: ok}")
    return TextTest(**read(TEST, value, report))


def _read_header_tests(value: Any, report: Report) -> dict[str, TextTest]:
    check_headers(fields.mapping(value, report), report)
    return {name.lower(): test for name, test in mapped(value, report, partial(_read_test, short="equals")).items()}


def _of_answer(value: Any, report: Report) -> str:
    return fields.expression_text(value, report, _OF_ANSWER)


_read_statuses = fields.one_or_more(_read_status)
EXPECT = Table(
    "expect",
    {
        "status": ("status", _read_statuses),
        "headers": ("headers", _read_header_tests),
        "body": ("body", partial(_read_test, short="contains")),
        "json": ("json", lambda value, report: fields.condition(value, report, _OF_ANSWER)),
    },
    meant={"code": "status", "status_code": "status", "header": "headers", "text": "body", "condition": "json"},
)


def read_expect(value: Any, report: Report) -> Expect:
    found = read(EXPECT, fields.mapping(value, report), report)
    if found.get("status") == ():
        raise Wrong("status: the list is empty", "leave it out for 2xx")
    return Expect(**found)


def _read_next(value: Any, report: Report) -> str:
    """An expression, or a URL with expressions in it."""
    if value.__class__ is str and "${{" in value:
        return fields.template(value, report, _OF_ANSWER)
    return _of_answer(value, report)


PAGINATE = Table(
    "paginate",
    {
        "next": ("next", _read_next),
        "items": ("items", _of_answer),
        "max_pages": ("max_pages", fields.integer_from(1, 10_000)),
    },
    meant={"limit": "max_pages", "pages": "max_pages", "results": "items", "data": "items", "url": "next"},
)


def read_paginate(value: Any, report: Report) -> Paginate | None:
    mapping = fields.mapping(value, report)
    for key in ("next", "items"):
        if key not in mapping:
            raise Wrong(f"there is no {key}", "write it as in {next: body.next, items: body.items}")
    found = read(PAGINATE, mapping, report)
    return Paginate(**found) if {"next", "items"} <= set(found) else None


def read_networks(value: Any, report: Report) -> tuple[str, ...]:
    def one(each: Any, report: Report) -> str:
        checked = fields.text(each, report)
        try:
            return str(http_checks.network(checked))
        except ValueError:
            raise Wrong(f"{quote(checked)} is no network", "write it as in 169.254.0.0/16 or fe80::1") from None

    found: tuple[str, ...] = fields.one_or_more(one)(value, report)
    return found
