"""Sessions of those whom a proxy names: believed through its own Unix socket, and nowhere else."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request as HttpRequest

from pyflowd.web.sign_on import account
from tests.daemon.front import Answered, Front
from tests.daemon.instance import Instance

US = pwd.getpwuid(os.geteuid()).pw_name
HOST = "flow.example.com"
NAMED = {"Host": HOST, "X-Forwarded-User": US}


@pytest.fixture(scope="module")
def instance_for_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    made = Instance(tmp_path_factory.mktemp("proxy") / "root")
    made.settings(web_proxy_level="read")
    made.start()
    yield made
    made.end()


@pytest.fixture(scope="module")
def front(instance_for_proxy: Instance) -> Iterator[Front]:
    made = Front(instance_for_proxy)
    path = made.instance.root / "web.sock"
    made.settings(f"listen: unix:{path}\nurl: https://{HOST}\nproxy_header: X-Forwarded-User\n")
    made.start(listen=f"unix:{path}")
    yield made
    made.end()


def session_of(answer: Answered) -> str:
    return str(answer.headers["Set-Cookie"]).partition(";")[0]


def test_who_is_named_gets_a_session_and_the_page_that_he_asked_for(front: Front) -> None:
    answer = front.ask("GET", "/runs?state=failed", NAMED)
    assert (answer.status, answer.headers["Location"]) == (303, "/runs?state=failed")
    cookie = session_of(answer)
    assert cookie.startswith("__Host-pyflow=pfs_")
    page = front.ask("GET", "/", {**NAMED, "Cookie": cookie})
    assert page.status == 200
    assert f"{US}, level read" in page.text


def test_a_session_of_somebody_else_is_not_gone_on_with(front: Front) -> None:
    cookie = session_of(front.ask("GET", "/", NAMED))
    other = {"Host": HOST, "X-Forwarded-User": "nobody", "Cookie": cookie}
    answer = front.ask("GET", "/", other)
    assert answer.status in (303, 403)
    assert answer.headers["Location"] in (None, "/", "/login")
    assert f"{US}, level" not in answer.text


@pytest.mark.parametrize("name", ["no-such-account", "", "a" * 65, "root\x7f"])
def test_names_of_nobody_open_nothing(front: Front, name: str) -> None:
    answer = front.ask("GET", "/", {"Host": HOST, "X-Forwarded-User": name or ""})
    assert "pfs_" not in str(answer.headers["Set-Cookie"])
    assert answer.status in (303, 403)


def test_an_address_that_leads_elsewhere_is_not_gone_back_to(front: Front) -> None:
    answer = front.ask("GET", "//evil.example/..", NAMED)
    assert not str(answer.headers["Location"] or "/").startswith("//")


def test_only_pages_sign_on(front: Front) -> None:
    for path in ("/fragment/live", "/events", "/api/v1/host", "/metrics"):
        answer = front.ask("GET", path, NAMED)
        assert (answer.status, answer.headers["Set-Cookie"]) == (401, None), path


def test_through_a_port_the_header_means_nothing(instance_for_proxy: Instance) -> None:
    other = Front(instance_for_proxy)
    (other.instance.root / "loopback.yaml").write_text("")
    other.start("--settings", str(other.instance.root / "loopback.yaml"))
    try:
        answer = other.ask("GET", "/", {"X-Forwarded-User": US})
        assert (answer.status, answer.headers["Location"]) == (303, "/login")
        assert answer.headers["Set-Cookie"] is None
    finally:
        other.end()


def test_even_where_it_is_set_the_header_is_believed_from_no_address() -> None:
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-forwarded-user", b"root")]}
    asked: Any = SimpleNamespace(http=HttpRequest({**scope, "client": ("127.0.0.1", 1)}))
    assert account(asked, "x-forwarded-user") == ""
    asked = SimpleNamespace(http=HttpRequest({**scope, "client": None}))
    assert account(asked, "x-forwarded-user") == "root"
    assert account(asked, "") == ""
    twice = {**scope, "client": None, "headers": scope["headers"] * 2}  # type: ignore[operator]
    assert account(SimpleNamespace(http=HttpRequest(twice)), "x-forwarded-user") == ""  # type: ignore[arg-type]
