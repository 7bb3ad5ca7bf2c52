"""Deliveries by whoever may know of no hook: neither the answer nor what it costs tells which there are."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pyflowd.base import peer as peer_module
from pyflowd.base.peer import Peer
from pyflowd.control.replies import Replies
from pyflowd.errors import NotFound, PyflowError
from pyflowd.model.triggers import Verify, WebhookTrigger
from pyflowd.protocol.requests import DeliverHook
from pyflowd.protocol.words import Level
from pyflowd.runtime import handlers_hooks
from pyflowd.runtime.audit import Audit, Deed
from pyflowd.runtime.handlers_hooks import TOKEN, HookHandlers
from pyflowd.secrets.secrets_model import Secret, SecretError
from tests.fakes import FakeClock

SIGNED = WebhookTrigger(name="push", hook="signed", verify=Verify(form="github", secrets=("key", "older")))
OTHER = WebhookTrigger(name="push", hook="other", verify=Verify(form="github", secrets=("key", "older")))
UNSIGNED = WebhookTrigger(name="free", hook="unsigned")
NOBODY = peer_module.nobody(Peer(uid=61_500, gid=1, pid=7))
LOOK = handlers_hooks._why_refused
HOOKS = ["signed", "unsigned", "unknown", "unknown-too", ""]


class Host:
    """Handlers whose pool does nothing until it is told to, and that note what is looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, triggers: list[tuple[str, WebhookTrigger]]) -> None:
        self.sees = False
        self.submitted: list[tuple[str, Callable[[Any], Any]]] = []
        self.resolved: list[str] = []
        self.proofs: list[str] = []
        self.rows: list[tuple[Any, ...]] = []
        clock = FakeClock()
        batch = SimpleNamespace(add=lambda name, *row: self.rows.append((name, *row)))
        runs: Any = SimpleNamespace(clock=clock, batch=batch, timers=SimpleNamespace(at=lambda *_: None))
        workflows = SimpleNamespace(clock=clock, topics=set(), runs=runs)
        starts: Any = SimpleNamespace(workflows=workflows, triggers=lambda _: triggers)
        health: Any = SimpleNamespace(note=lambda *_, **__: None, check_writable=lambda: None, has=lambda _: False)
        resolver: Any = SimpleNamespace(resolve=self._resolve)
        pool: Any = SimpleNamespace(submit=lambda token, work: self.submitted.append((token, work)))
        self.audit = Audit(runs, health)
        judges = (lambda _: self.sees, lambda _: self.sees)
        self.handlers = HookHandlers(starts, resolver, pool, health, self.audit, lambda _: judges)

        def noted(trigger: WebhookTrigger, *rest: Any) -> str:
            self.proofs.append("proof")
            return LOOK(trigger, *rest)

        monkeypatch.setattr(handlers_hooks, "_why_refused", noted)

    def _resolve(self, wanted: list[str], _: object) -> dict[str, Secret]:
        self.resolved += wanted
        raise SecretError(wanted[0], "none here")

    def deliver(self, hook: str, peer: Peer = NOBODY) -> tuple[str, PyflowError | None]:
        """Where it was decided, and how."""
        request = DeliverHook(hook=hook, body=b"{}", headers={"x-hub-signature-256": "sha256=0"})
        deed = Deed(request, peer)
        try:
            replies: Replies = self.audit.during(deed, lambda: self.handlers.deliver(request, peer))
        except PyflowError as error:
            return "at once", error
        (token, work) = self.submitted.pop()
        self.handlers.taken(token.removeprefix(TOKEN), work(None))
        try:
            return "answered", next(iter(replies)) and None
        except PyflowError as error:
            return "by the pool", error


def test_whoever_sees_no_hook_makes_the_same_work_with_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for hook in HOOKS:
        host = Host(monkeypatch, [("w", SIGNED), ("x", OTHER), ("y", UNSIGNED)])
        where, error = host.deliver(hook)
        assert isinstance(error, NotFound)
        assert error.denied
        records = [(row[0], *row[-3:]) for row in host.rows]
        found.append((where, str(error).replace(f'"{hook}"', ""), host.resolved, host.proofs, records))
    assert all(each == found[0] for each in found), found
    assert found[0][0] == "by the pool"
    assert found[0][2:] == (["key", "older"], ["proof"], [("audit", None, "forbidden", 0)])


def test_where_no_hook_has_a_secret_there_is_nothing_to_look_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for hook in HOOKS:
        host = Host(monkeypatch, [("y", UNSIGNED)])
        where, error = host.deliver(hook)
        assert (where, type(error), host.submitted) == ("at once", NotFound, [])


def test_whoever_sees_hooks_is_told_the_name_that_was_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(monkeypatch, [("w", SIGNED)])
    host.sees = True
    operator = Peer(uid=1000, gid=1, pid=1, level=Level.OPERATE)
    _, error = host.deliver("singed", operator)
    assert str(error) == 'no workflow has a hook "singed" (did you mean "signed"?)'
