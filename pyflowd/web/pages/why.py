"""The box that explains a run: a chain of facts with their sources, and what to do now. Pure.

The facts are those of `pyflowctl explain`, told shorter: attempts that ended alike are one line, and what the log says
is its first error line with a link to it, in place of its last lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from pyflowd.protocol.views_runs import ApprovalView, ExplanationView, FactView, RunView, TaskView
from pyflowd.protocol.views_workflows import NextView
from pyflowd.render.layout import clean
from pyflowd.web.drawing import link_to
from pyflowd.web.marks import mark
from pyflowd.web.pages.dag_words import state_of
from pyflowd.web.pages.words import answers_itself
from pyflowd.web.times import Times, number

FACTS_MAX = 9
NAMES_MAX = 5
_ATTEMPT = re.compile(r"^attempt (\d+) (.*)$")
_LOG_TEXT_MAX = 160
_ICONS = {
    "retries": ("s-retry", "retry"),
    "not_run": ("s-up", "up"),
    "approval": ("s-hold", "hold"),
    "back_off": ("s-retry", "retry"),
    "running": ("s-run", "run"),
    "starting": ("s-run", "run"),
    "waiting": ("s-wait", "wait"),
    "cancelled": ("s-cancel", "cancel"),
    "stopping": ("s-cancel", "cancel"),
    "stale": ("s-retry", "warn"),
    "broken": ("s-fail", "fail"),
    "host": ("s-retry", "warn"),
}
_QUEUED = ("overlap", "place", "gate", "max_parallel", "max_tasks", "drained", "wait", "called")


class Fact(Struct, frozen=True, kw_only=True):
    css: str
    icon: str
    name: str = ""
    """Of a task, at the begin of the text."""
    text: str
    code: str = ""
    """After the text, word for word."""
    source: str = ""
    href: str = ""


class Said(Struct, frozen=True, kw_only=True):
    """The line of a log that tells of the fault."""

    task: str
    text: str
    number: int
    href: str


class Step(Struct, frozen=True, kw_only=True):
    text: str
    command: str = ""


class Why(Struct, frozen=True, kw_only=True):
    css: str
    icon: str
    answer: str
    facts: list[Fact]
    left_out: int
    can: list[Step]
    nothing: str
    changed: list[str]
    """Since the last success; empty: nothing is known of one."""
    folded: bool
    as_text: str


def why(
    run: RunView,
    explanation: ExplanationView,
    tasks: Sequence[TaskView],
    times: Times,
    *,
    cause: TaskView | None = None,
    said: Said | None = None,
    coming: NextView | None = None,
    none_coming: str = "",
    changed: Sequence[str] = (),
    approvals: Sequence[ApprovalView] = (),
) -> Why:
    """`said`: what the log of the cause says; `coming`: the workflow's next slot, `none_coming`: why there is none.

    `approvals`: of this run, which wait.
    """
    facts = _facts(run, explanation, {task.task: task for task in tasks}, times, said)
    look = mark("approval" if any(fact.code == "approval" for fact in explanation.facts) else run.state)
    return Why(
        css=look.css, icon=look.icon, answer=clean(explanation.answer), facts=facts[:FACTS_MAX],
        left_out=max(0, len(facts) - FACTS_MAX) + explanation.left_out,
        can=_can(run, explanation, tasks, cause, approvals),
        nothing=nothing(run, tasks, times, coming, none_coming, approvals), changed=list(changed)[:3],
        folded=run.state == "succeeded", as_text=as_text(explanation, facts),
    )  # fmt: skip


def as_text(explanation: ExplanationView, facts: Sequence[Fact]) -> str:
    lines = [
        clean(explanation.answer),
        *(f"- {' '.join(filter(None, (fact.name, fact.text, fact.code)))}" for fact in facts),
    ]
    return "\n".join(lines)


# ---- Facts ----------------------------------------------------------------------------------------------------------


def _facts(
    run: RunView, explanation: ExplanationView, tasks: Mapping[str, TaskView], times: Times, said: Said | None
) -> list[Fact]:
    found: list[Fact] = []
    tried: list[FactView] = []
    outputs: list[FactView] = []
    for fact in explanation.facts:
        if fact.code == "output":
            outputs.append(fact)
            continue
        if fact.code == "attempt":
            tried.append(fact)
            continue
        found += _attempts(run, tried, fact if fact.code == "retries" else None, times)
        found += _output(run, outputs, said)
        if not tried or fact.code != "retries":
            found.append(_fact(run, fact, tasks, times))
        tried, outputs = [], []
    return [*found, *_attempts(run, tried, None, times), *_output(run, outputs, said)]


def _fact(run: RunView, fact: FactView, tasks: Mapping[str, TaskView], times: Times) -> Fact:
    task = tasks.get(fact.task)
    css, icon = _ICONS.get(fact.code, ("s-wait", "info"))
    if fact.code in _QUEUED:
        css, icon = "s-queue", "queue"
    elif fact.code in ("task", "handlers", "dependency", "items", "condition") and task is not None:
        look = mark(state_of(task))
        css, icon = look.css, look.icon
    text = clean(fact.text)
    name = clean(fact.task) if fact.task and text.startswith(f"{clean(fact.task)} ") else ""
    text = text[len(name) :].strip()
    source, href = _source(run, fact, task, times)
    if fact.code == "requested":
        css, icon = "s-wait", "info"
    elif fact.code == "not_run" and run.state in ("queued", "running"):
        css, icon = "s-wait", "wait"
    return Fact(css=css, icon=icon, name=name, text=text if name else _sentence(text), source=source, href=href)


def _sentence(text: str) -> str:
    """With a capital, but for a key of the file at its begin."""
    return text if "_" in text.partition(" ")[0] else text[:1].upper() + text[1:]


def _source(run: RunView, fact: FactView, task: TaskView | None, times: Times) -> tuple[str, str]:
    """Where a fact can be checked: the run that it is about, the definition, the task, when it was."""
    at = times.when(fact.at_us, seconds=True)
    text = at.text if at else ""
    if fact.run is not None and fact.run != run.run:
        return f"run {fact.run}", link_to("runs", fact.run)
    if fact.code in ("definition", "rule", "condition", "retries", "max_parallel") and run.digest:
        return "definition", link_to("workflows", run.workflow, "versions", run.digest)
    if fact.trigger and fact.code in ("trigger", "slot_fired", "slot_skipped", "slot_coming"):
        return text or "slots", link_to("slots", workflow=run.workflow)
    if task is not None:
        return text or "task", _task_link(run.run, task)
    return text, ""


def _task_link(run: int, task: TaskView) -> str:
    if task.item is not None and task.of and task.section != "undo":
        return link_to("runs", run, task=task.of, item=task.item)
    return link_to("runs", run, task=task.task)


def _attempts(run: RunView, tried: Sequence[FactView], retries: FactView | None, times: Times) -> list[Fact]:
    """Attempts of one task in a line, or two where the last ended otherwise."""
    told = [(int(match[1]), match[2], fact) for fact in tried if (match := _ATTEMPT.match(clean(fact.text)))]
    if not told:
        return []
    groups: list[list[tuple[int, str, FactView]]] = []
    for each in told:
        if groups and groups[-1][0][1] == each[1]:
            groups[-1].append(each)
        else:
            groups.append([each])
    found: list[Fact] = []
    for group in groups:
        first, last = group[0][0], group[-1][0]
        if len(told) == 1 and retries is not None:
            text = f"{clean(retries.text)[:1].upper()}{clean(retries.text)[1:]}"
        elif first == last:
            text = f"Attempt {first} {group[0][1]}"
        else:
            word = "and" if last == first + 1 else "to"
            text = f"Attempts {first} {word} {last} ended alike: {group[0][1].removeprefix('failed: ')}"
        fact = group[-1][2]
        task, item = _log_parts(fact.task)
        href = link_to("runs", run.run, "log", task, item=item, attempt=last)
        found.append(Fact(css="s-retry", icon="retry", text=text, source=f"log of attempt {last}", href=href))
    if retries is not None and len(told) > 1:
        found[-1] = replace(found[-1], text=f"{found[-1].text}; {clean(retries.text)}")
    return found


def _log_parts(node: str) -> tuple[str, str]:
    """The task of a node and the key of the item."""
    head, bracket, rest = node.partition("[")
    return (head, rest.removesuffix("]")) if bracket else (node, "")


def _output(run: RunView, outputs: Sequence[FactView], said: Said | None) -> list[Fact]:
    if not outputs:
        return []
    task = outputs[0].task
    if said is not None and said.task == task:
        text = said.text if len(said.text) <= _LOG_TEXT_MAX else said.text[: _LOG_TEXT_MAX - 1] + "…"
        return [
            Fact(
                css="s-fail",
                icon="step",
                text="Its log says",
                code=text,
                source=f"log {number(said.number)}",
                href=said.href,
            )
        ]
    head, item = _log_parts(task)
    href = link_to("runs", run.run, "log", head, item=item)
    return [Fact(css="s-wait", icon="step", text="It said last", code=clean(outputs[-1].text), source="log", href=href)]


# ---- What now -------------------------------------------------------------------------------------------------------


def keeps(cause: TaskView, tasks: Sequence[TaskView]) -> list[str]:
    """Tasks whose results a rerun from the cause's task would keep: those that do not come after it."""
    start = cause.of if cause.item is not None and cause.section != "undo" else cause.task
    again = {start}
    proper = [task for task in tasks if task.item is None and not task.section]
    changed = True
    while changed:
        more = {task.task for task in proper if task.task not in again and again.intersection(task.needs)}
        changed = bool(more)
        again |= more
    return [task.task for task in proper if task.task not in again and task.state == "succeeded"]


def _can(
    run: RunView, explanation: ExplanationView, tasks: Sequence[TaskView], cause: TaskView | None,
    approvals: Sequence[ApprovalView],
) -> list[Step]:  # fmt: skip
    steps: list[Step] = []
    if approvals and all(view.refusal for view in approvals):
        return [Step(text="Ask somebody who may answer: you may not.")]
    if any(state_of(task) == "approval" for task in tasks):
        commands = [step.command for step in explanation.next if " approve " in step.command]
        return [Step(text="Approve or reject it, with a comment.", command=clean(commands[0]) if commands else "")]
    if run.state == "failed" and cause is not None:
        start = clean(cause.of if cause.item is not None and cause.section != "undo" else cause.task)
        kept = keeps(cause, tasks)
        held = f" {_names(kept)} {'keeps its result' if len(kept) == 1 else 'keep their results'}." if kept else ""
        steps.append(Step(text=f"Mend what {start} needs, then rerun from it.{held}"))
    steps += [
        Step(text=f"{clean(step.text)[:1].upper()}{clean(step.text)[1:]}", command=clean(step.command))
        for step in explanation.next
        if not step.command.startswith("pyflowctl logs")  # the log stands on the page
    ]
    return steps[:3]


def _names(names: Sequence[str]) -> str:
    if len(names) > NAMES_MAX:
        return f"{', '.join(names[: NAMES_MAX - 1])} and {len(names) - NAMES_MAX + 1} more tasks"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def nothing(
    run: RunView, tasks: Sequence[TaskView], times: Times, coming: NextView | None, none_coming: str = "",
    approvals: Sequence[ApprovalView] = (),
) -> str:  # fmt: skip
    """What happens if nobody does anything."""
    if run.state == "queued":
        return "It starts by itself as soon as what it waits for is over."
    if run.state == "running":
        ending = [(view.due_us, view) for view in approvals if view.due_us is not None]
        if ending:
            due_us, view = min(ending, key=lambda each: each[0])
            return (
                f"{clean(view.task)} {answers_itself(view.on_timeout)} {times.text(due_us)}, {times.relative(due_us)}."
            )
        if any(state_of(task) == "approval" for task in tasks):
            return "It waits on, holding nothing; what does not need the answer goes on."
        retrying = next((task for task in tasks if task.state == "retrying" and task.retry_us is not None), None)
        if retrying is not None and retrying.retry_us is not None:
            return f"{clean(retrying.task)} is tried again {times.relative(retrying.retry_us)}."
        return "It goes on to its end by its rules."
    slot = times.when(coming.scheduled_us) if coming else None
    if slot is not None:
        return f"The next slot is {slot.text}, {slot.relative}. It starts from the beginning."
    words = {
        "paused": "Its schedules are paused: nothing starts by itself.",
        "disabled": "Its schedules are disabled: nothing starts by itself.",
    }
    return words.get(none_coming, "It has no schedule: nothing starts by itself.")
