"""Where task output is kept: one log and one index per attempt, in a folder per run. Opens, lists and removes; what is
in the files is the business of the logger and of `logindex`.

Task names are safe as part of a file name (rule D7); run ids are ours.
"""

from __future__ import annotations

import os

from pyflowd.base.removal import remove_tree

_FLAGS = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_RUNS_PER_FOLDER = 1000


class TaskLogs:
    """The log folder of one instance."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def run_folder(self, run: int) -> str:
        return f"{self.folder}/{run // _RUNS_PER_FOLDER:06}/{run}"

    def path(self, run: int, task: str, attempt: int) -> str:
        """Of the log; its index has `.idx` in the place of `.log`."""
        return f"{self.run_folder(run)}/{task}.{attempt}.log"

    def create(self, run: int, task: str, attempt: int) -> tuple[int, int]:
        """Descriptors of a new log and its index. Raises OSError."""
        path = self.path(run, task, attempt)
        try:
            log = os.open(path, _FLAGS | os.O_APPEND, 0o640)
        except FileNotFoundError:
            os.makedirs(self.run_folder(run), mode=0o750, exist_ok=True)
            log = os.open(path, _FLAGS | os.O_APPEND, 0o640)
        try:
            return log, os.open(f"{path[:-4]}.idx", _FLAGS | os.O_APPEND, 0o640)
        except OSError:
            os.close(log)
            raise

    def open(self, run: int, task: str, attempt: int) -> tuple[int, int] | None:
        """Descriptors to read a log and its index by, or None where there is no log (any more)."""
        path = self.path(run, task, attempt)
        try:
            log = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            return log, os.open(f"{path[:-4]}.idx", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            os.close(log)
            return None

    def size_bytes(self, run: int, task: str, attempt: int) -> int:
        """Space that a log takes on the disk; holes do not count."""
        try:
            return os.stat(self.path(run, task, attempt)).st_blocks * 512
        except FileNotFoundError:
            return 0

    def run_bytes(self, run: int) -> int:
        """Space that all logs of a run take."""
        try:
            with os.scandir(self.run_folder(run)) as entries:
                return sum(entry.stat(follow_symlinks=False).st_blocks * 512 for entry in entries)
        except FileNotFoundError:
            return 0

    def remove(self, run: int) -> None:
        """Take away all logs of a run; nothing happens where there are none."""
        remove_tree(self.run_folder(run))
