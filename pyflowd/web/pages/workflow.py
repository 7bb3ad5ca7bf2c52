"""One workflow: how it stands in a sentence, what starts it, what is wrong with its file, what can be done. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from msgspec import Struct

from pyflowd.model.problem import Problem, Severity
from pyflowd.protocol.figures import GridView, OutcomeView
from pyflowd.protocol.views_runs import RunView
from pyflowd.protocol.views_workflows import ChangeView, DefinitionView, NextView, WorkflowView
from pyflowd.render.layout import clean, zone_of
from pyflowd.web.drawing import link_to
from pyflowd.web.marks import mark
from pyflowd.web.pages import acts
from pyflowd.web.pages.acts import Act
from pyflowd.web.pages.schedule_words import in_words
from pyflowd.web.pages.words import capital, listed, why
from pyflowd.web.pages.workflow_rows import label_texts
from pyflowd.web.times import Times, When, counted

PROBLEMS_SHOWN = 10


class Wrong(Struct, frozen=True, kw_only=True):
    place: str
    """`night.yaml:4:19`."""
    href: str
    """The line, in the editor."""
    message: str
    fix: str
    css: str
    icon: str


class Refusal(Struct, frozen=True, kw_only=True):
    """A text that is not in force."""

    heading: str
    wrong: list[Wrong]
    left_out: int
    effect: str
    """What is in force instead."""


class Outcome(Struct, frozen=True, kw_only=True):
    state: str
    word: str
    """`Failed 14 min ago`."""
    href: str
    failed: str = ""
    """`Run 45 failed: upload: exit code 11`; empty: it did not fail."""


class Page(Struct, frozen=True, kw_only=True):
    name: str
    state: str
    tag: str
    """`active`, `paused by anna`."""
    description: str
    last: Outcome | None
    starts: str
    """What starts it, as a sentence without its end: `Every day at 02:30 Europe/Berlin`."""
    next: When | None
    next_note: str
    """Why there is no next slot; empty: there is one, or none is meant to be."""
    successes: str
    triggers: list[str]
    refusal: Refusal | None
    digest: str
    since: When | None
    do: list[Act]
    no_right: str
    """Why whoever looks may not run it; empty: they may."""
    edit_href: str
    users: str
    labels: list[str]


def page(
    view: WorkflowView, definition: DefinitionView | None, grid: GridView | None, coming: Sequence[NextView],
    none: str, changes: Sequence[ChangeView], times: Times, *, no_right: str = "",
) -> Page:  # fmt: skip
    """`definition`: in force, if one is. `none`: why nothing comes. `no_right`: why whoever looks may not act."""
    paused = view.state == "paused"
    since = next((change.at_us for change in changes if change.in_force), None)
    return Page(
        name=view.workflow, state=view.state, tag=tag(view), description=clean(view.description).rstrip("."),
        last=_last(view, grid, times), starts=starts(view) if definition else "Nothing starts it",
        next=_next(coming, times),
        next_note=_none(none), successes=successes(grid),
        triggers=[capital(clean(event)) for event in view.events], refusal=refusal(view, definition),
        digest=definition.digest[:8] if definition else "", since=times.when(since),
        do=[acts.resume(view.workflow) if paused else acts.pause(view.workflow)] if definition and not no_right else [],
        no_right=no_right,
        edit_href=link_to("workflows", view.workflow, "edit"),
        users=listed(definition.users) if definition and definition.users else "",
        labels=label_texts(view),
    )  # fmt: skip


def tag(view: WorkflowView) -> str:
    if view.state == "paused" and view.paused_by:
        return f"paused by {clean(view.paused_by)}"
    if view.disabled and view.state == "active":
        return "schedules off"
    return view.state


def starts(view: WorkflowView) -> str:
    """What starts it by itself; by hand is always possible and said only where it is all."""
    said = [in_words(text) for text in view.schedules[:3]]
    if len(view.schedules) > 3:
        said.append(f"{len(view.schedules) - 3} more schedules")
    if view.events:
        said.append(counted(len(view.events), "trigger") if said else f"by {counted(len(view.events), 'trigger')}")
    return capital(listed(said)) if said else "Starts by hand only"


def _next(coming: Sequence[NextView], times: Times) -> When | None:
    """In the zone of its schedule, with the host's in brackets where that is another."""
    if not coming:
        return None
    slot = coming[0]
    here = times.when(slot.scheduled_us)
    zone = zone_of(slot.timezone) if slot.timezone else times.zone
    there = Times(zone, times.now_us).when(slot.scheduled_us) if isinstance(zone, ZoneInfo) else here
    if here is None or there is None or there.text == here.text:
        return here
    return there._replace(text=f"{there.text} ({times.local(slot.scheduled_us):%H:%M %Z})")


def _none(none: str) -> str:
    return {
        "paused": "nothing comes while it is paused",
        "disabled": "its schedules are off",
        "unscheduled": "",
    }.get(none, none)


def _last(view: WorkflowView, grid: GridView | None, times: Times) -> Outcome | None:
    run: RunView | OutcomeView | None = view.last
    if grid is not None and grid.runs and (run is None or grid.runs[-1].outcome.run > run.run):
        run = grid.runs[-1].outcome
    if run is None:
        return None
    at = run.ended_us or run.started_us or run.created_us
    reason = why(view.last) if view.last is not None and view.last.run == run.run else ""
    return Outcome(
        state=run.state, word=f"{mark(run.state).word} {times.relative(at)}", href=link_to("runs", run.run),
        failed=f"Run {run.run} failed" + (f": {reason}" if reason else "") if run.state == "failed" else "",
    )  # fmt: skip


def successes(grid: GridView | None) -> str:
    """`28 of the last 30 runs succeeded`; empty: none has ended."""
    if grid is None:
        return ""
    counts = Counter(run.outcome.state for run in grid.runs)
    ended = sum(counts[state] for state in ("succeeded", "failed", "cancelled"))
    if not ended:
        return ""
    if ended == 1:
        return f"Its only run {'succeeded' if counts['succeeded'] else 'did not succeed'}"
    if not counts["succeeded"]:
        return f"None of the last {ended} runs succeeded"
    if counts["succeeded"] == ended:
        return f"All of the last {ended} runs succeeded"
    return f"{counts['succeeded']} of the last {ended} runs succeeded"


def refusal(view: WorkflowView, definition: DefinitionView | None) -> Refusal | None:
    errors = [problem for problem in view.problems if problem.severity is Severity.ERROR]
    if not errors:
        return None
    return Refusal(
        heading="The newest text of its file is refused" if definition else "Its file is refused",
        wrong=[_wrong(view.workflow, problem) for problem in errors[:PROBLEMS_SHOWN]],
        left_out=max(0, len(errors) - PROBLEMS_SHOWN),
        effect=f"Version {definition.digest[:8]} stays in force: runs go on with it until the file is good again."
        if definition
        else "There has been no good text yet: nothing starts it.",
    )


def _wrong(name: str, problem: Problem) -> Wrong:
    found = mark(problem.severity.value)
    place = f"{clean(problem.file)}:{problem.line}:{problem.column}" if problem.line else clean(problem.file)
    return Wrong(
        place=place, href=link_to("workflows", name, "edit") + (f"#L{problem.line}" if problem.line else ""),
        message=clean(problem.message), fix=clean(problem.fix), css=found.css, icon=found.icon,
    )  # fmt: skip
