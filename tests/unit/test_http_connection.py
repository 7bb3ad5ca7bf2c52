"""Connections against servers on loopback: which addresses are reached, and that every call ends in time."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psutil
import pytest

from pyflowd.base.pool import Cancel
from pyflowd.clock import US
from pyflowd.expressions import pattern
from pyflowd.http import http_addresses, http_connection
from pyflowd.http.http_addresses import Target
from pyflowd.http.http_connection import Line
from pyflowd.model.ends import Stop
from pyflowd.model.kinds import Expect, TextBody, TextTest, Tls
from tests.unit.http_calls import DEADLINE_S, DRIPS, call, drips, echo, good, hello, to
from tests.unit.web import Handler, Seen, Web, web

# ---- Addresses ------------------------------------------------------------------------------------------------------


def test_a_name_that_leads_to_a_refused_address_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(socket.AF_INET, ("169.254.169.254", 80))
    monkeypatch.setattr(http_addresses, "_look_up", lambda host, port: [target])
    end = call("http://innocent.example/").end
    assert "innocent.example is at 169.254.169.254" in end.error


def test_the_address_that_was_checked_is_the_one_that_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def changing(host: str, port: int) -> list[Target]:
        asked.append(host)
        return [Target(socket.AF_INET, ("127.0.0.1" if len(asked) == 1 else "169.254.169.254", port))]

    monkeypatch.setattr(http_addresses, "_look_up", changing)
    with web(echo=echo) as server:
        came = good(f"http://changing.example:{server.port}/echo")["body"]
    assert asked == ["changing.example"]
    assert came["headers"]["host"] == f"changing.example:{server.port}"


def test_a_kept_connection_is_not_used_by_a_task_that_may_not_reach_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        http_addresses,
        "refusal",
        lambda address, allowed=(): "" if allowed or address != "127.0.0.1" else "refused in this test",
    )
    with web(echo=echo) as server:
        good(f"{server.url}/echo", allow_addresses=("127.0.0.1/32",))
        assert "refused in this test" in call(f"{server.url}/echo").end.error


def test_the_next_address_is_tried_where_one_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with web(hello=hello) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        targets = [Target(socket.AF_INET, closed.getsockname()), Target(socket.AF_INET, ("127.0.0.1", server.port))]
        monkeypatch.setattr(http_addresses, "_look_up", lambda host, port: targets)
        assert good(f"http://two.example:{server.port}/hello")["body"] == {"hello": 1}


# ---- Connections ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("body", [b"", b"some"])
def test_a_connection_is_kept_for_the_next_request(method: str, body: bytes) -> None:
    with web(hello=lambda handler, seen: handler.answer(200, body)) as server:
        for _ in range(3):
            good(f"{server.url}/hello", method=method)
    assert len({seen.connection for seen in server.seen}) == 1


def test_a_request_that_may_not_be_repeated_has_a_connection_of_its_own() -> None:
    with web(hello=hello) as server:
        for _ in range(2):
            good(f"{server.url}/hello", method="POST")
    assert len({seen.connection for seen in server.seen}) == 2


class Scripted:
    """A server that answers each request on a connection with the next bytes, and then closes it."""

    def __init__(self, *connections: list[bytes]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.asked = 0
        self._thread = threading.Thread(target=self._serve, args=(connections,), daemon=True)
        self._thread.start()

    def _serve(self, connections: tuple[list[bytes], ...]) -> None:
        for answers in connections:
            accepted, _ = self._listener.accept()
            with accepted:
                for answer in answers:
                    while not accepted.recv(65_536).endswith(b"\r\n\r\n"):
                        pass
                    self.asked += 1
                    accepted.sendall(answer)

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def test_a_kept_connection_that_the_server_closes_is_replaced() -> None:
    with Scripted([OK, b""], [OK]) as server:
        good(server.url)
        assert good(server.url)["body"] == "ok"
    assert server.asked == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", "closed the connection without an answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "ended early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", "ended early"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "decompressed"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "not HTTP"),
    ],
)
def test_an_answer_that_is_none_is_a_transient_error(answer: bytes, error: str) -> None:
    with Scripted([answer]) as server:
        end = call(server.url).end
    assert error in end.error
    assert end.transient


def test_nobody_there_is_a_transient_error() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        end = call(f"http://127.0.0.1:{closed.getsockname()[1]}/").end
    assert "connection refused" in end.error
    assert end.transient
    assert end.status is None


# ---- Time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", DRIPS, ids=["head", "body", "endless"])
def test_a_server_that_drips_does_not_outlive_the_timeout(first: bytes) -> None:
    with web(slow=drips(first)) as server:
        end = call(f"{server.url}/slow", timeout_s=0.2).end
    assert end.stop is Stop.TIMEOUT
    assert 200_000 <= end.ended_us - end.started_us < DEADLINE_S * US


@pytest.mark.parametrize("first", DRIPS, ids=["head", "body", "endless"])
def test_a_cancel_ends_the_wait_for_a_server_that_drips(first: bytes) -> None:
    cancel = Cancel()

    def slow(handler: Handler, seen: Seen) -> None:
        threading.Timer(0.05, cancel.set).start()
        handler.drip(first)

    with web(slow=slow) as server:
        result = call(f"{server.url}/slow", cancel=cancel)
    assert result.end.stop is Stop.REQUEST
    assert result.outputs == {}


def test_a_server_that_is_silent_is_left_after_the_read_timeout() -> None:
    with web(mute=lambda handler, seen: handler.web.closing.wait(DEADLINE_S)) as server:
        end = call(f"{server.url}/mute", read_timeout_s=0.1).end
    assert "silent for 0.1 s" in end.error
    assert end.transient
    assert end.stop is Stop.NONE


def test_a_server_that_does_not_read_does_not_outlive_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        end = call(url, method="PUT", body=TextBody(text="x" * 8_000_000), timeout_s=0.2).end
    assert end.stop is Stop.TIMEOUT


def test_a_handshake_that_hangs_does_not_outlive_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        end = call(f"https://127.0.0.1:{listener.getsockname()[1]}/", timeout_s=0.2).end
    assert end.stop is Stop.TIMEOUT


@pytest.fixture
def deaf() -> Iterator[str]:
    """The URL of a server whose queue is full: the kernel drops what asks for a connection."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        for _ in range(8):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def test_a_connect_that_hangs_does_not_outlive_the_timeout(deaf: str) -> None:
    end = call(deaf, timeout_s=0.2, connect_timeout_s=DEADLINE_S).end
    assert end.stop is Stop.TIMEOUT
    assert end.ended_us - end.started_us < DEADLINE_S / 2 * US


def test_a_connect_that_hangs_is_left_after_the_connect_timeout(deaf: str) -> None:
    end = call(deaf, connect_timeout_s=0.1).end
    assert "no answer within 0.1 s" in end.error
    assert end.transient


def test_a_line_that_was_cut_interrupts_what_is_held_later() -> None:
    line, calls = Line(allowed=(), connect_timeout_s=1, may_reuse=True), []
    line.cut(Stop.TIMEOUT)
    line.cut(Stop.REQUEST)
    line.hold(lambda: calls.append("interrupted"))
    assert calls == ["interrupted"]
    assert line.stop is Stop.TIMEOUT


def test_a_look_up_that_hangs_does_not_outlive_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(http_addresses, "_look_up", lambda host, port: never.wait(DEADLINE_S) or [])
    assert call("http://slow.example/", timeout_s=0.1).end.stop is Stop.TIMEOUT
    never.set()


def test_a_cancel_ends_the_search_of_a_large_body(monkeypatch: pytest.MonkeyPatch) -> None:
    cancel, tried = Cancel(), []

    def matches(pattern: str, line: str) -> bool:
        tried.append(line)
        cancel.set()
        return False

    monkeypatch.setattr(pattern, "matches", matches)
    with web(large=lambda handler, seen: handler.answer(200, b"line\n" * 1000)) as server:
        end = call(f"{server.url}/large", expect=Expect(body=TextTest(matches="x")), cancel=cancel).end
    assert end.stop is Stop.REQUEST
    assert len(tried) == 1


def test_what_was_cancelled_before_is_not_sent() -> None:
    cancel = Cancel()
    cancel.set()
    with web(hello=hello) as server:
        assert call(f"{server.url}/hello", cancel=cancel).end.stop is Stop.REQUEST
    assert server.seen == []


def test_no_descriptor_stays_open() -> None:
    def bad(handler: Handler, seen: Seen) -> None:
        handler.answer(500, Connection="close")

    def ours(server: Web) -> list[Any]:
        found = psutil.Process().net_connections("tcp")
        return [each for each in found if each.raddr and each.raddr.port == server.port]

    with web(hello=hello, slow=drips(DRIPS[1]), bad=bad) as server:
        for _ in range(3):
            call(f"{server.url}/hello")
            call(f"{server.url}/hello", method="POST")
            call(f"{server.url}/slow", timeout_s=0.05)
            call(f"{server.url}/bad")
        http_connection.close_kept()
        assert ours(server) == []


# ---- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for 127.0.0.1 and its key."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", key, "-out", cert, "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return str(cert), str(key)


@pytest.fixture
def secure(certificate: tuple[str, str]) -> Iterator[Web]:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    with web(tls, hello=hello, slow=drips(DRIPS[1]), away=to("http://127.0.0.1:1/")) as server:
        yield server


def test_an_unknown_authority_is_refused(secure: Web) -> None:
    end = call(f"{secure.url}/hello").end
    assert "certificate is not accepted" in end.error
    assert not end.transient


def test_an_authority_of_the_task_is_accepted(secure: Web, certificate: tuple[str, str]) -> None:
    tls = Tls(ca_file=certificate[0], min_version="1.3")
    assert [good(f"{secure.url}/hello", tls=tls)["status"] for _ in range(2)] == [200, 200]
    assert len({seen.connection for seen in secure.seen}) == 1


def test_a_certificate_for_another_host_is_refused(secure: Web, certificate: tuple[str, str]) -> None:
    end = call(f"https://localhost:{secure.port}/hello", tls=Tls(ca_file=certificate[0])).end
    assert "certificate is not accepted" in end.error


def test_a_certificate_is_not_checked_where_the_task_says_so(secure: Web) -> None:
    assert good(f"{secure.url}/hello", tls=Tls(verify=False))["status"] == 200


def test_what_was_not_checked_is_not_reused_by_who_checks(secure: Web) -> None:
    good(f"{secure.url}/hello", tls=Tls(verify=False))
    assert "certificate is not accepted" in call(f"{secure.url}/hello").end.error


def test_a_server_that_drips_over_tls_does_not_outlive_the_timeout(secure: Web, certificate: tuple[str, str]) -> None:
    end = call(f"{secure.url}/slow", tls=Tls(ca_file=certificate[0]), timeout_s=0.3).end
    assert end.stop is Stop.TIMEOUT


def test_a_redirect_that_leaves_tls_is_not_followed(secure: Web, certificate: tuple[str, str]) -> None:
    end = call(f"{secure.url}/away", tls=Tls(ca_file=certificate[0])).end
    assert "without TLS" in end.error


@pytest.mark.parametrize(
    "tls", [Tls(ca_file="/nonexistent/ca.pem"), Tls(cert_file="/dev/null"), Tls(ca_file="/dev/null")]
)
def test_a_file_of_tls_that_is_of_no_use_is_one_clear_error(secure: Web, tls: Tls) -> None:
    end = call(f"{secure.url}/hello", tls=tls).end
    assert end.error.startswith("tls: /")
    assert not end.transient


def test_a_client_certificate_is_shown(certificate: tuple[str, str]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.load_verify_locations(certificate[0])
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with web(context, hello=hello) as server:
        tls = Tls(ca_file=certificate[0], cert_file=certificate[0], key_file=certificate[1])
        assert good(f"{server.url}/hello", tls=tls)["status"] == 200
        assert call(f"{server.url}/hello", tls=Tls(ca_file=certificate[0])).end.error.startswith("TLS failed")


# ---- Proxies --------------------------------------------------------------------------------------------------------


def test_a_proxy_is_asked_where_the_task_names_one() -> None:
    with web() as proxy:
        proxy.routes["http://far.example/x"] = hello
        assert good("http://far.example/x", proxy=proxy.url)["body"] == {"hello": 1}
    assert proxy.seen[0].path == "http://far.example/x"


def test_a_refused_address_is_not_asked_of_a_proxy() -> None:
    with web() as proxy:
        assert "metadata" in call("http://169.254.169.254/", proxy=proxy.url).end.error
    assert proxy.seen == []


class Tunnels:
    """A proxy that connects through to one port, whatever it is asked for."""

    def __init__(self, port: int, status: str = "200 OK") -> None:
        self._port = port
        self._status = status
        self.heads: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += client.recv(1)
            self.heads.append(head.decode())
            client.sendall(f"HTTP/1.1 {self._status}\r\n\r\n".encode())
            if not self._status.startswith("200"):
                client.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._port))
            for one, other in ((client, far), (far, client)):
                threading.Thread(target=_pass_on, args=(one, other), daemon=True).start()

    def __enter__(self) -> Tunnels:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    """Bytes one way, until the end."""
    with one:
        try:
            while data := one.recv(65_536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def test_tls_goes_through_a_proxy_and_is_checked_against_the_far_host(
    secure: Web, certificate: tuple[str, str]
) -> None:
    with Tunnels(secure.port) as proxy:
        tls, through = Tls(ca_file=certificate[0]), f"http://u:p@{proxy.address}"
        for _ in range(2):
            assert good("https://127.0.0.1:4430/hello", tls=tls, proxy=through)["status"] == 200
        assert "not accepted" in call("https://far.example/hello", tls=tls, proxy=through).end.error
    assert [head.split()[1] for head in proxy.heads] == ["127.0.0.1:4430", "far.example:443"]
    assert "Proxy-Authorization: Basic dTpw" in proxy.heads[0]
    assert all("proxy-authorization" not in seen.headers for seen in secure.seen)


def test_a_proxy_that_refuses_is_one_clear_error(secure: Web) -> None:
    with Tunnels(secure.port, "407 Proxy Authentication Required") as proxy:
        end = call(f"{secure.url}/hello", proxy=f"http://{proxy.address}").end
    assert end.error == "the proxy refuses the connection: 407"
