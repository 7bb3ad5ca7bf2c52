"""What streams tell: in order, nothing twice, nothing that does not concern, and when to look anew."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Self, cast

import msgspec
import pytest

from pyflowctl.client import Answer
from pyflowd.errors import Forbidden, PyflowError, Unavailable, UsageError
from pyflowd.protocol.requests import ListEvents, Request
from pyflowd.protocol.views_runs import EventPage, EventView
from pyflowd.web.endpoints import events
from pyflowd.web.endpoints.events import TOLD_MAX, Topics
from pyflowd.web.feed import ASKED_FIRST, KEPT, Feeds, Stream
from pyflowd.web.link import Link

SECOND = 1_000_000


def event(number: int, *, run: int | None = 7, workflow: str = "w") -> EventView:
    return EventView(event=number, at_us=number * SECOND, type="attempt_ended", run=run, workflow=workflow, task="t")


class Connection:
    """One that follows: what is put is told; an error is raised, None ends it."""

    def __init__(self, link: Fake) -> None:
        self.link = link
        self.told: queue.Queue[list[EventView] | PyflowError | None] = queue.Queue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.link.closed += 1

    def ask(self, request: ListEvents) -> Iterator[EventPage]:
        self.link.after.append(request.after)
        while (said := self.told.get(timeout=20)) is not None:
            if isinstance(said, PyflowError):
                raise said
            yield EventPage(events=said)
        raise Unavailable("interrupted")

    def interrupt(self) -> None:
        self.told.put(None)


class Fake:
    """In the place of `Link`."""

    def __init__(self, known: list[EventView]) -> None:
        self.known = known
        self.connections: list[Connection] = []
        self.after: list[int | None] = []
        self.closed = 0
        self.refusal: PyflowError | None = None

    def ask(self, token: str, request: Request) -> list[Answer]:
        if self.refusal is not None:
            raise self.refusal
        return [EventPage(events=self.known[-ASKED_FIRST:])]

    def fresh(self, token: str) -> Connection:
        if self.refusal is not None:
            raise self.refusal
        self.connections.append(Connection(self))
        return self.connections[-1]


def play(fake: Fake, act: Callable[[Feeds], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        feeds = Feeds(cast(Link, fake))
        try:
            await asyncio.wait_for(act(feeds), 20)
        finally:
            for feed in list(feeds._feeds.values()):
                feed.stop()

    asyncio.run(whole())


async def numbers(stream: Stream) -> list[int] | None:
    await stream.woken.wait()
    stream.woken.clear()
    came = stream.take()
    return None if came is None else [each.event for each in came]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


def test_pages_of_one_session_share_one_connection_and_each_gets_all_in_order() -> None:
    async def act(feeds: Feeds) -> None:
        streams = [await feeds.join("t", 3, 0) for _ in range(50)]
        await until(lambda: bool(fake.connections))
        fake.connections[0].told.put([event(4), event(5)])
        assert [await numbers(stream) for stream in streams] == [[4, 5]] * 50
        fake.connections[0].told.put([event(6)])
        assert await numbers(streams[7]) == [6]
        assert len(fake.connections) == 1
        assert fake.after == [3]

    fake = Fake([event(n) for n in (1, 2, 3)])
    play(fake, act)


def test_a_page_that_comes_back_gets_what_it_lacks() -> None:
    async def act(feeds: Feeds) -> None:
        stream = await feeds.join("t", 41, 0)
        came = stream.take()
        assert came is not None
        assert [each.event for each in came] == list(range(42, 101))
        assert stream.take() == []

    play(Fake([event(n) for n in range(1, 101)]), act)


def test_a_page_that_lacks_more_than_is_remembered_looks_anew() -> None:
    async def act(feeds: Feeds) -> None:
        late = await feeds.join("t", 5, 0)
        assert late.take() is None
        assert late.take() == []
        there = await feeds.join("t", 2000, 0)
        await until(lambda: bool(fake.connections))
        fake.connections[0].told.put([event(n) for n in range(2001, 2001 + KEPT + 1)])
        assert await numbers(there) is None

    fake = Fake([event(n) for n in range(1, 2001)])
    play(fake, act)


def test_a_page_without_a_number_begins_with_when_it_was_drawn() -> None:
    async def act(feeds: Feeds) -> None:
        stream = await feeds.join("t", None, 60 * SECOND)
        came = stream.take()
        assert came is not None
        assert [each.event for each in came][:2] == [55, 56]  # five seconds of slack: an event is told late
        ahead = await feeds.join("t", None, 10_000 * SECOND)
        assert ahead.take() == []

    play(Fake([event(n) for n in range(1, 101)]), act)


def test_a_number_of_another_store_looks_anew() -> None:
    async def act(feeds: Feeds) -> None:
        assert (await feeds.join("t", 10**9, 0)).take() is None

    play(Fake([event(n) for n in range(1, 11)]), act)


def test_where_the_daemon_is_away_it_is_said_and_nothing_is_lost() -> None:
    async def act(feeds: Feeds) -> None:
        stream = await feeds.join("t", 1, 0)
        await until(lambda: bool(fake.connections))
        fake.connections[0].told.put([event(2)])
        assert await numbers(stream) == [2]
        fake.connections[0].told.put(Unavailable("gone"))
        await until(lambda: stream.feed.error == "gone")
        assert stream.woken.is_set()
        await until(lambda: len(fake.connections) == 2)
        await until(lambda: stream.feed.error == "")
        await until(lambda: len(fake.after) == 2)
        assert fake.after == [1, 2]

    fake = Fake([event(1)])
    play(fake, act)


def test_when_the_session_ends_so_does_every_stream() -> None:
    async def act(feeds: Feeds) -> None:
        stream = await feeds.join("t", 1, 0)
        await until(lambda: bool(fake.connections))
        fake.refusal = Forbidden("over")
        fake.connections[0].told.put(Forbidden("over"))
        said = [message async for message in events._messages(stream, Topics(["host"]))]
        assert b"event: end" in said[-1]
        with pytest.raises(Forbidden):
            await feeds.join("t", 1, 0)

    fake = Fake([event(1)])
    play(fake, act)


def test_nobody_gets_a_stream_without_a_session() -> None:
    async def act(feeds: Feeds) -> None:
        with pytest.raises(Forbidden):
            await feeds.join("t", None, 0)
        assert not feeds._feeds

    fake = Fake([])
    fake.refusal = Forbidden("who is it")
    play(fake, act)


def test_a_feed_that_nobody_looks_at_lets_the_daemon_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyflowd.web.feed.LINGER_S", 0.0)

    async def act(feeds: Feeds) -> None:
        stream = await feeds.join("t", 1, 0)
        other = await feeds.join("t", 1, 0)
        await until(lambda: bool(fake.connections))
        feeds.leave("t", stream)
        await asyncio.sleep(0)
        assert "t" in feeds._feeds
        feeds.leave("t", other)
        await until(lambda: fake.closed == 1)
        assert not feeds._feeds

    fake = Fake([event(1)])
    play(fake, act)


def test_too_many_pages_of_one_session_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyflowd.web.feed.STREAMS_MAX", 2)

    async def act(feeds: Feeds) -> None:
        for _ in range(2):
            await feeds.join("t", None, 0)
        with pytest.raises(Unavailable, match="close some"):
            await feeds.join("t", None, 0)

    play(Fake([event(1)]), act)


# ---- Messages


@pytest.mark.parametrize(
    ("topics", "taken"),
    [
        (["host"], [1, 2, 3, 4]),
        (["run:7"], [1, 2]),
        (["workflow:w"], [1, 3]),
        (["run:9", "workflow:x"], [2, 4]),
        ([], []),
    ],
)
def test_a_page_is_told_of_its_topics_only(topics: list[str], taken: list[int]) -> None:
    happened = [
        event(1), event(2, workflow="x"), event(3, run=None), event(4, run=9, workflow=""),
    ]  # fmt: skip
    judged = Topics(topics)
    assert [each.event for each in happened if judged.take(each)] == taken


@pytest.mark.parametrize("topic", ["run:", "run:x", "run:-1", "workflow:", "nothing", "run:" + "9" * 30, "host:1"])
def test_what_is_no_topic_is_refused(topic: str) -> None:
    with pytest.raises(UsageError):
        Topics([topic])


def test_a_message_is_one_event_of_the_format_whatever_is_in_it() -> None:
    evil = EventView(event=3, at_us=1, type="x\n\ndata: evil", run=7, workflow="w\r\nid: 9", task="\u2028")

    async def act(feeds: Feeds) -> None:
        told = events._told(await feeds.join("t", 0, 0), Topics(["host"]))
        head, data = told.decode().split("\ndata: ")
        assert head == "id: 3\nevent: change"
        assert data.count("\n") == 2
        assert data.endswith("\n\n")
        assert msgspec.json.decode(data)[0]["workflow"] == "w\r\nid: 9"

    play(Fake([evil]), act)


def test_a_flood_is_told_as_one_word() -> None:
    async def act(feeds: Feeds) -> None:
        stream = await feeds.join("t", 1, 0)
        await until(lambda: bool(fake.connections))
        fake.connections[0].told.put([event(n) for n in range(2, TOLD_MAX + 10)])
        await stream.woken.wait()
        assert b"event: reload" in events._told(stream, Topics(["host"]))

    fake = Fake([event(1)])
    play(fake, act)
