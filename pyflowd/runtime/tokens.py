"""Tokens: which there are, whom each stands for at this moment, and when it is at its end.

All are in memory and in the store, by the hash of their text; the text is known to nobody but its bearer. What an
account may do is looked up whenever its token is shown, never kept. It knows nothing of connections and of requests.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections import Counter
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from pyflowd.base import names
from pyflowd.base.peer import Peer, Roles
from pyflowd.clock import US
from pyflowd.control.control import Standing
from pyflowd.errors import Forbidden, Refused, Unavailable
from pyflowd.protocol.tokens import Sort
from pyflowd.protocol.words import Level
from pyflowd.runtime.health import Health
from pyflowd.runtime.runs import Runs

LOGIN_S = 60
SESSION_S = 8 * 3600
IDLE_S = 30 * 60
"""A session ends that makes no request for so long; a stream that goes on is none."""
BEARER_S = 90 * 86_400
REVIEW_US = 60 * US
"""Nothing tells that an account has left a group or the host: it is looked up again."""
USE_NOTED_US = 60 * US
MOST = {Sort.LOGIN: 5, Sort.SESSION: 20, Sort.BEARER: 50}
"""Of one account. For one more login or session the one that was made or used first ends."""
FAILED_MAX = 60
"""Tries a minute with what is no token, of one user of the host; nothing that holds is refused for more."""
WINDOW_US = 60 * US
NOTED_US = 3600 * US
SUBJECT = "tokens"
_PREFIX = {Sort.LOGIN: "pfl_", Sort.SESSION: "pfs_", Sort.BEARER: "pfb_"}
"""So that people, and programs that look for leaked secrets, know what they see."""
_BYTES = 32
_NO_SHELLS = ("nologin", "false")
_INVALID = "this token is not valid (any more): log in again, or make another with: pyflowctl token create"


class Token(Struct, frozen=True, kw_only=True):
    """One that holds, or did until a moment ago."""

    token: int
    hash: bytes
    sort: Sort
    uid: int
    account: str
    has_shell: bool
    """Whether the account could log in when it was made."""
    by_proxy: bool
    level: Level | None
    label: str
    created_us: int
    expires_us: int | None
    used_us: int | None = None

    @property
    def ends_us(self) -> int | None:
        """When it is at its end if it is not used."""
        if self.sort is not Sort.SESSION or self.expires_us is None:
            return self.expires_us
        return min(self.expires_us, (self.used_us or self.created_us) + IDLE_S * US)


class Tokens:
    """Of one instance; part of a turn: what is made, used and ended is in its commit."""

    def __init__(self, runs: Runs, health: Health, roles: Roles) -> None:
        self._runs = runs
        self._health = health
        self.roles = roles
        """Who has which level on the host, now."""
        self.proxy_level = Level.NONE
        """The most that a session may do for which only a proxy vouches; NONE: there are none."""
        self.ended: Callable[[], None] = lambda: None
        """Called when tokens have ended before their time, or stand for less."""
        self._by_hash: dict[bytes, Token] = {}
        self._by_number: dict[int, Token] = {}
        self._noted_us: dict[int, int] = {}
        """When the use of each was written."""
        self._next = int(runs.store.one("last_token")[0]) + 1
        self._failed: Counter[int] = Counter()
        self._window_us = -WINDOW_US
        for row in runs.store.rows("tokens"):
            self._keep(_token(*row))

    # ---- Whom it stands for

    def open(self, text: str, kernel: Peer) -> Standing:
        """Of a session or bearer token; a login is for `open_session` only. Raises Forbidden, Unavailable."""
        token = self._by_hash.get(_hash(text))
        if token is None or token.sort is Sort.LOGIN:
            raise self._failure(kernel.uid)
        return self._standing(token, kernel.uid, kernel.pid)

    def renew(self, peer: Peer, *, used: bool) -> Standing:
        """Raises Forbidden. `used`: by a request of its bearer."""
        token = self._by_number.get(peer.token)
        if token is None or peer.carrier is None:
            raise Forbidden(_INVALID)
        found = self._standing(token, peer.carrier, peer.pid)
        if used:
            self._use(token)
            found = self._standing(self._by_number[peer.token], peer.carrier, peer.pid)
        return found

    def _standing(self, token: Token, carrier: int, pid: int) -> Standing:
        """Raises Forbidden."""
        now_us = self._runs.clock.wall_us()
        left_us = REVIEW_US if token.ends_us is None else token.ends_us - now_us
        cap = self.proxy_level if token.by_proxy else Level.ADMIN if token.level is None else token.level
        if left_us <= 0 or cap is Level.NONE:
            raise Forbidden(_INVALID)
        own = self.account(token.uid)
        if own.name != token.account:  # removed, and the number perhaps given to another
            raise Forbidden(_INVALID)
        if token.has_shell and not _has_shell(token.uid):
            raise Forbidden(_INVALID)
        peer = replace(own, pid=pid, level=min(cap, own.level), carrier=carrier, token=token.token, cap=cap)
        return Standing(peer, min(REVIEW_US, left_us))

    def account(self, uid: int) -> Peer:
        """An account with the rights that it has wherever it logs in."""
        known = names.account_of_uid(uid)
        groups = None if known is None else names.groups_of_account(known.pw_name)
        level = self.roles.level(uid, groups or frozenset())
        gid = uid if known is None else known.pw_gid
        return Peer(uid=uid, gid=gid, pid=0, level=level, groups=groups or frozenset())

    def stands_for(self, token: Token, carrier: int, pid: int) -> Peer:
        """Raises Forbidden."""
        return self._standing(token, carrier, pid).peer

    def _failure(self, carrier: int) -> Forbidden:
        """Counts it. Raises Unavailable where there are too many: they are guesses, or a program runs wild."""
        now_us = self._runs.clock.mono_us()
        if now_us - self._window_us >= WINDOW_US:
            self._window_us = now_us
            self._failed.clear()
        self._failed[carrier] += 1
        if self._failed[carrier] <= FAILED_MAX:
            return Forbidden(_INVALID)
        if self._failed[carrier] == FAILED_MAX + 1:
            self._health.note(SUBJECT, f"more than {FAILED_MAX} tries a minute with tokens that are none")
            self._runs.timers.at(now_us + NOTED_US, lambda: self._health.note(SUBJECT, ""))
        raise Unavailable("too many tries with tokens that are not valid: try again in a minute")

    # ---- What becomes of it

    def create(self, peer: Peer, sort: Sort, level: Level | None, label: str, lasts_s: int | None) -> tuple[Token, str]:
        """For the peer's own account, and its text. Raises Refused. `lasts_s`: None: it never expires."""
        return self._create(peer.uid, sort, level, label, lasts_s, by_proxy=False)

    def open_session(self, login: str, kernel_uid: int) -> tuple[Token, str]:
        """For a login, which ends with it. Raises Forbidden, Unavailable."""
        found = self._by_hash.get(_hash(login))
        if found is None or found.sort is not Sort.LOGIN:
            raise self._failure(kernel_uid)
        self._standing(found, kernel_uid, 0)
        self._forget(found)
        return self._create(found.uid, Sort.SESSION, found.level, found.label, SESSION_S, by_proxy=False)

    def open_session_of(self, account: str) -> tuple[Token, str]:
        """For an account of this host that a proxy has named. Raises Forbidden."""
        known = names.account_named(account)
        if known is None or not _has_shell(known.pw_uid):
            raise Forbidden(f'there is no account "{account[:64]}" on this host that may log in')
        return self._create(known.pw_uid, Sort.SESSION, None, "proxy", SESSION_S, by_proxy=True)

    def _create(
        self, uid: int, sort: Sort, level: Level | None, label: str, lasts_s: int | None, *, by_proxy: bool
    ) -> tuple[Token, str]:  # fmt: skip
        self.prune()
        same = [each for each in self._by_number.values() if each.uid == uid and each.sort is sort]
        if len(same) >= MOST[sort]:
            if sort is Sort.BEARER:
                raise Refused(
                    f"{same[0].account} has {len(same)} tokens, and that is as many as may be: "
                    "end those that are not needed; see: pyflowctl token list"
                )
            self.revoke(min(same, key=lambda each: each.used_us or each.created_us))
        text = _PREFIX[sort] + secrets.token_urlsafe(_BYTES)
        now_us = self._runs.clock.wall_us()
        token = Token(
            token=self._next, hash=_hash(text), sort=sort, uid=uid,
            account=self.account(uid).name, has_shell=_has_shell(uid), by_proxy=by_proxy,
            level=level, label=label, created_us=now_us,
            expires_us=None if lasts_s is None else now_us + lasts_s * US,
        )  # fmt: skip
        self._next += 1
        self._keep(token)
        self._runs.batch.add(
            "token", token.token, token.hash, token.sort.value, token.uid, token.account, int(token.has_shell),
            int(token.by_proxy), token.level, token.label, token.created_us, token.expires_us,
        )  # fmt: skip
        return token, text

    def revoke(self, token: Token) -> None:
        """Whoever speaks with it is cut off when this has been answered."""
        self._forget(token)
        self.ended()

    def take_proxy_level(self, level: Level) -> None:
        self.proxy_level = level
        self.ended()

    def prune(self) -> None:
        """Forget those that are at their end."""
        now_us = self._runs.clock.wall_us()
        for token in list(self._by_number.values()):
            if token.ends_us is not None and token.ends_us <= now_us:
                self._forget(token)

    # ---- Which there are

    def find(self, number: int) -> Token | None:
        return self._by_number.get(number)

    def held(self, uid: int | None) -> list[Token]:
        """Those that hold, of one account or of all, newest first."""
        now_us = self._runs.clock.wall_us()
        return [
            token
            for token in reversed(self._by_number.values())
            if (uid is None or token.uid == uid) and (token.ends_us is None or token.ends_us > now_us)
        ]

    def _use(self, token: Token) -> None:
        now_us = self._runs.clock.wall_us()
        self._keep(replace(token, used_us=now_us))
        noted_us = self._noted_us.get(token.token)
        if (noted_us is None or not 0 <= now_us - noted_us < USE_NOTED_US) and not self._health.has("disk"):
            self._noted_us[token.token] = now_us
            self._runs.batch.add("token_used", now_us, token.token)

    def _keep(self, token: Token) -> None:
        self._by_hash[token.hash] = self._by_number[token.token] = token

    def _forget(self, token: Token) -> None:
        del self._by_hash[token.hash], self._by_number[token.token]
        self._noted_us.pop(token.token, None)
        self._runs.batch.add("token_remove", token.token)


def _hash(text: str) -> bytes:
    """Not slowed down: a text of 32 random bytes is guessed by nobody."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _has_shell(uid: int) -> bool:
    """False: the account is there for a service, or was locked out (`usermod -s /usr/sbin/nologin`)."""
    account = names.account_of_uid(uid)
    return account is None or os.path.basename(account.pw_shell) not in _NO_SHELLS


def _token(
    token: int, hashed: bytes, sort: str, uid: int, account: str, has_shell: int, by_proxy: int, level: int | None,
    label: str, created_us: int, expires_us: int | None, used_us: int | None,
) -> Token:  # fmt: skip
    return Token(
        token=token, hash=hashed, sort=Sort(sort), uid=uid, account=account, has_shell=bool(has_shell),
        by_proxy=bool(by_proxy), level=None if level is None else Level(level), label=label, created_us=created_us,
        expires_us=expires_us, used_us=used_us,
    )  # fmt: skip
