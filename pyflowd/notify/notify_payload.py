"""A message as each sort of receiver wants it: JSON for a webhook, Slack, Teams; and where it is posted to. Pure.

The webhook's fields are ours, and fields are only ever added: pyflowd.yaml(5) documents them. The others' shapes are
those of Slack's incoming webhooks and of an Adaptive Card posted to a Teams workflow.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pyflowd.clock import from_us
from pyflowd.notify.notify import Message

SLACK_MAX = 30_000
"""Characters; Slack cuts a text at 40,000, and an escaped character takes up to five."""
TEAMS_MAX = 12_000
"""Characters; Teams refuses what is over 28 KiB, and a character may take two bytes or more."""
TEAMS_LINES = 100

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9.])?|[0-9A-Fa-f:.]+", re.ASCII)
_TARGET = re.compile(r"[!-~]*", re.ASCII)


class Target(NamedTuple):
    """Where a message is posted to."""

    tls: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """For the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def target(url: str) -> Target:
    """The parts of `url`. Raises ValueError with a reason that does not repeat it: such URLs are secrets."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("it is no URL") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("it begins neither with https:// nor with http://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it holds a user's name; give an Authorization header instead")
    host = parts.hostname or ""
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise ValueError("it names no host")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not _TARGET.fullmatch(url):
        raise ValueError("it holds characters that must be written as %XX")
    tls = parts.scheme == "https"
    return Target(tls, host, port or (443 if tls else 80), path)


def webhook(message: Message, ids: tuple[str, ...]) -> dict[str, Any]:
    """`ids`: of the messages that this one stands for; more than one for a digest."""
    return {
        "version": 1,
        "id": identity(ids),
        "ids": list(ids),
        "channel": message.channel,
        "subject": message.subject,
        "text": message.text,
        "workflow": message.workflow or None,
        "run": message.run,
        "state": message.state or None,
        "at": from_us(message.at_us).isoformat(),
        "host": message.host,
    }


def identity(ids: tuple[str, ...]) -> str:
    """The same at every try, so that a receiver can drop what it has already."""
    return ids[0] if len(ids) == 1 else f"{ids[0]}_{ids[-1]}"


def slack(message: Message) -> dict[str, Any]:
    """The three characters that Slack reads as markup are escaped: nothing in a message calls a whole channel."""
    return {"text": f"*{_escaped(message.subject)}*\n{_escaped(_cut(message.text, SLACK_MAX))}"}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def teams(message: Message) -> dict[str, Any]:
    """One block a line: runs of text keep what a TextBlock would read as Markdown, and links stay text."""
    lines = _cut(message.text, TEAMS_MAX).split("\n")
    if len(lines) > TEAMS_LINES:
        lines = [*lines[:TEAMS_LINES], f"… ({len(lines) - TEAMS_LINES} lines more)"]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            _block({"text": message.subject, "weight": "Bolder", "size": "Medium"}),
            *(_block({"text": line}) for line in lines if line.strip()),
        ],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _block(run: dict[str, str]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "spacing": "None", "inlines": [{"type": "TextRun", **run}]}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}\n… (cut)"
