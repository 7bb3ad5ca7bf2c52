"""The host and its workflows as text: status, list, show, next, slots, events, health. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pyflowd.language.definition_text import readable
from pyflowd.model.problem import Problem, Severity
from pyflowd.protocol.views_host import HealthView, HostView, VersionView
from pyflowd.protocol.views_runs import EventView, RunView
from pyflowd.protocol.views_workflows import DefinitionView, NextView, ParamView, SlotView, WorkflowPage, WorkflowView
from pyflowd.render import render_backfill
from pyflowd.render.layout import (
    Cell,
    Style,
    Table,
    bold,
    clean,
    dim,
    fit,
    glyph,
    local,
    moment,
    paint_state,
    plural,
    relative,
    slot_moment,
    span,
    took,
    value_text,
    zone_text,
)
from pyflowd.render.render_origin import origin_lines
from pyflowd.render.render_runs import glyph_text, hint, reason_text, run_rows
from pyflowd.render.render_tasks import approval_lines

_DEFAULT_COLUMNS = 40
_BUILT_SHOWN = 5
"""Workflows that are named with a problem of their template."""


def host(view: HostView, style: Style) -> list[str]:
    """The host at a glance: one sentence, then what runs, what failed, what comes."""
    lines = [bold(host_sentence(view, style), style)]
    if view.problems or view.warnings:
        lines += ["", "Needs attention"]
        lines += [f"  {glyph('warning', style)} {clean(text)}" for text in view.warnings]
        lines += [f"  {glyph('warning', style)} {clean(str(problem))}" for problem in view.problems]
    for title, runs in (
        ("Running", _at_work(view)),
        ("Queued", view.queued),
        ("Failed in the last 24 hours", view.failed),
    ):
        if runs:
            lines += ["", title, *Table(style, droppable=(6,)).lines(run_rows(runs, style))]
    if view.failed_24h > len(view.failed):
        more = f"and {view.failed_24h - len(view.failed)} more: pyflowctl history --state failed"
        lines.append(hint(more, style))
    if view.failed:
        lines.append(hint(f"pyflowctl status {view.failed[0].run}", style))
    if view.next:
        lines += ["", "Next", *Table(style, droppable=(1,)).lines(_next_rows(view.next, style))]
    if view.approvals:
        lines += ["", *approval_lines(view.approvals, style)]
    if view.backfills:
        lines += ["", "Backfills", *render_backfill.progress(view.backfills, style)]
    up = span((view.now_us - view.started_us) / 1_000_000)
    foot = f"pyflowd {view.version}, process {view.pid}, up {up}; {plural(view.workflows, 'workflow')}"
    return [*lines, "", dim(fit(foot, style.columns), style), dim(zone_text(style), style)]


def host_sentence(view: HostView, style: Style) -> str:
    """`2 running, 1 failed in the last 24 h; next: nightly-backup in 3 h 12 min`."""
    if not view.workflows and not view.running and not view.queued:
        if view.problems:
            return "no workflow is in force: what is wrong with the files stands below"
        return f"no workflows yet: put a YAML file into {clean(view.folder) or 'the workflows folder'}"
    at_work = len(_at_work(view))
    parts = [f"{at_work} running" if at_work else "nothing is running"]
    if view.queued:
        parts.append(f"{len(view.queued)} queued")
    if view.approvals:
        parts.append(f"{len(view.approvals)} waiting for an answer")
    ended = f"{view.failed_24h} failed" if view.failed_24h else "none failed"
    parts.append(f"{ended} in the last 24 h ({view.succeeded_24h} succeeded)")
    sentence = ", ".join(parts)
    if view.next:
        first = view.next[0]
        sentence += f"; next: {first.workflow} {relative(first.scheduled_us, style)}"
    return sentence


def _at_work(view: HostView) -> list[RunView]:
    """The running ones but those that only wait for an answer: these are told apart."""
    asking = {(approval.run, approval.task.partition("[")[0]) for approval in view.approvals}
    return [
        run
        for run in view.running
        if not run.running or any((run.run, name.partition(" ")[0]) not in asking for name in run.running)
    ]


def _next_rows(slots: Sequence[NextView], style: Style) -> list[list[Cell]]:
    return [
        [
            Cell(slot.workflow),
            Cell(slot.trigger),
            Cell(slot_moment(slot.scheduled_us, style)),
            Cell(relative(slot.scheduled_us, style)),
            Cell("" if slot.timezone == style.timezone else slot.timezone),
        ]
        for slot in slots
    ]


def next_slots(slots: Sequence[NextView], style: Style) -> list[str]:
    if not slots:
        return ["no slots are coming: nothing is scheduled, or all schedules are paused"]
    return [*Table(style, droppable=(1,), indent=0).lines(_next_rows(slots, style)), dim(zone_text(style), style)]


def no_next(workflow: str, why: str, style: Style) -> list[str]:
    """Why no slot of a workflow comes."""
    match why:
        case "paused":
            told = f"{workflow} is paused: its schedules start nothing"
            return [told, hint(f"pyflowctl resume {workflow}", style)]
        case "disabled":
            return [f"no slot of {workflow} is coming: its schedules are disabled (enabled: false)"]
        case "held":
            return [
                f"{workflow} is held: its schedules name what is missing or broken",
                hint("pyflowctl status", style),
            ]
        case "unscheduled":
            return [f"no slot of {workflow} is coming: it has no schedule"]
        case _:
            return [f"no slot of {workflow} is coming"]


# ---- Workflows ------------------------------------------------------------------------------------------------------


def workflow_header() -> list[Cell]:
    return [
        *map(Cell, (" ", "WORKFLOW", "STATE", "NEXT", "AT", "LAST")),
        Cell("TOOK", right=True),
        Cell("RUN", right=True),
    ]


def workflow_rows(workflows: Sequence[WorkflowView], style: Style) -> list[list[Cell]]:
    """Glyph of the worst, name, state, next slot; of the newest run: outcome, time taken, number."""
    return [
        [
            Cell(glyph_text(_worst(view)), _worst(view)),
            Cell(view.workflow),
            Cell(_workflow_state(view), view.state),
            *_next_cells(view, style),
            *_last_cells(view, style),
        ]
        for view in workflows
    ]


def _worst(view: WorkflowView) -> str:
    """What the eye must find first: a bad definition, else a failed run, else how the workflow is."""
    if any(problem.severity is Severity.ERROR for problem in view.problems):
        return view.state if view.state == "broken" else "stale"
    return "failed" if view.last is not None and view.last.state == "failed" else view.state


def _workflow_state(view: WorkflowView) -> str:
    if view.live_runs:
        return f"{view.state}, {view.live_runs} live"
    return view.state


def _next_cells(view: WorkflowView, style: Style) -> list[Cell]:
    if view.state == "broken":
        return [Cell(""), Cell("")]  # nobody knows what it would be started by
    if view.next_us is None:
        word = "disabled" if view.disabled else "paused" if view.state == "paused" else ""
        return [Cell(word if view.schedules else "by event" if view.events else "by hand"), Cell("")]
    return [Cell(relative(view.next_us, style)), Cell(slot_moment(view.next_us, style))]


def _last_cells(view: WorkflowView, style: Style) -> list[Cell]:
    last = view.last
    if last is None:
        return [Cell("never ran")]
    when = relative(last.ended_us or last.started_us or last.created_us, style)
    lasted = took(last.started_us, last.ended_us, style)
    return [Cell(f"{last.state} {when}", last.state), Cell(lasted, right=True), Cell(str(last.run), right=True)]


def workflow_problems(page: WorkflowPage, style: Style) -> list[str]:
    """What is wrong with the files, below the table."""
    of: dict[Problem, list[str]] = {}
    for view in page.workflows:
        for problem in view.problems:
            of.setdefault(problem, []).append(view.workflow)
    lines = [problem_line(problem, style) + _built_from(problem, names) for problem, names in of.items()]
    lines += approval_lines([waiting for view in page.workflows for waiting in view.approvals], style)
    return lines + [f"  {glyph('warning', style)} {clean(note)}" for note in page.notes]


def _built_from(problem: Problem, workflows: Sequence[str]) -> str:
    """Whose trouble a problem of a template is: its place names the template only."""
    if "templates/" not in problem.file:
        return ""
    more = f", and {len(workflows) - _BUILT_SHOWN} more" if len(workflows) > _BUILT_SHOWN else ""
    return f"; in {', '.join(workflows[:_BUILT_SHOWN])}{more}"


def problem_line(problem: Problem, style: Style) -> str:
    return f"  {glyph(problem.severity, style)} {clean(str(problem))}"


def paused(view: WorkflowView, style: Style) -> list[str]:
    """The answer to `pause` and `resume`."""
    if view.state == "paused":
        who = f" by {clean(view.paused_by)}" if view.paused_by else ""
        lines = [f"{glyph('paused', style)} {view.workflow} is paused{who}: its schedules start nothing"]
        return [*lines, hint(f"pyflowctl resume {view.workflow}", style)]
    coming = ""
    if view.next_us is not None:
        coming = f"; next slot {slot_moment(view.next_us, style)}, {relative(view.next_us, style)}; {zone_text(style)}"
    return [f"{glyph(view.state, style)} {view.workflow} is {view.state}{coming}"]


def definition(view: DefinitionView, style: Style) -> list[str]:
    """A few facts as YAML comments, then the text as it was loaded: the output is a definition again."""
    since = "in force since" if view.in_force else "not in force now; the text of"
    facts = [f"{view.workflow}, {since} {moment(view.loaded_us, style)} ({zone_text(style)})"]
    facts.append(f"from {clean(view.file) or 'a file that was run'}, SHA-256 {view.digest}")
    if view.users:
        facts.append(f"its tasks run as {', '.join(map(clean, view.users))}")
    facts += [f"schedule: {clean(schedule)}" for schedule in view.view.schedules]
    facts += [f"trigger {clean(event)}" for event in view.view.events]
    facts += [f"param {_param(param)}" for param in view.declared]
    if view.outputs:
        facts.append(f"outputs: {', '.join(map(clean, view.outputs))}")
    facts += [f"{section}: {', '.join(names)}" for section, names in view.handlers.items()]
    if view.view.state not in ("active", "past"):
        facts.append(f"state: {view.view.state}")
    facts += [f"newer version refused: {clean(str(problem))}" for problem in view.view.problems]
    lines = [dim(f"# {fact}", style) for fact in facts]
    if view.origin is not None:
        return [*lines, *origin_lines(view.origin, style)]
    text = readable(view.text).split("\n")
    if text and not text[-1]:
        text.pop()
    return lines + [line if not style.terminal else clean(line.replace("\t", "    ")) for line in text]


def _param(param: ParamView) -> str:
    """`day (date, required): the day to load`."""
    given = "required" if param.required else f"default {value_text(param.default, _DEFAULT_COLUMNS)}"
    about = f": {clean(param.description)}" if param.description else ""
    return f"{param.name} ({param.type}, {given}){about}"


# ---- Ledgers --------------------------------------------------------------------------------------------------------


def slot_rows(slots: Sequence[SlotView], style: Style) -> list[list[Cell]]:
    """Glyph, time, workflow, trigger, fate with its reason."""
    return [
        [
            Cell(glyph_text(slot.fate), slot.fate),
            Cell(slot_moment(slot.scheduled_us, style)),
            Cell(slot.workflow),
            Cell(slot.trigger),
            Cell(_fate(slot), slot.fate),
        ]
        for slot in slots
    ]


def _fate(slot: SlotView) -> str:
    if slot.fate == "fired":
        return f"fired: run {slot.run}" if slot.run is not None else "fired"
    because = f" (run {slot.run})" if slot.run is not None else ""
    detail = f" ({clean(slot.detail)})" if slot.detail else ""
    return f"skipped: {reason_text(slot.reason)}{because}{detail}" if slot.reason else "skipped"


def event_rows(events: Sequence[EventView], style: Style) -> list[list[Cell]]:
    """Time, run, sentence."""
    return [
        [
            Cell(moment(event.at_us, style)),
            Cell("" if event.run is None else f"run {event.run}"),
            Cell(event.workflow),
            Cell(clean(event.text) or event.type.replace("_", " ")),
        ]
        for event in events
    ]


# ---- The installation -----------------------------------------------------------------------------------------------


def health(checks: Sequence[tuple[str, str, str]], style: Style) -> list[str]:
    """Findings of `doctor`, then one sentence."""
    lines = []
    for level, subject, found in checks:
        lines.append(
            f"{glyph(level, style)} {paint_state(f'{level:<7}', level, style)} {clean(subject)}: {clean(found)}"
        )
    errors = sum(level == "error" for level, _, _ in checks)
    warnings = sum(level == "warning" for level, _, _ in checks)
    if errors or warnings:
        return [*lines, "", bold(f"{plural(errors, 'error')}, {plural(warnings, 'warning')}", style)]
    return [*lines, "", bold("all is well", style)]


def health_view(view: HealthView, style: Style) -> list[str]:
    return health(view.checks, style)


def version(view: VersionView) -> list[str]:
    return [f"pyflowd {view.version} (protocol {view.protocol}, process {view.pid})"]


# ---- Without a daemon -----------------------------------------------------------------------------------------------


def lint(files: int, problems: Sequence[Problem], style: Style) -> list[str]:
    """Findings as compilers write them, each with its fix, then one sentence."""
    lines = []
    problems = list(dict.fromkeys(problems))  # one of a template is told once, not for each file that is built from it
    for problem in problems:
        place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
        severity = paint_state(problem.severity.value, problem.severity.value, style)
        lines.append(f"{clean(place)}: {severity}: {clean(problem.message)} [{problem.code}]")
        if problem.fix:
            lines.append(f"    {clean(problem.fix)}")
    errors = sum(problem.severity == "error" for problem in problems)
    found = f"{plural(errors, 'error')}, {plural(len(problems) - errors, 'warning')}" if problems else "no problems"
    return [*lines, bold(f"{plural(files, 'file')} checked: {found}", style)]


def cron_slots(description: str, slots: Sequence[int], style: Style) -> list[str]:
    """Slots of a bare expression, with the day of the week."""
    if not slots:
        return [f"{description}: no slot comes"]
    rows = [[Cell(f"{local(at_us, style):%a %Y-%m-%d %H:%M:%S %z}"), Cell(relative(at_us, style))] for at_us in slots]
    return [bold(description, style), *Table(style).lines(rows), dim(zone_text(style), style)]
