"""The table of attempts: starts them, stops them, reaps them, and makes their records.

What happens is written to the journal first and queued as `replies` for the daemon; the loop sends those once the
journal has them. It knows processes, time and the journal; it knows nothing of sockets, peers or frames received.
"""

from __future__ import annotations

import errno
import heapq
import os
import resource
import select
import signal
import time

from pyflowd.keeper import journal as lines
from pyflowd.keeper import spawn, wire
from pyflowd.keeper.attempt import KILLING, LEFTOVER, OVER, RUNNING, STUCK, TERMINATING, Attempt, from_start
from pyflowd.keeper.cgroups import CONTROLLERS, Cgroups
from pyflowd.keeper.channel import close_all
from pyflowd.keeper.crash import crashpoint
from pyflowd.keeper.hunt import Family, Tags, kill_all_tagged
from pyflowd.keeper.journal import Journal
from pyflowd.keeper.loggerlink import LoggerLink, release
from pyflowd.keeper.masking import mask_text
from pyflowd.keeper.memory import close_memory
from pyflowd.keeper.mounts import SlowMounts
from pyflowd.keeper.wire import EXIT, FAILED, End, Start, frame, pack_end, pack_number

_GIVE_UP_US = 10_000_000
"""A process that SIGKILL has not ended by then (waits in the kernel, belongs to root) is said, not waited for."""
_SCAN_AFTER_US = 1_000_000
"""From then on look for the tag in all of /proc too: an unkillable parent hides its children."""
_ROUNDS = 64
"""Of one hunt in a turn; then others have their turn."""
HUNT_PAUSE_S = 0.02


def now_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class OwnPeak:
    """What the keeper's own memory hides of its tasks'. The kernel counts in `ru_maxrss` what a process was before its
    exec too, which is the keeper: a value that is no more than that says nothing of the task.
    """

    __slots__ = ("_asked", "_kib")

    def __init__(self) -> None:
        self._kib = 0
        self._asked = 0

    def of_task_bytes(self, max_rss_kib: int) -> int:
        """The task's peak, or 0: not known. The keeper grows slowly: it looks at itself now and then."""
        if self._asked % 256 == 0:
            self._kib = _own_peak_kib()
        self._asked += 1
        return max_rss_kib * 1024 if max_rss_kib > self._kib else 0


def _own_peak_kib() -> int:
    """VmHWM of /proc/self/status; our own `ru_maxrss` would be that of whoever started us."""
    with open("/proc/self/status", "rb") as status:
        for line in status:
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1])
    return 0


class Attempts:
    def __init__(
        self, journal: Journal, tags: Tags, logger: LoggerLink, common: spawn.Common, cgroups: Cgroups
    ) -> None:
        self.epoll = select.epoll()
        """The keeper's one wait; pipes of starts under way are watched here."""
        self.journal = journal
        self.tags = tags
        self.logger = logger
        self.common = common
        self.cgroups = cgroups
        self.hard_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.by_id: dict[str, Attempt] = {}
        self.known: dict[int, object] = {}
        """Direct children that are no orphans: pid to its attempt, or to the name of a helper."""
        self.family = Family(tags)
        self.mounts = SlowMounts()
        self.replies: list[tuple[bytes, str]] = []
        """Frames for the daemon, each with the crash point after its sending."""
        self.failures: dict[int, Attempt] = {}
        """By the pipe that tells of a failed start."""
        self.helpers_ended: list[tuple[int, int]] = []
        """Pid and wait status."""
        self._ending: dict[str, Attempt] = {}
        """In the phases TERMINATING, LEFTOVER, KILLING."""
        self._just_ended: list[Attempt] = []
        self._timers: list[tuple[int, int, Attempt]] = []
        self._timer_count = 0
        self._victims: dict[str, set[int]] = {}
        """By the attempt: pids that got SIGKILL, so that none is counted twice."""
        self._own_peak = OwnPeak()
        self._stdin = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    # ---- Starting ----

    def start(self, starts: list[tuple[Start, list[int]]]) -> None:
        """Start each attempt that is not known yet; answer for a known one with what is known."""
        fresh: list[tuple[Start, list[int], Attempt, spawn.Pipes]] = []
        healthy = self.journal.flush()
        tag, batch = self.tags.last, set()
        for start, descriptors in starts:
            crashpoint("received")
            if start.attempt in self.by_id or start.attempt in batch:
                close_all(tuple(descriptors))
                if start.attempt not in batch:
                    self._tell(self.by_id[start.attempt])
                continue
            batch.add(start.attempt)
            tag -= self.tags.step
            attempt = from_start(start, tag, now_us(), time.time_ns() // 1000)
            if attempt.masks:
                close_memory()
            attempt.log_fd, attempt.index_fd = descriptors[:2]
            self.by_id[attempt.id] = attempt
            try:
                pipes = spawn.Pipes(bool(start.flags & wire.FLAG_APART))
            except OSError as error:
                tag += self.tags.step  # the next one wears it: what the journal says is what is worn
                self._fail(attempt, spawn.explain(start, "pipe", error.errno or 0))
                close_all(tuple(descriptors[2:]))
                continue
            attempt.pipe_fd, attempt.error_pipe_fd = pipes.reader, pipes.error_reader
            if healthy:
                self.journal.add(lines.intent_line(attempt.id, tag, attempt.began_us), "intent_written")
            fresh.append((start, descriptors, attempt, pipes))
        written = healthy and self.journal.flush()
        if healthy and not written:
            self.journal.withdraw()  # nothing but these intents was waiting to be written
        for _, _, attempt, _ in fresh:
            self.logger.add(attempt)
        self.logger.flush()
        self._spawn(fresh, written)

    def refuse(self, start: Start, descriptors: list[int], error: spawn.SpawnError) -> None:
        """The attempt is not started at all; that is its end."""
        attempt = from_start(start, self.tags.last, now_us(), time.time_ns() // 1000)
        attempt.log_fd, attempt.index_fd = descriptors[:2]
        self.by_id[attempt.id] = attempt
        close_all(tuple(descriptors[2:]))
        self._fail(attempt, error)

    def _spawn(self, fresh: list[tuple[Start, list[int], Attempt, spawn.Pipes]], written: bool) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.common.soft_files, self.hard_files))
        for start, descriptors, attempt, pipes in fresh:
            attempt.tag = self.tags.lower()
            stdin = descriptors[2] if len(descriptors) > 2 else self._stdin
            try:
                if not written:
                    raise spawn.SpawnError("journal", errno.ENOSPC, "the keeper cannot write its journal")
                self._spawn_one(start, attempt, stdin, pipes)
            except spawn.SpawnError as error:
                self._fail(attempt, error)
            pipes.close_writers()
            close_all(tuple(descriptors[2:]))
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.hard_files, self.hard_files))
        os.chdir("/")

    def _spawn_one(self, start: Start, attempt: Attempt, stdin: int, pipes: spawn.Pipes) -> None:
        attempt.started_us, attempt.began_us = time.time_ns() // 1000, now_us()
        if start.credentials:
            try:
                self.common.credentials.prepare(for_others=bool(start.user))
            except OSError as error:
                raise spawn.explain(start, "credentials", error.errno or 0) from error
        if start.user == "root":
            try:
                start.env += self.common.outputs.prepare(attempt.id)
            except OSError as error:
                raise spawn.explain(start, "outputs", error.errno or 0) from error
        self._contain(start, attempt)
        if attempt.in_cgroup or self._needs_fork(start):
            cgroup = self.cgroups.open(attempt.cgroup) if attempt.in_cgroup else -1
            try:
                attempt.pid, attempt.failure_fd = spawn.spawn_full(start, stdin, pipes, self.common, cgroup)
            finally:
                close_all((cgroup,) if cgroup >= 0 else ())
            self._watch_failure(attempt)
        else:
            attempt.pid = spawn.spawn_fast(start, stdin, pipes)
        crashpoint("spawned")
        self.known[attempt.pid] = attempt
        if start.timeout_us:
            self.arm(attempt, attempt.began_us + start.timeout_us)
        self.journal.add(lines.started_line(attempt.id, attempt.pid, attempt.started_us), "started_written")
        if attempt.failure_fd < 0:
            self._tell(attempt)

    def _needs_fork(self, start: Start) -> bool:
        """Whether the child has something to do before its exec, or may hang there."""
        common = self.common.oom_score_adj is not None
        own = start.user or start.credentials or "nice" in start.limits
        return bool(common or own or self.mounts.may_hang(start.cwd, start.argv[0]))

    def _contain(self, start: Start, attempt: Attempt) -> None:
        """Make the attempt's cgroup with its limits. What cannot be kept here is left out, and its log says so."""
        unkept, why = [name for name in start.limits if name in CONTROLLERS], self.cgroups.why
        if self.cgroups:
            attempt.in_cgroup = True
            try:
                unkept = self.cgroups.make(attempt.cgroup, start.limits)
                why = "the keeper's cgroup has no such controller"
            except OSError as error:
                attempt.in_cgroup = False
                why = f"no cgroup could be made: {os.strerror(error.errno or 0)}"
        least = self.common.least_nice
        if start.limits.get("nice", least) < least:
            del start.limits["nice"]
            self.logger.note(attempt, f"pyflow: not kept: nice (this keeper may give {least} or more)\n")
        if unkept:
            self.logger.note(attempt, f"pyflow: not kept: {', '.join(unkept)} ({why})\n")

    def _watch_failure(self, attempt: Attempt) -> None:
        self.failures[attempt.failure_fd] = attempt
        self.epoll.register(attempt.failure_fd, select.EPOLLIN)

    def on_failure_pipe(self, descriptor: int) -> None:
        """A process of the full path says which step failed, or has closed the pipe by its exec."""
        attempt = self.failures.pop(descriptor, None)
        if attempt is None:
            return
        try:
            said = os.read(descriptor, 100).decode()
        except BlockingIOError:
            said = ""
        # Unregister first: a child between fork and exec may hold a copy, which would keep the event alive.
        self.epoll.unregister(descriptor)
        os.close(descriptor)
        attempt.failure_fd = -1
        if not said:
            if attempt.status < 0:
                self._tell(attempt)
            return
        step, _, number = said.partition(" ")
        words = spawn.message(step, int(number), attempt.program, attempt.cwd, attempt.user)
        self._fail(attempt, spawn.SpawnError(step, int(number), words))

    def _fail(self, attempt: Attempt, error: spawn.SpawnError) -> None:
        words = mask_text(error.message, attempt.masks)  # it goes into the journal
        fields = (error.step, str(error.number), words, str(time.time_ns() // 1000))
        self._over(attempt)
        self._record(attempt, (FAILED, fields), "")

    def _tell(self, attempt: Attempt) -> None:
        """Queue what is known of an attempt for the daemon; nothing while its start is under way."""
        if attempt.end:
            self.replies.append((pack_end(attempt.id, attempt.end), ""))
        elif attempt.pid and attempt.failure_fd < 0:
            self.replies.append((running_frame(attempt), ""))

    # ---- Ends ----

    def reap(self) -> None:
        """Take all children that have ended."""
        ended = orphans = False
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            owner = self.known.pop(pid, None)
            if owner is None:
                self.family.reaped(pid)
                orphans = True
            elif isinstance(owner, Attempt):
                orphans |= owner.phase == OVER  # its start has failed
                self._main_ended(owner, status, usage)
            else:
                self.helpers_ended.append((pid, status))
            ended = True
        if ended:
            self._after_reaping(orphans=orphans)

    def _main_ended(self, attempt: Attempt, status: int, usage: resource.struct_rusage) -> None:
        attempt.status = status
        attempt.ended_us = attempt.started_us + now_us() - attempt.began_us
        peak_bytes = self._own_peak.of_task_bytes(usage.ru_maxrss)
        attempt.cpu = (int(usage.ru_utime * 1e6), int(usage.ru_stime * 1e6), peak_bytes)
        crashpoint("reaped")
        if attempt.failure_fd >= 0:
            self.on_failure_pipe(attempt.failure_fd)
        if attempt.phase == RUNNING:
            attempt.due_us = 0
            self._record_exit(attempt)
            self._just_ended.append(attempt)

    def _after_reaping(self, *, orphans: bool) -> None:
        """See whether ended attempts have left something, and whether stopped ones are gone altogether."""
        self.family.refresh(self.known)
        for attempt in self._just_ended:
            if attempt.leftover_allow or not self._lives(attempt):
                self._over(attempt)
            else:
                attempt.phase = LEFTOVER
                self._ending[attempt.id] = attempt
                self.arm(attempt, now_us() + attempt.orphan_grace_us)
                self.journal.add(lines.orphans_line(attempt.id, attempt.tag, attempt.began_us))
        self._just_ended.clear()
        for attempt in list(self._ending.values()):
            if attempt.status >= 0 and (attempt.phase == STUCK or not self._lives(attempt)):
                self._nothing_left(attempt)
        self.cgroups.sweep(orphans=orphans)

    def _lives(self, attempt: Attempt) -> bool:
        """Whether something of it is left beside its main process: by the tag, also what has left the cgroup."""
        if attempt.tag in self.family.members:
            return True
        return attempt.in_cgroup and self.cgroups.is_populated(attempt.cgroup)

    def _nothing_left(self, attempt: Attempt) -> None:
        if attempt.end is None:
            self._record_exit(attempt)
        else:
            self.journal.add(lines.clear_line(attempt.id))
        if attempt.killed and not attempt.stop:
            plural = "processes" if attempt.killed > 1 else "process"
            self.logger.note(attempt, f"pyflow: {attempt.killed} leftover {plural} killed\n")
        self._over(attempt)

    def _over(self, attempt: Attempt) -> None:
        attempt.phase = OVER
        attempt.due_us = 0
        self._ending.pop(attempt.id, None)
        self._victims.pop(attempt.id, None)
        if attempt.in_cgroup:
            self.cgroups.remove(attempt.cgroup)
        self.common.credentials.remove(attempt.id)
        self.let_go(attempt)

    def let_go(self, attempt: Attempt) -> None:
        """Close and forget what is no longer needed of an attempt."""
        if attempt.phase == OVER and not attempt.log_open:
            release(attempt)
            if attempt.acknowledged:
                self.by_id.pop(attempt.id, None)

    def _record_exit(self, attempt: Attempt) -> None:
        self.common.outputs.hand_over(attempt.id)
        code, signal_number = "", ""
        if os.WIFSIGNALED(attempt.status):
            signal_number = str(os.WTERMSIG(attempt.status))
        else:
            code = str(os.WEXITSTATUS(attempt.status))
        user_us, system_us, rss_bytes = attempt.cpu
        of_cgroup: tuple[int, ...] = ()
        if attempt.in_cgroup:
            use = self.cgroups.use(attempt.cgroup)
            if use.user_us + use.system_us:
                user_us, system_us = use.user_us, use.system_us
            of_cgroup = (use.oom_kills, use.tasks_refused, use.peak_bytes)
        numbers = (attempt.started_us, attempt.ended_us, user_us, system_us, rss_bytes)
        fields = (code, signal_number, *map(str, numbers))
        counts = (attempt.stop, *map(str, (attempt.killed, attempt.unkillable, *of_cgroup)))
        self._record(attempt, (EXIT, fields + counts), "exit_written")

    def _record(self, attempt: Attempt, end: End, point: str) -> None:
        attempt.end = end
        self.journal.add(lines.end_line(attempt.id, end), point)
        self.replies.append((pack_end(attempt.id, end), "exit_sent"))

    def acknowledge(self, name: str) -> None:
        """The daemon has the end in its own record."""
        attempt = self.by_id.get(name)
        if attempt and attempt.end and not attempt.acknowledged:
            attempt.acknowledged = True
            self.journal.add(lines.acknowledged_line(name), "ack_written")
            self.common.outputs.remove(name)
            self.let_go(attempt)

    # ---- Stopping (rule R5) ----

    def stop(self, name: str, grace_us: int, cause: str) -> None:
        """SIGTERM to the main process's group now, SIGKILL to all of it after the grace; without a grace at once.

        A stop that is repeated, as a daemon does that cannot know whether it was heard, does not cut the grace.
        """
        attempt = self.by_id.get(name)
        if attempt is None or attempt.phase in (OVER, KILLING) or (attempt.phase == TERMINATING and grace_us):
            return
        if attempt.phase == RUNNING:
            if has_ended(attempt.pid):
                return  # it ended by itself: reaping is about to say how
            attempt.stop = cause
            self._ending[attempt.id] = attempt
            if grace_us:
                attempt.phase = TERMINATING
                signal_main(attempt, signal.SIGTERM)
                signal_main(attempt, signal.SIGCONT)
                self.arm(attempt, now_us() + grace_us)
                return
        self._kill(attempt)

    def stop_all(self, most_us: int) -> None:
        """The keeper is to end: so does all that lives, each with its own grace, and none with more than `most_us`."""
        latest_us = now_us() + most_us
        for attempt in list(self.by_id.values()):
            if attempt.phase == RUNNING:
                self.stop(attempt.id, min(attempt.kill_grace_us, most_us), "shutdown")
            elif attempt.phase in (TERMINATING, LEFTOVER) and attempt.due_us > latest_us:
                self.arm(attempt, latest_us)

    def _kill(self, attempt: Attempt) -> None:
        attempt.phase = KILLING
        self.arm(attempt, now_us() + _GIVE_UP_US)
        self.hunt()

    def hunt(self) -> None:
        """Kill what belongs to attempts in KILLING, reaping all the while, until a round finds nothing new."""
        for _ in range(_ROUNDS):
            acted = False
            for attempt in list(self._ending.values()):
                if attempt.phase == KILLING:
                    acted |= self._kill_round(attempt)
            if not acted:
                break
            self.reap()
        self._after_reaping(orphans=True)

    def _kill_round(self, attempt: Attempt) -> bool:
        """SIGKILL to all of it that is in sight; true if there is reason for another round at once."""
        main_lives = attempt.status < 0
        if main_lives:
            signal_main(attempt, signal.SIGKILL)
        self.family.refresh(self.known)
        found, attempt.unkillable = self.family.kill(attempt.tag)
        if attempt.in_cgroup:
            found |= self.cgroups.pids(attempt.cgroup)
            self.cgroups.kill(attempt.cgroup)
        victims = self._victims.setdefault(attempt.id, {attempt.pid})
        fresh = len(found - victims)
        victims |= found
        if not main_lives:
            attempt.killed += fresh
        if now_us() > attempt.due_us - _GIVE_UP_US + _SCAN_AFTER_US:
            kill_all_tagged({attempt.tag: attempt.began_us}, self.tags.step, 0.01)
        return fresh > 0

    def is_hunting(self) -> bool:
        return any(attempt.phase == KILLING for attempt in self._ending.values())

    def _give_up(self, attempt: Attempt) -> None:
        """Something of it cannot be killed: say so, and wait no longer."""
        alive = set(self.family.members.get(attempt.tag, ()))
        if attempt.in_cgroup:
            alive |= self.cgroups.pids(attempt.cgroup)
        if attempt.status < 0:
            alive.add(attempt.pid)
        pids = sorted(alive)
        attempt.unkillable = len(pids)
        self.logger.note(attempt, f"pyflow: could not be killed: {', '.join(map(str, pids))}\n")
        if attempt.status >= 0:
            self._nothing_left(attempt)
        else:
            attempt.phase = STUCK  # its status is not known before it ends, and none is invented
            attempt.due_us = 0

    # ---- Timers ----

    def arm(self, attempt: Attempt, due_us: int) -> None:
        attempt.due_us = due_us
        self._timer_count += 1
        if len(self._timers) > 1000 + 4 * len(self.by_id):
            self._timers = [timer for timer in self._timers if timer[2].due_us == timer[0]]
            heapq.heapify(self._timers)
        heapq.heappush(self._timers, (due_us, self._timer_count, attempt))

    def next_due_us(self) -> int:
        """When the next timer is due; 0: none."""
        while self._timers and self._timers[0][2].due_us != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else 0

    def on_time(self) -> None:
        """Carry out what is due."""
        while (due_us := self.next_due_us()) and due_us <= now_us():
            attempt = heapq.heappop(self._timers)[2]
            if attempt.phase == RUNNING:
                self.stop(attempt.id, attempt.kill_grace_us, "timeout")
            elif attempt.phase in (TERMINATING, LEFTOVER):
                self._kill(attempt)
            elif attempt.phase == KILLING:
                self._give_up(attempt)

    # ---- What is kept ----

    def adopt(self, attempt: Attempt, unreaped: bool) -> None:
        """Take over an attempt of an earlier version of this process, or a record of an earlier keeper."""
        attempt.in_cgroup &= bool(self.cgroups)
        self.by_id[attempt.id] = attempt
        if unreaped:
            self.known[attempt.pid] = attempt
        if attempt.failure_fd >= 0:
            self._watch_failure(attempt)
        if attempt.phase not in (RUNNING, OVER):
            self._ending[attempt.id] = attempt
        if attempt.due_us:
            self.arm(attempt, attempt.due_us)
        if attempt.log_open:
            self.logger.attempts[attempt.id] = attempt

    def keeps(self) -> bool:
        """Whether there is anything that only this process can do or say."""
        return any(not attempt.acknowledged or attempt.phase != OVER for attempt in self.by_id.values())

    def living(self) -> bool:
        """Whether something lives that can still be waited for."""
        return any(attempt.phase not in (OVER, STUCK) for attempt in self.by_id.values())

    def journal_content(self) -> str:
        """The lines that say what is kept now, for a journal that has grown long."""
        kept = []
        for attempt in self.by_id.values():
            if attempt.phase in (LEFTOVER, KILLING) and attempt.end:
                kept.append(lines.orphans_line(attempt.id, attempt.tag, attempt.began_us))
            if attempt.acknowledged:
                continue
            kept.append(lines.intent_line(attempt.id, attempt.tag, attempt.began_us))
            if attempt.pid:
                kept.append(lines.started_line(attempt.id, attempt.pid, attempt.started_us))
            if attempt.end:
                kept.append(lines.end_line(attempt.id, attempt.end))
        return "".join(kept)


def running_frame(attempt: Attempt) -> bytes:
    return frame(wire.RUNNING, attempt.id.encode(), pack_number(attempt.pid), pack_number(attempt.started_us))


def has_ended(pid: int) -> bool:
    """Whether a child has ended and waits to be reaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def signal_main(attempt: Attempt, number: int) -> None:
    """Signal the main process's group. Not reaped, so pid and group are still its own."""
    if attempt.status >= 0 or not attempt.pid:
        return
    try:
        os.killpg(attempt.pid, number)
    except ProcessLookupError:
        os.kill(attempt.pid, number)  # forked, and not yet the leader of its session
    except PermissionError:
        pass  # all of the group belong to somebody else: `_give_up` says so
