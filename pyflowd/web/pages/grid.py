"""Tasks by runs: a column for each run with its duration, a row for each task, an icon in each cell. Pure."""

from __future__ import annotations

from msgspec import Struct

from pyflowd.protocol.figures import GridCell, GridRun, GridView
from pyflowd.render.render_runs import reason_text
from pyflowd.web.drawing import link_to
from pyflowd.web.marks import Mark, mark
from pyflowd.web.times import Times, counted, length

PHONE_RUNS = 10
"""What a phone shows of them."""
BAR_PX = 44.0
BASE_PX = 56.0
LEAST_PX = 2.0
ROWS_MAX = 200
DATES_APART = 5
"""Columns between two dates at the foot."""


class Cell(Struct, frozen=True, kw_only=True):
    mark: Mark | None
    """None: the run has no such task."""
    title: str = ""


class Column(Struct, frozen=True, kw_only=True):
    run: int
    href: str
    title: str
    mark: Mark
    older: bool
    """Not on a phone."""
    hot: bool
    """The newest, where it failed."""
    bar_y: float
    bar_height: float
    date: str


class Row(Struct, frozen=True, kw_only=True):
    task: str
    href: str
    cells: list[Cell]


class Grid(Struct, frozen=True, kw_only=True):
    columns: list[Column]
    rows: list[Row]
    legend: str
    legend_short: str
    left_out: int
    """Tasks beyond `ROWS_MAX`."""
    older_href: str
    """Runs before these; empty: there are none, as far as is known."""
    all_href: str


def grid(view: GridView, times: Times, limit: int) -> Grid:
    """`limit`: how many runs were asked for."""
    slowest = max((_took_us(run, times) for run in view.runs), default=0)
    columns = [_column(run, n, view, times, slowest) for n, run in enumerate(view.runs)]
    newest = view.runs[-1].outcome.run if view.runs else 0
    rows = [
        Row(
            task=task,
            href=link_to("runs", newest, task=task),
            cells=[_cell(run.cells.get(task), times) for run in view.runs],
        )
        for task in _ordered(view)[:ROWS_MAX]
    ]
    more = len(view.runs) >= limit
    return Grid(
        columns=columns, rows=rows, legend=f"{counted(len(columns), 'run')}, bar height is duration",
        legend_short=counted(min(len(columns), PHONE_RUNS), "run"), left_out=max(0, len(view.tasks) - ROWS_MAX),
        older_href=link_to("workflows", view.workflow, before=view.runs[0].outcome.run) + "#runs" if more else "",
        all_href=link_to("runs", workflow=view.workflow),
    )  # fmt: skip


def _ordered(view: GridView) -> list[str]:
    """In a long list those first that went wrong, in any of the runs."""
    if len(view.tasks) <= ROWS_MAX:
        return view.tasks
    bad = {
        task
        for run in view.runs
        for task, cell in run.cells.items()
        if cell.state not in ("succeeded", "skipped", "waiting")
    }
    return sorted(view.tasks, key=lambda task: task not in bad)


def _took_us(run: GridRun, times: Times) -> int:
    started, ended = run.outcome.started_us, run.outcome.ended_us
    return 0 if started is None else max(0, (times.now_us if ended is None else ended) - started)


def _column(run: GridRun, n: int, view: GridView, times: Times, slowest: int) -> Column:
    outcome, last = run.outcome, len(view.runs) - 1
    found = mark(outcome.state)
    took = _took_us(run, times)
    height = max(LEAST_PX, round(BAR_PX * took / slowest, 1)) if slowest else LEAST_PX
    when = times.when(outcome.scheduled_us or outcome.created_us)
    return Column(
        run=outcome.run, href=link_to("runs", outcome.run),
        title=f"Run {outcome.run}, {when.text if when else ''}: {found.word}" + (f", {length(took)}" if took else ""),
        mark=found, older=n < len(view.runs) - PHONE_RUNS, hot=n == last and outcome.state == "failed",
        bar_y=BASE_PX - height, bar_height=height, date=_date(n, view, times),
    )  # fmt: skip


def _date(n: int, view: GridView, times: Times) -> str:
    """Under some columns, counted from the newest; `Mon 3 Nov` would not fit: day and month."""
    last = len(view.runs) - 1
    if (last - n) % DATES_APART:
        return ""
    at = times.local(view.runs[n].outcome.scheduled_us or view.runs[n].outcome.created_us)
    older = n - DATES_APART
    if older >= 0:
        before = times.local(view.runs[older].outcome.scheduled_us or view.runs[older].outcome.created_us)
        if before.date() == at.date():
            return f"{at:%H:%M}"
    return f"{at.day} {at:%b}"


def _cell(cell: GridCell | None, times: Times) -> Cell:
    if cell is None:
        return Cell(mark=None)
    found = mark(cell.state)
    told = [found.word]
    if cell.exit_code and cell.state == "failed":
        told.append(f"exit {cell.exit_code}")
    elif cell.reason and cell.state not in ("succeeded", "upstream_failed"):
        told.append(reason_text(cell.reason))
    if took := times.took(cell.started_us, cell.ended_us):
        told.append(took)
    if cell.attempts > 1:
        told.append(f"{cell.attempts} attempts")
    return Cell(mark=found, title=", ".join(told))
