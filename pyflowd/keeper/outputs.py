"""Where tasks of root's give their outputs on: a folder for each attempt, root's alone, below one of the keeper's.

A folder of the daemon's would not do: whoever owns it can put a link there, and root would write through it. What an
attempt has written is handed to the daemon with its end, and gone when that is acknowledged. It knows nothing of what
outputs say.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Container

from pyflowd.keeper.credentials import remove_tree

FOLDER = "outputs"
"""In the keeper's folder."""
_VARIABLE = b"PYFLOW_OUTPUT="
FILE = "output"
_FILES = (FILE, f"{FILE}.error")


class Outputs:
    """`reader`: the account that the daemon has; 0 where it is root's own, and nothing is needed."""

    def __init__(self, run_dir: str, reader: int) -> None:
        self._base = os.path.join(run_dir, FOLDER)
        self._reader = reader
        self._known: set[str] = set(os.listdir(self._base)) if reader and os.path.isdir(self._base) else set()

    def prepare(self, attempt: str) -> list[bytes]:
        """Make the folder of an attempt; what tells of it in the environment, if it needs one. Raises OSError."""
        if not self._reader:
            return []
        if not os.path.isdir(self._base):
            os.mkdir(self._base)
            os.chmod(self._base, 0o711)  # noqa: S103  (to pass through, not to list)
        os.mkdir(os.path.join(self._base, attempt), 0o700)
        self._known.add(attempt)
        return [_VARIABLE + os.path.join(self._base, attempt, FILE).encode()]

    def hand_over(self, attempt: str) -> None:
        """The attempt has ended: what it wrote can be read by the daemon."""
        if attempt not in self._known:
            return
        folder = os.path.join(self._base, attempt)
        for name in _FILES:
            try:
                handle = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue
            status = os.fstat(handle)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                os.fchown(handle, self._reader, -1)
                os.fchmod(handle, 0o400)
            os.close(handle)
        os.chmod(folder, 0o711)  # noqa: S103

    def remove(self, attempt: str) -> None:
        if attempt in self._known:
            self._known.discard(attempt)
            remove_tree(self._base, attempt)

    def keep_only(self, attempts: Container[str]) -> None:
        """Remove what an earlier keeper has left of others."""
        for attempt in [each for each in self._known if each not in attempts]:
            self.remove(attempt)
