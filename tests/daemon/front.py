"""A real pyflow-web in front of a real daemon, asked as browsers and programs ask, and as those who mean no good."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from pyflowctl.client import connect
from pyflowd.protocol.tokens import CreateToken, OpenSession, SessionView, Sort, TokenCreated
from pyflowd.protocol.words import Level
from pyflowd.web.call import csrf_word
from tests.daemon.instance import REPOSITORY, Instance
from tests.waiting import wait_until

COOKIE = "pyflow"


class Answered(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Front:
    """`start` with the options of the command; `end` in the fixture."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.log = instance.root.parent / f"{instance.root.name}.web.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.path = ""

    def settings(self, text: str) -> None:
        (self.instance.root / "web.yaml").write_text(text)

    def start(self, *options: str, listen: str = "127.0.0.1:0", wait: bool = True, **environment: str) -> None:
        """Start it, and wait until it serves."""
        self.log.unlink(missing_ok=True)
        where = [] if not listen else ["--listen", listen]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pyflowd.web.main", "--root", str(self.instance.root), *where, *options],
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "error", **environment},
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/",
            )  # fmt: skip
        if not wait:
            return
        wait_until(lambda: self._ended() or "listening on" in self.said(), lambda: f"it serves: {self.said()}")
        assert not self._ended(), self.said()
        if listen.startswith("unix:"):
            self.path = listen.removeprefix("unix:")
        elif found := re.search(r"\(by .*:(\d+)\)|listening on https?://.*:(\d+)", self.said()):
            self.port = int(found[1] or found[2])

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    # ---- Asking

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    def connect(self) -> socket.socket:
        if self.path:
            made = socket.socket(socket.AF_UNIX)
            made.settimeout(30)
            made.connect(self.path)
            return made
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answered:  # fmt: skip
        """`headers`: in place of those that are sent anyway, too; an empty value leaves one out."""
        told = {"Host": self.host, **(headers or {})}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.sock = self.connect()
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in told.items():
                if value:
                    connection.putheader(name, value)
            if body is not None or method == "POST":
                connection.putheader("Content-Length", str(len(body or b"")))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answered(answer.status, answer.headers, answer.read())

    def get(self, path: str, session: str = "", **headers: str) -> Answered:
        return self.ask("GET", path, {**cookie(session), **headers})

    def post(self, path: str, session: str, fields: Mapping[str, str] | None = None, **headers: str) -> Answered:
        """A form of our own page, with the session's word."""
        form = urlencode({"csrf": csrf_word(session), **(fields or {})}).encode()
        told = {"Origin": self.origin, "Content-Type": "application/x-www-form-urlencoded", **cookie(session)}
        return self.ask("POST", path, {**told, **headers}, form)

    def api(self, method: str, path: str, token: str, value: Any = None, **headers: str) -> Answered:
        told = {"Authorization": f"Bearer {token}"} if token else {}
        body = None if value is None else json.dumps(value).encode()
        return self.ask(method, f"/api/v1{path}", {**told, **headers}, body)

    # ---- Rights

    def login(self) -> str:
        """The text of a login that opens one session."""
        return self._token(Sort.LOGIN, None)

    def session(self, level: Level | None = None) -> str:
        """The text of a session of our own account; `level`: at most."""
        login = self._token(Sort.LOGIN, level)
        with connect(root=str(self.instance.root), token="") as client:
            (opened,) = (each for each in client.ask(OpenSession(login=login)) if isinstance(each, SessionView))
        return opened.text

    def bearer(self, level: Level | None = None) -> str:
        return self._token(Sort.BEARER, level)

    def _token(self, sort: Sort, level: Level | None) -> str:
        with connect(root=str(self.instance.root)) as client:
            (made,) = (
                each for each in client.ask(CreateToken(sort=sort, level=level)) if isinstance(each, TokenCreated)
            )  # fmt: skip
        return made.text


def cookie(session: str) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={session}"} if session else {}


def written(folder: Path) -> bytes:
    """All that is in files below a folder."""
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
