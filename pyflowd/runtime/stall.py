"""Whose fault it is that the loop does not turn: the disk's, or ours.

The loop commits in its turns, so one that turns makes progress in the store, too, and says so to the service manager
itself. This thread speaks only when the loop has been silent for half of the watchdog's interval: it asks the disks
with a write of its own. Where they do not answer either, a kill would mend nothing, and the next daemon would hang in
the same place: it keeps the manager patient and says `degraded`. Where they do, the loop hangs by itself, and silence
lets the manager end and restart us. It knows nothing of what the loop does.
"""

from __future__ import annotations

import logging
import os
import threading

from pyflowd.clock import US, Clock
from pyflowd.systemd import notify

_LOOKS = 6
"""In each interval."""
_PROBE = ".disk-answers"

log = logging.getLogger("pyflowd.runtime.stall")


class StallWatch:
    """Of one loop and the folders that it writes to. The interval is that of the manager's watchdog, in seconds."""

    def __init__(self, clock: Clock, folders: tuple[str, ...], interval_s: float) -> None:
        self._clock = clock
        self._folders = folders
        self._interval_s = interval_s
        self._turned_us = clock.mono_us()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._probe: _Probe | None = None
        self._stalled = False

    def start(self) -> None:
        self._turned_us = self._clock.mono_us()
        self._thread = threading.Thread(target=self._watch, name="stall-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when it has stopped; safe twice, and before `start`."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def turned(self) -> None:
        """The loop lives; of its thread."""
        self._turned_us = self._clock.mono_us()

    def _watch(self) -> None:
        while not self._stopped.wait(self._interval_s / _LOOKS):
            self.look()

    def look(self) -> None:
        """Say so if the loop is silent and the disk is to blame; of the thread."""
        silent_s = (self._clock.mono_us() - self._turned_us) / US
        if silent_s < self._interval_s / 2:
            self._recovered()
        elif self._answers():
            self._probe = None
        else:
            self._excuse(silent_s)

    def _answers(self) -> bool:
        """Whether the disks take a small write within a look's time. One probe is under way at most."""
        if self._probe is None:
            self._probe = _Probe(self._folders)
        return self._probe.ended.wait(self._interval_s / _LOOKS)

    def _excuse(self, silent_s: float) -> None:
        where = ", ".join(self._folders)
        if not self._stalled:
            self._stalled = True
            log.error(
                "the disk of %s does not answer; nothing can be recorded", where, extra={"action": "disk_stalled"}
            )
        patience_us = round(2 * self._interval_s * US)
        notify(
            f"WATCHDOG=1\nEXTEND_TIMEOUT_USEC={patience_us}\n"
            f"STATUS=degraded: the disk of {where} has not answered for {silent_s:.0f} s"
        )

    def _recovered(self) -> None:
        self._probe = None
        if self._stalled:
            self._stalled = False
            log.warning("the disk answers again", extra={"action": "disk_answers"})


class _Probe:
    """One write to each folder, through to the disk, in a thread of its own: it may never come back."""

    def __init__(self, folders: tuple[str, ...]) -> None:
        self.ended = threading.Event()
        self._folders = folders
        threading.Thread(target=self._run, name="disk-probe", daemon=True).start()

    def _run(self) -> None:
        for folder in self._folders:
            path = os.path.join(folder, _PROBE)
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.write(descriptor, b"?")
                    os.fdatasync(descriptor)
                finally:
                    os.close(descriptor)
                os.unlink(path)
            except OSError:
                pass  # an error is an answer
        self.ended.set()
