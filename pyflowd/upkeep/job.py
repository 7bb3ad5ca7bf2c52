"""What the daemon and a process that looks after its store say to each other: one job in, one outcome out, both JSON.

It knows nothing of how a job is done, and loads none of what that takes.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pyflowd.paths import Paths
from pyflowd.protocol.views_host import BackupView, StoreCheckView


class Job(Struct, frozen=True, kw_only=True):
    job: Literal["backup", "check"]
    paths: Paths
    descriptor: int = -1
    """Of the file that the archive goes into: passed on by whoever starts this."""
    with_logs: bool = False


class Outcome(Struct, frozen=True, kw_only=True):
    """One of the three."""

    made: BackupView | None = None
    checked: StoreCheckView | None = None
    error: str = ""
