"""What a route is: where, who answers, how it is spoken to, what it needs. `table` has all of them.

What whoever asks may do is judged by the daemon again, by the token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import NamedTuple

from starlette.responses import Response

from pyflowd.protocol.words import Level
from pyflowd.web.call import Call

FORM_MAX = 2 << 20
"""Bytes of a form: a definition of the editor is the longest."""


class Kind(Enum):
    """How a route is spoken to, and so how it is guarded (`guard`) and how it tells errors (`app`)."""

    PAGE = "page"
    """HTML for a browser with a session; without one it is asked to log in."""
    FRAGMENT = "fragment"
    """A piece of a page for a module, or data for it; without a session 401."""
    ACTION = "action"
    """A form that changes something: POST with the session's CSRF word, answered with 303."""
    LIVE = "live"
    """Server-sent events."""
    API = "api"
    """JSON for programs, by a bearer token."""
    HOOK = "hook"
    """A delivery, proven by its own signature."""
    OPEN = "open"
    """For everyone: log in, health, static files."""


class Route(NamedTuple):
    path: str
    """As Starlette has it: `/workflows/{name}`."""
    endpoint: Callable[[Call], Response] | Callable[[Call], Awaitable[Response]]
    """In a thread of the pool; a coroutine in the loop."""
    kind: Kind
    level: Level
    """Without this level on the host, or on a workflow, there is nothing to be had."""
    method: str = "GET"
    body_max: int = FORM_MAX
    before: Callable[[Call], Response | None] | None = None
    """Asked before the body is read; what it answers ends the request."""
    lane: str = ""
    """What takes long, and whoever looks may ask for: all routes of a lane have a few threads of their own, so that
    they leave room for other pages."""
