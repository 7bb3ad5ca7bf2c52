"""Hands attempts that are processes to the keeper: their folders, their secrets, their log, then the request.

What fails before the keeper is asked is the attempt's end, told as an event of the next turn. An attempt that needs
secrets waits for them here; it is `starting` meanwhile, and never known to the keeper.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

import msgspec

from pyflowd.base.timers import Timers
from pyflowd.clock import Clock
from pyflowd.control.control import close_all
from pyflowd.engine import engine
from pyflowd.engine.outcomes import EXPRESSION, SECRET, cancelled_before_start
from pyflowd.engine.state import TaskRun
from pyflowd.errors import Refused
from pyflowd.journal import Journal
from pyflowd.keeper.masking import mask_text
from pyflowd.model.ends import SHORTAGES, StartFailure
from pyflowd.model.states import TaskState
from pyflowd.model.workflow import Journal as Wanted
from pyflowd.runtime import launch
from pyflowd.runtime.context import TaskNames
from pyflowd.runtime.keeperlink import KeeperLink, StartRequest
from pyflowd.runtime.last_words import wanted, whose
from pyflowd.runtime.launch import Host, Told
from pyflowd.runtime.live import LiveRun
from pyflowd.runtime.runs import Launch, Runs
from pyflowd.runtime.scratch import Scratch
from pyflowd.runtime.secret_lookups import Found, SecretLookups
from pyflowd.runtime.secret_names import Secrets
from pyflowd.runtime.tasklogs import TaskLogs
from pyflowd.settings import Settings

LEAST_LOG_BYTES = 64 << 10
"""What an attempt may always write, even where its run has used up its quota."""


class Launcher:
    """One thread. `host` may be replaced when the keeper is another one."""

    def __init__(
        self,
        *,
        runs: Runs,
        link: KeeperLink,
        logs: TaskLogs,
        scratch: Scratch,
        lookups: SecretLookups,
        timers: Timers,
        clock: Clock,
        settings: Settings,
        host: Host,
        journal: Journal,
    ) -> None:
        self.runs = runs
        self.link = link
        self.logs = logs
        self.scratch = scratch
        self.lookups = lookups
        self.timers = timers
        self.clock = clock
        self.settings = settings
        self.host = host
        self.journal = journal
        self.path_of: Callable[[str], str] = lambda _: ""
        """The file that a workflow in force is defined in, an absolute path; empty: in none."""

    def launch(self, live: LiveRun, task: TaskRun) -> None:
        """Ask the keeper for the attempt that is under way, now or when its secrets have come."""
        attempt_id = self.runs.attempt_id(live.run, task)
        if task.attempt is None or task.state is not TaskState.RUNNING or self.lookups.is_pending(attempt_id):
            return  # it ended in the same turn, or it waits here already
        secrets = Secrets(self.lookups.kept(attempt_id))
        names = TaskNames(live.facts, task, secrets=secrets)
        step = "env_file"
        try:
            from_files = launch.read_env_files(live.workflow.env_files, self.host)
            step = "user"
            user = self.host.of_task(live.workflow, task.definition)
            launch.check_reboot(live.workflow, task.definition, self.host)
            step = "scratch"
            told = self._make_room(live, task)
            step = EXPRESSION
            timeout_s = engine.attempt_timeout_s(task, self.clock.mono_us())
            limit = self._log_limit(live, task)
            try:
                request, content = launch.request(
                    attempt_id, task, self.host, live.common_env, from_files, timeout_s, limit, names, told
                )
            finally:
                if secrets.missing:
                    self._fetch(attempt_id, live, task, secrets)
            if secrets.missing:
                return
            step = "log"
            descriptors = self.logs.create(live.meta.run, task.log_name, task.attempts)
            try:
                stdin = launch.stdin_descriptor(content)
            except OSError:
                close_all(descriptors)
                raise
        except (OSError, ValueError) as error:
            if not self.lookups.is_pending(attempt_id):
                self._could_not_start(attempt_id, step, error, secrets)
            return
        if self.journal.active and wanted(task.definition, self.settings.journal_of_tasks) is Wanted.ALL:
            request = msgspec.structs.replace(request, journal=whose(live, task.name, task.attempts))
        if user.uid == 0:
            request = msgspec.structs.replace(request, origin=self._origin(live, task))
        self._start(request, (*descriptors, stdin))

    def _start(self, request: StartRequest, descriptors: tuple[int, int, int | None]) -> None:
        try:
            self.link.start(request, *descriptors)
        except Refused as error:
            close_all(tuple(each for each in descriptors if each is not None))
            self._could_not_start(request.attempt, "exec", error, Secrets())

    def _origin(self, live: LiveRun, task: TaskRun) -> tuple[str, str, str] | None:
        """Where the keeper finds for itself what a task of root's may run; None: its definition is in no folder."""
        path = self.path_of(live.meta.workflow)
        return (path, live.meta.digest, task.definition.name) if path else None

    def _fetch(self, attempt_id: str, live: LiveRun, task: TaskRun, secrets: Secrets) -> None:
        """Have the secrets of an attempt fetched, and go on from the beginning then."""

        def come(result: Found | Exception) -> None:
            if self.runs.under_way(attempt_id) is None:
                self.lookups.forget(attempt_id)
            elif isinstance(result, Exception):
                self._could_not_start(attempt_id, SECRET, result, Secrets())
            else:
                self.runs.actions.append(Launch(live, task))

        self.lookups.ask(attempt_id, [*secrets.values, *secrets.missing], come)

    def stop(self, attempt_id: str, grace_s: float) -> None:
        """Run the stop sequence of rule R5; an attempt that waits for its secrets ends at once."""
        if self.lookups.cancel(attempt_id):
            end = cancelled_before_start(self.clock.wall_us())
            self.timers.at(0, lambda: self.runs.attempt_ended(attempt_id, end))
        else:
            self.link.stop(attempt_id, grace_s)

    def _make_room(self, live: LiveRun, task: TaskRun) -> Told:
        """The folders of the run that its processes use. Raises OSError."""
        run = live.meta.run
        self.scratch.prepare(run, shared=self.host.are_others(live.users, live.workflow.owner_uid))
        output = self.scratch.output(run, task.log_name, task.attempts)
        return Told(output=output, scratch=self.scratch.work(run))

    def _log_limit(self, live: LiveRun, task: TaskRun) -> int:
        """What the attempt may write: its own limit, within what the ended attempts of the run have left."""
        own = task.definition.log_max_bytes or self.settings.log_max_bytes
        return max(LEAST_LOG_BYTES, min(own, self.settings.run_log_max_bytes - live.log_bytes))

    def _could_not_start(self, attempt_id: str, step: str, error: Exception, secrets: Secrets) -> None:
        self.lookups.forget(attempt_id)
        number = error.errno or errno.EIO if isinstance(error, OSError) else errno.EINVAL
        message = str(error) if step in (EXPRESSION, SECRET) else f"{step}: {error}"
        end = StartFailure(
            step=step,
            errno=number,
            message=mask_text(message, secrets.masks()),
            at_us=self.clock.wall_us(),
            shortage=number in SHORTAGES,
        )
        self.timers.at(0, lambda: self.runs.attempt_ended(attempt_id, end))
