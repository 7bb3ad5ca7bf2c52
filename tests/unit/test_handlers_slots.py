"""The ledger of slots, page by page: what is asked for, whole and in order; what is rare, a piece a turn."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyflowd.base.peer import Peer
from pyflowd.control.control import NEXT_TURN
from pyflowd.handlers import handlers_slots
from pyflowd.handlers.handlers_slots import SlotHandlers
from pyflowd.protocol.requests import ListSlots
from pyflowd.protocol.views_workflows import SlotPage
from pyflowd.store.store import Store

ROOT = Peer(uid=0, gid=0, pid=1)
Slot = tuple[int, str, str, str]


def select(hidden: str) -> Any:
    """As `Sight.selected`, of somebody who may not see the workflow `hidden`."""

    def selected(workflow: str | None) -> tuple[str, tuple[Any, ...]]:
        if workflow is not None:
            return "_of_workflow", (workflow,)
        return ("_seen", (f'["{hidden}"]', 0)) if hidden else ("", ())

    return selected


class Ledger:
    """A store with slots of three workflows, many at the same time."""

    def __init__(self, store: Store, count: int) -> None:
        dice = random.Random(7)
        keys = {(dice.randrange(count // 2), dice.choice("abc"), dice.choice("st")) for _ in range(count)}
        self.slots: list[Slot] = [(*key, dice.choice(["fired"] * 4 + ["skipped"])) for key in sorted(keys)]
        batch = store.batch()
        for at_us, workflow, trigger, fate in self.slots:
            batch.add("slot", workflow, trigger, at_us, fate, None, None, "")
        store.commit(batch)
        self.store = store

    def ask(self, hidden: str = "", **given: Any) -> tuple[list[Slot], int]:
        """What is told, and how many turns it takes."""
        of_runs: Any = SimpleNamespace(
            store=self.store, workflows=None,
            access=SimpleNamespace(sight=lambda _: SimpleNamespace(selected=select(hidden))),
        )  # fmt: skip
        found, turns = [], 1
        for reply in SlotHandlers(of_runs).list_slots(ListSlots(**given), ROOT):
            if reply is NEXT_TURN:
                turns += 1
            else:
                assert isinstance(reply, SlotPage)
                found += [(slot.scheduled_us, slot.workflow, slot.trigger, slot.fate.value) for slot in reply.slots]
        return found, turns


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    store = Store(str(tmp_path))
    yield Ledger(store, 1000)
    store.close()


@pytest.mark.parametrize("looked_at", [7, 2000])
@pytest.mark.parametrize("hidden", ["", "b"])
@pytest.mark.parametrize("workflow", [None, "a"])
@pytest.mark.parametrize("fate", [None, "skipped"])
@pytest.mark.parametrize("limit", [None, 1, 13, 5000])
def test_what_is_asked_for_is_told_whole_and_in_order(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, looked_at: int, hidden: str, workflow: str | None,
    fate: str | None, limit: int | None,
) -> None:  # fmt: skip
    monkeypatch.setattr(handlers_slots, "LOOKED_AT", looked_at)
    monkeypatch.setattr(handlers_slots, "PAGE", 5)
    for since_us, until_us in ((None, None), (100, 300), (100, 100), (0, 1), (499, 9999)):
        expected = [
            slot
            for slot in ledger.slots
            if slot[0] >= (since_us or 0) and (until_us is None or slot[0] < until_us)
            and slot[1] != (hidden if workflow is None else "") and workflow in (None, slot[1])
            and fate in (None, slot[3])
        ]  # fmt: skip
        told, _ = ledger.ask(hidden, workflow=workflow, fate=fate, limit=limit, since_us=since_us, until_us=until_us)
        assert told == (expected if limit is None else expected[-limit:])


def test_a_fate_that_is_rare_is_looked_for_a_piece_a_turn(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers_slots, "LOOKED_AT", 50)
    _, turns = ledger.ask(fate="skipped")
    assert turns >= len(ledger.slots) // 50
    _, turns = ledger.ask(limit=10)
    assert turns <= 3
