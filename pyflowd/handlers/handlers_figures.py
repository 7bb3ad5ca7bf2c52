"""Requests for what charts are made of: outcomes of runs, tasks by runs, attempts, samples. See `handlers`.

Each turn reads a piece: a workflow may have 200 runs to tell of, a run 10,000 items. It knows nothing of how they are
drawn.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from pyflowd.base.peer import Peer
from pyflowd.control.control import NEXT_TURN
from pyflowd.control.replies import Replies
from pyflowd.errors import NotFound, nearest
from pyflowd.events import RetryDue, StoredEvent
from pyflowd.handlers.handlers_runs import NEAREST_MAX, RUN_MAX, RunHandlers
from pyflowd.handlers.view_tasks import Fan, Node, fans, nodes
from pyflowd.handlers.views import outcome_view
from pyflowd.model.states import TASK_TERMINAL, AttemptState, RunState, Section, TaskState
from pyflowd.model.workflow import Workflow
from pyflowd.protocol.figures import (
    AttemptPage,
    AttemptView,
    GetGrid,
    GetSamples,
    GridCell,
    GridRun,
    GridView,
    ListAttempts,
    ListOutcomes,
    OutcomesPage,
    OutcomesView,
    SamplesView,
)
from pyflowd.protocol.views_runs import RunView
from pyflowd.store.store import Row

RUNS_MAX = 200
"""Of one workflow, in one answer."""
ROWS_A_TURN = 1_500
"""Rows read in a turn: 3 ms."""
CELLS_MAX = 50_000
"""Of one grid: 5 MB."""
POINTS_MAX = 2_000
SLOW = 0.95
"""The quantile of `OutcomesView.slow_us`."""
_END = 1 << 62
_DUE = str(RetryDue.__struct_config__.tag).encode()
_event = msgspec.msgpack.Decoder(StoredEvent)


class FigureHandlers:
    """As `Handlers`: answers when pulled."""

    def __init__(self, of_runs: RunHandlers) -> None:
        self.of_runs = of_runs
        self.store = of_runs.store
        self.workflows = of_runs.workflows
        self.access = of_runs.access
        self.sampler = of_runs.sampler

    # ---- Outcomes

    def outcomes(self, request: ListOutcomes, peer: Peer) -> Replies:
        limit = min(request.limit, RUNS_MAX)
        at_once = max(1, ROWS_A_TURN // limit)
        names = self._named(request)
        for at in range(0, max(1, len(names)), at_once):
            if at:
                yield NEXT_TURN
            sees = self.access.sight(peer).sees  # in each turn anew: what somebody may see may change
            some = [name for name in names[at : at + at_once] if sees(name)]
            yield OutcomesPage(workflows=[self._outcomes(name, limit) for name in some])

    def _named(self, request: ListOutcomes) -> list[str]:
        """The workflows that are asked for, by name, whoever may see them. Raises NotFound, Refused."""
        if request.workflow is not None:
            if self.store.one("newest_run", request.workflow)[0] is None:
                self.workflows.find(request.workflow)
            return [request.workflow]
        known = self.workflows.entries
        return sorted(set(request.workflows) & known.keys() if request.workflows else known)

    def _outcomes(self, workflow: str, limit: int) -> OutcomesView:
        runs = [outcome_view(row) for row in self.store.rows("outcomes", workflow, limit)]
        runs.reverse()
        taken = sorted(
            run.ended_us - run.started_us
            for run in runs
            if run.state == RunState.SUCCEEDED and run.started_us is not None and run.ended_us is not None
        )
        return OutcomesView(
            workflow=workflow, runs=runs,
            usual_us=taken[(len(taken) - 1) // 2] if taken else None,
            slow_us=taken[round((len(taken) - 1) * SLOW)] if taken else None,
        )  # fmt: skip

    # ---- Tasks by runs

    def grid(self, request: GetGrid, _: Peer) -> Replies:
        before = RUN_MAX if request.before is None else request.before
        rows = list(self.store.rows("grid_runs", request.workflow, before, min(request.limit, RUNS_MAX)))
        if not rows and self.store.one("newest_run", request.workflow)[0] is None:
            entry = self.workflows.find(request.workflow)
            yield GridView(workflow=entry.name, tasks=_order([entry.definition]), runs=[])
            return
        runs: list[GridRun] = []
        texts: dict[str, Workflow] = {}
        cells = looked_at = 0
        for row in rows:
            digest = row[8]
            texts.setdefault(digest, self.of_runs.definition_of(digest))
            found, read = self._grid_run(row, texts[digest])
            cells, looked_at = cells + len(found.cells), looked_at + read
            if runs and cells > CELLS_MAX:
                break
            runs.append(found)
            if looked_at > ROWS_A_TURN:
                looked_at = 0
                yield NEXT_TURN
        order = _order([texts[digest] for digest in dict.fromkeys(run.digest for run in runs)], runs)
        yield GridView(workflow=request.workflow, tasks=order, runs=runs[::-1])

    def _grid_run(self, row: Row, workflow: Workflow) -> tuple[GridRun, int]:
        """A run of the grid, and how many rows were read for it."""
        run, digest = int(row[0]), row[8]
        known = nodes(workflow)
        fanned = fans(self.store, run) if any(node.task.fan_out is not None for node in known) else {}
        rows = list(self.store.rows("grid_cells", run, len(known)))
        if any(node.task.undo is not None for node in known):
            rows += self.store.rows("grid_undoings", run, len(known))
        cells = {task.name: GridCell(state=TaskState.WAITING) for task in workflow.tasks}
        cells.update({task: _cell(fields, fanned.get(n)) for n, task, *fields in rows})
        cpu_us, max_rss = self.store.one("used_by_run", run)
        items = sum(sum(fan.counts.values()) for fan in fanned.values())
        made = GridRun(outcome=outcome_view(row[:8]), digest=digest, cpu_us=cpu_us, max_rss_bytes=max_rss, cells=cells)
        return made, 2 * (len(rows) + items) + len(cells)

    # ---- Attempts

    def attempts(self, request: ListAttempts, peer: Peer) -> Replies:
        view = self.of_runs.bare_view(self.of_runs.find_run(request.of))
        known = nodes(self.of_runs.definition_of(view.digest))
        fanned = fans(self.store, view.run)
        spans = self._spans(view, request.task, known, fanned)
        rows: list[Row] = []
        for piece in self._attempt_rows(view.run, spans):
            rows += piece
            yield NEXT_TURN
        dues: dict[str, list[int]] = {}
        if any(row[1] > 1 for row in rows):
            for due in self._dues(view.run):
                if due is None:
                    yield NEXT_TURN
                else:
                    dues.setdefault(due.task, []).append(due.at_us)
        ready = _Ready(view, known, fanned, list(self.store.rows("grid_cells", view.run, len(known))))
        ended = {(row[0], row[1]): row[12] for row in rows}
        rows.sort(key=lambda row: (row[11], row[0], row[1]))
        for at in range(0, max(1, len(rows)), ROWS_A_TURN):
            some = rows[at : at + ROWS_A_TURN]
            yield AttemptPage(
                attempts=[_attempt(row, _queued_us(row, ready, dues, ended.get((row[0], row[1] - 1)))) for row in some]
            )

    def _spans(
        self, view: RunView, task: str | None, known: list[Node], fanned: dict[int, Fan]
    ) -> list[tuple[int, int]]:
        """The numbers of the nodes that are meant, from one up to another. Raises NotFound."""
        if task is None:
            return [(0, _END)]
        for node in known:
            if node.task.name == task:
                fan = fanned.get(node.n)
                items = [(fan.first, fan.first + sum(fan.counts.values()))] if fan else []
                return [(node.n, node.n + 1), *items]
        n = self._number(view, task, known)
        return [(n, n + 1)]

    def _number(self, view: RunView, task: str, known: list[Node]) -> int:
        """Of a task, item or undoing of a run. Raises NotFound."""
        row = self.store.one_or_none("task_named", view.run, task)
        if row is not None:
            return int(row[0])
        names = [node.task.name for node in known]
        if task in names:
            raise NotFound(f"{task} of run {view.run} of {view.workflow} has not begun")
        raise NotFound(f'no task "{task}"{nearest(task, names[:NEAREST_MAX])} in run {view.run} of {view.workflow}')

    def _attempt_rows(self, run: int, spans: list[tuple[int, int]]) -> Iterator[list[Row]]:
        for first, end in spans:
            last = (first, 0)
            while rows := list(self.store.rows("attempts_between", run, *last, end, ROWS_A_TURN)):
                yield rows
                last = rows[-1][0], rows[-1][1]

    def _dues(self, run: int) -> Iterator[RetryDue | None]:
        """Ends of back-offs in the order in which they came; None after each piece that was read."""
        last = 0
        while rows := list(self.store.rows("retries_due", run, last, _DUE, ROWS_A_TURN)):
            for _, _, body in rows:
                event = None if body is None else _event.decode(body)
                if isinstance(event, RetryDue):
                    yield event
            last = rows[-1][0]
            yield None

    # ---- Samples

    def samples(self, request: GetSamples, peer: Peer) -> Replies:
        view = self.of_runs.bare_view(self.of_runs.find_run(request.of))
        n = self._number(view, request.task, nodes(self.of_runs.definition_of(view.digest)))
        times = self.store.one_or_none("attempt_times", view.run, n, request.attempt)
        if times is None:
            which = "attempt" if request.attempt is None else f"attempt {request.attempt}"
            raise NotFound(f"{request.task} of run {view.run} of {view.workflow} has no {which}")
        attempt, state, started_us, ended_us = times
        points: list[tuple[int, int, int]] = list(self.store.rows("samples", view.run, n, attempt))
        now = self.sampler.of_run(view.run).get(request.task) if state == AttemptState.RUNNING else None
        if now is not None and (not points or points[-1][0] < self.sampler.taken_us):
            points.append((self.sampler.taken_us, *now))
        yield SamplesView(
            run=view.run, task=request.task, attempt=attempt, started_us=started_us, ended_us=ended_us,
            points=thinned(points),
        )  # fmt: skip


def thinned(points: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """At most `POINTS_MAX` of them, the first and the last among them."""
    if len(points) <= POINTS_MAX:
        return points
    last = len(points) - 1
    return [points[at * last // (POINTS_MAX - 1)] for at in range(POINTS_MAX)]


def _cell(fields: list[object], fan: Fan | None) -> GridCell:
    state, reason, exit_code, signal, attempts, started_us, ended_us = fields
    if fan is not None:
        started_us, ended_us = fan.started_us, fan.ended_us if state in TASK_TERMINAL else None
    elif state == TaskState.RUNNING:  # what is there besides is of the attempt before
        exit_code = signal = ended_us = None
    return msgspec.convert(
        {
            "state": state, "reason": reason, "exit_code": exit_code, "signal": signal, "attempts": attempts,
            "started_us": started_us, "ended_us": ended_us,
        },
        GridCell,
    )  # fmt: skip


def _order(texts: list[Workflow], runs: Sequence[GridRun] = ()) -> list[str]:
    """Tasks of the first definition, those that only others have, then what else has a cell: handlers."""
    tasks = [task.name for text in texts for task in text.tasks]
    return list(dict.fromkeys([*tasks, *(name for run in runs for name in run.cells)]))


def _attempt(row: Row, queued_us: int | None) -> AttemptView:
    _, attempt, task, _, _, _, state, reason, exit_code, signal, error, started_us, ended_us, cpu_us, max_rss = row
    return AttemptView(
        task=task, attempt=attempt, state=state, reason=reason, exit_code=exit_code, signal=signal, error=error,
        queued_us=queued_us, started_us=started_us, ended_us=ended_us, cpu_us=cpu_us, max_rss_bytes=max_rss,
    )  # fmt: skip


def _queued_us(row: Row, ready: _Ready, dues: dict[str, list[int]], before_us: int | None) -> int | None:
    """Since when an attempt waited for its start; None: it did not, or that is not known. `before_us`: the end of the
    attempt before.
    """
    n, attempt, task, section, owner, position = row[:6]
    started_us: int = row[11]
    since_us: int | None
    if attempt > 1:
        over = dues.get(task, [])
        at = bisect_right(over, started_us)
        since_us = over[at - 1] if at and over[at - 1] >= (before_us or 0) else None
    elif position is not None:
        since_us = ready.of(owner) if section != Section.UNDO and owner is not None else None
    else:
        since_us = ready.of(n)
    return since_us if since_us is not None and since_us < started_us else None


class _End(NamedTuple):
    is_settled: bool
    ended_us: int | None


class _Ready:
    """When all that a node needs had ended, from the ends of the nodes of one run."""

    def __init__(self, view: RunView, known: list[Node], fanned: dict[int, Fan], rows: list[Row]) -> None:
        self._started_us = view.started_us
        self._nodes = known
        self._numbers = {node.task.name: node.n for node in known}
        self._ends: dict[int, _End] = {}
        for n, _, state, *_, ended_us in rows:
            fan = fanned.get(n)
            self._ends[n] = _End(state in TASK_TERMINAL, fan.ended_us if fan else ended_us)
        self._known: dict[int, int | None] = {}

    def of(self, n: int) -> int | None:
        """None: it waits for something still, or nothing tells."""
        if n >= len(self._nodes):
            return None
        todo = [n]
        while todo:  # not by recursion: a chain may have thousands of tasks
            here = todo[-1]
            open_needs = [need for need in self._needs(here) if need not in self._known and self._is_by_needs(need)]
            if here in self._known or not open_needs:
                todo.pop()
                self._known.setdefault(here, self._of(here))
            else:
                todo += open_needs
        return self._known[n]

    def _needs(self, n: int) -> list[int]:
        node = self._nodes[n]
        names = [node.of] if node.section is Section.ON_ERROR else node.task.needs
        return [self._numbers[name] for name in names if name in self._numbers]

    def _is_by_needs(self, n: int) -> bool:
        """Whether it became terminal without an attempt: as soon as what it needs had ended."""
        end = self._ends.get(n)
        return end is not None and end.is_settled and end.ended_us is None

    def _of(self, n: int) -> int | None:
        needs = self._needs(n)
        if not needs:
            return self._started_us if self._nodes[n].section is Section.TASKS else None
        ends = [self._known.get(need) if self._is_by_needs(need) else self._ended_us(need) for need in needs]
        return None if None in ends else max(end for end in ends if end is not None)

    def _ended_us(self, n: int) -> int | None:
        end = self._ends.get(n)
        return end.ended_us if end is not None and end.is_settled else None
