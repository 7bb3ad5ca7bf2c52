"""The spool of messages: each is a row that is committed with what it tells of, and stays until it was sent.

`Notifier` decides in the loop's thread which message goes next; the pool's threads send. One message of a channel is
under way at a time. A message is sent at least once: a crash after it was sent and before that was committed sends it
again, with the same id. It knows nothing of servers (`notify_send`) and of how a run ends.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from datetime import tzinfo
from functools import partial
from heapq import heappop, heappush
from typing import NamedTuple, Protocol

import msgspec

from pyflowd.base.pool import Call, Cancel
from pyflowd.base.timers import Timer, Timers
from pyflowd.clock import US, Clock
from pyflowd.errors import NotFound, Unavailable, nearest
from pyflowd.language.document import one_line, quote
from pyflowd.model.workflow import Workflow
from pyflowd.notify import notify
from pyflowd.notify.notify import LONGEST_DELAY_S, Ended, Message, MessageState, Sent
from pyflowd.notify.notify_channels import Channel
from pyflowd.settings import Settings
from pyflowd.store.batch import Batch, RunMeta
from pyflowd.store.store import Store

TOKEN = "notify/"  # noqa: S105 - the prefix of its calls in the pool
WAITING_MAX = 10_000
BURST = 20
"""Messages of one channel within `BURST_US`; what comes faster goes as a digest."""
BURST_US = 60 * US
DIGEST_MAX = 200
"""Messages in one digest."""
KEPT_US = 90 * 86_400 * US
"""How long a message that has ended is kept, where the settings' retention names no age."""
PRUNE_EVERY_US = 3600 * US
LOST_SHOWN_US = 86_400 * US
UNCOMMITTED_US = US
"""Until a row that is not there yet is looked for again: the disk is full."""

log = logging.getLogger("pyflowd.runtime.notify_spool")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class Submits(Protocol):
    """Of the pool."""

    def submit(self, token: str, call: Call, /) -> None: ...


class _Letter(NamedTuple):
    """A message that is under way."""

    number: int
    tries: int
    message: Message


class _Line:
    """What waits for one channel."""

    __slots__ = ("failing", "lost", "sent_us", "under_way", "waiting")

    def __init__(self) -> None:
        self.waiting: list[tuple[int, int]] = []
        """Heap of (boot-time clock from which it may be sent, number)."""
        self.under_way: list[_Letter] = []
        self.sent_us: deque[int] = deque(maxlen=BURST)
        """When the newest tries were made."""
        self.failing = ""
        self.lost = 0
        """Messages given up or dropped within `LOST_SHOWN_US`."""

    def due_us(self) -> int | None:
        """When the next try may be made; None: nothing waits, or one is under way."""
        if self.under_way or not self.waiting:
            return None
        pause_us = self.sent_us[0] + BURST_US if len(self.sent_us) == BURST else 0
        return max(self.waiting[0][0], pause_us)

    def may_send(self, now_us: int) -> int:
        """Tries that may be made before the burst is over."""
        return BURST - sum(at_us > now_us - BURST_US for at_us in self.sent_us)


class Notifier:
    """One thread: `enqueue`, `send` and `run_ended` write into the turn's batch; `deliver_due` belongs after each
    commit; results of the pool whose token begins with `TOKEN` come to `taken`.
    """

    def __init__(
        self,
        *,
        store: Store,
        timers: Timers,
        clock: Clock,
        pool: Submits,
        settings: Settings,
        host: str,
        zone: tzinfo,
        note: Callable[[str, str], None],
        lost: Callable[[Batch, str, int, str], None] = lambda batch, channel, number, error: None,
    ) -> None:
        """`note`: of Health; `lost`: writes the event that a message (channel, number) was given up or dropped."""
        self.store = store
        self.timers = timers
        self.clock = clock
        self.pool = pool
        self.channels: dict[str, Channel] = settings.channels
        self.rules = settings.notify
        self.host = host
        self.zone = zone
        age_s = settings.retention.age_s
        self._kept_us = KEPT_US if age_s is None else round(age_s * US)
        self._note = note
        self._tell_lost = lost
        self._lines: dict[str, _Line] = {}
        self._waiting = 0
        self._next: int = store.one("last_notification")[0] + 1
        self._pruned_us: int | None = None
        self._timer: Timer | None = None
        self._stopped = False

    # ---- Life

    def take(self, settings: Settings) -> None:
        """Channels and rules are others from now on; what waits for a channel that is gone is given up."""
        self.channels = settings.channels
        self.rules = settings.notify
        age_s = settings.retention.age_s
        self._kept_us = KEPT_US if age_s is None else round(age_s * US)

    def start(self) -> None:
        """Take up what waits since the daemon was last there."""
        now_us, wall_us = self.clock.mono_us(), self.clock.wall_us()
        for number, channel, next_us in self.store.rows("notifications_waiting"):
            # The wall clock may have been set meanwhile: no message waits longer than its longest delay.
            wait_us = min(max(0, next_us - wall_us), round(LONGEST_DELAY_S * US))
            heappush(self._line(channel).waiting, (now_us + wait_us, number))
            self._waiting += 1
        self._count_lost()
        self._arm()

    def stop(self) -> None:
        """Begin no more; what is under way ends in the pool, and may still be `taken`. Safe twice."""
        self._stopped = True
        if self._timer:
            self._timer.cancel()

    # ---- Messages

    def enqueue(self, batch: Batch, message: Message) -> bool:
        """Write a message into the spool; False: it is full, and the message is recorded as dropped."""
        number, self._next = self._next, self._next + 1
        message = msgspec.structs.replace(
            message, subject=notify.subject_line(message.subject), text=notify.body_text(message.text)
        )
        now_us = self.clock.wall_us()
        body = _encode(message)
        if self._waiting >= WAITING_MAX:
            error = f"{WAITING_MAX} messages waited already"
            batch.add("notification", number, message.channel, MessageState.DROPPED, body, now_us, None, now_us, error)
            self._lose(batch, message.channel, number, error)
            return False
        batch.add("notification", number, message.channel, MessageState.WAITING, body, now_us, now_us, None, "")
        heappush(self._line(message.channel).waiting, (self.clock.mono_us(), number))
        self._waiting += 1
        self._arm()
        return True

    def send(
        self, batch: Batch, channel: str, text: str, *, subject: str = "", workflow: str = "", run: int | None = None
    ) -> int:
        """A message for which somebody asked: a task, or a person; its number. Raises NotFound, Unavailable."""
        if channel not in self.channels:
            raise NotFound(self._unknown(channel))
        about = f"{workflow}: run {run}" if run is not None else "a message"
        message = Message(
            channel=channel, subject=subject if subject.strip() else f"{about} on {self.host}", text=text,
            workflow=workflow, run=run, at_us=self.clock.wall_us(), host=self.host,
        )  # fmt: skip
        number = self._next
        if not self.enqueue(batch, message):
            raise Unavailable(f"{WAITING_MAX} messages wait to be sent already; see: pyflowctl notifications")
        return number

    def run_ended(self, batch: Batch, meta: RunMeta, workflow: Workflow, ended: Ended) -> None:
        """Tell those whom the workflow's and the host's rules name (rule H4)."""
        for channel in notify.told(workflow.notify, self.rules, meta.workflow, workflow.labels, ended.state):
            trigger = f"{meta.trigger}, asked for by {meta.requested_by}" if meta.requested_by else meta.trigger
            message = notify.of_run(channel, meta.workflow, meta.run, trigger, ended, self.host, self.zone)
            self.enqueue(batch, message)

    def ids(self, *numbers: int) -> tuple[str, ...]:
        """What receivers know messages by: unique over stores."""
        return tuple(f"{self.store.instance}-{number}" for number in numbers)

    # ---- Sending

    def deliver_due(self) -> None:
        """Hand to the pool what is due and committed."""
        if self._stopped or not self._waiting:
            return
        now_us = self.clock.mono_us()
        for channel, line in self._lines.items():
            due_us = line.due_us()
            if due_us is not None and due_us <= now_us:
                line.under_way = self._take(line, now_us)
                if line.under_way:
                    line.sent_us.append(now_us)
                    self.pool.submit(TOKEN + channel, self._call(channel, line.under_way))
        self._arm()

    def _take(self, line: _Line, now_us: int) -> list[_Letter]:
        """The next message, or where they come too fast all that are due; none where they are not committed yet."""
        most = DIGEST_MAX if line.may_send(now_us) <= 1 else 1
        letters: list[_Letter] = []
        while line.waiting and line.waiting[0][0] <= now_us and len(letters) < most:
            number = line.waiting[0][1]
            row = self.store.one_or_none("notification_waiting", number)
            if row is None:
                heappop(line.waiting)
                heappush(line.waiting, (now_us + UNCOMMITTED_US, number))
                break
            letter = _Letter(number, row[1], _decode(row[0]))
            if letter.message.only_to and letters:
                break  # some have it already: it goes alone
            heappop(line.waiting)
            letters.append(letter)
            if letter.message.only_to:
                break
        return letters

    def _call(self, channel: str, letters: list[_Letter]) -> Call:
        known = self.channels.get(channel)
        if known is None:
            error = self._unknown(channel)
            return lambda cancel: Sent(error=error)
        messages = [letter.message for letter in letters]
        message = messages[0] if len(messages) == 1 else notify.digest(messages)
        return partial(_deliver, known, message, self.ids(*(letter.number for letter in letters)))

    def taken(self, batch: Batch, token: str, result: object) -> None:
        """What came of a try: the message is sent, or waits for another, or is given up."""
        channel = token.removeprefix(TOKEN)
        line = self._lines[channel]
        letters, line.under_way = line.under_way, []
        if not isinstance(result, Sent):  # a fault of ours; the message must not pay for it
            log.error("%s: a message could not be sent: %r", channel, result, extra={"action": "notify_broken"})
            result = Sent(error=f"internal error: {one_line(repr(result))}")
        line.failing = result.error
        for letter in letters:
            if result.error:
                self._again(batch, line, letter, result)
            else:
                self._end(batch, letter, MessageState.SENT, "")
        self._prune(batch)
        self._show(channel)
        self._arm()

    def _again(self, batch: Batch, line: _Line, letter: _Letter, result: Sent) -> None:
        tries = letter.tries + 1
        delay_s = notify.delay_s(tries, result.retry_after_s)
        if delay_s is None:
            self._end(batch, letter, MessageState.GIVEN_UP, result.error)
            return
        message = msgspec.structs.replace(letter.message, only_to=result.left) if result.left else letter.message
        delay_us = round(delay_s * US)
        next_us = self.clock.wall_us() + delay_us
        batch.add("notification_again", tries, next_us, result.error, _encode(message), letter.number)
        heappush(line.waiting, (self.clock.mono_us() + delay_us, letter.number))

    def _end(self, batch: Batch, letter: _Letter, state: MessageState, error: str) -> None:
        self._waiting -= 1
        batch.add("notification_end", state, letter.tries + 1, self.clock.wall_us(), error, letter.number)
        if state is not MessageState.SENT:
            self._lose(batch, letter.message.channel, letter.number, error)

    def _lose(self, batch: Batch, channel: str, number: int, error: str) -> None:
        log.error("message %d for %s is lost: %s", number, channel, error, extra={"action": "notify_lost"})
        self._tell_lost(batch, channel, number, error)
        self._line(channel).lost += 1
        self._show(channel)

    # ---- What people should know

    def _unknown(self, channel: str) -> str:
        known = nearest(channel, list(self.channels))
        fix = "add it to pyflowd.yaml, then: pyflowctl reload"
        return f"there is no channel {quote(channel)} in the settings{known}; {fix}"

    def _show(self, channel: str) -> None:
        line = self._line(channel)
        parts = []
        if line.failing:
            parts.append(f"{len(line.waiting)} waiting, {line.failing}")
        if line.lost:
            parts.append(f"{line.lost} given up or dropped within a day; see: pyflowctl notifications")
        self._note(f"channel {channel}", "; ".join(parts))

    def _count_lost(self) -> None:
        """Count anew what was lost, now and once an hour for as long as there is any."""
        found: dict[str, int] = dict(self.store.rows("notifications_lost", self.clock.wall_us() - LOST_SHOWN_US))
        for channel in {*self._lines, *found}:
            self._line(channel).lost = found.get(channel, 0)
            self._show(channel)
        self.timers.at(self.clock.mono_us() + PRUNE_EVERY_US, self._count_lost)

    # ---- Odds and ends

    def _line(self, channel: str) -> _Line:
        return self._lines.setdefault(channel, _Line())

    def _arm(self) -> None:
        """Wake the loop when something is due; `deliver_due` follows in that turn."""
        due_us = min((due for line in self._lines.values() if (due := line.due_us()) is not None), default=None)
        if self._timer and self._timer.callback and self._timer.due_us == due_us:
            return
        if self._timer:
            self._timer.cancel()
        self._timer = None if due_us is None or self._stopped else self.timers.at(due_us, _wake)

    def _prune(self, batch: Batch) -> None:
        """Forget what ended long ago, once an hour at most."""
        now_us = self.clock.mono_us()
        if self._pruned_us is None or now_us - self._pruned_us >= PRUNE_EVERY_US:
            self._pruned_us = now_us
            batch.add("prune_notifications", self.clock.wall_us() - self._kept_us)


def _wake() -> None:
    """A turn is all that is wanted."""


def _deliver(channel: Channel, message: Message, ids: tuple[str, ...], cancel: Cancel) -> Sent:
    from pyflowd.notify import (
        notify_send,  # smtplib, ssl, email and http.client: only who sends a message pays for them
    )

    return notify_send.deliver(channel, message, ids, cancel)
