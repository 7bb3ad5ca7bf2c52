"""Bytes of an open file as an answer: verbatim, a range of them where asked for, never shown as anything else."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from functools import partial
from urllib.parse import quote

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from pyflowd.web.call import Call

PIECE_BYTES = 1 << 18
SANDBOX = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""What a task wrote is no page of ours, whatever it looks like."""
_RANGE = re.compile(r"^bytes=(\d{0,18})-(\d{0,18})$", re.ASCII)


class Unsatisfiable(Exception):
    pass


class Streamed(StreamingResponse):
    """An answer in pieces that holds something until its end: `close` is called once, also where whoever asked has
    gone before the first piece was made, which a generator does not notice.
    """

    def __init__(
        self, pieces: Iterable[bytes] | AsyncIterable[bytes], close: Callable[[], None], status: int = 200,
        headers: Mapping[str, str] | None = None, *, media_type: str,
    ) -> None:  # fmt: skip
        super().__init__(pieces, status, headers, media_type)
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()


def asked_range(header: str, size: int) -> tuple[int, int] | None:
    """Begin and end of one range; None: all, as for several ranges or words that are none. Raises Unsatisfiable."""
    found = _RANGE.match(header.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        begin, end = max(0, size - int(found[2])), size
    else:
        begin, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < begin:
            return None
    if begin >= end:
        raise Unsatisfiable
    return begin, end


def ranged(
    call: Call, fd: int, begin: int, end: int, *, media_type: str, disposition: str, name: str
) -> Response:  # fmt: skip
    """The bytes from `begin` up to `end` of a file, which is closed at the end."""
    size = max(0, end - begin)
    headers = {
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": SANDBOX, "Accept-Ranges": "bytes",
    }  # fmt: skip
    try:
        part = asked_range(call.http.headers.get("range", ""), size)
    except Unsatisfiable:
        os.close(fd)
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    status = 200
    if part is not None:
        headers["Content-Range"] = f"bytes {part[0]}-{part[1] - 1}/{size}"
        begin, end, status = begin + part[0], begin + part[1], 206
    headers["Content-Length"] = str(max(0, end - begin))
    return Streamed(_pieces(fd, begin, end), partial(os.close, fd), status, headers, media_type=media_type)


def _pieces(fd: int, begin: int, end: int) -> Iterator[bytes]:
    while begin < end:
        piece = os.pread(fd, min(PIECE_BYTES, end - begin), begin)
        if not piece:
            raise ConnectionAbortedError("the file was cut while it was sent")
        begin += len(piece)
        yield piece
