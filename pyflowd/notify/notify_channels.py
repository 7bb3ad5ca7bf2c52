"""Channels of the settings file: where messages may go, as structs, and the readers of `channels` and `notify`.

A URL or a password may be given as a file's path: it is read when a message is sent, never before. It knows nothing
of sending.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from msgspec import Struct

from pyflowd.language import fields
from pyflowd.language.definition_notify import read_on, read_rules
from pyflowd.language.document import Mapping, quote
from pyflowd.language.fields import Report, Table, Wrong, read
from pyflowd.notify.notify import HostRule
from pyflowd.notify.notify_payload import target

_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", re.ASCII
)
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]{0,252})(?::([0-9]{1,5}))?", re.ASCII)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
_HEADER_VALUE = re.compile(r"[\t -~]{0,8000}", re.ASCII)
_OWN_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-type"})
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_GLOB = re.compile(r"[A-Za-z0-9_.*?\[\]!-]{1,200}", re.ASCII)


class Tls(StrEnum):
    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


_PORTS = {Tls.STARTTLS: 587, Tls.TLS: 465, Tls.NONE: 25}


class Mail(Struct, frozen=True, kw_only=True):
    """To people, by SMTP. The server's certificate is checked, always."""

    to: tuple[str, ...]
    sender: str = ""
    """Empty: `pyflow@` and the host's name."""
    host: str = "localhost"
    port: int = 25
    tls: Tls = Tls.NONE
    user: str = ""
    password: str = ""
    password_file: str = ""
    ca_file: str = ""
    """Certificates to trust in place of the system's."""


class Hook(Struct, frozen=True, kw_only=True):
    """To a URL, by HTTP. One of `url`, `url_file`."""

    shape: Shape
    url: str = ""
    url_file: str = ""
    ca_file: str = ""
    method: str = "POST"
    headers: dict[str, str] = {}


class Shape(StrEnum):
    """What a hook is sent."""

    SLACK = "slack"
    TEAMS = "teams"
    WEBHOOK = "webhook"


Channel = Mail | Hook

# ---- Mail -----------------------------------------------------------------------------------------------------------


def _read_address(value: Any, report: Report) -> str:
    checked = fields.text(value, report)
    if not _ADDRESS.fullmatch(checked) or ".." in checked:
        raise Wrong(f"{quote(checked)} is no address of mail", "write it as in admin@example.com, without a name")
    return checked


def _read_server(value: Any, report: Report) -> tuple[str, int]:
    """Host and port; 0: the usual port."""
    found = _SERVER.fullmatch(fields.text(value, report))
    if found is None or (found[2] is not None and not 0 < int(found[2]) < 65536):
        raise Wrong(f"{fields.shape(value)} is no server", "write it as in mail.example.com:587")
    return found[1].strip("[]"), int(found[2] or 0)


MAIL = Table(
    "mail",
    {
        "to": ("to", fields.one_or_more(_read_address)),
        "from": ("sender", _read_address),
        "smtp": ("server", _read_server),
        "tls": ("tls", fields.one_of(Tls)),
        "user": ("user", fields.word),
        "password": ("password", fields.word),
        "password_file": ("password_file", fields.absolute_path),
        "ca_file": ("ca_file", fields.absolute_path),
    },
    meant={
        "server": "smtp",
        "host": "smtp",
        "sender": "from",
        "recipients": "to",
        "username": "user",
        "starttls": "tls",
    },
)


def _read_mail(value: Any, report: Report) -> Mail | None:
    mapping = fields.mapping(value, report)
    known = report.errors
    found = read(MAIL, mapping, report)
    if not found.get("to"):
        if report.errors == known:
            raise Wrong("it names nobody to write to", "add to: admin@example.com")
        return None
    host, port = found.pop("server", ("localhost", 0))
    tls = found.setdefault("tls", Tls.NONE if host in LOCAL_HOSTS else Tls.STARTTLS)
    secrets = sum(key in found for key in ("password", "password_file"))
    if secrets > 1:
        raise Wrong("both password and password_file", "keep one of them")
    if ("user" in found) != bool(secrets):
        raise Wrong("user and password_file go together", "give both, or neither")
    if secrets and tls is Tls.NONE:
        raise Wrong("without TLS the password could be read on its way", "use tls: starttls or tls: tls")
    if any(not (char.isascii() and char.isprintable()) for char in found.get("user", "") + found.get("password", "")):
        raise Wrong("user and password must be plain ASCII")
    return Mail(host=host, port=port or _PORTS[tls], **found)


# ---- Hooks ----------------------------------------------------------------------------------------------------------


def _read_url(value: Any, report: Report) -> str:
    checked = fields.word(value, report)
    try:
        target(checked)
    except ValueError as error:
        raise Wrong(str(error), "write it as in https://chat.example.com/hooks/1") from None
    return checked


def _read_headers(value: Any, report: Report) -> dict[str, str]:
    table = fields.mapping(value, report)
    found: dict[str, str] = {}
    for name, content in table.items():
        try:
            if not _HEADER_NAME.fullmatch(name):
                raise Wrong("no name of a header", "use letters, digits and -")
            if name.lower() in _OWN_HEADERS:
                raise Wrong("this header is made by PyFlow", "leave it out")
            if not _HEADER_VALUE.fullmatch(checked := fields.text(content, report)):
                raise Wrong("a header's value is one line of ASCII")
            found[name] = checked
        except Wrong as wrong:
            report.wrong(table.value_mark(name), quote(name), wrong)
    return found


def _read_method(value: Any, report: Report) -> str:
    if value not in ("POST", "PUT", "PATCH"):
        raise Wrong(f"expected one of POST, PUT, PATCH, found {fields.shape(value)}")
    return str(value)


_URL_KEYS: dict[str, tuple[str, fields.Reader]] = {
    "url": ("url", _read_url),
    "url_file": ("url_file", fields.absolute_path),
    "ca_file": ("ca_file", fields.absolute_path),
}
CHAT = Table("a chat's webhook", _URL_KEYS)
WEBHOOK = Table(
    "webhook", {**_URL_KEYS, "headers": ("headers", _read_headers), "method": ("method", _read_method)}
)  # fmt: skip


def _read_hook(shape: Shape) -> fields.Reader:
    table = WEBHOOK if shape is Shape.WEBHOOK else CHAT

    def hook(value: Any, report: Report) -> Hook | None:
        mapping = fields.mapping(value, report)
        given = [key for key in ("url", "url_file") if key in mapping]
        if len(given) != 1:
            what = "both url and url_file" if given else "it has no url"
            raise Wrong(what, "keep one of them" if given else "add url, or url_file: a file that holds it")
        return Hook(shape=shape, **read(table, mapping, report))

    return hook


# ---- Channels -------------------------------------------------------------------------------------------------------

CHANNEL = Table(
    "a channel",
    {"mail": ("mail", _read_mail), **{shape.value: (shape.value, _read_hook(shape)) for shape in Shape}},
    meant={
        "email": "mail",
        "smtp": "mail",
        "msteams": "teams",
        "http": "webhook",
        "url": "webhook",
        "mattermost": "slack",
    },
)


def read_channels(value: Any, report: Report) -> dict[str, Channel]:
    """Name to channel; those that are wrong are left out, and reported."""
    table = fields.mapping(value, report)
    channels: dict[str, Channel] = {}
    for name, content in table.items():
        try:
            fields.check_name(name)
            channel = fields.mapping(content, report)
            if len(channel) != 1:
                raise Wrong("a channel is exactly one of " + ", ".join(CHANNEL.keys), "write it as in mail: {to: ...}")
            found = [made for made in read(CHANNEL, channel, report).values() if made is not None]
            if found:
                channels[name] = found[0]
        except Wrong as wrong:
            mark = table.key_mark(name) if wrong.code == "name" else table.value_mark(name)
            report.wrong(mark, quote(name), wrong)
    return channels


# ---- Rules of the host ----------------------------------------------------------------------------------------------


def _read_glob(value: Any, report: Report) -> str:
    checked = fields.word(value, report)
    if not _GLOB.fullmatch(checked):
        raise Wrong(f"{quote(checked)} matches no workflow's name", "use letters, digits, _ . - and * ? [ ]")
    return checked


def _read_labels(value: Any, report: Report) -> dict[str, str]:
    table = fields.mapping(value, report)
    return {name: fields.value_text(content, report) for name, content in table.items()}


HOST_RULE = Table(
    "a rule of notify",
    {
        "channel": ("channel", fields.name),
        "on": ("on", read_on),
        "workflows": ("workflows", fields.one_or_more(_read_glob)),
        "labels": ("labels", _read_labels),
    },
    meant={"to": "channel", "when": "on", "workflow": "workflows"},
)


def read_host_rules(value: Any, report: Report) -> tuple[HostRule, ...]:
    """`notify` of the settings."""
    return tuple(HostRule(**found) for found in read_rules(HOST_RULE, value, report))


def judge_rules(root: Mapping, channels: dict[str, Channel], rules: tuple[HostRule, ...], report: Report) -> None:
    """A rule for a channel that there is not is a message that nobody gets."""
    named = root.get("channels")
    known = tuple(named) if isinstance(named, dict) else tuple(channels)
    for channel in dict.fromkeys(rule.channel for rule in rules):
        if channel not in known and channel != "?":
            guess = fields.suggest(channel, known)
            fix = "add it under channels:" if not guess else ""
            report.add(root.value_mark("notify"), "value", f"notify: there is no channel {quote(channel)}{guess}", fix)
