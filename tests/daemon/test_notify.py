"""Messages on their way: what servers on loopback get, and what becomes of a try that fails. Real sockets, real TLS."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pyflowd.base.pool import Cancel
from pyflowd.clock import US
from pyflowd.notify import notify_connection
from pyflowd.notify.notify import Message, Sent
from pyflowd.notify.notify_channels import Hook, Mail, Shape, Tls
from pyflowd.notify.notify_send import deliver
from tests.daemon.mailserver import Certificate, MailServer, WebServer, certificate

IDS = ("abcd-7",)
MESSAGE = Message(
    channel="oncall",
    subject="nightly failed – Überlauf",
    text="1 < 2 & ünïcode\n.a line that begins with a dot\n" + "x" * 2000,
    workflow="nightly",
    run=42,
    state="failed",
    at_us=1_772_330_400 * US,
    host="web1.example.com",
)


def send(channel: Mail | Hook, message: Message = MESSAGE, cancel: Cancel | None = None) -> Sent:
    return deliver(channel, message, IDS, cancel or Cancel())


@pytest.fixture
def mailserver() -> Iterator[MailServer]:
    with MailServer() as server:
        yield server


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer() as server:
        yield server


@pytest.fixture(scope="session")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl(1) to make a certificate with")
    return certificate(tmp_path_factory.mktemp("tls"))


def mail_to(server: MailServer, *to: str, **more: object) -> Mail:
    return msgspec.structs.replace(Mail(to=to or ("admin@example.com",), host="127.0.0.1", port=server.port), **more)


def hook_to(server: WebServer, shape: Shape = Shape.WEBHOOK, path: str = "/hooks/s3cret", **more: object) -> Hook:
    return msgspec.structs.replace(Hook(shape=shape, url=f"http://127.0.0.1:{server.port}{path}"), **more)


# ---- Mail


def test_a_mail_arrives_as_it_was_written(mailserver: MailServer) -> None:
    assert send(mail_to(mailserver, "a@example.com", "b@example.com")) == Sent()
    mail = mailserver.take()
    assert mail.message.get_content().replace("\r\n", "\n") == MESSAGE.text + "\n"
    assert (mail.message["Subject"], mail.message["To"]) == (MESSAGE.subject, "a@example.com, b@example.com")
    assert mail.receivers == ["a@example.com", "b@example.com"]


def test_a_mail_has_an_id_that_does_not_change_and_says_that_a_machine_wrote_it(mailserver: MailServer) -> None:
    for _ in range(2):
        send(mail_to(mailserver))
    first, second = mailserver.take().message, mailserver.take().message
    assert first["Message-ID"] == second["Message-ID"] == "<abcd-7@web1.example.com>"
    assert first["Date"] == "Sun, 01 Mar 2026 02:00:00 +0000"
    assert (first["Auto-Submitted"], first["From"]) == ("auto-generated", "pyflow@web1.example.com")


def test_a_mail_is_seven_bit_and_no_line_of_it_is_long(mailserver: MailServer) -> None:
    send(mail_to(mailserver))
    data = mailserver.take().data
    assert data.isascii()
    assert max(map(len, data.split(b"\r\n"))) < 100


def test_with_starttls_the_login_comes_after_it(trusted: Certificate, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("open sesame\n")
    (tmp_path / "password").chmod(0o600)
    with MailServer(starttls=trusted.context(), user="me:open sesame") as server:
        mail = mail_to(server, tls=Tls.STARTTLS, user="me", password_file=str(tmp_path / "password"))
        assert send(msgspec.structs.replace(mail, ca_file=str(trusted.path))) == Sent()
        taken = server.take()
    assert (taken.over_tls, taken.user) == (True, "me")


def test_mail_by_tls_from_the_first_byte(trusted: Certificate) -> None:
    with MailServer(tls=trusted.context()) as server:
        assert send(mail_to(server, tls=Tls.TLS, ca_file=str(trusted.path))) == Sent()
        assert server.take().over_tls


@pytest.mark.parametrize("tls", [Tls.STARTTLS, Tls.TLS])
def test_a_certificate_that_is_not_trusted_ends_the_try(trusted: Certificate, tls: Tls) -> None:
    context = trusted.context()
    with MailServer(tls=context) if tls is Tls.TLS else MailServer(starttls=context) as server:
        sent = send(mail_to(server, tls=tls))
        assert "its certificate is not trusted" in sent.error
        assert server.mails.empty()


def test_a_certificate_of_another_host_ends_the_try(trusted: Certificate) -> None:
    with MailServer(tls=trusted.context()) as server:
        sent = send(mail_to(server, tls=Tls.TLS, ca_file=str(trusted.path), host="127.0.0.2"))
    assert "its certificate is not trusted" in sent.error or "refused" in sent.error


def test_a_server_without_starttls_gets_nothing_where_tls_is_asked_for(mailserver: MailServer) -> None:
    sent = send(mail_to(mailserver, tls=Tls.STARTTLS))
    assert sent.error.endswith("it offers no STARTTLS, or no AUTH; see tls")
    assert mailserver.mails.empty()


def test_a_wrong_password_is_told_without_it(trusted: Certificate) -> None:
    with MailServer(tls=trusted.context(), user="me:open sesame") as server:
        mail = mail_to(server, tls=Tls.TLS, ca_file=str(trusted.path), user="me", password="s3cret")
        assert send(mail).error == f"127.0.0.1:{server.port}: it answers 535 who are you"


def test_who_was_refused_is_still_to_be_told_and_nobody_else(mailserver: MailServer) -> None:
    mailserver.refuse = lambda address: "451 later" if address.startswith("b") else ""
    sent = send(mail_to(mailserver, "a@example.com", "b@example.com"))
    assert (sent.left, mailserver.take().receivers) == (("b@example.com",), ["a@example.com"])
    assert sent.error.endswith("it refuses b@example.com: 451 later")


def test_a_mail_that_some_have_goes_to_the_others_only(mailserver: MailServer) -> None:
    mail = mail_to(mailserver, "a@example.com", "b@example.com")
    assert send(mail, msgspec.structs.replace(MESSAGE, only_to=("b@example.com",))) == Sent()
    taken = mailserver.take()
    assert (taken.receivers, taken.message["To"]) == (["b@example.com"], "a@example.com, b@example.com")


def test_where_all_are_refused_the_try_has_failed(mailserver: MailServer) -> None:
    mailserver.refuse = lambda address: "550 nobody"
    sent = send(mail_to(mailserver))
    assert (sent.error, sent.left) == (
        f"127.0.0.1:{mailserver.port}: it refuses admin@example.com: 550 nobody",
        (),
    )


@pytest.mark.parametrize(
    ("attribute", "said", "told"),
    [
        ("greeting", "554 not today", "it answers 554 not today"),
        ("greeting", "hello", "it "),
        ("after_data", "452 no space", "it answers 452 no space"),
    ],
)
def test_what_a_mail_server_says_against_it_is_told(
    mailserver: MailServer, attribute: str, said: str, told: str
) -> None:
    setattr(mailserver, attribute, said)
    assert told in send(mail_to(mailserver)).error


# ---- Hooks


def test_a_webhook_gets_the_documented_fields(web: WebServer) -> None:
    assert send(hook_to(web)) == Sent()
    request = web.take()
    assert (request.method, request.path) == ("POST", "/hooks/s3cret")
    assert json.loads(request.body) == {
        "version": 1,
        "id": "abcd-7",
        "ids": ["abcd-7"],
        "channel": "oncall",
        "subject": MESSAGE.subject,
        "text": MESSAGE.text,
        "workflow": "nightly",
        "run": 42,
        "state": "failed",
        "at": "2026-03-01T02:00:00+00:00",
        "host": "web1.example.com",
    }


def test_a_webhook_is_asked_as_its_channel_says(web: WebServer) -> None:
    send(hook_to(web, method="PUT", headers={"Authorization": "Bearer t", "User-Agent": "us"}))
    request = web.take()
    assert (request.method, request.headers["authorization"], request.headers["user-agent"]) == (
        "PUT",
        "Bearer t",
        "us",
    )
    assert request.headers["idempotency-key"] == "abcd-7"
    assert request.headers["host"] == f"127.0.0.1:{web.port}"


def test_slack_gets_text_in_which_nothing_is_markup_of_its_own(web: WebServer) -> None:
    send(hook_to(web, Shape.SLACK), msgspec.structs.replace(MESSAGE, subject="s", text="<!channel> & <http://x|y>"))
    assert json.loads(web.take().body) == {"text": "*s*\n&lt;!channel&gt; &amp; &lt;http://x|y&gt;"}


def test_teams_gets_an_adaptive_card(web: WebServer) -> None:
    web.answer("202 Accepted")
    assert send(hook_to(web, Shape.TEAMS), msgspec.structs.replace(MESSAGE, text="one\n\n[two](http://x)")) == Sent()
    sent = json.loads(web.take().body)
    (attachment,) = sent["attachments"]
    assert (sent["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    assert [block["inlines"][0]["text"] for block in attachment["content"]["body"]] == [
        MESSAGE.subject,
        "one",
        "[two](http://x)",
    ]


def test_a_url_may_stand_in_a_file(web: WebServer, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"http://127.0.0.1:{web.port}/from-a-file\n")
    (tmp_path / "url").chmod(0o600)
    assert send(hook_to(web, url="", url_file=str(tmp_path / "url"))) == Sent()
    assert web.take().path == "/from-a-file"


def test_a_webhook_by_tls(trusted: Certificate) -> None:
    with WebServer(tls=trusted.context()) as web:
        url = f"https://localhost:{web.port}/x"
        assert "not trusted" in send(hook_to(web, url=url)).error
        assert send(hook_to(web, url=url, ca_file=str(trusted.path))) == Sent()


def test_an_answer_that_is_none_is_told_without_secrets(web: WebServer) -> None:
    web.answer("404 Not Found", b"no hook /hooks/s3cret\nfor Bearer t0ken")
    sent = send(hook_to(web, headers={"Authorization": "Bearer t0ken"}))
    assert sent.error == "127.0.0.1 answers 404: no hook *** for ***"


def test_retry_after_is_told(web: WebServer) -> None:
    web.answer("429 Too Many Requests", b"", "Retry-After: 30")
    assert send(hook_to(web)) == Sent(error="127.0.0.1 answers 429", retry_after_s=30.0)


def test_a_redirect_is_not_followed(web: WebServer) -> None:
    web.answer("302 Found", b"", f"Location: http://127.0.0.1:{web.port}/elsewhere")
    assert "give the URL that it leads to" in send(hook_to(web)).error
    assert web.requests.qsize() == 1


# ---- What goes wrong on the way


def test_a_server_that_is_not_there_is_told(web: WebServer) -> None:
    with MailServer() as gone:
        port = gone.port
    assert send(mail_to(gone)).error == f"127.0.0.1:{port}: Connection refused"


def test_a_server_whose_name_is_unknown_is_told() -> None:
    sent = send(Hook(shape=Shape.WEBHOOK, url="http://no-such-host.invalid/s3cret"))
    assert sent.error.startswith("no-such-host.invalid:80: ")
    assert "s3cret" not in sent.error


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500])
def test_an_answer_that_is_no_http_is_told(web: WebServer, answer: bytes) -> None:
    web.answers.put(answer)
    assert send(hook_to(web)).error.startswith(f"127.0.0.1:{web.port}: ")


def test_a_server_that_drips_does_not_outlive_the_deadline(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"H")
            await writer.drain()
            await asyncio.sleep(0.05)

    monkeypatch.setattr(notify_connection, "TOTAL_S", 0.3)
    web.answers.put(drip)
    assert send(hook_to(web)).error == f"127.0.0.1:{web.port}: not done within 0.3 s"


def test_a_server_that_says_nothing_does_not_outlive_the_deadline(
    mailserver: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify_connection, "TOTAL_S", 0.2)
    mailserver.silent = True
    assert send(mail_to(mailserver)).error == f"127.0.0.1:{mailserver.port}: not done within 0.2 s"


def test_tls_that_never_comes_about_does_not_outlive_the_deadline(
    mailserver: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify_connection, "TOTAL_S", 0.2)
    mailserver.silent = True
    assert send(mail_to(mailserver, tls=Tls.TLS)).error == f"127.0.0.1:{mailserver.port}: not done within 0.2 s"


def test_a_cancelled_try_ends_at_once(web: WebServer) -> None:
    cancel = Cancel()

    async def wait_for_ever(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    web.answers.put(wait_for_ever)
    found: list[Sent] = []
    thread = threading.Thread(target=lambda: found.append(send(hook_to(web), cancel=cancel)))
    thread.start()
    web.take()
    cancel.set()
    thread.join(10)
    assert [sent.error for sent in found] == [f"127.0.0.1:{web.port}: stopped with the daemon"]


# ---- Secrets


@pytest.mark.parametrize("mode", [0o604, 0o640 | 0o020, 0o602])
def test_a_secret_that_others_may_read_or_change_is_not_used(tmp_path: Path, web: WebServer, mode: int) -> None:
    path = tmp_path / "url"
    path.write_text(f"http://127.0.0.1:{web.port}/")
    path.chmod(mode)
    sent = send(hook_to(web, url="", url_file=str(path)))
    assert sent.error == f"{path}: others may read or change it; chmod 600, owned by root or pyflowd's user"
    assert web.requests.empty()


def test_a_secret_that_the_group_of_the_daemon_may_read_is_used(tmp_path: Path, web: WebServer) -> None:
    path = tmp_path / "url"
    path.write_text(f"http://127.0.0.1:{web.port}/")
    path.chmod(0o640)
    assert send(hook_to(web, url="", url_file=str(path))) == Sent()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "its first line is empty, or not plain ASCII"),
        ("\n", "its first line is empty, or not plain ASCII"),
        ("http://ünï.example/", "its first line is empty, or not plain ASCII"),
        ("s3cret", "it begins neither with https:// nor with http://"),
    ],
)
def test_a_file_that_holds_no_url_is_told_without_what_it_holds(
    tmp_path: Path, web: WebServer, text: str, told: str
) -> None:
    path = tmp_path / "url"
    path.write_text(text)
    path.chmod(0o600)
    assert send(hook_to(web, url="", url_file=str(path))).error == f"{path}: {told}"


def test_a_pipe_in_place_of_a_secret_holds_nobody_up(tmp_path: Path, web: WebServer) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path, 0o600)
    found: list[Sent] = []
    thread = threading.Thread(target=lambda: found.append(send(hook_to(web, url="", url_file=str(path)))), daemon=True)
    thread.start()
    thread.join(10)
    assert [sent.error for sent in found] == [f"{path}: it is no file"]


def test_a_secret_that_is_no_file_is_told(tmp_path: Path, web: WebServer) -> None:
    assert send(hook_to(web, url="", url_file=str(tmp_path))).error == f"{tmp_path}: it is no file"
    missing = tmp_path / "missing"
    assert send(hook_to(web, url="", url_file=str(missing))).error == f"{missing}: No such file or directory"
