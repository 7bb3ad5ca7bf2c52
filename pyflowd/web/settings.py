"""`web.yaml`, the file beside pyflowd.yaml: where the web front listens, by which names it is reached, what it serves.

It holds nothing that is secret, and says nothing of who may do what: the daemon judges that. Read with the same tables
as pyflowd.yaml, so a mistake is told in the same way.
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct

from pyflowd.language import fields, settings_file
from pyflowd.language.document import Mapping, quote
from pyflowd.language.fields import Report, Table, Wrong, read

PORT = 8321
FILE = "web.yaml"
_HOST = re.compile(
    r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?", re.ASCII
)
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}", re.ASCII)
_IDLE_MOST_S = 7 * 86_400


class Address(NamedTuple):
    """Where to listen: `path` of a Unix socket, else `host` and `port`."""

    path: str = ""
    host: str = ""
    port: int = 0

    @property
    def is_local(self) -> bool:
        """Whether only this host can reach it."""
        return bool(self.path) or self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Tls(Struct, frozen=True, kw_only=True):
    certificate: str
    """A PEM file: the certificate, then those of its issuers."""
    key: str


class Settings(Struct, frozen=True, kw_only=True):
    """What `web.yaml` says."""

    listen: Address = Address(host="127.0.0.1", port=PORT)
    """Beyond this host only with `tls`. A socket that systemd hands over comes in its place."""
    url: str = ""
    """How people reach it where that is not a name of loopback: `https://flow.example.com`; else empty."""
    hosts: tuple[str, ...] = ()
    """More names that a request may be addressed to, with their port unless it is that of the scheme."""
    tls: Tls | None = None
    proxy_header: str = ""
    """In which a proxy names the account that it has logged in, as `X-Forwarded-User`: only through a Unix socket."""
    metrics: bool = True
    """Whether /metrics is there."""
    metrics_token: bool = True
    """Whether it needs a bearer token; without one it tells only what anybody may know."""
    hooks: bool = True
    """Whether deliveries to hooks are taken."""
    idle_s: float = 600.0
    """Started by its socket, it stops when nobody has asked for so long; 0: never."""


def default_path(settings_of_daemon: str) -> str:
    """The file of the instance whose daemon reads its settings from there."""
    return os.path.join(os.path.dirname(settings_of_daemon), FILE)


# ---- Values


def parse_address(text: str) -> Address:
    """`127.0.0.1:8321`, `[::1]:8321`, `localhost:8321`, `unix:/run/pyflow-web.sock`. Raises ValueError."""
    scheme, found, path = text.partition("unix:")
    if found and not scheme:
        if not path.startswith("/") or "\0" in path:
            raise ValueError(f'"{path}" is no absolute path')
        return Address(path=path)
    host, found, port = text.rpartition(":")
    if not found or not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65_535):
        raise ValueError("there is no port")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f'"{host}" is no address of this host') from None
    return Address(host=host, port=int(port))


def _read_listen(value: object, report: Report) -> Address:
    try:
        return parse_address(fields.word(value, report))
    except ValueError as error:
        raise Wrong(str(error), f"write it as 127.0.0.1:{PORT}, [::1]:{PORT} or unix:/run/pyflow-web.sock") from None


def _read_url(value: object, report: Report) -> str:
    text = fields.word(value, report)
    fix = "write it as https://flow.example.com, without a path"
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise Wrong(f"{quote(text)} is no address of a host", fix)
    if not _HOST.fullmatch(parts.netloc):
        raise Wrong(f"{quote(text)} names no host", fix)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _read_host(value: object, report: Report) -> str:
    text = fields.word(value, report)
    if not _HOST.fullmatch(text):
        raise Wrong(f"{quote(text)} is no name of a host", "write it as flow.example.com or localhost:9000")
    return text.lower()


def _read_header(value: object, report: Report) -> str:
    text = fields.word(value, report)
    if not _HEADER.fullmatch(text):
        raise Wrong(f"{quote(text)} is no name of a header", "write it as X-Forwarded-User")
    return text.lower()


def _read_idle(value: object, report: Report) -> float:
    seconds = fields.duration_s(value, report)
    if seconds > _IDLE_MOST_S:
        raise Wrong("it must be at most 7 days", "write 0s to stop never")
    return seconds


TLS = Table("tls", {"certificate": ("certificate", fields.absolute_path), "key": ("key", fields.absolute_path)})


def _read_tls(value: object, report: Report) -> Tls:
    given = fields.mapping(value, report)
    for name in TLS.keys:
        if name not in given:
            raise Wrong(f"there is no {name}", "name both files: {certificate: /PATH, key: /PATH}")
    return Tls(**{"certificate": "", "key": "", **read(TLS, given, report)})


SETTINGS = Table(
    "the settings file",
    {
        "listen": ("listen", _read_listen),
        "url": ("url", _read_url),
        "hosts": ("hosts", fields.one_or_more(_read_host)),
        "tls": ("tls", _read_tls),
        "proxy_header": ("proxy_header", _read_header),
        "metrics": ("metrics", fields.boolean),
        "metrics_token": ("metrics_token", fields.boolean),
        "hooks": ("hooks", fields.boolean),
        "idle": ("idle_s", _read_idle),
    },
    meant={"host": "hosts", "port": "listen", "address": "listen", "bind": "listen", "base_url": "url"},
)


# ---- The whole


def why_not(settings: Settings, listen: Address | None = None) -> tuple[str, Wrong] | None:
    """The key that is wrong, and how, where settings do not fit together; `listen`: where it is really listened."""
    at = settings.listen if listen is None else listen
    if not at.is_local and settings.tls is None:
        fix = f"set tls, or listen on 127.0.0.1:{PORT} with a proxy on this host in front that has it"
        return "listen", Wrong(f"{at} is reached from other hosts, and sessions would travel in the clear", fix)
    if (at.path or not at.is_local) and not settings.url and not settings.hosts:
        return "listen", Wrong(f"nobody can be told how {at} is reached", "set url, as in https://flow.example.com")
    if settings.proxy_header and not at.path:
        fix = "listen on a Unix socket that only the proxy may connect to: unix:/run/pyflow-web.sock"
        return "proxy_header", Wrong("whoever reaches a port of this host could name any account", fix)
    if settings.url.startswith("http:") and not _is_loopback_name(settings.url.partition("://")[2]):
        return "url", Wrong("sessions would travel in the clear", "serve it by https")
    return None


def _is_loopback_name(netloc: str) -> bool:
    name = netloc.rpartition(":")[0] if re.search(r":[0-9]+$", netloc) else netloc
    return name in ("localhost", "127.0.0.1", "[::1]")


def _judge(root: Mapping, found: dict[str, Any], report: Report) -> None:
    if report.errors:
        return
    wrong = why_not(Settings(**found))
    if wrong is not None:
        key, what = wrong
        report.wrong(root.value_mark(key) if key in root else report.document.mark, key, what)


def load(path: str) -> Settings:
    """The settings of the file at `path`; all defaults where there is none. Raises Refused with every problem."""
    return parse(path, settings_file.load(path))


def parse(path: str, data: bytes) -> Settings:
    """The settings in `data`. Raises Refused with every problem."""
    return Settings(**settings_file.parse(path, data, SETTINGS, _judge))
