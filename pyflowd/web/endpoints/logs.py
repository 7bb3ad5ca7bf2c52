"""Logs of tasks: alone on a page, as bytes, block by block, and searched. Never more of one than a block in memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response

from pyflowd.errors import PyflowError, UsageError
from pyflowd.protocol.figures import AttemptPage, AttemptView, ListAttempts
from pyflowd.protocol.requests import GetLogs, GetRun
from pyflowd.protocol.views_runs import RunView
from pyflowd.protocol.words import Level
from pyflowd.web import numbers
from pyflowd.web.call import Call
from pyflowd.web.drawing import link_to
from pyflowd.web.endpoints.actions import run_number
from pyflowd.web.endpoints.sending import Streamed, ranged
from pyflowd.web.logs import opened, search
from pyflowd.web.logs.block import BLOCK_LINES, between, block
from pyflowd.web.logs.view import shown
from pyflowd.web.routes import Kind, Route

SEARCH_S = 30.0
"""Of one search; it says where it stopped."""
ATTEMPTS_MAX = 100
"""Logs that one search looks through: the newest."""
ATTEMPTS_SHOWN = 12
FOREVER = "private, max-age=31536000, immutable"


def node(call: Call) -> str:
    """The task or item that the address names."""
    item = call.query.get("item")
    return call.path["task"] if item is None else f"{call.path['task']}[{item}]"


def number(call: Call, name: str, what: str, otherwise: int = 0) -> int:
    """Of the query. Raises UsageError."""
    text = call.query.get(name, "")
    return numbers.asked(text, what) if text else otherwise


def attempt_asked(call: Call) -> int | None:
    return (
        numbers.asked(call.path["attempt"], "the attempt")
        if "attempt" in call.path
        else number(call, "attempt", "the attempt")
    ) or None


# ---- Alone on a page ------------------------------------------------------------------------------------------------


def page(call: Call) -> Response:
    run = call.one(RunView, GetRun(of=str(run_number(call)), items=False))
    task, name = node(call), call.path["task"]
    wanted = call.query.get("q", "")
    with opened.opened(call, run.run, task, attempt_asked(call)) as log:
        attempts = _attempts(call, run.run, task)
        own = next((each for each in attempts if each.attempt == log.attempt), None)
        at = number(call, "at", "the line")
        hits: list[int] = []
        if wanted and not at:
            hits = _first_hits(log, search.asked_for(wanted))
            at = hits[0] if hits else 0
        failed = own is not None and own.state not in ("succeeded", "running", "starting")
        text = wanted if wanted != wanted.lower() else wanted.lower()
        seen = shown(log, since_us=own.started_us if own else 0, failed=failed, at=at, wanted=text)
        here = link_to("runs", run.run, "log", name)
        item = call.query.get("item")
        links = [
            (each.attempt, link_to("runs", run.run, "log", name, item=item, attempt=each.attempt, q=wanted),
             each.attempt == log.attempt)
            for each in attempts[-ATTEMPTS_SHOWN:]
        ]  # fmt: skip
        return call.page(
            "log.html", run=run, task=name, item=item, node=task, log=seen, attempt=log.attempt, address=here,
            attempts=links if len(attempts) > 1 else [], wanted=wanted, hits=hits, state=own.state if own else "",
        )  # fmt: skip


def _attempts(call: Call, run: int, task: str) -> list[AttemptView]:
    try:
        pages = call.every(AttemptPage, ListAttempts(of=str(run), task=task))
    except PyflowError:
        return []
    return [each for page in pages for each in page.attempts if each.task == task]


def _first_hits(log: opened.Log, wanted: bytes) -> list[int]:
    """A few lines that have what is looked for, for a page without scripts."""
    found: list[int] = []
    end_s = time.monotonic() + 1
    for hit in search.hits(log.fd, log.map(), wanted):
        if hit is not None:
            found.append(hit)
        if len(found) >= 50 or time.monotonic() > end_s:
            break
    return found


# ---- Blocks ---------------------------------------------------------------------------------------------------------


def fragment(call: Call) -> Response:
    """Lines from `from` on, up to but not with `to`; with `last` so many at the end of that. Where the block ends
    before `to`, a row stands for the rest."""
    first = max(1, number(call, "from", "the first line", 1))
    with opened.opened(call, run_number(call), node(call), attempt_asked(call)) as log:
        lines = log.map()
        until = number(call, "to", "the line after the last") or min(lines.lines + 1, first + BLOCK_LINES)
        until = min(until, lines.lines + 1)
        begin = max(first, until - BLOCK_LINES) if "last" in call.query else first
        since = number(call, "since", "the begin")
        part = block(log, lines, begin, most=max(0, until - begin), since_us=since, wanted=_marked(call))
        rows = [
            *([between(first, begin)] if begin > first else []),
            *part.rows,
            *([between(part.after, until)] if part.after < until else []),
        ]
        response = call.fragment(
            "parts/loglines.html", rows=rows, here=link_to("runs", run_number(call), "log", call.path["task"]),
            item=call.query.get("item"), attempt=log.attempt, after=part.after, total=part.total, live=log.live,
            unfinished=part.unfinished, size=lines.size,
        )  # fmt: skip
        if not log.live and attempt_asked(call):
            response.headers["Cache-Control"] = FOREVER
            response.headers["Vary"] = "Cookie"  # what one session was shown, the browser shows to no other
        return response


def _marked(call: Call) -> str:
    wanted = call.query.get("q", "")
    search.asked_for(wanted)
    return wanted


# ---- Search ---------------------------------------------------------------------------------------------------------


def find(call: Call) -> Response:
    """One JSON value a line: `[attempt, [lines...]]` as they are found, at last what it came to."""
    wanted = search.asked_for(call.query.get("q", ""))
    if not wanted:
        raise UsageError("say what to look for: q=TEXT")
    task = node(call)
    logs = opened.take(call, GetLogs(of=str(run_number(call)), task=task, all_attempts=True))
    wrong = [log for log in logs if log.task != task]
    opened.close(wrong)
    logs = [log for log in logs if log.task == task]
    opened.close(logs[:-ATTEMPTS_MAX])
    logs = logs[-ATTEMPTS_MAX:]
    return Streamed(_found(logs, wanted), partial(opened.close, logs), media_type="application/x-ndjson")


def _found(logs: list[opened.Log], wanted: bytes) -> Iterator[bytes]:
    left, end_s = search.HITS_MAX, time.monotonic() + SEARCH_S
    why = ""
    for log in reversed(logs):
        batch: list[int] = []
        for hit in search.hits(log.fd, log.map(), wanted):
            if hit is not None:
                batch.append(hit)
                left -= 1
            if batch and (hit is None or len(batch) >= 1000 or not left):
                yield _line([log.attempt, batch])
                batch = []
            why = "hits" if not left else "time" if time.monotonic() > end_s else ""
            if why:
                break
        if batch:
            yield _line([log.attempt, batch])
        if why:
            break
    yield _line({"hits": search.HITS_MAX - left, "attempts": len(logs), "stopped": why})


def _line(value: Any) -> bytes:
    return msgspec.json.encode(value) + b"\n"


# ---- Bytes ----------------------------------------------------------------------------------------------------------


def raw(call: Call) -> Response:
    """All bytes as they are, or those of one line; a part of them where the request says which."""
    with opened.opened(call, run_number(call), node(call), attempt_asked(call)) as log:
        begin, end = 0, os.fstat(log.fd).st_size
        if line := number(call, "line", "the line"):
            lines = log.map()
            found = lines.block(log.fd, line, 1, 1, 1)
            begin, end = (found[0].begin, found[0].end) if found else (0, 0)
        name = f"{call.path['task']}-{run_number(call)}-{log.attempt}.log"
        return ranged(
            call, os.dup(log.fd), begin, end, media_type="text/plain; charset=utf-8", disposition="inline", name=name
        )


ROUTES = [
    Route("/runs/{run}/log/{task}", page, Kind.PAGE, Level.READ),
    Route("/runs/{run}/log/{task}/raw", raw, Kind.PAGE, Level.READ),
    Route("/fragment/log/{run}/{task}/{attempt}", fragment, Kind.FRAGMENT, Level.READ),
    Route("/fragment/search/{run}/{task}", find, Kind.FRAGMENT, Level.READ),
]
