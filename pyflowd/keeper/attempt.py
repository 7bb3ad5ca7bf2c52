"""What the keeper remembers of one attempt, and the phases it goes through. Values only.

RUNNING      its main process lives (or is being started)
TERMINATING  SIGTERM was sent; at `due_us` the rest is killed
LEFTOVER     its main process ended by itself and this was told; others of it live until `due_us`
KILLING      everything of it gets SIGKILL until nothing is left, or until `due_us`
STUCK        something of it could not be killed, and its main process has not ended
OVER         nothing of it lives, or it is let go
"""

from __future__ import annotations

from pyflowd.keeper import cgroups
from pyflowd.keeper.wire import End, Start

RUNNING, TERMINATING, LEFTOVER, KILLING, STUCK, OVER = range(6)


class Attempt:
    """`end` is None until its end is known; descriptors are -1 when closed. Times in us of the boot-time clock."""

    __slots__ = (
        "acknowledged", "began_us", "cpu", "cwd", "due_us", "end", "ended_us", "error_pipe_fd", "failure_fd",
        "held", "id", "in_cgroup", "index_fd", "journal", "kill_grace_us", "killed", "leftover_allow", "log_fd",
        "log_max_bytes", "log_open", "logged", "masks", "orphan_grace_us", "phase", "pid", "pipe_fd", "program",
        "started_us", "status", "stop", "tag", "unkillable", "user",
    )  # fmt: skip

    def __init__(self, attempt: str) -> None:
        self.id = attempt
        self.tag = 0
        self.in_cgroup = False
        self.phase = RUNNING
        self.program = b""
        self.cwd = b""
        self.user = ""
        self.pid = 0
        self.began_us = 0
        self.started_us = 0
        """Wall clock, read just before the spawn."""
        self.due_us = 0
        """When the present phase ends by itself; 0: never."""
        self.kill_grace_us = 0
        self.orphan_grace_us = 0
        self.leftover_allow = False
        self.log_max_bytes = 0
        self.pipe_fd = -1
        """Of standard output and error together, or of standard output alone."""
        self.error_pipe_fd = -1
        """Of standard error, where they are kept apart."""
        self.log_fd = -1
        self.index_fd = -1
        self.failure_fd = -1
        """The pipe that tells of a failed start (full path only), until it is at its end."""
        self.log_open = False
        """Its log is not at its end."""
        self.logged = False
        """The present logger has been handed it."""
        self.masks: tuple[bytes, ...] = ()
        """Secrets in its output: in memory only, and only as long as its log is open."""
        self.journal: tuple[bytes, ...] = ()
        """Fields with which its output goes to the host's journal, too."""
        self.held: dict[int, bytes] = {}
        """By stream: how far its masking was when the last logger handed the log back."""
        self.status = -1
        """Wait status of the main process; -1: not reaped."""
        self.ended_us = 0
        self.cpu = (0, 0, 0)
        """user_us, system_us, max_rss_bytes"""
        self.stop = ""
        self.killed = 0
        """Processes killed after the main process was gone."""
        self.unkillable = 0
        self.end: End | None = None
        self.acknowledged = False

    @property
    def cgroup(self) -> str:
        """The name of its cgroup; empty: it has none."""
        return cgroups.name_of(self.id, self.tag, lasting=self.leftover_allow) if self.in_cgroup else ""


def from_start(start: Start, tag: int, began_us: int, started_us: int) -> Attempt:
    attempt = Attempt(start.attempt)
    attempt.tag = tag
    attempt.began_us = began_us
    attempt.started_us = started_us
    attempt.program, attempt.cwd, attempt.user = start.argv[0], start.cwd, start.user
    attempt.kill_grace_us = start.kill_grace_us
    attempt.orphan_grace_us = start.orphan_grace_us
    attempt.leftover_allow = start.leftover_allow
    attempt.log_max_bytes = start.log_max_bytes
    attempt.masks = start.masks
    attempt.journal = start.journal
    return attempt
