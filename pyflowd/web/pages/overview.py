"""The host at a glance: what needs a person, what runs, what comes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from pyflowd.protocol.figures import OutcomesView, TimelineView
from pyflowd.protocol.views_host import HostView
from pyflowd.protocol.views_runs import RunView
from pyflowd.protocol.views_workflows import WorkflowView
from pyflowd.render.layout import clean
from pyflowd.render.render_runs import counts_text
from pyflowd.web.drawing import link_to
from pyflowd.web.pages import attention
from pyflowd.web.pages.attention import Facts, Need
from pyflowd.web.pages.timeline import Timeline, timeline
from pyflowd.web.pages.words import several, stopping, waits_for
from pyflowd.web.pages.workflow_rows import Sort, WorkflowRow, counts, idle_words, ordered, workflow_row
from pyflowd.web.times import Times, When, counted, length

LANES = 12
ROWS = 20
RUNNING = 12
NEXT = 6


class Piece(Struct, frozen=True):
    text: str
    strong: bool = False


class Meter(Struct, frozen=True, kw_only=True):
    """Elapsed against usual."""

    css: str
    width: str
    usual_x: str
    label: str


class Running(Struct, frozen=True, kw_only=True):
    run: int
    name: str
    path: str
    doing: str
    state: str
    word: str
    took: str
    started_us: int | None
    """While it runs: a module counts from here."""
    usual: str
    meter: Meter | None


class Coming(Struct, frozen=True, kw_only=True):
    at: When
    name: str
    path: str
    note: str


class Overview(Struct, frozen=True, kw_only=True):
    heading: str
    lede: list[Piece]
    needs: list[Need]
    more_needs: int
    empty: bool
    """There is no workflow, and nothing is wrong."""
    folder: str
    """Of workflows."""
    timeline: Timeline
    running: list[Running]
    running_note: str
    more_running: int
    next: list[Coming]
    rows: list[WorkflowRow]
    total: int
    counted: str
    foot: str


def lanes(views: Sequence[WorkflowView]) -> list[WorkflowView]:
    """Whose lane is drawn: what has a problem first, then by next slot."""
    return [view for view in ordered(views, Sort.ATTENTION) if view.state != "broken"][:LANES]


def rows(views: Sequence[WorkflowView]) -> list[WorkflowView]:
    return ordered(views, Sort.ATTENTION)[:ROWS]


def overview(facts: Facts, line: TimelineView, times: Times, may_operate: Callable[[str], bool]) -> Overview:
    host, views = facts.host, facts.workflows
    found = attention.needs(facts, times, may_operate)
    asked = {view.run: view.task for view in host.approvals}
    live = [*host.running, *host.queued]
    shown = lanes(views)
    return Overview(
        heading=attention.heading(found, workflows=len(views), running=len(host.running)),
        lede=lede(host, times), needs=found[: attention.SHOWN], more_needs=max(0, len(found) - attention.SHOWN),
        empty=not views and not found and not live, folder=clean(facts.folder),
        timeline=timeline(
            line, times, approvals=asked, idle={view.workflow: idle_words(view) for view in shown},
            more=sum(view.state != "broken" for view in views) - len(shown),
        ),
        running=[_running(run, facts.outcomes.get(run.workflow), asked, times) for run in live[:RUNNING]],
        running_note=_running_note(host), more_running=max(0, len(live) - RUNNING),
        next=[_coming(view, at_us, times) for view, at_us in _soonest(views)],
        rows=[workflow_row(view, facts.outcomes.get(view.workflow), times) for view in rows(views)],
        total=len(views), counted=", ".join(f"{count:,} {state}" for state, count in counts(views).items()),
        foot=foot(host, times),
    )  # fmt: skip


def lede(host: HostView, times: Times) -> list[Piece]:
    """What became of the last day's runs, and what comes next."""
    ended = host.succeeded_24h + host.failed_24h
    told: list[Piece] = []
    if ended:
        told.append(Piece(f"In the last 24 h {host.succeeded_24h:,} of {counted(ended, 'run')} succeeded, "))
        told.append(Piece(f"{host.failed_24h:,} failed", strong=True) if host.failed_24h else Piece("none failed"))
        told.append(Piece("."))
    else:
        told.append(Piece("Nothing has ended in the last 24 h."))
    if host.running or host.queued:
        queued = f", {len(host.queued)} queued" if host.queued else ""
        told.append(Piece(f" {len(host.running)} running now{queued}."))
    if host.next and (when := times.slot(host.next[0].scheduled_us)):
        told += [Piece(" Next: "), Piece(host.next[0].workflow, strong=True), Piece(f" {when.text}, {when.relative}.")]
    else:
        told.append(Piece(" No slot is coming."))
    return told


def foot(host: HostView, times: Times) -> str:
    """Facts about the host, in one line."""
    up = times.took(host.started_us, None)
    backfills = f" · {counted(len(host.backfills), 'backfill')} under way" if host.backfills else ""
    return f"pyflowd {host.version}, up {up}, process {host.pid}{backfills}"


# ---- Running now ----------------------------------------------------------------------------------------------------


def _running_note(host: HostView) -> str:
    tasks = sum(run.counts.get("running", 0) for run in host.running)
    parts = [counted(len(host.running), "run"), f"{counted(tasks, 'task')} at work"]
    if host.queued:
        parts.append(f"{len(host.queued)} queued")
    return ", ".join(parts) if host.running or host.queued else ""


def _running(run: RunView, known: OutcomesView | None, asked: dict[int, str], times: Times) -> Running:
    waits = run.run in asked
    state = "approval" if waits else run.state
    usual, meter = ("waits for a person", None) if waits else _usual(run, known, times)
    if run.state == "queued":
        usual = f"waits for {waits_for(run)}" if waits_for(run) else ""
    return Running(
        run=run.run, name=run.workflow, path=link_to("runs", run.run), doing=_doing(run), state=state,
        word="Waits for approval" if waits else stopping(run), took=times.took(run.started_us, run.ended_us),
        started_us=run.started_us, usual=usual, meter=meter,
    )  # fmt: skip


def _doing(run: RunView) -> str:
    """`fetch, 3 of 7 tasks done`."""
    at_work = ", ".join(clean(name) for name in run.running[:2]) + ("…" if len(run.running) > 2 else "")
    done = sum(count for state, count in run.counts.items() if state in ("succeeded", "skipped", "failed"))
    if run.section:
        return f"{run.section}: {at_work}" if at_work else run.section
    of = f"{done} of {counted(run.tasks_total, 'task')} done"
    retrying = f", {run.counts['retrying']} retrying" if run.counts.get("retrying") else ""
    return (f"{at_work}, {of}" if at_work else of) + retrying if run.counts else counts_text(run)


def _usual(run: RunView, known: OutcomesView | None, times: Times) -> tuple[str, Meter | None]:
    """Words and picture; no picture where nothing is known."""
    if known is None or known.usual_us is None or run.started_us is None:
        return ("no success to compare with" if run.started_us is not None else "", None)
    elapsed, usual = times.now_us - run.started_us, max(1, known.usual_us)
    late = attention.is_late(run, known, times.now_us)
    usually = f"usually {length(known.usual_us)}"
    words = f"late: {elapsed // usual} times the usual {length(known.usual_us)}" if late else usually
    scale = max(elapsed * 1.08, usual * 1.6)
    return words, Meter(
        css="s-retry" if late else "s-run", width=f"{100 * elapsed / scale:.1f}%",
        usual_x=f"{100 * usual / scale:.1f}%",
        label=f"{length(elapsed)} of a usual {length(known.usual_us)}" + (": late" if late else ""),
    )  # fmt: skip


# ---- Next -----------------------------------------------------------------------------------------------------------


def _soonest(views: Sequence[WorkflowView]) -> list[tuple[WorkflowView, int]]:
    """Each workflow's next slot, soonest first."""
    found = [(view, view.next_us) for view in views if view.next_us is not None]
    return sorted(found, key=lambda pair: (pair[1], pair[0].workflow))[:NEXT]


def _coming(view: WorkflowView, at_us: int, times: Times) -> Coming:
    at = times.slot(at_us)
    assert at is not None
    note = f"{several(view.live_runs, 'run')} of it live" if view.live_runs else ""
    return Coming(at=at, name=view.workflow, path=link_to("workflows", view.workflow), note=note)
