"""Many workflows, or a graph of many tasks: told a piece a turn, whole, and only to who may see it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pyflowd.base.peer import Peer
from pyflowd.control.control import NEXT_TURN
from pyflowd.handlers import handlers, handlers_runs
from pyflowd.handlers.handlers import Handlers
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.model.kinds import Shell
from pyflowd.model.workflow import Task, Workflow
from pyflowd.protocol.requests import GetGraph, ListWorkflows
from pyflowd.protocol.views_workflows import GraphView, WorkflowPage, WorkflowView

ROOT = Peer(uid=0, gid=0, pid=1)
NAMES = [f"w{n}" for n in range(10, 35)]


def turns(replies: Iterator[Any]) -> Iterator[list[Any]]:
    """What is told, turn by turn."""
    told: list[Any] = []
    for reply in replies:
        if reply is NEXT_TURN:
            yield told
            told = []
        else:
            told.append(reply)
    yield told


class Host:
    """Workflows of which some are hidden, and the parts of `Handlers` that list them."""

    def __init__(self) -> None:
        self.hidden = {"w12"}
        self.entries: dict[str, Any] = dict.fromkeys(NAMES)
        self.looked_up: list[list[str]] = []
        made: Any = Handlers.__new__(Handlers)
        sight = SimpleNamespace(sees=lambda name: name not in self.hidden, sees_host=lambda _: True)
        made.access = SimpleNamespace(sight=lambda _: sight)
        made.workflows = SimpleNamespace(entries=self.entries)
        made.store = SimpleNamespace(rows=self._rows)
        made.of_runs = made.of_approvals = SimpleNamespace(waiting=lambda *_: [])
        made.definitions = SimpleNamespace(
            view=lambda name, last: WorkflowView(workflow=name, state="active", file=""),
            broken=lambda _: [WorkflowView(workflow="w11x", state="broken", file="")], notes=lambda _: [],
            folders=SimpleNamespace(workflows="/w"),
        )  # fmt: skip
        self.replies = turns(made._workflows(ListWorkflows(), ROOT))

    def _rows(self, name: str, names: str) -> list[Any]:
        assert name == "newest_runs"
        self.looked_up.append(json.loads(names))
        return []


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(handlers, "WORKFLOWS_A_TURN", 10)
    return Host()


def told(turn: list[WorkflowPage]) -> list[str]:
    return [view.workflow for page in turn for view in page.workflows]


def test_a_turn_looks_at_some_workflows(host: Host) -> None:
    *before, last = host.replies
    assert before == [[], []]
    assert [len(names) for names in host.looked_up] == [9, 10, 5]
    assert told(last) == ["w10", "w11", "w11x", *NAMES[3:]]


def test_what_is_hidden_or_gone_in_between_is_not_told(host: Host) -> None:
    next(host.replies)
    host.hidden.add("w10")
    del host.entries["w11"], host.entries["w20"]
    *_, last = host.replies
    assert told(last) == ["w11x", *(name for name in NAMES[3:] if name != "w20")]


def test_a_graph_of_many_tasks_is_made_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers_runs, "PLANNED_A_TURN", 10)
    tasks = tuple(Task(name=f"t{n}", kind=Shell(text="true")) for n in range(25))
    entry = SimpleNamespace(definition=Workflow(name="w", tasks=tasks))
    made: Any = RunHandlers.__new__(RunHandlers)
    made.workflows = SimpleNamespace(entries={"w": entry}, find=lambda _: entry)
    *before, last = turns(made.get_graph(GetGraph(of="w"), ROOT))
    assert before == [[], []]
    (graph,) = last
    assert isinstance(graph, GraphView)
    assert ([task.task for task in graph.tasks], graph.handlers) == ([task.name for task in tasks], [])
