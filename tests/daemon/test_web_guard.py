"""Every route of the web front, asked by everybody and in every wrong way: who gets an answer is settled by its level
and kind alone. A new route is tested by being in the table; what makes no sense for all of them is tested below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from pyflowctl.client import connect
from pyflowd.protocol.tokens import OpenSession, RevokeToken, SessionView
from pyflowd.protocol.words import Level
from pyflowd.runtime.tokens import FAILED_MAX
from pyflowd.web.call import csrf_word
from pyflowd.web.guard import HEADERS
from pyflowd.web.routes import Kind, Route
from pyflowd.web.table import table
from tests.daemon.front import Answered, Front, cookie
from tests.daemon.instance import Instance

WORKFLOW = "params: {day: {}}\ntasks: {t: {run: 'echo hello'}}\n"
BROWSER = (Kind.PAGE, Kind.FRAGMENT, Kind.ACTION, Kind.LIVE)
PASSED = "passed"
"""Whatever the endpoint makes of a path that is made up, but never for lack of rights."""
NO_RIGHTS = (401, 403, 421)
OPEN_TO_ALL = {
    ("GET", "/login"), ("POST", "/login"), ("GET", "/healthz"), ("GET", "/static/{digest}/{name}"),
    ("POST", "/hooks/{name}"), ("GET", "/metrics"), ("GET", "/api/v1/openapi.json"),
}  # fmt: skip
"""What there is without a session or a token: whoever adds to it says here that it is meant."""


class Words(NamedTuple):
    """What somebody shows."""

    session: str = ""
    bearer: str = ""


@pytest.fixture(scope="module")
def front(shared_daemon: Instance) -> Iterator[Front]:
    made = Front(shared_daemon)
    shared_daemon.install("w.yaml", WORKFLOW)
    made.start()
    yield made
    made.end()


@pytest.fixture(scope="module")
def identities(front: Front) -> dict[str, Words]:
    ended = front.session()
    with connect(root=str(front.instance.root), token=ended) as client:
        list(client.ask(RevokeToken()))
    bearer, session = front.bearer(), front.session()
    return {
        "nobody": Words(),
        "garbage": Words("pfs_garbage", "pfb_garbage"),
        "not even text": Words("\xff\xfe", "\xff"),
        "ended": Words(ended, ended),
        "login": Words(front.login(), front.login()),
        "bearer in a cookie": Words(bearer, ""),
        "session as bearer": Words("", session),
        "reader": Words(front.session(Level.READ), front.bearer(Level.READ)),
        "operator": Words(front.session(Level.OPERATE), front.bearer(Level.OPERATE)),
        "admin": Words(session, bearer),
    }


LEVELS = {"reader": Level.READ, "operator": Level.OPERATE, "admin": Level.ADMIN}
ROUTES = table()
FORMS = [route for route in ROUTES if route.kind is Kind.ACTION]
IDS = [f"{route.method} {route.path}" for route in ROUTES]


def path_of(route: Route) -> str:
    """The route's path, filled with what there is not."""
    return re.sub(r"\{[^}]*\}", "999999", route.path)


def expected(route: Route, who: str) -> object:
    if (route.method, route.path) in OPEN_TO_ALL:
        return PASSED
    level = LEVELS.get(who)
    if level is None:
        return 303 if route.kind in (Kind.PAGE, Kind.ACTION) else 401
    return PASSED if level >= route.level else 403


def asked(front: Front, route: Route, words: Words, csrf: str | None = None, **headers: str) -> Answered:
    told = {"Authorization": f"Bearer {words.bearer}"} if words.bearer else {}
    told |= cookie(words.session)
    body = None
    if route.method != "GET":
        told["Content-Type"] = "application/x-www-form-urlencoded"
        body = f"csrf={csrf_word(words.session) if csrf is None else csrf}".encode()
        if route.kind in (*BROWSER, Kind.OPEN):
            told["Origin"] = front.origin
    return front.ask(route.method, path_of(route), {**told, **headers}, body)


@pytest.mark.parametrize("who", ["nobody", "garbage", "not even text", "ended", "login", "bearer in a cookie",
                                 "session as bearer", *LEVELS])  # fmt: skip
def test_every_route_answers_those_who_have_its_level_and_nobody_else(
    front: Front, identities: dict[str, Words], who: str
) -> None:
    wrong = []
    for route in ROUTES:
        if route.kind is Kind.LIVE and who in LEVELS:
            continue  # does not end: tests/browser looks at it
        if route.path == "/logout":
            continue  # ends the session: see below
        answer = asked(front, route, identities[who])
        want = expected(route, who)
        if want == PASSED:
            is_login = route.path == "/login" and answer.status == 403
            # with the right level a 403 can only be the daemon's word about something that is asked for
            fine = answer.status not in NO_RIGHTS or is_login or answer.status == 404
            fine = fine or (route.path == "/metrics" and who not in LEVELS and answer.status == 401)
        else:
            fine = answer.status == want and (want != 303 or answer.headers["Location"] == "/login")
        if not fine:
            wrong.append((route.method, route.path, who, want, answer.status, answer.body[:200]))
    assert not wrong


@pytest.mark.parametrize("route", ROUTES, ids=IDS)
def test_every_route_turns_away_what_is_meant_for_another_host_or_comes_from_another_site(
    front: Front, identities: dict[str, Words], route: Route
) -> None:
    admin = identities["admin"]
    for host in ("evil.example", f"evil.example:{front.port}", "127.0.0.1", f"127.0.0.1.evil.example:{front.port}"):
        assert asked(front, route, admin, Host=host).status == 421
    if route.method == "GET":
        if route.kind in (Kind.FRAGMENT, Kind.LIVE):
            assert asked(front, route, admin, **{"Sec-Fetch-Site": "cross-site"}).status == 403
        return
    for origin in ("null", "http://evil.example", f"https://{front.host}", f"http://{front.host}.evil.example"):
        assert asked(front, route, admin, Origin=origin).status == 403, origin
    if route.kind in (*BROWSER, Kind.OPEN):
        assert asked(front, route, admin, Origin="", **{"Sec-Fetch-Site": "cross-site"}).status == 403
        assert asked(front, route, admin, Origin="").status == 403


@pytest.mark.parametrize("route", FORMS, ids=[route.path for route in FORMS])
def test_every_form_needs_the_word_of_its_own_session(front: Front, identities: dict[str, Words], route: Route) -> None:
    admin, other = identities["admin"], identities["operator"]
    for word in ("", "x", csrf_word(other.session), csrf_word(admin.session)[:-1]):
        answer = asked(front, route, admin, csrf=word)
        assert answer.status == 403, word
        assert "another session" in answer.text


def test_a_change_is_a_post_and_what_is_got_changes_nothing(front: Front) -> None:
    assert {route.method for route in ROUTES} == {"GET", "POST"}
    posts = {(route.kind, route.level) for route in ROUTES if route.method == "POST" and route.kind is not Kind.ACTION}
    assert {kind for kind, _ in posts} <= {Kind.API, Kind.HOOK, Kind.OPEN, Kind.FRAGMENT}
    assert (Kind.FRAGMENT, Level.READ) in posts  # what only computes: a text that is checked as somebody types
    assert not {level for kind, level in posts if kind is Kind.FRAGMENT} - {Level.READ}


def test_every_answer_has_the_headers_that_keep_pages_apart(front: Front, identities: dict[str, Words]) -> None:
    session = identities["admin"].session
    for path in ("/", "/login", "/no/such", "/healthz", "/static/x/style.css", "/api/v1/host", "/hooks/x"):
        headers = front.get(path, session).headers
        for name in HEADERS:
            assert headers.get_all(name), (path, name)
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert not [name for name in headers if name.lower().startswith("access-control-")]


def test_nothing_that_a_browser_asks_before_is_allowed_to_another_origin(front: Front) -> None:
    told = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    answer = front.ask("OPTIONS", "/api/v1/runs", told)
    assert answer.status == 405
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("body", [b"\xff\xfe=%ff", b"&".join([b"a=b"] * 2000)], ids=["no text", "too many fields"])
def test_what_is_no_form_is_told_so_by_a_page_of_ours(front: Front, identities: dict[str, Words], body: bytes) -> None:
    told = {"Origin": front.origin, **cookie(identities["admin"].session)}
    answer = front.ask("POST", "/runs/1/cancel", told, body)
    assert answer.status == 400
    assert "not a form" in answer.text
    assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]


# ---- Sessions


def test_a_login_opens_a_session_of_its_own_and_takes_over_none(front: Front) -> None:
    brought = front.session()
    answer = front.ask(
        "POST", "/login", {"Origin": front.origin, **cookie(brought)}, f"code={front.login()}".encode()
    )  # fmt: skip
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    set_cookie = answer.headers["Set-Cookie"]
    text, *flags = [part.strip() for part in set_cookie.split(";")]
    assert text.removeprefix("pyflow=") not in (brought, "")
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(flags)
    assert front.get("/healthz", text.removeprefix("pyflow=")).status == 200


def test_a_login_works_once_and_by_a_button_of_our_own_page_only(front: Front) -> None:
    code = front.login()
    assert front.get(f"/login?code={code}").status == 200  # a mail program that looks at links spends nothing
    elsewhere = {"Origin": "http://evil.example"}
    assert front.ask("POST", "/login", elsewhere, f"code={code}".encode()).status == 403
    ours = {"Origin": front.origin}
    assert front.ask("POST", "/login", ours, f"code={code}".encode()).status == 303
    assert front.ask("POST", "/login", ours, f"code={code}".encode()).status == 403


def test_a_session_that_has_logged_out_is_over_for_everyone_who_has_its_cookie(front: Front) -> None:
    session = front.session()
    answer = front.post("/logout", session)
    assert (answer.status, answer.headers["Location"]) == (303, "/login")
    assert "Max-Age=0" in answer.headers["Set-Cookie"]
    assert front.get("/fragment/live", session).status in (401, 404)
    assert front.get("/", session).status == 303


def test_what_is_guessed_too_often_is_asked_to_wait(front: Front) -> None:
    ours = {"Origin": front.origin}
    answers = [front.ask("POST", "/login", ours, b"code=guess") for _ in range(30)]
    assert {answer.status for answer in answers} == {403, 429}
    assert int(answers[-1].headers["Retry-After"]) > 0


def test_whoever_comes_with_ever_new_tokens_that_are_none_keeps_nobody_else_out(front: Front) -> None:
    session = front.session()
    for number in range(FAILED_MAX + 3):
        answer = front.get("/fragment/live", f"pfs_guess{number}")
        assert answer.status in (401, 404, 503)
    assert answer.status in (404, 503)
    assert front.get("/", session).status == 200


def test_what_a_login_and_a_session_are_called_is_written_nowhere(front: Front) -> None:
    code = front.login()
    front.get(f"/login?code={code}")
    with connect(root=str(front.instance.root), token="") as client:
        (opened,) = (each for each in client.ask(OpenSession(login=code)) if isinstance(each, SessionView))
    front.get("/runs/1?task=secret-query", opened.text)
    said = front.said() + front.instance.log_text()
    for secret in (code, opened.text, "secret-query"):
        assert secret not in said
