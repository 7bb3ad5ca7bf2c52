"""Requests about messages: send one to try a channel, and what became of those in the spool."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pyflowd.base.peer import Peer
from pyflowd.control.control import NEXT_TURN
from pyflowd.control.replies import Replies
from pyflowd.errors import Refused
from pyflowd.handlers.access import Access
from pyflowd.notify.notify import Message
from pyflowd.protocol.requests import ListNotifications, SendNotification
from pyflowd.protocol.views_host import NotificationPage, NotificationView
from pyflowd.runtime.notify_spool import Notifier
from pyflowd.runtime.runs import Runs
from pyflowd.store.store import Row

PAGE = 200
_NUMBER_MAX = (1 << 63) - 1
_message = msgspec.msgpack.Decoder(Message).decode


class NotificationHandlers:
    """As `Handlers`: acts when called, answers when pulled."""

    def __init__(self, runs: Runs, notifier: Notifier, access: Access) -> None:
        self.access = access
        self.runs = runs
        self.store = runs.store
        self.notifier = notifier

    def send(self, request: SendNotification, peer: Peer) -> Replies:
        if not request.text.strip():
            raise Refused("the text is empty; say something, as a message without words tells nobody anything")
        subject = f"message from {peer.name} on {self.notifier.host}"
        number = self.notifier.send(self.runs.batch, request.channel, request.text, subject=subject)
        return self._one(number)

    def _one(self, number: int) -> Replies:
        yield NotificationPage(notifications=self._views([self.store.one("notification", number)]))

    def spool(self, request: ListNotifications, peer: Peer) -> Replies:
        """Of those that whoever asks may see the newest, a page a turn: only the message says what it is about."""
        before, left = _NUMBER_MAX, request.limit
        while left > 0 and (rows := list(self.store.rows("notifications_before", before, PAGE))):
            sight = self.access.sight(peer)
            found = [view for view in self._views(rows) if sight.sees_host(view.workflow)][:left]
            before = rows[-1][0]
            if found:
                left -= len(found)
                yield NotificationPage(notifications=found)
            else:
                yield NEXT_TURN
        if left == request.limit:
            yield NotificationPage(notifications=[])

    def _views(self, rows: Iterable[Row]) -> list[NotificationView]:
        return [self._view(row) for row in rows]

    def _view(self, row: Row) -> NotificationView:
        number, channel, state, body, created_us, tries, next_us, ended_us, error = row
        message = _message(body)
        return NotificationView(
            notification=number, id=self.notifier.ids(number)[0], channel=channel, state=state,
            subject=message.subject, created_us=created_us, tries=tries, next_us=next_us, ended_us=ended_us,
            error=error, workflow=message.workflow, run=message.run,
        )  # fmt: skip
