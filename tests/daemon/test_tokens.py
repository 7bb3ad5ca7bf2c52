"""Tokens of a real daemon: durable when they are told, used once, cut off when they end, and nowhere to be read."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pyflowctl.client import Client, connect
from pyflowd.errors import Forbidden, NotFound, PyflowError, Unavailable
from pyflowd.protocol.requests import DeliverHook, GetHost, ListEvents
from pyflowd.protocol.tokens import (
    CreateToken,
    GetIdentity,
    IdentityView,
    OpenSession,
    RevokeToken,
    SessionView,
    Sort,
    TokenCreated,
)
from pyflowd.protocol.views_workflows import HookView
from pyflowd.protocol.words import HIDDEN, Level
from tests.daemon.instance import REPOSITORY, Instance
from tests.daemon.test_hooks import github
from tests.waiting import wait_until


def by(instance: Instance, token: str | None) -> Client:
    return connect(root=str(instance.root), token=token)


def created(instance: Instance, **fields: object) -> TokenCreated:
    with by(instance, None) as client:
        (made,) = (reply for reply in client.ask(CreateToken(**fields)) if isinstance(reply, TokenCreated))  # type: ignore[arg-type]
    return made


def session(instance: Instance) -> SessionView:
    login = created(instance, sort=Sort.LOGIN).text
    with by(instance, "") as client:
        (made,) = (reply for reply in client.ask(OpenSession(login=login)) if isinstance(reply, SessionView))
    return made


def identity(instance: Instance, token: str) -> IdentityView:
    with by(instance, token) as client:
        (found,) = (reply for reply in client.ask(GetIdentity()) if isinstance(reply, IdentityView))
    return found


def test_a_token_that_was_told_holds_after_a_kill_and_one_that_was_revoked_does_not(instance: Instance) -> None:
    held: list[str] = []
    for _ in range(3):
        instance.start()
        revoked = created(instance)
        with by(instance, None) as client:
            list(client.ask(RevokeToken(token=revoked.token.token)))
        held += [created(instance).text, session(instance).text]
        instance.kill()
        instance.start()
        assert {identity(instance, text).level for text in held} == {Level.ADMIN}
        with pytest.raises(Forbidden):
            by(instance, revoked.text)
        instance.kill()


def test_of_many_who_exchange_one_login_at_once_one_gets_a_session(daemon: Instance) -> None:
    login = created(daemon, sort=Sort.LOGIN).text
    ready = threading.Barrier(8)
    outcomes: list[str] = []

    def exchange() -> None:
        with by(daemon, "") as client:
            ready.wait(20)
            try:
                outcomes.append(type(next(iter(client.ask(OpenSession(login=login))))).__name__)
            except Forbidden:
                outcomes.append("forbidden")

    threads = [threading.Thread(target=exchange) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["SessionView", *["forbidden"] * 7]


@pytest.fixture
def streams(daemon: Instance) -> Callable[[str], threading.Thread]:
    """Starts to follow events with a token; the thread ends when it is cut off."""

    def start(token: str) -> threading.Thread:
        begun = threading.Event()

        def follow() -> None:
            with by(daemon, token) as client:
                try:
                    for _ in client.ask(ListEvents(follow=True)):
                        begun.set()
                except Unavailable:
                    return

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        assert begun.wait(20)
        return thread

    return start


def test_revoking_a_token_ends_what_it_follows_and_nothing_else(
    daemon: Instance, streams: Callable[[str], threading.Thread]
) -> None:
    first, other = created(daemon), session(daemon)
    following, going_on = streams(first.text), streams(other.text)
    assert daemon.ctl("token", "revoke", first.token.token).returncode == 0
    following.join(20)
    assert not following.is_alive()
    assert going_on.is_alive()
    with by(daemon, other.text) as client:
        list(client.ask(RevokeToken()))
    going_on.join(20)
    assert not going_on.is_alive()


def test_a_log_out_is_answered_before_it_cuts_off(daemon: Instance) -> None:
    made = session(daemon)
    with by(daemon, made.text) as client:
        assert next(type(reply).__name__ for reply in client.ask(RevokeToken())) == "TokenView"
    with pytest.raises(Forbidden, match="not valid"):
        by(daemon, made.text)


def test_the_text_of_a_token_is_in_no_file_of_the_instance(instance: Instance) -> None:
    instance.options = ("--verbose",)
    instance.start()
    texts = [created(instance, label="x").text, created(instance, sort=Sort.LOGIN).text, session(instance).text]
    for text in texts:
        with pytest.raises(PyflowError), by(instance, text[:-2]) as client:
            list(client.ask(GetHost()))
        with by(instance, "") as client, pytest.raises(PyflowError):
            list(client.ask(OpenSession(login=text[:-2])))
        with pytest.raises(PyflowError), by(instance, text) as client:
            list(client.ask(CreateToken(label="y")))
    shown = instance.ctl("audit", "-n", 100).stdout + instance.ctl("events", "-n", 1000).stdout
    shown += instance.ctl("token", "list", "-o", "json").stdout + instance.log_text()
    instance.stop()
    written = b"".join(path.read_bytes() for path in Path(instance.root).rglob("*") if path.is_file())
    for text in texts:
        assert text[4:-2] not in shown
        assert text[4:-2].encode() not in written


def test_a_restored_store_holds_no_token(instance: Instance, tmp_path: Path) -> None:
    """Some may have been revoked since the backup."""
    instance.start()
    text = created(instance).text
    assert instance.ctl("backup", tmp_path / "b.tar.gz").returncode == 0
    other = Instance(tmp_path / "other")
    try:
        done = other.ctl("restore", tmp_path / "b.tar.gz")
        assert done.returncode == 0, done.stderr
        other.start()
        with pytest.raises(Forbidden):
            by(other, text)
        assert identity(instance, text).token == 1
    finally:
        other.end()


def test_tokens_are_made_listed_and_revoked_on_the_command_line(daemon: Instance) -> None:
    made = daemon.json("token", "create", "--label", "ci", "--level", "operate", "--expires", "30d")
    assert (made["token"], made["level"], made["label"], made["sort"]) == (1, "operate", "ci", "bearer")
    assert identity(daemon, made["text"]).level is Level.OPERATE
    text, _, *_ = daemon.ctl("token", "create", "--expires", "never").stdout.splitlines()
    assert identity(daemon, text).expires_us is None
    assert [token["token"] for token in daemon.json("token", "list")] == [2, 1]
    assert daemon.json("token", "revoke", 1)["token"] == 1
    again = daemon.ctl("token", "revoke", 1)
    assert (again.returncode, again.stderr) == (
        3, "pyflowctl: no token 1; `pyflowctl token list` shows those that hold\n",
    )  # fmt: skip
    assert daemon.ctl("token", "create", "--expires", "soon").returncode == 2
    assert daemon.ctl("token", "create", "--expires", "5s").returncode == 6


# ---- Hooks, by nobody


HOOKED = """
triggers: {push: {webhook: {hook: deploy, verify: {github: key}}}, free: {webhook: unsigned}}
tasks: {t: {run: 'true'}}
"""


@pytest.fixture
def hooked(instance: Instance) -> Instance:
    (instance.root / "secrets").mkdir(mode=0o700)
    secret = instance.root / "secrets" / "key"
    secret.write_text("s3cret-s3cret")
    secret.chmod(0o600)
    instance.start()
    instance.install("w.yaml", HOOKED)
    return instance


def test_a_proven_delivery_of_nobody_is_taken_and_told_its_run_and_nothing_more(hooked: Instance) -> None:
    with by(hooked, "") as client:
        (view,) = (reply for reply in client.ask(github("d1")) if isinstance(reply, HookView))
        (again,) = (reply for reply in client.ask(github("d1")) if isinstance(reply, HookView))
    (answer,) = view.answers
    assert (answer.fate, answer.workflow, answer.trigger, answer.error) == ("fired", HIDDEN, "", "")
    assert answer.run is not None
    assert hooked.wait_run(answer.run)["state"] == "succeeded"
    assert (again.answers[0].run, again.answers[0].again) == (answer.run, True)
    (record, *_) = hooked.json("audit")
    assert (record["user"], record["uid"], record["token"], record["workflow"]) == ("nobody", 65534, None, "w")


def test_hooks_that_are_unknown_unproven_or_unsigned_are_one_to_nobody(hooked: Instance) -> None:
    asked = {
        "deploy": github("d1", secret=b"guessed"),
        "unsigned": DeliverHook(hook="unsigned", body=b"{}"),
        "deplo": DeliverHook(hook="deplo", body=b"{}"),
        "nothing-like-it": github("d1"),
    }
    answers = set()
    for name, request in asked.items():
        hook = DeliverHook(hook=name, headers=request.headers, body=request.body)
        with by(hooked, "") as client, pytest.raises(NotFound) as caught:
            list(client.ask(hook))
        answers.add(str(caught.value).replace(name, "NAME"))
    assert answers == {'no workflow has a hook "NAME"'}
    assert hooked.json("history") == []
    with by(hooked, "") as client, pytest.raises(Forbidden, match="who is not logged in may not do this"):
        list(client.ask(DeliverHook(hook="deploy", trusted=True)))


# ---- The dashboard's command


@pytest.fixture
def dashboard(daemon: Instance) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and its first line."""
    for name in ("starlette", "uvicorn", "jinja2"):
        pytest.importorskip(name)
    process = subprocess.Popen(
        [sys.executable, "-m", "pyflowctl", "--root", str(daemon.root), "dashboard"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1"}, text=True, cwd="/",
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    front = list[psutil.Process]()
    try:
        first = process.stdout.readline()
        front = psutil.Process(process.pid).children()
        yield process, first
    finally:
        for each in front:
            with contextlib.suppress(psutil.Error):
                each.kill()
        process.kill()
        process.wait()
        process.stdout.close()


def _reached(port: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=10)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.mark.parametrize("how", ["interrupted", "killed"])
def test_the_dashboard_of_ones_own_instance_is_served_until_its_command_ends(
    daemon: Instance, dashboard: tuple[subprocess.Popen[str], str], how: str
) -> None:
    command, first = dashboard
    found = re.fullmatch(r"http://127\.0\.0\.1:([0-9]+)/login\?code=(pfl_\S+)\n", first)
    assert found, first
    port, code = found.groups()
    assert _reached(port)
    with by(daemon, "") as client:
        (made,) = (reply for reply in client.ask(OpenSession(login=code)) if isinstance(reply, SessionView))
    assert made.identity.level is Level.ADMIN
    command.send_signal(signal.SIGINT if how == "interrupted" else signal.SIGKILL)
    assert command.wait(30) == (0 if how == "interrupted" else -signal.SIGKILL)
    wait_until(lambda: not _reached(port), "the web front ends with its command")


class _Well(http.server.BaseHTTPRequestHandler):
    """Another program that says that all is well."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_whoever_has_the_port_already_is_told_no_login(daemon: Instance) -> None:
    for name in ("starlette", "uvicorn", "jinja2"):
        pytest.importorskip(name)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Well) as other:
        serving = threading.Thread(target=other.serve_forever)
        serving.start()
        try:
            done = daemon.ctl("dashboard", "--port", other.server_port)
        finally:
            other.shutdown()
            serving.join()
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.endswith("pyflowctl: the dashboard could not be served; why stands above\n")
    assert daemon.json("token", "list") == []


def test_without_a_daemon_there_is_no_dashboard(instance: Instance) -> None:
    done = instance.ctl("dashboard")
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith(f"pyflowctl: no daemon at {instance.root}/run/pyflowd.sock")
    assert done.stderr.endswith(f"start it with: pyflowd --root {instance.root}\n")
