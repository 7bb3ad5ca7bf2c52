"""The spool: a message is committed with what it tells of, is sent once where all goes well and again where it does
not, is never silently lost, and holds nobody up.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from pyflowd.base.pool import Call, Cancel
from pyflowd.base.timers import Timers
from pyflowd.clock import US
from pyflowd.errors import NotFound, Unavailable
from pyflowd.model.kinds import Shell
from pyflowd.model.states import RunState
from pyflowd.model.workflow import NotifyRule, Task, Workflow
from pyflowd.notify.notify import MOST_TRIES, Ended, HostRule, Message, MessageState, Sent
from pyflowd.notify.notify_channels import Hook, Mail, Shape
from pyflowd.runtime import notify_spool
from pyflowd.runtime.notify_spool import BURST, DIGEST_MAX, TOKEN, Notifier
from pyflowd.settings import Settings
from pyflowd.store.batch import Batch, RunMeta
from pyflowd.store.store import Store
from tests.fakes import FakeClock

CHANNELS = {"oncall": Mail(to=("a@example.com",)), "hook": Hook(shape=Shape.WEBHOOK, url="http://127.0.0.1:1/")}
SETTINGS = Settings(channels=CHANNELS, notify=(HostRule(channel="hook", workflows=("night*",)),))
WORKFLOW = Workflow(
    name="nightly", tasks=(Task(name="a", kind=Shell(text="true")),), notify=(NotifyRule(channel="oncall"),)
)
META = RunMeta(run=7, workflow="nightly", digest="d", trigger="manual", requested_by="ada")


class Desk:
    """A spool with its store; the pool is a list of calls that the test answers."""

    def __init__(self, folder: Path, settings: Settings = SETTINGS) -> None:
        self.folder, self.settings = folder, settings
        self.clock = FakeClock()
        self.notes: dict[str, str] = {}
        self.lost: list[tuple[str, int, str]] = []
        self.begin()

    def begin(self) -> None:
        """The daemon starts."""
        self.store, self.timers = Store(str(self.folder)), Timers()
        self.batch: Batch = self.store.batch()
        self.calls: dict[str, Call] = {}
        self.notifier = Notifier(
            store=self.store, timers=self.timers, clock=self.clock, pool=self, settings=self.settings, host="web1",
            zone=ZoneInfo("UTC"), note=self._note, lost=lambda batch, *what: self.lost.append(what),
        )  # fmt: skip
        self.notifier.start()

    def _note(self, subject: str, warning: str) -> None:
        self.notes.pop(subject, None)
        if warning:
            self.notes[subject] = warning

    def submit(self, token: str, call: Call) -> None:
        assert token not in self.calls
        self.calls[token] = call

    def turn(self) -> list[str]:
        """Fire what is due, commit, hand to the pool; the channels whose messages are under way."""
        self.timers.fire(self.clock.mono_us())
        self.store.commit(self.batch)
        self.batch = self.store.batch()
        self.notifier.deliver_due()
        return [token.removeprefix(TOKEN) for token in self.calls]

    def answer(self, channel: str, result: object = None) -> None:
        """The pool has come to an end with the channel's call."""
        del self.calls[TOKEN + channel]
        self.notifier.taken(self.batch, TOKEN + channel, Sent() if result is None else result)

    def under_way(self, channel: str) -> tuple[Message, tuple[str, ...]]:
        """What the pool was given to send."""
        _, message, ids = self.calls[TOKEN + channel].args  # type: ignore[attr-defined]
        return message, ids

    def tell(self, text: str = "x", channel: str = "oncall") -> int:
        return self.notifier.send(self.batch, channel, text)

    def crash(self) -> None:
        """What is not committed is lost."""
        self.store.close()
        self.begin()

    def rows(self) -> list[dict[str, Any]]:
        names = ("number", "channel", "state", "body", "created_us", "tries", "next_us", "ended_us", "error")
        return [
            dict(zip(names, row, strict=True)) for row in self.store.rows("notifications_before", 1 << 62, 1_000_000)
        ][::-1]

    def states(self) -> list[str]:
        return [row["state"] for row in self.rows()]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.store.close()


# ---- The way of a message


def test_a_message_is_sent_after_it_is_committed_and_not_before(desk: Desk) -> None:
    desk.tell()
    desk.notifier.deliver_due()
    assert not desk.calls
    desk.clock.advance(1)
    assert desk.turn() == ["oncall"]


def test_a_message_that_was_sent_is_not_sent_again(desk: Desk) -> None:
    desk.tell("it is done")
    desk.turn()
    assert desk.under_way("oncall")[0].text == "it is done"
    desk.answer("oncall")
    desk.clock.advance(7200)
    assert desk.turn() == []
    desk.crash()
    assert (desk.turn(), desk.states()) == ([], ["sent"])


def test_one_message_of_a_channel_is_under_way_at_a_time_in_their_order(desk: Desk) -> None:
    for text in ("1", "2", "3"):
        desk.tell(text)
    told = []
    for _ in range(3):
        assert desk.turn() == ["oncall"]
        desk.turn()
        told.append(desk.under_way("oncall")[0].text)
        desk.answer("oncall")
    assert told == ["1", "2", "3"]


def test_a_channel_that_hangs_holds_up_no_other(desk: Desk) -> None:
    desk.tell()
    desk.turn()
    desk.tell(channel="hook")
    assert desk.turn() == ["oncall", "hook"]


def test_the_loop_does_not_sleep_over_a_new_message(desk: Desk) -> None:
    desk.tell()
    assert desk.timers.next_due_us() == desk.clock.mono_us()


def test_the_loop_is_woken_when_a_message_is_due_again(desk: Desk) -> None:
    desk.tell()
    desk.turn()
    desk.answer("oncall", Sent(error="no"))
    desk.turn()
    assert desk.timers.next_due_us() == desk.clock.mono_us() + 10 * US


def test_the_loop_sleeps_while_nothing_waits(desk: Desk) -> None:
    desk.tell()
    desk.turn()
    due_us = desk.timers.next_due_us()
    assert due_us is not None
    assert due_us - desk.clock.mono_us() >= 3600 * US


# ---- A try in vain


def test_a_try_in_vain_is_followed_by_another_with_the_same_id(desk: Desk) -> None:
    desk.tell()
    desk.turn()
    first = desk.under_way("oncall")
    desk.answer("oncall", Sent(error="no answer"))
    assert desk.turn() == []
    (row,) = desk.rows()
    assert (row["state"], row["tries"], row["error"]) == ("waiting", 1, "no answer")
    assert row["next_us"] == desk.clock.wall_us() + 10 * US
    desk.clock.advance(10)
    assert desk.turn() == ["oncall"]
    assert desk.under_way("oncall") == first


def test_a_fault_of_ours_is_a_try_in_vain(desk: Desk) -> None:
    desk.tell()
    desk.turn()
    desk.answer("oncall", RuntimeError("bug\nhere"))
    desk.turn()
    assert desk.rows()[0]["error"] == "internal error: RuntimeError('bug\\nhere')"


def test_a_message_is_given_up_after_a_day_and_that_is_said(desk: Desk) -> None:
    number = desk.tell()
    tries = 0
    while desk.states() in ([], ["waiting"]):
        desk.clock.advance(3600)
        if desk.turn():
            tries += 1
            desk.answer("oncall", Sent(error="no answer"))
            desk.turn()
    assert (tries, desk.states()) == (MOST_TRIES, ["given_up"])
    assert desk.lost == [("oncall", number, "no answer")]
    assert "1 given up or dropped within a day" in desk.notes["channel oncall"]


def test_a_channel_that_fails_is_a_warning_until_a_message_gets_through(desk: Desk) -> None:
    desk.tell()
    desk.turn()
    desk.answer("oncall", Sent(error="mx:25: Connection refused"))
    assert desk.notes == {"channel oncall": "1 waiting, mx:25: Connection refused"}
    desk.clock.advance(10)
    desk.turn()
    desk.answer("oncall")
    assert not desk.notes


def test_who_has_a_mail_already_does_not_get_it_again(desk: Desk) -> None:
    desk.tell()
    desk.turn()
    desk.answer("oncall", Sent(error="b: 451", left=("b@example.com",)))
    desk.turn()
    desk.crash()
    desk.clock.advance(10)
    desk.turn()
    assert desk.under_way("oncall")[0].only_to == ("b@example.com",)


# ---- Over a crash


def test_a_message_of_a_batch_that_was_never_committed_is_never_sent(desk: Desk) -> None:
    desk.tell()
    desk.crash()
    assert (desk.turn(), desk.rows()) == ([], [])


def test_a_message_that_was_under_way_in_a_crash_is_sent_again_with_the_same_id(desk: Desk) -> None:
    desk.tell()
    desk.turn()
    before = desk.under_way("oncall")
    desk.crash()
    assert desk.turn() == ["oncall"]
    assert desk.under_way("oncall") == before


def test_a_back_off_goes_on_after_a_crash(desk: Desk) -> None:
    desk.tell()
    desk.turn()
    desk.answer("oncall", Sent(error="no"))
    desk.turn()
    desk.clock.advance(4)
    desk.crash()
    assert desk.turn() == []
    desk.clock.advance(6)
    assert desk.turn() == ["oncall"]


def test_a_clock_that_was_set_back_delays_a_message_by_an_hour_at_most(desk: Desk) -> None:
    desk.tell()
    desk.turn()
    desk.answer("oncall", Sent(error="no"))
    desk.turn()
    desk.clock.set_wall(desk.clock.wall_us() - 400 * 86_400 * US)
    desk.crash()
    desk.clock.advance(3600)
    assert desk.turn() == ["oncall"]


def test_a_new_message_never_has_the_number_of_an_old_one(desk: Desk) -> None:
    first = desk.tell()
    desk.turn()
    desk.crash()
    assert desk.tell() == first + 1


def test_the_warning_about_lost_messages_comes_back_after_a_restart_and_goes_after_a_day(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify_spool, "WAITING_MAX", 0)
    with pytest.raises(Unavailable):
        desk.tell()
    desk.turn()
    desk.notes.clear()
    desk.crash()
    assert "1 given up or dropped" in desk.notes["channel oncall"]
    desk.clock.advance(86_401)
    desk.turn()
    assert not desk.notes


def test_nothing_is_begun_after_a_stop_and_what_ends_then_is_recorded(desk: Desk) -> None:
    desk.tell("1")
    desk.turn()
    desk.tell("2")
    desk.notifier.stop()
    desk.notifier.stop()
    desk.answer("oncall")
    assert desk.turn() == []
    assert desk.states() == ["sent", "waiting"]


# ---- Bounds


def test_a_full_spool_drops_what_comes_and_records_that(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify_spool, "WAITING_MAX", 2)
    desk.tell()
    desk.tell()
    with pytest.raises(Unavailable, match="2 messages wait to be sent already"):
        desk.tell()
    desk.turn()
    assert desk.states() == ["waiting", "waiting", "dropped"]
    assert desk.lost == [("oncall", 3, "2 messages waited already")]
    desk.answer("oncall")
    desk.tell()  # there is room again


def test_a_burst_goes_as_one_digest_after_the_first_messages(desk: Desk) -> None:
    for n in range(BURST + 5):
        desk.tell(str(n))
    sent = []
    while desk.turn():
        sent.append(desk.under_way("oncall"))
        desk.answer("oncall")
    assert len(sent) == BURST
    message, ids = sent[-1]
    assert message.subject.startswith("6 messages from web1:")
    assert ids == desk.notifier.ids(*range(BURST, BURST + 6))
    assert desk.states() == [MessageState.SENT] * (BURST + 5)


def test_after_a_burst_the_channel_rests_until_a_minute_has_passed(desk: Desk) -> None:
    for n in range(BURST + 2 * DIGEST_MAX):
        desk.tell(str(n))
    while desk.turn():
        desk.answer("oncall")
    assert desk.states().count("waiting") > 0
    desk.clock.advance(59)
    assert desk.turn() == []
    desk.clock.advance(1)
    assert desk.turn() == ["oncall"]


def test_each_message_of_a_digest_in_vain_is_tried_again(desk: Desk) -> None:
    for n in range(BURST + 1):
        desk.tell(str(n))
    for _ in range(BURST - 1):
        desk.turn()
        desk.answer("oncall")
    desk.turn()
    desk.answer("oncall", Sent(error="no"))
    desk.turn()
    assert [row["tries"] for row in desk.rows()] == [1] * (BURST + 1)
    desk.clock.advance(60)
    desk.turn()
    assert desk.states().count("waiting") == 2


def partly_sent_in_a_burst(desk: Desk) -> None:
    """Message 1 is to be sent again in 10 s to those who were refused; one try is left in this minute."""
    for n in range(BURST - 1):
        desk.tell(str(n))
    for n in range(BURST - 1):
        desk.turn()
        desk.answer("oncall", None if n else Sent(error="b", left=("b@example.com",)))


def test_a_mail_that_some_have_begins_no_digest(desk: Desk) -> None:
    partly_sent_in_a_burst(desk)
    desk.clock.advance(10)
    desk.tell("20")
    desk.turn()
    assert desk.under_way("oncall")[1] == desk.notifier.ids(1)


def test_a_mail_that_some_have_is_in_no_digest(desk: Desk) -> None:
    partly_sent_in_a_burst(desk)
    desk.clock.advance(9)
    desk.tell("20")
    desk.tell("21")
    desk.clock.advance(1)
    desk.tell("22")
    desk.turn()
    assert desk.under_way("oncall")[1] == desk.notifier.ids(BURST, BURST + 1)


def test_what_ended_long_ago_is_forgotten(desk: Desk) -> None:
    desk.tell()
    desk.turn()
    desk.answer("oncall")
    desk.clock.advance(91 * 86_400)
    desk.tell()
    desk.turn()
    desk.answer("oncall")
    desk.turn()
    assert [row["number"] for row in desk.rows()] == [2]


# ---- Who is told


def test_the_end_of_a_run_is_told_by_the_rules_of_the_workflow_and_of_the_host(desk: Desk) -> None:
    desk.notifier.run_ended(desk.batch, META, WORKFLOW, Ended(state=RunState.FAILED, ended_us=desk.clock.wall_us()))
    assert desk.turn() == ["oncall", "hook"]
    message, _ = desk.under_way("oncall")
    assert (message.subject, message.run) == ("nightly failed on web1 (run 7)", 7)
    assert "trigger   manual, asked for by ada" in message.text


def test_a_run_that_nobody_asked_about_is_not_told(desk: Desk) -> None:
    desk.notifier.run_ended(desk.batch, META, WORKFLOW, Ended(state=RunState.SUCCEEDED, ended_us=desk.clock.wall_us()))
    assert (desk.turn(), desk.rows()) == ([], [])


def test_a_message_to_a_channel_that_there_is_not_is_refused_with_the_nearest(desk: Desk) -> None:
    with pytest.raises(NotFound, match=r'no channel "oncal" in the settings \(did you mean "oncall"\?\); add it'):
        desk.tell(channel="oncal")
    assert not desk.batch.writes


def test_a_rule_for_a_channel_that_there_is_not_keeps_its_message_until_there_is(desk: Desk) -> None:
    workflow = msgspec.structs.replace(WORKFLOW, notify=(NotifyRule(channel="pager"),))
    meta = msgspec.structs.replace(META, workflow="w")
    desk.notifier.run_ended(desk.batch, meta, workflow, Ended(state=RunState.FAILED, ended_us=desk.clock.wall_us()))
    desk.turn()
    desk.answer("pager", desk.calls[TOKEN + "pager"](Cancel()))
    desk.turn()
    assert 'there is no channel "pager"' in desk.notes["channel pager"]
    desk.settings = Settings(channels={**CHANNELS, "pager": CHANNELS["hook"]})
    desk.crash()
    desk.clock.advance(10)
    assert desk.turn() == ["pager"]
    assert desk.under_way("pager")[0].run == 7


def test_a_message_without_a_subject_gets_one(desk: Desk) -> None:
    desk.notifier.send(desk.batch, "oncall", "x", workflow="w", run=3)
    desk.turn()
    assert desk.under_way("oncall")[0].subject == "w: run 3 on web1"


def test_what_is_heavy_is_imported_when_a_message_is_sent(desk: Desk) -> None:
    """See test_floors for the daemon as a whole; here: that the call does send."""
    desk.tell(channel="hook")
    desk.turn()
    sent = desk.calls[TOKEN + "hook"](Cancel())
    assert isinstance(sent, Sent)
    assert "127.0.0.1:1: " in sent.error
