"""Folders of a run: `$PYFLOW_SCRATCH`, which its tasks share, the files in which they give outputs on, and what is kept
of them. Makes, reads and removes; what an output means is in `gather`.

    scratch/RUN-TOKEN/work    $PYFLOW_SCRATCH, removed with the run's end
    scratch/RUN-TOKEN/out     one file per attempt, made by the task if it has something to say
    artifacts/000000/RUN-TOKEN/TASK/NAME

The token cannot be guessed, so that a run of tasks of several users can share its folders without opening them to
others.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import stat

from pyflowd.base.removal import remove_tree

_RUNS_PER_FOLDER = 1000


@functools.lru_cache(maxsize=1024)
def _name(secret: bytes, run: int) -> str:
    """Of the folders of a run: asked for several times with each task."""
    return f"{run}-{hmac.new(secret, str(run).encode(), hashlib.sha256).hexdigest()[:24]}"


class Scratch:
    """The scratch folders of one instance."""

    def __init__(self, state: str, secret: str) -> None:
        self._state = state
        self._secret = secret.encode()
        self.folder = f"{state}/scratch"
        self.artifacts = f"{state}/artifacts"
        self._made: dict[int, bool] = {}
        self._found: set[int] = set()
        """Live runs whose folder a daemon before this one has made."""

    def _name(self, run: int) -> str:
        return _name(self._secret, run)

    def run_folder(self, run: int) -> str:
        return f"{self.folder}/{self._name(run)}"

    def work(self, run: int) -> str:
        return f"{self.run_folder(run)}/work"

    def output(self, run: int, log_name: str, attempt: int) -> str:
        return f"{self.run_folder(run)}/out/{log_name}.{attempt}"

    def prepare(self, run: int, *, shared: bool) -> None:
        """Make the folders of a run; `shared`: other users than ours have tasks in it. Raises OSError."""
        if self._made.get(run) is shared:
            return
        folder = self.run_folder(run)
        for path in (folder, f"{folder}/work", f"{folder}/out"):
            os.makedirs(path, mode=0o700, exist_ok=True)
        if shared:
            for path in (self._state, self.folder, folder):
                os.chmod(path, 0o711)  # noqa: S103  (the token keeps strangers out)
            for path in (f"{folder}/work", f"{folder}/out"):
                os.chmod(path, 0o1777)  # noqa: S103
        self._made[run] = shared

    def read(self, path: str, max_bytes: int) -> bytes | None:
        """What a task wrote; None where it wrote nothing. Raises ValueError for what is no plain file, or too long."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from None
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("is no plain file")
            if status.st_size > max_bytes:
                raise ValueError(f"has {status.st_size} bytes; at most {max_bytes}: give a file's name instead")
            found = b""
            while len(found) <= max_bytes and (part := os.read(handle, max_bytes + 1)):
                found += part
            if len(found) > max_bytes:
                raise ValueError(f"has more than {max_bytes} bytes")
            return found
        finally:
            os.close(handle)

    def artifact_folder(self, run: int) -> str:
        return f"{self.artifacts}/{run // _RUNS_PER_FOLDER:06}/{self._name(run)}"

    def artifact(self, run: int, log_name: str, name: str) -> str:
        return f"{self.artifact_folder(run)}/{log_name}/{name}"

    def forget(self, run: int) -> bool:
        """The run has ended; whether there is something to remove."""
        was_found = run in self._found
        self._found.discard(run)
        return self._made.pop(run, None) is not None or was_found

    def remove(self, run: int) -> None:
        """Take the scratch folder of a run away; may take long."""
        remove_tree(self.run_folder(run))

    def remove_artifacts(self, run: int) -> None:
        remove_tree(self.artifact_folder(run))

    def leftovers(self, live: set[int]) -> list[int]:
        """Runs with a folder here that are not live any more: the daemon died between their end and its removal."""
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        runs = [int(head) for head, dash, _ in (name.partition("-") for name in names) if dash and head.isdecimal()]
        ours = {run for run in runs if os.path.exists(self.run_folder(run))}
        self._found = ours & live
        return sorted(ours - live)
