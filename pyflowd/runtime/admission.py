"""Lets recorded runs in: past the overlap rule they ask for their places, then their gates are looked at, then they go.

A run whose gate is closed gives its places back and asks again later (rule R7), until its time to wait is over; it
goes straight to its handlers then. One thread, part of a turn; gates are looked at in the thread pool.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo

import msgspec

from pyflowd.base.pool import Pool
from pyflowd.clock import US
from pyflowd.errors import Refused
from pyflowd.events import GateClosed
from pyflowd.expressions import template
from pyflowd.expressions.expression_values import ExpressionError
from pyflowd.model.states import Reason, RunState
from pyflowd.model.workflow import DiskFree, Gates, Workflow
from pyflowd.runtime import context, gates
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.runs import Runs
from pyflowd.store.batch import RunMeta

TOKEN = "gates/"  # noqa: S105  (of the pool, no secret)


class Admission:
    """Owns the way from `queued` to `running`. `environment`: what a command of a gate has beside the run's own."""

    def __init__(self, runs: Runs, pool: Pool, environment: Mapping[str, str]) -> None:
        self._runs = runs
        self._pool = pool
        self._environment = environment
        self._looking: set[int] = set()
        """Runs whose gates are being looked at, each holding its places meanwhile."""
        runs.let_in = self._let_in

    def admit(self, live: LiveRun) -> None:
        """Nothing of its own workflow keeps a queued run any more: let it wait for what else it needs."""
        if live.admitted or live.run.state is not RunState.QUEUED or self._runs.drained:
            return
        live.admitted = True
        self._ask(live)

    def _ask(self, live: LiveRun) -> None:
        if self._runs.drained:
            live.admitted = False  # it is let in again when the host is
        elif not self._runs.sharing.ask(live):
            self._let_in(live)

    def _let_in(self, live: LiveRun) -> None:
        """It has its places."""
        wanted = live.workflow.gates
        if wanted is None:
            self._runs.start(live)
            return
        run = live.meta.run
        try:
            asked = _rendered(wanted, live)
        except ExpressionError as error:
            self._runs.refuse(live, Reason.EXPRESSION_ERROR, f"gates: {error}")
            return
        env = {**self._environment, **live.common_env}
        self._looking.add(run)
        self._pool.submit(f"{TOKEN}{run}", lambda cancel: gates.closed(asked, env, cancel))

    def taken(self, token: str, why: object) -> None:
        """The pool has looked at the gates of a run."""
        run = int(token.removeprefix(TOKEN))
        self._looking.discard(run)
        live = self._runs.live.get(run)
        if live is None or live.run.state is not RunState.QUEUED:
            return
        if isinstance(why, BaseException):
            why = f"the gates could not be looked at: {str(why) or type(why).__name__}"
        if why:
            self._closed(live, str(why))
        elif self._runs.drained:
            self._runs.sharing.leave(live)
            live.admitted = False
        else:
            self._runs.start(live)

    def _closed(self, live: LiveRun, why: str) -> None:
        wanted, run = live.workflow.gates, live.run
        assert wanted is not None
        now_us, mono_us = self._runs.clock.wall_us(), self._runs.clock.mono_us()
        if run.gate != why:
            self._runs.feed(live, GateClosed(now_us, why))
        if live.gate_due_us is None:  # over a restart it is counted by the wall clock
            whole_us = round(wanted.wait_s * US)
            live.gate_due_us = mono_us + min(whole_us, max(0, run.gate_us + whole_us - now_us))
        if mono_us >= live.gate_due_us:
            self._runs.refuse(live, Reason.GATE_CLOSED, f"gate closed: {why}")
            return
        self._runs.sharing.leave(live)

        def again() -> None:
            if live.run.state is RunState.QUEUED:
                self._ask(live)

        self._runs.timers.at(min(mono_us + round(wanted.every_s * US), live.gate_due_us), again)

    def withdraw(self, run: int) -> None:
        """A run has ended: nobody wants to know of its gates any more."""
        if run in self._looking:
            self._pool.cancel(f"{TOKEN}{run}")


def check(definition: Workflow, meta: RunMeta, zone: tzinfo) -> None:
    """Whether what a run needs before it starts has a value. Raises Refused."""
    try:
        context.group(definition, meta, zone)
    except ExpressionError as error:
        raise Refused(f"{meta.workflow}: concurrency.group: {error}") from error


def _rendered(wanted: Gates, live: LiveRun) -> Gates:
    """With the values of the expressions in it. Raises ExpressionError."""
    facts = live.facts
    names = context.RunNames(facts.meta, facts.zone)

    def texts(written: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(template.render_text(text, names) for text in written)

    disks = [msgspec.structs.replace(disk, path=template.render_text(disk.path, names)) for disk in wanted.disk_free]
    return Gates(
        units_active=texts(wanted.units_active), disk_free=tuple[DiskFree, ...](disks),
        path_exists=texts(wanted.path_exists), command=(*wanted.command[:1], *texts(wanted.command[1:])),
    )  # fmt: skip
