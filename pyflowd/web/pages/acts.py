"""What can be done from a page, as the macro `do` of parts/forms.html draws it. Pure."""

from __future__ import annotations

from msgspec import Struct, field

from pyflowd.render.layout import clean
from pyflowd.web.drawing import link_to
from pyflowd.web.pages.words import quoted


class Act(Struct, frozen=True, kw_only=True):
    label: str
    """A verb with its object; dots: it asks more."""
    do: str = ""
    """On the button that does it; empty: the label."""
    path: str
    """POST goes there."""
    effect: str = ""
    """What it will do; empty: it acts at once, as it can be taken back and touches no task."""
    fields: dict[str, str] = field(default_factory=dict)
    css: str = ""
    command: str = ""
    """That does the same."""
    comment: bool = False
    """There is a place for one."""
    choices: list[str] = field(default_factory=list)
    """One of them is to be chosen."""


def seen(run: int) -> Act:
    return Act(label="Seen", path=link_to("runs", run, "seen"), command=f"pyflowctl seen {run}", css="plain")


def unseen(run: int) -> Act:
    return Act(
        label="Not seen",
        path=link_to("runs", run, "seen"),
        fields={"seen": "no"},
        command=f"pyflowctl seen {run} --undo",
        css="plain",
    )


def rerun_from(run: int, workflow: str, task: str, kept: str = "what succeeded before it is kept") -> Act:
    """`kept`: what is not done again."""
    return Act(
        label=f"Rerun from {task}",
        path=link_to("runs", run, "rerun"),
        effect=f"Records a new run of {workflow} with the definition and the params of run {run}. {task} and what "
        f"comes after it is done again; {kept}.",
        fields={"from_task": task},
        command=f"pyflowctl rerun {run} --from {quoted(task)}",
    )


def rerun_failed(run: int, workflow: str) -> Act:
    return Act(
        label="Rerun what failed",
        path=link_to("runs", run, "rerun"),
        effect=f"Records a new run of {workflow} with the definition and the params of run {run}. What succeeded keeps "
        "its results.",
        fields={"failed_only": "yes"},
        command=f"pyflowctl rerun {run} --failed",
    )


def rerun_all(run: int, workflow: str) -> Act:
    return Act(
        label="Rerun all…",
        path=link_to("runs", run, "rerun"),
        effect=f"Records a new run of {workflow} with the definition and the params of run {run}. Every task is done "
        "again.",
        command=f"pyflowctl rerun {run}",
    )


def cancel(run: int, workflow: str, *, again: bool = False) -> Act:
    """`again`: it is being stopped already (rule R5)."""
    stops = (
        "Kills all that is left of its tasks at once: they cannot clean up after themselves."
        if again
        else "Its tasks are asked to end, and killed after their grace."
    )
    return Act(
        label="Kill now…" if again else "Cancel run…",
        do="Kill now" if again else "Cancel run",
        path=link_to("runs", run, "cancel"),
        effect=f"Stops run {run} of {workflow}. {stops} No task that waits is started.",
        css="danger",
        command=f"pyflowctl cancel {run}",
    )


def cancel_task(run: int, task: str) -> Act:
    return Act(
        label=f"Cancel {clean(task)}…",
        do=f"Cancel {clean(task)}",
        path=link_to("runs", run, "cancel"),
        effect=f"Stops {clean(task)} alone; the run goes on by its rules.",
        fields={"task": task},
        css="danger",
        command=f"pyflowctl cancel {run} {quoted(task)}",
    )


def approve(run: int, task: str, choices: list[str]) -> Act:
    chosen = f" --choose {quoted(choices[0])}" if choices else ""
    return Act(
        label="Approve",
        path=link_to("runs", run, "approve"),
        effect=f"Lets {task} of run {run} succeed, in your name: what needs it starts.",
        fields={"task": task},
        command=f"pyflowctl approve {run} {quoted(task)}{chosen}",
        comment=True,
        choices=choices,
    )


def reject(run: int, task: str) -> Act:
    return Act(
        label="Reject",
        path=link_to("runs", run, "reject"),
        effect=f"Lets {task} of run {run} fail, in your name: what needs it does not start.",
        fields={"task": task},
        css="danger",
        command=f"pyflowctl reject {run} {quoted(task)}",
        comment=True,
    )


def pause(workflow: str) -> Act:
    return Act(
        label="Pause",
        path=link_to("workflows", workflow, "pause"),
        effect=f"The schedules and triggers of {workflow} start nothing until it is resumed. Runs that live go on.",
        command=f"pyflowctl pause {workflow}",
    )


def resume(workflow: str) -> Act:
    return Act(
        label="Resume",
        path=link_to("workflows", workflow, "resume"),
        effect=f"The schedules of {workflow} start runs again from the next slot on. Slots that were skipped meanwhile "
        "are not made up for.",
        command=f"pyflowctl resume {workflow}",
    )
