"""Bodies of requests, within bounds: each in size and time, all together in memory."""

from __future__ import annotations

import anyio
from starlette.requests import Request as HttpRequest

from pyflowd.web.guard import Wrong

BODY_S = 30.0
"""To the end of a body."""
ALL_MAX = 64 << 20
"""Bytes of bodies that are not whole yet: before it nothing is known of who sends them."""


class TooMuch(Exception):
    """A body that is not read any further."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.wrong = Wrong(status, message)


class Bodies:
    """Those that are under way."""

    def __init__(self, all_max: int = ALL_MAX, body_s: float = BODY_S) -> None:
        self._all_max = all_max
        self._body_s = body_s
        self._held = 0

    async def read(self, http: HttpRequest, most: int) -> bytes:
        """All of it. Raises TooMuch; ClientDisconnect where it breaks off."""
        told = http.headers.get("content-length", "")
        if told.isascii() and told.isdigit() and int(told[:20]) > most:
            raise TooMuch(413, f"{told[:20]} bytes; at most {most} are taken")
        found = bytearray()
        try:
            with anyio.fail_after(self._body_s):
                async for piece in http.stream():
                    found += piece
                    self._held += len(piece)
                    if len(found) > most:
                        raise TooMuch(413, f"at most {most} bytes are taken")
                    if self._held > self._all_max:
                        raise TooMuch(503, "too much is being sent at once; try again in a moment")
        except TimeoutError:
            raise TooMuch(408, f"the body has not come within {self._body_s:g} s") from None
        finally:
            self._held -= len(found)
        return bytes(found)
