"""Connections of requests: to addresses that were checked, for as long as somebody wants them, and no longer.

urllib3 speaks HTTP; here is what a connection is made of. A `Line` is one call's view of whatever it waits for at the
moment (a look-up, a connect, a handshake, an answer) and can be cut from another thread. It knows nothing of requests.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import requests
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from pyflowd.clock import US, SystemClock
from pyflowd.http import http_addresses, http_tls
from pyflowd.http.http_addresses import Target
from pyflowd.http.http_checks import Network
from pyflowd.http.http_errors import CallError
from pyflowd.http.http_urls import origin
from pyflowd.model.ends import Stop
from pyflowd.model.kinds import Tls

_KEPT = 4
"""Hosts that a thread keeps a connection to."""


class Line:
    """What one call waits for. Used by the call's thread; `cut` by any."""

    def __init__(self, *, allowed: tuple[Network, ...], connect_timeout_s: float, may_reuse: bool) -> None:
        self.stop = Stop.NONE
        """Why it was cut."""
        self.may_reuse = may_reuse
        self.reused = False
        """Whether the last request went over a connection that was kept."""
        self._allowed = allowed
        self._connect_timeout_s = connect_timeout_s
        self._lock = threading.RLock()
        self._interrupt: Callable[[], None] | None = None
        self._guard: socket.socket | None = None

    def cut(self, why: Stop) -> None:
        """End the wait, now and from now on. The first word holds."""
        with self._lock:
            self.stop = self.stop or why
            if self._interrupt is not None:
                self._interrupt()

    def release(self) -> None:
        """Nothing is waited for any more."""
        with self._lock:
            self._interrupt = None
            guard, self._guard = self._guard, None
        if guard is not None:
            guard.close()

    def hold(self, interrupt: Callable[[], None]) -> None:
        """`interrupt` ends what is waited for from now on."""
        with self._lock:
            self._interrupt = interrupt
            if self.stop is not Stop.NONE:
                interrupt()

    def hold_socket(self, sock: socket.socket) -> None:
        """By a descriptor of our own: TLS takes the socket's away, and nobody else can close ours under a `cut`.
        Raises ConnectionAbortedError where it was cut before."""
        self.release()
        guard = socket.socket(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno()))

        def shut() -> None:
            try:
                guard.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # not connected yet or any more: the wait has ended

        with self._lock:
            self._guard = guard
        self.hold(shut)
        if self.stop is not Stop.NONE:
            raise ConnectionAbortedError("cut")

    def permits(self, address: str) -> bool:
        return not http_addresses.refusal(address, self._allowed)

    def connect(self, host: str, port: int) -> socket.socket:
        """A connection to one of the host's permitted addresses; raises CallError. The address that is checked is the
        one that is connected to: a name that changes its mind gains nothing."""
        clock = SystemClock()
        end_us = clock.mono_us() + int(self._connect_timeout_s * US)
        targets = self._targets(host, port)
        failure = ""
        for n, target in enumerate(targets):
            left_s = max(0.0, (end_us - clock.mono_us()) / US)
            try:
                return self._connect(target, left_s / (len(targets) - n))
            except TimeoutError:
                failure = f"no answer within {self._connect_timeout_s:g} s"
            except OSError as error:
                failure = (error.strerror or str(error)).lower()
        raise CallError(f"cannot connect to {host}:{port}: {failure}", transient=True)

    def _targets(self, host: str, port: int) -> list[Target]:
        found = http_addresses.resolve(host, port, self._connect_timeout_s, self.hold)
        if not found:
            raise CallError(f"{host} has no address", transient=True)
        targets = [target for target in found if self.permits(target.address)]
        if not targets:
            self._refuse(host, found[0].address)
        return targets

    def check_behind_proxy(self, host: str) -> None:
        """What a name means is looked up by the proxy; an address that is written out is judged here."""
        address = http_addresses.numeric(host)
        if address and not self.permits(address):
            self._refuse(host, address)

    def _refuse(self, host: str, address: str) -> NoReturn:
        what = http_addresses.refusal(address, self._allowed)
        where = address if host == address else f"{host} is at {address}, which"
        fix = f"if it must be, write allow_addresses: [{address.partition('%')[0]}]"
        raise CallError(f"{where} is {what}: no connection is made; {fix}")

    def _connect(self, target: Target, timeout_s: float) -> socket.socket:
        sock = socket.socket(target.family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(max(0.001, timeout_s))  # 0 would mean: do not wait at all
            self.hold_socket(sock)
            sock.connect(target.sockaddr)
            self.hold_socket(sock)  # a cut just before `connect` met a socket that could not be shut yet
        except BaseException:
            self.release()
            sock.close()
            raise
        return sock


class _Thread(threading.local):
    """A thread's own: the line of the call it is at, and the adapter with the connections it keeps."""

    line: Line | None = None
    adapter: CheckedAdapter | None = None


_thread = _Thread()


@contextmanager
def using(line: Line) -> Iterator[CheckedAdapter]:
    """Send over the adapter within this block, in this thread, and `line` is what can be cut."""
    if _thread.adapter is None:
        _thread.adapter = CheckedAdapter()
    _thread.line = line
    try:
        yield _thread.adapter
    finally:
        _thread.line = None
        line.release()


def close_kept() -> None:
    """Close the connections that this thread keeps."""
    if _thread.adapter is not None:
        _thread.adapter.close()
        _thread.adapter = None


def _line() -> Line:
    assert _thread.line is not None, "a request outside of `using`"
    return _thread.line


class _Connection(HTTPConnection):
    address = ""

    def _new_conn(self) -> socket.socket:
        sock = _connected(self)
        sock.settimeout(self.timeout)  # urllib3 sends the request on it at once
        return sock


class _TlsConnection(HTTPSConnection):
    address = ""

    def _new_conn(self) -> socket.socket:
        return _connected(self)


def _connected(connection: _Connection | _TlsConnection) -> socket.socket:
    port = connection.port
    assert port is not None
    sock = _line().connect(connection.host, port)
    connection.address = str(sock.getpeername()[0])
    return sock


def _taken(connection: Any) -> Any:
    """A kept connection is used where this call may reach its address, and where it may be sent again if the server
    closes it at the same moment."""
    line = _line()
    assert isinstance(connection, (_Connection, _TlsConnection))
    line.reused = connection.sock is not None and line.may_reuse and line.permits(connection.address)
    if line.reused and connection.sock is not None:
        line.hold_socket(connection.sock)
    else:
        connection.close()
    return connection


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection

    def _get_conn(self, timeout: float | None = None) -> Any:
        return _taken(super()._get_conn(timeout))


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection

    def _get_conn(self, timeout: float | None = None) -> Any:
        return _taken(super()._get_conn(timeout))

    def _validate_conn(self, conn: Any) -> None:
        """Without urllib3's warning: the definition's check has warned of `verify: false` already."""
        if conn.is_closed:
            conn.connect()


class CheckedAdapter(HTTPAdapter):
    """Of one thread. Nothing comes from the environment: no proxies, no netrc, no cookies."""

    def __init__(self) -> None:
        super().__init__(pool_connections=_KEPT, pool_maxsize=1, max_retries=0)

    def exchange(
        self, request: requests.PreparedRequest, *, tls: Tls, proxy: str, read_timeout_s: float
    ) -> requests.Response:
        """Send, and read the head of the answer; the body is still to be read. How long a connect may take says the
        line."""
        assert request.url is not None
        self._tls_options: dict[str, Any] = {}
        if origin(request.url).scheme == "https":
            self._tls_options["ssl_context"] = http_tls.context(tls)
        self._tls_options["cert_reqs"] = "CERT_REQUIRED" if tls.verify else "CERT_NONE"
        proxies = {"http": proxy, "https": proxy} if proxy else None
        return self.send(request, stream=True, timeout=read_timeout_s, proxies=proxies)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **more: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **more)
        _check_connections(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **more)
        _check_connections(manager)
        return manager

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, dict(self._tls_options)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Done by the context: requests would load its own authorities for each connection."""


def _check_connections(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
