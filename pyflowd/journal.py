"""The daemon's own log: one line a message on standard error, as journald reads it.

Under systemd each line begins with its level (`<6>`), and journald adds the time; elsewhere the line carries both.
Messages are sentences; their stable `action=` field is what to search for. Never environment or secrets.
"""

from __future__ import annotations

import logging
import os
import sys

_SYSLOG = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _Formatter(logging.Formatter):
    def __init__(self, *, under_systemd: bool) -> None:
        super().__init__("%(message)s" if under_systemd else "%(asctime)s %(levelname)-7s %(message)s")
        self.under_systemd = under_systemd

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        action = getattr(record, "action", None)
        if action:
            first, newline, rest = text.partition("\n")
            text = f"{first} action={action}{newline}{rest}"
        if not self.under_systemd:
            return text
        level = _SYSLOG.get(record.levelno, 6)
        return "\n".join(f"<{level}>{line}" for line in text.split("\n"))


def start(*, verbose: bool) -> None:
    """Send all logging to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(under_systemd="JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    logging.getLogger("watchdog").setLevel(logging.WARNING)
