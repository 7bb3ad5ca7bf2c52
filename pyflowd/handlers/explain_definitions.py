"""What is known of a definition, for explanations: whether it is in force, since when, paused by whom, refused why, and
when its triggers come. It looks, and changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from pyflowd.errors import NotFound
from pyflowd.events import DefinitionRefused, StoredEvent
from pyflowd.handlers.explain import Code
from pyflowd.handlers.explain_slot import slot_reason
from pyflowd.handlers.explain_workflow import TriggerStanding, WorkflowStanding
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.model.problem import Problem, Severity
from pyflowd.model.states import Fate
from pyflowd.model.triggers import EventTrigger, FileTrigger, Schedule, UnitTrigger, WebhookTrigger, WorkflowTrigger
from pyflowd.model.workflow import Overlap
from pyflowd.protocol.views_runs import FactView
from pyflowd.render.layout import clean, spoken
from pyflowd.runtime.workflows import Entry
from pyflowd.schedules.schedule import text_of

LOOKED_BACK = 200
_MAX = (1 << 63) - 1
_event = msgspec.msgpack.Decoder(StoredEvent)


class DefinitionSources:
    """Definitions of one instance."""

    def __init__(self, of_runs: RunHandlers) -> None:
        self.store = of_runs.store
        self.workflows = of_runs.workflows
        self.definitions = of_runs.definitions
        self.clock = of_runs.clock

    def standing(self, name: str, *, has_run: bool) -> WorkflowStanding:
        """A workflow without its slots and runs. Raises NotFound."""
        entry = self.workflows.entries.get(name)
        if entry is not None:
            return self._in_force(entry)
        problems = tuple(self.workflows.refusals(name))
        if problems:
            return WorkflowStanding(
                workflow=name, state="broken", file=problems[0].file, path=self._path(problems[0].file),
                problems=problems, refused_us=self._refused_us(name),
            )  # fmt: skip
        change = self.store.one_or_none("changes", name, _MAX, 1)
        if change is not None:
            return WorkflowStanding(workflow=name, state="removed", file=change[3], since_us=change[1])
        if has_run:
            return WorkflowStanding(workflow=name, state="uninstalled")
        self.workflows.find(name)  # says what the nearest name is
        raise NotFound(f'no workflow "{name}"')

    def _in_force(self, entry: Entry) -> WorkflowStanding:
        name = entry.name
        view = self.definitions.view(name, None)
        errors = tuple(problem for problem in view.problems if problem.severity is Severity.ERROR)
        paused_us, paused_by = self.workflows.pause_of(name) or (None, "")
        change = self.store.one_or_none("change_of_text", name, entry.digest)
        newest = self.store.one_or_none("changes", name, _MAX, 1)
        return WorkflowStanding(
            workflow=name, state=view.state, file=entry.file, path=self._path(_file(errors, entry.file)),
            digest=entry.digest, since_us=change[1] if change else entry.loaded_us,
            how=spoken(newest[2]) if newest else "", paused_by=paused_by, paused_us=paused_us, problems=errors,
            refused_us=self._refused_us(name) if errors else None, triggers=tuple(self._triggers(entry)),
            skips=entry.head.overlap in (None, Overlap.SKIP), expected=tuple(self._expected(name)),
        )  # fmt: skip

    def _expected(self, name: str) -> Iterator[FactView]:
        for workflow, _, trigger, _, missed_us, run, text in self.store.rows("expectations_open"):
            if workflow == name:
                said = f"expected, and not so: {text}"
                yield FactView(code=Code.EXPECTED, text=said, at_us=missed_us, workflow=name, run=run, trigger=trigger)

    def _path(self, file: str) -> str:
        return os.path.join(self.definitions.folders.workflows, file)

    def _refused_us(self, name: str) -> int | None:
        """When the newest text was refused."""
        for row in self.store.rows("host_events_with", _MAX, b"definition_refused", LOOKED_BACK):
            event = _event.decode(row[3])
            if isinstance(event, DefinitionRefused) and event.workflow == name:
                return event.at_us
        return None

    def _triggers(self, entry: Entry) -> Iterator[TriggerStanding]:
        now_us, host = self.clock.wall_us(), self.workflows.zone
        timetable = self.workflows.timetable
        coming: dict[str, int] = {}
        for due in timetable.upcoming(now_us, 4 * len(entry.head.triggers) + 8, entry.name, ()):
            coming.setdefault(due.trigger.name, due.scheduled_us)
        for trigger in entry.head.triggers:
            next_us = coming.get(trigger.name)
            barred, barred_us = self._bar(entry.name, trigger, now_us, next_us)
            yield TriggerStanding(
                name=trigger.name, text=text_of(trigger, host), enabled=trigger.enabled, next_us=next_us,
                event=trigger.cron == "@reboot", barred=barred, barred_us=barred_us,
            )  # fmt: skip
        for event in entry.head.events:
            yield TriggerStanding(
                name=event.name, text=event_text(event), enabled=event.enabled, event=True,
                firing=self._firing(entry.name, event.name),
            )  # fmt: skip

    def _bar(self, workflow: str, trigger: Schedule, now_us: int, until_us: int | None) -> tuple[str, int | None]:
        """Why the first time that would be a slot before `until_us` is none; empty where there is none before."""
        times = self.workflows.timetable.times(workflow, trigger.name)
        slot = times.next_after(now_us) if times else None
        if slot is None or (until_us is not None and slot.at_us >= until_us):
            return "", None
        if slot.left_out:
            return "the change of the clocks leaves it out", slot.at_us
        bar = self.workflows.timetable.bar(trigger, slot.at_us, slot.at_us)
        return (f"{slot_reason(bar.reason).why} ({bar.detail})", slot.at_us) if bar else ("", None)

    def _firing(self, workflow: str, trigger: str) -> FactView | None:
        """What reached an event trigger last."""
        row = self.store.one_or_none("newest_firing", workflow, trigger)
        if row is None:
            return None
        _, at_us, fate, reason, run, summary, error = row
        text = f"the newest event: {clean(summary)}"
        if fate == Fate.FIRED:
            text += f" started run {run}"
        else:
            text += f" started nothing: {slot_reason(reason).why}" + (f" ({clean(error)})" if error else "")
        return FactView(code=Code.FIRING, text=text, at_us=at_us, workflow=workflow, run=run, trigger=trigger)


def _file(problems: tuple[Problem, ...], file: str) -> str:
    return problems[0].file if problems else file


def event_text(trigger: EventTrigger) -> str:
    """What an event trigger waits for, for people."""
    match trigger:
        case FileTrigger():
            return f"file {trigger.path} {' or '.join(trigger.on)}"
        case WorkflowTrigger():
            return f"workflow {trigger.workflow} has {' or '.join(trigger.outcomes)}"
        case UnitTrigger():
            return f"unit {trigger.unit} becomes {' or '.join(trigger.states)}"
        case WebhookTrigger():
            return f"webhook {trigger.hook}"
