"""Output of attempts, read from open logs that the daemon handed over, several merged by time in units of lines.

The daemon opens logs in the order in which their attempts began: what is older than a newly opened log can be shown.
Nothing tells a reader that a file grew, so a live log is looked at every 50 ms; that is the client's only poll.
"""

import time

from pyflowctl import logtext
from pyflowctl.link import ClientError, Frames, write
from pyflowctl.logsource import LogSource, Piece
from pyflowctl.packing import Value

POLL_S = 0.05
END_RECORD_WAIT_S = 2.0
"""How long an ended attempt's last words are waited for: leftover processes may hold its pipe for longer."""
_SOURCES_MAX = 200
_LIVE_TURNS = 64
"""Pieces of live logs that are shown before the daemon's frames are looked at again."""
_WRITE_BYTES = 1 << 18

Line = tuple[LogSource, int, bytes]


class LogOptions:
    """How to show output: what the daemon read from the command line, and what the terminal is like."""

    def __init__(self, frame: list[Value], terminal: bool, colour: bool) -> None:
        width, raw, as_json, tail, since_us = (*frame[5:10], *[None] * 5)[:5]
        self.width = width if isinstance(width, int) else 0
        self.raw = raw is True
        self.as_json = as_json is True
        self.tail = tail if isinstance(tail, int) else None
        self.since_us = since_us if isinstance(since_us, int) else 0
        self.terminal = terminal
        self.colour = colour


class LogView:
    """All open logs of one command."""

    def __init__(self, options: LogOptions) -> None:
        self.sources: list[LogSource] = []
        self._live: set[LogSource] = set()
        self._deadlines: dict[LogSource, float] = {}
        self._seen: set[tuple[str, int]] = set()
        """Attempts that were opened: a daemon that was asked again after a restart opens them again."""
        self._options = options
        self._copies = options.raw and options.tail is None and not options.since_us
        self._tail: list[Line] | None = None if options.tail is None else []
        self._unfinished: LogSource | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._today = ""

    @property
    def waits(self) -> bool:
        """Whether more may come of what is open."""
        return bool(self._live or self._deadlines)

    # ---- What the daemon says ----

    def open(self, frame: list[Value], log_fd: int, index_fd: int) -> None:
        match frame:
            case ["log_open", int(run), str(task), int(attempt), bool(live), *_]:
                source = LogSource(run, task, attempt, log_fd, index_fd)
            case _:
                raise ClientError("the daemon opened a log in a way that this client does not know", 4)
        if (task, attempt) in self._seen:
            source.close()
            if not live:
                self.closed(task, attempt)  # it ended while no daemon was there to say so
            return
        self._seen.add((task, attempt))
        source.since_us = self._options.since_us
        if not live:
            source.without_index()
        if self._tail is not None:
            source.start_at_tail(self._options.tail or 0)
        begin_us = source.next_us()
        if begin_us is not None:
            self.show(begin_us)
        self.sources.append(source)
        if live:
            self._live.add(source)
        if len(self.sources) > _SOURCES_MAX:
            self.show()

    def closed(self, task: str, attempt: int) -> None:
        """The attempt has ended: its log is read up to the end record, or until that has not come for a while."""
        for source in self._live:
            if (source.task, source.attempt) == (task, attempt):
                self._live.discard(source)
                self._deadlines[source] = time.monotonic() + END_RECORD_WAIT_S
                return

    def finish(self) -> None:
        """No more frames: show all that is there and that is still to come of ended attempts."""
        self._live.clear()
        self.show()
        while self._deadlines:
            time.sleep(POLL_S / 5)
            self.show()
        self.caught_up()
        self._flush()

    # ---- Showing ----

    def show(self, until_us: int | None = None) -> bool:
        """Show what is there, in order of time; with `until_us` only what is older. Whether anything was."""
        self._today = logtext.today(time.time_ns() // 1000)
        if until_us is None and self._copies and len(self.sources) == 1:
            return self._copy(self.sources[0])
        shown = False
        turns = _LIVE_TURNS if self._live else -1
        while turns and (source := self._earliest(until_us)) is not None:
            turns -= 1
            others = [at for other in self.sources if other is not source and (at := other.next_us()) is not None]
            limits = [*others, *([] if until_us is None else [until_us])]
            # Equal times must not stop both: one microsecond more lets the earlier source go on.
            limit_us = min(limits) + 1 if limits else None
            if until_us is not None and limit_us is not None:
                limit_us = min(limit_us, until_us)
            while pieces := source.pieces(limit_us):
                shown = True
                for piece in pieces:
                    self._add(source, piece)
                if source in self._live:
                    break  # one that is written without a pause must not keep the daemon's frames waiting
        self._close_done(all_read=until_us is None)
        self._flush()
        return shown

    def _copy(self, source: LogSource) -> bool:
        """Verbatim output of one log needs no index: as fast as the system copies."""
        shown = False
        turns = _LIVE_TURNS if source in self._live else -1
        source.look_for_end()
        while turns and (data := source.copy()):
            turns -= 1
            shown = True
            write(1, data)
        self._close_done(all_read=True)
        return shown

    def _earliest(self, until_us: int | None) -> LogSource | None:
        best: LogSource | None = None
        best_us = until_us
        for source in self.sources:
            at_us = source.next_us()
            if at_us is not None and (best_us is None or at_us < best_us):
                best, best_us = source, at_us
        return best

    def _close_done(self, *, all_read: bool) -> None:
        """Let go of attempts of which nothing more comes: those with an end record, which is read last, at any time."""
        now_s = time.monotonic()
        for source in [source for source in self.sources if source not in self._live]:
            if not source.ended and (not all_read or self._deadlines.get(source, 0.0) > now_s):
                continue
            source.without_index()
            while all_read and (pieces := source.pieces()):
                for piece in pieces:
                    self._add(source, piece)
            if rest := source.rest():
                self._add(source, rest)
            if self._unfinished is source and not self._options.raw:
                self._finish_line()
            source.close()
            self.sources.remove(source)
            self._deadlines.pop(source, None)

    def caught_up(self) -> None:
        """Nothing came for a while: the last lines asked for are known, and a line without an end may be shown."""
        if self._tail is not None:
            kept, self._tail = self._tail, None
            for source, time_us, line in kept[max(0, len(kept) - (self._options.tail or 0)) :]:
                self._add(source, (time_us, line))
        if len(self.sources) == 1 and not self._options.as_json and (rest := self.sources[0].rest()):
            self._add(self.sources[0], rest)
        self._flush()

    def _add(self, source: LogSource, piece: Piece) -> None:
        time_us, data = piece
        if self._tail is not None:
            lines = data.split(b"\n")
            self._tail += [(source, time_us, line + b"\n") for line in lines[:-1]]
            if lines[-1]:
                self._tail.append((source, time_us, lines[-1]))
            if len(self._tail) > 2 * (self._options.tail or 0) + 1000:
                self._tail = self._tail[len(self._tail) - (self._options.tail or 0) :]
            return
        self._put(self._formatted(source, time_us, data))
        if self._out_bytes >= _WRITE_BYTES:
            self._flush()

    def _formatted(self, source: LogSource, time_us: int, data: bytes) -> bytes:
        options = self._options
        if options.raw:
            return data
        if options.as_json:
            return logtext.json_lines(data, logtext.json_head(source.run, source.task, source.attempt, time_us))
        if options.terminal:
            data = logtext.for_terminal(data, options.colour)
        name = source.task if source.attempt == 1 else f"{source.task}#{source.attempt}"
        prefix = logtext.label(time_us, self._today, name, options.width, source.task, options.colour)
        continued = self._unfinished is source
        if self._unfinished is not None and not continued:
            self._finish_line()
        whole = data.endswith(b"\n")
        self._unfinished = None if whole else source
        shown = logtext.labelled(data, prefix)
        return shown[len(prefix) if continued else 0 : len(shown) if whole else -1]

    def _finish_line(self) -> None:
        self._put(b"\n")
        self._unfinished = None

    def _put(self, data: bytes) -> None:
        self._out.append(data)
        self._out_bytes += len(data)

    def _flush(self) -> None:
        if self._out:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out = []
            self._out_bytes = 0
            write(1, data)


def show_logs(frames: Frames, first: list[Value], timeout_s: float, terminal: bool, colour: bool) -> int:
    """Show logs until the last frame, beginning with the one that opened the first log; the exit status."""
    view = LogView(LogOptions(first, terminal, colour))
    frame: list[Value] | None = first
    heard_s = time.monotonic()
    busy = False
    while True:
        match frame:
            case None:
                if time.monotonic() - heard_s >= timeout_s:
                    raise ClientError(f"the daemon has said nothing for {timeout_s:g} s", 4)
                busy = view.show()
                if not busy:
                    view.caught_up()
            case ["log_open", *_]:
                if len(frames.descriptors) < 2:
                    raise ClientError("the daemon opened a log without its files; is the limit of open files low?", 4)
                view.open(frame, frames.descriptors.pop(0), frames.descriptors.pop(0))
            case ["log_close", str(task), int(attempt)]:
                view.closed(task, attempt)
            case ["print", int(stream), bytes(text)]:
                view.show()
                write(2 if stream == 2 else 1, text)
            case ["finish", int(exit_status)]:
                view.finish()
                return exit_status
            case _:
                pass
        wait_s = 0.0 if busy else POLL_S if view.sources else timeout_s + 0.1
        frame = frames.next(wait_s)
        busy = busy and frame is None
        if frame is not None:
            heard_s = time.monotonic()
