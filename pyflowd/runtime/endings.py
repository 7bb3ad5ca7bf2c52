"""From the end of a process to the end of its attempt: what it gave on is taken first (rule P5).

Most attempts give nothing and end at once. What was printed is taken when the logger has written all of it, artifacts
are copied by the pool. Until then the attempt is under way, and the keeper keeps its end: after a crash it is told
again.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from pyflowd.base import output_file, process
from pyflowd.base.captured import Captured, read_stream
from pyflowd.base.pool import Cancel, Pool
from pyflowd.clock import US
from pyflowd.engine.outcomes import judge
from pyflowd.engine.state import TaskRun
from pyflowd.expressions import template
from pyflowd.expressions.expression_values import ExpressionError
from pyflowd.keeper.logindex import STDOUT
from pyflowd.keeper.masking import Masks, mask_text
from pyflowd.model.ends import End, Exit, Given, KeptFile, LostAttempt, Stop
from pyflowd.model.kinds import Reboot
from pyflowd.model.states import AttemptState
from pyflowd.runtime import gather
from pyflowd.runtime.accounts import UnknownUser
from pyflowd.runtime.context import TaskNames
from pyflowd.runtime.keeperlink import output_of_root
from pyflowd.runtime.launch import Host, folder
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.runs import Runs
from pyflowd.runtime.scratch import Scratch
from pyflowd.runtime.secret_lookups import Found, SecretLookups
from pyflowd.runtime.secret_names import Secrets, masked
from pyflowd.runtime.tasklogs import TaskLogs

TOKEN = "artifacts/"  # noqa: S105  (of the pool, no secret)
_WORD_MAX_BYTES = 100
_LOOK_EVERY_US = 2_000
_LOOK_FOR_US = 10_000_000
"""The logger is at most a few milliseconds behind; one that is gone for good never finishes."""


class Endings:
    """Ends of processes on their way to the engine. One thread, but for what the pool calls."""

    def __init__(
        self,
        runs: Runs,
        logs: TaskLogs,
        scratch: Scratch,
        pool: Pool,
        host: Host,
        artifact_max_bytes: int,
        lookups: SecretLookups,
        keeper: str,
    ) -> None:
        """`keeper`: its folder."""
        self.runs = runs
        self.logs = logs
        self.scratch = scratch
        self.pool = pool
        self.host = host
        self.artifact_max_bytes = artifact_max_bytes
        self.lookups = lookups
        self.keeper = keeper
        self._pending: dict[str, tuple[Exit, Given | None]] = {}
        self._restarting: dict[str, End] = {}
        """Ends of attempts whose restart of the host may still come."""

    def take(self, attempt_id: str, end: End) -> None:
        """A process has ended, or could not be started."""
        found = self.runs.under_way(attempt_id)
        due_us = self._restart_due_us(*found, end) if found else None
        if due_us is not None:
            self._restarting[attempt_id] = end
            self.runs.timers.at(due_us, lambda: self.take(attempt_id, end))
        elif found is None or not isinstance(end, Exit):
            self._end(attempt_id, end)
        elif attempt_id not in self._pending:
            wanted = self._secrets_of(attempt_id, *found)
            if wanted:
                self._fetch(attempt_id, end, wanted)
            else:
                self._gather(attempt_id, end, *found)

    def had_begun_reboot(self, live: LiveRun, task: TaskRun) -> bool:
        """Whether an attempt that is to restart the host has started the command for it: its own word for that."""
        try:
            folder = self.scratch.work(live.meta.run)
            name = process.reboot_word(task.definition.name, task.attempts)
            word = self.scratch.read(os.path.join(folder, name), _WORD_MAX_BYTES)
        except ValueError:
            return False
        return word is not None and task.attempt is not None and word == task.attempt.boot_id.encode()

    def _restart_due_us(self, live: LiveRun, task: TaskRun, end: End) -> int | None:
        """Until when the restart of the host may still come (boot-time clock), that an attempt has begun; None: it has
        not, or does not wait any more. A host that goes down takes the keeper, and with it the attempt, away: what
        that end means is said by the boot in which we find ourselves then.
        """
        kind = task.definition.kind
        gone = isinstance(end, LostAttempt) or (isinstance(end, Exit) and end.stop is Stop.SHUTDOWN)
        if not isinstance(kind, Reboot) or not gone or live.run.stopping or task.stopping:
            return None
        if task.attempt is None or task.attempt.boot_id != self.runs.boot_id or not self.had_begun_reboot(live, task):
            return None
        due_us = task.first_mono_us + round(kind.within_s * US)
        return due_us if self.runs.clock.mono_us() < due_us else None

    def stop(self, attempt_id: str) -> None:
        """The attempt is to be stopped: one whose process is gone, and that still waits for the host, ends now."""
        end = self._restarting.pop(attempt_id, None)
        if end is not None:
            self.runs.timers.at(0, lambda: self.take(attempt_id, end))

    def _end(self, attempt_id: str, end: End, given: Given | None = None) -> None:
        """Tell the end, with what was given on; no secret that the attempt had goes on with it (rule P6)."""
        self._pending.pop(attempt_id, None)
        self._restarting.pop(attempt_id, None)
        found = self.lookups.kept(attempt_id)
        if found and given is not None:
            masks = Masks(bytes(value) for value in found.values())
            given = msgspec.structs.replace(
                given,
                outputs=masked(given.outputs, masks),
                error=mask_text(given.error, masks),
                said=mask_text(given.said, masks),
                facts=masked(given.facts, masks),
            )
        self.lookups.forget(attempt_id)
        self.runs.attempt_ended(attempt_id, end, given)

    def _secrets_of(self, attempt_id: str, live: LiveRun, task: TaskRun) -> list[str]:
        """Those that an attempt was given, where their values are not known any more: the daemon was restarted."""
        if self.lookups.kept(attempt_id) is not None or not live.may_have_secrets(task.definition):
            return []
        secrets = Secrets()
        names = TaskNames(live.facts, task, secrets=secrets)
        try:
            names.env()
            for each in task.definition.credentials:
                secrets.fetch(template.render_text(each.secret, names))
        except ExpressionError:
            pass  # it made sense when the attempt began: only what follows from an empty secret does not
        return list(secrets.missing)

    def _fetch(self, attempt_id: str, end: Exit, names: list[str]) -> None:
        """Nothing that the attempt gave on is taken before it is known what has to be masked in it."""
        self._pending[attempt_id] = end, None

        def come(result: Found | Exception) -> None:
            self._pending.pop(attempt_id, None)
            found = self.runs.under_way(attempt_id)
            if found is None:
                self.lookups.forget(attempt_id)
            elif isinstance(result, Exception):
                error = f"its outputs cannot be taken, as what is secret in them cannot be told: {result}"
                self._end(attempt_id, end, Given(error=error))
            else:
                self._gather(attempt_id, end, *found)

        self.lookups.ask(attempt_id, names, come)

    def _gather(self, attempt_id: str, end: Exit, live: LiveRun, task: TaskRun) -> None:
        outcome = judge(task.definition, end, live.run.stopping or task.stopping)
        if outcome.state is not AttemptState.SUCCEEDED or outcome.reason is not None:
            self._end(attempt_id, end, self._said(live, task))
        elif task.definition.capture is not None:
            self._pending[attempt_id] = end, None
            self._look(attempt_id, end, self.runs.clock.mono_us() + _LOOK_FOR_US)
        else:
            self._give(attempt_id, end, live, task, None)

    def _said(self, live: LiveRun, task: TaskRun) -> Given | None:
        """The attempt's own word for why it failed."""
        try:
            written = self._read(live, task, ".error")
        except ValueError:
            return None
        if not written:
            return None
        said = output_file.parse_said(written)
        return Given(said=said.message, facts=dict(said.facts)) if said.message else None

    def _read(self, live: LiveRun, task: TaskRun, suffix: str = "") -> bytes | None:
        if self.host.name_of_task(live.workflow, task.definition) == "root":
            of_root = output_of_root(self.keeper, self.runs.attempt_id(live.run, task)) + suffix
            if (written := self.scratch.read(of_root, output_file.MAX_BYTES)) is not None:
                return written
        path = self.scratch.output(live.meta.run, task.log_name, task.attempts) + suffix
        return self.scratch.read(path, output_file.MAX_BYTES)

    def _look(self, attempt_id: str, end: Exit, give_up_us: int) -> None:
        """Whether all that it printed is on the disk."""
        found = self.runs.under_way(attempt_id)
        if found is None:
            self._pending.pop(attempt_id, None)
            return
        live, task = found
        captured = self._captured(live, task)
        late = self.runs.clock.mono_us() >= give_up_us
        if captured.finished or captured.problem or late:
            if not captured.finished and not captured.problem:
                captured = Captured(finished=True, problem="its log has not been finished")
            self._give(attempt_id, end, live, task, captured)
        else:
            due_us = self.runs.clock.mono_us() + _LOOK_EVERY_US
            self.runs.timers.at(due_us, lambda: self._look(attempt_id, end, give_up_us))

    def _captured(self, live: LiveRun, task: TaskRun) -> Captured:
        descriptors = self.logs.open(live.meta.run, task.log_name, task.attempts)
        if descriptors is None:
            return Captured(finished=True, problem="its log is gone")
        try:
            return read_stream(*descriptors, STDOUT, output_file.MAX_BYTES)
        except OSError as error:
            return Captured(finished=True, problem=f"its log cannot be read: {error.strerror}")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _give(self, attempt_id: str, end: Exit, live: LiveRun, task: TaskRun, captured: Captured | None) -> None:
        try:
            given = gather.given(task.definition, self._read(live, task), captured)
        except ValueError as error:
            given = Given(error=f"$PYFLOW_OUTPUT {error}")
        if not task.definition.artifacts or (given and given.error):
            self._end(attempt_id, end, given)
            return
        try:
            copies = self._copies(live, task)
        except (ExpressionError, UnknownUser) as error:
            self._end(attempt_id, end, Given(error=f"artifacts: {error}"))
            return
        self._pending[attempt_id] = end, given
        self.pool.submit(TOKEN + attempt_id, lambda cancel: _keep(copies, self.artifact_max_bytes, cancel))

    def _copies(self, live: LiveRun, task: TaskRun) -> list[tuple[str, str, str, bool, int | None]]:
        """(name, source, target, optional, owner) of each artifact."""
        names = TaskNames(live.facts, task)
        user = self.host.of_task(live.workflow, task.definition)
        cwd = folder(live.workflow, task.definition, user, names)
        found = []
        for artifact in task.definition.artifacts:
            source = os.path.join(cwd, template.render_text(artifact.path, names))
            target = self.scratch.artifact(live.meta.run, task.log_name, artifact.name)
            owner = None if user is self.host.own else -1 if user.uid is None else user.uid
            found.append((artifact.name, source, target, artifact.optional, owner))
        return found

    def taken(self, attempt_id: str, result: Any) -> None:
        """The pool is done with the artifacts of an attempt."""
        pending = self._pending.pop(attempt_id, None)
        if pending is None:
            return
        end, given = pending
        outputs = given.outputs if given else {}
        if isinstance(result, Exception):
            self._end(attempt_id, end, Given(error=f"artifacts: {result}"))
        else:
            self._end(attempt_id, end, Given(outputs=outputs, artifacts=result))


def _keep(copies: list[tuple[str, str, str, bool, int | None]], max_bytes: int, cancel: Cancel) -> dict[str, KeptFile]:
    """Copy all artifacts of an attempt; in a thread. Raises ValueError with the first that cannot be kept."""
    kept: dict[str, KeptFile] = {}
    for name, source, target, optional, owner in copies:
        if cancel.is_set():
            raise ValueError("cancelled")
        try:
            kept[name] = gather.keep_artifact(source, target, max_bytes, owner)
        except FileNotFoundError:
            if not optional:
                raise ValueError(f"{name}: there is no file {source}") from None
        except OSError as error:
            raise ValueError(f"{name}: {source}: {error.strerror}") from None
        except ValueError as error:
            raise ValueError(f"{name}: {source} {error}") from None
    return kept
