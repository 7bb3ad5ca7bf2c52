"""What other sites try: forms and requests across origins, frames, a name of theirs that points here."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest

from tests.browser.look import Looker
from tests.browser.site import Site


class Hostile:
    """Another site: on another port of the same host, so that the browser sends the session's cookie along."""

    def __init__(self) -> None:
        pages: dict[str, str] = {}

        class Handler(BaseHTTPRequestHandler):
            served: ClassVar[dict[str, str]] = pages

            def do_GET(self) -> None:
                body = self.served.get(self.path, "").encode()
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.pages = pages
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self._thread.start()

    def end(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    made = Hostile()
    yield made
    made.end()


def stranger(look: Looker, hostile: Hostile, html: str) -> Any:
    """A page of theirs, opened by somebody who is logged in here; its complaints are its own."""
    hostile.pages["/"] = f"<!doctype html><title>theirs</title>{html}"
    page = look.context().new_page()
    page.goto(hostile.url + "/")
    return page


def test_a_form_of_another_site_changes_nothing(look: Looker, site: Site, hostile: Hostile) -> None:
    page = stranger(
        look, hostile,
        f'<form id="f" method="post" action="{site.url}/workflows/orders/pause"><input name="csrf" value="x"></form>',
    )  # fmt: skip
    with page.expect_navigation() as answer:
        page.evaluate("document.getElementById('f').submit()")
    assert answer.value.status == 403
    assert "another site" in page.inner_text("body")
    assert next(each for each in site.daemon.json("list") if each["workflow"] == "orders")["state"] == "active"


def test_a_request_of_another_site_reads_nothing(look: Looker, site: Site, hostile: Hostile) -> None:
    page = stranger(look, hostile, "")
    for path in ("/", "/runs/1", "/events?topic=host", "/fragment/live", "/api/v1/runs"):
        said = page.evaluate(
            "(url) => fetch(url, {credentials: 'include'}).then((answer) => answer.text(), (error) => error.name)",
            site.url + path,
        )
        assert said == "TypeError", f"{path}: {said[:80]}"
    assert page.evaluate(
        """(url) => new Promise((done) => {
            const stream = new EventSource(url, {withCredentials: true});
            stream.onerror = () => done('refused');
            for (const name of ['beat', 'change']) stream.addEventListener(name, () => done('read'));
        })""",
        f"{site.url}/events?topic=host",
    ) == "refused"  # fmt: skip


def test_no_page_can_be_framed(look: Looker, site: Site, hostile: Hostile) -> None:
    page = stranger(look, hostile, f'<iframe src="{site.url}/"></iframe><iframe src="{site.url}/login"></iframe>')
    for frame in page.frames[1:]:
        frame.wait_for_load_state()
        assert frame.locator(".top").count() == 0
        assert "PyFlow" not in frame.content()


def test_scripts_of_ours_cannot_be_loaded_as_data_by_another_site(look: Looker, site: Site, hostile: Hostile) -> None:
    page = stranger(look, hostile, "")
    loaded = page.evaluate(
        """(url) => new Promise((done) => {
            const script = document.createElement('script');
            script.onload = () => done(true);
            script.onerror = () => done(false);
            script.src = url;
            document.head.append(script);
        })""",
        f"{site.url}/fragment/live",
    )
    assert not loaded


def test_a_name_of_theirs_that_points_here_is_turned_away(look: Looker, site: Site) -> None:
    """Rebinding: the browser takes it for their site, and would let it read all that it gets."""
    port = urlsplit(site.url).port
    page = look.context().new_page()
    answer = page.goto(f"http://evil.test:{port}/")
    assert answer.status == 421
    assert "PyFlow" not in page.inner_text("body")
    for path in ("/login", "/healthz", "/static/x/page.js", "/nothing", "/events"):
        assert raw(site, path, host=f"evil.test:{port}").status == 421, path


def raw(site: Site, path: str, host: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(site.url).port, timeout=20)
    try:
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


def test_a_page_of_ours_runs_no_script_that_somebody_put_into_it(look: Looker, site: Site) -> None:
    """The policy holds even where a template were wrong."""
    page = look.context().new_page()
    page.goto(site.url + "/")
    assert page.evaluate(
        """() => new Promise((done) => {
            document.addEventListener('securitypolicyviolation', () => done(typeof pwned), {once: true});
            const script = document.createElement('script');
            try { script.text = 'pwned = 1'; document.body.append(script); } catch { done(typeof pwned); }
        })"""
    ) == "undefined"  # fmt: skip
    with pytest.raises(Exception, match="TrustedHTML"):
        page.evaluate("document.body.innerHTML = '<b>x</b>'")
    with pytest.raises(Exception, match="createPolicy"):
        page.evaluate("trustedTypes.createPolicy('theirs', {createHTML: (text) => text})")
