"""One request of a browser or a program, as an endpoint sees it: who asks, what for, and the way to the daemon."""

from __future__ import annotations

import hashlib
import hmac
from functools import cached_property
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from starlette.requests import Request as HttpRequest
from starlette.responses import HTMLResponse, RedirectResponse, Response

from pyflowctl.client import Answer
from pyflowd.errors import PyflowError, UsageError
from pyflowd.protocol.requests import Request
from pyflowd.protocol.tokens import GetIdentity, IdentityView
from pyflowd.protocol.words import Level
from pyflowd.web import told
from pyflowd.web.link import Link, every, only
from pyflowd.web.times import Times
from pyflowd.web.told import Told

T = TypeVar("T")
FIELDS_MAX = 1000
NOBODY = IdentityView(account="", level=Level.NONE)


class Drawing(Protocol):
    """What pages are drawn with: `drawing.Templates`."""

    zone: ZoneInfo

    def draw(self, template: str, call: Call, values: dict[str, Any]) -> str: ...


class Call:
    """Made by `app` for each request; `token` is "" for nobody."""

    def __init__(self, http: HttpRequest, link: Link, token: str, body: bytes, drawing: Drawing, now_us: int) -> None:
        self.http = http
        self.link = link
        self.token = token
        self.body = body
        self.times = Times(drawing.zone, now_us)
        self._drawing = drawing

    # ---- What is asked

    @property
    def here(self) -> str:
        """The address of this page on its host, as it was asked for."""
        asked = self.http.url
        path = asked.path.removeprefix("/fragment")  # a part of a page has the page's address after that
        return f"{path}?{asked.query}" if asked.query else path

    @property
    def path(self) -> dict[str, str]:
        """Parts of the path, decoded once."""
        return {name: str(value) for name, value in self.http.path_params.items()}

    @cached_property
    def query(self) -> dict[str, str]:
        """Of the address; of a name that comes twice the last."""
        return dict(self.http.query_params.items())

    @cached_property
    def form(self) -> list[tuple[str, str]]:
        """Fields of a form in their order. Raises UsageError where it is none."""
        try:
            return parse_qsl(self.body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
        except ValueError:
            raise UsageError("not a form: send application/x-www-form-urlencoded in UTF-8") from None

    def field(self, name: str) -> str:
        """The last of this name; empty where there is none."""
        return next((value for key, value in reversed(self.form) if key == name), "")

    @property
    def back_path(self) -> str | None:
        """The page on which the form stood, by its field `back`; None: it names none of ours, or is no form."""
        try:
            return told.local_path(self.field("back"))
        except UsageError:
            return None

    # ---- The daemon

    def ask(self, request: Request) -> list[Answer]:
        return self.link.ask(self.token, request)

    def one(self, kind: type[T], request: Request) -> T:
        """The reply of this kind. Raises PyflowError."""
        return only(kind, self.ask(request))

    def every(self, kind: type[T], request: Request) -> list[T]:
        return every(kind, self.ask(request))

    @cached_property
    def identity(self) -> IdentityView:
        """Who asks, by the daemon's word."""
        return self.one(IdentityView, GetIdentity())

    @cached_property
    def identity_or_nobody(self) -> IdentityView:
        """The same where the daemon may not know the token, or may not answer."""
        try:
            return self.identity
        except PyflowError:
            return NOBODY

    @property
    def is_admin(self) -> bool:
        """Whether who asks may do everything; what they do is judged by the daemon again."""
        return self.identity_or_nobody.level >= Level.ADMIN

    def forget(self) -> None:
        """Nobody is to be asked again who this is: the daemon does not answer."""
        self.__dict__["identity_or_nobody"] = NOBODY

    # ---- The answer

    @property
    def csrf(self) -> str:
        """The word that a form of this session carries; nobody without the session's token can make it."""
        return csrf_word(self.token)

    @cached_property
    def told(self) -> Told | None:
        """What the form before this page came to."""
        return told.unpack(self.http.cookies.get(self._told_cookie, ""), self.token)

    @property
    def secure(self) -> bool:
        """Whether the browser reaches us by TLS: its cookies are named and kept accordingly."""
        return bool(self.http.app.state.web.is_secure(self.http))

    @property
    def _told_cookie(self) -> str:
        return told.cookie_name(self.secure)

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A whole page: `templates/TEMPLATE` with `values`, and what every page has (`base.html`)."""
        response = HTMLResponse(self._drawing.draw(template, self, values), status)
        if self._told_cookie in self.http.cookies:
            response.delete_cookie(
                self._told_cookie, path="/", secure=self.secure, httponly=True, samesite="strict"
            )  # fmt: skip
        return response

    def fragment(self, template: str, **values: Any) -> Response:
        """A piece of one."""
        return HTMLResponse(self._drawing.draw(template, self, values))

    def go(self, path: str, text: str = "", *, wrong: bool = False) -> Response:
        """Look there now: the answer to a form. `text` is told at the head of that page, once."""
        response = RedirectResponse(path, 303)
        if text:
            response.set_cookie(
                self._told_cookie, told.pack(Told(text, wrong), self.token), max_age=told.KEPT_S, path="/",
                secure=self.secure, httponly=True, samesite="strict",
            )  # fmt: skip
        return response

    def back(self, text: str, *, wrong: bool = False) -> Response:
        """`go` to the page on which the form stood: its field `back`."""
        return self.go(self.back_path or "/", text, wrong=wrong)


def csrf_word(token: str) -> str:
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest() if token else ""
