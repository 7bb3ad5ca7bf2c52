"""The spool of messages as text. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pyflowd.protocol.views_host import NotificationView
from pyflowd.render.layout import Cell, Style, clean, glyph, moment
from pyflowd.render.render_runs import glyph_text, hint

_LOOKS = {"sent": "succeeded", "given_up": "failed", "dropped": "failed"}
"""State of a message to the state of a run that looks like it."""


def notification_header() -> list[Cell]:
    return [
        Cell(" "),
        Cell("ID", right=True),
        *map(Cell, ("CHANNEL", "STATE", "WHEN", "SUBJECT", "LAST ERROR")),
    ]


def notification_rows(views: Sequence[NotificationView], style: Style) -> list[list[Cell]]:
    """Glyph, number, channel, state, when it ended or is due, subject, the newest try's error."""
    return [
        [
            Cell(glyph_text(_look(view)), _look(view)),
            Cell(str(view.notification), right=True),
            Cell(view.channel),
            Cell(_state(view), _look(view)),
            Cell(moment(view.ended_us or view.next_us or view.created_us, style)),
            Cell(clean(view.subject)),
            Cell(clean(view.error)),
        ]
        for view in views
    ]


def recorded(view: NotificationView, style: Style) -> list[str]:
    """The answer to `notify`."""
    told = f"{glyph('queued', style)} message {view.notification} to {view.channel} is recorded"
    return [told, hint("pyflowctl notifications", style)]


def _look(view: NotificationView) -> str:
    return _LOOKS.get(view.state, "retrying" if view.tries else "queued")


def _state(view: NotificationView) -> str:
    """`waiting, 3 tries`."""
    state = view.state.replace("_", " ")
    if view.state == "sent" and view.tries <= 1:
        return state
    return state + (f", {view.tries} {'try' if view.tries == 1 else 'tries'}" if view.tries else "")
