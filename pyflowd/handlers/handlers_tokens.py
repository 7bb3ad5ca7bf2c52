"""Requests about tokens and about who asks. A text is told once, to whoever made the token, and is kept nowhere.

A token is made for the account that the kernel names, and for none by another token: one that is stolen gives no
second. See `handlers` for when what is done.
"""

from __future__ import annotations

import unicodedata

from pyflowd.base.peer import Peer, is_web_front
from pyflowd.control.replies import Replies
from pyflowd.errors import Forbidden, NotFound, Refused
from pyflowd.handlers.access import Access
from pyflowd.protocol.tokens import (
    CreateToken,
    GetIdentity,
    IdentityView,
    ListTokens,
    OpenSession,
    RevokeToken,
    SessionView,
    Sort,
    TokenCreated,
    TokenPage,
    TokenView,
)
from pyflowd.protocol.words import Level
from pyflowd.runtime.audit import Audit
from pyflowd.runtime.tokens import BEARER_S, LOGIN_S, Token, Tokens

PAGE = 200
LABEL_MAX = 100
"""Characters."""
LEAST_S = 60
MOST_S = 10 * 365 * 86_400


class TokenHandlers:
    """Part of `Handlers`."""

    def __init__(self, tokens: Tokens, access: Access, audit: Audit, front_uid: int | None) -> None:
        """`front_uid`: the account that runs the web front of this instance beside the service's own one; None: it is
        not run by anybody else."""
        self.tokens = tokens
        self.access = access
        self.audit = audit
        self.front_uid = front_uid

    def identity(self, _: GetIdentity, peer: Peer) -> Replies:
        yield self._identity(peer)

    def create(self, request: CreateToken, peer: Peer) -> Replies:
        """Raises Forbidden, Refused."""
        if peer.carrier is not None:
            raise Forbidden("a token makes no token: log in to this host, and make it there")
        if request.sort is Sort.SESSION:
            raise Refused("a session is opened with a login, or by a proxy; nobody makes one for later")
        if request.level is Level.NONE:
            raise Refused("level none may do nothing; write read, operate or admin")
        label = unicodedata.normalize("NFC", request.label)
        if len(label) > LABEL_MAX or not label.isprintable():
            raise Refused(f"label: at most {LABEL_MAX} characters, on one line")
        lasts_s = LOGIN_S if request.sort is Sort.LOGIN else _lasts_s(request.expires_s)
        self._require_rights(peer)
        made, text = self.tokens.create(peer, request.sort, request.level, label, lasts_s)
        return iter([TokenCreated(token=_view(made), text=text)])

    def _require_rights(self, peer: Peer) -> None:
        """Raises Refused where a token would give nothing, as its rights are those that the account has wherever it
        logs in: what one process has beside (`newgrp`, a service's groups) is no part of them."""
        if not self.access.sight(self.tokens.account(peer.uid)).may_anywhere(Level.READ):
            raise Refused(
                f"{peer.name} has no rights here by its own groups, so its token would have none; "
                f"make it a member of one, as with: usermod -aG GROUP {peer.name}"
            )

    def tokens_held(self, _: ListTokens, peer: Peer) -> Replies:
        found = self.tokens.held(None if peer.level is Level.ADMIN else peer.uid)
        for at in range(0, len(found), PAGE):
            yield TokenPage(tokens=[_view(token) for token in found[at : at + PAGE]])
        if not found:
            yield TokenPage(tokens=[])

    def revoke(self, request: RevokeToken, peer: Peer) -> Replies:
        """Raises NotFound, also for what is another's; Refused."""
        number = request.token or peer.token
        if not number:
            raise Refused("which one? name its number; see: pyflowctl token list")
        found = self.tokens.find(number)
        if found is None or not self._may_end(found, peer):
            unknown = NotFound(f"no token {str(number)[:20]}; `pyflowctl token list` shows those that hold")
            unknown.denied = found is not None
            raise unknown
        self.tokens.revoke(found)
        return iter([_view(found)])

    def _may_end(self, found: Token, peer: Peer) -> bool:
        """A token ends itself, and others only where it may do everything."""
        if peer.level is Level.ADMIN or found.token == peer.token:
            return True
        return peer.carrier is None and found.uid == peer.uid

    def open_session(self, request: OpenSession, peer: Peer) -> Replies:
        """Raises Forbidden, Unavailable, Refused."""
        carrier = peer.uid if peer.carrier is None else peer.carrier
        if bool(request.login) == bool(request.account):
            raise Refused("a session is opened either with a login or for an account; name one of them")
        if request.login:
            made, text = self.tokens.open_session(request.login, carrier)
        else:
            self._require_front(carrier)
            made, text = self.tokens.open_session_of(request.account)
        opened = self.tokens.stands_for(made, carrier, peer.pid)
        self.audit.by(opened)
        return iter([SessionView(identity=self._identity(opened), text=text)])

    def _require_front(self, carrier: int) -> None:
        """Raises Forbidden: who names an account is believed only if it is the web front, and a setting says so."""
        if self.tokens.proxy_level is Level.NONE:
            raise Forbidden("no proxy names accounts here: web_proxy_level in pyflowd.yaml says none")
        if carrier != self.front_uid and not is_web_front(carrier):
            raise Forbidden("only the web front names accounts, and this is another program")

    def _identity(self, peer: Peer) -> IdentityView:
        token = self.tokens.find(peer.token)
        sight = self.access.sight(peer)
        return IdentityView(
            account="" if peer.is_nobody else peer.name, level=peer.level, sort=None if token is None else token.sort,
            token=peer.token, expires_us=None if token is None else token.expires_us,
            operates=sight.may_anywhere(Level.OPERATE), exceptions=sight.exceptions(),
        )  # fmt: skip


def _lasts_s(asked_s: int | None) -> int | None:
    """None: it never expires. Raises Refused."""
    if asked_s is None:
        return BEARER_S
    if asked_s == 0:
        return None
    if not LEAST_S <= asked_s <= MOST_S:
        raise Refused(f"a token lasts a minute at least and {MOST_S // (365 * 86_400)} years at most, or for ever")
    return asked_s


def _view(token: Token) -> TokenView:
    return TokenView(
        token=token.token, sort=token.sort, account=token.account, level=token.level, label=token.label,
        created_us=token.created_us, expires_us=token.expires_us, used_us=token.used_us,
    )  # fmt: skip
