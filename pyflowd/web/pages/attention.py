"""What needs a person on this host, each with its words, its facts and what can be done about it. Pure.

A row is there for as long as its fact is: reading takes none away, `Seen` greys one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from pyflowd.model.states import NAME_PATTERN
from pyflowd.protocol.figures import OutcomesView
from pyflowd.protocol.views_host import HostView
from pyflowd.protocol.views_runs import ApprovalView, RunView, TaskView
from pyflowd.protocol.views_workflows import WorkflowView
from pyflowd.render.layout import clean
from pyflowd.web.drawing import link_to
from pyflowd.web.marks import mark
from pyflowd.web.pages import acts
from pyflowd.web.pages.acts import Act
from pyflowd.web.pages.words import answers_itself, capital, count_word, several, why
from pyflowd.web.pages.workflow_rows import first_error
from pyflowd.web.times import Times, length

SHOWN = 8
DRAIN = "drain: "
"""How the host's warning of a drain begins."""
LATE = 3
"""Times the usual duration: a run that lives longer is late."""
LATE_LEAST_US = 10_000_000
"""A task of milliseconds that takes seconds for once needs nobody."""
_SUBJECT = re.compile(rf"({NAME_PATTERN[1:-1]}): ", re.ASCII)


class Need(Struct, frozen=True, kw_only=True):
    sort: str
    """`failed`, `lost`, `approval`, `stale`, `late`, `warning`: which sentence it adds to."""
    state: str
    """Whose mark it has."""
    subject: str
    path: str
    say: str
    """Goes on after the subject."""
    task: str = ""
    """Stands out at the end of `say`."""
    tail: str = ""
    """After the task."""
    said: str = ""
    """The line of its log that tells of the fault."""
    facts: str = ""
    acts: list[Act] = field(default_factory=list)
    main: tuple[str, str] | None = None
    """Words and address of the first thing to do."""
    seen: str = ""
    """By whom, and when; empty: by nobody."""
    at_us: int = 0

    @property
    def css(self) -> str:
        return mark(self.state).css

    @property
    def icon(self) -> str:
        return mark(self.state).icon


class Facts(Struct, frozen=True, kw_only=True):
    """What the rows are made of."""

    host: HostView
    workflows: Sequence[WorkflowView]
    outcomes: Mapping[str, OutcomesView]
    failed_tasks: Mapping[int, TaskView | None]
    """Of failed runs that were asked for: the first task that failed."""
    said: Mapping[int, str] = field(default_factory=dict)
    """Of these: the line of the task's log that tells of the fault."""
    errors: Sequence[str] = ()
    """Findings of `doctor` that are errors."""
    folder: str = ""
    """Of the workflows' files; asked for where there is none."""


def needs(facts: Facts, times: Times, may_operate: Callable[[str], bool]) -> list[Need]:
    """What endangers the whole host, then what has a time, newest first, then the rest.

    `may_operate`: a workflow; only what may be done is offered.
    """
    names = {view.workflow for view in facts.workflows}
    told = [_told(text, names) for text in dict.fromkeys((*facts.host.warnings, *facts.errors))]
    timed = [
        *(_failed(view, facts, times) for view in failed_workflows(facts.workflows)),
        *(_approval(view, times) for view in facts.host.approvals),
        *_late(facts, times),
    ]
    timed.sort(key=lambda need: (bool(need.seen), -need.at_us))
    of_host = [need for need in told if not need.subject]
    rest = [need for need in told if need.subject]
    found = [*of_host, *timed, *rest, *(_stale(view) for view in facts.workflows if first_error(view) is not None)]
    return [replace(need, acts=[]) if need.acts and not may_operate(need.subject) else need for need in found]


def failed_workflows(views: Iterable[WorkflowView]) -> list[WorkflowView]:
    """Whose newest run failed: one that lives or has succeeded since takes the row away. Newest first."""
    found = [view for view in views if view.last is not None and view.last.state == "failed"]
    return sorted(found, key=lambda view: -(view.last.ended_us or 0) if view.last else 0)


def _failed(view: WorkflowView, facts: Facts, times: Times) -> Need:
    run = view.last
    assert run is not None
    task = facts.failed_tasks.get(run.run)
    lost = task is not None and task.reason == "lost"
    reason = why(run)
    tail = ""
    if task is not None:
        tail = reason.removeprefix(f"{clean(task.task)}: ").strip()
        if task.attempts > 1:
            tail += f", {_times(task.attempts)}"
    actions = [acts.unseen(run.run)] if run.seen_us is not None else [acts.seen(run.run)]
    if task is not None and not task.section:
        actions.insert(0, acts.rerun_from(run.run, run.workflow, task.of if task.item is not None else task.task))
    else:
        actions.insert(0, acts.rerun_all(run.run, run.workflow))
    seen_at = times.when(run.seen_us)
    return Need(
        sort="lost" if lost else "failed", state="unknown" if lost else "failed", subject=run.workflow,
        path=link_to("runs", run.run),
        say=_failed_words(run, lost, task), task=clean(task.task) if task else "",
        tail=tail if task else reason, said=clean(facts.said.get(run.run, "")),
        facts=_failed_facts(view, run, facts.outcomes.get(view.workflow), times),
        acts=actions, main=("See why", link_to("runs", run.run)),
        seen=f"seen by {clean(run.seen_by)} {seen_at.relative}" if seen_at else "", at_us=run.ended_us or 0,
    )  # fmt: skip


def _failed_words(run: RunView, lost: bool, task: TaskView | None) -> str:
    if lost:
        return "has no true end of"
    if task is not None:
        return "failed at"
    return "failed: " if why(run) else "failed"


def _times(count: int) -> str:
    return "twice" if count == 2 else f"{count_word(count)} times"


def _failed_facts(view: WorkflowView, run: RunView, outcomes: OutcomesView | None, times: Times) -> str:
    ended = times.when(run.ended_us, seconds=True)
    told = [f"Failed {ended.relative}, {ended.text}" if ended else "Failed"]
    good = [each for each in outcomes.runs if each.state == "succeeded"] if outcomes else []
    last_good = times.when(good[-1].ended_us) if good else None
    if last_good is not None:
        told.append(f"Last success {last_good.text}")
    elif outcomes is not None:
        last = several(len(outcomes.runs), "run")
        told.append(f"No success in its last {last}" if len(outcomes.runs) > 1 else "It is its only run")
    coming = times.when(view.next_us)
    if coming is not None:
        told.append(f"Starts again by itself {coming.text}, {coming.relative}")
    elif view.state == "paused":
        told.append("It is paused: nothing starts by itself")
    else:
        told.append("Nothing starts by itself" if not view.events else "Starts again with its next event")
    return ". ".join(told) + "."


def _approval(view: ApprovalView, times: Times) -> Need:
    asked = times.when(view.since_us)
    due = times.when(view.due_us)
    told = [
        f"Asked {'by ' + clean(view.requested_by) + ' ' if view.requested_by else ''}{asked.relative}, {asked.text}"
        if asked
        else ""
    ]
    if due is not None:
        told.append(f"{capital(answers_itself(view.on_timeout))} {due.text}, {due.relative}")
    else:
        told.append("Waits without end")
    told.append("Holds no slot meanwhile")
    if view.refusal:
        told.append(f"You may not answer it: {clean(view.refusal)}")
    elif view.allow:
        told.append(f"May be answered by {', '.join(map(clean, view.allow))}")
    return Need(
        sort="approval", state="approval", subject=view.workflow, path=link_to("runs", view.run, task=view.task),
        say="waits for approval of", task=clean(view.task), tail=clean(view.message), facts=". ".join(told) + ".",
        acts=[]
        if view.refusal
        else [acts.approve(view.run, view.task, view.choices), acts.reject(view.run, view.task)],
        main=("See the run", link_to("runs", view.run, task=view.task)) if view.refusal else None,
        at_us=view.since_us,
    )  # fmt: skip


def _late(facts: Facts, times: Times) -> list[Need]:
    asking = {view.run for view in facts.host.approvals}
    found = []
    for run in facts.host.running:
        known = facts.outcomes.get(run.workflow)
        if run.run in asking or run.started_us is None or known is None or not is_late(run, known, times.now_us):
            continue
        usual = length(known.usual_us or 0)
        since = times.when(run.started_us)
        found.append(
            Need(
                sort="late", state="retrying", subject=run.workflow, path=link_to("runs", run.run),
                say=f"has been running for {times.took(run.started_us, None)}, usually it takes {usual}",
                facts=f"Run {run.run}, since {since.text if since else ''}. It goes on until it ends, or its timeout.",
                acts=[acts.cancel(run.run, run.workflow, again=run.stopping == "cancel")],
                main=("See where it is", link_to("runs", run.run)), at_us=run.started_us,
            )
        )  # fmt: skip
    return found


def is_late(run: RunView, known: OutcomesView, now_us: int) -> bool:
    if known.usual_us is None or run.started_us is None:
        return False
    return now_us - run.started_us > max(LATE * known.usual_us, LATE_LEAST_US)


def _stale(view: WorkflowView) -> Need:
    error = first_error(view)
    assert error is not None
    more = len(view.problems) - 1
    broken = view.state == "broken"
    after = f" and {several(more, 'more problem')}" if more > 0 else ""
    return Need(
        sort="stale", state="broken" if broken else "stale", subject=view.workflow,
        path=link_to("workflows", view.workflow),
        say="is not in force: " if broken else "has a newer text that is refused: ", tail=clean(str(error)) + after,
        facts="No version of it was ever good: nothing starts." if broken
        else "The version before stays in force until the file is good.",
        main=("See the file", link_to("workflows", view.workflow)),
    )  # fmt: skip


def _told(text: str, names: set[str]) -> Need:
    """A warning of the host; where it begins with the name of a workflow it is about that."""
    found = _SUBJECT.match(text)
    subject = found[1] if found and found[1] in names else ""
    rest = clean(text[len(subject) + 2 :] if subject else text)
    path = link_to("workflows", subject) if subject else link_to("system")
    return Need(
        sort="warning", state="warning", subject=subject, path=path, say="" if not subject else ": ", tail=rest,
        main=("Open System", path) if not subject else ("Open", path),
    )  # fmt: skip


def _is_drain(need: Need) -> bool:
    """Whether it says that nobody's tasks start: before anything else that there is to say."""
    return need.sort == "warning" and not need.subject and need.tail.startswith(DRAIN)


# ---- The heading ----------------------------------------------------------------------------------------------------


def heading(needs: Sequence[Need], *, workflows: int, running: int) -> str:
    """One sentence about the present."""
    fresh = [need for need in needs if not need.seen]
    counts = {
        sort: sum(need.sort == sort for need in fresh) for sort in ("failed", "lost", "approval", "late", "stale")
    }
    parts = ["the host is drained"] if any(_is_drain(need) for need in needs) else []
    if failures := counts["failed"] + counts["lost"]:
        parts.append(f"{several(failures, 'failure')} need{'s' if failures == 1 else ''} you")
    if asked := counts["approval"]:
        parts.append(f"{several(asked, 'approval')} wait{'s' if asked == 1 else ''}")
    if late := counts["late"]:
        parts.append(f"{several(late, 'run')} {'is' if late == 1 else 'are'} late")
    if stale := counts["stale"]:
        parts.append(f"{several(stale, 'file')} {'is' if stale == 1 else 'are'} refused")
    if warnings := sum(need.sort == "warning" and not _is_drain(need) for need in fresh):
        parts.append(several(warnings, "warning"))
    if parts:
        joined = ", ".join(parts[:3])
        return joined[0].upper() + joined[1:]
    if not workflows:
        return "No workflow yet"
    if needs:
        return f"Nothing new: {several(len(needs), 'failure')} seen"
    return f"All is well, {several(running, 'run')} at work" if running else "All is well, nothing runs"
