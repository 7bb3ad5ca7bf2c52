"""`pyflowctl dashboard`: which address it names, what it asks for, and what it says where there is no dashboard."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyflowctl import dashboard, link
from pyflowd.errors import PyflowError, Unavailable, UsageError
from pyflowd.paths import SYSTEM, below
from pyflowd.protocol.tokens import CreateToken, Sort, TokenCreated, TokenView
from pyflowd.protocol.words import Level
from pyflowd.render import commandline
from pyflowd.render.layout import Style
from pyflowd.web.settings import FILE, Address, Settings


class Daemon:
    """What is connected to, and what of the command is printed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.asked: list[CreateToken] = []
        self.written = b""
        self.folder = folder
        monkeypatch.setattr(dashboard, "connect", lambda **_: self)
        monkeypatch.setattr(link, "write", self._write)
        monkeypatch.setattr(link, "socket_path", lambda _: (link.SYSTEM_SOCKET, ""))
        monkeypatch.setattr(dashboard.paths, "find", lambda *_, **__: below(str(folder)))

    def _write(self, _: int, data: bytes) -> None:
        self.written += data

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self, request: CreateToken) -> Iterator[TokenCreated]:
        self.asked.append(request)
        view = TokenView(
            token=1, sort=request.sort, account="anna", level=request.level, label="", created_us=0,
            expires_us=60_000_000,
        )  # fmt: skip
        yield TokenCreated(token=view, text="pfl_x")

    def run(self, line: str) -> str:
        assert dashboard.run_dashboard(commandline.split(line.split()), Style()) == 0
        return self.written.decode()


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Daemon:
    return Daemon(monkeypatch, tmp_path)


@pytest.fixture
def listener(daemon: Daemon) -> Iterator[int]:
    """Where the settings say that the service listens."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        port = made.getsockname()[1]
        (daemon.folder / FILE).write_text(f"listen: 127.0.0.1:{port}\n")
        yield port


def test_the_link_of_the_systems_instance_is_where_its_service_listens(daemon: Daemon, listener: int) -> None:
    shown = daemon.run("dashboard --level read")
    assert shown == f"http://127.0.0.1:{listener}/login?code=pfl_x\n  logs in as anna, once, within 60 s\n"
    (request,) = daemon.asked
    assert (request.sort, request.level) == (Sort.LOGIN, Level.READ)


def test_the_link_is_what_stands_in_front_of_the_service(daemon: Daemon) -> None:
    (daemon.folder / FILE).write_text("listen: unix:/run/pyflow-web.sock\nurl: https://flow.example.com\n")
    assert json.loads(daemon.run("dashboard -o json")) == {
        "url": "https://flow.example.com", "login": "https://flow.example.com/login?code=pfl_x",
        "expires_at": "1970-01-01T00:01:00.000000+00:00",
    }  # fmt: skip


def test_without_a_login_none_is_made(daemon: Daemon, listener: int) -> None:
    assert daemon.run("dashboard --no-login") == f"http://127.0.0.1:{listener}\n"
    assert daemon.asked == []


def test_where_nobody_listens_no_login_is_made(daemon: Daemon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as made:
        port = made.getsockname()[1]
    (daemon.folder / FILE).write_text(f"listen: 127.0.0.1:{port}\n")
    with pytest.raises(Unavailable, match=f"nobody listens at 127.0.0.1:{port}.*systemctl enable --now pyflow-web"):
        daemon.run("dashboard")
    assert daemon.asked == []


def test_a_port_is_for_an_instance_of_ones_own(daemon: Daemon) -> None:
    with pytest.raises(UsageError, match=r"`listen` in web\.yaml"):
        daemon.run("dashboard --port 9000")


def test_what_is_missing_is_named_with_how_to_install_it(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "socket_path", lambda _: ("/somewhere/else.sock", ""))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name != "jinja2" else SimpleNamespace())
    with pytest.raises(Unavailable, match=r"needs starlette, uvicorn, .*pip install 'pyflowd\[web\]'") as caught:
        daemon.run("dashboard")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["0", "65536", "-1", "x", "1e3", "123456"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(PyflowError, match="--port"):
        dashboard._place(commandline.split(["dashboard", f"--port={text}"]), Settings())


def test_the_usual_port_is_left_to_whoever_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    words: Any = commandline.split(["dashboard"])
    monkeypatch.setattr(dashboard, "_listens", lambda _: False)
    assert dashboard._place(words, Settings()) == Settings().listen
    monkeypatch.setattr(dashboard, "_listens", lambda _: True)
    found = dashboard._place(words, Settings())
    assert (found.host, found.port != Settings().listen.port) == ("127.0.0.1", True)
    asked = Address(host="127.0.0.1", port=1234)
    assert dashboard._place(words, Settings(listen=asked)) == asked


def test_the_settings_of_the_systems_web_front_stand_beside_those_of_the_daemon() -> None:
    assert dashboard.settings_file.default_path(SYSTEM.settings) == "/etc/pyflow/web.yaml"


LISTEN = """\
import os, socket, sys
os.setuid(int(sys.argv[1]))
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a program of another account is needed: only root starts one")
@pytest.mark.parametrize(("uid", "taken"), [(12_345, "12345"), (0, "")])
def test_a_login_is_not_told_to_a_program_of_another_account(
    daemon: Daemon, tmp_path: Path, uid: int, taken: str
) -> None:
    argv = [sys.executable, "-I", "-S", "-c", LISTEN, str(uid)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        port = int(program.stdout.readline())
        (tmp_path / FILE).write_text(f"listen: 127.0.0.1:{port}\n")
        try:
            if taken:
                with pytest.raises(Unavailable, match=f"held by a program of {taken}, not by pyflow-web"):
                    daemon.run("dashboard")
                assert daemon.asked == []
            else:
                assert "code=pfl_x" in daemon.run("dashboard")
        finally:
            program.stdin.close()
