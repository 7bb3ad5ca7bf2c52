"""Asks one provider for values, and for the names that it has. Runs in the thread pool, as a provider may be slow.

It knows nothing of the order of providers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping, Sequence
from typing import assert_never

from msgspec import Struct

from pyflowd.base.pool import Cancel
from pyflowd.clock import Clock
from pyflowd.errors import Refused
from pyflowd.model.states import is_name
from pyflowd.secrets import secrets_command, secrets_file
from pyflowd.secrets.secrets_file import Unfit
from pyflowd.secrets.secrets_model import (
    SECRET_MAX_BYTES,
    Command,
    Credentials,
    Environment,
    Files,
    LocalStore,
    Provider,
    Secret,
    SecretError,
    Vault,
    checked,
    may_have,
    without_newline,
)
from pyflowd.secrets.secrets_store import SecretStore


class Known(Struct, frozen=True, kw_only=True):
    """A name that a provider has. What it does not say is empty."""

    name: str
    changed_us: int | None = None
    changed_by: str = ""
    version: int | None = None
    fault: str = ""
    """Why its value would not be taken."""


class Sources(Struct, frozen=True, kw_only=True):
    """What providers of one daemon look into."""

    store: SecretStore
    credentials_folder: str
    """Of the daemon's unit; empty: it has none."""
    variables: Mapping[str, Secret]
    """Of the daemon's environment, as it began."""
    clock: Clock


def take_variables(providers: Sequence[Provider], environ: MutableMapping[str, str]) -> dict[str, Secret]:
    """Take the variables that hold secrets out of the environment: nobody whom the daemon starts is to have them."""
    prefixes = tuple(provider.prefix for provider in providers if isinstance(provider, Environment))
    names = [name for name in environ if prefixes and name.startswith(prefixes)]
    return {name: Secret(os.fsencode(environ.pop(name))) for name in names}


# ---- Values ---------------------------------------------------------------------------------------------------------


def fetch(provider: Provider, names: list[str], sources: Sources, cancel: Cancel) -> dict[str, Secret]:
    """Those of `names` that the provider has. Raises SecretError where it cannot tell."""
    match provider:
        case LocalStore():
            try:
                return sources.store.fetch(names)
            except Refused as error:
                raise SecretError(names[0], str(error)) from None
        case _:
            found = {name: _value(provider, name, sources, cancel) for name in names}
            return {name: value for name, value in found.items() if value is not None}


def _value(
    provider: Files | Credentials | Environment | Command | Vault, name: str, sources: Sources, cancel: Cancel
) -> Secret | None:
    if cancel.is_set():
        raise SecretError(name, "nobody waits for it any more")
    match provider:
        case Files():
            return _of_file(provider.folder, name, secrets_file.OWN_ONLY, optional=provider.optional)
        case Credentials():
            folder = sources.credentials_folder
            return _of_file(folder, name, secrets_file.NOT_OTHERS, optional=True) if folder else None
        case Environment():
            value = sources.variables.get(provider.prefix + _variable(name))
            return None if value is None else checked(name, value, f"the variable {provider.prefix}{_variable(name)}")
        case Command():
            return secrets_command.fetch(provider.argv, name, cancel, sources.clock)
        case Vault():
            from pyflowd.secrets import secrets_vault  # it brings TLS, which an idle daemon does not need

            return secrets_vault.fetch(provider, name, cancel)
        case _:
            assert_never(provider)


def _of_file(folder: str, name: str, forbidden: int, *, optional: bool) -> Secret | None:
    """One newline at the end is dropped."""
    try:
        text = secrets_file.read_in(folder, name, SECRET_MAX_BYTES + 1, forbidden)
    except FileNotFoundError:
        if optional or os.path.isdir(folder):
            return None
        raise SecretError(name, f"{folder} is not there; make it, or take it out of the settings") from None
    except Unfit as error:
        raise SecretError(name, str(error)) from None
    return checked(name, without_newline(text), os.path.join(folder, name))


def _variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


# ---- Names ----------------------------------------------------------------------------------------------------------


def known(provider: Provider, sources: Sources) -> list[Known] | None:
    """The names that it has; None: it cannot tell. Raises Refused where it is at fault."""
    match provider:
        case Files():
            found = _files(provider.folder, secrets_file.OWN_ONLY, optional=provider.optional)
        case Credentials():
            folder = sources.credentials_folder
            found = _files(folder, secrets_file.NOT_OTHERS, optional=True) if folder else []
        case Environment():
            cut = len(provider.prefix)
            taken = sorted(name for name in sources.variables if name.startswith(provider.prefix))
            found = [Known(name=name[cut:].lower()) for name in taken]
        case LocalStore():
            found = [
                Known(name=name, changed_us=entry.changed_us, changed_by=entry.changed_by, version=entry.version)
                for name, entry in sorted(sources.store.entries().items())
            ]
        case Command() | Vault():
            return None
        case _:
            assert_never(provider)
    return [each for each in found if is_name(each.name) and may_have(provider, each.name)]


def may_answer(provider: Provider, name: str, sources: Sources) -> bool:
    """Whether it has `name`; also where it cannot be told without asking for the value."""
    if isinstance(provider, Environment):
        return provider.prefix + _variable(name) in sources.variables
    try:
        found = known(provider, sources)
    except Refused:
        return True
    return found is None or any(each.name == name for each in found)


def _files(folder: str, forbidden: int, *, optional: bool) -> list[Known]:
    try:
        entries = secrets_file.names_in(folder, forbidden)
        return [Known(name=entry.name, changed_us=entry.changed_us, fault=entry.fault) for entry in entries]
    except FileNotFoundError:
        if optional:
            return []
        raise Refused(f"{folder} is not there; make it, or take it out of the settings") from None
    except Unfit as error:
        raise Refused(str(error)) from None
