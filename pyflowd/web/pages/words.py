"""Words that several pages share: counts in sentences, names in commands, what a run came to. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pyflowd.protocol.tokens import IdentityView
from pyflowd.protocol.views_runs import RunView
from pyflowd.protocol.words import Level
from pyflowd.render.layout import clean
from pyflowd.render.render_runs import reason_text

_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def count_word(count: int) -> str:
    """`one` to `twelve`, then figures."""
    return _COUNTS[count] if count < len(_COUNTS) else f"{count:,}"


def several(count: int, noun: str, nouns: str = "") -> str:
    """`one approval`, `three approvals`."""
    return f"{count_word(count)} {noun if count == 1 else nouns or noun + 's'}"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return ", ".join(parts[:-1]) + f" and {parts[-1]}"


def no_right(identity: IdentityView, workflow: str) -> str:
    """Why somebody may not change a workflow and its runs; empty: they may."""
    if identity.may_operate(workflow):
        return ""
    if identity.level >= Level.OPERATE:
        return f"{workflow} names who may operate it (operate_by), and you are not among them."
    return f"Your level is {identity.level.name.lower()}. Changing {workflow} and its runs needs operate."


def quoted(text: str) -> str:
    """As a word of a shell's command, on one line."""
    return shlex.quote(clean(text))


def stopping(run: RunView) -> str:
    """What is done to a live run, in place of its state; empty: nothing."""
    return {"cancel": "Being cancelled", "timeout": "Its time ran out"}.get(run.stopping, "")


def why(run: RunView) -> str:
    """Why a run ended as it did; empty: there is nothing more to say than its state."""
    told = clean(run.error) or reason_text(run.reason)
    return "" if told == run.state else told


def answers_itself(on_timeout: str) -> str:
    """What an approval does when its time has come."""
    return {"approve": "approves itself", "skip": "is skipped by itself"}.get(on_timeout, "rejects itself")


def waits_for(run: RunView) -> str:
    """What a queued run waits for; empty: it is not known."""
    if run.waits_for is not None:
        return f"run {run.waits_for}"
    return clean(run.why_queued)
