"""What happens, handed to every open page: one connection to the daemon for each session, however many pages it shows.

A thread follows the daemon's events with the rights of the session's token and hands them to the loop, where all else
is done. A feed knows the newest `KEPT` events: a page that lacks more is told to look anew. Where the daemon is away,
the feed goes on by itself when it is back; when the session ends, so does it. It knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from itertools import dropwhile

from anyio import to_thread

from pyflowctl.client import Client
from pyflowd.errors import Forbidden, PyflowError, Unavailable
from pyflowd.protocol.requests import ListEvents
from pyflowd.protocol.views_runs import EventPage, EventView
from pyflowd.web.link import Link, every

KEPT = 1000
"""Events that a feed remembers."""
ASKED_FIRST = 200
"""Events that a feed begins with: what a page may lack that was drawn a moment ago."""
FEEDS_MAX = 100
"""Sessions that look at once: each has a thread here and a connection to the daemon, which takes 200 of one account."""
STREAMS_MAX = 60
"""Pages of one session."""
LINGER_S = 15.0
"""How long a feed without a page is kept: whoever leaves a page for another one needs it again at once."""
RETRY_S = 1.0
SLACK_US = 5_000_000
"""An event is told some time after the moment that it bears."""

log = logging.getLogger("pyflowd.web.feed")


class Feed:
    """Of one session. Everything but `_follow` happens in the loop."""

    def __init__(self, link: Link, token: str) -> None:
        self.events: deque[EventView] = deque(maxlen=KEPT)
        self.newest = 0
        """Number of the newest event; 0: there is none."""
        self.complete_from = 0
        """Nothing after this number is missing in `events`."""
        self.error = ""
        """Why the daemon does not answer; empty: it does."""
        self.over = False
        """The session has ended."""
        self.streams: set[Stream] = set()
        self._link = link
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._client: Client | None = None

    @property
    def state(self) -> tuple[bool, str]:
        """What a page is told of at once."""
        return self.over, self.error

    async def start(self) -> None:
        """Raises PyflowError where the session does not hold, or no daemon answers."""
        replies = await to_thread.run_sync(self._link.ask, self._token, ListEvents(limit=ASKED_FIRST))
        events = [event for page in every(EventPage, replies) for event in page.events]
        self.events.extend(events)
        if events:
            self.newest = events[-1].event
            self.complete_from = 0 if len(events) < ASKED_FIRST else events[0].event - 1
        threading.Thread(target=self._follow, args=(self.newest,), name="feed", daemon=True).start()

    def stop(self) -> None:
        """Lets the daemon go, by which the thread ends. Safe twice."""
        self._stop.set()
        client = self._client
        if client is not None:
            client.interrupt()

    def join(self, after: int | None, since_us: int) -> Stream:
        """One more page. It has had all up to the event `after`, or shows how things were at `since_us`. Raises
        Unavailable where there are too many."""
        if len(self.streams) >= STREAMS_MAX:
            raise Unavailable(f"this session shows {STREAMS_MAX} pages at once; close some")
        if after is None:
            told = (event.event for event in reversed(self.events) if event.at_us < since_us - SLACK_US)
            after = next(told, self.complete_from)
        elif after > self.newest:
            after = -1  # of another store: a backup was restored
        stream = Stream(self, after)
        self.streams.add(stream)
        return stream

    # ---- From the thread

    def _took(self, events: list[EventView]) -> None:
        for event in events:
            if len(self.events) == KEPT:
                self.complete_from = self.events[0].event
            self.events.append(event)
            self.newest = event.event
        self._wake()

    def _said(self, error: str) -> None:
        if error != self.error:
            self.error = error
            self._wake()

    def _ended(self) -> None:
        self.over = True
        self._wake()

    def _wake(self) -> None:
        for stream in self.streams:
            stream.woken.set()

    # ---- The thread

    def _follow(self, after: int) -> None:
        """Until the session ends or nobody looks any more."""
        while not self._stop.is_set():
            try:
                with self._link.fresh(self._token) as client:
                    self._client = client
                    self._post(self._said, "")
                    for page in client.ask(ListEvents(after=after, follow=True)):
                        if isinstance(page, EventPage) and page.events:
                            after = page.events[-1].event
                            self._post(self._took, page.events)
                        if self._stop.is_set():
                            return
            except Forbidden:
                self._post(self._ended)
                return
            except PyflowError as error:
                self._post(self._said, str(error))
            self._stop.wait(RETRY_S)

    def _post(self, act: Callable[..., None], *values: object) -> None:
        try:
            self._loop.call_soon_threadsafe(act, *values)
        except RuntimeError:
            self._stop.set()  # the loop has ended, and with it everything


class Stream:
    """What one page has not had. `woken` is set when there is something to look at."""

    def __init__(self, feed: Feed, after: int) -> None:
        self.feed = feed
        self.after = after
        """Number of the newest event that it has had; -1: it knows none of them."""
        self.woken = asyncio.Event()

    def take(self) -> list[EventView] | None:
        """What came since; None: more than is remembered, look anew."""
        feed = self.feed
        known, self.after = self.after, feed.newest
        if known < feed.complete_from:
            return None
        return list(dropwhile(lambda event: event.event <= known, feed.events))


class Feeds:
    """Of all sessions. In one loop."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._feeds: dict[str, Feed] = {}
        self._starting: dict[str, asyncio.Lock] = {}

    async def join(self, token: str, after: int | None, since_us: int) -> Stream:
        """A stream for a page; whoever takes it gives it back by `leave`. Raises PyflowError, Forbidden among them."""
        async with self._starting.setdefault(token, asyncio.Lock()):
            feed = self._feeds.get(token)
            if feed is None or feed.over:
                if len(self._feeds) >= FEEDS_MAX:
                    raise Unavailable(f"{FEEDS_MAX} sessions look on at once; this one has to reload")
                feed = self._feeds[token] = Feed(self._link, token)
                try:
                    await feed.start()
                except BaseException:
                    self._drop(token, feed)
                    raise
            return feed.join(after, since_us)

    def leave(self, token: str, stream: Stream) -> None:
        feed = stream.feed
        feed.streams.discard(stream)
        if not feed.streams:
            asyncio.get_running_loop().call_later(0 if feed.over else LINGER_S, self._let_go, token, feed)

    def _let_go(self, token: str, feed: Feed) -> None:
        if not feed.streams:
            self._drop(token, feed)

    def _drop(self, token: str, feed: Feed) -> None:
        feed.stop()
        if self._feeds.get(token) is feed:
            del self._feeds[token]
            self._starting.pop(token, None)
