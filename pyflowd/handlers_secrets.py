"""Requests about secrets: set, remove, list, seal anew. No reply and no event holds a value.

The store is changed first, durably, then the event is recorded, then the answer is given. Between the first two a crash
leaves a change without its event; the store itself says when and by whom it was made.
"""

from __future__ import annotations

from pyflowd.errors import Refused
from pyflowd.events import SecretChanged, SecretRemoved, SecretsRekeyed
from pyflowd.peer import Peer
from pyflowd.protocol import (
    ListSecrets,
    RekeySecrets,
    RemoveSecret,
    SecretAnswer,
    SecretPage,
    SecretView,
    SetSecret,
)
from pyflowd.replies import Replies
from pyflowd.runs import Runs
from pyflowd.secrets_model import described
from pyflowd.secrets_resolver import Resolver, check

PAGE = 200


class SecretHandlers:
    """As `Handlers`: acts when called, answers when pulled."""

    def __init__(self, runs: Runs, resolver: Resolver) -> None:
        self.runs = runs
        self.resolver = resolver

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
        views: list[SecretView] = []
        notes: list[str] = []
        seen: set[str] = set()
        for provider, found in self.resolver.known():
            what = described(provider)
            match found:
                case None:
                    notes.append(f"{what}: it does not tell its names")
                case Refused():
                    notes.append(f"{what}: {found}")
                case _:
                    views += [
                        SecretView(
                            name=known.name, provider=what, changed_us=known.changed_us, changed_by=known.changed_by,
                            version=known.version, hidden=known.name in seen,
                        )
                        for known in found
                    ]  # fmt: skip
                    seen |= {known.name for known in found}
        for at in range(0, len(views), PAGE):
            yield SecretPage(secrets=views[at : at + PAGE])
        yield SecretPage(secrets=[], notes=notes)
