"""The process of the web front: where it listens, what it bears, when it ends, what it says of the daemon."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pyflowd.protocol.requests import GetVersion
from pyflowd.web.link import Away, Link
from tests.daemon.front import Front, cookie
from tests.daemon.instance import REPOSITORY, Instance
from tests.waiting import wait_until

ACTIVATED = """
import os, socket, sys
from pyflowd.web.main import main
given = socket.create_server(("127.0.0.1", 0))
print("listening on http://127.0.0.1:%d" % given.getsockname()[1], file=sys.stderr, flush=True)
os.dup2(given.fileno(), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
sys.exit(main(sys.argv[1:]))
"""
"""As a service manager does it."""


@pytest.fixture
def front(instance: Instance) -> Iterator[Front]:
    made = Front(instance)
    yield made
    made.end()


@pytest.fixture
def served(front: Front) -> Front:
    front.instance.start()
    front.start()
    return front


# ---- Where it listens


def test_it_ends_with_0_when_it_is_told_to(served: Front) -> None:
    assert served.get("/healthz").json() == {"status": "ok"}
    assert served.stop() == 0
    assert "stopped" in served.said()
    assert "Traceback" not in served.said()


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
def test_beyond_this_host_it_listens_with_tls_only(front: Front, listen: str) -> None:
    front.start(listen=listen, wait=False)
    assert front.process is not None
    assert front.process.wait(30) == 6
    (line,) = front.said().splitlines()
    assert "set tls" in line


def test_what_is_wrong_with_the_settings_is_told_by_check_and_at_the_start(front: Front) -> None:
    front.settings("hosts: [a b]\nidle: 5\n")
    for options in (("--check",), ()):
        front.start(*options, listen="", wait=False)
        assert front.process is not None
        assert front.process.wait(30) == 6
        assert [line.split("web.yaml:")[1][:4] for line in front.said().splitlines()] == ["1:9:", "2:7:"]
    front.settings("")
    front.start("--check", listen="", wait=False)
    assert front.process.wait(30) == 0


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "flow.example.com")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("flow.example.com")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    certificate, private = folder / "web.pem", folder / "web.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate, private


def test_with_tls_a_browser_gets_a_cookie_for_this_host_only(front: Front, tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    front.settings(f"url: https://flow.example.com\ntls: {{certificate: {certificate}, key: {key}}}\n")
    front.instance.start()
    front.start(listen="0.0.0.0:0")
    context = ssl.create_default_context(cafile=str(certificate))
    with context.wrap_socket(front.connect(), server_hostname="flow.example.com") as secured:
        connection = http.client.HTTPConnection("flow.example.com")
        connection.sock = secured
        form = f"code={front.login()}"
        told = {"Origin": "https://flow.example.com", "Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/login", form, told)
        answer = connection.getresponse()
        assert answer.status == 303
        assert str(answer.headers["Set-Cookie"]).startswith("__Host-pyflow=pfs_")
        assert "Secure" in answer.headers["Set-Cookie"]
    with context.wrap_socket(front.connect(), server_hostname="flow.example.com") as secured:
        secured.sendall(f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{front.port}\r\n\r\n".encode())
        assert secured.recv(4096).startswith(b"HTTP/1.1 421 ")


def test_a_key_that_does_not_fit_is_told_in_one_line(front: Front, tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    key.write_text("no key")
    front.settings(f"tls: {{certificate: {certificate}, key: {key}}}\n")
    front.start("--check", wait=False)
    assert front.process is not None
    assert front.process.wait(30) == 6
    (line,) = front.said().splitlines()
    assert "no certificate and its key" in line


# ---- When it ends


def _activated(front: Front) -> None:
    """Started with a socket that is listened on already."""
    with front.log.open("ab") as log:
        front.process = subprocess.Popen(
            [sys.executable, "-c", ACTIVATED, "--root", str(front.instance.root)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    wait_until(lambda: front.said().count("listening on") == 2, lambda: f"it serves: {front.said()}")
    front.port = int(front.said().split("127.0.0.1:")[1].split()[0])


def test_started_by_its_socket_it_ends_when_nobody_asks(front: Front) -> None:
    front.instance.start()
    front.settings("idle: 2s\n")
    _activated(front)
    assert front.get("/healthz").status == 200
    assert front.process is not None
    assert front.process.wait(30) == 0


def test_an_open_event_stream_keeps_it_and_ends_at_once_when_it_is_told_to_stop(front: Front) -> None:
    front.instance.start()
    front.settings("idle: 2s\n")
    front.instance.install("w.yaml", "tasks: {t: {run: sleep 3}}\n")
    session = front.session()
    _activated(front)
    told = {"Host": front.host, **cookie(session)}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", front.port, timeout=30)) as connection:
        connection.request("GET", "/events?topic=host", headers=told)
        stream = connection.getresponse()
        assert (stream.status, stream.headers["Content-Type"].split(";")[0]) == (200, "text/event-stream")
        front.instance.run("w")
        while b'"run_ended"' not in stream.readline():  # a second later: after it would have stopped
            pass
        assert front.process is not None
        assert front.process.poll() is None
        front.process.terminate()
        assert isinstance(stream.read(), bytes)  # it ends as an answer does
        stream.close()
    assert front.process.wait(30) == 0
    assert "Traceback" not in front.said()


# ---- While the daemon is away


def test_while_the_daemon_is_away_pages_say_so_and_since_when(served: Front) -> None:
    session, bearer = served.session(), served.bearer()
    served.instance.stop()
    page = served.get("/", session)
    assert page.status == 503
    for words in ("The daemon does not answer", "Since <time", "systemctl status pyflowd", "Tasks go on"):
        assert words in page.text
    assert page.headers["Retry-After"]
    assert served.get("/healthz").status == 503
    answer = served.api("GET", "/host", bearer)
    assert (answer.status, answer.json()["code"]) == (503, "unavailable")
    served.instance.start()
    wait_until(lambda: served.get("/", session).status == 200, "it is back, and the session holds")


def test_a_daemon_that_hangs_is_told_and_does_not_hang_the_front(daemon: Instance) -> None:
    link = Link(str(daemon.root / "run" / "pyflowd.sock"), timeout_s=0.5)
    token = Front(daemon).session()
    with contextlib.closing(link):
        assert link.ask(token, GetVersion())
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(2):  # by the connection that is there, then by a new one
                with pytest.raises(Away):
                    link.ask(token, GetVersion())
        finally:
            daemon.process.send_signal(signal.SIGCONT)

        def is_back() -> bool:
            with contextlib.suppress(Away):
                return bool(link.ask(token, GetVersion()))
            return False

        wait_until(is_back, "it is back")


# ---- Clients that mean no good


def _said(connection: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            found += piece
    return found


def test_a_head_that_is_too_long_is_refused(served: Front) -> None:
    with served.connect() as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {served.host}\r\n".encode() + b"X: " + b"a" * 40_000)
        assert _said(connection).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET / HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"POST /login HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_request_gets_400_or_is_not_for_us(served: Front, request_line: bytes) -> None:
    with served.connect() as connection:
        connection.sendall(request_line.replace(b"{host}", served.host.encode()) + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        said = _said(connection)
    assert said.split(b" ")[1] in (b"400", b"421", b"501"), said[:200]
    assert "Traceback" not in served.said()


def _head(front: Front, path: str, length: int) -> bytes:
    told = f"Host: {front.host}\r\nOrigin: {front.origin}\r\nContent-Length: {length}\r\n\r\n"
    return f"POST {path} HTTP/1.1\r\n{told}".encode()


def test_a_body_that_is_too_long_is_refused_before_it_is_read(served: Front) -> None:
    with served.connect() as connection:
        connection.sendall(_head(served, "/login", 99_999_999))
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_a_stranger_is_turned_away_before_the_body_of_a_form_is_read(served: Front) -> None:
    with served.connect() as connection:
        head = (
            f"POST /logout HTTP/1.1\r\nHost: {served.host}\r\nOrigin: {served.origin}\r\nContent-Length: 4000\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 303 ")
