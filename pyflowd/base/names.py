"""Accounts and groups by name and number, as the host knows them.

Where the host asks a server, an answer may take long, and it is wanted for every request and every start: each is kept
for a minute, also that there is no such account. Accounts come, go, and come again: none is kept for longer.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from typing import Generic, TypeVar

from pyflowd.clock import US, SystemClock

KEPT_US = 60 * US
MOST_KEPT = 4096

_BOOT_TIME = SystemClock().mono_us

Key = TypeVar("Key")
Answer = TypeVar("Answer")


class Kept(Generic[Key, Answer]):
    """A question that raises KeyError where there is no answer; this says None then."""

    def __init__(self, ask: Callable[[Key], Answer], mono_us: Callable[[], int] = _BOOT_TIME) -> None:
        self._ask = ask
        self._mono_us = mono_us
        self._known: dict[Key, tuple[int, Answer | None]] = {}

    def __call__(self, key: Key) -> Answer | None:
        now_us = self._mono_us()
        known = self._known.get(key)
        return known[1] if known is not None and now_us - known[0] < KEPT_US else self.fresh(key)

    def fresh(self, key: Key) -> Answer | None:
        """Asked now, whatever is kept."""
        try:
            answer: Answer | None = self._ask(key)
        except KeyError:
            answer = None
        if len(self._known) >= MOST_KEPT:
            self._known.clear()
        self._known[key] = self._mono_us(), answer
        return answer


def _groups(account: str) -> frozenset[int]:
    return frozenset(os.getgrouplist(account, pwd.getpwnam(account).pw_gid))


account_of_uid = Kept(pwd.getpwuid)
account_named = Kept(pwd.getpwnam)
group_of_gid = Kept(grp.getgrgid)
group_named = Kept(grp.getgrnam)
groups_of_account = Kept(_groups)
"""Ids of all groups that an account is in when it logs in."""
