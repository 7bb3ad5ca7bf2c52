"""The request that writes a file of the workflows folder: looked at, checked as the loader checks files, told what it
changes, written, and answered when it is in force.

What waits for the disk is done by the pool (`folder.saving`), what is read by the child that reads all definitions.
See `handlers` for when what is done.
"""

from __future__ import annotations

import os
from itertools import count

from msgspec.structs import replace

from pyflowd.base.filenames import split_name
from pyflowd.base.peer import Peer
from pyflowd.clock import US
from pyflowd.control.control import Wait
from pyflowd.control.replies import Replies
from pyflowd.errors import PyflowError, Refused, Unavailable
from pyflowd.folder import saving
from pyflowd.folder.loader_frames import Loaded, Rejected
from pyflowd.folder.saving import There
from pyflowd.handlers.handlers_runs import RunHandlers
from pyflowd.model.problem import Problem, Severity
from pyflowd.model.triggers import Schedule
from pyflowd.protocol.requests import SaveDefinition
from pyflowd.protocol.views_workflows import NextView, SavedView
from pyflowd.render import diff
from pyflowd.runtime.audit import Deed
from pyflowd.runtime.errands import Errands
from pyflowd.runtime.live_settings import LiveSettings
from pyflowd.schedules.timetable import Timetable

UNDER_WAY_MAX = 8
"""Each may hold two texts of the greatest size."""
AHEAD_US = 86_400 * US
SLOTS_MAX = 1_500
"""Of one workflow that are compared: one a minute for a day, 30 ms."""
LOOKS = 5
"""How often the folder is waited for, each time until it has settled or 2 s have passed."""


class _Save:
    """One that is under way. `outcome`: what is answered, once it is known."""

    def __init__(self, request: SaveDefinition, deed: Deed, topic: str) -> None:
        self.request = request
        self.deed = deed
        self.topic = topic
        self.there = There()
        self.refused = ""
        """Why it may not be written."""
        self.digest = ""
        """Of the definition with all its parts, as it would be in force."""
        self.view: SavedView | None = None
        self.looks = LOOKS
        self.outcome: list[SavedView | PyflowError] = []


class SaveHandlers:
    """As `Handlers`, but that each step is done when the one before has ended."""

    def __init__(self, of_runs: RunHandlers, errands: Errands, settings: LiveSettings) -> None:
        self.workflows = of_runs.workflows
        self.definitions = of_runs.definitions
        self.access = of_runs.access
        self.health = of_runs.health
        self.audit = of_runs.audit
        self.clock = of_runs.clock
        self.errands = errands
        self.settings = settings
        self._folder = self.definitions.folders.workflows
        self._numbers = count(1)
        self._under_way = 0

    def save(self, request: SaveDefinition, _: Peer) -> Replies:
        saving.check_name(request.file)
        if not request.dry_run and (why := self._not_allowed()):
            raise Refused(why)
        if self._under_way >= UNDER_WAY_MAX:
            raise Unavailable(f"{UNDER_WAY_MAX} files are being checked or saved; try again in a moment")
        self._under_way += 1
        save = _Save(request, self.audit.put_off(), f"save/{next(self._numbers)}")
        self.errands.send(lambda: saving.look(self._folder, request.file), lambda result: self._looked(save, result))
        return _when_done(save)

    def _not_allowed(self) -> str:
        if self.settings.now.edit:
            return ""
        return f"definitions are not edited from here: write edit: true into {self.settings.path}, pyflowctl reload"

    def _end(self, save: _Save, outcome: SavedView | Exception) -> None:
        self._under_way -= 1
        if not isinstance(outcome, SavedView | PyflowError):
            outcome = Unavailable(f"{save.request.file}: {outcome}; it was not saved")
        save.outcome.append(outcome)
        self.workflows.topics.add(save.topic)

    # ---- Look, check

    def _looked(self, save: _Save, result: There | Exception) -> None:
        request = save.request
        if isinstance(result, Exception):
            self._end(save, result)
            return
        save.there = result
        save.refused = result.fault or saving.conflict(request.file, result, request.base) or self._not_allowed()
        if save.refused and not request.dry_run:
            self._end(save, Refused(save.refused))
            return
        self.definitions.check_text(
            request.file, request.data, os.geteuid(), lambda checked: self._checked(save, checked), file=request.file
        )

    def _checked(self, save: _Save, checked: Loaded | Rejected) -> None:
        request, there = save.request, save.there
        save.digest = checked.digest if isinstance(checked, Loaded) else ""
        problems = [*checked.problems, *self._taken(request.file, checked)]
        before, after = self._slots(request.file, checked)
        digest = saving.digest_of(request.data)
        name = checked.name if isinstance(checked, Loaded) else split_name(request.file)[0]
        save.view = SavedView(
            file=request.file, workflow=name, written=False, digest=digest, problems=problems,
            diff=diff.of_file(there.text, request.data, request.file),
            slots_added=_without(after, before), slots_removed=_without(before, after),
            refused=save.refused, there=there.text if there.digest != request.base else None,
        )  # fmt: skip
        wrong = any(problem.severity is Severity.ERROR for problem in problems)
        if request.dry_run or wrong or there.digest == digest:
            self._end(save, save.view)
            return
        try:
            self.access.authorise(request, save.deed.peer)
            self.health.check_writable()
            if why := self._not_allowed():
                raise Refused(why)
        except PyflowError as error:
            self._end(save, error)
            return
        self.errands.send(
            lambda: saving.write(self._folder, request.file, request.data, request.base),
            lambda result: self._written(save, result),
        )

    def _taken(self, file: str, checked: Loaded | Rejected) -> list[Problem]:
        """What is wrong with the name that a text gives."""
        holder = self.definitions.catalog.holder(checked.name) if isinstance(checked, Loaded) else None
        if holder is None or holder.file == file:
            return []
        message = f"the name {holder.name} is taken by {holder.file}"
        return [Problem(file=file, code="duplicate_name", message=message, fix="give one of them another name")]

    # ---- What comes

    def _slots(self, file: str, checked: Loaded | Rejected) -> tuple[list[NextView], list[NextView]]:
        """The slots of the next 24 hours as they are, and as they would be; of a text that is refused both are none."""
        if isinstance(checked, Rejected):
            return [], []
        now_us = self.clock.wall_us()
        row = self.definitions.catalog.row(file)
        old = row.name if row is not None else None
        known = self.workflows.timetable
        before = [] if old is None or self.workflows.is_paused(old) else self._coming(known, old, now_us)
        if self.workflows.is_paused(checked.name):
            return before, []
        triggers = self.workflows.decode(checked.compiled).triggers
        after = self._coming(self._planned(checked.name, triggers, now_us), checked.name, now_us)
        if len(before) == SLOTS_MAX or len(after) == SLOTS_MAX:  # only as far as both are known
            until_us = min(slots[-1].scheduled_us for slots in (before, after) if len(slots) == SLOTS_MAX)
            return _until(before, until_us), _until(after, until_us)
        return before, after

    def _planned(self, name: str, triggers: tuple[Schedule, ...], now_us: int) -> Timetable:
        """The schedules of a text, as if it came into force now."""
        known = self.workflows.timetable
        anchors = {trigger.name: known.anchor_us(name, trigger.name) for trigger in triggers}
        planned = Timetable(self.workflows.host_id, self.workflows.zone, known.judge)
        planned.set_workflow(
            name, triggers, now_us, anchors={trigger: at_us for trigger, at_us in anchors.items() if at_us is not None}
        )
        return planned

    def _coming(self, timetable: Timetable, name: str, now_us: int) -> list[NextView]:
        return [
            NextView(
                workflow=name, trigger=due.trigger.name, scheduled_us=due.scheduled_us,
                timezone=due.trigger.timezone or self.workflows.zone.name,
            )
            for due in timetable.upcoming(now_us, SLOTS_MAX, name)
            if now_us < due.scheduled_us <= now_us + AHEAD_US
        ]  # fmt: skip

    # ---- Written

    def _written(self, save: _Save, result: Exception | None) -> None:
        if result is not None:
            self._end(save, result)
            return
        self.audit.during(save.deed, lambda: self._recorded(save))
        self._wait(save)

    def _recorded(self, save: _Save) -> Replies:
        assert save.view is not None
        self.audit.about(save.view.workflow)
        self.audit.add("digest", save.view.digest)
        return iter(())

    def _wait(self, save: _Save) -> None:
        save.looks -= 1
        self.definitions.rescan()
        self.definitions.when_settled(lambda: self._settled(save))

    def _settled(self, save: _Save) -> None:
        """The folder has been looked at: is what was written in force?"""
        assert save.view is not None
        row = self.definitions.catalog.row(save.request.file)
        problems = list(row.problems) if row is not None else []
        wrong = any(problem.severity is Severity.ERROR for problem in problems)
        if not wrong and (row is None or row.digest != save.digest):
            if save.looks:
                self._wait(save)
                return
            message = "it was written, and is not in force yet"
            problems = [Problem(file=save.request.file, code="not_in_force", message=message, fix="pyflowctl reload")]
        self._end(save, replace(save.view, written=True, problems=problems))


def _without(slots: list[NextView], others: list[NextView]) -> list[NextView]:
    known = frozenset(others)
    return [slot for slot in slots if slot not in known]


def _until(slots: list[NextView], until_us: int) -> list[NextView]:
    return [slot for slot in slots if slot.scheduled_us <= until_us]


def _when_done(save: _Save) -> Replies:
    while not save.outcome:
        yield Wait(frozenset({save.topic}))
    if isinstance(save.outcome[0], PyflowError):
        raise save.outcome[0]
    yield save.outcome[0]
