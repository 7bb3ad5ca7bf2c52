"""Recording runs of a workflow: from the form of its params, and for slots of the past."""

from __future__ import annotations

import re
import secrets
from datetime import date, datetime, timedelta

from starlette.responses import Response

from pyflowd.clock import to_us
from pyflowd.errors import PyflowError, Refused, UsageError
from pyflowd.protocol.requests import ShowWorkflow, StartBackfill, StartRun
from pyflowd.protocol.views_runs import BackfillView, RunView
from pyflowd.protocol.views_workflows import DefinitionView, PlanView
from pyflowd.protocol.words import Level
from pyflowd.web.call import Call
from pyflowd.web.drawing import link_to
from pyflowd.web.endpoints.workflow import secret_names
from pyflowd.web.pages import dag, params_form
from pyflowd.web.pages.start import backfill_plan, plan
from pyflowd.web.routes import Kind, Route

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
PARALLEL = 1


def given(call: Call) -> dict[str, str]:
    """What was typed, by param."""
    start = len(params_form.PREFIX)
    return {name[start:]: value for name, value in call.form if name.startswith(params_form.PREFIX)}


def ask(call: Call) -> Response:
    """The form alone; `param.NAME` in the address fills a field."""
    typed = {
        name.removeprefix(params_form.PREFIX): value
        for name, value in call.query.items()
        if name.startswith(params_form.PREFIX)
    }
    return _form(call, typed, None)


def start(call: Call) -> Response:
    """Values are text, read as the declared types say (rule P4); a field left empty takes its default.

    What is wrong is told at its field, beside what was typed. With `dry_run` nothing is recorded.
    """
    name, typed = call.path["name"], given(call)
    params = {each: value for each, value in typed.items() if value != ""}
    dry_run = call.field("dry_run") not in ("", "0")
    request = StartRun(
        workflow=name, params=params, params_are_text=True, key="" if dry_run else call.field("key"), dry_run=dry_run
    )
    try:
        if dry_run:
            return _planned(call, call.one(PlanView, request), typed)
        view = call.one(RunView, request)
    except Refused as error:
        return _form(call, typed, error)
    return call.go(link_to("runs", view.run), " ".join([f"Recorded as run {view.run}", *view.notes]))


def _form(call: Call, typed: dict[str, str], error: PyflowError | None) -> Response:
    name = call.path["name"]
    definition = call.one(DefinitionView, ShowWorkflow(workflow=name))
    known = secret_names(call, definition.declared)
    form = params_form.form(definition.declared, typed, str(error) if error else "", known)
    return call.page(
        "workflow_run.html", 409 if error else 200, name=name, form=form, key=secrets.token_hex(16),
        description=definition.view.description,
    )  # fmt: skip


def _planned(call: Call, view: PlanView, typed: dict[str, str]) -> Response:
    name = call.path["name"]
    links = dag.Links(of=name, page=link_to("workflows", name), anchor="#tasks")
    graph = dag.draw([*view.tasks, *view.handlers], call.times, dag.Asked(), links)
    return call.page(
        "workflow_plan.html", name=name, plan=plan(view), graph=graph, typed=typed, prefix=params_form.PREFIX,
        key=secrets.token_hex(16),
    )  # fmt: skip


# ---- Slots of the past ----------------------------------------------------------------------------------------------


def backfill(call: Call) -> Response:
    """First what it would do; with `confirmed` it is recorded."""
    name = call.path["name"]
    confirmed = call.field("confirmed") == "yes"
    request = StartBackfill(
        workflow=name, from_us=_day_us(call, "from", 0), until_us=_day_us(call, "to", 1) - 1,
        trigger=call.field("trigger"), only_missing=call.field("only_missing") not in ("", "0"), parallel=PARALLEL,
        dry_run=not confirmed,
    )  # fmt: skip
    view = call.one(BackfillView, request)
    if confirmed and view.backfill:
        told = f"Recorded as backfill {view.backfill}: {view.total:,} runs, one after the other"
        return call.go(link_to("workflows", name), told)
    fields = {each: call.field(each) for each in ("from", "to", "trigger", "only_missing")}
    return call.page("workflow_backfill.html", name=name, plan=backfill_plan(view, call.times), fields=fields)


def _day_us(call: Call, field: str, days: int) -> int:
    """Midnight of a day in the host's zone, so many days later. Raises UsageError."""
    text = call.field(field)
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        day = date.fromisoformat(text) + timedelta(days=days)
        return to_us(datetime(day.year, day.month, day.day, tzinfo=call.times.zone))
    except (ValueError, OverflowError):
        raise UsageError(f'{field}: "{text[:40]}" is no day: write it as 2026-11-23') from None


ROUTES = [
    Route("/workflows/{name}/run", ask, Kind.PAGE, Level.OPERATE),
    Route("/workflows/{name}/run", start, Kind.ACTION, Level.OPERATE, "POST"),
    Route("/workflows/{name}/backfill", backfill, Kind.ACTION, Level.OPERATE, "POST"),
]
