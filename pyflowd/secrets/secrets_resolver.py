"""Secrets by name, from the first provider of the settings that has them. Values are kept nowhere.

`resolve` runs in the thread pool; what changes the store or lists names is quick, and is called in the loop's thread.
It knows nothing of who asks, and of what becomes of a value.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, MutableMapping, Sequence

from msgspec import Struct

from pyflowd.base.pool import Cancel
from pyflowd.clock import Clock
from pyflowd.errors import Refused
from pyflowd.model.states import is_name
from pyflowd.paths import Paths
from pyflowd.secrets import secrets_providers
from pyflowd.secrets.secrets_key import Keyring
from pyflowd.secrets.secrets_model import (
    KEY_CREDENTIAL,
    SECRET_MAX_BYTES,
    Credentials,
    Files,
    LocalStore,
    Provider,
    Secret,
    SecretError,
    described,
    may_have,
)
from pyflowd.secrets.secrets_providers import Known, Sources
from pyflowd.secrets.secrets_store import SecretStore


class Changed(Struct, frozen=True, kw_only=True):
    """A secret as it is stored now."""

    version: int
    notes: tuple[str, ...] = ()
    """What whoever changed it should know."""


class Resolver:
    """The secrets of one instance."""

    def __init__(
        self,
        providers: tuple[Provider, ...] | None,
        key_file: str,
        paths: Paths,
        environ: MutableMapping[str, str],
        clock: Clock,
    ) -> None:
        """`providers`, `key_file` as the settings have them. Takes secrets out of `environ`. Raises Refused."""
        beside = os.path.dirname(paths.settings)
        self.providers = _default(beside) if providers is None else providers
        keyring = Keyring(key_file or os.path.join(beside, "secrets.key"), environ.get("CREDENTIALS_DIRECTORY", ""))
        for provider in self.providers:
            if isinstance(provider, Files) and os.path.realpath(provider.folder) == _folder(keyring.path):
                raise Refused(f"{provider.folder} holds the store's key, too: keep secrets in a folder of their own")
        self.store = SecretStore(paths.state, keyring)
        self._sources = Sources(
            store=self.store,
            credentials_folder=environ.get("CREDENTIALS_DIRECTORY", ""),
            variables=secrets_providers.take_variables(self.providers, environ),
            clock=clock,
        )

    def resolve(self, names: Sequence[str], cancel: Cancel) -> dict[str, Secret]:
        """The value of each name. A provider at fault ends the search: another's value may be an old one. Raises
        SecretError."""
        found: dict[str, Secret] = {}
        for name in names:
            check(name)
        for provider in self.providers:
            wanted = [name for name in names if name not in found and may_have(provider, name)]
            if wanted:
                found |= secrets_providers.fetch(provider, wanted, self._sources, cancel)
        for name in names:
            if name not in found:
                raise SecretError(name, self._nowhere(name))
        return found

    def _nowhere(self, name: str) -> str:
        asked = [described(provider) for provider in self.providers if may_have(provider, name)]
        where = f"not found in {', '.join(asked)}" if asked else "no provider of the settings is for it"
        return f"{where}; {self.remedy(name)}"

    # ---- The store

    def set(self, name: str, value: bytes, by: str, now_us: int) -> Changed:
        """Raises Refused, Unavailable."""
        check(name)
        if not value:
            raise Refused(f"the value of {name} is empty; an empty secret is mostly a mistake, and is not stored")
        if len(value) > SECRET_MAX_BYTES:
            raise Refused(f"the value of {name} is longer than 64 KiB, which no secret may be")
        before = self._before_store(name)
        version, made_key = self.store.set(name, value, by, now_us)
        notes = []
        if made_key:
            notes.append(f"a key was made for the store: {self.store.keyring.path}; keep a copy of it elsewhere")
        first = [each for each in before if secrets_providers.may_answer(each, name, self._sources)]
        notes += [f"{described(provider)} is asked before the store, and may have another value" for provider in first]
        return Changed(version=version, notes=tuple(notes))

    def _before_store(self, name: str) -> list[Provider]:
        """The providers that are asked before the store. Raises Refused where the store is not asked at all."""
        before: list[Provider] = []
        for provider in self.providers:
            if not may_have(provider, name):
                continue
            if isinstance(provider, LocalStore):
                return before
            before.append(provider)
        raise Refused(f"the store would not be asked for {name}: add {{store: true}} to secrets: in pyflowd.yaml")

    def known(self) -> list[tuple[Provider, list[Known] | Refused | None]]:
        """Each provider with the names that it has: None where it cannot tell, else why it is at fault."""
        return [(provider, self._known(provider)) for provider in self.providers]

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of `names` that surely no provider has. One that cannot tell may have any that it is asked for."""
        return [
            name
            for name in names
            if not any(
                may_have(provider, name) and secrets_providers.may_answer(provider, name, self._sources)
                for provider in self.providers
            )
        ]

    def remedy(self, name: str) -> str:
        """How a secret that nobody has is given a value."""
        if any(isinstance(provider, LocalStore) and may_have(provider, name) for provider in self.providers):
            return f"store it: pyflowctl secret set {name}"
        return "put it where one of the providers finds it (secrets: in pyflowd.yaml)"

    def _known(self, provider: Provider) -> list[Known] | Refused | None:
        try:
            return secrets_providers.known(provider, self._sources)
        except Refused as error:
            return error


def check(name: str) -> None:
    """Raises SecretError unless `name` can be a secret's."""
    if not is_name(name):
        raise SecretError(name[:63], "this can be no name: letters, digits, _ . - only, first a letter or digit")
    if name == KEY_CREDENTIAL:
        raise SecretError(name, "this name is for the key of the store")


def _default(beside: str) -> tuple[Provider, ...]:
    return Files(folder=os.path.join(beside, "secrets"), optional=True), LocalStore(), Credentials()


def _folder(path: str) -> str:
    return os.path.realpath(os.path.dirname(path))
