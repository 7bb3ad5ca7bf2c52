"""Workflows as rows of a table: state, last run, usual time, next slot; their order, and how they are found. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from pyflowd.model.problem import Problem, Severity
from pyflowd.protocol.figures import OutcomesView
from pyflowd.protocol.views_workflows import WorkflowView
from pyflowd.render.layout import clean
from pyflowd.web.drawing import link_to
from pyflowd.web.pages.strips import Strip, strip
from pyflowd.web.times import Times, When, length

_FAR_US = 1 << 62


class Sort(StrEnum):
    ATTENTION = "attention"
    """What has a problem first, then what lives, then by next slot."""
    NAME = "name"
    NEXT = "next"
    LAST = "last"


class WorkflowRow(Struct, frozen=True, kw_only=True):
    name: str
    path: str
    about: str
    """Its description, on one line."""
    state: str
    """`active`, `paused`, `stale`, `broken`, `disabled`."""
    tag: str
    """What is to be said of it, if it is not simply active: `paused by anna`, `stale: line 12`."""
    labels: list[tuple[str, str]]
    """`team=ops`, and the list of workflows that have it."""
    strip: Strip
    last_state: str
    """Of the last run, or of what it waits for; empty: it never ran."""
    last_word: str
    last_path: str
    last: When | None
    usual: str
    next: When | None
    next_word: str
    """Where no slot comes: what starts it, or why nothing does."""
    problem: str
    """Place and reason of the first error of its newest text."""


def workflow_row(view: WorkflowView, outcomes: OutcomesView | None, times: Times) -> WorkflowRow:
    state, word, when = _last(view, times)
    error = first_error(view)
    return WorkflowRow(
        name=view.workflow, path=link_to("workflows", view.workflow), about=clean(view.description),
        state="disabled" if view.disabled and view.state == "active" else view.state, tag=tag(view),
        labels=[(label, link_to("workflows", label=label)) for label in label_texts(view)],
        strip=strip(outcomes, times.now_us), last_state=state, last_word=word,
        last_path=link_to("runs", view.last.run) if view.last else "", last=when,
        usual=length(outcomes.usual_us) if outcomes and outcomes.usual_us is not None else "",
        next=times.slot(view.next_us), next_word=next_word(view), problem=clean(str(error)) if error else "",
    )  # fmt: skip


def label_texts(view: WorkflowView) -> list[str]:
    return [clean(f"{name}={value}") for name, value in sorted(view.labels.items())]


def first_error(view: WorkflowView) -> Problem | None:
    return next((problem for problem in view.problems if problem.severity is Severity.ERROR), None)


def tag(view: WorkflowView) -> str:
    error = first_error(view)
    if view.state == "paused":
        paused = f"paused by {clean(view.paused_by)}" if view.paused_by else "paused"
        return f"{paused}, stale" if error else paused
    if view.state in ("stale", "broken") and error:
        return f"{view.state}: line {error.line}" if error.line else view.state
    return "disabled" if view.disabled else "" if view.state == "active" else view.state


def _last(view: WorkflowView, times: Times) -> tuple[str, str, When | None]:
    """State, word and instant of what there is to say of the last run."""
    if view.approvals:
        return "approval", "Waits for approval", times.when(view.approvals[0].since_us)
    last = view.last
    if last is None:
        return "", "Never ran", None
    word = {"running": "Running", "queued": "Queued"}.get(last.state, "")
    return last.state, word, times.when(last.ended_us or last.started_us or last.created_us)


def next_word(view: WorkflowView) -> str:
    """Where no slot comes."""
    if view.next_us is not None:
        return ""
    if view.state == "broken":
        return ""
    if view.state == "paused":
        return "paused"
    if view.disabled:
        return "disabled"
    if view.schedules:
        return "none comes"
    return "by event" if view.events else "by hand"


def idle_words(view: WorkflowView) -> str:
    """For an empty lane."""
    match next_word(view):
        case "by event":
            return "no schedule; starts by an event"
        case "by hand":
            return "no schedule; starts by hand"
        case "paused":
            return "paused: its schedules start nothing"
        case "disabled":
            return "its schedules are disabled"
        case _:
            return "no slots in these hours"


# ---- Which, and in which order --------------------------------------------------------------------------------------


def is_wrong(view: WorkflowView) -> bool:
    """Whether a person should look at it."""
    last = view.last
    failed = last is not None and last.state == "failed" and last.seen_us is None
    return failed or bool(view.approvals) or first_error(view) is not None


def ordered(views: Iterable[WorkflowView], sort: Sort) -> list[WorkflowView]:
    by_name = sorted(views, key=lambda view: view.workflow)
    match sort:
        case Sort.NAME:
            return by_name
        case Sort.NEXT:
            return sorted(by_name, key=lambda view: view.next_us or _FAR_US)
        case Sort.LAST:
            return sorted(by_name, key=lambda view: -(view.last.run if view.last else 0))
        case Sort.ATTENTION:
            return sorted(by_name, key=lambda view: (_rank(view), view.next_us or _FAR_US))


def _rank(view: WorkflowView) -> int:
    return 0 if is_wrong(view) else 1 if view.live_runs else 2 if view.next_us is not None or view.last else 3


def matches(view: WorkflowView, *, q: str, label: str, state: str) -> bool:
    """`q` stands in its name, description or labels, whatever the case."""
    if q:
        wanted = q.casefold()
        if not any(wanted in text.casefold() for text in (view.workflow, view.description, *label_texts(view))):
            return False
    if label and label not in label_texts(view):
        return False
    return not state or state in states_of(view)


def states_of(view: WorkflowView) -> set[str]:
    """The words by which a list can be filtered."""
    last = view.last.state if view.last else "never_ran"
    live = {"running"} if view.live_runs else set()
    asks = {"approval"} if view.approvals else set()
    return {view.state, last, *live, *asks} - {"queued"} | ({"disabled"} if view.disabled else set())


def counts(views: Sequence[WorkflowView]) -> Mapping[str, int]:
    """State to how many workflows have it, in the order in which people think of them."""
    found: dict[str, int] = {}
    for view in views:
        found[view.state] = found.get(view.state, 0) + 1
    return {state: found[state] for state in ("active", "paused", "stale", "broken") if state in found}
