"""Who is at the other end where a program speaks for somebody: tokens, the sessions of a browser, and what they are.

A token stands for the account that made it, with its rights at most. Its text is told once; the store has a hash of it.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct, field

from pyflowd.protocol.words import Integer, Level


class Sort(StrEnum):
    """What a token is for."""

    LOGIN = "login"
    """Opens one session, within a minute."""
    SESSION = "session"
    """Of a browser: eight hours, at most half an hour without a request."""
    BEARER = "bearer"
    """Of a program: until it expires or is revoked."""


class GetIdentity(Struct, frozen=True, kw_only=True, tag="get_identity"):
    """Who asks, as the daemon sees them -> IdentityView."""


class CreateToken(Struct, frozen=True, kw_only=True, tag="create_token"):
    """A token for the account that asks -> TokenCreated. Whoever speaks with a token makes none."""

    sort: Sort = Sort.BEARER
    label: str = ""
    """What it is for, for people."""
    level: Level | None = None
    """At most this; None: all that the account may do."""
    expires_s: Integer | None = None
    """Of a bearer token: None: 90 days; 0: never. A login lasts a minute."""


class ListTokens(Struct, frozen=True, kw_only=True, tag="list_tokens"):
    """Tokens that hold, newest first -> TokenPage: one's own, for level admin those of all."""


class RevokeToken(Struct, frozen=True, kw_only=True, tag="revoke_token"):
    """End one's own token, or with level admin anyone's -> TokenView. Whoever speaks with it is cut off."""

    token: Integer = 0
    """0: the one that this is asked with, as a browser that logs out."""


class OpenSession(Struct, frozen=True, kw_only=True, tag="open_session"):
    """A session of a browser -> SessionView. With a login of `pyflowctl dashboard`; or, where the settings trust a
    proxy to name accounts (`web_proxy_level`), and only from the web front, for an `account`."""

    login: str = ""
    account: str = ""

    def __repr__(self) -> str:
        """Without what is secret: whoever shows a request shows none."""
        return f"OpenSession(login=***, account={self.account!r})"


class IdentityView(Struct, frozen=True, kw_only=True, tag="identity"):
    account: str
    """Its name; empty: nobody."""
    level: Level
    """On the host; a workflow that names groups may give or take (rules of `visible_to`, `operate_by`)."""
    sort: Sort | None = None
    """Of the token that it speaks with, if it does."""
    token: int = 0
    expires_us: int | None = None
    operates: bool = False
    """Whether there is something that it may operate."""
    exceptions: list[str] = field(default_factory=list)
    """Workflows that it sees and for which it may operate just where its level says otherwise: they name groups."""

    def may_operate(self, workflow: str) -> bool:
        """What the daemon would answer."""
        return (self.level >= Level.OPERATE) != (workflow in self.exceptions)


class TokenView(Struct, frozen=True, kw_only=True, tag="token"):
    token: int
    """Its number; not secret."""
    sort: Sort
    account: str
    level: Level | None
    label: str
    created_us: int
    expires_us: int | None
    used_us: int | None = None
    """Within a minute."""


class TokenPage(Struct, frozen=True, kw_only=True, tag="token_page"):
    tokens: list[TokenView]


class TokenCreated(Struct, frozen=True, kw_only=True, tag="token_created"):
    token: TokenView
    text: str
    """Told this once."""

    def __repr__(self) -> str:
        return f"TokenCreated({self.token!r}, text=***)"


class SessionView(Struct, frozen=True, kw_only=True, tag="session"):
    identity: IdentityView
    text: str
    """Of the session's token; told this once."""

    def __repr__(self) -> str:
        return f"SessionView({self.identity!r}, text=***)"
