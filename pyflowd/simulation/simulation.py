"""The host under a virtual clock: what starts, what waits, what is skipped, between two instants to come.

`Workflows`, `Runs`, `Admission`, `Sharing` and `InsideTasks` are the daemon's own, restarted on the rows of a basis, so
what a simulation decides is what the daemon would decide. Only what they are given is made up: processes and requests
succeed after their usual time, gates are open, approvals are given (see `simulation_assumptions`). It opens no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from pyflowd.base import zones
from pyflowd.base.pool import Call as PoolCall
from pyflowd.base.pool import Pool
from pyflowd.base.timers import Timers
from pyflowd.clock import US
from pyflowd.engine.state import TaskRun
from pyflowd.errors import Refused
from pyflowd.model.ends import CallEnd, End, Exit, Waited
from pyflowd.model.ends import Stop as Stopping
from pyflowd.model.kinds import Approval, Http, Notify, ProcessKind, Wait
from pyflowd.model.states import TaskState
from pyflowd.model.triggers import Schedule
from pyflowd.model.workflow import Workflow
from pyflowd.runtime.admission import Admission
from pyflowd.runtime.context import TaskNames
from pyflowd.runtime.event_starts import EventStarts
from pyflowd.runtime.inside import InsideTasks
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.runs import Launch, Runs, Stop
from pyflowd.runtime.workflows import Workflows
from pyflowd.schedules.calendars import Almanac
from pyflowd.schedules.schedule import same_times
from pyflowd.simulation.simulation_assumptions import Assumed, answer_s, attempt_s
from pyflowd.simulation.simulation_model import Basis, Options, Simulation
from pyflowd.simulation.simulation_record import Record
from pyflowd.simulation.simulation_store import MemoryStore

WARM_UP_US = 86_400 * US
"""How long before an instant far from now the simulation begins, so that what is live then has come about."""
SLOTS_MAX = 1_000_000
"""Some minutes, and a gigabyte: nobody wants to wait longer, or has meant it."""
LATE_SHARE = 10
"""A task that has taken longer than ever is taken to need a tenth of that more."""
_workflow = msgspec.msgpack.Decoder(Workflow)
_encode = msgspec.msgpack.Encoder().encode


class VirtualClock:
    """It moves when it is told to, and nobody sets it: both clocks move together."""

    def __init__(self, wall_us: int, mono_us: int) -> None:
        self._wall_us = wall_us
        self._ahead_us = wall_us - mono_us

    def wall_us(self) -> int:
        return self._wall_us

    def mono_us(self) -> int:
        return self._wall_us - self._ahead_us

    def move_to(self, mono_us: int) -> None:
        self._wall_us = max(self._wall_us, mono_us + self._ahead_us)

    def mono_of(self, wall_us: int) -> int:
        return wall_us - self._ahead_us


class _NoPool(Pool):
    """Takes the looks at gates, which nobody takes: the simulation says that they are open."""

    def __init__(self) -> None:  # a Pool's own would make a pipe
        self.submitted: list[str] = []

    def submit(self, token: str, call: PoolCall) -> None:
        self.submitted.append(token)

    def cancel(self, token: str) -> None:
        """Its answer is passed over by who asked."""


class Host:
    """One simulation. `start`, then `advance`."""

    def __init__(self, basis: Basis, begin_us: int, options: Options) -> None:
        self._options = options
        self._durations = basis.durations
        self.clock = VirtualClock(begin_us, basis.mono_us + begin_us - basis.now_us)
        self.timers = Timers()
        self.record = Record(self.clock)
        definitions = {row[0]: _workflow.decode(row[6]) for row in basis.rows["workflows"]}
        self.assumed = Assumed(definitions, basis.durations, options)
        self._assumed_of_live = Assumed(definitions, basis.durations, options)
        """What is assumed of runs that exist is that of their definitions once more: it is not told twice."""
        store = MemoryStore(_ready(basis, begin_us, definitions, self.assumed), self.record)
        zone = zones.zone(basis.timezone)
        self.runs = self.record.runs = Runs(store, self.clock, self.timers, basis.max_tasks, zone)
        self.runs.sharing.settings_sizes = basis.pools
        self._pool = _NoPool()
        self.admission = Admission(self.runs, self._pool, {})
        self.workflows = Workflows(store, self.runs, self.admission, basis.host, zone)
        self.workflows.slots.almanac = Almanac(basis.almanac, zone)
        EventStarts(self.workflows)  # runs that follow others
        self._inside = InsideTasks(self.runs, self.workflows, _send, _submit, _cancel)

    def start(self) -> None:
        """As the daemon does: definitions and pauses, live runs, what was under way."""
        self.workflows.restore(self.clock.wall_us())
        self.runs.rebuild(self.workflows.compiled)
        self.record.real = frozenset(self.runs.live)
        for live in self.runs.live.values():
            self._take_up(live)
        self._inside.recover(requests_go_on=True)
        self.workflows.admit_all()
        self._turn()

    def advance(self, until_us: int) -> None:
        """Let everything happen that is due up to `until_us`, and with it."""
        last_us = self.clock.mono_of(until_us)
        while (due_us := self._next_mono_us()) is not None and due_us <= last_us:
            self.clock.move_to(due_us)
            self.timers.fire(self.clock.mono_us())
            self._turn()
            if len(self.record.slots) > SLOTS_MAX:
                raise Refused(f"more than {SLOTS_MAX:,} slots are due in this time; choose a shorter one")
        self.clock.move_to(last_us)

    def _next_mono_us(self) -> int | None:
        slot_us = self.workflows.next_due_us()
        timer_us = self.timers.next_due_us()
        due = [] if timer_us is None else [timer_us]
        if slot_us is not None:
            due.append(self.clock.mono_of(slot_us))
        return min(due, default=None)

    # ---- One turn, as the dispatcher's

    def _turn(self) -> None:
        self.workflows.tick()
        again = True
        while again:
            ended, self.runs.ended = self.runs.ended, []
            self.workflows.after_runs(ended)
            self.runs.fill("")
            again = self._inside.settle(ended) or bool(self.runs.ended)
            again = self._open_gates() or again
        self._act()
        self.record.look()
        self.runs.changed.clear()
        self.workflows.take_topics()

    def _open_gates(self) -> bool:
        asked, self._pool.submitted = self._pool.submitted, []
        for token in asked:
            self.admission.taken(token, "")
        return bool(asked)

    def _act(self) -> None:
        actions, self.runs.actions = self.runs.actions, []
        for action in actions:
            if isinstance(action, Launch):
                self._end_later(action.live, action.task, 0)
            elif isinstance(action, Stop):
                self._stopped(action.attempt_id)
        begun, self.record.begun = self.record.begun, []
        for run, task in begun:
            live = self.runs.live.get(run.run_id)
            if live is not None:
                self._answer_later(live, task, 0)

    # ---- What is made up

    def _end_later(self, live: LiveRun, task: TaskRun, elapsed_us: int) -> None:
        """A process or a request succeeds when its usual time is over."""
        whole_us = round(attempt_s(live.meta.workflow, task.definition, self._durations, self._options) * US)
        attempt_id = self.runs.attempt_id(live.run, task)
        began_us = self.clock.wall_us() - elapsed_us

        def end() -> None:
            now_us, process = self.clock.wall_us(), isinstance(task.definition.kind, ProcessKind)
            done: End = CallEnd(started_us=began_us, ended_us=now_us, status=200)
            if process:
                done = Exit(exit_code=0, signal=None, started_us=began_us, ended_us=now_us)
            if self.runs.under_way(attempt_id) is not None:
                self.runs.attempt_ended(attempt_id, done)

        self.timers.at(self.clock.mono_us() + self._left_us(whole_us, elapsed_us), end)

    def _left_us(self, whole_us: int, elapsed_us: int) -> int:
        return whole_us - elapsed_us if whole_us > elapsed_us else elapsed_us // LATE_SHARE

    def _stopped(self, attempt_id: str) -> None:
        """A process that is asked to stop ends at once."""
        now_us = self.clock.wall_us()
        end = Exit(exit_code=None, signal=15, started_us=now_us, ended_us=now_us, stop=Stopping.REQUEST)
        self.timers.at(self.clock.mono_us(), lambda: self.runs.attempt_ended(attempt_id, end))

    def _answer_later(self, live: LiveRun, task: TaskRun, elapsed_us: int) -> None:
        """Approvals, and waits for a condition that may never hold here."""
        kind, workflow = task.definition.kind, live.meta.workflow
        attempt_id = self.runs.attempt_id(live.run, task)
        if isinstance(kind, Approval):
            whole_s = answer_s(workflow, task.definition, self._durations, self._options)
            choice = kind.default or (kind.choices[0] if kind.choices else None)

            def come() -> None:
                if self.runs.under_way(attempt_id) is not None:
                    self._inside.answer(live, task, "simulation", "", choice, approve=True)

        elif isinstance(kind, Wait) and kind.condition:
            whole_s = attempt_s(workflow, task.definition, self._durations, self._options)

            def come() -> None:
                if self.runs.under_way(attempt_id) is not None:
                    self.runs.attempt_ended(attempt_id, Waited(ended_us=self.clock.wall_us()))

        else:
            return
        self.timers.at(self.clock.mono_us() + self._left_us(round(whole_s * US), elapsed_us), come)

    def _take_up(self, live: LiveRun) -> None:
        """What of a run that exists has not begun is made ready; what is under way goes on."""
        self.record.take_up(live.meta, live.run)
        for node in live.by_index:
            if node.state is TaskState.RUNNING and node.fan is None and node.attempt is not None:
                elapsed_us = max(0, self.clock.wall_us() - node.attempt.started_us)
                if isinstance(node.definition.kind, ProcessKind | Http):
                    self._end_later(live, node, elapsed_us)
                else:
                    self._answer_later(live, node, elapsed_us)
            elif node.state is TaskState.WAITING and node.item is None and node.deciding is None:
                node.definition = self._assumed_of_live.task(live.workflow, node.definition)


def _send(kind: Notify, live: LiveRun, names: TaskNames) -> str:
    """No message is sent."""
    return ""


def _submit(attempt_id: str, live: LiveRun, task: TaskRun, names: TaskNames, timeout_s: float | None) -> None:
    """No request is made."""


def _cancel(attempt_id: str) -> None:
    """None is under way."""


# ---- Bases ----------------------------------------------------------------------------------------------------------


def begin_of(basis: Basis, from_us: int) -> int:
    """Where a simulation from `from_us` on begins: now, if that leads there, else long enough before."""
    if basis.now_us <= from_us <= basis.now_us + WARM_UP_US:
        return basis.now_us
    return from_us - WARM_UP_US


def _ready(basis: Basis, begin_us: int, definitions: Mapping[str, Workflow], assumed: Assumed) -> Basis:
    """The rows of a host at `begin_us`: definitions that can run without outputs, and no runs unless it is now."""
    rows = dict(basis.rows)
    rows["workflows"] = [_assumed_row(row, definitions[row[0]], assumed) for row in basis.rows["workflows"]]
    if begin_us != basis.now_us:
        rows["live_runs"] = []
        rows["triggers"] = [[*row[:2], begin_us, _anchor_us(row)] for row in basis.rows.get("triggers", [])]
    return replace(basis, rows=rows)


def _anchor_us(row: list[Any]) -> int:
    """From when on an interval is counted: of an old row, its cursor."""
    cursor_us, anchor_us = row[2:4]
    return int(cursor_us if anchor_us is None else anchor_us)


def _assumed_row(row: list[Any], workflow: Workflow, assumed: Assumed) -> list[Any]:
    made = assumed.workflow(workflow)
    return row if made is workflow else [*row[:6], _encode(made), *row[7:]]


def with_definition(basis: Basis, workflow: Workflow, file: str, digest: str) -> Basis:
    """The basis as if a file had just come into force."""
    before = next((row for row in basis.rows["workflows"] if row[0] == workflow.name), None)
    paused = before[4:6] if before is not None else [None, ""]
    row = [workflow.name, file, digest, basis.now_us, *paused, _encode(workflow)]
    others = [each for each in basis.rows["workflows"] if each is not before]
    known = _workflow.decode(before[6]).triggers if before is not None else ()
    kept = {each.name for each in workflow.triggers if any(_is_same(old, each) for old in known)}
    triggers = [each for each in basis.rows.get("triggers", []) if each[0] != workflow.name or each[1] in kept]
    fresh = [each.name for each in workflow.triggers if each.name not in kept]
    triggers += [[workflow.name, name, basis.now_us, basis.now_us] for name in fresh]
    rows = {**basis.rows, "workflows": sorted([*others, row], key=_name), "triggers": triggers}
    return replace(basis, rows=rows)


def _name(row: list[Any]) -> str:
    return str(row[0])


def _is_same(old: Schedule, new: Schedule) -> bool:
    """Whether a trigger goes on where the one of its name was."""
    return old.name == new.name and same_times(old, new)


# ---- The whole ------------------------------------------------------------------------------------------------------


def simulate(basis: Basis, from_us: int, to_us: int, options: Options | None = None) -> Simulation:
    """What would happen from `from_us` until `to_us`."""
    begin_us = begin_of(basis, from_us)
    host = Host(basis, begin_us, options or Options())
    host.start()
    host.advance(from_us - 1)
    record = host.record
    record.forget_peaks()
    before = len(record.slots)
    host.advance(to_us)
    runs = record.result(from_us)
    return Simulation(
        begun_us=begin_us,
        from_us=from_us,
        to_us=to_us,
        slots=tuple(record.slots[before:]),
        runs=runs,
        tasks=replace(record.tasks, size=basis.max_tasks),
        live=record.live,
        pools=record.pools,
        assumptions=host.assumed.told(),
    )
