"""Server-sent events: what happens, for the pages that show it. How they use it is said at the head of live.js.

Messages: `change` (id: the newest event's number; data: a list of facts), `reload` (more is missing than is
remembered, or than fits: look anew), `beat` every ten seconds (the host's clock, and whether the daemon answers), `end`
(the session is over).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import msgspec
from starlette.responses import PlainTextResponse, Response

from pyflowd.errors import UsageError
from pyflowd.protocol.requests import ListEvents
from pyflowd.protocol.views_runs import EventView
from pyflowd.protocol.words import Level
from pyflowd.web import numbers
from pyflowd.web.call import Call
from pyflowd.web.endpoints.sending import Streamed
from pyflowd.web.feed import Stream
from pyflowd.web.routes import Kind, Route

BEAT_S = 10.0
GATHER_S = 0.1
"""How long what comes is gathered into one message."""
TOLD_MAX = 200
"""Events of one message; where there are more, the page looks anew."""
TOPICS_MAX = 50


class Topics:
    """What a page shows, and so which events concern it."""

    def __init__(self, names: Sequence[str]) -> None:
        """`host`: all; `run:7`, `workflow:nightly-backup`. Raises UsageError."""
        if len(names) > TOPICS_MAX:
            raise UsageError(f"more than {TOPICS_MAX} topics")
        self.all = "host" in names
        self.runs: set[int] = set()
        self.workflows: set[str] = set()
        for name in names:
            sort, _, of = name.partition(":")
            if sort == "run":
                self.runs.add(numbers.asked(of, "the run of a topic"))
            elif sort == "workflow" and of:
                self.workflows.add(of)
            elif name != "host":
                raise UsageError(f"no topic {name!r}: say host, run:ID or workflow:NAME")

    def take(self, event: EventView) -> bool:
        return self.all or event.run in self.runs or bool(event.workflow and event.workflow in self.workflows)


async def events(call: Call) -> Response:
    asked = call.http.query_params
    topics = Topics(asked.getlist("topic"))
    told = call.http.headers.get("last-event-id") or asked.get("after")
    after = None if not told else numbers.asked(told, "after")
    since_us = numbers.asked(asked.get("since") or "0", "since")
    web = call.http.app.state.web
    stream = await web.feeds.join(call.token, after, since_us)

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    leave = partial(web.feeds.leave, call.token, stream)
    return Streamed(_messages(stream, topics), leave, headers=headers, media_type="text/event-stream")


async def _messages(stream: Stream, topics: Topics) -> AsyncIterator[bytes]:
    """For ever, or until the session ends."""
    feed = stream.feed
    while True:
        stream.woken.clear()
        if feed.over:
            yield _message("end")
            return
        if told := _told(stream, topics):
            yield told
        yield _message("beat", {"now_us": time.time_ns() // 1000, "daemon": not feed.error, "error": feed.error})
        beat_at = asyncio.get_running_loop().time() + BEAT_S
        state = feed.state
        while feed.state == state:
            try:
                async with asyncio.timeout_at(beat_at):
                    await stream.woken.wait()
                    await asyncio.sleep(GATHER_S)
            except TimeoutError:
                break
            stream.woken.clear()
            if told := _told(stream, topics):
                yield told


def _told(stream: Stream, topics: Topics) -> bytes:
    """What a page is told of the events that it has not had; empty: none concerns it."""
    came = stream.take()
    if came is None:
        return _message("reload", number=stream.after)
    facts = [_facts(event) for event in came if topics.take(event)]
    if len(facts) > TOLD_MAX:
        return _message("reload", number=stream.after)
    return _message("change", facts, number=stream.after) if facts else b""


def _facts(event: EventView) -> dict[str, Any]:
    return {
        "event": event.event, "at_us": event.at_us, "type": event.type, "run": event.run, "workflow": event.workflow,
        "task": event.task, "attempt": event.attempt,
    }  # fmt: skip


def _message(name: str, data: object = None, *, number: int | None = None) -> bytes:
    """As the format of server-sent events has it; JSON has no line breaks of its own."""
    head = b"" if number is None else b"id: %d\n" % max(0, number)
    return head + b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))


def alive(call: Call) -> Response:
    """Whether the session holds: a stream that breaks does not tell a browser why."""
    call.ask(ListEvents(limit=1))
    return PlainTextResponse("")


ROUTES = [
    Route("/events", events, Kind.LIVE, Level.READ),
    Route("/fragment/live", alive, Kind.FRAGMENT, Level.READ),
]
