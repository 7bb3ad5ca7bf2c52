"""What charts and metrics are made of: outcomes, runs against tasks, attempts, samples, counts."""

from __future__ import annotations

from msgspec import Struct, field

from pyflowd.protocol.words import Integer, Limit


class ListOutcomes(Struct, frozen=True, kw_only=True, tag="list_outcomes"):
    """The newest runs of each workflow in short -> OutcomesPage..."""

    workflow: str | None = None
    limit: Limit = 30
    """Runs of each workflow; 200 at most are told."""
    workflows: list[str] = field(default_factory=list)
    """Only of these, where `workflow` names none; empty: of all. One that there is not is left out."""


class GetGrid(Struct, frozen=True, kw_only=True, tag="get_grid"):
    """Tasks by runs of a workflow -> GridView."""

    workflow: str
    limit: Limit = 30
    """Runs; 200 at most are told, fewer where they have more than 50,000 cells in all."""
    before: Integer | None = None
    """Only runs with a lower number."""


class ListAttempts(Struct, frozen=True, kw_only=True, tag="list_attempts"):
    """Every attempt of a run in the order of their starts -> AttemptPage..."""

    of: str
    """As of GetRun."""
    task: str | None = None
    """Only of this task with all its items, or of this item."""


class GetSamples(Struct, frozen=True, kw_only=True, tag="get_samples"):
    """CPU and memory of one attempt over time -> SamplesView."""

    of: str
    task: str
    attempt: Integer | None = None
    """None: the newest."""


class GetTimeline(Struct, frozen=True, kw_only=True, tag="get_timeline"):
    """What some workflows did and will do, as a timeline draws it -> TimelineView."""

    workflows: list[str]
    """A lane for each that there is, in this order; 50 at most."""
    since_us: Integer
    until_us: Integer
    """Coming slots up to here."""
    band_s: Integer = 600
    """What is dense is counted in spans of this length, from `since_us` on; a minute at least."""


class GetMetrics(Struct, frozen=True, kw_only=True, tag="get_metrics"):
    """Counters and gauges of this daemon's life -> MetricsView."""


class OutcomeView(Struct, frozen=True, kw_only=True):
    run: int
    state: str
    reason: str | None = None
    trigger: str = ""
    created_us: int = 0
    started_us: int | None = None
    ended_us: int | None = None
    scheduled_us: int | None = None


class OutcomesView(Struct, frozen=True, kw_only=True):
    workflow: str
    runs: list[OutcomeView]
    """Oldest first."""
    usual_us: int | None = None
    """Median duration of those that succeeded; None: none has."""
    slow_us: int | None = None
    """Their 95th percentile."""


class OutcomesPage(Struct, frozen=True, kw_only=True, tag="outcomes"):
    workflows: list[OutcomesView]


class BandView(Struct, frozen=True, kw_only=True):
    """Runs of one state that began in one span, or slots that were skipped in it."""

    at_us: int
    """Its begin."""
    count: int
    state: str = ""
    run: int | None = None
    """The newest of them."""


class SkippedView(Struct, frozen=True, kw_only=True):
    scheduled_us: int
    trigger: str
    reason: str | None = None
    run: int | None = None
    detail: str = ""


class LaneView(Struct, frozen=True, kw_only=True):
    workflow: str
    runs: list[OutcomeView]
    """Oldest first: all that have ended since then or live; where they are many only those that failed or live."""
    bands: list[BandView] = field(default_factory=list)
    """Where they are many: all of them."""
    skipped: list[SkippedView] = field(default_factory=list)
    """Oldest first; none where they are many."""
    skipped_bands: list[BandView] = field(default_factory=list)
    coming: list[tuple[int, int]] = field(default_factory=list)
    """(nominal instant, longest jitter after it)."""
    more_coming: bool = False
    """They are the first of many."""


class TimelineView(Struct, frozen=True, kw_only=True, tag="timeline"):
    since_us: int
    now_us: int
    until_us: int
    band_us: int
    lanes: list[LaneView]


class GridCell(Struct, frozen=True, kw_only=True):
    """One task in one run: its newest attempt, of a fan-out the whole."""

    state: str
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    attempts: int = 0
    started_us: int | None = None
    ended_us: int | None = None


class GridRun(Struct, frozen=True, kw_only=True):
    outcome: OutcomeView
    digest: str
    """Of the text that the run is bound to (rule D1)."""
    cpu_us: int | None = None
    """Sum over all attempts whose figures are known."""
    max_rss_bytes: int | None = None
    """The greatest of any attempt."""
    cells: dict[str, GridCell] = field(default_factory=dict)
    """Task to its cell, in the run's own definition; items and handlers that have not begun are left out."""


class GridView(Struct, frozen=True, kw_only=True, tag="grid"):
    workflow: str
    tasks: list[str]
    """Of the newest run's definition in its order, then those that only older runs have, then handlers."""
    runs: list[GridRun]
    """Oldest first."""


class AttemptView(Struct, frozen=True, kw_only=True):
    task: str
    attempt: int
    state: str
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    error: str = ""
    queued_us: int | None = None
    """Of a first attempt: when all that the task needs had ended, if it waited then; of a later one when the back-off
    was over."""
    started_us: int
    ended_us: int | None = None
    cpu_us: int | None = None
    max_rss_bytes: int | None = None


class AttemptPage(Struct, frozen=True, kw_only=True, tag="attempts"):
    attempts: list[AttemptView]


class SamplesView(Struct, frozen=True, kw_only=True, tag="samples"):
    run: int
    task: str
    attempt: int
    started_us: int
    ended_us: int | None
    points: list[tuple[int, int, int]]
    """(wall clock in us, CPU time used so far in us, resident bytes), ascending; 2,000 at most."""


class Counter(Struct, frozen=True, kw_only=True):
    name: str
    """As Prometheus has it, without the `_total`: `pyflow_runs`."""
    labels: dict[str, str] = field(default_factory=dict)
    value: float = 0


class Histogram(Struct, frozen=True, kw_only=True):
    name: str
    labels: dict[str, str] = field(default_factory=dict)
    bounds: list[float] = field(default_factory=list)
    """Upper bounds of the buckets in seconds, ascending; one more for all above."""
    counts: list[int] = field(default_factory=list)
    """In each bucket, not summed; one more than `bounds`."""
    sum: float = 0


class MetricsView(Struct, frozen=True, kw_only=True, tag="metrics"):
    counters: list[Counter]
    gauges: list[Counter]
    histograms: list[Histogram]
    help: dict[str, str]
    """Name to one line for people."""
