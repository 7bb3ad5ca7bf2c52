"""What became of a planned firing, and why: a slot of the ledger, one that is to come, or a time that is none. Pure."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from pyflowd.handlers.explain import Code, deeper
from pyflowd.handlers.explain_run import Standing, run_facts, run_name, run_text, steps
from pyflowd.handlers.explain_words import SLOT_REASONS, Skipped
from pyflowd.model.states import Fate, SlotReason
from pyflowd.protocol.views_runs import ExplanationView, FactView, StepView
from pyflowd.protocol.views_workflows import NextView, SlotView
from pyflowd.render.layout import clean

_UNKNOWN = Skipped("for a reason that this version has no words for", "")


class SlotStanding(Struct, frozen=True, kw_only=True):
    """A row of the ledger. `behind`: the run that it started, or for which it was skipped; `around`: what else was at
    that time, such as who had paused the workflow."""

    view: SlotView
    behind: Standing | None = None
    around: tuple[FactView, ...] = ()


class SlotQuestion(Struct, frozen=True, kw_only=True):
    """What is known of the slots of a workflow at a time."""

    workflow: str
    at_us: int
    now_us: int
    slots: tuple[SlotStanding, ...] = ()
    coming: tuple[NextView, ...] = ()
    """At that time."""
    hindrances: tuple[FactView, ...] = ()
    """Why a coming one would not fire, as things stand."""
    before: SlotView | None = None
    """The nearest ones, where there is none at that time."""
    after: SlotView | NextView | None = None
    triggers: int = 0
    """Schedules of the definition in force."""
    loaded_us: int | None = None
    """Since when that is in force; None: none is."""


# ---- A row ----------------------------------------------------------------------------------------------------------


def slot_reason(word: str | None) -> Skipped:
    """The sentence for a reason; of one that this version does not know it says so."""
    return next((SLOT_REASONS[reason] for reason in SlotReason if reason == word), _UNKNOWN)


def slot_text(view: SlotView) -> str:
    """What became of a slot, in one sentence without its time."""
    name = f"the slot of its trigger {clean(view.trigger)}"
    if view.fate is Fate.FIRED:
        return f"{name} fired" + (f": run {view.run}" if view.run is not None else "")
    which = f": run {view.run}" if view.run is not None else ""
    detail = f" ({clean(view.detail)})" if view.detail else ""
    return f"{name} was skipped: {slot_reason(view.reason).why}{detail}{which}"


def slot_facts(standing: SlotStanding) -> list[FactView]:
    """The row, how the run concerned stands, and what else was."""
    view = standing.view
    code = Code.SLOT_FIRED if view.fate is Fate.FIRED else Code.SLOT_SKIPPED
    facts = [
        FactView(
            code=code, text=slot_text(view), at_us=view.scheduled_us, workflow=view.workflow, trigger=view.trigger,
            run=view.run,
        )
    ]  # fmt: skip
    behind = standing.behind
    if behind is not None:
        run = behind.view
        at_us = run.ended_us or run.started_us or run.created_us
        how = FactView(
            code=Code.RUN, text=f"{run_name(run)} {run_text(run)}", at_us=at_us, depth=1, run=run.run,
            workflow=run.workflow,
        )  # fmt: skip
        facts.append(how)
        facts += deeper(run_facts(behind), 2)
    return facts + deeper(standing.around)


def slot_steps(standing: SlotStanding) -> list[StepView]:
    view = standing.view
    if view.fate is Fate.FIRED:
        return steps(standing.behind) if standing.behind else []
    skipped = slot_reason(view.reason)
    if not skipped.remedy:
        return []
    command = skipped.command.format(workflow=view.workflow, run=view.run)
    found = [StepView(text=skipped.remedy, command=command)]
    return [*found, *(steps(standing.behind)[:1] if standing.behind and standing.behind.live else [])]


# ---- A time ---------------------------------------------------------------------------------------------------------


def explain_slot(question: SlotQuestion, host: list[FactView]) -> ExplanationView:
    """`host`: what is wrong with the host, which is told of coming slots."""
    if question.slots:
        return _of_ledger(question)
    if question.coming:
        return _of_coming(question, host)
    return _of_none(question)


def _of_ledger(question: SlotQuestion) -> ExplanationView:
    first = next((slot for slot in question.slots if slot.view.fate is Fate.SKIPPED), question.slots[0])
    ordered = [first, *(slot for slot in question.slots if slot is not first)]
    text = slot_text(first.view)
    if first.view.fate is Fate.FIRED and first.behind is not None:
        text += f", which {run_text(first.behind.view)}"
    facts = [fact for slot in ordered for fact in slot_facts(slot)]
    return ExplanationView(
        workflow=question.workflow, trigger=first.view.trigger, scheduled_us=first.view.scheduled_us,
        run=first.view.run, state=first.view.fate.value, answer=f"{question.workflow}: {text}",
        answer_us=first.view.scheduled_us, facts=facts, next=slot_steps(first),
    )  # fmt: skip


def _of_coming(question: SlotQuestion, host: list[FactView]) -> ExplanationView:
    facts = [*host, *question.hindrances]
    for slot in question.coming:
        text = f"the slot of its trigger {clean(slot.trigger)} is to come (times of {slot.timezone})"
        fact = FactView(code=Code.SLOT_COMING, text=text, at_us=slot.scheduled_us, workflow=slot.workflow)
        facts.append(replace(fact, trigger=slot.trigger))
    first = question.coming[0]
    would = ", and as things stand it would not fire" if question.hindrances else ""
    return ExplanationView(
        workflow=question.workflow, trigger=first.trigger, scheduled_us=first.scheduled_us, state="coming",
        answer=f"{question.workflow}: the slot of its trigger {clean(first.trigger)} has not come yet{would}",
        answer_us=first.scheduled_us, facts=facts,
        next=[StepView(text="its time comes", at_us=first.scheduled_us)],
    )  # fmt: skip


def _of_none(question: SlotQuestion) -> ExplanationView:
    """No slot: the nearest ones, and since when there are any."""
    name, facts = question.workflow, []
    if question.loaded_us is not None and question.at_us < question.loaded_us and question.before is None:
        text = "its definition came into force only later; slots begin then"
        facts.append(FactView(code=Code.DEFINITION, text=text, at_us=question.loaded_us, workflow=name))
    if question.before is not None:
        text = f"the nearest before: {slot_text(question.before)}"
        facts.append(_near(question.before, text))
    if isinstance(question.after, SlotView):
        facts.append(_near(question.after, f"the nearest after: {slot_text(question.after)}"))
    elif question.after is not None:
        facts.append(_near(question.after, f"the nearest after: one of its trigger {clean(question.after.trigger)}"))
    if not question.triggers:
        facts.append(FactView(code=Code.UNSCHEDULED, text="its definition has no schedule", workflow=name))
    passed = "was" if question.at_us <= question.now_us else "will be"
    return ExplanationView(
        workflow=name, scheduled_us=question.at_us, state="none", answer_us=question.at_us,
        answer=f"{name}: there {passed} no slot at this time", facts=facts,
        next=[StepView(text="which slots are to come", command=f"pyflowctl next {name}")] if question.triggers else [],
    )  # fmt: skip


def _near(slot: SlotView | NextView, text: str) -> FactView:
    return FactView(
        code=Code.SLOT_NONE, text=text, at_us=slot.scheduled_us, workflow=slot.workflow, trigger=slot.trigger
    )
