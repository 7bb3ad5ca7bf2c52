"""What has been committed, on its way to the host's journal: events of runs, facts of the host, the last words of
attempts that failed.

The journal is a copy for those who read it; the record is the store. So nothing here waits or fails: entries are made
and sent in idle turns, or a few in each turn once they have waited for a second. Where the journal is not written to,
what somebody must see is a line of the daemon's log.
"""

from __future__ import annotations

import logging
import selectors
from collections.abc import Callable
from functools import partial

from pyflowd.clock import US, Clock
from pyflowd.events import AttemptEnded, ExpectationMissed, RunEnded
from pyflowd.journal import Journal
from pyflowd.keeper.journald import ERROR, encode
from pyflowd.model.states import RunState
from pyflowd.render import journal_entries
from pyflowd.runtime.last_words import LastWords
from pyflowd.runtime.live import LiveRun
from pyflowd.store.batch import Fact, RunMeta

IDLE_ENTRIES = 256
"""Sent in a turn in which nothing else happened."""
BUSY_ENTRIES = 32
"""Sent in another one, when the oldest has waited for `LATE_US`, or `MANY` wait."""
LATE_US = US
MANY = 4096

log = logging.getLogger("pyflowd.runtime.event_journal")


class EventJournal:
    """One thread. `find`: the live run, or one that ended in this turn, by its number."""

    def __init__(
        self,
        journal: Journal,
        find: Callable[[int], LiveRun | None],
        last_words: LastWords,
        selector: selectors.BaseSelector,
        clock: Clock,
    ) -> None:
        self.journal = journal
        self._find = find
        self._last_words = last_words
        self._selector = selector
        self._clock = clock
        self._since_us: int | None = None
        """Since when something waits (boot time)."""
        self._watched_fd = -1

    def committed(self, facts: list[Fact]) -> None:
        """Tell of what a commit has made true; before its runs are forgotten."""
        if not self.journal.active:
            self._say_on_stderr(facts)
            return
        for fact in facts:
            live = self._find(fact.run) if fact.run is not None else None
            self.journal.put(partial(_entry, fact, live.meta if live else None))
            if live is not None and isinstance(fact.event, AttemptEnded) and fact.outcome is not None:
                self._last_words.attempt_ended(live, fact.event, fact.outcome)

    def _say_on_stderr(self, facts: list[Fact]) -> None:
        for fact in facts:
            event = fact.event
            failed = isinstance(event, RunEnded) and event.state is RunState.FAILED
            if failed or isinstance(event, ExpectationMissed):
                live = self._find(fact.run) if fact.run is not None else None
                level = logging.ERROR if journal_entries.priority(fact) == ERROR else logging.WARNING
                action = "run_failed" if failed else "expectation_missed"
                log.log(
                    level, "%s", journal_entries.message(fact, live.meta if live else None), extra={"action": action}
                )

    def wait_us(self) -> int | None:
        """When `write` has something to do: 0 is now; None: nothing waits, or the selector tells."""
        wait_s = self.journal.wait_s() if self.journal.active else None
        return None if wait_s is None else round(wait_s * US)

    def write(self, *, idle: bool) -> None:
        """Send what waits: much of it in an `idle` turn, else only what is late."""
        if not self.journal.waiting():
            self._since_us = None
        elif idle:
            self.journal.flush(IDLE_ENTRIES)
        elif self._is_late():
            self.journal.flush(BUSY_ENTRIES)
        self._watch(self.journal.blocked_fd())

    def _is_late(self) -> bool:
        now_us = self._clock.mono_us()
        if self._since_us is None:
            self._since_us = now_us
        return now_us - self._since_us > LATE_US or self.journal.waiting() > MANY

    def _watch(self, descriptor: int) -> None:
        """Wake when journald reads again."""
        if descriptor == self._watched_fd:
            return
        if self._watched_fd >= 0:
            self._selector.unregister(self._watched_fd)
        if descriptor >= 0:
            self._selector.register(descriptor, selectors.EVENT_WRITE, self._reads_again)
        self._watched_fd = descriptor

    def _reads_again(self, _: int) -> None:
        self.journal.flush(BUSY_ENTRIES)


def _entry(fact: Fact, meta: RunMeta | None) -> bytes:
    return encode(journal_entries.fields(fact, meta))
