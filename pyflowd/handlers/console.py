"""Command lines of the thin client: parse, hand to the same `handle` that typed clients use, render its replies.

What is printed cannot differ from what a program is told, since both come from the same replies. Parsing and handling
happen at once (they may change something); rendering happens as the answer is pulled.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import msgspec

from pyflowd.base.peer import Peer
from pyflowd.clock import Clock, from_us
from pyflowd.control.control import Answer, Frame, Wait
from pyflowd.control.replies import EXIT_OF_RUN, Attached, Replies, Spoken
from pyflowd.errors import PyflowError, Unavailable, UsageError
from pyflowd.model.states import RunState
from pyflowd.protocol.frames import Again, Command, Finish, Passage, Print, frame
from pyflowd.protocol.requests import GetLogs, GetRun, ListEvents, Request, WatchRun
from pyflowd.protocol.views import Done, LogClose, LogOpen
from pyflowd.protocol.views_runs import EventPage, RunView
from pyflowd.protocol.words import VERSION
from pyflowd.render import commandline, render
from pyflowd.render.commandline import Invocation
from pyflowd.render.layout import Style, zone_of

PRINT_MAX = 256 << 10
"""Bytes of one Print; longer text is several."""


class Console:
    """Answers Command frames. `handle` is what `control` gives typed requests to, too."""

    def __init__(self, handle: Callable[[Request, Peer], Replies], clock: Clock, timezone: str) -> None:
        self._handle = handle
        self._clock = clock
        self._timezone = timezone

    def answer(self, command: Command, peer: Peer) -> Answer:
        """Act now; what is to be printed comes as the answer is pulled."""
        style = Style(
            width=command.width,
            colour=command.colour,
            timezone=command.timezone or self._timezone,
            now_us=self._clock.wall_us(),
            terminal=command.terminal,
        )
        try:
            invocation = self._pinned(self._parse(command, style), peer)
            assert invocation.request is not None
            replies = self._handle(invocation.request, peer)
        except PyflowError as error:
            if error.fatal:
                raise
            return iter(_failed(error))
        if invocation.wait:
            return _shown(invocation, style, self._to_the_end(invocation, replies, peer))
        return _shown(invocation, style, replies)

    def _parse(self, command: Command, style: Style) -> Invocation:
        if command.version > VERSION:
            raise Unavailable(
                f"this daemon speaks protocol {VERSION}, the client {command.version}; restart pyflowd after an upgrade"
            )
        zone = zone_of(style.timezone)
        invocation = commandline.parse(command.argv, now_us=style.now_us, zone=zone, files=command.files)
        if invocation.request is None:
            raise UsageError(f'"{invocation.command}" is the client\'s own command')
        return invocation

    def _pinned(self, invocation: Invocation, peer: Peer) -> Invocation:
        """With the run that a workflow's name means now: output is followed over a restart, and newer runs come."""
        request = invocation.request
        if not isinstance(request, GetLogs) or not request.follow:
            return invocation
        view = next(reply for reply in self._handle(GetRun(of=request.of), peer) if isinstance(reply, RunView))
        return msgspec.structs.replace(invocation, request=msgspec.structs.replace(request, of=str(view.run)))

    def _to_the_end(self, invocation: Invocation, replies: Replies, peer: Peer) -> Iterator[Spoken | Again]:
        """A run was recorded, or named: go on with its output, its progress, and at last its tasks."""
        run = 0
        for reply in replies:
            if isinstance(reply, RunView):
                run = reply.run
                yield Again(_again(run, invocation))
                yield reply
                break
            yield reply
        if invocation.follow:
            yield from self._handle(GetLogs(of=str(run), follow=True), peer)
        view: RunView | None = None
        for reply in self._handle(WatchRun(run=run), peer):
            if isinstance(reply, RunView):
                view = reply
            if not isinstance(reply, Done):
                yield reply
        yield Again([])  # half a JSON value and then a whole one would be none
        yield from self._handle(GetRun(of=str(run), items=invocation.output == "json"), peer)
        assert view is not None
        yield Done(exit_status=EXIT_OF_RUN[RunState(view.state)])


def _again(run: int, invocation: Invocation) -> list[str]:
    """The command line that goes on waiting for `run`, shown in the same way."""
    return ["wait", str(run), "-o", invocation.output, *(["--follow"] if invocation.follow else [])]


def _logs_again(request: GetLogs, invocation: Invocation) -> list[str]:
    """The command line that goes on with output; what was shown, and how, the client knows."""
    log = invocation.log
    task = [] if request.task is None else [request.task]
    tail = [] if log.tail is None else ["-n", str(log.tail)]
    since = [] if log.since_us is None else ["--since", from_us(log.since_us).isoformat()]
    return ["logs", request.of, *task, "-f", "-o", invocation.output, *tail, *since, *(["--raw"] if log.raw else [])]


def _events_again(request: ListEvents, invocation: Invocation, after: int) -> list[str]:
    of = [] if request.run is None else ["--run", str(request.run)]
    return ["events", "-f", "-o", invocation.output, *of, "--after", str(after)]


def _shown(invocation: Invocation, style: Style, replies: Iterator[Spoken | Again]) -> Answer:
    """Replies as frames for the thin client; what fails on the way ends the answer with its line."""
    renderer = render.renderer(invocation, style)
    exit_status = 0
    silent = invocation.command == "logs" and not (invocation.log.raw or invocation.log.as_json)
    request = invocation.request
    try:
        if isinstance(request, GetLogs) and request.follow and invocation.command == "logs":
            yield Frame(frame(Again(_logs_again(request, invocation))))
        for reply in replies:
            match reply:
                case Wait():
                    yield reply
                case Attached(reply=LogOpen() as opened):
                    silent = silent and not (opened.live or os.fstat(reply.descriptors[0]).st_size)
                    yield Frame(frame(_with_options(opened, invocation)), reply.descriptors)
                case Attached():
                    yield Frame(frame(reply.reply), reply.descriptors)
                case LogClose() | Again():
                    yield Frame(frame(reply))
                case Done():
                    exit_status = reply.exit_status
                case EventPage(events=[*_, last]) if isinstance(request, ListEvents) and request.follow:
                    text = b"".join(renderer.feed(reply))
                    if len(text) > PRINT_MAX:
                        yield from _printed(iter([text]))
                        text = b""
                    yield Frame(frame(Passage(1, text, _events_again(request, invocation, last.event))))
                case _:
                    yield from _printed(renderer.feed(reply))
        yield from _printed(renderer.end())
        if silent:
            yield Frame(frame(Print(2, b"no output\n")))  # standard output is what tasks said
    except PyflowError as error:
        if error.fatal:
            raise
        yield from _failed(error)
        return
    yield Frame(frame(Finish(exit_status)))


def _with_options(opened: LogOpen, invocation: Invocation) -> LogOpen:
    options = invocation.log
    return msgspec.structs.replace(
        opened, raw=options.raw, as_json=options.as_json, tail=options.tail, since_us=options.since_us
    )


def _printed(pieces: Iterator[bytes]) -> Iterator[Frame]:
    for piece in pieces:
        for at in range(0, len(piece), PRINT_MAX):
            yield Frame(frame(Print(1, piece[at : at + PRINT_MAX])))


def _failed(error: PyflowError) -> list[Frame]:
    return [Frame(frame(Print(2, render.error_line(error)))), Frame(frame(Finish(error.exit_status)))]
