"""Stand-ins on loopback for what messages are sent to: an SMTP server and a web server, each in a thread of its own.

They keep what they were sent in queues, so that a test waits for it with a deadline, and do as the test tells them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import queue
import ssl
import subprocess
import threading
from collections.abc import Callable, Coroutine
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any, NamedTuple

TIMEOUT_S = 20.0


class Server:
    """One asyncio server in one thread."""

    def __init__(self) -> None:
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    def context(self) -> ssl.SSLContext | None:
        """For TLS from the first byte."""
        return None

    def __enter__(self) -> Any:
        self._thread.start()
        assert self._ready.wait(TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.context()))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        for writer in self._writers:
            writer.transport.abort()
        self._loop.run_until_complete(self._turns(3))
        self._loop.close()

    async def _turns(self, number: int) -> None:
        """For what `abort` has begun: it closes a socket a turn later, and TLS takes one more."""
        for _ in range(number):
            await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            with contextlib.suppress(
                ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError
            ):
                await self.talk(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()  # not waited for: with TLS that takes as long as the other side likes


class Mail(NamedTuple):
    """What the server took."""

    sender: str
    receivers: list[str]
    data: bytes
    over_tls: bool
    user: str

    @property
    def message(self) -> EmailMessage:
        found = message_from_bytes(self.data, policy=default)
        assert isinstance(found, EmailMessage)
        return found


class MailServer(Server):
    """As much of SMTP as a client asks for."""

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, user: str = ""
    ) -> None:
        super().__init__()
        self._tls = tls
        self._starttls = starttls
        self._user = user
        """`name:password` that it asks for."""
        self.mails: queue.Queue[Mail] = queue.Queue()
        self.refuse: Callable[[str], str] = lambda address: ""
        """The answer to a receiver that it does not take, such as `550 nobody`."""
        self.greeting = "220 stand-in ready"
        self.after_data = "250 taken"
        self.silent = False
        """Accept, and never say a word."""

    def context(self) -> ssl.SSLContext | None:
        return self._tls

    def take(self) -> Mail:
        return self.mails.get(timeout=TIMEOUT_S)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.silent:
            await reader.read()
            return
        sender, receivers, user, over_tls = "", list[str](), "", self._tls is not None
        writer.write(f"{self.greeting}\r\n".encode())
        while line := (await reader.readline()).decode().strip():
            word, _, rest = line.partition(" ")
            answer = "250 ok"
            match word.upper():
                case "EHLO" | "HELO":
                    offers = ["250-stand-in"]
                    offers += ["250-STARTTLS"] if self._starttls and not over_tls else []
                    offers += ["250-AUTH PLAIN"] if self._user else []
                    answer = "\r\n".join([*offers, "250 8BITMIME"])
                case "STARTTLS" if self._starttls:
                    writer.write(b"220 go on\r\n")
                    await writer.drain()
                    await writer.start_tls(self._starttls)
                    over_tls = True
                    continue
                case "AUTH":
                    given = base64.b64decode(rest.split()[-1]).decode().split("\0")
                    user = given[1]
                    answer = "235 known" if ":".join(given[1:]) == self._user else "535 who are you"
                case "MAIL":
                    sender, receivers = rest.split(":", 1)[1].split()[0].strip("<>"), []
                case "RCPT":
                    address = rest.split(":", 1)[1].strip().strip("<>")
                    refused = self.refuse(address)
                    answer = refused or answer
                    receivers += [] if refused else [address]
                case "DATA":
                    writer.write(b"354 go on\r\n")
                    data = await reader.readuntil(b"\r\n.\r\n")
                    answer = self.after_data
                    if answer.startswith("2"):
                        text = data[:-3].replace(b"\r\n..", b"\r\n.")
                        self.mails.put(Mail(sender, receivers, text, over_tls, user))
                case "QUIT":
                    writer.write(b"221 bye\r\n")
                    return
            writer.write(f"{answer}\r\n".encode())


class Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


class WebServer(Server):
    """Answers each request with the next of `answers`; when there are none left, with 200."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self._tls = tls
        self.requests: queue.Queue[Request] = queue.Queue()
        self.answers: queue.Queue[bytes | Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]] = queue.Queue()

    def context(self) -> ssl.SSLContext | None:
        return self._tls

    def take(self) -> Request:
        return self.requests.get(timeout=TIMEOUT_S)

    def answer(self, status: str, body: bytes = b"", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
        self.answers.put("\r\n".join(lines).encode() + body)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.requests.put(Request(method, path, headers, body))
        try:
            answer = self.answers.get_nowait()
        except queue.Empty:
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        if isinstance(answer, bytes):
            writer.write(answer)
            await writer.drain()
        else:
            await answer(writer)


class Certificate(NamedTuple):
    """Of `localhost` and 127.0.0.1, signed by itself."""

    path: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.path, self.key)
        return made


def certificate(folder: Path) -> Certificate:
    """Made by openssl(1); FileNotFoundError where there is none."""
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", made.key, "-out", made.path, "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return made
