"""The routes of the JSON API, made from its table."""

from __future__ import annotations

import os
from functools import cache, partial

import msgspec
from starlette.responses import Response

from pyflowd.errors import UsageError
from pyflowd.protocol.requests import OPERATIONS
from pyflowd.protocol.words import Level
from pyflowd.render.layout import Style
from pyflowd.web import numbers
from pyflowd.web.api import answered, asked, openapi
from pyflowd.web.api.resources import RESOURCES, Resource, Shape
from pyflowd.web.call import Call
from pyflowd.web.endpoints.sending import ranged
from pyflowd.web.logs import opened
from pyflowd.web.routes import Kind, Route

BASE = "/api/v1"
BODY_MAX = 900_000
"""What fits one frame of the protocol."""


def answer(resource: Resource, call: Call) -> Response:
    if resource.method == "GET":
        request = asked.of_query(resource, call.path, call.http.query_params.multi_items())
    else:
        if call.http.query_params:
            raise UsageError("fields of an action stand in the body, as JSON")
        request = asked.of_body(resource, call.path, call.body, call.http.headers.get("idempotency-key"))
    if resource.shape is Shape.LOG:
        return _log(call, request.of, request.task, request.attempt)
    replies = call.ask(request)
    style = Style(timezone=call.times.zone.key, now_us=call.times.now_us)
    found = answered.recorded(replies) if resource.status == 201 else None
    headers = {} if found is None else {"Location": f"{BASE}/runs/{found}"}
    status = resource.status if found is not None or resource.status != 201 else 200
    return Response(answered.body(resource, replies, style), status, headers, media_type="application/json")


def _log(call: Call, of: str, task: str, attempt: int | None) -> Response:
    """Verbatim: whoever shows it takes care of what a terminal or a browser would make of it."""
    with opened.opened(call, numbers.asked(of, "the run"), task, attempt) as log:
        size, fd = os.fstat(log.fd).st_size, os.dup(log.fd)
        name = f"{log.run}-{log.task}-{log.attempt}.log"
    return ranged(call, fd, 0, size, media_type="application/octet-stream", disposition="attachment", name=name)


@cache
def _document() -> bytes:
    return msgspec.json.encode(openapi.document(BASE)) + b"\n"


def document(_: Call) -> Response:
    return Response(_document(), media_type="application/json")


ROUTES = [
    Route(f"{BASE}/openapi.json", document, Kind.API, Level.NONE),
    *(
        Route(
            f"{BASE}{each.path}", partial(answer, each), Kind.API,
            max(Level.READ, OPERATIONS[each.request].level), each.method, BODY_MAX,
        )
        for each in RESOURCES
    ),
]  # fmt: skip
