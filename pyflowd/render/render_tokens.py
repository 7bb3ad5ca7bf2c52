"""Tokens as text and as JSON. Pure. Only the answer to `token create` has the text of one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyflowd.protocol.tokens import TokenCreated, TokenView
from pyflowd.protocol.words import Level
from pyflowd.render.layout import Cell, Style, clean, dim, glyph, iso, moment
from pyflowd.render.render_runs import hint


def header() -> list[Cell]:
    return [Cell("TOKEN", right=True), *map(Cell, ("FOR", "ACCOUNT", "LEVEL", "LABEL", "MADE", "USED", "EXPIRES"))]


def rows(views: Iterable[TokenView], style: Style) -> list[list[Cell]]:
    """Number, sort, account, level, label; when it was made, last used, expires."""
    return [
        [
            Cell(str(view.token), right=True),
            Cell(view.sort.value),
            Cell(clean(view.account)),
            Cell(_level(view.level)),
            Cell(clean(view.label)),
            Cell(moment(view.created_us, style)),
            Cell("never" if view.used_us is None else moment(view.used_us, style)),
            Cell("never" if view.expires_us is None else moment(view.expires_us, style)),
        ]
        for view in views
    ]


def _level(level: Level | None) -> str:
    return "its own" if level is None else level.name.lower()


def created(reply: TokenCreated, style: Style) -> list[str]:
    """The text on a line of its own, first."""
    view = reply.token
    ends = "never expires" if view.expires_us is None else f"expires {moment(view.expires_us, style)}"
    may = "all that the account may do" if view.level is None else f"level {_level(view.level)} at most"
    return [
        reply.text,
        dim(f"token {view.token} of {clean(view.account)}: {may}, {ends}; it is shown this once", style),
        hint(f"pyflowctl token revoke {view.token}", style),
    ]


def revoked(view: TokenView, style: Style) -> list[str]:
    label = f" ({clean(view.label)})" if view.label else ""
    return [f"{glyph('succeeded', style)} token {view.token} of {clean(view.account)}{label} is revoked"]


def record(view: TokenView, style: Style) -> dict[str, Any]:
    """One token as JSON has it."""
    return {
        "token": view.token,
        "sort": view.sort.value,
        "account": view.account,
        "level": None if view.level is None else view.level.name.lower(),
        "label": view.label,
        "created_at": iso(view.created_us, style),
        "expires_at": iso(view.expires_us, style),
        "used_at": iso(view.used_us, style),
    }


def created_record(reply: TokenCreated, style: Style) -> dict[str, Any]:
    return {**record(reply.token, style), "text": reply.text}
