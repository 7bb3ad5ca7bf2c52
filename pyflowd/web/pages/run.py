"""One run as a page shows it, put together: the head, what can be done, facts, params and outputs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from pyflowd.protocol.views_runs import ApprovalView, ExplanationView, RunView, TaskView
from pyflowd.render.layout import clean
from pyflowd.render.render_runs import run_phrase
from pyflowd.units import size_text
from pyflowd.web.drawing import link_to
from pyflowd.web.marks import Mark, mark
from pyflowd.web.pages.acts import Act
from pyflowd.web.pages.dag_words import state_of
from pyflowd.web.pages.run_actions import Question, actions, questions
from pyflowd.web.pages.run_words import LATE_US, heading, lede
from pyflowd.web.pages.selection import Selected
from pyflowd.web.pages.words import capital
from pyflowd.web.times import Times, When, length

VALUE_MAX = 20_000
"""Characters of one output or param; all of it is told by `pyflowctl -o json status`."""
PARAMS_MAX = 200


class Piece(Struct, frozen=True, kw_only=True):
    """A part of a fact: text, a link, a value word for word, or an instant."""

    text: str = ""
    href: str = ""
    code: bool = False
    when: When | None = None


class FactRow(Struct, frozen=True, kw_only=True):
    term: str
    pieces: list[Piece]


class Value(Struct, frozen=True, kw_only=True):
    name: str
    text: str
    """JSON, over several lines where it has parts."""
    block: bool
    cut: int = 0


class Outputs(Struct, frozen=True, kw_only=True):
    of: str
    """A task; empty: the run."""
    values: list[Value]


class RunShown(Struct, frozen=True, kw_only=True):
    run: int
    workflow: str
    title: str
    heading: str
    state: Mark
    lede: list[tuple[bool, str]]
    facts: list[FactRow]
    actions: list[Act]
    no_right: str
    """Why whoever looks may change nothing; empty: they may."""
    questions: list[Question]
    outputs: list[Outputs]
    counts: str
    seen: str


def shown(
    run: RunView,
    tasks: Sequence[TaskView],
    explanation: ExplanationView | None,
    selected: Selected,
    cause: TaskView | None,
    times: Times,
    *,
    usual_us: int | None = None,
    approvals: Sequence[ApprovalView] = (),
    no_right: str = "",
) -> RunShown:
    sentence = heading(run, tasks, cause)
    state = "approval" if run.state == "running" and not _at_work(tasks) and _asked(tasks) else run.state
    return RunShown(
        run=run.run, workflow=run.workflow, heading=sentence, state=mark(state),
        title=f"{mark(state).word}: {run.workflow}, run {run.run}",
        lede=lede(run, explanation, times, usual_us), facts=facts(run, tasks, times),
        actions=actions(run, tasks, selected, cause), no_right=no_right, questions=questions(run, approvals, times),
        outputs=outputs(run, tasks), counts=", ".join(_counts(run)),
        seen=_seen(run, times),
    )  # fmt: skip


def _at_work(tasks: Sequence[TaskView]) -> bool:
    return any(task.state in ("running", "retrying") and state_of(task) != "approval" for task in tasks)


def _asked(tasks: Sequence[TaskView]) -> bool:
    return any(state_of(task) == "approval" for task in tasks)


def _counts(run: RunView) -> list[str]:
    return [f"{count:,} {state.replace('_', ' ')}" for state, count in run.counts.items() if count]


def _seen(run: RunView, times: Times) -> str:
    at = times.when(run.seen_us)
    return f"Seen by {clean(run.seen_by)}, {at.relative}" if at else ""


# ---- Facts ----------------------------------------------------------------------------------------------------------


def facts(run: RunView, tasks: Sequence[TaskView], times: Times) -> list[FactRow]:
    rows = [FactRow(term="Started by", pieces=_origin(run))]
    if run.scheduled_us is not None:
        late = run.created_us - run.scheduled_us
        said = f", fired {length(late)} late" if late > LATE_US else ", fired on time"
        rows.append(
            FactRow(term="Slot", pieces=[Piece(when=times.when(run.scheduled_us, seconds=True)), Piece(text=said)])
        )
    rows.append(FactRow(term="Recorded", pieces=[Piece(when=times.when(run.created_us, seconds=True))]))
    if run.started_us is not None:
        rows.append(FactRow(term="Started", pieces=[Piece(when=times.when(run.started_us, seconds=True))]))
    if run.ended_us is not None:
        rows.append(FactRow(term="Ended", pieces=[Piece(when=times.when(run.ended_us, seconds=True))]))
    rows.append(FactRow(term="State", pieces=[Piece(text=capital(run_phrase(run)))]))
    if run.digest:
        href = link_to("workflows", run.workflow, "versions", run.digest)
        rows.append(FactRow(term="Definition", pieces=[Piece(text=run.digest[:8], href=href, code=True)]))
    if run.params:
        rows.append(FactRow(term="Params", pieces=_params(run.params)))
    if run.event:
        rows.append(FactRow(term="Event", pieces=[Piece(text=json_text(run.event, indent=0), code=True)]))
    called = [(task.task, number) for task in tasks for number in task.called_runs]
    if called:
        rows.append(
            FactRow(
                term="Called",
                pieces=[Piece(text=f"run {number}", href=link_to("runs", number)) for _, number in called[:50]],
            )
        )
    most = max((task for task in tasks if task.max_rss_bytes), key=lambda task: task.max_rss_bytes or 0, default=None)
    if most is not None:
        text = f"{clean(most.task)}, {size_text(most.max_rss_bytes or 0)}"
        rows.append(FactRow(term="Most memory", pieces=[Piece(text=text)]))
    users = sorted({task.user for task in tasks if task.user})
    if users:
        rows.append(FactRow(term="Runs as", pieces=[Piece(text=", ".join(map(clean, users)))]))
    return rows


def _origin(run: RunView) -> list[Piece]:
    if run.parent is not None:
        task = f", task {clean(run.parent_task)}" if run.parent_task else ""
        return [Piece(text=f"run {run.parent}", href=link_to("runs", run.parent)), Piece(text=task)]
    pieces = [
        Piece(
            text=f"trigger {clean(run.trigger)}"
            if run.trigger not in ("", "manual", "rerun")
            else run.trigger or "manual"
        )
    ]
    if run.requested_by:
        pieces.append(Piece(text=f", asked for by {clean(run.requested_by)}"))
    if run.rerun_of is not None:
        pieces += [Piece(text=", repeats "), Piece(text=f"run {run.rerun_of}", href=link_to("runs", run.rerun_of))]
    if run.backfill is not None:
        pieces.append(Piece(text=f", backfill {run.backfill}"))
    return pieces


def _params(params: Mapping[str, object]) -> list[Piece]:
    shown = list(params.items())[:PARAMS_MAX]
    pieces = [Piece(text=_cut(f"{name}={_plain(value)}")[0], code=True) for name, value in shown]
    if len(params) > PARAMS_MAX:
        pieces.append(Piece(text=f"and {len(params) - PARAMS_MAX:,} more"))
    return pieces


def _plain(value: object) -> str:
    return clean(value if isinstance(value, str) else json_text(value, indent=0))


# ---- Outputs --------------------------------------------------------------------------------------------------------


def outputs(run: RunView, tasks: Sequence[TaskView]) -> list[Outputs]:
    """Of the run, then of each task in its order; items of fan-outs have theirs in their own table."""
    found = [Outputs(of="", values=_values(run.outputs))] if run.outputs else []
    found += [
        Outputs(of=task.task, values=_values(task.outputs)) for task in tasks if task.outputs and task.item is None
    ]
    return found


def _values(given: Mapping[str, object]) -> list[Value]:
    values = []
    for name, value in given.items():
        text, cut = _cut(json_text(value))
        values.append(Value(name=clean(name), text=text, block="\n" in text, cut=cut))
    return values


def json_text(value: object, indent: int = 2) -> str:
    """As people read it; control characters stay escaped."""
    raw = msgspec.json.encode(value)
    text = msgspec.json.format(raw, indent=indent).decode() if indent else raw.decode()
    return "\n".join(clean(line) for line in text.split("\n"))


def _cut(text: str) -> tuple[str, int]:
    return (text, 0) if len(text) <= VALUE_MAX else (text[:VALUE_MAX], len(text) - VALUE_MAX)
