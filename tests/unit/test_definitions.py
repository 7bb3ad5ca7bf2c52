"""What is read counts only if it is what had settled (rule D4)."""

from __future__ import annotations

import selectors
from collections.abc import Iterator
from types import SimpleNamespace

import msgspec
import pytest

from pyflowd.base.timers import Timers
from pyflowd.clock import SystemClock
from pyflowd.folder.catalog import Change
from pyflowd.folder.definitions import Definitions, _decoded
from pyflowd.folder.loader_frames import Folders, Rejected, Result, Seen, Signature
from pyflowd.folder.sources import Sources

FOLDERS = Folders("/etc/p/workflows")
OLD = Signature(1, 1, 10, 1)
NEW = Signature(2, 2, 20, 1)


@pytest.fixture
def definitions() -> Iterator[Definitions]:
    """Not started, with a file and its template that have settled."""
    with selectors.DefaultSelector() as selector:
        made = Definitions(SimpleNamespace(clock=SystemClock()), FOLDERS, Timers(), selector)  # type: ignore[arg-type]
        made._sources = Sources({"a.yaml": OLD, "templates/t.yaml": OLD}, FOLDERS)
        made.catalog.asked("a.yaml", Seen({"a.yaml": OLD}))
        yield made
        made.stop()


def taken(definitions: Definitions, monkeypatch: pytest.MonkeyPatch, parts: dict[str, Signature]) -> list[Result]:
    """The results that came through to the books."""
    found: list[Result] = []

    def apply(result: Result) -> list[Change]:
        found.append(result)
        return []

    monkeypatch.setattr(definitions.catalog, "apply", apply)
    definitions._take_file(Rejected(file="a.yaml", problems=(), seen=Seen(parts, "t")))
    return found


def test_what_had_settled_is_taken(definitions: Definitions, monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken(definitions, monkeypatch, {"a.yaml": OLD, "templates/t.yaml": OLD})


def test_a_part_that_is_being_written_is_not_taken_and_asked_for_again(
    definitions: Definitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not taken(definitions, monkeypatch, {"a.yaml": OLD, "templates/t.yaml": NEW})
    assert definitions.catalog.known == {"a.yaml": None}
    assert definitions.busy
    assert definitions.timers.next_due_us() is not None


def test_a_part_that_had_not_settled_is_not_taken(definitions: Definitions, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not taken(definitions, monkeypatch, {"a.yaml": OLD, "templates/t.yaml": OLD, "a.yaml.d/1.yaml": NEW})


def test_a_signature_of_an_older_store_is_understood() -> None:
    assert _decoded("a.yaml", msgspec.msgpack.encode(OLD)) == Seen({"a.yaml": OLD})
    assert _decoded("a.yaml", msgspec.msgpack.encode(Seen({"a.yaml": OLD}, "t"))) == Seen({"a.yaml": OLD}, "t")
