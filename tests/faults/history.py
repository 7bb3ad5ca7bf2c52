"""The judge of every fault: what was acknowledged, what is stored, what the tasks saw of themselves.

It takes plain values, so that a history with a planted bug can be put before it. It knows nothing of how they came.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import apsw
import psutil
from msgspec import Struct


class StoredRun(NamedTuple):
    run: int
    workflow: str
    key: str
    slot: tuple[str, int] | None
    """Trigger and nominal time, of a run that a schedule fired."""
    ended: bool


class StoredAttempt(NamedTuple):
    run: int
    task: str
    attempt: int
    state: str
    exit_code: int | None


class History(Struct, kw_only=True):
    """One instance, over all that was done to it."""

    acknowledged: list[tuple[int, str]]
    """Each run that a client was told of, with the key that it asked with."""
    runs: list[StoredRun]
    attempts: list[StoredAttempt]
    witness: list[str]
    """Lines of the tasks: `start RUN TASK ATTEMPT` first, `exit RUN TASK ATTEMPT CODE` just before the end."""


class Verdict(Struct, kw_only=True):
    """What is wrong with a history; each a line for people."""

    lost: list[str]
    """Acknowledged, and not stored."""
    doubled: list[str]
    """Started twice, made twice from one key, fired twice from one slot; or started without being in the record."""
    invented: list[str]
    """Exit codes that no task ended with."""
    unknown: int
    """Attempts that say that they do not know: allowed, and counted."""

    @property
    def faults(self) -> list[str]:
        return [*self.lost, *self.doubled, *self.invented]


def judge(history: History) -> Verdict:
    stored = {run.run: run for run in history.runs}
    lost = [f"run {run} was acknowledged and is gone" for run, _ in history.acknowledged if run not in stored]
    lost += [
        f"run {run} was acknowledged for key {key} and has {stored[run].key}"
        for run, key in history.acknowledged
        if key and run in stored and stored[run].key != key
    ]
    doubled = _twice("key", ((run.workflow, run.key) for run in history.runs if run.key))
    doubled += _twice("slot", ((run.workflow, *run.slot) for run in history.runs if run.slot))
    starts = [line for line in history.witness if line.startswith("start ")]
    doubled += _twice("started", starts)
    known = {f"start {one.run} {one.task} {one.attempt}" for one in history.attempts}
    doubled += [f"{line}: it is in no record" for line in dict.fromkeys(starts) if line not in known]
    told = set(history.witness)
    invented = [
        f"run {one.run} {one.task} attempt {one.attempt}: code {one.exit_code} ({one.state})"
        for one in history.attempts
        if one.exit_code is not None and f"exit {one.run} {one.task} {one.attempt} {one.exit_code}" not in told
    ]
    invented += [
        f"run {one.run} {one.task} attempt {one.attempt}: succeeded without a code"
        for one in history.attempts
        if one.state == "succeeded" and one.exit_code is None
    ]
    unknown = sum(one.state == "unknown" for one in history.attempts)
    return Verdict(lost=lost, doubled=doubled, invented=invented, unknown=unknown)


def _twice(what: str, all_of_it: Iterable[object]) -> list[str]:
    return [f"{what} {one}: {times} times" for one, times in Counter(all_of_it).items() if times > 1]


def read(root: Path, acknowledged: list[tuple[int, str]]) -> History:
    """The history of a root whose daemon has ended, from the database itself."""
    database = apsw.Connection(str(root / "state" / "pyflow.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        runs = [
            StoredRun(run, workflow, key, (trigger, scheduled_us) if scheduled_us else None, ended_us is not None)
            for run, workflow, key, trigger, scheduled_us, ended_us in database.execute(
                "SELECT run, workflow, key, trigger, scheduled_us, ended_us FROM run"
            )
        ]
        attempts = [
            StoredAttempt(*row)
            for row in database.execute(
                "SELECT run, task, attempt, attempt.state, attempt.exit_code FROM attempt JOIN task USING (run, n)"
            )
        ]
    finally:
        database.close()
    witness = root / "witness"
    lines = witness.read_text().splitlines() if witness.exists() else []
    return History(acknowledged=acknowledged, runs=runs, attempts=attempts, witness=lines)


def survivors(mark: str) -> list[int]:
    """Live processes with `mark` as one of their arguments or in their environment; zombies are dead."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *process.environ().values()]
            if any(mark in word for word in words) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
