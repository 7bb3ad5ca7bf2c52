"""Past and present runs, newest first, fifty to a page: rows, filters, the way to older ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from pyflowd.clock import US
from pyflowd.protocol.views_runs import RunView
from pyflowd.render.layout import clean
from pyflowd.web.drawing import link_to
from pyflowd.web.numbers import whole
from pyflowd.web.pages.filters import Chip, chips
from pyflowd.web.pages.words import capital, several, stopping, waits_for, why
from pyflowd.web.times import Times, When

PAGE = 50
STATES = ("queued", "running", "succeeded", "failed", "cancelled")
SINCE = {"1h": 3600, "24h": 86_400, "7d": 7 * 86_400, "30d": 30 * 86_400}
"""Words of the filter to seconds."""


class Asked(Struct, frozen=True, kw_only=True):
    workflow: str = ""
    state: str = ""
    since: str = ""
    before: int | None = None


class RunRow(Struct, frozen=True, kw_only=True):
    run: int
    path: str
    workflow: str
    workflow_path: str
    state: str
    word: str
    """In place of the state's own; empty: that."""
    why: str
    trigger: str
    who: str
    slot: When | None
    begun: When | None
    took: str
    since_us: int | None
    """While it runs."""
    seen: str


class Runs(Struct, frozen=True, kw_only=True):
    heading: str
    asked: Asked
    chips: list[Chip]
    found: str
    rows: list[RunRow]
    older: str
    """Address of the page after; empty: there are none."""
    newest: str
    """Address of the first page; empty: this is it."""
    live: bool
    """It is the first page, which changes by itself."""


def asked(query: Mapping[str, str]) -> Asked:
    return Asked(
        workflow=query.get("workflow", "").strip(), state=query.get("state", ""), since=query.get("since", ""),
        before=whole(query.get("before", "")),
    )  # fmt: skip


def since_us(wish: Asked, now_us: int) -> int | None:
    seconds = SINCE.get(wish.since)
    return None if seconds is None else now_us - seconds * US


def runs(views: Sequence[RunView], wish: Asked, times: Times) -> Runs:
    """`views`: one more than a page, where there are more."""
    shown = views[:PAGE]
    kept = {"workflow": wish.workflow, "state": wish.state, "since": wish.since}
    more = len(views) > PAGE
    return Runs(
        heading=heading(shown, wish, more), asked=wish,
        chips=chips("runs", kept, {"workflow": "of", "state": "", "since": "of the last"}),
        found=_found(shown, wish, more), rows=[run_row(view, times) for view in shown],
        older=link_to("runs", **kept, before=shown[-1].run) if more else "",
        newest=link_to("runs", **kept) if wish.before is not None else "", live=wish.before is None,
    )  # fmt: skip


def heading(shown: Sequence[RunView], wish: Asked, more: bool) -> str:
    """One sentence about what is shown."""
    of = f" of {wish.workflow}" if wish.workflow else ""
    state = f"{wish.state} " if wish.state else ""
    if not shown:
        return f"No {state}run{of}" + (f" before run {wish.before}" if wish.before is not None else "")
    if wish.before is not None:
        return capital(f"{state}runs{of} before run {wish.before}")
    if wish.state:
        return capital(f"the newest {state}runs{of}" if more else f"{several(len(shown), state + 'run')}{of}")
    live = sum(view.ended_us is None for view in shown)
    at_work = f"{several(live, 'run')}{of} at work" if live else f"No run{of} at work"
    ended = next((view for view in shown if view.ended_us is not None), None)
    return capital(at_work) + (f", the newest to end {ended.state}" if ended else "")


def _found(shown: Sequence[RunView], wish: Asked, more: bool) -> str:
    if not shown:
        return "none"
    if not more and wish.before is None:
        return several(len(shown), "run")
    return f"runs {shown[-1].run} to {shown[0].run}"


def run_row(view: RunView, times: Times) -> RunRow:
    slot = times.slot(view.scheduled_us)
    return RunRow(
        run=view.run, path=link_to("runs", view.run), workflow=view.workflow,
        workflow_path=link_to("workflows", view.workflow), state=view.state,
        word=stopping(view), why=_why(view),
        trigger=started_by(view), who=clean(view.requested_by) if view.scheduled_us is None else "", slot=slot,
        begun=times.when(view.started_us or view.created_us, seconds=True),
        took=times.took(view.started_us, view.ended_us),
        since_us=view.started_us if view.ended_us is None else None,
        seen=f"seen by {clean(view.seen_by)}" if view.seen_us is not None else "",
    )  # fmt: skip


def _why(view: RunView) -> str:
    if view.state == "queued":
        return f"waits for {waits_for(view)}" if waits_for(view) else ""
    return why(view) if view.state in ("failed", "cancelled") else ""


def started_by(view: RunView) -> str:
    """`manual`, `rerun of run 7`, `called by run 9`, the name of the trigger."""
    if view.parent is not None:
        return f"called by run {view.parent}"
    if view.rerun_of is not None:
        return f"rerun of run {view.rerun_of}"
    return (view.trigger or "manual") + (f", backfill {view.backfill}" if view.backfill is not None else "")
