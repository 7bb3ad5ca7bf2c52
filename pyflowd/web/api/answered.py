"""From replies of the daemon to JSON: what `pyflowctl -o json` prints, by the same code. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import msgspec

from pyflowd.protocol.views import Done, Reply
from pyflowd.protocol.views_runs import RunView
from pyflowd.render.layout import Style
from pyflowd.render.render_json_pages import JsonArray, JsonRun, JsonSecrets, JsonValues
from pyflowd.web.api.resources import Resource, Shape

_WHOLE_RUN = ("cancel", "seen")
"""Commands that print a run, and not only its number."""


def body(resource: Resource, replies: Iterable[Any], style: Style) -> bytes:
    """The JSON of an answer."""
    match resource.shape:
        case Shape.FIGURES:
            return _figures([reply for reply in replies if not isinstance(reply, Done)])
        case Shape.RUN:
            shown: Any = JsonRun(style)
        case Shape.ARRAY:
            shown = JsonArray(style)
        case Shape.SECRETS:
            shown = JsonSecrets(style)
        case _:
            shown = JsonValues(style, whole_run=resource.command in _WHOLE_RUN)
    pieces = [piece for reply in replies for piece in shown.feed(cast(Reply, reply))]
    return b"".join([*pieces, *shown.end()])


def _figures(replies: list[Any]) -> bytes:
    """One object; of several pages one with their lists put together."""
    whole: dict[str, Any] = {}
    for reply in replies:
        for name, value in msgspec.to_builtins(reply).items():
            if name == "type":
                continue
            if isinstance(value, list) and isinstance(whole.get(name), list):
                whole[name] += value
            else:
                whole[name] = value
    return msgspec.json.encode(whole) + b"\n"


def recorded(replies: Iterable[Any]) -> int | None:
    """The run that was recorded; None: none was."""
    return next((reply.run for reply in replies if isinstance(reply, RunView)), None)
