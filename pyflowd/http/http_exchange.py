"""One request and its answer, redirects followed: sent, read within bounds, judged, and one line of log for each.

It knows nothing of pages, and nothing of retries but whether what came may be better another time.
"""

from __future__ import annotations

import http.client
import os
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import requests
import urllib3.exceptions

from pyflowd.clock import Clock
from pyflowd.http import http_answer, http_files, http_hops, http_urls
from pyflowd.http.http_answer import CHUNK_BYTES, Answer
from pyflowd.http.http_connection import CheckedAdapter, Line
from pyflowd.http.http_errors import CallError
from pyflowd.http.http_hops import REDIRECTS, Hop
from pyflowd.http.http_request import Content, HttpRequest
from pyflowd.http.http_upload import MultipartStream
from pyflowd.model.ends import Stop
from pyflowd.units import size_text

_FAULTS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, UnicodeError)
"""What sending and reading raise, beside what is ours."""
_TUNNEL = re.compile("Tunnel connection failed: ")
"""Of http.client, which has no error of its own for it."""


class Exchange:
    """The requests of one call, over one line."""

    def __init__(
        self, request: HttpRequest, sink: Callable[[str], None], line: Line, adapter: CheckedAdapter, clock: Clock
    ) -> None:
        self.status: int | None = None
        """Of the answer at hand."""
        self._request = request
        self._sink = sink
        self._line = line
        self._adapter = adapter
        self._clock = clock

    def answer(self, hop: Hop) -> Answer:
        """A good answer. Raises CallError, and ExpressionError for `expect.json`."""
        for _ in range(self._request.redirects + 1):
            self.status = None
            came = self._log(hop)
            if isinstance(came, Answer):
                return came
            hop = came
        raise CallError(f"more than {self._request.redirects} redirects: raise redirects, or look for a loop")

    def _log(self, hop: Hop) -> Answer | Hop:
        """One exchange; its line says neither headers' values nor bodies."""
        before_us = self._clock.mono_us()
        asked, said = hop.url, "given up"
        try:
            prepared = _prepared(hop, bool(self._request.save_to))
            asked = prepared.url or asked
            came, size_bytes = self._once(hop, prepared, asked)
            said = f"{size_bytes} B" if isinstance(came, Answer) else f"on to {http_urls.shown(came.url)}"
            return came
        except (CallError, *_FAULTS) as fault:
            self.check()
            error = fault if isinstance(fault, CallError) else _explain(fault, self._request)
            said = str(error)
            raise error from None  # what the libraries say holds the URL, and with it what may be secret
        finally:
            elapsed_ms = (self._clock.mono_us() - before_us) // 1000
            status = "failed" if self.status is None else str(self.status)
            self._sink(f"{hop.method} {http_urls.shown(asked)} {status}: {said}, {elapsed_ms} ms")

    def _once(self, hop: Hop, prepared: requests.PreparedRequest, asked: str) -> tuple[Answer | Hop, int]:
        """What came, and the size of its body."""
        request = self._request
        with self._sent(hop, prepared) as response:
            status = self.status = response.status_code
            headers = {name.lower(): value for name, value in response.raw.headers.itermerged()}
            expected = http_answer.is_expected(status, request.expect)
            if not expected and status in REDIRECTS and "location" in headers and request.redirects:
                return _redirected(hop, asked, status, headers["location"]), 0
            if not expected:
                raise self._unexpected(status, headers)
            answer = self._read(response, Answer(url=asked, status=status, headers=headers))
        return answer, answer.size_bytes

    def _unexpected(self, status: int, headers: dict[str, str]) -> CallError:
        wait_s = http_answer.retry_after_s(headers.get("retry-after", ""), self._clock.wall_us())
        phrase = http.client.responses.get(status, "")
        message = f"the server answered {status}{phrase and ' ' + phrase}"
        if wait_s is not None:
            message += f", and asks to wait for {wait_s:.0f} s"
        return CallError(message, transient=http_answer.is_transient(status), retry_after_s=wait_s)

    # ---- Sending ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _sent(self, hop: Hop, prepared: requests.PreparedRequest) -> Iterator[requests.Response]:
        """The head of the answer; its connection is kept only if the whole body was read."""
        try:
            response = self._send(hop, prepared)
        except _FAULTS as fault:
            if not (self._line.reused and _was_closed(fault)):
                raise
            self._line.may_reuse = False  # the server closed a kept connection just as we took it
            self.check()
            response = self._send(hop, prepared)
        try:
            yield response
        finally:
            response.close()

    def _send(self, hop: Hop, prepared: requests.PreparedRequest) -> requests.Response:
        request = self._request
        self.check()
        if request.proxy:
            self._line.check_behind_proxy(http_urls.host_of(hop.url))
        if hop.body is None or isinstance(hop.body, Content):
            if hop.body is not None:
                _set_body(prepared, _pieces(hop.body.data), len(hop.body.data))
            return self._exchange(hop, prepared)
        with MultipartStream(hop.body, request.scratch) as stream:
            prepared.headers["Content-Type"] = stream.content_type
            _set_body(prepared, iter(stream), stream.size_bytes)
            return self._exchange(hop, prepared)

    def _exchange(self, hop: Hop, prepared: requests.PreparedRequest) -> requests.Response:
        proxy, silence_s = self._request.proxy, self._request.read_timeout_s
        return self._adapter.exchange(prepared, tls=hop.tls, proxy=proxy, read_timeout_s=silence_s)

    def check(self) -> None:
        """Raises CallError where nobody waits any more."""
        if self._line.stop is not Stop.NONE:
            raise CallError("stopped")

    # ---- Reading ----------------------------------------------------------------------------------------------------

    def _read(self, response: requests.Response, answer: Answer) -> Answer:
        """With its body, in memory or in a file."""
        if self._request.save_to:
            return self._saved(response, answer)
        data = http_answer.read_bytes(response.raw, self._request.max_bytes)
        self.check()  # a body without a length ends where the connection does, and so it does when it is cut
        body, text = http_answer.decoded(data, answer.headers.get("content-type", ""))
        return Answer(
            url=answer.url, status=answer.status, headers=answer.headers, body=body, text=text, size_bytes=len(data)
        )

    def _saved(self, response: requests.Response, answer: Answer) -> Answer:
        """As it came: what was asked for is not compressed on the way, and a checksum is of the server's file."""
        request = self._request
        with http_files.saving(request.scratch, request.save_to) as file:
            for part in response.raw.stream(CHUNK_BYTES, decode_content=False):
                if file.size_bytes + len(part) > request.max_bytes:
                    raise CallError(f"the body is larger than {size_text(request.max_bytes)}: raise max_bytes")
                file.write(part)
            self.check()
        path = os.path.join(request.scratch, *request.save_to)
        saved = {"path": path, "bytes": file.size_bytes, "sha256": file.sha256}
        return Answer(
            url=answer.url, status=answer.status, headers=answer.headers, size_bytes=file.size_bytes, saved=saved
        )


def _prepared(hop: Hop, into_file: bool) -> requests.PreparedRequest:
    """Without a body. Nothing is taken from the environment."""
    prepared = requests.PreparedRequest()
    prepared.prepare_method(hop.method)
    prepared.prepare_url(hop.url, list(hop.query))
    prepared.prepare_headers({name: _header(value) for name, value in hop.headers.items()})
    prepared.headers.setdefault("Accept-Encoding", "identity" if into_file else "gzip, deflate")
    if hop.body is None and hop.method in ("POST", "PUT", "PATCH"):
        prepared.headers["Content-Length"] = "0"
    return prepared


def _header(value: str) -> str | bytes:
    """http.client would refuse what is not Latin-1."""
    return value if value.isascii() else value.encode()


def _set_body(prepared: requests.PreparedRequest, body: Iterator[bytes], size_bytes: int) -> None:
    prepared.headers["Content-Length"] = str(size_bytes)
    prepared.body = body  # type: ignore[assignment]  # an iterator is taken as well


def _pieces(data: bytes) -> Iterator[bytes]:
    """The time-out of a send is for a piece: a slow line may take its time for the whole."""
    for at in range(0, len(data), CHUNK_BYTES):
        yield data[at : at + CHUNK_BYTES]


def _redirected(hop: Hop, asked: str, status: int, location: str) -> Hop:
    try:
        target = location.encode("latin-1").decode()  # http.client read it as Latin-1; browsers take UTF-8
        return http_hops.redirected(hop, asked, status, target)
    except ValueError as error:
        raise CallError(f"redirect: {error}") from None


# ---- Faults ---------------------------------------------------------------------------------------------------------


def _chain(fault: BaseException) -> Iterator[BaseException]:
    """A fault and all that it was made of; libraries wrap them in several ways."""
    ready, seen = [fault], set()
    while ready:
        found = ready.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        inner = (*found.args, getattr(found, "reason", None), found.__cause__, found.__context__)
        ready += [each for each in inner if isinstance(each, BaseException)]


def _was_closed(fault: BaseException) -> bool:
    closed = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
    return any(isinstance(each, closed) for each in _chain(fault))


def _explain(fault: BaseException, request: HttpRequest) -> CallError:
    """In words of our own."""
    for found in _chain(fault):
        match found:
            case CallError():
                return found
            case ssl.SSLCertVerificationError():
                why = found.verify_message or "it is not for this host"
                return CallError(f"the server's certificate is not accepted: {why}")
            case ssl.SSLError():
                return CallError(f"TLS failed: {(found.reason or 'the connection broke').lower()}", transient=True)
            case TimeoutError() | urllib3.exceptions.TimeoutError():
                return CallError(f"the server was silent for {request.read_timeout_s:g} s", transient=True)
            case http.client.IncompleteRead():
                return CallError("the body ended early", transient=True)
            case urllib3.exceptions.DecodeError():
                return CallError("the body cannot be decompressed", transient=True)
            case requests.exceptions.InvalidURL() | requests.exceptions.InvalidHeader() | UnicodeError():
                return CallError("the URL or a header cannot be sent as it is")
            case http.client.RemoteDisconnected() | ConnectionResetError() | BrokenPipeError():
                return CallError("the server closed the connection without an answer", transient=True)
            case http.client.HTTPException():
                return CallError("what the server answered is not HTTP", transient=True)
            case OSError() if _TUNNEL.match(str(found)):
                status = _TUNNEL.sub("", str(found))[:3]
                return CallError(f"the proxy refuses the connection: {status}", transient=True)
            case OSError() if found.strerror:
                return CallError(f"the connection failed: {found.strerror.lower()}", transient=True)
    return CallError(f"the request failed ({type(fault).__name__})", transient=True)
