"""The socket that is listened on, given by a service manager or made here, and the names by which it is reached.

It knows nothing of HTTP.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat

from pyflowd.errors import Refused, Unavailable
from pyflowd.web.settings import Address, Settings, Tls, why_not

BACKLOG = 512
_SUN_PATH_MAX = 107
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_PORTS = {"http": 80, "https": 443}


def address_of(sock: socket.socket) -> Address:
    """Where a socket listens."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return Address(path=os.fsdecode(name))
    return Address(host=name[0], port=name[1])


def judge(settings: Settings, at: Address) -> None:
    """Raises Refused where what is listened on does not fit the settings."""
    wrong = why_not(settings, at)
    if wrong is not None:
        key, what = wrong
        raise Refused(f"{key}: {what.message}; {what.fix}")


def judge_mode(settings: Settings, at: Address) -> None:
    """Raises Refused where a proxy is believed on a socket, which is there now, that others may connect to."""
    if at.path and settings.proxy_header:
        mode = os.stat(at.path).st_mode
        if mode & stat.S_IWOTH:
            raise Refused(
                f"proxy_header: everybody may connect to {at.path}, and name any account; let only the proxy's group: "
                "SocketMode=0660 and SocketGroup= in the socket's unit"
            )


def listen(at: Address) -> socket.socket:
    """A socket of our own there; of a Unix socket only our account and group may connect. Raises Unavailable."""
    try:
        if not at.path:
            family = socket.AF_INET6 if ":" in at.host else socket.AF_INET
            return socket.create_server((at.host, at.port), family=family, backlog=BACKLOG)
        return _listen_unix(at.path)
    except OSError as error:
        raise Unavailable(f"cannot listen on {at}: {error.strerror or error}; see `listen` in web.yaml") from None


def prompt(listener: socket.socket) -> socket.socket:
    """The same, and what is taken from it sends each piece of an answer at once: else the second waits until the
    browser has confirmed the first, which it puts off for 40 ms.
    """
    if listener.family != socket.AF_UNIX:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _listen_unix(path: str) -> socket.socket:
    if len(os.fsencode(path)) > _SUN_PATH_MAX:
        raise OSError(0, f"a path of more than {_SUN_PATH_MAX} bytes")
    _remove_stale(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o117)
    try:
        made.bind(path)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    finally:
        os.umask(before)
    return made


def _remove_stale(path: str) -> None:
    """A socket file that nobody listens on is in the way of the next."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)


def origins(settings: Settings, at: Address) -> frozenset[str]:
    """Of our own pages: `https://flow.example.com`, `http://127.0.0.1:8321`."""
    scheme = "https" if settings.tls is not None else "http"
    found = set()
    if not at.path and at.is_local:
        found = {_origin(scheme, f"{name}:{at.port}") for name in _LOOPBACK}
    if settings.url:
        found.add(_origin(*settings.url.split("://", 1)))
        scheme = settings.url.partition("://")[0]
    found |= {_origin(scheme, host) for host in settings.hosts}
    return frozenset(found)


def _origin(scheme: str, netloc: str) -> str:
    """As browsers write it: without the scheme's own port."""
    return f"{scheme}://{netloc.removesuffix(f':{_PORTS[scheme]}')}"


def best(found: frozenset[str], settings: Settings) -> str:
    """What people are told to open."""
    return settings.url or min(found, key=lambda origin: ("127.0.0.1" not in origin, origin), default="")


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Raises Refused where the files are no certificate with its key."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in (tls.certificate, tls.key):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise Refused(f"tls: {path}: {error.strerror}; pyflow-web's account must be able to read it") from None
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except ssl.SSLError as error:
        why = error.reason or "they are no PEM files"
        raise Refused(f"tls: {tls.certificate} and {tls.key} are no certificate and its key: {why}") from None
    return context
