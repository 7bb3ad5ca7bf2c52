"""How states are shown: a class that sets the colour, an icon, a word. A colour is never the only sign of a state."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from pyflowd.render.layout import spoken


class Mark(NamedTuple):
    css: str
    """A class of style.css that colours all inside it."""
    icon: str
    """A symbol of parts/sprite.html, without its `i-`."""
    word: str
    """For people; the state as the semantics name it, capital first."""


_MARKS = {
    # of runs, tasks, attempts
    "succeeded": ("s-ok", "ok"),
    "failed": ("s-fail", "fail"),
    "timed_out": ("s-fail", "fail"),
    "upstream_failed": ("s-up", "up"),
    "starting": ("s-run", "run"),
    "running": ("s-run", "run"),
    "retrying": ("s-retry", "retry"),
    "queued": ("s-queue", "queue"),
    "waiting": ("s-wait", "wait"),
    "skipped": ("s-skip", "skip"),
    "cancelled": ("s-cancel", "cancel"),
    "unknown": ("s-lost", "lost"),
    "approval": ("s-hold", "hold"),
    # of workflows
    "active": ("s-ok", "ok"),
    "paused": ("s-skip", "pause"),
    "disabled": ("s-skip", "pause"),
    "stale": ("s-retry", "warn"),
    "broken": ("s-fail", "fail"),
    # of slots
    "fired": ("s-ok", "ok"),
    "coming": ("s-wait", "slot"),
    # of backfills, notifications, checks
    "planned": ("s-wait", "wait"),
    "ended": ("s-ok", "ok"),
    "sent": ("s-ok", "ok"),
    "given_up": ("s-fail", "fail"),
    "dropped": ("s-skip", "skip"),
    "error": ("s-fail", "fail"),
    "warning": ("s-retry", "warn"),
}


@lru_cache(maxsize=128)
def mark(state: str) -> Mark:
    """Of a state that nobody knows: the word as it came, with the sign of doubt."""
    css, icon = _MARKS.get(state, ("s-lost", "lost"))
    word = spoken(state)
    return Mark(css, icon, word[:1].upper() + word[1:])
