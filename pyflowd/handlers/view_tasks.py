"""Tasks of a run, its items, its handlers, from rows of the store to the views of the protocol, page by page.

A run may have ten thousand items and each may have given 1 MiB: rows are read in pieces, bounded by number and by
size, and no cursor stays open between them. It knows nothing of who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import NamedTuple

import msgspec

from pyflowd.model.ends import KeptFile
from pyflowd.model.kinds import Approval, ProcessKind
from pyflowd.model.states import TASK_TERMINAL, Section, TaskState
from pyflowd.model.workflow import Task, TriggerRule, Workflow, sections
from pyflowd.protocol.views_runs import TaskView
from pyflowd.render.layout import span
from pyflowd.store.store import Row, Store

PAGE_TASKS = 400
PAGE_BYTES = 256 << 10
"""Of outputs and facts as they are stored."""
BAD_SHOWN = 10
"""Items that went wrong, of each fan-out, where not all are asked for."""
FEW_SHOWN = 5
"""In each other state that is worth a look: cancelled, retrying, running."""
_END = 1 << 62
_map = msgspec.msgpack.Decoder(dict[str, object])


class Node(NamedTuple):
    """A task of the definition with the number that it has in every run of it."""

    n: int
    task: Task
    section: Section
    of: str = ""
    """Of an `on_error` task: the task that it is for."""


class RunOf(NamedTuple):
    """A run whose tasks are looked at. `samples`: task to (CPU microseconds, resident bytes), where it runs."""

    run: int
    workflow: Workflow
    section: str = ""
    """The one that is at work, or was at the end."""
    samples: Mapping[str, tuple[int, int]] = {}
    why_queued: Callable[[int], str] = lambda _: ""
    """What a queued node of that number waits for."""
    user_of: Callable[[Workflow, Task], str] = lambda *_: ""
    """As whom a task of a definition runs."""


class Fan(NamedTuple):
    """The items of a fan-out: the first row, how many there are in each state, and what they took together."""

    first: int
    counts: dict[str, int]
    started_us: int | None = None
    ended_us: int | None = None
    cpu_us: int = 0


Sized = tuple[TaskView, int]
"""A view, and the bytes of what it was made of."""


def nodes(workflow: Workflow) -> list[Node]:
    """All tasks and handlers, numbered as `state.Run` numbers them."""
    found = [(task, section, "") for section, tasks in sections(workflow) for task in tasks]
    found += [(handler, Section.ON_ERROR, task.name) for task, _, _ in list(found) for handler in task.on_error]
    return [Node(n, *each) for n, each in enumerate(found)]


def task_pages(store: Store, run: RunOf, *, all_items: bool) -> Iterator[list[TaskView]]:
    """The tasks in the order of the definition, each with its items after it; then the handlers that have begun.

    Without `all_items`: of each fan-out some items that went wrong or are under way.
    """
    page: list[TaskView] = []
    size_bytes = 0
    for view, view_bytes in _Reader(store, run, all_items).views():
        page.append(view)
        size_bytes += view_bytes
        if len(page) >= PAGE_TASKS or size_bytes >= PAGE_BYTES:
            yield page
            page, size_bytes = [], 0
    if page:
        yield page


class Found(NamedTuple):
    """A task of a run, or an item, with the number that it has there."""

    n: int
    view: TaskView


class Look:
    """Single tasks of a run, where not all of them are wanted."""

    def __init__(self, store: Store, run: RunOf) -> None:
        self._store = store
        self._run = run.run
        self._reader = _Reader(store, run, all_items=False)
        self._nodes = {node.task.name: node for node in self._reader.nodes}

    def named(self, task: str) -> Found | None:
        """The task, item or handler of that name; None where the run has none."""
        node = self._nodes.get(task)
        if node is None:
            row = self._store.one_or_none("task_named", self._run, task)
            return None if row is None else self._reader.found(row)
        row = self._store.one_or_none("tasks_between", self._run, node.n, node.n + 1)
        return Found(node.n, self._reader.waiting(node)) if row is None else self._reader.found(row)

    def node(self, task: str) -> Node | None:
        """What the definition has of a task, of an item that of its fan-out."""
        return self._nodes.get(task.partition("[")[0])

    def states(self) -> dict[str, str]:
        """Of the tasks of the definition, those that do not wait; all at once, without what they gave."""
        return dict(self._store.rows("states_of_tasks", self._run, len(self._nodes)))

    def in_state(self, state: TaskState, most: int) -> list[Found]:
        """Tasks, items and handlers in a state, at most so many, in the order in which they came to be."""
        rows = list(self._store.rows("tasks_in_state", self._run, 0, _END, state, most))
        return [found for row in rows if (found := self._reader.found(row))]


class _Reader:
    """One pass over the rows of a run."""

    def __init__(self, store: Store, run: RunOf, all_items: bool) -> None:
        self.store = store
        self.run = run
        self.all_items = all_items
        self.nodes = nodes(run.workflow)
        self.fans = fans(store, run.run)
        self.called: dict[str, list[int]] = {}
        for called, task in store.rows("called_runs", run.run):
            self.called.setdefault(task, []).append(called)

    def views(self) -> Iterator[Sized]:
        tasks = len(self.run.workflow.tasks)
        yield from self._static(self.nodes[:tasks], always=True)
        handlers = self.nodes[tasks:]
        yield from self._static([node for node in handlers if node.section is Section.ON_ERROR])
        outcome = (Section.ON_SUCCESS, Section.ON_FAILURE, Section.ON_CANCEL)
        yield from self._static([node for node in handlers if node.section in outcome])
        if self.run.section in (Section.UNDO, Section.FINALLY):
            yield from self._undoings()
        yield from self._static([node for node in handlers if node.section is Section.FINALLY])

    def found(self, row: Row) -> Found | None:
        """The view of one row, whatever sort of node it is."""
        node = self._node_of(row)
        return None if node is None else Found(row[0], self._view(node, row)[0])

    def waiting(self, node: Node) -> TaskView:
        return self._view(node, None)[0]

    def _node_of(self, row: Row) -> Node | None:
        if row[0] < len(self.nodes):
            return self.nodes[row[0]]
        name = row[1].partition("[")[0]
        for node in self.nodes:
            if node.task.name == name:
                return node._replace(of=name)
            if node.task.undo is not None and node.task.undo.name == name:
                return Node(row[0], node.task.undo, Section.UNDO, node.task.name)
        return None

    def _static(self, of: list[Node], *, always: bool = False) -> Iterator[Sized]:
        """Nodes of the definition, which stand one after the other; handlers only if they have begun."""
        if not of:
            return
        rows = self._rows("tasks_between", of[0].n, of[-1].n + 1)
        row = next(rows, None)
        begun = {node.of for node in of if node.section is Section.ON_ERROR and self._has_row(node.n)}
        for node in of:
            here = row if row is not None and row[0] == node.n else None
            if here is not None:
                row = next(rows, None)
            elif not always and node.section != self.run.section and node.of not in begun:
                continue
            yield self._view(node, here)
            yield from self._items(node)

    def _has_row(self, n: int) -> bool:
        return self.store.one_or_none("task_of_n", self.run.run, n) is not None

    def _items(self, node: Node) -> Iterator[Sized]:
        fan = self.fans.get(node.n)
        if fan is None:
            return
        end = fan.first + sum(fan.counts.values())
        rows = self._rows("tasks_between", fan.first, end) if self.all_items else self._few(fan.first, end)
        item = node._replace(of=node.task.name)
        for row in rows:
            yield self._view(item, row)

    def _few(self, first: int, end: int) -> Iterator[Row]:
        for state, most in (
            (TaskState.FAILED, BAD_SHOWN), (TaskState.CANCELLED, FEW_SHOWN),
            (TaskState.RETRYING, FEW_SHOWN), (TaskState.RUNNING, FEW_SHOWN),
        ):  # fmt: skip
            yield from list(self.store.rows("tasks_in_state", self.run.run, first, end, state, most))

    def _undoings(self) -> Iterator[Sized]:
        """Nodes that the run made itself; what they take back stands in their rows."""
        undo = {f"{node.task.name}.undo": node.task.undo for node in self.nodes if node.task.undo is not None}
        for row in self._rows("undoings", len(self.nodes)):
            task = undo.get(row[1].partition("[")[0])
            if task is not None:
                of = self.store.one("task_of_n", self.run.run, row[13])[0]
                yield self._view(Node(row[0], task, Section.UNDO, of), row)

    def _rows(self, name: str, first: int, end: int | None = None) -> Iterator[Row]:
        """Rows from `first` on, read in pieces."""
        at = first
        while True:
            piece = self._piece(name, at, end)
            yield from piece
            if not piece:
                return
            at = piece[-1][0] + 1

    def _piece(self, name: str, at: int, end: int | None) -> list[Row]:
        piece: list[Row] = []
        size_bytes = 0
        bindings = (self.run.run, at) if end is None else (self.run.run, at, end)
        with closing(self.store.rows(name, *bindings)) as rows:
            for row in rows:
                piece.append(row)
                size_bytes += _row_bytes(row)
                if len(piece) >= PAGE_TASKS or size_bytes >= PAGE_BYTES:
                    break
        return piece

    def _view(self, node: Node, row: Row | None) -> Sized:
        view = planned(node.task, node.section, user_of=partial(self.run.user_of, self.run.workflow))
        if row is None:
            fields: dict[str, object] = {"state": TaskState.WAITING}
        else:
            fields = _fields(row, self.run.samples)
            fields["artifacts"] = self._artifacts(row[0]) if node.task.artifacts else {}
            fields["called_runs"] = self.called.get(row[1], [])
            if row[2] == TaskState.QUEUED:
                fields["why_queued"] = self.run.why_queued(row[0])
            if node.task.repeat is not None:
                fields["pass_number"] = self._pass(row[0], row[5])
            if row[2] == TaskState.RUNNING and isinstance(node.task.kind, Approval):
                fields["choices"] = list(node.task.kind.choices)
        is_item = row is not None and row[15] is not None
        fan = None if is_item else self.fans.get(node.n)
        if is_item:
            fields |= {"fan_out": "", "needs": []}
        if fan is not None:
            fields |= _of_fan(fan, fields["state"])
        fields |= {"of": node.of, "condition": "", "repeat": "", "cache": ""}
        return msgspec.structs.replace(view, **fields), 0 if row is None else _row_bytes(row)

    def _pass(self, n: int, attempts: int) -> int:
        """Which pass the newest attempt is: of those before it that failed there is no pass."""
        done, newest = self.store.one("passes", self.run.run, n)
        return int(done + (attempts > newest))

    def _artifacts(self, n: int) -> dict[str, KeptFile]:
        return {
            name: KeptFile(size_bytes=size_bytes, sha256=sha256)
            for _, name, size_bytes, sha256 in self.store.rows("artifacts_between", self.run.run, n, n + 1)
        }


def _row_bytes(row: Row) -> int:
    return len(row[16] or b"") + len(row[17] or b"") + len(row[4])


def fans(store: Store, run: int) -> dict[int, Fan]:
    """The fan-outs of a run that have been expanded, by number."""
    found: dict[int, Fan] = {}
    for owner, state, count, first, started_us, ended_us, cpu_us in store.rows("item_counts", run):
        known = found.get(owner, Fan(_END, {}))
        found[owner] = Fan(
            min(known.first, first),
            {**known.counts, state: count},
            min((at for at in (known.started_us, started_us) if at is not None), default=None),
            max((at for at in (known.ended_us, ended_us) if at is not None), default=None),
            known.cpu_us + (cpu_us or 0),
        )
    return found


def _of_fan(fan: Fan, state: object) -> dict[str, object]:
    """What a fan-out has from its items."""
    return {
        "items": fan.counts, "started_us": fan.started_us, "cpu_s": fan.cpu_us / 1_000_000 if fan.cpu_us else None,
        "ended_us": fan.ended_us if state in TASK_TERMINAL else None,
    }  # fmt: skip


def _fields(row: Row, samples: Mapping[str, tuple[int, int]]) -> dict[str, object]:
    """What a row says of its task, by the names of TaskView."""
    _, task, state, reason, error, attempts, retry_us, code, signal, started_us, ended_us, cpu_us, max_rss = row[:13]
    key, position, outputs, facts = row[14:18]
    if state == TaskState.RUNNING:
        ended_us = code = signal = None
        cpu_us, max_rss = samples.get(task) or (None, None)
    return {
        "task": task, "state": state, "reason": reason, "error": error, "exit_code": code, "signal": signal,
        "attempts": attempts, "started_us": started_us, "ended_us": ended_us, "retry_us": retry_us,
        "cpu_s": None if cpu_us is None else cpu_us / 1_000_000, "max_rss_bytes": max_rss, "item": key,
        "position": position, "outputs": {} if outputs is None else _map.decode(outputs),
        "values": {} if facts is None else _map.decode(facts),
    }  # fmt: skip


# ---- What has not run -----------------------------------------------------------------------------------------------


def planned(task: Task, section: Section = Section.TASKS, *, user_of: Callable[[Task], str] = lambda _: "") -> TaskView:
    """A task as its definition has it, without a state."""
    return TaskView(
        task=task.name, state="", needs=list(task.needs), attempts_max=task.retry.attempts,
        passes_max=task.repeat.max if task.repeat else 0,
        allowed=task.continue_on_error, kind=str(type(task.kind).__struct_config__.tag), section=section,
        user=user_of(task) if isinstance(task.kind, ProcessKind) else "",
        fan_out=_fan_out(task), condition=task.condition, repeat=_repeat(task),
        cache=_cache(task), trigger_rule="" if task.trigger_rule is TriggerRule.ALL_OK else task.trigger_rule.value,
    )  # fmt: skip


def planned_handlers(workflow: Workflow, *, user_of: Callable[[Task], str] = lambda _: "") -> list[TaskView]:
    """Every task that may run beside the tasks proper, by section, in the order in which they would."""
    found = nodes(workflow)
    handlers = [
        msgspec.structs.replace(planned(node.task, node.section, user_of=user_of), of=node.of)
        for node in found
        if node.section is not Section.TASKS
    ]
    undoings = [
        msgspec.structs.replace(planned(node.task.undo, Section.UNDO, user_of=user_of), of=node.task.name)
        for node in found
        if node.task.undo is not None and node.section in (Section.TASKS, Section.ON_ERROR)
    ]
    order = list(Section)[1:]
    return sorted((*handlers, *undoings), key=lambda view: order.index(Section(view.section)))


def _fan_out(task: Task) -> str:
    fan_out = task.fan_out
    if fan_out is None:
        return ""
    items = fan_out.items
    word = "matrix" if fan_out.variable == "matrix" else "for_each"
    if isinstance(items, (list, tuple)):
        return f"{word}: {len(items)} items"
    return f"{word}: {items if isinstance(items, str) else msgspec.json.encode(items).decode()}"


def _cache(task: Task) -> str:
    return f"{task.cache.key}, at most {span(task.cache.ttl_s)} old" if task.cache else ""


def _repeat(task: Task) -> str:
    repeat = task.repeat
    if repeat is None:
        return ""
    what = f"until {repeat.until}" if repeat.until else f"while {repeat.while_}"
    return f"{what}, at most {repeat.max} times"
