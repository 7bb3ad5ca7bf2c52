"""Messages to people: what one is, what it says of a run that has ended, who is told, and when to try again. Pure.

It knows nothing of channels' servers, of the spool, and of how a message gets where it shall go.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo
from enum import StrEnum
from fnmatch import fnmatchcase

from msgspec import Struct

from pyflowd.clock import US, from_us
from pyflowd.model.states import Reason, RunState, TaskState
from pyflowd.model.workflow import NotifyRule
from pyflowd.units import duration_text

SUBJECT_MAX = 200
TEXT_MAX = 32 * 1024
"""Characters of a message. Who wants to know more looks at the log."""
FAILED_SHOWN = 20

FIRST_DELAY_S = 10.0
LONGEST_DELAY_S = 3600.0
MOST_TRIES = 32
"""About 24 hours of backing off. Tries are counted, not hours: a clock that is set, or a day for which the daemon was
down, must not give a message up."""


class MessageState(StrEnum):
    """Of a message in the spool."""

    WAITING = "waiting"
    SENT = "sent"
    GIVEN_UP = "given_up"
    DROPPED = "dropped"  # the spool was full


class Message(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody is told. Stored as msgpack: fields are only added, with a default."""

    channel: str
    subject: str
    """One line."""
    text: str
    workflow: str = ""
    run: int | None = None
    state: str = ""
    """Of the run, where the message tells of its end."""
    at_us: int = 0
    """When what it tells of happened."""
    host: str = ""
    only_to: tuple[str, ...] = ()
    """Of a mail that some have already: those who are still to be told; empty: all."""


class Sent(Struct, frozen=True, kw_only=True):
    """How one try to send ended. `error` is empty where everybody was told."""

    error: str = ""
    """One line, without the channel's secrets."""
    retry_after_s: float | None = None
    """What the server asked for."""
    left: tuple[str, ...] = ()
    """Of a mail that some of its receivers have: the others."""


class Ended(Struct, frozen=True, kw_only=True):
    """A run that has ended, as its message tells of it."""

    state: RunState
    reason: Reason | None = None
    error: str = ""
    started_us: int | None = None
    ended_us: int
    failed: tuple[FailedTask, ...] = ()


class FailedTask(Struct, frozen=True, kw_only=True):
    task: str
    state: TaskState
    reason: Reason | None = None
    error: str = ""


class HostRule(Struct, frozen=True, kw_only=True):
    """The administrator's rule (rule H4): tell `channel` of runs of these workflows that end so."""

    channel: str
    on: tuple[RunState, ...] = (RunState.FAILED,)
    workflows: tuple[str, ...] = ("*",)
    """Globs, one of which must match."""
    labels: dict[str, str] = {}
    """All of which the workflow must have."""


def delay_s(tries: int, retry_after_s: float | None = None) -> float | None:
    """Before the next try, after `tries` in vain; None: no other one."""
    if tries >= MOST_TRIES:
        return None
    backoff_s = FIRST_DELAY_S * 2.0 ** min(tries - 1, 30)
    return min(max(backoff_s, retry_after_s or 0.0), LONGEST_DELAY_S)


def told(
    own: Iterable[NotifyRule], host: Iterable[HostRule], workflow: str, labels: dict[str, str], state: RunState
) -> list[str]:
    """The channels that hear of a run's end, the workflow's own first, each once."""
    channels = [rule.channel for rule in own if state in rule.on]
    channels += [
        rule.channel
        for rule in host
        if state in rule.on
        and any(fnmatchcase(workflow, glob) for glob in rule.workflows)
        and all(labels.get(name) == value for name, value in rule.labels.items())
    ]
    return list(dict.fromkeys(channels))


# ---- Words ----------------------------------------------------------------------------------------------------------


def subject_line(text: str) -> str:
    """`text` on one line that a mail's header can hold: nothing in it begins another."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= SUBJECT_MAX else line[: SUBJECT_MAX - 1] + "…"


def body_text(text: str) -> str:
    """`text` without control characters, cut where it is too long, which is said."""
    clean = "".join(
        char if char.isprintable() or char in "\n\t" else "" if char == "\r" else "\ufffd" for char in text[:TEXT_MAX]
    )
    return clean if len(text) <= TEXT_MAX else f"{clean}\n… (cut: {len(text) - TEXT_MAX} characters more)"


def of_run(channel: str, workflow: str, run: int, trigger: str, ended: Ended, host: str, zone: tzinfo) -> Message:
    """The message that a run has ended. It tells no params: they may be nobody else's business."""
    lines = [f"{workflow}: run {run} {ended.state} on {host}{_because(ended)}", ""]
    if ended.started_us is not None:
        lines.append(f"started   {_moment(ended.started_us, zone)}")
    lines.append(f"ended     {_moment(ended.ended_us, zone)}{_after(ended)}")
    lines.append(f"trigger   {trigger}")
    lines += [f"{'failed' if not n else '':<10}{_failure(task)}" for n, task in enumerate(ended.failed[:FAILED_SHOWN])]
    if len(ended.failed) > FAILED_SHOWN:
        lines.append(f"{'':<10}and {len(ended.failed) - FAILED_SHOWN} more")
    lines += ["", f"pyflowctl status {run}", f"pyflowctl logs {run}"]
    return Message(
        channel=channel, subject=subject_line(f"{workflow} {ended.state} on {host} (run {run})"),
        text=body_text("\n".join(lines)), workflow=workflow, run=run, state=ended.state, at_us=ended.ended_us,
        host=host,
    )  # fmt: skip


def _because(ended: Ended) -> str:
    if ended.state is RunState.SUCCEEDED:
        return ""
    why = ended.error or (ended.reason.replace("_", " ") if ended.reason else "")
    return f": {subject_line(why)}" if why and why != ended.state else ""


def _after(ended: Ended) -> str:
    return "" if ended.started_us is None else f", after {duration_text((ended.ended_us - ended.started_us) / US)}"


def _failure(task: FailedTask) -> str:
    why = task.error or (task.reason.replace("_", " ") if task.reason else "")
    state = "" if task.state is TaskState.FAILED else task.state.replace("_", " ")
    return ": ".join(part for part in (task.task, state, subject_line(why)) if part)


def _moment(at_us: int, zone: tzinfo) -> str:
    return f"{from_us(at_us).astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


# ---- Digests --------------------------------------------------------------------------------------------------------


def digest(messages: list[Message]) -> Message:
    """One message in place of several of one channel."""
    first = messages[0]
    lines = [f"{len(messages)} messages came faster than they are sent one by one:", ""]
    for message in messages:
        lines += [f"* {message.subject}"]
    return Message(
        channel=first.channel, subject=subject_line(f"{len(messages)} messages from {first.host}: {first.subject}"),
        text=body_text("\n".join(lines)), at_us=messages[-1].at_us, host=first.host,
    )  # fmt: skip
