"""Secrets as values: what one is, why one cannot be had, and the providers that may have it. Pure.

It knows nothing of where a provider looks.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from msgspec import Struct

from pyflowd.errors import Refused

SECRET_MAX_BYTES = 64 * 1024
KEY_CREDENTIAL = "pyflow-secrets-key"
"""The systemd credential that holds the store's key: no secret that a workflow may ask for."""


class Secret(bytes):
    """The bytes of a secret. What shows values shows stars: a log line, a traceback, a debugger's list.

    `bytes(secret)` gives the plain bytes to whoever means to send them. Neither msgspec nor pickle takes it.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, _: str) -> str:
        return "***"

    def __reduce_ex__(self, _: object) -> tuple[object, ...]:
        raise TypeError("a secret is not to be written anywhere")


class SecretError(Refused):
    """A secret cannot be had. The reason is one line with the provider and the remedy, and never the value."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f'secret "{name}": {reason}')
        self.name = name
        self.reason = reason


class Files(Struct, frozen=True, kw_only=True):
    """One file for each secret, by its name."""

    folder: str
    only: tuple[str, ...] = ("*",)
    """Globs, one of which a name must match: others are not asked for here. So of each provider."""
    optional: bool = False
    """A folder that is not there has no secrets; else it is a fault."""


class Credentials(Struct, frozen=True, kw_only=True):
    """What systemd gives to the daemon's unit (`LoadCredential=`)."""

    only: tuple[str, ...] = ("*",)


class Environment(Struct, frozen=True, kw_only=True):
    """Variables of the daemon: the prefix, then the name in upper case, other characters than A-Z and 0-9 as `_`."""

    prefix: str
    only: tuple[str, ...] = ("*",)


class LocalStore(Struct, frozen=True, kw_only=True):
    """The encrypted file that `pyflowctl secret set` fills."""

    only: tuple[str, ...] = ("*",)


class Command(Struct, frozen=True, kw_only=True):
    """A program: the name is its last argument, what it prints the value."""

    argv: tuple[str, ...]
    only: tuple[str, ...] = ("*",)


class Vault(Struct, frozen=True, kw_only=True):
    """HashiCorp Vault or OpenBao, a KV engine of version 2."""

    address: str
    """`https://HOST:PORT`."""
    token_file: str
    mount: str = "secret"
    path: str = ""
    """Before the name; empty or without slashes at its ends."""
    field: str = "value"
    ca_file: str = ""
    namespace: str = ""
    only: tuple[str, ...] = ("*",)


Provider = Files | Credentials | Environment | LocalStore | Command | Vault


def may_have(provider: Provider, name: str) -> bool:
    """Whether `provider` is to be asked for `name`."""
    return name != KEY_CREDENTIAL and any(fnmatchcase(name, glob) for glob in provider.only)


def described(provider: Provider) -> str:
    """What people know a provider by."""
    match provider:
        case Files():
            return f"file {provider.folder}"
        case Credentials():
            return "systemd"
        case Environment():
            return f"environment {provider.prefix}"
        case LocalStore():
            return "store"
        case Command():
            return f"command {provider.argv[0]}"
        case Vault():
            return f"vault {provider.address}"


def checked(name: str, value: bytes, where: str) -> Secret:
    """`value` as a secret. Raises SecretError where it is empty or too long: neither can be meant."""
    if not value:
        raise SecretError(name, f"{where} is empty; give it a value")
    if len(value) > SECRET_MAX_BYTES:
        raise SecretError(name, f"{where} is longer than 64 KiB; a secret is no place for files")
    return Secret(value)


def without_newline(text: bytes) -> bytes:
    """What editors and `echo` put at the end is no part of the value: one newline is dropped."""
    return text[:-1] if text.endswith(b"\n") else text
