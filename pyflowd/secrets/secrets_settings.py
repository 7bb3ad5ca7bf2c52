"""Reader of the settings' key `secrets`. Nothing is looked for before a secret is asked for.

It knows nothing of how a provider is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pyflowd.language import fields
from pyflowd.language.document import Mapping, Sequence, quote
from pyflowd.language.fields import Report, Table, Wrong, read
from pyflowd.notify.notify_channels import LOCAL_HOSTS
from pyflowd.notify.notify_payload import target
from pyflowd.secrets.secrets_model import Command, Credentials, Environment, Files, LocalStore, Provider, Vault

MOST = 20
_PREFIX = re.compile(r"[A-Z_][A-Z0-9_]{0,62}", re.ASCII)
_GLOB = re.compile(r"[A-Za-z0-9_.*?\[\]!-]{1,200}", re.ASCII)
_PATH = re.compile(r"[A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*", re.ASCII)
_FIELD = re.compile(r"[!-~](?:[ -~]{0,98}[!-~])?", re.ASCII)


def read_providers(value: Any, report: Report) -> tuple[Provider, ...]:
    """The providers in their order; an empty list: no secret can be had."""
    if value.__class__ is not Sequence:
        raise Wrong(f"expected a list of providers, found {fields.shape(value)}", "write it as in [{store: true}]")
    if len(value) > MOST:
        raise Wrong(f"{len(value)} providers; at most {MOST} are asked")
    found: list[Provider] = []
    for item, mark in zip(value, value.marks, strict=True):
        try:
            provider = _read_provider(item, report)
            found += () if provider is None else (provider,)
        except Wrong as wrong:
            report.wrong(mark, "secrets", wrong)
    return tuple(found)


def _read_provider(value: Any, report: Report) -> Provider | None:
    mapping = fields.mapping(value, report)
    known = report.errors
    found = read(PROVIDER, mapping, report)
    if report.errors > known:
        return None  # what is wrong has been said
    only = found.pop("only", ("*",))
    if len(found) == 1:
        make: Callable[[tuple[str, ...]], Provider] = found.popitem()[1]
        return make(only)
    kinds = ", ".join(key for key in PROVIDER.keys if key != "only")
    raise Wrong("a provider is exactly one of these", kinds)


# ---- Parts of a provider --------------------------------------------------------------------------------------------


def _read_glob(value: Any, report: Report) -> str:
    checked = fields.text(value, report)
    if not _GLOB.fullmatch(checked):
        raise Wrong(f"{quote(checked)} is no pattern of names", "write it as in db-*")
    return checked


def _read_files(value: Any, report: Report) -> Callable[[tuple[str, ...]], Provider]:
    folder = fields.absolute_path(value, report)
    return lambda only: Files(folder=folder, only=only)


def _only_true(value: Any, report: Report) -> None:
    if fields.boolean(value, report) is not True:
        raise Wrong("false says nothing", "take the provider out of the list")


def _read_systemd(value: Any, report: Report) -> Callable[[tuple[str, ...]], Provider]:
    _only_true(value, report)
    return lambda only: Credentials(only=only)


def _read_store(value: Any, report: Report) -> Callable[[tuple[str, ...]], Provider]:
    _only_true(value, report)
    return lambda only: LocalStore(only=only)


def _read_environment(value: Any, report: Report) -> Callable[[tuple[str, ...]], Provider]:
    prefix = fields.text(value, report)
    if not _PREFIX.fullmatch(prefix):
        raise Wrong(f"{quote(prefix)} is no prefix of variables", "write it as in SECRET_, in capitals")
    return lambda only: Environment(prefix=prefix, only=only)


def _read_command(value: Any, report: Report) -> Callable[[tuple[str, ...]], Provider]:
    if value.__class__ is not Sequence or not value:
        raise Wrong(f"expected a list, found {fields.shape(value)}", "write it as in [/usr/local/bin/secret, get]")
    argv = tuple(fields.word(item, report) for item in value)
    if not argv[0].startswith("/") or any("\0" in word for word in argv):
        raise Wrong(f"{quote(argv[0])} is no absolute path", "begin it with /")
    return lambda only: Command(argv=argv, only=only)


# ---- Vault ----------------------------------------------------------------------------------------------------------


def _read_address(value: Any, report: Report) -> str:
    checked = fields.word(value, report)
    try:
        found = target(checked)
    except ValueError as error:
        raise Wrong(str(error), "write it as in https://vault.example.com:8200") from None
    if found.path != "/":
        raise Wrong("an address has no path", "write it as in https://vault.example.com:8200")
    if not found.tls and found.host not in LOCAL_HOSTS:
        raise Wrong("without TLS the token and the secrets could be read on their way", "begin it with https://")
    return checked.rstrip("/")


def _matching(pattern: re.Pattern[str], what: str) -> fields.Reader:
    def matching(value: Any, report: Report) -> str:
        checked = fields.text(value, report).strip("/")
        if not pattern.fullmatch(checked) or ".." in checked.split("/"):
            raise Wrong(f"{quote(checked)} is no {what}")
        return checked

    return matching


VAULT = Table(
    "vault",
    {
        "address": ("address", _read_address),
        "mount": ("mount", _matching(_PATH, "path of Vault")),
        "path": ("path", _matching(_PATH, "path of Vault")),
        "field": ("field", _matching(_FIELD, "name of a field")),
        "token_file": ("token_file", fields.absolute_path),
        "ca_file": ("ca_file", fields.absolute_path),
        "namespace": ("namespace", _matching(_PATH, "namespace of Vault")),
    },
    meant={"url": "address", "prefix": "path", "token": "token_file", "key": "field", "engine": "mount"},
)


def _read_vault(value: Any, report: Report) -> Callable[[tuple[str, ...]], Provider] | None:
    mapping: Mapping = fields.mapping(value, report)
    known = report.errors
    found = read(VAULT, mapping, report)
    missing = [key for key in ("address", "token_file") if key not in found]
    if missing and report.errors == known:
        raise Wrong(f"it has no {missing[0]}", f"add {missing[0]}:")
    return None if report.errors > known else lambda only: Vault(**found, only=only)


PROVIDER = Table(
    "a provider of secrets",
    {
        "file": ("file", _read_files),
        "systemd": ("systemd", _read_systemd),
        "environment": ("environment", _read_environment),
        "store": ("store", _read_store),
        "command": ("command", _read_command),
        "vault": ("vault", _read_vault),
        "only": ("only", fields.one_or_more(_read_glob)),
    },
    meant={"env": "environment", "files": "file", "folder": "file", "local": "store", "exec": "command"},
)
