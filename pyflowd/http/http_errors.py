"""Why a request came to no good end: one error for all that may go wrong on the way."""

from __future__ import annotations


class CallError(Exception):
    """In one line, without secrets. `transient`: it may go better another time (rule R4)."""

    def __init__(self, message: str, *, transient: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.transient = transient
        self.retry_after_s = retry_after_s
