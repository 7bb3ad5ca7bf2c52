"""Triggers that wait for something: what may be written, what it means, what is refused."""

from __future__ import annotations

import re

import pytest

from pyflowd.language.assembly import assemble
from pyflowd.language.definition_text import Part
from pyflowd.model.states import RunState
from pyflowd.model.triggers import EventTrigger, FileTrigger, UnitTrigger, Verify, WebhookTrigger, WorkflowTrigger
from pyflowd.model.workflow import Workflow

TASKS = "tasks: {t: {run: 'true'}}\n"


def found(text: str) -> tuple[Workflow | None, list[str]]:
    assembled = assemble(Part(label="w.yaml", data=text.encode()), (), stem="w")
    return assembled.workflow, [str(problem) for problem in assembled.problems]


def trigger(text: str, more: str = "") -> EventTrigger:
    workflow, problems = found(f"triggers: {{x: {{{text}}}}}\n{more}{TASKS}")
    assert workflow is not None, problems
    (one,) = workflow.events
    assert not workflow.triggers
    return one


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file: /in/*.csv", FileTrigger(name="x", path="/in/*.csv")),
        (
            "file: {path: /in/a, on: [changes, arrives, changes], stable_for: 10s, claim: move}, enabled: false",
            FileTrigger(
                name="x", path="/in/a", on=("changes", "arrives"), stable_for_s=10, claim=True, enabled=False
            ),
        ),
        ("file: {path: /in/a, on: changes}, if: event.size > 1",
         FileTrigger(name="x", path="/in/a", on=("changes",), condition="event.size > 1")),
        ("workflow: other", WorkflowTrigger(name="x", workflow="other")),
        (
            "workflow: {name: other, outcome: [failed, cancelled]}",
            WorkflowTrigger(name="x", workflow="other", outcomes=(RunState.FAILED, RunState.CANCELLED)),
        ),
        ("unit: a@1.service", UnitTrigger(name="x", unit="a@1.service")),
        ("unit: {name: a.timer, state: active}", UnitTrigger(name="x", unit="a.timer", states=("active",))),
        ("webhook: deploy", WebhookTrigger(name="x", hook="deploy")),
        (
            "webhook: {hook: deploy, verify: {github: [a, b], header: X-Mine}, dedupe: '${{ event.body.id }}'}",
            WebhookTrigger(
                name="x", hook="deploy", verify=Verify(form="github", secrets=("a", "b"), header="x-mine"),
                dedupe="${{ event.body.id }}",
            ),
        ),
    ],
)  # fmt: skip
def test_a_trigger_is_read(text: str, expected: EventTrigger) -> None:
    assert trigger(text) == expected


def test_params_may_hold_the_event() -> None:
    made = trigger("file: /in/*, params: {p: 'x ${{ event.name }}', n: 3}", "params: {p: {}, n: {type: integer}}\n")
    assert made.params == {"p": "x ${{ event.name }}", "n": 3}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("file: in/*.csv", "no absolute path"),
        ("file: /in/", "names a folder"),
        ("file: /in/**/a", r"\*\* is not supported"),
        ("file: /in/../a", "not written plainly"),
        ("file: /in//a", "not written plainly"),
        ("file: {on: arrives}", "it has no path"),
        ("file: {path: /in/a, on: []}", "the list is empty"),
        ("file: {path: /in/a, on: vanishes}", "expected one of arrives, changes"),
        ("file: {path: /in/a, stable_for: 10}", "has no unit"),
        ("file: {path: /in/a, glob: x}", 'did you mean "path"'),
        ("file: /in/a, workflow: b", "fired by one thing"),
        ("file: /in/a, schedule: '@daily'", "fired by one thing"),
        ("workflow: {name: other, outcome: skipped}", "expected one of succeeded"),
        ("unit: postgresql", "no name of a unit"),
        ("unit: '--version.service ;x'", "no name of a unit"),
        ("webhook: {hook: a, verify: {}}", "no form of signature"),
        ("webhook: {hook: a, verify: {github: s, gitlab: s}}", "more than one form"),
        ("webhook: {hook: a, verify: {github: [a, b, c]}}", "3 secrets"),
        ("webhook: {hook: a, verify: {github: '${{ secrets.a }}'}}", "expression"),
        ("webhook: '../a'", "is no name"),
        ("file: /in/a, params: {q: 1}", "no param"),
        ("file: /in/a, if: run.id == '1'", "there is no run yet"),
        ("file: /in/a, if: event.size >", "expression|expected"),
        ("file: /in/a, if: tasks.t.state == 'failed'", "there is no run yet"),
        ("webhook: {hook: a, dedupe: '${{ env.A }}'}", "there is no run yet"),
    ],
)
def test_what_is_wrong_is_refused_with_a_place(text: str, complaint: str) -> None:
    workflow, problems = found(f"triggers:\n  x: {{{text}}}\nparams: {{p: {{}}}}\n{TASKS}")
    assert workflow is None
    assert any(line.startswith("w.yaml:2:") for line in problems), problems
    assert re.search(complaint, "\n".join(problems)), problems


def test_a_required_param_must_be_given() -> None:
    workflow, problems = found(f"triggers: {{x: {{file: /in/a}}}}\nparams: {{p: {{required: true}}}}\n{TASKS}")
    assert workflow is None
    assert "p: a value is required" in problems[0]


def test_a_param_of_the_wrong_type_is_told_at_once() -> None:
    text = f"triggers: {{x: {{file: /in/a, params: {{n: many}}}}}}\nparams: {{n: {{type: integer}}}}\n{TASKS}"
    workflow, problems = found(text)
    assert workflow is None
    assert "expected an integer" in problems[0]


EVENT_IN_A_TASK = "tasks: {t: {run: 'true', env: {A: '${{ default(event.path, 1) }}'}}}\n"


def test_tasks_know_the_event_where_a_trigger_gives_one() -> None:
    workflow, problems = found("triggers: {x: {file: /in/a}}\n" + EVENT_IN_A_TASK)
    assert workflow is not None, problems
    workflow, problems = found("triggers: {x: {schedule: '@daily'}}\n" + EVENT_IN_A_TASK)
    assert workflow is None
    assert "there is no event" in problems[0]


def test_defaults_of_params_do_not_know_the_event() -> None:
    workflow, _ = found("triggers: {x: {file: /in/a}}\nparams: {p: {default: '${{ event.path }}'}}\n" + TASKS)
    assert workflow is None


def test_schedules_and_events_stand_side_by_side() -> None:
    workflow, problems = found("triggers: {x: {file: /in/a}, y: {schedule: '@daily'}}\nschedule: '@hourly'\n" + TASKS)
    assert workflow is not None, problems
    assert [each.name for each in workflow.events] == ["x"]
    assert sorted(each.name for each in workflow.triggers) == ["schedule", "y"]
