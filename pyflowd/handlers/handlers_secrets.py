"""Requests about secrets: set, remove, list, seal anew. No reply and no event holds a value.

The store is changed first, durably, then the event is recorded, then the answer is given. Between the first two a crash
leaves a change without its event; the store itself says when and by whom it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pyflowd.base.peer import Peer
from pyflowd.control.replies import Replies
from pyflowd.errors import Refused
from pyflowd.events import SecretChanged, SecretRemoved, SecretsRekeyed
from pyflowd.protocol.requests import ListSecrets, RekeySecrets, RemoveSecret, SetSecret
from pyflowd.protocol.views_host import SecretAnswer, SecretPage, SecretView
from pyflowd.runtime.runs import Runs
from pyflowd.secrets.secrets_model import Provider, described
from pyflowd.secrets.secrets_providers import Known
from pyflowd.secrets.secrets_resolver import Resolver, check

Sees = Callable[[str], bool]
Listed = tuple[list[SecretView], list[str]]

PAGE = 200
SHOWN_USERS = 5
"""Workflows that are told of a secret that nobody has."""


class SecretHandlers:
    """As `Handlers`: acts when called, answers when pulled."""

    def __init__(self, runs: Runs, resolver: Resolver, users: Callable[[Sees], Mapping[str, list[str]]]) -> None:
        """`users`: secrets that definitions in force name, with the workflows that do; of those that one sees."""
        self.runs = runs
        self.resolver = resolver
        self.users = users

    def set(self, request: SetSecret, peer: Peer) -> Replies:
        now_us = self.runs.clock.wall_us()
        changed = self.resolver.set(request.name, request.value, peer.name, now_us)
        self.runs.batch.host_event(SecretChanged(now_us, request.name, peer.name, changed.version))
        return self._one("set", name=request.name, version=changed.version, notes=changed.notes)

    def remove(self, request: RemoveSecret, peer: Peer) -> Replies:
        check(request.name)
        self.resolver.store.remove(request.name)
        self.runs.batch.host_event(SecretRemoved(self.runs.clock.wall_us(), request.name, peer.name))
        return self._one("removed", name=request.name)

    def rekey(self, _: RekeySecrets, peer: Peer) -> Replies:
        done = self.resolver.store.rekey()
        self.runs.batch.host_event(SecretsRekeyed(self.runs.clock.wall_us(), peer.name, done.count))
        notes = [f"the key is in {self.resolver.store.keyring.where}; keep a copy of it elsewhere"]
        if done.old_key_in:
            notes.append(f"the old key is of no use any more: take it out of {done.old_key_in}")
        return self._one("rekeyed", count=done.count, notes=tuple(notes))

    def _one(
        self, action: str, *, name: str = "", version: int = 0, count: int = 0, notes: tuple[str, ...] = ()
    ) -> Replies:
        yield SecretAnswer(action=action, name=name, version=version, count=count, notes=list(notes))

    def list_secrets(self, _: ListSecrets, __: Peer) -> Replies:
        known = self.resolver.known()
        silent = [f"{described(provider)}: it does not tell its names" for provider, found in known if found is None]
        views, faults = self._views(known, lambda _: True)
        for at in range(0, len(views), PAGE):
            yield SecretPage(secrets=views[at : at + PAGE])
        yield SecretPage(secrets=[], notes=silent + faults)

    def faults(self, sees: Sees) -> list[str]:
        """For `doctor`: what makes, or will make, tasks fail; of the workflows that one `sees`."""
        return self._views(self.resolver.known(), sees)[1]

    def _views(self, of_providers: list[tuple[Provider, list[Known] | Refused | None]], sees: Sees) -> Listed:
        """What each provider has; and what is wrong with some, and with names that no provider has."""
        views: list[SecretView] = []
        faults: list[str] = []
        seen: set[str] = set()
        users = self.users(sees)
        for provider, found in of_providers:
            what = described(provider)
            match found:
                case None:
                    pass
                case Refused():
                    faults.append(f"{what}: {found}")
                case _:
                    views += [
                        SecretView(
                            name=known.name, provider=what, changed_us=known.changed_us, changed_by=known.changed_by,
                            version=known.version, hidden=known.name in seen, workflows=users.get(known.name, []),
                        )
                        for known in found
                    ]  # fmt: skip
                    seen |= {known.name for known in found}
                    faults += [known.fault for known in found if known.fault]
        for name in self.resolver.missing(sorted(set(users) - seen)):
            where = ", ".join(users[name][:SHOWN_USERS]) + (", ..." if len(users[name]) > SHOWN_USERS else "")
            faults.append(f"{name} is named by {where}, and no provider has it; {self.resolver.remedy(name)}")
        return views, faults
