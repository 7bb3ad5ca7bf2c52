"""Tokens: whom each stands for, how long it holds, what is written of it; and the requests about them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyflowd.base import names
from pyflowd.base import peer as peer_module
from pyflowd.base.peer import Peer, Roles, is_web_front
from pyflowd.base.timers import Timers
from pyflowd.clock import US
from pyflowd.control.replies import Replies
from pyflowd.errors import Forbidden, NotFound, Refused, Unavailable
from pyflowd.handlers import handlers_tokens
from pyflowd.handlers.access import Access
from pyflowd.handlers.handlers_tokens import MOST_S, TokenHandlers
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
from pyflowd.runtime.audit import Audit, Deed
from pyflowd.runtime.rights import Groups
from pyflowd.runtime.tokens import (
    BEARER_S,
    FAILED_MAX,
    IDLE_S,
    LOGIN_S,
    MOST,
    NOTED_US,
    REVIEW_US,
    SESSION_S,
    WINDOW_US,
    Tokens,
)
from pyflowd.store.store import DATABASE, Store
from tests.fakes import FakeClock

READERS, OPERATORS, OTHERS = 7, 8, 9
ALICE, BOB, SERVICE, ROOT = 1001, 1002, 900, 0
FRONT = 61_500
"""The web front by the kernel's word."""
KERNEL = Peer(uid=FRONT, gid=FRONT, pid=77)
INVALID = r"^this token is not valid \(any more\)"


class Accounts:
    """The host's, which the test changes; nothing is kept of them for a minute."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shells = {ROOT: "/bin/bash", ALICE: "/bin/bash", BOB: "/bin/bash", SERVICE: "/usr/sbin/nologin"}
        self.names = {ROOT: "root", ALICE: "alice", BOB: "bob", SERVICE: "prometheus"}
        self.groups = {ROOT: {0}, ALICE: {100, READERS}, BOB: {100, OPERATORS}, SERVICE: {READERS}}
        monkeypatch.setattr(handlers_tokens, "is_web_front", lambda _: False)
        monkeypatch.setattr(names, "account_of_uid", self._of_uid)
        monkeypatch.setattr(names, "account_named", self._named)
        monkeypatch.setattr(names, "groups_of_account", lambda name: frozenset(self.groups[self._named(name).pw_uid]))
        monkeypatch.setattr(names, "group_named", {"dba": SimpleNamespace(gr_gid=OTHERS)}.get)

    def _of_uid(self, uid: int) -> Any:
        if uid not in self.names:
            return None
        return SimpleNamespace(pw_uid=uid, pw_name=self.names[uid], pw_gid=100, pw_shell=self.shells[uid])

    def _named(self, name: str) -> Any:
        return next((self._of_uid(uid) for uid, known in self.names.items() if known == name), None)


class Host:
    """A store, and what answers requests about tokens."""

    def __init__(self, folder: Path, accounts: Accounts) -> None:
        self.folder, self.accounts = folder, accounts
        self.clock, self.timers = FakeClock(), Timers()
        self.notes: dict[str, str] = {}
        self.full = False
        self.reviews = 0
        self.begin()

    def begin(self) -> None:
        """As a daemon does."""
        self.store = Store(str(self.folder))
        self.runs: Any = SimpleNamespace(
            store=self.store, clock=self.clock, timers=self.timers, batch=self.store.batch(), live={}
        )
        health: Any = SimpleNamespace(has=lambda _: self.full, note=self.notes.__setitem__)
        roles = Roles(admins=frozenset({0}), operators=frozenset({OPERATORS}), readers=frozenset({READERS}))
        self.tokens = Tokens(self.runs, health, roles)
        self.tokens.ended = self._review
        workflows: Any = SimpleNamespace(
            entries={"w": None, "closed": None}, rights=SimpleNamespace(of={"closed": Groups(("dba",), ("dba",))})
        )
        unused: Any = None
        self.access = Access(self.runs, workflows, unused, {})
        self.audit = Audit(self.runs, health)
        self.handlers = TokenHandlers(self.tokens, self.access, self.audit, FRONT)
        self._table: dict[type, Any] = {
            GetIdentity: self.handlers.identity, CreateToken: self.handlers.create, RevokeToken: self.handlers.revoke,
            ListTokens: self.handlers.tokens_held, OpenSession: self.handlers.open_session,
        }  # fmt: skip

    def _review(self) -> None:
        self.reviews += 1

    def commit(self) -> None:
        self.store.commit(self.runs.batch)
        self.runs.batch = self.store.batch()
        self.timers.fire(self.clock.mono_us())

    def restart(self) -> None:
        """What was not committed is gone."""
        self.store.close()
        self.begin()

    def kernel(self, uid: int) -> Peer:
        own = self.tokens.account(uid)
        return Peer(uid=uid, gid=own.gid, pid=5, level=own.level, groups=own.groups)

    def ask(self, request: Any, peer: Peer) -> Any:
        """The first reply, after the commit."""

        def act() -> Replies:
            self.access.authorise(request, peer)
            found: Replies = self._table[type(request)](request, peer)
            return found

        replies = self.audit.during(Deed(request, peer), act)
        self.commit()
        return next(iter(replies))

    def create(self, uid: int, **fields: Any) -> TokenCreated:
        made = self.ask(CreateToken(**fields), self.kernel(uid))
        assert isinstance(made, TokenCreated)
        return made

    def session(self, uid: int, **fields: Any) -> SessionView:
        login = self.create(uid, sort=Sort.LOGIN, **fields)
        made = self.ask(OpenSession(login=login.text), peer_module.nobody(KERNEL))
        assert isinstance(made, SessionView)
        return made

    def open(self, text: str) -> Peer:
        return self.tokens.open(text, KERNEL).peer

    def is_valid(self, text: str) -> bool:
        try:
            self.open(text)
        except Forbidden:
            return False
        return True

    def audited(self) -> list[tuple[Any, ...]]:
        """Account, token, request, result; newest first."""
        return [(row[2], row[11], row[5], row[9]) for row in self.store.rows("audit", 1 << 60, 0, 100)]


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> Accounts:
    return Accounts(monkeypatch)


@pytest.fixture
def host(tmp_path: Path, accounts: Accounts) -> Iterator[Host]:
    made = Host(tmp_path, accounts)
    yield made
    made.store.close()


# ---- Whom it stands for


def test_a_token_stands_for_its_account_with_the_rights_of_now(host: Host) -> None:
    text = host.create(ALICE).text
    found = host.open(text)
    assert (found.uid, found.name, found.level, found.groups) == (ALICE, "alice", Level.READ, {100, READERS})
    assert (found.carrier, found.pid) == (FRONT, 77)
    host.accounts.groups[ALICE] = {100, OPERATORS, OTHERS}
    renewed = host.tokens.renew(found, used=True).peer
    assert (renewed.level, renewed.groups) == (Level.OPERATE, {100, OPERATORS, OTHERS})
    host.accounts.groups[ALICE] = {100}
    assert host.open(text).level is Level.NONE
    host.tokens.roles = Roles(admins=frozenset({0}), operators=frozenset(), readers=frozenset({100}))
    assert host.open(text).level is Level.READ


@pytest.mark.parametrize(
    ("level", "found"), [(Level.READ, Level.READ), (Level.ADMIN, Level.OPERATE), (None, Level.OPERATE)]
)
def test_a_token_gives_its_level_at_most(host: Host, level: Level | None, found: Level) -> None:
    peer = host.open(host.create(BOB, level=level).text)
    assert peer.level is found
    host.accounts.groups[BOB].add(OTHERS)
    peer = host.tokens.renew(peer, used=True).peer
    sight = host.access.sight(peer)
    assert sight.sees("closed")
    assert sight.operates("closed") is (level is not Level.READ)


def test_what_a_token_may_is_in_its_session_too(host: Host) -> None:
    session = host.session(BOB, level=Level.READ)
    assert session.identity.level is Level.READ
    assert not session.identity.operates
    assert host.open(session.text).cap is Level.READ


def test_an_account_that_is_gone_renamed_or_locked_out_gives_nothing(host: Host) -> None:
    text, service = host.create(ALICE).text, host.create(SERVICE).text
    for uid, what, value in [(ALICE, "shells", "/usr/sbin/nologin"), (ALICE, "names", "mallory")]:
        kept = getattr(host.accounts, what)[uid]
        getattr(host.accounts, what)[uid] = value
        assert not host.is_valid(text), what
        getattr(host.accounts, what)[uid] = kept
        assert host.is_valid(text)
    del host.accounts.names[ALICE]
    assert not host.is_valid(text)
    assert host.is_valid(service), "it never could log in"


def test_a_login_opens_one_session_and_nothing_else(host: Host) -> None:
    login = host.create(ALICE, sort=Sort.LOGIN)
    assert not host.is_valid(login.text)
    nobody = peer_module.nobody(KERNEL)
    first = host.ask(OpenSession(login=login.text), nobody)
    with pytest.raises(Forbidden, match=INVALID):
        host.ask(OpenSession(login=login.text), nobody)
    assert host.open(first.text).token == first.identity.token
    for other in (first.text, host.create(ALICE).text):
        with pytest.raises(Forbidden, match=INVALID):
            host.ask(OpenSession(login=other), nobody)


def test_two_that_exchange_a_login_in_one_turn_get_one_session(host: Host) -> None:
    login = host.create(ALICE, sort=Sort.LOGIN).text
    host.tokens.open_session(login, FRONT)
    with pytest.raises(Forbidden, match=INVALID):
        host.tokens.open_session(login, FRONT)


# ---- How long it holds


@pytest.mark.parametrize(
    ("expires_s", "lasts_s"), [(None, BEARER_S), (60, 60), (MOST_S, MOST_S)]
)  # fmt: skip
def test_a_bearer_token_holds_until_it_expires(host: Host, expires_s: int | None, lasts_s: int) -> None:
    text = host.create(ALICE, expires_s=expires_s).text
    host.clock.advance(lasts_s - 1)
    standing = host.tokens.open(text, KERNEL)
    assert standing.holds_us == US, "whoever streams is looked at again when it ends"
    host.clock.advance(1)
    assert not host.is_valid(text)
    with pytest.raises(Forbidden, match=INVALID):
        host.tokens.renew(standing.peer, used=True)


def test_one_that_never_expires_is_looked_at_again_all_the_same(host: Host) -> None:
    text = host.create(ALICE, expires_s=0).text
    host.clock.advance(50 * 365 * 86_400)
    assert host.tokens.open(text, KERNEL).holds_us == REVIEW_US


def test_a_login_holds_a_minute(host: Host) -> None:
    login = host.create(ALICE, sort=Sort.LOGIN).text
    host.clock.advance(LOGIN_S)
    with pytest.raises(Forbidden, match=INVALID):
        host.ask(OpenSession(login=login), peer_module.nobody(KERNEL))


def test_a_session_ends_when_it_is_not_used_and_eight_hours_after_it_began(host: Host) -> None:
    text = host.session(ALICE).text
    peer = host.open(text)
    for _ in range(SESSION_S // (IDLE_S - 1)):
        host.clock.advance(IDLE_S - 1)
        peer = host.tokens.renew(peer, used=True).peer
    host.clock.advance(SESSION_S % (IDLE_S - 1))
    assert not host.is_valid(text), "eight hours are over"
    text = host.session(ALICE).text
    host.clock.advance(IDLE_S - 1)
    host.tokens.renew(host.open(text), used=False)
    host.clock.advance(1)
    assert not host.is_valid(text), "a stream is no use"


def test_a_restart_forgets_no_token_and_hardly_its_use(host: Host) -> None:
    text, session = host.create(BOB, level=Level.READ, label="ci").text, host.session(ALICE).text
    for _ in range(3):
        host.clock.advance(IDLE_S - 100)
        host.tokens.renew(host.open(session), used=True)
    host.commit()
    before = host.tokens.held(None)
    host.restart()
    assert host.tokens.held(None) == before
    assert host.open(text).cap is Level.READ
    host.clock.advance(IDLE_S - 1)
    assert host.is_valid(session)
    assert host.create(ALICE).token.token == 4, "no number is given twice"


def test_use_is_written_once_a_minute_and_not_to_a_full_disk(host: Host) -> None:
    peer = host.open(host.create(ALICE).text)
    written: list[int] = []
    for _ in range(121):
        host.tokens.renew(peer, used=True)
        written.append(len(host.runs.batch.writes))
        host.clock.advance(1)
    assert written[0] == written[59] == 1
    assert written[-1] == 3
    host.commit()
    host.full = True
    host.clock.advance(600)
    host.tokens.renew(peer, used=True)
    assert host.runs.batch.writes == []
    host.full = False


def test_a_clock_that_was_set_back_does_not_keep_use_from_being_written(host: Host) -> None:
    peer = host.open(host.create(ALICE).text)
    host.tokens.renew(peer, used=True)
    host.commit()
    host.clock.set_wall(host.clock.wall_us() - 86_400 * US)
    host.tokens.renew(peer, used=True)
    assert len(host.runs.batch.writes) == 1


def test_those_at_their_end_leave_the_store(host: Host) -> None:
    host.session(ALICE)
    host.create(ALICE, sort=Sort.LOGIN)
    kept = host.create(ALICE).token.token
    host.clock.advance(IDLE_S)
    assert [token.token for token in host.tokens.held(None)] == [kept]
    host.tokens.prune()
    host.commit()
    assert [row[0] for row in host.store.rows("tokens")] == [kept]


def test_who_makes_more_than_may_be_fills_no_store(host: Host) -> None:
    for _ in range(MOST[Sort.BEARER]):
        host.create(ALICE)
    with pytest.raises(Refused, match=r"alice has 50 tokens.*pyflowctl token list"):
        host.create(ALICE)
    host.create(BOB)
    first = host.session(ALICE)
    for _ in range(MOST[Sort.SESSION]):
        host.clock.advance(1)
        last = host.session(ALICE)
    assert not host.is_valid(first.text)
    assert host.is_valid(last.text)
    assert len([token for token in host.tokens.held(ALICE) if token.sort is Sort.SESSION]) == MOST[Sort.SESSION]
    logins = [host.create(ALICE, sort=Sort.LOGIN) for _ in range(MOST[Sort.LOGIN] + 1)]
    with pytest.raises(Forbidden):
        host.ask(OpenSession(login=logins[0].text), peer_module.nobody(KERNEL))
    host.ask(OpenSession(login=logins[-1].text), peer_module.nobody(KERNEL))


# ---- Requests


def test_only_whom_the_kernel_names_makes_a_token(host: Host) -> None:
    for text in (host.create(BOB).text, host.session(BOB).text):
        with pytest.raises(Forbidden, match="a token makes no token"):
            host.ask(CreateToken(), host.open(text))
    with pytest.raises(Forbidden, match="who is not logged in"):
        host.ask(CreateToken(), peer_module.nobody(KERNEL))


def test_who_has_rights_only_by_the_groups_of_one_process_gets_no_token(host: Host) -> None:
    host.accounts.groups[ALICE] = {100}
    peer = Peer(uid=ALICE, gid=100, pid=5, level=Level.READ, groups=frozenset({READERS}))
    with pytest.raises(Refused, match="alice has no rights here by its own groups"):
        host.ask(CreateToken(), peer)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (CreateToken(sort=Sort.SESSION), "nobody makes one for later"),
        (CreateToken(level=Level.NONE), "write read, operate or admin"),
        (CreateToken(expires_s=59), "a minute at least and 10 years at most"),
        (CreateToken(expires_s=MOST_S + 1), "10 years at most"),
        (CreateToken(expires_s=-1), "a minute at least"),
        (CreateToken(label="x" * 101), "at most 100 characters"),
        (CreateToken(label="a\nb"), "on one line"),
        (CreateToken(label="a\x1b[2J"), "on one line"),
        (RevokeToken(), "which one"),
        (OpenSession(), "either with a login or for an account"),
        (OpenSession(login="pfl_x", account="alice"), "either with a login or for an account"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(host: Host, request_: Any, why: str) -> None:
    with pytest.raises(Refused, match=why):
        host.ask(request_, host.kernel(ROOT))
    assert host.tokens.held(None) == []


def test_one_sees_and_ends_ones_own_tokens_and_an_administrator_all(host: Host) -> None:
    mine, other = host.create(ALICE, label="mine").token, host.create(BOB).token
    root = host.create(ROOT)
    page = host.ask(ListTokens(), host.kernel(ALICE))
    assert isinstance(page, TokenPage)
    assert [token.token for token in page.tokens] == [mine.token]
    assert [token.token for token in host.ask(ListTokens(), host.kernel(ROOT)).tokens] == [3, 2, 1]
    strangers = [host.kernel(ALICE), peer_module.nobody(KERNEL), host.open(host.create(ALICE).text)]
    for peer in strangers:
        words = set()
        for number in (other.token, 9000):
            with pytest.raises(NotFound) as caught:
                host.ask(RevokeToken(token=number), peer)
            words.add(str(caught.value).replace(str(number), "N"))
        assert len(words) == 1, "another's is as one that there is not"
    assert host.ask(RevokeToken(token=mine.token), host.kernel(ALICE)) == mine
    ended = host.ask(RevokeToken(token=other.token), host.open(root.text))
    assert isinstance(ended, TokenView)
    assert not host.ask(ListTokens(), host.kernel(BOB)).tokens
    assert host.reviews == 2, "whoever speaks with them is cut off, in the next turn"


def test_a_token_ends_itself_and_none_beside(host: Host) -> None:
    first, second = host.create(ALICE), host.create(ALICE)
    with pytest.raises(NotFound):
        host.ask(RevokeToken(token=second.token.token), host.open(first.text))
    host.ask(RevokeToken(), host.open(first.text))
    assert not host.is_valid(first.text)
    assert host.is_valid(second.text)
    host.restart()
    assert not host.is_valid(first.text)


def test_everybody_is_told_for_which_workflows_he_has_other_rights_than_on_the_host(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A button is offered to whom the daemon would not refuse, workflow by workflow."""
    known = {"op": SimpleNamespace(gr_gid=OPERATORS), "rd": SimpleNamespace(gr_gid=READERS)}
    monkeypatch.setattr(names, "group_named", known.get)
    rights = {"theirs": Groups((), ("rd",)), "ours": Groups((), ("op",)), "hidden": Groups(("no",), ("no",))}
    monkeypatch.setattr(host.access.workflows.rights, "of", rights)
    bob, alice = (host.ask(GetIdentity(), host.kernel(each)) for each in (BOB, ALICE))
    assert isinstance(bob, IdentityView)
    assert isinstance(alice, IdentityView)
    assert (bob.level, bob.exceptions) == (Level.OPERATE, ["theirs"])
    assert (alice.level, alice.exceptions) == (Level.READ, ["theirs"])
    assert [bob.may_operate(each) for each in ("ours", "theirs", "open")] == [True, False, True]
    assert [alice.may_operate(each) for each in ("ours", "theirs", "open")] == [False, True, False]


def test_everybody_is_told_who_he_is(host: Host) -> None:
    assert host.ask(GetIdentity(), host.kernel(BOB)) == IdentityView(account="bob", level=Level.OPERATE, operates=True)
    assert host.ask(GetIdentity(), peer_module.nobody(KERNEL)) == IdentityView(account="", level=Level.NONE)
    session = host.session(ALICE)
    found = host.ask(GetIdentity(), host.open(session.text))
    assert found == session.identity
    assert (found.account, found.sort, found.operates) == ("alice", Sort.SESSION, False)
    assert found.expires_us == host.clock.wall_us() + SESSION_S * US


# ---- A proxy that names accounts


def test_an_account_is_named_only_where_a_setting_allows_it_and_only_by_the_web_front(host: Host) -> None:
    request, front = OpenSession(account="bob"), peer_module.nobody(KERNEL)
    with pytest.raises(Forbidden, match="web_proxy_level"):
        host.ask(request, front)
    host.tokens.proxy_level = Level.OPERATE
    for other in (host.kernel(ROOT), host.kernel(ALICE), peer_module.nobody(host.kernel(ROOT))):
        with pytest.raises(Forbidden, match="only the web front names accounts"):
            host.ask(request, other)
    for peer in (front, KERNEL):
        opened = host.ask(request, peer)
        assert (opened.identity.account, opened.identity.level) == ("bob", Level.OPERATE)
    for name in ("nobody-such", "prometheus", ""):
        with pytest.raises((Forbidden, Refused)):
            host.ask(OpenSession(account=name), front)


def test_a_session_of_a_proxy_follows_the_setting(host: Host) -> None:
    host.tokens.proxy_level = Level.OPERATE
    text = host.ask(OpenSession(account="root"), KERNEL).text
    assert host.open(text).level is Level.OPERATE, "never more than the setting says"
    host.tokens.take_proxy_level(Level.READ)
    host.commit()
    assert host.reviews == 1
    assert host.open(text).level is Level.READ
    host.restart()
    assert not host.is_valid(text), "a daemon that trusts no proxy does not trust what one said before"


def test_the_web_front_is_known_by_its_name_also_where_no_module_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_module, "_DYNAMIC_NAMES", str(tmp_path))
    (tmp_path / "direct:61500").symlink_to("pyflow-web")
    (tmp_path / "direct:61501").symlink_to("another")
    assert is_web_front(61_500)
    assert not is_web_front(61_501)
    assert not is_web_front(61_502)
    assert not is_web_front(os.geteuid())


# ---- Guesses, leaks, the record


def test_whatever_is_no_token_is_answered_alike_and_too_many_tries_are_told(host: Host) -> None:
    expired, good = host.create(ALICE, expires_s=60).text, host.create(ALICE, expires_s=0).text
    revoked = host.create(ALICE)
    host.ask(RevokeToken(token=revoked.token.token), host.kernel(ALICE))
    login = host.create(ALICE, sort=Sort.LOGIN).text
    host.clock.advance(61)
    answers = {INVALID.removeprefix("^").replace("\\", "")}
    for text in (expired, revoked.text, login, "", "pfb_", good[:-1], good + "x", good.upper(), "\ud800", "x" * 9999):
        with pytest.raises(Forbidden) as caught:
            host.open(text)
        answers.add(str(caught.value).partition(":")[0])
    assert len(answers) == 1
    host.clock.advance(WINDOW_US / US)
    for _ in range(FAILED_MAX):
        assert not host.is_valid("pfb_guess")
    assert host.notes == {}
    with pytest.raises(Unavailable, match="too many tries"):
        host.open("pfb_guess")
    with pytest.raises(Unavailable, match="too many tries"):
        host.ask(OpenSession(login="pfl_guess"), KERNEL)
    assert host.is_valid(good), "nobody is shut out by others"
    assert "more than 60 tries a minute" in host.notes["tokens"]
    host.clock.advance(WINDOW_US / US)
    assert not host.is_valid("pfb_guess")
    host.clock.advance(NOTED_US / US)
    host.commit()
    assert host.notes["tokens"] == ""


def test_the_text_of_a_token_is_nowhere_but_in_the_answer(host: Host) -> None:
    told = [host.create(ALICE, label="ci"), host.create(ALICE, sort=Sort.LOGIN)]
    session = host.session(ALICE)
    texts = [each.text for each in (*told, session)]
    assert len({len(text) for text in texts}) == 1
    assert [text[:4] for text in texts] == ["pfb_", "pfl_", "pfs_"]
    shown = "".join(map(repr, (*told, session, OpenSession(login=texts[1]), host.tokens.held(None))))
    host.store.close()
    written = b"".join(path.read_bytes() for path in host.folder.iterdir() if path.name.startswith(DATABASE))
    for text in texts:
        assert text[4:] not in shown
        assert text[4:].encode() not in written
    host.begin()


def test_the_record_names_the_account_and_the_token_and_never_its_text(host: Host) -> None:
    made = host.create(BOB, level=Level.OPERATE, label="ci")
    login = host.create(BOB, sort=Sort.LOGIN)
    session = host.ask(OpenSession(login=login.text), peer_module.nobody(KERNEL))
    host.ask(RevokeToken(), host.open(session.text))
    assert host.audited()[::-1] == [
        ("bob", None, "create_token", "done"),
        ("bob", None, "create_token", "done"),
        ("bob", 3, "open_session", "done"),
        ("bob", 3, "revoke_token", "done"),
    ]
    asked = [row[8] for row in host.store.rows("audit", 1 << 60, 0, 100)]
    assert asked[-1] == '{"sort":"bearer","label":"ci","level":"operate"}'
    assert not any(text[4:] in word for word in asked for text in (made.text, login.text, session.text))


def test_those_who_are_not_logged_in_do_not_fill_the_record(host: Host) -> None:
    for _ in range(50):
        with pytest.raises(Forbidden):
            host.ask(OpenSession(login="pfl_guess"), peer_module.nobody(KERNEL))
    host.clock.advance(WINDOW_US / US)
    host.commit()
    host.commit()
    assert [(row[5], row[9], row[10]) for row in host.store.rows("audit", 1 << 60, 0, 100)] == [
        ("open_session", "forbidden", 49), ("open_session", "forbidden", 0),
    ]  # fmt: skip
