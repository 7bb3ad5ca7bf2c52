"""Secrets of attempts in memory: no longer there than the attempt, and never in what is told of a failure (rule P6)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyflowd.base.pool import Cancel
from pyflowd.http import http_call
from pyflowd.runtime.http_tasks import HttpTasks, _Prepared
from pyflowd.runtime.secret_lookups import TOKEN, SecretLookups
from pyflowd.runtime.secret_names import Secrets
from pyflowd.runtime.tasklogs import TaskLogs
from pyflowd.secrets.secrets_model import Secret
from tests.fakes import FakeClock

VALUE = Secret(b"correct horse battery")


class PlayedPool:
    def __init__(self) -> None:
        self.calls: dict[str, Callable[[Cancel], Any]] = {}

    def submit(self, token: str, call: Callable[[Cancel], Any]) -> None:
        self.calls[token] = call

    def cancel(self, token: str) -> None:
        del self.calls[token]


def lookups(pool: PlayedPool) -> SecretLookups:
    return SecretLookups(None, pool)  # type: ignore[arg-type]


def test_secrets_of_an_attempt_that_is_cancelled_while_more_are_fetched_are_forgotten() -> None:
    of = lookups(PlayedPool())
    of.ask("a", ["k"], lambda _: None)
    of.taken(f"{TOKEN}a", {"k": VALUE})
    of.ask("a", ["k", "other"], lambda _: None)
    assert of.cancel("a")
    assert of.kept("a") is None


def test_a_fault_of_ours_in_a_request_tells_nothing_of_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def perform(*_: object) -> None:
        raise ValueError(f"bad header {bytes(VALUE).decode()}")

    monkeypatch.setattr(http_call, "perform", perform)
    pool, live = PlayedPool(), SimpleNamespace(meta=SimpleNamespace(run=1))
    task = SimpleNamespace(log_name="t", attempts=1)
    runs, scratch = SimpleNamespace(under_way=lambda _: (live, task)), SimpleNamespace(prepare=lambda *_, **__: None)
    of = HttpTasks(runs, pool, TaskLogs(str(tmp_path)), scratch, FakeClock(), 1000, lookups(pool))  # type: ignore[arg-type]
    of._prepared["a"] = _Prepared(live, task, object(), Secrets({"k": VALUE}), None)  # type: ignore[arg-type]
    of.launch("a")
    with pytest.raises(RuntimeError, match=r"bad header \*\*\*$"):
        pool.calls["http/a"](Cancel())
